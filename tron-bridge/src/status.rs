//! The status of a payout, as users see it.

use std::fmt;

use lucid_types::payout::Verdict;
use serde::{Deserialize, Serialize};

/// How a payout stands. The courier knows the first four and `expired` of its own attempts; the rest follow from the
/// ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayoutStatus {
    /// A block opened the attempt; nobody has begun, or this node waits for its turn.
    Scheduled,
    /// Signatures are being collected.
    Signing,
    /// Sent, and in no block yet.
    Broadcast,
    /// In a block that is not final yet.
    Confirming,
    /// Final: the recipient has exactly the amount.
    Paid,
    /// Final: the attempt was included and failed.
    Failed,
    /// The attempt can no longer be included; the proof or the verdict is pending, or it is final.
    Expired,
    /// Waits for the treasury, for a person or for a pool's pause.
    Held,
    /// Taken back before any attempt, or after the last one ended.
    Cancelled,
}

impl PayoutStatus {
    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Signing => "signing",
            Self::Broadcast => "broadcast",
            Self::Confirming => "confirming",
            Self::Paid => "paid",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Held => "held",
            Self::Cancelled => "cancelled",
        }
    }
}

impl From<&Verdict> for PayoutStatus {
    /// The status that a final verdict gives. Money that arrived otherwise than intended waits for a person.
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Paid { .. } => Self::Paid,
            Verdict::PaidUnexpected { .. } => Self::Held,
            Verdict::Failed { .. } => Self::Failed,
            Verdict::Dead => Self::Expired,
        }
    }
}

impl fmt::Display for PayoutStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn names_in_json_and_text_are_the_same() {
        for status in [
            PayoutStatus::Scheduled,
            PayoutStatus::Signing,
            PayoutStatus::Broadcast,
            PayoutStatus::Confirming,
            PayoutStatus::Paid,
            PayoutStatus::Failed,
            PayoutStatus::Expired,
            PayoutStatus::Held,
            PayoutStatus::Cancelled,
        ] {
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
        }
    }
}
