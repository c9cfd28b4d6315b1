//! What waits for the gate: a queue for each class of messages, bounded in bytes, from which the threads take by turns.
//!
//! A class never waits for another one: bodies cannot starve votes. Within a class the part that a peer may hold is the square of the
//! part that is then left free. So no number of peers fills it: of those that take all they can one after the other, the first gets
//! 38 %, and *n* leave about one part in *n* + 1. (If a peer could hold as much as is left free, each would halve the rest.) Peers that
//! are not trusted share half of the class: whatever they hold, a trusted one may hold an eighth of it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use lucid_types::id::PublicKey;

use super::Job;
use crate::topic::Topic;

/// What a waiting message costs beside its bytes: its places in the queue, in gossipsub's cache and among the verdicts.
pub(crate) const OVERHEAD: usize = 256;
/// From this size on a consensus message is a body; votes, wakes and proposals of few items are below.
const LARGE: usize = 16 << 10;

/// Messages that wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    Votes,
    Proposals,
    Rebroadcasts,
    Certificates,
    Commitments,
    Reveals,
    Evidence,
    Commands,
    Attestations,
}

impl Class {
    const COUNT: usize = 9;

    /// The class of a message of so many bytes.
    pub(crate) const fn of(topic: Topic, bytes: usize) -> Self {
        match topic {
            Topic::Consensus if bytes < LARGE => Self::Votes,
            Topic::Consensus => Self::Proposals,
            Topic::Rebroadcasts => Self::Rebroadcasts,
            Topic::Certificates => Self::Certificates,
            Topic::Commitments => Self::Commitments,
            Topic::Reveals => Self::Reveals,
            Topic::Evidence => Self::Evidence,
            Topic::Commands => Self::Commands,
            Topic::Attestations(_) => Self::Attestations,
        }
    }
}

/// What a message holds until its verdict has been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    class: Class,
    from: PublicKey,
    bytes: usize,
}

impl Charge {
    /// That of a message of so many bytes.
    pub(crate) const fn new(topic: Topic, from: PublicKey, bytes: usize) -> Self {
        Self { class: Class::of(topic, bytes), from, bytes: bytes.saturating_add(OVERHEAD) }
    }

