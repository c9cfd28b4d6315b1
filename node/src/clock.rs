//! The wall clock as an argument: epochs are defined by it, so whoever measures is handed one.
//!
//! Durations are never taken from here: round trips and throughput use the monotonic clock, waits use tokio's timer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lucid_types::time::UnixMillis;
use tokio::time::Instant;

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

/// A clock that nobody sets: it shows another's time when it is made, and runs on from there. For what counts on times that it
/// noted itself, and would stand still for an hour if the system's clock were set back by one.
#[derive(Clone, Copy, Debug)]
pub struct SteadyClock {
    start: UnixMillis,
    since: Instant,
}

impl SteadyClock {
    /// From the other's time on.
    pub fn from_now(clock: &dyn Clock) -> Self {
        Self { start: clock.now(), since: Instant::now() }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> UnixMillis {
        self.start.after(self.since.elapsed())
    }
}

/// Waits until the clock shows `time`; at once when it is past. Notices within a second that the clock was set: set
/// back, it returns early, since what `time` was computed from no longer holds.
pub async fn sleep_until(clock: &dyn Clock, time: UnixMillis) {
    let mut now = clock.now();
    while now < time {
        tokio::time::sleep(now.until(time).min(Duration::from_secs(1))).await;
        let before = std::mem::replace(&mut now, clock.now());
        if now < before {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Runs on from a base that a test can set.
    struct Wall {
        base: AtomicU64,
        start: Instant,
    }

    impl Wall {
        fn set(&self, base: u64) {
            self.base.store(base, Ordering::Relaxed);
        }
    }

    impl Clock for Wall {
        fn now(&self) -> UnixMillis {
            UnixMillis::new(self.base.load(Ordering::Relaxed)).after(self.start.elapsed())
        }
    }

    #[tokio::test]
    async fn a_wait_follows_the_clock() {
        const HOUR: u64 = 3_600_000;
        let wall = Wall { base: AtomicU64::new(HOUR), start: Instant::now() };
        let soon = Duration::from_millis(100);
        let at = |hours: u64| UnixMillis::new(hours * HOUR);
        let begun = Instant::now();
        let disturbed = async |until, set| {
            let setting = async {
                tokio::time::sleep(soon).await;
                wall.set(set);
            };
            tokio::time::timeout(Duration::from_mins(1), async { tokio::join!(sleep_until(&wall, until), setting) })
                .await
        };
        assert!(disturbed(at(2), 3 * HOUR).await.is_ok(), "a leap over the time ends the wait");
        assert!(disturbed(at(4), HOUR).await.is_ok(), "a clock set back ends the wait");
        sleep_until(&wall, at(1)).await;
        assert!(begun.elapsed() < Duration::from_secs(30), "a time that is past is not waited for");
        let start = Instant::now();
        sleep_until(&wall, wall.now().after(soon)).await;
        assert!(start.elapsed() >= soon, "an undisturbed wait is as long as it should be");
    }

    #[test]
    fn a_steady_clock_runs_on_when_the_other_is_set() {
        let wall = Wall { base: AtomicU64::new(10_000_000), start: Instant::now() };
        let steady = SteadyClock::from_now(&wall);
        let first = steady.now();
        wall.set(1_000);
        assert!(wall.now() < first && steady.now() >= first && first.get() >= 10_000_000);
    }
}
