//! A validator's commit at the end of an epoch: the hash of its report, and what it saw of the payment network.

use serde::{Deserialize, Serialize};

use crate::codec::Wire;
use crate::id::Hash;
use crate::payout::{ReceiptVote, SolidBlock, TreasuryView};
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
    /// The newest solidified blocks whose number is a multiple of the reference stride, newest first, at most two.
    pub solid: Vec<SolidBlock>,
    /// The treasuries, in the order of the pools' ids.
    pub treasuries: Vec<TreasuryView>,
    /// Verdicts on open payout attempts, in the order of the payouts' ids.
    pub receipts: Vec<ReceiptVote>,
}

impl Commit {
    /// The greatest number of solidified blocks in a commit.
    pub const MAX_SOLID: usize = 2;
    /// The greatest number of treasuries in a commit.
    pub const MAX_TREASURIES: usize = 64;
    /// The greatest number of verdicts in a commit; the rest follow in later epochs.
    pub const MAX_RECEIPTS: usize = 1_000;
}

impl Wire for Commit {
    const MAX_BYTES: usize = 160 << 10;
}

impl SignedRecord for Commit {
    const TAG: &'static str = "lucid/commit/1";
}
