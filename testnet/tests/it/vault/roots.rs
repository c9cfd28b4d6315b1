//! Which roots the vault takes.

use super::abi::Event;
use super::code::Code;
use super::tree::Root;
use super::world::{Who, World};

pub(super) fn a_root_is_posted(code: &Code) {
    let mut world = World::new(code);
    let root = Root { fees: 7, total: 67, until: 1_800_000_000, ..world.root(5, &[10, 20, 30]) };
    let Root { settlement, total, fees, leader, until, .. } = root;
    let event = Event::RootPosted { settlement, root: root.root, total, fees, leader, until };
    assert_eq!(world.post_root(&root), Ok(vec![event]));
    assert_eq!(world.head(), [5, 67, 7, 1, 0, 2]);
    assert_eq!(world.read("root()", &[]), root.root);
}

pub(super) fn an_empty_root_is_refused(code: &Code) {
    let mut world = World::new(code);
    let root = Root { root: [0; 32], ..world.root(1, &[10]) };
    assert_eq!(world.post_root(&root), Err("BadRoot".into()));
    let root = world.root(0, &[10]);
    assert_eq!(world.post_root(&root), Err("Stale(0)".into()), "settlements count from 1");
}

pub(super) fn without_a_root_nothing_is_paid(code: &Code) {
    let mut world = World::new(code);
    let _ = world.root(0, &[10, 20]);
    assert_eq!(world.push_all(0), Err("Stale(0)".into()));
    assert_eq!(world.claim(0, 1), Err("Stale(0)".into()));
    assert_eq!(world.push_all(1), Err("Stale(0)".into()));
}

pub(super) fn a_newer_root_replaces_the_older(code: &Code) {
    let mut world = World::new(code);
    let fifth = world.root(5, &[10, 20]);
    world.post_root(&fifth).unwrap();
    let old = world.clone();
    let fourth = world.root(4, &[15, 25]);
    assert_eq!(world.post_root(&fourth), Err("Stale(5)".into()));
    // Lower totals too: an honest root must be able to follow a thief's.
    world.post(6, &[10, 9]).unwrap();
    assert_eq!(world.post_root(&fifth), Err("Stale(6)".into()));
    assert_eq!(world.push(Who::Leader, 5, 0, 2), Err("Stale(6)".into()), "under the older number");
    let data = old.range_call(6, 0, 2);
    assert_eq!(world.call(Who::Leader, world.vault, data), Err("BadProof".into()), "with the older items");
    world.push_all(6).unwrap();
    assert_eq!((world.paid_of(0), world.paid_of(1)), (10, 9));
    // However far ahead a number is.
    world.post(u64::MAX, &[11, 20]).unwrap();
    world.push_all(u64::MAX).unwrap();
    assert_eq!(world.post(7, &[12, 20]), Err(format!("Stale({})", u64::MAX)));
}

pub(super) fn the_same_root_may_be_posted_again(code: &Code) {
    let mut world = World::new(code);
    let root = Root { fees: 5, total: 35, ..world.root(5, &[10, 20]) };
    world.post_root(&root).unwrap();
    world.push_all(5).unwrap();
    world.post_root(&root).unwrap();
    assert_eq!(world.push_all(5), Err("NothingPaid(0)".into()), "what was paid stays paid");
    // The total rises when a theft is booked.
    let higher = Root { total: 50, fees: 9, ..root };
    world.post_root(&higher).unwrap();
    assert_eq!(world.head()[..3], [5, 50, 9]);
    let stale = Err("Stale(5)".to_owned());
    assert_eq!(world.post_root(&root), stale, "the old signatures would lower it again");
    assert_eq!(world.post_root(&Root { total: 49, ..higher }), stale);
    assert_eq!(world.post_root(&Root { fees: 8, ..higher }), stale);
    assert_eq!(world.post_root(&Root { leader: world.at(Who::Stranger), ..higher }), stale);
    assert_eq!(world.post_root(&Root { until: 1, ..higher }), stale);
    assert_eq!(world.post_root(&Root { root: [7; 32], ..higher }), stale);
    assert_eq!(world.head()[..3], [5, 50, 9]);
    world.post_root(&higher).unwrap();
}

pub(super) fn a_pause_does_not_stop_posting(code: &Code) {
    let mut world = World::new(code);
    world.post(1, &[1_000]).unwrap();
    world.act(Who::Signer(0), "pause()", &[]).unwrap();
    // This is how an honest root takes a thief's place before payments go on.
    world.post(2, &[10, 20]).unwrap();
    assert_eq!(world.push_all(2), Err("IsPaused".into()));
    world.act(Who::Owner, "unpause()", &[]).unwrap();
    world.push_all(2).unwrap();
    world.close();
    assert_eq!(world.post(3, &[11, 21]), Err("IsClosed".into()));
}
