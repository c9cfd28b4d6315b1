//! Between what the chain works with and what records hold.

use std::sync::Arc;

use lucid_tron_types::proto::ContractResult;
use revm::primitives::{Address, B256, Bytes, Log, U256};

use super::record::{
    AccountEntry, AccountMessage, ContractEntry, DelegationMessage, DelegationsEntry, DeltaMessage, FactorEntry,
    InfoMessage, InternalMessage, LogMessage, RestakedMessage, SlotEntry, StakeMessage, TotalEntry, UnstakingMessage,
};
use crate::chain::change::Delta;
use crate::chain::state::Total;
use crate::chain::{
    Account, Delegation, Delegations, InternalTransaction, Permissions, Receipt, Resource, Restaked, Stake,
    TransactionInfo, Unstaking, Usage,
};
use crate::evm::tx::NOTES;

pub(super) fn from_delta(delta: &Delta) -> DeltaMessage {
    DeltaMessage {
        accounts: delta
            .accounts
            .iter()
            .map(|(address, account)| AccountEntry {
                address: address.to_vec(),
                account: account.as_ref().map(from_account),
            })
            .collect(),
        slots: delta
            .slots
            .iter()
            .map(|(address, slot, value)| SlotEntry {
                address: address.to_vec(),
                slot: slot.to_be_bytes_trimmed_vec(),
                value: value.to_be_bytes_trimmed_vec(),
            })
            .collect(),
        contracts: delta
            .contracts
            .iter()
            .map(|(address, contract)| ContractEntry {
                address: address.to_vec(),
                contract: contract.as_deref().cloned(),
            })
            .collect(),
        factors: delta
            .factors
            .iter()
            .map(|(address, factor)| FactorEntry { address: address.to_vec(), factor: *factor })
            .collect(),
        delegations: delta.delegations.iter().map(from_delegations).collect(),
        totals: delta.totals.iter().map(|(total, sum)| TotalEntry { total: from_total(*total), sum: *sum }).collect(),
        codes: delta.codes.iter().map(|code| code.to_vec()).collect(),
    }
}

pub(super) fn to_delta(message: DeltaMessage) -> Option<Delta> {
    let accounts = message.accounts.into_iter().map(|entry| {
        let account = match entry.account {
            Some(account) => Some(to_account(account)?),
            None => None,
        };
        Some((to_address(&entry.address)?, account))
    });
    let slots = message.slots.into_iter().map(|entry| {
        let slot = U256::try_from_be_slice(&entry.slot)?;
        Some((to_address(&entry.address)?, slot, U256::try_from_be_slice(&entry.value)?))
    });
    let contracts =
        message.contracts.into_iter().map(|entry| Some((to_address(&entry.address)?, entry.contract.map(Arc::new))));
    let factors = message.factors.into_iter().map(|entry| Some((to_address(&entry.address)?, entry.factor)));
    let totals = message.totals.into_iter().map(|entry| Some((to_total(entry.total)?, entry.sum)));
    Some(Delta {
        accounts: accounts.collect::<Option<_>>()?,
        slots: slots.collect::<Option<_>>()?,
        contracts: contracts.collect::<Option<_>>()?,
        factors: factors.collect::<Option<_>>()?,
        delegations: message.delegations.iter().map(to_delegations).collect::<Option<_>>()?,
        totals: totals.collect::<Option<_>>()?,
        codes: message.codes.into_iter().map(Bytes::from).collect(),
    })
}

fn from_total(total: Total) -> u32 {
    match total {
        Total::Burnt => 1,
        Total::NetWeight => 2,
        Total::EnergyWeight => 3,
    }
}

fn to_total(number: u32) -> Option<Total> {
    [Total::Burnt, Total::NetWeight, Total::EnergyWeight].into_iter().find(|total| from_total(*total) == number)
}

fn from_delegations(
    ((delegator, receiver), delegations): &((Address, Address), Option<Delegations>),
) -> DelegationsEntry {
    let from = |delegation: &Delegation| DelegationMessage {
        open: delegation.open,
        locked: delegation.locked,
        locked_until: delegation.locked_until,
    };
    DelegationsEntry {
        delegator: delegator.to_vec(),
        receiver: receiver.to_vec(),
        bandwidth: delegations.map(|delegations| from(&delegations.bandwidth)),
        energy: delegations.map(|delegations| from(&delegations.energy)),
        delegated_at: delegations.map(|delegations| delegations.delegated_at).unwrap_or_default(),
    }
}

fn to_delegations(entry: &DelegationsEntry) -> Option<((Address, Address), Option<Delegations>)> {
    let to = |delegation: DelegationMessage| Delegation {
        open: delegation.open,
        locked: delegation.locked,
        locked_until: delegation.locked_until,
    };
    let delegations = match (entry.bandwidth, entry.energy) {
        (Some(bandwidth), Some(energy)) => {
            Some(Delegations { bandwidth: to(bandwidth), energy: to(energy), delegated_at: entry.delegated_at })
        }
        (None, None) => None,
        _ => return None,
    };
    Some(((to_address(&entry.delegator)?, to_address(&entry.receiver)?), delegations))
}

fn from_stake(stake: &Stake) -> Option<StakeMessage> {
    (*stake != Stake::default()).then_some(StakeMessage {
        own: stake.own,
        delegated: stake.delegated,
        acquired: stake.acquired,
        usage: stake.usage.amount,
        slot: stake.usage.slot,
        window: stake.usage.window,
    })
}

fn to_stake(message: Option<StakeMessage>) -> Stake {
    let message = message.unwrap_or_default();
    Stake {
        own: message.own,
        delegated: message.delegated,
        acquired: message.acquired,
        usage: Usage { amount: message.usage, slot: message.slot, window: message.window },
    }
}

