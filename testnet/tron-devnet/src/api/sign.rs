//! Looking at a partly signed transaction: who has signed, and whether it is enough.

use lucid_tron_types::block::transaction_id;
use lucid_tron_types::proto::{self, PermissionType};
use revm::primitives::Address;
use serde_json::{Value, json};

use super::json::{Out, Style};
use super::request::BadRequest;
use super::{Call, print, read_tx, schema};
use crate::address;
use crate::chain::{allows, owner_of, recover, weigh};

/// What was found wrong.
struct Problem {
    code: &'static str,
    message: String,
}

impl Problem {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn permission(message: impl Into<String>) -> Self {
        Self::new("PERMISSION_ERROR", message)
    }

    fn to_value(&self) -> Value {
        json!({ "code": self.code, "message": self.message })
    }
}

fn print_list(addresses: &[Address], style: Style) -> Vec<Value> {
    addresses.iter().map(|a| style.address(&address::to_wire(*a))).collect()
}

fn extension(transaction: &proto::Transaction, style: Style) -> Value {
    json!({
        "result": { "result": true },
        "txid": hex::encode(transaction_id(&transaction.raw_data)),
        "transaction": print::transaction(transaction, style),
    })
}

/// The transaction's contract, for whom it acts, and who signed.
fn contract(transaction: &proto::Transaction) -> Result<(proto::Contract, Option<Address>), Problem> {
    let raw = transaction.raw().map_err(|e| Problem::new("OTHER_ERROR", e.to_string()))?;
    let contract = raw.contract.into_iter().next();
    let contract = contract.ok_or_else(|| Problem::new("OTHER_ERROR", "Invalid transaction: no valid contract"))?;
    let owner = owner_of(&contract);
    Ok((contract, owner))
}

fn signers(transaction: &proto::Transaction) -> Result<Vec<Address>, Problem> {
    let id = transaction_id(&transaction.raw_data);
    let signer = |signature: &Vec<u8>| {
        if signature.len() < 65 {
            return Err(Problem::new("SIGNATURE_FORMAT_ERROR", format!("Signature size is {}", signature.len())));
        }
        recover(&id, signature).map_err(|why| Problem::new("COMPUTE_ADDRESS_ERROR", why))
    };
    transaction.signature.iter().map(signer).collect()
}

/// `getapprovedlist`.
pub(crate) fn approved_list(call: &Call<'_>) -> Result<Value, BadRequest> {
    let transaction = read_tx::transaction(call.request)?;
    let style = call.request.style();
    let found = contract(&transaction).and_then(|(_, owner)| {
        let chain = call.node.chain();
        if owner.and_then(|owner| chain.head().account(owner)).is_none() {
            let class = "class org.tron.core.exception.PermissionException";
            return Err(Problem::new("OTHER_ERROR", format!("{class} : Account does not exist!")));
        }
        drop(chain);
        signers(&transaction)
    });
    let out = Out::new(style).value("transaction", extension(&transaction, style));
    Ok(match found {
        Ok(signers) => out.list("approved_list", print_list(&signers, style)).value("result", json!({})),
        Err(problem) => out.value("result", problem.to_value()),
    }
    .build())
}

/// `getsignweight`.
pub(crate) fn sign_weight(call: &Call<'_>) -> Result<Value, BadRequest> {
    let transaction = read_tx::transaction(call.request)?;
    let style = call.request.style();
    let mut out = Out::new(style).value("transaction", extension(&transaction, style));
    let permission = contract(&transaction).and_then(|(contract, owner)| permission(call, &contract, owner));
    let weighed = permission.and_then(|permission| {
        out = std::mem::replace(&mut out, Out::new(style))
            .value("permission", print::proto(&schema::PERMISSION, &permission, style));
        let signers = signers(&transaction)?;
        let weight = weigh(&permission, &signers, &transaction.signature).map_err(Problem::permission)?;
        out = std::mem::replace(&mut out, Out::new(style))
            .list("approved_list", print_list(&signers, style))
            .long("current_weight", u64::try_from(weight).unwrap_or(0));
        let is_enough = weight >= permission.threshold;
        Ok(if is_enough { json!({}) } else { json!({ "code": "NOT_ENOUGH_PERMISSION" }) })
    });
    let result = weighed.unwrap_or_else(|problem| problem.to_value());
    Ok(out.value("result", result).build())
}

/// The permission that a contract is taken under, if it may be.
fn permission(
    call: &Call<'_>,
    contract: &proto::Contract,
    owner: Option<Address>,
) -> Result<proto::Permission, Problem> {
    let chain = call.node.chain();
    let view = chain.head();
    let missing = || Problem::permission("Account does not exist!");
    let owner = owner.filter(|owner| view.account(*owner).is_some()).ok_or_else(missing)?;
    let permission = view
        .permission(owner, contract.permission_id)
        .ok_or_else(|| Problem::permission("Permission for this, does not exist!"))?;
    if contract.permission_id != 0 {
        if permission.r#type != i32::from(PermissionType::Active) {
            return Err(Problem::permission("Permission type is wrong!"));
        }
        if !allows(&permission, contract.r#type) {
            return Err(Problem::permission("Permission denied!"));
        }
    }
    Ok(permission)
}
