//! `lucid vault show`.

use clap::Args;
use lucid_types::id::{NodeId, PayoutAddress};
use serde::Serialize;
use serde_json::json;

use super::open::{Opened, VaultArgs, count};
use crate::api::model::{VaultView, WithdrawalView};
use crate::cli::act::warn;
use crate::cli::values::{self, duration_of, usdt_of, utc, when};
use crate::cli::{Context, Json, output};

#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArgs {
    #[command(flatten)]
    vault: VaultArgs,
    /// Ask for the seat of this signer; may be given several times [default: the signers of the home's pool]
    #[arg(long = "signer", value_name = "ADDRESS", value_parser = values::address)]
    signers: Vec<PayoutAddress>,
    #[command(flatten)]
    json: Json,
}

/// A signer's place in the vault and what it has done about pauses.
#[derive(Serialize)]
struct SeatView {
    key_address: PayoutAddress,
    node: Option<NodeId>,
    /// Its index; `null` if it is no signer in force.
    seat: Option<u8>,
    has_used_its_pause: bool,
    supports_the_pause: bool,
    wants_pauses_ended: bool,
}

pub(super) async fn show(args: &ShowArgs, context: &Context) -> anyhow::Result<()> {
    let opened = args.vault.open(context).await?;
    let Opened { net, vault, .. } = &opened;
    let witnessed = net.providers.vault_snapshot(vault, &[]).await?;
    let (snapshot, block) = (witnessed.snapshot, witnessed.block);
    let now = opened.now_s();
    let view = VaultView::new(*vault, &snapshot, now);
    let seats = seats(args, &opened).await?;
    let mut warnings = net.warnings.clone();
    warnings.extend(witnessed.contradictions.iter().map(ToString::to_string));
    if net.providers.groups().len() == 1 && !net.is_local() {
        warnings.push("one provider group says all of this and nobody confirms it; name a second one".to_owned());
    }
    warn(&warnings)?;
    if args.json.json {
        return output::json(&json!({
            "network": net.network,
            "genesis_block": net.genesis_block,
            "block": block.number,
            "block_time": block.time,
            "vault": view,
            "signers": seats,
            "warnings": warnings,
        }));
    }
    let mut lines = vec![
        ("vault", vault.to_string()),
        ("network", format!("{}, solidified block {} of {}", net.network, block.number, utc(block.time.get() / 1_000))),
    ];
    lines.extend(money(&view, now));
    lines.extend(state(&view, now));
    output::print(&output::pairs(&lines))?;
    if seats.is_empty() {
        return Ok(());
    }
    let yes = |is: bool| if is { "yes" } else { "-" }.to_owned();
    let row = |seat: &SeatView| {
        [
            seat.key_address.to_string(),
            output::or_dash(seat.node.map(|node| node.short())),
            seat.seat.map_or_else(|| "none".to_owned(), |seat| seat.to_string()),
            yes(seat.has_used_its_pause),
            yes(seat.supports_the_pause),
            yes(seat.wants_pauses_ended),
        ]
    };
    let rows: Vec<_> = seats.iter().map(row).collect();
    let titles = ["signer", "node", "seat", "pause used", "supports pause", "wants it ended"];
    output::print(&format!("\n{}", output::table(titles, &rows)))
}

fn money(view: &VaultView, now: u64) -> Vec<(&'static str, String)> {
    let root = match view.root {
        Some(root) => format!("settlement {}, root {root}", view.settlement),
        None => "none in this era".to_owned(),
    };
    let leader = view.leader.map(|leader| format!("{leader} until {}", when(view.until, now)));
    vec![
        ("token", view.token.to_string()),
        ("funds", usdt_of(view.funds_micro_usdt)),
        ("posted", root),
        ("total", format!("{}, {} of it fees", usdt_of(view.total_micro_usdt), usdt_of(view.fees_micro_usdt))),
        ("left of total", usdt_of(view.left_of_total_micro_usdt)),
        ("paid out", format!("{}, and {} fees", usdt_of(view.paid_out_micro_usdt), usdt_of(view.fees_paid_micro_usdt))),
        ("cap", format!("{} in {}", usdt_of(view.limits.cap_micro_usdt), duration_of(view.period_s.into()))),
        (
            "left of cap",
            format!("{}, next period {}", usdt_of(view.left_of_cap_micro_usdt), when(view.period_ends, now)),
        ),
        (
            "push fee",
            format!("{} each; earned by {}", usdt_of(view.limits.push_fee_micro_usdt), output::or_dash(leader)),
        ),
    ]
}

fn state(view: &VaultView, now: u64) -> Vec<(&'static str, String)> {
    let state = match (view.is_closed, view.is_paused) {
        (true, _) => "closed for good",
        (_, true) => "paused",
        _ => "open",
    };
    let pause = view.signer_pause.map(|pause| match pause.until {
        Some(until) => format!("until {}", when(until, now)),
        None => "until it is ended".to_owned(),
    });
    let withdrawal = view.withdrawal.map(|WithdrawalView { to, amount_micro_usdt, from, until }| {
        format!("{} to {to}, possible from {} until {}", usdt_of(amount_micro_usdt), when(from, now), utc(until))
    });
    vec![
        ("state", state.to_owned()),
        ("owner", view.owner.to_string()),
        ("owner's notice", duration_of(view.delay_s.into())),
        ("owner's pause", output::or_dash(view.owner_pause_from.map(|from| when(from, now)))),
        ("signers' pause", output::or_dash(pause)),
        ("closes", output::or_dash(view.close_from.map(|from| when(from, now)))),
        ("withdrawal", output::or_dash(withdrawal)),
        ("predecessor", output::or_dash(view.previous)),
        ("signers", format!("era {}, {} must sign, {} changes so far", view.era, view.threshold, view.nonce)),
    ]
}

async fn seats(args: &ShowArgs, opened: &Opened) -> anyhow::Result<Vec<SeatView>> {
    let mut signers: Vec<(PayoutAddress, Option<NodeId>)> =
        args.signers.iter().map(|address| (*address, None)).collect();
    if signers.is_empty() {
        let known = opened.by_ledger();
        let members = known.into_iter().flat_map(|(vault, _)| vault.signers.members);
        signers.extend(members.map(|signer| (signer.key_address, Some(signer.node))));
    }
    let snapshot = &opened.snapshot;
    let mut seats = Vec::with_capacity(signers.len());
    for (key_address, node) in signers {
        let seat = opened.net.client.vault_seat(&opened.vault, &key_address).await?;
        let seat = seat.filter(|seat| seat.era == snapshot.era).map(|seat| seat.index);
        let bit = seat.and_then(|seat| 1_u16.checked_shl(seat.into())).unwrap_or_default();
        let has = |bits: u16| count(bits & bit) > 0;
        seats.push(SeatView {
            key_address,
            node,
            seat,
            has_used_its_pause: has(snapshot.pauses_used),
            supports_the_pause: has(snapshot.pausing),
            wants_pauses_ended: has(snapshot.lifting),
        });
    }
    Ok(seats)
}
