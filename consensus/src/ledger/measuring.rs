//! Scores: what validators reported of an epoch becomes final. And who holds chunks with workers in the settlements to come.

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_score::aggregate::{Aggregate, Seen};
use lucid_score::draw::{EpochDraw, ScoredWorker};
use lucid_score::report::{observed, stored};
use lucid_score::storage::StorageTerm;
use lucid_score::worker_stats::{Measured, ScoreRow, WorkerStats};
use lucid_types::id::{NodeId, ValidatorId};
use lucid_types::network_group::NetworkGroup;
use lucid_types::policy::Policy;
use lucid_types::report::ScoreReport;
use lucid_types::time::Epoch;

use crate::chain_spec::ChainSpec;
use crate::ledger::check::InvalidBlock;
use crate::ledger::duties::{Reported, count_reports};
use crate::ledger::settle;
use crate::ledger::state::{EpochScores, FinalEpoch, Overlay, Rows};
use crate::ledger::table::{
    Commitments, Draws, Nodes, PendingEpochs, Reveals, ScoreRoots, StorageTerms, Table, Workers,
};
use crate::rules::Rules;

/// Makes the scores of an epoch final whose last window ends with this block, adds them to the pools' shares, counts what validators did for
/// them, and removes all that was kept for them.
pub(crate) fn finalise(spec: &ChainSpec, overlay: &mut Overlay<'_>) -> Result<Option<FinalEpoch>, InvalidBlock> {
    let height = overlay.head.height;
    let mut pending = overlay.all::<PendingEpochs>();
    let Some((epoch, _)) = pending.find(|(_, it)| it.windows(spec).final_in() == height) else {
        return Ok(None);
    };
    drop(pending);
    let draw = overlay.get::<Draws>(&epoch).cloned().ok_or(InvalidBlock::Damaged(Draws::NAME))?;
    // A reveal needs a commitment.
    let report = |key: (Epoch, ValidatorId)| (key.1, overlay.get::<Reveals>(&key).cloned());
    let reports: Vec<_> = overlay.all_of::<Commitments, _>(&epoch).map(|(key, _)| report(key)).collect();
    let (seen, reported) = read(&draw, &reports);
    let policy = Arc::clone(overlay.policy(epoch));
    let (rows, before) = score(&policy, overlay, epoch, measure(spec.rules(), &policy, epoch, &draw, &seen));
    count_reports(spec, overlay, &draw, epoch, &rows, &reported)?;
    let scores = EpochScores { epoch, rows };
    overlay.put::<ScoreRoots>(&epoch, scores.root());
    settle::add_shares(spec, overlay, &draw, &scores)?;
    overlay.head.scored = epoch;
    for (validator, _) in &reports {
        overlay.remove::<Commitments>(&(epoch, *validator));
        overlay.remove::<Reveals>(&(epoch, *validator));
    }
    overlay.remove::<PendingEpochs>(&epoch);
    overlay.remove::<Draws>(&epoch);
    Ok(Some(FinalEpoch { scores, draw, reports, before }))
}

/// What was revealed of each scored worker, in their order, with the reporters' seats; and what each of those did who committed to a report.
/// The reports were checked when their block was.
fn read(draw: &EpochDraw, reports: &[(ValidatorId, Option<ScoreReport>)]) -> (Vec<Seen>, Vec<Reported>) {
    // At most one of each reporter.
    let all = || Seen { probes: Vec::with_capacity(reports.len()), stored: Vec::with_capacity(reports.len()) };
    let mut seen: Vec<_> = draw.scored.iter().map(|_| all()).collect();
    let mut reported = Vec::with_capacity(reports.len());
    for (key, report) in reports {
        let measured = report.as_ref().map(|report| {
            let mut measured = Vec::new();
            for (place, probe) in observed(draw, key, report).into_iter().flatten() {
                seen[place].probes.push(probe);
                measured.push(place);
            }
            for (place, chunks) in stored(draw, key, report).into_iter().flatten() {
                seen[place].stored.push(chunks);
            }
            measured
        });
        reported.push(Reported { key: *key, measured });
    }
    (seen, reported)
}

/// What the reports on an epoch come to, of each worker that enough validators have measured, in their order: the reports, by the keys of those
/// that committed to one, were checked against the draw when they came.
pub fn measured<'a>(
    rules: &dyn Rules,
    policy: &Policy,
    epoch: Epoch,
    draw: &'a EpochDraw,
    reports: &[(ValidatorId, Option<ScoreReport>)],
) -> Vec<Measured<'a>> {
    measure(rules, policy, epoch, draw, &read(draw, reports).0)
}

