//! The running network: the chain behind a lock, its file, its clock, and who is told about new blocks.
//!
//! Many may read at once, and one at a time changes the chain; they have their turns in the order in which they came. The lock
//! is never held across an await, and what a call changed is on the disk before the lock is given back. Signatures are
//! recovered before it is taken.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lucid_tron_bridge::block::transaction_id;
use lucid_tron_bridge::proto;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use revm::primitives::B256;
use tokio::sync::watch;

use crate::chain::{Chain, Code, Intake, Refusal, StoredBlock};
use crate::clock::{Clock, TooLate};
use crate::faults::Faults;
use crate::report;
use crate::store::{Log, StoreError};

/// See the module.
#[derive(Debug)]
pub struct Node {
    chain: RwLock<Chain>,
    /// Written by whoever changes the chain.
    log: Mutex<Option<Log>>,
    /// A block is made for every accepted transaction.
    on_demand: bool,
    head: watch::Sender<u64>,
    failure: watch::Sender<Option<Arc<StoreError>>>,
    clock: Mutex<Clock>,
    pub(crate) faults: Faults,
}

/// The chain, for reading.
#[derive(Debug)]
pub struct ChainRef<'a>(RwLockReadGuard<'a, Chain>);

impl Deref for ChainRef<'_> {
    type Target = Chain;

    fn deref(&self) -> &Chain {
        &self.0
    }
}

/// The chain, exclusively.
#[derive(Debug)]
pub struct ChainMut<'a>(RwLockWriteGuard<'a, Chain>);

impl Deref for ChainMut<'_> {
    type Target = Chain;

    fn deref(&self) -> &Chain {
        &self.0
    }
}

impl DerefMut for ChainMut<'_> {
    fn deref_mut(&mut self) -> &mut Chain {
        &mut self.0
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
            // A network that travelled goes on where it stopped.
            clock: Mutex::new(Clock::new(chain.head().block().time())),
            chain: RwLock::new(chain),
            log: Mutex::new(log),
            on_demand,
            failure: watch::Sender::new(None),
            faults: Faults::default(),
        }
    }

    /// The chain, for reading.
    pub fn chain(&self) -> ChainRef<'_> {
        ChainRef(self.chain.read())
    }

    /// The chain, exclusively. A panic elsewhere does not make it unusable: every change is made in layers.
    pub fn chain_mut(&self) -> ChainMut<'_> {
        ChainMut(self.chain.write())
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

    /// Whether a step could not be written. Since the lock on the chain was not given back before that was known, whoever
    /// read the chain earlier read only what is on the disk.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.borrow().is_some()
    }

    /// Gives the file back. For the end, when no request is answered any more: whoever still holds the node, as a closing
    /// connection does for a moment, must not keep the folder locked.
    pub(crate) fn close(&self) {
        *self.log.lock() = None;
    }

    /// Judges a transaction and queues it.
    pub fn submit(&self, transaction: proto::Transaction) -> Result<B256, Refusal> {
        let id = transaction_id(&transaction.raw_data);
        self.judge(transaction).inspect_err(|refusal| report::refused(&id, refusal))
    }

    fn judge(&self, transaction: proto::Transaction) -> Result<B256, Refusal> {
        self.chain().check_room()?;
        let intake = Intake::read(transaction)?;
        let mut chain = self.chain_mut();
        chain.check_room()?;
        if self.on_demand && chain.is_too_early_for(&intake) {
            // Blocks come only with transactions, so the head may be days old, and the client's clock is right.
            self.produce_on_demand(&mut chain)?;
        }
        let id = chain.submit_intake(intake)?;
        if self.on_demand {
            self.produce_on_demand(&mut chain)?;
        }
        Ok(id)
    }

    fn produce_on_demand(&self, chain: &mut ChainMut<'_>) -> Result<(), Refusal> {
        self.add_block(chain, self.now());
        self.save(chain).map_err(|e| Refusal { code: Code::OtherError, message: format!("Error: {e}") })
    }

    /// The network's time: the wall clock's, unless that was set back or somebody travelled.
    pub fn now(&self) -> u64 {
        self.clock.lock().read(now())
    }

    /// Puts the network's time forward; it never goes back.
    pub(crate) fn travel(&self, milliseconds: u64) -> Result<(), TooLate> {
        self.clock.lock().travel(now(), milliseconds)
    }

    /// Whether the network is kept on disk.
    pub(crate) fn is_kept(&self) -> bool {
        self.log.lock().is_some()
    }

    /// Makes a block at `time` (milliseconds since the epoch), from which on the network's time is at least that.
    pub fn produce(&self, time: u64) -> Result<Arc<StoredBlock>, Arc<StoreError>> {
        let mut chain = self.chain_mut();
        let block = self.add_block(&mut chain, time);
        self.save(&mut chain)?;
        Ok(block)
    }

    /// As [`Self::produce`], several at once. Whoever waits for the chain has it next, even if the caller wants more blocks.
    pub(crate) fn produce_several(&self, time: u64, blocks: u64) -> Result<(), Arc<StoreError>> {
        let mut chain = self.chain_mut();
        (0..blocks).for_each(|_| drop(self.add_block(&mut chain, time)));
        let saved = self.save(&mut chain);
        RwLockWriteGuard::unlock_fair(chain.0);
        saved
    }

    fn add_block(&self, chain: &mut ChainMut<'_>, time: u64) -> Arc<StoredBlock> {
        let block = chain.produce_block(time);
        self.clock.lock().forward_to(block.time());
        block
    }

    /// Writes what `chain` did since the last time, and tells about its new blocks.
    pub(crate) fn save(&self, chain: &mut ChainMut<'_>) -> Result<(), Arc<StoreError>> {
        let changes = chain.take_changes();
        if let Some(log) = &mut *self.log.lock()
            && let Err(error) = log.write(&changes)
        {
            let error = Arc::new(error);
            self.failure.send_replace(Some(Arc::clone(&error)));
            return Err(error);
        }
        let head = chain.head();
        let before = self.head.send_replace(head.number());
        let new = before.saturating_add(1)..=head.number();
        new.filter_map(|number| head.block_by_number(number)).for_each(|block| report::block(block));
        Ok(())
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
