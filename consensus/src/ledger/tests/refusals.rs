//! Every way in which a block can be wrong, each with signatures that are right.

use lucid_score::report::{ObservationError, ReportError};
use lucid_types::block::Block;
use lucid_types::bls::BlsSignature;
use lucid_types::id::{NetworkId, StateRoot};
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::report::{Observation, ReportCommitment, Reveal, ShapeError};
use lucid_types::signed::Signed;
use lucid_types::time::{Epoch, UnixMillis};
use lucid_types::validator_key::ValidatorKey;

use super::chain::{
    Chain, all_good, key_of, observation, report_of, signer, signer_id, start, start_with, validator, worker,
};
use super::start::Start;
use crate::ledger::check::InvalidBlock;

/// Not one of the validators.
const STRANGER: usize = 50;

/// Where a chain with windows of three blocks stands.
#[derive(Clone, Copy)]
enum At {
    /// Epoch 2 is closed, and validator 0's commitment stands in a block.
    Commitments,
    /// The commitments stand in blocks, and so does the reveal of validator 0.
    Reveals,
}

fn chain(at: At) -> Chain {
    let mut chain = Chain::grown(start_with(|start| start.genesis.policy.report_window = 3), 1);
    chain.block(all_good);
    let only = |chain: &mut Chain, i: usize| {
        let mut block = good(chain);
        block.commitments.retain(|commitment| commitment.signer == signer_id(i));
        block.reveals.retain(|reveal| reveal.signer == signer_id(i));
        let block = chain.seal(block);
        chain.apply(block);
    };
    only(&mut chain, 0);
    if matches!(at, At::Reveals) {
        chain.block(all_good);
        chain.block(all_good);
        only(&mut chain, 0);
    }
    chain
}

fn good(chain: &mut Chain) -> Block {
    chain.draft(all_good)
}

fn commit_of(i: usize, problem: &'static str) -> InvalidBlock {
    InvalidBlock::Commitment { validator: signer_id(i), problem }
}

fn reveal_of(i: usize, problem: &'static str) -> InvalidBlock {
    InvalidBlock::Reveal { validator: signer_id(i), problem }
}

fn add_commitment(block: &mut Block, commitment: Signed<ReportCommitment>) {
    block.commitments.push(commitment);
    block.commitments.sort_by_key(|commitment| (commitment.record.epoch, commitment.signer));
}

fn add_reveal(block: &mut Block, reveal: Signed<Reveal>) {
    block.reveals.push(reveal);
    block.reveals.sort_by_key(|reveal| (reveal.record.report.epoch, reveal.signer));
}

type Tamper = fn(&mut Chain, &mut Block);

#[track_caller]
fn check(at: At, cases: &[(&str, InvalidBlock, Tamper)]) {
    let chain = chain(at);
    for (name, expected, tamper) in cases {
        let mut chain = chain.clone();
        let mut block = good(&mut chain);
        chain.validate(block.clone()).unwrap();
        tamper(&mut chain, &mut block);
        let block = chain.seal(block);
        assert_eq!(chain.validate(block).unwrap_err(), *expected, "{name}");
    }
}

/// Whose turn it is has one contribution to the beacon of a height.
#[test]
fn contributions_to_the_beacon_that_are_not_the_proposers() {
    let of = |chain: &Chain, block: &Block, key: &ValidatorKey, ahead: u64| {
        key.bls_key().sign_randao(chain.spec.id(), block.header.height.plus(ahead))
    };
    let chain = chain(At::Commitments);
    let good = good(&mut chain.clone());
    let proposer = key_of(&good.header.proposer);
    let other = (0..).map(signer).find(|key| key.id() != good.header.proposer).unwrap();
    let foreign = proposer.bls_key().sign_randao(&NetworkId::from_bytes([9; 32]), good.header.height);
    for (name, randao) in [
        ("another validator's", of(&chain, &good, &other, 0)),
        ("of another height", of(&chain, &good, proposer, 1)),
        ("of another network", foreign),
        ("none", BlsSignature::from_bytes([0; 48])),
    ] {
        let mut block = good.clone();
        block.header.randao = randao;
        assert_eq!(chain.validate(chain.seal(block)).unwrap_err(), InvalidBlock::Randao, "{name}");
    }
    assert_eq!(good.header.randao, of(&chain, &good, proposer, 0));
}

#[test]
fn heads_that_do_not_fit() {
    let least = good(&mut chain(At::Commitments)).header.time;
    let early = UnixMillis::new(least.get() - 1);
    check(
        At::Commitments,
        &[
            ("a height left out", InvalidBlock::NotNext, |_, block| block.header.height = block.header.height.next()),
            ("the same height again", InvalidBlock::NotNext, |_, block| {
                block.header.height = block.header.height.previous();
            }),
            ("another parent", InvalidBlock::NotNext, |_, block| block.header.parent = block.hash()),
            ("of no validator", InvalidBlock::Proposer { round: 0 }, |_, block| {
                block.header.proposer = signer_id(STRANGER);
            }),
            ("out of turn", InvalidBlock::Proposer { round: 1 }, |_, block| block.header.round = 1),
            ("too early", InvalidBlock::Time { found: early, least }, |_, block| {
                block.header.time = UnixMillis::new(block.header.time.get() - 1);
            }),
        ],
    );
}

