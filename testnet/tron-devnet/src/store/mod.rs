//! The network on disk: one append-only file of checksummed records, synced before anybody sees what they hold.
//!
//! ```text
//! chain.log = record*          record = length u32 LE | SHA-256 over (offset u64 LE, payload) | payload
//! ```
//!
//! The first record says how the network began, every other holds steps with the values they changed, so that opening
//! executes nothing. The file comes into being with its first record whole. After that a record is written in one piece and
//! synced before the next begins, so after a crash only the last one can be torn, and it is cut off. A record that does not
//! match while another one follows is damage, and so is a file that does not begin with a whole record: both are refused.
//!
//! One process at a time: it holds a lock beside the file.

mod convert;
mod record;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message;
use sha2::{Digest, Sha256};

use crate::chain::change::Change;
use record::{Batch, Step};

pub(crate) use record::{Beginning, VERSION};

/// Name of the file in the network's folder.
const FILE: &str = "chain.log";
/// Its name until it holds its first record.
const NEW_FILE: &str = "chain.log.new";
/// Locked by the process that uses the folder.
const LOCK: &str = "lock";
const HEADER: u64 = 4 + 32;

/// The network could not be kept on disk.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made.
    #[error("create the folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file in it cannot be opened.
    #[error("open {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Another process uses it.
    #[error("{path} is in use by another process")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be written. What it held before is untouched.
    #[error("write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Another release wrote the file.
    #[error("{path} has records of version {found}, and this release knows version {VERSION}; take another folder")]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// A record does not match its checksum, or says something impossible.
    #[error("{path} is damaged at byte {offset}: {what}; move it away to begin a new network")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// What is wrong.
        what: String,
    },
}

/// A network's folder, for this process alone.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Locked as long as any clone exists.
    _lock: Arc<File>,
}

impl Folder {
    /// Makes the folder if need be, and locks it.
    pub(crate) fn lock(path: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(path).map_err(|source| StoreError::Folder { path: path.to_owned(), source })?;
        let name = path.join(LOCK);
        let failed = |source| StoreError::Open { path: name.clone(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&name).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: Arc::new(file) }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

/// The open file, at its end.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    path: PathBuf,
    end: u64,
    _folder: Folder,
}

/// A network that was kept.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) log: Log,
    pub(crate) beginning: Beginning,
    pub(crate) changes: Vec<Change>,
}

