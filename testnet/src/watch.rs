//! Watching a network from outside: asks every node how far it is and one node what the ledger says.
//!
//! The nodes' API has no push; each round asks once, and a new round begins [`PAUSE`] after the last was taken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use lucid_node::api::model::{EpochView, PayoutStatus, PayoutView, ScoreList, StatusView};
use lucid_tron_bridge::client::Client;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{PayoutAddress, PayoutId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::api::{self, ApiError, NodeApi};

/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(250);
/// The sample of the metrics page that counts attestations which were checked and passed on.
const ATTESTATIONS: &str = "lucid_mesh_total{group=\"attestations\",reason=\"accepted\"}";

/// A node to watch.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its API.
    pub api: NodeApi,
    /// Its metrics listener.
    pub metrics_port: u16,
}

/// What one round saw.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Every node in the order of the plan; `None` for one that did not answer.
    pub nodes: Vec<Option<StatusView>>,
    /// What is new in the ledger; `None` while its height is the same.
    pub news: Option<News>,
    /// How long each answer took, in any order.
    pub times: Vec<Duration>,
}

/// What the ledger has since the last round, as the furthest node tells it.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// New blocks, ascending.
    pub epochs: Vec<EpochView>,
    /// The newest final scores.
    pub scores: Option<ScoreList>,
    /// Payouts that are new or have changed.
    pub payouts: Vec<PayoutView>,
    /// What paid addresses hold on the chain, if any payout was paid since the last round.
    pub balances: BTreeMap<PayoutAddress, MicroUsdt>,
    /// Attestations that the telling node has seen since it started.
    pub attestations: Option<u64>,
}

/// Asks the nodes and the chain.
#[derive(Debug)]
pub struct Watcher {
    nodes: Vec<Watched>,
    tron: Arc<Client>,
    usdt: PayoutAddress,
    height: u64,
    payouts: BTreeMap<PayoutId, PayoutView>,
}

impl Watcher {
    /// Watches these nodes, and the balances of the token on this chain.
    pub fn new(nodes: Vec<Watched>, tron: Arc<Client>, usdt: PayoutAddress) -> Self {
        Self { nodes, tron, usdt, height: 0, payouts: BTreeMap::new() }
    }

    /// Sends what each round saw, until nobody listens. The channel's bound is the receiver's choice: while it is
    /// full, no round begins.
    pub async fn run(mut self, snapshots: mpsc::Sender<Snapshot>) {
        while let Ok(slot) = snapshots.reserve().await {
            slot.send(self.round().await);
            sleep(PAUSE).await;
        }
    }

    async fn round(&mut self) -> Snapshot {
        let asked = join_all(self.nodes.iter().map(async |node| {
            let start = Instant::now();
            let status = node.api.status().await.ok()?;
            Some((status, start.elapsed()))
        }));
        let answers = asked.await;
        let times = answers.iter().flatten().map(|(_, time)| *time).collect();
        let nodes: Vec<_> = answers.into_iter().map(|answer| answer.map(|(status, _)| status)).collect();
        let news = match self.news(&nodes).await {
            Ok(news) => news,
            Err(error) => {
                // The node went away between two questions; the next round asks another.
                tracing::debug!(%error, "ledger was not read");
                None
            }
        };
        Snapshot { nodes, news, times }
    }

    /// Reads the ledger from the furthest node, the first of the plan among equals.
    async fn news(&mut self, nodes: &[Option<StatusView>]) -> Result<Option<News>, ApiError> {
        let heights = nodes.iter().zip(&self.nodes).filter_map(|(status, node)| Some((status.as_ref()?, node)));
        let furthest = heights.rev().max_by_key(|(status, _)| status.height);
        let Some((status, teller)) = furthest.filter(|(status, _)| status.height.get() > self.height) else {
            return Ok(None);
        };
        let (height, teller) = (status.height.get(), teller.clone());
        let epochs = teller.api.epochs(self.height + 1, height).await?;
        let scores = teller.api.scores().await?;
        let payouts = self.changed_payouts(&teller).await?;
        let paid = payouts.iter().filter(|payout| payout.status == PayoutStatus::Paid);
        let balances = self.balances(paid.map(|payout| payout.address)).await;
        let attestations = api::counter(teller.metrics_port, ATTESTATIONS).await;
        self.height = height;
        self.payouts.extend(payouts.iter().map(|payout| (payout.payout_id, payout.clone())));
        Ok(Some(News { epochs, scores: Some(scores), payouts, balances, attestations }))
    }

    async fn changed_payouts(&self, teller: &Watched) -> Result<Vec<PayoutView>, ApiError> {
        let mut listed = teller.api.payouts().await?;
        // Unfinished ones that newer settlements have pushed off the page.
        let on_page: Vec<_> = listed.iter().map(|payout| payout.payout_id).collect();
        let open = self.payouts.values().filter(|p| p.status != PayoutStatus::Paid && !on_page.contains(&p.payout_id));
        for payout in open {
            listed.extend(teller.api.payout(&payout.payout_id).await?);
        }
        listed.retain(|payout| self.payouts.get(&payout.payout_id) != Some(payout));
        listed.sort_by_key(|payout| (payout.settlement, payout.worker));
        Ok(listed)
    }

    async fn balances(&self, addresses: impl Iterator<Item = PayoutAddress>) -> BTreeMap<PayoutAddress, MicroUsdt> {
        let mut balances = BTreeMap::new();
        for address in addresses {
            match self.tron.token_balance(&self.usdt, &address).await {
                Ok(balance) => drop(balances.insert(address, balance)),
                Err(error) => tracing::debug!(%address, %error, "balance was not read"),
            }
        }
        balances
    }
}
