//! What validators measured in an epoch, from their reports.

use lucid_consensus::ledger::state::State;
use lucid_types::id::{NodeId, ValidatorId};
use lucid_types::log_scale::LogScale;
use lucid_types::report::Observation;
use lucid_types::time::Epoch;

use crate::api::model::{EpochReportsView, MeasurementView, ObservedView, ReportFilter, ReportStage, ReporterView};
use crate::history::reports::EpochReports;

/// One of an epoch's validators, with what it measured.
struct Reporter<'a> {
    view: ReporterView,
    /// In the order of the workers.
    measured: Vec<(&'a NodeId, u8, Option<Observation>)>,
}

/// Those of the measurements that are asked for. A validator is told by the account whose key it is in `state`.
pub(super) fn view(
    state: &State,
    epoch: Epoch,
    of: &EpochReports,
    which: ReportFilter,
    limit: usize,
) -> EpochReportsView {
    let reporters: Vec<_> = of.draw.reporters.iter().filter_map(|key| reporter(state, of, key)).collect();
    let is_wanted = |wanted: Option<NodeId>, id: &NodeId| wanted.is_none_or(|wanted| wanted == *id);
    let mut all: Vec<_> = reporters
        .iter()
        .filter(|reporter| is_wanted(which.validator, &reporter.view.validator))
        .flat_map(|reporter| reporter.measured.iter().map(|measured| (&reporter.view.validator, measured)))
        .filter(|(_, (worker, _, _))| is_wanted(which.worker, worker))
        .collect();
    // Stable: those of one worker stay as the validators are.
    all.sort_by_key(|(_, (worker, _, _))| *worker);
    let measurement = |(validator, (worker, seats, observation)): &(&NodeId, &(&NodeId, u8, Option<Observation>))| {
        let (worker, validator, seats) = (**worker, **validator, *seats);
        MeasurementView { worker, validator, seats, observed: observation.as_ref().map(observed) }
    };
    EpochReportsView {
        epoch,
        n_measurements: all.len(),
        measurements: all.iter().skip(which.offset).take(limit).map(measurement).collect(),
        reporters: reporters.into_iter().map(|reporter| reporter.view).collect(),
    }
}

fn reporter<'a>(state: &State, of: &'a EpochReports, key: &ValidatorId) -> Option<Reporter<'a>> {
    let validator = state.validator_account(key)?;
    let assigned: Vec<_> = of.draw.assignment(key)?.collect();
    let found = of.measured_by(key);
    let stage = match of.reports.get(key) {
        Some(Some(_)) => ReportStage::Revealed,
        Some(None) => ReportStage::Forfeited,
        None => ReportStage::Uncommitted,
    };
    let measured = found.as_ref().map(|found| found.iter().filter(|(.., seen)| seen.is_some()).count());
    let view = ReporterView { validator, key: *key, stage, assigned: assigned.len(), measured };
    let unmeasured = || assigned.into_iter().map(|(worker, seats)| (worker, seats, None)).collect();
    let measured =
        found.unwrap_or_else(unmeasured).into_iter().map(|(worker, seats, seen)| (&worker.node, seats, seen));
    Some(Reporter { view, measured: measured.collect() })
}

