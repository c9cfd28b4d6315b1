//! `/devnet/*`: control over the network that no real one gives. Refused unless the network was started with it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use revm::primitives::Address;
use serde_json::{Value, json};

use super::Shared;
use super::request::{BadRequest, Request};
use crate::address;
use crate::chain::Intervention;
use crate::faults::Plan;
use crate::node::{ChainMut, Node, Snapshot};
use crate::token;
use crate::wallet::{self, Validity, Wallet};

/// Blocks made by one call of `mine`.
const MAX_MINED: u64 = 100_000;
/// Of these, blocks made before somebody else has a turn.
const MINED_IN_A_ROW: u64 = 100;
/// Memory for snapshots, about; the oldest ones give way to a new one.
const MAX_SNAPSHOT_BYTES: usize = 1 << 30;
/// Fee limit of the token owner's transactions.
const OWNER_FEE_LIMIT: u64 = 1_000_000_000;

const JSON: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

/// What control needs besides the node.
#[derive(Debug)]
pub struct Control {
    /// Owner and address of the test USDT.
    token: Option<(Wallet, Address)>,
    snapshots: Mutex<Snapshots>,
}

#[derive(Debug)]
struct Snapshots {
    held: BTreeMap<u64, Snapshot>,
    /// Of [`Self::held`], about.
    bytes: usize,
    max_bytes: usize,
    /// How many there ever were; the newest one's id.
    taken: u64,
    /// Up to this id they gave way to newer ones.
    dropped: u64,
}

impl Snapshots {
    fn new(max_bytes: usize) -> Self {
        Self { held: BTreeMap::new(), bytes: 0, max_bytes, taken: 0, dropped: 0 }
    }

    /// Holds a snapshot and answers its id.
    fn hold(&mut self, snapshot: Snapshot) -> u64 {
        self.taken = self.taken.saturating_add(1);
        self.bytes = self.bytes.saturating_add(snapshot.bytes());
        self.held.insert(self.taken, snapshot);
        while self.bytes > self.max_bytes
            && self.held.len() > 1
            && let Some((id, oldest)) = self.held.pop_first()
        {
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
            self.dropped = id;
        }
        self.taken
    }

    /// Takes a snapshot out, and forgets all that came after it.
    fn take(&mut self, id: u64) -> Result<Snapshot, String> {
        let Some(snapshot) = self.held.remove(&id) else {
            return Err(if (1..=self.dropped).contains(&id) {
                let max = self.max_bytes >> 20;
                format!("snapshot {id} was dropped: the newer ones take the {max} MiB that there are for snapshots")
            } else {
                format!("there is no snapshot {id}")
            });
        };
        self.held.retain(|other, _| *other < id);
        self.bytes = self.held.values().map(Snapshot::bytes).sum();
        Ok(snapshot)
    }
}

impl Control {
    /// With the owner and the address of the test USDT, if there is one.
    pub fn new(token: Option<(Wallet, Address)>) -> Self {
        Self { token, snapshots: Mutex::new(Snapshots::new(MAX_SNAPSHOT_BYTES)) }
    }
}

/// Why a method was not carried out.
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

/// A call of a method.
#[derive(Debug)]
pub(super) struct Asked {
    /// Which.
    pub(super) name: String,
    pub(super) request: Result<Request, BadRequest>,
    /// Asked with GET.
    pub(super) is_read: bool,
    /// Asked by a page in a browser.
    pub(super) is_page: bool,
}

/// Status 403 without control and for pages, 405 for a GET of what changes something, 404 for an unknown method, 400 with
/// `{"error": ...}` for one that cannot be used so.
pub(super) fn respond(shared: &Shared, asked: &Asked) -> Response {
    let refused = |status, message: &str| (status, JSON, json!({ "error": message }).to_string()).into_response();
    let Some(control) = &shared.control else {
        return refused(StatusCode::FORBIDDEN, "the network was started without --control");
    };
    if asked.is_page {
        return refused(StatusCode::FORBIDDEN, "pages in a browser have no control over the network");
    }
    let result = match &asked.request {
        Ok(request) if asked.is_read && !is_question(&asked.name, request) => {
            return refused(StatusCode::METHOD_NOT_ALLOWED, "POST it");
        }
        Ok(request) => run(shared, control, &asked.name, request),
        Err(bad) => Err(Denied::Bad(bad.clone())),
    };
    match result {
        Ok(Some(value)) => (JSON, value.to_string()).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(Denied::Bad(bad)) => refused(StatusCode::BAD_REQUEST, &bad.message),
        Err(Denied::Message(message)) => refused(StatusCode::BAD_REQUEST, &message),
    }
}

/// Whether it changes nothing.
fn is_question(name: &str, request: &Request) -> bool {
    name == "info" || (name == "faults" && request.is_empty())
}

