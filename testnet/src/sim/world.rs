//! The clock of a run: events in the order of their times, blocks, what is checked after each, and when it is over.

use std::collections::BTreeMap;

use lucid_tron_bridge::client::Revert;
use lucid_tron_bridge::pusher::{Effect, Input, Phase};
use lucid_tron_bridge::vault::{Skip, VaultRevert};
use lucid_types::amount::MicroUsdt;
use lucid_types::payout::VaultLimits;
use lucid_types::payout_tree::{AccountId, OwedAccount};

use super::actors::Theft;
use super::base::{BLOCK_MS, Base, N_SIGNERS, SOLID_LAG, START, USDT};
use super::ledger::{Elected, Ledger, account_id, recipient};
use super::node::Node;
use super::plan::{Action, Defect, Faults, LEADER_TIMEOUT, Plan, Survivors};
use super::random::Random;
use super::scenario::Scenario;
use super::stats::Stats;
use super::trace::Trace;
use super::treasury::Treasury;
use super::tron::Tron;
use super::violation::{Rule, Violation};

/// How long everything due may take to be paid once faults have ended.
const PAY_MS: u64 = 2 * 60 * 60 * 1_000;
/// How long pushers may take to come to rest then.
const REST_MS: u64 = 2 * 60 * 60 * 1_000;
/// When workers claim if no pusher is left.
const CLAIM_AFTER_MS: u64 = 30_000;
/// Without any fault, how long after the last settlement.
const CALM_PAY_MS: u64 = 150_000;
/// Time between blocks when nothing happens.
const QUIET_BLOCK_MS: u64 = 15_000;
/// The account that thieves make up.
pub(super) const THIEF: usize = 200;

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

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Faulty,
    /// Since then there are no faults.
    Paying(u64),
    /// Since then everything is paid.
    Resting(u64),
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
    pub(super) theft: Option<Theft>,
    /// Addresses that each account has had.
    pub(super) n_addresses: BTreeMap<usize, u64>,
    queue: BTreeMap<(u64, u64), Event>,
    n_queued: u64,
    stage: Stage,
    /// Blocks were replaced since the last check.
    is_forked: bool,
}

