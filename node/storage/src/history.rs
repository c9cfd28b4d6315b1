//! Records for queries, written with the block that caused them or with what was read from the payment network. Nothing
//! that nodes agree on is read from here.
//!
//! A record may expire. Readers say what time it is and are given no record whose time is over; [`Store::expire_history`]
//! removes such records from the disk, found by an index in the order of their expiry. The index is only added to when a
//! record is written, so that writing reads nothing: an entry whose record was replaced or removed is found out when its
//! time comes.

use lucid_types::time::UnixMillis;
use rocksdb::{Direction, IteratorMode, PrefixRange, ReadOptions, WriteBatch};

use crate::error::StorageError;
use crate::layout::{Family, HistoryKind, expiry_key, history_key, history_value, parse_expiry, parse_history};
use crate::store::{Store, lock, malformed, read_error};

/// A history record. A later record with the same kind and key replaces it, with its expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRecord {
    /// Its kind.
    pub kind: HistoryKind,
    /// Its key; records are read back in the order of their keys' bytes, so numbers in it should be big-endian.
    pub key: Vec<u8>,
    /// Its bytes.
    pub value: Vec<u8>,
    /// From when on it is not returned any more; `None` if it stays until it is removed.
    pub expires: Option<UnixMillis>,
}

impl Store {
    /// The first `limit` records of a kind whose key starts with `prefix` (empty: all), in key order.
    pub fn history(
        &self,
        kind: HistoryKind,
        prefix: &[u8],
        limit: usize,
        now: UnixMillis,
    ) -> Result<Vec<HistoryRecord>, StorageError> {
        self.scan_history(kind, prefix, None, limit, Direction::Forward, now)
    }

    /// The last `limit` records of a kind whose key starts with `prefix` (empty: all), last first.
    pub fn history_newest(
        &self,
        kind: HistoryKind,
        prefix: &[u8],
        limit: usize,
        now: UnixMillis,
    ) -> Result<Vec<HistoryRecord>, StorageError> {
        self.scan_history(kind, prefix, None, limit, Direction::Reverse, now)
    }

    /// The last `limit` records of a kind whose key starts with `prefix` and stands before `end`, last first.
    pub fn history_before(
        &self,
        kind: HistoryKind,
        prefix: &[u8],
        end: &[u8],
        limit: usize,
        now: UnixMillis,
    ) -> Result<Vec<HistoryRecord>, StorageError> {
        self.scan_history(kind, prefix, Some(end), limit, Direction::Reverse, now)
    }

    /// The bytes of one record.
    pub fn history_record(
        &self,
        kind: HistoryKind,
        key: &[u8],
        now: UnixMillis,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(stored) = self.get(Family::History, &history_key(kind, key))? else { return Ok(None) };
        let (expires, value) = parse_history(&stored).ok_or(malformed(Family::History))?;
        Ok((!is_over(expires, now)).then(|| value.to_vec()))
    }

    /// Writes records that follow from no block and removes others, in one synced batch. What is both written and removed is
    /// removed.
    pub fn write_history(
        &self,
        records: &[HistoryRecord],
        removed: &[(HistoryKind, Vec<u8>)],
    ) -> Result<(), StorageError> {
        let _exclusive = lock(&self.shared.history);
        let mut batch = WriteBatch::default();
        self.put_history(&mut batch, records)?;
        let family = self.shared.family(Family::History)?;
        for (kind, key) in removed {
            batch.delete_cf(family, history_key(*kind, key));
        }
        self.shared.write_synced("history", batch)
    }

    /// Removes records whose time is over, those that expired first before others, in one batch. Looks at no more than `limit`
    /// and returns how many it looked at: fewer than `limit` means that no more are due. Among them may be some whose record
    /// was replaced or removed in the meantime and is left as it is.
    ///
    /// Not synced: what a loss of power brings back expires again.
    pub fn expire_history(&self, now: UnixMillis, limit: usize) -> Result<usize, StorageError> {
        // No record is written between looking at its expiry and removing it.
        let _exclusive = lock(&self.shared.history);
        let (history, index) = (self.shared.family(Family::History)?, self.shared.family(Family::Expiry)?);
        let mut batch = WriteBatch::default();
        let mut options = ReadOptions::default();
        if let Some(end) = now.get().checked_add(1) {
            options.set_iterate_upper_bound(end.to_be_bytes());
        }
        let mut n_due = 0;
        for entry in self.stream(Family::Expiry, options).take(limit) {
            let (key, _) = entry?;
            let (due, record) = parse_expiry(&key).ok_or(malformed(Family::Expiry))?;
            if let Some(stored) = self.get(Family::History, record)? {
                let (expires, _) = parse_history(&stored).ok_or(malformed(Family::History))?;
                if expires == Some(due) {
                    batch.delete_cf(history, record);
                }
            }
            batch.delete_cf(index, &key);
            n_due += 1;
        }
        if n_due > 0 {
            self.shared.write_unsynced("the removal of expired history", batch)?;
        }
        Ok(n_due)
    }

    /// Adds records to `batch`. The caller holds the lock of the history.
    pub(crate) fn put_history(&self, batch: &mut WriteBatch, records: &[HistoryRecord]) -> Result<(), StorageError> {
        let (history, index) = (self.shared.family(Family::History)?, self.shared.family(Family::Expiry)?);
        for record in records {
            let key = history_key(record.kind, &record.key);
            batch.put_cf(history, &key, history_value(record.expires, &record.value));
            if let Some(expires) = record.expires {
                batch.put_cf(index, expiry_key(expires, &key), []);
            }
        }
        Ok(())
    }

    fn scan_history(
        &self,
        kind: HistoryKind,
        prefix: &[u8],
        end: Option<&[u8]>,
        limit: usize,
        direction: Direction,
        now: UnixMillis,
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
        let records = self.shared.db.iterator_cf_opt(family, options, mode).map(|entry| {
            let (key, stored) = entry.map_err(|source| read_error(Family::History, source))?;
            let (expires, value) = parse_history(&stored).ok_or(malformed(Family::History))?;
            Ok(HistoryRecord { kind, key: key[1..].to_vec(), value: value.to_vec(), expires })
        });
        let is_alive = |record: &Result<HistoryRecord, _>| match record {
            Ok(record) => !is_over(record.expires, now),
            Err(_) => true,
        };
        records.filter(is_alive).take(limit).collect()
    }
}

fn is_over(expires: Option<UnixMillis>, now: UnixMillis) -> bool {
    expires.is_some_and(|expires| expires <= now)
}
