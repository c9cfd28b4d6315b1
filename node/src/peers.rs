//! Remembers peers over restarts: a node finds the mesh again when its bootstrap node is gone.

mod saved;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lucid_p2p::{Mesh, PeerClass, PeerInfo};
use lucid_storage::{StorageError, Store};
use lucid_types::codec::{decode, encode};
use lucid_types::id::PublicKey;
use tokio_util::sync::CancellationToken;

use self::saved::{Connected, Run, SavedPeer};
use crate::clock::Clock;

/// How often the connected peers are compared with those that are stored.
const PERIOD: Duration = Duration::from_secs(15);

/// The addresses of the peers of earlier runs, the most reliable peers first. Records that cannot be read are left out.
///
/// # Errors
/// The store could not be read.
pub fn saved(store: &Store) -> Result<Vec<String>, StorageError> {
    let mut peers: Vec<_> = read(store)?.into_values().collect();
    peers.sort_by_key(SavedPeer::rank);
    Ok(peers.into_iter().flat_map(|peer| peer.addresses).collect())
}

/// Whether these are the bytes of a peer's record.
pub(crate) fn is_sound(bytes: &[u8]) -> bool {
    decode::<SavedPeer>(bytes).is_ok()
}

/// Stores the connected peers until `stop`, where something has changed. In networks that share addresses a group of networks may have
/// any number of them.
pub async fn remember(
    mesh: Mesh,
    store: Store,
    clock: Arc<dyn Clock>,
    shares_addresses: bool,
    stop: CancellationToken,
) {
    let mut run = Run::new(clock.now(), shares_addresses);
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let connected = |peer: PeerInfo| Connected {
            key: peer.key,
            addresses: peer.confirmed,
            is_trusted: peer.class == PeerClass::Trusted,
        };
        let connected: Vec<_> = mesh.peers().into_iter().map(connected).collect();
        let stored = tokio::task::block_in_place(|| update(&store, &mut run, &connected, &*clock));
        if let Err(error) = stored {
            tracing::warn!(%error, "peers cannot be stored");
        }
    }
}

fn read(store: &Store) -> Result<BTreeMap<PublicKey, SavedPeer>, StorageError> {
    let peers = store.peers()?.into_iter();
    Ok(peers.filter_map(|(peer, bytes)| Some((peer, decode(&bytes).ok()?))).collect())
}

fn update(store: &Store, run: &mut Run, connected: &[Connected], clock: &dyn Clock) -> Result<(), StorageError> {
    let stored = read(store)?;
    let mut new = stored.clone();
    run.update(&mut new, connected, clock.now());
    // Those that cannot be read are not in the new ones either.
    for (peer, _) in store.peers()?.iter().filter(|(peer, _)| !new.contains_key(peer)) {
        store.remove_peer(*peer)?;
    }
    for (peer, record) in new.iter().filter(|(peer, record)| stored.get(*peer) != Some(*record)) {
        store.put_peer(*peer, &encode(record))?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::id::NetworkId;

    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn peers_are_stored_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), NetworkId::from_bytes([1; 32])).unwrap();
        let peer = |n: u8| Connected {
            key: PublicKey::from_bytes([n; 32]),
            addresses: vec![format!("/ip4/127.0.0.1/tcp/{n}")],
            is_trusted: false,
        };
        let mut run = Run::new(SystemClock.now(), true);
        update(&store, &mut run, &(0..200).map(peer).collect::<Vec<_>>(), &SystemClock).unwrap();
        assert_eq!(saved(&store).unwrap().len(), saved::MAX_PEERS);
        assert!(store.peers().unwrap().iter().all(|(_, bytes)| is_sound(bytes)));
        store.put_peer(PublicKey::from_bytes([9; 32]), b"damaged").unwrap();
        assert_eq!(saved(&store).unwrap().len(), saved::MAX_PEERS - 1, "the others are read");
        update(&store, &mut run, &[], &SystemClock).unwrap();
        assert_eq!(store.peers().unwrap().len(), saved::MAX_PEERS - 1, "and the damaged one is removed");
    }
}
