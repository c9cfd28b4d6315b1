//! Whether a peer is reached at addresses that it names and that its packets do not come from.
//!
//! A connection shows one IP family, and what a peer says of itself is told on only where its packets come from. So a peer is dialled once at
//! what it names of the other family, beside the connection that there is; only the holder of its key can answer. What answers is told on.

use std::cmp::Reverse;
use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};

use super::MeshTask;
use crate::addr;

/// Between two such dials for one peer. Each goes wherever the peer wants, so there are few.
pub(super) const PAUSE: Duration = Duration::from_secs(600);
/// Addresses dialled for one peer at a time.
const MAX_ADDRESSES: usize = 4;
/// Peers that wait for their turn; more have it with a later Identify message.
const MAX_WAITING: usize = 256;
/// Such dials under way.
const MAX_DIALS: usize = 4;
/// A peer with more connections than this is left alone: one more could cost it its oldest.
const MAX_CONNECTIONS: usize = 1;

/// Dials that show where a peer is reached.
#[derive(Debug, Default)]
pub(super) struct Reaching {
    waiting: VecDeque<(PeerId, Vec<Multiaddr>)>,
    dials: HashSet<ConnectionId>,
}

impl Reaching {
    /// Notes what `peer`, whose packets come from `observed`, names of the other IP family. False if there is nothing, or no room.
    pub(super) fn note(&mut self, peer: PeerId, observed: IpAddr, named: &[Multiaddr]) -> bool {
        if self.waiting.len() >= MAX_WAITING {
            return false;
        }
        let mut other: Vec<_> = named.iter().filter_map(|address| Some((addr::ip(address)?, address))).collect();
        other.retain(|(ip, _)| ip.is_ipv4() != observed.is_ipv4());
        // Those that most likely lead elsewhere come last.
        other.sort_by_key(|(ip, address)| (Reverse(addr::dialable(address, false)), ip.is_loopback()));
        let addresses: Vec<_> = other.into_iter().take(MAX_ADDRESSES).map(|(_, address)| address.clone()).collect();
        let is_any = !addresses.is_empty();
        if is_any {
            self.waiting.push_back((peer, addresses));
        }
        is_any
    }

    /// Whether this was such a dial. It is over then.
    pub(super) fn ended(&mut self, id: ConnectionId) -> bool {
        self.dials.remove(&id)
    }
}

impl<T: Send + 'static> MeshTask<T> {
    /// Dials the next peers that wait for it.
    pub(super) fn reach_out(&mut self) {
        while self.reaching.dials.len() < MAX_DIALS
            && let Some((peer, addresses)) = self.reaching.waiting.pop_front()
        {
            let is_fit = (1..=MAX_CONNECTIONS).contains(&self.connections_of(&peer));
            let options = DialOpts::peer_id(peer)
                .condition(PeerCondition::Always)
                .addresses(addresses)
                .allocate_new_port()
                .build();
            let id = options.connection_id();
            // What our own limits refuse is tried again after the pause.
            if is_fit && self.swarm.dial(options).is_ok() {
                self.reaching.dials.insert(id);
            }
        }
    }

    /// The peer was reached there: others may know. The connection has served its purpose.
    pub(super) fn on_reached(&mut self, peer: PeerId, id: ConnectionId) {
        if self.answers_lookups(&peer) {
            let tellable = self.manager().confirmed(&peer);
            self.route(&peer, tellable);
        }
        if self.connections_of(&peer) > 1 {
            self.swarm.close_connection(id);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_other_family_is_tried_and_routed_addresses_first() {
        let (mut reaching, peer) = (Reaching::default(), PeerId::random());
        let named = addresses(&[
            "/ip6/::1/tcp/1",
            "/ip4/9.9.9.9/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/2606::1/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/ip6/2606::1/udp/1/quic-v1",
            "/dns6/example.org/tcp/1",
        ]);
        let observed = [8, 8, 8, 8].into();
        assert!(!reaching.note(peer, observed, &named[1..2]), "none of the other family");
        assert!(reaching.note(peer, observed, &named));
        let tried = ["/ip6/2606::1/tcp/1", "/ip6/2606::1/udp/1/quic-v1", "/ip6/fe80::1/tcp/1", "/ip6/fd00::1/tcp/1"];
        assert_eq!(reaching.waiting, [(peer, addresses(&tried))]);
        let taken = (0..2 * MAX_WAITING).filter(|_| reaching.note(PeerId::random(), observed, &named)).count();
        assert_eq!((taken, reaching.waiting.len()), (MAX_WAITING - 1, MAX_WAITING));
    }
}
