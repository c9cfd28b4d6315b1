//! The bytes of a record: protobuf messages of our own around the protocol's.
//!
//! Frozen by a golden file in the tests; a change needs a new [`VERSION`].

use std::sync::Arc;

use lucid_tron_types::proto;
use prost::Message;
use revm::primitives::B256;

use super::convert::{from_delta, from_info, to_delta, to_info};
use crate::chain::StoredBlock;
use crate::chain::change::Change;

/// Of the record format.
pub(crate) const VERSION: u32 = 3;

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
    #[prost(uint64, optional, tag = "5")]
    solidified: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BlockStep {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub(super) block: Option<proto::Block>,
    #[prost(message, repeated, tag = "3")]
    pub(super) infos: Vec<InfoMessage>,
    #[prost(message, optional, tag = "4")]
    pub(super) delta: Option<DeltaMessage>,
    #[prost(uint64, tag = "5")]
    pub(super) solid: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeltaMessage {
    #[prost(message, repeated, tag = "1")]
    pub(super) accounts: Vec<AccountEntry>,
    #[prost(message, repeated, tag = "2")]
    pub(super) slots: Vec<SlotEntry>,
    #[prost(message, repeated, tag = "3")]
    pub(super) contracts: Vec<ContractEntry>,
    #[prost(message, repeated, tag = "4")]
    pub(super) factors: Vec<FactorEntry>,
    #[prost(message, repeated, tag = "5")]
    pub(super) delegations: Vec<DelegationsEntry>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub(super) codes: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "7")]
    pub(super) totals: Vec<TotalEntry>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DelegationsEntry {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) delegator: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) receiver: Vec<u8>,
    /// Both or none of the delegations; none is removed.
    #[prost(message, optional, tag = "3")]
    pub(super) bandwidth: Option<DelegationMessage>,
    #[prost(message, optional, tag = "4")]
    pub(super) energy: Option<DelegationMessage>,
    #[prost(uint64, tag = "5")]
    pub(super) delegated_at: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct DelegationMessage {
    #[prost(uint64, tag = "1")]
    pub(super) open: u64,
    #[prost(uint64, tag = "2")]
    pub(super) locked: u64,
    #[prost(uint64, tag = "3")]
    pub(super) locked_until: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct TotalEntry {
    /// 1 burnt, 2 staked for bandwidth, 3 staked for energy.
    #[prost(uint32, tag = "1")]
    pub(super) total: u32,
    #[prost(uint64, optional, tag = "2")]
    pub(super) sum: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AccountEntry {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) address: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub(super) account: Option<AccountMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AccountMessage {
    #[prost(uint64, tag = "1")]
    pub(super) balance: u64,
    #[prost(bool, tag = "2")]
    pub(super) is_contract: bool,
    #[prost(uint64, tag = "3")]
    pub(super) created_at: u64,
    #[prost(uint64, tag = "4")]
    pub(super) last_operation: u64,
    #[prost(uint64, tag = "5")]
    pub(super) free_net_usage: u64,
    #[prost(uint64, tag = "6")]
    pub(super) free_net_slot: u64,
    #[prost(bytes = "vec", tag = "7")]
    pub(super) code_hash: Vec<u8>,
    #[prost(message, optional, tag = "8")]
    pub(super) owner: Option<proto::Permission>,
    #[prost(message, repeated, tag = "9")]
    pub(super) actives: Vec<proto::Permission>,
    #[prost(bytes = "vec", tag = "10")]
    pub(super) name: Vec<u8>,
    #[prost(message, optional, tag = "11")]
    pub(super) bandwidth: Option<StakeMessage>,
    #[prost(message, optional, tag = "12")]
    pub(super) energy: Option<StakeMessage>,
    #[prost(message, repeated, tag = "13")]
    pub(super) unstaking: Vec<UnstakingMessage>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct StakeMessage {
    #[prost(uint64, tag = "1")]
    pub(super) own: u64,
    #[prost(uint64, tag = "2")]
    pub(super) delegated: u64,
    #[prost(uint64, tag = "3")]
    pub(super) acquired: u64,
    #[prost(uint64, tag = "4")]
    pub(super) usage: u64,
    #[prost(uint64, tag = "5")]
    pub(super) slot: u64,
    #[prost(uint64, tag = "6")]
    pub(super) window: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct UnstakingMessage {
    /// As in the protocol.
    #[prost(int32, tag = "1")]
    pub(super) resource: i32,
    #[prost(uint64, tag = "2")]
    pub(super) amount: u64,
    #[prost(uint64, tag = "3")]
    pub(super) free_at: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SlotEntry {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) address: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) slot: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContractEntry {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) address: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub(super) contract: Option<proto::SmartContract>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FactorEntry {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) address: Vec<u8>,
    #[prost(uint64, optional, tag = "2")]
    pub(super) factor: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InfoMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(super) fee: u64,
    #[prost(uint64, tag = "3")]
    pub(super) system_fee: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) contract_result: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) contract_address: Vec<u8>,
    #[prost(uint64, tag = "6")]
    pub(super) energy_fee: u64,
    #[prost(uint64, tag = "7")]
    pub(super) energy_usage_total: u64,
    #[prost(uint64, tag = "8")]
    pub(super) energy_penalty_total: u64,
    #[prost(uint64, tag = "9")]
    pub(super) net_usage: u64,
    #[prost(uint64, tag = "10")]
    pub(super) net_fee: u64,
    #[prost(int32, optional, tag = "11")]
    pub(super) result: Option<i32>,
    #[prost(message, repeated, tag = "12")]
    pub(super) logs: Vec<LogMessage>,
    #[prost(string, tag = "13")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "14")]
    pub(super) internal: Vec<InternalMessage>,
    #[prost(uint64, tag = "15")]
    pub(super) energy_usage: u64,
    #[prost(uint64, tag = "16")]
    pub(super) origin_energy_usage: u64,
    #[prost(uint64, tag = "17")]
    pub(super) withdrawn: u64,
    #[prost(message, optional, tag = "18")]
    pub(super) restaked: Option<RestakedMessage>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct RestakedMessage {
    #[prost(uint64, tag = "1")]
    pub(super) bandwidth: u64,
    #[prost(uint64, tag = "2")]
    pub(super) energy: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LogMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) address: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) topics: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InternalMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) hash: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) caller: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) to: Vec<u8>,
    #[prost(uint64, tag = "4")]
    pub(super) value: u64,
    #[prost(string, tag = "5")]
    pub(super) note: String,
    #[prost(bool, tag = "6")]
    pub(super) rejected: bool,
}

