//! `lucid-testnet up`: makes a network, stays the parent of its processes, and judges it at the end.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lucid_types::policy::Policy;
use lucid_types::time::Epoch;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::collect::{Collected, collect};
use crate::console::{Console, Mark, usdt};
use crate::control::server::ControlServer;
use crate::control::{self, Reply};
use crate::dir::TestnetDir;
use crate::interrupt::Interrupt;
use crate::lucid::Lucid;
use crate::manifest;
use crate::plan::{self, Quorum, TRON};
use crate::ports::{Leases, PortLayout};
use crate::report::Report;
use crate::session::{End, Session};
use crate::setup::{self, Ingredients, LateWorker, Network};
use crate::supervisor::Supervisor;
use crate::watch::{Watched, Watcher};

/// How long nodes may take to stop before they are killed.
const GRACE: Duration = Duration::from_secs(10);
/// Beyond N epochs, what is due may take this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was asked for.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// Number of validators.
    pub validators: u16,
    /// Number of workers.
    pub workers: u16,
    /// Number of workers that join while the network runs.
    pub late: u16,
    /// The treasury signers; `None` takes the default for this many validators.
    pub signers: Option<Quorum>,
    /// Length of an epoch.
    pub epoch_length: Duration,
    /// Epochs a settlement covers.
    pub settle_every: u64,
    /// End when everything due by this block is final; `None` runs until it is stopped.
    pub epochs: Option<u64>,
    /// The network's folder; `None` makes a new one.
    pub dir: Option<PathBuf>,
    /// First port; `None` takes free ones.
    pub base_port: Option<u16>,
    /// The node's executable; `None` takes the one beside this.
    pub lucid: Option<PathBuf>,
    /// Print the report as JSON on standard output.
    pub json: bool,
}

/// Options that cannot be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Runs a network until it ends; whether it agreed and paid.
///
/// # Errors
/// The set-up failed. Every child has been stopped then.
pub async fn up(options: &UpOptions) -> Result<bool> {
    let started = Instant::now();
    let console = Console::new(options.json);
    let last_settlement = options.epochs.map(|n| n / options.settle_every.max(1));
    let policy = Policy::local(options.epoch_length, options.settle_every, last_settlement)
        .local_with_seats(options.validators.into());
    policy.check().map_err(|error| UsageError(error.to_string()))?;
    let quorum = options.signers.unwrap_or_else(|| Quorum::default_for(options.validators));
    quorum.check(options.validators).map_err(UsageError)?;
    let plan = plan::nodes(options.validators, options.workers + options.late, quorum.signers);
    let paid_through = last_settlement.map(|last| last.saturating_mul(options.settle_every));
    if options.late > 0 && paid_through.is_some_and(|last| last < plan::LATE_PAID_FROM) {
        let text =
            format!("late workers earn from epoch {} on at the latest: give --epochs as many", plan::LATE_PAID_FROM);
        return Err(UsageError(text).into());
    }
    let layout = options.base_port.map(|base| PortLayout::above(base, plan.len())).transpose();
    let layout = layout.map_err(|error| UsageError(error.to_string()))?;
    let mut interrupt = Interrupt::new().context("take over Ctrl-C")?;
    let lucid = Lucid::find(options.lucid.as_deref()).await?;
    let names: Vec<_> = plan.iter().map(|node| node.name.clone()).collect();
    let leases = match layout {
        Some(layout) => Leases::hold(layout, &names)?,
        None => Leases::find(plan.len())?,
    };
    let dir = TestnetDir::claim(options.dir.as_deref())?;
    control::check_path(dir.path()).map_err(UsageError)?;
    console.line(Mark::Done, format_args!("folder     {}", dir.path().display()));

    let mut children = Supervisor::default();
    let n_late = usize::from(options.late);
    let ingredients = Ingredients { dir: dir.path(), n_late, plan, quorum, leases, lucid, policy, console };
    let built = tokio::select! {
        built = setup::build(ingredients, &mut children) => built,
        () = interrupt.wait() => Err(anyhow::anyhow!("stopped before the nodes ran")),
    };
    let (network, late) = match built {
        Ok(built) => built,
        Err(error) => {
            stop(&mut children, &names, &mut interrupt, console).await;
            return Err(error);
        }
    };
    run(options, started, &dir, (&network, late), children, &mut interrupt, console).await
}

