//! One worker's epoch, as those who hold its seats saw it: the median of every field of the revealed observations, weighted by seats.
//!
//! What was sent and failed is the worst value there is. Only what was not sent abstains: so nobody gains by answering near or
//! fast validators alone, and no validator's own trouble counts against a worker. Each kind of measurement needs a quorum of its own:
//! whoever could not make it leaves nobody else to decide alone.
//!
//! Chunks are no median alone: a worker that keeps those of 11 of 21 seats is not paid for all 21. What each seat found counts up to the
//! median, and all of them together stand for those of all seats.

use lucid_types::amount::Ppm;
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::policy::Policy;
use lucid_types::report::Observation;
use serde::{Deserialize, Serialize};

use crate::draw::ScoredWorker;
use crate::median::{Weighted, capped_total, weighted_median, weighted_mode};

/// A ping is answered within this many microseconds, or it counts as unanswered; the round-trip time of whom nobody reaches.
pub const PING_TIMEOUT_US: u64 = 2_000_000;

/// What one validator measured of a worker by pings and an echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Its number of seats for the worker.
    pub seats: u8,
    /// What it measured.
    pub seen: Observation,
}

/// What one validator found of its chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number of storage seats for the worker.
    pub seats: u8,
    /// Chunks proved for each of them.
    pub chunks: u16,
}

/// What was revealed of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// By those who hold its seats, one of each.
    pub probes: Vec<Probe>,
    /// By those who hold its storage seats, one of each.
    pub stored: Vec<Stored>,
}

/// The medians for one worker and epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Milliseconds of the epoch in which the worker was reachable.
    pub reachable_ms: u64,
    /// Pings and echoes passed among those sent.
    pub success: Ppm,
    /// Round-trip time in microseconds, the time-out if most got no answer.
    pub rtt_us: u64,
    /// The echo; `None` if too few sent one.
    pub echo: Option<EchoMedian>,
    /// Chunks proved for all storage seats together, 0 if most challenges failed; `None` if too few were made.
    pub chunks: Option<u32>,
    /// Where most saw it; `None` if too few saw it.
    pub group: Option<NetworkGroup>,
}

/// The median echo: of 0 bytes at 0 kbit/s if most failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoMedian {
    /// Its length, which is the draw's.
    pub bytes: u64,
    /// Its throughput in kbit/s.
    pub kbit_s: u64,
}

/// The medians of what was revealed of one worker; `None` if those who pinged it make no reporting quorum.
pub fn aggregate(policy: &Policy, worker: &ScoredWorker, seen: &Seen) -> Option<Aggregate> {
    let Seen { probes, stored } = seen;
    let mut found = Found { policy, values: Vec::with_capacity(probes.len().max(stored.len())) };
    let mut of_pings = |field: &dyn Fn(&Observation) -> u64| {
        let pinged = probes.iter().filter(|probe| probe.seen.pings_sent > 0);
        found.median(pinged.map(|probe| (field(&probe.seen), probe.seats)))
    };
    let reachable_ms = of_pings(&|it| reachable_ms(policy, it))?;
    let success = of_pings(&|it| success(it).get().into())?;
    let rtt_us = of_pings(&|it| if it.pings_answered > 0 { it.rtt_us.value() } else { PING_TIMEOUT_US })?;
    let kbit_s = found.median(probes.iter().filter_map(|it| Some((it.seen.echo_kbit_s?.value(), it.seats))));
    // Who holds half of the seats found the same throughput or more, or none at all: so the bytes go with it.
    let bytes = |kbit_s| if kbit_s > 0 { worker.echo_bytes.map_or(0, LogScale::value) } else { 0 };
    let chunks = found.total(stored.iter().map(|it| (it.chunks.into(), it.seats)));
    let group = found.mode(probes.iter().filter_map(|it| Some((it.seen.group?.number(), it.seats))));
    Some(Aggregate {
        reachable_ms,
        success: Ppm::ratio(success, Ppm::ONE.get().into()),
        rtt_us,
        echo: kbit_s.map(|kbit_s| EchoMedian { bytes: bytes(kbit_s), kbit_s }),
        chunks: chunks.and_then(|chunks| u32::try_from(chunks).ok()),
        group: group.map(NetworkGroup::from_number),
    })
}

