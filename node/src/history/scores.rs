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
pub fn record(time: UnixMillis, scores: Option<&EpochScores>) -> Option<HistoryRecord> {
    let scores = scores?;
    let key = scores.epoch.get().to_be_bytes().to_vec();
    Some(HistoryRecord { kind: HistoryKind::Score, key, value: encode(scores), expires: Some(time.after(KEPT)) })
}

/// The scores of an epoch; `None` if there are none yet, or not any more.
///
/// # Errors
/// The store could not be read.
pub fn of(store: &Store, epoch: Epoch, now: UnixMillis) -> Result<Option<EpochScores>, StorageError> {
    let scores = store.history_record(HistoryKind::Score, &epoch.get().to_be_bytes(), now)?;
    Ok(scores.and_then(|bytes| decode(&bytes).ok()))
}

/// The scores in a record, if it is one that this module writes.
pub(crate) fn parse(HistoryRecord { key, value, .. }: &HistoryRecord) -> Option<EpochScores> {
    decode::<EpochScores>(value).ok().filter(|scores| *key == scores.epoch.get().to_be_bytes())
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
        store.write_history(record(time, Some(&scores)).as_slice(), &[]).unwrap();
        let year = Duration::from_secs(365 * 86_400);
        let at = |epoch, now| of(&store, Epoch::new(epoch), now).unwrap();
        assert_eq!(at(7, time), Some(scores.clone()));
        assert_eq!(at(8, time), None);
        assert_eq!(at(7, time.after(year).before(Duration::from_millis(1))), Some(scores));
        assert_eq!(at(7, time.after(year)), None);
        assert_eq!(record(time, None), None);
    }
}
