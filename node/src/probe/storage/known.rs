//! What a validator knows of the chunks that it has deposited with workers, from one epoch to the next. It may be lost: then workers are asked
//! again what they hold, and what they owe is forgotten.
//!
//! **Deposited once.** A chunk at a place that its worker has said or proved to hold is deposited *again*, and so is every chunk of a worker that
//! did not take what it was offered before its term began, last or in half of the epochs. For a term no more than a part of all chunks is deposited again. So no worker
//! takes up the validator's bytes with chunks that it throws away, and none can keep one term's chunks in the room of the next one's.

use std::collections::{BTreeMap, BTreeSet};

use lucid_types::storage::DepositId;

use super::{StockId, StoredAt};

/// What one epoch leaves to the next of the chunks deposited with workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::probe) struct KeptStock(BTreeMap<StockId, (DepositId, Known)>);

impl KeptStock {
    /// What is known of a deposit; `None` if nothing is, as of another secret's.
    pub(super) fn of(&self, at: &StoredAt) -> Option<Known> {
        self.0.get(&at.id()).filter(|(deposit, _)| *deposit == at.deposit).map(|(_, known)| *known)
    }

    /// Of workers that are not drawn in an epoch, and whose terms go on.
    pub(super) fn others(&self, stored: &[StoredAt]) -> Self {
        let ids: BTreeSet<_> = stored.iter().map(StoredAt::id).collect();
        let oldest = stored.iter().map(|it| it.deposit.term).min().unwrap_or(0);
        let others = self.0.iter().filter(|(id, _)| id.1 >= oldest && !ids.contains(*id));
        Self(others.map(|(id, known)| (*id, *known)).collect())
    }

    pub(super) fn extend(&mut self, known: impl Iterator<Item = (StoredAt, Known)>) {
        self.0.extend(known.map(|(at, known)| (at.id(), (at.deposit, known))));
    }
}

/// What is known of a deposit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Chunks that are there.
    pub(super) held: Option<u32>,
    /// What was offered last was not taken, or the worker could not be asked, by its own fault. Set by [`Self::failed`].
    pub(super) is_in_vain: bool,
    /// It has left a request unanswered since it answered one.
    pub(super) is_silent: bool,
    /// The most chunks that it has said or proved to hold.
    most: u32,
    /// Chunks that were deposited again.
    n_again: u32,
    /// The term has begun.
    is_in_term: bool,
    /// It did not take everything in time, by its own fault.
    is_too_late: bool,
    /// The most chunks that it should have had before its term, by what it declared.
    wanted: u32,
    /// It was offered something in the epoch, or could not be, by its own fault.
    is_tried: bool,
    /// Epochs before the term with such a try, by what came of the last one: in vain, or taken.
    n_tried: [u32; 2],
}

impl Known {
    /// So many chunks are there, as it says.
    pub(super) fn holds(&mut self, chunks: u32, all: u32) {
        self.held = Some(chunks);
        self.most = self.most.max(chunks.min(all));
    }

    /// It has taken what it was offered.
    pub(super) fn took(&mut self, chunks: u32, all: u32) {
        self.holds(chunks, all);
        (self.is_in_vain, self.is_silent, self.is_tried) = (false, false, true);
    }

    /// It has not, by its own fault.
    pub(super) const fn failed(&mut self) {
        (self.is_in_vain, self.is_tried) = (true, true);
    }

    /// The epoch is over.
    pub(super) fn end_epoch(&mut self) {
        if self.is_tried && !self.is_in_term {
            let n = &mut self.n_tried[usize::from(!self.is_in_vain)];
            *n = n.saturating_add(1);
        }
        self.is_tried = false;
    }

    /// So many chunks are to be deposited before the term.
    pub(super) fn wants(&mut self, all: u32) {
        self.wanted = self.wanted.max(all);
    }

    /// Its chunks are challenged from now on. One that refuses all the time and takes a single chunk at the end has not taken everything in time
    /// either.
    pub(super) fn begin_term(&mut self, all: u32) {
        if !self.is_in_term {
            let [in_vain, taken] = self.n_tried;
            let is_to_blame = self.is_in_vain || (in_vain > 0 && in_vain >= taken);
            // Declaring less in the end makes up for nothing.
            self.is_too_late = is_to_blame && self.held.is_none_or(|held| held < all.max(self.wanted));
        }
        self.is_in_term = true;
    }

    /// Whether a chunk at this place would be one that is deposited again.
    const fn is_again(&self, place: u32) -> bool {
        self.is_too_late || place < self.most
    }

    /// Whether the chunk at this place may be offered, if one in `part` of all may be offered again.
    pub(super) const fn may_offer(&self, place: u32, all: u32, part: u32) -> bool {
        let most = if part == 0 { 0 } else { all.div_ceil(part) };
        !self.is_again(place) || self.n_again < most
    }

    /// The chunk at this place was sent.
    pub(super) fn offered(&mut self, place: u32) {
        self.n_again = self.n_again.saturating_add(self.is_again(place).into());
    }

    /// Whether it is the worker's doing that there is no chunk for each seat.
    pub(super) const fn is_to_blame(&self, seats: u32) -> bool {
        self.is_in_vain || self.is_too_late || self.most >= seats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_deposited_again_and_no_more() {
        let mut known = Known::default();
        for place in 0..10 {
            assert!(known.may_offer(place, 10, 8));
            known.offered(place);
            known.took(place + 1, 10);
        }
        known.holds(0, 10);
        assert_eq!(known.n_again, 0, "the first time each");
        let mut n = 0;
        while known.may_offer(0, 10, 8) {
            known.offered(0);
            n += 1;
        }
        assert_eq!(n, 2, "an eighth of ten, rounded up");
        assert!(known.may_offer(0, 10, 1), "a greater part would go on");
        assert!(!known.may_offer(0, 10, 0));
    }

    #[test]
    fn whoever_was_to_blame_last_or_often_is_too_late() {
        let begun = |known: Known| {
            let mut known = known;
            known.begin_term(10);
            known.is_too_late
        };
        let half = Known { held: Some(5), most: 5, ..Known::default() };
        assert!(!begun(half), "it was not offered more");
        assert!(begun(Known { is_in_vain: true, ..half }) && begun(Known { held: None, is_in_vain: true, ..half }));
        assert!(!begun(Known { held: Some(10), is_in_vain: true, ..half }), "nothing is missing");
        assert!(!begun(Known { is_in_vain: true, is_in_term: true, ..half }), "the term had begun before");
        let tried = |in_vain, taken| begun(Known { n_tried: [in_vain, taken], ..half });
        assert!(tried(1, 0) && tried(7, 7) && !tried(6, 7) && !tried(0, 7));
        assert!(begun(Known { held: Some(10), wanted: 11, n_tried: [7, 1], ..half }), "it had declared more");
        assert!(!begun(Known { held: Some(10), n_tried: [7, 1], ..half }), "nothing is missing");
    }
}
