//! Carrying one transaction out on the state: fees first, then what its contract says.
//!
//! Order and messages follow java-tron's `Manager.processTransaction` and its actuators. A refusal leaves a half-changed
//! state behind: the caller opens a layer before and rolls it back.

use std::sync::Arc;

use lucid_tron_bridge::proto::{self, ContractResult};
use revm::primitives::{Address, B256, Bytes, HashMap, KECCAK_EMPTY};

use super::bandwidth::{self, Paid};
use super::intake::{Action, Intake};
use super::params::Params;
use super::permissions;
use super::receipt::{Receipt, TransactionInfo};
use super::refusal::{Code, Refusal};
use super::state::{Account, NEWEST, State, StateDb, Total};
use crate::address;
use crate::evm::tx::CREATE;
use crate::evm::{self, BlockContext, Kind, Outcome, Request};
use crate::wallet;

/// Where a transaction is carried out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) params: &'a Params,
    /// Block ids by number.
    pub(crate) block_ids: &'a [B256],
    pub(crate) genesis_time: u64,
    /// Time of the parent block: what "now" is for accounts and bandwidth.
    pub(crate) head_time: u64,
    /// The block being made.
    pub(crate) block: BlockContext,
}

/// Carries `intake` out.
pub(crate) fn process(state: &mut State, place: Place<'_>, intake: &Intake) -> Result<TransactionInfo, Refusal> {
    let mut info = TransactionInfo {
        id: intake.id,
        fee: 0,
        system_fee: 0,
        block_number: place.block.number,
        block_time: place.block.time,
        contract_result: Vec::new(),
        contract_address: None,
        receipt: Receipt::default(),
        logs: Vec::new(),
        message: String::new(),
        internal: Vec::new(),
    };
    let extra = pay_around(state, place, intake, &mut info.receipt)?;
    match &intake.action {
        Action::Create(message) => deploy(state, place, intake, message, &mut info)?,
        Action::Trigger(message) => trigger(state, place, intake, message, &mut info)?,
        system => info.system_fee = run_system(state, place, system)?,
    }
    info.fee = [info.system_fee, info.receipt.net_fee, info.receipt.energy_fee, extra]
        .iter()
        .fold(0, |sum, fee| sum.saturating_add(*fee));
    state.add_total(Total::Burnt, info.fee);
    Ok(info)
}

/// What needs no virtual machine. Answers the fee that the contract itself asks for; for the others nothing happens.
pub(crate) fn run_system(state: &mut State, place: Place<'_>, action: &Action) -> Result<u64, Refusal> {
    match action {
        Action::Transfer(message) => transfer(state, place, message),
        Action::CreateAccount(message) => create_account(state, place, message),
        Action::UpdatePermissions(message) => update_permissions(state, place, message),
        Action::Create(_) | Action::Trigger(_) => Ok(0),
    }
}

/// Bandwidth, the fee for several signatures, and the fee for a note. Answers the latter two.
fn pay_around(state: &mut State, place: Place<'_>, intake: &Intake, receipt: &mut Receipt) -> Result<u64, Refusal> {
    let Some(account) = state.account(intake.owner) else {
        return Err(Refusal::invalid(format_args!("account [{}] does not exist", address::to_base58(intake.owner))));
    };
    let mut account = account.clone();
    account.last_operation = place.head_time;
    if creates_account(state, &intake.action) {
        let fee = place.params.create_account_bandwidth_fee;
        account.balance = account.balance.checked_sub(fee).ok_or_else(Refusal::bandwidth)?;
        receipt.net_fee = fee;
    } else {
        let now = bandwidth::slot(place.genesis_time, place.head_time);
        match bandwidth::pay(&mut account, intake.bandwidth(), place.params, now) {
            Some(Paid::Free(bytes)) => receipt.net_usage = bytes,
            Some(Paid::Burnt(fee)) => receipt.net_fee = fee,
            None => return Err(Refusal::bandwidth()),
        }
    }
    let mut extra = 0u64;
    if intake.signers.len() > 1 {
        extra = extra.saturating_add(place.params.multi_sign_fee);
    }
    if !intake.raw.data.is_empty() {
        extra = extra.saturating_add(place.params.memo_fee);
    }
    account.balance = account.balance.checked_sub(extra).ok_or_else(Refusal::bandwidth)?;
    state.set_account(intake.owner, Some(account));
    Ok(extra)
}

