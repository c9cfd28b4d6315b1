//! A discrete-event world of replicas.
//!
//! Every node has a disk that keeps exactly what its effects made durable. A crash can strike before any effect; a
//! monitor watches everything that leaves a node.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Bound;
use std::sync::Arc;

use lucid_consensus::admission::{self, Refusal, View};
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::commands::is_over;
use lucid_consensus::engine::wal::WalEntry;
use lucid_consensus::keyring::Keyring;
use lucid_consensus::ledger::command::{CommandRefused, SignedCommand};
use lucid_consensus::ledger::state::{EpochScores, Rows, State};
use lucid_consensus::ledger::table::{Draws, Equivocations};
use lucid_consensus::replica::{Effect, FinalizedBlock, Gossip, Input, OwnReport, Replica, Restore};
use lucid_types::block::{Block, Item};
use lucid_types::id::{BlockHash, NodeId, ValidatorId};
use lucid_types::log_scale::LogScale;
use lucid_types::message::{CompactProposal, ConsensusMessage};
use lucid_types::network_group::NetworkGroup;
use lucid_types::report::{AssignedWorker, Observation, ScoreReport};
use lucid_types::sync::{CertifiedBlock, SyncRequest};
use lucid_types::time::{Epoch, Height, UnixMillis};

use crate::genesis::{keyring, start, validator_key};
use crate::monitor::{Invariant, Monitor, Sent, Stored};
use crate::pool::{Owner, Promises};

/// What survives a crash.
pub(crate) struct Disk {
    /// The rows of the state.
    pub(crate) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) blocks: BTreeMap<Height, CertifiedBlock>,
    pub(crate) scores: BTreeMap<Epoch, EpochScores>,
    pub(crate) log: Vec<(Height, Vec<u8>)>,
    pub(crate) unsynced: Vec<(Height, Vec<u8>)>,
    pub(crate) own: BTreeMap<Epoch, OwnReport>,
    pub(crate) commands: Vec<SignedCommand>,
}

impl Disk {
    /// That of a node that has no block yet.
    fn new(first: &State) -> Self {
        let rows = first.encoded_from(Bound::Unbounded).map(|(key, value)| (key.to_vec(), value)).collect();
        let (blocks, scores, log, unsynced, own, commands) = Default::default();
        Self { rows, blocks, scores, log, unsynced, own, commands }
    }

    /// The state that a node reads back from it.
    pub(crate) fn state(&self, spec: &ChainSpec) -> State {
        let newest = self.blocks.last_key_value().map(|(_, newest)| &newest.block);
        let hash = newest.map_or_else(|| BlockHash::from(*spec.id()), Block::hash);
        let state = State::from_rows(hash, &self.rows).unwrap();
        assert!(newest.is_none_or(|it| it.header.state_root == state.root()), "what was written is the state");
        state
    }
}

pub(crate) struct Node {
    pub(crate) replica: Option<Replica>,
    pub(crate) disk: Disk,
    /// The validator keys in its home.
    pub(crate) keys: Keyring,
    /// Raised at every crash: what was on its way to the old process is lost.
    pub(crate) life: u32,
    /// Crash before the effect of this number.
    pub(crate) crash_at: Option<u64>,
    pub(crate) effects: u64,
    /// How far its clock is ahead of the world's, in milliseconds.
    pub(crate) ahead: i64,
    reported: BTreeSet<Epoch>,
}

#[expect(clippy::large_enum_variant, reason = "a world holds few events")]
enum Event {
    Deliver(usize, u32, Message),
    Wake(usize, u32),
    /// Ask a peer for newer blocks, as a node's fetcher does every half epoch.
    Poll(usize, u32),
    Boot(usize),
    /// The pool's owner gives a command.
    Owner,
}

#[derive(Clone)]
enum Message {
    /// From this node.
    Gossip(usize, Gossip),
    Decided(Box<CertifiedBlock>),
    Items(Vec<Item>),
    Proposal(usize, Box<CompactProposal>),
    Command(SignedCommand),
}

