//! The clock of a run: events in the order of their times, settlements and blocks.

use std::collections::{BTreeMap, BTreeSet};

use lucid_tron_bridge::pusher::{Effect, Input, Outcome};
use lucid_tron_bridge::trc20;
use lucid_types::amount::MicroUsdt;
use lucid_types::payout::VaultLimits;

use super::alarm::Watch;
use super::base::{BLOCK_MS, Base, N_SIGNERS, SOLID_LAG, START, USDT};
use super::end::Stage;
use super::ledger::{Elected, Ledger, account_id, recipient};
use super::node::Node;
use super::plan::{Action, Defect, Faults, LEADER_TIMEOUT, Plan};
use super::random::Random;
use super::stats::Stats;
use super::theft::{THIEF, Theft};
use super::trace::Trace;
use super::treasury::Treasury;
use super::tron::Tron;
use super::violation::{Rule, Violation};

/// Time between blocks when nothing happens.
const QUIET_BLOCK_MS: u64 = 15_000;

/// Something that happens at a time.
#[derive(Debug)]
pub(super) enum Event {
    Block,
    Settle,
    /// A state of the ledger is final for a node.
    TellNode {
        node: usize,
        state: usize,
    },
    /// As above, for a signer's node.
    TellSigner {
        signer: usize,
        state: usize,
    },
    /// A request of a node arrives.
    Execute {
        node: usize,
        life: u64,
        effect: Box<Effect>,
    },
    /// An answer arrives.
    Answer {
        node: usize,
        life: u64,
        input: Box<Input>,
    },
    Restart {
        node: usize,
    },
    SignerUp {
        signer: usize,
    },
    /// Blocks are solidified again.
    Solidify,
    /// Transactions of dropped blocks come back.
    Orphans,
    Act(Action),
    /// Faults end.
    Heal,
}

/// A run.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: u64,
    pub(super) plan: Plan,
    pub(super) random: Random,
    pub(super) trace: Trace,
    pub(super) stats: Stats,
    pub(super) tron: Tron,
    pub(super) ledger: Ledger,
    pub(super) treasury: Treasury,
    pub(super) nodes: Vec<Node>,
    pub(super) watch: Watch,
    pub(super) theft: Option<Theft>,
    /// Signers that signed a root that their nodes made up, by era and settlement.
    pub(super) forged: BTreeMap<(u32, u64), BTreeSet<usize>>,
    /// Addresses that each account has had.
    pub(super) n_addresses: BTreeMap<usize, u64>,
    queue: BTreeMap<(u64, u64), Event>,
    n_queued: u64,
    pub(super) stage: Stage,
    /// Settlements that are still to come.
    pub(super) n_to_settle: usize,
    /// No pusher had any budget left when everything was to be paid: from then on the workers claim.
    pub(super) is_spent: bool,
    /// Blocks were replaced since the last check.
    is_forked: bool,
}

impl World {
    pub(super) fn new(plan: Plan, mut random: Random, keeps_trace: bool) -> Result<Self, Violation> {
        let base = Base::of(plan.base).map_err(|problem| Rule::Setup.broken(problem))?;
        let limits = VaultLimits { cap: MicroUsdt::new(plan.base.cap), push_fee: MicroUsdt::new(plan.base.push_fee) };
        let mut ledger = Ledger::new(base.domain, plan.n_accounts, plan.threshold, base.signers.clone(), limits);
        for account in &plan.unpayable {
            let to = random.pick(&[base.token, base.domain.vault]).unwrap_or(base.token);
            ledger.change_address(*account, to);
        }
        let ids = (0..plan.n_accounts).chain([THIEF]).map(account_id).collect();
        let tron = Tron::new(std::sync::Arc::clone(&base), ids)?;
        let mut treasury = Treasury::new(base.domain, &base.keys, plan.defect == Some(Defect::NoWatermark));
        plan.evil_signers.iter().for_each(|signer| treasury.set_evil(*signer, true));
        plan.careful_signers.iter().for_each(|signer| treasury.keep_second_copy(*signer));
        let mut nodes = Vec::new();
        for (number, node) in plan.nodes.iter().enumerate() {
            let config = plan.pusher_config(&base, number, node);
            let (Some(config), Some(key)) = (config, base.keys.gas.get(number)) else { continue };
            let mut made = Node::new(config, key.clone(), node.groups.clone(), node.skew, START);
            made.is_twin = node.is_twin;
            nodes.push(made);
        }
        let mut world = Self {
            now: START,
            plan,
            random,
            trace: Trace::new(keeps_trace),
            stats: Stats::default(),
            tron,
            ledger,
            treasury,
            nodes,
            watch: Watch::default(),
            theft: None,
            forged: BTreeMap::new(),
            n_addresses: BTreeMap::new(),
            queue: BTreeMap::new(),
            n_queued: 0,
            stage: Stage::Faulty,
            n_to_settle: 0,
            is_spent: false,
            is_forked: false,
        };
        world.fund(world.plan.funds)?;
        world.schedule(BLOCK_MS, Event::Block);
        for at in world.plan.settlements.clone() {
            world.schedule_settlement(at);
        }
        for (at, action) in world.plan.actions.clone() {
            world.schedule(at, Event::Act(action));
        }
        world.schedule(world.plan.heal_at, Event::Heal);
        world.describe_plan();
        Ok(world)
    }

