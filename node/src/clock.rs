//! The wall clock as an argument: epochs are defined by it, so whoever measures is handed one.
//!
//! Durations are never taken from here: round trips and throughput use the monotonic clock, waits use tokio's timer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lucid_types::time::UnixMillis;

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970-01-01 00:00 UTC.
    fn now(&self) -> UnixMillis;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        // A clock before 1970 is shown as 1970: every epoch is then in the future and the node waits.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis::ZERO.after(since)
    }
}

/// Waits until the clock shows `time`; at once when it is past. Notices within a second that the clock was set.
pub async fn sleep_until(clock: &dyn Clock, time: UnixMillis) {
    loop {
        let rest = clock.now().until(time);
        if rest.is_zero() {
            return;
        }
        tokio::time::sleep(rest.min(Duration::from_secs(1))).await;
    }
}
