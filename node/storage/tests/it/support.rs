//! What a height's block, certificate, state and history are in these tests: functions of the height, so that anything
//! found on disk can be compared with what must stand there.

use std::collections::BTreeMap;
use std::path::Path;

use lucid_storage::{BlockCommit, HistoryKind, HistoryRecord, StateRow, StorageError, Store};
use lucid_types::id::{BlockHash, NetworkId};
use lucid_types::time::{Height, UnixMillis};

pub(crate) const NETWORK: NetworkId = NetworkId::from_bytes([7; 32]);

pub(crate) fn open(path: &Path) -> Store {
    Store::open(path, NETWORK).unwrap()
}

/// The database behind a closed store, as nothing but this crate should have it. The store's record of its files does not
/// fit any more when it was changed, so it goes.
pub(crate) fn raw(folder: &Path) -> rocksdb::DB {
    // May be gone already.
    let _ = std::fs::remove_file(folder.join("lucid.files"));
    let names = rocksdb::DB::list_cf(&rocksdb::Options::default(), folder).unwrap();
    rocksdb::DB::open_cf(&rocksdb::Options::default(), folder, names).unwrap()
}

pub(crate) const fn height(number: u64) -> Height {
    Height::new(number)
}

pub(crate) const fn millis(number: u64) -> UnixMillis {
    UnixMillis::new(number)
}

/// Before any record expires that these tests write with a block.
pub(crate) const EARLY: UnixMillis = millis(0);

/// Rows of a state.
pub(crate) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What block `number` changes of the state: it adds a row, replaces one that all blocks replace, and removes the row of
/// the fifth block before it.
pub(crate) fn delta(number: u64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let key = |number: u64| [b"block".as_slice(), &number.to_be_bytes()].concat();
    let mut delta = vec![(key(number), Some(content(b's', number))), (b"every".to_vec(), Some(content(b'e', number)))];
    delta.extend(number.checked_sub(5).map(|old| (key(old), None)));
    delta
}

/// The state after the blocks `from..=number` on top of `rows`.
pub(crate) fn state_after(mut rows: Rows, from: u64, number: u64) -> Rows {
    for (key, value) in (from..=number).flat_map(delta) {
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
    rows
}

/// Reads rows, which must come in the order of their keys.
pub(crate) fn collect(rows: impl Iterator<Item = Result<StateRow, StorageError>>) -> Rows {
    let rows: Vec<_> = rows.map(Result::unwrap).map(|(key, value)| (key.into_vec(), value.into_vec())).collect();
    assert!(rows.is_sorted_by(|a, b| a.0 < b.0));
    rows.into_iter().collect()
}

/// `what` of `number`: between 50 and some 20,000 bytes that neither repeat nor compress to nothing.
pub(crate) fn content(what: u8, number: u64) -> Vec<u8> {
    let mut word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(what);
    let n_words = 6 + usize::try_from(word % 2_500).unwrap();
    let mut bytes = vec![what];
    for _ in 0..n_words {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes
}

pub(crate) fn block_hash(number: u64) -> BlockHash {
    let mut hash = [0xbb; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    BlockHash::from_bytes(hash)
}

pub(crate) fn commit(number: u64) -> BlockCommit {
    BlockCommit {
        height: height(number),
        block_hash: block_hash(number),
        block: content(b'b', number),
        certificate: content(b'c', number),
        state: delta(number),
        set_change: number.is_multiple_of(4).then(|| content(b'v', number)),
        history: vec![
            HistoryRecord {
                kind: HistoryKind::Score,
                key: number.to_be_bytes().to_vec(),
                value: content(b'h', number),
                expires: None,
            },
            HistoryRecord {
                kind: HistoryKind::Metric,
                key: number.to_be_bytes().to_vec(),
                value: content(b'm', number),
                expires: Some(millis(number)),
            },
        ],
    }
}
