//! Reading blocks, transactions, accounts, contracts and parameters.

use revm::primitives::{Address, B256};
use serde_json::{Value, json};

use super::json::Out;
use super::request::{BadRequest, Request};
use super::{Tree, print};
use crate::address;
use crate::chain::StoredBlock;
use crate::node::Node;

fn none() -> Value {
    json!({})
}

fn print_block(block: Option<&StoredBlock>, visible: bool) -> Value {
    block.map_or_else(none, |b| print::block(b, true, visible))
}

/// `getnowblock`; a fault can make it `stale` blocks old.
pub(crate) fn now_block(node: &Node, tree: Tree, request: &Request, stale: u64) -> Value {
    let chain = node.chain();
    let view = tree.view(&chain);
    let block = view.block_by_number(view.number().saturating_sub(stale));
    print_block(block.map(AsRef::as_ref), request.visible())
}

/// `getblockbynum`: `num`.
pub(crate) fn block_by_number(node: &Node, tree: Tree, request: &Request) -> Result<Value, BadRequest> {
    let number = u64::try_from(request.int("num")?);
    let chain = node.chain();
    let block = number.ok().and_then(|n| tree.view(&chain).block_by_number(n));
    Ok(print_block(block.map(AsRef::as_ref), request.visible()))
}

/// `getblockbyid`: `value`.
pub(crate) fn block_by_id(node: &Node, tree: Tree, request: &Request) -> Result<Value, BadRequest> {
    let id = request.hash("value")?;
    let chain = node.chain();
    let block = id.and_then(|id| tree.view(&chain).block_by_id(&id));
    Ok(print_block(block.map(AsRef::as_ref), request.visible()))
}

/// `getblock`: `id_or_num`, the head without; transactions only with `detail`.
pub(crate) fn block(node: &Node, tree: Tree, request: &Request) -> Result<Value, BadRequest> {
    let which = request.text("id_or_num")?;
    let chain = node.chain();
    let view = tree.view(&chain);
    let block = if which.is_empty() {
        Some(view.block())
    } else if let Ok(number) = which.parse::<u64>() {
        view.block_by_number(number)
    } else {
        let id = hex::decode(&which).ok().and_then(|id| B256::try_from(id.as_slice()).ok());
        let id = id.ok_or_else(|| BadRequest {
            class: "java.lang.IllegalArgumentException",
            message: "id must be 64 hex digits or a number".to_owned(),
        })?;
        view.block_by_id(&id)
    };
    Ok(block.map_or_else(none, |b| print::block(b, request.flag("detail"), request.visible())))
}

/// `gettransactionbyid`: `value`. The head's tree also knows transactions that wait for a block.
pub(crate) fn transaction(node: &Node, tree: Tree, request: &Request) -> Result<Value, BadRequest> {
    let Some(id) = request.hash("value")? else { return Ok(none()) };
    let chain = node.chain();
    let view = tree.view(&chain);
    let waiting = || view.pending_transaction(&id).filter(|_| tree == Tree::Head);
    let transaction = view.transaction(&id).or_else(waiting);
    Ok(transaction.map_or_else(none, |t| print::transaction(t, request.visible())))
}

/// `gettransactioninfobyid`: `value`.
pub(crate) fn transaction_info(node: &Node, tree: Tree, request: &Request) -> Result<Value, BadRequest> {
    let Some(id) = request.hash("value")? else { return Ok(none()) };
    let chain = node.chain();
    let info = tree.view(&chain).transaction_info(&id);
    Ok(info.map_or_else(none, |i| print::info(i, request.visible())))
}

/// `gettransactioninfobyblocknum`: `num`.
pub(crate) fn transaction_infos(node: &Node, tree: Tree, request: &Request) -> Result<Value, BadRequest> {
    let number = u64::try_from(request.int("num")?);
    let chain = node.chain();
    let block = number.ok().and_then(|n| tree.view(&chain).block_by_number(n));
    let infos = block.map(|b| b.infos.iter().map(|i| print::info(i, request.visible())).collect());
    Ok(Value::Array(infos.unwrap_or_default()))
}

/// `getaccount`: `address`.
pub(crate) fn account(node: &Node, tree: Tree, request: &Request) -> Result<Value, BadRequest> {
    let Some(address) = request.address("address")? else { return Ok(none()) };
    let chain = node.chain();
    Ok(print::account(tree.view(&chain), address, request.visible()))
}

fn resources(node: &Node, address: Address, visible: bool) -> Option<Out> {
    let chain = node.chain();
    let view = chain.head();
    view.account(address)?;
    Some(
        Out::new(visible)
            .uint("freeNetUsed", view.free_bandwidth_used(address))
            .uint("freeNetLimit", chain.params().free_bandwidth)
            .uint("TotalNetLimit", 43_200_000_000),
    )
}

/// `getaccountresource`: `address`.
pub(crate) fn account_resource(node: &Node, request: &Request) -> Result<Value, BadRequest> {
    let Some(address) = request.address("address")? else { return Ok(none()) };
    let out = resources(node, address, request.visible());
    Ok(out.map_or_else(none, |out| out.uint("TotalEnergyLimit", 180_000_000_000).build()))
}

/// `getaccountnet`: `address`.
pub(crate) fn account_net(node: &Node, request: &Request) -> Result<Value, BadRequest> {
    let Some(address) = request.address("address")? else { return Ok(none()) };
    Ok(resources(node, address, request.visible()).map_or_else(none, Out::build))
}

/// `getcontract`: `value`.
pub(crate) fn contract(node: &Node, request: &Request) -> Result<Value, BadRequest> {
    let Some(address) = request.address("value")? else { return Ok(none()) };
    let chain = node.chain();
    Ok(chain.head().contract(address).map_or_else(none, |c| print::smart_contract(c, request.visible())))
}

/// `getchainparameters`.
pub(crate) fn chain_parameters(node: &Node) -> Value {
    let listed = node.chain().params().listed();
    let listed = listed.into_iter().map(|(key, value)| Out::new(false).text("key", key).int("value", value).build());
    json!({ "chainParameter": listed.collect::<Vec<_>>() })
}

/// `getnodeinfo`: the part that says where the node is.
pub(crate) fn node_info(node: &Node) -> Value {
    let chain = node.chain();
    let name = |block: &StoredBlock| format!("Num:{},ID:{}", block.number(), hex::encode(block.id));
    json!({
        "beginSyncNum": chain.head().number(),
        "block": name(chain.head().block()),
        "solidityBlock": name(chain.solid().block()),
        "currentConnectCount": 0,
        "activeConnectCount": 0,
        "passiveConnectCount": 0,
        "totalFlow": 0,
        "peerList": [],
        "configNodeInfo": { "codeVersion": "4.8.0", "p2pVersion": "0", "dbVersion": 2, "supportConstant": true },
    })
}

/// `validateaddress`: `address` in hex or base58check.
pub(crate) fn validate_address(request: &Request) -> Result<Value, BadRequest> {
    let text = request.text("address")?;
    let (result, message) = if address::from_base58(&text).is_ok() {
        (true, "Base58check format")
    } else if address::from_hex(&text).is_ok() {
        (true, "Hex string format")
    } else if text.len() == 42 {
        (false, "Invalid address")
    } else {
        (false, "Length error")
    };
    Ok(json!({ "result": result, "message": message }))
}
