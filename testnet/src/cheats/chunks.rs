//! Chunks that validators deposit with machines, as far as it matters which of them are there: no bytes are kept. Their secrets, and how chunks follow
//! from them, are the product's.

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_consensus::ledger::state::{Rows, State};
use lucid_node::probe::core::{Ask, StorageFault};
use lucid_node::probe::{ChunkSeed, StorageSecret, StoredAt};
use lucid_score::draw::{EpochDraw, ScoredWorker};
use lucid_score::storage::{committee, term_start};
use lucid_types::genesis::Genesis;
use lucid_types::id::{Hash, NetworkId, NodeId, ValidatorId};
use lucid_types::policy::Policy;
use lucid_types::storage::{ChunkRange, DepositId, StorageRefusal};

use super::world::{Disk, World};

/// What each validator has deposited with each worker for each term: how many chunks the worker has said to have taken.
pub(super) struct Chunks(BTreeMap<(usize, NodeId, u64), u32>);

/// Of what all chunks follow that a validator deposits.
#[derive(Clone)]
pub(super) struct Depositor {
    network: NetworkId,
    number: usize,
    account: NodeId,
    secret: StorageSecret,
}

impl Depositor {
    /// A validator of a world.
    pub(super) fn new(world: &World, seed: u64, genesis: &Genesis, (number, account): (usize, NodeId)) -> Self {
        let network = genesis.network_id();
        let own = Hash::derive("lucid simulated secret 1", &[&seed.to_le_bytes(), account.as_bytes()]);
        let secret = if world.has_public_secrets { public_secret(&network, &account) } else { secret(own) };
        Self { network, number, account, secret }
    }

    fn deposit(&self, worker: &NodeId, term: u64) -> DepositId {
        self.secret.deposit(&self.network, &self.account, worker, term)
    }

    /// The ranges that a worker makes who knows the secret, or takes it for one that follows from what everybody knows.
    fn made(&self, world: &World, knows: bool, worker: &NodeId, term: u64, ranges: &[ChunkRange]) -> Vec<u8> {
        let guess = public_secret(&self.network, &self.account);
        let secret = if knows { &self.secret } else { &guess };
        let seed = secret.seed(&self.network, &self.account, worker, term);
        let length = usize::try_from(world.policy.storage_range_bytes).unwrap_or(usize::MAX);
        let part = |range: &ChunkRange| {
            let start = usize::try_from(range.offset).unwrap_or(usize::MAX);
            seed.chunk(range.index).into_iter().skip(start).take(length)
        };
        ranges.iter().flat_map(part).collect()
    }

    fn seed(&self, worker: &NodeId, term: u64) -> ChunkSeed {
        self.secret.seed(&self.network, &self.account, worker, term)
    }
}

fn secret(hash: Hash) -> StorageSecret {
    StorageSecret::new((*hash.as_bytes()).into())
}

/// What a validator's secret is if it is none.
fn public_secret(network: &NetworkId, account: &NodeId) -> StorageSecret {
    secret(Hash::derive("lucid simulated public secret 1", &[network.as_bytes(), account.as_bytes()]))
}

/// What comes of a request, and how long that takes beside the way there and back.
pub(super) struct Answer {
    pub(super) outcome: Result<u32, StorageFault>,
    pub(super) delay: Duration,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Throws away what belongs to terms that are over.
    pub(super) fn collect(&mut self, policy: &Policy, settlement: u64) {
        let is_over = |worker: &NodeId, term: u64| term < term_start(policy, worker, settlement);
        self.0.retain(|(_, worker, term), _| !is_over(worker, *term));
    }

