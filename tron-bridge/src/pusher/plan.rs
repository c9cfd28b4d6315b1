//! Which leaves are paid by which transaction.

use lucid_types::amount::MicroUsdt;

/// What a leaf means for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    /// It is to be paid this much.
    Due(MicroUsdt),
    /// It lacks nothing, so a batch may reach across it.
    Settled,
    /// It must not be paid now: it is not due, in another batch, or set aside.
    Apart,
}

/// Neighbouring leaves for one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// Index of the first.
    pub(super) start: usize,
    /// How many.
    pub(super) n: usize,
    /// Indices of those that are to be paid.
    pub(super) due: Vec<usize>,
    /// What they are to be paid.
    pub(super) amount: MicroUsdt,
}

/// What batches must keep within.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Leaves of a batch.
    pub(super) max_items: usize,
    /// Batches.
    pub(super) max_ranges: usize,
    /// What can be paid at all.
    pub(super) room: MicroUsdt,
    /// What an item takes out of the room beside its amount; it never stands in the way of the item itself.
    pub(super) push_fee: MicroUsdt,
    /// All that items may take beside their amounts.
    pub(super) fees: MicroUsdt,
    /// The least that an account is paid if its whole amount does not fit; `None`: then it waits.
    pub(super) least_part: Option<MicroUsdt>,
}

