//! A worker's stats: what was measured of it in the windows, from which each epoch's score follows.
//!
//! Each window is a ring of buckets in the worker's own row, as [`Policy::credits_buckets`] and [`Policy::history_buckets`] divide it, so
//! the next score follows from the row and the epoch's medians alone: no rows of earlier epochs are needed. A row changes only when its
//! worker is measured. Buckets that leave a window until then stay in the row, and whoever reads it at a later epoch passes over them.
//!
//! The rule is that of `docs/src/specification.md`, "Credits".

use lucid_types::amount::{Credits, Ppm};
use lucid_types::codec::Wire;
use lucid_types::id::NodeId;
use lucid_types::policy::{Buckets, Policy};
use lucid_types::time::Epoch;
use serde::{Deserialize, Serialize};

use self::ring::{in_window, turn};
use crate::aggregate::Aggregate;
use crate::credits::Earned;
use crate::draw::ScoredWorker;
use crate::score::{Components, Factors, INITIAL_TRUST, next_trust, quality};

mod ring;

/// One worker's final result of one epoch in which it was measured. Never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreRow {
    /// The worker.
    pub worker: NodeId,
    /// What it earned in the epoch.
    pub earned: Earned,
    /// Among how many that is divided, itself included: workers of its network group.
    pub sharers: u16,
    /// Credits of the epoch: [`Earned::shared`].
    pub credits: Credits,
    /// Milliseconds of the epoch in which it was reachable.
    pub reachable_ms: u64,
    /// The score's components.
    pub components: Components,
    /// The score.
    pub score: Ppm,
    /// The medians of those who measured it.
    pub aggregate: Aggregate,
}

impl Wire for ScoreRow {
    /// Worker, credits, reachable time, seven components, score, and medians with everything present.
    const MAX_BYTES: usize = 32 + 16 + 2 + 8 + 8 + 7 * 4 + 4 + (8 + 4 + 8 + 17 + 5 + 7);
}

/// What became of a worker's epoch.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// The worker, as the epoch's draw has it.
    pub worker: &'a ScoredWorker,
    /// The medians.
    pub medians: Aggregate,
    /// What they earn.
    pub earned: Earned,
    /// Among how many that is divided.
    pub sharers: u16,
}

/// What a value that was measured in an epoch is worth at a later one: all of it for a quarter of the history window, since not every
/// epoch measures everything, then in equal steps less, and nothing from the window's end on.
pub fn decayed(policy: &Policy, value: u64, measured: Epoch, at: Epoch) -> u64 {
    let window = policy.history_window;
    let (age, held) = (at.get().saturating_sub(measured.get()), window / 4);
    if age <= held {
        return value;
    }
    let left = u128::from(window.saturating_sub(age));
    let worth = u128::from(value) * left / u128::from(window.saturating_sub(held).max(1));
    u64::try_from(worth).unwrap_or(value)
}

/// What a bucket of the credits window sums up. Numbers fit by the bounds of the policy, and saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct CreditsBucket {
    /// Credits: [`Policy::check`] bounds those of an epoch times the bucket's epochs.
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
    /// Throughput of the last echo in kbit/s, and the epoch of it; 0 before the first.
    pub kbit_s: (u64, Epoch),
    /// Proved part of what is declared, at the last storage challenge, and the epoch of it; 0 before the first.
    pub utilisation: (Ppm, Epoch),
    /// Quality in [`Self::measured`].
    pub quality: Ppm,
    /// Moving average of probes passed.
    pub trust: Ppm,
    /// Newest score.
    pub score: Ppm,
}

impl Wire for WorkerStats {
    /// All buckets of both windows: 1,000 bytes.
    const MAX_BYTES: usize =
        8 + (8 + Buckets::MAX_CREDITS * CreditsBucket::BYTES) + (8 + Buckets::MAX_HISTORY * 4) + 16 + 12 + 3 * 4;
}

impl Default for WorkerStats {
    fn default() -> Self {
        Self {
            measured: Epoch::ZERO,
            credits: Vec::new(),
            history: Vec::new(),
            kbit_s: (0, Epoch::ZERO),
            utilisation: (Ppm::ZERO, Epoch::ZERO),
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

    /// Adds what became of a worker's `epoch` and returns its row.
    ///
    /// Epochs only go forward: one that is not after [`Self::measured`] is ignored. The stats stay as they are, and the row has no credits and
    /// no reachable time, and the components and the score of the newest epoch.
    pub fn add(&mut self, policy: &Policy, epoch: Epoch, it: &Measured<'_>) -> ScoreRow {
        let Measured { worker, medians, earned, sharers } = *it;
        let is_next = epoch > self.measured;
        let (mut credits, mut reachable_ms) = (Credits::ZERO, 0);
        if is_next {
            credits = earned.shared(sharers);
            reachable_ms = medians.reachable_ms.min(policy.epoch_ms);
            self.record(policy, epoch, credits, reachable_ms);
            if let Some(echo) = medians.echo {
                self.kbit_s = (echo.kbit_s, epoch);
            }
            if let Some(chunks) = medians.chunks.filter(|_| worker.quota > 0) {
                let wanted = policy.chunks_of_all(worker.quota.max(policy.storage_floor()));
                self.utilisation = (Ppm::ratio(chunks.into(), wanted.into()), epoch);
            }
            self.quality = quality(medians.success, medians.rtt_us);
            self.trust = next_trust(self.trust, medians.success);
        }
        let components = self.factors(policy).components(policy);
        if is_next {
            self.score = components.score(&policy.weights);
        }
        let (worker, score) = (worker.node, self.score);
        ScoreRow { worker, earned, sharers, credits, reachable_ms, components, score, aggregate: medians }
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

    /// Those at [`Self::measured`].
    fn factors(&self, policy: &Policy) -> Factors {
        let sums = self.sums(policy, self.measured);
        Factors {
            session_seconds: sums.session_ms / 1_000,
            credits: sums.credits,
            utilisation: self.utilisation(policy, self.measured),
            kbit_s: self.kbit_s(policy, self.measured),
            uptime: sums.uptime(policy),
            quality: self.quality,
            trust: self.trust,
        }
    }

    /// Throughput in kbit/s, as far as it holds at an epoch: see [`decayed`].
    pub fn kbit_s(&self, policy: &Policy, at: Epoch) -> u64 {
        let (kbit_s, measured) = self.kbit_s;
        decayed(policy, kbit_s, measured, at)
    }

    /// Proved part of what is declared, likewise.
    pub fn utilisation(&self, policy: &Policy, at: Epoch) -> Ppm {
        let (part, measured) = self.utilisation;
        Ppm::ratio(decayed(policy, part.get().into(), measured, at), Ppm::ONE.get().into())
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

#[cfg(test)]
mod tests;
