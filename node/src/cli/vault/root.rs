//! `lucid vault root`: the payout tree of a ledger, offline.

use std::path::PathBuf;

use clap::Args;
use lucid_types::payout_tree::OwedAccount;
use serde_json::json;

use crate::cli::ledger::Ledger;
use crate::cli::values::usdt_of;
use crate::cli::{Json, output};

const EXAMPLE: &str = "\
The file holds what a pool owes in all, in the order of the tree's leaves:
  {\"settlement\": 12, \"accounts\": [
    {\"id\": \"<64 hex digits>\", \"to\": \"T...\", \"owed_micro_usdt\": 20500000}, ...]}
That is also what a node answers at /api/v1/pools/POOL_ID/root, and what its other fields say is compared with the accounts.

With --json every account comes with its leaf's index and its proof, as PayoutVault.pay takes it.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct RootArgs {
    /// The ledger
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    json: Json,
}

pub(super) fn root(args: &RootArgs) -> anyhow::Result<()> {
    let ledger = Ledger::read(&args.file)?;
    let total = ledger.owed()?;
    if !args.json.json {
        return output::print(&output::pairs(&[
            ("settlement", ledger.view.settlement.to_string()),
            ("accounts", ledger.accounts.len().to_string()),
            ("owed", usdt_of(total)),
            ("root", ledger.tree.root().to_string()),
        ]));
    }
    let print = |(index, account): (usize, &OwedAccount)| {
        json!({
            "id": account.id,
            "to": account.to,
            "owed_micro_usdt": account.owed.get(),
            "index": index,
            "proof": ledger.tree.range_proof(index, 1),
        })
    };
    output::json(&json!({
        "settlement": ledger.view.settlement,
        "root": ledger.tree.root(),
        "total_micro_usdt": total.get(),
        "accounts": ledger.accounts.iter().enumerate().map(print).collect::<Vec<_>>(),
    }))
}
