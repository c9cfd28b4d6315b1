//! The archive as the replica sees it: the store behind it, and before it the newest blocks, which the shell may not
//! have stored yet.

use std::collections::VecDeque;
use std::sync::Arc;

use lucid_types::block::Block;
use lucid_types::time::{Epoch, Height};

use crate::ledger::archive::Archive;
use crate::ledger::state::EpochRows;

pub(super) struct Recent {
    stored: Arc<dyn Archive + Send + Sync>,
    newest: VecDeque<Block>,
    /// How many blocks the ledger may ask for.
    kept: usize,
}

impl Recent {
    /// In a network in which reveals may stand in `report_window` successive blocks.
    pub(super) fn new(stored: Arc<dyn Archive + Send + Sync>, report_window: u64) -> Self {
        Self { stored, newest: VecDeque::new(), kept: usize::try_from(report_window).unwrap_or(usize::MAX) }
    }

    pub(super) fn push(&mut self, block: Block) {
        self.newest.push_back(block);
        while self.newest.len() > self.kept {
            self.newest.pop_front();
        }
    }
}

impl Archive for Recent {
    fn rows(&self, epoch: Epoch) -> Option<EpochRows> {
        self.stored.rows(epoch)
    }

    fn block(&self, height: Height) -> Option<Block> {
        let newest = self.newest.iter().find(|block| block.header.height == height).cloned();
        newest.or_else(|| self.stored.block(height))
    }
}