fn run(shared: &Shared, control: &Control, name: &str, request: &Request) -> Result<Option<Value>, Denied> {
    let node = &shared.node;
    Ok(Some(match name {
        "info" => info(node),
        "mine" => mine(shared, request)?,
        "travel" => {
            node.travel(unsigned(request, "milliseconds")?).or_else(|e| denied(e.to_string()))?;
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
        "token" => change_token(node, control, request)?,
        "snapshot" => snapshot(node, control)?,
        "revert" => revert(node, control, request)?,
        "fork" => fork(node, request)?,
        "solidify" => {
            let on = switch(request, "on")?;
            let mut chain = node.chain_mut();
            chain.set_solidifies(on);
            saved(node, chain)?;
            info(node)
        }
        "faults" => faults(node, request)?,
        _ => return Ok(None),
    }))
}

fn unsigned(request: &Request, name: &str) -> Result<u64, Denied> {
    if request.get(name).is_none() {
        return denied(format!("{name} is missing"));
    }
    unsigned_or_0(request, name)
}

/// 0 if absent.
fn unsigned_or_0(request: &Request, name: &str) -> Result<u64, Denied> {
    u64::try_from(request.long(name)?).or_else(|_| denied(format!("{name} must not be negative")))
}

fn switch(request: &Request, name: &str) -> Result<bool, Denied> {
    match request.get(name) {
        Some(Value::Bool(on)) => Ok(*on),
        Some(Value::String(text)) if text == "true" || text == "false" => Ok(text == "true"),
        _ => denied(format!("{name} must be true or false")),
    }
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

fn saved(node: &Node, mut chain: ChainMut<'_>) -> Result<(), Denied> {
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

/// `blocks` (default 1), now or from `time` on.
fn mine(shared: &Shared, request: &Request) -> Result<Value, Denied> {
    let node = &shared.node;
    let blocks = unsigned_or_0(request, "blocks")?.max(1);
    if blocks > MAX_MINED {
        return denied(format!("at most {MAX_MINED} blocks at once"));
    }
    let mut time = if request.get("time").is_some() { Some(unsigned(request, "time")?) } else { None };
    let mut left = blocks;
    while left > 0 {
        if shared.stop.is_cancelled() {
            return denied("the network stops");
        }
        node.mine(time.take(), left.min(MINED_IN_A_ROW)).or_else(|e| denied(e.to_string()))?;
        left = left.saturating_sub(MINED_IN_A_ROW);
    }
    Ok(info(node))
}

fn intervene(node: &Node, intervention: &Intervention) -> Result<Value, Denied> {
    let mut chain = node.chain_mut();
    chain.intervene(intervention);
    saved(node, chain)?;
    Ok(info(node))
}

/// `paused`, `deprecated` (booleans), `blacklist`, `unblacklist` (addresses), `basis_points` with `max_fee`: sends the
/// owner's transactions and answers their ids.
fn change_token(node: &Node, control: &Control, request: &Request) -> Result<Value, Denied> {
    let Some((owner, usdt)) = &control.token else {
        return denied("the network was started without the test USDT");
    };
    let mut calls = Vec::new();
    if request.get("paused").is_some() {
        calls.push(token::call_data(if switch(request, "paused")? { "pause()" } else { "unpause()" }, &[]));
    }
    if request.get("deprecated").is_some() {
        if !switch(request, "deprecated")? {
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
    if calls.is_empty() {
        return denied("none of the token's settings is named");
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

fn snapshot(node: &Node, control: &Control) -> Result<Value, Denied> {
    if node.is_kept() {
        return denied("snapshots need a network in memory");
    }
    let snapshot = node.snapshot();
    let id = control.snapshots.lock().unwrap_or_else(PoisonError::into_inner).hold(snapshot);
    Ok(json!({ "id": id }))
}

/// Back to snapshot `id`, which is used up, with all that came after it.
fn revert(node: &Node, control: &Control, request: &Request) -> Result<Value, Denied> {
    let id = unsigned(request, "id")?;
    let snapshot = control.snapshots.lock().unwrap_or_else(PoisonError::into_inner).take(id);
    node.revert(snapshot.or_else(denied)?).or_else(|e| denied(e.to_string()))?;
    Ok(info(node))
}

/// Drops the newest `depth` blocks, solidified ones and block 1 excepted; their transactions are gone, and may be sent again.
fn fork(node: &Node, request: &Request) -> Result<Value, Denied> {
    let depth = unsigned(request, "depth")?;
    let mut chain = node.chain_mut();
    let number = chain.head().number().saturating_sub(depth).max(1);
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::chain::{Chain, Genesis};

    fn node() -> Node {
        Node::new(Chain::new(Genesis::seeded("snapshots", 1, 1, 1_700_000_000_000, 0)), false)
    }

    #[test]
    fn snapshots_that_take_too_much_memory_give_way_from_the_oldest_on() {
        let node = node();
        let mut snapshots = Snapshots::new(node.snapshot().bytes() * 5 / 2);
        assert_eq!([1, 2, 3].map(|_| snapshots.hold(node.snapshot())), [1, 2, 3]);
        assert!(snapshots.take(1).unwrap_err().contains("was dropped"));
        assert!(snapshots.take(4).unwrap_err().contains("no snapshot 4"));
        assert!(snapshots.take(0).unwrap_err().contains("no snapshot 0"));
        assert!(snapshots.take(2).is_ok());
        assert!(snapshots.take(3).unwrap_err().contains("no snapshot 3"), "it came after 2");
        assert_eq!((snapshots.held.len(), snapshots.bytes), (0, 0));
    }

    #[test]
    fn a_snapshot_that_is_too_big_alone_is_held_all_the_same() {
        let mut snapshots = Snapshots::new(1);
        let node = node();
        let id = snapshots.hold(node.snapshot());
        assert!(snapshots.take(id).is_ok());
    }
}
