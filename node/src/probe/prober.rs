//! The validator's side: one task that probes the assigned workers epoch by epoch and hands out a report of each.
//!
//! It owns every probe in flight; when an epoch ends, what has not come back by then has not been answered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use lucid_p2p::{Mesh, StreamError};
use lucid_score::aggregate::check_observation;
use lucid_types::genesis::{Genesis, GenesisWorker};
use lucid_types::id::{Hash, NetworkId, NodeId};
use lucid_types::report::{ProbeRequest, ScoreReport};
use lucid_types::time::{Epoch, UnixMillis};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::attestations::AttestationTable;
use super::beacon;
use super::counts::{BeaconOutcome, ProbeCounters, RelayOutcome};
use super::draws::Draws;
use super::limits::{BEACON_TIMEOUT, relay_timeout};
use super::relay::{self, RelayFault};
use super::schedule::{self, Bounds, Plan, Task};
use super::tally::Tally;
use crate::clock::{Clock, sleep_until};

/// Beacons in flight at a time; further ones wait.
const BEACONS_IN_FLIGHT: usize = 64;
/// Relay tasks in flight at a time; further ones wait, and are left out when they could not end in time.
const RELAYS_IN_FLIGHT: usize = 2;

/// The workers that this validator measures in an epoch, as soon as that is known; `None` if the epoch is not measured.
pub type Assignments = Arc<dyn Fn(Epoch) -> BoxFuture<'static, Option<Vec<GenesisWorker>>> + Send + Sync>;

/// What a prober needs.
pub struct ProberParts {
    /// The mesh, under this validator's key.
    pub mesh: Mesh,
    /// The network's genesis: bounds of epochs and the policy.
    pub genesis: Arc<Genesis>,
    /// Tells the epoch.
    pub clock: Arc<dyn Clock>,
    /// Whom to measure.
    pub assignments: Assignments,
    /// What the workers attested.
    pub attestations: Arc<AttestationTable>,
    /// Takes one report for each epoch, moments after its end, also an empty one. When it is full, the report is
    /// dropped with a warning: whoever reads it is then epochs behind, and probing does not wait.
    pub reports: mpsc::Sender<ScoreReport>,
}

/// The prober. [`Self::run`] it.
pub struct Prober {
    parts: ProberParts,
    network: NetworkId,
    relay_seed: Hash,
    counters: Arc<ProbeCounters>,
}

/// A probe that has ended, with what it says about the worker.
type Ended<T> = (NodeId, T, Duration);

/// One epoch's work.
struct Measuring {
    bounds: Bounds,
    beacons: VecDeque<Task>,
    relays: VecDeque<Task>,
    last_relay: UnixMillis,
    draws: Draws,
    tally: Tally,
    beacons_in_flight: JoinSet<Ended<BeaconOutcome>>,
    relays_in_flight: JoinSet<Ended<RelayOutcome>>,
}

impl Prober {
    /// A prober that has not sent anything yet.
    pub fn new(parts: ProberParts) -> Self {
        let network = parts.genesis.network_id();
        // The same on all validators and for the network's life.
        let relay_seed = Hash::from_bytes(*network.as_bytes());
        Self { parts, network, relay_seed, counters: Arc::default() }
    }

    /// What the probes come to, for metrics.
    pub fn counters(&self) -> Arc<ProbeCounters> {
        Arc::clone(&self.counters)
    }

