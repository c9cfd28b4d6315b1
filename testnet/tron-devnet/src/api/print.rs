//! Transactions, blocks, accounts and receipts as JSON, in a full node's shapes.

use lucid_tron_bridge::block::transaction_id;
use lucid_tron_bridge::proto::{self, ContractMessage, ContractResult, ContractType, PermissionType};
use revm::primitives::Log;
use serde_json::{Value, json};

use super::json::Out;
use crate::address;
use crate::chain::{InternalTransaction, StoredBlock, TransactionInfo, View};
use crate::wallet;

/// A transaction, signed or not, with `txID` and `raw_data_hex`.
pub(crate) fn transaction(transaction: &proto::Transaction, visible: bool) -> Value {
    let raw = transaction.raw().unwrap_or_default();
    let id = transaction_id(&transaction.raw_data);
    let mut out = Out::new(visible)
        .list("signature", transaction.signature.iter().map(|s| Value::from(hex::encode(s))).collect())
        .list("ret", transaction.ret.iter().map(|r| ret(r, visible)).collect())
        .value("txID", hex::encode(id))
        .value("raw_data", raw_data(&raw, visible))
        .value("raw_data_hex", hex::encode(&transaction.raw_data));
    for contract in &raw.contract {
        if let Ok(create) = contract.unpack::<proto::CreateSmartContract>()
            && let Ok(owner) = address::from_wire(&create.owner_address)
        {
            out = out.value("contract_address", address::to_hex(wallet::contract_address(&id, owner)));
        }
    }
    out.build()
}

fn ret(result: &proto::TransactionResult, visible: bool) -> Value {
    let contract_ret = ContractResult::try_from(result.contract_ret).unwrap_or(ContractResult::Default);
    let mut out = Out::new(visible).int("fee", result.fee);
    if result.ret != 0 {
        out = out.text("ret", "FAILED");
    }
    if contract_ret != ContractResult::Default {
        out = out.text("contractRet", contract_ret.name());
    }
    out.build()
}

fn raw_data(raw: &proto::TransactionRaw, visible: bool) -> Value {
    Out::new(visible)
        .hex("ref_block_bytes", &raw.ref_block_bytes)
        .int("ref_block_num", raw.ref_block_num)
        .hex("ref_block_hash", &raw.ref_block_hash)
        .int("expiration", raw.expiration)
        .hex("data", &raw.data)
        .value("contract", raw.contract.iter().map(|c| contract(c, visible)).collect::<Vec<_>>())
        .hex("scripts", &raw.scripts)
        .int("timestamp", raw.timestamp)
        .int("fee_limit", raw.fee_limit)
        .build()
}

fn contract(contract: &proto::Contract, visible: bool) -> Value {
    let type_url = contract.parameter.as_ref().map(|any| any.type_url.as_str()).unwrap_or_default();
    let name =
        ContractType::try_from(contract.r#type).map_or_else(|_| contract.r#type.to_string(), |t| t.name().to_owned());
    Out::new(visible)
        .value("parameter", json!({ "value": parameter(contract, visible), "type_url": type_url }))
        .value("type", name)
        .int("Permission_id", i64::from(contract.permission_id))
        .build()
}

/// A contract's parameter; null if it is of a type that does not exist here.
fn parameter(contract: &proto::Contract, visible: bool) -> Value {
    fn read<M: ContractMessage>(contract: &proto::Contract) -> Option<M> {
        contract.unpack::<M>().ok()
    }
    let out = Out::new(visible);
    if let Some(m) = read::<proto::TransferContract>(contract) {
        return out
            .address("owner_address", &m.owner_address)
            .address("to_address", &m.to_address)
            .int("amount", m.amount)
            .build();
    }
    if let Some(m) = read::<proto::TriggerSmartContract>(contract) {
        return out
            .address("owner_address", &m.owner_address)
            .address("contract_address", &m.contract_address)
            .int("call_value", m.call_value)
            .hex("data", &m.data)
            .int("call_token_value", m.call_token_value)
            .int("token_id", m.token_id)
            .build();
    }
    if let Some(m) = read::<proto::CreateSmartContract>(contract) {
        let mut out = out.address("owner_address", &m.owner_address);
        if let Some(new) = &m.new_contract {
            out = out.value("new_contract", smart_contract(new, visible));
        }
        return out.int("call_token_value", m.call_token_value).int("token_id", m.token_id).build();
    }
    if let Some(m) = read::<proto::AccountCreateContract>(contract) {
        let out = out.address("owner_address", &m.owner_address).address("account_address", &m.account_address);
        return match m.r#type {
            1 => out.text("type", "AssetIssue"),
            2 => out.text("type", "Contract"),
            _ => out,
        }
        .build();
    }
    if let Some(m) = read::<proto::AccountPermissionUpdateContract>(contract) {
        let mut out = out.address("owner_address", &m.owner_address);
        if let Some(owner) = &m.owner {
            out = out.value("owner", permission(owner, visible));
        }
        if let Some(witness) = &m.witness {
            out = out.value("witness", permission(witness, visible));
        }
        return out.list("actives", m.actives.iter().map(|p| permission(p, visible)).collect()).build();
    }
    Value::Null
}

