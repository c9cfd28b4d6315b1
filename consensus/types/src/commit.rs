//! A validator's commit at the end of an epoch: the hash of its report.

use serde::{Deserialize, Serialize};

use crate::codec::Wire;
use crate::id::Hash;
use crate::signed::SignedRecord;
use crate::time::{EpochNumber, UnixMillis};

/// A validator's commit for an epoch. A validator signs at most one for each epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The epoch that ended.
    pub epoch: EpochNumber,
    /// [`crate::report::Reveal::commitment`] of the report.
    pub report: Hash,
    /// The validator's own clock when it signed.
    pub time: UnixMillis,
}

impl Wire for Commit {
    const MAX_BYTES: usize = 48;
}

impl SignedRecord for Commit {
    const TAG: &'static str = "lucid/commit/2";
}
