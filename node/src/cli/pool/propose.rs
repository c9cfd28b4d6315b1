//! Commands of a pool: signed here, and sent at once or put into a file for others to sign.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::Args;
use lucid_types::genesis::SignerSet;
use lucid_types::id::NodeId;
use lucid_types::key::NodeKey;
use lucid_types::payout::{PoolChange, PoolCommand};
use lucid_types::time::UnixMillis;
use tokio::time::{Instant, sleep};

use super::command_file::{CommandFile, Signers};
use crate::api::model::PoolView;
use crate::cli::act::{ConfirmArgs, say};
use crate::cli::node_api::NodeApi;
use crate::cli::place::{HomeLedger, now_s};
use crate::cli::values::{duration_of, usdt_of};
use crate::cli::{Context, output, values};

/// Between two looks at the ledger.
const POLL: Duration = Duration::from_millis(500);
/// Epochs in which a block should have taken a command.
const PATIENCE_EPOCHS: u32 = 5;

#[derive(Debug, Args)]
pub(in crate::cli) struct PoolArgs {
    /// The pool, by name or id [default: the home's own, or the network's only one]
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ProposeArgs {
    #[command(flatten)]
    pub(in crate::cli) pool: PoolArgs,
    /// Write the command there instead of sending it, for the others to sign
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How long the command is good for: no later block holds it
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = values::seconds)]
    valid_for: u32,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// A pool as the home's running node has it.
pub(in crate::cli) struct Pool {
    pub(in crate::cli) ledger: HomeLedger,
    pub(in crate::cli) node: NodeApi,
    pub(in crate::cli) view: PoolView,
    key: NodeKey,
}

impl Pool {
    pub(in crate::cli) async fn open(args: &PoolArgs, context: &Context) -> anyhow::Result<Self> {
        let home = context.home()?;
        let ledger = HomeLedger::open(home.clone())?;
        let (id, _) = ledger.pool(args.pool.as_deref())?;
        let node = context.node()?;
        let view = node.pool(&id).await?;
        Ok(Self { ledger, node, view, key: home.load_key()? })
    }
}

impl ProposeArgs {
    /// Signs a command as the pool's owner or as one of its signers, and sends it or writes it into the file.
    pub(in crate::cli) async fn propose(&self, pool: Pool, change: PoolChange) -> anyhow::Result<()> {
        let Pool { ledger, node, view, key } = pool;
        let (me, signers) = (key.node_id(), &view.vault.signers);
        ensure!(
            me == view.owner || is_signer(signers, &me),
            "the home's node {me} is neither the owner of the pool {} nor one of its treasury signers: use the home of {}",
            view.name,
            view.owner
        );
        check_order(&view, &change)?;
        let until = UnixMillis::new(now_s().saturating_add(self.valid_for.into()).saturating_mul(1_000));
        let record = PoolCommand { pool: view.pool, number: view.commands.saturating_add(1), until, change };
        let mut command = CommandFile::new(&ledger, &view.name, record);
        command.sign(&key, ledger.network.id());
        let known = Signers { owner: view.owner, set: signers.clone(), source: "the ledger" };
        let missing = command.missing(&known);
        let mut text = command.text(&known);
        match (&self.file, missing.is_empty()) {
            (Some(file), _) => text.push_str(&format!("\nSigned by this node and written to {}.\n", file.display())),
            (None, true) => {
                text.push_str("\nSigned by this node and sent: a block takes it, and nothing takes it back.\n");
            }
            (None, false) => {
                output_before_error(&self.confirm, &text)?;
                bail!(
                    "this command needs more signatures, {}: give --file FILE, and let the others sign it",
                    missing.join(", and ")
                );
            }
        }
        if !self.confirm.confirm(&text)? {
            return done(&self.confirm, &command, true, None);
        }
        match &self.file {
            Some(file) => {
                command.write_new(file)?;
                if !self.confirm.json.json {
                    let next = if missing.is_empty() {
                        format!("next: lucid pool submit-command --file {}\n", file.display())
                    } else {
                        format!(
                            "next: {} with `lucid pool sign-command --file {}`\n",
                            missing.join(", and "),
                            file.display()
                        )
                    };
                    output::print(&next)?;
                }
                done(&self.confirm, &command, false, None)
            }
            None => {
                let height = hand_in(&node, &ledger, &command).await?;
                done(&self.confirm, &command, false, Some(height))
            }
        }
    }
}

