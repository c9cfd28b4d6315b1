//! What workers say of their machines, over time: their attestations, with their signatures.
//!
//! A signature costs an attacker nothing, so what is kept is bounded by what is not his: only registered nodes' attestations come here
//! ([`crate::probe::AttestationTable`]), the time is this node's own, and there is one record for each worker and [`Spacing`]: a minute
//! in a small network, more in a greater one. The newest attestation in that time is the one that stays.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lucid_storage::{HistoryKind, HistoryRecord, StorageError, Store};
use lucid_types::attestation::ResourceAttestation;
use lucid_types::codec::{decode, encode};
use lucid_types::id::NodeId;
use lucid_types::signed::{Signed, Verified};
use lucid_types::time::UnixMillis;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::history::DAY;

/// An attestation as it came.
#[derive(Clone, Debug)]
pub struct Attestation {
    /// Whose it is.
    pub account: NodeId,
    /// As it came, signed with the key that was the account's then.
    pub signed: Verified<Signed<ResourceAttestation>>,
}

/// How long records are kept.
const KEPT: Duration = DAY.saturating_mul(90);
const MINUTE: Duration = Duration::from_secs(60);
/// Minutes of that.
const MINUTES_KEPT: u64 = KEPT.as_secs() / MINUTE.as_secs();
/// Records of other workers, of about 250 bytes each: a gigabyte.
const MAX_RECORDS: u64 = 4_000_000;

/// How long attestations are gathered before they are written.
const GATHERED: Duration = Duration::from_secs(5);
/// Records that are written before that.
const BATCH: usize = 4_096;
/// The most that are gathered. While a disk is so slow that there are more, records of others are dropped: the next epoch brings newer ones.
const MAX_GATHERED: usize = 4 * BATCH;

/// Minutes for which one record of a worker is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spacing(u64);

impl Spacing {
    /// One record a minute.
    const FINEST: Self = Self(1);

    /// The finest in a network of so many workers.
    fn of(workers: usize) -> Self {
        let all = u64::try_from(workers).unwrap_or(u64::MAX).saturating_mul(MINUTES_KEPT);
        Self(all.div_ceil(MAX_RECORDS).clamp(1, MINUTES_KEPT))
    }

    /// When the span began in which this time lies.
    fn start(self, time: UnixMillis) -> UnixMillis {
        let length = u64::try_from(MINUTE.as_millis()).unwrap_or(u64::MAX).saturating_mul(self.0);
        UnixMillis::new(time.get() - time.get() % length)
    }
}

fn key(node: &NodeId, from: UnixMillis) -> Vec<u8> {
    [node.as_bytes().as_slice(), &minute(from).to_be_bytes()].concat()
}

fn minute(time: UnixMillis) -> u64 {
    UnixMillis::ZERO.until(time).as_secs() / MINUTE.as_secs()
}

/// Keeps attestations.
pub struct Keeper {
    store: Store,
    /// Tells when an attestation has come.
    clock: Arc<dyn Clock>,
    /// This node: nobody else fills the disk with its own.
    me: NodeId,
    /// How many nodes are registered now.
    registered: Arc<dyn Fn() -> usize + Send + Sync>,
    gathered: Mutex<Gathered>,
    is_much: Notify,
}

/// What is not written yet.
#[derive(Debug)]
struct Gathered {
    /// Of others' records, as many nodes as were registered when the first was gathered.
    spacing: Spacing,
    /// By their keys.
    records: BTreeMap<Vec<u8>, HistoryRecord>,
}

impl Keeper {
    /// A keeper of this node's that has not kept anything yet. `registered` tells how many nodes are registered now.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        me: NodeId,
        registered: Arc<dyn Fn() -> usize + Send + Sync>,
    ) -> Self {
        let gathered = Mutex::new(Gathered { spacing: Spacing::FINEST, records: BTreeMap::new() });
        Self { store, clock, me, registered, gathered, is_much: Notify::new() }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an attestation: it is written some seconds later by [`Self::run`].
    pub fn keep(&self, Attestation { account, signed }: &Attestation) {
        let is_own = *account == self.me;
        let value = encode::<Signed<ResourceAttestation>>(signed);
        let now = self.clock.now();
        let mut gathered = self.gathered();
        if gathered.records.is_empty() {
            gathered.spacing = Spacing::of((self.registered)());
        }
        let spacing = if is_own { Spacing::FINEST } else { gathered.spacing };
        let from = spacing.start(now);
        let key = key(account, from);
        if !is_own && gathered.records.len() >= MAX_GATHERED && !gathered.records.contains_key(&key) {
            tracing::debug!("too many attestations: one is not kept");
            return;
        }
        // Of the span, not of the attestation: one that replaces another takes its place in the order of expiry, too.
        let expires = Some(from.after(KEPT));
        gathered.records.insert(key.clone(), HistoryRecord { kind: HistoryKind::Metric, key, value, expires });
        if gathered.records.len() >= BATCH {
            self.is_much.notify_one();
        }
    }

    /// Writes what is kept until `stop`, then the rest.
    ///
    /// # Errors
    /// The store failed.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> Result<(), StorageError> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return self.write().await,
                () = self.is_much.notified() => {}
                () = sleep(GATHERED) => {}
            }
            self.write().await?;
        }
    }

    async fn write(&self) -> Result<(), StorageError> {
        let records: Vec<_> = std::mem::take(&mut self.gathered().records).into_values().collect();
        if records.is_empty() {
            return Ok(());
        }
        let store = self.store.clone();
        let written = spawn_blocking(move || store.write_history(&records, &[])).await;
        written.unwrap_or_else(|panic| {
            tracing::error!(%panic, "attestations were not kept");
            Ok(())
        })
    }
}

