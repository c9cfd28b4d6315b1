//! The validator's side: one task that probes the assigned workers epoch by epoch and hands out a report of each.
//!
//! It decides nothing: an epoch is a [`Core`], whose effects it carries out, each in a task of its own, and which it tells how they ended.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use lucid_p2p::{Mesh, StreamError};
use lucid_types::genesis::Genesis;
use lucid_types::id::{NetworkId, NodeId, PublicKey};
use lucid_types::network_group::NetworkGroup;
use lucid_types::report::{ProbeRequest, ScoreReport};
use lucid_types::time::Epoch;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::chunk::StorageSecret;
use super::core::{ConnectFault, Core, CoreLimits, Effect, Finished, Gauges, Input, Kept, Probe, StorageFault};
use super::counts::{EchoOutcome, PingOutcome, ProbeCounters, ProbeCounts};
use super::echo::{self, EchoFault};
use super::ping;
use super::schedule::{Assignment, Bounds};
use super::storage_client::{self, Question};
use crate::clock::{Clock, sleep_until};

/// What this validator measures in an epoch, as soon as that is known; `None` if the epoch is not measured.
pub type Assignments = Arc<dyn Fn(Epoch) -> BoxFuture<'static, Option<Assignment>> + Send + Sync>;

/// The node key of a worker now; `None` if there is no such account. Called for every probe; must not block.
pub type KeyOf = Arc<dyn Fn(&NodeId) -> Option<PublicKey> + Send + Sync>;

/// What a prober needs.
pub struct ProberParts {
    /// The mesh.
    pub mesh: Mesh,
    /// This validator.
    pub me: NodeId,
    /// Under which keys workers are reached.
    pub key_of: KeyOf,
    /// The network's genesis: bounds of epochs and the policy.
    pub genesis: Arc<Genesis>,
    /// Tells the epoch.
    pub clock: Arc<dyn Clock>,
    /// Whom to measure.
    pub assignments: Assignments,
    /// From which its chunks follow.
    pub secret: StorageSecret,
    /// Takes one report for each epoch, moments after its end, also an empty one. When it is full, the report is
    /// dropped with a warning: whoever reads it is then epochs behind, and probing does not wait.
    pub reports: mpsc::Sender<ScoreReport>,
}

/// The prober. [`Self::run`] it.
pub struct Prober {
    parts: ProberParts,
    network: NetworkId,
    counters: Arc<ProbeCounters>,
}

/// What one epoch leaves to the next.
#[derive(Default)]
struct Past {
    kept: Kept,
    counts: ProbeCounts,
}

impl Prober {
    /// A prober that has not sent anything yet.
    pub fn new(parts: ProberParts) -> Self {
        let network = parts.genesis.network_id();
        Self { parts, network, counters: Arc::default() }
    }

    /// What the probes come to, for metrics.
    pub fn counters(&self) -> Arc<ProbeCounters> {
        Arc::clone(&self.counters)
    }

