//! Which workers of an epoch are measured, and with whose weight.

use std::collections::BTreeSet;

use lucid_score::aggregate::Aggregate;
use lucid_score::report::{ObservationError, ReportError};
use lucid_score::seats::ScoredWorker;
use lucid_types::amount::Ppm;
use lucid_types::id::NodeId;
use lucid_types::log_scale::LogScale;
use lucid_types::report::Observation;
use lucid_types::time::Epoch;

use super::chain::{Chain, all_good, members, observation, signer_id, start_with, worker};
use super::start::{Start, Worker};
use crate::ledger::check::InvalidBlock;
use crate::ledger::state::Rows;
use crate::ledger::table::Workers;

/// Public rules for seats, and so many validators of power 1 and workers.
fn public(validators: usize, workers: usize) -> Start {
    start_with(|start| {
        let sample = start.workers[0].clone();
        start.genesis.validators = members(validators);
        let entry = |i| Worker { node: worker(i), operator: worker(i), ..sample.clone() };
        start.workers = (0..workers).map(entry).collect();
        start.pools[0].members = (0..workers).map(worker).collect();
        let policy = &mut start.genesis.policy;
        (policy.seats, policy.min_reporters, policy.min_seat_operators) = (21, 3, 4);
        policy.min_seat_power = Ppm::new(500_000);
    })
}

/// Closes an epoch of which these validators report nothing, and goes on until its scores are final.
fn step_without(chain: &mut Chain, withheld: std::ops::Range<usize>) {
    chain.block(all_good);
    while chain.state.pending().next().is_some() {
        let mut block = chain.draft(all_good);
        block.commitments.retain(|commitment| !withheld.clone().map(signer_id).any(|it| it == commitment.signer));
        let block = chain.seal(block);
        chain.apply(block);
    }
}

fn measured(chain: &Chain, epoch: u64) -> BTreeSet<NodeId> {
    chain.finalised[&Epoch::new(epoch)].scores.rows.iter().map(|row| row.worker).collect()
}

/// Eight of 24 validators withhold what they measured. Of 21 seats a worker needs 14; those that have more than seven of the eight at
/// their seats are not measured, and nobody else is touched.
#[test]
fn withheld_reports_void_only_workers_below_the_quorum() {
    let mut chain = Chain::grown(public(24, 40), 1);
    assert_eq!(measured(&chain, 1).len(), 40);
    let draw = chain.state.open().cloned().unwrap();
    let seats_left = |worker: &ScoredWorker| {
        let reports = |reporter: u16| !(0..8).map(signer_id).any(|it| it == draw.reporters[usize::from(reporter)]);
        worker.seats.iter().filter(|seats| reports(seats.reporter)).map(|seats| u32::from(seats.count)).sum::<u32>()
    };
    let above: BTreeSet<_> = draw.scored.iter().filter(|worker| seats_left(worker) >= 14).map(|it| it.node).collect();
    assert!((10..40).contains(&above.len()), "{} workers keep their quorum", above.len());
    let (before, policy) = (chain.state.clone(), chain.spec.policy().clone());
    step_without(&mut chain, 0..8);
    assert_eq!(measured(&chain, 2), above);
    for (worker, stats) in chain.state.all::<Workers>() {
        if above.contains(&worker) {
            let sums = stats.sums(&policy, Epoch::new(2));
            assert_eq!((sums.epochs, sums.credits.get()), (2, 2));
        } else {
            assert_eq!(
                Some(stats),
                before.get::<Workers>(&worker),
                "it keeps its statistics, and the epoch leaves its denominators"
            );
        }
    }
    // A third of the seats cannot void anything.
    step_without(&mut chain, 0..7);
    assert_eq!(measured(&chain, 3).len(), 40);
}

/// Two of a hundred validators hold 16 % of the power each, and say that every worker is slow. Seats follow power: they have a third of
/// them. Weighted by power again, two thirds of the weight at nearly every worker would be theirs.
#[test]
fn power_counts_once() {
    let mut start = public(100, 30);
    for (i, validator) in start.genesis.validators.iter_mut().enumerate() {
        validator.power = if i < 2 { 16 * 98 } else { 68 };
    }
    let mut chain = Chain::new(start);
    let slow = LogScale::encode(1_000_000);
    chain.step(|i, _| {
        let honest = observation(4, true);
        Some(if i < 2 { Observation { rtt_us: slow, ..honest } } else { honest })
    });
    let rows = &chain.finalised[&Epoch::new(1)].scores.rows;
    assert!(rows.len() == 30 && rows.iter().all(|row| row.aggregate.rtt_us == Some(800)), "{rows:?}");
}

