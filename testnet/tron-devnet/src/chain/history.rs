//! What happens to the chain besides blocks being added: changes from outside, blocks being dropped, and steps being kept
//! and applied again.

use revm::primitives::Address;

use super::Chain;
use super::account::Account;
use super::change::{self, Change};

/// A kept step does not continue this chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {number} does not follow the head {head}")]
pub(crate) struct Unfitting {
    number: u64,
    head: u64,
}

/// A change that no transaction could make, for tests and tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intervention {
    /// Gives accounts these balances in sun, and creates them if need be.
    SetBalances(Vec<(Address, u64)>),
    /// Sets a contract's dynamic energy factor.
    SetEnergyFactor {
        /// Which.
        contract: Address,
        /// In 1 / 10,000; 10,000 is the plain price.
        factor: u64,
    },
}

impl Chain {
    /// Changes the head's state from outside the rules; the queue is judged again on top.
    pub fn intervene(&mut self, intervention: &Intervention) {
        self.state.rollback();
        self.state.begin();
        match intervention {
            Intervention::SetBalances(balances) => {
                let created_at = self.head_block().time();
                for (address, balance) in balances {
                    let account = self.state.account(*address).cloned().unwrap_or_else(|| Account::new(created_at));
                    self.state.set_account(*address, Some(Account { balance: *balance, ..account }));
                }
            }
            Intervention::SetEnergyFactor { contract, factor } => self.state.set_factor(*contract, Some(*factor)),
        }
        self.note(Change::Intervention);
        self.fold_intervention();
        self.requeue();
    }

    /// An intervention belongs to the head block, and goes with it if the block is dropped.
    fn fold_intervention(&mut self) {
        if self.state.layers() > 1 { self.state.commit() } else { self.state.forget_oldest() }
    }

    /// Sets the price of a unit of energy in sun from the next block on, as a vote of the network would. It is no part of the
    /// state: dropping blocks does not bring the old one back.
    pub fn set_energy_price(&mut self, sun: u64) {
        self.params.energy_price = sun;
        self.state.rollback();
        self.requeue();
    }

    /// Starts keeping steps for [`Self::take_changes`].
    pub(crate) fn keep_changes(&mut self) {
        self.changes = Some(Vec::new());
    }

    /// The steps since this was last asked.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Keeps what the newest layer changed.
    pub(super) fn note(&mut self, change: impl FnOnce(change::Delta) -> Change) {
        if self.changes.is_none() {
            // Nobody asks for these then.
            self.state.new_codes.clear();
            return;
        }
        let delta = self.state.newest_delta();
        if let Some(changes) = &mut self.changes {
            changes.push(change(delta));
        }
    }

    /// Takes steps that were kept earlier, on a chain that consists of its genesis block. The lag may be another than it
    /// was then.
    pub(crate) fn replay(&mut self, changes: Vec<Change>) -> Result<(), Unfitting> {
        let solid = |change: &Change| match change {
            Change::Block { solid, .. } | Change::Solidified(solid) => Some(*solid),
            Change::Intervention(_) | Change::Dropped(_) => None,
        };
        let solid = changes.iter().filter_map(solid).max();
        change::codes(&changes).for_each(|code| self.state.restore_code(code));
        for (block, delta) in change::surviving(changes) {
            self.state.rollback();
            self.state.begin();
            self.state.apply(&delta);
            match block {
                Some(block) => {
                    let head = self.head_number();
                    let parent = block.header.raw_data.as_ref().map(|raw| raw.parent_hash.as_slice());
                    let follows = block.number() == head.saturating_add(1);
                    if !follows || parent != Some(self.head_block().id.as_slice()) {
                        return Err(Unfitting { number: block.number(), head });
                    }
                    self.append(block);
                }
                None => self.fold_intervention(),
            }
            self.state.begin();
        }
        // What was solidified once stays so.
        self.state.rollback();
        self.solidify_up_to(solid.unwrap_or(0).min(self.head_number()));
        self.state.begin();
        Ok(())
    }

    /// Drops the blocks above `number`, solidified ones excepted, with everything in them. What was queued is judged
    /// again; transactions of the dropped blocks are forgotten, so they may be sent again.
    pub fn drop_blocks(&mut self, number: u64) -> u64 {
        let number = number.max(self.solid);
        self.state.rollback();
        while self.head_number() > number {
            let Some(block) = self.blocks.pop() else { break };
            self.state.rollback();
            self.block_ids.pop();
            self.by_id.remove(&block.id);
            for info in &block.infos {
                self.transactions.remove(&info.id);
            }
        }
        if let Some(changes) = &mut self.changes {
            changes.push(Change::Dropped(number));
        }
        self.requeue();
        number
    }

    /// Whether new blocks solidify older ones.
    pub fn set_solidifies(&mut self, solidifies: bool) {
        self.solidifies = solidifies;
        let before = self.solid;
        // The pending layer is the newest one and stays.
        self.state.rollback();
        self.advance_solid();
        self.requeue();
        if self.solid > before
            && let Some(changes) = &mut self.changes
        {
            changes.push(Change::Solidified(self.solid));
        }
    }
}
