//! How far a long command is: on a terminal one line that changes, else a line once in a while. Both on stderr.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a terminal is told.
const ON_TERMINAL: Duration = Duration::from_millis(200);
/// How often a log is told.
const IN_LOG: Duration = Duration::from_secs(10);

/// Tells how far a command is.
pub(super) struct Progress {
    is_terminal: bool,
    /// What is being counted, since when, and when it was told last.
    at: Option<(&'static str, Instant, Instant)>,
    is_line_open: bool,
}

impl Progress {
    /// One that has nothing to tell yet.
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), at: None, is_line_open: false }
    }

    /// So many are done, of `total` if that is known and not 0.
    pub(super) fn at(&mut self, what: &'static str, done: u64, total: u64) {
        // The clock is not asked for each of millions of records.
        if self.at.is_some_and(|(before, ..)| before == what) && !done.is_multiple_of(64) {
            return;
        }
        let now = Instant::now();
        let (since, last) = match self.at {
            Some((before, since, last)) if before == what => (since, last),
            _ => {
                self.end();
                (now, now)
            }
        };
        let pause = if self.is_terminal { ON_TERMINAL } else { IN_LOG };
        if now.duration_since(last) < pause {
            self.at = Some((what, since, last));
            return;
        }
        self.at = Some((what, since, now));
        let of = if total > 0 { format!(" of {total}") } else { String::new() };
        let rate =
            u128::from(done).saturating_mul(1_000).checked_div(now.duration_since(since).as_millis()).unwrap_or(0);
        self.tell(&format!("{what}: {done}{of}, {rate} a second"));
    }

    /// A step that has no count.
    pub(super) fn step(&mut self, what: &str) {
        self.end();
        if self.is_terminal {
            self.tell(what);
        }
    }

    fn tell(&mut self, line: &str) {
        let mut stderr = io::stderr().lock();
        // A line that nobody reads is no reason to stop.
        let _ = if self.is_terminal { write!(stderr, "\r\x1b[K{line}") } else { writeln!(stderr, "{line}") };
        let _ = stderr.flush();
        self.is_line_open = self.is_terminal;
    }

    /// Ends the line that changes.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.is_line_open) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
        self.at = None;
    }
}
