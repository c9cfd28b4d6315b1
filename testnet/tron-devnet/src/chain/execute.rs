//! Carrying one transaction out on the state: fees first, then what its contract says, here deployments and calls.
//!
//! Order and messages follow java-tron's `Manager.processTransaction` and `VMActuator`. A refusal leaves a half-changed
//! state behind: the caller opens a layer before and rolls it back.

use std::sync::Arc;

use lucid_tron_types::proto::{self, ContractResult};
use revm::primitives::{Address, B256, Bytes, HashMap, KECCAK_EMPTY};

use super::account::Account;
use super::action::Action;
use super::bandwidth::{self, Paid};
use super::energy::EnergyBudget;
use super::intake::Intake;
use super::params::Params;
use super::receipt::{Receipt, TransactionInfo};
use super::refusal::{Code, Refusal};
use super::resource::{Pool, Resource};
use super::state::{NEWEST, State, StateDb, Total};
use super::system;
use crate::address;
use crate::evm::tx::CREATE;
use crate::evm::{self, BlockContext, Kind, Outcome, Request};
use crate::wallet;

/// The name of a contract that no transaction named.
const MADE_BY_CONTRACT: &[u8] = b"CreatedByContract";
/// Lower TRC-10 token ids do not exist.
pub(crate) const MIN_TOKEN_ID: i64 = 1_000_000;

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
    /// The transaction is only being written, and its own fees are yet to come.
    pub(crate) is_draft: bool,
}

impl Place<'_> {
    /// The slot that resources are counted at.
    pub(crate) fn slot(&self) -> u64 {
        bandwidth::slot(self.genesis_time, self.head_time)
    }
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
        withdrawn: 0,
        restaked: None,
    };
    let extra = pay_around(state, place, intake, &mut info.receipt)?;
    match &intake.action {
        Action::Create(message) => deploy(state, place, intake, message, &mut info)?,
        Action::Trigger(message) => trigger(state, place, intake, message, &mut info)?,
        other => {
            let effects = system::run(state, place, other)?;
            (info.system_fee, info.withdrawn, info.restaked) = (effects.fee, effects.withdrawn, effects.restaked);
        }
    }
    info.fee = [info.system_fee, info.receipt.net_fee, info.receipt.energy_fee, extra]
        .iter()
        .fold(0, |sum, fee| sum.saturating_add(*fee));
    state.add_total(Total::Burnt, info.fee);
    Ok(info)
}

/// Bandwidth, the fee for several signatures, and the fee for a memo. Answers the latter two.
fn pay_around(state: &mut State, place: Place<'_>, intake: &Intake, receipt: &mut Receipt) -> Result<u64, Refusal> {
    let Some(account) = state.account(intake.owner) else {
        return Err(Refusal::invalid(format_args!("account [{}] does not exist", address::to_base58(intake.owner))));
    };
    let mut account = account.clone();
    account.last_operation = place.head_time;
    let (bytes, now) = (intake.bandwidth(), place.slot());
    let pool = Pool::of(state, place.params, Resource::Bandwidth);
    let paid = if creates_account(state, &intake.action) {
        intake.check_size_for_new_account(place.params.create_account_bytes)?;
        bandwidth::pay_for_new_account(&mut account, bytes, place.params, pool, now)
    } else {
        bandwidth::pay(&mut account, bytes, place.params, pool, now)
    };
    match paid {
        Some(Paid::Bytes(bytes)) => receipt.net_usage = bytes,
        Some(Paid::Burnt(fee)) => receipt.net_fee = fee,
        None => return Err(Refusal::bandwidth()),
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
            address::from_wire(&message.to_address).map_or(true, |to| state.account(to).is_none())
        }
        _ => false,
    }
}

/// What a call or creation sends along, judged before it runs; TRC-10 tokens do not exist, so none can be sent.
pub(crate) fn call_value(value: i64, token_value: i64, token_id: i64) -> Result<u64, Refusal> {
    let value = u64::try_from(value).map_err(|_| Refusal::invalid("callValue must be >= 0"))?;
    if token_value < 0 {
        return Err(Refusal::invalid("tokenValue must be >= 0"));
    }
    if token_id != 0 && token_id <= MIN_TOKEN_ID {
        return Err(Refusal::invalid(format_args!("tokenId must be > {MIN_TOKEN_ID}")));
    }
    if token_value > 0 && token_id == 0 {
        let what = format_args!("invalid arguments with tokenValue = {token_value}, tokenId = {token_id}");
        return Err(Refusal::invalid(what));
    }
    if token_value > 0 { Err(Refusal::invalid("No asset !")) } else { Ok(value) }
}

fn fee_limit(place: Place<'_>, intake: &Intake) -> Result<u64, Refusal> {
    let max = place.params.max_fee_limit;
    let limit = u64::try_from(intake.raw.fee_limit).ok().filter(|limit| *limit <= max);
    limit.ok_or_else(|| Refusal::invalid(format_args!("feeLimit must be >= 0 and <= {max}")))
}

fn check_balance(state: &State, intake: &Intake, value: u64) -> Result<(), Refusal> {
    if state.account(intake.owner).map_or(0, |a| a.balance) < value {
        return Err(Refusal::invalid("Validate InternalTransfer error, balance is not sufficient."));
    }
    Ok(())
}

