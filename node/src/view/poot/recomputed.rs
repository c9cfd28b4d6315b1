//! Scores computed once more from what the history keeps: what lowered them, whether they are right, and what came of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use lucid_consensus::ledger::event::Credited;
use lucid_consensus::ledger::state::{EpochScores, Rows as _};
use lucid_score::draw::EpochDraw;
use lucid_score::worker_stats::{ScoreRow, WorkerStats};
use lucid_types::command::MaintenanceScope;
use lucid_types::id::{NodeId, PoolId};
use lucid_types::log_scale::LogScale;
use lucid_types::time::{Epoch, Height, Windows};

use super::{Poot, row_of};
use crate::api::model::{
    CauseView, Check, Difference, PoolReportView, ProbesView, Quantiles, ReportLineView, ReportSource, ScoreChangeView,
    StatisticsView, StepView, VerifyView, WhyView,
};
use crate::api::{ActionError, ViewError};
use crate::chain::persist;
use crate::history::ledger::{self, SharedRecord};
use crate::history::reports::EpochReports;
use crate::history::{epochs, reports};
use crate::proof::Subject;
use crate::score::replay::Replayed;
use crate::score::report::{Line, Report};
use crate::score::verify::{self, Made, Reports, Step};
use crate::score::watch::{self, ScoreWatch};
use crate::score::why::{self, Loss, Missed, Settlement};
use crate::view::proofs::prove;
use crate::view::unread;

/// Settlements back in which an echo is looked for.
const LOOKED_BACK: usize = 30;

/// What is kept here of a worker in some epochs.
#[derive(Default)]
struct Past {
    /// The epochs in which it was drawn, in order.
    drawn: Vec<Replayed>,
    /// The others.
    not_drawn: Vec<Epoch>,
    /// Those of all of them that were of echo for it, as far as that is known.
    of_echo: BTreeSet<Epoch>,
    /// The first of which too little is kept here.
    missing: Option<Epoch>,
}

/// A number that none has yet, or ever.
fn not_final(what: &str, number: u64, newest: u64) -> ActionError {
    ActionError::Unknown(match (number, newest) {
        (_, 0) => format!("no {what} is final yet"),
        (0, _) => format!("there is no {what} 0: the first is 1, and the newest that is final, is {newest}"),
        _ => format!("{what} {number} is not final yet: the newest that is, is {newest}"),
    })
}

/// Something that is known elsewhere.
fn not_kept(what: impl std::fmt::Display) -> ActionError {
    ActionError::Unknown(format!(
        "{what} is not kept here: who was drawn and what was reported is kept for {} days, scores for a year, and neither from before a \
         snapshot that this node joined by",
        reports::DAYS
    ))
}

