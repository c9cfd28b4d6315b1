//! How a payout attempt stands or ended, judged from solidified blocks alone, as pure functions.
//!
//! | the solidified view says | then |
//! |---|---|
//! | present, `SUCCESS`, exactly the transfer's log | [`Verdict::Paid`] |
//! | present, `SUCCESS`, any other logs | [`Verdict::PaidUnexpected`] with what the recipient got |
//! | present, any other result | [`Verdict::Failed`] |
//! | absent, solid time before the expiration | [`Step::SendAgain`] |
//! | absent, solid time at or after it | [`Step::WaitUntil`] the grace is over, then [`Step::SearchForDeath`] |
//!
//! A death is proved by reading every block from the one after the reference through the first solidified one whose
//! time is at or after the expiration, linked by parent ids from the reference's id, each with its transaction tree
//! root recomputed. No later block can include the transaction, because java-tron (`Manager.java`) refuses it in a block
//! whose parent's time is at or after the expiration; no earlier one can, because the transaction names the reference.
//! What a node says of a broadcast, or that it does not know the transaction, proves nothing.

use std::time::Duration;

use lucid_types::amount::MicroUsdt;
use lucid_types::id::{SolidBlockId, TxId};
use lucid_types::payout::{PayoutAttempt, Verdict};
use lucid_types::time::UnixMillis;

use crate::address;
use crate::checked::CheckedBlock;
use crate::client::{Log, TransactionInfo};
use crate::trc20;
use lucid_tron_types::abi;
use lucid_tron_types::proto::ContractResult;

/// How long after the expiration, by the own clock, a death may be searched for on a public network.
pub const DEATH_GRACE: Duration = Duration::from_secs(180);

/// What to do about an attempt whose transaction the solidified view does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It can still be included: send the same bytes again.
    SendAgain,
    /// It cannot any more, but wait until then before trusting that.
    WaitUntil(UnixMillis),
    /// Look for the proof that it was not.
    SearchForDeath,
}

/// The last three rows of the table: the transaction is absent, the newest solidified block is of `solid_time`, and the
/// own clock says `now`.
pub fn absent(attempt: &PayoutAttempt, solid_time: UnixMillis, now: UnixMillis, grace: Duration) -> Step {
    if solid_time < attempt.expiration {
        return Step::SendAgain;
    }
    let earliest = attempt.expiration.after(grace);
    if now > earliest { Step::SearchForDeath } else { Step::WaitUntil(earliest) }
}

/// Evidence that contradicts itself: nothing may be concluded from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The block that the receipt names does not include the transaction.
    #[error("the receipt of {tx_id} names block {block}, which does not include it")]
    NotIncluded {
        /// The transaction.
        tx_id: TxId,
        /// The block.
        block: u64,
    },
    /// Receipt and block disagree on the result.
    #[error("the receipt of {tx_id} says {receipt:?}, the block {block} says {included:?}")]
    Result {
        /// The transaction.
        tx_id: TxId,
        /// The block.
        block: u64,
        /// Result in the receipt.
        receipt: ContractResult,
        /// Result in the block.
        included: Option<ContractResult>,
    },
    /// A block of the search has another parent than the block before it.
    #[error("block {number} does not follow {expected}: its parent is {found}")]
    Unlinked {
        /// The block.
        number: u64,
        /// Id of the block before.
        expected: SolidBlockId,
        /// The parent that it names.
        found: SolidBlockId,
    },
    /// The search found the transaction although the receipts' view does not have it.
    #[error("{tx_id} is in block {block}, but the node knows no receipt of it")]
    FoundInSearch {
        /// The transaction.
        tx_id: TxId,
        /// The block.
        block: u64,
    },
}

/// The first three rows of the table: the solidified view has the transaction. `block` is the block that the receipt
/// names; the result that its transaction root covers must be the receipt's.
///
/// # Errors
/// Receipt and block contradict each other.
pub fn present(
    attempt: &PayoutAttempt,
    tx_id: TxId,
    info: &TransactionInfo,
    block: &CheckedBlock,
) -> Result<Verdict, EvidenceError> {
    let number = block.solid().number;
    let included = block.result_of(&tx_id).ok_or(EvidenceError::NotIncluded { tx_id, block: number })?;
    if included != Some(info.result) {
        return Err(EvidenceError::Result { tx_id, block: number, receipt: info.result, included });
    }
    let (block, fee) = (number, info.fee);
    Ok(if info.result != ContractResult::Success {
        Verdict::Failed { tx_id, block, fee }
    } else if is_exactly_the_transfer(attempt, &info.logs) {
        Verdict::Paid { tx_id, block, fee }
    } else {
        Verdict::PaidUnexpected { tx_id, block, fee, received: received(attempt, &info.logs) }
    })
}

fn is_exactly_the_transfer(attempt: &PayoutAttempt, logs: &[Log]) -> bool {
    let topics = [trc20::transfer_topic(), address::to_word(&attempt.treasury), address::to_word(&attempt.to)];
    let [log] = logs else { return false };
    log.address == attempt.token && log.topics == topics && log.data == abi::word_of(attempt.amount.get())
}

/// The sum of the token's transfers to the recipient, whoever they came from.
fn received(attempt: &PayoutAttempt, logs: &[Log]) -> MicroUsdt {
    let to = address::to_word(&attempt.to);
    let amounts = logs.iter().filter_map(|log| match log.topics.as_slice() {
        [event, _, recipient]
            if *event == trc20::transfer_topic() && *recipient == to && log.address == attempt.token =>
        {
            abi::first_word(&log.data).map(|word| abi::to_u64(&word).unwrap_or(u64::MAX))
        }
        _ => None,
    });
    MicroUsdt::new(amounts.fold(0, u64::saturating_add))
}

/// A search for the proof that a transaction can never be included. Feed it the solidified blocks from
/// [`DeathSearch::next_number`] on, in order.
#[derive(Clone, Debug)]
pub struct DeathSearch {
    tx_id: TxId,
    expiration: UnixMillis,
    next_number: u64,
    parent: SolidBlockId,
    is_over: bool,
}

impl DeathSearch {
    /// A search from the attempt's reference block on.
    pub const fn new(attempt: &PayoutAttempt, tx_id: TxId) -> Self {
        Self {
            tx_id,
            expiration: attempt.expiration,
            next_number: attempt.reference.number.saturating_add(1),
            parent: attempt.reference.id,
            is_over: false,
        }
    }

    /// Number of the block to feed next.
    pub const fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Takes the next block; `true` when the proof is complete.
    ///
    /// # Errors
    /// The block does not follow the one before, or it includes the transaction. The search stays where it was.
    pub fn feed(&mut self, block: &CheckedBlock) -> Result<bool, EvidenceError> {
        if self.is_over {
            return Ok(true);
        }
        let solid = block.solid();
        if block.parent() != self.parent || solid.number != self.next_number {
            let (expected, found) = (self.parent, block.parent());
            return Err(EvidenceError::Unlinked { number: solid.number, expected, found });
        }
        if block.result_of(&self.tx_id).is_some() {
            return Err(EvidenceError::FoundInSearch { tx_id: self.tx_id, block: solid.number });
        }
        self.parent = solid.id;
        self.next_number = self.next_number.saturating_add(1);
        self.is_over = solid.time >= self.expiration;
        Ok(self.is_over)
    }
}

#[cfg(test)]
mod tests;
