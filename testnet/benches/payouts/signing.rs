//! How much of building and signing the batches is the signature itself.

use std::hint::black_box;
use std::time::{Duration, Instant};

use k256::ecdsa::SigningKey;
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::transaction::{ContractCall, Reference};
use lucid_tron_bridge::vault;
use lucid_types::amount::Sun;
use lucid_types::id::PayoutAddress;
use lucid_types::payout_tree::PayoutTree;

use crate::ledger::Payday;

/// Leaves in a batch.
const ITEMS: usize = 20;
const ROUNDS: u32 = 20;

/// The rate of batches against the rate of raw signatures, in rounds that take turns. A batch is its call data with the range
/// proof, the transaction, its id, the signature, and the encoded bytes that are sent; the tree is made once, as by the pusher.
pub(crate) fn ratio(payday: &Payday, gas: &TronKey, vault: PayoutAddress, head: &Reference) -> f64 {
    let (settlement, leaves) = (payday.settlement, &payday.leaves);
    let tree = PayoutTree::new(leaves).unwrap();
    let batches: Vec<_> = leaves.chunks(ITEMS).collect();
    let raw = SigningKey::from_slice(&[7; 32]).unwrap();
    let digests: Vec<_> = (0..batches.len()).map(|i| [u8::try_from(i).unwrap(); 32]).collect();
    let (mut building, mut signing) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for (i, items) in batches.iter().enumerate() {
            let start = i * ITEMS;
            let proof = tree.range_proof(start, items.len()).unwrap();
            let data = vault::pay_range(settlement, u64::try_from(start).unwrap(), items, &proof);
            let call =
                ContractCall::new(gas.address(), vault, data, head, Duration::from_secs(60), Sun::new(150_000_000));
            let transaction = call.build().unwrap();
            let signature = gas.sign_transaction(&transaction).unwrap();
            black_box(transaction.with_signatures(&[signature]));
        }
        building += start.elapsed();
        let start = Instant::now();
        for digest in &digests {
            black_box(raw.sign_prehash_recoverable(black_box(digest)).unwrap());
        }
        signing += start.elapsed();
    }
    let each = |time: Duration| {
        time.as_secs_f64() * 1e6 / f64::from(ROUNDS) / f64::from(u32::try_from(batches.len()).unwrap())
    };
    println!("a batch built and signed, a raw signature:   {:>6.0} us, {:.0} us", each(building), each(signing));
    signing.as_secs_f64() / building.as_secs_f64()
}
