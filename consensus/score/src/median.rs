//! The weighted median, which no minority of the weight can move at will, and the value with most weight.

/// A value with its weight, in one word: ordered by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weighted(u64);

impl Weighted {
    /// Values are below this.
    pub const END: u64 = 1 << 56;

    /// A greater value counts as the greatest there is.
    pub fn new(value: u64, weight: u8) -> Self {
        Self(value.min(Self::END - 1) << 8 | u64::from(weight))
    }

    /// The value.
    pub const fn value(self) -> u64 {
        self.0 >> 8
    }

    /// Its weight.
    pub const fn weight(self) -> u64 {
        self.0 & 0xff
    }
}

/// Sorts. So few as most workers have reporters are exchanged in pairs, which no processor has to guess the outcome of: their order is random.
fn sort(values: &mut [Weighted]) {
    if values.len() > 24 {
        return values.sort_unstable();
    }
    for round in 0..values.len() {
        for pair in values.get_mut(round % 2..).unwrap_or_default().chunks_exact_mut(2) {
            if let [a, b] = pair {
                (*a, *b) = ((*a).min(*b), (*a).max(*b));
            }
        }
    }
}

/// The smallest value `v` such that the weights of the values up to `v` are at least half of all weight.
///
/// `None` when there is no value with a weight. The order of `values` does not matter; it is theirs afterwards.
pub fn weighted_median(values: &mut [Weighted]) -> Option<u64> {
    sort(values);
    let total: u64 = values.iter().map(|it| it.weight()).sum();
    let mut below = 0;
    for it in values.iter() {
        below += it.weight();
        if it.weight() > 0 && 2 * below >= total {
            return Some(it.value());
        }
    }
    None
}

/// `floor(n * sum / weight)`: the sum of the values by weight, none of which counts for more than `most`, of `n` in place of all weight.
///
/// `None` when there is no weight, or if it does not fit.
pub fn capped_total(values: &[Weighted], most: u64, n: u64) -> Option<u64> {
    let mut sums = Some((0u64, 0u64));
    for it in values {
        let capped = it.weight().checked_mul(it.value().min(most));
        sums = sums.zip(capped).and_then(|((sum, all), capped)| Some((sum.checked_add(capped)?, all + it.weight())));
    }
    let (sum, all) = sums?;
    n.checked_mul(sum)?.checked_div(all)
}

/// The value with most weight, of equal ones the smallest.
///
/// `None` when there is no value. The order of `values` does not matter; it is theirs afterwards.
pub fn weighted_mode(values: &mut [Weighted]) -> Option<u64> {
    sort(values);
    let mut most = None;
    for same in values.chunk_by(|a, b| a.value() == b.value()) {
        let weight: u64 = same.iter().map(|it| it.weight()).sum();
        if most.is_none_or(|(_, heaviest)| weight > heaviest) {
            most = same.first().map(|it| (it.value(), weight));
        }
    }
    most.map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weighted(values: &[(u64, u8)]) -> Vec<Weighted> {
        values.iter().map(|(value, weight)| Weighted::new(*value, *weight)).collect()
    }

    #[test]
    fn medians_by_hand() {
        let median = |values: &[(u64, u8)]| weighted_median(&mut weighted(values));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[(7, 0)]), None);
        assert_eq!(median(&[(7, 1)]), Some(7));
        assert_eq!(median(&[(9, 1), (1, 1)]), Some(1), "the lower of two");
        assert_eq!(median(&[(9, 1), (1, 1), (5, 1)]), Some(5));
        assert_eq!(median(&[(1, 1), (2, 1), (100, 3)]), Some(100));
        assert_eq!(median(&[(u64::MAX, 255), (1, 1)]), Some(Weighted::END - 1));
    }

    #[test]
    fn modes_by_hand() {
        let mode = |values: &[(u64, u8)]| weighted_mode(&mut weighted(values));
        assert_eq!(mode(&[]), None);
        assert_eq!(mode(&[(9, 2), (1, 1), (9, 1), (3, 2)]), Some(9));
        assert_eq!(mode(&[(9, 2), (1, 1), (1, 1)]), Some(1), "the smallest of two");
    }

    proptest! {
        #[test]
        fn a_minority_of_the_weight_stays_within_the_honest_range(
            honest in prop::collection::vec((0u64..1_000_000, 1u8..10), 1..20),
            lies in prop::collection::vec((any::<u64>(), 1u8..10), 0..20),
        ) {
            let weight = |values: &[(u64, u8)]| values.iter().map(|(_, weight)| u64::from(*weight)).sum::<u64>();
            prop_assume!(weight(&lies) < weight(&honest));
            let low = honest.iter().map(|(value, _)| *value).min().unwrap_or(0);
            let high = honest.iter().map(|(value, _)| *value).max().unwrap_or(0);
            let median = weighted_median(&mut weighted(&[honest, lies].concat()));
            prop_assert!(median.is_some_and(|m| (low..=high).contains(&m)));
        }

        /// It is the middle of the values, each as often as it weighs.
        #[test]
        fn weights_are_repetitions(values in prop::collection::vec((0u64..50, 1u8..10), 1..60)) {
            let repeat = |(value, weight): &(u64, u8)| vec![*value; usize::from(*weight)];
            let mut all: Vec<u64> = values.iter().flat_map(repeat).collect();
            all.sort_unstable();
            let middle = all[(all.len() - 1) / 2];
            prop_assert_eq!(weighted_median(&mut weighted(&values)), Some(middle));
        }
    }
}
