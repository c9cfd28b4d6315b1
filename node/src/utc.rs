//! Unix times as dates, and durations, for people.

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

/// A duration with its two greatest units.
pub(crate) fn duration_of(seconds: u64) -> String {
    let units = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let first = units.iter().position(|(n, _)| *n > 0).unwrap_or(units.len().saturating_sub(1));
    let shown = units.iter().skip(first).take(2).filter(|(n, _)| *n > 0);
    let text = shown.map(|(n, unit)| format!("{n} {unit}")).collect::<Vec<_>>().join(" ");
    if text.is_empty() { "0 s".to_owned() } else { text }
}

const fn clock(seconds: u64) -> [u64; 3] {
    [seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60]
}

fn date(days: u64) -> String {
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The year and the month, from 1, of a time in seconds.
pub(crate) const fn month_of(seconds: u64) -> (u64, u64) {
    let (year, month, _) = civil(seconds / 86_400);
    (year, month)
}

/// When the month after one begins, in seconds.
pub(crate) const fn next_month((year, month): (u64, u64)) -> u64 {
    let (year, month) = if month < 12 { (year, month + 1) } else { (year + 1, 1) };
    days(year, month, 1) * 86_400
}

/// The Gregorian year, month and day of a day since 1970-01-01 (Hinnant's `civil_from_days`: years begin in March, so that the leap day
/// is the last).
const fn civil(days: u64) -> (u64, u64, u64) {
    // Far beyond every time that a contract or a clock has.
    let days = if days > 1 << 40 { 1 << 40 } else { days } + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// The Unix time in seconds of a date and a time of day, `2026-11-29`, `2026-11-29T00:37` or `2026-11-29T00:37:57`, with or without a
/// Z; `None` if it is none, or before 1970.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (day, clock) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let [year, month, day] = numbers(day, '-')?.try_into().ok()?;
    let (hour, minute, second) = match *numbers(clock, ':')? {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    if !(1970..=9999).contains(&year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day);
    // A month and a day that there are come back.
    (date(days) == format!("{year:04}-{month:02}-{day:02}"))
        .then_some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Numbers of at most four digits.
fn numbers(text: &str, separator: char) -> Option<Vec<u64>> {
    let number = |digits: &str| {
        let is_number = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    text.split(separator).map(number).collect()
}

/// Days since 1970-01-01 (Hinnant's `days_from_civil`), of a year from 1970 on; of a month or day that there is not, some day.
const fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day;
    // Both 719,468 days from 0000-03-01 and the day of the month, which counts from 1.
    (era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year).saturating_sub(719_469)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_each_other() {
        assert_eq!([0, 1_798_761_599, 1_798_761_600].map(month_of), [(1970, 1), (2026, 12), (2027, 1)]);
        let mut month = (1970, 1);
        for _ in 0..400 * 12 {
            let next = next_month(month);
            assert_eq!((month_of(next - 1), utc(next).get(8..)), (month, Some("01 00:00:00 UTC")));
            month = month_of(next);
        }
        assert_eq!(month, (2370, 1));
    }
}
