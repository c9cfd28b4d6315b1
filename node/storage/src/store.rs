//! The open store: its shared insides, and how all parts read and write.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lucid_types::id::NetworkId;
use lucid_types::time::Height;
use rocksdb::{ColumnFamily, DB, IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions};

use crate::error::{OpenError, StorageError};
use crate::layout::{Family, Head, Slot};
use crate::lock::StoreLock;
use crate::open::{self, Opened};
use crate::seal::Seal;

/// An open store. Clones share it; it closes, and another process can open it, when the last clone and the [`Wal`]
/// are dropped.
///
/// [`Wal`]: crate::Wal
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    // Fields are dropped in this order: the database closes before it is sealed and the lock released.
    pub(crate) db: DB,
    /// Held locked while a block is committed, so that two commits cannot both follow the same head. May be held when
    /// `history` is locked, not the other way round.
    pub(crate) tip: Mutex<Tip>,
    /// Held while history is written, so that no record is replaced while it expires.
    pub(crate) history: Mutex<()>,
    /// Held while `put_new` looks and then writes.
    pub(crate) own: Mutex<()>,
    /// Held while a backup is made.
    pub(crate) backup: Mutex<()>,
    /// Whether a [`crate::Wal`] exists.
    pub(crate) wal_taken: AtomicBool,
    pub(crate) path: PathBuf,
    /// What writes that are synced do; a benchmark leaves the disk out.
    syncs: bool,
    /// None if the store was opened to read.
    _seal: Option<Seal>,
    _lock: StoreLock,
}

/// What an open store is made of.
pub(crate) struct Opening {
    pub(crate) db: DB,
    pub(crate) tip: Tip,
    /// None if it is only read.
    pub(crate) seal: Option<Seal>,
    pub(crate) lock: StoreLock,
    /// Whether writes that are synced are.
    pub(crate) syncs: bool,
}

/// What `meta` says of blocks and state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tip {
    /// The last committed block.
    pub(crate) head: Option<Head>,
    /// The height from which on all blocks up to the head are stored.
    pub(crate) base: Height,
    /// Where the state after the head lies.
    pub(crate) state: Slot,
}

impl Store {
    /// Opens the store in the folder `path`, and makes it if there is none. A new store is bound to `network` for ever.
    pub fn open(path: &Path, network: NetworkId) -> Result<Self, OpenError> {
        Self::open_with(path, network, &open::settings(), true)
    }

    /// The same without any sync, to measure what is left then. Loss of power undoes what it wrote.
    #[doc(hidden)]
    pub fn open_unsynced(path: &Path, network: NetworkId) -> Result<Self, OpenError> {
        Self::open_with(path, network, &open::settings(), false)
    }

    pub(crate) fn open_with(
        path: &Path,
        network: NetworkId,
        settings: &Options,
        syncs: bool,
    ) -> Result<Self, OpenError> {
        let Opened { db, seal, lock, tip } = open::open(path, network, settings)?;
        let store = Self::of(path, Opening { db, tip, seal: Some(seal), lock, syncs });
        store.clear_leftover_state().map_err(|source| OpenError::CleanUp { path: path.to_path_buf(), source })?;
        Ok(store)
    }

    pub(crate) fn of(path: &Path, opening: Opening) -> Self {
        let shared = Shared {
            db: opening.db,
            tip: Mutex::new(opening.tip),
            history: Mutex::new(()),
            own: Mutex::new(()),
            backup: Mutex::new(()),
            wal_taken: AtomicBool::new(false),
            path: path.to_path_buf(),
            syncs: opening.syncs,
            _seal: opening.seal,
            _lock: opening.lock,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The last committed block, or that of the last restored snapshot; `None` before block 1.
    pub fn head(&self) -> Option<Head> {
        lock(&self.shared.tip).head
    }

    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let shared = &self.shared;
        shared.db.get_cf(shared.family(family)?, key).map_err(|source| read_error(family, source))
    }

    /// Every entry of `family` whose key starts with `prefix`, in key order.
    pub(crate) fn scan_prefix(&self, family: Family, prefix: &[u8]) -> Result<Vec<Entry>, StorageError> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(prefix));
        self.stream(family, options).collect()
    }

    /// The entries of `family` within the bounds of `options`, in key order, as they are now; read as they are taken.
    pub(crate) fn stream(
        &self,
        family: Family,
        options: ReadOptions,
    ) -> impl Iterator<Item = Result<Entry, StorageError>> {
        let opened = self.shared.family(family);
        let (entries, failed) = match opened {
            Ok(opened) => (Some(self.shared.db.iterator_cf_opt(opened, options, IteratorMode::Start)), None),
            Err(error) => (None, Some(Err(error))),
        };
        let entries =
            entries.into_iter().flatten().map(move |entry| entry.map_err(|source| read_error(family, source)));
        failed.into_iter().chain(entries)
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
        let mut options = WriteOptions::default();
        options.set_sync(self.syncs);
        self.db.write_opt(batch, &options).map_err(|source| StorageError::Write { what, source: source.into() })
    }

    /// Writes `batch` whole or not at all; loss of power may undo it.
    pub(crate) fn write_unsynced(&self, what: &'static str, batch: WriteBatch) -> Result<(), StorageError> {
        self.db.write(batch).map_err(|source| StorageError::Write { what, source: source.into() })
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
