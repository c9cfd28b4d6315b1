//! What scores were made from, written with the block that makes them final: of each epoch who was to measure whom, and one record for each
//! report; and of each worker its stats before a settlement, with its first score in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::ledger::state::FinalEpoch;
use lucid_score::draw::{EpochDraw, ScoredWorker};
use lucid_score::worker_stats::WorkerStats;
use lucid_storage::{HistoryKind, HistoryRecord, StorageError, Store};
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::id::{NodeId, ValidatorId};
use lucid_types::report::{Observation, ScoreReport};
use lucid_types::time::{Epoch, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::history::DAY;

/// How many days they are kept after the block. In a great network an epoch's take 600 KB.
pub const DAYS: u32 = 7;

const KEPT: Duration = DAY.saturating_mul(DAYS);

/// How long the stats before a settlement are kept: as long as the scores that follow from them. 2,000 of them take 2 MB.
const STATS_KEPT: Duration = DAY.saturating_mul(365);

// Key spaces within `HistoryKind::Report`.
const DRAW: u8 = 0;
const REPORT: u8 = 1;
const STATS: u8 = 2;

/// A validator's report, if it revealed the one that it had committed to.
#[derive(Serialize, Deserialize)]
struct Committed(Option<ScoreReport>);

impl Wire for Committed {
    const MAX_BYTES: usize = 1 + ScoreReport::MAX_BYTES;
}

/// What is kept of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochReports {
    /// Who was to measure whom.
    pub draw: EpochDraw,
    /// The reports of those that committed to one; `None` where it was not revealed in time.
    pub reports: BTreeMap<ValidatorId, Option<ScoreReport>>,
}

fn draw_key(epoch: Epoch) -> Vec<u8> {
    [&[DRAW], epoch.get().to_be_bytes().as_slice()].concat()
}

fn reports_key(epoch: Epoch) -> Vec<u8> {
    [&[REPORT], epoch.get().to_be_bytes().as_slice()].concat()
}

fn stats_key(settlement: u64, worker: &NodeId) -> Vec<u8> {
    [&[STATS], settlement.to_be_bytes().as_slice(), worker.as_bytes()].concat()
}

/// The records of the epoch, of this settlement, that a block of this time makes final.
pub fn records(time: UnixMillis, settlement: u64, it: &FinalEpoch) -> Vec<HistoryRecord> {
    let FinalEpoch { scores, draw, reports, before } = it;
    let record = |key, value, kept| {
        let expires = Some(time.after(kept));
        HistoryRecord { kind: HistoryKind::Report, key, value, expires }
    };
    let report = |(validator, report): &(ValidatorId, Option<ScoreReport>)| {
        let key = [reports_key(scores.epoch).as_slice(), validator.as_bytes()].concat();
        record(key, encode(&Committed(report.clone())), KEPT)
    };
    let stats = |(worker, stats): &(NodeId, Arc<WorkerStats>)| {
        record(stats_key(settlement, worker), encode(&**stats), STATS_KEPT)
    };
    let draw = record(draw_key(scores.epoch), encode(draw), KEPT);
    std::iter::once(draw).chain(reports.iter().map(report)).chain(before.iter().map(stats)).collect()
}

/// What is kept of an epoch; `None` if it has no final scores, or had them too long ago.
///
/// # Errors
/// The store could not be read.
pub fn of(store: &Store, epoch: Epoch, now: UnixMillis) -> Result<Option<EpochReports>, StorageError> {
    let Some(draw) = draw(store, epoch, now)? else { return Ok(None) };
    let records = store.history(HistoryKind::Report, &reports_key(epoch), usize::MAX, now)?;
    let report = |HistoryRecord { key, value, .. }: HistoryRecord| {
        let validator: [u8; 32] = key.get(9..)?.try_into().ok()?;
        Some((ValidatorId::from_bytes(validator), decode::<Committed>(&value).ok()?.0))
    };
    Ok(Some(EpochReports { draw, reports: records.into_iter().filter_map(report).collect() }))
}

/// Who was to measure whom in an epoch, likewise.
///
/// # Errors
/// The store could not be read.
pub fn draw(store: &Store, epoch: Epoch, now: UnixMillis) -> Result<Option<EpochDraw>, StorageError> {
    let draw = store.history_record(HistoryKind::Report, &draw_key(epoch), now)?;
    Ok(draw.and_then(|bytes| decode(&bytes).ok()))
}

/// A worker's stats before a settlement; `None` if it was not measured in it, or that is not known here.
///
/// # Errors
/// The store could not be read.
pub fn before(
    store: &Store,
    settlement: u64,
    worker: &NodeId,
    now: UnixMillis,
) -> Result<Option<WorkerStats>, StorageError> {
    let stats = store.history_record(HistoryKind::Report, &stats_key(settlement, worker), now)?;
    Ok(stats.and_then(|bytes| decode(&bytes).ok()))
}

impl EpochReports {
    /// What a validator measured of the workers of whom it holds seats, with their number; `None` if it revealed nothing.
    pub fn measured_by(&self, key: &ValidatorId) -> Option<Vec<(&ScoredWorker, u8, Option<Observation>)>> {
        let assigned: Vec<_> = self.draw.assignment(key)?.collect();
        let workers: Vec<_> = assigned.iter().map(|(worker, _)| worker.assigned()).collect();
        let observations = self.reports.get(key)?.as_ref()?.observations(&workers).ok()?;
        let measured = |((worker, seats), seen)| (worker, seats, seen);
        Some(assigned.into_iter().zip(observations).map(measured).collect())
    }
}

