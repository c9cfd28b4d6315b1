//! The plain case: roots are posted, pushed and claimed.

use super::abi::Event;
use super::code::Code;
use super::tree::Item;
use super::world::{Setup, Who, World, id, range_call};

/// What every broken variant of the vault still does.
pub(super) fn a_root_is_pushed(code: &Code) {
    let mut world = World::new(code);
    world.post(1, &[10, 20, 30]).unwrap();
    assert_eq!(world.push_all(1).unwrap(), [world.paid(0, 10), world.paid(1, 20), world.paid(2, 30)]);
    assert_eq!(world.balance(world.at(Who::Worker(2))), 30);
    assert_eq!(world.balance(world.vault), 500_000 - 60);
}

pub(super) fn pays_the_difference_once(code: &Code) {
    let mut world = World::new(code);
    world.post(1, &[10, 20, 30, 40, 50]).unwrap();
    let pushed = world.push_all(1).unwrap();
    assert_eq!(pushed, [10, 20, 30, 40, 50].into_iter().enumerate().map(|(i, n)| world.paid(i, n)).collect::<Vec<_>>());
    assert_eq!(world.balance(world.at(Who::Worker(2))), 30);
    assert_eq!(world.balance(world.vault), 500_000 - 150);
    assert_eq!((world.paid_of(4), world.paid_of(5)), (50, 0));
    assert_eq!(world.push_all(1), Err("NothingPaid(0)".into()), "a second time");

    world.post(2, &[10, 25, 30, 40, 60, 7]).unwrap();
    let pushed = world.push_all(2).unwrap();
    assert_eq!(pushed, [world.paid(1, 5), world.paid(4, 10), world.paid(5, 7)]);
    assert_eq!(world.push_all(2), Err("NothingPaid(0)".into()));
    assert_eq!(world.balance(world.at(Who::Worker(4))), 60);
    assert_eq!(world.sums(), [172, 0, 172]);

    // A third time, as the second kept what the first had paid.
    world.post(3, &[11, 26, 30, 40, 61, 7]).unwrap();
    assert_eq!(world.push_all(3).unwrap(), [world.paid(0, 1), world.paid(1, 1), world.paid(4, 1)]);
    assert_eq!(world.balance(world.at(Who::Worker(4))), 61);
}

pub(super) fn claims_pay_like_pushes(code: &Code) {
    let mut world = World::new(code);
    world.post(1, &[10, 20, 30]).unwrap();
    assert_eq!(world.claim(1, 1).unwrap(), [world.paid(1, 20)]);
    assert_eq!(world.claim(1, 1), Err("NothingPaid(0)".into()));
    let pushed = world.push_all(1).unwrap();
    assert_eq!(pushed, [world.paid(0, 10), world.paid(2, 30)], "what a race left");
    // Anybody may claim for somebody: the recipient is the item's.
    world.post(2, &[11, 22, 33]).unwrap();
    let data = world.claim_call(2, &[2, 0]);
    let claimed = world.call(Who::Stranger, world.vault, data).unwrap();
    assert_eq!(claimed, [world.paid(2, 3), world.paid(0, 1)]);
    assert_eq!(world.balance(world.at(Who::Worker(2))), 33);
    assert_eq!(world.balance(world.at(Who::Stranger)), 0);
}

pub(super) fn pays_every_range_of_every_tree(code: &Code) {
    let mut world = World::with(code, Setup { workers: 9, ..Setup::default() });
    for n in 1..=9usize {
        let settlement = u64::try_from(n).unwrap();
        world.post(settlement, &vec![settlement; n]).unwrap();
        for start in 0..n {
            for length in 1..=n - start {
                let data = world.range_call(settlement, start, length);
                assert_eq!(world.try_read(world.vault, &data), Ok(vec![]), "{n} leaves, {start}, {length}");
                if length > 1 {
                    let items = &world.items[start..start + length];
                    let elsewhere = range_call(settlement, start + 1, items, &world.tree.range(start, length));
                    assert_eq!(world.try_read(world.vault, &elsewhere), Err("BadProof".into()));
                }
            }
        }
    }
    // The largest amount, and the last item of a tree that is not full.
    let top = Item { id: id(0), to: world.at(Who::Worker(0)), owed: u64::MAX };
    let root = world.root_of(10, vec![top]);
    world.post_root(&root).unwrap();
    let paid = world.push_all(10).unwrap();
    assert!(matches!(paid[..], [Event::Paid { amount: 500_000, owed: u64::MAX, .. }]), "{paid:?}");
}
