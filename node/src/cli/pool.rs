//! `lucid pool`: what a pool's owner directs, alone or with the treasury signers.

mod command_file;
pub(super) mod propose;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lucid_types::amount::MicroUsdt;
use lucid_types::id::NodeId;
use lucid_types::payout::PoolChange;
use lucid_types::payout_tree::AccountId;

use self::propose::{Pool, PoolArgs, ProposeArgs};
use super::act::ConfirmArgs;
use super::values::{self, IdPrefix};
use super::{Context, Json, block_on};

const EXAMPLES: &str = "\
Examples:
  lucid pool show
  lucid pool hold NODE_ID                                    by the owner alone: signed and sent in one step
  lucid pool losses 125.5 --file losses.json                 by the owner and the treasury signers:
  lucid pool sign-command --file losses.json                   each signer, in its node's home
  lucid pool submit-command --file losses.json                 whoever signed last

A command is signed with the key of the home's node. The node must run, but for sign-command, which asks nobody.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum PoolAction {
    /// Show a pool: what it owes, its vault, its leader, and what a person should look at
    Show {
        #[command(flatten)]
        pool: PoolArgs,
        #[command(flatten)]
        json: Json,
    },
    /// Set a member's earnings aside for at most seven settlements, from the second one after the block that takes it
    Hold(MemberArgs),
    /// End a hold: what was set aside is owed from the next settlement on
    Resume(MemberArgs),
    /// Make no payout roots any more, from the second settlement after; what was posted stays payable
    Suspend {
        /// Make them again
        #[arg(long)]
        end: bool,
        #[command(flatten)]
        propose: ProposeArgs,
    },
    /// Owe an account more, because a theft was booked on it; by the owner and the treasury signers
    Correct {
        /// The account
        #[arg(value_name = "ACCOUNT_ID")]
        account: AccountId,
        /// How much more
        #[arg(value_name = "USDT", value_parser = values::some_usdt, allow_negative_numbers = true)]
        amount: MicroUsdt,
        #[command(flatten)]
        propose: ProposeArgs,
    },
    /// Raise the total of the newest root by what was taken from the vault under ids that the ledger does not know; by the owner
    /// and the treasury signers
    Losses {
        /// How much was taken
        #[arg(value_name = "USDT", value_parser = values::some_usdt, allow_negative_numbers = true)]
        amount: MicroUsdt,
        #[command(flatten)]
        propose: ProposeArgs,
    },
    /// Add this node's signature to a command in a file; asks nobody
    SignCommand(FileArgs),
    /// Hand a command in a file in, once everybody has signed it
    SubmitCommand(FileArgs),
}

#[derive(Debug, Args)]
pub(super) struct MemberArgs {
    /// The member's node: its id, or as many of its first digits as no other member has
    #[arg(value_name = "NODE_ID", value_parser = values::id_prefix)]
    node: IdPrefix,
    #[command(flatten)]
    propose: ProposeArgs,
}

#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// The command, as `--file` of the command that made it wrote it
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

pub(super) fn pool(action: PoolAction, context: &Context) -> anyhow::Result<()> {
    match action {
        PoolAction::Show { pool, json } => block_on(show::show(&pool, json.json, context)),
        PoolAction::Hold(args) => of_member(&args, PoolChange::Hold, context),
        PoolAction::Resume(args) => of_member(&args, PoolChange::Resume, context),
        PoolAction::Suspend { end, propose: args } => propose(&args, PoolChange::Suspend(!end), context),
        PoolAction::Correct { account, amount, propose: args } => {
            propose(&args, PoolChange::Correct { account, amount }, context)
        }
        PoolAction::Losses { amount, propose: args } => propose(&args, PoolChange::Losses(amount), context),
        PoolAction::SignCommand(args) => command_file::sign(&args.file, &args.confirm, context),
        PoolAction::SubmitCommand(args) => block_on(command_file::submit(&args.file, &args.confirm, context)),
    }
}

fn of_member(args: &MemberArgs, change: fn(NodeId) -> PoolChange, context: &Context) -> anyhow::Result<()> {
    block_on(Box::pin(async {
        let pool = Pool::open(&args.propose.pool, context).await?;
        let node = pool.member(&args.node)?;
        args.propose.propose(pool, change(node)).await
    }))
}

fn propose(args: &ProposeArgs, change: PoolChange, context: &Context) -> anyhow::Result<()> {
    block_on(Box::pin(async {
        let pool = Pool::open(&args.pool, context).await?;
        args.propose(pool, change).await
    }))
}
