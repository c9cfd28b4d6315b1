//! Which validators measure a worker in an epoch.

use lucid_types::genesis::GenesisWorker;
use lucid_types::id::{Hash, NodeId};
use lucid_types::validator::{Validator, ValidatorSet};

/// Draws at most `size` validators for `worker`, without replacement, in proportion to power: draw `i` is
/// BLAKE3(beacon, worker, i) modulo the remaining power. The worker's own operator's validators are left out.
/// Returned in the order of their ids.
pub fn draw(set: &ValidatorSet, beacon: &Hash, worker: &GenesisWorker, size: u32) -> Vec<NodeId> {
    let mut remaining: Vec<Validator> =
        set.members().iter().filter(|v| v.operator != worker.operator && v.node != worker.node).copied().collect();
    let mut drawn = Vec::new();
    for i in 0..size {
        let power: u64 = remaining.iter().map(|v| v.power).sum();
        if power == 0 {
            break;
        }
        let parts: [&[u8]; 3] = [beacon.as_bytes(), worker.node.as_bytes(), &i.to_le_bytes()];
        let mut ticket = remainder(&Hash::derive("lucid committee draw 1", &parts), power);
        let winner = remaining.iter().position(|v| match ticket.checked_sub(v.power) {
            Some(rest) => {
                ticket = rest;
                false
            }
            None => true,
        });
        if let Some(winner) = winner {
            drawn.push(remaining.remove(winner).node);
        }
    }
    drawn.sort_unstable();
    drawn
}

/// The hash as a big-endian number, modulo `divisor`.
fn remainder(hash: &Hash, divisor: u64) -> u64 {
    let divisor = u128::from(divisor);
    let (words, _) = hash.as_bytes().as_chunks::<8>();
    let words = words.iter().map(|word| u128::from(u64::from_be_bytes(*word)));
    let rest = words.fold(0u128, |rest, word| ((rest << 64) | word) % divisor);
    u64::try_from(rest).unwrap_or(0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::collections::BTreeMap;

    use lucid_types::attestation::Capacity;
    use lucid_types::id::PayoutAddress;

    use super::*;

    fn node(byte: u8) -> NodeId {
        NodeId::from_bytes([byte; 32])
    }

    fn worker(operator: u8) -> GenesisWorker {
        GenesisWorker {
            node: node(200),
            operator: node(operator),
            payout_address: PayoutAddress::from_hash20([1; 20]),
            gas_address: None,
            capacity: Capacity::default(),
        }
    }

    fn set(n: u8) -> ValidatorSet {
        ValidatorSet::new(
            (1..=n).map(|i| Validator { node: node(i), power: u64::from(i), operator: node(i) }).collect(),
        )
        .unwrap()
    }

    fn beacon(i: u32) -> Hash {
        Hash::derive("test", &[&i.to_le_bytes()])
    }

    #[test]
    fn all_of_a_small_set_but_the_operators_own() {
        assert_eq!(draw(&set(4), &beacon(0), &worker(99), 21), [node(1), node(2), node(3), node(4)]);
        assert_eq!(draw(&set(4), &beacon(0), &worker(2), 21), [node(1), node(3), node(4)]);
        assert!(draw(&set(1), &beacon(0), &worker(1), 21).is_empty());
    }

    #[test]
    fn draws_follow_power_and_differ_by_beacon() {
        let mut seen = BTreeMap::<NodeId, u32>::new();
        for i in 0..4_000 {
            let committee = draw(&set(9), &beacon(i), &worker(99), 1);
            assert_eq!(committee.len(), 1);
            *seen.entry(committee[0]).or_default() += 1;
        }
        // Expected are 4000 * power / 45 draws; five standard deviations of the heaviest are 5 * sqrt(4000 * 9 / 45 * 0.8).
        for power in 1..=9u32 {
            let byte = u8::try_from(power).unwrap();
            let (count, mean) = (seen.get(&node(byte)).copied().unwrap_or(0), 4_000 * power / 45);
            assert!(count.abs_diff(mean) < 127, "power {power}: {count}, expected {mean}");
        }
    }
}
