//! Committing blocks and reading them back.

use lucid_storage::{Head, HistoryKind, HistoryRecord, StorageError};
use lucid_types::id::NodeId;

use crate::support::{block_hash, commit, content, epoch, height, open};

#[test]
fn an_empty_store_has_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    assert_eq!(store.head(), None);
    assert_eq!(store.state().unwrap(), None);
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
        assert_eq!(store.state().unwrap(), Some(content(b's', 9)));
        for number in 1..=9 {
            assert_eq!(store.block(height(number)).unwrap(), Some(content(b'b', number)));
            assert_eq!(store.certificate(height(number)).unwrap(), Some(content(b'c', number)));
        }
        assert_eq!(store.block(height(10)).unwrap(), None);
        // Commit 9 kept the rows from 4 on and wrote row 8.
        let rows: Vec<_> = (4..=8).map(|number| (epoch(number), content(b'r', number))).collect();
        assert_eq!(store.rows(epoch(0)..=epoch(99)).unwrap(), rows);
        assert_eq!(store.rows(epoch(5)..=epoch(6)).unwrap(), rows[1..=2]);
        assert_eq!(store.row(epoch(3)).unwrap(), None);
        assert_eq!(store.row(epoch(4)).unwrap(), Some(content(b'r', 4)));
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
    assert_eq!(store.state().unwrap(), Some(content(b's', 1)));
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
fn history_is_read_by_kind_and_prefix_from_both_ends() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut first = commit(1);
    let record = |kind, key: &[u8], value: &[u8]| HistoryRecord { kind, key: key.to_vec(), value: value.to_vec() };
    first.history = vec![
        record(HistoryKind::Payout, &[0xff, 2], b"second"),
        record(HistoryKind::Payout, &[0xff, 1], b"first"),
        record(HistoryKind::Payout, &[0xfe, 9], b"other"),
        record(HistoryKind::Score, &[0xff, 1], b"score"),
    ];
    store.commit_block(first).unwrap();

    let values = |records: Vec<HistoryRecord>| records.into_iter().map(|record| record.value).collect::<Vec<_>>();
    let payouts = |prefix: &[u8], limit| values(store.history(HistoryKind::Payout, prefix, limit).unwrap());
    assert_eq!(payouts(&[], 9), [&b"other"[..], b"first", b"second"]);
    assert_eq!(payouts(&[0xff], 9), [&b"first"[..], b"second"]);
    assert_eq!(payouts(&[0xff], 1), [&b"first"[..]]);
    let newest = |limit| values(store.history_newest(HistoryKind::Payout, &[0xff], limit).unwrap());
    assert_eq!(newest(9), [&b"second"[..], b"first"]);
    assert_eq!(newest(1), [&b"second"[..]]);
    let before = |end: &[u8]| values(store.history_before(HistoryKind::Payout, &[0xff], end, 9).unwrap());
    assert_eq!(before(&[0xff, 3]), [&b"second"[..], b"first"]);
    assert_eq!(before(&[0xff, 2]), [&b"first"[..]]);
    assert!(before(&[0xff, 1]).is_empty());
    assert_eq!(values(store.history(HistoryKind::Score, &[], 9).unwrap()), [&b"score"[..]]);
    assert_eq!(store.history_record(HistoryKind::Score, &[0xff, 1]).unwrap().unwrap(), b"score");
    assert_eq!(store.history_record(HistoryKind::Score, &[0xfe, 9]).unwrap(), None);
}

#[test]
fn history_without_a_block_is_written_and_removed_in_one_batch() {
    let folder = tempfile::tempdir().unwrap();
    let record =
        |key: &[u8], value: &[u8]| HistoryRecord { kind: HistoryKind::Vault, key: key.to_vec(), value: value.to_vec() };
    {
        let store = open(folder.path());
        store.write_history(&[record(b"a", b"1"), record(b"b", b"2")], &[]).unwrap();
        let removed = [(HistoryKind::Vault, b"a".to_vec()), (HistoryKind::Payout, b"b".to_vec())];
        store.write_history(&[record(b"c", b"3"), record(b"b", b"4")], &removed).unwrap();
    }
    let store = open(folder.path());
    assert_eq!(store.history(HistoryKind::Vault, &[], 9).unwrap(), [record(b"b", b"4"), record(b"c", b"3")]);
    assert_eq!(store.head(), None);
}

#[test]
fn peers_are_kept_replaced_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let peer = |byte| NodeId::from_bytes([byte; 32]);
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
