//! Carries the effects of pushers out as `lucid_node::payout::push` does. Requests and answers take time and get lost; a node can
//! die before and after every effect.

use lucid_tron_bridge::pusher::{
    Alert, Assignment, Effect, Estimated, Input, IssuedRoot, Loaded, Lookup, Pusher, Report, TransactionStatus, View,
};

use lucid_types::payout::CosignReply;

use super::base::START;
use super::describe::{effect_text, input_text};
use super::ledger::{Elected, Issued};
use super::node::Disk;
use super::provider::Asking;
use super::treasury::Treasury;
use super::violation::{Rule, Violation};
use super::world::{Event, World};

/// How long a request waits for an answer.
const TIMEOUT_MS: u64 = 10_000;
/// How long what a transaction cost is kept.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

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
            node.told_fees.clear();
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
            self.trace.note(now - START, format_args!("node {n} <- {}", input_text(&input)));
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
        if let (Effect::Report(report), Some(node)) = (&effect, self.nodes.get_mut(n)) {
            node.note_told(report);
        }
        if self.random.below(1_000) < self.faults().crash * rarity(&effect) {
            self.stats.seen.count_variant("crash before", &effect);
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
            Effect::Alert(alert) => {
                self.stats.alerts += 1;
                self.stats.seen.count_variant("alert", &alert);
                return self.check_alert(&alert);
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
            TransactionStatus::Included { .. } => {
                self.stats.included += 1;
                self.count_turn(n);
            }
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

    /// Whose turn it was that got something done.
    fn count_turn(&mut self, n: usize) {
        let order = self.nodes.get(n).map(|node| &self.ledger.head(node.known).order);
        let who = match order.and_then(|order| order.iter().position(|elected| *elected == Elected::Node(n))) {
            Some(0) => "the leader",
            Some(_) => "a successor",
            None => "a stranger",
        };
        self.stats.seen.count("pushed by", who);
    }

    /// A request has arrived: it is carried out, and the answer sent.
    pub(super) fn execute(&mut self, n: usize, life: u64, effect: Effect) -> Result<(), Violation> {
        if self.nodes.get(n).is_none_or(|node| node.life != life) {
            return Ok(());
        }
        let faults = self.faults();
        let is_read = matches!(effect, Effect::ReadVault { .. });
        // The node's own store loses nothing.
        let is_lost = self.random.percent(faults.lost) && !matches!(effect, Effect::LoadLeaves { .. });
        let is_lost_before = is_lost && self.random.percent(50);
        let (missing, rarity) = (unanswered(&effect), rarity(&effect));
        if is_lost {
            self.stats.seen.count("fault", if is_lost_before { "a request is lost" } else { "an answer is lost" });
        }
        let answer = if is_lost_before { None } else { Some(self.carry_out(n, effect)?) };
        if self.random.below(1_000) < faults.crash * rarity {
            self.stats.seen.count_variant("crash after", &missing);
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
        if copies > 1 {
            self.stats.seen.count("fault", "an answer comes twice");
        }
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
            if let (true, Some(number), Some(CosignReply::Signed(_))) =
                (self.plan.is_forged_after_signing, number, &reply)
                && let Some(signed) = self.treasury.newest(number, &self.ledger)
            {
                self.forge(number, &signed)?;
            }
            return Ok(Input::Signature { request, signer, reply });
        }
        let Some(node) = self.nodes.get_mut(n) else { return Ok(Input::Tick) };
        let gas = node.config.gas_address;
        let (tron, random, seen) = (&mut self.tron, &mut self.random, &mut self.stats.seen);
        let mut asking = Asking { tron, random, seen, is_faulty, gas };
        let mut n_requests = 1;
        let answer = match effect {
            Effect::LoadLeaves { settlement, root } => {
                n_requests = 0;
                let issued = self.ledger.issued(settlement, &root).filter(|issued| issued.since <= node.known);
                let issued = issued.map(|Issued { root, leaves, requested, .. }| IssuedRoot {
                    root: *root,
                    leaves: leaves.clone(),
                    requested: requested.clone(),
                });
                Input::Leaves { settlement, root, loaded: Loaded::of(issued) }
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
                asking.seen.count_variant("estimate", &outcome.as_ref().unwrap_or(&Estimated::Unavailable));
                Input::Estimated { id, outcome: outcome.unwrap_or(Estimated::Unavailable) }
            }
            Effect::Prepare { id, work, data, fee_limit } => {
                let transaction = node.prepare(&mut asking, id, work, data, fee_limit)?;
                Input::Prepared { id, transaction: transaction.map(Box::new) }
            }
            Effect::Broadcast { id, tx_id, bytes } => {
                let outcome = node.broadcast(&mut asking, id, tx_id, &bytes);
                match &outcome {
                    Some(outcome) => asking.seen.count_variant("broadcast", outcome),
                    None => asking.seen.count("broadcast", "no answer"),
                }
                self.stats.broadcasts += 1;
                Input::Sent { id, outcome }
            }
            Effect::ReadReceipt { id, tx_id } => {
                let found = node.receipt(&mut asking, &tx_id);
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

/// How many times as often a node dies at such an effect as at a read, of which there are many.
const fn rarity(effect: &Effect) -> u64 {
    match effect {
        Effect::RequestSignature { .. } | Effect::ReadVault { .. } | Effect::ReadReceipt { .. } => 1,
        Effect::LoadLeaves { .. }
        | Effect::Estimate { .. }
        | Effect::Prepare { .. }
        | Effect::Broadcast { .. }
        | Effect::Forget { .. }
        | Effect::Alert(_)
        | Effect::Report(Report::Signatures { .. } | Report::Transaction { .. }) => 4,
        // Once in a settlement.
        Effect::Report(Report::Posted { .. } | Report::Finished { .. }) => 10,
    }
}

/// The answer if nobody answers.
fn unanswered(effect: &Effect) -> Input {
    match effect {
        Effect::RequestSignature { request, signer } => {
            Input::Signature { request: *request, signer: *signer, reply: None }
        }
        Effect::LoadLeaves { settlement, root } => {
            Input::Leaves { settlement: *settlement, root: *root, loaded: Loaded::Unavailable }
        }
        Effect::ReadVault { view: View::Solid, .. } => Input::Solid(None),
        Effect::ReadVault { view: View::Head, .. } => Input::Head(None),
        Effect::Estimate { id, .. } => Input::Estimated { id: *id, outcome: Estimated::Unavailable },
        Effect::Prepare { id, .. } => Input::Prepared { id: *id, transaction: None },
        Effect::Broadcast { id, .. } => Input::Sent { id: *id, outcome: None },
        Effect::ReadReceipt { id, .. } => Input::Receipt { id: *id, found: Lookup::Unavailable },
        Effect::Forget { .. } | Effect::Alert(_) | Effect::Report(_) => Input::Tick,
    }
}
