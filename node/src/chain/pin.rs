//! The pinned block: one that the chain must have, as somebody said whom the operator trusts.
//!
//! A genesis names the validators of its network, and whoever got hold of their keys, or they together, could certify another history.
//! A pin tells the two apart. It is compared with every block that is stored, with every snapshot, and, before a snapshot is taken, with
//! the certified header of its height that a peer shows. A snapshot at or below it is taken if one is offered, and then the blocks up to
//! the pinned one are executed. Nothing but the same validators' certificates links a snapshot above it to it.

use lucid_types::id::BlockHash;
use lucid_types::time::Height;

use crate::config::Pin;

/// The chain has another block than the pinned one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "block {height} of this network is {found}, and sync.pinned says {expected}: either the pin is mistyped or another network's, or \
     the validators of this genesis have certified another history. Ask whoever gave you the pin"
)]
pub struct OtherBlock {
    /// The height.
    pub height: Height,
    /// The block that has a certificate.
    pub found: BlockHash,
    /// The block that was meant.
    pub expected: BlockHash,
}

/// Compares a certified block with the pinned one, if there is a pin and it is of this height.
///
/// # Errors
/// They are not the same.
pub fn check(pin: Option<Pin>, height: Height, found: BlockHash) -> Result<(), OtherBlock> {
    match pin {
        Some(Pin { height: pinned, block: expected }) if pinned == height && expected != found => {
            Err(OtherBlock { height, found, expected })
        }
        _ => Ok(()),
    }
}
