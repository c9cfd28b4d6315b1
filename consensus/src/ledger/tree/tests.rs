//! The tree beside a `BTreeMap`, its proofs, and runs of rows that prove themselves.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use lucid_types::codec::{decode, encode};
use lucid_types::proof::{MAX_KEY_BYTES, value_hash};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

type Key = Vec<u8>;
type Model = BTreeMap<Key, Vec<u8>>;

/// Keys of five tables, the shortest of one byte and the longest of 72; many share their first bits.
fn key() -> impl Strategy<Value = Key> {
    let byte = prop_oneof![Just(0), Just(1), Just(0x80), Just(0xff), any::<u8>()];
    (0..5u8, vec(byte, MAX_KEY_BYTES)).prop_map(|(table, bytes)| {
        let length = [1, 2, 3, 33, MAX_KEY_BYTES][usize::from(table)];
        [&[table], &bytes[1..length]].concat()
    })
}

/// Keys of rows, parts of them, and keys that none has.
fn any_key() -> impl Strategy<Value = Key> {
    (key(), 0..=2 * MAX_KEY_BYTES).prop_map(|(mut key, length)| {
        key.truncate(length);
        key
    })
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..3)
}

fn rows(n: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Model> {
    btree_map(key(), value(), n)
}

/// Values of rows, and of removals.
fn changes(n: usize) -> impl Strategy<Value = BTreeMap<Key, Option<Vec<u8>>>> {
    btree_map(key(), proptest::option::weighted(0.7, value()), 0..n)
}

fn change(key: &[u8], value: Option<&[u8]>) -> Change<Vec<u8>> {
    Change { key: key.to_vec(), value: value.map(|value| (value.to_vec(), value_hash(value))) }
}

fn push(builder: &mut Builder<Vec<u8>>, key: &[u8], value: &[u8]) -> Result<(), OutOfOrder> {
    builder.push(key, value.to_vec(), value_hash(value))
}

fn builder_of<'a>(rows: impl IntoIterator<Item = (&'a Key, &'a Vec<u8>)>) -> Builder<Vec<u8>> {
    let mut builder = Builder::default();
    for (key, value) in rows {
        push(&mut builder, key, value).unwrap();
    }
    builder
}

fn tree_of(model: &Model) -> Tree<Vec<u8>> {
    builder_of(model).finish()
}

/// The root by the definition, without a tree.
fn defined_root(rows: &[(&Key, &Vec<u8>)]) -> Hash {
    match rows {
        [] => EMPTY_ROOT,
        [(key, value)] => leaf_hash(key, &value_hash(value)),
        [(first, _), .., (last, _)] => {
            let bit = (0..).find(|bit| key_bit(first, *bit) != key_bit(last, *bit)).unwrap();
            let (left, right): (Vec<_>, Vec<_>) = rows.iter().partition(|(key, _)| key_bit(key, bit) == Some(false));
            branch_hash(bit, &defined_root(&left), &defined_root(&right))
        }
    }
}

fn is_tree_of(tree: &Tree<Vec<u8>>, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(tree.root(), defined_root(&model.iter().collect::<Vec<_>>()));
    prop_assert_eq!((tree.len(), tree.is_empty()), (model.len(), model.is_empty()));
    prop_assert!(tree.iter().eq(model.iter().map(|(key, value)| (key.as_slice(), value))));
    Ok(())
}

fn flipped(bytes: &[u8], at: Index, bit: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if !bytes.is_empty() {
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
    }
    bytes
}

/// Trees of one, two and three rows, as the tests of `lucid_types::proof` have them from another implementation.
#[test]
fn golden_roots() {
    let rows: [(&[u8], &[u8]); 3] = [(&[1, 0], b"a"), (&[1, 0x80], b"b"), (&[1, 0xc0], b"c")];
    let mut builder = Builder::default();
    let mut roots = vec![builder.root_with(&[]).unwrap().to_string()];
    for (key, value) in rows {
        push(&mut builder, key, value).unwrap();
        roots.push(builder.root_with(&[]).unwrap().to_string());
        assert_eq!(builder.clone().finish().root(), builder.root_with(&[]).unwrap());
    }
    assert_eq!(
        roots,
        [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "248c3b7d33719b1a3056f339c79d860b970f7b08efb0ca596911ea0815261027",
            "bacb887314021dab6acf55e36b59e26faf894e5c9348b122d54c0c320173dab6",
            "58d7ca283e96c2e58001376dcee72b71c726898354457027d74b4db94bcb07e2",
        ]
    );
}

