//! A stored ledger of one validator and two workers in one pool, in which each epoch goes as a test says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::build::{Pending, Turn, build};
use lucid_consensus::ledger::event::Event;
use lucid_consensus::ledger::state::{FinalEpoch, Rows as _, State};
use lucid_consensus::ledger::table::Draws;
use lucid_score::draw::ScoredWorker;
use lucid_score::worker_stats::{ScoreRow, WorkerStats};
use lucid_storage::Store;
use lucid_types::block::Block;
use lucid_types::certificate::Certificate;
use lucid_types::id::{NodeId, PoolId};
use lucid_types::log_scale::LogScale;
use lucid_types::policy::Policy;
use lucid_types::pool::SplitRule;
use lucid_types::report::{Observation, ReportCommitment, Reveal, ScoreReport};
use lucid_types::sync::{CertifiedBlock, CertifiedHeader};
use lucid_types::time::Epoch;
use lucid_types::vote::{Vote, VoteKind};

use super::replay::Replayed;
use crate::chain::head::Head;
use crate::chain::persist::{header, put_block};
use crate::history::ledger::SharedRecord;
use crate::payout::testing::start::Start;
use crate::payout::testing::{self, SIGNERS, USDT, WORKERS, node, pool_id, signing_key};

/// Epochs of a settlement.
pub(crate) const EPOCHS: u64 = 4;

/// How an epoch went for a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    /// It did everything.
    Well,
    /// It did not answer.
    Nothing,
    /// It answered after 200 ms.
    Slow,
    /// It answered, and no echo came back.
    NoEcho,
    /// It answered half of the time.
    HalfAway,
    /// The same, and no echo came back.
    HalfAwayNoEcho,
    /// It proved no chunk.
    NoChunks,
    /// It proved one chunk of each seat.
    OneChunk,
    /// The validator sent nothing.
    NotMeasured,
}

impl Did {
    fn seen(self, has_echo: bool) -> Option<Observation> {
        let (answered, rtt_us, kbit_s) = match self {
            Self::Well | Self::NoChunks | Self::OneChunk => (4, 800, 8_000),
            Self::Nothing => (0, 0, 0),
            Self::Slow => (4, 200_000, 8_000),
            Self::NoEcho => (4, 800, 0),
            Self::HalfAway => (2, 800, 8_000),
            Self::HalfAwayNoEcho => (2, 800, 0),
            Self::NotMeasured => return None,
        };
        Some(Observation {
            pings_sent: 4,
            pings_answered: answered,
            rtt_us: LogScale::encode(rtt_us),
            echo_kbit_s: has_echo.then(|| LogScale::encode(kbit_s)),
            group: None,
        })
    }

    fn proved(self, quota: u16) -> Option<u16> {
        match self {
            Self::Well | Self::Slow | Self::NoEcho | Self::HalfAway | Self::HalfAwayNoEcho => Some(quota),
            Self::Nothing | Self::NoChunks => Some(0),
            Self::OneChunk => Some(1),
            Self::NotMeasured => None,
        }
    }
}

pub(crate) struct Chain {
    pub(crate) spec: ChainSpec,
    pub(crate) state: State,
    pub(crate) finals: BTreeMap<Epoch, FinalEpoch>,
    pub(crate) blocks: Vec<Block>,
    pending: Pending,
    own: BTreeMap<Epoch, Reveal>,
    shared: BTreeMap<u64, SharedRecord>,
    pub(crate) store: Store,
    _folder: tempfile::TempDir,
}

impl Chain {
    /// Both workers declare room for two chunks of each seat.
    pub(crate) fn new(split: SplitRule) -> Self {
        Self::with(split, |_| {})
    }

