//! Which chunks go: a pure function of what is there, what may stay, and how much room there is.

use lucid_types::id::NodeId;

use super::file::{HEADER_BYTES, SLOT_BYTES};

/// A deposit that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deposit {
    pub(super) validator: NodeId,
    pub(super) term: u64,
    pub(super) chunks: u32,
}

impl Deposit {
    const fn bytes(&self) -> u64 {
        HEADER_BYTES + self.chunks as u64 * SLOT_BYTES
    }
}

/// How many chunks each deposit is left, `None` if it goes altogether, of those that do not stay as they are.
///
/// `keep` says how many may stay. If they are more than `most_bytes` together, the last chunks of those whose term began last go first: the
/// others are being proved.
pub(super) fn excess(
    deposits: &[Deposit],
    keep: impl Fn(&NodeId, u64) -> Option<u32>,
    most_bytes: u64,
) -> Vec<(Deposit, Option<u32>)> {
    let kept = |it: &Deposit| (*it, keep(&it.validator, it.term).map(|most| most.min(it.chunks)));
    let mut left: Vec<_> = deposits.iter().map(kept).collect();
    let bytes_of = |(it, chunks): &(Deposit, Option<u32>)| chunks.map_or(0, |chunks| Deposit { chunks, ..*it }.bytes());
    let mut over = left.iter().map(bytes_of).fold(0, u64::saturating_add).saturating_sub(most_bytes);
    left.sort_unstable_by_key(|(it, _)| (std::cmp::Reverse(it.term), it.validator));
    for entry in &mut left {
        let Some(chunks) = entry.1.filter(|_| over > 0) else { continue };
        let before = bytes_of(entry);
        let n = u32::try_from(over.div_ceil(SLOT_BYTES)).unwrap_or(u32::MAX);
        // With its last chunk its header goes, too.
        entry.1 = chunks.checked_sub(n).filter(|left| *left > 0);
        over = over.saturating_sub(before - bytes_of(entry));
    }
    left.retain(|(it, chunks)| *chunks != Some(it.chunks));
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn validator(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    const fn deposit(n: u8, term: u64, chunks: u32) -> Deposit {
        Deposit { validator: validator(n), term, chunks }
    }

    fn left(most_bytes: u64) -> Vec<(u8, u64, Option<u32>)> {
        let deposits = [deposit(1, 5, 3), deposit(2, 5, 2), deposit(1, 12, 2), deposit(2, 12, 2), deposit(3, 1, 9)];
        // The third has no seat any more; the second may hold one chunk of the older term.
        let keep = |it: &NodeId, term| match (*it == validator(3), *it == validator(2) && term == 5) {
            (true, _) => None,
            (_, true) => Some(1),
            _ => Some(10),
        };
        let shown = |(it, chunks): (Deposit, Option<u32>)| (it.validator.as_bytes()[0], it.term, chunks);
        excess(&deposits, keep, most_bytes).into_iter().map(shown).collect()
    }

    #[test]
    fn what_may_not_stay_goes_and_the_newest_terms_shrink_first() {
        let all = 4 * HEADER_BYTES + 8 * SLOT_BYTES;
        let always = [(2, 5, Some(1)), (3, 1, None)];
        assert_eq!(left(all), always);
        assert_eq!(left(u64::MAX), always);
        assert_eq!(left(all - 1), [&[(1, 12, Some(1))], &always[..]].concat());
        assert_eq!(left(all - SLOT_BYTES), [&[(1, 12, Some(1))], &always[..]].concat());
        let three = left(all - 3 * SLOT_BYTES);
        assert_eq!(three, [&[(1, 12, None), (2, 12, Some(1))], &always[..]].concat());
        assert_eq!(left(0), [(1, 12, None), (2, 12, None), (1, 5, None), (2, 5, None), (3, 1, None)]);
    }

    #[test]
    fn what_fits_stays() {
        assert_eq!(excess(&[deposit(1, 1, 4)], |_, _| Some(4), HEADER_BYTES + 4 * SLOT_BYTES), []);
        assert_eq!(excess(&[], |_, _| None, 0), []);
    }
}