/// Whoever answers only some validators, those near it or the fast ones, is as bad as most of the others find it.
#[test]
fn leaving_validators_without_an_answer_costs() {
    let mut chain = Chain::new(public(21, 2));
    chain.step(|i, worker| Some(if worker == 0 && i < 12 { observation(0, false) } else { observation(4, true) }));
    let of = |i: usize| chain.finalised[&Epoch::new(1)].scores.rows.iter().find(|row| row.worker == worker(i)).unwrap();
    let all_failed =
        Aggregate { success: Some(Ppm::ZERO), rtt_us: Some(2_000_000), echo_kbit_s: Some(0), ..Aggregate::default() };
    assert_eq!(of(0).aggregate, all_failed);
    assert_eq!((of(1).aggregate.reachable_ms, of(1).aggregate.echoes), (5_000, 1));
}

/// What a validator could not send says nothing: it does not count against a worker, and it is no report on it either.
#[test]
fn what_was_not_sent_abstains() {
    let mut chain = Chain::new(public(21, 2));
    chain.step(|i, worker| (i >= [7, 8][worker]).then(|| observation(4, true)));
    assert_eq!(measured(&chain, 1), [worker(0)].into());
    assert_eq!(chain.finalised[&Epoch::new(1)].scores.rows[0].reachable_ms, 5_000);
}

/// An echo's bytes follow from the throughput that was agreed on last, for everyone alike: no report can claim others.
#[test]
fn echoes_grow_with_the_agreed_throughput() {
    let fast = |_, _| Some(Observation { echo_kbit_s: LogScale::encode(20_000), ..observation(4, true) });
    let mut chain = Chain::new(public(21, 2));
    let bytes = |chain: &Chain| chain.state.open().unwrap().scored[0].echo_bytes.unwrap();
    // Fast in the first epoch; what is drawn for the second is drawn before that is agreed on.
    chain.step(fast);
    chain.step(fast);
    // 20,000 kbit/s for 250 ms are 625,000 bytes.
    assert_eq!(bytes(&chain), LogScale::encode(20_000 * 250 / 8));
    chain.block(all_good);
    chain.block(fast);
    // Nobody honest takes it into a block.
    let mut block = chain.draft(fast);
    block.reveals.push(chain.reveal(0, 3));
    let refused = chain.validate(block).unwrap_err();
    let is_about_bytes = matches!(
        refused,
        InvalidBlock::Report { source: ReportError::Observation { problem: ObservationError::EchoBytes, .. }, .. }
    );
    assert!(is_about_bytes, "{refused}");
}

/// A worker that is in no pool is nobody's to measure.
#[test]
fn only_members_of_pools_are_scored() {
    let mut start = public(21, 3);
    start.pools[0].members.retain(|member| *member != worker(1));
    let mut chain = Chain::new(start);
    chain.step(all_good);
    assert_eq!(measured(&chain, 1), [worker(0), worker(2)].into());
}

/// Of more workers than are scored, those that are not drawn lose nothing.
#[test]
fn undrawn_epochs_leave_the_denominators() {
    let mut start = public(21, 30);
    start.genesis.policy.max_scored = 10;
    let mut chain = Chain::new(start);
    for epoch in 1..=3 {
        let drawn: BTreeSet<_> = chain.state.open().unwrap().scored.iter().map(|worker| worker.node).collect();
        chain.step(all_good);
        assert_eq!(measured(&chain, epoch), drawn);
    }
    let policy = chain.spec.policy();
    let epochs: Vec<_> =
        chain.state.all::<Workers>().map(|(_, stats)| stats.sums(policy, Epoch::new(3)).epochs).collect();
    assert_eq!(epochs.iter().sum::<u64>(), 30);
    for (_, stats) in chain.state.all::<Workers>().filter(|(_, stats)| stats.sums(policy, Epoch::new(3)).epochs > 0) {
        assert_eq!(stats.uptime(policy, Epoch::new(3)), Ppm::ONE, "{stats:?}");
    }
}
