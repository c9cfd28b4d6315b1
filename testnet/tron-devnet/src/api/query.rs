//! Reading blocks, transactions, contracts and what the network is like.

use revm::primitives::{Address, B256};
use serde_json::{Map, Value, json};

use super::json::Out;
use super::request::{BadRequest, Request};
use super::{Call, Tree, decode, print, schema};
use crate::address;
use crate::chain::{StoredBlock, View};
use crate::evm::tx::FACTOR_ONE;

/// Blocks answered at once.
const MAX_BLOCKS: i64 = 100;

/// What is answered for something that does not exist.
pub(crate) fn none() -> Value {
    json!({})
}

fn block_at(view: View<'_>, number: i64) -> Option<&StoredBlock> {
    view.block_by_number(u64::try_from(number).ok()?).map(AsRef::as_ref)
}

/// The newest block, or as many older as a fault says.
fn now<'a>(call: &Call<'_>, view: View<'a>) -> Option<&'a StoredBlock> {
    view.block_by_number(view.number().saturating_sub(call.plan.stale_head)).map(AsRef::as_ref)
}

/// `getnowblock`.
pub(crate) fn now_block(call: &Call<'_>) -> Result<Value, BadRequest> {
    let chain = call.node.chain();
    let block = now(call, call.tree.view(&chain));
    Ok(block.map_or_else(none, |b| print::block(b, true, call.request.url_style())))
}

/// `getblockbynum`: `num`.
pub(crate) fn block_by_number(call: &Call<'_>) -> Result<Value, BadRequest> {
    let number = call.request.read(&schema::NUMBER)?.int("num");
    let chain = call.node.chain();
    let block = block_at(call.tree.view(&chain), number);
    Ok(block.map_or_else(none, |b| print::block(b, true, call.request.style())))
}

/// `getblockbyid`: `value`.
pub(crate) fn block_by_id(call: &Call<'_>) -> Result<Value, BadRequest> {
    let Some(id) = wanted_id(call)? else { return Ok(none()) };
    let chain = call.node.chain();
    let block = call.tree.view(&chain).block_by_id(&id);
    Ok(block.map_or_else(none, |b| print::block(b, true, call.request.style())))
}

/// `id_or_num`, empty for the newest, and `detail`.
fn wanted_block(request: &Request) -> Result<(String, bool), BadRequest> {
    if request.is_empty() {
        return Ok((String::new(), false));
    }
    let read = request.read(&schema::BLOCK_REQUEST)?;
    Ok((String::from_utf8_lossy(read.bytes("id_or_num")).into_owned(), read.int("detail") != 0))
}

/// Whether a call is answered with the newest block.
pub(super) fn is_for_newest(name: &str, request: &Result<Request, BadRequest>) -> bool {
    let wanted = || wanted_block(request.as_ref().ok()?).ok();
    name == "getnowblock" || name == "getblock" && wanted().is_some_and(|(which, _)| which.is_empty())
}

/// `getblock`: `id_or_num`, the newest without, as in `getnowblock`; transactions only with `detail`.
pub(crate) fn block(call: &Call<'_>) -> Result<Value, BadRequest> {
    let (which, detail) = wanted_block(call.request)?;
    let chain = call.node.chain();
    let view = call.tree.view(&chain);
    let block = match which.parse::<i64>() {
        _ if which.is_empty() => now(call, view),
        Ok(number) if number < 0 => return Ok(json!({ "Error": "num must be non-positive number." })),
        Ok(number) => block_at(view, number),
        Err(_) => {
            let id =
                decode::hex(&which).filter(|_| which.len() == 64).and_then(|id| B256::try_from(id.as_slice()).ok());
            // The number that an id begins with must be of a block that could be there.
            let id = id.filter(|id| id[..8] <= chain.head().number().to_be_bytes()[..]);
            let Some(id) = id else { return Ok(json!({ "Error": "id must be legal block hash." })) };
            view.block_by_id(&id).map(AsRef::as_ref)
        }
    };
    Ok(block.map_or_else(none, |b| print::block(b, detail, call.request.style())))
}

/// `getblockbylimitnext`: from `startNum` to before `endNum`, at most 100.
pub(crate) fn blocks_from(call: &Call<'_>) -> Result<Value, BadRequest> {
    let range = call.request.read(&schema::BLOCK_LIMIT)?;
    let (start, end) = (range.int("startNum"), range.int("endNum"));
    let is_fine = end > 0 && end > start && end.saturating_sub(start) <= MAX_BLOCKS;
    Ok(if is_fine { blocks(call, start, end) } else { none() })
}

