//! The worker's side of the storage probe: takes chunks of its storage committee, and returns ranges of them.
//!
//! It is a task of its own, which reads and writes on blocking threads, so that a slow disk delays no ping. A few requests are worked on at a
//! time and some wait, chunks and challenges each for themselves; more are refused. A chunk that may not be stored is refused before it takes
//! anything from others but the line that it came over, whose bytes are counted as they come.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use lucid_p2p::Responder as Reply;
use lucid_types::codec::{decode, encode};
use lucid_types::id::NodeId;
use lucid_types::policy::FixedPolicy;
use lucid_types::storage::{StorageRefusal, StorageReply, StorageRequest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::counts::Served;
use super::line::Line;
use super::responder::IsValidator;
use crate::chunks::{self, ChunkStore, Room};

/// Requests that may wait to be looked at.
const INBOX: usize = 4;
/// Chunks that are written at a time, and that may wait for it: all of them pass in 11 s at the least pace that an owner may set.
const WRITES: (usize, usize) = (2, 8);
/// Who asks waits no longer for an answer: [`lucid_p2p::Protocol::Storage`].
const PATIENCE: Duration = Duration::from_secs(30);
/// Challenges that are read at a time, and that may wait for it: more than a committee has members, in two terms. They are small, and no chunk that is
/// written slowly takes the place of one.
const READS: (usize, usize) = (4, 64);

/// What the newest state says of chunks with this worker. Called for every request; must not block for long.
pub trait StorageGrants: Send + Sync + 'static {
    /// How many chunks a validator may hold here for the term that begins in a settlement: in that term, and in the settlement before.
    fn chunks(&self, validator: &NodeId, term: u64) -> Option<u32>;

    /// How many chunks of such a deposit may stay: all of one of whose term the state cannot know yet.
    fn may_stay(&self, validator: &NodeId, term: u64) -> Option<u32>;

    /// Disk for chunks, in bytes: what this worker declares to offer, or less, if its owner says so.
    fn disk_bytes(&self) -> u64;
}

/// What a server needs.
pub struct StorageServerParts {
    /// Where the chunks are.
    pub store: ChunkStore,
    /// Sizes of challenges.
    pub policy: FixedPolicy,
    /// Who may ask at all.
    pub is_validator: IsValidator,
    /// Who may deposit how much.
    pub grants: Arc<dyn StorageGrants>,
    /// The settlement of the open epoch. Whenever it changes, what may not stay is removed.
    pub settlement: watch::Receiver<u64>,
    /// Bytes that stay free on the file system.
    pub min_free_bytes: u64,
    /// What chunks and ranges may take of the line.
    pub line: Arc<Line>,
    /// Counts what is served.
    pub served: Arc<Served>,
}

/// A request as it comes from the mesh.
#[derive(Debug)]
pub struct StorageOffer {
    /// The account that asks.
    pub peer: NodeId,
    /// The request's bytes, as they came.
    pub bytes: Vec<u8>,
    /// For the answer; dropped, the peer hears that there is none.
    pub reply: Reply,
}

/// Hands requests to a running server. Cheap to clone.
#[derive(Clone)]
pub struct StorageHandle {
    inbox: mpsc::Sender<StorageOffer>,
    is_validator: IsValidator,
    line: Arc<Line>,
    served: Arc<Served>,
}

impl StorageHandle {
    /// Hands over a request. Never waits: with a full inbox, or a server that has ended, the peer hears that this node is busy. Whoever is no
    /// validator takes no place in the inbox, and a validator no more of them than the mesh lets it have requests at a time.
    pub fn offer(&self, offer: StorageOffer) {
        self.line.count(offer.bytes.len());
        // Dropped, the peer hears that there is no answer.
        if !(self.is_validator)(&offer.peer) {
            return self.served.refuse();
        }
        if let Err(error) = self.inbox.try_send(offer) {
            self.served.refuse();
            error.into_inner().reply.refuse();
        }
    }
}

/// A request that may be worked on.
struct Job {
    peer: NodeId,
    request: StorageRequest,
    reply: Reply,
    since: Instant,
    /// Of a deposit: it is the only one of its peer.
    _only: Option<Arc<()>>,
}

