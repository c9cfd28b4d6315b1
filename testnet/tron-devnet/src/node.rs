//! The running network: the chain behind a lock, the wall clock, and who is told about new blocks.
//!
//! The lock is held for one call at a time and never across an await. Signatures are recovered before it is taken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use lucid_tron_bridge::proto;
use revm::primitives::B256;
use tokio::sync::watch;

use crate::chain::{Chain, Intake, Refusal, StoredBlock};

/// See the module.
#[derive(Debug)]
pub struct Node {
    chain: Mutex<Chain>,
    /// A block is made for every accepted transaction.
    on_demand: bool,
    head: watch::Sender<u64>,
}

impl Node {
    /// Runs `chain`; with `on_demand` every accepted transaction gets a block at once.
    pub fn new(chain: Chain, on_demand: bool) -> Self {
        let head = watch::Sender::new(chain.head().number());
        Self { chain: Mutex::new(chain), on_demand, head }
    }

    /// The chain, exclusively. A panic elsewhere does not make it unusable: every change is made in layers.
    pub fn chain(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the number of the newest block.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Judges a transaction and queues it.
    pub fn submit(&self, transaction: proto::Transaction) -> Result<B256, Refusal> {
        self.chain().check_room()?;
        let intake = Intake::read(transaction)?;
        let mut chain = self.chain();
        chain.check_room()?;
        let id = chain.submit_intake(intake)?;
        if self.on_demand {
            let block = chain.produce_block(now());
            self.head.send_replace(block.number());
        }
        Ok(id)
    }

    /// Makes a block at `time` (milliseconds since the epoch).
    pub fn produce(&self, time: u64) -> Arc<StoredBlock> {
        let block = self.chain().produce_block(time);
        self.head.send_replace(block.number());
        block
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
