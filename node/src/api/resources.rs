//! The node's own machine.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};

use super::model::{ResourceFilter, ResourceHistory, ResourcesView};
use super::reply::Failure;
use super::routes::{Shared, limit, time_range};

pub(super) async fn resources(State(shared): State<Shared>) -> Result<Json<ResourcesView>, Failure> {
    let now = shared.read(|view| Ok(view.resources())).await?;
    now.map(Json).ok_or_else(|| {
        Failure::NotReady("the machine has not been sampled yet, or cannot be: the log of the node says why".to_owned())
    })
}

pub(super) async fn history(
    State(shared): State<Shared>,
    query: Result<Query<ResourceFilter>, QueryRejection>,
) -> Result<Json<ResourceHistory>, Failure> {
    let Query(ResourceFilter { granularity, from, to, limit: asked }) =
        query.map_err(|e| Failure::BadRequest(e.body_text()))?;
    let (range, limit) = (time_range(from, to)?, limit(asked)?);
    let spans = shared.read(move |view| view.resource_history(granularity, range, limit)).await?;
    Ok(Json(ResourceHistory { granularity, spans }))
}
