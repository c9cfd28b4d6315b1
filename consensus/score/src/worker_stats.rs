//! A worker's stats: what was measured of it in the windows, from which each epoch's score follows.
//!
//! Each window is a ring of buckets in the worker's own row, as [`Policy::credits_buckets`] and [`Policy::history_buckets`] divide it, so
//! the next score follows from the row and the epoch's medians alone: no rows of earlier epochs are needed. A row changes only when its
//! worker is measured. Buckets that leave a window until then stay in the row, and whoever reads it at a later epoch passes over them.
//!
//! The rule is that of `docs/src/specification.md`, "Credits".

use std::iter::repeat_n;

use lucid_types::amount::{Credits, Ppm};
use lucid_types::codec::Wire;
use lucid_types::id::NodeId;
use lucid_types::policy::{Buckets, Policy};
use lucid_types::time::Epoch;
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

impl Wire for ScoreRow {
    /// Worker, credits, reachable time, seven components, score, and medians with everything present.
    const MAX_BYTES: usize = 32 + 8 + 8 + 7 * 4 + 4 + (8 + 5 + 9 + 8 + 8 + 9);
}

/// What a bucket of the credits window sums up. Numbers fit by the bounds of the policy, and saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct CreditsBucket {
    /// Credits earned: [`Policy::check`] bounds those of an epoch's echo times the bucket's epochs.
    credits: u32,
    /// Reachable milliseconds: at most the length of the bucket.
    reachable_ms: u32,
    /// Measured epochs: at most those of the bucket.
    epochs: u16,
}

impl CreditsBucket {
    const BYTES: usize = 4 + 4 + 2;
}

/// One worker's row in the state. Equal measurements make equal rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStats {
    /// The epoch in which the worker was measured last; 0 before the first. Its buckets are the first of both rings.
    measured: Epoch,
    /// Buckets of the credits window, the newest first, up to the oldest that is not empty.
    credits: Vec<CreditsBucket>,
    /// Reachable milliseconds in the buckets of the history window, likewise.
    history: Vec<u32>,
    /// Bandwidth when last measured, in kbit/s.
    pub kbit_s: u64,
    /// Quality when last measured.
    pub quality: Ppm,
    /// Moving average of probes passed.
    pub trust: Ppm,
    /// Newest score.
    pub score: Ppm,
}

impl Wire for WorkerStats {
    /// All buckets of both windows: 980 bytes.
    const MAX_BYTES: usize =
        8 + (8 + Buckets::MAX_CREDITS * CreditsBucket::BYTES) + (8 + Buckets::MAX_HISTORY * 4) + 8 + 3 * 4;
}

impl Default for WorkerStats {
    fn default() -> Self {
        Self {
            measured: Epoch::ZERO,
            credits: Vec::new(),
            history: Vec::new(),
            kbit_s: 0,
            quality: Ppm::ZERO,
            trust: INITIAL_TRUST,
            score: Ppm::ZERO,
        }
    }
}

/// What was measured of a worker in the windows at an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSums {
    /// Credits in the credits window.
    pub credits: Credits,
    /// Reachable milliseconds in the credits window.
    pub reachable_ms: u64,
    /// Measured epochs in the credits window.
    pub epochs: u64,
    /// Reachable milliseconds in the history window.
    pub session_ms: u64,
}

