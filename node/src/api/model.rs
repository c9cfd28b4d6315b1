//! What the API answers: plain JSON objects, the same for the command line that reads them.
//!
//! Hex is lower case without 0x, addresses are base58check, amounts, heights and times JSON integers. A key is never
//! left out: what is not known is `null`.

mod command;
mod enrolment;
mod leader;
mod node;
mod policy;
mod pool;
mod poot;
mod resources;
mod validator;
mod vault;

use std::collections::BTreeSet;

use lucid_types::amount::{Credits, MicroUsdt, Ppm, Sun};
use lucid_types::attestation::Capacity;
use lucid_types::id::{
    BlockHash, NetworkId, NodeId, PayoutAddress, PayoutId, PoolId, PublicKey, StateRoot, TxId, ValidatorId,
};
use lucid_types::network_group::NetworkGroup;
use lucid_types::payout::AccountKind;
use lucid_types::signed::Signature;
use lucid_types::time::{Epoch, Height, UnixMillis};
use serde::{Deserialize, Serialize};

pub use lucid_score::score::Components;

pub use crate::payout::status::PayoutStatus;
pub use command::{AccountView, CheckedView, CommandBody, CommandStage, CommandView, TakenView, UnsignedBody};
pub use enrolment::{EnrolmentStep, EnrolmentView};
pub use leader::{ElectedView, LeaderOrderView, NotElected, NotElectedView, TurnView};
pub use node::{
    InactiveView, MaintenanceView, MembershipView, NextKeyView, NextPayoutView, NodeFilter, NodeList, NodeRole,
    NodeState, RegisteredView, RequestList, RequestView, StampView,
};
pub use policy::{DifferenceView, NextPolicyView, PolicyView};
pub(crate) use policy::{differences, with as with_parameter};
pub use pool::{
    BatchList, BatchView, ChangeView, HoldView, LedgerAccount, LedgerVaultView, LedgerView, MemberCounts, MemberList,
    MemberState, MemberView, MissingSignature, NextTermsView, PoolHealthView, PoolList, PoolStatusView, PoolSummary,
    PoolView, RootView, SignatureList, SignatureRequest, SignatureView, TermsView,
};
pub use poot::{
    AgreementView, Cause, CauseView, Check, CopyingView, Difference, EpochRange, Leaderboard, LeaderboardFilter,
    OutlierView, PairView, PlaceView, PointsChange, PoolReportView, PootScoreView, ProbesView, Quantiles,
    ReportLineView, ReportSource, Responsibility, ScoreChangeView, ScoreFilter, ScoreHistory, ScoreSpan, ScoreSpanView,
    StatisticsView, StepView, SuspicionView, ValidationList, ValidationView, ValidationWanted, VerifyView, WhyFilter,
    WhyView,
};
pub use resources::{
    MeanMax, ResourceFilter, ResourceHistory, ResourceLimitsView, ResourcesView, SpanView, TemperatureView,
};
pub(crate) use validator::unmeasured;
pub use validator::{
    ApprovalView, DutiesView, LookedAtView, MissedBy, MissedReport, MissedTurn, MissedVote, NextPowerView,
    ProposalList, ProposalView, ReportsView, RotationView, TurnsView, ValidatorStatusView, VoteView,
};
pub use vault::{LimitsView, SignerPauseView, VaultView, WITHDRAWAL_WINDOW_S, WithdrawalView};

use crate::config::Role;

/// How far a node's chain of blocks is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncState {
    /// It has every block that should exist.
    Synced,
    /// Blocks are missing and come in.
    Syncing,
    /// A block is overdue and nothing comes in.
    Stalled,
}

