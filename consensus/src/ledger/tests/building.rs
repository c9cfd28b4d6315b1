//! What a proposer offers: everything that may stand in the block, as far as it fits.

use lucid_types::block::Block;
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::id::{NodeId, PayoutAddress};
use lucid_types::message::CompactProposal;
use lucid_types::vote::Proposal;

use super::chain::{Chain, all_good, key_of, members, observation, report_of, signer, signer_id, start, start_with};
use super::start::{Pool, Start, Worker};
use crate::ledger::build::{Pending, Turn, build};
use crate::ledger::check::InvalidBlock;
use crate::ledger::execute::Execution;
use crate::reports::Reports;

fn propose(chain: &Chain, reports: Reports) -> Result<(Block, Execution), InvalidBlock> {
    let key = key_of(&chain.state.next_proposers().of(0).keys.id);
    let end = chain.spec.genesis().epoch_end(chain.state.closed().next());
    let now = if chain.state.pending().next().is_none() { end } else { chain.state.time() };
    build(&chain.spec, &chain.state, &Pending { reports, ..Pending::default() }, Turn { key, round: 0, now })
}

/// The reports that stand in `block`.
fn reports(chain: &Chain, block: &Block) -> Reports {
    let (network, mut reports) = (chain.spec.id(), Reports::default());
    for commitment in &block.commitments {
        assert!(reports.add_commitment(&chain.spec, &chain.state, commitment.clone().verify(network).unwrap()));
    }
    for reveal in &block.reveals {
        assert!(reports.add_reveal(&chain.spec, &chain.state, reveal.clone().verify(network).unwrap()));
    }
    reports
}

#[test]
fn what_is_built_is_valid_and_has_the_outcome_it_says() {
    let mut chain = Chain::new(start());
    for _ in 0..6 {
        let draft = chain.draft(all_good);
        let (block, applied) = propose(&chain, reports(&chain, &draft)).unwrap();
        assert_eq!(block, draft);
        assert_eq!(chain.validate(block.clone()).unwrap(), applied);
        chain.apply(block);
    }
}

#[test]
fn a_block_without_anything_is_built_too() {
    let chain = Chain::grown(start(), 2);
    let (block, _) = propose(&chain, Reports::default()).unwrap();
    chain.validate(block).unwrap();
}

/// What comes late in a window stands in a later block of it, in the order that a block demands.
#[test]
fn late_commitments_are_taken_along() {
    let mut chain = Chain::grown(start_with(|start| start.genesis.policy.report_window = 3), 1);
    chain.block(all_good);
    let mut draft = chain.draft(all_good);
    let late = draft.commitments.pop().unwrap();
    let draft = chain.seal(draft);
    chain.apply(draft);
    let mut reports = Reports::default();
    assert!(reports.add_commitment(&chain.spec, &chain.state, late.clone().verify(chain.spec.id()).unwrap()));
    let (block, _) = propose(&chain, reports).unwrap();
    assert_eq!(block.commitments, [late]);
    chain.apply(block);
}

const CROWD: usize = 21;
const WORKERS: u16 = 3_400;

/// As many workers as there may be with so many seats: everyone measures all of them.
fn crowd() -> Start {
    start_with(|start| {
        start.genesis.validators = members(CROWD);
        let sample = start.workers[0].clone();
        let numbered = |i: u16| NodeId::from_bytes([i.to_be_bytes(); 16].concat().try_into().unwrap());
        let worker = |i| Worker { node: numbered(i), operator: numbered(i), ..sample.clone() };
        start.workers = (0..WORKERS).map(worker).collect();
        let pool = |i: u16| {
            let mut pool = Pool { name: format!("pool {i}"), ..start.pools[0].clone() };
            pool.members = (2_000 * i..WORKERS.min(2_000 * (i + 1))).map(numbered).collect();
            pool.vault.address = PayoutAddress::from_hash20([u8::try_from(100 + i).unwrap(); 20]);
            pool
        };
        start.pools = (0..2).map(pool).collect();
        (start.genesis.policy.seats, start.genesis.policy.max_scored) = (21, WORKERS.into());
        start.genesis.policy.echo_epoch_bytes = 1 << 40;
    })
}

/// A block that nobody could decode would stop the chain at every proposer in turn.
#[test]
fn invariant_7_the_greatest_reports_of_an_epoch_fit_one_block() {
    let mut chain = Chain::new(crowd());
    chain.block(all_good);
    let (epoch, mut reports) = (chain.state.closed(), Reports::default());
    for i in 0..CROWD {
        let report = report_of(epoch, &vec![Some(observation(4, true)); WORKERS.into()]);
        let commitment = chain.commitment(i, report);
        reports.add_commitment(&chain.spec, &chain.state, commitment.verify(chain.spec.id()).unwrap());
    }
    let (block, applied) = propose(&chain, std::mem::take(&mut reports)).unwrap();
    assert_eq!((block.commitments.len(), block.reveals.len()), (CROWD, 0));
    chain.state = applied.state;
    for i in 0..CROWD {
        let reveal = chain.reveal(i, epoch.get());
        assert_eq!(reveal.signer, signer_id(i));
        reports.add_reveal(&chain.spec, &chain.state, reveal.verify(chain.spec.id()).unwrap());
    }
    let (block, _) = propose(&chain, reports).unwrap();
    let bytes = encode(&block);
    assert!(bytes.len() <= Block::MAX_BYTES && bytes.len() > CROWD * usize::from(WORKERS) * 7, "{} bytes", bytes.len());
    assert_eq!(decode::<Block>(&bytes).unwrap(), block);
    assert_eq!(block.reveals.len(), CROWD);
    // What a proposer builds it can propose.
    let record = Proposal { height: block.header.height, round: 0, block: block.hash(), pol_round: None };
    let proposal = signer(0).sign_proposal(chain.spec.id(), record).into_inner();
    CompactProposal::new(proposal, &block).verify(chain.spec.id()).unwrap();
}
