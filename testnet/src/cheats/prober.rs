//! Every validator's prober, the product's own, in virtual time: what it asks for is done by machines that answer as they are modelled to.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::ledger::state::State;
use lucid_node::probe::core::{Ask, ConnectFault, Core, CoreLimits, Effect, Input, Kept, Probe, StorageFault};
use lucid_node::probe::schedule::{Assigned, Assignment, Bounds, plan};
use lucid_node::probe::{Draws, EchoOutcome, PingOutcome, ProbeCounts};
use lucid_score::draw::{EpochDraw, ScoredWorker};
use lucid_sim::genesis::validator_key;
use lucid_types::genesis::Genesis;
use lucid_types::id::{NodeId, ValidatorId};
use lucid_types::report::ScoreReport;
use lucid_types::time::{Epoch, UnixMillis};

use super::chunks::{Answer, Chunks, Depositor, stored};
use super::world::{Answers, Disk, Link, Presence, World};

/// The probers of all validators, from one epoch to the next.
pub(super) struct Probers {
    seed: u64,
    draws: Draws,
    /// By the validators' numbers.
    kept: Vec<Kept>,
    chunks: Chunks,
    /// How often a machine did what an honest one would not: slept between probes, left one without an answer, or answered with what is not its own.
    pub(super) acts: u64,
}

/// An epoch under way.
struct Running<'a> {
    world: &'a World,
    seed: u64,
    epoch: Epoch,
    end: UnixMillis,
    /// The machines by the workers on them.
    machines: BTreeMap<NodeId, usize>,
    /// Whether the epoch is one of echo for a machine, as those think who rent a link for it.
    is_rented: Vec<bool>,
    /// When probes of the first worker are expected.
    expected: Vec<UnixMillis>,
    /// Until when echoes keep each machine's link busy.
    busy: Vec<Vec<UnixMillis>>,
    queue: BinaryHeap<Reverse<(UnixMillis, usize)>>,
    events: Vec<(usize, Input)>,
    draws: &'a mut Draws,
    chunks: &'a mut Chunks,
    /// By the validators' numbers.
    depositors: &'a [Depositor],
    acts: &'a mut u64,
}

