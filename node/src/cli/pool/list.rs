//! `lucid pool list`, `members` and `requests`.

use super::open::{Pool, PoolArgs};
use crate::api::model::{MemberView, PoolStatusView, PoolSummary, RequestView};
use crate::cli::output::{self, or_dash};
use crate::cli::place::now_s;
use crate::cli::read::show;
use crate::cli::values::when;
use crate::cli::{Context, Json};

/// A pool's status in words.
pub(super) fn status(status: PoolStatusView) -> String {
    match status {
        PoolStatusView::Forming { until, approvals } => {
            format!("forming, {approvals} approvals, until {}", when(until.get() / 1_000, now_s()))
        }
        PoolStatusView::Active { from } => format!("active from epoch {from} on"),
        PoolStatusView::Disbanded { until, .. } => format!("disbanded, active before epoch {until}"),
    }
}

pub(super) async fn pools(json: Json, context: &Context) -> anyhow::Result<()> {
    let list = context.node()?.pools().await?;
    show(json.json, &list, |list| {
        let row = |it: &PoolSummary| {
            [it.name.clone(), it.pool.to_string(), status(it.status), it.members.to_string(), it.owner.short()]
        };
        let rows: Vec<_> = list.pools.iter().map(row).collect();
        output::table(["name", "pool", "status", "members", "owner"], &rows)
    })
}

pub(super) async fn members(args: &PoolArgs, json: Json, context: &Context) -> anyhow::Result<()> {
    let pool = Pool::open(args, context).await?;
    let list = pool.giver.node.members(&pool.view.pool).await?;
    show(json.json, &list, |list| {
        let row = |it: &MemberView| {
            [
                it.node.to_string(),
                or_dash(it.from),
                or_dash(it.until),
                if it.is_held { format!("{}, held", it.state.name()) } else { it.state.name().to_owned() },
                it.unreached.to_string(),
                or_dash(it.payout_address),
            ]
        };
        let rows: Vec<_> = list.members.iter().map(row).collect();
        output::table(["node", "from epoch", "until", "state", "epochs unreached", "paid to"], &rows)
    })
}

pub(super) async fn requests(args: &PoolArgs, json: Json, context: &Context) -> anyhow::Result<()> {
    let pool = Pool::open(args, context).await?;
    let list = pool.giver.node.requests(&pool.view.pool).await?;
    show(json.json, &list, |list| {
        let row = |it: &RequestView| {
            let until = when(it.until.get() / 1_000, now_s());
            [it.node.to_string(), it.operator.short(), it.payout_address.to_string(), until]
        };
        let rows: Vec<_> = list.requests.iter().map(row).collect();
        output::table(["node", "operator", "paid to", "until"], &rows)
    })
}
