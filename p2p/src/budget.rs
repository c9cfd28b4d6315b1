//! How many bytes one request-response protocol may hold at a time: a pure account, and the shares that streams take of it.
//!
//! A stream is charged with what is allocated for it, from its first byte until its answer has been handed to the connection,
//! never with what a length promises; but answers that we have asked for, with their length, for which they wait. Three bounds hold: streams of one peer, bytes of one peer, bytes of all. Peers that are
//! not trusted may fill half of the pool. When it is full, transfers that wait for their peer give way: first those of the
//! strangers that hold the most, as long as these keep no less than who asks will have, so that few strangers never keep
//! another one out; then those that have waited longest, from [`STALLED`] on. A stranger never takes the place of a trusted
//! peer. Protocols have pools of their own: what one of them is asked never takes room from another.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use tokio::sync::Notify;

/// A transfer that waits for its peer for so long gives way when its pool is full.
const STALLED: Duration = Duration::from_secs(2);
/// Bytes that every stream costs: its own buffers, its task, and [`INCLUDED`].
pub(crate) const STREAM: usize = 5 << 10;
/// So much of a request or answer costs nothing more: what small protocols answer always finds room.
const INCLUDED: usize = 1 << 10;

/// What one pool may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) streams_per_peer: usize,
    pub(crate) bytes_per_peer: usize,
    pub(crate) bytes: usize,
}

/// Why a stream got no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room: {}", self.reason())]
pub(crate) enum NoRoom {
    /// The peer has too many streams open.
    Streams,
    /// The peer holds too many bytes.
    Peer,
    /// All peers together do.
    Full,
    /// The stream had to give way to another one.
    GaveWay,
}

impl NoRoom {
    /// The label it is counted under.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Streams => "too-many-streams",
            Self::Peer => "over-budget",
            Self::Full => "pool-full",
            Self::GaveWay => "gave-way",
        }
    }
}

struct Transfer<P, K> {
    peer: P,
    is_trusted: bool,
    bytes: usize,
    /// Since when it waits for the peer; `None` while it waits for us.
    waits_since: Option<Instant>,
    /// Wakes whoever works on it.
    key: K,
}

#[derive(Debug, Default)]
struct Usage {
    streams: usize,
    bytes: usize,
    /// Its transfers that wait for it, by when that began.
    waiting: BTreeSet<(Instant, u64)>,
}

/// The account. `K` is given back for each transfer that must be broken off.
struct Account<P, K> {
    bounds: Bounds,
    transfers: BTreeMap<u64, Transfer<P, K>>,
    peers: HashMap<P, Usage>,
    bytes: usize,
    bytes_of_strangers: usize,
    /// Transfers that wait for strangers and for trusted peers, by when that began.
    waiting: [BTreeSet<(Instant, u64)>; 2],
    next: u64,
}