/// Batches of leaves that are due. The leaves come with their indices, in the tree's order from any of them on and round to
/// it. A batch begins and ends with a leaf that is due and reaches across
/// leaves that lack nothing. A leaf whose amount does not fit into the room waits; if nothing else can be paid, the first of
/// them is paid in part.
pub(super) fn ranges(leaves: impl Iterator<Item = (usize, Leaf)>, bounds: Bounds) -> Vec<Range> {
    let mut made = Vec::new();
    let mut open: Option<Range> = None;
    let (mut room, mut fees) = (bounds.room, bounds.fees);
    let mut unfit = None;
    for (index, leaf) in leaves {
        if made.len() >= bounds.max_ranges {
            open = None;
            break;
        }
        let is_full = |range: &Range| index.saturating_sub(range.start) >= bounds.max_items;
        if index == 0 || open.as_ref().is_some_and(is_full) {
            made.extend(open.take());
            if made.len() >= bounds.max_ranges {
                break;
            }
        }
        match leaf {
            Leaf::Settled => {}
            Leaf::Apart => made.extend(open.take()),
            Leaf::Due(amount) => match room.checked_sub(amount) {
                None => {
                    unfit = unfit.or(Some(index));
                    made.extend(open.take());
                }
                Some(left) => {
                    let fee = bounds.push_fee.min(fees);
                    (room, fees) = (left.saturating_sub(fee), fees.saturating_sub(fee));
                    let range = open.get_or_insert_with(|| Range {
                        start: index,
                        n: 0,
                        due: Vec::new(),
                        amount: MicroUsdt::ZERO,
                    });
                    range.n = index.saturating_sub(range.start).saturating_add(1);
                    range.due.push(index);
                    range.amount = range.amount.saturating_add(amount);
                }
            },
        }
    }
    made.extend(open);
    let part = bounds.least_part.filter(|least| made.is_empty() && bounds.max_ranges > 0 && room >= *least);
    if let Some(index) = unfit.filter(|_| part.is_some()) {
        made.push(Range { start: index, n: 1, due: vec![index], amount: room });
    }
    made
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usdt(n: u64) -> MicroUsdt {
        MicroUsdt::new(n)
    }

    fn bounds() -> Bounds {
        Bounds {
            max_items: 4,
            max_ranges: 9,
            room: usdt(1_000),
            push_fee: usdt(0),
            fees: usdt(0),
            least_part: Some(usdt(1)),
        }
    }

    /// `d` is due with 10, `D` with 100, `.` lacks nothing, `x` stands apart.
    fn leaves(text: &str) -> Vec<Leaf> {
        let leaf = |c| match c {
            'd' => Leaf::Due(usdt(10)),
            'D' => Leaf::Due(usdt(100)),
            '.' => Leaf::Settled,
            _ => Leaf::Apart,
        };
        text.chars().map(leaf).collect()
    }

    #[test]
    fn batches_break_where_a_leaf_must_not_be_paid() {
        let room = |n| Bounds { room: usdt(n), ..bounds() };
        for (text, bounds, want) in [
            ("", bounds(), vec![]),
            ("..xx", bounds(), vec![]),
            ("dddd", bounds(), vec![(0, 4, 40)]),
            ("ddddd", bounds(), vec![(0, 4, 40), (4, 1, 10)]),
            (".d.d.x", bounds(), vec![(1, 3, 20)]),
            ("ddxdd", bounds(), vec![(0, 2, 20), (3, 2, 20)]),
            ("d...d", bounds(), vec![(0, 1, 10), (4, 1, 10)]),
            ("dDd", room(20), vec![(0, 1, 10), (2, 1, 10)]),
            ("Dd", room(9), vec![(0, 1, 9)]),
            ("Dd", room(0), vec![]),
            ("D", Bounds { least_part: None, ..room(50) }, vec![]),
            ("D", Bounds { least_part: Some(usdt(60)), ..room(50) }, vec![]),
            ("ddd", Bounds { push_fee: usdt(1), fees: usdt(9), ..room(32) }, vec![(0, 3, 30)]),
            ("ddd", Bounds { push_fee: usdt(1), fees: usdt(9), ..room(31) }, vec![(0, 2, 20)]),
            ("ddd", Bounds { push_fee: usdt(1), fees: usdt(1), ..room(31) }, vec![(0, 3, 30)]),
            ("dxdxdxd", Bounds { max_ranges: 2, ..bounds() }, vec![(0, 1, 10), (2, 1, 10)]),
            ("ddddd", Bounds { max_ranges: 1, ..bounds() }, vec![(0, 4, 40)]),
            ("d", Bounds { max_ranges: 0, ..bounds() }, vec![]),
        ] {
            let made = ranges(leaves(text).into_iter().enumerate(), bounds);
            let found: Vec<_> = made.iter().map(|range| (range.start, range.n, range.amount.get())).collect();
            assert_eq!(found, want, "{text:?} {bounds:?}");
        }
    }

    proptest! {
        #[test]
        fn no_leaf_is_paid_that_must_not_be(
            kinds in prop::collection::vec((0..4_u8, 1..50_u64), 0..80), max_items in 1..7_usize, room in 0..600_u64,
            max_ranges in 0..20_usize, from in 0..80_usize,
        ) {
            let all: Vec<_> = kinds.iter().map(|(kind, amount)| match kind {
                0 | 1 => Leaf::Due(usdt(*amount)),
                2 => Leaf::Settled,
                _ => Leaf::Apart,
            }).collect();
            let bounds = Bounds { max_items, max_ranges, room: usdt(room), ..bounds() };
            let from = from.min(all.len());
            let rotated = all.iter().copied().enumerate().skip(from).chain(all.iter().copied().enumerate().take(from));
            let mut made = ranges(rotated, bounds);
            made.sort_by_key(|range| range.start);
            prop_assert!(made.len() <= max_ranges);
            let mut next = 0;
            for range in &made {
                prop_assert!(range.start >= next && range.n >= 1 && range.n <= max_items);
                next = range.start + range.n;
                let inside = &all[range.start..next];
                prop_assert!(!inside.contains(&Leaf::Apart));
                prop_assert!(matches!(inside[0], Leaf::Due(_)) && matches!(inside[range.n - 1], Leaf::Due(_)));
                let due: Vec<_> = (range.start..next).filter(|i| matches!(all[*i], Leaf::Due(_))).collect();
                prop_assert_eq!(&due, &range.due);
            }
            let sum: u64 = made.iter().map(|range| range.amount.get()).sum();
            prop_assert!(sum <= room);
            let anything = all.iter().any(|leaf| matches!(leaf, Leaf::Due(_)));
            prop_assert_eq!(!made.is_empty(), anything && room > 0 && max_ranges > 0);
        }
    }
}
