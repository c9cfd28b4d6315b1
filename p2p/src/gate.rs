//! The gate: the application's check of every gossip message before it is passed on, on threads of its own.
//!
//! ```text
//! event loop --job (bounded in bytes: see `queue`)--> gate threads --verdict--> event loop (forwards or drops)
//!                                                          '-------item (waits for room)-----> application
//! ```
//!
//! A gate thread that waits for the application takes no jobs, so a slow application shows as `busy`, not as memory.

mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use lucid_types::id::PublicKey;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::counters::Counters;
use crate::error::StartError;
use crate::events::Event;
use crate::topic::Topic;
pub(crate) use queue::{Charge, Queue};

/// What the gate thinks of a message. The reasons are a closed set of labels under which messages are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission<T> {
    /// Valid and wanted: forwarded to others and given to the application.
    Accept(T),
    /// Not wanted, though an honest peer may have sent it: stale, known, too early. Costs the sender nothing.
    Ignore(&'static str),
    /// Provably invalid: no honest peer forwards it. Costs the sender score.
    Reject(&'static str),
}

/// Decides about gossip messages. Called from several threads at a time, never from the event loop, so that it may
/// verify signatures; it must not wait for anything. Messages of one peer may be judged out of order.
pub trait Gate: Send + Sync + 'static {
    /// What the application gets of an accepted message.
    type Item: Send + 'static;

    /// Judges a message that `from` sent us; `from` need not be its author. It is no larger than its topic allows.
    fn admit(&self, from: PublicKey, topic: Topic, bytes: &[u8]) -> Admission<Self::Item>;
}

/// A message to judge. `ticket` is given back with the verdict.
pub(crate) struct Job<K> {
    pub(crate) ticket: K,
    pub(crate) from: PublicKey,
    pub(crate) topic: Topic,
    pub(crate) bytes: Vec<u8>,
}

impl<K> Job<K> {
    const fn charge(&self) -> Charge {
        Charge::new(self.topic, self.from, self.bytes.len())
    }
}

/// What the event loop must tell the sender's score and the other peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    Ignore,
    Reject,
}

/// What a thread has found.
struct Judged<K> {
    ticket: K,
    verdict: Verdict,
    charge: Charge,
}

/// The event loop's end of the pool. Dropping it ends the threads.
pub(crate) struct Pool<K> {
    queue: Arc<Queue<K>>,
    /// As many places as jobs may be open, so that gate threads never wait for the event loop: a job is charged until its verdict has
    /// been taken.
    verdicts: mpsc::Receiver<Judged<K>>,
}

impl<K: Send + 'static> Pool<K> {
    /// Starts the threads. They end when the pool is dropped, and stop waiting for the application when `stop` is
    /// cancelled.
    pub(crate) fn start<G: Gate>(
        gate: Arc<G>,
        threads: usize,
        queue: Arc<Queue<K>>,
        items: &mpsc::Sender<Event<G::Item>>,
        counters: &Arc<Counters>,
        stop: &CancellationToken,
    ) -> Result<Self, StartError> {
        let (outbox, verdicts) = mpsc::channel(queue.jobs().max(1));
        let runtime = Handle::try_current().map_err(StartError::NoRuntime)?;
        let pool = Self { queue, verdicts };
        for n in 0..threads.max(1) {
            let worker = Worker {
                gate: Arc::clone(&gate),
                queue: Arc::clone(&pool.queue),
                outbox: outbox.clone(),
                items: items.clone(),
                counters: Arc::clone(counters),
                stop: stop.clone(),
                runtime: runtime.clone(),
            };
            thread::Builder::new()
                .name(format!("lucid-gate-{n}"))
                .spawn(move || worker.run())
                .map_err(|source| StartError::System { operation: "start a gate thread", source })?;
        }
        Ok(pool)
    }

    /// Hands a job over; gives it back when there is no room for it.
    pub(crate) fn submit(&self, job: Job<K>) -> Result<(), Job<K>> {
        // How much of it is for its peer was looked at before.
        if !self.queue.has_room(&job.charge(), 0, true) {
            return Err(job);
        }
        self.queue.push(job);
        Ok(())
    }

    /// The next verdict; `None` when the threads have ended. Cancel-safe.
    pub(crate) async fn verdict(&mut self) -> Option<(K, Verdict)> {
        let Judged { ticket, verdict, charge } = self.verdicts.recv().await?;
        self.queue.release(&charge);
        Some((ticket, verdict))
    }
}

impl<K> Drop for Pool<K> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

struct Worker<G: Gate, K> {
    gate: Arc<G>,
    queue: Arc<Queue<K>>,
    outbox: mpsc::Sender<Judged<K>>,
    items: mpsc::Sender<Event<G::Item>>,
    counters: Arc<Counters>,
    stop: CancellationToken,
    runtime: Handle,
}

