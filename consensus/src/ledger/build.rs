//! The block that a proposer offers.

use lucid_types::block::Block;
use lucid_types::codec::{Wire, encode};
use lucid_types::id::{NodeId, StateRoot};
use lucid_types::payout::SettlementRoot;
use lucid_types::signed::Verified;
use lucid_types::time::UnixMillis;

use crate::commands::PendingCommands;
use crate::ledger::archive::Archive;
use crate::ledger::check::{InvalidBlock, check_commitment, check_reveal};
use crate::ledger::execute::{Applied, transition};
use crate::ledger::state::State;
use crate::network::Network;
use crate::reports::Reports;

/// More than a block without its items takes.
const ENVELOPE_BYTES: usize = 256;

/// Who proposes the next block, in which round, and when by its clock.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// The proposer.
    pub proposer: NodeId,
    /// The round.
    pub round: u32,
    /// The time.
    pub now: UnixMillis,
}

/// Builds the next block from the commitments, reveals and commands that may stand in it, and its outcome. What does not fit
/// [`Block::MAX_BYTES`] waits for a later block: the newest reveals first.
///
/// # Errors
/// As for any block.
pub fn build(
    network: &Network,
    state: &State,
    reports: &Reports,
    commands: &PendingCommands,
    turn: Turn,
    archive: &dyn Archive,
) -> Result<(Block, Applied), InvalidBlock> {
    let height = state.height.next();
    let time = turn.now.max(state.next_time(network));
    // Roots depend on everything else in the block: room for one of every pool.
    let roots = network.pools().count().saturating_mul(SettlementRoot::MAX_BYTES);
    let mut room = (Block::MAX_BYTES - ENVELOPE_BYTES).saturating_sub(roots);
    let commands = commands.applicable(network, state, time);
    let of_commands: usize = commands.iter().map(|command| encode(command).len()).sum();
    room = room.saturating_sub(of_commands);
    let commitments = reports.commitments().filter(|item| check_commitment(network, state, item).is_ok());
    let commitments = fitting(&mut room, commitments);
    let reveals = reports.reveals().filter(|reveal| check_reveal(network, state, reveal).is_ok());
    let reveals = fitting(&mut room, reveals);
    let mut block = Block {
        height,
        parent: state.block,
        round: turn.round,
        proposer: turn.proposer,
        time,
        commitments,
        reveals,
        commands,
        payout_roots: Vec::new(),
        next_set: network.validators(height.plus(2)).hash(),
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
