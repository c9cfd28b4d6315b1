//! The report of a run, and whether it is a success. Pure: what was read from nodes and chain comes in as data.
//!
//! The JSON keys are stable; scripts read them.

use std::collections::BTreeMap;

use lucid_node::api::model::PayoutStatus;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{BlockHash, NetworkId, PayoutAddress, PayoutId, StateRoot, TxId};
use serde::{Deserialize, Serialize};

use crate::console::usdt;
use crate::plan::Role;

/// What `up --json` prints at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The network.
    pub network_id: NetworkId,
    /// The string by which nodes join the network and its pool.
    pub join: String,
    /// Epochs 1 to N as validator-1 has them.
    pub epochs: Vec<EpochEntry>,
    /// All nodes at one common height: the lowest head at the end.
    pub nodes: Vec<NodeReport>,
    /// Every payout request of the ledger.
    pub payouts: Vec<PayoutEntry>,
    /// What every address that payouts go to holds, read from the chain.
    pub balances: Vec<Balance>,
    /// The local TRON network.
    pub tron: TronReport,
}

/// An epoch that is final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochEntry {
    /// Its number.
    pub epoch: u64,
    /// The block that made it final.
    pub height: u64,
    /// That block's hash.
    pub block_hash: BlockHash,
    /// The state after it.
    pub state_root: StateRoot,
    /// The round that decided it.
    pub round: u32,
    /// Signatures in the certificate that validator-1 stored.
    pub signatures: usize,
    /// Workers that have a score.
    pub workers_scored: u32,
}

/// A node's block at the common height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Its name.
    pub name: String,
    /// What it does.
    pub roles: Vec<Role>,
    /// The common height.
    pub height: u64,
    /// Its block there.
    pub block_hash: BlockHash,
    /// Its state after that block.
    pub state_root: StateRoot,
}

/// One payout request: what became due for one worker in one settlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutEntry {
    /// Its id.
    pub payout_id: PayoutId,
    /// The name of the worker it pays.
    pub worker: String,
    /// Where to.
    pub address: PayoutAddress,
    /// How much.
    pub amount_micro_usdt: MicroUsdt,
    /// The transaction that paid it, or was sent to; `None` before there is one.
    pub tx_id: Option<TxId>,
    /// How far it has come; `paid` is the good end.
    pub status: PayoutStatus,
    /// The settlement.
    pub settlement: u64,
}

impl PayoutEntry {
    /// Whether it ended well.
    pub fn is_paid(&self) -> bool {
        self.status == PayoutStatus::Paid
    }
}

/// What an address holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// The address.
    pub address: PayoutAddress,
    /// Its units of the USDT contract.
    pub micro_usdt: MicroUsdt,
}

/// Where it was paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TronReport {
    /// Base URL of the HTTP API.
    pub url: String,
    /// The USDT contract.
    pub usdt_contract: PayoutAddress,
    /// The contract that paid.
    pub vault: PayoutAddress,
}

/// What the vault says of its money in the solidified view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultFigures {
    /// What it was given before the nodes started.
    pub given: MicroUsdt,
    /// What it holds.
    pub funds: MicroUsdt,
    /// What it has paid to accounts.
    pub paid_out: MicroUsdt,
    /// What it has paid to those who pushed.
    pub fees_paid: MicroUsdt,
}

impl Report {
    /// Everything in the report that no good run has; empty for a good one.
    ///
    /// `last` is the N of `--epochs N`.
    pub fn problems(&self, vault: &VaultFigures, last: Option<u64>) -> Vec<String> {
        let mut problems = self.disagreements();
        problems.extend(self.gaps(last));
        problems.extend(self.unpaid());
        problems.extend(self.wrong_balances(vault));
        problems
    }

    /// Where nodes hold different blocks or states; empty when they agree.
    pub fn disagreements(&self) -> Vec<String> {
        let Some(first) = self.nodes.first() else { return vec!["no node was compared".into()] };
        let differs = |node: &&NodeReport| {
            (node.height, node.block_hash, node.state_root) != (first.height, first.block_hash, first.state_root)
        };
        let tell = |node: &NodeReport| {
            format!(
                "{} has block {} and state {} at height {}, {} has block {} and state {} at height {}",
                node.name,
                node.block_hash,
                node.state_root,
                node.height,
                first.name,
                first.block_hash,
                first.state_root,
                first.height
            )
        };
        let mut problems: Vec<_> = self.nodes.iter().filter(differs).map(tell).collect();
        // What validator-1 listed as decided must be what the nodes hold.
        let listed = self.epochs.iter().find(|epoch| epoch.height == first.height);
        if listed.is_some_and(|e| (e.block_hash, e.state_root) != (first.block_hash, first.state_root)) {
            problems.push(format!("the epochs list another block at height {} than the nodes", first.height));
        }
        problems
    }

    fn gaps(&self, last: Option<u64>) -> Vec<String> {
        let last = last.unwrap_or_else(|| self.epochs.last().map_or(0, |epoch| epoch.epoch));
        let found: Vec<_> = self.epochs.iter().map(|epoch| epoch.epoch).collect();
        if (1..=last).eq(found.iter().copied()) {
            return vec![];
        }
        vec![format!("the epochs are {found:?} instead of 1 to {last}")]
    }

    fn unpaid(&self) -> Vec<String> {
        let open = self.payouts.iter().filter(|payout| !payout.is_paid());
        let tell = |p: &PayoutEntry| {
            format!(
                "payout {} of {} USDT to {} for settlement {} is {}",
                p.payout_id,
                usdt(p.amount_micro_usdt.get()),
                p.worker,
                p.settlement,
                p.status
            )
        };
        let without_tx = self.payouts.iter().filter(|p| p.is_paid() && p.tx_id.is_none());
        let strange = without_tx.map(|p| format!("payout {} is paid without a transaction", p.payout_id));
        open.map(tell).chain(strange).collect()
    }

    fn wrong_balances(&self, vault: &VaultFigures) -> Vec<String> {
        let mut paid: BTreeMap<PayoutAddress, u128> = BTreeMap::new();
        for payout in self.payouts.iter().filter(|payout| payout.is_paid()) {
            *paid.entry(payout.address).or_default() += u128::from(payout.amount_micro_usdt.get());
        }
        let total: u128 = paid.values().sum();
        let mut problems = Vec::new();
        for balance in &self.balances {
            let ledger = paid.remove(&balance.address).unwrap_or_default();
            if ledger != u128::from(balance.micro_usdt.get()) {
                let (address, chain) = (balance.address, balance.micro_usdt);
                problems.push(format!("{address} holds {chain} micro-USDT on the chain, the ledger paid it {ledger}"));
            }
        }
        problems.extend(paid.keys().map(|address| format!("the balance of {address} was not read from the chain")));
        let VaultFigures { given, funds, paid_out, fees_paid } = *vault;
        if total != u128::from(paid_out.get()) {
            problems
                .push(format!("the vault paid out {paid_out} micro-USDT, what is paid in the ledger sums to {total}"));
        }
        if MicroUsdt::sum([funds, paid_out, fees_paid]) != Some(given) {
            problems.push(format!(
                "the vault was given {given} micro-USDT; it holds {funds} and has paid out {paid_out} and {fees_paid} in push \
                 fees"
            ));
        }
        problems
    }
}

#[cfg(test)]
#[path = "report/tests.rs"]
pub(crate) mod tests;
