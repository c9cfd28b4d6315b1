//! Building unsigned transactions for clients that let the node do it.
//!
//! The reference block is the solidified one, the expiration a minute after the head: what a full node does by default.

use lucid_tron_types::proto::{self, Any, StateMutability, TYPE_URL_PREFIX};
use prost::Message as _;
use revm::primitives::keccak256;
use serde_json::{Value, json};

use super::json::Out;
use super::message::{Message, Schema};
use super::request::{BadRequest, Request};
use super::{Call, constant, parse, print, schema};
use crate::address;
use crate::chain::{Chain, Code, Refusal};

/// What java-tron throws for a transaction that could not be carried out.
pub(crate) const VALIDATE: &str = "org.tron.core.exception.ContractValidateException";
/// Milliseconds that a transaction is valid after the head.
const VALIDITY: u64 = 60_000;

pub(crate) fn invalid(message: impl std::fmt::Display) -> BadRequest {
    BadRequest::new(VALIDATE, message)
}

/// A transaction, or a call without one, that the chain refused as invalid.
pub(crate) fn refused(refusal: &Refusal) -> BadRequest {
    let said = refusal.message.as_str();
    invalid(said.strip_prefix("Contract validate error : ").unwrap_or(said))
}

pub(crate) fn missing(message: impl std::fmt::Display) -> BadRequest {
    BadRequest::new("java.security.InvalidParameterException", message)
}

/// What a transaction with this contract says, fee limit and memo aside.
pub(crate) fn raw(chain: &Chain, contract: proto::Contract) -> proto::TransactionRaw {
    let reference = chain.solid().block().id;
    proto::TransactionRaw {
        contract: vec![contract],
        ref_block_bytes: reference[6..8].to_vec(),
        ref_block_hash: reference[8..16].to_vec(),
        expiration: i64::try_from(chain.head().block().time().saturating_add(VALIDITY)).unwrap_or(i64::MAX),
        timestamp: i64::try_from(crate::node::now()).unwrap_or(i64::MAX),
        ..proto::TransactionRaw::default()
    }
}

fn unsigned(raw: &proto::TransactionRaw) -> proto::Transaction {
    proto::Transaction { raw_data: raw.encode_to_vec(), ..proto::Transaction::default() }
}

/// The permission that a request wants its transaction to be taken under.
pub(crate) fn permission_id(request: &Request) -> Result<i32, BadRequest> {
    let id = request.long("Permission_id")?;
    i32::try_from(id.max(0)).map_err(|_| BadRequest::json(format_args!("can not cast to int, value : {id}")))
}

/// `extra_data`: a text if visible, hex without.
pub(crate) fn memo(request: &Request) -> Result<Vec<u8>, BadRequest> {
    if request.style().visible { Ok(request.text("extra_data").into_bytes()) } else { request.bytes("extra_data") }
}

/// Builds what needs no virtual machine, if it could be carried out now: the request is the contract's parameter.
pub(crate) fn system(call: &Call<'_>, schema: &'static Schema) -> Result<Value, BadRequest> {
    let raw = system_raw(call, schema)?;
    Ok(print::built(&unsigned(&raw), call.request.style()))
}

/// `createtransaction`: a transfer of TRX, which alone may have a memo.
pub(crate) fn transfer(call: &Call<'_>) -> Result<Value, BadRequest> {
    let raw = system_raw(call, &schema::TRANSFER)?;
    let raw = proto::TransactionRaw { data: memo(call.request)?, ..raw };
    Ok(print::built(&unsigned(&raw), call.request.style()))
}

fn system_raw(call: &Call<'_>, schema: &'static Schema) -> Result<proto::TransactionRaw, BadRequest> {
    let message = call.request.read(schema)?;
    let contract = proto::Contract {
        r#type: schema::contract_number(schema.name).unwrap_or(-1),
        parameter: Some(Any { type_url: format!("{TYPE_URL_PREFIX}{}", schema.name), value: message.encode() }),
        permission_id: permission_id(call.request)?,
        ..proto::Contract::default()
    };
    let mut chain = call.node.chain_mut();
    match chain.check_system(&contract) {
        // Who cannot pay the fee learns it when the transaction is sent.
        Err(refusal) if refusal.code != Code::ContractExeError => Err(refused(&refusal)),
        _ => Ok(raw(&chain, contract)),
    }
}