impl<P: Eq + Hash + Copy, K> Account<P, K> {
    fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            transfers: BTreeMap::new(),
            peers: HashMap::new(),
            bytes: 0,
            bytes_of_strangers: 0,
            waiting: [BTreeSet::new(), BTreeSet::new()],
            next: 0,
        }
    }

    /// A stream that waits for its peer, with what had to give way for it.
    fn open(&mut self, peer: P, is_trusted: bool, key: K, now: Instant) -> Result<(u64, Vec<K>), NoRoom> {
        let usage = self.peers.entry(peer).or_default();
        if usage.streams >= self.bounds.streams_per_peer {
            return Err(NoRoom::Streams);
        }
        usage.streams += 1;
        let id = self.next;
        self.next += 1;
        self.transfers.insert(id, Transfer { peer, is_trusted, bytes: 0, waits_since: None, key });
        self.wait(id, Some(now));
        match self.resize(id, STREAM, now) {
            Ok(broken) => Ok((id, broken)),
            Err(refusal) => {
                self.close(id);
                Err(refusal)
            }
        }
    }

    /// Charges a transfer with so many bytes in all; nothing changes if there is no room.
    fn resize(&mut self, id: u64, bytes: usize, now: Instant) -> Result<Vec<K>, NoRoom> {
        let Some(transfer) = self.transfers.get(&id) else { return Err(NoRoom::GaveWay) };
        let (peer, is_trusted, old) = (transfer.peer, transfer.is_trusted, transfer.bytes);
        let more = bytes.saturating_sub(old);
        let of_peer = self.peers.get(&peer).map_or(0, |usage| usage.bytes).saturating_add(more);
        if more > 0 && of_peer > self.bounds.bytes_per_peer {
            return Err(NoRoom::Peer);
        }
        let victims = self.make_room(id, of_peer, is_trusted, more, now)?;
        let broken = victims.into_iter().filter_map(|victim| self.close(victim)).collect();
        if let Some(transfer) = self.transfers.get_mut(&id) {
            transfer.bytes = bytes;
        }
        self.count(peer, is_trusted, old, bytes);
        Ok(broken)
    }

    /// Who has to give way for so many bytes more, of a peer that then holds `of_peer`.
    fn make_room(
        &self,
        asker: u64,
        of_peer: usize,
        is_trusted: bool,
        more: usize,
        now: Instant,
    ) -> Result<BTreeSet<u64>, NoRoom> {
        let mut victims = BTreeSet::new();
        let mut missing = self.bytes.saturating_add(more).saturating_sub(self.bounds.bytes);
        if !is_trusted {
            let of_strangers = self.bytes_of_strangers.saturating_add(more);
            missing = missing.max(of_strangers.saturating_sub(self.bounds.bytes / 2));
        }
        if more == 0 || missing == 0 {
            return Ok(victims);
        }
        let of_trusted = is_trusted.then(|| self.stalled(true, now)).into_iter().flatten();
        for id in self.beyond(of_peer).chain(self.stalled(false, now)).chain(of_trusted) {
            if id != asker && victims.insert(id) {
                missing = missing.saturating_sub(self.transfers.get(&id).map_or(0, |transfer| transfer.bytes));
                if missing == 0 {
                    return Ok(victims);
                }
            }
        }
        Err(NoRoom::Full)
    }

    /// Transfers that wait for strangers that hold at least `share` without them, of the largest ones first.
    fn beyond(&self, share: usize) -> impl Iterator<Item = u64> {
        let mut large: Vec<&Usage> = self.peers.values().filter(|usage| usage.bytes > share).collect();
        large.sort_unstable_by_key(|usage| Reverse(usage.bytes));
        large.into_iter().flat_map(move |usage| {
            let mut rest = usage.bytes;
            usage.waiting.iter().filter_map(move |(_, id)| {
                let transfer = self.transfers.get(id)?;
                let without = rest.saturating_sub(transfer.bytes);
                if transfer.is_trusted || without < share {
                    return None;
                }
                rest = without;
                Some(*id)
            })
        })
    }

    /// Transfers that have waited too long, the longest first.
    fn stalled(&self, is_trusted: bool, now: Instant) -> impl Iterator<Item = u64> {
        let waiting = self.waiting[usize::from(is_trusted)].iter();
        let is_stalled = move |since: Instant| now.saturating_duration_since(since) >= STALLED;
        waiting.take_while(move |(since, _)| is_stalled(*since)).map(|(_, id)| *id)
    }

    /// From now on it waits for the peer, or no longer.
    fn wait(&mut self, id: u64, since: Option<Instant>) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let of_peer = self.peers.get_mut(&transfer.peer).map(|usage| &mut usage.waiting);
        let old = std::mem::replace(&mut transfer.waits_since, since);
        for waiting in of_peer.into_iter().chain([&mut self.waiting[usize::from(transfer.is_trusted)]]) {
            if let Some(old) = old {
                waiting.remove(&(old, id));
            }
            if let Some(new) = since {
                waiting.insert((new, id));
            }
        }
    }

    fn close(&mut self, id: u64) -> Option<K> {
        self.wait(id, None);
        let Transfer { peer, is_trusted, bytes, key, .. } = self.transfers.remove(&id)?;
        self.count(peer, is_trusted, bytes, 0);
        if let Some(usage) = self.peers.get_mut(&peer) {
            usage.streams -= 1;
            if usage.streams == 0 {
                self.peers.remove(&peer);
            }
        }
        Some(key)
    }

    fn count(&mut self, peer: P, is_trusted: bool, old: usize, new: usize) {
        let change = |total: &mut usize| *total = total.saturating_sub(old).saturating_add(new);
        change(&mut self.bytes);
        if !is_trusted {
            change(&mut self.bytes_of_strangers);
        }
        if let Some(usage) = self.peers.get_mut(&peer) {
            change(&mut usage.bytes);
        }
    }
}