    /// Probes until `stop`. The epoch in which it starts is measured from then on if half of it is left; the one in which it is
    /// stopped is not reported.
    pub async fn run(self, stop: CancellationToken) {
        let genesis = Arc::clone(&self.parts.genesis);
        let (mut last, mut past) = (Epoch::ZERO, Past::default());
        while !stop.is_cancelled() {
            // The epoch just reported is not measured again if the clock steps back a little.
            let current = genesis.epoch_at(self.parts.clock.now()).max(Epoch::new(1));
            let epoch = if current == last { current.next() } else { current };
            let bounds = Bounds { epoch, start: genesis.epoch_start(epoch), end: genesis.epoch_end(epoch) };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(&*self.parts.clock, bounds.start) => {}
            }
            // The clock may have been set meanwhile.
            if !bounds.contain(self.parts.clock.now()) {
                continue;
            }
            let assigned = tokio::select! {
                () = stop.cancelled() => return,
                assigned = (self.parts.assignments)(epoch) => assigned,
                () = sleep_until(&*self.parts.clock, bounds.end) => None,
            };
            let Some(assignment) = assigned else {
                last = epoch;
                continue;
            };
            // It measures from when it can. Less than half an epoch is not enough to judge by.
            let start = self.parts.clock.now().max(bounds.start);
            if start > bounds.start.after(genesis.policy.epoch() / 2) {
                last = epoch;
                continue;
            }
            let bounds = Bounds { start, ..bounds };
            let finished = tokio::select! {
                () = stop.cancelled() => return,
                finished = self.measure(bounds, assignment, &past) => finished,
            };
            let Some(Finished { report, kept, counts }) = finished else { continue };
            self.hand_out(report);
            (last, past) = (epoch, Past { kept, counts });
        }
    }

    fn hand_out(&self, report: ScoreReport) {
        let (epoch, workers) = (report.epoch.get(), report.n_measured());
        match self.parts.reports.try_send(report) {
            Ok(()) => tracing::debug!(epoch, workers, "measured"),
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::warn!(epoch, "nobody takes the reports; this one is dropped");
            }
            Err(mpsc::error::TrySendError::Closed(_)) => tracing::debug!(epoch, "reports are not taken any more"),
        }
    }

    /// What was measured until the epoch's end; nothing if the clock was set back to before its start.
    async fn measure(&self, bounds: Bounds, assignment: Assignment, past: &Past) -> Option<Finished> {
        let clock = &*self.parts.clock;
        let mut seed = [0; 32];
        let assignment = match getrandom::fill(&mut seed) {
            Ok(()) => assignment,
            Err(error) => {
                tracing::error!(%error, "no random bytes: nothing is probed in this epoch");
                Assignment { workers: Vec::new(), stored: Vec::new(), ..assignment }
            }
        };
        let limits = CoreLimits::new(&assignment.policy);
        let mut core = Core::begin(limits, bounds, assignment, &seed, &past.kept, past.counts);
        let mut under_way = JoinSet::new();
        let mut input = Input::Tick;
        while bounds.contain(clock.now()) {
            for input in [Input::Peers(self.parts.mesh.peer_count()), input] {
                for effect in core.handle(clock.now(), input) {
                    self.carry_out(effect, &mut under_way);
                }
            }
            self.counters.set(core.counts(), core.gauges());
            let wake = core.next_due().unwrap_or(bounds.end).min(bounds.end);
            input = tokio::select! {
                biased;
                Some(ended) = under_way.join_next() => input_of(ended),
                () = sleep_until(clock, wake) => Input::Tick,
            };
        }
        if clock.now() < bounds.start {
            return None;
        }
        core.handle(bounds.end, input);
        while let Some(ended) = under_way.try_join_next() {
            core.handle(bounds.end, input_of(ended));
        }
        let finished = core.finish();
        self.counters.set(finished.counts, Gauges::default());
        Some(finished)
    }

    fn carry_out(&self, effect: Effect, under_way: &mut JoinSet<Input>) {
        let mesh = self.parts.mesh.clone();
        match effect {
            Effect::Connect { worker, timeout } => {
                let key = (self.parts.key_of)(&worker);
                under_way.spawn(async move {
                    Input::Connected { worker, outcome: connect(&mesh, worker, key, timeout).await }
                });
            }
            Effect::Ping { worker, request, timeout } => {
                let (network, me, key) = (self.network, self.parts.me, (self.parts.key_of)(&worker));
                under_way.spawn(async move { ping(&mesh, network, me, (worker, key), request, timeout).await });
            }
            Effect::Echo { worker, bytes, key: seed, timeout } => {
                let key = (self.parts.key_of)(&worker);
                under_way.spawn(async move {
                    let echo = Box::pin(measure_echo(&mesh, (worker, key), &seed, bytes));
                    let late = Input::EchoEnded { worker, outcome: EchoOutcome::Late, time: Duration::ZERO };
                    tokio::time::timeout(timeout, echo).await.unwrap_or(late)
                });
            }
            Effect::Storage { worker, deposit, ask, timeout } => {
                let key = (self.parts.key_of)(&worker);
                let seed = self.parts.secret.seed(&self.network, &self.parts.me, &worker, deposit.term);
                let range_bytes = self.parts.genesis.policy.storage_range_bytes;
                let question = Question { deposit, ask, seed, range_bytes };
                under_way.spawn(async move { ask_storage(&mesh, (worker, key), question, timeout).await });
            }
        }
    }
}

