//! Keys, and transactions built and signed with them: what tests and the testnet need to act on the chain.
//!
//! Nothing here talks to a node: the caller gives the reference block and the times.

use k256::ecdsa::{SigningKey, VerifyingKey};
use lucid_tron_types::block::{sha256, transaction_id};
use lucid_tron_types::proto::{self, ContractMessage};
use prost::Message;
use revm::primitives::Address;

use crate::address;

/// A secp256k1 key and its address.
#[derive(Clone)]
pub struct Wallet {
    key: SigningKey,
    address: Address,
}

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Wallet").field(&address::to_base58(self.address)).finish()
    }
}

/// The 32 bytes are no secp256k1 key (zero, or not below the group's order).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a secp256k1 private key")]
pub struct InvalidKey;

impl Wallet {
    /// From the private key's 32 bytes.
    pub fn from_secret(secret: &[u8; 32]) -> Result<Self, InvalidKey> {
        let key = SigningKey::from_slice(secret).map_err(|_| InvalidKey)?;
        let address = address::of_key(&VerifyingKey::from(&key));
        Ok(Self { key, address })
    }

    /// The `index`-th key of a seed: the first SHA-256 of the seed, the index and a counter that is a key.
    pub fn derive(seed: &str, index: u32) -> Self {
        let mut counter = 0u32;
        loop {
            let preimage = [seed.as_bytes(), b"/", &index.to_be_bytes(), &counter.to_be_bytes()].concat();
            if let Ok(wallet) = Self::from_secret(&sha256(&preimage)) {
                return wallet;
            }
            counter = counter.wrapping_add(1);
        }
    }

    /// Its address.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The private key.
    pub fn secret(&self) -> [u8; 32] {
        self.key.to_bytes().into()
    }

    /// 65 bytes r || s || v (27 or 28) over a 32-byte hash; deterministic (RFC 6979).
    pub fn sign_hash(&self, hash: &[u8; 32]) -> Option<[u8; 65]> {
        let (signature, recovery) = self.key.sign_prehash_recoverable(hash).ok()?;
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        bytes[64] = recovery.to_byte().saturating_add(27);
        Some(bytes)
    }

    /// Adds this key's signature.
    pub fn sign(&self, transaction: &mut proto::Transaction) {
        let id = transaction_id(&transaction.raw_data);
        transaction.signature.extend(self.sign_hash(&id).map(|s| s.to_vec()));
    }
}

/// Where and when a transaction is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Id of a block of the chain.
    pub reference: [u8; 32],
    /// Milliseconds since the epoch; also makes otherwise equal transactions differ.
    pub timestamp: u64,
    /// Milliseconds since the epoch.
    pub expiration: u64,
}

impl Validity {
    /// Refers to the block with this id and time, and expires `lifetime` milliseconds after it.
    pub fn after(reference: [u8; 32], block_time: u64, lifetime: u64) -> Self {
        Self { reference, timestamp: block_time, expiration: block_time.saturating_add(lifetime) }
    }
}

/// An unsigned transaction of one contract.
pub fn build<M: ContractMessage>(
    message: &M,
    permission_id: i32,
    fee_limit: u64,
    validity: Validity,
) -> proto::Transaction {
    let raw = proto::TransactionRaw {
        ref_block_bytes: validity.reference[6..8].to_vec(),
        ref_block_hash: validity.reference[8..16].to_vec(),
        expiration: to_i64(validity.expiration),
        timestamp: to_i64(validity.timestamp),
        fee_limit: to_i64(fee_limit),
        contract: vec![proto::Contract::pack(message, permission_id)],
        ..proto::TransactionRaw::default()
    };
    proto::Transaction { raw_data: raw.encode_to_vec(), ..proto::Transaction::default() }
}

/// Moves `amount` sun.
pub fn transfer(from: Address, to: Address, amount: u64) -> proto::TransferContract {
    proto::TransferContract {
        owner_address: address::to_wire(from).to_vec(),
        to_address: address::to_wire(to).to_vec(),
        amount: to_i64(amount),
    }
}

/// Calls `contract` with `data`, sending `value` sun along.
pub fn trigger(from: Address, contract: Address, data: Vec<u8>, value: u64) -> proto::TriggerSmartContract {
    proto::TriggerSmartContract {
        owner_address: address::to_wire(from).to_vec(),
        contract_address: address::to_wire(contract).to_vec(),
        call_value: to_i64(value),
        data,
        ..proto::TriggerSmartContract::default()
    }
}

/// Deploys `creation_code` (constructor arguments appended); callers pay all the energy.
pub fn create(
    from: Address,
    name: &str,
    creation_code: Vec<u8>,
    abi: Option<proto::Abi>,
    value: u64,
) -> proto::CreateSmartContract {
    let owner = address::to_wire(from).to_vec();
    proto::CreateSmartContract {
        owner_address: owner.clone(),
        new_contract: Some(proto::SmartContract {
            origin_address: owner,
            bytecode: creation_code,
            abi,
            name: name.to_owned(),
            call_value: to_i64(value),
            consume_user_resource_percent: 100,
            origin_energy_limit: 10_000_000,
            ..proto::SmartContract::default()
        }),
        ..proto::CreateSmartContract::default()
    }
}

/// Builds, signs and encodes: bytes for `broadcasthex`, and the transaction id.
pub fn signed<M: ContractMessage>(
    wallet: &Wallet,
    message: &M,
    fee_limit: u64,
    validity: Validity,
) -> (Vec<u8>, [u8; 32]) {
    let mut transaction = build(message, 0, fee_limit, validity);
    wallet.sign(&mut transaction);
    (transaction.encode_to_vec(), transaction_id(&transaction.raw_data))
}

/// Where a transaction with this id deploys the contract of this owner.
pub fn contract_address(transaction_id: &[u8; 32], owner: Address) -> Address {
    lucid_tron_types::address::of_contract(transaction_id, &owner.0.0).into()
}

/// Amounts and times above `i64::MAX` do not exist on TRON.
fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