/// The pool of one protocol and direction. Clones are the same pool.
#[derive(Clone)]
pub(crate) struct Pool {
    account: Arc<Mutex<Account<PeerId, Arc<Notify>>>>,
    /// Wakes those that wait for room.
    freed: Arc<Notify>,
}

impl Pool {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { account: Arc::new(Mutex::new(Account::new(bounds))), freed: Arc::new(Notify::new()) }
    }

    /// A share for a stream on which the peer is to send something.
    pub(crate) fn open(&self, peer: PeerId, is_trusted: bool) -> Result<Share, NoRoom> {
        let broken = Arc::new(Notify::new());
        let (id, victims) = self.lock().open(peer, is_trusted, Arc::clone(&broken), Instant::now())?;
        break_off(victims);
        Ok(Share { pool: self.clone(), id, broken })
    }

    /// A share for an answer that we have asked for, as soon as there is one. There are no strangers among those that we ask.
    pub(crate) async fn open_when_free(&self, peer: PeerId) -> Result<Share, NoRoom> {
        self.when_free(|| self.open(peer, true)).await
    }

    async fn when_free<T>(&self, take: impl Fn() -> Result<T, NoRoom>) -> Result<T, NoRoom> {
        loop {
            let freed = self.freed.notified();
            match take() {
                // Nobody may give anything back, and yet somebody may have stalled by then.
                Err(NoRoom::Full) => drop(tokio::time::timeout(STALLED, freed).await),
                outcome => return outcome,
            }
        }
    }

    /// Bytes that are held now.
    pub(crate) fn held(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Account<PeerId, Arc<Notify>>> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn break_off(victims: Vec<Arc<Notify>>) {
    for victim in victims {
        victim.notify_one();
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("held", &self.held()).finish_non_exhaustive()
    }
}

/// What one stream holds of a pool, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    pool: Pool,
    id: u64,
    broken: Arc<Notify>,
}

impl Share {
    /// Charges a body of so many bytes, beside the stream itself.
    pub(crate) fn resize(&self, bytes: usize) -> Result<(), NoRoom> {
        let bytes = STREAM.saturating_add(bytes.saturating_sub(INCLUDED));
        let victims = self.pool.lock().resize(self.id, bytes, Instant::now())?;
        break_off(victims);
        Ok(())
    }

    /// As [`Self::resize`], but waits while the pool is full. Meanwhile it gives way to nobody: it is not the peer that it waits for.
    /// So room is to be asked for once and for all of a body, lest two of them keep each other from the rest.
    pub(crate) async fn resize_when_free(&self, bytes: usize) -> Result<(), NoRoom> {
        self.pool.lock().wait(self.id, None);
        self.pool.when_free(|| self.resize(bytes)).await?;
        self.pool.lock().wait(self.id, Some(Instant::now()));
        Ok(())
    }

    /// The peer has sent what it had to: the stream gives way to nobody while it waits for us, if it has not yet.
    pub(crate) fn has_arrived(&self) -> Result<(), NoRoom> {
        let mut account = self.pool.lock();
        account.wait(self.id, None);
        if account.transfers.contains_key(&self.id) { Ok(()) } else { Err(NoRoom::GaveWay) }
    }

    /// The peer is sent so many bytes from now on.
    pub(crate) fn sends(&self, bytes: usize) -> Result<(), NoRoom> {
        self.resize(bytes)?;
        self.pool.lock().wait(self.id, Some(Instant::now()));
        Ok(())
    }

