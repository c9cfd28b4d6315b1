//! Whether a score is right: computed once more from what it was made of, step by step, by whoever doubts it.
//!
//! From the draw and the reports follow the medians, from these and the worker's stats before the settlement its scores. The first difference is
//! named.

use std::collections::BTreeMap;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::measuring::measured;
use lucid_consensus::ledger::policies::PolicySchedule;
use lucid_score::draw::EpochDraw;
use lucid_score::report::check_report;
use lucid_score::worker_stats::{ScoreRow, WorkerStats};
use lucid_types::block::Block;
use lucid_types::id::{Hash, NodeId, ValidatorId};
use lucid_types::report::ScoreReport;
use lucid_types::time::Epoch;
use serde::{Deserialize, Serialize};

use super::replay::{Replayed, replay};

/// The reports of an epoch by the keys of those that committed to one; `None` where it was not revealed in time.
pub type Reports = Vec<(ValidatorId, Option<ScoreReport>)>;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The reports fit the draw, and claim nothing that could not have been measured.
    Reports,
    /// The medians, what they earn, and among how many that is divided.
    Medians,
    /// Credits, components and score.
    Score,
    /// The row is in the state that the validators have certified.
    Proof,
}

/// Where a score is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What is different.
    pub field: String,
    /// What follows from what the score was made of.
    pub expected: String,
    /// What the score says.
    pub found: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was looked at.
    pub check: Check,
    /// What was found; the first difference if there is one.
    pub outcome: Result<String, Difference>,
}

/// What a worker's score of an epoch was made of.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    /// The network.
    pub spec: &'a ChainSpec,
    /// Its policies.
    pub policies: &'a PolicySchedule,
    /// The epoch.
    pub epoch: Epoch,
    /// The worker.
    pub worker: NodeId,
    /// Who was to measure whom.
    pub draw: &'a EpochDraw,
    /// What they reported.
    pub reports: &'a Reports,
    /// The worker's stats before the epoch's settlement; `None` if it was not measured in that.
    pub before: Option<&'a WorkerStats>,
    /// The epochs of the settlement up to this one in which it was drawn.
    pub epochs: &'a [Replayed],
    /// The row of the score; `None` if it has none.
    pub row: Option<&'a ScoreRow>,
}

/// Blocks that do not hold what they should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// A signature is not the signer's.
    #[error("the signature of validator {0} does not hold")]
    Signature(ValidatorId),
    /// A reveal without a commitment, or of another report.
    #[error("what validator {0} has revealed is not what it committed to")]
    Commitment(ValidatorId),
    /// A key that is no validator's.
    #[error("{0} is no key of a validator")]
    Unknown(ValidatorId),
}

/// The reports of an epoch as these blocks hold them, each checked against its commitment: all blocks in which either may stand.
///
/// # Errors
/// They are no blocks that the ledger has taken.
pub fn opened<'a>(
    spec: &ChainSpec,
    account_of: impl Fn(&ValidatorId) -> Option<NodeId>,
    epoch: Epoch,
    blocks: impl IntoIterator<Item = &'a Block>,
) -> Result<Reports, NotOpened> {
    let mut committed = BTreeMap::<ValidatorId, (Hash, Option<ScoreReport>)>::new();
    for block in blocks {
        for commitment in block.commitments.iter().filter(|it| it.record.epoch == epoch) {
            commitment.check(spec.id()).map_err(|_| NotOpened::Signature(commitment.signer))?;
            committed.insert(commitment.signer, (commitment.record.report, None));
        }
        for reveal in block.reveals.iter().filter(|it| it.record.report.epoch == epoch) {
            let signer = reveal.signer;
            reveal.check(spec.id()).map_err(|_| NotOpened::Signature(signer))?;
            let account = account_of(&signer).ok_or(NotOpened::Unknown(signer))?;
            let (hash, report) = committed.get_mut(&signer).ok_or(NotOpened::Commitment(signer))?;
            if !spec.rules().is_committed(hash, &reveal.record.commitment(spec.id(), &account)) {
                return Err(NotOpened::Commitment(signer));
            }
            *report = Some(reveal.record.report.clone());
        }
    }
    Ok(committed.into_iter().map(|(signer, (_, report))| (signer, report)).collect())
}

/// Looks at everything but the proof, in the order in which one follows from the other. The first difference is the last step.
pub fn verify(it: &Made<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for check in [Check::Reports, Check::Medians, Check::Score] {
        let outcome = match check {
            Check::Reports => reports(it),
            Check::Medians => medians(it),
            Check::Score => score(it),
            Check::Proof => break,
        };
        let is_different = outcome.is_err();
        steps.push(Step { check, outcome });
        if is_different {
            break;
        }
    }
    steps
}

