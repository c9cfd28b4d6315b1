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

use super::check::contracts;
use super::open::{Opened, VaultArgs};
use crate::api::model::{LedgerAccount, MemberView, PoolView};
use crate::cli::act::warn;
use crate::cli::values::{check_recipient, duration_of, trx_of, usdt_of, utc};
use crate::cli::{Context, Json, output};

/// Sun in a TRX.
const SUN: u64 = 1_000_000;
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
    let members = opened.net.node(context)?.members(&view.pool).await?.members;
    let (recipients, snapshot) = recipients(&opened, &view, &members, context).await?;
    let need = need(args, &opened, &view, &snapshot, &prices, recipients).await?;
    let gas = gas(&opened, &view, &members, &prices).await?;
    let vault = VaultState::new(&snapshot, need.amount.saturating_add(need.fees), opened.now_s());
    let per_day = Sun::new(u64::from(context.configuration()?.config.bridge.max_trx_per_day).saturating_mul(SUN));
    let mut notes = notes(&need, &gas, per_day, view.suspended_from, &vault);
    let no_keys = contracts(&opened.net.client, &view.vault.signers).await?;
    notes.extend(no_keys.iter().map(|address| {
        format!(
            "the treasury signer {address} is a contract and can never sign; `lucid vault rotate propose` replaces it"
        )
    }));
    warn(&opened.net.warnings)?;
    if args.json.json {
        return output::json(&json(&opened, &need, &gas, per_day, &vault, &notes));
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
        ("top up by", usdt_of(vault.missing)),
        (
            "cap",
            format!(
                "{} in {}: {} period(s)",
                usdt_of(snapshot.limits.cap),
                duration_of(snapshot.period.into()),
                vault.periods
            ),
        ),
        ("left of it", format!("{}, until {}", usdt_of(vault.left_of_cap), utc(vault.period_ends))),
        ("energy", need.energy.to_string()),
        ("costs about", format!("{} without staked or rented energy", trx_of(need.cost))),
        ("allowed", format!("{} in 24 h (bridge.max_trx_per_day)", trx_of(per_day))),
    ];
    lines.extend(notes.iter().map(|note| ("note", note.clone())));
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
    members: &[MemberView],
    context: &Context,
) -> anyhow::Result<(Vec<Recipient>, VaultSnapshot)> {
    let ledger = opened.net.ledger()?;
    let mut accounts: BTreeMap<AccountId, LedgerAccount> = BTreeMap::new();
    if view.newest.is_some() {
        let newest = opened.net.node(context)?.ledger(&view.pool, None).await?;
        accounts.extend(newest.accounts.iter().map(|account| (account.id, *account)));
    }
    let budget = view.budget_micro_usdt;
    let members: Vec<_> = members.iter().filter(|member| member.from.is_some()).collect();
    let n = u64::try_from(members.len()).unwrap_or(u64::MAX).max(1);
    let share = MicroUsdt::new(budget.get().div_ceil(n));
    let mut shares = BTreeMap::new();
    for MemberView { node, payout_address, .. } in members {
        let id = ledger.account(&view.pool, AccountKind::Worker, node);
        let Some(to) = *payout_address else { continue };
        let (owed_micro_usdt, requested_micro_usdt) = (MicroUsdt::ZERO, None);
        accounts.entry(id).or_insert(LedgerAccount { id, to, owed_micro_usdt, requested_micro_usdt });
        shares.insert(id, share);
    }
    let ids: Vec<_> = accounts.keys().copied().collect();
    let snapshot = opened.net.client.vault_snapshot(&opened.vault, &ids).await?;
    let threshold = ledger.policy().policy.payout_threshold;
    let recipient = |account: LedgerAccount| {
        let LedgerAccount { id, to, owed_micro_usdt: owed, requested_micro_usdt } = account;
        let (paid, requested) = (snapshot.paid_of(&id).unwrap_or_default(), requested_micro_usdt.unwrap_or_default());
        let then = owed.saturating_add(shares.get(&id).copied().unwrap_or_default());
        let is_wanted = paid < requested || paid < then && is_due(then, requested, threshold);
        let is_first = paid == MicroUsdt::ZERO;
        is_wanted.then(|| Recipient { id, to, amount: then.saturating_sub(paid), is_first })
    };
    Ok((accounts.into_values().filter_map(recipient).collect(), snapshot))
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

async fn gas(
    opened: &Opened,
    view: &PoolView,
    members: &[MemberView],
    prices: &ChainParameters,
) -> anyhow::Result<Vec<Gas>> {
    let Some(election) = &view.election else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (rank, node) in std::iter::once(&election.leader).chain(&election.successors).enumerate() {
        let address = members.iter().find(|member| member.node == *node).and_then(|member| member.gas_address);
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

/// What the vault can do about the payday now.
struct VaultState {
    funds: MicroUsdt,
    cap: MicroUsdt,
    /// What the cap still lets out in this period.
    left_of_cap: MicroUsdt,
    /// In Unix seconds.
    period_ends: u64,
    /// Periods that it takes, this one included.
    periods: u64,
    /// What the funds lack. Nothing is added to a closed vault.
    missing: MicroUsdt,
    /// Whether the whole payday would need more periods than this one if nothing of the cap were used.
    is_over_cap: bool,
    is_closed: bool,
    is_paused: bool,
    announced: Vec<String>,
}

impl VaultState {
    fn new(snapshot: &VaultSnapshot, all: MicroUsdt, now_s: u64) -> Self {
        let (cap, left_of_cap) = (snapshot.limits.cap, snapshot.left_of_cap(now_s));
        let later = all.saturating_sub(left_of_cap);
        let period = u64::from(snapshot.period).max(1);
        let is_closed = snapshot.is_closed(now_s);
        Self {
            funds: snapshot.funds,
            cap,
            left_of_cap,
            period_ends: (now_s / period).saturating_add(1).saturating_mul(period),
            periods: later.get().div_ceil(cap.get().max(1)).saturating_add(1),
            missing: if is_closed { MicroUsdt::ZERO } else { all.saturating_sub(snapshot.funds) },
            is_over_cap: all > cap,
            is_closed,
            is_paused: snapshot.is_paused(now_s),
            announced: announced(snapshot, now_s),
        }
    }

    fn notes(&self) -> Vec<String> {
        if self.is_closed {
            return vec![
                "the vault is closed for good: it pays nobody any more, and funds sent there help nobody; its successor pays what \
                 is owed (`lucid vault show` says more)"
                    .to_owned(),
            ];
        }
        let mut said = Vec::new();
        if self.missing > MicroUsdt::ZERO {
            said.push(format!(
                "the funds do not suffice: `lucid vault fund --amount {}`",
                usdt_of(self.missing).trim_end_matches(" USDT")
            ));
        }
        if self.is_over_cap {
            said.push(format!(
                "the cap spreads it over {} periods; `lucid vault limits propose` changes it",
                self.periods
            ));
        } else if self.periods > 1 {
            said.push(format!(
                "{} of the cap are left in this period: before {} the rest is not paid",
                usdt_of(self.left_of_cap),
                utc(self.period_ends)
            ));
        }
        if self.is_paused {
            said.push("the vault is paused; `lucid vault show` says more".to_owned());
        }
        said.extend(self.announced.iter().cloned());
        said
    }
}

/// What the owner has announced and is not in force yet: a payday may come after it.
fn announced(snapshot: &VaultSnapshot, now_s: u64) -> Vec<String> {
    let mut said = Vec::new();
    for (what, from) in [("pauses", snapshot.owner_pause_from), ("closes for good", snapshot.close_from)] {
        if from > now_s {
            said.push(format!(
                "the owner has announced that the vault {what} on {}: what is not paid then waits",
                utc(from)
            ));
        }
    }
    if let Some(withdrawal) = &snapshot.withdrawal {
        said.push(format!(
            "the owner has announced to withdraw {} from {} on: the funds may be less then",
            usdt_of(withdrawal.amount),
            utc(withdrawal.from)
        ));
    }
    said
}

fn notes(need: &Need, gas: &[Gas], per_day: Sun, suspended_from: Option<u64>, vault: &VaultState) -> Vec<String> {
    let mut said = vault.notes();
    if need.cost > per_day {
        said.push(format!(
            "it costs {}, and bridge.max_trx_per_day of this home allows {} in 24 hours: what is over waits for the next day or \
             for another pusher; each pusher's own configuration counts",
            trx_of(need.cost),
            trx_of(per_day)
        ));
    }
    if let Some(from) = suspended_from {
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

fn json(opened: &Opened, need: &Need, gas: &[Gas], per_day: Sun, vault: &VaultState, notes: &[String]) -> Value {
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
        "funds_micro_usdt": vault.funds,
        "top_up_micro_usdt": vault.missing,
        "cap_micro_usdt": vault.cap,
        "left_of_cap_micro_usdt": vault.left_of_cap,
        "period_ends": vault.period_ends,
        "periods": vault.periods,
        "is_closed": vault.is_closed,
        "energy": need.energy,
        "cost_sun": need.cost,
        "allowed_per_day_sun": per_day,
        "is_sampled": need.is_sampled,
        "failing": failing.collect::<Vec<_>>(),
        "elected": gas.collect::<Vec<_>>(),
        "notes": notes,
    })
}

#[cfg(test)]
mod tests {
    use lucid_types::payout::VaultLimits;

    use super::*;
    use crate::payout::testing::{network, root, snapshot};

    const NOW: u64 = 350;

    /// A vault with 100 micro-USDT, a cap of 50 in 100 seconds, of which so much was used in the period of [`NOW`].
    fn vault(spent: u64) -> VaultSnapshot {
        let network = network();
        VaultSnapshot {
            limits: VaultLimits { cap: MicroUsdt::new(50), push_fee: MicroUsdt::ZERO },
            spent: MicroUsdt::new(spent),
            window: 3,
            funds: MicroUsdt::new(100),
            period: 100,
            ..snapshot(&network, &root(&network, 1, 1_000), spent)
        }
    }

    fn state(snapshot: &VaultSnapshot, all: u64) -> VaultState {
        VaultState::new(snapshot, MicroUsdt::new(all), NOW)
    }

    #[test]
    fn what_is_left_of_the_cap_counts_in_this_period() {
        for (spent, all, periods, told) in [
            (0, 0, 1, None),
            (0, 50, 1, None),
            (20, 30, 1, None),
            (20, 31, 2, Some("0.000030 USDT of the cap are left in this period: before 1970-01-01 00:06:40 UTC")),
            (50, 50, 2, Some("0.000000 USDT of the cap are left")),
            (0, 51, 2, Some("the cap spreads it over 2 periods")),
            (50, 100, 3, Some("the cap spreads it over 3 periods")),
        ] {
            let state = state(&vault(spent), all);
            assert_eq!((state.periods, state.missing), (periods, MicroUsdt::ZERO), "{spent} {all}");
            let said = state.notes();
            assert_eq!(said.len(), usize::from(told.is_some()), "{said:?}");
            assert!(told.is_none_or(|told| said[0].contains(told)), "{said:?}");
        }
        // What was spent in an earlier period does not count.
        let earlier = VaultSnapshot { window: 2, ..vault(50) };
        assert_eq!(state(&earlier, 50).periods, 1);
    }

    #[test]
    fn a_closed_vault_is_not_to_be_funded() {
        let open = state(&vault(0), 120);
        assert_eq!(open.missing, MicroUsdt::new(20));
        assert!(open.notes().iter().any(|said| said.contains("lucid vault fund --amount 0.000020")));
        let closed = state(&VaultSnapshot { close_from: NOW, ..vault(0) }, 120);
        let said = closed.notes();
        assert_eq!(closed.missing, MicroUsdt::ZERO);
        assert!(said.len() == 1 && said[0].contains("closed for good") && !said[0].contains("vault fund"), "{said:?}");
        let paused = state(&VaultSnapshot { signer_pause_until: NOW + 1, ..vault(0) }, 10).notes();
        assert!(paused.len() == 1 && paused[0].contains("paused"), "{paused:?}");
    }

    #[test]
    fn a_payday_beyond_the_daily_limit_is_told() {
        let need = |cost| Need {
            recipients: 1,
            amount: MicroUsdt::new(10),
            fees: MicroUsdt::ZERO,
            energy: 1,
            cost: Sun::new(cost),
            failing: Vec::new(),
            is_sampled: false,
        };
        let vault = state(&vault(0), 10);
        assert_eq!(notes(&need(5), &[], Sun::new(5), None, &vault), ["everything suffices"]);
        let said = notes(&need(6), &[], Sun::new(5), None, &vault);
        assert!(said.len() == 1 && said[0].contains("bridge.max_trx_per_day"), "{said:?}");
    }
}
