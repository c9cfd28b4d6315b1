//! Mending a salvaged store, by a caller who knows what its entries mean.
//!
//! None of these calls need survive a crash: the store gets its place when it is mended.

use std::path::Path;

use lucid_types::id::NetworkId;
use lucid_types::time::{Height, UnixMillis};
use rocksdb::{DB, IteratorMode, WriteBatch};

use crate::backup::file_error;
use crate::error::{MaintenanceError, OpenError, StorageError};
use crate::files::{is_free, rename_synced};
use crate::layout::{
    FORMAT_VERSION, Family, Head, HistoryKind, KEY_BASE, KEY_FORMAT, KEY_HEAD, KEY_NETWORK, KEY_RESTORE, KEY_STATE,
    STATE_END, Slot, expiry_key, head_value, height_key, history_key, parse_head, parse_height, wal_key,
};
use crate::lock::StoreLock;
use crate::open::{damaged, open_to_write, settings};
use crate::seal::{self, Seal};
use crate::state::checked_key;
use crate::store::{Opening, Store, Tip, lock, read_error};
use crate::verify::check_folder;

/// A history record that expires, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// Its kind.
    pub kind: HistoryKind,
    /// Its key.
    pub key: Vec<u8>,
    /// When it expires.
    pub expires: UnixMillis,
}

/// Bytes of rows that are written at once.
const BATCH_BYTES: usize = 1 << 20;

impl Store {
    /// Opens a store that [`crate::salvage`] made, whatever it lacks. Without a head, or a base, it has blocks and rows, but no
    /// chain, until [`Self::set_chain`] or [`Self::forget_chain`]. It becomes one of `network` if it does not say whose it is.
    ///
    /// # Errors
    /// It is in use, of another network, or does not open.
    pub fn open_salvaged(path: &Path, network: NetworkId) -> Result<Self, OpenError> {
        let lock = StoreLock::take(path)?;
        let seal_error = |source| OpenError::Seal { path: path.to_path_buf(), source };
        seal::remove(path).map_err(seal_error)?;
        let db = open_to_write(path, &settings())?;
        let tip = complete(&db, path, network)?;
        let seal = Seal::of_open(path).map_err(seal_error)?;
        Ok(Self::of(path, Opening { db, tip, seal: Some(seal), lock, syncs: true }))
    }

    /// Adds records to the order in which they expire.
    pub fn index_history(&self, records: &[Expiring]) -> Result<(), StorageError> {
        let index = self.shared.family(Family::Expiry)?;
        let mut batch = WriteBatch::default();
        for Expiring { kind, key, expires } in records {
            batch.put_cf(index, expiry_key(*expires, &history_key(*kind, key)), []);
            if batch.size_in_bytes() >= BATCH_BYTES {
                self.shared.write_synced("the order of expiry", std::mem::take(&mut batch))?;
            }
        }
        self.shared.write_synced("the order of expiry", batch)
    }

    /// Says which block is the head, and from which on all blocks are there. What does not go with it is removed: other blocks
    /// and headers, certificates, changes of the validators, the engine's log up to the head, and a snapshot that was being fetched. Synced.
    ///
    /// The caller knows that the rows are the state after the head.
    pub fn set_chain(&self, head: Head, base: Height) -> Result<(), StorageError> {
        let shared = &self.shared;
        let mut tip = lock(&shared.tip);
        let mut batch = WriteBatch::default();
        let is_block = |height: Height| (base..=head.height).contains(&height);
        for family in [Family::Blocks, Family::Headers, Family::Certificates, Family::SetChanges] {
            let opened = shared.family(family)?;
            for entry in shared.db.iterator_cf(opened, IteratorMode::Start) {
                let (key, _) = entry.map_err(|source| read_error(family, source))?;
                let Some(height) = parse_height(&key) else { continue };
                let is_kept = match family {
                    Family::Blocks => is_block(height),
                    Family::Headers => !is_block(height) && height <= head.height,
                    Family::SetChanges => height <= head.height,
                    _ => is_block(height) || (height <= head.height && self.header_of(height)?.is_some()),
                };
                if !is_kept {
                    batch.delete_cf(opened, &key);
                }
            }
        }
        batch.delete_range_cf(shared.family(Family::Wal)?, wal_key(Height::ZERO, 0), wal_key(head.height.next(), 0));
        batch.delete_range_cf(shared.family(tip.state.other().family())?, &[][..], &STATE_END[..]);
        let meta = shared.family(Family::Meta)?;
        batch.put_cf(meta, KEY_HEAD, head_value(head));
        batch.put_cf(meta, KEY_BASE, height_key(base));
        batch.put_cf(meta, KEY_STATE, tip.state.value());
        batch.delete_cf(meta, KEY_RESTORE);
        shared.write_synced("the chain of a repaired store", batch)?;
        (tip.head, tip.base) = (Some(head), base);
        Ok(())
    }

