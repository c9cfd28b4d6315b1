//! The rows of the state after the head, and taking over a whole state from a snapshot.
//!
//! Rows lie in one of two families; an entry in `meta` says in which. A restore fills the other one, as slowly as rows
//! arrive and over as many starts as it takes, while the state in force stays whole. Finishing it is one batch, which
//! also moves that entry: a crash leaves either the old state or the new one.

use std::sync::MutexGuard;

use lucid_types::id::BlockHash;
use lucid_types::time::Height;
use rocksdb::{ReadOptions, WriteBatch};

use crate::error::StorageError;
use crate::layout::{
    Family, Head, KEY_BASE, KEY_HEAD, KEY_RESTORE, KEY_STATE, MAX_STATE_KEY_BYTES, STATE_END, Slot, head_value,
    height_key, wal_key,
};
use crate::store::{Store, Tip, lock};

/// Key and value of a row of the state.
pub type StateRow = (Box<[u8]>, Box<[u8]>);

/// `key`, if it can be one of the state.
pub(crate) fn checked_key(key: &[u8]) -> Result<&[u8], StorageError> {
    if (1..=MAX_STATE_KEY_BYTES).contains(&key.len()) {
        Ok(key)
    } else {
        Err(StorageError::StateKey { length: key.len() })
    }
}

impl Store {
    /// The rows of the state after the head, in key order, as they are when this is called; read as they are taken.
    pub fn state_rows(&self) -> impl Iterator<Item = Result<StateRow, StorageError>> {
        let slot = lock(&self.shared.tip).state;
        self.rows_of(slot)
    }

    /// Begins to restore a snapshot: forgets the rows of one that was begun before, and notes `progress`, which is the
    /// caller's. Synced.
    pub fn begin_restore(&self, progress: &[u8]) -> Result<(), StorageError> {
        let tip = lock(&self.shared.tip);
        let mut batch = WriteBatch::default();
        let slot = tip.state.other();
        let cleared = self.clear_slot(&mut batch, slot)?;
        batch.put_cf(self.shared.family(Family::Meta)?, KEY_RESTORE, progress);
        self.shared.write_synced("the beginning of a restore", batch)?;
        drop(tip);
        if cleared { self.reclaim(slot) } else { Ok(()) }
    }

    /// Adds rows to the state that is being restored, and replaces the noted progress, in one synced batch. The caller
    /// bounds how many rows come at once.
    pub fn put_restored(&self, rows: &[(Vec<u8>, Vec<u8>)], progress: &[u8]) -> Result<(), StorageError> {
        let tip = lock(&self.shared.tip);
        self.restore_progress()?.ok_or(StorageError::NoRestore)?;
        let family = self.shared.family(tip.state.other().family())?;
        let mut batch = WriteBatch::default();
        for (key, value) in rows {
            batch.put_cf(family, checked_key(key)?, value);
        }
        batch.put_cf(self.shared.family(Family::Meta)?, KEY_RESTORE, progress);
        self.shared.write_synced("rows of a snapshot", batch)
    }

