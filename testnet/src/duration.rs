//! Durations as people write them on a command line: `2500ms`, `5s`, `2m`.

use std::time::Duration;

/// Reads a whole number with the unit `ms`, `s` or `m`.
///
/// # Errors
/// Says what would be right.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no duration; write for example 2500ms, 5s or 2m");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).map(Duration::from_millis).ok_or_else(wrong)
}

/// The shortest exact spelling that [`parse`] reads back.
pub fn show(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        _ if ms.is_multiple_of(60_000) && ms > 0 => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units() {
        assert_eq!(parse("2500ms"), Ok(Duration::from_millis(2_500)));
        assert_eq!(parse("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
    }

    #[test]
    fn anything_else_says_what_would_be_right() {
        for text in ["", "5", "s", "-5s", "5 s", "5h", "1.5s", "99999999999999999999s", "18446744073709551615m"] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("5s"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn spelling_round_trips(ms in 0u64..10_000_000) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse(&show(duration)), Ok(duration));
        }
    }
}
