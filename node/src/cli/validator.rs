//! `lucid validator`: who decides, what a validator's own node approves of, and how the validators change.

pub(super) mod keys;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::Subcommand;
use lucid_types::change::{NetworkChange, PolicyChange};
use lucid_types::command::{Action, ValidatorAction as Act, ValidatorChange};
use lucid_types::id::{Hash, NodeId};
use lucid_types::validator::Validator;

use super::act::warn;
use super::command::text::{policy_change, validator_change};
use super::command::{GiveArgs, Giver};
use super::network::create::entries_in;
use super::output::{self, or_dash};
use super::place::now_s;
use super::read::show;
use super::values::{utc, when};
use super::{Context, Json, block_on};
use crate::api::model::{
    DutiesView, LookedAtView, MissedBy, MissedReport, MissedTurn, ProposalList, ProposalView, ReportsView, TurnsView,
    ValidatorList, ValidatorStatusView, ValidatorView, unmeasured, with_parameter,
};

/// Missed duties of a kind that are shown one by one; `--json` has all.
const SHOWN: usize = 5;

const EXAMPLES: &str = "\
Examples:
  lucid validator propose add --entry v5.json
  lucid init --role validator --json | ssh validator-1 lucid validator propose add --entry - --yes
  lucid validator proposals
  lucid validator propose policy stamp_bits=26 weights.trust=60000 weights.uptime=140000 --dry-run
  lucid validator approve 3f9c..
  lucid validator status
  lucid validator keys --json
  lucid validator rotate-key

A change takes the approval of more than two thirds of the power, by ID: `lucid validator proposals` shows it. One of the \
validators counts from two blocks after the one that completes it, one of the policy from the second epoch after.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum ValidatorAction {
    /// List the validators of the next block, with their power and what the chain holds against them
    List(Json),
    /// Show whether a node is a validator, since when, and what it did and missed of its duties in the newest blocks
    Status {
        /// The node's id [default: the home's node]
        #[arg(value_name = "NODE")]
        node: Option<NodeId>,
        #[command(flatten)]
        json: Json,
    },
    /// List the changes of the validators and of the policy that wait for approval, and what they lack
    Proposals(Json),
    /// Propose a change of the validators or of the policy, as the home's node, and approve of it
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
    /// Take the approval of a proposed change back, or the rotation of the own key
    Withdraw {
        /// The proposal's id
        #[arg(value_name = "ID")]
        id: Hash,
        #[command(flatten)]
        give: GiveArgs,
    },
    /// Show the home's validator keys: public parts with proofs, which is in force, which waits
    Keys(keys::KeysArgs),
    /// Sign with another key: makes its file, and announces it. It signs from the second epoch after on; both files stay until then
    RotateKey(keys::RotateArgs),
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
        /// The [[validator]] entry that its `lucid init --role validator` printed or `lucid validator keys` prints, or all that one of them
        /// prints with --json; - reads it from the standard input
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
    /// Give the network another policy, from the second epoch after the one in which it is approved on
    Policy {
        /// Parameters and their next values; a weight is weights.NAME. All others stay as they are
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = parameter)]
        parameters: Vec<(String, String)>,
        #[command(flatten)]
        give: GiveArgs,
    },
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