    fn describe_plan(&mut self) {
        let Plan { families, faults, base, .. } = self.plan.clone();
        let (n_accounts, threshold) = (self.plan.n_accounts, self.plan.threshold);
        self.note(format_args!("{n_accounts} accounts, threshold {threshold}, {families:?}"));
        self.note(format_args!("{faults:?} {base:?}, signers {} evil", self.plan.evil_signers.len()));
        for n in 0..self.plan.nodes.len() {
            if let Some(node) = self.plan.nodes.get(n).cloned() {
                self.note(format_args!("node {n}: {node:?}"));
            }
        }
    }

    // ---- time ------------------------------------------------------------------------------------------------------

    /// Lets everything happen. Ends when everything is paid and everybody rests.
    pub(super) fn run(&mut self) -> Result<(), Violation> {
        loop {
            let event = self.queue.first_key_value().map(|((at, _), _)| *at);
            let wake = self.nodes.iter().enumerate().filter_map(|(n, node)| Some((node.wake?, n))).min();
            match wake {
                Some((at, n)) if event.is_none_or(|event| at < event) => {
                    self.now = self.now.max(at);
                    self.feed(n, Input::Tick)?;
                }
                _ => {
                    let Some(((at, _), event)) = self.queue.pop_first() else { return Ok(()) };
                    self.now = self.now.max(at);
                    let is_block = matches!(event, Event::Block);
                    self.happen(event)?;
                    if is_block && self.is_over()? {
                        return Ok(());
                    }
                }
            }
        }
    }

    pub(super) fn schedule(&mut self, delay: u64, event: Event) {
        self.n_queued += 1;
        self.queue.insert((self.now + delay, self.n_queued), event);
    }

    pub(super) fn schedule_settlement(&mut self, delay: u64) {
        self.n_to_settle += 1;
        self.schedule(delay, Event::Settle);
    }

    pub(super) fn note(&mut self, text: std::fmt::Arguments<'_>) {
        self.trace.note(self.now - START, text);
    }

    pub(super) fn is_faulty(&self) -> bool {
        self.stage == Stage::Faulty
    }

    /// The faults in force.
    pub(super) fn faults(&self) -> Faults {
        if self.is_faulty() { self.plan.faults } else { Faults::default() }
    }

