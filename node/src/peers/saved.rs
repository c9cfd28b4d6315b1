//! Which peers are worth remembering over restarts. Pure.
//!
//! A peer that was connected in several runs is worth more than a new one, however many of these come: a newcomer takes a free place,
//! or that of a peer that has been seen in one run only and is gone for a while. A peer that was not seen in several runs gives way
//! too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lucid_p2p::address_group;
use lucid_types::codec::Wire;
use lucid_types::id::PublicKey;
use lucid_types::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// Peers kept; the rest are found through these.
pub(super) const MAX_PEERS: usize = 128;
/// Of these, so many may be in one group of networks, except where addresses are shared.
const MAX_IN_GROUP: usize = 16;
/// Addresses kept of each.
const MAX_ADDRESSES: usize = 8;
/// In so many runs a peer must have been connected to be kept whoever else comes.
const PROVEN_RUNS: u32 = 2;
/// A peer that was not seen in so many runs gives way.
const MISSED_RUNS: u32 = 8;
/// A peer of one run gives way when it has been gone for so long. A connected one is noted this often.
const GRACE: Duration = Duration::from_secs(600);
/// A run counts as one in which a peer was missed when others were connected after so long.
const LONG_RUN: Duration = Duration::from_secs(600);

/// What is remembered of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedPeer {
    /// Where it was reached, best first, or where it says that it is.
    pub(super) addresses: Vec<String>,
    /// When it was first and last seen connected. The last time may be so much too early as [`GRACE`].
    first: UnixMillis,
    last: UnixMillis,
    /// Runs of this node in which it was connected.
    runs: u32,
    /// Runs since then.
    missed: u32,
}

impl Wire for SavedPeer {
    const MAX_BYTES: usize = 4 << 10;
}

impl SavedPeer {
    /// The most reliable first: of those that were seen in several runs the oldest, since whoever comes later cannot be older.
    pub(super) const fn rank(&self) -> (bool, bool, UnixMillis) {
        (self.missed >= MISSED_RUNS, self.runs < PROVEN_RUNS, self.first)
    }

    fn gives_way(&self, now: UnixMillis) -> bool {
        let is_gone = now >= self.last.after(GRACE);
        self.missed >= MISSED_RUNS || (self.runs < PROVEN_RUNS && is_gone)
    }

    fn group(&self, shares_addresses: bool) -> Option<String> {
        self.addresses.first().filter(|_| !shares_addresses).and_then(|address| address_group(address))
    }
}

/// A connected peer.
#[derive(Clone, Debug)]
pub(super) struct Connected {
    pub(super) key: PublicKey,
    /// None that only third parties say.
    pub(super) addresses: Vec<String>,
    /// It is kept in place of any other that is not connected.
    pub(super) is_trusted: bool,
}

/// One run of this node.
#[derive(Debug)]
pub(super) struct Run {
    started: UnixMillis,
    seen: BTreeSet<PublicKey>,
    has_missed: bool,
    /// Many peers may have one address.
    shares_addresses: bool,
}

impl Run {
    pub(super) const fn new(started: UnixMillis, shares_addresses: bool) -> Self {
        Self { started, seen: BTreeSet::new(), has_missed: false, shares_addresses }
    }

    /// What is to be remembered now that these are connected.
    pub(super) fn update(
        &mut self,
        saved: &mut BTreeMap<PublicKey, SavedPeer>,
        connected: &[Connected],
        now: UnixMillis,
    ) {
        for peer in connected.iter().filter(|peer| !peer.addresses.is_empty()) {
            let mut addresses = peer.addresses.clone();
            addresses.truncate(MAX_ADDRESSES);
            let new = SavedPeer { addresses, first: now, last: now, runs: 0, missed: 0 };
            if !saved.contains_key(&peer.key) && !self.make_room(saved, connected, peer, &new, now) {
                continue;
            }
            let addresses = new.addresses.clone();
            let known = saved.entry(peer.key).or_insert(new);
            known.addresses = addresses;
            if now >= known.last.after(GRACE) {
                known.last = now;
            }
            if self.seen.insert(peer.key) || known.runs == 0 {
                (known.runs, known.missed, known.last) = (known.runs.saturating_add(1), 0, now);
            }
        }
        let is_long = now >= self.started.after(LONG_RUN) && !connected.is_empty();
        if is_long && !std::mem::replace(&mut self.has_missed, true) {
            for (_, peer) in saved.iter_mut().filter(|(key, _)| !self.seen.contains(*key)) {
                peer.missed = peer.missed.saturating_add(1);
            }
        }
    }

