//! What the API answers about pools and their vaults, and what signers are asked for.

use lucid_consensus::ledger::pool::{PoolStatus, VaultChange, VaultTerms};
use lucid_types::amount::{MicroUsdt, Ppm, Sun};
use lucid_types::id::{NodeId, PayoutAddress, PoolId, TxId};
use lucid_types::payout::{Requested, SettlementRoot, TreasurySignature};
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutRoot};
use lucid_types::pool::{JoinPolicy, PoolTerms, SplitRule};
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::vault::SignerSet;
use serde::{Deserialize, Serialize};

use super::LeaderView;
use super::vault::{LimitsView, VaultView};
use crate::history::vault::{Batch, Place};

/// All pools of the newest block. `GET /api/v1/pools`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolList {
    /// The pool that this node is a member of.
    pub own: Option<PoolId>,
    /// The pools, by their ids.
    pub pools: Vec<PoolSummary>,
}

/// What tells a pool from others, and where it pays from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSummary {
    /// The pool.
    pub pool: PoolId,
    /// Its name.
    pub name: String,
    /// Whose key directs it.
    pub owner: NodeId,
    /// Whether it is under way.
    pub status: PoolStatusView,
    /// Who gets in.
    pub join: JoinPolicy,
    /// Members that have not left.
    pub members: u32,
    /// The most members.
    pub max_members: u32,
    /// The vault as the ledger describes it.
    pub vault: LedgerVaultView,
}

/// Whether a pool is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolStatusView {
    /// It waits for members and for validators' approval, and shares nothing out.
    Forming {
        /// If it is not active by then, it is removed.
        until: UnixMillis,
        /// How many validators approve.
        approvals: usize,
    },
    /// It is under way.
    Active {
        /// The first epoch in which its members are drawn.
        from: Epoch,
    },
    /// It has ended.
    Disbanded {
        /// The first epoch in which its members were drawn.
        from: Epoch,
        /// The first in which they are not any more.
        until: Epoch,
    },
}

impl From<&PoolStatus> for PoolStatusView {
    fn from(status: &PoolStatus) -> Self {
        match status {
            PoolStatus::Forming { until, approvals } => Self::Forming { until: *until, approvals: approvals.len() },
            PoolStatus::Active { from } => Self::Active { from: *from },
            PoolStatus::Disbanded { from, until } => Self::Disbanded { from: *from, until: *until },
        }
    }
}

/// The members of a pool. `GET /api/v1/pools/{pool}/members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberList {
    /// Its members by their ids, and those who were and have something to come of the settlement under way.
    pub members: Vec<MemberView>,
}

/// A member of a pool, or somebody who was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// The member.
    pub node: NodeId,
    /// The first epoch in which it may be drawn for the pool; `null` if it is no member any more.
    pub from: Option<Epoch>,
    /// The first epoch in which it may not be any more; `null` if it has not left.
    pub until: Option<Epoch>,
    /// Where it is paid; `null` if it is not registered any more.
    pub payout_address: Option<PayoutAddress>,
    /// The account that pays for its transactions; `null` if it cannot lead.
    pub gas_address: Option<PayoutAddress>,
    /// How it stands.
    pub state: MemberState,
    /// Whether its earnings are set aside, now or from a later settlement on.
    pub is_held: bool,
    /// Epochs in which it was measured and not reached, since validators have reached it last.
    pub unreached: u32,
}

/// How a member of a pool stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// It may be drawn from a later epoch on.
    Pending,
    /// It may be drawn, and stays.
    Active,
    /// The same, and validators did not reach it in the newest epoch in which they measured it.
    Degraded,
    /// Validators have not reached it for long. It is no member now, and may come back.
    Inactive,
    /// It is drawn still, and not any more from a later epoch on.
    Leaving,
    /// It is no member any more, and has something to come of the settlement under way, or was elected leader once.
    Left,
    /// It cannot be a member.
    Banned,
}

impl MemberState {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Active, Self::Degraded, Self::Inactive, Self::Leaving, Self::Left, Self::Banned];

    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Degraded => "degraded",
            Self::Inactive => "inactive",
            Self::Leaving => "leaving",
            Self::Left => "left",
            Self::Banned => "banned",
        }
    }
}

