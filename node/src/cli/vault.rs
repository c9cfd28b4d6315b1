//! `lucid vault`: the payout vault of a pool.

mod check;
mod deploy;
mod fund;
mod limits;
mod open;
mod post;
mod push;
mod rehearse;
mod root;
mod rotate;
mod show;
mod stops;
mod verify;
mod withdraw;

use clap::Subcommand;

pub(super) use open::{Opened, VaultArgs};
pub(super) use push::posted_ledger;
pub(super) use verify::check_next;

use super::{Context, block_on};

const EXAMPLES: &str = "\
Examples:
  lucid vault show
  lucid vault show --vault T... --tron https://api.trongrid.io --network mainnet --json
  lucid vault deploy --network nile --tron https://nile.trongrid.io --key-file owner.key --signer T... --signer T... \\
    --signer T... --threshold 2 --cap 5000 --dry-run
  lucid vault withdraw ask --to T... --amount 100 --key-file owner.key

Every command that sends a transaction shows first what it does and costs, and asks; --dry-run only shows, --yes does not ask.
TRON is where the home's configuration says, or where --tron and --network say. API keys of providers come from the home or the
environment variable LUCID_TRON_API_KEYS (HOST=KEY,...).";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum VaultAction {
    /// Deploy a vault
    Deploy(Box<deploy::DeployArgs>),
    /// Show funds, posted root, limits, pauses, notices and signers
    Show(show::ShowArgs),
    /// Check code, token, signers, notice and owner against the genesis; exit code 1 if anything is wrong
    Verify(Box<verify::VerifyArgs>),
    /// Transfer USDT to the vault
    Fund(fund::FundArgs),
    /// Say what the next payday needs and whether funds, cap and gas suffice; sends nothing
    Rehearse(rehearse::RehearseArgs),
    /// Post the pool's newest payout root with the signatures of its signers; anybody may
    Post(post::PostArgs),
    /// Pay accounts what the posted root owes them; anybody may
    Push(push::PushArgs),
    /// Stop payments: the owner after its notice, a signer at once for 72 hours
    Pause(stops::StopArgs),
    /// End all pauses: the owner at once, signers when enough of them have called it
    Unpause(stops::StopArgs),
    /// Close the vault for good, after the owner's notice
    Close(stops::StopArgs),
    /// Take funds out, after the owner's notice
    Withdraw {
        #[command(subcommand)]
        action: withdraw::WithdrawAction,
    },
    /// Change the signers: the ledger first, then the contract
    Rotate {
        #[command(subcommand)]
        action: rotate::RotateAction,
    },
    /// Change cap and push fee: the ledger first, then the contract
    Limits {
        #[command(subcommand)]
        action: limits::LimitsAction,
    },
    /// Compute the payout root and the proofs of a ledger, offline
    Root(root::RootArgs),
}

pub(super) fn vault(action: VaultAction, context: &Context) -> anyhow::Result<()> {
    match action {
        VaultAction::Deploy(args) => block_on(Box::pin(deploy::deploy(&args, context))),
        VaultAction::Show(args) => block_on(Box::pin(show::show(&args, context))),
        VaultAction::Verify(args) => block_on(Box::pin(verify::verify(&args, context))),
        VaultAction::Fund(args) => block_on(Box::pin(fund::fund(&args, context))),
        VaultAction::Rehearse(args) => block_on(Box::pin(rehearse::rehearse(&args, context))),
        VaultAction::Post(args) => block_on(Box::pin(post::post(&args, context))),
        VaultAction::Push(args) => block_on(Box::pin(push::push(&args, context))),
        VaultAction::Pause(args) => block_on(Box::pin(stops::pause(&args, context))),
        VaultAction::Unpause(args) => block_on(Box::pin(stops::unpause(&args, context))),
        VaultAction::Close(args) => block_on(Box::pin(stops::close(&args, context))),
        VaultAction::Withdraw { action } => block_on(Box::pin(withdraw::withdraw(&action, context))),
        VaultAction::Rotate { action } => block_on(Box::pin(rotate::rotate(action, context))),
        VaultAction::Limits { action } => block_on(Box::pin(limits::limits(action, context))),
        VaultAction::Root(args) => root::root(&args),
    }
}
