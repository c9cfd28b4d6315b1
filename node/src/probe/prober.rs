//! The validator's side: one task that probes the assigned workers epoch by epoch and hands out a report of each.
//!
//! It owns every probe in flight; when an epoch ends, what has not come back by then has not been answered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use lucid_p2p::{Mesh, StreamError};
use lucid_score::report::check_observation;
use lucid_types::genesis::Genesis;
use lucid_types::id::{NetworkId, NodeId, PublicKey};
use lucid_types::policy::Policy;
use lucid_types::report::{AssignedWorker, Observation, ProbeRequest, ScoreReport};
use lucid_types::time::{Epoch, UnixMillis};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::counts::{EchoOutcome, PingOutcome, ProbeCounters};
use super::draws::Draws;
use super::echo::{self, EchoFault};
use super::limits::{PING_TIMEOUT, connect_timeout, echo_bytes_in_flight, echo_timeout};
use super::ping;
use super::schedule::{self, Assigned, Assignment, Bounds, EchoTask, Plan, Task};
use super::tally::Tally;
use crate::clock::{Clock, sleep_until};

/// Pings in flight at a time; further ones wait.
const PINGS_IN_FLIGHT: usize = 64;
/// Workers that are connected to at a time, each for an echo that is due; further ones wait.
const CONNECTING: usize = 64;
/// Echoes in flight at a time, within the bound on their bytes; further ones wait, and are left out when they could not end in time. So
/// many that the slow ones among them delay nobody.
const ECHOES_IN_FLIGHT: usize = 32;

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
    /// The network's genesis: bounds of epochs.
    pub genesis: Arc<Genesis>,
    /// Tells the epoch.
    pub clock: Arc<dyn Clock>,
    /// Whom to measure.
    pub assignments: Assignments,
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

/// A probe that has ended, with what it says about the worker.
type Ended<T> = (NodeId, T, Duration);

/// The observation, if it may stand in a report: another would make all of the report worthless.
fn checked(policy: &Policy, assigned: &Assigned, observation: Observation) -> Option<Observation> {
    let checked = check_observation(policy, &observation);
    if let Err(error) = checked {
        tracing::error!(%error, worker = %assigned.worker, ?observation, "an observation breaks the rules and is left out");
    }
    checked.is_ok().then_some(observation)
}

/// One epoch's work.
struct Measuring {
    bounds: Bounds,
    policy: Arc<Policy>,
    pings: VecDeque<Task>,
    echoes: VecDeque<EchoTask>,
    /// Echoes whose workers are connected, in the order in which they came to be.
    connected: VecDeque<EchoTask>,
    echo_bytes_in_flight: u64,
    last_ping: UnixMillis,
    last_echo: UnixMillis,
    draws: Draws,
    tally: Tally,
    pings_in_flight: JoinSet<Ended<PingOutcome>>,
    connecting: JoinSet<(EchoTask, Result<(), EchoOutcome>)>,
    echoes_in_flight: JoinSet<(EchoTask, EchoOutcome, Duration)>,
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
        let mut last = Epoch::ZERO;
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
            let report = tokio::select! {
                () = stop.cancelled() => return,
                report = self.measure(bounds, &assignment) => report,
            };
            let Some(report) = report else { continue };
            self.hand_out(report);
            last = epoch;
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
    async fn measure(&self, bounds: Bounds, assignment: &Assignment) -> Option<ScoreReport> {
        let clock = &*self.parts.clock;
        let mut epoch = self.plan(bounds, assignment);
        while bounds.contain(clock.now()) {
            self.send_due(&mut epoch);
            let wake = epoch.next_due().unwrap_or(bounds.end).min(bounds.end);
            tokio::select! {
                biased;
                Some(ended) = epoch.pings_in_flight.join_next() => match ended {
                    Ok(ended) => self.ping_ended(&mut epoch.tally, ended),
                    Err(error) => tracing::error!(%error, "a ping's task failed"),
                },
                Some(ended) = epoch.connecting.join_next() => match ended {
                    Ok((echo, Ok(()))) => epoch.connected.push_back(echo),
                    Ok((echo, Err(outcome))) => self.not_connected(&mut epoch.tally, &echo, outcome),
                    Err(error) => tracing::error!(%error, "the task of connecting for an echo failed"),
                },
                Some(ended) = epoch.echoes_in_flight.join_next() => match ended {
                    Ok(ended) => self.echo_ended(&mut epoch, ended),
                    Err(error) => tracing::error!(%error, "an echo's task failed"),
                },
                () = sleep_until(clock, wake) => {}
            }
        }
        if clock.now() < bounds.start {
            return None;
        }
        while let Some(Ok(ended)) = epoch.pings_in_flight.try_join_next() {
            self.ping_ended(&mut epoch.tally, ended);
        }
        while let Some(Ok(ended)) = epoch.echoes_in_flight.try_join_next() {
            self.echo_ended(&mut epoch, ended);
        }
        let measured = assignment.workers.iter().zip(epoch.tally.into_observations());
        let seen = |(assigned, (_, observation)): (&Assigned, (_, Option<Observation>))| {
            let policy = &assignment.policy;
            let worker = AssignedWorker { has_echo: assigned.echo_bytes.is_some(), group: assigned.group };
            (worker, observation.and_then(|it| checked(policy, assigned, it)))
        };
        let seen: Vec<_> = measured.map(seen).collect();
        Some(ScoreReport::new(bounds.epoch, &seen, &vec![None; assignment.n_stored]))
    }

