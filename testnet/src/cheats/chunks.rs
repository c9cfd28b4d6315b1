//! Chunks that validators deposit with machines, as far as it matters which of them are there: no bytes are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_consensus::ledger::state::{Rows, State};
use lucid_node::probe::StoredAt;
use lucid_node::probe::core::{Ask, StorageFault};
use lucid_score::draw::{EpochDraw, ScoredWorker};
use lucid_score::storage::{committee, term_start};
use lucid_types::id::{Hash, NodeId, ValidatorId};
use lucid_types::policy::Policy;
use lucid_types::storage::{ChunkRange, DepositId, StorageRefusal};

use super::world::{Disk, World};

/// What each validator has deposited with each worker for each term: how many chunks the worker has said to have taken.
pub(super) struct Chunks(BTreeMap<(usize, NodeId, u64), u32>);

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
        disk: Disk,
        validator: usize,
        worker: NodeId,
        deposit: &DepositId,
        ask: &Ask,
    ) -> Answer {
        let taken: u32 = self.0.iter().filter(|((_, of, _), _)| *of == worker).map(|(_, chunks)| chunks).sum();
        let held = self.0.entry((validator, worker, deposit.term)).or_default();
        let wrong = Err(StorageFault::Wrong);
        let (outcome, delay) = match (ask, disk) {
            (Ask::Held, _) => (Ok(*held), Duration::ZERO),
            (Ask::Deposit(index), _) if index != held => {
                (Err(StorageFault::Refused(Some(StorageRefusal::OutOfOrder { next: *held }))), Duration::ZERO)
            }
            (Ask::Deposit(_), Disk::Real { room, .. }) if taken >= room => {
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
            // Chunks are made anew faster than they are read.
            (Ask::Challenge(_), Disk::Regenerated { knows }) => {
                (if knows(validator) { Ok(0) } else { wrong }, Duration::ZERO)
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
    (id, account): (&ValidatorId, &NodeId),
) -> Vec<StoredAt> {
    let policy = &world.policy;
    let open = policy.settlement_of(state.closed().next());
    let at = |worker: &ScoredWorker, seats, settlement| {
        let term = term_start(policy, &worker.node, settlement);
        let parts: [&[u8]; 3] = [account.as_bytes(), worker.node.as_bytes(), &term.to_le_bytes()];
        let deposit = DepositId { term, tag: Hash::derive("lucid simulated deposit 1", &parts) };
        StoredAt { worker: worker.node, seats, quota: worker.quota, deposit, is_challenged: settlement == open }
    };
    let challenged = draw.storage_assignment(id).into_iter().flatten().map(|(worker, seats)| at(worker, seats, open));
    let (next, terms) = (open + 1, state.storage_terms());
    let begins = |worker: &&ScoredWorker| worker.quota > 0 && term_start(policy, &worker.node, next) == next;
    let ahead = draw.scored.iter().filter(begins).filter_map(|worker| {
        let operator = state.node(&worker.node).map_or(worker.node, |node| node.operator);
        let seats = committee(policy, &terms, &worker.node, &operator, next);
        let (_, seats) = seats.into_iter().find(|(holder, _)| holder == account)?;
        Some(at(worker, seats, next))
    });
    challenged.chain(ahead).collect()
}
