//! Transactions from JSON, as `broadcasttransaction` takes them and the building calls make them.
//!
//! Like a full node, this encodes what `raw_data` says and does not look at `raw_data_hex`.

use lucid_tron_bridge::proto::{self, ContractMessage, ContractType};
use prost::Message;
use serde_json::Value;

use super::request::{BadRequest, Request};

/// A whole transaction.
pub(crate) fn transaction(request: &Request) -> Result<proto::Transaction, BadRequest> {
    let raw = request
        .object("raw_data")?
        .ok_or_else(|| BadRequest { class: "java.lang.NullPointerException", message: "null".to_owned() })?;
    let mut contracts = Vec::new();
    for contract in raw.objects("contract")? {
        // A full node leaves out what it cannot read, and then finds no contract.
        if let Ok(Some(contract)) = self::contract(&contract) {
            contracts.push(contract);
        }
    }
    let raw = proto::TransactionRaw {
        ref_block_bytes: raw.bytes("ref_block_bytes")?,
        ref_block_num: raw.int("ref_block_num")?,
        ref_block_hash: raw.bytes("ref_block_hash")?,
        expiration: raw.int("expiration")?,
        data: raw.bytes("data")?,
        contract: contracts,
        scripts: raw.bytes("scripts")?,
        timestamp: raw.int("timestamp")?,
        fee_limit: raw.int("fee_limit")?,
    };
    Ok(proto::Transaction { raw_data: raw.encode_to_vec(), signature: signatures(request)?, ret: Vec::new() })
}

fn signatures(request: &Request) -> Result<Vec<Vec<u8>>, BadRequest> {
    let bad = || BadRequest::format("1:1: INVALID hex String: signature");
    let decode = |value: &Value| {
        let text = value.as_str().ok_or_else(bad)?;
        hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|_| bad())
    };
    match request.get("signature") {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => items.iter().map(decode).collect(),
        Some(single) => Ok(vec![decode(single)?]),
    }
}

fn contract(request: &Request) -> Result<Option<proto::Contract>, BadRequest> {
    let Some(parameter) = request.object("parameter")? else { return Ok(None) };
    let Some(value) = parameter.object("value")? else { return Ok(None) };
    let permission_id = i32::try_from(request.int("Permission_id")?).map_err(BadRequest::format)?;
    let contract = match ContractType::from_name(&request.text("type")?) {
        Some(ContractType::Transfer) => pack(&transfer(&value)?, permission_id),
        Some(ContractType::TriggerSmart) => pack(&trigger(&value)?, permission_id),
        Some(ContractType::CreateSmart) => {
            let message = proto::CreateSmartContract {
                owner_address: value.address_bytes("owner_address")?,
                new_contract: value.object("new_contract")?.map(|c| smart_contract(&c)).transpose()?,
                call_token_value: value.int("call_token_value")?,
                token_id: value.int("token_id")?,
            };
            pack(&message, permission_id)
        }
        Some(ContractType::AccountCreate) => pack(&account_create(&value)?, permission_id),
        Some(ContractType::AccountPermissionUpdate) => pack(&permission_update(&value)?, permission_id),
        _ => return Ok(None),
    };
    Ok(Some(contract))
}

fn pack<M: ContractMessage>(message: &M, permission_id: i32) -> proto::Contract {
    proto::Contract::pack(message, permission_id)
}

/// `TransferContract`.
pub(crate) fn transfer(request: &Request) -> Result<proto::TransferContract, BadRequest> {
    Ok(proto::TransferContract {
        owner_address: request.address_bytes("owner_address")?,
        to_address: request.address_bytes("to_address")?,
        amount: request.int("amount")?,
    })
}

/// `TriggerSmartContract`.
pub(crate) fn trigger(request: &Request) -> Result<proto::TriggerSmartContract, BadRequest> {
    Ok(proto::TriggerSmartContract {
        owner_address: request.address_bytes("owner_address")?,
        contract_address: request.address_bytes("contract_address")?,
        call_value: request.int("call_value")?,
        data: request.bytes("data")?,
        call_token_value: request.int("call_token_value")?,
        token_id: request.int("token_id")?,
    })
}

/// `AccountCreateContract`.
pub(crate) fn account_create(request: &Request) -> Result<proto::AccountCreateContract, BadRequest> {
    let kind = match request.get("type") {
        Some(Value::String(name)) => match name.as_str() {
            "AssetIssue" => 1,
            "Contract" => 2,
            _ => 0,
        },
        _ => i32::try_from(request.int("type")?).map_err(BadRequest::format)?,
    };
    Ok(proto::AccountCreateContract {
        owner_address: request.address_bytes("owner_address")?,
        account_address: request.address_bytes("account_address")?,
        r#type: kind,
    })
}

