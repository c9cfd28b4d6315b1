//! The block that a proposer offers.

use lucid_types::block::Block;
use lucid_types::codec::{Wire, encode};
use lucid_types::id::{Hash, NodeId, StateRoot};
use lucid_types::payout::SettlementRoot;
use lucid_types::signed::Verified;
use lucid_types::time::EpochNumber;

use crate::commands::PendingCommands;
use crate::ledger::archive::Archive;
use crate::ledger::check::{InvalidBlock, block_time, check_commit, check_reveal};
use crate::ledger::execute::{Applied, transition};
use crate::ledger::state::State;
use crate::network::Network;
use crate::reports::Reports;

/// More than a block without its items takes.
const ENVELOPE_BYTES: usize = 256;

/// Builds the next block from the commits, reveals and commands that may stand in it, and its outcome. What does not fit
/// [`Block::MAX_BYTES`] waits for a later block: late commits first, then the newest reveals.
///
/// # Errors
/// [`InvalidBlock::TooFewCommits`] while not enough validators have committed; others as for any block.
pub fn build(
    network: &Network,
    state: &State,
    reports: &Reports,
    commands: &PendingCommands,
    proposer: NodeId,
    archive: &dyn Archive,
) -> Result<(Block, Applied), InvalidBlock> {
    let height = state.height.next();
    let commits = reports.commits().filter(|commit| check_commit(network, state, commit).is_ok());
    let reveals = reports.reveals().filter(|reveal| check_reveal(network, state, reveal).is_ok());
    let (timely, late): (Vec<_>, Vec<_>) = commits.partition(|commit| commit.record.epoch == height);
    // Roots depend on everything else in the block: room for one of every pool. Commands depend on the block's time, and that on
    // the timely commits.
    let roots = network.pools().count().saturating_mul(SettlementRoot::MAX_BYTES);
    let reserved = Block::MAX_COMMAND_BYTES.saturating_add(roots);
    let mut room = (Block::MAX_BYTES - ENVELOPE_BYTES).saturating_sub(reserved);
    let timely = fitting(&mut room, timely);
    let time = block_time(network, state, &timely);
    let commands = commands.applicable(network, state, time);
    let of_commands: usize = commands.iter().map(|command| encode(command).len()).sum();
    room = room.saturating_add(Block::MAX_COMMAND_BYTES.saturating_sub(of_commands));
    let reveals = fitting(&mut room, reveals);
    let late = fitting(&mut room, late);
    let mut block = Block {
        height,
        parent: state.block,
        proposer,
        time,
        commits: late.into_iter().chain(timely).collect(),
        reveals,
        commands,
        payout_roots: Vec::new(),
        next_set: next_set(network, height),
        state_root: StateRoot::from_bytes([0; 32]),
    };
    let (mut applied, payout_roots) = transition(network, state, &block, archive)?;
    block.payout_roots = payout_roots;
    block.state_root = applied.state.root();
    applied.state.block = block.hash();
    Ok((block, applied))
}

/// The items that fit the room that is left, in their order.
fn fitting<'a, T: Wire + Clone + 'a>(room: &mut usize, items: impl IntoIterator<Item = &'a Verified<T>>) -> Vec<T> {
    let fits = |item: &&Verified<T>| match room.checked_sub(encode::<T>(item).len()) {
        Some(left) => {
            *room = left;
            true
        }
        None => false,
    };
    items.into_iter().filter(fits).map(|item| (**item).clone()).collect()
}

fn next_set(network: &Network, height: EpochNumber) -> Hash {
    network.validators(EpochNumber::new(height.get().saturating_add(2))).hash()
}
