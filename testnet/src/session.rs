//! The time between set-up and end: follows the network, answers the control socket, notices ends of children.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::console::{Console, Mark};
use crate::control::server::Asked;
use crate::control::{NodeStatus, Reply, Request, Status};
use crate::finish::Finish;
use crate::interrupt::Interrupt;
use crate::manifest::{Manifest, NodeEntry, TronEntry};
use crate::payouts::{Payouts, merge};
use crate::plan::{LATE_AFTER, OWNER, TRON};
use crate::pool::POOL;
use crate::process::Exit;
use crate::setup::{LateWorker, Network, Node, describe};
use crate::supervisor::Supervisor;
use crate::usage::{self, Usage};
use crate::view::View;
use crate::watch::Snapshot;

/// Why the session is over.
#[derive(Debug)]
pub enum End {
    /// Everything that was due is final.
    Finished,
    /// Not so when the time was up.
    TimedOut {
        /// What is missing.
        missing: Vec<String>,
    },
    /// Ctrl-C, SIGTERM or `down`.
    Stopped {
        /// Who asked with `down` and waits for the end.
        downed: Option<oneshot::Sender<Reply>>,
        /// What was missing then.
        missing: Vec<String>,
    },
}

/// Times of status answers that are kept.
const MAX_TIMES: usize = 20_000;

/// A running network and what is known of it.
#[derive(Debug)]
pub struct Session<'a> {
    dir: &'a Path,
    network: &'a Network,
    late: Vec<LateWorker>,
    children: Supervisor,
    console: Console,
    started: Instant,
    view: View,
    finish: Option<Finish>,
    last: Snapshot,
    known: Payouts,
    numbers: Numbers,
}

/// Measured on the way.
#[derive(Debug, Default)]
struct Numbers {
    first_epoch: Option<Duration>,
    /// Of status answers since the first epoch, at most [`MAX_TIMES`].
    status_times: Vec<Duration>,
    /// When the first epoch was decided, and what every node had used then.
    baseline: Option<(Instant, Usages)>,
}

/// Process and usage by name.
type Usages = BTreeMap<String, (u32, Usage)>;

impl<'a> Session<'a> {
    /// Begins with children that run. `started` is when `up` was, `epochs` its N.
    pub fn new(
        dir: &'a Path,
        network: &'a Network,
        late: Vec<LateWorker>,
        children: Supervisor,
        console: Console,
        started: Instant,
        epochs: Option<u64>,
    ) -> Self {
        let nodes = network.nodes.iter().map(|node| (node.identity.node_id, node.plan.name.clone()));
        let names = nodes.chain([(network.owner.node_id, OWNER.to_owned())]).collect();
        let finish = epochs.map(|last| {
            let names = network.nodes.iter().map(|node| node.plan.name.clone()).collect();
            let policy = &network.genesis.policy;
            let before = network.measured_from.get().div_ceil(policy.settle_every.max(1)).saturating_sub(1);
            let settlements = policy.last_settlement.unwrap_or_default().saturating_sub(before);
            let late = network.nodes.iter().filter(|node| late.iter().any(|it| it.name() == node.plan.name));
            let late = late.map(|node| (node.identity.node_id, node.plan.name.clone()));
            Finish::new(names, last, settlements, late.collect())
        });
        Self {
            dir,
            network,
            late,
            children,
            console,
            started,
            view: View::new(names, POOL),
            finish,
            last: Snapshot::default(),
            known: Payouts::new(),
            numbers: Numbers::default(),
        }
    }

