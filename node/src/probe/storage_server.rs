//! The worker's side of the storage probe: takes chunks of its storage committee, and returns ranges of them.
//!
//! It is a task of its own, which reads and writes on blocking threads, so that a slow disk delays no ping. A few requests are worked on at a
//! time and a few wait; more are refused.

use std::collections::VecDeque;
use std::sync::Arc;

use lucid_p2p::Responder as Reply;
use lucid_types::codec::{decode, encode};
use lucid_types::id::NodeId;
use lucid_types::policy::FixedPolicy;
use lucid_types::storage::{StorageRefusal, StorageReply, StorageRequest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::counts::Served;
use super::responder::IsValidator;
use crate::chunks::{self, ChunkStore, Room};

/// Requests that may wait to be looked at.
const INBOX: usize = 4;
/// Requests that may wait for a thread.
const WAITING: usize = 8;
/// Chunks that are written at a time.
const WRITERS: usize = 2;
/// Challenges that are read at a time.
const READERS: usize = 4;

/// What the newest state says of chunks with this worker. Called for every request; must not block for long.
pub trait StorageGrants: Send + Sync + 'static {
    /// How many chunks a validator may hold here for the term that begins in a settlement: in that term, and in the settlement before.
    fn chunks(&self, validator: &NodeId, term: u64) -> Option<u32>;

    /// How many chunks of such a deposit may stay: all of one of whose term the state cannot know yet.
    fn may_stay(&self, validator: &NodeId, term: u64) -> Option<u32>;

    /// Disk that this worker declares to offer, in bytes.
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
    /// Counts what is served.
    pub served: Arc<Served>,
}

/// A request as it comes from the mesh.
#[derive(Debug)]
pub struct StorageOffer {
    /// The account that asks.
    pub peer: NodeId,
    /// What.
    pub bytes: Vec<u8>,
    /// For the answer; dropped, the peer hears that there is none.
    pub reply: Reply,
}

/// Hands requests to a running server. Cheap to clone.
#[derive(Clone)]
pub struct StorageHandle {
    inbox: mpsc::Sender<StorageOffer>,
    served: Arc<Served>,
}

impl StorageHandle {
    /// Hands over a request. Never waits: with a full inbox, or a server that has ended, the peer hears that this node is busy.
    pub fn offer(&self, offer: StorageOffer) {
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
}

/// The server. [`Self::run`] it.
pub struct StorageServer {
    shared: Arc<Shared>,
    settlement: watch::Receiver<u64>,
    inbox: mpsc::Receiver<StorageOffer>,
    reads: Lane,
    writes: Lane,
    running: JoinSet<()>,
}

/// What every thread needs.
struct Shared {
    store: ChunkStore,
    policy: FixedPolicy,
    is_validator: IsValidator,
    grants: Arc<dyn StorageGrants>,
    min_free_bytes: u64,
    served: Arc<Served>,
}

/// Requests of one kind: those that wait, and room for those that are worked on.
struct Lane {
    waiting: VecDeque<Job>,
    room: Arc<Semaphore>,
}

impl Lane {
    fn new(room: usize) -> Self {
        Self { waiting: VecDeque::new(), room: Arc::new(Semaphore::new(room)) }
    }

    /// The next one, if there is room for it.
    fn next(&mut self) -> Option<(Job, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some((self.waiting.pop_front()?, permit))
    }
}

impl StorageServer {
    /// A server and the handle through which it gets its requests.
    pub fn new(parts: StorageServerParts) -> (StorageHandle, Self) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let StorageServerParts { store, policy, is_validator, grants, settlement, min_free_bytes, served } = parts;
        let handle = StorageHandle { inbox: sender, served: Arc::clone(&served) };
        let shared = Arc::new(Shared { store, policy, is_validator, grants, min_free_bytes, served });
        let (reads, writes) = (Lane::new(READERS), Lane::new(WRITERS));
        (handle, Self { shared, settlement, inbox, reads, writes, running: JoinSet::new() })
    }

    /// Serves until `stop`, or until every handle is gone. What is being written then is written to the end.
    pub async fn run(mut self, stop: CancellationToken) {
        self.settlement.mark_changed();
        loop {
            self.start();
            tokio::select! {
                () = stop.cancelled() => break,
                // A thread that panicked has been logged by itself; its room is given back.
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
        let request = match self.shared.admit(&peer, &bytes) {
            Some(request) => request,
            // Dropped, the peer hears that there is no answer.
            None => return self.shared.served.refuse(),
        };
        if self.reads.waiting.len() + self.writes.waiting.len() >= WAITING {
            self.shared.served.refuse();
            return reply.respond(encode(&StorageReply::Refused(StorageRefusal::Busy)));
        }
        let lane = match request {
            StorageRequest::Deposit { .. } => &mut self.writes,
            StorageRequest::Held(_) | StorageRequest::Challenge { .. } => &mut self.reads,
        };
        lane.waiting.push_back(Job { peer, request, reply });
    }

    fn start(&mut self) {
        while let Some((Job { peer, request, reply }, permit)) = self.reads.next().or_else(|| self.writes.next()) {
            let shared = Arc::clone(&self.shared);
            self.running.spawn_blocking(move || {
                let _permit = permit;
                reply.respond(encode(&shared.answer(&peer, &request)));
            });
        }
    }
}

impl Shared {
    /// A request that is answered.
    fn admit(&self, peer: &NodeId, bytes: &[u8]) -> Option<StorageRequest> {
        if !(self.is_validator)(peer) {
            return None;
        }
        decode::<StorageRequest>(bytes).ok().filter(|request| request.is_well_formed(&self.policy))
    }

    fn answer(&self, peer: &NodeId, request: &StorageRequest) -> StorageReply {
        let deposit = request.deposit();
        let answer =
            self.grants.chunks(peer, deposit.term).ok_or(StorageRefusal::NotDrawn).and_then(|chunks| match request {
                StorageRequest::Held(_) => Ok(StorageReply::Held { chunks: self.store.held(peer, deposit) }),
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
        answer.unwrap_or_else(|refusal| {
            self.served.refuse();
            tracing::debug!(peer = %peer.short(), ?refusal, "a request of storage is refused");
            StorageReply::Refused(refusal)
        })
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
    const STRANGER: NodeId = NodeId::from_bytes([9; 32]);
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
            is_validator: Arc::new(|node| [VALIDATOR, SEATLESS].contains(node)),
            grants: Arc::new(Grants(disk_bytes)),
            min_free_bytes: 0,
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
    fn who_is_no_validator_and_what_is_malformed_gets_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        let shared = shared(dir.path(), u64::MAX);
        let held = encode(&StorageRequest::Held(DEPOSIT));
        assert!(shared.admit(&VALIDATOR, &held).is_some() && shared.admit(&STRANGER, &held).is_none());
        let short = StorageRequest::Deposit { deposit: DEPOSIT, index: 0, chunk: vec![7; CHUNK_BYTES - 1] };
        let beyond = ChunkRange { index: 0, offset: (1 << 20) - 1_023 };
        let beyond = StorageRequest::Challenge { deposit: DEPOSIT, ranges: vec![beyond; 8] };
        let many = StorageRequest::Challenge { deposit: DEPOSIT, ranges: vec![ChunkRange { index: 0, offset: 0 }; 65] };
        for request in [short, beyond, many] {
            assert!(shared.admit(&VALIDATOR, &encode(&request)).is_none());
        }
        assert!(shared.admit(&VALIDATOR, b"no").is_none() && shared.admit(&VALIDATOR, &held[1..]).is_none());
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
