//! What lets a node into a pool.

use serde::{Deserialize, Serialize};

use crate::codec::Wire;
use crate::id::{PoolId, PublicKey};
use crate::signed::{Signed, SignedRecord};
use crate::stamp::Stamp;
use crate::time::UnixMillis;

/// What a node shows in order to enter a pool. Each kind costs something, so that registering many ids is not
/// free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ticket {
    /// Work, for an open pool: the node is a member at once.
    Stamp(Stamp),
    /// The owner's invitation, for a pool of any kind. The key that it names signs the command, too. Its own signature is checked with
    /// those of the command.
    Invite(Signed<Invite>),
    /// Work, for a pool whose owner approves of its members: the request waits for the approval.
    Request(Stamp),
    /// Nothing: the node has become inactive in the pool, and comes back.
    Return,
}

/// An invitation into a pool, signed with the current key of the pool's owner: worth nothing once the owner has given that key up. Whoever holds the secret of [`Self::key`] can use it: that key signs the
/// command that uses the invite, so that nobody who only sees the command can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The pool.
    pub pool: PoolId,
    /// The invite's own public key. It also identifies the invite.
    pub key: PublicKey,
    /// No block of a later time takes it.
    pub until: UnixMillis,
    /// How many nodes may enter with it.
    pub uses: u32,
}

impl Wire for Invite {
    const MAX_BYTES: usize = 32 + 32 + 8 + 4;
}

impl SignedRecord for Invite {
    type Signer = PublicKey;
    const TAG: &'static str = "lucid/invite/1";
}
