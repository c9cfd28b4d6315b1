//! Calls that leave nothing behind.

use std::time::{Duration, Instant};

use lucid_tron_types::proto::{self, ContractResult};
use prost::Message as _;
use revm::primitives::{Address, keccak256};
use serde_json::{Value, json};

use super::json::{Out, Style};
use super::request::{BadRequest, Request};
use super::{Call, make, print, schema};
use crate::address;
use crate::chain::execute::call_value;
use crate::chain::{CallOutcome, View};

/// The name of the call that runs a function.
pub(super) const CALL: &str = "triggerconstantcontract";
/// Time for a constant call, and for all that an estimate tries; the main network's is 80 ms, on better machines. A block that
/// is due waits for them.
const MAX_TIME: Duration = Duration::from_millis(500);
/// What is searched for is found to within this many sun of energy.
const ESTIMATE_PRECISION: u64 = 1_000_000;

/// `{"result": {"code": ..., "message": ...}}`: how these calls, and the building of calls, say that they were refused.
pub(crate) fn refused(bad: &BadRequest, style: Style) -> Value {
    let (code, message) = if bad.class == make::VALIDATE {
        ("CONTRACT_VALIDATE_ERROR", bad.message.clone())
    } else {
        ("OTHER_ERROR", format!("class {} : {}", bad.class, bad.message.replace('"', "'")))
    };
    json!({ "result": Out::new(style).text("code", code).name("message", message.as_bytes()).build() })
}

/// The selector of the function that a call runs, in hex; none if it names none.
pub(crate) fn function(request: &Request) -> Option<String> {
    let signature = request.text("function_selector");
    if !signature.is_empty() {
        return Some(hex::encode(keccak256(signature.as_bytes()).get(..4)?));
    }
    let data = request.text("data");
    let data = data.strip_prefix("0x").unwrap_or(&data);
    let selector = data.get(..8).filter(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()))?;
    Some(selector.to_ascii_lowercase())
}

/// The call that a request describes: its data is `function_selector` with `parameter`, or else `data`.
pub(crate) fn call_message(request: &Request) -> Result<proto::TriggerSmartContract, BadRequest> {
    let read = request.read(&schema::TRIGGER_SMART)?;
    let selector = request.text("function_selector");
    let data = if selector.is_empty() {
        read.bytes("data").to_vec()
    } else {
        let mut data = keccak256(selector.as_bytes())[..4].to_vec();
        data.extend(request.bytes("parameter")?);
        data
    };
    let as_sent = proto::TriggerSmartContract::decode(read.encode().as_slice()).map_err(|_| BadRequest::null())?;
    Ok(proto::TriggerSmartContract { data, ..as_sent })
}

/// A call, or a creation of what its data creates, ready to be tried.
struct Trial {
    caller: Address,
    /// None creates.
    contract: Option<Address>,
    message: proto::TriggerSmartContract,
    value: u64,
}

impl Trial {
    fn new(view: View<'_>, message: proto::TriggerSmartContract) -> Result<Self, BadRequest> {
        let contract = address::from_wire(&message.contract_address).ok();
        if !message.contract_address.is_empty() && contract.and_then(|a| view.contract(a)).is_none() {
            return Err(make::invalid("Smart contract is not exist."));
        }
        let value = call_value(message.call_value, message.call_token_value, message.token_id);
        let value = value.map_err(|refusal| make::refused(&refusal))?;
        let caller = address::from_wire(&message.owner_address);
        if value > 0 {
            let caller = *caller.as_ref().map_err(|_| make::invalid("Invalid ownerAddress!"))?;
            if contract == Some(caller) {
                return Err(make::invalid("Cannot transfer TRX to yourself."));
            }
            let account = view.account(caller);
            let account = account.ok_or_else(|| make::invalid("Validate InternalTransfer error, no OwnerAccount."))?;
            if account.balance < value {
                return Err(make::invalid("Validate InternalTransfer error, balance is not sufficient."));
            }
        }
        let caller = caller.map_err(|_| make::invalid("Invalid ownerAddress!"))?;
        Ok(Self { caller, contract, message, value })
    }

    /// With at most so much energy, or with what constant calls have.
    fn run(&self, view: View<'_>, energy: Option<u64>) -> CallOutcome {
        match self.contract {
            Some(contract) => view.call(self.caller, contract, &self.message.data, self.value, energy),
            None => view.try_create(self.caller, &self.message.data, self.value, energy),
        }
    }

