//! What sampling the machine takes: `cargo bench -p lucid-node --profile dev --bench sampler`.
//!
//! The time of one sample, and the CPU time that the thread uses which takes one a second, as Linux counts it. It fails beyond what is
//! wanted.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_node::clock::{Clock, SystemClock};
use lucid_node::sampler::rings::Rings;
use lucid_node::sampler::{self, Sampler};

/// Samples that are timed.
const SAMPLES: usize = 2_000;
/// What half of them may take.
const WANTED: Duration = Duration::from_millis(5);
/// How long the thread is watched.
const WATCHED: Duration = Duration::from_secs(30);
/// The part of a core that it may use, in millionths.
const WANTED_PPM: u128 = 5_000;

/// Times of samples, in order.
fn samples(home: &Path) -> Vec<Duration> {
    let mut sampler = Sampler::new(home).unwrap();
    let mut times: Vec<_> = (0..SAMPLES)
        .map(|_| {
            let begun = Instant::now();
            std::hint::black_box(sampler.sample(SystemClock.now()).unwrap());
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times
}

/// The CPU time of the thread with this name, in the kernel's ticks.
fn ticks(name: &str) -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let stat = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    let mine = stat.filter_map(|stat| {
        let (of, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
        // Fields 14 and 15 of `proc(5)`, of which the third follows the name.
        let mut times = rest.split(' ').skip(11).map(|field| field.parse::<u64>().unwrap());
        (of == name).then(|| times.next().unwrap() + times.next().unwrap())
    });
    let [ticks] = mine.collect::<Vec<_>>()[..] else { unreachable!("one thread is named {name}") };
    ticks
}

/// CPU time of the thread while it is watched.
fn thread(home: &Path) -> Duration {
    let sampler = sampler::spawn(home, Arc::new(SystemClock), Rings::default()).unwrap();
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap();
    let tick = Duration::from_secs(1) / u32::try_from(per_second).unwrap();
    // The thread names itself when it runs.
    let mut newest = sampler.newest();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(newest.wait_for(Option::is_some)).unwrap();
    let before = ticks(sampler::NAME);
    std::thread::sleep(WATCHED);
    let used = ticks(sampler::NAME) - before;
    drop(sampler);
    tick * u32::try_from(used).unwrap()
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let times = samples(folder.path());
    let of = |part: usize| times[times.len() * part / 100];
    let is_quick = of(50) < WANTED;
    let mark = |is_met: bool| if is_met { "met" } else { "MISSED" };
    println!(
        "a sample of {SAMPLES}: median {:.2?}, 99 of 100 {:.2?}; wanted {WANTED:?}: {}",
        of(50),
        of(99),
        mark(is_quick)
    );

    let used = thread(folder.path());
    let ppm = used.as_micros() * 1_000_000 / WATCHED.as_micros();
    let is_light = ppm < WANTED_PPM;
    println!(
        "the thread in {WATCHED:?}: {used:?} of CPU, {}.{:02} % of a core; wanted {}.{:02} %: {}",
        ppm / 10_000,
        ppm % 10_000 / 100,
        WANTED_PPM / 10_000,
        WANTED_PPM % 10_000 / 100,
        mark(is_light)
    );
    assert!(is_quick && is_light, "beyond what is wanted");
}
