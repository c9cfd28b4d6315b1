//! `lucid pool show`.

use super::list::status;
use super::open::{Pool, PoolArgs};
use crate::api::model::{BatchView, MemberCounts, PoolHealthView};
use crate::cli::place::now_s;
use crate::cli::values::{usdt_of, when};
use crate::cli::{Context, output};

pub(super) async fn show(args: &PoolArgs, as_json: bool, context: &Context) -> anyhow::Result<()> {
    let view = Pool::open(args, context).await?.view;
    if as_json {
        return output::json(&view);
    }
    let signers = &view.vault.signers;
    let newest = view.newest.map(|root| {
        format!("settlement {}, root {}, total {}", root.settlement, root.root, usdt_of(root.total_micro_usdt))
    });
    let leader = view.election.as_ref().map(|election| {
        format!("{} of settlement {}, {} successors", election.leader, election.settlement, election.successors.len())
    });
    let contract = match &view.contract {
        Some(vault) => format!("settlement {}, funds {}", vault.settlement, usdt_of(vault.funds_micro_usdt)),
        None => "not read here (tron.providers)".to_owned(),
    };
    let read = view.read_at.map(|at| when(at.get() / 1_000, now_s()));
    let suspended = match view.suspended_from {
        Some(from) => format!("no payout roots are made from settlement {from} on"),
        None => "no".to_owned(),
    };
    let mut lines = vec![
        ("pool", format!("{}, {}", view.name, view.pool)),
        ("status", status(view.status)),
        ("owner", view.owner.to_string()),
        ("shares out", format!("{} each settlement", usdt_of(view.budget_micro_usdt))),
        ("block", view.height.to_string()),
        (
            "members",
            format!(
                "{} of at most {}, {} accounts, {} requests",
                view.members, view.max_members, view.accounts, view.requests
            ),
        ),
        ("of them", of_members(&view.health)),
        ("mean score", output::or_dash(view.health.mean_score_ppm.map(|mean| format!("{} of 1000000", mean.get())))),
        (
            "covers",
            match view.health.covered_settlements {
                Some(n) => format!("{n} more settlements"),
                None => "-".to_owned(),
            },
        ),
        ("last paid", output::or_dash(view.health.last_paid.map(last_paid))),
        ("settled", view.settled.to_string()),
        ("suspended", suspended),
        ("owed", usdt_of(view.owed_micro_usdt)),
        ("held", usdt_of(view.held_micro_usdt)),
        ("carried", usdt_of(view.carried_micro_usdt)),
        ("fee allowance", usdt_of(view.fees_micro_usdt)),
        ("losses", usdt_of(view.losses_micro_usdt)),
        ("newest root", output::or_dash(newest)),
        ("leader", output::or_dash(leader)),
        ("vault", view.vault.address.to_string()),
        ("signers", format!("era {}, {} of {}", signers.era, signers.threshold, signers.members.len())),
        ("contract", contract),
        ("read", output::or_dash(read)),
        ("commands", view.commands.to_string()),
    ];
    lines.extend(view.former_vaults.iter().map(|vault| ("former vault", vault.to_string())));
    lines.extend(view.holds.iter().map(|hold| {
        let from = match hold.from {
            Some(from) => format!("from settlement {from} on"),
            None => "until the next settlement".to_owned(),
        };
        ("member held", format!("{}, {from}", hold.node))
    }));
    lines.extend(view.alerts.iter().map(|alert| ("alert", alert.clone())));
    output::print(&output::pairs(&lines))
}

/// By what this node has read.
fn last_paid(paid: BatchView) -> String {
    let settlement = paid.settlement.map_or_else(String::new, |settlement| format!(" of settlement {settlement}"));
    let at = when(paid.time.get() / 1_000, now_s());
    format!(
        "{at}: {} to {} accounts{settlement}, in {} (as this node has read)",
        usdt_of(paid.amount_micro_usdt),
        paid.accounts,
        paid.tx_id
    )
}

fn of_members(health: &PoolHealthView) -> String {
    let MemberCounts { pending, active, degraded, inactive, leaving, banned, held } = health.members;
    let few = if health.is_degraded { "; fewer than the network asks for" } else { "" };
    format!(
        "{active} active, {degraded} degraded, {inactive} inactive, {pending} pending, {leaving} leaving, {banned} banned; {held} are held{few}"
    )
}
