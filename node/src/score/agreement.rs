//! Whether validators measured by themselves: how much each two say the same of the same workers.
//!
//! Honest validators agree on what is and differ in what they saw: round-trip times and throughput have steps of one part in 2,048. Whoever copies
//! says the same to the last digit. What another reports of an epoch cannot be known before one's own is committed to, but among
//! friends; what it reported of the epoch before can.

use std::collections::BTreeMap;

use lucid_score::aggregate::success;
use lucid_score::median::{Weighted, weighted_median};
use lucid_types::amount::Ppm;
use lucid_types::id::NodeId;
use lucid_types::report::Observation;
use lucid_types::time::Epoch;

/// What a validator measured of a worker in an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Measurement {
    /// The worker.
    pub worker: NodeId,
    /// The validator.
    pub validator: NodeId,
    /// Its seats for the worker.
    pub seats: u8,
    /// What it measured.
    pub seen: Observation,
}

/// Fewer workers and epochs in common say nothing of two validators, or of one.
const LEAST_IN_COMMON: u64 = 50;
/// Beyond this part of equal measurements one of the two copies.
const COPIED: Ppm = Ppm::new(500_000);
/// A validator's success is compared with the medians; up to this it is always like them.
const LIKE_THE_MEDIANS: u32 = 50_000;

/// How two validators agree: a sum over the workers and epochs that both reached.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    in_common: u64,
    identical: u64,
    rtt_gap: u64,
    success_gap: u64,
    /// Workers that one reached in an epoch and the other in the epoch before, and of how many it said the same.
    after: u64,
    repeated: u64,
}

/// Gathers epochs, the oldest first.
#[derive(Debug, Default)]
pub struct Agreement {
    /// By both validators. Of each two that have anything in common both orders are there, since only repeating has a direction.
    pairs: BTreeMap<(NodeId, NodeId), Sums>,
    /// Distance of each validator's success from the medians: sum and number.
    distances: BTreeMap<NodeId, (u64, u64)>,
    /// What was measured in the newest epoch.
    before: Option<(Epoch, BTreeMap<NodeId, Vec<Measurement>>)>,
}

/// How two validators agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The validator of the two whose id is less.
    pub a: NodeId,
    /// The validator of the two whose id is greater.
    pub b: NodeId,
    /// Measurements of the same worker in the same epoch that both reached.
    pub in_common: u64,
    /// Part of them that are identical.
    pub identical: Ppm,
    /// Mean difference of their round-trip times, as part of the greater one.
    pub rtt_gap: Ppm,
    /// Mean difference of their success.
    pub success_gap: Ppm,
    /// Part of what `a` says that `b` said in the epoch before.
    pub a_repeats_b: Ppm,
    /// The other way round.
    pub b_repeats_a: Ppm,
}

/// A validator that says what another says, more often than can be by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Copying {
    /// The validator that says it.
    pub validator: NodeId,
    /// The validator that says the same.
    pub of: NodeId,
    /// How many epochs later: 0 or 1. In the same epoch nobody knows who of the two copies.
    pub lag: u8,
    /// Part of its measurements that are the other's.
    pub part: Ppm,
}

/// A validator that finds workers better or worse than the others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// The validator that is beside the medians.
    pub validator: NodeId,
    /// The mean distance of its success from the medians.
    pub distance: Ppm,
    /// What is usual among all at most.
    pub limit: Ppm,
}

/// All that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Each two validators that have anything in common.
    pub pairs: Vec<Pair>,
    /// Those that copy.
    pub copying: Vec<Copying>,
    /// Those that are beside the medians.
    pub outliers: Vec<Outlier>,
}

/// The same to the last digit. Who sent no echo said nothing of it.
fn is_identical(a: &Observation, b: &Observation) -> bool {
    let pings = |it: &Observation| (it.pings_sent, it.pings_answered, it.rtt_us);
    let echoes = a.echo_kbit_s.zip(b.echo_kbit_s);
    pings(a) == pings(b) && echoes.is_none_or(|(a, b)| a == b)
}

fn part(of: u64, all: u64) -> Ppm {
    Ppm::ratio(of, all.max(1))
}