impl World {
    pub(super) fn new(seed: u64, scenario: Scenario, keeps_trace: bool) -> Result<Self, Violation> {
        let mut random = Random::new(seed);
        let plan = Plan::draw(scenario, &mut random);
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
            theft: None,
            n_addresses: BTreeMap::new(),
            queue: BTreeMap::new(),
            n_queued: 0,
            stage: Stage::Faulty,
            is_forked: false,
        };
        world.fund(world.plan.funds)?;
        world.schedule(BLOCK_MS, Event::Block);
        for at in world.plan.settlements.clone() {
            world.schedule(at, Event::Settle);
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
                Ok(())
            }
            Event::Act(action) => self.act(action),
            Event::Heal => self.heal(),
        }
    }

    // ---- the ledger ------------------------------------------------------------------------------------------------

    fn settle(&mut self) -> Result<(), Violation> {
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
        for (tx_id, why) in self.tron.take_dropped() {
            self.note(format_args!("{} has become impossible: {why}", tx_id.short()));
        }
        if n_transactions > 0 || std::mem::take(&mut self.is_forked) {
            self.check()?;
        }
        self.after_block()?;
        let lag = usize::try_from(SOLID_LAG).unwrap_or_default();
        let is_quiet = !self.is_faulty() && self.tron.n_pending() == 0 && self.tron.n_quiet() > lag + 2;
        self.schedule(if is_quiet { QUIET_BLOCK_MS } else { BLOCK_MS }, Event::Block);
        Ok(())
    }

    fn check(&self) -> Result<(), Violation> {
        let block = self.tron.head();
        let has_theft = self.theft.is_some();
        let thief = account_id(THIEF);
        let owed = |id: &AccountId| if *id == thief && has_theft { None } else { self.ledger.owed(id).or(Some(0)) };
        let everybody = block.state.snapshot(&block.state.paid.keys().copied().collect::<Vec<_>>());
        self.tron.books.check(&everybody, owed, has_theft)?;
        for (to, held) in &self.tron.books.received {
            let balance = self.tron.token_balance(to);
            // Deposits are no payments; the vault's own balance is checked with its sums.
            if balance != *held && *to != self.tron.base.domain.vault {
                return Err(Rule::Balance.broken(format!("{to} holds {balance}, was paid {held}")));
            }
        }
        for posted in &block.facts.posted {
            let issued = self.ledger.issued(posted.settlement, &posted.root);
            if issued.is_none_or(|issued| posted.total > issued.root.total || posted.fees > issued.root.fees)
                && !has_theft
            {
                return Err(Rule::Root.broken(format!("{posted:?} was never issued")));
            }
        }
        for (n, node) in self.nodes.iter().enumerate() {
            let burnt = self.tron.books.burnt(&node.config.gas_address).saturating_sub(node.burnt_before);
            if burnt > node.config.max_per_day.get() {
                let max = node.config.max_per_day;
                return Err(Rule::Fees.broken(format!("node {n} has spent {burnt} of {max} sun in a day")));
            }
        }
        Ok(())
    }

    // ---- the end ---------------------------------------------------------------------------------------------------

    /// Faults have ended.
    fn heal(&mut self) -> Result<(), Violation> {
        self.stage = Stage::Paying(self.now);
        self.note(format_args!("faults end"));
        self.mend_once()?;
        for n in 0..self.nodes.len() {
            let lives = match self.plan.survivors {
                Survivors::All => true,
                Survivors::One(survivor) => n == survivor,
                Survivors::Nobody => false,
            };
            if lives {
                self.restart(n)?;
            } else {
                self.crash(n, 0);
                self.nodes.iter_mut().skip(n).take(1).for_each(|node| node.is_gone = true);
            }
        }
        if self.plan.is_misled() {
            self.schedule(60_000, Event::Settle);
        }
        for signer in 0..N_SIGNERS {
            self.treasury.set_up(signer, true);
            self.treasury.repair(signer, &self.ledger);
        }
        self.publish();
        Ok(())
    }

    fn is_over(&mut self) -> Result<bool, Violation> {
        match self.stage {
            Stage::Faulty => Ok(false),
            Stage::Paying(since) => {
                let open = self.open();
                let took = self.now - since;
                let is_robbed = matches!(self.theft, Some(Theft::Under(_) | Theft::Stopped));
                if open.is_empty() && self.is_newest_posted() && !is_robbed {
                    self.note(format_args!("everything due is paid"));
                    self.stats.slowest_end_ms = self.stats.slowest_end_ms.max(took);
                    self.stats.claimed += u64::from(took > PAY_MS);
                    self.stage = Stage::Resting(self.now);
                    self.check_claims()?;
                    return Ok(false);
                }
                let is_calm = self.plan.families == super::scenario::Families::default() && self.plan.defect.is_none();
                let patience = if is_calm { CALM_PAY_MS } else { PAY_MS };
                // Nobody can push any more, or nobody today: then the workers claim.
                let is_out_of_budget = |node: &Node| node.is_gone || node.is_out_of_budget;
                let is_spent = took > patience && self.nodes.iter().all(is_out_of_budget);
                if (self.is_unattended() && took > CLAIM_AFTER_MS) || is_spent {
                    self.claim_for_all(&open)?;
                }
                if took > if is_spent { patience + PAY_MS } else { patience } {
                    return Err(self.unpaid(&open));
                }
                Ok(false)
            }
            Stage::Resting(since) => {
                let is_at_rest = |node: &Node| {
                    let is_idle = node.pusher.phase() == Phase::Idle && node.pusher.next_wake().is_none();
                    // Who is told that accounts are not paid, or cannot pay them, goes on looking.
                    let looks_on = !self.plan.unpayable.is_empty() && node.pusher.n_transactions() == 0;
                    ((is_idle || looks_on) && node.disk.stored.is_empty()) || node.is_gone
                };
                if self.nodes.iter().all(is_at_rest) {
                    return Ok(true);
                }
                if self.now - since > REST_MS {
                    let states: Vec<_> = self.nodes.iter().map(|node| self.state_of(node)).collect();
                    return Err(Rule::Rest.broken(states.join("; ")));
                }
                Ok(false)
            }
        }
    }

    /// Accounts that are due and not paid at the newest solidified block.
    fn open(&self) -> Vec<AccountId> {
        let solid = self.tron.solid(0);
        let mut open = self.ledger.due(|id| solid.state.paid.get(id).map_or(0, |paid| paid.get()));
        let unpayable: Vec<_> = self.plan.unpayable.iter().map(|n| account_id(*n)).collect();
        open.retain(|id| !unpayable.contains(id));
        open
    }

    fn is_unattended(&self) -> bool {
        self.plan.survivors == Survivors::Nobody
    }

    /// The solidified vault has the newest root. Without a root there is nothing to post.
    fn is_newest_posted(&self) -> bool {
        let vault = self.tron.solid(0).state.vault();
        let is_it = |newest: lucid_types::payout::SettlementRoot| {
            (vault.era, vault.settlement, vault.root) == (newest.era, newest.settlement, Some(newest.root))
                && vault.total >= newest.total
        };
        self.ledger.current().newest.is_none_or(is_it)
    }

    fn unpaid(&self, open: &[AccountId]) -> Violation {
        let states: Vec<_> = self.nodes.iter().map(|node| self.state_of(node)).collect();
        let vault = self.tron.head().state.vault();
        let newest = self.ledger.current().newest.map(|newest| (newest.era, newest.settlement, newest.total.get()));
        let shown = (vault.era, vault.settlement, vault.total.get());
        let problem = format!("{} accounts are due and not paid, the first {:?}", open.len(), open.first());
        Rule::Liveness.broken(format!("{problem}; vault {shown:?}, ledger {newest:?}; {}", states.join("; ")))
    }

    fn state_of(&self, node: &Node) -> String {
        let alerts: Vec<_> = node.pusher.alerts().iter().map(ToString::to_string).collect();
        let (phase, wake) = (node.pusher.phase(), node.wake.map(|at| at.saturating_sub(self.now)));
        format!("{phase:?}, wakes in {wake:?} ms, {} transactions, {alerts:?}", node.pusher.n_transactions())
    }

    /// Whatever an account is still owed under the newest root, its worker can claim.
    fn check_claims(&self) -> Result<(), Violation> {
        let Some(issued) = self.ledger.newest_issued() else { return Ok(()) };
        let paid = &self.tron.head().state.paid;
        let unpayable: Vec<_> = self.plan.unpayable.iter().map(|n| account_id(*n)).collect();
        let lacks = |leaf: &OwedAccount| paid.get(&leaf.id).is_none_or(|paid| leaf.owed > *paid);
        let lacking = issued.leaves.iter().enumerate().filter(|(_, leaf)| lacks(leaf) && !unpayable.contains(&leaf.id));
        for (index, leaf) in lacking {
            let Some(data) = super::actors::claim(issued, index) else { continue };
            let revert = self.tron.estimate(&leaf.to, &data, false).revert;
            let is_capped = |revert: &Revert| revert.of_vault() == Some(VaultRevert::NothingPaid(Skip::OverCap));
            if let Some(revert) = revert.filter(|revert| !is_capped(revert)) {
                return Err(Rule::Claim.broken(format!("{} cannot claim: {revert}", leaf.id)));
            }
        }
        Ok(())
    }

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
        let data = lucid_tron_bridge::trc20::transfer(&vault, MicroUsdt::new(micro_usdt));
        let issuer = self.tron.base.keys.issuer.clone();
        self.note(format_args!("the vault gets {} USDT", micro_usdt / USDT));
        self.tron.send(&issuer, token, data).map(drop)
    }
}