pub(super) fn validator(action: ValidatorAction, context: &Context) -> anyhow::Result<()> {
    let (act, give_args) = match action {
        ValidatorAction::List(json) => return list(json, context),
        ValidatorAction::Status { node, json } => return status(node, json, context),
        ValidatorAction::Proposals(json) => return proposals(json, context),
        ValidatorAction::Keys(args) => return block_on(keys::keys(&args, context)),
        ValidatorAction::RotateKey(args) => return block_on(Box::pin(keys::rotate(&args, context))),
        ValidatorAction::ApprovePool { pool, give } => {
            return block_on(Box::pin(approve_pool(&pool, &give, context)));
        }
        ValidatorAction::Propose(Proposal::Policy { parameters, give }) => {
            return block_on(Box::pin(propose_policy(&parameters, &give, context)));
        }
        ValidatorAction::Propose(Proposal::Add { entry, give }) => {
            (Act::Propose(ValidatorChange::Add(entry_in(&entry)?).into()), give)
        }
        ValidatorAction::Propose(Proposal::Remove { node, give }) => {
            (Act::Propose(ValidatorChange::Remove(node).into()), give)
        }
        ValidatorAction::Propose(Proposal::Power { node, power, give }) => {
            (Act::Propose(ValidatorChange::Power { validator: node, power }.into()), give)
        }
        ValidatorAction::Approve { id, give } => (Act::Approve(id), give),
        ValidatorAction::Withdraw { id, give } => (Act::Withdraw(id), give),
        ValidatorAction::Resign { give } => (Act::Resign, give),
    };
    block_on(Box::pin(async {
        let giver = Giver::open(context).await?;
        give_args.give(&giver, giver.me.account, Action::Validator(act), None).await
    }))
}

/// The one entry of a validator in a file, or in the standard input.
fn entry_in(file: &Path) -> anyhow::Result<Validator> {
    let (source, text) = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read the standard input")?;
        (Path::new("the standard input"), text)
    } else {
        let text = std::fs::read_to_string(file);
        (file, text.with_context(|| format!("cannot read {}", file.display()))?)
    };
    match entries_in(source, &text)?.as_slice() {
        [validator] => Ok(*validator),
        others => {
            bail!("{} has {} entries of validators: one is proposed at a time", source.display(), others.len())
        }
    }
}

/// Proposes the newest policy with these other values.
async fn propose_policy(parameters: &[(String, String)], give: &GiveArgs, context: &Context) -> anyhow::Result<()> {
    let giver = Giver::open(context).await?;
    let newest = giver.ledger.policy().newest();
    let policy = parameters.iter().try_fold(newest.clone(), |policy, (key, value)| with_parameter(&policy, key, value));
    let change = PolicyChange { base: newest.hash(), policy: policy.map_err(|problem| anyhow!("{problem}"))? };
    ensure!(change.policy != *newest, "the newest policy has these values already");
    change.policy.check().context("the network cannot have this policy")?;
    let present = giver.node.get::<ValidatorList>("validators").await?;
    let operators: Vec<_> = present.validators.iter().map(|validator| validator.operator).collect();
    warn(unmeasured(&change.policy, &operators).as_slice())?;
    give.give(&giver, giver.me.account, Action::Validator(Act::Propose(change.into())), None).await
}

fn list(json: Json, context: &Context) -> anyhow::Result<()> {
    show(json.json, &context.api()?.get::<ValidatorList>("validators")?, |list| {
        let row = |it: &ValidatorView| {
            let held =
                it.equivocation.map(|proved| format!("at {}, proved in block {}", proved.height, proved.proved_in));
            [it.node.to_string(), it.key.short(), it.power.to_string(), it.operator.short(), or_dash(held)]
        };
        let rows: Vec<_> = list.validators.iter().map(row).collect();
        output::table(["validator", "key", "power", "operator", "equivocation"], &rows)
    })
}

fn proposals(json: Json, context: &Context) -> anyhow::Result<()> {
    show(json.json, &context.api()?.get::<ProposalList>("validators/proposals")?, |list| {
        if list.proposals.is_empty() {
            return "no change is proposed\n".to_owned();
        }
        list.proposals.iter().map(proposal_text).collect::<Vec<_>>().join("\n")
    })
}

fn proposal_text(proposal: &ProposalView) -> String {
    let mut lines = vec![("proposal", proposal.id.to_string())];
    lines.extend(match &proposal.change {
        NetworkChange::Validators(change) => validator_change(change),
        NetworkChange::Policy(_) => policy_change(&proposal.differences),
    });
    lines.push(("proposed by", proposal.by.to_string()));
    let approvals = proposal.approvals.iter().map(|it| format!("{} ({})", it.validator, it.power));
    lines.push(("approved by", approvals.collect::<Vec<_>>().join(", ")));
    if proposal.change.needs_approval() {
        lines.push(("power", approval_text(proposal)));
    } else {
        lines.push(("approval", "it needs none: a validator gives itself other keys".to_owned()));
    }
    lines.extend(proposal.warning.clone().map(|warning| ("warning", warning)));
    lines.push(("not before", format!("epoch {}", proposal.from)));
    lines.push(("gone", when(proposal.until.get() / 1_000, now_s())));
    output::pairs(&lines)
}

