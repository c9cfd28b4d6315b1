//! What the payment network says of vaults, as it was read from solidified blocks: payments, posted roots, and how far reading
//! has come.

use lucid_storage::{HistoryKind, HistoryRecord, StorageError, Store};
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::id::{PayoutAddress, PoolId, TxId};
use lucid_types::payout_tree::{AccountId, PayoutRoot};
use lucid_types::time::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::history::ANY_TIME;

/// Payments of one account that are looked at.
const MAX_PAYMENTS: usize = 2_000;

/// Where something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The transaction.
    pub tx_id: TxId,
    /// What the transaction cost whoever sent it.
    pub fee: Sun,
    /// The solidified block.
    pub block: u64,
    /// That block's time.
    pub time: UnixMillis,
    /// Counts the events of the block that are recorded.
    pub index: u32,
}

/// A payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// The pool whose vault paid.
    pub pool: PoolId,
    /// The account.
    pub account: AccountId,
    /// Where to.
    pub to: PayoutAddress,
    /// How much.
    pub amount: MicroUsdt,
    /// What the account was owed in all under the root in force.
    pub owed: MicroUsdt,
    /// What the account had been paid in all after it.
    pub after: MicroUsdt,
    /// Where.
    pub place: Place,
}

impl Payment {
    /// What an account has been paid in all after a payment of `amount`, when it was owed `owed` and had been paid `before`.
    /// Where nothing is known of what was before, the payment counts as one that paid everything, which most are.
    pub fn paid_after(before: Option<MicroUsdt>, amount: MicroUsdt, owed: MicroUsdt) -> MicroUsdt {
        before.map_or(owed, |before| before.saturating_add(amount).min(owed))
    }
}

impl Wire for Payment {
    const MAX_BYTES: usize = 256;
}

/// A root that was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// The pool whose vault took it.
    pub pool: PoolId,
    /// Its settlement.
    pub settlement: u64,
    /// The root.
    pub root: PayoutRoot,
    /// All that may ever have been paid out under it.
    pub total: MicroUsdt,
    /// Where.
    pub place: Place,
}

impl Wire for Posting {
    const MAX_BYTES: usize = 256;
}

/// A transaction of a vault that paid: its payments together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The pool whose vault paid.
    pub pool: PoolId,
    /// The settlement whose root was in force; none if its posting was not read.
    pub settlement: Option<u64>,
    /// How many accounts it paid.
    pub accounts: u32,
    /// How much in all.
    pub amount: MicroUsdt,
    /// Where: the place of its first payment.
    pub place: Place,
}

impl Wire for Batch {
    const MAX_BYTES: usize = 160;
}

// Key spaces within `HistoryKind::Vault`.
const CURSOR: u8 = 0;
const PAYMENTS: u8 = 1;
const POSTINGS: u8 = 2;
const BATCHES: u8 = 3;

fn payments_key(account: &AccountId) -> Vec<u8> {
    [&[PAYMENTS], account.as_bytes().as_slice()].concat()
}

fn postings_key(pool: &PoolId, settlement: u64) -> Vec<u8> {
    [&[POSTINGS], pool.as_bytes().as_slice(), &settlement.to_be_bytes()].concat()
}

fn batches_key(pool: &PoolId) -> Vec<u8> {
    [&[BATCHES], pool.as_bytes().as_slice()].concat()
}

fn record(mut key: Vec<u8>, place: &Place, value: Vec<u8>) -> HistoryRecord {
    key.extend_from_slice(&place.block.to_be_bytes());
    key.extend_from_slice(&place.index.to_be_bytes());
    HistoryRecord { kind: HistoryKind::Vault, key, value, expires: None }
}

/// What solidified blocks held of the pools' vaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Payments.
    pub payments: Vec<Payment>,
    /// Posted roots.
    pub postings: Vec<Posting>,
}

/// Stores what was read together with the number of the block to read next.
///
/// # Errors
/// The store failed.
pub fn put(store: &Store, read: &Read, next: u64) -> Result<(), StorageError> {
    let payment = |p: &Payment| record(payments_key(&p.account), &p.place, encode(p));
    let posting = |p: &Posting| record(postings_key(&p.pool, p.settlement), &p.place, encode(p));
    let batch = |b: &Batch| record(batches_key(&b.pool), &b.place, encode(b));
    let batches = batches_of(store, read)?;
    let value = next.to_be_bytes().to_vec();
    let cursor = HistoryRecord { kind: HistoryKind::Vault, key: vec![CURSOR], value, expires: None };
    let payments = read.payments.iter().map(payment);
    let others = read.postings.iter().map(posting).chain(batches.iter().map(batch));
    let records: Vec<_> = payments.chain(others).chain([cursor]).collect();
    store.write_history(&records, &[])
}

