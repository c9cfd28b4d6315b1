//! One worker's epoch, as its committee saw it: the weighted median of every field of the revealed observations.

use lucid_types::amount::{Credits, Ppm};
use lucid_types::policy::Policy;
use lucid_types::report::Observation;
use serde::{Deserialize, Serialize};

use crate::median::{lower_weights, weighted_median};

/// The committee's medians for one worker and epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Milliseconds of the epoch in which the worker was reachable.
    pub reachable_ms: u64,
    /// Challenges passed among those sent; `None` if none was sent.
    pub success: Option<Ppm>,
    /// Round-trip time in microseconds; `None` if no beacon was answered.
    pub rtt_us: Option<u64>,
    /// Relay sessions verified.
    pub relay_sessions: u64,
    /// Bytes of verified relay sessions.
    pub relay_bytes: u64,
    /// Throughput of verified relay sessions in kbit/s; `None` if none was verified.
    pub relay_kbit_s: Option<u64>,
}

/// Why an observation cannot stand in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObservationError {
    /// More beacons or relay tasks than the policy assigns.
    #[error("more tasks than are assigned")]
    TooManyTasks,
    /// More passed than sent, or bytes without sessions.
    #[error("more results than tasks")]
    TooManyResults,
    /// A round-trip time without an answer, or none with one.
    #[error("the round-trip time does not fit the answers")]
    RoundTrip,
    /// A capacity or allocation out of bounds.
    #[error("implausible attestation")]
    Attestation,
}

/// Relay tasks that one validator may give one worker in an epoch.
pub const RELAYS_PER_EPOCH: u32 = 1;

/// Checks an observation against the tasks that the policy assigns.
///
/// # Errors
/// When it claims more than could have been measured.
pub fn check_observation(policy: &Policy, o: &Observation) -> Result<(), ObservationError> {
    if o.beacons_sent > policy.beacons || o.relays_sent > RELAYS_PER_EPOCH {
        return Err(ObservationError::TooManyTasks);
    }
    let most_bytes = policy.relay_bytes.saturating_mul(u64::from(o.relays_verified));
    let throughput_fits = (o.relays_verified > 0 || o.relay_kbit_s == 0) && o.relay_kbit_s <= 1 << 31;
    let results_fit = o.beacons_answered <= o.beacons_sent && o.relays_verified <= o.relays_sent;
    // Nothing deposits storage yet, so nothing of it can have been proved.
    let storage_fits = o.chunks_proved == 0 && o.storage_bytes == 0;
    if !results_fit || o.relay_bytes > most_bytes || !throughput_fits || !storage_fits {
        return Err(ObservationError::TooManyResults);
    }
    if (o.beacons_answered > 0) != (o.rtt_us > 0) {
        return Err(ObservationError::RoundTrip);
    }
    if !o.capacity.is_plausible() || o.allocation > Ppm::ONE {
        return Err(ObservationError::Attestation);
    }
    Ok(())
}

/// Whether `reporters` of a committee of `committee` validators are enough: two thirds, and three unless the whole
/// committee is smaller.
pub fn enough_reporters(reporters: usize, committee: usize) -> bool {
    reporters > 0 && 3 * reporters >= 2 * committee && reporters >= committee.min(3)
}

/// The medians of `observations` of one worker, each with its reporter's voting power.
///
/// A value that a reporter could not measure is an abstention, not a zero.
pub fn aggregate(policy: &Policy, observations: &[(u64, &Observation)]) -> Aggregate {
    let mut weights: Vec<u64> = observations.iter().map(|(power, _)| *power).collect();
    lower_weights(&mut weights);
    let median = |field: &dyn Fn(&Observation) -> Option<u64>| {
        let values = observations.iter().zip(&weights);
        let mut values: Vec<_> = values.filter_map(|((_, o), w)| field(o).map(|value| (value, *w))).collect();
        weighted_median(&mut values)
    };
    let success =
        |o: &Observation| (o.challenges() > 0).then(|| u64::from(Ppm::ratio(o.passed(), o.challenges()).get()));
    Aggregate {
        reachable_ms: median(&|o| reachable_ms(policy, o)).unwrap_or(0),
        success: median(&success).and_then(|ppm| u32::try_from(ppm).ok()).map(Ppm::new),
        rtt_us: median(&|o| (o.rtt_us > 0).then_some(u64::from(o.rtt_us))),
        relay_sessions: median(&|o| Some(u64::from(o.relays_verified))).unwrap_or(0),
        relay_bytes: median(&|o| Some(o.relay_bytes)).unwrap_or(0),
        relay_kbit_s: median(&|o| (o.relay_kbit_s > 0).then_some(o.relay_kbit_s)),
    }
}

