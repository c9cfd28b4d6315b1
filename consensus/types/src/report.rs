//! What a validator measured: observations, the report of an epoch, the commitment to it, and its reveal.

use serde::{Deserialize, Serialize};

use crate::codec::{Wire, encode};
use crate::id::{Hash, NetworkId, NodeId, PublicKey, ValidatorId};
use crate::log_scale::LogScale;
use crate::network_group::NetworkGroup;
use crate::signed::SignedRecord;
use crate::time::Epoch;

/// A validator's ping: a random nonce for a worker to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRequest {
    /// The epoch in which the ping was sent.
    pub epoch: Epoch,
    /// Random; never used twice.
    pub nonce: [u8; 32],
}

impl Wire for ProbeRequest {
    const MAX_BYTES: usize = 40;
}

/// A worker's answer to one ping of one validator, signed with the worker's node key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReply {
    /// The account of the validator that asked: an answer cannot be sold to another.
    pub validator: NodeId,
    /// The epoch of the request.
    pub epoch: Epoch,
    /// The nonce of the request.
    pub nonce: [u8; 32],
}

impl Wire for ProbeReply {
    const MAX_BYTES: usize = 72;
}

impl SignedRecord for ProbeReply {
    type Signer = PublicKey;
    const TAG: &'static str = "lucid/probe/1";
}

/// What one validator measured of one worker by pings and an echo. A report holds it in sections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Pings sent.
    pub pings_sent: u8,
    /// Pings answered in time with a right signature.
    pub pings_answered: u8,
    /// Median round-trip time of the answered pings in microseconds; at least 1 if any was answered, else 0.
    pub rtt_us: LogScale,
    /// Throughput of the echo in kbit/s, both ways through the worker counted once; 0 if it failed, `None` if it was not sent.
    pub echo_kbit_s: Option<LogScale>,
    /// Where the worker was seen, if it answered: [`NetworkGroup::NONE`] if at no place that tells machines apart.
    pub group: Option<NetworkGroup>,
}

/// What the draw fixes of a worker that a report is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AssignedWorker {
    /// Whether it is given an echo.
    pub has_echo: bool,
    /// Where it was agreed to be last.
    pub group: NetworkGroup,
}

/// The pings of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PingRecord {
    sent: u8,
    answered: u8,
    rtt_us: LogScale,
}

/// A worker that was seen elsewhere than agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MovedRecord {
    /// Its place in the assignment.
    place: u16,
    group: NetworkGroup,
}

/// Everything one validator measured in one epoch. It names no worker: which ones it is about, and in which order, is the
/// validator's assignment in the epoch, which everyone knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreReport {
    /// The epoch.
    pub epoch: Epoch,
    /// One bit for each assigned worker, the lowest of a byte first: whether it was measured. The last byte's other bits are 0.
    measured: Vec<u8>,
    /// One for each worker that was measured.
    pings: Vec<PingRecord>,
    /// One for each worker that was measured and to which the draw gives an echo: [`Observation::echo_kbit_s`].
    echoes: Vec<Option<LogScale>>,
    /// The workers that were seen elsewhere than the draw says, by place. Of the others that answered none was.
    moved: Vec<MovedRecord>,
    /// One bit for each worker with whom the validator holds storage seats: whether it was challenged.
    challenged: Vec<u8>,
    /// One for each worker that was challenged: chunks proved for each storage seat.
    proved: Vec<u16>,
}

impl Wire for ScoreReport {
    /// Room for a report on as many workers as may be scored: there is none that does not fit.
    const MAX_BYTES: usize = 8
        + 2 * (8 + Self::MAX_WORKERS / 8)
        + (8 + Self::MAX_WORKERS * 4)
        + (8 + Self::MAX_WORKERS * 3)
        + (8 + Self::MAX_MOVED * 8)
        + (8 + Self::MAX_WORKERS * 2);
}

/// Why a report is none about an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A bitmap or a list is too long or too short, or they do not fit each other.
    #[error("it is not about the workers that are assigned to its signer")]
    Length,
    /// The workers that were seen elsewhere are too many, out of order, did not answer, or are where the draw says.
    #[error("it says that workers moved that did not, or too many")]
    Moved,
}

impl ScoreReport {
    /// The most workers that are scored in an epoch, and so that a report is about.
    pub const MAX_WORKERS: usize = 10_000;
    /// The most workers of which a report says that they were seen elsewhere.
    pub const MAX_MOVED: usize = 256;

