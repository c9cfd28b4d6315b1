//! `lucid-testnet simulate`: runs many seeds.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{Outcome, Scenario, Stats, Violation, digest, run, run_traced};
use crate::console::{Console, Mark};

/// How many failed seeds are shown.
const MAX_SHOWN: usize = 10;

/// What to run, and how to show it.
#[derive(Clone, Debug)]
pub struct SimulateOptions {
    /// The seeds.
    pub seeds: Range<u64>,
    /// The scenario.
    pub scenario: Scenario,
    /// Runs at a time.
    pub jobs: usize,
    /// One JSON report on standard output.
    pub json: bool,
    /// Print what happened in each run.
    pub trace: bool,
}

/// What came of a range of seeds.
#[derive(Debug, Serialize)]
struct Report {
    scenario: String,
    first: u64,
    /// The first seed after the range.
    end: u64,
    seconds: f64,
    /// Adds up over ranges, modulo 2^64.
    digest: String,
    failed: Vec<Failure>,
    stats: Stats,
}

#[derive(Clone, Debug, Serialize)]
struct Failure {
    seed: u64,
    rule: String,
    detail: String,
}

/// Runs the seeds. Returns whether no rule was broken.
///
/// # Errors
/// The report cannot be printed.
pub fn simulate(options: &SimulateOptions) -> Result<bool> {
    let started = Instant::now();
    let (digest, stats, failed) = sweep(options);
    let seconds = started.elapsed().as_secs_f64();
    let scenario = options.scenario.name();
    let console = Console::new(options.json);
    for (seed, violation) in failed.iter().take(MAX_SHOWN) {
        console.line(Mark::Failure, format_args!("scenario {scenario}, seed {seed}: {violation}"));
    }
    if let Some((seed, _)) = failed.first_key_value() {
        let end = seed + 1;
        console.plain(format_args!(
            "hint: lucid-testnet simulate --scenario {scenario} --seeds {seed}..{end} --trace shows what happened"
        ));
    }
    let Range { start: first, end } = options.seeds;
    if options.json {
        let failed = failed.iter().map(|(seed, violation)| failure(*seed, violation)).collect();
        let digest = format!("{digest:016x}");
        let report = Report { scenario, first, end, seconds, digest, failed, stats };
        let text = serde_json::to_string(&report).context("write the report")?;
        writeln!(std::io::stdout(), "{text}").context("print the report")?;
        return Ok(report.failed.is_empty());
    }
    let mark = if failed.is_empty() { Mark::Done } else { Mark::Failure };
    let &Stats { settlements, transactions, forks, crashes, failed: wasted, included, .. } = &stats;
    console.line(
        mark,
        format_args!(
            "scenario {scenario}, seeds {first}..{end}: {} failed, digest {digest:016x}, {seconds:.1} s",
            failed.len()
        ),
    );
    console.plain(format_args!(
        "   {settlements} settlements, {transactions} transactions, {forks} forks, {crashes} crashes; pushers' transactions: \
         {included} included, {wasted} of them for nothing"
    ));
    for line in coverage(&stats) {
        console.plain(format_args!("   {line}"));
    }
    Ok(failed.is_empty())
}

/// What happened and how often, a line for each kind.
fn coverage(stats: &Stats) -> Vec<String> {
    let mut lines: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, n) in stats.seen.iter() {
        let (kind, which) = name.split_once(": ").unwrap_or(("other", name));
        lines.entry(kind).or_default().push(format!("{which} {n}"));
    }
    lines.into_iter().map(|(kind, counts)| format!("{kind}: {}", counts.join(", "))).collect()
}

fn failure(seed: u64, violation: &Violation) -> Failure {
    Failure { seed, rule: format!("{:?}", violation.rule), detail: violation.detail.clone() }
}

/// Runs every seed of the range, several at a time. The order makes no difference to what comes out.
fn sweep(options: &SimulateOptions) -> (u64, Stats, BTreeMap<u64, Violation>) {
    let next = AtomicU64::new(options.seeds.start);
    let sum = Mutex::new((0_u64, Stats::default(), BTreeMap::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= options.seeds.end {
                return;
            }
            let outcome = watched(seed, options);
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            sum.0 = sum.0.wrapping_add(digest(seed, &outcome));
            sum.1 = std::mem::take(&mut sum.1).and(&outcome.stats);
            sum.2.extend(outcome.violation.map(|violation| (seed, violation)));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..options.jobs {
            scope.spawn(work);
        }
        work();
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a seed. If the run panics, the seed is told.
fn watched(seed: u64, options: &SimulateOptions) -> Outcome {
    struct Watch<'a>(u64, &'a SimulateOptions);
    impl Drop for Watch<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let scenario = self.1.scenario.name();
                Console::new(true).line(Mark::Failure, format_args!("scenario {scenario}, seed {} panicked", self.0));
            }
        }
    }
    let _watch = Watch(seed, options);
    if !options.trace {
        return run(seed, options.scenario);
    }
    let outcome = run_traced(seed, options.scenario);
    let console = Console::new(options.json);
    outcome.trace.iter().for_each(|line| console.plain(line));
    outcome
}
