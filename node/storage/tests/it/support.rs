//! What a height's block, certificate, state and rows are in these tests: functions of the height, so that anything
//! found on disk can be compared with what must stand there.

use std::path::Path;

use lucid_storage::{BlockCommit, HistoryKind, HistoryRecord, Store};
use lucid_types::id::{BlockHash, NetworkId};
use lucid_types::time::{Epoch, Height};

pub(crate) const NETWORK: NetworkId = NetworkId::from_bytes([7; 32]);

pub(crate) fn open(path: &Path) -> Store {
    Store::open(path, NETWORK).unwrap()
}

pub(crate) const fn height(number: u64) -> Height {
    Height::new(number)
}

pub(crate) const fn epoch(number: u64) -> Epoch {
    Epoch::new(number)
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
        state: content(b's', number),
        rows: vec![(epoch(number - 1), content(b'r', number - 1))],
        keep_rows_from: Some(epoch(number.saturating_sub(5))),
        history: vec![HistoryRecord {
            kind: HistoryKind::Score,
            key: number.to_be_bytes().to_vec(),
            value: content(b'h', number),
        }],
    }
}
