//! Figures of runs.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::Serialize;

/// How often each thing happened, by what it is and which: `fault: fork`, `alert: Paused`. A fault that never happens tests
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Coverage(BTreeMap<String, u64>);

impl Coverage {
    /// How often.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Everything that happened, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, n)| (name.as_str(), *n))
    }

    pub(super) fn count(&mut self, kind: &str, which: &str) {
        self.add(&format!("{kind}: {which}"), 1);
    }

    /// Counts by the names of a variant and of those within it, without figures.
    pub(super) fn count_variant(&mut self, kind: &str, of: &impl Debug) {
        let text = format!("{of:?}");
        let name =
            text.split(|c: char| matches!(c, ' ' | '{' | '"' | '[') || c.is_ascii_digit()).next().unwrap_or_default();
        let name = name.trim_end_matches('(');
        let n_open = name.matches('(').count() - name.matches(')').count();
        self.count(kind, &format!("{name}{}", ")".repeat(n_open)));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.iter().for_each(|(name, n)| self.add(name, n));
    }

    fn add(&mut self, name: &str, n: u64) {
        match self.0.get_mut(name) {
            Some(count) => *count += n,
            None => drop(self.0.insert(name.to_owned(), n)),
        }
    }
}

/// What happened in one run, or in several together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Blocks made.
    pub blocks: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Forks.
    pub forks: u64,
    /// Settlements.
    pub settlements: u64,
    /// Nodes that died.
    pub crashes: u64,
    /// Transactions of pushers that were included.
    pub included: u64,
    /// Of these, those that did nothing.
    pub failed: u64,
    /// Transactions of pushers that expired.
    pub expired: u64,
    /// Broadcasts of pushers.
    pub broadcasts: u64,
    /// Alerts.
    pub alerts: u64,
    /// Requests to providers.
    pub requests: u64,
    /// The most that one node sent to one provider group in a second.
    pub most_requests_per_second: u64,
    /// As above, in a minute.
    pub most_requests_per_minute: u64,
    /// Runs that ended with claims, because no pusher had any budget left.
    pub claimed: u64,
    /// The longest time from the end of faults until everything due was paid, in milliseconds.
    pub slowest_end_ms: u64,
    /// The most that a gas account paid for transactions, in sun.
    pub most_burnt_sun: u64,
    /// Faults, alerts, refusals and so on.
    pub seen: Coverage,
}

impl Stats {
    /// With those of another run.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.seen.merge(&other.seen);
        Self {
            blocks: self.blocks + other.blocks,
            transactions: self.transactions + other.transactions,
            forks: self.forks + other.forks,
            settlements: self.settlements + other.settlements,
            crashes: self.crashes + other.crashes,
            included: self.included + other.included,
            failed: self.failed + other.failed,
            expired: self.expired + other.expired,
            broadcasts: self.broadcasts + other.broadcasts,
            alerts: self.alerts + other.alerts,
            requests: self.requests + other.requests,
            most_requests_per_second: self.most_requests_per_second.max(other.most_requests_per_second),
            most_requests_per_minute: self.most_requests_per_minute.max(other.most_requests_per_minute),
            claimed: self.claimed + other.claimed,
            slowest_end_ms: self.slowest_end_ms.max(other.slowest_end_ms),
            most_burnt_sun: self.most_burnt_sun.max(other.most_burnt_sun),
            seen: self.seen,
        }
    }
}