impl World {
    /// A proposal under way whose block this node has.
    pub(crate) fn proposal(&self, node: usize) -> Option<CompactProposal> {
        let offers = self.nodes[node].replica.as_ref()?.offers();
        self.monitor.proposed().find_map(|(round, hash)| offers.proposal(round, hash))
    }
}

pub(crate) struct World {
    pub(crate) spec: Arc<ChainSpec>,
    /// The state before block 1.
    pub(crate) first: State,
    pub(crate) now: UnixMillis,
    pub(crate) nodes: Vec<Node>,
    pub(crate) monitor: Monitor,
    /// What the chain has promised, checked with every block.
    pub(crate) promises: Promises,
    /// Gives commands while there is one.
    pub(crate) owner: Option<Owner>,
    /// Whether there were commands.
    is_commanded: bool,
    /// What users were told of the commands that they have submitted.
    pub(crate) answers: Vec<(NodeId, u64, Result<(), CommandRefused>)>,
    /// Messages of a hundred that are lost.
    pub(crate) loss: u64,
    /// How long messages take, in milliseconds: from, and up to less than so many more.
    pub(crate) delay: (u64, u64),
    /// How much longer those to a node take.
    late: BTreeMap<usize, u64>,
    /// Nodes below this number and the others do not hear each other.
    cut: Option<usize>,
    /// Nodes with other rules than the rest.
    pub(crate) odd: BTreeMap<usize, Arc<ChainSpec>>,
    /// Crashed nodes come back after this long; never if `None`.
    pub(crate) reboot_after: Option<u64>,
    /// The first node that reboots crashes again before this many further effects.
    pub(crate) crash_again: Option<u64>,
    /// Whether a crash keeps what was appended but not synced.
    pub(crate) keeps_unsynced: bool,
    /// Whether validators report what they measured.
    pub(crate) reports: bool,
    /// Whether nodes ask each other for newer blocks without being told of any.
    pub(crate) polls: bool,
    pub(crate) down: BTreeSet<usize>,
    /// Whom a test lets contradict themselves.
    pub(crate) liars: BTreeSet<ValidatorId>,
    /// Against whom evidence was gossiped.
    accused: BTreeSet<ValidatorId>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    sequence: u64,
    random: u64,
    /// Whether everything has arrived so far, and nobody came back.
    is_calm: bool,
    /// Who proposes first at each height but the first.
    pub(crate) first_turns: BTreeMap<Height, ValidatorId>,
}

impl World {
    /// `count` nodes of a network that begins with three workers in one pool; those beyond its validators follow without a vote.
    pub(crate) fn new(spec: Arc<ChainSpec>, count: usize, seed: u64) -> Self {
        let first = start(&spec).state(&spec);
        Self::beginning(spec, first, count, seed)
    }

    /// The same with another state before block 1.
    pub(crate) fn beginning(spec: Arc<ChainSpec>, first: State, count: usize, seed: u64) -> Self {
        let nodes = (0..count).map(|i| Node {
            replica: None,
            disk: Disk::new(&first),
            keys: keyring(i),
            life: 0,
            crash_at: None,
            effects: 0,
            ahead: 0,
            reported: BTreeSet::new(),
        });
        let now = spec.genesis().genesis_time;
        let mut world = Self {
            nodes: nodes.collect(),
            spec,
            now,
            monitor: Monitor::new(&first),
            first,
            promises: Promises::default(),
            owner: None,
            is_commanded: false,
            answers: Vec::new(),
            loss: 0,
            delay: (5, 60),
            late: BTreeMap::new(),
            cut: None,
            odd: BTreeMap::new(),
            is_calm: true,
            reboot_after: Some(3_000),
            crash_again: None,
            keeps_unsynced: false,
            reports: true,
            polls: true,
            down: BTreeSet::new(),
            liars: BTreeSet::new(),
            accused: BTreeSet::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            first_turns: BTreeMap::new(),
        };
        for node in 0..count {
            world.at(0, Event::Boot(node));
        }
        world
    }

