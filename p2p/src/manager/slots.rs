//! Which connections and handshakes there are, by id, peer, host and group. It refuses nothing.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::evict::Candidate;
use super::group::{Group, Host};
use crate::mesh::Direction;

#[derive(Debug)]
struct Connection<P> {
    peer: P,
    ip: Option<IpAddr>,
    direction: Direction,
    /// This node chose to dial the peer.
    is_chosen: bool,
    since: Instant,
    /// It is being closed by us, and counts no more.
    is_closing: bool,
}

/// A peer with at least one connection.
#[derive(Debug)]
pub(super) struct Connected<C> {
    /// By order of establishment.
    ids: BTreeMap<u64, C>,
    pub(super) is_identified: bool,
    pub(super) rtt: Option<Duration>,
    pub(super) useful: Option<Instant>,
}

/// What there is of each kind, those that are being closed aside where not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) total: usize,
    /// Of peers that are [`PeerClass::Inbound`](crate::PeerClass::Inbound), and of them at one host and in one group.
    pub(super) inbound: usize,
    /// With those that are being closed: a host whose connections do not end gets no more.
    pub(super) of_host: usize,
    pub(super) of_group: usize,
    /// Those that are being closed.
    pub(super) closing: usize,
}

/// The last connection of a peer has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone<P> {
    pub(super) peer: P,
    pub(super) was_identified: bool,
}

#[derive(Debug)]
pub(super) struct Slots<C, P> {
    handshakes: HashMap<C, (Option<IpAddr>, Direction)>,
    connections: HashMap<C, Connection<P>>,
    peers: HashMap<P, Connected<C>>,
    next_number: u64,
}

impl<C: Eq + Hash + Copy, P: Eq + Hash + Copy> Slots<C, P> {
    pub(super) fn new() -> Self {
        Self { handshakes: HashMap::new(), connections: HashMap::new(), peers: HashMap::new(), next_number: 0 }
    }

    pub(super) fn handshake_begins(&mut self, id: C, ip: Option<IpAddr>, direction: Direction) {
        self.handshakes.insert(id, (ip, direction));
    }

    pub(super) fn handshake_ended(&mut self, id: &C) {
        self.handshakes.remove(id);
    }

    /// Handshakes in one direction.
    pub(super) fn handshakes(&self, direction: Direction) -> usize {
        self.handshakes.values().filter(|(_, of)| *of == direction).count()
    }

    /// Arriving handshakes of the host and of the group of `ip`.
    pub(super) fn handshakes_near(&self, ip: IpAddr) -> (usize, usize) {
        let ips = self.handshakes.values().filter(|(_, direction)| *direction == Direction::Inbound);
        let near = ips.filter_map(|(ip, _)| *ip).filter(|other| Group::of(*other) == Group::of(ip));
        near.fold((0, 0), |(host, group), other| (host + usize::from(Host::of(other) == Host::of(ip)), group + 1))
    }

    pub(super) fn establish(
        &mut self,
        id: C,
        peer: P,
        ip: Option<IpAddr>,
        (direction, is_chosen): (Direction, bool),
        now: Instant,
    ) {
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        self.connections.insert(id, Connection { peer, ip, direction, is_chosen, since: now, is_closing: false });
        let connected = self.peers.entry(peer).or_insert_with(|| Connected {
            ids: BTreeMap::new(),
            is_identified: false,
            rtt: None,
            useful: None,
        });
        connected.ids.insert(number, id);
    }

    /// Forgets a connection.
    pub(super) fn close(&mut self, id: &C) -> Option<Gone<P>> {
        let peer = self.connections.remove(id)?.peer;
        let connected = self.peers.get_mut(&peer)?;
        connected.ids.retain(|_, other| other != id);
        let was_identified = connected.is_identified;
        if connected.ids.is_empty() {
            self.peers.remove(&peer);
            return Some(Gone { peer, was_identified });
        }
        None
    }

