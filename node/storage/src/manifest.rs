//! Whether RocksDB's manifest is whole, as far as its records' checksums tell.
//!
//! RocksDB reads a manifest up to the first record that is damaged. Without its paranoid checks it then goes on with what that
//! describes, and crashes where the beginning does not describe a database: a process cannot survive the attempt. So what is
//! read without those checks is looked at here before. Format: RocksDB's `db/log_format.h`.

use std::fs;
use std::io;
use std::path::Path;

use crate::files::{FileKind, data_files};

/// Records do not cross blocks of this length.
const BLOCK_BYTES: usize = 32 << 10;
/// Checksum, length, type.
const HEADER_BYTES: usize = 7;
/// The greatest type of a record in a file that is not used a second time.
const LAST_TYPE: u8 = 4;

/// Whether every record of the manifest in use, which `CURRENT` names, is whole.
pub(crate) fn is_whole(folder: &Path) -> io::Result<bool> {
    let current = fs::read_to_string(folder.join("CURRENT"))?;
    let name = current.trim_end();
    let is_manifest = matches!(FileKind::of(name), Some(FileKind::Manifest(_)));
    if !is_manifest || !data_files(folder)?.iter().any(|(found, _)| found == name) {
        return Ok(false);
    }
    Ok(has_whole_records(&fs::read(folder.join(name))?))
}

fn has_whole_records(bytes: &[u8]) -> bool {
    /// The types of a record that is in one piece, and of the first and the last of several.
    const FULL: u8 = 1;
    const FIRST: u8 = 2;
    const LAST: u8 = 4;
    let mut is_within = false;
    for block in bytes.chunks(BLOCK_BYTES) {
        let mut rest = block;
        while let Some((header, after)) = rest.split_first_chunk::<HEADER_BYTES>() {
            let [c0, c1, c2, c3, l0, l1, kind] = *header;
            let Some((payload, next)) = after.split_at_checked(usize::from(u16::from_le_bytes([l0, l1]))) else {
                return false;
            };
            let is_first = matches!(kind, FULL | FIRST);
            let sum = u32::from_le_bytes([c0, c1, c2, c3]);
            if !(1..=LAST_TYPE).contains(&kind) || is_first == is_within || checksum(kind, payload) != sum {
                return false;
            }
            is_within = !matches!(kind, FULL | LAST);
            rest = next;
        }
        // What is too short for a header is filled with zeros at the end of a block, and is not there at the end of the file.
        let is_filled = block.len() == BLOCK_BYTES && rest.iter().all(|byte| *byte == 0);
        if !rest.is_empty() && !is_filled {
            return false;
        }
    }
    !bytes.is_empty() && !is_within
}

/// CRC-32C of type and payload, rotated and offset as RocksDB stores it.
fn checksum(kind: u8, payload: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in std::iter::once(&kind).chain(payload) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;
    use crate::Store;
    use lucid_types::id::NetworkId;

    #[test]
    fn a_manifest_that_rocksdb_wrote_is_whole_and_one_that_was_changed_or_cut_within_a_record_is_not() {
        let folder = tempfile::tempdir().unwrap();
        drop(Store::open(folder.path(), NetworkId::from_bytes([1; 32])).unwrap());
        assert!(is_whole(folder.path()).unwrap());
        let name = fs::read_to_string(folder.path().join("CURRENT")).unwrap();
        let path = folder.path().join(name.trim_end());
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(!has_whole_records(&changed), "changed at {at}");
        }
        let n_whole = (0..=whole.len()).filter(|end| has_whole_records(&whole[..*end])).count();
        assert!(n_whole > 1 && n_whole < whole.len() / 10, "{n_whole} of {}", whole.len());
        fs::remove_file(&path).unwrap();
        assert!(!is_whole(folder.path()).unwrap());
    }
}
