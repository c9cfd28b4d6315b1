//! The one source of chance of a run.

/// SplitMix64: numbers that follow from a seed.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `n`; 0 if there is none.
    pub(super) const fn below(&mut self, n: u64) -> u64 {
        match self.next().checked_rem(n) {
            Some(number) => number,
            None => 0,
        }
    }

    /// A number from `least` to `most`.
    pub(super) const fn between(&mut self, least: u64, most: u64) -> u64 {
        least.saturating_add(self.below(most.saturating_sub(least).saturating_add(1)))
    }

    /// True in `n` of 100 cases.
    pub(super) const fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    /// Every second time nothing, else a number from 1 to `most`.
    pub(super) const fn maybe(&mut self, most: u64) -> u64 {
        if self.percent(50) { 0 } else { self.between(1, most) }
    }

    /// An index below `n`.
    pub(super) fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(u64::try_from(n).unwrap_or(u64::MAX))).unwrap_or_default()
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = self.index(from.len());
        from.get(at).copied()
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}

/// A permutation of the 64-bit numbers that leaves no pattern.
pub(super) const fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
