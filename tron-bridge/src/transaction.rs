//! Builds the three transactions that Lucid sends: a contract call, a contract's creation, a transfer of TRX.
//!
//! They are encoded here, and the transaction id is the hash of these bytes: what a TRON node builds is never signed.
//!
//! Sources: `core/Tron.proto`; `TransactionCapsule.setReference` of java-tron for the reference block; the vectors in
//! `tests/data/tron_transfers.json`, made offline with tronweb, for the byte order.

use std::time::Duration;

use lucid_types::amount::Sun;
use lucid_types::id::{PayoutAddress, SolidBlockId, TxId};
use lucid_types::payout::TreasurySignature;
use lucid_types::time::UnixMillis;
use prost::Message;

use lucid_tron_types::block;
use lucid_tron_types::proto::{
    Contract, CreateSmartContract, SmartContract, Transaction, TransactionRaw, TransferContract, TriggerSmartContract,
};

/// Most bytes a signature adds to the encoded transaction: 65, a tag and a length.
const SIGNATURE_BYTES: usize = 67;

/// Bytes that java-tron counts for the result, which is not there yet.
pub(crate) const RESULT_BYTES: usize = 64;

/// Most of its own energy that a contract's deployer would pay for a call. The callers pay all of it, so it has no effect; the
/// protocol wants it positive.
const ORIGIN_ENERGY_LIMIT: i64 = 10_000_000;

/// A block of TRON: the newest, the newest solidified, or one that a transaction refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub id: SolidBlockId,
    /// When it was made.
    pub time: UnixMillis,
}

impl Reference {
    /// The last two bytes of the number.
    pub const fn ref_block_bytes(&self) -> [u8; 2] {
        let [.., a, b] = self.number.to_be_bytes();
        [a, b]
    }

    /// Bytes 8..16 of the id.
    pub fn ref_block_hash(&self) -> [u8; 8] {
        let mut hash = [0; 8];
        hash.copy_from_slice(&self.id.as_bytes()[8..16]);
        hash
    }
}

/// A quantity does not fit the protocol's signed integers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the transaction's {field} {value} does not fit the protocol's integers")]
pub struct TransactionError {
    /// Which field.
    pub field: &'static str,
    /// Its value.
    pub value: u64,
}

/// The bytes to sign, and their hash.
#[derive(Clone, PartialEq, Eq)]
pub struct UnsignedTransaction {
    raw_data: Vec<u8>,
    tx_id: TxId,
}

impl UnsignedTransaction {
    fn new(raw: &TransactionRaw) -> Self {
        let raw_data = raw.encode_to_vec();
        let tx_id = TxId::from_bytes(block::transaction_id(&raw_data));
        Self { raw_data, tx_id }
    }

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

    /// Bandwidth the transaction takes with `n_signatures`, in bytes.
    pub fn bandwidth(&self, n_signatures: usize) -> usize {
        let signatures = n_signatures.saturating_mul(SIGNATURE_BYTES);
        self.with_signatures(&[]).len().saturating_add(signatures).saturating_add(RESULT_BYTES)
    }
}

impl std::fmt::Debug for UnsignedTransaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UnsignedTransaction({})", self.tx_id)
    }
}

/// A call of a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractCall {
    /// Who calls and pays for it.
    pub owner: PayoutAddress,
    /// The contract.
    pub contract: PayoutAddress,
    /// Call data of the contract's ABI.
    pub data: Vec<u8>,
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

impl ContractCall {
    /// Under the owner permission, from the reference block's time until `lifetime` later. A network includes it only
    /// within 24 hours of that block's time.
    pub fn new(
        owner: PayoutAddress,
        contract: PayoutAddress,
        data: Vec<u8>,
        reference: &Reference,
        lifetime: Duration,
        fee_limit: Sun,
    ) -> Self {
        Self {
            owner,
            contract,
            data,
            permission_id: 0,
            ref_block_bytes: reference.ref_block_bytes(),
            ref_block_hash: reference.ref_block_hash(),
            timestamp: reference.time,
            expiration: reference.time.after(lifetime),
            fee_limit,
        }
    }

