//! The attacks.

use super::{Bound, Row};

mod storage;
mod validators;
mod workers;

const NOTHING: Bound = Bound::AtMost(0, "nothing");

const NO_MORE: Bound = Bound::AtMost(1_010_000, "what honesty earns; chance in what is measured");

/// All of them, in the order of the table.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    [validators::ROWS, workers::ROWS, storage::ROWS].into_iter().flatten()
}