/// Takes what so many seats found, one field after another.
struct Found<'a> {
    policy: &'a Policy,
    /// Room for those of one.
    values: Vec<Weighted>,
}

impl Found<'_> {
    /// The median; `None` if the seats make no quorum.
    fn median(&mut self, found: impl Iterator<Item = (u64, u8)>) -> Option<u64> {
        self.is_quorum(found).then(|| weighted_median(&mut self.values)).flatten()
    }

    /// What all seats would have found, if each of those that said nothing had found the mean of the others, of whom none counts for more than
    /// the median; likewise.
    fn total(&mut self, found: impl Iterator<Item = (u64, u8)>) -> Option<u64> {
        let median = self.median(found)?;
        capped_total(&self.values, median, self.policy.seats.into())
    }

    /// What most seats found, likewise.
    fn mode(&mut self, found: impl Iterator<Item = (u64, u8)>) -> Option<u64> {
        self.is_quorum(found).then(|| weighted_mode(&mut self.values)).flatten()
    }

    /// Whether those who found something are enough for it to count: two thirds of the worker's seats, and `min_reporters` validators.
    fn is_quorum(&mut self, found: impl Iterator<Item = (u64, u8)>) -> bool {
        self.values.clear();
        self.values.extend(found.map(|(value, seats)| Weighted::new(value, seats)));
        let seats: u64 = self.values.iter().map(|it| it.weight()).sum();
        let enough = usize::try_from(self.policy.min_reporters).is_ok_and(|least| self.values.len() >= least.max(1));
        enough && 3 * seats >= 2 * u64::from(self.policy.seats)
    }
}

/// `floor(L * answered / sent)`.
fn reachable_ms(policy: &Policy, o: &Observation) -> u64 {
    let answered = policy.epoch_ms.saturating_mul(o.pings_answered.into());
    answered.checked_div(o.pings_sent.into()).unwrap_or(0)
}

