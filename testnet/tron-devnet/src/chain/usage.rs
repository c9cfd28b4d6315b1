//! Use that fades: how much of a daily resource an account has in use, recovering evenly over a window of 3-second slots.
//!
//! The arithmetic, rounding and doubles included, is that of java-tron's `ResourceProcessor`: `increase` for free
//! bandwidth, whose window is always a day, and `increaseV2` for staked resources, whose window shrinks while use recovers
//! and grows with new use, so that every use is gone a day after it was made.

use super::params::WINDOW_SLOTS;

const PRECISION: u128 = 1_000_000;
/// Windows of staked resources are kept in 1/1,000 of a slot.
const WINDOW_PRECISION: u64 = 1_000;
const FULL_WINDOW: u64 = WINDOW_SLOTS * WINDOW_PRECISION;

/// Use of a staked resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes or energy in use at [`Self::slot`].
    pub amount: u64,
    /// The slot in which it was last counted.
    pub slot: u64,
    /// Over how much time from then on it recovers, in 1/1,000 of a slot; 0 is a day.
    pub window: u64,
}

impl Usage {
    /// What is still in use at slot `now`.
    pub(crate) fn at(&self, now: u64) -> u64 {
        increased(self.amount, 0, self.slot, now, self.slots())
    }

    /// Over how much time it recovers, in 1/1,000 of a slot.
    pub fn window(&self) -> u64 {
        if self.window == 0 { FULL_WINDOW } else { self.window }
    }

    /// The window in whole slots.
    pub(crate) fn slots(&self) -> u64 {
        if self.window < WINDOW_PRECISION { WINDOW_SLOTS } else { self.window / WINDOW_PRECISION }
    }

    /// Counts `amount` more at slot `now`.
    pub(crate) fn add(&mut self, amount: u64, now: u64) {
        let slots = self.slots();
        let old = faded(average(self.amount, slots), self.slot, now, slots);
        let remaining = total(old * u128::from(slots));
        let sum = total(old * u128::from(slots) + average(amount, WINDOW_SLOTS) * u128::from(WINDOW_SLOTS));
        self.window = if remaining == 0 {
            FULL_WINDOW
        } else {
            let elapsed = now.saturating_sub(self.slot).saturating_mul(WINDOW_PRECISION);
            mean_window((remaining, self.window().saturating_sub(elapsed)), (amount, FULL_WINDOW), sum)
        };
        (self.amount, self.slot) = (sum, now);
    }

    /// Brings the count to slot `now`.
    pub(crate) fn refresh(&mut self, now: u64) {
        self.add(0, now);
    }

    /// Takes over `amount` that recovers over `window`, as when a delegation that is in use comes back.
    pub(crate) fn take_over(&mut self, amount: u64, window: u64, now: u64) {
        self.refresh(now);
        let sum = self.amount.saturating_add(amount);
        self.window =
            if sum == 0 { FULL_WINDOW } else { mean_window((self.amount, self.window()), (amount, window), sum) };
        self.amount = sum;
    }
}

/// The window over which two uses recover together: the mean of theirs, weighted, rounded up, at most a day.
fn mean_window(a: (u64, u64), b: (u64, u64), sum: u64) -> u64 {
    let weighted = |(amount, window): (u64, u64)| u128::from(amount) * u128::from(window);
    let mean = (weighted(a) + weighted(b)).div_ceil(u128::from(sum.max(1)));
    u64::try_from(mean).unwrap_or(u64::MAX).min(FULL_WINDOW)
}

/// `last`, counted at slot `then` and recovering over `window` slots, and `more` on top, at slot `now`.
pub(crate) fn increased(last: u64, more: u64, then: u64, now: u64, window: u64) -> u64 {
    let sum = faded(average(last, window), then, now, window) + average(more, window);
    total(sum * u128::from(window))
}

fn average(amount: u64, window: u64) -> u128 {
    (u128::from(amount) * PRECISION).div_ceil(u128::from(window))
}

fn total(sum: u128) -> u64 {
    u64::try_from(sum / PRECISION).unwrap_or(u64::MAX)
}

/// What is left at slot `now` of an average that was taken at slot `then`.
fn faded(average: u128, then: u64, now: u64, window: u64) -> u128 {
    let elapsed = now.saturating_sub(then);
    if elapsed == 0 {
        return average;
    }
    if elapsed >= window {
        return 0;
    }
    let decay = (window - elapsed) as f64 / window as f64;
    u128::from(whole((average as f64 * decay).round()))
}