/// `floor(L * answered / sent)`; an abstention if no beacon was sent.
fn reachable_ms(policy: &Policy, o: &Observation) -> Option<u64> {
    let (answered, sent) = (u64::from(o.beacons_answered), u64::from(o.beacons_sent));
    policy.epoch_ms.checked_mul(answered)?.checked_div(sent)
}

/// Credits of an epoch: relayed sessions, or one for each started `relay_bytes_per_credit`, whichever is more.
pub fn relay_credits(policy: &Policy, sessions: u64, bytes: u64) -> Credits {
    Credits::capped(sessions.max(bytes.div_ceil(policy.relay_bytes_per_credit.max(1))))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::attestation::Capacity;
    use lucid_types::id::NodeId;
    use std::time::Duration;

    use super::*;

    fn observation() -> Observation {
        Observation {
            worker: NodeId::from_bytes([1; 32]),
            beacons_sent: 4,
            beacons_answered: 3,
            rtt_us: 800,
            relays_sent: 1,
            relays_verified: 1,
            relay_bytes: 256 << 10,
            relay_kbit_s: 90_000,
            chunks_proved: 0,
            storage_bytes: 0,
            attestation: None,
            capacity: Capacity::default(),
            allocation: Ppm::ZERO,
        }
    }

    fn policy() -> Policy {
        Policy::local(Duration::from_secs(5), 2, None)
    }

    #[test]
    fn relay_credits_by_the_document() {
        let policy = Policy::default();
        let credits = |sessions, bytes| relay_credits(&policy, sessions, bytes).get();
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
        let (mut fast, mut deaf) = (observation(), observation());
        fast.rtt_us = 100;
        fast.beacons_answered = 4;
        deaf.beacons_answered = 0;
        deaf.rtt_us = 0;
        deaf.relays_verified = 0;
        deaf.relay_bytes = 0;
        deaf.relay_kbit_s = 0;
        let plain = observation();
        let all = aggregate(&policy(), &[(1, &plain), (1, &fast), (1, &deaf)]);
        assert_eq!(all.reachable_ms, 3_750, "median of 3/4, 4/4 and 0/4 of 5 s");
        assert_eq!(all.success.unwrap().get(), 800_000, "median of 4/5, 5/5 and 0/5");
        assert_eq!(all.rtt_us, Some(100), "the deaf one abstains, the lower of two");
        assert_eq!((all.relay_sessions, all.relay_bytes), (1, 256 << 10));
        assert_eq!(all.relay_kbit_s, Some(90_000));
        assert_eq!(aggregate(&policy(), &[]), Aggregate::default());
    }

    #[test]
    fn claims_beyond_the_tasks_are_refused() {
        let policy = policy();
        check_observation(&policy, &observation()).unwrap();
        let refuse = |change: &dyn Fn(&mut Observation), error: ObservationError| {
            let mut o = observation();
            change(&mut o);
            assert_eq!(check_observation(&policy, &o), Err(error));
        };
        refuse(&|o| o.beacons_sent = 5, ObservationError::TooManyTasks);
        refuse(&|o| o.relays_sent = 2, ObservationError::TooManyTasks);
        refuse(&|o| o.beacons_answered = 5, ObservationError::TooManyResults);
        refuse(&|o| o.relay_bytes = (256 << 10) + 1, ObservationError::TooManyResults);
        refuse(&|o| o.relays_verified = 0, ObservationError::TooManyResults);
        refuse(&|o| o.storage_bytes = 1, ObservationError::TooManyResults);
        refuse(&|o| o.rtt_us = 0, ObservationError::RoundTrip);
        refuse(&|o| o.allocation = Ppm::new(1_000_001), ObservationError::Attestation);
    }

    #[test]
    fn how_many_reporters_are_enough() {
        let enough: Vec<_> = (0..=4).map(|n| enough_reporters(n, 4)).collect();
        assert_eq!(enough, [false, false, false, true, true]);
        assert!(enough_reporters(1, 1));
        assert!(!enough_reporters(1, 2));
        assert!(enough_reporters(14, 21));
        assert!(!enough_reporters(13, 21));
    }
}
