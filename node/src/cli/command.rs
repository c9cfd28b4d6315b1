//! Commands of accounts: everything that changes who takes part is one. The node says whether a block could hold it; then it is signed
//! here, and handed in at once or put into a file for others to sign. `lucid command` is the part of those others.

mod file;
pub(super) mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::{Args, Subcommand};
use lucid_types::command::{Action, Command, Cosigner, NodeAction, ValidatorAction};
use lucid_types::id::{NodeId, PublicKey, TxId};
use lucid_types::key::NodeKey;
use lucid_types::pool::PoolAction;
use lucid_types::time::UnixMillis;
use tokio::time::{Instant, sleep};

use self::file::{CommandFile, Signatories};
use super::act::{ConfirmArgs, Interrupt, say};
use super::node_api::NodeApi;
use super::place::{HomeLedger, PlaceArgs, now_s};
use super::values::{self, duration_of, when};
use super::{Context, block_on, output, vault};
use crate::api::model::{CommandStage, CommandView, ValidatorStatusView};
use crate::home::Identity;

/// Between two looks at the ledger.
const POLL: Duration = Duration::from_millis(500);
/// Epochs in which a block should have taken a command.
const PATIENCE_EPOCHS: u32 = 5;

const EXAMPLES: &str = "\
Examples:
  lucid pool losses 125.5 --file losses.json                 whoever makes the command
  lucid command sign --file losses.json                        each of the others, in the home of its node
  lucid command submit --file losses.json                      whoever signed last

A command is signed with the key of the home's node. The node must run, but for `lucid command sign`, which asks nobody, except
that it looks at the contracts (tron.providers of the home) before it signs a command that replaces a pool's vault.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum CommandAction {
    /// Add this node's signature to a command in a file; the home's node need not run
    Sign {
        #[command(flatten)]
        file: FileArgs,
        /// Of a command that replaces a vault with fewer than 2k - 1 signers: the transaction that deployed the next one or changed its
        /// signers last, which names them all
        #[arg(long, value_name = "TX_ID")]
        signers_tx: Option<TxId>,
    },
    /// Hand a command in a file in, once everybody has signed it
    Submit {
        #[command(flatten)]
        file: FileArgs,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// The command, as `--file` of the command that made it wrote it
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct WaitArgs {
    /// Do not wait for the block that holds the command
    #[arg(long)]
    no_wait: bool,
}

/// How a command is given.
#[derive(Debug, Args)]
pub(super) struct GiveArgs {
    /// Write the command there instead of handing it in, for the others to sign
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How long the command is good for, at most a day: no later block holds it
    #[arg(long, value_name = "DURATION", default_value = "12h", value_parser = valid_for)]
    valid_for: u32,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

fn valid_for(text: &str) -> Result<u32, String> {
    let seconds = values::seconds(text)?;
    let is_near = (1..=Command::MAX_AHEAD.as_secs()).contains(&seconds.into());
    if is_near { Ok(seconds) } else { Err("a command is good for at least 1s and at most 24h".to_owned()) }
}

pub(super) fn command(action: CommandAction, context: &Context) -> anyhow::Result<()> {
    match action {
        CommandAction::Sign { file, signers_tx } => block_on(Box::pin(sign(&file, signers_tx, context))),
        CommandAction::Submit { file, wait } => block_on(submit(&file, wait, context)),
    }
}

/// A home with its running node, which gives commands.
pub(super) struct Giver {
    pub(super) ledger: HomeLedger,
    pub(super) node: NodeApi,
    pub(super) me: Identity,
}

impl Giver {
    pub(super) async fn open(context: &Context) -> anyhow::Result<Self> {
        let home = context.home()?;
        let ledger = HomeLedger::open(home.clone(), context).await?;
        if let Some(why) = &ledger.unanswered {
            bail!("{why}");
        }
        Ok(Self { ledger, node: context.node()?, me: home.load_identity()? })
    }

    /// A command of an account with the number that comes after those that blocks hold or that wait. A veto does not wait for others: it
    /// takes the place of the next.
    async fn next_command(&self, account: NodeId, action: Action, valid_for: u32) -> anyhow::Result<Command> {
        let view = self.node.account(&account).await?;
        let free = |nonce: &u64| action.is_veto() || !view.waiting.contains(nonce);
        let nonce = (view.nonce..).find(free).unwrap_or(view.nonce);
        let until = UnixMillis::new(now_s().saturating_add(valid_for.into()).saturating_mul(1_000));
        Ok(Command { account, nonce, until, action })
    }
}

impl GiveArgs {
    /// Whether something is done, and told to people.
    pub(super) const fn is_for_people(&self) -> bool {
        !self.confirm.dry_run && !self.confirm.json.json
    }

    /// Has the node check a command of an account, signs it, `with` another key too if there is one, and hands it in or writes it into
    /// the file.
    pub(super) async fn give(
        &self,
        giver: &Giver,
        account: NodeId,
        action: Action,
        with: Option<&NodeKey>,
    ) -> anyhow::Result<()> {
        self.give_after(giver, account, action, with, || Ok(())).await
    }

    /// The same; once it is to be done, `prepare` comes first.
    pub(super) async fn give_after(
        &self,
        giver: &Giver,
        account: NodeId,
        action: Action,
        with: Option<&NodeKey>,
        prepare: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Giver { ledger, node, me: Identity { key, .. } } = giver;
        let record = giver.next_command(account, action, self.valid_for).await?;
        let signatories = signatories(node, ledger, &record).await?;
        signatories.check_say(&key.public_key())?;
        node.check(&record).await?;
        let unsigned = CommandFile::new(ledger.spec.id(), record);
        let mut command = unsigned.clone();
        with.into_iter().chain([key]).for_each(|key| command.sign(key, ledger.spec.id()));
        let missing = command.missing(&signatories);
        let mut text = command.text(ledger, &signatories);
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
                if !self.confirm.json.json {
                    output::print(&text)?;
                }
                bail!(more());
            }
        }
        if !self.confirm.confirm(&text)? {
            return tell(&self.confirm, &unsigned, &Outcome::DryRun);
        }
        prepare()?;
        let Some(file) = &self.file else {
            let outcome = hand_in(node, ledger, &command, None, self.wait).await?;
            return tell(&self.confirm, &command, &outcome);
        };
        command.write_new(file)?;
        if !self.confirm.json.json {
            output::print(&next_step(&missing, file))?;
        }
        tell(&self.confirm, &command, &Outcome::Signed)
    }
}

