//! The address book: whom we know, how to reach them, and when to dial next. Pure; time is an argument.
//!
//! Addresses that we reached a peer at are verified and come first. Peers from the configuration never leave the
//! book; peers that once identified themselves leave only for want of room; hearsay leaves after a few failures.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::config::Timing;

/// Addresses of one peer.
const MAX_ADDRESSES: usize = 8;
/// Failed dials after which hearsay is forgotten.
const HEARSAY_FAILURES: u32 = 5;

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// Another peer said so.
    Hearsay,
    /// The peer itself said so.
    Claim,
    /// Configuration, or we reached the peer there.
    Verified,
}

#[derive(Debug)]
struct Entry<A> {
    addresses: Vec<(A, Source)>,
    pinned: bool,
    /// It has identified itself as a peer of our network.
    good: bool,
    connected: bool,
    dialling: bool,
    failures: u32,
    next_dial: Instant,
}

/// The book of the node `own`.
#[derive(Debug)]
pub(crate) struct Book<P, A> {
    own: P,
    timing: Timing,
    /// Peers that it has room for.
    max_peers: usize,
    entries: BTreeMap<P, Entry<A>>,
}

impl<P: Ord + Copy, A: Clone + PartialEq> Book<P, A> {
    pub(crate) const fn new(own: P, timing: Timing, max_peers: usize) -> Self {
        Self { own, timing, max_peers, entries: BTreeMap::new() }
    }

