//! How this node's machine went, over time: mean and greatest value of each figure in spans of a minute to an hour.
//!
//! The spans are made in memory ([`crate::sampler::rings`]) and written once a minute, those that have not ended too. What is written
//! later replaces what was written of a span before. Of this node only, so the disk that it takes is bounded: 166,000 records in
//! 90 days, 35 MB.

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_storage::{HistoryKind, HistoryRecord, StorageError, Store};
use lucid_types::codec::{decode, encode};
use lucid_types::time::UnixMillis;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;

use crate::history::DAY;
use crate::sampler::rings::{Bucket, Figures, Granularity, Rings};
use crate::sampler::{SamplerHandle, SharedRings};

/// How long a span is kept after its end.
const KEPT: Duration = DAY.saturating_mul(90);
/// How often spans are written.
const PERIOD: Duration = Duration::from_secs(60);

/// Why spans are not kept any more.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// They cannot be written.
    #[error(transparent)]
    Store(#[from] StorageError),
    /// Nobody samples the machine any more.
    #[error("the thread that samples the machine has ended")]
    Ended,
}

/// A length's key space within `HistoryKind::Resource`.
const fn tag(granularity: Granularity) -> u8 {
    match granularity {
        Granularity::Minute => 1,
        Granularity::FiveMinutes => 2,
        Granularity::QuarterHour => 3,
        Granularity::Hour => 4,
    }
}

fn key(granularity: Granularity, from: UnixMillis) -> Vec<u8> {
    [&[tag(granularity)], from.get().to_be_bytes().as_slice()].concat()
}

fn record(granularity: Granularity, Bucket { from, figures }: &Bucket) -> HistoryRecord {
    HistoryRecord {
        kind: HistoryKind::Resource,
        key: key(granularity, *from),
        value: encode(figures),
        // Of the span, so that a record that replaces another takes its place in the order of expiry, too.
        expires: Some(from.after(granularity.length()).after(KEPT)),
    }
}

fn parse(HistoryRecord { key, value, .. }: &HistoryRecord) -> Option<Bucket> {
    let (tag_found, from) = key.split_first()?;
    let granularity = Granularity::ALL.into_iter().find(|it| tag(*it) == *tag_found)?;
    let from = UnixMillis::new(u64::from_be_bytes(from.try_into().ok()?));
    let figures = decode::<Figures>(value).ok()?;
    (granularity.start(from) == from).then_some(Bucket { from, figures })
}

/// The spans in which `now` lies, as far as they were written when the node stopped: they go on.
///
/// # Errors
/// The store could not be read.
pub fn resume(store: &Store, now: UnixMillis) -> Result<Rings, StorageError> {
    let mut open = Vec::new();
    for granularity in Granularity::ALL {
        let key = key(granularity, granularity.start(now));
        let value = store.history_record(HistoryKind::Resource, &key, now)?;
        let figures = value.and_then(|bytes| decode(&bytes).ok());
        open.extend(figures.map(|figures| (granularity, Bucket { from: granularity.start(now), figures })));
    }
    Ok(Rings::resume(open))
}

/// Keeps what is sampled until `stop`; then writes the rest, and ends the sampler.
///
/// # Errors
/// The store failed, or the sampler has ended by itself.
pub async fn keep(store: Store, mut sampler: SamplerHandle, stop: CancellationToken) -> Result<(), KeepError> {
    let rings = sampler.rings();
    let mut ticks = interval_at(Instant::now() + PERIOD, PERIOD);
    loop {
        let is_over = tokio::select! {
            () = stop.cancelled() => true,
            () = sampler.ended() => return Err(KeepError::Ended),
            _ = ticks.tick() => false,
        };
        write(&store, &rings).await?;
        if is_over {
            return Ok(());
        }
    }
}

async fn write(store: &Store, rings: &SharedRings) -> Result<(), StorageError> {
    let changed = rings.lock().take_changed();
    let records: Vec<_> = changed.iter().map(|(granularity, bucket)| record(*granularity, bucket)).collect();
    if records.is_empty() {
        return Ok(());
    }
    let store = store.clone();
    let written = spawn_blocking(move || store.write_history(&records, &[])).await;
    written.unwrap_or_else(|panic| {
        tracing::error!(%panic, "the machine's figures were not kept");
        Ok(())
    })
}

/// The newest spans of a length that began at `from` or later and before `to`, at most `limit`, newest first. The newest have not
/// ended, and may not be written yet.
///
/// # Errors
/// The store could not be read.
pub fn of(
    store: &Store,
    rings: &SharedRings,
    granularity: Granularity,
    (from, to): (UnixMillis, UnixMillis),
    limit: usize,
    now: UnixMillis,
) -> Result<Vec<Bucket>, StorageError> {
    let (prefix, end) = ([tag(granularity)], key(granularity, to));
    let records = store.history_before(HistoryKind::Resource, &prefix, &end, limit, now)?;
    let written = records.iter().filter_map(parse).take_while(|bucket| bucket.from >= from);
    // What is in memory is newer than what is written of the same span.
    let in_memory = rings.lock().between(granularity, (from, to));
    let all: BTreeMap<_, _> = written.chain(in_memory).map(|bucket| (bucket.from, bucket)).collect();
    Ok(all.into_values().rev().take(limit).collect())
}

