//! How the windows are divided over which workers' statistics are summed.

use super::MAX_EPOCH_MS;
use crate::time::Epoch;

/// How a window of epochs is divided into buckets of equal length. A worker's row has one sum for each bucket, not for each epoch.
///
/// The bucket of epoch `e` is `e / epochs`, so the buckets of all workers begin at the same epochs. The window at an epoch is that epoch's
/// bucket, as far as it has come, and the `count - 1` before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// How many buckets the window has.
    pub count: u64,
    /// Epochs of a bucket.
    pub epochs: u64,
}

impl Buckets {
    /// The most buckets of a credits window.
    pub const MAX_CREDITS: usize = 84;
    /// The most buckets of a history window.
    pub const MAX_HISTORY: usize = 24;
    /// The most epochs of a window.
    pub const MAX_WINDOW: u64 = 100_000;

    /// `window` epochs in `most` buckets; a window of fewer epochs has a bucket for each.
    pub(super) const fn new(window: u64, most: usize) -> Self {
        let most = most as u64;
        let count = if window == 0 {
            1
        } else if window < most {
            window
        } else {
            most
        };
        let epochs = window / count;
        Self { count, epochs: if epochs == 0 { 1 } else { epochs } }
    }

    /// The bucket of an epoch.
    pub const fn of(&self, epoch: Epoch) -> u64 {
        epoch.get() / self.epochs
    }

    /// How many buckets lie between those of two epochs; 0 if the second is earlier.
    pub const fn between(&self, from: Epoch, to: Epoch) -> u64 {
        self.of(to).saturating_sub(self.of(from))
    }
}

/// What a bucket's numbers are made for: its milliseconds fit a `u32` and its epochs a `u16`, whatever the policy. A history window has the
/// fewest buckets, so the longest.
const _: () = {
    let epochs = Buckets::MAX_WINDOW / Buckets::MAX_HISTORY as u64;
    assert!(Buckets::MAX_HISTORY <= Buckets::MAX_CREDITS, "a bucket of credits is no longer than one of history");
    assert!(epochs * MAX_EPOCH_MS <= u32::MAX as u64, "the milliseconds of a bucket fit a u32");
    assert!(epochs <= u16::MAX as u64, "the epochs of a bucket fit a u16");
};
