//! What the network knows after a block.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lucid_score::seats::EpochDraw;
use lucid_score::worker_stats::{ScoreRow, WorkerStats};
use lucid_types::amount::MicroUsdt;
use lucid_types::codec::{MAX_MESSAGE_BYTES, Wire, encode};
use lucid_types::genesis::{GenesisPool, SignerSet, Vault};
use lucid_types::id::{BlockHash, Hash, NodeId, PayoutAddress, PoolId, StateRoot};
use lucid_types::payout::{AccountKind, CosignRequest, SettlementRoot, VaultLimits};
use lucid_types::payout_tree::AccountId;
use lucid_types::time::{Epoch, Height, UnixMillis, Windows};
use lucid_types::validator::Proposers;
use serde::{Deserialize, Serialize};

use crate::chain_spec::ChainSpec;
use crate::ledger::root::{leaf, merkle_root};

/// The replicated state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Height of the newest block.
    pub height: Height,
    /// Hash of the newest block; the network id at height 0. Not part of the root, which the block itself carries.
    pub block: BlockHash,
    /// Time of the newest block; the genesis time at height 0.
    pub time: UnixMillis,
    /// The random beacon of the newest block.
    pub beacon: Hash,
    /// That of the block before, which draws the next block's proposers.
    pub previous_beacon: Hash,
    /// The newest epoch that a block has closed; 0 before the first.
    pub closed: Epoch,
    /// Who measures whom in the epoch after it. None if it is not measured: the block that closed the epoch before came more than
    /// half an epoch late, so that nobody could know the seed early enough.
    pub open: Option<EpochDraw>,
    /// Closed epochs whose scores are not final yet: those that were measured.
    pub pending: BTreeMap<Epoch, PendingEpoch>,
    /// The newest epoch with scores.
    pub scored: Epoch,
    /// Running sums of every worker.
    pub worker_stats: BTreeMap<NodeId, WorkerStats>,
    /// Roots of the rows of the epochs that are still in a window.
    pub row_roots: BTreeMap<Epoch, Hash>,
    /// The pools.
    pub pools: BTreeMap<PoolId, PoolState>,
    /// Validators that have signed two different messages for one step.
    pub equivocations: BTreeMap<NodeId, Equivocation>,
}

impl Wire for State {
    const MAX_BYTES: usize = MAX_MESSAGE_BYTES;
}

/// What the chain holds against a validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equivocation {
    /// The height that it equivocated at.
    pub height: Height,
    /// The block with the evidence.
    pub proved_in: Height,
}

/// A closed epoch whose scores are not final yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingEpoch {
    /// The block that closed it.
    pub closed_in: Height,
    /// Who was to measure whom in it: what its reports are about.
    pub draw: EpochDraw,
    /// Commitments to reports, by validator.
    pub commitments: BTreeMap<NodeId, Hash>,
    /// Who has revealed its report: the reports themselves stand in the blocks.
    pub revealed: BTreeSet<NodeId>,
}

impl PendingEpoch {
    /// The blocks in which its commitments and reveals may stand.
    pub const fn windows(&self, spec: &ChainSpec) -> Windows {
        Windows::new(self.closed_in, spec.policy().report_window)
    }
}

/// A pool's accounts. Always `owed() + held() + fees + carried == budgets` (invariant 4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolState {
    /// Sum of all budgets and corrections so far.
    pub budgets: MicroUsdt,
    /// The allowance for push fees: never falls.
    pub fees: MicroUsdt,
    /// Budget that nobody earned; the next settlement shares it out.
    pub carried: MicroUsdt,
    /// What was taken from the vault beside the ledger: never falls.
    pub losses: MicroUsdt,
    /// Who was ever owed anything, or is held.
    pub accounts: BTreeMap<AccountId, Account>,
    /// Shares earned in the settlement that is under way, of every member that was measured.
    pub shares: BTreeMap<NodeId, u128>,
    /// The newest settlement.
    pub settled: u64,
    /// The newest election. Who was elected carries everything unpaid, whatever settlement it is from.
    pub election: Option<Election>,
    /// The settlement that each node led last.
    pub last_led: BTreeMap<NodeId, u64>,
    /// The newest root as it was issued last.
    pub newest: Option<SettlementRoot>,
    /// Sum of the owed totals in the newest root.
    pub rooted: MicroUsdt,
    /// The settlement from which on no roots are made, if the owner has stopped them.
    pub suspended_from: Option<u64>,
    /// Number of the newest command.
    pub commands: u64,
    /// The vault as the newest commands describe it.
    pub vault: Vault,
    /// The push fee that settlements count.
    pub push_fee: MicroUsdt,
    /// The push fee that counts from a later settlement on.
    pub next_push_fee: Option<(u64, MicroUsdt)>,
    /// The newest changes of the vault by their nonces, for its signers to sign: at most [`KEPT_CHANGES`].
    pub changes: BTreeMap<u32, VaultChange>,
}

