//! The network's time: the wall clock's, plus what it was put forward by.
//!
//! It never goes back, whatever the wall clock does, and never behind the newest block: blocks could not follow it. The one
//! exception is a revert to a snapshot, which restores the offset of that time. A restart knows only the blocks' times.

/// The last moment of the year 9999, in milliseconds since the epoch. The network's time is not put beyond it.
pub(crate) const LAST: u64 = 253_402_300_799_999;

/// Asked to go beyond [`LAST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("time ends with the year 9999")]
pub(crate) struct TooLate;

/// See the module. All times are milliseconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    ahead: u64,
    latest: u64,
}

impl Clock {
    /// Begins no earlier than `latest`.
    pub(crate) fn new(latest: u64) -> Self {
        Self { ahead: 0, latest }
    }

    /// The time when the wall clock says `wall`.
    pub(crate) fn read(&mut self, wall: u64) -> u64 {
        let time = wall.saturating_add(self.ahead);
        // The wall clock was set back, or is behind the head: on from there, at the usual pace.
        self.ahead = self.ahead.saturating_add(self.latest.saturating_sub(time));
        self.latest = self.latest.max(time);
        self.latest
    }

    /// Puts it forward to `time`, unless it is there already.
    pub(crate) fn forward_to(&mut self, time: u64) {
        self.latest = self.latest.max(time);
    }

    /// Goes on as `saved` would have, which was saved earlier; no earlier than `latest`.
    pub(crate) fn restore(&mut self, saved: Self, latest: u64) {
        *self = Self { ahead: saved.ahead, latest };
    }

    /// Puts it forward by so many milliseconds.
    pub(crate) fn travel(&mut self, wall: u64, milliseconds: u64) -> Result<(), TooLate> {
        let time = self.read(wall).checked_add(milliseconds).filter(|time| *time <= LAST).ok_or(TooLate)?;
        self.forward_to(time);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_wall_clock() {
        let mut clock = Clock::new(500);
        assert_eq!([1_000, 1_001, 2_000].map(|wall| clock.read(wall)), [1_000, 1_001, 2_000]);
    }

    #[test]
    fn it_goes_on_where_the_wall_clock_was_set_back() {
        let mut clock = Clock::new(5_000);
        assert_eq!([1_000, 1_100, 900, 1_000].map(|wall| clock.read(wall)), [5_000, 5_100, 5_100, 5_200]);
    }

    #[test]
    fn it_travels_forward_for_good() {
        let mut clock = Clock::new(0);
        assert_eq!(clock.travel(1_000, 60_000), Ok(()));
        assert_eq!([1_000, 1_500].map(|wall| clock.read(wall)), [61_000, 61_500]);
        clock.forward_to(70_000);
        clock.forward_to(65_000);
        assert_eq!([1_500, 1_600].map(|wall| clock.read(wall)), [70_000, 70_100]);
        assert_eq!(clock.travel(1_600, u64::MAX), Err(TooLate));
        assert_eq!(clock.travel(1_600, LAST - 70_100), Ok(()));
        assert_eq!(clock.travel(1_600, 1), Err(TooLate));
        assert_eq!(clock.read(1_700), LAST + 100, "it does not stand still there");
    }

    #[test]
    fn it_goes_back_to_a_saved_time_with_what_passed_since() {
        let mut clock = Clock::new(0);
        assert_eq!(clock.travel(1_000, 500), Ok(()));
        assert_eq!([1_000, 1_100].map(|wall| clock.read(wall)), [1_500, 1_600]);
        let saved = clock;
        assert_eq!(clock.travel(1_200, 60_000), Ok(()));
        clock.forward_to(90_000);
        clock.restore(saved, 1_600);
        assert_eq!([1_300, 1_400].map(|wall| clock.read(wall)), [1_800, 1_900]);
    }
}
