//! The pure part of the guard: which connections there are, and whether one more fits.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Instant;

use crate::config::Limits;

/// Peers shut out at a time; the one that would be let in first makes room.
const MAX_BANS: usize = 1024;

/// How many connections may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) total: usize,
    pub(crate) inbound: usize,
    pub(crate) per_peer: usize,
    /// `None` where many peers share an address.
    pub(crate) per_ip: Option<usize>,
    pub(crate) pending_inbound: usize,
    pub(crate) pending_outbound: usize,
}

impl Bounds {
    pub(crate) fn new(limits: &Limits, local: bool) -> Self {
        Self {
            total: limits.connections,
            inbound: limits.inbound,
            per_peer: limits.per_peer,
            per_ip: (!local).then_some(limits.per_ip),
            pending_inbound: limits.pending_inbound,
            pending_outbound: limits.pending_outbound,
        }
    }
}

/// Who dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Direction {
    Inbound,
    Outbound,
}

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection refused: {}", self.reason())]
pub(crate) enum Refusal {
    Total,
    Inbound,
    PerPeer,
    PerIp,
    PendingInbound,
    PendingOutbound,
    Banned,
    KeyType,
}

impl Refusal {
    /// The label it is counted under.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Total => "too-many",
            Self::Inbound => "too-many-inbound",
            Self::PerPeer => "too-many-of-peer",
            Self::PerIp => "too-many-of-address",
            Self::PendingInbound => "too-many-handshakes",
            Self::PendingOutbound => "too-many-dials",
            Self::Banned => "banned",
            Self::KeyType => "not-an-ed25519-key",
        }
    }
}

struct Connection<P> {
    peer: P,
    ip: Option<IpAddr>,
    direction: Direction,
    /// Order of establishment.
    number: u64,
}

/// How many there are of each, for those of whom there are any.
struct Tally<K>(HashMap<K, usize>);

impl<K: Eq + Hash> Tally<K> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    fn of(&self, key: &K) -> usize {
        self.0.get(key).copied().unwrap_or_default()
    }

    fn add(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
    }

    fn remove(&mut self, key: &K) {
        if let Some(count) = self.0.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }
}

/// Connections by id, and indices of them: no look-up walks the table.
pub(super) struct Table<C, P> {
    bounds: Bounds,
    handshakes: HashMap<C, (Option<IpAddr>, Direction)>,
    handshakes_by_direction: Tally<Direction>,
    established: HashMap<C, Connection<P>>,
    established_by_direction: Tally<Direction>,
    /// By order of establishment.
    by_peer: HashMap<P, BTreeMap<u64, C>>,
    /// Connections and handshakes.
    by_ip: Tally<IpAddr>,
    bans: HashMap<P, Instant>,
    next_number: u64,
}