/// `GET /api/v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// The node's account: its first key, for ever.
    pub node_id: NodeId,
    /// The key that it runs with.
    pub key: PublicKey,
    /// The same in libp2p's spelling.
    pub peer_id: String,
    /// What the node does.
    pub roles: BTreeSet<Role>,
    /// The key with which it would sign as a validator, if its home does not have it; `null` else.
    pub missing_key: Option<ValidatorId>,
    /// The network.
    pub network_id: NetworkId,
    /// Connected peers of this network.
    pub peers: usize,
    /// The newest final block.
    pub height: Height,
    /// The oldest block that is here, with all up to the newest; `null` if there is none.
    pub oldest_block: Option<Height>,
    /// The epoch of the node's clock; 0 before the genesis time.
    pub epoch: Epoch,
    /// The epoch up to which scores are final, or will never be given.
    pub final_epoch: Epoch,
    /// Hash of the newest final block; the network id at height 0.
    pub block_hash: BlockHash,
    /// The state's root after it.
    pub state_root: StateRoot,
    /// Whether blocks are missing.
    pub sync: SyncState,
    /// Name of the pool that the worker is a member of; for other nodes the network's only pool, if there is one.
    pub pool: Option<String>,
    /// The leader that this pool's newest settlement elected.
    pub leader: Option<NodeId>,
    /// The maintenance of this node's account that is under way, or else is announced next; `null` if there is none.
    pub maintenance: Option<MaintenanceView>,
    /// What probes have taken of a worker's line; `null` of a node that is none.
    pub probe_traffic: Option<ProbeTrafficView>,
    /// All that this node was ever owed, as a member, as an owner and as a validator; `null` if it is none of them.
    pub owed_micro_usdt: Option<MicroUsdt>,
    /// All that the vaults have paid it of that, in the solidified view; `null` if it is not known.
    pub paid_micro_usdt: Option<MicroUsdt>,
    /// How far it is with what `lucid join` asked for; `null` if it was not asked since the node runs.
    pub enrolment: Option<EnrolmentView>,
    /// What its owner should know at once, in words: a node key or payout address that is announced for it and can still be vetoed,
    /// that its account has another key, that its newest score is unlike its last ones, that a node of `p2p.bootstrap` does not answer, that
    /// its clock is off, or that another machine runs with its key.
    pub alerts: Vec<String>,
    /// The address that answers, `127.0.0.1:8095`.
    pub api: String,
}

/// What probes have taken of a worker's line in a calendar month (UTC), as of the last minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeTrafficView {
    /// As `2026-11`.
    pub month: String,
    /// Bytes, both ways together.
    pub bytes: u64,
    /// As many as its owner allows, by `limits.month_bytes`; 0 for no limit.
    pub month_bytes: u64,
}

/// A final block of the chain `lucid-blocks`. `GET /api/v1/blocks` and `/api/v1/blocks/{height}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockView {
    /// Its number.
    pub height: Height,
    /// Its hash.
    pub block_hash: BlockHash,
    /// The block before; the network id for block 1.
    pub parent: BlockHash,
    /// The state's root after it.
    pub state_root: StateRoot,
    /// The round that decided.
    pub round: u32,
    /// Signatures in the certificate that this node stored; certificates differ between nodes.
    pub signatures: usize,
    /// The block's time.
    pub time: UnixMillis,
    /// Who proposed it.
    pub proposer: NodeId,
    /// Report commitments in it.
    pub commitments: usize,
    /// Reveals in it.
    pub reveals: usize,
    /// Commands of pools in it.
    pub commands: usize,
    /// Validators of which it proves that they signed two different messages for one step.
    pub equivocated: Vec<NodeId>,
    /// Leaders that it elected.
    pub leaders: Vec<LeaderView>,
}

/// A validator of the next block's set. `GET /api/v1/validators`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorView {
    /// Its node id.
    pub node: NodeId,
    /// The key with which it signs.
    pub key: ValidatorId,
    /// Who runs it.
    pub operator: NodeId,
    /// Its votes' weight.
    pub power: u64,
    /// What the chain holds against it.
    pub equivocation: Option<EquivocationView>,
}

/// A proved equivocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EquivocationView {
    /// The height at which it signed two different messages for one step.
    pub height: Height,
    /// The block that holds the evidence.
    pub proved_in: Height,
}

/// `GET /api/v1/validators`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorList {
    /// The validators by their keys.
    pub validators: Vec<ValidatorView>,
}

/// The proof that a block was decided. `GET /api/v1/blocks/{height}/certificate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// The block's number.
    pub height: Height,
    /// The round that decided.
    pub round: u32,
    /// The block's hash.
    pub block_hash: BlockHash,
    /// Precommits for it, by the keys of the validators.
    pub signatures: Vec<VoteSignature>,
}

/// One validator's precommit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteSignature {
    /// The validator's key.
    pub key: ValidatorId,
    /// The signature, hex.
    pub signature: Signature,
}

/// How far an epoch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EpochStage {
    /// No block has closed it.
    Open,
    /// It is closed, and its reports are coming in.
    Closed,
    /// Its scores are final.
    Final,
    /// It has no scores: the epoch before was closed too late.
    Unmeasured,
}

/// An epoch. `GET /api/v1/epochs` and `/api/v1/epochs/{n}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochView {
    /// Its number.
    pub epoch: Epoch,
    /// How far it is.
    pub stage: EpochStage,
    /// Its first millisecond.
    pub start: UnixMillis,
    /// The first millisecond after it.
    pub end: UnixMillis,
    /// The block that closed it; `null` also if that was before this node's first block.
    pub closed_in: Option<Height>,
    /// The block that made its scores final; of an epoch without scores, the one that closed it. `null` also if that was before this
    /// node's first block.
    pub final_in: Option<Height>,
    /// That block, if it is here.
    pub block: Option<BlockView>,
    /// Workers that have a score; `null` if they became final before this node's first block.
    pub workers_scored: Option<u32>,
}

