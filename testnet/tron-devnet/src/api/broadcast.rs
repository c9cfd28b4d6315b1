//! Taking signed transactions.

use lucid_tron_bridge::block::transaction_id;
use lucid_tron_bridge::proto;
use prost::Message;
use serde_json::{Value, json};

use super::json::Out;
use super::print;
use super::read_tx;
use super::request::{BadRequest, Request};
use crate::chain::{Code, Refusal};
use crate::faults::Plan;
use crate::node::Node;

/// Hands a transaction to the network, or does what the faults say instead.
fn hand_over(node: &Node, transaction: proto::Transaction, plan: &Plan) -> Result<(), Refusal> {
    if plan.busy {
        return Err(Refusal { code: Code::ServerBusy, message: "Server busy.".to_owned() });
    }
    if plan.broadcast_drop {
        return Ok(());
    }
    node.submit(transaction).map(|_| ())
}

/// `broadcasttransaction`: JSON. The message is hex unless `visible`; success has no code.
pub(crate) fn transaction(node: &Node, request: &Request, plan: &Plan) -> Result<Value, BadRequest> {
    let transaction = read_tx::transaction(request)?;
    let id = hex::encode(transaction_id(&transaction.raw_data));
    let out = match hand_over(node, transaction, plan) {
        Ok(()) => Out::new(request.visible()).flag("result", true),
        Err(refusal) => Out::new(request.visible())
            .text("code", refusal.code.name())
            .name_bytes("message", refusal.message.as_bytes()),
    };
    Ok(out.value("txid", id).build())
}

/// `broadcasthex`: the encoded transaction in hex. The message is always text, and everything is always there.
pub(crate) fn hex(node: &Node, request: &Request, plan: &Plan) -> Result<Value, BadRequest> {
    let bytes = request.bytes("transaction")?;
    let transaction = proto::Transaction::decode(bytes.as_slice()).map_err(BadRequest::protobuf)?;
    let id = hex::encode(transaction_id(&transaction.raw_data));
    let printed = print::transaction(&transaction, true).to_string();
    let (result, code, message) = match hand_over(node, transaction, plan) {
        Ok(()) => (true, "SUCCESS", String::new()),
        Err(refusal) => (false, refusal.code.name(), refusal.message),
    };
    Ok(json!({ "result": result, "code": code, "message": message, "transaction": printed, "txid": id }))
}