fn approval_text(proposal: &ProposalView) -> String {
    let lacks = match proposal.needed_power.checked_sub(proposal.power) {
        Some(0) | None => "enough; it waits for its epoch".to_owned(),
        Some(lacks) => format!("{lacks} more are needed"),
    };
    format!("{} of {}: {lacks}", proposal.power, proposal.total_power)
}

fn status(node: Option<NodeId>, json: Json, context: &Context) -> anyhow::Result<()> {
    let node = match node {
        Some(node) => node,
        None => context.home()?.load_identity()?.account,
    };
    let path = format!("validators/{node}");
    show(json.json, &context.api()?.get::<ValidatorStatusView>(&path)?, status_text)
}

fn status_text(view: &ValidatorStatusView) -> String {
    let since = view.since.map_or_else(String::new, |since| match since.get() {
        0 => ", since the genesis".to_owned(),
        since => format!(", since block {since}"),
    });
    let is = match view.power {
        0 => format!("no validator{since}"),
        power => format!(
            "a validator with power {power} of {} (a share of {}){since}",
            view.total_power,
            share_of(power, view.total_power)
        ),
    };
    let mut lines = vec![("node", view.node.to_string()), ("is", is)];
    if let Some(key) = view.key {
        let here = if view.missing_key.is_some() { ", which is not in the home: this node signs nothing" } else { "" };
        lines.push(("key", format!("{key}{here}")));
    }
    if let Some(rotation) = view.rotation {
        let text = format!(
            "{} from epoch {} on; `lucid validator withdraw {}` takes it back",
            rotation.key, rotation.from, rotation.id
        );
        lines.push(("next key", text));
    }
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
    if let Some(blocks) = &view.blocks {
        let LookedAtView { first, last, proposed, to_vote, voted, missed } = blocks;
        let n_blocks = last.get().saturating_sub(first.get()).saturating_add(1);
        let part = share_of(*proposed, n_blocks);
        lines.push(("blocks", format!("{first} to {last}: proposed {proposed} of {n_blocks} ({part} of them)")));
        lines.push(("votes", format!("{voted} in the certificates of {to_vote} blocks")));
        lines.extend(
            newest(missed, |it| format!("{}{}", it.height, by(it.missed_by))).map(|text| ("votes missing", text)),
        );
    }
    if let Some(TurnsView { first, last, turns, missed }) = &view.turns {
        let n_heights = last.get().saturating_sub(first.get()).saturating_add(1);
        let text =
            format!("{turns} in round 0 of the heights {first} to {last} ({} of them)", share_of(*turns, n_heights));
        lines.push(("turns", text));
        let turn = |it: &MissedTurn| {
            let cause = if it.was_late { "its block was late" } else { "another's block was decided" };
            format!("{} ({cause}, in round {})", it.height, it.round)
        };
        lines.extend(newest(missed, turn).map(|text| ("turns missed", text)));
    }
    if let Some(DutiesView { settlement, committed, forfeited, turns, missed_turns, loses_pay }) = view.duties {
        let pay = if loses_pay { "too many: it is paid nothing for validating in it" } else { "few enough to be paid" };
        let text = format!(
            "in settlement {settlement}: {forfeited} of {committed} reports forfeited, {missed_turns} of {turns} turns missed; {pay}"
        );
        lines.push(("duties", text));
    }
    if let Some(ReportsView { first, last, epochs, uncommitted, forfeited }) = &view.reports {
        let made = epochs.saturating_sub(u64::try_from(uncommitted.len() + forfeited.len()).unwrap_or(u64::MAX));
        lines.push(("reports", format!("{made} of the {epochs} to give on the epochs {first} to {last}")));
        let report = |it: &MissedReport| format!("{}{}", it.epoch, by(it.missed_by));
        lines.extend(newest(uncommitted, report).map(|text| ("not committed", text)));
        lines.extend(newest(forfeited, report).map(|text| ("forfeited", text)));
    }
    output::pairs(&lines)
}

