//! Looking after a store: its size, compacting, verifying, backups, salvaging.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use lucid_storage::{
    BlockCommit, FileFault, Head, MaintenanceError, OpenError, SalvageWay, Store, list_backups, restore_backup,
    salvage, verify,
};

use crate::contents::{Content, copy, files, hashes, in_memory, read, template, text};
use crate::crash::{self, Acked, Child, say};
use crate::support::{NETWORK, block_hash, collect, commit, content, height, open, raw};

fn committed(folder: &Path, n_blocks: u64) -> Store {
    let store = open(folder);
    for number in 1..=n_blocks {
        store.commit_block(commit(number)).unwrap();
    }
    store
}

/// Moves everything from the log into tables.
fn flushed(folder: &Path) {
    open(folder);
}

/// The tables of a closed store's family, by level and age.
fn tables(folder: &Path, family: &str) -> Vec<PathBuf> {
    let options = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&options, folder).unwrap();
    let db = rocksdb::DB::open_cf_for_read_only(&options, folder, families, false).unwrap();
    let tables = db.live_files().unwrap().into_iter().filter(|table| table.column_family_name == family);
    let mut paths: Vec<_> = tables.map(|table| folder.join(table.name.trim_start_matches('/'))).collect();
    paths.sort();
    paths
}

