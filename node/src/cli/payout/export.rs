//! `lucid payout export`: payouts as CSV or as JSON. The same range of the same state gives the same bytes.

use anyhow::ensure;
use clap::{Args, ValueEnum};

use crate::api::model::{PayoutList, PayoutStatus, PayoutView, StatusView};
use crate::cli::values::iso_8601;
use crate::cli::{Context, output};

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    #[arg(long, value_enum, required_unless_present = "json")]
    format: Option<Format>,
    /// The first settlement
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
    /// The last settlement [default: the newest]
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// Only this node's own
    #[arg(long)]
    own: bool,
    /// Print one JSON object with all of them
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Comma-separated values with a line of titles; times in ISO 8601, UTC
    Csv,
    /// One JSON object a line, as the API has it
    Jsonl,
}

const TITLES: &str =
    "payout_id,pool,settlement,worker,kind,address,amount_micro_usdt,owed_micro_usdt,status,since,tx_id,block,fee_sun";

pub(super) async fn export(args: &ExportArgs, context: &Context) -> anyhow::Result<()> {
    let (from, to) = (args.from, args.to.unwrap_or(u64::MAX));
    ensure!(from <= to, "--from {from} is after --to {to}");
    let node = context.node()?;
    let me = if args.own { Some(node.get::<StatusView>("status").await?.node_id) } else { None };
    let mut payouts = node.payouts_while(|payout| payout.settlement >= from).await?;
    payouts.retain(|payout| {
        is_request(payout.status) && payout.settlement <= to && me.is_none_or(|me| payout.worker == me)
    });
    payouts.sort_by_key(|payout| (payout.settlement, payout.payout_id));
    let Some(format) = args.format else { return output::json(&PayoutList { payouts }) };
    let mut text = String::new();
    if format == Format::Csv {
        text.push_str(TITLES);
        text.push('\n');
    }
    for payout in &payouts {
        match format {
            Format::Csv => text.push_str(&csv(payout)),
            Format::Jsonl => text.push_str(&serde_json::to_string(payout)?),
        }
        text.push('\n');
    }
    output::print(&text)
}

/// What a node lists of its own earnings beside requests is not due, and no payout yet.
const fn is_request(status: PayoutStatus) -> bool {
    !matches!(status, PayoutStatus::BelowThreshold | PayoutStatus::Held | PayoutStatus::PoolSuspended)
}

/// No field holds a comma, a quote or a line end.
fn csv(payout: &PayoutView) -> String {
    let or_empty = |value: Option<String>| value.unwrap_or_default();
    [
        payout.payout_id.to_string(),
        payout.pool.to_string(),
        payout.settlement.to_string(),
        payout.worker.to_string(),
        output::kind(payout.kind).to_owned(),
        payout.address.to_string(),
        payout.amount_micro_usdt.to_string(),
        payout.owed_micro_usdt.to_string(),
        payout.status.name().to_owned(),
        or_empty(payout.since.map(|since| iso_8601(since.get()))),
        or_empty(payout.tx_id.map(|tx_id| tx_id.to_string())),
        or_empty(payout.block.map(|block| block.to_string())),
        or_empty(payout.fee_sun.map(|fee| fee.to_string())),
    ]
    .join(",")
}