    /// Follows the network until its end.
    pub async fn run(
        &mut self,
        mut requests: mpsc::Receiver<Asked>,
        mut snapshots: mpsc::Receiver<Snapshot>,
        interrupt: &mut Interrupt,
        deadline: Option<Instant>,
    ) -> End {
        let time_is_up = async move {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(time_is_up);
        loop {
            tokio::select! {
                () = interrupt.wait() => {
                    self.console.line(Mark::Warning, "stopping   nodes first, then the local TRON network");
                    return End::Stopped { downed: None, missing: self.missing() };
                }
                () = &mut time_is_up => return End::TimedOut { missing: self.missing() },
                exit = self.children.next_exit() => self.note_exit(&exit),
                Some(asked) = requests.recv() => {
                    if let Some(downed) = self.answer(asked).await {
                        return End::Stopped { downed: Some(downed), missing: self.missing() };
                    }
                }
                Some(snapshot) = snapshots.recv() => {
                    self.take(snapshot);
                    if self.finish.is_some() && self.missing().is_empty() {
                        return End::Finished;
                    }
                }
            }
        }
    }

    /// The children, to stop them.
    pub fn children(&mut self) -> &mut Supervisor {
        &mut self.children
    }

    /// Every payout that was seen, as far as it had come.
    pub fn known_payouts(&self) -> &Payouts {
        &self.known
    }

    /// Why the end proves nothing, if so.
    pub fn unproven(&self) -> Vec<String> {
        self.finish.as_ref().map(Finish::unproven).unwrap_or_default()
    }

    fn missing(&self) -> Vec<String> {
        let is_down = |name: &str| self.children.pid(name).is_none();
        self.finish.as_ref().map(|finish| finish.missing(is_down)).unwrap_or_default()
    }

    fn take(&mut self, snapshot: Snapshot) {
        let elapsed = self.started.elapsed();
        for (mark, text) in self.view.lines(elapsed, &snapshot) {
            self.console.line(mark, text);
        }
        if let Some(news) = &snapshot.news {
            merge(&mut self.known, news.payouts.iter().cloned());
            if self.numbers.first_epoch.is_none() && !news.epochs.is_empty() {
                self.numbers.first_epoch = Some(elapsed);
                self.numbers.baseline = Some((Instant::now(), self.usages()));
            }
        }
        if self.numbers.first_epoch.is_some() {
            let room = MAX_TIMES.saturating_sub(self.numbers.status_times.len());
            self.numbers.status_times.extend(snapshot.times.iter().take(room));
        }
        if let Some(finish) = &mut self.finish {
            finish.update(&snapshot);
        }
        if snapshot.news.as_ref().is_some_and(|news| news.epoch >= LATE_AFTER) {
            self.start_late();
        }
        self.last = snapshot;
    }

    /// Starts the workers that join late, if that has not been done.
    fn start_late(&mut self) {
        let late = std::mem::take(&mut self.late);
        if late.is_empty() {
            return;
        }
        for worker in late {
            let name = worker.name().to_owned();
            match worker.start(&mut self.children) {
                Ok(_) => self.console.line(Mark::Done, format_args!("joining    {name}, by the network's string")),
                Err(error) => self.console.line(Mark::Failure, format_args!("{error:#}")),
            }
        }
        self.note_change();
    }

    fn note_exit(&mut self, exit: &Exit) {
        self.console.line(Mark::Failure, describe(exit, &self.children));
        self.note_change();
    }

    /// Does what is asked; for `down` hands back who waits.
    async fn answer(&mut self, asked: Asked) -> Option<oneshot::Sender<Reply>> {
        let done = |result: Result<u32>| match result {
            Ok(pid) => Reply::Done { pid },
            Err(error) => Reply::Error { message: format!("{error:#}") },
        };
        let reply = match asked.request {
            Request::Down => {
                self.console.line(Mark::Warning, "stopping   asked by `down`");
                return Some(asked.reply);
            }
            Request::Status => Reply::Status(self.status()),
            Request::Kill { name } => {
                let killed = self.children.kill(&name).await;
                if killed.is_ok() {
                    self.console.line(Mark::Warning, format_args!("killed     {name}"));
                    self.note_change();
                }
                done(killed.map_err(Into::into))
            }
            Request::Start { name } => {
                let started = self.children.start(&name);
                if started.is_ok() {
                    self.console.line(Mark::Done, format_args!("started    {name}"));
                    self.note_change();
                }
                done(started.map_err(Into::into))
            }
        };
        // Whoever asked may have gone away meanwhile.
        let _ = asked.reply.send(reply);
        None
    }

    fn note_change(&self) {
        if let Err(error) = self.write_manifest() {
            self.console.line(Mark::Warning, format_args!("{error:#}"));
        }
    }

    /// Writes `testnet.json` and says that everything runs.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn announce(&self) -> Result<()> {
        self.write_manifest()?;
        self.console.line(
            Mark::Done,
            format_args!("nodes      {} processes run and answer", self.network.nodes.len() - self.late.len()),
        );
        Ok(())
    }

