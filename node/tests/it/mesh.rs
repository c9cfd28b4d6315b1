//! Nodes with a real mesh on loopback.

use std::sync::Arc;

use lucid_node::probe::{Offer, ResponderHandle};
use lucid_p2p::{Admission, Event, Events, Gate, Limits, Mesh, MeshConfig, Protocol, Topic, start};
use lucid_types::id::{NetworkId, NodeId, PublicKey};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::fixture::within;

/// No gossip is expected.
pub(crate) struct Closed;

impl Gate for Closed {
    type Item = ();
    fn admit(&self, _: PublicKey, _: Topic, _: &[u8]) -> Admission<()> {
        Admission::Reject("unexpected")
    }
}

/// A running mesh; it stops when this is dropped.
pub(crate) struct Peer {
    pub(crate) mesh: Mesh,
    _stop: DropGuard,
}

/// Starts the mesh of a seed and waits until it listens.
pub(crate) async fn peer(network_id: NetworkId, seed: u8, bootstrap: Vec<String>) -> (Peer, Events<()>) {
    peer_behind(Closed, network_id, seed, bootstrap).await
}

/// As [`peer`], with room for one connection.
pub(crate) async fn full_peer(network_id: NetworkId, seed: u8, bootstrap: Vec<String>) -> (Peer, Events<()>) {
    let limits = Limits { connections: 1, ..Limits::default() };
    peer_with(Closed, MeshConfig { bootstrap, limits, ..MeshConfig::new(network_id) }, seed).await
}

/// As [`peer`], with a gate of its own.
pub(crate) async fn peer_behind<G: Gate>(
    gate: G,
    network_id: NetworkId,
    seed: u8,
    bootstrap: Vec<String>,
) -> (Peer, Events<G::Item>) {
    peer_with(gate, MeshConfig { bootstrap, ..MeshConfig::new(network_id) }, seed).await
}

async fn peer_with<G: Gate>(gate: G, config: MeshConfig, seed: u8) -> (Peer, Events<G::Item>) {
    let config = MeshConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()], local: true, ..config };
    let (mesh, events, task) = start(config, &[seed; 32], Arc::new(gate)).unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(task.run(stop.clone()));
    within(mesh.wait_for_listeners(1)).await;
    (Peer { mesh, _stop: stop.drop_guard() }, events)
}

/// Hands a mesh's probes to a responder, as the node does.
pub(crate) async fn dispatch(mut events: Events<()>, responder: ResponderHandle) {
    while let Some(event) = events.next().await {
        match event {
            Event::Request { peer, protocol: Protocol::Probe, bytes, reply } => {
                responder.offer(Offer::Ping { peer: NodeId::from_first_key(peer), bytes, reply });
            }
            Event::Echo { peer, stream } => responder.offer(Offer::Echo { peer: NodeId::from_first_key(peer), stream }),
            _ => {}
        }
    }
}
