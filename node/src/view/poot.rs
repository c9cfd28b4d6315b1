//! Scores with all that they are made of, over time, and in order.

mod recomputed;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::state::{EpochScores, Rows as _, State};
use lucid_consensus::ledger::table::Workers;
use lucid_score::draw::EpochDraw;
use lucid_score::worker_stats::ScoreRow;
use lucid_storage::Store;
use lucid_types::amount::{Credits, Ppm};
use lucid_types::id::NodeId;
use lucid_types::signed::Signed;
use lucid_types::time::{Epoch, UnixMillis};
use lucid_types::validation::ValidationResult;

use super::{NodeParts, unmeasured, unread};
use crate::api::model::{
    AgreementView, Components, CopyingView, EpochRange, Leaderboard, LeaderboardFilter, OutlierView, PairView,
    PlaceView, PootScoreView, ScoreFilter, ScoreSpan, ScoreSpanView, ScoreView, SuspicionView, ValidationView,
    ValidationWanted,
};
use crate::api::poot::{DEFAULT_COMPARED, MAX_COMPARED, MAX_EPOCHS};
use crate::api::{ActionError, Asker, ViewError};
use crate::chain::head::Head;
use crate::history::reports::EpochReports;
use crate::history::{reports, scores, validations};
use crate::score::agreement::{Agreement, Measurement};
use crate::score::replay::points;
use crate::score::suspicion::Suspicion;
use crate::score::watch::ScoreWatch;
use crate::validations::NotValidated;

/// A row of an epoch as it is shown.
pub(super) fn score_view(epoch: Epoch, row: &ScoreRow) -> ScoreView {
    ScoreView {
        epoch,
        worker: row.worker,
        score_ppm: row.score,
        relay_credits: row.earned.relay,
        storage_credits: row.earned.storage,
        sharers: row.sharers,
        credits: row.credits,
        reachable_ms: row.reachable_ms,
        components: row.components,
        unmeasured: unmeasured(row),
        rtt_us: row.aggregate.rtt_us,
        echo_bytes: row.aggregate.echo.map(|echo| echo.bytes),
        echo_kbit_s: row.aggregate.echo.map(|echo| echo.kbit_s),
        proved_chunks: row.aggregate.chunks,
        network_group: row.aggregate.group,
    }
}

/// The row of a worker in the scores of an epoch.
fn row_of<'a>(scores: &'a EpochScores, worker: &NodeId) -> Option<&'a ScoreRow> {
    let place = scores.rows.binary_search_by_key(worker, |row| row.worker).ok()?;
    scores.rows.get(place)
}

/// The rows of a span, gathered from the newest on.
struct Span {
    number: u64,
    view: ScoreSpanView,
    scores: u64,
    parts: [u64; 7],
}

impl Span {
    fn of(number: u64, epoch: Epoch, row: &ScoreRow) -> Self {
        let view = ScoreSpanView {
            from: epoch,
            to: epoch,
            epochs: 0,
            min_ppm: row.score,
            mean_ppm: row.score,
            max_ppm: row.score,
            components: row.components,
            credits: Credits::ZERO,
            reachable_ms: 0,
        };
        let mut span = Self { number, view, scores: 0, parts: [0; 7] };
        span.add(epoch, row);
        span
    }

    fn add(&mut self, epoch: Epoch, row: &ScoreRow) {
        let view = &mut self.view;
        view.from = epoch;
        view.epochs += 1;
        view.min_ppm = view.min_ppm.min(row.score);
        view.max_ppm = view.max_ppm.max(row.score);
        view.credits = view.credits.saturating_add(row.credits);
        view.reachable_ms = view.reachable_ms.saturating_add(row.reachable_ms);
        self.scores += u64::from(row.score.get());
        for (sum, part) in self.parts.iter_mut().zip(row.components.all()) {
            *sum += u64::from(part.get());
        }
    }

    fn finish(mut self) -> ScoreSpanView {
        let epochs = self.view.epochs.max(1);
        let mean = |sum: u64| Ppm::ratio(sum / epochs, 1_000_000);
        (self.view.mean_ppm, self.view.components) = (mean(self.scores), Components::of(self.parts.map(mean)));
        self.view
    }
}

/// Scores of a network as of its newest block, from what is stored.
pub(super) struct Poot<'a> {
    spec: &'a ChainSpec,
    store: &'a Store,
    watch: &'a ScoreWatch,
    head: Head,
    now: UnixMillis,
    /// Looked at before each read.
    asker: &'a Asker,
}

impl NodeParts {
    pub(super) fn poot<'a>(&'a self, asker: &'a Asker) -> Poot<'a> {
        let head = self.head.borrow().clone();
        Poot { spec: &self.spec, store: &self.store, watch: &self.watch, head, now: self.clock.now(), asker }
    }

