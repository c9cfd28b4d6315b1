//! The parameters of a network. They are part of the genesis and so of the network id.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::amount::{MicroUsdt, Ppm};

/// Weights of the seven PoOT factors in parts per million; they sum to 10^6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreWeights {
    /// Reachable time in the history window.
    pub session_time: Ppm,
    /// Work credits in the credits window.
    pub work_credits: Ppm,
    /// Proved share of the declared resources.
    pub utilisation: Ppm,
    /// Measured bandwidth.
    pub bandwidth: Ppm,
    /// Reachable share of the credits window.
    pub uptime: Ppm,
    /// Probe success and round-trip time.
    pub quality: Ppm,
    /// Moving average of probes passed.
    pub trust: Ppm,
}

impl Default for ScoreWeights {
    fn default() -> Self {
        Self {
            session_time: Ppm::new(250_000),
            work_credits: Ppm::new(200_000),
            utilisation: Ppm::new(150_000),
            bandwidth: Ppm::new(100_000),
            uptime: Ppm::new(150_000),
            quality: Ppm::new(100_000),
            trust: Ppm::new(50_000),
        }
    }
}

impl ScoreWeights {
    /// The sum of all weights, which must be 10^6.
    pub fn sum(&self) -> u64 {
        let all = [
            self.session_time,
            self.work_credits,
            self.utilisation,
            self.bandwidth,
            self.uptime,
            self.quality,
            self.trust,
        ];
        all.iter().map(|weight| u64::from(weight.get())).sum()
    }
}

/// Every parameter of the protocol. [`Policy::default`] is the public mesh, [`Policy::local`] a local network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Length of an epoch in milliseconds, 2,000 to 300,000.
    pub epoch_ms: u64,
    /// Epochs a settlement covers.
    pub settle_every: u64,
    /// After this settlement none is computed.
    #[serde(default)]
    pub last_settlement: Option<u64>,
    /// Least milliseconds from one block to the next.
    pub block_min_ms: u64,
    /// The same while an epoch's windows are open: one proposer alone must not fill a window.
    pub window_block_min_ms: u64,
    /// How far the clocks of honest validators differ at most.
    pub precision_ms: u64,
    /// How long a proposal takes to arrive at most.
    pub message_delay_ms: u64,
    /// Blocks in which an epoch's report commitments may stand, and again as many for its reveals: 1 to 8.
    pub report_window: u64,
    /// How long a proposer waits at most for commitments and reveals that have not come.
    pub report_grace_ms: u64,
    /// Epochs over which credits and uptime are summed.
    pub credits_window: u64,
    /// Epochs over which session time is summed.
    pub history_window: u64,
    /// The least number of epochs that reachable time is divided by.
    pub min_denominator: u64,
    /// The least uptime of an eligible worker.
    pub min_uptime: Ppm,
    /// The greatest number of validators that measure one worker.
    pub committee_size: u32,
    /// Uptime beacons an epoch, from each validator to each worker.
    pub beacons: u32,
    /// Bytes of one relay task.
    pub relay_bytes: u64,
    /// A worker gets relay tasks in one epoch of this many.
    pub relay_every: u64,
    /// Bytes relayed that earn one credit.
    pub relay_bytes_per_credit: u64,
    /// Credits for a GiB of storage proved in a settlement.
    pub storage_credits_per_gib: u64,
    /// Credits for a storage chunk proved.
    pub storage_credits_per_chunk: u64,
    /// Weights of the score's factors.
    pub weights: ScoreWeights,
    /// Settlements a leader waits before it may lead again while others are eligible.
    pub leader_cooldown: u64,
    /// Successors elected beside the leader.
    pub leader_successors: u32,
    /// How long the next in line waits for progress on the vault's solidified view, in milliseconds.
    pub leader_timeout_ms: u64,
    /// An account is paid when its owed total crosses a multiple of this; 0: whenever it grows.
    pub payout_threshold: MicroUsdt,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            epoch_ms: 120_000,
            settle_every: 720,
            last_settlement: None,
            block_min_ms: 2_000,
            window_block_min_ms: 4_000,
            precision_ms: 500,
            message_delay_ms: 2_000,
            report_window: 5,
            report_grace_ms: 2_000,
            credits_window: 5_040,
            history_window: 720,
            min_denominator: 30,
            min_uptime: Ppm::new(200_000),
            committee_size: 21,
            beacons: 12,
            relay_bytes: 5 << 20,
            relay_every: 12,
            relay_bytes_per_credit: 5 << 20,
            storage_credits_per_gib: 10,
            storage_credits_per_chunk: 0,
            weights: ScoreWeights::default(),
            leader_cooldown: 3,
            leader_successors: 5,
            leader_timeout_ms: 180_000,
            payout_threshold: MicroUsdt::new(100_000_000),
        }
    }
}

