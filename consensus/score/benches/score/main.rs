//! What medians, credits and scores cost: `cargo bench -p lucid-score --profile dev --bench score [-- WORKERS]`.
//!
//! A million workers, each with the reports of seven validators that hold its 21 seats and as many storage seats, go through what a final
//! epoch does with them. Beside it stands the same arithmetic in NumPy, on whole arrays of 64-bit integers, in the same run: it must come to
//! the same rows, bit for bit, and take twice as long at least. `docs/examples/medians.py` is that reference; both make the reports from the
//! same numbers. Exits with an error if the rows differ or a limit is missed.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints and takes its time, and fails by panicking"
)]

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use lucid_score::aggregate::aggregate;
use lucid_score::credits::earned;
use lucid_score::worker_stats::{Measured, WorkerStats};
use lucid_types::policy::Policy;
use lucid_types::time::Epoch;

use crate::reports::{ours, seen, worker};

mod reports;

/// The time and the hash of the reference, which `docs/examples/medians.py` prints.
fn reference(n_workers: u64) -> (Duration, String) {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples");
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let python = run(&format!("{examples}/python.sh"), &[]);
    let said = run(&python, &[&format!("{examples}/medians.py"), "--workers", &n_workers.to_string()]);
    let (hash, us) = said.split_once(' ').unwrap();
    (Duration::from_micros(us.parse().unwrap()), hash.to_owned())
}

/// The time to score one worker from its history of a whole window: the fastest of several.
fn from_history(policy: &Policy) -> Duration {
    let (worker, sharers) = worker(1);
    let medians: Vec<_> = (0..policy.credits_window)
        .map(|number| aggregate(policy, &worker, &seen(7 * number, &worker)).unwrap_or_default())
        .collect();
    let once = || {
        let start = Instant::now();
        let mut stats = WorkerStats::default();
        for (number, medians) in (1..).zip(&medians) {
            let epoch = Epoch::new(number);
            let it = Measured { worker: &worker, medians: *medians, earned: earned(policy, epoch, medians), sharers };
            black_box(stats.add(policy, epoch, &it));
        }
        start.elapsed()
    };
    (0..50).map(|_| once()).min().unwrap()
}

fn main() {
    let wanted = std::env::args().skip(1).find(|it| !it.starts_with("--"));
    let n_workers = wanted.map_or(1_000_000, |number| number.parse().unwrap());
    let policy = Policy::default();
    let (first, hash) = ours(&policy, n_workers);
    let took = (0..2).map(|_| ours(&policy, n_workers).0).fold(first, Duration::min);
    let (numpy, theirs) = reference(n_workers);
    assert_eq!(hash.to_hex().as_str(), theirs, "the rows of the reference are others");
    let ratio = took.as_secs_f64() / numpy.as_secs_f64();
    let limit = Duration::from_micros(n_workers);
    let each = took.as_nanos() / u128::from(n_workers.max(1));
    let one = from_history(&policy);
    let met = |is_met| if is_met { "met" } else { "MISSED" };
    let (is_fast, is_faster, is_quick) = (took < limit, ratio <= 0.5, one < Duration::from_millis(1));
    println!(
        "medians, credits and score of {n_workers} workers x 7 reports  {took:.3?}, {each} ns each (wanted {limit:?}: {})",
        met(is_fast)
    );
    println!(
        "the same in NumPy, with equal rows ({})  {numpy:.3?}, ratio {ratio:.2} (wanted 0.5: {})",
        &theirs[..16],
        met(is_faster)
    );
    println!("one worker's score from {} epochs  {one:.3?} (wanted 1 ms: {})", policy.credits_window, met(is_quick));
    assert!(is_fast && is_faster && is_quick, "slower than wanted");
}
