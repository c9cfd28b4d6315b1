//! Registered nodes, requests and stamps.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use lucid_types::id::{NodeId, PoolId};
use serde::Deserialize;

use super::model::{NodeFilter, NodeList, NodeRole, NodeState, RegisteredView, RequestList, StampView};
use super::reply::Failure;
use super::routes::{Shared, no_pool};

/// Nodes in one answer, and the most.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodesQuery {
    after: Option<NodeId>,
    pool: Option<PoolId>,
    role: Option<NodeRole>,
    state: Option<NodeState>,
    limit: Option<usize>,
}

pub(super) async fn nodes(
    State(shared): State<Shared>,
    query: Result<Query<NodesQuery>, QueryRejection>,
) -> Result<Json<NodeList>, Failure> {
    let Query(NodesQuery { after, pool, role, state, limit }) =
        query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Failure::BadRequest(format!("limit = {limit}: 1 to {MAX_LIMIT} are possible")));
    }
    let wanted = NodeFilter { pool, role, state };
    shared.read(move |view| view.nodes(after, wanted, limit)).await.map(Json)
}

pub(super) async fn node(
    State(shared): State<Shared>,
    path: Result<Path<NodeId>, PathRejection>,
) -> Result<Json<RegisteredView>, Failure> {
    let Path(node) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let found = shared.read(move |view| view.node(&node)).await?;
    found.map(Json).ok_or_else(|| {
        Failure::NotFound(format!("the node {node} is not registered; `lucid node register` in its home registers it"))
    })
}

pub(super) async fn requests(
    State(shared): State<Shared>,
    path: Result<Path<PoolId>, PathRejection>,
) -> Result<Json<RequestList>, Failure> {
    let Path(pool) = path.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let found = shared.read(move |view| Ok(view.requests(&pool))).await?;
    found.map(Json).ok_or_else(|| no_pool(&pool))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StampQuery {
    pool: Option<PoolId>,
}

pub(super) async fn stamp(
    State(shared): State<Shared>,
    query: Result<Query<StampQuery>, QueryRejection>,
) -> Result<Json<StampView>, Failure> {
    let Query(StampQuery { pool }) = query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let found = shared.read(move |view| Ok(view.stamp(pool))).await?;
    found.map(Json).ok_or_else(|| match pool {
        Some(pool) => no_pool(&pool),
        None => Failure::NotFound("no block has closed an epoch".to_owned()),
    })
}
