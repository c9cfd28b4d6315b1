//! The chunks of one worker for one term in an epoch: what is being done about them, and whose fault it is if nothing comes of it.

use lucid_types::id::NodeId;
use lucid_types::storage::{ChunkRange, DepositId, StorageRefusal};

use super::StockId;
use super::known::Known;
use crate::probe::counts::{ProbeCounts, StorageOutcome};

/// A worker of which this validator holds storage seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredAt {
    /// The worker.
    pub worker: NodeId,
    /// How many of the committee's seats this validator holds.
    pub seats: u8,
    /// Chunks for each of them.
    pub quota: u16,
    /// The chunks.
    pub deposit: DepositId,
    /// Whether the term is under way, so that the report is about it. In the settlement before, chunks are deposited only.
    pub is_challenged: bool,
}

impl StoredAt {
    /// Chunks of all its seats.
    pub fn chunks(&self) -> u32 {
        u32::from(self.seats).saturating_mul(self.quota.into())
    }

    pub(super) const fn id(&self) -> StockId {
        (self.worker, self.deposit.term)
    }
}

/// What is asked of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// How many chunks it holds.
    Held,
    /// These ranges.
    Challenge(Vec<ChunkRange>),
    /// To store the chunk of this place.
    Deposit(u32),
}

/// Why that was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageFault {
    /// It never left this node, by a limit of its own.
    Own,
    /// It never left this node: too many requests to the worker are unanswered.
    Unanswered,
    /// The worker could not be reached, or the connection ended.
    Unreachable,
    /// No answer in time.
    Late,
    /// The worker is too busy now.
    Busy,
    /// The worker refused, for a reason of the protocol or for none.
    Refused(Option<StorageRefusal>),
    /// The answer is not one to this request.
    Wrong,
}

impl StorageFault {
    pub(super) const fn outcome(self) -> StorageOutcome {
        match self {
            Self::Own => StorageOutcome::NotSent,
            Self::Unanswered | Self::Late => StorageOutcome::Late,
            Self::Unreachable => StorageOutcome::Unreachable,
            Self::Busy | Self::Refused(_) => StorageOutcome::Refused,
            Self::Wrong => StorageOutcome::Wrong,
        }
    }
}

/// How often a worker was too busy in an epoch for requests of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Busy {
    pub(super) n: u32,
    /// It was when it was asked last.
    pub(super) is_last: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Doing {
    #[default]
    Nothing,
    /// For a connection.
    Waiting,
    Asking,
    Challenging,
    Depositing,
}

/// The challenge of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// None, or not yet.
    Ahead,
    /// Its time has come.
    Due,
    /// Chunks proved for each seat; `None` for an abstention.
    Over(Option<u16>),
}

#[derive(Clone, Debug)]
pub(super) struct Stock {
    pub(super) at: StoredAt,
    pub(super) known: Known,
    pub(super) doing: Doing,
    pub(super) challenge: Challenge,
    /// No deposits any more in this epoch.
    pub(super) is_closed: bool,
    /// Nothing was known of it when the epoch began.
    pub(super) is_new: bool,
    /// Too busy for questions, and for deposits.
    pub(super) busy: (Busy, Busy),
}

impl Stock {
    /// Chunks that are there and count.
    pub(super) fn held(&self) -> Option<u32> {
        self.known.held.map(|held| held.min(self.at.chunks()))
    }

    /// Whether a fault is the worker's.
    pub(super) fn is_to_blame(&self, fault: StorageFault) -> bool {
        match fault {
            StorageFault::Own => false,
            StorageFault::Unanswered => self.known.is_silent,
            // It may not have seen the block yet that makes it a member. A committee's row is made a settlement before its term begins, and a
            // challenge is not refused for that.
            StorageFault::Refused(Some(StorageRefusal::NotDrawn)) => !self.is_new || self.doing == Doing::Challenging,
            _ => true,
        }
    }

    pub(super) fn over(&mut self, proved: Option<u16>, outcome: StorageOutcome, counts: &mut ProbeCounts) {
        if matches!(self.challenge, Challenge::Over(_)) {
            return;
        }
        self.challenge = Challenge::Over(proved);
        counts.challenge(outcome);
    }

    /// A fault ends a challenge that was due.
    pub(super) fn failed(&mut self, is_to_blame: bool, outcome: StorageOutcome, counts: &mut ProbeCounts) {
        let (proved, outcome) = if is_to_blame { (Some(0), outcome) } else { (None, StorageOutcome::NotSent) };
        self.over(proved, outcome, counts);
    }
}
