//! Which reports can be true: those that are about the validator's assignment, and claim nothing that could not have been measured.

use lucid_types::id::{NodeId, ValidatorId};
use lucid_types::log_scale::LogScale;
use lucid_types::policy::Policy;
use lucid_types::report::{Observation, ScoreReport};

use crate::aggregate::{PING_TIMEOUT_US, Weighted};
use crate::seats::{EpochDraw, ScoredWorker};

/// Throughput that is believed at most, in kbit/s: 2 Tbit/s.
pub const MAX_KBIT_S: u64 = 1 << 31;

/// Echoes that one validator may send one worker in an epoch of echo.
pub const ECHOES_PER_EPOCH: u8 = 1;

/// Why a report cannot be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Nobody asked this validator.
    #[error("its signer measures nothing in the epoch")]
    NoReporter,
    /// Its bitmap or its list is too long or too short, or they do not fit each other.
    #[error("it is not about the workers that are assigned to its signer")]
    Length,
    /// An observation that cannot be.
    #[error("on worker {worker}: {problem}")]
    Observation {
        /// The worker.
        worker: NodeId,
        /// What is impossible.
        problem: ObservationError,
    },
}

/// Why an observation cannot stand in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObservationError {
    /// It is an abstention, for which a report has a bit.
    #[error("nothing was sent")]
    Nothing,
    /// More pings or echoes than the policy assigns.
    #[error("more was sent than is assigned")]
    TooManyTasks,
    /// An echo in an epoch that is none of echo for the worker.
    #[error("an echo in an epoch without")]
    NoEchoEpoch,
    /// More passed than sent, or a throughput without echoes.
    #[error("more came back than was sent")]
    TooManyResults,
    /// Not the bytes that the verified echoes had.
    #[error("not the bytes of the echoes that came back")]
    EchoBytes,
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
    for (worker, (_, observation)) in weighted(draw, validator, report)? {
        check_observation(policy, worker.echo_bytes, observation)
            .map_err(|problem| ReportError::Observation { worker: worker.node, problem })?;
    }
    Ok(())
}

/// What the validator with this key measured, by worker, with its seats.
///
/// # Errors
/// When the report is not about the validator's assignment.
pub fn weighted<'a>(
    draw: &'a EpochDraw,
    validator: &ValidatorId,
    report: &'a ScoreReport,
) -> Result<impl Iterator<Item = (&'a ScoredWorker, Weighted<'a>)>, ReportError> {
    let assigned: Vec<_> = draw.assignment(validator).ok_or(ReportError::NoReporter)?.collect();
    let observations = report.by_assignment(assigned.len()).ok_or(ReportError::Length)?;
    let measured = assigned.into_iter().zip(observations);
    Ok(measured.filter_map(|((worker, seats), observation)| Some((worker, (seats, observation?)))))
}