fn flip(file: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

#[test]
fn stats_count_what_is_there() {
    let folder = in_memory();
    drop(committed(folder.path(), 9));
    let store = open(folder.path());
    store.prune_blocks(&[(height(1), Some(vec![1])), (height(2), None)]).unwrap();
    let stats = store.stats().unwrap();
    assert_eq!((stats.head, stats.base), (Some(Head { height: height(9), block_hash: block_hash(9) }), height(3)));
    let n: BTreeMap<_, _> = stats.families.iter().map(|family| (family.family, family.n_entries)).collect();
    let expected = [
        ("blocks", 7),
        ("headers", 1),
        ("certificates", 8),
        ("set-changes", 2),
        ("state-a", 6),
        ("state-b", 0),
        ("history", 18),
    ];
    for (family, n_entries) in expected {
        assert_eq!(n[family], n_entries, "{family}");
    }
    assert!(stats.families.iter().all(|family| family.is_exact));
    let blocks = stats.families.iter().find(|family| family.family == "blocks").unwrap();
    assert!(blocks.file_bytes > 10_000 && blocks.memory_bytes > 0, "{blocks:?}");
    assert!(stats.folder_bytes > blocks.file_bytes);
}

#[test]
fn compacting_gives_space_back_and_changes_nothing() {
    let folder = in_memory();
    drop(committed(folder.path(), 40));
    let store = open(folder.path());
    let pruned: Vec<_> = (1..=30).map(|number| (height(number), None)).collect();
    store.prune_blocks(&pruned).unwrap();
    let before = read(&store).unwrap();
    let bytes = |store: &Store| {
        let families = store.stats().unwrap().families;
        families.iter().find(|family| family.family == "blocks").unwrap().file_bytes
    };
    let n_bytes = bytes(&store);
    let mut told = Vec::new();
    store.compact(|family, n_done, n_families| told.push((family, n_done, n_families))).unwrap();
    assert_eq!(told.len(), 12);
    assert_eq!((told[0], told[11].1), (("meta", 0, 12), 11));
    assert!(bytes(&store) < n_bytes / 2, "{} of {n_bytes} bytes are left", bytes(&store));
    assert!(read(&store).unwrap() == before);
    drop(store);
    assert!(read(&open(folder.path())).unwrap() == before);
}

#[test]
fn compacting_what_is_damaged_fails() {
    let folder = in_memory();
    drop(committed(folder.path(), 9));
    flushed(folder.path());
    flip(&tables(folder.path(), "blocks")[0], 100);
    let error = open(folder.path()).compact(|_, _, _| {}).unwrap_err();
    assert!(text(&error).contains("`lucid db check`"), "{}", text(&error));
}

#[test]
fn a_sound_store_is_verified_whether_it_is_open_or_not() {
    let folder = in_memory();
    template(folder.path());
    let closed = verify(folder.path()).unwrap();
    assert!(closed.is_sound(), "{:?}", closed.damages);
    assert_eq!(closed.families.len(), 12);
    assert!(closed.families.iter().all(|family| family.n_entries > 0 || family.family == "state-b"), "{closed:?}");
    let store = open(folder.path());
    assert_eq!(store.verify(), closed);
    match verify(folder.path()) {
        Err(MaintenanceError::Open(OpenError::Locked { .. })) => {}
        other => panic!("{other:?}"),
    }
    drop(store);
    let nothing = folder.path().join("nothing");
    assert!(matches!(verify(&nothing), Err(MaintenanceError::File { .. })));
    assert!(!nothing.exists());
}

#[test]
fn verifying_names_each_damage_and_goes_on_after_it() {
    let folder = in_memory();
    drop(committed(folder.path(), 40));
    flushed(folder.path());
    let before = verify(folder.path()).unwrap();
    let damaged: Vec<_> = ["blocks", "history"].map(|family| tables(folder.path(), family)[0].clone()).into();
    for table in &damaged {
        flip(table, fs::metadata(table).unwrap().len() / 3);
    }
    let expected = hashes(folder.path());
    let report = verify(folder.path()).unwrap();
    assert!(hashes(folder.path()) == expected, "verifying changed something");
    for (table, family) in damaged.iter().zip(["blocks", "history"]) {
        let name = table.file_name().unwrap().to_str().unwrap();
        let damage = report.damages.iter().find(|damage| damage.file.as_deref() == Some(name)).unwrap();
        assert_eq!(damage.family, Some(family));
        let text = damage.to_string();
        assert!(text.starts_with(&format!("family {family}, file {name}: nothing from ")), "{text}");
        assert!(text.contains("block checksum mismatch"), "{text}");
    }
    assert_eq!(report.damages.len(), 2, "{:?}", report.damages);
    for (now, before) in report.families.iter().zip(&before.families) {
        let is_damaged = ["blocks", "history"].contains(&now.family);
        assert_eq!(now.n_entries < before.n_entries, is_damaged, "{now:?}, {before:?}");
        assert!(now.n_entries > 0 || before.n_entries == 0, "{now:?}");
    }
    let store = open(folder.path());
    assert_eq!(store.verify().damages, report.damages);
}

/// One data block of a table is lost, and not a row more.
#[test]
fn reading_goes_on_at_the_first_row_after_a_damaged_block() {
    const N_ROWS: u32 = 5_000;
    let folder = in_memory();
    let key = |i: u32| [&i.wrapping_mul(0x9e37_79b9).to_be_bytes()[..], &[7; 29]].concat();
    let store = open(folder.path());
    let state = (0..N_ROWS).map(|i| (key(i), Some(content(b's', u64::from(i))[..50].to_vec()))).collect();
    store.commit_block(BlockCommit { state, ..commit(1) }).unwrap();
    drop(store);
    flushed(folder.path());
    let table = &tables(folder.path(), "state-a")[0];
    let length = fs::metadata(table).unwrap().len();
    // Two blocks of 16 KiB.
    flip(table, length / 4);
    flip(table, length / 2);
    let report = verify(folder.path()).unwrap();
    assert_eq!(report.damages.len(), 2, "{:?}", report.damages);
    let n_rows = report.families.iter().find(|family| family.family == "state-a").unwrap().n_entries;
    // A row of 33 + 50 bytes is stored with 8 bytes of its own, three of lengths, and at least one of its key shared.
    let n_lost = u64::from(N_ROWS) - n_rows;
    assert!((200..=2 * 16 * 1_024 / 80).contains(&n_lost), "{n_lost} rows are lost");

    let target = folder.path().join("salvaged");
    let salvaged = salvage(folder.path(), &target).unwrap();
    assert_eq!(salvaged.way, SalvageWay::Opened);
    let state = salvaged.families.iter().find(|family| family.family == "state-a").unwrap();
    assert_eq!((state.n_entries, state.lost.len()), (n_rows, 2));
    assert_eq!(u64::try_from(collect(open(&target).state_rows()).len()).unwrap(), n_rows);
}

fn info(store: &Store, dir: &Path) -> lucid_storage::BackupInfo {
    store.backup(dir).unwrap_or_else(|error| panic!("{}", text(&error)))
}

#[test]
fn a_backup_is_restored_as_it_was() {
    let (folder, dir) = (in_memory(), in_memory());
    let dir = dir.path().join("backups");
    template(folder.path());
    let store = open(folder.path());
    let before = read(&store).unwrap();
    let first = info(&store, &dir);
    assert_eq!((first.network, first.head, first.base), (NETWORK, store.head(), store.base()));
    assert_eq!(info(&store, &dir), first, "nothing was written since");
    store.commit_block(commit(17)).unwrap();
    let second = info(&store, &dir);
    assert_ne!(second.path, first.path);
    let after = read(&store).unwrap();
    let listed: Vec<_> = list_backups(&dir).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(listed, [first.clone(), second.clone()]);
    drop(store);
    assert!(files(folder.path()).keys().all(|path| !path.ends_with("checkpoint")));

    for (backup, content) in [(&first, before), (&second, after)] {
        assert!(verify(&backup.path).unwrap().is_sound(), "a backup can be verified like a store");
        let target = dir.join("restored");
        assert_eq!(restore_backup(&backup.path, &target).unwrap(), *backup);
        assert!(verify(&target).unwrap().is_sound());
        let restored = open(&target);
        assert!(read(&restored).unwrap() == content);
        restored.commit_block(commit(restored.head().unwrap().height.next().get())).unwrap();
        drop(restored);
        match restore_backup(&backup.path, &target) {
            Err(error @ MaintenanceError::Exists { .. }) => assert!(error.to_string().contains("not overwritten")),
            other => panic!("{other:?}"),
        }
        fs::remove_dir_all(&target).unwrap();
        // An empty folder is not in the way.
        fs::create_dir(&target).unwrap();
        restore_backup(&backup.path, &target).unwrap();
        fs::remove_dir_all(&target).unwrap();
    }
}

/// A backup is of one moment, however much is written meanwhile.
#[test]
fn a_backup_is_made_while_blocks_are_committed() {
    let (folder, dir) = (in_memory(), in_memory());
    let store = open(folder.path());
    store.commit_block(commit(1)).unwrap();
    let is_done = AtomicBool::new(false);
    let backups = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 2.. {
                if is_done.load(Ordering::Acquire) {
                    break;
                }
                store.commit_block(commit(number)).unwrap();
            }
        });
        let backups: Vec<_> = (0..5).map(|_| info(&store, dir.path())).collect();
        is_done.store(true, Ordering::Release);
        backups
    });
    for (i, backup) in backups.iter().enumerate() {
        let target = dir.path().join(format!("restored-{i}"));
        restore_backup(&backup.path, &target).unwrap();
        let restored = open(&target);
        assert_eq!(restored.head(), backup.head);
        let block = backup.head.unwrap().height.get();
        crash::verify(&restored, &Acked { block, ..Acked::default() }).unwrap();
        assert!(i == 0 || backups[i - 1].head.unwrap().height.get() < block, "nothing was written meanwhile");
    }
}

