//! `lucid proof`: what the network says of a worker or an account, for somebody who has the genesis and nothing else.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::pool::{Account, Hold};
use lucid_score::worker_stats::WorkerStats;
use lucid_types::amount::Ppm;
use lucid_types::id::{NodeId, PoolId};
use lucid_types::payout::AccountKind;
use lucid_types::payout_tree::AccountId;
use lucid_types::time::Epoch;
use serde_json::json;

use super::read::{Api, worker};
use super::values::{IdPrefix, id_prefix, usdt_of, utc};
use super::{Context, Json, output};
use crate::api::model::{MemberList, ScoreList, StatusView};
use crate::home::load_genesis;
use crate::proof::document::MAX_BYTES;
use crate::proof::{Proof, Proved, Statement, Subject};

const EXAMPLES: &str = "\
Examples:
  lucid proof show owed --out owed.json                  what the home's node was ever owed
  lucid proof show score --epoch 42 --worker 5c0e91
  lucid proof verify owed.json --genesis genesis.toml    on any machine: no node, no network

A proof says what a final block's state says; who checks it needs the genesis of the network and trusts more than two thirds of its
validators' power, and nobody else. It does not say that no later block says otherwise: look at its height and time.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum ProofAction {
    /// Print a proof of what the newest block's state says, or that it says nothing
    Show {
        #[command(subcommand)]
        what: ShowAction,
    },
    /// Check a proof offline, against a genesis alone; exit code 1 if it proves nothing
    Verify(VerifyArgs),
}

