//! What a mesh is started with. Plain data; addresses are strings so that no libp2p type leaves this crate.

use std::collections::BTreeSet;
use std::time::Duration;

use lucid_types::id::NetworkId;

use crate::topic::Topic;

/// How one node takes part in its network.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// The network. It is part of every protocol's and topic's name.
    pub network_id: NetworkId,
    /// Multiaddresses to listen on, `/ip4/127.0.0.1/tcp/0` or `/ip4/127.0.0.1/udp/0/quic-v1`.
    pub listen: Vec<String>,
    /// Multiaddresses at which others reach this node, when they differ from those it listens on.
    pub external: Vec<String>,
    /// Multiaddresses of nodes that are always dialled, each ending in `/p2p/<peer id>`.
    pub bootstrap: Vec<String>,
    /// Multiaddresses of peers seen in an earlier run, each ending in `/p2p/<peer id>`. Those that cannot be used are left out.
    pub saved_peers: Vec<String>,
    /// Answer other nodes' lookups and stand in their routing tables. Off for nodes that nobody can dial.
    pub kad_server: bool,
    /// All peers are on this machine or in one private network: loopback and private addresses count as dialable,
    /// many peers may share one address, and time-outs are short.
    pub local: bool,
    /// Bounds on connections, queues and threads.
    pub limits: Limits,
    /// Name and version of the program, shown to peers. At most 64 printable ASCII characters are used.
    pub agent: String,
    /// Topics that this node takes part in.
    pub topics: BTreeSet<Topic>,
}

impl MeshConfig {
    /// A node that listens nowhere yet, takes part in every fixed topic but the attestation shards above 0, and
    /// answers lookups.
    pub fn new(network_id: NetworkId) -> Self {
        Self {
            network_id,
            listen: Vec::new(),
            external: Vec::new(),
            bootstrap: Vec::new(),
            saved_peers: Vec::new(),
            kad_server: true,
            local: false,
            limits: Limits::default(),
            agent: concat!("lucid/", env!("CARGO_PKG_VERSION")).to_owned(),
            topics: Topic::fixed().filter(|topic| !matches!(topic, Topic::Attestations(1..))).collect(),
        }
    }

    pub(crate) fn timing(&self) -> Timing {
        if self.local { Timing::LOCAL } else { Timing::PUBLIC }
    }
}

/// Bounds of one node. Every default is meant for a public node; tests lower them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Established connections in all.
    pub connections: usize,
    /// Established connections of peers that are neither trusted nor dialled by our own choice; the rest stays free for those.
    pub inbound: usize,
    /// Established connections of one peer.
    pub per_peer: usize,
    /// The same of those at one host, which is an IPv4 address or an IPv6 /64. Does not hold for `local` networks.
    pub per_host: usize,
    /// The same of those in one group, which is an IPv4 /24 or an IPv6 /48. Does not hold for `local` networks.
    pub per_group: usize,
    /// Connections that others dialled and that have not finished their handshake.
    pub pending_inbound: usize,
    /// The same of those from one host; eight times as many from one group. Does not hold for `local` networks.
    pub pending_per_host: usize,
    /// Connections that we dial at a time.
    pub pending_outbound: usize,
    /// Peers that the node goes on dialling for; those that dialled it do not count. Networks of up to this size are fully connected.
    pub target_peers: usize,
    /// With fewer peers than this the node looks for more without waiting.
    pub min_peers: usize,
    /// Threads that run the gate.
    pub gate_threads: usize,
    /// Bytes of gossip messages of one class (a kind of topic, and proposals apart from votes) that may wait for the gate, 256 more
    /// for each. The part of it that a validator may hold is the square of the part that is then left free; the same holds of others in
    /// half of it, once validators are named. What has no room is dropped and counted as `busy`.
    pub gate_bytes: usize,
    /// Gossip messages that one peer may bring in a burst.
    pub gossip_burst: u32,
    /// Gossip messages that one peer may bring per second in the long run.
    pub gossip_per_second: u32,
    /// Bytes of gossip messages that one peer may bring in a burst.
    pub gossip_bytes_burst: u32,
    /// Bytes of gossip messages that one peer may bring per second in the long run.
    pub gossip_bytes_per_second: u32,
    /// Events that may wait for the application, gossip and others counted apart.
    pub events: usize,
    /// Published messages that may wait for a peer to take them.
    pub outbox: usize,
    /// Peers whose addresses are remembered.
    pub known_peers: usize,
    /// Peers that are looked for in the DHT at a time, each because something is to be sent to it.
    pub searches: usize,
    /// Our own requests and connections that may wait for a peer.
    pub outgoing: usize,
    /// Requests of all peers that may wait for an answer, in each protocol. Half of the room is for trusted peers alone.
    pub requests: usize,
    /// No protocol's pool is larger, in bytes, whatever [`crate::ProtocolLimits`] say.
    pub max_pool: usize,
    /// Echo streams that all peers may hold open here. Half of the room is for trusted peers alone.
    pub streams: usize,
    /// Echo streams that one peer may hold open here.
    pub streams_per_peer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 192,
            inbound: 144,
            per_peer: 3,
            per_host: 12,
            per_group: 48,
            pending_inbound: 256,
            pending_per_host: 8,
            pending_outbound: 32,
            target_peers: 48,
            min_peers: 4,
            gate_threads: 2,
            gate_bytes: 8 << 20,
            gossip_burst: 4096,
            gossip_per_second: 512,
            gossip_bytes_burst: 32 << 20,
            gossip_bytes_per_second: 4 << 20,
            events: 1024,
            outbox: 256,
            known_peers: 1024,
            searches: 16,
            outgoing: 256,
            requests: 256,
            max_pool: usize::MAX,
            streams: 64,
            streams_per_peer: 4,
        }
    }
}

