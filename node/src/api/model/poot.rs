//! What the API answers about scores beyond a list of them.

use lucid_types::amount::{Credits, Ppm};
use lucid_types::id::{NodeId, PoolId, PublicKey};
use lucid_types::network_group::NetworkGroup;
use lucid_types::policy::ScoreWeights;
use lucid_types::signed::Signature;
use lucid_types::time::{Epoch, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{Components, ScoreView};

/// One worker's score of an epoch, with all that it is made of. `GET /api/v1/poot/scores/{worker}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PootScoreView {
    /// The score.
    pub score: ScoreView,
    /// The pool for which it worked in the epoch; `null` if that is not kept here any more.
    pub pool: Option<PoolId>,
    /// Chunks that each storage seat could hold with it in the epoch, likewise.
    pub quota_chunks: Option<u16>,
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
    /// When.
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
