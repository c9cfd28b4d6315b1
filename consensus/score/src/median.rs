//! The weighted median that no minority of the weight can move at will.

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

    proptest! {
        #[test]
        fn a_minority_of_the_weight_stays_within_the_honest_range(
            honest in prop::collection::vec((0u64..1_000_000, 1u64..10), 1..20),
            lies in prop::collection::vec((any::<u64>(), 1u64..10), 0..20),
        ) {
            let weight = |values: &[(u64, u64)]| values.iter().map(|(_, weight)| weight).sum::<u64>();
            prop_assume!(weight(&lies) < weight(&honest));
            let low = honest.iter().map(|(value, _)| *value).min().unwrap_or(0);
            let high = honest.iter().map(|(value, _)| *value).max().unwrap_or(0);
            let mut values = [honest, lies].concat();
            let median = weighted_median(&mut values);
            prop_assert!(median.is_some_and(|m| (low..=high).contains(&m)));
        }

        /// It is the middle of the values, each as often as it weighs.
        #[test]
        fn weights_are_repetitions(mut values in prop::collection::vec((0u64..50, 1u64..10), 1..20)) {
            let repeat = |(value, weight): &(u64, u64)| vec![*value; usize::try_from(*weight).unwrap_or(0)];
            let mut all: Vec<u64> = values.iter().flat_map(repeat).collect();
            all.sort_unstable();
            let middle = all[(all.len() - 1) / 2];
            prop_assert_eq!(weighted_median(&mut values), Some(middle));
        }
    }
}