impl Probers {
    pub(super) fn new(world: &World, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            seed,
            draws: Draws::from_seed(&bytes),
            kept: vec![Kept::default(); world.validators.len()],
            chunks: Chunks::new(),
            acts: 0,
        }
    }

    /// What each validator reports of an epoch, by its number; `None` for one that has no part in the draw. `ids` are the keys of the
    /// validators, `workers` the accounts of the workers.
    pub(super) fn epoch(
        &mut self,
        world: &World,
        genesis: &Genesis,
        state: &State,
        (epoch, draw): (Epoch, &EpochDraw),
        ids: &[ValidatorId],
        workers: &[NodeId],
    ) -> Vec<Option<ScoreReport>> {
        let policy = Arc::new(world.policy.clone());
        let bounds = Bounds { epoch, start: genesis.epoch_start(epoch), end: genesis.epoch_end(epoch) };
        let assigned =
            |(it, _): (&ScoredWorker, u8)| Assigned { worker: it.node, echo_bytes: it.echo_bytes, group: it.group };
        let depositor = |number| Depositor::new(world, self.seed, genesis, (number, validator_key(number).account()));
        let depositors: Vec<_> = (0..ids.len()).map(depositor).collect();
        let assignment = |number: usize, id: &ValidatorId| {
            let workers = draw.assignment(id)?.map(assigned).collect();
            let stored = stored(world, state, draw, (id, depositors.get(number)?));
            Some(Assignment { workers, policy: Arc::clone(&policy), stored })
        };
        self.chunks.collect(&policy, policy.settlement_of(epoch));
        let public = *draw.seed.as_bytes();
        let mut expected = Vec::new();
        if let Some(first) = ids.first().and_then(|id| assignment(0, id)) {
            let plan = plan(&policy, bounds, &first.workers, &mut Draws::from_seed(&public));
            let tasks = plan.pings.iter().chain(plan.echoes.iter().map(|echo| &echo.task));
            expected.extend(tasks.filter(|task| Some(&task.worker) == workers.first()).map(|task| task.at));
            expected.sort_unstable();
        }
        let has_echo = |worker: usize| {
            let place = draw.scored.binary_search_by_key(&workers.get(worker), |it| Some(&it.node)).ok();
            place.is_some_and(|place| draw.scored[place].echo_bytes.is_some())
        };
        let guess = self.draws.below(policy.echo_every) == 0;
        let is_rented = |machine: usize| match world.machines[machine].link {
            Link::Own(_) => false,
            Link::Rented { has_time: true, .. } => {
                world.workers.iter().position(|it| it.machine == machine).is_some_and(has_echo)
            }
            Link::Rented { has_time: false, .. } => guess,
        };
        let mut running = Running {
            world,
            seed: self.seed,
            epoch,
            end: bounds.end,
            machines: workers.iter().zip(&world.workers).map(|(id, worker)| (*id, worker.machine)).collect(),
            is_rented: (0..world.machines.len()).map(is_rented).collect(),
            expected,
            busy: vec![Vec::new(); world.machines.len()],
            queue: BinaryHeap::new(),
            events: Vec::new(),
            draws: &mut self.draws,
            chunks: &mut self.chunks,
            depositors: &depositors,
            acts: &mut self.acts,
        };
        let usual = CoreLimits::new(&policy);
        let limits = CoreLimits { again_part: world.again_part.unwrap_or(usual.again_part), ..usual };
        let mut cores: Vec<Option<Core>> = Vec::with_capacity(ids.len());
        for (number, id) in ids.iter().enumerate() {
            let seed = if world.has_public_schedule { public } else { running.draws.bytes() };
            let begin = |it| Core::begin(limits, bounds, it, &seed, &self.kept[number], ProbeCounts::default());
            cores.push(assignment(number, id).map(begin));
            running.at(bounds.start, number, Input::Peers(world.validators.len()));
        }
        running.run(&mut cores);
        let finish = |(number, core): (usize, Option<Core>)| {
            let finished = core?.finish();
            self.kept[number] = finished.kept;
            Some(finished.report)
        };
        cores.into_iter().enumerate().map(finish).collect()
    }
}

