//! The open store: its shared insides, and everything that reads what blocks left behind.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lucid_types::id::{BlockHash, NetworkId};
use lucid_types::time::{Epoch, Height};
use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions};

use crate::error::{OpenError, StorageError};
use crate::layout::{Family, KEY_STATE, epoch_key, height_key, parse_epoch, parse_height};
use crate::lock::StoreLock;
use crate::open;

/// The last committed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub block_hash: BlockHash,
}

/// A committed block with its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    /// The block's height.
    pub height: Height,
    /// The block's bytes.
    pub block: Vec<u8>,
    /// The certificate's bytes.
    pub certificate: Vec<u8>,
}

/// An open store. Clones share it; it closes, and another process can open it, when the last clone and the [`Wal`]
/// are dropped.
///
/// [`Wal`]: crate::Wal
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    // Fields are dropped in this order: the database closes before the lock is released.
    pub(crate) db: DB,
    /// The tip. Held locked while a block is committed, so that two commits cannot both follow the same tip.
    pub(crate) tip: Mutex<Option<Tip>>,
    /// Held while `put_new` looks and then writes.
    pub(crate) own: Mutex<()>,
    /// Whether a [`crate::Wal`] exists.
    pub(crate) wal_taken: AtomicBool,
    _lock: StoreLock,
}

impl Store {
    /// Opens the store in the folder `path`, and makes it if there is none. A new store is bound to `network` for ever.
    pub fn open(path: &Path, network: NetworkId) -> Result<Self, OpenError> {
        Self::open_with(path, network, &open::settings())
    }

    pub(crate) fn open_with(path: &Path, network: NetworkId, settings: &Options) -> Result<Self, OpenError> {
        let opened = open::open(path, network, settings)?;
        let shared = Shared {
            db: opened.db,
            tip: Mutex::new(opened.tip),
            own: Mutex::new(()),
            wal_taken: AtomicBool::new(false),
            _lock: opened.lock,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The last committed block; `None` before block 1.
    pub fn tip(&self) -> Option<Tip> {
        *lock(&self.shared.tip)
    }

    /// The bytes of the block at `height`, if it is committed.
    pub fn block(&self, height: Height) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(Family::Blocks, &height_key(height))
    }

    /// The bytes of the certificate that this node stored with the block at `height`.
    pub fn certificate(&self, height: Height) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(Family::Certificates, &height_key(height))
    }

    /// Committed blocks with their certificates from `heights.start()` on, in order: up to `heights.end()` or the tip,
    /// and no more than fit into `max_bytes` together; the first comes whatever its size.
    pub fn blocks(&self, heights: RangeInclusive<Height>, max_bytes: usize) -> Result<Vec<StoredBlock>, StorageError> {
        let mut blocks = Vec::new();
        let mut bytes = 0_usize;
        let first = height_key(*heights.start());
        for entry in self
            .shared
            .db
            .iterator_cf(self.shared.family(Family::Blocks)?, IteratorMode::From(&first, Direction::Forward))
        {
            let (key, block) = entry.map_err(|source| read_error(Family::Blocks, source))?;
            let height = parse_height(&key).ok_or(malformed(Family::Blocks))?;
            if height > *heights.end() {
                break;
            }
            let certificate = self.certificate(height)?.ok_or(malformed(Family::Certificates))?;
            bytes = bytes.saturating_add(block.len()).saturating_add(certificate.len());
            if bytes > max_bytes && !blocks.is_empty() {
                break;
            }
            blocks.push(StoredBlock { height, block: block.into_vec(), certificate });
        }
        Ok(blocks)
    }

    /// The bytes of the state after the tip; `None` before block 1.
    pub fn state(&self) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(Family::State, KEY_STATE)
    }

    /// The row of `epoch`, if it was written and not pruned.
    pub fn row(&self, epoch: Epoch) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(Family::Rows, &epoch_key(epoch))
    }

    /// The rows of `epochs` that exist, in order.
    pub fn rows(&self, epochs: RangeInclusive<Epoch>) -> Result<Vec<(Epoch, Vec<u8>)>, StorageError> {
        let mut rows = Vec::new();
        let first = epoch_key(*epochs.start());
        let from = IteratorMode::From(&first, Direction::Forward);
        for entry in self.shared.db.iterator_cf(self.shared.family(Family::Rows)?, from) {
            let (key, row) = entry.map_err(|source| read_error(Family::Rows, source))?;
            let epoch = parse_epoch(&key).ok_or(malformed(Family::Rows))?;
            if epoch > *epochs.end() {
                break;
            }
            rows.push((epoch, row.into_vec()));
        }
        Ok(rows)
    }

    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let shared = &self.shared;
        shared.db.get_cf(shared.family(family)?, key).map_err(|source| read_error(family, source))
    }

    /// Every entry of `family` whose key starts with `prefix`, in key order.
    pub(crate) fn scan_prefix(&self, family: Family, prefix: &[u8]) -> Result<Vec<Entry>, StorageError> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(prefix));
        let entries = self.shared.db.iterator_cf_opt(self.shared.family(family)?, options, IteratorMode::Start);
        entries.map(|entry| entry.map_err(|source| read_error(family, source))).collect()
    }
}

/// Key and value.
pub(crate) type Entry = (Box<[u8]>, Box<[u8]>);

impl Shared {
    pub(crate) fn family(&self, family: Family) -> Result<&ColumnFamily, StorageError> {
        // Opening made all of them; a missing one is reported, not a reason to end the process.
        self.db.cf_handle(family.name()).ok_or(malformed(family))
    }

    /// Writes `batch` whole or not at all, and returns when the disk has it.
    pub(crate) fn write_synced(&self, what: &'static str, batch: WriteBatch) -> Result<(), StorageError> {
        self.db.write_opt(batch, &synced()).map_err(|source| StorageError::Write { what, source: source.into() })
    }
}

/// Write options under which a returned write is on the disk.
pub(crate) fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

/// Locks; the values behind these locks are valid even if a holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn read_error(family: Family, source: rocksdb::Error) -> StorageError {
    StorageError::Read { family: family.name(), source: source.into() }
}

pub(crate) const fn malformed(family: Family) -> StorageError {
    StorageError::Malformed { family: family.name() }
}
