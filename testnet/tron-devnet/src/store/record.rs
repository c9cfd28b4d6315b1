//! The bytes of a record: protobuf messages of our own around the protocol's.
//!
//! Frozen by a golden file in the tests; a change needs a new [`VERSION`].

use std::sync::Arc;

use lucid_tron_bridge::proto::{self, ContractResult};
use prost::Message;
use revm::primitives::{Address, B256, Bytes, Log, U256};

use crate::chain::change::{Change, Delta};
use crate::chain::{Account, InternalTransaction, Permissions, Receipt, StoredBlock, TransactionInfo};

/// Of the record format.
pub(crate) const VERSION: u32 = 1;

/// How a network began: what must be the same on every start.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Beginning {
    /// [`VERSION`].
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    #[prost(string, tag = "2")]
    pub(crate) seed: String,
    #[prost(uint32, tag = "3")]
    pub(crate) accounts: u32,
    #[prost(uint64, tag = "4")]
    pub(crate) balance: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) timestamp: u64,
    #[prost(bool, tag = "6")]
    pub(crate) deploy_usdt: bool,
}

/// One record: steps that were made at once.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Batch {
    #[prost(message, repeated, tag = "1")]
    pub(super) steps: Vec<Step>,
}

/// One step. Exactly one of the fields is set.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Step {
    #[prost(message, optional, tag = "1")]
    beginning: Option<Beginning>,
    #[prost(message, optional, tag = "2")]
    block: Option<BlockStep>,
    #[prost(message, optional, tag = "3")]
    intervention: Option<DeltaMessage>,
    #[prost(uint64, optional, tag = "4")]
    dropped: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct BlockStep {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    block: Option<proto::Block>,
    #[prost(message, repeated, tag = "3")]
    infos: Vec<InfoMessage>,
    #[prost(message, optional, tag = "4")]
    delta: Option<DeltaMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct DeltaMessage {
    #[prost(message, repeated, tag = "1")]
    accounts: Vec<AccountEntry>,
    #[prost(message, repeated, tag = "2")]
    slots: Vec<SlotEntry>,
    #[prost(message, repeated, tag = "3")]
    contracts: Vec<ContractEntry>,
    #[prost(message, repeated, tag = "4")]
    factors: Vec<FactorEntry>,
    #[prost(uint64, optional, tag = "5")]
    burnt: Option<u64>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    codes: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct AccountEntry {
    #[prost(bytes = "vec", tag = "1")]
    address: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    account: Option<AccountMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct AccountMessage {
    #[prost(uint64, tag = "1")]
    balance: u64,
    #[prost(bool, tag = "2")]
    is_contract: bool,
    #[prost(uint64, tag = "3")]
    created_at: u64,
    #[prost(uint64, tag = "4")]
    last_operation: u64,
    #[prost(uint64, tag = "5")]
    free_net_usage: u64,
    #[prost(uint64, tag = "6")]
    free_net_slot: u64,
    #[prost(bytes = "vec", tag = "7")]
    code_hash: Vec<u8>,
    #[prost(message, optional, tag = "8")]
    owner: Option<proto::Permission>,
    #[prost(message, repeated, tag = "9")]
    actives: Vec<proto::Permission>,
}

#[derive(Clone, PartialEq, Message)]
struct SlotEntry {
    #[prost(bytes = "vec", tag = "1")]
    address: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    slot: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ContractEntry {
    #[prost(bytes = "vec", tag = "1")]
    address: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    contract: Option<proto::SmartContract>,
}

#[derive(Clone, PartialEq, Message)]
struct FactorEntry {
    #[prost(bytes = "vec", tag = "1")]
    address: Vec<u8>,
    #[prost(uint64, optional, tag = "2")]
    factor: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct InfoMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    fee: u64,
    #[prost(uint64, tag = "3")]
    system_fee: u64,
    #[prost(bytes = "vec", tag = "4")]
    contract_result: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    contract_address: Vec<u8>,
    #[prost(uint64, tag = "6")]
    energy_fee: u64,
    #[prost(uint64, tag = "7")]
    energy_usage_total: u64,
    #[prost(uint64, tag = "8")]
    energy_penalty_total: u64,
    #[prost(uint64, tag = "9")]
    net_usage: u64,
    #[prost(uint64, tag = "10")]
    net_fee: u64,
    #[prost(int32, optional, tag = "11")]
    result: Option<i32>,
    #[prost(message, repeated, tag = "12")]
    logs: Vec<LogMessage>,
    #[prost(string, tag = "13")]
    message: String,
    #[prost(message, repeated, tag = "14")]
    internal: Vec<InternalMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct LogMessage {
    #[prost(bytes = "vec", tag = "1")]
    address: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    topics: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "3")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct InternalMessage {
    #[prost(bytes = "vec", tag = "1")]
    hash: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    caller: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    to: Vec<u8>,
    #[prost(uint64, tag = "4")]
    value: u64,
    #[prost(string, tag = "5")]
    note: String,
    #[prost(bool, tag = "6")]
    rejected: bool,
}

impl Step {
    pub(super) fn from_beginning(beginning: &Beginning) -> Self {
        Self { beginning: Some(beginning.clone()), ..Self::default() }
    }

    pub(super) fn from_change(change: &Change) -> Self {
        match change {
            Change::Block(block, delta) => {
                let step = BlockStep {
                    id: block.id.to_vec(),
                    block: Some(block.to_proto()),
                    infos: block.infos.iter().map(from_info).collect(),
                    delta: Some(from_delta(delta)),
                };
                Self { block: Some(step), ..Self::default() }
            }
            Change::Intervention(delta) => Self { intervention: Some(from_delta(delta)), ..Self::default() },
            Change::Dropped(number) => Self { dropped: Some(*number), ..Self::default() },
        }
    }

    /// The beginning or the change; none if the record makes no sense.
    pub(super) fn into_parts(self) -> Option<(Option<Beginning>, Option<Change>)> {
        let change = match (self.beginning, self.block, self.intervention, self.dropped) {
            (Some(beginning), None, None, None) => return Some((Some(beginning), None)),
            (None, Some(step), None, None) => {
                let delta = to_delta(step.delta?)?;
                let block = step.block?;
                let raw = block.block_header.as_ref()?.raw_data.as_ref()?;
                let (number, time) = (u64::try_from(raw.number).ok()?, u64::try_from(raw.timestamp).ok()?);
                let infos = step.infos.into_iter().map(|info| to_info(info, number, time));
                let block = StoredBlock {
                    id: B256::try_from(step.id.as_slice()).ok()?,
                    infos: infos.collect::<Option<_>>()?,
                    header: block.block_header?,
                    transactions: block.transactions,
                };
                Change::Block(Arc::new(block), delta)
            }
            (None, None, Some(delta), None) => Change::Intervention(to_delta(delta)?),
            (None, None, None, Some(number)) => Change::Dropped(number),
            _ => return None,
        };
        Some((None, Some(change)))
    }
}

fn from_delta(delta: &Delta) -> DeltaMessage {
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

fn to_delta(message: DeltaMessage) -> Option<Delta> {
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

fn from_info(info: &TransactionInfo) -> InfoMessage {
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

fn to_info(message: InfoMessage, block_number: u64, block_time: u64) -> Option<TransactionInfo> {
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
    let note = ["call", "create", "suicide"].into_iter().find(|note| *note == message.note)?;
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
