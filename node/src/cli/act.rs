//! A person's transaction from the plan to the receipt: what it does and costs is shown first, and only then it is sent.

use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use lucid_tron_bridge::client::TransactionInfo;
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::sender::{Plan, SendError, SendOptions, Sender};
use lucid_types::amount::Sun;
use lucid_types::id::{PayoutAddress, TxId};
use lucid_types::time::UnixMillis;
use serde_json::{Map, Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::keys::KeyArgs;
use super::place::Net;
use super::tron::events;
use super::values::{self, trx_of, utc};
use super::{Json, output};

/// Longest wait for the solidified receipt, which comes after about a minute.
const PATIENCE: Duration = Duration::from_secs(600);
/// Name that the vault is deployed under.
const VAULT_NAME: &str = "PayoutVault";

/// How a write is confirmed.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct ConfirmArgs {
    /// Say what would be done and what it costs, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do it without asking
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) json: Json,
}

/// How a transaction is signed, paid and confirmed.
#[derive(Debug, Args)]
pub(super) struct SendArgs {
    #[command(flatten)]
    pub(super) key: KeyArgs,
    /// Most TRX that it may cost, all transactions together [default: 100; to deploy 400, to rotate 200, to push 500]
    #[arg(long, value_name = "N", value_parser = values::trx, allow_negative_numbers = true)]
    pub(super) max_trx: Option<Sun>,
    #[command(flatten)]
    pub(super) confirm: ConfirmArgs,
}

/// A transaction that is to be sent, in words.
pub(super) struct Act {
    /// What it does, for people.
    pub(super) facts: Vec<(&'static str, String)>,
    /// The same for programs.
    pub(super) data: Map<String, Value>,
    /// What a person should know before.
    pub(super) warnings: Vec<String>,
    /// What is sent.
    pub(super) step: Step,
    /// Whole TRX that it may cost unless the person says otherwise.
    pub(super) usual_trx: u64,
}

pub(super) enum Step {
    /// A call of a contract.
    Call { contract: PayoutAddress, data: Vec<u8> },
    /// The deployment of a vault.
    Deploy { code: Vec<u8> },
}

impl Act {
    pub(super) fn new(step: Step, facts: Vec<(&'static str, String)>, data: Value) -> Self {
        let data = if let Value::Object(map) = data { map } else { Map::new() };
        Self { facts, data, warnings: Vec::new(), step, usual_trx: 100 }
    }
}

/// It was sent and did what it should.
pub(super) struct Done {
    /// The contract that it made.
    pub(super) deployed: Option<PayoutAddress>,
}

/// A transaction is out, and the command ends without knowing what becomes of it. Nothing of it is kept on this machine: its
/// id is all that is needed to look it up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    tx_id: TxId,
    expiration: UnixMillis,
    /// The contract that it makes if it is included.
    pub(super) deploys: Option<PayoutAddress>,
}

impl Open {
    pub(super) const fn of(plan: &Plan, tx_id: TxId) -> Self {
        Self { tx_id, expiration: plan.expiration, deploys: plan.deploys }
    }
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tx_id, expiration, deploys } = self;
        write!(
            f,
            "transaction {tx_id} was sent, nothing takes it back, and a block may include it until {}. Look it up with `lucid tron \
             tx {tx_id}`, and the same --home, or --tron and --network, before you try again",
            utc(expiration.get() / 1_000)
        )?;
        match deploys {
            Some(contract) => write!(f, ". If it is included, the contract stands at {contract}"),
            None => Ok(()),
        }
    }
}

/// Ctrl-C and SIGTERM, for as long as a command waits for what it cannot take back. Until it listens, they end the process as
/// usual; afterwards they only do what is made of them here.
pub(super) struct Interrupt {
    ctrl_c: Signal,
    terminate: Signal,
}

impl Interrupt {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let ctrl_c = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
        let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        Ok(Self { ctrl_c, terminate })
    }

    /// The error with which the waiting ends.
    pub(super) async fn wait(&mut self) -> anyhow::Error {
        tokio::select! {
            _ = self.ctrl_c.recv() => anyhow!("the command was interrupted by Ctrl-C"),
            _ = self.terminate.recv() => anyhow!("the command was interrupted by SIGTERM"),
        }
    }
}

impl ConfirmArgs {
    /// How a plan speaks of what it does.
    pub(super) const fn will_be(&self) -> &'static str {
        if self.dry_run { "would be" } else { "will be" }
    }

    /// Shows the plan and asks, unless told not to. False: do nothing.
    pub(super) fn confirm(&self, plan: &str) -> anyhow::Result<bool> {
        let is_terminal = io::stdin().is_terminal();
        if !self.json.json {
            output::print(plan)?;
        } else if is_terminal && !self.yes && !self.dry_run {
            say(plan)?;
        }
        if self.dry_run || self.yes {
            return Ok(!self.dry_run);
        }
        if !is_terminal {
            bail!("nothing was done: there is no terminal to ask on. Give --yes to do it, or --dry-run to look only");
        }
        write!(io::stderr(), "Do it? [y/N] ")?;
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            bail!("nothing was done");
        }
        Ok(true)
    }
}

/// Tells a person something while a command runs.
pub(super) fn say(text: &str) -> anyhow::Result<()> {
    let mut err = io::stderr().lock();
    err.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        err.write_all(b"\n")?;
    }
    Ok(())
}

/// Warnings, a line each.
pub(super) fn warn(warnings: &[String]) -> anyhow::Result<()> {
    warnings.iter().try_for_each(|warning| say(&format!("warning: {warning}")))
}

impl SendArgs {
    /// The most that it may cost.
    pub(super) fn max_fee(&self, usual_trx: u64) -> Sun {
        self.max_trx.unwrap_or(Sun::new(usual_trx.saturating_mul(1_000_000)))
    }

