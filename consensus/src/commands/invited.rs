//! How many registrations by invites there may be at a time.
//!
//! An owner makes any number of invites, for any number of nodes, at no cost, and whoever holds one makes keys at no cost.

use std::collections::BTreeMap;

use lucid_types::id::{PoolId, PublicKey};
use lucid_types::ticket::Invite;

use crate::ledger::state::{Rows as _, State};
use crate::ledger::table::Invites;

/// Registrations by one invite, by all of a pool, and by all of all pools: none fills the places of the others, nor all together those of
/// registrations by stamp.
const OF_AN_INVITE: usize = 32;
const OF_A_POOL: usize = 64;
const OF_ALL: usize = 1_024;

/// Registrations by invites, counted by pool and invite.
#[derive(Debug, Default)]
pub struct Invited(BTreeMap<(PoolId, PublicKey), usize>);

impl Invited {
    /// Whether there may be one more by this invite: as many as blocks can still take of it, and as have places.
    pub fn has_room(&self, state: &State, invite: &Invite) -> bool {
        let key = (invite.pool, invite.key);
        let used = state.get::<Invites>(&key).map_or(0, |it| it.used);
        let left = usize::try_from(invite.uses.saturating_sub(used)).unwrap_or(usize::MAX);
        let of_pool = (invite.pool, PublicKey::from_bytes([0; 32]))..=(invite.pool, PublicKey::from_bytes([0xff; 32]));
        self.0.get(&key).copied().unwrap_or(0) < left.min(OF_AN_INVITE)
            && self.0.range(of_pool).map(|(_, count)| count).sum::<usize>() < OF_A_POOL
            && self.0.values().sum::<usize>() < OF_ALL
    }

    /// Counts one more.
    pub fn add(&mut self, invite: &Invite) {
        let count = self.0.entry((invite.pool, invite.key)).or_default();
        *count = count.saturating_add(1);
    }
}

impl<'a> FromIterator<&'a Invite> for Invited {
    fn from_iter<I: IntoIterator<Item = &'a Invite>>(invites: I) -> Self {
        let mut invited = Self::default();
        invites.into_iter().for_each(|invite| invited.add(invite));
        invited
    }
}
