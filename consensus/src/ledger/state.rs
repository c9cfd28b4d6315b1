//! What the network knows after a block.

use std::collections::{BTreeMap, BTreeSet};

use lucid_score::standing::{ScoreRow, Standing};
use lucid_types::amount::MicroUsdt;
use lucid_types::codec::{MAX_MESSAGE_BYTES, Wire, encode};
use lucid_types::id::{BlockHash, Hash, NodeId, PayoutAddress, PayoutId, PoolId, StateRoot};
use lucid_types::payout::{PayoutAttempt, Verdict};
use lucid_types::policy::Policy;
use lucid_types::time::{EpochNumber, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::ledger::root::{leaf, merkle_root};
use crate::network::Network;

/// The replicated state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Height of the newest block.
    pub height: EpochNumber,
    /// Hash of the newest block; the network id at height 0. Not part of the root, which the block itself carries.
    pub block: BlockHash,
    /// Time of the newest block; the genesis time at height 0.
    pub time: UnixMillis,
    /// Random beacons by epoch, those that are still needed.
    pub beacons: BTreeMap<EpochNumber, Hash>,
    /// Epochs whose scores are not final yet.
    pub pending: BTreeMap<EpochNumber, PendingEpoch>,
    /// Running sums of every worker.
    pub standings: BTreeMap<NodeId, Standing>,
    /// Roots of the rows of the epochs that are still in a window.
    pub row_roots: BTreeMap<EpochNumber, Hash>,
    /// The pools.
    pub pools: BTreeMap<PoolId, PoolState>,
    /// Payouts that have not ended.
    pub payouts: BTreeMap<PayoutId, Payout>,
}

impl Wire for State {
    const MAX_BYTES: usize = MAX_MESSAGE_BYTES;
}

/// An epoch between its first commit and its final scores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingEpoch {
    /// Committed report hashes by validator.
    pub commits: BTreeMap<NodeId, Hash>,
    /// Who has revealed its report: the reports themselves stand in the blocks.
    pub revealed: BTreeSet<NodeId>,
}

/// A pool's accounts. Always `paid + open + balances + carried == budgets`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolState {
    /// Sum of all budgets so far.
    pub budgets: MicroUsdt,
    /// Sum of all payouts that ended as paid.
    pub paid: MicroUsdt,
    /// Budget that nobody earned.
    pub carried: MicroUsdt,
    /// Owed, not yet a payout; the owner's commission stands under the owner's id.
    pub balances: BTreeMap<NodeId, MicroUsdt>,
    /// Shares earned in the settlement that is under way.
    pub shares: BTreeMap<NodeId, u128>,
    /// The elections whose payouts have not ended, and the newest.
    pub elections: BTreeMap<u64, Election>,
    /// The settlement that each node led last.
    pub last_led: BTreeMap<NodeId, u64>,
    /// No new attempt opens: a transfer did something unexpected.
    pub paused: bool,
}

/// Who carries the payouts of a settlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Election {
    /// The block that elected.
    pub height: EpochNumber,
    /// The leader first, then its successors in order. Empty if nobody can lead.
    pub order: Vec<NodeId>,
}

/// What a pool owes one worker for one settlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payout {
    /// The pool.
    pub pool: PoolId,
    /// The settlement.
    pub settlement: u64,
    /// The worker, or the pool's owner for its commission.
    pub worker: NodeId,
    /// Where to.
    pub to: PayoutAddress,
    /// How much.
    pub amount: MicroUsdt,
    /// Attempts opened so far.
    pub attempts: u32,
    /// Attempts that failed so far.
    pub failures: u32,
    /// The attempt that is open.
    pub open: Option<OpenAttempt>,
}

impl Payout {
    /// Whether it failed so often that no further attempt opens, until a person has looked at it.
    pub const fn is_held(&self, policy: &Policy) -> bool {
        self.failures >= policy.max_failures
    }

    /// Whether it waits for its next attempt.
    pub const fn is_waiting(&self, policy: &Policy) -> bool {
        self.open.is_none() && !self.is_held(policy)
    }
}