/// A pool's leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderView {
    /// The pool.
    pub pool: PoolId,
    /// The settlement whose payouts it sends.
    pub settlement: u64,
    /// Who.
    pub leader: NodeId,
    /// Who takes over, in this order.
    pub successors: Vec<NodeId>,
}

/// One worker's final score of one epoch. `GET /api/v1/scores`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreView {
    /// The epoch.
    pub epoch: Epoch,
    /// The worker.
    pub worker: NodeId,
    /// The score.
    pub score_ppm: Ppm,
    /// Credits earned by the echo, before they are shared.
    pub relay_credits: Credits,
    /// Credits earned by storage that was proved, likewise.
    pub storage_credits: Credits,
    /// Among how many workers of its network group they are divided, itself included.
    pub sharers: u16,
    /// Its credits of the epoch.
    pub credits: Credits,
    /// Milliseconds of the epoch in which it was reachable.
    pub reachable_ms: u64,
    /// The score's parts.
    pub components: Components,
    /// Parts that are 0 because nothing has measured them.
    pub unmeasured: Vec<String>,
    /// The median round-trip time in microseconds; the time-out if most pings got no answer.
    pub rtt_us: u64,
    /// Bytes of the echo, 0 if it failed; `null` if too few sent one.
    pub echo_bytes: Option<u64>,
    /// Its throughput in kbit/s, likewise.
    pub echo_kbit_s: Option<u64>,
    /// Storage chunks proved for all storage seats together; `null` if too few challenged it.
    pub proved_chunks: Option<u32>,
    /// Where it was seen; `null` if too few saw it.
    pub network_group: Option<NetworkGroup>,
}

/// Which measurements of an epoch, in the order in which they are shown. The query of `GET /api/v1/epochs/{epoch}/reports`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportFilter {
    /// Only of this worker.
    pub worker: Option<NodeId>,
    /// Only by this validator.
    pub validator: Option<NodeId>,
    /// So many of them left out.
    pub offset: usize,
    /// At most so many.
    pub limit: Option<usize>,
}

/// What validators measured in an epoch: the scores are the medians of it. `GET /api/v1/epochs/{epoch}/reports`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochReportsView {
    /// The epoch.
    pub epoch: Epoch,
    /// The epoch's validators.
    pub reporters: Vec<ReporterView>,
    /// How many measurements there are of those asked for.
    pub n_measurements: usize,
    /// Those from `offset` on, at most `limit`: by worker, then as the validators stand above.
    pub measurements: Vec<MeasurementView>,
}

/// What became of a validator's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReporterView {
    /// The validator.
    pub validator: NodeId,
    /// The key with which it was to sign.
    pub key: ValidatorId,
    /// How far its report came.
    pub stage: ReportStage,
    /// Workers that it was to measure.
    pub assigned: usize,
    /// Those that it reports on; `null` without a report.
    pub measured: Option<usize>,
}

/// How far a report came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportStage {
    /// It stands in a block.
    Revealed,
    /// Its validator committed to it and did not reveal it in time.
    Forfeited,
    /// Its validator did not commit to any in time.
    Uncommitted,
}

impl ReportStage {
    /// The stage in one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Revealed => "revealed",
            Self::Forfeited => "forfeited",
            Self::Uncommitted => "uncommitted",
        }
    }
}

/// What a validator that holds seats of a worker measured of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasurementView {
    /// The worker.
    pub worker: NodeId,
    /// The validator.
    pub validator: NodeId,
    /// Its weight in the worker's medians.
    pub seats: u8,
    /// What it observed; `null` if it reported nothing on the worker.
    pub observed: Option<ObservedView>,
}

/// What was observed of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedView {
    /// Pings sent.
    pub pings_sent: u8,
    /// Pings answered in time.
    pub pings_answered: u8,
    /// Their median round-trip time in microseconds; `null` if none was answered.
    pub rtt_us: Option<u64>,
    /// Throughput of the echo in kbit/s, 0 if it failed; `null` if none was sent.
    pub echo_kbit_s: Option<u64>,
    /// Where the worker was seen; `null` if it did not answer.
    pub network_group: Option<NetworkGroup>,
}

/// What a worker said of its machine. `GET /api/v1/nodes/{id}/metrics`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricView {
    /// When this node got it, rounded down to a whole minute; in a great network to longer times, of which the last that came is kept.
    pub received: UnixMillis,
    /// The epoch in which the sample was taken.
    pub epoch: Epoch,
    /// Increasing over the node's life.
    pub sequence: u64,
    /// When the sample was taken, by the worker's clock.
    pub time: UnixMillis,
    /// Seconds since the machine started.
    pub uptime_s: u64,
    /// CPU in use, over all cores.
    pub cpu_ppm: Ppm,
    /// Memory in use.
    pub memory_ppm: Ppm,
    /// Disk in use on the file system of the node's home.
    pub disk_ppm: Ppm,
    /// Bytes received a second on all interfaces but loopback.
    pub network_rx_bytes_s: u64,
    /// Bytes sent a second on all interfaces but loopback.
    pub network_tx_bytes_s: u64,
    /// Probe sessions served since the node started.
    pub sessions: u64,
    /// What is offered.
    pub capacity: Capacity,
    /// How much of the capacity was given to tasks.
    pub allocation_ppm: Ppm,
    /// The worker's signature over all of this but `received`, hex.
    pub signature: Signature,
}