    pub(crate) fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn at(&mut self, after_ms: u64, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now.get() + after_ms, self.sequence)));
        self.events.insert(self.sequence, event);
    }

    pub(crate) fn height(&self, node: usize) -> u64 {
        self.nodes[node].disk.blocks.last_key_value().map_or(0, |(height, _)| height.get())
    }

    pub(crate) fn lowest(&self) -> u64 {
        (0..self.nodes.len()).filter(|i| !self.down.contains(i)).map(|i| self.height(i)).min().unwrap_or(0)
    }

    /// The epoch up to which scores are final on every node that is up.
    pub(crate) fn final_through(&self) -> u64 {
        let of = |node: &Node| node.replica.as_ref().map_or(0, |replica| replica.state().final_through().get());
        (0..self.nodes.len()).filter(|i| !self.down.contains(i)).map(|i| of(&self.nodes[i])).min().unwrap_or(0)
    }

    pub(crate) fn highest(&self) -> u64 {
        (0..self.nodes.len()).map(|i| self.height(i)).max().unwrap_or(0)
    }

    /// [`Self::run`], of which the monitor demands that it gets done.
    pub(crate) fn demand(&mut self, ms: u64, done: impl Fn(&Self) -> bool) {
        if !self.run(ms, done) {
            let heights: Vec<_> = (0..self.nodes.len()).map(|i| self.height(i)).collect();
            self.monitor.note(Invariant::Progress, format!("heights {heights:?} after {ms} ms"));
        }
    }

    /// Runs until `done`, or for `ms` of virtual time; whether it is done.
    pub(crate) fn run(&mut self, ms: u64, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now.get() + ms;
        loop {
            if done(self) {
                return true;
            }
            let Some(Reverse((time, key))) = self.queue.peek().copied() else { return false };
            if time > end {
                self.now = UnixMillis::new(end);
                return false;
            }
            self.queue.pop();
            self.now = UnixMillis::new(time);
            match self.events.remove(&key).unwrap() {
                Event::Boot(node) => self.boot(node),
                Event::Wake(node, life) if self.nodes[node].life == life => self.input(node, Input::Tick),
                Event::Deliver(node, life, message) if self.nodes[node].life == life => self.deliver(node, message),
                Event::Poll(node, life) if self.nodes[node].life == life => self.poll(node),
                Event::Owner => self.give_command(),
                Event::Wake(..) | Event::Deliver(..) | Event::Poll(..) => {}
            }
        }
    }

    /// Starts a node that is down, from its disk.
    pub(crate) fn restart(&mut self, node: usize) {
        self.is_calm = false;
        self.down.remove(&node);
        self.at(0, Event::Boot(node));
    }

    /// Lets messages to a node take so much longer.
    pub(crate) fn slow_down(&mut self, node: usize, ms: u64) {
        self.is_calm = false;
        self.late.insert(node, ms);
    }

    /// Sets right a clock that was ahead or behind. The height under way may have gone wrong already.
    pub(crate) fn set_clock_right(&mut self, node: usize) {
        self.is_calm = false;
        self.nodes[node].ahead = 0;
    }

    /// Keeps messages between the nodes below this number and the others from arriving, or no longer.
    pub(crate) fn cut(&mut self, below: Option<usize>) {
        self.is_calm = false;
        self.cut = below;
    }

    /// Ends a node's process; what was not durable is gone.
    pub(crate) fn kill(&mut self, node: usize) {
        let keeps = self.keeps_unsynced;
        let it = &mut self.nodes[node];
        it.replica = None;
        it.life += 1;
        it.crash_at = None;
        let unsynced = std::mem::take(&mut it.disk.unsynced);
        if keeps {
            it.disk.log.extend(unsynced);
        }
    }

    /// [`Self::kill`], and no reboot.
    pub(crate) fn take_down(&mut self, node: usize) {
        self.kill(node);
        self.down.insert(node);
    }

    fn boot(&mut self, node: usize) {
        if self.down.contains(&node) || self.nodes[node].replica.is_some() {
            return;
        }
        let spec = Arc::clone(self.odd.get(&node).unwrap_or(&self.spec));
        let disk = &self.nodes[node].disk;
        let state = disk.state(&spec);
        let next = state.height().next();
        let entries = disk.log.iter().filter(|(height, _)| *height == next);
        let log: Vec<WalEntry> = entries.map(|(_, entry)| WalEntry::decode(entry).unwrap()).collect();
        let rebroadcast_sequence = u64::from(self.nodes[node].life) << 32;
        let restore = Restore {
            state,
            log,
            own: disk.own.clone(),
            commands: disk.commands.clone(),
            is_listening: false,
            silent_through: Height::ZERO,
            rebroadcast_sequence,
            now: self.clock(node),
        };
        let keys = self.nodes[node].keys.clone();
        self.nodes[node].replica = Some(Replica::restore(spec, keys, restore, true));
        let it = &mut self.nodes[node];
        if it.life > 0 {
            it.crash_at = self.crash_again.take().map(|further| it.effects + further);
        }
        self.input(node, Input::Tick);
        self.poll(node);
    }

    fn poll(&mut self, node: usize) {
        if !self.polls {
            return;
        }
        let from = Height::new(self.height(node)).next();
        self.fetch(node, SyncRequest::Blocks { from, to: Height::new(u64::MAX), skip: 0 });
        let (life, half) = (self.nodes[node].life, self.spec.fixed().epoch_ms / 2);
        self.at(half, Event::Poll(node, life));
    }

    /// Lets the pool's owner give commands from now on.
    pub(crate) fn hire_owner(&mut self) {
        self.owner = Some(Owner::default());
        self.at(0, Event::Owner);
    }

    /// Asks a random node how the pool stands, and sends a few nodes a command: mostly a new one, at times an old one.
    fn give_command(&mut self) {
        let Some(mut owner) = self.owner.take() else { return };
        let asked = self.random_node();
        let state = self.nodes[asked].replica.as_ref().map(|replica| replica.state().clone());
        if let Some(state) = state {
            let spec = Arc::clone(&self.spec);
            let command = owner.command(&spec, &state, |below| self.random(below));
            for _ in 0..1 + self.random(4) {
                let node = self.random_node();
                self.send(node, Message::Command(command.clone()));
            }
        }
        self.owner = Some(owner);
        let pause = 100 + self.random(1_000);
        self.at(pause, Event::Owner);
    }

    fn random_node(&mut self) -> usize {
        let count = u64::try_from(self.nodes.len()).unwrap();
        usize::try_from(self.random(count)).unwrap()
    }

    fn clock(&self, node: usize) -> UnixMillis {
        UnixMillis::new(self.now.get().saturating_add_signed(self.nodes[node].ahead))
    }

    pub(crate) fn input(&mut self, node: usize, input: Input) {
        let now = self.clock(node);
        self.is_commanded |= matches!(input, Input::Command(_) | Input::Submit(_));
        let Some(replica) = &mut self.nodes[node].replica else { return };
        let effects = replica.handle(now, input);
        for effect in effects {
            let it = &mut self.nodes[node];
            it.effects += 1;
            if it.crash_at == Some(it.effects) {
                self.is_calm = false;
                self.kill(node);
                if let Some(after) = self.reboot_after {
                    self.at(after, Event::Boot(node));
                }
                return;
            }
            self.carry_out(node, effect);
        }
        self.report(node);
        let Some(replica) = &self.nodes[node].replica else { return };
        let Some(wake) = replica.next_wakeup(now) else { return };
        let life = self.nodes[node].life;
        self.at(now.until(wake).as_millis().try_into().unwrap_or(1_000).max(1), Event::Wake(node, life));
    }

    fn carry_out(&mut self, node: usize, effect: Effect) {
        let disk = &mut self.nodes[node].disk;
        match effect {
            Effect::AppendLog { height, entry } => {
                self.monitor.logs(node, height, &entry);
                disk.unsynced.push((height, entry.encode()));
            }
            Effect::SyncLog => disk.log.append(&mut disk.unsynced),
            Effect::PersistOwn(own) => {
                let epoch = own.commitment.record.epoch;
                assert!(disk.own.insert(epoch, *own).is_none(), "a second own report for epoch {epoch}");
            }
            Effect::PersistCommand(command) => disk.commands.push(*command),
            Effect::Answer { account, nonce, outcome } => self.answers.push((account, nonce, outcome)),
            Effect::Store(stored) => self.store(node, *stored),
            Effect::Gossip(gossip) => {
                let disk = &self.nodes[node].disk;
                let sent = Sent {
                    node,
                    gossip: &gossip,
                    log: &disk.log,
                    stored: Height::new(self.height(node)),
                    is_right: self.nodes[node].ahead == 0,
                    liars: &self.liars,
                };
                self.monitor.sent(&self.spec, &sent);
                if let Gossip::Evidence(evidence) = &gossip {
                    self.accused.insert(evidence.validator());
                }
                for to in 0..self.nodes.len() {
                    if to != node && self.hear_each_other(node, to) {
                        self.send(to, Message::Gossip(node, gossip.clone()));
                    }
                }
            }
            Effect::CatchUp { to } => {
                let from = Height::new(self.height(node)).next();
                self.fetch(node, SyncRequest::Blocks { from, to, skip: 0 });
            }
            Effect::Fetch { peer, request } => {
                let named = (0..self.nodes.len()).find(|i| peer == Some(validator_key(*i).account()));
                match named {
                    Some(peer) => self.fetch_from(peer, node, request),
                    None => self.fetch(node, request),
                }
            }
            Effect::Fail(failure) => self.monitor.note(Invariant::Failed, format!("node {node}: {failure}")),
        }
    }

    fn store(&mut self, node: usize, stored: FinalizedBlock) {
        let height = stored.decided.block.header.height;
        assert_eq!(height.get(), self.height(node) + 1);
        let first = self.first_turns.get(&height);
        let is_there = |i: usize| !self.down.contains(&i) && self.nodes[i].ahead == 0;
        let is_honest = |key: &ValidatorId| !self.liars.contains(key);
        let can_propose = |key: &ValidatorId| {
            is_honest(key) && (0..self.nodes.len()).any(|i| self.nodes[i].keys.get(key).is_some() && is_there(i))
        };
        self.is_calm &= self.loss == 0;
        // A liar proposes when it likes.
        let proposer = stored.decided.block.header.proposer;
        let after = &stored.applied.state;
        let is_pending = |accused: &ValidatorId| {
            let row = after.validator_account(accused).and_then(|account| after.get::<Equivocations>(&account));
            row.is_none_or(|it| it.proved_in == height)
        };
        let look = Stored {
            block: &stored,
            now: self.now,
            is_calm: self.is_calm && first.is_some_and(can_propose),
            may_be_wanted: self.is_commanded
                || self.liars.contains(&proposer)
                || self.accused.iter().any(is_pending)
                || self.nodes.iter().any(|node| node.ahead != 0),
        };
        self.monitor.stored(&self.spec, &look);
        if let Err(what) = self.promises.watch(&self.spec, &stored) {
            self.monitor.note(Invariant::Roots, what);
        }
        let FinalizedBlock { decided, applied } = stored;
        self.first_turns.insert(height.next(), applied.state.next_proposers().of(0).keys.id);
        let disk = &mut self.nodes[node].disk;
        for (key, value) in applied.delta.0 {
            match value {
                Some(value) => disk.rows.insert(key, value),
                None => disk.rows.remove(&key),
            };
        }
        disk.commands.retain(|command| !is_over(&applied.state, &command.record));
        disk.log.retain(|(h, _)| *h > height);
        disk.unsynced.retain(|(h, _)| *h > height);
        disk.scores.extend(applied.finalised.map(|it| (it.scores.epoch, it.scores)));
        disk.blocks.insert(height, decided);
    }

    fn hear_each_other(&self, a: usize, b: usize) -> bool {
        self.cut.is_none_or(|cut| (a < cut) == (b < cut))
    }

    fn send(&mut self, to: usize, message: Message) {
        if self.down.contains(&to) || self.random(100) < self.loss {
            return;
        }
        let (least, spread) = self.delay;
        let late = self.late.get(&to).copied().unwrap_or(0);
        let (life, delay) = (self.nodes[to].life, least + self.random(spread.max(1)) + late);
        self.at(delay, Event::Deliver(to, life, message));
    }

    /// Asks some other node.
    fn fetch(&mut self, node: usize, request: SyncRequest) {
        let count = self.nodes.len();
        let step = 1 + usize::try_from(self.random(u64::try_from(count - 1).unwrap())).unwrap();
        self.fetch_from((node + step) % count, node, request);
    }

    /// Asks a node and delivers its answer, if it lives.
    fn fetch_from(&mut self, peer: usize, node: usize, request: SyncRequest) {
        if !self.hear_each_other(peer, node) {
            return;
        }
        let it = &self.nodes[peer];
        let Some(replica) = &it.replica else { return };
        let mut answers = Vec::new();
        match request {
            SyncRequest::Presence(_)
            | SyncRequest::Header(_)
            | SyncRequest::Snapshots
            | SyncRequest::SnapshotRows { .. }
            | SyncRequest::Genesis
            | SyncRequest::SetChanges { .. } => {}
            SyncRequest::Head => {
                let newest = it.disk.blocks.values().next_back().map(|decided| decided.certificate.clone());
                answers.extend(newest.map(|certificate| Message::Gossip(peer, Gossip::Certificate(certificate))));
            }
            SyncRequest::Blocks { from, to, .. } => {
                let blocks = it.disk.blocks.range(from..=to).map(|(_, decided)| decided.clone());
                answers.extend(blocks.map(|decided| Message::Decided(Box::new(decided))));
            }
            SyncRequest::Proposal { round, block } => {
                let found = replica.offers().proposal(round, &block);
                answers.extend(found.map(|proposal| Message::Proposal(peer, Box::new(proposal))));
            }
            SyncRequest::Items(ids) => answers.push(Message::Items(replica.offers().items(&ids, usize::MAX))),
            SyncRequest::Reports { epoch, have_commitments, have_reveals } => {
                let reports = replica.offers().reports(epoch, &have_commitments, &have_reveals, usize::MAX);
                answers.extend(reports.into_iter().map(|item| match item {
                    Item::Commitment(commitment) => Message::Gossip(peer, Gossip::Commitment(commitment)),
                    Item::Reveal(reveal) => Message::Gossip(peer, Gossip::Reveal(reveal)),
                    Item::Command(command) => Message::Command(command),
                    Item::Evidence(evidence) => Message::Gossip(peer, Gossip::Evidence(evidence)),
                }));
            }
        }
        for answer in answers {
            self.send(node, answer);
        }
    }

    /// What the gate and the fetcher do: only what is admitted reaches the replica.
    fn deliver(&mut self, node: usize, message: Message) {
        let Some(replica) = &self.nodes[node].replica else { return };
        let view = View { spec: &self.spec, state: replica.state() };
        let arrived = self.clock(node);
        let from = |i: usize| validator_key(i).account();
        let input = match message {
            Message::Gossip(_, Gossip::Commitment(commitment)) => view.commitment(commitment).map(Input::Commitment),
            Message::Gossip(_, Gossip::Reveal(reveal)) => view.reveal(reveal).map(Input::Reveal),
            Message::Gossip(_, Gossip::Consensus(ConsensusMessage::Vote(vote))) => view.vote(vote).map(Input::Vote),
            Message::Gossip(_, Gossip::Consensus(ConsensusMessage::Wake(wake))) => view.wake(wake).map(Input::Wake),
            Message::Gossip(peer, Gossip::Consensus(ConsensusMessage::Proposal(proposal)))
            | Message::Proposal(peer, proposal) => {
                self.monitor.arrived(node, &proposal, self.now);
                let proposal = view.proposal(*proposal);
                proposal.map(|proposal| Input::Proposal { proposal, from: from(peer), arrived })
            }
            Message::Gossip(_, Gossip::Rebroadcast(message)) => view.rebroadcast(message),
            Message::Gossip(_, Gossip::Certificate(certificate)) => {
                view.certificate(view.state.sets(), certificate).map(Input::Certificate)
            }
            Message::Decided(decided) => {
                let height = decided.block.header.height;
                // A node learns of the validators of heights that are far ahead before it judges their blocks.
                let sets = view.state.validators(height).map(|_| view.state.sets());
                let decided = |sets| admission::decided(self.spec.id(), sets, height, *decided);
                sets.ok_or(Refusal::Ignore("unknown-set")).and_then(decided).map(Input::Decided)
            }
            Message::Items(items) => {
                let verified = items.into_iter().map(|item| item.verify(self.spec.id()).unwrap());
                Ok(Input::Items { items: verified.collect(), broken: Vec::new() })
            }
            Message::Command(command) | Message::Gossip(_, Gossip::Command(command)) => {
                view.command(command, arrived).map(Input::Command)
            }
            Message::Gossip(_, Gossip::Evidence(evidence)) => view.evidence(evidence).map(Input::Evidence),
        };
        match input {
            Ok(input) => self.input(node, input),
            Err(Refusal::Ignore(_)) => {}
            Err(Refusal::Reject(reason)) => self.monitor.note(Invariant::Rejected, format!("by {node}: {reason}")),
        }
    }

    /// What the prober hands over for each closed epoch. A process that was not there has seen nothing.
    fn report(&mut self, node: usize) {
        let Some(replica) = self.nodes[node].replica.as_ref().filter(|_| self.reports) else { return };
        // Whoever has become a validator since the draw has no part in it.
        let assigned = |epoch: Epoch| -> Option<Assigned> {
            let draw = replica.state().get::<Draws>(&epoch).unwrap();
            let me = replica.keys().reporter(replica.state(), epoch)?.id();
            let workers = draw.assignment(&me)?.map(|(it, _)| (it.node, it.assigned())).collect();
            let quotas = draw.storage_assignment(&me)?.map(|(it, _)| it.quota).collect();
            let pings = u8::try_from(replica.state().policy(epoch).pings).unwrap();
            Some(Assigned { epoch, pings, workers, quotas })
        };
        let epochs: Vec<_> = replica.epochs_to_report().into_iter().filter_map(assigned).collect();
        for assigned in epochs {
            let it = &mut self.nodes[node];
            let is_first_run = it.reported.insert(assigned.epoch);
            let report = self.measurements(&assigned, is_first_run);
            let mut salt = [0; 32];
            salt.fill_with(|| u8::try_from(self.random(256)).unwrap());
            self.input(node, Input::Report { report, salt });
        }
    }

    fn measurements(&mut self, assigned: &Assigned, has_measured: bool) -> ScoreReport {
        let Assigned { epoch, pings, workers, quotas } = assigned;
        let mut observe = |(worker, it): &(NodeId, AssignedWorker)| {
            let answered = u8::try_from(self.random(u64::from(*pings) + 1)).unwrap();
            let verified = self.random(2);
            // One in eight sees it nowhere.
            let group = if self.random(8) == 0 { NetworkGroup::NONE } else { group_of(worker, *epoch) };
            let observation = Observation {
                pings_sent: *pings,
                pings_answered: answered,
                rtt_us: LogScale::encode(if answered > 0 { 500 + u64::from(answered) } else { 0 }),
                echo_kbit_s: Some(LogScale::encode(verified * 80_000)),
                group: Some(group),
            };
            (*it, has_measured.then_some(observation))
        };
        let seen: Vec<_> = workers.iter().map(&mut observe).collect();
        let mut prove = |quota: &u16| {
            let proved = u16::try_from(self.random(u64::from(*quota) + 1)).unwrap();
            has_measured.then_some(proved)
        };
        let stored: Vec<_> = quotas.iter().map(&mut prove).collect();
        ScoreReport::new(*epoch, &seen, &stored)
    }

    /// Panics if anything was found that may not be. Without a control, it panicked then.
    pub(crate) fn check(&self) {
        assert!(self.monitor.violations.is_empty(), "{:?}", self.monitor.violations);
    }
}

/// What a validator is to measure in an epoch.
struct Assigned {
    epoch: Epoch,
    pings: u8,
    workers: Vec<(NodeId, AssignedWorker)>,
    /// Chunks of each storage seat with the workers of whom it holds some.
    quotas: Vec<u16>,
}

/// Where a worker is in an epoch: at one of two places, at the same for four epochs.
fn group_of(worker: &NodeId, epoch: Epoch) -> NetworkGroup {
    let place = (u64::from(worker.as_bytes()[0]) + epoch.get() / 4) % 2;
    NetworkGroup::from_bytes([0, 0, 9, 9, 9, u8::from(place == 0)])
}
