//! The full node's HTTP API: `/wallet/*` answers as of the head, `/walletsolidity/*` as of the solidified block.
//!
//! Every call takes GET and POST. A request that cannot be understood is answered like a full node does: status 200 with
//! `{"Error": ...}`. What calls do is in the modules, one for each kind; all of them are listed in `calls`. TronGrid's
//! events, under `/v1`, are in `events`; what TronBox asks its own network for, under `/admin`, in `admin`.

mod account;
mod admin;
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

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::chain::{Chain, View};
use crate::connections::Connection;
use crate::faults::Plan;
use crate::node::Node;
use crate::report;
use crate::requests::Requests;
use crate::wallet::Wallet;
use calls::answer;
pub use control::Control;
use request::{BadRequest, MAX_BODY, Request};

/// Where the control methods are.
const CONTROL: &str = "/devnet/";
/// Where TronGrid's calls are.
const GRID: &str = "/v1/";
/// Where the calls of TronBox's runtime environment are.
const ADMIN: &str = "/admin/";
/// Whether the network runs.
const HEALTH: &str = "/healthcheck";
/// The header of TronGrid's API keys. Any are taken.
const API_KEY: &str = "tron-pro-api-key";
/// Stands for clients without one.
const NO_KEY: &str = "no API key";
/// How long a client may take over a request's body.
const MAX_BODY_TIME: Duration = Duration::from_secs(60);

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
    accounts: Arc<[Wallet]>,
    control: Option<Arc<Control>>,
    stop: CancellationToken,
    places: Arc<Semaphore>,
    requests: Arc<Requests>,
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

/// The API over a running node, whose funded accounts are known to all on this machine. `/devnet/*` works only with `control`;
/// requests that a fault never answers end with `stop`.
pub fn router(node: Arc<Node>, accounts: Vec<Wallet>, control: Option<Control>, stop: CancellationToken) -> Router {
    let places = Arc::new(Semaphore::new(MAX_AT_ONCE));
    let (accounts, control, requests) = (accounts.into(), control.map(Arc::new), Arc::default());
    let shared = Shared { node, accounts, control, stop, places, requests };
    Router::new().fallback(handle).with_state(shared)
}

async fn handle(State(shared): State<Shared>, http: HttpRequest) -> Response {
    let path = http.uri().path().to_owned();
    let mut response = respond(shared, http).await;
    if !is_local(&path) {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
    }
    report::call(&path, response.status());
    response
}

async fn respond(shared: Shared, http: HttpRequest) -> Response {
    let (parts, body) = http.into_parts();
    let path = parts.uri.path().trim_end_matches('/').to_owned();
    let request = match parts.method {
        Method::HEAD if path.starts_with(CONTROL) => return wrong_method(),
        Method::GET | Method::HEAD => Ok(Request::from_query(parts.uri.query().unwrap_or_default())),
        Method::POST => read_body(body, &parts).await,
        Method::OPTIONS if !is_local(&path) => return preflight(&parts.headers),
        _ => return wrong_method(),
    };
    if let Some(connection) = parts.extensions.get::<Connection>() {
        connection.has_asked();
    }
    let is_page = parts.headers.contains_key(header::ORIGIN);
    if path == HEALTH {
        return (StatusCode::OK, "OK").into_response();
    }
    if let Some(name) = path.strip_prefix(ADMIN) {
        let (name, is_from_here) = (name.to_owned(), !is_page && is_from_here(&parts));
        let answered = shared.carry_out(move |shared| admin::respond(shared, &name, is_from_here)).await;
        return answered.map_or_else(unavailable, |response| response.unwrap_or_else(|| unknown(&path)));
    }
    if let Some(name) = path.strip_prefix(CONTROL) {
        let asked = control::Asked { name: name.to_owned(), request, is_read: parts.method == Method::GET, is_page };
        let carried_out = shared.carry_out(move |shared| control::respond(shared, &asked)).await;
        return carried_out.unwrap_or_else(unavailable);
    }
    count(&shared, &parts.headers, &path, &request);
    let name = match split(&path) {
        Some((_, name)) => name.to_owned(),
        None if path.starts_with(GRID) => "events".to_owned(),
        None => return unknown(&path),
    };
    let plan = if shared.control.is_some() {
        shared.node.faults.take(&name, || query::is_for_newest(&name, &request))
    } else {
        Plan::default()
    };
    if let Some(response) = faulty::before(&shared, &plan).await {
        return response;
    }
    let planned = plan.clone();
    let asked = path.clone();
    let answered = shared.carry_out(move |shared| match split(&asked) {
        Some((tree, name)) => answer(&shared.node, tree, name, &request, &planned).ok_or(StatusCode::NOT_FOUND),
        None => events::answer(&shared.node, &asked, &request),
    });
    match answered.await {
        Some(Ok(value)) => faulty::after(&shared, &plan, &name, value).await,
        Some(Err(StatusCode::NOT_FOUND)) => unknown(&path),
        Some(Err(status)) => status.into_response(),
        None => unavailable(),
    }
}

