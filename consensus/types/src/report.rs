//! What a validator measured: observations, the report of an epoch, the commitment to it, and its reveal.

use serde::{Deserialize, Serialize};

use crate::amount::Ppm;
use crate::attestation::Capacity;
use crate::codec::{Wire, encode};
use crate::id::{Hash, NetworkId, NodeId};
use crate::signed::SignedRecord;
use crate::time::Epoch;

/// A validator's uptime beacon: a random nonce for a worker to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRequest {
    /// The epoch in which the beacon was sent.
    pub epoch: Epoch,
    /// Random; never used twice.
    pub nonce: [u8; 32],
}

impl Wire for ProbeRequest {
    const MAX_BYTES: usize = 40;
}

/// A worker's answer to one beacon of one validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReply {
    /// The validator that asked: an answer cannot be sold to another.
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
    const TAG: &'static str = "lucid/probe/1";
}

/// What one validator measured of one worker in one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The worker.
    pub worker: NodeId,
    /// Uptime beacons sent.
    pub beacons_sent: u32,
    /// Beacons answered in time with a right signature.
    pub beacons_answered: u32,
    /// Median round-trip time of the answered beacons in microseconds; at least 1 if any was answered, else 0.
    pub rtt_us: u32,
    /// Relay sessions tried.
    pub relays_sent: u32,
    /// Relay sessions whose whole stream came back right and in time.
    pub relays_verified: u32,
    /// Bytes of the verified sessions.
    pub relay_bytes: u64,
    /// Throughput of the verified sessions in kbit/s, both ways through the worker counted once.
    pub relay_kbit_s: u64,
    /// Storage chunks proved.
    pub chunks_proved: u32,
    /// Storage bytes proved.
    pub storage_bytes: u64,
    /// Hash of the worker's newest attestation seen in the epoch; `None` if none was seen.
    pub attestation: Option<Hash>,
    /// The capacity it attested.
    pub capacity: Capacity,
    /// The allocation it attested.
    pub allocation: Ppm,
}

impl Observation {
    /// Challenges passed: beacons answered and relays verified.
    pub const fn passed(&self) -> u64 {
        self.beacons_answered as u64 + self.relays_verified as u64
    }

    /// Challenges sent.
    pub const fn challenges(&self) -> u64 {
        self.beacons_sent as u64 + self.relays_sent as u64
    }
}

/// Everything one validator measured in one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreReport {
    /// The epoch.
    pub epoch: Epoch,
    /// One observation for each worker that was measured, in the order of the workers' ids.
    pub observations: Vec<Observation>,
}

impl ScoreReport {
    /// The report in place of one that is too large.
    pub const fn empty(epoch: Epoch) -> Self {
        Self { epoch, observations: Vec::new() }
    }
}

/// The salt that hides a report until it is revealed and feeds the random beacon afterwards.
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
    /// 2,000 observations of 190 bytes and the rest.
    const MAX_BYTES: usize = 512 << 10;
}

impl SignedRecord for Reveal {
    const TAG: &'static str = "lucid/report/1";
}

impl Reveal {
    /// The greatest length of a report's encoding.
    pub const MAX_REPORT_BYTES: usize = Self::MAX_BYTES - 32;

    /// The hash by which `validator` commits to this report.
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
    const TAG: &'static str = "lucid/report-commitment/1";
}
