//! The block that a proposer offers.

use lucid_types::block::Block;
use lucid_types::id::{Hash, NodeId, StateRoot};
use lucid_types::time::{EpochNumber, UnixMillis};

use crate::ledger::check::{InvalidBlock, block_time, check_commit, check_reveal};
use crate::ledger::execute::{Applied, RowSource, transition};
use crate::ledger::state::State;
use crate::network::Network;
use crate::reports::Reports;

/// Builds the next block from all commits and reveals that may stand in it, and its outcome.
///
/// # Errors
/// [`InvalidBlock::TooFewCommits`] while not enough validators have committed; others as for any block.
pub fn build(
    network: &Network,
    state: &State,
    reports: &Reports,
    proposer: NodeId,
    rows: &dyn RowSource,
) -> Result<(Block, Applied), InvalidBlock> {
    let height = state.height.next();
    let commits = reports.commits().filter(|commit| check_commit(network, state, commit).is_ok());
    let reveals = reports.reveals().filter(|reveal| check_reveal(network, state, reveal).is_ok());
    let mut block = Block {
        height,
        parent: state.block,
        proposer,
        time: UnixMillis::ZERO,
        commits: commits.map(|commit| (**commit).clone()).collect(),
        reveals: reveals.map(|reveal| (**reveal).clone()).collect(),
        next_set: next_set(network, height),
        state_root: StateRoot::from_bytes([0; 32]),
    };
    block.time = block_time(network, state, &block);
    let mut applied = transition(network, state, &block, rows)?;
    block.state_root = applied.state.root();
    applied.state.block = block.hash();
    Ok((block, applied))
}

fn next_set(network: &Network, height: EpochNumber) -> Hash {
    network.validators(EpochNumber::new(height.get().saturating_add(2))).hash()
}
