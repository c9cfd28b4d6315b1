//! Decides whom to dial, keep, evict and ban, and says why. Pure: time and randomness are arguments, what is to be done is returned.
//!
//! ```text
//!  guard (libp2p) --- handshakes, connections, failed dials ---> PeerManager ---> connections to close
//!  event loop ------- identification, addresses, bans ---------> slots, book, bans ---> peers to dial
//! ```
//!
//! A peer is *trusted* (of the configuration, or a validator of the current set), *outbound* (this node chose to dial it) or *inbound*:
//! it dialled us, or a lookup of Kademlia dialled it, to which others may lead us at will. Inbound peers hold at most [`Bounds::inbound`] slots: the rest is kept for the others, who take the place of inbound ones when even that is
//! full. A newcomer is let in where slots are full, and somebody is evicted for it, as `evict.rs` says; trusted peers never are.

mod bans;
mod book;
mod bounds;
mod evict;
mod group;
mod slots;
#[cfg(test)]
mod tests;
mod why;

use std::collections::HashSet;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::{Limits, Timing};
use crate::mesh::{Direction, PeerClass};
use bans::Bans;
use book::Book;
pub(crate) use book::Source;
pub(crate) use bounds::{Bounds, Refusal};
pub(crate) use group::Group;
use group::Host;
use slots::{Gone, Slots};
pub(crate) use why::Why;

/// Peers dialled at a time.
const DIALS: usize = 8;
/// Hosts of one group that may be in their handshakes at a time.
const HOSTS_IN_GROUP: usize = 8;
/// Of this part of the dialling target, one group may be: whoever has one group does not get all of it.
const GROUP_SHARE: usize = 6;

/// Where a peer can be dialled.
pub(crate) trait Address: Clone + PartialEq {
    /// The IP address, if it says one.
    fn ip(&self) -> Option<IpAddr>;
}

/// What becomes of a connection whose handshake has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arrival<C, P> {
    pub(crate) verdict: Result<(), Refusal>,
    /// Peers that make room, with all their connections.
    pub(crate) evicted: Vec<P>,
    /// Connections to close.
    pub(crate) close: Vec<(P, C)>,
}

/// The manager of the node `own`. `C` are connections, `P` peers, `A` addresses.
#[derive(Debug)]
pub(crate) struct PeerManager<C, P, A> {
    own: P,
    bounds: Bounds,
    /// Ranks groups as nobody else can.
    secret: [u8; 32],
    validators: HashSet<P>,
    slots: Slots<C, P>,
    bans: Bans<P>,
    book: Book<P, A>,
}

impl<C: Eq + Hash + Copy, P: Ord + Hash + Copy, A: Address> PeerManager<C, P, A> {
    /// Knows nobody. `secret` must be drawn at random.
    pub(crate) fn new(own: P, bounds: Bounds, timing: Timing, secret: [u8; 32]) -> Self {
        Self {
            own,
            bounds,
            secret,
            validators: HashSet::new(),
            slots: Slots::new(),
            bans: Bans::new(),
            book: Book::new(own, timing, bounds.known),
        }
    }

    /// Replaces the validators of the current set.
    pub(crate) fn set_validators(&mut self, validators: HashSet<P>) {
        self.validators = validators;
    }

    pub(crate) fn class(&self, peer: &P) -> PeerClass {
        if self.is_trusted(peer) {
            PeerClass::Trusted
        } else if self.slots.is_outbound(peer) {
            PeerClass::Outbound
        } else {
            PeerClass::Inbound
        }
    }

