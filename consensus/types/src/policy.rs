//! The parameters of a network. They are part of the genesis and so of the network id.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::amount::{MicroUsdt, Ppm};
use crate::pool::MAX_MEMBERS;
use crate::report::ScoreReport;
use crate::stamp::MAX_DIFFICULTY;
use crate::time::Epoch;
use crate::validator::ValidatorSet;

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

/// How a window of epochs is divided into buckets of equal length. A worker's row has one sum for each bucket, not for each epoch.
///
/// The bucket of epoch `e` is `e / epochs`, so the buckets of all workers begin at the same epochs. The window at an epoch is that epoch's
/// bucket, as far as it has come, and the `count - 1` before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// How many buckets the window has.
    pub count: u64,
    /// Epochs of a bucket.
    pub epochs: u64,
}

impl Buckets {
    /// The most buckets of a credits window.
    pub const MAX_CREDITS: usize = 84;
    /// The most buckets of a history window.
    pub const MAX_HISTORY: usize = 24;
    /// The most epochs of a window.
    pub const MAX_WINDOW: u64 = 100_000;

    /// `window` epochs in `most` buckets; a window of fewer epochs has a bucket for each.
    const fn new(window: u64, most: usize) -> Self {
        let most = most as u64;
        let count = if window == 0 {
            1
        } else if window < most {
            window
        } else {
            most
        };
        let epochs = window / count;
        Self { count, epochs: if epochs == 0 { 1 } else { epochs } }
    }

    /// The bucket of an epoch.
    pub const fn of(&self, epoch: Epoch) -> u64 {
        epoch.get() / self.epochs
    }

    /// How many buckets lie between those of two epochs; 0 if the second is earlier.
    pub const fn between(&self, from: Epoch, to: Epoch) -> u64 {
        self.of(to).saturating_sub(self.of(from))
    }
}

/// The greatest length of an epoch in milliseconds.
const MAX_EPOCH_MS: u64 = 300_000;

