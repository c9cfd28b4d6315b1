//! Taking signed transactions.

use lucid_tron_types::block::transaction_id;
use lucid_tron_types::proto;
use prost::Message as _;
use serde_json::{Value, json};

use super::json::{Out, Style};
use super::message::{Malformed, Message};
use super::request::BadRequest;
use super::{Call, read_tx, schema};
use crate::chain::{Code, Refusal};

/// Hands a transaction to the network, or does what the faults say instead.
fn hand_over(call: &Call<'_>, mut transaction: proto::Transaction) -> Result<(), Refusal> {
    // `Wallet.broadcastTransaction` does so too; a transaction that comes from another node keeps its results.
    transaction.ret.clear();
    if call.plan.busy {
        return Err(Refusal { code: Code::ServerBusy, message: "Server busy.".to_owned() });
    }
    if call.plan.broadcast_drop {
        return Ok(());
    }
    call.node.submit(transaction).map(|_| ())
}

/// `broadcasttransaction`: JSON. The message is hex unless `visible`; success has no code.
pub(crate) fn transaction(call: &Call<'_>) -> Result<Value, BadRequest> {
    let transaction = read_tx::transaction(call.request)?;
    let id = hex::encode(transaction_id(&transaction.raw_data));
    let out = Out::new(call.request.style());
    let out = match hand_over(call, transaction) {
        Ok(()) => out.flag("result", true),
        Err(refusal) => out.text("code", refusal.code.name()).name("message", refusal.message.as_bytes()),
    };
    Ok(out.value("txid", id).build())
}

/// `broadcasthex`: the encoded transaction in hex. The message is always text, and everything is always there.
pub(crate) fn hex(call: &Call<'_>) -> Result<Value, BadRequest> {
    let bytes = call.request.bytes("transaction")?;
    let visible = Style { visible: true, ..Style::default() };
    let printed = Message::decode(&schema::TRANSACTION, &bytes)?.print(visible).to_string();
    let transaction = proto::Transaction::decode(bytes.as_slice()).map_err(|_| Malformed::Truncated)?;
    let id = hex::encode(transaction_id(&transaction.raw_data));
    let (result, code, message) = match hand_over(call, transaction) {
        Ok(()) => (true, "SUCCESS", String::new()),
        Err(refusal) => (false, refusal.code.name(), refusal.message),
    };
    Ok(json!({ "result": result, "code": code, "message": message, "transaction": printed, "txid": id }))
}