    pub(crate) const fn class(&self) -> Class {
        self.class
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The queues, shared by the event loop, which fills them, and the gate's threads.
pub(crate) struct Queue<K> {
    state: Mutex<State<K>>,
    filled: Condvar,
    /// Bytes of each class.
    capacity: usize,
}

struct State<K> {
    classes: [Waiting<K>; Class::COUNT],
    /// The class whose turn it is.
    next: usize,
    is_closed: bool,
}

struct Waiting<K> {
    jobs: VecDeque<Job<K>>,
    /// What is charged, of all and of each peer: also for jobs that are being judged.
    bytes: usize,
    of_peers: HashMap<PublicKey, usize>,
}

impl<K> Default for Waiting<K> {
    fn default() -> Self {
        Self { jobs: VecDeque::new(), bytes: 0, of_peers: HashMap::new() }
    }
}

impl<K> Queue<K> {
    /// Empty queues of so many bytes for each class.
    pub(crate) fn new(capacity: usize) -> Self {
        let state = State { classes: std::array::from_fn(|_| Waiting::default()), next: 0, is_closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), capacity }
    }

    /// How many messages may wait or be judged at most.
    pub(crate) const fn jobs(&self) -> usize {
        Class::COUNT * (self.capacity / OVERHEAD)
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a message may wait, beside others of the same peer and class of which `taken` bytes have been told that they may,
    /// and which are not here yet. There is more room for peers that are trusted.
    pub(crate) fn has_room(&self, charge: &Charge, taken: usize, is_trusted: bool) -> bool {
        let state = self.state();
        let class = &state.classes[charge.class as usize];
        let wanted = charge.bytes.saturating_add(taken);
        let held = class.of_peers.get(&charge.from).copied().unwrap_or_default();
        let capacity = if is_trusted { self.capacity } else { self.capacity / 2 };
        let free = capacity.saturating_sub(class.bytes).saturating_sub(wanted) as u128;
        held.saturating_add(wanted) as u128 * capacity as u128 <= free * free
    }

    /// Lets a job wait. For the bound, ask [`Self::has_room`] first.
    pub(crate) fn push(&self, job: Job<K>) {
        let mut state = self.state();
        let Charge { class, from, bytes } = job.charge();
        let class = &mut state.classes[class as usize];
        class.bytes = class.bytes.saturating_add(bytes);
        let of_peer = class.of_peers.entry(from).or_default();
        *of_peer = of_peer.saturating_add(bytes);
        class.jobs.push_back(job);
        drop(state);
        self.filled.notify_one();
    }

    /// Waits for a job, the next of the class whose turn it is; `None` once the queues are closed. It stays charged.
    pub(crate) fn pop(&self) -> Option<Job<K>> {
        let mut state = self.state();
        loop {
            if state.is_closed {
                return None;
            }
            let turn = state.next;
            let mut order = (turn..Class::COUNT).chain(0..turn);
            if let Some(class) = order.find(|class| !state.classes[*class].jobs.is_empty()) {
                state.next = (class + 1) % Class::COUNT;
                return state.classes[class].jobs.pop_front();
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives back what a job held.
    pub(crate) fn release(&self, charge: &Charge) {
        let mut state = self.state();
        let class = &mut state.classes[charge.class as usize];
        class.bytes = class.bytes.saturating_sub(charge.bytes);
        if let Some(of_peer) = class.of_peers.get_mut(&charge.from) {
            *of_peer = of_peer.saturating_sub(charge.bytes);
            if *of_peer == 0 {
                class.of_peers.remove(&charge.from);
            }
        }
    }

    /// Ends the threads that wait.
    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.filled.notify_all();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peer(n: u8) -> PublicKey {
        PublicKey::from_bytes([n; 32])
    }

    fn job(ticket: u32, from: u8, topic: Topic, bytes: usize) -> Job<u32> {
        Job { ticket, from: peer(from), topic, bytes: vec![0; bytes] }
    }

    /// Pushes a job if there is room.
    fn offer(queue: &Queue<u32>, job: Job<u32>) -> bool {
        let has_room = queue.has_room(&job.charge(), 0, true);
        if has_room {
            queue.push(job);
        }
        has_room
    }

    #[test]
    fn bodies_do_not_starve_votes() {
        let queue = Queue::new(4 << 20);
        let mut bodies = 0;
        while offer(&queue, job(bodies, 1, Topic::Consensus, 512 << 10)) {
            bodies += 1;
        }
        assert!(bodies > 2);
        while offer(&queue, job(0, 1, Topic::Reveals, 128 << 10)) {}
        assert!(offer(&queue, job(77, 1, Topic::Consensus, 200)), "the same peer's votes have room");
        // One of each class that has something, whatever came first.
        let turns: Vec<_> = (0..3).map(|_| queue.pop().unwrap()).collect();
        assert!(turns.iter().any(|job| job.ticket == 77));
    }

    #[test]
    fn no_number_of_peers_fills_a_class_for_others() {
        let queue = Queue::new(8 << 20);
        for flooder in 1..=20 {
            while offer(&queue, job(0, flooder, Topic::Commands, 1 << 10)) {}
        }
        assert!(offer(&queue, job(0, 99, Topic::Commands, 4 << 10)), "there is room for who holds nothing");
        assert!(!offer(&queue, job(0, 1, Topic::Commands, 1 << 10)), "and none for who holds much");
        assert!(
            queue.has_room(&job(0, 1, Topic::Evidence, 1 << 10).charge(), 0, true),
            "other classes are as they were"
        );
    }

    #[test]
    fn those_who_are_not_trusted_leave_room_for_those_who_are() {
        let queue = Queue::new(8 << 20);
        let reveal = |from| job(0, from, Topic::Reveals, 128 << 10);
        for stranger in 1..=100 {
            while queue.has_room(&reveal(stranger).charge(), 0, false) {
                queue.push(reveal(stranger));
            }
        }
        let of_validator = (0..100).take_while(|_| offer(&queue, reveal(200))).count();
        assert!(of_validator * (128 << 10) >= 1 << 20, "{of_validator} messages");
    }

    #[test]
    fn a_message_is_charged_until_its_verdict_is_taken() {
        // Room for two of one peer.
        let queue = Queue::new(6 * (OVERHEAD + 100));
        assert!(offer(&queue, job(1, 1, Topic::Commands, 100)));
        let charge = job(2, 1, Topic::Commands, 100).charge();
        assert!(queue.has_room(&charge, 0, true));
        assert!(!queue.has_room(&charge, OVERHEAD + 100, true), "those that are on their way count");
        assert!(offer(&queue, job(2, 1, Topic::Commands, 100)));
        assert_eq!(queue.pop().unwrap().ticket, 1);
        assert!(!queue.has_room(&charge, 0, true), "it is only being judged");
        queue.release(&charge);
        assert!(queue.has_room(&charge, 0, true));
    }

    #[test]
    fn closing_ends_the_wait() {
        let queue = Queue::<u32>::new(1 << 10);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.pop().is_none());
            queue.close();
            assert!(waiting.join().unwrap());
        });
    }

    proptest! {
        /// Whatever comes, a class holds no more than its bytes, and what has been released is free again.
        #[test]
        fn a_class_is_bounded(offers in prop::collection::vec((0u8..6, 0usize..40_000), 1..200), capacity in 1usize..200_000) {
            let queue = Queue::new(capacity);
            let mut held = Vec::new();
            for (from, bytes) in offers {
                let job = job(0, from, Topic::Reveals, bytes);
                let charge = job.charge();
                if offer(&queue, job) {
                    held.push(charge);
                }
                let total: usize = held.iter().map(|charge| charge.bytes).sum();
                prop_assert!(total <= capacity);
                if held.len() > 3 {
                    queue.release(&held.remove(0));
                }
            }
            for charge in held {
                queue.release(&charge);
            }
            let state = queue.state();
            prop_assert!(state.classes.iter().all(|class| class.bytes == 0 && class.of_peers.is_empty()));
        }
    }
}