fn observed(o: &Observation) -> ObservedView {
    ObservedView {
        pings_sent: o.pings_sent,
        pings_answered: o.pings_answered,
        rtt_us: (o.pings_answered > 0).then(|| o.rtt_us.value()),
        echo_kbit_s: o.echo_kbit_s.map(LogScale::value),
        network_group: o.group,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::collections::BTreeMap;

    use lucid_score::draw::{EpochDraw, ScoredWorker};
    use lucid_score::seats::Seats;
    use lucid_types::id::{Hash, PoolId};
    use lucid_types::network_group::NetworkGroup;
    use lucid_types::report::{AssignedWorker, ScoreReport};

    use super::*;
    use crate::chain::fixture::Network;

    /// Two workers: the first measured by the first two validators, the second by all.
    fn measured(keys: &[ValidatorId]) -> EpochReports {
        let worker = |byte, reporters: &[u16]| ScoredWorker {
            node: NodeId::from_bytes([byte; 32]),
            pool: PoolId::from_bytes([9; 32]),
            group: NetworkGroup::NONE,
            sharers: 1,
            quota: 0,
            echo_bytes: None,
            storage: Vec::new(),
            seats: reporters.iter().map(|reporter| Seats { reporter: *reporter, count: 1 + byte }).collect(),
        };
        let scored = vec![worker(1, &[0, 1]), worker(2, &[0, 1, 2, 3])];
        let pinged =
            Observation { pings_sent: 4, pings_answered: 3, rtt_us: LogScale::encode(512), ..Observation::default() };
        let silent = Observation { pings_sent: 4, ..Observation::default() };
        let report = |seen: &[Option<Observation>]| {
            let assigned: Vec<_> = seen.iter().map(|seen| (AssignedWorker::default(), *seen)).collect();
            Some(ScoreReport::new(Epoch::new(7), &assigned, &[]))
        };
        EpochReports {
            draw: EpochDraw { seed: Hash::derive("test", &[]), reporters: keys.to_vec(), scored },
            reports: BTreeMap::from([
                (keys[0], report(&[Some(pinged), None])),
                (keys[1], report(&[Some(pinged), Some(silent)])),
                (keys[2], None),
            ]),
        }
    }

    #[test]
    fn measurements_are_by_worker_with_what_was_and_was_not_reported() {
        let network = Network::new();
        let state = State::genesis(network.spec());
        let mut validators: Vec<_> =
            state.next_validators().members().iter().map(|validator| (validator.keys.id, validator.node)).collect();
        validators.sort();
        let keys: Vec<_> = validators.iter().map(|(key, _)| *key).collect();
        let of = measured(&keys);
        let ask = |filter, limit| view(&state, Epoch::new(7), &of, filter, limit);
        let all = ask(ReportFilter::default(), 100);
        let stages: Vec<_> = all.reporters.iter().map(|it| (it.stage, it.assigned, it.measured)).collect();
        use ReportStage::{Forfeited, Revealed, Uncommitted};
        let expected = [(Revealed, 2, Some(1)), (Revealed, 2, Some(2)), (Forfeited, 1, None), (Uncommitted, 1, None)];
        assert_eq!(stages, expected);
        let pings = |view: &EpochReportsView| {
            let of = |m: &MeasurementView| {
                let place = validators.iter().position(|(_, node)| *node == m.validator).unwrap();
                (m.worker.as_bytes()[0], place, m.seats, m.observed.as_ref().map(|o| (o.pings_answered, o.rtt_us)))
            };
            view.measurements.iter().map(of).collect::<Vec<_>>()
        };
        let pinged = Some((3, Some(512)));
        let expected = [
            (1, 0, 2, pinged),
            (1, 1, 2, pinged),
            (2, 0, 3, None),
            (2, 1, 3, Some((0, None))),
            (2, 2, 3, None),
            (2, 3, 3, None),
        ];
        assert_eq!((pings(&all), all.n_measurements), (expected.to_vec(), 6));
        let worker = Some(NodeId::from_bytes([1; 32]));
        let of_worker = ask(ReportFilter { worker, ..ReportFilter::default() }, 100);
        assert_eq!((pings(&of_worker), of_worker.n_measurements), (expected[..2].to_vec(), 2));
        let by_second = ReportFilter { validator: Some(validators[1].1), ..ReportFilter::default() };
        assert_eq!(pings(&ask(by_second, 100)), [expected[1], expected[3]]);
        let page = ask(ReportFilter { offset: 1, ..ReportFilter::default() }, 2);
        assert_eq!((pings(&page), page.n_measurements), (expected[1..3].to_vec(), 6));
    }
}
