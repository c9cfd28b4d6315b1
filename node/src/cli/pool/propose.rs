//! Commands of a pool: signed here, and sent at once or put into a file for others to sign.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::Args;
use lucid_consensus::ledger::command::MAX_PROMISED;
use lucid_types::amount::MicroUsdt;
use lucid_types::genesis::{GenesisPool, SignerSet};
use lucid_types::id::{NodeId, PoolId};
use lucid_types::key::NodeKey;
use lucid_types::payout::{AccountKind, PoolChange, PoolCommand};
use lucid_types::payout_tree::AccountId;
use lucid_types::time::UnixMillis;
use tokio::time::{Instant, sleep};

use super::command_file::{CommandFile, Signers};
use crate::api::model::{HoldView, PoolView};
use crate::cli::act::{ConfirmArgs, Interrupt, say};
use crate::cli::node_api::NodeApi;
use crate::cli::place::{HomeLedger, now_s};
use crate::cli::values::{IdPrefix, duration_of, usdt_of};
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

    /// The one member whose id begins so.
    pub(super) fn member(&self, id: &IdPrefix) -> anyhow::Result<NodeId> {
        member(declared(&self.ledger, &self.view)?, id)
    }
}

fn declared<'a>(ledger: &'a HomeLedger, view: &PoolView) -> anyhow::Result<&'a GenesisPool> {
    ledger.spec.pool(&view.pool).with_context(|| format!("the home's network has no pool {}", view.pool))
}

fn member(pool: &GenesisPool, id: &IdPrefix) -> anyhow::Result<NodeId> {
    let mut found = pool.members.iter().filter(|node| id.matches(node));
    match (found.next(), found.next()) {
        (Some(node), None) => Ok(*node),
        (Some(first), Some(second)) => bail!(
            "several members of the pool {} have an id that begins with {id}; give more of it: {first}, {second}{}",
            pool.name,
            if found.next().is_some() { ", ..." } else { "" }
        ),
        (None, _) => bail!(
            "the pool {} has no member whose id begins with {id}; the genesis and `lucid payout list` name its members",
            pool.name
        ),
    }
}

/// Whether some node's account of the pool can have this id: the members' and the owner's are all that there can be.
fn check_account(ledger: &HomeLedger, id: &PoolId, pool: &GenesisPool, account: &AccountId) -> anyhow::Result<()> {
    let commission = ledger.account(id, AccountKind::Commission, &pool.owner);
    let mut workers = pool.members.iter().map(|node| ledger.account(id, AccountKind::Worker, node));
    ensure!(
        commission == *account || workers.any(|worker| worker == *account),
        "the pool {} has no account {account}: it belongs to none of its members, nor to its owner for the commission",
        pool.name
    );
    Ok(())
}

/// The ledger counts no more than [`MAX_PROMISED`].
fn check_amount(counted: MicroUsdt, amount: MicroUsdt, what: &str) -> anyhow::Result<()> {
    ensure!(
        counted.checked_add(amount).is_some_and(|sum| sum <= MAX_PROMISED),
        "{} is too much: the pool's {what} are {}, and the ledger counts no more than {}",
        usdt_of(amount),
        usdt_of(counted),
        usdt_of(MAX_PROMISED)
    );
    Ok(())
}

/// Refuses what no block would take, as far as the node can know it.
fn check_change(ledger: &HomeLedger, view: &PoolView, change: &PoolChange) -> anyhow::Result<()> {
    match change {
        PoolChange::Correct { account, amount } => {
            check_account(ledger, &view.pool, declared(ledger, view)?, account)?;
            check_amount(view.budgets_micro_usdt, *amount, "budgets")
        }
        PoolChange::Losses(amount) => check_amount(view.losses_micro_usdt, *amount, "losses"),
        PoolChange::Suspend(true) => {
            ensure!(view.suspended_from.is_none(), "the pool {} is suspended already", view.name);
            Ok(())
        }
        PoolChange::Suspend(false) => {
            ensure!(view.suspended_from.is_some(), "the pool {} is not suspended", view.name);
            Ok(())
        }
        PoolChange::Signers { .. } | PoolChange::Limits { .. } => check_order(view),
        // Who is a member was looked up.
        PoolChange::Hold(node) => check_hold(&view.holds, node, true),
        PoolChange::Resume(node) => check_hold(&view.holds, node, false),
    }
}

