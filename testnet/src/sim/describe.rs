//! Inputs and effects of pushers in a few words.

use lucid_tron_bridge::client::BroadcastOutcome;
use lucid_tron_bridge::pusher::{Effect, Estimated, Input, Loaded, Lookup, Outcome, Receipt, Report, Work};
use lucid_tron_bridge::vault::VaultSnapshot;
use lucid_types::payout::{CosignReply, CosignRequest};

pub(super) fn effect_text(effect: &Effect) -> String {
    match effect {
        Effect::RequestSignature { request, signer } => {
            format!("ask signer {} for {}", signer.short(), request_text(request))
        }
        Effect::LoadLeaves { settlement, root } => format!("load leaves of {settlement} {}", root.short()),
        Effect::ReadVault { view, accounts } => format!("read {view:?} of {} accounts", accounts.len()),
        Effect::Estimate { id, data } => format!("estimate job {id}, {} bytes", data.len()),
        Effect::Prepare { id, work, fee_limit, .. } => {
            format!("prepare job {id}, {}, fee limit {fee_limit}", work_text(work))
        }
        Effect::Broadcast { id, tx_id, .. } => format!("broadcast job {id} {}", tx_id.short()),
        Effect::ReadReceipt { id, tx_id } => format!("look for job {id} {}", tx_id.short()),
        Effect::Forget { id, spent } => format!("forget job {id}, spent {:?}", spent.map(|spent| spent.fee.get())),
        Effect::Alert(alert) => format!("alert: {alert}"),
        Effect::Report(report) => report_text(report),
    }
}

pub(super) fn input_text(input: &Input) -> String {
    match input {
        Input::Root(assignment) => {
            let (root, rank) = (&assignment.root, assignment.rank);
            format!("root of {}, total {}, era {}, rank {rank:?}", root.settlement, root.total, root.era)
        }
        Input::Leaves { settlement, loaded, .. } => match loaded {
            Loaded::Issued(issued) => format!("{} leaves of {settlement}", issued.leaves.len()),
            other => format!("leaves of {settlement}: {other:?}"),
        },
        Input::Signature { request, signer, reply } => {
            let reply = match reply {
                Some(CosignReply::Signed(_)) => "a signature".to_owned(),
                Some(CosignReply::NotFinal) => "not final".to_owned(),
                Some(CosignReply::Refused(why)) => format!("refused: {why}"),
                None => "no answer".to_owned(),
            };
            format!("signer {} for {}: {reply}", signer.short(), request_text(request))
        }
        Input::Solid(view) => match view {
            Some(view) => format!("solid {}", snapshot_text(&view.snapshot, view.time.get())),
            None => "solid: no answer".into(),
        },
        Input::Head(view) => match view {
            Some(view) => format!("head {} gas {}", snapshot_text(&view.snapshot, view.time.get()), view.gas),
            None => "head: no answer".into(),
        },
        Input::Estimated { id, outcome } => {
            let outcome = match outcome {
                Estimated::Energy(energy) => format!("{energy} energy"),
                Estimated::Reverted(revert) => format!("refused: {revert:?}"),
                other => format!("{other:?}"),
            };
            format!("job {id} would take: {outcome}")
        }
        Input::Prepared { id, transaction } => match transaction {
            Some(stored) => format!("job {id} is {}, expires {}", stored.tx_id.short(), stored.expiration),
            None => format!("job {id} cannot be prepared"),
        },
        Input::Sent { id, outcome } => format!("job {id} sent: {}", sent_text(outcome.as_ref())),
        Input::Receipt { id, found } => match found {
            Lookup::Included(receipt) => format!("job {id} {}", receipt_text(receipt)),
            Lookup::NotIncluded => format!("job {id} is in no block"),
            Lookup::Unavailable => format!("job {id}: no answer"),
        },
        Input::Tick => "tick".into(),
    }
}

pub(super) fn sent_text(outcome: Option<&BroadcastOutcome>) -> String {
    match outcome {
        Some(BroadcastOutcome::Accepted) => "accepted".into(),
        Some(BroadcastOutcome::Duplicate) => "known".into(),
        Some(BroadcastOutcome::Retry(answer)) => format!("retry: {}", answer.code),
        Some(BroadcastOutcome::Rebuild(answer)) => format!("refused: {} {}", answer.code, answer.message),
        Some(BroadcastOutcome::Bug(answer)) => format!("wrong: {} {}", answer.code, answer.message),
        None => "no answer".into(),
    }
}

fn receipt_text(receipt: &Receipt) -> String {
    let outcome = match &receipt.outcome {
        Outcome::Reverted(revert) => format!("{revert:?}"),
        other => format!("{other:?}"),
    };
    format!("is in block of {}, fee {}: {outcome}", receipt.block_time, receipt.fee)
}

fn report_text(report: &Report) -> String {
    match report {
        Report::Signatures { settlement, have, needed, .. } => {
            format!("report: {have} of {needed} signatures for {settlement}")
        }
        Report::Posted { settlement } => format!("report: {settlement} is posted"),
        Report::Transaction { tx_id, work, status } => {
            format!("report: {} {} {status:?}", tx_id.short(), work_text(work))
        }
        Report::Finished { settlement } => format!("report: {settlement} is finished"),
    }
}

fn work_text(work: &Work) -> String {
    match work {
        Work::Post { settlement, total, era, .. } => format!("post {settlement} of era {era}, total {total}"),
        Work::Batch { settlement, start, accounts, amount } => {
            format!("pay {amount} to {} accounts of {settlement} from leaf {start}", accounts.len())
        }
    }
}

fn request_text(request: &CosignRequest) -> String {
    match request {
        CosignRequest::Root { settlement, .. } => format!("root {settlement}"),
        CosignRequest::Signers { nonce, .. } => format!("signers {nonce}"),
        CosignRequest::Limits { nonce, .. } => format!("limits {nonce}"),
    }
}

fn snapshot_text(seen: &VaultSnapshot, time: u64) -> String {
    let paid: u64 = seen.paid.values().fold(0, |sum, paid| sum.saturating_add(paid.get()));
    format!(
        "at {time}: era {} root {} total {} out {} funds {} paid {paid} in {}",
        seen.era,
        seen.settlement,
        seen.total,
        seen.paid_out,
        seen.funds,
        seen.paid.len()
    )
}
