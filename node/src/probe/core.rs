//! One epoch of a validator's probes as a state machine: what has happened goes in, what is to be done comes out. It reads no clock,
//! sends nothing and waits for nothing; [`super::prober`] does, and a simulation can.
//!
//! ```text
//!  plan --due--> Effect::Ping --> Input::PingEnded ------------------------------> tally
//!                   ^    '------> Input::NotConnected --> waits for a dial, 2 s at most
//!                   '------------------ Input::Connected <-- Effect::Connect <--'
//! ```
//!
//! **Fairness.** A probe leaves at its time, whatever becomes of others: pings have room for all of them, a worker that cannot be reached costs a dial
//! now and then and no slot, and dials go first to workers that could be reached last time. What waits for a slot of our own for too long was
//! *not sent*. What was sent, and what waited for a dial that was under way, has failed if nothing right came of it.
//!
//! Storage goes the same way: [`super::storage`] says what leaves when, and what it comes to.
//!
//! **Shape.** A kind of probe is an effect that sends it over a connection that there is, an input that ends it, its bounds in [`CoreLimits`], its
//! times in [`schedule`], and its results in [`Tally`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lucid_score::report::check_observation;
use lucid_types::id::NodeId;
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::policy::Policy;
use lucid_types::report::{AssignedWorker, Observation, ProbeRequest, ScoreReport};
use lucid_types::storage::DepositId;
use lucid_types::time::UnixMillis;

pub use super::budget::{CoreLimits, Gauges};
use super::counts::{EchoOutcome, PingOutcome, ProbeCounts};
use super::draws::Draws;
use super::limits::{PING_TIMEOUT, dial_timeout, down_time, echo_timeout};
use super::reach::{DialQueue, KeptReach, Reach};
use super::schedule::{self, Assigned, Assignment, Bounds, EchoTask, Plan, Task};
use super::storage::{self, KeptStock, Storage};
pub use super::storage::{Ask, StorageFault};
use super::tally::Tally;

/// A kind of probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A ping.
    Ping,
    /// An echo.
    Echo,
    /// A request of storage.
    Storage {
        /// The settlement in which the term begins for which the chunks are deposited.
        term: u64,
    },
}

/// Whose fault it is that there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFault {
    /// The worker's, or the network's.
    Unreachable,
    /// A limit of our own: it says nothing of the worker.
    Own,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// So many peers are connected.
    Peers(usize),
    /// There was no connection over which the probe could leave: it was not sent.
    NotConnected {
        /// The worker that it is sent to.
        worker: NodeId,
        /// The kind of probe that did not leave.
        probe: Probe,
    },
    /// [`Effect::Connect`] has ended.
    Connected {
        /// The worker that was dialled.
        worker: NodeId,
        /// Why not, if not.
        outcome: Result<(), ConnectFault>,
    },
    /// [`Effect::Ping`] has ended.
    PingEnded {
        /// The worker that it is sent to.
        worker: NodeId,
        /// What became of it.
        outcome: PingOutcome,
        /// From sending it to its answer, if it was answered.
        rtt: Duration,
        /// Where the worker is connected from, if that is known.
        group: Option<NetworkGroup>,
    },
    /// [`Effect::Echo`] has ended.
    EchoEnded {
        /// The worker that it is sent to.
        worker: NodeId,
        /// What became of it.
        outcome: EchoOutcome,
        /// From the first byte sent to the last one returned, if it was verified.
        time: Duration,
    },
    /// [`Effect::Storage`] has ended.
    StorageEnded {
        /// To whom.
        worker: NodeId,
        /// The settlement in which the term begins for which the chunks are deposited.
        term: u64,
        /// How many chunks are there, to [`Ask::Held`] and [`Ask::Deposit`]. A challenge whose answer is right ends with any number.
        outcome: Result<u32, StorageFault>,
    },
}

