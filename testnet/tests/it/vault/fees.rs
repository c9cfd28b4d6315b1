//! The push fee: who earns it, and that payments never depend on it.

use super::abi::Event;
use super::code::Code;
use super::tokens::{Mode, misbehave};
use super::tree::Root;
use super::world::{PERIOD, Setup, Token, Who, World};

fn world(code: &Code, cap: u64, funds: u64) -> World {
    World::with(code, Setup { push_fee: 3, cap, funds, ..Setup::default() })
}

/// Posts the root of what the workers are owed with an allowance for fees, and a turn that ends then.
fn post(world: &mut World, settlement: u64, owed: &[u64], fees: u64, until: u64) -> Root {
    let root = world.root(settlement, owed);
    let root = Root { total: root.total + fees, fees, until, ..root };
    world.post_root(&root).unwrap();
    root
}

fn fee(world: &World, to: Who, amount: u64) -> Event {
    Event::FeePaid { to: world.at(to), amount }
}

pub(super) fn only_the_leader_earns_them_in_its_turn(code: &Code) {
    let mut world = world(code, 1_000, 1_000);
    let until = world.now() + 180;
    post(&mut world, 1, &[10, 20, 30, 40], 100, until);
    assert_eq!(world.push(Who::Stranger, 1, 0, 1).unwrap(), [world.paid(0, 10)], "others may push, without a fee");
    let pushed = world.push(Who::Leader, 1, 0, 3).unwrap();
    assert_eq!(pushed, [world.paid(1, 20), world.paid(2, 30), fee(&world, Who::Leader, 6)]);
    world.travel_to(until - 1);
    post(&mut world, 2, &[11, 20, 30, 40], 100, until);
    assert_eq!(world.push(Who::Stranger, 2, 0, 1).unwrap(), [world.paid(0, 1)]);
    world.travel_to(until);
    let pushed = world.push(Who::Stranger, 2, 3, 1).unwrap();
    assert_eq!(pushed, [world.paid(3, 40), fee(&world, Who::Stranger, 3)]);
    assert_eq!(world.balance(world.at(Who::Leader)), 6);
    assert_eq!(world.balance(world.at(Who::Stranger)), 3);
    assert_eq!(world.sums(), [101, 9, 110]);
    assert_eq!(world.balance(world.vault), 1_000 - 110);
}

pub(super) fn end_with_the_allowance(code: &Code) {
    let mut world = world(code, 1_000, 1_000);
    let root = post(&mut world, 1, &[10, 20, 30, 40], 7, 0);
    // Room for two of three.
    let pushed = world.push(Who::Leader, 1, 0, 3).unwrap();
    assert_eq!(pushed, [world.paid(0, 10), world.paid(1, 20), world.paid(2, 30), fee(&world, Who::Leader, 6)]);
    assert_eq!(world.push(Who::Leader, 1, 3, 1).unwrap(), [world.paid(3, 40)], "1 is left, a fee is 3");
    // The allowance is cumulative.
    world.post_root(&Root { total: root.total + 2, fees: 9, ..root }).unwrap();
    post(&mut world, 2, &[11, 20, 30, 40], 9, 0);
    assert_eq!(world.push_all(2).unwrap(), [world.paid(0, 1), fee(&world, Who::Leader, 3)]);
    post(&mut world, 3, &[12, 20, 30, 40], 9, 0);
    assert_eq!(world.push_all(3).unwrap(), [world.paid(0, 1)]);
    assert_eq!(world.sums()[1], 9);
}

pub(super) fn a_partial_payment_earns_none(code: &Code) {
    let mut world = world(code, 1_000, 15);
    post(&mut world, 1, &[10, 20], 100, 0);
    let pushed = world.push_all(1).unwrap();
    assert_eq!(pushed[..2], [world.paid(0, 10), world.paid(1, 5)]);
    assert_eq!(pushed.len(), 2, "nothing is left for the fee of the first");
    world.fund(12);
    assert_eq!(world.push_all(1).unwrap(), [world.paid(1, 12)]);
    world.fund(100);
    assert_eq!(world.push_all(1).unwrap(), [world.paid(1, 3), fee(&world, Who::Leader, 3)], "what completes it does");
    assert_eq!(world.sums(), [30, 3, 33]);
}

pub(super) fn count_in_total_cap_and_funds(code: &Code) {
    // Total: 10 + 3 were spent of 26, so 13 are left for the second.
    let mut total = world(code, 1_000, 1_000);
    let root = Root { total: 26, fees: 6, ..total.root(1, &[10, 20]) };
    total.post_root(&root).unwrap();
    assert_eq!(total.push(Who::Leader, 1, 0, 1).unwrap(), [total.paid(0, 10), fee(&total, Who::Leader, 3)]);
    assert_eq!(total.push(Who::Leader, 1, 1, 1).unwrap(), [total.paid(1, 13)]);
    // Cap: the same of 26 a period.
    let mut cap = world(code, 26, 1_000);
    post(&mut cap, 1, &[10, 20], 6, 0);
    cap.push(Who::Leader, 1, 0, 1).unwrap();
    assert_eq!(cap.push(Who::Leader, 1, 1, 1).unwrap(), [cap.paid(1, 13)]);
    cap.travel(PERIOD);
    assert_eq!(cap.push(Who::Leader, 1, 1, 1).unwrap(), [cap.paid(1, 7), fee(&cap, Who::Leader, 3)]);
    assert_eq!(cap.sums(), [30, 6, 10]);
    // Funds.
    let mut funds = world(code, 1_000, 26);
    post(&mut funds, 1, &[10, 20], 6, 0);
    funds.push(Who::Leader, 1, 0, 1).unwrap();
    assert_eq!(funds.push(Who::Leader, 1, 1, 1).unwrap(), [funds.paid(1, 13)]);
    assert_eq!(funds.balance(funds.vault), 0);
}

pub(super) fn payments_stand_without_them(code: &Code) {
    // Accounts come before fees: of 30, all goes to them.
    let mut world = world(code, 1_000, 32);
    post(&mut world, 1, &[10, 20], 6, 0);
    assert_eq!(world.push_all(1).unwrap(), [world.paid(0, 10), world.paid(1, 20)]);
    assert_eq!(world.balance(world.vault), 2);
    // A token that refuses the pusher.
    let setup = Setup { token: Token::Hostile, push_fee: 3, ..Setup::default() };
    let mut world = World::with(code, setup);
    post(&mut world, 1, &[10, 20], 6, 0);
    misbehave(&mut world, Mode::Refuse, Some(Who::Leader), 0);
    assert_eq!(world.push_all(1).unwrap(), [world.paid(0, 10), world.paid(1, 20)]);
    assert_eq!(world.sums(), [30, 0, 30], "no fee is counted that was not paid");
}

pub(super) fn a_claim_earns_one(code: &Code) {
    let mut world = world(code, 1_000, 1_000);
    let until = world.now() + 10;
    post(&mut world, 1, &[10, 20], 6, until);
    assert_eq!(world.claim(1, 0).unwrap(), [world.paid(0, 10)]);
    world.travel_to(until);
    let claimed = world.claim(1, 1).unwrap();
    assert_eq!(claimed, [world.paid(1, 20), fee(&world, Who::Worker(1), 3)]);
    assert_eq!(world.balance(world.at(Who::Worker(1))), 23);
}
