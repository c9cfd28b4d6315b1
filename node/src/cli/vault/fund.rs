//! `lucid vault fund`.

use anyhow::ensure;
use clap::Args;
use lucid_tron_bridge::trc20;
use lucid_types::amount::MicroUsdt;
use serde_json::json;

use super::open::VaultArgs;
use crate::cli::act::{Act, SendArgs, Step};
use crate::cli::values::{self, usdt_of, when};
use crate::cli::{Context, output};

#[derive(Debug, Args)]
pub(in crate::cli) struct FundArgs {
    #[command(flatten)]
    vault: VaultArgs,
    /// How much
    #[arg(long, value_name = "USDT", value_parser = values::some_usdt, allow_negative_numbers = true)]
    amount: MicroUsdt,
    #[command(flatten)]
    send: SendArgs,
}

pub(super) async fn fund(args: &FundArgs, context: &Context) -> anyhow::Result<()> {
    let key = args.send.key.load()?;
    let opened = args.vault.open(context).await?;
    opened.check_code().await?;
    let (vault, token, now) = (opened.vault, opened.snapshot.token, opened.now_s());
    ensure!(
        !opened.snapshot.is_closed(now),
        "the vault is closed for good since {}: it pays nobody any more, and only a withdrawal of its owner gets funds out. Fund \
         its successor; nothing was sent",
        when(opened.snapshot.close_from, now)
    );
    let from = key.address();
    let has = opened.net.client.token_balance(&token, &from).await?;
    ensure!(
        has >= args.amount,
        "{from} has {} and not {} of {token}; nothing was sent",
        usdt_of(has),
        usdt_of(args.amount)
    );
    if let Some(usdt) = opened.net.usdt {
        ensure!(token == usdt, "the vault pays in {token}, and USDT here is {usdt}: do not fund it");
    }
    let funds = opened.snapshot.funds;
    let then = funds.saturating_add(args.amount);
    let facts = vec![
        ("transfers", usdt_of(args.amount)),
        ("to the vault", vault.to_string()),
        ("on", opened.net.network.clone()),
        ("funds now", usdt_of(funds)),
        ("funds then", usdt_of(then)),
    ];
    let data = json!({
        "vault": vault, "token": token, "amount_micro_usdt": args.amount, "funds_before_micro_usdt": funds,
    });
    let step = Step::Call { contract: token, data: trc20::transfer(&vault, args.amount) };
    let mut act = Act::new(step, facts, data);
    if opened.snapshot.close_from != 0 {
        let from = when(opened.snapshot.close_from, now);
        act.warnings
            .push(format!("the vault closes for good at {from}; only a withdrawal of the owner gets funds out then"));
    }
    if args.send.carry_out(&opened.net, &key, act).await?.is_none() || args.send.confirm.json.json {
        return Ok(());
    }
    let funds = opened.net.client.vault_snapshot(&vault, &[]).await?.funds;
    output::print(&output::pairs(&[("funds", usdt_of(funds))]))
}
