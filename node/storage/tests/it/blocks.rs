//! Removing blocks, and what is kept of them.

use lucid_storage::{StorageError, Store, StoredBlock};
use lucid_types::time::Height;

use crate::support::{block_hash, commit, content, height, open};

/// A header for every third block.
fn kept(number: u64) -> Option<Vec<u8>> {
    number.is_multiple_of(3).then(|| content(b'k', number))
}

fn run(heights: impl Iterator<Item = u64>) -> Vec<(Height, Option<Vec<u8>>)> {
    heights.map(|number| (height(number), kept(number))).collect()
}

fn assert_blocks(store: &Store, base: u64, head: u64) {
    assert_eq!(store.base(), height(base));
    for number in 0..=head + 1 {
        let is_stored = (base..=head).contains(&number);
        let is_kept = (1..base).contains(&number) && kept(number).is_some();
        assert_eq!(store.block(height(number)).unwrap(), is_stored.then(|| content(b'b', number)), "{number}");
        assert_eq!(store.header_of(height(number)).unwrap(), kept(number).filter(|_| is_kept), "{number}");
        let certificate = (is_stored || is_kept).then(|| content(b'c', number));
        assert_eq!(store.certificate(height(number)).unwrap(), certificate, "{number}");
    }
    for from in [0, base, base + 1] {
        let heights: Vec<_> = store.blocks(height(from)).map(|stored| stored.unwrap().height.get()).collect();
        assert_eq!(heights, (from.max(base)..=head).collect::<Vec<_>>());
    }
}

#[test]
fn blocks_are_removed_from_the_base_on_and_chosen_headers_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for number in 1..=12 {
        store.commit_block(commit(number)).unwrap();
    }
    assert_blocks(&store, 1, 12);
    store.prune_blocks(&[]).unwrap();
    for end in [2, 3, 8, 12] {
        let base = store.base().get();
        store.prune_blocks(&run(base..end)).unwrap();
        assert_blocks(&store, end, 12);
        drop(store);
        store = open(folder.path());
        assert_blocks(&store, end, 12);
    }
    store.commit_block(commit(13)).unwrap();
    assert_blocks(&store, 12, 13);
}

#[test]
fn blocks_that_are_removed_while_they_are_read_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for number in 1..=12 {
        store.commit_block(commit(number)).unwrap();
    }
    let heights = |blocks: &mut dyn Iterator<Item = Result<StoredBlock, StorageError>>| {
        blocks.map(|block| block.unwrap().height.get()).collect::<Vec<_>>()
    };
    let mut reader = store.blocks(height(1));
    assert_eq!(heights(&mut reader.by_ref().take(2)), [1, 2]);
    store.prune_blocks(&run(1..9)).unwrap();
    // Of some the header was kept, and so the certificate.
    assert_eq!(heights(&mut reader), [3, 6, 9, 10, 11, 12]);
    let mut reader = store.blocks(height(1));
    store.begin_restore(&[]).unwrap();
    store.finish_restore(height(20), block_hash(20), &content(b'k', 20), &content(b'c', 20), &[]).unwrap();
    assert_eq!(heights(&mut reader), [0; 0]);
}

#[test]
fn other_runs_are_refused_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let refused = |heights: &[u64], base, got| match store.prune_blocks(&run(heights.iter().copied())) {
        Err(StorageError::NotPrunable { base: found, got: number }) => {
            assert_eq!((found, number), (height(base), height(got)), "{heights:?}");
        }
        other => panic!("{heights:?}: {other:?}"),
    };
    refused(&[1], 1, 1);
    for number in 1..=6 {
        store.commit_block(commit(number)).unwrap();
    }
    store.prune_blocks(&run(1..3)).unwrap();
    refused(&[2], 3, 2);
    refused(&[4], 3, 4);
    refused(&[3, 3], 4, 3);
    refused(&[3, 5], 4, 5);
    refused(&[4, 3], 3, 4);
    refused(&[3, 4, 5, 6], 6, 6);
    refused(&[u64::MAX], 3, u64::MAX);
    assert_blocks(&store, 3, 6);
}

#[test]
fn changes_of_the_validators_outlive_their_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for number in 1..=12 {
        store.commit_block(commit(number)).unwrap();
    }
    let found = |above| -> Vec<_> { store.set_changes(height(above)).map(Result::unwrap).collect() };
    let of = |numbers: &[u64]| -> Vec<_> {
        numbers.iter().map(|number| (height(*number), content(b'v', *number))).collect()
    };
    assert_eq!((found(0), found(4), found(12)), (of(&[4, 8, 12]), of(&[8, 12]), vec![]));
    assert_eq!(found(u64::MAX), vec![]);
    store.prune_blocks(&run(1..9)).unwrap();
    store.begin_restore(&[]).unwrap();
    let changes = of(&[16, 19]);
    store.finish_restore(height(20), block_hash(20), &content(b'k', 20), &content(b'c', 20), &changes).unwrap();
    assert_eq!(found(0), of(&[4, 8, 12, 16, 19]));
}
