//! States of many rows that a network's validators certify, for tests of what becomes of them.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

pub(crate) mod peers;

use std::ops::Bound;
use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::build::{Pending, Turn, build};
use lucid_consensus::ledger::execute::Execution;
use lucid_consensus::ledger::state::State;
use lucid_consensus::ledger::table::Workers;
use lucid_score::worker_stats::WorkerStats;
use lucid_storage::Store;
use lucid_types::block::Block;
use lucid_types::certificate::Certificate;
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::id::NodeId;
use lucid_types::sync::{CertifiedBlock, CertifiedHeader, SyncRequest, SyncResponse};
use lucid_types::time::{Height, UnixMillis};
use lucid_types::validator::ValidatorSet;
use lucid_types::validator_sets::{SET_DELAY, SetChange};
use lucid_types::vote::{Vote, VoteKind};

use crate::chain::persist::{PersistError, Restored, header, put_block, restore};
use crate::chain::snapshot::{self, Snapshot};
use crate::payout::testing;
use crate::signer::fixture::Chain;

/// Of four, these sign: a quorum.
pub(crate) const QUORUM: [u8; 3] = [1, 2, 3];
/// What a row of [`stats`] takes of a page.
pub(crate) const ROW_BYTES: usize = 16 + 33 + WorkerStats::MAX_BYTES;

/// The statistics of a worker who was measured in every bucket of both windows: the greatest row of the table.
fn stats(number: u64) -> WorkerStats {
    let mut bytes = 7_u64.to_le_bytes().to_vec();
    bytes.extend(84_u64.to_le_bytes());
    bytes.extend((0..84 * 10).map(|i| u8::try_from(i % 251).unwrap()));
    bytes.extend(24_u64.to_le_bytes());
    bytes.extend((0..24).flat_map(|_| [1, 2, 3, 4]));
    bytes.extend(number.to_le_bytes());
    bytes.extend([0; 8 + 12 + 12]);
    assert_eq!(bytes.len(), WorkerStats::MAX_BYTES);
    decode(&bytes).unwrap()
}

pub(crate) fn worker(number: u64) -> NodeId {
    NodeId::from_bytes(*blake3::hash(&number.to_be_bytes()).as_bytes())
}

/// The state after a block, with so many workers of which `kbit_s` tells what is known.
pub(crate) fn state(spec: &ChainSpec, height: u64, n_workers: u64) -> State {
    State::genesis(spec).changed(|rows| {
        rows.head.height = Height::new(height);
        rows.head.time = UnixMillis::new(1_000_000 + height * 1_000);
        for number in 0..n_workers {
            rows.put::<Workers>(&worker(number), stats(number + height));
        }
    })
}

/// A chain of one validator in a store, whose blocks are real.
pub(crate) struct Growing {
    pub(crate) spec: Arc<ChainSpec>,
    pub(crate) store: Store,
    pub(crate) state: State,
    _folder: tempfile::TempDir,
}

impl Growing {
    pub(crate) fn new() -> Self {
        let (folder, spec) = (tempfile::tempdir().unwrap(), testing::network());
        let store = Store::open(folder.path(), *spec.id()).unwrap();
        Self { state: State::genesis(&spec), spec, store, _folder: folder }
    }

    /// The block that could come next at a time.
    fn next(&self, now: UnixMillis) -> (CertifiedBlock, Execution) {
        let key = &testing::signing_key(testing::SIGNERS[0]);
        let turn = Turn { key, round: 0, now };
        let (block, applied) = build(&self.spec, &self.state, &Pending::default(), turn).unwrap();
        let (height, hash) = (block.header.height, block.hash());
        let vote = Vote { kind: VoteKind::Precommit, height, round: 0, block: Some(hash) };
        let vote = key.sign_vote(self.spec.id(), vote).into_inner();
        let signatures = vec![(vote.signer, vote.signature)];
        (CertifiedBlock { block, certificate: Certificate { height, round: 0, block: hash, signatures } }, applied)
    }

    /// Stores the next block, which closes an epoch.
    pub(crate) fn grow(&mut self) -> CertifiedBlock {
        self.grow_with(|_| {})
    }

    /// The same with a change of what it changes of the state on disk.
    pub(crate) fn grow_with(&mut self, damage: impl FnOnce(&mut Vec<(Vec<u8>, Option<Vec<u8>>)>)) -> CertifiedBlock {
        let end = self.spec.genesis().epoch_end(self.state.closed().next());
        self.store(end, damage)
    }

    /// Stores the next block, of this time.
    pub(crate) fn grow_at(&mut self, now: UnixMillis) -> CertifiedBlock {
        self.store(now, |_| {})
    }