/// Adds the home's signature.
async fn sign(
    FileArgs { file: path, confirm }: &FileArgs,
    signers_tx: Option<TxId>,
    context: &Context,
) -> anyhow::Result<()> {
    let home = context.home()?;
    let ledger = HomeLedger::open(home.clone(), context).await?;
    let Identity { key, .. } = home.load_identity()?;
    let mut file = CommandFile::read(path, ledger.spec.id())?;
    file.check_time()?;
    let signatories = match (&ledger.unanswered, context.node()) {
        (None, Ok(node)) => signatories(&node, &ledger, file.command()).await?,
        // Offline nobody knows the payout key.
        _ => Signatories::of(file.command(), &ledger, None, |account| ledger.key_of(account)),
    };
    let me = key.public_key();
    if file.is_signed_by(&me) {
        bail!("this node has signed the command already");
    }
    if let Action::Pool { action: PoolAction::Vault { former, next }, .. } = &file.command().action {
        let net = PlaceArgs::default().connect(context).await;
        let net =
            net.context("whether the next vault follows the former one must be seen on TRON before this is signed")?;
        vault::check_next(net, *former, next, signers_tx).await?;
    }
    let mut text = file.text(&ledger, &signatories);
    if !signatories.has(&me) {
        text.push_str(&format!(
            "\nAs far as it is known here, the home's node key {me} has no say in this command. If it gets none, its signature is of no use, \
             and left out when the command is handed in.\n"
        ));
    }
    text.push_str(&format!("\nYour signature as {me} {} added to {}.\n", confirm.will_be(), path.display()));
    if !confirm.confirm(&text)? {
        return tell(confirm, &file.unsigned(), &Outcome::DryRunOf(file.signed_by()));
    }
    file.sign(&key, ledger.spec.id());
    file.replace(path)?;
    if !confirm.json.json {
        output::print(&format!("signed; {}", next_step(&file.missing(&signatories), path)))?;
    }
    tell(confirm, &file, &Outcome::Signed)
}

