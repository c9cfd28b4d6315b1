//! Commands that ask the running node: thin readers of its API.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use lucid_types::id::PayoutId;
use lucid_types::time::EpochNumber;
use reqwest::Client;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::output::{self, millionths, or_dash};
use crate::api::model::{
    EpochList, EpochView, ErrorBody, PayoutList, PayoutView, PeerList, ScoreList, StatusView, SyncState,
};

/// The node answers from memory or a local store; whatever takes longer does not come any more.
const TIME_LIMIT: Duration = Duration::from_secs(15);
/// Larger answers than the API gives are not the API's.
const MAX_ANSWER: usize = 64 << 20;

/// A node's API.
pub(super) struct Api {
    address: SocketAddr,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Api {
    /// The API that listens at `listen`.
    pub(super) fn of(listen: SocketAddr) -> anyhow::Result<Self> {
        if listen.port() == 0 {
            bail!("api.listen has port 0, so each run of the node has another port; give it a fixed one");
        }
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        // A proxy of the environment is not meant for the node next door.
        let client = Client::builder().no_proxy().timeout(TIME_LIMIT).build()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { address: SocketAddr::new(ip, listen.port()), client, runtime })
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.runtime.block_on(self.fetch(path))
    }

    async fn fetch<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let address = self.address;
        let answer = self.client.get(format!("http://{address}/api/v1/{path}")).send().await;
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => {
                // Between our words and the system's, the client library's say nothing new.
                let cause = anyhow!(error).root_cause().to_string();
                bail!(
                    "the node is not running, or not with this home: nothing answers at {address} (api.listen): {cause}"
                );
            }
            Err(error) => return Err(anyhow!(error).context(format!("the node at {address} gave no answer"))),
        };
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.context("the answer broke off")? {
            body.extend_from_slice(&part);
            if body.len() > MAX_ANSWER {
                bail!("the answer from {address} is too long");
            }
        }
        if !status.is_success() {
            match serde_json::from_slice::<ErrorBody>(&body) {
                Ok(ErrorBody { error }) => bail!("{} ({}, request {})", error.message, error.code, error.request_id),
                Err(_) => bail!("{address} answered {status}; is it a Lucid node that listens there?"),
            }
        }
        serde_json::from_slice(&body)
            .with_context(|| format!("{address} gave another answer than this version expects"))
    }
}

/// Prints what was asked for.
fn show<T: Serialize>(as_json: bool, value: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
    if as_json { output::json(value) } else { output::print(&text(value)) }
}

pub(super) fn status(api: &Api, as_json: bool) -> anyhow::Result<()> {
    show(as_json, &api.get::<StatusView>("status")?, |s| {
        let roles: Vec<&str> = s.roles.iter().map(|role| role.name()).collect();
        let sync = match s.sync {
            SyncState::Synced => "synced",
            SyncState::Syncing => "syncing: blocks are missing and come in",
            SyncState::Stalled => "stalled: a block is overdue",
        };
        output::pairs(&[
            ("node id", s.node_id.to_string()),
            ("peer id", s.peer_id.clone()),
            ("roles", roles.join(", ")),
            ("network id", s.network_id.to_string()),
            ("peers", s.peers.to_string()),
            ("height", s.height.to_string()),
            ("epoch", s.epoch.to_string()),
            ("block hash", s.block_hash.to_string()),
            ("state root", s.state_root.to_string()),
            ("sync", sync.to_owned()),
            ("pool", or_dash(s.pool.as_ref())),
            ("leader", or_dash(s.leader)),
            ("api", s.api.clone()),
        ])
    })
}

pub(super) fn epochs(api: &Api, epoch: Option<EpochNumber>, limit: usize, as_json: bool) -> anyhow::Result<()> {
    let list = match epoch {
        Some(epoch) => EpochList { epochs: vec![api.get::<EpochView>(&format!("epochs/{epoch}"))?] },
        None => api.get(&format!("epochs?limit={limit}"))?,
    };
    show(as_json, &list, |list| {
        let row = |e: &EpochView| {
            [
                e.epoch.to_string(),
                e.block_hash.short(),
                e.state_root.short(),
                e.round.to_string(),
                e.signatures.to_string(),
                e.commits.to_string(),
                e.reveals.to_string(),
                e.workers_scored.to_string(),
                or_dash(e.leaders.first().map(|leader| leader.leader.short())),
            ]
        };
        let rows: Vec<_> = list.epochs.iter().map(row).collect();
        let titles = ["epoch", "block", "state", "round", "signatures", "commits", "reveals", "scored", "leader"];
        output::table(titles, &rows)
    })
}

pub(super) fn scores(api: &Api, epoch: Option<EpochNumber>, as_json: bool) -> anyhow::Result<()> {
    let query = epoch.map_or_else(String::new, |epoch| format!("?epoch={epoch}"));
    show(as_json, &api.get::<ScoreList>(&format!("scores{query}"))?, |list| {
        let Some(epoch) = list.epoch else { return "no epoch has final scores yet\n".to_owned() };
        let rows: Vec<_> = list
            .scores
            .iter()
            .map(|s| {
                [
                    s.worker.short(),
                    millionths(u64::from(s.score_ppm.get()).saturating_mul(100)),
                    s.credits.to_string(),
                    or_dash(s.rtt_us),
                    or_dash(s.relay_kbit_s),
                    if s.unmeasured.is_empty() { "-".to_owned() } else { s.unmeasured.join(", ") },
                ]
            })
            .collect();
        let titles = ["worker", "score of 100", "credits", "rtt us", "kbit/s", "unmeasured"];
        format!("epoch {epoch}\n{}", output::table(titles, &rows))
    })
}

pub(super) fn payouts(api: &Api, id: Option<PayoutId>, limit: usize, as_json: bool) -> anyhow::Result<()> {
    let list = match id {
        Some(id) => PayoutList { payouts: vec![api.get::<PayoutView>(&format!("payouts/{id}"))?] },
        None => api.get(&format!("payouts?limit={limit}"))?,
    };
    show(as_json, &list, |list| {
        let row = |p: &PayoutView| {
            [
                p.payout_id.short(),
                p.settlement.to_string(),
                p.worker.short(),
                p.address.to_string(),
                millionths(p.amount_micro_usdt.get()),
                p.attempt.to_string(),
                p.status.name().to_owned(),
                or_dash(p.tx_id),
            ]
        };
        let rows: Vec<_> = list.payouts.iter().map(row).collect();
        let titles = ["payout", "settlement", "worker", "address", "USDT", "attempt", "status", "transaction"];
        output::table(titles, &rows)
    })
}

pub(super) fn peers(api: &Api, as_json: bool) -> anyhow::Result<()> {
    show(as_json, &api.get::<PeerList>("peers")?, |list| {
        let rows: Vec<_> = list
            .peers
            .iter()
            .map(|p| {
                let address = p.addresses.first().map_or("-", |a| a.split("/p2p/").next().unwrap_or(a));
                [
                    p.node_id.short(),
                    p.transport.clone(),
                    p.direction.clone(),
                    or_dash(p.rtt_us),
                    format!("{:.1}", p.score),
                    address.to_owned(),
                    p.agent.clone(),
                ]
            })
            .collect();
        output::table(["node", "transport", "direction", "rtt us", "score", "address", "agent"], &rows)
    })
}