fn creates_account(state: &State, action: &Action) -> bool {
    match action {
        Action::CreateAccount(_) => true,
        Action::Transfer(message) => {
            address::from_wire(&message.to_address).is_ok_and(|to| state.account(to).is_none())
        }
        _ => false,
    }
}

fn transfer(state: &mut State, place: Place<'_>, message: &proto::TransferContract) -> Result<u64, Refusal> {
    let from = address::from_wire(&message.owner_address).map_err(|_| Refusal::invalid("Invalid ownerAddress!"))?;
    let to = address::from_wire(&message.to_address).map_err(|_| Refusal::invalid("Invalid toAddress!"))?;
    if to == from {
        return Err(Refusal::invalid("Cannot transfer TRX to yourself."));
    }
    let Some(sender) = state.account(from).cloned() else {
        return Err(Refusal::invalid("Validate TransferContract error, no OwnerAccount."));
    };
    let amount = match u64::try_from(message.amount) {
        Ok(amount) if amount > 0 => amount,
        _ => return Err(Refusal::invalid("Amount must be greater than 0.")),
    };
    let recipient = state.account(to).cloned();
    if recipient.as_ref().is_some_and(|r| r.is_contract) {
        return Err(Refusal::invalid(
            "Cannot transfer TRX to a smartContract which version is one. Instead please use TriggerSmartContract ",
        ));
    }
    let fee = if recipient.is_none() { place.params.create_account_fee } else { 0 };
    let poor = || Refusal::invalid("Validate TransferContract error, balance is not sufficient.");
    let cost = amount.checked_add(fee).ok_or_else(poor)?;
    let left = sender.balance.checked_sub(cost).ok_or_else(poor)?;
    let mut recipient = recipient.unwrap_or_else(|| Account::new(place.head_time));
    recipient.balance = recipient.balance.checked_add(amount).ok_or_else(|| Refusal::invalid("long overflow"))?;
    state.set_account(from, Some(Account { balance: left, ..sender }));
    state.set_account(to, Some(recipient));
    Ok(fee)
}

fn create_account(state: &mut State, place: Place<'_>, message: &proto::AccountCreateContract) -> Result<u64, Refusal> {
    let from = address::from_wire(&message.owner_address).map_err(|_| Refusal::invalid("Invalid ownerAddress"))?;
    let new = address::from_wire(&message.account_address).map_err(|_| Refusal::invalid("Invalid account address"))?;
    let Some(payer) = state.account(from).cloned() else {
        return Err(Refusal::invalid(format_args!("Account[{}] not exists", address::to_hex(from))));
    };
    let fee = place.params.create_account_fee;
    let balance = payer
        .balance
        .checked_sub(fee)
        .ok_or_else(|| Refusal::invalid("Validate CreateAccountActuator error, insufficient fee."))?;
    if state.account(new).is_some() {
        return Err(Refusal::invalid("Account has existed"));
    }
    state.set_account(from, Some(Account { balance, ..payer }));
    state.set_account(new, Some(Account::new(place.head_time)));
    Ok(fee)
}