/// Checks an observation against what is assigned; `echo_bytes` are those of an echo, if the epoch is one of echo for the worker.
///
/// # Errors
/// When it claims more than could have been measured.
pub fn check_observation(
    policy: &Policy,
    echo_bytes: Option<LogScale>,
    o: &Observation,
) -> Result<(), ObservationError> {
    if o.challenges() == 0 {
        return Err(ObservationError::Nothing);
    }
    if u32::from(o.pings_sent) > policy.pings || o.echoes_sent > ECHOES_PER_EPOCH {
        return Err(ObservationError::TooManyTasks);
    }
    if o.echoes_sent > 0 && echo_bytes.is_none() {
        return Err(ObservationError::NoEchoEpoch);
    }
    let (bytes, most_kbit_s) = match echo_bytes {
        Some(bytes) if o.echoes_verified > 0 => (bytes, MAX_KBIT_S),
        _ => (LogScale::ZERO, 0),
    };
    let results_fit = o.pings_answered <= o.pings_sent && o.echoes_verified <= o.echoes_sent;
    if !results_fit || o.echo_kbit_s.value() > most_kbit_s {
        return Err(ObservationError::TooManyResults);
    }
    if o.echo_bytes != bytes {
        return Err(ObservationError::EchoBytes);
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
    use lucid_types::time::Epoch;

    use super::*;
    use crate::seats::Seats;

    /// Of an echo.
    const BYTES: Option<LogScale> = Some(LogScale::encode(256 << 10));

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

    #[test]
    fn claims_beyond_the_tasks_are_refused() {
        let policy = Policy::local(Duration::from_secs(5), 2, None);
        check_observation(&policy, BYTES, &observation()).unwrap();
        let refuse = |change: &dyn Fn(&mut Observation), error: ObservationError| {
            let mut o = observation();
            change(&mut o);
            assert_eq!(check_observation(&policy, BYTES, &o), Err(error));
        };
        refuse(&|o| *o = Observation::default(), ObservationError::Nothing);
        refuse(&|o| o.pings_sent = 5, ObservationError::TooManyTasks);
        refuse(&|o| o.echoes_sent = 2, ObservationError::TooManyTasks);
        refuse(&|o| o.pings_answered = 5, ObservationError::TooManyResults);
        refuse(&|o| o.echo_bytes = LogScale::from_code(o.echo_bytes.code() + 1), ObservationError::EchoBytes);
        refuse(&|o| o.echo_bytes = LogScale::from_code(o.echo_bytes.code() - 1), ObservationError::EchoBytes);
        refuse(&|o| (o.echoes_verified, o.echo_kbit_s) = (0, LogScale::ZERO), ObservationError::EchoBytes);
        refuse(&|o| o.echoes_verified = 0, ObservationError::TooManyResults);
        refuse(
            &|o| o.echo_kbit_s = LogScale::from_code(LogScale::encode(MAX_KBIT_S).code() + 1),
            ObservationError::TooManyResults,
        );
        refuse(&|o| o.rtt_us = LogScale::ZERO, ObservationError::RoundTrip);
        refuse(&|o| o.pings_answered = 0, ObservationError::RoundTrip);
        refuse(&|o| o.rtt_us = LogScale::encode(PING_TIMEOUT_US + 1_000), ObservationError::RoundTrip);
        assert_eq!(check_observation(&policy, None, &observation()), Err(ObservationError::NoEchoEpoch));
        let pings = Observation { pings_sent: 1, ..Observation::default() };
        assert_eq!(check_observation(&policy, None, &pings), Ok(()));
    }

    #[test]
    fn a_report_is_about_its_signers_assignment_and_nothing_else() {
        let policy = Policy::local(Duration::from_secs(5), 2, None);
        let node = |byte| NodeId::from_bytes([byte; 32]);
        let id = |byte| ValidatorId::from_bytes([byte; 32]);
        let worker = |byte, has_echo: bool, reporters: &[u16]| {
            let seats = reporters.iter().map(|reporter| Seats { reporter: *reporter, count: 1 });
            let (pool, echo_bytes) = (PoolId::from_bytes([9; 32]), BYTES.filter(|_| has_echo));
            ScoredWorker { node: node(byte), pool, echo_bytes, seats: seats.collect() }
        };
        let scored = vec![worker(11, true, &[0, 1]), worker(12, true, &[1]), worker(13, false, &[0])];
        let draw = EpochDraw { seed: Hash::from_bytes([0; 32]), reporters: [1, 2, 3].map(id).into(), scored };
        let check = |validator, observations: &[Option<Observation>]| {
            check_report(&policy, &draw, &id(validator), &ScoreReport::new(Epoch::new(4), observations))
        };
        let (echo, pings) = (Some(observation()), Some(Observation { pings_sent: 4, ..Observation::default() }));
        assert_eq!(check(1, &[echo, pings]), Ok(()));
        assert_eq!(check(1, &[None, None]), Ok(()));
        assert_eq!(check(3, &[]), Ok(()), "no seats, nothing to say");
        let problem = ObservationError::NoEchoEpoch;
        assert_eq!(check(1, &[echo, echo]), Err(ReportError::Observation { worker: node(13), problem }));
        assert_eq!(check(2, &[echo, echo]), Ok(()), "the second of these is worker 12");
        assert_eq!(check(3, &[echo]), Err(ReportError::Length));
        assert_eq!(check(1, &[echo, pings, pings]), Err(ReportError::Length), "one worker too many");
        assert_eq!(check(1, &[]), Err(ReportError::Length));
        assert_eq!(check(9, &[]), Err(ReportError::NoReporter));
    }
}