/// Terms that count from a later settlement on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextTermsView {
    /// The settlement.
    pub from: u64,
    /// The terms.
    pub terms: PoolTerms,
}

impl PoolView {
    /// The terms in force.
    pub const fn terms(&self) -> PoolTerms {
        PoolTerms {
            budget: self.budget_micro_usdt,
            split: self.split,
            commission: self.commission_ppm,
            commission_address: self.commission_address,
        }
    }
}

/// A pool as the ledger has it, and its vault as this node reads it. `GET /api/v1/pools/{pool}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolView {
    /// The pool.
    pub pool: PoolId,
    /// Its name.
    pub name: String,
    /// Whose key directs it.
    pub owner: NodeId,
    /// The block that all of this is of.
    pub height: Height,
    /// What each settlement shares out.
    pub budget_micro_usdt: MicroUsdt,
    /// By what the budget is shared among the members.
    pub split: SplitRule,
    /// The owner's part of the budget.
    pub commission_ppm: Ppm,
    /// Where the owner's part is paid.
    pub commission_address: PayoutAddress,
    /// Other terms that are announced; `null` if none are.
    pub next_terms: Option<NextTermsView>,
    /// Whether it is under way.
    pub status: PoolStatusView,
    /// Who gets in.
    pub join: JoinPolicy,
    /// The most members.
    pub max_members: u32,
    /// Requests that wait for the owner.
    pub requests: usize,
    /// Members, in the open epoch or from a later one on.
    pub members: usize,
    /// Accounts that were ever owed anything, or are held.
    pub accounts: usize,
    /// The newest settlement.
    pub settled: u64,
    /// The settlement from which on no payout roots are made, if the owner has stopped them.
    pub suspended_from: Option<u64>,
    /// Commands that have changed the pool.
    pub commands: u64,
    /// All budgets and corrections so far.
    pub budgets_micro_usdt: MicroUsdt,
    /// All that accounts were ever owed.
    pub owed_micro_usdt: MicroUsdt,
    /// Set aside during holds.
    pub held_micro_usdt: MicroUsdt,
    /// Members that are held.
    pub holds: Vec<HoldView>,
    /// The allowance for push fees.
    pub fees_micro_usdt: MicroUsdt,
    /// Budget that nobody earned yet.
    pub carried_micro_usdt: MicroUsdt,
    /// Booked losses.
    pub losses_micro_usdt: MicroUsdt,
    /// The vault as the ledger describes it.
    pub vault: LedgerVaultView,
    /// The vaults that it has followed, the first one first.
    pub former_vaults: Vec<PayoutAddress>,
    /// The newest payout root; `null` before the first.
    pub newest: Option<RootView>,
    /// Who carries the payouts; `null` before the first election, or if nobody can.
    pub election: Option<LeaderView>,
    /// The newest changes of the vault, which its signers sign, in the order in which the contract takes them.
    pub changes: Vec<ChangeView>,
    /// The vault on the solidified view; `null` if this node does not read it.
    pub contract: Option<VaultView>,
    /// When that was read.
    pub read_at: Option<UnixMillis>,
    /// How the pool does.
    pub health: PoolHealthView,
    /// What a person should look at.
    pub alerts: Vec<String>,
}

/// How a pool does, by the ledger and by its vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolHealthView {
    /// It is active and has fewer members than the policy asks of a pool that is to become active.
    pub is_degraded: bool,
    /// Its members by their state, each once; who is held is counted there as well.
    pub members: MemberCounts,
    /// The mean of the newest scores of those who are active, degraded or leaving and were ever measured; `null` without any.
    pub mean_score_ppm: Option<Ppm>,
    /// How many settlements of the next one's budget the vault's funds suffice for, once all that is due is paid; `null` if the vault is
    /// not read here, is closed, or the budget is zero.
    pub covered_settlements: Option<u64>,
    /// What the vault has paid last, as far as this node has read its solidified transactions; `null` if it has read of no payment.
    pub last_paid: Option<BatchView>,
}

/// The transactions by which a pool's vault has paid, as the node that is asked has read them. `GET /api/v1/pools/{pool}/batches`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchList {
    /// The newest first; at most as many as were asked for.
    pub batches: Vec<BatchView>,
}

