//! What an epoch makes of made-up reports is what a reference makes of them that was written from the book alone.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking; the reports are made up as in the benchmark, which takes its time"
)]

use lucid_types::policy::Policy;

#[path = "../benches/score/reports.rs"]
mod reports;

/// `docs/examples/run.sh` has `medians.py` compute the same.
#[test]
fn rows_are_those_of_the_reference() {
    let (_, hash) = reports::ours(&Policy::default(), 20_000);
    assert_eq!(hash.to_hex().as_str(), include_str!("data/medians_of_20000.txt").trim());
}
