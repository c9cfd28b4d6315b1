//! What is paid, to whom, and what bounds it.

use lucid_tron_devnet::Address;

use super::abi::Event;
use super::code::Code;
use super::tree::{Item, Root};
use super::world::{PERIOD, Setup, Who, World, claim_call, id, range_call};

// Why an item was skipped.
const BAD_RECIPIENT: u64 = 1;
const OVER_TOTAL: u64 = 2;
const OVER_CAP: u64 = 3;
const NO_FUNDS: u64 = 4;

fn skipped(worker: usize, reason: u64) -> Event {
    Event::Skipped { id: id(worker), reason }
}

pub(super) fn a_range_needs_its_proof(code: &Code) {
    let mut world = World::new(code);
    world.post(1, &[10, 20, 30, 40, 50]).unwrap();
    let (items, proof, stranger) = (world.items.clone(), world.tree.range(1, 2), world.at(Who::Stranger));
    let mut refused = |start: usize, items: &[Item], proof: &[[u8; 32]]| {
        let data = range_call(1, start, items, proof);
        assert_eq!(world.call(Who::Leader, world.vault, data), Err("BadProof".into()));
    };
    let right = &items[1..3];
    refused(1, right, &[]);
    refused(1, right, &proof[1..]);
    refused(1, right, &[proof.as_slice(), &proof[..1]].concat());
    refused(1, right, &[proof[1], proof[0], proof[2]]);
    refused(2, right, &proof);
    refused(0, &items, &[]);
    refused(1, &items[1..4], &proof);
    refused(1, &[items[2], items[1]], &proof);
    for wrong in [
        Item { owed: 21, ..items[1] },
        Item { to: stranger, ..items[1] },
        Item { id: items[0].id, ..items[1] },
        items[0],
    ] {
        refused(1, &[wrong, items[2]], &proof);
        refused(1, &[wrong], &proof);
    }
    world.push(Who::Leader, 1, 1, 2).unwrap();
}

pub(super) fn a_claim_needs_its_proof(code: &Code) {
    let mut world = World::new(code);
    world.post(1, &[10, 20, 30, 40, 50]).unwrap();
    let (items, proof, stranger) = (world.items.clone(), world.tree.range(1, 1), world.at(Who::Stranger));
    let mut answer = |items: &[Item], proofs: &[Vec<[u8; 32]>]| {
        let data = claim_call(1, items, proofs);
        world.call(Who::Stranger, world.vault, data)
    };
    let bad = Err("BadProof".to_owned());
    for wrong in [
        Item { owed: 21, ..items[1] },
        Item { to: stranger, ..items[1] },
        Item { id: items[0].id, ..items[1] },
        items[2],
    ] {
        assert_eq!(answer(&[wrong], std::slice::from_ref(&proof)), bad);
        assert_eq!(answer(&[items[1], wrong], &[proof.clone(), proof.clone()]), bad, "nothing of it is paid");
    }
    assert_eq!(answer(&[items[1]], &[vec![]]), bad);
    assert_eq!(answer(&[items[1]], &[proof[1..].to_vec()]), bad);
    assert_eq!(answer(&[items[1]], &[]), Err("BadArguments".into()));
    assert_eq!(answer(&[items[1]], &[proof.clone(), proof.clone()]), Err("BadArguments".into()));
    assert_eq!(answer(&[], &[]), Err("NothingPaid(0)".into()));
    assert_eq!(world.paid_of(1), 0);
    world.claim(1, 1).unwrap();
}

pub(super) fn the_same_item_twice_is_paid_once(code: &Code) {
    let mut world = World::new(code);
    world.post(1, &[10, 20, 30, 40]).unwrap();
    let data = world.claim_call(1, &[1, 1, 3, 1]);
    let claimed = world.call(Who::Stranger, world.vault, data).unwrap();
    assert_eq!(claimed, [world.paid(1, 20), world.paid(3, 40)]);
    assert_eq!(world.balance(world.at(Who::Worker(1))), 20);
}

pub(super) fn the_total_bounds_payments(code: &Code) {
    let mut world = World::new(code);
    let root = Root { total: 25, ..world.root(1, &[10, 20, 30]) };
    world.post_root(&root).unwrap();
    assert_eq!(world.push_all(1).unwrap(), [world.paid(0, 10), world.paid(1, 15), skipped(2, OVER_TOTAL)]);
    assert_eq!(world.push_all(1), Err(format!("NothingPaid({OVER_TOTAL})")));
    assert_eq!(world.claim(1, 2), Err(format!("NothingPaid({OVER_TOTAL})")));
    world.post_root(&Root { total: 60, ..root }).unwrap();
    assert_eq!(world.push_all(1).unwrap(), [world.paid(1, 5), world.paid(2, 30)]);
    // A later root with a total below what was paid pays nothing; it does not wrap around.
    let root = Root { total: 59, ..world.root(2, &[11, 20, 30]) };
    world.post_root(&root).unwrap();
    assert_eq!(world.push_all(2), Err(format!("NothingPaid({OVER_TOTAL})")));
}

