//! A token bucket: how often one peer may ask, or how much it may send. Integer arithmetic, time as an argument.

use std::time::{Duration, Instant};

/// Allows `burst` at once and `per_second` in the long run.
#[derive(Clone, Debug)]
pub(crate) struct TokenBucket {
    /// Thousandths of a token.
    level: u64,
    burst: u64,
    per_second: u64,
    updated: Instant,
}

const TOKEN: u64 = 1000;

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        let burst = u64::from(burst).saturating_mul(TOKEN);
        Self { level: burst, burst, per_second: u64::from(per_second), updated: now }
    }

    /// Takes one token; `false` if there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.take_many(1, now)
    }

    /// Takes so many tokens; `false`, and none taken, if there are fewer.
    pub(crate) fn take_many(&mut self, tokens: u32, now: Instant) -> bool {
        // One token a second is one thousandth a millisecond, so whole milliseconds lose nothing.
        let elapsed = u64::try_from(now.saturating_duration_since(self.updated).as_millis()).unwrap_or(u64::MAX);
        if elapsed > 0 {
            self.level = self.level.saturating_add(elapsed.saturating_mul(self.per_second)).min(self.burst);
            self.updated = self.updated.checked_add(Duration::from_millis(elapsed)).unwrap_or(now);
        }
        let left = self.level.checked_sub(u64::from(tokens).saturating_mul(TOKEN));
        self.level = left.unwrap_or(self.level);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the times of the calls, no more than burst + rate * elapsed (rounded up) get through, and a caller
        /// that stays under the rate is never refused.
        #[test]
        fn never_more_than_burst_and_rate(
            burst in 1u32..50, rate in 0u32..100, steps in prop::collection::vec(0u64..400, 1..200)
        ) {
            let start = Instant::now();
            let mut bucket = TokenBucket::new(burst, rate, start);
            let (mut at, mut taken) = (0u64, 0u64);
            for step in steps {
                at += step;
                taken += u64::from(bucket.take(start + Duration::from_millis(at)));
            }
            prop_assert!(taken * 1000 <= u64::from(burst) * 1000 + at * u64::from(rate));
        }

        #[test]
        fn many_tokens_are_as_many_times_one(burst in 1u32..50, tokens in 0u32..60) {
            let now = Instant::now();
            let mut bucket = TokenBucket::new(burst, 0, now);
            prop_assert_eq!(bucket.take_many(tokens, now), tokens <= burst);
            let left = if tokens <= burst { burst - tokens } else { burst };
            prop_assert_eq!((0..100).filter(|_| bucket.take(now)).count(), left as usize);
        }

        #[test]
        fn a_caller_under_the_rate_is_never_refused(rate in 1u32..100, n in 1usize..500) {
            let start = Instant::now();
            let mut bucket = TokenBucket::new(1, rate, start);
            let gap = 1000u64.div_ceil(u64::from(rate));
            for i in 0..n as u64 {
                prop_assert!(bucket.take(start + Duration::from_millis(i * gap)));
            }
        }
    }
}
