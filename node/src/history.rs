//! Records for queries, written with the block that caused them: payouts with all their attempts, and elections.
//! Nothing that nodes agree on is read from here.

use lucid_consensus::ledger::execute::Event;
use lucid_consensus::ledger::state::Payout;
use lucid_storage::{HistoryKind, HistoryRecord, StorageError, Store};
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::id::{NodeId, PayoutId, PoolId};
use lucid_types::payout::{PayoutAttempt, Verdict};
use lucid_types::time::EpochNumber;
use serde::{Deserialize, Serialize};

/// A payout with everything that happened to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutRecord {
    /// Its id.
    pub id: PayoutId,
    /// As it was scheduled.
    pub payout: Payout,
    /// The block that scheduled it.
    pub height: EpochNumber,
    /// Its attempts in order.
    pub attempts: Vec<AttemptRecord>,
    /// The block that ended it.
    pub ended: Option<EpochNumber>,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// As a block fixed it.
    pub attempt: PayoutAttempt,
    /// The block that opened it.
    pub opened: EpochNumber,
    /// How it ended, and the block that says so.
    pub ended: Option<(Verdict, EpochNumber)>,
}

impl Wire for PayoutRecord {
    const MAX_BYTES: usize = 1 << 20;
}

/// A leader's election.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElectionRecord {
    /// The pool.
    pub pool: PoolId,
    /// The settlement.
    pub settlement: u64,
    /// The leader and its successors.
    pub order: Vec<NodeId>,
}

/// The elections of one block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elections(pub Vec<ElectionRecord>);

impl Wire for Elections {
    const MAX_BYTES: usize = 1 << 20;
}

// Key spaces within `HistoryKind::Payout`.
const BY_SETTLEMENT: u8 = 0;
const BY_ID: u8 = 1;
const ELECTIONS: u8 = 2;

fn settlement_key(settlement: u64, id: &PayoutId) -> Vec<u8> {
    [&[BY_SETTLEMENT], settlement.to_be_bytes().as_slice(), id.as_bytes()].concat()
}

fn id_key(id: &PayoutId) -> Vec<u8> {
    [&[BY_ID], id.as_bytes().as_slice()].concat()
}

fn elections_key(height: EpochNumber) -> Vec<u8> {
    [&[ELECTIONS], height.get().to_be_bytes().as_slice()].concat()
}

/// The records that a block's events change.
///
/// # Errors
/// The store could not be read.
pub fn records(store: &Store, height: EpochNumber, events: &[Event]) -> Result<Vec<HistoryRecord>, StorageError> {
    let mut payouts: Vec<PayoutRecord> = Vec::new();
    let mut elections = Elections::default();
    for event in events {
        match event {
            Event::Elected { pool, settlement, order } => {
                elections.0.push(ElectionRecord { pool: *pool, settlement: *settlement, order: order.clone() });
            }
            Event::Scheduled { id, payout } => {
                payouts.push(PayoutRecord {
                    id: *id,
                    payout: payout.clone(),
                    height,
                    attempts: Vec::new(),
                    ended: None,
                });
            }
            Event::AttemptOpened(attempt) => {
                let opened = AttemptRecord { attempt: attempt.clone(), opened: height, ended: None };
                change(store, &mut payouts, &attempt.payout, |record| record.attempts.push(opened))?;
            }
            Event::AttemptEnded { attempt, verdict, payout_ended } => {
                change(store, &mut payouts, &attempt.payout, |record| {
                    if let Some(ended) = record.attempts.iter_mut().find(|a| a.attempt.attempt == attempt.attempt) {
                        ended.ended = Some((*verdict, height));
                    }
                    record.ended = payout_ended.then_some(height);
                })?;
            }
        }
    }
    let record = |key, value| HistoryRecord { kind: HistoryKind::Payout, key, value };
    let mut records = Vec::new();
    for payout in payouts {
        let settlement = payout.payout.settlement;
        records.push(record(settlement_key(settlement, &payout.id), encode(&payout)));
        records.push(record(id_key(&payout.id), settlement.to_be_bytes().to_vec()));
    }
    if !elections.0.is_empty() {
        records.push(record(elections_key(height), encode(&elections)));
    }
    Ok(records)
}

/// Changes a payout's record, the one in `changed` if it is there, else the stored one.
fn change(
    store: &Store,
    changed: &mut Vec<PayoutRecord>,
    id: &PayoutId,
    act: impl FnOnce(&mut PayoutRecord),
) -> Result<(), StorageError> {
    let known = changed.iter().position(|record| record.id == *id);
    let index = match known {
        Some(index) => index,
        None => {
            let Some(stored) = payout(store, id)? else { return Ok(()) };
            changed.push(stored);
            changed.len() - 1
        }
    };
    act(&mut changed[index]);
    Ok(())
}

/// One payout.
///
/// # Errors
/// The store could not be read.
pub fn payout(store: &Store, id: &PayoutId) -> Result<Option<PayoutRecord>, StorageError> {
    let Some(settlement) = store.history_record(HistoryKind::Payout, &id_key(id))? else { return Ok(None) };
    let Ok(settlement) = <[u8; 8]>::try_from(settlement.as_slice()) else { return Ok(None) };
    let key = settlement_key(u64::from_be_bytes(settlement), id);
    let record = store.history_record(HistoryKind::Payout, &key)?;
    Ok(record.and_then(|bytes| decode(&bytes).ok()))
}

/// At most `limit` payouts, newest settlement first.
///
/// # Errors
/// The store could not be read.
pub fn payouts(store: &Store, limit: usize) -> Result<Vec<PayoutRecord>, StorageError> {
    let records = store.history_newest(HistoryKind::Payout, &[BY_SETTLEMENT], limit)?;
    Ok(records.iter().filter_map(|record| decode(&record.value).ok()).collect())
}

/// The elections of a block.
///
/// # Errors
/// The store could not be read.
pub fn elections(store: &Store, height: EpochNumber) -> Result<Vec<ElectionRecord>, StorageError> {
    let record = store.history_record(HistoryKind::Payout, &elections_key(height))?;
    Ok(record.and_then(|bytes| decode::<Elections>(&bytes).ok()).unwrap_or_default().0)
}
