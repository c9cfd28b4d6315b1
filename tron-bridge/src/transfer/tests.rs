#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lucid_types::id::{NodeId, PayoutId, PoolId};
use lucid_types::payout::SolidBlock;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::key::TreasuryKey;
use crate::signature::{RecoverError, recover};

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

impl Case {
    fn call(&self) -> TransferCall {
        TransferCall {
            owner: self.owner,
            token: self.contract,
            to: self.to,
            amount: MicroUsdt::new(self.amount_micro_usdt),
            permission_id: self.permission_id,
            ref_block_bytes: hex::decode(&self.ref_block_bytes).unwrap().try_into().unwrap(),
            ref_block_hash: hex::decode(&self.ref_block_hash).unwrap().try_into().unwrap(),
            timestamp: UnixMillis::new(self.timestamp_ms),
            expiration: UnixMillis::new(self.expiration_ms),
            fee_limit: Sun::new(self.fee_limit_sun),
            attempt: None,
        }
    }

    fn key(&self) -> TreasuryKey {
        TreasuryKey::from_secret(&hex::decode(&self.private_key).unwrap().try_into().unwrap()).unwrap()
    }
}

fn vectors() -> Vec<Case> {
    let vectors: Vectors = serde_json::from_str(include_str!("../../tests/data/tron_transfers.json")).unwrap();
    assert_eq!(vectors.cases.len(), 24);
    vectors.cases
}

fn attempt(amount: u64, reference: u64, id: [u8; 32]) -> PayoutAttempt {
    let mut block = [0xcd; 32];
    block[..8].copy_from_slice(&reference.to_be_bytes());
    PayoutAttempt {
        payout: PayoutId::from_bytes([1; 32]),
        attempt: 1,
        id: AttemptId::from_bytes(id),
        pool: PoolId::from_bytes([2; 32]),
        settlement: 3,
        worker: NodeId::from_bytes([4; 32]),
        to: PayoutAddress::from_hash20([5; 20]),
        amount: MicroUsdt::new(amount),
        treasury: PayoutAddress::from_hash20([6; 20]),
        token: PayoutAddress::from_hash20([7; 20]),
        permission_id: 2,
        reference: SolidBlock {
            number: reference,
            id: SolidBlockId::from_bytes(block),
            time: UnixMillis::new(1_790_000_000_000),
        },
        expiration: UnixMillis::new(1_790_000_060_000),
        fee_limit: Sun::new(15_000_000),
    }
}

#[test]
fn bytes_ids_and_signatures_are_those_of_tronweb() {
    for case in vectors() {
        let transfer = case.call().build().unwrap();
        assert_eq!(hex::encode(transfer.raw_data()), case.raw_data_hex);
        assert_eq!(transfer.tx_id(), case.tx_id);
        let key = case.key();
        let signature = key.sign_transfer(&transfer).unwrap();
        assert_eq!(hex::encode(signature.as_bytes()), case.signature.to_lowercase());
        assert_eq!(recover(&signature, &case.tx_id), Ok(key.address()));
        // With permission 0 the owner signs for itself.
        assert!(case.permission_id != 0 || key.address() == case.owner);
    }
}

#[test]
fn an_attempt_gives_the_same_bytes_as_its_parts() {
    let attempt = attempt(1_500_000, 0x0102_0304_0506_0708, [9; 32]);
    let built = transfer(&attempt).unwrap();
    let raw = TransactionRaw::decode(built.raw_data()).unwrap();
    assert_eq!(raw.ref_block_bytes, [7, 8]);
    assert_eq!(raw.ref_block_hash, [0xcd; 8]);
    assert_eq!(raw.timestamp, 1_790_000_000_000);
    assert_eq!(raw.expiration, 1_790_000_060_000);
    assert_eq!(raw.fee_limit, 15_000_000);
    assert_eq!(raw.contract[0].permission_id, 2);
    let call: TriggerSmartContract = raw.contract[0].unpack().unwrap();
    assert_eq!(call.owner_address, attempt.treasury.as_bytes());
    assert_eq!(call.contract_address, attempt.token.as_bytes());
    let (arguments, id) = call.data.split_at(68);
    assert_eq!(arguments, trc20::transfer(&attempt.to, attempt.amount));
    assert_eq!(id, [9; 32]);
}

