//! The paths of the API and their parameters.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use lucid_consensus::ledger::command::SignedCommand;
use lucid_types::block::Item;
use lucid_types::codec::{Wire, decode};
use lucid_types::command::Command;
use lucid_types::id::{NodeId, PayoutId, PoolId};
use lucid_types::time::{Epoch, Height, UnixMillis};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::host::{self, Hosts};
use super::model::{
    AccountView, BatchList, BlockList, BlockView, CertificateView, CheckedView, CommandBody, CommandView, EpochList,
    EpochReportsView, EpochView, LeaderOrderView, LedgerView, MemberList, MetricList, PayoutList, PayoutView, PeerList,
    PeerWhyList, PolicyView, PoolList, PoolView, ProposalList, ReportFilter, ScoreList, SignatureList,
    SignatureRequest, StatusView, TakenView, UnsignedBody, ValidatorList, ValidatorStatusView,
};
use super::reply::{self, Failure};
use super::{Asker, NodeView, ViewError, nodes, poot, proofs, resources};

/// From the request's head to the answer's head.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Of a body; what comes is not read beyond this.
const BODY_LIMIT: usize = 1 << 10;
/// Of a command, in hex.
const COMMAND_LIMIT: usize = 2 * SignedCommand::MAX_BYTES + BODY_LIMIT;
/// Leaves of a payout tree in one answer.
const MAX_LEAVES: usize = 10_000;
/// Readers of the store at a time; further requests wait.
const READERS: usize = 8;
/// Of them, those that read many epochs.
const LONG_READERS: usize = 1;
/// How long a request waits for its turn to read many epochs.
const LONG_WAIT: Duration = Duration::from_secs(5);
/// Entries of a list, if not asked otherwise, and at most.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 1_000;

/// What handlers share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) view: Arc<dyn NodeView>,
    readers: Arc<Semaphore>,
    /// Of those, the ones that read many epochs.
    long_readers: Arc<Semaphore>,
}

impl Shared {
    /// Runs `read` where it may block.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn NodeView) -> Result<T, ViewError> + Send + 'static,
    ) -> Result<T, Failure> {
        self.read_in(None, read).await
    }

    /// The same of what reads many epochs: one at a time, so that the rest does not wait for it, and no longer than somebody waits for the answer.
    pub(super) async fn read_long<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn NodeView, &Asker) -> Result<T, ViewError> + Send + 'static,
    ) -> Result<T, Failure> {
        let slot = tokio::time::timeout(LONG_WAIT, Arc::clone(&self.long_readers).acquire_owned());
        let slot = slot.await.map_err(|_| Failure::Busy)?.map_err(|_| Failure::Internal)?;
        let asker = Asker::default();
        // This ends with the request.
        let _waits = asker.gone.clone().drop_guard();
        self.read_in(Some(slot), move |view| read(view, &asker)).await
    }

    async fn read_in<T: Send + 'static>(
        &self,
        long: Option<OwnedSemaphorePermit>,
        read: impl FnOnce(&dyn NodeView) -> Result<T, ViewError> + Send + 'static,
    ) -> Result<T, Failure> {
        let slot = Arc::clone(&self.readers).acquire_owned().await.map_err(|_| Failure::Internal)?;
        let view = Arc::clone(&self.view);
        let read = tokio::task::spawn_blocking(move || {
            let _slots = (slot, long);
            read(&*view)
        });
        match read.await {
            Ok(result) => result.map_err(|e| Failure::internal(&e)),
            Err(e) => {
                let operation = "finish a read".to_owned();
                Err(Failure::internal(&ViewError { operation, source: Box::new(e) }))
            }
        }
    }
}

/// The chain's name.
const CHAIN: &str = "lucid-blocks";

