//! Unix times as dates, for people.

/// `2026-11-29 00:37:57 UTC`.
pub(crate) fn utc(seconds: u64) -> String {
    let (date, [h, m, s]) = (date(seconds / 86_400), clock(seconds));
    format!("{date} {h:02}:{m:02}:{s:02} UTC")
}

/// `2026-11-29T00:37:57.125Z`, of milliseconds.
pub(crate) fn iso_8601(millis: u64) -> String {
    let seconds = millis / 1_000;
    let (date, [h, m, s]) = (date(seconds / 86_400), clock(seconds));
    format!("{date}T{h:02}:{m:02}:{s:02}.{:03}Z", millis % 1_000)
}

const fn clock(seconds: u64) -> [u64; 3] {
    [seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60]
}

/// The Gregorian date of a day since 1970-01-01 (Hinnant's `civil_from_days`: years begin in March, so that the leap day is the
/// last).
fn date(days: u64) -> String {
    // Far beyond every time that a contract or a clock has.
    let days = days.min(1 << 40) + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
