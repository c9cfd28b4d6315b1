//! How answers are printed: JSON for programs, aligned text for people.

use std::io::{self, Write};

use lucid_types::payout::AccountKind;
use serde::Serialize;
use serde_json::json;

/// Prints one JSON object and a line end.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(&text)
}

/// Prints text as it is.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Names and values, the values below each other.
pub(super) fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

/// A table with a line of titles; numbers are put to the right.
pub(super) fn table<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|i| {
        rows.iter().map(|row| row[i].chars().count()).chain([titles[i].chars().count()]).max().unwrap_or(0)
    });
    let numeric: [bool; N] = std::array::from_fn(|i| {
        !rows.is_empty() && rows.iter().all(|row| row[i].chars().all(|c| c.is_ascii_digit() || ".-".contains(c)))
    });
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for (i, cell) in cells.iter().enumerate() {
            let width = widths[i];
            line.push_str(&if numeric[i] { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") });
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let body: String = rows.iter().map(|row| line(std::array::from_fn(|i| row[i].as_str()))).collect();
    line(titles) + &body
}

/// What is known, or a dash.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// What an account is for.
pub(super) const fn kind(kind: AccountKind) -> &'static str {
    match kind {
        AccountKind::Worker => "worker",
        AccountKind::Commission => "commission",
        AccountKind::Validator => "validator",
    }
}

/// Millionths with six places.
pub(super) fn millionths(value: u64) -> String {
    format!("{}.{:06}", value / 1_000_000, value % 1_000_000)
}

pub(super) fn version(as_json: bool) -> anyhow::Result<()> {
    let (version, build) = (env!("CARGO_PKG_VERSION"), crate::BUILD_ID);
    if as_json {
        json(&json!({ "version": version, "build": build }))
    } else {
        print(&format!("lucid {version} (build {build})\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "7".to_owned()], ["long one".to_owned(), "1000".to_owned()]];
        assert_eq!(table(["name", "n"], &rows), "name         n\na            7\nlong one  1000\n");
        assert_eq!(table(["name", "n"], &[]), "name  n\n");
    }

    #[test]
    fn millionths_keep_all_places() {
        assert_eq!(millionths(1_000_001), "1.000001");
        assert_eq!(millionths(5), "0.000005");
    }
}
