//! What must never happen, by name.

use std::fmt;

/// What a run checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The sum of an account's `Paid` events is what `paidOf` says.
    Paid,
    /// Nobody is paid more than the ledger owes.
    Owed,
    /// An account is paid to an address that the ledger has named for it.
    Recipient,
    /// Recipients hold what they were paid.
    Balance,
    /// What came into the vault is there, or was paid.
    Conservation,
    /// No more leaves than the root's total.
    Total,
    /// No more leaves in a period than the cap.
    Cap,
    /// The vault takes no root that the ledger did not issue.
    Root,
    /// An honest signer signs one root for a settlement.
    TwoRoots,
    /// A gas account spends no more than its budget in a day, but for what providers hide of the cost.
    Fees,
    /// Providers are not asked too often.
    Requests,
    /// What is sent was stored before.
    Durability,
    /// Everything due is paid once faults have ended.
    Liveness,
    /// Pushers come to rest when everything is paid.
    Rest,
    /// Nobody is alarmed without a reason.
    FalseAlarm,
    /// What stands in the way of payments is told.
    Silence,
    /// A worker can claim what it is owed.
    Claim,
    /// The run itself cannot go on.
    Setup,
}

impl Rule {
    /// This rule is broken.
    pub(super) fn broken(self, detail: impl Into<String>) -> Violation {
        Violation { rule: self, detail: detail.into() }
    }
}

/// A rule that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// What was seen.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.detail)
    }
}

impl std::error::Error for Violation {}
