//! From bytes to a transaction that may be tried: decoding, signatures, permissions, reference block, expiry.
//!
//! Rules and their order follow java-tron's `Wallet.broadcastTransaction` and `Manager.pushTransaction`. What the
//! contract inside wants is judged in [`super::execute`].

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use lucid_tron_types::block::transaction_id;
use lucid_tron_types::proto::{self, ContractResult, PermissionType};
use prost::Message;
use revm::primitives::{Address, B256};

use super::account::Account;
use super::action::{Action, Unreadable};
use super::params::{CONTRACT_RESULT_BYTES, MAX_SIGNATURES, MAX_TRANSACTION_BYTES, RESULT_BYTES, SIGNATURE_BYTES};
use super::refusal::{Code, Refusal};
use crate::address;

/// A transaction whose bytes make sense and whose signers are known.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    pub(crate) id: B256,
    /// As received; with its result once it was tried.
    pub(crate) transaction: proto::Transaction,
    /// Its bytes without results.
    pub(super) size: usize,
    pub(crate) raw: proto::TransactionRaw,
    pub(crate) action: Action,
    pub(crate) owner: Address,
    pub(crate) permission_id: i32,
    /// Who signed, in order, or why a signature is none; as many as there may be.
    pub(crate) signers: Vec<Result<Address, String>>,
}

impl Intake {
    /// Decodes, and recovers the signers. Nothing here depends on the chain.
    pub(crate) fn read(mut transaction: proto::Transaction) -> Result<Self, Refusal> {
        // One result for each contract, whoever put it there.
        transaction.ret.truncate(1);
        let id = transaction_id(&transaction.raw_data);
        let raw = transaction.raw().map_err(|e| Refusal::new(Code::OtherError, format!("Error: {e}")))?;
        let contract = match raw.contract.as_slice() {
            [] => return Err(Refusal::invalid("No contract!")),
            [contract] => contract,
            several => {
                return Err(Refusal::invalid(format_args!(
                    "tx {} contract size should be exactly 1, this is extend feature ,actual :{}",
                    hex::encode(id),
                    several.len()
                )));
            }
        };
        let signers: Vec<_> = transaction.signature.iter().take(MAX_SIGNATURES).map(|s| recover(&id, s)).collect();
        let read = Action::unpack(contract)
            .and_then(|(action, owner)| Ok((action, address::from_wire(&owner).map_err(|_| Unreadable::Foreign)?)));
        let (action, owner) = match read {
            Ok(read) => read,
            Err(Unreadable::Absent(refusal)) => return Err(refusal),
            // Whoever signed is not the owner that cannot be found.
            Err(Unreadable::Foreign) => return Err(signed_by_nobody(&signers, &transaction.signature)),
        };
        let permission_id = contract.permission_id;
        let size = proto::Transaction { ret: Vec::new(), ..transaction.clone() }.encoded_len();
        check_result_size(&id, &transaction.ret)?;
        Ok(Self { id: id.into(), transaction, size, raw, action, owner, permission_id, signers })
    }

    /// Bytes that bandwidth is paid for.
    pub(crate) fn bandwidth(&self) -> u64 {
        u64::try_from(self.size).unwrap_or(u64::MAX).saturating_add(RESULT_BYTES)
    }

    /// Writes into the transaction how its contract ended. That is all: fees stand in the receipt, and what else the sender
    /// wrote there stays (`TransactionCapsule.setResultCode`).
    pub(crate) fn note_result(&mut self, result: ContractResult) {
        match self.transaction.ret.first_mut() {
            Some(ret) => ret.contract_ret = result.into(),
            None => self
                .transaction
                .ret
                .push(proto::TransactionResult { contract_ret: result.into(), ..proto::TransactionResult::default() }),
        }
    }

    pub(crate) fn check_size(&self) -> Result<(), Refusal> {
        let size = self.size.saturating_add(2 * 64);
        if size > MAX_TRANSACTION_BYTES {
            return Err(Refusal::new(
                Code::TooBigTransactionError,
                format!(
                    "Too big transaction with result, TxId {}, the size is {size} bytes, maxTxSize {MAX_TRANSACTION_BYTES}",
                    hex::encode(self.id)
                ),
            ));
        }
        Ok(())
    }

