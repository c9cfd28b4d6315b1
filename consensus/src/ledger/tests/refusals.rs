//! Every way in which a block can be wrong, each with signatures that are right.

use std::collections::BTreeSet;

use lucid_score::aggregate::ObservationError;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::block::Block;
use lucid_types::commit::Commit;
use lucid_types::id::{Hash, StateRoot};
use lucid_types::payout::SettlementRoot;
use lucid_types::payout_tree::PayoutRoot;
use lucid_types::report::{Observation, Reveal};
use lucid_types::signed::Signed;
use lucid_types::time::{EpochNumber, UnixMillis};

use super::chain::{Chain, all_good, genesis_with, observation, validator, validator_key, worker};
use crate::ledger::check::InvalidBlock;

/// Not one of the validators.
const STRANGER: usize = 50;

/// Seven blocks with a window of three: block 8 takes commits of 6 to 8, and reveals of 3 to 5.
fn chain() -> Chain {
    Chain::grown(genesis_with(|genesis| genesis.policy.commit_window = 3), 7)
}

fn good(chain: &mut Chain) -> Block {
    chain.draft(all_good)
}

fn commit_of(i: usize, problem: &'static str) -> InvalidBlock {
    InvalidBlock::Commit { validator: validator(i), problem }
}

fn reveal_of(i: usize, problem: &'static str) -> InvalidBlock {
    InvalidBlock::Reveal { validator: validator(i), problem }
}

fn add_commit(block: &mut Block, commit: Signed<Commit>) {
    block.commits.push(commit);
    block.commits.sort_by_key(|commit| (commit.record.epoch, commit.signer));
}

fn add_reveal(block: &mut Block, reveal: Signed<Reveal>) {
    block.reveals.push(reveal);
    block.reveals.sort_by_key(|reveal| (reveal.record.report.epoch, reveal.signer));
}

type Tamper = fn(&mut Chain, &mut Block);

#[track_caller]
fn check(cases: &[(&str, InvalidBlock, Tamper)]) {
    let chain = chain();
    for (name, expected, tamper) in cases {
        let mut chain = chain.clone();
        let mut block = good(&mut chain);
        chain.validate(block.clone()).unwrap();
        tamper(&mut chain, &mut block);
        let block = chain.seal(block);
        assert_eq!(chain.validate(block).unwrap_err(), *expected, "{name}");
    }
}

#[test]
fn heads_that_do_not_fit() {
    let time = |found: u64, chain: &mut Chain| {
        let expected = good(chain).time;
        InvalidBlock::Time { found: UnixMillis::new(expected.get() + found - 1), expected }
    };
    let mut other = chain();
    check(&[
        ("a height left out", InvalidBlock::NotNext, |_, block| block.height = block.height.next()),
        ("the same height again", InvalidBlock::NotNext, |_, block| block.height = block.height.previous()),
        ("another parent", InvalidBlock::NotNext, |_, block| block.parent = block.hash()),
        ("a proposer who is no validator", InvalidBlock::Proposer, |_, block| block.proposer = validator(STRANGER)),
        ("another next set", InvalidBlock::NextSet, |_, block| block.next_set = Hash::from_bytes([1; 32])),
        ("a time too early", time(0, &mut other), |_, block| block.time = UnixMillis::new(block.time.get() - 1)),
        ("a time too late", time(2, &mut other), |_, block| block.time = UnixMillis::new(block.time.get() + 1)),
    ]);
}

#[test]
fn commits_that_cannot_stand() {
    let order = |i| commit_of(i, "out of order or twice");
    let last = {
        let ids: BTreeSet<_> = (0..4).map(validator).collect();
        let last = ids.last().copied();
        (0..4).find(|i| Some(validator(*i)) == last).unwrap()
    };
    let second = {
        let ids: Vec<_> = (0..4).map(validator).collect::<BTreeSet<_>>().into_iter().collect();
        (0..4).find(|i| validator(*i) == ids[0]).unwrap()
    };
    let window = "its epoch's window is not open";
    check(&[
        ("twice", order(last), |_, block| block.commits.push(block.commits[3].clone())),
        ("out of order", order(second), |_, block| block.commits.swap(0, 1)),
        ("too few", InvalidBlock::TooFewCommits { power: 2 }, |_, block| block.commits.truncate(2)),
        ("none", InvalidBlock::TooFewCommits { power: 0 }, |_, block| block.commits.clear()),
        ("a stranger's", commit_of(STRANGER, "the signer is no validator of the epoch"), |chain, block| {
            let commit = chain.commit(STRANGER, block.height, vec![]);
            add_commit(block, commit);
        }),
        ("of a coming epoch", commit_of(1, window), |chain, block| {
            let commit = chain.commit(1, block.height.next(), vec![]);
            add_commit(block, commit);
        }),
        ("too late", commit_of(1, window), |chain, block| {
            let commit = chain.commit(1, EpochNumber::new(5), vec![]);
            add_commit(block, commit);
        }),
        ("of the genesis", commit_of(1, window), |chain, block| {
            let commit = chain.commit(1, EpochNumber::ZERO, vec![]);
            add_commit(block, commit);
        }),
        ("a second one for its epoch", commit_of(1, "the signer has committed already"), |chain, block| {
            let commit = chain.commit(1, EpochNumber::new(7), vec![]);
            add_commit(block, commit);
        }),
    ]);
}