fn output_before_error(confirm: &ConfirmArgs, text: &str) -> anyhow::Result<()> {
    if confirm.json.json { Ok(()) } else { output::print(text) }
}

pub(super) fn is_signer(signers: &SignerSet, node: &NodeId) -> bool {
    signers.members.iter().any(|signer| signer.node == *node)
}

/// The contract takes changes in their order, so one that it has not taken holds up all after it.
fn check_order(view: &PoolView, change: &PoolChange) -> anyhow::Result<()> {
    if !matches!(change, PoolChange::Signers { .. } | PoolChange::Limits { .. }) {
        return Ok(());
    }
    let Some(contract) = &view.contract else {
        bail!(
            "the home's node does not read the vault (tron.providers): whether the earlier changes are in force is not known"
        );
    };
    ensure!(
        contract.nonce >= view.vault.nonce,
        "the contract has taken {} of the ledger's {} changes of signers and limits: send the others first, with \
         `lucid vault rotate apply` and `lucid vault limits apply`",
        contract.nonce,
        view.vault.nonce
    );
    Ok(())
}

/// Hands a command in and waits until a block holds it; returns that block's height or a later one.
pub(super) async fn hand_in(node: &NodeApi, ledger: &HomeLedger, command: &CommandFile) -> anyhow::Result<u64> {
    let signed = command.signed();
    let (pool, number) = (signed.record.pool, signed.record.number);
    node.submit(&signed).await?;
    say(&format!("command {number} is on its way; waiting for a block that holds it"))?;
    let patience = ledger.policy().epoch().saturating_mul(PATIENCE_EPOCHS);
    let deadline = Instant::now() + patience;
    loop {
        let view = node.pool(&pool).await?;
        if view.commands >= number {
            return Ok(view.height.get());
        }
        if Instant::now() >= deadline {
            bail!(
                "no block holds command {number} after {}; it may still come: `lucid pool show` says how many commands there were",
                duration_of(patience.as_secs())
            );
        }
        sleep(POLL).await;
    }
}

/// What came of a command.
pub(super) fn done(
    confirm: &ConfirmArgs,
    command: &CommandFile,
    is_dry_run: bool,
    height: Option<u64>,
) -> anyhow::Result<()> {
    if confirm.json.json {
        return output::json(&serde_json::json!({
            "dry_run": is_dry_run, "command": command, "height": height,
        }));
    }
    match height {
        Some(height) => output::print(&format!("done: block {height} has it\n")),
        None => Ok(()),
    }
}

/// What a change does, for people.
pub(super) fn describe(change: &PoolChange) -> Vec<(&'static str, String)> {
    match change {
        PoolChange::Hold(node) => vec![
            ("does", format!("holds member {node}")),
            ("from", "the second settlement after on, for at most seven: what it earns is set aside".to_owned()),
        ],
        PoolChange::Resume(node) => vec![
            ("does", format!("ends the hold of member {node}")),
            ("from", "the next settlement on: what was set aside is owed".to_owned()),
        ],
        PoolChange::Suspend(true) => {
            vec![
                ("does", "suspends the pool: no payout roots any more; what was posted stays payable".to_owned()),
                ("from", "the second settlement after on".to_owned()),
            ]
        }
        PoolChange::Suspend(false) => {
            vec![("does", "ends the pool's suspension: payout roots are made again".to_owned())]
        }
        PoolChange::Correct { account, amount } => vec![
            ("does", format!("owes account {account} {} more", usdt_of(*amount))),
            ("from", "the next root on; the pool's budgets rise by as much".to_owned()),
        ],
        PoolChange::Losses(amount) => vec![
            ("does", format!("books {} as lost", usdt_of(*amount))),
            (
                "then",
                "the newest root is signed again with a total that is higher by it; it never falls again".to_owned(),
            ),
        ],
        PoolChange::Signers { nonce, next } => {
            let mut lines = vec![
                ("does", format!("changes the signers: era {}, change number {nonce}", next.era)),
                ("must sign then", format!("{} of {}", next.threshold, next.members.len())),
            ];
            lines.extend(
                next.members.iter().map(|signer| ("signer", format!("{} of node {}", signer.key_address, signer.node))),
            );
            lines
        }
        PoolChange::Limits { era, nonce, next } => vec![
            ("does", format!("changes the limits, in era {era}, change number {nonce}")),
            ("cap", usdt_of(next.cap)),
            ("push fee", format!("{}, from the second settlement after", usdt_of(next.push_fee))),
        ],
    }
}
