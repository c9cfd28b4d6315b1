//! Watching a network from outside: asks every node how far it is and two of them what the ledger says.
//!
//! The nodes' API has no push; each round asks once, and a new round begins [`PAUSE`] after the last was taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use lucid_node::api::model::{EpochView, PayoutStatus, PayoutView, ScoreList, StatusView};
use lucid_tron_bridge::client::Client;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{NodeId, PayoutAddress, PoolId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::api::{self, ApiError, NodeApi};
use crate::payouts::{Payouts, Stage, is_open, merge};

/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(250);
/// Between two readings of payouts while no epoch becomes final.
const PAYOUT_PAUSE: Duration = Duration::from_secs(1);
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
    /// What is new; `None` while nothing is.
    pub news: Option<News>,
    /// How long each answer took, in any order.
    pub times: Vec<Duration>,
}

/// What is new in the ledger and about its payouts since the last round, as the furthest node tells it.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// The final epoch up to which the ledger was read.
    pub epoch: u64,
    /// Epochs that have become final, ascending.
    pub epochs: Vec<EpochView>,
    /// The newest final scores, if an epoch has become final.
    pub scores: Option<ScoreList>,
    /// Payouts that are new or have changed.
    pub payouts: Vec<PayoutView>,
    /// What paid addresses hold on the chain, if any payout was paid since the last round.
    pub balances: BTreeMap<PayoutAddress, MicroUsdt>,
    /// What the leader tells of its payouts and did not tell before.
    pub alerts: Vec<(NodeId, String)>,
    /// Attestations that the telling node has seen since it started, if an epoch has become final.
    pub attestations: Option<u64>,
}

/// Asks the nodes and the chain.
#[derive(Debug)]
pub struct Watcher {
    nodes: Vec<Watched>,
    tron: Arc<Client>,
    usdt: PayoutAddress,
    epoch: u64,
    /// Of the newest settlement: it knows first what it has had signed and has sent, and what keeps it from that.
    leader: Option<(PoolId, NodeId)>,
    /// Alerts that leaders told, without their figures.
    alerts: BTreeSet<(NodeId, String)>,
    payouts: Payouts,
    payouts_read: Instant,
}

impl Watcher {
    /// Watches these nodes, and the balances of the token on this chain.
    pub fn new(nodes: Vec<Watched>, tron: Arc<Client>, usdt: PayoutAddress) -> Self {
        let (alerts, payouts) = (BTreeSet::new(), Payouts::new());
        Self { nodes, tron, usdt, epoch: 0, leader: None, alerts, payouts, payouts_read: Instant::now() }
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
        let progress = nodes.iter().zip(&self.nodes).filter_map(|(status, node)| Some((status.as_ref()?, node)));
        let furthest = progress.rev().max_by_key(|(status, _)| status.height);
        let Some((status, teller)) = furthest else { return Ok(None) };
        let (epoch, teller) = (status.final_epoch.get(), teller.clone());
        let mut news = News { epoch: epoch.max(self.epoch), ..News::default() };
        if epoch > self.epoch {
            news.epochs = teller.api.epochs(self.epoch + 1, epoch).await?;
            news.scores = Some(teller.api.scores().await?);
            news.attestations = api::counter(teller.metrics_port, ATTESTATIONS).await;
            let elected = news
                .epochs
                .iter()
                .filter_map(|epoch| epoch.block.as_ref())
                .flat_map(|block| &block.leaders)
                .next_back();
            self.leader = elected.map(|elected| (elected.pool, elected.leader)).or(self.leader);
        } else if self.payouts_read.elapsed() < PAYOUT_PAUSE || !self.payouts.values().any(is_open) {
            return Ok(None);
        }
        news.payouts = self.changed_payouts(nodes, teller.api).await?;
        news.alerts = self.new_alerts(nodes).await;
        if news.epochs.is_empty() && news.payouts.is_empty() && news.alerts.is_empty() {
            return Ok(None);
        }
        let paid = news.payouts.iter().filter(|payout| payout.status == PayoutStatus::Paid);
        news.balances = self.balances(paid.map(|payout| payout.address)).await;
        self.epoch = news.epoch;
        self.payouts.extend(news.payouts.iter().map(|payout| (payout.payout_id, payout.clone())));
        Ok(Some(news))
    }

    /// What the furthest node says of payouts, and the leader where it is further.
    async fn changed_payouts(
        &mut self,
        nodes: &[Option<StatusView>],
        teller: NodeApi,
    ) -> Result<Vec<PayoutView>, ApiError> {
        self.payouts_read = Instant::now();
        let mut told = Payouts::new();
        merge(&mut told, teller.payouts().await?);
        if let Some((_, _, leader)) = self.leader(nodes) {
            match leader.payouts().await {
                Ok(payouts) => merge(&mut told, payouts),
                Err(error) => tracing::debug!(%error, "the leader was not asked"),
            }
        }
        // Unfinished ones that newer settlements have pushed off the page.
        let off_page = self.payouts.values().filter(|p| Stage::of(p) < Stage::Paid);
        let off_page: Vec<_> = off_page.map(|p| p.payout_id).filter(|id| !told.contains_key(id)).collect();
        for id in off_page {
            merge(&mut told, teller.payout(&id).await?);
        }
        self.payouts.retain(|id, payout| told.contains_key(id) || is_open(payout));
        let is_new = |payout: &PayoutView| self.payouts.get(&payout.payout_id) != Some(payout);
        let mut changed: Vec<_> = told.into_values().filter(is_new).collect();
        changed.sort_by_key(|payout| (payout.settlement, payout.worker));
        Ok(changed)
    }

    /// The leader, if it answers.
    fn leader(&self, nodes: &[Option<StatusView>]) -> Option<(PoolId, NodeId, NodeApi)> {
        let (pool, leader) = self.leader?;
        let is_leader = |status: &Option<StatusView>| status.as_ref().is_some_and(|status| status.node_id == leader);
        let (_, node) = nodes.iter().zip(&self.nodes).find(|(status, _)| is_leader(status))?;
        Some((pool, leader, node.api))
    }

    async fn new_alerts(&mut self, nodes: &[Option<StatusView>]) -> Vec<(NodeId, String)> {
        let Some((pool, leader, api)) = self.leader(nodes) else { return vec![] };
        let told = match api.pool(&pool).await {
            Ok(pool) => pool.map(|pool| pool.alerts).unwrap_or_default(),
            Err(error) => {
                tracing::debug!(%error, "the leader was not asked");
                return vec![];
            }
        };
        let without_figures = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
        let now: BTreeSet<_> = told.iter().map(|text| (leader, without_figures(text))).collect();
        let is_new = |text: &String| !self.alerts.contains(&(leader, without_figures(text)));
        let new = told.into_iter().filter(is_new).map(|text| (leader, text)).collect();
        self.alerts.retain(|alert| alert.0 != leader);
        self.alerts.extend(now);
        new
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