/// The same of what was revealed of each worker.
fn measure<'a>(
    rules: &dyn Rules,
    policy: &Policy,
    epoch: Epoch,
    draw: &'a EpochDraw,
    seen: &[Seen],
) -> Vec<Measured<'a>> {
    let medians = draw.scored.iter().zip(seen);
    let medians = medians.filter_map(|(worker, seen)| Some((worker, rules.aggregate(policy, worker, seen)?)));
    let medians: Vec<_> = medians.collect();
    let together = count_groups(medians.iter().map(|(_, medians)| medians));
    let measured = |(worker, medians): (&'a ScoredWorker, Aggregate)| {
        let observed = medians.group.and_then(|group| together.get(&group)).copied().unwrap_or(1);
        let earned = rules.earned(policy, epoch, &medians);
        let sharers = rules.sharers(policy, worker, &medians, observed);
        Measured { worker, medians, earned, sharers }
    };
    medians.into_iter().map(measured).collect()
}

/// Adds what was measured of each worker to its statistics, and notes where it was. Returns their rows, and their statistics before, of
/// those that were not measured in the epoch's settlement yet.
fn score(
    policy: &Policy,
    overlay: &mut Overlay<'_>,
    epoch: Epoch,
    measured: Vec<Measured<'_>>,
) -> (Vec<ScoreRow>, Vec<(NodeId, Arc<WorkerStats>)>) {
    let settlement = policy.settlement_of(epoch);
    let (mut rows, mut before) = (Vec::with_capacity(measured.len()), Vec::new());
    for it in measured {
        let worker = it.worker;
        let known = overlay.shared::<Workers>(&worker.node).cloned().unwrap_or_default();
        let mut stats = WorkerStats::clone(&known);
        if policy.settlement_of(stats.measured()) < settlement {
            before.push((worker.node, known));
        }
        rows.push(stats.add(policy, epoch, &it));
        overlay.put::<Workers>(&worker.node, stats);
        note_group(overlay, worker, it.medians.group);
    }
    (rows, before)
}

/// How many of the workers were seen in each group.
fn count_groups<'a>(medians: impl Iterator<Item = &'a Aggregate>) -> BTreeMap<NetworkGroup, u16> {
    let mut together = BTreeMap::new();
    for group in medians.filter_map(|medians| medians.group) {
        let n: &mut u16 = together.entry(group).or_default();
        *n = n.saturating_add(1);
    }
    together
}

/// Writes where a worker was agreed to be into its node's row, if it is elsewhere than the draw says: hardly ever, so that hardly any row
/// is looked up. One that was written since the draw stays for an epoch or two.
fn note_group(overlay: &mut Overlay<'_>, worker: &ScoredWorker, agreed: Option<NetworkGroup>) {
    let Some(group) = agreed.filter(|group| *group != worker.group) else { return };
    let is_news = overlay.get::<Nodes>(&worker.node).is_some_and(|node| node.group != group);
    if is_news && let Some(node) = overlay.get_mut::<Nodes>(&worker.node) {
        node.group = group;
    }
}

/// Fixes who may hold chunks in the terms that begin in the settlement after that of an epoch, once that epoch's is the next to be
/// measured, and in the latter if the chain has stalled over it. Forgets the rows before that of the earliest term under way.
pub(crate) fn fix_storage_terms(spec: &ChainSpec, overlay: &mut Overlay<'_>, open: Epoch) {
    let policy = spec.fixed();
    let settlement = policy.settlement_of(open);
    if overlay.has::<StorageTerms>(&settlement.saturating_add(1)) {
        return;
    }
    let set = overlay.sets().at(overlay.head.height).unwrap_or_else(|| overlay.sets().oldest().1).clone();
    for begin in [settlement, settlement.saturating_add(1)] {
        if !overlay.has::<StorageTerms>(&begin) {
            let term = StorageTerm::new(&overlay.head.beacon, begin, &set);
            overlay.put::<StorageTerms>(&begin, term);
        }
    }
    // The earliest term that is under way began then.
    let earliest = settlement.saturating_sub(policy.storage_term.saturating_sub(1));
    let until_then = overlay.all::<StorageTerms>().map(|(begin, _)| begin).take_while(|begin| *begin <= earliest);
    let over: Vec<_> = until_then.collect();
    over.iter().rev().skip(1).for_each(|begin| overlay.remove::<StorageTerms>(begin));
}
