//! Hashes of small trees made by hand, proofs of them, and what a check that left a rule out would believe.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const A: [u8; 2] = [0x01, 0x00];
const B: [u8; 2] = [0x01, 0x80];
const C: [u8; 2] = [0x01, 0xc0];

fn blake3(parts: &[&[u8]]) -> Hash {
    Hash::from_bytes(*::blake3::hash(&parts.concat()).as_bytes())
}

/// The leaf of a key of two bytes.
fn leaf(key: [u8; 2], value: &[u8]) -> Hash {
    blake3(&[&[0x00], &[0x02, 0x00], &key, blake3(&[value]).as_bytes()])
}

/// The branch of a bit below 256.
fn branch(bit: u8, left: Hash, right: Hash) -> Hash {
    blake3(&[&[0x01], &[bit, 0x00], left.as_bytes(), right.as_bytes()])
}

/// A parts from the others at bit 8, B from C at bit 9.
fn root_of_three() -> Hash {
    branch(8, leaf(A, b"a"), branch(9, leaf(B, b"b"), leaf(C, b"c")))
}

fn proof(steps: &[(u16, Hash)], other: Option<(&[u8], Hash)>) -> KeyProof {
    let steps = steps.iter().map(|&(bit, sibling)| ProofStep { bit, sibling }).collect();
    KeyProof { steps, other: other.map(|(key, value)| OtherLeaf { key: key.to_vec(), value }) }
}

fn of_b() -> KeyProof {
    proof(&[(8, leaf(A, b"a")), (9, leaf(C, b"c"))], None)
}

/// The hex was computed by another implementation of BLAKE3.
#[test]
fn hashes_of_small_trees() {
    assert_eq!(EMPTY_ROOT.to_string(), "00".repeat(32));
    let value = "17762fddd969a453925d65717ac3eea21320b66b54342fde15128d6caf21215f";
    assert_eq!(value_hash(b"a").to_string(), value);
    let [a, b, c] = [(A, b"a"), (B, b"b"), (C, b"c")].map(|(key, value)| leaf_hash(&key, &value_hash(value)));
    let one = "248c3b7d33719b1a3056f339c79d860b970f7b08efb0ca596911ea0815261027";
    assert_eq!([a.to_string(), leaf(A, b"a").to_string()], [one, one]);
    let two = "bacb887314021dab6acf55e36b59e26faf894e5c9348b122d54c0c320173dab6";
    let by_hand = branch(8, leaf(A, b"a"), leaf(B, b"b"));
    assert_eq!([branch_hash(8, &a, &b).to_string(), by_hand.to_string()], [two, two]);
    let three = "58d7ca283e96c2e58001376dcee72b71c726898354457027d74b4db94bcb07e2";
    let of_three = branch_hash(8, &a, &branch_hash(9, &b, &c));
    assert_eq!([of_three.to_string(), root_of_three().to_string()], [three, three]);
    assert_eq!(branch_hash(0x0201, &a, &b), blake3(&[&[1, 0x01, 0x02], a.as_bytes(), b.as_bytes()]));
    let long = [7; 0x1_0001];
    assert_eq!(leaf_hash(&long, &a), blake3(&[&[0, 0xff, 0xff], &long, a.as_bytes()]));
}

#[test]
fn bits_of_a_key() {
    let ones: Vec<_> = (0..16).filter(|bit| key_bit(&[0b1000_0001, 0b0100_0000], *bit) == Some(true)).collect();
    assert_eq!(ones, [0, 7, 9]);
    assert_eq!([key_bit(&[], 0), key_bit(&[0xff], 8), key_bit(&[0xff; 72], u16::MAX)], [None; 3]);
    assert_eq!(key_bit(&[0xff; MAX_KEY_BYTES], 575), Some(true));
}

#[test]
fn right_proofs_hold() {
    let root = root_of_three();
    of_b().check_value(&root, &B, b"b").unwrap();
    let right = branch(9, leaf(B, b"b"), leaf(C, b"c"));
    proof(&[(8, right)], None).check_value(&root, &A, b"a").unwrap();
    // Absent keys: after A, between B and C, in other tables, of other lengths.
    let ends_at_a = proof(&[(8, right)], Some((&A, blake3(&[b"a"]))));
    for key in [&[0x01, 0x01][..], &[0x01, 0x7f], &[0x01, 0x00, 0x00], &[0x81, 0x00], &[0x02], &[0x01], &[]] {
        ends_at_a.check_absence(&root, key).unwrap();
    }
    let ends_at_b = proof(&[(8, leaf(A, b"a")), (9, leaf(C, b"c"))], Some((&B, blake3(&[b"b"]))));
    ends_at_b.check_absence(&root, &[0x01, 0xbf]).unwrap();
    // A tree of one row, and one of none.
    proof(&[], None).check_value(&leaf(A, b"a"), &A, b"a").unwrap();
    proof(&[], Some((&A, blake3(&[b"a"])))).check_absence(&leaf(A, b"a"), &B).unwrap();
    proof(&[], None).check_absence(&EMPTY_ROOT, &A).unwrap();
}

