//! What validators sign to decide a height. How it is sent: [`crate::message`].

use serde::{Deserialize, Serialize};

use crate::codec::Wire;
use crate::id::{BlockHash, ValidatorId};
use crate::signed::SignedRecord;
use crate::time::Height;

/// The step of a round that a vote belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum VoteKind {
    /// First step.
    Prevote,
    /// Second step; more than two thirds of these decide.
    Precommit,
}

/// A vote. A validator signs at most one for each height, round and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Vote {
    /// First or second step.
    pub kind: VoteKind,
    /// The height.
    pub height: Height,
    /// The round, from 0.
    pub round: u32,
    /// The block, or `None` for nil.
    pub block: Option<BlockHash>,
}

impl Wire for Vote {
    const MAX_BYTES: usize = 4 + 8 + 4 + 33;
}

impl SignedRecord for Vote {
    type Signer = ValidatorId;
    const TAG: &'static str = "lucid/vote/1";
}

/// A proposal. A validator signs at most one for each height and round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Proposal {
    /// The height.
    pub height: Height,
    /// The round, from 0.
    pub round: u32,
    /// The block.
    pub block: BlockHash,
    /// The round in which the block was seen to have more than two thirds of prevotes.
    pub pol_round: Option<u32>,
}

impl Wire for Proposal {
    const MAX_BYTES: usize = 8 + 4 + 32 + 5;
}

impl SignedRecord for Proposal {
    type Signer = ValidatorId;
    const TAG: &'static str = "lucid/proposal/1";
}

/// A validator has a reason for the next block: an item waits, an epoch has ended, or a window is open. Whoever hears of it
/// starts the height too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    /// The height to start.
    pub height: Height,
}

impl Wire for Wake {
    const MAX_BYTES: usize = 8;
}

impl SignedRecord for Wake {
    type Signer = ValidatorId;
    const TAG: &'static str = "lucid/wake/1";
}