impl<G: Gate, K> Worker<G, K> {
    fn run(self) {
        while let Some(job) = self.queue.pop() {
            let charge = job.charge();
            let admit = || self.gate.admit(job.from, job.topic, &job.bytes);
            let admission = catch_unwind(AssertUnwindSafe(admit)).unwrap_or_else(|_| {
                tracing::error!(topic = job.topic.kind(), "the gate panicked; the message is ignored");
                Admission::Ignore("gate-panicked")
            });
            let (verdict, reason, item) = match admission {
                Admission::Accept(item) => (Verdict::Accept, "accepted", Some(item)),
                Admission::Ignore(reason) => (Verdict::Ignore, reason, None),
                Admission::Reject(reason) => (Verdict::Reject, reason, None),
            };
            self.counters.add(job.topic.kind(), reason);
            // Others get the message before our own application does. There is room for every verdict.
            if self.outbox.try_send(Judged { ticket: job.ticket, verdict, charge }).is_err() {
                return;
            }
            if let Some(item) = item
                && !self.deliver(Event::Gossip { topic: job.topic, from: job.from, item })
            {
                return;
            }
        }
    }

    /// Waits for room; `false` when nobody will take the event any more.
    fn deliver(&self, event: Event<G::Item>) -> bool {
        self.runtime.block_on(async {
            tokio::select! {
                sent = self.items.send(event) => sent.is_ok(),
                () = self.stop.cancelled() => false,
            }
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
mod tests {
    use std::sync::Barrier;

    use super::queue::OVERHEAD;
    use super::*;

    /// Accepts what starts with `a`, ignores `i`, rejects `r`, panics at `p`, and at `b` waits for the test.
    struct ByFirstByte(Barrier);

    impl Gate for ByFirstByte {
        type Item = Vec<u8>;
        fn admit(&self, _: PublicKey, _: Topic, bytes: &[u8]) -> Admission<Vec<u8>> {
            match bytes.first() {
                Some(b'a') => Admission::Accept(bytes.to_vec()),
                Some(b'i') => Admission::Ignore("stale"),
                Some(b'r') => Admission::Reject("signature"),
                Some(b'b') => {
                    self.0.wait();
                    Admission::Ignore("waited")
                }
                _ => panic!("what a gate must not do"),
            }
        }
    }

    fn job(ticket: u32, bytes: &[u8]) -> Job<u32> {
        Job { ticket, from: PublicKey::from_bytes([1; 32]), topic: Topic::Commitments, bytes: bytes.to_vec() }
    }

    #[tokio::test]
    async fn verdicts_counts_and_items_come_out_and_a_panic_is_survived() {
        let (items, mut events) = mpsc::channel(8);
        let (counters, stop) = (Arc::new(Counters::default()), CancellationToken::new());
        let gate = Arc::new(ByFirstByte(Barrier::new(2)));
        let queue = Arc::new(Queue::new(1 << 20));
        let mut pool = Pool::start(gate, 1, queue, &items, &counters, &stop).unwrap();
        for (ticket, bytes) in [(1, "p"), (2, "a1"), (3, "i"), (4, "r"), (5, "a2")] {
            assert!(pool.submit(job(ticket, bytes.as_bytes())).is_ok());
        }
        let expected = [Verdict::Ignore, Verdict::Accept, Verdict::Ignore, Verdict::Reject, Verdict::Accept];
        for (ticket, verdict) in (1..).zip(expected) {
            assert_eq!(pool.verdict().await, Some((ticket, verdict)));
        }
        for wanted in ["a1", "a2"] {
            let Some(Event::Gossip { item, .. }) = events.recv().await else { panic!("no item") };
            assert_eq!(item, wanted.as_bytes());
        }
        let counts: Vec<_> = counters.snapshot().iter().map(|c| (c.reason, c.count)).collect();
        assert_eq!(counts, [("accepted", 2), ("gate-panicked", 1), ("signature", 1), ("stale", 1)]);
    }

    #[tokio::test]
    async fn a_full_queue_gives_the_job_back_and_a_slow_application_holds_up_the_gate_only() {
        let (items, events) = mpsc::channel(1);
        let (counters, stop) = (Arc::new(Counters::default()), CancellationToken::new());
        let gate = Arc::new(ByFirstByte(Barrier::new(2)));
        // Two messages of one byte of one peer.
        let queue = Arc::new(Queue::new(6 * (OVERHEAD + 1)));
        let mut pool = Pool::start(Arc::clone(&gate), 1, queue, &items, &counters, &stop).unwrap();
        assert!(pool.submit(job(1, b"b")).is_ok());
        gate.0.wait();
        assert_eq!(pool.verdict().await, Some((1, Verdict::Ignore)));
        // One item fills the channel, the second makes the thread wait with it; then two jobs are all that may be open.
        for ticket in 2..4 {
            assert!(pool.submit(job(ticket, b"a")).is_ok());
            assert_eq!(pool.verdict().await, Some((ticket, Verdict::Accept)));
        }
        assert!(pool.submit(job(4, b"i")).is_ok());
        assert!(pool.submit(job(5, b"i")).is_ok());
        assert_eq!(pool.submit(job(6, b"i")).map_err(|job| job.ticket), Err(6));
        stop.cancel();
        drop(items);
        pool.queue.close();
        while pool.verdicts.recv().await.is_some() {}
        drop(events);
    }
}
