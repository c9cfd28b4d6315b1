//! Which reports can be true: those that are about the validator's assignment, and claim nothing that could not have been measured.

use lucid_types::id::{NodeId, ValidatorId};
use lucid_types::log_scale::LogScale;
use lucid_types::policy::Policy;
use lucid_types::report::{Observation, ScoreReport, ShapeError};

use crate::aggregate::{PING_TIMEOUT_US, Probe, Stored};
use crate::draw::EpochDraw;

/// Throughput that is believed at most, in kbit/s: 2 Tbit/s.
pub const MAX_KBIT_S: u64 = 1 << 31;

/// Why a report cannot be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Nobody asked this validator.
    #[error("its signer measures nothing in the epoch")]
    NoReporter,
    /// It does not fit the validator's assignment.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// An observation that cannot be.
    #[error("on worker {worker}: {problem}")]
    Observation {
        /// The worker.
        worker: NodeId,
        /// What is impossible.
        problem: ObservationError,
    },
    /// More chunks than a storage seat may hold.
    #[error("worker {worker} proved more than it was to hold")]
    Proved {
        /// The worker.
        worker: NodeId,
    },
}

/// Why an observation cannot stand in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObservationError {
    /// It is an abstention, for which a report has a bit.
    #[error("nothing was sent")]
    Nothing,
    /// More pings than the policy assigns.
    #[error("more was sent than is assigned")]
    TooManyTasks,
    /// More answered than sent, or a throughput beyond all.
    #[error("more came back than was sent")]
    TooManyResults,
    /// A round-trip time without an answer, none with one, or one beyond the time-out.
    #[error("the round-trip time does not fit the answers")]
    RoundTrip,
}

/// Checks the report of an epoch by the validator with this key.
///
/// # Errors
/// When it is not about the validator's assignment, or claims more than could have been measured.
pub fn check_report(
    policy: &Policy,
    draw: &EpochDraw,
    validator: &ValidatorId,
    report: &ScoreReport,
) -> Result<(), ReportError> {
    let worker = |place: usize| draw.scored[place].node;
    for (place, Probe { seen, .. }) in observed(draw, validator, report)? {
        check_observation(policy, &seen)
            .map_err(|problem| ReportError::Observation { worker: worker(place), problem })?;
    }
    for (place, Stored { chunks, .. }) in stored(draw, validator, report)? {
        if chunks > draw.scored[place].quota {
            return Err(ReportError::Proved { worker: worker(place) });
        }
    }
    Ok(())
}

/// What the validator with this key measured by pings and echoes, by the workers' places in the draw.
///
/// # Errors
/// When the report is not about the validator's assignment.
pub fn observed(
    draw: &EpochDraw,
    validator: &ValidatorId,
    report: &ScoreReport,
) -> Result<impl Iterator<Item = (usize, Probe)>, ReportError> {
    let held: Vec<_> = draw.held_by(validator, |worker| &worker.seats).ok_or(ReportError::NoReporter)?.collect();
    let assigned: Vec<_> = held.iter().map(|(place, _)| draw.scored[*place].assigned()).collect();
    let observations = held.into_iter().zip(report.observations(&assigned)?);
    Ok(observations.filter_map(|((place, seats), seen)| Some((place, Probe { seats, seen: seen? }))))
}

/// What the validator with this key found of its chunks, likewise.
///
/// # Errors
/// When the report is not about the validator's assignment.
pub fn stored(
    draw: &EpochDraw,
    validator: &ValidatorId,
    report: &ScoreReport,
) -> Result<impl Iterator<Item = (usize, Stored)>, ReportError> {
    let held: Vec<_> = draw.held_by(validator, |worker| &worker.storage).ok_or(ReportError::NoReporter)?.collect();
    let proved: Vec<_> = report.proved(held.len())?.collect();
    let proved = held.into_iter().zip(proved);
    Ok(proved.filter_map(|((place, seats), chunks)| Some((place, Stored { seats, chunks: chunks? }))))
}

