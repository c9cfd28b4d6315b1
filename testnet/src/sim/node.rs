//! A node that pushes: the bridge's pusher in a shell that carries its effects out as `lucid_node::payout::push` does, with a
//! disk that survives crashes. A crash can come before and after every effect.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lucid_tron_bridge::client::BroadcastOutcome;
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::pusher::{
    Alert, Assignment, Effect, Estimated, HeadView, InFlight, Input, IssuedRoot, JobId, Lookup, Pusher, PusherConfig,
    Report, SolidView, Spent, TransactionStatus, View, Work,
};
use lucid_tron_bridge::transaction::ContractCall;
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::TxId;
use lucid_types::payout_tree::AccountId;
use lucid_types::time::UnixMillis;

use super::describe::{effect_text, input_text};
use super::ledger::Elected;
use super::plan::Defect;
use super::provider::{Asking, Conditions, Group, Seen};
use super::treasury::Treasury;
use super::tron::LIFETIME;
use super::violation::{Rule, Violation};
use super::world::{Event, World};

/// How old prices, the token's flags and what the gas account holds may be.
const CONDITIONS_MS: u64 = 30_000;
/// How long a request waits for an answer.
const TIMEOUT_MS: u64 = 10_000;
/// How long what a transaction cost is kept.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Most requests to a provider group in a second, and in a minute.
const MAX_PER_SECOND: u64 = 150;
const MAX_PER_MINUTE: u64 = 600;

/// What survives a crash.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) stored: BTreeMap<JobId, InFlight>,
    spent: Vec<Spent>,
    /// What it sent to accounts: only a broken shell reads it.
    sent: BTreeMap<AccountId, MicroUsdt>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) config: PusherConfig,
    key: TronKey,
    pub(super) groups: Vec<Group>,
    pub(super) pusher: Pusher,
    pub(super) disk: Disk,
    /// It believes that it leads whatever the election says.
    pub(super) is_twin: bool,
    /// Its clock less the world's, in milliseconds.
    skew: i64,
    pub(super) is_up: bool,
    /// Counts restarts: what an earlier life began does not end.
    pub(super) life: u64,
    /// Number of the ledger's state that it has finalized.
    known: usize,
    pub(super) wake: Option<u64>,
    reading: BTreeSet<View>,
    conditions: Option<(u64, Conditions)>,
    /// Requests to the busiest provider group: second and number.
    requests: VecDeque<(u64, u64)>,
    n_idle_wakes: u32,
    /// It lost its disk: what it spent before does not count.
    pub(super) burnt_before: u64,
    /// It ran out of its day's budget.
    pub(super) is_out_of_budget: bool,
    /// It never starts again.
    pub(super) is_gone: bool,
}

impl Node {
    pub(super) fn new(config: PusherConfig, key: TronKey, groups: Vec<Group>, skew: i64, now: u64) -> Self {
        let clock = UnixMillis::new(now.saturating_add_signed(skew));
        Self {
            config,
            key,
            groups,
            pusher: Pusher::new(config, Vec::new(), Vec::new(), clock),
            disk: Disk::default(),
            is_twin: false,
            skew,
            is_up: true,
            life: 0,
            known: 0,
            wake: None,
            reading: BTreeSet::new(),
            conditions: None,
            requests: VecDeque::new(),
            n_idle_wakes: 0,
            burnt_before: 0,
            is_out_of_budget: false,
            is_gone: false,
        }
    }

    fn clock(&self, now: u64) -> UnixMillis {
        UnixMillis::new(now.saturating_add_signed(self.skew))
    }

    /// Counts requests to the provider group that is asked most.
    fn count(&mut self, now: u64, n: u64) -> Result<(u64, u64), Violation> {
        let second = now / 1_000;
        match self.requests.back_mut() {
            Some((last, count)) if *last == second => *count += n,
            _ => self.requests.push_back((second, n)),
        }
        while self.requests.front().is_some_and(|(first, _)| first + 60 <= second) {
            self.requests.pop_front();
        }
        let in_second = self.requests.back().map_or(0, |(_, count)| *count);
        let in_minute: u64 = self.requests.iter().map(|(_, count)| count).sum();
        if in_second > MAX_PER_SECOND || in_minute > MAX_PER_MINUTE {
            return Err(Rule::Requests.broken(format!("{in_second} in a second, {in_minute} in a minute")));
        }
        Ok((in_second, in_minute))
    }
}

