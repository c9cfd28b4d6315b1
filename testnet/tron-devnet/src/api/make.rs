//! Building unsigned transactions for clients that let the node do it.
//!
//! The reference block is the solidified one, the expiration a minute after the head: what a full node does by default.

use lucid_tron_bridge::proto::{self, ContractMessage, StateMutability};
use prost::Message;
use revm::primitives::keccak256;
use serde_json::{Value, json};

use super::json::Out;
use super::request::{BadRequest, Request};
use super::{Tree, constant, print, read_tx};
use crate::address;
use crate::chain::Chain;
use crate::node::Node;

const VALIDATE: &str = "org.tron.core.exception.ContractValidateException";

/// A transaction around `message`, with what the request says about permission, fee limit and note.
fn build<M: ContractMessage>(chain: &Chain, message: &M, request: &Request) -> Result<proto::Transaction, BadRequest> {
    let permission_id = i32::try_from(request.int("Permission_id")?).map_err(BadRequest::format)?;
    let mut raw = proto::TransactionRaw {
        contract: vec![proto::Contract::pack(message, permission_id)],
        fee_limit: request.int("fee_limit")?,
        ..constant::reference(chain.head())
    };
    let note = request.text("extra_data")?;
    raw.data = if request.visible() { note.into_bytes() } else { request.bytes("extra_data")? };
    Ok(proto::Transaction { raw_data: raw.encode_to_vec(), ..proto::Transaction::default() })
}

fn print_created(transaction: &proto::Transaction, visible: bool) -> Value {
    let mut printed = print::transaction(transaction, visible);
    if let Some(map) = printed.as_object_mut() {
        map.insert("visible".to_owned(), Value::Bool(visible));
    }
    printed
}

/// Builds what needs no virtual machine, if it could be carried out now.
fn system<M: ContractMessage>(node: &Node, message: &M, request: &Request) -> Result<Value, BadRequest> {
    let mut chain = node.chain();
    chain.check_system(&proto::Contract::pack(message, 0)).map_err(|refusal| {
        let said = refusal.message;
        let message = said.strip_prefix("Contract validate error : ").unwrap_or(&said).to_owned();
        BadRequest { class: VALIDATE, message }
    })?;
    Ok(print_created(&build(&chain, message, request)?, request.visible()))
}

/// `createtransaction`: a transfer of TRX.
pub(crate) fn transfer(node: &Node, request: &Request) -> Result<Value, BadRequest> {
    system(node, &read_tx::transfer(request)?, request)
}

/// `createaccount`.
pub(crate) fn account(node: &Node, request: &Request) -> Result<Value, BadRequest> {
    system(node, &read_tx::account_create(request)?, request)
}

/// `accountpermissionupdate`.
pub(crate) fn permissions(node: &Node, request: &Request) -> Result<Value, BadRequest> {
    system(node, &read_tx::permission_update(request)?, request)
}

/// `deploycontract`: `abi` as compilers print it (text or array), `bytecode` and `parameter` in hex.
pub(crate) fn deploy(node: &Node, request: &Request) -> Result<Value, BadRequest> {
    let owner = request.address_bytes("owner_address")?;
    let mut bytecode = request.bytes("bytecode")?;
    bytecode.extend(request.bytes("parameter")?);
    let percent = request.int("consume_user_resource_percent")?;
    if !(0..=100).contains(&percent) {
        return Err(BadRequest { class: VALIDATE, message: "percent must be >= 0 and <= 100".to_owned() });
    }
    let message = proto::CreateSmartContract {
        owner_address: owner.clone(),
        new_contract: Some(proto::SmartContract {
            origin_address: owner,
            abi: Some(read_tx::given_abi(request)?),
            bytecode,
            call_value: request.int("call_value")?,
            consume_user_resource_percent: percent,
            name: request.text("name")?,
            origin_energy_limit: request.int("origin_energy_limit")?,
            ..proto::SmartContract::default()
        }),
        call_token_value: request.int("call_token_value")?,
        token_id: request.int("token_id")?,
    };
    Ok(print_created(&build(&node.chain(), &message, request)?, request.visible()))
}

/// `triggersmartcontract`: an unsigned call, or, if the contract's interface says that the function changes nothing, the
/// call itself.
pub(crate) fn trigger(node: &Node, request: &Request) -> Result<Value, BadRequest> {
    let answer =
        |code: &str, message: String| Ok(json!({ "result": { "code": code, "message": hex::encode(message) } }));
    if request.text("owner_address")?.is_empty() {
        return answer(
            "OTHER_ERROR",
            "class java.security.InvalidParameterException : owner_address isn't set.".to_owned(),
        );
    }
    let message = match (read_tx::trigger(request), constant::call_data(request)) {
        (Ok(message), Ok(data)) => proto::TriggerSmartContract { data, ..message },
        (Err(bad), _) | (_, Err(bad)) => {
            return answer("OTHER_ERROR", format!("class {} : {}", bad.class, bad.message));
        }
    };
    let chain = node.chain();
    let contract = address::from_wire(&message.contract_address).ok().and_then(|a| chain.head().contract(a));
    let Some(contract) = contract else {
        return answer("CONTRACT_VALIDATE_ERROR", "No contract or not a valid smart contract".to_owned());
    };
    if is_constant(contract, &message.data) {
        drop(chain);
        return constant::call(node, Tree::Head, request);
    }
    let transaction = build(&chain, &message, request)?;
    Ok(Out::new(request.visible())
        .value("result", json!({ "result": true }))
        .value("transaction", print_created(&transaction, request.visible()))
        .build())
}

fn is_constant(contract: &proto::SmartContract, data: &[u8]) -> bool {
    let Some(selector) = data.get(..4) else { return false };
    let entries = contract.abi.as_ref().map(|abi| abi.entrys.as_slice()).unwrap_or_default();
    entries.iter().filter(|e| e.r#type == i32::from(proto::AbiEntryType::Function)).any(|entry| {
        let types: Vec<&str> = entry.inputs.iter().map(|p| p.r#type.as_str()).collect();
        let signature = format!("{}({})", entry.name, types.join(","));
        let reads_only =
            [StateMutability::View, StateMutability::Pure].map(i32::from).contains(&entry.state_mutability);
        (entry.constant || reads_only) && keccak256(signature.as_bytes())[..4] == *selector
    })
}
