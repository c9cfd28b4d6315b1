//! Records for queries, written with the block that caused them or with what was read from the payment network. Nothing
//! that nodes agree on is read from here.

use crate::error::StorageError;
use crate::layout::{Family, HistoryKind, history_key};
use crate::store::{Store, read_error};
use rocksdb::{Direction, IteratorMode, PrefixRange, ReadOptions, WriteBatch};

/// A history record. A later record with the same kind and key replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRecord {
    /// Its kind.
    pub kind: HistoryKind,
    /// Its key; records are read back in the order of their keys' bytes, so numbers in it should be big-endian.
    pub key: Vec<u8>,
    /// Its bytes.
    pub value: Vec<u8>,
}

impl Store {
    /// The first `limit` records of a kind whose key starts with `prefix` (empty: all), in key order.
    pub fn history(&self, kind: HistoryKind, prefix: &[u8], limit: usize) -> Result<Vec<HistoryRecord>, StorageError> {
        self.scan_history(kind, prefix, None, limit, Direction::Forward)
    }

    /// The last `limit` records of a kind whose key starts with `prefix` (empty: all), last first.
    pub fn history_newest(
        &self,
        kind: HistoryKind,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<HistoryRecord>, StorageError> {
        self.scan_history(kind, prefix, None, limit, Direction::Reverse)
    }

    /// The last `limit` records of a kind whose key starts with `prefix` and stands before `end`, last first.
    pub fn history_before(
        &self,
        kind: HistoryKind,
        prefix: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<Vec<HistoryRecord>, StorageError> {
        self.scan_history(kind, prefix, Some(end), limit, Direction::Reverse)
    }

    /// One record.
    pub fn history_record(&self, kind: HistoryKind, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(Family::History, &history_key(kind, key))
    }

    /// Writes records that follow from no block and removes others, in one synced batch.
    pub fn write_history(
        &self,
        records: &[HistoryRecord],
        removed: &[(HistoryKind, Vec<u8>)],
    ) -> Result<(), StorageError> {
        let family = self.shared.family(Family::History)?;
        let mut batch = WriteBatch::default();
        for record in records {
            batch.put_cf(family, history_key(record.kind, &record.key), &record.value);
        }
        for (kind, key) in removed {
            batch.delete_cf(family, history_key(*kind, key));
        }
        self.shared.write_synced("history", batch)
    }

    fn scan_history(
        &self,
        kind: HistoryKind,
        prefix: &[u8],
        end: Option<&[u8]>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<HistoryRecord>, StorageError> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(PrefixRange(history_key(kind, prefix)));
        if let Some(end) = end {
            options.set_iterate_upper_bound(history_key(kind, end));
        }
        let mode = match direction {
            Direction::Forward => IteratorMode::Start,
            Direction::Reverse => IteratorMode::End,
        };
        let family = self.shared.family(Family::History)?;
        let entries = self.shared.db.iterator_cf_opt(family, options, mode);
        entries
            .take(limit)
            .map(|entry| {
                let (key, value) = entry.map_err(|source| read_error(Family::History, source))?;
                Ok(HistoryRecord { kind, key: key[1..].to_vec(), value: value.into_vec() })
            })
            .collect()
    }
}
