//! Proofs of what the newest state says: each answer is the text of a document, byte for byte as `lucid proof verify` reads it.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use lucid_types::id::{NodeId, PoolId};
use lucid_types::payout_tree::AccountId;
use lucid_types::time::Epoch;
use serde::Deserialize;

use super::reply::Failure;
use super::routes::Shared;
use crate::proof::Subject;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScoreQuery {
    epoch: Epoch,
    worker: NodeId,
}

pub(super) async fn score(
    State(shared): State<Shared>,
    query: Result<Query<ScoreQuery>, QueryRejection>,
) -> Result<impl IntoResponse, Failure> {
    let Query(ScoreQuery { epoch, worker }) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    document(&shared, Subject::Score { epoch, worker }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwedQuery {
    pool: PoolId,
    account: AccountId,
}

pub(super) async fn owed(
    State(shared): State<Shared>,
    query: Result<Query<OwedQuery>, QueryRejection>,
) -> Result<impl IntoResponse, Failure> {
    let Query(OwedQuery { pool, account }) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    document(&shared, Subject::Owed { pool, account }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountQuery {
    node: NodeId,
}

pub(super) async fn account(
    State(shared): State<Shared>,
    query: Result<Query<AccountQuery>, QueryRejection>,
) -> Result<impl IntoResponse, Failure> {
    let Query(AccountQuery { node }) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    document(&shared, Subject::Account { node }).await
}

async fn document(shared: &Shared, subject: Subject) -> Result<impl IntoResponse + use<>, Failure> {
    // The text is made there, too: with many validators it takes a moment.
    let text = shared.read(move |view| Ok(view.proof(&subject)?.map(|proof| proof.text()))).await??;
    Ok(([(CONTENT_TYPE, "application/json")], text))
}