impl Limits {
    /// Peers that a validator connects to at a time, because something is to be sent to them.
    pub const VALIDATOR_DIALS: usize = 1_024;
    /// Requests of a validator that may be under way at a time.
    pub const VALIDATOR_REQUESTS: usize = 4_096;
    /// Evicted connections whose end is waited for at a time: a peer that takes no bytes can delay it.
    pub(crate) const CLOSING: usize = 128;
    /// The most connections of a validator.
    const VALIDATOR_CONNECTIONS: usize = 2_560;

    /// Bounds of a validator: it has room for a connection to each worker that it measures, whoever dialled, and for as many dials and
    /// requests at a time as that takes. A validator of great power measures all workers that are scored, and how many these are can change.
    pub fn for_validator() -> Self {
        let usual = Self::default();
        let workers = Self::VALIDATOR_CONNECTIONS.saturating_sub(usual.connections);
        Self {
            connections: usual.connections.saturating_add(workers),
            inbound: usual.inbound.saturating_add(workers),
            per_group: usual.per_group.saturating_add(workers / 3),
            // A dial of ours that we wait for no more may last a little longer.
            pending_outbound: usual.pending_outbound.saturating_add(Self::VALIDATOR_DIALS / 4 * 5),
            known_peers: usual.known_peers.saturating_add(workers),
            searches: 4 * usual.searches,
            // A request that nobody waits for any more counts until its protocol's time is over.
            outgoing: usual.outgoing.saturating_add(2 * Self::VALIDATOR_REQUESTS).saturating_add(Self::VALIDATOR_DIALS),
            ..usual
        }
    }

    /// File descriptors that the mesh may hold at a time, its sockets that listen aside.
    pub const fn descriptors(&self) -> usize {
        let handshakes = self.pending_inbound.saturating_add(self.pending_outbound);
        self.connections.saturating_add(handshakes).saturating_add(Self::CLOSING)
    }
}

/// Durations that differ between one machine and the world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// First wait before a failed peer is dialled again; doubles with each failure.
    pub(crate) redial_min: Duration,
    /// Longest wait before a peer that was once good is dialled again.
    pub(crate) redial_max: Duration,
    /// The side with the larger id waits this long, so that two peers do not dial each other at once.
    pub(crate) yield_delay: Duration,
    /// Longest wait between two lookups.
    pub(crate) lookup_max: Duration,
    /// How long a peer of another network, or one that broke a limit, stays shut out.
    pub(crate) ban: Duration,
    /// From the first packet to the end of the handshake, on either side.
    pub(crate) handshake: Duration,
    /// From the connection to the peer's Identify message.
    pub(crate) identify: Duration,
    /// Idle connections without streams end after this.
    pub(crate) idle: Duration,
    /// Between two pings of one connection.
    pub(crate) ping: Duration,
    /// A ping without answer for this long ends the connection.
    pub(crate) ping_timeout: Duration,
    /// A node of the configuration that has not answered for this long is named.
    pub(crate) bootstrap: Duration,
    /// A QUIC connection without a packet for this long is dead: a killed process does not close it.
    pub(crate) quic_idle: Duration,
    /// A peer that pruned us is not grafted again before this.
    pub(crate) prune_backoff: Duration,
}

impl Timing {
    const LOCAL: Self = Self {
        redial_min: Duration::from_millis(250),
        redial_max: Duration::from_secs(4),
        yield_delay: Duration::from_millis(300),
        lookup_max: Duration::from_secs(15),
        ban: Duration::from_secs(10),
        handshake: Duration::from_secs(10),
        identify: Duration::from_secs(10),
        idle: Duration::from_secs(20),
        ping: Duration::from_secs(10),
        ping_timeout: Duration::from_secs(20),
        bootstrap: Duration::from_secs(5),
        quic_idle: Duration::from_secs(6),
        prune_backoff: Duration::from_secs(5),
    };
    const PUBLIC: Self = Self {
        redial_min: Duration::from_secs(1),
        redial_max: Duration::from_secs(120),
        yield_delay: Duration::from_secs(1),
        lookup_max: Duration::from_secs(120),
        ban: Duration::from_secs(60),
        handshake: Duration::from_secs(5),
        identify: Duration::from_secs(15),
        idle: Duration::from_secs(30),
        ping: Duration::from_secs(15),
        ping_timeout: Duration::from_secs(20),
        bootstrap: Duration::from_secs(30),
        quic_idle: Duration::from_secs(10),
        prune_backoff: Duration::from_secs(30),
    };
}