#[test]
fn debug_is_short() {
    let tree = tree_of(&Model::from([(vec![1, 0], b"a".to_vec())]));
    assert_eq!(format!("{tree:?}"), "Tree { len: 1, root: Hash(248c3b7d) }");
    assert_eq!(format!("{:?}", Tree::<u8>::default()), "Tree { len: 0, root: Hash(00000000) }");
}

proptest! {
    #[test]
    fn any_history_gives_the_tree_of_its_rows(start in rows(0..40), batches in vec(changes(30), 0..6)) {
        let (mut tree, mut model) = (tree_of(&start), start);
        let mut old = vec![(tree.clone(), model.clone())];
        for batch in batches {
            let changes: Vec<_> = batch.iter().map(|(key, value)| change(key, value.as_deref())).collect();
            tree = tree.apply(&changes);
            for (key, value) in batch {
                match value {
                    Some(value) => drop(model.insert(key, value)),
                    None => drop(model.remove(&key)),
                }
            }
            is_tree_of(&tree, &model)?;
            prop_assert_eq!(tree.root(), tree_of(&model).root());
            old.push((tree.clone(), model.clone()));
        }
        // No tree before was changed.
        for (tree, model) in &old {
            is_tree_of(tree, model)?;
        }
        let all: Vec<_> = model.keys().map(|key| change(key, None)).collect();
        is_tree_of(&tree.apply(&all), &Model::new())?;
    }

    #[test]
    fn changes_in_any_order_apply_one_after_the_other(
        start in rows(0..10), list in vec((key(), proptest::option::of(value())), 0..30),
    ) {
        let changes: Vec<_> = list.iter().map(|(key, value)| change(key, value.as_deref())).collect();
        let mut model = start.clone();
        for (key, value) in list {
            match value {
                Some(value) => drop(model.insert(key, value)),
                None => drop(model.remove(&key)),
            }
        }
        is_tree_of(&tree_of(&start).apply(&changes), &model)?;
    }

    #[test]
    fn lookups_and_scans_are_those_of_a_map(
        model in rows(0..50), probes in vec((key(), 0..=MAX_KEY_BYTES), 1..20), at in any::<Index>(),
    ) {
        let tree = tree_of(&model);
        let present = model.keys().nth(at.index(model.len().max(1))).cloned().unwrap_or_default();
        let probes = probes.into_iter().map(|(key, cut)| key[..cut.min(key.len())].to_vec());
        for probe in probes.chain([present.clone(), [&present[..], &[0]].concat(), vec![], vec![0xff; 100]]) {
            let probe = probe.as_slice();
            prop_assert_eq!(tree.get(probe), model.get(probe));
            for from in [Bound::Included(probe), Bound::Excluded(probe), Bound::Unbounded] {
                let of_model = model.range::<[u8], _>((from, Bound::Unbounded));
                prop_assert!(tree.range(from).eq(of_model.map(|(key, value)| (key.as_slice(), value))), "{:?}", from);
            }
            let of_model = model.iter().filter(|(key, _)| key.starts_with(probe));
            prop_assert!(tree.prefix(probe).eq(of_model.map(|(key, value)| (key.as_slice(), value))), "{:?}", probe);
        }
    }

    /// A key that is the beginning of another, or begins with it, or is too long, changes nothing.
    #[test]
    fn refused_keys_change_nothing(
        model in rows(1..30), refused in vec((any::<Index>(), 0..40usize, any::<bool>(), any::<bool>()), 1..20),
    ) {
        let (tree, mut builder) = (tree_of(&model), builder_of(&model));
        let keys: Vec<_> = model.keys().collect();
        let mut changes = Vec::new();
        for (at, length, is_longer, is_removal) in refused {
            let key = keys[at.index(keys.len())];
            let other = if is_longer { [key, &vec![0; length + 1][..]].concat() } else { key[..length % key.len()].to_vec() };
            let is_beginning = |row: &&&Key| row.starts_with(&other) || other.starts_with(row);
            prop_assert!(keys.iter().any(|row| is_beginning(&row)));
            changes.push(change(&other, (!is_removal).then_some(b"refused")));
        }
        prop_assert_eq!(tree.apply(&changes).root(), tree.root());
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        is_tree_of(&tree.apply(&changes), &model)?;
        let last = keys[keys.len() - 1];
        for key in [&[&last[..], &[0]].concat(), last, &last[..last.len() - 1], &[0xff; MAX_KEY_BYTES + 1]] {
            prop_assert_eq!(push(&mut builder, key, b"refused"), Err(OutOfOrder));
        }
        prop_assert_eq!((builder.last_key(), builder.root_with(&[])), (Some(last.as_slice()), Some(tree.root())));
    }

    /// Keys that do not go together within one list: those that come first stand.
    #[test]
    fn keys_of_any_kind_never_panic(
        lists in vec(vec((vec(0..3u8, 0..4), any::<bool>()), 0..20), 0..5), long in vec(any::<u8>(), 70..80),
    ) {
        let (mut tree, mut model) = (Tree::default(), Model::new());
        for mut list in lists {
            list.push((long.clone(), true));
            list.sort();
            let changes: Vec<_> = list.iter().map(|(key, is_put)| change(key, is_put.then_some(b"v"))).collect();
            tree = tree.apply(&changes);
            for (key, is_put) in list {
                let fits = |row: &Key| *row == key || !row.starts_with(&key) && !key.starts_with(row);
                if !is_put {
                    model.remove(&key);
                } else if key.len() <= MAX_KEY_BYTES && model.keys().all(fits) {
                    model.insert(key, b"v".to_vec());
                }
            }
            is_tree_of(&tree, &model)?;
            for key in model.keys() {
                tree.prove(key).check_value(&tree.root(), key, b"v").unwrap();
            }
        }
    }

    /// A new branch is made where something below changed, and nowhere else.
    #[test]
    fn what_did_not_change_is_shared(model in rows(1..60), changed in vec(any::<Index>(), 0..6)) {
        let tree = tree_of(&model);
        let changed: BTreeSet<_> = changed.iter().map(|at| model.keys().nth(at.index(model.len())).unwrap()).collect();
        let put = |value: &[u8]| changed.iter().map(|key| change(key, Some(value))).collect::<Vec<_>>();
        let next = tree.apply(&put(b"changed"));
        let mut pairs = vec![(tree.root.unwrap(), next.root.clone().unwrap())];
        while let Some((old, new)) = pairs.pop() {
            let below = Tree { root: Some(old.clone()) };
            prop_assert_eq!(old.is(&new), below.iter().all(|(key, _)| !changed.contains(&key.to_vec())));
            if let (Node::Branch(old), Node::Branch(new)) = (old, new) {
                pairs.extend([(old.left.clone(), new.left.clone()), (old.right.clone(), new.right.clone())]);
            }
        }
        // The same again, and removals of what is not there.
        let again = next.apply(&put(b"changed")).apply(&[change(&[9], None), change(&[9, 9], None)]);
        prop_assert!(again.root.unwrap().is(&next.root.unwrap()));
    }

    #[test]
    fn proofs_hold_and_nothing_near_them_does(
        model in rows(1..40), absent in any_key(), (row, other, at) in any::<(Index, Index, Index)>(), bit in 0..8u8,
    ) {
        let (tree, root) = (tree_of(&model), tree_of(&model).root());
        let (key, value) = model.iter().nth(row.index(model.len())).unwrap();
        let proof = tree.prove(key);
        proof.check_value(&root, key, value).unwrap();
        prop_assert!(proof.steps.len() < model.len());
        prop_assert!(proof.check_absence(&root, key).is_err());
        let wrong_root = Hash::from_bytes(flipped(root.as_bytes(), at, bit).try_into().unwrap());
        prop_assert!(proof.check_value(&wrong_root, key, value).is_err());
        prop_assert!(proof.check_value(&root, &flipped(key, at, bit), value).is_err());
        prop_assert!(proof.check_value(&root, key, &[&value[..], &[0]].concat()).is_err());
        if !value.is_empty() {
            prop_assert!(proof.check_value(&root, key, &flipped(value, at, bit)).is_err());
        }
        if let Ok(proof) = decode::<KeyProof>(&flipped(&encode(&proof), at, bit)) {
            prop_assert!(proof.check_value(&root, key, value).is_err());
        }

        // No proof of this tree, whatever it is of, shows that a present row is absent.
        let (other, _) = model.iter().nth(other.index(model.len())).unwrap();
        for key_of_proof in [other, &absent] {
            prop_assert!(tree.prove(key_of_proof).check_absence(&root, key).is_err());
        }

        prop_assume!(!model.contains_key(&absent));
        let proof = tree.prove(&absent);
        proof.check_absence(&root, &absent).unwrap();
        prop_assert!(proof.check_absence(&wrong_root, &absent).is_err());
        prop_assert!(proof.check_value(&root, &absent, value).is_err());
        if let Ok(proof) = decode::<KeyProof>(&flipped(&encode(&proof), at, bit)) {
            prop_assert!(proof.check_absence(&root, &absent).is_err());
        }
        // The same steps show the absence of other keys, too, but only of absent ones.
        for near in [flipped(&absent, at, bit), key.clone(), other.clone()] {
            prop_assert!(proof.check_absence(&root, &near).is_err() || !model.contains_key(&near));
        }
    }

    #[test]
    fn a_run_proves_itself_and_nothing_near_it_does(
        model in rows(1..40), n in any::<Index>(), (row, at) in any::<(Index, Index)>(), bit in 0..8u8, extra in key(),
    ) {
        let (tree, root) = (tree_of(&model), Some(tree_of(&model).root()));
        let n = n.index(model.len()) + 1;
        let run: Vec<_> = model.iter().take(n).collect();
        let builder = builder_of(run.iter().copied());
        let right = tree.right_of(run[n - 1].0).unwrap();
        prop_assert_eq!(builder.root_with(&right), root);
        prop_assert_eq!(right.is_empty(), n == model.len());
        // The way on from there: the same builder takes the rest.
        let mut rest = builder.clone();
        for (key, value) in model.iter().skip(n) {
            push(&mut rest, key, value).unwrap();
            prop_assert_eq!(rest.root_with(&tree.right_of(key).unwrap()), root);
        }

        // Other steps.
        for other in model.keys().filter(|key| *key != run[n - 1].0) {
            prop_assert_ne!(builder.root_with(&tree.right_of(other).unwrap()), root);
        }
        for step in 0..right.len() {
            let mut fewer = right.clone();
            let ProofStep { bit: of, sibling } = fewer.remove(step);
            prop_assert_ne!(builder.root_with(&fewer), root);
            for bit in (0..600).chain([u16::MAX]).filter(|bit| *bit != of) {
                let is_left = key_bit(run[n - 1].0, bit) == Some(false);
                let mut other = right.clone();
                other[step].bit = bit;
                prop_assert_ne!(builder.root_with(&other), root);
                prop_assert!(is_left || builder.root_with(&other).is_none());
                // One more, somewhere.
                let mut more = right.clone();
                more.insert(more.partition_point(|step| step.bit < bit), ProofStep { bit, sibling });
                prop_assert_ne!(builder.root_with(&more), root);
            }
            let mut changed = right.clone();
            changed[step].sibling = Hash::from_bytes(flipped(sibling.as_bytes(), at, bit).try_into().unwrap());
            prop_assert_ne!(builder.root_with(&changed), root);
            let mut twice = right.clone();
            twice.insert(step, right[step]);
            prop_assert_eq!(builder.root_with(&twice), None);
            let mut swapped = right.clone();
            swapped.swap(0, step);
            prop_assert!(step == 0 || builder.root_with(&swapped).is_none());
        }
        // The sides of branches at which the last row goes right are its own rows, and cannot come from elsewhere.
        for step in tree.prove(run[n - 1].0).steps.iter().filter(|step| !right.contains(step)) {
            let mut more = right.clone();
            more.insert(more.partition_point(|it| it.bit < step.bit), *step);
            prop_assert_eq!(builder.root_with(&more), None);
        }

        // Other rows, with the right steps.
        let root_of = |rows: &Model| builder_of(rows).root_with(&right);
        let owned: Model = run.iter().map(|(key, value)| ((*key).clone(), (*value).clone())).collect();
        let at_row = row.index(n);
        let (key, value) = run[at_row];
        let mut fewer = owned.clone();
        fewer.remove(key);
        prop_assert_ne!(root_of(&fewer), root);
        let mut changed = owned.clone();
        changed.insert(key.clone(), [&value[..], &[0]].concat());
        prop_assert_ne!(root_of(&changed), root);
        let mut renamed = fewer.clone();
        renamed.insert(extra.clone(), value.clone());
        prop_assert!(extra == *key || root_of(&renamed) != root);
        let mut more = owned.clone();
        more.insert(extra, value.clone());
        prop_assert!(more == owned || root_of(&more) != root);
        if let Some((next, other)) = run.get(at_row + 1) {
            let mut swapped = owned.clone();
            swapped.extend([((*key).clone(), (*other).clone()), ((*next).clone(), value.clone())]);
            prop_assert!(swapped == owned || root_of(&swapped) != root);
            let mut out_of_order = builder_of(model.range::<Key, _>((Bound::Unbounded, Bound::Excluded(key))));
            push(&mut out_of_order, next, other).unwrap();
            prop_assert_eq!(push(&mut out_of_order, key, value), Err(OutOfOrder));
        }
    }
}