impl Log {
    /// Begins a network in a folder that holds none.
    pub(crate) fn begin(folder: &Folder, beginning: &Beginning) -> Result<Self, StoreError> {
        let new = folder.path.join(NEW_FILE);
        let failed = |source| StoreError::Write { path: new.clone(), source };
        let record = record(0, vec![Step::from_beginning(beginning)]).map_err(failed)?;
        let mut file = File::create(&new).map_err(failed)?;
        file.write_all(&record).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&new, folder.path.join(FILE)).map_err(failed)?;
        File::open(&folder.path).and_then(|names| names.sync_all()).map_err(failed)?;
        let mut log = Self::file(folder)?;
        log.end = len(&record);
        Ok(log)
    }

    /// Reads the network that a folder holds; none if it holds none.
    pub(crate) fn open(folder: &Folder) -> Result<Option<Found>, StoreError> {
        let mut log = match Self::file(folder) {
            Err(StoreError::Open { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
            log => log?,
        };
        let (beginning, changes) = log.read_all()?;
        Ok(Some(Found { log, beginning, changes }))
    }

    fn file(folder: &Folder) -> Result<Self, StoreError> {
        let path = folder.path.join(FILE);
        match OpenOptions::new().read(true).append(true).open(&path) {
            Ok(file) => Ok(Self { file, path, end: 0, _folder: folder.clone() }),
            Err(source) => Err(StoreError::Open { path, source }),
        }
    }

    fn read_all(&mut self) -> Result<(Beginning, Vec<Change>), StoreError> {
        let length = self.file.metadata().map_err(|e| self.read_error(e))?.len();
        let reading = self.file.try_clone().map_err(|e| self.read_error(e))?;
        let mut reader = BufReader::with_capacity(1 << 20, reading);
        let Some((payload, next)) = self.read_record(&mut reader, length)? else {
            return Err(self.damage("it does not begin with a whole record".to_owned()));
        };
        let mut steps = self.steps(&payload)?.into_iter().map(Step::into_parts);
        let (Some(Some((Some(beginning), None))), None) = (steps.next(), steps.next()) else {
            return Err(self.damage("its first record is no beginning".to_owned()));
        };
        if beginning.version != VERSION {
            return Err(StoreError::Version { path: self.path.clone(), found: beginning.version });
        }
        self.end = next;
        let mut changes = Vec::new();
        while self.end < length {
            let Some((payload, next)) = self.read_record(&mut reader, length)? else {
                self.check_torn(length)?;
                tracing::warn!(bytes = length.saturating_sub(self.end), "devnet.torn_record_cut_off");
                self.cut()?;
                break;
            };
            for step in self.steps(&payload)? {
                let Some((None, Some(change))) = step.into_parts() else {
                    return Err(self.damage("a record that cannot stand here".to_owned()));
                };
                changes.push(change);
            }
            self.end = next;
        }
        Ok((beginning, changes))
    }

    fn steps(&self, payload: &[u8]) -> Result<Vec<Step>, StoreError> {
        Batch::decode(payload).map(|batch| batch.steps).map_err(|e| self.damage(e.to_string()))
    }

    /// Payload and end of the record at [`Self::end`]; none if there is no whole one.
    fn read_record(&self, reader: &mut impl Read, length: u64) -> Result<Option<(Vec<u8>, u64)>, StoreError> {
        if length.saturating_sub(self.end) < HEADER {
            return Ok(None);
        }
        let (mut size, mut wanted) = ([0; 4], [0; 32]);
        reader.read_exact(&mut size).map_err(|e| self.read_error(e))?;
        reader.read_exact(&mut wanted).map_err(|e| self.read_error(e))?;
        let size = u32::from_le_bytes(size);
        let next = self.end.saturating_add(HEADER).saturating_add(u64::from(size));
        if next > length {
            return Ok(None);
        }
        let mut payload = vec![0; usize::try_from(size).unwrap_or(0)];
        reader.read_exact(&mut payload).map_err(|e| self.read_error(e))?;
        Ok((checksum(self.end, &payload) == wanted).then_some((payload, next)))
    }

    /// What does not match from [`Self::end`] on is the torn end of the file only if no whole record follows it.
    fn check_torn(&mut self, length: u64) -> Result<(), StoreError> {
        let mut rest = Vec::new();
        self.file.seek(SeekFrom::Start(self.end)).map_err(|e| self.read_error(e))?;
        self.file.read_to_end(&mut rest).map_err(|e| self.read_error(e))?;
        let mut offset = self.end;
        let mut left = rest.as_slice();
        while let Some((size, tail)) = left.split_first_chunk::<4>() {
            let payload_end = usize::try_from(u32::from_le_bytes(*size)).unwrap_or(usize::MAX).saturating_add(32);
            // Few places look like a record, so that few checksums need to be made.
            if let Some((wanted, payload)) = tail.get(..payload_end).and_then(<[u8]>::split_first_chunk::<32>)
                && Batch::decode(payload).is_ok()
                && checksum(offset, payload) == *wanted
            {
                return Err(self.damage(format!("a wrong checksum, {} bytes before the end", length - self.end)));
            }
            left = left.get(1..).unwrap_or_default();
            offset = offset.saturating_add(1);
        }
        Ok(())
    }

    /// Writes steps, and returns when they are on the disk.
    pub(crate) fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let steps = changes.iter().map(Step::from_change).collect();
        let bytes = record(self.end, steps).map_err(|e| self.write_error(e))?;
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // What was half written must not stand before the next record.
            drop(self.cut());
            return Err(self.write_error(source));
        }
        self.end = self.end.saturating_add(len(&bytes));
        Ok(())
    }

    fn cut(&mut self) -> Result<(), StoreError> {
        self.file.set_len(self.end).and_then(|()| self.file.sync_data()).map_err(|e| self.write_error(e))
    }

    fn read_error(&self, source: std::io::Error) -> StoreError {
        StoreError::Read { path: self.path.clone(), source }
    }

    fn write_error(&self, source: std::io::Error) -> StoreError {
        StoreError::Write { path: self.path.clone(), source }
    }

    /// The record at the place reached says something wrong.
    pub(crate) fn damage(&self, what: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), offset: self.end, what }
    }
}

/// The bytes of a record that begins at `offset`.
fn record(offset: u64, steps: Vec<Step>) -> std::io::Result<Vec<u8>> {
    let payload = Batch { steps }.encode_to_vec();
    let size = u32::try_from(payload.len()).map_err(|_| ErrorKind::FileTooLarge)?;
    let mut bytes = Vec::with_capacity(payload.len().saturating_add(36));
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes.extend_from_slice(&checksum(offset, &payload));
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn checksum(offset: u64, payload: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(offset.to_le_bytes()).chain_update(payload).finalize().into()
}

#[cfg(test)]
mod tests;
