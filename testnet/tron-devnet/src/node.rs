//! The running network: the chain behind a lock, its file, its clock, and who is told about new blocks.
//!
//! Many may read at once, and one at a time changes the chain; they have their turns in the order in which they came. The lock
//! is never held across an await, and what a call changed is on the disk before the lock is given back. Signatures are
//! recovered before it is taken, and what happened is told after it was given back.
//!
//! A network that could not write a step, or that panicked in the middle of one, ends: see [`Failure`].

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lucid_tron_types::block::transaction_id;
use lucid_tron_types::proto;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use revm::primitives::B256;
use tokio::sync::watch;

use crate::chain::{Chain, Code, Intake, Refusal, StoredBlock};
use crate::clock::{self, Clock, TooLate};
use crate::faults::Faults;
use crate::report;
use crate::store::{Log, StoreError};

/// Why a network cannot go on. Nothing it would do after that is answered for or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// A step could not be written, so it would not survive.
    #[error(transparent)]
    Write(Arc<StoreError>),
    /// The chain panicked while it was being changed, so it may be half changed.
    #[error("the chain panicked while it was being changed")]
    Panic,
}

/// Why no block was made.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NotMined {
    /// Blocks' times grow.
    #[error("time must be later than that of the newest block, {head}")]
    Past {
        /// Milliseconds since the epoch.
        head: u64,
    },
    /// Beyond what the clock can tell.
    #[error(transparent)]
    TooLate(#[from] TooLate),
    /// See there.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// The network as it was; see [`Node::snapshot`].
#[derive(Debug)]
pub(crate) struct Snapshot {
    chain: Chain,
    clock: Clock,
}

impl Snapshot {
    /// About how many bytes it takes; blocks are shared with the running network.
    pub(crate) fn bytes(&self) -> usize {
        self.chain.own_bytes()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Node {
    chain: RwLock<Chain>,
    /// Written by whoever changes the chain.
    log: Mutex<Option<Log>>,
    /// A block is made for every accepted transaction.
    on_demand: bool,
    head: watch::Sender<u64>,
    failure: watch::Sender<Option<Failure>>,
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

/// The chain, exclusively. It goes in the order of its fields: a panic is known before anybody else has the chain, and new
/// blocks are reported, which may block, after it was given back.
#[derive(Debug)]
pub struct ChainMut<'a> {
    _alarm: Alarm<'a>,
    chain: RwLockWriteGuard<'a, Chain>,
    news: News,
}

/// Notes that the holder panics.
#[derive(Debug)]
struct Alarm<'a>(&'a watch::Sender<Option<Failure>>);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.send_modify(|failure| {
                failure.get_or_insert(Failure::Panic);
            });
        }
    }
}

/// Blocks, and transactions that no block will have, to report.
#[derive(Debug, Default)]
struct News {
    blocks: Vec<Arc<StoredBlock>>,
    dropped: Vec<(B256, Refusal)>,
}

impl Drop for News {
    fn drop(&mut self) {
        self.blocks.iter().for_each(|block| report::block(block));
        self.dropped.iter().for_each(|(id, refusal)| report::dropped(&id.0, refusal));
    }
}

impl Deref for ChainMut<'_> {
    type Target = Chain;

    fn deref(&self) -> &Chain {
        &self.chain
    }
}

