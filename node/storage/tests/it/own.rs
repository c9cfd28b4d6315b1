//! What the node said is never overwritten, whoever races.

use std::sync::Barrier;

use lucid_storage::{OwnKind, OwnRecord, PutNew};

use crate::support::open;

#[test]
fn of_racing_writers_one_inserts_and_all_agree() {
    const N_WRITERS: u8 = 8;
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for key in 0..40_u8 {
        let start = Barrier::new(usize::from(N_WRITERS));
        let outcomes: Vec<(u8, PutNew)> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..N_WRITERS)
                .map(|writer| {
                    let (store, start) = (&store, &start);
                    scope.spawn(move || {
                        start.wait();
                        (writer, store.put_new(OwnKind::Report, &[key], &[writer]).unwrap())
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let stands = store.own(OwnKind::Report, &[key]).unwrap().unwrap();
        let n_inserted = outcomes.iter().filter(|(_, outcome)| *outcome == PutNew::Inserted).count();
        assert_eq!(n_inserted, 1, "key {key}: {outcomes:?}");
        for (writer, outcome) in outcomes {
            match outcome {
                PutNew::Inserted => assert_eq!(stands, [writer]),
                PutNew::Existing(existing) => assert_eq!(existing, stands),
            }
        }
    }
}

#[test]
fn a_record_outlives_the_store_and_later_attempts() {
    let folder = tempfile::tempdir().unwrap();
    let put = |value: &[u8]| open(folder.path()).put_new(OwnKind::Report, b"height 1", value).unwrap();
    assert_eq!(put(b"one"), PutNew::Inserted);
    assert_eq!(put(b"two"), PutNew::Existing(b"one".to_vec()));
    assert_eq!(put(b"one"), PutNew::Existing(b"one".to_vec()));
}

#[test]
fn kinds_have_key_spaces_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    assert_eq!(store.put_new(OwnKind::Signature, b"k", b"signature").unwrap(), PutNew::Inserted);
    assert_eq!(store.put_new(OwnKind::Report, b"k", b"report").unwrap(), PutNew::Inserted);
    store.put(OwnKind::Transaction, b"k1", b"a").unwrap();
    store.put(OwnKind::Transaction, b"k1", b"b").unwrap();
    store.put(OwnKind::Transaction, b"k2", b"c").unwrap();
    store.put(OwnKind::Transaction, b"x", b"d").unwrap();

    let pair = |key: &[u8], value: &[u8]| OwnRecord { key: key.to_vec(), value: value.to_vec() };
    assert_eq!(store.own_all(OwnKind::Signature, b"").unwrap(), [pair(b"k", b"signature")]);
    assert_eq!(store.own_all(OwnKind::Transaction, b"k").unwrap(), [pair(b"k1", b"b"), pair(b"k2", b"c")]);
    store.remove_own(OwnKind::Transaction, b"k1").unwrap();
    assert_eq!(store.own_all(OwnKind::Transaction, b"").unwrap(), [pair(b"k2", b"c"), pair(b"x", b"d")]);
    assert_eq!(store.own(OwnKind::Counter, b"k").unwrap(), None);

    let written = [(b"new".to_vec(), b"1".to_vec()), (b"x".to_vec(), b"2".to_vec())];
    store.change_own(OwnKind::Transaction, &written, &[b"k2".to_vec(), b"x".to_vec(), b"k".to_vec()]).unwrap();
    assert_eq!(store.own_all(OwnKind::Transaction, b"").unwrap(), [pair(b"new", b"1"), pair(b"x", b"2")]);
    assert_eq!(store.own(OwnKind::Signature, b"k").unwrap(), Some(b"signature".to_vec()));
}
