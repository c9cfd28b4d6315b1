//! The command line: arguments in, exit code out. 0: agreed and paid, or done; 1: not; 2: usage.

use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use lucid_tron_devnet::server::SOLID_LAG;
use tracing_subscriber::EnvFilter;

use crate::cheats::command::{CheatsOptions, cheats};
use crate::console::{Console, Mark};
use crate::control::client::ControlError;
use crate::control::{Reply, Request, Status, client};
use crate::devnet::{self, DevnetOptions, Host, Output, SEED, devnet};
use crate::duration;
use crate::plan::Quorum;
use crate::ports::PortError;
use crate::sim::Scenario;
use crate::sim::command::{SimulateOptions, simulate};
use crate::up::{UpOptions, UsageError, up};

/// Runs whole Lucid networks on this machine: validators, workers and a local TRON network as processes of their own.
#[derive(Debug, Parser)]
#[command(name = "lucid-testnet", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  lucid-testnet up                          4 validators and 6 workers, until Ctrl-C
  lucid-testnet up --epochs 6 --json        ends when everything due by epoch 6 is paid; report on stdout
  lucid-testnet up --dir /tmp/net           in another terminal:
  lucid-testnet kill worker-2 --dir /tmp/net
  lucid-testnet devnet                      only the local TRON network

Exit codes: 0 agreed and paid, 1 not, 2 usage.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a network, run it in the foreground and show what happens.
    #[command(after_help = UP_EXAMPLES)]
    Up(Up),
    /// Show the processes of a running network.
    Status(OnStatus),
    /// Kill one process with SIGKILL.
    Kill(OnOne),
    /// Start a process that does not run.
    Start(OnOne),
    /// Stop a running network: nodes first, then the local TRON network.
    Down(OnAll),
    /// Run a local TRON network with funded accounts and a USDT contract.
    #[command(after_help = DEVNET_EXAMPLES)]
    Devnet(Devnet),
    /// Simulate payouts with faults: real pushers, signers and vault, in one deterministic run for each seed.
    #[command(after_help = SIMULATE_EXAMPLES)]
    Simulate(Simulate),
    /// Simulate attacks on the measurements, and tell what each earned beside honest work.
    #[command(after_help = CHEATS_EXAMPLES)]
    Cheats(Cheats),
}

const UP_EXAMPLES: &str = "\
Every worker's payouts go to a fresh account; its key is in DIR/<worker>/payout.key (mode 0600).
The vault pays them. The keys of the pool's owner, who deployed it, are in DIR/owner.
While it runs, DIR/testnet.json lists every process with its home and API address; logs are in DIR/<name>/node.log.

Examples:
  lucid-testnet up --validators 7 --workers 20 --epoch-length 3s
  lucid-testnet up --validators 5 --signers 3-of-5
  lucid-testnet up --epochs 6 --json > report.json
  lucid-testnet up --base-port 9000         TRON network on 9000, nodes from 9010, four ports apart";

const CHEATS_EXAMPLES: &str = "\
Examples:
  lucid-testnet cheats                      the table, in some minutes
  lucid-testnet cheats --only smear
  lucid-testnet cheats --page docs/src/cheating.md --write

Exit codes: 0 every attack does something and stays within its bound, every defence matters, and the page has this table; 1 not; 2 usage.";

const DEVNET_EXAMPLES: &str = "\
Examples:
  lucid-testnet devnet                      then point tronweb, tronpy or TronBox to http://127.0.0.1:9090
  lucid-testnet devnet --on-demand          every transaction is in a block, and solidified, when it is answered
  lucid-testnet devnet --dir ~/my-network   goes on where it stopped
  lucid-testnet devnet --json --port 0      one line of JSON when the API answers: url, accounts with keys, usdt
  curl http://127.0.0.1:9090/wallet/getnowblock

Standard error tells of every transaction in a block and of every refused one, and with
RUST_LOG=lucid_tron_devnet=debug of every request.";

const SIMULATE_EXAMPLES: &str = "\
Examples:
  lucid-testnet simulate                    10,000 seeds, each with its own mixture of faults
  lucid-testnet simulate --scenario forks --seeds 0..500
  lucid-testnet simulate --seeds 17..18 --trace

The digests of two ranges add up, modulo 2^64, to that of both together.";

