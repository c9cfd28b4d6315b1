//! Whether a transaction belongs to this chain and to this time: its reference block, its expiry, its signatures, and that it is
//! new.
//!
//! java-tron's `Manager.validateTapos`, `validateCommon` and `validateDup`, and what `Wallet.broadcastTransaction` asks
//! before them.

use super::params::{MAX_EXPIRATION, REF_BLOCK_RING, SLOT_MS};
use super::{Chain, Code, Intake, Refusal};

impl Chain {
    /// Whether it may be in the next block, as far as that can be told without carrying it out; in java-tron's order.
    pub(super) fn check(&self, intake: &Intake) -> Result<(), Refusal> {
        self.check_all_but_too_early(intake)?;
        if is_too_early(intake, self.head_block().time()) { Err(Refusal::expired()) } else { Ok(()) }
    }

    fn check_all_but_too_early(&self, intake: &Intake) -> Result<(), Refusal> {
        self.check_not_expired(intake)?;
        intake.check_permission(self.state.account(intake.owner))?;
        self.check_reference(intake)?;
        intake.check_size()
    }

    /// It must not expire before the slot after the head's, the earliest time of the next block.
    fn check_not_expired(&self, intake: &Intake) -> Result<(), Refusal> {
        let next_slot = self.head_block().time().saturating_add(SLOT_MS);
        if expiration(intake) < next_slot { Err(Refusal::expired()) } else { Ok(()) }
    }

    /// Whether [`Self::check`] refuses it now, and only because no block was made up to `now` for long.
    pub(crate) fn lacks_a_newer_head(&self, intake: &Intake, now: u64) -> bool {
        is_too_early(intake, self.head_block().time())
            && !is_too_early(intake, now)
            && self.check_all_but_too_early(intake).is_ok()
    }

    /// The newest block whose number ends in the reference's two bytes must have the reference's hash.
    fn check_reference(&self, intake: &Intake) -> Result<(), Refusal> {
        let refused = || Refusal::new(Code::TaposError, "Tapos check error.");
        let [high, low] = *intake.raw.ref_block_bytes.as_slice() else { return Err(refused()) };
        let number = ring_number(self.head_number(), u16::from_be_bytes([high, low])).ok_or_else(refused)?;
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let id = self.block_ids.get(index).ok_or_else(refused)?;
        if id[8..16] == *intake.raw.ref_block_hash { Ok(()) } else { Err(refused()) }
    }

    /// It must neither wait already nor be in a block.
    pub(super) fn check_is_new(&self, intake: &Intake) -> Result<(), Refusal> {
        if self.transactions.contains_key(&intake.id) || self.pending_ids.contains_key(&intake.id) {
            return Err(Refusal::new(Code::DupTransactionError, "Dup transaction."));
        }
        Ok(())
    }
}

/// It must not expire later than a day after the head.
fn is_too_early(intake: &Intake, head_time: u64) -> bool {
    expiration(intake) > head_time.saturating_add(MAX_EXPIRATION)
}

fn expiration(intake: &Intake) -> u64 {
    u64::try_from(intake.raw.expiration).unwrap_or(0)
}

/// The newest number up to `head` that ends in these 16 bits.
pub(super) fn ring_number(head: u64, low: u16) -> Option<u64> {
    let number = (head & !(REF_BLOCK_RING - 1)) | u64::from(low);
    if number > head { number.checked_sub(REF_BLOCK_RING) } else { Some(number) }
}
