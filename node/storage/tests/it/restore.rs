//! Taking over the state of a snapshot: whole or not at all, whenever the process is killed.

use lucid_storage::{Head, StorageError, Store};

use crate::crash::{Child, say};
use crate::support::{Rows, block_hash, collect, commit, content, height, open, raw, state_after};

/// Rows that arrive at once.
const CHUNK: usize = 7;
/// Blocks between snapshots.
const AHEAD: u64 = 10;

/// The state in the snapshot of a height.
fn snapshot(number: u64) -> Rows {
    let row = |i: u64| ([b"row".as_slice(), &i.to_be_bytes()].concat(), content(b't', number * 1_000 + i));
    (0..30 + number % 20).map(row).collect()
}

fn pairs(rows: &Rows) -> Vec<(Vec<u8>, Vec<u8>)> {
    rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn restore(store: &Store, number: u64) {
    store.begin_restore(b"begun").unwrap();
    for chunk in pairs(&snapshot(number)).chunks(CHUNK) {
        store.put_restored(chunk, b"more").unwrap();
    }
    finish(store, number).unwrap();
}

fn finish(store: &Store, number: u64) -> Result<(), StorageError> {
    store.finish_restore(height(number), block_hash(number), &content(b'k', number), &content(b'c', number), &[])
}

#[test]
fn a_restored_state_replaces_state_blocks_and_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for number in 1..=9 {
        store.commit_block(commit(number)).unwrap();
    }
    store.prune_blocks(&[(height(1), Some(content(b'k', 1))), (height(2), None)]).unwrap();
    {
        let mut wal = store.wal().unwrap();
        for number in [10, 20, 21] {
            wal.append(height(number), vec![1]).unwrap();
        }
        wal.sync().unwrap();
    }
    let history = store.history(lucid_storage::HistoryKind::Score, &[], 99, crate::support::EARLY).unwrap();
    store.begin_restore(b"begun").unwrap();
    store.put_restored(&pairs(&snapshot(20))[..CHUNK], b"some").unwrap();
    assert_eq!(collect(store.state_rows()), state_after(Rows::new(), 1, 9), "the state in force is untouched");
    assert_eq!(collect(store.restored_rows()).len(), CHUNK);
    // Blocks may go on to be decided meanwhile.
    store.commit_block(commit(10)).unwrap();
    drop(store);
    store = open(folder.path());
    assert_eq!(store.restore_progress().unwrap(), Some(b"some".to_vec()));
    assert_eq!(collect(store.restored_rows()), snapshot(20).into_iter().take(CHUNK).collect());
    assert_eq!(collect(store.state_rows()), state_after(Rows::new(), 1, 10));
    store.put_restored(&pairs(&snapshot(20))[CHUNK..], b"all").unwrap();
    finish(&store, 20).unwrap();

    for _ in 0..2 {
        assert_eq!(store.head(), Some(Head { height: height(20), block_hash: block_hash(20) }));
        assert_eq!(store.base(), height(21));
        assert_eq!(collect(store.state_rows()), snapshot(20));
        assert_eq!((store.restore_progress().unwrap(), collect(store.restored_rows())), (None, Rows::new()));
        assert!(store.blocks(height(0)).next().is_none());
        for number in 0..=22 {
            let is_kept = number == 1 || number == 20;
            assert_eq!(store.block(height(number)).unwrap(), None);
            assert_eq!(store.header_of(height(number)).unwrap(), is_kept.then(|| content(b'k', number)), "{number}");
            assert_eq!(store.certificate(height(number)).unwrap(), is_kept.then(|| content(b'c', number)), "{number}");
        }
        assert_eq!(
            store.history(lucid_storage::HistoryKind::Score, &[], 9, crate::support::EARLY).unwrap(),
            history[..9]
        );
        let wal = store.wal().unwrap();
        assert!(wal.entries(height(10)).unwrap().is_empty() && wal.entries(height(20)).unwrap().is_empty());
        assert_eq!(wal.entries(height(21)).unwrap(), [vec![1]]);
        drop(wal);
        drop(store);
        store = open(folder.path());
    }
    assert!(matches!(store.commit_block(commit(11)), Err(StorageError::NotNext { .. })));
    store.commit_block(commit(21)).unwrap();
    assert_eq!(store.base(), height(21));
    assert_eq!(collect(store.state_rows()), state_after(snapshot(20), 21, 21));
    assert_eq!(store.blocks(height(0)).count(), 1);
}

#[test]
fn a_restore_is_begun_again_given_up_and_refused_when_it_is_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.commit_block(commit(1)).unwrap();
    let before = collect(store.state_rows());
    assert!(matches!(store.put_restored(&[], b"p"), Err(StorageError::NoRestore)));
    assert!(matches!(finish(&store, 5), Err(StorageError::NoRestore)));
    store.abandon_restore().unwrap();

    store.begin_restore(b"first").unwrap();
    store.put_restored(&[(vec![1], vec![1])], b"first, 1").unwrap();
    assert!(matches!(store.put_restored(&[(vec![0; 73], vec![1])], b"x"), Err(StorageError::StateKey { length: 73 })));
    assert_eq!(store.restore_progress().unwrap(), Some(b"first, 1".to_vec()));
    store.begin_restore(b"second").unwrap();
    assert_eq!(collect(store.restored_rows()), Rows::new());
    store.put_restored(&[(vec![2], vec![2])], b"second, 1").unwrap();
    assert_eq!(collect(store.restored_rows()), Rows::from([(vec![2], vec![2])]));
    match finish(&store, 1) {
        Err(StorageError::SnapshotBehind { head, got }) => assert_eq!((head, got), (height(1), height(1))),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.restore_progress().unwrap(), Some(b"second, 1".to_vec()));
    store.abandon_restore().unwrap();
    assert_eq!((store.restore_progress().unwrap(), collect(store.restored_rows())), (None, Rows::new()));
    assert_eq!(collect(store.state_rows()), before);
    assert_eq!(store.block(height(1)).unwrap(), Some(content(b'b', 1)));

    // Into both families in turn; nothing of the one before shows through.
    for number in [5, 8, 13] {
        restore(&store, number);
        assert_eq!(collect(store.state_rows()), snapshot(number));
    }
}

