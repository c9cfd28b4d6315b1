//! Who makes room when the slots of those that dialled us are full. The rule is that of Bitcoin Core (`node/eviction.cpp`), with shares
//! in place of numbers, so that it works in a table of any size: some are protected for what an attacker cannot easily have more of
//! than everybody else (groups that only we can rank, low latency, messages that were new to us, long connections), and of the others
//! the most crowded group loses its youngest. So a newcomer from elsewhere gets in however many slots one party has filled, and
//! that party does not get the rest out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::group::Group;

/// One in so many is protected for each of group, latency and use.
const SHARE: usize = 16;

/// A peer that may be evicted.
#[derive(Clone, Debug)]
pub(super) struct Candidate<P> {
    pub(super) peer: P,
    /// `None` where addresses say nothing of who is who.
    pub(super) group: Option<Group>,
    /// Order of its first connection.
    pub(super) number: u64,
    pub(super) is_identified: bool,
    /// The last round trip.
    pub(super) rtt: Option<Duration>,
    /// When it last brought a message that we had not and that was accepted.
    pub(super) useful: Option<Instant>,
}

/// What keeps a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    Group,
    Latency,
    Use,
    Age,
}

/// What protects each candidate. Of `n` candidates, at least a third is not protected, and at least one.
pub(super) fn protections<P>(candidates: &[Candidate<P>], secret: &[u8; 32]) -> Vec<Option<Protection>> {
    let mut protections = vec![None; candidates.len()];
    let share = candidates.len() / SHARE;
    let protect = |chosen: Vec<usize>, protection, n: usize, protections: &mut Vec<Option<Protection>>| {
        let free: Vec<_> = chosen.into_iter().filter(|i| protections[*i].is_none()).take(n).collect();
        for i in free {
            protections[i] = Some(protection);
        }
    };
    let identified = || (0..candidates.len()).filter(|i| candidates[*i].is_identified);

    // The oldest of each group, in an order of the groups that nobody else knows.
    let mut oldest: BTreeMap<Group, usize> = BTreeMap::new();
    for i in identified() {
        let Some(group) = candidates[i].group else { continue };
        let of_group = oldest.entry(group).or_insert(i);
        if candidates[i].number < candidates[*of_group].number {
            *of_group = i;
        }
    }
    let mut groups: Vec<_> = oldest.into_iter().collect();
    groups.sort_by_cached_key(|(group, _)| *blake3::keyed_hash(secret, &group.bytes()).as_bytes());
    protect(groups.into_iter().map(|(_, i)| i).collect(), Protection::Group, share, &mut protections);

    let mut fast: Vec<_> = identified().filter_map(|i| Some((candidates[i].rtt?, i))).collect();
    fast.sort();
    protect(fast.into_iter().map(|(_, i)| i).collect(), Protection::Latency, share, &mut protections);

    let mut useful: Vec<_> = identified().filter_map(|i| Some((candidates[i].useful?, i))).collect();
    useful.sort_by_key(|(at, i)| (std::cmp::Reverse(*at), *i));
    protect(useful.into_iter().map(|(_, i)| i).collect(), Protection::Use, share, &mut protections);

    let rest = protections.iter().filter(|protection| protection.is_none()).count();
    let mut old: Vec<_> = identified().collect();
    old.sort_by_key(|i| candidates[*i].number);
    protect(old, Protection::Age, rest / 2, &mut protections);
    protections
}

/// Who makes room for a newcomer; with `within`, somebody of that group.
pub(super) fn choose<P: Copy>(candidates: &[Candidate<P>], within: Option<Group>, secret: &[u8; 32]) -> Option<P> {
    let protections = protections(candidates, secret);
    let all = || candidates.iter().zip(&protections).filter(|(it, _)| within.is_none() || it.group == within);
    let free: Vec<_> = all().filter(|(_, protection)| protection.is_none()).map(|(it, _)| it).collect();
    let mut crowds: BTreeMap<Option<Group>, BTreeSet<u64>> = BTreeMap::new();
    for candidate in &free {
        crowds.entry(candidate.group).or_default().insert(candidate.number);
    }
    let youngest = crowds.into_values().max_by_key(|crowd| (crowd.len(), crowd.last().copied()));
    let youngest = youngest.and_then(|crowd| crowd.last().copied());
    // In a group that is full of protected peers the youngest of them goes.
    let youngest = youngest.or_else(|| all().map(|(it, _)| it.number).max())?;
    candidates.iter().find(|it| it.number == youngest).map(|it| it.peer)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn group(n: u8) -> Option<Group> {
        Some(Group::of(IpAddr::from([192, 0, n, 1])))
    }

    fn candidate(number: u64, group: Option<Group>) -> Candidate<u64> {
        Candidate { peer: number, group, number, is_identified: true, rtt: None, useful: None }
    }

    fn chosen(candidates: &[Candidate<u64>]) -> u64 {
        choose(candidates, None, &SECRET).unwrap()
    }

    #[test]
    fn the_youngest_of_the_most_crowded_group_goes() {
        let mut candidates: Vec<_> = (0..10).map(|n| candidate(n, group(u8::try_from(n).unwrap()))).collect();
        candidates.extend((10..40).map(|n| candidate(n, group(99))));
        candidates.push(candidate(40, group(100)));
        assert_eq!(chosen(&candidates), 39, "not the newcomer from a group of its own");
        // The control: with nothing to tell groups by, the newcomer is the youngest.
        for it in &mut candidates {
            it.group = None;
        }
        assert_eq!(chosen(&candidates), 40);
        assert_eq!(choose::<u64>(&[], None, &SECRET), None);
        assert_eq!(chosen(&[candidate(1, None)]), 1);
    }

    #[test]
    fn low_latency_use_and_age_protect_those_that_identified_themselves() {
        let now = Instant::now();
        let mut candidates: Vec<_> = (0..64).map(|n| candidate(n, group(1))).collect();
        let get = |candidates: &[Candidate<u64>], i: usize| protections(candidates, &SECRET)[i];
        assert_eq!(get(&candidates, 63), None);
        candidates[63].rtt = Some(Duration::from_millis(1));
        assert_eq!(get(&candidates, 63), Some(Protection::Latency));
        assert_eq!(chosen(&candidates), 62);
        candidates[62].useful = Some(now);
        assert_eq!(get(&candidates, 62), Some(Protection::Use));
        assert_eq!(get(&candidates, 1), Some(Protection::Age));
        assert_eq!(get(&candidates, 0), Some(Protection::Group));
        for i in [0, 1, 62, 63] {
            candidates[i].is_identified = false;
            assert_eq!(get(&candidates, i), None, "whoever does not say who it is has none");
        }
    }

    #[test]
    fn some_are_always_free() {
        for n in 1..300u64 {
            let candidates: Vec<_> = (0..n)
                .map(|i| Candidate {
                    rtt: Some(Duration::from_millis(i)),
                    useful: Some(Instant::now()),
                    ..candidate(i, group(u8::try_from(i % 200).unwrap()))
                })
                .collect();
            let free = protections(&candidates, &SECRET).into_iter().filter(Option::is_none).count();
            assert!(3 * free >= usize::try_from(n).unwrap(), "{free} of {n}");
            let within = choose(&candidates, group(0), &SECRET).unwrap();
            assert_eq!(within % 200, 0);
        }
    }
}
