//! Rules with one defence taken out, each on the product's own code. What nothing breaks proves nothing.

use lucid_consensus::ledger::duties::Duty;
use lucid_consensus::rules::Rules;
use lucid_score::aggregate::{Aggregate, EchoMedian, PING_TIMEOUT_US, Probe, Seen, aggregate};
use lucid_score::draw::ScoredWorker;
use lucid_score::median::{Weighted, weighted_median};
use lucid_types::amount::Ppm;
use lucid_types::bls::BlsSignature;
use lucid_types::id::{Hash, NetworkId};
use lucid_types::policy::Policy;
use lucid_types::report::Observation;
use lucid_types::time::{Epoch, Height};
use lucid_types::validator::Validator;

/// The mean of what was measured, weighted by seats, in place of the median.
#[derive(Debug)]
pub(super) struct MeanOfSeats;

impl Rules for MeanOfSeats {
    fn aggregate(&self, policy: &Policy, worker: &ScoredWorker, seen: &Seen) -> Option<Aggregate> {
        let medians = aggregate(policy, worker, seen)?;
        let pinged = |field: &dyn Fn(&Observation) -> u64| {
            mean(seen.probes.iter().filter(|it| it.seen.pings_sent > 0).map(|it| (it.seats, field(&it.seen))))
        };
        let echoed = |field: &dyn Fn(u64) -> u64| {
            let sent = seen.probes.iter().filter_map(|it| Some((it.seats, it.seen.echo_kbit_s?.value())));
            mean(sent.map(|(seats, kbit_s)| (seats, field(kbit_s))))
        };
        let bytes = worker.echo_bytes.map_or(0, |it| it.value());
        let share =
            |it: &Observation, whole: u64| whole * u64::from(it.pings_answered) / u64::from(it.pings_sent.max(1));
        let echo = medians.echo.is_some().then(|| EchoMedian {
            bytes: echoed(&|kbit_s| if kbit_s > 0 { bytes } else { 0 }),
            kbit_s: echoed(&|kbit_s| kbit_s),
        });
        Some(Aggregate {
            reachable_ms: pinged(&|it| share(it, policy.epoch_ms)),
            success: Ppm::ratio(pinged(&|it| share(it, 1_000_000)), 1_000_000),
            rtt_us: pinged(&|it| if it.pings_answered > 0 { it.rtt_us.value() } else { PING_TIMEOUT_US }),
            echo,
            ..medians
        })
    }
}

/// The mean of what storage seats found proved.
#[derive(Debug)]
pub(super) struct MeanOfStorage;

impl Rules for MeanOfStorage {
    fn aggregate(&self, policy: &Policy, worker: &ScoredWorker, seen: &Seen) -> Option<Aggregate> {
        let medians = aggregate(policy, worker, seen)?;
        let chunks = u64::from(policy.seats) * mean(seen.stored.iter().map(|it| (it.seats, it.chunks.into())));
        let chunks = medians.chunks.is_some().then(|| u32::try_from(chunks).unwrap_or(u32::MAX));
        Some(Aggregate { chunks, ..medians })
    }
}

/// The median of what storage seats found proved counts for all of them.
#[derive(Debug)]
pub(super) struct MedianOfStorage;

impl Rules for MedianOfStorage {
    fn aggregate(&self, policy: &Policy, worker: &ScoredWorker, seen: &Seen) -> Option<Aggregate> {
        let medians = aggregate(policy, worker, seen)?;
        let mut found: Vec<_> = seen.stored.iter().map(|it| Weighted::new(it.chunks.into(), it.seats)).collect();
        let median = weighted_median(&mut found).filter(|_| medians.chunks.is_some());
        let chunks = median.and_then(|median| u16::try_from(median).ok()).map(|median| policy.chunks_of_all(median));
        Some(Aggregate { chunks, ..medians })
    }
}

/// What a worker declares counts as proved.
#[derive(Debug)]
pub(super) struct DeclaredCounts;

impl Rules for DeclaredCounts {
    fn aggregate(&self, policy: &Policy, worker: &ScoredWorker, seen: &Seen) -> Option<Aggregate> {
        let medians = aggregate(policy, worker, seen)?;
        let chunks = policy.chunks_of_all(worker.quota);
        Some(Aggregate { chunks: (worker.quota > 0).then_some(chunks), ..medians })
    }
}

/// By seats; 0 of nothing.
fn mean(values: impl Iterator<Item = (u8, u64)>) -> u64 {
    let (sum, seats) = values.fold((0u64, 0u64), |(sum, all), (seats, value)| {
        (sum.saturating_add(u64::from(seats).saturating_mul(value)), all + u64::from(seats))
    });
    sum.checked_div(seats).unwrap_or(0)
}

/// What was sent and failed counts no more than what was not sent.
#[derive(Debug)]
pub(super) struct FailureAbstains;

impl Rules for FailureAbstains {
    fn aggregate(&self, policy: &Policy, worker: &ScoredWorker, seen: &Seen) -> Option<Aggregate> {
        let probes = seen.probes.iter().filter(|it| it.seen.pings_answered > 0).copied().collect();
        aggregate(policy, worker, &Seen { probes, stored: seen.stored.clone() })
    }
}

/// Seats are drawn by power, and weigh by power again.
#[derive(Debug)]
pub(super) struct PowerCountsTwice;

impl Rules for PowerCountsTwice {
    fn aggregate(&self, policy: &Policy, worker: &ScoredWorker, seen: &Seen) -> Option<Aggregate> {
        let squared = |it: &Probe| Probe { seats: it.seats.saturating_mul(it.seats), ..*it };
        let probes = seen.probes.iter().map(squared).collect();
        aggregate(policy, worker, &Seen { probes, stored: seen.stored.clone() })
    }
}

/// A validator may reveal another report than it committed to.
#[derive(Debug)]
pub(super) struct AnyReveal;

impl Rules for AnyReveal {
    fn is_committed(&self, _: &Hash, _: &Hash) -> bool {
        true
    }
}

/// A validator is paid for validating whatever it withholds.
#[derive(Debug)]
pub(super) struct ForfeitsCostNothing;

impl Rules for ForfeitsCostNothing {
    fn loses_validation_pay(&self, _: &Policy, _: &Duty) -> bool {
        false
    }
}

/// A proposer contributes what it likes to the random beacon.
#[derive(Debug)]
pub(super) struct AnyContribution;

impl Rules for AnyContribution {
    fn is_contribution(&self, _: &NetworkId, _: &Validator, _: Height, _: &BlsSignature) -> bool {
        true
    }
}

/// Whoever is in maintenance is drawn no more from the next draw on.
#[derive(Debug)]
pub(super) struct MaintenanceAtOnce;

impl Rules for MaintenanceAtOnce {
    fn counts_from(&self, epoch: Epoch) -> Epoch {
        epoch
    }
}
