//! How a settlement's budget is split, to the micro-USDT.

use lucid_types::amount::{Credits, MicroUsdt, Ppm};
use lucid_types::id::NodeId;
use lucid_types::pool::SplitRule;

/// The owner's part of a pot, or the validators': `floor(pot * rate)`.
pub fn part(pot: MicroUsdt, rate: Ppm) -> MicroUsdt {
    let part = u128::from(pot.get()) * u128::from(rate.min(Ppm::ONE).get()) / 1_000_000;
    MicroUsdt::new(u64::try_from(part).unwrap_or(u64::MAX))
}

/// A member's share of a settlement, with what one more score of it adds: `None` if that does not fit.
pub fn add_share(split: SplitRule, share: u128, credits: Credits, score: Ppm) -> Option<u128> {
    let credits = u128::from(credits.get());
    match split {
        SplitRule::CreditsTimesScore => share.checked_add(credits * u128::from(score.get())),
        SplitRule::Credits => share.checked_add(credits),
        SplitRule::Equal => Some(u128::from(share > 0 || credits > 0)),
    }
}

/// Splits `pot` in proportion to the weights: everyone gets the floor of its part, and what is left goes, one
/// micro-USDT each, to the largest fractions, ties to the smaller id.
///
/// Returns one amount for each weight in the order given; they sum to `pot`, or are all zero if no weight is
/// positive (the pot is then carried).
pub fn split(pot: MicroUsdt, weights: &[(NodeId, u128)]) -> Vec<MicroUsdt> {
    let weights = fitting(pot, weights);
    let total: u128 = weights.iter().map(|(_, weight)| weight).sum();
    if total == 0 {
        return vec![MicroUsdt::ZERO; weights.len()];
    }
    let pot = u128::from(pot.get());
    let mut parts: Vec<u128> = weights.iter().map(|(_, weight)| pot * weight / total).collect();
    let left = pot - parts.iter().sum::<u128>();
    let mut by_fraction: Vec<usize> = (0..weights.len()).collect();
    by_fraction.sort_by_key(|&i| (std::cmp::Reverse(pot * weights[i].1 % total), weights[i].0));
    for &i in by_fraction.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        parts[i] += 1;
    }
    parts.into_iter().map(|part| MicroUsdt::new(u64::try_from(part).unwrap_or(u64::MAX))).collect()
}

/// The weights, halved together as often as it takes for `pot * total` to fit 128 bits.
fn fitting(pot: MicroUsdt, weights: &[(NodeId, u128)]) -> Vec<(NodeId, u128)> {
    let limit = u128::MAX / u128::from(pot.get().max(1));
    let fits = |shift: u32| {
        let shifted = weights.iter().map(|(_, weight)| weight >> shift);
        shifted.into_iter().try_fold(0u128, u128::checked_add).is_some_and(|total| total <= limit)
    };
    let shift = (0..128).find(|shift| fits(*shift)).unwrap_or(127);
    weights.iter().map(|(node, weight)| (*node, weight >> shift)).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(byte: u8) -> NodeId {
        NodeId::from_bytes([byte; 32])
    }

    fn amounts(pot: u64, weights: &[(u8, u128)]) -> Vec<u64> {
        let weights: Vec<_> = weights.iter().map(|(n, w)| (node(*n), *w)).collect();
        split(MicroUsdt::new(pot), &weights).into_iter().map(MicroUsdt::get).collect()
    }

    #[test]
    fn splits_by_hand() {
        assert_eq!(amounts(100, &[(1, 1), (2, 1), (3, 1)]), [34, 33, 33], "the odd one to the smallest id");
        assert_eq!(amounts(100, &[(3, 1), (2, 1), (1, 1)]), [33, 33, 34], "whatever the order");
        assert_eq!(amounts(10, &[(1, 1), (2, 2), (3, 4)]), [1, 3, 6], "the largest fraction first");
        assert_eq!(amounts(10, &[(1, 0), (2, 0)]), [0, 0]);
        assert_eq!(amounts(10, &[(1, 0), (2, 5)]), [0, 10]);
        assert_eq!(
            amounts(u64::MAX, &[(1, u128::MAX), (2, u128::MAX)]).iter().map(|a| u128::from(*a)).sum::<u128>(),
            u128::from(u64::MAX)
        );
        assert_eq!(part(MicroUsdt::new(120_000_001), Ppm::new(50_000)).get(), 6_000_000);
    }

    #[test]
    fn shares_by_hand() {
        let of = |split, scores: &[(u64, u32)]| {
            let add = |share, &(credits, score): &(u64, u32)| {
                add_share(split, share, Credits::new(credits), Ppm::new(score)).unwrap()
            };
            scores.iter().fold(0, add)
        };
        let scores = [(3, 500_000), (0, 1_000_000), (4, 250_000)];
        assert_eq!(of(SplitRule::CreditsTimesScore, &scores), 2_500_000);
        assert_eq!((of(SplitRule::Credits, &scores), of(SplitRule::Equal, &scores)), (7, 1));
        assert_eq!((of(SplitRule::Equal, &scores[1..2]), of(SplitRule::Credits, &[])), (0, 0));
        let full = |split| add_share(split, u128::MAX, Credits::new(1), Ppm::ONE);
        assert_eq!((full(SplitRule::Credits), full(SplitRule::CreditsTimesScore)), (None, None));
    }

    proptest! {
        /// Guarantee: nothing is lost or made, and nobody gets more than one micro-USDT beyond the exact part.
        #[test]
        fn nothing_is_lost_or_made(pot in 0u64..1 << 60, weights in prop::collection::vec(0u128..1 << 100, 0..40)) {
            let named: Vec<_> = weights.iter().zip(0u8..).map(|(w, n)| (node(n), *w)).collect();
            let parts = split(MicroUsdt::new(pot), &named);
            let sum: u128 = parts.iter().map(|part| u128::from(part.get())).sum();
            let expected = if weights.iter().all(|w| *w == 0) { 0 } else { u128::from(pot) };
            // Weights that vanish when all are halved together leave no one to give to only if all vanish.
            prop_assert_eq!(sum, expected);
        }

        #[test]
        fn more_weight_never_gets_less(pot in 0u64..1 << 60, weights in prop::collection::vec(1u128..1 << 60, 2..20)) {
            let named: Vec<_> = weights.iter().zip(0u8..).map(|(w, n)| (node(n), *w)).collect();
            let parts = split(MicroUsdt::new(pot), &named);
            for i in 0..weights.len() {
                for j in 0..weights.len() {
                    if weights[i] > weights[j] {
                        prop_assert!(parts[i] >= parts[j]);
                    }
                }
            }
        }
    }
}
