//! Points in time and epoch numbers. Nothing here reads a clock: time is always an argument.

use std::time::Duration;

use crate::amount::quantity;
use serde::{Deserialize, Serialize};

quantity!(
    /// Milliseconds since 1970-01-01 00:00 UTC.
    UnixMillis, u64
);
quantity!(
    /// An epoch, and the height of the block that closes it. Height 0 is the genesis; epoch 1 starts at genesis time.
    EpochNumber, u64
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

impl EpochNumber {
    /// The next epoch.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The epoch before; genesis stays genesis.
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}