#[test]
fn two_attempts_never_share_a_transaction_id() {
    let first = transfer(&attempt(7, 100, [1; 32])).unwrap();
    let second = transfer(&attempt(7, 100, [2; 32])).unwrap();
    assert_ne!(first.tx_id(), second.tx_id());
    assert_eq!(first.tx_id(), transfer(&attempt(7, 100, [1; 32])).unwrap().tx_id());
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let mut broken = attempt(1, 1, [0; 32]);
    broken.fee_limit = Sun::new(u64::MAX);
    assert_eq!(transfer(&broken), Err(TransferError { field: "fee limit", value: u64::MAX }));
}

#[test]
fn the_broadcast_transaction_holds_the_signed_bytes() {
    let transfer = transfer(&attempt(7, 100, [1; 32])).unwrap();
    let key = TreasuryKey::from_secret(&[0x22; 32]).unwrap();
    let signature = key.sign_transfer(&transfer).unwrap();
    let transaction = Transaction::decode(transfer.with_signatures(&[signature]).as_slice()).unwrap();
    assert_eq!(transaction.raw_data, transfer.raw_data());
    assert_eq!(transaction.signature, [signature.as_bytes().to_vec()]);
    let one = transfer.bandwidth(1);
    assert_eq!(transfer.bandwidth(2), one + 67);
    assert_eq!(one, transaction.encoded_len() + 64);
}

#[test]
fn only_the_canonical_form_of_a_signature_recovers() {
    let transfer = transfer(&attempt(7, 100, [1; 32])).unwrap();
    let key = TreasuryKey::from_secret(&[0x22; 32]).unwrap();
    let good = *key.sign_transfer(&transfer).unwrap().as_bytes();
    let with = |change: fn(&mut [u8; 65])| {
        let mut bytes = good;
        change(&mut bytes);
        recover(&TreasurySignature::from_bytes(bytes), &transfer.tx_id())
    };
    assert_eq!(with(|_| ()), Ok(key.address()));
    assert_eq!(with(|b| b[64] -= 27), Err(RecoverError::V(good[64] - 27)));
    assert_eq!(with(|b| b[64] = 29), Err(RecoverError::V(29)));
    assert_eq!(with(|b| b[..32].fill(0)), Err(RecoverError::NotCanonical));
    assert_eq!(with(|b| b[32..64].fill(0xff)), Err(RecoverError::NotCanonical));
    assert_ne!(with(|b| b[64] = 55 - b[64]), Ok(key.address()));
    // The same signature with the other s: valid for the network, refused here.
    let high = k256::ecdsa::Signature::from_slice(&good[..64]).unwrap();
    let (r, s) = high.split_scalars();
    let high = k256::ecdsa::Signature::from_scalars(r, -s).unwrap();
    let mut malleated = good;
    malleated[..64].copy_from_slice(&high.to_bytes());
    malleated[64] = 55 - good[64];
    assert_eq!(recover(&TreasurySignature::from_bytes(malleated), &transfer.tx_id()), Err(RecoverError::NotCanonical));
}

proptest! {
    #[test]
    fn every_field_of_an_attempt_reaches_the_transaction_id(field in 0_usize..9, flip in 1_u8..=255) {
        let base = attempt(1_000_000, 500, [3; 32]);
        let mut changed = base.clone();
        let n = u64::from(flip);
        match field {
            0 => changed.amount = MicroUsdt::new(1_000_000 + n),
            1 => changed.to = PayoutAddress::from_hash20([5 ^ flip; 20]),
            2 => changed.treasury = PayoutAddress::from_hash20([6 ^ flip; 20]),
            3 => changed.token = PayoutAddress::from_hash20([7 ^ flip; 20]),
            4 => changed.permission_id += u32::from(flip),
            5 => changed.expiration = UnixMillis::new(base.expiration.get() + n),
            6 => changed.reference.time = UnixMillis::new(base.reference.time.get() + n),
            7 => changed.fee_limit = Sun::new(base.fee_limit.get() + n),
            _ => changed.reference.number += n,
        }
        prop_assert_ne!(transfer(&base).unwrap().tx_id(), transfer(&changed).unwrap().tx_id());
    }
}