impl World {
    /// The ledger's state with this number is final for the node.
    pub(super) fn tell_node(&mut self, n: usize, state: usize) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(n) else { return Ok(()) };
        node.known = node.known.max(state);
        if !node.is_up {
            return Ok(());
        }
        let head = self.ledger.head(node.known);
        let Some(root) = head.newest else { return Ok(()) };
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let place = head.order.iter().position(|elected| *elected == Elected::Node(n)).map(count);
        let assignment = Assignment {
            root,
            nonce: head.nonce,
            signers: head.signers.clone(),
            rank: if node.is_twin { Some(0) } else { place },
            n_elected: count(head.order.len()),
        };
        self.feed(n, Input::Root(Box::new(assignment)))
    }

    /// Starts a node again with what its disk holds.
    pub(super) fn restart(&mut self, n: usize) -> Result<(), Violation> {
        let (now, newest) = (self.now, self.ledger.newest());
        let Some(node) = self.nodes.get_mut(n).filter(|node| !node.is_up && !node.is_gone) else { return Ok(()) };
        node.is_up = true;
        node.reading.clear();
        node.conditions = None;
        let clock = node.clock(now);
        node.disk.spent.retain(|spent| spent.at.get() + DAY_MS >= clock.get());
        let stored = node.disk.stored.values().cloned().collect();
        node.pusher = Pusher::new(node.config, stored, node.disk.spent.clone(), clock);
        self.note(format_args!("node {n} starts"));
        self.tell_node(n, newest)
    }

    /// A node dies. It comes back after a while.
    pub(super) fn crash(&mut self, n: usize, for_ms: u64) {
        let Some(node) = self.nodes.get_mut(n).filter(|node| node.is_up) else { return };
        node.is_up = false;
        node.life += 1;
        node.wake = None;
        self.stats.crashes += 1;
        self.note(format_args!("node {n} dies"));
        self.schedule(for_ms, Event::Restart { node: n });
    }

    /// The disk of a node that does not run is lost.
    pub(super) fn wipe(&mut self, n: usize) {
        if let Some(node) = self.nodes.get_mut(n) {
            node.disk = Disk::default();
            node.burnt_before = self.tron.books.burnt(&node.config.gas_address);
            self.note(format_args!("node {n} loses its disk"));
        }
    }

    /// Hands the pusher an input and has its effects carried out.
    pub(super) fn feed(&mut self, n: usize, input: Input) -> Result<(), Violation> {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(n).filter(|node| node.is_up) else { return Ok(()) };
        match &input {
            Input::Solid(_) => drop(node.reading.remove(&View::Solid)),
            Input::Head(_) => drop(node.reading.remove(&View::Head)),
            _ => {}
        }
        let is_tick = matches!(input, Input::Tick);
        if !is_tick {
            self.trace.note(now - super::base::START, format_args!("node {n} <- {}", input_text(&input)));
        }
        let clock = node.clock(now);
        let effects = node.pusher.handle(clock, input);
        let wake = node.pusher.next_wake();
        if wake.is_some_and(|wake| wake <= clock) {
            return Err(Rule::Requests.broken(format!("node {n} wants to be woken at once, again and again")));
        }
        node.wake = wake.map(|wake| now + (wake.get() - clock.get()));
        node.n_idle_wakes = if is_tick && effects.is_empty() { node.n_idle_wakes + 1 } else { 0 };
        if node.n_idle_wakes > 50 {
            return Err(Rule::Requests.broken(format!("node {n} is woken again and again for nothing")));
        }
        node.is_out_of_budget = node.pusher.alerts().iter().any(|alert| matches!(alert, Alert::DayBudget { .. }));
        for effect in effects {
            if self.nodes.get(n).is_none_or(|node| !node.is_up) {
                break;
            }
            self.begin(n, effect)?;
        }
        Ok(())
    }

    /// An effect begins: at once if it is the node's own business, else when the request has arrived.
    fn begin(&mut self, n: usize, effect: Effect) -> Result<(), Violation> {
        self.note(format_args!("node {n} -> {}", effect_text(&effect)));
        let faults = self.faults();
        if self.random.below(1_000) < faults.crash {
            let pause = self.random.between(100, 20_000);
            self.crash(n, pause);
            return Ok(());
        }
        let Some(node) = self.nodes.get_mut(n) else { return Ok(()) };
        match effect {
            Effect::Broadcast { id, tx_id, ref bytes } => node.check_is_stored(id, &tx_id, bytes)?,
            Effect::Forget { id, spent } => {
                node.disk.stored.remove(&id);
                node.disk.spent.extend(spent);
                return Ok(());
            }
            Effect::Report(report) => {
                self.count_report(n, &report);
                return Ok(());
            }
            Effect::Alert(_) => {
                self.stats.alerts += 1;
                return Ok(());
            }
            Effect::ReadVault { view, .. } if !node.reading.insert(view) => return Ok(()),
            _ => {}
        }
        let life = node.life;
        let delay = self.latency();
        self.schedule(delay, Event::Execute { node: n, life, effect: Box::new(effect) });
        Ok(())
    }

    fn count_report(&mut self, n: usize, report: &Report) {
        let Report::Transaction { status, .. } = report else { return };
        match status {
            TransactionStatus::Included { .. } => self.stats.included += 1,
            TransactionStatus::Failed { .. } => {
                self.stats.included += 1;
                self.stats.failed += 1;
            }
            TransactionStatus::Expired => self.stats.expired += 1,
            TransactionStatus::Sent | TransactionStatus::Solid { .. } => {}
        }
        if *status != TransactionStatus::Sent
            && let Some(node) = self.nodes.get_mut(n)
        {
            node.conditions = None;
        }
    }

    /// A request has arrived: it is carried out, and the answer sent.
    pub(super) fn execute(&mut self, n: usize, life: u64, effect: Effect) -> Result<(), Violation> {
        if self.nodes.get(n).is_none_or(|node| node.life != life) {
            return Ok(());
        }
        let faults = self.faults();
        let is_read = matches!(effect, Effect::ReadVault { .. });
        let is_lost = self.random.percent(faults.lost);
        let is_lost_before = is_lost && self.random.percent(50);
        let missing = unanswered(&effect);
        let answer = if is_lost_before { None } else { Some(self.carry_out(n, effect)?) };
        if self.random.below(1_000) < faults.crash {
            let pause = self.random.between(100, 20_000);
            self.crash(n, pause);
            return Ok(());
        }
        let (answer, delay) = match answer.filter(|_| !is_lost) {
            Some(answer) => (answer, self.latency()),
            // The client gives up; only a task that ends without an answer says nothing.
            None if is_read || self.random.percent(70) => (missing, TIMEOUT_MS),
            None => return Ok(()),
        };
        let copies = if self.random.percent(faults.doubled) { 2 } else { 1 };
        for copy in 0..copies {
            let delay = delay + copy * self.random.between(1, 5_000);
            self.schedule(delay, Event::Answer { node: n, life, input: Box::new(answer.clone()) });
        }
        Ok(())
    }

    fn carry_out(&mut self, n: usize, effect: Effect) -> Result<Input, Violation> {
        let (now, is_faulty, defect) = (self.now, self.is_faulty(), self.plan.defect);
        if let Effect::RequestSignature { request, signer } = effect {
            let number = Treasury::number(&signer);
            let reply = match number {
                Some(number) => self.treasury.answer(number, &request, &self.ledger, &mut self.random)?,
                None => None,
            };
            return Ok(Input::Signature { request, signer, reply });
        }
        let Some(node) = self.nodes.get_mut(n) else { return Ok(Input::Tick) };
        let gas = node.config.gas_address;
        let mut asking = Asking { tron: &mut self.tron, random: &mut self.random, is_faulty, gas };
        let mut n_requests = 1;
        let answer = match effect {
            Effect::LoadLeaves { settlement, root } => {
                n_requests = 0;
                let issued = self.ledger.issued(settlement, &root).filter(|issued| issued.since <= node.known);
                let issued = issued.map(|issued| IssuedRoot { root: issued.root, leaves: issued.leaves.clone() });
                Input::Leaves { settlement, root, issued: issued.map(Box::new) }
            }
            Effect::ReadVault { view: View::Solid, accounts } => {
                n_requests = 3;
                Input::Solid(node.solid(&mut asking, &accounts, defect).map(Box::new))
            }
            Effect::ReadVault { view: View::Head, accounts } => {
                n_requests = if node.conditions.is_some() { 2 } else { 9 };
                Input::Head(node.head(&mut asking, now, &accounts, defect)?.map(Box::new))
            }
            Effect::Estimate { id, data } => {
                let outcome = node.groups.iter().find_map(|group| group.estimate(&mut asking, &data));
                Input::Estimated { id, outcome: outcome.unwrap_or(Estimated::Unavailable) }
            }
            Effect::Prepare { id, work, data, fee_limit } => {
                let transaction = node.prepare(&mut asking, id, work, data, fee_limit)?;
                Input::Prepared { id, transaction: transaction.map(Box::new) }
            }
            Effect::Broadcast { id, tx_id, bytes } => {
                let outcome = node.broadcast(&mut asking, id, tx_id, &bytes);
                self.stats.broadcasts += 1;
                Input::Sent { id, outcome }
            }
            Effect::ReadReceipt { id, tx_id } => {
                let mut found = Lookup::Unavailable;
                for group in &node.groups {
                    match group.receipt(&mut asking, &tx_id) {
                        Lookup::Included(receipt) => {
                            found = Lookup::Included(receipt);
                            break;
                        }
                        Lookup::NotIncluded => found = Lookup::NotIncluded,
                        Lookup::Unavailable => {}
                    }
                }
                Input::Receipt { id, found }
            }
            Effect::RequestSignature { .. } | Effect::Forget { .. } | Effect::Alert(_) | Effect::Report(_) => {
                Input::Tick
            }
        };
        let (in_second, in_minute) = node.count(now, n_requests)?;
        self.stats.requests += n_requests;
        self.stats.most_requests_per_second = self.stats.most_requests_per_second.max(in_second);
        self.stats.most_requests_per_minute = self.stats.most_requests_per_minute.max(in_minute);
        Ok(answer)
    }
}

