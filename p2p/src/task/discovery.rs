//! Finding peers: lookups in the DHT, and dialling whom the peer manager names.
//!
//! A lookup asks for the own id (who is near me) and for a random id (who is far away) in turn, often at first and
//! rarer later; falling below the floor of peers starts over. A validator asks for another one that it does not know in place of a random
//! id, and goes on often as long as there is one: votes come from validators alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::kad::{self, GetClosestPeersError, GetClosestPeersOk, PeerInfo, QueryId, QueryResult};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};

use super::MeshTask;
use crate::addr;
use crate::manager::Source;

/// Wait before the second lookup; doubles from lookup to lookup.
const LOOKUP_MIN: Duration = Duration::from_millis(500);
/// Longest wait of a validator that does not know where all others are.
const LOOKUP_FOR_VALIDATORS: Duration = Duration::from_secs(5);
/// Addresses taken over from one answer for one peer.
const MAX_HEARD: usize = 4;

/// Whether a peer is being looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    Begun,
    /// There is nobody to ask.
    Nobody,
    /// As many others are looked for as may be at a time.
    TooMany,
}

/// When to look next, and for whom we are looking.
#[derive(Debug)]
pub(super) struct Lookups {
    next: Instant,
    wait: Duration,
    max_wait: Duration,
    count: u64,
    searches: HashMap<QueryId, PeerId>,
}

impl Lookups {
    pub(super) fn new(max_wait: Duration, now: Instant) -> Self {
        Self { next: now, wait: LOOKUP_MIN, max_wait, count: 0, searches: HashMap::new() }
    }

    /// Starts over: the node is short of peers.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.wait = LOOKUP_MIN;
        self.next = self.next.min(now + LOOKUP_MIN);
    }

    /// The next one is then at the latest.
    fn within(&mut self, latest: Instant) {
        self.next = self.next.min(latest);
    }

    /// The number of the lookup that is due.
    fn due(&mut self, now: Instant) -> Option<u64> {
        if now < self.next {
            return None;
        }
        self.next = now + self.wait;
        self.wait = self.wait.saturating_mul(2).min(self.max_wait);
        self.count = self.count.wrapping_add(1);
        Some(self.count)
    }

    /// Whether `peer` is being looked for.
    pub(super) fn searching(&self, peer: &PeerId) -> bool {
        self.searches.values().any(|wanted| wanted == peer)
    }
}

/// A fresh port for each connection: with the listening port, two nodes that dial each other at once would meet in
/// one TCP connection that both think they opened, and a restarted node would meet the remains of its old ones.
pub(super) fn dial_opts(peer: PeerId, addresses: Vec<Multiaddr>) -> DialOpts {
    DialOpts::peer_id(peer)
        .condition(PeerCondition::DisconnectedAndNotDialing)
        .addresses(addresses)
        .allocate_new_port()
        .build()
}

impl<T: Send + 'static> MeshTask<T> {
    /// Dials who is due and looks for more.
    pub(super) fn look_around(&mut self, now: Instant) {
        for (peer, addresses) in self.manager().due(now) {
            // The manager hears of failures from the guard.
            if let Err(error) = self.swarm.dial(dial_opts(peer, addresses)) {
                tracing::debug!(peer = %peer, %error, "not dialled");
            }
        }
        if self.identified_peers() > 0
            && let Some(count) = self.lookups.due(now)
        {
            let own = *self.swarm.local_peer_id();
            let mut anywhere = [0; 32];
            let is_random = getrandom::fill(&mut anywhere).is_ok();
            let validator = self
                .manager()
                .unknown_validator(anywhere.iter().fold(count, |sum, byte| sum.wrapping_mul(31) ^ u64::from(*byte)));
            if validator.is_some() {
                self.lookups.within(now + LOOKUP_FOR_VALIDATORS);
            }
            let kad = &mut self.swarm.behaviour_mut().kad;
            // Without randomness there are more lookups near the own id.
            match validator {
                _ if count % 2 == 1 => kad.get_closest_peers(own),
                Some(validator) => kad.get_closest_peers(validator),
                // Drawn anew each time: nobody can have placed himself there before.
                None if is_random => kad.get_closest_peers(anywhere.to_vec()),
                None => kad.get_closest_peers(own),
            };
        }
    }

    /// Asks the DHT for the addresses of one peer, if there is somebody to ask.
    pub(super) fn search(&mut self, peer: PeerId) -> Search {
        if self.identified_peers() == 0 {
            return Search::Nobody;
        }
        if self.lookups.searches.len() >= self.config.limits.searches {
            return Search::TooMany;
        }
        let query = self.swarm.behaviour_mut().kad.get_closest_peers(peer);
        self.lookups.searches.insert(query, peer);
        Search::Begun
    }

    pub(super) fn on_kad(&mut self, event: kad::Event) {
        let kad::Event::OutboundQueryProgressed { id, result, step, .. } = event else { return };
        if let QueryResult::GetClosestPeers(result) = result {
            let (Ok(GetClosestPeersOk { peers, .. }) | Err(GetClosestPeersError::Timeout { peers, .. })) = result;
            self.learn_of_others(peers);
        }
        if step.last
            && let Some(wanted) = self.lookups.searches.remove(&id)
        {
            self.on_search_ended(wanted);
        }
    }

    fn learn_of_others(&mut self, peers: Vec<PeerInfo>) {
        let now = Instant::now();
        for PeerInfo { peer_id, addrs } in peers {
            let addresses = addrs.into_iter().map(|address| addr::split_peer(address).1);
            let dialable = addresses.filter(|address| addr::dialable(address, self.config.local));
            let heard: Vec<_> = dialable.take(MAX_HEARD).collect();
            self.manager().learn(now, peer_id, heard, Source::ThirdParty);
        }
    }
}
