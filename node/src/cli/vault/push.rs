//! `lucid vault push`: pays accounts what the posted root owes them, in batches of neighbouring leaves.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::Args;
use futures::StreamExt;
use futures::stream;
use lucid_tron_bridge::client::TransactionInfo;
use lucid_tron_bridge::sender::{Plan, SendOptions, Sender};
use lucid_tron_bridge::vault::{self, VaultSnapshot};
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::payout_tree::OwedAccount;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::open::{Opened, VaultArgs};
use crate::api::model::LedgerAccount;
use crate::cli::act::{Interrupt, Open, SendArgs, after_sending, explained, plan_json, say, warn};
use crate::cli::ledger::Ledger;
use crate::cli::tron::events;
use crate::cli::values::{check_recipient, trx_of, usdt_of};
use crate::cli::{Context, output};

/// Longest wait for a solidified receipt.
const PATIENCE: Duration = Duration::from_secs(600);
/// Batches on their way at a time.
const AT_ONCE: usize = 4;
/// TRX that all batches may cost together.
const USUAL_TRX: u64 = 500;

#[derive(Debug, Args)]
pub(in crate::cli) struct PushArgs {
    #[command(flatten)]
    vault: VaultArgs,
    /// The ledger whose root is posted, as for `lucid vault root` [default: from the home's node]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Also accounts that the pool's threshold keeps back
    #[arg(long)]
    all: bool,
    /// Accounts in one transaction
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=50))]
    batch: u16,
    #[command(flatten)]
    send: SendArgs,
}

/// Neighbouring leaves for one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Batch {
    start: usize,
    n: usize,
    n_paid: usize,
    amount: MicroUsdt,
}

/// A batch, and how it stands.
struct Job {
    batch: Batch,
    plan: anyhow::Result<Plan>,
}

pub(super) async fn push(args: &PushArgs, context: &Context) -> anyhow::Result<()> {
    let key = args.send.key.load()?;
    let opened = args.vault.open(context).await?;
    opened.check_code().await?;
    let ledger = posted_ledger(&opened, args.file.as_deref(), context).await?;
    let ids: Vec<_> = ledger.accounts.iter().map(|account| account.id).collect();
    let snapshot = opened.net.client.head_vault_snapshot(&opened.vault, &ids).await?;
    let (batches, left) = batches(args, &opened, &ledger, &snapshot)?;
    let sender = Sender::new(&opened.net.client, &key);
    let options = SendOptions::new(args.send.max_fee(USUAL_TRX));
    let mut jobs = Vec::with_capacity(batches.len());
    for batch in batches {
        let data = call(&ledger, &batch).context("a batch is not in the tree")?;
        let plan = sender.plan_call(opened.vault, data, &options).await.map_err(explained);
        jobs.push(Job { batch, plan });
    }
    let cost =
        jobs.iter().filter_map(|job| job.plan.as_ref().ok()).fold(Sun::ZERO, |sum, plan| sum.saturating_add(plan.cost));
    let max = options.max_fee;
    warn(&opened.net.warnings)?;
    if left > 0 {
        say(&format!("warning: {left} more accounts wait: total, cap or funds of the vault do not reach for them"))?;
    }
    if let Some(Job { plan: Err(error), .. }) = jobs.first().filter(|_| jobs.iter().all(|job| job.plan.is_err())) {
        bail!("no batch can be paid, so nothing was sent: {error:#}");
    }
    if !args.send.confirm.confirm(&shown(&opened, &ledger, &jobs, cost))? {
        return finish(args, &opened, &ledger, jobs.into_iter().map(|job| (job, None)).collect());
    }
    ensure!(
        cost <= max,
        "all batches cost {} together, and --max-trx allows {}; nothing was sent",
        trx_of(cost),
        trx_of(max)
    );
    let mut interrupt = Interrupt::listen()?;
    say("sending; waiting until the batches are solidified, about a minute on public networks")?;
    let stop = CancellationToken::new();
    let sent = stream::iter(jobs).map(async |job| {
        let outcome = match &job.plan {
            Ok(plan) => Some(send(&sender, plan, &stop).await),
            Err(_) => None,
        };
        (job, outcome)
    });
    let mut sent = std::pin::pin!(sent.buffered(AT_ONCE).collect::<Vec<_>>());
    let sent = tokio::select! {
        sent = &mut sent => sent,
        interrupted = interrupt.wait() => {
            say(&format!("{interrupted:#}"))?;
            stop.cancel();
            sent.await
        }
    };
    finish(args, &opened, &ledger, sent)
}

/// Sends a batch and waits until it is solidified, or until it is told to stop.
async fn send(sender: &Sender<'_>, plan: &Plan, stop: &CancellationToken) -> anyhow::Result<TransactionInfo> {
    ensure!(!stop.is_cancelled(), "it was not sent, because the command was interrupted before");
    let tx_id = plan.transaction.tx_id();
    say(&format!("sending {tx_id}"))?;
    tokio::select! {
        sent = sender.send(plan, PATIENCE) => sent.map_err(|error| after_sending(error, plan)),
        () = stop.cancelled() => Err(anyhow!(Open::of(plan, tx_id))),
    }
}

