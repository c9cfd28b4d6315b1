//! Scores: one with all its parts, a worker's history, the best of them, what lowered them, whether they are right, and whether validators agree.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use lucid_types::id::{NodeId, PoolId};
use lucid_types::time::Epoch;
use serde::Deserialize;

use super::model::{
    AgreementView, EpochRange, Leaderboard, LeaderboardFilter, PoolReportView, PootScoreView, ScoreChangeView,
    ScoreFilter, ScoreHistory, StatisticsView, ValidationList, ValidationView, ValidationWanted, VerifyView, WhyFilter,
    WhyView,
};
use super::reply::Failure;
use super::routes::{Shared, limit, no_pool};

/// Epochs that one answer is made from at most: a window of credits on the public mesh.
pub(crate) const MAX_EPOCHS: u64 = 5_040;
/// Epochs whose reports are compared in one answer at most, and if not asked otherwise.
pub(crate) const MAX_COMPARED: u64 = 720;
pub(crate) const DEFAULT_COMPARED: u64 = 30;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScoreQuery {
    epoch: Option<Epoch>,
}

pub(super) async fn score(
    State(shared): State<Shared>,
    path: Result<Path<NodeId>, PathRejection>,
    query: Result<Query<ScoreQuery>, QueryRejection>,
) -> Result<Json<PootScoreView>, Failure> {
    let Path(worker) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let Query(ScoreQuery { epoch }) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let found = shared.read(move |view| view.score(&worker, epoch)).await?;
    found.map(Json).ok_or_else(|| no_score(&worker, epoch))
}

pub(super) async fn history(
    State(shared): State<Shared>,
    path: Result<Path<NodeId>, PathRejection>,
    query: Result<Query<ScoreFilter>, QueryRejection>,
) -> Result<Json<ScoreHistory>, Failure> {
    let Path(worker) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let Query(query) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let limit = limit(query.limit)?;
    is_range(query.from, query.to, MAX_EPOCHS)?;
    let spans = shared.read_long(move |view, asker| view.score_history(&worker, query, limit, asker)).await?;
    Ok(Json(ScoreHistory { worker, spans }))
}

pub(super) async fn leaderboard(
    State(shared): State<Shared>,
    query: Result<Query<LeaderboardFilter>, QueryRejection>,
) -> Result<Json<Leaderboard>, Failure> {
    let Query(query) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let limit = limit(query.limit)?;
    shared.read(move |view| view.leaderboard(query, limit)).await.map(Json)
}

pub(super) async fn agreement(
    State(shared): State<Shared>,
    query: Result<Query<EpochRange>, QueryRejection>,
) -> Result<Json<AgreementView>, Failure> {
    let Query(range) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    is_range(range.from, range.to, MAX_COMPARED)?;
    shared.read_long(move |view, asker| view.agreement(range, asker)).await.map(Json)
}

pub(super) async fn why(
    State(shared): State<Shared>,
    path: Result<Path<NodeId>, PathRejection>,
    query: Result<Query<WhyFilter>, QueryRejection>,
) -> Result<Json<WhyView>, Failure> {
    let Path(worker) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let Query(WhyFilter { settlement }) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    Ok(Json(shared.read_long(move |view, asker| view.why(&worker, settlement, asker)).await??))
}

pub(super) async fn change(
    State(shared): State<Shared>,
    path: Result<Path<NodeId>, PathRejection>,
    query: Result<Query<ScoreQuery>, QueryRejection>,
) -> Result<Json<ScoreChangeView>, Failure> {
    let Path(worker) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let Query(ScoreQuery { epoch }) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let found = shared.read_long(move |view, asker| view.score_change(&worker, epoch, asker)).await?;
    found.map(Json).ok_or_else(|| no_score(&worker, epoch))
}

pub(super) async fn verify(
    State(shared): State<Shared>,
    path: Result<Path<NodeId>, PathRejection>,
    query: Result<Query<ScoreQuery>, QueryRejection>,
) -> Result<Json<VerifyView>, Failure> {
    let Path(worker) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let Query(ScoreQuery { epoch }) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    Ok(Json(shared.read_long(move |view, asker| view.verify(&worker, epoch, asker)).await??))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportQuery {
    from: Epoch,
    to: Epoch,
}

pub(super) async fn report(
    State(shared): State<Shared>,
    path: Result<Path<PoolId>, PathRejection>,
    query: Result<Query<ReportQuery>, QueryRejection>,
) -> Result<Json<PoolReportView>, Failure> {
    let Path(pool) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let Query(ReportQuery { from, to }) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    is_range(Some(from), Some(to), MAX_EPOCHS)?;
    let found = shared.read_long(move |view, asker| view.pool_report(&pool, from, to, asker)).await?;
    found.map(Json).ok_or_else(|| no_pool(&pool))
}

pub(super) async fn statistics(
    State(shared): State<Shared>,
    query: Result<Query<ScoreQuery>, QueryRejection>,
) -> Result<Json<StatisticsView>, Failure> {
    let Query(ScoreQuery { epoch }) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let found = shared.read_long(move |view, asker| view.statistics(epoch, asker)).await?;
    found.map(Json).ok_or_else(|| {
        Failure::NotFound(epoch.map_or_else(
            || "no epoch has final scores here yet".to_owned(),
            |epoch| format!("epoch {epoch} has no final scores here: not yet, or they are not kept any more"),
        ))
    })
}

/// A worker has no score of an epoch, or of the newest.
fn no_score(worker: &NodeId, epoch: Option<Epoch>) -> Failure {
    let when = epoch.map_or_else(|| "the newest final epoch".to_owned(), |epoch| format!("epoch {epoch}"));
    Failure::NotFound(format!(
        "worker {worker} has no score of {when} here: it was not drawn or not measured in it, or the scores are not kept here any more"
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ValidationsQuery {
    limit: Option<usize>,
}

pub(super) async fn validations(
    State(shared): State<Shared>,
    path: Result<Path<NodeId>, PathRejection>,
    query: Result<Query<ValidationsQuery>, QueryRejection>,
) -> Result<Json<ValidationList>, Failure> {
    let Path(worker) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let Query(ValidationsQuery { limit: asked }) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let limit = limit(asked)?;
    let validations = shared.read(move |view| view.validations(&worker, limit)).await?;
    Ok(Json(ValidationList { worker, validations }))
}

pub(super) async fn validate(
    State(shared): State<Shared>,
    body: Result<Json<ValidationWanted>, JsonRejection>,
) -> Result<Json<ValidationView>, Failure> {
    let Json(wanted) = body.map_err(|e| Failure::BadRequest(e.body_text()))?;
    Ok(Json(shared.view.validate(wanted).await?))
}

/// Whether a range of epochs is one, and not of too many.
fn is_range(from: Option<Epoch>, to: Option<Epoch>, most: u64) -> Result<(), Failure> {
    let (Some(from), Some(to)) = (from, to) else { return Ok(()) };
    if from > to {
        return Err(Failure::BadRequest(format!("from = {from} is after to = {to}")));
    }
    if to.get() - from.get() >= most {
        return Err(Failure::BadRequest(format!(
            "from = {from} to = {to}: at most {most} epochs are possible at a time"
        )));
    }
    Ok(())
}
