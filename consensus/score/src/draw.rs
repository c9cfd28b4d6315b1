//! Who measures whom in an epoch: the workers that are scored, the seats that validators hold for each of them, and its echo.
//!
//! Everything follows from the epoch's seed and the state, and every node computes the same: the prober which workers to measure, the
//! ledger what a report is about.

use std::borrow::Cow;

use lucid_types::codec::Wire;
use lucid_types::id::{Hash, NodeId, PoolId, ValidatorId};
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::policy::Policy;
use lucid_types::report::AssignedWorker;
use lucid_types::time::Epoch;
use lucid_types::validator::ValidatorSet;
use serde::{Deserialize, Serialize};

use crate::seats::{Holder, Seating, Seats};
use crate::storage::{Committees, Terms};

/// What the draw has to know of a worker that is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who runs it.
    pub operator: NodeId,
    /// The pool that it is a member of.
    pub pool: PoolId,
    /// Its throughput, as far as it is agreed on and declared; 0 if there is none.
    pub kbit_s: u64,
    /// Disk that it declares to offer.
    pub disk_bytes: u64,
    /// Whether it takes echoes and storage chunks.
    pub takes_traffic: bool,
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

/// A worker that is scored in an epoch: at most `93 + 6 * seats` bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoredWorker {
    /// The worker.
    pub node: NodeId,
    /// The pool that it is scored for, whatever becomes of its membership until the scores are final.
    pub pool: PoolId,
    /// Where it was agreed to be last.
    pub group: NetworkGroup,
    /// Members that count in the epoch and were agreed to be there, drawn or not, itself included; 1 if that does not matter.
    pub sharers: u16,
    /// Chunks that each of its storage seats may hold deposited.
    pub quota: u16,
    /// Bytes of an echo to it, if it is given one in the epoch: by all that hold its seats.
    pub echo_bytes: Option<LogScale>,
    /// Who measures it, in the order of the reporters. Empty if those that may are too few or too weak.
    pub seats: Vec<Seats>,
    /// Who holds chunks with it, likewise: those of its storage committee that are validators. Empty if it has no quota.
    pub storage: Vec<Seats>,
}

impl ScoredWorker {
    /// What a report has to know of it.
    pub const fn assigned(&self) -> AssignedWorker {
        AssignedWorker { has_echo: self.echo_bytes.is_some(), group: self.group }
    }
}

impl EpochDraw {
    /// Draws at most `max_scored` of the workers, each of which is named once with the group in which it was agreed to be last, and the
    /// seats of each, whatever the order of the workers.
    ///
    /// `candidate` is asked about those that are drawn only, by ascending id.
    pub fn new(
        policy: &Policy,
        seed: Hash,
        epoch: Epoch,
        set: &ValidatorSet,
        terms: &Terms<'_>,
        workers: impl IntoIterator<Item = (NodeId, NetworkGroup)>,
        mut candidate: impl FnMut(&NodeId) -> Candidate,
    ) -> Self {
        let mut groups = Groups::default();
        let workers = workers.into_iter().inspect(|(_, group)| groups.add(policy, *group));
        let chosen = choose(policy, &seed, workers);
        groups.0.sort_unstable();
        let mut seating = Seating::new(policy, key(&seed), Cow::Owned(Holder::all_of(set)));
        let mut committees = Committees::new(policy, terms, policy.settlement_of(epoch), set);
        let echo_epochs = echo_key(&seed);
        let mut echoes = Vec::new();
        let draw = |(place, (node, group)): (usize, (NodeId, NetworkGroup))| {
            let Candidate { operator, pool, kbit_s, disk_bytes, takes_traffic } = candidate(&node);
            let seats = seating.of(&node, &operator);
            let has_echo = takes_traffic && is_echo_epoch(policy, &echo_epochs, &group, &pool);
            if has_echo {
                echoes.push((seating.echo_order(), place));
            }
            let quota = if takes_traffic { policy.storage_quota(disk_bytes) } else { 0 };
            ScoredWorker {
                node,
                pool,
                group,
                sharers: groups.count(group),
                quota,
                echo_bytes: has_echo.then(|| echo_bytes(policy, kbit_s)),
                seats,
                storage: if quota > 0 { committees.of(&node, &operator) } else { Vec::new() },
            }
        };
        let mut scored: Vec<_> = chosen.into_iter().enumerate().map(draw).collect();
        echoes.sort_unstable();
        bound_echoes(policy, set.members().len(), &mut scored, echoes.into_iter().map(|(_, place)| place));
        Self { seed, reporters: set.members().iter().map(|validator| validator.keys.id).collect(), scored }
    }

