//! TronGrid's calls for the events of contracts: `/v1/transactions/{id}/events`, `/v1/contracts/{address}/events` and
//! `/v1/blocks/{number or latest}/events`, as tronweb's `event` makes them.
//!
//! Events are the logs of transactions in blocks, read with the interface that the contract was deployed with. One that
//! the interface does not have is listed without a name.

use axum::http::StatusCode;
use lucid_tron_bridge::proto;
use revm::primitives::{Log, keccak256};
use serde_json::{Map, Value, json};

use super::request::{BadRequest, Request};
use super::{GRID, decode, event_data};
use crate::address;
use crate::chain::{StoredBlock, TransactionInfo, View};
use crate::node::Node;

/// Events on a page if nothing is said, and at most.
const PAGE: (i64, i64) = (20, 200);

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
    asked.and_then(|(subject, request)| page(&subject, request, chain.head()).map_err(|_| StatusCode::BAD_REQUEST))
}

/// Where an event is: block, transaction in it, log of that.
type Place = (u64, usize, usize);

/// What the query asks for, newest first unless it says otherwise. A page that is not the last has a fingerprint, which
/// asks for the next: where it ended, so that new events move nothing.
fn page(subject: &Subject, request: &Request, view: View<'_>) -> Result<Value, BadRequest> {
    let solid = view.chain().solid().number();
    let least = request.long("min_block_timestamp")?;
    let most = Some(request.long("max_block_timestamp")?).filter(|most| *most > 0).unwrap_or(i64::MAX);
    let limit = Some(request.long("limit")?).filter(|limit| *limit > 0).unwrap_or(PAGE.0).min(PAGE.1);
    let block_number = request.get("block_number").map(|_| request.long("block_number")).transpose()?;
    let name = request.text("event_name");
    let (only_confirmed, only_unconfirmed) = (request.flag("only_confirmed"), request.flag("only_unconfirmed"));
    let is_ascending = request.text("order_by").ends_with(",asc");
    let ended_at = request.get("fingerprint").map(|_| read_place(&request.text("fingerprint"))).transpose()?;

    let is_wanted = |block: &&StoredBlock| {
        let (number, time) = (block.number(), i64::try_from(block.time()).unwrap_or(i64::MAX));
        (least..=most).contains(&time)
            && block_number.is_none_or(|wanted| u64::try_from(wanted) == Ok(number))
            && !(only_confirmed && number > solid)
            && !(only_unconfirmed && number <= solid)
    };
    let is_behind = |place: Place| ended_at.is_none_or(|end| if is_ascending { place > end } else { place < end });
    let mut blocks = blocks(subject, view);
    if is_ascending {
        blocks.reverse();
    }
    let logs = blocks.into_iter().filter(is_wanted).flat_map(|block| {
        let mut logs = logs(subject, block);
        if !is_ascending {
            logs.reverse();
        }
        logs
    });
    let mut found = logs
        .filter(|(place, ..)| is_behind(*place))
        .map(|(place, info, log)| (place, event(view, place.0 > solid, info, place.2, log)))
        .filter(|(_, event)| name.is_empty() || event["event_name"] == *name);
    let (places, data): (Vec<_>, Vec<_>) = found.by_ref().take(usize::try_from(limit).unwrap_or(0)).unzip();
    let mut meta = json!({ "at": crate::node::now(), "page_size": data.len() });
    if let (Some((block, transaction, log)), Some(_)) = (places.last(), found.next()) {
        meta["fingerprint"] = Value::from(format!("{block}-{transaction}-{log}"));
    }
    Ok(json!({ "data": data, "success": true, "meta": meta }))
}

fn read_place(fingerprint: &str) -> Result<Place, BadRequest> {
    let mut parts = fingerprint.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let mut part = || parts.next().flatten().ok_or_else(|| BadRequest::number(fingerprint));
    let index = |part: u64| usize::try_from(part).unwrap_or(usize::MAX);
    Ok((part()?, index(part()?), index(part()?)))
}

/// The logs of a block that are wanted.
fn logs<'a>(subject: &Subject, block: &'a StoredBlock) -> Vec<(Place, &'a TransactionInfo, &'a Log)> {
    let number = block.number();
    let all = block.infos.iter().enumerate().flat_map(|(transaction, info)| {
        info.logs.iter().enumerate().map(move |(index, log)| ((number, transaction, index), info, log))
    });
    all.filter(|(_, info, log)| match subject {
        Subject::Transaction(id) => info.id == **id,
        Subject::Contract(contract) => log.address == **contract,
        Subject::Block(_) => true,
    })
    .collect()
}

/// The blocks in which what is wanted can be, newest first.
fn blocks<'a>(subject: &Subject, view: View<'a>) -> Vec<&'a StoredBlock> {
    let at = |number| view.block_by_number(number).map(AsRef::as_ref);
    match subject {
        Subject::Block(number) => at(*number).into_iter().collect(),
        Subject::Transaction(id) => {
            let info = id.as_slice().try_into().ok().and_then(|id| view.transaction_info(&id));
            info.and_then(|info| at(info.block_number)).into_iter().collect()
        }
        Subject::Contract(_) => (0..=view.number()).rev().filter_map(at).filter(|b| !b.infos.is_empty()).collect(),
    }
}

fn event(view: View<'_>, is_unconfirmed: bool, info: &TransactionInfo, index: usize, log: &Log) -> Value {
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
    let abi = view.contract(log.address).and_then(|contract| contract.abi.as_ref());
    if let Some(entry) = abi.and_then(|abi| abi.entrys.iter().find(|entry| is_of(entry, log))) {
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
    let types: Vec<&str> = entry.inputs.iter().map(|input| input.r#type.as_str()).collect();
    let indexed = entry.inputs.iter().filter(|input| input.indexed).count();
    entry.r#type == i32::from(proto::AbiEntryType::Event)
        && log.topics().len() == indexed.saturating_add(1)
        && log.topics().first() == Some(&keccak256(format!("{}({})", entry.name, types.join(","))))
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
