//! Rows about pools: what they have shared out, what they owe and to whom, and their vaults.

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_score::leader::Elected;
use lucid_types::amount::MicroUsdt;
use lucid_types::codec::Wire;
use lucid_types::id::{NodeId, PayoutAddress};
use lucid_types::payout::{AccountKind, CosignRequest, SettlementRoot, VaultLimits};
use lucid_types::pool::{JoinPolicy, NewPool, PoolTerms};
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::vault::{SignerSet, Vault};
use serde::{Deserialize, Serialize};

/// A pool. Always `owed + held + fees + carried == budgets`, where `owed` and `held` are the sums over its accounts (invariant 4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolState {
    /// Its name, unique in the network, of at most [`MAX_NAME_BYTES`](lucid_types::pool::MAX_NAME_BYTES).
    pub name: String,
    /// Whose key directs it.
    pub owner: NodeId,
    /// Whether it is under way.
    pub status: PoolStatus,
    /// What settlements share out, and how.
    pub terms: PoolTerms,
    /// The settlement from which on other terms count, and these.
    pub next_terms: Option<(u64, PoolTerms)>,
    /// Who gets in.
    pub join: JoinPolicy,
    /// The most members.
    pub max_members: u32,
    /// Members that have not left and are not inactive.
    pub members: u32,
    /// Entries and requests by stamp since each of the newest blocks that closed epochs, by the last epoch of each: of those with any.
    pub joins: Vec<(Epoch, u32)>,
    /// Sum of all budgets and corrections so far.
    pub budgets: MicroUsdt,
    /// The allowance for push fees: never falls.
    pub fees: MicroUsdt,
    /// Budget that nobody earned; the next settlement shares it out.
    pub carried: MicroUsdt,
    /// What was taken from the vault beside the ledger: never falls.
    pub losses: MicroUsdt,
    /// The newest settlement.
    pub settled: u64,
    /// The newest election. Who was elected carries everything unpaid, whatever settlement it is from.
    pub election: Option<Election>,
    /// The newest root as it was issued last.
    pub newest: Option<SettlementRoot>,
    /// Sum of the owed totals in the newest root.
    pub rooted: MicroUsdt,
    /// The settlement from which on no roots are made, if the owner has stopped them.
    pub suspended_from: Option<u64>,
    /// How many commands have changed this row, of its owner and of others: without one, only settlements change it.
    pub commands: u64,
    /// The vault as the newest commands describe it.
    pub vault: Vault,
    /// The vaults that it follows, the first one first: at most [`MAX_FORMER_VAULTS`]. They are closed and pay nothing any more.
    pub former_vaults: Vec<PayoutAddress>,
    /// The push fee that settlements count.
    pub push_fee: MicroUsdt,
    /// The push fee that counts from a later settlement on.
    pub next_push_fee: Option<(u64, MicroUsdt)>,
    /// The newest changes of the vault by their nonces, for its signers to sign: at most [`KEPT_CHANGES`].
    pub changes: BTreeMap<u32, VaultChange>,
}

impl Wire for PoolState {
    /// The longest name, the vault with as many signers as there may be, and the approvals of all validators. The changes of an active
    /// pool's vault and its greatest election take less.
    const MAX_BYTES: usize = 36 << 10;
}

/// What a pool may ever promise, of budgets and of losses: far above any sum of USDT, and low enough that no sum of a pool's
/// amounts overflows, whatever its owner and its signers do.
pub const MAX_PROMISED: MicroUsdt = MicroUsdt::new(1 << 62);

/// The most pools that form at a time.
pub const MAX_FORMING: usize = 64;
/// How long a pool may form.
pub const MAX_FORMING_TIME: Duration = Duration::from_hours(7 * 24);

/// Whether a pool is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolStatus {
    /// It waits for members and for validators' approval, and shares nothing out.
    Forming {
        /// If it is not active by then, it is removed with the next block that closes an epoch.
        until: UnixMillis,
        /// The validators that approve, by id.
        approvals: Vec<NodeId>,
    },
    /// It is under way.
    Active {
        /// The first epoch in which its members are drawn. The settlement with this epoch is the first that shares something out.
        from: Epoch,
    },
    /// It has ended. What it owes it owes.
    Disbanded {
        /// The first epoch in which its members were drawn.
        from: Epoch,
        /// The first in which they are not any more. The settlement with the epoch before is the last that shares something out.
        until: Epoch,
    },
}

impl PoolStatus {
    /// Whether the pool's members may be drawn in this epoch.
    pub fn counts_in(&self, epoch: Epoch) -> bool {
        match self {
            Self::Forming { .. } => false,
            Self::Active { from } => *from <= epoch,
            Self::Disbanded { from, until } => (*from..*until).contains(&epoch),
        }
    }

    /// The first and the last settlement that share something out, if there are any, of so many epochs each.
    fn settlements(&self, settle_every: u64) -> Option<(u64, u64)> {
        let of = |epoch: Epoch| epoch.get().div_ceil(settle_every.max(1));
        match self {
            Self::Forming { .. } => None,
            Self::Active { from } => Some((of(*from), u64::MAX)),
            Self::Disbanded { from, until } => (from < until).then(|| (of(*from), of(until.previous()))),
        }
    }
}

/// A member of a pool, as far as settlements and bans go. Whether somebody is a member still, its node's row says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The share that it has earned in the settlement under way; none if it was not measured.
    pub share: Option<u128>,
    /// The settlement that it led last.
    pub last_led: Option<u64>,
    /// Whether it is let in.
    pub standing: Standing,
    /// Epochs in which it was scored for the pool and validators found it unreachable, since they have reached it last or it has joined.
    pub unreached: u32,
}

