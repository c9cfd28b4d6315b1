//! What the API answers about a node's way into its network.

use lucid_types::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// A step on the way into a network or a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnrolmentStep {
    /// The node fetches the chain.
    Sync,
    /// A stamp is worked out.
    Stamp,
    /// A command is handed in.
    HandIn,
    /// A validator keeps the command for a block.
    Inclusion,
    /// The pool's owner has to approve.
    Approval,
    /// Something stands in the way that passes by itself.
    Retry,
    /// The network refuses it, until somebody changes that.
    Refused,
    /// The account is where it is to be.
    Entered,
}

impl EnrolmentStep {
    /// As it stands in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Stamp => "stamp",
            Self::HandIn => "hand-in",
            Self::Inclusion => "inclusion",
            Self::Approval => "approval",
            Self::Retry => "retry",
            Self::Refused => "refused",
            Self::Entered => "entered",
        }
    }
}

/// How far a node is that `lucid join` has asked to enter. Part of `GET /api/v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentView {
    /// What it is at.
    pub step: EnrolmentStep,
    /// What that waits for, for people.
    pub waits_for: String,
    /// When it should be over; `null` if nobody can know.
    pub until: Option<UnixMillis>,
    /// Since when it is at this step.
    pub since: UnixMillis,
    /// What stands in the way and what to do about it; `null` if nothing does.
    pub problem: Option<String>,
}
