//! Commands that ask the running node: thin readers of its API.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use lucid_types::amount::Ppm;
use lucid_types::command::MaintenanceScope;
use lucid_types::id::NodeId;
use lucid_types::time::{Epoch, Height};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::node_api::NodeApi;
use super::output::{self, millionths, or_dash};
use super::place::{HomeLedger, now_s};
use super::values::{IdPrefix, Moment, id_prefix, moment, utc};
use super::{Context, Json};
use crate::api::model::{
    BlockList, BlockView, CertificateView, EpochList, EpochReportsView, EpochStage, EpochView, MaintenanceView,
    MeasurementView, MetricList, MetricView, ObservedView, PeerList, PeerWhyList, ProbeTrafficView, ReporterView,
    ScoreList, StatusView, SyncState, ValidationView, ValidationWanted, ValidatorList,
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

    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.runtime.block_on(self.node.get(path))
    }

    /// The network of the home, and its pools.
    /// Has a worker validated.
    pub(super) fn validate(&self, wanted: ValidationWanted) -> anyhow::Result<ValidationView> {
        self.runtime.block_on(self.node.validate(wanted))
    }

    pub(super) fn ledger(&self, context: &Context) -> anyhow::Result<HomeLedger> {
        self.runtime.block_on(HomeLedger::open(context.home()?, context))
    }

    /// The answer as it is.
    pub(super) fn get_raw(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        self.runtime.block_on(self.node.get_raw(path))
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
        let mut lines = vec![
            ("node id", s.node_id.to_string()),
            ("node key", s.key.to_string()),
            ("peer id", s.peer_id.clone()),
            ("roles", roles.join(", ")),
            ("network id", s.network_id.to_string()),
            ("peers", s.peers.to_string()),
            ("height", s.height.to_string()),
            ("oldest block", or_dash(s.oldest_block)),
            ("epoch", s.epoch.to_string()),
            ("final epoch", s.final_epoch.to_string()),
            ("block hash", s.block_hash.to_string()),
            ("state root", s.state_root.to_string()),
            ("sync", sync.to_owned()),
            ("pool", or_dash(s.pool.as_ref())),
            ("leader", or_dash(s.leader)),
            ("maintenance", or_dash(s.maintenance.as_ref().map(maintenance_text))),
            ("probe traffic", or_dash(s.probe_traffic.as_ref().map(traffic_text))),
            ("owed USDT", or_dash(s.owed_micro_usdt.map(|amount| millionths(amount.get())))),
            ("paid USDT", or_dash(s.paid_micro_usdt.map(|amount| millionths(amount.get())))),
            ("api", s.api.clone()),
        ];
        lines.extend(s.alerts.iter().map(|alert| ("ALERT", alert.clone())));
        if let Some(key) = s.missing_key {
            let text = format!("{key}: it is not in the home, and this node signs nothing; see `lucid validator keys`");
            lines.push(("missing key", text));
        }
        if let Some(enrolment) = &s.enrolment {
            lines.push(("entering", format!("{}, waits for {}", enrolment.step.name(), enrolment.waits_for)));
            lines.extend(enrolment.problem.clone().map(|problem| ("problem", problem)));
        }
        output::pairs(&lines)
    })
}

/// What probes have taken in a month, and what they may take.
fn traffic_text(it: &ProbeTrafficView) -> String {
    let ProbeTrafficView { month, bytes, month_bytes } = it;
    let most = if *month_bytes > 0 { format!(" of {month_bytes}") } else { String::new() };
    format!("{bytes}{most} bytes in {month}")
}

/// Epochs, and what a node does not do in them.
pub(super) fn maintenance_text(it: &MaintenanceView) -> String {
    let what = match it.scope {
        MaintenanceScope::All => "not measured",
        MaintenanceScope::Traffic => "neither echoes nor storage",
    };
    format!("{what} from epoch {} on, until before epoch {}", it.from, it.until)
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
    /// Show what validators measured in an epoch, which its scores are the medians of
    Reports(ReportsArgs),
}

/// Whose measurements, and of whom.
#[derive(Debug, Args)]
pub(super) struct ReportsArgs {
    /// The epoch; the newest with final scores if not given
    #[arg(value_parser = super::epoch)]
    epoch: Option<Epoch>,
    /// Only those of this worker: its id, or the first digits of it as `lucid score leaderboard` shows them
    #[arg(long, value_name = "ID", value_parser = id_prefix)]
    worker: Option<IdPrefix>,
    /// Only those by this validator: its node's id
    #[arg(long, value_name = "ID")]
    validator: Option<NodeId>,
    /// Leave out so many
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: usize,
    /// At most so many, up to 1000
    #[arg(long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    json: Json,
}