    /// Probes until `stop`. The epoch in which it starts is measured from then on; the one in which it is stopped is
    /// not reported.
    pub async fn run(self, stop: CancellationToken) {
        let genesis = Arc::clone(&self.parts.genesis);
        let first = genesis.epoch_at(self.parts.clock.now());
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
            let Some(workers) = assigned else {
                last = epoch;
                continue;
            };
            // Whoever was there at its start measures from when it could. Less than half an epoch is not enough to judge by.
            let start = if epoch > first { self.parts.clock.now().max(bounds.start) } else { bounds.start };
            if start > bounds.start.after(genesis.policy.epoch() / 2) {
                last = epoch;
                continue;
            }
            let bounds = Bounds { start, ..bounds };
            let report = tokio::select! {
                () = stop.cancelled() => return,
                report = self.measure(bounds, workers) => report,
            };
            let Some(report) = report else { continue };
            self.hand_out(report);
            last = epoch;
        }
    }

    fn hand_out(&self, mut report: ScoreReport) {
        let policy = &self.parts.genesis.policy;
        report.observations.retain(|observation| match check_observation(policy, observation) {
            Ok(()) => true,
            Err(error) => {
                // Committing it would make the whole report worthless.
                tracing::error!(%error, ?observation, "an observation breaks the rules and is left out");
                false
            }
        });
        let (epoch, workers) = (report.epoch.get(), report.observations.len());
        match self.parts.reports.try_send(report) {
            Ok(()) => tracing::debug!(epoch, workers, "measured"),
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::warn!(epoch, "nobody takes the reports; this one is dropped");
            }
            Err(mpsc::error::TrySendError::Closed(_)) => tracing::debug!(epoch, "reports are not taken any more"),
        }
    }

    /// What was measured until the epoch's end; nothing if the clock was set back to before its start.
    async fn measure(&self, bounds: Bounds, workers: Vec<GenesisWorker>) -> Option<ScoreReport> {
        let clock = &*self.parts.clock;
        let mut epoch = self.plan(bounds, &workers);
        while bounds.contain(clock.now()) {
            self.send_due(&mut epoch);
            let wake = epoch.next_due().unwrap_or(bounds.end).min(bounds.end);
            tokio::select! {
                biased;
                Some(ended) = epoch.beacons_in_flight.join_next() => match ended {
                    Ok(ended) => self.beacon_ended(&mut epoch.tally, ended),
                    Err(error) => tracing::error!(%error, "a beacon's task failed"),
                },
                Some(ended) = epoch.relays_in_flight.join_next() => match ended {
                    Ok(ended) => self.relay_ended(&mut epoch.tally, ended),
                    Err(error) => tracing::error!(%error, "a relay's task failed"),
                },
                () = sleep_until(clock, wake) => {}
            }
        }
        if clock.now() < bounds.start {
            return None;
        }
        while let Some(Ok(ended)) = epoch.beacons_in_flight.try_join_next() {
            self.beacon_ended(&mut epoch.tally, ended);
        }
        while let Some(Ok(ended)) = epoch.relays_in_flight.try_join_next() {
            self.relay_ended(&mut epoch.tally, ended);
        }
        let attestations = &self.parts.attestations;
        Some(epoch.tally.into_report(|worker, epoch| attestations.newest(worker, epoch)))
    }

    fn plan(&self, bounds: Bounds, workers: &[GenesisWorker]) -> Measuring {
        let workers: Vec<NodeId> = workers.iter().map(|worker| worker.node).collect();
        let mut seed = [0; 32];
        let plan = match getrandom::fill(&mut seed) {
            Ok(()) => {
                let mut draws = Draws::from_seed(&seed);
                let (policy, now) = (&self.parts.genesis.policy, self.parts.clock.now());
                let plan = schedule::plan(policy, bounds, now, &workers, &self.relay_seed, &mut draws);
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
            beacons: plan.beacons.into(),
            relays: plan.relays.into(),
            last_relay: plan.last_relay,
            draws: Draws::from_seed(&seed),
            tally: Tally::new(bounds.epoch, workers),
            beacons_in_flight: JoinSet::new(),
            relays_in_flight: JoinSet::new(),
        }
    }

    fn send_due(&self, epoch: &mut Measuring) {
        let now = self.parts.clock.now();
        // Alone in the dark a validator learns nothing about workers: it abstains.
        let connected = self.parts.mesh.peer_count() > 0;
        while let Some(task) = epoch.due_beacon(now) {
            if connected {
                self.send_beacon(epoch, task.worker, now);
            } else {
                self.counters.beacon(BeaconOutcome::NotSent);
            }
        }
        while let Some(task) = epoch.due_relay(now) {
            if connected && now <= epoch.last_relay {
                self.send_relay(epoch, task.worker);
            } else {
                self.counters.relay(RelayOutcome::NotSent);
            }
        }
    }

    fn send_beacon(&self, epoch: &mut Measuring, worker: NodeId, now: UnixMillis) {
        let request = ProbeRequest { epoch: epoch.bounds.epoch, nonce: epoch.draws.bytes() };
        let timeout = BEACON_TIMEOUT.min(now.until(epoch.bounds.end));
        let (mesh, network) = (self.parts.mesh.clone(), self.network);
        epoch.tally.beacon_sent(&worker);
        epoch.beacons_in_flight.spawn(async move {
            let (outcome, rtt) = beacon::send(mesh, network, worker, request, timeout).await;
            (worker, outcome, rtt)
        });
    }

    fn send_relay(&self, epoch: &mut Measuring, worker: NodeId) {
        let policy = &self.parts.genesis.policy;
        let (mesh, key, bytes) = (self.parts.mesh.clone(), epoch.draws.bytes(), policy.relay_bytes);
        let timeout = relay_timeout(policy);
        epoch.tally.relay_sent(&worker);
        epoch.relays_in_flight.spawn(async move {
            let task = Box::pin(relay_task(mesh, worker, key, bytes));
            let (outcome, time) =
                tokio::time::timeout(timeout, task).await.unwrap_or((RelayOutcome::Late, Duration::ZERO));
            (worker, outcome, time)
        });
    }

    fn beacon_ended(&self, tally: &mut Tally, (worker, outcome, rtt): Ended<BeaconOutcome>) {
        self.counters.beacon(outcome);
        match outcome {
            BeaconOutcome::Answered => tally.beacon_answered(&worker, rtt),
            BeaconOutcome::NotSent => tally.beacon_withdrawn(&worker),
            BeaconOutcome::Late | BeaconOutcome::Unreachable | BeaconOutcome::Refused | BeaconOutcome::Wrong => {}
        }
    }

    fn relay_ended(&self, tally: &mut Tally, (worker, outcome, time): Ended<RelayOutcome>) {
        self.counters.relay(outcome);
        match outcome {
            RelayOutcome::Verified => tally.relay_verified(&worker, self.parts.genesis.policy.relay_bytes, time),
            RelayOutcome::NotSent => tally.relay_withdrawn(&worker),
            RelayOutcome::Late | RelayOutcome::Unreachable | RelayOutcome::Broken | RelayOutcome::Altered => {}
        }
    }
}