    /// A report on the assigned workers and on those of whom chunks are held, each in their order; `None` for one that was not measured
    /// or not challenged. Of workers that moved the first by place are told, as many as a report may tell: the rest another epoch.
    ///
    /// An echo to a worker to which the draw gives none is left out, and so is the place of one that did not answer.
    pub fn new(epoch: Epoch, assigned: &[(AssignedWorker, Option<Observation>)], stored: &[Option<u16>]) -> Self {
        let measured = || assigned.iter().filter_map(|(worker, seen)| Some((worker, (*seen)?)));
        let pings = measured().map(|(_, it)| PingRecord {
            sent: it.pings_sent,
            answered: it.pings_answered,
            rtt_us: it.rtt_us,
        });
        let moved = (0..).zip(assigned).filter_map(|(place, (worker, seen))| {
            let seen = seen.filter(|it| it.pings_answered > 0)?;
            let group = seen.group.filter(|group| *group != worker.group)?;
            Some(MovedRecord { place, group })
        });
        Self {
            epoch,
            measured: bitmap(assigned.iter().map(|(_, seen)| seen.is_some())),
            pings: pings.collect(),
            echoes: measured().filter(|(worker, _)| worker.has_echo).map(|(_, it)| it.echo_kbit_s).collect(),
            moved: moved.take(most_moved(assigned.len())).collect(),
            challenged: bitmap(stored.iter().map(Option::is_some)),
            proved: stored.iter().flatten().copied().collect(),
        }
    }

    /// How many workers were measured.
    pub fn n_measured(&self) -> usize {
        self.pings.len()
    }

    /// The observation of each assigned worker, in their order; `None` for one that was not measured. One that answered and is not said
    /// to have moved was seen where the draw says.
    ///
    /// # Errors
    /// The report is none about these.
    pub fn observations(&self, assigned: &[AssignedWorker]) -> Result<Vec<Option<Observation>>, ShapeError> {
        let is_measured = bits(&self.measured, assigned.len(), self.pings.len()).ok_or(ShapeError::Length)?;
        if self.moved.len() > most_moved(assigned.len()) {
            return Err(ShapeError::Moved);
        }
        let (mut pings, mut echoes) = (self.pings.iter(), self.echoes.iter());
        let mut moved = self.moved.iter().peekable();
        let mut observations = Vec::with_capacity(assigned.len());
        for ((place, worker), is_measured) in (0..).zip(assigned).zip(is_measured) {
            let Some(PingRecord { sent, answered, rtt_us }) = is_measured.then(|| pings.next()).flatten() else {
                observations.push(None);
                continue;
            };
            let echo_kbit_s = match worker.has_echo {
                true => *echoes.next().ok_or(ShapeError::Length)?,
                false => None,
            };
            let seen = moved.next_if(|it| it.place == place && *answered > 0).map(|it| it.group);
            if seen.is_some_and(|group| group == worker.group || !group.is_canonical()) {
                return Err(ShapeError::Moved);
            }
            observations.push(Some(Observation {
                pings_sent: *sent,
                pings_answered: *answered,
                rtt_us: *rtt_us,
                echo_kbit_s,
                group: (*answered > 0).then(|| seen.unwrap_or(worker.group)),
            }));
        }
        match (echoes.next(), moved.next()) {
            (None, None) => Ok(observations),
            (Some(_), _) => Err(ShapeError::Length),
            // Beyond the last worker, before the one before it, or of one that did not answer.
            (None, Some(_)) => Err(ShapeError::Moved),
        }
    }

    /// Chunks proved for each storage seat by each of `n` workers of whom the validator holds such seats, in their order; `None` for one
    /// that was not challenged.
    ///
    /// # Errors
    /// The report is none about so many.
    pub fn proved(&self, n: usize) -> Result<impl Iterator<Item = Option<u16>>, ShapeError> {
        let is_challenged = bits(&self.challenged, n, self.proved.len()).ok_or(ShapeError::Length)?;
        let mut proved = self.proved.iter();
        Ok(is_challenged.map(move |is_challenged| is_challenged.then(|| proved.next()).flatten().copied()))
    }
}

/// How many of `n` workers a report may say to have moved: half of them, so that an epoch's reports keep their bound.
fn most_moved(n: usize) -> usize {
    n.div_ceil(2).min(ScoreReport::MAX_MOVED)
}

/// The lowest bit of a byte first.
fn bitmap(bits: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (i, bit) in bits.enumerate() {
        if i % 8 == 0 {
            bytes.push(0);
        }
        if let Some(byte) = bytes.last_mut() {
            *byte |= u8::from(bit) << (i % 8);
        }
    }
    bytes
}

/// The first `n` bits of a bitmap; `None` if it is not one of so many bits, of which `n_set` are set.
fn bits(bitmap: &[u8], n: usize, n_set: usize) -> Option<impl Iterator<Item = bool> + '_> {
    let bit = move |i: usize| bitmap.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
    let is_complete = bitmap.len() == n.div_ceil(8) && !(n..n.next_multiple_of(8)).any(bit);
    let found: usize = bitmap.iter().map(|byte| byte.count_ones() as usize).sum();
    (is_complete && found == n_set).then(|| (0..n).map(bit))
}

