//! The parameters of a network. Those of the genesis are part of the network id; validators [change](crate::change::PolicyChange) most
//! of them while it runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::amount::{MicroUsdt, Ppm};
use crate::codec::{Wire, encode};
use crate::id::Hash;
use crate::pool::MAX_MEMBERS;
use crate::report::ScoreReport;
use crate::stamp::MAX_DIFFICULTY;
use crate::time::Epoch;
use crate::validator::ValidatorSet;

pub use self::buckets::Buckets;
pub use self::fixed::FixedPolicy;

mod buckets;
mod fixed;

/// The greatest length of an epoch in milliseconds.
const MAX_EPOCH_MS: u64 = 300_000;

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
    /// All of them.
    pub const fn all(&self) -> [Ppm; 7] {
        let Self { session_time, work_credits, utilisation, bandwidth, uptime, quality, trust } = *self;
        [session_time, work_credits, utilisation, bandwidth, uptime, quality, trust]
    }

    /// The sum of all weights, which must be 10^6.
    pub fn sum(&self) -> u64 {
        self.all().iter().map(|weight| u64::from(weight.get())).sum()
    }
}

/// Every parameter of the protocol. [`Policy::default`] is the public mesh, [`Policy::local`] a local network.
///
/// For ever the genesis' are those of [`FixedPolicy`], with their reasons: stored rows, the engine, or both sides of a connection between
/// nodes that have seen different blocks depend on them. Validators can change
///
/// - who is drawn and measured: `max_scored`, `min_seat_operators`, `min_seat_power`, `min_reporters`, `pings`, `one_per_network`;
/// - echoes: `echo_every`, `echo_ms`, `echo_min_bytes`, `echo_max_bytes`, `echo_epoch_bytes`, `echo_bytes_per_credit`;
/// - storage: `storage_credits_per_gib`, `storage_credits_per_chunk`, `storage_max_bytes`, `storage_floor_bytes`, `storage_epoch_bytes`;
/// - scores: `weights`, `full_session_s`, `full_credits`, `full_kbit_s`, `min_denominator`, `min_uptime`;
/// - payouts: `validation_ppm`, `max_forfeits`, `leader_cooldown`, `leader_successors`, `leader_timeout_ms`, `payout_threshold`;
/// - entry and pools: `stamp_bits`, `free_joins`, `min_pool_members`, `inactive_after`.
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
    /// One epoch of this many is one of echo, drawn for each network group, and for each pool whose workers have none.
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
    /// Settlements for which a worker's storage committee holds its chunks: 1 to 100.
    pub storage_term: u64,
    /// The most storage that a worker can prove, in bytes; what it declares beyond is not asked for.
    pub storage_max_bytes: u64,
    /// What a worker must prove for its resource utilisation to be whole, however little it declares, in bytes.
    pub storage_floor_bytes: u64,
    /// Ranges of chunks that a storage challenge asks for.
    pub storage_ranges: u32,
    /// Bytes of each of them.
    pub storage_range_bytes: u32,
    /// Bytes of chunks that a validator deposits in an epoch at most.
    pub storage_epoch_bytes: u64,
    /// Whether workers that are seen in one [network group](crate::network_group::NetworkGroup) share one worker's credits.
    pub one_per_network: bool,
    /// Reachable seconds in the history window that are full marks for session time.
    pub full_session_s: u64,
    /// Credits in the credits window that are full marks for work credits.
    pub full_credits: u64,
    /// Throughput that is full marks for network bandwidth, in kbit/s.
    pub full_kbit_s: u64,
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
    /// The part of what a pool shares out in a settlement, less fee, that goes to the validators of its workers.
    pub validation_ppm: Ppm,
    /// A validator that fails at more than this part of its duties in a settlement is paid nothing for validating in it.
    pub max_forfeits: Ppm,
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

