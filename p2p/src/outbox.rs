//! Messages that nobody could take when they were published, kept for a while and tried again.
//!
//! A node that has just started or lost its peers publishes into the void; the outbox waits for the first peer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a message waits. Older messages are stale for their receivers.
const MAX_AGE: Duration = Duration::from_secs(15);
/// Bytes of all waiting messages.
const MAX_BYTES: usize = 16 << 20;

/// A bounded queue of messages with their deadlines.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    waiting: VecDeque<(Instant, T, Vec<u8>)>,
    bytes: usize,
    capacity: usize,
}

impl<T: Copy> Outbox<T> {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, capacity }
    }

    /// Keeps a message; `false` when there is no room.
    pub(crate) fn push(&mut self, topic: T, bytes: Vec<u8>, now: Instant) -> bool {
        let total = self.bytes.saturating_add(bytes.len());
        if self.waiting.len() >= self.capacity || total > MAX_BYTES {
            return false;
        }
        self.bytes = total;
        self.waiting.push_back((now + MAX_AGE, topic, bytes));
        true
    }

    /// Takes everything out, oldest first, to be tried again; returns how many were too old with it.
    pub(crate) fn take(&mut self, now: Instant) -> (Vec<Waiting<T>>, usize) {
        self.bytes = 0;
        let before = self.waiting.len();
        let due = self.waiting.drain(..).filter(|(deadline, _, _)| *deadline > now);
        let due: Vec<_> = due.map(|(deadline, topic, bytes)| Waiting { deadline, topic, bytes }).collect();
        let expired = before.saturating_sub(due.len());
        (due, expired)
    }

    /// Puts back what still finds nobody. It keeps its deadline, and it had room before.
    pub(crate) fn put_back(&mut self, message: Waiting<T>) {
        self.bytes = self.bytes.saturating_add(message.bytes.len());
        self.waiting.push_back((message.deadline, message.topic, message.bytes));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// A message out of the outbox.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    deadline: Instant,
    pub(crate) topic: T,
    pub(crate) bytes: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outbox_is_bounded_in_number_bytes_and_age() {
        let now = Instant::now();
        let mut outbox = Outbox::new(3);
        assert!(outbox.push(1, vec![0; MAX_BYTES - 1], now));
        assert!(outbox.push(2, vec![0; 1], now + Duration::from_secs(10)));
        assert!(!outbox.push(3, vec![0; 1], now), "no room for more bytes");
        assert!(outbox.push(4, vec![], now));
        assert!(!outbox.push(5, vec![], now), "no room for more messages");
        let (due, expired) = outbox.take(now + MAX_AGE);
        assert_eq!((due.iter().map(|w| w.topic).collect::<Vec<_>>(), expired), (vec![2], 2));
        assert!(outbox.is_empty());
        for waiting in due {
            outbox.put_back(waiting);
        }
        let (due, expired) = outbox.take(now + Duration::from_secs(10) + MAX_AGE);
        assert_eq!((due.len(), expired), (0, 1), "a retry does not prolong the wait");
        assert!(outbox.push(6, vec![0; MAX_BYTES], now), "what left is not counted");
    }
}
