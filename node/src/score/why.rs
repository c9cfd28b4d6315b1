//! What lowered a worker's pay and score in a settlement, and what each cause cost.
//!
//! For each cause one input of its epochs is changed to what it would have been without, and the settlement is computed once more; all other
//! shares stay. So the price of a cause is what this worker would have had more by this alone. No failure is counted twice: echoes and chunks that
//! failed in an epoch in which the worker was never reached belong to [`Cause::Offline`], in others to causes of their own. Prices do not add up
//! all the same, since credits and score multiply.
//!
//! An epoch that was not measured, or not wholly, is taken for one like the last measured one of the settlement before it, or else the first after
//! it; with an echo if it was one of echo for the worker, as far as that is known. Where no epoch of the settlement was measured there is nothing
//! to compare with, and no price.

use std::collections::BTreeMap;

use lucid_consensus::ledger::event::Credited;
use lucid_consensus::ledger::policies::PolicySchedule;
use lucid_score::aggregate::{Aggregate, EchoMedian, PING_TIMEOUT_US};
use lucid_score::reward::split;
use lucid_score::score::{Components, FULL_RTT_US};
use lucid_score::worker_stats::{ScoreRow, WorkerStats};
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::id::{NodeId, PoolId};
use lucid_types::log_scale::LogScale;
use lucid_types::payout::AccountKind;
use lucid_types::policy::{Policy, ScoreWeights};
use lucid_types::time::Epoch;
use serde::{Deserialize, Serialize};

use super::replay::{PointsChange, Replayed, Rescored, replay, share};
use crate::history::ledger::SharedRecord;

/// Why a worker has less than it could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It did not answer, all the time or some of it.
    Offline,
    /// It answered after more than 50 ms.
    Slow,
    /// It answered, and most echoes to it did not come back.
    EchoFailed,
    /// It answered, and did not prove all chunks that it was asked for.
    Storage,
    /// It proved less than it declares in three of four epochs.
    Overdeclared,
    /// Others are in its network, and share its credits.
    SharedNetwork,
    /// Too few validators told of it.
    NotMeasured,
    /// It was not among those that an epoch measures, or nobody was measured.
    NotDrawn,
    /// It had announced maintenance, of all or of traffic alone.
    Maintenance,
}

/// On whose side a cause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Responsibility {
    /// The worker, its line, or its owner's decisions.
    Worker,
    /// The validators that were to measure it.
    Validators,
    /// The draw, or the state of the network.
    Network,
}

impl Cause {
    const ALL: [Self; 9] = [
        Self::Offline,
        Self::Slow,
        Self::EchoFailed,
        Self::Storage,
        Self::Overdeclared,
        Self::SharedNetwork,
        Self::NotMeasured,
        Self::NotDrawn,
        Self::Maintenance,
    ];

    /// How it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Slow => "slow",
            Self::EchoFailed => "echo failed",
            Self::Storage => "storage not proved",
            Self::Overdeclared => "declares more than it proves",
            Self::SharedNetwork => "shares its network",
            Self::NotMeasured => "not measured",
            Self::NotDrawn => "not drawn",
            Self::Maintenance => "maintenance",
        }
    }

    /// On whose side it is.
    pub const fn responsibility(self) -> Responsibility {
        match self {
            Self::NotMeasured => Responsibility::Validators,
            Self::NotDrawn => Responsibility::Network,
            _ => Responsibility::Worker,
        }
    }

    /// What can be done.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Offline => {
                "keep the node running and reachable; announce what cannot be helped with `lucid node maintenance`"
            }
            Self::Slow => {
                "look for other traffic on the line, or for a relay in between: a direct connection answers faster"
            }
            Self::EchoFailed => {
                "look for other traffic on the line, and at the firewall: an echo is a burst of a megabyte or more"
            }
            Self::Storage => {
                "nothing while validators are still storing chunks there (`lucid score show` tells proved and asked for); after that, look at \
                 the disk: chunks were not kept, or not read in time"
            }
            Self::Overdeclared => {
                "nothing while validators are still storing chunks there; after that, declare what the disk can hold: `lucid node update`"
            }
            Self::SharedNetwork => "put workers into networks of their own, or run fewer in this one",
            Self::NotMeasured => "nothing: too few validators have reported; such epochs do not lower the uptime",
            Self::NotDrawn => {
                "nothing: it was in no active pool yet, the draw of an epoch with many workers took others, or nobody was measured"
            }
            Self::Maintenance => {
                "end it when it is not needed any more; announced, it costs no uptime and no trust, but earns nothing either"
            }
        }
    }
}