impl Policy {
    /// A local network that computes no settlement after `last_settlement`.
    pub fn local(epoch: Duration, settle_every: u64, last_settlement: Option<u64>) -> Self {
        Self {
            epoch_ms: u64::try_from(epoch.as_millis()).unwrap_or(u64::MAX),
            settle_every,
            last_settlement,
            block_min_ms: 250,
            window_block_min_ms: 250,
            precision_ms: 100,
            message_delay_ms: 400,
            report_window: 1,
            report_grace_ms: 300,
            credits_window: 4,
            history_window: 4,
            min_denominator: 1,
            beacons: 4,
            relay_bytes: 256 << 10,
            relay_every: 1,
            leader_timeout_ms: 10_000,
            payout_threshold: MicroUsdt::new(1_000_000),
            ..Self::default()
        }
    }

    /// Length of an epoch.
    pub const fn epoch(&self) -> Duration {
        Duration::from_millis(self.epoch_ms)
    }

    /// Length of the grace for reports that have not come.
    pub const fn report_grace(&self) -> Duration {
        Duration::from_millis(self.report_grace_ms)
    }

    /// Checks every parameter against its bounds.
    ///
    /// # Errors
    /// Names the first parameter that is out of bounds, and the bounds.
    pub fn check(&self) -> Result<(), PolicyError> {
        let within = |key: &'static str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) { Ok(()) } else { Err(PolicyError::Range { key, value, low, high }) }
        };
        within("epoch_ms", self.epoch_ms, 2_000, 300_000)?;
        within("settle_every", self.settle_every, 1, 100_000)?;
        within("block_min_ms", self.block_min_ms, 50, 60_000)?;
        within("window_block_min_ms", self.window_block_min_ms, self.block_min_ms, 60_000)?;
        within("precision_ms", self.precision_ms, 10, 10_000)?;
        within("message_delay_ms", self.message_delay_ms, 10, 60_000)?;
        within("report_window", self.report_window, 1, 8)?;
        within("report_grace_ms", self.report_grace_ms, 0, 10_000)?;
        // Or hardly an epoch would be closed in time to measure the next.
        within(
            "window_block_min_ms + report_grace_ms",
            self.window_block_min_ms + self.report_grace_ms,
            0,
            self.epoch_ms / 2,
        )?;
        within("credits_window", self.credits_window, 1, 100_000)?;
        within("history_window", self.history_window, 1, 100_000)?;
        within("min_denominator", self.min_denominator, 1, self.credits_window)?;
        within("min_uptime", u64::from(self.min_uptime.get()), 0, 1_000_000)?;
        within("committee_size", u64::from(self.committee_size), 1, 1_000)?;
        within("beacons", u64::from(self.beacons), 1, 100)?;
        within("relay_bytes", self.relay_bytes, 1, 64 << 20)?;
        within("relay_every", self.relay_every, 1, 10_000)?;
        within("relay_bytes_per_credit", self.relay_bytes_per_credit, 1, 1 << 46)?;
        within("storage_credits_per_gib", self.storage_credits_per_gib, 0, 1_000_000)?;
        within("storage_credits_per_chunk", self.storage_credits_per_chunk, 0, 1_000_000)?;
        within("leader_cooldown", self.leader_cooldown, 0, 1_000)?;
        within("leader_successors", u64::from(self.leader_successors), 0, 100)?;
        within("leader_timeout_ms", self.leader_timeout_ms, 1_000, 3_600_000)?;
        within("payout_threshold", self.payout_threshold.get(), 0, 1 << 60)?;
        if self.weights.sum() != 1_000_000 {
            return Err(PolicyError::Weights(self.weights.sum()));
        }
        Ok(())
    }
}

/// A parameter out of bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A number outside its range.
    #[error("policy.{key} = {value} is outside {low}..={high}")]
    Range {
        /// The parameter.
        key: &'static str,
        /// Its value.
        value: u64,
        /// Least value.
        low: u64,
        /// Greatest value.
        high: u64,
    },
    /// The score's weights do not sum to the whole.
    #[error("policy.weights sum to {0}, they must sum to 1000000")]
    Weights(u64),
}
