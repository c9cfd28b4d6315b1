//! The application's handle on a running mesh.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lucid_types::id::PublicKey;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

use crate::addr::Transport;
use crate::budget::Pool;
use crate::counters::{Counter, Counters};
use crate::echo::EchoStream;
use crate::error::{PublishError, RequestError, StreamError};
use crate::protocol::Protocol;
use crate::topic::Topic;

/// Calls that may wait for the event loop; further callers wait for room.
pub(crate) const COMMANDS: usize = 256;

/// What a caller asks of the event loop.
pub(crate) enum Command {
    Publish {
        topic: Topic,
        bytes: Vec<u8>,
        reply: oneshot::Sender<Result<Published, PublishError>>,
    },
    /// With `dials`, the peer is connected to if it is not; else nothing is sent then.
    Request {
        peer: PublicKey,
        protocol: Protocol,
        bytes: Vec<u8>,
        dials: bool,
        reply: RequestReply,
    },
    Connect {
        peer: PublicKey,
        within: Duration,
        reply: ConnectReply,
    },
    OpenEcho {
        peer: PublicKey,
        reply: oneshot::Sender<Result<EchoStream, StreamError>>,
    },
    Validators {
        peers: BTreeSet<PublicKey>,
        takes_part: bool,
    },
    Why {
        reply: oneshot::Sender<Vec<PeerWhy>>,
    },
}

/// Where the outcome of a request goes.
pub(crate) type RequestReply = oneshot::Sender<Result<Vec<u8>, RequestError>>;

/// Where the outcome of connecting goes.
pub(crate) type ConnectReply = oneshot::Sender<Result<(), StreamError>>;

/// What became of a published message. The publisher itself never gets it as an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Handed to at least one peer.
    Sent,
    /// No peer takes the topic now; it is tried again for 15 s.
    Queued,
}

/// Who dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The peer.
    Inbound,
    /// This node.
    Outbound,
}

/// What a peer is to this node: who may take whose place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerClass {
    /// Of the configuration, or a validator of the current set. Never evicted.
    Trusted,
    /// This node chose to dial it.
    Outbound,
    /// It dialled this node, or a lookup dialled it. Evicted for a newcomer when slots are full.
    Inbound,
}

/// What this node does about a peer, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerWhy {
    /// Its node key.
    pub key: PublicKey,
    /// `None` if it is not connected and not trusted.
    pub class: Option<PeerClass>,
    /// Whether there is a connection.
    pub connected: bool,
    /// Why it is connected, kept, not dialled or refused: one sentence without a full stop.
    pub why: String,
}

/// A connected peer of this network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeerInfo {
    /// Its node key.
    pub key: PublicKey,
    /// The same in libp2p's spelling.
    pub peer_id: String,
    /// Multiaddresses at which it can be dialled as far as we know, best first, each ending in its peer id.
    pub addresses: Vec<String>,
    /// Those of them that this node reached in this run, or that the peer claims while its packets come from there. The others are
    /// what third parties say.
    pub confirmed: Vec<String>,
    /// What it is to this node.
    pub class: PeerClass,
    /// Where the packets of its first connection come from; `None` if that is not its own address.
    pub remote: Option<IpAddr>,
    /// The transport of its first connection.
    pub transport: Transport,
    /// Who dialled its first connection.
    pub direction: Direction,
    /// Connections to it.
    pub connections: usize,
    /// The last round trip in microseconds; `None` before the first ping came back.
    pub rtt_micros: Option<u64>,
    /// Its gossip score: below 0 it is in nobody's mesh, below -400 it is sent away.
    pub score: f64,
    /// Name and version of its program, as it says.
    pub agent: String,
}

/// What the event loop publishes about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) peers: Vec<PeerInfo>,
    pub(crate) listening: Vec<String>,
    pub(crate) alerts: Vec<String>,
}

/// A cheap handle; clones share the mesh. The mesh runs as long as its [`crate::MeshTask`] does.
#[derive(Clone)]
pub struct Mesh {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) snapshot: watch::Receiver<Snapshot>,
    pub(crate) counters: Arc<Counters>,
    /// What requests of peers hold.
    pub(crate) requests: [(Protocol, Pool); 6],
    pub(crate) public_key: PublicKey,
    pub(crate) peer_id: String,
}

impl Mesh {
    /// Publishes a message to everybody who takes part in the topic.
    ///
    /// # Errors
    /// See [`PublishError`]. [`PublishError::Duplicate`] means that the network has the message already.
    pub async fn publish(&self, topic: Topic, bytes: Vec<u8>) -> Result<Published, PublishError> {
        let (reply, outcome) = oneshot::channel();
        let command = Command::Publish { topic, bytes, reply };
        self.commands.send(command).await.map_err(|_| PublishError::Stopped)?;
        outcome.await.unwrap_or(Err(PublishError::Stopped))
    }

    /// Names the node keys of the validators: room is kept for them, beside the peers of the configuration, and nobody else takes part in
    /// the [topics for them](Topic::is_for_validators). If this node
    /// `takes_part`, it subscribes these topics, and sends what it publishes and forwards, in any topic, to all of these peers directly;
    /// if not, it leaves them. Until this is called, the topics are like others. False if the mesh has stopped.
    pub async fn set_validators(&self, peers: BTreeSet<PublicKey>, takes_part: bool) -> bool {
        self.commands.send(Command::Validators { peers, takes_part }).await.is_ok()
    }