pub(super) fn the_cap_bounds_a_period(code: &Code) {
    let mut world = World::with(code, Setup { cap: 25, ..Setup::default() });
    world.post(1, &[10, 20, 30]).unwrap();
    world.push(Who::Leader, 1, 0, 1).unwrap();
    assert_eq!(world.push_all(1).unwrap(), [world.paid(1, 15), skipped(2, OVER_CAP)]);
    world.travel(PERIOD - 1);
    assert_eq!(world.push_all(1), Err(format!("NothingPaid({OVER_CAP})")));
    world.travel(1);
    assert_eq!(world.push_all(1).unwrap(), [world.paid(1, 5), world.paid(2, 20)]);
    // Periods in which nothing happened save nothing up.
    world.travel(10 * PERIOD);
    world.post(2, &[10, 20, 100]).unwrap();
    assert_eq!(world.push_all(2).unwrap(), [world.paid(2, 25)]);
    assert_eq!(world.sums(), [75, 0, 25]);
}

/// The cap is one of fixed periods: around their border twice the cap can leave within a second.
pub(super) fn two_periods_meet(code: &Code) {
    let mut world = World::with(code, Setup { cap: 25, ..Setup::default() });
    world.post(1, &[100]).unwrap();
    world.travel(PERIOD - 1);
    world.push_all(1).unwrap();
    world.travel(1);
    world.push_all(1).unwrap();
    assert_eq!(world.paid_of(0), 50);
    assert_eq!(world.push_all(1), Err(format!("NothingPaid({OVER_CAP})")));
}

pub(super) fn the_funds_bound_payments(code: &Code) {
    let mut world = World::with(code, Setup { funds: 25, ..Setup::default() });
    world.post(1, &[10, 20, 30]).unwrap();
    assert_eq!(world.push_all(1).unwrap(), [world.paid(0, 10), world.paid(1, 15), skipped(2, NO_FUNDS)]);
    assert_eq!(world.push_all(1), Err(format!("NothingPaid({NO_FUNDS})")));
    world.fund(1);
    assert_eq!(world.claim(1, 2).unwrap(), [world.paid(2, 1)]);
    world.fund(100);
    assert_eq!(world.push_all(1).unwrap(), [world.paid(1, 5), world.paid(2, 29)]);
    assert_eq!(world.balance(world.vault), 66);
}

pub(super) fn recipients_that_cannot_use_it_are_skipped(code: &Code) {
    let mut world = World::new(code);
    let mut items = world.items(&[10, 20, 30, 40]);
    (items[0].to, items[1].to, items[2].to) = (world.vault, world.token, Address::ZERO);
    let root = world.root_of(1, items);
    world.post_root(&root).unwrap();
    let bad = |worker| skipped(worker, BAD_RECIPIENT);
    assert_eq!(world.push_all(1).unwrap(), [bad(0), bad(1), bad(2), world.paid(3, 40)]);
    for i in 0..3 {
        let data = world.claim_call(1, &[i]);
        let answer = world.call(Who::Stranger, world.vault, data);
        assert_eq!(answer, Err(format!("NothingPaid({BAD_RECIPIENT})")));
        assert_eq!(world.paid_of(i), 0);
    }
    // A corrected address is paid everything.
    world.post(2, &[10, 20, 30, 40]).unwrap();
    assert_eq!(world.push_all(2).unwrap(), [world.paid(0, 10), world.paid(1, 20), world.paid(2, 30)]);
}

/// A root that says less than was paid takes nothing back, and what follows is counted from what was paid.
pub(super) fn an_owed_total_never_counts_down(code: &Code) {
    let mut world = World::new(code);
    world.post(1, &[10, 20]).unwrap();
    world.push_all(1).unwrap();
    let root = Root { total: 100, ..world.root(2, &[5, 21]) };
    world.post_root(&root).unwrap();
    assert_eq!(world.push_all(2).unwrap(), [world.paid(1, 1)]);
    assert_eq!(world.claim(2, 0), Err("NothingPaid(0)".into()));
    let root = Root { total: 100, ..world.root(3, &[12, 21]) };
    world.post_root(&root).unwrap();
    assert_eq!(world.push_all(3).unwrap(), [world.paid(0, 2)]);
    assert_eq!(world.paid_of(0), 12);
}
