//! The answers of the HTTP API as types: JSON in, checked values out.
//!
//! protobuf's JSON of java-tron leaves fields with default values out, writes bytes in hex and enums by name. `{}` means
//! that there is no such thing.

use lucid_types::amount::Sun;
use lucid_types::id::{PayoutAddress, SolidBlockId, TxId};
use lucid_types::time::UnixMillis;
use serde::Deserialize;

use crate::address;
use crate::checked::CheckedBlock;
use lucid_tron_types::block;
use lucid_tron_types::proto::{BlockHeaderRaw, ContractResult, Transaction, TransactionResult};

/// An included transaction's receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionInfo {
    /// The transaction.
    pub id: TxId,
    /// Number of the block that includes it.
    pub block: u64,
    /// That block's time.
    pub block_time: UnixMillis,
    /// All that it cost: burnt energy, bandwidth, multi-signature fee.
    pub fee: Sun,
    /// How the contract call ended.
    pub result: ContractResult,
    /// Energy used, whoever paid for it.
    pub energy: u64,
    /// Events, in order.
    pub logs: Vec<Log>,
}

/// An event of a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The contract.
    pub address: PayoutAddress,
    /// The event's signature hash and indexed arguments.
    pub topics: Vec<[u8; 32]>,
    /// The other arguments.
    pub data: Vec<u8>,
}

/// An account's TRX and permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its address.
    pub address: PayoutAddress,
    /// Its TRX.
    pub balance: Sun,
    /// The owner permission (id 0) and the active ones.
    pub permissions: Vec<AccountPermission>,
}

/// Who may act for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPermission {
    /// 0 owner, from 2 active.
    pub id: u32,
    /// Sum of weights needed.
    pub threshold: u64,
    /// Contract types it allows, one bit each; `None` allows all.
    pub operations: Option<[u8; 32]>,
    /// Keys and weights, in the account's order.
    pub keys: Vec<(PayoutAddress, u64)>,
}

/// Prices that the network's representatives vote on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainParameters {
    /// One unit of energy.
    pub energy_price: Sun,
    /// One byte of bandwidth.
    pub bandwidth_price: Sun,
    /// Added to a transaction with more than one signature.
    pub multi_sign_fee: Sun,
}

/// A constant call's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConstantResult {
    /// What the function returned.
    pub data: Vec<u8>,
    /// Energy it used.
    pub energy: u64,
}

/// What is wrong with an answer's content.
pub(super) type Problem = String;

#[derive(Deserialize)]
pub(super) struct BlockJson {
    #[serde(rename = "blockID")]
    id: Option<String>,
    block_header: Option<HeaderJson>,
    #[serde(default)]
    transactions: Vec<TransactionJson>,
}

#[derive(Deserialize)]
struct HeaderJson {
    raw_data: HeaderRawJson,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct HeaderRawJson {
    timestamp: i64,
    tx_trie_root: String,
    parent_hash: String,
    number: i64,
    #[serde(rename = "witness_id")]
    witness_id: i64,
    #[serde(rename = "witness_address")]
    witness_address: String,
    version: i32,
    account_state_root: String,
}

#[derive(Deserialize)]
pub(super) struct TransactionJson {
    raw_data_hex: Option<String>,
    #[serde(default)]
    signature: Vec<String>,
    #[serde(default)]
    ret: Vec<ResultJson>,
}

#[derive(Deserialize)]
struct ResultJson {
    #[serde(default)]
    fee: i64,
    ret: Option<String>,
    #[serde(rename = "contractRet")]
    contract_ret: Option<String>,
}

impl BlockJson {
    /// The block, or `None` for `{}`.
    pub(super) fn checked(self) -> Result<Option<CheckedBlock>, Problem> {
        let (Some(id), Some(header)) = (self.id, self.block_header) else { return Ok(None) };
        let id = id.parse::<SolidBlockId>().map_err(|e| e.to_string())?;
        let raw = header.raw_data;
        let header = BlockHeaderRaw {
            timestamp: raw.timestamp,
            tx_trie_root: bytes("txTrieRoot", &raw.tx_trie_root)?,
            parent_hash: bytes("parentHash", &raw.parent_hash)?,
            number: raw.number,
            witness_id: raw.witness_id,
            witness_address: bytes("witness_address", &raw.witness_address)?,
            version: raw.version,
            account_state_root: bytes("accountStateRoot", &raw.account_state_root)?,
        };
        let transactions =
            self.transactions.into_iter().map(TransactionJson::transaction).collect::<Result<Vec<_>, _>>()?;
        CheckedBlock::check(id, &header, &transactions).map(Some).map_err(|e| e.to_string())
    }
}

impl TransactionJson {
    fn transaction(self) -> Result<Transaction, Problem> {
        let raw_data = self.raw_data_hex.ok_or("a transaction without raw_data_hex")?;
        Ok(Transaction {
            raw_data: bytes("raw_data_hex", &raw_data)?,
            signature: self.signature.iter().map(|s| bytes("signature", s)).collect::<Result<_, _>>()?,
            ret: self.ret.iter().map(ResultJson::result).collect::<Result<_, _>>()?,
        })
    }

