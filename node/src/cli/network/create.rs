//! `lucid network create`: the genesis of a new network.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::Args;
use lucid_types::genesis::{Genesis, PaymentNetwork};
use lucid_types::id::{PayoutAddress, SolidBlockId};
use lucid_types::join::JoinString;
use lucid_types::policy::Policy;
use lucid_types::time::UnixMillis;
use lucid_types::validator::Validator;
use serde::Deserialize;
use serde_json::json;

use super::super::place::{TronNetwork, now_s};
use super::super::values;
use super::super::{Json, output};
use super::invite::bootstrap;
use super::{describe_genesis, genesis_view};
use crate::config::locate;
use crate::home;

/// A local network's epoch and how many make a settlement.
const LOCAL_EPOCH: Duration = Duration::from_secs(5);
const LOCAL_SETTLE_EVERY: u64 = 2;

const EXAMPLES: &str = "\
Examples:
  lucid network create --name example --validator v1.toml --validator v2.toml --validator v3.toml --validator v4.toml \\
      --policy public --tron nile --genesis-time 2026-11-29T12:00 --out genesis.toml
  lucid --home v1 init --role validator --json > v1.json && lucid network create --name here --validator v1.json \\
      --policy local --tron nile --out genesis.toml --bootstrap /ip4/127.0.0.1/tcp/7001/p2p/12D3KooW...

Every validator makes its own home with `lucid init --role validator`, which prints its entry; nobody gives a key away.
Nodes of the network write the genesis, or fetch it by its id.";

/// What the genesis says.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct CreateArgs {
    /// The network's name, for people
    #[arg(long)]
    name: String,
    /// The [[validator]] entry that `lucid init --role validator` or `lucid validator keys` prints, or all that one of them prints with
    /// --json; once for each validator
    #[arg(long, value_name = "FILE", required = true)]
    validator: Vec<PathBuf>,
    /// Its parameters: public, local, or a file with the keys of [policy]
    #[arg(long, value_name = "public|local|FILE")]
    policy: String,
    /// The TRON network that it pays on
    #[arg(long, value_enum, value_name = "NETWORK")]
    tron: TronNetwork,
    /// Id of that network's block 0 [default: the known one; of a local network it must be given]
    #[arg(long, value_name = "ID")]
    tron_block_0: Option<SolidBlockId>,
    /// The USDT contract there [default: the known one of mainnet and nile]
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    usdt: Option<PayoutAddress>,
    /// When epoch 1 starts, as 2026-11-29T12:00 in UTC [default: in 60 s]
    #[arg(long, value_name = "TIME", value_parser = date)]
    genesis_time: Option<UnixMillis>,
    /// Where the genesis is written; an existing file is left as it is
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Multiaddress of a node to start from, ending in /p2p/<peer id>; with it the join string is printed, too; up to 5
    #[arg(long, value_name = "MULTIADDR")]
    bootstrap: Vec<String>,
    /// Show the network, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    json: Json,
}

fn date(text: &str) -> Result<UnixMillis, String> {
    let seconds = crate::utc::parse(text).ok_or("a date in UTC is expected, as 2026-11-29T12:00")?;
    Ok(UnixMillis::new(seconds.saturating_mul(1_000)))
}

pub(super) fn create(args: CreateArgs) -> anyhow::Result<()> {
    let genesis = genesis(&args)?;
    let network = genesis.network_id();
    let bootstrap = if args.bootstrap.is_empty() { None } else { Some(bootstrap(args.bootstrap)?) };
    let string = bootstrap.map(|bootstrap| JoinString { network, bootstrap, pool: None, pin: None }.to_string());
    if !args.dry_run {
        home::write_genesis(&args.out, &genesis)?;
    } else if args.out.exists() {
        bail!("{} exists and is left as it is: give another --out", args.out.display());
    }
    if args.json.json {
        let (file, genesis) = (&args.out, genesis_view(&genesis)?);
        return output::json(&json!({ "dry_run": args.dry_run, "file": file, "string": string, "genesis": genesis }));
    }
    let mut text = describe_genesis(&genesis)?;
    if args.dry_run {
        text.push_str(&format!("\nIt would be written to {}. Nothing was done.\n", args.out.display()));
        return output::print(&text);
    }
    text.push_str(&format!("\nThe genesis is written to {}.\n", args.out.display()));
    text.push_str(&match string {
        Some(string) => format!("Nodes join with:\n\n{string}\n"),
        None => "Give it to `lucid init --genesis`. Once a node runs, `lucid network invite` prints the join string.\n"
            .to_owned(),
    });
    output::print(&text)
}

