//! `lucid signer`: makes, runs and shows a treasury signer in a process of its own.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use lucid_consensus::chain_spec::ChainSpec;
use lucid_tron_bridge::signer::Watermark;
use lucid_types::id::{NetworkId, PoolId};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{output, run::log_to_stderr};
use crate::config::LogConfig;
use crate::signer::dir::{DirError, KeyForm, OpenSigner, SignerDir};
use crate::signer::files::Disk;
use crate::signer::passphrase::PassphraseSource;
use crate::signer::server::Socket;
use crate::signer::shown::ShownPools;
use crate::signer::watermark::{Watermarks, existing};

const EXAMPLES: &str = "\
Examples:
  lucid signer init --dir /var/lib/lucid-signer --genesis genesis.toml
  lucid signer run --dir /var/lib/lucid-signer --socket /run/lucid-signer/signer.sock --group --passphrase-fd 3 3<pass
  lucid signer show --dir /var/lib/lucid-signer --json

A passphrase is never taken from an argument or the environment, which other users can see.";

/// What is left after the last connection was closed gets this long.
const RUNTIME_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum SignerAction {
    /// Make a signer: a new key and an empty record of what it has signed
    Init(InitArgs),
    /// Sign for a node until Ctrl-C or SIGTERM
    Run(RunArgs),
    /// Show address, pools and what was signed last; needs no passphrase
    Show(ShowArgs),
    /// Make the watermark's second copy anew, after its disk was replaced
    Copy(CopyArgs),
}

/// Where the signer's files lie.
#[derive(Debug, Args)]
struct DirArgs {
    /// The signer's folder
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The watermark's second copy, best on another disk [default: DIR/watermark.copy]
    #[arg(long, value_name = "PATH")]
    watermark_copy: Option<PathBuf>,
}

impl DirArgs {
    fn dir(&self) -> SignerDir {
        SignerDir::new(&self.dir, self.watermark_copy.as_deref())
    }
}

/// How the key lies on the disk.
#[derive(Debug, Args)]
struct KeyArgs {
    /// The key lies unencrypted in signer.key; for testnets
    #[arg(long, conflicts_with_all = ["passphrase_file", "passphrase_fd"])]
    plain_key: bool,
    /// Read the keystore's passphrase from a file of mode 0600, for example a credential of systemd
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_fd")]
    passphrase_file: Option<PathBuf>,
    /// Read the keystore's passphrase from this file descriptor
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
}

impl KeyArgs {
    fn form(self) -> KeyForm {
        match self {
            Self { plain_key: true, .. } => KeyForm::Plain,
            Self { passphrase_file: Some(path), .. } => KeyForm::Keystore(PassphraseSource::File(path)),
            Self { passphrase_fd: Some(n), .. } => KeyForm::Keystore(PassphraseSource::Descriptor(n)),
            Self { .. } => KeyForm::Keystore(PassphraseSource::Terminal),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    #[command(flatten)]
    place: DirArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// The network's genesis; it is checked and copied into the folder
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    place: DirArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// Where to listen; the folder must be writable by this user only [default: DIR/signer.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Let the socket's group use it (mode 0660), for a node that runs as another user
    #[arg(long)]
    group: bool,
    /// Log one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    place: DirArgs,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CopyArgs {
    #[command(flatten)]
    place: DirArgs,
    /// Check that it can be made, and make nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn signer(action: SignerAction) -> anyhow::Result<()> {
    match action {
        SignerAction::Init(args) => init(args),
        SignerAction::Run(args) => run(args),
        SignerAction::Show(args) => show(&args),
        SignerAction::Copy(args) => copy(&args),
    }
}

fn init(args: InitArgs) -> anyhow::Result<()> {
    let InitArgs { place, key, genesis, json } = args;
    let (dir, form) = (place.dir(), key.form());
    let address = dir.create(&form, genesis.as_deref())?;
    let (key_file, watermark) = (dir.key_file(&form), dir.watermark());
    if json {
        return output::json(&json!({
            "dir": dir.root(), "signer_address": address, "key_file": key_file, "watermark": watermark.file,
            "watermark_copy": watermark.copy,
        }));
    }
    output::print(&output::pairs(&[
        ("dir", dir.root().display().to_string()),
        ("signer address", address.to_string()),
        ("key", key_file.display().to_string()),
    ]))?;
    let mut next = format!(
        "\nHave the pool's owner enter this address as the signer of your node. Keep a copy of {}{}; never \
         restore {} from a backup: it says what was signed.\n",
        key_file.display(),
        if matches!(form, KeyForm::Plain) { "" } else { " and its passphrase" },
        watermark.file.display()
    );
    if genesis.is_none() {
        next.push_str(&format!("Put the network's genesis at {} before you start it.\n", dir.genesis_file().display()));
    }
    output::print(&next)
}

fn run(args: RunArgs) -> anyhow::Result<()> {
    let RunArgs { place, key, socket, group, json } = args;
    log_to_stderr(&LogConfig { json, ..LogConfig::default() })?;
    keep_memory_private().context("cannot keep other processes from this one's memory")?;
    let dir = place.dir();
    let OpenSigner { core, lock } = dir.open(&key.form())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .thread_name("lucid-signer")
        .build()
        .context("cannot start the runtime")?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        let listen = |kind, name| signal(kind).with_context(|| format!("cannot listen for {name}"));
        (listen(SignalKind::interrupt(), "Ctrl-C")?, listen(SignalKind::terminate(), "SIGTERM")?)
    };
    // From now on a signal does not leave the socket behind. The runtime's threads make no files yet.
    let path = socket.unwrap_or_else(|| dir.socket_file());
    let socket = Socket::bind(&path, group)?;
    let status = core.status();
    tracing::info!(
        address = %status.address,
        network = %core.network().id(),
        pools = status.pools.len(),
        socket = %path.display(),
        "signing"
    );
    if status.pools.is_empty() {
        tracing::info!("no node has shown this signer a pool that has its address as a signer yet");
    }
    let result = runtime.block_on(async {
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let signals = async {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            stopping.cancel();
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        };
        tokio::select! {
            served = socket.serve(core, stop) => Ok(served?),
            () = signals => Err(anyhow!("stopped without waiting for a request")),
        }
    });
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN_TIMEOUT);
    drop(socket);
    drop(lock);
    result
}