#[test]
fn a_run_of_no_rows() {
    let builder = Builder::<Vec<u8>>::default();
    assert_eq!((builder.root_with(&[]), builder.last_key()), (Some(EMPTY_ROOT), None));
    assert_eq!(builder.root_with(&[ProofStep { bit: 0, sibling: EMPTY_ROOT }]), None);
    let tree = builder.finish();
    assert!(tree.is_empty() && tree.right_of(&[1]).is_none());
    tree.prove(&[1]).check_absence(&EMPTY_ROOT, &[1]).unwrap();
}

/// So many changes that the descent forks, in one table and across two: changed, new and removed rows.
#[test]
fn many_changes_make_the_tree_of_the_rows_after_them() {
    let key = |table: u8, i: u32| {
        [&[table], Hash::derive("test", &[&[table], &i.to_le_bytes()]).as_bytes().as_slice()].concat()
    };
    let mut model: Model = (0..2u8).flat_map(|table| (0..3_000).map(move |i| (key(table, i), vec![table]))).collect();
    let tree = tree_of(&model);
    let mut changes = BTreeMap::new();
    for i in (0..4_000).step_by(3) {
        changes.insert(key(0, i), (i % 2 == 0).then(|| vec![7]));
        changes.insert(key(1, i), Some(vec![8]));
    }
    assert!(changes.len() > 8 * crate::ledger::fork::WORTH_A_THREAD);
    let applied = tree.apply(&changes.iter().map(|(key, value)| change(key, value.as_deref())).collect::<Vec<_>>());
    for (key, value) in changes {
        match value {
            Some(value) => model.insert(key, value),
            None => model.remove(&key),
        };
    }
    assert_eq!(applied.root(), defined_root(&model.iter().collect::<Vec<_>>()));
    assert!(applied.iter().map(|(key, value)| (key.to_vec(), value.clone())).eq(model));
}