impl Node {
    /// The solidified view as all groups agree: what was paid is the least that any of them says, all else is the one's that is
    /// furthest behind.
    fn solid(&self, asking: &mut Asking<'_>, accounts: &[AccountId], defect: Option<Defect>) -> Option<SolidView> {
        let groups = if defect == Some(Defect::OneProvider) { self.groups.get(..1)? } else { &self.groups };
        let seen: Vec<Seen> = groups.iter().filter_map(|group| group.solid(asking, accounts)).collect();
        let oldest = seen.iter().min_by_key(|seen| seen.number)?;
        let mut snapshot = oldest.snapshot.clone();
        for (id, paid) in &mut snapshot.paid {
            let least = seen.iter().filter_map(|seen| seen.snapshot.paid_of(id)).min();
            *paid = least.unwrap_or(*paid);
        }
        self.believe_own_records(&mut snapshot, defect);
        Some(SolidView { time: oldest.time, snapshot })
    }

    fn head(
        &mut self,
        asking: &mut Asking<'_>,
        now: u64,
        accounts: &[AccountId],
        defect: Option<Defect>,
    ) -> Result<Option<HeadView>, Violation> {
        for group in &self.groups {
            let conditions = self.conditions.filter(|(read, _)| now < read + CONDITIONS_MS);
            let Some((read, conditions)) = conditions.or_else(|| Some((now, group.conditions(asking)?))) else {
                continue;
            };
            self.conditions = Some((read, conditions));
            let Some(mut seen) = group.head(asking, accounts)? else { continue };
            self.believe_own_records(&mut seen.snapshot, defect);
            let Conditions { token, gas, energy_price, byte_price } = conditions;
            return Ok(Some(HeadView {
                time: seen.time,
                snapshot: seen.snapshot,
                token,
                gas,
                energy_price,
                byte_price,
            }));
        }
        Ok(None)
    }