#[derive(Debug, Subcommand)]
pub(super) enum ShowAction {
    /// A worker's score of an epoch
    Score {
        /// The epoch [default: the newest with final scores]
        #[arg(long, value_name = "N", value_parser = super::epoch)]
        epoch: Option<Epoch>,
        /// The worker: its id, or the first digits of it as `lucid score leaderboard` shows them [default: the home's node]
        #[arg(long, value_name = "ID", value_parser = id_prefix)]
        worker: Option<IdPrefix>,
        #[command(flatten)]
        out: OutArgs,
    },
    /// All that a pool has ever come to owe to an account, what it has paid included
    Owed {
        /// Name or id of the pool [default: the node's own, or the network's only one]
        #[arg(long, value_name = "POOL")]
        pool: Option<String>,
        /// The account
        #[arg(long, value_name = "ACCOUNT_ID", conflicts_with_all = ["node", "commission", "validator"])]
        account: Option<AccountId>,
        /// The account of this worker, owner or validator: its id, or the first digits of it [default: the home's node]
        #[arg(long, value_name = "ID", value_parser = id_prefix)]
        node: Option<IdPrefix>,
        /// The account for the commission of the pool's owner
        #[arg(long)]
        commission: bool,
        /// The account for what the node has earned as a validator
        #[arg(long, conflicts_with = "commission")]
        validator: bool,
        #[command(flatten)]
        out: OutArgs,
    },
    /// A worker's statistics: what was measured of it in the windows of its score
    Account {
        /// The worker: its id, or the first digits of it [default: the home's node]
        #[arg(value_name = "NODE", value_parser = id_prefix)]
        node: Option<IdPrefix>,
        #[command(flatten)]
        out: OutArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct OutArgs {
    /// Write the proof into a new file, and print what it says
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The proof; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The genesis of the network, from a source that you trust [default: the home's]
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

pub(super) fn proof(action: ProofAction, context: &Context) -> anyhow::Result<()> {
    match action {
        ProofAction::Show { what } => show(what, context),
        ProofAction::Verify(args) => verify(&args, context),
    }
}

fn show(what: ShowAction, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    let ledger = api.ledger(context)?;
    let (subject, OutArgs { out }) = match what {
        ShowAction::Score { epoch, worker, out } => {
            let epoch = epoch.map_or_else(|| newest_scored(&api), Ok)?;
            (Subject::Score { epoch, worker: node(&api, worker.as_ref())? }, out)
        }
        ShowAction::Owed { pool, account: Some(account), out, .. } => {
            (Subject::Owed { pool: ledger.pool(pool.as_deref())?.pool, account }, out)
        }
        ShowAction::Owed { pool, account: None, node: named, commission, validator, out } => {
            let (pool, owner) = ledger.pool(pool.as_deref()).map(|pool| (pool.pool, pool.owner))?;
            let node = node(&api, named.as_ref())?;
            let is_member = |members: MemberList| members.members.iter().any(|member| member.node == node);
            let is_owners = owner == node && !is_member(api.get(&format!("pools/{pool}/members"))?);
            let kind = match (validator, commission || is_owners) {
                (true, _) => AccountKind::Validator,
                (false, true) => AccountKind::Commission,
                (false, false) => AccountKind::Worker,
            };
            (Subject::Owed { pool, account: ledger.account(&pool, kind, &node) }, out)
        }
        ShowAction::Account { node: named, out } => (Subject::Account { node: node(&api, named.as_ref())? }, out),
    };
    let text = api.get_raw(&path(&subject))?;
    let wrong = "the node's answer proves nothing";
    let proved = Proof::parse(&text).context(wrong)?.verify(&ledger.spec).context(wrong)?;
    ensure!(proved.proof().answers(&subject), "{wrong}: it is a proof of something else than was asked for");
    let Some(out) = out else { return output::print(&String::from_utf8(text)?) };
    write_new(&out, &text)?;
    output::print(&describe(&proved, &ledger.spec))
}

fn newest_scored(api: &Api) -> anyhow::Result<Epoch> {
    api.get::<ScoreList>("scores")?.epoch.context("no epoch has final scores yet")
}

fn node(api: &Api, named: Option<&IdPrefix>) -> anyhow::Result<NodeId> {
    named.map_or_else(|| Ok(api.get::<StatusView>("status")?.node_id), |id| worker(api, id))
}

fn path(subject: &Subject) -> String {
    match subject {
        Subject::Score { epoch, worker } => format!("proofs/score?epoch={epoch}&worker={worker}"),
        Subject::Owed { pool, account } => format!("proofs/owed?pool={pool}&account={account}"),
        Subject::Account { node } => format!("proofs/account?node={node}"),
    }
}

fn write_new(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(text)?;
        file.sync_all()
    };
    write().with_context(|| format!("{} cannot be written; an existing file is left as it is", path.display()))
}

fn verify(args: &VerifyArgs, context: &Context) -> anyhow::Result<()> {
    let genesis = match &args.genesis {
        Some(file) => load_genesis(file)?,
        None => {
            context.home()?.load_genesis().context("name the genesis of the proof's network with --genesis FILE")?
        }
    };
    let spec = ChainSpec::new(genesis.genesis).context("the genesis cannot be used")?;
    let name = if is_stdin(&args.file) { "standard input".to_owned() } else { args.file.display().to_string() };
    let text = read(&args.file).with_context(|| format!("{name} cannot be read"))?;
    let wrong = || format!("{name} proves nothing");
    let proved = Proof::parse(&text).with_context(wrong)?.verify(&spec).with_context(wrong)?;
    if !args.json.json {
        return output::print(&describe(&proved, &spec));
    }
    let (header, (signed, total)) = (proved.header(), proved.power());
    output::json(&json!({
        "network": spec.id(),
        "height": header.height,
        "time": header.time,
        "block_hash": header.hash(),
        "state_root": header.state_root,
        "signed_power": signed,
        "total_power": total,
        "kind": kind(proved.statement()),
        "claim": proved.proof().claim(),
    }))
}

const fn kind(statement: &Statement) -> &'static str {
    match statement {
        Statement::Score { .. } | Statement::NoScores { .. } => "score",
        Statement::Owed { .. } => "owed",
        Statement::Account { .. } => "account",
    }
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// One byte more than a document may have shows that there are more.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    if is_stdin(file) {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Where it holds, and what is proved: two lines.
fn describe(proved: &Proved, spec: &ChainSpec) -> String {
    let (header, (signed, total)) = (proved.header(), proved.power());
    let said = match proved.statement() {
        Statement::Score { epoch, worker, row: Some(row), .. } => {
            let (score, credits) = (of_100(row.score), row.credits);
            format!("worker {worker} has the score {score} of 100 and {credits} credits of epoch {epoch}")
        }
        Statement::Score { epoch, worker, row: None, .. } => {
            format!("worker {worker} has no score of epoch {epoch}, whose scores are final: it was not measured in it")
        }
        Statement::NoScores { epoch, .. } => {
            format!("epoch {epoch} has no scores yet as of this block, or was not measured at all")
        }
        Statement::Owed { pool, account, row, .. } => owed(pool, account, row.as_ref()),
        Statement::Account { node, row, .. } => account(node, row.as_ref()),
    };
    format!(
        "network {}, block {} of {}, signed by {signed} of {total} of the validators' power:\n{said}\n",
        spec.id(),
        header.height,
        utc(header.time.get() / 1_000),
    )
}

fn owed(pool: &PoolId, account: &AccountId, row: Option<&Account>) -> String {
    let Some(Account { kind, node, to, owed, held, hold, .. }) = row else {
        return format!(
            "pool {pool} owes nothing to the account {account} as of this block, and never did: it has no such account"
        );
    };
    let held = match hold {
        Hold::No => String::new(),
        Hold::Since(_) | Hold::Ends => format!(", and holds {} back", usdt_of(*held)),
    };
    let whose = match kind {
        AccountKind::Worker => "worker",
        AccountKind::Commission => "owner",
        AccountKind::Validator => "validator",
    };
    format!("pool {pool} owes {} in all to the {whose} {node} at {to}, what it has paid included{held}", usdt_of(*owed))
}

fn account(node: &NodeId, stats: Option<&WorkerStats>) -> String {
    let Some(stats) = stats else { return format!("worker {node} was never measured as of this block") };
    let (sums, epoch) = (stats.measured_sums(), stats.measured());
    format!(
        "worker {node} has the score {} of 100; it was measured last in epoch {epoch}, and in its windows then {} times, with {} \
         credits and {} s of reachable time",
        of_100(stats.score),
        sums.epochs,
        sums.credits,
        sums.reachable_ms / 1_000,
    )
}

/// As `lucid score leaderboard` shows it.
fn of_100(score: Ppm) -> String {
    output::millionths(u64::from(score.get()).saturating_mul(100))
}