impl Wire for Member {
    const MAX_BYTES: usize = 42;
}

/// How a node stands with a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// A member, or free to become one.
    #[default]
    Good,
    /// Its owner does not let it become a member.
    Banned,
    /// It has been unreachable for long, and so is no member from this epoch on. It may come back with nothing but
    /// [`Ticket::Return`](lucid_types::ticket::Ticket::Return).
    Inactive(Epoch),
}

impl Member {
    /// Notes whether validators have reached it in an epoch.
    pub(crate) const fn probed(&mut self, is_reached: bool) {
        self.unreached = if is_reached { 0 } else { self.unreached.saturating_add(1) };
    }
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

impl Wire for Account {
    const MAX_BYTES: usize = 128;
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
    /// The leader first, then its successors in order, as they were when they were elected. Empty if nobody can lead.
    pub order: Vec<Elected>,
}

impl Election {
    /// Who leads.
    pub fn leader(&self) -> Option<NodeId> {
        self.order.first().map(|elected| elected.node)
    }

    /// The place of a node in the order.
    pub fn place_of(&self, node: &NodeId) -> Option<usize> {
        self.order.iter().position(|elected| elected.node == *node)
    }
}

/// Changes of a vault that are kept. The chain does not see which ones the contract has taken; it takes them in their order, so
/// an owner who makes more than these ahead of it can never send the oldest, nor any after it.
pub const KEPT_CHANGES: usize = 4;

/// How often a pool's vault can be replaced: whom the newest vault has not paid yet, it looks up in all vaults before it.
pub const MAX_FORMER_VAULTS: usize = 16;

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
    /// A pool without members, which goes on after this settlement.
    pub fn new(pool: NewPool, owner: NodeId, status: PoolStatus, settled: u64) -> Self {
        let NewPool { name, terms, join, max_members, vault } = pool;
        Self {
            name,
            owner,
            status,
            terms,
            next_terms: None,
            join,
            max_members,
            members: 0,
            joins: Vec::new(),
            budgets: MicroUsdt::ZERO,
            fees: MicroUsdt::ZERO,
            carried: MicroUsdt::ZERO,
            losses: MicroUsdt::ZERO,
            settled,
            election: None,
            newest: None,
            rooted: MicroUsdt::ZERO,
            suspended_from: None,
            commands: 0,
            push_fee: vault.limits.push_fee,
            next_push_fee: None,
            vault,
            former_vaults: Vec::new(),
            changes: BTreeMap::new(),
        }
    }

    /// The terms of a settlement that is not computed yet.
    pub fn terms_in(&self, settlement: u64) -> &PoolTerms {
        match &self.next_terms {
            Some((from, terms)) if *from <= settlement => terms,
            _ => &self.terms,
        }
    }

    /// What it puts up for the settlements from `first` to `last`, none of which is computed yet: as much as can be counted.
    pub(crate) fn budget(&self, settle_every: u64, (first, last): (u64, u64)) -> MicroUsdt {
        let Some((begin, end)) = self.status.settlements(settle_every) else { return MicroUsdt::ZERO };
        let (first, last) = (first.max(begin), last.min(end));
        let change = self.next_terms.map_or(u64::MAX, |(from, _)| from);
        let count = |from: u64, to: u64| to.saturating_add(1).saturating_sub(from);
        let before = self.terms.budget.get().saturating_mul(count(first, last.min(change.saturating_sub(1))));
        let after = self.terms_in(u64::MAX).budget.get().saturating_mul(count(first.max(change), last));
        MicroUsdt::new(before.saturating_add(after))
    }

    /// Entries and requests by stamp since the block that closed this epoch as its last.
    pub(crate) fn joins_since(&self, closed: Epoch) -> u32 {
        self.joins.iter().find(|(epoch, _)| *epoch == closed).map_or(0, |(_, joins)| *joins)
    }

    /// Counts one more since the newest of these blocks; those before the oldest are forgotten.
    pub(crate) fn count_join(&mut self, oldest: Epoch, newest: Epoch) {
        let joins = self.joins_since(newest).saturating_add(1);
        self.joins.retain(|(epoch, _)| *epoch >= oldest && *epoch != newest);
        self.joins.push((newest, joins));
    }

    /// Whether this is the pool's vault, or was.
    pub fn has_vault(&self, address: &PayoutAddress) -> bool {
        self.vault.address == *address || self.former_vaults.contains(address)
    }

    /// Another vault follows that in force. What was to be signed for the former one is of no use any more; the newest root is issued
    /// again for the next one, which is due at once what that root owes.
    pub(crate) fn replace_vault(&mut self, next: Vault, push_fee_from: u64) {
        self.changes.clear();
        self.next_push_fee = Some((push_fee_from, next.limits.push_fee));
        if let Some(newest) = &mut self.newest {
            (newest.vault, newest.era) = (next.address, next.signers.era);
        }
        let former = std::mem::replace(&mut self.vault, next);
        self.former_vaults.push(former.address);
    }

    /// Whether a settlement makes no root.
    pub fn is_suspended(&self, settlement: u64) -> bool {
        self.suspended_from.is_some_and(|from| from <= settlement)
    }

    /// Whether a settlement makes a root where this is owed in all: it has grown since the newest one.
    pub(crate) fn makes_root(&self, settlement: u64, owed: MicroUsdt) -> bool {
        owed != self.rooted && !self.is_suspended(settlement)
    }
}