#[test]
fn each_rule_has_its_error() {
    let root = root_of_three();
    let [a, b, c] = [leaf(A, b"a"), leaf(B, b"b"), leaf(C, b"c")];
    let value = |it: KeyProof, key: &[u8]| it.check_value(&root, key, b"b").unwrap_err();
    assert_eq!(value(of_b(), &[1; 73]), ProofError::LongKey(73));
    assert_eq!(value(proof(&[(9, c), (8, a)], None), &B), ProofError::Order { bit: 8, above: 9 });
    assert_eq!(value(proof(&[(9, c), (9, a)], None), &B), ProofError::Order { bit: 9, above: 9 });
    assert_eq!(value(proof(&[(8, a), (16, c)], None), &B), ProofError::OutsideKey { bit: 16, bits: 16 });
    assert_eq!(value(proof(&[(u16::MAX, c)], None), &B), ProofError::OutsideKey { bit: u16::MAX, bits: 16 });
    assert_eq!(value(proof(&[(8, a), (9, c)], Some((&B, b))), &B), ProofError::Superfluous);
    let found = branch(8, a, branch(9, leaf(B, b"x"), c));
    assert_eq!(of_b().check_value(&root, &B, b"x").unwrap_err(), ProofError::Root(found));

    let absence = |it: KeyProof, key: &[u8]| it.check_absence(&root, key).unwrap_err();
    let value_of = |value: &[u8]| blake3(&[value]);
    assert_eq!(absence(of_b(), &[1; 73]), ProofError::LongKey(73));
    assert_eq!(absence(of_b(), &B), ProofError::NoLeaf);
    assert_eq!(absence(proof(&[], None), &B), ProofError::Root(EMPTY_ROOT));
    let ends_at = |key: &[u8]| proof(&[(8, a), (9, c)], Some((key, value_of(b"b"))));
    assert_eq!(absence(ends_at(&B), &B), ProofError::Present);
    let long = [&B[..], &[0; 71]].concat();
    assert_eq!(absence(ends_at(&long), &B), ProofError::LongKey(73));
    assert_eq!(absence(ends_at(&A), &B), ProofError::OffPath(8));
    assert_eq!(absence(ends_at(&C), &B), ProofError::OffPath(9));
    // A key that has ended goes left; the other leaf's key has every bit.
    assert_eq!(absence(ends_at(&B), &[0x01]), ProofError::OffPath(8));
    assert_eq!(absence(ends_at(&[0x01]), &B), ProofError::OffPath(8));
    assert_eq!(absence(ends_at(&[0x01]), &A), ProofError::OutsideKey { bit: 9, bits: 8 });
    assert!(matches!(absence(ends_at(&[0x01, 0x81]), &B), ProofError::Root(_)));
}

#[test]
fn a_value_hash_or_a_branch_is_no_leaf() {
    // What a branch hashes, read as a leaf: tag apart, the bit as a length, the sides as key and value hash.
    let (left, right) = (leaf(A, b"a"), leaf(B, b"b"));
    assert_ne!(branch_hash(32, &left, &right), leaf_hash(left.as_bytes(), &right));
    // Two rows whose key and value joined are the same bytes.
    assert_ne!(leaf_hash(b"ab", &value_hash(b"c")), leaf_hash(b"a", &value_hash(b"bc")));
}

#[test]
fn the_longest_proof_fills_the_limit() {
    let step = |bit| ProofStep { bit, sibling: EMPTY_ROOT };
    let steps: Vec<_> = (0..).map(step).take(KeyProof::MAX_STEPS).collect();
    let longest = KeyProof { steps, other: Some(OtherLeaf { key: vec![1; MAX_KEY_BYTES], value: EMPTY_ROOT }) };
    assert_eq!(crate::codec::encode(&longest).len(), KeyProof::MAX_BYTES);
    // It passes every rule, with the most work there is.
    assert!(matches!(longest.check_absence(&EMPTY_ROOT, &[1; 72]), Err(ProofError::Present)));
    let mut other = vec![1; 72];
    other[71] = 0;
    assert!(matches!(longest.check_absence(&EMPTY_ROOT, &other), Err(ProofError::OffPath(575))));
    let present = KeyProof { other: None, ..longest };
    assert!(matches!(present.check_value(&EMPTY_ROOT, &[1; 72], b""), Err(ProofError::Root(_))));
}