#[derive(Debug, Args)]
struct Up {
    /// Validators; the first is the bootstrap node too.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    validators: u16,
    /// Workers, all in one pool.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=100))]
    workers: u16,
    /// Workers besides that join when epoch 3 is final, and are measured and paid like the rest.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=100))]
    late: u16,
    /// Signatures that a payout root needs, and treasury signers: validators 1 to N. More than half must sign; at most 16
    /// signers. Default: 2-of-3, with 2 validators 2-of-2, with 1 validator 1-of-1.
    #[arg(long, value_name = "K-of-N")]
    signers: Option<Quorum>,
    /// Length of an epoch, 2s to 5m.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    epoch_length: Duration,
    /// Epochs that one settlement covers.
    #[arg(long, value_name = "EPOCHS", default_value_t = 2)]
    settle_every: u64,
    /// End by itself when everything due by epoch N is final, and judge the run.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    epochs: Option<u64>,
    /// Folder of the network; it must be new or empty. Default: a new one below the temporary folder.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// First port of a fixed layout. Default: free ports.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    base_port: Option<u16>,
    /// The node's executable, of this very build. Default: the one beside this executable.
    #[arg(long, value_name = "PATH")]
    lucid: Option<PathBuf>,
    /// Print one JSON report on standard output at the end; everything else goes to standard error.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct OnStatus {
    /// The network's folder.
    #[arg(long)]
    dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct OnOne {
    /// For example validator-2, worker-1 or tron.
    name: String,
    /// The network's folder.
    #[arg(long)]
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct OnAll {
    /// The network's folder.
    #[arg(long)]
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct Devnet {
    /// Port of the HTTP API; 0 takes a free one.
    #[arg(long, default_value_t = 9090)]
    port: u16,
    /// Address to listen on; localhost is 127.0.0.1 and ::1. Anyone who reaches it can use the network.
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    host: Host,
    /// Time between blocks, for example 500ms, 3s or 1m; a bare number is seconds.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = devnet::block_time)]
    block_time: Duration,
    /// Make a block for every transaction instead, at once.
    #[arg(long, conflicts_with = "block_time")]
    on_demand: bool,
    /// The solidified block is this many blocks behind the newest, on the main network 18. Default: 2, with --on-demand 0.
    #[arg(long, value_name = "BLOCKS")]
    solid_lag: Option<u64>,
    /// Funded accounts.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    accounts: u32,
    /// TRX in each of them.
    #[arg(long, value_name = "TRX", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    balance: u64,
    /// The accounts' keys are derived from this text; anyone who knows it has them.
    #[arg(long, default_value = SEED)]
    seed: String,
    /// Do not deploy the test USDT.
    #[arg(long)]
    no_usdt: bool,
    /// Keep the network in this folder and go on from it; in memory without.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Serve /devnet/*: funding, mining, time travel, faults. Anyone who reaches the port can use it.
    #[arg(long)]
    control: bool,
    /// Print one line of JSON instead of text when the API answers.
    #[arg(long)]
    json: bool,
    /// Print only errors (and the line of --json).
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, Args)]
struct Simulate {
    /// The seeds, without the last number.
    #[arg(long, value_name = "A..B", default_value = "0..10000", value_parser = seeds)]
    seeds: Range<u64>,
    /// Which faults there are.
    #[arg(long, value_name = "NAME", value_enum, default_value = "all")]
    scenario: Scenario,
    /// Runs at a time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,
    /// Print one JSON report on standard output.
    #[arg(long)]
    json: bool,
    /// Print what happens in each run, line by line.
    #[arg(long)]
    trace: bool,
}

#[derive(Debug, Args)]
struct Cheats {
    /// This row only.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Rows at a time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,
    /// Print one line of JSON for each row instead of the table.
    #[arg(long)]
    json: bool,
    /// The page whose table must be this one: docs/src/cheating.md.
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Write the table into the page.
    #[arg(long, requires = "page", conflicts_with = "only")]
    write: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let parsed = text.split_once("..").and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?));
    parsed.filter(|range| !range.is_empty()).ok_or_else(|| format!("{text:?} is no range of seeds such as 0..500"))
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors and go to standard output.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    log_to_stderr(match &cli.command {
        Command::Devnet(args) if args.quiet => "error",
        // What people watch it for.
        Command::Devnet(_) => "warn,lucid_tron_devnet=info",
        _ => "warn",
    });
    match run(cli.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            Console::new(true).line(Mark::Failure, format_args!("{error:#}"));
            if let Some(hint) = hint(&error) {
                Console::new(true).plain(format_args!("hint: {hint}"));
            }
            if error.is::<UsageError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// What to do about an error, if one in its chain says so.
fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let devnet = cause.downcast_ref().and_then(devnet::hint);
        let port = || cause.downcast_ref().and_then(PortError::hint);
        let control = || cause.downcast_ref().and_then(ControlError::hint);
        devnet.or_else(port).or_else(control)
    })
}

