//! The line of a worker: what its owner lets probes take of it, and what they have taken.
//!
//! Each way has one pace, at which echoes, deposits and challenges take turns in the order in which they ask, in slices, so that a chunk delays
//! no echo by more than a slice. Pings are counted and not paced: they are small, and are timed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::LimitsConfig;

/// What passes at a turn, in bytes.
const SLICE: usize = 16 << 10;
/// Nobody waits for less: a timer is good to a millisecond, and what is passed too early is waited for later.
const SHORT: Duration = Duration::from_millis(5);
/// Bytes a second of a kilobit a second.
const BYTES_PER_KBIT: u64 = 125;

/// The line, shared by all that answers probes.
#[derive(Debug, Default)]
pub struct Line {
    down: Pace,
    up: Pace,
    bytes: AtomicU64,
    is_used_up: AtomicBool,
}

impl Line {
    /// A line with its owner's limits.
    pub fn new(limits: &LimitsConfig) -> Self {
        let pace = |kbps: u32| Pace::new(u64::from(kbps).saturating_mul(BYTES_PER_KBIT));
        Self { down: pace(limits.down_kbps), up: pace(limits.up_kbps), ..Self::default() }
    }

    /// Waits until bytes that came in may be taken.
    pub(super) async fn take(&self, bytes: usize) {
        self.count(bytes);
        self.take_counted(bytes).await;
    }

    /// The same, for bytes that were counted as they came.
    pub(super) async fn take_counted(&self, bytes: usize) {
        self.down.pass(bytes).await;
    }

    /// Waits until bytes may be sent.
    pub(super) async fn give(&self, bytes: usize) {
        self.count(bytes);
        self.up.pass(bytes).await;
    }

    /// Counts bytes that wait for nothing.
    pub(crate) fn count(&self, bytes: usize) {
        self.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Bytes that probes have taken since the node started, both ways together.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Says whether the owner's bytes of this month are used up.
    pub fn set_used_up(&self, is_used_up: bool) {
        self.is_used_up.store(is_used_up, Ordering::Relaxed);
    }

    /// Whether they are: no echo and no chunk is taken then.
    pub(crate) fn is_used_up(&self) -> bool {
        self.is_used_up.load(Ordering::Relaxed)
    }
}

/// Lets bytes through at a rate.
#[derive(Debug, Default)]
struct Pace {
    /// 0 for none.
    bytes_per_s: u64,
    free_at: Mutex<Option<Instant>>,
}

impl Pace {
    const fn new(bytes_per_s: u64) -> Self {
        Self { bytes_per_s, free_at: Mutex::new(None) }
    }

    /// Waits until all of the bytes may pass but the last slice of them, whose time is the next one's to wait for.
    async fn pass(&self, bytes: usize) {
        if self.bytes_per_s == 0 {
            return;
        }
        let mut rest = bytes;
        while rest > 0 {
            let slice = rest.min(SLICE);
            let now = Instant::now();
            let turn = self.turn(slice, now);
            if turn > now + SHORT {
                tokio::time::sleep_until(turn).await;
            }
            rest -= slice;
        }
    }

    /// When `bytes` may pass: once everything before them is paid for.
    fn turn(&self, bytes: usize, now: Instant) -> Instant {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let nanos = bytes.saturating_mul(1_000_000_000).checked_div(self.bytes_per_s).unwrap_or(0);
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = free_at.map_or(now, |free_at| free_at.max(now));
        *free_at = turn.checked_add(Duration::from_nanos(nanos));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_whoever_asks() {
        let (pace, start) = (Pace::new(1_000), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(pace.turn(500, start), start);
        assert_eq!(pace.turn(250, start), after(500));
        assert_eq!(pace.turn(1, start), after(750));
        // What nobody used is not saved up.
        assert_eq!(pace.turn(500, after(9_000)), after(9_000));
        assert_eq!(pace.turn(500, after(9_100)), after(9_500));
    }

    #[test]
    fn without_a_limit_every_turn_is_now() {
        let (pace, start) = (Pace::new(0), Instant::now());
        assert_eq!([pace.turn(usize::MAX, start), pace.turn(1, start)], [start, start]);
    }

    #[tokio::test]
    async fn each_way_has_its_pace_and_a_chunk_is_passed_in_slices() {
        // A slice takes 12.8 ms, ten of them 115.2 ms and the last one, for which nobody waits.
        let line = Line::new(&LimitsConfig { up_kbps: 10_240, ..LimitsConfig::default() });
        let chunk = 10 * SLICE;
        line.take(chunk).await;
        let start = Instant::now();
        let ended = async |bytes| {
            line.give(bytes).await;
            start.elapsed()
        };
        let (sent, echoed) = tokio::join!(ended(chunk), ended(1));
        assert!(echoed < sent, "an echo waits for a slice or two: {echoed:?}, {sent:?}");
        assert!(sent >= Duration::from_millis(110), "{sent:?}");
        assert_eq!(line.bytes(), 2 * 10 * 16_384 + 1);
    }

    #[test]
    fn pings_are_counted_too() {
        let line = Line::default();
        line.count(100);
        assert_eq!((line.bytes(), line.is_used_up()), (100, false));
        line.set_used_up(true);
        assert!(line.is_used_up());
    }
}
