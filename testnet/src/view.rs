//! What people see of a network: each [`Snapshot`] becomes lines about what has changed. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lucid_node::api::model::{BlockView, EpochView, PayoutStatus, PayoutView, ScoreList};
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{NodeId, PayoutAddress};

use crate::console::{Mark, short, usdt};
use crate::payouts::{Payouts, Stage};
use crate::watch::{News, Snapshot};

/// Workers shown in one line of scores.
const SHOWN: usize = 8;
/// Transactions named in one line.
const NAMED: usize = 3;

/// A line about something that happened.
pub type Line = (Mark, String);

/// Remembers what was shown.
#[derive(Debug)]
pub struct View {
    names: BTreeMap<NodeId, String>,
    pool: String,
    peers: Option<(usize, usize)>,
    unmeasured: Option<Vec<String>>,
    balances: BTreeMap<PayoutAddress, MicroUsdt>,
    settlements: BTreeMap<u64, Settlement>,
    /// Whether a transfer has been in a block.
    has_transfer: bool,
}

/// What was shown of a settlement's payouts.
#[derive(Debug)]
struct Settlement {
    /// When they were seen first.
    seen: Duration,
    /// Until all are paid.
    payouts: Payouts,
    /// The furthest that all of them had come.
    stage: Stage,
    /// How many do not go on, by the reason.
    waiting: BTreeMap<String, usize>,
}

impl View {
    /// Shows nodes by these names, and one pool.
    pub fn new(names: BTreeMap<NodeId, String>, pool: impl Into<String>) -> Self {
        Self {
            names,
            pool: pool.into(),
            peers: None,
            unmeasured: None,
            balances: BTreeMap::new(),
            settlements: BTreeMap::new(),
            has_transfer: false,
        }
    }

    /// Lines about what `snapshot` has that was not shown yet. `elapsed` is the time since `up` was started.
    pub fn lines(&mut self, elapsed: Duration, snapshot: &Snapshot) -> Vec<Line> {
        let mut lines = self.peers(snapshot);
        if let Some(news) = &snapshot.news {
            self.epochs(elapsed, news, &mut lines);
            if let Some(scores) = &news.scores {
                self.scores(scores, &mut lines);
            }
            self.payouts(elapsed, news, &mut lines);
            lines.extend(self.first_transfer(elapsed, news));
            self.balances(news, &mut lines);
            let alert = |(node, text): &(NodeId, String)| format!("alert      {}: {text}", self.name(node));
            lines.extend(news.alerts.iter().map(|told| (Mark::Warning, alert(told))));
        }
        lines
    }

    /// A node's name, or the start of its id.
    pub fn name(&self, node: &NodeId) -> String {
        self.names.get(node).cloned().unwrap_or_else(|| short(node))
    }

    fn peers(&mut self, snapshot: &Snapshot) -> Vec<Line> {
        let peers = || snapshot.nodes.iter().flatten().map(|status| status.peers);
        let Some(now) = peers().min().zip(peers().max()) else { return vec![] };
        if self.peers.replace(now) == Some(now) {
            return vec![];
        }
        let n_nodes = snapshot.nodes.iter().flatten().count();
        let text = match now {
            (least, most) if least == most => format!("peers      {n_nodes} nodes, each connected to {most}"),
            (least, most) => format!("peers      {n_nodes} nodes, connected to {least} to {most}"),
        };
        vec![(Mark::Event, text)]
    }

    fn epochs(&mut self, elapsed: Duration, news: &News, lines: &mut Vec<Line>) {
        for epoch in &news.epochs {
            let Some(block) = &epoch.block else { continue };
            lines.push((Mark::Event, self.epoch(elapsed, epoch, block, news.attestations)));
            for leader in &block.leaders {
                let successors: Vec<_> = leader.successors.iter().map(|node| self.name(node)).collect();
                let then =
                    if successors.is_empty() { String::new() } else { format!(", then {}", successors.join(", ")) };
                let text = format!(
                    "leader     settlement {} of {}: {}{then}",
                    leader.settlement,
                    self.pool,
                    self.name(&leader.leader)
                );
                lines.push((Mark::Event, text));
            }
        }
    }

    fn epoch(&self, elapsed: Duration, epoch: &EpochView, block: &BlockView, attestations: Option<u64>) -> String {
        let seen = attestations.map(|n| format!(", {n} attestations seen")).unwrap_or_default();
        format!(
            "epoch {:<4} final {:.1} s after start, {:.1} s after its end: block {} {}, state {}, round {}, {} signatures, \
             {} workers scored{seen}",
            epoch.epoch.get(),
            elapsed.as_secs_f64(),
            epoch.end.until(block.time).as_secs_f64(),
            block.height,
            short(block.block_hash),
            short(block.state_root),
            block.round,
            block.signatures,
            epoch.workers_scored.unwrap_or(0),
        )
    }

    fn scores(&mut self, list: &ScoreList, lines: &mut Vec<Line>) {
        let (Some(epoch), Some(first)) = (list.epoch, list.scores.first()) else { return };
        let shown = list.scores.iter().take(SHOWN).map(|score| {
            let ppm = score.score_ppm.get();
            format!("{} {}.{:02} ({} cr)", self.name(&score.worker), ppm / 10_000, ppm % 10_000 / 100, score.credits)
        });
        let shown: Vec<_> = shown.collect();
        let more = list.scores.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        lines.push((Mark::Event, format!("scores     epoch {epoch}: {}{more}", shown.join(", "))));
        if self.unmeasured.as_ref() != Some(&first.unmeasured) {
            self.unmeasured = Some(first.unmeasured.clone());
            if !first.unmeasured.is_empty() {
                let text = format!("scores     not measured yet, so 0: {}", first.unmeasured.join(", "));
                lines.push((Mark::Event, text));
            }
        }
    }