/// Hands a command in a file in.
async fn submit(FileArgs { file: path, confirm }: &FileArgs, wait: WaitArgs, context: &Context) -> anyhow::Result<()> {
    let ledger = HomeLedger::open(context.home()?, context).await?;
    if let Some(why) = &ledger.unanswered {
        bail!("{why}");
    }
    let mut file = CommandFile::read(path, ledger.spec.id())?;
    let (node, command) = (context.node()?, file.command().clone());
    let view = node.command(&command.account, command.nonce).await?;
    if view.stage == CommandStage::Included {
        // Whoever was interrupted asks again.
        let outcome = included(&node, &view, &command).await?;
        say("a block holds the command already; there is nothing to send")?;
        return tell(confirm, &file, &outcome);
    }
    file.check_time()?;
    let signatories = signatories(&node, &ledger, &command).await?;
    let text = file.text(&ledger, &signatories);
    file.keep_only(&signatories);
    let missing = file.missing(&signatories);
    ensure!(missing.is_empty(), "nothing was sent, because signatures are missing: {}", missing.join(", and "));
    node.check(&command).await?;
    let text = format!("{text}\nIt {} sent: a block takes it, and nothing takes it back.\n", confirm.will_be());
    if !confirm.confirm(&text)? {
        return tell(confirm, &file.unsigned(), &Outcome::DryRunOf(file.signed_by()));
    }
    let outcome = hand_in(&node, &ledger, &file, Some(path), wait).await?;
    tell(confirm, &file, &outcome)
}

fn next_step(missing: &[String], file: &Path) -> String {
    let file = file.display();
    if missing.is_empty() {
        format!("next: lucid command submit --file {file}\n")
    } else {
        format!("next: {} with `lucid command sign --file {file}`\n", missing.join(", and "))
    }
}

/// Hands a command in and waits until a block holds it. `file` is where the command is kept, if it is.
async fn hand_in(
    node: &NodeApi,
    ledger: &HomeLedger,
    command: &CommandFile,
    file: Option<&Path>,
    wait: WaitArgs,
) -> anyhow::Result<Outcome> {
    let signed = command.signed();
    let Command { nonce, until, .. } = signed.record;
    let mut interrupt = Interrupt::listen()?;
    let durable = node.hand_in(&signed).await?.durable;
    if wait.no_wait {
        return Ok(Outcome::Taken(durable));
    }
    say(&format!("validator {} keeps command {nonce}; waiting for a block that holds it", durable.short()))?;
    let open = || {
        let look = match file {
            Some(file) => {
                format!("`lucid command submit --file {}` asks again and sends nothing twice", file.display())
            }
            None => "look at what is in force before you make it anew".to_owned(),
        };
        let until = when(until.get() / 1_000, now_s());
        format!("command {nonce} was handed in, nothing takes it back, and a block may hold it until {until}: {look}")
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
    command: &Command,
    open: &impl Fn() -> String,
) -> anyhow::Result<Outcome> {
    let Command { account, nonce, until, .. } = command;
    let patience = ledger.spec.fixed().epoch().saturating_mul(PATIENCE_EPOCHS);
    let deadline = Instant::now() + patience;
    loop {
        let view = node.command(account, *nonce).await.with_context(open)?;
        if view.stage == CommandStage::Included {
            return included(node, &view, command).await;
        }
        if until.get() / 1_000 < now_s() {
            bail!(
                "no block holds command {nonce}, and its time is over: it was not carried out, and cannot be any more"
            );
        }
        if Instant::now() >= deadline {
            return Err(anyhow!("no block holds it after {}", duration_of(patience.as_secs())).context(open()));
        }
        sleep(POLL).await;
    }
}

/// Whether the block that holds a command of this number holds this very one, and from when on it counts.
async fn included(node: &NodeApi, view: &CommandView, command: &Command) -> anyhow::Result<Outcome> {
    let nonce = command.nonce;
    match &view.command {
        Some(found) if found == command => {}
        Some(_) => bail!(
            "another command has taken the number {nonce}, and no block holds this one: it was not carried out. If it is still wanted, \
             make and sign it anew"
        ),
        None => bail!(
            "a block holds a command {nonce} of the account, and this node does not have that block: whether it holds this one, another \
             node can say"
        ),
    }
    let (Some(height), Some(epoch)) = (view.height, view.epoch) else { bail!("the node does not say which block") };
    let from = counts_from(node, command, epoch.get()).await?;
    Ok(Outcome::Included { height: height.get(), from })
}

/// From when on what a command changes counts, if not at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CountsFrom {
    epoch: Option<u64>,
    settlement: Option<u64>,
}