#[test]
fn what_a_crash_leaves_of_the_replaced_state_is_removed_when_the_store_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    restore(&store, 5);
    drop(store);
    let raw = |family: &str| {
        let db = raw(folder.path());
        let n_rows = db.iterator_cf(db.cf_handle(family).unwrap(), rocksdb::IteratorMode::Start).count();
        db.put_cf(db.cf_handle(family).unwrap(), b"left over", b"row").unwrap();
        n_rows
    };
    assert_eq!(raw("state-a"), 0);
    assert_eq!(collect(open(folder.path()).state_rows()), snapshot(5));
    assert_eq!(raw("state-a"), 0);
}

/// What the killed writer may leave, given the last it said: either the state before a call or that after it.
fn verify(store: &Store, said: &str) {
    let words: Vec<_> = said.split(' ').collect();
    let number = |i: usize| words[i].parse::<u64>().unwrap();
    let head = store.head().map_or(0, |head| head.height.get());
    let (acked, possible) = match words[0] {
        "begun" | "rows" => (number(2), vec![number(2), number(1)]),
        "abandoned" | "finished" => (number(1), vec![number(1), number(1) + 1]),
        "block" => (number(1), vec![number(1)]),
        _ => panic!("the writer said {said:?}"),
    };
    assert!(possible.contains(&head), "{said:?}, the head is {head}, was {acked}");
    let (expected, base) = if head == 0 {
        (Rows::new(), 1)
    } else {
        let is_restored = store.header_of(height(head)).unwrap().is_some();
        let of = if is_restored { head } else { head - 1 };
        assert_eq!(store.header_of(height(of)).unwrap(), Some(content(b'k', of)));
        assert_eq!(store.block(height(head)).unwrap(), (!is_restored).then(|| content(b'b', head)));
        (state_after(snapshot(of), of + 1, head), of + 1)
    };
    assert_eq!(store.base(), height(base), "{said:?}");
    assert!(collect(store.state_rows()) == expected, "{said:?}: the state is not that of {head}");
    let restored = collect(store.restored_rows());
    match store.restore_progress().unwrap() {
        None => assert!(restored.is_empty(), "{said:?}: rows without a restore"),
        Some(progress) => {
            let target = u64::from_be_bytes(progress[..8].try_into().unwrap());
            let n_rows = usize::from(progress[8]);
            assert!(restored == snapshot(target).into_iter().take(n_rows).collect(), "{said:?}: other rows");
            if words[0] == "rows" && target == number(1) && words[4] == "going" {
                assert!(restored.len() >= words[3].parse().unwrap(), "{said:?}, {n_rows} are there");
            }
        }
    }
}

#[test]
fn a_restore_survives_kill_9_at_any_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut killed_after = std::collections::BTreeSet::new();
    let mut head = 0;
    for round in 0..30_u32 {
        let mut child = Child::spawn("restore", folder.path());
        let mut last = String::new();
        for _ in 0..1 + (round * 7) % 13 {
            last = child.line().unwrap();
        }
        child.kill();
        while let Some(line) = child.line() {
            last = line;
        }
        killed_after.insert(last.split(' ').next().unwrap().to_owned());
        let store = open(folder.path());
        verify(&store, &last);
        head = store.head().map_or(0, |head| head.height.get());
    }
    assert!(head > 5 * AHEAD, "the writers came to {head} only");
    assert!(killed_after.len() > 2, "every kill came after the same kinds of call: {killed_after:?}");
}

/// The process that the test above starts and kills: restores snapshot after snapshot, with a block after each, and gives
/// every third up once. It goes on from what is noted.
pub(crate) fn write(store: &Store) {
    loop {
        let head = store.head().map_or(0, |head| head.height.get());
        let progress = store.restore_progress().unwrap();
        let (target, n_rows) = match &progress {
            Some(progress) => (u64::from_be_bytes(progress[..8].try_into().unwrap()), usize::from(progress[8])),
            None => (head + AHEAD, 0),
        };
        let note = |n_rows: usize| [&target.to_be_bytes()[..], &[u8::try_from(n_rows).unwrap()]].concat();
        if progress.is_none() {
            store.begin_restore(&note(0)).unwrap();
            say(&format!("begun {target} {head}"));
        }
        let rows = pairs(&snapshot(target));
        let mut n_rows = n_rows;
        for chunk in rows[n_rows..].chunks(CHUNK) {
            n_rows += chunk.len();
            store.put_restored(chunk, &note(n_rows)).unwrap();
            let last = if n_rows == rows.len() { "all" } else { "going" };
            say(&format!("rows {target} {head} {n_rows} {last}"));
        }
        if target.is_multiple_of(3) && progress.is_none() {
            store.abandon_restore().unwrap();
            say(&format!("abandoned {head}"));
            store.begin_restore(&note(0)).unwrap();
            say(&format!("begun {target} {head}"));
            continue;
        }
        finish(store, target).unwrap();
        say(&format!("finished {target}"));
        store.commit_block(commit(target + 1)).unwrap();
        say(&format!("block {}", target + 1));
    }
}