/// A permission.
pub(crate) fn permission(permission: &proto::Permission, visible: bool) -> Value {
    let kind = PermissionType::try_from(permission.r#type).unwrap_or(PermissionType::Owner);
    let mut out = Out::new(visible);
    if kind != PermissionType::Owner {
        out = out.text("type", kind.name());
    }
    out.int("id", i64::from(permission.id))
        .text("permission_name", &permission.permission_name)
        .int("threshold", permission.threshold)
        .int("parent_id", i64::from(permission.parent_id))
        .hex("operations", &permission.operations)
        .list(
            "keys",
            permission
                .keys
                .iter()
                .map(|key| Out::new(visible).address("address", &key.address).int("weight", key.weight).build())
                .collect(),
        )
        .build()
}

/// A contract's settings, as deployed or as stored.
pub(crate) fn smart_contract(contract: &proto::SmartContract, visible: bool) -> Value {
    let mut out = Out::new(visible)
        .address("origin_address", &contract.origin_address)
        .address("contract_address", &contract.contract_address);
    if let Some(abi) = &contract.abi {
        out = out.value("abi", self::abi(abi));
    }
    out.hex("bytecode", &contract.bytecode)
        .int("call_value", contract.call_value)
        .int("consume_user_resource_percent", contract.consume_user_resource_percent)
        .text("name", &contract.name)
        .int("origin_energy_limit", contract.origin_energy_limit)
        .hex("code_hash", &contract.code_hash)
        .hex("trx_hash", &contract.trx_hash)
        .int("version", i64::from(contract.version))
        .build()
}

fn abi(abi: &proto::Abi) -> Value {
    let param = |p: &proto::AbiParam| {
        Out::new(false).flag("indexed", p.indexed).text("name", &p.name).text("type", &p.r#type).build()
    };
    let entry = |e: &proto::AbiEntry| {
        let mut out = Out::new(false)
            .flag("anonymous", e.anonymous)
            .flag("constant", e.constant)
            .text("name", &e.name)
            .list("inputs", e.inputs.iter().map(param).collect())
            .list("outputs", e.outputs.iter().map(param).collect());
        if let Ok(kind) = proto::AbiEntryType::try_from(e.r#type)
            && kind != proto::AbiEntryType::Unknown
        {
            out = out.text("type", kind.name());
        }
        out = out.flag("payable", e.payable);
        if let Ok(mutability) = proto::StateMutability::try_from(e.state_mutability)
            && mutability != proto::StateMutability::Unknown
        {
            out = out.text("stateMutability", mutability.name());
        }
        out.build()
    };
    Out::new(false).list("entrys", abi.entrys.iter().map(entry).collect()).build()
}

/// A block with its transactions.
pub(crate) fn block(block: &StoredBlock, with_transactions: bool, visible: bool) -> Value {
    let raw = block.header.raw_data.clone().unwrap_or_default();
    let header = Out::new(visible)
        .value(
            "raw_data",
            Out::new(visible)
                .int("timestamp", raw.timestamp)
                .hex("txTrieRoot", &raw.tx_trie_root)
                .hex("parentHash", &raw.parent_hash)
                .int("number", raw.number)
                .int("witness_id", raw.witness_id)
                .address("witness_address", &raw.witness_address)
                .int("version", i64::from(raw.version))
                .hex("accountStateRoot", &raw.account_state_root)
                .build(),
        )
        .hex("witness_signature", &block.header.witness_signature)
        .build();
    let mut out = Out::new(visible).value("blockID", hex::encode(block.id)).value("block_header", header);
    if with_transactions {
        out = out.list("transactions", block.transactions.iter().map(|t| transaction(t, visible)).collect());
    }
    out.build()
}

/// What became of a transaction.
pub(crate) fn info(info: &TransactionInfo, visible: bool) -> Value {
    let receipt = Out::new(visible)
        .uint("energy_fee", info.receipt.energy_fee)
        .uint("energy_usage_total", info.receipt.energy_usage_total)
        .uint("net_usage", info.receipt.net_usage)
        .uint("net_fee", info.receipt.net_fee);
    let receipt = match info.receipt.result {
        Some(result) if result != ContractResult::Default => receipt.text("result", result.name()),
        _ => receipt,
    };
    let receipt = receipt.uint("energy_penalty_total", info.receipt.energy_penalty_total).build();
    let mut out = Out::new(visible)
        .value("id", hex::encode(info.id))
        .uint("fee", info.fee)
        .uint("blockNumber", info.block_number)
        .uint("blockTimeStamp", info.block_time)
        .value("contractResult", vec![hex::encode(&info.contract_result)]);
    if let Some(contract) = info.contract_address {
        out = out.address("contract_address", &address::to_wire(contract));
    }
    out = out.value("receipt", receipt).list("log", info.logs.iter().map(|l| log(l, visible)).collect());
    if info.is_failed() {
        out = out.text("result", "FAILED");
    }
    out.name_bytes("resMessage", info.message.as_bytes())
        .list("internal_transactions", info.internal.iter().map(|i| internal(i, visible)).collect())
        .uint("packingFee", info.receipt.net_fee.saturating_add(info.receipt.energy_fee))
        .build()
}

/// A log; its address has no prefix unless `visible`.
pub(crate) fn log(log: &Log, visible: bool) -> Value {
    let out = Out::new(visible);
    let out = if visible {
        out.address("address", &address::to_wire(log.address))
    } else {
        out.hex("address", log.address.as_slice())
    };
    out.list("topics", log.topics().iter().map(|t| Value::from(hex::encode(t))).collect())
        .hex("data", &log.data.data)
        .build()
}

/// A call or creation inside a transaction.
pub(crate) fn internal(inner: &InternalTransaction, visible: bool) -> Value {
    Out::new(visible)
        .value("hash", hex::encode(inner.hash))
        .address("caller_address", &address::to_wire(inner.caller))
        .address("transferTo_address", &address::to_wire(inner.to))
        .value("callValueInfo", vec![Out::new(visible).uint("callValue", inner.value).build()])
        .hex("note", inner.note.as_bytes())
        .flag("rejected", inner.rejected)
        .build()
}

/// An account; the empty object if there is none.
pub(crate) fn account(view: View<'_>, address: revm::primitives::Address, visible: bool) -> Value {
    let Some(account) = view.account(address) else { return json!({}) };
    let (owner, actives) = view.permissions(address);
    let mut out = Out::new(visible).address("address", &address::to_wire(address));
    if account.is_contract {
        out = out.text("type", "Contract");
    }
    out = out
        .uint("balance", account.balance)
        .uint("create_time", account.created_at)
        .uint("latest_opration_time", account.last_operation)
        .uint("free_net_usage", account.free_net_usage)
        .uint("latest_consume_free_time", account.free_net_slot)
        .value("net_window_size", 28_800_000)
        .value("net_window_optimized", true)
        .value("account_resource", json!({ "energy_window_size": 28_800_000, "energy_window_optimized": true }));
    if !account.is_contract {
        out = out
            .value("owner_permission", permission(&owner, visible))
            .list("active_permission", actives.iter().map(|p| permission(p, visible)).collect());
    }
    out.build()
}
