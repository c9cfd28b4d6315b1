//! Connections, identification, round trips, rates, and what is shown of peers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId, identify, ping};

use super::{MeshTask, bootstrap, reach, with_peer};
use crate::addr::{self, Transport};
use crate::behaviour::split_agent;
use crate::bucket::TokenBucket;
use crate::events::Event;
use crate::gossip::GRAYLIST;
use crate::identity::to_public_key;
use crate::manager::Why;
use crate::mesh::{Direction, PeerInfo, PeerWhy, Snapshot};
use crate::protocol::Protocol;

/// Refusals for asking too often that a peer may collect in a burst, and per second, before it is shut out.
const STRIKES: (u32, u32) = (2000, 20);
/// Further Identify messages on its connections that a peer may send in a burst, and per second.
const UPDATES: (u32, u32) = (16, 1);
/// Rates are remembered this long after a peer was last heard, so that reconnecting does not fill its buckets.
const RATES_KEPT: Duration = Duration::from_secs(60);
/// A peer that names no topics is announced this long after its Identify message.
const ANNOUNCE: Duration = Duration::from_millis(500);
/// Runs of a peer that are remembered to have been replaced.
const MAX_REPLACED: usize = 4;
/// Peers that are said to run twice: whoever makes keys for the purpose does not fill the log.
const MAX_TWINS: usize = 16;
/// Peers whose rates are remembered.
const MAX_RATES: usize = 4096;

/// One connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    connections: Vec<Connection>,
    /// Name and version of its program; `None` before its first Identify message.
    agent: Option<String>,
    /// When to tell the application of it at the latest; `None` once that is done.
    announce: Option<Instant>,
    /// It has named its topics, or it has none: what we publish from now on reaches it.
    gossips: bool,
    /// It said so last.
    answers_lookups: bool,
    rtt: Option<Duration>,
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    transport: Transport,
    direction: Direction,
    /// Where the packets come from; `None` if they come through a third party.
    ip: Option<IpAddr>,
    since: Instant,
    /// Drawn anew at each start of the peer; `None` until it has identified itself on this connection.
    boot: Option<String>,
}

impl Peer {
    pub(super) const fn is_identified(&self) -> bool {
        self.agent.is_some()
    }

    const fn is_announced(&self) -> bool {
        self.is_identified() && self.announce.is_none()
    }
}

/// How often one peer may do things.
#[derive(Debug)]
pub(super) struct Rates {
    requests: HashMap<Protocol, TokenBucket>,
    updates: TokenBucket,
    strikes: TokenBucket,
    /// When the peer was last dialled to see where it is reached.
    reached_out: Option<Instant>,
    /// Boot ids of runs that another run of the peer has replaced.
    replaced: Vec<String>,
    used: Instant,
}

impl Rates {
    fn new(now: Instant) -> Self {
        Self {
            requests: HashMap::new(),
            updates: TokenBucket::new(UPDATES.0, UPDATES.1, now),
            strikes: TokenBucket::new(STRIKES.0, STRIKES.1, now),
            reached_out: None,
            replaced: Vec::new(),
            used: now,
        }
    }

    /// Notes that a run of the peer is there beside another one. Whether it has replaced that: not if either has been replaced before
    /// and is back, since a run that has ended does not come back.
    fn replaces(&mut self, new: &str, old: String) -> bool {
        let was_replaced = |boot: &str| self.replaced.iter().any(|it| it == boot);
        if was_replaced(new) || was_replaced(&old) {
            return false;
        }
        if self.replaced.len() >= MAX_REPLACED {
            self.replaced.remove(0);
        }
        self.replaced.push(old);
        true
    }
}

/// What a rate is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Use {
    Request(Protocol),
    /// Says anew who it is.
    Update,
}

