//! The scores of epochs, written with the block that makes them final. Those of an epoch are one record, by its number.

use std::time::Duration;

use lucid_consensus::ledger::state::EpochScores;
use lucid_storage::{HistoryKind, HistoryRecord, StorageError, Store};
use lucid_types::codec::{decode, encode};
use lucid_types::time::{Epoch, UnixMillis};

use crate::history::DAY;

/// How long they are kept after the block. Their root stays in the state.
const KEPT: Duration = DAY.saturating_mul(365);

/// The record of the scores that a block of this time makes final.
pub fn record(time: UnixMillis, scores: &EpochScores) -> HistoryRecord {
    let key = scores.epoch.get().to_be_bytes().to_vec();
    HistoryRecord { kind: HistoryKind::Score, key, value: encode(scores), expires: Some(time.after(KEPT)) }
}

/// Why the scores of an epoch cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ScoresError {
    /// The store could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What is stored is none that this module has written.
    #[error("what is stored as the scores of epoch {0} are none: the database is damaged, see `lucid db check`")]
    Damaged(Epoch),
}

/// The scores of an epoch; `None` if there are none yet, or not any more.
///
/// # Errors
/// The store could not be read, or what is in it are no scores.
pub fn of(store: &Store, epoch: Epoch, now: UnixMillis) -> Result<Option<EpochScores>, ScoresError> {
    let key = epoch.get().to_be_bytes().to_vec();
    let Some(value) = store.history_record(HistoryKind::Score, &key, now)? else { return Ok(None) };
    let record = HistoryRecord { kind: HistoryKind::Score, key, value, expires: None };
    parse(&record).map(Some).ok_or(ScoresError::Damaged(epoch))
}

/// The scores in a record, if it is one that this module writes: of its epoch, and in the order in which they lead to a root.
pub(crate) fn parse(HistoryRecord { key, value, .. }: &HistoryRecord) -> Option<EpochScores> {
    let is_one = |scores: &EpochScores| {
        *key == scores.epoch.get().to_be_bytes() && scores.rows.is_sorted_by(|row, next| row.worker < next.worker)
    };
    decode::<EpochScores>(value).ok().filter(is_one)
}

/// A row of a worker that did nothing.
#[cfg(test)]
pub(crate) fn row(worker: u8) -> lucid_score::worker_stats::ScoreRow {
    lucid_score::worker_stats::ScoreRow {
        worker: lucid_types::id::NodeId::from_bytes([worker; 32]),
        earned: Default::default(),
        sharers: 1,
        credits: Default::default(),
        reachable_ms: 0,
        components: Default::default(),
        score: Default::default(),
        aggregate: Default::default(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::id::NetworkId;

    use super::*;

    #[test]
    fn scores_are_there_for_a_year() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), NetworkId::from_bytes([1; 32])).unwrap();
        let scores = EpochScores { epoch: Epoch::new(7), rows: Vec::new() };
        let time = UnixMillis::new(1_000_000);
        store.write_history(&[record(time, &scores)], &[]).unwrap();
        let year = Duration::from_secs(365 * 86_400);
        let at = |epoch, now| of(&store, Epoch::new(epoch), now).unwrap();
        assert_eq!(at(7, time), Some(scores.clone()));
        assert_eq!(at(8, time), None);
        assert_eq!(at(7, time.after(year).before(Duration::from_millis(1))), Some(scores));
        assert_eq!(at(7, time.after(year)), None);
    }

    #[test]
    fn rows_out_of_order_are_no_scores() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), NetworkId::from_bytes([1; 32])).unwrap();
        let time = UnixMillis::new(1_000_000);
        let stored = |workers: &[u8]| {
            let rows = workers.iter().map(|worker| row(*worker)).collect();
            let scores = EpochScores { epoch: Epoch::new(7), rows };
            store.write_history(&[record(time, &scores)], &[]).unwrap();
            (scores, of(&store, Epoch::new(7), time))
        };
        let (scores, found) = stored(&[1, 2]);
        assert_eq!(found.unwrap(), Some(scores));
        // A row that the root does not cover, as it is not reached.
        for workers in [&[1, 2, 1][..], &[2, 1], &[1, 1]] {
            let (_, found) = stored(workers);
            assert!(matches!(found, Err(ScoresError::Damaged(_))), "{workers:?}");
        }
        let bytes = HistoryRecord { value: vec![1], ..record(time, &stored(&[1]).0) };
        store.write_history(&[bytes], &[]).unwrap();
        assert!(matches!(of(&store, Epoch::new(7), time), Err(ScoresError::Damaged(_))));
    }
}
