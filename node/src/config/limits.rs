//! What the owner of a worker allows probes to take: bytes a month, throughput, disk, and hours of the week.
//!
//! The worker itself keeps to throughput and disk. What it does not serve for the month or the hours is announced as maintenance
//! ([`crate::caps`]).

use lucid_types::time::UnixMillis;
use serde::{Deserialize, Serialize};

use super::{Invalid, invalid};

/// The least throughput that serves what is asked for, in kbit/s: 1,024,000 bytes a second. An echo of 256 KiB has 2 s. Three at a time take
/// 0.77 s, and the two chunks that are written at a time give way to them and take 2.05 s of the 30 s that they have.
const LEAST_KBPS: u32 = 8_192;

/// The owner's limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Bytes that probes may take in a calendar month (UTC), both ways together; 0 for no limit.
    pub month_bytes: u64,
    /// Kilobits a second that go out for echoes and challenges; 0 for no limit.
    pub up_kbps: u32,
    /// Kilobits a second that come in for echoes and deposits, as an average of what is served: what is refused has come in, too. 0 for no limit.
    pub down_kbps: u32,
    /// Bytes of disk for chunks, if that is less than what the worker declares; 0: as it declares.
    pub disk_bytes: u64,
    /// Bytes that chunks leave free on their file system: the database needs room, too.
    pub min_free_bytes: u64,
    /// When the node works, in UTC: items as `Mon-Fri 22:00-07:00`. None: always.
    pub schedule: Vec<String>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { month_bytes: 0, up_kbps: 0, down_kbps: 0, disk_bytes: 0, min_free_bytes: 1 << 30, schedule: Vec::new() }
    }
}

impl LimitsConfig {
    /// When the node works; always, if an item is invalid, which [`Self::check`] refuses.
    pub fn hours(&self) -> Schedule {
        Schedule::parse(&self.schedule).unwrap_or_default()
    }

    /// Disk for chunks of a worker that declares so many bytes.
    pub fn disk_of(&self, declared: u64) -> u64 {
        if self.disk_bytes == 0 { declared } else { self.disk_bytes.min(declared) }
    }

    pub(super) fn check(&self) -> Result<(), Invalid> {
        for (key, kbps) in [("limits.up_kbps", self.up_kbps), ("limits.down_kbps", self.down_kbps)] {
            if (1..LEAST_KBPS).contains(&kbps) {
                let problem = format!("0 or at least {LEAST_KBPS} is possible: echoes of 256 KiB have 2 s");
                return Err(invalid(key, kbps, problem));
            }
        }
        let parsed = Schedule::parse(&self.schedule);
        parsed.map(drop).map_err(|ScheduleError { item, problem }| invalid("limits.schedule", item, problem))
    }
}

/// Minutes of a day and of a week.
const DAY: usize = 24 * 60;
const WEEK: usize = 7 * DAY;
const MINUTE_MS: u64 = 60_000;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// The minutes of a week in which a node works, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// One for each minute, from Monday, 00:00, on.
    works: Vec<bool>,
}

/// Without limits: it works at all times.
impl Default for Schedule {
    fn default() -> Self {
        Self { works: vec![true; WEEK] }
    }
}

/// An invalid item of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{item:?}: {problem}")]
pub struct ScheduleError {
    /// The item.
    pub item: String,
    /// What is wrong, or expected.
    pub problem: &'static str,
}

impl Schedule {
    /// The hours of all items together; without items, always. An item has days, which may be left out, and times of day:
    /// `Mon-Fri 22:00-07:00` begins on each of these days and ends on the day after it.
    ///
    /// # Errors
    /// The first invalid item.
    pub fn parse(items: &[String]) -> Result<Self, ScheduleError> {
        if items.is_empty() {
            return Ok(Self::default());
        }
        let mut works = vec![false; WEEK];
        for item in items {
            let (days, from, minutes) = hours(item).map_err(|problem| ScheduleError { item: item.clone(), problem })?;
            for day in days {
                let first = day * DAY + from;
                for minute in first..first + minutes {
                    works[minute % WEEK] = true;
                }
            }
        }
        Ok(Self { works })
    }

    /// Whether the node works at a time.
    pub fn works_at(&self, time: UnixMillis) -> bool {
        // 1970-01-01 was a Thursday.
        let minute = usize::try_from(time.get() / MINUTE_MS).unwrap_or(usize::MAX) % WEEK + 3 * DAY;
        self.works[minute % WEEK]
    }

    /// Whether it works all the time from one moment until before another.
    pub fn works_throughout(&self, from: UnixMillis, until: UnixMillis) -> bool {
        let first = from.get() / MINUTE_MS;
        // After a week it is the same again.
        let last = until.get().saturating_sub(1) / MINUTE_MS;
        let last = last.max(first).min(first.saturating_add(u64::try_from(WEEK).unwrap_or(u64::MAX)));
        (first..=last).all(|minute| self.works_at(UnixMillis::new(minute * MINUTE_MS)))
    }
}

