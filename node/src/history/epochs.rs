//! When epochs were closed, and which blocks made their scores final.

use lucid_consensus::ledger::event::Event;
use lucid_consensus::ledger::execute::Execution;
use lucid_consensus::ledger::state::FinalEpoch;
use lucid_storage::{HistoryKind, HistoryRecord, StorageError, Store};
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::time::{Epoch, Height};
use serde::{Deserialize, Serialize};

use crate::history::ANY_TIME;

// Key spaces within `HistoryKind::Epoch`.
const CLOSED: u8 = 0;
const FINAL: u8 = 1;

/// Epochs that one block closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// The first.
    pub first: Epoch,
    /// The last.
    pub last: Epoch,
    /// Whether the first was measured; the others were not.
    pub is_measured: bool,
    /// The block.
    pub height: Height,
}

impl Wire for Closing {
    const MAX_BYTES: usize = 25;
}

/// How an epoch became final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finality {
    /// The block that made its scores final.
    pub height: Height,
    /// Workers that have a score.
    pub workers: u32,
}

impl Wire for Finality {
    const MAX_BYTES: usize = 12;
}

fn key(space: u8, epoch: Epoch) -> Vec<u8> {
    [&[space], epoch.get().to_be_bytes().as_slice()].concat()
}

const fn record(key: Vec<u8>, value: Vec<u8>) -> HistoryRecord {
    HistoryRecord { kind: HistoryKind::Epoch, key, value, expires: None }
}

/// The records that follow from a block.
pub fn records(height: Height, applied: &Execution) -> Vec<HistoryRecord> {
    let closing = applied.events.iter().find_map(|event| match event {
        Event::Closed { first, last, is_measured } => {
            Some(Closing { first: *first, last: *last, is_measured: *is_measured, height })
        }
        _ => None,
    });
    let closed = closing.map(|closing| record(key(CLOSED, closing.first), encode(&closing)));
    let scored = applied.finalised.as_ref().map(|FinalEpoch { scores, .. }| {
        let workers = u32::try_from(scores.rows.len()).unwrap_or(u32::MAX);
        record(key(FINAL, scores.epoch), encode(&Finality { height, workers }))
    });
    closed.into_iter().chain(scored).collect()
}

/// How an epoch was closed; `None` if it was not yet.
///
/// # Errors
/// The store could not be read.
pub fn closing(store: &Store, epoch: Epoch) -> Result<Option<Closing>, StorageError> {
    let newest = store.history_before(HistoryKind::Epoch, &[CLOSED], &key(CLOSED, epoch.next()), 1, ANY_TIME)?;
    let closing = newest.first().and_then(|record| decode::<Closing>(&record.value).ok());
    Ok(closing.filter(|closing| (closing.first..=closing.last).contains(&epoch)))
}

/// How an epoch's scores became final; `None` if they are not yet.
///
/// # Errors
/// The store could not be read.
pub fn finality(store: &Store, epoch: Epoch) -> Result<Option<Finality>, StorageError> {
    let record = store.history_record(HistoryKind::Epoch, &key(FINAL, epoch), ANY_TIME)?;
    Ok(record.and_then(|bytes| decode(&bytes).ok()))
}

/// Whether this node has executed the block that made an epoch final: then all that the block brought about is in its history. A node
/// that began with a snapshot has not executed those before, and one of which tables were lost does not have them any more.
///
/// # Errors
/// The store could not be read.
pub fn is_known_final(store: &Store, epoch: Epoch) -> Result<bool, StorageError> {
    Ok(match closing(store, epoch)? {
        Some(closing) if closing.is_measured && closing.first == epoch => finality(store, epoch)?.is_some(),
        closing => closing.is_some(),
    })
}

/// Whether a record is one that this module writes.
pub(crate) fn is_sound(HistoryRecord { key: found, value, .. }: &HistoryRecord) -> bool {
    match found.first() {
        Some(&CLOSED) => decode::<Closing>(value).is_ok_and(|it| *found == key(CLOSED, it.first)),
        Some(&FINAL) => found.len() == 9 && decode::<Finality>(value).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_consensus::ledger::state::{Delta, EpochScores};
    use lucid_score::draw::EpochDraw;
    use lucid_types::id::{Hash, NetworkId};

    use super::*;
    use crate::payout::testing::{network, root, state};

    #[test]
    fn epochs_are_found_however_many_a_block_closed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), NetworkId::from_bytes([1; 32])).unwrap();
        let network = network();
        let state = state(&network, root(&network, 3, 100));
        for (height, first, last, is_measured) in [(4, 1, 1, true), (7, 2, 900, true), (20, 901, 901, false)] {
            let (first, last) = (Epoch::new(first), Epoch::new(last));
            let draw = EpochDraw { seed: Hash::derive("test", &[]), reporters: Vec::new(), scored: Vec::new() };
            let scores = EpochScores { epoch: first, rows: Vec::new() };
            let finalised = is_measured.then_some(FinalEpoch { scores, draw, reports: Vec::new(), before: Vec::new() });
            let events = vec![Event::Closed { first, last, is_measured }];
            let applied = Execution { state: state.clone(), delta: Delta::default(), finalised, events };
            store.write_history(&records(Height::new(height), &applied), &[]).unwrap();
        }
        let height = |epoch| closing(&store, Epoch::new(epoch)).unwrap().map(|closing| closing.height.get());
        assert_eq!(
            [0, 1, 2, 500, 900, 901, 902].map(height),
            [None, Some(4), Some(7), Some(7), Some(7), Some(20), None]
        );
        assert!(!closing(&store, Epoch::new(901)).unwrap().unwrap().is_measured);
        let scored = |epoch| finality(&store, Epoch::new(epoch)).unwrap().map(|it| it.height.get());
        assert_eq!([1, 2, 3, 901].map(scored), [Some(4), Some(7), None, None]);
        // What a snapshot was taken between of is not known to be final.
        let closing =
            Closing { first: Epoch::new(902), last: Epoch::new(902), is_measured: true, height: Height::new(21) };
        let closed = record(key(CLOSED, closing.first), encode(&closing));
        store.write_history(&[closed], &[]).unwrap();
        let is_known = |epoch| is_known_final(&store, Epoch::new(epoch)).unwrap();
        assert_eq!([0, 1, 2, 500, 901, 902, 903].map(is_known), [false, true, true, true, true, false, false]);
    }
}
