//! The chunks that validators have deposited with this worker, in files: one for each validator and term.
//!
//! ```text
//! HOME/chunks/<validator's account, 64 hex digits>-<term, decimal>.chunks
//! ```
//!
//! Random bytes that are written once and read here and there would be compacted for ever in the database. What a file consists of is
//! [`file`]'s, which of them go is [`gc`]'s. Everything here blocks; whether a validator may have seats is for others to say. One process
//! has the home, by the lock of its database.

mod file;
mod gc;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use lucid_types::id::NodeId;
use lucid_types::policy::Policy;
use lucid_types::storage::{ChunkRange, DepositId, StorageRefusal};

use self::file::{DepositFile, HEADER_BYTES, ReadFault, SLOT_BYTES};
use self::gc::Deposit;

pub use self::file::Owner;

/// What a worker that offers so many bytes of disk may keep in files: that many bytes of chunks, their sums, and a header for each, if every
/// file had no more than one. It is less than a hundredth more than is offered.
pub const fn bytes_for(disk_bytes: u64) -> u64 {
    let chunks = disk_bytes / Policy::CHUNK_BYTES;
    chunks.saturating_mul(SLOT_BYTES + HEADER_BYTES)
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The folder cannot be made or read.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// How much a validator may deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Chunks of the deposit: those of its seats.
    pub chunks: u32,
    /// Bytes of all files together.
    pub bytes: u64,
    /// Bytes that stay free on the file system.
    pub min_free_bytes: u64,
}

/// A validator's account, and the settlement in which the term begins.
type Key = (NodeId, u64);
/// `None` once it is removed.
type Shared = Arc<RwLock<Option<DepositFile<File>>>>;

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ChunkStore {
    dir: Arc<PathBuf>,
    owner: Owner,
    files: Arc<Mutex<Files>>,
    /// Held while a file is made or removed: its name is one file's at a time. Taken before any other lock.
    names: Arc<Mutex<()>>,
}

#[derive(Debug, Default)]
struct Files {
    open: BTreeMap<Key, Shared>,
    /// Of all files, those included that are being written.
    bytes: u64,
}

