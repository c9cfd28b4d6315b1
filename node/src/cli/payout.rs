//! `lucid payout`: what is owed, how far it is, and getting it without the pool's pushers.

mod claim;
mod export;
mod list;

use clap::{Args, Subcommand};

use super::pool::open::PoolArgs;
use super::values::{self, IdPrefix};
use super::{Context, Json, block_on};

const EXAMPLES: &str = "\
Examples:
  lucid payout list --own
  lucid payout show PAYOUT_ID
  lucid payout export --format csv --from 1 --to 30 > payouts.csv
  lucid payout claim --key-file my-tron.key --dry-run
  lucid payout claim --print-call                            for a wallet: contract, function and call data";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum PayoutAction {
    /// List payouts, newest settlement first
    List(ListArgs),
    /// List the transactions by which a pool's vault has paid, as the node has read them, newest first
    Batches {
        #[command(flatten)]
        pool: PoolArgs,
        /// At most so many, up to 1000
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        json: Json,
    },
    /// Show all that is known of a payout
    Show {
        /// Its id, or as many of its first digits as no other has
        #[arg(value_name = "PAYOUT_ID", value_parser = values::id_prefix)]
        id: IdPrefix,
        #[command(flatten)]
        json: Json,
    },
    /// Pay oneself out of the vault, with one's own proof; any account with some TRX can send it
    Claim(Box<claim::ClaimArgs>),
    /// Print payouts for other programs, oldest settlement first
    Export(export::ExportArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// At most so many, up to 1000
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Only this node's own
    #[arg(long)]
    own: bool,
    #[command(flatten)]
    json: Json,
}

pub(super) fn payout(action: PayoutAction, context: &Context) -> anyhow::Result<()> {
    match action {
        PayoutAction::List(args) => block_on(list::list(&args, context)),
        PayoutAction::Batches { pool, limit, json } => block_on(list::batches(&pool, limit, json.json, context)),
        PayoutAction::Show { id, json } => block_on(list::show(&id, json.json, context)),
        PayoutAction::Claim(args) => block_on(Box::pin(claim::claim(&args, context))),
        PayoutAction::Export(args) => block_on(export::export(&args, context)),
    }
}
