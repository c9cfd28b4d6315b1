//! What happened in a run, line by line: hashed always, kept when somebody wants to read it.

use std::fmt::{Arguments, Write as _};

use super::random::mix;

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// See the module.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    line: String,
    kept: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(is_kept: bool) -> Self {
        Self { hash: FNV_OFFSET, line: String::new(), kept: is_kept.then(Vec::new) }
    }

    /// Notes a line. `now` counts milliseconds from the beginning of the run.
    pub(super) fn note(&mut self, now: u64, text: Arguments<'_>) {
        self.line.clear();
        // Writing into a string does not fail.
        let _ = write!(self.line, "{:>5}.{:03} {text}", now / 1_000, now % 1_000);
        for byte in self.line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        if let Some(kept) = &mut self.kept {
            kept.push(self.line.clone());
        }
    }

    /// FNV-1a of all lines.
    pub(super) const fn hash(&self) -> u64 {
        mix(self.hash)
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.kept.unwrap_or_default()
    }
}
