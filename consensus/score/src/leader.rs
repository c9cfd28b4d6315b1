//! Who leads a pool for a settlement: who posts its payout root and pushes its payments, and who follows when it does not.

use std::cmp::Reverse;

use lucid_types::id::{Hash, NodeId};
use serde::{Deserialize, Serialize};

/// A member that offers to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The member.
    pub node: NodeId,
    /// Credits and uptime suffice.
    pub is_eligible: bool,
    /// The settlement that it led last, if any.
    pub last_led: Option<u64>,
    /// See [`crate::worker_stats::WorkerStats::live`].
    pub live: u64,
}

/// A member that leads, or succeeds the one that does, and why it stands where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elected {
    /// The member.
    pub node: NodeId,
    /// See [`crate::worker_stats::WorkerStats::live`].
    pub live: u64,
    /// Credits and uptime suffice.
    pub is_eligible: bool,
    /// Whether it has led one of the settlements before: then it comes after those that have not.
    pub is_cooling: bool,
    /// The settlement that it had led last, if any.
    pub last_led: Option<u64>,
}

impl Elected {
    /// Bytes at most.
    pub const BYTES: usize = 32 + 8 + 1 + 1 + 9;
}

/// Orders the candidates of `settlement`: eligible before not; out of cool-down before in it; `live` descending;
/// ties by BLAKE3(beacon, node). When all are in cool-down, who cooled longest comes first. The first leads, the
/// others succeed in turn.
pub fn order(candidates: &[Candidate], settlement: u64, cooldown: u64, beacon: &Hash) -> Vec<Elected> {
    let cooling = |c: &Candidate| c.last_led.is_some_and(|led| settlement.saturating_sub(led) <= cooldown);
    let all_cooling = candidates.iter().all(cooling);
    let mut ordered: Vec<_> = candidates.to_vec();
    ordered.sort_by_cached_key(|c| {
        let led_last = if all_cooling { c.last_led } else { None };
        let tie = Hash::derive("lucid leader tie 1", &[beacon.as_bytes(), c.node.as_bytes()]);
        (!c.is_eligible, cooling(c), led_last, Reverse(c.live), tie)
    });
    let elected = |c: &Candidate| {
        let &Candidate { node, is_eligible, last_led, live } = c;
        Elected { node, live, is_eligible, is_cooling: cooling(c), last_led }
    };
    ordered.iter().map(elected).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(byte: u8, is_eligible: bool, last_led: Option<u64>, live: u64) -> Candidate {
        Candidate { node: NodeId::from_bytes([byte; 32]), is_eligible, last_led, live }
    }

    fn first_bytes(candidates: &[Candidate], settlement: u64) -> Vec<u8> {
        let beacon = Hash::from_bytes([7; 32]);
        order(candidates, settlement, 3, &beacon).iter().map(|it| it.node.as_bytes()[0]).collect()
    }

    #[test]
    fn the_order_of_the_rule() {
        let all = [
            candidate(1, false, None, 900),
            candidate(2, true, None, 10),
            candidate(3, true, None, 20),
            candidate(4, true, Some(7), 800),
        ];
        assert_eq!(first_bytes(&all, 8), [3, 2, 4, 1]);
        assert_eq!(first_bytes(&all, 10), [3, 2, 4, 1], "three settlements of cool-down");
        assert_eq!(first_bytes(&all, 11), [4, 3, 2, 1]);
        let order = order(&all, 10, 3, &Hash::from_bytes([7; 32]));
        let node = NodeId::from_bytes([4; 32]);
        assert_eq!(order[2], Elected { node, live: 800, is_eligible: true, is_cooling: true, last_led: Some(7) });
        assert!(!order[0].is_cooling && !order[3].is_eligible, "{order:?}");
    }

    #[test]
    fn when_all_cool_the_one_that_led_longest_ago_leads() {
        let all = [candidate(1, true, Some(9), 900), candidate(2, true, Some(8), 1), candidate(3, true, Some(10), 5)];
        assert_eq!(first_bytes(&all, 11), [2, 1, 3]);
    }

    #[test]
    fn ties_are_broken_by_the_beacon_alone() {
        let all: Vec<_> = (1..=5).map(|i| candidate(i, true, None, 1)).collect();
        let mut reversed = all.clone();
        reversed.reverse();
        assert_eq!(first_bytes(&all, 1), first_bytes(&reversed, 1));
        let orders: std::collections::BTreeSet<_> = (0..20)
            .map(|i| order(&all, 1, 3, &Hash::from_bytes([i; 32])).iter().map(|it| it.node).collect::<Vec<_>>())
            .collect();
        assert!(orders.len() > 5, "another beacon, another order");
    }
}