pub(super) fn router(view: Arc<dyn NodeView>, hosts: Hosts) -> Router {
    let slots = |number| Arc::new(Semaphore::new(number));
    let shared = Shared { view, readers: slots(READERS), long_readers: slots(LONG_READERS) };
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/blocks", get(blocks))
        .route("/api/v1/blocks/{height}", get(block))
        .route("/api/v1/blocks/{height}/certificate", get(certificate))
        .route("/api/v1/blocks/{height}/raw", get(raw_block))
        .route("/api/v1/epochs", get(epochs))
        .route("/api/v1/epochs/{epoch}", get(epoch))
        .route("/api/v1/epochs/{epoch}/reports", get(reports))
        .route("/api/v1/scores", get(scores))
        .route("/api/v1/poot/scores/{worker}", get(poot::score))
        .route("/api/v1/poot/history/{worker}", get(poot::history))
        .route("/api/v1/poot/leaderboard", get(poot::leaderboard))
        .route("/api/v1/poot/agreement", get(poot::agreement))
        .route("/api/v1/poot/why/{worker}", get(poot::why))
        .route("/api/v1/poot/change/{worker}", get(poot::change))
        .route("/api/v1/poot/verify/{worker}", get(poot::verify))
        .route("/api/v1/poot/report/{pool}", get(poot::report))
        .route("/api/v1/poot/statistics", get(poot::statistics))
        .route("/api/v1/poot/validations", post(poot::validate))
        .route("/api/v1/poot/validations/{worker}", get(poot::validations))
        .route("/api/v1/nodes", get(nodes::nodes))
        .route("/api/v1/nodes/{id}", get(nodes::node))
        .route("/api/v1/nodes/{id}/metrics", get(node_metrics))
        .route("/api/v1/resources", get(resources::resources))
        .route("/api/v1/resources/history", get(resources::history))
        .route("/api/v1/stamp", get(nodes::stamp))
        .route("/api/v1/payouts", get(payouts))
        .route("/api/v1/payouts/{id}", get(payout))
        .route("/api/v1/peers", get(peers))
        .route("/api/v1/peers/why", get(peers_why))
        .route("/api/v1/validators", get(validators))
        .route("/api/v1/validators/proposals", get(validator_proposals))
        .route("/api/v1/validators/{id}", get(validator))
        .route("/api/v1/policy", get(policy))
        .route("/api/v1/pools", get(pools))
        .route("/api/v1/pools/{pool}", get(pool))
        .route("/api/v1/pools/{pool}/batches", get(batches))
        .route("/api/v1/pools/{pool}/leader", get(leader))
        .route("/api/v1/pools/{pool}/members", get(members))
        .route("/api/v1/pools/{pool}/requests", get(nodes::requests))
        .route("/api/v1/pools/{pool}/root", get(root))
        .route("/api/v1/pools/{pool}/signatures", post(signatures))
        .route("/api/v1/proofs/score", get(proofs::score))
        .route("/api/v1/proofs/owed", get(proofs::owed))
        .route("/api/v1/proofs/account", get(proofs::account))
        .route("/api/v1/accounts/{id}", get(account))
        .route("/api/v1/commands", post(hand_in).layer(DefaultBodyLimit::max(COMMAND_LIMIT)))
        .route("/api/v1/commands/check", post(check).layer(DefaultBodyLimit::max(COMMAND_LIMIT)))
        .route("/api/v1/commands/{account}/{nonce}", get(command))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(not_found)
        .method_not_allowed_fallback(async || Failure::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn_with_state(hosts, host::check))
        .layer(middleware::from_fn(reply::number))
        .with_state(shared)
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIME_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Failure::Timeout.into_response(),
    }
}

async fn not_found(request: Request) -> Failure {
    Failure::NotFound(format!("there is nothing at {}", request.uri().path()))
}

async fn status(State(shared): State<Shared>) -> Json<StatusView> {
    Json(shared.view.status())
}

async fn peers(State(shared): State<Shared>) -> Json<PeerList> {
    Json(PeerList { peers: shared.view.peers() })
}

async fn peers_why(State(shared): State<Shared>) -> Json<PeerWhyList> {
    Json(PeerWhyList { peers: shared.view.peers_why().await })
}

async fn validators(State(shared): State<Shared>) -> Json<ValidatorList> {
    Json(ValidatorList { validators: shared.view.validators() })
}