    /// Returns when the stream must give way.
    pub(crate) async fn gives_way(&self) {
        self.broken.notified().await;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.lock().close(self.id);
        self.pool.freed.notify_waiters();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIB: usize = 1 << 10;
    const BOUNDS: Bounds = Bounds { streams_per_peer: 4, bytes_per_peer: 40 * KIB, bytes: 100 * KIB };

    fn account() -> (Account<u32, u32>, Instant) {
        (Account::new(BOUNDS), Instant::now())
    }

    /// Opens a stream of this many KiB in all; its key is the peer.
    fn open(account: &mut Account<u32, u32>, peer: u32, kib: usize, now: Instant) -> Result<(u64, Vec<u32>), NoRoom> {
        let is_trusted = peer < 100;
        let (id, mut broken) = account.open(peer, is_trusted, peer, now)?;
        match account.resize(id, kib * KIB, now) {
            Ok(more) => {
                broken.extend(more);
                Ok((id, broken))
            }
            Err(refusal) => {
                account.close(id);
                Err(refusal)
            }
        }
    }

    #[test]
    fn a_peer_is_bounded_by_streams_and_bytes_and_gets_them_back() {
        let (mut account, now) = account();
        let (first, _) = open(&mut account, 1, 36, now).unwrap();
        assert_eq!(open(&mut account, 1, 5, now), Err(NoRoom::Peer));
        assert_eq!(open(&mut account, 2, 36, now).map(|(_, broken)| broken), Ok(vec![]), "another one has its own");
        account.close(first);
        for _ in 0..4 {
            open(&mut account, 1, 4, now).unwrap();
        }
        assert_eq!(open(&mut account, 1, 4, now), Err(NoRoom::Streams));
    }

    #[test]
    fn strangers_fill_half_and_the_longest_stalled_gives_way() {
        let (mut account, now) = account();
        open(&mut account, 101, 25, now).unwrap();
        open(&mut account, 102, 25, now + Duration::from_millis(1)).unwrap();
        assert_eq!(open(&mut account, 103, 4, now), Err(NoRoom::Full), "nobody has stalled yet");
        assert!(open(&mut account, 1, 40, now).is_ok(), "the other half is for trusted peers");
        let later = now + STALLED;
        assert_eq!(open(&mut account, 103, 4, later).map(|(_, broken)| broken), Ok(vec![101]));
        assert_eq!(account.bytes_of_strangers, 29 * KIB);
    }

    #[test]
    fn what_waits_for_us_gives_way_to_nobody_and_no_trusted_peer_to_a_stranger() {
        let (mut account, now) = account();
        let later = now + STALLED;
        for peer in [101, 102] {
            let (id, _) = open(&mut account, peer, 25, now).unwrap();
            account.wait(id, None);
        }
        assert_eq!(open(&mut account, 103, 4, later), Err(NoRoom::Full));
        for peer in [1, 2] {
            open(&mut account, peer, 25, now).unwrap();
        }
        assert_eq!(open(&mut account, 103, 4, later), Err(NoRoom::Full));
        assert_eq!(open(&mut account, 3, 30, later).map(|(_, broken)| broken), Ok(vec![1, 2]), "but to another one");
    }

    #[test]
    fn of_strangers_whoever_holds_the_most_gives_way_at_once() {
        let (mut account, now) = account();
        for _ in 0..3 {
            open(&mut account, 101, 12, now).unwrap();
        }
        let (worked_on, _) = open(&mut account, 102, 14, now).unwrap();
        account.wait(worked_on, None);
        let (asker, broken) = open(&mut account, 103, 5, now).unwrap();
        assert_eq!(broken, [101]);
        assert_eq!(account.resize(asker, 12 * KIB, now), Ok(vec![]));
        assert_eq!(account.resize(asker, 13 * KIB, now), Err(NoRoom::Full), "nobody keeps that much without");
        assert_eq!(open(&mut account, 104, 5, now).map(|(_, broken)| broken), Ok(vec![101]));
        // Between trusted peers the wait alone decides.
        for _ in 0..2 {
            open(&mut account, 1, 20, now).unwrap();
        }
        open(&mut account, 2, 14, now).unwrap();
        assert_eq!(open(&mut account, 3, 5, now), Err(NoRoom::Full));
        assert!(open(&mut account, 3, 5, now + STALLED).is_ok());
    }

    #[test]
    fn a_refusal_breaks_nobody_off() {
        let (mut account, now) = account();
        open(&mut account, 101, 20, now).unwrap();
        open(&mut account, 102, 20, now + STALLED).unwrap();
        let (asker, _) = open(&mut account, 103, 5, now + STALLED).unwrap();
        let refused = account.resize(asker, 36 * KIB, now + STALLED);
        assert_eq!(refused, Err(NoRoom::Full), "the one that has stalled is not enough");
        assert!(account.peers.contains_key(&101) && account.bytes == 45 * KIB);
        assert_eq!(account.resize(asker, 30 * KIB, now + STALLED), Ok(vec![101]), "and now it is");
    }

    #[tokio::test]
    async fn an_answer_that_waits_for_room_gets_it_from_whoever_stalls() {
        let pool = Pool::new(Bounds { streams_per_peer: 4, bytes_per_peer: usize::MAX, bytes: 100 * KIB });
        let stalled = pool.open_when_free(PeerId::random()).await.unwrap();
        let waiting = pool.open_when_free(PeerId::random()).await.unwrap();
        stalled.resize_when_free(60 * KIB).await.unwrap();
        pool.lock().wait(stalled.id, Some(Instant::now() - STALLED));
        waiting.resize_when_free(60 * KIB).await.unwrap();
        assert_eq!(stalled.resize(0), Err(NoRoom::GaveWay));
        let third = pool.open_when_free(PeerId::random()).await.unwrap();
        let third_waits = third.resize_when_free(60 * KIB);
        assert!(futures::future::FutureExt::now_or_never(third_waits).is_none(), "nobody has stalled");
        assert!(pool.lock().transfers[&third.id].waits_since.is_none(), "it waits for us");
        waiting.resize(KIB).unwrap();
        assert_eq!(third.resize_when_free(60 * KIB).await, Ok(()));
    }

    proptest! {
        /// Whatever happens, the bounds hold, the sums are those of a walk over all, and nothing is kept of who is gone.
        #[test]
        fn bounds_and_sums_hold(
            steps in prop::collection::vec((0u8..5, 0u64..40, 0u32..8, 0usize..60, 0u64..1500), 0..300)
        ) {
            let (mut account, mut now) = account();
            for (step, id, peer, kib, millis) in steps {
                now += Duration::from_millis(millis);
                // Half of the peers are trusted.
                let peer = peer + 96;
                match step {
                    0 | 1 => drop(account.open(peer, peer < 100, peer, now)),
                    2 => drop(account.resize(id, STREAM + kib * KIB, now)),
                    3 => account.wait(id, (kib % 2 == 0).then_some(now)),
                    _ => drop(account.close(id)),
                }
                let sum = |pick: &dyn Fn(&Transfer<u32, u32>) -> bool| -> usize {
                    account.transfers.values().filter(|t| pick(t)).map(|t| t.bytes).sum()
                };
                prop_assert_eq!(account.bytes, sum(&|_| true));
                prop_assert_eq!(account.bytes_of_strangers, sum(&|t| !t.is_trusted));
                prop_assert!(account.bytes <= BOUNDS.bytes && account.bytes_of_strangers <= BOUNDS.bytes / 2);
                for (peer, usage) in &account.peers {
                    prop_assert_eq!(usage.bytes, sum(&|t| t.peer == *peer));
                    prop_assert_eq!(usage.streams, account.transfers.values().filter(|t| t.peer == *peer).count());
                    prop_assert!(usage.bytes <= BOUNDS.bytes_per_peer && usage.streams <= BOUNDS.streams_per_peer);
                    prop_assert!(usage.streams > 0);
                    let waits = |t: &Transfer<u32, u32>| t.peer == *peer && t.waits_since.is_some();
                    prop_assert_eq!(usage.waiting.len(), account.transfers.values().filter(|t| waits(t)).count());
                }
                let waiting: usize = account.waiting.iter().map(BTreeSet::len).sum();
                prop_assert_eq!(waiting, account.transfers.values().filter(|t| t.waits_since.is_some()).count());
            }
        }
    }
}
