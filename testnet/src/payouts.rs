//! What the status of a payout request means for a run. Pure.

use std::collections::BTreeMap;

use lucid_node::api::model::{PayoutStatus, PayoutView};
use lucid_types::id::PayoutId;

/// Requests by id.
pub type Payouts = BTreeMap<PayoutId, PayoutView>;

/// How far a request has come. Statuses that say why it does not go on count as [`Stage::Owed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The ledger owes it.
    Owed,
    /// Its root has enough signatures.
    Signed,
    /// Its root stands in the vault.
    Posted,
    /// A transaction that pays it was sent.
    Sent,
    /// That transaction is in a block.
    Included,
    /// The vault has paid it in the solidified view, and the transaction is known.
    Paid,
}

impl Stage {
    /// How far `payout` has come. A node that has just begun to read the chain knows what the vault has paid before it knows by
    /// which transaction.
    pub const fn of(payout: &PayoutView) -> Self {
        match payout.status {
            PayoutStatus::Paid if payout.tx_id.is_some() => Self::Paid,
            PayoutStatus::Included => Self::Included,
            PayoutStatus::Sent => Self::Sent,
            PayoutStatus::Posted | PayoutStatus::Paid => Self::Posted,
            PayoutStatus::Signed => Self::Signed,
            PayoutStatus::Owed
            | PayoutStatus::BelowThreshold
            | PayoutStatus::Held
            | PayoutStatus::PoolSuspended
            | PayoutStatus::VaultPaused
            | PayoutStatus::OverCap
            | PayoutStatus::Uncovered => Self::Owed,
        }
    }
}

/// Whether a run with an end waits for the request.
pub fn is_open(payout: &PayoutView) -> bool {
    Stage::of(payout) < Stage::Paid
}

/// Adds what a node says. Signatures and transactions are known to the node that made them first, so of two answers the one with
/// the later stage counts. What the node has earned itself and no request has yet is left out: it is not due.
pub fn merge(payouts: &mut Payouts, told: impl IntoIterator<Item = PayoutView>) {
    for payout in told.into_iter().filter(|payout| is_request(payout.status)) {
        let known = payouts.entry(payout.payout_id).or_insert_with(|| payout.clone());
        if Stage::of(&payout) > Stage::of(known) {
            *known = payout;
        }
    }
}

const fn is_request(status: PayoutStatus) -> bool {
    !matches!(status, PayoutStatus::BelowThreshold | PayoutStatus::Held | PayoutStatus::PoolSuspended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::payout;

    #[test]
    fn the_furthest_answer_counts() {
        let told = |status| payout(1, 4, status);
        let mut payouts = Payouts::new();
        let mut merged = |status| {
            merge(&mut payouts, [told(status)]);
            payouts.values().map(|payout| payout.status).collect::<Vec<_>>()
        };
        assert_eq!(merged(PayoutStatus::VaultPaused), [PayoutStatus::VaultPaused]);
        assert_eq!(merged(PayoutStatus::Owed), [PayoutStatus::VaultPaused], "the first of equals stays");
        assert_eq!(merged(PayoutStatus::Sent), [PayoutStatus::Sent]);
        assert_eq!(merged(PayoutStatus::Posted), [PayoutStatus::Sent]);
        assert_eq!(merged(PayoutStatus::Paid), [PayoutStatus::Paid]);
    }

    #[test]
    fn earnings_without_a_request_are_left_out() {
        let mut payouts = Payouts::new();
        let own = [PayoutStatus::BelowThreshold, PayoutStatus::Held, PayoutStatus::PoolSuspended];
        merge(&mut payouts, own.map(|status| payout(1, 4, status)));
        assert!(payouts.is_empty());
    }

    #[test]
    fn what_a_run_waits_for() {
        let waits = |status| is_open(&payout(1, 4, status));
        assert!(waits(PayoutStatus::Owed) && waits(PayoutStatus::Included) && waits(PayoutStatus::Uncovered));
        assert!(!waits(PayoutStatus::Paid));
        // The report needs the transaction.
        assert!(is_open(&PayoutView { tx_id: None, ..payout(1, 4, PayoutStatus::Paid) }));
    }
}
