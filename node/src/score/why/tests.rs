use lucid_consensus::ledger::state::Rows as _;
use lucid_types::pool::SplitRule;

use super::*;
use crate::score::fixture::{Chain, Did, EPOCHS};

/// Epochs of the settlements that a chain goes through.
const LAST: u64 = 2 * EPOCHS;

fn findings(chain: &Chain, settlement: u64) -> Findings {
    let (before, drawn) = chain.inputs(settlement, 0);
    why(&Settlement {
        policies: chain.state.policies(),
        pool: chain.pool(),
        shared: chain.shared(settlement),
        worker: chain.worker(0),
        before: &before,
        kbit_s: before.kbit_s.0,
        drawn: &drawn,
        not_drawn: &[],
        maintenance: &[],
    })
    .unwrap_or_else(|e| panic!("{e}"))
}

fn loss(findings: &Findings, cause: Cause) -> &Loss {
    let found = findings.losses.iter().find(|loss| loss.cause == cause);
    found.unwrap_or_else(|| panic!("{cause:?} is not among {findings:?}"))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap()
}

/// The last score of a settlement, its credits, and what is paid for it, of the first worker.
fn outcome(chain: &Chain, settlement: u64) -> [i64; 3] {
    let rows = chain.rows(settlement, 0);
    let paid = chain.shared(settlement).part(AccountKind::Worker, &chain.worker(0)).unwrap().amount;
    let credits = rows.iter().map(|(_, row)| row.credits.get()).sum();
    [rows.last().unwrap().1.score.get().into(), signed(credits), signed(paid.get())]
}

/// Runs a chain in which the first worker did something in these epochs, and one in which it did well, and compares what the one says of a cause
/// with the difference of both.
fn price_is_the_difference(did: Did, cause: Cause, epochs: &[u64], settlement: u64) {
    price_is_that_of(did, Did::Well, cause, epochs, settlement);
}

/// The same, with what it did in these epochs of the other chain.
fn price_is_that_of(did: Did, instead: Did, cause: Cause, epochs: &[u64], settlement: u64) {
    for split in [SplitRule::CreditsTimesScore, SplitRule::Credits] {
        let (mut with, mut without) = (Chain::new(split), Chain::new(split));
        // The other one is not perfect either.
        let other = |epoch: Epoch| if epoch.get().is_multiple_of(3) { Did::NoEcho } else { Did::Well };
        with.run(LAST, |epoch, worker| match worker {
            0 if epochs.contains(&epoch.get()) => did,
            0 => Did::Well,
            _ => other(epoch),
        });
        without.run(LAST, |epoch, worker| match worker {
            0 if epochs.contains(&epoch.get()) => instead,
            0 => Did::Well,
            _ => other(epoch),
        });
        let found = findings(&with, settlement);
        let (is, would_be) = (outcome(&with, settlement), outcome(&without, settlement));
        let loss = loss(&found, cause);
        let differences: Vec<_> = is.iter().zip(would_be).map(|(is, would_be)| is - would_be).collect();
        assert_eq!([loss.score, loss.credits, loss.amount], *differences, "{cause:?}, {split:?}: {found:?}");
        assert_eq!(signed(found.paid.get()), is[2]);
        let expected: Vec<_> = epochs.iter().copied().map(Epoch::new).collect();
        assert_eq!(loss.epochs, ranges(expected), "{cause:?}");
        let rows = with.rows(settlement, 0);
        let scores = (rows[0].1.score, rows[rows.len() - 1].1.score);
        assert_eq!(found.scores, Some(scores));
    }
}

#[test]
fn offline_costs_what_whole_epochs_would_have_brought() {
    price_is_the_difference(Did::Nothing, Cause::Offline, &[6, 7], 2);
    price_is_the_difference(Did::Nothing, Cause::Offline, &[4], 1);
}

#[test]
fn slow_answers_cost_quality() {
    price_is_the_difference(Did::Slow, Cause::Slow, &[8], 2);
}

#[test]
fn failed_echoes_cost_credits_and_success() {
    price_is_the_difference(Did::NoEcho, Cause::EchoFailed, &[5, 7], 2);
}

