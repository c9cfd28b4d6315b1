//! Which of the newest scores are unlike their workers' own of the last day: counted, shown, and told to the owner of the worker.
//!
//! Of each bucket of the history window the last score of each worker in it is kept, in memory: some 40 bytes for each, so 12 MB where 10,000
//! workers are scored. At the start these are the scores of the epochs with which the buckets ended, from the history; from then on every epoch
//! is looked at as its scores become final. It is this node's view, and no part of the state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lucid_consensus::ledger::state::{EpochScores, Rows as _, State};
use lucid_storage::Store;
use lucid_types::amount::Ppm;
use lucid_types::id::NodeId;
use lucid_types::policy::Buckets;
use lucid_types::time::Epoch;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::suspicion::{Suspicion, suspicion};
use crate::chain::head::Head;
use crate::clock::Clock;
use crate::history::scores;

/// The scores that are watched, shared by those who show them, who never wait for what is computed.
#[derive(Debug, Default)]
pub struct ScoreWatch {
    /// By their numbers, those buckets that are among the last ones: the last score of each worker.
    buckets: Mutex<BTreeMap<u64, BTreeMap<NodeId, Ppm>>>,
    newest: Mutex<Arc<Newest>>,
}

/// The newest epoch.
#[derive(Debug, Default)]
struct Newest {
    epoch: Epoch,
    suspicious: BTreeMap<NodeId, Suspicious>,
}

/// A score that is unlike those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Suspicious {
    score: Ppm,
    suspicion: Suspicion,
}

impl ScoreWatch {
    /// How many of the newest epoch's scores are suspicious.
    pub fn count(&self) -> usize {
        self.newest().suspicious.len()
    }

    /// What is suspicious about the scores of an epoch, by their workers; only of the newest epoch something is known.
    pub fn of_all(&self, epoch: Epoch) -> BTreeMap<NodeId, Suspicion> {
        let newest = self.newest();
        let suspicious = newest.suspicious.iter().filter(|_| newest.epoch == epoch);
        suspicious.map(|(worker, it)| (*worker, it.suspicion)).collect()
    }

    /// What is suspicious about a worker's score of an epoch.
    pub fn of(&self, epoch: Epoch, worker: &NodeId) -> Option<Suspicion> {
        let newest = self.newest();
        newest.suspicious.get(worker).filter(|_| newest.epoch == epoch).map(|it| it.suspicion)
    }

    /// What the owner of a worker is told, if its newest score is suspicious.
    pub fn alert(&self, worker: &NodeId) -> Option<String> {
        let newest = self.newest();
        let Suspicious { score, suspicion } = newest.suspicious.get(worker)?;
        Some(format!(
            "the score of this worker in epoch {}, {score} ppm, is {} ppm from the median of its last ones, {} ppm, where up to {} ppm is usual: \
             see `lucid score show`, and `lucid epoch reports` for who measured what",
            newest.epoch, suspicion.difference, suspicion.median, suspicion.limit
        ))
    }

    /// Takes the scores of an epoch that is later than all before; those of others say nothing new.
    pub(crate) fn add(&self, buckets: Buckets, scores: &EpochScores) {
        let mut all = lock(&self.buckets);
        if scores.epoch <= self.newest().epoch {
            return;
        }
        let number = buckets.of(scores.epoch);
        all.retain(|it, _| it.saturating_add(buckets.count) >= number);
        let mut suspicious = BTreeMap::new();
        for row in &scores.rows {
            let samples: Vec<_> =
                all.range(..number).filter_map(|(_, bucket)| bucket.get(&row.worker).copied()).collect();
            if let Some(suspicion) = suspicion(&samples, row.score) {
                suspicious.insert(row.worker, Suspicious { score: row.score, suspicion });
            }
        }
        all.entry(number).or_default().extend(scores.rows.iter().map(|row| (row.worker, row.score)));
        *lock(&self.newest) = Arc::new(Newest { epoch: scores.epoch, suspicious });
    }

