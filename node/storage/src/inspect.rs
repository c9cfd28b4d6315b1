//! Looking at a store without changing it, down to every entry: for checks of what the entries hold.

use std::path::Path;

use lucid_types::id::NetworkId;
use lucid_types::time::Height;
use rocksdb::ReadOptions;

use crate::error::{OpenError, StorageError};
use crate::files::FileKind;
use crate::history::HistoryRecord;
use crate::layout::{Family, HistoryKind, expiry_key, history_key, parse_height, parse_history, parse_wal};
use crate::lock::StoreLock;
use crate::open::{damaged, identify, open_to_read, settings};
use crate::seal;
use crate::store::{Opening, Store, malformed};

/// An entry of blocks, with the certificate at its height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    /// The height that it is stored under.
    pub height: Height,
    /// The block's bytes.
    pub block: Vec<u8>,
    /// The certificate's bytes, if there is one.
    pub certificate: Option<Vec<u8>>,
}

impl Store {
    /// Opens the closed store in the folder `path` to read it: no file of data changes, and whatever writes fails. That tables
    /// or logs are not what they were when the store was closed is no error: [`crate::verify`] tells.
    ///
    /// # Errors
    /// There is no store, it is in use, of another format or network, or damaged so that it does not open.
    pub fn open_read_only(path: &Path, network: NetworkId) -> Result<Self, OpenError> {
        if !path.join("CURRENT").exists() {
            return Err(damaged(path, "there is no database: its file CURRENT is missing"));
        }
        let lock = StoreLock::take(path)?;
        let faults = seal::faults(path).map_err(|source| OpenError::Seal { path: path.to_path_buf(), source })?;
        let describes = |(file, _): &(String, _)| FileKind::of(file).is_some_and(FileKind::describes);
        if let Some((file, fault)) = faults.into_iter().find(describes) {
            return Err(OpenError::Changed { path: path.to_path_buf(), file, fault });
        }
        let db = open_to_read(path, &settings())?;
        let identity = identify(&db, path)?.ok_or_else(|| damaged(path, "nothing was ever written to it"))?;
        if identity.network != network {
            let (path, found) = (path.to_path_buf(), identity.network);
            return Err(OpenError::WrongNetwork { path, found, expected: network });
        }
        Ok(Self::of(path, Opening { db, tip: identity.tip, seal: None, lock, syncs: true }))
    }

    /// All entries of blocks, also outside of base and head, in order, read as they are taken.
    pub fn block_entries(&self) -> impl Iterator<Item = Result<BlockEntry, StorageError>> {
        self.stream(Family::Blocks, uncached()).map(|entry| {
            let (key, block) = entry?;
            let height = parse_height(&key).ok_or(malformed(Family::Blocks))?;
            Ok(BlockEntry { height, block: block.into_vec(), certificate: self.certificate(height)? })
        })
    }

    /// All headers that are kept of blocks that are not stored whole, in order, read as they are taken.
    pub fn headers(&self) -> impl Iterator<Item = Result<(Height, Vec<u8>), StorageError>> {
        self.stream(Family::Headers, uncached()).map(|entry| {
            let (key, header) = entry?;
            Ok((parse_height(&key).ok_or(malformed(Family::Headers))?, header.into_vec()))
        })
    }

    /// All entries of the engine's log with their heights and sequence numbers, in order, read as they are taken.
    pub fn log_entries(&self) -> impl Iterator<Item = Result<(Height, u64, Vec<u8>), StorageError>> {
        self.stream(Family::Wal, uncached()).map(|entry| {
            let (key, entry) = entry?;
            let (height, sequence) = parse_wal(&key).ok_or(malformed(Family::Wal))?;
            Ok((height, sequence, entry.into_vec()))
        })
    }

    /// All history records of a kind, also those whose time is over, in key order, read as they are taken.
    pub fn history_entries(&self, kind: HistoryKind) -> impl Iterator<Item = Result<HistoryRecord, StorageError>> {
        let mut options = uncached();
        options.set_iterate_range(rocksdb::PrefixRange(history_key(kind, &[])));
        self.stream(Family::History, options).map(move |entry| {
            let (key, stored) = entry?;
            let (expires, value) = parse_history(&stored).ok_or(malformed(Family::History))?;
            Ok(HistoryRecord { kind, key: key[1..].to_vec(), value: value.to_vec(), expires })
        })
    }

    /// Whether a record that expires will be found when its time comes.
    pub fn is_indexed(&self, record: &HistoryRecord) -> Result<bool, StorageError> {
        let Some(expires) = record.expires else { return Ok(true) };
        let key = expiry_key(expires, &history_key(record.kind, &record.key));
        Ok(self.get(Family::Expiry, &key)?.is_some())
    }
}

fn uncached() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options
}
