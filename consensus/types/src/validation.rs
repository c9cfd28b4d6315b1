//! Validations out of turn: anybody asks a validator to ping one worker now. The answer is signed, and is history: it is in no report, and
//! changes no score.

use serde::{Deserialize, Serialize};

use crate::codec::Wire;
use crate::id::{NodeId, PublicKey};
use crate::log_scale::LogScale;
use crate::network_group::NetworkGroup;
use crate::signed::{Signed, SignedRecord};
use crate::time::UnixMillis;

/// What anybody asks of a validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationRequest {
    /// The worker to be pinged.
    pub worker: NodeId,
}

impl Wire for ValidationRequest {
    const MAX_BYTES: usize = 32;
}

/// What a validator found, signed with its node key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationResult {
    /// The account of the validator.
    pub validator: NodeId,
    /// The worker.
    pub worker: NodeId,
    /// When it had the last answer, or had waited for it.
    pub time: UnixMillis,
    /// Pings sent, at least one.
    pub pings_sent: u8,
    /// Pings answered in time with a right signature.
    pub pings_answered: u8,
    /// Median round-trip time of the answered pings in microseconds; at least 1 if any was answered, else 0.
    pub rtt_us: LogScale,
    /// Where the worker was seen, if it answered: [`NetworkGroup::NONE`] if at no place that tells machines apart.
    pub group: Option<NetworkGroup>,
}

impl Wire for ValidationResult {
    const MAX_BYTES: usize = 32 + 32 + 8 + 1 + 1 + 2 + 1 + NetworkGroup::BYTES;
}

impl SignedRecord for ValidationResult {
    type Signer = PublicKey;
    const TAG: &'static str = "lucid/validation/1";
}

impl ValidationResult {
    /// The most pings of one validation.
    pub const MAX_PINGS: u8 = 16;

    /// Whether it is one that a validator can have found.
    pub fn is_possible(&self) -> bool {
        let has_answer = self.pings_answered > 0;
        (1..=Self::MAX_PINGS).contains(&self.pings_sent)
            && self.pings_answered <= self.pings_sent
            && has_answer == (self.rtt_us > LogScale::ZERO)
            && has_answer == self.group.is_some()
            && self.group.is_none_or(|group| group.is_canonical())
    }
}

/// What a validator answers. A node that is no validator gives no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValidationReply {
    /// It has pinged the worker, now or earlier in this epoch.
    Done(Signed<ValidationResult>),
    /// It pings nobody more now: for one asker once a minute, and once a second in all.
    Later {
        /// After so many milliseconds it may.
        millis: u64,
    },
    /// It knows no such worker that is a member of a pool.
    Unknown,
    /// It has not pinged: a limit of its own kept it from that, it has no peers, or the worker is its operator's.
    NotSent,
}

impl Wire for ValidationReply {
    const MAX_BYTES: usize = 4 + Signed::<ValidationResult>::MAX_BYTES;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_have_been_found_is_possible() {
        let good = ValidationResult {
            validator: NodeId::from_bytes([1; 32]),
            worker: NodeId::from_bytes([2; 32]),
            time: UnixMillis::new(3),
            pings_sent: 4,
            pings_answered: 4,
            rtt_us: LogScale::encode(900),
            group: Some(NetworkGroup::NONE),
        };
        let silent = ValidationResult { pings_answered: 0, rtt_us: LogScale::ZERO, group: None, ..good };
        let seen = ValidationResult { group: Some(NetworkGroup::from_bytes([0, 0, 9, 9, 9, 9])), ..good };
        assert!([good, silent, seen].iter().all(ValidationResult::is_possible));
        for bad in [
            ValidationResult { pings_sent: 3, ..good },
            ValidationResult { pings_sent: 17, ..good },
            ValidationResult { pings_sent: 0, ..silent },
            ValidationResult { rtt_us: LogScale::ZERO, ..good },
            ValidationResult { group: None, ..good },
            ValidationResult { rtt_us: LogScale::encode(1), ..silent },
            ValidationResult { group: Some(NetworkGroup::NONE), ..silent },
            // An address that is routed nowhere, and one that is none.
            ValidationResult { group: Some(NetworkGroup::from_bytes([0, 0, 10, 0, 0, 1])), ..good },
            ValidationResult { group: Some(NetworkGroup::from_bytes([0, 1, 9, 9, 9, 9])), ..good },
        ] {
            assert!(!bad.is_possible(), "{bad:?}");
        }
    }
}