/// A transaction that has paid accounts of a pool, as one node has read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchView {
    /// The settlement whose root was in force; `null` if this node has not read that it was posted.
    pub settlement: Option<u64>,
    /// The time of its block.
    pub time: UnixMillis,
    /// The transaction.
    pub tx_id: TxId,
    /// What it paid in all.
    pub amount_micro_usdt: MicroUsdt,
    /// How many accounts it paid.
    pub accounts: u32,
    /// Its block.
    pub block: u64,
    /// What it cost whoever sent it.
    pub fee_sun: Sun,
}

impl From<&Batch> for BatchView {
    fn from(batch: &Batch) -> Self {
        let Place { tx_id, fee, block, time, .. } = batch.place;
        Self {
            settlement: batch.settlement,
            time,
            tx_id,
            amount_micro_usdt: batch.amount,
            accounts: batch.accounts,
            block,
            fee_sun: fee,
        }
    }
}

/// Members of a pool by their state: [`MemberState`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberCounts {
    /// They are drawn from a later epoch on.
    pub pending: u32,
    /// They may be drawn in the open epoch and stay.
    pub active: u32,
    /// The same, and validators did not reach them when they measured them last.
    pub degraded: u32,
    /// Validators have not reached them for long: they are members no more until they come back.
    pub inactive: u32,
    /// They are drawn still, and not any more from a later epoch on.
    pub leaving: u32,
    /// They cannot be members.
    pub banned: u32,
    /// Their earnings are set aside, now or from a later settlement on.
    pub held: u32,
}

/// A member that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldView {
    /// The member.
    pub node: NodeId,
    /// The settlement from which on its earnings are set aside; `null` if the hold has been ended, which the next settlement does.
    pub from: Option<u64>,
}

/// A vault as the ledger describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerVaultView {
    /// The contract.
    pub address: PayoutAddress,
    /// Changes of signers and limits.
    pub nonce: u32,
    /// Its limits.
    pub limits: LimitsView,
    /// Its signers.
    pub signers: SignerSet,
}

/// A payout root with everything that is signed beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootView {
    /// The settlement.
    pub settlement: u64,
    /// The signers whose signatures count.
    pub era: u32,
    /// The root.
    pub root: PayoutRoot,
    /// All that may ever have been paid out under it.
    pub total_micro_usdt: MicroUsdt,
    /// The part of it for push fees.
    pub fees_micro_usdt: MicroUsdt,
    /// Who alone earns push fees.
    pub leader: Option<PayoutAddress>,
    /// Until when, in Unix seconds.
    pub until: u64,
}

impl From<SettlementRoot> for RootView {
    fn from(root: SettlementRoot) -> Self {
        Self {
            settlement: root.settlement,
            era: root.era,
            root: root.root,
            total_micro_usdt: root.total,
            fees_micro_usdt: root.fees,
            leader: root.leader,
            until: root.until,
        }
    }
}

/// A change of a vault that the ledger has taken. The owner sends it to the contract with the signatures of `by`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeView {
    /// The vault's changes before it.
    pub nonce: u32,
    /// Who must sign it.
    pub by: SignerSet,
    /// What comes into force.
    #[serde(flatten)]
    pub next: TermsView,
}

/// What a change brings into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TermsView {
    /// Other signers.
    Signers(SignerSet),
    /// Other limits.
    Limits(LimitsView),
}

impl ChangeView {
    /// A change by its nonce.
    pub fn new(nonce: u32, VaultChange { by, next }: &VaultChange) -> Self {
        let next = match next {
            VaultTerms::Signers(next) => TermsView::Signers(next.clone()),
            VaultTerms::Limits(next) => TermsView::Limits((*next).into()),
        };
        Self { nonce, by: by.clone(), next }
    }
}

