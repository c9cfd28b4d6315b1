//! Looking at a partly signed transaction: who has signed, and whether it is enough.

use lucid_tron_bridge::block::transaction_id;
use lucid_tron_bridge::proto::{self, PermissionType};
use revm::primitives::Address;
use serde_json::{Value, json};

use super::json::Out;
use super::print;
use super::read_tx;
use super::request::{BadRequest, Request};
use crate::address;
use crate::chain::{allows, recover, weigh};
use crate::node::Node;

/// What was found wrong.
struct Problem {
    code: &'static str,
    message: String,
}

impl Problem {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn to_value(&self) -> Value {
        Out::new(false).text("code", self.code).text("message", &self.message).build()
    }
}

fn print_list(addresses: &[Address], visible: bool) -> Vec<Value> {
    let print = |a: &Address| if visible { address::to_base58(*a) } else { address::to_hex(*a) };
    addresses.iter().map(|a| Value::from(print(a))).collect()
}

fn extension(transaction: &proto::Transaction, visible: bool) -> Value {
    json!({
        "result": { "result": true },
        "txid": hex::encode(transaction_id(&transaction.raw_data)),
        "transaction": print::transaction(transaction, visible),
    })
}

/// Owner of the transaction's contract, and who signed.
fn signers(transaction: &proto::Transaction) -> Result<(proto::Contract, Address, Vec<Address>), Problem> {
    let raw = transaction.raw().map_err(|e| Problem::new("OTHER_ERROR", e.to_string()))?;
    let contract = raw
        .contract
        .into_iter()
        .next()
        .ok_or_else(|| Problem::new("OTHER_ERROR", "Invalid transaction: no valid contract"))?;
    let owner = crate::chain::owner_of(&contract)
        .ok_or_else(|| Problem::new("OTHER_ERROR", "Invalid transaction: no valid owner"))?;
    let id = transaction_id(&transaction.raw_data);
    let mut signers = Vec::new();
    for signature in &transaction.signature {
        if signature.len() < 65 {
            let message = format!("Signature size is {}", signature.len());
            return Err(Problem::new("SIGNATURE_FORMAT_ERROR", message));
        }
        let signer = recover(&id, signature).map_err(|message| Problem::new("COMPUTE_ADDRESS_ERROR", message))?;
        signers.push(signer);
    }
    Ok((contract, owner, signers))
}

/// `getapprovedlist`.
pub(crate) fn approved_list(node: &Node, request: &Request) -> Result<Value, BadRequest> {
    let transaction = read_tx::transaction(request)?;
    let visible = request.visible();
    let found = signers(&transaction).and_then(|(_, owner, signers)| {
        let class = "class org.tron.core.exception.PermissionException";
        let missing = || Problem::new("OTHER_ERROR", format!("{class} : Account does not exist!"));
        node.chain().head().account(owner).map(|_| signers).ok_or_else(missing)
    });
    let out = Out::new(visible).value("transaction", extension(&transaction, visible));
    Ok(match found {
        Ok(signers) => out.list("approved_list", print_list(&signers, visible)).value("result", json!({})),
        Err(problem) => out.value("result", problem.to_value()),
    }
    .build())
}

/// `getsignweight`.
pub(crate) fn sign_weight(node: &Node, request: &Request) -> Result<Value, BadRequest> {
    let transaction = read_tx::transaction(request)?;
    let visible = request.visible();
    let mut out = Out::new(visible).value("transaction", extension(&transaction, visible));
    let mut weighed = || -> Result<Value, Problem> {
        let (contract, owner, signers) = signers(&transaction)?;
        let chain = node.chain();
        let view = chain.head();
        let denied = |message: &str| Problem::new("PERMISSION_ERROR", message);
        view.account(owner).ok_or_else(|| denied("Account does not exist!"))?;
        let permission = view
            .permission(owner, contract.permission_id)
            .ok_or_else(|| denied("Permission for this, does not exist!"))?;
        if contract.permission_id != 0 {
            if permission.r#type != i32::from(PermissionType::Active) {
                return Err(denied("Permission type is wrong!"));
            }
            if !allows(&permission, contract.r#type) {
                return Err(denied("Permission denied!"));
            }
        }
        out =
            std::mem::replace(&mut out, Out::new(visible)).value("permission", print::permission(&permission, visible));
        let weight = weigh(&permission, &signers, &transaction.signature).map_err(|m| denied(&m))?;
        out = std::mem::replace(&mut out, Out::new(visible))
            .list("approved_list", print_list(&signers, visible))
            .int("current_weight", weight);
        let is_enough = weight >= permission.threshold;
        Ok(if is_enough { json!({}) } else { json!({ "code": "NOT_ENOUGH_PERMISSION" }) })
    };
    let result = weighed().unwrap_or_else(|problem| problem.to_value());
    Ok(out.value("result", result).build())
}