#[test]
fn chunks_that_are_not_proved_cost_utilisation() {
    price_is_the_difference(Did::NoChunks, Cause::Storage, &[8], 2);
}

#[test]
fn epochs_that_nobody_measured_cost_what_the_last_one_brought() {
    price_is_the_difference(Did::NotMeasured, Cause::NotMeasured, &[6], 2);
}

/// Whoever declares as much as it proves has what it is told to have lost.
#[test]
fn declaring_too_much_costs_utilisation() {
    let with_disk = |disk_bytes| {
        let mut chain = Chain::with(SplitRule::CreditsTimesScore, |start| {
            start.workers[0].capacity.disk_bytes = disk_bytes;
        });
        chain.run(EPOCHS, |_, worker| if worker == 0 { Did::OneChunk } else { Did::Well });
        chain
    };
    let (with, without) = (with_disk(16 << 20), with_disk(8 << 20));
    let found = findings(&with, 1);
    let loss = loss(&found, Cause::Overdeclared);
    let differences: Vec<_> = outcome(&with, 1).iter().zip(outcome(&without, 1)).map(|(a, b)| a - b).collect();
    assert_eq!([loss.score, loss.credits, loss.amount], *differences);
    assert!(loss.score < 0 && loss.factors.utilisation < 0 && loss.factors.quality == 0, "{loss:?}");
}

#[test]
fn a_worker_that_did_well_lost_nothing() {
    let mut chain = Chain::new(SplitRule::CreditsTimesScore);
    chain.run(LAST, |_, _| Did::Well);
    let found = findings(&chain, 2);
    assert!(found.losses.is_empty(), "{found:?}");
}

#[test]
fn what_cost_most_comes_first_and_says_whose_it_is() {
    let mut chain = Chain::new(SplitRule::CreditsTimesScore);
    chain.run(LAST, |epoch, worker| match (worker, epoch.get()) {
        (0, 5) => Did::Slow,
        (0, 6 | 7) => Did::Nothing,
        _ => Did::Well,
    });
    let found = findings(&chain, 2);
    let causes: Vec<_> = found.losses.iter().map(|loss| loss.cause).collect();
    assert_eq!(causes[0], Cause::Offline, "{found:?}");
    assert!(causes.contains(&Cause::Slow));
    let offline = loss(&found, Cause::Offline);
    assert_eq!((offline.ms, offline.cause.responsibility()), (10_000, Responsibility::Worker));
    assert!(offline.factors.uptime < 0 && offline.factors.trust < 0 && offline.credits < 0, "{offline:?}");
    assert!(found.losses.is_sorted_by_key(|loss| loss.amount));
}

/// Workers in one network divide their credits; alone it would have had all of its own.
#[test]
fn a_shared_network_costs_credits() {
    let mut chain = Chain::new(SplitRule::Credits);
    chain.run(EPOCHS, |_, _| Did::Well);
    let (before, mut drawn) = chain.inputs(1, 0);
    drawn[1].sharers = 2;
    let mut shared = chain.shared(1).clone();
    let rows = replay(chain.state.policies(), &before, &drawn);
    let place = shared.parts.iter().position(|part| part.node == chain.worker(0)).unwrap();
    shared.parts[place].weight = share(shared.split, &chain.pool(), &rows);
    let settlement = Settlement {
        policies: chain.state.policies(),
        pool: chain.pool(),
        shared: &shared,
        worker: chain.worker(0),
        before: &before,
        kbit_s: before.kbit_s.0,
        drawn: &drawn,
        not_drawn: &[],
        maintenance: &[],
    };
    let found = why(&settlement).unwrap();
    let loss = loss(&found, Cause::SharedNetwork);
    let row = chain.rows(1, 0)[1].1;
    let half = row.credits.get() - row.credits.get() / 2;
    assert_eq!((loss.credits, loss.epochs.len()), (-signed(half), 1));
}

