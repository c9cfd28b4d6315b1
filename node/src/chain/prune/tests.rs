//! What is removed, what stays, and what a node can do afterwards.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use lucid_storage::BlockCommit;
use lucid_types::block::items_hash;
use lucid_types::certificate::Certificate;
use lucid_types::id::{BlockHash, Hash, StateRoot};

use super::*;
use crate::chain::fixture::Growing;
use crate::payout::testing::{self, network, signing_key};

/// The newest blocks that stay.
const KEPT: u64 = 60;
const EPOCH_MS: u64 = 2_000;

struct Set(AtomicU64);

impl Clock for Set {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(self.0.load(Ordering::Relaxed))
    }
}

/// A store of blocks that nobody has executed: four to an epoch, the set changing with some.
struct Blocks {
    spec: Arc<ChainSpec>,
    store: Store,
    folder: tempfile::TempDir,
}

/// Of each epoch the first block closes the one before, but for block 1.
fn closes(height: u64) -> bool {
    height > 1 && height % 4 == 1
}

/// Block 30 makes others sign from block 32 on.
const CHANGE: u64 = 30;

impl Blocks {
    fn new(n_blocks: u64) -> Self {
        let (folder, spec) = (tempfile::tempdir().unwrap(), network());
        let store = Store::open(folder.path(), *spec.id()).unwrap();
        let blocks = Self { spec, store, folder };
        (1..=n_blocks).for_each(|height| blocks.add(height));
        blocks
    }

    fn time(&self, height: u64) -> UnixMillis {
        let genesis = self.spec.genesis().genesis_time.get();
        UnixMillis::new(genesis + (height - 1) * EPOCH_MS / 4)
    }

    fn header(&self, height: u64) -> Header {
        let set = self.spec.first_validators().hash();
        Header {
            height: Height::new(height),
            parent: BlockHash::from_bytes([1; 32]),
            round: 0,
            proposer: signing_key(1).id(),
            time: self.time(height),
            randao: signing_key(1).bls_key().sign_randao(self.spec.id(), Height::new(height)),
            items: items_hash(&[]),
            next_set: if height < CHANGE { set } else { Hash::from_bytes([2; 32]) },
            state_root: StateRoot::from_bytes([4; 32]),
        }
    }

    fn certificate(&self, height: u64) -> Certificate {
        let block = self.header(height).hash();
        Certificate { height: Height::new(height), round: 0, block, signatures: Vec::new() }
    }

    fn add(&self, height: u64) {
        let header = self.header(height);
        let (height, block_hash, certificate) = (header.height, header.hash(), encode(&self.certificate(height)));
        let block = Block { header, commitments: vec![], reveals: vec![], commands: vec![], evidence: vec![] };
        let (block, state, history) = (encode(&block), Vec::new(), Vec::new());
        self.store
            .commit_block(BlockCommit { height, block_hash, block, certificate, state, set_change: None, history })
            .unwrap();
    }

    fn pruner(&self) -> Pruner {
        Pruner { spec: Arc::clone(&self.spec), store: self.store.clone(), last: None }
    }

    fn reopen(self) -> Self {
        let Self { spec, store, folder } = self;
        drop(store);
        let store = Store::open(folder.path(), *spec.id()).unwrap();
        Self { spec, store, folder }
    }

    /// What must be there if blocks from `base` to `newest` are, and of those before the closing ones and the change, and these.
    fn check(&self, base: u64, newest: u64, also: &[u64]) {
        assert_eq!(self.store.base(), Height::new(base));
        let blocks: Vec<u64> = self.store.blocks(Height::ZERO).map(|block| block.unwrap().height.get()).collect();
        assert_eq!(blocks, (base..=newest).collect::<Vec<_>>());
        let kept: BTreeSet<u64> = (1..base).filter(|height| closes(*height) || *height == CHANGE).collect();
        let kept: BTreeSet<u64> = kept.into_iter().chain(also.iter().copied()).collect();
        for height in 1..base {
            let found = persist::header(&self.store, Height::new(height)).unwrap();
            let is_kept = kept.contains(&height);
            assert_eq!(found.is_some(), is_kept, "the header of {height}");
            assert_eq!(self.store.certificate(Height::new(height)).unwrap().is_some(), is_kept, "{height}");
            if let Some(found) = found {
                assert_eq!((found.header, found.certificate), (self.header(height), self.certificate(height)));
            }
        }
    }
}

#[test]
fn old_blocks_go_but_headers_of_closing_blocks_and_of_changes_of_the_set() {
    let blocks = Blocks::new(500);
    let newest = Height::new(500);
    let mut pruner = blocks.pruner();
    assert_eq!(pruner.prune(newest, blocks.time(1)).unwrap(), 0, "none is old");
    // By time: a block of that very time stays.
    assert_eq!(pruner.prune(newest, blocks.time(51)).unwrap(), 50);
    blocks.check(51, 500, &[]);
    assert_eq!(pruner.prune(newest, blocks.time(51)).unwrap(), 0);
    // Batch by batch; where a batch begins makes no difference.
    let mut pruned = Vec::new();
    while pruned.last() != Some(&0) {
        pruned.push(pruner.prune(newest, UnixMillis::new(u64::MAX)).unwrap());
    }
    // However old they are, the newest stay.
    assert_eq!(pruned, [100, 100, 100, 90, 0]);
    blocks.check(500 - KEPT + 1, 500, &[]);
    assert_eq!(blocks.spec.fixed().snapshot_blocks * 3, KEPT);
}

