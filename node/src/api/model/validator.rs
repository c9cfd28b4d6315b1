//! What the API says of validators beyond their list: the changes that are proposed, and what one of them does.

use std::collections::BTreeSet;

use lucid_types::change::NetworkChange;
use lucid_types::id::{Hash, NodeId, ValidatorId};
use lucid_types::policy::Policy;
use lucid_types::time::{Epoch, Height, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{DifferenceView, EquivocationView};

/// `GET /api/v1/validators/proposals`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalList {
    /// The changes of the validators and of the policy that wait for approval, by their ids.
    pub proposals: Vec<ProposalView>,
}

/// A change that waits for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalView {
    /// The id under which validators approve of it.
    pub id: Hash,
    /// What it changes.
    pub change: NetworkChange,
    /// Where a policy differs from the newest one; empty for a change of the validators.
    pub differences: Vec<DifferenceView>,
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
    /// The least power that carries it out; 0 if it needs no approval.
    pub needed_power: u64,
    /// The power of all validators of the next height.
    pub total_power: u64,
    /// Why nobody would be measured after it, if nobody would: it can be carried out all the same.
    pub warning: Option<String>,
}

/// Why no worker would be measured under a policy by validators that these operators run, if none would. Seats also go by power, and
/// nobody measures workers of its own operator: that may leave fewer.
pub(crate) fn unmeasured(policy: &Policy, operators: &[NodeId]) -> Option<String> {
    let is = |least: u32, n: usize| usize::try_from(least).is_ok_and(|least| least <= n);
    let (n, n_operators) = (operators.len(), operators.iter().collect::<BTreeSet<_>>().len());
    let why = if !is(policy.min_reporters, n) {
        format!(
            "a worker must be measured by {} validators (min_reporters), and there would be {n}",
            policy.min_reporters
        )
    } else if !is(policy.min_seat_operators, n_operators) {
        let least = policy.min_seat_operators;
        format!(
            "validators of {least} operators must be able to measure a worker (min_seat_operators), and there would be {n_operators}"
        )
    } else {
        return None;
    };
    Some(format!("nobody would be measured, scored or paid: {why}"))
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
    /// The key with which it signs at the next height; none if it is no validator.
    pub key: Option<ValidatorId>,
    /// The same, if it is this very node, and the key is not in its home: then it signs nothing.
    pub missing_key: Option<ValidatorId>,
    /// The rotation of its key that waits.
    pub rotation: Option<RotationView>,
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
    /// Its turns to propose in those of them whose proposers can be told; none if there are none such.
    pub turns: Option<TurnsView>,
    /// What the state has counted of its duties in the newest settlement in which it had any; none if it had none yet.
    pub duties: Option<DutiesView>,
    /// Its reports on the epochs of which all blocks with reports are among them; none if it had to report on none.
    pub reports: Option<ReportsView>,
}

/// A validator's duties in a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DutiesView {
    /// The settlement.
    pub settlement: u64,
    /// Reports that it committed to.
    pub committed: u32,
    /// Those of them that it did not reveal in time.
    pub forfeited: u32,
    /// Heights at which round 0 was its turn to propose.
    pub turns: u32,
    /// Those of them that were decided in a later round.
    pub missed_turns: u32,
    /// Whether it is paid nothing for validating in the settlement, as it stands.
    pub loses_pay: bool,
}

/// A key with which a validator is to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationView {
    /// The id under which it is taken back.
    pub id: Hash,
    /// The key.
    pub key: ValidatorId,
    /// The epoch that opens with the change: the key decides from two blocks later on.
    pub from: Epoch,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookedAtView {
    /// The lowest height.
    pub first: Height,
    /// The highest.
    pub last: Height,
    /// How many of them it proposed.
    pub proposed: u64,
    /// Of how many it was a validator.
    pub to_vote: u64,
    /// How many certificates have its vote.
    pub voted: u64,
    /// Those of which it was a validator and whose certificates lack its vote, the lowest first.
    pub missed: Vec<MissedVote>,
}

/// Who else missed a duty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissedBy {
    /// Hardly anybody: of votes, all others are there; of reports, those of more than two thirds of the power. Look at this machine.
    Alone,
    /// Others, too: it may be the network's trouble, and of votes a certificate that was complete without them.
    Others,
}

/// A block whose certificate lacks a validator's vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedVote {
    /// The block's height.
    pub height: Height,
    /// Who else did not vote.
    pub missed_by: MissedBy,
}

/// A validator's turns to propose in round 0 of some heights. Later rounds follow from missed ones, and nobody knows a turn more than two
/// blocks ahead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnsView {
    /// The lowest height.
    pub first: Height,
    /// The highest.
    pub last: Height,
    /// How many of the turns were its.
    pub turns: u64,
    /// Those in which no block was decided, the lowest first.
    pub missed: Vec<MissedTurn>,
}

/// A turn in which no block was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedTurn {
    /// The height.
    pub height: Height,
    /// The round that decided.
    pub round: u32,
    /// Whether its block was decided all the same, in that later round: it was late. If not, another's was.
    pub was_late: bool,
}

/// A validator's reports on some epochs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportsView {
    /// The first epoch.
    pub first: Epoch,
    /// The last.
    pub last: Epoch,
    /// How many of them were measured and had it among their reporters.
    pub epochs: u64,
    /// Those for which no block has its commitment.
    pub uncommitted: Vec<MissedReport>,
    /// Those for which it committed and revealed nothing: forfeits.
    pub forfeited: Vec<MissedReport>,
}

/// An epoch without a validator's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedReport {
    /// The epoch.
    pub epoch: Epoch,
    /// Who else did not report.
    pub missed_by: MissedBy,
}

/// A vote for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteView {
    /// The block's height.
    pub height: Height,
    /// The block's time.
    pub time: UnixMillis,
}
