//! Transactions, blocks and receipts as JSON, in a full node's shapes.

use lucid_tron_types::block::transaction_id;
use lucid_tron_types::proto::{self, ContractResult, TYPE_URL_PREFIX};
use revm::primitives::Log;
use serde_json::{Value, json};

use super::json::{Out, Style};
use super::message::{Message, Schema};
use super::schema;
use crate::address;
use crate::chain::{InternalTransaction, StoredBlock, TransactionInfo};
use crate::wallet;

/// A message of the protocol.
pub(crate) fn proto<M: prost::Message>(schema: &'static Schema, message: &M, style: Style) -> Value {
    Message::decode(schema, &message.encode_to_vec()).map_or(Value::Null, |message| message.print(style))
}

/// A transaction, signed or not, with `txID` and `raw_data_hex`.
pub(crate) fn transaction(transaction: &proto::Transaction, style: Style) -> Value {
    let id = transaction_id(&transaction.raw_data);
    let raw = Message::decode(&schema::TRANSACTION_RAW, &transaction.raw_data);
    let raw = raw.unwrap_or_else(|_| Message::new(&schema::TRANSACTION_RAW));
    let deployed = raw.messages("contract").rev().find_map(|contract| deployed(contract, &id)).unwrap_or_default();
    let mut raw_data = raw.print(style);
    raw_data["contract"] = raw.messages("contract").filter_map(|c| contract(c, style)).collect();
    let rets = transaction.ret.iter().map(|ret| proto(&schema::TRANSACTION_RESULT, ret, style));
    Out::new(style)
        .list("signature", transaction.signature.iter().map(|s| Value::from(hex::encode(s))).collect())
        .list("ret", rets.collect())
        .value("txID", hex::encode(id))
        .text("contract_address", &deployed)
        .value("raw_data", raw_data)
        .value("raw_data_hex", hex::encode(&transaction.raw_data))
        .build()
}

/// A transaction that was just built says whether it is printed visibly.
pub(crate) fn built(transaction: &proto::Transaction, style: Style) -> Value {
    let mut printed = self::transaction(transaction, style);
    printed["visible"] = Value::Bool(style.visible);
    printed
}

/// The parameter of a contract.
fn parameter(contract: &Message, schema: &'static Schema) -> Option<Message> {
    let any = contract.message("parameter")?;
    let is_named = any.bytes("type_url").strip_prefix(TYPE_URL_PREFIX.as_bytes()) == Some(schema.name.as_bytes());
    Message::decode(schema, any.bytes("value")).ok().filter(|_| is_named)
}

/// None, and then left out of the transaction, if its parameter is not what its type says.
fn contract(contract: &Message, style: Style) -> Option<Value> {
    let name = schema::contract_name(contract.int("type")).unwrap_or("UNRECOGNIZED");
    let type_url = contract.message("parameter").map(|any| any.bytes("type_url")).unwrap_or_default();
    let mut any = json!({ "type_url": String::from_utf8_lossy(type_url) });
    if let Some(schema) = schema::contract(name) {
        any["value"] = parameter(contract, schema)?.print(style);
    }
    let mut printed = json!({ "parameter": any, "type": name });
    let permission = contract.int("Permission_id");
    if permission > 0 {
        printed["Permission_id"] = Value::from(permission);
    }
    Some(printed)
}

/// Address of the contract that this makes, in hex.
fn deployed(contract: &Message, id: &[u8; 32]) -> Option<String> {
    let is_deployment = schema::contract_name(contract.int("type")) == Some(schema::CREATE_SMART.name);
    let parameter = parameter(contract, &schema::CREATE_SMART).filter(|_| is_deployment)?;
    let owner = address::from_wire(parameter.bytes("owner_address")).ok()?;
    Some(address::to_hex(wallet::contract_address(id, owner)))
}

/// A block, with its transactions or without.
pub(crate) fn block(block: &StoredBlock, with_transactions: bool, style: Style) -> Value {
    let transactions = if with_transactions { block.transactions.as_slice() } else { &[] };
    Out::new(style)
        .value("blockID", hex::encode(block.id))
        .value("block_header", proto(&schema::BLOCK_HEADER, &block.header, style))
        .list("transactions", transactions.iter().map(|t| transaction(t, style)).collect())
        .build()
}

/// What became of a transaction.
pub(crate) fn info(info: &TransactionInfo, style: Style) -> Value {
    let result = info.receipt.result.filter(|result| *result != ContractResult::Default);
    let receipt = Out::new(style)
        .long("energy_usage", info.receipt.energy_usage)
        .long("energy_fee", info.receipt.energy_fee)
        .long("origin_energy_usage", info.receipt.origin_energy_usage)
        .long("energy_usage_total", info.receipt.energy_usage_total)
        .long("net_usage", info.receipt.net_usage)
        .long("net_fee", info.receipt.net_fee)
        .text("result", result.map_or("", ContractResult::name))
        .long("energy_penalty_total", info.receipt.energy_penalty_total)
        .build();
    let contract = info.contract_address.map(address::to_wire);
    let restaked = info.restaked.map(|sums| {
        [("BANDWIDTH", sums.bandwidth), ("ENERGY", sums.energy), ("TRON_POWER", 0)]
            .map(|(key, sum)| json!({ "key": key, "value": style.long(i64::try_from(sum).unwrap_or(i64::MAX)) }))
    });
    Out::new(style)
        .value("id", hex::encode(info.id))
        .long("fee", info.fee)
        .long("blockNumber", info.block_number)
        .long("blockTimeStamp", info.block_time)
        .value("contractResult", vec![hex::encode(&info.contract_result)])
        .address("contract_address", contract.as_ref().map_or(&[], |wire| wire.as_slice()))
        .value("receipt", receipt)
        .list("log", info.logs.iter().map(|l| log(l, style)).collect())
        .text("result", if info.is_failed() { "FAILED" } else { "" })
        .name("resMessage", info.message.as_bytes())
        .list("internal_transactions", info.internal.iter().map(|i| internal(i, style)).collect())
        .long("withdraw_expire_amount", info.withdrawn)
        .list("cancel_unfreezeV2_amount", restaked.into_iter().flatten().collect())
        .build()
}

/// A log of a transaction in a block; its address has no prefix unless visible.
fn log(log: &Log, style: Style) -> Value {
    let wire = address::to_wire(log.address);
    log_of(log, if style.visible { &wire } else { log.address.as_slice() }, style)
}

/// A log of a call that is not in a block; its address has no prefix, not even in base58check.
pub(crate) fn constant_log(log: &Log, style: Style) -> Value {
    log_of(log, log.address.as_slice(), style)
}

fn log_of(log: &Log, address: &[u8], style: Style) -> Value {
    Out::new(style)
        .address("address", address)
        .list("topics", log.topics().iter().map(|t| Value::from(hex::encode(t))).collect())
        .hex("data", &log.data.data)
        .build()
}

/// A call, creation or self-destruction inside a transaction.
pub(crate) fn internal(inner: &InternalTransaction, style: Style) -> Value {
    Out::new(style)
        .value("hash", hex::encode(inner.hash))
        .address("caller_address", &address::to_wire(inner.caller))
        .address("transferTo_address", &address::to_wire(inner.to))
        .value("callValueInfo", vec![Out::new(style).long("callValue", inner.value).build()])
        .hex("note", inner.note.as_bytes())
        .flag("rejected", inner.rejected)
        .build()
}
