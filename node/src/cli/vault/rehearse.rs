//! `lucid vault rehearse`: what the next payday needs, and whether it is there. Nothing is sent.
//!
//! The next payday is what the posted and the newest root owe and the vault has not paid, and one more budget, shared out alike
//! among the members: how they will really earn, nobody knows. What a payment costs is estimated by the network, transfer by
//! transfer; what the vault adds to a transfer is as measured (`docs/src/payout-vault.md`, "Energy").

use std::collections::BTreeMap;

use clap::Args;
use lucid_consensus::ledger::settle::is_due;
use lucid_tron_bridge::client::ChainParameters;
use lucid_tron_bridge::trc20;
use lucid_tron_bridge::vault::VaultSnapshot;
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::{NodeId, PayoutAddress};
use lucid_types::payout::AccountKind;
use lucid_types::payout_tree::AccountId;
use serde_json::{Value, json};

use super::open::{Opened, VaultArgs};
use crate::api::model::PoolView;
use crate::cli::act::warn;
use crate::cli::values::{check_recipient, duration_of, trx_of, usdt_of};
use crate::cli::{Context, Json, output};

/// Energy that the vault adds to a transfer in a batch of ten, if the account was paid before.
const PER_ITEM: u64 = 11_800;
/// More, if it never was: its sum is a new word of storage.
const FIRST_TIME: u64 = 15_100;
/// More, with a push fee.
const PUSH_FEE: u64 = 1_600;
/// Of posting a root: the base, for each signature, and for the first root of an era.
const POST: u64 = 23_000;
const POST_SIGNATURE: u64 = 3_200;
const POST_FIRST: u64 = 30_000;
/// Bytes of a payment in a batch of ten, and of a root with five signatures.
const ITEM_BYTES: u64 = 143;
const POST_BYTES: u64 = 900;

#[derive(Debug, Args)]
pub(in crate::cli) struct RehearseArgs {
    #[command(flatten)]
    vault: VaultArgs,
    /// Recipients whose transfers are estimated one by one; of more, the others count as their average
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=5_000))]
    recipients: u16,
    #[command(flatten)]
    json: Json,
}

/// Somebody who is paid next.
struct Recipient {
    id: AccountId,
    to: PayoutAddress,
    amount: MicroUsdt,
    is_first: bool,
}

/// Somebody who may have to send the transactions.
struct Gas {
    node: NodeId,
    rank: usize,
    address: Option<PayoutAddress>,
    has: Sun,
}

/// What the payday needs.
struct Need {
    recipients: usize,
    amount: MicroUsdt,
    fees: MicroUsdt,
    energy: u64,
    cost: Sun,
    failing: Vec<(Recipient, String)>,
    is_sampled: bool,
}

pub(super) async fn rehearse(args: &RehearseArgs, context: &Context) -> anyhow::Result<()> {
    let opened = args.vault.open(context).await?;
    let view = opened.pool_view(context).await?;
    let prices = opened.net.client.chain_parameters().await?;
    let (recipients, snapshot) = recipients(&opened, &view, context).await?;
    let need = need(args, &opened, &view, &snapshot, &prices, recipients).await?;
    let gas = gas(&opened, &view, &prices).await?;
    let now = opened.now_s();
    let all = need.amount.saturating_add(need.fees);
    let missing = all.saturating_sub(snapshot.funds);
    let periods = all.get().div_ceil(snapshot.limits.cap.get().max(1)).max(1);
    let verdicts = verdicts(&need, &gas, &view, missing, periods, &snapshot, now);
    warn(&opened.net.warnings)?;
    if args.json.json {
        return output::json(&json(&opened, &need, &gas, &snapshot, missing, periods, &verdicts));
    }
    let mut lines = vec![
        (
            "recipients",
            format!(
                "{}{}",
                need.recipients,
                if need.is_sampled { ", some estimated as the others' average" } else { "" }
            ),
        ),
        ("pays", usdt_of(need.amount)),
        ("push fees", usdt_of(need.fees)),
        ("funds", usdt_of(snapshot.funds)),
        ("top up by", usdt_of(missing)),
        (
            "cap",
            format!("{} in {}: {periods} period(s)", usdt_of(snapshot.limits.cap), duration_of(snapshot.period.into())),
        ),
        ("energy", need.energy.to_string()),
        ("costs about", format!("{} without staked or rented energy", trx_of(need.cost))),
    ];
    lines.extend(verdicts.iter().map(|verdict| ("note", verdict.clone())));
    output::print(&output::pairs(&lines))?;
    let row = |gas: &Gas| {
        let role = if gas.rank == 0 { "leader".to_owned() } else { format!("successor {}", gas.rank) };
        let address = gas.address.map_or_else(|| "none".to_owned(), |address| address.to_string());
        let suffices = if gas.has >= need.cost { "yes" } else { "no" }.to_owned();
        [role, gas.node.short(), address, trx_of(gas.has), suffices]
    };
    let rows: Vec<_> = gas.iter().map(row).collect();
    let table = output::table(["elected", "node", "gas account", "has", "suffices"], &rows);
    output::print(&if rows.is_empty() { "\nnobody has been elected yet\n".to_owned() } else { format!("\n{table}") })
}