/// `GET /api/v1/nodes/{id}/metrics`: newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricList {
    /// The worker.
    pub node: NodeId,
    /// What it said.
    pub metrics: Vec<MetricView>,
}

/// A payout request: what one account became due in one settlement. `GET /api/v1/payouts` and `/api/v1/payouts/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutView {
    /// Its id.
    pub payout_id: PayoutId,
    /// The pool that pays.
    pub pool: PoolId,
    /// The settlement it is paid for.
    pub settlement: u64,
    /// Who is paid: a worker for its earnings, a pool's owner for its commission, or a validator for validating.
    pub worker: NodeId,
    /// What for: `worker`, `commission` or `validator`.
    pub kind: AccountKind,
    /// Where to.
    pub address: PayoutAddress,
    /// How much.
    pub amount_micro_usdt: MicroUsdt,
    /// All that the account was ever owed, this included.
    pub owed_micro_usdt: MicroUsdt,
    /// How far it has come, or why it does not go on.
    pub status: PayoutStatus,
    /// What it waits for; `null` once it is paid.
    pub waits_for: Option<String>,
    /// Since when it has this status; `null` if that is not known.
    pub since: Option<UnixMillis>,
    /// The transaction that pays it.
    pub tx_id: Option<TxId>,
    /// The block that includes it.
    pub block: Option<u64>,
    /// What that transaction cost whoever sent it, for all payments in it.
    pub fee_sun: Option<Sun>,
}

/// A connected peer. `GET /api/v1/peers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its node key.
    pub key: PublicKey,
    /// The registered account whose key that is; `null` of strangers.
    pub account: Option<NodeId>,
    /// Its key in libp2p's spelling.
    pub peer_id: String,
    /// Multiaddresses at which it can be dialled.
    pub addresses: Vec<String>,
    /// `tcp` or `quic`.
    pub transport: String,
    /// Who dialled: `inbound` or `outbound`.
    pub direction: String,
    /// What it is to this node: `trusted` (configured, or a validator), `outbound` or `inbound`.
    pub class: String,
    /// Connections to it.
    pub connections: usize,
    /// The last round trip in microseconds; `null` before the first ping came back.
    pub rtt_us: Option<u64>,
    /// Its gossip score.
    pub score: f64,
    /// Name and version of its program, as it says.
    pub agent: String,
}

/// `GET /api/v1/blocks`: newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockList {
    /// The chain's name: `lucid-blocks`.
    pub chain: String,
    /// The oldest block that is here, with all up to the newest; `null` if there is none.
    pub oldest_block: Option<Height>,
    /// The blocks.
    pub blocks: Vec<BlockView>,
}

/// `GET /api/v1/epochs`: newest first, the open one included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochList {
    /// The epochs.
    pub epochs: Vec<EpochView>,
}

/// `GET /api/v1/scores`: best first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreList {
    /// The epoch; `null` when no epoch has final scores yet.
    pub epoch: Option<Epoch>,
    /// One score a worker.
    pub scores: Vec<ScoreView>,
}

/// `GET /api/v1/payouts`: newest settlement first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutList {
    /// The payouts.
    pub payouts: Vec<PayoutView>,
}

/// `GET /api/v1/peers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerList {
    /// The peers by node id.
    pub peers: Vec<PeerView>,
}

/// What the node does about a peer, and why. `GET /api/v1/peers/why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerWhyView {
    /// Its node key.
    pub key: PublicKey,
    /// The registered account whose key that is; `null` of strangers.
    pub account: Option<NodeId>,
    /// `trusted`, `outbound` or `inbound`; `null` if it is not connected and not trusted.
    pub class: Option<String>,
    /// Whether it is connected.
    pub connected: bool,
    /// Why it is connected, kept, not dialled or refused: one sentence for people, without a full stop.
    pub why: String,
}

/// `GET /api/v1/peers/why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerWhyList {
    /// Peers that are connected, known or banned; connected ones first.
    pub peers: Vec<PeerWhyView>,
}

/// Every answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// For programs: `not_found`, `bad_request`, `method_not_allowed`, `refused`, `timeout`, `busy`, `not_ready`, `internal`.
    pub code: String,
    /// For people.
    pub message: String,
    /// Names the request in the node's log.
    pub request_id: String,
}