/// Counts a request under its client's API key, which all are free to choose here. Constant calls are told apart by the
/// function that they run.
fn count(shared: &Shared, headers: &HeaderMap, path: &str, request: &Result<Request, BadRequest>) {
    let client = headers.get(API_KEY).and_then(|key| key.to_str().ok()).unwrap_or(NO_KEY);
    let function = request.as_ref().ok().and_then(constant::function);
    let call = match split(path) {
        Some((tree, name)) if calls::calls(tree).any(|(known, _)| *known == name) => match (name, function) {
            (constant::CALL, Some(function)) => Some(format!("{path} {function}")),
            _ => Some(path.to_owned()),
        },
        None if path.starts_with(GRID) => Some(GRID.to_owned()),
        _ => None,
    };
    shared.requests.count(client, call.as_deref(), shared.node.now());
}

/// A call that this network does not have.
fn unknown(path: &str) -> Response {
    let other = match split(path) {
        Some((Tree::Solid, name)) if calls::calls(Tree::Head).any(|(known, _)| *known == name) => {
            format!("; /wallet/{name} does")
        }
        _ => String::new(),
    };
    let error = format!(
        "{path} does not exist on this network{other}. It serves a full node's /wallet and /walletsolidity, TronGrid's \
         events under /v1, {ADMIN}accounts, {ADMIN}accounts-json, {ADMIN}requests, {HEALTH}, and with --control {CONTROL}*. \
         What it lacks of a full node: docs/src/devnet.md, \"What is not in it\""
    );
    (StatusCode::NOT_FOUND, print_json(&json!({ "Error": error }))).into_response()
}

fn wrong_method() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, METHODS)]).into_response()
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
    let read =
        tokio::time::timeout(MAX_BODY_TIME, to_bytes(body, MAX_BODY)).await.map_err(|_| BadRequest::too_slow())?;
    let bytes = read.map_err(|_| BadRequest::too_big())?;
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

/// Pages of any origin may use the node's API, as with public nodes, and read why a request failed.
const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");
/// What calls take.
const METHODS: &str = "GET, POST";

/// What is for programs on this machine, and not for pages in a browser: those learn nothing of it, and control is refused
/// to requests that a page sent. GET changes nothing there, because a browser sends some GETs without saying for whom.
fn is_local(path: &str) -> bool {
    path.starts_with(CONTROL) || path.starts_with(ADMIN)
}

/// Whether a request comes from this machine and names it as its host. A page in a browser that has had the name of its own site
/// resolved to this machine (DNS rebinding) names that site.
fn is_from_here(parts: &Parts) -> bool {
    let is_local_name = |host: &HeaderValue| {
        let authority = host.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
        authority.is_some_and(|authority| {
            let name = authority.host().trim_start_matches('[').trim_end_matches(']');
            name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        })
    };
    parts.extensions.get::<Connection>().is_some_and(Connection::is_local)
        && parts.headers.get(header::HOST).is_some_and(is_local_name)
}

/// Allows whatever headers the page wants to send.
fn preflight(asked: &HeaderMap) -> Response {
    let headers = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let mut response = (StatusCode::NO_CONTENT, [(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS)]).into_response();
    if let Some(headers) = headers {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers);
    }
    response
}

fn print_json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