impl Step {
    pub(super) fn from_beginning(beginning: &Beginning) -> Self {
        Self { beginning: Some(beginning.clone()), ..Self::default() }
    }

    pub(super) fn from_change(change: &Change) -> Self {
        match change {
            Change::Block { block, delta, solid } => {
                let step = BlockStep {
                    id: block.id.to_vec(),
                    block: Some(block.to_proto()),
                    infos: block.infos.iter().map(from_info).collect(),
                    delta: Some(from_delta(delta)),
                    solid: *solid,
                };
                Self { block: Some(step), ..Self::default() }
            }
            Change::Intervention(delta) => Self { intervention: Some(from_delta(delta)), ..Self::default() },
            Change::Dropped(number) => Self { dropped: Some(*number), ..Self::default() },
            Change::Solidified(number) => Self { solidified: Some(*number), ..Self::default() },
        }
    }

    /// The beginning or the change; none if the record makes no sense.
    pub(super) fn into_parts(self) -> Option<(Option<Beginning>, Option<Change>)> {
        let change = match (self.beginning, self.block, self.intervention, self.dropped, self.solidified) {
            (Some(beginning), None, None, None, None) => return Some((Some(beginning), None)),
            (None, Some(step), None, None, None) => {
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
                Change::Block { block: Arc::new(block), delta, solid: step.solid }
            }
            (None, None, Some(delta), None, None) => Change::Intervention(to_delta(delta)?),
            (None, None, None, Some(number), None) => Change::Dropped(number),
            (None, None, None, None, Some(number)) => Change::Solidified(number),
            _ => return None,
        };
        Some((None, Some(change)))
    }
}
