//! Removes records whose time is over from the disk.

use std::sync::Arc;
use std::time::Duration;

use lucid_storage::{StorageError, Store};
use lucid_types::time::UnixMillis;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::clock::Clock;
use crate::history::DAY;

/// How often it is looked for them.
const PERIOD: Duration = Duration::from_secs(60);
/// Records that are looked at before others may write again.
const BATCH: usize = 1_000;

/// Removes expired history until `stop`.
///
/// # Errors
/// The store failed.
pub async fn run(
    store: Store,
    clock: Arc<dyn Clock>,
    head: watch::Receiver<Head>,
    stop: CancellationToken,
) -> Result<(), StorageError> {
    run_every(PERIOD, store, clock, head, stop).await
}

async fn run_every(
    period: Duration,
    store: Store,
    clock: Arc<dyn Clock>,
    head: watch::Receiver<Head>,
    stop: CancellationToken,
) -> Result<(), StorageError> {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let now = now(clock.now(), head.borrow().state.time());
        let mut is_more = true;
        while is_more && !stop.is_cancelled() {
            let store = store.clone();
            let looked_at = spawn_blocking(move || store.expire_history(now, BATCH)).await;
            // A panic ends the sweep, the next tick begins another.
            is_more = looked_at.unwrap_or(Ok(0))? == BATCH;
        }
    }
}

/// The time up to which records are removed. A clock that is set years ahead must not remove what cannot be had again, so it counts no
/// further than a day beyond the newest block.
fn now(clock: UnixMillis, newest_block: UnixMillis) -> UnixMillis {
    clock.min(newest_block.after(DAY))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and wait for their tasks")]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use lucid_storage::{HistoryKind, HistoryRecord};

    use super::*;
    use crate::payout::testing::{self, network};

    struct Set(AtomicU64);

    impl Clock for Set {
        fn now(&self) -> UnixMillis {
            UnixMillis::new(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn a_clock_that_is_ahead_does_not_count() {
        let block = UnixMillis::new(5_000);
        assert_eq!(now(UnixMillis::new(4_000), block), UnixMillis::new(4_000));
        assert_eq!(now(UnixMillis::new(u64::MAX), block), block.after(DAY));
    }

    #[tokio::test]
    async fn all_that_is_due_is_removed_and_nothing_else() {
        let (folder, spec) = (tempfile::tempdir().unwrap(), network());
        let store = Store::open(folder.path(), *spec.id()).unwrap();
        let start = spec.genesis().genesis_time;
        let expiring = |n: u32, at: UnixMillis| HistoryRecord {
            kind: HistoryKind::Metric,
            key: n.to_be_bytes().to_vec(),
            value: Vec::new(),
            expires: Some(at),
        };
        let (early, late, far) = (start.after(PERIOD / 2), start.after(PERIOD * 2), start.after(DAY * 2));
        let mut records: Vec<_> = (0..2_500).map(|n| expiring(n, early)).collect();
        records.extend([expiring(2_500, late), expiring(2_501, far)]);
        store.write_history(&records, &[]).unwrap();

        let clock = Arc::new(Set(AtomicU64::new(start.get())));
        let (_head, seen) = watch::channel(testing::head(testing::first(&spec)));
        let stop = CancellationToken::new();
        let every = Duration::from_millis(1);
        let sweep = tokio::spawn(run_every(every, store.clone(), Arc::<Set>::clone(&clock), seen, stop.clone()));
        let left = || store.history(HistoryKind::Metric, &[], usize::MAX, UnixMillis::ZERO).unwrap();
        for (now, expected) in [(start.after(PERIOD), 2), (far, 1)] {
            assert!(left().len() > expected);
            clock.0.store(now.get(), Ordering::Relaxed);
            let mut look = tokio::time::interval(every);
            while left().len() > expected {
                look.tick().await;
            }
        }
        stop.cancel();
        sweep.await.unwrap().unwrap();
        assert_eq!(left(), [expiring(2_501, far)]);
    }
}
