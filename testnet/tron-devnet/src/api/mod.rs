//! The full node's HTTP API: `/wallet/*` answers as of the head, `/walletsolidity/*` as of the solidified block.
//!
//! Every call takes GET and POST. A request that cannot be understood is answered like a full node does: status 200 with
//! `{"Error": ...}`. What calls do is in the modules, one for each kind.

mod broadcast;
mod constant;
mod control;
mod faulty;
mod json;
mod make;
mod print;
mod query;
mod read_tx;
mod request;
mod sign;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::chain::{Chain, View};
use crate::faults::Plan;
use crate::node::Node;
pub use control::Powers;
use request::{BadRequest, MAX_BODY, Request};

/// Which state a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tree {
    Head,
    Solid,
}

impl Tree {
    fn view(self, chain: &Chain) -> View<'_> {
        match self {
            Self::Head => chain.head(),
            Self::Solid => chain.solid(),
        }
    }
}

/// What every request needs.
#[derive(Clone, Debug)]
struct Shared {
    node: Arc<Node>,
    powers: Option<Arc<Powers>>,
    stop: CancellationToken,
}

/// The API over a running node. `/devnet/*` works only with `powers`; requests that a fault never answers end with `stop`.
pub fn router(node: Arc<Node>, powers: Option<Powers>, stop: CancellationToken) -> Router {
    Router::new().fallback(handle).with_state(Shared { node, powers: powers.map(Arc::new), stop })
}

async fn handle(State(shared): State<Shared>, http: HttpRequest) -> Response {
    let (parts, body) = http.into_parts();
    let path = parts.uri.path().trim_end_matches('/').to_owned();
    if path == "/healthcheck" {
        return (StatusCode::OK, "OK").into_response();
    }
    let request = match parts.method {
        Method::GET => Ok(Request::from_query(parts.uri.query().unwrap_or_default())),
        Method::POST => read_body(body, parts.uri.query().unwrap_or_default()).await,
        Method::OPTIONS => return preflight(&path),
        _ => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    if let Some(name) = path.strip_prefix("/devnet/") {
        return control::respond(&shared, name, &request);
    }
    let Some((tree, name)) = split(&path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let plan = if shared.powers.is_some() { shared.node.faults.take() } else { Plan::default() };
    if let Some(response) = faulty::before(&shared, &plan).await {
        return response;
    }
    let answer = request.and_then(|request| answer(&shared.node, tree, name, &request, &plan));
    let value = match answer {
        Ok(Some(value)) => value,
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(bad) => bad.to_value(),
    };
    faulty::after(&shared, &plan, name, value).await
}

fn split(path: &str) -> Option<(Tree, &str)> {
    if let Some(name) = path.strip_prefix("/walletsolidity/") {
        return Some((Tree::Solid, name));
    }
    path.strip_prefix("/wallet/").map(|name| (Tree::Head, name))
}

async fn read_body(body: Body, query: &str) -> Result<Request, BadRequest> {
    let bytes = to_bytes(body, MAX_BODY).await.map_err(|_| BadRequest {
        class: "java.lang.Exception",
        message: format!("body size is too big, the limit is {MAX_BODY}"),
    })?;
    if bytes.is_empty() { Ok(Request::from_query(query)) } else { Request::from_body(&bytes) }
}

/// One POST to `path` without HTTP around it, for tools that embed the network: the JSON that a client would get, or none
/// if there is no such call. Control and faults have no part in it.
pub fn call(node: &Node, path: &str, body: &[u8]) -> Option<String> {
    let (tree, name) = split(path)?;
    let answered = Request::from_body(body).and_then(|request| answer(node, tree, name, &request, &Plan::default()));
    match answered {
        Ok(value) => value.map(|value| value.to_string()),
        Err(bad) => Some(bad.to_value().to_string()),
    }
}

/// Pages of any origin may use the node's API, as with public nodes, but not the powers of `/devnet`.
const ANY_ORIGIN: (header::HeaderName, &str) = (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");

fn preflight(path: &str) -> Response {
    if split(path).is_none() {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let allowed = [
        ANY_ORIGIN,
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type, tron-pro-api-key"),
    ];
    (StatusCode::NO_CONTENT, allowed).into_response()
}

fn print_json(value: &Value) -> Response {
    ([ANY_ORIGIN, (header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// None if there is no such call.
fn answer(node: &Node, tree: Tree, name: &str, request: &Request, plan: &Plan) -> Result<Option<Value>, BadRequest> {
    let value = match (tree, name) {
        (Tree::Head, "broadcasttransaction") => broadcast::transaction(node, request, plan)?,
        (Tree::Head, "broadcasthex") => broadcast::hex(node, request, plan)?,
        (_, "triggerconstantcontract") => constant::call(node, tree, request)?,
        (_, "estimateenergy") => constant::estimate(node, tree, request)?,
        (Tree::Head, "createtransaction") => make::transfer(node, request)?,
        (Tree::Head, "createaccount") => make::account(node, request)?,
        (Tree::Head, "accountpermissionupdate") => make::permissions(node, request)?,
        (Tree::Head, "deploycontract") => make::deploy(node, request)?,
        (Tree::Head, "triggersmartcontract") => make::trigger(node, request)?,
        (Tree::Head, "getsignweight") => sign::sign_weight(node, request)?,
        (Tree::Head, "getapprovedlist") => sign::approved_list(node, request)?,
        (_, "getnowblock") => query::now_block(node, tree, request, plan.stale_head),
        (_, "getblock") => query::block(node, tree, request)?,
        (_, "getblockbynum") => query::block_by_number(node, tree, request)?,
        (Tree::Head, "getblockbyid") => query::block_by_id(node, tree, request)?,
        (_, "gettransactionbyid") => query::transaction(node, tree, request)?,
        (_, "gettransactioninfobyid") => query::transaction_info(node, tree, request)?,
        (_, "gettransactioninfobyblocknum") => query::transaction_infos(node, tree, request)?,
        (_, "getaccount") => query::account(node, tree, request)?,
        (Tree::Head, "getaccountresource") => query::account_resource(node, request)?,
        (Tree::Head, "getaccountnet") => query::account_net(node, request)?,
        (Tree::Head, "getcontract") => query::contract(node, request)?,
        (Tree::Head, "getchainparameters") => query::chain_parameters(node),
        (Tree::Head, "getnodeinfo") => query::node_info(node),
        (_, "validateaddress") => query::validate_address(request)?,
        (Tree::Head, "getenergyprices") => json!({ "prices": format!("0:{}", node.chain().params().energy_price) }),
        (Tree::Head, "getbandwidthprices") => {
            json!({ "prices": format!("0:{}", node.chain().params().bandwidth_price) })
        }
        _ => return Ok(None),
    };
    Ok(Some(value))
}
