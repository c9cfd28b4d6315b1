//! Commands that ask the running node: thin readers of its API.

use lucid_types::time::EpochNumber;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::node_api::NodeApi;
use super::output::{self, millionths, or_dash};
use crate::api::model::{EpochList, EpochView, PeerList, ScoreList, StatusView, SyncState};

/// A node's API for commands that ask once.
pub(super) struct Api {
    node: NodeApi,
    runtime: tokio::runtime::Runtime,
}

impl Api {
    /// Asks this node.
    pub(super) fn new(node: NodeApi) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { node, runtime })
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.runtime.block_on(self.node.get(path))
    }
}

/// Prints what was asked for.
pub(super) fn show<T: Serialize>(as_json: bool, value: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
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
            ("owed USDT", or_dash(s.owed_micro_usdt.map(|amount| millionths(amount.get())))),
            ("paid USDT", or_dash(s.paid_micro_usdt.map(|amount| millionths(amount.get())))),
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
