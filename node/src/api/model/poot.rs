//! What the API answers about scores beyond a list of them.

use lucid_types::amount::{Credits, MicroUsdt, Ppm};
use lucid_types::id::{NodeId, PoolId, PublicKey};
use lucid_types::network_group::NetworkGroup;
use lucid_types::payout::AccountKind;
use lucid_types::policy::ScoreWeights;
use lucid_types::signed::Signature;
use lucid_types::time::{Epoch, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{Components, ScoreView};
pub use crate::score::replay::PointsChange;
pub use crate::score::verify::{Check, Difference};
pub use crate::score::why::{Cause, Responsibility};

/// One worker's score of an epoch, with all that it is made of. `GET /api/v1/poot/scores/{worker}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PootScoreView {
    /// The score.
    pub score: ScoreView,
    /// The pool for which it worked in the epoch; `null` if that is not kept here any more.
    pub pool: Option<PoolId>,
    /// Chunks that all storage seats together could hold with it in the epoch, likewise.
    pub quota_chunks: Option<u32>,
    /// Validators that hold seats for it in the epoch, likewise.
    pub validators: Option<usize>,
    /// The weights of the score's parts.
    pub weights: ScoreWeights,
    /// What each part contributes to the score: weight times component.
    pub points_ppm: Components,
    /// What is unusual about the worker's newest score; `null` if nothing, or if too few of its scores are kept.
    pub suspicion: Option<SuspicionView>,
}

/// A score that is unlike the worker's own of the history window before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspicionView {
    /// The median of those.
    pub median_ppm: Ppm,
    /// How far it may be from that: the greater of six times their median absolute deviation and 50,000.
    pub limit_ppm: Ppm,
    /// How far it is.
    pub difference_ppm: Ppm,
}

/// Spans of a worker's history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ScoreSpan {
    /// Every epoch by itself.
    #[default]
    Epoch,
    /// As many epochs as an hour has.
    Hour,
    /// As many as a day has.
    Day,
}

/// Which epochs of a worker. The query of `GET /api/v1/poot/history/{worker}`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoreFilter {
    /// From this one on.
    pub from: Option<Epoch>,
    /// Up to this one.
    pub to: Option<Epoch>,
    /// How they are put together.
    pub span: ScoreSpan,
    /// At most so many spans.
    pub limit: Option<usize>,
}

/// `GET /api/v1/poot/history/{worker}`: newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreHistory {
    /// The worker.
    pub worker: NodeId,
    /// The spans; one in which it has no score is left out.
    pub spans: Vec<ScoreSpanView>,
}

/// A worker in some epochs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreSpanView {
    /// The first epoch with a score.
    pub from: Epoch,
    /// The last one.
    pub to: Epoch,
    /// Epochs with a score.
    pub epochs: u64,
    /// The least score.
    pub min_ppm: Ppm,
    /// The mean score.
    pub mean_ppm: Ppm,
    /// The greatest score.
    pub max_ppm: Ppm,
    /// The means of its parts.
    pub components: Components,
    /// Credits earned.
    pub credits: Credits,
    /// Reachable milliseconds.
    pub reachable_ms: u64,
}

/// Which places. The query of `GET /api/v1/poot/leaderboard`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeaderboardFilter {
    /// Of this epoch; the newest with final scores if not given.
    pub epoch: Option<Epoch>,
    /// Only members of this pool now.
    pub pool: Option<PoolId>,
    /// So many of them left out.
    pub offset: usize,
    /// At most so many.
    pub limit: Option<usize>,
}

/// `GET /api/v1/poot/leaderboard`: best first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaderboard {
    /// The epoch; `null` if no epoch has final scores yet.
    pub epoch: Option<Epoch>,
    /// How many places there are.
    pub n_places: usize,
    /// Those that are asked for.
    pub places: Vec<PlaceView>,
}

/// A worker in the order of scores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceView {
    /// Its place, from 1 on.
    pub rank: usize,
    /// The pool of which it is a member now.
    pub pool: Option<PoolId>,
    /// What orders the candidates of an election, at the newest final epoch.
    pub live: Option<u64>,
    /// Its score.
    pub score: ScoreView,
    /// What is unusual about it, if it is its newest; `null` if nothing.
    pub suspicion: Option<SuspicionView>,
}

/// Which epochs. The query of `GET /api/v1/poot/agreement`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EpochRange {
    /// From this one on.
    pub from: Option<Epoch>,
    /// Up to this one.
    pub to: Option<Epoch>,
}

/// `GET /api/v1/poot/agreement`: how much each two validators say the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementView {
    /// The first epoch whose reports were compared.
    pub from: Option<Epoch>,
    /// The last one.
    pub to: Option<Epoch>,
    /// How many.
    pub epochs: usize,
    /// Each two validators that measured the same worker in an epoch.
    pub pairs: Vec<PairView>,
    /// Validators that say what others say.
    pub copying: Vec<CopyingView>,
    /// Validators that find workers better or worse than the others do.
    pub outliers: Vec<OutlierView>,
}

