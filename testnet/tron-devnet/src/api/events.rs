//! TronGrid's calls for the events of contracts: `/v1/transactions/{id}/events`, `/v1/contracts/{address}/events` and
//! `/v1/blocks/{number or latest}/events`, as tronweb's `event` makes them.
//!
//! Events are the logs of transactions in blocks, read with the interface that the contract was deployed with. One that
//! the interface does not have is listed without a name.

use std::ops::{ControlFlow, Range};

use axum::http::StatusCode;
use lucid_tron_types::proto;
use revm::primitives::{Log, keccak256};
use serde_json::{Map, Value, json};

use super::request::{BadRequest, Request};
use super::{GRID, decode, event_data};
use crate::address;
use crate::chain::{TransactionInfo, View};
use crate::node::Node;

/// Events on a page if nothing is said, and at most.
const PAGE: (i64, i64) = (20, 200);
/// What one request may look at, while no block can be made: each block, transaction, log, and [`BYTES_A_STEP`] of a log's
/// data and of the interface it is read with.
const STEPS: usize = 200_000;
const BYTES_A_STEP: usize = 32;

/// Which events are wanted.
enum Subject {
    Transaction(Vec<u8>),
    /// Its 20 bytes.
    Contract(Vec<u8>),
    Block(u64),
}

/// Status 404 if the path is of no such call, 400 if it does not say whose events.
pub(super) fn answer(node: &Node, path: &str, request: &Result<Request, BadRequest>) -> Result<Value, StatusCode> {
    let path = path.strip_prefix(GRID).and_then(|path| path.strip_suffix("/events"));
    let (kind, which) = path.and_then(|path| path.split_once('/')).ok_or(StatusCode::NOT_FOUND)?;
    let chain = node.chain();
    let subject = match kind {
        "transactions" => hex::decode(which).ok().map(Subject::Transaction),
        "contracts" => {
            let wire = decode::base58(which).ok().flatten().or_else(|| decode::hex(which)).unwrap_or_default();
            address::from_wire(&wire).ok().map(|contract| Subject::Contract(contract.to_vec()))
        }
        "blocks" if which == "latest" => Some(Subject::Block(chain.head().number())),
        "blocks" => which.parse().ok().map(Subject::Block),
        _ => return Err(StatusCode::NOT_FOUND),
    };
    let asked = subject.zip(request.as_ref().ok()).ok_or(StatusCode::BAD_REQUEST);
    asked.and_then(|(subject, request)| {
        page(&subject, request, chain.head(), STEPS).map_err(|_| StatusCode::BAD_REQUEST)
    })
}

/// Where an event is: block, transaction in it, log of that.
type Place = (u64, usize, usize);

/// What the query asks for, newest first unless it says otherwise. A page that is not the last has a fingerprint, which
/// asks for the next: where it ended, so that new events move nothing. A page ends when it is full, or when `steps` have
/// been made, and may then have no events.
fn page(subject: &Subject, request: &Request, view: View<'_>, steps: usize) -> Result<Value, BadRequest> {
    let limit = Some(request.long("limit")?).filter(|limit| *limit > 0).unwrap_or(PAGE.0).min(PAGE.1);
    let is_ascending = request.text("order_by").ends_with(",asc");
    let from = request.get("fingerprint").map(|_| read_place(&request.text("fingerprint"))).transpose()?;
    let mut numbers = numbers(subject, request, view)?;
    if let Some((number, transaction, log)) = from {
        if is_ascending {
            numbers.start = numbers.start.max(number);
        } else {
            // Nothing is before a block's first log.
            let more = u64::from((transaction, log) > (0, 0));
            numbers.end = numbers.end.min(number.saturating_add(more));
        }
    }
    let mut page = Page {
        subject,
        view,
        name: request.text("event_name"),
        is_ascending,
        from,
        limit: usize::try_from(limit).unwrap_or(0),
        steps,
        events: Vec::new(),
    };
    let mut numbers = std::iter::from_fn(|| if is_ascending { numbers.next() } else { numbers.next_back() });
    let end = numbers.try_for_each(|number| page.look_at(number)).break_value();
    let mut meta = json!({ "at": crate::node::now(), "page_size": page.events.len() });
    if let Some((block, transaction, log)) = end {
        meta["fingerprint"] = Value::from(format!("{block}-{transaction}-{log}"));
    }
    Ok(json!({ "data": page.events, "success": true, "meta": meta }))
}