/// A check of absence that leaves out what it is told to.
#[derive(Clone, Copy)]
struct Lax {
    /// The key that is looked up need not turn as the other leaf's key does.
    any_turns: bool,
    /// Branches do not commit to their bits.
    bare_branches: bool,
}

impl Lax {
    fn branch(self, bit: u16, left: &Hash, right: &Hash) -> Hash {
        match self.bare_branches {
            true => blake3(&[&[0x01], left.as_bytes(), right.as_bytes()]),
            false => branch_hash(bit, left, right),
        }
    }

    fn root_of_three(self) -> Hash {
        self.branch(8, &leaf(A, b"a"), &self.right())
    }

    fn right(self) -> Hash {
        self.branch(9, &leaf(B, b"b"), &leaf(C, b"c"))
    }

    fn believes(self, proof: &KeyProof, root: &Hash, key: &[u8]) -> bool {
        let Some(other) = &proof.other else { return false };
        let agrees = |step: &ProofStep| self.any_turns || key_bit(key, step.bit) == key_bit(&other.key, step.bit);
        let grow = proof.steps.is_sorted_by(|above, below| above.bit < below.bit);
        let up = |hash, step: &ProofStep| match key_bit(&other.key, step.bit) {
            Some(true) => self.branch(step.bit, &step.sibling, &hash),
            _ => self.branch(step.bit, &hash, &step.sibling),
        };
        let found = proof.steps.iter().rev().fold(leaf_hash(&other.key, &other.value), up);
        grow && other.key != key && proof.steps.iter().all(agrees) && found == *root
    }
}

/// B is present. Each of two rules alone keeps a proof of its absence from being made.
#[test]
fn without_the_bits_a_present_row_could_be_called_absent() {
    let at_a = Some((&A[..], blake3(&[b"a"])));
    let exact = Lax { any_turns: false, bare_branches: false };
    let root = exact.root_of_three();
    assert_eq!(root, root_of_three());

    // A's own way, which B does not take.
    let wrong_turn = proof(&[(8, exact.right())], at_a);
    assert!(Lax { any_turns: true, ..exact }.believes(&wrong_turn, &root, &B));
    assert!(!exact.believes(&wrong_turn, &root, &B));
    assert_eq!(wrong_turn.check_absence(&root, &B), Err(ProofError::OffPath(8)));

    // The root branch is said to be of bit 9, in which A and B agree.
    let bare = Lax { bare_branches: true, ..exact };
    let wrong_bit = |lax: Lax| proof(&[(9, lax.right())], at_a);
    assert!(bare.believes(&wrong_bit(bare), &bare.root_of_three(), &B));
    assert!(!exact.believes(&wrong_bit(exact), &root, &B));
    assert!(matches!(wrong_bit(exact).check_absence(&root, &B), Err(ProofError::Root(_))));

    // Without either gap it is the real check.
    let absent = [0x01, 0x01];
    let right = proof(&[(8, exact.right())], at_a);
    assert!(exact.believes(&right, &root, &absent) && right.check_absence(&root, &absent).is_ok());
}

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash::from_bytes)
}

fn any_proof() -> impl Strategy<Value = KeyProof> {
    let bit = prop_oneof![0..700u16, any::<u16>()];
    let step = (bit, hash()).prop_map(|(bit, sibling)| ProofStep { bit, sibling });
    let other = (vec(any::<u8>(), 0..80), hash()).prop_map(|(key, value)| OtherLeaf { key, value });
    (vec(step, 0..12), any::<bool>(), proptest::option::of(other)).prop_map(|(mut steps, is_sorted, other)| {
        if is_sorted {
            steps.sort_by_key(|step| step.bit);
        }
        KeyProof { steps, other }
    })
}

proptest! {
    #[test]
    fn proofs_out_of_nothing_are_refused(it in any_proof(), root in hash(), key in vec(any::<u8>(), 0..90)) {
        prop_assert!(it.check_value(&root, &key, b"value").is_err());
        prop_assert!(it.check_absence(&root, &key).is_err());
    }
}
