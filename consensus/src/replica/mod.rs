//! One node's replica: the ledger, the engine if the node is a validator, and what waits for the next block.
//!
//! [`Replica::handle`] takes the time and an input and returns effects, to be carried out strictly in order. The
//! shell calls it with [`Input::Tick`] at [`Replica::next_wakeup`].
//!
//! ```text
//!  an epoch has ended, a window is open, or an item waits ──▶ Wake ──▶ the engine starts the next height
//!  own turn ──▶ wait for reports, at most the grace ──▶ proposal ──▶ votes ──▶ Decided
//!  Decided, certificate or sync ──▶ adopt: Store in one batch
//!      ├─ it closed an epoch ──▶ Report ──▶ own commitment: persisted, gossiped
//!      └─ a reveal window opens ──▶ own reveal: gossiped
//! ```

mod chain;
mod epochs;
mod recent;
mod rounds;
mod types;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use lucid_types::block::Block;
use lucid_types::certificate::Certificate;
use lucid_types::id::{BlockHash, NodeId};
use lucid_types::key::NodeKey;
use lucid_types::signed::Verified;
use lucid_types::time::{Epoch, Height, UnixMillis};

pub use crate::replica::types::{Effect, Gossip, Input, OwnReport, Restore, RoundMessage, Stored};

use crate::commands::PendingCommands;
use crate::engine::Engine;
use crate::engine::wal::WalEntry;
use crate::ledger::archive::Archive;
use crate::ledger::check::InvalidBlock;
use crate::ledger::execute::Applied;
use crate::ledger::state::State;
use crate::network::Network;
use crate::replica::recent::Recent;
use crate::reports::{Reports, awaits_commitment};

/// Bodies kept for the next height, and for the one after it.
const MAX_CANDIDATES: usize = 64;
const MAX_EARLY: usize = 16;
/// Bodies of one height that one validator may have this node wait for: more than it honestly proposes while they are
/// fetched. Its later ones push out its earlier ones, and nobody's push out another's.
const MAX_MISSING_EACH: usize = 4;
/// Bodies that no proposal has announced yet: anyone can send one. The oldest makes room; what is pushed out is asked
/// for by hash when its proposal comes.
const MAX_UNANNOUNCED: usize = 8;

/// A proposed block of the next height.
#[derive(Debug)]
struct Candidate {
    block: Verified<Block>,
    /// Who announced it, as far as this node knows.
    from: Option<NodeId>,
    /// The rounds it is proposed in, of which the engine has been told.
    rounds: BTreeSet<u32>,
    /// `None` until it has been executed.
    outcome: Option<Result<Applied, InvalidBlock>>,
}

/// A proposed block that is not here yet.
#[derive(Clone, Debug)]
struct Missing {
    height: Height,
    /// The rounds that its announcer proposes it in.
    rounds: BTreeSet<u32>,
    ask_at: UnixMillis,
}

/// One node's replica.
pub struct Replica {
    network: Arc<Network>,
    key: NodeKey,
    archive: Recent,
    state: State,
    engine: Option<Engine>,
    /// Whether the engine has been started on the next height.
    started: bool,
    /// The engine's log of the next height, read from disk after a restart.
    log: Vec<WalEntry>,
    /// What this node built to propose, by round of the next height.
    built: BTreeMap<u32, BlockHash>,
    /// A round of this node's, whose block waits for reports.
    build_wanted: Option<u32>,
    reports: Reports,
    commands: PendingCommands,
    own: BTreeMap<Epoch, OwnReport>,
    candidates: BTreeMap<BlockHash, Candidate>,
    /// By who announced it.
    missing: BTreeMap<(NodeId, BlockHash), Missing>,
    early: Vec<Verified<Block>>,
    unannounced: VecDeque<Verified<Block>>,
    /// The first proposal of each round without a proof-of-lock, and when it came.
    arrivals: BTreeMap<u32, (BlockHash, UnixMillis)>,
    /// Blocks whose time is not what the clock said when they were proposed. The engine is told of them when it waits for the
    /// round's proposal no longer.
    untimely: BTreeSet<(u32, BlockHash)>,
    /// A certificate for the next height whose block is not here yet.
    certified: Option<Verified<Certificate>>,
    /// Whether a peer has sent something of the next height's rounds.
    heard: bool,
    /// The same of the height after it: this node is a block behind.
    heard_next: bool,
    /// When the newest block was adopted, by the local clock.
    adopted_at: UnixMillis,
    /// When to ask peers for commitments and reveals again.
    pull_at: Option<UnixMillis>,
    liveness_sequence: u64,
    /// The time of the last call.
    clock: UnixMillis,
}