impl Wire for Policy {
    const MAX_BYTES: usize = 512;
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
            storage_term: 7,
            storage_max_bytes: 32 << 30,
            storage_floor_bytes: 1 << 30,
            storage_ranges: 8,
            storage_range_bytes: 1_024,
            storage_epoch_bytes: 256 << 20,
            one_per_network: true,
            full_session_s: 36_000,
            full_credits: 10_000,
            full_kbit_s: 1_000_000,
            weights: ScoreWeights::default(),
            leader_cooldown: 3,
            leader_successors: 5,
            leader_timeout_ms: 180_000,
            payout_threshold: MicroUsdt::new(100_000_000),
            validation_ppm: Ppm::new(50_000),
            max_forfeits: Ppm::new(50_000),
            stamp_bits: 24,
            free_joins: 16,
            min_pool_members: 3,
            inactive_after: 5_040,
        }
    }
}

impl Policy {
    /// A local network of four validators that computes no settlement after `last_settlement`. One of another number should have
    /// as many seats: see [`Self::local_with_seats`].
    pub fn local(epoch: Duration, settle_every: u64, last_settlement: Option<u64>) -> Self {
        let epoch_ms = u64::try_from(epoch.as_millis()).unwrap_or(u64::MAX);
        Self {
            epoch_ms,
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
            storage_max_bytes: 8 << 20,
            storage_floor_bytes: 4 << 20,
            storage_epoch_bytes: 64 << 20,
            one_per_network: false,
            // The same part of the window as ten hours are of a day.
            full_session_s: (epoch_ms.saturating_mul(4 * 5) / 12_000).max(1),
            // A session with each of four seats in every epoch.
            full_credits: 4 * 4,
            leader_timeout_ms: 10_000,
            payout_threshold: MicroUsdt::new(1_000_000),
            validation_ppm: Ppm::ZERO,
            stamp_bits: 8,
            free_joins: 1_000,
            min_pool_members: 1,
            inactive_after: 60,
            ..Self::default()
        }
    }

    /// The same with so many seats: as many as there are validators, so that each measures every worker.
    #[must_use]
    pub const fn local_with_seats(self, seats: u32) -> Self {
        Self { seats, full_credits: seats as u64 * self.credits_window, ..self }
    }

    /// What the draw of one epoch takes at most in the codec, with 1,000 validators.
    pub const MAX_EPOCH_DRAW_BYTES: usize = 768 << 10;
    /// What the draws of all epochs take together that are in the state at a time.
    pub const MAX_DRAWS_BYTES: u64 = 8 << 20;
    /// The length of a storage chunk.
    pub const CHUNK_BYTES: u64 = 1 << 20;

    /// The settlement that covers an epoch.
    pub const fn settlement_of(&self, epoch: Epoch) -> u64 {
        self.fixed().settlement_of(epoch)
    }

    /// By what a change names the policy that it starts from: BLAKE3 in derive-key mode with the context `lucid policy 1` over its bytes.
    pub fn hash(&self) -> Hash {
        Hash::derive("lucid policy 1", &[&encode(self)])
    }

    /// Chunks that one storage seat may hold deposited with a worker that declares so much disk: of half of it, since those of the next
    /// term are deposited while the former ones are still proved.
    pub fn storage_quota(&self, disk_bytes: u64) -> u16 {
        u16::try_from(self.seat_chunks((disk_bytes / 2).min(self.storage_max_bytes))).unwrap_or(u16::MAX)
    }

    /// Chunks that a storage seat must find proved for resource utilisation to be whole, however little is declared.
    pub fn storage_floor(&self) -> u16 {
        let seat_bytes = u64::from(self.seats.max(1)).saturating_mul(Self::CHUNK_BYTES);
        u16::try_from(self.storage_floor_bytes.div_ceil(seat_bytes)).unwrap_or(u16::MAX)
    }

    /// Chunks of all storage seats together, of each of which there are so many.
    pub const fn chunks_of_all(&self, of_each: u16) -> u32 {
        self.seats.saturating_mul(of_each as u32)
    }