impl Agreement {
    /// Adds the measurements of an epoch. A worker that a validator did not reach is left out: all say the same of it.
    pub fn add(&mut self, epoch: Epoch, measurements: impl IntoIterator<Item = Measurement>) {
        let mut by_worker = BTreeMap::<NodeId, Vec<Measurement>>::new();
        for it in measurements {
            by_worker.entry(it.worker).or_default().push(it);
        }
        for all in by_worker.values_mut() {
            self.compare_with_median(all);
            all.retain(|it| it.seen.pings_answered > 0);
        }
        for all in by_worker.values() {
            for (i, a) in all.iter().enumerate() {
                for b in all.iter().skip(i + 1).filter(|b| b.validator != a.validator) {
                    let (a, b) = if a.validator < b.validator { (a, b) } else { (b, a) };
                    self.pairs.entry((a.validator, b.validator)).or_default().compare(&a.seen, &b.seen);
                }
            }
        }
        let before = self.before.replace((epoch, by_worker));
        let (Some((last, before)), Some((_, now))) = (before, &self.before) else { return };
        if last.next() != epoch {
            return;
        }
        for (worker, all) in now {
            for then in before.get(worker).into_iter().flatten() {
                for it in all.iter().filter(|it| it.validator != then.validator) {
                    let sums = self.pairs.entry((it.validator, then.validator)).or_default();
                    sums.after += 1;
                    sums.repeated += u64::from(is_identical(&it.seen, &then.seen));
                }
            }
        }
    }

    fn compare_with_median(&mut self, all: &[Measurement]) {
        let of = |it: &Measurement| u64::from(success(&it.seen).get());
        let pinged = || all.iter().filter(|it| it.seen.pings_sent > 0);
        let mut values: Vec<_> = pinged().map(|it| Weighted::new(of(it), it.seats)).collect();
        let Some(median) = weighted_median(&mut values) else { return };
        for it in pinged() {
            let (sum, number) = self.distances.entry(it.validator).or_default();
            (*sum, *number) = (*sum + of(it).abs_diff(median), *number + 1);
        }
    }

    /// What the epochs show.
    pub fn findings(&self) -> Findings {
        let of = |a: &NodeId, b: &NodeId| self.pairs.get(&(*a, *b)).copied().unwrap_or_default();
        let ordered = self.pairs.keys().map(|(a, b)| if a < b { (*a, *b) } else { (*b, *a) });
        let mut both: Vec<_> = ordered.collect();
        both.sort_unstable();
        both.dedup();
        let pair = |(a, b): (NodeId, NodeId)| {
            let (sums, back) = (of(&a, &b), of(&b, &a));
            let mean = |sum: u64| part(sum / sums.in_common.max(1), u64::from(Ppm::ONE.get()));
            Pair {
                a,
                b,
                in_common: sums.in_common,
                identical: part(sums.identical, sums.in_common),
                rtt_gap: mean(sums.rtt_gap),
                success_gap: mean(sums.success_gap),
                a_repeats_b: part(sums.repeated, sums.after),
                b_repeats_a: part(back.repeated, back.after),
            }
        };
        let pairs: Vec<_> = both.into_iter().map(pair).collect();
        let copying = pairs.iter().flat_map(|pair| {
            let Pair { a, b, .. } = *pair;
            let enough = |number: u64| number >= LEAST_IN_COMMON;
            let copying = |validator, of, lag, part| Copying { validator, of, lag, part };
            [
                (copying(b, a, 0, pair.identical), enough(pair.in_common)),
                (copying(a, b, 1, pair.a_repeats_b), enough(of(&a, &b).after)),
                (copying(b, a, 1, pair.b_repeats_a), enough(of(&b, &a).after)),
            ]
        });
        let copying = copying.filter(|(it, is_enough)| *is_enough && it.part > COPIED).map(|(it, _)| it).collect();
        Findings { copying, outliers: self.outliers(), pairs }
    }

    /// Those whose mean distance from the medians is beyond six times the median absolute deviation of all.
    fn outliers(&self) -> Vec<Outlier> {
        let known = self.distances.iter().filter(|(_, (_, number))| *number >= LEAST_IN_COMMON);
        let means: Vec<(NodeId, u64)> = known.map(|(validator, (sum, number))| (*validator, sum / number)).collect();
        let median = |values: &mut dyn Iterator<Item = u64>| {
            let mut values: Vec<_> = values.map(|value| Weighted::new(value, 1)).collect();
            weighted_median(&mut values).unwrap_or(0)
        };
        let middle = median(&mut means.iter().map(|(_, mean)| *mean));
        let deviation = median(&mut means.iter().map(|(_, mean)| mean.abs_diff(middle)));
        let limit = middle + (6 * deviation).max(u64::from(LIKE_THE_MEDIANS));
        let ppm = |value| part(value, u64::from(Ppm::ONE.get()));
        let far = means.into_iter().filter(|(_, mean)| *mean > limit);
        far.map(|(validator, mean)| Outlier { validator, distance: ppm(mean), limit: ppm(limit) }).collect()
    }
}

impl Sums {
    fn compare(&mut self, a: &Observation, b: &Observation) {
        let (rtt_a, rtt_b) = (a.rtt_us.value(), b.rtt_us.value());
        self.in_common += 1;
        self.identical += u64::from(is_identical(a, b));
        self.rtt_gap += u64::from(Ppm::ratio(rtt_a.abs_diff(rtt_b), rtt_a.max(rtt_b)).get());
        self.success_gap += u64::from(success(a).get().abs_diff(success(b).get()));
    }
}

#[cfg(test)]
mod tests;