#[test]
fn reveals_that_cannot_stand() {
    let window = "its epoch's window is not open";
    let other = "it is not what the signer committed to";
    check(&[
        ("twice", reveal_of(1, "out of order or twice"), |chain, block| add_reveal(block, chain.reveal(1, 5))),
        ("too early", reveal_of(1, window), |chain, block| add_reveal(block, chain.reveal(1, 6))),
        ("too late", reveal_of(1, window), |chain, block| add_reveal(block, chain.reveal(1, 2))),
        ("again", reveal_of(1, "the signer has revealed already"), |chain, block| {
            add_reveal(block, chain.reveal(1, 4));
        }),
        ("of a stranger", reveal_of(STRANGER, "the signer did not commit"), |chain, block| {
            chain.commit(STRANGER, EpochNumber::new(5), vec![]);
            add_reveal(block, chain.reveal(STRANGER, 5));
        }),
        ("with another salt", reveal_of(1, other), |chain, block| {
            replace_reveal(chain, block, |reveal| reveal.salt[31] ^= 1);
        }),
        ("with another report", reveal_of(1, other), |chain, block| {
            replace_reveal(chain, block, |reveal| reveal.report.observations[0].beacons_answered -= 1);
        }),
        ("the report of another", reveal_of(1, other), |chain, block| {
            let of_two = chain.reveal(2, 5).record;
            replace_reveal(chain, block, |reveal| *reveal = of_two);
        }),
    ]);
    // Out of order: which pair is named depends on the validators' ids.
    let mut chain = chain();
    let mut block = good(&mut chain);
    block.reveals.reverse();
    let error = chain.validate(block).unwrap_err();
    assert!(matches!(error, InvalidBlock::Reveal { problem: "out of order or twice", .. }), "{error}");
}

fn replace_reveal(chain: &Chain, block: &mut Block, change: impl FnOnce(&mut Reveal)) {
    let reveal = block.reveals.iter_mut().find(|reveal| reveal.signer == validator(1)).unwrap();
    change(&mut reveal.record);
    *reveal = validator_key(1).sign_report(chain.network.id(), reveal.record.clone()).into_inner();
}

#[test]
fn who_did_not_commit_cannot_reveal() {
    let mut chain = Chain::grown(genesis_with(|_| ()), 4);
    let mut block = good(&mut chain);
    block.commits.retain(|commit| commit.signer != validator(3));
    let block = chain.seal(block);
    chain.apply(block);
    let mut block = good(&mut chain);
    add_reveal(&mut block, chain.reveal(3, 5));
    assert_eq!(chain.validate(block).unwrap_err(), reveal_of(3, "the signer did not commit"));
    // Nobody commits for epoch 0, whose reveals would be due in block 1.
    let mut chain = Chain::new(genesis_with(|_| ()));
    let mut block = good(&mut chain);
    chain.commit(1, EpochNumber::ZERO, vec![]);
    add_reveal(&mut block, chain.reveal(1, 0));
    assert_eq!(chain.validate(block).unwrap_err(), reveal_of(1, "there are no commits for its epoch"));
}

/// A late commit and a late reveal stand as long as their windows are open, and not a block longer.
#[test]
fn late_commits_and_reveals_count() {
    let mut chain = chain();
    let mut late = None;
    for height in 8..=13 {
        let mut block = good(&mut chain);
        if height == 8 {
            let missing = block.commits.iter().position(|commit| commit.signer == validator(2)).unwrap();
            late = Some(block.commits.remove(missing));
        }
        if height == 10 {
            add_commit(&mut block, late.take().unwrap());
        }
        // The reveal of epoch 8 is due in blocks 11 to 13.
        let held = block.reveals.iter().position(|r| r.signer == validator(2) && r.record.report.epoch.get() == 8);
        if height < 13 {
            held.map(|held| block.reveals.remove(held));
        } else {
            assert!(held.is_some());
        }
        let block = chain.seal(block);
        chain.apply(block);
    }
    assert_eq!(chain.archive.rows[&EpochNumber::new(8)].rows.len(), 3);
    let mut after = good(&mut chain);
    add_reveal(&mut after, chain.reveal(2, 8));
    assert_eq!(chain.validate(after).unwrap_err(), reveal_of(2, "its epoch's window is not open"));
}

/// Validator 1 commits to these observations, and the next block reveals them.
fn reporting(observations: Vec<Observation>) -> InvalidBlock {
    let mut chain = Chain::grown(genesis_with(|_| ()), 1);
    let mut block = good(&mut chain);
    let commit = chain.commit(1, block.height, observations);
    let place = block.commits.iter_mut().find(|commit| commit.signer == validator(1)).unwrap();
    *place = commit;
    let block = chain.seal(block);
    chain.apply(block);
    let block = good(&mut chain);
    chain.validate(block).unwrap_err()
}