impl Poot<'_> {
    fn draw_of(&self, epoch: Epoch) -> Result<Option<EpochDraw>, ViewError> {
        self.asker.waits()?;
        reports::draw(self.store, epoch, self.now).map_err(|e| unread("the draw of epoch", epoch, e))
    }

    fn shared_of(&self, pool: &PoolId, settlement: u64) -> Result<Option<SharedRecord>, ViewError> {
        self.asker.waits()?;
        ledger::shared(self.store, pool, settlement).map_err(|e| unread("the shares of settlement", settlement, e))
    }

    fn stats_before(&self, settlement: u64, worker: &NodeId) -> Result<Option<WorkerStats>, ViewError> {
        self.asker.waits()?;
        let found = reports::before(self.store, settlement, worker, self.now);
        found.map_err(|e| unread("the stats before settlement", settlement, e))
    }

    /// Throughput of the last echo before a settlement that came back: of a worker whose last one did not, what was known before one of some
    /// settlements earlier.
    fn last_echo(&self, settlement: u64, worker: &NodeId, before: &WorkerStats) -> Result<u64, ViewError> {
        let (mut kbit_s, _) = before.kbit_s;
        for earlier in (1..settlement).rev().take(LOOKED_BACK) {
            if kbit_s > 0 {
                break;
            }
            kbit_s = self.stats_before(earlier, worker)?.map_or(0, |stats| stats.kbit_s.0);
        }
        Ok(kbit_s)
    }

    /// The epochs of a settlement.
    fn epochs_of(&self, settlement: u64) -> RangeInclusive<Epoch> {
        let fixed = self.spec.fixed();
        fixed.last_epoch_of(settlement.saturating_sub(1)).next()..=fixed.last_epoch_of(settlement)
    }

    /// What is kept of a worker in these epochs.
    fn past(&self, worker: &NodeId, epochs: &RangeInclusive<Epoch>) -> Result<Past, ViewError> {
        let mut past = Past::default();
        let node = self.head.state.node(worker);
        let mut place = node.map(|node| (node.group, node.pool()));
        for epoch in (epochs.start().get()..=epochs.end().get()).map(Epoch::new) {
            let Some(draw) = self.draw_of(epoch)? else {
                let closing = epochs::closing(self.store, epoch);
                let closing = closing.map_err(|e| unread("the closing of epoch", epoch, e))?;
                if closing.is_some_and(|it| !it.is_measured || it.first != epoch) {
                    past.not_drawn.push(epoch);
                    continue;
                }
                past.missing = Some(epoch);
                break;
            };
            let scored = draw.scored.binary_search_by_key(worker, |scored| scored.node).ok().map(|at| &draw.scored[at]);
            place = scored.map(|scored| (scored.group, Some(scored.pool))).or(place);
            let policy = self.head.state.policy(epoch);
            if let Some((group, Some(pool))) = place
                && draw.is_echo_epoch(policy, &group, &pool)
            {
                past.of_echo.insert(epoch);
            }
            let Some(scored) = scored else {
                past.not_drawn.push(epoch);
                continue;
            };
            let Some(scores) = self.scores_of(epoch)? else {
                past.missing = Some(epoch);
                break;
            };
            let row = row_of(&scores, worker);
            past.drawn.push(Replayed {
                epoch,
                worker: scored.clone(),
                medians: row.map(|row| row.aggregate),
                sharers: row.map_or(1, |row| row.sharers),
            });
        }
        Ok(past)
    }

    pub(in crate::view) fn why(
        &self,
        worker: &NodeId,
        settlement: Option<u64>,
    ) -> Result<Result<WhyView, ActionError>, ViewError> {
        let state = &self.head.state;
        let newest = state.newest_settlement(self.spec);
        let settlement = settlement.unwrap_or(newest);
        if settlement == 0 || settlement > newest {
            return Ok(Err(not_final("settlement", settlement, newest)));
        }
        let range = self.epochs_of(settlement);
        let past = self.past(worker, &range)?;
        if let Some(missing) = past.missing {
            return Ok(Err(not_kept(format!("epoch {missing} of settlement {settlement}"))));
        }
        let pool = past.drawn.first().map(|it| it.worker.pool).or_else(|| state.pool_of(worker));
        let Some(pool) = pool else {
            let problem = format!("{worker} was a worker of no pool in settlement {settlement}");
            return Ok(Err(ActionError::Unknown(problem)));
        };
        let Some(shared) = self.shared_of(&pool, settlement)? else {
            let problem = format!(
                "settlement {settlement} of pool {pool} gave nobody anything: no member earned credits, and the pot was carried; or that is \
                 not known here"
            );
            return Ok(Err(ActionError::Unknown(problem)));
        };
        let before = self.stats_before(settlement, worker)?;
        let is_measured = past.drawn.iter().any(|it| it.medians.is_some());
        let Some(before) = before.or_else(|| (!is_measured).then(WorkerStats::default)) else {
            return Ok(Err(not_kept(format!("what {worker} was before settlement {settlement}"))));
        };
        let node = state.node(worker);
        let scope = |epoch: Epoch| node.and_then(|node| node.maintenance_in(epoch));
        let missed = |epoch: Epoch| Missed { epoch, has_echo: past.of_echo.contains(&epoch) };
        let (away, not_drawn): (Vec<Epoch>, Vec<Epoch>) =
            past.not_drawn.iter().partition(|epoch| scope(**epoch) == Some(MaintenanceScope::All));
        let pinged =
            past.drawn.iter().map(|it| it.epoch).filter(|epoch| scope(*epoch) == Some(MaintenanceScope::Traffic));
        let maintenance: BTreeSet<_> = away.into_iter().chain(pinged).collect();
        let maintenance: Vec<_> = maintenance.into_iter().map(missed).collect();
        let not_drawn: Vec<_> = not_drawn.into_iter().map(missed).collect();
        let found = why::why(&Settlement {
            policies: state.policies(),
            pool,
            shared: &shared,
            worker: *worker,
            before: &before,
            kbit_s: self.last_echo(settlement, worker, &before)?,
            drawn: &past.drawn,
            not_drawn: &not_drawn,
            maintenance: &maintenance,
        });
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%worker, settlement, %error, "a share does not follow from the stored scores: see `lucid db check`");
                return Ok(Err(ActionError::Unavailable(format!(
                    "{error}: the database is damaged, which `lucid db check` names. Ask another node"
                ))));
            }
        };
        Ok(Ok(WhyView {
            worker: *worker,
            pool,
            settlement,
            from: *range.start(),
            to: *range.end(),
            paid_micro_usdt: found.paid,
            is_held: found.credited == Some(Credited::Held),
            first_score_ppm: found.scores.map(|(first, _)| first),
            last_score_ppm: found.scores.map(|(_, last)| last),
            causes: found.losses.into_iter().map(cause_view).collect(),
        }))
    }

    pub(in crate::view) fn change(
        &self,
        worker: &NodeId,
        epoch: Option<Epoch>,
    ) -> Result<Option<ScoreChangeView>, ViewError> {
        let state = &self.head.state;
        let epoch = epoch.unwrap_or(state.head().scored);
        let row_in = |epoch| -> Result<Option<ScoreRow>, ViewError> {
            Ok(self.scores_of(epoch)?.and_then(|scores| row_of(&scores, worker).copied()))
        };
        let Some(row) = row_in(epoch)? else { return Ok(None) };
        let first = epoch.get().saturating_sub(self.spec.fixed().settle_every).max(1);
        let mut before = None;
        for earlier in (first..epoch.get()).rev().map(Epoch::new) {
            if let Some(row) = row_in(earlier)? {
                before = Some((earlier, row));
                break;
            }
        }
        let found = why::changed(state.policies(), before.as_ref().map(|(epoch, row)| (*epoch, row)), (epoch, &row));
        Ok(Some(ScoreChangeView {
            worker: *worker,
            from: before.map(|(epoch, _)| epoch),
            epoch,
            score_ppm: row.score,
            change_ppm: found.score,
            factors_ppm: found.factors,
            rounding_ppm: found.rounding,
        }))
    }

    /// The reports of an epoch from the blocks in which they stand, if all of these are here; what is wrong with them.
    fn reports_in_blocks(&self, epoch: Epoch) -> Result<Option<Result<Reports, Difference>>, ViewError> {
        let closing = epochs::closing(self.store, epoch).map_err(|e| unread("the closing of epoch", epoch, e))?;
        let Some(closing) = closing.filter(|it| it.is_measured && it.first == epoch) else { return Ok(None) };
        let windows = Windows::new(closing.height, self.spec.fixed().report_window);
        let mut blocks = Vec::new();
        for height in closing.height.next().get()..=windows.final_in().get() {
            self.asker.waits()?;
            let Some(decided) =
                persist::decided(self.store, Height::new(height)).map_err(|e| unread("block", height, e))?
            else {
                return Ok(None);
            };
            blocks.push(decided.block);
        }
        let opened = verify::opened(self.spec, |key| self.head.state.validator_account(key), epoch, &blocks);
        Ok(Some(opened.map_err(|problem| Difference {
            field: "blocks".to_owned(),
            expected: "reveals of what was committed to".to_owned(),
            found: problem.to_string(),
        })))
    }

    pub(in crate::view) fn verify(
        &self,
        worker: &NodeId,
        epoch: Option<Epoch>,
    ) -> Result<Result<VerifyView, ActionError>, ViewError> {
        let state = &self.head.state;
        let newest = state.head().scored;
        let epoch = epoch.unwrap_or(newest);
        if epoch == Epoch::ZERO || epoch > newest {
            return Ok(Err(not_final("epoch", epoch.get(), newest.get())));
        }
        let found = self.reports_of(epoch)?;
        let (Some(EpochReports { draw, reports }), Some(scores)) = (found, self.scores_of(epoch)?) else {
            return Ok(Err(not_kept(format!("what was reported of epoch {epoch}"))));
        };
        let settlement = self.spec.fixed().settlement_of(epoch);
        let past = self.past(worker, &(*self.epochs_of(settlement).start()..=epoch))?;
        if let Some(missing) = past.missing {
            return Ok(Err(not_kept(format!("epoch {missing}, from which the score of epoch {epoch} follows,"))));
        }
        if !draw.scored.iter().any(|scored| scored.node == *worker) {
            return Ok(Err(ActionError::Unknown(format!(
                "{worker} was not drawn in epoch {epoch}: it has no score of it"
            ))));
        }
        let row = row_of(&scores, worker);
        let before = self.stats_before(settlement, worker)?;
        if before.is_none() && row.is_some() {
            return Ok(Err(not_kept(format!("what {worker} was before settlement {settlement}"))));
        }
        let (source, reports) = match self.reports_in_blocks(epoch)? {
            Some(in_blocks) => (ReportSource::Blocks, in_blocks),
            None => (ReportSource::History, Ok(reports.into_iter().collect())),
        };
        let mut steps = match &reports {
            Err(difference) => vec![Step { check: Check::Reports, outcome: Err(difference.clone()) }],
            Ok(reports) => verify::verify(&Made {
                spec: self.spec,
                policies: state.policies(),
                epoch,
                worker: *worker,
                draw: &draw,
                reports,
                before: before.as_ref(),
                epochs: &past.drawn,
                row,
            }),
        };
        if steps.iter().all(|step| step.outcome.is_ok()) {
            steps.push(Step { check: Check::Proof, outcome: self.proved(epoch, worker)? });
        }
        let is_right = steps.iter().all(|step| step.outcome.is_ok());
        let steps = steps.into_iter().map(|Step { check, outcome }| {
            let (found, difference) = match outcome {
                Ok(found) => (Some(found), None),
                Err(difference) => (None, Some(difference)),
            };
            StepView { check, found, difference }
        });
        let score_ppm = row.map(|row| row.score);
        Ok(Ok(VerifyView { worker: *worker, epoch, source, score_ppm, is_right, steps: steps.collect() }))
    }

    /// Whether the newest state, as the validators have certified it, has the stored row.
    fn proved(&self, epoch: Epoch, worker: &NodeId) -> Result<Result<String, Difference>, ViewError> {
        let differs = |problem: String| Difference {
            field: "proof".to_owned(),
            expected: "one that holds for the network".to_owned(),
            found: problem,
        };
        let proof =
            match prove(self.spec, self.store, &self.head, self.now, &Subject::Score { epoch, worker: *worker })? {
                Ok(proof) => proof,
                Err(error) => return Ok(Err(differs(error.to_string()))),
            };
        Ok(match proof.verify(self.spec) {
            Ok(proved) => {
                let (power, all) = proved.power();
                Ok(format!("certified in block {} by {power} of {all} power", proved.header().height))
            }
            Err(error) => Err(differs(error.to_string())),
        })
    }

    pub(in crate::view) fn report(
        &self,
        pool: &PoolId,
        from: Epoch,
        to: Epoch,
    ) -> Result<Option<PoolReportView>, ViewError> {
        let state = &self.head.state;
        if state.pool(pool).is_none() {
            return Ok(None);
        }
        let fixed = self.spec.fixed();
        let mut shared = BTreeMap::new();
        for settlement in fixed.settlement_of(from)..=fixed.settlement_of(to) {
            shared.extend(self.shared_of(pool, settlement)?.map(|record| (settlement, record)));
        }
        let mut report = Report::new(*pool);
        let (mut n_epochs, mut with_draw) = (0, 0);
        for epoch in (from.get().max(1)..=to.get()).map(Epoch::new) {
            let Some(scores) = self.scores_of(epoch)? else { continue };
            let draw = self.draw_of(epoch)?;
            n_epochs += 1;
            with_draw += u64::from(draw.is_some());
            report.add_epoch(draw.as_ref(), shared.get(&fixed.settlement_of(epoch)), &scores.rows);
        }
        let ends_here = |settlement: u64| (from..=to).contains(&fixed.last_epoch_of(settlement));
        shared.iter().filter(|(settlement, _)| ends_here(**settlement)).for_each(|(_, it)| report.add_settlement(it));
        let [owed_micro_usdt, held_micro_usdt, carried_micro_usdt] = report.amounts();
        let line = |(&(kind, node), line): (&(_, NodeId), &Line)| ReportLineView {
            kind,
            node,
            drawn: line.drawn,
            measured: line.measured,
            unreached: line.unreached,
            mean_score_ppm: line.mean_score(),
            relay_credits: line.relay,
            storage_credits: line.storage,
            credits: line.credits,
            weight: line.weight.to_string(),
            owed_micro_usdt: line.owed,
            held_micro_usdt: line.held,
            carried_micro_usdt: line.carried,
        };
        Ok(Some(PoolReportView {
            pool: *pool,
            from,
            to,
            epochs: n_epochs,
            epochs_with_draw: with_draw,
            settlements: report.settlements,
            pots_micro_usdt: report.pots,
            fees_micro_usdt: report.fees,
            owed_micro_usdt,
            held_micro_usdt,
            carried_micro_usdt,
            lines: report.lines.iter().map(line).collect(),
        }))
    }

    /// How many scores of an epoch are suspicious; `None` if scores of the window before are not kept here.
    fn suspicious_in(&self, epoch: Epoch) -> Result<Option<usize>, ViewError> {
        let buckets = self.head.state.policy(epoch).history_buckets();
        let watch = ScoreWatch::default();
        for at in watch::news(buckets, Epoch::ZERO, epoch) {
            if let Some(scores) = self.scores_of(at)? {
                watch.add(buckets, &scores);
                continue;
            }
            let closing = epochs::closing(self.store, at).map_err(|e| unread("the closing of epoch", at, e))?;
            if closing.is_none_or(|it| it.is_measured && it.first == at) {
                return Ok(None);
            }
        }
        Ok(Some(watch.of_all(epoch).len()))
    }

    pub(in crate::view) fn statistics(&self, epoch: Option<Epoch>) -> Result<Option<StatisticsView>, ViewError> {
        let newest = self.head.state.head().scored;
        let epoch = epoch.unwrap_or(newest);
        let Some(EpochScores { rows, .. }) = self.scores_of(epoch)? else { return Ok(None) };
        let found = self.reports_of(epoch)?;
        let reached = rows.iter().filter(|row| row.reachable_ms > 0);
        Ok(Some(StatisticsView {
            epoch,
            scored: rows.len(),
            unmeasured: found.as_ref().map(|it| it.draw.scored.len().saturating_sub(rows.len())),
            suspicious: self.suspicious_in(epoch)?,
            score_ppm: quantiles(rows.iter().map(|row| row.score.get().into())),
            credits: quantiles(rows.iter().map(|row| row.credits.get())),
            rtt_us: quantiles(reached.map(|row| row.aggregate.rtt_us)),
            probes: found.as_ref().map(probes),
        }))
    }
}

