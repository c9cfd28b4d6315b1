//! Stolen keys: what k of them can take, and that everybody honest gets everything in the end.

use super::abi::Event;
use super::code::Code;
use super::tree::{Item, Root};
use super::world::{PERIOD, Setup, Who, World, id};

pub(super) fn is_bounded_and_made_good(code: &Code) {
    let mut world = World::with(code, Setup { cap: 100, push_fee: 2, ..Setup::default() });
    let owed = [40, 30, 20];
    let root = Root { total: 96, fees: 6, ..world.root(1, &owed) };
    world.post_root(&root).unwrap();
    world.push(Who::Leader, 1, 0, 1).unwrap();
    assert_eq!(world.sums(), [40, 2, 42]);

    // Two of three keys: a root of the thieves' own, in which everything is owed to one account.
    let thief = Item { id: id(99), to: world.at(Who::Stranger), owed: u64::MAX };
    let loot = Root { total: u64::MAX, fees: u64::MAX, settlement: 50, ..world.root_of(50, vec![thief]) };
    world.post_root(&loot).unwrap();
    assert_eq!(world.push(Who::Stranger, 50, 0, 1).unwrap(), [world.paid(0, 58)], "what is left of the cap");
    world.travel(PERIOD);
    assert_eq!(world.push(Who::Stranger, 50, 0, 1).unwrap(), [world.paid(0, 100)], "a period's cap");
    // They cannot raise it, nor change the signers: that needs the owner.
    let raise = world.limits(u64::MAX, 0, &[0, 1]);
    assert_eq!(world.call(Who::Stranger, world.vault, raise), Err("NotOwner".into()));

    // An honest signer stops it at once; the owner and the honest copies of the keys change the signers.
    world.act(Who::Signer(2), "pause()", &[]).unwrap();
    world.travel(PERIOD);
    assert_eq!(world.push(Who::Stranger, 50, 0, 1), Err("IsPaused".into()));
    world.rotate(&[3, 4, 5], 2).unwrap();
    world.act(Who::Owner, "unpause()", &[]).unwrap();
    assert_eq!(world.push(Who::Stranger, 50, 0, 1), Err("Stale(0)".into()), "their root is void");
    let stolen = 158;
    assert_eq!(world.balance(world.at(Who::Stranger)), stolen);

    // Without the loss in the total nobody can be paid: 198 have left, 96 are signed.
    let root = Root { total: 96, fees: 6, ..world.root(1, &owed) };
    world.post_root(&root).unwrap();
    assert_eq!(world.push_all(1), Err("NothingPaid(2)".into()));
    // With a part of it, some; with all of it, the last honest worker too, and the fees.
    let booked = Root { total: 96 + stolen, fees: 6, ..world.root(1, &owed) };
    world.post_root(&Root { total: 96 + stolen - 30, ..booked }).unwrap();
    let skipped = Event::Skipped { id: id(2), reason: 2 };
    assert_eq!(world.push_all(1).unwrap(), [world.paid(1, 24), skipped]);
    world.post_root(&booked).unwrap();
    let fee = Event::FeePaid { to: world.at(Who::Leader), amount: 4 };
    assert_eq!(world.push_all(1).unwrap(), [world.paid(1, 6), world.paid(2, 20), fee]);
    for (i, owed) in owed.into_iter().enumerate() {
        assert_eq!((world.paid_of(i), world.balance(world.at(Who::Worker(i)))), (owed, owed));
    }
    assert_eq!(world.sums()[0], 90 + stolen);
    assert_eq!(world.paid_of(99), stolen);
}