    /// The contract of a transaction that would do it.
    fn to_proto(&self, permission_id: i32) -> proto::Contract {
        let message = &self.message;
        if self.contract.is_some() {
            return proto::Contract::pack(message, permission_id);
        }
        let new_contract = proto::SmartContract {
            origin_address: message.owner_address.clone(),
            bytecode: message.data.clone(),
            call_value: message.call_value,
            consume_user_resource_percent: 100,
            origin_energy_limit: 1,
            ..proto::SmartContract::default()
        };
        let create = proto::CreateSmartContract {
            owner_address: message.owner_address.clone(),
            new_contract: Some(new_contract),
            call_token_value: message.call_token_value,
            token_id: message.token_id,
        };
        proto::Contract::pack(&create, permission_id)
    }
}

/// The parameters without which there is nothing to try.
fn check_given(request: &Request) -> Result<(), BadRequest> {
    let [owner, contract, data] = ["owner_address", "contract_address", "data"].map(|name| request.text(name));
    if owner.is_empty() {
        return Err(make::missing("owner_address isn't set."));
    }
    if contract.is_empty() && data.is_empty() {
        return Err(make::missing("At least one of contract_address and data must be set."));
    }
    if contract.is_empty() && !request.text("function_selector").is_empty() {
        return Err(make::missing("While trying to deploy, function_selector and data can not be both set."));
    }
    Ok(())
}

/// `triggerconstantcontract`.
pub(crate) fn call(call: &Call<'_>) -> Result<Value, BadRequest> {
    check_given(call.request)?;
    let message = call_message(call.request)?;
    let chain = call.node.chain();
    let view = call.tree.view(&chain);
    let memo = make::memo(call.request)?;
    run(view, call.request, message, 0, memo)
}

/// Runs a call and prints what it did. A revert is `result: true` with a message and `ret: FAILED`; everything else that
/// goes wrong in the contract is an error of the call.
pub(crate) fn run(
    view: View<'_>,
    request: &Request,
    message: proto::TriggerSmartContract,
    fee_limit: i64,
    memo: Vec<u8>,
) -> Result<Value, BadRequest> {
    let style = request.style();
    let price = view.chain().params().energy_price.max(1);
    let energy = u64::try_from(fee_limit).ok().filter(|limit| *limit > 0).map(|limit| limit / price);
    let trial = Trial::new(view, message)?;
    let outcome = trial.run(view.until(Instant::now() + MAX_TIME), energy);
    let has_failed = match outcome.result {
        ContractResult::Success => false,
        ContractResult::Revert => true,
        _ => return Err(BadRequest::new(exception(outcome.result), outcome.message)),
    };
    let contract = trial.to_proto(make::permission_id(request)?);
    let raw = proto::TransactionRaw { fee_limit, data: memo, ..make::raw(view.chain(), contract) };
    let result = proto::TransactionResult { ret: i32::from(has_failed), ..proto::TransactionResult::default() };
    let transaction =
        proto::Transaction { raw_data: raw.encode_to_vec(), ret: vec![result], ..proto::Transaction::default() };
    let result = Out::new(style).flag("result", true).name("message", outcome.message.as_bytes()).build();
    Ok(Out::new(style)
        .value("result", result)
        .long("energy_used", outcome.energy)
        .long("energy_penalty", outcome.penalty)
        .value("constant_result", vec![hex::encode(&outcome.output)])
        .list("logs", outcome.logs.iter().map(|l| print::constant_log(l, style)).collect())
        .list("internal_transactions", outcome.internal.iter().map(|i| print::internal(i, style)).collect())
        .value("transaction", print::built(&transaction, style))
        .build())
}

