//! Reading the end of a run: every node at one height, the ledger, and the chain's balances.

use std::collections::BTreeMap;

use anyhow::Result;
use futures::future::join_all;
use lucid_node::api::model::{EpochView, PayoutView};
use lucid_types::id::NodeId;

use crate::api::NodeApi;
use crate::funding::VAULT_FUNDS;
use crate::payouts::{Payouts, merge};
use crate::plan::OWNER;
use crate::report::{Balance, EpochEntry, NodeReport, PayoutEntry, Report, TronReport, VaultFigures};
use crate::setup::{Network, Node};

/// The report, and what stood in the way of reading it.
#[derive(Debug)]
pub struct Collected {
    /// As far as it could be read.
    pub report: Report,
    /// Nodes that did not answer and answers that were missing, a line each.
    pub problems: Vec<String>,
    /// The vault's money.
    pub vault: VaultFigures,
}

/// Reads everything. `last` is the N of `--epochs N`, `known` what was told of payouts during the run.
///
/// # Errors
/// The chain does not answer.
pub async fn collect(network: &Network, last: Option<u64>, known: &Payouts) -> Result<Collected> {
    let mut problems = Vec::new();
    let answers = join_all(network.nodes.iter().map(async |node| (node, node.api().status().await))).await;
    let mut up = Vec::new();
    for (node, answer) in answers {
        match answer {
            Ok(status) => up.push((node, status.height.get(), status.final_epoch.get())),
            Err(_) => problems.push(format!("{} is down", node.plan.name)),
        }
    }
    let common = up.iter().map(|(_, height, _)| *height).min().unwrap_or_default();
    let final_epoch = up.iter().map(|(_, _, epoch)| *epoch).min().unwrap_or_default();
    let nodes = compare(&up, common, &mut problems).await;
    let teller = up.first().map(|(node, ..)| node.api());
    let (epochs, payouts) = match teller {
        Some(teller) => ledger(network, teller, last.unwrap_or(final_epoch), known, &mut problems).await,
        None => (vec![], vec![]),
    };
    let (balances, vault) = chain(network).await?;
    let report = Report {
        network_id: network.id,
        join: network.join.clone(),
        epochs,
        nodes,
        payouts,
        balances,
        tron: TronReport { url: network.tron_url.clone(), usdt_contract: network.usdt, vault: network.vault },
    };
    Ok(Collected { report, problems, vault })
}

/// Every node's block at the common height; none at height 0, where nothing was decided.
async fn compare(up: &[(&Node, u64, u64)], height: u64, problems: &mut Vec<String>) -> Vec<NodeReport> {
    if height == 0 {
        return vec![];
    }
    let blocks = join_all(up.iter().map(async |(node, ..)| (node, node.api().block(height).await))).await;
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
    known: &Payouts,
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
    let nodes = network.nodes.iter().map(|node| (node.identity.node_id, node.plan.name.as_str()));
    let names = nodes.chain([(network.owner.node_id, OWNER)]).enumerate().map(|(i, (id, name))| (id, (i, name)));
    let names: BTreeMap<NodeId, (usize, &str)> = names.collect();
    payouts.sort_by_key(|payout| (payout.settlement, names.get(&payout.worker).map(|(i, _)| *i)));
    let name = |node: &NodeId| names.get(node).map_or_else(|| node.to_string(), |(_, name)| (*name).to_owned());
    (
        epochs.iter().filter_map(entry).collect(),
        payouts.iter().map(|payout| payout_entry(payout, name(&payout.worker))).collect(),
    )
}

/// All payouts; those that no longer stand on the first page are asked for one by one. Nodes read the chain each at its own
/// pace, so what another node told before counts where it is further.
async fn all_payouts(teller: NodeApi, known: &Payouts) -> Result<Vec<PayoutView>> {
    let mut payouts = Payouts::new();
    merge(&mut payouts, teller.payouts().await?);
    for id in known.keys() {
        if !payouts.contains_key(id) {
            merge(&mut payouts, teller.payout(id).await?);
        }
    }
    merge(&mut payouts, known.values().cloned());
    Ok(payouts.into_values().collect())
}

/// An epoch that is final.
fn entry(epoch: &EpochView) -> Option<EpochEntry> {
    let block = epoch.block.as_ref()?;
    Some(EpochEntry {
        epoch: epoch.epoch.get(),
        height: block.height.get(),
        block_hash: block.block_hash,
        state_root: block.state_root,
        round: block.round,
        signatures: block.signatures,
        workers_scored: epoch.workers_scored.unwrap_or(0),
    })
}

fn payout_entry(payout: &PayoutView, worker: String) -> PayoutEntry {
    PayoutEntry {
        payout_id: payout.payout_id,
        worker,
        address: payout.address,
        amount_micro_usdt: payout.amount_micro_usdt,
        tx_id: payout.tx_id,
        status: payout.status,
        settlement: payout.settlement,
    }
}

/// Every worker's balance and the vault's figures, from the solidified view.
async fn chain(network: &Network) -> Result<(Vec<Balance>, VaultFigures)> {
    let mut balances = Vec::new();
    for address in network.nodes.iter().filter_map(|node| node.payout_address) {
        let micro_usdt = network.tron.token_balance(&network.usdt, &address).await?;
        balances.push(Balance { address, micro_usdt });
    }
    let vault = network.tron.vault_snapshot(&network.vault, &[]).await?;
    let figures =
        VaultFigures { given: VAULT_FUNDS, funds: vault.funds, paid_out: vault.paid_out, fees_paid: vault.fees_paid };
    Ok((balances, figures))
}