/// How an effect ended. One whose task failed is never heard of: it has not ended when the epoch does.
fn input_of(ended: Result<Input, tokio::task::JoinError>) -> Input {
    ended.unwrap_or_else(|error| {
        tracing::error!(%error, "the task of a probe failed");
        Input::Tick
    })
}

/// Connects to a worker, if there is no connection.
pub(super) async fn connect(
    mesh: &Mesh,
    worker: NodeId,
    key: Option<PublicKey>,
    timeout: Duration,
) -> Result<(), ConnectFault> {
    let Some(key) = key else { return Err(ConnectFault::Unreachable) };
    mesh.connect(key, timeout).await.map_err(|error| {
        tracing::debug!(worker = %worker.short(), %error, "not connected");
        if is_own(&error) { ConnectFault::Own } else { ConnectFault::Unreachable }
    })
}

async fn ping(
    mesh: &Mesh,
    network: NetworkId,
    me: NodeId,
    (worker, key): (NodeId, Option<PublicKey>),
    request: ProbeRequest,
    timeout: Duration,
) -> Input {
    let Some(key) = key else {
        return Input::PingEnded { worker, outcome: PingOutcome::Unreachable, rtt: Duration::ZERO, group: None };
    };
    let Some((outcome, rtt)) = ping::send(mesh, network, (me, key), request, timeout).await else {
        return Input::NotConnected { worker, probe: Probe::Ping };
    };
    // A peer whose packets come through others has no place of its own.
    let place = mesh.remote(&key).map(|remote| remote.map_or(NetworkGroup::NONE, NetworkGroup::of));
    Input::PingEnded { worker, outcome, rtt, group: place.filter(|_| outcome == PingOutcome::Answered) }
}

/// Opens a stream and measures it.
async fn measure_echo(mesh: &Mesh, (worker, key): (NodeId, Option<PublicKey>), seed: &[u8; 32], bytes: u64) -> Input {
    let ended = |outcome, time| Input::EchoEnded { worker, outcome, time };
    let failed = |outcome| ended(outcome, Duration::ZERO);
    let Some(key) = key else { return failed(EchoOutcome::Unreachable) };
    let stream = match mesh.open_echo(key).await {
        Ok(stream) => stream,
        Err(StreamError::NotConnected) => return Input::NotConnected { worker, probe: Probe::Echo },
        Err(error) => {
            tracing::debug!(worker = %worker.short(), %error, "no echo stream");
            return failed(if is_own(&error) { EchoOutcome::NotSent } else { EchoOutcome::Unreachable });
        }
    };
    match echo::measure(stream, seed, bytes).await {
        Ok(time) => ended(EchoOutcome::Verified, time),
        Err(error) => {
            tracing::debug!(worker = %worker.short(), %error, "an echo failed");
            failed(match error {
                EchoFault::Altered(_) | EchoFault::TooMuch => EchoOutcome::Altered,
                EchoFault::Broken(_) | EchoFault::Truncated(_) => EchoOutcome::Broken,
            })
        }
    }
}

async fn ask_storage(
    mesh: &Mesh,
    (worker, key): (NodeId, Option<PublicKey>),
    question: Question,
    timeout: Duration,
) -> Input {
    let term = question.deposit.term;
    let Some(key) = key else {
        return Input::StorageEnded { worker, term, outcome: Err(StorageFault::Unreachable) };
    };
    match storage_client::send(mesh, key, question, timeout).await {
        Some(outcome) => Input::StorageEnded { worker, term, outcome },
        None => Input::NotConnected { worker, probe: Probe::Storage { term } },
    }
}

/// Whether it is our own doing, which says nothing of the worker.
const fn is_own(error: &StreamError) -> bool {
    match error {
        StreamError::TooManyPending | StreamError::Denied(_) | StreamError::Stopped => true,
        StreamError::NotAPeer
        | StreamError::NotConnected
        | StreamError::Unreachable(_)
        | StreamError::Unsupported
        | StreamError::Failed(_) => false,
    }
}