    /// A peer of the configuration: dialled at once, never forgotten.
    pub(crate) fn pin(&mut self, peer: P, address: A, now: Instant) {
        self.learn(peer, [address], Source::Verified, now);
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.pinned = true;
            entry.next_dial = now;
        }
    }

    /// Notes addresses; better sources replace worse ones when there is no room.
    pub(crate) fn learn(&mut self, peer: P, addresses: impl IntoIterator<Item = A>, source: Source, now: Instant) {
        if peer == self.own {
            return;
        }
        let mut addresses = addresses.into_iter().peekable();
        if addresses.peek().is_none() || !self.make_room(&peer) {
            return;
        }
        let first_dial = now + self.yield_delay(&peer);
        let entry = self.entries.entry(peer).or_insert_with(|| Entry {
            addresses: Vec::new(),
            pinned: false,
            good: false,
            connected: false,
            dialling: false,
            failures: 0,
            next_dial: first_dial,
        });
        for address in addresses {
            match entry.addresses.iter_mut().find(|(known, _)| *known == address) {
                Some((_, known_source)) => *known_source = source.max(*known_source),
                None => entry.addresses.push((address, source)),
            }
        }
        entry.addresses.sort_by_key(|(_, source)| std::cmp::Reverse(*source));
        entry.addresses.truncate(MAX_ADDRESSES);
    }

    /// Forgets what the peer said of itself: it is about to say it anew.
    pub(crate) fn forget_claims(&mut self, peer: &P) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.addresses.retain(|(_, source)| *source != Source::Claim);
        }
    }

    /// The peer is connected; a dialled address is thereby verified.
    pub(crate) fn connected(&mut self, peer: P, dialled: Option<A>, now: Instant) {
        if let Some(address) = dialled {
            self.learn(peer, [address], Source::Verified, now);
        }
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.connected = true;
            entry.dialling = false;
        }
    }

    /// The peer has identified itself as one of ours. Returns the addresses that may be told to others.
    pub(crate) fn identified(&mut self, peer: &P) -> Vec<A> {
        let Some(entry) = self.entries.get_mut(peer) else { return Vec::new() };
        entry.good = true;
        entry.failures = 0;
        self.tellable(peer)
    }

    /// The addresses of a peer that may be told to others.
    pub(crate) fn tellable(&self, peer: &P) -> Vec<A> {
        let entry = self.entries.get(peer).into_iter();
        let addresses = entry.flat_map(|entry| &entry.addresses);
        addresses.filter(|(_, source)| *source >= Source::Claim).map(|(address, _)| address.clone()).collect()
    }

    /// Whether `address` is one of them.
    pub(crate) fn is_tellable(&self, peer: &P, address: &A) -> bool {
        self.tellable(peer).contains(address)
    }

    /// The last connection to the peer has ended.
    pub(crate) fn disconnected(&mut self, peer: &P, now: Instant) {
        let delay = self.yield_delay(peer);
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.connected = false;
            entry.next_dial = now + self.timing.redial_min + delay;
        }
    }

    /// The peer hung up before it said who it is: it is full, or it has shut us out.
    pub(crate) fn hung_up(&mut self, peer: &P, now: Instant) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.connected = false;
        }
        self.failed(peer, now);
    }

    /// No address of the peer answered. Means nothing when the peer reached us meanwhile.
    pub(crate) fn failed(&mut self, peer: &P, now: Instant) {
        let Some(entry) = self.entries.get_mut(peer) else { return };
        entry.dialling = false;
        if entry.connected {
            return;
        }
        entry.failures = entry.failures.saturating_add(1);
        let factor = 1u32.checked_shl(entry.failures.saturating_sub(1)).unwrap_or(u32::MAX);
        entry.next_dial = now + self.timing.redial_min.saturating_mul(factor).min(self.timing.redial_max);
        let forget = !entry.pinned && !entry.good && entry.failures >= HEARSAY_FAILURES;
        if forget {
            self.entries.remove(peer);
        }
    }

    /// The peer belongs to another network or broke the rules: forget it, or if it is configured, leave it alone for
    /// `period`.
    pub(crate) fn shun(&mut self, peer: &P, period: Duration, now: Instant) {
        match self.entries.get_mut(peer) {
            Some(entry) if entry.pinned => {
                entry.good = false;
                entry.next_dial = now + period;
            }
            _ => {
                self.entries.remove(peer);
            }
        }
    }

    /// Peers to dial now, at most `n`, configured ones first and then those that failed least; each with its
    /// addresses, best first. They count as being dialled until they connect or fail.
    pub(crate) fn due(&mut self, n: usize, now: Instant) -> Vec<(P, Vec<A>)> {
        if n == 0 {
            return Vec::new();
        }
        let waiting = |entry: &Entry<A>| !entry.connected && !entry.dialling && entry.next_dial <= now;
        let mut due: Vec<_> = self.entries.iter_mut().filter(|(_, entry)| waiting(entry)).collect();
        due.sort_by_key(|(_, entry)| (!entry.pinned, !entry.good, entry.failures));
        due.truncate(n);
        due.into_iter()
            .map(|(peer, entry)| {
                entry.dialling = true;
                (*peer, entry.addresses.iter().map(|(address, _)| address.clone()).collect())
            })
            .collect()
    }

    /// Dial everybody who waits for a redial now: the node is short of peers.
    pub(crate) fn hurry(&mut self, now: Instant) {
        for entry in self.entries.values_mut().filter(|entry| entry.pinned || entry.good) {
            entry.next_dial = entry.next_dial.min(now + self.timing.redial_min);
        }
    }

    /// All addresses of a peer, best first.
    pub(crate) fn addresses(&self, peer: &P) -> Vec<A> {
        let entry = self.entries.get(peer);
        entry.map(|entry| entry.addresses.iter().map(|(a, _)| a.clone()).collect()).unwrap_or_default()
    }

    /// A dial began outside [`Self::due`].
    pub(crate) fn dialling(&mut self, peer: &P) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.dialling = true;
        }
    }

    fn yield_delay(&self, peer: &P) -> Duration {
        if self.own > *peer { self.timing.yield_delay } else { Duration::ZERO }
    }

    /// Room for `peer`, if need be in place of the least useful entry.
    fn make_room(&mut self, peer: &P) -> bool {
        if self.entries.len() < self.max_peers || self.entries.contains_key(peer) {
            return true;
        }
        let idle = self.entries.iter().filter(|(_, entry)| !entry.pinned && !entry.connected);
        let worst = idle.max_by_key(|(_, entry)| (!entry.good, entry.failures)).map(|(peer, _)| *peer);
        worst.is_some_and(|worst| self.entries.remove(&worst).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_PEERS: usize = 1024;
    const TIMING: Timing = Timing {
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
        bootstrap: Duration::ZERO,
        quic_idle: Duration::ZERO,
        prune_backoff: Duration::ZERO,
    };

    fn book() -> (Book<u32, &'static str>, Instant) {
        (Book::new(5, TIMING, MAX_PEERS), Instant::now())
    }

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn the_smaller_id_dials_first_and_nobody_twice_at_a_time() {
        let (mut book, t) = book();
        book.learn(5, ["own"], Source::Claim, t);
        book.learn(3, ["a"], Source::Hearsay, t);
        book.learn(7, ["b"], Source::Hearsay, t);
        assert_eq!(book.due(9, t), [(7, vec!["b"])]);
        assert_eq!(book.due(9, at(t, 499)), []);
        assert_eq!(book.due(9, at(t, 500)), [(3, vec!["a"])]);
        book.connected(7, Some("b"), at(t, 600));
        book.failed(&3, at(t, 600));
        assert_eq!(book.due(9, at(t, 1599)), []);
        assert_eq!(book.due(9, at(t, 1600)), [(3, vec!["a"])]);
        book.disconnected(&7, at(t, 2000));
        assert_eq!(book.due(9, at(t, 3000)), [(7, vec!["b"])]);
    }

    #[test]
    fn a_peer_that_hangs_up_is_dialled_ever_rarer_and_one_that_called_us_is_not_dialled() {
        let (mut book, t) = book();
        book.learn(7, ["full"], Source::Claim, t);
        book.identified(&7);
        let mut now = t;
        for wait in [1000, 2000, 4000, 8000, 8000] {
            assert_eq!(book.due(9, now), [(7, vec!["full"])]);
            book.connected(7, Some("full"), now);
            book.hung_up(&7, now);
            assert_eq!(book.due(9, at(now, wait - 1)), []);
            now = at(now, wait);
        }
        assert_eq!(book.due(9, now), [(7, vec!["full"])]);
        book.connected(7, None, now);
        book.failed(&7, now);
        assert_eq!(book.due(9, at(now, 60_000)), [], "our dial failed, but the peer is connected");
    }

    #[test]
    fn hearsay_is_forgotten_but_good_and_configured_peers_are_dialled_for_ever() {
        let (mut book, t) = book();
        book.pin(1, "config", t);
        book.learn(6, ["good"], Source::Claim, t);
        assert_eq!(book.identified(&6), ["good"]);
        book.learn(7, ["hearsay"], Source::Hearsay, t);
        let mut now = t;
        for _ in 0..40 {
            now = at(now, 8000);
            for (peer, _) in book.due(9, now) {
                book.failed(&peer, now);
            }
        }
        now = at(now, 8000);
        assert_eq!(book.due(9, now), [(1, vec!["config"]), (6, vec!["good"])]);
        assert_eq!(book.addresses(&7), Vec::<&str>::new());
    }

    #[test]
    fn verified_addresses_come_first_and_push_out_hearsay() {
        let (mut book, t) = book();
        book.learn(7, ["1", "2", "3", "4", "5", "6", "7", "8", "9"], Source::Hearsay, t);
        book.learn(7, ["c"], Source::Claim, t);
        book.learn(7, ["9"], Source::Verified, t);
        assert_eq!(book.addresses(&7), ["9", "c", "1", "2", "3", "4", "5", "6"]);
        assert_eq!(book.identified(&7), ["9", "c"], "hearsay is not told on");
    }

    #[test]
    fn a_flood_of_hearsay_pushes_out_no_peer_that_matters() {
        let (mut book, t) = book();
        book.pin(1, "config", t);
        book.learn(2, ["good"], Source::Claim, t);
        book.identified(&2);
        book.learn(3, ["connected"], Source::Hearsay, t);
        book.connected(3, None, t);
        for peer in 10..10_000 {
            book.learn(peer, ["noise"], Source::Hearsay, t);
        }
        assert!(book.entries.len() <= MAX_PEERS);
        assert!([1, 2, 3].iter().all(|peer| book.entries.contains_key(peer)));
    }

    #[test]
    fn a_shunned_peer_leaves_unless_it_is_configured() {
        let (mut book, t) = book();
        book.pin(1, "config", t);
        book.learn(6, ["foreign"], Source::Claim, t);
        for peer in [1, 6] {
            book.shun(&peer, Duration::from_secs(30), t);
        }
        assert_eq!(book.due(9, at(t, 29_000)), []);
        assert_eq!(book.due(9, at(t, 30_000)), [(1, vec!["config"])]);
    }
}