/// What is to be done, each in a task of its own that ends within its time and says so by one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Connect to the worker.
    Connect {
        /// The worker to dial.
        worker: NodeId,
        /// At most so long.
        timeout: Duration,
    },
    /// Send a ping over a connection that there is.
    Ping {
        /// The worker that it is sent to.
        worker: NodeId,
        /// With a fresh nonce.
        request: ProbeRequest,
        /// For the answer.
        timeout: Duration,
    },
    /// Send an echo over a connection that there is.
    Echo {
        /// The worker that it is sent to.
        worker: NodeId,
        /// Bytes of the stream, each way.
        bytes: u64,
        /// Of its stream; fresh.
        key: [u8; 32],
        /// For all of it.
        timeout: Duration,
    },
    /// Send a request of storage over a connection that there is.
    Storage {
        /// To whom.
        worker: NodeId,
        /// About which chunks.
        deposit: DepositId,
        /// The question.
        ask: Ask,
        /// From handing it to the mesh to the whole answer.
        timeout: Duration,
    },
}

/// What one epoch leaves to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    reach: KeptReach,
    stock: KeptStock,
}

/// What an epoch came to.
#[derive(Clone, Debug)]
pub struct Finished {
    /// What was measured.
    pub report: ScoreReport,
    /// For the next epoch.
    pub kept: Kept,
    /// What became of the probes.
    pub counts: ProbeCounts,
}

/// A probe that may leave.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    worker: NodeId,
    /// From when on nothing but a slot of our own keeps it: when it was due, or its worker had been dialled for it.
    ready: UnixMillis,
    /// It was not sent before.
    is_first: bool,
}

/// The queues of one worker.
#[derive(Clone, Debug, Default)]
struct Worker {
    reach: Reach,
    echo_bytes: u64,
    pings_in_flight: usize,
    is_echo_in_flight: bool,
    /// Pings that are due while too many are in flight to it.
    held: VecDeque<Leaving>,
    /// Pings that wait for a connection, until when.
    waiting: Vec<UnixMillis>,
    /// Its echo waits for a connection.
    is_echo_waiting: bool,
    /// Requests of storage wait for a connection.
    is_storage_waiting: bool,
}

impl Worker {
    fn is_waited_for(&self) -> bool {
        self.is_echo_waiting || self.is_storage_waiting || !self.waiting.is_empty()
    }
}

/// The state of an epoch.
pub struct Core {
    policy: Arc<Policy>,
    limits: CoreLimits,
    bounds: Bounds,
    assignment: Assignment,
    /// Both by time, the first ones gone.
    pings: VecDeque<Task>,
    echoes: VecDeque<EchoTask>,
    last_ping: UnixMillis,
    last_echo: UnixMillis,
    /// Pings that may leave before those of the plan.
    leaving: VecDeque<Leaving>,
    /// Echoes that may leave when they have a slot.
    leaving_echoes: VecDeque<Leaving>,
    /// When the next pings give up to wait for a connection. Some have by now.
    deadlines: BTreeSet<(UnixMillis, NodeId)>,
    dials: DialQueue,
    workers: BTreeMap<NodeId, Worker>,
    /// Without any, nothing is learnt of workers.
    n_peers: usize,
    under_way: Gauges,
    draws: Draws,
    tally: Tally,
    storage: Storage,
    counts: ProbeCounts,
}

impl Core {
    /// The probes of an epoch, from the start of `bounds` on. `counts` are those so far. `seed` must be random, and never used twice.
    pub fn begin(
        limits: CoreLimits,
        bounds: Bounds,
        assignment: Assignment,
        seed: &[u8; 32],
        kept: &Kept,
        counts: ProbeCounts,
    ) -> Self {
        let policy = Arc::clone(&assignment.policy);
        let mut draws = Draws::from_seed(seed);
        let Plan { pings, echoes, last_ping, last_echo } =
            schedule::plan(&policy, bounds, &assignment.workers, &mut draws);
        let storage = Storage::begin(&policy, &limits, bounds, &assignment.stored, &kept.stock, &mut draws);
        let worker = |id: NodeId, echo_bytes: Option<LogScale>| {
            let reach = kept.reach.reach(&id, bounds.start, down_time(&policy.fixed()));
            (id, Worker { reach, echo_bytes: echo_bytes.map_or(0, LogScale::value), ..Worker::default() })
        };
        // Those that it measures last, so that their echoes count.
        let stored = assignment.stored.iter().map(|it| worker(it.worker, None));
        let workers = stored.chain(assignment.workers.iter().map(|it| worker(it.worker, it.echo_bytes))).collect();
        Self {
            limits,
            bounds,
            pings: pings.into(),
            echoes: echoes.into(),
            last_ping,
            last_echo,
            leaving: VecDeque::new(),
            leaving_echoes: VecDeque::new(),
            deadlines: BTreeSet::new(),
            dials: DialQueue::default(),
            workers,
            n_peers: 0,
            under_way: Gauges::default(),
            // What is drawn later must not repeat what fixed the times.
            draws: Draws::from_seed(&draws.bytes()),
            tally: Tally::new(assignment.workers.iter().map(|it| it.worker)),
            storage,
            counts,
            assignment,
            policy,
        }
    }