/// Pings answered and the echo verified, of those sent.
pub fn success(o: &Observation) -> Ppm {
    let echo = |is_counted: fn(LogScale) -> bool| u64::from(o.echo_kbit_s.is_some_and(is_counted));
    let passed = u64::from(o.pings_answered) + echo(|kbit_s| kbit_s > LogScale::ZERO);
    Ppm::ratio(passed, u64::from(o.pings_sent) + echo(|_| true))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::time::Duration;

    use lucid_types::id::{NodeId, PoolId};
    use proptest::prelude::*;

    use super::*;

    const HERE: NetworkGroup = NetworkGroup::from_bytes([0, 0, 9, 9, 9, 9]);
    const THERE: NetworkGroup = NetworkGroup::from_bytes([0x2a, 0, 0, 1, 0, 2]);

    fn observation() -> Observation {
        Observation {
            pings_sent: 4,
            pings_answered: 3,
            rtt_us: LogScale::encode(800),
            echo_kbit_s: Some(LogScale::encode(90_000)),
            group: Some(HERE),
        }
    }

    /// Everything was sent and nothing came back.
    fn failed() -> Observation {
        Observation { pings_sent: 4, echo_kbit_s: Some(LogScale::ZERO), ..Observation::default() }
    }

    /// No echo was sent.
    fn pinged() -> Observation {
        Observation { echo_kbit_s: None, ..observation() }
    }

    fn fast() -> Observation {
        Observation { rtt_us: LogScale::encode(100), pings_answered: 4, ..observation() }
    }

    fn policy(seats: u32, min_reporters: u32) -> Policy {
        Policy { seats, min_reporters, ..Policy::local(Duration::from_secs(5), 2, None) }
    }

    fn worker() -> ScoredWorker {
        ScoredWorker {
            node: NodeId::from_bytes([1; 32]),
            pool: PoolId::from_bytes([2; 32]),
            group: NetworkGroup::NONE,
            sharers: 1,
            quota: 100,
            echo_bytes: Some(LogScale::encode(256 << 10)),
            seats: Vec::new(),
            storage: Vec::new(),
        }
    }

    fn of(policy: &Policy, probes: &[(u8, Observation)]) -> Option<Aggregate> {
        let probes = probes.iter().map(|(seats, seen)| Probe { seats: *seats, seen: *seen }).collect();
        aggregate(policy, &worker(), &Seen { probes, stored: Vec::new() })
    }

    #[test]
    fn medians_of_every_field() {
        let all = of(&policy(3, 2), &[(1, observation()), (1, fast()), (1, failed())]);
        let expected = Aggregate {
            reachable_ms: 3_750,
            success: Ppm::new(800_000),
            rtt_us: 800,
            echo: Some(EchoMedian { bytes: 256 << 10, kbit_s: LogScale::encode(90_000).value() }),
            chunks: None,
            group: Some(HERE),
        };
        assert_eq!(all, Some(expected), "the middle of 4/4, 3/4 and nothing");
        assert_eq!(of(&policy(3, 1), &[]), None);
    }

    /// A worker that answers only validators near it has the round-trip time of those that it leaves without an answer.
    #[test]
    fn sent_and_failed_is_the_worst_value() {
        let mostly_failed = of(&policy(5, 3), &[(1, fast()), (1, fast()), (1, failed()), (1, failed()), (1, failed())]);
        let worst = Aggregate { rtt_us: PING_TIMEOUT_US, echo: Some(EchoMedian::default()), ..Aggregate::default() };
        assert_eq!(mostly_failed, Some(worst));
    }

    #[test]
    fn what_was_not_sent_abstains() {
        let policy = policy(3, 1);
        let few = of(&policy, &[(2, observation()), (1, pinged())]).unwrap();
        assert_eq!(few.echo.map(|echo| echo.bytes), Some(256 << 10));
        let alone = of(&policy, &[(1, observation()), (2, pinged())]).unwrap();
        assert_eq!(alone.echo, None, "a third of the seats does not decide what the others could not measure");
        let blind = Observation { pings_sent: 0, pings_answered: 0, rtt_us: LogScale::ZERO, ..observation() };
        assert_eq!(of(&policy, &[(1, observation()), (2, blind)]), None, "no quorum pinged");
    }

    /// What seats that found these many chunks make of them, with `n_seats` of all.
    fn chunks_of(n_seats: u32, stored: &[(u8, u16)]) -> Option<u32> {
        let probes = vec![Probe { seats: u8::try_from(n_seats).unwrap(), seen: observation() }];
        let stored = stored.iter().map(|(seats, chunks)| Stored { seats: *seats, chunks: *chunks }).collect();
        aggregate(&policy(n_seats, 1), &worker(), &Seen { probes, stored }).unwrap().chunks
    }

    #[test]
    fn chunks_are_those_of_all_seats_and_none_counts_above_the_median() {
        let chunks = |stored: &[(u8, u16)]| chunks_of(21, stored);
        assert_eq!(chunks(&[(21, 100)]), Some(2_100));
        assert_eq!(chunks(&[(7, 100), (7, 60), (7, 0)]), Some(840), "60 of fourteen seats");
        assert_eq!(chunks(&[(11, 100), (10, 0)]), Some(1_100), "those of eleven seats");
        assert_eq!(chunks(&[(10, 100), (11, 0)]), Some(0), "most challenges failed");
        assert_eq!(chunks(&[(14, 100)]), Some(2_100), "who says nothing changes nothing");
        assert_eq!(chunks(&[(8, 100), (6, 0)]), Some(1_200), "of 21 like these fourteen");
        assert_eq!(chunks(&[(8, 1), (8, 0)]), Some(0), "the lower of two halves");
        assert_eq!(chunks(&[(9, 1), (8, 0)]), Some(11), "floor(21 * 9 / 17)");
        assert_eq!(chunks(&[(11, 3), (10, u16::MAX)]), Some(63), "a liar counts no more than the median");
        assert_eq!(chunks(&[(13, 100)]), None, "vacant seats count for the quorum");
        assert_eq!(chunks(&[]), None);
        assert_eq!(chunks_of(100, &[(100, u16::MAX)]), Some(6_553_500));
    }

    #[test]
    fn most_seats_say_where_a_worker_is() {
        let at = |group| Observation { group, ..observation() };
        let group = |all: &[(u8, Option<NetworkGroup>)]| {
            let all: Vec<_> = all.iter().map(|(seats, group)| (*seats, at(*group))).collect();
            of(&policy(21, 3), &all).unwrap().group
        };
        let (here, there, nowhere) = (Some(HERE), Some(THERE), Some(NetworkGroup::NONE));
        assert_eq!(group(&[(7, here), (8, there), (6, here)]), here);
        assert_eq!(group(&[(8, here), (9, there), (4, nowhere)]), there, "more than any other");
        assert_eq!(group(&[(10, there), (10, here), (1, nowhere)]), here, "the first by its bytes");
        assert_eq!(group(&[(11, nowhere), (5, here), (5, there)]), nowhere);
        assert_eq!(group(&[(5, here), (4, here), (5, here), (7, None)]), here);
        assert_eq!(group(&[(5, here), (4, here), (4, here), (8, None)]), None, "13 of 21 saw it");
        assert_eq!(group(&[(7, here), (7, here), (7, None)]), None, "two validators saw it");
    }

    /// Seats follow power already: a validator of half the power and half the seats has half the weight, and no more.
    #[test]
    fn a_validators_weight_is_its_seats() {
        let slow = Observation { rtt_us: LogScale::encode(100_000), ..observation() };
        let rtt = |seats: u8| {
            let others = [(1, slow); 11];
            let all: Vec<_> = others.into_iter().chain([(seats, observation())]).collect();
            of(&policy(u32::from(seats) + 11, 3), &all).map(|medians| medians.rtt_us)
        };
        assert_eq!(rtt(10), Some(LogScale::encode(100_000).value()));
        assert_eq!(rtt(11), Some(800), "the lower of two halves");
        assert_eq!(rtt(12), Some(800), "more than half");
    }

    #[test]
    fn how_many_reporters_are_enough() {
        let is_measured = |policy: &Policy, seats: &[u8]| {
            let all: Vec<_> = seats.iter().map(|seats| (*seats, observation())).collect();
            of(policy, &all).is_some()
        };
        let public = policy(21, 3);
        assert!(is_measured(&public, &[1; 14]) && !is_measured(&public, &[1; 13]));
        assert!(is_measured(&public, &[7, 5, 2]) && !is_measured(&public, &[7, 5, 1]));
        assert!(!is_measured(&public, &[11, 10]), "two validators are too few whatever they hold");
        let local = policy(4, 1);
        assert!(is_measured(&local, &[4]) && is_measured(&local, &[3]) && !is_measured(&local, &[2]));
    }

    /// Anything that an honest validator can report, or a liar.
    fn reports(n: std::ops::Range<usize>) -> impl Strategy<Value = Vec<(u8, Observation, u16)>> {
        let group = prop::sample::select(vec![HERE, THERE, NetworkGroup::NONE]);
        let report = (1u8..4, 0u8..=4, 1u64..PING_TIMEOUT_US, 0u64..1 << 31, group, any::<u16>());
        let report = report.prop_map(|(seats, pings_answered, rtt, kbit_s, group, chunks)| {
            let answered = pings_answered > 0;
            let rtt_us = if answered { LogScale::encode(rtt) } else { LogScale::ZERO };
            let (echo_kbit_s, group) = (Some(LogScale::encode(kbit_s)), answered.then_some(group));
            (seats, Observation { pings_sent: 4, pings_answered, rtt_us, echo_kbit_s, group }, chunks)
        });
        prop::collection::vec(report, n)
    }

    proptest! {
        /// Who holds less than half of the seats that report moves no value beyond what an honest validator measured.
        #[test]
        fn a_minority_of_seats_stays_within_the_honest_range(honest in reports(3..20), lies in reports(0..20)) {
            let weight = |all: &[(u8, Observation, u16)]| all.iter().map(|(seats, ..)| u32::from(*seats)).sum::<u32>();
            prop_assume!(weight(&lies) < weight(&honest));
            let all = [honest.clone(), lies].concat();
            let probes = all.iter().map(|(seats, seen, _)| Probe { seats: *seats, seen: *seen }).collect();
            let stored = all.iter().map(|(seats, _, chunks)| Stored { seats: *seats, chunks: *chunks }).collect();
            let found = aggregate(&policy(weight(&all), 1), &worker(), &Seen { probes, stored }).unwrap();
            let within = |found: u64, of: &dyn Fn(&Observation) -> u64| {
                let values: Vec<u64> = honest.iter().map(|(_, seen, _)| of(seen)).collect();
                values.iter().min() <= Some(&found) && Some(&found) <= values.iter().max()
            };
            let rtt = |o: &Observation| if o.pings_answered > 0 { o.rtt_us.value() } else { PING_TIMEOUT_US };
            let bytes = |o: &Observation| if o.echo_kbit_s > Some(LogScale::ZERO) { 256 << 10 } else { 0 };
            let echo = found.echo.unwrap();
            prop_assert!(within(found.reachable_ms, &|o| u64::from(o.pings_answered) * 1_250));
            prop_assert!(within(found.rtt_us, &rtt));
            prop_assert!(within(found.success.get().into(), &|o| success(o).get().into()));
            prop_assert!(within(echo.kbit_s, &|o| o.echo_kbit_s.unwrap().value()));
            prop_assert!(within(echo.bytes, &bytes));
            // Seats that find none lower it by their share; nobody raises it.
            let most = honest.iter().map(|(.., chunks)| u32::from(*chunks)).max().unwrap();
            prop_assert!(found.chunks <= Some(weight(&all) * most));
            // A group that more than half of the seats saw is agreed on.
            let here = honest.iter().filter(|(_, seen, _)| seen.group == Some(HERE));
            let here: u32 = here.map(|(seats, ..)| u32::from(*seats)).sum();
            if 2 * here > weight(&all) && 3 * here >= 2 * weight(&all) {
                prop_assert_eq!(found.group, Some(HERE));
            }
        }

        /// All seats found at most the median, and more chunks of any of them are not fewer of all.
        #[test]
        fn chunks_are_bounded_and_monotone(
            mut stored in prop::collection::vec((1u8..5, any::<u16>()), 1..25),
            place: prop::sample::Index,
            more: u16,
        ) {
            let n_seats = stored.iter().map(|(seats, _)| u32::from(*seats)).sum();
            let before = chunks_of(n_seats, &stored).unwrap();
            let mut each: Vec<_> = stored.iter().flat_map(|(seats, n)| vec![*n; usize::from(*seats)]).collect();
            each.sort_unstable();
            prop_assert!(before <= n_seats * u32::from(each[(each.len() - 1) / 2]));
            let it = place.index(stored.len());
            stored[it].1 = stored[it].1.saturating_add(more);
            prop_assert!(before <= chunks_of(n_seats, &stored).unwrap());
        }

        /// Less than half of the seats without a chunk cost their share, and as many that claim anything gain nothing.
        #[test]
        fn a_minority_of_seats_costs_its_share_and_gains_nothing(
            n_seats in 1u8..=100,
            minority in 0u8..50,
            chunks: u16,
            honest in prop::collection::vec(any::<u16>(), 51),
        ) {
            let minority = minority.min((n_seats - 1) / 2);
            let k = u32::from(n_seats);
            let without = chunks_of(k, &[(n_seats - minority, chunks), (minority, 0)]);
            prop_assert_eq!(without, Some(u32::from(chunks) * (k - u32::from(minority))));
            let honest: Vec<_> = honest.into_iter().cycle().take(usize::from(n_seats - minority)).collect();
            let stored: Vec<_> = honest.iter().map(|n| (1, *n)).chain([(minority, u16::MAX)]).collect();
            prop_assert!(chunks_of(k, &stored) <= honest.iter().max().map(|most| k * u32::from(*most)));
        }
    }
}
