//! What an epoch's probes of one worker amount to. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_types::amount::Ppm;
use lucid_types::attestation::Capacity;
use lucid_types::id::NodeId;
use lucid_types::report::{Observation, ScoreReport};
use lucid_types::time::Epoch;

use super::attestations::Attested;

/// Throughput that is believed at most, in kbit/s: 2 Tbit/s, the bound of an observation.
const MAX_KBIT_S: u64 = 1 << 31;

/// One worker's results so far.
#[derive(Clone, Debug, Default)]
struct Results {
    beacons_sent: u32,
    rtts_us: Vec<u32>,
    relays_sent: u32,
    relays_verified: u32,
    relay_bytes: u64,
    relay_time: Duration,
}

/// The results of one epoch.
#[derive(Clone, Debug)]
pub struct Tally {
    epoch: Epoch,
    workers: BTreeMap<NodeId, Results>,
}

impl Tally {
    /// Nothing measured yet, of these workers.
    pub fn new(epoch: Epoch, workers: impl IntoIterator<Item = NodeId>) -> Self {
        Self { epoch, workers: workers.into_iter().map(|worker| (worker, Results::default())).collect() }
    }

    /// A beacon has been sent.
    pub fn beacon_sent(&mut self, worker: &NodeId) {
        if let Some(results) = self.workers.get_mut(worker) {
            results.beacons_sent = results.beacons_sent.saturating_add(1);
        }
    }

    /// A beacon turned out never to have left this node, through no fault of the worker.
    pub fn beacon_withdrawn(&mut self, worker: &NodeId) {
        if let Some(results) = self.workers.get_mut(worker) {
            results.beacons_sent = results.beacons_sent.saturating_sub(1);
        }
    }

    /// A beacon that was sent has been answered rightly and in time.
    pub fn beacon_answered(&mut self, worker: &NodeId, rtt: Duration) {
        if let Some(results) = self.workers.get_mut(worker) {
            let micros = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
            results.rtts_us.push(micros.max(1));
        }
    }

    /// A relay task has been begun.
    pub fn relay_sent(&mut self, worker: &NodeId) {
        if let Some(results) = self.workers.get_mut(worker) {
            results.relays_sent = results.relays_sent.saturating_add(1);
        }
    }

    /// A relay task turned out never to have left this node, through no fault of the worker.
    pub fn relay_withdrawn(&mut self, worker: &NodeId) {
        if let Some(results) = self.workers.get_mut(worker) {
            results.relays_sent = results.relays_sent.saturating_sub(1);
        }
    }

    /// The whole stream of a relay task came back right and in time.
    pub fn relay_verified(&mut self, worker: &NodeId, bytes: u64, time: Duration) {
        if let Some(results) = self.workers.get_mut(worker) {
            results.relays_verified = results.relays_verified.saturating_add(1);
            results.relay_bytes = results.relay_bytes.saturating_add(bytes);
            results.relay_time = results.relay_time.saturating_add(time);
        }
    }

    /// The report. A worker to which nothing was sent is left out: that is an abstention, not a zero.
    pub fn into_report(self, attested: impl Fn(&NodeId, Epoch) -> Option<Attested>) -> ScoreReport {
        let epoch = self.epoch;
        let measured = self.workers.into_iter().filter(|(_, r)| r.beacons_sent > 0 || r.relays_sent > 0);
        let observations = measured.map(|(worker, r)| r.observe(worker, attested(&worker, epoch))).collect();
        ScoreReport { epoch, observations }
    }
}

impl Results {
    fn observe(mut self, worker: NodeId, attested: Option<Attested>) -> Observation {
        let answered = self.rtts_us.len().min(usize::try_from(self.beacons_sent).unwrap_or(usize::MAX));
        Observation {
            worker,
            beacons_sent: self.beacons_sent,
            beacons_answered: u32::try_from(answered).unwrap_or(self.beacons_sent),
            rtt_us: if answered == 0 { 0 } else { lower_median(&mut self.rtts_us) },
            relays_sent: self.relays_sent,
            relays_verified: self.relays_verified,
            relay_bytes: self.relay_bytes,
            relay_kbit_s: kbit_per_second(self.relay_bytes, self.relay_time),
            chunks_proved: 0,
            storage_bytes: 0,
            attestation: attested.map(|a| a.hash),
            capacity: attested.map_or_else(Capacity::default, |a| a.capacity),
            allocation: attested.map_or(Ppm::ZERO, |a| a.allocation),
        }
    }
}