    /// Whole chunks of one seat in so many bytes.
    const fn seat_chunks(&self, bytes: u64) -> u64 {
        let seats = if self.seats == 0 { 1 } else { self.seats as u64 };
        bytes / seats.saturating_mul(Self::CHUNK_BYTES)
    }

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
        self.fixed().epoch()
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
        // A draw is its scored workers, of 93 bytes with a validator of 3 bytes for each seat, twice, its seed and two lengths, and ids of
        // validators.
        let scored = u64::from(self.max_scored) * (93 + 6 * u64::from(self.seats));
        let others = 32 + 2 * 8 + 32 * ValidatorSet::MAX_MEMBERS;
        within("max_scored * (93 + 6 * seats)", scored, 0, (Self::MAX_EPOCH_DRAW_BYTES - others) as u64)?;
        // Those of the open epoch and of all whose windows are open.
        let draws = (2 * self.report_window + 1) * (scored + others as u64);
        within("(2 * report_window + 1) * (max_scored * (93 + 6 * seats) + 32048)", draws, 0, Self::MAX_DRAWS_BYTES)?;
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
        within("storage_term", self.storage_term, 1, 100)?;
        within("storage_max_bytes", self.storage_max_bytes, 0, 1 << 40)?;
        let quota = self.seat_chunks(self.storage_max_bytes);
        within("storage_max_bytes / (seats * 2^20)", quota, 0, u16::MAX.into())?;
        within("storage_floor_bytes", self.storage_floor_bytes, 0, 1 << 40)?;
        within("storage_ranges", u64::from(self.storage_ranges), 1, 64)?;
        within("storage_range_bytes", u64::from(self.storage_range_bytes), 64, 16_384)?;
        let asked = u64::from(self.storage_ranges) * u64::from(self.storage_range_bytes);
        within("storage_ranges * storage_range_bytes", asked, 0, 64 << 10)?;
        within("storage_epoch_bytes", self.storage_epoch_bytes, Self::CHUNK_BYTES, 1 << 40)?;
        within("credits of a bucket", self.bucket_credits(quota), 0, u32::MAX.into())?;
        within("full_session_s", self.full_session_s, 1, 1 << 32)?;
        within("full_credits", self.full_credits, 1, 1 << 40)?;
        within("full_kbit_s", self.full_kbit_s, 1, 1 << 31)?;
        within("leader_cooldown", self.leader_cooldown, 0, 1_000)?;
        within("leader_successors", u64::from(self.leader_successors), 0, 100)?;
        within("leader_timeout_ms", self.leader_timeout_ms, 1_000, 3_600_000)?;
        within("payout_threshold", self.payout_threshold.get(), 0, 1 << 60)?;
        within("validation_ppm", self.validation_ppm.get().into(), 0, 1_000_000)?;
        within("max_forfeits", self.max_forfeits.get().into(), 0, 1_000_000)?;
        within("stamp_bits", u64::from(self.stamp_bits), 0, u64::from(MAX_DIFFICULTY))?;
        within("free_joins", u64::from(self.free_joins), 0, 1_000_000)?;
        within("min_pool_members", u64::from(self.min_pool_members), 1, MAX_MEMBERS as u64)?;
        within("inactive_after", self.inactive_after.into(), 1, Buckets::MAX_WINDOW)?;
        if self.weights.sum() != 1_000_000 {
            return Err(PolicyError::Weights(self.weights.sum()));
        }
        Ok(())
    }

    /// The most credits that a worker can earn in a bucket of the credits window, in which every epoch is one of echo and each seat finds
    /// `quota` chunks proved.
    const fn bucket_credits(&self, quota: u64) -> u64 {
        let seats = self.seats as u64;
        let echoed = (seats * self.echo_max_bytes).div_ceil(self.echo_bytes_per_credit);
        let chunks = seats * quota;
        let stored = chunks * self.storage_credits_per_gib / 1_024 + chunks * self.storage_credits_per_chunk;
        let epoch = if echoed > seats { echoed } else { seats } + stored / self.settle_every + 1;
        self.credits_buckets().epochs * epoch
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
            echo_max_bytes: 1 << 21,
            seats: 32,
            storage_max_bytes: 0,
            ..Policy::default()
        };
        // 32 seats of 2^21 bytes and 1 more: 63 times as much is below 2^32, 64 times is not.
        assert_eq!(policy(84 * 63, 1).check(), Ok(()));
        assert!(matches!(policy(84 * 64, 1).check(), Err(PolicyError::Range { value: 0x1_0000_0040, .. })));
        assert_eq!(policy(84 * 64, 2).check(), Ok(()));
        // 21 seats of 100 chunks at 10^6 credits, spread over a settlement.
        let stored = |settle_every, storage_credits_per_chunk| {
            let storage_max_bytes = 21 * 100 * Policy::CHUNK_BYTES;
            Policy { settle_every, storage_credits_per_chunk, storage_max_bytes, ..Policy::default() }.check()
        };
        assert_eq!(stored(60, 1_000_000), Ok(()));
        assert!(matches!(stored(29, 1_000_000), Err(PolicyError::Range { key: "credits of a bucket", .. })));
        // The greatest of everything, which fits its type if nothing else.
        let greatest = Policy {
            credits_window: 99_960,
            echo_bytes_per_credit: 1,
            echo_max_bytes: 64 << 20,
            echo_epoch_bytes: 1 << 40,
            settle_every: 1,
            seats: 100,
            max_scored: 1,
            storage_max_bytes: 1 << 40,
            storage_credits_per_gib: 1_000_000,
            storage_credits_per_chunk: 1_000_000,
            ..Policy::default()
        };
        assert!(matches!(greatest.check(), Err(PolicyError::Range { key: "credits of a bucket", .. })));
    }

    #[test]
    fn an_epochs_draw_is_bounded() {
        let policy = |max_scored, seats| Policy { max_scored, seats, report_window: 1, ..Policy::default() };
        // 768 KiB but for 1,000 validators: 754,384 bytes, and 219 for a worker of 21 seats.
        assert_eq!(policy(3_444, 21).check(), Ok(()));
        assert!(matches!(policy(3_445, 21).check(), Err(PolicyError::Range { value: 754_455, high: 754_384, .. })));
        assert!(policy(1_088, 100).check().is_ok() && policy(1_089, 100).check().is_err());
        // With five blocks for commitments and five for reveals there are eleven draws, of 762,600 bytes.
        let eleven = |max_scored| Policy { max_scored, ..Policy::default() }.check();
        assert_eq!(eleven(3_335), Ok(()));
        assert!(matches!(eleven(3_336), Err(PolicyError::Range { high: 8_388_608, .. })));
    }

    /// Half of the declared disk, in chunks for each seat.
    #[test]
    fn chunks_of_a_storage_seat() {
        let public = Policy::default();
        let gib = |n: u64| n << 30;
        assert_eq!(
            [0, gib(2), gib(34), gib(48), gib(64), u64::MAX].map(|disk| public.storage_quota(disk)),
            [0, 48, 828, 1_170, 1_560, 1_560]
        );
        assert_eq!(
            (public.storage_quota(42 * Policy::CHUNK_BYTES), public.storage_quota(42 * Policy::CHUNK_BYTES - 1)),
            (1, 0)
        );
        assert_eq!((public.storage_floor(), local().storage_floor(), local().storage_quota(u64::MAX)), (49, 1, 2));
        assert_eq!(Policy { storage_floor_bytes: 0, ..public }.storage_floor(), 0);
    }

    #[test]
    fn full_marks_of_a_local_network_fit_its_windows() {
        let policy = local();
        assert_eq!((policy.full_session_s, policy.full_credits, policy.full_kbit_s), (8, 16, 1_000_000));
        let seven = policy.local_with_seats(7);
        assert_eq!((seven.seats, seven.full_credits, seven.check()), (7, 28, Ok(())));
    }

    #[test]
    fn settlements_of_epochs() {
        let of = |settle_every, epoch| Policy { settle_every, ..local() }.settlement_of(Epoch::new(epoch));
        assert_eq!([0, 1, 2, 3, 4].map(|epoch| of(2, epoch)), [0, 1, 1, 2, 2]);
        assert_eq!(of(1, 5), 5);
    }
}