/// An attempt under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAttempt {
    /// Everything from which the transaction's bytes follow.
    pub attempt: PayoutAttempt,
    /// The block that opened it.
    pub height: EpochNumber,
    /// That block's time.
    pub time: UnixMillis,
    /// Verdicts by validator; the first of each stands.
    pub votes: BTreeMap<NodeId, Verdict>,
}

/// The rows of one final epoch, by worker. Immutable; storage keeps them, the state their root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRows {
    /// The epoch.
    pub epoch: EpochNumber,
    /// One row for each worker that was measured.
    pub rows: Vec<ScoreRow>,
}

impl Wire for EpochRows {
    const MAX_BYTES: usize = 4 << 20;
}

impl EpochRows {
    /// The Merkle root over the rows.
    pub fn root(&self) -> Hash {
        let leaves: Vec<_> = self.rows.iter().map(|row| leaf(row.worker.as_bytes(), &encode(row))).collect();
        merkle_root(&leaves)
    }
}

/// The part of the state that is one leaf.
#[derive(Serialize)]
struct Head<'a> {
    height: EpochNumber,
    time: UnixMillis,
    beacons: &'a BTreeMap<EpochNumber, Hash>,
    row_roots: &'a BTreeMap<EpochNumber, Hash>,
}

impl State {
    /// The state before block 1.
    pub fn genesis(network: &Network) -> Self {
        let last = 2 * network.policy().commit_window + 1;
        let beacon = |epoch: u64| {
            let parts: [&[u8]; 2] = [network.id().as_bytes(), &epoch.to_le_bytes()];
            (EpochNumber::new(epoch), Hash::derive("lucid first beacons 1", &parts))
        };
        Self {
            height: EpochNumber::ZERO,
            block: BlockHash::from(*network.id()),
            time: network.genesis().genesis_time,
            beacons: (1..=last).map(beacon).collect(),
            pending: BTreeMap::new(),
            standings: network.workers().map(|worker| (worker.node, Standing::default())).collect(),
            row_roots: BTreeMap::new(),
            pools: network.pools().map(|(id, _)| (*id, PoolState::default())).collect(),
            payouts: BTreeMap::new(),
        }
    }

    /// The Merkle root over all of the state but the newest block's own hash.
    pub fn root(&self) -> StateRoot {
        let head = Head { height: self.height, time: self.time, beacons: &self.beacons, row_roots: &self.row_roots };
        let mut leaves = vec![leaf(&[0], &encode(&head))];
        let keyed = |tag: u8, id: &[u8]| [&[tag], id].concat();
        leaves.extend(self.standings.iter().map(|(id, standing)| leaf(&keyed(1, id.as_bytes()), &encode(standing))));
        leaves.extend(self.pools.iter().map(|(id, pool)| leaf(&keyed(2, id.as_bytes()), &encode(pool))));
        leaves.extend(self.payouts.iter().map(|(id, payout)| leaf(&keyed(3, id.as_bytes()), &encode(payout))));
        let pending = self.pending.iter();
        leaves.extend(pending.map(|(epoch, pending)| leaf(&keyed(4, &epoch.get().to_le_bytes()), &encode(pending))));
        StateRoot::from_bytes(*merkle_root(&leaves).as_bytes())
    }

    /// Sum of the amounts of a pool's payouts that have not ended.
    pub fn open_amount(&self, pool: &PoolId) -> Option<MicroUsdt> {
        MicroUsdt::sum(self.payouts.values().filter(|payout| payout.pool == *pool).map(|payout| payout.amount))
    }

    /// Whether every pool's accounts add up to the micro-USDT (invariant 4).
    pub fn accounts_balance(&self) -> bool {
        self.pools.iter().all(|(id, pool)| {
            let balances = MicroUsdt::sum(pool.balances.values().copied());
            let parts = [Some(pool.paid), self.open_amount(id), balances, Some(pool.carried)];
            let sum = parts.into_iter().try_fold(MicroUsdt::ZERO, |sum, part| sum.checked_add(part?));
            sum == Some(pool.budgets)
        })
    }

    /// The election that carries the payouts of a pool now: the newest.
    pub fn newest_election(&self, pool: &PoolId) -> Option<(u64, &Election)> {
        self.pools.get(pool)?.elections.last_key_value().map(|(settlement, election)| (*settlement, election))
    }
}