    /// Encodes the transaction.
    ///
    /// # Errors
    /// A time, the fee limit or the permission id does not fit the protocol's signed integers.
    pub fn build(&self) -> Result<UnsignedTransaction, TransactionError> {
        let call = TriggerSmartContract {
            owner_address: self.owner.as_bytes().to_vec(),
            contract_address: self.contract.as_bytes().to_vec(),
            data: self.data.clone(),
            ..TriggerSmartContract::default()
        };
        let permission_id = i32::try_from(self.permission_id)
            .map_err(|_| TransactionError { field: "permission id", value: self.permission_id.into() })?;
        let raw = TransactionRaw {
            ref_block_bytes: self.ref_block_bytes.to_vec(),
            ref_block_hash: self.ref_block_hash.to_vec(),
            expiration: signed("expiration", self.expiration.get())?,
            contract: vec![Contract::pack(&call, permission_id)],
            timestamp: signed("timestamp", self.timestamp.get())?,
            fee_limit: signed("fee limit", self.fee_limit.get())?,
            ..TransactionRaw::default()
        };
        Ok(UnsignedTransaction::new(&raw))
    }
}

/// The creation of a contract, whose callers will pay for all energy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractCreation {
    /// Who deploys it and pays for it.
    pub owner: PayoutAddress,
    /// For people, at most 32 bytes.
    pub name: String,
    /// Creation code with the constructor's arguments.
    pub code: Vec<u8>,
    /// The reference block.
    pub reference: Reference,
    /// How long from the reference block's time it can be included.
    pub lifetime: Duration,
    /// Most sun to burn for energy.
    pub fee_limit: Sun,
}

impl ContractCreation {
    /// Encodes the transaction.
    ///
    /// # Errors
    /// A time or the fee limit does not fit the protocol's signed integers.
    pub fn build(&self) -> Result<UnsignedTransaction, TransactionError> {
        let owner = self.owner.as_bytes().to_vec();
        let new_contract = SmartContract {
            origin_address: owner.clone(),
            bytecode: self.code.clone(),
            consume_user_resource_percent: 100,
            name: self.name.clone(),
            origin_energy_limit: ORIGIN_ENERGY_LIMIT,
            ..SmartContract::default()
        };
        let create = CreateSmartContract {
            owner_address: owner,
            new_contract: Some(new_contract),
            ..CreateSmartContract::default()
        };
        let fee_limit = signed("fee limit", self.fee_limit.get())?;
        let raw = referring(Contract::pack(&create, 0), &self.reference, self.lifetime)?;
        Ok(UnsignedTransaction::new(&TransactionRaw { fee_limit, ..raw }))
    }
}

/// A transfer of TRX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrxTransfer {
    /// Who pays.
    pub owner: PayoutAddress,
    /// Who is paid. The account is made if it does not exist.
    pub to: PayoutAddress,
    /// How much.
    pub amount: Sun,
    /// The reference block.
    pub reference: Reference,
    /// How long from the reference block's time it can be included.
    pub lifetime: Duration,
}

impl TrxTransfer {
    /// Encodes the transaction.
    ///
    /// # Errors
    /// A time or the amount does not fit the protocol's signed integers.
    pub fn build(&self) -> Result<UnsignedTransaction, TransactionError> {
        let transfer = TransferContract {
            owner_address: self.owner.as_bytes().to_vec(),
            to_address: self.to.as_bytes().to_vec(),
            amount: signed("amount", self.amount.get())?,
        };
        Ok(UnsignedTransaction::new(&referring(Contract::pack(&transfer, 0), &self.reference, self.lifetime)?))
    }
}

/// A transaction made at the time of its reference block.
fn referring(
    contract: Contract,
    reference: &Reference,
    lifetime: Duration,
) -> Result<TransactionRaw, TransactionError> {
    Ok(TransactionRaw {
        ref_block_bytes: reference.ref_block_bytes().to_vec(),
        ref_block_hash: reference.ref_block_hash().to_vec(),
        expiration: signed("expiration", reference.time.after(lifetime).get())?,
        contract: vec![contract],
        timestamp: signed("timestamp", reference.time.get())?,
        ..TransactionRaw::default()
    })
}

