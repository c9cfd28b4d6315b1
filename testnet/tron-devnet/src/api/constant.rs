//! Calls that leave nothing behind.

use lucid_tron_bridge::proto::{self, ContractResult};
use prost::Message;
use revm::primitives::keccak256;
use serde_json::{Value, json};

use super::json::Out;
use super::request::{BadRequest, Request};
use super::{Tree, print, read_tx};
use crate::address;
use crate::chain::{CallOutcome, View};
use crate::node::Node;

/// What a constant call is made of.
pub(crate) struct ConstantCall {
    message: proto::TriggerSmartContract,
    outcome: CallOutcome,
}

/// `function_selector` and `parameter`, or else `data`.
pub(crate) fn call_data(request: &Request) -> Result<Vec<u8>, BadRequest> {
    let selector = request.text("function_selector")?;
    if selector.is_empty() {
        return request.bytes("data");
    }
    let mut data = keccak256(selector.as_bytes())[..4].to_vec();
    data.extend(request.bytes("parameter")?);
    Ok(data)
}

/// Runs the call that `request` describes; without a contract address, its data as creation code.
fn run(view: View<'_>, request: &Request) -> Result<Result<ConstantCall, String>, BadRequest> {
    if request.text("owner_address")?.is_empty() {
        return Err(BadRequest::parameter("owner_address isn't set."));
    }
    let is_creation = request.text("contract_address")?.is_empty();
    if is_creation && request.text("data")?.is_empty() {
        return Err(BadRequest::parameter("At least one of contract_address and data must be set."));
    }
    let message = proto::TriggerSmartContract { data: call_data(request)?, ..read_tx::trigger(request)? };
    let Ok(caller) = address::from_wire(&message.owner_address) else {
        return Ok(Err("Invalid ownerAddress!".to_owned()));
    };
    let Ok(value) = u64::try_from(message.call_value) else {
        return Ok(Err("callValue must be >= 0".to_owned()));
    };
    if view.balance(caller) < value {
        return Ok(Err("Validate InternalTransfer error, balance is not sufficient.".to_owned()));
    }
    let price = view.chain().params().energy_price.max(1);
    let limit = u64::try_from(request.int("fee_limit")?).ok().filter(|l| *l > 0).map(|l| l / price);
    let outcome = if is_creation {
        view.try_create(caller, &message.data, value, limit)
    } else {
        let contract = address::from_wire(&message.contract_address).ok().filter(|a| view.contract(*a).is_some());
        let Some(contract) = contract else {
            return Ok(Err("Smart contract is not exist.".to_owned()));
        };
        view.call(caller, contract, &message.data, value, limit)
    };
    Ok(Ok(ConstantCall { message, outcome }))
}

fn refused(code: &str, message: &str) -> Value {
    json!({ "result": { "code": code, "message": hex::encode(message) } })
}

/// `triggerconstantcontract`. A revert is `result: true` with a message and `ret: FAILED`; everything else that goes wrong
/// in the contract is an error of the call.
pub(crate) fn call(node: &Node, tree: Tree, request: &Request) -> Result<Value, BadRequest> {
    let chain = node.chain();
    let view = tree.view(&chain);
    let visible = request.visible();
    let ConstantCall { message, outcome } = match run(view, request) {
        Ok(Ok(call)) => call,
        Ok(Err(message)) => return Ok(refused("CONTRACT_VALIDATE_ERROR", &message)),
        Err(bad) => return Ok(refused("OTHER_ERROR", &format!("class {} : {}", bad.class, bad.message))),
    };
    let has_failed = match outcome.result {
        ContractResult::Success => false,
        ContractResult::Revert => true,
        _ => {
            let class = "org.tron.core.vm.program.Program$BytecodeExecutionException";
            return Ok(refused("OTHER_ERROR", &format!("class {class} : {}", outcome.message)));
        }
    };
    let mut transaction = proto::Transaction {
        raw_data: proto::TransactionRaw {
            contract: vec![proto::Contract::pack(&message, 0)],
            fee_limit: request.int("fee_limit")?,
            ..reference(view)
        }
        .encode_to_vec(),
        ..proto::Transaction::default()
    };
    transaction
        .ret
        .push(proto::TransactionResult { ret: i32::from(has_failed), ..proto::TransactionResult::default() });
    let mut printed = print::transaction(&transaction, visible);
    if let Some(map) = printed.as_object_mut() {
        map.insert("visible".to_owned(), Value::Bool(visible));
    }
    let result = Out::new(visible).flag("result", true).name_bytes("message", outcome.message.as_bytes()).build();
    let output = Value::from(hex::encode(&outcome.output));
    Ok(Out::new(visible)
        .value("result", result)
        .uint("energy_used", outcome.energy)
        .uint("energy_penalty", outcome.penalty)
        .list("constant_result", vec![output])
        .list("logs", outcome.logs.iter().map(|l| print::log(l, visible)).collect())
        .list("internal_transactions", outcome.internal.iter().map(|i| print::internal(i, visible)).collect())
        .value("transaction", printed)
        .build())
}

/// `estimateenergy`: the smallest energy limit with which the call succeeds, to within 1/64.
pub(crate) fn estimate(node: &Node, tree: Tree, request: &Request) -> Result<Value, BadRequest> {
    let chain = node.chain();
    let view = tree.view(&chain);
    let ConstantCall { message, outcome } = match run(view, request) {
        Ok(Ok(call)) => call,
        Ok(Err(message)) => return Ok(refused("CONTRACT_VALIDATE_ERROR", &message)),
        Err(bad) => return Ok(refused("OTHER_ERROR", &format!("class {} : {}", bad.class, bad.message))),
    };
    if outcome.result != ContractResult::Success {
        return Ok(refused("CONTRACT_EXE_ERROR", &outcome.message));
    }
    let (Ok(caller), value) =
        (address::from_wire(&message.owner_address), u64::try_from(message.call_value).unwrap_or(0))
    else {
        return Ok(refused("CONTRACT_VALIDATE_ERROR", "Invalid ownerAddress!"));
    };
    let contract = address::from_wire(&message.contract_address).ok();
    let succeeds = |limit: u64| {
        let outcome = match contract {
            Some(contract) => view.call(caller, contract, &message.data, value, Some(limit)),
            None => view.try_create(caller, &message.data, value, Some(limit)),
        };
        outcome.result == ContractResult::Success
    };
    // What was used is a lower bound: inner calls may need to be offered more than they use.
    let mut low = outcome.energy;
    let mut required = low;
    if !succeeds(low) {
        let mut high = view.chain().params().constant_energy_limit;
        while high.saturating_sub(low) > low / 64 {
            let middle = low.midpoint(high);
            if succeeds(middle) { high = middle } else { low = middle }
        }
        required = high;
    }
    Ok(json!({ "result": { "result": true }, "energy_required": required }))
}

/// Raw data that refers to the newest solidified block and expires a minute after the head.
pub(crate) fn reference(view: View<'_>) -> proto::TransactionRaw {
    let head = view.block();
    let block = view.chain().solid().block().clone();
    proto::TransactionRaw {
        ref_block_bytes: block.id[6..8].to_vec(),
        ref_block_hash: block.id[8..16].to_vec(),
        expiration: i64::try_from(head.time().saturating_add(60_000)).unwrap_or(i64::MAX),
        timestamp: i64::try_from(crate::node::now()).unwrap_or(i64::MAX),
        ..proto::TransactionRaw::default()
    }
}