fn read_place(fingerprint: &str) -> Result<Place, BadRequest> {
    let mut parts = fingerprint.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let mut part = || parts.next().flatten().ok_or_else(|| BadRequest::number(fingerprint));
    let index = |part: u64| usize::try_from(part).unwrap_or(usize::MAX);
    Ok((part()?, index(part()?), index(part()?)))
}

/// The numbers of the blocks in which what is wanted can be.
fn numbers(subject: &Subject, request: &Request, view: View<'_>) -> Result<Range<u64>, BadRequest> {
    let one = |number: u64| number..number.saturating_add(1);
    let info = |id: &[u8]| view.transaction_info(&id.try_into().ok()?);
    let of_subject = match subject {
        Subject::Block(number) => one(*number),
        Subject::Transaction(id) => info(id).map_or(0..0, |info| one(info.block_number)),
        Subject::Contract(_) => 0..u64::MAX,
    };
    let all = 0..view.number().saturating_add(1);
    let mut ranges = vec![of_subject, all.clone()];
    if request.get("block_number").is_some() {
        ranges.push(u64::try_from(request.long("block_number")?).map_or(0..0, one));
    }
    let unconfirmed = view.chain().solid().number().saturating_add(1);
    if request.flag("only_confirmed") {
        ranges.push(0..unconfirmed);
    }
    if request.flag("only_unconfirmed") {
        ranges.push(unconfirmed..u64::MAX);
    }
    // Blocks are in the order of their times.
    let first = |is_late: &dyn Fn(i64) -> bool| {
        let (mut low, mut high) = (all.start, all.end);
        while low < high {
            let middle = low.midpoint(high);
            let time = view.block_by_number(middle).map_or(i64::MAX, |b| i64::try_from(b.time()).unwrap_or(i64::MAX));
            if is_late(time) { high = middle } else { low = middle.saturating_add(1) }
        }
        low
    };
    let least = request.long("min_block_timestamp")?;
    ranges.push(first(&|time| time >= least)..u64::MAX);
    let most = request.long("max_block_timestamp")?;
    if most > 0 {
        ranges.push(0..first(&|time| time > most));
    }
    let start = ranges.iter().map(|range| range.start).max().unwrap_or(0);
    Ok(start..ranges.iter().map(|range| range.end).min().unwrap_or(0))
}

/// A page in the making.
struct Page<'a> {
    subject: &'a Subject,
    view: View<'a>,
    /// Empty for all.
    name: String,
    is_ascending: bool,
    /// Where the page before ended: the places from here on are yet to come, or, descending, those before.
    from: Option<Place>,
    limit: usize,
    /// How many may still be made.
    steps: usize,
    events: Vec<Value>,
}

impl<'a> Page<'a> {
    /// Adds a block's events; breaks with the place where the page ends. What has been begun is finished however many steps
    /// it takes, so that every page gets on.
    fn look_at(&mut self, number: u64) -> ControlFlow<Place> {
        let Some(block) = self.view.block_by_number(number) else { return ControlFlow::Continue(()) };
        if self.steps == 0 {
            return ControlFlow::Break(if self.is_ascending {
                (number, 0, 0)
            } else {
                (number.saturating_add(1), 0, 0)
            });
        }
        let logs = block.infos.iter().enumerate().flat_map(|(transaction, info)| {
            info.logs.iter().enumerate().map(move |(index, log)| ((number, transaction, index), info, log))
        });
        let logs: Box<dyn Iterator<Item = _>> = if self.is_ascending { Box::new(logs) } else { Box::new(logs.rev()) };
        let (is_ascending, from) = (self.is_ascending, self.from);
        let is_ahead = |place| from.is_none_or(|from| if is_ascending { place >= from } else { place < from });
        for (place, info, log) in logs.filter(|(place, ..)| is_ahead(*place)) {
            self.look_at_log(place, info, log)?;
        }
        self.steps = self.steps.saturating_sub(block.infos.len().saturating_add(1));
        ControlFlow::Continue(())
    }

