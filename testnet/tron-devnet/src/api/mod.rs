//! The full node's HTTP API: `/wallet/*` answers as of the head, `/walletsolidity/*` as of the solidified block.
//!
//! Every call takes GET and POST. A request that cannot be understood is answered like a full node does: status 200 with
//! `{"Error": ...}`. What calls do is in the modules, one for each kind; all of them are listed in `calls`. TronGrid's
//! events, under `/v1`, are in `events`.

mod account;
mod broadcast;
mod calls;
mod constant;
mod control;
mod decode;
mod event_data;
mod events;
mod faulty;
mod json;
mod make;
mod message;
mod parse;
mod print;
mod query;
mod read_tx;
mod request;
mod schema;
mod sign;
mod stake;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::chain::{Chain, View};
use crate::faults::Plan;
use crate::node::Node;
use crate::report;
use calls::answer;
pub use control::Powers;
use request::{BadRequest, MAX_BODY, Request};

/// Where the powers of control are.
const POWERS: &str = "/devnet/";
/// Where TronGrid's calls are.
const GRID: &str = "/v1/";

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

/// What every call is given.
#[derive(Clone, Copy, Debug)]
struct Call<'a> {
    node: &'a Node,
    tree: Tree,
    request: &'a Request,
    plan: &'a Plan,
}

/// What every request needs.
#[derive(Clone, Debug)]
struct Shared {
    node: Arc<Node>,
    powers: Option<Arc<Powers>>,
    stop: CancellationToken,
    places: Arc<Semaphore>,
}

/// Calls carried out at once; more wait. Few enough that a block always finds a thread.
const MAX_AT_ONCE: usize = 64;

impl Shared {
    /// Carries out what may take its time, on a thread for that. None if the network stops meanwhile, or cannot keep what it
    /// did.
    async fn carry_out<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> T + Send + 'static) -> Option<T> {
        let shared = self.clone();
        let done = async {
            let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
            // The place is taken until the work is done, even if nobody waits for it any more.
            let work = move || (work(&shared), place);
            tokio::task::spawn_blocking(work).await.ok().map(|(done, _)| done)
        };
        tokio::select! {
            () = self.stop.cancelled() => None,
            done = done => done.filter(|_| !self.node.has_failed()),
        }
    }
}

/// The API over a running node. `/devnet/*` works only with `powers`; requests that a fault never answers end with `stop`.
pub fn router(node: Arc<Node>, powers: Option<Powers>, stop: CancellationToken) -> Router {
    let places = Arc::new(Semaphore::new(MAX_AT_ONCE));
    Router::new().fallback(handle).with_state(Shared { node, powers: powers.map(Arc::new), stop, places })
}

async fn handle(State(shared): State<Shared>, http: HttpRequest) -> Response {
    let path = http.uri().path().to_owned();
    let response = respond(shared, http).await;
    report::call(&path, response.status());
    response
}

async fn respond(shared: Shared, http: HttpRequest) -> Response {
    let (parts, body) = http.into_parts();
    let path = parts.uri.path().trim_end_matches('/').to_owned();
    if path == "/healthcheck" {
        return (StatusCode::OK, "OK").into_response();
    }
    let request = match parts.method {
        Method::HEAD if path.starts_with(POWERS) => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
        Method::GET | Method::HEAD => Ok(Request::from_query(parts.uri.query().unwrap_or_default())),
        Method::POST => read_body(body, &parts).await,
        Method::OPTIONS => return preflight(&path),
        _ => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    if let Some(name) = path.strip_prefix(POWERS) {
        let asked = control::Asked {
            name: name.to_owned(),
            request,
            is_read: parts.method == Method::GET,
            is_page: parts.headers.contains_key(header::ORIGIN),
        };
        let carried_out = shared.carry_out(move |shared| control::respond(shared, &asked)).await;
        return carried_out.unwrap_or_else(unavailable);
    }
    let name = match split(&path) {
        Some((_, name)) => name.to_owned(),
        None if path.starts_with(GRID) => "events".to_owned(),
        None => return StatusCode::NOT_FOUND.into_response(),
    };
    let plan = if shared.powers.is_some() {
        shared.node.faults.take(&name, || query::is_for_newest(&name, &request))
    } else {
        Plan::default()
    };
    if let Some(response) = faulty::before(&shared, &plan).await {
        return response;
    }
    let planned = plan.clone();
    let answered = shared.carry_out(move |shared| match split(&path) {
        Some((tree, name)) => answer(&shared.node, tree, name, &request, &planned).ok_or(StatusCode::NOT_FOUND),
        None => events::answer(&shared.node, &path, &request),
    });
    match answered.await {
        Some(Ok(value)) => faulty::after(&shared, &plan, &name, value).await,
        Some(Err(status)) => status.into_response(),
        None => unavailable(),
    }
}

fn unavailable() -> Response {
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

fn split(path: &str) -> Option<(Tree, &str)> {
    if let Some(name) = path.strip_prefix("/walletsolidity/") {
        return Some((Tree::Solid, name));
    }
    path.strip_prefix("/wallet/").map(|name| (Tree::Head, name))
}

async fn read_body(body: Body, parts: &Parts) -> Result<Request, BadRequest> {
    let bytes = to_bytes(body, MAX_BODY).await.map_err(|_| BadRequest::too_big())?;
    let is_form = parts.headers.get(header::CONTENT_TYPE).is_some_and(|v| v == "application/x-www-form-urlencoded");
    Request::from_body(&bytes, is_form, parts.uri.query().unwrap_or_default())
}

/// One POST to `path` without HTTP around it, for tools that embed the network: the JSON that a client would get, or none
/// if there is no such call. Control and faults have no part in it.
pub fn call(node: &Node, path: &str, body: &[u8]) -> Option<String> {
    let (tree, name) = split(path)?;
    let request = Request::from_body(body, false, "");
    answer(node, tree, name, &request, &Plan::default()).map(|value| value.to_string())
}

/// The path of every call, control aside.
pub fn paths() -> impl Iterator<Item = String> {
    let of = |tree, root| calls::calls(tree).map(move |(name, _)| format!("/{root}/{name}"));
    of(Tree::Head, "wallet").chain(of(Tree::Solid, "walletsolidity"))
}

/// Pages of any origin may use the node's API, as with public nodes, but not the powers of `/devnet`: those are refused to
/// requests that a page sent, and GET changes nothing there, because a browser sends some GETs without saying for whom.
const ANY_ORIGIN: (header::HeaderName, &str) = (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");

fn preflight(path: &str) -> Response {
    if split(path).is_none() && !path.starts_with(GRID) {
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
