//! `lucid payout list` and `show`.

use anyhow::{bail, ensure};
use lucid_types::id::PayoutId;

use super::ListArgs;
use crate::api::model::{BatchList, BatchView, PayoutList, PayoutView, StatusView};
use crate::cli::node_api::NodeApi;
use crate::cli::output::{self, kind, millionths, or_dash};
use crate::cli::place::now_s;
use crate::cli::pool::open::{Pool, PoolArgs};
use crate::cli::values::{IdPrefix, trx_of, usdt_of, when};
use crate::cli::{Context, read};

/// Most entries that the API gives at once.
const MAX_LIMIT: usize = 1_000;
/// Digits of a payout's id that are listed: among a million payouts two begin alike with a probability of one in five hundred.
const ID_DIGITS: usize = 12;
/// Payouts that an ambiguous id is told with.
const MAX_TOLD: usize = 5;

pub(super) async fn list(args: &ListArgs, context: &Context) -> anyhow::Result<()> {
    let node = context.node()?;
    let limit = if args.own { MAX_LIMIT } else { args.limit };
    let mut list: PayoutList = node.get(&format!("payouts?limit={limit}")).await?;
    if args.own {
        let me = node.get::<StatusView>("status").await?.node_id;
        list.payouts.retain(|payout| payout.worker == me);
        list.payouts.truncate(args.limit);
    }
    read::show(args.json.json, &list, |list| {
        let row = |p: &PayoutView| {
            [
                p.payout_id.to_string().chars().take(ID_DIGITS).collect(),
                p.settlement.to_string(),
                p.worker.short(),
                kind(p.kind).to_owned(),
                p.address.to_string(),
                millionths(p.amount_micro_usdt.get()),
                p.status.name().to_owned(),
                or_dash(p.tx_id),
                or_dash(p.waits_for.as_ref()),
            ]
        };
        let rows: Vec<_> = list.payouts.iter().map(row).collect();
        let titles = ["payout", "settlement", "node", "as", "address", "USDT", "status", "transaction", "waits for"];
        output::table(titles, &rows)
    })
}

pub(super) async fn batches(pool: &PoolArgs, limit: usize, as_json: bool, context: &Context) -> anyhow::Result<()> {
    let pool = Pool::open(pool, context).await?;
    let path = format!("pools/{}/batches?limit={limit}", pool.view.pool);
    read::show(as_json, &pool.giver.node.get::<BatchList>(&path).await?, |list| {
        let row = |it: &BatchView| {
            [
                when(it.time.get() / 1_000, now_s()),
                or_dash(it.settlement),
                it.accounts.to_string(),
                millionths(it.amount_micro_usdt.get()),
                trx_of(it.fee_sun),
                it.tx_id.to_string(),
            ]
        };
        let rows: Vec<_> = list.batches.iter().map(row).collect();
        output::table(["paid", "settlement", "accounts", "USDT", "fee", "transaction"], &rows)
    })
}

pub(super) async fn show(id: &IdPrefix, as_json: bool, context: &Context) -> anyhow::Result<()> {
    let node = context.node()?;
    let payout = match id.whole::<PayoutId>() {
        Some(id) => node.get(&format!("payouts/{id}")).await?,
        None => find(&node, id).await?,
    };
    read::show(as_json, &payout, |p| {
        output::pairs(&[
            ("payout", p.payout_id.to_string()),
            ("pool", p.pool.to_string()),
            ("settlement", p.settlement.to_string()),
            ("node", p.worker.to_string()),
            ("as", kind(p.kind).to_owned()),
            ("address", p.address.to_string()),
            ("amount", usdt_of(p.amount_micro_usdt)),
            ("owed in all", usdt_of(p.owed_micro_usdt)),
            ("status", p.status.name().to_owned()),
            ("since", or_dash(p.since.map(|since| when(since.get() / 1_000, now_s())))),
            ("waits for", or_dash(p.waits_for.as_ref())),
            ("transaction", or_dash(p.tx_id)),
            ("block", or_dash(p.block)),
            ("fee", or_dash(p.fee_sun.map(|fee| format!("{} for the whole batch", trx_of(fee))))),
        ])
    })
}

/// The one payout whose id begins so.
async fn find(node: &NodeApi, id: &IdPrefix) -> anyhow::Result<PayoutView> {
    let mut found = Vec::new();
    node.payout_pages(|page| {
        found.extend(page.into_iter().filter(|payout| id.matches(&payout.payout_id)));
        found.len() <= MAX_TOLD
    })
    .await?;
    one(id, found)
}

fn one(id: &IdPrefix, mut found: Vec<PayoutView>) -> anyhow::Result<PayoutView> {
    ensure!(found.len() <= 1, "{}", ambiguous(id, &found));
    match found.pop() {
        Some(payout) => Ok(payout),
        None => bail!("this node knows no payout whose id begins with {id}; `lucid payout list` shows the newest ones"),
    }
}

fn ambiguous(id: &IdPrefix, found: &[PayoutView]) -> String {
    let more = if found.len() > MAX_TOLD { ", ..." } else { "" };
    let ids: Vec<_> = found.iter().take(MAX_TOLD).map(|payout| payout.payout_id.to_string()).collect();
    format!("several payouts have an id that begins with {id}; give more of it: {}{more}", ids.join(", "))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::amount::MicroUsdt;
    use lucid_types::id::{NodeId, PayoutAddress, PoolId};
    use lucid_types::payout::AccountKind;

    use super::*;
    use crate::api::model::PayoutStatus;
    use crate::cli::values::id_prefix;

    fn payout(first: [u8; 3]) -> PayoutView {
        let mut id = [7; 32];
        id[..3].copy_from_slice(&first);
        PayoutView {
            payout_id: PayoutId::from_bytes(id),
            pool: PoolId::from_bytes([1; 32]),
            settlement: 1,
            worker: NodeId::from_bytes([2; 32]),
            kind: AccountKind::Worker,
            address: PayoutAddress::from_hash20([3; 20]),
            amount_micro_usdt: MicroUsdt::new(1),
            owed_micro_usdt: MicroUsdt::new(1),
            status: PayoutStatus::Paid,
            waits_for: None,
            since: None,
            tx_id: None,
            block: None,
            fee_sun: None,
        }
    }

    #[test]
    fn an_id_that_begins_alike_is_not_guessed() {
        let id = id_prefix("abab").unwrap();
        let first = payout([0xab, 0xab, 1]);
        assert_eq!(one(&id, vec![first.clone()]).unwrap(), first);
        let error = one(&id, vec![first, payout([0xab, 0xab, 2])]).unwrap_err().to_string();
        assert!(error.contains("give more of it: abab01") && error.contains(", abab02"), "{error}");
        assert!(!error.contains("..."), "{error}");
        let many = (0..=5).map(|last| payout([0xab, 0xab, last])).collect();
        let error = one(&id, many).unwrap_err().to_string();
        assert!(error.ends_with(", ...") && !error.contains("abab05"), "{error}");
        let error = one(&id, Vec::new()).unwrap_err().to_string();
        assert!(error.contains("no payout whose id begins with abab"), "{error}");
    }
}