/// Who is paid next, and what the vault has paid so far.
async fn recipients(
    opened: &Opened,
    view: &PoolView,
    context: &Context,
) -> anyhow::Result<(Vec<Recipient>, VaultSnapshot)> {
    let ledger = opened.net.ledger()?;
    let mut accounts: BTreeMap<AccountId, (PayoutAddress, MicroUsdt)> = BTreeMap::new();
    if view.newest.is_some() {
        let newest = opened.net.node(context)?.ledger(&view.pool, None).await?;
        accounts.extend(newest.accounts.iter().map(|account| (account.id, (account.to, account.owed_micro_usdt))));
    }
    let members = opened.declared().map(|(_, pool)| pool.members.as_slice()).unwrap_or_default();
    let budget = opened.declared().map(|(_, pool)| pool.budget).unwrap_or_default();
    let n = u64::try_from(members.len()).unwrap_or(u64::MAX).max(1);
    let share = MicroUsdt::new(budget.get().div_ceil(n));
    let mut shares = BTreeMap::new();
    for node in members {
        let id = ledger.account(&view.pool, AccountKind::Worker, node);
        let Some(worker) = ledger.network.worker(node) else { continue };
        accounts.entry(id).or_insert((worker.payout_address, MicroUsdt::ZERO));
        shares.insert(id, share);
    }
    let ids: Vec<_> = accounts.keys().copied().collect();
    let snapshot = opened.net.client.vault_snapshot(&opened.vault, &ids).await?;
    let threshold = ledger.policy().payout_threshold;
    let recipient = |(id, (to, owed)): (AccountId, (PayoutAddress, MicroUsdt))| {
        let paid = snapshot.paid_of(&id).unwrap_or_default();
        let then = owed.saturating_add(shares.get(&id).copied().unwrap_or_default());
        let is_first = paid == MicroUsdt::ZERO;
        is_due(then, paid, threshold).then(|| Recipient { id, to, amount: then.saturating_sub(paid), is_first })
    };
    Ok((accounts.into_iter().filter_map(recipient).collect(), snapshot))
}

async fn need(
    args: &RehearseArgs,
    opened: &Opened,
    view: &PoolView,
    snapshot: &VaultSnapshot,
    prices: &ChainParameters,
    recipients: Vec<Recipient>,
) -> anyhow::Result<Need> {
    let n = recipients.len();
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let amount =
        MicroUsdt::sum(recipients.iter().map(|recipient| recipient.amount)).unwrap_or(MicroUsdt::new(u64::MAX));
    let fee = if snapshot.limits.push_fee == MicroUsdt::ZERO { 0 } else { PUSH_FEE };
    let (token, vaults) = (snapshot.token, opened.vaults());
    let (mut energy, mut asked, mut failing) = (0_u64, 0_u64, Vec::new());
    for recipient in recipients.into_iter().take(args.recipients.into()) {
        if let Err(error) = check_recipient(&recipient.to, &token, &vaults) {
            failing.push((recipient, error.to_string()));
            continue;
        }
        // What a transfer costs does not depend on its amount; an empty vault could not send more.
        let transfer = trc20::transfer(&recipient.to, MicroUsdt::new(snapshot.funds.get().min(1)));
        let estimate = opened.net.client.estimate(&opened.vault, &token, &transfer).await?;
        asked = asked.saturating_add(1);
        let first = if recipient.is_first { FIRST_TIME } else { 0 };
        energy = energy.saturating_add(estimate.energy).saturating_add(PER_ITEM + fee).saturating_add(first);
        if let Some(revert) = estimate.revert {
            failing.push((recipient, format!("the token refuses: {revert}")));
        }
    }
    let rest = count(n.saturating_sub(args.recipients.into()));
    energy = energy.saturating_add(energy.checked_div(asked).unwrap_or_default().saturating_mul(rest));
    let is_first_root = snapshot.settlement == 0;
    let post = POST + POST_SIGNATURE * u64::from(snapshot.threshold) + if is_first_root { POST_FIRST } else { 0 };
    let is_posted = view.newest.is_some_and(|newest| Some(newest.root) == snapshot.root) && n == 0;
    let energy = if is_posted { energy } else { energy.saturating_add(post) };
    let bytes = count(n).saturating_mul(ITEM_BYTES).saturating_add(POST_BYTES);
    let cost = energy
        .saturating_mul(prices.energy_price.get())
        .saturating_add(bytes.saturating_mul(prices.bandwidth_price.get()));
    Ok(Need {
        recipients: n,
        amount,
        fees: MicroUsdt::new(snapshot.limits.push_fee.get().saturating_mul(count(n))),
        energy,
        cost: Sun::new(cost),
        failing,
        is_sampled: rest > 0,
    })
}

