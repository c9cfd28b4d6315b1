//! Names of accounts, and what deployers may change about their contracts: java-tron's `UpdateAccountActuator`,
//! `UpdateSettingContractActuator`, `UpdateEnergyLimitContractActuator` and `ClearABIContractActuator`.

use std::sync::Arc;

use lucid_tron_types::proto;
use revm::primitives::Address;

use super::refusal::Refusal;
use super::state::{NEWEST, State};
use super::system::{Effects, existing};
use crate::address;

const MAX_NAME_BYTES: usize = 200;

pub(super) fn rename(state: &mut State, message: &proto::AccountUpdateContract) -> Result<Effects, Refusal> {
    if message.account_name.len() > MAX_NAME_BYTES {
        return Err(Refusal::invalid("Invalid accountName"));
    }
    let owner = address::from_wire(&message.owner_address).map_err(|_| Refusal::invalid("Invalid ownerAddress"))?;
    let mut account = state.account(owner).cloned().ok_or_else(|| Refusal::invalid("Account does not exist"))?;
    if !account.name.is_empty() {
        return Err(Refusal::invalid("This account name is already existed"));
    }
    if !message.account_name.is_empty() && state.has_account_named(&message.account_name) {
        return Err(Refusal::invalid("This name is existed"));
    }
    account.name.clone_from(&message.account_name);
    state.set_account(owner, Some(account));
    Ok(Effects::default())
}

pub(super) fn set_percent(state: &mut State, message: &proto::UpdateSettingContract) -> Result<Effects, Refusal> {
    let (owner, _) = existing(state, &message.owner_address, "does not exist")?;
    let percent = message.consume_user_resource_percent;
    if !(0..=100).contains(&percent) {
        return Err(Refusal::invalid("percent not in [0, 100]"));
    }
    let (at, contract) = own_contract(state, owner, &message.contract_address, "Contract does not exist")?;
    store(state, at, proto::SmartContract { consume_user_resource_percent: percent, ..contract })
}

pub(super) fn set_energy_limit(
    state: &mut State,
    message: &proto::UpdateEnergyLimitContract,
) -> Result<Effects, Refusal> {
    let (owner, _) = existing(state, &message.owner_address, "does not exist")?;
    if message.origin_energy_limit <= 0 {
        return Err(Refusal::invalid("origin energy limit must be > 0"));
    }
    let (at, contract) = own_contract(state, owner, &message.contract_address, "Contract does not exist")?;
    store(state, at, proto::SmartContract { origin_energy_limit: message.origin_energy_limit, ..contract })
}

pub(super) fn clear_abi(state: &mut State, message: &proto::ClearAbiContract) -> Result<Effects, Refusal> {
    let (owner, _) = existing(state, &message.owner_address, "not exists")?;
    let (at, contract) = own_contract(state, owner, &message.contract_address, "Contract not exists")?;
    store(state, at, proto::SmartContract { abi: Some(proto::Abi::default()), ..contract })
}

/// A contract, if `owner` deployed it.
fn own_contract(
    state: &State,
    owner: Address,
    wire: &[u8],
    missing: &str,
) -> Result<(Address, proto::SmartContract), Refusal> {
    let found = address::from_wire(wire).ok().and_then(|at| Some((at, state.contract_at(NEWEST, at)?)));
    let (at, contract) = found.ok_or_else(|| Refusal::invalid(missing))?;
    if contract.origin_address != address::to_wire(owner) {
        let owner = address::to_hex(owner);
        return Err(Refusal::invalid(format_args!("Account[{owner}] is not the owner of the contract")));
    }
    Ok((at, contract.as_ref().clone()))
}

fn store(state: &mut State, at: Address, contract: proto::SmartContract) -> Result<Effects, Refusal> {
    state.set_contract(at, Some(Arc::new(contract)));
    Ok(Effects::default())
}