/// The transactions that made the payments, in the order of these. All that was read before is older.
fn batches_of(store: &Store, read: &Read) -> Result<Vec<Batch>, StorageError> {
    let mut batches = Vec::<Batch>::new();
    for &Payment { pool, amount, place, .. } in &read.payments {
        let is_of = |batch: &&mut Batch| (batch.pool, batch.place.tx_id) == (pool, place.tx_id);
        if let Some(batch) = batches.iter_mut().rev().find(is_of) {
            batch.amount = batch.amount.saturating_add(amount);
            batch.accounts = batch.accounts.saturating_add(1);
            continue;
        }
        let at = |place: &Place| (place.block, place.index);
        let posted = read.postings.iter().filter(|it| it.pool == pool && at(&it.place) < at(&place));
        let settlement = match posted.max_by_key(|it| at(&it.place)) {
            Some(posting) => Some(posting.settlement),
            None => newest_posting(store, &pool)?.map(|posting| posting.settlement),
        };
        batches.push(Batch { pool, settlement, accounts: 1, amount, place });
    }
    Ok(batches)
}

/// The posting of the highest settlement.
fn newest_posting(store: &Store, pool: &PoolId) -> Result<Option<Posting>, StorageError> {
    let prefix = [&[POSTINGS], pool.as_bytes().as_slice()].concat();
    let records = store.history_newest(HistoryKind::Vault, &prefix, 1, ANY_TIME)?;
    Ok(records.first().and_then(|record| decode(&record.value).ok()))
}

/// At most `limit` transactions by which a pool's vault has paid, the newest first.
///
/// # Errors
/// The store could not be read.
pub fn batches(store: &Store, pool: &PoolId, limit: usize) -> Result<Vec<Batch>, StorageError> {
    let records = store.history_newest(HistoryKind::Vault, &batches_key(pool), limit, ANY_TIME)?;
    Ok(records.iter().filter_map(|record| decode(&record.value).ok()).collect())
}

/// The number of the block to read next; `None` if nothing was read yet.
///
/// # Errors
/// The store could not be read.
pub fn next_block(store: &Store) -> Result<Option<u64>, StorageError> {
    let cursor = store.history_record(HistoryKind::Vault, &[CURSOR], ANY_TIME)?;
    Ok(cursor.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes))
}

/// An account's payments, newest first.
///
/// # Errors
/// The store could not be read.
pub fn payments(store: &Store, account: &AccountId) -> Result<Vec<Payment>, StorageError> {
    let records = store.history_newest(HistoryKind::Vault, &payments_key(account), MAX_PAYMENTS, ANY_TIME)?;
    Ok(records.iter().filter_map(|record| decode(&record.value).ok()).collect())
}

/// An account's newest payment.
///
/// # Errors
/// The store could not be read.
pub fn newest_payment(store: &Store, account: &AccountId) -> Result<Option<Payment>, StorageError> {
    let records = store.history_newest(HistoryKind::Vault, &payments_key(account), 1, ANY_TIME)?;
    Ok(records.first().and_then(|record| decode(&record.value).ok()))
}

/// The first posting of a settlement's root.
///
/// # Errors
/// The store could not be read.
pub fn posting(
    store: &Store,
    pool: &PoolId,
    settlement: u64,
    root: &PayoutRoot,
) -> Result<Option<Posting>, StorageError> {
    let records = store.history(HistoryKind::Vault, &postings_key(pool, settlement), 16, ANY_TIME)?;
    let mut postings = records.iter().filter_map(|record| decode::<Posting>(&record.value).ok());
    Ok(postings.find(|posting| posting.root == *root))
}

/// The payment with which an account had been paid `owed` in all; `payments` are the account's, newest first. `None` if it was not
/// read: before this node began to read, or too long ago.
pub fn settling(payments: &[Payment], owed: MicroUsdt) -> Option<&Payment> {
    let settling = payments.iter().take_while(|payment| payment.after >= owed).last()?;
    let is_oldest = payments.last() == Some(settling);
    let before = settling.after.saturating_sub(settling.amount);
    (!is_oldest || before < owed).then_some(settling)
}

