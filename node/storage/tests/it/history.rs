//! Records for queries: their order, their replacement, and their end.

use std::collections::BTreeMap;

use lucid_storage::{HistoryKind, HistoryRecord, Store};
use lucid_types::time::UnixMillis;
use proptest::prelude::*;

use crate::support::{EARLY, commit, millis, open};

#[test]
fn history_is_read_by_kind_and_prefix_from_both_ends() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut first = commit(1);
    let record = |kind, key: &[u8], value: &[u8]| HistoryRecord {
        kind,
        key: key.to_vec(),
        value: value.to_vec(),
        expires: None,
    };
    first.history = vec![
        record(HistoryKind::Payout, &[0xff, 2], b"second"),
        record(HistoryKind::Payout, &[0xff, 1], b"first"),
        record(HistoryKind::Payout, &[0xfe, 9], b"other"),
        record(HistoryKind::Score, &[0xff, 1], b"score"),
    ];
    store.commit_block(first).unwrap();

    let values = |records: Vec<HistoryRecord>| records.into_iter().map(|record| record.value).collect::<Vec<_>>();
    let payouts = |prefix: &[u8], limit| values(store.history(HistoryKind::Payout, prefix, limit, EARLY).unwrap());
    assert_eq!(payouts(&[], 9), [&b"other"[..], b"first", b"second"]);
    assert_eq!(payouts(&[0xff], 9), [&b"first"[..], b"second"]);
    assert_eq!(payouts(&[0xff], 1), [&b"first"[..]]);
    let newest = |limit| values(store.history_newest(HistoryKind::Payout, &[0xff], limit, EARLY).unwrap());
    assert_eq!(newest(9), [&b"second"[..], b"first"]);
    assert_eq!(newest(1), [&b"second"[..]]);
    let before = |end: &[u8]| values(store.history_before(HistoryKind::Payout, &[0xff], end, 9, EARLY).unwrap());
    assert_eq!(before(&[0xff, 3]), [&b"second"[..], b"first"]);
    assert_eq!(before(&[0xff, 2]), [&b"first"[..]]);
    assert!(before(&[0xff, 1]).is_empty());
    assert_eq!(values(store.history(HistoryKind::Score, &[], 9, EARLY).unwrap()), [&b"score"[..]]);
    assert_eq!(store.history_record(HistoryKind::Score, &[0xff, 1], EARLY).unwrap().unwrap(), b"score");
    assert_eq!(store.history_record(HistoryKind::Score, &[0xfe, 9], EARLY).unwrap(), None);
}

#[test]
fn history_without_a_block_is_written_and_removed_in_one_batch() {
    let folder = tempfile::tempdir().unwrap();
    let record = |key: &[u8], value: &[u8]| HistoryRecord {
        kind: HistoryKind::Vault,
        key: key.to_vec(),
        value: value.to_vec(),
        expires: None,
    };
    {
        let store = open(folder.path());
        store.write_history(&[record(b"a", b"1"), record(b"b", b"2")], &[]).unwrap();
        let removed = [(HistoryKind::Vault, b"a".to_vec()), (HistoryKind::Payout, b"b".to_vec())];
        store.write_history(&[record(b"c", b"3"), record(b"b", b"4")], &removed).unwrap();
    }
    let store = open(folder.path());
    assert_eq!(store.history(HistoryKind::Vault, &[], 9, EARLY).unwrap(), [record(b"b", b"4"), record(b"c", b"3")]);
    assert_eq!(store.head(), None);
}

fn metric(key: &[u8], value: &[u8], expires: Option<u64>) -> HistoryRecord {
    HistoryRecord {
        kind: HistoryKind::Metric,
        key: key.to_vec(),
        value: value.to_vec(),
        expires: expires.map(UnixMillis::new),
    }
}