    /// A broken shell: what it sent is paid, it thinks.
    fn believe_own_records(&self, snapshot: &mut lucid_tron_bridge::vault::VaultSnapshot, defect: Option<Defect>) {
        if defect == Some(Defect::OwnRecords) {
            for (id, paid) in &mut snapshot.paid {
                *paid = self.disk.sent.get(id).copied().unwrap_or_default();
            }
        }
    }

    /// Builds, signs and stores a transaction, or takes the one that is stored.
    fn prepare(
        &mut self,
        asking: &mut Asking<'_>,
        id: JobId,
        work: Work,
        data: Vec<u8>,
        fee_limit: Sun,
    ) -> Result<Option<InFlight>, Violation> {
        if let Some(stored) = self.disk.stored.get(&id) {
            return Ok(Some(stored.clone()));
        }
        let Some(head) = self.groups.iter().find_map(|group| group.reference(asking)) else { return Ok(None) };
        let vault = self.config.domain.vault;
        let call = ContractCall::new(self.config.gas_address, vault, data, &head, LIFETIME, fee_limit);
        let Ok(transaction) = call.build() else { return Ok(None) };
        let broken = |e: lucid_tron_bridge::key::KeyError| Rule::Setup.broken(e.to_string());
        let signature = self.key.sign_transaction(&transaction).map_err(broken)?;
        let (tx_id, bytes) = (transaction.tx_id(), transaction.with_signatures(&[signature]));
        let in_flight = InFlight { id, work, tx_id, expiration: call.expiration, fee_limit, bytes };
        self.disk.stored.insert(id, in_flight.clone());
        Ok(Some(in_flight))
    }

