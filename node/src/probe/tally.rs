//! What an epoch's probes of one worker amount to. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_score::aggregate::PING_TIMEOUT_US;
use lucid_score::report::MAX_KBIT_S;
use lucid_types::id::NodeId;
use lucid_types::log_scale::LogScale;
use lucid_types::report::Observation;

/// One worker's results so far.
#[derive(Clone, Debug, Default)]
struct Results {
    pings_sent: u8,
    rtts_us: Vec<u64>,
    echo: Echo,
}

/// The echo to one worker: there is one at most in an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Echo {
    #[default]
    NotSent,
    /// Nothing has come back whole yet.
    Sent,
    Verified {
        kbit_s: u64,
    },
}

/// The results of one epoch.
#[derive(Clone, Debug)]
pub struct Tally {
    workers: BTreeMap<NodeId, Results>,
}

impl Tally {
    /// Nothing measured yet, of these workers.
    pub fn new(workers: impl IntoIterator<Item = NodeId>) -> Self {
        Self { workers: workers.into_iter().map(|worker| (worker, Results::default())).collect() }
    }

    /// A ping has been sent.
    pub fn ping_sent(&mut self, worker: &NodeId) {
        if let Some(results) = self.workers.get_mut(worker) {
            results.pings_sent = results.pings_sent.saturating_add(1);
        }
    }

    /// A ping turned out never to have left this node, through no fault of the worker.
    pub fn ping_withdrawn(&mut self, worker: &NodeId) {
        if let Some(results) = self.workers.get_mut(worker) {
            results.pings_sent = results.pings_sent.saturating_sub(1);
        }
    }

    /// A ping that was sent has been answered rightly and in time.
    pub fn ping_answered(&mut self, worker: &NodeId, rtt: Duration) {
        if let Some(results) = self.workers.get_mut(worker) {
            let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
            results.rtts_us.push(micros.clamp(1, PING_TIMEOUT_US));
        }
    }

    /// The echo has been begun.
    pub fn echo_sent(&mut self, worker: &NodeId) {
        self.note_echo(worker, Echo::Sent);
    }

    /// The echo turned out never to have left this node, through no fault of the worker.
    pub fn echo_withdrawn(&mut self, worker: &NodeId) {
        self.note_echo(worker, Echo::NotSent);
    }

    /// The whole stream of the echo came back right and in time.
    pub fn echo_verified(&mut self, worker: &NodeId, bytes: u64, time: Duration) {
        self.note_echo(worker, Echo::Verified { kbit_s: kbit_per_second(bytes, time) });
    }

    fn note_echo(&mut self, worker: &NodeId, echo: Echo) {
        if let Some(results) = self.workers.get_mut(worker) {
            results.echo = echo;
        }
    }

    /// What was measured of each worker, by id. Of one to which nothing was sent nothing: that is an abstention, not a zero.
    pub fn into_observations(self) -> impl Iterator<Item = (NodeId, Option<Observation>)> {
        self.workers
            .into_iter()
            .map(|(worker, r)| (worker, (r.pings_sent > 0 || r.echo != Echo::NotSent).then(|| r.observe())))
    }
}

impl Results {
    fn observe(mut self) -> Observation {
        let answered = u8::try_from(self.rtts_us.len()).unwrap_or(u8::MAX).min(self.pings_sent);
        Observation {
            pings_sent: self.pings_sent,
            pings_answered: answered,
            rtt_us: LogScale::encode(if answered == 0 { 0 } else { lower_median(&mut self.rtts_us) }),
            echo_kbit_s: match self.echo {
                Echo::NotSent => None,
                Echo::Sent => Some(LogScale::ZERO),
                Echo::Verified { kbit_s } => Some(LogScale::encode(kbit_s)),
            },
            // Where the draw says, as far as this validator knows.
            group: None,
        }
    }
}

/// The middle value, the lower of two; 0 if there is none.
fn lower_median(values: &mut [u64]) -> u64 {
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

    fn of(tally: Tally, worker: NodeId) -> Option<Observation> {
        tally.into_observations().find(|(id, _)| *id == worker).unwrap().1
    }

    #[test]
    fn an_epoch_by_hand() {
        let mut tally = tally();
        for _ in 0..4 {
            tally.ping_sent(&WORKER);
        }
        for micros in [900, 100, 5_000] {
            tally.ping_answered(&WORKER, Duration::from_micros(micros));
        }
        tally.echo_sent(&WORKER);
        tally.echo_verified(&WORKER, 256 << 10, Duration::from_millis(20));
        assert_eq!(of(tally.clone(), OTHER), None, "the other worker was not measured");
        let o = of(tally, WORKER).unwrap();
        assert_eq!((o.pings_sent, o.pings_answered, o.rtt_us.value()), (4, 3, 900));
        // 262,144 bytes there and back in 20 ms: 2,097,152 bits, counted once.
        assert_eq!(o.echo_kbit_s, Some(LogScale::encode(104_857)));
    }

    #[test]
    fn observations_come_in_the_order_of_ids_and_withdrawn_probes_do_not_count() {
        let mut tally = tally();
        for worker in [OTHER, WORKER] {
            tally.ping_sent(&worker);
            tally.echo_sent(&worker);
        }
        tally.echo_withdrawn(&WORKER);
        let order: Vec<_> = tally.clone().into_observations().map(|(worker, _)| worker).collect();
        assert_eq!(order, [WORKER, OTHER]);
        assert_eq!(of(tally.clone(), WORKER).unwrap().echo_kbit_s, None);
        assert_eq!(of(tally.clone(), OTHER).unwrap().echo_kbit_s, Some(LogScale::ZERO), "it has not come back");
        tally.ping_withdrawn(&WORKER);
        assert_eq!(of(tally.clone(), WORKER), None);
        assert!(of(tally, OTHER).is_some());
    }

    #[test]
    fn a_stranger_is_not_counted() {
        let mut tally = tally();
        tally.ping_sent(&NodeId::from_bytes([9; 32]));
        assert!(tally.into_observations().all(|(_, observation)| observation.is_none()));
    }

    proptest! {
        #[test]
        fn every_epoch_within_the_tasks_makes_valid_observations(
            sent in 0..=12u32,
            rtts in prop::collection::vec(0..10_000_000u64, 0..=12),
            echo in 0..=2u32,
            micros: u32,
        ) {
            let policy = Policy::default();
            let mut tally = tally();
            for _ in 0..sent {
                tally.ping_sent(&WORKER);
            }
            for rtt in rtts.into_iter().take(usize::try_from(sent).unwrap()) {
                tally.ping_answered(&WORKER, Duration::from_micros(rtt));
            }
            if echo > 0 {
                tally.echo_sent(&WORKER);
            }
            if echo > 1 {
                tally.echo_verified(&WORKER, policy.echo_min_bytes, Duration::from_micros(micros.into()));
            }
            let observation = of(tally, WORKER);
            prop_assert_eq!(observation.is_some(), sent > 0 || echo > 0);
            prop_assert_eq!(observation.map_or(Ok(()), |o| check_observation(&policy, &o)), Ok(()));
            let kbit_s = observation.and_then(|o| o.echo_kbit_s);
            prop_assert_eq!((kbit_s.is_some(), kbit_s > Some(LogScale::ZERO)), (echo > 0, echo > 1));
        }
    }
}