    fn store(&mut self, now: UnixMillis, damage: impl FnOnce(&mut Vec<(Vec<u8>, Option<Vec<u8>>)>)) -> CertifiedBlock {
        let (decided, mut applied) = self.next(now);
        self.state = applied.state.clone();
        damage(&mut applied.delta.0);
        put_block(&self.store, &decided, applied).unwrap();
        decided
    }

    pub(crate) fn restore(&self) -> Result<Restored, PersistError> {
        restore(&self.spec, &self.store, &self.store.wal().unwrap(), UnixMillis::ZERO)
    }

    /// The newest state with its block, as it is given to others.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let block = header(&self.store, self.state.height()).unwrap().unwrap();
        Snapshot { block: Arc::new(block), state: self.state.clone() }
    }
}

/// Stages the rows of a snapshot.
pub(crate) fn stage(store: &Store, snapshot: &Snapshot) {
    let rows = snapshot.state.encoded_from(Bound::Unbounded).map(|(key, value)| (key.to_vec(), value));
    let progress = snapshot::progress((*snapshot.block).clone());
    store.begin_restore(&progress).unwrap();
    store.put_restored(&rows.collect::<Vec<_>>(), &progress).unwrap();
}

/// A network of four validators, and states that three of them certify.
pub(crate) struct Network {
    pub(crate) chain: Chain,
}

impl Network {
    pub(crate) fn new() -> Self {
        Self { chain: Chain::new() }
    }

    pub(crate) fn spec(&self) -> &Arc<ChainSpec> {
        &self.chain.spec
    }

    /// A certified state of so many workers.
    pub(crate) fn snapshot(&self, height: u64, n_workers: u64) -> Snapshot {
        self.certify(&state(self.spec(), height, n_workers))
    }

    pub(crate) fn certify(&self, state: &State) -> Snapshot {
        let block = self.header(state);
        Snapshot { state: state.clone().after(block.header.hash()), block: Arc::new(block) }
    }

    /// The certified header of the block that leads to a state.
    pub(crate) fn header(&self, state: &State) -> CertifiedHeader {
        self.chain.certified(self.chain.header(state), &QUORUM)
    }
}

/// How often a block changes the validators of a [`Turnover`].
const TERM: u64 = 4;

/// A chain whose validators are replaced one by one, until nobody is left whom the genesis knows. No block of it was executed.
pub(crate) struct Turnover {
    pub(crate) chain: Chain,
    pub(crate) blocks: Vec<CertifiedBlock>,
    pub(crate) changes: Vec<SetChange>,
}

impl Turnover {
    pub(crate) fn new(n_blocks: u64) -> Self {
        let chain = Chain::new();
        let (mut blocks, mut changes) = (Vec::<CertifiedBlock>::new(), Vec::new());
        for height in 1..=n_blocks {
            let mut header = chain.header(&state(&chain.spec, height, 0));
            let after = Self::set(height / TERM);
            header.next_set = after.hash();
            if let Some(parent) = blocks.last() {
                header.parent = parent.block.hash();
            }
            let certified = chain.certified(header.clone(), &Self::signers(height));
            if height.is_multiple_of(TERM) {
                changes.push(SetChange { block: certified.clone(), set: after });
            }
            let block = Block { header, commitments: vec![], reveals: vec![], commands: vec![], evidence: vec![] };
            blocks.push(CertifiedBlock { block, certificate: certified.certificate });
        }
        Self { chain, blocks, changes }
    }

    /// The validators after so many changes: those of the genesis are 1 to 4.
    pub(crate) fn set(n_changes: u64) -> ValidatorSet {
        let first = u8::try_from(n_changes).unwrap() + 1;
        ValidatorSet::new((first..first + 4).map(testing::validator).collect()).unwrap()
    }

    /// The newest three validators of a height.
    pub(crate) fn signers(height: u64) -> [u8; 3] {
        let first = u8::try_from(height.saturating_sub(SET_DELAY) / TERM).unwrap() + 2;
        [first, first + 1, first + 2]
    }

    /// What an honest peer with all of it answers.
    pub(crate) fn answer(&self, request: &SyncRequest) -> Option<SyncResponse> {
        Some(match request {
            SyncRequest::Head => {
                let newest = self.blocks.last().map(|block| block.certificate.clone());
                SyncResponse::Head { newest, oldest: Height::new(1) }
            }
            SyncRequest::Blocks { from, to, .. } => {
                let asked = self.blocks.iter().filter(|it| (*from..=*to).contains(&it.block.header.height));
                let frame = |block: &CertifiedBlock| {
                    let bytes = encode(block);
                    [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes.as_slice()].concat()
                };
                SyncResponse::Blocks(asked.flat_map(frame).collect())
            }
            SyncRequest::SetChanges { above } => {
                let later = self.changes.iter().filter(|change| change.block.header.height > *above);
                SyncResponse::SetChanges(later.cloned().collect())
            }
            _ => return None,
        })
    }
}