    /// What is to be done now that this has happened.
    pub fn handle(&mut self, now: UnixMillis, input: Input) -> Vec<Effect> {
        match input {
            Input::Tick => {}
            Input::Peers(n) => self.n_peers = n,
            Input::NotConnected { worker, probe } => self.on_not_connected(now, worker, probe),
            Input::Connected { worker, outcome } => self.on_connected(now, worker, outcome),
            Input::PingEnded { worker, outcome, rtt, group } => self.on_ping(worker, outcome, rtt, group),
            Input::EchoEnded { worker, outcome, time } => self.on_echo(worker, outcome, time),
            Input::StorageEnded { worker, term, outcome } => self.on_storage(now, worker, term, outcome),
        }
        let mut effects = Vec::new();
        if self.bounds.contain(now) {
            self.give_up(now);
            self.send_pings(now, &mut effects);
            self.send_echoes(now, &mut effects);
            self.send_storage(now, &mut effects);
            self.dial(now, &mut effects);
        }
        effects
    }

    /// When [`Self::handle`] is to be called at the latest, if nothing happens before.
    pub fn next_due(&self) -> Option<UnixMillis> {
        let ping = self.pings.front().filter(|_| self.under_way.may_ping(&self.limits)).map(|task| task.at);
        let echo = self.echoes.front().map(|echo| echo.task.at);
        let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
        [ping, echo, deadline, self.storage.next_due()].into_iter().flatten().min()
    }

    /// What is under way.
    pub const fn gauges(&self) -> Gauges {
        self.under_way
    }

    /// What became of the probes so far.
    pub const fn counts(&self) -> ProbeCounts {
        self.counts
    }

    /// The report. What has not come back by now has failed, and what has not left was not sent.
    pub fn finish(mut self) -> Finished {
        for (id, worker) in &mut self.workers {
            for _ in 0..worker.pings_in_flight {
                self.tally.ping_failed(id);
                self.counts.ping(PingOutcome::Late);
            }
            if worker.is_echo_in_flight {
                self.tally.echo_failed(id);
                self.counts.echo(EchoOutcome::Late);
            }
            // A dial that is under way was begun in time.
            let is_dialling = worker.reach.is_dialling();
            for _ in worker.waiting.drain(..) {
                self.tally.ping_waited(id, is_dialling, &mut self.counts);
            }
            if worker.is_echo_waiting {
                self.tally.echo_waited(id, is_dialling, &mut self.counts);
            }
            worker.held.drain(..).for_each(|_| self.counts.ping(PingOutcome::NotSent));
        }
        let unsent = self.pings.len().saturating_add(self.leaving.len());
        (0..unsent).for_each(|_| self.counts.ping(PingOutcome::NotSent));
        let unsent = self.echoes.len().saturating_add(self.leaving_echoes.len());
        (0..unsent).for_each(|_| self.counts.echo(EchoOutcome::NotSent));

        let is_dialling = |id: &NodeId| self.workers.get(id).is_some_and(|worker| worker.reach.is_dialling());
        let (proved, stock) = self.storage.finish(is_dialling, &mut self.counts);
        let seen = |it: &Assigned| {
            let worker = AssignedWorker { has_echo: it.echo_bytes.is_some(), group: it.group };
            (worker, self.tally.observation(&it.worker).and_then(|seen| checked(&self.policy, &it.worker, seen)))
        };
        let seen: Vec<_> = self.assignment.workers.iter().map(seen).collect();
        Finished {
            report: ScoreReport::new(self.bounds.epoch, &seen, &proved),
            kept: Kept { reach: KeptReach::of(self.workers.iter().map(|(id, worker)| (id, &worker.reach))), stock },
            counts: self.counts,
        }
    }