#[test]
fn pruning_goes_on_after_a_restart_and_with_new_blocks() {
    let mut blocks = Blocks::new(100);
    assert_eq!(blocks.pruner().prune(Height::new(100), UnixMillis::new(u64::MAX)).unwrap(), 40);
    blocks.check(41, 100, &[]);
    blocks = blocks.reopen();
    (101..=120).for_each(|height| blocks.add(height));
    // Nobody remembers the header before 41, which is kept therefore; it would be anyway.
    assert!(closes(41));
    assert_eq!(blocks.pruner().prune(Height::new(103), UnixMillis::new(u64::MAX)).unwrap(), 3);
    blocks.check(44, 120, &[]);
    blocks = blocks.reopen();
    assert_eq!(blocks.pruner().prune(Height::new(120), UnixMillis::new(u64::MAX)).unwrap(), 17);
    blocks.check(61, 120, &[44]);
    // Behind the base there is nothing to do.
    assert_eq!(blocks.pruner().prune(Height::new(70), UnixMillis::new(u64::MAX)).unwrap(), 0);
}

#[test]
fn a_short_chain_and_one_that_begins_with_a_snapshot_lose_nothing() {
    let blocks = Blocks::new(KEPT);
    assert_eq!(blocks.pruner().prune(Height::new(KEPT), UnixMillis::new(u64::MAX)).unwrap(), 0);
    blocks.check(1, KEPT, &[]);
    // A snapshot takes the place of the blocks while they are being removed.
    let (header, certificate) = (blocks.header(200), blocks.certificate(200));
    blocks.store.begin_restore(&[]).unwrap();
    blocks.store.finish_restore(header.height, header.hash(), &encode(&header), &encode(&certificate), &[]).unwrap();
    let mut pruner = blocks.pruner();
    assert_eq!(pruner.prune(Height::new(200), UnixMillis::new(u64::MAX)).unwrap(), 0);
    (201..=300).for_each(|height| blocks.add(height));
    assert_eq!(pruner.prune(Height::new(300), UnixMillis::new(u64::MAX)).unwrap(), 40);
    assert_eq!(blocks.store.base(), Height::new(241));
    let kept = |height: u64| persist::header(&blocks.store, Height::new(height)).unwrap().is_some();
    assert!(kept(200) && kept(201) && kept(205) && !kept(202) && !kept(240), "201 closes an epoch");
}

#[test]
fn a_block_that_cannot_be_read_is_said_to_be() {
    let blocks = Blocks::new(KEPT);
    let (height, block_hash) = (Height::new(KEPT + 1), BlockHash::from_bytes([1; 32]));
    let damaged = BlockCommit {
        height,
        block_hash,
        block: vec![1, 2, 3],
        certificate: Vec::new(),
        state: Vec::new(),
        set_change: None,
        history: Vec::new(),
    };
    blocks.store.commit_block(damaged).unwrap();
    let error = blocks.pruner().prune(Height::new(10 * KEPT), UnixMillis::new(u64::MAX)).unwrap_err();
    assert!(matches!(error, PersistError::Decode { what: "a block", .. }), "{error}");
    assert_eq!(blocks.store.base(), Height::new(1));
}

#[tokio::test]
async fn blocks_are_removed_when_they_are_old_and_a_clock_that_is_ahead_does_not_count() {
    let mut chain = Growing::new();
    (0..100).for_each(|_| drop(chain.grow()));
    let (age, keep) = (chain.state.time(), Duration::from_millis(70 * EPOCH_MS));
    let clock = Arc::new(Set(AtomicU64::new(age.get() * 2)));
    let (head, seen) = watch::channel(testing::head(chain.state.clone()));
    let stop = CancellationToken::new();
    let parts = PruneParts {
        spec: Arc::clone(&chain.spec),
        store: chain.store.clone(),
        clock: Arc::<Set>::clone(&clock),
        head: seen,
        keep,
    };
    let stopped = stop.clone();
    let pruning = run(parts, stop);
    let store = chain.store.clone();
    let watched = async {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        while store.base() == Height::new(1) {
            look.tick().await;
        }
        stopped.cancel();
    };
    let (ended, ()) = tokio::join!(pruning, watched);
    ended.unwrap();
    // Of the 100 blocks, each two seconds after the one before, those within 140 s of the newest stay.
    assert_eq!(chain.store.base(), Height::new(30));
    drop(head);

    // The node goes on with what is left, from where it was.
    let restored = chain.restore().unwrap();
    assert_eq!(restored.replica.state.root(), chain.state.root());
    assert_eq!(restored.block.unwrap().header.height, Height::new(100));
    chain.grow();
    assert_eq!(chain.store.blocks(Height::ZERO).count(), 72);
    // Every one of these closes an epoch.
    assert!((1..30).all(|height| persist::header(&chain.store, Height::new(height)).unwrap().is_some()));
}