/// How two validators agree, in measurements of the same worker in the same epoch that both reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairView {
    /// The validator of the two whose id is less.
    pub a: NodeId,
    /// The validator of the two whose id is greater.
    pub b: NodeId,
    /// Measurements in common.
    pub in_common: u64,
    /// Part of them that are identical: pings, round-trip time and throughput.
    pub identical_ppm: Ppm,
    /// Mean difference of round-trip times, as part of the greater one.
    pub rtt_gap_ppm: Ppm,
    /// Mean difference of success.
    pub success_gap_ppm: Ppm,
    /// Part of what `a` says that `b` said in the epoch before.
    pub a_repeats_b_ppm: Ppm,
    /// The other way round.
    pub b_repeats_a_ppm: Ppm,
}

/// A validator of whose measurements more than half are another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyingView {
    /// The validator that says it.
    pub validator: NodeId,
    /// The validator that says the same.
    pub of: NodeId,
    /// How many epochs later, 0 or 1. In the same epoch nobody knows who of the two copies.
    pub lag: u8,
    /// Part of its measurements that are the other's.
    pub part_ppm: Ppm,
}

/// A validator that is beside the medians.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutlierView {
    /// The validator that is beside the medians.
    pub validator: NodeId,
    /// The mean distance of its success from the medians.
    pub distance_ppm: Ppm,
    /// What is usual among all at most.
    pub limit_ppm: Ppm,
}

/// Which settlement. The query of `GET /api/v1/poot/why/{worker}`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WhyFilter {
    /// The settlement; the newest if not given.
    pub settlement: Option<u64>,
}

/// What lowered a worker's pay in a settlement. `GET /api/v1/poot/why/{worker}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyView {
    /// The worker.
    pub worker: NodeId,
    /// The pool for which it worked.
    pub pool: PoolId,
    /// The settlement.
    pub settlement: u64,
    /// Its first epoch.
    pub from: Epoch,
    /// Its last one.
    pub to: Epoch,
    /// What the worker is paid for it.
    pub paid_micro_usdt: MicroUsdt,
    /// Whether that is held for the worker.
    pub is_held: bool,
    /// Its first score in it; `null` if it has none.
    pub first_score_ppm: Option<Ppm>,
    /// Its last one.
    pub last_score_ppm: Option<Ppm>,
    /// What lowered it, most expensive first. Prices are of each alone, and do not add up.
    pub causes: Vec<CauseView>,
}

/// Something that lowered a worker's pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseView {
    /// The cause.
    pub cause: Cause,
    /// On whose side it is.
    pub responsibility: Responsibility,
    /// In which epochs: the first and the last of each range.
    pub epochs: Vec<(Epoch, Epoch)>,
    /// Whether another epoch of the settlement was measured, to compare with. If not, the differences are 0 and say nothing.
    pub is_priced: bool,
    /// How long together: time not reachable of being offline, whole epochs of anything else.
    pub ms: u64,
    /// What it took from each part of the last score of the settlement.
    pub factors_ppm: PointsChange,
    /// What it took from that score.
    pub score_ppm: i64,
    /// What it took from the credits of the settlement.
    pub credits: i64,
    /// What it took from the pay.
    pub delta_micro_usdt: i64,
    /// What can be done about it.
    pub remedy: String,
}

/// How a worker's score came from the one before. `GET /api/v1/poot/change/{worker}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreChangeView {
    /// The worker.
    pub worker: NodeId,
    /// The epoch of the score before; `null` if there is none in a settlement's time before.
    pub from: Option<Epoch>,
    /// The epoch.
    pub epoch: Epoch,
    /// The score.
    pub score_ppm: Ppm,
    /// By how much it differs.
    pub change_ppm: i64,
    /// By how much each of its parts.
    pub factors_ppm: PointsChange,
    /// What these leave over, as each is rounded down.
    pub rounding_ppm: i64,
}

/// From where reports were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportSource {
    /// From the blocks in which they stand, with their signatures, and opened against their commitments.
    Blocks,
    /// As they were stored when they were final: the blocks are not here any more.
    History,
}

/// Whether a score is right: computed once more from what it was made of. `GET /api/v1/poot/verify/{worker}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyView {
    /// The worker.
    pub worker: NodeId,
    /// The epoch.
    pub epoch: Epoch,
    /// From where its reports are.
    pub source: ReportSource,
    /// The score; `null` if the worker has none of the epoch.
    pub score_ppm: Option<Ppm>,
    /// Whether every step is right.
    pub is_right: bool,
    /// The steps, up to the first that is not.
    pub steps: Vec<StepView>,
}

