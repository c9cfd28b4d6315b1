//! The status of a payout request, as users see it, computed from the ledger, the vault's solidified view, and what this node's
//! pusher has done. Pure.

use std::fmt;

use lucid_consensus::ledger::pool::{Account, Hold, PoolState};
use lucid_consensus::ledger::settle::MAX_HOLD;
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::TxId;
use lucid_types::payout::PayoutRequest;
use lucid_types::time::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::history::ledger::RequestRecord;
use crate::history::vault::Place;
use crate::payout::vaults::SolidVault;

/// How far a request has come, or why it does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PayoutStatus {
    /// The ledger owes it.
    Owed,
    /// The signers have signed the root that holds it.
    Signed,
    /// That root stands in the vault, in the solidified view.
    Posted,
    /// A transaction that pays it was sent.
    Sent,
    /// That transaction is in a block that is not solidified yet.
    Included,
    /// The vault has paid it, in the solidified view.
    Paid,
    /// Too little to be due: it becomes due with what is earned later.
    BelowThreshold,
    /// The pool's owner has set the member's earnings aside.
    Held,
    /// The pool's owner has stopped new payout roots.
    PoolSuspended,
    /// The vault makes no payments now.
    VaultPaused,
    /// The vault has paid all that it may in this period.
    OverCap,
    /// The vault holds too little.
    Uncovered,
}

impl PayoutStatus {
    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owed => "owed",
            Self::Signed => "signed",
            Self::Posted => "posted",
            Self::Sent => "sent",
            Self::Included => "included",
            Self::Paid => "paid",
            Self::BelowThreshold => "below-threshold",
            Self::Held => "held",
            Self::PoolSuspended => "pool-suspended",
            Self::VaultPaused => "vault-paused",
            Self::OverCap => "over-cap",
            Self::Uncovered => "uncovered",
        }
    }
}

impl fmt::Display for PayoutStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What this node's own pusher has done about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// [`PayoutStatus::Signed`], [`PayoutStatus::Sent`] or [`PayoutStatus::Included`].
    pub status: PayoutStatus,
    /// Since when.
    pub since: UnixMillis,
    /// The transaction that pays it.
    pub tx_id: Option<TxId>,
}

/// What the status of a pool's requests depends on.
#[derive(Clone, Copy)]
pub struct PoolView<'a> {
    /// The ledger's side.
    pub accounts: &'a PoolState,
    /// The vault, solidified; `None` if this node does not know it.
    pub vault: Option<&'a SolidVault>,
    /// The amount of which an owed total must cross a multiple to be requested; 0: it must grow.
    pub threshold: MicroUsdt,
    /// The time.
    pub now: UnixMillis,
}

/// What a payout waits for whose vault is closed.
const CLOSED: &str = "another vault of the pool: this one is closed";

/// How a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The status.
    pub status: PayoutStatus,
    /// What it waits for.
    pub waits_for: Option<String>,
    /// Since when it has the status, if that is known.
    pub since: Option<UnixMillis>,
    /// The transaction that pays or paid it.
    pub tx_id: Option<TxId>,
    /// The block of the transaction.
    pub block: Option<u64>,
    /// What the transaction cost.
    pub fee: Option<Sun>,
}

impl Standing {
    fn waiting(status: PayoutStatus, since: Option<UnixMillis>, waits_for: impl Into<String>) -> Self {
        Self { status, waits_for: Some(waits_for.into()), since, tx_id: None, block: None, fee: None }
    }
}

impl PoolView<'_> {
    /// Whether the vault has paid a request, in the solidified view.
    pub fn is_paid(&self, request: &PayoutRequest) -> bool {
        let paid = self.vault.and_then(|vault| vault.snapshot.paid_of(&request.account));
        paid.is_some_and(|paid| paid >= request.owed)
    }
}

/// The status of a request. `paid_at` is the place of its payment, `posted_at` the time at which its root was posted, where they are
/// known.
pub fn of_request(
    record: &RequestRecord,
    view: PoolView<'_>,
    paid_at: Option<Place>,
    posted_at: Option<UnixMillis>,
    pushed: Option<&Pushed>,
) -> Standing {
    let request = &record.request;
    if view.is_paid(request) {
        return paid(paid_at);
    }
    if let Some(pushed) = pushed.filter(|pushed| pushed.tx_id.is_some()) {
        let waits_for = match pushed.status {
            PayoutStatus::Included => "its block to be solidified",
            _ => "a block that includes the transaction",
        };
        let waiting = Standing::waiting(pushed.status, Some(pushed.since), waits_for);
        return Standing { tx_id: pushed.tx_id, ..waiting };
    }
    let Some(vault) = view.vault else {
        let unknown = "not known here: this node reads no TRON provider (tron.providers)";
        return Standing::waiting(PayoutStatus::Owed, Some(record.time), unknown);
    };
    if vault.has_root_from(record.settlement) {
        return posted(vault, request, posted_at, view.now);
    }
    if vault.snapshot.is_closed(view.now.get() / 1_000) {
        return Standing::waiting(PayoutStatus::VaultPaused, Some(record.time), CLOSED);
    }
    if let Some(pushed) = pushed {
        return Standing::waiting(
            PayoutStatus::Signed,
            Some(pushed.since),
            "its payout root to be posted at the vault",
        );
    }
    let signers = &view.accounts.vault.signers;
    let waits_for = format!(
        "{} of {} treasury signers, and its payout root to be posted",
        signers.threshold,
        signers.members.len()
    );
    Standing::waiting(PayoutStatus::Owed, Some(record.time), waits_for)
}

