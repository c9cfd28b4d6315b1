//! `lucid-testnet cheats`: runs the rows, and compares the table with the book's.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, bail};

use super::table::{markdown, replaced};
use super::{Found, Row, rows};
use crate::console::{Console, Mark};

/// What to run, and what to do with the table.
#[derive(Clone, Debug)]
pub struct CheatsOptions {
    /// The row of this name only.
    pub only: Option<String>,
    /// Rows at a time.
    pub jobs: usize,
    /// One JSON object a row on standard output.
    pub json: bool,
    /// The page whose table is compared.
    pub page: Option<PathBuf>,
    /// Write the table into the page.
    pub write: bool,
}

/// Runs the rows. Returns whether each holds, each defence changes its row, each attack does something, and the page has this table.
///
/// # Errors
/// There is no such row, or the page cannot be read or written.
pub fn cheats(options: &CheatsOptions) -> Result<bool> {
    let wanted: Vec<_> = rows().filter(|row| options.only.as_deref().is_none_or(|only| row.name == only)).collect();
    if wanted.is_empty() {
        let names: Vec<_> = rows().map(|row| row.name).collect();
        bail!("no row is named {:?}; there are {}", options.only.as_deref().unwrap_or_default(), names.join(", "));
    }
    let found = run_all(&wanted, options.jobs);
    let table = markdown(&found);
    let mut stdout = std::io::stdout();
    if options.json {
        for it in &found {
            writeln!(stdout, "{}", serde_json::to_string(it).context("write a row")?).context("print a row")?;
        }
    } else {
        write!(stdout, "{table}").context("print the table")?;
    }
    let console = Console::new(true);
    let mut is_good = true;
    for it in &found {
        let (ratio, bound) = (it.ratio_ppm, it.bound_ppm);
        if !it.holds {
            console.line(Mark::Failure, format_args!("{}: {ratio} ppm is beyond the bound of {bound} ppm", it.name));
        }
        if !it.changes {
            console.line(Mark::Failure, format_args!("{}: nothing changes without the defence", it.name));
        }
        if !it.acted {
            console.line(Mark::Failure, format_args!("{}: the attack does nothing, or honesty does", it.name));
        }
        is_good &= it.holds && it.changes && it.acted;
    }
    if let Some(path) = options.page.as_ref().filter(|_| options.only.is_none()) {
        let page = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let new = replaced(&page, &table).with_context(|| format!("{} has no place for the table", path.display()))?;
        if options.write {
            std::fs::write(path, new).with_context(|| format!("write {}", path.display()))?;
        } else if new != page {
            console.line(Mark::Failure, format_args!("{} has another table; --write writes this one", path.display()));
            is_good = false;
        }
    }
    Ok(is_good)
}

/// Several at a time; the order makes no difference to what comes out.
fn run_all(rows: &[&Row], jobs: usize) -> Vec<Found> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let work = || {
        while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
            let it = row.run();
            found.lock().unwrap_or_else(PoisonError::into_inner).push(it);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..jobs {
            scope.spawn(work);
        }
        work();
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|it| rows.iter().position(|row| row.name == it.name));
    found
}