fn reports(api: &Api, args: &ReportsArgs) -> anyhow::Result<()> {
    let epoch = match args.epoch {
        Some(epoch) => epoch,
        None => api.get::<ScoreList>("scores")?.epoch.context("no epoch has final scores yet")?,
    };
    let worker = args.worker.as_ref().map(|id| worker(api, id)).transpose()?;
    let query = [("worker", worker), ("validator", args.validator)].into_iter();
    let query: String = query.filter_map(|(name, id)| Some(format!("&{name}={}", id?))).collect();
    let path = format!("epochs/{epoch}/reports?offset={}&limit={}{query}", args.offset, args.limit);
    show(args.json.json, &api.get::<EpochReportsView>(&path)?, |reports| {
        let row = |r: &ReporterView| {
            [r.validator.short(), r.stage.name().to_owned(), r.assigned.to_string(), or_dash(r.measured)]
        };
        let reporters: Vec<_> = reports.reporters.iter().map(row).collect();
        let row = |m: &MeasurementView| {
            let of = |part: fn(&ObservedView) -> String| or_dash(m.observed.as_ref().map(part));
            [
                m.worker.short(),
                m.validator.short(),
                m.seats.to_string(),
                of(|o| format!("{}/{}", o.pings_answered, o.pings_sent)),
                of(|o| or_dash(o.rtt_us)),
                of(|o| or_dash(o.echo_kbit_s)),
                of(|o| or_dash(o.network_group)),
            ]
        };
        let rows: Vec<_> = reports.measurements.iter().map(row).collect();
        let titles = ["worker", "validator", "seats", "pings", "rtt us", "kbit/s", "network"];
        let left = reports.n_measurements.saturating_sub(args.offset.saturating_add(rows.len()));
        let more = if left == 0 { String::new() } else { format!("{left} more: --offset, --worker, --validator\n") };
        format!(
            "epoch {epoch}\n{}\n{}{more}",
            output::table(["validator", "report", "assigned", "measured"], &reporters),
            output::table(titles, &rows)
        )
    })
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
                    "proposer",
                ];
                output::table(titles, &rows) + &end_of(list)
            })
        }
        BlockAction::Show { height, certificate: true, json } => {
            let proof: CertificateView = api.get(&format!("blocks/{height}/certificate"))?;
            show(json.json, &proof, |proof| {
                let rows: Vec<_> =
                    proof.signatures.iter().map(|it| [it.key.to_string(), it.signature.to_string()]).collect();
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
                    ("equivocation proved", or_dash(listed(&b.equivocated))),
                    ("leaders elected", if leaders.is_empty() { "-".to_owned() } else { leaders.join(", ") }),
                ])
            })
        }
    }
}

/// Says so where a list of blocks ends because the blocks before are not here.
fn end_of(list: &BlockList) -> String {
    match (list.oldest_block, list.blocks.last()) {
        (Some(oldest), last) if oldest > Height::new(1) && last.is_none_or(|last| last.height == oldest) => {
            format!("blocks below {oldest} were removed here, or never were here\n")
        }
        (None, None) => {
            "no block is here yet: none is final, or this node has taken its state from its peers\n".to_owned()
        }
        _ => String::new(),
    }
}

fn listed(nodes: &[NodeId]) -> Option<String> {
    let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
    (!nodes.is_empty()).then(|| nodes.join(", "))
}

/// What a worker said of its machine, and when.
#[derive(Debug, Args)]
pub(super) struct MetricsArgs {
    /// The worker: its id, or the first digits of it as `lucid score leaderboard` shows them
    #[arg(value_name = "ID", value_parser = id_prefix)]
    node: IdPrefix,
    /// Only what came then or later: 6h for six hours ago, or a date in UTC, 2026-11-29 or 2026-11-29T00:37
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Moment>,
    /// Only what came before
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Moment>,
    /// At most so many, up to 1000
    #[arg(long, default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    json: Json,
}

