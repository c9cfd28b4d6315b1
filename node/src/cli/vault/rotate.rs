//! `lucid vault rotate`: other signers. First the ledger takes the command, then the contract, with signatures of the signers that
//! are replaced.

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use lucid_tron_bridge::vault::{self, signers_digest};
use lucid_types::pool::PoolAction;
use lucid_types::vault::{SignerSet, TreasurySigner};
use serde_json::json;

use super::check::{can_never_sign, contracts, pause_warning};
use super::open::{VaultArgs, quorum};
use super::post::enough;
use crate::api::model::{ChangeView, SignatureRequest, TermsView};
use crate::cli::Context;
use crate::cli::act::{Act, SendArgs, Step, say};
use crate::cli::place::PlaceArgs;
use crate::cli::pool::open::{DirectArgs, Pool, check_order};
use crate::cli::values;

const EXAMPLE: &str = "\
How it goes, with 2 of 3 signers:
  owner     lucid vault rotate propose --signer NODE_ID=T... --signer NODE_ID=T... --signer NODE_ID=T... --threshold 2 \\
              --file rotation.json
  signers   lucid command sign --file rotation.json          (two of those in force, one after the other)
  owner     lucid command submit --file rotation.json        (a block takes it)
  owner     lucid vault rotate apply --key-file owner.key         (the contract takes it)";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) enum RotateAction {
    /// Make the ledger's command; the owner and the signers in force sign it
    Propose(ProposeRotation),
    /// Send the change that the ledger has taken to the contract; collects the signatures that it needs
    Apply(ApplyArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ProposeRotation {
    /// A new treasury signer: the node that is asked, and the address of its key; in the order that the vault will have
    #[arg(long = "signer", value_name = "NODE_ID=ADDRESS", required = true, value_parser = values::treasury_signer)]
    signers: Vec<TreasurySigner>,
    /// How many of them must sign: more than half
    #[arg(long, value_name = "K")]
    threshold: u8,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    direct: DirectArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ApplyArgs {
    #[command(flatten)]
    pub(in crate::cli) vault: VaultArgs,
    #[command(flatten)]
    pub(in crate::cli) send: SendArgs,
}

pub(in crate::cli) async fn rotate(action: RotateAction, context: &Context) -> anyhow::Result<()> {
    match action {
        RotateAction::Propose(args) => propose(args, context).await,
        RotateAction::Apply(args) => apply(&args, context).await,
    }
}

async fn propose(args: ProposeRotation, context: &Context) -> anyhow::Result<()> {
    let ProposeRotation { signers, threshold, place, direct } = args;
    let pool = Pool::open(&direct.pool, context).await?;
    check_order(&pool.view)?;
    let vault = &pool.view.vault;
    let next = SignerSet { era: vault.signers.era.saturating_add(1), threshold, members: signers };
    next.check().map_err(|problem| anyhow::anyhow!("--signer, --threshold: {problem}"))?;
    ensure!(
        next.members != vault.signers.members || threshold != vault.signers.threshold,
        "these are the signers in force"
    );
    // Neither the ledger nor the vault's contract refuses it, and what a block holds cannot be taken back.
    let net = place.connect(context).await.context("whether a new signer is a contract must be seen on the chain")?;
    let no_keys = contracts(&net.client, &next).await?;
    ensure!(no_keys.is_empty(), "{}", can_never_sign(&no_keys));
    if let Some(warning) = pause_warning(&next) {
        say(&format!("warning: {warning}"))?;
    }
    let action = PoolAction::Signers { nonce: vault.nonce, next };
    direct.direct(pool, action).await
}

async fn apply(args: &ApplyArgs, context: &Context) -> anyhow::Result<()> {
    let key = args.send.key.load()?;
    let opened = args.vault.open(context).await?;
    opened.check_owner(&key)?;
    opened.check_code().await?;
    let view = opened.pool_view(context).await?;
    let signers = |change: ChangeView| match change.next {
        TermsView::Signers(next) => Some((change.nonce, change.by, next)),
        TermsView::Limits(_) => None,
    };
    let changes = view.changes.into_iter().filter_map(signers);
    let (nonce, by, next) = next_change(changes, |(nonce, ..)| *nonce, opened.snapshot.nonce, "signers", "rotate")?;
    let list = opened.net.node(context)?.signatures(&view.pool, SignatureRequest::Signers { nonce }).await?;
    let digest = signers_digest(&opened.net.domain(opened.vault), by.era, nonce, &next);
    let signatures = enough(&list, &digest)?;
    let no_keys = contracts(&opened.net.client, &next).await?;
    ensure!(
        next.members.len().saturating_sub(no_keys.len()) >= usize::from(next.threshold),
        "of the new signers, {} are contracts and can never sign: too few are left for {}, so the vault would never get a root, \
         other signers, or other limits again. Nothing was sent; get the money out with `lucid vault withdraw`",
        no_keys.len(),
        quorum(&next)
    );
    let mut facts = vec![
        ("changes the signers of", opened.vault.to_string()),
        ("on", opened.net.network.clone()),
        ("era", format!("{}, after {}", next.era, by.era)),
        ("must sign then", quorum(&next)),
    ];
    facts.extend(
        next.members.iter().map(|signer| ("signer", format!("{} of node {}", signer.key_address, signer.node.short()))),
    );
    facts.push(("signed by", signatures.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ")));
    let data = json!({
        "vault": opened.vault, "act": "set-signers", "era": next.era, "nonce": nonce, "threshold": next.threshold,
        "signers": next.members,
    });
    let step = Step::Call { contract: opened.vault, data: vault::set_signers(&next, &signatures) };
    let mut act = Act::new(step, facts, data);
    act.usual_trx = 200;
    act.warnings.extend(
        no_keys
            .iter()
            .map(|address| format!("the new signer {address} is a contract: it can never sign; replace it next")),
    );
    act.warnings.push("the posted root is void then; the newest one is signed and posted again by the leader, or with `lucid vault post`".to_owned());
    args.send.carry_out(&opened.net, &key, act).await.map(|_| ())
}

/// The first of the ledger's changes of a kind that the contract has not taken, if it can take it next.
pub(super) fn next_change<T>(
    changes: impl IntoIterator<Item = T>,
    nonce_of: impl Fn(&T) -> u32,
    of_vault: u32,
    what: &str,
    command: &str,
) -> anyhow::Result<T> {
    let mut any = false;
    let waiting = changes.into_iter().inspect(|_| any = true).find(|change| nonce_of(change) >= of_vault);
    let Some(change) = waiting else {
        ensure!(any, "the ledger has no change of {what}; `lucid vault {command} propose` makes one");
        bail!("the vault has the ledger's newest change of {what} already");
    };
    ensure!(
        of_vault == nonce_of(&change),
        "the vault has seen {of_vault} changes, and this one is number {}: send the earlier ones first, with \
         `lucid vault rotate apply` and `lucid vault limits apply`",
        nonce_of(&change)
    );
    Ok(change)
}