    fn plan(&self, bounds: Bounds, Assignment { workers: assigned, policy, .. }: &Assignment) -> Measuring {
        let mut seed = [0; 32];
        let plan = match getrandom::fill(&mut seed) {
            Ok(()) => {
                let mut draws = Draws::from_seed(&seed);
                let now = self.parts.clock.now();
                let plan = schedule::plan(policy, bounds, now, assigned, &mut draws);
                // What is drawn later must not repeat what fixed the times.
                seed = draws.bytes();
                plan
            }
            Err(error) => {
                tracing::error!(%error, "no random bytes: nothing is probed in this epoch");
                Plan::default()
            }
        };
        Measuring {
            bounds,
            policy: Arc::clone(policy),
            pings: plan.pings.into(),
            echoes: plan.echoes.into(),
            connected: VecDeque::new(),
            echo_bytes_in_flight: 0,
            last_ping: plan.last_ping,
            last_echo: plan.last_echo,
            draws: Draws::from_seed(&seed),
            tally: Tally::new(assigned.iter().map(|assigned| assigned.worker)),
            pings_in_flight: JoinSet::new(),
            connecting: JoinSet::new(),
            echoes_in_flight: JoinSet::new(),
        }
    }

    fn send_due(&self, epoch: &mut Measuring) {
        let now = self.parts.clock.now();
        // A validator without peers, or one whose slots were full for too long, has learnt nothing about workers: it abstains.
        let connected = self.parts.mesh.peer_count() > 0;
        while let Some(task) = epoch.due_ping(now) {
            if connected && now <= epoch.last_ping {
                self.send_ping(epoch, task.worker, now);
            } else {
                self.counters.ping(PingOutcome::NotSent);
            }
        }
        while let Some(echo) = epoch.due_echo(now) {
            if connected && now <= epoch.last_echo {
                self.connect(epoch, echo);
            } else {
                self.counters.echo(EchoOutcome::NotSent);
            }
        }
        while let Some(echo) = epoch.connected_echo(echo_bytes_in_flight(&epoch.policy)) {
            if now <= epoch.last_echo {
                self.send_echo(epoch, echo);
            } else {
                self.counters.echo(EchoOutcome::NotSent);
            }
        }
    }

    fn send_ping(&self, epoch: &mut Measuring, worker: NodeId, now: UnixMillis) {
        let request = ProbeRequest { epoch: epoch.bounds.epoch, nonce: epoch.draws.bytes() };
        let timeout = PING_TIMEOUT.min(now.until(epoch.bounds.end));
        let (mesh, network, me) = (self.parts.mesh.clone(), self.network, self.parts.me);
        let key = (self.parts.key_of)(&worker);
        epoch.tally.ping_sent(&worker);
        epoch.pings_in_flight.spawn(async move {
            let (outcome, rtt) = match key {
                Some(key) => ping::send(mesh, network, (me, key), request, timeout).await,
                None => (PingOutcome::Unreachable, Duration::ZERO),
            };
            (worker, outcome, rtt)
        });
    }

    /// Connects to the worker of an echo. That takes no slot: those that are not there keep nobody waiting who is.
    fn connect(&self, epoch: &mut Measuring, echo: EchoTask) {
        let (mesh, timeout) = (self.parts.mesh.clone(), connect_timeout(&epoch.policy.fixed()));
        let key = (self.parts.key_of)(&echo.task.worker);
        epoch.connecting.spawn(async move {
            let connect = async {
                let connected = mesh.connect(key.ok_or(EchoOutcome::Unreachable)?).await;
                connected.map_err(|error| no_stream(&echo.task.worker, &error))
            };
            let connected = tokio::time::timeout(timeout, connect).await.unwrap_or(Err(EchoOutcome::Unreachable));
            (echo, connected)
        });
    }

    fn not_connected(&self, tally: &mut Tally, echo: &EchoTask, outcome: EchoOutcome) {
        self.counters.echo(outcome);
        if outcome != EchoOutcome::NotSent {
            tally.echo_sent(&echo.task.worker);
        }
    }

