//! Rows about entering the network and its pools: what stamps are judged by, requests that wait, and invites in use.

use lucid_types::codec::Wire;
use lucid_types::id::{Hash, PoolId};
use lucid_types::stamp::difficulty;
use lucid_types::time::{Epoch, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::ledger::registry::Node;
use crate::ledger::state::{Rows, State};
use crate::ledger::table::{Closes, Pools};

/// Blocks that close epochs for which stamps are taken: the newest ones.
pub const STAMP_CLOSES: usize = 8;
/// The rows of such blocks that are kept: one more, by whose entries the oldest is judged.
pub const KEPT_CLOSES: usize = STAMP_CLOSES + 1;
/// The most requests of a pool that wait.
pub const MAX_REQUESTS: usize = 256;
/// The most invites of a pool in use.
pub const MAX_INVITES: usize = 1_024;

/// A block that closed epochs, by the last of them. The genesis counts as that of epoch 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// The random beacon after it: what stamps are made for.
    pub beacon: Hash,
    /// Entries by stamp into the network alone since then: by them the next such block is judged.
    pub joins: u32,
}

impl Wire for Close {
    const MAX_BYTES: usize = 36;
}

/// A request to enter a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The row that the node gets with the approval; none if it is registered already.
    pub node: Option<Node>,
    /// It counts for nothing in blocks of later times.
    pub until: UnixMillis,
}

impl Wire for Request {
    const MAX_BYTES: usize = 1 + Node::MAX_BYTES + 8;
}

/// An invite in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteUse {
    /// How many nodes have entered with it.
    pub used: u32,
    /// The end of the invite; its row may be removed then.
    pub until: UnixMillis,
}

impl Wire for InviteUse {
    const MAX_BYTES: usize = 12;
}

impl State {
    /// The newest block that closed epochs, by the last of them: what a stamp is best made for.
    pub fn newest_close(&self) -> Option<(Epoch, &Close)> {
        self.all::<Closes>().last()
    }

    /// The bits that a stamp for this epoch must be worth, in order to enter the network or a pool. `None` if no stamp for it is taken,
    /// or there is no such pool.
    pub fn stamp_bits(&self, pool: Option<&PoolId>, epoch: Epoch) -> Option<u8> {
        required_bits(self, pool, epoch).map(|(_, bits)| bits)
    }
}

/// The beacon that a stamp for this epoch is made for, and the bits that it must be worth.
pub(crate) fn required_bits(rows: &impl Rows, pool: Option<&PoolId>, epoch: Epoch) -> Option<(Hash, u8)> {
    let closes: Vec<_> = rows.all::<Closes>().collect();
    let place = closes.iter().position(|(it, _)| *it == epoch)?;
    if closes.len() - place > STAMP_CLOSES {
        return None;
    }
    let joins = match (place.checked_sub(1).map(|before| &closes[before]), pool) {
        (None, None) => 0,
        (Some((_, before)), None) => before.joins,
        (before, Some(pool)) => {
            let pool = rows.get::<Pools>(pool)?;
            before.map_or(0, |(before, _)| pool.joins_since(*before))
        }
    };
    let policy = rows.policy_in_force();
    Some((closes[place].1.beacon, difficulty(policy.stamp_bits, joins, policy.free_joins)))
}
