//! Who measures whom in an epoch: the workers that are scored, and the seats that validators hold for each of them.
//!
//! Everything follows from the epoch's seed, and every node computes the same: the prober which workers to measure, the ledger
//! what a report is about. A validator's weight in a worker's medians is its number of seats for it and nothing else: seats are
//! drawn in proportion to power, so weighting by power again would count it twice.
//!
//! Seats are drawn *systematically*: the validators' powers lie end to end on a line, in an order that the seed shuffles for each
//! worker, and the seats stand on it at equal distances, from a random place on. So each validator holds its share of the seats,
//! rounded down or up; with independent draws four validators would often leave a worker to one or two of them.
//!
//! All that is drawn for a worker comes from one BLAKE3 output of its own, of as many bytes as it takes: where the seats begin,
//! how the validators are shuffled, when it is its turn to be scored and to be given an echo. The rule is that of
//! `docs/src/specification.md`, "Seats".

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use lucid_types::amount::Ppm;
use lucid_types::codec::Wire;
use lucid_types::id::{Hash, NodeId, PoolId, ValidatorId};
use lucid_types::log_scale::LogScale;
use lucid_types::policy::Policy;
use lucid_types::validator::{Validator, ValidatorSet};
use serde::{Deserialize, Serialize};

/// What the draw has to know of a worker that is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who runs it.
    pub operator: NodeId,
    /// The pool that it is a member of.
    pub pool: PoolId,
    /// Its last agreed throughput; 0 if there is none.
    pub kbit_s: u64,
}

/// Who measures whom in an epoch. Fixed by the block that closes the epoch before, and all that is needed to read a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochDraw {
    /// The epoch's seed, from which the rest is drawn.
    pub seed: Hash,
    /// The validators by the keys that they have when the draw is made: with these they sign their reports, also if they have others by
    /// then. A key is one account's for ever, so one of them is a report of each account.
    pub reporters: Vec<ValidatorId>,
    /// The scored workers by id.
    pub scored: Vec<ScoredWorker>,
}

impl Wire for EpochDraw {
    /// The policy lets no more workers be scored, with so many seats, than fit.
    const MAX_BYTES: usize = Policy::MAX_EPOCH_DRAW_BYTES;
}

/// A worker that is scored in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoredWorker {
    /// The worker.
    pub node: NodeId,
    /// The pool that it is scored for, whatever becomes of its membership until the scores are final.
    pub pool: PoolId,
    /// Bytes of an echo to it, if it is given one in the epoch: by all that hold its seats.
    pub echo_bytes: Option<LogScale>,
    /// Who measures it, in the order of the reporters. Empty if those that may are too few or too weak.
    pub seats: Vec<Seats>,
}

/// What one validator holds of a worker's seats: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seats {
    /// The validator's place among the reporters.
    pub reporter: u16,
    /// How many: its weight.
    pub count: u8,
}

impl EpochDraw {
    /// Draws at most `max_scored` of the workers, each of which is named once, and the seats of each, whatever the order of the workers.
    ///
    /// `candidate` is asked about those that are drawn only, by ascending id.
    pub fn new(
        policy: &Policy,
        seed: Hash,
        set: &ValidatorSet,
        workers: impl IntoIterator<Item = NodeId>,
        mut candidate: impl FnMut(&NodeId) -> Candidate,
    ) -> Self {
        let mut lots = Lots::new(&seed, set.members().len());
        let measurers = Measurers::new(policy, set);
        let (mut is_echo_epoch, mut echoes) = (BTreeMap::new(), Vec::new());
        let mut order = Vec::with_capacity(set.members().len());
        let draw = |(place, node): (usize, NodeId)| {
            let Candidate { operator, pool, kbit_s } = candidate(&node);
            lots.draw(&node);
            let has_echo = *is_echo_epoch.entry(pool).or_insert_with(|| is_multiple(policy, &seed, &pool));
            if has_echo {
                echoes.push((lots.echo_order(), place));
            }
            ScoredWorker {
                node,
                pool,
                echo_bytes: has_echo.then(|| echo_bytes(policy, kbit_s)),
                seats: seats_of(policy, &measurers.of(&node, &operator), &lots, &mut order),
            }
        };
        let mut scored: Vec<_> = choose(policy, &seed, workers).into_iter().enumerate().map(draw).collect();
        echoes.sort_unstable();
        bound_echoes(policy, set.members().len(), &mut scored, echoes.into_iter().map(|(_, place)| place));
        Self { seed, reporters: set.members().iter().map(|validator| validator.keys.id).collect(), scored }
    }