    fn send_echo(&self, epoch: &mut Measuring, echo: EchoTask) {
        let (mesh, seed, worker) = (self.parts.mesh.clone(), epoch.draws.bytes(), echo.task.worker);
        let key = (self.parts.key_of)(&worker);
        let timeout = echo_timeout(&epoch.policy.fixed(), echo.bytes);
        epoch.tally.echo_sent(&worker);
        epoch.echo_bytes_in_flight += echo.bytes;
        epoch.echoes_in_flight.spawn(async move {
            let task = Box::pin(measure_echo(mesh, (worker, key), seed, echo.bytes));
            let (outcome, time) =
                tokio::time::timeout(timeout, task).await.unwrap_or((EchoOutcome::Late, Duration::ZERO));
            (echo, outcome, time)
        });
    }

    fn ping_ended(&self, tally: &mut Tally, (worker, outcome, rtt): Ended<PingOutcome>) {
        self.counters.ping(outcome);
        match outcome {
            PingOutcome::Answered => tally.ping_answered(&worker, rtt),
            PingOutcome::NotSent => tally.ping_withdrawn(&worker),
            PingOutcome::Late | PingOutcome::Unreachable | PingOutcome::Refused | PingOutcome::Wrong => {}
        }
    }

    fn echo_ended(&self, epoch: &mut Measuring, (echo, outcome, time): (EchoTask, EchoOutcome, Duration)) {
        epoch.echo_bytes_in_flight = epoch.echo_bytes_in_flight.saturating_sub(echo.bytes);
        self.counters.echo(outcome);
        match outcome {
            EchoOutcome::Verified => epoch.tally.echo_verified(&echo.task.worker, echo.bytes, time),
            EchoOutcome::NotSent => epoch.tally.echo_withdrawn(&echo.task.worker),
            EchoOutcome::Late | EchoOutcome::Unreachable | EchoOutcome::Broken | EchoOutcome::Altered => {}
        }
    }
}

impl Measuring {
    fn ping_slot(&self) -> bool {
        self.pings_in_flight.len() < PINGS_IN_FLIGHT
    }

    /// Echoes that wait for a slot keep others from being connected to: what is connected too early may not stay so.
    fn may_connect(&self) -> bool {
        self.connecting.len().saturating_add(self.connected.len()) < CONNECTING
    }

    fn due_ping(&mut self, now: UnixMillis) -> Option<Task> {
        let free = self.ping_slot();
        self.pings.pop_front_if(|task| free && task.at <= now)
    }

    fn due_echo(&mut self, now: UnixMillis) -> Option<EchoTask> {
        let free = self.may_connect();
        self.echoes.pop_front_if(|echo| free && echo.task.at <= now)
    }

    /// The next echo whose worker is connected, if it has a slot and fits into the bytes in flight.
    fn connected_echo(&mut self, most_bytes: u64) -> Option<EchoTask> {
        let free = self.echoes_in_flight.len() < ECHOES_IN_FLIGHT;
        let in_flight = self.echo_bytes_in_flight;
        self.connected.pop_front_if(|echo| free && in_flight.saturating_add(echo.bytes) <= most_bytes)
    }

    /// When the next probe is due for which there is a slot; a slot that becomes free wakes the loop by itself.
    fn next_due(&self) -> Option<UnixMillis> {
        let ping = self.pings.front().filter(|_| self.ping_slot()).map(|task| task.at);
        let echo = self.echoes.front().filter(|_| self.may_connect()).map(|echo| echo.task.at);
        [ping, echo].into_iter().flatten().min()
    }
}

/// Opens a stream and measures it. The duration is meaningful when it was verified.
async fn measure_echo(
    mesh: Mesh,
    (worker, key): (NodeId, Option<PublicKey>),
    seed: [u8; 32],
    bytes: u64,
) -> (EchoOutcome, Duration) {
    let Some(key) = key else { return (EchoOutcome::Unreachable, Duration::ZERO) };
    let stream = match mesh.open_echo(key).await {
        Ok(stream) => stream,
        Err(error) => return (no_stream(&worker, &error), Duration::ZERO),
    };
    match echo::measure(stream, &seed, bytes).await {
        Ok(time) => (EchoOutcome::Verified, time),
        Err(error) => {
            tracing::debug!(worker = %worker.short(), %error, "an echo failed");
            let outcome = match error {
                EchoFault::Altered(_) | EchoFault::TooMuch => EchoOutcome::Altered,
                EchoFault::Broken(_) | EchoFault::Truncated(_) => EchoOutcome::Broken,
            };
            (outcome, Duration::ZERO)
        }
    }
}

/// What it comes to that there is no stream to the worker.
fn no_stream(worker: &NodeId, error: &StreamError) -> EchoOutcome {
    tracing::debug!(worker = %worker.short(), %error, "no echo stream");
    match error {
        StreamError::TooManyPending | StreamError::Denied(_) | StreamError::Stopped => EchoOutcome::NotSent,
        StreamError::NotAPeer | StreamError::Unreachable(_) | StreamError::Unsupported | StreamError::Failed(_) => {
            EchoOutcome::Unreachable
        }
    }
}
