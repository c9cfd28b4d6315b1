//! Who leads a pool for a settlement: who posts its payout root and pushes its payments, and who follows when it does not.

use std::cmp::Reverse;

use lucid_types::id::{Hash, NodeId};

/// A member that offers to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The member.
    pub node: NodeId,
    /// Credits and uptime suffice.
    pub eligible: bool,
    /// The settlement that it led last, if any.
    pub last_led: Option<u64>,
    /// See [`crate::worker_stats::WorkerStats::live`].
    pub live: u64,
}

/// Orders the candidates of `settlement`: eligible before not; out of cool-down before in it; `live` descending;
/// ties by BLAKE3(beacon, node). When all are in cool-down, who cooled longest comes first. The first leads, the
/// others succeed in turn.
pub fn order(candidates: &[Candidate], settlement: u64, cooldown: u64, beacon: &Hash) -> Vec<NodeId> {
    let cooling = |c: &Candidate| c.last_led.is_some_and(|led| settlement.saturating_sub(led) <= cooldown);
    let all_cooling = candidates.iter().all(cooling);
    let mut ordered: Vec<_> = candidates.to_vec();
    ordered.sort_by_cached_key(|c| {
        let led_last = if all_cooling { c.last_led } else { None };
        let tie = Hash::derive("lucid leader tie 1", &[beacon.as_bytes(), c.node.as_bytes()]);
        (!c.eligible, cooling(c), led_last, Reverse(c.live), tie)
    });
    ordered.iter().map(|c| c.node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(byte: u8, eligible: bool, last_led: Option<u64>, live: u64) -> Candidate {
        Candidate { node: NodeId::from_bytes([byte; 32]), eligible, last_led, live }
    }

    fn first_bytes(candidates: &[Candidate], settlement: u64) -> Vec<u8> {
        let beacon = Hash::from_bytes([7; 32]);
        order(candidates, settlement, 3, &beacon).iter().map(|n| n.as_bytes()[0]).collect()
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
        let orders: std::collections::BTreeSet<_> =
            (0..20).map(|i| order(&all, 1, 3, &Hash::from_bytes([i; 32]))).collect();
        assert!(orders.len() > 5, "another beacon, another order");
    }
}