fn reports(it: &Made<'_>) -> Result<String, Difference> {
    let policy = it.policies.at(it.epoch);
    let mut revealed = 0_usize;
    for (validator, report) in it.reports {
        let Some(report) = report else { continue };
        revealed += 1;
        check_report(policy, it.draw, validator, report).map_err(|problem| Difference {
            field: format!("report of validator {validator}"),
            expected: "one that fits the draw".to_owned(),
            found: problem.to_string(),
        })?;
    }
    Ok(format!("{revealed} reports of {} that were committed to", it.reports.len()))
}

fn medians(it: &Made<'_>) -> Result<String, Difference> {
    let policy = it.policies.at(it.epoch);
    let all = measured(it.spec.rules(), policy, it.epoch, it.draw, it.reports);
    let found = all.iter().find(|measured| measured.worker.node == it.worker);
    let (measured, row) = match (found, it.row) {
        (None, None) => return Ok("too few validators measured the worker: it has no score".to_owned()),
        (None, Some(_)) => return Err(difference("score", "none", "one")),
        (Some(_), None) => return Err(difference("score", "one", "none")),
        (Some(measured), Some(row)) => (measured, row),
    };
    let expected = ScoreRow { aggregate: measured.medians, earned: measured.earned, sharers: measured.sharers, ..*row };
    compare(&expected, row)?;
    Ok(format!("{} validators had seats for the worker", measured.worker.seats.len()))
}

fn score(it: &Made<'_>) -> Result<String, Difference> {
    let Some(row) = it.row else { return Ok("there is none".to_owned()) };
    let Some(before) = it.before else { return Err(difference("stats before the settlement", "some", "none")) };
    let rows = replay(it.policies, before, it.epochs);
    let last = rows.last().filter(|last| last.epoch == it.epoch);
    let Some(last) = last else { return Err(difference("score", "none", "one")) };
    compare(&last.row, row)?;
    Ok(format!("it follows from the epochs of the settlement up to this one, {} with scores", rows.len()))
}

fn difference(field: &str, expected: impl ToString, found: impl ToString) -> Difference {
    Difference { field: field.to_owned(), expected: expected.to_string(), found: found.to_string() }
}

