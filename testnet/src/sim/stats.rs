//! Figures of runs.

use serde::Serialize;

/// What happened in one run, or in several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
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
}

impl Stats {
    /// With those of another run.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
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
        }
    }
}
