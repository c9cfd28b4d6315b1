//! The weighted median that no single reporter can move at will.

/// Lowers the greatest weights until none exceeds half the sum of the others.
///
/// With fewer than three weights that is impossible and they stay as they are. Runs in O(n log n).
pub fn lower_weights(weights: &mut [u64]) {
    if weights.len() < 3 {
        return;
    }
    let mut sorted: Vec<u128> = weights.iter().map(|w| u128::from(*w)).collect();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    let others: u128 = sorted[1..].iter().sum();
    if 2 * sorted[0] <= others {
        return;
    }
    // Either lowering the greatest is enough, or the two greatest must both come down to the sum of the rest:
    // with three at the same height, no one exceeds half the other two.
    let cap = if others / 2 >= sorted[1] { others / 2 } else { others - sorted[1] };
    let cap = u64::try_from(cap).unwrap_or(u64::MAX);
    for weight in weights {
        *weight = (*weight).min(cap);
    }
}

/// The smallest value `v` such that the weights of the values up to `v` are at least half of all weight.
///
/// `None` when there is no value with a weight. The order of `values` does not matter.
pub fn weighted_median(values: &mut [(u64, u64)]) -> Option<u64> {
    values.sort_unstable();
    let total: u128 = values.iter().map(|(_, weight)| u128::from(*weight)).sum();
    let mut below = 0u128;
    for (value, weight) in values.iter() {
        below += u128::from(*weight);
        if *weight > 0 && 2 * below >= total {
            return Some(*value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn medians_by_hand() {
        assert_eq!(weighted_median(&mut []), None);
        assert_eq!(weighted_median(&mut [(7, 0)]), None);
        assert_eq!(weighted_median(&mut [(7, 1)]), Some(7));
        assert_eq!(weighted_median(&mut [(9, 1), (1, 1)]), Some(1), "the lower of two");
        assert_eq!(weighted_median(&mut [(9, 1), (1, 1), (5, 1)]), Some(5));
        assert_eq!(weighted_median(&mut [(1, 1), (2, 1), (100, 3)]), Some(100));
    }

    #[test]
    fn weights_by_hand() {
        let lowered = |mut weights: Vec<u64>| {
            lower_weights(&mut weights);
            weights
        };
        assert_eq!(lowered(vec![10, 1, 1]), [1, 1, 1]);
        assert_eq!(lowered(vec![1, 10, 10]), [1, 1, 1]);
        assert_eq!(lowered(vec![10, 4, 4, 4]), [6, 4, 4, 4]);
        assert_eq!(lowered(vec![10, 10, 2, 3]), [5, 5, 2, 3]);
        assert_eq!(lowered(vec![1, 1, 1, 1]), [1, 1, 1, 1]);
        assert_eq!(lowered(vec![5, 1]), [5, 1]);
    }

    proptest! {
        #[test]
        fn no_weight_exceeds_half_the_others(mut weights in prop::collection::vec(1u64..1 << 50, 3..30)) {
            let before = weights.clone();
            lower_weights(&mut weights);
            let sum: u128 = weights.iter().map(|w| u128::from(*w)).sum();
            for (new, old) in weights.iter().zip(&before) {
                prop_assert!(2 * u128::from(*new) <= sum - u128::from(*new));
                prop_assert!(new <= old && *new > 0);
            }
        }

        #[test]
        fn a_minority_of_liars_stays_within_the_honest_range(
            honest in prop::collection::vec(0u64..1_000_000, 3..20),
            lies in prop::collection::vec(any::<u64>(), 0..20),
        ) {
            prop_assume!(lies.len() < honest.len());
            let (low, high) = (*honest.iter().min().unwrap_or(&0), *honest.iter().max().unwrap_or(&0));
            let mut values: Vec<_> = honest.iter().chain(&lies).map(|v| (*v, 1)).collect();
            let median = weighted_median(&mut values);
            prop_assert!(median.is_some_and(|m| (low..=high).contains(&m)));
        }
    }
}