    /// Notes a handshake, if it may begin. Who arrives is not known before its end.
    pub(crate) fn handshake_begins(
        &mut self,
        now: Instant,
        id: C,
        ip: Option<IpAddr>,
        direction: Direction,
    ) -> Result<(), Refusal> {
        let (bound, refusal) = match direction {
            Direction::Inbound => (self.bounds.pending_inbound, Refusal::PendingInbound),
            Direction::Outbound => (self.bounds.pending_outbound, Refusal::PendingOutbound),
        };
        if self.slots.handshakes(direction) >= bound {
            return Err(refusal);
        }
        if direction == Direction::Inbound
            && let (Some(near), Some(ip)) = (self.bounds.near, ip)
        {
            if self.bans.is_host_blocked(&Host::of(ip), now) {
                return Err(Refusal::BannedHost);
            }
            let (of_host, of_group) = self.slots.handshakes_near(ip);
            if of_host >= near.pending_per_host {
                return Err(Refusal::PendingPerHost);
            }
            if of_group >= near.pending_per_host.saturating_mul(HOSTS_IN_GROUP) {
                return Err(Refusal::PendingPerGroup);
            }
        }
        self.slots.handshake_begins(id, ip, direction);
        Ok(())
    }

    /// The handshake succeeded or failed.
    pub(crate) fn handshake_ended(&mut self, id: &C) {
        self.slots.handshake_ended(id);
    }

    /// Whether a peer is banned.
    pub(crate) fn check_ban(&self, now: Instant, peer: &P) -> Result<(), Refusal> {
        self.bans.end(peer, now).map_or(Ok(()), |_| Err(Refusal::Banned))
    }

    /// Whether a connection whose handshake has ended is let in, and who makes room for it.
    pub(crate) fn arrives(&mut self, now: Instant, peer: P, ip: Option<IpAddr>, direction: Direction) -> Arrival<C, P> {
        let mut arrival = Arrival { verdict: Ok(()), evicted: Vec::new(), close: Vec::new() };
        if let Some(end) = self.bans.end(&peer, now) {
            self.block_host_of_banned(now, ip, direction, end);
            arrival.verdict = Err(Refusal::Banned);
        } else if self.slots.connections_of(&peer) >= self.bounds.per_peer {
            // Only the holder of the peer's key gets here: it wants a new connection more than its oldest one.
            arrival.close.extend(self.slots.oldest_of(&peer).map(|oldest| (peer, oldest)));
            arrival.verdict = Err(Refusal::PerPeer);
        } else {
            arrival.verdict = self.make_room(peer, ip, direction, &mut arrival);
        }
        arrival
    }

    /// A peer that is banned and comes back must not cost us a handshake each time. Where a trusted peer is, nobody is refused for what
    /// another one did.
    fn block_host_of_banned(&mut self, now: Instant, ip: Option<IpAddr>, direction: Direction, end: Instant) {
        let (Some(_), Some(ip), Direction::Inbound) = (self.bounds.near, ip, direction) else { return };
        let host = Host::of(ip);
        if !self.slots.is_host_of(host, |peer| self.is_trusted(peer)) {
            self.bans.block_host(host, end, now);
        }
    }

    fn make_room(
        &mut self,
        peer: P,
        ip: Option<IpAddr>,
        direction: Direction,
        arrival: &mut Arrival<C, P>,
    ) -> Result<(), Refusal> {
        let is_trusted = self.is_trusted(&peer);
        let is_inbound = !is_trusted && !self.is_chosen(&peer, direction) && !self.slots.is_outbound(&peer);
        loop {
            let near = self.bounds.near.filter(|_| is_inbound);
            let full = if is_inbound { self.bounds.inbound } else { usize::MAX };
            let counts = self.slots.count(ip.filter(|_| near.is_some()), full, |peer| self.is_inbound(peer));
            if near.is_some_and(|near| counts.of_host >= near.per_host) {
                return Err(Refusal::PerHost);
            }
            let (within, refusal) = if near.is_some_and(|near| counts.of_group >= near.per_group) {
                (ip.map(Group::of), Refusal::PerGroup)
            } else if is_inbound && counts.inbound >= self.bounds.inbound {
                (None, Refusal::Inbound)
            } else if counts.total >= self.bounds.total {
                (None, Refusal::Total)
            } else {
                return Ok(());
            };
            if is_inbound && counts.closing >= Limits::CLOSING {
                return Err(Refusal::Closing);
            }
            let inbound = self.candidates(|other| *other != peer && self.is_inbound(other));
            let mut chosen = evict::choose(&inbound, within, &self.secret);
            if chosen.is_none() && is_trusted {
                let strangers = self.candidates(|other| *other != peer && !self.is_trusted(other));
                chosen = evict::choose(&strangers, None, &self.secret);
            }
            let evicted = chosen.ok_or(refusal)?;
            arrival.close.extend(self.slots.closing(&evicted).into_iter().map(|id| (evicted, id)));
            arrival.evicted.push(evicted);
        }
    }