    /// Plans, shows, asks, sends, waits and tells. `None` after a dry run.
    pub(super) async fn carry_out(&self, net: &Net, key: &TronKey, act: Act) -> anyhow::Result<Option<Done>> {
        warn(&net.warnings)?;
        warn(&act.warnings)?;
        let done = self.send(net, key, &act).await?;
        if self.confirm.json.json {
            let mut answer = act.data;
            answer.insert("dry_run".into(), done.is_dry_run().into());
            answer.insert("warnings".into(), net.warnings.iter().chain(&act.warnings).cloned().collect());
            answer.extend(done.json());
            output::json(&answer)?;
        } else if let Sent::Done(_, info) = &done {
            output::print(&format!("\n{}", output::pairs(&receipt(info))))?;
        }
        Ok(match done {
            Sent::Planned(_) => None,
            Sent::Done(plan, _) => Some(Done { deployed: plan.deploys }),
        })
    }

    async fn send(&self, net: &Net, key: &TronKey, act: &Act) -> anyhow::Result<Sent> {
        let sender = Sender::new(&net.client, key);
        let max = self.max_fee(act.usual_trx);
        let options = SendOptions::new(max);
        let plan = match &act.step {
            Step::Call { contract, data } => sender.plan_call(*contract, data.clone(), &options).await,
            Step::Deploy { code } => sender.plan_deploy(VAULT_NAME, code.clone(), &options).await,
        };
        let plan = match plan {
            Ok(plan) => within(plan, max)?,
            Err(error) => {
                // What would be done is worth knowing, too, when it cannot be done now.
                if !self.confirm.json.json {
                    output::print(&output::pairs(&act.facts))?;
                }
                return Err(explained(error));
            }
        };
        let lines: Vec<_> = act.facts.iter().cloned().chain(cost(&plan, key)).collect();
        if !self.confirm.confirm(&output::pairs(&lines))? {
            return Ok(Sent::Planned(plan));
        }
        let tx_id = plan.transaction.tx_id();
        let mut interrupt = Interrupt::listen()?;
        let deploys =
            plan.deploys.map_or_else(String::new, |contract| format!(", which makes the contract {contract}"));
        say(&format!("sending {tx_id}{deploys}; waiting until it is solidified, about a minute on public networks"))?;
        let info = tokio::select! {
            sent = sender.send(&plan, PATIENCE) => sent.map_err(|error| after_sending(error, &plan))?,
            interrupted = interrupt.wait() => return Err(interrupted.context(Open::of(&plan, tx_id))),
        };
        Ok(Sent::Done(plan, info))
    }
}

enum Sent {
    Planned(Plan),
    Done(Plan, TransactionInfo),
}

impl Sent {
    const fn is_dry_run(&self) -> bool {
        matches!(self, Self::Planned(_))
    }

    fn json(&self) -> Map<String, Value> {
        let (Self::Planned(plan) | Self::Done(plan, _)) = self;
        let mut answer = Map::new();
        answer.insert("plan".into(), plan_json(plan));
        let info = match self {
            Self::Planned(_) => Value::Null,
            Self::Done(_, info) => events::receipt_json(info),
        };
        answer.insert("receipt".into(), info);
        answer
    }
}

/// A plan for programs.
pub(super) fn plan_json(plan: &Plan) -> Value {
    json!({
        "tx_id": plan.transaction.tx_id(),
        "energy": plan.energy,
        "bandwidth": plan.bandwidth,
        "cost_sun": plan.cost,
        "fee_limit_sun": plan.fee_limit,
        "deploys": plan.deploys,
    })
}

/// A bound holds for all that is burnt, not only for energy.
pub(super) fn within(plan: Plan, max: Sun) -> anyhow::Result<Plan> {
    if plan.cost > max {
        bail!("it costs {}, and --max-trx allows {}; nothing was sent", trx_of(plan.cost), trx_of(max));
    }
    Ok(plan)
}

fn cost(plan: &Plan, key: &TronKey) -> Vec<(&'static str, String)> {
    vec![
        ("signed and paid by", key.address().to_string()),
        ("energy", plan.energy.to_string()),
        ("costs about", trx_of(plan.cost)),
        ("fee limit", trx_of(plan.fee_limit)),
    ]
}

/// What a receipt says, for people.
pub(super) fn receipt(info: &TransactionInfo) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("transaction", info.id.to_string()),
        ("block", format!("{}, {}", info.block, utc(info.block_time.get() / 1_000))),
        ("energy", info.energy.to_string()),
        ("cost", trx_of(info.fee)),
    ];
    lines.extend(events::of(info).into_iter().map(|event| ("event", event)));
    lines
}

/// An error of a transaction, with the amounts and flags of this command line.
pub(super) fn explained(error: SendError) -> anyhow::Error {
    match error {
        SendError::TooExpensive { energy, needed, max } => anyhow!(
            "it needs {energy} energy, which costs up to {}, and {} are allowed: raise --max-trx, or rent or stake energy for \
             the account. Nothing was sent",
            trx_of(needed),
            trx_of(max)
        ),
        SendError::Balance { account, has, needs } => anyhow!(
            "the account {account} has {} and needs {}: send it TRX, or rent or stake energy for it. Nothing was sent",
            trx_of(has),
            trx_of(needs)
        ),
        other => anyhow!(other),
    }
}

/// As [`explained`], of a transaction that was to be sent: if it may be out, the error says how to look it up.
pub(super) fn after_sending(error: SendError, plan: &Plan) -> anyhow::Error {
    match error {
        SendError::TimedOut { tx_id, .. } | SendError::Unclear { tx_id, .. } => {
            anyhow!(error).context(Open::of(plan, tx_id))
        }
        other => explained(other),
    }
}