    fn look_at_log(&mut self, place: Place, info: &'a TransactionInfo, log: &'a Log) -> ControlFlow<Place> {
        let (number, transaction, index) = place;
        let end = if self.is_ascending { place } else { (number, transaction, index.saturating_add(1)) };
        if self.steps == 0 {
            return ControlFlow::Break(end);
        }
        self.steps = self.steps.saturating_sub(1);
        let is_wanted = match self.subject {
            Subject::Transaction(id) => info.id == **id,
            Subject::Contract(contract) => log.address == **contract,
            Subject::Block(_) => true,
        };
        if !is_wanted {
            return ControlFlow::Continue(());
        }
        let abi = self.view.contract(log.address).and_then(|contract| contract.abi.as_ref());
        let bytes = abi.map_or(0, prost::Message::encoded_len).saturating_add(log.data.data.len());
        self.steps = self.steps.saturating_sub(bytes / BYTES_A_STEP);
        let is_named = |entry: &&proto::AbiEntry| self.name.is_empty() || entry.name == self.name;
        let entry = abi.and_then(|abi| abi.entrys.iter().filter(is_named).find(|entry| is_of(entry, log)));
        if !self.name.is_empty() && entry.is_none() {
            return ControlFlow::Continue(());
        }
        if self.events.len() >= self.limit {
            return ControlFlow::Break(end);
        }
        let is_unconfirmed = number > self.view.chain().solid().number();
        self.events.push(event(entry, is_unconfirmed, info, index, log));
        ControlFlow::Continue(())
    }
}

/// `entry` is what the interface says of it.
fn event(
    entry: Option<&proto::AbiEntry>,
    is_unconfirmed: bool,
    info: &TransactionInfo,
    index: usize,
    log: &Log,
) -> Value {
    let contract = address::to_base58(log.address);
    let mut event = json!({
        "block_number": info.block_number,
        "block_timestamp": info.block_time,
        "caller_contract_address": contract,
        "contract_address": contract,
        "event_index": index,
        "event_name": "",
        "event": "",
        "result": {},
        "result_type": {},
        "transaction_id": hex::encode(info.id),
    });
    if is_unconfirmed {
        event["_unconfirmed"] = Value::Bool(true);
    }
    if let Some(entry) = entry {
        let inputs = entry.inputs.iter().map(|input| {
            let indexed = if input.indexed { "indexed " } else { "" };
            format!("{} {indexed}{}", input.r#type, input.name).trim_end().to_owned()
        });
        event["event_name"] = Value::from(entry.name.as_str());
        event["event"] = Value::from(format!("{}({})", entry.name, inputs.collect::<Vec<_>>().join(", ")));
        event["result"] = Value::Object(results(entry, log));
        event["result_type"] =
            entry.inputs.iter().map(|input| (input.name.clone(), Value::from(&*input.r#type))).collect();
    }
    event
}

/// Whether an interface's entry is the event that a log is of.
fn is_of(entry: &proto::AbiEntry, log: &Log) -> bool {
    let indexed = entry.inputs.iter().filter(|input| input.indexed).count();
    let hash = || {
        let types: Vec<&str> = entry.inputs.iter().map(|input| input.r#type.as_str()).collect();
        keccak256(format!("{}({})", entry.name, types.join(",")))
    };
    entry.r#type == i32::from(proto::AbiEntryType::Event)
        && log.topics().len() == indexed.saturating_add(1)
        && log.topics().first() == Some(&hash())
}

/// The parameters' values by place and by name.
fn results(entry: &proto::AbiEntry, log: &Log) -> Map<String, Value> {
    let types = entry.inputs.iter().filter(|input| !input.indexed).map(|input| input.r#type.as_str());
    let mut data = event_data::read(types, &log.data.data).into_iter();
    let mut topics = log.topics().iter().skip(1);
    let mut results = Map::new();
    for (place, input) in entry.inputs.iter().enumerate() {
        let value = if input.indexed {
            topics.next().map(|topic| event_data::indexed(&input.r#type, *topic))
        } else {
            data.next()
        };
        let Some(value) = value else { continue };
        results.insert(place.to_string(), Value::from(value.clone()));
        if !input.name.is_empty() {
            results.insert(input.name.clone(), Value::from(value));
        }
    }
    results
}

#[cfg(test)]
mod tests;
