//! `/devnet/*`: powers over the network that no real one gives. Refused unless the network was started with control.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use revm::primitives::Address;
use serde_json::{Value, json};

use super::Shared;
use super::request::{BadRequest, Request};
use crate::address;
use crate::chain::{Chain, Intervention};
use crate::faults::Plan;
use crate::node::Node;
use crate::token;
use crate::wallet::{self, Validity, Wallet};

/// Blocks made by one call of `mine`.
const MAX_MINED: u64 = 100_000;
/// Snapshots held at once.
const MAX_SNAPSHOTS: usize = 16;
/// Fee limit of the token owner's transactions.
const OWNER_FEE_LIMIT: u64 = 1_000_000_000;

const JSON: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

/// What control needs besides the node.
#[derive(Debug)]
pub struct Powers {
    /// Owner and address of the test USDT.
    token: Option<(Wallet, Address)>,
    snapshots: Mutex<BTreeMap<u64, Chain>>,
}

impl Powers {
    /// With the owner and the address of the test USDT, if there is one.
    pub fn new(token: Option<(Wallet, Address)>) -> Self {
        Self { token, snapshots: Mutex::new(BTreeMap::new()) }
    }
}

/// Why a power was not used.
enum Denied {
    Bad(BadRequest),
    Message(String),
}

impl From<BadRequest> for Denied {
    fn from(bad: BadRequest) -> Self {
        Self::Bad(bad)
    }
}

fn denied<T>(message: impl Into<String>) -> Result<T, Denied> {
    Err(Denied::Message(message.into()))
}

/// Status 403 without control, 404 for an unknown power, 400 with `{"error": ...}` for one that cannot be used so.
pub(super) fn respond(shared: &Shared, name: &str, request: &Result<Request, BadRequest>) -> Response {
    let Some(powers) = &shared.powers else {
        let body = json!({ "error": "the network was started without --control" });
        return (StatusCode::FORBIDDEN, body.to_string()).into_response();
    };
    let result = match request {
        Ok(request) => run(&shared.node, powers, name, request),
        Err(bad) => Err(Denied::Bad(bad.clone())),
    };
    let message = match result {
        Ok(Some(value)) => return (JSON, value.to_string()).into_response(),
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(Denied::Bad(bad)) => bad.message,
        Err(Denied::Message(message)) => message,
    };
    (StatusCode::BAD_REQUEST, json!({ "error": message }).to_string()).into_response()
}

fn run(node: &Node, powers: &Powers, name: &str, request: &Request) -> Result<Option<Value>, Denied> {
    Ok(Some(match name {
        "info" => info(node),
        "mine" => mine(node, request)?,
        "travel" => {
            node.travel(unsigned(request, "milliseconds")?);
            info(node)
        }
        "fund" => {
            let balance = unsigned(request, "balance")?;
            let balances = funded(request)?.into_iter().map(|address| (address, balance)).collect();
            intervene(node, &Intervention::SetBalances(balances))?
        }
        "energyfactor" => {
            let contract = wanted_address(request, "contract")?;
            let factor = unsigned(request, "factor")?;
            intervene(node, &Intervention::SetEnergyFactor { contract, factor })?
        }
        "token" => change_token(node, powers, request)?,
        "snapshot" => snapshot(node, powers)?,
        "revert" => revert(node, powers, request)?,
        "fork" => fork(node, request)?,
        "solidify" => {
            let mut chain = node.chain();
            chain.set_solidifies(request.flag("on"));
            drop(chain);
            info(node)
        }
        "faults" => faults(node, request)?,
        _ => return Ok(None),
    }))
}

fn unsigned(request: &Request, name: &str) -> Result<u64, Denied> {
    u64::try_from(request.long(name)?).or_else(|_| denied(format!("{name} must not be negative")))
}

/// In hex or base58check, whatever `visible` says.
fn wanted_address(request: &Request, name: &str) -> Result<Address, Denied> {
    read_address(name, &request.text(name))
}

fn read_address(name: &str, text: &str) -> Result<Address, Denied> {
    address::from_base58(text)
        .or_else(|_| address::from_hex(text))
        .or_else(|_| denied(format!("{name} is not an address: {text:?}")))
}

/// The one `address`, or all in the array `addresses`.
fn funded(request: &Request) -> Result<Vec<Address>, Denied> {
    match request.get("addresses") {
        None => Ok(vec![wanted_address(request, "address")?]),
        Some(Value::Array(items)) => {
            items.iter().map(|item| read_address("addresses", item.as_str().unwrap_or_default())).collect()
        }
        Some(_) => denied("addresses is not an array"),
    }
}

fn saved(node: &Node, mut chain: crate::node::ChainGuard<'_>) -> Result<(), Denied> {
    node.save(&mut chain).or_else(|e| denied(e.to_string()))
}