/// Runs the control socket and the watcher beside the session, then judges and stops everything.
async fn run(
    options: &UpOptions,
    started: Instant,
    dir: &TestnetDir,
    (network, late): (&Network, Vec<LateWorker>),
    children: Supervisor,
    interrupt: &mut Interrupt,
    console: Console,
) -> Result<bool> {
    let mut session = Session::new(dir.path(), network, late, children, console, started, options.epochs);
    let stop_serving = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let listening = match ControlServer::bind(dir.path()).context("listen on the control socket") {
        Ok((server, requests)) => {
            tasks.spawn(server.run(stop_serving.clone()));
            session.announce().map(|()| requests)
        }
        Err(error) => Err(error),
    };
    let outcome = match listening {
        Ok(requests) => {
            // Capacity 1: the watcher asks again only when the last answer was taken.
            let (sender, snapshots) = mpsc::channel(1);
            let watched =
                network.nodes.iter().map(|node| Watched { api: node.api(), metrics_port: node.ports.metrics });
            tasks.spawn(Watcher::new(watched.collect(), network.tron.clone(), network.usdt).run(sender));
            let deadline = options.epochs.map(|last| deadline(network, last));
            let end = session.run(requests, snapshots, interrupt, deadline).await;
            Ok(conclude(options, network, &session, end, console).await)
        }
        Err(error) => Err(error),
    };
    let names: Vec<_> = network.nodes.iter().map(|node| node.plan.name.clone()).collect();
    stop(session.children(), &names, interrupt, console).await;
    // A file that stays behind says that something runs, which the next line of a script would believe.
    std::fs::remove_file(manifest::path(dir.path())).or_else(ignore_missing).context("remove testnet.json")?;
    let success = outcome.map(|(success, downed)| {
        if let Some(reply) = downed {
            // Whoever asked may have gone away meanwhile.
            let _ = reply.send(Reply::Stopped);
        }
        success
    });
    stop_serving.cancel();
    drop(session);
    // The watcher ends with its listener; the server when its answers have left.
    while tasks.join_next().await.is_some() {}
    console.line(Mark::Done, format_args!("stopped    logs and homes stay in {}", dir.path().display()));
    success
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// The genesis time plus N epochs and the patience.
fn deadline(network: &Network, last: u64) -> Instant {
    let end = network.genesis.epoch_end(Epoch::new(last));
    Instant::now() + setup::until(end) + PATIENCE
}

/// Judges the run and prints the report; also hands back who waits for `down`.
async fn conclude(
    options: &UpOptions,
    network: &Network,
    session: &Session<'_>,
    end: End,
    console: Console,
) -> (bool, Option<oneshot::Sender<Reply>>) {
    let (mut problems, downed) = match (end, options.epochs) {
        (End::Finished, _) => (session.unproven(), None),
        (End::TimedOut { missing }, _) => (missing, None),
        (End::Stopped { downed, .. }, None) => (vec![], downed),
        (End::Stopped { downed, missing }, Some(_)) => {
            (std::iter::once("stopped before the end".to_owned()).chain(missing).collect(), downed)
        }
    };
    match collect(network, options.epochs, session.known_payouts()).await {
        Ok(collected) => {
            problems.extend(judge(&collected, options.epochs));
            if options.json
                && let Err(error) = print(&collected.report)
            {
                problems.push(format!("{error:#}"));
            }
            summary(&collected, console);
        }
        Err(error) => problems.push(format!("the end could not be read: {error:#}")),
    }
    session.print_numbers();
    // One cause often shows twice, first while waiting and then in the report.
    let mut seen = std::collections::BTreeSet::new();
    problems.retain(|problem| seen.insert(problem.clone()));
    for problem in &problems {
        console.line(Mark::Failure, problem);
    }
    (problems.is_empty(), downed)
}

/// A run that has no end of its own owes nobody: there only agreement counts.
fn judge(collected: &Collected, last: Option<u64>) -> Vec<String> {
    match last {
        Some(_) => {
            let found = collected.report.problems(&collected.vault, last);
            collected.problems.iter().cloned().chain(found).collect()
        }
        None if collected.report.nodes.is_empty() => vec![],
        None => collected.report.disagreements(),
    }
}

fn print(report: &Report) -> Result<()> {
    use std::io::Write as _;
    let text = serde_json::to_string(report).context("write the report")?;
    writeln!(std::io::stdout(), "{text}").context("print the report")
}

fn summary(Collected { report, vault, .. }: &Collected, console: Console) {
    let Some(first) = report.nodes.first() else { return };
    let paid = report.payouts.iter().filter(|payout| payout.is_paid());
    let total: u64 = paid.clone().map(|payout| payout.amount_micro_usdt.get()).sum();
    console.line(
        Mark::Event,
        format_args!(
            "end        {} nodes compared at height {}, {} of {} payouts paid, {} USDT",
            report.nodes.len(),
            first.height,
            paid.count(),
            report.payouts.len(),
            usdt(total)
        ),
    );
    console.line(
        Mark::Event,
        format_args!(
            "vault      paid out {} USDT and {} USDT in push fees, holds {} USDT",
            usdt(vault.paid_out.get()),
            usdt(vault.fees_paid.get()),
            usdt(vault.funds.get())
        ),
    );
}

/// Nodes first, so that none sees the chain go away; then the local TRON network. One more Ctrl-C stops the waiting.
async fn stop(children: &mut Supervisor, names: &[String], interrupt: &mut Interrupt, console: Console) {
    for group in [names, &[TRON.to_owned()]] {
        let late = tokio::select! {
            late = children.stop(group, GRACE) => late,
            () = interrupt.wait() => children.stop(group, Duration::ZERO).await,
        };
        for name in late {
            console.line(Mark::Warning, format_args!("{name} did not stop in time and was killed"));
        }
    }
}
