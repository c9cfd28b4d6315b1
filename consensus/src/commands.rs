//! Commands of pools that have arrived and wait for a block.
//!
//! Bounded: of each pool the next [`MAX_AHEAD`] numbers, one command each, and only those that its owner (and its treasury
//! signers, where they must) have signed. So nobody can take a pool's places but its owner.

use std::collections::BTreeMap;

use lucid_types::block::Block;
use lucid_types::codec::encode;
use lucid_types::id::PoolId;
use lucid_types::payout::PoolCommand;
use lucid_types::signed::{MultiSigned, Verified};
use lucid_types::time::UnixMillis;

use crate::chain_spec::ChainSpec;
use crate::ledger::command::{apply, check_authority};
use crate::ledger::state::{Overlay, State};

/// How many commands of a pool wait beyond the newest that a block holds.
const MAX_AHEAD: u64 = 8;

/// The waiting commands.
#[derive(Debug, Default)]
pub struct PendingCommands(BTreeMap<(PoolId, u64), Verified<MultiSigned<PoolCommand>>>);

impl PendingCommands {
    /// Adds a command. False if it is known, too far ahead, or its signers may not give it. Another command of a number
    /// that waits already takes its place: its owner has thought again.
    pub fn add(&mut self, spec: &ChainSpec, state: &State, command: Verified<MultiSigned<PoolCommand>>) -> bool {
        let key = (command.record.pool, command.record.number);
        let Some(pool) = state.pool(&key.0) else { return false };
        let is_near = key.1 > pool.commands && key.1 <= pool.commands.saturating_add(MAX_AHEAD);
        // Other signatures under the same record change nothing.
        let is_known = self.0.get(&key).is_some_and(|known| known.record == command.record);
        let is_over = command.record.until < state.time();
        if !is_near || is_known || is_over || check_authority(spec, state, &command).is_err() {
            return false;
        }
        self.0.insert(key, command);
        true
    }

    /// Whether a pool's command of this number waits.
    pub fn has(&self, pool: &PoolId, number: u64) -> bool {
        self.0.contains_key(&(*pool, number))
    }

    /// Those that the next block, of this time, may carry, in its order. The pools take turns at being looked at first, so that
    /// none takes the room of a block for ever.
    pub fn applicable(&self, spec: &ChainSpec, state: &State, time: UnixMillis) -> Vec<MultiSigned<PoolCommand>> {
        let is_next = |(pool, number): &(PoolId, u64)| {
            state.pool(pool).is_some_and(|state| *number == state.commands.saturating_add(1))
        };
        if !self.0.keys().any(is_next) {
            return Vec::new();
        }
        let (mut after, mut room) = (Overlay::new(state), Block::MAX_COMMAND_BYTES);
        after.head.time = time;
        let mut fits = |command: &&Verified<MultiSigned<PoolCommand>>| {
            let Some(left) = room.checked_sub(encode::<MultiSigned<PoolCommand>>(command).len()) else { return false };
            let applies = apply(spec, &mut after, command).is_ok();
            if applies {
                room = left;
            }
            applies
        };
        let n_pools = u64::try_from(spec.pools().count().max(1)).unwrap_or(u64::MAX);
        let turn = usize::try_from(state.height().get() % n_pools).unwrap_or(0);
        let first = spec.pools().nth(turn).map_or(PoolId::from_bytes([0; 32]), |(id, _)| *id);
        let waiting = self.0.range((first, 0)..).chain(self.0.range(..(first, 0)));
        let chosen = waiting.map(|(_, command)| command).filter(|command| fits(command));
        let mut chosen: Vec<_> = chosen.map(|command| (**command).clone()).collect();
        chosen.sort_by_key(|command| (command.record.pool, command.record.number));
        chosen
    }

    /// Forgets what no block can carry any more.
    pub fn prune(&mut self, spec: &ChainSpec, state: &State) {
        self.0.retain(|(pool, number), command| {
            let is_next = state.pool(pool).is_some_and(|pool| *number > pool.commands);
            is_next && command.record.until >= state.time() && check_authority(spec, state, command).is_ok()
        });
    }
}