    /// The transaction, whose id must be `id`; `None` for `{}`.
    pub(super) fn with_id(self, id: &TxId) -> Result<Option<Transaction>, Problem> {
        if self.raw_data_hex.is_none() {
            return Ok(None);
        }
        let transaction = self.transaction()?;
        let found = TxId::from_bytes(block::transaction_id(&transaction.raw_data));
        if found == *id { Ok(Some(transaction)) } else { Err(format!("transaction {found} for {id}")) }
    }
}

impl ResultJson {
    fn result(&self) -> Result<TransactionResult, Problem> {
        let ret = match self.ret.as_deref() {
            None | Some("SUCESS") => 0,
            Some("FAILED") => 1,
            Some(other) => return Err(format!("unknown result {other:?}")),
        };
        let contract_ret = self.contract_ret.as_deref().map_or(Ok(ContractResult::Default), contract_result)?;
        Ok(TransactionResult { fee: self.fee, ret, contract_ret: contract_ret.into(), ..TransactionResult::default() })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InfoJson {
    id: Option<String>,
    #[serde(default)]
    fee: u64,
    #[serde(default)]
    block_number: u64,
    #[serde(default)]
    block_time_stamp: u64,
    #[serde(default)]
    receipt: ReceiptJson,
    #[serde(default)]
    log: Vec<LogJson>,
    result: Option<String>,
}

#[derive(Default, Deserialize)]
struct ReceiptJson {
    result: Option<String>,
    #[serde(default)]
    energy_usage_total: u64,
}

#[derive(Deserialize)]
struct LogJson {
    #[serde(default)]
    address: String,
    #[serde(default)]
    topics: Vec<String>,
    #[serde(default)]
    data: String,
}

impl InfoJson {
    /// The receipt, which must be of `id`; `None` for `{}`.
    pub(super) fn info(self, id: &TxId) -> Result<Option<TransactionInfo>, Problem> {
        let Some(found) = self.id else { return Ok(None) };
        if !found.eq_ignore_ascii_case(&id.to_string()) {
            return Err(format!("the receipt of another transaction for {id}"));
        }
        let result = self.receipt.result.as_deref().map_or(Ok(ContractResult::Default), contract_result)?;
        if self.result.is_some_and(|r| r == "FAILED") && result == ContractResult::Success {
            return Err(format!("{id} both failed and succeeded"));
        }
        Ok(Some(TransactionInfo {
            id: *id,
            block: self.block_number,
            block_time: UnixMillis::new(self.block_time_stamp),
            fee: Sun::new(self.fee),
            result,
            energy: self.receipt.energy_usage_total,
            logs: self.log.iter().map(LogJson::log).collect::<Result<_, _>>()?,
        }))
    }
}

impl LogJson {
    fn log(&self) -> Result<Log, Problem> {
        let mut hash = [0; 20];
        // 20 bytes, and 21 with the prefix from some providers.
        let digits = self.address.strip_prefix("41").filter(|rest| rest.len() == 40).unwrap_or(&self.address);
        hex::decode_to_slice(digits, &mut hash).map_err(|e| format!("log address {digits:?}: {e}"))?;
        let topics = self.topics.iter().map(|t| {
            let bytes = bytes("topic", t)?;
            <[u8; 32]>::try_from(bytes).map_err(|_| format!("the topic {t} is not 32 bytes"))
        });
        Ok(Log {
            address: PayoutAddress::from_hash20(hash),
            topics: topics.collect::<Result<_, _>>()?,
            data: bytes("log data", &self.data)?,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct AccountJson {
    address: Option<String>,
    #[serde(default)]
    balance: u64,
    owner_permission: Option<PermissionJson>,
    #[serde(default)]
    active_permission: Vec<PermissionJson>,
}

#[derive(Deserialize)]
struct PermissionJson {
    #[serde(default)]
    id: u32,
    #[serde(default)]
    threshold: u64,
    operations: Option<String>,
    #[serde(default)]
    keys: Vec<KeyJson>,
}

#[derive(Deserialize)]
struct KeyJson {
    address: String,
    #[serde(default)]
    weight: u64,
}

impl AccountJson {
    /// The account, which must be `expected`; `None` for `{}`.
    pub(super) fn account(self, expected: &PayoutAddress) -> Result<Option<Account>, Problem> {
        let Some(address) = self.address else { return Ok(None) };
        if any_address(&address)? != *expected {
            return Err(format!("account {address} for {expected}"));
        }
        // An account that never changed its permissions may come without any: its own key decides.
        let owner = self.owner_permission.map_or_else(
            || Ok(AccountPermission { id: 0, threshold: 1, operations: None, keys: vec![(*expected, 1)] }),
            |p| p.permission(),
        )?;
        let actives = self.active_permission.into_iter().map(|p| p.permission());
        Ok(Some(Account {
            address: *expected,
            balance: Sun::new(self.balance),
            permissions: std::iter::once(Ok(owner)).chain(actives).collect::<Result<_, _>>()?,
        }))
    }
}

impl PermissionJson {
    fn permission(self) -> Result<AccountPermission, Problem> {
        let operations = self.operations.map(|o| {
            let bytes = bytes("operations", &o)?;
            <[u8; 32]>::try_from(bytes).map_err(|_| format!("the operations {o} are not 32 bytes"))
        });
        let keys = self.keys.into_iter().map(|k| Ok((any_address(&k.address)?, k.weight)));
        Ok(AccountPermission {
            id: self.id,
            threshold: self.threshold,
            operations: operations.transpose()?,
            keys: keys.collect::<Result<_, Problem>>()?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ParametersJson {
    #[serde(default)]
    chain_parameter: Vec<ParameterJson>,
}

#[derive(Deserialize)]
struct ParameterJson {
    key: String,
    #[serde(default)]
    value: i64,
}

impl ParametersJson {
    pub(super) fn parameters(&self) -> Result<ChainParameters, Problem> {
        let price = |key: &str| {
            let entry = self.chain_parameter.iter().find(|p| p.key == key).ok_or(format!("no parameter {key}"))?;
            u64::try_from(entry.value).map(Sun::new).map_err(|_| format!("{key} is {}", entry.value))
        };
        Ok(ChainParameters {
            energy_price: price("getEnergyFee")?,
            bandwidth_price: price("getTransactionFee")?,
            multi_sign_fee: price("getMultiSignFee")?,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct ConstantJson {
    #[serde(default)]
    constant_result: Vec<String>,
    #[serde(default)]
    energy_used: u64,
    #[serde(default)]
    result: ConstantResultJson,
    transaction: Option<ConstantTransactionJson>,
}

#[derive(Default, Deserialize)]
struct ConstantResultJson {
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct ConstantTransactionJson {
    #[serde(default)]
    ret: Vec<ResultJson>,
}

/// How a constant call ended.
pub(super) enum Constant {
    Returned(ConstantResult),
    Reverted(String),
}

impl ConstantJson {
    /// `result.result` is true for a reverted call too: `transaction.ret` tells.
    pub(super) fn constant(self) -> Result<Constant, Problem> {
        let ret = self.transaction.and_then(|t| t.ret.into_iter().next());
        let is_failed =
            ret.is_some_and(|r| r.ret.is_some_and(|r| r == "FAILED") || r.contract_ret.is_some_and(|c| c != "SUCCESS"));
        if is_failed {
            return Ok(Constant::Reverted(super::transport::readable(&self.result.message)));
        }
        let first = self.constant_result.first().ok_or("a constant call without a result")?;
        Ok(Constant::Returned(ConstantResult { data: bytes("constant_result", first)?, energy: self.energy_used }))
    }
}

fn contract_result(name: &str) -> Result<ContractResult, Problem> {
    ContractResult::from_name(name).ok_or_else(|| format!("unknown contract result {name:?}"))
}

fn bytes(field: &str, text: &str) -> Result<Vec<u8>, Problem> {
    hex::decode(text).map_err(|e| format!("{field}: {e}"))
}

fn any_address(text: &str) -> Result<PayoutAddress, Problem> {
    address::from_hex(text).or_else(|| text.parse().ok()).ok_or_else(|| format!("{text:?} is no address"))
}

#[cfg(test)]
mod tests;
