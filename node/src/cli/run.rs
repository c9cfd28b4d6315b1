//! `lucid run`: logging, the runtime, the signals, and the node between them.

use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::config::load::Loaded;
use crate::config::{LogConfig, SyncMode};
use crate::home::Home;

/// What goes before the configuration for this run.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// How a node without a state begins: from a certified state that peers give, or from every block
    #[arg(long, value_name = "MODE", value_enum)]
    sync: Option<SyncMode>,
    /// Keep every block, and fetch every block
    #[arg(long, conflicts_with = "sync")]
    archive: bool,
    /// A block that the chain must have, as HEIGHT:HASH
    #[arg(long, value_name = "HEIGHT:HASH")]
    pin: Option<String>,
}

impl RunArgs {
    /// The same as settings.
    pub(super) fn settings(self) -> impl Iterator<Item = (String, String)> {
        let mode = self.sync.and_then(|mode| Some(mode.to_possible_value()?.get_name().to_owned()));
        let archive = self.archive.then(|| "true".to_owned());
        let settings = [("sync.mode", mode), ("sync.archive", archive), ("sync.pinned", self.pin)];
        settings.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)))
    }
}

/// What is left after the node has stopped gets this long.
const LEFTOVERS: Duration = Duration::from_secs(1);

pub(super) fn run(home: Home, loaded: Loaded) -> anyhow::Result<()> {
    log_to_stderr(&loaded.config.log)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("lucid")
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(until_signal(home, loaded));
    runtime.shutdown_timeout(LEFTOVERS);
    result
}

/// Runs the node until Ctrl-C or SIGTERM. A second signal ends the process at once.
async fn until_signal(home: Home, loaded: Loaded) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let signals = async {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        tracing::info!("stopping; once more to stop without waiting");
        stopping.cancel();
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    };
    tokio::select! {
        result = Box::pin(crate::node::run(home, loaded.config, stop)) => result,
        () = signals => Err(anyhow::anyhow!("stopped without waiting for the node")),
    }
}

pub(super) fn log_to_stderr(config: &LogConfig) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).with_context(|| format!("RUST_LOG = {text:?}"))?,
        _ => EnvFilter::try_new(&config.filter).context("log.filter")?,
    };
    // A log in a file has no use for colours.
    let colours = io::stderr().is_terminal();
    // What cannot be written is lost: telling so on stderr, where it could not be written, would end the node with a panic.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours)
        .log_internal_errors(false);
    let done = if config.json { builder.json().try_init() } else { builder.try_init() };
    done.map_err(|e| anyhow::anyhow!(e)).context("cannot start logging")
}
