//! A worker's scores of one settlement, computed once more from its stats before and from what was measured, or might have been.
//!
//! Nothing else is needed: the next score follows from the stats and the medians of an epoch alone.

use lucid_consensus::ledger::policies::PolicySchedule;
use lucid_score::aggregate::Aggregate;
use lucid_score::credits::earned;
use lucid_score::draw::ScoredWorker;
use lucid_score::reward::add_share;
use lucid_score::score::Components;
use lucid_score::worker_stats::{Measured, ScoreRow, WorkerStats};
use lucid_types::amount::Ppm;
use lucid_types::id::PoolId;
use lucid_types::policy::ScoreWeights;
use lucid_types::pool::SplitRule;
use lucid_types::time::Epoch;
use serde::{Deserialize, Serialize};

/// What became of a worker in an epoch in which it was drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The epoch.
    pub epoch: Epoch,
    /// The worker, as the draw has it.
    pub worker: ScoredWorker,
    /// What was measured; `None` if that was too little for a score.
    pub medians: Option<Aggregate>,
    /// Among how many its credits are divided.
    pub sharers: u16,
}

/// A score that was computed once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rescored {
    /// Of which epoch.
    pub epoch: Epoch,
    /// For which pool.
    pub pool: PoolId,
    /// The row.
    pub row: ScoreRow,
}

/// The rows that follow from a worker's stats before the first of these epochs, which are in order: those that the ledger made, if these are the
/// epochs as they were.
pub fn replay<'a>(
    policies: &PolicySchedule,
    before: &WorkerStats,
    epochs: impl IntoIterator<Item = &'a Replayed>,
) -> Vec<Rescored> {
    let mut stats = before.clone();
    let mut rows = Vec::new();
    for Replayed { epoch, worker, medians, sharers } in epochs {
        let (epoch, sharers) = (*epoch, *sharers);
        let Some(medians) = *medians else { continue };
        let policy = policies.at(epoch);
        let measured = Measured { worker, medians, earned: earned(policy, epoch, &medians), sharers };
        rows.push(Rescored { epoch, pool: worker.pool, row: stats.add(policy, epoch, &measured) });
    }
    rows
}

/// What a member's rows of a settlement weigh in a pool that splits so.
pub fn share(split: SplitRule, pool: &PoolId, rows: &[Rescored]) -> u128 {
    let of_pool = rows.iter().filter(|it| it.pool == *pool);
    of_pool.fold(0, |sum, it| add_share(split, sum, it.row.credits, it.row.score).unwrap_or(u128::MAX))
}

/// How much more, or less, each part contributes to one score than to another, in parts per million of a whole score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointsChange {
    /// Reachable time in the history window.
    pub session_time: i64,
    /// Credits in the credits window.
    pub work_credits: i64,
    /// What was proved of the disk.
    pub utilisation: i64,
    /// Throughput.
    pub bandwidth: i64,
    /// Reachable part of the credits window.
    pub uptime: i64,
    /// Success and round trips.
    pub quality: i64,
    /// Success over time.
    pub trust: i64,
}

impl PointsChange {
    /// From the one score to the other, each with the weights of its policy.
    pub fn between(from: (&ScoreWeights, &Components), to: (&ScoreWeights, &Components)) -> Self {
        let (before, after) = (points(from.0, from.1).all(), points(to.0, to.1).all());
        let part = |place: usize| i64::from(after[place].get()) - i64::from(before[place].get());
        let [session_time, work_credits, utilisation, bandwidth, uptime, quality, trust] = std::array::from_fn(part);
        Self { session_time, work_credits, utilisation, bandwidth, uptime, quality, trust }
    }

    /// The parts, in the order of [`Components::NAMES`].
    pub const fn all(&self) -> [i64; 7] {
        let Self { session_time, work_credits, utilisation, bandwidth, uptime, quality, trust } = *self;
        [session_time, work_credits, utilisation, bandwidth, uptime, quality, trust]
    }

