//! What an epoch's probes of one worker amount to. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_score::aggregate::PING_TIMEOUT_US;
use lucid_score::report::MAX_KBIT_S;
use lucid_types::id::NodeId;
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::report::Observation;

/// One worker's results so far.
#[derive(Clone, Debug, Default)]
struct Results {
    unanswered: u8,
    rtts_us: Vec<u64>,
    /// 0 for an echo that failed.
    echo_kbit_s: Option<u64>,
    group: Option<NetworkGroup>,
}

/// The results of one epoch. What was not sent is not in them.
#[derive(Clone, Debug)]
pub struct Tally {
    workers: BTreeMap<NodeId, Results>,
}

impl Tally {
    /// Nothing measured yet, of these workers.
    pub fn new(workers: impl IntoIterator<Item = NodeId>) -> Self {
        Self { workers: workers.into_iter().map(|worker| (worker, Results::default())).collect() }
    }

    /// A ping that was sent has not been answered rightly and in time.
    pub fn ping_failed(&mut self, worker: &NodeId) {
        if let Some(results) = self.workers.get_mut(worker) {
            results.unanswered = results.unanswered.saturating_add(1);
        }
    }

    /// A ping that was sent has been answered rightly and in time, from there if that is known.
    pub fn ping_answered(&mut self, worker: &NodeId, rtt: Duration, group: Option<NetworkGroup>) {
        if let Some(results) = self.workers.get_mut(worker) {
            let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
            results.rtts_us.push(micros.clamp(1, PING_TIMEOUT_US));
            results.group = group.or(results.group);
        }
    }

    /// The echo was sent and has not come back whole, right and in time.
    pub fn echo_failed(&mut self, worker: &NodeId) {
        if let Some(results) = self.workers.get_mut(worker) {
            results.echo_kbit_s = Some(0);
        }
    }

    /// The whole stream of the echo came back right and in time.
    pub fn echo_verified(&mut self, worker: &NodeId, bytes: u64, time: Duration) {
        if let Some(results) = self.workers.get_mut(worker) {
            results.echo_kbit_s = Some(kbit_per_second(bytes, time));
        }
    }

    /// What was measured of a worker; nothing if nothing was sent to it: that is an abstention, not a zero.
    pub fn observation(&self, worker: &NodeId) -> Option<Observation> {
        self.workers.get(worker)?.observe()
    }
}

impl Results {
    fn observe(&self) -> Option<Observation> {
        let answered = u8::try_from(self.rtts_us.len()).unwrap_or(u8::MAX);
        let pings_sent = self.unanswered.saturating_add(answered);
        let observation = Observation {
            pings_sent,
            pings_answered: answered,
            rtt_us: LogScale::encode(lower_median(self.rtts_us.clone())),
            echo_kbit_s: self.echo_kbit_s.map(LogScale::encode),
            group: self.group,
        };
        (pings_sent > 0 || self.echo_kbit_s.is_some()).then_some(observation)
    }
}

/// The middle value, the lower of two; 0 if there is none.
fn lower_median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    let middle = values.len().saturating_sub(1) / 2;
    values.get(middle).copied().unwrap_or(0)
}

/// `floor(bits / milliseconds)`, from microseconds, and at least 1: 0 is an echo that failed.
fn kbit_per_second(bytes: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    let kbit_s = u128::from(bytes) * 8_000 / micros;
    u64::try_from(kbit_s).unwrap_or(MAX_KBIT_S).clamp(1, MAX_KBIT_S)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_score::report::check_observation;
    use lucid_types::policy::Policy;
    use proptest::prelude::*;

    use super::*;

    const WORKER: NodeId = NodeId::from_bytes([1; 32]);
    const OTHER: NodeId = NodeId::from_bytes([2; 32]);

    fn tally() -> Tally {
        Tally::new([OTHER, WORKER])
    }

    const HERE: NetworkGroup = NetworkGroup::from_bytes([0, 0, 9, 9, 9, 9]);
    const THERE: NetworkGroup = NetworkGroup::from_bytes([0, 0, 9, 9, 9, 8]);

    #[test]
    fn an_epoch_by_hand() {
        let mut tally = tally();
        tally.ping_failed(&WORKER);
        for (micros, group) in [(900, Some(HERE)), (100, Some(THERE)), (5_000, None)] {
            tally.ping_answered(&WORKER, Duration::from_micros(micros), group);
        }
        tally.echo_verified(&WORKER, 256 << 10, Duration::from_millis(20));
        assert_eq!(tally.observation(&OTHER), None, "the other worker was not measured");
        let o = tally.observation(&WORKER).unwrap();
        assert_eq!((o.pings_sent, o.pings_answered, o.rtt_us.value()), (4, 3, 900));
        // 262,144 bytes there and back in 20 ms: 2,097,152 bits, counted once.
        assert_eq!(o.echo_kbit_s, Some(LogScale::encode(104_857)));
        assert_eq!(o.group, Some(THERE), "where it was seen last");
        tally.echo_failed(&OTHER);
        let o = tally.observation(&OTHER).unwrap();
        assert_eq!((o.pings_sent, o.echo_kbit_s, o.group), (0, Some(LogScale::ZERO), None));
    }

    #[test]
    fn a_stranger_is_not_counted() {
        let (mut tally, stranger) = (tally(), NodeId::from_bytes([9; 32]));
        tally.ping_failed(&stranger);
        assert!([stranger, WORKER, OTHER].iter().all(|worker| tally.observation(worker).is_none()));
    }

    proptest! {
        #[test]
        fn every_epoch_within_the_tasks_makes_valid_observations(
            rtts in prop::collection::vec(prop::option::of(0..10_000_000u64), 0..=12),
            echo in 0..=2u32,
            micros: u32,
        ) {
            let policy = Policy::default();
            let mut tally = tally();
            for rtt in &rtts {
                match rtt {
                    Some(rtt) => tally.ping_answered(&WORKER, Duration::from_micros(*rtt), Some(HERE)),
                    None => tally.ping_failed(&WORKER),
                }
            }
            match echo {
                0 => {}
                1 => tally.echo_failed(&WORKER),
                _ => tally.echo_verified(&WORKER, policy.echo_min_bytes, Duration::from_micros(micros.into())),
            }
            let observation = tally.observation(&WORKER);
            prop_assert_eq!(observation.is_some(), !rtts.is_empty() || echo > 0);
            prop_assert_eq!(observation.map_or(Ok(()), |o| check_observation(&policy, &o)), Ok(()));
            let kbit_s = observation.and_then(|o| o.echo_kbit_s);
            prop_assert_eq!((kbit_s.is_some(), kbit_s > Some(LogScale::ZERO)), (echo > 0, echo > 1));
        }
    }
}