fn signed(field: &'static str, value: u64) -> Result<i64, TransactionError> {
    i64::try_from(value).map_err(|_| TransactionError { field, value })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::TronKey;

    const LIFETIME: Duration = Duration::from_secs(60);

    fn reference(number: u64) -> Reference {
        let mut id = [0xcd; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        Reference { number, id: SolidBlockId::from_bytes(id), time: UnixMillis::new(1_790_000_000_000) }
    }

    fn account(n: u8) -> PayoutAddress {
        PayoutAddress::from_hash20([n; 20])
    }

    fn call() -> ContractCall {
        let reference = reference(0x0102_0304_0506_0708);
        ContractCall::new(account(6), account(7), vec![1, 2, 3], &reference, LIFETIME, Sun::new(15_000_000))
    }

    fn creation() -> ContractCreation {
        ContractCreation {
            owner: account(6),
            name: "PayoutVault".into(),
            code: vec![0x60; 9],
            reference: reference(500),
            lifetime: LIFETIME,
            fee_limit: Sun::new(7),
        }
    }

    fn transfer() -> TrxTransfer {
        TrxTransfer {
            owner: account(6),
            to: account(5),
            amount: Sun::new(3),
            reference: reference(500),
            lifetime: LIFETIME,
        }
    }

    fn raw(transaction: &UnsignedTransaction) -> TransactionRaw {
        TransactionRaw::decode(transaction.raw_data()).unwrap()
    }

    #[test]
    fn a_call_says_what_it_is_made_of() {
        let raw = raw(&call().build().unwrap());
        assert_eq!((raw.ref_block_bytes.as_slice(), raw.ref_block_hash.as_slice()), (&[7, 8][..], &[0xcd; 8][..]));
        assert_eq!((raw.timestamp, raw.expiration), (1_790_000_000_000, 1_790_000_060_000));
        assert_eq!((raw.fee_limit, raw.contract[0].permission_id), (15_000_000, 0));
        let call: TriggerSmartContract = raw.contract[0].unpack().unwrap();
        assert_eq!(call.owner_address, account(6).as_bytes());
        assert_eq!(call.contract_address, account(7).as_bytes());
        assert_eq!(call.data, [1, 2, 3]);
    }

    #[test]
    fn a_creation_makes_callers_pay_for_energy() {
        let raw = raw(&creation().build().unwrap());
        assert_eq!(raw.fee_limit, 7);
        let create: CreateSmartContract = raw.contract[0].unpack().unwrap();
        let contract = create.new_contract.unwrap();
        assert_eq!(contract.origin_address, create.owner_address);
        assert_eq!((contract.bytecode.as_slice(), contract.name.as_str()), (&[0x60; 9][..], "PayoutVault"));
        assert_eq!(contract.consume_user_resource_percent, 100);
    }

    #[test]
    fn a_transfer_has_no_fee_limit() {
        let raw = raw(&transfer().build().unwrap());
        assert_eq!((raw.fee_limit, raw.expiration), (0, 1_790_000_060_000));
        let transfer: TransferContract = raw.contract[0].unpack().unwrap();
        assert_eq!((transfer.to_address.as_slice(), transfer.amount), (account(5).as_bytes().as_slice(), 3));
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let too_much = Sun::new(u64::MAX);
        let refused = |field| TransactionError { field, value: u64::MAX };
        assert_eq!(ContractCall { fee_limit: too_much, ..call() }.build(), Err(refused("fee limit")));
        assert_eq!(ContractCreation { fee_limit: too_much, ..creation() }.build(), Err(refused("fee limit")));
        assert_eq!(TrxTransfer { amount: too_much, ..transfer() }.build(), Err(refused("amount")));
        let permission = ContractCall { permission_id: u32::MAX, ..call() }.build();
        assert_eq!(permission, Err(TransactionError { field: "permission id", value: u32::MAX.into() }));
    }

    #[test]
    fn the_broadcast_transaction_holds_the_signed_bytes() {
        let unsigned = call().build().unwrap();
        let signature = TronKey::from_secret(&[0x22; 32]).unwrap().sign_transaction(&unsigned).unwrap();
        let transaction = Transaction::decode(unsigned.with_signatures(&[signature]).as_slice()).unwrap();
        assert_eq!(transaction.raw_data, unsigned.raw_data());
        assert_eq!(transaction.signature, [signature.as_bytes().to_vec()]);
        let one = unsigned.bandwidth(1);
        assert_eq!(unsigned.bandwidth(2), one + 67);
        assert_eq!(one, transaction.encoded_len() + 64);
    }

    proptest! {
        #[test]
        fn every_field_of_a_call_reaches_the_transaction_id(field in 0_usize..9, flip in 1_u8..=255) {
            let base = call();
            let mut changed = base.clone();
            let n = u64::from(flip);
            match field {
                0 => changed.data.push(flip),
                1 => changed.owner = account(6 ^ flip),
                2 => changed.contract = account(7 ^ flip),
                3 => changed.permission_id += u32::from(flip),
                4 => changed.expiration = UnixMillis::new(base.expiration.get() + n),
                5 => changed.timestamp = UnixMillis::new(base.timestamp.get() + n),
                6 => changed.fee_limit = Sun::new(base.fee_limit.get() + n),
                7 => changed.ref_block_bytes[1] ^= flip,
                _ => changed.ref_block_hash[7] ^= flip,
            }
            prop_assert_ne!(base.build().unwrap().tx_id(), changed.build().unwrap().tx_id());
        }
    }
}
