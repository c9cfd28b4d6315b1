//! One worker's epoch, as those who hold its seats saw it: the median of every field of the revealed observations, weighted by seats.
//!
//! What was sent and failed is the worst value there is. Only what was not sent abstains: so nobody gains by answering near or
//! fast validators alone, and no validator's own trouble counts against a worker.

use lucid_types::amount::{Credits, Ppm};
use lucid_types::policy::Policy;
use lucid_types::report::Observation;
use serde::{Deserialize, Serialize};

use crate::median::weighted_median;

/// A ping is answered within this many microseconds, or it counts as unanswered; the round-trip time of whom nobody reaches.
pub const PING_TIMEOUT_US: u64 = 2_000_000;

/// The medians for one worker and epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Milliseconds of the epoch in which the worker was reachable.
    pub reachable_ms: u64,
    /// Challenges passed among those sent; `None` if none was sent.
    pub success: Option<Ppm>,
    /// Round-trip time in microseconds, the time-out if most got no answer.
    pub rtt_us: Option<u64>,
    /// Echoes verified.
    pub echoes: u64,
    /// Bytes of verified echoes.
    pub echo_bytes: u64,
    /// Throughput of echoes in kbit/s, 0 if most failed; `None` if too few were tried.
    pub echo_kbit_s: Option<u64>,
}

/// What a validator measured of a worker, with its number of seats for it.
pub type Weighted<'a> = (u8, &'a Observation);

