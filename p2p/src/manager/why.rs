//! Why a peer is connected, kept, not dialled or refused: one sentence each.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use super::book::Wait;
use super::evict::{self, Protection};
use super::group::Group;
use super::{Address, PeerManager, group_target};
use crate::mesh::PeerClass;

/// The reason for one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Why<P> {
    pub(crate) peer: P,
    pub(crate) class: Option<PeerClass>,
    pub(crate) is_connected: bool,
    /// A sentence without a full stop.
    pub(crate) text: String,
}

/// Reasons for all connected, known and banned peers.
pub(super) fn why<C, P, A>(manager: &PeerManager<C, P, A>, now: Instant) -> Vec<Why<P>>
where
    C: Eq + Hash + Copy,
    P: Ord + Hash + Copy,
    A: Address,
{
    let candidates = manager.candidates(|peer| manager.is_inbound(peer));
    let protections = evict::protections(&candidates, &manager.secret);
    let protections: HashMap<P, Option<Protection>> =
        candidates.iter().map(|candidate| candidate.peer).zip(protections).collect();
    let connected = manager.slots.peers().map(|peer| {
        let class = manager.class(peer);
        let seconds = manager.slots.since(peer).map_or(0, |since| now.saturating_duration_since(since).as_secs());
        let dialled = match (manager.slots.is_outbound(peer), manager.slots.is_dialled(peer)) {
            (true, _) => "this node dialled it",
            (false, true) => "a lookup dialled it",
            (false, false) => "it dialled this node",
        };
        let kept = match class {
            PeerClass::Trusted if manager.book.is_configured(peer) => "never evicted, because it is configured",
            PeerClass::Trusted => "never evicted, because it is a validator of the current set",
            PeerClass::Outbound => "evicted only for a trusted peer",
            PeerClass::Inbound => match protections.get(peer) {
                None => "it is being evicted",
                Some(None) => "evicted for a newcomer when slots are full and no group of networks has more peers here",
                Some(Some(Protection::Group)) => "protected from eviction as one of few from its group of networks",
                Some(Some(Protection::Latency)) => "protected from eviction by its low latency",
                Some(Some(Protection::Use)) => "protected from eviction by the messages that it was first to bring",
                Some(Some(Protection::Age)) => "protected from eviction by the age of its connection",
            },
        };
        let text = format!("connected for {seconds} s: {dialled}; {kept}");
        Why { peer: *peer, class: Some(class), is_connected: true, text }
    });

    let bans: HashMap<P, Instant> = manager.bans.peers(now).collect();
    let banned = bans.iter().map(|(peer, end)| {
        let text = format!("refused: banned for another {}", seconds(*end, now));
        Why { peer: *peer, class: None, is_connected: manager.slots.peer(peer).is_some(), text }
    });
    let (outbound, target) = (manager.slots.outbound_peers(), manager.bounds.target);
    let groups = manager.slots.outbound_groups();
    let waiting = manager.book.waiting(now).filter(|(peer, ..)| !bans.contains_key(peer));
    let waiting = waiting.map(|(peer, address, wait)| {
        let group = address.and_then(|address| manager.bounds.near.and(address.ip())).map(Group::of);
        let in_group = group.and_then(|group| groups.get(&group)).copied().unwrap_or_default();
        let is_always = manager.is_always_dialled(&peer);
        let text = match (wait, group) {
            (Wait::Dialling, _) => "being dialled".to_owned(),
            (Wait::Until(at, 0), _) => format!("not dialled for another {}", seconds(at, now)),
            (Wait::Until(at, 1), _) => format!("not dialled for another {}, after 1 failure", seconds(at, now)),
            (Wait::Until(at, n), _) => {
                format!("not dialled for another {}, after {n} failures in a row", seconds(at, now))
            }
            (Wait::Due, _) if is_always => "to be dialled next".to_owned(),
            (Wait::Due, _) if outbound >= target => {
                format!("not dialled: this node has dialled {outbound} peers, and wants {target}")
            }
            (Wait::Due, Some(group)) if in_group >= group_target(target) => {
                format!("not dialled: this node has dialled {in_group} peers in its group of networks, {group}")
            }
            (Wait::Due, _) => "to be dialled next".to_owned(),
        };
        let class = manager.is_trusted(&peer).then_some(PeerClass::Trusted);
        Why { peer, class, is_connected: false, text }
    });
    let mut all: Vec<_> = connected.filter(|why| !bans.contains_key(&why.peer)).chain(banned).chain(waiting).collect();
    all.sort_by_key(|why| (!why.is_connected, why.peer));
    all
}

fn seconds(until: Instant, now: Instant) -> String {
    format!("{} s", until.saturating_duration_since(now).as_millis().div_ceil(1000))
}
