//! Reading the end of a run: every node at one height, the ledger, and the chain's balances.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use futures::future::join_all;
use lucid_node::api::model::{EpochView, PayoutView};
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{NodeId, PayoutId};

use crate::api::NodeApi;
use crate::report::{Balance, EpochEntry, NodeReport, PayoutEntry, Report, TronReport};
use crate::setup::{Network, Node};

/// The report, and what stood in the way of reading it.
#[derive(Debug)]
pub struct Collected {
    /// As far as it could be read.
    pub report: Report,
    /// Nodes that did not answer and answers that were missing, a line each.
    pub problems: Vec<String>,
    /// What the treasury holds less on the chain than at the start.
    pub treasury_spent: MicroUsdt,
}

/// Reads everything. `last` is the N of `--epochs N`, `known` the payouts seen during the run.
///
/// # Errors
/// The chain does not answer.
pub async fn collect(network: &Network, last: Option<u64>, known: &BTreeSet<PayoutId>) -> Result<Collected> {
    let mut problems = Vec::new();
    let answers = join_all(network.nodes.iter().map(async |node| (node, node.api().status().await))).await;
    let mut up = Vec::new();
    for (node, answer) in answers {
        match answer {
            Ok(status) => up.push((node, status.height.get())),
            Err(_) => problems.push(format!("{} is down", node.plan.name)),
        }
    }
    let common = up.iter().map(|(_, height)| *height).min().unwrap_or_default();
    let nodes = compare(&up, common, &mut problems).await;
    let teller = up.first().map(|(node, _)| node.api());
    let (epochs, payouts) = match teller {
        Some(teller) => ledger(network, teller, last.unwrap_or(common), known, &mut problems).await,
        None => (vec![], vec![]),
    };
    let (balances, treasury_spent) = chain(network).await?;
    let report = Report {
        network_id: network.id,
        epochs,
        nodes,
        payouts,
        balances,
        tron: TronReport { url: network.tron_url.clone(), usdt_contract: network.usdt, treasury: network.treasury },
    };
    Ok(Collected { report, problems, treasury_spent })
}

/// Every node's block at the common height; none at height 0, where nothing was decided.
async fn compare(up: &[(&Node, u64)], height: u64, problems: &mut Vec<String>) -> Vec<NodeReport> {
    if height == 0 {
        return vec![];
    }
    let blocks = join_all(up.iter().map(async |(node, _)| (node, node.api().epoch(height).await))).await;
    let mut nodes = Vec::new();
    for (node, block) in blocks {
        match block {
            Ok(Some(block)) => nodes.push(NodeReport {
                name: node.plan.name.clone(),
                roles: node.plan.roles.clone(),
                height,
                block_hash: block.block_hash,
                state_root: block.state_root,
            }),
            Ok(None) => problems.push(format!("{} has no block at height {height}", node.plan.name)),
            Err(error) => problems.push(format!("{}: {error}", node.plan.name)),
        }
    }
    nodes
}

async fn ledger(
    network: &Network,
    teller: NodeApi,
    last: u64,
    known: &BTreeSet<PayoutId>,
    problems: &mut Vec<String>,
) -> (Vec<EpochEntry>, Vec<PayoutEntry>) {
    let epochs = teller.epochs(1, last).await.unwrap_or_else(|error| {
        problems.push(error.to_string());
        vec![]
    });
    let mut payouts = all_payouts(teller, known).await.unwrap_or_else(|error| {
        problems.push(error.to_string());
        vec![]
    });
    let names: BTreeMap<NodeId, (usize, &str)> = network
        .nodes
        .iter()
        .enumerate()
        .map(|(i, node)| (node.identity.node_id, (i, node.plan.name.as_str())))
        .collect();
    payouts.sort_by_key(|payout| (payout.settlement, names.get(&payout.worker).map(|(i, _)| *i)));
    let name = |node: &NodeId| names.get(node).map_or_else(|| node.to_string(), |(_, name)| (*name).to_owned());
    (
        epochs.iter().map(entry).collect(),
        payouts.iter().map(|payout| payout_entry(payout, name(&payout.worker))).collect(),
    )
}

/// All payouts; those that no longer stand on the first page are asked for one by one.
async fn all_payouts(teller: NodeApi, known: &BTreeSet<PayoutId>) -> Result<Vec<PayoutView>> {
    let mut payouts: BTreeMap<_, _> = teller.payouts().await?.into_iter().map(|p| (p.payout_id, p)).collect();
    for id in known {
        if !payouts.contains_key(id)
            && let Some(payout) = teller.payout(id).await?
        {
            payouts.insert(*id, payout);
        }
    }
    Ok(payouts.into_values().collect())
}

fn entry(block: &EpochView) -> EpochEntry {
    EpochEntry {
        epoch: block.epoch.get(),
        block_hash: block.block_hash,
        state_root: block.state_root,
        round: block.round,
        signatures: block.signatures,
        workers_scored: block.workers_scored,
    }
}

fn payout_entry(payout: &PayoutView, worker: String) -> PayoutEntry {
    PayoutEntry {
        payout_id: payout.payout_id,
        worker,
        address: payout.address,
        amount_micro_usdt: payout.amount_micro_usdt,
        tx_id: payout.tx_id,
        status: payout.status,
        attempt: payout.attempt,
    }
}

/// Every worker's balance, and what the treasury has spent.
async fn chain(network: &Network) -> Result<(Vec<Balance>, MicroUsdt)> {
    let mut balances = Vec::new();
    for address in network.nodes.iter().filter_map(|node| node.payout_address) {
        let micro_usdt = network.tron.token_balance(&network.usdt, &address).await?;
        balances.push(Balance { address, micro_usdt });
    }
    let left = network.tron.token_balance(&network.usdt, &network.treasury).await?;
    Ok((balances, network.treasury_usdt.saturating_sub(left)))
}