    /// Writes `testnet.json` as things are.
    fn write_manifest(&self) -> Result<()> {
        let nodes = self.network.nodes.iter().map(|node| self.entry(node)).collect();
        let manifest = Manifest {
            network_id: self.network.id,
            join: self.network.join.clone(),
            pid: std::process::id(),
            tron: self.tron_entry(),
            nodes,
        };
        manifest.write(self.dir).context("write testnet.json")
    }

    fn entry(&self, node: &Node) -> NodeEntry {
        NodeEntry {
            name: node.plan.name.clone(),
            roles: node.plan.roles.clone(),
            pid: self.children.pid(&node.plan.name),
            home: node.plan.home(self.dir),
            api: format!("127.0.0.1:{}", node.ports.api),
            node_id: node.identity.node_id,
            peer_id: node.identity.peer_id.clone(),
            payout_address: node.payout_address,
        }
    }

    fn tron_entry(&self) -> TronEntry {
        TronEntry {
            name: TRON.into(),
            pid: self.children.pid(TRON),
            home: self.dir.join(TRON),
            url: self.network.tron_url.clone(),
            genesis_block: self.network.tron_genesis_block,
            usdt_contract: self.network.usdt,
            vault: self.network.vault,
        }
    }

    fn status(&self) -> Status {
        let seen = self.last.nodes.iter().map(Option::as_ref).chain(std::iter::repeat(None));
        let nodes = self.network.nodes.iter().zip(seen).map(|(node, seen)| {
            let entry = self.entry(node);
            let seen = seen.filter(|_| entry.pid.is_some());
            NodeStatus {
                entry,
                height: seen.map(|status| status.height.get()),
                peers: seen.map(|status| status.peers),
                sync: seen.map(|status| status.sync),
            }
        });
        Status { tron: self.tron_entry(), nodes: nodes.collect() }
    }

    fn usages(&self) -> Usages {
        let names = self.network.nodes.iter().map(|node| &node.plan.name);
        names
            .filter_map(|name| {
                let pid = self.children.pid(name)?;
                Some((name.clone(), (pid, usage::of(pid)?)))
            })
            .collect()
    }

    /// Prints what was measured.
    pub fn print_numbers(&self) {
        let Some(first) = self.numbers.first_epoch else { return };
        let mut text = format!("numbers    first epoch decided {:.1} s after start", first.as_secs_f64());
        let mut times = self.numbers.status_times.clone();
        times.sort_unstable();
        if let (Some(median), Some(slowest)) = (times.get(times.len() / 2), times.last()) {
            let ms = |time: &Duration| time.as_secs_f64() * 1_000.0;
            text.push_str(&format!(
                ", status answered in {:.1} ms (median), {:.1} ms (slowest)",
                ms(median),
                ms(slowest)
            ));
        }
        let now = self.usages();
        #[expect(clippy::cast_precision_loss, reason = "megabytes for people")]
        let memory = now.iter().map(|(name, (_, usage))| (name.clone(), usage.resident as f64 / 1e6));
        if let Some(most) = usage::greatest(memory) {
            text.push_str(&format!(", memory at most {:.0} MB ({})", most.value, most.name));
        }
        if let Some((since, before)) = &self.numbers.baseline {
            let wall = since.elapsed().as_secs_f64().max(f64::EPSILON);
            let shares = now.iter().filter_map(|(name, (pid, usage))| {
                let (_, then) = before.get(name).filter(|(then_pid, _)| then_pid == pid)?;
                Some((name.clone(), usage.cpu.saturating_sub(then.cpu).as_secs_f64() / wall * 100.0))
            });
            if let Some(most) = usage::greatest(shares) {
                text.push_str(&format!(", processor at most {:.1} % of a core ({})", most.value, most.name));
            }
        }
        self.console.line(Mark::Event, text);
    }
}
