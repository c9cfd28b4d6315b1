//! Peers worth trying again after a restart. Losing a few of them costs a lookup, so nothing here is synced.

use lucid_types::id::PublicKey;

use crate::error::StorageError;
use crate::layout::{Family, parse_peer};
use crate::store::{Store, malformed};

impl Store {
    /// Remembers what is known of a peer. Not synced: it may be lost with power. The caller bounds how many there are.
    pub fn put_peer(&self, peer: PublicKey, value: &[u8]) -> Result<(), StorageError> {
        let family = self.shared.family(Family::Peers)?;
        let written = self.shared.db.put_cf(family, peer.as_bytes(), value);
        written.map_err(|source| StorageError::Write { what: "a peer", source: source.into() })
    }

    /// Forgets a peer. Not synced.
    pub fn remove_peer(&self, peer: PublicKey) -> Result<(), StorageError> {
        let family = self.shared.family(Family::Peers)?;
        let written = self.shared.db.delete_cf(family, peer.as_bytes());
        written.map_err(|source| StorageError::Write { what: "a peer", source: source.into() })
    }

    /// All remembered peers, by node id.
    pub fn peers(&self) -> Result<Vec<(PublicKey, Vec<u8>)>, StorageError> {
        let entries = self.scan_prefix(Family::Peers, &[])?;
        let peers = entries.into_iter().map(|(key, value)| {
            let peer = parse_peer(&key).ok_or(malformed(Family::Peers))?;
            Ok((peer, value.into_vec()))
        });
        peers.collect()
    }
}
