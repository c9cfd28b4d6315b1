//! Bans, each with an end. Pure; time is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use super::group::Host;

/// Entries of each kind; the one that ends first makes room.
const MAX: usize = 1024;

/// Things until when.
#[derive(Debug)]
struct Until<K>(HashMap<K, Instant>);

impl<K: Eq + Hash + Copy> Until<K> {
    fn insert(&mut self, key: K, end: Instant, now: Instant) {
        if self.0.len() >= MAX {
            self.0.retain(|_, end| *end > now);
        }
        if self.0.len() >= MAX
            && let Some(first) = self.0.iter().min_by_key(|(_, end)| **end).map(|(key, _)| *key)
        {
            self.0.remove(&first);
        }
        self.0.insert(key, end);
    }

    fn end(&self, key: &K, now: Instant) -> Option<Instant> {
        self.0.get(key).copied().filter(|end| *end > now)
    }
}

/// Banned peers, and the hosts from which they came back before their ban had ended.
#[derive(Debug)]
pub(super) struct Bans<P> {
    peers: Until<P>,
    hosts: Until<Host>,
}

impl<P: Eq + Hash + Copy> Bans<P> {
    pub(super) fn new() -> Self {
        Self { peers: Until(HashMap::new()), hosts: Until(HashMap::new()) }
    }

    pub(super) fn ban(&mut self, peer: P, end: Instant, now: Instant) {
        self.peers.insert(peer, end, now);
    }

    /// When the ban of a peer ends; `None` if it is not banned.
    pub(super) fn end(&self, peer: &P, now: Instant) -> Option<Instant> {
        self.peers.end(peer, now)
    }

    pub(super) fn block_host(&mut self, host: Host, end: Instant, now: Instant) {
        self.hosts.insert(host, end, now);
    }

    pub(super) fn is_host_blocked(&self, host: &Host, now: Instant) -> bool {
        self.hosts.end(host, now).is_some()
    }

    /// Banned peers and when their bans end.
    pub(super) fn peers(&self, now: Instant) -> impl Iterator<Item = (P, Instant)> + '_ {
        self.peers.0.iter().map(|(peer, end)| (*peer, *end)).filter(move |(_, end)| *end > now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn bans_end_and_are_bounded() {
        let (mut bans, now) = (Bans::new(), Instant::now());
        let later = now + Duration::from_secs(2);
        bans.ban(1, now + Duration::from_secs(1), now);
        assert_eq!(bans.end(&1, now), Some(now + Duration::from_secs(1)));
        assert_eq!(bans.end(&1, later), None);
        for peer in 2..5000 {
            bans.ban(peer, later, now);
        }
        assert!(bans.peers(now).count() <= MAX);
        assert_eq!(bans.end(&4999, now), Some(later));
        assert_eq!(bans.peers(later).count(), 0);
    }
}