async fn gas(opened: &Opened, view: &PoolView, prices: &ChainParameters) -> anyhow::Result<Vec<Gas>> {
    let ledger = opened.net.ledger()?;
    let Some(election) = &view.election else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (rank, node) in std::iter::once(&election.leader).chain(&election.successors).enumerate() {
        let address = ledger.network.worker(node).and_then(|worker| worker.gas_address);
        let mut has = Sun::ZERO;
        if let Some(address) = &address {
            let account = opened.net.client.account(address).await?;
            let staked = opened.net.client.resources(address).await?.energy.saturating_mul(prices.energy_price.get());
            has = account.map_or(Sun::ZERO, |account| account.balance).saturating_add(Sun::new(staked));
        }
        found.push(Gas { node: *node, rank, address, has });
    }
    Ok(found)
}

fn verdicts(
    need: &Need,
    gas: &[Gas],
    view: &PoolView,
    missing: MicroUsdt,
    periods: u64,
    snapshot: &VaultSnapshot,
    now: u64,
) -> Vec<String> {
    let mut said = Vec::new();
    if missing > MicroUsdt::ZERO {
        said.push(format!(
            "the funds do not suffice: `lucid vault fund --amount {}`",
            usdt_of(missing).trim_end_matches(" USDT")
        ));
    }
    if periods > 1 {
        said.push(format!("the cap spreads it over {periods} periods; `lucid vault limits propose` changes it"));
    }
    if snapshot.is_closed(now) || snapshot.is_paused(now) {
        said.push("the vault is paused or closed; `lucid vault show` says more".to_owned());
    }
    if let Some(from) = view.suspended_from {
        said.push(format!(
            "the pool is suspended: no roots are made from settlement {from} on; `lucid pool suspend --end` ends it"
        ));
    }
    if !gas.is_empty() && gas.iter().all(|gas| gas.has < need.cost) {
        said.push("none of the elected has TRX or energy for all of it; send TRX to their gas accounts".to_owned());
    }
    let failing = need.failing.iter().map(|(recipient, why)| {
        format!("account {} would not get {}: {why}", recipient.id.short(), usdt_of(recipient.amount))
    });
    said.extend(failing);
    if said.is_empty() {
        said.push("everything suffices".to_owned());
    }
    said
}

fn json(
    opened: &Opened,
    need: &Need,
    gas: &[Gas],
    snapshot: &VaultSnapshot,
    missing: MicroUsdt,
    periods: u64,
    verdicts: &[String],
) -> Value {
    let failing = need.failing.iter().map(|(recipient, why)| {
        json!({ "account": recipient.id, "to": recipient.to, "amount_micro_usdt": recipient.amount, "problem": why })
    });
    let gas = gas.iter().map(|gas| {
        json!({
            "node": gas.node, "rank": gas.rank, "gas_address": gas.address, "has_sun": gas.has,
            "suffices": gas.has >= need.cost,
        })
    });
    json!({
        "vault": opened.vault,
        "recipients": need.recipients,
        "amount_micro_usdt": need.amount,
        "push_fees_micro_usdt": need.fees,
        "funds_micro_usdt": snapshot.funds,
        "top_up_micro_usdt": missing,
        "cap_micro_usdt": snapshot.limits.cap,
        "periods": periods,
        "energy": need.energy,
        "cost_sun": need.cost,
        "is_sampled": need.is_sampled,
        "failing": failing.collect::<Vec<_>>(),
        "elected": gas.collect::<Vec<_>>(),
        "notes": verdicts,
    })
}