/// Of an epoch in which it was away half of the time, being away costs the time, and the echo that failed beside it its credits: neither is
/// charged for the other.
#[test]
fn what_fails_beside_an_absence_is_not_charged_to_it() {
    for (cause, instead) in [(Cause::Offline, Did::NoEcho), (Cause::EchoFailed, Did::HalfAway)] {
        price_is_that_of(Did::HalfAwayNoEcho, instead, cause, &[6], 2);
    }
    price_is_the_difference(Did::HalfAway, Cause::Offline, &[6], 2);
}

/// An epoch in which it was not drawn, cut out of a settlement in which all went well, costs what it brought.
#[test]
fn epochs_without_the_worker_cost_what_an_ordinary_one_brings() {
    let mut chain = Chain::new(SplitRule::Credits);
    chain.run(LAST, |_, _| Did::Well);
    let (before, drawn) = chain.inputs(2, 0);
    let policies = chain.state.policies();
    for absent in 0..4 {
        let mut left = drawn.clone();
        let Replayed { epoch, worker, .. } = left.remove(absent);
        let rows = replay(policies, &before, &left);
        let mut shared = chain.shared(2).clone();
        let place = shared.parts.iter().position(|part| part.node == chain.worker(0)).unwrap();
        shared.parts[place].weight = share(shared.split, &chain.pool(), &rows);
        let missed = [Missed { epoch, has_echo: worker.echo_bytes.is_some() }];
        let settlement = Settlement {
            policies,
            pool: chain.pool(),
            shared: &shared,
            worker: chain.worker(0),
            before: &before,
            kbit_s: before.kbit_s.0,
            drawn: &left,
            not_drawn: &missed,
            maintenance: &[],
        };
        let found = why(&settlement).unwrap();
        let lost = loss(&found, Cause::NotDrawn);
        let credits: u64 = rows.iter().map(|it| it.row.credits.get()).sum();
        let [score, all_credits, _] = outcome(&chain, 2);
        let last = i64::from(rows.last().unwrap().row.score.get());
        assert_eq!((lost.credits, lost.score), (signed(credits) - all_credits, last - score), "{absent}");
        assert!(lost.is_priced && lost.credits < 0 && lost.ms == 5_000, "{lost:?}");
        assert_eq!(
            (lost.epochs.as_slice(), lost.cause.responsibility()),
            ([(epoch, epoch)].as_slice(), Responsibility::Network)
        );
        // With nothing measured there is nothing to compare with.
        let mut nothing = shared.clone();
        (nothing.parts[place].weight, nothing.parts[place].amount) = (0, MicroUsdt::ZERO);
        let none = why(&Settlement { shared: &nothing, drawn: &[], ..settlement }).unwrap();
        let lost = loss(&none, Cause::NotDrawn);
        assert_eq!((lost.is_priced, lost.amount, lost.credits), (false, 0, 0));
    }
    let settlement = Settlement {
        policies,
        pool: chain.pool(),
        shared: chain.shared(2),
        worker: chain.worker(0),
        before: &before,
        kbit_s: before.kbit_s.0,
        drawn: &drawn[1..],
        not_drawn: &[],
        maintenance: &[],
    };
    assert!(matches!(why(&settlement), Err(OtherShare { found, expected }) if found < expected), "an epoch is missing");
}

#[test]
fn a_change_of_the_score_is_that_of_its_parts_and_rounding() {
    let mut chain = Chain::new(SplitRule::Credits);
    chain.run(LAST, |epoch, _| if epoch.get() == 5 { Did::Nothing } else { Did::Well });
    let rows = [chain.rows(1, 0), chain.rows(2, 0)].concat();
    let policies = chain.state.policies();
    let mut before = None;
    for (epoch, row) in &rows {
        let found = changed(policies, before, (*epoch, row));
        let old = before.map_or(0, |(_, row): (Epoch, &ScoreRow)| row.score.get());
        assert_eq!(found.score, i64::from(row.score.get()) - i64::from(old));
        assert_eq!(found.factors.sum() + found.rounding, found.score);
        assert!(found.rounding.abs() < 7, "{found:?}");
        before = Some((*epoch, row));
    }
    let fell = changed(policies, Some((rows[3].0, &rows[3].1)), (rows[4].0, &rows[4].1));
    assert!(fell.score < 0 && fell.factors.quality < 0 && fell.factors.trust < 0, "{fell:?}");
}