impl ChunkStore {
    /// Opens the store in a folder, and makes that if it is not there. Files that are none of this worker's are removed, and what a crash
    /// has left of a chunk.
    ///
    /// # Errors
    /// The folder cannot be made or listed. A file that cannot be read is left alone, with a warning.
    pub fn open(dir: &Path, owner: Owner) -> Result<Self, ChunkError> {
        let io = |operation| move |source| ChunkError::Io { operation, path: dir.to_path_buf(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io("make"))?;
        let mut files = Files::default();
        for entry in fs::read_dir(dir).map_err(io("list"))? {
            let path = entry.map_err(io("list"))?.path();
            match open_file(&path, &owner) {
                Ok(Some((key, file))) => {
                    files.bytes = files.bytes.saturating_add(file.bytes());
                    files.open.insert(key, Arc::new(RwLock::new(Some(file))));
                }
                Ok(None) => {
                    tracing::warn!(path = %path.display(), "not a file of this worker's chunks: it is removed");
                    if let Err(error) = fs::remove_file(&path) {
                        tracing::warn!(path = %path.display(), %error, "cannot remove it");
                    }
                }
                Err(error) => tracing::warn!(path = %path.display(), %error, "a file of chunks cannot be read"),
            }
        }
        Ok(Self { dir: Arc::new(dir.to_path_buf()), owner, files: Arc::new(Mutex::new(files)), names: Arc::default() })
    }

    /// How many chunks of a deposit are there.
    pub fn held(&self, validator: &NodeId, deposit: &DepositId) -> u32 {
        self.find(validator, deposit).and_then(|file| look(&file, DepositFile::count)).unwrap_or(0)
    }

    /// Stores the chunk of [`lucid_types::storage::CHUNK_BYTES`] at a place, which must be the next, and returns how many are there with it.
    /// It is durable by then. The chunks of another secret of the same validator give way to the first of a new one.
    ///
    /// # Errors
    /// Nothing was stored.
    pub fn deposit(
        &self,
        validator: &NodeId,
        deposit: &DepositId,
        index: u32,
        chunk: &[u8],
        room: Room,
    ) -> Result<u32, StorageRefusal> {
        if index >= room.chunks {
            return Err(StorageRefusal::NotDrawn);
        }
        let found = self.find(validator, deposit);
        let next = found.as_ref().and_then(|file| look(file, DepositFile::count)).unwrap_or(0);
        if found.is_some() && index.checked_add(1) == Some(next) {
            return Ok(next);
        }
        if index != next {
            return Err(StorageRefusal::OutOfOrder { next });
        }
        self.check_free(room.min_free_bytes)?;
        let file = match found {
            Some(file) => file,
            None => self.create(validator, deposit, room)?,
        };
        let mut file = file.write().unwrap_or_else(PoisonError::into_inner);
        // It may have been removed, or shortened, since it was found.
        let Some(file) = file.as_mut() else { return Err(StorageRefusal::OutOfOrder { next: 0 }) };
        if file.count() != index {
            return Err(StorageRefusal::OutOfOrder { next: file.count() });
        }
        self.take(SLOT_BYTES, room)?;
        file.append(chunk).map_err(|error| {
            tracing::warn!(validator = %validator.short(), %error, "a chunk cannot be stored");
            self.lock().give(SLOT_BYTES);
            StorageRefusal::Full
        })?;
        Ok(file.count())
    }

    /// The bytes of ranges of `length` each, one after the other.
    ///
    /// # Errors
    /// Not all of them can be had. A damaged chunk is cut off, with those after it.
    pub fn read(
        &self,
        validator: &NodeId,
        deposit: &DepositId,
        ranges: &[ChunkRange],
        length: u32,
    ) -> Result<Vec<u8>, StorageRefusal> {
        let file = self.find(validator, deposit).ok_or(StorageRefusal::Unknown)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (index, source) = match look(&file, |file| file.read(ranges, length)) {
            Some(Ok(bytes)) => return Ok(bytes),
            None | Some(Err(ReadFault::Unknown)) => return Err(StorageRefusal::Unknown),
            Some(Err(ReadFault::Damaged { index, source })) => (index, source),
        };
        tracing::error!(
            validator = %validator.short(), term = deposit.term, index, error = ?source,
            "a chunk is not what was written: the disk may be failing. It is cut off, with those after it, and deposited anew"
        );
        self.cut(&file, index);
        Err(StorageRefusal::Damaged { index })
    }

    /// Removes what may not stay: of each deposit, by validator and term, all but so many chunks, and beyond `most_bytes` the last ones of
    /// the newest terms.
    pub fn collect(&self, keep: impl Fn(&NodeId, u64) -> Option<u32>, most_bytes: u64) {
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let open = self.lock().open.clone();
        let of = |(&(validator, term), file): (&Key, &Shared)| {
            Some(Deposit { validator, term, chunks: look(file, DepositFile::count)? })
        };
        let deposits: Vec<_> = open.iter().filter_map(of).collect();
        for (Deposit { validator, term, .. }, left) in gc::excess(&deposits, keep, most_bytes) {
            let key = (validator, term);
            match (left, open.get(&key)) {
                (Some(chunks), Some(file)) => self.cut(file, chunks),
                _ => self.remove(&key),
            }
        }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Reads every chunk, and returns those that are not what was written: validator, term, place.
    pub fn check(&self) -> Vec<(NodeId, u64, u32)> {
        let open = self.lock().open.clone();
        let damaged = |(&(validator, term), file): (&Key, &Shared)| -> Vec<_> {
            look(file, |file| file.damaged().map(|index| (validator, term, index)).collect()).unwrap_or_default()
        };
        open.iter().flat_map(damaged).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of a deposit; `None` if there is none, or one of another secret.
    fn find(&self, validator: &NodeId, deposit: &DepositId) -> Option<Shared> {
        let file = Arc::clone(self.lock().open.get(&(*validator, deposit.term))?);
        look(&file, |file| *file.tag() == deposit.tag)?.then_some(file)
    }

    fn path(&self, (validator, term): &Key) -> PathBuf {
        self.dir.join(format!("{validator}-{term}.chunks"))
    }

    /// Room for so many bytes more.
    fn take(&self, bytes: u64, room: Room) -> Result<(), StorageRefusal> {
        let mut files = self.lock();
        let all = files.bytes.saturating_add(bytes);
        if all > room.bytes {
            return Err(StorageRefusal::Full);
        }
        files.bytes = all;
        Ok(())
    }

    fn check_free(&self, min_free_bytes: u64) -> Result<(), StorageRefusal> {
        let stat = nix::sys::statvfs::statvfs(self.dir.as_path()).map_err(|error| {
            tracing::warn!(path = %self.dir.display(), %error, "cannot see how much room is left");
            StorageRefusal::Full
        })?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size());
        if free < min_free_bytes.saturating_add(SLOT_BYTES) { Err(StorageRefusal::Full) } else { Ok(()) }
    }

    /// A new file, in place of one of another secret.
    fn create(&self, validator: &NodeId, deposit: &DepositId, room: Room) -> Result<Shared, StorageRefusal> {
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = self.find(validator, deposit) {
            return Ok(made);
        }
        let key = (*validator, deposit.term);
        self.remove(&key);
        self.take(HEADER_BYTES, room)?;
        let path = self.path(&key);
        let made = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path);
        let made = made.and_then(|disk| DepositFile::create(disk, &self.owner, validator, deposit));
        let made = made.and_then(|file| File::open(self.dir.as_path())?.sync_all().map(|()| file));
        match made {
            Ok(file) => {
                let file = Arc::new(RwLock::new(Some(file)));
                self.lock().open.insert(key, Arc::clone(&file));
                Ok(file)
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a file of chunks cannot be made");
                self.lock().give(HEADER_BYTES);
                let _half = fs::remove_file(&path);
                Err(StorageRefusal::Full)
            }
        }
    }

    /// Leaves so many chunks of a file.
    fn cut(&self, file: &Shared, chunks: u32) {
        let mut file = file.write().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = file.as_mut() else { return };
        let before = file.bytes();
        if let Err(error) = file.cut(chunks) {
            tracing::warn!(%error, "a file of chunks cannot be shortened");
        }
        self.lock().give(before.saturating_sub(file.bytes()));
    }

    /// Removes a file, once nobody reads or writes it.
    fn remove(&self, key: &Key) {
        let Some(file) = self.lock().open.remove(key) else { return };
        let path = self.path(key);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "a file of chunks cannot be removed");
        }
        let removed = file.write().unwrap_or_else(PoisonError::into_inner).take();
        self.lock().give(removed.map_or(0, |file| file.bytes()));
    }
}

impl Files {
    fn give(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// What a file says, if it has not been removed.
fn look<T>(file: &Shared, read: impl FnOnce(&DepositFile<File>) -> T) -> Option<T> {
    file.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(read)
}

/// A file of chunks by its name and header; `None` if it is not one of this owner's.
fn open_file(path: &Path, owner: &Owner) -> io::Result<Option<(Key, DepositFile<File>)>> {
    let Some((validator, term)) = path.file_name().and_then(|name| key_of(name.to_str()?)) else { return Ok(None) };
    let disk = OpenOptions::new().read(true).write(true).open(path)?;
    Ok(DepositFile::open(disk, owner, &validator, term)?.map(|file| ((validator, term), file)))
}

/// Which deposit has a file of this name.
fn key_of(name: &str) -> Option<Key> {
    let (validator, term) = name.strip_suffix(".chunks")?.split_once('-')?;
    let key: Key = (validator.parse().ok()?, term.parse().ok()?);
    // Each has one name.
    (format!("{}-{}", key.0, key.1) == name.strip_suffix(".chunks")?).then_some(key)
}
