//! What became of a transaction: the `TransactionInfo` of the protocol.

use lucid_tron_types::proto::ContractResult;
use revm::primitives::{Address, B256, Log};

use super::stake::Restaked;
pub use crate::evm::tx::InternalTransaction;

/// What became of a transaction in a block.
#[derive(Clone, Debug, PartialEq)]
pub struct TransactionInfo {
    /// Transaction id.
    pub id: B256,
    /// Everything burnt, in sun.
    pub fee: u64,
    /// The part of it that a system contract asked for (a new account, new permissions).
    pub system_fee: u64,
    /// Number of its block.
    pub block_number: u64,
    /// Milliseconds since the epoch of its block.
    pub block_time: u64,
    /// Return data, deployed code, or a revert's reason.
    pub contract_result: Vec<u8>,
    /// The contract called or made.
    pub contract_address: Option<Address>,
    /// Resources used.
    pub receipt: Receipt,
    /// Logs in order; none if it failed.
    pub logs: Vec<Log>,
    /// What went wrong; empty if nothing.
    pub message: String,
    /// Calls and creations inside.
    pub internal: Vec<InternalTransaction>,
    /// Sun that had been unstaked and came back into the balance.
    pub withdrawn: u64,
    /// What was staked again, if unstaking was cancelled.
    pub restaked: Option<Restaked>,
}

impl TransactionInfo {
    /// How it ended, as the transaction says in its block: system contracts succeed.
    pub fn contract_result_code(&self) -> ContractResult {
        self.receipt.result.unwrap_or(ContractResult::Success)
    }

    /// A contract ran and did not end well.
    pub fn is_failed(&self) -> bool {
        !matches!(self.receipt.result, None | Some(ContractResult::Success))
    }
}

/// `ResourceReceipt`: what a transaction used and paid for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Energy that the caller's stake paid.
    pub energy_usage: u64,
    /// Sun burnt for energy.
    pub energy_fee: u64,
    /// Energy that the deployer's stake paid.
    pub origin_energy_usage: u64,
    /// Energy in all.
    pub energy_usage_total: u64,
    /// The part of the energy that dynamic energy added.
    pub energy_penalty_total: u64,
    /// Bytes of bandwidth, staked or free.
    pub net_usage: u64,
    /// Sun burnt for bandwidth.
    pub net_fee: u64,
    /// How the contract ended; none if no contract ran.
    pub result: Option<ContractResult>,
}