fn deploy(
    state: &mut State,
    place: Place<'_>,
    intake: &Intake,
    message: &proto::CreateSmartContract,
    info: &mut TransactionInfo,
) -> Result<(), Refusal> {
    let new = message.new_contract.clone().unwrap_or_default();
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
    let fee_limit = fee_limit(place, intake)?;
    let value = call_value(new.call_value, message.call_token_value, message.token_id)?;
    if new.origin_energy_limit <= 0 {
        return Err(Refusal::invalid("The originEnergyLimit must be > 0"));
    }
    let budget = EnergyBudget::new(state, place, intake.owner, value, fee_limit, None)?;
    check_balance(state, intake, value)?;
    info.contract_address = Some(at);
    let request = Request {
        caller: intake.owner,
        kind: Kind::Create(at),
        value,
        token_id: u64::try_from(message.token_id).unwrap_or(0),
        data: Bytes::copy_from_slice(&new.bytecode),
        energy_limit: budget.limit,
        root_id: intake.id,
    };
    let outcome = run(state, place, request);
    write_changes(state, place, &outcome);
    if outcome.result == ContractResult::Success {
        let code_hash = revm::primitives::keccak256(&outcome.output);
        let name = new.name.clone().into_bytes();
        let contract = proto::SmartContract {
            contract_address: address::to_wire(at).to_vec(),
            code_hash: code_hash.to_vec(),
            version: 1,
            ..new
        };
        state.set_contract(at, Some(Arc::new(contract)));
        set_name(state, at, name);
    }
    settle(state, place, budget, outcome, info)
}

fn trigger(
    state: &mut State,
    place: Place<'_>,
    intake: &Intake,
    message: &proto::TriggerSmartContract,
    info: &mut TransactionInfo,
) -> Result<(), Refusal> {
    let found = address::from_wire(&message.contract_address).ok();
    let (at, contract) = found
        .and_then(|at| Some((at, state.contract_at(NEWEST, at)?)))
        .ok_or_else(|| Refusal::invalid("No contract or not a smart contract"))?;
    let value = call_value(message.call_value, message.call_token_value, message.token_id)?;
    if state.account(at).is_none_or(|account| account.code_hash == KECCAK_EMPTY) {
        // java-tron has no program to run then, and fails on that.
        return Err(Refusal::new(Code::OtherError, "Error: null"));
    }
    let budget = EnergyBudget::new(state, place, intake.owner, value, fee_limit(place, intake)?, Some(contract))?;
    check_balance(state, intake, value)?;
    info.contract_address = Some(at);
    let request = Request {
        caller: intake.owner,
        kind: Kind::Call(at),
        value,
        token_id: u64::try_from(message.token_id).unwrap_or(0),
        data: Bytes::copy_from_slice(&message.data),
        energy_limit: budget.limit,
        root_id: intake.id,
    };
    let outcome = run(state, place, request);
    write_changes(state, place, &outcome);
    settle(state, place, budget, outcome, info)
}

fn run(state: &State, place: Place<'_>, request: Request) -> Outcome {
    let db = StateDb { state, layer: NEWEST, block_ids: place.block_ids };
    evm::execute(db, place.block, factors(state, NEWEST), request)
}

/// The dynamic energy factors in force at a layer.
pub(crate) fn factors(state: &State, layer: usize) -> HashMap<Address, u64> {
    state.factors().filter_map(|(a, _)| Some((*a, state.factor_at(layer, *a)?))).collect()
}

/// Takes the energy from those who pay it, and writes down what an execution did.
fn settle(
    state: &mut State,
    place: Place<'_>,
    budget: EnergyBudget,
    outcome: Outcome,
    info: &mut TransactionInfo,
) -> Result<(), Refusal> {
    let has_ended_well = outcome.result == ContractResult::Success;
    budget.pay(state, place, outcome.energy, has_ended_well, &mut info.receipt)?;
    info.receipt.energy_penalty_total = outcome.penalty;
    info.receipt.result = Some(outcome.result);
    info.contract_result = outcome.output.to_vec();
    info.logs = outcome.logs;
    info.message = outcome.message;
    info.internal = outcome.internal;
    Ok(())
}

fn set_name(state: &mut State, at: Address, name: Vec<u8>) {
    if let Some(account) = state.account(at).cloned() {
        state.set_account(at, Some(Account { name, ..account }));
    }
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
        if old.is_none() && changed.info.is_empty() {
            continue;
        }
        let is_new = old.is_none();
        let mut account = old.unwrap_or_else(|| Account::new(place.head_time));
        account.balance = changed.info.balance.saturating_to();
        if changed.is_created() {
            account.is_contract = true;
            if is_new {
                account.name = MADE_BY_CONTRACT.to_vec();
            }
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
        if let Some(account) = state.account(inner.to).filter(|a| a.is_contract) {
            let contract = proto::SmartContract {
                origin_address: address::to_wire(inner.caller).to_vec(),
                contract_address: address::to_wire(inner.to).to_vec(),
                consume_user_resource_percent: 100,
                code_hash: account.code_hash.to_vec(),
                version: 1,
                ..proto::SmartContract::default()
            };
            state.set_contract(inner.to, Some(Arc::new(contract)));
        }
    }
}