fn update_permissions(
    state: &mut State,
    place: Place<'_>,
    message: &proto::AccountPermissionUpdateContract,
) -> Result<u64, Refusal> {
    let owner = address::from_wire(&message.owner_address).map_err(|_| Refusal::invalid("invalidate ownerAddress"))?;
    let account = state.account(owner).ok_or_else(|| Refusal::invalid("ownerAddress account does not exist"))?;
    let mut account = account.clone();
    account.permissions = Some(Arc::new(permissions::checked(message)?));
    let fee = place.params.permission_update_fee;
    // The fee is taken after the checks, so a poor account fails in execution, not in validation.
    account.balance = account.balance.checked_sub(fee).ok_or_else(|| {
        Refusal::new(
            Code::ContractExeError,
            format!("Contract execute error : {} insufficient balance", address::to_base58(owner)),
        )
    })?;
    state.set_account(owner, Some(account));
    Ok(fee)
}

/// What a call or creation may use, judged before it runs.
struct Means {
    value: u64,
    energy_limit: u64,
}

fn means(
    state: &State,
    place: Place<'_>,
    intake: &Intake,
    call_value: i64,
    token: (i64, i64),
) -> Result<Means, Refusal> {
    let value = u64::try_from(call_value).map_err(|_| Refusal::invalid("callValue must be >= 0"))?;
    if token != (0, 0) {
        return Err(Refusal::invalid(format_args!(
            "invalid arguments with tokenValue = {}, tokenId = {}",
            token.0, token.1
        )));
    }
    let max = place.params.max_fee_limit;
    let fee_limit = u64::try_from(intake.raw.fee_limit)
        .ok()
        .filter(|limit| *limit <= max)
        .ok_or_else(|| Refusal::invalid(format_args!("feeLimit must be >= 0 and <= {max}")))?;
    let balance = state.account(intake.owner).map_or(0, |a| a.balance);
    if balance < value {
        return Err(Refusal::invalid("Validate InternalTransfer error, balance is not sufficient."));
    }
    let price = place.params.energy_price.max(1);
    let affordable = balance.saturating_sub(value) / price;
    Ok(Means { value, energy_limit: affordable.min(fee_limit / price) })
}

fn deploy(
    state: &mut State,
    place: Place<'_>,
    intake: &Intake,
    message: &proto::CreateSmartContract,
    info: &mut TransactionInfo,
) -> Result<(), Refusal> {
    let Some(new) = &message.new_contract else {
        return Err(Refusal::invalid("Cannot get CreateSmartContract from transaction"));
    };
    if new.origin_address != message.owner_address {
        return Err(Refusal::invalid("OwnerAddress is not equals OriginAddress"));
    }
    if new.name.len() > 32 {
        return Err(Refusal::invalid("contractName's length cannot be greater than 32"));
    }
    if !(0..=100).contains(&new.consume_user_resource_percent) {
        return Err(Refusal::invalid("percent must be >= 0 and <= 100"));
    }
    let at = wallet::contract_address(&intake.id.0, intake.owner);
    if state.account(at).is_some() {
        return Err(Refusal::invalid(format_args!(
            "Trying to create a contract with existing contract address: {}",
            address::to_base58(at)
        )));
    }
    let means = means(state, place, intake, new.call_value, (message.call_token_value, message.token_id))?;
    if new.origin_energy_limit <= 0 {
        return Err(Refusal::invalid("The originEnergyLimit must be > 0"));
    }
    info.contract_address = Some(at);
    let request = Request {
        caller: intake.owner,
        kind: Kind::Create(at),
        value: means.value,
        data: Bytes::copy_from_slice(&new.bytecode),
        energy_limit: means.energy_limit,
        root_id: intake.id,
    };
    let outcome = run(state, place, request);
    if outcome.result == ContractResult::Success {
        let code_hash = revm::primitives::keccak256(&outcome.output);
        let contract = proto::SmartContract {
            contract_address: address::to_wire(at).to_vec(),
            code_hash: code_hash.to_vec(),
            version: 1,
            ..new.clone()
        };
        state.set_contract(at, Some(Arc::new(contract)));
    }
    settle(state, place, intake.owner, outcome, info)
}