/// `getblockbylatestnum`: the newest `num`, fewer than 100.
pub(crate) fn latest_blocks(call: &Call<'_>) -> Result<Value, BadRequest> {
    let count = call.request.read(&schema::NUMBER)?.int("num");
    let head = call.tree.view(&call.node.chain()).number();
    let end = i64::try_from(head).unwrap_or(i64::MAX).saturating_add(1);
    Ok(if count > 0 && count < MAX_BLOCKS { blocks(call, end.saturating_sub(count), end) } else { none() })
}

fn blocks(call: &Call<'_>, start: i64, end: i64) -> Value {
    let chain = call.node.chain();
    let view = call.tree.view(&chain);
    let found = (start.max(0)..end).map_while(|number| block_at(view, number));
    json!({ "block": found.map(|b| print::block(b, true, call.request.style())).collect::<Vec<_>>() })
}

/// `gettransactioncountbyblocknum`: `num`.
pub(crate) fn transaction_count(call: &Call<'_>) -> Result<Value, BadRequest> {
    let number = call.request.read(&schema::NUMBER)?.int("num");
    let chain = call.node.chain();
    let block = block_at(call.tree.view(&chain), number);
    Ok(json!({ "count": block.map_or(0, |b| b.transactions.len()) }))
}

/// `value`; none if it is not as long as an id.
fn wanted_id(call: &Call<'_>) -> Result<Option<B256>, BadRequest> {
    let read = call.request.read(&schema::BYTES)?;
    Ok(B256::try_from(read.bytes("value")).ok())
}

/// `gettransactionbyid`: `value`. The head's tree also knows transactions that wait for a block.
pub(crate) fn transaction(call: &Call<'_>) -> Result<Value, BadRequest> {
    let Some(id) = wanted_id(call)? else { return Ok(none()) };
    let chain = call.node.chain();
    let view = call.tree.view(&chain);
    let waiting = || view.pending_transaction(&id).filter(|_| call.tree == Tree::Head);
    let transaction = view.transaction(&id).or_else(waiting);
    Ok(transaction.map_or_else(none, |t| print::transaction(t, call.request.style())))
}

/// `gettransactioninfobyid`: `value`.
pub(crate) fn transaction_info(call: &Call<'_>) -> Result<Value, BadRequest> {
    let Some(id) = wanted_id(call)? else { return Ok(none()) };
    let chain = call.node.chain();
    let info = call.tree.view(&chain).transaction_info(&id);
    Ok(info.map_or_else(none, |i| print::info(i, call.request.style())))
}

/// `gettransactioninfobyblocknum`: `num`.
pub(crate) fn transaction_infos(call: &Call<'_>) -> Result<Value, BadRequest> {
    let number = call.request.read(&schema::NUMBER)?.int("num");
    if number <= 0 {
        return Ok(none());
    }
    let chain = call.node.chain();
    let infos = block_at(call.tree.view(&chain), number).map(|b| b.infos.as_slice()).unwrap_or_default();
    Ok(infos.iter().map(|i| print::info(i, call.request.style())).collect())
}

/// `gettransactionfrompending`: `value`.
pub(crate) fn pending_transaction(call: &Call<'_>) -> Result<Value, BadRequest> {
    let Some(id) = wanted_id(call)? else { return Ok(none()) };
    let chain = call.node.chain();
    let transaction = chain.head().pending_transaction(&id);
    Ok(transaction.map_or_else(none, |t| print::transaction(t, call.request.style())))
}

/// `gettransactionlistfrompending`.
pub(crate) fn pending_list(call: &Call<'_>) -> Result<Value, BadRequest> {
    let ids = call.node.chain().pending_ids().map(|id| Value::from(hex::encode(id))).collect();
    Ok(Out::new(call.request.style()).list("txId", ids).build())
}

/// `totaltransaction`: those in blocks.
pub(crate) fn total_transactions(call: &Call<'_>) -> Result<Value, BadRequest> {
    let count = u64::try_from(call.node.chain().transactions()).unwrap_or(u64::MAX);
    Ok(Out::new(call.request.url_style()).long("num", count).build())
}

fn wanted_contract(call: &Call<'_>) -> Result<Option<Address>, BadRequest> {
    Ok(address::from_wire(&call.request.address("value")?).ok())
}

/// `getcontract`: `value`.
pub(crate) fn contract(call: &Call<'_>) -> Result<Value, BadRequest> {
    let address = wanted_contract(call)?;
    let chain = call.node.chain();
    let contract = address.and_then(|address| chain.head().contract(address));
    Ok(contract.map_or_else(none, |c| print::proto(&schema::SMART_CONTRACT, c, call.request.style())))
}

