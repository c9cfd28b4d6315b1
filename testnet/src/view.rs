//! What people see of a network: each [`Snapshot`] becomes lines about what has changed. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_node::api::model::{EpochView, PayoutStatus, PayoutView, ScoreList};
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{NodeId, PayoutAddress, PayoutId};

use crate::console::{Mark, short, usdt};
use crate::watch::{News, Snapshot};

/// Workers shown in one line of scores.
const SHOWN: usize = 8;

/// A line about something that happened.
pub type Line = (Mark, String);

/// Remembers what was shown.
#[derive(Debug)]
pub struct View {
    names: BTreeMap<NodeId, String>,
    pool: String,
    peers: Option<(usize, usize)>,
    unmeasured: Option<Vec<String>>,
    shown: BTreeMap<PayoutId, (PayoutStatus, u32)>,
    balances: BTreeMap<PayoutAddress, MicroUsdt>,
    /// When each settlement's payouts were first and all paid, from the first snapshot that showed them.
    settlements: BTreeMap<u64, Settlement>,
}

#[derive(Debug)]
struct Settlement {
    seen: Duration,
    open: usize,
}

impl View {
    /// Shows nodes by these names, and one pool.
    pub fn new(names: BTreeMap<NodeId, String>, pool: impl Into<String>) -> Self {
        Self {
            names,
            pool: pool.into(),
            peers: None,
            unmeasured: None,
            shown: BTreeMap::new(),
            balances: BTreeMap::new(),
            settlements: BTreeMap::new(),
        }
    }

    /// Lines about what `snapshot` has that was not shown yet. `elapsed` is the time since `up` was started.
    pub fn lines(&mut self, elapsed: Duration, snapshot: &Snapshot) -> Vec<Line> {
        let mut lines = self.peers(snapshot);
        if let Some(news) = &snapshot.news {
            self.blocks(elapsed, news, &mut lines);
            if let Some(scores) = &news.scores {
                self.scores(scores, &mut lines);
            }
            self.payouts(elapsed, news, &mut lines);
            self.balances(news, &mut lines);
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

    fn blocks(&mut self, elapsed: Duration, news: &News, lines: &mut Vec<Line>) {
        for block in &news.epochs {
            lines.push((Mark::Event, self.block(elapsed, block, news.attestations)));
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

    fn block(&self, elapsed: Duration, block: &EpochView, attestations: Option<u64>) -> String {
        let seen = attestations.map(|n| format!(", {n} attestations seen")).unwrap_or_default();
        format!(
            "epoch {:<4} decided {:.1} s after start: block {}, state {}, round {}, {} signatures, {} commits, \
             {} reveals, {} workers scored{seen}",
            block.epoch.get(),
            elapsed.as_secs_f64(),
            short(block.block_hash),
            short(block.state_root),
            block.round,
            block.signatures,
            block.commits,
            block.reveals,
            block.workers_scored,
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

    fn payouts(&mut self, elapsed: Duration, news: &News, lines: &mut Vec<Line>) {
        let mut payouts: Vec<_> = news.payouts.iter().collect();
        payouts.sort_by_key(|payout| (payout.settlement, self.name(&payout.worker)));
        for payout in payouts {
            let now = (payout.status, payout.attempt);
            let before = self.shown.insert(payout.payout_id, now);
            if before == Some(now) {
                continue;
            }
            let mark = if payout.status == PayoutStatus::Held { Mark::Warning } else { Mark::Event };
            lines.push((mark, self.payout(payout)));
            let settlement = self.settlements.entry(payout.settlement).or_insert(Settlement { seen: elapsed, open: 0 });
            let was_open = before.is_some_and(|(status, _)| status != PayoutStatus::Paid);
            let is_open = payout.status != PayoutStatus::Paid;
            settlement.open = (settlement.open + usize::from(is_open)).saturating_sub(usize::from(was_open));
            if was_open && !is_open && settlement.open == 0 {
                let took = elapsed.saturating_sub(settlement.seen).as_secs_f64();
                let text = format!(
                    "paid       settlement {}: all receipts final {took:.1} s after its block",
                    payout.settlement
                );
                lines.push((Mark::Done, text));
            }
        }
    }

    fn payout(&self, payout: &PayoutView) -> String {
        let tx = payout.tx_id.map(|id| format!(", transaction {id}")).unwrap_or_default();
        let block = payout.block.map(|number| format!(" in TRON block {number}")).unwrap_or_default();
        let attempt = if payout.attempt > 1 { format!(" (attempt {})", payout.attempt) } else { String::new() };
        format!(
            "payout     {}: {} USDT to {}{attempt}{tx}{block}",
            payout.status,
            usdt(payout.amount_micro_usdt.get()),
            self.name(&payout.worker),
        )
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

#[cfg(test)]
#[path = "view/tests.rs"]
mod tests;
