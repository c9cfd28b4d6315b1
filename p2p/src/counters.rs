//! Counts of what was refused, ignored or dropped, by group and reason. Both label sets are closed: they come from
//! constants in the code, never from the network.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// One count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Counter {
    /// A topic's or protocol's kind, or `gossip` (of no topic that there is), `connections`, `peers`, `events`, `echo`.
    pub group: &'static str,
    /// What happened. For gossip `accepted`, or the reason that the gate gave.
    pub reason: &'static str,
    /// How often since the start.
    pub count: u64,
}

/// The counts of one mesh.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Counters {
    /// Adds one.
    pub(crate) fn add(&self, group: &'static str, reason: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry((group, reason)).or_default();
        *count = count.saturating_add(1);
    }

    /// All counts that are not zero, by group and reason.
    pub(crate) fn snapshot(&self) -> Vec<Counter> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(&(group, reason), &count)| Counter { group, reason, count }).collect()
    }
}
