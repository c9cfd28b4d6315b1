//! Damaged files: a torn last record is forgiven, because it was never acknowledged; anything else is not.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use lucid_storage::{OpenError, Store};

use crate::crash::{Acked, verify};
use crate::support::{NETWORK, commit, open};

/// A store of `n` blocks that was left without closing it, so that all of them lie in RocksDB's log; the log's path.
fn abandoned(folder: &Path, n: u64) -> PathBuf {
    let live = tempfile::tempdir().unwrap();
    let store = open(live.path());
    for number in 1..=n {
        store.commit_block(commit(number)).unwrap();
    }
    // What a crash would leave: the files as they are while the store is open.
    for file in std::fs::read_dir(live.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let logs = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut logs: Vec<_> = logs.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
    logs.sort();
    logs.pop().unwrap()
}

/// The end of what was written to a log; RocksDB may have allocated zeros after it.
fn written(log: &Path) -> u64 {
    let bytes = std::fs::read(log).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    u64::try_from(end).unwrap()
}

#[test]
fn a_torn_last_record_is_dropped_whole() {
    for torn_by in [1, 100, 2_000] {
        let folder = tempfile::tempdir().unwrap();
        let log = abandoned(folder.path(), 5);
        let file = OpenOptions::new().write(true).open(&log).unwrap();
        file.set_len(written(&log) - torn_by).unwrap();
        let store = open(folder.path());
        assert_eq!(store.head().unwrap().height.get(), 4, "torn by {torn_by}");
        verify(&store, &Acked { block: 4, ..Acked::default() }).unwrap();
        store.commit_block(commit(5)).unwrap();
    }
}

#[test]
fn a_newest_log_that_is_gone_is_noticed_also_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let log = abandoned(folder.path(), 5);
    std::fs::remove_file(&log).unwrap();
    match Store::open(folder.path(), NETWORK).map(|store| store.head()) {
        Err(error @ OpenError::Changed { .. }) => {
            let text = error.to_string();
            assert!(text.contains(&format!("{} is missing", log.file_name().unwrap().to_str().unwrap())), "{text}");
            assert!(text.contains("`lucid db repair`"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_damage_nothing_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    abandoned(folder.path(), 5);
    verify(&open(folder.path()), &Acked { block: 5, ..Acked::default() }).unwrap();
}

#[test]
fn damage_in_the_middle_is_refused_rather_than_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let log = abandoned(folder.path(), 5);
    let middle = written(&log) / 2;
    let file = OpenOptions::new().read(true).write(true).open(&log).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[!byte[0]], middle).unwrap();
    let outcome = Store::open(folder.path(), NETWORK).map(|store| store.head());
    assert!(matches!(outcome, Err(OpenError::Open { .. })), "{outcome:?}");
}
