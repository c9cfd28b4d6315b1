//! Reports that are made up, what a final epoch makes of them, and the hash over all of it: `docs/examples/medians.py` computes the same.

use std::hint::black_box;
use std::time::{Duration, Instant};

use lucid_score::aggregate::{Aggregate, EchoMedian, Probe, Seen, Stored, aggregate};
use lucid_score::credits::earned;
use lucid_score::draw::ScoredWorker;
use lucid_score::worker_stats::{Measured, ScoreRow, WorkerStats};
use lucid_types::amount::Ppm;
use lucid_types::id::{NodeId, PoolId};
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::policy::Policy;
use lucid_types::report::Observation;
use lucid_types::time::Epoch;

/// The epoch that is made final.
const EPOCH: Epoch = Epoch::new(5_000);
/// Seats of the seven validators, turned by one from worker to worker.
const SEATS: [u8; 7] = [1, 2, 3, 3, 3, 4, 5];
/// Workers whose reports are in memory at a time, as many as the public mesh scores in an epoch.
const AT_A_TIME: u64 = 2_000;

/// The `number`th output of SplitMix64 from 0 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
const fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number below `n` from 16 bits of `random`.
fn below(random: u64, shift: u32, n: u64) -> u16 {
    u16::try_from(((random >> shift) & 0xffff) % n).unwrap()
}

/// A worker as the draw has it, and among how many its credits are divided.
pub(crate) fn worker(number: u64) -> (ScoredWorker, u16) {
    let random = mix(8 * number + 7);
    let echo_bytes = (random & 3 != 0).then(|| LogScale::from_code(1 + below(random, 2, 30_000)));
    let worker = ScoredWorker {
        node: NodeId::from_bytes([7; 32]),
        pool: PoolId::from_bytes([1; 32]),
        group: NetworkGroup::NONE,
        sharers: 1,
        quota: below(random, 20, 1_561),
        echo_bytes,
        seats: Vec::new(),
        storage: Vec::new(),
    };
    (worker, 1 + below(random, 40, 3))
}

/// What the seven reported. One in 64 sent no pings, one in 16 no echo, one in 16 had no challenge; one in 16 found that the echo failed.
pub(crate) fn seen(number: u64, worker: &ScoredWorker) -> Seen {
    let mut seen = Seen::default();
    for reporter in 0..7u8 {
        let random = mix(8 * number + u64::from(reporter));
        let seats = SEATS[usize::try_from((number + u64::from(reporter)) % 7).unwrap()];
        let pings_sent = if random & 63 == 0 { 0 } else { 12 };
        let pings_answered = u8::try_from((random >> 6) & 15).unwrap().min(pings_sent);
        let is_answered = pings_answered > 0;
        let group = match (random >> 46) & 7 {
            0..=4 => NetworkGroup::from_bytes([0, 0, 9, 9, 9, 9]),
            5 | 6 => NetworkGroup::from_bytes([0x2a, 0, 0, 1, 0, 2]),
            _ => NetworkGroup::NONE,
        };
        let echo = match (random >> 26) & 15 {
            0 => None,
            1 => Some(LogScale::ZERO),
            _ => Some(LogScale::from_code(1 + below(random, 30, 40_000))),
        };
        let observation = Observation {
            pings_sent,
            pings_answered,
            rtt_us: if is_answered { LogScale::from_code(1 + below(random, 10, 20_000)) } else { LogScale::ZERO },
            echo_kbit_s: echo.filter(|_| worker.echo_bytes.is_some()),
            group: is_answered.then_some(group),
        };
        seen.probes.push(Probe { seats, seen: observation });
        if worker.quota > 0 && (random >> 49) & 15 != 0 {
            let chunks = u16::try_from(((random >> 53) & 0x7ff) % (u64::from(worker.quota) + 1)).unwrap();
            seen.stored.push(Stored { seats, chunks });
        }
    }
    seen
}

/// What a final epoch does with one worker; `None` if it is not measured.
fn score(
    policy: &Policy,
    stats: &mut WorkerStats,
    worker: &ScoredWorker,
    sharers: u16,
    seen: &Seen,
) -> Option<ScoreRow> {
    let medians = aggregate(policy, worker, seen)?;
    let it = Measured { worker, medians, earned: earned(policy, EPOCH, &medians), sharers };
    Some(stats.add(policy, EPOCH, &it))
}

/// All that a row says, as 64-bit integers; -1 where there is nothing.
fn numbers(row: Option<&ScoreRow>) -> [i64; 18] {
    let Some(row) = row else { return [-1; 18] };
    let number = |value: u64| i64::try_from(value).unwrap();
    let ppm = |value: Ppm| i64::from(value.get());
    let Aggregate { reachable_ms, success, rtt_us, echo, chunks, group } = row.aggregate;
    let of_echo = |field: fn(EchoMedian) -> u64| echo.map_or(-1, |echo| number(field(echo)));
    let group = group.map_or(-1, |group| group.as_bytes().iter().fold(0, |all, byte| all << 8 | i64::from(*byte)));
    let parts = row.components;
    [
        number(reachable_ms),
        ppm(success),
        number(rtt_us),
        of_echo(|echo| echo.bytes),
        of_echo(|echo| echo.kbit_s),
        chunks.map_or(-1, i64::from),
        group,
        number(row.earned.relay.get()),
        number(row.earned.storage.get()),
        number(row.credits.get()),
        ppm(parts.session_time),
        ppm(parts.work_credits),
        ppm(parts.utilisation),
        ppm(parts.bandwidth),
        ppm(parts.uptime),
        ppm(parts.quality),
        ppm(parts.trust),
        ppm(row.score),
    ]
}

/// The time of all workers but for the making of their reports, and the BLAKE3 over their rows.
pub(crate) fn ours(policy: &Policy, n_workers: u64) -> (Duration, blake3::Hash) {
    let (mut took, mut hasher) = (Duration::ZERO, blake3::Hasher::new());
    let mut from = 0;
    while from < n_workers {
        let to = (from + AT_A_TIME).min(n_workers);
        let workers: Vec<_> = (from..to).map(worker).collect();
        let all: Vec<_> = (from..to).zip(&workers).map(|(number, (worker, _))| seen(number, worker)).collect();
        let mut stats = vec![WorkerStats::default(); workers.len()];
        let mut rows = Vec::with_capacity(workers.len());
        let start = Instant::now();
        for (((worker, sharers), seen), stats) in workers.iter().zip(&all).zip(&mut stats) {
            rows.push(score(policy, stats, worker, *sharers, black_box(seen)));
        }
        took += start.elapsed();
        for row in &rows {
            for number in numbers(row.as_ref()) {
                hasher.update(&number.to_le_bytes());
            }
        }
        from = to;
    }
    (took, hasher.finalize())
}