#[test]
fn commitments_that_cannot_stand() {
    let order = |i| commit_of(i, "out of order or twice");
    let (last, first) = {
        let mut chain = chain(At::Commitments);
        let block = good(&mut chain);
        let place = |signer| (0..4).find(|i| signer_id(*i) == signer).unwrap();
        (place(block.commitments.last().unwrap().signer), place(block.commitments[0].signer))
    };
    let window = "its epoch's window is not open";
    check(
        At::Commitments,
        &[
            ("twice", order(last), |_, block| block.commitments.push(block.commitments.last().unwrap().clone())),
            ("out of order", order(first), |_, block| block.commitments.swap(0, 1)),
            ("a stranger's", commit_of(STRANGER, "the signer is no validator of the epoch"), |chain, block| {
                let commitment = chain.commitment(STRANGER, report_of(chain.state.closed(), &[]));
                add_commitment(block, commitment);
            }),
            ("of an open epoch", commit_of(1, window), |chain, block| {
                let commitment = chain.commitment(1, report_of(chain.state.closed().next(), &[]));
                add_commitment(block, commitment);
            }),
            ("of a final epoch", commit_of(1, window), |chain, block| {
                let commitment = chain.commitment(1, report_of(Epoch::new(1), &[]));
                add_commitment(block, commitment);
            }),
            ("of the genesis", commit_of(1, window), |chain, block| {
                let commitment = chain.commitment(1, report_of(Epoch::ZERO, &[]));
                add_commitment(block, commitment);
            }),
            ("a second one", commit_of(0, "the signer has committed already"), |chain, block| {
                let commitment = chain.commitment(0, report_of(chain.state.closed(), &[]));
                add_commitment(block, commitment);
            }),
        ],
    );
    check(
        At::Reveals,
        &[("too late", commit_of(1, window), |chain, block| {
            let commitment = chain.commitment(1, report_of(chain.state.closed(), &[]));
            add_commitment(block, commitment);
        })],
    );
}

#[test]
fn reveals_that_cannot_stand() {
    let window = "its epoch's window is not open";
    let other = "it is not what the signer committed to";
    check(
        At::Reveals,
        &[
            ("twice", reveal_of(1, "out of order or twice"), |chain, block| add_reveal(block, chain.reveal(1, 2))),
            ("too late", reveal_of(1, window), |chain, block| add_reveal(block, chain.reveal(1, 1))),
            ("again", reveal_of(0, "the signer has revealed already"), |chain, block| {
                add_reveal(block, chain.reveal(0, 2));
            }),
            ("of a stranger", reveal_of(STRANGER, "the signer did not commit"), |chain, block| {
                chain.commitment(STRANGER, report_of(Epoch::new(2), &[]));
                add_reveal(block, chain.reveal(STRANGER, 2));
            }),
            ("with another salt", reveal_of(1, other), |chain, block| {
                replace_reveal(chain, block, |reveal| reveal.salt[31] ^= 1);
            }),
            ("with another report", reveal_of(1, other), |chain, block| {
                let worse = report_of(Epoch::new(2), &[Some(observation(3, true)); 3]);
                replace_reveal(chain, block, |reveal| reveal.report = worse);
            }),
            ("the report of another", reveal_of(1, other), |chain, block| {
                let of_two = chain.reveal(2, 2).record;
                replace_reveal(chain, block, |reveal| *reveal = of_two);
            }),
        ],
    );
    check(
        At::Commitments,
        &[("too early", reveal_of(0, window), |chain, block| add_reveal(block, chain.reveal(0, 2)))],
    );
    // Out of order: which pair is named depends on the validators' ids.
    let mut chain = chain(At::Reveals);
    let mut block = good(&mut chain);
    block.reveals.reverse();
    let error = chain.validate(block).unwrap_err();
    assert!(matches!(error, InvalidBlock::Reveal { problem: "out of order or twice", .. }), "{error}");
}

fn replace_reveal(chain: &Chain, block: &mut Block, change: impl FnOnce(&mut Reveal)) {
    let reveal = block.reveals.iter_mut().find(|reveal| reveal.signer == signer_id(1)).unwrap();
    change(&mut reveal.record);
    *reveal = signer(1).sign_report(chain.spec.id(), reveal.record.clone()).into_inner();
}

