//! All that a store holds, to compare it; and a store that has some of everything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lucid_storage::{HistoryKind, OwnKind, Store};
use lucid_types::id::PublicKey;

use crate::support::{EARLY, commit, content, height, millis, open};

/// Everything that a store's readers return, in a form to compare.
pub(crate) type Content = Vec<(String, Vec<u8>)>;

pub(crate) fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

pub(crate) fn read(store: &Store) -> Result<Content, String> {
    let mut all = Content::new();
    let mut put = |what: String, value: Vec<u8>| all.push((what, value));
    put(format!("head {:?}, base {}", store.head(), store.base()), Vec::new());
    for row in store.state_rows() {
        let (key, value) = row.map_err(|error| text(&error))?;
        put(format!("state {key:?}"), value.into_vec());
    }
    for stored in store.blocks(height(0)) {
        let stored = stored.map_err(|error| text(&error))?;
        put(format!("block {}", stored.height), stored.block);
    }
    for number in 0..30 {
        let header = store.header_of(height(number)).map_err(|error| text(&error))?;
        put(format!("header {number}"), header.unwrap_or_default());
        let certificate = store.certificate(height(number)).map_err(|error| text(&error))?;
        put(format!("certificate {number}"), certificate.unwrap_or_default());
    }
    for kind in [HistoryKind::Score, HistoryKind::Metric] {
        for record in store.history(kind, &[], 999, EARLY).map_err(|error| text(&error))? {
            put(format!("history {kind:?} {:?} {:?}", record.key, record.expires), record.value);
        }
    }
    for kind in [OwnKind::Report, OwnKind::Counter] {
        for record in store.own_all(kind, &[]).map_err(|error| text(&error))? {
            put(format!("own {kind:?} {:?}", record.key), record.value);
        }
    }
    for (peer, value) in store.peers().map_err(|error| text(&error))? {
        put(format!("peer {peer:?}"), value);
    }
    let wal = store.wal().unwrap();
    for number in 0..30 {
        for entry in wal.entries(height(number)).map_err(|error| text(&error))? {
            put(format!("log {number}"), entry);
        }
    }
    Ok(all)
}

/// A small store with data in several files of several families and in RocksDB's log; every content it had, the last one last.
pub(crate) fn template(folder: &Path) -> Vec<Content> {
    let mut contents = Vec::new();
    let mut next = 1;
    for n_blocks in [8, 5, 3] {
        // Opening writes files of what was in the log.
        let store = open(folder);
        let mut wal = store.wal().unwrap();
        for number in next..next + n_blocks {
            wal.append(height(number), content(b'w', number)).unwrap();
            wal.sync().unwrap();
            drop(wal);
            contents.push(read(&store).unwrap());
            store.put_new(OwnKind::Report, &number.to_be_bytes(), &content(b'o', number)).unwrap();
            contents.push(read(&store).unwrap());
            store.put(OwnKind::Counter, b"counter", &number.to_be_bytes()).unwrap();
            contents.push(read(&store).unwrap());
            store.put_peer(PublicKey::from_bytes([7; 32]), &number.to_be_bytes()).unwrap();
            contents.push(read(&store).unwrap());
            store.commit_block(commit(number)).unwrap();
            contents.push(read(&store).unwrap());
            wal = store.wal().unwrap();
        }
        next += n_blocks;
        drop(wal);
        let base = store.base();
        store.prune_blocks(&[(base, Some(content(b'k', base.get()))), (base.next(), None)]).unwrap();
        contents.push(read(&store).unwrap());
        store.expire_history(millis(next - 3), 99).unwrap();
        contents.push(read(&store).unwrap());
        let mut wal = store.wal().unwrap();
        wal.append(height(next), content(b'w', next)).unwrap();
        wal.sync().unwrap();
        drop(wal);
        contents.push(read(&store).unwrap());
    }
    contents
}

/// A folder in memory where the system has such: nothing here is about what a disk keeps, and there are many of them.
pub(crate) fn in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    files.map(|file| (file.path(), file.metadata().unwrap().len())).collect()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for file in files(from).keys() {
        fs::copy(file, to.join(file.file_name().unwrap())).unwrap();
    }
}

/// All files but the lock, with a hash of their bytes.
pub(crate) fn hashes(folder: &Path) -> BTreeMap<PathBuf, blake3::Hash> {
    let files = files(folder).into_keys().filter(|path| !path.ends_with("lucid.lock"));
    files.map(|path| (path.clone(), blake3::hash(&fs::read(path).unwrap()))).collect()
}
