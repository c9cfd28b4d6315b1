//! Transactions from JSON, as `broadcasttransaction` and its like take them: java-tron's `Util.packTransaction`.
//!
//! This encodes what `raw_data` says and does not look at `raw_data_hex`. A contract that cannot be read is left out.

use lucid_tron_types::proto;
use serde_json::{Map, Value};

use super::request::{BadRequest, Request, print};
use super::{parse, schema};

/// A whole transaction.
pub(crate) fn transaction(request: &Request) -> Result<proto::Transaction, BadRequest> {
    let visible = request.style().visible;
    let mut raw = object(request.get("raw_data")).ok_or_else(BadRequest::null)?;
    let contracts = match raw.get("contract") {
        Some(Value::Array(contracts)) => contracts.iter().filter_map(|c| contract(c, visible)).collect::<Vec<_>>(),
        _ => return Err(BadRequest::null()),
    };
    raw.insert("contract".to_owned(), Value::from(contracts));
    let mut whole = request.to_value();
    whole["raw_data"] = Value::Object(raw);
    // What java-tron cannot read becomes a null pointer.
    let read = parse::read(&print(&whole), &schema::TRANSACTION, visible, false).map_err(|_| BadRequest::null())?;
    Ok(proto::Transaction {
        raw_data: read.message("raw_data").ok_or_else(BadRequest::null)?.encode(),
        signature: read.each_bytes("signature").cloned().collect(),
        ret: Vec::new(),
    })
}

/// A contract with its parameter encoded.
fn contract(json: &Value, visible: bool) -> Option<Value> {
    let mut contract = object(Some(json))?;
    let schema = schema::contract(contract.get("type")?.as_str()?)?;
    let mut parameter = object(contract.get("parameter"))?;
    let value = Value::Object(object(parameter.get("value"))?);
    let message = parse::read(&print(&value), schema, visible, false).ok()?;
    parameter.insert("value".to_owned(), Value::from(hex::encode(message.encode())));
    contract.insert("parameter".to_owned(), Value::Object(parameter));
    Some(Value::Object(contract))
}

/// An object, which may be printed into a text.
fn object(value: Option<&Value>) -> Option<Map<String, Value>> {
    match value? {
        Value::Object(map) => Some(map.clone()),
        Value::String(text) => serde_json::from_str(text).ok(),
        _ => None,
    }
}