    /// At most `limit` validations of a worker that this node asked for, the newest first.
    pub(super) fn poot_validations(&self, worker: &NodeId, limit: usize) -> Result<Vec<ValidationView>, ViewError> {
        let found = validations::of(&self.store, worker, limit, self.clock.now());
        Ok(found.map_err(|e| unread("the validations of", worker, e))?.iter().map(validation_view).collect())
    }

    pub(super) async fn poot_validate(&self, wanted: ValidationWanted) -> Result<ValidationView, ActionError> {
        let ValidationWanted { worker, by } = wanted;
        self.validations.ask(worker, by).await.map(|signed| validation_view(&signed)).map_err(|error| match error {
            NotValidated::Unknown(why) => ActionError::Unknown(why),
            NotValidated::Refused(why) => ActionError::Refused(why),
            NotValidated::Unavailable(why) => ActionError::Unavailable(why),
            error @ NotValidated::NotKept(_) => ActionError::Unavailable(error.to_string()),
        })
    }
}

impl Poot<'_> {
    fn scores_of(&self, epoch: Epoch) -> Result<Option<EpochScores>, ViewError> {
        self.asker.waits()?;
        scores::of(self.store, epoch, self.now).map_err(|e| unread("the scores of epoch", epoch, e))
    }

    fn reports_of(&self, epoch: Epoch) -> Result<Option<EpochReports>, ViewError> {
        self.asker.waits()?;
        reports::of(self.store, epoch, self.now).map_err(|e| unread("the reports of epoch", epoch, e))
    }

    fn suspicion_of(&self, epoch: Epoch, worker: &NodeId) -> Option<SuspicionView> {
        let Suspicion { median, limit, difference } = self.watch.of(epoch, worker)?;
        Some(SuspicionView { median_ppm: median, limit_ppm: limit, difference_ppm: difference })
    }

    pub(super) fn score(&self, worker: &NodeId, epoch: Option<Epoch>) -> Result<Option<PootScoreView>, ViewError> {
        let state = &self.head.state;
        let epoch = epoch.unwrap_or_else(|| state.head().scored);
        let Some(scores) = self.scores_of(epoch)? else { return Ok(None) };
        let Some(row) = row_of(&scores, worker) else { return Ok(None) };
        let draw = reports::draw(self.store, epoch, self.now);
        let draw = draw.map_err(|e| unread("the draw of epoch", epoch, e))?;
        let drawn = draw.as_ref().and_then(|draw: &EpochDraw| draw.scored.iter().find(|it| it.node == *worker));
        let policy = state.policy(epoch);
        let weights = policy.weights;
        Ok(Some(PootScoreView {
            score: score_view(epoch, row),
            pool: drawn.map(|it| it.pool),
            quota_chunks: drawn.map(|it| policy.chunks_of_all(it.quota)),
            validators: drawn.map(|it| it.seats.len()),
            weights,
            points_ppm: points(&weights, &row.components),
            suspicion: self.suspicion_of(epoch, worker),
        }))
    }

    /// At most `limit` spans of a worker, the newest first.
    pub(super) fn history(
        &self,
        worker: &NodeId,
        filter: ScoreFilter,
        limit: usize,
    ) -> Result<Vec<ScoreSpanView>, ViewError> {
        let epoch_ms = self.spec.fixed().epoch_ms.max(1);
        let epochs_of = |ms: u64| (ms / epoch_ms).max(1);
        let length = match filter.span {
            ScoreSpan::Epoch => 1,
            ScoreSpan::Hour => epochs_of(3_600_000),
            ScoreSpan::Day => epochs_of(86_400_000),
        };
        let newest = self.head.state.head().scored;
        let to = filter.to.map_or(newest, |to| to.min(newest));
        let least = to.get().saturating_sub(MAX_EPOCHS - 1).max(1);
        let from = filter.from.map_or(least, |from| from.get().max(least));
        let (mut done, mut open) = (Vec::new(), None::<Span>);
        for epoch in (from..=to.get()).rev().map(Epoch::new) {
            let number = epoch.get() / length;
            if open.as_ref().is_some_and(|span| span.number != number) {
                done.extend(open.take().map(Span::finish));
            }
            if done.len() >= limit {
                break;
            }
            let Some(scores) = self.scores_of(epoch)? else { continue };
            let Some(row) = row_of(&scores, worker) else { continue };
            match &mut open {
                Some(span) => span.add(epoch, row),
                None => open = Some(Span::of(number, epoch, row)),
            }
        }
        done.extend(open.map(Span::finish));
        done.truncate(limit);
        Ok(done)
    }

    pub(super) fn leaderboard(&self, filter: LeaderboardFilter, limit: usize) -> Result<Leaderboard, ViewError> {
        let state = &self.head.state;
        let newest = state.head().scored;
        let epoch = filter.epoch.or_else(|| Some(newest).filter(|newest| *newest > Epoch::ZERO));
        let Some(epoch) = epoch else { return Ok(Leaderboard { epoch, n_places: 0, places: Vec::new() }) };
        let mut rows = self.scores_of(epoch)?.map_or_else(Vec::new, |scores| scores.rows);
        rows.retain(|row| filter.pool.is_none_or(|pool| state.pool_of(&row.worker) == Some(pool)));
        rows.sort_by(|a, b| b.score.cmp(&a.score).then(a.worker.cmp(&b.worker)));
        let place = |(rank, row): (usize, &ScoreRow)| PlaceView {
            rank,
            pool: state.pool_of(&row.worker),
            live: live(state, &row.worker),
            score: score_view(epoch, row),
            suspicion: self.suspicion_of(epoch, &row.worker),
        };
        let places = (1..).zip(&rows).skip(filter.offset).take(limit).map(place).collect();
        Ok(Leaderboard { epoch: Some(epoch), n_places: rows.len(), places })
    }

    pub(super) fn agreement(&self, range: EpochRange) -> Result<AgreementView, ViewError> {
        let state = &self.head.state;
        let newest = state.head().scored;
        let to = range.to.map_or(newest, |to| to.min(newest)).get();
        let from = range.from.map_or_else(|| to.saturating_sub(DEFAULT_COMPARED - 1), Epoch::get);
        let from = from.max(to.saturating_sub(MAX_COMPARED - 1)).max(1);
        let (mut agreement, mut compared) = (Agreement::default(), Vec::new());
        for epoch in (from..=to).map(Epoch::new) {
            let Some(found) = self.reports_of(epoch)? else { continue };
            compared.push(epoch);
            let measured = found.draw.reporters.iter().filter_map(|key| {
                let (validator, measured) = (state.validator_account(key)?, found.measured_by(key)?);
                Some(measured.into_iter().filter_map(move |(worker, seats, seen)| {
                    Some(Measurement { worker: worker.node, validator, seats, seen: seen? })
                }))
            });
            agreement.add(epoch, measured.flatten());
        }
        let found = agreement.findings();
        Ok(AgreementView {
            from: compared.first().copied(),
            to: compared.last().copied(),
            epochs: compared.len(),
            pairs: found
                .pairs
                .iter()
                .map(|it| PairView {
                    a: it.a,
                    b: it.b,
                    in_common: it.in_common,
                    identical_ppm: it.identical,
                    rtt_gap_ppm: it.rtt_gap,
                    success_gap_ppm: it.success_gap,
                    a_repeats_b_ppm: it.a_repeats_b,
                    b_repeats_a_ppm: it.b_repeats_a,
                })
                .collect(),
            copying: found
                .copying
                .iter()
                .map(|it| CopyingView { validator: it.validator, of: it.of, lag: it.lag, part_ppm: it.part })
                .collect(),
            outliers: found
                .outliers
                .iter()
                .map(|it| OutlierView { validator: it.validator, distance_ppm: it.distance, limit_ppm: it.limit })
                .collect(),
        })
    }
}

