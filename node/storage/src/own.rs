//! What this node itself produced and must never contradict: written before it is published, never overwritten.

use rocksdb::WriteBatch;

use crate::error::StorageError;
use crate::layout::{Family, OwnKind, own_key};
use crate::store::{Store, lock};

/// What [`Store::put_new`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutNew {
    /// The key was free; it now holds the caller's bytes.
    Inserted,
    /// The key holds these bytes, and still does: the caller must use them instead of its own.
    Existing(Vec<u8>),
}

/// A record of this node's own, as [`Store::own_all`] reads it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRecord {
    /// Its key, without the kind.
    pub key: Vec<u8>,
    /// Its bytes.
    pub value: Vec<u8>,
}

impl Store {
    /// Writes a record if its key is free. Synced; atomic between threads; never overwrites.
    pub fn put_new(&self, kind: OwnKind, key: &[u8], value: &[u8]) -> Result<PutNew, StorageError> {
        let _exclusive = lock(&self.shared.own);
        if let Some(existing) = self.own(kind, key)? {
            return Ok(PutNew::Existing(existing));
        }
        self.write_own(kind, key, value)?;
        Ok(PutNew::Inserted)
    }

    /// Writes a record, over whatever stood there. Synced. For records that only grow, such as a counter or a signer's
    /// watermark; what the node must not contradict otherwise goes through [`Self::put_new`].
    pub fn put(&self, kind: OwnKind, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        let _exclusive = lock(&self.shared.own);
        self.write_own(kind, key, value)
    }

    /// The record under `key`, if there is one.
    pub fn own(&self, kind: OwnKind, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(Family::Own, &own_key(kind, key))
    }

    /// All records of a kind whose key starts with `prefix` (empty: all), in key order.
    pub fn own_all(&self, kind: OwnKind, prefix: &[u8]) -> Result<Vec<OwnRecord>, StorageError> {
        let entries = self.scan_prefix(Family::Own, &own_key(kind, prefix))?;
        Ok(entries
            .into_iter()
            .map(|(key, value)| OwnRecord { key: key[1..].to_vec(), value: value.into_vec() })
            .collect())
    }

    /// Removes a record that no longer matters. Synced. Removing what is not there is no error.
    pub fn remove_own(&self, kind: OwnKind, key: &[u8]) -> Result<(), StorageError> {
        let _exclusive = lock(&self.shared.own);
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.shared.family(Family::Own)?, own_key(kind, key));
        self.shared.write_synced("an own record", batch)
    }

    /// Writes these records, over whatever stood there, and removes those, in one synced batch.
    pub fn change_own(
        &self,
        kind: OwnKind,
        written: &[(Vec<u8>, Vec<u8>)],
        removed: &[Vec<u8>],
    ) -> Result<(), StorageError> {
        let _exclusive = lock(&self.shared.own);
        let family = self.shared.family(Family::Own)?;
        let mut batch = WriteBatch::default();
        for key in removed {
            batch.delete_cf(family, own_key(kind, key));
        }
        for (key, value) in written {
            batch.put_cf(family, own_key(kind, key), value);
        }
        self.shared.write_synced("own records", batch)
    }

    fn write_own(&self, kind: OwnKind, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.shared.family(Family::Own)?, own_key(kind, key), value);
        self.shared.write_synced("an own record", batch)
    }
}
