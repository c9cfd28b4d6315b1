//! What validators found when this node asked them to ping a worker out of turn: signed, and in no report. A node keeps what it asked for itself,
//! which is bounded by how often it is answered: one validation of a worker in an epoch by each validator.

use std::time::Duration;

use lucid_storage::{HistoryKind, HistoryRecord, StorageError, Store};
use lucid_types::codec::{decode, encode};
use lucid_types::id::NodeId;
use lucid_types::signed::{Signed, Verified};
use lucid_types::time::UnixMillis;
use lucid_types::validation::ValidationResult;

use crate::history::DAY;

/// How long they are kept.
const KEPT: Duration = DAY.saturating_mul(90);

/// By the worker, then by time.
fn key(result: &ValidationResult) -> Vec<u8> {
    let time = result.time.get().to_be_bytes();
    [result.worker.as_bytes().as_slice(), &time, result.validator.as_bytes()].concat()
}

/// The record of a result that came now.
pub fn record(now: UnixMillis, signed: &Verified<Signed<ValidationResult>>) -> HistoryRecord {
    let (key, value) = (key(&signed.record), encode::<Signed<ValidationResult>>(signed));
    HistoryRecord { kind: HistoryKind::Validation, key, value, expires: Some(now.after(KEPT)) }
}

fn parse(HistoryRecord { key: found, value, .. }: &HistoryRecord) -> Option<Signed<ValidationResult>> {
    let signed = decode::<Signed<ValidationResult>>(value).ok()?;
    (*found == key(&signed.record)).then_some(signed)
}

/// The newest validations of a worker, at most `limit`, newest first.
///
/// # Errors
/// The store could not be read.
pub fn of(
    store: &Store,
    worker: &NodeId,
    limit: usize,
    now: UnixMillis,
) -> Result<Vec<Signed<ValidationResult>>, StorageError> {
    let records = store.history_newest(HistoryKind::Validation, worker.as_bytes(), limit, now)?;
    Ok(records.iter().filter_map(parse).collect())
}

/// Whether a record is one that this module writes.
pub(crate) fn is_sound(record: &HistoryRecord) -> bool {
    parse(record).is_some()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::id::NetworkId;
    use lucid_types::key::NodeKey;
    use lucid_types::log_scale::LogScale;
    use lucid_types::network_group::NetworkGroup;

    use super::*;

    const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);

    fn signed(worker: u8, time: u64, validator: u8) -> Verified<Signed<ValidationResult>> {
        let key = NodeKey::from_seed(&[validator; 32]);
        let result = ValidationResult {
            validator: key.account(),
            worker: NodeId::from_bytes([worker; 32]),
            time: UnixMillis::new(time),
            pings_sent: 4,
            pings_answered: 1,
            rtt_us: LogScale::encode(700),
            group: Some(NetworkGroup::NONE),
        };
        key.sign_validation(&NETWORK, result)
    }

    #[test]
    fn validations_of_a_worker_are_kept_for_ninety_days() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), NETWORK).unwrap();
        let now = UnixMillis::new(1_000_000);
        let all = [(7, 10, 1), (7, 300, 1), (7, 300, 2), (8, 20, 1), (255, 30, 1)];
        let records: Vec<_> = all.map(|(worker, time, by)| record(now, &signed(worker, time, by))).to_vec();
        assert!(records.iter().all(is_sound));
        store.write_history(&records, &[]).unwrap();
        let found = |worker, limit, now| {
            let found = of(&store, &NodeId::from_bytes([worker; 32]), limit, now).unwrap();
            found.iter().map(|it| it.record.time.get()).collect::<Vec<_>>()
        };
        assert_eq!(found(7, 9, now), [300, 300, 10]);
        assert_eq!(found(7, 1, now), [300]);
        assert_eq!((found(255, 9, now), found(9, 9, now)), (vec![30], vec![]));
        let last = now.after(Duration::from_secs(90 * 86_400 - 1));
        assert_eq!(found(8, 9, last), [20]);
        assert!(found(8, 9, now.after(Duration::from_secs(90 * 86_400))).is_empty());
    }

    #[test]
    fn other_records_are_not_sound() {
        let good = record(UnixMillis::new(9), &signed(7, 10, 1));
        let of_another = record(UnixMillis::new(9), &signed(8, 10, 1));
        assert!(is_sound(&good));
        assert!(!is_sound(&HistoryRecord { key: of_another.key, ..good.clone() }));
        assert!(!is_sound(&HistoryRecord { value: good.value[1..].to_vec(), ..good }));
    }
}
