//! `lucid pool leader`.

use crate::api::model::{ElectedView, LeaderOrderView};
use crate::cli::command::Giver;
use crate::cli::output::{self, or_dash};
use crate::cli::place::now_s;
use crate::cli::read::show;
use crate::cli::values::when;
use crate::cli::{Context, Json};

pub(super) async fn leader(pool: Option<&str>, json: Json, context: &Context) -> anyhow::Result<()> {
    let giver = Giver::open(context).await?;
    let pool = giver.ledger.pool(pool)?.pool;
    let order: LeaderOrderView = giver.node.get(&format!("pools/{pool}/leader")).await?;
    show(json.json, &order, text)
}

fn text(view: &LeaderOrderView) -> String {
    let elected = format!("block {}, {}", view.elected_in, when(view.time.get() / 1_000, now_s()));
    let turn = view.turn.map(|turn| format!("{}, {}", turn.node, when(turn.until.get() / 1_000, now_s())));
    let mut text = output::pairs(&[
        ("pool", view.pool.to_string()),
        ("settlement", view.settlement.to_string()),
        ("elected in", elected),
        ("alone until", or_dash(turn)),
    ]);
    let row = |it: &ElectedView| {
        [
            it.rank.to_string(),
            it.node.to_string(),
            it.live.to_string(),
            or_dash(it.last_led),
            or_dash(it.gas_address),
            it.why.clone(),
        ]
    };
    let rows: Vec<_> = view.order.iter().map(row).collect();
    if rows.is_empty() {
        text.push_str("nobody can lead\n");
    } else {
        text.push_str(&output::table(["rank", "node", "live", "led last", "gas account", "why"], &rows));
    }
    let others = view.not_elected.iter().map(|it| [it.node.to_string(), it.why.text().to_owned()]);
    let others: Vec<_> = others.collect();
    if !others.is_empty() {
        text.push_str(&output::table(["not elected", "why"], &others));
    }
    text
}