    /// Bytes, apart from signatures, of a transaction that makes an account are limited.
    pub(crate) fn check_size_for_new_account(&self, max: usize) -> Result<(), Refusal> {
        let size = self.size.saturating_sub(self.transaction.signature.len().saturating_mul(SIGNATURE_BYTES));
        if size > max {
            return Err(Refusal::new(
                Code::TooBigTransactionError,
                format!(
                    "Too big new account transaction, TxId {}, the size is {size} bytes, maxTxSize {max}",
                    hex::encode(self.id)
                ),
            ));
        }
        Ok(())
    }

    /// The signers must reach the threshold of the permission that the transaction names, and that permission must allow
    /// this type of contract.
    pub(crate) fn check_permission(&self, account: Option<&Account>) -> Result<(), Refusal> {
        check_count(&self.transaction.signature)?;
        let permission = permission_of(account, self.owner, self.permission_id)
            .ok_or_else(|| Refusal::signature("permission isn't exit"))?;
        if self.permission_id != 0 {
            if permission.r#type != i32::from(PermissionType::Active) {
                return Err(Refusal::signature("Permission type is error"));
            }
            let contract_type = self.raw.contract.first().map_or(-1, |c| c.r#type);
            if !allows(&permission, contract_type) {
                return Err(Refusal::signature("Permission denied"));
            }
        }
        let weight = weigh_each(&permission, &self.signers, &self.transaction.signature).map_err(Refusal::signature)?;
        if weight < permission.threshold { Err(Refusal::signature("sig error")) } else { Ok(()) }
    }
}

/// What the sender wrote as the result must fit, with how the contract ends, into what bandwidth is paid for.
fn check_result_size(id: &[u8; 32], results: &[proto::TransactionResult]) -> Result<(), Refusal> {
    let size = |result: &proto::TransactionResult| {
        let rest = proto::TransactionResult { contract_ret: 0, ..result.clone() }.encoded_len();
        rest.saturating_add(CONTRACT_RESULT_BYTES)
    };
    let size = results.first().map_or(0, size);
    if u64::try_from(size).unwrap_or(u64::MAX) > RESULT_BYTES {
        return Err(Refusal::new(
            Code::OtherError,
            format!(
                "Error: Too big transaction result, TxId {}, the result size is {size} bytes, maxResultSize {RESULT_BYTES}",
                hex::encode(id)
            ),
        ));
    }
    Ok(())
}

fn check_count(signatures: &[Vec<u8>]) -> Result<(), Refusal> {
    match signatures.len() {
        0 => Err(Refusal::signature("miss sig or contract")),
        1..=MAX_SIGNATURES => Ok(()),
        _ => Err(Refusal::signature("too many signatures")),
    }
}

/// What a full node finds about signatures of a contract whose owner it cannot read: none is the owner's.
fn signed_by_nobody(signers: &[Result<Address, String>], signatures: &[Vec<u8>]) -> Refusal {
    let nobody = default_owner(Address::ZERO);
    let weighed = || weigh_each(&nobody, signers, signatures).err().unwrap_or_default();
    check_count(signatures).err().unwrap_or_else(|| Refusal::signature(weighed()))
}

/// Who a contract acts for.
pub(crate) fn owner_of(contract: &proto::Contract) -> Option<Address> {
    let (_, owner) = Action::unpack(contract).ok()?;
    address::from_wire(&owner).ok()
}

/// What a fresh account's active permission allows: the main network's value.
pub(crate) fn default_operations() -> Vec<u8> {
    // java-tron's default: everything except permission updates.
    let mut bits = vec![0u8; 32];
    bits[..8].copy_from_slice(&[0x7f, 0xff, 0x1f, 0xc0, 0x03, 0x3e, 0xc3, 0x0f]);
    bits
}

