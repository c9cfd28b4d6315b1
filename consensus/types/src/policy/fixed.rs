//! The parameters that are a network's for ever.

use std::time::Duration;

use super::Policy;
use crate::time::Epoch;

macro_rules! fixed {
    ($($(#[$doc:meta])* $key:ident: $type:ty,)*) => {
        /// The parameters of a [`Policy`] that no [change](crate::change::PolicyChange) may touch, each with the reason. All others can change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct FixedPolicy {
            $($(#[$doc])* pub $key: $type,)*
        }

        impl FixedPolicy {
            /// Their keys.
            pub const KEYS: &'static [&'static str] = &[$(stringify!($key)),*];

            /// The first that is another in `other`.
            fn difference(&self, other: &Self) -> Option<&'static str> {
                $(if self.$key != other.$key {
                    return Some(stringify!($key));
                })*
                None
            }
        }

        impl Policy {
            /// Those parameters that no change may touch.
            pub const fn fixed(&self) -> FixedPolicy {
                FixedPolicy { $($key: self.$key,)* }
            }
        }
    };
}

fixed! {
    /// Times of all epochs follow from it.
    epoch_ms: u64,
    /// Numbers of all settlements follow from it.
    settle_every: u64,
    /// What is promised ends with it.
    last_settlement: Option<u64>,
    /// The engine starts with it; validity of blocks.
    block_min_ms: u64,
    /// The engine starts with it; validity of blocks.
    window_block_min_ms: u64,
    /// The engine's time-outs.
    precision_ms: u64,
    /// The engine's time-outs.
    message_delay_ms: u64,
    /// Validators of so many heights have rows.
    evidence_blocks: u64,
    /// Joining nodes look for the same states at all peers.
    snapshot_blocks: u64,
    /// Joining nodes rely on it.
    keep_blocks_ms: u64,
    /// A validator needs it before it has a state.
    doppelganger_ms: u64,
    /// Windows of pending epochs follow from it.
    report_window: u64,
    /// The engine's time-outs.
    report_grace_ms: u64,
    /// Buckets of workers' rows.
    credits_window: u64,
    /// Buckets of workers' rows.
    history_window: u64,
    /// Storage committees that are under way have so many seats, which hold deposited chunks.
    seats: u32,
    /// Rows of storage terms that are under way follow from it.
    storage_term: u64,
    /// Worker and validator must agree on it, whichever block each has seen last.
    storage_ranges: u32,
    /// Worker and validator must agree on it, whichever block each has seen last.
    storage_range_bytes: u32,
}

impl FixedPolicy {
    /// The settlement that covers an epoch.
    pub const fn settlement_of(&self, epoch: Epoch) -> u64 {
        let every = if self.settle_every == 0 { 1 } else { self.settle_every };
        epoch.get().div_ceil(every)
    }

    /// The last epoch that a settlement covers.
    pub const fn last_epoch_of(&self, settlement: u64) -> Epoch {
        Epoch::new(settlement.saturating_mul(self.settle_every))
    }

    /// Length of an epoch.
    pub const fn epoch(&self) -> Duration {
        Duration::from_millis(self.epoch_ms)
    }

    /// Length of the grace for reports that have not come.
    pub const fn report_grace(&self) -> Duration {
        Duration::from_millis(self.report_grace_ms)
    }
}

impl Policy {
    /// The first parameter that no change may touch, and that is another in `other`.
    pub fn fixed_difference(&self, other: &Self) -> Option<&'static str> {
        self.fixed().difference(&other.fixed())
    }
}