/// Checks an observation against what is assigned. Whether the draw gives an echo, the form of the report says.
///
/// # Errors
/// When it claims more than could have been measured.
pub fn check_observation(policy: &Policy, o: &Observation) -> Result<(), ObservationError> {
    if o.pings_sent == 0 && o.echo_kbit_s.is_none() {
        return Err(ObservationError::Nothing);
    }
    if u32::from(o.pings_sent) > policy.pings {
        return Err(ObservationError::TooManyTasks);
    }
    if o.pings_answered > o.pings_sent || o.echo_kbit_s.is_some_and(|kbit_s| kbit_s.value() > MAX_KBIT_S) {
        return Err(ObservationError::TooManyResults);
    }
    if (o.pings_answered > 0) != (o.rtt_us > LogScale::ZERO) || o.rtt_us.value() > PING_TIMEOUT_US {
        return Err(ObservationError::RoundTrip);
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::time::Duration;

    use lucid_types::id::{Hash, PoolId};
    use lucid_types::network_group::NetworkGroup;
    use lucid_types::report::AssignedWorker;
    use lucid_types::time::Epoch;

    use super::*;
    use crate::draw::ScoredWorker;
    use crate::seats::Seats;

    fn local() -> Policy {
        Policy::local(Duration::from_secs(5), 2, None)
    }

    fn observation() -> Observation {
        Observation {
            pings_sent: 4,
            pings_answered: 3,
            rtt_us: LogScale::encode(800),
            echo_kbit_s: Some(LogScale::encode(90_000)),
            group: Some(NetworkGroup::NONE),
        }
    }

    #[test]
    fn claims_beyond_the_tasks_are_refused() {
        let policy = local();
        check_observation(&policy, &observation()).unwrap();
        let refuse = |change: &dyn Fn(&mut Observation), error: ObservationError| {
            let mut o = observation();
            change(&mut o);
            assert_eq!(check_observation(&policy, &o), Err(error));
        };
        refuse(&|o| *o = Observation::default(), ObservationError::Nothing);
        refuse(&|o| o.pings_sent = 5, ObservationError::TooManyTasks);
        refuse(&|o| o.pings_answered = 5, ObservationError::TooManyResults);
        let too_fast = LogScale::from_code(LogScale::encode(MAX_KBIT_S).code() + 1);
        refuse(&|o| o.echo_kbit_s = Some(too_fast), ObservationError::TooManyResults);
        refuse(&|o| o.rtt_us = LogScale::ZERO, ObservationError::RoundTrip);
        refuse(&|o| o.pings_answered = 0, ObservationError::RoundTrip);
        refuse(&|o| o.rtt_us = LogScale::encode(PING_TIMEOUT_US + 1_000), ObservationError::RoundTrip);
        let pings = Observation { pings_sent: 1, ..Observation::default() };
        let echo = Observation { echo_kbit_s: Some(LogScale::ZERO), ..Observation::default() };
        assert_eq!((check_observation(&policy, &pings), check_observation(&policy, &echo)), (Ok(()), Ok(())));
    }

    #[test]
    fn a_report_is_about_its_signers_assignment_and_nothing_else() {
        let node = |byte| NodeId::from_bytes([byte; 32]);
        let id = |byte| ValidatorId::from_bytes([byte; 32]);
        let of = |reporters: &[u16]| reporters.iter().map(|reporter| Seats { reporter: *reporter, count: 1 }).collect();
        let worker = |byte, has_echo: bool, seats: &[u16], storage: &[u16]| ScoredWorker {
            node: node(byte),
            pool: PoolId::from_bytes([9; 32]),
            group: NetworkGroup::NONE,
            sharers: 1,
            quota: 2,
            echo_bytes: has_echo.then_some(LogScale::encode(256 << 10)),
            seats: of(seats),
            storage: of(storage),
        };
        let scored = vec![worker(11, true, &[0, 1], &[2]), worker(12, true, &[1], &[0]), worker(13, false, &[0], &[])];
        let draw = EpochDraw { seed: Hash::from_bytes([0; 32]), reporters: [1, 2, 3].map(id).into(), scored };
        let check = |validator, seen: &[(bool, Option<Observation>)], stored: &[Option<u16>]| {
            let worker = |has_echo| AssignedWorker { has_echo, group: NetworkGroup::NONE };
            let assigned: Vec<_> = seen.iter().map(|(has_echo, seen)| (worker(*has_echo), *seen)).collect();
            check_report(&local(), &draw, &id(validator), &ScoreReport::new(Epoch::new(4), &assigned, stored))
        };
        let (echo, pings) = (Some(observation()), Some(Observation { pings_sent: 4, ..Observation::default() }));
        assert_eq!(check(1, &[(true, echo), (false, pings)], &[Some(2)]), Ok(()));
        assert_eq!(check(1, &[(true, None), (false, None)], &[None]), Ok(()));
        assert_eq!(check(3, &[], &[Some(0)]), Ok(()), "chunks, and no seats");
        assert_eq!(check(2, &[(true, echo), (true, echo)], &[]), Ok(()), "the second of these is worker 12");
        let length = Err(ReportError::Shape(ShapeError::Length));
        assert_eq!(check(1, &[(true, echo), (true, echo)], &[None]), length, "an echo in an epoch without");
        assert_eq!(check(1, &[(false, echo), (false, pings)], &[None]), length, "no echo in an epoch with");
        assert_eq!(check(3, &[(true, echo)], &[None]), length);
        assert_eq!(check(1, &[(true, echo), (false, pings), (false, pings)], &[None]), length, "one worker too many");
        assert_eq!((check(1, &[], &[None]), check(3, &[], &[]), check(3, &[], &[None; 9])), (length, length, length));
        assert_eq!(check(9, &[], &[]), Err(ReportError::NoReporter));
        let problem = ObservationError::Nothing;
        let nothing = Some(Observation::default());
        let refused = ReportError::Observation { worker: node(12), problem };
        assert_eq!(check(2, &[(true, echo), (true, nothing)], &[]), Err(refused));
        assert_eq!(check(1, &[(true, None), (false, None)], &[Some(3)]), Err(ReportError::Proved { worker: node(12) }));
    }
}