    /// The workers that the validator with this key measures, with its number of seats for each: what its report is about, in that
    /// order. Nothing for whoever is no reporter.
    pub fn assignment(&self, validator: &ValidatorId) -> Option<impl Iterator<Item = (&ScoredWorker, u8)>> {
        let reporter = u16::try_from(self.reporters.binary_search(validator).ok()?).ok()?;
        let held = move |worker: &ScoredWorker| {
            let found = worker.seats.binary_search_by_key(&reporter, |seats| seats.reporter).ok();
            found.map(|i| worker.seats[i].count)
        };
        Some(self.scored.iter().filter_map(move |worker| Some((worker, held(worker)?))))
    }

    /// Bytes of the echo that the validator with this key sends to a worker.
    pub fn echo_of(&self, validator: &ValidatorId, worker: &NodeId) -> Option<LogScale> {
        let reporter = u16::try_from(self.reporters.binary_search(validator).ok()?).ok()?;
        let place = self.scored.binary_search_by_key(worker, |scored| scored.node).ok()?;
        let scored = &self.scored[place];
        scored.seats.binary_search_by_key(&reporter, |seats| seats.reporter).ok()?;
        scored.echo_bytes
    }
}

/// The key of all outputs of an epoch.
fn key(seed: &Hash) -> Hash {
    Hash::derive("lucid seats 2", &[seed.as_bytes()])
}

/// What the seed draws for one worker: the extended output of BLAKE3, keyed with [`key`], over its id. Its first 16 bytes are the worker's
/// ticket ([`choose`]), the next 16 the place where its seats begin, 16 more its turn among the echoes, and from there on each 8 are a
/// number of the shuffle.
struct Lots {
    key: Hash,
    bytes: Vec<u8>,
}

impl Lots {
    const TICKET: usize = 16;
    const OFFSET: usize = 32;
    const ECHO: usize = 48;

    /// Outputs that suffice to shuffle `n` validators.
    fn new(seed: &Hash, n: usize) -> Self {
        Self { key: key(seed), bytes: vec![0; Self::ECHO + 8 * n.saturating_sub(1)] }
    }

    /// The output of a worker, in place of the one before.
    fn draw(&mut self, worker: &NodeId) {
        let mut hasher = blake3::Hasher::new_keyed(self.key.as_bytes());
        hasher.update(worker.as_bytes()).finalize_xof().fill(&mut self.bytes);
    }

    fn offset(&self) -> u128 {
        self.bytes[Self::TICKET..Self::OFFSET].first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes))
    }

    fn echo_order(&self) -> u128 {
        self.bytes[Self::OFFSET..Self::ECHO].first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes))
    }

    /// Shuffles after Fisher and Yates: from the last to the second, each changes places with one of those up to itself.
    fn shuffle<T>(&self, items: &mut [T]) {
        let (numbers, _) = self.bytes[Self::ECHO..].as_chunks();
        for (i, number) in (1..items.len()).rev().zip(numbers) {
            // Of 1,000 validators none is likelier than another by more than one part in 2^54.
            let other = (u128::from(u64::from_le_bytes(*number)) * (i as u128 + 1)) >> u64::BITS;
            items.swap(i, usize::try_from(other).unwrap_or(i));
        }
    }
}

