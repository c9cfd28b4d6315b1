//! Commands that ask the running node: thin readers of its API.

use clap::Subcommand;
use lucid_types::id::NodeId;
use lucid_types::time::Epoch;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Json;
use super::node_api::NodeApi;
use super::output::{self, millionths, or_dash};
use crate::api::model::{
    BlockList, BlockView, CertificateView, EpochList, EpochStage, EpochView, PeerList, ScoreList, StatusView,
    SyncState, ValidatorList, ValidatorView,
};

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
            ("final epoch", s.final_epoch.to_string()),
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

#[derive(Debug, Subcommand)]
pub(super) enum BlockAction {
    /// List final blocks, newest first
    List {
        /// Only blocks below this height
        #[arg(long, value_name = "HEIGHT")]
        before: Option<u64>,
        /// At most so many, up to 1000
        #[arg(long, default_value_t = 20)]
        limit: usize,
        #[command(flatten)]
        json: Json,
    },
    /// Show a final block; with --certificate the proof that it was decided
    Show {
        /// Its number
        height: u64,
        /// Show the precommits that this node stored with it
        #[arg(long)]
        certificate: bool,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum EpochAction {
    /// List epochs, newest first
    List {
        /// Only epochs before this one
        #[arg(long, value_name = "N", value_parser = super::epoch)]
        before: Option<Epoch>,
        /// At most so many, up to 1000
        #[arg(long, default_value_t = 20)]
        limit: usize,
        #[command(flatten)]
        json: Json,
    },
    /// Show an epoch
    Show {
        /// Its number
        #[arg(value_parser = super::epoch)]
        epoch: Epoch,
        #[command(flatten)]
        json: Json,
    },
}

fn before(number: Option<u64>) -> String {
    number.map_or_else(String::new, |number| format!("&before={number}"))
}

pub(super) fn block(api: &Api, action: BlockAction) -> anyhow::Result<()> {
    match action {
        BlockAction::List { before: end, limit, json } => {
            let list: BlockList = api.get(&format!("blocks?limit={limit}{}", before(end)))?;
            show(json.json, &list, |list| {
                let row = |b: &BlockView| {
                    [
                        b.height.to_string(),
                        b.block_hash.short(),
                        b.state_root.short(),
                        b.round.to_string(),
                        b.signatures.to_string(),
                        b.commitments.to_string(),
                        b.reveals.to_string(),
                        b.commands.to_string(),
                        b.payout_roots.to_string(),
                        b.proposer.short(),
                    ]
                };
                let rows: Vec<_> = list.blocks.iter().map(row).collect();
                let titles = [
                    "height",
                    "block",
                    "state",
                    "round",
                    "signatures",
                    "commitments",
                    "reveals",
                    "commands",
                    "roots",
                    "proposer",
                ];
                output::table(titles, &rows)
            })
        }
        BlockAction::Show { height, certificate: true, json } => {
            let proof: CertificateView = api.get(&format!("blocks/{height}/certificate"))?;
            show(json.json, &proof, |proof| {
                let rows: Vec<_> =
                    proof.signatures.iter().map(|it| [it.validator.to_string(), it.signature.to_string()]).collect();
                let head = format!("block {} at height {}, round {}\n", proof.block_hash, proof.height, proof.round);
                head + &output::table(["validator", "precommit"], &rows)
            })
        }
        BlockAction::Show { height, certificate: false, json } => {
            let block: BlockView = api.get(&format!("blocks/{height}"))?;
            show(json.json, &block, |b| {
                let leaders: Vec<_> = b.leaders.iter().map(|leader| leader.leader.to_string()).collect();
                output::pairs(&[
                    ("height", b.height.to_string()),
                    ("block hash", b.block_hash.to_string()),
                    ("parent", b.parent.to_string()),
                    ("state root", b.state_root.to_string()),
                    ("time (Unix ms)", b.time.to_string()),
                    ("proposer", b.proposer.to_string()),
                    ("round", b.round.to_string()),
                    ("signatures", b.signatures.to_string()),
                    ("report commitments", b.commitments.to_string()),
                    ("reveals", b.reveals.to_string()),
                    ("commands", b.commands.to_string()),
                    ("payout roots", b.payout_roots.to_string()),
                    ("equivocation proved", or_dash(listed(&b.equivocated))),
                    ("leaders elected", if leaders.is_empty() { "-".to_owned() } else { leaders.join(", ") }),
                ])
            })
        }
    }
}

fn listed(nodes: &[NodeId]) -> Option<String> {
    let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
    (!nodes.is_empty()).then(|| nodes.join(", "))
}

#[derive(Debug, Subcommand)]
pub(super) enum ValidatorAction {
    /// List the validators of the next block, with their power and what the chain holds against them
    List(Json),
}

pub(super) fn validator(api: &Api, action: &ValidatorAction) -> anyhow::Result<()> {
    let ValidatorAction::List(json) = action;
    show(json.json, &api.get::<ValidatorList>("validators")?, |list| {
        let row = |it: &ValidatorView| {
            let held =
                it.equivocation.map(|proved| format!("at {}, proved in block {}", proved.height, proved.proved_in));
            [it.node.to_string(), it.power.to_string(), it.operator.short(), or_dash(held)]
        };
        let rows: Vec<_> = list.validators.iter().map(row).collect();
        output::table(["validator", "power", "operator", "equivocation"], &rows)
    })
}

pub(super) fn epoch(api: &Api, action: EpochAction) -> anyhow::Result<()> {
    let stage = |stage| match stage {
        EpochStage::Open => "open",
        EpochStage::Closed => "closed, reports come in",
        EpochStage::Final => "final",
        EpochStage::Unmeasured => "not measured: the epoch before was closed too late",
    };
    match action {
        EpochAction::List { before: end, limit, json } => {
            let list: EpochList = api.get(&format!("epochs?limit={limit}{}", before(end.map(Epoch::get))))?;
            show(json.json, &list, |list| {
                let row = |e: &EpochView| {
                    [
                        e.epoch.to_string(),
                        stage(e.stage).split([',', ':']).next().unwrap_or_default().to_owned(),
                        or_dash(e.closed_in),
                        or_dash(e.block.as_ref().map(|block| block.height)),
                        or_dash(e.block.as_ref().map(|block| block.block_hash.short())),
                        e.workers_scored.to_string(),
                        or_dash(e.block.as_ref().and_then(|block| Some(block.leaders.first()?.leader.short()))),
                    ]
                };
                let rows: Vec<_> = list.epochs.iter().map(row).collect();
                output::table(["epoch", "stage", "closed in", "final in", "block", "scored", "leader"], &rows)
            })
        }
        EpochAction::Show { epoch, json } => show(json.json, &api.get::<EpochView>(&format!("epochs/{epoch}"))?, |e| {
            output::pairs(&[
                ("epoch", e.epoch.to_string()),
                ("stage", stage(e.stage).to_owned()),
                ("start (Unix ms)", e.start.to_string()),
                ("end (Unix ms)", e.end.to_string()),
                ("closed in block", or_dash(e.closed_in)),
                ("final in block", or_dash(e.block.as_ref().map(|block| block.height))),
                ("block hash", or_dash(e.block.as_ref().map(|block| block.block_hash))),
                ("workers scored", e.workers_scored.to_string()),
            ])
        }),
    }
}

pub(super) fn scores(api: &Api, epoch: Option<Epoch>, as_json: bool) -> anyhow::Result<()> {
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
                    or_dash(s.echo_kbit_s),
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