/// The medians of `observations` of one worker; `None` if those who pinged it make no reporting quorum. Echoes count only if those who
/// sent them make one by themselves: whoever could not send any leaves nobody else to decide alone.
pub fn aggregate(policy: &Policy, observations: &[Weighted<'_>]) -> Option<Aggregate> {
    let pinged: Vec<_> = observations.iter().copied().filter(|(_, o)| o.pings_sent > 0).collect();
    let mut echoed: Vec<_> = observations.iter().copied().filter(|(_, o)| o.echoes_sent > 0).collect();
    if !is_quorum(policy, &pinged) {
        return None;
    }
    if !is_quorum(policy, &echoed) {
        echoed.clear();
    }
    let success = |o: &Observation| Ppm::ratio(o.passed(), o.challenges()).get().into();
    Some(Aggregate {
        reachable_ms: median(&pinged, |o| reachable_ms(policy, o)).unwrap_or(0),
        success: median(&pinged, success).and_then(|ppm| u32::try_from(ppm).ok()).map(Ppm::new),
        rtt_us: median(&pinged, |o| if o.pings_answered > 0 { o.rtt_us.value() } else { PING_TIMEOUT_US }),
        echoes: median(&echoed, |o| o.echoes_verified.into()).unwrap_or(0),
        echo_bytes: median(&echoed, |o| o.echo_bytes.value()).unwrap_or(0),
        echo_kbit_s: median(&echoed, |o| o.echo_kbit_s.value()),
    })
}

/// Whether so many have measured a worker that it counts: two thirds of its seats, and `min_reporters` validators.
fn is_quorum(policy: &Policy, reporters: &[Weighted<'_>]) -> bool {
    let seats: u64 = reporters.iter().map(|(seats, _)| u64::from(*seats)).sum();
    let enough = usize::try_from(policy.min_reporters).is_ok_and(|least| reporters.len() >= least.max(1));
    enough && 3 * seats >= 2 * u64::from(policy.seats)
}

fn median(observations: &[Weighted<'_>], field: impl Fn(&Observation) -> u64) -> Option<u64> {
    let mut values: Vec<_> = observations.iter().map(|(seats, o)| (field(o), u64::from(*seats))).collect();
    weighted_median(&mut values)
}

/// `floor(L * answered / sent)`.
fn reachable_ms(policy: &Policy, o: &Observation) -> u64 {
    let answered = policy.epoch_ms.saturating_mul(o.pings_answered.into());
    answered.checked_div(o.pings_sent.into()).unwrap_or(0)
}

/// Credits of an epoch: echoes, or one for each started `echo_bytes_per_credit`, whichever is more.
pub fn echo_credits(policy: &Policy, sessions: u64, bytes: u64) -> Credits {
    Credits::capped(sessions.max(bytes.div_ceil(policy.echo_bytes_per_credit.max(1))))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lucid_types::log_scale::LogScale;
    use proptest::prelude::*;

    use super::*;

    fn observation() -> Observation {
        Observation {
            pings_sent: 4,
            pings_answered: 3,
            rtt_us: LogScale::encode(800),
            echoes_sent: 1,
            echoes_verified: 1,
            echo_bytes: LogScale::encode(256 << 10),
            echo_kbit_s: LogScale::encode(90_000),
        }
    }

    /// Everything was sent and nothing came back.
    fn failed() -> Observation {
        Observation { pings_sent: 4, echoes_sent: 1, ..Observation::default() }
    }

    /// No echo was sent.
    fn pinged() -> Observation {
        Observation {
            echoes_sent: 0,
            echoes_verified: 0,
            echo_bytes: LogScale::ZERO,
            echo_kbit_s: LogScale::ZERO,
            ..observation()
        }
    }

    fn fast() -> Observation {
        Observation { rtt_us: LogScale::encode(100), pings_answered: 4, ..observation() }
    }

    fn policy(seats: u32, min_reporters: u32) -> Policy {
        Policy { seats, min_reporters, ..Policy::local(Duration::from_secs(5), 2, None) }
    }

    #[test]
    fn echo_credits_by_the_document() {
        let policy = Policy::default();
        let credits = |sessions, bytes| echo_credits(&policy, sessions, bytes).get();
        assert_eq!(credits(0, 0), 0);
        assert_eq!(credits(0, 5_000_000), 1);
        assert_eq!(credits(0, 5_242_880), 1);
        assert_eq!(credits(0, 5_242_881), 2);
        assert_eq!(credits(0, 100 << 20), 20);
        assert_eq!(credits(30, 100 << 20), 30);
        assert_eq!(credits(0, u64::MAX), u64::MAX.div_ceil(5 << 20).min(Credits::MAX.get()));
    }

    #[test]
    fn medians_of_every_field() {
        let all = aggregate(&policy(3, 3), &[(1, &observation()), (1, &fast()), (1, &failed())]);
        let expected = Aggregate {
            reachable_ms: 3_750,
            success: Some(Ppm::new(800_000)),
            rtt_us: Some(800),
            echoes: 1,
            echo_bytes: 256 << 10,
            echo_kbit_s: Some(LogScale::encode(90_000).value()),
        };
        assert_eq!(all, Some(expected), "the middle of 4/4, 3/4 and nothing");
        assert_eq!(aggregate(&policy(3, 1), &[]), None);
    }

    /// A worker that answers only validators near it has the round-trip time of those that it leaves without an answer.
    #[test]
    fn sent_and_failed_is_the_worst_value() {
        let mostly_failed =
            aggregate(&policy(5, 3), &[(1, &fast()), (1, &fast()), (1, &failed()), (1, &failed()), (1, &failed())]);
        let worst = Aggregate {
            reachable_ms: 0,
            success: Some(Ppm::ZERO),
            rtt_us: Some(PING_TIMEOUT_US),
            echoes: 0,
            echo_bytes: 0,
            echo_kbit_s: Some(0),
        };
        assert_eq!(mostly_failed, Some(worst));
    }

    #[test]
    fn what_was_not_sent_abstains() {
        let policy = policy(3, 1);
        let few = aggregate(&policy, &[(2, &observation()), (1, &pinged())]);
        let echo = |it: Option<Aggregate>| it.map(|it| (it.echoes, it.echo_bytes, it.echo_kbit_s));
        assert_eq!(echo(few), Some((1, 256 << 10, Some(LogScale::encode(90_000).value()))));
        let alone = aggregate(&policy, &[(1, &observation()), (2, &pinged())]);
        assert_eq!(
            echo(alone),
            Some((0, 0, None)),
            "a third of the seats does not decide what the others could not measure"
        );
        let blind = Observation { pings_sent: 0, pings_answered: 0, rtt_us: LogScale::ZERO, ..observation() };
        assert_eq!(aggregate(&policy, &[(1, &observation()), (2, &blind)]), None, "no quorum pinged");
    }

    /// Seats follow power already: a validator of half the power and half the seats has half the weight, and no more.
    #[test]
    fn a_validators_weight_is_its_seats() {
        let slow = Observation { rtt_us: LogScale::encode(100_000), ..observation() };
        let fast = observation();
        let of = |seats: u8| {
            let others = [(1, &slow); 11];
            let all: Vec<_> = others.into_iter().chain([(seats, &fast)]).collect();
            aggregate(&policy(u32::from(seats) + 11, 3), &all).and_then(|medians| medians.rtt_us)
        };
        assert_eq!(of(10), Some(LogScale::encode(100_000).value()));
        assert_eq!(of(11), Some(800), "the lower of two halves");
        assert_eq!(of(12), Some(800), "more than half");
    }

    #[test]
    fn how_many_reporters_are_enough() {
        let is_measured = |policy: &Policy, seats: &[u8]| {
            let o = observation();
            let all: Vec<_> = seats.iter().map(|seats| (*seats, &o)).collect();
            aggregate(policy, &all).is_some()
        };
        let public = policy(21, 3);
        assert!(is_measured(&public, &[1; 14]) && !is_measured(&public, &[1; 13]));
        assert!(is_measured(&public, &[7, 5, 2]) && !is_measured(&public, &[7, 5, 1]));
        assert!(!is_measured(&public, &[11, 10]), "two validators are too few whatever they hold");
        let local = policy(4, 1);
        assert!(is_measured(&local, &[4]) && is_measured(&local, &[3]) && !is_measured(&local, &[2]));
    }

    proptest! {
        /// Who holds less than half of the seats that report moves no value beyond what an honest validator measured.
        #[test]
        fn a_minority_of_seats_stays_within_the_honest_range(
            honest in prop::collection::vec((1u8..4, 0u8..=4, 1u64..PING_TIMEOUT_US), 3..20),
            lies in prop::collection::vec((1u8..4, 0u8..=4, 1u64..PING_TIMEOUT_US), 0..20),
        ) {
            let weight = |all: &[(u8, u8, u64)]| all.iter().map(|(seats, ..)| u32::from(*seats)).sum::<u32>();
            prop_assume!(weight(&lies) < weight(&honest));
            let observe = |(seats, pings_answered, rtt): &(u8, u8, u64)| {
                let rtt_us = if *pings_answered > 0 { LogScale::encode(*rtt) } else { LogScale::ZERO };
                (*seats, Observation { pings_sent: 4, pings_answered: *pings_answered, rtt_us, ..Observation::default() })
            };
            let all: Vec<_> = honest.iter().chain(&lies).map(observe).collect();
            let seats = weight(&honest) + weight(&lies);
            let refs: Vec<_> = all.iter().map(|(seats, o)| (*seats, o)).collect();
            let Some(found) = aggregate(&policy(seats, 1), &refs) else { return Err(TestCaseError::fail("no quorum")) };
            let within = |found: u64, of: &dyn Fn(&Observation) -> u64| {
                let values: Vec<u64> = all[..honest.len()].iter().map(|(_, o)| of(o)).collect();
                values.iter().min() <= Some(&found) && Some(&found) <= values.iter().max()
            };
            prop_assert!(within(found.reachable_ms, &|o| u64::from(o.pings_answered) * 1_250));
            let rtt = |o: &Observation| if o.pings_answered > 0 { o.rtt_us.value() } else { PING_TIMEOUT_US };
            prop_assert!(found.rtt_us.is_some_and(|found| within(found, &rtt)));
        }
    }
}