/// `createCommonTransaction`: any of them, by `contractType`.
pub(crate) fn common(call: &Call<'_>) -> Result<Value, BadRequest> {
    let name = call.request.text("contractType");
    let unknown = || {
        let class = "java.lang.IllegalArgumentException";
        BadRequest::new(
            class,
            format_args!("No enum constant org.tron.protos.Protocol.Transaction.Contract.ContractType.{name}"),
        )
    };
    system(call, schema::contract(&name).ok_or_else(unknown)?)
}

/// `deploycontract`: `abi` as compilers print it (text or array), `bytecode` and `parameter` in hex.
pub(crate) fn deploy(call: &Call<'_>) -> Result<Value, BadRequest> {
    let request = call.request;
    let owner = request.address("owner_address")?;
    let mut abi = Message::new(&schema::ABI);
    if request.get("abi").is_some() {
        let entries = format!("{{\"entrys\":{}}}", request.text("abi"));
        abi = parse::read(&entries, &schema::ABI, request.style().visible, false)?;
    }
    let code = format!("{}{}", request.text("bytecode"), request.text("parameter"));
    let new_contract = proto::SmartContract {
        origin_address: owner.clone(),
        abi: proto::Abi::decode(abi.encode().as_slice()).ok(),
        bytecode: super::decode::hex(&code).ok_or_else(BadRequest::hex)?,
        call_value: request.long("call_value")?,
        consume_user_resource_percent: request.long("consume_user_resource_percent")?,
        name: request.text("name"),
        origin_energy_limit: request.long("origin_energy_limit")?,
        ..proto::SmartContract::default()
    };
    if !(0..=100).contains(&new_contract.consume_user_resource_percent) {
        return Err(invalid("percent must be >= 0 and <= 100"));
    }
    let message = proto::CreateSmartContract {
        owner_address: owner,
        new_contract: Some(new_contract),
        call_token_value: request.long("call_token_value")?,
        token_id: request.long("token_id")?,
    };
    let contract = proto::Contract::pack(&message, permission_id(request)?);
    let raw = raw(&call.node.chain(), contract);
    let raw = proto::TransactionRaw { fee_limit: request.long("fee_limit")?, ..raw };
    Ok(print::built(&unsigned(&raw), request.style()))
}

/// `triggersmartcontract`: an unsigned call, or, if the contract's interface says that the function changes nothing, the
/// call itself.
pub(crate) fn trigger(call: &Call<'_>) -> Result<Value, BadRequest> {
    let request = call.request;
    for name in ["owner_address", "contract_address"] {
        if request.text(name).is_empty() {
            return Err(missing(format_args!("{name} isn't set.")));
        }
    }
    let message = constant::call_message(request)?;
    let fee_limit = request.long("fee_limit")?;
    let chain = call.node.chain();
    let contract = address::from_wire(&message.contract_address).ok().and_then(|a| chain.head().contract(a));
    let contract = contract.ok_or_else(|| invalid("No contract or not a valid smart contract"))?;
    if is_constant(contract, &message.data) {
        return constant::run(chain.head(), request, message, fee_limit, Vec::new());
    }
    let contract = proto::Contract::pack(&message, permission_id(request)?);
    let raw = proto::TransactionRaw { fee_limit, ..raw(&chain, contract) };
    Ok(Out::new(request.style())
        .value("result", json!({ "result": true }))
        .value("transaction", print::built(&unsigned(&raw), request.style()))
        .build())
}

/// Whether the function of the interface that has this selector changes nothing.
fn is_constant(contract: &proto::SmartContract, data: &[u8]) -> bool {
    let Some(selector) = data.get(..4) else { return false };
    let entries = contract.abi.as_ref().map(|abi| abi.entrys.as_slice()).unwrap_or_default();
    let mut functions = entries.iter().filter(|e| e.r#type == i32::from(proto::AbiEntryType::Function));
    let called = functions.find(|entry| {
        let types: Vec<&str> = entry.inputs.iter().map(|p| p.r#type.as_str()).collect();
        keccak256(format!("{}({})", entry.name, types.join(",")))[..4] == *selector
    });
    let reads_only = [StateMutability::View, StateMutability::Pure].map(i32::from);
    called.is_some_and(|entry| entry.constant || reads_only.contains(&entry.state_mutability))
}
