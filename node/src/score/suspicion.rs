//! Whether a worker's newest score is like its last ones.

use lucid_score::median::{Weighted, weighted_median};
use lucid_types::amount::Ppm;

/// Fewer samples say nothing.
pub const LEAST_SAMPLES: usize = 8;
/// Up to this much a score moves without anybody wondering.
const LEAST_LIMIT: u32 = 50_000;

/// A score that is unlike those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// The median of those before.
    pub median: Ppm,
    /// How far it may be from that: the greater of six times their median absolute deviation and 50,000 ppm.
    pub limit: Ppm,
    /// How far it is.
    pub difference: Ppm,
}

/// What is suspicious about a score after these; `None` if nothing, or if they are fewer than [`LEAST_SAMPLES`].
pub fn suspicion(samples: &[Ppm], score: Ppm) -> Option<Suspicion> {
    if samples.len() < LEAST_SAMPLES {
        return None;
    }
    let median_of = |values: &mut dyn Iterator<Item = u32>| {
        let mut values: Vec<_> = values.map(|value| Weighted::new(value.into(), 1)).collect();
        weighted_median(&mut values).and_then(|value| u32::try_from(value).ok())
    };
    let median = median_of(&mut samples.iter().map(|it| it.get()))?;
    let deviation = median_of(&mut samples.iter().map(|it| it.get().abs_diff(median)))?;
    let limit = deviation.saturating_mul(6).max(LEAST_LIMIT);
    let difference = score.get().abs_diff(median);
    let [median, limit, difference] = [median, limit, difference].map(Ppm::new);
    (difference > limit).then_some(Suspicion { median, limit, difference })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: &[u32], score: u32) -> Option<(u32, u32, u32)> {
        let samples: Vec<_> = samples.iter().copied().map(Ppm::new).collect();
        let found = suspicion(&samples, Ppm::new(score))?;
        Some((found.median.get(), found.limit.get(), found.difference.get()))
    }

    #[test]
    fn a_score_is_compared_with_its_own_history() {
        let steady = [800_000; 24];
        assert_eq!(of(&steady, 850_000), None);
        assert_eq!(of(&steady, 850_001), Some((800_000, 50_000, 50_001)));
        assert_eq!(of(&steady, 700_000), Some((800_000, 50_000, 100_000)), "drops, too");
        let moving: Vec<u32> = (0..24).map(|n| 500_000 + 20_000 * n).collect();
        assert_eq!(of(&moving, 1_000_000), None, "720,000 and 120,000 from it is usual here");
        assert_eq!(
            (of(&moving, 0), moving.len(), moving[23]),
            (None, 24, 960_000),
            "exactly the limit is no more than it"
        );
        assert_eq!(of(&[100_000; 8], 720_000), Some((100_000, 50_000, 620_000)));
        assert_eq!(of(&[800_000; 7], 0), None, "too few samples");
        assert_eq!(of(&[], 0), None);
    }
}