fn validation_view(signed: &Signed<ValidationResult>) -> ValidationView {
    let Signed { record, signature, signer } = signed;
    ValidationView {
        worker: record.worker,
        validator: record.validator,
        time: record.time,
        pings_sent: record.pings_sent,
        pings_answered: record.pings_answered,
        rtt_us: record.rtt_us.value(),
        network_group: record.group,
        key: *signer,
        signature: *signature,
    }
}

/// What orders a worker among the candidates of an election, at the newest final epoch.
fn live(state: &State, worker: &NodeId) -> Option<u64> {
    let scored = state.head().scored;
    Some(state.get::<Workers>(worker)?.live(state.policy(scored), scored))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::history::scores::row;

    #[test]
    fn a_span_is_its_epochs_together() {
        let of = |score, credits, trust| {
            let components = Components { trust: Ppm::new(trust), ..Components::default() };
            ScoreRow { score: Ppm::new(score), credits: Credits::new(credits), reachable_ms: 7, components, ..row(1) }
        };
        let mut span = Span::of(1, Epoch::new(9), &of(500_000, 3, 10));
        span.add(Epoch::new(7), &of(300_001, 4, 20));
        let span = span.finish();
        assert_eq!((span.from, span.to, span.epochs), (Epoch::new(7), Epoch::new(9), 2));
        assert_eq!([span.min_ppm, span.mean_ppm, span.max_ppm].map(Ppm::get), [300_001, 400_000, 500_000]);
        assert_eq!((span.credits, span.reachable_ms, span.components.trust), (Credits::new(7), 14, Ppm::new(15)));
    }

    #[test]
    fn a_row_is_found_by_its_worker() {
        let scores = EpochScores { epoch: Epoch::new(1), rows: vec![row(1), row(3)] };
        let found = |byte| row_of(&scores, &NodeId::from_bytes([byte; 32])).map(|row| row.worker.as_bytes()[0]);
        assert_eq!([1, 2, 3].map(found), [Some(1), None, Some(3)]);
        assert_eq!(row_of(&scores, &scores.rows.last().unwrap().worker).unwrap().worker.as_bytes()[0], 3);
    }
}
