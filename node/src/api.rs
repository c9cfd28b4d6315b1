//! The node's HTTP API, and its metrics listener.
//!
//! It reads, and it takes what needs no trust: commands that those have signed who give them, requests to treasury signers, who
//! sign what their own state says, and to validators, who ping a worker as often as they see fit.
//!
//! Everything comes from a [`NodeView`]; nothing here knows a store or a mesh. Both listeners bound their connections,
//! request sizes and times. There is no authentication yet, so the API's address must be a loopback address, which
//! the configuration checks.

mod connection;
mod host;
pub mod metrics;
pub mod model;
mod nodes;
pub(crate) mod poot;
mod proofs;
mod reply;
mod resources;
mod routes;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::future::BoxFuture;
use lucid_consensus::ledger::command::SignedCommand;
use lucid_types::command::Command;
use lucid_types::id::{NodeId, PayoutId, PoolId};
use lucid_types::time::{Epoch, Height, UnixMillis};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::connection::Bounded;
use self::host::Hosts;
use self::metrics::Metrics;
use self::model::{
    AccountView, AgreementView, BatchList, BlockView, CertificateView, CommandView, EnrolmentView, EpochRange,
    EpochReportsView, EpochView, LeaderOrderView, Leaderboard, LeaderboardFilter, LedgerView, MemberList, MetricView,
    NodeFilter, NodeList, PayoutView, PeerView, PeerWhyView, PolicyView, PoolList, PoolReportView, PoolView,
    PootScoreView, ProposalView, RegisteredView, ReportFilter, RequestList, ResourcesView, ScoreChangeView,
    ScoreFilter, ScoreSpanView, ScoreView, SignatureList, SignatureRequest, SpanView, StampView, StatisticsView,
    StatusView, ValidationView, ValidationWanted, ValidatorStatusView, ValidatorView, VerifyView, WhyView,
};
use crate::proof::{Proof, Subject};
use crate::sampler::rings::Granularity;

/// Connections that one listener holds at a time; further ones wait in the system's queue.
const CONNECTIONS: usize = 128;
/// A connection on which nothing moves for this long ends.
const IDLE: Duration = Duration::from_secs(30);
/// How long a listener that stops waits for requests in work.
const GOODBYE: Duration = Duration::from_secs(2);

/// Why a view has no answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}")]
pub struct ViewError {
    /// What was tried, for example `read the block at height 7`.
    pub operation: String,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Whoever waits for the answer of a long read. It is looked at before each epoch is read, so that nothing is read for one that has gone.
#[derive(Clone, Debug, Default)]
pub struct Asker {
    gone: CancellationToken,
}

impl Asker {
    /// Whether it still waits.
    ///
    /// # Errors
    /// When it does not: it has closed the connection, or its time is over.
    pub fn waits(&self) -> Result<(), ViewError> {
        if self.gone.is_cancelled() {
            let source = "whoever asked has gone".into();
            return Err(ViewError { operation: "finish a read".to_owned(), source });
        }
        Ok(())
    }
}

/// Why the node does not do what it is asked for; texts for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// There is no such thing.
    #[error("{0}")]
    Unknown(String),
    /// The node's state does not allow it.
    #[error("{0}")]
    Refused(String),
    /// The node cannot do it now.
    #[error("{0}")]
    Unavailable(String),
}