    /// The connections of a peer, which count no more: they are being closed.
    pub(super) fn closing(&mut self, peer: &P) -> Vec<C> {
        let ids: Vec<C> = self.peers.get(peer).into_iter().flat_map(|it| it.ids.values().copied()).collect();
        for id in &ids {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.is_closing = true;
            }
        }
        ids
    }

    pub(super) fn peer(&self, peer: &P) -> Option<&Connected<C>> {
        self.peers.get(peer)
    }

    pub(super) fn peer_mut(&mut self, peer: &P) -> Option<&mut Connected<C>> {
        self.peers.get_mut(peer)
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &P> {
        self.peers.keys()
    }

    /// How many connections of a peer count.
    pub(super) fn connections_of(&self, peer: &P) -> usize {
        self.of(peer).count()
    }

    /// The connection of `peer` that has lasted longest.
    pub(super) fn oldest_of(&self, peer: &P) -> Option<C> {
        self.peers.get(peer)?.ids.first_key_value().map(|(_, id)| *id)
    }

    /// Since when there has been a connection to the peer.
    pub(super) fn since(&self, peer: &P) -> Option<Instant> {
        self.of(peer).map(|connection| connection.since).min()
    }

    /// This node wants the peer.
    pub(super) fn choose(&mut self, peer: &P) {
        for id in self.peers.get(peer).into_iter().flat_map(|it| it.ids.values()) {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.is_chosen = true;
            }
        }
    }

    /// Whether this node dialled one of its connections, for whatever reason.
    pub(super) fn is_dialled(&self, peer: &P) -> bool {
        self.of(peer).any(|connection| connection.direction == Direction::Outbound)
    }

    /// Whether this node chose to dial it.
    pub(super) fn is_outbound(&self, peer: &P) -> bool {
        self.of(peer).any(|connection| connection.is_chosen)
    }

    /// How many peers this node is connected to by its own choice.
    pub(super) fn outbound_peers(&self) -> usize {
        self.peers.keys().filter(|peer| self.is_outbound(peer)).count()
    }

    /// How many connections by our own choice go to each group.
    pub(super) fn outbound_groups(&self) -> HashMap<Group, usize> {
        let mut groups = HashMap::new();
        for connection in self.counted().filter(|connection| connection.is_chosen) {
            if let Some(ip) = connection.ip {
                *groups.entry(Group::of(ip)).or_default() += 1;
            }
        }
        groups
    }

    /// Counts the connections, and of those whose peer `is_inbound` those near `ip`; all of those only when there are at least `full`
    /// connections, so that a table with room costs little.
    pub(super) fn count(&self, ip: Option<IpAddr>, full: usize, is_inbound: impl Fn(&P) -> bool) -> Counts {
        let total = self.counted().count();
        let closing = self.connections.len().saturating_sub(total);
        let mut counts = Counts { total, closing, ..Counts::default() };
        let place = ip.map(|ip| (Host::of(ip), Group::of(ip)));
        for connection in self.connections.values() {
            let other = connection.ip.map(|ip| (Host::of(ip), Group::of(ip)));
            let near = place.zip(other).filter(|((_, here), (_, there))| here == there);
            if (near.is_some() || counts.total >= full) && is_inbound(&connection.peer) {
                counts.inbound += usize::from(!connection.is_closing);
                counts.of_group += usize::from(near.is_some() && !connection.is_closing);
                counts.of_host += usize::from(near.is_some_and(|((here, _), (there, _))| here == there));
            }
        }
        counts
    }

    /// Those of the peers that `may_go` and are not about to.
    pub(super) fn candidates(&self, has_groups: bool, may_go: impl Fn(&P) -> bool) -> Vec<Candidate<P>> {
        let candidate = |(peer, it): (&P, &Connected<C>)| {
            let (number, first) = it.ids.first_key_value()?;
            let first = self.connections.get(first).filter(|connection| !connection.is_closing)?;
            may_go(peer).then(|| Candidate {
                peer: *peer,
                group: first.ip.filter(|_| has_groups).map(Group::of),
                number: *number,
                is_identified: it.is_identified,
                rtt: it.rtt,
                useful: it.useful,
            })
        };
        self.peers.iter().filter_map(candidate).collect()
    }

    /// Whether one of the peers that `pick` takes is connected from this host.
    pub(super) fn is_host_of(&self, host: Host, pick: impl Fn(&P) -> bool) -> bool {
        self.connections.values().any(|it| it.ip.map(Host::of) == Some(host) && pick(&it.peer))
    }

    fn counted(&self) -> impl Iterator<Item = &Connection<P>> {
        self.connections.values().filter(|connection| !connection.is_closing)
    }

    fn of(&self, peer: &P) -> impl Iterator<Item = &Connection<P>> {
        let ids = self.peers.get(peer).into_iter().flat_map(|it| it.ids.values());
        ids.filter_map(|id| self.connections.get(id)).filter(|connection| !connection.is_closing)
    }
}