/// A branch for each bit of the longest key: as deep as a tree can be, on the stack of a test's thread.
#[test]
fn the_deepest_tree() {
    let bits = 8 * MAX_KEY_BYTES;
    let with_ones =
        |n: usize| (0..MAX_KEY_BYTES).map(|i| (0xff00u32 >> n.saturating_sub(8 * i).min(8)).to_le_bytes()[0]).collect();
    let model: Model = (0..=bits).map(|n| (with_ones(n), vec![])).collect();
    assert_eq!(model.len(), bits + 1);
    let puts: Vec<_> = model.keys().map(|key| change(key, Some(b""))).collect();
    let tree = tree_of(&model);
    let (first, last) = (model.keys().next().unwrap(), model.keys().next_back().unwrap());
    let proof = tree.prove(last);
    assert_eq!(proof.steps.len(), KeyProof::MAX_STEPS);
    proof.check_value(&tree.root(), last, b"").unwrap();
    assert_eq!(tree.prove(first).steps.len(), 1);
    // By one descent; by single changes from either end; and with all changed at once.
    for tree in [
        Tree::default().apply(&puts),
        puts.iter().fold(Tree::default(), |tree, put| tree.apply(std::slice::from_ref(put))),
        puts.iter().rev().fold(Tree::default(), |tree, put| tree.apply(std::slice::from_ref(put))),
        tree.apply(&model.keys().map(|key| change(key, Some(b"other"))).collect::<Vec<_>>()).apply(&puts),
    ] {
        is_tree_of(&tree, &model).unwrap();
    }
    let removals: Vec<_> = model.keys().skip(1).map(|key| change(key, None)).collect();
    assert!(tree.apply(&removals).iter().map(|(key, _)| key).eq([first.as_slice()]));
}