/// Diagnostics of this process; `RUST_LOG` chooses, `otherwise` unless it does.
fn log_to_stderr(otherwise: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(otherwise));
    let colours = Console::new(true).has_colours();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(colours)
        // A full disk or a closed pipe behind stderr must end nothing.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .init();
}

fn run(command: Command) -> Result<bool> {
    // Children die with the thread that forked them, so all of `up` runs on the main thread.
    let mut runtime = match command {
        Command::Devnet(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime.enable_all().build().context("start the runtime")?;
    let done = runtime.block_on(execute(command));
    // A contract that still runs for some client's call does not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    done
}

async fn execute(command: Command) -> Result<bool> {
    match command {
        Command::Up(args) => Box::pin(up(&args.into())).await,
        Command::Status(args) => status(&args.dir, args.json).await.map(|()| true),
        Command::Kill(args) => one(&args.dir, Request::Kill { name: args.name }).await.map(|()| true),
        Command::Start(args) => one(&args.dir, Request::Start { name: args.name }).await.map(|()| true),
        Command::Down(args) => one(&args.dir, Request::Down).await.map(|()| true),
        Command::Devnet(args) => devnet(&args.into()).await.map(|()| true),
        Command::Simulate(args) => simulate(&args.into()),
        Command::Cheats(args) => cheats(&args.into()),
    }
}

impl From<Simulate> for SimulateOptions {
    fn from(args: Simulate) -> Self {
        let Simulate { seeds, scenario, jobs, json, trace } = args;
        Self { seeds, scenario, jobs: jobs.into(), json, trace }
    }
}

impl From<Cheats> for CheatsOptions {
    fn from(args: Cheats) -> Self {
        let Cheats { only, jobs, json, page, write } = args;
        Self { only, jobs: jobs.into(), json, page, write }
    }
}

impl From<Up> for UpOptions {
    fn from(args: Up) -> Self {
        let Up { validators, workers, late, signers, epoch_length, settle_every, epochs, dir, base_port, lucid, json } =
            args;
        Self { validators, workers, late, signers, epoch_length, settle_every, epochs, dir, base_port, lucid, json }
    }
}

impl From<Devnet> for DevnetOptions {
    fn from(args: Devnet) -> Self {
        let Devnet { port, host, block_time, on_demand, solid_lag, accounts, balance, seed, .. } = args;
        let Devnet { no_usdt, dir, control, json, quiet, .. } = args;
        let block_time = (!on_demand).then_some(block_time);
        let solid_lag = solid_lag.unwrap_or(if on_demand { 0 } else { SOLID_LAG });
        let output = match (json, quiet) {
            (true, _) => Output::Json,
            (false, true) => Output::Nothing,
            (false, false) => Output::Text,
        };
        Self { host, port, block_time, solid_lag, accounts, balance, seed, usdt: !no_usdt, dir, control, output }
    }
}

async fn ask(dir: &Path, request: &Request) -> Result<Reply> {
    match client::ask(dir, request).await? {
        Reply::Error { message } => bail!(message),
        reply => Ok(reply),
    }
}

async fn one(dir: &Path, request: Request) -> Result<()> {
    let reply = ask(dir, &request).await?;
    let text = match (&request, &reply) {
        (Request::Kill { name }, Reply::Done { pid }) => format!("killed {name} (process {pid})"),
        (Request::Start { name }, Reply::Done { pid }) => format!("started {name} (process {pid})"),
        (Request::Down, Reply::Stopped) => "stopped".to_owned(),
        _ => bail!("the testnet answered something else: {reply:?}"),
    };
    Console::new(false).line(Mark::Done, text);
    Ok(())
}

async fn status(dir: &Path, json: bool) -> Result<()> {
    let Reply::Status(status) = ask(dir, &Request::Status).await? else {
        bail!("the testnet answered something else");
    };
    if json {
        let text = serde_json::to_string(&status).context("write the status")?;
        return writeln!(std::io::stdout(), "{text}").context("print the status");
    }
    table(&status).into_iter().for_each(|line| Console::new(false).plain(line));
    Ok(())
}

/// The processes as people read them.
fn table(status: &Status) -> Vec<String> {
    let shown = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    let row = |name: &str, pid: Option<u32>, height: String, peers: String, sync: String, api: &str, roles: &str| {
        let pid = pid.map_or_else(|| "down".to_owned(), |pid| pid.to_string());
        format!("{name:<14} {pid:>8} {height:>7} {peers:>6} {sync:>8}  {api:<21} {roles}").trim_end().to_owned()
    };
    let mut lines =
        vec![format!("{:<14} {:>8} {:>7} {:>6} {:>8}  {:<21} ROLES", "NAME", "PID", "HEIGHT", "PEERS", "SYNC", "API")];
    for node in &status.nodes {
        let roles: Vec<_> = node.entry.roles.iter().map(|role| role.name()).collect();
        lines.push(row(
            &node.entry.name,
            node.entry.pid,
            shown(node.height.map(|height| height.to_string())),
            shown(node.peers.map(|peers| peers.to_string())),
            shown(node.sync.map(|sync| format!("{sync:?}").to_lowercase())),
            &node.entry.api,
            &roles.join(" "),
        ));
    }
    let none = || "-".to_owned();
    lines.push(row(&status.tron.name, status.tron.pid, none(), none(), none(), &status.tron.url, ""));
    lines
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::control::NodeStatus;
    use crate::manifest::tests::sample;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let Command::Up(args) = Cli::try_parse_from(["lucid-testnet", "up"]).unwrap().command else { unreachable!() };
        let options = UpOptions::from(args);
        assert_eq!((options.validators, options.workers, options.settle_every), (4, 6, 2));
        assert_eq!(options.epoch_length, Duration::from_secs(5));
        assert_eq!(options.late, 0);
        assert!(options.epochs.is_none() && options.dir.is_none() && options.signers.is_none() && !options.json);
    }

    #[test]
    fn blocks_on_demand_are_solidified_at_once_unless_asked_otherwise() {
        let lag = |line: &str| {
            let words = ["lucid-testnet", "devnet"].into_iter().chain(line.split_whitespace());
            let Command::Devnet(args) = Cli::try_parse_from(words).unwrap().command else { unreachable!() };
            let options = DevnetOptions::from(args);
            (options.block_time, options.solid_lag)
        };
        assert_eq!(lag(""), (Some(Duration::from_secs(3)), 2));
        assert_eq!(lag("--block-time 1"), (Some(Duration::from_secs(1)), 2));
        assert_eq!(lag("--solid-lag 18"), (Some(Duration::from_secs(3)), 18));
        assert_eq!(lag("--on-demand"), (None, 0));
        assert_eq!(lag("--on-demand --solid-lag 2"), (None, 2));
    }

    #[test]
    fn what_cannot_be_is_a_usage_error() {
        for line in [
            "up --validators 0",
            "up --workers 0",
            "up --epoch-length 5",
            "up --epochs 0",
            "up --late 101",
            "up --signers 2",
            "up --signers 1-of-2",
            "up --signers 9-of-17",
            "up --base-port 70000",
            "up --bogus",
            "kill --dir /tmp/x",
            "kill worker-1",
            "devnet --on-demand --block-time 1s",
            "devnet --block-time 0",
            "devnet --balance 0",
            "devnet --accounts 1001",
            "devnet --host elsewhere",
            "simulate --seeds 5..5",
            "simulate --seeds 5",
            "simulate --scenario mayhem",
            "cheats --jobs 0",
            "cheats --write",
            "",
        ] {
            let words = std::iter::once("lucid-testnet").chain(line.split_whitespace());
            let error = Cli::try_parse_from(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn the_table_tells_who_is_down() {
        let manifest = sample();
        let node = NodeStatus { entry: manifest.nodes[0].clone(), height: None, peers: None, sync: None };
        let lines = table(&Status { tron: manifest.tron, nodes: vec![node] });
        assert!(lines[1].starts_with("worker-1           down       -"), "{}", lines[1]);
        assert!(lines[2].starts_with("tron                101"), "{}", lines[2]);
    }
}