pub(super) fn metrics(api: &Api, MetricsArgs { node, from, to, limit, json }: &MetricsArgs) -> anyhow::Result<()> {
    let id = worker(api, node)?;
    let path = format!("nodes/{id}/metrics?limit={limit}{}", time_query(from.as_ref(), to.as_ref()));
    show(json.json, &api.get::<MetricList>(&path)?, |list| {
        if list.metrics.is_empty() {
            return format!("node {id}: nothing was received in that time\n");
        }
        let row = |m: &MetricView| {
            [
                utc(m.received.get() / 1_000),
                m.epoch.to_string(),
                percent(m.cpu_ppm),
                percent(m.memory_ppm),
                percent(m.disk_ppm),
                m.network_rx_bytes_s.to_string(),
                m.network_tx_bytes_s.to_string(),
                m.sessions.to_string(),
                percent(m.allocation_ppm),
            ]
        };
        let rows: Vec<_> = list.metrics.iter().map(row).collect();
        let titles =
            ["received", "epoch", "CPU %", "memory %", "disk %", "in B/s", "out B/s", "sessions", "allocated %"];
        format!("node {id}\n{}", output::table(titles, &rows))
    })
}

/// The parameters `from` and `to` of a query, each with an ampersand before it.
pub(super) fn time_query(from: Option<&Moment>, to: Option<&Moment>) -> String {
    let now = now_s();
    let at = |(name, moment): (&str, Option<&Moment>)| {
        Some(format!("&{name}={}", moment?.seconds(now).saturating_mul(1_000)))
    };
    [("from", from), ("to", to)].into_iter().filter_map(at).collect()
}

/// The worker whose id begins so, among those with scores in the newest epoch and the node itself.
pub(super) fn worker(api: &Api, id: &IdPrefix) -> anyhow::Result<NodeId> {
    if let Some(id) = id.whole() {
        return Ok(id);
    }
    let scores = api.get::<ScoreList>("scores")?.scores;
    let own = api.get::<StatusView>("status")?.node_id;
    let known: BTreeSet<_> = scores.iter().map(|score| score.worker).chain([own]).collect();
    let found: Vec<_> = known.into_iter().filter(|node| id.matches(node)).collect();
    match found.as_slice() {
        [node] => Ok(*node),
        [] => bail!("no worker with scores in the newest epoch has an id that begins with {id}: give the whole id"),
        several => bail!("several workers have an id that begins with {id}: {}", listed(several).unwrap_or_default()),
    }
}

/// A validator by its id or the first digits of it.
pub(super) fn validator(api: &Api, id: &IdPrefix) -> anyhow::Result<NodeId> {
    if let Some(id) = id.whole() {
        return Ok(id);
    }
    let all = api.get::<ValidatorList>("validators")?.validators.into_iter().map(|it| it.node);
    let found: Vec<_> = all.filter(|node| id.matches(node)).collect();
    match found.as_slice() {
        [node] => Ok(*node),
        [] => bail!("no validator has an id that begins with {id}"),
        several => {
            bail!("several validators have an id that begins with {id}: {}", listed(several).unwrap_or_default())
        }
    }
}

/// Two places of a hundredth.
pub(super) fn percent(part: Ppm) -> String {
    format!("{}.{:02}", part.get() / 10_000, part.get() / 100 % 100)
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
                        or_dash(e.final_in),
                        or_dash(e.block.as_ref().map(|block| block.block_hash.short())),
                        or_dash(e.workers_scored),
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
                ("final in block", or_dash(e.final_in)),
                ("block hash", or_dash(e.block.as_ref().map(|block| block.block_hash))),
                ("workers scored", or_dash(e.workers_scored)),
            ])
        }),
        EpochAction::Reports(args) => reports(api, &args),
    }
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct PeersArgs {
    /// Say why each peer is connected, kept, not dialled or refused
    #[arg(long)]
    why: bool,
    #[command(flatten)]
    json: Json,
}

pub(super) fn peers(api: &Api, PeersArgs { why, json }: PeersArgs) -> anyhow::Result<()> {
    if why {
        return show(json.json, &api.get::<PeerWhyList>("peers/why")?, |list| {
            let rows = list.peers.iter().map(|p| [p.key.short(), or_dash(p.class.as_ref()), p.why.clone()]);
            output::table(["node", "class", "why"], &rows.collect::<Vec<_>>())
        });
    }
    show(json.json, &api.get::<PeerList>("peers")?, |list| {
        let rows: Vec<_> = list
            .peers
            .iter()
            .map(|p| {
                let address = p.addresses.first().map_or("-", |a| a.split("/p2p/").next().unwrap_or(a));
                [
                    p.key.short(),
                    p.transport.clone(),
                    p.direction.clone(),
                    p.class.clone(),
                    or_dash(p.rtt_us),
                    format!("{:.1}", p.score),
                    address.to_owned(),
                    p.agent.clone(),
                ]
            })
            .collect();
        output::table(["node", "transport", "direction", "class", "rtt us", "score", "address", "agent"], &rows)
    })
}