    fn on_not_connected(&mut self, now: UnixMillis, id: NodeId, probe: Probe) {
        if !self.has_landed(&id, probe) {
            return;
        }
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let hangs_up = worker.reach.hangs_up();
        if hangs_up {
            worker.reach.failed(now.after(down_time(&self.policy.fixed())));
        }
        match probe {
            Probe::Ping if worker.reach.is_down(now) => self.tally.ping_waited(&id, true, &mut self.counts),
            Probe::Echo if hangs_up => self.tally.echo_waited(&id, true, &mut self.counts),
            Probe::Ping => {
                let deadline = now.after(PING_TIMEOUT);
                worker.waiting.push(deadline);
                self.deadlines.insert((deadline, id));
                self.dials.ask(id, &mut worker.reach, now);
            }
            // It has no other in this epoch, and so a dial of its own.
            Probe::Echo => {
                worker.is_echo_waiting = true;
                self.dials.ask(id, &mut worker.reach, now);
            }
            // A chunk is worth no dial of one that could not be reached a moment ago; a challenge is.
            Probe::Storage { term } if hangs_up || (worker.reach.is_down(now) && !self.storage.is_due(&(id, term))) => {
                self.storage.unreachable((id, term), true, &mut self.counts);
            }
            Probe::Storage { .. } => {
                worker.is_storage_waiting = true;
                self.dials.ask(id, &mut worker.reach, now);
            }
        }
    }

    fn on_connected(&mut self, now: UnixMillis, id: NodeId, outcome: Result<(), ConnectFault>) {
        let Some(worker) = self.workers.get_mut(&id).filter(|worker| worker.reach.is_dialling()) else { return };
        self.under_way.dials = self.under_way.dials.saturating_sub(1);
        let waiting = std::mem::take(&mut worker.waiting);
        let is_echo_waiting = std::mem::take(&mut worker.is_echo_waiting);
        worker.is_storage_waiting = false;
        // Without peers there was nobody to ask where it is.
        let fault = outcome.err().map(|fault| if self.n_peers == 0 { ConnectFault::Own } else { fault });
        match fault {
            None => {
                worker.reach.connected();
                let leaving = Leaving { worker: id, ready: now, is_first: false };
                self.leaving.extend(waiting.iter().map(|_| leaving));
                self.leaving_echoes.extend(is_echo_waiting.then_some(leaving));
                self.storage.connected(&id);
                return;
            }
            Some(ConnectFault::Own) => worker.reach.undialled(),
            Some(ConnectFault::Unreachable) => worker.reach.failed(now.after(down_time(&self.policy.fixed()))),
        }
        let is_tried = fault == Some(ConnectFault::Unreachable);
        waiting.iter().for_each(|_| self.tally.ping_waited(&id, is_tried, &mut self.counts));
        if is_echo_waiting {
            self.tally.echo_waited(&id, is_tried, &mut self.counts);
        }
        self.storage.unconnected(&id, is_tried, &mut self.counts);
    }

    fn on_storage(&mut self, now: UnixMillis, id: NodeId, term: u64, outcome: Result<u32, StorageFault>) {
        self.storage.ended(now, (id, term), outcome, &mut self.under_way, &mut self.counts);
        if let Some(worker) = self.workers.get_mut(&id).filter(|_| outcome.is_ok()) {
            worker.reach.came();
        }
    }