fn from_unstaking(unstaking: &Unstaking) -> UnstakingMessage {
    UnstakingMessage {
        resource: unstaking.resource.to_wire().into(),
        amount: unstaking.amount,
        free_at: unstaking.free_at,
    }
}

fn to_unstaking(message: &UnstakingMessage) -> Option<Unstaking> {
    let resource = Resource::from_wire(message.resource)?;
    Some(Unstaking { resource, amount: message.amount, free_at: message.free_at })
}

fn from_account(account: &Account) -> AccountMessage {
    let permissions = account.permissions.as_deref();
    AccountMessage {
        balance: account.balance,
        is_contract: account.is_contract,
        created_at: account.created_at,
        last_operation: account.last_operation,
        free_net_usage: account.free_net_usage,
        free_net_slot: account.free_net_slot,
        code_hash: account.code_hash.to_vec(),
        owner: permissions.map(|p| p.owner.clone()),
        actives: permissions.map(|p| p.actives.clone()).unwrap_or_default(),
        name: account.name.clone(),
        bandwidth: from_stake(&account.bandwidth),
        energy: from_stake(&account.energy),
        unstaking: account.unstaking.iter().map(from_unstaking).collect(),
    }
}

fn to_account(message: AccountMessage) -> Option<Account> {
    let actives = message.actives;
    Some(Account {
        balance: message.balance,
        is_contract: message.is_contract,
        created_at: message.created_at,
        last_operation: message.last_operation,
        free_net_usage: message.free_net_usage,
        free_net_slot: message.free_net_slot,
        code_hash: B256::try_from(message.code_hash.as_slice()).ok()?,
        name: message.name,
        bandwidth: to_stake(message.bandwidth),
        energy: to_stake(message.energy),
        unstaking: message.unstaking.iter().map(to_unstaking).collect::<Option<_>>()?,
        permissions: message.owner.map(|owner| Arc::new(Permissions { owner, actives })),
    })
}

pub(super) fn from_info(info: &TransactionInfo) -> InfoMessage {
    InfoMessage {
        id: info.id.to_vec(),
        fee: info.fee,
        system_fee: info.system_fee,
        contract_result: info.contract_result.clone(),
        contract_address: info.contract_address.map(|a| a.to_vec()).unwrap_or_default(),
        energy_usage: info.receipt.energy_usage,
        energy_fee: info.receipt.energy_fee,
        origin_energy_usage: info.receipt.origin_energy_usage,
        energy_usage_total: info.receipt.energy_usage_total,
        energy_penalty_total: info.receipt.energy_penalty_total,
        net_usage: info.receipt.net_usage,
        net_fee: info.receipt.net_fee,
        result: info.receipt.result.map(i32::from),
        logs: info
            .logs
            .iter()
            .map(|log| LogMessage {
                address: log.address.to_vec(),
                topics: log.topics().iter().map(|t| t.to_vec()).collect(),
                data: log.data.data.to_vec(),
            })
            .collect(),
        message: info.message.clone(),
        internal: info
            .internal
            .iter()
            .map(|inner| InternalMessage {
                hash: inner.hash.to_vec(),
                caller: inner.caller.to_vec(),
                to: inner.to.to_vec(),
                value: inner.value,
                note: inner.note.to_owned(),
                rejected: inner.rejected,
            })
            .collect(),
        withdrawn: info.withdrawn,
        restaked: info.restaked.map(|r| RestakedMessage { bandwidth: r.bandwidth, energy: r.energy }),
    }
}

pub(super) fn to_info(message: InfoMessage, block_number: u64, block_time: u64) -> Option<TransactionInfo> {
    let result = match message.result {
        Some(number) => Some(ContractResult::try_from(number).ok()?),
        None => None,
    };
    let contract_address = match message.contract_address.as_slice() {
        [] => None,
        bytes => Some(to_address(bytes)?),
    };
    Some(TransactionInfo {
        id: B256::try_from(message.id.as_slice()).ok()?,
        fee: message.fee,
        system_fee: message.system_fee,
        block_number,
        block_time,
        contract_result: message.contract_result,
        contract_address,
        receipt: Receipt {
            energy_usage: message.energy_usage,
            energy_fee: message.energy_fee,
            origin_energy_usage: message.origin_energy_usage,
            energy_usage_total: message.energy_usage_total,
            energy_penalty_total: message.energy_penalty_total,
            net_usage: message.net_usage,
            net_fee: message.net_fee,
            result,
        },
        logs: message.logs.into_iter().map(to_log).collect::<Option<_>>()?,
        message: message.message,
        internal: message.internal.into_iter().map(to_internal).collect::<Option<_>>()?,
        withdrawn: message.withdrawn,
        restaked: message.restaked.map(|r| Restaked { bandwidth: r.bandwidth, energy: r.energy }),
    })
}

fn to_log(message: LogMessage) -> Option<Log> {
    let topics = message.topics.iter().map(|t| B256::try_from(t.as_slice()).ok()).collect::<Option<_>>()?;
    Log::new(to_address(&message.address)?, topics, message.data.into())
}

fn to_internal(message: InternalMessage) -> Option<InternalTransaction> {
    let note = NOTES.iter().copied().find(|note| *note == message.note)?;
    Some(InternalTransaction {
        hash: B256::try_from(message.hash.as_slice()).ok()?,
        caller: to_address(&message.caller)?,
        to: to_address(&message.to)?,
        value: message.value,
        note,
        rejected: message.rejected,
    })
}

fn to_address(bytes: &[u8]) -> Option<Address> {
    Address::try_from(bytes).ok()
}