    /// Whether there is room for a peer, if need be in place of another one.
    fn make_room(
        &self,
        saved: &mut BTreeMap<PublicKey, SavedPeer>,
        connected: &[Connected],
        peer: &Connected,
        new: &SavedPeer,
        now: UnixMillis,
    ) -> bool {
        let group = new.group(self.shares_addresses);
        let is_near = |other: &SavedPeer| group.is_some() && other.group(self.shares_addresses) == group;
        let is_crowded = !peer.is_trusted && saved.values().filter(|other| is_near(other)).count() >= MAX_IN_GROUP;
        if !is_crowded && saved.len() < MAX_PEERS {
            return true;
        }
        let is_idle = |key: &PublicKey| !connected.iter().any(|other| other.key == *key);
        let idle = saved.iter().filter(|(key, other)| is_idle(key) && (!is_crowded || is_near(other)));
        let gone = idle.filter(|(_, other)| peer.is_trusted || other.gives_way(now));
        let worst = gone.max_by_key(|(_, other)| other.rank()).map(|(key, _)| *key);
        worst.is_some_and(|worst| saved.remove(&worst).is_some())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: UnixMillis = UnixMillis::new(1_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn key(n: u32) -> PublicKey {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&n.to_be_bytes());
        PublicKey::from_bytes(key)
    }

    /// Each in a group of its own.
    fn peer(n: u32) -> Connected {
        let [_, _, high, low] = n.to_be_bytes();
        Connected { key: key(n), addresses: vec![format!("/ip4/20.{high}.{low}.1/tcp/1")], is_trusted: false }
    }

    fn peers(n: std::ops::Range<u32>) -> Vec<Connected> {
        n.map(peer).collect()
    }

    /// Runs of an hour each, with these peers connected.
    fn runs(saved: &mut BTreeMap<PublicKey, SavedPeer>, n: u64, connected: &[Connected]) {
        for _ in 0..n {
            let start = saved.values().map(|peer| peer.last).max().unwrap_or(START).after(HOUR);
            let mut run = Run::new(start, false);
            for minute in 0..60 {
                run.update(saved, connected, start.after(Duration::from_secs(60 * minute)));
            }
        }
    }

    fn kept(saved: &BTreeMap<PublicKey, SavedPeer>, of: std::ops::Range<u32>) -> usize {
        of.filter(|n| saved.contains_key(&key(*n))).count()
    }

    #[test]
    fn peers_of_several_runs_survive_sybils() {
        for sybils in [48, 200] {
            let mut saved = BTreeMap::new();
            runs(&mut saved, 2, &peers(0..40));
            runs(&mut saved, 3, &peers(1_000..1_000 + sybils));
            assert_eq!(kept(&saved, 0..40), 40);
            assert!(saved.len() <= MAX_PEERS);
            let mut ranked: Vec<_> = saved.iter().collect();
            ranked.sort_by_key(|(_, peer)| peer.rank());
            assert!(ranked[..40].iter().all(|(key, _)| (0..40).any(|n| self::key(n) == **key)), "they are tried first");
        }
    }

    /// The controls: what was seen once, or not for long, does give way; and so does anybody to a trusted peer.
    #[test]
    fn peers_of_one_run_and_those_long_gone_give_way() {
        let mut saved = BTreeMap::new();
        runs(&mut saved, 1, &peers(0..128));
        runs(&mut saved, 1, &peers(1_000..1_200));
        assert_eq!((kept(&saved, 0..128), saved.len()), (0, MAX_PEERS));

        let mut saved = BTreeMap::new();
        runs(&mut saved, 2, &peers(0..128));
        runs(&mut saved, 7, &peers(1_000..1_200));
        assert_eq!(kept(&saved, 0..128), 128);
        runs(&mut saved, 1, &peers(1_000..1_200));
        assert_eq!((kept(&saved, 0..128), saved.len()), (0, MAX_PEERS));

        runs(&mut saved, 1, &[Connected { is_trusted: true, ..peer(7) }]);
        assert_eq!((kept(&saved, 7..8), saved.len()), (1, MAX_PEERS));
    }

    #[test]
    fn a_peer_that_is_gone_for_a_moment_keeps_its_place() {
        let mut saved = BTreeMap::new();
        let mut run = Run::new(START, false);
        run.update(&mut saved, &peers(0..128), START);
        run.update(&mut saved, &peers(1_000..1_200), START.after(Duration::from_secs(599)));
        assert_eq!(kept(&saved, 0..128), 128);
    }

    #[test]
    fn one_group_has_some_places_only() {
        let near = |n: u32| Connected { addresses: vec![format!("/ip4/66.0.0.{n}/tcp/1")], ..peer(n) };
        let many: Vec<_> = (0..100).map(near).collect();
        for (shares_addresses, expected) in [(false, MAX_IN_GROUP), (true, 100)] {
            let (mut saved, mut run) = (BTreeMap::new(), Run::new(START, shares_addresses));
            run.update(&mut saved, &many, START);
            assert_eq!(saved.len(), expected);
        }
    }

    #[test]
    fn a_peer_that_moves_is_remembered_at_its_new_address_and_one_without_is_not() {
        let (mut saved, mut run) = (BTreeMap::new(), Run::new(START, false));
        run.update(&mut saved, &peers(0..1), START);
        let moved = Connected { addresses: vec!["/ip4/8.8.8.8/tcp/1".to_owned()], ..peer(0) };
        run.update(&mut saved, &[moved, Connected { addresses: vec![], ..peer(1) }], START);
        assert_eq!(saved.values().map(|peer| peer.addresses.clone()).collect::<Vec<_>>(), [["/ip4/8.8.8.8/tcp/1"]]);
    }

    proptest! {
        /// Whoever is connected when, and for however long a run lasts: the table is bounded, and a peer of two runs leaves only after
        /// it was missed in eight.
        #[test]
        fn the_table_is_bounded_and_proven_peers_stay(
            all in prop::collection::vec((0u32..300, 1u32..200, 0u64..3_000), 1..20)
        ) {
            let (mut saved, mut now) = (BTreeMap::<PublicKey, SavedPeer>::new(), START);
            for (first, n, seconds) in all {
                let mut run = Run::new(now, false);
                for _ in 0..2 {
                    let before = saved.clone();
                    run.update(&mut saved, &peers(first..first + n), now);
                    now = now.after(Duration::from_secs(seconds));
                    prop_assert!(saved.len() <= MAX_PEERS);
                    for (key, peer) in before.iter().filter(|(key, _)| !saved.contains_key(*key)) {
                        prop_assert!(peer.runs < PROVEN_RUNS || peer.missed >= MISSED_RUNS, "{key}");
                    }
                }
            }
        }
    }
}