/// At most `max_scored` of the workers, by id: of more, those with the smallest tickets, compared as bytes; ties go to the smaller id.
///
/// Takes one hash for each worker and room for twice as many as are chosen, however many there are.
fn choose(policy: &Policy, seed: &Hash, workers: impl IntoIterator<Item = NodeId>) -> Vec<NodeId> {
    let key = key(seed);
    let most = usize::try_from(policy.max_scored).unwrap_or(usize::MAX);
    let (mut kept, mut bound) = (Vec::new(), None);
    for worker in workers {
        // The first bytes of the worker's output, and cheaper alone.
        let hash = blake3::keyed_hash(key.as_bytes(), worker.as_bytes());
        let ticket = (hash.as_bytes().first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes)), worker);
        if bound.is_none_or(|bound| ticket < bound) {
            kept.push(ticket);
        }
        if kept.len() > most.saturating_mul(2) {
            bound = Some(keep_smallest(&mut kept, most));
        }
    }
    if kept.len() > most {
        keep_smallest(&mut kept, most);
    }
    let mut chosen: Vec<_> = kept.into_iter().map(|(_, worker)| worker).collect();
    chosen.sort_unstable();
    chosen
}

/// Drops all but the smallest `most` of more tickets, and returns the smallest that it drops.
fn keep_smallest<T: Ord + Copy>(tickets: &mut Vec<T>, most: usize) -> T {
    let (_, bound, _) = tickets.select_nth_unstable(most);
    let bound = *bound;
    tickets.truncate(most);
    bound
}

/// Whether an epoch is one of echo for the pool: one of `echo_every` is.
fn is_multiple(policy: &Policy, seed: &Hash, pool: &PoolId) -> bool {
    let hash = Hash::derive("lucid echo epoch 1", &[seed.as_bytes(), pool.as_bytes()]);
    let number = hash.as_bytes().first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
    number.is_multiple_of(policy.echo_every.max(1).into())
}

/// What a worker of this throughput echoes in `echo_ms`, within the policy's bounds. Everyone sends it as much, so that no liar can claim
/// another number.
fn echo_bytes(policy: &Policy, kbit_s: u64) -> LogScale {
    let bytes = kbit_s.saturating_mul(policy.echo_ms) / 8;
    LogScale::encode(bytes.max(policy.echo_min_bytes).min(policy.echo_max_bytes))
}

/// Takes away echoes until no validator sends more than the policy's bytes in the epoch: in their order, which the seed has drawn, each worker
/// keeps its echo if all that hold its seats can still send it.
///
/// If every validator left out what is too much for itself, each would leave out others, and hardly a worker of a large pool would be given
/// echoes by a quorum.
fn bound_echoes(policy: &Policy, n_reporters: usize, scored: &mut [ScoredWorker], order: impl Iterator<Item = usize>) {
    let mut loads = vec![0u64; n_reporters];
    for place in order {
        let worker = &mut scored[place];
        let bytes = worker.echo_bytes.map_or(0, LogScale::value);
        let fits = |load: &u64| load.saturating_add(bytes) <= policy.echo_epoch_bytes;
        let holders = || worker.seats.iter().map(|seats| usize::from(seats.reporter));
        if holders().all(|reporter| loads.get(reporter).is_some_and(fits)) {
            // One echo, however many seats.
            holders().for_each(|reporter| loads[reporter] += bytes);
        } else {
            worker.echo_bytes = None;
        }
    }
}

/// Those that may measure a worker.
#[derive(Clone, Debug, Default)]
struct Line {
    /// Their places among the reporters, and their powers. Empty if they are too few or too weak.
    members: Vec<(u16, u64)>,
    /// The sum of their powers.
    power: u64,
}

