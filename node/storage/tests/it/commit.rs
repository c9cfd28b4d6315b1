//! Committing blocks and reading them back.

use lucid_storage::{BlockCommit, Head, StorageError};
use lucid_types::id::PublicKey;

use crate::support::{Rows, block_hash, collect, commit, content, height, open, state_after};

#[test]
fn an_empty_store_has_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    assert_eq!(store.head(), None);
    assert_eq!(store.base(), height(1));
    assert!(store.state_rows().next().is_none());
    assert_eq!(store.block(height(1)).unwrap(), None);
    assert!(store.blocks(height(0)).next().is_none());
}

#[test]
fn what_was_committed_is_read_back_also_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    for reopened in [false, true] {
        let store = open(folder.path());
        if !reopened {
            for number in 1..=9 {
                store.commit_block(commit(number)).unwrap();
            }
        }
        assert_eq!(store.head(), Some(Head { height: height(9), block_hash: block_hash(9) }));
        assert_eq!(store.base(), height(1));
        let state = collect(store.state_rows());
        assert_eq!((state.len(), &state), (6, &state_after(Rows::new(), 1, 9)));
        for number in 1..=9 {
            assert_eq!(store.block(height(number)).unwrap(), Some(content(b'b', number)));
            assert_eq!(store.certificate(height(number)).unwrap(), Some(content(b'c', number)));
        }
        assert_eq!(store.block(height(10)).unwrap(), None);
    }
}

#[test]
fn only_the_next_height_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let refused = |number, next| match store.commit_block(commit(number)) {
        Err(StorageError::NotNext { expected, got }) => {
            assert_eq!((expected, got), (height(next), height(number)));
        }
        other => panic!("block {number}: {other:?}"),
    };
    refused(2, 1);
    store.commit_block(commit(1)).unwrap();
    refused(1, 2);
    refused(3, 2);
    assert_eq!(store.head().unwrap().height, height(1));
    assert_eq!(store.block(height(3)).unwrap(), None);
    assert_eq!(collect(store.state_rows()), state_after(Rows::new(), 1, 1));
}

#[test]
fn blocks_are_read_in_order_with_their_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for number in 1..=6 {
        store.commit_block(commit(number)).unwrap();
    }
    let heights = |from| {
        let blocks = store.blocks(height(from)).map(|stored| {
            let stored = stored.unwrap();
            assert_eq!(stored.block, content(b'b', stored.height.get()));
            assert_eq!(stored.certificate, content(b'c', stored.height.get()));
            stored.height.get()
        });
        blocks.collect::<Vec<_>>()
    };
    assert_eq!(heights(0), [1, 2, 3, 4, 5, 6]);
    assert_eq!(heights(5), [5, 6]);
    assert_eq!(heights(7), [0; 0]);
}

#[test]
fn a_key_of_the_state_has_1_to_72_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for length in [0, 73, 1_000] {
        for value in [None, Some(vec![1])] {
            let refused = store.commit_block(BlockCommit { state: vec![(vec![0xff; length], value)], ..commit(1) });
            assert!(matches!(refused, Err(StorageError::StateKey { length: found }) if found == length), "{refused:?}");
        }
    }
    assert_eq!(store.head(), None);
    let longest = vec![0xff; 72];
    store.commit_block(BlockCommit { state: vec![(longest.clone(), Some(vec![1]))], ..commit(1) }).unwrap();
    assert_eq!(collect(store.state_rows()), Rows::from([(longest, vec![1])]));
}

#[test]
fn rows_are_those_of_when_the_reader_began() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.commit_block(commit(1)).unwrap();
    let rows = store.state_rows();
    store.commit_block(commit(2)).unwrap();
    assert_eq!(collect(rows), state_after(Rows::new(), 1, 1));
}

#[test]
fn peers_are_kept_replaced_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let peer = |byte| PublicKey::from_bytes([byte; 32]);
    {
        let store = open(folder.path());
        for byte in [9, 1, 0xff] {
            store.put_peer(peer(byte), &[byte]).unwrap();
        }
        store.put_peer(peer(1), b"again").unwrap();
        store.remove_peer(peer(9)).unwrap();
    }
    let store = open(folder.path());
    assert_eq!(store.peers().unwrap(), [(peer(1), b"again".to_vec()), (peer(0xff), vec![0xff])]);
}