fn trigger(
    state: &mut State,
    place: Place<'_>,
    intake: &Intake,
    message: &proto::TriggerSmartContract,
    info: &mut TransactionInfo,
) -> Result<(), Refusal> {
    let contract = address::from_wire(&message.contract_address)
        .ok()
        .filter(|a| state.contract_at(NEWEST, *a).is_some())
        .ok_or_else(|| Refusal::invalid("No contract or not a smart contract"))?;
    let means = means(state, place, intake, message.call_value, (message.call_token_value, message.token_id))?;
    info.contract_address = Some(contract);
    let request = Request {
        caller: intake.owner,
        kind: Kind::Call(contract),
        value: means.value,
        data: Bytes::copy_from_slice(&message.data),
        energy_limit: means.energy_limit,
        root_id: intake.id,
    };
    let outcome = run(state, place, request);
    settle(state, place, intake.owner, outcome, info)
}

fn run(state: &State, place: Place<'_>, request: Request) -> Outcome {
    let db = StateDb { state, layer: NEWEST, block_ids: place.block_ids };
    evm::execute(db, place.block, factors(state, NEWEST), request)
}

/// The dynamic energy factors in force at a layer.
pub(crate) fn factors(state: &State, layer: usize) -> HashMap<Address, u64> {
    state.factors().filter_map(|(a, _)| Some((*a, state.factor_at(layer, *a)?))).collect()
}

/// Writes what an execution did and burns its energy.
fn settle(
    state: &mut State,
    place: Place<'_>,
    owner: Address,
    outcome: Outcome,
    info: &mut TransactionInfo,
) -> Result<(), Refusal> {
    write_changes(state, place, &outcome);
    let fee = outcome.energy.saturating_mul(place.params.energy_price);
    let payer = state.account(owner).cloned();
    let payer = payer.and_then(|a| Some(Account { balance: a.balance.checked_sub(fee)?, ..a }));
    let payer = payer.ok_or_else(|| Refusal::new(Code::OtherError, "Error: insufficient balance for energy"))?;
    state.set_account(owner, Some(payer));
    info.receipt.energy_fee = fee;
    info.receipt.energy_usage_total = outcome.energy;
    info.receipt.energy_penalty_total = outcome.penalty;
    info.receipt.result = Some(outcome.result);
    info.contract_result = outcome.output.to_vec();
    info.logs = outcome.logs;
    info.message = outcome.message;
    info.internal = outcome.internal;
    Ok(())
}

fn write_changes(state: &mut State, place: Place<'_>, outcome: &Outcome) {
    for (address, changed) in &outcome.changes {
        if !changed.is_touched() {
            continue;
        }
        if changed.is_selfdestructed() {
            state.set_account(*address, None);
            state.set_contract(*address, None);
            continue;
        }
        let old = state.account(*address).cloned();
        if old.is_none()
            && changed.info.balance.is_zero()
            && changed.info.code_hash == KECCAK_EMPTY
            && !changed.is_created()
        {
            continue;
        }
        let mut account = old.unwrap_or_else(|| Account::new(place.head_time));
        account.balance = changed.info.balance.saturating_to();
        if changed.is_created() {
            account.is_contract = true;
            account.code_hash = changed.info.code_hash;
            if let Some(code) = &changed.info.code {
                state.add_code(changed.info.code_hash, code.clone());
            }
        }
        state.set_account(*address, Some(account));
        for (slot, value) in changed.changed_storage_slots() {
            state.set_slot(*address, *slot, value.present_value);
        }
    }
    // Contracts that contracts made have settings too.
    for inner in outcome.internal.iter().filter(|i| i.note == CREATE && !i.rejected) {
        if state.account(inner.to).is_some_and(|a| a.is_contract) {
            let contract = proto::SmartContract {
                origin_address: address::to_wire(inner.caller).to_vec(),
                contract_address: address::to_wire(inner.to).to_vec(),
                consume_user_resource_percent: 100,
                version: 1,
                ..proto::SmartContract::default()
            };
            state.set_contract(inner.to, Some(Arc::new(contract)));
        }
    }
}
