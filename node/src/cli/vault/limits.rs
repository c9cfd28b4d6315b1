//! `lucid vault limits`: another cap or push fee. First the ledger takes the command, then the contract, with signatures of the
//! signers in force.

use anyhow::ensure;
use clap::{Args, Subcommand};
use lucid_tron_bridge::vault::{self, limits_digest};
use lucid_types::amount::MicroUsdt;
use lucid_types::payout::VaultLimits;
use lucid_types::pool::PoolAction;
use serde_json::json;

use super::post::enough;
use super::rotate::{ApplyArgs, next_change};
use crate::api::model::{ChangeView, SignatureRequest, TermsView};
use crate::cli::Context;
use crate::cli::act::{Act, Step};
use crate::cli::pool::open::{DirectArgs, Pool, check_order};
use crate::cli::values::{self, usdt_of};

const EXAMPLE: &str = "\
How it goes, with 2 of 3 signers:
  owner     lucid vault limits propose --cap 8000 --push-fee 0.02 --file limits.json
  signers   lucid command sign --file limits.json            (two of them, one after the other)
  owner     lucid command submit --file limits.json          (a block takes it)
  owner     lucid vault limits apply --key-file owner.key         (the contract takes it)";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) enum LimitsAction {
    /// Make the ledger's command; the owner and the signers sign it
    Propose(ProposeLimits),
    /// Send the change that the ledger has taken to the contract; collects the signatures that it needs
    Apply(ApplyArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ProposeLimits {
    /// Most USDT that leaves the vault in a period [default: as it is]
    #[arg(long, value_name = "USDT", value_parser = values::some_usdt, required_unless_present = "push_fee")]
    cap: Option<MicroUsdt>,
    /// USDT that whoever pushes payments gets for each [default: as it is]
    #[arg(long, value_name = "USDT", value_parser = values::usdt, allow_negative_numbers = true)]
    push_fee: Option<MicroUsdt>,
    #[command(flatten)]
    direct: DirectArgs,
}

pub(in crate::cli) async fn limits(action: LimitsAction, context: &Context) -> anyhow::Result<()> {
    match action {
        LimitsAction::Propose(args) => propose(args, context).await,
        LimitsAction::Apply(args) => apply(&args, context).await,
    }
}

async fn propose(args: ProposeLimits, context: &Context) -> anyhow::Result<()> {
    let ProposeLimits { cap, push_fee, direct } = args;
    let pool = Pool::open(&direct.pool, context).await?;
    check_order(&pool.view)?;
    let vault = &pool.view.vault;
    let now: VaultLimits = vault.limits.into();
    let next = VaultLimits { cap: cap.unwrap_or(now.cap), push_fee: push_fee.unwrap_or(now.push_fee) };
    ensure!(next != now, "these are the limits in force");
    ensure!(next.push_fee < next.cap, "the push fee must be less than the cap, or nothing is ever paid");
    let action = PoolAction::Limits { era: vault.signers.era, nonce: vault.nonce, next };
    direct.direct(pool, action).await
}

async fn apply(args: &ApplyArgs, context: &Context) -> anyhow::Result<()> {
    let key = args.send.key.load()?;
    let opened = args.vault.open(context).await?;
    opened.check_owner(&key)?;
    opened.check_code().await?;
    let view = opened.pool_view(context).await?;
    let limits = |change: ChangeView| match change.next {
        TermsView::Limits(next) => Some((change.nonce, change.by, next)),
        TermsView::Signers(_) => None,
    };
    let changes = view.changes.into_iter().filter_map(limits);
    let (nonce, by, next) = next_change(changes, |(nonce, ..)| *nonce, opened.snapshot.nonce, "limits", "limits")?;
    let next = VaultLimits::from(next);
    let list = opened.net.node(context)?.signatures(&view.pool, SignatureRequest::Limits { nonce }).await?;
    let digest = limits_digest(&opened.net.domain(opened.vault), by.era, nonce, &next);
    let signatures = enough(&list, &digest)?;
    let now = opened.snapshot.limits;
    let facts = vec![
        ("changes the limits of", opened.vault.to_string()),
        ("on", opened.net.network.clone()),
        ("cap", format!("{}, now {}", usdt_of(next.cap), usdt_of(now.cap))),
        ("push fee", format!("{}, now {}", usdt_of(next.push_fee), usdt_of(now.push_fee))),
        ("signed by", signatures.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    ];
    let data = json!({
        "vault": opened.vault, "act": "set-limits", "nonce": nonce, "cap_micro_usdt": next.cap,
        "push_fee_micro_usdt": next.push_fee,
    });
    let act = Act::new(Step::Call { contract: opened.vault, data: vault::set_limits(&next, &signatures) }, facts, data);
    args.send.carry_out(&opened.net, &key, act).await.map(|_| ())
}