/// `getcontractinfo`: `value`. Of the dynamic energy, the factor; there are no cycles here.
pub(crate) fn contract_info(call: &Call<'_>) -> Result<Value, BadRequest> {
    let Some(address) = wanted_contract(call)? else { return Ok(none()) };
    let style = call.request.style();
    let chain = call.node.chain();
    let view = chain.head();
    let Some(contract) = view.contract(address) else { return Ok(none()) };
    let code = view.code(address).map(|code| code.original_bytes()).unwrap_or_default();
    let factor = view.energy_factor(address).saturating_sub(FACTOR_ONE);
    Ok(Out::new(style)
        .value("smart_contract", print::proto(&schema::SMART_CONTRACT, contract, style))
        .hex("runtimecode", &code)
        .value("contract_state", Out::new(style).long("energy_factor", factor).build())
        .build())
}

/// `getchainparameters`.
pub(crate) fn chain_parameters(call: &Call<'_>) -> Result<Value, BadRequest> {
    let style = call.request.url_style();
    let listed = call.node.chain().params().listed();
    let print = |(key, value): (&str, i64)| {
        let mut printed = json!({ "key": key });
        if value != 0 {
            printed["value"] = style.long(value);
        }
        printed
    };
    Ok(json!({ "chainParameter": listed.into_iter().map(print).collect::<Vec<_>>() }))
}

/// `getenergyprices`, `getbandwidthprices`, `getmemofee`: from when on what price holds. It never changes here.
pub(crate) fn prices(price: u64) -> Result<Value, BadRequest> {
    Ok(json!({ "prices": format!("0:{price}") }))
}

/// `getburntrx`.
pub(crate) fn burnt(call: &Call<'_>) -> Result<Value, BadRequest> {
    Ok(json!({ "burnTrxAmount": call.tree.view(&call.node.chain()).burnt() }))
}

/// `listwitnesses`: the one that makes the blocks.
pub(crate) fn witnesses(call: &Call<'_>) -> Result<Value, BadRequest> {
    let style = call.request.url_style();
    let chain = call.node.chain();
    let block = call.tree.view(&chain).block().clone();
    let address = block.header.raw_data.as_ref().map(|raw| raw.witness_address.as_slice()).unwrap_or_default();
    let witness = Out::new(style)
        .address("address", address)
        .long("totalProduced", block.number())
        .long("latestBlockNum", block.number())
        .flag("isJobs", true);
    Ok(json!({ "witnesses": [witness.build()] }))
}

/// `getnodeinfo`: the part that says where the node is.
pub(crate) fn node_info(call: &Call<'_>) -> Result<Value, BadRequest> {
    let chain = call.node.chain();
    let name = |block: &StoredBlock| format!("Num:{},ID:{}", block.number(), hex::encode(block.id));
    Ok(json!({
        "beginSyncNum": chain.head().number(),
        "block": name(chain.head().block()),
        "solidityBlock": name(chain.solid().block()),
        "currentConnectCount": 0,
        "activeConnectCount": 0,
        "passiveConnectCount": 0,
        "totalFlow": 0,
        "peerList": [],
        "configNodeInfo": { "codeVersion": "4.8.0", "p2pVersion": "0", "dbVersion": 2, "supportConstant": true },
        "cheatWitnessInfoMap": {},
    }))
}

/// `validateaddress`: `address` in hex, base58check or base64; by its length.
pub(crate) fn validate_address(call: &Call<'_>) -> Result<Value, BadRequest> {
    let mut answer = Map::from_iter([("result".to_owned(), Value::Bool(false))]);
    if call.request.get("address").is_some() {
        let (result, message) = judge_address(&call.request.text("address"));
        answer.insert("result".to_owned(), Value::Bool(result));
        answer.insert("message".to_owned(), Value::from(message));
    }
    Ok(Value::Object(answer))
}

fn judge_address(text: &str) -> (bool, String) {
    let (bytes, format) = match text.chars().count() {
        42 => (decode::hex(text).ok_or_else(|| BadRequest::hex().message), "Hex string format"),
        34 => (decode::base58(text).map(Option::unwrap_or_default), "Base58check format"),
        28 => (Ok(decode::base64(text)), "Base64 format"),
        _ => return (false, "Length error".to_owned()),
    };
    match bytes {
        Err(why) => (false, why),
        Ok(bytes) if address::from_wire(&bytes).is_ok() => (true, format.to_owned()),
        Ok(_) => (false, "Invalid address".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_call_without_a_block_is_for_the_newest() {
        let post = |body: &str| Request::from_body(body.as_bytes(), false, "");
        for (name, body, expected) in [
            ("getnowblock", "{}", true),
            ("getnowblock", "nonsense", true),
            ("getblock", "", true),
            ("getblock", r#"{"detail": true}"#, true),
            ("getblock", r#"{"id_or_num": "5"}"#, false),
            ("getblock", r#"{"id_or_num": 5}"#, false),
            ("getblock", "nonsense", false),
            ("getblockbynum", "{}", false),
        ] {
            assert_eq!(is_for_newest(name, &post(body)), expected, "{name} {body}");
        }
    }
}
