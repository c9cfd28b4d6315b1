//! `lucid payout claim`: an account is paid with its own proof, whoever sends it and whatever the pool's pushers do.

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use lucid_tron_bridge::vault;
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::{NodeId, PayoutAddress};
use lucid_types::payout::AccountKind;
use lucid_types::payout_tree::{AccountId, OwedAccount, TreeHash};
use serde_json::json;

use crate::api::model::PoolSummary;
use crate::cli::act::{Act, ConfirmArgs, SendArgs, Step, warn};
use crate::cli::keys::KeyArgs;
use crate::cli::ledger::Ledger;
use crate::cli::values::{self, check_recipient, trx_of, usdt_of, when};
use crate::cli::vault::{Opened, VaultArgs, posted_ledger};
use crate::cli::{Context, output};

/// The vault's function.
const FUNCTION: &str = "pay(uint64,(bytes32,address,uint64)[],bytes32[][])";

const EXAMPLE: &str = "\
Examples:
  lucid payout claim --key-file my-tron.key
  lucid payout claim --account ACCOUNT_ID --file ledger.json --vault T... --tron https://api.trongrid.io --network mainnet \\
    --print-call

The money goes to the account's payout address, whoever sends the transaction. The ledger comes from the home's node, or from
any node of the network: curl 'http://127.0.0.1:8095/api/v1/pools/POOL_ID/root?settlement=N' > ledger.json\n\
N is the settlement of the root that the vault has (`lucid vault show`); a page has 10,000 accounts, &offset= gives the next.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct ClaimArgs {
    #[command(flatten)]
    vault: VaultArgs,
    /// The account [default: the home's own, as a worker]
    #[arg(long, value_name = "ACCOUNT_ID")]
    account: Option<AccountId>,
    /// The home's own account for its commission as the pool's owner
    #[arg(long, conflicts_with = "account")]
    commission: bool,
    /// The home's own account for what it has earned as a validator
    #[arg(long, conflicts_with_all = ["account", "commission"])]
    validator: bool,
    /// The ledger whose root is posted, as for `lucid vault root` [default: from the home's node]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print the call for a wallet and send nothing
    #[arg(long, conflicts_with_all = ["dry_run", "yes", "max_trx", "key_file", "passphrase_file"])]
    print_call: bool,
    /// The TRON key that signs and pays: a file of mode 0600 with 64 hex digits, or an age keystore
    #[arg(long, value_name = "FILE", required_unless_present = "print_call")]
    key_file: Option<PathBuf>,
    /// Read the keystore's passphrase from a file of mode 0600 instead of the terminal
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Most TRX that it may cost [default: 100]
    #[arg(long, value_name = "N", value_parser = values::trx, allow_negative_numbers = true)]
    max_trx: Option<Sun>,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// What the vault would pay.
struct Claim {
    item: OwedAccount,
    proof: Vec<TreeHash>,
    settlement: u64,
    paid: MicroUsdt,
    pays: MicroUsdt,
}

impl Claim {
    fn call(&self) -> Vec<u8> {
        vault::pay(self.settlement, &[(self.item, self.proof.clone())])
    }
}

pub(super) async fn claim(args: &ClaimArgs, context: &Context) -> anyhow::Result<()> {
    let key = args.key_file.clone().map(|file| KeyArgs::new(file, args.passphrase_file.clone()));
    // Before anything is asked for: a wrong file or passphrase is the likeliest mistake.
    let loaded = key.as_ref().map(KeyArgs::load).transpose()?;
    let opened = args.vault.open(context).await?;
    opened.check_code().await?;
    let claim = prepare(args, &opened, context).await?;
    let (Some(key), Some(loaded)) = (key, loaded) else { return print_call(args, &opened, &claim).await };
    let facts = vec![
        ("claims", usdt_of(claim.pays)),
        ("for account", claim.item.id.to_string()),
        ("paid to", claim.item.to.to_string()),
        ("owed in all", usdt_of(claim.item.owed)),
        ("paid so far", usdt_of(claim.paid)),
        ("settlement", claim.settlement.to_string()),
        ("from the vault", opened.vault.to_string()),
        ("on", opened.net.network.clone()),
    ];
    let act = Act::new(Step::Call { contract: opened.vault, data: claim.call() }, facts, data(&opened, &claim));
    let send = SendArgs { key, max_trx: args.max_trx, confirm: args.confirm };
    send.carry_out(&opened.net, &loaded, act).await.map(|_| ())
}

async fn prepare(args: &ClaimArgs, opened: &Opened, context: &Context) -> anyhow::Result<Claim> {
    let ledger = posted_ledger(opened, args.file.as_deref(), context).await?;
    let id = match args.account {
        Some(id) => id,
        None => own_account(args, opened, &ledger)?,
    };
    let Some(index) = ledger.index_of(&id) else {
        bail!(
            "the posted root of settlement {} has no account {id}: it was owed nothing then, or belongs to another pool",
            ledger.view.settlement
        );
    };
    let (item, proof) = ledger.item(index).context("the account is not in the tree")?;
    let snapshot = opened.net.client.head_vault_snapshot(&opened.vault, &[id]).await?;
    check_recipient(&item.to, &snapshot.token, &opened.vaults()).context("the vault skips this account")?;
    let now = opened.now_s();
    ensure!(!snapshot.is_closed(now), "the vault is closed for good; its successor pays what is still owed");
    if snapshot.is_paused(now) {
        let until = snapshot.signer_pause_until.max(if snapshot.owner_pause_from != 0 { u64::MAX } else { 0 });
        bail!(
            "the vault is paused, until {}; claim then",
            if until == u64::MAX { "it is ended".to_owned() } else { when(until, now) }
        );
    }
    let paid = snapshot.paid_of(&id).unwrap_or_default();
    let due = item.owed.saturating_sub(paid);
    ensure!(
        due > MicroUsdt::ZERO,
        "all {} that the posted root owes this account has been paid; what was earned since comes with the next root",
        usdt_of(item.owed)
    );
    let limits = [
        (snapshot.left_of_total(), "all of the root's total has been paid out; the pool must book its losses"),
        (snapshot.left_of_cap(now), "the vault's cap of this period is used up; claim in the next one"),
        (snapshot.funds, "the vault is empty; its owner must fund it"),
    ];
    if let Some((_, why)) = limits.iter().find(|(left, _)| *left == MicroUsdt::ZERO) {
        bail!("{why}");
    }
    let pays = limits.iter().fold(due, |pays, (left, _)| pays.min(*left));
    Ok(Claim { item, proof, settlement: ledger.view.settlement, paid, pays })
}

fn own_account(args: &ClaimArgs, opened: &Opened, ledger: &Ledger) -> anyhow::Result<AccountId> {
    let (Some(home), Some(id)) = (&opened.net.ledger, &opened.pool) else {
        bail!("say which account: --account ID, or --home of the worker's node");
    };
    let node = home.own_account()?;
    let pool = home.pool_of_id(id).context("the network has no such pool")?;
    // Or it was one, and is owed something still.
    let is_owed = |kind| ledger.index_of(&home.account(id, kind, &node)).is_some();
    let has = Has {
        worker: is_owed(AccountKind::Worker) || home.own() == Some(*id),
        owner: pool.owner == node,
        validator: is_owed(AccountKind::Validator),
    };
    let kind = match (args.commission, args.validator) {
        (true, _) => AccountKind::Commission,
        (false, true) => AccountKind::Validator,
        (false, false) => AccountKind::Worker,
    };
    own_kind(pool, &node, has, kind)?;
    Ok(home.account(id, kind, &node))
}

/// The accounts of a pool that a node has.
#[derive(Clone, Copy, Debug)]
struct Has {
    worker: bool,
    owner: bool,
    validator: bool,
}

/// Whether a node has the account of the pool that is asked for.
fn own_kind(pool: &PoolSummary, node: &NodeId, has: Has, asked: AccountKind) -> anyhow::Result<()> {
    let is_there = match asked {
        AccountKind::Worker => has.worker,
        AccountKind::Commission => has.owner,
        AccountKind::Validator => has.validator,
    };
    if is_there {
        return Ok(());
    }
    let others = [
        (has.worker, "one of its workers: leave the option out"),
        (has.owner, "its owner: --commission claims its commission"),
        (has.validator, "a validator that it pays: --validator claims that"),
    ];
    let others: Vec<_> = others.iter().filter(|(has, _)| *has).map(|(_, text)| *text).collect();
    let is = match asked {
        AccountKind::Worker => "a worker",
        AccountKind::Commission => "the owner",
        AccountKind::Validator => "a validator that is paid by its posted root",
    };
    let name = &pool.name;
    ensure!(
        !others.is_empty(),
        "the home's node {node} is neither a worker nor the owner of the pool {name}, nor does its posted root pay it as a validator: say \
         which account with --account ACCOUNT_ID, or use the worker's home"
    );
    bail!("the home's node {node} is not {is} of the pool {name}, but {}", others.join("; and "))
}

fn data(opened: &Opened, claim: &Claim) -> serde_json::Value {
    json!({
        "vault": opened.vault,
        "network": opened.net.network,
        "settlement": claim.settlement,
        "account": claim.item.id,
        "to": claim.item.to,
        "owed_micro_usdt": claim.item.owed,
        "paid_micro_usdt": claim.paid,
        "pays_micro_usdt": claim.pays,
    })
}

/// For wallets: what to call with what, and what that does.
async fn print_call(args: &ClaimArgs, opened: &Opened, claim: &Claim) -> anyhow::Result<()> {
    let (net, call) = (&opened.net, claim.call());
    warn(&net.warnings)?;
    // The dearest sender is one that has never held the token: the push fee makes its balance.
    let mut nobody = [0; 20];
    nobody.copy_from_slice(claim.item.id.as_bytes().first_chunk::<20>().context("an account id has 32 bytes")?);
    let estimate = net.client.estimate(&PayoutAddress::from_hash20(nobody), &opened.vault, &call).await?;
    if let Some(revert) = estimate.revert {
        bail!("the call would fail: {revert}");
    }
    let price = net.client.chain_parameters().await?.energy_price;
    let fee_limit = lucid_tron_bridge::sender::fee_limit(estimate.energy, price);
    let item = format!("({}, {}, {})", claim.item.id, claim.item.to, claim.item.owed);
    let proof = claim.proof.iter().map(ToString::to_string).collect::<Vec<_>>();
    if args.confirm.json.json {
        let mut answer = data(opened, claim);
        answer["genesis_block"] = json!(net.genesis_block);
        answer["function"] = json!(FUNCTION);
        answer["arguments"] =
            json!([claim.settlement, [[claim.item.id, claim.item.to, claim.item.owed]], [claim.proof],]);
        answer["call_data"] = json!(hex::encode(&call));
        answer["call_value_sun"] = json!(0);
        answer["energy"] = json!(estimate.energy);
        answer["fee_limit_sun"] = json!(fee_limit);
        return output::json(&answer);
    }
    output::print(&output::pairs(&[
        ("network", format!("{}, block 0 {}", net.network, net.genesis_block)),
        ("contract", opened.vault.to_string()),
        ("function", FUNCTION.to_owned()),
        ("settlement", claim.settlement.to_string()),
        ("items", format!("[{item}]")),
        ("proofs", format!("[[{}]]", proof.join(", "))),
        ("call data", hex::encode(&call)),
        ("call value", "0 TRX".to_owned()),
        ("energy", estimate.energy.to_string()),
        ("fee limit", trx_of(fee_limit)),
        (
            "does",
            format!(
                "pays {} of {} to {}, and nothing else",
                usdt_of(claim.pays),
                usdt_of(claim.item.owed),
                claim.item.to
            ),
        ),
    ]))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {

    use super::*;
    use crate::payout::testing::{OWNER, WORKERS, first, network, node};
    use crate::view::pools::list;

    #[test]
    fn a_home_without_the_account_is_told_which_it_has() {
        let pools = list(&first(&network()), None).pools;
        let [member, stranger] = WORKERS;
        let ask = |seed, validator, asked| {
            let has = Has { worker: seed == member, owner: pools[0].owner == node(seed), validator };
            own_kind(&pools[0], &node(seed), has, asked)
        };
        let (worker, commission, validator) = (AccountKind::Worker, AccountKind::Commission, AccountKind::Validator);
        ask(member, false, worker).unwrap();
        ask(OWNER, false, commission).unwrap();
        ask(stranger, true, validator).unwrap();
        for (seed, validates, asked, told) in [
            (OWNER, false, worker, "--commission claims"),
            (OWNER, true, worker, "--commission claims its commission; and a validator that it pays: --validator"),
            (stranger, true, worker, "--validator claims"),
            (member, false, commission, "leave the option out"),
            (member, false, validator, "leave the option out"),
            (stranger, false, worker, "--account ACCOUNT_ID"),
            (stranger, false, commission, "--account ACCOUNT_ID"),
            (stranger, false, validator, "--account ACCOUNT_ID"),
        ] {
            let error = ask(seed, validates, asked).unwrap_err().to_string();
            assert!(error.contains(told), "{seed} {asked:?}: {error}");
        }
    }
}