    fn on_ping(&mut self, id: NodeId, outcome: PingOutcome, rtt: Duration, group: Option<NetworkGroup>) {
        if !self.has_landed(&id, Probe::Ping) {
            return;
        }
        self.counts.ping(outcome);
        match outcome {
            PingOutcome::Answered => self.tally.ping_answered(&id, rtt, group),
            PingOutcome::NotSent => return,
            PingOutcome::Late | PingOutcome::Unreachable | PingOutcome::Refused | PingOutcome::Wrong => {
                self.tally.ping_failed(&id);
            }
        }
        if outcome != PingOutcome::Unreachable
            && let Some(worker) = self.workers.get_mut(&id)
        {
            worker.reach.came();
        }
    }

    fn on_echo(&mut self, id: NodeId, outcome: EchoOutcome, time: Duration) {
        if !self.has_landed(&id, Probe::Echo) {
            return;
        }
        self.counts.echo(outcome);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match outcome {
            EchoOutcome::Verified => {
                self.tally.echo_verified(&id, worker.echo_bytes, time);
                worker.reach.came();
            }
            EchoOutcome::NotSent => {}
            EchoOutcome::Late | EchoOutcome::Unreachable | EchoOutcome::Broken | EchoOutcome::Altered => {
                self.tally.echo_failed(&id);
            }
        }
    }

    /// Gives the slot of a probe back; false if none is in flight.
    fn has_landed(&mut self, id: &NodeId, probe: Probe) -> bool {
        let Some(worker) = self.workers.get_mut(id) else { return false };
        match probe {
            Probe::Ping if worker.pings_in_flight > 0 => {
                worker.pings_in_flight -= 1;
                self.under_way.pings = self.under_way.pings.saturating_sub(1);
                self.leaving.extend(worker.held.pop_front());
                true
            }
            Probe::Echo if worker.is_echo_in_flight => {
                worker.is_echo_in_flight = false;
                self.under_way.echoes = self.under_way.echoes.saturating_sub(1);
                self.under_way.echo_bytes = self.under_way.echo_bytes.saturating_sub(worker.echo_bytes);
                true
            }
            Probe::Storage { term } => self.storage.not_connected((*id, term), &mut self.under_way),
            Probe::Ping | Probe::Echo => false,
        }
    }

    /// Pings whose workers have not been connected in time.
    fn give_up(&mut self, now: UnixMillis) {
        while let Some((deadline, id)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now) {
            self.deadlines.remove(&(deadline, id));
            let Some(worker) = self.workers.get_mut(&id) else { continue };
            let is_dialling = worker.reach.is_dialling();
            for _ in worker.waiting.extract_if(.., |deadline| *deadline <= now) {
                self.tally.ping_waited(&id, is_dialling, &mut self.counts);
            }
            if !worker.is_waited_for() {
                self.dials.withdraw(id, &mut worker.reach);
            }
        }
    }

    fn send_pings(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        while self.under_way.may_ping(&self.limits) {
            let planned = |pings: &mut VecDeque<Task>| {
                let task = pings.pop_front_if(|task| task.at <= now)?;
                Some(Leaving { worker: task.worker, ready: task.at, is_first: true })
            };
            let Some(leaving) = self.leaving.pop_front().or_else(|| planned(&mut self.pings)) else { return };
            let Leaving { worker: id, ready, is_first } = leaving;
            let Some(worker) = self.workers.get_mut(&id) else { continue };
            // A validator without peers has learnt nothing of workers. What our own slots kept for so long would have less time than others.
            if self.n_peers == 0 || (now > ready && now > self.last_ping) {
                self.counts.ping(PingOutcome::NotSent);
                self.leaving.extend(worker.held.pop_front());
                continue;
            }
            if worker.pings_in_flight >= self.limits.pings_per_worker {
                worker.held.push_back(leaving);
                continue;
            }
            if is_first {
                self.counts.left(ready.until(now));
            }
            worker.pings_in_flight += 1;
            self.under_way.pings += 1;
            let request = ProbeRequest { epoch: self.bounds.epoch, nonce: self.draws.bytes() };
            let timeout = PING_TIMEOUT.min(now.until(self.bounds.end));
            effects.push(Effect::Ping { worker: id, request, timeout });
        }
    }

