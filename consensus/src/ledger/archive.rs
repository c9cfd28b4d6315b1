//! What earlier blocks have left in this node's own store: themselves, and the rows of final epochs. The ledger checks
//! what it reads against the state, so a damaged store is noticed.

use std::collections::BTreeMap;

use lucid_types::block::Block;
use lucid_types::time::{Epoch, Height};

use crate::ledger::state::EpochRows;

/// Where the ledger reads what is no part of the state. Nothing in it changes once written.
pub trait Archive {
    /// The rows of a final epoch.
    fn rows(&self, epoch: Epoch) -> Option<EpochRows>;

    /// The block of a height.
    fn block(&self, height: Height) -> Option<Block>;
}

/// An archive in memory, for chains that live no longer than their process.
#[derive(Clone, Debug, Default)]
pub struct MemoryArchive {
    /// Rows by epoch.
    pub rows: BTreeMap<Epoch, EpochRows>,
    /// Blocks by height.
    pub blocks: BTreeMap<Height, Block>,
}

impl MemoryArchive {
    /// Keeps a block and the rows that became final with it.
    pub fn keep(&mut self, block: Block, rows: Option<EpochRows>) {
        self.blocks.insert(block.header.height, block);
        self.rows.extend(rows.map(|rows| (rows.epoch, rows)));
    }
}

impl Archive for MemoryArchive {
    fn rows(&self, epoch: Epoch) -> Option<EpochRows> {
        self.rows.get(&epoch).cloned()
    }

    fn block(&self, height: Height) -> Option<Block> {
        self.blocks.get(&height).cloned()
    }
}