impl<T: Send + 'static> MeshTask<T> {
    pub(super) fn on_connected(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let now = Instant::now();
        let (direction, remote) = match endpoint {
            ConnectedPoint::Dialer { address, .. } => (Direction::Outbound, address),
            ConnectedPoint::Listener { send_back_addr, .. } => (Direction::Inbound, send_back_addr),
        };
        // The swarm carries nothing else than these two; QUIC is the one over UDP.
        let transport = addr::transport(remote).unwrap_or(Transport::Tcp);
        let entry = self.peers.entry(peer).or_insert_with(|| Peer {
            connections: Vec::new(),
            agent: None,
            announce: None,
            gossips: false,
            answers_lookups: false,
            rtt: None,
        });
        entry.connections.push(Connection {
            id,
            transport,
            direction,
            ip: addr::own_ip(remote),
            since: now,
            boot: None,
        });
    }

    pub(super) fn on_disconnected(&mut self, peer: PeerId, id: ConnectionId, remaining: u32) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.connections.retain(|connection| connection.id != id);
        }
        if remaining > 0 {
            return;
        }
        let now = Instant::now();
        let Some(entry) = self.peers.remove(&peer) else { return };
        if !entry.is_identified() {
            self.bootstraps.lost(&peer, now);
            // Whom we have sent away has a cause of its own.
            if self.manager().check_ban(now, &peer).is_ok() {
                self.bootstraps.failed(&peer, || {
                    "it closed the connection before it said who it is: it is full, or refuses this node".to_owned()
                });
            }
            return self.on_unreachable(peer, "the peer hung up");
        }
        self.bootstraps.lost(&peer, now);
        if entry.is_announced()
            && let Some(node) = to_public_key(&peer)
        {
            self.tell(Event::PeerDisconnected(node));
            self.publish_snapshot();
        }
        if self.identified_peers() < self.config.limits.min_peers {
            self.manager().hurry(now);
            self.lookups.hurry(now);
        }
    }

    pub(super) fn on_dial_failed(&mut self, peer: PeerId, id: ConnectionId, error: &DialError) {
        let was_reaching = self.reaching.ended(id);
        // Unless its connection has ended meanwhile, and somebody waits for this dial.
        if (was_reaching && self.peers.contains_key(&peer)) || matches!(error, DialError::DialPeerConditionFalse(_)) {
            return;
        }
        tracing::debug!(peer = %peer, %error, "dial failed");
        if matches!(error, DialError::Denied { .. }) {
            self.on_denied(peer, &error.to_string());
        } else {
            self.bootstraps.failed(&peer, || bootstrap::cause_of(error));
            self.on_unreachable(peer, &error.to_string());
        }
    }

    pub(super) fn on_identify(&mut self, event: identify::Event) {
        match event {
            identify::Event::Received { peer_id, connection_id, info } => {
                self.on_identified(peer_id, connection_id, info);
            }
            identify::Event::Error { peer_id, connection_id, error } => {
                tracing::debug!(peer = %peer_id, %error, "the peer does not identify itself");
                self.counters.add("peers", "identify-failed");
                self.swarm.close_connection(connection_id);
            }
            _ => {}
        }
    }

    fn on_identified(&mut self, peer: PeerId, connection: ConnectionId, info: identify::Info) {
        let now = Instant::now();
        if info.protocol_version != self.names.network {
            tracing::debug!(peer = %peer, "a peer of another network is sent away");
            self.counters.add("peers", "foreign-network");
            self.bootstraps.failed(&peer, || "it belongs to another network".to_owned());
            self.on_other_network(peer);
            self.send_away(peer, now);
            return;
        }
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let (agent, boot) = split_agent(&info.agent_version);
        let boot = boot.unwrap_or_default();
        let boots = entry.connections.iter().filter_map(|c| c.boot.clone());
        if let Some(other) = boots.into_iter().find(|known| known != boot) {
            let rates = self.rates.entry(peer).or_insert_with(|| Rates::new(now));
            rates.used = now;
            if rates.replaces(boot, other) {
                // Gossipsub introduces itself on a peer's first connection only. The peer knows nothing of the old ones,
                // so all must go; both sides dial again at once.
                tracing::debug!(peer = %peer, "the peer has restarted; its old connections are closed");
                self.counters.add("peers", "restarted");
                let _gone = self.swarm.disconnect_peer_id(peer);
                return;
            }
            // Two machines with one key: neither may keep the other from hearing of it.
            self.counters.add("peers", "runs-twice");
            if self.twins.len() < MAX_TWINS && self.twins.insert(peer) {
                tracing::warn!(
                    peer = %peer,
                    "a node runs on two machines: both have its key, and peers reach now the one and now the other. If it is yours, stop one \
                     of them: a copy of a home never runs beside the first"
                );
            }
        }
        let Some(of_connection) = entry.connections.iter_mut().find(|c| c.id == connection) else { return };
        let is_update = of_connection.boot.replace(boot.to_owned()).is_some();
        let observed = of_connection.ip;
        if entry.agent.replace(agent).is_none() {
            entry.announce = Some(now + ANNOUNCE);
        }

        // The first message of a connection is what it is good for; more of them only change what is known.
        if is_update && !self.may(peer, Use::Update) {
            return self.counters.add("peers", "identify-rate");
        }
        self.learn_claims(peer, info.listen_addrs, observed, now);
        self.manager().identified(&peer);
        let tellable = self.manager().confirmed(&peer);
        self.bootstraps.answered(&peer);
        let answers_lookups = info.protocols.contains(&self.names.kad);
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.answers_lookups = answers_lookups;
        }
        self.route(&peer, if answers_lookups { tellable } else { Vec::new() });
        self.announce_ready(now);
        self.flush_waiting(peer);
        self.resume_searches();
    }

    /// A peer has named its topics, or does not gossip.
    pub(super) fn on_gossip_known(&mut self, peer: &PeerId) {
        if let Some(entry) = self.peers.get_mut(peer)
            && !std::mem::replace(&mut entry.gossips, true)
        {
            self.announce_ready(Instant::now());
        }
    }

    /// Tells the application of peers that have identified themselves, once gossip reaches them.
    pub(super) fn announce_ready(&mut self, now: Instant) {
        let mut ready = Vec::new();
        for (peer, entry) in &mut self.peers {
            if entry.announce.is_some_and(|latest| entry.gossips || latest <= now) {
                entry.announce = None;
                ready.extend(to_public_key(peer));
            }
        }
        if !ready.is_empty() {
            self.publish_snapshot();
            for node in ready {
                self.tell(Event::PeerConnected(node));
            }
        }
    }

    /// What a peer says of its addresses is told on only when it is where the peer's packets come from: otherwise one
    /// peer could send the whole network to a third party's door.
    fn learn_claims(&mut self, peer: PeerId, claimed: Vec<Multiaddr>, observed: Option<IpAddr>, now: Instant) {
        let addresses = claimed.into_iter().map(|address| addr::split_peer(address).1);
        let dialable = addresses.filter(|address| addr::dialable(address, self.config.local));
        let (plausible, doubtful): (Vec<_>, Vec<_>) =
            dialable.partition(|address| observed.is_some() && addr::ip(address) == observed);
        if let Some(observed) = observed {
            let told = self.manager().confirmed(&peer);
            let unknown: Vec<_> = doubtful.iter().filter(|address| !told.contains(address)).cloned().collect();
            let rates = self.rates.entry(peer).or_insert_with(|| Rates::new(now));
            let is_due = rates.reached_out.is_none_or(|last| now.duration_since(last) >= reach::PAUSE);
            if is_due && self.reaching.note(peer, observed, &unknown) {
                rates.reached_out = Some(now);
            }
        }
        self.manager().replace_claims(now, peer, plausible, doubtful);
    }

    /// Replaces what the routing table has of a peer, and so tells others. Kademlia itself only ever adds, until the entry is larger than an
    /// answer may be, and no answer that holds it can be read.
    pub(super) fn route(&mut self, peer: &PeerId, addresses: Vec<Multiaddr>) {
        let kad = &mut self.swarm.behaviour_mut().kad;
        let mut known = Vec::new();
        if let Some(bucket) = kad.kbucket(*peer) {
            let entries = bucket.iter().filter(|entry| entry.node.key.preimage() == peer);
            known.extend(entries.flat_map(|entry| entry.node.value.clone().into_vec()));
        }
        if addresses.is_empty() || known.is_empty() {
            // A peer that waits for a place is in no bucket yet.
            kad.remove_peer(peer);
        }
        known.retain(|known| !addresses.contains(&addr::split_peer(known.clone()).1));
        for address in addresses {
            kad.add_address(peer, address);
        }
        for stale in known {
            kad.remove_address(peer, &stale);
        }
    }

    /// Closes the connections to a peer that does not belong here and forgets it.
    pub(super) fn send_away(&mut self, peer: PeerId, now: Instant) {
        let end = now + self.timing.ban;
        self.manager().ban(now, peer, end);
        self.swarm.behaviour_mut().kad.remove_peer(&peer);
        // An error means that it has gone already.
        let _gone = self.swarm.disconnect_peer_id(peer);
    }

    pub(super) fn on_ping(&mut self, event: ping::Event) {
        match event.result {
            Ok(rtt) => {
                if let Some(entry) = self.peers.get_mut(&event.peer) {
                    entry.rtt = Some(rtt);
                }
                self.manager().round_trip(&event.peer, rtt);
            }
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                tracing::debug!(peer = %event.peer, %error, "no answer to a ping; the connection is closed");
                self.counters.add("peers", "ping-failed");
                self.swarm.close_connection(event.connection);
            }
        }
    }

    /// A connection on which nobody identifies himself is of no use, and may be the remains of an earlier run that
    /// hide a new one: all go.
    pub(super) fn drop_unidentified(&mut self, now: Instant) {
        let late = |c: &Connection| c.boot.is_none() && now.duration_since(c.since) > self.timing.identify;
        let late = self.peers.iter().filter(|(_, entry)| entry.connections.iter().any(late));
        let late: Vec<PeerId> = late.map(|(peer, _)| *peer).collect();
        for peer in late {
            self.counters.add("peers", "unidentified");
            let _gone = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// Peers that gossip does not listen to need no connection.
    pub(super) fn send_bad_scores_away(&mut self, now: Instant) {
        let gossip = &self.swarm.behaviour().gossip;
        let bad = self.peers.keys().filter(|peer| gossip.peer_score(peer).is_some_and(|score| score < GRAYLIST));
        let bad: Vec<PeerId> = bad.copied().collect();
        for peer in bad {
            tracing::debug!(peer = %peer, "the peer's score is too low; it is sent away");
            self.counters.add("peers", "bad-score");
            self.send_away(peer, now);
        }
    }

    /// Whether `peer` may do this once more now. A peer that goes on after many refusals is sent away.
    pub(super) fn may(&mut self, peer: PeerId, what: Use) -> bool {
        let now = Instant::now();
        let rates = self.rates.entry(peer).or_insert_with(|| Rates::new(now));
        rates.used = now;
        let bucket = match what {
            Use::Update => &mut rates.updates,
            Use::Request(protocol) => rates.requests.entry(protocol).or_insert_with(|| {
                let limits = protocol.limits();
                TokenBucket::new(limits.burst, limits.per_second, now)
            }),
        };
        let allowed = bucket.take(now);
        if !allowed && !rates.strikes.take(now) {
            tracing::debug!(peer = %peer, ?what, "the peer floods; it is sent away");
            self.counters.add("peers", "flooding");
            self.send_away(peer, now);
        }
        allowed
    }

    pub(super) fn forget_rates(&mut self, now: Instant) {
        let peers = &self.peers;
        let is_of_use = |rates: &Rates| {
            now.duration_since(rates.used) < RATES_KEPT
                || rates.reached_out.is_some_and(|last| now.duration_since(last) < reach::PAUSE)
        };
        self.rates.retain(|peer, rates| peers.contains_key(peer) || is_of_use(rates));
        if self.rates.len() > MAX_RATES {
            self.rates.retain(|peer, _| peers.contains_key(peer));
        }
    }

    pub(super) fn connections_of(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).map_or(0, |entry| entry.connections.len())
    }

    pub(super) fn answers_lookups(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|entry| entry.answers_lookups)
    }

    pub(super) fn identified_peers(&self) -> usize {
        self.peers.values().filter(|entry| entry.is_identified()).count()
    }

    /// Shows the peers as they are now; wakes those who wait only when something has changed.
    pub(super) fn publish_snapshot(&self) {
        let mut peers: Vec<PeerInfo> =
            self.peers.iter().filter_map(|(peer, entry)| self.peer_info(*peer, entry)).collect();
        peers.sort_by_key(|info| info.key);
        let alerts = self.bootstraps.silent().collect();
        let new = Snapshot { peers, listening: self.listening.clone(), alerts };
        self.snapshot.send_if_modified(|old| {
            let changed = *old != new;
            *old = new;
            changed
        });
    }

    /// What the manager does about each peer.
    pub(super) fn why(&mut self) -> Vec<PeerWhy> {
        let why = self.manager().why(Instant::now()).into_iter();
        let known = why.filter_map(|Why { peer, class, is_connected, text }| {
            Some(PeerWhy { key: to_public_key(&peer)?, class, connected: is_connected, why: text })
        });
        known.collect()
    }

    fn peer_info(&self, peer: PeerId, entry: &Peer) -> Option<PeerInfo> {
        let agent = entry.agent.clone().filter(|_| entry.is_announced())?;
        let first = entry.connections.first()?;
        let manager = &self.swarm.behaviour().guard.manager;
        let text = |addresses: Vec<Multiaddr>| addresses.into_iter().map(|address| with_peer(address, peer)).collect();
        Some(PeerInfo {
            key: to_public_key(&peer)?,
            peer_id: peer.to_string(),
            addresses: text(manager.addresses(&peer)),
            confirmed: text(manager.confirmed(&peer)),
            class: manager.class(&peer),
            remote: first.ip,
            transport: first.transport,
            direction: first.direction,
            connections: entry.connections.len(),
            rtt_micros: entry.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
            score: self.swarm.behaviour().gossip.peer_score(&peer).unwrap_or_default(),
            agent,
        })
    }
}