    fn broadcast(&mut self, asking: &mut Asking<'_>, id: JobId, tx_id: TxId, bytes: &[u8]) -> Option<BroadcastOutcome> {
        let answers = self.groups.iter().filter_map(|group| group.broadcast(asking, tx_id, bytes));
        let outcome = answers.min();
        let work = self.disk.stored.get(&id).map(|stored| &stored.work);
        if let (Some(BroadcastOutcome::Accepted), Some(Work::Batch { accounts, .. })) = (&outcome, work) {
            // As if it had paid them in full.
            self.disk.sent.extend(accounts.iter().map(|account| (*account, MicroUsdt::new(1 << 50))));
        }
        outcome
    }

    /// What is sent is on the disk.
    fn check_is_stored(&self, id: JobId, tx_id: &TxId, bytes: &[u8]) -> Result<(), Violation> {
        let is_stored = self.disk.stored.get(&id).is_some_and(|stored| stored.tx_id == *tx_id && stored.bytes == bytes);
        if is_stored { Ok(()) } else { Err(Rule::Durability.broken(format!("{tx_id} is sent and not stored"))) }
    }
}

/// The answer if nobody answers.
fn unanswered(effect: &Effect) -> Input {
    match effect {
        Effect::RequestSignature { request, signer } => {
            Input::Signature { request: *request, signer: *signer, reply: None }
        }
        Effect::LoadLeaves { settlement, root } => Input::Leaves { settlement: *settlement, root: *root, issued: None },
        Effect::ReadVault { view: View::Solid, .. } => Input::Solid(None),
        Effect::ReadVault { view: View::Head, .. } => Input::Head(None),
        Effect::Estimate { id, .. } => Input::Estimated { id: *id, outcome: Estimated::Unavailable },
        Effect::Prepare { id, .. } => Input::Prepared { id: *id, transaction: None },
        Effect::Broadcast { id, .. } => Input::Sent { id: *id, outcome: None },
        Effect::ReadReceipt { id, .. } => Input::Receipt { id: *id, found: Lookup::Unavailable },
        Effect::Forget { .. } | Effect::Alert(_) | Effect::Report(_) => Input::Tick,
    }
}
