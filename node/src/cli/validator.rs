//! `lucid validator`: who decides, what a validator's own node approves of, and how the validators change.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use lucid_types::command::{Action, ValidatorAction as Act, ValidatorChange};
use lucid_types::id::{Hash, NodeId};

use super::command::text::validator_change;
use super::command::{GiveArgs, Giver};
use super::network::create::entries_in;
use super::output::{self, or_dash};
use super::place::now_s;
use super::read::show;
use super::values::{utc, when};
use super::{Context, Json, block_on};
use crate::api::model::{ProposalList, ProposalView, ValidatorList, ValidatorStatusView, ValidatorView};

const EXAMPLES: &str = "\
Examples:
  lucid validator propose add --entry v5.json
  lucid init --role validator --json | ssh validator-1 lucid validator propose add --entry - --yes
  lucid validator proposals
  lucid validator approve 3f9c..
  lucid validator status

A change takes the approval of more than two thirds of the power, by ID: `lucid validator proposals` shows it. It counts from two blocks \
after the one that completes it.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum ValidatorAction {
    /// List the validators of the next block, with their power and what the chain holds against them
    List(Json),
    /// Show whether a node is a validator, since when, and how it votes
    Status {
        /// The node's id [default: the home's node]
        #[arg(value_name = "NODE")]
        node: Option<NodeId>,
        #[command(flatten)]
        json: Json,
    },
    /// List the changes of the validators that wait for approval, and what they lack
    Proposals(Json),
    /// Propose a change of the validators, as the home's node, and approve of it
    #[command(subcommand)]
    Propose(Proposal),
    /// Approve of a proposed change, as the home's node
    Approve {
        /// The proposal's id
        #[arg(value_name = "ID")]
        id: Hash,
        #[command(flatten)]
        give: GiveArgs,
    },
    /// Take the approval of a proposed change back
    Withdraw {
        /// The proposal's id
        #[arg(value_name = "ID")]
        id: Hash,
        #[command(flatten)]
        give: GiveArgs,
    },
    /// Stop being a validator, from two blocks later on; it needs nobody's approval
    Resign {
        #[command(flatten)]
        give: GiveArgs,
    },
    /// Approve of a forming pool, as the home's node, which is a validator: with members and more than a third of the power it is active
    ApprovePool {
        /// The pool, by name or id
        #[arg(value_name = "POOL")]
        pool: String,
        #[command(flatten)]
        give: GiveArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Proposal {
    /// Add a registered node
    Add {
        /// The [[validator]] entry that its `lucid init --role validator` printed, or all that it printed with --json; - reads it from
        /// the standard input
        #[arg(long, value_name = "FILE")]
        entry: PathBuf,
        #[command(flatten)]
        give: GiveArgs,
    },
    /// Remove a validator
    Remove {
        /// Its node id
        #[arg(value_name = "NODE")]
        node: NodeId,
        #[command(flatten)]
        give: GiveArgs,
    },
    /// Give a validator another power
    Power {
        /// Its node id
        #[arg(value_name = "NODE")]
        node: NodeId,
        /// The power, at least 1
        #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        power: u64,
        #[command(flatten)]
        give: GiveArgs,
    },
}

pub(super) fn validator(action: ValidatorAction, context: &Context) -> anyhow::Result<()> {
    let (act, give_args) = match action {
        ValidatorAction::List(json) => return list(json, context),
        ValidatorAction::Status { node, json } => return status(node, json, context),
        ValidatorAction::Proposals(json) => return proposals(json, context),
        ValidatorAction::ApprovePool { pool, give } => {
            return block_on(Box::pin(approve_pool(&pool, &give, context)));
        }
        ValidatorAction::Propose(proposal) => {
            let (change, give) = proposal.change()?;
            (Act::Propose(change), give)
        }
        ValidatorAction::Approve { id, give } => (Act::Approve(id), give),
        ValidatorAction::Withdraw { id, give } => (Act::Withdraw(id), give),
        ValidatorAction::Resign { give } => (Act::Resign, give),
    };
    block_on(Box::pin(async {
        let giver = Giver::open(context).await?;
        give_args.give(&giver, giver.key.node_id(), Action::Validator(act), None).await
    }))
}

impl Proposal {
    fn change(self) -> anyhow::Result<(ValidatorChange, GiveArgs)> {
        Ok(match self {
            Self::Add { entry, give } => {
                let (source, text) = if entry == Path::new("-") {
                    let mut text = String::new();
                    std::io::stdin().read_to_string(&mut text).context("cannot read the standard input")?;
                    (Path::new("the standard input"), text)
                } else {
                    let text = std::fs::read_to_string(&entry);
                    (entry.as_path(), text.with_context(|| format!("cannot read {}", entry.display()))?)
                };
                match entries_in(source, &text)?.as_slice() {
                    [validator] => (ValidatorChange::Add(*validator), give),
                    others => bail!(
                        "{} has {} entries of validators: one is proposed at a time",
                        source.display(),
                        others.len()
                    ),
                }
            }
            Self::Remove { node, give } => (ValidatorChange::Remove(node), give),
            Self::Power { node, power, give } => (ValidatorChange::Power { validator: node, power }, give),
        })
    }
}

fn list(json: Json, context: &Context) -> anyhow::Result<()> {
    show(json.json, &context.api()?.get::<ValidatorList>("validators")?, |list| {
        let row = |it: &ValidatorView| {
            let held =
                it.equivocation.map(|proved| format!("at {}, proved in block {}", proved.height, proved.proved_in));
            [it.node.to_string(), it.power.to_string(), it.operator.short(), or_dash(held)]
        };
        let rows: Vec<_> = list.validators.iter().map(row).collect();
        output::table(["validator", "power", "operator", "equivocation"], &rows)
    })
}

fn proposals(json: Json, context: &Context) -> anyhow::Result<()> {
    show(json.json, &context.api()?.get::<ProposalList>("validators/proposals")?, |list| {
        if list.proposals.is_empty() {
            return "no change of the validators is proposed\n".to_owned();
        }
        list.proposals.iter().map(proposal_text).collect::<Vec<_>>().join("\n")
    })
}

fn proposal_text(proposal: &ProposalView) -> String {
    let mut lines = vec![("proposal", proposal.id.to_string())];
    lines.extend(validator_change(&proposal.change));
    lines.push(("proposed by", proposal.by.to_string()));
    let approvals = proposal.approvals.iter().map(|it| format!("{} ({})", it.validator, it.power));
    lines.push(("approved by", approvals.collect::<Vec<_>>().join(", ")));
    let lacks = match proposal.needed_power.checked_sub(proposal.power) {
        Some(0) | None => "enough; it waits for its epoch".to_owned(),
        Some(lacks) => format!("{lacks} more are needed"),
    };
    lines.push(("power", format!("{} of {}: {lacks}", proposal.power, proposal.total_power)));
    lines.push(("not before", format!("epoch {}", proposal.from)));
    lines.push(("gone", when(proposal.until.get() / 1_000, now_s())));
    output::pairs(&lines)
}

fn status(node: Option<NodeId>, json: Json, context: &Context) -> anyhow::Result<()> {
    let node = match node {
        Some(node) => node,
        None => context.home()?.load_key()?.node_id(),
    };
    let path = format!("validators/{node}");
    show(json.json, &context.api()?.get::<ValidatorStatusView>(&path)?, status_text)
}

fn status_text(view: &ValidatorStatusView) -> String {
    let since = view.since.map_or_else(String::new, |since| match since.get() {
        0 => ", since the genesis".to_owned(),
        since => format!(", since block {since}"),
    });
    let share = |power: u64| {
        let ppm = u128::from(power) * 1_000_000 / u128::from(view.total_power.max(1));
        output::millionths(u64::try_from(ppm).unwrap_or(u64::MAX))
    };
    let is = match view.power {
        0 => format!("no validator{since}"),
        power => format!("a validator with power {power} of {} (a share of {}){since}", view.total_power, share(power)),
    };
    let mut lines = vec![("node", view.node.to_string()), ("is", is)];
    if let Some(next) = view.next {
        let will = match next.power {
            0 => format!("no validator from block {} on", next.from),
            power => format!("power {power} from block {} on", next.from),
        };
        lines.push(("will be", will));
    }
    if let Some(held) = view.equivocation {
        lines.push(("equivocation", format!("at {}, proved in block {}", held.height, held.proved_in)));
    }
    let last_vote = view.last_vote.map(|vote| format!("block {}, {}", vote.height, utc(vote.time.get() / 1_000)));
    lines.push(("last vote", or_dash(last_vote)));
    if let Some(blocks) = view.blocks {
        let n_blocks = blocks.last.get().saturating_sub(blocks.first.get()).saturating_add(1);
        let (first, last) = (blocks.first, blocks.last);
        lines.push((
            "blocks",
            format!("{first} to {last}: proposed {}, voted for {} of {n_blocks}", blocks.proposed, blocks.voted),
        ));
    }
    output::pairs(&lines)
}

async fn approve_pool(pool: &str, give: &GiveArgs, context: &Context) -> anyhow::Result<()> {
    let giver = Giver::open(context).await?;
    let pool = giver.ledger.pool(Some(pool))?.pool;
    let action = Action::Validator(Act::ApprovePool(pool));
    give.give(&giver, giver.key.node_id(), action, None).await
}