/// No core dumps, and no other process of the same user can read the memory that holds the key.
#[cfg(target_os = "linux")]
fn keep_memory_private() -> nix::Result<()> {
    nix::sys::prctl::set_dumpable(false)
}

#[cfg(not(target_os = "linux"))]
fn keep_memory_private() -> nix::Result<()> {
    Ok(())
}

fn copy(args: &CopyArgs) -> anyhow::Result<()> {
    let CopyArgs { place, dry_run, json } = args;
    let dir = place.dir();
    let watermarks = dir.make_copy(*dry_run)?;
    let places = dir.watermark();
    if *json {
        return output::json(&json!({
            "dry_run": dry_run, "signer_address": watermarks.key, "watermark": places.file, "watermark_copy": places.copy,
        }));
    }
    output::print(&output::pairs(&[
        ("signer address", watermarks.key.to_string()),
        ("watermark", places.file.display().to_string()),
        (if *dry_run { "would be copied to" } else { "copied to" }, places.copy.display().to_string()),
    ]))
}

fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let dir = args.place.dir();
    if !dir.root().is_dir() {
        return Err(DirError::Missing(dir.root().to_path_buf()).into());
    }
    let watermarks = existing(&Disk, &dir.watermark())?;
    let network = if dir.genesis_file().exists() { Some(dir.network()?) } else { None };
    let pools = network.as_ref().map(|network| pools(&dir, network.id(), &watermarks)).transpose()?.unwrap_or_default();
    if args.json {
        return output::json(&json!({
            "dir": dir.root(),
            "signer_address": watermarks.key,
            "network_id": network.as_ref().map(ChainSpec::id),
            "pools": pools,
        }));
    }
    let mut lines = vec![
        ("dir", dir.root().display().to_string()),
        ("signer address", watermarks.key.to_string()),
        ("network id", output::or_dash(network.as_ref().map(ChainSpec::id))),
    ];
    if pools.is_empty() {
        lines.push(("pools", "none yet: a node shows this signer its pool with the first request".to_owned()));
    }
    output::print(&output::pairs(&lines))?;
    let cell = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let columns = ["name", "vault", "era", "signed_settlement", "signed_total_micro_usdt", "record"];
    let rows: Vec<[String; 6]> = pools.iter().map(|pool| columns.map(|column| cell(&pool[column]))).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let titles = ["pool", "vault", "era", "signed settlement", "signed total (micro-USDT)", "record"];
    output::print(&format!("\n{}", output::table(titles, &rows)))
}

/// The pools that this signer was shown, and those for which its key has signed.
fn pools(dir: &SignerDir, network: &NetworkId, watermarks: &Watermarks) -> anyhow::Result<Vec<Value>> {
    let shown = ShownPools::open(Disk, &dir.shown_file(), *network)?;
    let signed = watermarks.pools.iter().map(|(id, _)| *id);
    let all: BTreeSet<_> = shown.all().map(|(id, _)| *id).chain(signed).collect();
    let view = |id: PoolId| {
        let Watermark { sequence, root, changes } = watermarks.of(&id);
        let (height, row) = shown.get(&id).map(|shown| (shown.height, &shown.row)).unzip();
        json!({
            "pool": id,
            "name": row.map(|row| &row.name),
            "vault": row.map(|row| row.vault.address).or(root.map(|root| root.vault)),
            "shown_height": height,
            "era": row.map(|row| row.vault.signers.era),
            "is_signer": row.map(|row| row.vault.signers.by_key(&watermarks.key).is_some()),
            "record": sequence,
            "signed_settlement": root.map(|root| root.settlement),
            "signed_era": root.map(|root| root.era),
            "signed_root": root.map(|root| root.root),
            "signed_total_micro_usdt": root.map(|root| root.total),
            "signed_changes": changes.iter().map(|change| change.nonce).collect::<Vec<_>>(),
        })
    };
    Ok(all.into_iter().map(view).collect())
}
