//! The address book: whom we know, how to reach them, and when to dial next.
//!
//! Addresses at which we reached a peer come first, the newest of them before all. Peers of the configuration never leave the book,
//! peers that once identified themselves leave only for want of room, and third-party ones leave after a few failures.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Address;
use crate::config::Timing;

/// Addresses of one peer.
const MAX_ADDRESSES: usize = 8;
/// Failed dials after which a peer that never identified itself is forgotten.
const THIRD_PARTY_FAILURES: u32 = 5;
/// A connection that ends sooner counts as a failed dial: who is evicted by a full node must not come back at once, again and again.
const STABLE: Duration = Duration::from_secs(30);

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A third party said so, or the peer itself, from another address.
    ThirdParty,
    /// The peer itself said so, from that IP address.
    Claim,
    /// The configuration, or an earlier run of ours.
    Saved,
    /// We reached the peer there.
    Verified,
}

#[derive(Debug)]
struct Known<A> {
    address: A,
    source: Source,
    /// From the configuration: it never leaves.
    is_configured: bool,
    /// We reached the peer there in this run, or it claims it: others may be told.
    is_confirmed: bool,
    /// Order in which addresses were learnt, or reached.
    number: u64,
}

#[derive(Debug)]
struct Entry<A> {
    addresses: Vec<Known<A>>,
    is_configured: bool,
    /// It has identified itself as a peer of our network.
    is_good: bool,
    /// Since when; `None` if it is not connected.
    connected: Option<Instant>,
    is_dialling: bool,
    /// Dials that failed in a row, and connections that ended at once.
    failures: u32,
    next_dial: Instant,
    /// Order in which peers were heard of.
    number: u64,
}

impl<A> Entry<A> {
    fn is_saved(&self) -> bool {
        self.addresses.iter().any(|known| known.source >= Source::Saved)
    }
}

/// A peer that is not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Dialling,
    /// It may be dialled.
    Due,
    /// After so many failures in a row, not before.
    Until(Instant, u32),
}

/// The book of the node `own`.
#[derive(Debug)]
pub(super) struct Book<P, A> {
    own: P,
    timing: Timing,
    /// Peers that it has room for.
    max_peers: usize,
    entries: BTreeMap<P, Entry<A>>,
    next_number: u64,
}

impl<P: Ord + Copy, A: Address> Book<P, A> {
    pub(super) const fn new(own: P, timing: Timing, max_peers: usize) -> Self {
        Self { own, timing, max_peers, entries: BTreeMap::new(), next_number: 0 }
    }