impl DerefMut for ChainMut<'_> {
    fn deref_mut(&mut self) -> &mut Chain {
        &mut self.chain
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

    /// The chain, exclusively. A panic of the holder ends the network, since a step may be half done then.
    pub fn chain_mut(&self) -> ChainMut<'_> {
        ChainMut { _alarm: Alarm(&self.failure), chain: self.chain.write(), news: News::default() }
    }

    /// Follows the number of the newest block.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Waits until the network cannot go on.
    pub(crate) async fn failed(&self) -> Failure {
        let mut failure = self.failure.subscribe();
        loop {
            if let Some(failure) = failure.borrow_and_update().clone() {
                return failure;
            }
            if failure.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether the network cannot go on. Since the lock on the chain was not given back before that was known, whoever
    /// read the chain earlier read only whole steps that are on the disk.
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
        if self.on_demand && chain.lacks_a_newer_head(&intake, self.now()) {
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

    /// Puts the network's time forward and makes a block there, so that whatever is counted by blocks' times has moved too.
    pub(crate) fn travel(&self, milliseconds: u64) -> Result<(), NotMined> {
        let mut chain = self.chain_mut();
        self.clock.lock().travel(now(), milliseconds)?;
        self.add_block(&mut chain, self.now());
        Ok(self.save(&mut chain)?)
    }

    /// The chain with what waits in it, and the network's time.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let chain = self.chain();
        self.now();
        Snapshot { chain: chain.clone(), clock: *self.clock.lock() }
    }

    /// Goes back to a snapshot: blocks, state, waiting transactions and time.
    pub(crate) fn revert(&self, snapshot: Snapshot) -> Result<(), Failure> {
        let mut chain = self.chain_mut();
        *chain = snapshot.chain;
        self.clock.lock().restore(snapshot.clock, chain.head().block().time());
        self.save(&mut chain)
    }

    /// Whether the network is kept on disk.
    pub(crate) fn is_kept(&self) -> bool {
        self.log.lock().is_some()
    }

    /// Makes a block at `time` (milliseconds since the epoch), from which on the network's time is at least that.
    pub fn produce(&self, time: u64) -> Result<Arc<StoredBlock>, Failure> {
        let mut chain = self.chain_mut();
        let block = self.add_block(&mut chain, time);
        self.save(&mut chain)?;
        Ok(block)
    }

    /// Makes the block of the last multiple of `step` (milliseconds) if the head is older. Answers when the next one is due.
    pub(crate) fn produce_when_due(&self, step: u64) -> Result<u64, Failure> {
        let mut chain = self.chain_mut();
        let after = |time: u64| (time / step).saturating_add(1).saturating_mul(step);
        let now = self.now();
        let due = (now / step).saturating_mul(step);
        if due > chain.head().block().time() {
            self.add_block(&mut chain, due);
            self.save(&mut chain)?;
        }
        Ok(after(now))
    }

    /// Makes several blocks, the first one at `time`, or now. Whoever waits for the chain has it next, even if the caller
    /// wants more blocks.
    pub(crate) fn mine(&self, time: Option<u64>, blocks: u64) -> Result<(), NotMined> {
        let mut chain = self.chain_mut();
        let head = chain.head().block().time();
        if time.is_some_and(|time| time <= head) {
            return Err(NotMined::Past { head });
        }
        if time.is_some_and(|time| time > clock::LAST) {
            return Err(TooLate.into());
        }
        let time = time.unwrap_or_else(|| self.now());
        (0..blocks).for_each(|_| drop(self.add_block(&mut chain, time)));
        let saved = self.save(&mut chain);
        RwLockWriteGuard::unlock_fair(chain.chain);
        Ok(saved?)
    }

    fn add_block(&self, chain: &mut ChainMut<'_>, time: u64) -> Arc<StoredBlock> {
        let block = chain.produce_block(time);
        let dropped = chain.take_dropped();
        chain.news.dropped.extend(dropped);
        self.clock.lock().forward_to(block.time());
        block
    }

    /// Writes what `chain` did since the last time, and tells about its new blocks. After a failure it does neither: the file
    /// would go on after a step that it lacks, or from one that is half done.
    pub(crate) fn save(&self, chain: &mut ChainMut<'_>) -> Result<(), Failure> {
        if let Some(failure) = self.failure.borrow().clone() {
            return Err(failure);
        }
        let changes = chain.take_changes();
        let dropped = chain.take_dropped();
        chain.news.dropped.extend(dropped);
        if let Some(log) = &mut *self.log.lock()
            && let Err(error) = log.write(&changes)
        {
            let failure = Failure::Write(Arc::new(error));
            self.failure.send_replace(Some(failure.clone()));
            return Err(failure);
        }
        let head = chain.head();
        let before = self.head.send_replace(head.number());
        let new = before.saturating_add(1)..=head.number();
        let new: Vec<_> = new.filter_map(|number| head.block_by_number(number).cloned()).collect();
        chain.news.blocks.extend(new);
        Ok(())
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
mod tests {
    use prost::Message;
    use revm::primitives::Address;

    use super::*;
    use crate::chain::Genesis;
    use crate::server::DevnetConfig;
    use crate::start::{Started, start};
    use crate::wallet::{self, Validity, Wallet};

    fn node() -> Node {
        Node::new(Chain::new(Genesis::seeded("node", 1, 1, 1_700_000_000_000, 0)), false)
    }

    /// The head of this network is old: only a transaction that a new one helps gets one.
    #[test]
    fn a_hopeless_transaction_makes_no_block() {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        let key = Wallet::derive("node", 0);
        let node = Node::new(Chain::new(Genesis::seeded("node", 1, 1_000_000_000, 1_700_000_000_000, 0)), true);
        let genesis = node.chain().genesis_id();
        let send = |in_time: u64, is_signed: bool| {
            let expiration = node.now() + in_time;
            let validity = Validity { reference: genesis.0, timestamp: 1_700_000_000_000, expiration };
            let message = wallet::transfer(key.address(), Address::with_last_byte(9), 1);
            let (bytes, _) = wallet::signed(&key, &message, 0, validity);
            let mut transaction = proto::Transaction::decode(bytes.as_slice()).unwrap();
            if !is_signed {
                transaction.signature.clear();
            }
            let code = node.submit(transaction).err().map(|refusal| refusal.code);
            (code, node.chain().head().number())
        };
        assert_eq!(send(DAY / 2, false), (Some(Code::SigError), 0));
        assert_eq!(send(2 * DAY, true), (Some(Code::TransactionExpirationError), 0));
        assert_eq!(send(DAY / 2, true), (None, 2));
    }

    /// A transaction that only lacks a newer head gets a block made first; that block stays, whatever becomes of it.
    #[test]
    fn a_block_made_for_a_refused_transaction_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let config = DevnetConfig { dir: Some(dir.path().to_owned()), block_time: None, ..DevnetConfig::default() };
        // Begun long ago.
        let Started { chain, log, .. } = start(&config, 1_700_000_000_000).unwrap();
        let node = Node::with_log(chain, log, true);
        let head = node.chain().head().block().id;
        let send = |reference: [u8; 32]| {
            let validity = Validity { reference, timestamp: node.now(), expiration: node.now() + 60_000 };
            let key = Wallet::derive(&config.seed, 0);
            let message = wallet::transfer(key.address(), Address::with_last_byte(9), i64::MAX.unsigned_abs());
            let (bytes, _) = wallet::signed(&key, &message, 0, validity);
            let refusal = node.submit(proto::Transaction::decode(bytes.as_slice()).unwrap()).unwrap_err();
            (refusal.code, node.chain().head().number())
        };
        assert_eq!(send([9; 32]), (Code::TaposError, 1), "a newer head is not all that it lacks");
        assert_eq!(send(head.0), (Code::ContractValidateError, 2));
        let made = node.chain().head().block().clone();
        node.close();
        let Started { chain, .. } = start(&config, 1_700_000_000_000).unwrap();
        assert_eq!(*chain.head().block(), made);
    }

    #[test]
    fn travel_moves_the_head_and_a_revert_takes_time_and_waiting_transactions_back() {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        let key = Wallet::derive("node", 0);
        let node = Node::new(Chain::new(Genesis::seeded("node", 1, 1_000_000_000, now(), 0)), false);
        let before = node.now();
        let genesis = node.chain().genesis_id();
        let validity = Validity::after(genesis.0, before, 60_000);
        let (bytes, id) = wallet::signed(&key, &wallet::transfer(key.address(), Address::ZERO, 1), 0, validity);
        node.submit(proto::Transaction::decode(bytes.as_slice()).unwrap()).unwrap();
        let snapshot = node.snapshot();
        node.travel(DAY).unwrap();
        assert_eq!(node.chain().head().number(), 1);
        assert!(node.chain().head().block().time() >= before + DAY, "whatever counts by blocks' times has moved");
        assert!(node.now() >= before + DAY);
        assert_eq!(node.chain().pending(), 0);
        node.revert(snapshot).unwrap();
        assert!((before..before + DAY).contains(&node.now()));
        let chain = node.chain();
        assert_eq!((chain.head().number(), chain.pending()), (0, 1));
        assert!(chain.head().pending_transaction(&id.into()).is_some());
        drop(chain);
        // Blocks go on at the time that was restored.
        let due = node.produce_when_due(1_000).unwrap();
        assert!((before..before + DAY).contains(&due), "{due}");
        assert!(node.chain().head().block().time() < before + DAY);
    }

    #[test]
    fn a_past_time_is_refused_and_not_moved() {
        let node = node();
        node.mine(Some(1_700_000_003_000), 2).unwrap();
        assert_eq!(node.chain().head().block().time(), 1_700_000_003_001, "one after the other");
        for past in [0, 1_700_000_003_000, 1_700_000_003_001] {
            let refused = node.mine(Some(past), 1).unwrap_err();
            assert!(matches!(refused, NotMined::Past { head: 1_700_000_003_001 }), "{refused}");
        }
        assert!(matches!(node.mine(Some(clock::LAST + 1), 1), Err(NotMined::TooLate(_))));
        assert_eq!(node.chain().head().number(), 2);
    }

    #[tokio::test]
    async fn a_panic_in_a_change_ends_the_network() {
        let node = Arc::new(node());
        let panicking = Arc::clone(&node);
        let panicked = std::thread::spawn(move || {
            let _chain = panicking.chain_mut();
            panic!("in the middle of a step");
        });
        assert!(panicked.join().is_err());
        assert!(node.has_failed());
        assert!(matches!(node.failed().await, Failure::Panic));
        assert!(matches!(node.produce(1_700_000_003_000), Err(Failure::Panic)));
        assert_eq!(*node.follow().borrow(), 0, "nobody is told of a block after it");
    }

    #[test]
    fn a_panic_of_a_reader_ends_nothing() {
        let node = Arc::new(node());
        let panicking = Arc::clone(&node);
        let panicked = std::thread::spawn(move || {
            let _chain = panicking.chain();
            panic!("while reading");
        });
        assert!(panicked.join().is_err());
        assert!(!node.has_failed());
        assert_eq!(node.produce(1_700_000_003_000).unwrap().number(), 1);
    }
}