/// The exception that java-tron throws for it.
fn exception(result: ContractResult) -> &'static str {
    match result {
        ContractResult::BadJumpDestination => "org.tron.core.vm.program.Program$BadJumpDestinationException",
        ContractResult::OutOfMemory => "org.tron.core.vm.program.Program$OutOfMemoryException",
        ContractResult::PrecompiledContract => "org.tron.core.vm.program.Program$PrecompiledContractException",
        ContractResult::StackTooSmall => "org.tron.core.vm.program.Program$StackTooSmallException",
        ContractResult::StackTooLarge => "org.tron.core.vm.program.Program$StackTooLargeException",
        ContractResult::IllegalOperation => "org.tron.core.vm.program.Program$IllegalOperationException",
        ContractResult::OutOfEnergy => "org.tron.core.vm.program.Program$OutOfEnergyException",
        ContractResult::OutOfTime => "org.tron.core.vm.program.Program$OutOfTimeException",
        ContractResult::JvmStackOverFlow => "org.tron.core.vm.program.Program$JVMStackOverFlowException",
        ContractResult::TransferFailed => "org.tron.core.vm.program.Program$TransferException",
        ContractResult::InvalidCode => "org.tron.core.vm.program.Program$InvalidCodeException",
        _ => "org.tron.core.vm.program.Program$BytecodeExecutionException",
    }
}

/// `estimateenergy`: a limit with which the call succeeds, found as java-tron does, halving a range of fee limits until it
/// is as small as [`ESTIMATE_PRECISION`].
pub(crate) fn estimate(call: &Call<'_>) -> Result<Value, BadRequest> {
    check_given(call.request)?;
    let message = call_message(call.request)?;
    let style = call.request.style();
    let chain = call.node.chain();
    let view = call.tree.view(&chain);
    let trial = Trial::new(view, message)?;
    let params = chain.params();
    let price = params.energy_price.max(1);
    let view = view.until(Instant::now() + MAX_TIME);
    let with = |fee_limit: u64| match trial.run(view, Some(fee_limit / price)) {
        late if late.result == ContractResult::OutOfTime => Err(BadRequest::new(exception(late.result), late.message)),
        outcome => Ok(outcome),
    };
    let mut high = params.max_fee_limit;
    let first = with(high)?;
    if first.result != ContractResult::Success {
        let result = Out::new(style).text("code", "CONTRACT_EXE_ERROR").name("message", first.message.as_bytes());
        return Ok(json!({ "result": result.build() }));
    }
    let mut low = first.energy.saturating_mul(price);
    let mut middle = low.saturating_mul(2);
    if middle >= high {
        middle = low.midpoint(high);
    }
    while low.saturating_add(ESTIMATE_PRECISION) < high {
        let bound = if with(middle)?.result == ContractResult::Success { &mut high } else { &mut low };
        *bound = middle;
        middle = low.midpoint(high);
    }
    let required = Out::new(style).long("energy_required", high.div_ceil(price));
    Ok(required.value("result", json!({ "result": true })).build())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::json;

    use super::super::Tree;
    use super::super::calls::answer;
    use super::super::tests::node;
    use super::*;
    use crate::faults::Plan;

    #[test]
    fn what_a_call_sends_along_is_judged_as_in_a_transaction() {
        let (node, usdt, owner) = node();
        let refused = |name: &str, value: i64, token_value: i64, token_id: i64| {
            let body = json!({ "owner_address": owner, "contract_address": usdt, "data": "18160ddd",
                "call_value": value, "call_token_value": token_value, "token_id": token_id });
            let request = Request::from_body(body.to_string().as_bytes(), false, "");
            let result = answer(&node, Tree::Head, name, &request, &Plan::default()).unwrap()["result"].clone();
            let message = hex::decode(result["message"].as_str().unwrap_or_default()).unwrap();
            (result["code"].as_str().unwrap_or_default().to_owned(), String::from_utf8(message).unwrap())
        };
        for name in ["triggerconstantcontract", "estimateenergy"] {
            assert_eq!(refused(name, 0, 0, 0), Default::default());
            assert_eq!(refused(name, 0, 0, 1_000_001), Default::default());
            for (value, token_value, token_id, why) in [
                (-1, 0, 0, "callValue must be >= 0"),
                (0, -1, 0, "tokenValue must be >= 0"),
                (0, 0, 1_000_000, "tokenId must be > 1000000"),
                (0, 5, 0, "invalid arguments with tokenValue = 5, tokenId = 0"),
                (0, 5, 1_000_001, "No asset !"),
            ] {
                let expected = ("CONTRACT_VALIDATE_ERROR".to_owned(), why.to_owned());
                assert_eq!(refused(name, value, token_value, token_id), expected, "{name}");
            }
        }
    }
}
