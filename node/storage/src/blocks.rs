//! Blocks: those that are stored whole, and what is kept of those before.
//!
//! All blocks from the base up to the head are stored. Below the base some headers are kept, each with its certificate;
//! which ones is the caller's choice when it removes the blocks.

use lucid_types::time::Height;
use rocksdb::{ReadOptions, WriteBatch};

use crate::error::StorageError;
use crate::layout::{Family, KEY_BASE, height_key, parse_height};
use crate::store::{Entry, Store, lock, malformed};

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

impl Store {
    /// The height from which on every block up to the head is stored; one above the head if none is, as after a restored
    /// snapshot. 1 if no block was ever removed.
    pub fn base(&self) -> Height {
        lock(&self.shared.tip).base
    }

    /// The bytes of the block at `height`, if it is stored.
    pub fn block(&self, height: Height) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(Family::Blocks, &height_key(height))
    }

    /// The header's bytes that were kept of the block at `height` when the block was removed, or that came with the snapshot
    /// of that height. `None` for blocks that are stored whole.
    pub fn header_of(&self, height: Height) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(Family::Headers, &height_key(height))
    }

    /// The bytes of the certificate that this node stored with the block or the header at `height`.
    pub fn certificate(&self, height: Height) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(Family::Certificates, &height_key(height))
    }

    /// The bytes of the changes of the validators by blocks above a height, in order, read as they are taken. None was ever removed.
    pub fn set_changes(&self, above: Height) -> impl Iterator<Item = Result<(Height, Vec<u8>), StorageError>> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(height_key(above.next()));
        self.stream(Family::SetChanges, options).map(|entry| {
            let (key, change) = entry?;
            Ok((parse_height(&key).ok_or(malformed(Family::SetChanges))?, change.into_vec()))
        })
    }

    /// Stored blocks with their certificates from a height on, in order, read as they are taken. Those that are removed meanwhile are
    /// left out.
    pub fn blocks(&self, from: Height) -> impl Iterator<Item = Result<StoredBlock, StorageError>> {
        let mut options = ReadOptions::default();
        // Not from below the base: what was removed there takes time to pass over until it is compacted.
        options.set_iterate_lower_bound(height_key(from.max(self.base())));
        self.stream(Family::Blocks, options).filter_map(|entry| self.certified(entry).transpose())
    }

    /// A block with its certificate; `None` if it has just been removed.
    fn certified(&self, entry: Result<Entry, StorageError>) -> Result<Option<StoredBlock>, StorageError> {
        let (key, block) = entry?;
        let height = parse_height(&key).ok_or(malformed(Family::Blocks))?;
        match self.certificate(height)? {
            Some(certificate) => Ok(Some(StoredBlock { height, block: block.into_vec(), certificate })),
            None if height < self.base() => Ok(None),
            None => Err(malformed(Family::Certificates)),
        }
    }

    /// Removes blocks, in one synced batch; the base is then above the last of them. Each comes with the header to keep in
    /// its place, whose certificate stays, too, or with none, and then its certificate goes with it.
    ///
    /// Refuses any but a run of heights that begins at the base and ends below the head. The caller bounds the run.
    pub fn prune_blocks(&self, pruned: &[(Height, Option<Vec<u8>>)]) -> Result<(), StorageError> {
        let shared = &self.shared;
        let mut tip = lock(&shared.tip);
        let end = tip.head.map_or(Height::ZERO, |head| head.height);
        let (blocks, headers) = (shared.family(Family::Blocks)?, shared.family(Family::Headers)?);
        let certificates = shared.family(Family::Certificates)?;
        let mut batch = WriteBatch::default();
        let mut base = tip.base;
        for (height, header) in pruned {
            if *height != base || *height >= end {
                return Err(StorageError::NotPrunable { base, got: *height });
            }
            let key = height_key(*height);
            // Key by key: a range tombstone for each call would slow later reads.
            batch.delete_cf(blocks, key);
            match header {
                Some(header) => batch.put_cf(headers, key, header),
                None => batch.delete_cf(certificates, key),
            }
            base = base.next();
        }
        if base == tip.base {
            return Ok(());
        }
        batch.put_cf(shared.family(Family::Meta)?, KEY_BASE, height_key(base));
        shared.write_synced("the removal of blocks", batch)?;
        tip.base = base;
        Ok(())
    }
}