/// The middle value, the lower of two; 0 if there is none.
fn lower_median(values: &mut [u32]) -> u32 {
    values.sort_unstable();
    let middle = values.len().saturating_sub(1) / 2;
    values.get(middle).copied().unwrap_or(0)
}

/// `floor(bits / milliseconds)`, from microseconds; 0 without bytes.
fn kbit_per_second(bytes: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    let kbit_s = u128::from(bytes) * 8_000 / micros;
    u64::try_from(kbit_s).unwrap_or(MAX_KBIT_S).min(MAX_KBIT_S)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_score::aggregate::check_observation;
    use lucid_types::policy::Policy;
    use proptest::prelude::*;

    use super::*;

    const WORKER: NodeId = NodeId::from_bytes([1; 32]);

    fn tally() -> Tally {
        Tally::new(Epoch::new(4), [NodeId::from_bytes([2; 32]), WORKER])
    }

    #[test]
    fn an_epoch_by_hand() {
        let mut tally = tally();
        for _ in 0..4 {
            tally.beacon_sent(&WORKER);
        }
        for micros in [900, 100, 5_000] {
            tally.beacon_answered(&WORKER, Duration::from_micros(micros));
        }
        tally.relay_sent(&WORKER);
        tally.relay_verified(&WORKER, 256 << 10, Duration::from_millis(20));
        let attested = Attested {
            hash: lucid_types::id::Hash::from_bytes([7; 32]),
            capacity: Capacity { cores: 4, ..Capacity::default() },
            allocation: Ppm::new(5),
        };
        let report = tally.into_report(|worker, epoch| (*worker == WORKER && epoch.get() == 4).then_some(attested));
        assert_eq!(report.epoch.get(), 4);
        assert_eq!(report.observations.len(), 1, "the other worker was not measured");
        let o = &report.observations[0];
        assert_eq!((o.worker, o.beacons_sent, o.beacons_answered, o.rtt_us), (WORKER, 4, 3, 900));
        assert_eq!((o.relays_sent, o.relays_verified, o.relay_bytes), (1, 1, 256 << 10));
        // 262,144 bytes there and back in 20 ms: 2,097,152 bits, counted once.
        assert_eq!(o.relay_kbit_s, 104_857);
        assert_eq!((o.attestation, o.capacity.cores, o.allocation.get()), (Some(attested.hash), 4, 5));
    }

    #[test]
    fn observations_come_in_the_order_of_ids_and_withdrawn_probes_do_not_count() {
        let mut tally = tally();
        for worker in [NodeId::from_bytes([2; 32]), WORKER] {
            tally.beacon_sent(&worker);
            tally.relay_sent(&worker);
        }
        tally.relay_withdrawn(&WORKER);
        let report = tally.clone().into_report(|_, _| None);
        assert!(report.observations.is_sorted_by_key(|o| o.worker));
        assert_eq!(report.observations[0].relays_sent, 0);
        tally.beacon_withdrawn(&WORKER);
        assert_eq!(tally.into_report(|_, _| None).observations.len(), 1);
    }

    #[test]
    fn a_stranger_is_not_counted() {
        let mut tally = tally();
        tally.beacon_sent(&NodeId::from_bytes([9; 32]));
        assert!(tally.into_report(|_, _| None).observations.is_empty());
    }

    proptest! {
        #[test]
        fn every_epoch_within_the_tasks_makes_valid_observations(
            sent in 0..=12u32,
            rtts in prop::collection::vec(0..10_000_000u64, 0..=12),
            relay in 0..=2u32,
            micros: u32,
        ) {
            let policy = Policy::default();
            let mut tally = tally();
            for _ in 0..sent {
                tally.beacon_sent(&WORKER);
            }
            for rtt in rtts.into_iter().take(usize::try_from(sent).unwrap()) {
                tally.beacon_answered(&WORKER, Duration::from_micros(rtt));
            }
            if relay > 0 {
                tally.relay_sent(&WORKER);
            }
            if relay > 1 {
                tally.relay_verified(&WORKER, policy.relay_bytes, Duration::from_micros(micros.into()));
            }
            for observation in tally.into_report(|_, _| None).observations {
                prop_assert_eq!(check_observation(&policy, &observation), Ok(()));
            }
        }
    }
}