/// What a pool owes to one account. Nothing here ever falls but `held` and `correction`, which become owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What it is for.
    pub kind: AccountKind,
    /// Whose it is.
    pub node: NodeId,
    /// Where it is paid.
    pub to: PayoutAddress,
    /// All that it was ever owed.
    pub owed: MicroUsdt,
    /// [`Self::owed`] at its last request.
    pub requested: MicroUsdt,
    /// Earned during a hold.
    pub held: MicroUsdt,
    /// Whether its earnings are set aside.
    pub hold: Hold,
    /// Becomes owed with the next settlement, beside the budget.
    pub correction: MicroUsdt,
}

/// Whether a member's earnings are set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hold {
    /// They are owed at once.
    No,
    /// They are set aside from this settlement on.
    Since(u64),
    /// What was set aside is owed with the next settlement.
    Ends,
}

/// Who carries the payouts of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Election {
    /// The settlement.
    pub settlement: u64,
    /// The block that elected.
    pub height: Height,
    /// That block's time.
    pub time: UnixMillis,
    /// The leader first, then its successors in order. Empty if nobody can lead.
    pub order: Vec<NodeId>,
}

/// Changes of a vault that are kept. The chain does not see which ones the contract has taken; it takes them in their order, so
/// an owner who makes more than these ahead of it can never send the oldest, nor any after it.
pub const KEPT_CHANGES: usize = 4;

/// A change of a vault that its signers have to sign. They sign nothing about their vault but these and the newest root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultChange {
    /// Who must sign it.
    pub by: SignerSet,
    /// What comes into force.
    pub next: VaultTerms,
}

/// What a [`VaultChange`] brings into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VaultTerms {
    /// Other signers.
    Signers(SignerSet),
    /// Other limits.
    Limits(VaultLimits),
}

impl VaultTerms {
    /// Whether a request to a signer means terms of this kind.
    pub const fn is_asked_by(&self, request: &CosignRequest) -> bool {
        match request {
            CosignRequest::Signers { .. } => matches!(self, Self::Signers(_)),
            CosignRequest::Limits { .. } => matches!(self, Self::Limits(_)),
            CosignRequest::Root { .. } => false,
        }
    }
}

impl Hold {
    /// Whether what is earned in a settlement is set aside.
    pub fn is_in_force(self, settlement: u64) -> bool {
        matches!(self, Self::Since(from) if from <= settlement)
    }
}

impl PoolState {
    fn genesis(pool: &GenesisPool) -> Self {
        Self {
            budgets: MicroUsdt::ZERO,
            fees: MicroUsdt::ZERO,
            carried: MicroUsdt::ZERO,
            losses: MicroUsdt::ZERO,
            accounts: BTreeMap::new(),
            shares: BTreeMap::new(),
            settled: 0,
            election: None,
            last_led: BTreeMap::new(),
            newest: None,
            rooted: MicroUsdt::ZERO,
            suspended_from: None,
            commands: 0,
            push_fee: pool.vault.limits.push_fee,
            next_push_fee: None,
            vault: pool.vault.clone(),
            changes: BTreeMap::new(),
        }
    }

    /// Sum of all owed totals; `None` if it does not fit.
    pub fn owed(&self) -> Option<MicroUsdt> {
        MicroUsdt::sum(self.accounts.values().map(|account| account.owed))
    }

    /// Sum of all that is held; `None` if it does not fit.
    pub fn held(&self) -> Option<MicroUsdt> {
        MicroUsdt::sum(self.accounts.values().map(|account| account.held))
    }

    /// Whether a settlement makes no root.
    pub fn is_suspended(&self, settlement: u64) -> bool {
        self.suspended_from.is_some_and(|from| from <= settlement)
    }

    /// Whether the accounts add up to the micro-USDT (invariant 4).
    pub fn is_balanced(&self) -> bool {
        let parts = [self.owed(), self.held(), Some(self.fees), Some(self.carried)];
        let sum = parts.into_iter().try_fold(MicroUsdt::ZERO, |sum, part| sum.checked_add(part?));
        sum == Some(self.budgets)
    }
}

/// The rows of one final epoch, by worker. Immutable; storage keeps them, the state their root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRows {
    /// The epoch.
    pub epoch: Epoch,
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

/// The part of the state that is the first leaf of its root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateHead<'a> {
    /// [`State::height`].
    pub height: Height,
    /// [`State::time`].
    pub time: UnixMillis,
    /// [`State::beacon`].
    pub beacon: Hash,
    /// [`State::previous_beacon`].
    pub previous_beacon: Hash,
    /// [`State::closed`].
    pub closed: Epoch,
    /// [`State::scored`].
    pub scored: Epoch,
    /// [`State::row_roots`].
    pub row_roots: Cow<'a, BTreeMap<Epoch, Hash>>,
}

