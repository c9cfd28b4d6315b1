//! `lucid payout list` and `show`.

use lucid_types::id::PayoutId;

use super::ListArgs;
use crate::api::model::{PayoutList, PayoutView, StatusView};
use crate::cli::output::{self, millionths, or_dash};
use crate::cli::place::now_s;
use crate::cli::values::{trx_of, usdt_of, when};
use crate::cli::{Context, read};

/// Most entries that the API gives at once.
const MAX_LIMIT: usize = 1_000;

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
                p.payout_id.short(),
                p.settlement.to_string(),
                p.worker.short(),
                p.address.to_string(),
                millionths(p.amount_micro_usdt.get()),
                p.status.name().to_owned(),
                or_dash(p.tx_id),
                or_dash(p.waits_for.as_ref()),
            ]
        };
        let rows: Vec<_> = list.payouts.iter().map(row).collect();
        let titles = ["payout", "settlement", "worker", "address", "USDT", "status", "transaction", "waits for"];
        output::table(titles, &rows)
    })
}

pub(super) async fn show(id: PayoutId, as_json: bool, context: &Context) -> anyhow::Result<()> {
    let payout: PayoutView = context.node()?.get(&format!("payouts/{id}")).await?;
    read::show(as_json, &payout, |p| {
        output::pairs(&[
            ("payout", p.payout_id.to_string()),
            ("pool", p.pool.to_string()),
            ("settlement", p.settlement.to_string()),
            ("worker", p.worker.to_string()),
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
