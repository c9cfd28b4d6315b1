//! The network on disk: one append-only file of checksummed records, synced before anybody sees what they hold.
//!
//! ```text
//! chain.log = record*          record = length u32 LE | SHA-256 over (offset u64 LE, payload) | payload
//! ```
//!
//! The first record says how the network began, every other holds steps with the values they changed, so that opening
//! executes nothing. A record is written in one piece and synced before the next begins. So after a crash only the last
//! one can be torn, and it is cut off. A record that does not match while another one follows is damage, and refused.
//!
//! One process at a time: the file is locked while it is open.

mod convert;
mod record;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use prost::Message;
use sha2::{Digest, Sha256};

use crate::chain::change::Change;
use record::{Batch, Step};

pub(crate) use record::{Beginning, VERSION};

/// Name of the file in the network's folder.
const FILE: &str = "chain.log";
const HEADER: u64 = 4 + 32;
/// A longer record is damage: a block holds at most about 2 MB of transactions.
const MAX_RECORD: u32 = 256 * 1024 * 1024;

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
    /// The file cannot be opened.
    #[error("open {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("{path} is in use by another process")]
    Locked {
        /// The file.
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

/// The open file, at its end.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    path: PathBuf,
    end: u64,
}

/// What was found on opening.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) log: Log,
    /// None if the network is new.
    pub(crate) beginning: Option<Beginning>,
    pub(crate) changes: Vec<Change>,
}

impl Log {
    /// Opens or creates the file in `folder`, and reads everything in it.
    pub(crate) fn open(folder: &Path) -> Result<Found, StoreError> {
        std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder { path: folder.to_owned(), source })?;
        let path = folder.join(FILE);
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(|source| StoreError::Open { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path }),
            Err(TryLockError::Error(source)) => return Err(StoreError::Open { path, source }),
        }
        let mut log = Self { file, path, end: 0 };
        let (beginning, changes) = log.read_all()?;
        Ok(Found { log, beginning, changes })
    }

    fn read_all(&mut self) -> Result<(Option<Beginning>, Vec<Change>), StoreError> {
        let length = self.file.metadata().map_err(|e| self.read_error(e))?.len();
        self.file.seek(SeekFrom::Start(0)).map_err(|e| self.read_error(e))?;
        let reading = self.file.try_clone().map_err(|e| self.read_error(e))?;
        let mut reader = BufReader::with_capacity(1 << 20, reading);
        let mut beginning = None;
        let mut changes = Vec::new();
        while self.end < length {
            let Some((payload, next)) = self.read_record(&mut reader, length)? else {
                self.check_torn(length)?;
                self.cut()?;
                break;
            };
            let batch = Batch::decode(payload.as_slice()).map_err(|e| self.damage(e.to_string()))?;
            for step in batch.steps {
                match (step.into_parts(), &beginning) {
                    (Some((Some(first), None)), None) => beginning = Some(first),
                    (Some((None, Some(change))), Some(_)) => changes.push(change),
                    _ => return Err(self.damage("a record that cannot stand here".to_owned())),
                }
            }
            self.end = next;
        }
        Ok((beginning, changes))
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
        if next > length || size > MAX_RECORD {
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
            if let Some((wanted, payload)) = tail.get(..payload_end).and_then(<[u8]>::split_first_chunk::<32>)
                && checksum(offset, payload) == *wanted
            {
                return Err(self.damage(format!("a wrong checksum, {} bytes before the end", length - self.end)));
            }
            left = left.get(1..).unwrap_or_default();
            offset = offset.saturating_add(1);
        }
        Ok(())
    }

    /// Writes the network's beginning.
    pub(crate) fn begin(&mut self, beginning: &Beginning) -> Result<(), StoreError> {
        self.append(vec![Step::from_beginning(beginning)])
    }

    /// Writes steps, and returns when they are on the disk.
    pub(crate) fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.append(changes.iter().map(Step::from_change).collect())
    }

    fn append(&mut self, steps: Vec<Step>) -> Result<(), StoreError> {
        let payload = Batch { steps }.encode_to_vec();
        let size = u32::try_from(payload.len()).ok().filter(|size| *size <= MAX_RECORD);
        let size = size.ok_or_else(|| self.write_error(std::io::ErrorKind::FileTooLarge.into()))?;
        let mut bytes = Vec::with_capacity(payload.len().saturating_add(36));
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&checksum(self.end, &payload));
        bytes.extend_from_slice(&payload);
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // What was half written must not stand before the next record.
            drop(self.cut());
            return Err(self.write_error(source));
        }
        self.end = self.end.saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
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

fn checksum(offset: u64, payload: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(offset.to_le_bytes()).chain_update(payload).finalize().into()
}

#[cfg(test)]
mod tests;
