//! Pools: their terms, and the actions of their owners.

use serde::{Deserialize, Serialize};

use crate::amount::{MicroUsdt, Ppm};
use crate::id::{NodeId, PayoutAddress};
use crate::payout::VaultLimits;
use crate::payout_tree::AccountId;
use crate::vault::{SignerSet, Vault};

/// The most pools of a network that are not disbanded.
pub const MAX_POOLS: usize = 1_000;
/// The most members of a pool: all accounts of a pool stand in one record.
pub const MAX_MEMBERS: usize = 4_000;
/// The longest name of a pool.
pub const MAX_NAME_BYTES: usize = 64;

/// What a pool pays, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolTerms {
    /// What it shares out for each settlement.
    pub budget: MicroUsdt,
    /// By what the budget is shared among the members.
    pub split: SplitRule,
    /// The owner's part of the budget.
    pub commission: Ppm,
    /// Where the owner's part goes.
    pub commission_address: PayoutAddress,
}

/// How a pool's budget is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitRule {
    /// In proportion to the sum of credits times score.
    CreditsTimesScore,
    /// In proportion to the sum of credits.
    Credits,
    /// Equally over members that earned any credit.
    Equal,
}

/// How a node becomes a member. An invite of the owner opens every pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JoinPolicy {
    /// Whoever shows a stamp.
    Open,
    /// With an invite only.
    Invite,
    /// Whoever the owner approves of.
    Approval,
}

/// A pool to be made. Its id follows from its name: [`crate::id::PoolId::derive`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPool {
    /// Its name, unique in the network; 1 to [`MAX_NAME_BYTES`] bytes.
    pub name: String,
    /// What it pays.
    pub terms: PoolTerms,
    /// Who gets in.
    pub join: JoinPolicy,
    /// The most members, 1 to [`MAX_MEMBERS`].
    pub max_members: u32,
    /// The contract that pays. It stands on the payment network already.
    pub vault: Vault,
}

/// What a pool's owner does. The owner's current key signs each; some are signed by treasury signers, too
/// ([`PoolAction::needs_signers`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolAction {
    /// Other terms and ways in; all of them are replaced. The terms count from the second settlement after.
    Update {
        /// What it pays.
        terms: PoolTerms,
        /// Who gets in.
        join: JoinPolicy,
        /// The most members, 1 to [`MAX_MEMBERS`]. A pool that has more keeps them.
        max_members: u32,
    },
    /// This node, which has asked, becomes a member.
    Approve(NodeId),
    /// This node, which has asked, does not become a member.
    Refuse(NodeId),
    /// This node is no member any more and cannot become one again.
    Ban(NodeId),
    /// Ends a ban. The node is not a member by that.
    Unban(NodeId),
    /// What this member earns is set aside from the second settlement after on, for at most seven.
    Hold(NodeId),
    /// Ends a hold: what was set aside is owed from the next settlement on.
    Resume(NodeId),
    /// No roots are made from the second settlement after on, or they are again at once.
    Suspend(bool),
    /// This account is owed more, from the next root on: a theft was booked on it. With the signers.
    Correct {
        /// The account.
        account: AccountId,
        /// How much more.
        amount: MicroUsdt,
    },
    /// This much was taken under ids that the ledger does not know, or as fees beyond the allowance: the newest root's total
    /// rises by it. With the signers.
    Losses(MicroUsdt),
    /// Other signers, under a new era. With the signers in force.
    Signers {
        /// The vault's changes before it.
        nonce: u32,
        /// Who signs from then on.
        next: SignerSet,
    },
    /// Other limits. The fee counts from the second settlement after. With the signers.
    Limits {
        /// The era of the signers in force.
        era: u32,
        /// The vault's changes before it.
        nonce: u32,
        /// What comes into force.
        next: VaultLimits,
    },
    /// Another vault, which takes over: everything owed is owed by it, and the newest root is issued again for it. With the signers in
    /// force. The ledger does not see the contracts; whoever signs has seen that the former one is closed and that the next one
    /// names it as its predecessor.
    Vault {
        /// The vault in force.
        former: PayoutAddress,
        /// The one that follows it.
        next: Vault,
    },
    /// Another owner, whose account's current key signs, too.
    Transfer(NodeId),
    /// The pool ends: its members leave it, and what is owed stays owed.
    Disband,
}

impl PoolTerms {
    /// Checks what needs no state.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        if self.commission > Ppm::ONE {
            return Err(format!("commission {}; at most 1000000 (all of the budget)", self.commission));
        }
        self.commission_address.check_not_zero("commission_address")
    }
}

impl NewPool {
    /// Checks what needs no state.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=MAX_NAME_BYTES).contains(&self.name.len()) {
            let found = self.name.len();
            return Err(format!("name: {found} bytes; a name has 1 to {MAX_NAME_BYTES}"));
        }
        check_max_members(self.max_members)?;
        self.terms.check()?;
        check_vault(&self.vault)
    }
}

fn check_vault(vault: &Vault) -> Result<(), String> {
    vault.address.check_not_zero("vault.address")?;
    vault.check().map_err(|problem| format!("vault: {problem}"))
}

impl PoolAction {
    /// Whether the treasury signers in force must sign it beside the owner, as many as a payout root needs.
    pub const fn needs_signers(&self) -> bool {
        match self {
            Self::Correct { .. }
            | Self::Losses(_)
            | Self::Signers { .. }
            | Self::Limits { .. }
            | Self::Vault { .. } => true,
            Self::Update { .. }
            | Self::Approve(_)
            | Self::Refuse(_)
            | Self::Ban(_)
            | Self::Unban(_)
            | Self::Hold(_)
            | Self::Resume(_)
            | Self::Suspend(_)
            | Self::Transfer(_)
            | Self::Disband => false,
        }
    }

    /// Checks what needs no state.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Update { terms, max_members, .. } => {
                check_max_members(*max_members)?;
                terms.check()
            }
            Self::Signers { next, .. } => next.check(),
            Self::Limits { next, .. } => next.check(),
            Self::Vault { former, next } if *former == next.address => {
                Err("the next vault is the former one; give the address of the vault that follows it".into())
            }
            Self::Vault { next, .. } => check_vault(next),
            Self::Correct { amount, .. } | Self::Losses(amount) if *amount == MicroUsdt::ZERO => {
                Err("the amount is zero; give what is missing".into())
            }
            Self::Correct { .. }
            | Self::Losses(_)
            | Self::Approve(_)
            | Self::Refuse(_)
            | Self::Ban(_)
            | Self::Unban(_)
            | Self::Hold(_)
            | Self::Resume(_)
            | Self::Suspend(_)
            | Self::Transfer(_)
            | Self::Disband => Ok(()),
        }
    }
}

fn check_max_members(found: u32) -> Result<(), String> {
    let is_possible = usize::try_from(found).is_ok_and(|n| (1..=MAX_MEMBERS).contains(&n));
    if is_possible { Ok(()) } else { Err(format!("max_members {found}; a pool has 1 to {MAX_MEMBERS} members")) }
}