/// A settlement of a pool, and what became of one worker in it.
#[derive(Clone, Copy, Debug)]
pub struct Settlement<'a> {
    /// The policies of the network.
    pub policies: &'a PolicySchedule,
    /// The pool.
    pub pool: PoolId,
    /// How the pot was shared out.
    pub shared: &'a SharedRecord,
    /// The worker.
    pub worker: NodeId,
    /// Its stats before the settlement.
    pub before: &'a WorkerStats,
    /// Throughput in kbit/s of the last echo before it that came back; 0 if none is known.
    pub kbit_s: u64,
    /// The epochs in which it was drawn, in order.
    pub drawn: &'a [Replayed],
    /// The other epochs of the settlement but those of maintenance, in order.
    pub not_drawn: &'a [Missed],
    /// Those of announced maintenance, in order: of all, in which it was not drawn, and of traffic, in which it was drawn for pings alone.
    pub maintenance: &'a [Missed],
}

/// An epoch in which a worker was not asked for all that it might have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The epoch.
    pub epoch: Epoch,
    /// Whether it was one of echo for the worker's network group or pool; false where that is not known.
    pub has_echo: bool,
}

/// What a cause cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The cause.
    pub cause: Cause,
    /// In which epochs, as ranges.
    pub epochs: Vec<(Epoch, Epoch)>,
    /// Whether there was an epoch to compare with. If not, the differences below are 0 and say nothing.
    pub is_priced: bool,
    /// How long together: time not reachable of being offline, whole epochs of anything else.
    pub ms: u64,
    /// The difference that it makes to the parts of the last score of the settlement.
    pub factors: PointsChange,
    /// The same to that score, in parts per million.
    pub score: i64,
    /// The same to the credits of the settlement.
    pub credits: i64,
    /// The same to what is paid, in micro-USDT: 0 or less but for rounding.
    pub amount: i64,
}

/// What became of a worker's settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// What it is paid.
    pub paid: MicroUsdt,
    /// What became of that; `None` if it was not measured in the settlement.
    pub credited: Option<Credited>,
    /// Its first and its last score in it.
    pub scores: Option<(Ppm, Ppm)>,
    /// What it lost, most expensive first.
    pub losses: Vec<Loss>,
}

/// The inputs do not lead to what the ledger has: some of them are not kept here any more, or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the share that follows from what is kept here is {found}, and the ledger's is {expected}")]
pub struct OtherShare {
    /// What follows.
    pub found: u128,
    /// What was shared out by.
    pub expected: u128,
}

/// What was good last before an epoch.
#[derive(Clone, Copy, Default)]
struct Last {
    kbit_s: u64,
    rtt_us: u64,
    echo_bytes: Option<LogScale>,
}

impl Last {
    fn note(&mut self, it: &Replayed) {
        self.echo_bytes = it.worker.echo_bytes.or(self.echo_bytes);
        let Some(medians) = it.medians else { return };
        if let Some(EchoMedian { kbit_s, .. }) = medians.echo.filter(|echo| echo.kbit_s > 0) {
            self.kbit_s = kbit_s;
        }
        if medians.rtt_us < PING_TIMEOUT_US {
            self.rtt_us = medians.rtt_us;
        }
    }

    /// An echo of so many bytes that comes back as fast as the last one did.
    fn echo(&self, bytes: LogScale) -> EchoMedian {
        EchoMedian { bytes: bytes.value(), kbit_s: self.kbit_s.max(1) }
    }
}