fn genesis(args: &CreateArgs) -> anyhow::Result<Genesis> {
    ensure!(
        !args.name.is_empty() && args.name.len() <= 64 && !args.name.chars().any(char::is_control),
        "--name: 1 to 64 bytes without control characters are expected"
    );
    let mut validators = Vec::new();
    for file in &args.validator {
        validators.extend(entries(file)?);
    }
    let genesis = Genesis {
        name: args.name.clone(),
        genesis_time: args
            .genesis_time
            .unwrap_or_else(|| UnixMillis::new(now_s().saturating_add(60).saturating_mul(1_000))),
        tron: PaymentNetwork {
            network: args.tron.name().to_owned(),
            genesis_block: args.tron_block_0.or_else(|| args.tron.genesis_block()).with_context(|| {
                format!(
                    "block 0 of {} is not known to everybody: give --tron-block-0 ID, as `lucid tron status` shows it",
                    args.tron.name()
                )
            })?,
            usdt: args.usdt.or_else(|| args.tron.usdt()).with_context(|| {
                format!("{} has no USDT that everybody means: give --usdt ADDRESS", args.tron.name())
            })?,
        },
        policy: policy(&args.policy, &validators)?,
        validators,
    };
    ensure!(
        args.tron_block_0.is_none_or(|given| args.tron.genesis_block().is_none_or(|known| known == given)),
        "--tron-block-0 is not the block 0 of {}",
        args.tron.name()
    );
    genesis.check().context("that makes no genesis")?;
    Ok(genesis)
}

/// The validators of a file.
fn entries(file: &Path) -> anyhow::Result<Vec<Validator>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    entries_in(file, &text)
}

/// The validators in a text that came from there: `[[validator]]` entries, or what `lucid init --json` or `lucid validator keys --json` prints.
pub(in crate::cli) fn entries_in(file: &Path, text: &str) -> anyhow::Result<Vec<Validator>> {
    #[derive(Deserialize)]
    struct Printed {
        validator: Option<Validator>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entries {
        validator: Vec<Validator>,
    }
    if text.trim_start().starts_with('{') {
        let printed: Printed = serde_json::from_str(text).with_context(|| {
            format!(
                "{} is not what `lucid init --role validator --json` or `lucid validator keys --json` prints",
                file.display()
            )
        })?;
        let no_validator = || {
            anyhow!(
                "{} has no entry of a validator: of a home with one key `lucid validator keys --json` prints it",
                file.display()
            )
        };
        return Ok(vec![printed.validator.ok_or_else(no_validator)?]);
    }
    let Entries { validator } = locate::parse(file, text)?;
    Ok(validator)
}

fn policy(named: &str, validators: &[Validator]) -> anyhow::Result<Policy> {
    match named {
        "public" => {
            let policy = Policy::default();
            let operators: BTreeSet<_> = validators.iter().map(|validator| validator.operator).collect();
            let needed = policy.min_seat_operators;
            ensure!(
                u32::try_from(operators.len()).unwrap_or(u32::MAX) >= needed,
                "with {} operator(s) of validators nobody would be measured: the public policy asks for {needed}. Name more validators, \
                 or give a policy of your own as a file",
                operators.len()
            );
            Ok(policy)
        }
        "local" => {
            let seats = u32::try_from(validators.len()).unwrap_or(u32::MAX);
            Ok(Policy::local(LOCAL_EPOCH, LOCAL_SETTLE_EVERY, None).local_with_seats(seats))
        }
        file => {
            let path = Path::new(file);
            let Ok(text) = fs::read_to_string(path) else {
                bail!(
                    "--policy {file}: public, local, or a file with the keys of [policy] is expected, and there is no such file"
                )
            };
            Ok(locate::parse(path, &text)?)
        }
    }
}