/// The salt that hides a report until it is revealed. It is used for nothing else: the random beacon does not read it.
pub type Salt = [u8; 32];

/// A report and its salt, published once no further commitment can count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reveal {
    /// The report.
    pub report: ScoreReport,
    /// The salt.
    pub salt: Salt,
}

impl Wire for Reveal {
    const MAX_BYTES: usize = ScoreReport::MAX_BYTES + 32;
}

impl SignedRecord for Reveal {
    type Signer = ValidatorId;
    const TAG: &'static str = "lucid/report/1";
}

impl Reveal {
    /// The hash by which the account `validator` commits to this report.
    pub fn commitment(&self, network: &NetworkId, validator: &NodeId) -> Hash {
        let epoch = self.report.epoch.get().to_le_bytes();
        let parts: [&[u8]; 5] = [network.as_bytes(), &epoch, validator.as_bytes(), &encode(&self.report), &self.salt];
        Hash::derive("lucid score report commitment 1", &parts)
    }
}

/// A validator's commitment to its report of an epoch, signed when the epoch is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportCommitment {
    /// The epoch.
    pub epoch: Epoch,
    /// [`Reveal::commitment`] of the report.
    pub report: Hash,
}

impl Wire for ReportCommitment {
    const MAX_BYTES: usize = 8 + 32;
}

impl SignedRecord for ReportCommitment {
    type Signer = ValidatorId;
    const TAG: &'static str = "lucid/report-commitment/1";
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{DecodeError, decode};

    const EPOCH: Epoch = Epoch::new(7);
    const HERE: NetworkGroup = NetworkGroup::from_bytes([0, 0, 9, 9, 9, 9]);
    const THERE: NetworkGroup = NetworkGroup::from_bytes([0x2a, 0, 0, 1, 0, 2]);
    const NO_ECHO: AssignedWorker = AssignedWorker { has_echo: false, group: HERE };
    const ECHO: AssignedWorker = AssignedWorker { has_echo: true, group: HERE };

    /// Answered by each of its pings.
    fn observation(pings: u8) -> Observation {
        let group = (pings > 0).then_some(HERE);
        Observation { pings_sent: pings, pings_answered: pings, group, ..Observation::default() }
    }

    fn reveal(report: ScoreReport) -> Reveal {
        Reveal { report, salt: [1; 32] }
    }

    #[test]
    fn a_report_by_hand() {
        let mut assigned = [(NO_ECHO, None); 11];
        assigned[0].1 = Some(observation(1));
        assigned[2] = (ECHO, Some(Observation { echo_kbit_s: Some(LogScale::encode(7)), ..observation(2) }));
        assigned[9] = (ECHO, Some(Observation { group: Some(THERE), ..observation(3) }));
        let report = ScoreReport::new(EPOCH, &assigned, &[None, Some(5), Some(0)]);
        assert_eq!((&report.measured[..], &report.challenged[..]), (&[0b101, 0b10][..], &[0b110][..]));
        assert_eq!(report.echoes, [Some(LogScale::encode(7)), None]);
        assert_eq!((report.moved.len(), report.moved[0].place, report.n_measured()), (1, 9, 3));
        let length = 8 + (8 + 2) + (8 + 3 * 4) + (8 + 3 + 1) + (8 + 8) + (8 + 1) + (8 + 2 * 2);
        assert_eq!(encode(&report).len(), length);
    }

    #[test]
    fn the_greatest_report_fits_its_limit_to_the_byte() {
        let seen = Observation { echo_kbit_s: Some(LogScale::ZERO), group: Some(THERE), ..observation(u8::MAX) };
        let n = ScoreReport::MAX_WORKERS;
        let report = |n| ScoreReport::new(EPOCH, &vec![(ECHO, Some(seen)); n], &vec![Some(u16::MAX); n]);
        assert_eq!(encode(&reveal(report(n))).len(), Reveal::MAX_BYTES);
        assert_eq!(ScoreReport::MAX_BYTES, 94_604);
        assert!(matches!(decode::<Reveal>(&encode(&reveal(report(n + 1)))), Err(DecodeError::TooLong { .. })));
    }