impl<C: Eq + Hash + Copy, P: Eq + Hash + Copy> Table<C, P> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            handshakes: HashMap::new(),
            handshakes_by_direction: Tally::new(),
            established: HashMap::new(),
            established_by_direction: Tally::new(),
            by_peer: HashMap::new(),
            by_ip: Tally::new(),
            bans: HashMap::new(),
            next_number: 0,
        }
    }

    /// Notes a handshake, if it may begin.
    pub(super) fn handshake_begins(&mut self, id: C, ip: Option<IpAddr>, direction: Direction) -> Result<(), Refusal> {
        let (bound, refusal) = match direction {
            Direction::Inbound => (self.bounds.pending_inbound, Refusal::PendingInbound),
            Direction::Outbound => (self.bounds.pending_outbound, Refusal::PendingOutbound),
        };
        if self.handshakes_by_direction.of(&direction) >= bound {
            return Err(refusal);
        }
        if direction == Direction::Inbound {
            self.check_ip(ip)?;
        }
        self.handshake_ended(&id);
        self.handshakes.insert(id, (ip, direction));
        self.handshakes_by_direction.add(direction);
        ip.into_iter().for_each(|ip| self.by_ip.add(ip));
        Ok(())
    }

    /// The handshake succeeded or failed.
    pub(super) fn handshake_ended(&mut self, id: &C) {
        if let Some((ip, direction)) = self.handshakes.remove(id) {
            self.handshakes_by_direction.remove(&direction);
            ip.into_iter().for_each(|ip| self.by_ip.remove(&ip));
        }
    }

    /// Whether a connection whose handshake has ended fits.
    pub(super) fn may_establish(
        &self,
        peer: &P,
        ip: Option<IpAddr>,
        direction: Direction,
        now: Instant,
    ) -> Result<(), Refusal> {
        if self.is_banned(peer, now) {
            return Err(Refusal::Banned);
        }
        if self.established.len() >= self.bounds.total {
            return Err(Refusal::Total);
        }
        if direction == Direction::Inbound {
            if self.established_by_direction.of(&direction) >= self.bounds.inbound {
                return Err(Refusal::Inbound);
            }
            self.check_ip(ip)?;
        }
        if self.by_peer.get(peer).is_some_and(|of_peer| of_peer.len() >= self.bounds.per_peer) {
            return Err(Refusal::PerPeer);
        }
        Ok(())
    }

    /// Notes an established connection.
    pub(super) fn establish(&mut self, id: C, peer: P, ip: Option<IpAddr>, direction: Direction) {
        self.close(&id);
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        self.established.insert(id, Connection { peer, ip, direction, number });
        self.established_by_direction.add(direction);
        self.by_peer.entry(peer).or_default().insert(number, id);
        ip.into_iter().for_each(|ip| self.by_ip.add(ip));
    }

    /// Forgets a connection.
    pub(super) fn close(&mut self, id: &C) {
        let Some(Connection { peer, ip, direction, number }) = self.established.remove(id) else { return };
        self.established_by_direction.remove(&direction);
        ip.into_iter().for_each(|ip| self.by_ip.remove(&ip));
        if let Some(of_peer) = self.by_peer.get_mut(&peer) {
            of_peer.remove(&number);
            if of_peer.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
    }

    /// The connection of `peer` that has lasted longest.
    pub(super) fn oldest_of(&self, peer: &P) -> Option<C> {
        self.by_peer.get(peer)?.first_key_value().map(|(_, id)| *id)
    }

    /// Shuts `peer` out until `until`.
    pub(super) fn ban(&mut self, peer: P, until: Instant, now: Instant) {
        self.bans.retain(|_, end| *end > now);
        if self.bans.len() >= MAX_BANS
            && let Some(first) = self.bans.iter().min_by_key(|(_, end)| **end).map(|(peer, _)| *peer)
        {
            self.bans.remove(&first);
        }
        self.bans.insert(peer, until);
    }

    /// Whether `peer` is shut out.
    pub(super) fn is_banned(&self, peer: &P, now: Instant) -> bool {
        self.bans.get(peer).is_some_and(|end| *end > now)
    }

    fn check_ip(&self, ip: Option<IpAddr>) -> Result<(), Refusal> {
        let (Some(bound), Some(ip)) = (self.bounds.per_ip, ip) else { return Ok(()) };
        if self.by_ip.of(&ip) >= bound { Err(Refusal::PerIp) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds =
        Bounds { total: 6, inbound: 4, per_peer: 2, per_ip: Some(3), pending_inbound: 2, pending_outbound: 1 };

    fn ip(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    fn table() -> (Table<u32, u32>, Instant) {
        (Table::new(BOUNDS), Instant::now())
    }

    #[test]
    fn every_bound_holds_and_is_freed_again() {
        let (mut table, now) = table();
        let (inbound, outbound) = (Direction::Inbound, Direction::Outbound);
        for id in 0..4 {
            let from = ip(u8::try_from(id).unwrap_or(0));
            assert_eq!(table.may_establish(&id, from, inbound, now), Ok(()));
            table.establish(id, id, from, inbound);
        }
        assert_eq!(table.may_establish(&9, ip(9), inbound, now), Err(Refusal::Inbound));
        assert_eq!(table.may_establish(&9, ip(9), outbound, now), Ok(()), "slots stay free for our own dialling");
        table.establish(4, 0, ip(0), outbound);
        assert_eq!(table.may_establish(&0, ip(0), outbound, now), Err(Refusal::PerPeer));
        assert_eq!(table.oldest_of(&0), Some(0));
        table.establish(5, 8, ip(0), outbound);
        assert_eq!(table.may_establish(&9, ip(9), outbound, now), Err(Refusal::Total));
        table.close(&1);
        assert_eq!(table.may_establish(&9, ip(0), inbound, now), Err(Refusal::PerIp));
        assert_eq!(table.may_establish(&9, ip(9), inbound, now), Ok(()));
    }

    #[test]
    fn handshakes_are_bounded_by_direction_and_address() {
        let (mut table, now) = table();
        assert_eq!(table.handshake_begins(1, ip(1), Direction::Inbound), Ok(()));
        assert_eq!(table.handshake_begins(2, ip(1), Direction::Inbound), Ok(()));
        assert_eq!(table.handshake_begins(3, ip(2), Direction::Inbound), Err(Refusal::PendingInbound));
        assert_eq!(table.handshake_begins(4, None, Direction::Outbound), Ok(()));
        assert_eq!(table.handshake_begins(5, None, Direction::Outbound), Err(Refusal::PendingOutbound));
        table.handshake_ended(&1);
        table.establish(10, 1, ip(1), Direction::Inbound);
        table.establish(11, 2, ip(1), Direction::Inbound);
        assert_eq!(table.handshake_begins(6, ip(1), Direction::Inbound), Err(Refusal::PerIp));
        assert_eq!(table.may_establish(&3, ip(1), Direction::Inbound, now), Err(Refusal::PerIp));
        let mut shared: Table<u32, u32> = Table::new(Bounds { per_ip: None, pending_inbound: 99, ..BOUNDS });
        for id in 0..50 {
            assert_eq!(shared.handshake_begins(id, ip(1), Direction::Inbound), Ok(()));
        }
    }

    #[test]
    fn bans_end_and_are_bounded() {
        let (mut table, now) = table();
        let later = now + Duration::from_secs(2);
        table.ban(1, now + Duration::from_secs(1), now);
        assert_eq!(table.may_establish(&1, None, Direction::Inbound, now), Err(Refusal::Banned));
        assert_eq!(table.may_establish(&1, None, Direction::Inbound, later), Ok(()));
        for peer in 2..5000 {
            table.ban(peer, later, now);
        }
        assert!(table.bans.len() <= MAX_BANS);
        assert!(table.is_banned(&4999, now));
    }

    impl Table<u8, u8> {
        /// The indices, from a walk over the table.
        fn check(&self) {
            let of = |direction| self.established.values().filter(|c| c.direction == direction).count();
            let arriving = |direction| self.handshakes.values().filter(|(_, d)| *d == direction).count();
            for direction in [Direction::Inbound, Direction::Outbound] {
                assert_eq!(self.established_by_direction.of(&direction), of(direction));
                assert_eq!(self.handshakes_by_direction.of(&direction), arriving(direction));
            }
            for last in 0..4 {
                let ip = ip(last);
                let here = self.established.values().filter(|c| c.ip == ip).count();
                let arriving = self.handshakes.values().filter(|(from, _)| *from == ip).count();
                assert_eq!(ip.map(|ip| self.by_ip.of(&ip)), Some(here + arriving));
            }
            for peer in 0..4 {
                let mut of_peer: Vec<_> = self.established.iter().filter(|(_, c)| c.peer == peer).collect();
                of_peer.sort_by_key(|(_, c)| c.number);
                assert_eq!(self.by_peer.get(&peer).map_or(0, BTreeMap::len), of_peer.len());
                assert_eq!(self.oldest_of(&peer), of_peer.first().map(|(id, _)| **id));
            }
            let indexed = self.by_ip.0.len() + self.by_peer.len();
            assert!(indexed <= 2 * self.established.len() + self.handshakes.len(), "what is gone is forgotten");
        }
    }

    proptest! {
        #[test]
        fn indices_are_what_a_walk_over_the_table_counts(
            steps in prop::collection::vec((0u8..4, 0u8..16, 0u8..4, prop::option::of(0u8..4), any::<bool>()), 0..200)
        ) {
            let (mut table, now): (Table<u8, u8>, _) = (Table::new(BOUNDS), Instant::now());
            for (step, id, peer, from, is_inbound) in steps {
                let from = from.and_then(ip);
                let direction = if is_inbound { Direction::Inbound } else { Direction::Outbound };
                match step {
                    0 => drop(table.handshake_begins(id, from, direction)),
                    1 => table.handshake_ended(&id),
                    2 if table.may_establish(&peer, from, direction, now).is_ok() => table.establish(id, peer, from, direction),
                    _ => table.close(&id),
                }
                table.check();
            }
        }
    }
}
