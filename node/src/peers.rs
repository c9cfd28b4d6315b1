//! Remembers peers over restarts: a node finds the mesh again when its bootstrap node is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_p2p::Mesh;
use lucid_storage::{StorageError, Store};
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::id::PublicKey;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// How often the connected peers are compared with those that are stored.
const PERIOD: Duration = Duration::from_secs(15);
/// Peers kept; the rest are found through these.
const MAX_PEERS: usize = 128;
/// Addresses kept of each.
const MAX_ADDRESSES: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Addresses(Vec<String>);

impl Wire for Addresses {
    const MAX_BYTES: usize = 4 << 10;
}

/// The addresses of the peers of earlier runs. Records that cannot be read are left out.
///
/// # Errors
/// The store could not be read.
pub fn saved(store: &Store) -> Result<Vec<String>, StorageError> {
    let peers = store.peers()?;
    let addresses = peers.iter().filter_map(|(_, bytes)| decode::<Addresses>(bytes).ok());
    Ok(addresses.flat_map(|addresses| addresses.0).collect())
}

/// Whether these are the bytes of a peer's record.
pub(crate) fn is_sound(bytes: &[u8]) -> bool {
    decode::<Addresses>(bytes).is_ok()
}

/// Stores the connected peers' addresses until `stop`, where they have changed. When there are too many, peers that
/// are not connected make room.
pub async fn remember(mesh: Mesh, store: Store, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let connected: BTreeMap<_, _> = mesh.peers().into_iter().map(|peer| (peer.key, peer.addresses)).collect();
        let stored = tokio::task::block_in_place(|| update(&store, connected));
        if let Err(error) = stored {
            tracing::warn!(%error, "peers cannot be stored");
        }
    }
}

fn update(store: &Store, connected: BTreeMap<PublicKey, Vec<String>>) -> Result<(), StorageError> {
    let stored: BTreeMap<_, _> = store.peers()?.into_iter().collect();
    let gone: Vec<_> = stored.keys().filter(|peer| !connected.contains_key(*peer)).collect();
    let mut gone = gone.into_iter();
    let mut count = stored.len();
    for (peer, mut addresses) in connected {
        addresses.truncate(MAX_ADDRESSES);
        let bytes = encode(&Addresses(addresses));
        let known = stored.get(&peer);
        if bytes.len() > Addresses::MAX_BYTES || known == Some(&bytes) {
            continue;
        }
        if known.is_none() && count >= MAX_PEERS {
            let Some(gone) = gone.next() else { continue };
            store.remove_peer(*gone)?;
        } else if known.is_none() {
            count += 1;
        }
        store.put_peer(peer, &bytes)?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::id::NetworkId;

    use super::*;

    fn peer(n: u8) -> (PublicKey, Vec<String>) {
        (PublicKey::from_bytes([n; 32]), vec![format!("/ip4/127.0.0.1/tcp/{n}")])
    }

    #[test]
    fn the_newest_are_kept_and_those_that_are_gone_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), NetworkId::from_bytes([1; 32])).unwrap();
        update(&store, (0..100).map(peer).collect()).unwrap();
        assert_eq!(saved(&store).unwrap().len(), 100);
        update(&store, (90..200).map(peer).collect()).unwrap();
        let kept = saved(&store).unwrap();
        assert_eq!(kept.len(), MAX_PEERS);
        for n in 90..200 {
            assert!(kept.contains(&format!("/ip4/127.0.0.1/tcp/{n}")), "peer {n} is connected");
        }
        update(&store, BTreeMap::from([(PublicKey::from_bytes([90; 32]), vec!["/ip4/127.0.0.1/tcp/9".to_owned()])]))
            .unwrap();
        assert!(saved(&store).unwrap().contains(&"/ip4/127.0.0.1/tcp/9".to_owned()), "a moved peer");
    }
}
