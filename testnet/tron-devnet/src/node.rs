//! The running network: the chain behind a lock, its file, the wall clock, and who is told about new blocks.
//!
//! The lock is held for one call at a time and never across an await, and what a call changed is on the disk before the
//! lock is given back. Signatures are recovered before it is taken.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use lucid_tron_bridge::proto;
use revm::primitives::B256;
use tokio::sync::watch;

use crate::chain::{Chain, Code, Intake, Refusal, StoredBlock};
use crate::faults::Faults;
use crate::store::{Log, StoreError};

/// See the module.
#[derive(Debug)]
pub struct Node {
    running: Mutex<Running>,
    /// A block is made for every accepted transaction.
    on_demand: bool,
    head: watch::Sender<u64>,
    failure: watch::Sender<Option<Arc<StoreError>>>,
    /// Milliseconds that the network is ahead of the clock.
    ahead: AtomicU64,
    pub(crate) faults: Faults,
}

#[derive(Debug)]
struct Running {
    chain: Chain,
    log: Option<Log>,
}

/// The chain, exclusively.
#[derive(Debug)]
pub struct ChainGuard<'a>(MutexGuard<'a, Running>);

impl Deref for ChainGuard<'_> {
    type Target = Chain;

    fn deref(&self) -> &Chain {
        &self.0.chain
    }
}

impl DerefMut for ChainGuard<'_> {
    fn deref_mut(&mut self) -> &mut Chain {
        &mut self.0.chain
    }
}

impl Node {
    /// Runs `chain`, in memory only; with `on_demand` every accepted transaction gets a block at once.
    pub fn new(chain: Chain, on_demand: bool) -> Self {
        Self::with_log(chain, None, on_demand)
    }

    /// Runs `chain` and writes its steps to `log`, which holds everything up to now.
    pub(crate) fn with_log(mut chain: Chain, log: Option<Log>, on_demand: bool) -> Self {
        if log.is_some() {
            chain.keep_changes();
        }
        Self {
            head: watch::Sender::new(chain.head().number()),
            running: Mutex::new(Running { chain, log }),
            on_demand,
            failure: watch::Sender::new(None),
            ahead: AtomicU64::new(0),
            faults: Faults::default(),
        }
    }

    /// The chain, exclusively. A panic elsewhere does not make it unusable: every change is made in layers.
    pub fn chain(&self) -> ChainGuard<'_> {
        ChainGuard(self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows the number of the newest block.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Waits until a step could not be written. Nothing the network says after that would survive.
    pub(crate) async fn failed(&self) -> Arc<StoreError> {
        let mut failure = self.failure.subscribe();
        loop {
            if let Some(error) = failure.borrow_and_update().clone() {
                return error;
            }
            if failure.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Gives the file back. For the end, when no request is answered any more: whoever still holds the node, as a closing
    /// connection does for a moment, must not keep the folder locked.
    pub(crate) fn close(&self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).log = None;
    }

    /// Judges a transaction and queues it.
    pub fn submit(&self, transaction: proto::Transaction) -> Result<B256, Refusal> {
        self.chain().check_room()?;
        let intake = Intake::read(transaction)?;
        let mut chain = self.chain();
        chain.check_room()?;
        if self.on_demand && chain.is_too_early_for(&intake) {
            // Blocks come only with transactions, so the head may be days old, and the client's clock is right.
            chain.produce_block(self.now());
        }
        let id = chain.submit_intake(intake)?;
        if self.on_demand {
            chain.produce_block(self.now());
            self.save(&mut chain).map_err(|e| Refusal { code: Code::OtherError, message: format!("Error: {e}") })?;
        }
        Ok(id)
    }

    /// The network's time: the clock's, unless somebody travelled.
    pub fn now(&self) -> u64 {
        now().saturating_add(self.ahead.load(Ordering::Relaxed))
    }

    /// Puts the network's time forward; it never goes back.
    pub(crate) fn travel(&self, milliseconds: u64) {
        let ahead = self.ahead.load(Ordering::Relaxed).saturating_add(milliseconds);
        self.ahead.store(ahead, Ordering::Relaxed);
    }

    /// Whether the network is kept on disk.
    pub(crate) fn is_kept(&self) -> bool {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).log.is_some()
    }

    /// Makes a block at `time` (milliseconds since the epoch).
    pub fn produce(&self, time: u64) -> Result<Arc<StoredBlock>, Arc<StoreError>> {
        let mut chain = self.chain();
        let block = chain.produce_block(time);
        self.save(&mut chain)?;
        Ok(block)
    }

    /// Writes what `chain` did since the last time, and tells about its head.
    pub(crate) fn save(&self, chain: &mut ChainGuard<'_>) -> Result<(), Arc<StoreError>> {
        let changes = chain.take_changes();
        if let Some(log) = &mut chain.0.log
            && let Err(error) = log.write(&changes)
        {
            let error = Arc::new(error);
            self.failure.send_replace(Some(Arc::clone(&error)));
            return Err(error);
        }
        self.head.send_replace(chain.head().number());
        Ok(())
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