    /// Of all parts together.
    pub fn sum(&self) -> i64 {
        self.all().into_iter().sum()
    }
}

/// What each part contributes to a score: weight times component, rounded down.
pub fn points(weights: &ScoreWeights, components: &Components) -> Components {
    let (weights, parts) = (weights.all(), components.all());
    let part = |place: usize| u64::from(parts[place].get()) * u64::from(weights[place].get());
    Components::of(std::array::from_fn(|place| Ppm::ratio(part(place), 1_000_000_000_000)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_consensus::ledger::state::Rows as _;
    use lucid_types::amount::Credits;
    use lucid_types::payout::AccountKind;

    use super::*;
    use crate::history::scores::row;
    use crate::score::fixture::{Chain, Did, EPOCHS};

    #[test]
    fn a_replay_that_changes_nothing_has_the_rows_of_the_ledger() {
        let mut chain = Chain::new(SplitRule::CreditsTimesScore);
        chain.run(3 * EPOCHS, |epoch, worker| match (epoch.get() % 5, worker) {
            (1, 0) => Did::Nothing,
            (2, 0) => Did::Slow,
            (3, 1) => Did::NotMeasured,
            (4, 1) => Did::NoEcho,
            _ => Did::Well,
        });
        for (settlement, worker) in (1..=3).flat_map(|settlement| [(settlement, 0), (settlement, 1)]) {
            let (before, epochs) = chain.inputs(settlement, worker);
            let rows = replay(chain.state.policies(), &before, &epochs);
            let found: Vec<_> = rows.iter().map(|it| (it.epoch, it.row)).collect();
            assert_eq!(found, chain.rows(settlement, worker));
            assert!(found.len() >= 3);
            let shared = chain.shared(settlement);
            let part = shared.part(AccountKind::Worker, &chain.worker(worker)).unwrap();
            assert_eq!(share(shared.split, &chain.pool(), &rows), part.weight);
        }
    }

    #[test]
    fn shares_follow_the_rule_and_the_pool() {
        let pool = |byte| PoolId::from_bytes([byte; 32]);
        let row = |epoch, of, credits, score| Rescored {
            epoch: Epoch::new(epoch),
            pool: pool(of),
            row: ScoreRow { credits: Credits::new(credits), score: Ppm::new(score), ..row(1) },
        };
        let rows = [row(1, 7, 3, 500_000), row(2, 8, 100, 900_000), row(3, 7, 4, 250_000)];
        let of = |split, of: &[Rescored]| share(split, &pool(7), of);
        assert_eq!(of(SplitRule::CreditsTimesScore, &rows), 2_500_000);
        assert_eq!((of(SplitRule::Credits, &rows), of(SplitRule::Equal, &rows)), (7, 1));
        assert_eq!((of(SplitRule::Equal, &rows[1..2]), of(SplitRule::Credits, &[])), (0, 0));
    }

    #[test]
    fn points_are_what_the_score_is_made_of() {
        let all = Ppm::new(999_999);
        let components = Components {
            session_time: all,
            work_credits: Ppm::new(123_457),
            utilisation: Ppm::ZERO,
            bandwidth: Ppm::new(40_000),
            uptime: Ppm::ONE,
            quality: Ppm::new(1),
            trust: all,
        };
        let weights = ScoreWeights::default();
        let found = points(&weights, &components);
        assert_eq!((found.session_time, found.uptime, found.quality), (Ppm::new(249_999), weights.uptime, Ppm::ZERO));
        let none = Components::default();
        let change = PointsChange::between((&weights, &none), (&weights, &components));
        let score = i64::from(components.score(&weights).get());
        assert!((change.sum()..change.sum() + 7).contains(&score), "each part is rounded down: {change:?} of {score}");
        let back = PointsChange::between((&weights, &components), (&weights, &none));
        assert_eq!((back.sum(), back.session_time), (-change.sum(), -249_999));
    }
}