/// The permission with this id; an account without set permissions, existing or not, has the usual two.
pub(crate) fn permission_of(account: Option<&Account>, owner: Address, id: i32) -> Option<proto::Permission> {
    if let Some(set) = account.and_then(|a| a.permissions.as_ref()) {
        return if id == 0 { Some(set.owner.clone()) } else { set.actives.iter().find(|p| p.id == id).cloned() };
    }
    match id {
        0 => Some(default_owner(owner)),
        2 => Some(default_active(owner)),
        _ => None,
    }
}

pub(crate) fn default_owner(owner: Address) -> proto::Permission {
    proto::Permission {
        r#type: PermissionType::Owner.into(),
        permission_name: "owner".to_owned(),
        threshold: 1,
        keys: vec![proto::Key { address: address::to_wire(owner).to_vec(), weight: 1 }],
        ..proto::Permission::default()
    }
}

pub(crate) fn default_active(owner: Address) -> proto::Permission {
    proto::Permission {
        r#type: PermissionType::Active.into(),
        id: 2,
        permission_name: "active".to_owned(),
        operations: default_operations(),
        ..default_owner(owner)
    }
}

pub(crate) fn allows(permission: &proto::Permission, contract_type: i32) -> bool {
    let Ok(bit) = usize::try_from(contract_type) else { return false };
    permission.operations.len() == 32 && permission.operations.get(bit / 8).is_some_and(|b| b >> (bit % 8) & 1 == 1)
}

/// Sum of the signers' weights; every signature must be of a key of the permission, and of no key twice.
pub(crate) fn weigh(
    permission: &proto::Permission,
    signers: &[Address],
    signatures: &[Vec<u8>],
) -> Result<i64, String> {
    let signers: Vec<_> = signers.iter().copied().map(Ok).collect();
    weigh_each(permission, &signers, signatures)
}

fn weigh_each(
    permission: &proto::Permission,
    signers: &[Result<Address, String>],
    signatures: &[Vec<u8>],
) -> Result<i64, String> {
    if signers.len() > permission.keys.len() {
        return Err(format!(
            "Signature count is {} more than key counts of permission : {}",
            signers.len(),
            permission.keys.len()
        ));
    }
    let mut sum = 0i64;
    for (i, signer) in signers.iter().enumerate() {
        let address = *signer.as_ref().map_err(Clone::clone)?;
        let wire = address::to_wire(address);
        let Some(key) = permission.keys.iter().find(|k| k.address == wire) else {
            return Err(format!(
                "{} is signed by {} but it is not contained of permission.",
                signatures.get(i).map(hex::encode).unwrap_or_default(),
                address::to_base58(address)
            ));
        };
        if signers.iter().take(i).any(|earlier| earlier == signer) {
            return Err(format!("{} has signed twice!", address::to_base58(address)));
        }
        sum = sum.wrapping_add(key.weight);
    }
    Ok(sum)
}

/// The address whose key made `signature` over `hash`, or java-tron's words for why there is none. A high s is accepted, as
/// on TRON, and so is what follows the 65 bytes.
pub(crate) fn recover(hash: &[u8; 32], signature: &[u8]) -> Result<Address, String> {
    let Some(([rs @ .., v], _)) = signature.split_first_chunk::<65>() else {
        return Err(format!("Signature size is {}", signature.len()));
    };
    let failed = || "Could not recover public key from signature".to_owned();
    let v = v.cast_signed();
    let header = if v < 27 { v.wrapping_add(27) } else { v };
    // From 31 on the key was meant to be printed compressed, which makes no difference.
    let recovery = match header {
        27..=30 => header.wrapping_sub(27),
        31..=34 => header.wrapping_sub(31),
        _ => return Err(format!("Header byte out of range: {header}")),
    };
    let recovery = u8::try_from(recovery).ok().and_then(RecoveryId::from_byte).ok_or_else(failed)?;
    let signature = Signature::from_slice(rs).map_err(|_| failed())?;
    let (signature, recovery) = match signature.normalize_s() {
        Some(low) => (low, RecoveryId::new(!recovery.is_y_odd(), recovery.is_x_reduced())),
        None => (signature, recovery),
    };
    let key = VerifyingKey::recover_from_prehash(hash, &signature, recovery).map_err(|_| failed())?;
    Ok(address::of_key(&key))
}