impl Running<'_> {
    fn at(&mut self, time: UnixMillis, validator: usize, input: Input) {
        self.queue.push(Reverse((time, self.events.len())));
        self.events.push((validator, input));
    }

    fn after(&mut self, now: UnixMillis, delay: Duration, validator: usize, input: Input) {
        // Cores see whole milliseconds.
        self.at(now.after(delay + Duration::from_micros(999)), validator, input);
    }

    fn run(&mut self, cores: &mut [Option<Core>]) {
        let mut ticks: Vec<Option<UnixMillis>> = vec![None; cores.len()];
        while let Some(Reverse((now, event))) = self.queue.pop().filter(|Reverse((now, _))| *now < self.end) {
            let (validator, input) = self.events[event];
            let Some(core) = &mut cores[validator] else { continue };
            for effect in core.handle(now, input) {
                self.carry_out(now, validator, effect);
            }
            let due = core.next_due().map(|due| due.max(now));
            if let Some(due) = due.filter(|due| ticks[validator].is_none_or(|tick| tick <= now || *due < tick)) {
                ticks[validator] = Some(due);
                self.at(due, validator, Input::Tick);
            }
        }
    }

    fn carry_out(&mut self, now: UnixMillis, validator: usize, effect: Effect) {
        let (worker, timeout) = match &effect {
            Effect::Connect { worker, timeout }
            | Effect::Ping { worker, timeout, .. }
            | Effect::Echo { worker, timeout, .. }
            | Effect::Storage { worker, timeout, .. } => (*worker, *timeout),
        };
        let Some(machine) = self.machines.get(&worker).copied() else { return };
        let it = self.world.machines[machine];
        let is_up = it.presence.is_up(self.seed, self.epoch, now, &self.expected);
        let answers = is_up && !matches!(it.answers, Answers::Nearest(n) if validator >= n);
        let jitter = Duration::from_micros(200 + self.draws.below(3_000));
        let place = self.world.validators[validator].place;
        let near = if it.answers == Answers::ThroughProxies { place } else { it.place };
        let rtt = near.round_trip(place) + jitter;
        let sleeps = it.presence == Presence::AtExpectedProbes;
        let is_elsewhere = is_up && near != it.place;
        *self.acts += u64::from(sleeps || is_elsewhere || is_up != answers);
        match effect {
            Effect::Connect { .. } if is_up => {
                self.after(now, rtt, validator, Input::Connected { worker, outcome: Ok(()) });
            }
            Effect::Connect { .. } => {
                let outcome = Err(ConnectFault::Unreachable);
                self.after(now, timeout, validator, Input::Connected { worker, outcome });
            }
            // Whoever is up is connected.
            Effect::Ping { .. } if !is_up => {
                self.at(now, validator, Input::NotConnected { worker, probe: Probe::Ping });
            }
            Effect::Echo { .. } if !is_up => {
                self.at(now, validator, Input::NotConnected { worker, probe: Probe::Echo });
            }
            Effect::Storage { deposit, .. } if !is_up => {
                let probe = Probe::Storage { term: deposit.term };
                self.at(now, validator, Input::NotConnected { worker, probe });
            }
            Effect::Storage { deposit, ask, .. } => {
                let Some(depositor) = self.depositors.get(validator) else { return };
                let Answer { outcome, delay } =
                    self.chunks.answer(self.world, it.disk, depositor, worker, &deposit, &ask);
                let time = rtt + delay;
                let is_challenge = matches!(ask, Ask::Challenge(_));
                let is_honest = outcome.is_ok() && matches!(it.disk, Disk::Real { .. });
                *self.acts += u64::from(is_challenge && !is_honest);
                let patience = self.world.patience.filter(|_| is_challenge).unwrap_or(timeout);
                let (outcome, time) = match answers && time <= patience {
                    true => (outcome, time),
                    false => (Err(StorageFault::Late), timeout),
                };
                self.after(now, time, validator, Input::StorageEnded { worker, term: deposit.term, outcome });
            }
            Effect::Ping { .. } => {
                let (outcome, delay) =
                    if answers { (PingOutcome::Answered, rtt) } else { (PingOutcome::Late, timeout) };
                let input = Input::PingEnded { worker, outcome, rtt, group: Some(it.group) };
                self.after(now, delay, validator, input);
            }
            Effect::Echo { bytes, .. } => {
                let time = self.transfer(now, machine, bytes) + rtt;
                let (outcome, time) = match answers && time <= timeout {
                    true => (EchoOutcome::Verified, time),
                    false => (EchoOutcome::Late, timeout),
                };
                self.after(now, time, validator, Input::EchoEnded { worker, outcome, time });
            }
        }
    }

    /// How long an echo's bytes keep a machine's link busy: shared with the echoes that are under way when it begins.
    fn transfer(&mut self, now: UnixMillis, machine: usize, bytes: u64) -> Duration {
        let kbit_s = match self.world.machines[machine].link {
            Link::Own(kbit_s) => kbit_s,
            Link::Rented { own, rented, .. } => {
                if self.is_rented[machine] {
                    *self.acts += 1;
                    rented
                } else {
                    own
                }
            }
        };
        let busy = &mut self.busy[machine];
        busy.retain(|until| *until > now);
        let sharers = u64::try_from(busy.len()).unwrap_or(u64::MAX).saturating_add(1);
        let time = Duration::from_micros(bytes.saturating_mul(8_000 * sharers) / kbit_s.max(1));
        busy.push(now.after(time));
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_at_expected_probes_is_a_second_before_and_after() {
        let expected = [UnixMillis::new(10_000), UnixMillis::new(20_000)];
        let is_up = |ms| Presence::AtExpectedProbes.is_up(1, Epoch::new(1), UnixMillis::new(ms), &expected);
        assert!([9_000, 10_000, 11_000, 19_500].into_iter().all(is_up));
        assert!(![0, 8_999, 11_001, 15_000, 21_001].into_iter().any(is_up));
    }
}