impl Replica {
    /// A replica that goes on from what is stored. It votes if `may_vote` and its key is a validator's.
    pub fn restore(
        network: Arc<Network>,
        key: NodeKey,
        archive: Arc<dyn Archive + Send + Sync>,
        stored: Restore,
        may_vote: bool,
    ) -> Self {
        let Restore { state, log, own, liveness_sequence, now } = stored;
        let next = state.height.next();
        let set = network.validators(next);
        let is_validator = may_vote && set.get(&key.node_id()).is_some();
        let engine = is_validator.then(|| Engine::new(*network.id(), key.clone(), set, state.height, network.policy()));
        let archive = Recent::new(archive, network.policy().report_window);
        let mut replica = Self {
            network,
            key,
            archive,
            state,
            engine,
            started: false,
            log,
            built: BTreeMap::new(),
            build_wanted: None,
            reports: Reports::default(),
            commands: PendingCommands::default(),
            own,
            candidates: BTreeMap::new(),
            missing: BTreeMap::new(),
            early: Vec::new(),
            unannounced: VecDeque::new(),
            arrivals: BTreeMap::new(),
            untimely: BTreeSet::new(),
            certified: None,
            heard: false,
            heard_next: false,
            adopted_at: now,
            pull_at: None,
            liveness_sequence,
            clock: now,
        };
        replica.restore_log();
        replica.restore_own();
        replica
    }

    /// The state after the newest block.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Commitments and reveals that wait for a block.
    pub const fn reports(&self) -> &Reports {
        &self.reports
    }

    /// A proposed block of the next height, for a peer that asks for it.
    pub fn candidate(&self, block: &BlockHash) -> Option<&Block> {
        self.candidates.get(block).map(|candidate| &*candidate.block)
    }

    /// Whether this node votes.
    pub const fn is_validator(&self) -> bool {
        self.engine.is_some()
    }

    /// The closed epochs for which this validator has no commitment, and a block could still carry one.
    pub fn epochs_to_report(&self) -> Vec<Epoch> {
        if self.engine.is_none() {
            return Vec::new();
        }
        let me = self.key.node_id();
        let is_open = |epoch: &Epoch| awaits_commitment(&self.network, &self.state, (*epoch, me));
        self.state.pending.keys().filter(|epoch| is_open(epoch) && !self.own.contains_key(epoch)).copied().collect()
    }

    /// Handles an input; the effects are to be carried out in order.
    #[must_use]
    pub fn handle(&mut self, now: UnixMillis, input: Input) -> Vec<Effect> {
        self.follow_clock(now);
        let mut effects = Vec::new();
        match input {
            Input::Tick => {}
            Input::Commitment(commitment) => {
                self.reports.add_commitment(&self.network, &self.state, commitment);
            }
            Input::Reveal(reveal) => {
                self.reports.add_reveal(&self.network, &self.state, reveal);
            }
            Input::Consensus(message) => self.on_consensus(now, &message, &mut effects),
            Input::Repeated(message) => self.on_repeated(now, &message, &mut effects),
            Input::Body(block) => self.on_body(now, block, &mut effects),
            Input::Certificate(certificate) => self.on_certificate(now, certificate, &mut effects),
            Input::Decided(decided) => self.on_decided(now, decided, &mut effects),
            Input::Command(command) => {
                self.commands.add(&self.network, &self.state, command);
            }
            Input::Report { report, salt } => self.on_report(report, salt, &mut effects),
        }
        self.proceed(now, &mut effects);
        effects
    }

    /// A clock that was set back takes what waits with it: a wait is then at most as long again, never as long as the
    /// leap. Epochs stay where the genesis puts them.
    fn follow_clock(&mut self, now: UnixMillis) {
        let back = now.until(self.clock);
        self.clock = now;
        if back.is_zero() {
            return;
        }
        self.adopted_at = self.adopted_at.before(back);
        self.pull_at = self.pull_at.map(|at| at.before(back));
        self.missing.values_mut().for_each(|missing| missing.ask_at = missing.ask_at.before(back));
        if let Some(engine) = &mut self.engine {
            engine.shift_timeouts(back);
        }
    }

    /// Everything that time or newly arrived reports make possible.
    fn proceed(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        loop {
            let height = self.state.height;
            self.start_if_due(now, effects);
            self.build_if_wanted(now, effects);
            self.tick_engine(now, effects);
            self.announce_untimely(now, effects);
            // A block may have been decided whose successor is due already.
            if self.state.height == height {
                break;
            }
        }
        self.ask_for_missing(now, effects);
    }

    /// When [`Input::Tick`] is due next; always after `now`, at which the replica has just been called.
    pub fn next_wakeup(&self, now: UnixMillis) -> Option<UnixMillis> {
        let engine = self.engine.as_ref().filter(|_| self.started).and_then(Engine::next_timeout);
        let next = self.state.height.next();
        let missing = self.missing.values().filter(|m| m.height == next).map(|missing| missing.ask_at).min();
        let build = self.build_wanted.map(|_| self.grace_end());
        [engine, missing, self.pull_at, self.next_start(now), build].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// Whether the engine works on the next height.
    fn is_running(&self) -> bool {
        self.started && self.engine.is_some()
    }

    /// An error of the engine's core since the last call: a defect, to be logged loudly.
    pub fn take_failure(&mut self) -> Option<String> {
        self.engine.as_mut().and_then(Engine::take_failure)
    }

    /// The round of the height under way.
    pub fn round(&self) -> Option<u32> {
        self.engine.as_ref().filter(|_| self.started).and_then(Engine::round)
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let next = self.state.height.next();
        f.debug_struct("Replica").field("next", &next).field("started", &self.started).finish_non_exhaustive()
    }
}
