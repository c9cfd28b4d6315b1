//! `lucid run`: logging, the runtime, the signals, and the node between them.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::api::NodeView;
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
    in_runtime(async { until_signal(&mut Signals::new()?, home, loaded, |_| {}).await })
}

/// Runs a node's task, or one that leads to it, in a runtime of its own.
pub(super) fn in_runtime(task: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("lucid")
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(task);
    runtime.shutdown_timeout(LEFTOVERS);
    result
}

/// Ctrl-C and SIGTERM, which end the process no more as soon as this listens.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?,
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! { _ = self.interrupt.recv() => {}, _ = self.terminate.recv() => {} }
    }
}

/// Runs the node until a signal. A second one ends the process at once. `started` is given what the node shows of itself.
pub(super) async fn until_signal(
    signals: &mut Signals,
    home: Home,
    loaded: Loaded,
    started: impl FnMut(Arc<dyn NodeView>),
) -> anyhow::Result<()> {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let signals = async {
        signals.next().await;
        tracing::info!("stopping; once more to stop without waiting");
        stopping.cancel();
        signals.next().await;
    };
    tokio::select! {
        result = Box::pin(crate::node::run_shown(home, loaded.config, stop, started)) => result,
        () = signals => Err(anyhow::anyhow!("stopped without waiting for the node")),
    }
}

pub(super) fn log_to_stderr(config: &LogConfig) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).with_context(|| format!("RUST_LOG = {text:?}"))?,
        _ => EnvFilter::try_new(&config.filter).context("log.filter")?,
    };
    log(filter, config.json)
}

/// Logs to stderr what passes the filter.
pub(super) fn log(filter: EnvFilter, is_json: bool) -> anyhow::Result<()> {
    // A log in a file has no use for colours; nor has whoever sets NO_COLOR (no-color.org).
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    // What cannot be written is lost: telling so on stderr, where it could not be written, would end the node with a panic.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours)
        .log_internal_errors(false);
    let done = if is_json { builder.json().try_init() } else { builder.try_init() };
    done.map_err(|e| anyhow::anyhow!(e)).context("cannot start logging")
}