    /// Takes what is stored up to the newest epoch and is news: in the bucket of that every epoch, before it the last one of each bucket.
    fn catch_up(&self, store: &Store, buckets: Buckets, newest: Epoch, clock: &dyn Clock) {
        let known = self.newest().epoch;
        for epoch in news(buckets, known, newest) {
            match scores::of(store, epoch, clock.now()) {
                Ok(Some(scores)) => self.add(buckets, &scores),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(
                        epoch = epoch.get(),
                        error = &error as &dyn std::error::Error,
                        "scores cannot be read"
                    );
                }
            }
        }
    }

    fn newest(&self) -> Arc<Newest> {
        Arc::clone(&lock(&self.newest))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The epochs after a known one that are looked at, in order, when another one is the newest.
pub(crate) fn news(buckets: Buckets, known: Epoch, newest: Epoch) -> Vec<Epoch> {
    let number = buckets.of(newest);
    let last_of = |number: u64| number.saturating_add(1).saturating_mul(buckets.epochs).saturating_sub(1);
    let earlier = (number.saturating_sub(buckets.count)..number).map(last_of);
    let within = number.saturating_mul(buckets.epochs)..=newest.get();
    earlier.chain(within).map(Epoch::new).filter(|epoch| *epoch > known).collect()
}

/// What the watch is kept from.
pub struct FollowParts {
    /// What is kept.
    pub watch: Arc<ScoreWatch>,
    /// Where scores are.
    pub store: Store,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Tells the newest epoch with final scores.
    pub head: watch::Receiver<Head>,
    /// The node, of whose score the log tells.
    pub me: NodeId,
}

/// Keeps the watch until `stop`.
pub async fn follow(parts: FollowParts, stop: CancellationToken) {
    let FollowParts { watch, store, clock, mut head, me } = parts;
    let mut told = None;
    loop {
        let (newest, buckets) = newest_of(&head.borrow_and_update().state);
        // An epoch that could not be read is looked for again with the next block.
        if newest > watch.newest().epoch {
            let (watch, store, clock) = (Arc::clone(&watch), store.clone(), Arc::clone(&clock));
            let looked = spawn_blocking(move || watch.catch_up(&store, buckets, newest, &*clock));
            if let Err(panic) = looked.await {
                tracing::error!(%panic, "the scores of epoch {newest} were not looked at");
            }
        }
        let alert = watch.alert(&me);
        if let Some(alert) = alert.as_ref().filter(|_| told.is_none()) {
            tracing::warn!("{alert}");
        }
        told = alert;
        tokio::select! {
            () = stop.cancelled() => return,
            changed = head.changed() => if changed.is_err() {
                // The chain has ended, and says why.
                return stop.cancelled().await;
            },
        }
    }
}

fn newest_of(state: &State) -> (Epoch, Buckets) {
    let newest = state.head().scored;
    (newest, state.policy(newest).history_buckets())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::id::NetworkId;
    use lucid_types::policy::Policy;

    use super::*;
    use crate::clock::SystemClock;
    use crate::history::scores::row;

    /// Of a window of a day: thirty epochs each.
    fn buckets() -> Buckets {
        Policy::default().history_buckets()
    }

    fn worker(byte: u8) -> NodeId {
        NodeId::from_bytes([byte; 32])
    }

    /// An epoch in which workers have these scores.
    fn epoch(epoch: u64, workers: &[(u8, u32)]) -> EpochScores {
        let of = |(worker, score): &(u8, u32)| {
            let mut row = row(*worker);
            row.score = Ppm::new(*score);
            row
        };
        EpochScores { epoch: Epoch::new(epoch), rows: workers.iter().map(of).collect() }
    }

    #[test]
    fn a_score_is_held_against_the_last_ones_of_the_buckets_before() {
        let watch = ScoreWatch::default();
        for number in 1..=240 {
            // The second one is scored in some epochs only.
            let workers: &[_] = if number % 30 == 7 { &[(1, 800_000), (2, 500_000)] } else { &[(1, 800_000)] };
            watch.add(buckets(), &epoch(number, workers));
            assert_eq!(watch.count(), 0, "{number}");
        }
        watch.add(buckets(), &epoch(241, &[(1, 740_000), (2, 551_000), (3, 0)]));
        let found = |epoch, byte| watch.of(Epoch::new(epoch), &worker(byte)).map(|it| it.difference.get());
        assert_eq!((watch.count(), found(241, 1), found(241, 2), found(241, 3)), (2, Some(60_000), Some(51_000), None));
        let listed: Vec<_> = watch.of_all(Epoch::new(241)).into_keys().collect();
        assert_eq!((listed, watch.of_all(Epoch::new(240)).len()), (vec![worker(1), worker(2)], 0));
        assert_eq!(found(240, 1), None, "only of the newest something is known");
        let alert = watch.alert(&worker(1)).unwrap();
        assert!(alert.contains("epoch 241, 740000 ppm, is 60000 ppm from") && alert.contains("800000 ppm"), "{alert}");
        assert_eq!(watch.alert(&worker(3)), None);
        // Once more, or late, it says nothing new.
        watch.add(buckets(), &epoch(241, &[]));
        watch.add(buckets(), &epoch(200, &[(1, 0)]));
        assert_eq!(watch.count(), 2);
        watch.add(buckets(), &epoch(242, &[(1, 760_000)]));
        assert_eq!((watch.count(), watch.alert(&worker(1))), (0, None));
    }

    #[test]
    fn no_more_than_the_window_is_kept() {
        let watch = ScoreWatch::default();
        for number in 1..=2_000 {
            watch.add(buckets(), &epoch(number, &[(1, 1), (2, 2)]));
            let all = lock(&watch.buckets);
            assert!(all.len() <= 25 && all.values().all(|bucket| bucket.len() <= 2));
        }
        // After a leap nothing of before counts.
        watch.add(buckets(), &epoch(1_000_000, &[(1, 900_000)]));
        assert_eq!((watch.count(), lock(&watch.buckets).len()), (0, 1));
    }

    #[test]
    fn at_the_start_the_ends_of_the_buckets_are_read() {
        let all = |known, newest| news(buckets(), Epoch::new(known), Epoch::new(newest)).into_iter().map(Epoch::get);
        assert_eq!(all(0, 62).collect::<Vec<_>>(), [29, 59, 60, 61, 62]);
        assert_eq!(all(61, 62).collect::<Vec<_>>(), [62]);
        assert_eq!(all(62, 62).count(), 0);
        assert_eq!(all(0, 1).collect::<Vec<_>>(), [1]);
        assert_eq!(all(0, 7_205).collect::<Vec<_>>().first(), Some(&(7_200 - 24 * 30 + 29)));
        assert_eq!(all(0, 7_205).count(), 24 + 6);

        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), NetworkId::from_bytes([1; 32])).unwrap();
        let time = SystemClock.now();
        let stored = (1..=300).map(|number| epoch(number, &[(1, if number == 300 { 1 } else { 800_000 })]));
        let records: Vec<_> = stored.map(|it| scores::record(time, &it)).collect();
        store.write_history(&records, &[]).unwrap();
        let watch = ScoreWatch::default();
        watch.catch_up(&store, buckets(), Epoch::new(300), &SystemClock);
        assert_eq!(watch.of(Epoch::new(300), &worker(1)).unwrap().difference, Ppm::new(799_999));
        // What is damaged is left out.
        let damaged = lucid_storage::HistoryRecord { value: vec![1], ..scores::record(time, &epoch(301, &[])) };
        store.write_history(&[damaged], &[]).unwrap();
        watch.catch_up(&store, buckets(), Epoch::new(301), &SystemClock);
        assert_eq!(watch.newest().epoch, Epoch::new(300));
        let none = ScoreWatch::default();
        none.catch_up(&store, buckets(), Epoch::new(29), &SystemClock);
        assert_eq!((none.count(), none.newest().epoch), (0, Epoch::new(29)));
    }
}