/// The server. [`Self::run`] it.
pub struct StorageServer {
    shared: Arc<Shared>,
    settlement: watch::Receiver<u64>,
    inbox: mpsc::Receiver<StorageOffer>,
    reads: Lane<Job>,
    writes: Lane<Job>,
    running: JoinSet<()>,
    /// Validators with a deposit that waits or is worked on, which holds the other end until it is over.
    depositing: BTreeMap<NodeId, Weak<()>>,
}

/// What every thread needs.
struct Shared {
    store: ChunkStore,
    policy: FixedPolicy,
    grants: Arc<dyn StorageGrants>,
    min_free_bytes: u64,
    line: Arc<Line>,
    served: Arc<Served>,
}

/// Requests of one kind: those that wait, and room for those that are worked on.
struct Lane<T> {
    waiting: VecDeque<T>,
    most: usize,
    room: Arc<Semaphore>,
}

impl<T> Lane<T> {
    fn new((room, most): (usize, usize)) -> Self {
        Self { waiting: VecDeque::new(), most, room: Arc::new(Semaphore::new(room)) }
    }

    /// Lets it wait; gives it back if too many do.
    fn push(&mut self, job: T) -> Result<(), T> {
        if self.waiting.len() >= self.most {
            return Err(job);
        }
        self.waiting.push_back(job);
        Ok(())
    }

    /// The next one, if there is room for it.
    fn next(&mut self) -> Option<(T, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some((self.waiting.pop_front()?, permit))
    }
}

impl StorageServer {
    /// A server and the handle through which it gets its requests.
    pub fn new(parts: StorageServerParts) -> (StorageHandle, Self) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let StorageServerParts { store, policy, is_validator, grants, settlement, min_free_bytes, line, served } =
            parts;
        let handle =
            StorageHandle { inbox: sender, is_validator, line: Arc::clone(&line), served: Arc::clone(&served) };
        let shared = Arc::new(Shared { store, policy, grants, min_free_bytes, line, served });
        let (reads, writes) = (Lane::new(READS), Lane::new(WRITES));
        let (running, depositing) = (JoinSet::new(), BTreeMap::new());
        (handle, Self { shared, settlement, inbox, reads, writes, running, depositing })
    }

    /// Serves until `stop`, or until every handle is gone. What is being written then is written to the end.
    pub async fn run(mut self, stop: CancellationToken) {
        self.settlement.mark_changed();
        loop {
            self.start(&stop);
            tokio::select! {
                () = stop.cancelled() => break,
                // Whatever ended has given its room back.
                Some(_ended) = self.running.join_next() => {}
                Ok(()) = self.settlement.changed() => self.collect(),
                offer = self.inbox.recv() => match offer {
                    Some(offer) => self.take(offer),
                    None => break,
                },
            }
        }
        while self.running.join_next().await.is_some() {}
    }

    fn collect(&mut self) {
        let shared = Arc::clone(&self.shared);
        self.running.spawn_blocking(move || shared.collect());
    }

    fn take(&mut self, StorageOffer { peer, bytes, reply }: StorageOffer) {
        let request = match self.shared.admit(&bytes) {
            Some(request) => request,
            // Dropped, the peer hears that there is no answer.
            None => return self.shared.served.refuse(),
        };
        let admitted = match &request {
            StorageRequest::Deposit { .. } => self.admit_deposit(peer, &request).map(Some),
            StorageRequest::Held(_) | StorageRequest::Challenge { .. } => Ok(None),
        };
        let only = match admitted {
            Ok(only) => only,
            Err(refusal) => return reply.respond(encode(&self.shared.refuse(&peer, refusal))),
        };
        let lane = if only.is_some() { &mut self.writes } else { &mut self.reads };
        if let Err(Job { reply, .. }) = lane.push(Job { peer, request, reply, since: Instant::now(), _only: only }) {
            reply.respond(encode(&self.shared.refuse(&peer, StorageRefusal::Busy)));
        }
    }

    /// A deposit that may be stored by what is known without the disk, and is the only one of its peer.
    fn admit_deposit(&mut self, peer: NodeId, request: &StorageRequest) -> Result<Arc<()>, StorageRefusal> {
        self.depositing.retain(|_, deposit| deposit.strong_count() > 0);
        if self.depositing.contains_key(&peer) {
            return Err(StorageRefusal::Busy);
        }
        self.shared.check_deposit(&peer, request)?;
        let only = Arc::new(());
        self.depositing.insert(peer, Arc::downgrade(&only));
        Ok(only)
    }

    fn start(&mut self, stop: &CancellationToken) {
        while let Some((job, permit)) = self.reads.next().or_else(|| self.writes.next()) {
            // Nobody waits for the answer any more.
            if job.since.elapsed() >= PATIENCE {
                self.shared.served.refuse();
                continue;
            }
            let (shared, stop) = (Arc::clone(&self.shared), stop.clone());
            self.running.spawn(work(shared, job, permit, stop));
        }
    }
}