/// What a bucket's numbers are made for: its milliseconds fit a `u32` and its epochs a `u16`, whatever the policy. A history window has the
/// fewest buckets, so the longest.
const _: () = {
    let epochs = Buckets::MAX_WINDOW / Buckets::MAX_HISTORY as u64;
    assert!(Buckets::MAX_HISTORY <= Buckets::MAX_CREDITS, "a bucket of credits is no longer than one of history");
    assert!(epochs * MAX_EPOCH_MS <= u32::MAX as u64, "the milliseconds of a bucket fit a u32");
    assert!(epochs <= u16::MAX as u64, "the epochs of a bucket fit a u16");
};

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
    /// Nodes keep the states after blocks whose heights are multiples of this for those who join: the newest two.
    pub snapshot_blocks: u64,
    /// Blocks older than this may be missing: only archives keep them.
    pub keep_blocks_ms: u64,
    /// How long a validator listens for another machine with its key before its first signature.
    pub doppelganger_ms: u64,
    /// Blocks in which an epoch's report commitments may stand, and again as many for its reveals: 1 to 8.
    pub report_window: u64,
    /// How long a proposer waits at most for commitments and reveals that have not come.
    pub report_grace_ms: u64,
    /// Epochs over which credits and uptime are summed: at most 84, or a multiple of 84. See [`Policy::credits_buckets`].
    pub credits_window: u64,
    /// Epochs over which session time is summed: at most 24, or a multiple of 24. See [`Policy::history_buckets`].
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
    /// The least bits of a [stamp](crate::stamp), with which a node enters the network or a pool: 0 to 40.
    pub stamp_bits: u8,
    /// As many entries by stamp between two blocks that close epochs do not make the next stamps harder.
    pub free_joins: u32,
    /// Members with whom a forming pool can become active: 1 to [`MAX_MEMBERS`].
    pub min_pool_members: u32,
    /// A member that validators have found unreachable in so many of its epochs, and reachable in none since the first of them, becomes
    /// inactive: 1 to 100,000. After four times as many epochs it is no member any more.
    pub inactive_after: u32,
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
            snapshot_blocks: 100,
            keep_blocks_ms: 7 * 86_400_000,
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
            stamp_bits: 24,
            free_joins: 16,
            min_pool_members: 3,
            inactive_after: 5_040,
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
            snapshot_blocks: 20,
            keep_blocks_ms: 86_400_000,
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
            stamp_bits: 8,
            free_joins: 1_000,
            min_pool_members: 1,
            inactive_after: 60,
            ..Self::default()
        }
    }

    /// What the draw of one epoch takes at most in the codec, with 1,000 validators.
    pub const MAX_EPOCH_DRAW_BYTES: usize = 768 << 10;

    /// How the credits window is divided.
    pub const fn credits_buckets(&self) -> Buckets {
        Buckets::new(self.credits_window, Buckets::MAX_CREDITS)
    }

    /// How the history window is divided.
    pub const fn history_buckets(&self) -> Buckets {
        Buckets::new(self.history_window, Buckets::MAX_HISTORY)
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
        let window = |key: &'static str, epochs: u64, most: usize| {
            let most = most as u64;
            within(key, epochs, 1, Buckets::MAX_WINDOW)?;
            let is_divided = epochs <= most || epochs.is_multiple_of(most);
            if is_divided { Ok(()) } else { Err(PolicyError::Window { key, epochs, most }) }
        };
        within("epoch_ms", self.epoch_ms, 2_000, MAX_EPOCH_MS)?;
        within("settle_every", self.settle_every, 1, 100_000)?;
        within("block_min_ms", self.block_min_ms, 50, 60_000)?;
        within("window_block_min_ms", self.window_block_min_ms, self.block_min_ms, 60_000)?;
        within("precision_ms", self.precision_ms, 10, 10_000)?;
        within("message_delay_ms", self.message_delay_ms, 10, 60_000)?;
        within("evidence_blocks", self.evidence_blocks, 1, 1_000_000)?;
        within("snapshot_blocks", self.snapshot_blocks, 1, 1_000_000)?;
        within("keep_blocks_ms", self.keep_blocks_ms, 60_000, u64::MAX)?;
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
        window("credits_window", self.credits_window, Buckets::MAX_CREDITS)?;
        window("history_window", self.history_window, Buckets::MAX_HISTORY)?;
        within("min_denominator", self.min_denominator, 1, self.credits_window)?;
        within("min_uptime", u64::from(self.min_uptime.get()), 0, 1_000_000)?;
        within("max_scored", u64::from(self.max_scored), 1, ScoreReport::MAX_WORKERS as u64)?;
        within("seats", u64::from(self.seats), 1, 100)?;
        // A draw is its scored workers, of 75 bytes with a validator of 3 bytes for each seat, its seed and two lengths, and ids of validators.
        let scored = u64::from(self.max_scored) * (75 + 3 * u64::from(self.seats));
        let most = Self::MAX_EPOCH_DRAW_BYTES - (32 + 2 * 8 + 32 * ValidatorSet::MAX_MEMBERS);
        within("max_scored * (75 + 3 * seats)", scored, 0, most as u64)?;
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
        // The credits of a bucket fit a `u32`. An epoch has one echo at most, so no credits but those of its bytes.
        let credits = self.credits_buckets().epochs * self.echo_max_bytes.div_ceil(self.echo_bytes_per_credit);
        within(
            "ceil(credits_window / 84) * ceil(echo_max_bytes / echo_bytes_per_credit)",
            credits,
            0,
            u64::from(u32::MAX),
        )?;
        within("storage_credits_per_gib", self.storage_credits_per_gib, 0, 1_000_000)?;
        within("storage_credits_per_chunk", self.storage_credits_per_chunk, 0, 1_000_000)?;
        within("leader_cooldown", self.leader_cooldown, 0, 1_000)?;
        within("leader_successors", u64::from(self.leader_successors), 0, 100)?;
        within("leader_timeout_ms", self.leader_timeout_ms, 1_000, 3_600_000)?;
        within("payout_threshold", self.payout_threshold.get(), 0, 1 << 60)?;
        within("stamp_bits", u64::from(self.stamp_bits), 0, u64::from(MAX_DIFFICULTY))?;
        within("free_joins", u64::from(self.free_joins), 0, 1_000_000)?;
        within("min_pool_members", u64::from(self.min_pool_members), 1, MAX_MEMBERS as u64)?;
        within("inactive_after", self.inactive_after.into(), 1, Buckets::MAX_WINDOW)?;
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
    /// A window that buckets of equal length do not make.
    #[error("policy.{key} = {epochs} is neither at most {most} nor a multiple of {most}")]
    Window {
        /// The parameter.
        key: &'static str,
        /// Its epochs.
        epochs: u64,
        /// The most buckets of the window.
        most: u64,
    },
    /// The score's weights do not sum to the whole.
    #[error("policy.weights sum to {0}, they must sum to 1000000")]
    Weights(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Policy {
        Policy::local(Duration::from_secs(5), 2, None)
    }

    #[test]
    fn windows_of_the_public_mesh_and_of_a_local_one() {
        let policy = Policy::default();
        assert_eq!(policy.credits_buckets(), Buckets { count: 84, epochs: 60 });
        assert_eq!(policy.history_buckets(), Buckets { count: 24, epochs: 30 });
        assert_eq!(local().credits_buckets(), Buckets { count: 4, epochs: 1 });
        assert_eq!((policy.check(), local().check()), (Ok(()), Ok(())));
        let of = |epoch| policy.credits_buckets().of(Epoch::new(epoch));
        assert_eq!([of(0), of(59), of(60), of(119), of(120)], [0, 0, 1, 1, 2]);
    }

    #[test]
    fn only_windows_of_equal_buckets_are_possible() {
        let is_possible = |credits_window, history_window| {
            let policy = Policy { credits_window, history_window, min_denominator: 1, ..Policy::default() };
            policy.check().is_ok()
        };
        for (window, buckets) in [(1, 1), (83, 83), (84, 84), (168, 84), (99_960, 84)] {
            assert!(is_possible(window, 24), "{window}");
            let policy = Policy { credits_window: window, ..Policy::default() };
            let Buckets { count, epochs } = policy.credits_buckets();
            assert_eq!((count, count * epochs), (buckets, window));
        }
        assert!([0, 85, 100, 167, 99_999, 100_044].into_iter().all(|window| !is_possible(window, 24)));
        assert!([1, 23, 24, 48, 720, 99_984].into_iter().all(|window| is_possible(84, window)));
        assert!([0, 25, 36, 721, 100_008].into_iter().all(|window| !is_possible(84, window)));
        let error = Policy { credits_window: 5_000, ..Policy::default() }.check();
        let told = error.map_err(|error| error.to_string());
        assert_eq!(told, Err("policy.credits_window = 5000 is neither at most 84 nor a multiple of 84".into()));
    }

    /// Unchecked policies have buckets, too: nothing divides by zero.
    #[test]
    fn a_window_of_nothing_has_one_bucket() {
        let policy = Policy { credits_window: 0, history_window: 0, ..Policy::default() };
        assert_eq!(policy.credits_buckets(), Buckets { count: 1, epochs: 1 });
        assert_eq!(policy.history_buckets(), Buckets { count: 1, epochs: 1 });
    }

    #[test]
    fn the_credits_of_a_bucket_are_bounded() {
        let policy = |credits_window, echo_bytes_per_credit| Policy {
            credits_window,
            echo_bytes_per_credit,
            echo_max_bytes: 64 << 20,
            ..Policy::default()
        };
        // 2^26 bytes: 63 * 2^26 is below 2^32, 64 * 2^26 is not.
        assert_eq!(policy(84 * 63, 1).check(), Ok(()));
        assert!(matches!(policy(84 * 64, 1).check(), Err(PolicyError::Range { value: 0x1_0000_0000, .. })));
        assert_eq!(policy(84 * 64, 2).check(), Ok(()));
    }

    #[test]
    fn an_epochs_draw_is_bounded() {
        let policy = |max_scored, seats| Policy { max_scored, seats, report_window: 1, ..Policy::default() };
        // 768 KiB but for 1,000 validators: 754,384 bytes, and 138 for a worker of 21 seats.
        assert_eq!(policy(5_466, 21).check(), Ok(()));
        assert!(matches!(policy(5_467, 21).check(), Err(PolicyError::Range { value: 754_446, high: 754_384, .. })));
        assert!(policy(2_011, 100).check().is_ok() && policy(2_012, 100).check().is_err());
    }
}
