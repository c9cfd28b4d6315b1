//! What a pool owes, as the chain records it: accounts, the payout root of a settlement, and the requests that leaders send
//! to treasury signers. Plain integers and bytes; only `lucid-tron-bridge` knows what TRON makes of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::amount::MicroUsdt;
use crate::bytes::hex_bytes;
use crate::codec::Wire;
use crate::id::{Hash, NetworkId, NodeId, PayoutAddress, PayoutId, PoolId, PublicKey};
use crate::payout_tree::{AccountId, PayoutRoot};
use crate::signed::SignedRecord;

/// What an account of a pool is for. A node may have one of each kind in one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountKind {
    /// A member's earnings.
    Worker,
    /// The owner's commission.
    Commission,
    /// A validator's part for measuring the pool's workers. It need not be a member.
    Validator,
}

impl AccountKind {
    /// The byte that stands for it in an [`AccountId`].
    const fn tag(self) -> u8 {
        match self {
            Self::Worker => 0,
            Self::Commission => 1,
            Self::Validator => 2,
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

/// What was requested for each account so far. Whoever is not in it has had no request. An account is to be paid as long as the vault
/// has paid less than was requested for it.
pub type Requested = BTreeMap<AccountId, MicroUsdt>;

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
    type Signer = PublicKey;
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

impl VaultLimits {
    /// Checks what would keep a vault from ever paying.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        if self.push_fee >= self.cap {
            return Err("limits: the push_fee must be less than the cap, or nothing is ever paid".into());
        }
        Ok(())
    }
}