    /// A connection has been established; `dialled` is where we reached the peer.
    pub(crate) fn established(
        &mut self,
        now: Instant,
        id: C,
        peer: P,
        ip: Option<IpAddr>,
        direction: Direction,
        dialled: Option<A>,
    ) {
        let is_chosen = self.is_chosen(&peer, direction);
        self.slots.establish(id, peer, ip, (direction, is_chosen), now);
        self.book.connected(peer, dialled, now);
    }

    /// A connection has ended.
    pub(crate) fn closed(&mut self, now: Instant, id: &C) {
        if let Some(Gone { peer, was_identified }) = self.slots.close(id) {
            self.book.disconnected(&peer, was_identified, now);
        }
    }

    /// No address of the peer answered.
    pub(crate) fn dial_failed(&mut self, now: Instant, peer: &P) {
        self.book.failed(peer, now);
    }

    /// A dial was refused here.
    pub(crate) fn dial_not_sent(&mut self, now: Instant, peer: &P) {
        self.book.not_sent(peer, now);
    }

    /// The peer has identified itself as one of ours.
    pub(crate) fn identified(&mut self, peer: &P) {
        if let Some(connected) = self.slots.peer_mut(peer) {
            connected.is_identified = true;
        }
        self.book.identified(peer);
    }

    pub(crate) fn round_trip(&mut self, peer: &P, rtt: Duration) {
        if let Some(connected) = self.slots.peer_mut(peer) {
            connected.rtt = Some(rtt);
        }
    }

    /// The peer has brought a message that we had not and that was accepted.
    pub(crate) fn useful(&mut self, now: Instant, peer: &P) {
        if let Some(connected) = self.slots.peer_mut(peer) {
            connected.useful = Some(now);
        }
    }

    /// Bans a peer until then. Its connections are not closed here.
    pub(crate) fn ban(&mut self, now: Instant, peer: P, end: Instant) {
        self.bans.ban(peer, end, now);
        self.book.shun(&peer, self.validators.contains(&peer), end);
    }

    /// A peer of the configuration.
    pub(crate) fn configure(&mut self, now: Instant, peer: P, address: A) {
        self.book.configure(peer, address, now);
    }

    /// Notes addresses of a peer.
    pub(crate) fn learn(&mut self, now: Instant, peer: P, addresses: impl IntoIterator<Item = A>, source: Source) {
        self.book.learn(peer, addresses, source, now);
        // The book may not have known it when it dialled us.
        if self.slots.peer(&peer).is_some() {
            self.book.connected(peer, None, now);
        }
    }

    /// Replaces what a peer says of itself: `claims` are at the address its packets come from, `others` elsewhere.
    pub(crate) fn replace_claims(&mut self, now: Instant, peer: P, claims: Vec<A>, others: Vec<A>) {
        self.book.forget_claims(&peer);
        self.learn(now, peer, claims, Source::Claim);
        self.learn(now, peer, others, Source::ThirdParty);
    }

    /// All addresses of a peer, best first.
    pub(crate) fn addresses(&self, peer: &P) -> Vec<A> {
        self.book.addresses(peer)
    }

    /// Those that others may be told: we reached it there in this run, or it claims them and its packets come from there.
    pub(crate) fn confirmed(&self, peer: &P) -> Vec<A> {
        self.book.confirmed(peer)
    }

    /// The application wanted a connection to the peer and has it.
    pub(crate) fn choose(&mut self, peer: &P) {
        self.slots.choose(peer);
    }