/// The ledger whose root is posted.
pub(in crate::cli) async fn posted_ledger(
    opened: &Opened,
    file: Option<&std::path::Path>,
    context: &Context,
) -> anyhow::Result<Ledger> {
    let (settlement, root) = (opened.snapshot.settlement, opened.snapshot.root);
    ensure!(
        root.is_some(),
        "no root is posted at the vault, so it owes nothing yet; `lucid vault post` posts the newest"
    );
    let ledger = match file {
        Some(file) => Ledger::read(file)?,
        None => {
            let pool = opened
                .pool
                .context("say where the ledger is: --file FILE, or --home of a node of the pool's network")?;
            let ledger = opened.net.node(context)?.ledger(&pool, Some(settlement)).await;
            Ledger::new(ledger.context("the home's node does not give the ledger; give it with --file")?)?
        }
    };
    ledger.check_posted(settlement, root)?;
    Ok(ledger)
}

fn call(ledger: &Ledger, batch: &Batch) -> Option<Vec<u8>> {
    let proof = ledger.tree.range_proof(batch.start, batch.n)?;
    let items: Vec<OwedAccount> = ledger.accounts.iter().skip(batch.start).take(batch.n).copied().collect();
    Some(vault::pay_range(ledger.view.settlement, u64::try_from(batch.start).ok()?, &items, &proof))
}

/// What is paid by which transaction, and how many accounts must wait.
fn batches(
    args: &PushArgs,
    opened: &Opened,
    ledger: &Ledger,
    snapshot: &VaultSnapshot,
) -> anyhow::Result<(Vec<Batch>, usize)> {
    let now = opened.now_s();
    ensure!(!snapshot.is_closed(now), "the vault is closed for good; its successor pays what is still owed");
    ensure!(!snapshot.is_paused(now), "the vault is paused; `lucid vault show` says until when");
    let vaults = opened.vaults();
    let missing = |account: &LedgerAccount| {
        let (paid, owed) = (snapshot.paid_of(&account.id).unwrap_or_default(), account.owed_micro_usdt);
        let wanted = account.requested_micro_usdt.filter(|_| !args.all).unwrap_or(owed);
        let can_take = check_recipient(&account.to, &snapshot.token, &vaults).is_ok();
        match (owed > paid, wanted > paid && can_take) {
            (false, _) => Leaf::Settled,
            (true, true) => Leaf::Due(owed.saturating_sub(paid)),
            (true, false) => Leaf::Apart,
        }
    };
    let room = snapshot.left_of_total().min(snapshot.left_of_cap(now)).min(snapshot.funds);
    let leaves: Vec<_> = ledger.view.accounts.iter().map(missing).collect();
    let found = ranges(&leaves, args.batch.into(), room);
    if found.0.is_empty() && found.1 == 0 {
        let is_open = leaves.iter().any(|leaf| matches!(leaf, Leaf::Apart));
        bail!(if is_open {
            "everything that is due has been paid; what is left is below the pool's threshold (--all pays that, too)"
        } else {
            "everything that the posted root owes has been paid"
        });
    }
    ensure!(
        !found.0.is_empty(),
        "nothing is left of the vault's total, its cap of this period, or its funds; `lucid vault show` says of which"
    );
    Ok(found)
}

/// What a leaf means for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaf {
    Due(MicroUsdt),
    /// It lacks nothing, so a batch may reach across it.
    Settled,
    /// It must not be paid now.
    Apart,
}

/// Batches that begin and end with a leaf that is due, as far as the room reaches, and how many leaves must wait. What lacks less
/// than a whole payment is paid in part.
fn ranges(leaves: &[Leaf], max: usize, mut room: MicroUsdt) -> (Vec<Batch>, usize) {
    let (mut made, mut waiting) = (Vec::<Batch>::new(), 0);
    let mut is_open = false;
    for (index, leaf) in leaves.iter().enumerate() {
        match *leaf {
            Leaf::Settled => {}
            Leaf::Apart => is_open = false,
            Leaf::Due(_) if room == MicroUsdt::ZERO => waiting += 1,
            Leaf::Due(amount) => {
                let amount = amount.min(room);
                room = room.saturating_sub(amount);
                let last = made.last_mut().filter(|last| is_open && index - last.start < max);
                match last {
                    Some(last) => {
                        last.n = index - last.start + 1;
                        last.n_paid += 1;
                        last.amount = last.amount.saturating_add(amount);
                    }
                    None => made.push(Batch { start: index, n: 1, n_paid: 1, amount }),
                }
                is_open = true;
            }
        }
    }
    (made, waiting)
}