/// Answers a request at the pace of the line, on a thread that may block. What waits for the line ends with `stop`.
async fn work(shared: Arc<Shared>, job: Job, _permit: OwnedSemaphorePermit, stop: CancellationToken) {
    let Job { peer, request, reply, since: _, _only } = job;
    let line = Arc::clone(&shared.line);
    if let StorageRequest::Deposit { chunk, .. } = &request {
        tokio::select! {
            () = stop.cancelled() => return,
            () = line.take_chunk(chunk.len()) => {}
        }
    }
    // A thread that panicked has been logged by itself. Dropped, the peer hears that there is no answer.
    let answered = tokio::task::spawn_blocking(move || encode(&shared.answer(&peer, &request))).await;
    let Ok(answer) = answered else { return };
    tokio::select! {
        () = stop.cancelled() => {}
        () = line.give(answer.len()) => reply.respond(answer),
    }
}

impl Shared {
    /// A request that is answered, if a validator asks.
    fn admit(&self, bytes: &[u8]) -> Option<StorageRequest> {
        decode::<StorageRequest>(bytes).ok().filter(|request| request.is_well_formed(&self.policy))
    }

    /// Whether a deposit may be stored, but for what the disk says; it must not block for long.
    fn check_deposit(&self, peer: &NodeId, request: &StorageRequest) -> Result<(), StorageRefusal> {
        let StorageRequest::Deposit { deposit, index, .. } = request else { return Ok(()) };
        let chunks = self.grants.chunks(peer, deposit.term).filter(|chunks| index < chunks);
        if chunks.is_none() {
            return Err(StorageRefusal::NotDrawn);
        }
        if self.line.is_used_up() {
            return Err(StorageRefusal::Full);
        }
        // The newest one may come again: its answer may have been lost.
        let next = self.store.held(peer, deposit);
        let is_next = *index == next || index.checked_add(1) == Some(next);
        if is_next { Ok(()) } else { Err(StorageRefusal::OutOfOrder { next }) }
    }

    fn refuse(&self, peer: &NodeId, refusal: StorageRefusal) -> StorageReply {
        self.served.refuse();
        tracing::debug!(peer = %peer.short(), ?refusal, "a request of storage is refused");
        StorageReply::Refused(refusal)
    }

    fn answer(&self, peer: &NodeId, request: &StorageRequest) -> StorageReply {
        let deposit = request.deposit();
        let answer =
            self.grants.chunks(peer, deposit.term).ok_or(StorageRefusal::NotDrawn).and_then(|chunks| match request {
                StorageRequest::Held(_) => Ok(StorageReply::Held { chunks: self.store.held(peer, deposit) }),
                StorageRequest::Deposit { .. } if self.line.is_used_up() => Err(StorageRefusal::Full),
                StorageRequest::Deposit { index, chunk, .. } => {
                    let bytes = chunks::bytes_for(self.grants.disk_bytes());
                    let room = Room { chunks, bytes, min_free_bytes: self.min_free_bytes };
                    let chunks = self.store.deposit(peer, deposit, *index, chunk, room)?;
                    self.served.stored();
                    Ok(StorageReply::Stored { chunks })
                }
                StorageRequest::Challenge { ranges, .. } => {
                    let bytes = self.store.read(peer, deposit, ranges, self.policy.storage_range_bytes)?;
                    self.served.challenge();
                    Ok(StorageReply::Ranges(bytes))
                }
            });
        answer.unwrap_or_else(|refusal| self.refuse(peer, refusal))
    }

