//! The write-ahead log of the consensus engine: what it must see again after a crash so as not to contradict itself.
//!
//! Entries are gathered by [`Wal::append`] and written by [`Wal::sync`] in one synced batch; nothing that depends on
//! them may leave the node before `sync` has returned. Committing a block removes the entries of its height and below.
//! What an entry means is the engine driver's business. RocksDB gives each batch a checksum and writes it whole or not
//! at all, so entries carry none of their own.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use lucid_types::time::Height;
use rocksdb::{IteratorMode, PrefixRange, ReadOptions, WriteBatch};

use crate::error::StorageError;
use crate::layout::{Family, height_key, parse_wal, wal_key};
use crate::store::{Store, lock, malformed, read_error};

/// The only writer of the engine's log.
pub struct Wal {
    store: Store,
    /// Appended, not yet synced, in order.
    pending: Vec<(Height, Vec<u8>)>,
    /// The next free sequence number of each height that was written to since opening.
    next: BTreeMap<Height, u64>,
}

impl Store {
    /// The writer of the engine's log. There is one at a time; another can be had when it is dropped.
    pub fn wal(&self) -> Result<Wal, StorageError> {
        if self.shared.wal_taken.swap(true, Ordering::AcqRel) {
            return Err(StorageError::WalTaken);
        }
        Ok(Wal { store: self.clone(), pending: Vec::new(), next: BTreeMap::new() })
    }

    /// Adds the removal of all synced entries of `height` to `batch`.
    pub(crate) fn delete_wal(&self, batch: &mut WriteBatch, height: Height) -> Result<(), StorageError> {
        let family = self.shared.family(Family::Wal)?;
        for (key, _) in self.scan_prefix(Family::Wal, &height_key(height))? {
            batch.delete_cf(family, key);
        }
        Ok(())
    }
}

impl Wal {
    /// Adds an entry for `height`, in memory only until [`Self::sync`]. Refuses heights that are decided.
    ///
    /// The caller bounds what is pending by calling `sync` before anything leaves the node.
    pub fn append(&mut self, height: Height, entry: Vec<u8>) -> Result<(), StorageError> {
        if let Some(head) = self.store.head()
            && height <= head.height
        {
            return Err(StorageError::HeightDecided { height, head: head.height });
        }
        self.pending.push((height, entry));
        Ok(())
    }

    /// Whether entries wait for [`Self::sync`].
    pub fn is_dirty(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes what was appended in one synced batch; when it returns, the disk has it. Entries whose height was decided
    /// in the meantime are dropped: nothing needs them any more. After an error they are still pending.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        // Held until the batch is written, so that no block closes the height in between.
        let tip = lock(&self.store.shared.tip);
        if let Some(head) = tip.head {
            self.pending.retain(|(height, _)| *height > head.height);
            self.next.retain(|height, _| *height > head.height);
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut next = self.next.clone();
        let mut batch = WriteBatch::default();
        let family = self.store.shared.family(Family::Wal)?;
        for (height, entry) in &self.pending {
            let sequence = match next.get(height) {
                Some(sequence) => *sequence,
                None => self.first_free(*height)?,
            };
            batch.put_cf(family, wal_key(*height, sequence), entry);
            next.insert(*height, sequence.saturating_add(1));
        }
        self.store.shared.write_synced("the engine's log", batch)?;
        self.next = next;
        self.pending.clear();
        Ok(())
    }

    /// The synced entries of `height`, in the order in which they were appended.
    pub fn entries(&self, height: Height) -> Result<Vec<Vec<u8>>, StorageError> {
        let entries = self.store.scan_prefix(Family::Wal, &height_key(height))?;
        Ok(entries.into_iter().map(|(_, entry)| entry.into_vec()).collect())
    }

    /// Forgets all entries of `height`, synced and pending. Synced.
    pub fn reset(&mut self, height: Height) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        self.store.delete_wal(&mut batch, height)?;
        self.store.shared.write_synced("the engine's log", batch)?;
        self.pending.retain(|(pending, _)| *pending != height);
        self.next.remove(&height);
        Ok(())
    }

    /// The sequence number after the last one on disk.
    fn first_free(&self, height: Height) -> Result<u64, StorageError> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(PrefixRange(height_key(height)));
        let shared = &self.store.shared;
        let mut back = shared.db.iterator_cf_opt(shared.family(Family::Wal)?, options, IteratorMode::End);
        let Some(entry) = back.next() else { return Ok(0) };
        let (key, _) = entry.map_err(|source| read_error(Family::Wal, source))?;
        let (_, sequence) = parse_wal(&key).ok_or(malformed(Family::Wal))?;
        Ok(sequence.saturating_add(1))
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.store.shared.wal_taken.store(false, Ordering::Release);
    }
}
