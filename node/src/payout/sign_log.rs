//! The treasury signer's durable memory: never a second transaction for one attempt.

use lucid_storage::{OwnKind, PutNew, StorageError, Store};
use lucid_tron_bridge::signer::{SignEntry, SignLog};
use lucid_types::codec::{DecodeError, Wire, decode, encode};
use lucid_types::id::PayoutId;
use lucid_types::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// The log cannot be used: nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum SignLogError {
    /// The store failed.
    #[error("use the store")]
    Storage(#[from] StorageError),
    /// Stored bytes are not what was written.
    #[error("read a signed attempt back from the store")]
    Decode(#[from] DecodeError),
    /// Another entry is there already.
    #[error("another entry is stored for the attempt")]
    Conflict,
}

/// The log, on the node's store.
pub struct StoredSignLog(pub Store);

#[derive(Serialize, Deserialize)]
struct Entry(SignEntry);

impl Wire for Entry {
    const MAX_BYTES: usize = 512;
}

fn key(payout: &PayoutId, attempt: u32) -> Vec<u8> {
    [payout.as_bytes().as_slice(), &attempt.to_be_bytes()].concat()
}

impl SignLog for StoredSignLog {
    type Error = SignLogError;

    fn find(&self, payout: &PayoutId, attempt: u32) -> Result<Option<SignEntry>, SignLogError> {
        let bytes = self.0.own(OwnKind::Signature, &key(payout, attempt))?;
        Ok(bytes.map(|bytes| decode::<Entry>(&bytes)).transpose()?.map(|entry| entry.0))
    }

    fn since(&self, since: UnixMillis) -> Result<Vec<SignEntry>, SignLogError> {
        let records = self.0.own_all(OwnKind::Signature, &[])?;
        let entries = records.iter().map(|record| decode::<Entry>(&record.value).map(|entry| entry.0));
        let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
        Ok(entries.into_iter().filter(|entry| entry.time >= since).collect())
    }

    fn record(&mut self, entry: &SignEntry) -> Result<(), SignLogError> {
        let bytes = encode(entry);
        match self.0.put_new(OwnKind::Signature, &key(&entry.payout, entry.attempt), &bytes)? {
            PutNew::Inserted => Ok(()),
            PutNew::Existing(existing) if existing == bytes => Ok(()),
            PutNew::Existing(_) => Err(SignLogError::Conflict),
        }
    }
}