/// Whether a record is one that this module writes.
pub(crate) fn is_sound(record: &HistoryRecord) -> bool {
    parse(record).is_some()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and wait for their tasks")]
mod tests {
    use std::sync::Arc;

    use lucid_types::amount::Ppm;
    use lucid_types::id::NetworkId;

    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::sampler::tests::sample;
    use crate::sampler::{Sample, spawn};

    const MINUTE: u64 = 60_000;
    /// A whole hour.
    const START: u64 = 500_000 * 60 * MINUTE;
    const ALL: (UnixMillis, UnixMillis) = (UnixMillis::ZERO, UnixMillis::new(u64::MAX));

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), NetworkId::from_bytes([1; 32])).unwrap();
        (folder, store)
    }

    fn at(minute: u64) -> UnixMillis {
        UnixMillis::new(START + minute * MINUTE)
    }

    fn add(rings: &SharedRings, minute: u64, cpu: u32) {
        rings.lock().add(&Sample { time: at(minute), cpu: Ppm::new(cpu), ..sample() });
    }

    /// Minutes after the start, samples and mean CPU.
    fn told(found: &[Bucket]) -> Vec<(u64, u32, i64)> {
        let told = |it: &Bucket| {
            let cpu = it.figures.cpu;
            ((it.from.get() - START) / MINUTE, cpu.samples(), cpu.mean_and_max().unwrap().0)
        };
        found.iter().map(told).collect()
    }

    #[tokio::test]
    async fn spans_are_kept_for_ninety_days_and_go_on_after_a_restart() {
        let (_folder, store) = store();
        let rings = SharedRings::default();
        let found = |rings: &SharedRings, granularity, range, limit, now| {
            told(&of(&store, rings, granularity, range, limit, now).unwrap())
        };
        for minute in 0..=61 {
            add(&rings, minute, 10);
        }
        let (minutes, hours) = (Granularity::Minute, Granularity::Hour);
        assert_eq!(found(&rings, hours, ALL, 9, at(61)), [(60, 2, 10), (0, 60, 10)], "before it is written");
        write(&store, &rings).await.unwrap();
        add(&rings, 61, 30);
        assert_eq!(found(&rings, minutes, ALL, 2, at(61)), [(61, 2, 20), (60, 1, 10)], "memory is newer");
        write(&store, &rings).await.unwrap();

        // After a restart.
        let resumed = SharedRings::new(resume(&store, at(61)).unwrap());
        assert_eq!(found(&resumed, minutes, ALL, 1_000, at(61)).len(), 62 - 2, "the ring had dropped two before");
        add(&resumed, 61, 50);
        add(&resumed, 62, 50);
        assert_eq!(found(&resumed, minutes, ALL, 3, at(62)), [(62, 1, 50), (61, 3, 30), (60, 1, 10)]);
        assert_eq!(found(&resumed, hours, ALL, 1, at(62)), [(60, 5, 30)]);
        write(&store, &resumed).await.unwrap();
        // From is within, to is not.
        assert_eq!(found(&resumed, minutes, (at(60), at(62)), 9, at(62)), [(61, 3, 30), (60, 1, 10)]);
        assert_eq!(found(&resumed, minutes, (at(60), at(62)), 1, at(62)), [(61, 3, 30)]);
        assert_eq!(found(&resumed, minutes, (at(200), at(300)), 9, at(62)), []);
        // Long after, nothing goes on.
        assert_eq!(resume(&store, at(500)).unwrap().between(minutes, ALL), []);

        let records = store.history(HistoryKind::Resource, &[], usize::MAX, at(62)).unwrap();
        assert!(records.iter().all(is_sound));
        let none = SharedRings::default();
        let over = at(61).after(KEPT);
        assert_eq!(found(&none, minutes, ALL, 9, over), [(62, 1, 50), (61, 3, 30)], "60 is over");
        assert_eq!(found(&none, hours, ALL, 9, over), [(60, 5, 30)]);
        store.expire_history(over, 10_000).unwrap();
        let left = store.history(HistoryKind::Resource, &[], usize::MAX, UnixMillis::ZERO).unwrap();
        // Two minutes, the last five minutes, the last quarter and the last hour.
        assert_eq!(left.len(), 5);
    }

    #[test]
    fn other_records_are_not_sound() {
        let good = record(Granularity::FiveMinutes, &Bucket { from: at(5), figures: Figures::default() });
        assert!(is_sound(&good));
        let with_key = |key: Vec<u8>| HistoryRecord { key, ..good.clone() };
        assert!(!is_sound(&with_key(key(Granularity::QuarterHour, at(5)))), "no quarter of an hour begins then");
        assert!(!is_sound(&with_key([&[9], &good.key[1..]].concat())), "no such length");
        assert!(!is_sound(&with_key(good.key[..8].to_vec())));
        assert!(!is_sound(&HistoryRecord { value: vec![0; 139], ..good }));
    }

    #[tokio::test]
    async fn what_was_sampled_is_written_at_the_stop() {
        let (folder, store) = store();
        let sampler = spawn(folder.path(), Arc::new(SystemClock), Rings::default()).unwrap();
        let (mut newest, stop) = (sampler.newest(), CancellationToken::new());
        let keeper = tokio::spawn(keep(store.clone(), sampler, stop.clone()));
        newest.wait_for(Option::is_some).await.unwrap();
        stop.cancel();
        keeper.await.unwrap().unwrap();
        let found = of(&store, &SharedRings::default(), Granularity::Hour, ALL, 9, SystemClock.now()).unwrap();
        assert!(found.iter().map(|it| it.figures.disk.samples()).sum::<u32>() > 0, "{found:?}");
        while newest.changed().await.is_ok() {}
    }
}