async fn validator_proposals(State(shared): State<Shared>) -> Json<ProposalList> {
    Json(ProposalList { proposals: shared.view.validator_proposals() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyQuery {
    epoch: Option<Epoch>,
}

async fn policy(
    State(shared): State<Shared>,
    query: Result<Query<PolicyQuery>, QueryRejection>,
) -> Result<Json<PolicyView>, Failure> {
    let Query(PolicyQuery { epoch }) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    if epoch == Some(Epoch::ZERO) {
        return Err(Failure::BadRequest("epoch = 0: the first epoch is 1".to_owned()));
    }
    Ok(Json(shared.view.policy(epoch)))
}

async fn validator(
    State(shared): State<Shared>,
    id: Result<Path<NodeId>, PathRejection>,
) -> Result<Json<ValidatorStatusView>, Failure> {
    let Path(id) = id.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let found = shared.read(move |view| view.validator(&id)).await?;
    found
        .map(Json)
        .ok_or_else(|| Failure::NotFound(format!("{id} is no validator, and was none that the state remembers")))
}

/// The process runs and answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// The node does its work.
async fn readyz(State(shared): State<Shared>) -> Result<&'static str, Failure> {
    shared.view.ready().map(|()| "ready\n").map_err(Failure::NotReady)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlocksQuery {
    before: Option<Height>,
    limit: Option<usize>,
}

async fn blocks(
    State(shared): State<Shared>,
    query: Result<Query<BlocksQuery>, QueryRejection>,
) -> Result<Json<BlockList>, Failure> {
    let Query(query) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let limit = limit(query.limit)?;
    let blocks = shared.read(move |view| view.blocks(query.before, limit)).await?;
    Ok(Json(BlockList { chain: CHAIN.to_owned(), oldest_block: shared.view.oldest_block(), blocks }))
}

async fn block(
    State(shared): State<Shared>,
    path: Result<Path<Height>, PathRejection>,
) -> Result<Json<BlockView>, Failure> {
    let Path(height) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let found = shared.read(move |view| view.block(height)).await?;
    found.map(Json).ok_or_else(|| no_block(&*shared.view, height))
}

async fn certificate(
    State(shared): State<Shared>,
    path: Result<Path<Height>, PathRejection>,
) -> Result<Json<CertificateView>, Failure> {
    let Path(height) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let found = shared.read(move |view| view.certificate(height)).await?;
    found.map(Json).ok_or_else(|| no_block(&*shared.view, height))
}

/// For whoever verifies the chain: the bytes that are hashed and signed, as `application/octet-stream`.
async fn raw_block(
    State(shared): State<Shared>,
    path: Result<Path<Height>, PathRejection>,
) -> Result<Vec<u8>, Failure> {
    let Path(height) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let found = shared.read(move |view| view.raw_block(height)).await?;
    found.ok_or_else(|| no_block(&*shared.view, height))
}

/// Why a block is not here.
fn no_block(view: &dyn NodeView, height: Height) -> Failure {
    let newest = view.status().height;
    let why = match view.oldest_block() {
        _ if height > newest || height == Height::ZERO => format!("block {height} is not final here"),
        Some(oldest) => format!(
            "block {height} was removed here, or never was here: this node has the blocks from {oldest} to {newest}. Older ones are with \
             nodes that run with --archive"
        ),
        None => format!(
            "block {height} never was here: this node has taken the state after block {newest} from its peers, and no block yet. Older \
             ones are with nodes that run with --archive"
        ),
    };
    Failure::NotFound(why)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochsQuery {
    before: Option<Epoch>,
    limit: Option<usize>,
}

async fn epochs(
    State(shared): State<Shared>,
    query: Result<Query<EpochsQuery>, QueryRejection>,
) -> Result<Json<EpochList>, Failure> {
    let Query(query) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let limit = limit(query.limit)?;
    let epochs = shared.read(move |view| view.epochs(query.before, limit)).await?;
    Ok(Json(EpochList { epochs }))
}

async fn epoch(
    State(shared): State<Shared>,
    path: Result<Path<Epoch>, PathRejection>,
) -> Result<Json<EpochView>, Failure> {
    let Path(epoch) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let found = shared.read(move |view| view.epoch(epoch)).await?;
    found.map(Json).ok_or_else(|| Failure::NotFound(format!("epoch {epoch} has not begun")))
}

async fn reports(
    State(shared): State<Shared>,
    path: Result<Path<Epoch>, PathRejection>,
    query: Result<Query<ReportFilter>, QueryRejection>,
) -> Result<Json<EpochReportsView>, Failure> {
    let Path(epoch) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let Query(query) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let limit = limit(query.limit)?;
    let found = shared.read(move |view| view.reports(epoch, query, limit)).await?;
    found.map(Json).ok_or_else(|| {
        Failure::NotFound(format!(
            "the reports of epoch {epoch} are not here: it has no final scores, or got them more than {} days ago or before this node's \
             history begins. The blocks hold them too",
            crate::history::reports::DAYS
        ))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScoresQuery {
    epoch: Option<Epoch>,
}

async fn scores(
    State(shared): State<Shared>,
    query: Result<Query<ScoresQuery>, QueryRejection>,
) -> Result<Json<ScoreList>, Failure> {
    let Query(query) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let list = shared.read(move |view| {
        let epoch = match query.epoch {
            Some(epoch) => Some(epoch),
            None => view.newest_scored()?,
        };
        let mut scores = epoch.map_or_else(|| Ok(Vec::new()), |epoch| view.scores(epoch))?;
        scores.sort_by(|a, b| b.score_ppm.cmp(&a.score_ppm).then(a.worker.cmp(&b.worker)));
        Ok(ScoreList { epoch, scores })
    });
    list.await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricsQuery {
    from: Option<UnixMillis>,
    to: Option<UnixMillis>,
    limit: Option<usize>,
}

async fn node_metrics(
    State(shared): State<Shared>,
    path: Result<Path<NodeId>, PathRejection>,
    query: Result<Query<MetricsQuery>, QueryRejection>,
) -> Result<Json<MetricList>, Failure> {
    let Path(node) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let Query(query) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let (from, to) = time_range(query.from, query.to)?;
    let limit = limit(query.limit)?;
    let found = shared.read(move |view| view.node_metrics(&node, from, to, limit)).await?;
    let unknown = || Failure::NotFound(format!("the network has no worker {node}; of others nothing is kept"));
    found.map(|metrics| Json(MetricList { node, metrics })).ok_or_else(unknown)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayoutsQuery {
    after: Option<PayoutId>,
    limit: Option<usize>,
}

async fn payouts(
    State(shared): State<Shared>,
    query: Result<Query<PayoutsQuery>, QueryRejection>,
) -> Result<Json<PayoutList>, Failure> {
    let Query(query) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let limit = limit(query.limit)?;
    let found = shared.read(move |view| view.payouts(query.after.as_ref(), limit)).await?;
    let unknown = || Failure::NotFound("after: there is no such payout".to_owned());
    found.map(|payouts| Json(PayoutList { payouts })).ok_or_else(unknown)
}

async fn payout(
    State(shared): State<Shared>,
    path: Result<Path<PayoutId>, PathRejection>,
) -> Result<Json<PayoutView>, Failure> {
    let Path(id) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let found = shared.read(move |view| view.payout(&id)).await?;
    found.map(Json).ok_or_else(|| Failure::NotFound(format!("there is no payout {id}")))
}

pub(super) fn no_pool(pool: &PoolId) -> Failure {
    Failure::NotFound(format!("there is no pool {pool}"))
}

async fn pools(State(shared): State<Shared>) -> Result<Json<PoolList>, Failure> {
    shared.read(|view| Ok(view.pools())).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchesQuery {
    limit: Option<usize>,
}

async fn batches(
    State(shared): State<Shared>,
    path: Result<Path<PoolId>, PathRejection>,
    query: Result<Query<BatchesQuery>, QueryRejection>,
) -> Result<Json<BatchList>, Failure> {
    let Path(pool) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let Query(BatchesQuery { limit: asked }) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let limit = limit(asked)?;
    let found = shared.read(move |view| view.batches(&pool, limit)).await?;
    found.map(Json).ok_or_else(|| no_pool(&pool))
}

async fn members(
    State(shared): State<Shared>,
    path: Result<Path<PoolId>, PathRejection>,
) -> Result<Json<MemberList>, Failure> {
    let Path(pool) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let found = shared.read(move |view| Ok(view.members(&pool))).await?;
    found.map(Json).ok_or_else(|| no_pool(&pool))
}

async fn pool(
    State(shared): State<Shared>,
    path: Result<Path<PoolId>, PathRejection>,
) -> Result<Json<PoolView>, Failure> {
    let Path(pool) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let found = shared.read(move |view| view.pool(&pool)).await?;
    found.map(Json).ok_or_else(|| no_pool(&pool))
}

async fn leader(
    State(shared): State<Shared>,
    path: Result<Path<PoolId>, PathRejection>,
) -> Result<Json<LeaderOrderView>, Failure> {
    let Path(pool) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let found = shared.read(move |view| Ok(view.leader(&pool))).await?;
    let none = || Failure::NotFound(format!("there is no pool {pool}, or it has not elected a leader yet"));
    found.map(Json).ok_or_else(none)
}

async fn account(
    State(shared): State<Shared>,
    path: Result<Path<NodeId>, PathRejection>,
) -> Result<Json<AccountView>, Failure> {
    let Path(account) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    shared.read(move |view| Ok(view.account(&account))).await.map(Json)
}

async fn command(
    State(shared): State<Shared>,
    path: Result<Path<(NodeId, u64)>, PathRejection>,
) -> Result<Json<CommandView>, Failure> {
    let Path((account, nonce)) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    shared.read(move |view| view.command(&account, nonce)).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RootQuery {
    settlement: Option<u64>,
    #[serde(default)]
    offset: usize,
}

async fn root(
    State(shared): State<Shared>,
    path: Result<Path<PoolId>, PathRejection>,
    query: Result<Query<RootQuery>, QueryRejection>,
) -> Result<Json<LedgerView>, Failure> {
    let Path(pool) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let Query(RootQuery { settlement, offset }) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let found = shared.read(move |view| view.root(&pool, settlement, offset, MAX_LEAVES)).await?;
    found.map(Json).ok_or_else(|| {
        let of = settlement.map_or_else(|| "no".to_owned(), |settlement| format!("for settlement {settlement} no"));
        Failure::NotFound(format!("pool {} has {of} payout root here", pool.short()))
    })
}

async fn signatures(
    State(shared): State<Shared>,
    path: Result<Path<PoolId>, PathRejection>,
    body: Result<Json<SignatureRequest>, JsonRejection>,
) -> Result<Json<SignatureList>, Failure> {
    let Path(pool) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let Json(request) = body.map_err(|e| Failure::BadRequest(e.body_text()))?;
    Ok(Json(shared.view.signatures(pool, request).await?))
}

async fn hand_in(
    State(shared): State<Shared>,
    body: Result<Json<CommandBody>, JsonRejection>,
) -> Result<(StatusCode, Json<TakenView>), Failure> {
    let Json(CommandBody { signed_command }) = body.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let signed: SignedCommand = from_hex("signed_command", &signed_command)?;
    let Command { account, nonce, .. } = signed.record;
    let id = Item::Command(signed.clone()).reference().id;
    let durable = shared.view.hand_in(signed).await?;
    Ok((StatusCode::ACCEPTED, Json(TakenView { id, account, nonce, durable })))
}

async fn check(
    State(shared): State<Shared>,
    body: Result<Json<UnsignedBody>, JsonRejection>,
) -> Result<Json<CheckedView>, Failure> {
    let Json(UnsignedBody { command }) = body.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let command: Command = from_hex("command", &command)?;
    let Command { account, nonce, .. } = command;
    shared.read(move |view| Ok(view.check(&command))).await??;
    Ok(Json(CheckedView { account, nonce }))
}

/// The value of a field, in the codec's bytes, in hex.
fn from_hex<T: Wire>(field: &str, text: &str) -> Result<T, Failure> {
    let wrong = |problem: String| Failure::BadRequest(format!("{field}: {problem}"));
    let bytes = hex::decode(text).map_err(|e| wrong(e.to_string()))?;
    decode(&bytes).map_err(|e| wrong(e.to_string()))
}

pub(super) fn limit(asked: Option<usize>) -> Result<usize, Failure> {
    match asked {
        None => Ok(DEFAULT_LIMIT),
        Some(limit @ 1..=MAX_LIMIT) => Ok(limit),
        Some(limit) => Err(Failure::BadRequest(format!("limit = {limit}: 1 to {MAX_LIMIT} are possible"))),
    }
}

/// The times from which on and before which something is asked for: all, if not said.
pub(super) fn time_range(
    from: Option<UnixMillis>,
    to: Option<UnixMillis>,
) -> Result<(UnixMillis, UnixMillis), Failure> {
    let (from, to) = (from.unwrap_or(UnixMillis::ZERO), to.unwrap_or(UnixMillis::new(u64::MAX)));
    if from > to {
        return Err(Failure::BadRequest(format!("from = {from} is later than to = {to}")));
    }
    Ok((from, to))
}
