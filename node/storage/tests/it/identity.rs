//! Whose store it is: one process, one network, a known format.

use lucid_storage::{FORMAT_VERSION, OpenError, Store};
use lucid_types::id::NetworkId;

use crate::crash::Child;
use crate::support::{NETWORK, commit, open};

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
        let names = rocksdb::DB::list_cf(&rocksdb::Options::default(), folder.path()).unwrap();
        let mut db = rocksdb::DB::open_cf(&rocksdb::Options::default(), folder.path(), names).unwrap();
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
    let write = |folder: &std::path::Path, format: u32| {
        let names = rocksdb::DB::list_cf(&rocksdb::Options::default(), folder).unwrap();
        let db = rocksdb::DB::open_cf(&rocksdb::Options::default(), folder, names).unwrap();
        db.put_cf(db.cf_handle("meta").unwrap(), b"format", format.to_be_bytes()).unwrap();
    };
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).commit_block(commit(1)).unwrap();
    write(folder.path(), FORMAT_VERSION - 1);
    match Store::open(folder.path(), NETWORK).map(|_| ()) {
        Err(error @ OpenError::OlderFormat { .. }) => {
            let text = error.to_string();
            assert!(
                text.contains("has format 3, this program reads format 4 only") && text.contains("empty home"),
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

#[test]
fn somebody_elses_database_is_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    rocksdb::DB::open_default(folder.path()).unwrap().put(b"their", b"data").unwrap();
    let outcome = Store::open(folder.path(), NETWORK).map(|_| ());
    assert!(matches!(outcome, Err(OpenError::NotAStore { .. })), "{outcome:?}");
    let db = rocksdb::DB::list_cf(&rocksdb::Options::default(), folder.path()).unwrap();
    assert!(!db.is_empty());
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