    /// Removes everything of the chain: blocks, headers, certificates, changes of the validators, the state, the engine's log. What the node itself
    /// produced, history and peers stay. Synced.
    pub fn forget_chain(&self) -> Result<(), StorageError> {
        let shared = &self.shared;
        let mut tip = lock(&shared.tip);
        let mut batch = WriteBatch::default();
        for family in [Family::Blocks, Family::Headers, Family::Certificates, Family::SetChanges] {
            batch.delete_range_cf(shared.family(family)?, height_key(Height::ZERO), height_key(Height::new(u64::MAX)));
        }
        for family in [Family::StateA, Family::StateB] {
            batch.delete_range_cf(shared.family(family)?, &[][..], &STATE_END[..]);
        }
        let log_end = wal_key(Height::new(u64::MAX), u64::MAX);
        batch.delete_range_cf(shared.family(Family::Wal)?, wal_key(Height::ZERO, 0), log_end);
        let meta = shared.family(Family::Meta)?;
        let first = Tip { head: None, base: Height::new(1), state: Slot::A };
        batch.delete_cf(meta, KEY_HEAD);
        batch.delete_cf(meta, KEY_RESTORE);
        batch.put_cf(meta, KEY_BASE, height_key(first.base));
        batch.put_cf(meta, KEY_STATE, first.state.value());
        shared.write_synced("the removal of the chain", batch)?;
        *tip = first;
        Ok(())
    }

    /// Replaces the rows of the state.
    pub fn replace_state(&self, rows: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<(), StorageError> {
        let shared = &self.shared;
        let tip = lock(&shared.tip);
        let family = shared.family(tip.state.family())?;
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(family, &[][..], &STATE_END[..]);
        for (key, value) in rows {
            batch.put_cf(family, checked_key(&key)?, value);
            if batch.size_in_bytes() >= BATCH_BYTES {
                shared.write_unsynced("a state", std::mem::take(&mut batch))?;
            }
        }
        shared.write_synced("a state", batch)
    }

    /// Replaces a block's bytes: for tests of what notices it.
    #[doc(hidden)]
    pub fn replace_block(&self, height: Height, block: &[u8]) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.shared.family(Family::Blocks)?, height_key(height), block);
        self.shared.write_synced("another block", batch)
    }

    /// Keeps the header of a block that is going to be removed, whose certificate is there.
    pub fn put_header(&self, height: Height, header: &[u8]) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.shared.family(Family::Headers)?, height_key(height), header);
        self.shared.write_synced("a header", batch)
    }

    /// Writes and removes changes of the validators.
    pub fn mend_set_changes(&self, put: &[(Height, Vec<u8>)], removed: &[Height]) -> Result<(), StorageError> {
        let family = self.shared.family(Family::SetChanges)?;
        let mut batch = WriteBatch::default();
        removed.iter().for_each(|height| batch.delete_cf(family, height_key(*height)));
        put.iter().for_each(|(height, change)| batch.put_cf(family, height_key(*height), change));
        self.shared.write_synced("changes of the validators", batch)
    }

    /// Removes a header that was kept, with its certificate.
    pub fn remove_header(&self, height: Height) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.shared.family(Family::Headers)?, height_key(height));
        batch.delete_cf(self.shared.family(Family::Certificates)?, height_key(height));
        self.shared.write_synced("the removal of a header", batch)
    }
}

/// Reads what a salvaged store says of itself, and adds what every store must say.
fn complete(db: &DB, path: &Path, network: NetworkId) -> Result<Tip, OpenError> {
    let failed = |source: rocksdb::Error| OpenError::Open { path: path.to_path_buf(), source: source.into() };
    let meta = db.cf_handle(Family::Meta.name()).ok_or_else(|| damaged(path, "it has no family meta"))?;
    let get = |key| db.get_cf(meta, key).map_err(failed);
    let found = get(KEY_NETWORK)?.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(NetworkId::from_bytes);
    if let Some(found) = found
        && found != network
    {
        return Err(OpenError::WrongNetwork { path: path.to_path_buf(), found, expected: network });
    }
    let head = get(KEY_HEAD)?.and_then(|head| parse_head(&head));
    let base = get(KEY_BASE)?.and_then(|base| parse_height(&base));
    let state = get(KEY_STATE)?.and_then(|state| Slot::parse(&state)).unwrap_or(Slot::A);
    let (head, base) = match (head, base) {
        (Some(head), Some(base)) => (Some(head), base),
        _ => (None, Height::new(1)),
    };
    let mut batch = WriteBatch::default();
    batch.put_cf(meta, KEY_FORMAT, FORMAT_VERSION.to_be_bytes());
    batch.put_cf(meta, KEY_NETWORK, network.as_bytes());
    batch.put_cf(meta, KEY_BASE, height_key(base));
    batch.put_cf(meta, KEY_STATE, state.value());
    if head.is_none() {
        batch.delete_cf(meta, KEY_HEAD);
    }
    db.write(batch).map_err(failed)?;
    Ok(Tip { head, base, state })
}

/// Keeps a store from being opened while it is there.
#[must_use]
#[derive(Debug)]
pub struct StoreGuard {
    _lock: StoreLock,
}

/// Takes the lock of the store in the folder `path`, which is not read.
///
/// # Errors
/// There is no such folder, or the store is in use: the error says by which process.
pub fn lock_store(path: &Path) -> Result<StoreGuard, MaintenanceError> {
    check_folder(path)?;
    Ok(StoreGuard { _lock: StoreLock::take(path)? })
}

/// Gives the closed store in the folder `path` another name, `to`, which must be free.
///
/// # Errors
/// There is no such folder, the store is in use, or something stands at `to`.
pub fn set_aside(path: &Path, to: &Path) -> Result<(), MaintenanceError> {
    check_folder(path)?;
    let _lock = StoreLock::take(path)?;
    if !is_free(to).map_err(file_error("read", to))? {
        return Err(MaintenanceError::Exists { path: to.to_path_buf() });
    }
    rename_synced(path, to).map_err(file_error("rename the folder", path))
}