    /// The workers that the validator with this key measures, with its number of seats for each: what its report is about, in that
    /// order. Nothing for whoever is no reporter.
    pub fn assignment(&self, validator: &ValidatorId) -> Option<impl Iterator<Item = (&ScoredWorker, u8)>> {
        Some(self.held_by(validator, |worker| &worker.seats)?.map(|(place, count)| (&self.scored[place], count)))
    }

    /// The same of the workers with whom it may hold chunks and challenges them, with its number of storage seats for each.
    pub fn storage_assignment(&self, validator: &ValidatorId) -> Option<impl Iterator<Item = (&ScoredWorker, u8)>> {
        Some(self.held_by(validator, |worker| &worker.storage)?.map(|(place, count)| (&self.scored[place], count)))
    }

    /// Places of the workers of whom a validator holds seats, with their numbers.
    pub(crate) fn held_by(
        &self,
        validator: &ValidatorId,
        seats: impl Fn(&ScoredWorker) -> &[Seats],
    ) -> Option<impl Iterator<Item = (usize, u8)>> {
        let reporter = u16::try_from(self.reporters.binary_search(validator).ok()?).ok()?;
        let held = move |(place, worker): (usize, &ScoredWorker)| {
            let seats = seats(worker);
            let found = seats.binary_search_by_key(&reporter, |seats| seats.reporter).ok()?;
            Some((place, seats[found].count))
        };
        Some(self.scored.iter().enumerate().filter_map(held))
    }

    /// Whether the epoch is one of echo for the workers of a group, or for those of a pool that are in none. Not all of them need have one: see
    /// [`Policy::echo_epoch_bytes`].
    pub fn is_echo_epoch(&self, policy: &Policy, group: &NetworkGroup, pool: &PoolId) -> bool {
        is_echo_epoch(policy, &echo_key(&self.seed), group, pool)
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

/// The key of what says for whom an epoch is one of echo.
fn echo_key(seed: &Hash) -> Hash {
    Hash::derive("lucid echo epoch 2", &[seed.as_bytes()])
}

/// The groups of all workers that are in one, if they share: sorted, to be counted.
#[derive(Default)]
struct Groups(Vec<NetworkGroup>);

impl Groups {
    fn add(&mut self, policy: &Policy, group: NetworkGroup) {
        if policy.one_per_network && group.is_some() {
            self.0.push(group);
        }
    }

    /// How many are in this one; 1 if nobody shares it.
    fn count(&self, group: NetworkGroup) -> u16 {
        let first = self.0.partition_point(|it| *it < group);
        let n = self.0[first..].partition_point(|it| *it == group);
        u16::try_from(n).unwrap_or(u16::MAX).max(1)
    }
}

/// At most `max_scored` of the workers, by id: of more, those with the smallest tickets, compared as bytes; ties go to the smaller id.
///
/// Takes one hash for each worker and room for twice as many as are chosen, however many there are.
fn choose(
    policy: &Policy,
    seed: &Hash,
    workers: impl IntoIterator<Item = (NodeId, NetworkGroup)>,
) -> Vec<(NodeId, NetworkGroup)> {
    let key = key(seed);
    let most = usize::try_from(policy.max_scored).unwrap_or(usize::MAX);
    let (mut kept, mut bound) = (Vec::new(), None);
    for (worker, group) in workers {
        // The first bytes of the worker's output, and cheaper alone.
        let hash = blake3::keyed_hash(key.as_bytes(), worker.as_bytes());
        let ticket = (hash.as_bytes().first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes)), worker, group);
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
    let mut chosen: Vec<_> = kept.into_iter().map(|(_, worker, group)| (worker, group)).collect();
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

/// Whether an epoch is one of echo for the workers of a group, or for those of a pool that are in none: one of `echo_every` is.
fn is_echo_epoch(policy: &Policy, key: &Hash, group: &NetworkGroup, pool: &PoolId) -> bool {
    let them: &[u8] = if group.is_some() { group.as_bytes() } else { pool.as_bytes() };
    let hash = blake3::keyed_hash(key.as_bytes(), them);
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

#[cfg(test)]
mod tests;
