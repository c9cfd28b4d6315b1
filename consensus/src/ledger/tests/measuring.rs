//! Which workers of an epoch are measured, and with whose weight.

use std::collections::{BTreeMap, BTreeSet};

use lucid_score::aggregate::{Aggregate, EchoMedian};
use lucid_score::draw::ScoredWorker;
use lucid_score::report::ReportError;
use lucid_score::storage::committee;
use lucid_types::amount::Ppm;
use lucid_types::id::NodeId;
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::report::{Observation, ScoreReport};
use lucid_types::time::Epoch;

use super::chain::{Chain, all_good, members, observation, signer_id, start_with, validator, worker};
use super::start::{Start, Worker};
use crate::ledger::check::InvalidBlock;
use crate::ledger::measuring::measured as measured_of;
use crate::ledger::state::{FinalEpoch, Rows};
use crate::ledger::table::{Draws, Nodes, StorageTerms, Workers};

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
    let (before, policy) = (chain.state.clone(), chain.state.policy_in_force().clone());
    step_without(&mut chain, 0..8);
    assert_eq!(measured(&chain, 2), above);
    for (worker, stats) in chain.state.all::<Workers>() {
        if above.contains(&worker) {
            let sums = stats.sums(&policy, Epoch::new(2));
            assert_eq!((sums.epochs, sums.credits.get()), (2, 2 * 21));
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
    assert!(rows.len() == 30 && rows.iter().all(|row| row.aggregate.rtt_us == 800), "{rows:?}");
}

/// Whoever answers only some validators, those near it or the fast ones, is as bad as most of the others find it.
#[test]
fn leaving_validators_without_an_answer_costs() {
    let mut chain = Chain::new(public(21, 2));
    chain.step(|i, worker| Some(if worker == 0 && i < 12 { observation(0, false) } else { observation(4, true) }));
    let of = |i: usize| chain.finalised[&Epoch::new(1)].scores.rows.iter().find(|row| row.worker == worker(i)).unwrap();
    let all_failed = Aggregate { rtt_us: 2_000_000, echo: Some(EchoMedian::default()), ..Aggregate::default() };
    assert_eq!(of(0).aggregate, all_failed);
    let echo = EchoMedian { bytes: 256 << 10, kbit_s: LogScale::encode(8_000).value() };
    assert_eq!((of(1).aggregate.reachable_ms, of(1).aggregate.echo), (5_000, Some(echo)));
}

/// What a validator could not send says nothing: it does not count against a worker, and it is no report on it either.
#[test]
fn what_was_not_sent_abstains() {
    let mut chain = Chain::new(public(21, 2));
    chain.step(|i, worker| (i >= [7, 8][worker]).then(|| observation(4, true)));
    assert_eq!(measured(&chain, 1), [worker(0)].into());
    assert_eq!(chain.finalised[&Epoch::new(1)].scores.rows[0].reachable_ms, 5_000);
}

/// An echo's bytes follow from the throughput that was agreed on last, for everyone alike, and from what the worker declares.
#[test]
fn echoes_grow_with_the_agreed_throughput() {
    let fast = |_, _| Some(Observation { echo_kbit_s: Some(LogScale::encode(20_000)), ..observation(4, true) });
    let mut start = public(21, 2);
    start.genesis.policy.history_window = 24;
    let mut chain = Chain::new(start);
    let bytes = |chain: &Chain, i: usize| {
        let scored = &chain.state.open().unwrap().scored;
        scored.iter().find(|it| it.node == worker(i)).unwrap().echo_bytes.unwrap()
    };
    // Fast in the first epoch; what is drawn for the second is drawn before that is agreed on.
    chain.change_node(worker(1), |node| node.capacity.bandwidth_kbit_s = 10_000);
    chain.step(fast);
    chain.step(fast);
    // 20,000 kbit/s for 250 ms are 625,000 bytes.
    assert_eq!(bytes(&chain, 0), LogScale::encode(20_000 * 250 / 8));
    assert_eq!(bytes(&chain, 1), LogScale::encode(10_000 * 250 / 8), "no more than it declares");
    chain.block(all_good);
    chain.block(fast);
    let block = chain.draft(fast);
    chain.apply(block);
    let row = chain.finalised[&Epoch::new(3)].scores.rows.iter().find(|row| row.worker == worker(0)).copied().unwrap();
    assert_eq!(row.aggregate.echo.map(|echo| echo.bytes), Some(LogScale::encode(20_000 * 250 / 8).value()));
}

const HERE: NetworkGroup = NetworkGroup::from_bytes([0, 0, 9, 9, 9, 9]);
const THERE: NetworkGroup = NetworkGroup::from_bytes([0x2a, 0, 0, 1, 0, 2]);

fn seen_at(group: NetworkGroup) -> Option<Observation> {
    Some(Observation { group: Some(group), ..observation(4, true) })
}

/// Ten workers at one address have one worker's credits, in the epoch already in which they are seen there first, whatever pools they are
/// in, and others keep their own. Nothing else of their scores is touched.
#[test]
fn workers_behind_one_address_share_one_workers_credits() {
    // A report tells of half of its workers that they were seen elsewhere.
    let mut start = public(21, 20);
    start.genesis.policy.one_per_network = true;
    let mut chain = Chain::new(start.clone());
    let at = |_, worker| seen_at(if worker < 10 { HERE } else { NetworkGroup::NONE });
    for epoch in 1..=4 {
        chain.step(at);
        let rows = &chain.finalised[&Epoch::new(epoch)].scores.rows;
        assert_eq!(rows.len(), 20);
        for row in rows {
            let expected = if (0..10).any(|i| row.worker == worker(i)) { (10, 2) } else { (1, 21) };
            assert_eq!((row.sharers, row.credits.get()), expected, "epoch {epoch}");
            assert_eq!((row.earned.relay.get(), row.aggregate.reachable_ms), (21, 5_000));
        }
    }
    start.genesis.policy.one_per_network = false;
    let mut chain = Chain::new(start);
    chain.step(at);
    let rows = &chain.finalised[&Epoch::new(1)].scores.rows;
    assert!(rows.iter().all(|row| (row.sharers, row.credits.get()) == (1, 21)));
}

/// Where a worker is stands in its node's row, and changes it when it moves; the draw after that knows.
#[test]
fn a_worker_that_moves_changes_its_nodes_row_once() {
    let mut start = public(21, 3);
    start.genesis.policy.one_per_network = true;
    let mut chain = Chain::new(start);
    let group = |chain: &Chain, i| chain.state.node(&worker(i)).unwrap().group;
    let drawn = |chain: &Chain, i| {
        let scored = &chain.state.open().unwrap().scored;
        let it = scored.iter().find(|it| it.node == worker(i)).unwrap();
        (it.group, it.sharers)
    };
    assert_eq!(group(&chain, 0), NetworkGroup::NONE);
    // Seen by less than two thirds: nobody agrees.
    chain.step(|i, _| {
        seen_at(HERE)
            .map(|seen| if i < 8 { Observation { pings_answered: 0, rtt_us: LogScale::ZERO, ..seen } } else { seen })
    });
    assert_eq!(group(&chain, 0), NetworkGroup::NONE);
    for _ in 0..4 {
        chain.step(|_, worker| seen_at(if worker < 2 { HERE } else { THERE }));
    }
    assert_eq!([0, 1, 2].map(|i| group(&chain, i)), [HERE, HERE, THERE]);
    assert_eq!([0, 1, 2].map(|i| drawn(&chain, i)), [(HERE, 2), (HERE, 2), (THERE, 1)]);
    // Nothing is said, and it stays there.
    let rows = |chain: &Chain| chain.state.all::<Nodes>().map(|(_, node)| node.clone()).collect::<Vec<_>>();
    let before = rows(&chain);
    chain.step(all_good);
    assert_eq!(rows(&chain), before);
    assert_eq!(chain.finalised[&Epoch::new(6)].scores.rows[0].aggregate.group, Some(before[0].group));
    // It moves away from the other, and has credits of its own at once; the other two epochs later.
    chain.step(|_, worker| seen_at(if worker == 1 { HERE } else { THERE }));
    assert_eq!([0, 1, 2].map(|i| group(&chain, i)), [THERE, HERE, THERE]);
    let sharers = |chain: &Chain, epoch| {
        let rows = &chain.finalised[&Epoch::new(epoch)].scores.rows;
        [0, 1, 2].map(|i| rows.iter().find(|row| row.worker == worker(i)).unwrap().sharers)
    };
    assert_eq!(sharers(&chain, 7), [2, 2, 2], "the draw has two here still");
    chain.step(all_good);
    chain.step(all_good);
    assert_eq!((sharers(&chain, 9), drawn(&chain, 1)), ([2, 1, 2], (HERE, 1)));
}

/// What storage seats find proved is credited over the settlement, and is the worker's utilisation.
#[test]
fn proved_storage_is_credited() {
    let mut start = public(21, 2);
    start.workers[0].capacity.disk_bytes = 8 << 30;
    let policy = &mut start.genesis.policy;
    (policy.storage_max_bytes, policy.storage_floor_bytes) = (32 << 30, 1 << 30);
    let mut chain = Chain::new(start);
    // Half of 8 GiB in 21 seats.
    let quota = 195;
    chain.proved = 98;
    chain.step(all_good);
    chain.step(all_good);
    let row = |chain: &Chain, epoch, i| {
        let rows = chain.finalised[&Epoch::new(epoch)].scores.rows.clone();
        rows.into_iter().find(|row| row.worker == worker(i)).unwrap()
    };
    let (first, second) = (row(&chain, 1, 0), row(&chain, 2, 0));
    assert_eq!((first.aggregate.chunks, row(&chain, 1, 1).aggregate.chunks), (Some(98 * 21), None));
    // floor(98 * 21 / 1024 GiB * 10) = 20, over the two epochs of the settlement.
    assert_eq!([first, second].map(|row| row.earned.storage.get()), [10, 10]);
    assert_eq!([first, second].map(|row| row.credits.get()), [31, 31]);
    assert_eq!(first.components.utilisation, Ppm::ratio(98, quota));
    let whole = first.components.utilisation.get();
    chain.proved = u16::MAX;
    chain.step(all_good);
    assert_eq!((row(&chain, 3, 0).components.utilisation.get(), whole), (1_000_000, 502_564));
}

/// A report that says more than a storage seat may hold is refused.
#[test]
fn nobody_proves_more_than_it_was_to_hold() {
    let mut start = public(21, 2);
    start.workers[0].capacity.disk_bytes = 8 << 30;
    start.genesis.policy.storage_max_bytes = 32 << 30;
    let mut chain = Chain::new(start);
    chain.block(all_good);
    let epoch = chain.state.closed();
    let draw = chain.state.get::<Draws>(&epoch).unwrap().clone();
    let mut block = chain.draft(all_good);
    let stored = |worker: &ScoredWorker| Some(worker.quota + 1);
    let id = signer_id(3);
    let assigned: Vec<_> = draw.assignment(&id).unwrap().map(|(worker, _)| (worker.assigned(), None)).collect();
    let stored: Vec<_> = draw.storage_assignment(&id).unwrap().map(|(worker, _)| stored(worker)).collect();
    let commitment = chain.commitment(3, ScoreReport::new(epoch, &assigned, &stored));
    *block.commitments.iter_mut().find(|it| it.signer == id).unwrap() = commitment;
    let block = chain.seal(block);
    chain.apply(block);
    let mut block = chain.draft(all_good);
    block.reveals.push(chain.reveal(3, epoch.get()));
    block.reveals.sort_by_key(|reveal| reveal.signer);
    let refused = chain.validate(block).unwrap_err();
    let source = ReportError::Proved { worker: worker(0) };
    assert_eq!(refused, InvalidBlock::Report { validator: id, source });
}

/// Who holds chunks is fixed a settlement ahead; a stall over several settlements leaves rows from which everyone computes the same.
#[test]
fn storage_terms_are_fixed_a_settlement_ahead() {
    let mut start = public(4, 3);
    start.genesis.policy.storage_term = 2;
    start.workers.iter_mut().for_each(|worker| worker.capacity.disk_bytes = 8 << 30);
    start.genesis.policy.storage_max_bytes = 32 << 30;
    let mut chain = Chain::new(start);
    let terms = |chain: &Chain| chain.state.all::<StorageTerms>().map(|(begin, _)| begin).collect::<Vec<_>>();
    assert_eq!(terms(&chain), [1, 2]);
    // Settlements of two epochs: with the end of epoch 2 the second one begins.
    chain.block(all_good);
    assert_eq!(terms(&chain), [1, 2]);
    chain.step(all_good);
    chain.step(all_good);
    assert_eq!(terms(&chain), [1, 2, 3]);
    let third = chain.state.get::<StorageTerms>(&3).unwrap();
    assert_eq!(third.holders.iter().map(|it| it.node).collect::<BTreeSet<_>>(), (0..4).map(validator).collect());
    // Nothing happens until settlement 8: those that begin in 4 to 7 were never fixed.
    let late = chain.spec.genesis().epoch_end(Epoch::new(14));
    let block = chain.at(late);
    chain.apply(block);
    assert_eq!(chain.state.closed(), Epoch::new(14));
    assert_eq!(terms(&chain), [3, 8, 9], "of those that are over the newest stays");
    let draw = chain.state.open().unwrap();
    assert!(draw.scored.len() == 3 && draw.scored.iter().all(|it| it.quota > 0 && it.storage.len() == 4));
    let rows = chain.state.storage_terms();
    for scored in &draw.scored {
        let policy = chain.state.policy_in_force();
        let committee: BTreeMap<_, _> = committee(policy, &rows, &scored.node, &scored.node, 8).into_iter().collect();
        let held = scored.storage.iter().map(|it| (draw.reporters[usize::from(it.reporter)], it.count));
        let held: BTreeMap<_, _> =
            held.map(|(id, count)| (chain.state.validator_account(&id).unwrap(), count)).collect();
        assert_eq!(held, committee);
    }
    chain.step(all_good);
    chain.crash();
    chain.step(all_good);
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
    let policy = chain.state.policy_in_force();
    let epochs: Vec<_> =
        chain.state.all::<Workers>().map(|(_, stats)| stats.sums(policy, Epoch::new(3)).epochs).collect();
    assert_eq!(epochs.iter().sum::<u64>(), 30);
    for (_, stats) in chain.state.all::<Workers>().filter(|(_, stats)| stats.sums(policy, Epoch::new(3)).epochs > 0) {
        assert_eq!(stats.uptime(policy, Epoch::new(3)), Ppm::ONE, "{stats:?}");
    }
}

/// Whoever has an epoch's draw and reports finds what its rows were made of.
#[test]
fn what_was_measured_follows_from_the_draw_and_the_reports() {
    let mut chain = Chain::new(public(24, 6));
    for epoch in 1..=3 {
        let seen = |i: usize, worker: usize| {
            (i >= 9 || worker != 1 || epoch != 2)
                .then(|| observation(u8::try_from(worker % 5).unwrap(), i.is_multiple_of(2)))
        };
        chain.step_revealing(seen, |i| i != epoch);
    }
    for (epoch, FinalEpoch { scores, draw, reports, .. }) in &chain.finalised {
        let found = measured_of(chain.spec.rules(), chain.state.policy(*epoch), *epoch, draw, reports);
        let found: Vec<_> = found.iter().map(|it| (it.worker.node, it.medians, it.earned, it.sharers)).collect();
        let rows = scores.rows.iter().map(|row| (row.worker, row.aggregate, row.earned, row.sharers));
        assert_eq!(found, rows.collect::<Vec<_>>());
        assert!(!found.is_empty());
        let fewer = measured_of(chain.spec.rules(), chain.state.policy(*epoch), *epoch, draw, &reports[..2]);
        assert!(fewer.is_empty(), "two of 24 are no quorum");
    }
}
