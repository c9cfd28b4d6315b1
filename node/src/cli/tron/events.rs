//! Receipts and the vault's events, for people and for programs.

use lucid_tron_bridge::client::TransactionInfo;
use lucid_tron_bridge::vault::{Skip, VaultEvent};
use lucid_types::id::PayoutAddress;
use serde_json::{Value, json};

use crate::cli::values::{usdt_of, utc};

/// The vault's events in a receipt. Any contract can emit the same: who did stands in [`json`].
pub(in crate::cli) fn of(info: &TransactionInfo) -> Vec<String> {
    info.logs.iter().filter_map(VaultEvent::decode).map(|event| text(&event)).collect()
}

/// The same with the contracts that emitted them.
pub(in crate::cli) fn with_addresses(info: &TransactionInfo) -> Vec<(PayoutAddress, VaultEvent)> {
    info.logs.iter().filter_map(|log| Some((log.address, VaultEvent::decode(log)?))).collect()
}

/// A receipt for programs.
pub(in crate::cli) fn receipt_json(info: &TransactionInfo) -> Value {
    let events = with_addresses(info).into_iter().map(|(contract, event)| {
        let mut value = json(&event);
        value["contract"] = json!(contract);
        value
    });
    json!({
        "tx_id": info.id,
        "block": info.block,
        "block_time": info.block_time,
        "is_success": info.is_success(),
        "result": info.result.name(),
        "message": info.message,
        "revert": info.vault_revert().map(|revert| revert.to_string()),
        "energy": info.energy,
        "fee_sun": info.fee,
        "events": events.collect::<Vec<_>>(),
    })
}

fn until(at: u64) -> String {
    if at == u64::MAX { "until it is ended".to_owned() } else { format!("until {}", utc(at)) }
}

/// An event, for people.
pub(in crate::cli) fn text(event: &VaultEvent) -> String {
    match event {
        VaultEvent::RootPosted { settlement, root, total, .. } => {
            format!("root {root} of settlement {settlement} posted, total {}", usdt_of(*total))
        }
        VaultEvent::Paid { id, to, amount, owed } => {
            format!("{} paid to {to}, account {}, owed {} in all", usdt_of(*amount), id.short(), usdt_of(*owed))
        }
        VaultEvent::Skipped { id, reason } => format!("account {} got nothing: {reason}", id.short()),
        VaultEvent::FeePaid { to, amount } => format!("push fee of {} paid to {to}", usdt_of(*amount)),
        VaultEvent::SignersChanged { era, threshold, signers } => {
            let signers: Vec<_> = signers.iter().map(ToString::to_string).collect();
            format!("signers of era {era}, {threshold} needed: {}", signers.join(", "))
        }
        VaultEvent::LimitsChanged(limits) => {
            format!("cap {} a period, push fee {}", usdt_of(limits.cap), usdt_of(limits.push_fee))
        }
        VaultEvent::OwnerPaused { from } => format!("pause by the owner from {}", utc(*from)),
        VaultEvent::SignerPaused { signer, until: at } => format!("pause by the signer {signer} {}", until(*at)),
        VaultEvent::UnpauseWanted { signer } => format!("the signer {signer} wants all pauses ended"),
        VaultEvent::Unpaused => "all pauses ended".to_owned(),
        VaultEvent::ClosedFrom { from } => format!("closed for good from {}", utc(*from)),
        VaultEvent::CloseCancelled => "the closing is cancelled".to_owned(),
        VaultEvent::WithdrawalAsked { to, amount, from } => {
            format!("withdrawal of {} to {to} announced, possible from {}", usdt_of(*amount), utc(*from))
        }
        VaultEvent::WithdrawalCancelled => "the withdrawal is cancelled".to_owned(),
        VaultEvent::Withdrawn { to, amount } => format!("{} withdrawn to {to}", usdt_of(*amount)),
    }
}

fn skip_name(reason: Skip) -> &'static str {
    match reason {
        Skip::AlreadyPaid => "already-paid",
        Skip::BadRecipient => "bad-recipient",
        Skip::OverTotal => "over-total",
        Skip::OverCap => "over-cap",
        Skip::NoFunds => "no-funds",
        Skip::TokenRefused => "token-refused",
    }
}

/// An event, for programs.
pub(in crate::cli) fn json(event: &VaultEvent) -> Value {
    match event {
        VaultEvent::RootPosted { settlement, root, total, fees, leader, until } => json!({
            "event": "RootPosted", "settlement": settlement, "root": root, "total_micro_usdt": total,
            "fees_micro_usdt": fees, "leader": leader, "until": until,
        }),
        VaultEvent::Paid { id, to, amount, owed } => {
            json!({ "event": "Paid", "id": id, "to": to, "amount_micro_usdt": amount, "owed_micro_usdt": owed })
        }
        VaultEvent::Skipped { id, reason } => json!({ "event": "Skipped", "id": id, "reason": skip_name(*reason) }),
        VaultEvent::FeePaid { to, amount } => json!({ "event": "FeePaid", "to": to, "amount_micro_usdt": amount }),
        VaultEvent::SignersChanged { era, threshold, signers } => {
            json!({ "event": "SignersChanged", "era": era, "threshold": threshold, "signers": signers })
        }
        VaultEvent::LimitsChanged(limits) => json!({
            "event": "LimitsChanged", "cap_micro_usdt": limits.cap, "push_fee_micro_usdt": limits.push_fee,
        }),
        VaultEvent::OwnerPaused { from } => json!({ "event": "OwnerPaused", "from": from }),
        VaultEvent::SignerPaused { signer, until } => {
            let until = Some(until).filter(|until| **until != u64::MAX);
            json!({ "event": "SignerPaused", "signer": signer, "until": until })
        }
        VaultEvent::UnpauseWanted { signer } => json!({ "event": "UnpauseWanted", "signer": signer }),
        VaultEvent::Unpaused => json!({ "event": "Unpaused" }),
        VaultEvent::ClosedFrom { from } => json!({ "event": "ClosedFrom", "from": from }),
        VaultEvent::CloseCancelled => json!({ "event": "CloseCancelled" }),
        VaultEvent::WithdrawalAsked { to, amount, from } => {
            json!({ "event": "WithdrawalAsked", "to": to, "amount_micro_usdt": amount, "from": from })
        }
        VaultEvent::WithdrawalCancelled => json!({ "event": "WithdrawalCancelled" }),
        VaultEvent::Withdrawn { to, amount } => {
            json!({ "event": "Withdrawn", "to": to, "amount_micro_usdt": amount })
        }
    }
}