    /// Sends a request and waits for the response: up to 10 s for a connection (known addresses first, then a lookup
    /// in the DHT), then up to the protocol's time-out.
    ///
    /// # Errors
    /// See [`RequestError`]. Nothing is sent twice: a caller that retries decides so itself.
    pub async fn request(&self, peer: PublicKey, protocol: Protocol, bytes: Vec<u8>) -> Result<Vec<u8>, RequestError> {
        self.ask(peer, protocol, bytes, true).await
    }

    /// As [`Self::request`], over a connection that there is already: it dials nobody.
    ///
    /// # Errors
    /// See [`RequestError`]; [`RequestError::NotConnected`] if there is none.
    pub async fn request_connected(
        &self,
        peer: PublicKey,
        protocol: Protocol,
        bytes: Vec<u8>,
    ) -> Result<Vec<u8>, RequestError> {
        self.ask(peer, protocol, bytes, false).await
    }

    async fn ask(
        &self,
        peer: PublicKey,
        protocol: Protocol,
        bytes: Vec<u8>,
        dials: bool,
    ) -> Result<Vec<u8>, RequestError> {
        let (reply, outcome) = oneshot::channel();
        let command = Command::Request { peer, protocol, bytes, dials, reply };
        self.commands.send(command).await.map_err(|_| RequestError::Stopped)?;
        outcome.await.unwrap_or(Err(RequestError::Stopped))
    }

    /// Waits until the peer is connected and has identified itself, found as for [`Self::request`]: at most so long. The
    /// connection ends after a while if nothing uses it.
    ///
    /// # Errors
    /// See [`StreamError`].
    pub async fn connect(&self, peer: PublicKey, within: Duration) -> Result<(), StreamError> {
        let (reply, outcome) = oneshot::channel();
        self.commands.send(Command::Connect { peer, within, reply }).await.map_err(|_| StreamError::Stopped)?;
        outcome.await.unwrap_or(Err(StreamError::Stopped))
    }

    /// Opens an echo stream over a connection that there is already: see [`Self::connect`].
    ///
    /// # Errors
    /// See [`StreamError`]. A peer that has no slot for the stream closes it at once: the first read or write fails.
    pub async fn open_echo(&self, peer: PublicKey) -> Result<EchoStream, StreamError> {
        let (reply, outcome) = oneshot::channel();
        self.commands.send(Command::OpenEcho { peer, reply }).await.map_err(|_| StreamError::Stopped)?;
        outcome.await.unwrap_or_else(|_| Err(StreamError::Failed("the connection ended".to_owned())))
    }

    /// Bytes that peers' requests and the answers to them hold here now, protocol by protocol.
    pub fn held(&self) -> Vec<(Protocol, usize)> {
        self.requests.iter().map(|(protocol, pool)| (*protocol, pool.held())).collect()
    }

    /// The connected peers of this network, by key. At most a second old.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.snapshot.borrow().peers.clone()
    }

    /// Where the packets of a connected peer come from: outer `None` if it is not connected, inner `None` if that is not its own
    /// address. At most a second old.
    pub fn remote(&self, peer: &PublicKey) -> Option<Option<IpAddr>> {
        let snapshot = self.snapshot.borrow();
        let place = snapshot.peers.binary_search_by_key(peer, |info| info.key).ok()?;
        Some(snapshot.peers[place].remote)
    }

    /// What this node does about each peer that is connected, known or banned, and why. Connected ones first; none when the mesh
    /// has stopped.
    pub async fn why(&self) -> Vec<PeerWhy> {
        let (reply, outcome) = oneshot::channel();
        if self.commands.send(Command::Why { reply }).await.is_err() {
            return Vec::new();
        }
        outcome.await.unwrap_or_default()
    }

    /// How many peers of this network are connected.
    pub fn peer_count(&self) -> usize {
        self.snapshot.borrow().peers.len()
    }

    /// Waits until `condition` holds for the connected peers; `false` when the mesh stopped before.
    pub async fn wait_for_peers(&self, mut condition: impl FnMut(&[PeerInfo]) -> bool) -> bool {
        let mut snapshot = self.snapshot.clone();
        snapshot.wait_for(|snapshot| condition(&snapshot.peers)).await.is_ok()
    }

    /// The multiaddresses that this node listens on, each ending in its peer id.
    pub fn listen_addresses(&self) -> Vec<String> {
        self.snapshot.borrow().listening.clone()
    }

    /// What the operator should know of the mesh, in words: which nodes of the configuration do not answer, and why. At most a second old.
    pub fn alerts(&self) -> Vec<String> {
        self.snapshot.borrow().alerts.clone()
    }

    /// Waits until the node listens on at least `n` addresses and returns them; what it has when the mesh stops.
    pub async fn wait_for_listeners(&self, n: usize) -> Vec<String> {
        let mut snapshot = self.snapshot.clone();
        // An error means that the mesh has stopped; the last addresses are still there.
        let _stopped = snapshot.wait_for(|snapshot| snapshot.listening.len() >= n).await.is_err();
        self.listen_addresses()
    }

    /// This node's id.
    pub const fn public_key(&self) -> PublicKey {
        self.public_key
    }

    /// This node's id in libp2p's spelling.
    pub fn peer_id(&self) -> &str {
        &self.peer_id
    }

    /// What was accepted, refused, ignored and dropped so far.
    pub fn counters(&self) -> Vec<Counter> {
        self.counters.snapshot()
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh").field("peer_id", &self.peer_id).finish_non_exhaustive()
    }
}
