//! What the API says of validators beyond their list: the changes that are proposed, and what one of them does.

use lucid_types::command::ValidatorChange;
use lucid_types::id::{Hash, NodeId};
use lucid_types::time::{Epoch, Height, UnixMillis};
use serde::{Deserialize, Serialize};

use super::EquivocationView;

/// `GET /api/v1/validators/proposals`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalList {
    /// The changes of the validators that wait for approval, by their ids.
    pub proposals: Vec<ProposalView>,
}

/// A change of the validators that waits for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalView {
    /// The id under which validators approve of it.
    pub id: Hash,
    /// What it changes.
    pub change: ValidatorChange,
    /// Who proposed it.
    pub by: NodeId,
    /// The epoch before which it is not carried out.
    pub from: Epoch,
    /// When it is gone.
    pub until: UnixMillis,
    /// The validators that approve of it, with their power at the next height; 0 for one that is none any more.
    pub approvals: Vec<ApprovalView>,
    /// The power of those that approve of it.
    pub power: u64,
    /// The least power that carries it out.
    pub needed_power: u64,
    /// The power of all validators of the next height.
    pub total_power: u64,
}

/// A validator that approves of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalView {
    /// The validator.
    pub validator: NodeId,
    /// Its power.
    pub power: u64,
}

/// What a validator is and does, as far as the state and the newest stored blocks tell. `GET /api/v1/validators/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorStatusView {
    /// Its node id.
    pub node: NodeId,
    /// Its power at the next height; 0 if it is no validator.
    pub power: u64,
    /// The power of all validators of the next height.
    pub total_power: u64,
    /// The height since which it has this power or is no validator, if the state remembers the change.
    pub since: Option<Height>,
    /// The change of its power that is decided and not in force yet.
    pub next: Option<NextPowerView>,
    /// What the chain holds against it.
    pub equivocation: Option<EquivocationView>,
    /// The newest stored blocks, which were looked at; none if none is stored.
    pub blocks: Option<LookedAtView>,
    /// The newest of them whose certificate has its vote.
    pub last_vote: Option<VoteView>,
}

/// A power that is not in force yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextPowerView {
    /// The power; 0 if it will be no validator.
    pub power: u64,
    /// The first height.
    pub from: Height,
}

/// What a validator did in some blocks. This node's certificates need not have the votes of all: a vote that is missing in one may have
/// come late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookedAtView {
    /// The lowest height.
    pub first: Height,
    /// The highest.
    pub last: Height,
    /// How many of them it proposed.
    pub proposed: u64,
    /// How many certificates have its vote.
    pub voted: u64,
}

/// A vote for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteView {
    /// The block's height.
    pub height: Height,
    /// The block's time.
    pub time: UnixMillis,
}