/// A double without its fraction, as Java's cast makes it; a negative one is 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, which is meant")]
pub(crate) fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn use_is_gone_a_day_after_it_was_made() {
        let mut usage = Usage::default();
        usage.add(1_000_000, 10);
        assert_eq!(usage, Usage { amount: 1_000_000, slot: 10, window: FULL_WINDOW });
        assert_eq!(usage.at(10 + WINDOW_SLOTS / 4), 750_000);
        // Half of it has recovered, and has half a day left.
        usage.refresh(10 + WINDOW_SLOTS / 2);
        assert_eq!(usage, Usage { amount: 500_000, slot: 10 + WINDOW_SLOTS / 2, window: FULL_WINDOW / 2 });
        // As much again has a whole day: three quarters of one on average.
        usage.add(500_000, 10 + WINDOW_SLOTS / 2);
        assert_eq!((usage.amount, usage.window), (1_000_000, FULL_WINDOW / 4 * 3));
        assert_eq!(usage.at(10 + WINDOW_SLOTS / 2 + WINDOW_SLOTS / 4 * 3), 0);
        usage.refresh(100_000);
        assert_eq!(usage, Usage { amount: 0, slot: 100_000, window: FULL_WINDOW });
    }

    #[test]
    fn a_delegation_in_use_brings_its_window_along() {
        let mut usage = Usage::default();
        usage.add(300, 0);
        usage.take_over(100, FULL_WINDOW / 2, 0);
        assert_eq!((usage.amount, usage.window), (400, FULL_WINDOW / 8 * 7));
    }

    #[test]
    fn rounding_is_the_full_nodes() {
        // ceil(601 * 10^6 / 28,800) = 20,869 an average, times 28,800 / 10^6 = 601.0272.
        assert_eq!(increased(601, 0, 5, 5, WINDOW_SLOTS), 601);
        // Each is rounded up on its own: 34,723 twice is 2,000.04.
        assert_eq!(increased(1_000, 1_000, 5, 5, WINDOW_SLOTS), 2_000);
        // A slot takes 1 / 28,800 of it: round(34,723 * 28,799 / 28,800) = 34,722, which is 999.99.
        assert_eq!(increased(1_000, 0, 5, 6, WINDOW_SLOTS), 999);
    }

    /// Use and slot, and then amount and window, computed with `increaseV2` as java-tron has it.
    #[test]
    fn sequences_are_the_full_nodes() {
        type Row = (u64, u64, u64, u64);
        let sequences: [&[Row]; 3] = [
            &[
                (1_000_003, 9_000, 1_000_003, 28_800_000),
                (0, 10_200, 958_336, 27_600_000),
                (345, 10_201, 958_646, 27_599_433),
                (64_285, 12_345, 948_459, 25_682_123),
            ],
            &[
                (130_285_777, 20_000, 130_285_777, 28_800_000),
                (0, 29_000, 89_571_471, 19_800_000),
                (64_285, 29_001, 89_631_232, 19_805_456),
                (7, 50_000, 7, 28_800_000),
            ],
            &[
                (601, 3, 601, 28_800_000),
                (599, 14_403, 899, 23_994_661),
                (1, 14_404, 899, 23_999_008),
                (1, 28_802, 360, 9_654_339),
            ],
        ];
        for sequence in sequences {
            let mut usage = Usage::default();
            for (used, slot, amount, window) in sequence {
                usage.add(*used, *slot);
                assert_eq!(usage, Usage { amount: *amount, slot: *slot, window: *window });
            }
        }
    }

    proptest! {
        #[test]
        fn use_only_recovers(first in 0..1_000_000_000u64, more in 0..1_000_000_000u64, wait in 0..40_000u64, later in 0..40_000u64) {
            let mut usage = Usage::default();
            usage.add(first, 100);
            let before = usage.at(100 + wait);
            prop_assert!(before <= first);
            usage.add(more, 100 + wait);
            // Sums are exact up to the rounding of the averages, a slot's worth of precision each.
            prop_assert!(usage.amount.abs_diff(before + more) <= 2);
            prop_assert!(usage.window() <= FULL_WINDOW);
            prop_assert!(usage.at(100 + wait + later) <= usage.amount);
            prop_assert_eq!(usage.at(100 + wait + WINDOW_SLOTS), 0);
        }
    }
}
