//! A discrete-event world of replicas.
//!
//! Every node has a disk that keeps exactly what its effects made durable. A crash can strike before any effect; a
//! monitor watches everything that leaves a node.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::engine::wal::WalEntry;
use lucid_consensus::keyring::Keyring;
use lucid_consensus::ledger::command::{CommandRefused, SignedCommand};
use lucid_consensus::ledger::state::{Rows, State};
use lucid_consensus::replica::{Gossip, Input, Replica, Restore};
use lucid_types::block::Item;
use lucid_types::id::{NodeId, ValidatorId};
use lucid_types::message::CompactProposal;
use lucid_types::sync::{CertifiedBlock, SyncRequest};
use lucid_types::time::{Epoch, Height, UnixMillis};

pub use self::disk::Disk;
use crate::genesis::{keyring, start};
use crate::monitor::{Invariant, Monitor};
use crate::pool::{Owner, Promises};

mod disk;
mod effects;
mod net;
mod report;

/// A node: its process, if it runs, and what it has on disk.
pub struct Node {
    /// Its process.
    pub replica: Option<Replica>,
    /// What survives it.
    pub disk: Disk,
    /// The validator keys in its home.
    pub keys: Keyring,
    /// Raised at every crash: what was on its way to the old process is lost.
    pub life: u32,
    /// Crash before the effect of this number.
    pub crash_at: Option<u64>,
    /// Effects carried out so far.
    pub effects: u64,
    /// How far its clock is ahead of the world's, in milliseconds.
    pub ahead: i64,
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
    pub fn proposal(&self, node: usize) -> Option<CompactProposal> {
        let offers = self.nodes[node].replica.as_ref()?.offers();
        self.monitor.proposed().find_map(|(round, hash)| offers.proposal(round, hash))
    }
}

/// Nodes, what is under way between them, and the time.
pub struct World {
    /// The network.
    pub spec: Arc<ChainSpec>,
    /// The state before block 1.
    pub first: State,
    /// The time by a right clock.
    pub now: UnixMillis,
    /// The nodes by number.
    pub nodes: Vec<Node>,
    /// Watches them.
    pub monitor: Monitor,
    /// What the chain has promised, checked with every block.
    pub promises: Promises,
    /// Gives commands while there is one.
    pub owner: Option<Owner>,
    /// Whether there were commands.
    is_commanded: bool,
    /// What users were told of the commands that they have submitted.
    pub answers: Vec<(NodeId, u64, Result<(), CommandRefused>)>,
    /// Messages of a hundred that are lost.
    pub loss: u64,
    /// How long messages take, in milliseconds: from, and up to less than so many more.
    pub delay: (u64, u64),
    /// How much longer those to a node take.
    late: BTreeMap<usize, u64>,
    /// Nodes below this number and the others do not hear each other.
    cut: Option<usize>,
    /// Nodes with other rules than the rest.
    pub odd: BTreeMap<usize, Arc<ChainSpec>>,
    /// Crashed nodes come back after this long; never if `None`.
    pub reboot_after: Option<u64>,
    /// The first node that reboots crashes again before this many further effects.
    pub crash_again: Option<u64>,
    /// Whether a crash keeps what was appended but not synced.
    pub keeps_unsynced: bool,
    /// Whether validators report what they measured.
    pub reports: bool,
    /// Whether nodes ask each other for newer blocks without being told of any.
    pub polls: bool,
    /// Nodes that do not come back by themselves.
    pub down: BTreeSet<usize>,
    /// Whom a test lets contradict themselves.
    pub liars: BTreeSet<ValidatorId>,
    /// Against whom evidence was gossiped.
    accused: BTreeSet<ValidatorId>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    sequence: u64,
    random: u64,
    /// Whether everything has arrived so far, and nobody came back.
    is_calm: bool,
    /// Who proposes first at each height but the first.
    pub first_turns: BTreeMap<Height, ValidatorId>,
}

impl World {
    /// `count` nodes of a network that begins with three workers in one pool; those beyond its validators follow without a vote.
    pub fn new(spec: Arc<ChainSpec>, count: usize, seed: u64) -> Self {
        let first = start(&spec).state(&spec);
        Self::beginning(spec, first, count, seed)
    }

    /// The same with another state before block 1.
    pub fn beginning(spec: Arc<ChainSpec>, first: State, count: usize, seed: u64) -> Self {
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

    /// The next random number below this one.
    pub fn random(&mut self, below: u64) -> u64 {
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

    /// The newest block that a node has stored.
    pub fn height(&self, node: usize) -> u64 {
        self.nodes[node].disk.blocks.last_key_value().map_or(0, |(height, _)| height.get())
    }

    /// The least of the heights of the nodes that are up.
    pub fn lowest(&self) -> u64 {
        (0..self.nodes.len()).filter(|i| !self.down.contains(i)).map(|i| self.height(i)).min().unwrap_or(0)
    }

    /// The epoch up to which scores are final on every node that is up.
    pub fn final_through(&self) -> u64 {
        let of = |node: &Node| node.replica.as_ref().map_or(0, |replica| replica.state().final_through().get());
        (0..self.nodes.len()).filter(|i| !self.down.contains(i)).map(|i| of(&self.nodes[i])).min().unwrap_or(0)
    }

    /// The greatest height of any node.
    pub fn highest(&self) -> u64 {
        (0..self.nodes.len()).map(|i| self.height(i)).max().unwrap_or(0)
    }

    /// [`Self::run`], of which the monitor demands that it gets done.
    pub fn demand(&mut self, ms: u64, done: impl Fn(&Self) -> bool) {
        if !self.run(ms, done) {
            let heights: Vec<_> = (0..self.nodes.len()).map(|i| self.height(i)).collect();
            self.monitor.note(Invariant::Progress, format!("heights {heights:?} after {ms} ms"));
        }
    }

    /// Runs until `done`, or for `ms` of virtual time; whether it is done.
    pub fn run(&mut self, ms: u64, done: impl Fn(&Self) -> bool) -> bool {
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
    pub fn restart(&mut self, node: usize) {
        self.is_calm = false;
        self.down.remove(&node);
        self.at(0, Event::Boot(node));
    }

    /// Lets messages to a node take so much longer.
    pub fn slow_down(&mut self, node: usize, ms: u64) {
        self.is_calm = false;
        self.late.insert(node, ms);
    }

    /// Sets right a clock that was ahead or behind. The height under way may have gone wrong already.
    pub fn set_clock_right(&mut self, node: usize) {
        self.is_calm = false;
        self.nodes[node].ahead = 0;
    }

    /// Keeps messages between the nodes below this number and the others from arriving, or no longer.
    pub fn cut(&mut self, below: Option<usize>) {
        self.is_calm = false;
        self.cut = below;
    }

    /// Ends a node's process; what was not durable is gone.
    pub fn kill(&mut self, node: usize) {
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
    pub fn take_down(&mut self, node: usize) {
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
    pub fn hire_owner(&mut self) {
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

    /// Something happens to a node.
    pub fn input(&mut self, node: usize, input: Input) {
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

    /// Panics if anything was found that may not be. Without a control, it panicked then.
    pub fn check(&self) {
        assert!(self.monitor.violations.is_empty(), "{:?}", self.monitor.violations);
    }
}