fn cause_view(loss: Loss) -> CauseView {
    CauseView {
        cause: loss.cause,
        responsibility: loss.cause.responsibility(),
        epochs: loss.epochs,
        is_priced: loss.is_priced,
        ms: loss.ms,
        factors_ppm: loss.factors,
        score_ppm: loss.score,
        credits: loss.credits,
        delta_micro_usdt: loss.amount,
        remedy: loss.cause.remedy().to_owned(),
    }
}

fn quantiles(values: impl Iterator<Item = u64>) -> Quantiles {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    let Some(last) = values.len().checked_sub(1) else { return Quantiles::default() };
    // The first place up to which so many tenths of the values are.
    let at = |tenths: usize| values[(values.len() * tenths).div_ceil(10).saturating_sub(1)];
    Quantiles { min: values[0], p10: at(1), p50: at(5), p90: at(9), max: values[last] }
}

/// What was sent in an epoch, and what came back.
fn probes(of: &EpochReports) -> ProbesView {
    let mut sum = ProbesView::default();
    let measured = of.draw.reporters.iter().filter_map(|key| of.measured_by(key));
    for seen in measured.flatten().filter_map(|(_, _, seen)| seen) {
        sum.pings_sent += u64::from(seen.pings_sent);
        sum.pings_answered += u64::from(seen.pings_answered);
        sum.echoes_sent += u64::from(seen.echo_kbit_s.is_some());
        sum.echoes_verified += u64::from(seen.echo_kbit_s.is_some_and(|kbit_s| kbit_s > LogScale::ZERO));
    }
    sum
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
mod tests;
