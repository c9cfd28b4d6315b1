//! Changes of the network as a whole, which validators propose, and approve of with more than two thirds of the power.

use serde::{Deserialize, Serialize};

use crate::codec::{Wire, encode};
use crate::command::ValidatorChange;
use crate::id::Hash;
use crate::policy::Policy;

/// A change of the network as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkChange {
    /// Other validators.
    Validators(ValidatorChange),
    /// Another policy of the network.
    Policy(PolicyChange),
}

/// A change of the network's policy: the whole next one. Two that are made apart cannot undo each other unseen, since each names the one
/// that it starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyChange {
    /// The [`Policy::hash`] of the newest policy, that it replaces.
    pub base: Hash,
    /// The next one.
    pub policy: Policy,
}

impl Wire for PolicyChange {
    const MAX_BYTES: usize = 32 + Policy::MAX_BYTES;
}

impl Wire for NetworkChange {
    const MAX_BYTES: usize = 4 + if PolicyChange::MAX_BYTES > ValidatorChange::MAX_BYTES {
        PolicyChange::MAX_BYTES
    } else {
        ValidatorChange::MAX_BYTES
    };
}

impl From<ValidatorChange> for NetworkChange {
    fn from(change: ValidatorChange) -> Self {
        Self::Validators(change)
    }
}

impl From<PolicyChange> for NetworkChange {
    fn from(change: PolicyChange) -> Self {
        Self::Policy(change)
    }
}

impl NetworkChange {
    /// The id under which others approve of it: BLAKE3 in derive-key mode with the context `lucid network change 1` over its bytes. Equal
    /// changes have equal ids, whoever proposes them.
    pub fn id(&self) -> Hash {
        Hash::derive("lucid network change 1", &[&encode(self)])
    }

    /// Whether it takes the approval of more than two thirds of the power.
    pub const fn needs_approval(&self) -> bool {
        match self {
            Self::Validators(change) => change.needs_approval(),
            Self::Policy(_) => true,
        }
    }

    /// The change of the validators that it is.
    pub const fn validators(&self) -> Option<&ValidatorChange> {
        if let Self::Validators(change) = self { Some(change) } else { None }
    }

    /// The change of the policy that it is.
    pub const fn policy(&self) -> Option<&PolicyChange> {
        if let Self::Policy(change) = self { Some(change) } else { None }
    }

    /// Checks what needs no state.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Validators(change) => change.check(),
            Self::Policy(change) => change.policy.check().map_err(|error| error.to_string()),
        }
    }
}