fn info(node: &Node) -> Value {
    let chain = node.chain();
    let (head, solid) = (chain.head(), chain.solid());
    json!({
        "number": head.number(),
        "id": hex::encode(head.block().id),
        "time": head.block().time(),
        "solid": solid.number(),
        "pending": chain.pending(),
        "now": node.now(),
    })
}

/// `blocks` (default 1), a second apart on demand, or at `time`.
fn mine(node: &Node, request: &Request) -> Result<Value, Denied> {
    let blocks = unsigned(request, "blocks")?.max(1);
    if blocks > MAX_MINED {
        return denied(format!("at most {MAX_MINED} blocks at once"));
    }
    let time = unsigned(request, "time")?;
    for _ in 0..blocks {
        let at = if time > 0 { time } else { node.now() };
        node.produce(at).or_else(|e| denied(e.to_string()))?;
    }
    Ok(info(node))
}

fn intervene(node: &Node, intervention: &Intervention) -> Result<Value, Denied> {
    let mut chain = node.chain();
    chain.intervene(intervention);
    saved(node, chain)?;
    Ok(info(node))
}

/// `paused`, `deprecated` (booleans), `blacklist`, `unblacklist` (addresses), `basis_points` with `max_fee`: sends the
/// owner's transactions and answers their ids.
fn change_token(node: &Node, powers: &Powers, request: &Request) -> Result<Value, Denied> {
    let Some((owner, usdt)) = &powers.token else {
        return denied("the network was started without the test USDT");
    };
    let mut calls = Vec::new();
    if request.get("paused").is_some() {
        calls.push(token::call_data(if request.flag("paused") { "pause()" } else { "unpause()" }, &[]));
    }
    if request.get("deprecated").is_some() {
        if !request.flag("deprecated") {
            return denied("deprecation cannot be taken back");
        }
        calls.push(token::call_data("deprecate(address)", &[token::address_word(Address::ZERO)]));
    }
    for (name, function) in [("blacklist", "addBlackList(address)"), ("unblacklist", "removeBlackList(address)")] {
        if request.get(name).is_some() {
            calls.push(token::call_data(function, &[token::address_word(wanted_address(request, name)?)]));
        }
    }
    if request.get("basis_points").is_some() {
        let words = [unsigned(request, "basis_points")?, unsigned(request, "max_fee")?].map(token::number_word);
        calls.push(token::call_data("setParams(uint256,uint256)", &words));
    }
    let mut ids = Vec::new();
    for (data, nonce) in calls.into_iter().zip(0u64..) {
        let validity = {
            let chain = node.chain();
            let head = chain.head().block().clone();
            let validity = Validity::after(head.id.0, head.time(), 60_000);
            Validity { timestamp: node.now().saturating_add(nonce), ..validity }
        };
        let mut transaction =
            wallet::build(&wallet::trigger(owner.address(), *usdt, data, 0), 0, OWNER_FEE_LIMIT, validity);
        owner.sign(&mut transaction);
        let id = node.submit(transaction).or_else(|refusal| denied(refusal.to_string()))?;
        ids.push(Value::from(hex::encode(id)));
    }
    Ok(json!({ "transactions": ids }))
}

fn snapshot(node: &Node, powers: &Powers) -> Result<Value, Denied> {
    if node.is_kept() {
        return denied("snapshots need a network in memory");
    }
    let chain = node.chain().clone();
    let mut snapshots = powers.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
    if snapshots.len() >= MAX_SNAPSHOTS {
        return denied(format!("there are {MAX_SNAPSHOTS} snapshots already; revert to one to use it up"));
    }
    let id = snapshots.last_key_value().map_or(1, |(last, _)| last.saturating_add(1));
    snapshots.insert(id, chain);
    Ok(json!({ "id": id }))
}

/// Back to snapshot `id`, which is used up, with all that came after it.
fn revert(node: &Node, powers: &Powers, request: &Request) -> Result<Value, Denied> {
    let id = unsigned(request, "id")?;
    let mut snapshots = powers.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(chain) = snapshots.remove(&id) else {
        return denied(format!("there is no snapshot {id}"));
    };
    snapshots.retain(|other, _| *other < id);
    drop(snapshots);
    let mut running = node.chain();
    *running = chain;
    saved(node, running)?;
    Ok(info(node))
}

/// Drops the newest `depth` blocks, solidified ones excepted; their transactions are gone, and may be sent again.
fn fork(node: &Node, request: &Request) -> Result<Value, Denied> {
    let depth = unsigned(request, "depth")?;
    let mut chain = node.chain();
    let number = chain.head().number().saturating_sub(depth);
    chain.drop_blocks(number);
    saved(node, chain)?;
    Ok(info(node))
}

/// Sets the faults if there are any parameters, and answers those in force.
fn faults(node: &Node, request: &Request) -> Result<Value, Denied> {
    if !request.is_empty() {
        let plan: Plan = serde_json::from_value(request.to_value()).or_else(|e| denied(e.to_string()))?;
        node.faults.set(plan);
    }
    serde_json::to_value(node.faults.get()).or_else(|e| denied(e.to_string()))
}
