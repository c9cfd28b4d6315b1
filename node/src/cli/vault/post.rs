//! `lucid vault post`: the newest payout root, with the signatures of its signers, which the home's node collects.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use lucid_tron_bridge::signature::recover;
use lucid_tron_bridge::vault::{self, VaultSnapshot, root_digest};
use lucid_types::id::PayoutAddress;
use lucid_types::payout::{SettlementRoot, TreasurySignature};
use serde_json::json;

use super::open::VaultArgs;
use crate::api::model::{SignatureList, SignatureRequest};
use crate::cli::Context;
use crate::cli::act::{Act, SendArgs, Step};
use crate::cli::values::{usdt_of, when};

#[derive(Debug, Args)]
pub(in crate::cli) struct PostArgs {
    #[command(flatten)]
    vault: VaultArgs,
    #[command(flatten)]
    send: SendArgs,
}

pub(super) async fn post(args: &PostArgs, context: &Context) -> anyhow::Result<()> {
    let key = args.send.key.load()?;
    let opened = args.vault.open(context).await?;
    opened.check_code().await?;
    let pool = opened.known_pool()?;
    let node = opened.net.node(context)?;
    let root = node.ledger(&pool, None).await?.settlement_root().context("the node's payout root is incomplete")?;
    ensure!(root.vault == opened.vault, "the newest payout root is for the vault {}", root.vault);
    check_new(&root, &opened.snapshot, opened.now_s())?;
    let list = node.signatures(&pool, SignatureRequest::Root { settlement: root.settlement }).await?;
    let signatures = enough(&list, &root_digest(&opened.net.domain(opened.vault), &root))?;
    let now = opened.now_s();
    let leader =
        root.leader.map_or_else(|| "nobody".to_owned(), |leader| format!("{leader} until {}", when(root.until, now)));
    let facts = vec![
        ("posts the root of settlement", root.settlement.to_string()),
        ("root", root.root.to_string()),
        ("total", usdt_of(root.total)),
        ("of it push fees", usdt_of(root.fees)),
        ("push fees earned by", leader),
        ("signed by", signatures.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        ("at the vault", opened.vault.to_string()),
        ("on", opened.net.network.clone()),
        ("replaces settlement", opened.snapshot.settlement.to_string()),
    ];
    let data = json!({
        "vault": opened.vault,
        "settlement": root.settlement,
        "root": root.root,
        "total_micro_usdt": root.total,
        "signers": signatures.keys().collect::<Vec<_>>(),
    });
    let act = Act::new(Step::Call { contract: opened.vault, data: vault::post_root(&root, &signatures) }, facts, data);
    args.send.carry_out(&opened.net, &key, act).await.map(|_| ())
}

/// Refuses what the vault would refuse, with the reason.
fn check_new(root: &SettlementRoot, vault: &VaultSnapshot, now: u64) -> anyhow::Result<()> {
    ensure!(!vault.is_closed(now), "the vault is closed for good; no root can be posted");
    if root.era > vault.era {
        bail!(
            "the ledger has signers of era {}, the vault those of era {}: the owner sends the change first, with \
             `lucid vault rotate apply`",
            root.era,
            vault.era
        );
    }
    ensure!(
        root.era == vault.era,
        "the vault has signers of era {}, newer than the node's ledger: let it catch up",
        vault.era
    );
    ensure!(
        root.settlement >= vault.settlement,
        "the vault has the root of settlement {}, newer than the node's newest, {}: let it catch up",
        vault.settlement,
        root.settlement
    );
    let is_posted = root.settlement == vault.settlement
        && vault.root == Some(root.root)
        && (vault.total, vault.fees) == (root.total, root.fees);
    ensure!(!is_posted, "the root of settlement {} is posted already", root.settlement);
    Ok(())
}

/// Exactly as many checked signatures as the vault needs, by signer.
pub(super) fn enough(
    list: &SignatureList,
    digest: &[u8; 32],
) -> anyhow::Result<BTreeMap<PayoutAddress, TreasurySignature>> {
    let good = list.signatures.iter().filter(|signed| recover(&signed.signature, digest) == Ok(signed.key_address));
    let good: BTreeMap<_, _> = good.map(|signed| (signed.key_address, signed.signature)).collect();
    let needed = usize::from(list.needed);
    if good.len() < needed {
        let missing: Vec<_> =
            list.missing.iter().map(|missing| format!("{}: {}", missing.key_address, missing.problem)).collect();
        bail!("{} of {needed} signatures that the vault needs. {}", good.len(), missing.join("; "));
    }
    Ok(good.into_iter().take(needed).collect())
}
