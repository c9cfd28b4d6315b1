//! The open store: its shared insides, and everything that reads what blocks left behind.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lucid_types::id::NetworkId;
use lucid_types::time::{Epoch, Height};
use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, Options, ReadOptions, WriteBatch};

use crate::error::{OpenError, StorageError};
use crate::layout::{Family, Head, KEY_STATE, epoch_key, height_key, parse_epoch, parse_height};
use crate::lock::StoreLock;
use crate::open::{self, synced};

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
    /// The head. Held locked while a block is committed, so that two commits cannot both follow the same head.
    pub(crate) head: Mutex<Option<Head>>,
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
            head: Mutex::new(opened.head),
            own: Mutex::new(()),
            wal_taken: AtomicBool::new(false),
            _lock: opened.lock,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The last committed block; `None` before block 1.
    pub fn head(&self) -> Option<Head> {
        *lock(&self.shared.head)
    }

    /// The bytes of the block at `height`, if it is committed.
    pub fn block(&self, height: Height) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(Family::Blocks, &height_key(height))
    }

    /// The bytes of the certificate that this node stored with the block at `height`.
    pub fn certificate(&self, height: Height) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(Family::Certificates, &height_key(height))
    }

    /// Committed blocks with their certificates from a height on, in order, read as they are taken.
    pub fn blocks(&self, from: Height) -> impl Iterator<Item = Result<StoredBlock, StorageError>> {
        let first = height_key(from);
        let family = self.shared.family(Family::Blocks);
        let entries =
            family.map(|family| self.shared.db.iterator_cf(family, IteratorMode::From(&first, Direction::Forward)));
        let (entries, failed) = match entries {
            Ok(entries) => (Some(entries), None),
            Err(error) => (None, Some(Err(error))),
        };
        let stored = entries.into_iter().flatten().map(|entry| {
            let (key, block) = entry.map_err(|source| read_error(Family::Blocks, source))?;
            let height = parse_height(&key).ok_or(malformed(Family::Blocks))?;
            let certificate = self.certificate(height)?.ok_or(malformed(Family::Certificates))?;
            Ok(StoredBlock { height, block: block.into_vec(), certificate })
        });
        failed.into_iter().chain(stored)
    }

    /// The bytes of the state after the head; `None` before block 1.
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
