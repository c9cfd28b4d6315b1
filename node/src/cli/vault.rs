//! `lucid vault`: what concerns a pool's payout vault. Offline so far: the payout tree of a ledger.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Subcommand;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutTree};
use serde::Deserialize;
use serde_json::json;

use super::{Json, output};

/// Most bytes of a ledger's file: 100,000 accounts, generously.
const MAX_FILE_BYTES: u64 = 64 << 20;

const ROOT_EXAMPLE: &str = "\
The file holds what a pool owes in all, in the order of the tree's leaves:
  {\"settlement\": 12, \"accounts\": [
    {\"id\": \"<64 hex digits>\", \"to\": \"T...\", \"owed_micro_usdt\": 20500000}, ...]}

With --json every account comes with its leaf's index and its proof, as PayoutVault.pay takes it.";

#[derive(Debug, Subcommand)]
pub(super) enum VaultAction {
    /// Compute the payout root and the proofs of a ledger, offline
    #[command(after_help = ROOT_EXAMPLE)]
    Root {
        /// The ledger
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ledger {
    settlement: u64,
    accounts: Vec<Account>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    id: AccountId,
    to: PayoutAddress,
    owed_micro_usdt: u64,
}

pub(super) fn vault(action: VaultAction) -> anyhow::Result<()> {
    match action {
        VaultAction::Root { file, json } => {
            let ledger = read(&file).with_context(|| format!("{} holds no ledger", file.display()))?;
            root(&ledger, json.json).with_context(|| format!("the ledger in {} has no root", file.display()))
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Ledger> {
    let bytes = std::fs::metadata(file)?.len();
    ensure!(bytes <= MAX_FILE_BYTES, "it has {bytes} bytes, more than {MAX_FILE_BYTES}");
    Ok(serde_json::from_slice(&std::fs::read(file)?)?)
}

fn root(ledger: &Ledger, as_json: bool) -> anyhow::Result<()> {
    let account = |a: &Account| OwedAccount { id: a.id, to: a.to, owed: MicroUsdt::new(a.owed_micro_usdt) };
    let accounts: Vec<_> = ledger.accounts.iter().map(account).collect();
    let tree = PayoutTree::new(&accounts)?;
    let total = MicroUsdt::sum(accounts.iter().map(|account| account.owed));
    let total = total.context("the accounts owe more than 64 bits hold")?;
    if !as_json {
        return output::print(&output::pairs(&[
            ("settlement", ledger.settlement.to_string()),
            ("accounts", accounts.len().to_string()),
            ("owed", format!("{} USDT", output::millionths(total.get()))),
            ("root", tree.root().to_string()),
        ]));
    }
    let print = |(index, account): (usize, &OwedAccount)| {
        json!({
            "id": account.id,
            "to": account.to,
            "owed_micro_usdt": account.owed.get(),
            "index": index,
            "proof": tree.range_proof(index, 1),
        })
    };
    output::json(&json!({
        "settlement": ledger.settlement,
        "root": tree.root(),
        "total_micro_usdt": total.get(),
        "accounts": accounts.iter().enumerate().map(print).collect::<Vec<_>>(),
    }))
}
