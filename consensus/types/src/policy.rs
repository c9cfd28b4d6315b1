//! The parameters of a network. They are part of the genesis and so of the network id.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::amount::{MicroUsdt, Ppm};
use crate::report::ScoreReport;

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
    /// How many blocks back evidence of equivocation may reach.
    pub evidence_blocks: u64,
    /// How long a validator listens for another machine with its key before its first signature.
    pub doppelganger_ms: u64,
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
    /// The most workers that are scored in an epoch; of more, so many are drawn.
    pub max_scored: u32,
    /// Seats of every scored worker, drawn among the validators: who measures it, and with what weight.
    pub seats: u32,
    /// A worker is measured only if the validators that may measure it are run by so many operators.
    pub min_seat_operators: u32,
    /// The same if they hold more than this part of all power.
    pub min_seat_power: Ppm,
    /// The fewest validators whose reports on a worker count.
    pub min_reporters: u32,
    /// Pings an epoch, from each validator to each worker that it measures: 1 to 100.
    pub pings: u32,
    /// One epoch of this many is one of echo, drawn for each pool.
    pub echo_every: u64,
    /// How long an echo should keep a worker busy: its bytes follow from the worker's last agreed throughput.
    pub echo_ms: u64,
    /// The fewest bytes of an echo.
    pub echo_min_bytes: u64,
    /// The most bytes of an echo.
    pub echo_max_bytes: u64,
    /// Bytes of echoes that a validator sends in an epoch at most: the draw gives no more echoes than that.
    pub echo_epoch_bytes: u64,
    /// Bytes of echo that earn one credit.
    pub echo_bytes_per_credit: u64,
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
            evidence_blocks: 50_000,
            doppelganger_ms: 10_000,
            report_window: 5,
            report_grace_ms: 2_000,
            credits_window: 5_040,
            history_window: 720,
            min_denominator: 30,
            min_uptime: Ppm::new(200_000),
            max_scored: 2_000,
            seats: 21,
            min_seat_operators: 4,
            min_seat_power: Ppm::new(500_000),
            min_reporters: 3,
            pings: 12,
            echo_every: 12,
            echo_ms: 250,
            echo_min_bytes: 256 << 10,
            echo_max_bytes: 16 << 20,
            echo_epoch_bytes: 1 << 30,
            echo_bytes_per_credit: 5 << 20,
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
    /// A local network of four validators that computes no settlement after `last_settlement`. One of another number should have
    /// as many seats.
    pub fn local(epoch: Duration, settle_every: u64, last_settlement: Option<u64>) -> Self {
        Self {
            epoch_ms: u64::try_from(epoch.as_millis()).unwrap_or(u64::MAX),
            settle_every,
            last_settlement,
            block_min_ms: 250,
            window_block_min_ms: 250,
            precision_ms: 100,
            message_delay_ms: 400,
            doppelganger_ms: 1_000,
            report_window: 1,
            report_grace_ms: 300,
            credits_window: 4,
            history_window: 4,
            min_denominator: 1,
            seats: 4,
            min_seat_operators: 1,
            min_seat_power: Ppm::ZERO,
            min_reporters: 1,
            pings: 4,
            echo_every: 1,
            echo_max_bytes: 1 << 20,
            leader_timeout_ms: 10_000,
            payout_threshold: MicroUsdt::new(1_000_000),
            ..Self::default()
        }
    }

    /// What the draws of open and pending epochs take in the state at most, but for the list of validators.
    pub const MAX_DRAW_BYTES: u64 = 4 << 20;

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
        within("evidence_blocks", self.evidence_blocks, 1, 1_000_000)?;
        within("doppelganger_ms", self.doppelganger_ms, 0, 60_000)?;
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
        within("max_scored", u64::from(self.max_scored), 1, ScoreReport::MAX_WORKERS as u64)?;
        within("seats", u64::from(self.seats), 1, 100)?;
        // Draws stand in the state: of the open epoch and, at worst, of one for each block of a window. Their greatest part are scored workers of
        // 43 bytes with a validator of 3 bytes for each seat.
        let draws = (2 * self.report_window + 1) * u64::from(self.max_scored) * (43 + 3 * u64::from(self.seats));
        within("(2 * report_window + 1) * max_scored * (43 + 3 * seats)", draws, 0, Self::MAX_DRAW_BYTES)?;
        within("min_seat_operators", u64::from(self.min_seat_operators), 1, 100)?;
        within("min_seat_power", u64::from(self.min_seat_power.get()), 0, 999_999)?;
        within("min_reporters", u64::from(self.min_reporters), 1, u64::from(self.seats))?;
        within("pings", u64::from(self.pings), 1, 100)?;
        within("echo_every", self.echo_every, 1, 10_000)?;
        within("echo_ms", self.echo_ms, 1, 10_000)?;
        within("echo_min_bytes", self.echo_min_bytes, 1, 64 << 20)?;
        within("echo_max_bytes", self.echo_max_bytes, self.echo_min_bytes, 64 << 20)?;
        within("echo_epoch_bytes", self.echo_epoch_bytes, self.echo_max_bytes, 1 << 40)?;
        within("echo_bytes_per_credit", self.echo_bytes_per_credit, 1, 1 << 46)?;
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
