//! Whose store it is: one process, one network, a known format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lucid_storage::{FORMAT_VERSION, OpenError, Store};
use lucid_types::id::NetworkId;

use crate::crash::Child;
use crate::support::{NETWORK, commit, open, raw};

#[test]
fn a_second_opening_in_this_process_is_refused_with_the_owner() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    match Store::open(folder.path(), NETWORK).map(|_| ()) {
        Err(OpenError::Locked { path, owner }) => {
            assert_eq!(path, folder.path());
            assert_eq!(owner, Some(std::process::id()));
        }
        other => panic!("{other:?}"),
    }
    let clone = store.clone();
    drop(store);
    assert!(matches!(Store::open(folder.path(), NETWORK), Err(OpenError::Locked { .. })), "a clone holds it open");
    drop(clone);
    open(folder.path());
}

#[test]
fn a_store_that_another_process_holds_is_refused_until_that_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut holder = Child::spawn("hold", folder.path());
    assert_eq!(holder.line().as_deref(), Some("held"));
    match Store::open(folder.path(), NETWORK).map(|_| ()) {
        Err(error @ OpenError::Locked { .. }) => {
            let text = error.to_string();
            assert!(text.contains(&format!("process {}", holder.id())), "{text}");
            assert!(text.contains(&folder.path().display().to_string()), "{text}");
        }
        other => panic!("{other:?}"),
    }
    holder.kill();
    open(folder.path());
}

#[test]
fn a_store_stays_with_its_network() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).commit_block(commit(1)).unwrap();
    let other = NetworkId::from_bytes([8; 32]);
    match Store::open(folder.path(), other).map(|_| ()) {
        Err(OpenError::WrongNetwork { found, expected, .. }) => {
            assert_eq!((found, expected), (NETWORK, other));
        }
        outcome => panic!("{outcome:?}"),
    }
    assert!(open(folder.path()).head().is_some(), "the refusal changed nothing");
}

#[test]
fn a_newer_format_is_refused_even_with_families_that_this_build_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).commit_block(commit(1)).unwrap();
    {
        let mut db = raw(folder.path());
        db.create_cf("of-the-future", &rocksdb::Options::default()).unwrap();
        let newer = (FORMAT_VERSION + 1).to_be_bytes();
        db.put_cf(db.cf_handle("meta").unwrap(), b"format", newer).unwrap();
    }
    match Store::open(folder.path(), NETWORK).map(|_| ()) {
        Err(OpenError::NewerFormat { found, known, .. }) => {
            assert_eq!((found, known), (FORMAT_VERSION + 1, FORMAT_VERSION));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_older_format_is_refused_with_what_to_do() {
    let write = |folder: &Path, format: u32| {
        let db = raw(folder);
        db.put_cf(db.cf_handle("meta").unwrap(), b"format", format.to_be_bytes()).unwrap();
    };
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).commit_block(commit(1)).unwrap();
    write(folder.path(), FORMAT_VERSION - 1);
    match Store::open(folder.path(), NETWORK).map(|_| ()) {
        Err(error @ OpenError::OlderFormat { .. }) => {
            let text = error.to_string();
            assert!(
                text.contains("has format 10, this program reads format 11 only") && text.contains("empty home"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
    write(folder.path(), 0);
    assert!(matches!(Store::open(folder.path(), NETWORK), Err(OpenError::NotAStore { .. })));
    write(folder.path(), FORMAT_VERSION);
    assert!(open(folder.path()).head().is_some(), "the refusals changed nothing");
}

/// Every file of a folder but locks and RocksDB's text logs, with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let kept = files.filter(|path| !["lucid.lock", "LOCK"].iter().any(|name| path.ends_with(name)));
    kept.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn a_store_as_format_4_laid_it_out_is_refused_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let families = ["meta", "blocks", "certificates", "state", "rows", "wal", "own", "history", "peers"];
    {
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let db = rocksdb::DB::open_cf(&options, folder.path(), families).unwrap();
        let put =
            |family: &str, key: &[u8], value: &[u8]| db.put_cf(db.cf_handle(family).unwrap(), key, value).unwrap();
        put("meta", b"format", &4_u32.to_be_bytes());
        put("meta", b"network", NETWORK.as_bytes());
        put("meta", b"head", &[&1_u64.to_be_bytes()[..], &[9; 32]].concat());
        put("blocks", &1_u64.to_be_bytes(), b"block");
        put("certificates", &1_u64.to_be_bytes(), b"certificate");
        put("state", b"current", b"the whole state");
        put("rows", &1_u64.to_be_bytes(), b"row");
        put("own", &[3, 1], b"proposal");
        put("history", &[1, 1], b"record");
    }
    let before = files(folder.path());
    for _ in 0..2 {
        match Store::open(folder.path(), NETWORK).map(|_| ()) {
            Err(error @ OpenError::OlderFormat { found: 4, known: FORMAT_VERSION, .. }) => {
                let text = error.to_string();
                assert!(text.contains("this program reads format 11 only: begin with an empty home"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        assert!(files(folder.path()) == before, "{:?}", files(folder.path()).keys());
    }
    let mut found = rocksdb::DB::list_cf(&rocksdb::Options::default(), folder.path()).unwrap();
    found.retain(|name| name != "default");
    assert_eq!(found, families);
}

#[test]
fn a_store_whose_making_was_interrupted_is_made_and_one_that_lost_a_family_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        rocksdb::DB::open_cf(&options, folder.path(), ["meta", "blocks"]).unwrap();
    }
    open(folder.path()).commit_block(commit(1)).unwrap();
    {
        let mut db = raw(folder.path());
        db.drop_cf("headers").unwrap();
    }
    match Store::open(folder.path(), NETWORK).map(|_| ()) {
        Err(OpenError::NotAStore { what, .. }) => assert_eq!(what, "a family is missing"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn somebody_elses_database_is_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    rocksdb::DB::open_default(folder.path()).unwrap().put(b"their", b"data").unwrap();
    let outcome = Store::open(folder.path(), NETWORK).map(|_| ());
    assert!(matches!(outcome, Err(OpenError::NotAStore { .. })), "{outcome:?}");
    let families = rocksdb::DB::list_cf(&rocksdb::Options::default(), folder.path()).unwrap();
    assert_eq!(families, ["default"]);
}

#[test]
fn a_path_that_is_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, b"not a folder").unwrap();
    match Store::open(&path, NETWORK).map(|_| ()) {
        Err(error @ OpenError::CreateFolder { .. }) => assert!(error.to_string().contains("file"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"not a folder");
}
