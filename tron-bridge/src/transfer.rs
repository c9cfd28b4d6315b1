//! Turns a finalised payout attempt into the exact bytes of its transaction.
//!
//! Everything in the bytes comes from the attempt, so that every node derives the same transaction id: the call
//! `transfer(address,uint256)` of the token with the 32 bytes of the attempt id appended (the token ignores them; they
//! keep the ids of two attempts apart), the reference block, the times, the fee limit and the permission. What a TRON
//! node builds is never signed.
//!
//! Sources: `core/Tron.proto`; `TransactionCapsule.setReference` of java-tron for the reference block; the vectors in
//! `tests/data/tron_transfers.json`, made offline with tronweb, for the byte order.

use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::{AttemptId, PayoutAddress, SolidBlockId, TxId};
use lucid_types::payout::{PayoutAttempt, TreasurySignature};
use lucid_types::time::UnixMillis;
use prost::Message;

use crate::trc20;
use lucid_tron_types::block;
use lucid_tron_types::proto::{Contract, Transaction, TransactionRaw, TriggerSmartContract};

/// Most bytes a signature adds to the encoded transaction: 65, a tag and a length.
const SIGNATURE_BYTES: usize = 67;

/// A quantity does not fit the protocol's signed integers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the transfer's {field} {value} does not fit the protocol's integers")]
pub struct TransferError {
    /// Which field.
    pub field: &'static str,
    /// Its value.
    pub value: u64,
}

/// The bytes to sign, and their hash.
#[derive(Clone, PartialEq, Eq)]
pub struct UnsignedTransfer {
    raw_data: Vec<u8>,
    tx_id: TxId,
}

impl UnsignedTransfer {
    /// The encoded `Transaction.raw`.
    pub fn raw_data(&self) -> &[u8] {
        &self.raw_data
    }

    /// SHA-256 of [`Self::raw_data`]; what is signed.
    pub const fn tx_id(&self) -> TxId {
        self.tx_id
    }

    /// The encoded transaction with these signatures: what is broadcast.
    pub fn with_signatures(&self, signatures: &[TreasurySignature]) -> Vec<u8> {
        let transaction = Transaction {
            raw_data: self.raw_data.clone(),
            signature: signatures.iter().map(|s| s.as_bytes().to_vec()).collect(),
            ret: Vec::new(),
        };
        transaction.encode_to_vec()
    }

    /// Bandwidth the transaction takes with `n_signatures`, in bytes (java-tron counts the result's 64 bytes too).
    pub fn bandwidth(&self, n_signatures: usize) -> usize {
        let signatures = n_signatures.saturating_mul(SIGNATURE_BYTES);
        self.with_signatures(&[]).len().saturating_add(signatures).saturating_add(64)
    }
}

impl std::fmt::Debug for UnsignedTransfer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UnsignedTransfer({})", self.tx_id)
    }
}

/// One token transfer in the terms of TRON. [`transfer`] fills it from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferCall {
    /// Who pays: the treasury.
    pub owner: PayoutAddress,
    /// The token's contract.
    pub token: PayoutAddress,
    /// Who is paid.
    pub to: PayoutAddress,
    /// How much.
    pub amount: MicroUsdt,
    /// Permission of the owner to act under: 0 owner, from 2 active.
    pub permission_id: u32,
    /// Last two bytes of the reference block's number.
    pub ref_block_bytes: [u8; 2],
    /// Bytes 8..16 of the reference block's id.
    pub ref_block_hash: [u8; 8],
    /// Time the transaction claims to be made at.
    pub timestamp: UnixMillis,
    /// A block whose parent is not before this refuses the transaction.
    pub expiration: UnixMillis,
    /// Most sun to burn for energy.
    pub fee_limit: Sun,
    /// Appended to the call data.
    pub attempt: Option<AttemptId>,
}

impl TransferCall {
    /// Encodes the transaction.
    ///
    /// # Errors
    /// A time, the fee limit or the permission id does not fit the protocol's signed integers.
    pub fn build(&self) -> Result<UnsignedTransfer, TransferError> {
        let mut data = trc20::transfer(&self.to, self.amount);
        if let Some(attempt) = &self.attempt {
            data.extend_from_slice(attempt.as_bytes());
        }
        let call = TriggerSmartContract {
            owner_address: self.owner.as_bytes().to_vec(),
            contract_address: self.token.as_bytes().to_vec(),
            data,
            ..TriggerSmartContract::default()
        };
        let permission_id = i32::try_from(self.permission_id)
            .map_err(|_| TransferError { field: "permission id", value: self.permission_id.into() })?;
        let raw = TransactionRaw {
            ref_block_bytes: self.ref_block_bytes.to_vec(),
            ref_block_hash: self.ref_block_hash.to_vec(),
            expiration: signed("expiration", self.expiration.get())?,
            contract: vec![Contract::pack(&call, permission_id)],
            timestamp: signed("timestamp", self.timestamp.get())?,
            fee_limit: signed("fee limit", self.fee_limit.get())?,
            ..TransactionRaw::default()
        };
        let raw_data = raw.encode_to_vec();
        let tx_id = TxId::from_bytes(block::transaction_id(&raw_data));
        Ok(UnsignedTransfer { raw_data, tx_id })
    }
}

/// The transaction that pays `attempt`: the same bytes on every node.
///
/// # Errors
/// See [`TransferCall::build`]; no attempt that a valid block opens fails.
pub fn transfer(attempt: &PayoutAttempt) -> Result<UnsignedTransfer, TransferError> {
    TransferCall {
        owner: attempt.treasury,
        token: attempt.token,
        to: attempt.to,
        amount: attempt.amount,
        permission_id: attempt.permission_id,
        ref_block_bytes: ref_block_bytes(attempt.reference.number),
        ref_block_hash: ref_block_hash(&attempt.reference.id),
        timestamp: attempt.reference.time,
        expiration: attempt.expiration,
        fee_limit: attempt.fee_limit,
        attempt: Some(attempt.id),
    }
    .build()
}

/// The last two bytes of a block's number.
pub const fn ref_block_bytes(number: u64) -> [u8; 2] {
    let [.., a, b] = number.to_be_bytes();
    [a, b]
}

/// Bytes 8..16 of a block's id.
pub fn ref_block_hash(id: &SolidBlockId) -> [u8; 8] {
    let mut hash = [0; 8];
    hash.copy_from_slice(&id.as_bytes()[8..16]);
    hash
}

fn signed(field: &'static str, value: u64) -> Result<i64, TransferError> {
    i64::try_from(value).map_err(|_| TransferError { field, value })
}

#[cfg(test)]
mod tests;
