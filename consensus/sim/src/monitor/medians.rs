//! A second writing of medians and credits.

use std::time::Duration;

use lucid_score::aggregate::{Aggregate, EchoMedian};
use lucid_score::draw::ScoredWorker;
use lucid_types::amount::Ppm;
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::policy::Policy;
use lucid_types::report::Observation;
use lucid_types::time::Epoch;

/// What was revealed of one worker, with the seats of each validator.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) probes: Vec<(u8, Observation)>,
    pub(super) stored: Vec<(u8, u16)>,
}

/// What those found who measured, each as often as it has seats, in order; nothing if they are no quorum.
fn each<T: Ord + Copy>(policy: &Policy, found: impl Iterator<Item = (u8, T)>) -> Vec<T> {
    let found: Vec<_> = found.collect();
    let mut each: Vec<_> = found.iter().flat_map(|(seats, value)| vec![*value; usize::from(*seats)]).collect();
    let enough = found.len() >= usize::try_from(policy.min_reporters).unwrap();
    if !enough || 3 * each.len() < 2 * usize::try_from(policy.seats).unwrap() {
        return Vec::new();
    }
    each.sort_unstable();
    each
}

/// The medians as the specification puts them: every observation stands as often as its validator has seats.
pub(super) fn medians(policy: &Policy, worker: &ScoredWorker, seen: &Seen) -> Option<Aggregate> {
    let middle = |values: Vec<u64>| (!values.is_empty()).then(|| values[(values.len() - 1) / 2]);
    let of_pings = |field: &dyn Fn(&Observation) -> u64| {
        let pinged = seen.probes.iter().filter(|(_, it)| it.pings_sent > 0);
        middle(each(policy, pinged.map(|(seats, it)| (*seats, field(it)))))
    };
    let of_echoes = |field: &dyn Fn(LogScale) -> u64| {
        let echoed = seen.probes.iter().filter_map(|(seats, it)| Some((*seats, field(it.echo_kbit_s?))));
        middle(each(policy, echoed))
    };
    let echoed = |it: &Observation| u64::from(it.echo_kbit_s.is_some());
    let verified = |it: &Observation| u64::from(it.echo_kbit_s.is_some_and(|kbit_s| kbit_s.value() > 0));
    let success = |it: &Observation| {
        1_000_000 * (u64::from(it.pings_answered) + verified(it)) / (u64::from(it.pings_sent) + echoed(it))
    };
    let timeout = u64::try_from(Duration::from_secs(2).as_micros()).unwrap();
    let bytes = |kbit_s: LogScale| if kbit_s.value() > 0 { worker.echo_bytes.unwrap().value() } else { 0 };
    let groups = each(policy, seen.probes.iter().filter_map(|(seats, it)| Some((*seats, it.group?))));
    let count = |group: &NetworkGroup| groups.iter().filter(|it| *it == group).count();
    let most = groups.iter().map(count).max().unwrap_or(0);
    Some(Aggregate {
        reachable_ms: of_pings(&|it| policy.epoch_ms * u64::from(it.pings_answered) / u64::from(it.pings_sent))?,
        success: Ppm::new(of_pings(&success)?.try_into().unwrap()),
        rtt_us: of_pings(&|it| if it.pings_answered > 0 { it.rtt_us.value() } else { timeout })?,
        echo: of_echoes(&bytes)
            .zip(of_echoes(&|kbit_s| kbit_s.value()))
            .map(|(bytes, kbit_s)| EchoMedian { bytes, kbit_s }),
        chunks: chunks(policy, &each(policy, seen.stored.iter().copied())),
        group: groups.iter().find(|group| count(group) == most).copied(),
    })
}

/// Chunks of all seats, if those that found these in order are enough: each counts up to the middle one, and who said nothing is like the mean.
fn chunks(policy: &Policy, each: &[u16]) -> Option<u32> {
    let middle = *each.get(each.len().checked_sub(1)? / 2)?;
    let sum: u32 = each.iter().map(|found| u32::from(*found.min(&middle))).sum();
    Some(policy.seats * sum / u32::try_from(each.len()).unwrap())
}

/// Credits of an epoch as the specification puts them, before they are shared.
pub(super) fn credits(policy: &Policy, epoch: Epoch, medians: &Aggregate) -> u64 {
    let seats = u64::from(policy.seats);
    let bytes = medians.echo.map_or(0, |echo| echo.bytes);
    let relay = if bytes > 0 { seats.max((seats * bytes).div_ceil(policy.echo_bytes_per_credit)) } else { 0 };
    let chunks = u64::from(medians.chunks.unwrap_or(0));
    let settlement = chunks * policy.storage_credits_per_gib / 1_024 + chunks * policy.storage_credits_per_chunk;
    let first = |n: u64| settlement * n / policy.settle_every;
    let i = (epoch.get() - 1) % policy.settle_every;
    relay + first(i + 1) - first(i)
}
