//! A cap on bytes a second that several streams share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lets bytes through at a rate. Streams take turns in the order in which they ask.
pub(super) struct Pace {
    bytes_per_s: u64,
    free_at: Mutex<Option<Instant>>,
}

impl Pace {
    /// A cap; 0 for none.
    pub(super) fn new(bytes_per_s: u64) -> Self {
        Self { bytes_per_s, free_at: Mutex::new(None) }
    }

    /// Waits until `bytes` more may pass.
    pub(super) async fn pass(&self, bytes: usize) {
        if self.bytes_per_s > 0 {
            tokio::time::sleep_until(self.turn(bytes, Instant::now())).await;
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
    fn without_a_cap_every_turn_is_now() {
        let (pace, start) = (Pace::new(0), Instant::now());
        assert_eq!([pace.turn(usize::MAX, start), pace.turn(1, start)], [start, start]);
    }
}
