//! What this node's pusher has done, for showing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lucid_tron_bridge::pusher::{Report, TransactionStatus, Work};
use lucid_types::amount::Sun;
use lucid_types::id::TxId;
use lucid_types::payout_tree::AccountId;
use lucid_types::time::UnixMillis;

use crate::payout::status::{PayoutStatus, Pushed};

/// What the pusher has done.
#[derive(Debug, Default)]
pub struct PushTable(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The newest settlement whose root has enough signatures, and since when.
    signed: Option<(u64, UnixMillis)>,
    /// The newest transaction that pays each account.
    batches: BTreeMap<AccountId, Batch>,
    gas: Option<Sun>,
    alerts: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Batch {
    settlement: u64,
    tx_id: TxId,
    status: PayoutStatus,
    since: UnixMillis,
}

impl PushTable {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was done about what an account became due in a settlement.
    pub fn of(&self, account: &AccountId, settlement: u64) -> Option<Pushed> {
        let inner = self.lock();
        // A root pays all that earlier ones owed, too.
        let batch = inner.batches.get(account).filter(|batch| batch.settlement >= settlement);
        if let Some(Batch { tx_id, status, since, .. }) = batch {
            return Some(Pushed { status: *status, since: *since, tx_id: Some(*tx_id) });
        }
        let (_, since) = inner.signed.filter(|(signed, _)| *signed >= settlement)?;
        Some(Pushed { status: PayoutStatus::Signed, since, tx_id: None })
    }

    /// What the gas account holds, if it is known.
    pub fn gas(&self) -> Option<Sun> {
        self.lock().gas
    }

    /// What an operator should know.
    pub fn alerts(&self) -> Vec<String> {
        self.lock().alerts.clone()
    }

    /// Forgets everything: another pool's payouts are pushed, or none's.
    pub(super) fn clear(&self) {
        *self.lock() = Inner::default();
    }

    pub(super) fn set_gas(&self, gas: Sun) {
        self.lock().gas = Some(gas);
    }

    pub(super) fn set_alerts(&self, alerts: Vec<String>) {
        self.lock().alerts = alerts;
    }

    pub(super) fn report(&self, report: Report, now: UnixMillis) {
        let mut inner = self.lock();
        match report {
            Report::Signatures { settlement, have, needed, .. } => {
                let is_new = inner.signed.is_none_or(|(signed, _)| signed < settlement);
                if have >= needed && is_new {
                    inner.signed = Some((settlement, now));
                }
            }
            Report::Transaction { tx_id, work: Work::Batch { settlement, accounts, .. }, status } => {
                let shown = match status {
                    TransactionStatus::Sent => Some((PayoutStatus::Sent, now)),
                    TransactionStatus::Included { block_time, .. } => Some((PayoutStatus::Included, block_time)),
                    // The reader shows it as paid when all that it paid has been read.
                    TransactionStatus::Solid { .. } => return,
                    TransactionStatus::Failed { .. } | TransactionStatus::Expired => None,
                };
                match shown {
                    Some((status, since)) => {
                        let batch = Batch { settlement, tx_id, status, since };
                        inner.batches.extend(accounts.into_iter().map(|account| (account, batch)));
                    }
                    None => inner.batches.retain(|_, batch| batch.tx_id != tx_id),
                }
            }
            Report::Finished { settlement } => inner.batches.retain(|_, batch| batch.settlement > settlement),
            Report::Transaction { work: Work::Post { .. }, .. } | Report::Posted { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use lucid_types::amount::MicroUsdt;

    use super::*;

    const NOW: UnixMillis = UnixMillis::new(1_000);

    fn account(byte: u8) -> AccountId {
        AccountId::from_bytes([byte; 32])
    }

    fn transaction(tx: u8, settlement: u64, accounts: &[u8], status: TransactionStatus) -> Report {
        let accounts = accounts.iter().copied().map(account).collect();
        let work = Work::Batch { settlement, start: 0, accounts, amount: MicroUsdt::new(1) };
        Report::Transaction { tx_id: TxId::from_bytes([tx; 32]), work, status }
    }

    #[test]
    fn a_request_is_as_far_as_its_newest_transaction() {
        let table = PushTable::default();
        let status = |of: u8, settlement| table.of(&account(of), settlement).map(|push| push.status);
        let signatures = |have| Report::Signatures { settlement: 4, have, needed: 2, problems: BTreeMap::new() };
        table.report(signatures(1), NOW);
        assert_eq!(status(1, 4), None);
        table.report(signatures(2), NOW);
        table.report(signatures(3), NOW.after(std::time::Duration::from_secs(1)));
        assert_eq!(status(1, 4), Some(PayoutStatus::Signed));
        assert_eq!(table.of(&account(1), 4).map(|push| push.since), Some(NOW), "since there are enough");
        assert_eq!((status(1, 3), status(1, 5)), (Some(PayoutStatus::Signed), None));

        table.report(transaction(1, 4, &[1, 2], TransactionStatus::Sent), NOW);
        let included = TransactionStatus::Included { block_time: UnixMillis::new(7), fee: Sun::ZERO };
        table.report(transaction(1, 4, &[1], included), NOW);
        assert_eq!((status(1, 4), status(2, 4)), (Some(PayoutStatus::Included), Some(PayoutStatus::Sent)));
        assert_eq!(table.of(&account(2), 4).and_then(|push| push.tx_id), Some(TxId::from_bytes([1; 32])));
        table.report(transaction(1, 4, &[1, 2], TransactionStatus::Expired), NOW);
        assert_eq!(status(2, 4), Some(PayoutStatus::Signed), "as far as it was before");

        table.report(transaction(2, 4, &[1], TransactionStatus::Sent), NOW);
        table.report(transaction(3, 5, &[2], TransactionStatus::Sent), NOW);
        table.report(Report::Finished { settlement: 4 }, NOW);
        assert_eq!((status(1, 4), status(2, 4)), (Some(PayoutStatus::Signed), Some(PayoutStatus::Sent)));
    }
}