/// The days of an item, the minute of the day from which it goes, and for how many minutes.
fn hours(item: &str) -> Result<(Vec<usize>, usize, usize), &'static str> {
    const EXPECTED: &str =
        "days and times in UTC are expected, such as \"Mon-Fri 22:00-07:00\", \"Sun 08:00-24:00\" or \"22:00-07:00\"";
    let (days, times) = match item.trim().split_once(' ') {
        Some((days, times)) => (days_of(days).ok_or(EXPECTED)?, times.trim()),
        None => ((0..DAYS.len()).collect(), item.trim()),
    };
    let (from, to) = times.split_once('-').ok_or(EXPECTED)?;
    let (from, to) = (minute_of_day(from).ok_or(EXPECTED)?, minute_of_day(to).ok_or(EXPECTED)?);
    if from == to || from == DAY {
        return Err("it must begin before 24:00 and end at another time; 00:00-24:00 is the whole day");
    }
    Ok((days, from, if from < to { to - from } else { DAY - from + to }))
}

/// `Mon`, or `Fri-Mon`, which is four days.
fn days_of(text: &str) -> Option<Vec<usize>> {
    let day = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    let more = (last + DAYS.len() - first) % DAYS.len();
    Some((first..=first + more).map(|day| day % DAYS.len()).collect())
}

/// `07:00`, or `24:00`, the day's end.
fn minute_of_day(text: &str) -> Option<usize> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits = |part: &str| {
        let is_number = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| part.parse::<usize>().ok()).flatten()
    };
    let (hour, minute) = (two_digits(hour)?, two_digits(minute).filter(|minute| *minute < 60)?);
    Some(hour * 60 + minute).filter(|minute| *minute <= DAY)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::utc;

    fn schedule(items: &[&str]) -> Schedule {
        Schedule::parse(&items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn at(text: &str) -> UnixMillis {
        UnixMillis::new(utc::parse(text).unwrap() * 1_000)
    }

    #[test]
    fn hours_of_the_week_are_those_of_a_calendar() {
        // 2026-11-30 is a Monday.
        let nights = schedule(&["Mon-Fri 22:00-07:00", "Sun 08:00-24:00"]);
        for (time, works) in [
            ("2026-11-30T00:00", false),
            ("2026-11-30T21:59:59", false),
            ("2026-11-30T22:00", true),
            ("2026-12-01T06:59:59", true),
            ("2026-12-01T07:00", false),
            // The night that begins on a Friday.
            ("2026-12-05T06:00", true),
            ("2026-12-05T23:00", false),
            ("2026-12-06T07:59", false),
            ("2026-12-06T08:00", true),
            ("2026-12-06T23:59:59", true),
            ("2026-12-07T00:00", false),
        ] {
            assert_eq!(nights.works_at(at(time)), works, "{time}");
        }
        let (from, until) = (at("2026-11-30T22:00"), at("2026-12-01T07:00"));
        assert!(nights.works_throughout(from, until) && nights.works_throughout(from, from));
        assert!(!nights.works_throughout(from, UnixMillis::new(until.get() + 1)));
        assert!(!nights.works_throughout(UnixMillis::new(from.get() - 1), until));
        assert!(schedule(&[]).works_throughout(UnixMillis::ZERO, UnixMillis::new(u64::MAX)));
        assert!(!nights.works_throughout(UnixMillis::ZERO, UnixMillis::new(u64::MAX)));
        assert_eq!(schedule(&["00:00-24:00"]), Schedule::default());
        assert_eq!(schedule(&["mon-sun 12:00-24:00", "00:00-12:00"]), Schedule::default());
        assert_eq!(schedule(&["Fri-Mon 01:00-02:00"]), schedule(&["Fri-Sun 01:00-02:00", "Mon 01:00-02:00"]));
        assert_eq!(schedule(&["Sun 23:00-01:00"]), schedule(&["Sun 23:00-24:00", "Mon 00:00-01:00"]));
    }

    #[test]
    fn invalid_items_are_refused() {
        for item in [
            "",
            " ",
            "Mon",
            "Mon-Fri",
            "22:00",
            "22:00-",
            "-07:00",
            "22-07",
            "24:00-07:00",
            "24:01-07:00",
            "22:60-07:00",
            "7:00-9:00",
            "07:00-07:00",
            "Mon 07:00-07:00",
            "Mo 07:00-09:00",
            "Mon-Fri-Sun 07:00-09:00",
            "-Mon 07:00-09:00",
            "Mon 07:00-09:00 UTC",
            "07:00-09:00-11:00",
            "+7:00-09:00",
            "Mon\t07:00-09:00",
            "１７:00-09:00",
            "99999999999:00-09:00",
        ] {
            assert!(Schedule::parse(&[item.to_owned()]).is_err(), "{item:?}");
        }
        let error = Schedule::parse(&["08:00-09:00".to_owned(), "x".to_owned()]).unwrap_err();
        assert_eq!(error.item, "x");
    }

    #[test]
    fn the_least_disk_counts() {
        let with = |disk_bytes| LimitsConfig { disk_bytes, ..LimitsConfig::default() };
        assert_eq!([with(0).disk_of(7), with(5).disk_of(7), with(9).disk_of(7), with(5).disk_of(0)], [7, 5, 7, 0]);
    }
}
