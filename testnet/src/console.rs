//! Lines for people: on standard output, or on standard error when standard output is for a JSON report.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Where lines go and whether they are coloured.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    to_stderr: bool,
    colour: bool,
}

/// What a line is about; with colours, its mark's colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A step that is done.
    Done,
    /// Something that the network did.
    Event,
    /// Something to look at.
    Warning,
    /// A failure.
    Failure,
}

impl Mark {
    const fn sign(self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Event => "--",
            Self::Warning => "!!",
            Self::Failure => "error:",
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Self::Done => "32",
            Self::Event => "36",
            Self::Warning => "33",
            Self::Failure => "31",
        }
    }
}

impl Console {
    /// For a command that prints a JSON report (`json`), or not. Colours only on a terminal, and never when `NO_COLOR`
    /// is set to anything.
    pub fn new(json: bool) -> Self {
        let terminal = if json { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { to_stderr: json, colour: terminal && !no_color }
    }

    /// Whether its lines are coloured.
    pub fn has_colours(self) -> bool {
        self.colour
    }

    /// One line with its mark.
    pub fn line(self, mark: Mark, text: impl Display) {
        let sign = mark.sign();
        if self.colour {
            self.plain(format_args!("\u{1b}[{}m{sign}\u{1b}[0m {text}", mark.colour()));
        } else {
            self.plain(format_args!("{sign} {text}"));
        }
    }

    /// One line as it is. A reader that has gone away is no reason to stop a network.
    pub fn plain(self, text: impl Display) {
        let _ = if self.to_stderr { writeln!(io::stderr(), "{text}") } else { writeln!(io::stdout(), "{text}") };
    }
}

/// Amounts as people read them: `20.5` for 20,500,000 micro-USDT.
pub fn usdt(micro: u64) -> String {
    let (whole, part) = (micro / 1_000_000, micro % 1_000_000);
    if part == 0 {
        return whole.to_string();
    }
    format!("{whole}.{part:06}").trim_end_matches('0').to_owned()
}

/// The first characters of an id, enough to tell two apart on a screen.
pub fn short(id: impl Display) -> String {
    id.to_string().chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        assert_eq!(usdt(0), "0");
        assert_eq!(usdt(20_000_000), "20");
        assert_eq!(usdt(20_500_000), "20.5");
        assert_eq!(usdt(1), "0.000001");
        assert_eq!(usdt(1_000_000_000_001), "1000000.000001");
    }
}