impl Line {
    fn new(policy: &Policy, set: &ValidatorSet, may_measure: impl Fn(&Validator) -> bool) -> Self {
        let eligible = (0..).zip(set.members()).filter(|(_, validator)| may_measure(validator));
        let eligible: Vec<(u16, &Validator)> = eligible.collect();
        let power = eligible.iter().map(|(_, validator)| validator.power).sum();
        if !is_enough(policy, set, &eligible, power) {
            return Self::default();
        }
        Self { members: eligible.iter().map(|(place, validator)| (*place, validator.power)).collect(), power }
    }
}

/// Who may measure which worker: all but the worker itself and those of its operator.
struct Measurers<'a> {
    policy: &'a Policy,
    set: &'a ValidatorSet,
    operators: BTreeSet<NodeId>,
    /// Of the workers that no validator has to do with, which are most.
    everyone: Line,
}

impl<'a> Measurers<'a> {
    fn new(policy: &'a Policy, set: &'a ValidatorSet) -> Self {
        let operators = set.members().iter().map(|validator| validator.operator).collect();
        Self { policy, set, operators, everyone: Line::new(policy, set, |_| true) }
    }

    fn of(&self, worker: &NodeId, operator: &NodeId) -> Cow<'_, Line> {
        let is_validator = self.set.of(worker).is_some();
        if !is_validator && !self.operators.contains(operator) {
            return Cow::Borrowed(&self.everyone);
        }
        let may_measure = |validator: &Validator| validator.operator != *operator && validator.node != *worker;
        Cow::Owned(Line::new(self.policy, self.set, may_measure))
    }
}

/// The seats of the worker whose lots these are. `order` is room for the shuffled line.
fn seats_of(policy: &Policy, line: &Line, lots: &Lots, order: &mut Vec<(u16, u64)>) -> Vec<Seats> {
    order.clear();
    order.extend_from_slice(&line.members);
    lots.shuffle(order);
    let counts = systematic(order.iter().map(|(_, power)| *power), line.power, lots.offset(), policy.seats);
    let mut seats = Vec::with_capacity(order.len().min(usize::try_from(policy.seats).unwrap_or(usize::MAX)));
    let held = order.iter().zip(counts).filter(|(_, count)| *count > 0);
    seats.extend(held.map(|((reporter, _), count)| Seats { reporter: *reporter, count }));
    seats.sort_unstable_by_key(|seats| seats.reporter);
    seats
}

/// Whether those that may measure a worker are enough to be believed: they hold more than `min_seat_power` of all power, and
/// `min_seat_operators` run them.
fn is_enough(policy: &Policy, set: &ValidatorSet, eligible: &[(u16, &Validator)], power: u64) -> bool {
    let mut operators = Vec::new();
    let least = usize::try_from(policy.min_seat_operators).unwrap_or(usize::MAX);
    for (_, validator) in eligible {
        if operators.len() < least && !operators.contains(&validator.operator) {
            operators.push(validator.operator);
        }
    }
    let whole = u128::from(Ppm::ONE.get());
    operators.len() >= least
        && u128::from(power) * whole > u128::from(set.total()) * u128::from(policy.min_seat_power.get())
}

/// How many of `seats` each of the powers gets, which sum to `total` > 0. With `u = offset mod total`, seat `i` from 0 on goes to the one
/// for which `seats * before <= u + i * total < seats * (before + power)`, `before` being the sum of the powers in front of it.
///
/// Nothing overflows: powers sum to at most 2^60, and there are at most 100 seats.
fn systematic(powers: impl Iterator<Item = u64>, total: u64, offset: u128, seats: u32) -> impl Iterator<Item = u8> {
    let (total, seats) = (u128::from(total.max(1)), u128::from(seats));
    let (mut next_seat, mut end) = (offset % total, 0);
    powers.map(move |power| {
        end += seats * u128::from(power);
        let mut count = 0u8;
        while next_seat < end {
            next_seat += total;
            count = count.saturating_add(1);
        }
        count
    })
}

#[cfg(test)]
mod tests;