    fn collect(&self) {
        let most_bytes = chunks::bytes_for(self.grants.disk_bytes());
        self.store.collect(|validator, term| self.grants.may_stay(validator, term), most_bytes);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::id::{Hash, NetworkId};
    use lucid_types::policy::Policy;
    use lucid_types::storage::{CHUNK_BYTES, ChunkRange, DepositId};

    use super::*;
    use crate::chunks::Owner;

    const VALIDATOR: NodeId = NodeId::from_bytes([1; 32]);
    const SEATLESS: NodeId = NodeId::from_bytes([2; 32]);
    const DEPOSIT: DepositId = DepositId { term: 7, tag: Hash::from_bytes([5; 32]) };

    /// Two chunks for one validator in one term, on a disk of so many bytes.
    struct Grants(u64);

    impl StorageGrants for Grants {
        fn chunks(&self, validator: &NodeId, term: u64) -> Option<u32> {
            (*validator == VALIDATOR && term == 7).then_some(2)
        }

        fn may_stay(&self, validator: &NodeId, term: u64) -> Option<u32> {
            self.chunks(validator, term)
        }

        fn disk_bytes(&self) -> u64 {
            self.0
        }
    }

    fn shared(dir: &std::path::Path, disk_bytes: u64) -> Shared {
        let owner = Owner { network: NetworkId::from_bytes([3; 32]), worker: NodeId::from_bytes([4; 32]) };
        Shared {
            store: ChunkStore::open(dir, owner).unwrap(),
            policy: Policy::default().fixed(),
            grants: Arc::new(Grants(disk_bytes)),
            min_free_bytes: 0,
            line: Arc::default(),
            served: Arc::default(),
        }
    }

    fn chunk(index: u32) -> StorageRequest {
        StorageRequest::Deposit { deposit: DEPOSIT, index, chunk: vec![7; CHUNK_BYTES] }
    }

    fn challenge(index: u32) -> StorageRequest {
        StorageRequest::Challenge { deposit: DEPOSIT, ranges: vec![ChunkRange { index, offset: 5 }; 8] }
    }

    #[test]
    fn what_is_malformed_gets_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        let shared = shared(dir.path(), u64::MAX);
        let held = encode(&StorageRequest::Held(DEPOSIT));
        assert!(shared.admit(&held).is_some());
        let short = StorageRequest::Deposit { deposit: DEPOSIT, index: 0, chunk: vec![7; CHUNK_BYTES - 1] };
        let beyond = ChunkRange { index: 0, offset: (1 << 20) - 1_023 };
        let beyond = StorageRequest::Challenge { deposit: DEPOSIT, ranges: vec![beyond; 8] };
        let many = StorageRequest::Challenge { deposit: DEPOSIT, ranges: vec![ChunkRange { index: 0, offset: 0 }; 65] };
        for request in [short, beyond, many] {
            assert!(shared.admit(&encode(&request)).is_none());
        }
        assert!(shared.admit(b"no").is_none() && shared.admit(&held[1..]).is_none());
    }

    #[test]
    fn chunks_are_taken_for_seats_and_returned() {
        let dir = tempfile::tempdir().unwrap();
        let shared = shared(dir.path(), u64::MAX);
        let refused = StorageReply::Refused;
        assert_eq!(shared.answer(&VALIDATOR, &StorageRequest::Held(DEPOSIT)), StorageReply::Held { chunks: 0 });
        assert_eq!(shared.answer(&VALIDATOR, &challenge(0)), refused(StorageRefusal::Unknown));
        assert_eq!(shared.answer(&VALIDATOR, &chunk(1)), refused(StorageRefusal::OutOfOrder { next: 0 }));
        assert_eq!(shared.answer(&VALIDATOR, &chunk(0)), StorageReply::Stored { chunks: 1 });
        assert_eq!(shared.answer(&VALIDATOR, &chunk(1)), StorageReply::Stored { chunks: 2 });
        assert_eq!(shared.answer(&VALIDATOR, &chunk(2)), refused(StorageRefusal::NotDrawn), "more than its seats'");
        assert_eq!(shared.answer(&VALIDATOR, &StorageRequest::Held(DEPOSIT)), StorageReply::Held { chunks: 2 });
        assert_eq!(shared.answer(&VALIDATOR, &challenge(1)), StorageReply::Ranges(vec![7; 8 * 1_024]));
        for request in [StorageRequest::Held(DEPOSIT), chunk(0), challenge(0)] {
            assert_eq!(shared.answer(&SEATLESS, &request), refused(StorageRefusal::NotDrawn));
        }
        let other_term = StorageRequest::Held(DepositId { term: 8, ..DEPOSIT });
        assert_eq!(shared.answer(&VALIDATOR, &other_term), refused(StorageRefusal::NotDrawn));
        let counts = shared.served.snapshot();
        assert_eq!((counts.stored, counts.challenges, counts.refused), (2, 1, 7));
    }