impl WindowSums {
    fn of(credits: &[CreditsBucket], history: &[u32]) -> Self {
        let mut sums = Self::default();
        for bucket in credits {
            sums.credits = sums.credits.saturating_add(Credits::new(bucket.credits.into()));
            sums.reachable_ms += u64::from(bucket.reachable_ms);
            sums.epochs += u64::from(bucket.epochs);
        }
        sums.session_ms = history.iter().copied().map(u64::from).sum();
        sums
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

impl WorkerStats {
    /// The epoch in which the worker was measured last; 0 before the first.
    pub const fn measured(&self) -> Epoch {
        self.measured
    }

    /// Adds the medians of `epoch` and returns its row.
    ///
    /// Epochs only go forward: one that is not after [`Self::measured`] is ignored. The stats stay as they are, and the row has no credits and
    /// no reachable time, and the components and the score of the newest epoch.
    pub fn add(&mut self, policy: &Policy, epoch: Epoch, worker: NodeId, aggregate: Aggregate) -> ScoreRow {
        let is_next = epoch > self.measured;
        let (mut credits, mut reachable_ms) = (Credits::ZERO, 0);
        if is_next {
            credits = echo_credits(policy, aggregate.echoes, aggregate.echo_bytes);
            reachable_ms = aggregate.reachable_ms.min(policy.epoch_ms);
            self.record(policy, epoch, credits, reachable_ms);
            self.kbit_s = aggregate.echo_kbit_s.unwrap_or(self.kbit_s);
            if let Some(success) = aggregate.success {
                self.quality = quality(success, aggregate.rtt_us);
                self.trust = next_trust(self.trust, success);
            }
        }
        let components = self.factors(policy).components();
        if is_next {
            self.score = components.score(&policy.weights);
        }
        ScoreRow { worker, credits, reachable_ms, components, score: self.score, aggregate }
    }

    /// Turns both rings to the epoch's buckets, and adds to them.
    fn record(&mut self, policy: &Policy, epoch: Epoch, credits: Credits, reachable_ms: u64) {
        let credits = u32::try_from(credits.get()).unwrap_or(u32::MAX);
        let reachable_ms = u32::try_from(reachable_ms).unwrap_or(u32::MAX);
        turn(&mut self.credits, policy.credits_buckets(), self.measured, epoch, |bucket| CreditsBucket {
            credits: bucket.credits.saturating_add(credits),
            reachable_ms: bucket.reachable_ms.saturating_add(reachable_ms),
            epochs: bucket.epochs.saturating_add(1),
        });
        turn(&mut self.history, policy.history_buckets(), self.measured, epoch, |ms| ms.saturating_add(reachable_ms));
        self.measured = epoch;
    }

    /// The sums over the windows at an epoch, which is not before [`Self::measured`]: an earlier one is taken for that.
    pub fn sums(&self, policy: &Policy, at: Epoch) -> WindowSums {
        WindowSums::of(
            in_window(&self.credits, policy.credits_buckets(), self.measured, at),
            in_window(&self.history, policy.history_buckets(), self.measured, at),
        )
    }

    /// The sums over the windows at [`Self::measured`]: those of all buckets, whatever the policy.
    pub fn measured_sums(&self) -> WindowSums {
        WindowSums::of(&self.credits, &self.history)
    }

    fn factors(&self, policy: &Policy) -> Factors {
        let sums = self.sums(policy, self.measured);
        Factors {
            session_seconds: sums.session_ms / 1_000,
            credits: sums.credits,
            // No probe proves a share of the declared resources yet.
            utilisation: Ppm::ZERO,
            kbit_s: self.kbit_s,
            uptime: sums.uptime(policy),
            quality: self.quality,
            trust: self.trust,
        }
    }

    /// Reachable share of the credits window at an epoch: [`WindowSums::uptime`].
    pub fn uptime(&self, policy: &Policy, at: Epoch) -> Ppm {
        self.sums(policy, at).uptime(policy)
    }

    /// What orders the candidates of an election at an epoch: [`WindowSums::live`].
    pub fn live(&self, policy: &Policy, at: Epoch) -> u64 {
        self.sums(policy, at).live(policy)
    }

    /// Whether the worker has earned credits and was reachable long enough at an epoch: [`WindowSums::is_eligible`].
    pub fn is_eligible(&self, policy: &Policy, at: Epoch) -> bool {
        self.sums(policy, at).is_eligible(policy)
    }
}

/// How many buckets of `ring` are in the window at an epoch, when its first is that of `measured`.
fn n_in_window(buckets: Buckets, measured: Epoch, at: Epoch) -> usize {
    let kept = buckets.count.saturating_sub(buckets.between(measured, at));
    usize::try_from(kept).unwrap_or(usize::MAX)
}

/// The buckets of `ring` that are in the window at an epoch.
fn in_window<B>(ring: &[B], buckets: Buckets, measured: Epoch, at: Epoch) -> &[B] {
    ring.get(..n_in_window(buckets, measured, at)).unwrap_or(ring)
}

/// Turns the ring from the bucket of `measured` to that of a later epoch, forgets what leaves the window, and adds to the newest bucket.
fn turn<B>(ring: &mut Vec<B>, buckets: Buckets, measured: Epoch, epoch: Epoch, add: impl FnOnce(B) -> B)
where
    B: Copy + Default + PartialEq,
{
    ring.truncate(n_in_window(buckets, measured, epoch));
    if !ring.is_empty() {
        let turned = usize::try_from(buckets.between(measured, epoch)).unwrap_or(usize::MAX);
        ring.splice(..0, repeat_n(B::default(), turned));
    }
    match ring.first_mut() {
        Some(newest) => *newest = add(*newest),
        None => ring.push(add(B::default())),
    }
    let kept = ring.iter().rposition(|bucket| *bucket != B::default()).map_or(0, |oldest| oldest + 1);
    ring.truncate(kept);
}

#[cfg(test)]
mod tests;