#[test]
fn who_did_not_commit_cannot_reveal() {
    let mut chain = Chain::grown(start_with(|_| ()), 1);
    chain.block(all_good);
    let mut block = good(&mut chain);
    block.commitments.retain(|commitment| commitment.signer != signer_id(3));
    let block = chain.seal(block);
    chain.apply(block);
    let mut block = good(&mut chain);
    add_reveal(&mut block, chain.reveal(3, 2));
    assert_eq!(chain.validate(block).unwrap_err(), reveal_of(3, "the signer did not commit"));
}

/// A late commitment and a late reveal stand as long as their windows are open, and not a block longer.
#[test]
fn late_commitments_and_reveals_count() {
    let mut chain = chain(At::Commitments);
    let without = |chain: &mut Chain| {
        let mut block = good(chain);
        block.commitments.retain(|commitment| commitment.signer != signer_id(2));
        block.reveals.retain(|reveal| reveal.signer != signer_id(2));
        let block = chain.seal(block);
        chain.apply(block);
    };
    // Three blocks take commitments, and three reveals. Those of validator 2 come with the last of each.
    without(&mut chain);
    chain.block(all_good);
    without(&mut chain);
    without(&mut chain);
    let block = good(&mut chain);
    assert_eq!(block.reveals.iter().map(|reveal| reveal.signer).collect::<Vec<_>>(), [signer_id(2)]);
    chain.apply(block);
    assert_eq!(chain.finalised[&Epoch::new(2)].scores.rows.len(), 3);
    let mut after = good(&mut chain);
    add_reveal(&mut after, chain.reveal(2, 2));
    assert_eq!(chain.validate(after).unwrap_err(), reveal_of(2, "its epoch's window is not open"));
}

/// Validator 1 commits to these observations of the workers assigned to it, and the next block reveals them.
fn reporting(start: Start, assigned: &[Option<Observation>]) -> InvalidBlock {
    let mut chain = Chain::grown(start, 1);
    chain.block(all_good);
    let mut block = good(&mut chain);
    let commitment = chain.commitment(1, report_of(chain.state.closed(), assigned));
    let place = block.commitments.iter_mut().find(|commitment| commitment.signer == signer_id(1)).unwrap();
    *place = commitment;
    let block = chain.seal(block);
    chain.apply(block);
    // Nobody honest takes it into a block.
    let mut block = good(&mut chain);
    add_reveal(&mut block, chain.reveal(1, 2));
    chain.validate(block).unwrap_err()
}

#[test]
fn reports_that_cannot_be_true_are_refused() {
    let refused = |source| InvalidBlock::Report { validator: signer_id(1), source };
    let good = Some(observation(4, true));
    for n in [0, 4, 9] {
        assert_eq!(
            reporting(start(), &vec![good; n]),
            refused(ReportError::Shape(ShapeError::Length)),
            "{n} of three workers"
        );
    }
    let own = |start: &mut Start| start.workers[2].operator = validator(1);
    assert_eq!(
        reporting(start_with(own), &[good; 3]),
        refused(ReportError::Shape(ShapeError::Length)),
        "one is its own"
    );
    let (length, moved) =
        [ShapeError::Length, ShapeError::Moved].map(|shape| refused(ReportError::Shape(shape))).into();
    let private = NetworkGroup::from_bytes([0, 0, 10, 0, 0, 1]);
    let nowhere = Some(Observation { group: Some(private), ..observation(4, true) });
    assert_eq!(reporting(start(), &[nowhere, good, good]), moved, "an address that is not routed");
    let first = (0..3).map(worker).min().unwrap();
    let refused = |problem| refused(ReportError::Observation { worker: first, problem });
    type Spoil = (ObservationError, fn(&mut Observation));
    let impossible: [Spoil; 4] = [
        (ObservationError::Nothing, |o| *o = Observation::default()),
        (ObservationError::TooManyTasks, |o| o.pings_sent = 5),
        (ObservationError::TooManyResults, |o| o.pings_sent = 3),
        (ObservationError::RoundTrip, |o| o.rtt_us = LogScale::ZERO),
    ];
    for (problem, change) in impossible {
        let mut spoiled = good;
        change(spoiled.as_mut().unwrap());
        assert_eq!(reporting(start(), &[spoiled, None, good]), refused(problem));
    }
    // One epoch of 10,000 is one of echo: this one is not.
    let rare = start_with(|start| start.genesis.policy.echo_every = 10_000);
    assert_eq!(reporting(rare, &[good; 3]), length);
}

#[test]
fn another_outcome_is_refused() {
    let mut chain = chain(At::Commitments);
    let mut block = good(&mut chain);
    let expected = block.header.state_root;
    block.header.state_root = StateRoot::from_bytes([1; 32]);
    let found = block.header.state_root;
    assert_eq!(chain.validate(block).unwrap_err(), InvalidBlock::StateRoot { found, expected });
}
