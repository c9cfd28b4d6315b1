//! What the network does itself, without the virtual machine: one function for each contract type, and here the transfers
//! of TRX, new accounts and permissions.
//!
//! Rules, their order and their words are those of java-tron's actuators.

use std::sync::Arc;

use lucid_tron_types::proto;
use revm::primitives::Address;

use super::account::Account;
use super::action::Action;
use super::execute::Place;
use super::refusal::{Code, Refusal};
use super::stake::Restaked;
use super::state::State;
use super::{delegate, permissions, settings, stake};
use crate::address;

/// What a contract did besides changing the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// Sun that it asked for, and that is burnt.
    pub(crate) fee: u64,
    /// Sun that had been unstaked and came back.
    pub(crate) withdrawn: u64,
    /// What unstaking was cancelled for.
    pub(crate) restaked: Option<Restaked>,
}

/// Carries out what needs no virtual machine; for the others nothing happens.
pub(crate) fn run(state: &mut State, place: Place<'_>, action: &Action) -> Result<Effects, Refusal> {
    match action {
        Action::Transfer(message) => transfer(state, place, message),
        Action::CreateAccount(message) => create_account(state, place, message),
        Action::UpdatePermissions(message) => update_permissions(state, place, message),
        Action::Rename(message) => settings::rename(state, message),
        Action::SetPercent(message) => settings::set_percent(state, message),
        Action::SetEnergyLimit(message) => settings::set_energy_limit(state, message),
        Action::ClearAbi(message) => settings::clear_abi(state, message),
        Action::Freeze(message) => stake::freeze(state, message),
        Action::Unfreeze(message) => stake::unfreeze(state, place, message),
        Action::Withdraw(message) => stake::withdraw(state, place, message),
        Action::CancelUnfreeze(message) => stake::cancel(state, place, message),
        Action::Delegate(message) => delegate::delegate(state, place, message),
        Action::Undelegate(message) => delegate::undelegate(state, place, message),
        Action::Create(_) | Action::Trigger(_) => Ok(Effects::default()),
    }
}

/// The account at an address of the wire; `how` java-tron says that there is none differs.
pub(super) fn existing(state: &State, wire: &[u8], how: &str) -> Result<(Address, Account), Refusal> {
    let at = address::from_wire(wire).map_err(|_| Refusal::invalid("Invalid address"))?;
    let account = state.account(at).cloned().ok_or_else(|| missing(wire, how))?;
    Ok((at, account))
}

pub(super) fn missing(wire: &[u8], how: &str) -> Refusal {
    Refusal::invalid(format_args!("Account[{}] {how}", hex::encode(wire)))
}

fn transfer(state: &mut State, place: Place<'_>, message: &proto::TransferContract) -> Result<Effects, Refusal> {
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
    let fee = if recipient.is_none() { place.params.create_account_fee } else { 0 };
    if recipient.as_ref().is_some_and(|r| r.is_contract) {
        return Err(Refusal::invalid("Cannot transfer TRX to a smartContract."));
    }
    let cost = add_signed(amount, fee)?;
    let left = sender
        .balance
        .checked_sub(cost)
        .ok_or_else(|| Refusal::invalid("Validate TransferContract error, balance is not sufficient."))?;
    let mut recipient = recipient.unwrap_or_else(|| Account::new(place.head_time));
    recipient.balance = add_signed(recipient.balance, amount)?;
    state.set_account(from, Some(Account { balance: left, ..sender }));
    state.set_account(to, Some(recipient));
    Ok(Effects { fee, ..Effects::default() })
}

/// The sum, if a signed 64-bit number can hold it.
fn add_signed(a: u64, b: u64) -> Result<u64, Refusal> {
    let sum = a.checked_add(b).filter(|sum| i64::try_from(*sum).is_ok());
    sum.ok_or_else(Refusal::overflow)
}

fn create_account(
    state: &mut State,
    place: Place<'_>,
    message: &proto::AccountCreateContract,
) -> Result<Effects, Refusal> {
    let from = address::from_wire(&message.owner_address).map_err(|_| Refusal::invalid("Invalid ownerAddress"))?;
    let payer = state.account(from).cloned().ok_or_else(|| missing(&message.owner_address, "not exists"))?;
    let fee = place.params.create_account_fee;
    let balance = payer
        .balance
        .checked_sub(fee)
        .ok_or_else(|| Refusal::invalid("Validate CreateAccountActuator error, insufficient fee."))?;
    let new = address::from_wire(&message.account_address).map_err(|_| Refusal::invalid("Invalid account address"))?;
    if state.account(new).is_some() {
        return Err(Refusal::invalid("Account has existed"));
    }
    state.set_account(from, Some(Account { balance, ..payer }));
    state.set_account(new, Some(Account::new(place.head_time)));
    Ok(Effects { fee, ..Effects::default() })
}

fn update_permissions(
    state: &mut State,
    place: Place<'_>,
    message: &proto::AccountPermissionUpdateContract,
) -> Result<Effects, Refusal> {
    let owner = address::from_wire(&message.owner_address).map_err(|_| Refusal::invalid("invalidate ownerAddress"))?;
    let account = state.account(owner).ok_or_else(|| Refusal::invalid("ownerAddress account does not exist"))?;
    let mut account = account.clone();
    account.permissions = Some(Arc::new(permissions::checked(message)?));
    let fee = place.params.permission_update_fee;
    // The fee is taken after the checks, so a poor account fails in execution, not in validation.
    account.balance = account.balance.checked_sub(fee).ok_or_else(|| {
        let (owner, balance) = (address::to_hex(owner), account.balance);
        let what = format!("{owner} insufficient balance, balance: {balance}, amount: {fee}");
        Refusal::new(Code::ContractExeError, format!("Contract execute error : {what}"))
    })?;
    state.set_account(owner, Some(account));
    Ok(Effects { fee, ..Effects::default() })
}
