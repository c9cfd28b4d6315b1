//! `lucid vault withdraw`: announce, take back, carry out.

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use lucid_tron_bridge::vault;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;
use serde_json::{Value, json};

use super::open::{Opened, VaultArgs};
use crate::api::model::WITHDRAWAL_WINDOW_S;
use crate::cli::Context;
use crate::cli::act::{Act, SendArgs, Step};
use crate::cli::values::{self, check_recipient, usdt_of, utc, when};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum WithdrawAction {
    /// Announce a withdrawal; it can be carried out after the owner's notice, for 7 days
    Ask(AskArgs),
    /// Take the announcement back
    Cancel(OwnerArgs),
    /// Carry the announced withdrawal out
    Now(OwnerArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AskArgs {
    /// Where to
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    to: PayoutAddress,
    /// How much
    #[arg(long, value_name = "USDT", value_parser = values::some_usdt, allow_negative_numbers = true)]
    amount: MicroUsdt,
    #[command(flatten)]
    owner: OwnerArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct OwnerArgs {
    #[command(flatten)]
    vault: VaultArgs,
    #[command(flatten)]
    send: SendArgs,
}

pub(super) async fn withdraw(action: &WithdrawAction, context: &Context) -> anyhow::Result<()> {
    let owner = match action {
        WithdrawAction::Ask(args) => &args.owner,
        WithdrawAction::Cancel(owner) | WithdrawAction::Now(owner) => owner,
    };
    let key = owner.send.key.load()?;
    let opened = owner.vault.open(context).await?;
    opened.check_owner(&key)?;
    opened.check_code().await?;
    let act = match action {
        WithdrawAction::Ask(args) => ask(args, &opened)?,
        WithdrawAction::Cancel(_) => cancel(&opened)?,
        WithdrawAction::Now(_) => now(&opened)?,
    };
    owner.send.carry_out(&opened.net, &key, act).await.map(|_| ())
}

fn act(opened: &Opened, data: Vec<u8>, facts: Vec<(&'static str, String)>, json: Value) -> Act {
    let place = [("vault", opened.vault.to_string()), ("on", opened.net.network.clone())];
    Act::new(Step::Call { contract: opened.vault, data }, facts.into_iter().chain(place).collect(), json)
}

fn ask(args: &AskArgs, opened: &Opened) -> anyhow::Result<Act> {
    let (snapshot, now) = (&opened.snapshot, opened.now_s());
    check_recipient(&args.to, &snapshot.token, &opened.vaults())?;
    ensure!(
        snapshot.is_closed(now) || (snapshot.owner_pause_from == 0 && !snapshot.is_paused(now)),
        "the vault is paused, or a pause is announced: claims must stay open during the notice. End the pause first, with \
         `lucid vault unpause`"
    );
    let from = now.saturating_add(snapshot.delay.into());
    let until = from.saturating_add(WITHDRAWAL_WINDOW_S);
    let facts = vec![
        ("announces a withdrawal", usdt_of(args.amount)),
        ("to", args.to.to_string()),
        ("possible from", when(from, now)),
        ("possible until", utc(until)),
        ("funds now", usdt_of(snapshot.funds)),
    ];
    let json = json!({
        "vault": opened.vault, "act": "ask", "to": args.to, "amount_micro_usdt": args.amount, "from": from, "until": until,
    });
    let mut act = act(opened, vault::ask_withdrawal(&args.to, args.amount), facts, json);
    if let Some(earlier) = &snapshot.withdrawal {
        act.warnings.push(format!(
            "this replaces the announced withdrawal of {} to {}",
            usdt_of(earlier.amount),
            earlier.to
        ));
    }
    if args.amount > snapshot.funds {
        act.warnings.push(format!(
            "the vault holds {} now; with less than the amount the withdrawal fails",
            usdt_of(snapshot.funds)
        ));
    }
    Ok(act)
}

fn cancel(opened: &Opened) -> anyhow::Result<Act> {
    let withdrawal = opened.snapshot.withdrawal.context("no withdrawal is announced; there is nothing to take back")?;
    let facts = vec![("takes back the withdrawal", usdt_of(withdrawal.amount)), ("to", withdrawal.to.to_string())];
    let json = json!({
        "vault": opened.vault, "act": "cancel", "to": withdrawal.to, "amount_micro_usdt": withdrawal.amount,
    });
    Ok(act(opened, vault::cancel(), facts, json))
}

fn now(opened: &Opened) -> anyhow::Result<Act> {
    let (snapshot, now) = (&opened.snapshot, opened.now_s());
    let withdrawal =
        snapshot.withdrawal.context("no withdrawal is announced; `lucid vault withdraw ask` announces one")?;
    let until = withdrawal.from.saturating_add(WITHDRAWAL_WINDOW_S);
    ensure!(now >= withdrawal.from, "the withdrawal is possible from {} on", when(withdrawal.from, now));
    ensure!(now < until, "the withdrawal was possible until {}; announce it again", when(until, now));
    ensure!(
        snapshot.funds >= withdrawal.amount,
        "the vault holds {}, less than the announced {}; announce a smaller one",
        usdt_of(snapshot.funds),
        usdt_of(withdrawal.amount)
    );
    let facts = vec![
        ("withdraws", usdt_of(withdrawal.amount)),
        ("to", withdrawal.to.to_string()),
        ("funds then", usdt_of(snapshot.funds.saturating_sub(withdrawal.amount))),
    ];
    let json = json!({
        "vault": opened.vault, "act": "now", "to": withdrawal.to, "amount_micro_usdt": withdrawal.amount,
    });
    Ok(act(opened, vault::withdraw(), facts, json))
}
