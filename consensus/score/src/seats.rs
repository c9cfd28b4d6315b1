//! Who measures whom in an epoch: the workers that are scored, and the seats that validators hold for each of them.
//!
//! Everything follows from the epoch's seed, and every node computes the same: the prober which workers to measure, the ledger
//! what a report is about. A validator's weight in a worker's medians is its number of seats for it and nothing else: seats are
//! drawn in proportion to power, so weighting by power again would count it twice.
//!
//! Seats are drawn *systematically*: the validators' powers lie end to end on a line, in an order that the seed shuffles for each
//! worker, and the seats stand on it at equal distances, from a random place on. So each validator holds its share of the seats,
//! rounded down or up; with independent draws four validators would often leave a worker to one or two of them.

use lucid_types::amount::Ppm;
use lucid_types::id::{Hash, NodeId, PoolId};
use lucid_types::log_scale::LogScale;
use lucid_types::policy::Policy;
use lucid_types::validator::{Validator, ValidatorSet};
use serde::{Deserialize, Serialize};

/// A worker that may be scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The worker.
    pub node: NodeId,
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
    /// The validators by id.
    pub reporters: Vec<NodeId>,
    /// The scored workers by id.
    pub scored: Vec<ScoredWorker>,
}

/// A worker that is scored in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoredWorker {
    /// The worker.
    pub node: NodeId,
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
    /// Draws at most `max_scored` of the workers, and the seats of each, whatever the order of the workers.
    pub fn new(policy: &Policy, seed: Hash, set: &ValidatorSet, workers: impl IntoIterator<Item = Candidate>) -> Self {
        let mut workers: Vec<_> = workers.into_iter().collect();
        let most = usize::try_from(policy.max_scored).unwrap_or(usize::MAX);
        if workers.len() > most {
            let ticket = |worker: &Candidate| draw("lucid scored worker 1", &seed, &[worker.node.as_bytes()]);
            workers.sort_by_cached_key(ticket);
            workers.truncate(most);
        }
        workers.sort_unstable_by_key(|worker| worker.node);
        let scored = |worker: &Candidate| ScoredWorker {
            node: worker.node,
            echo_bytes: is_echo_epoch(policy, &seed, worker).then(|| echo_bytes(policy, worker.kbit_s)),
            seats: seats_of(policy, &seed, set, worker),
        };
        let mut scored: Vec<_> = workers.iter().map(scored).collect();
        bound_echoes(policy, &seed, set.members().len(), &mut scored);
        Self { seed, reporters: set.members().iter().map(|validator| validator.node).collect(), scored }
    }

    /// The workers that a validator measures, with its number of seats for each: what its report is about, in that order. Nothing
    /// for whoever is no reporter.
    pub fn assignment(&self, validator: &NodeId) -> Option<impl Iterator<Item = (&ScoredWorker, u8)>> {
        let reporter = u16::try_from(self.reporters.binary_search(validator).ok()?).ok()?;
        let held = move |worker: &ScoredWorker| {
            let found = worker.seats.binary_search_by_key(&reporter, |seats| seats.reporter).ok();
            found.map(|i| worker.seats[i].count)
        };
        Some(self.scored.iter().filter_map(move |worker| Some((worker, held(worker)?))))
    }

    /// Bytes of the echo that a validator sends to a worker.
    pub fn echo_of(&self, validator: &NodeId, worker: &NodeId) -> Option<LogScale> {
        let reporter = u16::try_from(self.reporters.binary_search(validator).ok()?).ok()?;
        let place = self.scored.binary_search_by_key(worker, |scored| scored.node).ok()?;
        let scored = &self.scored[place];
        scored.seats.binary_search_by_key(&reporter, |seats| seats.reporter).ok()?;
        scored.echo_bytes
    }
}

fn draw(context: &'static str, seed: &Hash, parts: &[&[u8]]) -> Hash {
    Hash::derive(context, &[&[seed.as_bytes().as_slice()], parts].concat())
}

/// The first 16 bytes of the hash as a little-endian number.
fn number(hash: &Hash) -> u128 {
    hash.as_bytes().first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes))
}

/// Whether an epoch is one of echo for the worker's pool: one of `echo_every` is.
fn is_echo_epoch(policy: &Policy, seed: &Hash, worker: &Candidate) -> bool {
    number(&draw("lucid echo epoch 1", seed, &[worker.pool.as_bytes()])).is_multiple_of(policy.echo_every.max(1).into())
}

/// What a worker of this throughput echoes in `echo_ms`, within the policy's bounds. Everyone sends it as much, so that no liar can claim
/// another number.
fn echo_bytes(policy: &Policy, kbit_s: u64) -> LogScale {
    let bytes = kbit_s.saturating_mul(policy.echo_ms) / 8;
    LogScale::encode(bytes.max(policy.echo_min_bytes).min(policy.echo_max_bytes))
}

/// Takes away echoes until no validator sends more than the policy's bytes in the epoch: in an order that the seed shuffles, each worker
/// keeps its echo if all that hold its seats can still send it.
///
/// If every validator left out what is too much for itself, each would leave out others, and hardly a worker of a large pool would be given
/// echoes by a quorum.
fn bound_echoes(policy: &Policy, seed: &Hash, n_reporters: usize, scored: &mut [ScoredWorker]) {
    let mut order: Vec<&mut ScoredWorker> = scored.iter_mut().filter(|worker| worker.echo_bytes.is_some()).collect();
    order.sort_by_cached_key(|worker| draw("lucid echo order 1", seed, &[worker.node.as_bytes()]));
    let mut loads = vec![0u64; n_reporters];
    for worker in order {
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

fn seats_of(policy: &Policy, seed: &Hash, set: &ValidatorSet, worker: &Candidate) -> Vec<Seats> {
    let may_measure = |validator: &Validator| validator.operator != worker.operator && validator.node != worker.node;
    let eligible = (0..).zip(set.members()).filter(|(_, validator)| may_measure(validator));
    let mut eligible: Vec<(u16, &Validator)> = eligible.collect();
    let power: u64 = eligible.iter().map(|(_, validator)| validator.power).sum();
    if !is_enough(policy, set, &eligible, power) {
        return Vec::new();
    }
    // The same hash tells where on the line the seats begin and is the key of those that order the validators on it.
    let key = draw("lucid seats 1", seed, &[worker.node.as_bytes()]);
    eligible.sort_by_cached_key(|(_, validator)| {
        let hash = blake3::keyed_hash(key.as_bytes(), validator.node.as_bytes());
        // More than enough to tell them apart, and faster to compare than all of it.
        hash.as_bytes().first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes))
    });
    let powers = eligible.iter().map(|(_, validator)| validator.power);
    let counts = systematic(powers, power, number(&key), policy.seats);
    let held = eligible.iter().zip(counts).filter(|(_, count)| *count > 0);
    let mut seats: Vec<_> = held.map(|((reporter, _), count)| Seats { reporter: *reporter, count }).collect();
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
    let offset = offset % total;
    // How many seats stand below this place.
    let below = move |place: u128| place.saturating_sub(offset).div_ceil(total);
    powers.scan(0, move |before, power| {
        let start = *before;
        *before += u128::from(power);
        u8::try_from(below(seats * *before) - below(seats * start)).ok()
    })
}

#[cfg(test)]
mod tests;
