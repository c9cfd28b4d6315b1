//! The answers of the HTTP API as types: JSON in, checked values out.
//!
//! protobuf's JSON of java-tron leaves fields with default values out, writes bytes in hex and enums by name. `{}` means
//! that there is no such thing.

use lucid_tron_types::keccak256;
use lucid_tron_types::proto::ContractResult;
use lucid_types::amount::Sun;
use lucid_types::id::{PayoutAddress, TxId};
use lucid_types::time::UnixMillis;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::transport::readable;
use crate::address;
use crate::vault::VaultRevert;

/// An included transaction's receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionInfo {
    /// The transaction.
    pub id: TxId,
    /// Number of the block that includes it.
    pub block: u64,
    /// That block's time.
    pub block_time: UnixMillis,
    /// All that it cost: burnt energy, bandwidth, fees of the network.
    pub fee: Sun,
    /// How the contract call ended; [`ContractResult::Default`] if no contract was called.
    pub result: ContractResult,
    /// Energy used, whoever paid for it.
    pub energy: u64,
    /// What the contract returned, or its revert's data.
    pub output: Vec<u8>,
    /// The node's words on a failure.
    pub message: String,
    /// Events, in order.
    pub logs: Vec<Log>,
}

impl TransactionInfo {
    /// Whether it did what it was sent for.
    pub const fn is_success(&self) -> bool {
        matches!(self.result, ContractResult::Success | ContractResult::Default)
    }

    /// Why it reverted, if with an error of the vault.
    pub fn vault_revert(&self) -> Option<VaultRevert> {
        if self.result == ContractResult::Revert { VaultRevert::decode(&self.output) } else { None }
    }
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

/// An account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its address.
    pub address: PayoutAddress,
    /// Its TRX.
    pub balance: Sun,
}

/// What an account can use before TRX is burnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Staked or rented energy that is left.
    pub energy: u64,
    /// Bytes of bandwidth that are left, of the daily free ones. A transaction takes all its bytes from one of the two.
    pub free_bandwidth: u64,
    /// As above, of staked or rented ones.
    pub bandwidth: u64,
}

/// Prices that the network's representatives vote on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainParameters {
    /// One unit of energy.
    pub energy_price: Sun,
    /// One byte of bandwidth.
    pub bandwidth_price: Sun,
    /// What it costs to send TRX to an account that does not exist.
    pub new_account_fee: Sun,
}

/// What is wrong with an answer's content.
pub(super) type Problem = String;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InfoJson {
    id: Option<TxId>,
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
    #[serde(default)]
    contract_result: Vec<String>,
    #[serde(default)]
    res_message: String,
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
    pub(super) fn info_of(self, id: &TxId) -> Result<Option<TransactionInfo>, Problem> {
        let info = self.info()?;
        match &info {
            Some(info) if info.id != *id => Err(format!("the receipt of transaction {} for {id}", info.id)),
            _ => Ok(info),
        }
    }

    fn info(self) -> Result<Option<TransactionInfo>, Problem> {
        let Some(id) = self.id else { return Ok(None) };
        // A result of a later protocol is a failure whose name this program does not know.
        let result =
            self.receipt.result.as_deref().map_or(ContractResult::Default, |name| {
                ContractResult::from_name(name).unwrap_or(ContractResult::Unknown)
            });
        if self.result.is_some_and(|r| r == "FAILED") && result == ContractResult::Success {
            return Err(format!("{id} both failed and succeeded"));
        }
        Ok(Some(TransactionInfo {
            id,
            block: self.block_number,
            block_time: UnixMillis::new(self.block_time_stamp),
            fee: Sun::new(self.fee),
            result,
            energy: self.receipt.energy_usage_total,
            output: self.contract_result.first().map_or(Ok(Vec::new()), |output| bytes("contractResult", output))?,
            message: readable(&self.res_message),
            logs: self.log.iter().map(LogJson::log).collect::<Result<_, _>>()?,
        }))
    }
}

/// The receipts of a block: a list, or `{}` if there are none.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum InfosJson {
    List(Vec<MaybeInfoJson>),
    None {},
}

/// A receipt, or something that this program cannot read.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum MaybeInfoJson {
    Info(InfoJson),
    Other(IgnoredAny),
}

impl InfosJson {
    /// The receipts of block `number`; `None` if there are none. One that cannot be read is left out: it is of a transaction of a
    /// kind that this program does not know, and must not hide the others.
    pub(super) fn infos(self, number: u64) -> Result<Option<Vec<TransactionInfo>>, Problem> {
        let Self::List(list) = self else { return Ok(None) };
        if list.is_empty() {
            return Ok(None);
        }
        let mut infos = Vec::with_capacity(list.len());
        for entry in list {
            let MaybeInfoJson::Info(info) = entry else {
                tracing::debug!(block = number, "a receipt of an unknown form is left out");
                continue;
            };
            match info.info() {
                Ok(Some(info)) if info.block == number => infos.push(info),
                Ok(Some(info)) => return Err(format!("a receipt of block {} for block {number}", info.block)),
                Ok(None) => {}
                Err(problem) => tracing::debug!(block = number, problem, "a receipt that cannot be read is left out"),
            }
        }
        Ok(Some(infos))
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
}

impl AccountJson {
    /// The account, which must be `expected`; `None` for `{}`.
    pub(super) fn account(self, expected: &PayoutAddress) -> Result<Option<Account>, Problem> {
        let Some(text) = self.address else { return Ok(None) };
        let found = address::from_hex(&text).or_else(|| text.parse().ok());
        if found != Some(*expected) {
            return Err(format!("account {text:?} for {expected}"));
        }
        Ok(Some(Account { address: *expected, balance: Sun::new(self.balance) }))
    }
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct ResourcesJson {
    #[serde(rename = "freeNetUsed")]
    free_net_used: u64,
    #[serde(rename = "freeNetLimit")]
    free_net_limit: u64,
    #[serde(rename = "NetUsed")]
    net_used: u64,
    #[serde(rename = "NetLimit")]
    net_limit: u64,
    #[serde(rename = "EnergyUsed")]
    energy_used: u64,
    #[serde(rename = "EnergyLimit")]
    energy_limit: u64,
}

impl ResourcesJson {
    /// Nothing of an account that does not exist.
    pub(super) const fn resources(&self) -> Resources {
        Resources {
            energy: self.energy_limit.saturating_sub(self.energy_used),
            free_bandwidth: self.free_net_limit.saturating_sub(self.free_net_used),
            bandwidth: self.net_limit.saturating_sub(self.net_used),
        }
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
            // Of the transfer, and of its bandwidth.
            new_account_fee: price("getCreateNewAccountFeeInSystemContract")?
                .saturating_add(price("getCreateAccountFee")?),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct ContractInfoJson {
    runtimecode: Option<String>,
}

impl ContractInfoJson {
    /// The Keccak-256 of the deployed code; `None` for `{}`.
    pub(super) fn code_hash(self) -> Result<Option<[u8; 32]>, Problem> {
        self.runtimecode.map(|code| bytes("runtimecode", &code).map(|code| keccak256(&code))).transpose()
    }
}

pub(super) fn bytes(field: &str, text: &str) -> Result<Vec<u8>, Problem> {
    hex::decode(text).map_err(|e| format!("{field}: {e}"))
}

#[cfg(test)]
mod tests;
