//! What a validator measured: observations, the report of an epoch, the commitment to it, and its reveal.

use serde::{Deserialize, Serialize};

use crate::codec::{Wire, encode};
use crate::id::{Hash, NetworkId, NodeId, PublicKey, ValidatorId};
use crate::log_scale::LogScale;
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

/// What one validator measured of one worker in one epoch: [`Observation::BYTES`] bytes of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Pings sent.
    pub pings_sent: u8,
    /// Pings answered in time with a right signature.
    pub pings_answered: u8,
    /// Median round-trip time of the answered pings in microseconds; at least 1 if any was answered, else 0.
    pub rtt_us: LogScale,
    /// Echoes tried.
    pub echoes_sent: u8,
    /// Echoes whose whole stream came back right and in time.
    pub echoes_verified: u8,
    /// Bytes of the verified echoes.
    pub echo_bytes: LogScale,
    /// Throughput of the verified echoes in kbit/s, both ways through the worker counted once.
    pub echo_kbit_s: LogScale,
}

impl Observation {
    /// The length of an observation's encoding.
    pub const BYTES: usize = 10;

    /// Challenges passed: pings answered and echoes verified.
    pub const fn passed(&self) -> u64 {
        self.pings_answered as u64 + self.echoes_verified as u64
    }

    /// Challenges sent.
    pub const fn challenges(&self) -> u64 {
        self.pings_sent as u64 + self.echoes_sent as u64
    }
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
    observations: Vec<Observation>,
}

impl Wire for ScoreReport {
    /// Room for a report on as many workers as may be scored: there is none that does not fit.
    const MAX_BYTES: usize = 8 + (8 + Self::MAX_WORKERS / 8) + (8 + Self::MAX_WORKERS * Observation::BYTES);
}

impl ScoreReport {
    /// The most workers that are scored in an epoch, and so that a report is about.
    pub const MAX_WORKERS: usize = 10_000;

    /// A report on the assigned workers, in their order; `None` for one that was not measured.
    pub fn new(epoch: Epoch, assigned: &[Option<Observation>]) -> Self {
        let byte = |eight: &[Option<Observation>]| {
            let bits = eight.iter().rev().map(|observation| u8::from(observation.is_some()));
            bits.fold(0, |byte, bit| (byte << 1) | bit)
        };
        let measured = assigned.chunks(8).map(byte).collect();
        Self { epoch, measured, observations: assigned.iter().flatten().copied().collect() }
    }

    /// What was measured.
    pub fn observations(&self) -> &[Observation] {
        &self.observations
    }

    /// The observation of each of `n` assigned workers, in their order; `None` for one that was not measured. Nothing if this is no
    /// report on `n` workers.
    pub fn by_assignment(&self, n: usize) -> Option<impl Iterator<Item = Option<&Observation>>> {
        let is_set = move |i: usize| self.measured.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
        let is_complete = self.measured.len() == n.div_ceil(8) && !(n..n.next_multiple_of(8)).any(is_set);
        let n_measured: usize = self.measured.iter().map(|byte| byte.count_ones() as usize).sum();
        let mut observations = self.observations.iter();
        let next = move |i| is_set(i).then(|| observations.next()).flatten();
        (is_complete && n_measured == self.observations.len()).then(|| (0..n).map(next))
    }
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

    fn observation(pings_sent: u8) -> Observation {
        Observation { pings_sent, ..Observation::default() }
    }

    fn reveal(report: ScoreReport) -> Reveal {
        Reveal { report, salt: [1; 32] }
    }

    #[test]
    fn a_report_by_hand() {
        let mut assigned = [None; 11];
        assigned[0] = Some(observation(1));
        assigned[2] = Some(observation(2));
        assigned[9] = Some(observation(3));
        let report = ScoreReport::new(EPOCH, &assigned);
        assert_eq!(report.measured, [0b101, 0b10]);
        assert_eq!(encode(&report).len(), 8 + (8 + 2) + (8 + 3 * Observation::BYTES));
    }

    #[test]
    fn the_greatest_report_fits_its_limit_to_the_byte() {
        let all = vec![Some(observation(u8::MAX)); ScoreReport::MAX_WORKERS];
        assert_eq!(encode(&reveal(ScoreReport::new(EPOCH, &all))).len(), Reveal::MAX_BYTES);
        let more = [all, vec![Some(observation(1))]].concat();
        let bytes = encode(&reveal(ScoreReport::new(EPOCH, &more)));
        assert!(matches!(decode::<Reveal>(&bytes), Err(DecodeError::TooLong { .. })));
    }

    #[test]
    fn a_bitmap_that_is_no_assignments_is_noticed() {
        let report = ScoreReport::new(EPOCH, &[Some(observation(1)), None, Some(observation(2))]);
        let is_report_on = |report: &ScoreReport, n| report.by_assignment(n).is_some();
        assert!((3..=8).all(|n| is_report_on(&report, n)), "the bits tell no number below the next byte");
        assert!([0, 1, 2, 9, 16].into_iter().all(|n| !is_report_on(&report, n)));
        let spoiled = |change: fn(&mut ScoreReport)| {
            let mut report = report.clone();
            change(&mut report);
            report
        };
        let all = [
            spoiled(|report| report.measured[0] |= 0b1000),
            spoiled(|report| report.measured[0] ^= 1),
            spoiled(|report| report.measured.push(0)),
            spoiled(|report| report.measured.clear()),
            spoiled(|report| report.observations.truncate(1)),
            spoiled(|report| report.observations.push(observation(3))),
        ];
        assert!(all.iter().all(|report| !is_report_on(report, 3)), "{all:?}");
        assert!(is_report_on(&ScoreReport::new(EPOCH, &[]), 0));
    }

    proptest! {
        #[test]
        fn what_went_in_comes_out(assigned in prop::collection::vec(prop::option::of(any::<u8>().prop_map(observation)), 0..100)) {
            let report = ScoreReport::new(EPOCH, &assigned);
            let found: Vec<_> = report.by_assignment(assigned.len()).unwrap().map(Option::<&_>::copied).collect();
            prop_assert_eq!(found, assigned);
            let reveal = reveal(report);
            prop_assert_eq!(decode::<Reveal>(&encode(&reveal)).unwrap(), reveal);
        }
    }
}