fn shown(opened: &Opened, ledger: &Ledger, jobs: &[Job], cost: Sun) -> String {
    let amount = jobs.iter().fold(MicroUsdt::ZERO, |sum, job| sum.saturating_add(job.batch.amount));
    let n: usize = jobs.iter().map(|job| job.batch.n_paid).sum();
    let lines = output::pairs(&[
        (
            "pays",
            format!(
                "{} to {n} account{} of settlement {}",
                usdt_of(amount),
                if n == 1 { "" } else { "s" },
                ledger.view.settlement
            ),
        ),
        ("from the vault", opened.vault.to_string()),
        ("on", opened.net.network.clone()),
        ("costs about", trx_of(cost)),
    ]);
    let row = |Job { batch, plan }: &Job| {
        let (energy, cost) = match plan {
            Ok(plan) => (plan.energy.to_string(), trx_of(plan.cost)),
            Err(error) => ("-".to_owned(), format!("{error:#}")),
        };
        [batch.start.to_string(), batch.n_paid.to_string(), usdt_of(batch.amount), energy, cost]
    };
    let rows: Vec<_> = jobs.iter().map(row).collect();
    format!("{lines}\n{}", output::table(["from leaf", "accounts", "amount", "energy", "costs about"], &rows))
}

type Outcome = Option<anyhow::Result<TransactionInfo>>;

fn finish(args: &PushArgs, opened: &Opened, ledger: &Ledger, jobs: Vec<(Job, Outcome)>) -> anyhow::Result<()> {
    let (n, is_dry_run) = (jobs.len(), args.send.confirm.dry_run);
    let error_of = |(job, outcome): &(Job, Outcome)| -> Option<bool> {
        let error = job.plan.as_ref().err().or(outcome.as_ref().and_then(|outcome| outcome.as_ref().err()))?;
        Some(error.downcast_ref::<Open>().is_some())
    };
    let failed = jobs.iter().filter_map(error_of).filter(|is_open| !is_open).count();
    let open = jobs.iter().filter_map(error_of).filter(|is_open| *is_open).count();
    if args.send.confirm.json.json {
        let job = |(Job { batch, plan }, outcome): &(Job, Outcome)| {
            let error = plan.as_ref().err().or(outcome.as_ref().and_then(|outcome| outcome.as_ref().err()));
            let receipt = outcome.as_ref().and_then(|outcome| outcome.as_ref().ok());
            json!({
                "start": batch.start,
                "leaves": batch.n,
                "accounts": batch.n_paid,
                "amount_micro_usdt": batch.amount,
                "plan": plan.as_ref().map_or(Value::Null, plan_json),
                "receipt": receipt.map(events::receipt_json),
                "error": error.map(|error| format!("{error:#}")),
            })
        };
        output::json(&json!({
            "dry_run": is_dry_run,
            "vault": opened.vault,
            "settlement": ledger.view.settlement,
            "batches": jobs.iter().map(job).collect::<Vec<_>>(),
        }))?;
    } else {
        for (_, outcome) in &jobs {
            match outcome {
                Some(Ok(info)) => output::print(&format!("\n{}", output::pairs(&crate::cli::act::receipt(info))))?,
                Some(Err(error)) if error.downcast_ref::<Open>().is_some() => {
                    say(&format!("a batch is open: {error:#}"))?;
                }
                Some(Err(error)) => say(&format!("a batch failed: {error:#}"))?,
                None => {}
            }
        }
    }
    ensure!(
        open == 0,
        "{open} of {n} batches were sent, and whether they pay is open{}. Nothing was lost: nobody is paid twice, whatever comes of \
         them. Push again when no block can include them any more",
        if failed > 0 { format!("; {failed} failed or were not sent") } else { String::new() }
    );
    ensure!(
        failed == 0,
        "{failed} of {n} batches {}",
        if is_dry_run { "would fail" } else { "failed; the others are paid. Push again" }
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `d` is due with 10, `.` lacks nothing, `x` stands apart.
    fn found(text: &str, max: usize, room: u64) -> (Vec<(usize, usize, usize, u64)>, usize) {
        let leaf = |c| match c {
            'd' => Leaf::Due(MicroUsdt::new(10)),
            '.' => Leaf::Settled,
            _ => Leaf::Apart,
        };
        let leaves: Vec<_> = text.chars().map(leaf).collect();
        let (made, waiting) = ranges(&leaves, max, MicroUsdt::new(room));
        (made.iter().map(|b| (b.start, b.n, b.n_paid, b.amount.get())).collect(), waiting)
    }

    #[test]
    fn batches_begin_and_end_with_what_is_due() {
        assert_eq!(found("", 4, 100), (vec![], 0));
        assert_eq!(found("..x.", 4, 100), (vec![], 0));
        assert_eq!(found(".d.d.", 4, 100), (vec![(1, 3, 2, 20)], 0));
        assert_eq!(found("ddxdd", 4, 100), (vec![(0, 2, 2, 20), (3, 2, 2, 20)], 0));
        assert_eq!(found("ddddd", 4, 100), (vec![(0, 4, 4, 40), (4, 1, 1, 10)], 0));
        assert_eq!(found("d....d", 4, 100), (vec![(0, 1, 1, 10), (5, 1, 1, 10)], 0));
    }

    #[test]
    fn what_the_room_does_not_reach_waits() {
        assert_eq!(found("dddd", 4, 25), (vec![(0, 3, 3, 25)], 1));
        assert_eq!(found("dd", 4, 0), (vec![], 2));
    }
}