/// Whether a record is one that this module writes.
pub(crate) fn is_sound(HistoryRecord { key, value, .. }: &HistoryRecord) -> bool {
    match (key.first(), key.len()) {
        (Some(&DRAW), 9) => decode::<EpochDraw>(value).is_ok(),
        (Some(&REPORT), 41) => {
            let is_of = |report: &ScoreReport| key.get(1..9) == Some(&report.epoch.get().to_be_bytes());
            decode::<Committed>(value).is_ok_and(|committed| committed.0.as_ref().is_none_or(is_of))
        }
        (Some(&STATS), 41) => decode::<WorkerStats>(value).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_consensus::ledger::state::EpochScores;
    use lucid_types::amount::Ppm;
    use lucid_types::id::{Hash, NetworkId};

    use super::*;

    #[test]
    fn reports_are_there_for_a_week() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), NetworkId::from_bytes([1; 32])).unwrap();
        let (epoch, time) = (Epoch::new(7), UnixMillis::new(1_000_000));
        let keys: Vec<_> = (1..=3).map(|byte| ValidatorId::from_bytes([byte; 32])).collect();
        let draw = EpochDraw { seed: Hash::derive("test", &[]), reporters: keys.clone(), scored: Vec::new() };
        let written = |epoch| FinalEpoch {
            scores: EpochScores { epoch, rows: Vec::new() },
            draw: draw.clone(),
            reports: vec![(keys[0], Some(ScoreReport::new(epoch, &[], &[]))), (keys[2], None)],
            before: Vec::new(),
        };
        for epoch in [epoch, epoch.next()] {
            let records = records(time, 1, &written(epoch));
            assert!(records.iter().all(is_sound));
            store.write_history(&records, &[]).unwrap();
        }
        let reports = BTreeMap::from([(keys[0], Some(ScoreReport::new(epoch, &[], &[]))), (keys[2], None)]);
        let found = |epoch, now| of(&store, epoch, now).unwrap();
        let week = Duration::from_secs(7 * 86_400);
        assert_eq!(found(epoch, time), Some(EpochReports { draw: draw.clone(), reports: reports.clone() }));
        assert_eq!(
            found(epoch, time.after(week).before(Duration::from_millis(1))),
            Some(EpochReports { draw, reports })
        );
        assert_eq!(found(epoch, time.after(week)), None);
        assert_eq!(found(epoch.previous(), time), None);
    }

    #[test]
    fn a_report_of_another_epoch_is_not_sound() {
        let record = |epoch| {
            let scores = EpochScores { epoch: Epoch::new(7), rows: Vec::new() };
            let draw = EpochDraw { seed: Hash::derive("test", &[]), reporters: Vec::new(), scored: Vec::new() };
            let reports = vec![(ValidatorId::from_bytes([1; 32]), Some(ScoreReport::new(Epoch::new(epoch), &[], &[])))];
            records(UnixMillis::new(1), 1, &FinalEpoch { scores, draw, reports, before: Vec::new() }).pop().unwrap()
        };
        assert!(is_sound(&record(7)));
        assert!(!is_sound(&record(8)));
        assert!(!is_sound(&HistoryRecord { value: vec![9], ..record(7) }));
    }

    #[test]
    fn the_stats_before_a_settlement_are_there_for_a_year() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), NetworkId::from_bytes([1; 32])).unwrap();
        let (time, node) = (UnixMillis::new(1_000_000), |byte| NodeId::from_bytes([byte; 32]));
        let with = |score| {
            let mut stats = WorkerStats::default();
            stats.score = Ppm::new(score);
            stats
        };
        let written = |epoch, stats: Vec<(NodeId, WorkerStats)>| FinalEpoch {
            scores: EpochScores { epoch: Epoch::new(epoch), rows: Vec::new() },
            draw: EpochDraw { seed: Hash::derive("test", &[]), reporters: Vec::new(), scored: Vec::new() },
            reports: Vec::new(),
            before: stats.into_iter().map(|(node, stats)| (node, Arc::new(stats))).collect(),
        };
        // Worker 2 is measured later in the settlement than the others.
        for (settlement, epoch, stats) in [
            (4, 7, vec![(node(1), with(10)), (node(3), with(30))]),
            (4, 8, vec![(node(2), with(20))]),
            (5, 9, vec![(node(1), with(11))]),
        ] {
            let records = records(time, settlement, &written(epoch, stats));
            assert!(records.iter().all(is_sound));
            store.write_history(&records, &[]).unwrap();
        }
        let found = |settlement, byte, now| {
            before(&store, settlement, &node(byte), now).unwrap().map(|stats| stats.score.get())
        };
        assert_eq!([1, 2, 3].map(|byte| found(4, byte, time)), [Some(10), Some(20), Some(30)]);
        assert_eq!([1, 2, 3].map(|byte| found(5, byte, time)), [Some(11), None, None]);
        let year = time.after(Duration::from_secs(365 * 86_400));
        assert_eq!(found(4, 1, year.before(Duration::from_millis(1))), Some(10));
        assert_eq!(found(4, 1, year), None);
        let damaged = HistoryRecord {
            kind: HistoryKind::Report,
            key: stats_key(4, &node(1)),
            value: encode(&with(10))[1..].to_vec(),
            expires: None,
        };
        assert!(!is_sound(&damaged));
    }
}
