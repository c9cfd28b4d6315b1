//! The calls of a TRC-20 token that Lucid makes: transfers of USDT, what somebody holds, and what the token would do to a
//! transfer.

use lucid_tron_types::abi::{call, word_of};
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::PayoutAddress;
use lucid_types::time::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::address;
use crate::transaction::{ContractCall, TransactionError, UnsignedTransaction};

/// Call data of `transfer(address,uint256)`.
pub fn transfer(to: &PayoutAddress, amount: MicroUsdt) -> Vec<u8> {
    call("transfer(address,uint256)", &[address::to_word(to), word_of(amount.get())])
}

/// Call data of `balanceOf(address)`.
pub fn balance_of(holder: &PayoutAddress) -> Vec<u8> {
    call("balanceOf(address)", &[address::to_word(holder)])
}

/// Call data of USDT's `paused()`.
pub fn paused() -> Vec<u8> {
    call("paused()", &[])
}

/// Call data of USDT's `deprecated()`.
pub fn deprecated() -> Vec<u8> {
    call("deprecated()", &[])
}

/// Call data of USDT's `basisPointsRate()`.
pub fn fee_rate() -> Vec<u8> {
    call("basisPointsRate()", &[])
}

/// Call data of USDT's `isBlackListed(address)`.
pub fn is_blacklisted(holder: &PayoutAddress) -> Vec<u8> {
    call("isBlackListed(address)", &[address::to_word(holder)])
}

/// What USDT would do to transfers out of an account. With any of these set, payments stop or are taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFlags {
    /// All transfers fail.
    pub paused: bool,
    /// Calls are handed on to another contract.
    pub deprecated: bool,
    /// A part is taken from every recipient.
    pub fee: bool,
    /// The account is frozen.
    pub blacklisted: bool,
}

/// A transfer of a token in the terms of TRON, for building its transaction offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferCall {
    /// Who pays.
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
}

impl TransferCall {
    /// Encodes the transaction.
    ///
    /// # Errors
    /// A time, the fee limit or the permission id does not fit the protocol's signed integers.
    pub fn build(&self) -> Result<UnsignedTransaction, TransactionError> {
        let call = ContractCall {
            owner: self.owner,
            contract: self.token,
            data: transfer(&self.to, self.amount),
            permission_id: self.permission_id,
            ref_block_bytes: self.ref_block_bytes,
            ref_block_hash: self.ref_block_hash,
            timestamp: self.timestamp,
            expiration: self.expiration,
            fee_limit: self.fee_limit,
        };
        call.build()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use lucid_types::id::TxId;

    use super::*;
    use crate::key::TronKey;
    use crate::signature::recover;

    #[derive(Deserialize)]
    struct Vectors {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        private_key: String,
        owner: PayoutAddress,
        contract: PayoutAddress,
        to: PayoutAddress,
        amount_micro_usdt: u64,
        fee_limit_sun: u64,
        permission_id: u32,
        ref_block_bytes: String,
        ref_block_hash: String,
        expiration_ms: u64,
        timestamp_ms: u64,
        raw_data_hex: String,
        tx_id: TxId,
        signature: String,
    }

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        hex::decode(hex).unwrap().try_into().unwrap()
    }

    #[test]
    fn bytes_ids_and_signatures_are_those_of_tronweb() {
        let vectors: Vectors = serde_json::from_str(include_str!("../tests/data/tron_transfers.json")).unwrap();
        assert_eq!(vectors.cases.len(), 24);
        for case in vectors.cases {
            let call = TransferCall {
                owner: case.owner,
                token: case.contract,
                to: case.to,
                amount: MicroUsdt::new(case.amount_micro_usdt),
                permission_id: case.permission_id,
                ref_block_bytes: bytes(&case.ref_block_bytes),
                ref_block_hash: bytes(&case.ref_block_hash),
                timestamp: UnixMillis::new(case.timestamp_ms),
                expiration: UnixMillis::new(case.expiration_ms),
                fee_limit: Sun::new(case.fee_limit_sun),
            };
            let transaction = call.build().unwrap();
            assert_eq!(hex::encode(transaction.raw_data()), case.raw_data_hex);
            assert_eq!(transaction.tx_id(), case.tx_id);
            let key = TronKey::from_secret(&bytes(&case.private_key)).unwrap();
            let signature = key.sign_transaction(&transaction).unwrap();
            assert_eq!(hex::encode(signature.as_bytes()), case.signature.to_lowercase());
            assert_eq!(recover(&signature, case.tx_id.as_bytes()), Ok(key.address()));
            // With permission 0 the owner signs for itself.
            assert!(case.permission_id != 0 || key.address() == case.owner);
        }
    }
}