    pub(crate) fn with(split: SplitRule, change: impl FnOnce(&mut Start)) -> Self {
        let mut start = testing::start();
        start.genesis.policy = Policy::local(Duration::from_secs(5), EPOCHS, None);
        for worker in &mut start.workers {
            worker.capacity.disk_bytes = 16 << 20;
        }
        let pool = &mut start.pools[0];
        (pool.split, pool.members, pool.budget) = (split, WORKERS.map(node).to_vec(), USDT);
        change(&mut start);
        let spec = ChainSpec::new(start.genesis.clone()).unwrap();
        let state = start.state(&spec);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), *spec.id()).unwrap();
        let (finals, blocks, pending, own, shared) = Default::default();
        Self { spec, state, finals, blocks, pending, own, shared, store, _folder: folder }
    }

    pub(crate) fn pool(&self) -> PoolId {
        pool_id(&self.spec)
    }

    pub(crate) fn worker(&self, number: usize) -> NodeId {
        node(WORKERS[number])
    }

    /// Goes on until the scores of this epoch are final.
    pub(crate) fn run(&mut self, last: u64, did: impl Fn(Epoch, usize) -> Did) {
        while self.state.head().scored < Epoch::new(last) {
            self.report(&did);
            self.grow();
        }
    }

    /// Reports on every epoch that waits for reports.
    fn report(&mut self, did: &impl Fn(Epoch, usize) -> Did) {
        let (spec, state, key) = (&self.spec, &self.state, signing_key(SIGNERS[0]));
        let me = key.id();
        for (epoch, _) in state.pending() {
            if !self.own.contains_key(&epoch) {
                let draw = state.get::<Draws>(&epoch).unwrap();
                let did = |worker: &ScoredWorker| {
                    did(epoch, WORKERS.iter().position(|seed| node(*seed) == worker.node).unwrap())
                };
                let assigned = draw.assignment(&me).unwrap().map(|(worker, _)| {
                    let assigned = worker.assigned();
                    (assigned, did(worker).seen(assigned.has_echo))
                });
                let stored = draw.storage_assignment(&me).unwrap();
                let stored: Vec<_> = stored.map(|(worker, _)| did(worker).proved(worker.quota)).collect();
                let report = ScoreReport::new(epoch, &assigned.collect::<Vec<_>>(), &stored);
                let reveal = Reveal { report, salt: [7; 32] };
                let commitment = ReportCommitment { epoch, report: reveal.commitment(spec.id(), &node(SIGNERS[0])) };
                let commitment = key.sign_report_commitment(spec.id(), commitment);
                self.pending.reports.add_commitment(spec, state, commitment);
                self.own.insert(epoch, reveal);
            }
            let reveal = key.sign_report(spec.id(), self.own[&epoch].clone());
            self.pending.reports.add_reveal(spec, state, reveal);
        }
    }

    fn grow(&mut self) {
        let key = &signing_key(SIGNERS[0]);
        let end = self.spec.genesis().epoch_end(self.state.closed().next());
        let is_closing = self.state.pending().next().is_none();
        let now = if is_closing { end } else { self.state.next_time(&self.spec) };
        let (block, applied) = build(&self.spec, &self.state, &self.pending, Turn { key, round: 0, now }).unwrap();
        self.blocks.push(block.clone());
        self.state = applied.state.clone();
        for event in applied.events.clone() {
            if let Event::Shared { settlement, pot, fee, commission, validators, members, split, parts, .. } = event {
                let shared = SharedRecord { pot, fee, commission, validators, members, split, parts };
                self.shared.insert(settlement, shared);
            }
        }
        self.finals.extend(applied.finalised.clone().map(|it| (it.scores.epoch, it)));
        let (height, hash) = (block.header.height, block.hash());
        let vote = Vote { kind: VoteKind::Precommit, height, round: 0, block: Some(hash) };
        let vote = key.sign_vote(self.spec.id(), vote).into_inner();
        let signatures = vec![(vote.signer, vote.signature)];
        let certificate = Certificate { height, round: 0, block: hash, signatures };
        put_block(&self.store, &CertifiedBlock { block, certificate }, applied).unwrap();
        self.pending.reports.prune(&self.spec, &self.state);
    }

    /// The newest block and its state.
    pub(crate) fn head(&self) -> Head {
        let block: Option<CertifiedHeader> = header(&self.store, self.state.height()).unwrap();
        Head { block: block.map(Arc::new), ..testing::head(self.state.clone()) }
    }

    pub(crate) fn shared(&self, settlement: u64) -> &SharedRecord {
        &self.shared[&settlement]
    }

    fn epochs(&self, settlement: u64) -> impl Iterator<Item = (&Epoch, &FinalEpoch)> {
        let first = Epoch::new((settlement - 1) * EPOCHS + 1);
        self.finals.range(first..=Epoch::new(settlement * EPOCHS))
    }

    /// A worker's rows of a settlement.
    pub(crate) fn rows(&self, settlement: u64, worker: usize) -> Vec<(Epoch, ScoreRow)> {
        let worker = self.worker(worker);
        let row = |it: &FinalEpoch| it.scores.rows.iter().find(|row| row.worker == worker).copied();
        self.epochs(settlement).filter_map(|(epoch, it)| Some((*epoch, row(it)?))).collect()
    }

    /// From what they follow.
    pub(crate) fn inputs(&self, settlement: u64, worker: usize) -> (WorkerStats, Vec<Replayed>) {
        let worker = self.worker(worker);
        let before = self.epochs(settlement).find_map(|(_, it)| it.before.iter().find(|(node, _)| *node == worker));
        let replayed = |(epoch, it): (&Epoch, &FinalEpoch)| {
            let row = it.scores.rows.iter().find(|row| row.worker == worker);
            Some(Replayed {
                epoch: *epoch,
                worker: it.draw.scored.iter().find(|scored| scored.node == worker)?.clone(),
                medians: row.map(|row| row.aggregate),
                sharers: row.map_or(1, |row| row.sharers),
            })
        };
        (WorkerStats::clone(&before.unwrap().1), self.epochs(settlement).filter_map(replayed).collect())
    }
}
