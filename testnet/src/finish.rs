//! When a run with `--epochs N` is over: everything that was due by epoch N is paid. Pure.

use lucid_node::api::model::PayoutView;
use lucid_types::id::NodeId;

use crate::console::{short, usdt};
use crate::payouts::{Payouts, is_open};
use crate::watch::Snapshot;

/// What must have happened, and what has.
#[derive(Debug)]
pub struct Finish {
    names: Vec<String>,
    last: u64,
    settlements: u64,
    /// Who must have been paid, by name.
    late: Vec<(NodeId, String)>,
    /// The epochs up to which nodes have final scores.
    epochs: Vec<Option<u64>>,
    /// The epoch up to which the ledger was read.
    read: u64,
    payouts: Payouts,
}

impl Finish {
    /// Over when epoch `last` is final on the nodes called `names` and what is due is paid: for `settlements` settlements in which there
    /// were workers, and to each of `late` once at least.
    pub fn new(names: Vec<String>, last: u64, settlements: u64, late: Vec<(NodeId, String)>) -> Self {
        let epochs = vec![None; names.len()];
        Self { names, last, settlements, late, epochs, read: 0, payouts: Payouts::new() }
    }

    /// Takes what one round saw.
    pub fn update(&mut self, snapshot: &Snapshot) {
        self.epochs = snapshot.nodes.iter().map(|node| node.as_ref().map(|status| status.final_epoch.get())).collect();
        if let Some(news) = &snapshot.news {
            self.read = news.epoch;
            self.payouts.extend(news.payouts.iter().map(|payout| (payout.payout_id, payout.clone())));
        }
    }

    /// What is missing, a line each; empty when the run is over. Nodes for which `is_down` says so are not waited for:
    /// the report names them.
    pub fn missing(&self, is_down: impl Fn(&str) -> bool) -> Vec<String> {
        let mut missing = Vec::new();
        for (name, epoch) in self.names.iter().zip(&self.epochs) {
            match epoch {
                Some(epoch) if *epoch >= self.last => {}
                _ if is_down(name) => {}
                Some(epoch) => missing.push(format!("{name} has final scores up to epoch {epoch} of {}", self.last)),
                None => missing.push(format!("{name} does not answer")),
            }
        }
        if self.names.iter().all(|name| is_down(name)) {
            missing.push("no node runs".into());
        }
        if self.epochs.iter().flatten().any(|epoch| *epoch >= self.last) {
            missing.extend(self.missing_payouts());
        }
        missing
    }

    /// Why an end without anything missing proves nothing: settlements were due and none paid anybody, or not a late worker. One alone
    /// may carry its budget over, when nobody earned in its epochs.
    pub fn unproven(&self) -> Vec<String> {
        if self.settlements > 0 && self.payouts.is_empty() {
            return vec![format!("none of the {} settlements that were due has a payout", self.settlements)];
        }
        let is_paid = |node: &NodeId| self.payouts.values().any(|payout| payout.worker == *node);
        let unpaid = self.late.iter().filter(|(node, _)| !is_paid(node));
        unpaid.map(|(_, name)| format!("{name}, which joined late, has no payout")).collect()
    }

    fn missing_payouts(&self) -> Vec<String> {
        if self.read < self.last {
            return vec![format!("the payouts up to epoch {} were not read", self.last)];
        }
        let open = self.payouts.values().filter(|payout| is_open(payout));
        let tell = |p: &PayoutView| {
            format!(
                "payout {} of {} USDT for settlement {} is {}",
                short(p.payout_id),
                usdt(p.amount_micro_usdt.get()),
                p.settlement,
                p.status
            )
        };
        open.map(tell).collect()
    }
}

#[cfg(test)]
#[path = "finish/tests.rs"]
mod tests;