#[test]
fn impossible_observations_are_refused() {
    let (a, b) = (worker(0).min(worker(1)), worker(0).max(worker(1)));
    let good = |node| observation(node, 4, true);
    assert_eq!(reporting(vec![good(b), good(a)]), reveal_of(1, "its observations are out of order"));
    assert_eq!(reporting(vec![good(a), good(a)]), reveal_of(1, "its observations are out of order"));
    let stranger = vec![good(validator(2))];
    assert_eq!(reporting(stranger), reveal_of(1, "it observes a node that is no registered worker"));

    type Spoil = (ObservationError, fn(&mut Observation));
    let impossible: [Spoil; 8] = [
        (ObservationError::TooManyTasks, |o| o.beacons_sent = 5),
        (ObservationError::TooManyTasks, |o| o.relays_sent = 2),
        (ObservationError::TooManyResults, |o| o.beacons_sent = 3),
        (ObservationError::TooManyResults, |o| o.relay_bytes += 1),
        (ObservationError::TooManyResults, |o| o.chunks_proved = 1),
        (ObservationError::RoundTrip, |o| o.rtt_us = 0),
        (ObservationError::Attestation, |o| o.allocation = Ppm::new(1_000_001)),
        (ObservationError::Attestation, |o| o.capacity.memory_bytes = (1 << 46) + 1),
    ];
    for (source, change) in impossible {
        let mut observation = good(a);
        change(&mut observation);
        assert_eq!(reporting(vec![observation]), InvalidBlock::Observation { validator: validator(1), source });
    }
}

#[test]
fn another_outcome_is_refused() {
    let mut chain = chain();
    let mut block = good(&mut chain);
    let expected = block.state_root;
    block.state_root = StateRoot::from_bytes([1; 32]);
    let found = block.state_root;
    assert_eq!(chain.validate(block).unwrap_err(), InvalidBlock::StateRoot { found, expected });
}

/// A block's payout roots are its own word, under its hash: what treasury signers take from it must be what follows.
#[test]
fn payout_roots_that_do_not_follow_are_refused() {
    let mut chain = Chain::grown(genesis_with(|_| ()), 2);
    let block = good(&mut chain);
    assert_eq!(block.payout_roots.len(), 1, "block 3 settles");
    type Change = fn(&mut Vec<SettlementRoot>);
    let changes: [Change; 6] = [
        |roots| roots.clear(),
        |roots| roots.push(roots[0]),
        |roots| roots[0].total = roots[0].total.saturating_add(MicroUsdt::new(1)),
        |roots| roots[0].root = PayoutRoot::from_bytes([1; 32]),
        |roots| roots[0].leader = None,
        |roots| roots[0].era += 1,
    ];
    for change in changes {
        let mut block = block.clone();
        change(&mut block.payout_roots);
        assert_eq!(chain.validate(block).unwrap_err(), InvalidBlock::PayoutRoots);
    }
    chain.validate(block).unwrap();
}

#[test]
fn a_damaged_store_is_noticed() {
    // Windows of four epochs: block 6 makes epoch 5 final, and epoch 1 leaves.
    let mut chain = Chain::grown(genesis_with(|_| ()), 5);
    let block = good(&mut chain);
    let first = EpochNumber::new(1);
    chain.validate(block.clone()).unwrap();
    let whole = chain.archive.rows[&first].clone();
    chain.archive.rows.get_mut(&first).unwrap().rows[0].reachable_ms -= 1;
    assert_eq!(chain.validate(block.clone()).unwrap_err(), InvalidBlock::MissingRows(first));
    chain.archive.rows.remove(&first);
    assert_eq!(chain.validate(block.clone()).unwrap_err(), InvalidBlock::MissingRows(first));
    chain.archive.rows.insert(first, whole);
    chain.validate(block).unwrap();
}

#[test]
fn reveals_that_a_damaged_store_lost_are_missed() {
    // With a window of two, reveals of epoch 3 may stand in blocks 5 and 6, and block 6 makes it final.
    let mut chain = Chain::grown(genesis_with(|genesis| genesis.policy.commit_window = 2), 5);
    let block = good(&mut chain);
    chain.validate(block.clone()).unwrap();
    let missing = InvalidBlock::MissingReveals(EpochNumber::new(3));
    let height = EpochNumber::new(5);
    let whole = chain.archive.blocks[&height].clone();
    let damages: [fn(&mut Block); 3] = [
        |block| block.reveals[0].record.salt[0] ^= 1,
        |block| drop(block.reveals.pop()),
        |block| block.reveals.clear(),
    ];
    for damage in damages {
        let mut damaged = whole.clone();
        damage(&mut damaged);
        chain.archive.blocks.insert(height, damaged);
        assert_eq!(chain.validate(block.clone()).unwrap_err(), missing);
    }
    chain.archive.blocks.remove(&height);
    assert_eq!(chain.validate(block.clone()).unwrap_err(), missing);
    chain.archive.blocks.insert(height, whole);
    chain.validate(block).unwrap();
}