#[test]
fn damaged_and_unfinished_backups_are_told_apart() {
    let (folder, dir) = (in_memory(), in_memory());
    drop(committed(folder.path(), 3));
    let store = open(folder.path());
    let good = info(&store, dir.path());
    // What a crash leaves before a backup has its name.
    copy(&good.path, &{
        let part = dir.path().join("0000000009-000000000999.part");
        fs::create_dir(&part).unwrap();
        part
    });
    fs::create_dir(dir.path().join("0000000007-000000000777")).unwrap();
    fs::create_dir(dir.path().join("something else")).unwrap();
    assert_eq!(list_backups(dir.path()).unwrap().len(), 1);
    let unfinished = dir.path().join("0000000009-000000000999.part");
    assert_eq!(info(&store, dir.path()), good);
    assert!(!unfinished.exists(), "the next backup removes it");
    assert!(matches!(
        restore_backup(&dir.path().join("something else"), &dir.path().join("x")),
        Err(MaintenanceError::NotABackup { .. })
    ));

    let table = tables(&good.path, "blocks")[0].clone();
    let name = table.file_name().unwrap().to_str().unwrap().to_owned();
    flip(&table, 200);
    let target = dir.path().join("restored");
    for thorough in [true, false] {
        let outcome = if thorough { restore_backup(&good.path, &target) } else { store.backup(dir.path()) };
        match outcome {
            Err(MaintenanceError::DamagedBackup { path, file, fault }) => {
                assert_eq!((path, file, fault), (good.path.clone(), name.clone(), FileFault::Content));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(!target.exists());
    let left = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    assert!(left.into_iter().all(|path| path.extension().is_none()), "nothing is left of what failed");
    fs::remove_file(&table).unwrap();
    match &list_backups(dir.path()).unwrap()[..] {
        [Err(MaintenanceError::DamagedBackup { file, fault: FileFault::Missing, .. })] => assert_eq!(*file, name),
        other => panic!("{other:?}"),
    }
    let list = good.path.join("lucid.backup");
    flip(&list, 30);
    assert!(matches!(list_backups(dir.path()).unwrap()[..], [Err(MaintenanceError::NotABackup { .. })]));
}

#[test]
fn a_damaged_store_is_not_backed_up() {
    let (folder, dir) = (in_memory(), in_memory());
    drop(committed(folder.path(), 9));
    flushed(folder.path());
    flip(&tables(folder.path(), "certificates")[0], 100);
    let error = open(folder.path()).backup(dir.path()).unwrap_err();
    assert!(
        matches!(&error, MaintenanceError::DamagedSource { damage } if damage.family == Some("certificates")),
        "{error:?}"
    );
    assert!(list_backups(dir.path()).unwrap().is_empty());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// A kill leaves the checkpoint in the store's folder.
#[test]
fn what_an_interrupted_backup_left_in_the_store_is_removed_when_it_is_opened() {
    let folder = in_memory();
    let head = committed(folder.path(), 3).head();
    let checkpoint = folder.path().join("checkpoint");
    fs::create_dir(&checkpoint).unwrap();
    fs::write(checkpoint.join("000001.sst"), b"of no use").unwrap();
    assert_eq!(open(folder.path()).head(), head);
    assert!(!checkpoint.exists());
}

#[test]
fn a_failed_restore_leaves_nothing() {
    let (folder, dir) = (in_memory(), in_memory());
    let store = committed(folder.path(), 3);
    let good = info(&store, dir.path());
    let mut listed = fs::read_dir(&good.path).unwrap().map(|file| file.unwrap().path());
    flip(&listed.find(|path| path.file_name().unwrap().to_string_lossy().starts_with("MANIFEST")).unwrap(), 3);
    assert!(restore_backup(&good.path, &dir.path().join("restored")).is_err());
    let names = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), [good.path.file_name().unwrap()]);
}

/// Kills a process that makes backups and restores them, at any time: what has a name is whole.
#[test]
fn no_half_backup_or_store_looks_whole_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let (mut n_backups, mut n_restored) = (0, 0);
    for round in 0..12_u32 {
        let mut child = Child::spawn("back up", folder.path());
        for _ in 0..1 + (round * 5) % 7 {
            child.line().unwrap();
        }
        child.kill();
        for backup in list_backups(&folder.path().join("backups")).unwrap_or_default() {
            let backup = backup.unwrap();
            assert!(verify(&backup.path).unwrap().is_sound());
            n_backups += 1;
        }
        let restored = folder.path().join("restored");
        if restored.exists() {
            let report = verify(&restored).unwrap();
            assert!(report.is_sound(), "{:?}", report.damages);
            n_restored += 1;
        }
        let _ = fs::remove_dir_all(folder.path().join("backups"));
    }
    assert!(n_backups > 3 && n_restored > 3, "{n_backups} backups, {n_restored} restored");
}

/// The process that the test above starts and kills.
pub(crate) fn back_up(folder: &Path) {
    let store = open(&folder.join("store"));
    loop {
        let next = store.head().map_or(1, |head| head.height.get() + 1);
        store.commit_block(commit(next)).unwrap();
        say("block");
        let backup = store.backup(&folder.join("backups")).unwrap();
        say("backup");
        // Removing takes a while, too, so what is removed has another name.
        let _ = fs::remove_dir_all(folder.join("old"));
        let _ = fs::rename(folder.join("restored"), folder.join("old"));
        restore_backup(&backup.path, &folder.join("restored")).unwrap();
        say("restored");
    }
}

fn salvaged(folder: &Path) -> (lucid_storage::SalvageReport, Content) {
    let targets = in_memory();
    let target = targets.path().join("salvaged");
    let report = salvage(folder, &target).unwrap_or_else(|error| panic!("{}", text(&error)));
    assert_eq!(report.missing, [""; 0]);
    let verified = verify(&target).unwrap();
    assert!(verified.is_sound(), "{:?}", verified.damages);
    let store = open(&target);
    assert_eq!((report.head, report.base), (store.head(), store.base()));
    let content = read(&store).unwrap();
    // And it is a store like any other.
    store.commit_block(commit(store.head().unwrap().height.next().get())).unwrap();
    (report, content)
}

#[test]
fn a_sound_store_is_salvaged_whole() {
    let folder = in_memory();
    let contents = template(folder.path());
    let (report, content) = salvaged(folder.path());
    assert_eq!((report.way, report.n_dropped_blocks), (SalvageWay::Opened, 0));
    assert!(report.damages.is_empty() && report.families.iter().all(|family| family.lost.is_empty()));
    assert!(content == *contents.last().unwrap());
}

/// Also when all there is stands in the log, of which RocksDB's repair alone would forget nearly everything.
#[test]
fn without_manifest_current_and_options_nothing_is_lost() {
    let small = in_memory();
    let content = read(&committed(small.path(), 3)).unwrap();
    let large = in_memory();
    let last = template(large.path()).pop().unwrap();
    for (folder, content) in [(small.path(), content), (large.path(), last)] {
        for names in [&["CURRENT"][..], &["OPTIONS"], &["MANIFEST"], &["MANIFEST", "CURRENT", "OPTIONS", "lucid.files"]]
        {
            let damaged = in_memory();
            copy(folder, damaged.path());
            for path in files(damaged.path()).keys() {
                let name = path.file_name().unwrap().to_str().unwrap();
                if names.iter().any(|lost| name.starts_with(lost)) {
                    fs::remove_file(path).unwrap();
                }
            }
            let (report, found) = salvaged(damaged.path());
            let way = match names {
                ["CURRENT"] | ["OPTIONS"] => SalvageWay::Opened,
                _ => SalvageWay::Repaired,
            };
            assert_eq!(report.way, way, "{names:?}: {:?}", report.damages);
            assert!(found == content, "without {names:?}");
        }
    }
}

#[test]
fn what_follows_a_damage_of_the_log_is_left_out() {
    let folder = in_memory();
    let contents = template(folder.path());
    let log = files(folder.path()).into_keys().find(|path| path.extension().is_some_and(|end| end == "log")).unwrap();
    flip(&log, fs::metadata(&log).unwrap().len() / 2);
    let (report, content) = salvaged(folder.path());
    assert_eq!(report.way, SalvageWay::UpToDamage);
    assert!(contents.contains(&content) && content != *contents.last().unwrap());
    assert_eq!(report.damages[0].file.as_deref(), log.file_name().unwrap().to_str());
}

#[test]
fn blocks_below_a_lost_one_are_dropped_so_that_the_base_is_true() {
    let folder = in_memory();
    let store = open(folder.path());
    for number in 1..=60 {
        store.commit_block(commit(number)).unwrap();
    }
    drop(store);
    flushed(folder.path());
    let table = &tables(folder.path(), "blocks")[0];
    flip(table, fs::metadata(table).unwrap().len() / 2);
    let (report, content) = salvaged(folder.path());
    let base = report.base.get();
    assert!((10..50).contains(&base), "{base}");
    assert!(report.n_dropped_blocks >= base - 10, "{report:?}");
    assert!(content.iter().filter(|(what, _)| what.starts_with("block ")).count() as u64 == 61 - base);
}

/// A table that cannot be opened hides others of its family, which a repair without it shows.
#[test]
fn a_lost_table_does_not_take_the_others_with_it() {
    let folder = in_memory();
    template(folder.path());
    let tables = tables(folder.path(), "blocks");
    assert!(tables.len() > 1, "{tables:?}");
    let lost = &tables[0];
    fs::OpenOptions::new().write(true).open(lost).unwrap().set_len(100).unwrap();
    let (report, _) = salvaged(folder.path());
    let blocks = report.families.iter().find(|family| family.family == "blocks").unwrap();
    let n_filled: u64 = blocks.lost.iter().map(|lost| lost.n_filled).sum();
    assert!(n_filled > 0, "{blocks:?}");
}

#[test]
fn a_store_that_lost_its_head_is_not_opened_as_one_of_a_chain_without_blocks() {
    for key in [&b"head"[..], b"network"] {
        let folder = in_memory();
        drop(committed(folder.path(), 3));
        {
            let db = raw(folder.path());
            db.delete_cf(db.cf_handle("meta").unwrap(), key).unwrap();
        }
        let target = folder.path().join("salvaged");
        let report = salvage(folder.path(), &target).unwrap();
        assert_eq!(report.missing.len(), 1, "{report:?}");
        match Store::open(&target, NETWORK).map(|_| ()) {
            Err(OpenError::NotAStore { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn salvaging_overwrites_nothing_and_takes_no_other_format() {
    let folder = in_memory();
    drop(committed(folder.path(), 1));
    let target = in_memory();
    fs::write(target.path().join("file"), b"x").unwrap();
    assert!(matches!(salvage(folder.path(), target.path()), Err(MaintenanceError::Exists { .. })));
    assert!(matches!(salvage(folder.path(), &target.path().join("file")), Err(MaintenanceError::Exists { .. })));
    let free = target.path().join("free");
    assert!(matches!(salvage(&target.path().join("nothing"), &free), Err(MaintenanceError::File { .. })));
    {
        let db = raw(folder.path());
        db.put_cf(db.cf_handle("meta").unwrap(), b"format", 4_u32.to_be_bytes()).unwrap();
    }
    match salvage(folder.path(), &free) {
        Err(MaintenanceError::Open(OpenError::OlderFormat { found: 4, .. })) => {}
        other => panic!("{other:?}"),
    }
    assert!(!free.exists() && files(target.path()).len() == 1);
}