    #[test]
    fn a_report_on_others_is_noticed() {
        let seen = Observation { group: Some(THERE), ..observation(2) };
        let assigned = [(NO_ECHO, Some(observation(1))), (ECHO, None), (ECHO, Some(seen))];
        let report = ScoreReport::new(EPOCH, &assigned, &[Some(1), None, Some(2)]);
        let workers = assigned.map(|(worker, _)| worker);
        let of = |report: &ScoreReport| -> Result<(), ShapeError> {
            report.observations(&workers)?;
            report.proved(3).map(|_| ())
        };
        assert_eq!(of(&report), Ok(()));
        for n in [0, 1, 2, 9, 16] {
            assert_eq!(report.observations(&vec![ECHO; n]), Err(ShapeError::Length));
            assert!(report.proved(n).is_err());
        }
        assert_eq!(report.observations(&[ECHO; 3]), Err(ShapeError::Length), "an echo too few");
        assert_eq!(report.observations(&[NO_ECHO; 3]), Err(ShapeError::Length), "an echo too many");
        let elsewhere = [workers[0], workers[1], AssignedWorker { group: THERE, ..ECHO }];
        assert_eq!(report.observations(&elsewhere), Err(ShapeError::Moved), "it has not moved");
        let spoiled = |change: fn(&mut ScoreReport)| {
            let mut report = report.clone();
            change(&mut report);
            of(&report)
        };
        let shapes: [fn(&mut ScoreReport); 12] = [
            |report| report.measured[0] |= 0b1000,
            |report| report.measured[0] ^= 1,
            |report| report.measured.push(0),
            |report| report.measured.clear(),
            |report| report.pings.truncate(1),
            |report| report.pings.extend_from_within(..1),
            |report| report.echoes.clear(),
            |report| report.echoes.push(None),
            |report| report.challenged[0] ^= 1,
            |report| report.challenged.push(0),
            |report| report.proved.truncate(1),
            |report| report.proved.push(0),
        ];
        assert!(shapes.into_iter().all(|change| spoiled(change) == Err(ShapeError::Length)));
        let moves: [fn(&mut ScoreReport); 8] = [
            |report| report.moved[0].place = 3,
            |report| report.moved[0].place = 1,
            |report| report.moved[0].group = HERE,
            |report| report.moved[0].group = NetworkGroup::from_bytes([0, 0, 10, 0, 0, 1]),
            |report| report.pings[1].answered = 0,
            |report| report.moved.extend_from_within(..),
            |report| report.moved.push(MovedRecord { place: 0, group: THERE }),
            |report| report.moved = vec![MovedRecord { place: 0, group: THERE }; 3],
        ];
        assert!(moves.into_iter().all(|change| spoiled(change) == Err(ShapeError::Moved)));
        assert_eq!(ScoreReport::new(EPOCH, &[], &[]).observations(&[]), Ok(vec![]));
    }

    #[test]
    fn no_more_than_half_have_moved() {
        let seen = |n| vec![(NO_ECHO, Some(Observation { group: Some(THERE), ..observation(1) })); n];
        let told = |n: usize| ScoreReport::new(EPOCH, &seen(n), &[]).moved.len();
        assert_eq!([0, 1, 2, 3, 511, 512, 513, 10_000].map(told), [0, 1, 1, 2, 256, 256, 256, 256]);
    }

    /// As a report that was decoded has it.
    fn observations() -> impl Strategy<Value = (AssignedWorker, Option<Observation>)> {
        let counts = (any::<bool>(), prop::option::of((0u8..3, 0u8..3, any::<u16>())));
        let group = || prop::sample::select(vec![NetworkGroup::NONE, HERE, THERE]);
        let echo = prop::option::of(any::<u16>().prop_map(LogScale::from_code));
        (counts, group(), group(), echo).prop_map(|((has_echo, pings), agreed, seen, echo)| {
            let observation = pings.map(|(pings_sent, pings_answered, rtt)| Observation {
                pings_sent,
                pings_answered,
                rtt_us: LogScale::from_code(rtt),
                echo_kbit_s: echo.filter(|_| has_echo),
                group: (pings_answered > 0).then_some(seen),
            });
            (AssignedWorker { has_echo, group: agreed }, observation)
        })
    }

    proptest! {
        /// And what comes out is the report that went in: each has one form.
        #[test]
        fn what_went_in_comes_out(
            mut assigned in prop::collection::vec(observations(), 0..100),
            stored in prop::collection::vec(prop::option::of(any::<u16>()), 0..100),
        ) {
            // Of more than half the rest is told another time: it is where the draw says.
            let has_moved = |(worker, seen): &(AssignedWorker, Option<Observation>)| {
                seen.and_then(|it| it.group).is_some_and(|group| group != worker.group)
            };
            let most = most_moved(assigned.len());
            for (worker, seen) in assigned.iter_mut().filter(|it| has_moved(it)).skip(most) {
                seen.as_mut().unwrap().group = Some(worker.group);
            }
            let report = ScoreReport::new(EPOCH, &assigned, &stored);
            let (workers, seen): (Vec<_>, Vec<_>) = assigned.iter().copied().unzip();
            prop_assert_eq!(report.observations(&workers).unwrap(), seen);
            prop_assert_eq!(report.proved(stored.len()).unwrap().collect::<Vec<_>>(), stored);
            let reveal = reveal(report);
            prop_assert_eq!(decode::<Reveal>(&encode(&reveal)).unwrap(), reveal);
        }
    }
}
