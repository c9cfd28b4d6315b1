//! Every way in which a block can be wrong, each with signatures that are right.

use std::collections::BTreeSet;

use lucid_score::aggregate::ObservationError;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::block::Block;
use lucid_types::commit::Commit;
use lucid_types::id::{Hash, PayoutAddress, PayoutId, PoolId, SolidBlockId, StateRoot};
use lucid_types::payout::{ReceiptVote, SolidBlock, TreasuryView, Verdict};
use lucid_types::report::{Observation, Reveal};
use lucid_types::signed::Signed;
use lucid_types::time::{EpochNumber, UnixMillis};

use super::chain::{Chain, all_good, as_it_is, genesis_with, observation, validator, validator_key, worker};
use crate::ledger::check::InvalidBlock;

/// Not one of the validators.
const STRANGER: usize = 50;

/// Seven blocks with a window of three: block 8 takes commits of 6 to 8, and reveals of 3 to 5.
fn chain() -> Chain {
    Chain::grown(genesis_with(|genesis| genesis.policy.commit_window = 3), 7)
}

fn good(chain: &mut Chain) -> Block {
    chain.draft(all_good, as_it_is)
}

fn commit_of(i: usize, problem: &'static str) -> InvalidBlock {
    InvalidBlock::Commit { validator: validator(i), problem }
}

fn reveal_of(i: usize, problem: &'static str) -> InvalidBlock {
    InvalidBlock::Reveal { validator: validator(i), problem }
}

/// Validator 1's commit in `block`, changed and signed again.
fn recommit(chain: &Chain, block: &mut Block, change: impl FnOnce(&mut Commit)) {
    let commit = block.commits.iter_mut().find(|commit| commit.signer == validator(1)).unwrap();
    change(&mut commit.record);
    *commit = validator_key(1).sign_commit(chain.network.id(), commit.record.clone()).into_inner();
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
    let stride = "its solidified blocks are not the newest multiples of the stride";
    let treasuries = "its treasuries are unknown or out of order";
    let receipts = "its receipts are too many or out of order";
    check(&[
        ("twice", order(last), |_, block| block.commits.push(block.commits[3].clone())),
        ("out of order", order(second), |_, block| block.commits.swap(0, 1)),
        ("too few", InvalidBlock::TooFewCommits { power: 2 }, |_, block| block.commits.truncate(2)),
        ("none", InvalidBlock::TooFewCommits { power: 0 }, |_, block| block.commits.clear()),
        ("a stranger's", commit_of(STRANGER, "the signer is no validator of the epoch"), |chain, block| {
            let commit = chain.commit(STRANGER, block.height, vec![], chain.view());
            add_commit(block, commit);
        }),
        ("of a coming epoch", commit_of(1, window), |chain, block| {
            let commit = chain.commit(1, block.height.next(), vec![], chain.view());
            add_commit(block, commit);
        }),
        ("too late", commit_of(1, window), |chain, block| {
            let commit = chain.commit(1, EpochNumber::new(5), vec![], chain.view());
            add_commit(block, commit);
        }),
        ("of the genesis", commit_of(1, window), |chain, block| {
            let commit = chain.commit(1, EpochNumber::ZERO, vec![], chain.view());
            add_commit(block, commit);
        }),
        ("a second one for its epoch", commit_of(1, "the signer has committed already"), |chain, block| {
            let commit = chain.commit(1, EpochNumber::new(7), vec![], chain.view());
            add_commit(block, commit);
        }),
        ("three solidified blocks", commit_of(1, stride), |chain, block| {
            recommit(chain, block, |commit| commit.solid.push(SolidBlock { number: 2, ..commit.solid[1] }));
        }),
        ("the older one first", commit_of(1, stride), |chain, block| {
            recommit(chain, block, |commit| commit.solid.reverse());
        }),
        ("one number twice", commit_of(1, stride), |chain, block| {
            recommit(chain, block, |commit| {
                commit.solid[1] = SolidBlock { id: SolidBlockId::from_bytes([9; 32]), ..commit.solid[0] };
            });
        }),
        ("no multiple of the stride", commit_of(1, stride), |chain, block| {
            recommit(chain, block, |commit| commit.solid[0].number += 1);
        }),
        ("an unknown pool", commit_of(1, treasuries), |chain, block| {
            recommit(chain, block, |commit| commit.treasuries[0].pool = PoolId::from_bytes([1; 32]));
        }),
        ("a treasury twice", commit_of(1, treasuries), |chain, block| {
            recommit(chain, block, |commit| commit.treasuries.push(commit.treasuries[0]));
        }),
        ("receipts out of order", commit_of(1, receipts), |chain, block| {
            recommit(chain, block, |commit| commit.receipts = vec![receipt(2), receipt(1)]);
        }),
        ("a receipt twice", commit_of(1, receipts), |chain, block| {
            recommit(chain, block, |commit| commit.receipts = vec![receipt(2), receipt(2)]);
        }),
        ("too many receipts", commit_of(1, receipts), |chain, block| {
            let most = u32::try_from(Commit::MAX_RECEIPTS).unwrap();
            recommit(chain, block, |commit| commit.receipts = (0..=most).map(receipt).collect());
        }),
    ]);
}

fn receipt(i: u32) -> ReceiptVote {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&i.to_be_bytes());
    ReceiptVote { payout: PayoutId::from_bytes(id), attempt: 1, verdict: Verdict::Dead }
}

/// What is refused above is refused for what is wrong with it, not for standing there at all.
#[test]
fn the_most_that_a_commit_may_carry_is_accepted() {
    let mut chain = chain();
    let mut block = good(&mut chain);
    let most = u32::try_from(Commit::MAX_RECEIPTS).unwrap();
    recommit(&chain, &mut block, |commit| commit.receipts = (0..most).map(receipt).collect());
    let block = chain.seal(block);
    chain.validate(block).unwrap();
}

#[test]
fn a_commit_shows_at_most_64_treasuries() {
    let mut chain = Chain::new(genesis_with(|genesis| {
        let first = genesis.pools[0].clone();
        let pools = (1..=64u8).map(|i| {
            let mut pool = first.clone();
            (pool.name, pool.members) = (format!("pool {i}"), vec![]);
            pool.treasury.address = PayoutAddress::from_hash20([i + 100; 20]);
            pool
        });
        genesis.pools.extend(pools);
    }));
    let pools: Vec<_> = chain.network.pools().map(|(id, _)| *id).collect();
    let mut showing = |n: usize| {
        let mut block = good(&mut chain);
        recommit(&chain, &mut block, |commit| {
            let view: TreasuryView = commit.treasuries[0];
            commit.treasuries = pools[..n].iter().map(|pool| TreasuryView { pool: *pool, ..view }).collect();
        });
        let block = chain.seal(block);
        chain.validate(block).map(drop)
    };
    assert_eq!(showing(64), Ok(()));
    assert_eq!(showing(65), Err(commit_of(1, "its treasuries are unknown or out of order")));
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
            chain.commit(STRANGER, EpochNumber::new(5), vec![], chain.view());
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
    chain.commit(1, EpochNumber::ZERO, vec![], chain.view());
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
    let commit = chain.commit(1, block.height, observations, chain.view());
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

#[test]
fn budgets_that_cannot_be_counted_are_refused() {
    let mut chain = Chain::grown(genesis_with(|genesis| genesis.pools[0].budget = MicroUsdt::new(u64::MAX)), 4);
    assert_eq!(chain.pool().budgets.get(), u64::MAX);
    let block = good(&mut chain);
    assert_eq!(chain.validate(block).unwrap_err(), InvalidBlock::Overflow);
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