/// The first field in which two rows differ.
fn compare(expected: &ScoreRow, found: &ScoreRow) -> Result<(), Difference> {
    type Field = (&'static str, fn(&ScoreRow) -> String);
    let fields: [Field; 20] = [
        ("worker", |row| row.worker.to_string()),
        ("median of reachable time", |row| row.aggregate.reachable_ms.to_string()),
        ("median of success", |row| row.aggregate.success.to_string()),
        ("median of round trips", |row| row.aggregate.rtt_us.to_string()),
        ("median of the echo", |row| format!("{:?}", row.aggregate.echo)),
        ("chunks", |row| format!("{:?}", row.aggregate.chunks)),
        ("network group", |row| format!("{:?}", row.aggregate.group)),
        ("credits of the echo", |row| row.earned.relay.to_string()),
        ("credits of storage", |row| row.earned.storage.to_string()),
        ("sharers", |row| row.sharers.to_string()),
        ("credits", |row| row.credits.to_string()),
        ("reachable time", |row| row.reachable_ms.to_string()),
        ("session time", |row| row.components.session_time.to_string()),
        ("work credits", |row| row.components.work_credits.to_string()),
        ("utilisation", |row| row.components.utilisation.to_string()),
        ("bandwidth", |row| row.components.bandwidth.to_string()),
        ("uptime", |row| row.components.uptime.to_string()),
        ("quality", |row| row.components.quality.to_string()),
        ("trust", |row| row.components.trust.to_string()),
        ("score", |row| row.score.to_string()),
    ];
    for (field, of) in fields {
        let (expected, found) = (of(expected), of(found));
        if expected != found {
            return Err(difference(field, expected, found));
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
mod tests {
    use lucid_consensus::ledger::state::Rows as _;
    use lucid_score::credits::Earned;
    use lucid_types::amount::{Credits, Ppm};
    use lucid_types::pool::SplitRule;

    use super::*;
    use crate::score::fixture::{Chain, Did, EPOCHS};

    /// A chain in which not everything went well.
    fn chain() -> Chain {
        let mut chain = Chain::new(SplitRule::Credits);
        chain.run(2 * EPOCHS, |epoch, worker| match (epoch.get(), worker) {
            (2, 0) => Did::Slow,
            (5, 0) => Did::Nothing,
            (6, 1) => Did::NotMeasured,
            (7, 1) => Did::OneChunk,
            _ => Did::Well,
        });
        chain
    }

    /// The steps for a worker and an epoch, after something was changed.
    fn steps(
        chain: &Chain,
        epoch: u64,
        worker: usize,
        change: impl Fn(&mut Reports, &mut Option<ScoreRow>),
    ) -> Vec<Step> {
        let settlement = epoch.div_ceil(EPOCHS);
        let (before, mut epochs) = chain.inputs(settlement, worker);
        epochs.retain(|it| it.epoch <= Epoch::new(epoch));
        let it = &chain.finals[&Epoch::new(epoch)];
        let mut reports = it.reports.clone();
        let mut row = it.scores.rows.iter().find(|row| row.worker == chain.worker(worker)).copied();
        change(&mut reports, &mut row);
        verify(&Made {
            spec: &chain.spec,
            policies: chain.state.policies(),
            epoch: Epoch::new(epoch),
            worker: chain.worker(worker),
            draw: &it.draw,
            reports: &reports,
            before: Some(&before),
            epochs: &epochs,
            row: row.as_ref(),
        })
    }

    #[test]
    fn every_score_of_a_chain_is_right() {
        let chain = chain();
        for (epoch, worker) in (1..=2 * EPOCHS).flat_map(|epoch| [(epoch, 0), (epoch, 1)]) {
            let steps = steps(&chain, epoch, worker, |_, _| {});
            assert_eq!(
                steps.iter().map(|step| step.check).collect::<Vec<_>>(),
                [Check::Reports, Check::Medians, Check::Score]
            );
            assert!(steps.iter().all(|step| step.outcome.is_ok()), "epoch {epoch}, worker {worker}: {steps:?}");
        }
    }

    #[test]
    fn the_first_difference_is_named() {
        let chain = chain();
        let differs = |change: &dyn Fn(&mut Reports, &mut Option<ScoreRow>), check: Check, field: &str| {
            let steps = steps(&chain, 7, 1, change);
            let last = steps.last().unwrap();
            let Err(difference) = &last.outcome else { panic!("nothing is wrong: {steps:?}") };
            assert_eq!((last.check, difference.field.as_str()), (check, field), "{difference:?}");
            assert!(
                difference.expected != difference.found && steps[..steps.len() - 1].iter().all(|it| it.outcome.is_ok())
            );
        };
        let row = |change: fn(&mut ScoreRow)| {
            move |_: &mut Reports, row: &mut Option<ScoreRow>| change(row.as_mut().unwrap())
        };
        differs(&row(|row| row.aggregate.rtt_us += 1), Check::Medians, "median of round trips");
        differs(&row(|row| row.earned = Earned::default()), Check::Medians, "credits of the echo");
        differs(&row(|row| row.sharers = 3), Check::Medians, "sharers");
        differs(&row(|row| row.credits = Credits::new(99)), Check::Score, "credits");
        differs(&row(|row| row.components.trust = Ppm::ZERO), Check::Score, "trust");
        differs(&row(|row| row.score = Ppm::ONE), Check::Score, "score");
        differs(&|_, row| *row = None, Check::Medians, "score");
        differs(&|reports, _| reports[0].1 = None, Check::Medians, "score");
        let of_others = |reports: &mut Reports, _: &mut Option<ScoreRow>| {
            let (validator, _) = reports.remove(0);
            reports.push((validator, Some(ScoreReport::new(Epoch::new(7), &[], &[]))));
        };
        let validator = chain.finals[&Epoch::new(7)].reports[0].0;
        differs(&of_others, Check::Reports, &format!("report of validator {validator}"));
    }

    #[test]
    fn blocks_hold_the_reports() {
        let chain = chain();
        let account_of = |key: &ValidatorId| chain.state.validator_account(key);
        for (epoch, it) in &chain.finals {
            let found = opened(&chain.spec, account_of, *epoch, &chain.blocks).unwrap();
            assert_eq!(found, it.reports);
            assert!(found.iter().all(|(_, report)| report.is_some()));
        }
        let (epoch, id) = (Epoch::new(3), chain.finals[&Epoch::new(3)].reports[0].0);
        let without = |change: &dyn Fn(&mut Block)| {
            let mut blocks = chain.blocks.clone();
            blocks.iter_mut().for_each(change);
            opened(&chain.spec, account_of, epoch, &blocks)
        };
        assert_eq!(without(&|block| block.reveals.clear()), Ok(vec![(id, None)]));
        assert_eq!(without(&|block| block.commitments.clear()), Err(NotOpened::Commitment(id)));
        let salted = |block: &mut Block| block.reveals.iter_mut().for_each(|reveal| reveal.record.salt = [9; 32]);
        assert_eq!(without(&salted), Err(NotOpened::Signature(id)));
        assert_eq!(opened(&chain.spec, |_| None, epoch, &chain.blocks), Err(NotOpened::Unknown(id)));
    }
}