    fn send_echoes(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        while let Some(echo) = self.echoes.pop_front_if(|echo| echo.task.at <= now) {
            let Task { at: ready, worker } = echo.task;
            self.leaving_echoes.push_back(Leaving { worker, ready, is_first: true });
        }
        while let Some(Leaving { worker: id, ready, is_first }) = self.leaving_echoes.front().copied() {
            let Some(worker) = self.workers.get_mut(&id) else { return };
            let is_over = self.n_peers == 0 || now > self.last_echo;
            if !is_over && !self.under_way.may_echo(&self.limits, worker.echo_bytes) {
                return;
            }
            self.leaving_echoes.pop_front();
            if is_over {
                self.counts.echo(EchoOutcome::NotSent);
                continue;
            }
            if is_first {
                self.counts.left(ready.until(now));
            }
            worker.is_echo_in_flight = true;
            self.under_way.echoes += 1;
            self.under_way.echo_bytes = self.under_way.echo_bytes.saturating_add(worker.echo_bytes);
            let (bytes, timeout) = (worker.echo_bytes, echo_timeout(&self.policy.fixed(), worker.echo_bytes));
            effects.push(Effect::Echo { worker: id, bytes, key: self.draws.bytes(), timeout });
        }
    }

    fn send_storage(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        let leaving = self.storage.send(
            now,
            self.n_peers > 0,
            &self.limits,
            &mut self.under_way,
            &mut self.draws,
            &mut self.counts,
        );
        let effect =
            |storage::Leaving { worker, deposit, ask, timeout }| Effect::Storage { worker, deposit, ask, timeout };
        effects.extend(leaving.into_iter().map(effect));
    }

    /// Nothing is dialled any more for what would have less time than it should have.
    fn dial(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        while self.under_way.may_dial(&self.limits)
            && let Some(id) = self.dials.first()
            && let Some(worker) = self.workers.get_mut(&id)
        {
            if now > self.last_echo && std::mem::take(&mut worker.is_echo_waiting) {
                self.counts.echo(EchoOutcome::NotSent);
            }
            if now > self.last_ping {
                worker.waiting.drain(..).for_each(|_| self.counts.ping(PingOutcome::NotSent));
            }
            if self.storage.is_late(now) && std::mem::take(&mut worker.is_storage_waiting) {
                self.storage.unconnected(&id, false, &mut self.counts);
            }
            if !worker.is_waited_for() {
                self.dials.withdraw(id, &mut worker.reach);
                continue;
            }
            self.dials.dial(id, &mut worker.reach);
            self.under_way.dials += 1;
            // The time that they waited for a slot is not the worker's.
            let deadline = now.after(PING_TIMEOUT);
            worker.waiting.fill(deadline);
            self.deadlines.insert((deadline, id));
            let timeout = dial_timeout(&self.policy.fixed()).min(now.until(self.bounds.end));
            effects.push(Effect::Connect { worker: id, timeout });
        }
    }
}

impl Tally {
    /// A ping waited for a connection in vain: for nothing but a slot of our own if it was not even tried.
    fn ping_waited(&mut self, worker: &NodeId, is_tried: bool, counts: &mut ProbeCounts) {
        if is_tried {
            self.ping_failed(worker);
        }
        counts.ping(if is_tried { PingOutcome::Unreachable } else { PingOutcome::NotSent });
    }

    /// The same of an echo.
    fn echo_waited(&mut self, worker: &NodeId, is_tried: bool, counts: &mut ProbeCounts) {
        if is_tried {
            self.echo_failed(worker);
        }
        counts.echo(if is_tried { EchoOutcome::Unreachable } else { EchoOutcome::NotSent });
    }
}

/// The observation, if it may stand in a report: another would make all of the report worthless.
fn checked(policy: &Policy, worker: &NodeId, observation: Observation) -> Option<Observation> {
    let checked = check_observation(policy, &observation);
    if let Err(error) = checked {
        tracing::error!(%error, %worker, ?observation, "an observation breaks the rules and is left out");
    }
    checked.is_ok().then_some(observation)
}

#[cfg(test)]
mod tests;