    /// Without the pace of the line, and without a place in the lane.
    #[test]
    fn what_may_not_be_stored_is_refused_before_it_takes_anything() {
        let dir = tempfile::tempdir().unwrap();
        let check = |shared: &Shared, peer, request| shared.check_deposit(peer, &request);
        let shared = shared(dir.path(), u64::MAX);
        assert_eq!(check(&shared, &SEATLESS, chunk(0)), Err(StorageRefusal::NotDrawn));
        assert_eq!(check(&shared, &VALIDATOR, chunk(2)), Err(StorageRefusal::NotDrawn), "more than its seats'");
        assert_eq!(check(&shared, &VALIDATOR, chunk(1)), Err(StorageRefusal::OutOfOrder { next: 0 }));
        assert_eq!(check(&shared, &VALIDATOR, chunk(0)), Ok(()));
        shared.answer(&VALIDATOR, &chunk(0));
        assert_eq!([0, 1].map(|index| check(&shared, &VALIDATOR, chunk(index))), [Ok(()), Ok(())]);
        shared.line.set_left(0);
        assert_eq!(check(&shared, &VALIDATOR, chunk(1)), Err(StorageRefusal::Full));
    }

    #[test]
    fn a_peer_has_one_deposit_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let Shared { store, policy, grants, min_free_bytes, line, served } = shared(dir.path(), u64::MAX);
        let is_validator: IsValidator = Arc::new(|_| true);
        let (_sender, settlement) = watch::channel(6);
        let parts =
            StorageServerParts { store, policy, is_validator, grants, settlement, min_free_bytes, line, served };
        let (_handle, mut server) = StorageServer::new(parts);
        let first = server.admit_deposit(VALIDATOR, &chunk(0)).unwrap();
        assert_eq!(server.admit_deposit(VALIDATOR, &chunk(0)).unwrap_err(), StorageRefusal::Busy);
        assert_eq!(server.admit_deposit(SEATLESS, &chunk(0)).unwrap_err(), StorageRefusal::NotDrawn);
        drop(first);
        assert!(server.admit_deposit(VALIDATOR, &chunk(0)).is_ok());
        assert_eq!(server.depositing.len(), 1, "of those that were refused nothing is remembered");
    }

    #[test]
    fn a_lane_has_bounds_of_its_own_and_keeps_the_order() {
        let mut lane = Lane::new((2, 3));
        assert!((0..3).all(|n| lane.push(n).is_ok()));
        assert_eq!(lane.push(3), Err(3));
        let (first, second) = (lane.next().unwrap(), lane.next().unwrap());
        assert_eq!((first.0, second.0, lane.next().map(|(n, _)| n)), (0, 1, None), "two at a time");
        assert_eq!(lane.push(4), Ok(()), "there is room again");
        drop(second);
        assert_eq!(lane.next().map(|(n, _)| n), Some(2));
    }

    #[test]
    fn a_month_that_is_used_up_takes_no_chunks() {
        let dir = tempfile::tempdir().unwrap();
        let shared = shared(dir.path(), u64::MAX);
        shared.answer(&VALIDATOR, &chunk(0));
        shared.line.set_left(0);
        assert_eq!(shared.answer(&VALIDATOR, &chunk(1)), StorageReply::Refused(StorageRefusal::Full));
        assert_eq!(shared.answer(&VALIDATOR, &challenge(0)), StorageReply::Ranges(vec![7; 8 * 1_024]));
    }

    #[test]
    fn a_disk_that_is_declared_smaller_loses_what_is_too_much() {
        let dir = tempfile::tempdir().unwrap();
        let large = shared(dir.path(), 100 << 20);
        large.answer(&VALIDATOR, &chunk(0));
        large.collect();
        assert_eq!(large.store.held(&VALIDATOR, &DEPOSIT), 1);
        let none = Shared { grants: Arc::new(Grants(0)), ..large };
        none.collect();
        assert_eq!(none.store.bytes(), 0);
        assert_eq!(none.answer(&VALIDATOR, &chunk(0)), StorageReply::Refused(StorageRefusal::Full));
    }
}