/// A step of computing a score once more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// What was looked at.
    pub check: Check,
    /// What was found; `null` if it is not right.
    pub found: Option<String>,
    /// The first difference; `null` if there is none.
    pub difference: Option<Difference>,
}

/// What a pool's accounts did and got in some epochs. `GET /api/v1/poot/report/{pool}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolReportView {
    /// The pool.
    pub pool: PoolId,
    /// The first epoch.
    pub from: Epoch,
    /// The last one.
    pub to: Epoch,
    /// Epochs with scores that are kept here.
    pub epochs: u64,
    /// Of them, those of which it is known who was drawn.
    pub epochs_with_draw: u64,
    /// Settlements that end in these epochs and were shared out.
    pub settlements: u64,
    /// Their pots.
    pub pots_micro_usdt: MicroUsdt,
    /// Push fees out of them.
    pub fees_micro_usdt: MicroUsdt,
    /// What became owed, of all accounts.
    pub owed_micro_usdt: MicroUsdt,
    /// What is held, likewise.
    pub held_micro_usdt: MicroUsdt,
    /// What went into later pots, as whose it was has no account.
    pub carried_micro_usdt: MicroUsdt,
    /// By kind and node.
    pub lines: Vec<ReportLineView>,
}

/// What an account did and got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportLineView {
    /// What it is paid for.
    pub kind: AccountKind,
    /// Whose it is.
    pub node: NodeId,
    /// Epochs in which it was drawn, of those of which that is known.
    pub drawn: u64,
    /// Epochs with a score.
    pub measured: u64,
    /// Of them, those in which nobody reached it.
    pub unreached: u64,
    /// The mean score.
    pub mean_score_ppm: Option<Ppm>,
    /// Credits for echoes.
    pub relay_credits: Credits,
    /// Credits for storage.
    pub storage_credits: Credits,
    /// What is left of them after sharing in its network.
    pub credits: Credits,
    /// Its weight among those of its kind, in decimal digits: of more than 64 bits.
    pub weight: String,
    /// What became owed.
    pub owed_micro_usdt: MicroUsdt,
    /// What is held.
    pub held_micro_usdt: MicroUsdt,
    /// What went into later pots.
    pub carried_micro_usdt: MicroUsdt,
}

/// What an epoch's scores are like. `GET /api/v1/poot/statistics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatisticsView {
    /// The epoch.
    pub epoch: Epoch,
    /// Workers with a score.
    pub scored: usize,
    /// Workers that were drawn and have none; `null` if that is not kept here any more.
    pub unmeasured: Option<usize>,
    /// Workers whose score is unlike its own of the history window before; `null` if scores of that are not kept here.
    pub suspicious: Option<usize>,
    /// Of the scores.
    pub score_ppm: Quantiles,
    /// Of the credits.
    pub credits: Quantiles,
    /// Of the round trips of those that were reached.
    pub rtt_us: Quantiles,
    /// What validators sent; `null` if their reports are not kept here any more.
    pub probes: Option<ProbesView>,
}

/// Values in order: the least, those that a tenth, half and nine tenths are at most, and the greatest. All 0 without values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// The least.
    pub min: u64,
    /// A tenth is at most this.
    pub p10: u64,
    /// Half of the values are at most this.
    pub p50: u64,
    /// Nine tenths.
    pub p90: u64,
    /// The greatest.
    pub max: u64,
}

/// Probes of an epoch, of all validators that revealed their reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbesView {
    /// Pings sent.
    pub pings_sent: u64,
    /// Pings answered.
    pub pings_answered: u64,
    /// Echoes sent.
    pub echoes_sent: u64,
    /// Echoes that came back.
    pub echoes_verified: u64,
}

/// A validation out of turn that is asked for. The body of `POST /api/v1/poot/validations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationWanted {
    /// The worker to be pinged.
    pub worker: NodeId,
    /// The validator that is to do it; without it, the first that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<NodeId>,
}

/// What a validator found when it was asked to ping a worker. It is in no report and changes no score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationView {
    /// The worker.
    pub worker: NodeId,
    /// Who pinged it.
    pub validator: NodeId,
    /// When the validator had pinged it, in Unix milliseconds.
    pub time: UnixMillis,
    /// Pings sent.
    pub pings_sent: u8,
    /// Pings answered in time with a right signature.
    pub pings_answered: u8,
    /// Median round-trip time of those in microseconds; 0 if there is none.
    pub rtt_us: u64,
    /// Where the worker was seen; `null` if it did not answer.
    pub network_group: Option<NetworkGroup>,
    /// The validator's node key, which signed it.
    pub key: PublicKey,
    /// Its signature of the `ValidationResult`.
    pub signature: Signature,
}

/// Validations of a worker, newest first. `GET /api/v1/poot/validations/{worker}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationList {
    /// The worker.
    pub worker: NodeId,
    /// Those that this node asked for.
    pub validations: Vec<ValidationView>,
}