/// `AccountPermissionUpdateContract`.
pub(crate) fn permission_update(request: &Request) -> Result<proto::AccountPermissionUpdateContract, BadRequest> {
    Ok(proto::AccountPermissionUpdateContract {
        owner_address: request.address_bytes("owner_address")?,
        owner: request.object("owner")?.map(|p| permission(&p)).transpose()?,
        witness: request.object("witness")?.map(|p| permission(&p)).transpose()?,
        actives: request.objects("actives")?.iter().map(permission).collect::<Result<_, _>>()?,
    })
}

fn permission(request: &Request) -> Result<proto::Permission, BadRequest> {
    let kind = match request.get("type") {
        Some(Value::String(name)) => proto::PermissionType::from_name(name)
            .map(i32::from)
            .ok_or_else(|| BadRequest::format(format_args!("1:1: Enum type has no value named \"{name}\".")))?,
        _ => i32::try_from(request.int("type")?).map_err(BadRequest::format)?,
    };
    let keys = request.objects("keys")?;
    let keys =
        keys.iter().map(|key| Ok(proto::Key { address: key.address_bytes("address")?, weight: key.int("weight")? }));
    Ok(proto::Permission {
        r#type: kind,
        id: i32::try_from(request.int("id")?).map_err(BadRequest::format)?,
        permission_name: request.text("permission_name")?,
        threshold: request.int("threshold")?,
        parent_id: i32::try_from(request.int("parent_id")?).map_err(BadRequest::format)?,
        operations: request.bytes("operations")?,
        keys: keys.collect::<Result<_, BadRequest>>()?,
    })
}

fn smart_contract(request: &Request) -> Result<proto::SmartContract, BadRequest> {
    Ok(proto::SmartContract {
        origin_address: request.address_bytes("origin_address")?,
        contract_address: request.address_bytes("contract_address")?,
        abi: request.object("abi")?.map(|abi| self::abi(&abi)).transpose()?,
        bytecode: request.bytes("bytecode")?,
        call_value: request.int("call_value")?,
        consume_user_resource_percent: request.int("consume_user_resource_percent")?,
        name: request.text("name")?,
        origin_energy_limit: request.int("origin_energy_limit")?,
        code_hash: request.bytes("code_hash")?,
        trx_hash: request.bytes("trx_hash")?,
        version: i32::try_from(request.int("version")?).map_err(BadRequest::format)?,
    })
}

fn abi(request: &Request) -> Result<proto::Abi, BadRequest> {
    let entries = request.objects("entrys")?;
    Ok(proto::Abi { entrys: entries.iter().map(abi_entry).collect::<Result<_, _>>()? })
}

/// The `abi` of a request: the array that compilers print, as such or as text, or the protocol's object with `entrys`.
pub(crate) fn given_abi(request: &Request) -> Result<proto::Abi, BadRequest> {
    let entries = match request.get("abi") {
        Some(Value::String(text)) if !text.is_empty() => {
            let parsed: Value = serde_json::from_str(text).map_err(BadRequest::json)?;
            request.with("abi", parsed)
        }
        _ => request.clone(),
    };
    match entries.get("abi") {
        Some(Value::Object(_)) => entries.object("abi")?.map_or_else(|| Ok(proto::Abi::default()), |o| abi(&o)),
        Some(Value::Array(_)) => {
            let entries = entries.objects("abi")?;
            Ok(proto::Abi { entrys: entries.iter().map(abi_entry).collect::<Result<_, _>>()? })
        }
        _ => Ok(proto::Abi::default()),
    }
}

/// One entry of an ABI. Names of types and mutabilities are read in any case.
fn abi_entry(request: &Request) -> Result<proto::AbiEntry, BadRequest> {
    let kind = |name: &str| -> Result<i32, BadRequest> {
        match request.get(name) {
            Some(Value::String(text)) => Ok(named(name, text)),
            _ => i32::try_from(request.int(name)?).map_err(BadRequest::format),
        }
    };
    let params = |name: &str| -> Result<Vec<proto::AbiParam>, BadRequest> {
        let params = request.objects(name)?;
        params
            .iter()
            .map(|p| Ok(proto::AbiParam { indexed: p.flag("indexed"), name: p.text("name")?, r#type: p.text("type")? }))
            .collect()
    };
    Ok(proto::AbiEntry {
        anonymous: request.flag("anonymous"),
        constant: request.flag("constant"),
        name: request.text("name")?,
        inputs: params("inputs")?,
        outputs: params("outputs")?,
        r#type: kind("type")?,
        payable: request.flag("payable"),
        state_mutability: kind("stateMutability")?,
    })
}

fn named(field: &str, text: &str) -> i32 {
    let mut chars = text.chars();
    let name: String = chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect());
    if field == "type" {
        proto::AbiEntryType::from_name(&name).map_or(0, i32::from)
    } else {
        proto::StateMutability::from_name(&name).map_or(0, i32::from)
    }
}