    /// What a worker with this disk answers a validator.
    pub(super) fn answer(
        &mut self,
        world: &World,
        disk: Disk,
        depositor: &Depositor,
        worker: NodeId,
        deposit: &DepositId,
        ask: &Ask,
    ) -> Answer {
        let (term, validator) = (deposit.term, depositor.number);
        let taken: u32 = self.0.iter().filter(|((_, of, _), _)| *of == worker).map(|(_, chunks)| chunks).sum();
        let held = self.0.entry((validator, worker, term)).or_default();
        let wrong = Err(StorageFault::Wrong);
        let (outcome, delay) = match (ask, disk) {
            (Ask::Held, _) => (Ok(*held), Duration::ZERO),
            (Ask::Deposit(index), _) if index != held => {
                (Err(StorageFault::Refused(Some(StorageRefusal::OutOfOrder { next: *held }))), Duration::ZERO)
            }
            (Ask::Deposit(_), Disk::Real { room, of_each, .. }) if taken >= room || *held >= of_each => {
                (Err(StorageFault::Refused(Some(StorageRefusal::Full))), Duration::ZERO)
            }
            (Ask::Deposit(_), _) => {
                *held += 1;
                (Ok(*held), Duration::from_millis(200))
            }
            (Ask::Challenge(_), Disk::None) => (wrong, Duration::ZERO),
            (Ask::Challenge(ranges), Disk::Real { keeps, .. }) => {
                let is_there = |range: &ChunkRange| is_kept(worker, deposit, range, keeps);
                (if ranges.iter().all(is_there) { Ok(0) } else { wrong }, Duration::from_millis(10))
            }
            (Ask::Challenge(_), Disk::AtFriend { round_trip }) => (Ok(0), round_trip),
            (Ask::Challenge(_), Disk::Of { keeps }) => {
                (if keeps(validator) { Ok(0) } else { wrong }, Duration::from_millis(10))
            }
            // Chunks are made anew faster than they are read.
            (Ask::Challenge(ranges), Disk::Regenerated { knows }) => {
                let bytes = depositor.made(world, knows(validator), &worker, term, ranges);
                let is_right = depositor.seed(&worker, term).is_right(ranges, world.policy.storage_range_bytes, &bytes);
                (if is_right { Ok(0) } else { wrong }, Duration::ZERO)
            }
        };
        Answer { outcome, delay }
    }
}

/// Whether a block of a chunk was not thrown away, of which `keeps` of a hundred were kept.
fn is_kept(worker: NodeId, deposit: &DepositId, range: &ChunkRange, keeps: u8) -> bool {
    let block = (range.offset >> 10).to_le_bytes();
    let parts = [worker.as_bytes(), deposit.tag.as_bytes(), &range.index.to_le_bytes()[..], &block];
    let hash = blake3::hash(&parts.concat());
    let number = hash.as_bytes().first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    number % 100 < u32::from(keeps)
}

/// The chunks that a validator deposits with workers and challenges in an epoch: of its committees that are under way, and those that begin in
/// the next settlement.
pub(super) fn stored(
    world: &World,
    state: &State,
    draw: &EpochDraw,
    (id, depositor): (&ValidatorId, &Depositor),
) -> Vec<StoredAt> {
    let policy = &world.policy;
    let open = policy.settlement_of(state.closed().next());
    let at = |worker: &ScoredWorker, seats, settlement| {
        let term = term_start(policy, &worker.node, settlement);
        let deposit = depositor.deposit(&worker.node, term);
        StoredAt { worker: worker.node, seats, quota: worker.quota, deposit, is_challenged: settlement == open }
    };
    let challenged = draw.storage_assignment(id).into_iter().flatten().map(|(worker, seats)| at(worker, seats, open));
    let (next, terms) = (open + 1, state.storage_terms());
    let begins = |worker: &&ScoredWorker| worker.quota > 0 && term_start(policy, &worker.node, next) == next;
    let ahead = draw.scored.iter().filter(begins).filter_map(|worker| {
        let operator = state.node(&worker.node).map_or(worker.node, |node| node.operator);
        let seats = committee(policy, &terms, &worker.node, &operator, next);
        let (_, seats) = seats.into_iter().find(|(holder, _)| *holder == depositor.account)?;
        Some(at(worker, seats, next))
    });
    challenged.chain(ahead).collect()
}
