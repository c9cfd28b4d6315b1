//! A worker's stats: running sums over the windows, from which each epoch's score follows.
//!
//! Each final epoch adds its row and subtracts the row that leaves the window, so an epoch costs O(1) a worker
//! whatever the windows are.

use lucid_types::amount::{Credits, Ppm};
use lucid_types::id::NodeId;
use lucid_types::policy::Policy;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, echo_credits};
use crate::score::{Components, Factors, INITIAL_TRUST, next_trust, quality};

/// One worker's final result of one epoch in which it was measured. Never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreRow {
    /// The worker.
    pub worker: NodeId,
    /// Credits earned in the epoch.
    pub credits: Credits,
    /// Milliseconds of the epoch in which it was reachable.
    pub reachable_ms: u64,
    /// The score's components. Those in [`ScoreRow::unmeasured`] are 0 because nothing probes them yet.
    pub components: Components,
    /// The score.
    pub score: Ppm,
    /// The medians of those who measured it.
    pub aggregate: Aggregate,
}

impl ScoreRow {
    /// Names of the factors that nothing has measured for this worker, to be shown as such.
    pub fn unmeasured(&self) -> Vec<&'static str> {
        let mut names = vec!["utilisation"];
        if self.aggregate.echo_kbit_s.is_none() && self.components.bandwidth == Ppm::ZERO {
            names.push("bandwidth");
        }
        if self.aggregate.success.is_none() {
            names.push("quality");
        }
        names
    }
}

/// The part of a row that a window needs to forget it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeavingRow {
    /// Credits of the leaving epoch.
    pub credits: Credits,
    /// Reachable milliseconds of the leaving epoch.
    pub reachable_ms: u64,
}

/// Running sums of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStats {
    /// Credits in the credits window.
    pub credits: Credits,
    /// Reachable milliseconds in the credits window.
    pub reachable_ms: u64,
    /// Measured epochs in the credits window.
    pub epochs: u64,
    /// Reachable milliseconds in the history window.
    pub session_ms: u64,
    /// Bandwidth when last measured, in kbit/s.
    pub kbit_s: u64,
    /// Quality when last measured.
    pub quality: Ppm,
    /// Moving average of probes passed.
    pub trust: Ppm,
    /// Newest score.
    pub score: Ppm,
}

impl Default for WorkerStats {
    fn default() -> Self {
        Self {
            credits: Credits::ZERO,
            reachable_ms: 0,
            epochs: 0,
            session_ms: 0,
            kbit_s: 0,
            quality: Ppm::ZERO,
            trust: INITIAL_TRUST,
            score: Ppm::ZERO,
        }
    }
}

impl WorkerStats {
    /// Forgets the row that leaves the credits window.
    pub fn leave_credits_window(&mut self, row: LeavingRow) {
        self.credits = self.credits.saturating_sub(row.credits);
        self.reachable_ms = self.reachable_ms.saturating_sub(row.reachable_ms);
        self.epochs = self.epochs.saturating_sub(1);
    }

    /// Forgets the row that leaves the history window.
    pub fn leave_history_window(&mut self, row: LeavingRow) {
        self.session_ms = self.session_ms.saturating_sub(row.reachable_ms);
    }

    /// Adds an epoch's medians and returns its row. Rows that leave must have been forgotten before.
    pub fn add(&mut self, policy: &Policy, worker: NodeId, aggregate: Aggregate) -> ScoreRow {
        let earned = echo_credits(policy, aggregate.echoes, aggregate.echo_bytes);
        let reachable_ms = aggregate.reachable_ms.min(policy.epoch_ms);
        self.credits = Credits::new(self.credits.get().saturating_add(earned.get()));
        self.reachable_ms = self.reachable_ms.saturating_add(reachable_ms);
        self.epochs = self.epochs.saturating_add(1);
        self.session_ms = self.session_ms.saturating_add(reachable_ms);
        self.kbit_s = aggregate.echo_kbit_s.unwrap_or(self.kbit_s);
        if let Some(success) = aggregate.success {
            self.quality = quality(success, aggregate.rtt_us);
            self.trust = next_trust(self.trust, success);
        }
        let components = self.factors(policy).components();
        self.score = components.score(&policy.weights);
        ScoreRow { worker, credits: earned, reachable_ms, components, score: self.score, aggregate }
    }

