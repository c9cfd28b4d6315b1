//! `lucid vault pause`, `unpause` and `close`: who may, and when it takes effect.

use anyhow::{bail, ensure};
use clap::Args;
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::vault;
use serde_json::json;

use super::open::{Opened, Party, VaultArgs, count};
use crate::cli::Context;
use crate::cli::act::{Act, SendArgs, Step};
use crate::cli::values::{usdt_of, utc, when};

/// Seconds that a signer's pause lasts (`PayoutVault.SIGNER_PAUSE`).
const SIGNER_PAUSE_S: u64 = 72 * 60 * 60;

#[derive(Debug, Args)]
pub(in crate::cli) struct StopArgs {
    #[command(flatten)]
    vault: VaultArgs,
    #[command(flatten)]
    send: SendArgs,
}

/// What a stop does, for people and programs.
struct Effect {
    act: &'static str,
    what: &'static str,
    who: String,
    effect: String,
    /// In Unix seconds.
    from: Option<u64>,
    until: Option<u64>,
}

async fn send(args: &StopArgs, opened: &Opened, key: &TronKey, data: Vec<u8>, effect: Effect) -> anyhow::Result<()> {
    opened.check_code().await?;
    let Effect { act: name, what, who, effect, from, until } = effect;
    let facts = vec![
        (what, opened.vault.to_string()),
        ("on", opened.net.network.clone()),
        ("by", who),
        ("takes effect", effect),
    ];
    let data_json = json!({ "vault": opened.vault, "act": name, "from": from, "until": until });
    let mut act = Act::new(Step::Call { contract: opened.vault, data }, facts, data_json);
    act.warnings.extend(cancelled(opened, name));
    args.send.carry_out(&opened.net, key, act).await.map(|_| ())
}

/// Notices that a new pause ends.
fn cancelled(opened: &Opened, act: &str) -> Vec<String> {
    let (snapshot, now) = (&opened.snapshot, opened.now_s());
    if act != "pause" {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    if snapshot.close_from != 0 {
        warnings.push(format!("this cancels the closing that was announced for {}", when(snapshot.close_from, now)));
    }
    if let Some(withdrawal) = &snapshot.withdrawal {
        warnings.push(format!("this cancels the announced withdrawal of {}", usdt_of(withdrawal.amount)));
    }
    warnings
}

pub(super) async fn pause(args: &StopArgs, context: &Context) -> anyhow::Result<()> {
    let key = args.send.key.load()?;
    let opened = args.vault.open(context).await?;
    let (snapshot, now) = (&opened.snapshot, opened.now_s());
    ensure!(!snapshot.is_closed(now), "the vault is closed for good; there is nothing to pause");
    let effect = match opened.party(&key).await? {
        Party::Owner => {
            ensure!(
                snapshot.owner_pause_from == 0,
                "the owner's pause is announced already: it is in force from {} on",
                when(snapshot.owner_pause_from, now)
            );
            let from = now.saturating_add(snapshot.delay.into());
            let effect = format!("{}, and lasts until it is ended", when(from, now));
            Effect { act: "pause", what: "pauses", who: "the owner".to_owned(), effect, from: Some(from), until: None }
        }
        Party::Signer(bit) if now < snapshot.signer_pause_until => {
            ensure!(snapshot.pausing & bit == 0, "this signer stands behind the pause in force already");
            let n = count(snapshot.pausing).saturating_add(1);
            let effect = if n >= u32::from(snapshot.threshold) {
                "at once: the pause in force then lasts until it is ended".to_owned()
            } else {
                let until = when(snapshot.signer_pause_until, now);
                format!("{n} of {} signers then support the pause that lapses at {until}", snapshot.threshold)
            };
            Effect { act: "pause", what: "pauses", who: "a signer".to_owned(), effect, from: Some(now), until: None }
        }
        Party::Signer(bit) => {
            ensure!(
                snapshot.pauses_used & bit == 0,
                "this signer has used its pause of era {}; another signer or the owner can pause",
                snapshot.era
            );
            let until = now.saturating_add(SIGNER_PAUSE_S);
            let effect = format!(
                "at once, until {}; if {} signers support it, until it is ended",
                utc(until),
                snapshot.threshold
            );
            Effect {
                act: "pause",
                what: "pauses",
                who: "a signer, once in an era".to_owned(),
                effect,
                from: Some(now),
                until: Some(until),
            }
        }
        Party::Neither => {
            bail!("{} is neither the vault's owner nor one of its signers; they can pause it", key.address())
        }
    };
    send(args, &opened, &key, vault::pause(), effect).await
}

pub(super) async fn unpause(args: &StopArgs, context: &Context) -> anyhow::Result<()> {
    let key = args.send.key.load()?;
    let opened = args.vault.open(context).await?;
    let (snapshot, now) = (&opened.snapshot, opened.now_s());
    let is_paused = snapshot.owner_pause_from != 0 || now < snapshot.signer_pause_until;
    ensure!(is_paused, "the vault is not paused, and no pause is announced");
    let (who, effect) = match opened.party(&key).await? {
        Party::Owner => ("the owner", "at once: all pauses end, announced ones too".to_owned()),
        Party::Signer(bit) => {
            ensure!(snapshot.lifting & bit == 0, "this signer has called for the end of the pauses already");
            let n = count(snapshot.lifting).saturating_add(1);
            let k = u32::from(snapshot.threshold);
            let effect = if n >= k {
                "at once: all pauses end".to_owned()
            } else {
                format!("when {k} signers have called it; then {n} have")
            };
            ("a signer", effect)
        }
        Party::Neither => {
            bail!("{} is neither the vault's owner nor one of its signers; they can end a pause", key.address())
        }
    };
    let effect = Effect {
        act: "unpause",
        what: "ends the pauses of",
        who: who.to_owned(),
        effect,
        from: Some(now),
        until: None,
    };
    send(args, &opened, &key, vault::unpause(), effect).await
}

pub(super) async fn close(args: &StopArgs, context: &Context) -> anyhow::Result<()> {
    let key = args.send.key.load()?;
    let opened = args.vault.open(context).await?;
    opened.check_owner(&key)?;
    let (snapshot, now) = (&opened.snapshot, opened.now_s());
    ensure!(
        snapshot.close_from == 0,
        "the vault's closing is announced already, for {}",
        when(snapshot.close_from, now)
    );
    ensure!(
        snapshot.owner_pause_from == 0 && !snapshot.is_paused(now),
        "the vault is paused, or a pause is announced: claims must stay open during the notice. End the pause first, with \
         `lucid vault unpause`"
    );
    let from = now.saturating_add(snapshot.delay.into());
    let effect = Effect {
        act: "close",
        what: "closes for good",
        who: "the owner".to_owned(),
        effect: format!("{}; until then everything goes on, after it nothing is paid here any more", when(from, now)),
        from: Some(from),
        until: None,
    };
    send(args, &opened, &key, vault::close(), effect).await
}