#[test]
fn a_record_whose_time_is_over_is_not_returned_whether_it_is_removed_yet_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let records = [metric(b"a", b"1", Some(10)), metric(b"b", b"2", None), metric(b"c", b"3", Some(11))];
    store.write_history(&records, &[]).unwrap();
    for removed in [false, true] {
        let read = |now, limit| store.history(HistoryKind::Metric, &[], limit, millis(now)).unwrap();
        if !removed {
            assert_eq!(read(9, 9), records);
            assert_eq!(read(9, 2), records[..2]);
        }
        assert_eq!(read(10, 9), records[1..]);
        assert_eq!(read(10, 1), records[1..2], "the limit counts what is returned");
        assert_eq!(read(11, 9), records[1..2]);
        let newest = store.history_newest(HistoryKind::Metric, &[], 1, millis(11)).unwrap();
        assert_eq!(newest, records[1..2]);
        let before = store.history_before(HistoryKind::Metric, &[], b"c", 9, millis(10)).unwrap();
        assert_eq!(before, records[1..2]);
        let one = |key, now| store.history_record(HistoryKind::Metric, key, millis(now)).unwrap();
        assert_eq!(one(b"a", 10), None);
        assert_eq!(one(b"c", 10), Some(b"3".to_vec()));
        assert_eq!(one(b"b", u64::MAX), Some(b"2".to_vec()));
        if !removed {
            assert_eq!(store.expire_history(millis(10), 9).unwrap(), 1);
            assert_eq!(store.expire_history(millis(10), 9).unwrap(), 0);
        }
    }
    // With a time from before: it was really removed.
    assert_eq!(store.history(HistoryKind::Metric, &[], 9, EARLY).unwrap(), records[1..]);
}

#[test]
fn expiring_takes_what_is_due_first_and_no_more_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let records: Vec<_> = (0..10).map(|i| metric(&[i], b"v", Some(100 - u64::from(i)))).collect();
    store.write_history(&records, &[]).unwrap();
    assert_eq!(store.expire_history(millis(95), 2).unwrap(), 2);
    assert_eq!(store.history(HistoryKind::Metric, &[], 99, EARLY).unwrap(), records[..8]);
    assert_eq!(store.expire_history(millis(95), 99).unwrap(), 3);
    assert_eq!(store.history(HistoryKind::Metric, &[], 99, EARLY).unwrap(), records[..5]);
    assert_eq!(store.expire_history(millis(u64::MAX), 99).unwrap(), 5);
    assert_eq!(store.expire_history(millis(u64::MAX), 99).unwrap(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Write { key: u8, value: u8, expires: Option<u64> },
    Remove { key: u8 },
    Expire { now: u64, limit: usize },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u8, any::<u8>(), proptest::option::of(0..20_u64))
            .prop_map(|(key, value, expires)| Step::Write { key, value, expires }),
        1 => (0..6_u8).prop_map(|key| Step::Remove { key }),
        3 => (0..20_u64, 0..5_usize).prop_map(|(now, limit)| Step::Expire { now, limit }),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Against a map: at any time exactly those records are returned that were written last under their key, were not
    /// removed, and do not expire until then; and expiring to the end removes exactly those that are due.
    #[test]
    fn records_live_until_their_last_expiry(steps in proptest::collection::vec(step(), 1..50)) {
        let folder = tempfile::tempdir().unwrap();
        let mut store: Option<Store> = Some(open(folder.path()));
        let mut model: BTreeMap<u8, HistoryRecord> = BTreeMap::new();
        let mut expired_at = 0;
        for step in steps {
            let opened = store.get_or_insert_with(|| open(folder.path()));
            match step {
                Step::Write { key, value, expires } => {
                    let record = metric(&[key], &[value], expires);
                    opened.write_history(std::slice::from_ref(&record), &[]).unwrap();
                    model.insert(key, record);
                }
                Step::Remove { key } => {
                    opened.write_history(&[], &[(HistoryKind::Metric, vec![key])]).unwrap();
                    model.remove(&key);
                }
                Step::Expire { now, limit } => {
                    prop_assert!(opened.expire_history(millis(now), limit).unwrap() <= limit);
                    expired_at = expired_at.max(now);
                }
                Step::Reopen => store = None,
            }
            let opened = store.get_or_insert_with(|| open(folder.path()));
            for now in [expired_at, expired_at + 1, 30] {
                let alive = model.values().filter(|record| record.expires.is_none_or(|end| end > millis(now)));
                let alive: Vec<_> = alive.cloned().collect();
                prop_assert_eq!(opened.history(HistoryKind::Metric, &[], 99, millis(now)).unwrap(), alive);
            }
        }
        let store = store.unwrap_or_else(|| open(folder.path()));
        while store.expire_history(millis(7), 2).unwrap() == 2 {}
        model.retain(|_, record| record.expires.is_none_or(|end| end > millis(7.max(expired_at))));
        let mut left = store.history(HistoryKind::Metric, &[], 99, EARLY).unwrap();
        // What was due at a time that an earlier call was given may be there or not, by that call's limit.
        left.retain(|record| record.expires.is_none_or(|end| end > millis(7.max(expired_at))));
        prop_assert_eq!(left, model.into_values().collect::<Vec<_>>());
    }
}