    fn factors(&self, policy: &Policy) -> Factors {
        Factors {
            session_seconds: self.session_ms / 1_000,
            credits: Credits::capped(self.credits.get()),
            // No probe proves a share of the declared resources yet.
            utilisation: Ppm::ZERO,
            kbit_s: self.kbit_s,
            uptime: self.uptime(policy),
            quality: self.quality,
            trust: self.trust,
        }
    }

    /// What reachable time is divided by: the measured epochs of the window, but at least the policy's least number.
    fn denominator_ms(&self, policy: &Policy) -> u64 {
        self.epochs.max(policy.min_denominator).saturating_mul(policy.epoch_ms)
    }

    /// Reachable share of the credits window.
    pub fn uptime(&self, policy: &Policy) -> Ppm {
        Ppm::ratio(self.reachable_ms, self.denominator_ms(policy))
    }

    /// `floor(credits * reachable / denominator)`: what orders the candidates of an election.
    pub fn live(&self, policy: &Policy) -> u64 {
        let denominator = u128::from(self.denominator_ms(policy).max(1));
        let live = u128::from(self.credits.get()) * u128::from(self.reachable_ms) / denominator;
        u64::try_from(live).unwrap_or(u64::MAX)
    }

    /// Whether the worker has earned credits and was reachable long enough.
    pub fn is_eligible(&self, policy: &Policy) -> bool {
        self.credits > Credits::ZERO && self.uptime(policy) >= policy.min_uptime
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn live_scores_of_the_document() {
        let policy = Policy::default();
        let live = |credits, seconds: u64| {
            let stats = WorkerStats {
                credits: Credits::new(credits),
                reachable_ms: seconds * 1_000,
                epochs: 5_040,
                ..WorkerStats::default()
            };
            (stats.live(&policy), stats.is_eligible(&policy))
        };
        assert_eq!(live(120, 604_800), (120, true));
        assert_eq!(live(200, 302_400), (100, true));
        assert_eq!(live(90, 120_960), (18, true), "exactly the least uptime");
        assert!(!live(500, 120_959).1);
        assert!(!live(0, 604_800).1);
    }

    #[test]
    fn a_young_worker_is_measured_against_the_least_denominator() {
        let policy = Policy::default();
        let young =
            WorkerStats { credits: Credits::new(30), reachable_ms: 120_000, epochs: 1, ..WorkerStats::default() };
        assert_eq!(young.uptime(&policy), Ppm::ratio(1, 30));
        assert_eq!(young.live(&policy), 1);
    }

    proptest! {
        /// The running sums equal the sums over the rows that are in the window.
        #[test]
        fn running_sums_equal_the_windows(epochs in prop::collection::vec((0u64..=5_000, 0u64..3), 1..40)) {
            let policy = Policy { history_window: 7, ..Policy::local(Duration::from_secs(5), 2, None) };
            let (mut stats, mut rows) = (WorkerStats::default(), VecDeque::new());
            for (reachable_ms, sessions) in epochs {
                let at = |n: u64| usize::try_from(n).ok().and_then(|n| rows.len().checked_sub(n)).map(|i| rows[i]);
                if let Some(row) = at(policy.credits_window) { stats.leave_credits_window(row); }
                if let Some(row) = at(policy.history_window) { stats.leave_history_window(row); }
                let aggregate = Aggregate { reachable_ms, echoes: sessions, ..Aggregate::default() };
                let row = stats.add(&policy, NodeId::from_bytes([1; 32]), aggregate);
                rows.push_back(LeavingRow { credits: row.credits, reachable_ms: row.reachable_ms });
                let last = |n: usize| rows.iter().rev().take(n).copied().collect::<Vec<_>>();
                prop_assert_eq!(stats.credits.get(), last(4).iter().map(|r| r.credits.get()).sum::<u64>());
                prop_assert_eq!(stats.reachable_ms, last(4).iter().map(|r| r.reachable_ms).sum::<u64>());
                prop_assert_eq!(stats.session_ms, last(7).iter().map(|r| r.reachable_ms).sum::<u64>());
                prop_assert_eq!(stats.epochs, last(4).len() as u64);
            }
        }
    }
}