/// What the API shows, and what it asks of the node. Implemented by the node.
///
/// [`Self::status`], [`Self::ready`], [`Self::oldest_block`], [`Self::peers`] and [`Self::metrics`] answer from memory: they are called
/// on the runtime's threads and must not block. The others may read the store; they are called on blocking threads, at most
/// eight at a time.
pub trait NodeView: Send + Sync + 'static {
    /// The node now.
    fn status(&self) -> StatusView;

    /// How far it is with entering its network, as it changes; `None` if it was not asked to.
    fn enrolment(&self) -> watch::Receiver<Option<EnrolmentView>>;

    /// Whether the node does its work; the reason if not.
    ///
    /// # Errors
    /// A text for people, for example `the chain is stalled at height 7`.
    fn ready(&self) -> Result<(), String>;

    /// The oldest block that is here, with all up to the newest; `None` if there is none.
    fn oldest_block(&self) -> Option<Height>;

    /// Connected peers by node id.
    fn peers(&self) -> Vec<PeerView>;

    /// What the node does about each peer that is connected, known or banned, and why; connected ones first.
    fn peers_why(&self) -> BoxFuture<'_, Vec<PeerWhyView>>;

    /// The validators of the next block, by node id.
    fn validators(&self) -> Vec<ValidatorView>;

    /// The policy of an epoch, or that in force.
    fn policy(&self, epoch: Option<Epoch>) -> PolicyView;

    /// The changes that wait for approval, by their ids.
    fn validator_proposals(&self) -> Vec<ProposalView>;

    /// What a node is and does as a validator; `None` of one that the state knows as none.
    fn validator(&self, id: &NodeId) -> Result<Option<ValidatorStatusView>, ViewError>;

    /// Counts and gauges for Prometheus.
    fn metrics(&self) -> Metrics;

    /// At most `limit` final blocks below `before` (all, if `None`), newest first. Without the genesis.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn blocks(&self, before: Option<Height>, limit: usize) -> Result<Vec<BlockView>, ViewError>;

    /// One final block; `None` when there is none yet at this height, or it is not here any more.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn block(&self, height: Height) -> Result<Option<BlockView>, ViewError>;

    /// The certificate of a final block, as this node stored it; `None` when there is no such block yet. Of blocks that were removed those
    /// remain whose header was kept.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn certificate(&self, height: Height) -> Result<Option<CertificateView>, ViewError>;

    /// A final block and its certificate in the codec's bytes: a `CertifiedBlock`. `None` when there is no such block yet, or it is not
    /// here any more.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn raw_block(&self, height: Height) -> Result<Option<Vec<u8>>, ViewError>;

    /// At most `limit` epochs below `before` (all that have begun, if `None`), newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn epochs(&self, before: Option<Epoch>, limit: usize) -> Result<Vec<EpochView>, ViewError>;

    /// One epoch; `None` when it has not begun.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn epoch(&self, epoch: Epoch) -> Result<Option<EpochView>, ViewError>;

    /// The newest epoch with final scores.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn newest_scored(&self) -> Result<Option<Epoch>, ViewError>;

    /// The final scores of an epoch in any order; empty when there are none.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn scores(&self, epoch: Epoch) -> Result<Vec<ScoreView>, ViewError>;

    /// A worker's final score of an epoch, the newest with final scores if `None`; `None` when it has none here.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn score(&self, worker: &NodeId, epoch: Option<Epoch>) -> Result<Option<PootScoreView>, ViewError>;

    /// At most `limit` spans of a worker's scores, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn score_history(
        &self,
        worker: &NodeId,
        which: ScoreFilter,
        limit: usize,
        asker: &Asker,
    ) -> Result<Vec<ScoreSpanView>, ViewError>;

    /// At most `limit` workers of an epoch in the order of their scores.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn leaderboard(&self, which: LeaderboardFilter, limit: usize) -> Result<Leaderboard, ViewError>;

    /// How much validators say the same in some epochs.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn agreement(&self, which: EpochRange, asker: &Asker) -> Result<AgreementView, ViewError>;

    /// What lowered a worker's pay in a settlement, the newest if none is given. Instead of it, why that is not known here.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn why(
        &self,
        worker: &NodeId,
        settlement: Option<u64>,
        asker: &Asker,
    ) -> Result<Result<WhyView, ActionError>, ViewError>;

    /// How a worker's score of an epoch, the newest if none is given, came from the one before; `None` if it has none.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn score_change(
        &self,
        worker: &NodeId,
        epoch: Option<Epoch>,
        asker: &Asker,
    ) -> Result<Option<ScoreChangeView>, ViewError>;

    /// Computes a worker's score of an epoch, the newest if none is given, once more. Instead of it, why that cannot be done here.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn verify(
        &self,
        worker: &NodeId,
        epoch: Option<Epoch>,
        asker: &Asker,
    ) -> Result<Result<VerifyView, ActionError>, ViewError>;

    /// What a pool's accounts did and got in these epochs; `None` if there is no such pool.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn pool_report(
        &self,
        pool: &PoolId,
        from: Epoch,
        to: Epoch,
        asker: &Asker,
    ) -> Result<Option<PoolReportView>, ViewError>;

    /// What the scores of an epoch are like, of the newest if none is given; `None` if it has no final scores here.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn statistics(&self, epoch: Option<Epoch>, asker: &Asker) -> Result<Option<StatisticsView>, ViewError>;

    /// At most `limit` validations of a worker that this node asked for, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn validations(&self, worker: &NodeId, limit: usize) -> Result<Vec<ValidationView>, ViewError>;

    /// Asks validators to ping a worker now.
    ///
    /// # Errors
    /// Why none does.
    fn validate(&self, wanted: ValidationWanted) -> BoxFuture<'_, Result<ValidationView, ActionError>>;

    /// What validators measured in an epoch; `None` when it has no final scores, or this is not kept any more.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn reports(&self, epoch: Epoch, which: ReportFilter, limit: usize) -> Result<Option<EpochReportsView>, ViewError>;

    /// What a worker said of its machine, as far as this node received it at `from` or later and before `to`: the newest, at most
    /// `limit`, newest first. `None` if the network has no such worker.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn node_metrics(
        &self,
        node: &NodeId,
        from: UnixMillis,
        to: UnixMillis,
        limit: usize,
    ) -> Result<Option<Vec<MetricView>>, ViewError>;

    /// The machine now; `None` while there is no sample of it.
    fn resources(&self) -> Option<ResourcesView>;

    /// How the machine went, in spans that began at the first time or later and before the second: the newest, at most `limit`, newest
    /// first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn resource_history(
        &self,
        granularity: Granularity,
        range: (UnixMillis, UnixMillis),
        limit: usize,
    ) -> Result<Vec<SpanView>, ViewError>;

    /// At most `limit` payouts, newest settlement first: all, or those that stand after one, and `None` if there is no such one.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn payouts(&self, after: Option<&PayoutId>, limit: usize) -> Result<Option<Vec<PayoutView>>, ViewError>;

    /// At most `limit` transactions by which a pool's vault has paid, the newest first; `None` if there is no such pool.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn batches(&self, pool: &PoolId, limit: usize) -> Result<Option<BatchList>, ViewError>;

    /// One payout.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn payout(&self, id: &PayoutId) -> Result<Option<PayoutView>, ViewError>;

    /// A registered node; `None` if there is no such one.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn node(&self, node: &NodeId) -> Result<Option<RegisteredView>, ViewError>;

    /// At most `limit` registered nodes by their ids: those after one, if it is given, that are asked for.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn nodes(&self, after: Option<NodeId>, wanted: NodeFilter, limit: usize) -> Result<NodeList, ViewError>;

    /// What a stamp has to be made for now, to enter the network or a pool; `None` if there is no such pool.
    fn stamp(&self, pool: Option<PoolId>) -> Option<StampView>;

    /// All pools.
    fn pools(&self) -> PoolList;

    /// The requests that wait for a pool's owner; `None` if there is no such pool.
    fn requests(&self, pool: &PoolId) -> Option<RequestList>;

    /// The members of a pool; `None` if there is no such pool.
    fn members(&self, pool: &PoolId) -> Option<MemberList>;

    /// A pool with its vault; `None` if there is no such pool.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn pool(&self, pool: &PoolId) -> Result<Option<PoolView>, ViewError>;

    /// The newest election of a pool; `None` if there is no such pool, or it has not elected yet.
    fn leader(&self, pool: &PoolId) -> Option<LeaderOrderView>;

    /// What an account may give.
    fn account(&self, account: &NodeId) -> AccountView;

    /// The command of an account that has this number.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn command(&self, account: &NodeId, nonce: u64) -> Result<CommandView, ViewError>;

    /// Whether the next block could carry a command once those have signed who must.
    ///
    /// # Errors
    /// Why not.
    fn check(&self, command: &Command) -> Result<(), ActionError>;

    /// A settlement's payout root and its leaves from index `offset` on, at most `limit`; of the newest root if no settlement is
    /// given. `None` if there is no such root, or its leaves are not kept any more.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn root(
        &self,
        pool: &PoolId,
        settlement: Option<u64>,
        offset: usize,
        limit: usize,
    ) -> Result<Option<LedgerView>, ViewError>;

    /// A proof of what the state after the newest block says of a subject. Instead of it, why there is none here.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn proof(&self, subject: &Subject) -> Result<Result<Proof, ActionError>, ViewError>;

    /// Asks the treasury signers of a pool to sign what their own states say.
    ///
    /// # Errors
    /// There is no such pool, or nothing of that kind to sign.
    fn signatures(&self, pool: PoolId, request: SignatureRequest) -> BoxFuture<'_, Result<SignatureList, ActionError>>;

    /// Has a validator take a command over, which keeps it for a block: this one, or the one that it names.
    ///
    /// # Errors
    /// Why none does.
    fn hand_in(&self, command: SignedCommand) -> BoxFuture<'_, Result<NodeId, ActionError>>;
}

/// Serves the API until `stop`. The node binds the listener, so that a port in use stops it before anything starts.
///
/// # Errors
/// When the listener cannot be used any more.
pub async fn serve(listener: TcpListener, view: Arc<dyn NodeView>, stop: CancellationToken) -> io::Result<()> {
    let hosts = Hosts::of(&listener)?;
    run(listener, routes::router(view, hosts), stop).await
}

/// Serves `GET /metrics` in Prometheus' text format until `stop`.
///
/// # Errors
/// When the listener cannot be used any more.
pub async fn serve_metrics(listener: TcpListener, view: Arc<dyn NodeView>, stop: CancellationToken) -> io::Result<()> {
    run(listener, metrics::router(view), stop).await
}

async fn run(listener: TcpListener, router: Router, stop: CancellationToken) -> io::Result<()> {
    let listener = Bounded::new(listener, CONNECTIONS, IDLE);
    let stopping = stop.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move { stopping.cancelled().await });
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(GOODBYE).await;
    };
    tokio::select! {
        served = server => served,
        () = overdue => Ok(()),
    }
}
