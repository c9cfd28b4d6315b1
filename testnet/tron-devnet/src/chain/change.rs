//! What a step changed, so that it can be written down and applied again without executing anything.

use std::sync::Arc;

use lucid_tron_types::proto;
use revm::bytecode::Bytecode;
use revm::primitives::{Address, Bytes, U256};

use super::account::Account;
use super::block::StoredBlock;
use super::delegate::Delegations;
use super::state::{State, Total};

/// New values of everything that a layer changed; `None` is removed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Delta {
    pub(crate) accounts: Vec<(Address, Option<Account>)>,
    pub(crate) slots: Vec<(Address, U256, U256)>,
    pub(crate) contracts: Vec<(Address, Option<Arc<proto::SmartContract>>)>,
    pub(crate) factors: Vec<(Address, Option<u64>)>,
    pub(crate) delegations: Vec<((Address, Address), Option<Delegations>)>,
    pub(crate) totals: Vec<(Total, Option<u64>)>,
    pub(crate) codes: Vec<Bytes>,
}

/// One step of the chain.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// A block was added.
    Block {
        block: Arc<StoredBlock>,
        delta: Delta,
        /// Number of the newest solidified block after that.
        solid: u64,
    },
    /// The head's state was changed from outside.
    Intervention(Delta),
    /// Blocks above this number were dropped.
    Dropped(u64),
    /// Without a new block, this became the newest solidified one.
    Solidified(u64),
}

impl Change {
    fn delta(&self) -> Option<&Delta> {
        match self {
            Self::Block { delta, .. } | Self::Intervention(delta) => Some(delta),
            Self::Dropped(_) | Self::Solidified(_) => None,
        }
    }
}

/// All code that came with `changes`, also with those that were dropped later: a step holds only code that no earlier one
/// held, and code stays when its step is dropped.
pub(crate) fn codes(changes: &[Change]) -> impl Iterator<Item = &Bytes> {
    changes.iter().filter_map(Change::delta).flat_map(|delta| &delta.codes)
}

/// Blocks and interventions (without a block) that were not dropped later, in order.
pub(crate) fn surviving(changes: Vec<Change>) -> Vec<(Option<Arc<StoredBlock>>, Delta)> {
    let mut kept: Vec<(Option<Arc<StoredBlock>>, Delta)> = Vec::with_capacity(changes.len());
    for change in changes {
        match change {
            Change::Block { block, delta, .. } => kept.push((Some(block), delta)),
            Change::Intervention(delta) => kept.push((None, delta)),
            Change::Solidified(_) => {}
            // An intervention goes with the block before it.
            Change::Dropped(number) => {
                let is_dropped = |(block, _): &(Option<Arc<StoredBlock>>, Delta)| {
                    block.as_ref().is_some_and(|block| block.number() > number)
                };
                if let Some(first) = kept.iter().position(is_dropped) {
                    kept.truncate(first);
                }
            }
        }
    }
    kept
}

impl State {
    /// What the newest layer changed, in the order of keys, with all code that came since this was last asked.
    pub(crate) fn newest_delta(&mut self) -> Delta {
        let mut delta = Delta {
            accounts: self.accounts.newest_changes(),
            slots: self
                .storage
                .newest_changes()
                .into_iter()
                .map(|((address, slot), value)| (address, slot, value.unwrap_or_default()))
                .collect(),
            contracts: self.contracts.newest_changes(),
            factors: self.factors.newest_changes(),
            delegations: self.delegations.newest_changes(),
            totals: self.totals.newest_changes(),
            codes: Vec::new(),
        };
        let mut new_codes = std::mem::take(&mut self.new_codes);
        // They came in the order of a hash map.
        new_codes.sort_unstable();
        for hash in new_codes {
            delta.codes.extend(self.code(hash).map(Bytecode::original_bytes));
        }
        delta
    }

    /// Writes a delta into the newest layer, apart from its code.
    pub(crate) fn apply(&mut self, delta: &Delta) {
        for (address, account) in &delta.accounts {
            self.set_account(*address, account.clone());
        }
        for (address, slot, value) in &delta.slots {
            self.set_slot(*address, *slot, *value);
        }
        for (address, contract) in &delta.contracts {
            self.set_contract(*address, contract.clone());
        }
        for (address, factor) in &delta.factors {
            self.set_factor(*address, *factor);
        }
        for ((delegator, receiver), delegations) in &delta.delegations {
            self.set_delegations(*delegator, *receiver, delegations.unwrap_or_default());
        }
        for (total, sum) in &delta.totals {
            self.totals.set(*total, *sum);
        }
    }
}