    /// Each settlement's payouts are shown together: once when it is computed, and whenever the last of them has come
    /// further or something else holds any of them up.
    fn payouts(&mut self, elapsed: Duration, news: &News, lines: &mut Vec<Line>) {
        let mut changed: BTreeMap<u64, Vec<&PayoutView>> = BTreeMap::new();
        for payout in &news.payouts {
            changed.entry(payout.settlement).or_default().push(payout);
        }
        for (number, payouts) in changed {
            let is_new = !self.settlements.contains_key(&number);
            let settlement = self.settlements.entry(number).or_insert_with(|| Settlement::new(elapsed));
            settlement.payouts.extend(payouts.into_iter().map(|payout| (payout.payout_id, payout.clone())));
            if is_new {
                lines.push((Mark::Event, settlement.introduction(number)));
            }
            lines.extend(settlement.progress(number, elapsed));
            lines.extend(settlement.waits(number));
        }
    }

    /// A line once a payout's transaction is in a block.
    fn first_transfer(&mut self, elapsed: Duration, news: &News) -> Option<Line> {
        let included = |p: &&PayoutView| Stage::of(p) >= Stage::Included;
        let id = news.payouts.iter().find(included).filter(|_| !self.has_transfer)?.tx_id?;
        self.has_transfer = true;
        let text =
            format!("transfer   first transfer included {:.1} s after start: transaction {id}", elapsed.as_secs_f64());
        Some((Mark::Event, text))
    }

    fn balances(&mut self, news: &News, lines: &mut Vec<Line>) {
        let owners: BTreeMap<_, _> = news.payouts.iter().map(|p| (p.address, self.name(&p.worker))).collect();
        let mut changed = Vec::new();
        for (address, units) in &news.balances {
            if self.balances.insert(*address, *units) != Some(*units) {
                let owner = owners.get(address).cloned().unwrap_or_else(|| address.to_string());
                changed.push(format!("{owner} {}", usdt(units.get())));
            }
        }
        changed.sort_unstable();
        if !changed.is_empty() {
            lines.push((Mark::Event, format!("USDT       on the chain: {}", changed.join(", "))));
        }
    }
}

impl Settlement {
    fn new(seen: Duration) -> Self {
        Self { seen, payouts: Payouts::new(), stage: Stage::Owed, waiting: BTreeMap::new() }
    }

    fn introduction(&self, number: u64) -> String {
        format!("payouts    settlement {number}: {} USDT for {}", sum(self.payouts.values()), self.payouts.len())
    }

    /// A line if every payout has come further than what was shown.
    fn progress(&mut self, number: u64, elapsed: Duration) -> Option<Line> {
        let stage = self.payouts.values().map(Stage::of).min()?;
        if stage <= self.stage {
            return None;
        }
        let before = std::mem::replace(&mut self.stage, stage);
        let text = match stage {
            Stage::Signed => format!("payouts    settlement {number}: the root is signed"),
            Stage::Posted => format!("payouts    settlement {number}: the root is posted"),
            Stage::Sent | Stage::Included if before < Stage::Sent => {
                format!("payouts    settlement {number}: pushed {}", self.transactions())
            }
            Stage::Owed | Stage::Sent | Stage::Included => return None,
            Stage::Paid => {
                let text = self.paid(number, elapsed);
                self.payouts.clear();
                return Some((Mark::Done, text));
            }
        };
        Some((Mark::Event, text))
    }

    fn paid(&self, number: u64, elapsed: Duration) -> String {
        let took = elapsed.saturating_sub(self.seen).as_secs_f64();
        format!(
            "paid       settlement {number}: {} USDT to {} {}, solidified {took:.1} s after its block",
            sum(self.payouts.values()),
            self.payouts.len(),
            self.transactions()
        )
    }

    fn transactions(&self) -> String {
        let ids: BTreeSet<_> = self.payouts.values().filter_map(|payout| payout.tx_id).collect();
        let named: Vec<_> = ids.iter().take(NAMED).map(ToString::to_string).collect();
        match ids.len().saturating_sub(named.len()) {
            0 if named.len() == 1 => format!("by transaction {}", named.concat()),
            0 => format!("by transactions {}", named.join(", ")),
            more => format!("by transactions {} and {more} more", named.join(", ")),
        }
    }

    /// A line if other payouts than before do not go on, or others do.
    fn waits(&mut self, number: u64) -> Option<Line> {
        if self.stage == Stage::Paid {
            return None;
        }
        let mut waiting = BTreeMap::new();
        let held_up = |p: &&PayoutView| Stage::of(p) == Stage::Owed && p.status != PayoutStatus::Owed;
        for payout in self.payouts.values().filter(held_up) {
            *waiting.entry(payout.status.to_string()).or_default() += 1;
        }
        if self.waiting == waiting {
            return None;
        }
        self.waiting = waiting;
        if self.waiting.is_empty() {
            return None;
        }
        let reasons: Vec<_> = self.waiting.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        Some((Mark::Warning, format!("payouts    settlement {number} waits: {}", reasons.join(", "))))
    }
}

fn sum<'a>(payouts: impl Iterator<Item = &'a PayoutView>) -> String {
    usdt(payouts.map(|payout| payout.amount_micro_usdt.get()).fold(0, u64::saturating_add))
}

#[cfg(test)]
#[path = "view/tests.rs"]
mod tests;