impl CountsFrom {
    fn text(self) -> String {
        let epoch = self.epoch.map(|epoch| format!("; it counts from epoch {epoch} on"));
        let settlement = self.settlement.map(|settlement| format!("; it counts from settlement {settlement} on"));
        epoch.or(settlement).unwrap_or_default()
    }
}

/// What the ledger says of a command that a block holds whose time is in this epoch.
async fn counts_from(node: &NodeApi, command: &Command, epoch: u64) -> anyhow::Result<CountsFrom> {
    let epoch = match &command.action {
        Action::Validator(ValidatorAction::RotateKey(_)) => {
            let view: ValidatorStatusView = node.get(&format!("validators/{}", command.account)).await?;
            view.rotation.map(|rotation| rotation.from.get())
        }
        action => text::counts_from(action, epoch),
    };
    let settlement = match &command.action {
        Action::Node(NodeAction::PayoutAddress(_)) => {
            node.registered(&command.account).await?.next_payout.map(|next| next.from)
        }
        Action::Node(NodeAction::RotateKey(_)) => {
            node.registered(&command.account).await?.next_key.map(|next| next.from)
        }
        Action::Pool { pool, action } => {
            let view = node.pool(pool).await?;
            match action {
                PoolAction::Update { .. } => view.next_terms.map(|next| next.from),
                PoolAction::Suspend(true) => view.suspended_from,
                PoolAction::Hold(node) => view.holds.iter().find(|hold| hold.node == *node).and_then(|hold| hold.from),
                _ => None,
            }
        }
        _ => None,
    };
    Ok(CountsFrom { epoch, settlement })
}

/// Who signs a command, with the keys that the node's newest state has in force.
async fn signatories(node: &NodeApi, ledger: &HomeLedger, command: &Command) -> anyhow::Result<Signatories> {
    let payout_key = if command.cosigners().contains(&Cosigner::PayoutKey) {
        node.registered(&command.account).await?.payout_key
    } else {
        None
    };
    let mut keys = BTreeMap::new();
    for account in file::accounts(command, ledger) {
        keys.extend(node.account(&account).await?.key.map(|key| (account, key)));
    }
    let key_of = |account: &NodeId| keys.get(account).copied().unwrap_or_else(|| account.first_key());
    Ok(Signatories::of(command, ledger, payout_key, key_of))
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing: it was only shown.
    DryRun,
    /// The same of a command with these signatures.
    DryRunOf(Vec<PublicKey>),
    /// It is in its file.
    Signed,
    /// This validator keeps it for a block.
    Taken(NodeId),
    /// This block holds it.
    Included { height: u64, from: CountsFrom },
}

/// Tells what came of a command. After a dry run `command` has no signatures: nobody could hand in what is printed.
fn tell(confirm: &ConfirmArgs, command: &CommandFile, outcome: &Outcome) -> anyhow::Result<()> {
    let counts_from = match outcome {
        Outcome::Included { from, .. } => *from,
        _ => CountsFrom::default(),
    };
    if confirm.json.json {
        let signed_by = match outcome {
            Outcome::DryRunOf(signers) => signers.clone(),
            _ => command.signed_by(),
        };
        let (durable, height) = match outcome {
            Outcome::Taken(validator) => (Some(validator), None),
            Outcome::Included { height, .. } => (None, Some(height)),
            Outcome::DryRun | Outcome::DryRunOf(_) | Outcome::Signed => (None, None),
        };
        let is_dry_run = matches!(outcome, Outcome::DryRun | Outcome::DryRunOf(_));
        return output::json(&serde_json::json!({
            "dry_run": is_dry_run, "command": command, "signed_by": signed_by, "durable": durable, "height": height,
            "counts_from_epoch": counts_from.epoch, "counts_from_settlement": counts_from.settlement,
        }));
    }
    match outcome {
        Outcome::Included { height, .. } => {
            output::print(&format!("done: block {height} has it{}\n", counts_from.text()))
        }
        Outcome::Taken(validator) => {
            output::print(&format!("handed in: validator {validator} keeps it until a block holds it\n"))
        }
        Outcome::DryRun | Outcome::DryRunOf(_) | Outcome::Signed => Ok(()),
    }
}
