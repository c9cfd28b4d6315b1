//! `lucid tron`: the TRON network as a provider shows it, and keys and transactions that are made without one.

mod estimate;
pub(super) mod events;
mod key;
mod look;
mod transfer;

use clap::Subcommand;

use super::{Context, block_on};

const EXAMPLES: &str = "\
Examples:
  lucid tron status
  lucid tron balance T... --tron https://api.trongrid.io --network mainnet
  lucid tron tx TX_ID --json
  lucid tron estimate --contract T... --from T... --call unpause
  lucid tron key new --out owner-tron.age --keystore";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum TronAction {
    /// Show the providers: newest and solidified block, lag, network, prices
    Status(look::StatusArgs),
    /// Show what an account has: TRX, USDT, energy, bandwidth
    Balance(look::BalanceArgs),
    /// Show a transaction's receipt, and what it did at a vault
    Tx(look::TxArgs),
    /// Say what a call of a contract would use and cost, and why it would fail; sends nothing
    Estimate(estimate::EstimateArgs),
    /// Print the bytes and the id of a USDT transfer, and sign it if a key is given; offline
    BuildTransfer(Box<transfer::BuildTransfer>),
    /// Make a key, or say which address a key has; offline
    Key {
        #[command(subcommand)]
        action: key::KeyAction,
    },
}

pub(super) fn tron(action: TronAction, context: &Context) -> anyhow::Result<()> {
    match action {
        TronAction::Status(args) => block_on(Box::pin(look::status(&args, context))),
        TronAction::Balance(args) => block_on(Box::pin(look::balance(&args, context))),
        TronAction::Tx(args) => block_on(Box::pin(look::tx(&args, context))),
        TronAction::Estimate(args) => block_on(Box::pin(estimate::estimate(&args, context))),
        TronAction::BuildTransfer(args) => transfer::build_transfer(&args),
        TronAction::Key { action } => key::key(action),
    }
}