    /// How long a message is under way.
    pub(super) fn latency(&mut self) -> u64 {
        let most = self.faults().delay;
        5 + self.random.below(80) + if self.random.percent(30) { self.random.below(most) } else { 0 }
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Block => self.block(),
            Event::Settle => self.settle(),
            Event::TellNode { node, state } => self.tell_node(node, state),
            Event::TellSigner { signer, state } => {
                self.treasury.learn(signer, state);
                Ok(())
            }
            Event::Execute { node, life, effect } => self.execute(node, life, *effect),
            Event::Answer { node, life, input } => {
                if self.nodes.get(node).is_some_and(|node| node.life == life) {
                    self.feed(node, *input)
                } else {
                    Ok(())
                }
            }
            Event::Restart { node } => self.restart(node),
            Event::SignerUp { signer } => {
                self.treasury.set_up(signer, true);
                Ok(())
            }
            Event::Solidify => {
                self.tron.set_solidifies(true);
                Ok(())
            }
            Event::Orphans => {
                self.tron.send_orphans();
                // The token may have been told once more to refuse somebody.
                if self.is_faulty() { Ok(()) } else { self.let_token_pay() }
            }
            Event::Act(action) => self.act(action),
            Event::Heal => self.heal(),
        }
    }

    // ---- the ledger ------------------------------------------------------------------------------------------------

    fn settle(&mut self) -> Result<(), Violation> {
        self.n_to_settle -= 1;
        let mut order: Vec<_> = (0..self.nodes.len()).map(Elected::Node).collect();
        if self.plan.families.evil {
            order.push(Elected::Villain);
        }
        self.random.shuffle(&mut order);
        // Not all are elected.
        let n_elected = self.random.index(order.len()) + 1;
        order.truncate(n_elected);
        let leader = match order.first() {
            Some(Elected::Node(n)) => self.nodes.get(*n).map(|node| node.config.gas_address),
            Some(Elected::Villain) => Some(self.tron.base.keys.villain.address()),
            None => None,
        };
        let until = (self.now + u64::try_from(LEADER_TIMEOUT.as_millis()).unwrap_or_default()).div_ceil(1_000);
        self.ledger.settle(&mut self.random, order.clone(), leader, until)?;
        self.stats.settlements += 1;
        let newest = self.ledger.current().newest;
        let (number, total) = newest.map_or((0, 0), |newest| (newest.settlement, newest.total.get()));
        self.note(format_args!("settlement {number}, total {total}, elected {order:?}"));
        self.publish();
        Ok(())
    }

    /// The newest state of the ledger becomes known.
    pub(super) fn publish(&mut self) {
        let state = self.ledger.newest();
        let slow = if self.is_faulty() && self.plan.families.network { 15_000 } else { 1_000 };
        for node in 0..self.nodes.len() {
            let delay = self.random.below(slow);
            self.schedule(delay, Event::TellNode { node, state });
        }
        for signer in 0..N_SIGNERS {
            let delay = self.random.below(slow);
            self.schedule(delay, Event::TellSigner { signer, state });
        }
    }

    // ---- blocks ----------------------------------------------------------------------------------------------------

    fn block(&mut self) -> Result<(), Violation> {
        if self.random.percent(self.faults().fork) {
            let most = if self.random.percent(20) { 40 } else { SOLID_LAG };
            let depth = self.random.between(1, most);
            let depth = self.tron.fork(depth)?;
            self.stats.forks += 1;
            self.stats.seen.count("fault", if depth > SOLID_LAG { "a deep fork" } else { "a fork" });
            self.is_forked = true;
            self.note(format_args!("the newest {depth} blocks are replaced"));
            if self.random.percent(60) {
                let delay = self.random.below(20_000);
                self.schedule(delay, Event::Orphans);
            } else {
                self.tron.forget_orphans();
            }
        }
        if self.random.percent(self.faults().energy) {
            let factor = self.random.pick(&[10_000, 12_000, 20_000, 34_000, 100_000]).unwrap_or(10_000);
            self.tron.set_energy_factor(factor);
        }
        let block = self.tron.produce(self.now)?;
        let (number, n_transactions) = (block.reference.number, block.n_transactions);
        self.stats.blocks += 1;
        self.stats.transactions += u64::try_from(n_transactions).unwrap_or_default();
        if n_transactions > 0 {
            self.note(format_args!("block {number} with {n_transactions} transactions"));
        }
        for ended in self.tron.take_ended() {
            match &ended.outcome {
                Outcome::Reverted(revert) => self.stats.seen.count_variant(ended.what, revert),
                other => self.stats.seen.count_variant(ended.what, other),
            }
        }
        for reason in self.tron.take_skipped() {
            self.stats.seen.count_variant("skipped", &reason);
        }
        for (tx_id, why) in self.tron.take_dropped() {
            self.note(format_args!("{} has become impossible: {why}", tx_id.short()));
        }
        if n_transactions > 0 || std::mem::take(&mut self.is_forked) {
            self.check()?;
        }
        self.check_is_told()?;
        self.after_block()?;
        let lag = usize::try_from(SOLID_LAG).unwrap_or_default();
        let is_quiet = !self.is_faulty() && self.tron.n_pending() == 0 && self.tron.n_quiet() > lag + 2;
        self.schedule(if is_quiet { QUIET_BLOCK_MS } else { BLOCK_MS }, Event::Block);
        Ok(())
    }

    // ---- money ------------------------------------------------------------------------------------------------------

    /// Changes where an account is paid, from the next root on.
    pub(super) fn move_account(&mut self, account: usize) {
        let n = self.n_addresses.entry(account).or_default();
        *n += 1;
        let to = recipient(account, *n);
        if !self.plan.unpayable.contains(&account) {
            self.ledger.change_address(account, to);
        }
    }

    pub(super) fn fund(&mut self, micro_usdt: u64) -> Result<(), Violation> {
        let (token, vault) = (self.tron.base.token, self.tron.base.domain.vault);
        let data = trc20::transfer(&vault, MicroUsdt::new(micro_usdt));
        let issuer = self.tron.base.keys.issuer.clone();
        self.note(format_args!("the vault gets {} USDT", micro_usdt / USDT));
        self.tron.send(&issuer, token, "funds", data).map(drop)
    }
}
