//! What a pool owes, as the chain records it: accounts, the payout root of a settlement, and the requests that leaders send
//! to treasury signers. Plain integers and bytes; only `lucid-tron-bridge` knows what TRON makes of them.

use serde::{Deserialize, Serialize};

use crate::amount::MicroUsdt;
use crate::bytes::hex_bytes;
use crate::codec::Wire;
use crate::genesis::SignerSet;
use crate::id::{Hash, NetworkId, NodeId, PayoutAddress, PayoutId, PoolId};
use crate::payout_tree::{AccountId, PayoutRoot};
use crate::signed::SignedRecord;
use crate::time::UnixMillis;

/// What an account of a pool is for. A node may have one of each kind in one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountKind {
    /// A member's earnings.
    Worker,
    /// The owner's commission.
    Commission,
}

impl AccountKind {
    /// The byte that stands for it in an [`AccountId`].
    const fn tag(self) -> u8 {
        match self {
            Self::Worker => 0,
            Self::Commission => 1,
        }
    }
}

impl AccountId {
    /// BLAKE3 in derive-key mode with the context `lucid account 1` over network, pool, kind (one byte) and node.
    pub fn derive(network: &NetworkId, pool: &PoolId, kind: AccountKind, node: &NodeId) -> Self {
        let parts: [&[u8]; 4] = [network.as_bytes(), pool.as_bytes(), &[kind.tag()], node.as_bytes()];
        Self::from_bytes(*Hash::derive("lucid account 1", &parts).as_bytes())
    }
}

impl PayoutId {
    /// The id of what `account` became due for `settlement`.
    pub fn derive(account: &AccountId, settlement: u64) -> Self {
        let parts: [&[u8]; 2] = [account.as_bytes(), &settlement.to_le_bytes()];
        Self::from_bytes(*Hash::derive("lucid payout id 2", &parts).as_bytes())
    }
}

/// The payout root of a settlement with everything that treasury signers sign beside it. Every node computes it; the block
/// that does carries it under its hash.
///
/// A root is issued again, with a higher total or under a newer era, when the pool books losses or rotates its signers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementRoot {
    /// The pool.
    pub pool: PoolId,
    /// The settlement, from 1.
    pub settlement: u64,
    /// The vault that pays.
    pub vault: PayoutAddress,
    /// The signers whose signatures count.
    pub era: u32,
    /// The root of the payout tree over all accounts of the pool.
    pub root: PayoutRoot,
    /// All that the vault and its predecessors may ever have paid out under this root: owed totals, fees and losses.
    pub total: MicroUsdt,
    /// The part of it that may ever have been paid as push fees.
    pub fees: MicroUsdt,
    /// All that the pool has put up for it: budgets with corrections, and losses. Never less than the total.
    pub promised: MicroUsdt,
    /// The elected leader's gas account, which alone earns push fees until [`Self::until`]; `None` if nobody can lead.
    pub leader: Option<PayoutAddress>,
    /// Unix time in seconds; 0 without a leader.
    pub until: u64,
}

impl Wire for SettlementRoot {
    const MAX_BYTES: usize = 151;
}

/// What became due for one account in one settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutRequest {
    /// Its id.
    pub id: PayoutId,
    /// The account.
    pub account: AccountId,
    /// What the account is for.
    pub kind: AccountKind,
    /// Whose it is.
    pub node: NodeId,
    /// Where to.
    pub to: PayoutAddress,
    /// What became due since the account's last request.
    pub amount: MicroUsdt,
    /// All that the account was ever owed, this included: it is paid when the vault has paid that much.
    pub owed: MicroUsdt,
}

/// A request to a treasury signer. It names what finalised state says, never bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CosignRequest {
    /// The pool's root of this settlement, as it was issued last.
    Root {
        /// The pool.
        pool: PoolId,
        /// The settlement.
        settlement: u64,
    },
    /// The change of signers with this number among the vault's changes.
    Signers {
        /// The pool.
        pool: PoolId,
        /// The number.
        nonce: u32,
    },
    /// The change of limits with this number among the vault's changes.
    Limits {
        /// The pool.
        pool: PoolId,
        /// The number.
        nonce: u32,
    },
}

impl CosignRequest {
    /// The pool.
    pub const fn pool(&self) -> PoolId {
        match self {
            Self::Root { pool, .. } | Self::Signers { pool, .. } | Self::Limits { pool, .. } => *pool,
        }
    }
}

impl Wire for CosignRequest {
    const MAX_BYTES: usize = 44;
}

impl SignedRecord for CosignRequest {
    const TAG: &'static str = "lucid/cosign/2";
}

hex_bytes!(
    /// A treasury signer's secp256k1 signature: r, s, v.
    TreasurySignature, 65
);

/// A treasury signer's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CosignReply {
    /// The signature over what the signer itself derived.
    Signed(TreasurySignature),
    /// The signer's own state does not hold it yet: ask again after the next block.
    NotFinal,
    /// The signer refuses, and says why.
    Refused(String),
}

impl Wire for CosignReply {
    const MAX_BYTES: usize = 1 << 10;
}

/// The limits that a vault keeps on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultLimits {
    /// The most that leaves the vault by payments and fees in one period.
    pub cap: MicroUsdt,
    /// What whoever pushes a payment gets for each item, out of the allowance for fees.
    pub push_fee: MicroUsdt,
}

/// What a pool's owner, alone or with its signers, changes. Commands of a pool are numbered, so none applies twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolCommand {
    /// The pool.
    pub pool: PoolId,
    /// The number of the command among the pool's, from 1.
    pub number: u64,
    /// No block of a later time can hold it.
    pub until: UnixMillis,
    /// The change.
    pub change: PoolChange,
}

/// See [`PoolCommand`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolChange {
    /// What this member earns is set aside from the second settlement after on, for at most seven. By the owner.
    Hold(NodeId),
    /// Ends a hold: what was set aside is owed from the next settlement on. By the owner.
    Resume(NodeId),
    /// No roots are made from the second settlement after on, or they are again at once. By the owner.
    Suspend(bool),
    /// This account is owed more, from the next root on: a theft was booked on it. By the owner and the signers.
    Correct {
        /// The account.
        account: AccountId,
        /// How much more.
        amount: MicroUsdt,
    },
    /// This much was taken under ids that the ledger does not know, or as fees beyond the allowance: the newest root's total
    /// rises by it. By the owner and the signers.
    Losses(MicroUsdt),
    /// Other signers, under a new era. By the owner and the signers in force.
    Signers {
        /// The vault's changes before it.
        nonce: u32,
        /// Who signs from then on.
        next: SignerSet,
    },
    /// Other limits. The fee counts from the second settlement after. By the owner and the signers.
    Limits {
        /// The era of the signers in force.
        era: u32,
        /// The vault's changes before it.
        nonce: u32,
        /// What comes into force.
        next: VaultLimits,
    },
}

impl PoolChange {
    /// Whether the signers in force must sign it beside the owner.
    pub const fn needs_signers(&self) -> bool {
        match self {
            Self::Hold(_) | Self::Resume(_) | Self::Suspend(_) => false,
            Self::Correct { .. } | Self::Losses(_) | Self::Signers { .. } | Self::Limits { .. } => true,
        }
    }
}

impl Wire for PoolCommand {
    /// Other signers, as many as there may be, of 53 bytes each.
    const MAX_BYTES: usize = 69 + SignerSet::MAX * 53;
}

impl SignedRecord for PoolCommand {
    const TAG: &'static str = "lucid/pool-command/1";
}
