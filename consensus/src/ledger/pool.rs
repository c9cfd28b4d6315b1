//! Rows about pools: what they have shared out, what they owe and to whom, and their vaults.

use std::collections::BTreeMap;

use lucid_types::amount::MicroUsdt;
use lucid_types::codec::Wire;
use lucid_types::genesis::{GenesisPool, SignerSet, Vault};
use lucid_types::id::{NodeId, PayoutAddress};
use lucid_types::payout::{AccountKind, CosignRequest, SettlementRoot, VaultLimits};
use lucid_types::time::{Height, UnixMillis};
use serde::{Deserialize, Serialize};

/// A pool. Always `owed + held + fees + carried == budgets`, where `owed` and `held` are the sums over its accounts (invariant 4).
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

impl Wire for PoolState {
    /// The vault, and [`KEPT_CHANGES`] changes of it, with as many signers as there may be, and the greatest election.
    const MAX_BYTES: usize = 16 << 10;
}

/// A member of a pool, as far as settlements go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The share that it has earned in the settlement under way; none if it was not measured.
    pub share: Option<u128>,
    /// The settlement that it led last.
    pub last_led: Option<u64>,
}

impl Wire for Member {
    const MAX_BYTES: usize = 26;
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
    pub(crate) fn genesis(pool: &GenesisPool) -> Self {
        Self {
            budgets: MicroUsdt::ZERO,
            fees: MicroUsdt::ZERO,
            carried: MicroUsdt::ZERO,
            losses: MicroUsdt::ZERO,
            settled: 0,
            election: None,
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

    /// Whether a settlement makes no root.
    pub fn is_suspended(&self, settlement: u64) -> bool {
        self.suspended_from.is_some_and(|from| from <= settlement)
    }
}