/// A measured epoch without what a cause did to it; `None` if it did nothing.
fn without(cause: Cause, policy: &Policy, it: &Replayed, last: &Last) -> Option<Replayed> {
    let medians = it.medians?;
    let (quota, all) = (it.worker.quota, policy.chunks_of_all(it.worker.quota));
    let is_reached = medians.reachable_ms > 0;
    // The echo that did not come back, as it would have.
    let failed_echo =
        medians.echo.filter(|echo| echo.bytes == 0).and(it.worker.echo_bytes).map(|bytes| last.echo(bytes));
    let medians = match cause {
        Cause::Offline if !is_reached => Aggregate {
            reachable_ms: policy.epoch_ms,
            success: Ppm::ONE,
            rtt_us: if medians.rtt_us < PING_TIMEOUT_US { medians.rtt_us } else { last.rtt_us },
            echo: failed_echo.or(medians.echo),
            chunks: medians.chunks.map(|chunks| chunks.max(all)),
            group: medians.group,
        },
        // What else failed in such an epoch has causes of its own.
        Cause::Offline if medians.reachable_ms < policy.epoch_ms => {
            let pings = u64::from(policy.pings);
            let success = if failed_echo.is_some() { Ppm::ratio(pings, pings + 1) } else { Ppm::ONE };
            Aggregate { reachable_ms: policy.epoch_ms, success, ..medians }
        }
        Cause::Slow if is_reached && medians.rtt_us > FULL_RTT_US => Aggregate { rtt_us: FULL_RTT_US, ..medians },
        Cause::EchoFailed if is_reached && failed_echo.is_some() => {
            Aggregate { echo: failed_echo, success: with_echo(policy, medians.success), ..medians }
        }
        Cause::Storage if is_reached && medians.chunks.is_some_and(|chunks| chunks < all) => {
            Aggregate { chunks: Some(all), ..medians }
        }
        Cause::Overdeclared => {
            let proved = medians.chunks.map(|chunks| of_each(policy, chunks).max(policy.storage_floor()));
            let mut worker = it.worker.clone();
            worker.quota = proved.filter(|proved| *proved < quota)?;
            return Some(Replayed { worker, ..it.clone() });
        }
        Cause::SharedNetwork if it.sharers > 1 => return Some(Replayed { sharers: 1, ..it.clone() }),
        _ => return None,
    };
    Some(Replayed { medians: Some(medians), ..it.clone() })
}

/// The success of who passed one probe more: the echo, beside as many pings as the policy assigns.
fn with_echo(policy: &Policy, success: Ppm) -> Ppm {
    let (all, one) = (u64::from(policy.pings) + 1, u64::from(Ppm::ONE.get()));
    let passed = (u64::from(success.get()) * all + one / 2) / one;
    Ppm::ratio(passed + 1, all)
}

/// Chunks of each seat, if all had as many.
fn of_each(policy: &Policy, chunks: u32) -> u16 {
    u16::try_from(chunks / policy.seats.max(1)).unwrap_or(u16::MAX)
}

/// Whether less was proved than declared in three of four epochs of those that asked for chunks.
fn is_overdeclared(policies: &PolicySchedule, drawn: &[Replayed]) -> bool {
    let asked = drawn.iter().filter(|it| it.worker.quota > 0);
    let all = |it: &Replayed| policies.at(it.epoch).chunks_of_all(it.worker.quota);
    let proved: Vec<_> = asked.filter_map(|it| Some(it.medians?.chunks? < all(it))).collect();
    let short = proved.iter().filter(|is_short| **is_short).count();
    !proved.is_empty() && 4 * short >= 3 * proved.len()
}

/// Epochs in order as ranges.
fn ranges(epochs: impl IntoIterator<Item = Epoch>) -> Vec<(Epoch, Epoch)> {
    let mut ranges: Vec<(Epoch, Epoch)> = Vec::new();
    for epoch in epochs {
        match ranges.last_mut() {
            Some((_, last)) if last.next() == epoch => *last = epoch,
            _ => ranges.push((epoch, epoch)),
        }
    }
    ranges
}

fn difference(from: u64, to: u64) -> i64 {
    i64::try_from(i128::from(to) - i128::from(from)).unwrap_or(i64::MAX)
}