/// A worker's attestation, and when the time began in which it is the newest that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// A whole minute.
    pub from: UnixMillis,
    /// The attestation.
    pub attestation: Signed<ResourceAttestation>,
}

/// The newest records of a node that came at `from` or later and before `to`, at most `limit`, newest first.
///
/// # Errors
/// The store could not be read.
pub fn of(
    store: &Store,
    node: &NodeId,
    (from, to): (UnixMillis, UnixMillis),
    limit: usize,
    now: UnixMillis,
) -> Result<Vec<Metric>, StorageError> {
    // The minute in which `to` lies has begun before it, unless it begins with it.
    let end = key(node, to.after(MINUTE).before(Duration::from_millis(1)));
    let records = store.history_before(HistoryKind::Metric, node.as_bytes(), &end, limit, now)?;
    let metric = |record: HistoryRecord| {
        let minute = u64::from_be_bytes(record.key.get(node.as_bytes().len()..)?.try_into().ok()?);
        let from = UnixMillis::ZERO.after(Duration::from_secs(minute.saturating_mul(MINUTE.as_secs())));
        Some(Metric { from, attestation: decode(&record.value).ok()? })
    };
    Ok(records.into_iter().filter_map(metric).take_while(|metric| metric.from >= from).collect())
}

/// Whether a record is one that this module writes.
pub(crate) fn is_sound(HistoryRecord { key, value, .. }: &HistoryRecord) -> bool {
    key.len() == 40 && decode::<Signed<ResourceAttestation>>(value).is_ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and wait for their tasks")]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use lucid_types::amount::Ppm;
    use lucid_types::attestation::Capacity;
    use lucid_types::codec::Wire;
    use lucid_types::id::NetworkId;
    use lucid_types::key::NodeKey;
    use lucid_types::time::Epoch;

    use super::*;

    const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);

    struct Set(AtomicU64);

    impl Clock for Set {
        fn now(&self) -> UnixMillis {
            UnixMillis::new(self.0.load(Ordering::Relaxed))
        }
    }

    fn attestation(seed: u8, sequence: u64) -> Attestation {
        let record = ResourceAttestation {
            epoch: Epoch::new(3),
            sequence,
            // Whatever it says: this node's clock counts.
            time: UnixMillis::new(u64::MAX),
            uptime_s: 1,
            cpu: Ppm::ZERO,
            memory: Ppm::ZERO,
            disk: Ppm::ZERO,
            network_rx_bytes_s: 0,
            network_tx_bytes_s: 0,
            sessions: 0,
            capacity: Capacity::default(),
            allocation: Ppm::ZERO,
        };
        let key = NodeKey::from_seed(&[seed; 32]);
        Attestation { account: key.account(), signed: key.sign_attestation(&NETWORK, record) }
    }

    fn node(seed: u8) -> NodeId {
        NodeKey::from_seed(&[seed; 32]).account()
    }

    struct Fixture {
        keeper: Arc<Keeper>,
        store: Store,
        clock: Arc<Set>,
        registered: Arc<AtomicUsize>,
        _folder: tempfile::TempDir,
    }

    /// A keeper on node 1 in a network of so many workers, at minute 600,000.
    fn fixture(workers: usize) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), NETWORK).unwrap();
        let clock = Arc::new(Set(AtomicU64::new(660_000 * 60_000)));
        let registered = Arc::new(AtomicUsize::new(workers));
        let now = Arc::clone(&registered);
        let count = Arc::new(move || now.load(Ordering::Relaxed));
        let keeper = Arc::new(Keeper::new(store.clone(), Arc::<Set>::clone(&clock), node(1), count));
        Fixture { keeper, store, clock, registered, _folder: folder }
    }

    impl Fixture {
        fn wait(&self, millis: u64) {
            self.clock.0.fetch_add(millis, Ordering::Relaxed);
        }

        /// Minutes after the first, and sequences.
        fn found(&self, seed: u8, (from, to): (u64, u64), limit: usize) -> Vec<(u64, u64)> {
            let range = (UnixMillis::new(from), UnixMillis::new(to));
            let found = of(&self.store, &node(seed), range, limit, self.clock.now()).unwrap();
            found.iter().map(|it| (minute(it.from) - 660_000, it.attestation.record.sequence)).collect()
        }
    }

    const ALL: (u64, u64) = (0, u64::MAX);

    #[tokio::test]
    async fn the_last_of_a_minute_is_kept_for_ninety_days() {
        let fixture = fixture(2);
        // At 0 s, 50 s, 100 s, 150 s.
        for sequence in 1..=4 {
            fixture.keeper.keep(&attestation(2, sequence));
            fixture.wait(50_000);
        }
        fixture.keeper.keep(&attestation(3, 9));
        fixture.keeper.write().await.unwrap();
        assert_eq!(fixture.found(2, ALL, 9), [(2, 4), (1, 3), (0, 2)]);
        assert_eq!(fixture.found(3, ALL, 9), [(3, 9)]);
        assert_eq!(fixture.found(4, ALL, 9), []);
        let start = 660_000 * 60_000;
        assert_eq!(fixture.found(2, ALL, 2), [(2, 4), (1, 3)]);
        assert_eq!(fixture.found(2, (start + 60_000, start + 120_000), 9), [(1, 3)]);
        assert_eq!(fixture.found(2, (start + 1, start + 120_001), 9), [(2, 4), (1, 3)]);
        let found = of(&fixture.store, &node(3), (UnixMillis::ZERO, UnixMillis::new(u64::MAX)), 1, fixture.clock.now());
        assert!(found.unwrap()[0].attestation.clone().verify(&NETWORK).is_ok(), "with its signature");

        // What replaces a record has its expiry, so each record is one that expires.
        fixture.keeper.keep(&attestation(3, 10));
        fixture.keeper.write().await.unwrap();
        fixture.wait(KEPT.as_secs() * 1_000 - 141_000);
        assert_eq!(fixture.found(2, ALL, 9), [(2, 4), (1, 3)], "minute 0 is over");
        fixture.wait(200_000);
        assert_eq!(fixture.store.expire_history(fixture.clock.now(), 100).unwrap(), 4);
    }

    #[tokio::test]
    async fn what_comes_is_written_without_being_asked_for() {
        let fixture = fixture(2);
        let (store, stop) = (fixture.store.clone(), CancellationToken::new());
        let keeper = tokio::spawn(Arc::clone(&fixture.keeper).run(stop.clone()));
        fixture.keeper.keep(&attestation(2, 1));
        let mut look = tokio::time::interval(Duration::from_millis(50));
        let all = (UnixMillis::ZERO, UnixMillis::new(u64::MAX));
        while of(&store, &node(2), all, 1, UnixMillis::ZERO).unwrap().is_empty() {
            look.tick().await;
        }
        // What waits when the node stops is not lost.
        fixture.keeper.keep(&attestation(3, 1));
        stop.cancel();
        keeper.await.unwrap().unwrap();
        assert_eq!(of(&store, &node(3), all, 1, UnixMillis::ZERO).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn the_more_nodes_are_registered_the_less_is_kept_of_each() {
        let fixture = fixture(2);
        for (sequence, registered) in [(1, 2), (2, 1_000), (3, 1_000), (4, 2)] {
            fixture.registered.store(registered, Ordering::Relaxed);
            fixture.keeper.keep(&attestation(2, sequence));
            fixture.keeper.write().await.unwrap();
            fixture.wait(60_000);
        }
        // Of 1,000 one record in 33 minutes: that of the span's start is replaced.
        assert_eq!(fixture.found(2, ALL, 9), [(3, 4), (0, 3)]);
    }

    /// Whoever has all the keys of all the workers fills no more than this.
    #[tokio::test]
    async fn the_disk_that_others_fill_is_bounded() {
        let record_bytes = Signed::<ResourceAttestation>::MAX_BYTES + 32 + 8;
        assert!(MAX_RECORDS * u64::try_from(record_bytes).unwrap() < 2_000_000_000);
        for workers in [0, 1, 30, 31, 1_000, 100_000, usize::MAX] {
            let Spacing(minutes) = Spacing::of(workers);
            let all = u128::try_from(workers).unwrap() * u128::from(MINUTES_KEPT / minutes);
            assert!(all <= u128::from(MAX_RECORDS) || minutes == MINUTES_KEPT, "{workers}: {minutes}");
        }
        assert_eq!([1, 30, 31, 1_000].map(Spacing::of), [1, 1, 2, 33].map(Spacing));

        // A flood over an hour from one of a thousand workers, and this node's own.
        let fixture = fixture(1_000);
        for sequence in 1..=600 {
            fixture.keeper.keep(&attestation(2, sequence));
            fixture.keeper.keep(&attestation(1, sequence));
            fixture.wait(6_000);
        }
        fixture.keeper.write().await.unwrap();
        assert_eq!(fixture.found(2, ALL, 1_000), [(33, 600), (0, 330)]);
        assert_eq!(fixture.found(1, ALL, 1_000).len(), 60);
    }
}