    /// What was last noted of the restore under way; `None` if there is none.
    pub fn restore_progress(&self) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(Family::Meta, KEY_RESTORE)
    }

    /// The rows restored so far, in key order, read as they are taken. None if no restore is under way.
    pub fn restored_rows(&self) -> impl Iterator<Item = Result<StateRow, StorageError>> {
        let slot = lock(&self.shared.tip).state;
        self.rows_of(slot.other())
    }

    /// Takes over the restored state as that after the block at `height`, which becomes the head without being stored
    /// itself: of it there are `header` and `certificate`. The base is one above it. Blocks below, their certificates and
    /// the engine's log up to `height` are removed; headers that were kept below the base stay, with their certificates. The blocks up to
    /// `height` that have changed the validators, and are not stored, come along.
    /// One synced batch; then the old state is removed, or, after a crash, when the store is opened again.
    ///
    /// Refuses a height that is not above the head. The caller has compared the rows with the state root of `header`.
    pub fn finish_restore(
        &self,
        height: Height,
        block_hash: BlockHash,
        header: &[u8],
        certificate: &[u8],
        set_changes: &[(Height, Vec<u8>)],
    ) -> Result<(), StorageError> {
        let shared = &self.shared;
        let mut tip = lock(&shared.tip);
        self.restore_progress()?.ok_or(StorageError::NoRestore)?;
        if let Some(head) = tip.head
            && height <= head.height
        {
            return Err(StorageError::SnapshotBehind { head: head.height, got: height });
        }
        let (head, base, old) = (Head { height, block_hash }, height.next(), tip.state);
        let meta = shared.family(Family::Meta)?;
        let certificates = shared.family(Family::Certificates)?;
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(shared.family(Family::Blocks)?, height_key(Height::ZERO), height_key(base));
        batch.delete_range_cf(certificates, height_key(tip.base), height_key(base));
        batch.delete_range_cf(shared.family(Family::Wal)?, wal_key(Height::ZERO, 0), wal_key(base, 0));
        batch.put_cf(shared.family(Family::Headers)?, height_key(height), header);
        batch.put_cf(certificates, height_key(height), certificate);
        let of_sets = shared.family(Family::SetChanges)?;
        set_changes.iter().for_each(|(height, change)| batch.put_cf(of_sets, height_key(*height), change));
        batch.put_cf(meta, KEY_HEAD, head_value(head));
        batch.put_cf(meta, KEY_BASE, height_key(base));
        batch.put_cf(meta, KEY_STATE, old.other().value());
        batch.delete_cf(meta, KEY_RESTORE);
        shared.write_synced("a restored state", batch)?;
        (tip.head, tip.base, tip.state) = (Some(head), base, old.other());
        self.clear_unused_slot(tip)
    }

    /// Gives up the restore under way, if there is one, and removes its rows. Synced.
    pub fn abandon_restore(&self) -> Result<(), StorageError> {
        let tip = lock(&self.shared.tip);
        let mut batch = WriteBatch::default();
        let slot = tip.state.other();
        let cleared = self.clear_slot(&mut batch, slot)?;
        batch.delete_cf(self.shared.family(Family::Meta)?, KEY_RESTORE);
        self.shared.write_synced("the end of a restore", batch)?;
        drop(tip);
        if cleared { self.reclaim(slot) } else { Ok(()) }
    }

    /// Removes what a crash in [`Self::finish_restore`] left of the state before. For opening.
    pub(crate) fn clear_leftover_state(&self) -> Result<(), StorageError> {
        let tip = lock(&self.shared.tip);
        if self.restore_progress()?.is_some() { Ok(()) } else { self.clear_unused_slot(tip) }
    }

    /// Not synced: what is not removed yet is removed when the store is opened again.
    fn clear_unused_slot(&self, tip: MutexGuard<'_, Tip>) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        let slot = tip.state.other();
        if !self.clear_slot(&mut batch, slot)? {
            return Ok(());
        }
        self.shared.write_unsynced("the removal of an old state", batch)?;
        // Blocks need not wait for what follows.
        drop(tip);
        self.reclaim(slot)
    }

    /// Adds the removal of all rows in `slot` to `batch`; whether there are any.
    fn clear_slot(&self, batch: &mut WriteBatch, slot: Slot) -> Result<bool, StorageError> {
        if self.rows_of(slot).next().transpose()?.is_none() {
            return Ok(false);
        }
        batch.delete_range_cf(self.shared.family(slot.family())?, &[][..], &STATE_END[..]);
        Ok(true)
    }

    /// Gives the space of removed rows back, and with it the tombstone that each later read would have to pass.
    fn reclaim(&self, slot: Slot) -> Result<(), StorageError> {
        let family = self.shared.family(slot.family())?;
        self.shared.db.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
        Ok(())
    }

    fn rows_of(&self, slot: Slot) -> impl Iterator<Item = Result<StateRow, StorageError>> {
        let mut options = ReadOptions::default();
        // The whole state is read once, and would drive everything else out of the cache.
        options.fill_cache(false);
        self.stream(slot.family(), options)
    }
}
