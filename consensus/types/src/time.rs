//! Points in time, epochs, heights, and the windows of an epoch. Nothing here reads a clock: time is always an argument.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::amount::quantity;
use serde::{Deserialize, Serialize};

quantity!(
    /// Milliseconds since 1970-01-01 00:00 UTC.
    UnixMillis, u64
);
quantity!(
    /// A stretch of time in which workers are measured. Epoch 1 starts at genesis time; 0 is the moment of genesis.
    Epoch, u64
);
quantity!(
    /// The number of a block. 0 is the genesis.
    Height, u64
);

impl UnixMillis {
    /// `duration` later, at most the greatest time.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// `duration` earlier, at least the least time.
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long until `later`; zero if it is past.
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }
}

impl Epoch {
    /// The next epoch.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The epoch before; that before 0 is 0.
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Height {
    /// The next height.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The height before; that before 0 is 0.
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// So many blocks later.
    pub const fn plus(self, blocks: u64) -> Self {
        Self(self.0.saturating_add(blocks))
    }
}

/// The blocks in which an epoch's report commitments and reveals stand: `width` blocks for each, after the block that closed
/// the epoch. The only place with this arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    closed_in: Height,
    width: u64,
}

impl Windows {
    /// Of an epoch that this block closed.
    pub const fn new(closed_in: Height, width: u64) -> Self {
        Self { closed_in, width }
    }

    /// The blocks in which its commitments may stand.
    pub const fn commitments(&self) -> RangeInclusive<Height> {
        self.closed_in.next()..=self.closed_in.plus(self.width)
    }

    /// The blocks in which its reveals may stand.
    pub const fn reveals(&self) -> RangeInclusive<Height> {
        self.closed_in.plus(self.width).next()..=self.final_in()
    }

    /// The block that makes its scores final.
    pub const fn final_in(&self) -> Height {
        self.closed_in.plus(self.width.saturating_mul(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_the_closing_block_without_a_gap() {
        for width in 1..8 {
            for closed_in in [0, 1, 77] {
                let windows = Windows::new(Height::new(closed_in), width);
                let (commitments, reveals) = (windows.commitments(), windows.reveals());
                assert_eq!(*commitments.start(), Height::new(closed_in).next());
                assert_eq!(*reveals.start(), commitments.end().next());
                assert_eq!(*reveals.end(), windows.final_in());
                for window in [commitments, reveals] {
                    assert_eq!(window.end().get() - window.start().get() + 1, width);
                }
            }
        }
    }
}