/// Only a member that is not held can be held, and only a hold that was not ended yet can be ended.
fn check_hold(holds: &[HoldView], node: &NodeId, wants_hold: bool) -> anyhow::Result<()> {
    let from = holds.iter().find(|hold| hold.node == *node).map(|hold| hold.from);
    match (from, wants_hold) {
        (None, true) | (Some(Some(_)), false) => Ok(()),
        (None, false) => bail!("the member {node} is not held"),
        (Some(Some(from)), true) => bail!("the member {node} is held already, from settlement {from} on"),
        (Some(None), true) => bail!("the member {node} is held until the next settlement: hold it again after that"),
        (Some(None), false) => bail!("the hold of the member {node} has been ended: the next settlement does it"),
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
        check_change(&ledger, &view, &change)?;
        let until = UnixMillis::new(now_s().saturating_add(self.valid_for.into()).saturating_mul(1_000));
        let record = PoolCommand { pool: view.pool, number: view.commands.saturating_add(1), until, change };
        let unsigned = CommandFile::new(&ledger, &view.name, record);
        let mut command = unsigned.clone();
        command.sign(&key, ledger.spec.id());
        let known = Signers { owner: view.owner, set: signers.clone(), source: "the ledger" };
        let missing = command.missing(&known);
        let mut text = command.text(&known);
        let more = || {
            format!(
                "this command needs more signatures, {}: give --file FILE, and let the others sign it",
                missing.join(", and ")
            )
        };
        let will_be = self.confirm.will_be();
        match (&self.file, missing.is_empty()) {
            (Some(file), _) => {
                text.push_str(&format!("\nIt {will_be} signed by this node and written to {}.\n", file.display()));
            }
            (None, true) => {
                text.push_str(&format!(
                    "\nIt {will_be} signed by this node and sent: a block takes it, and nothing takes it back.\n"
                ));
            }
            (None, false) if self.confirm.dry_run => {
                text.push_str(&format!("\nNothing would be sent: {}.\n", more()));
            }
            (None, false) => {
                output_before_error(&self.confirm, &text)?;
                bail!(more());
            }
        }
        if !self.confirm.confirm(&text)? {
            return done(&self.confirm, &unsigned, true, None);
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
                let height = hand_in(&node, &ledger, &command, None).await?;
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
fn check_order(view: &PoolView) -> anyhow::Result<()> {
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

/// Hands a command in and waits until a block holds it; returns that block's height. `file` is where the command is kept, if it
/// is.
pub(super) async fn hand_in(
    node: &NodeApi,
    ledger: &HomeLedger,
    command: &CommandFile,
    file: Option<&Path>,
) -> anyhow::Result<u64> {
    let signed = command.signed();
    let PoolCommand { number, until, .. } = signed.record;
    let mut interrupt = Interrupt::listen()?;
    node.submit(&signed).await?;
    say(&format!("command {number} is on its way; waiting for a block that holds it"))?;
    let open = || {
        let look = match file {
            Some(file) => {
                format!("`lucid pool submit-command --file {}` asks again and sends nothing twice", file.display())
            }
            None => {
                "`lucid pool show` says how many commands there were and what is in force; look before you make it anew"
                    .to_owned()
            }
        };
        let until = values::when(until.get() / 1_000, now_s());
        format!("command {number} was handed in, nothing takes it back, and a block may hold it until {until}: {look}")
    };
    tokio::select! {
        held = wait_for_block(node, ledger, &signed.record, &open) => held,
        interrupted = interrupt.wait() => Err(interrupted.context(open())),
    }
}

/// Waits until a block holds the command. `open` says what to do if that is not known in the end.
async fn wait_for_block(
    node: &NodeApi,
    ledger: &HomeLedger,
    command: &PoolCommand,
    open: &impl Fn() -> String,
) -> anyhow::Result<u64> {
    let PoolCommand { pool, number, until, .. } = *command;
    let patience = ledger.policy().epoch().saturating_mul(PATIENCE_EPOCHS);
    let deadline = Instant::now() + patience;
    loop {
        if node.pool(&pool).await.with_context(open)?.commands >= number {
            return held_in(node, command).await.with_context(open)?.ok_or_else(|| anyhow!(displaced(number)));
        }
        let is_over = until.get() / 1_000 < now_s();
        if is_over {
            bail!(
                "no block holds command {number}, and its time is over: it was not carried out, and cannot be any more"
            );
        }
        if Instant::now() >= deadline {
            return Err(anyhow!("no block holds it after {}", duration_of(patience.as_secs())).context(open()));
        }
        sleep(POLL).await;
    }
}

/// The block that holds this very command; `None` if another one has its number. The number must have been taken.
pub(super) async fn held_in(node: &NodeApi, command: &PoolCommand) -> anyhow::Result<Option<u64>> {
    let found = node.final_command(&command.pool, command.number).await?;
    Ok((found.command == *command).then_some(found.height.get()))
}

/// What to say of a command whose number another one has.
pub(super) fn displaced(number: u64) -> String {
    format!(
        "another command has taken the number {number}, and no block holds this one: it was not carried out. If it is still wanted, \
         make and sign it anew (`lucid pool show` says how the pool stands now)"
    )
}

/// What came of a command. After a dry run its signatures are not printed: nobody could hand in what is.
pub(super) fn done(
    confirm: &ConfirmArgs,
    command: &CommandFile,
    is_dry_run: bool,
    height: Option<u64>,
) -> anyhow::Result<()> {
    if confirm.json.json {
        let signed_by = command.signed_by();
        let unsigned = is_dry_run.then(|| command.unsigned());
        return output::json(&serde_json::json!({
            "dry_run": is_dry_run, "command": unsigned.as_ref().unwrap_or(command), "signed_by": signed_by,
            "height": height,
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::cli::values::id_prefix;
    use crate::payout::testing::network;

    fn pool() -> GenesisPool {
        let node = |last| {
            let mut id = [0xab; 32];
            id[31] = last;
            NodeId::from_bytes(id)
        };
        let members = vec![NodeId::from_bytes([0xcd; 32]), node(1), node(2), node(3)];
        GenesisPool { name: "local".to_owned(), members, ..network().genesis().pools[0].clone() }
    }

    #[test]
    fn a_member_is_named_by_enough_of_its_id_and_never_guessed() {
        let pool = pool();
        let member = |text: &str| member(&pool, &id_prefix(text).unwrap()).map_err(|error| error.to_string());
        assert_eq!(member("cdcd").unwrap(), pool.members[0]);
        assert_eq!(member(&pool.members[2].to_string()).unwrap(), pool.members[2]);
        let error = member("abab").unwrap_err();
        assert!(error.contains("give more of it") && error.ends_with(", ..."), "{error}");
        for text in ["abcd", &NodeId::from_bytes([5; 32]).to_string()] {
            assert!(member(text).unwrap_err().contains("the pool local has no member whose id begins with"), "{text}");
        }
    }

    #[test]
    fn holds_begin_and_end_once() {
        let node = |seed| NodeId::from_bytes([seed; 32]);
        let holds = [HoldView { node: node(1), from: Some(7) }, HoldView { node: node(2), from: None }];
        let check = |seed, wants_hold| check_hold(&holds, &node(seed), wants_hold).map_err(|error| error.to_string());
        check(3, true).unwrap();
        check(1, false).unwrap();
        for (seed, wants_hold, told) in [
            (3, false, "is not held"),
            (1, true, "is held already, from settlement 7 on"),
            (2, true, "hold it again after that"),
            (2, false, "the next settlement does it"),
        ] {
            let error = check(seed, wants_hold).unwrap_err();
            assert!(error.contains(&node(seed).to_string()) && error.contains(told), "{error}");
        }
    }

    #[test]
    fn amounts_that_no_block_would_take_are_refused() {
        let most = MAX_PROMISED.saturating_sub(MicroUsdt::new(7));
        check_amount(most, MicroUsdt::new(7), "losses").unwrap();
        for (counted, amount) in [(most, 8), (MicroUsdt::ZERO, (1 << 62) + 1), (most, u64::MAX)] {
            let error = check_amount(counted, MicroUsdt::new(amount), "losses").unwrap_err().to_string();
            assert!(error.contains("the pool's losses are") && error.contains("4611686018427.387904 USDT"), "{error}");
        }
    }
}