impl Settlement<'_> {
    /// What it is paid if its share weighs so much.
    fn paid(&self, weight: u128) -> MicroUsdt {
        let members = self.shared.parts.iter().filter(|part| part.kind == AccountKind::Worker);
        let mut weights: Vec<_> = members.map(|part| (part.node, part.weight)).collect();
        match weights.binary_search_by_key(&self.worker, |(node, _)| *node) {
            Ok(place) => weights[place].1 = weight,
            Err(place) => weights.insert(place, (self.worker, weight)),
        }
        let mut parts = weights.iter().zip(split(self.shared.members, &weights));
        parts.find(|((node, _), _)| *node == self.worker).map_or(MicroUsdt::ZERO, |(_, part)| part)
    }

    fn share(&self, rows: &[Rescored]) -> u128 {
        share(self.shared.split, &self.pool, rows)
    }

    fn credits(&self, rows: &[Rescored]) -> u64 {
        let of_pool = rows.iter().filter(|it| it.pool == self.pool);
        of_pool.fold(0, |sum, it| sum.saturating_add(it.row.credits.get()))
    }

    /// What was good last before an epoch.
    fn last_before(&self, epoch: Epoch) -> Last {
        let mut last = Last { kbit_s: self.kbit_s, ..Last::default() };
        self.drawn.iter().take_while(|it| it.epoch < epoch).for_each(|it| last.note(it));
        last
    }

    /// An epoch like the last whole one before it, or else the first after it, with what was measured in it in place of that; `None` if there is
    /// no whole one.
    fn ordinary(&self, missed: Missed) -> Option<Replayed> {
        let Missed { epoch, has_echo } = missed;
        let policy = self.policies.at(epoch);
        let is_whole = |it: &&Replayed| {
            let is_maintenance = self.maintenance.iter().any(|missed| missed.epoch == it.epoch);
            it.medians.is_some() && it.epoch != epoch && !is_maintenance
        };
        let earlier = self.drawn.iter().rev().filter(|it| it.epoch < epoch).find(is_whole);
        let like = earlier.or_else(|| self.drawn.iter().find(is_whole))?;
        let own = self.drawn.iter().find(|it| it.epoch == epoch);
        let mut worker = own.unwrap_or(like).worker.clone();
        worker.quota = if worker.quota > 0 { worker.quota } else { like.worker.quota };
        let (all, last) = (policy.chunks_of_all(worker.quota), self.last_before(epoch));
        let bytes = worker.echo_bytes.or(last.echo_bytes).unwrap_or(LogScale::encode(policy.echo_min_bytes));
        let (measured, expected) = (own.and_then(|it| it.medians), like.medians?);
        let medians = measured.unwrap_or(expected);
        let medians = Aggregate {
            echo: (has_echo && medians.reachable_ms > 0).then(|| last.echo(bytes)),
            chunks: expected.chunks.map(|chunks| chunks.min(all)),
            ..medians
        };
        let sharers = own.filter(|it| it.medians.is_some()).unwrap_or(like).sharers;
        Some(Replayed { epoch, worker, medians: Some(medians), sharers })
    }

    /// Where a cause was, with the epochs as they would have been without it.
    fn changes(&self, cause: Cause) -> Vec<(Epoch, Option<Replayed>)> {
        let missed = |missed: &[Missed]| missed.iter().map(|it| (it.epoch, self.ordinary(*it))).collect();
        match cause {
            Cause::NotDrawn => missed(self.not_drawn),
            // What nobody measured is a cause of its own, in maintenance of traffic too.
            Cause::Maintenance => {
                let is_unmeasured = |epoch| self.drawn.iter().any(|it| it.epoch == epoch && it.medians.is_none());
                let of_maintenance = self.maintenance.iter().copied().filter(|it| !is_unmeasured(it.epoch));
                missed(&of_maintenance.collect::<Vec<_>>())
            }
            Cause::NotMeasured => {
                let unmeasured = self.drawn.iter().filter(|it| it.medians.is_none());
                let of = |it: &Replayed| Missed { epoch: it.epoch, has_echo: it.worker.echo_bytes.is_some() };
                missed(&unmeasured.map(of).collect::<Vec<_>>())
            }
            Cause::Overdeclared if !is_overdeclared(self.policies, self.drawn) => Vec::new(),
            _ => {
                let mut last = Last { kbit_s: self.kbit_s, ..Last::default() };
                let mut changes = Vec::new();
                for it in self.drawn {
                    changes
                        .extend(without(cause, self.policies.at(it.epoch), it, &last).map(|it| (it.epoch, Some(it))));
                    last.note(it);
                }
                changes
            }
        }
    }

    /// What a cause cost, compared with the rows as they are; `None` if it was not there.
    fn loss(&self, cause: Cause, rows: &[Rescored], paid: MicroUsdt) -> Option<Loss> {
        let changes = self.changes(cause);
        if changes.is_empty() {
            return None;
        }
        let epochs = ranges(changes.iter().map(|(epoch, _)| *epoch));
        let reachable: BTreeMap<_, _> =
            self.drawn.iter().filter_map(|it| Some((it.epoch, it.medians?.reachable_ms))).collect();
        let lost_ms = |epoch: &Epoch| {
            let reached = reachable.get(epoch).filter(|_| cause == Cause::Offline).copied().unwrap_or(0);
            self.policies.at(*epoch).epoch_ms.saturating_sub(reached)
        };
        let ms = changes.iter().map(|(epoch, _)| lost_ms(epoch)).sum();
        let is_priced = changes.iter().any(|(_, without)| without.is_some());
        let mut all: BTreeMap<_, _> = self.drawn.iter().map(|it| (it.epoch, it.clone())).collect();
        all.extend(changes.into_iter().filter_map(|(epoch, without)| Some((epoch, without?))));
        let without = replay(self.policies, self.before, all.values());
        let last = |rows: &[Rescored]| rows.last().map(|it| (self.policies.at(it.epoch).weights, it.row));
        let parts = |found: Option<(ScoreWeights, ScoreRow)>| -> (ScoreWeights, Components) {
            found.map(|(weights, row)| (weights, row.components)).unwrap_or_default()
        };
        let (from, to) = (parts(last(&without)), parts(last(rows)));
        let score = |rows: &[Rescored]| last(rows).map_or(0, |(_, row)| u64::from(row.score.get()));
        Some(Loss {
            cause,
            epochs,
            is_priced,
            ms,
            factors: PointsChange::between((&from.0, &from.1), (&to.0, &to.1)),
            score: difference(score(&without), score(rows)),
            credits: difference(self.credits(&without), self.credits(rows)),
            amount: difference(self.paid(self.share(&without)).get(), paid.get()),
        })
    }
}