impl State {
    /// The state before block 1.
    pub fn genesis(spec: &ChainSpec) -> Self {
        let beacon = Hash::derive("lucid first beacon 1", &[spec.id().as_bytes()]);
        let worker_stats = spec.workers().map(|worker| (worker.node, WorkerStats::default())).collect();
        let open = Some(draw(spec, Height::ZERO, &beacon, Epoch::new(1), &worker_stats));
        Self {
            height: Height::ZERO,
            block: BlockHash::from(*spec.id()),
            time: spec.genesis().genesis_time,
            beacon,
            previous_beacon: beacon,
            closed: Epoch::ZERO,
            open,
            scored: Epoch::ZERO,
            pending: BTreeMap::new(),
            worker_stats,
            row_roots: BTreeMap::new(),
            pools: spec.pools().map(|(id, pool)| (*id, PoolState::genesis(pool))).collect(),
            equivocations: BTreeMap::new(),
        }
    }

    /// The Merkle root over all of the state but the newest block's own hash.
    pub fn root(&self) -> StateRoot {
        let Self { height, time, beacon, previous_beacon, closed, scored, .. } = *self;
        let row_roots = Cow::Borrowed(&self.row_roots);
        let head = StateHead { height, time, beacon, previous_beacon, closed, scored, row_roots };
        let mut leaves = vec![leaf(&[0], &encode(&head))];
        let keyed = |tag: u8, id: &[u8]| [&[tag], id].concat();
        leaves.extend(self.worker_stats.iter().map(|(id, stats)| leaf(&keyed(1, id.as_bytes()), &encode(stats))));
        leaves.extend(self.pools.iter().map(|(id, pool)| leaf(&keyed(2, id.as_bytes()), &encode(pool))));
        let pending = self.pending.iter();
        leaves.extend(pending.map(|(epoch, pending)| leaf(&keyed(3, &epoch.get().to_le_bytes()), &encode(pending))));
        leaves.push(leaf(&[4], &encode(&self.open)));
        leaves.extend(self.equivocations.iter().map(|(id, it)| leaf(&keyed(5, id.as_bytes()), &encode(it))));
        StateRoot::from_bytes(*merkle_root(&leaves).as_bytes())
    }

    /// Who proposes in the rounds of the next height.
    pub const fn next_proposers<'a>(&self, spec: &'a ChainSpec) -> Proposers<'a> {
        let height = self.height.next();
        spec.validators(height).proposers(self.previous_beacon, height)
    }

    /// The same of the next height or the one after; `None` of others, which no beacon has drawn yet.
    pub fn proposers<'a>(&self, spec: &'a ChainSpec, height: Height) -> Option<Proposers<'a>> {
        match height.get().checked_sub(self.height.get()) {
            Some(1) => Some(self.next_proposers(spec)),
            Some(2) => Some(spec.validators(height).proposers(self.beacon, height)),
            _ => None,
        }
    }

    /// The epoch up to which scores are final, or will never be given.
    pub fn final_through(&self) -> Epoch {
        self.pending.keys().next().map_or(self.closed, |first| first.previous())
    }

    /// The least time of the next block.
    pub fn next_time(&self, spec: &ChainSpec) -> UnixMillis {
        let policy = spec.policy();
        let has_window = !self.pending.is_empty();
        let interval = if has_window { policy.window_block_min_ms } else { policy.block_min_ms };
        self.time.after(Duration::from_millis(interval))
    }

    /// Whether every pool's accounts add up to the micro-USDT (invariant 4).
    pub fn accounts_balance(&self) -> bool {
        self.pools.values().all(PoolState::is_balanced)
    }
}

/// The seed of an epoch: BLAKE3 of the beacon of the block that closes the epoch before, and the epoch's number.
fn seed(beacon: &Hash, epoch: Epoch) -> Hash {
    Hash::derive("lucid epoch seed 1", &[beacon.as_bytes(), &epoch.get().to_le_bytes()])
}

/// Draws from its seed who measures whom in an epoch, among the validators and workers at the height that closes the epoch before.
pub(crate) fn draw(
    spec: &ChainSpec,
    height: Height,
    beacon: &Hash,
    epoch: Epoch,
    worker_stats: &BTreeMap<NodeId, WorkerStats>,
) -> EpochDraw {
    let kbit_s = |worker: &NodeId| worker_stats.get(worker).map_or(0, |stats| stats.kbit_s);
    EpochDraw::new(spec.policy(), seed(beacon, epoch), spec.validators(height), spec.candidates(kbit_s))
}