/// A payout tree's leaves in their order, and its root. `GET /api/v1/pools/{pool}/root`, and the files of `lucid vault root` and
/// `lucid payout claim`, which need `settlement` and `accounts` only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerView {
    /// The settlement.
    pub settlement: u64,
    /// The pool.
    #[serde(default)]
    pub pool: Option<PoolId>,
    /// The vault that pays.
    #[serde(default)]
    pub vault: Option<PayoutAddress>,
    /// The signers whose signatures count.
    #[serde(default)]
    pub era: Option<u32>,
    /// The root.
    #[serde(default)]
    pub root: Option<PayoutRoot>,
    /// All that may ever be paid out under it.
    #[serde(default)]
    pub total_micro_usdt: Option<MicroUsdt>,
    /// The part of it for push fees.
    #[serde(default)]
    pub fees_micro_usdt: Option<MicroUsdt>,
    /// All that the pool has put up for it.
    #[serde(default)]
    pub promised_micro_usdt: Option<MicroUsdt>,
    /// Who alone earns push fees.
    #[serde(default)]
    pub leader: Option<PayoutAddress>,
    /// Until when, in Unix seconds.
    #[serde(default)]
    pub until: Option<u64>,
    /// Leaves of the whole tree.
    #[serde(default)]
    pub n_accounts: Option<usize>,
    /// The leaves, or as many as one answer holds.
    pub accounts: Vec<LedgerAccount>,
}

/// A leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerAccount {
    /// The account.
    pub id: AccountId,
    /// Where it is paid.
    pub to: PayoutAddress,
    /// All that it was ever owed.
    pub owed_micro_usdt: MicroUsdt,
    /// What was requested for it so far: what the pool's leaders pay. A file of leaves need not say.
    #[serde(default)]
    pub requested_micro_usdt: Option<MicroUsdt>,
}

impl LedgerView {
    /// A root with its leaves from index `offset` on, at most `limit`.
    pub fn new(
        root: &SettlementRoot,
        leaves: &[OwedAccount],
        requested: &Requested,
        offset: usize,
        limit: usize,
    ) -> Self {
        let account = |leaf: &OwedAccount| LedgerAccount {
            id: leaf.id,
            to: leaf.to,
            owed_micro_usdt: leaf.owed,
            requested_micro_usdt: Some(requested.get(&leaf.id).copied().unwrap_or_default()),
        };
        Self {
            settlement: root.settlement,
            pool: Some(root.pool),
            vault: Some(root.vault),
            era: Some(root.era),
            root: Some(root.root),
            total_micro_usdt: Some(root.total),
            fees_micro_usdt: Some(root.fees),
            promised_micro_usdt: Some(root.promised),
            leader: root.leader,
            until: Some(root.until),
            n_accounts: Some(leaves.len()),
            accounts: leaves.iter().skip(offset).take(limit).map(account).collect(),
        }
    }

    /// The root as signers sign it, if all of it is there.
    pub fn settlement_root(&self) -> Option<SettlementRoot> {
        Some(SettlementRoot {
            pool: self.pool?,
            settlement: self.settlement,
            vault: self.vault?,
            era: self.era?,
            root: self.root?,
            total: self.total_micro_usdt?,
            fees: self.fees_micro_usdt?,
            promised: self.promised_micro_usdt?,
            leader: self.leader,
            until: self.until?,
        })
    }
}

/// What treasury signers are asked to sign. Body of `POST /api/v1/pools/{pool}/signatures`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SignatureRequest {
    /// The newest root, which must be of this settlement.
    Root {
        /// The settlement.
        settlement: u64,
    },
    /// The newest change of signers, which must have this number.
    Signers {
        /// The number.
        nonce: u32,
    },
    /// The newest change of limits, which must have this number.
    Limits {
        /// The number.
        nonce: u32,
    },
}

/// `POST /api/v1/pools/{pool}/signatures`: who signed, and who did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureList {
    /// How many the vault needs.
    pub needed: u8,
    /// Checked signatures, in the vault's order of signers.
    pub signatures: Vec<SignatureView>,
    /// Signers without one.
    pub missing: Vec<MissingSignature>,
}

/// A treasury signer's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureView {
    /// The signer.
    pub node: NodeId,
    /// The address of its key.
    pub key_address: PayoutAddress,
    /// The signature.
    pub signature: TreasurySignature,
}

/// Why a treasury signer's signature is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingSignature {
    /// The signer.
    pub node: NodeId,
    /// The address of its key.
    pub key_address: PayoutAddress,
    /// Why.
    pub problem: String,
}