/// A part of a whole as a fraction with six places.
fn share_of(part: u64, whole: u64) -> String {
    let ppm = u128::from(part) * 1_000_000 / u128::from(whole.max(1));
    output::millionths(u64::try_from(ppm).unwrap_or(u64::MAX))
}

const fn by(missed_by: MissedBy) -> &'static str {
    match missed_by {
        MissedBy::Alone => " (alone)",
        MissedBy::Others => " (as others did)",
    }
}

/// How many were missed, and the newest of them; nothing if none was.
fn newest<T>(missed: &[T], text: impl Fn(&T) -> String) -> Option<String> {
    let shown: Vec<_> = missed.iter().rev().take(SHOWN).map(text).collect();
    let more = if missed.len() > shown.len() { ", ..." } else { "" };
    (!shown.is_empty()).then(|| format!("{}: {}{more}", missed.len(), shown.join(", ")))
}

async fn approve_pool(pool: &str, give: &GiveArgs, context: &Context) -> anyhow::Result<()> {
    let giver = Giver::open(context).await?;
    let pool = giver.ledger.pool(Some(pool))?.pool;
    let action = Action::Validator(Act::ApprovePool(pool));
    give.give(&giver, giver.me.account, action, None).await
}

#[cfg(test)]
mod tests {
    use lucid_types::time::{Epoch, Height};

    use super::*;
    use crate::api::model::MissedVote;

    #[test]
    fn missed_duties_are_told_with_their_causes() {
        let node = NodeId::from_bytes([1; 32]);
        let vote = |height, missed_by| MissedVote { height: Height::new(height), missed_by };
        let report = |epoch, missed_by| MissedReport { epoch: Epoch::new(epoch), missed_by };
        let mut missed: Vec<_> = (1..=5).map(|height| vote(height, MissedBy::Alone)).collect();
        missed.push(vote(9, MissedBy::Others));
        let (first, last) = (Height::new(1), Height::new(200));
        let view = ValidatorStatusView {
            node,
            key: None,
            missing_key: None,
            rotation: None,
            power: 1,
            total_power: 4,
            since: None,
            next: None,
            equivocation: None,
            blocks: Some(LookedAtView { first, last, proposed: 50, to_vote: 200, voted: 194, missed }),
            last_vote: None,
            turns: Some(TurnsView {
                first,
                last,
                turns: 52,
                missed: vec![
                    MissedTurn { height: Height::new(7), round: 1, was_late: false },
                    MissedTurn { height: Height::new(8), round: 2, was_late: true },
                ],
            }),
            duties: Some(DutiesView {
                settlement: 9,
                committed: 20,
                forfeited: 1,
                turns: 11,
                missed_turns: 1,
                loses_pay: true,
            }),
            reports: Some(ReportsView {
                first: Epoch::new(3),
                last: Epoch::new(12),
                epochs: 10,
                uncommitted: vec![report(4, MissedBy::Others)],
                forfeited: vec![report(5, MissedBy::Alone)],
            }),
        };
        let text = status_text(&view);
        for line in [
            "a validator with power 1 of 4 (a share of 0.250000)",
            "proposed 50 of 200 (0.250000 of them)",
            "6: 9 (as others did), 5 (alone), 4 (alone), 3 (alone), 2 (alone), ...",
            "52 in round 0 of the heights 1 to 200 (0.260000 of them)",
            "2: 8 (its block was late, in round 2), 7 (another's block was decided, in round 1)",
            "in settlement 9: 1 of 20 reports forfeited, 1 of 11 turns missed; too many: it is paid nothing",
            "8 of the 10 to give on the epochs 3 to 12",
            "1: 4 (as others did)",
            "1: 5 (alone)",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        let nothing = ValidatorStatusView { blocks: None, turns: None, duties: None, reports: None, ..view };
        assert!(!status_text(&nothing).contains("missed"));
    }
}