fn paid(place: Option<Place>) -> Standing {
    Standing {
        status: PayoutStatus::Paid,
        waits_for: None,
        since: place.map(|place| place.time),
        tx_id: place.map(|place| place.tx_id),
        block: place.map(|place| place.block),
        fee: place.map(|place| place.fee),
    }
}

/// Why a request whose root stands in the vault is not paid.
fn posted(vault: &SolidVault, request: &PayoutRequest, since: Option<UnixMillis>, now: UnixMillis) -> Standing {
    let snapshot = &vault.snapshot;
    let now_s = now.get() / 1_000;
    let due = request.owed.saturating_sub(snapshot.paid_of(&request.account).unwrap_or_default());
    let waiting = |status, waits_for: String| Standing::waiting(status, None, waits_for);
    if snapshot.is_closed(now_s) {
        return waiting(PayoutStatus::VaultPaused, CLOSED.to_owned());
    }
    if snapshot.is_paused(now_s) {
        return waiting(PayoutStatus::VaultPaused, "the end of the vault's pause".to_owned());
    }
    if snapshot.left_of_cap(now_s) < due {
        let left = snapshot.left_of_cap(now_s);
        return waiting(
            PayoutStatus::OverCap,
            format!("the vault's next period: {} is left of this one's cap", usdt(left)),
        );
    }
    if snapshot.funds < due {
        let funds = snapshot.funds;
        return waiting(
            PayoutStatus::Uncovered,
            format!("funds: {} is due and the vault holds {}", usdt(due), usdt(funds)),
        );
    }
    if snapshot.left_of_total() < due {
        let left = snapshot.left_of_total();
        let waits_for =
            format!("a root with a higher total: {} is left of this one's; the owner books losses", usdt(left));
        return waiting(PayoutStatus::Uncovered, waits_for);
    }
    Standing::waiting(PayoutStatus::Posted, since, "the leader, or a successor, to push it")
}

/// The status of what an account has earned since its last request, if that is anything.
pub fn of_earnings(account: &Account, view: PoolView<'_>) -> Option<(MicroUsdt, Standing)> {
    let unrequested = account.owed.saturating_sub(account.requested);
    let amount = unrequested.saturating_add(account.held);
    if amount == MicroUsdt::ZERO {
        return None;
    }
    let standing = match account.hold {
        Hold::Since(since) if account.held > MicroUsdt::ZERO => {
            let waits_for = format!("the pool's owner, or settlement {}", since.saturating_add(MAX_HOLD));
            Standing::waiting(PayoutStatus::Held, None, waits_for)
        }
        Hold::Ends if account.held > MicroUsdt::ZERO => {
            Standing::waiting(PayoutStatus::Held, None, "the next settlement")
        }
        _ if view.accounts.is_suspended(view.accounts.settled.saturating_add(1)) => {
            Standing::waiting(PayoutStatus::PoolSuspended, None, "the pool's owner to allow new payout roots")
        }
        _ => {
            let missing = next_request(account.requested, view.threshold).saturating_sub(account.owed);
            let waits_for = match missing {
                MicroUsdt::ZERO => "the pool's next payout root".to_owned(),
                missing => format!("{} more", usdt(missing)),
            };
            Standing::waiting(PayoutStatus::BelowThreshold, None, waits_for)
        }
    };
    Some((amount, standing))
}

/// The owed total with which an account is requested again.
fn next_request(requested: MicroUsdt, threshold: MicroUsdt) -> MicroUsdt {
    let step = threshold.get().max(1);
    MicroUsdt::new((requested.get() / step).saturating_add(1).saturating_mul(step))
}

pub(super) fn usdt(amount: MicroUsdt) -> String {
    let (whole, part) = (amount.get() / 1_000_000, amount.get() % 1_000_000);
    format!("{whole}.{part:06} USDT")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
