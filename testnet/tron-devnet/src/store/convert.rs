//! Between what the chain works with and what records hold.

use std::sync::Arc;

use lucid_tron_bridge::proto::ContractResult;
use revm::primitives::{Address, B256, Bytes, Log, U256};

use super::record::{
    AccountEntry, AccountMessage, ContractEntry, DeltaMessage, FactorEntry, InfoMessage, InternalMessage, LogMessage,
    SlotEntry,
};
use crate::chain::change::Delta;
use crate::chain::{Account, InternalTransaction, Permissions, Receipt, TransactionInfo};
use crate::evm::tx::{CALL, CREATE, SUICIDE};

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
        burnt: delta.burnt,
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
    Some(Delta {
        accounts: accounts.collect::<Option<_>>()?,
        slots: slots.collect::<Option<_>>()?,
        contracts: contracts.collect::<Option<_>>()?,
        factors: factors.collect::<Option<_>>()?,
        burnt: message.burnt,
        codes: message.codes.into_iter().map(Bytes::from).collect(),
    })
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
        energy_fee: info.receipt.energy_fee,
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
            energy_fee: message.energy_fee,
            energy_usage_total: message.energy_usage_total,
            energy_penalty_total: message.energy_penalty_total,
            net_usage: message.net_usage,
            net_fee: message.net_fee,
            result,
        },
        logs: message.logs.into_iter().map(to_log).collect::<Option<_>>()?,
        message: message.message,
        internal: message.internal.into_iter().map(to_internal).collect::<Option<_>>()?,
    })
}

fn to_log(message: LogMessage) -> Option<Log> {
    let topics = message.topics.iter().map(|t| B256::try_from(t.as_slice()).ok()).collect::<Option<_>>()?;
    Log::new(to_address(&message.address)?, topics, message.data.into())
}

fn to_internal(message: InternalMessage) -> Option<InternalTransaction> {
    let note = [CALL, CREATE, SUICIDE].into_iter().find(|note| *note == message.note)?;
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
