#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::time::Duration;

use lucid_types::bls::{BlsPublicKey, BlsSignature};
use lucid_types::codec::{decode, encode};
use lucid_types::id::ValidatorId;
use lucid_types::signed::Signature;
use lucid_types::validator::Validator;
use lucid_types::validator_key::ValidatorKeys;
use proptest::prelude::*;

use super::*;

fn node(number: u16) -> NodeId {
    NodeId::from_bytes(*Hash::derive("test node", &[&number.to_le_bytes()]).as_bytes())
}

/// Validators 0, 1, ... with these powers, each of an operator of its own.
fn set(powers: &[u64]) -> ValidatorSet {
    let validator = |(number, power): (u16, &u64)| {
        let node = node(number);
        // Nothing is signed here: the keys are the node's id.
        let keys = ValidatorKeys {
            id: ValidatorId::from_bytes(*node.as_bytes()),
            proof: Signature::from_bytes([0; 64]),
            bls_key: BlsPublicKey::from_bytes([node.as_bytes().as_slice(); 3].concat().try_into().unwrap()),
            bls_proof: BlsSignature::from_bytes([0; 48]),
        };
        Validator { node, power: *power, operator: node, keys }
    };
    ValidatorSet::new((0..).zip(powers).map(validator).collect()).unwrap()
}

fn term(settlement: u64, powers: &[u64]) -> StorageTerm {
    StorageTerm::new(&Hash::from_bytes([7; 32]), settlement, &set(powers))
}

fn policy(storage_term: u64) -> Policy {
    Policy { storage_term, ..Policy::local(Duration::from_secs(5), 2, None).local_with_seats(21) }
}

#[test]
fn the_greatest_row_fits_its_limit_to_the_byte() {
    let holder = Holder { node: node(1), operator: node(1), power: u64::MAX };
    let row = |n| StorageTerm { seed: Hash::from_bytes([1; 32]), holders: vec![holder; n] };
    assert_eq!(encode(&row(ValidatorSet::MAX_MEMBERS)).len(), StorageTerm::MAX_BYTES);
    assert!(decode::<StorageTerm>(&encode(&row(ValidatorSet::MAX_MEMBERS + 1))).is_err());
}

#[test]
fn a_term_begins_every_so_many_settlements() {
    // The first 8 bytes are 5: so terms of 7 begin in 2, 9, 16, ...
    let worker = NodeId::from_bytes(std::array::from_fn(|i| if i == 7 { 5 } else { 0xff * u8::from(i > 7) }));
    let starts: Vec<_> = (1..=17).map(|settlement| term_start(&policy(7), &worker, settlement)).collect();
    assert_eq!(starts, [1, 2, 2, 2, 2, 2, 2, 2, 9, 9, 9, 9, 9, 9, 9, 16, 16]);
    assert_eq!([1, 2, 3].map(|settlement| term_start(&policy(1), &worker, settlement)), [1, 2, 3]);
    assert_eq!(term_start(&policy(7), &worker, u64::MAX) % 7, 2);
}

/// Of 10,000 workers about as many begin in each settlement.
#[test]
fn terms_begin_all_the_time() {
    let mut begin = [0u32; 7];
    for number in 0..10_000 {
        let start = term_start(&policy(7), &node(number), 1_000);
        begin[usize::try_from(1_000 - start).unwrap()] += 1;
    }
    // 1,429 expected, standard deviation 35.
    assert!(begin.iter().all(|n| (1_250..1_610).contains(n)), "{begin:?}");
}

/// The rows that a stall of the chain has passed over are those before it, for everyone alike.
#[test]
fn the_row_of_a_term_is_the_newest_before_it() {
    let rows = [3, 4, 9].map(|from| (from, term(from, &[1])));
    let terms: Terms<'_> = rows.iter().map(|(from, term)| (*from, term)).collect();
    let at = |settlement| terms.at(settlement).unwrap().0;
    assert_eq!([1, 3, 4, 8, 9, 100].map(at), [3, 3, 4, 4, 9, 9]);
    assert!(
        Terms::default().at(1).is_none() && committee(&policy(7), &Terms::default(), &node(9), &node(9), 1).is_empty()
    );
}

#[test]
fn nobody_holds_chunks_with_its_own_worker() {
    let row = term(1, &[1; 4]);
    let terms = Terms::from_iter([(1, &row)]);
    let of = |worker, operator| committee(&policy(1), &terms, &worker, &operator, 1);
    assert_eq!(of(node(50), node(50)).len(), 4);
    assert!(of(node(50), node(2)).iter().all(|(holder, _)| *holder != node(2)));
    assert!(of(node(2), node(50)).iter().all(|(holder, _)| *holder != node(2)));
}

proptest! {
    /// A committee serves for its whole term, and each of it holds its share of the seats, rounded down or up.
    #[test]
    fn a_committee_serves_for_its_term(
        powers in prop::collection::vec(prop_oneof![1u64..10, 1u64..1 << 50], 1..30),
        storage_term in 1u64..10,
        number in 100u16..1_000,
        settlement in 1u64..60,
    ) {
        let policy = policy(storage_term);
        let rows: Vec<_> = (1..=70).map(|settlement| (settlement, term(settlement, &powers))).collect();
        let terms: Terms<'_> = rows.iter().map(|(from, term)| (*from, term)).collect();
        let (worker, start) = (node(number), term_start(&policy, &node(number), settlement));
        prop_assert!(start <= settlement && settlement < start + storage_term);
        let found = committee(&policy, &terms, &worker, &worker, settlement);
        prop_assert_eq!(&found, &committee(&policy, &terms, &worker, &worker, start));
        prop_assert_eq!(found.iter().map(|(_, count)| u32::from(*count)).sum::<u32>(), 21);
        prop_assert!(found.is_sorted_by_key(|(holder, _)| *holder));
        let set = set(&powers);
        for validator in set.members() {
            let held = found.iter().find(|(node, _)| *node == validator.node);
            let count = held.map_or(0, |(_, count)| u128::from(*count));
            let share = 21 * u128::from(validator.power);
            let total = u128::from(set.total());
            prop_assert!(count == share / total || count == share.div_ceil(total), "{count} of {share} / {total}");
        }
    }
}