/// What lowered a worker's pay in a settlement.
///
/// # Errors
/// What is known of the worker's epochs does not lead to its share.
pub fn why(it: &Settlement<'_>) -> Result<Findings, OtherShare> {
    let rows = replay(it.policies, it.before, it.drawn);
    let part = it.shared.part(AccountKind::Worker, &it.worker);
    let (found, expected) = (it.share(&rows), part.map_or(0, |part| part.weight));
    if found != expected {
        return Err(OtherShare { found, expected });
    }
    let paid = part.map_or(MicroUsdt::ZERO, |part| part.amount);
    let mut losses: Vec<_> = Cause::ALL.into_iter().filter_map(|cause| it.loss(cause, &rows, paid)).collect();
    losses.sort_by_key(|loss| (loss.amount, loss.score, loss.cause));
    let scores = rows.first().zip(rows.last()).map(|(first, last)| (first.row.score, last.row.score));
    Ok(Findings { paid, credited: part.map(|part| part.credited), scores, losses })
}

/// How a score came from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoreChange {
    /// By how much, in parts per million.
    pub score: i64,
    /// By how much each part.
    pub factors: PointsChange,
    /// What the parts leave over: each is rounded down.
    pub rounding: i64,
}

/// How a worker's score changed from one epoch to another; from nothing if there is no score before.
pub fn changed(policies: &PolicySchedule, before: Option<(Epoch, &ScoreRow)>, now: (Epoch, &ScoreRow)) -> ScoreChange {
    let none = Components::default();
    let of = |(epoch, row): (Epoch, &ScoreRow)| (policies.at(epoch).weights, row.components, row.score.get());
    let (weights, components, score) = of(now);
    let (old_weights, old_components, old_score) = before.map_or((weights, none, 0), of);
    let factors = PointsChange::between((&old_weights, &old_components), (&weights, &components));
    let score = i64::from(score) - i64::from(old_score);
    ScoreChange { score, factors, rounding: score - factors.sum() }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
mod tests;