    /// The peer is dialled because the application wants it.
    pub(crate) fn dialling(&mut self, peer: &P) {
        self.book.dialling(peer);
    }

    /// The node is short of peers.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.book.hurry(now);
    }

    /// Peers to dial now, each with its addresses. Only outbound peers count towards the target, and one group makes up a part of it
    /// only; nodes of the configuration are always dialled, and so are validators by a validator.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(P, Vec<A>)> {
        let mut missing = self.bounds.target.saturating_sub(self.slots.outbound_peers());
        let mut groups = self.slots.outbound_groups();
        let Bounds { near, target, .. } = self.bounds;
        // Who does not answer for a while takes a place, too: one host could otherwise have all of them.
        for address in self.book.dialled() {
            missing = missing.saturating_sub(1);
            if let Some(ip) = near.and(address.ip()) {
                *groups.entry(Group::of(ip)).or_default() += 1;
            }
        }
        let (validators, is_validator) = (&self.validators, self.validators.contains(&self.own));
        let is_always = |peer: &P, is_configured: bool| is_configured || (is_validator && validators.contains(peer));
        let may = |is_always: bool, address: &A| {
            if is_always {
                return true;
            }
            let of_group = near.and(address.ip()).map(|ip| groups.entry(Group::of(ip)).or_default());
            let is_crowded = of_group.as_ref().is_some_and(|n| **n >= group_target(target));
            if missing == 0 || is_crowded {
                return false;
            }
            missing -= 1;
            of_group.into_iter().for_each(|n| *n += 1);
            true
        };
        self.book.due(DIALS, now, is_always, may)
    }

    /// One of the validators, by chance, whom this validator should dial and cannot, for it does not know where they are.
    pub(crate) fn unknown_validator(&self, chance: u64) -> Option<P> {
        let is_unknown =
            |peer: &&P| **peer != self.own && self.slots.peer(peer).is_none() && self.book.addresses(peer).is_empty();
        let unknown: Vec<_> = self.validators.iter().filter(is_unknown).collect();
        let number = u64::try_from(unknown.len()).ok().filter(|_| self.validators.contains(&self.own))?;
        let chosen = usize::try_from(chance.checked_rem(number)?).ok()?;
        unknown.get(chosen).map(|peer| **peer)
    }

    fn is_always_dialled(&self, peer: &P) -> bool {
        self.book.is_configured(peer) || (self.validators.contains(&self.own) && self.validators.contains(peer))
    }

    /// One reason for each peer that is connected, known or banned.
    pub(crate) fn why(&self, now: Instant) -> Vec<Why<P>> {
        why::why(self, now)
    }

    fn is_trusted(&self, peer: &P) -> bool {
        self.validators.contains(peer) || self.book.is_configured(peer)
    }

    fn is_chosen(&self, peer: &P, direction: Direction) -> bool {
        direction == Direction::Outbound && self.book.is_dialling(peer)
    }

    fn is_inbound(&self, peer: &P) -> bool {
        self.class(peer) == PeerClass::Inbound
    }

    fn candidates(&self, may_go: impl Fn(&P) -> bool) -> Vec<evict::Candidate<P>> {
        self.slots.candidates(self.bounds.near.is_some(), may_go)
    }
}

/// How many outbound peers of one group we dial.
const fn group_target(target: usize) -> usize {
    target.div_ceil(GROUP_SHARE)
}

#[cfg(test)]
pub(crate) mod testing {
    use std::time::Duration;

    use crate::config::Timing;

    pub(crate) const TIMING: Timing = Timing {
        bootstrap: Duration::ZERO,
        redial_min: Duration::from_secs(1),
        redial_max: Duration::from_secs(8),
        yield_delay: Duration::from_millis(500),
        lookup_max: Duration::ZERO,
        ban: Duration::ZERO,
        handshake: Duration::ZERO,
        identify: Duration::ZERO,
        idle: Duration::ZERO,
        ping: Duration::ZERO,
        ping_timeout: Duration::ZERO,
        quic_idle: Duration::ZERO,
        prune_backoff: Duration::ZERO,
    };
}