    /// A peer of the configuration: dialled at once, never forgotten.
    pub(super) fn configure(&mut self, peer: P, address: A, now: Instant) {
        self.learn(peer, [address.clone()], Source::Saved, now);
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.is_configured = true;
            entry.next_dial = now;
            entry.addresses.iter_mut().filter(|it| it.address == address).for_each(|it| it.is_configured = true);
        }
    }

    /// Notes addresses; better sources replace worse ones when there is no room.
    pub(super) fn learn(&mut self, peer: P, addresses: impl IntoIterator<Item = A>, source: Source, now: Instant) {
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
            is_configured: false,
            is_good: false,
            connected: None,
            is_dialling: false,
            failures: 0,
            next_dial: first_dial,
            number: self.next_number,
        });
        for address in addresses {
            let number = self.next_number;
            self.next_number = number.saturating_add(1);
            let is_confirmed = matches!(source, Source::Claim | Source::Verified);
            match entry.addresses.iter_mut().find(|known| known.address == address) {
                Some(known) => {
                    known.source = source.max(known.source);
                    known.is_confirmed |= is_confirmed;
                    if source == Source::Verified {
                        known.number = number;
                    }
                }
                None => entry.addresses.push(Known { address, source, is_configured: false, is_confirmed, number }),
            }
        }
        // A peer that moves is reached at its newest address. Of what others say, the first that is heard stays: who says more must not
        // push it out.
        entry.addresses.sort_by_key(|known| {
            let is_verified = known.source == Source::Verified;
            (Reverse(known.source), if is_verified { u64::MAX - known.number } else { known.number })
        });
        while entry.addresses.len() > MAX_ADDRESSES
            && let Some(last) = entry.addresses.iter().rposition(|known| !known.is_configured)
        {
            entry.addresses.remove(last);
        }
    }

    /// Forgets what the peer said of itself: it is about to say it anew.
    pub(super) fn forget_claims(&mut self, peer: &P) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.addresses.retain(|known| known.source != Source::Claim);
            let saved = entry.addresses.iter_mut().filter(|known| known.source == Source::Saved);
            saved.for_each(|known| known.is_confirmed = false);
        }
    }

    /// The peer is connected; a dialled address is thereby verified.
    pub(super) fn connected(&mut self, peer: P, dialled: Option<A>, now: Instant) {
        if let Some(address) = dialled {
            self.learn(peer, [address], Source::Verified, now);
        }
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.connected.get_or_insert(now);
            entry.is_dialling = false;
        }
    }

    /// The peer has identified itself as one of ours.
    pub(super) fn identified(&mut self, peer: &P) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.is_good = true;
        }
    }

    /// The last connection to the peer has ended. One that has not even identified itself is full, or has banned us.
    pub(super) fn disconnected(&mut self, peer: &P, was_identified: bool, now: Instant) {
        let delay = self.yield_delay(peer);
        let Some(entry) = self.entries.get_mut(peer) else { return };
        let since = entry.connected.take();
        if was_identified && since.is_some_and(|since| now.saturating_duration_since(since) >= STABLE) {
            entry.failures = 0;
        }
        self.failed(peer, now);
        if was_identified && let Some(entry) = self.entries.get_mut(peer) {
            entry.next_dial += delay;
        }
    }

    /// No address of the peer answered. Means nothing when the peer reached us meanwhile.
    pub(super) fn failed(&mut self, peer: &P, now: Instant) {
        let Some(entry) = self.entries.get_mut(peer) else { return };
        entry.is_dialling = false;
        if entry.connected.is_some() {
            return;
        }
        entry.failures = entry.failures.saturating_add(1);
        let factor = 1u32.checked_shl(entry.failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let redial = now + self.timing.redial_min.saturating_mul(factor).min(self.timing.redial_max);
        // It may be banned until later.
        entry.next_dial = entry.next_dial.max(redial);
        let forget = !entry.is_configured && !entry.is_good && entry.failures >= THIRD_PARTY_FAILURES;
        if forget {
            self.entries.remove(peer);
        }
    }

    /// We refused the dial ourselves, which says nothing of the peer.
    pub(super) fn not_sent(&mut self, peer: &P, now: Instant) {
        let redial = now + self.timing.redial_min;
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.is_dialling = false;
            entry.next_dial = entry.next_dial.max(redial);
        }
    }

    /// The peer belongs to another network or broke the rules: forget it, or if it is configured or trusted, leave it alone until `end`.
    pub(super) fn shun(&mut self, peer: &P, is_trusted: bool, end: Instant) {
        match self.entries.get_mut(peer) {
            Some(entry) if entry.is_configured || is_trusted => {
                entry.is_good = false;
                entry.next_dial = end;
            }
            _ => {
                self.entries.remove(peer);
            }
        }
    }

    /// Peers to dial now, at most `max`: those that `is_always` first, then those that we know from before, those that failed least and
    /// those that we have known longest; each with its addresses, best first. `may` is asked of each with its best address. They count as being dialled until they
    /// connect or fail.
    pub(super) fn due(
        &mut self,
        max: usize,
        now: Instant,
        is_always: impl Fn(&P, bool) -> bool,
        mut may: impl FnMut(bool, &A) -> bool,
    ) -> Vec<(P, Vec<A>)> {
        let waiting = |entry: &Entry<A>| entry.connected.is_none() && !entry.is_dialling && entry.next_dial <= now;
        let due = self.entries.iter_mut().filter(|(_, entry)| waiting(entry));
        let mut due: Vec<_> = due.map(|(peer, entry)| (is_always(peer, entry.is_configured), *peer, entry)).collect();
        due.sort_by_key(|(is_always, _, entry)| {
            (!is_always, !entry.is_good, !entry.is_saved(), entry.failures, entry.number)
        });
        let chosen = due.into_iter().filter(|(is_always, _, entry)| {
            entry.addresses.first().is_some_and(|known| may(*is_always, &known.address))
        });
        let dialled = chosen.take(max).map(|(_, peer, entry)| {
            entry.is_dialling = true;
            (peer, entry.addresses.iter().map(|known| known.address.clone()).collect())
        });
        dialled.collect()
    }

    /// Dial everybody who waits for a redial now: the node is short of peers.
    pub(super) fn hurry(&mut self, now: Instant) {
        for entry in self.entries.values_mut().filter(|entry| entry.is_configured || entry.is_good) {
            entry.next_dial = entry.next_dial.min(now + self.timing.redial_min);
        }
    }

    /// All addresses of a peer, best first.
    pub(super) fn addresses(&self, peer: &P) -> Vec<A> {
        self.known(peer).map(|known| known.address.clone()).collect()
    }

    /// Those that others may be told.
    pub(super) fn confirmed(&self, peer: &P) -> Vec<A> {
        self.known(peer).filter(|known| known.is_confirmed).map(|known| known.address.clone()).collect()
    }

    /// A dial began outside [`Self::due`].
    pub(super) fn dialling(&mut self, peer: &P) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.is_dialling = true;
        }
    }

    /// The best address of each peer that we are dialling by our own choice.
    pub(super) fn dialled(&self) -> impl Iterator<Item = &A> {
        let dialled = self.entries.values().filter(|entry| entry.is_dialling);
        dialled.filter_map(|entry| entry.addresses.first().map(|known| &known.address))
    }

    /// Whether we are dialling the peer by our own choice.
    pub(super) fn is_dialling(&self, peer: &P) -> bool {
        self.entries.get(peer).is_some_and(|entry| entry.is_dialling)
    }

    pub(super) fn is_configured(&self, peer: &P) -> bool {
        self.entries.get(peer).is_some_and(|entry| entry.is_configured)
    }

    /// The peers that are not connected.
    pub(super) fn waiting(&self, now: Instant) -> impl Iterator<Item = (P, Option<&A>, Wait)> {
        let idle = self.entries.iter().filter(|(_, entry)| entry.connected.is_none());
        idle.map(move |(peer, entry)| {
            let wait = match entry.is_dialling {
                true => Wait::Dialling,
                false if entry.next_dial <= now => Wait::Due,
                false => Wait::Until(entry.next_dial, entry.failures),
            };
            (*peer, entry.addresses.first().map(|known| &known.address), wait)
        })
    }

    fn known(&self, peer: &P) -> impl Iterator<Item = &Known<A>> {
        self.entries.get(peer).into_iter().flat_map(|entry| &entry.addresses)
    }

    fn yield_delay(&self, peer: &P) -> Duration {
        if self.own > *peer { self.timing.yield_delay } else { Duration::ZERO }
    }

    /// Room for `peer`, if need be in place of the least useful entry.
    fn make_room(&mut self, peer: &P) -> bool {
        if self.entries.len() < self.max_peers || self.entries.contains_key(peer) {
            return true;
        }
        let idle = self.entries.iter().filter(|(_, entry)| !entry.is_configured && entry.connected.is_none());
        let worst = idle.max_by_key(|(_, entry)| (!entry.is_good, !entry.is_saved(), entry.failures));
        let worst = worst.map(|(peer, _)| *peer);
        worst.is_some_and(|worst| self.entries.remove(&worst).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::TIMING;
    use super::*;

    const MAX_PEERS: usize = 1024;

    impl Address for &'static str {
        fn ip(&self) -> Option<std::net::IpAddr> {
            None
        }
    }

    type TestBook = Book<u32, &'static str>;

    fn book() -> (TestBook, Instant) {
        (Book::new(5, TIMING, MAX_PEERS), Instant::now())
    }

    fn due(book: &mut TestBook, now: Instant) -> Vec<(u32, Vec<&'static str>)> {
        book.due(9, now, |_, is_configured| is_configured, |_, _| true)
    }

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn the_smaller_id_dials_first_and_nobody_twice_at_a_time() {
        let (mut book, t) = book();
        book.learn(5, ["own"], Source::Claim, t);
        book.learn(3, ["a"], Source::ThirdParty, t);
        book.learn(7, ["b"], Source::ThirdParty, t);
        assert_eq!(due(&mut book, t), [(7, vec!["b"])]);
        assert_eq!(due(&mut book, at(t, 499)), []);
        assert_eq!(due(&mut book, at(t, 500)), [(3, vec!["a"])]);
        book.connected(7, Some("b"), at(t, 600));
        book.failed(&3, at(t, 600));
        assert_eq!(due(&mut book, at(t, 1599)), []);
        assert_eq!(due(&mut book, at(t, 1600)), [(3, vec!["a"])]);
        book.identified(&7);
        book.disconnected(&7, true, at(t, 2000));
        assert_eq!(due(&mut book, at(t, 2999)), []);
        assert_eq!(due(&mut book, at(t, 3000)), [(7, vec!["b"])]);
    }

    #[test]
    fn a_peer_that_hangs_up_or_evicts_us_is_dialled_ever_rarer() {
        for was_identified in [false, true] {
            let (mut book, t) = book();
            book.learn(7, ["full"], Source::Claim, t);
            book.identified(&7);
            let mut now = t;
            for wait in [1000, 2000, 4000, 8000, 8000] {
                assert_eq!(due(&mut book, now), [(7, vec!["full"])]);
                book.connected(7, Some("full"), now);
                book.disconnected(&7, was_identified, now);
                assert_eq!(due(&mut book, at(now, wait - 1)), []);
                now = at(now, wait);
            }
            assert_eq!(due(&mut book, now), [(7, vec!["full"])]);
            book.connected(7, None, now);
            book.failed(&7, now);
            now = at(now, 30_000);
            assert_eq!(due(&mut book, now), [], "our dial failed, but the peer is connected");
            // The control: after a connection that has lasted it is dialled at once.
            book.disconnected(&7, was_identified, now);
            let expected: &[_] = if was_identified { &[(7, vec!["full"])] } else { &[] };
            assert_eq!(due(&mut book, at(now, 1000)), expected);
        }
    }

    #[test]
    fn third_parties_are_forgotten_but_good_and_configured_peers_are_dialled_for_ever() {
        let (mut book, t) = book();
        book.configure(1, "config", t);
        book.learn(6, ["good"], Source::Claim, t);
        book.identified(&6);
        book.learn(7, ["third party"], Source::ThirdParty, t);
        let mut now = t;
        for _ in 0..40 {
            now = at(now, 8000);
            for (peer, _) in due(&mut book, now) {
                book.failed(&peer, now);
            }
        }
        now = at(now, 8000);
        assert_eq!(due(&mut book, now), [(1, vec!["config"]), (6, vec!["good"])]);
        assert_eq!(book.addresses(&7), Vec::<&str>::new());
    }

    #[test]
    fn a_dial_that_we_refuse_is_no_failure() {
        let (mut book, t) = book();
        book.learn(7, ["refused"], Source::ThirdParty, t);
        book.learn(8, ["failed"], Source::ThirdParty, t);
        let mut now = t;
        for _ in 0..THIRD_PARTY_FAILURES {
            let dialled: Vec<_> = due(&mut book, now).into_iter().map(|(peer, _)| peer).collect();
            assert_eq!(dialled, [7, 8]);
            book.not_sent(&7, now);
            assert_eq!(due(&mut book, now), [], "not at once again");
            book.failed(&8, now);
            now = at(now, 16_000);
        }
        assert_eq!(due(&mut book, now), [(7, vec!["refused"])], "the other one is forgotten");
    }

    #[test]
    fn the_newest_verified_address_comes_first_and_pushes_out_the_oldest() {
        let (mut book, t) = book();
        book.learn(7, ["1", "2", "3", "4", "5", "6", "7", "8", "9"], Source::ThirdParty, t);
        book.learn(7, ["c"], Source::Claim, t);
        book.learn(7, ["9"], Source::Verified, t);
        assert_eq!(book.addresses(&7), ["9", "c", "1", "2", "3", "4", "5", "6"]);
        for address in ["a", "b", "d", "e", "f", "g", "h"] {
            book.connected(7, Some(address), t);
        }
        assert_eq!(book.addresses(&7), ["h", "g", "f", "e", "d", "b", "a", "9"]);
        book.connected(7, Some("new"), t);
        assert_eq!(book.addresses(&7), ["new", "h", "g", "f", "e", "d", "b", "a"]);
        book.connected(7, Some("a"), t);
        assert_eq!(book.addresses(&7)[0], "a", "reached again");
    }

    #[test]
    fn a_configured_address_stays() {
        let (mut book, t) = book();
        book.configure(7, "config", t);
        for address in ["1", "2", "3", "4", "5", "6", "7", "8", "9"] {
            book.connected(7, Some(address), t);
        }
        assert_eq!(book.addresses(&7), ["9", "8", "7", "6", "5", "4", "3", "config"]);
    }

    #[test]
    fn others_hear_of_addresses_that_were_reached_or_claimed_and_of_no_others() {
        let (mut book, t) = book();
        book.learn(7, ["third party"], Source::ThirdParty, t);
        book.learn(7, ["saved", "claimed too"], Source::Saved, t);
        book.connected(7, None, t);
        book.learn(7, ["claimed", "claimed too"], Source::Claim, t);
        book.identified(&7);
        assert_eq!(book.addresses(&7), ["saved", "claimed too", "claimed", "third party"], "but they are tried");
        assert_eq!(book.confirmed(&7), ["claimed too", "claimed"]);
        book.forget_claims(&7);
        assert_eq!(book.confirmed(&7), Vec::<&str>::new());
        // The control: it is reached there.
        book.connected(7, Some("saved"), t);
        book.forget_claims(&7);
        assert_eq!(book.confirmed(&7), ["saved"]);
    }

    #[test]
    fn a_flood_of_third_parties_pushes_out_no_peer_that_matters() {
        let (mut book, t) = book();
        book.configure(1, "config", t);
        book.learn(2, ["good"], Source::Claim, t);
        book.identified(&2);
        book.learn(3, ["connected"], Source::ThirdParty, t);
        book.connected(3, None, t);
        book.learn(4, ["saved"], Source::Saved, t);
        book.learn(9, ["third party"], Source::ThirdParty, t);
        for peer in 10..10_000 {
            book.learn(peer, ["noise"], Source::ThirdParty, t);
            book.failed(&peer, t);
        }
        assert!(book.entries.len() <= MAX_PEERS);
        assert!([1, 2, 3, 4].iter().all(|peer| book.entries.contains_key(peer)));
    }

    #[test]
    fn a_shunned_peer_leaves_unless_it_is_configured() {
        let (mut book, t) = book();
        book.configure(1, "config", t);
        book.learn(6, ["foreign"], Source::Claim, t);
        for peer in [1, 6] {
            book.shun(&peer, false, at(t, 30_000));
        }
        assert_eq!(due(&mut book, at(t, 29_000)), []);
        assert_eq!(due(&mut book, at(t, 30_000)), [(1, vec!["config"])]);
    }
}