impl Measuring {
    fn beacon_slot(&self) -> bool {
        self.beacons_in_flight.len() < BEACONS_IN_FLIGHT
    }

    fn relay_slot(&self) -> bool {
        self.relays_in_flight.len() < RELAYS_IN_FLIGHT
    }

    fn due_beacon(&mut self, now: UnixMillis) -> Option<Task> {
        let free = self.beacon_slot();
        self.beacons.pop_front_if(|task| free && task.at <= now)
    }

    fn due_relay(&mut self, now: UnixMillis) -> Option<Task> {
        let free = self.relay_slot();
        self.relays.pop_front_if(|task| free && task.at <= now)
    }

    /// When the next probe is due for which there is a slot; a slot that becomes free wakes the loop by itself.
    fn next_due(&self) -> Option<UnixMillis> {
        let beacon = self.beacons.front().filter(|_| self.beacon_slot()).map(|task| task.at);
        let relay = self.relays.front().filter(|_| self.relay_slot()).map(|task| task.at);
        [beacon, relay].into_iter().flatten().min()
    }
}

/// Opens a stream and measures it. The duration is meaningful when it was verified.
async fn relay_task(mesh: Mesh, worker: NodeId, key: [u8; 32], bytes: u64) -> (RelayOutcome, Duration) {
    let stream = match mesh.open_relay(worker).await {
        Ok(stream) => stream,
        Err(StreamError::TooManyPending | StreamError::Stopped) => return (RelayOutcome::NotSent, Duration::ZERO),
        Err(error) => {
            tracing::debug!(worker = %worker.short(), %error, "no relay stream");
            return (RelayOutcome::Unreachable, Duration::ZERO);
        }
    };
    match relay::measure(stream, &key, bytes).await {
        Ok(time) => (RelayOutcome::Verified, time),
        Err(error) => {
            tracing::debug!(worker = %worker.short(), %error, "a relay task failed");
            let outcome = match error {
                RelayFault::Altered(_) | RelayFault::TooMuch => RelayOutcome::Altered,
                RelayFault::Broken(_) | RelayFault::Truncated(_) => RelayOutcome::Broken,
            };
            (outcome, Duration::ZERO)
        }
    }
}
