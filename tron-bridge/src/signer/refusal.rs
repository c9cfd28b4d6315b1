//! Why a signer does not sign, and what to do about it.

use lucid_types::amount::MicroUsdt;
use lucid_types::id::{PayoutAddress, PoolId};
use lucid_types::payout_tree::PayoutRoot;

use crate::key::KeyError;

/// Why the signer does not sign. The text is for whoever asked and for the signer's operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another pool's.
    #[error("the record is of pool {asked}; this signer signs for pool {own}: ask that pool's signers")]
    Pool {
        /// The record's.
        asked: PoolId,
        /// The signer's.
        own: PoolId,
    },
    /// Another vault's.
    #[error(
        "the root names the vault {asked}; this signer signs for {own}: if the pool has a new vault, name it and its \
         predecessors in the signer's configuration"
    )]
    Vault {
        /// The record's.
        asked: PayoutAddress,
        /// The signer's.
        own: PayoutAddress,
    },
    /// The root is for other signers than those in force.
    #[error(
        "the root is for the signers of era {asked}, but those of era {own} are in force: ask for the root as it was issued last"
    )]
    Era {
        /// The record's.
        asked: u32,
        /// The set's.
        own: u32,
    },
    /// The key is not among the signers.
    #[error(
        "{address} is not a signer of era {era}: install the key that the pool's owner entered, or have this one entered"
    )]
    NotASigner {
        /// The key's address.
        address: PayoutAddress,
        /// The set's era.
        era: u32,
    },
    /// The set is one that a vault refuses.
    #[error("the new signers make no set that a vault takes: {0}")]
    BadSet(String),
    /// The new set is not the next one.
    #[error("the new signers are of era {next}, and those in force of era {by}; eras count up by one")]
    EraStep {
        /// The set's in force.
        by: u32,
        /// The new set's.
        next: u32,
    },
    /// A vault refuses it.
    #[error("the payout root is zero, which no tree has: this node's state is damaged")]
    ZeroRoot,
    /// What was signed last was for a vault that is not known as a predecessor.
    #[error(
        "the watermark is of the vault {signed}, which is no predecessor of this one: add it, or give this pool its own store"
    )]
    ForeignWatermark {
        /// The watermark's vault.
        signed: PayoutAddress,
    },
    /// An era that is over.
    #[error("the signers of era {asked} were replaced: this signer has signed for era {signed}")]
    OldEra {
        /// The record's.
        asked: u32,
        /// The watermark's.
        signed: u32,
    },
    /// A newer settlement was signed.
    #[error(
        "settlement {asked} is older than settlement {signed}, which this signer has signed: ask for the newest root, it pays the same accounts"
    )]
    OldSettlement {
        /// The record's.
        asked: u64,
        /// The watermark's.
        signed: u64,
    },
    /// Two final states differ, or finality was forged.
    #[error(
        "this signer has signed the root {signed} for settlement {settlement} and now finds {asked}: two states differ. Stop \
         this signer and compare the ledgers of several validators before it signs again"
    )]
    AnotherRoot {
        /// The settlement.
        settlement: u64,
        /// The record's root.
        asked: PayoutRoot,
        /// The watermark's.
        signed: PayoutRoot,
    },
    /// The vault keeps a settlement's first leader, and so does the ledger.
    #[error(
        "this signer has signed settlement {0} with another leader or end of turn: two states differ. Compare the ledgers of several validators"
    )]
    AnotherTurn(u64),
    /// A sum that never falls fell.
    #[error(
        "the {what} fell from {signed} to {asked} micro-USDT since this signer's last signature: the node's state is older or another; let it catch up, or compare it with other validators"
    )]
    Smaller {
        /// Which sum.
        what: &'static str,
        /// The record's.
        asked: MicroUsdt,
        /// The watermark's.
        signed: MicroUsdt,
    },
    /// The cap.
    #[error(
        "the total {total} is more than the {promised} micro-USDT that the pool has put up: since the last signature the total \
         grew by {grown}, of which the pool can explain {explained}. If the difference is a loss, the owner books it"
    )]
    Cap {
        /// The record's total.
        total: MicroUsdt,
        /// The record's promise.
        promised: MicroUsdt,
        /// By how much the total grew since the last signature.
        grown: MicroUsdt,
        /// How much it could have grown.
        explained: MicroUsdt,
    },
    /// The fees are part of the total.
    #[error("the allowance for fees {fees} is more than the total {total}: the node's state is damaged")]
    Fees {
        /// The record's fees.
        fees: MicroUsdt,
        /// The record's total.
        total: MicroUsdt,
    },
    /// A newer change was signed.
    #[error(
        "change {asked} of the vault is older than change {signed}, which this signer has signed: ask for the newest"
    )]
    OldChange {
        /// The record's nonce.
        asked: u32,
        /// The watermark's.
        signed: u32,
    },
    /// A second content for a change.
    #[error(
        "this signer has signed another change with the number {0}: two states differ. Compare the ledgers of several validators"
    )]
    AnotherChange(u32),
    /// The memory is older than what was signed.
    #[error(
        "the watermark is record {found}, but record {newest} was made: it was restored from a backup or lost, and this signer \
         might sign twice. Restore the newest copy; if there is none, have the owner replace this signer's key"
    )]
    RolledBack {
        /// Sequence found.
        found: u64,
        /// Sequence known.
        newest: u64,
    },
}

/// No signature was made.
#[derive(Debug, thiserror::Error)]
pub enum SignError<E: std::error::Error + 'static> {
    /// The rules forbid it.
    #[error("refused to sign: {0}")]
    Refused(Refusal),
    /// The watermark could not be read or written: signing stops until it can.
    #[error("use the signer's watermark; check its disk and permissions")]
    Store(#[source] E),
    /// The key failed.
    #[error("sign with the treasury key")]
    Key(#[source] KeyError),
}

impl<E: std::error::Error + 'static> From<Refusal> for SignError<E> {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