/// Whether a record is one that this module writes.
pub(crate) fn is_sound(HistoryRecord { key, value, .. }: &HistoryRecord) -> bool {
    match key.first() {
        Some(&CURSOR) => key.len() == 1 && value.len() == 8,
        Some(&PAYMENTS) => decode::<Payment>(value).is_ok_and(|it| key.starts_with(&payments_key(&it.account))),
        Some(&BATCHES) => decode::<Batch>(value).is_ok_and(|it| key.starts_with(&batches_key(&it.pool))),
        Some(&POSTINGS) => {
            decode::<Posting>(value).is_ok_and(|it| key.starts_with(&postings_key(&it.pool, it.settlement)))
        }
        _ => false,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::id::NetworkId;

    use super::*;

    fn place(block: u64, index: u32) -> Place {
        Place { tx_id: TxId::from_bytes([1; 32]), fee: Sun::new(5), block, time: UnixMillis::new(block), index }
    }

    fn payment(account: u8, block: u64, amount: u64, after: u64) -> Payment {
        Payment {
            pool: PoolId::from_bytes([1; 32]),
            account: AccountId::from_bytes([account; 32]),
            to: PayoutAddress::from_hash20([3; 20]),
            amount: MicroUsdt::new(amount),
            owed: MicroUsdt::new(100),
            after: MicroUsdt::new(after),
            place: place(block, u32::from(account)),
        }
    }

    #[test]
    fn what_was_read_is_found_and_reading_goes_on_where_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), NetworkId::from_bytes([1; 32])).unwrap();
        assert_eq!(next_block(&store).unwrap(), None);
        let pool = PoolId::from_bytes([1; 32]);
        let posting_at = |block, root| Posting {
            pool,
            settlement: 3,
            root: PayoutRoot::from_bytes([root; 32]),
            total: MicroUsdt::new(9),
            place: place(block, 0),
        };
        let first = Read {
            payments: vec![payment(1, 7, 10, 10), payment(2, 7, 20, 20)],
            postings: vec![posting_at(6, 1), posting_at(7, 2)],
        };
        put(&store, &first, 8).unwrap();
        put(&store, &Read { payments: vec![payment(1, 300, 30, 40)], postings: vec![posting_at(300, 2)] }, 301)
            .unwrap();
        assert_eq!(next_block(&store).unwrap(), Some(301));
        let amounts = |account| {
            let found = payments(&store, &AccountId::from_bytes([account; 32])).unwrap();
            found.iter().map(|payment| payment.amount.get()).collect::<Vec<_>>()
        };
        assert_eq!((amounts(1), amounts(2), amounts(3)), (vec![30, 10], vec![20], vec![]));
        let first_of = |root| posting(&store, &pool, 3, &PayoutRoot::from_bytes([root; 32])).unwrap();
        assert_eq!(first_of(2), Some(posting_at(7, 2)));
        assert_eq!(first_of(3), None);
        // All places here name one transaction: the payments of a read are one batch.
        let told = |it: &Batch| (it.place.block, it.settlement, it.accounts, it.amount.get());
        let batches_of = |pool, limit| batches(&store, &pool, limit).unwrap().iter().map(told).collect::<Vec<_>>();
        assert_eq!(batches_of(pool, 5), [(300, Some(3), 1, 30), (7, Some(3), 2, 30)]);
        assert_eq!((batches_of(pool, 1).len(), batches_of(PoolId::from_bytes([2; 32]), 5)), (1, vec![]));
        let unposted = Payment { pool: PoolId::from_bytes([2; 32]), ..payment(1, 400, 5, 45) };
        put(&store, &Read { payments: vec![unposted], postings: vec![posting_at(400, 2)] }, 401).unwrap();
        assert_eq!(batches_of(unposted.pool, 5), [(400, None, 1, 5)]);
    }

    #[test]
    fn the_payment_that_settled_a_total_is_found() {
        // 40 was paid before this node began to read.
        let payments = [payment(1, 9, 45, 100), payment(1, 8, 5, 55), payment(1, 7, 10, 50)];
        let settled = |owed| settling(&payments, MicroUsdt::new(owed)).map(|payment| payment.place.block);
        assert_eq!(
            [40, 41, 50, 51, 55, 56, 100].map(settled),
            [None, Some(7), Some(7), Some(8), Some(8), Some(9), Some(9)]
        );
        assert_eq!(settled(101), None, "not paid yet");
        assert_eq!(settling(&[], MicroUsdt::new(1)), None);
    }

    #[test]
    fn payments_add_up_as_the_vault_counts() {
        let after = |before: Option<u64>, amount, owed| {
            Payment::paid_after(before.map(MicroUsdt::new), MicroUsdt::new(amount), MicroUsdt::new(owed)).get()
        };
        assert_eq!(after(Some(40), 10, 100), 50, "a part");
        assert_eq!(after(Some(40), 60, 100), 100, "everything");
        assert_eq!(after(None, 60, 100), 100, "the first that was read");
        assert_eq!(after(Some(70), 60, 100), 100, "what was known before was already newer");
    }
}
