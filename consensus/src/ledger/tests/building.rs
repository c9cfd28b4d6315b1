//! What a proposer offers: everything that may stand in the block, as far as it fits.

use lucid_types::block::Block;
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::genesis::{Genesis, GenesisWorker};
use lucid_types::id::NodeId;
use lucid_types::validator::Validator;

use super::chain::{Chain, all_good, genesis, genesis_with, observation, validator, validator_key};
use crate::commands::PendingCommands;
use crate::ledger::build::build;
use crate::ledger::check::InvalidBlock;
use crate::ledger::execute::Applied;
use crate::reports::Reports;

fn propose(chain: &Chain, reports: &Reports) -> Result<(Block, Applied), InvalidBlock> {
    build(&chain.network, &chain.state, reports, &PendingCommands::default(), validator(0), &chain.archive)
}

/// The reports that stand in `block`.
fn reports(chain: &Chain, block: &Block) -> Reports {
    let (network, mut reports) = (chain.network.id(), Reports::default());
    for commit in &block.commits {
        assert!(reports.add_commit(&chain.network, &chain.state, commit.clone().verify(network).unwrap()));
    }
    for reveal in &block.reveals {
        assert!(reports.add_reveal(&chain.network, &chain.state, reveal.clone().verify(network).unwrap()));
    }
    reports
}

#[test]
fn what_is_built_is_valid_and_has_the_outcome_it_says() {
    let mut chain = Chain::new(genesis());
    for _ in 0..6 {
        let draft = chain.draft(all_good);
        let (block, applied) = propose(&chain, &reports(&chain, &draft)).unwrap();
        assert_eq!(block, draft);
        assert_eq!(chain.validate(block.clone()).unwrap(), applied);
        chain.apply(block);
    }
}

#[test]
fn nothing_is_built_from_too_few_commits() {
    let mut chain = Chain::grown(genesis(), 2);
    let mut draft = chain.draft(all_good);
    draft.commits.truncate(2);
    let error = propose(&chain, &reports(&chain, &draft)).unwrap_err();
    assert_eq!(error, InvalidBlock::TooFewCommits { power: 2 });
}

/// Late commits stand before the timely ones, as the order of a block demands.
#[test]
fn late_commits_are_taken_along() {
    let mut chain = Chain::grown(genesis_with(|genesis| genesis.policy.commit_window = 3), 4);
    let mut draft = chain.draft(all_good);
    let late = draft.commits.pop().unwrap();
    let draft = chain.seal(draft);
    chain.apply(draft);
    let mut draft = chain.draft(all_good);
    draft.commits.insert(0, late);
    let (block, _) = propose(&chain, &reports(&chain, &draft)).unwrap();
    assert_eq!(block.commits, draft.commits);
    chain.apply(block);
}

const CROWD: usize = 80;

/// More validators, each with a report of 2,000 workers, than a block can hold.
fn crowd() -> Genesis {
    genesis_with(|genesis| {
        let member = |i| Validator { node: validator(i), power: 1, operator: validator(i) };
        genesis.validators = (0..CROWD).map(member).collect();
        let sample = genesis.workers[0].clone();
        let numbered = |i: u16| NodeId::from_bytes([i.to_be_bytes(); 16].concat().try_into().unwrap());
        let worker = |i| GenesisWorker { node: numbered(i), operator: numbered(i), ..sample.clone() };
        genesis.workers = (0..2_000).map(worker).collect();
        genesis.pools[0].members = (0..2_000).map(numbered).collect();
    })
}

/// A block that nobody could decode would stop the chain at every proposer in turn.
#[test]
fn invariant_7_a_block_is_never_built_beyond_its_limit() {
    let mut chain = Chain::new(crowd());
    let workers: Vec<_> = chain.network.workers().map(|worker| worker.node).collect();
    let mut blocks = Vec::new();
    for _ in 0..2 {
        let (epoch, mut reports) = (chain.state.height.next(), Reports::default());
        for i in 0..CROWD {
            let observations = workers.iter().map(|worker| observation(*worker, 4, true)).collect();
            let commit = chain.commit(i, epoch, observations);
            reports.add_commit(&chain.network, &chain.state, commit.verify(chain.network.id()).unwrap());
            if epoch.get() == 2 {
                let reveal = chain.reveal(i, 1);
                assert_eq!(reveal.signer, validator_key(i).node_id());
                reports.add_reveal(&chain.network, &chain.state, reveal.verify(chain.network.id()).unwrap());
            }
        }
        let (block, applied) = propose(&chain, &reports).unwrap();
        blocks.push(block);
        chain.state = applied.state;
    }
    assert_eq!((blocks[0].commits.len(), blocks[0].reveals.len()), (CROWD, 0));
    let bytes = encode(&blocks[1]);
    assert!(bytes.len() <= Block::MAX_BYTES && Block::MAX_BYTES - bytes.len() < 256 << 10, "{} bytes", bytes.len());
    assert_eq!(decode::<Block>(&bytes).unwrap(), blocks[1]);
    assert_eq!(blocks[1].commits.len(), CROWD, "the epoch's own commits come first");
    assert!((40..CROWD).contains(&blocks[1].reveals.len()), "{} reveals", blocks[1].reveals.len());
}
