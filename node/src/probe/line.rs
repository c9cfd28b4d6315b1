//! The line of a worker: what its owner lets probes take of it, and what they have taken.
//!
//! Each way has one pace, at which echoes and challenges take turns in the order in which they ask, in slices. A slice of a deposit passes when
//! none of them waits, so that a chunk delays no echo by more than a slice. Pings are counted and not paced: they are small, and are timed.

use std::sync::atomic::{AtomicU64, Ordering};
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
#[derive(Debug)]
pub struct Line {
    down: Pace,
    up: Pace,
    bytes: AtomicU64,
    /// Of the month's bytes; [`u64::MAX`] without a limit.
    left: AtomicU64,
}

/// Without limits.
impl Default for Line {
    fn default() -> Self {
        Self { down: Pace::new(0), up: Pace::new(0), bytes: AtomicU64::new(0), left: AtomicU64::new(u64::MAX) }
    }
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
        self.down.pass(bytes).await;
    }

    /// Waits until a chunk may be taken, whose bytes were counted as they came. It gives way to everything else.
    pub(super) async fn take_chunk(&self, bytes: usize) {
        self.down.pass_last(bytes).await;
    }

    /// Waits until bytes may be sent.
    pub(super) async fn give(&self, bytes: usize) {
        self.count(bytes);
        self.up.pass(bytes).await;
    }

    /// Counts bytes that wait for nothing.
    pub(crate) fn count(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.left.update(Ordering::Relaxed, Ordering::Relaxed, |left| left.saturating_sub(bytes));
    }

    /// How many echoes of so many bytes pass in a second, the half of what each has; at least one.
    pub(super) fn echoes(&self, bytes: u64) -> usize {
        let paces = [self.down.bytes_per_s, self.up.bytes_per_s].into_iter().filter(|pace| *pace > 0);
        paces.min().map_or(usize::MAX, |pace| usize::try_from(pace / bytes.max(1)).unwrap_or(usize::MAX).max(1))
    }

    /// Bytes that probes have taken since the node started, both ways together.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Says how many of the owner's bytes of this month are left; what is counted from now on is taken from them.
    pub fn set_left(&self, bytes: u64) {
        self.left.store(bytes, Ordering::Relaxed);
    }

    /// Whether none are: no echo and no chunk is taken then.
    pub(crate) fn is_used_up(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }
}

/// Lets bytes through at a rate.
#[derive(Debug)]
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

    /// Waits like [`Self::pass`], and with each slice until nothing else waits.
    async fn pass_last(&self, bytes: usize) {
        let mut rest = bytes;
        while self.bytes_per_s > 0 && rest > 0 {
            let now = Instant::now();
            match self.busy_until(now + SHORT) {
                Some(until) => tokio::time::sleep_until(until).await,
                None => {
                    let slice = rest.min(SLICE);
                    self.turn(slice, now);
                    rest -= slice;
                }
            }
        }
    }

    /// Until when the pace is taken, if that is after a time.
    fn busy_until(&self, time: Instant) -> Option<Instant> {
        self.free_at.lock().unwrap_or_else(PoisonError::into_inner).filter(|until| *until > time)
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

    /// Of 131 ms for a chunk and as much for an echo the echo has the first, however early the chunk came.
    #[tokio::test]
    async fn a_chunk_gives_way() {
        let line = Line::new(&LimitsConfig { down_kbps: 10_240, ..LimitsConfig::default() });
        let start = Instant::now();
        let chunk = async {
            line.take_chunk(10 * SLICE).await;
            start.elapsed()
        };
        let echo = async {
            for _ in 0..10 {
                line.take(SLICE).await;
            }
            start.elapsed()
        };
        let (chunk, echo) = tokio::join!(chunk, echo);
        assert!(chunk >= Duration::from_millis(230), "{chunk:?}");
        assert!(echo + Duration::from_millis(80) < chunk, "{echo:?} {chunk:?}");
        assert_eq!(line.bytes(), 10 * 16_384, "it is counted as it comes");
    }

    #[test]
    fn the_pace_says_how_many_echoes_it_serves() {
        let slots = |up_kbps, down_kbps| {
            Line::new(&LimitsConfig { up_kbps, down_kbps, ..LimitsConfig::default() }).echoes(256 << 10)
        };
        assert_eq!([slots(0, 0), slots(8_192, 0), slots(100_000, 8_192), slots(1, 0)], [usize::MAX, 3, 3, 1]);
    }

    #[test]
    fn pings_are_counted_too_and_a_month_ends_with_its_last_byte() {
        let line = Line::default();
        line.count(100);
        assert_eq!((line.bytes(), line.is_used_up()), (100, false));
        line.set_left(100);
        line.count(99);
        assert!(!line.is_used_up());
        line.count(2);
        assert_eq!((line.bytes(), line.is_used_up()), (201, true));
    }
}
