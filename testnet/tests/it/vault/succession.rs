//! A vault that replaces another.

use super::code::Code;
use super::tree::Root;
use super::world::{Deployment, PERIOD, Setup, Who, World};

/// Closes the world's vault and puts a successor in its place.
pub(super) fn succeed(world: &mut World, push_fee: u64) {
    if !world.is_closed() {
        world.close();
    }
    let deployment = Deployment { previous: world.vault, push_fee, ..world.deployment() };
    world.vault = world.deploy(&deployment).unwrap();
    world.fund(1_000);
}

pub(super) fn goes_on_where_the_predecessor_ended(code: &Code) {
    let mut world = World::with(code, Setup { push_fee: 1, ..Setup::default() });
    let root = Root { total: 66, fees: 6, ..world.root(1, &[10, 20, 30]) };
    world.post_root(&root).unwrap();
    world.push(Who::Leader, 1, 0, 2).unwrap();
    let old = world.vault;
    succeed(&mut world, 1);
    assert_eq!(world.sums(), [30, 2, 0]);
    assert_eq!((world.paid_of(0), world.paid_of(2)), (10, 0));
    let root = Root { total: 86, fees: 6, ..world.root(2, &[10, 25, 30, 15]) };
    world.post_root(&root).unwrap();
    let pushed = world.push_all(2).unwrap();
    assert_eq!(pushed[..3], [world.paid(1, 5), world.paid(2, 30), world.paid(3, 15)]);
    assert_eq!(world.sums(), [80, 5, 53]);
    assert_eq!((world.paid_of(0), world.paid_of(1), world.paid_of(2)), (10, 25, 30));
    assert_eq!(world.balance(world.at(Who::Worker(1))), 25);
    // The total counts what the predecessor paid: of 90, 85 are gone.
    let root = Root { total: 90, fees: 5, ..world.root(3, &[20, 25, 30, 15]) };
    world.post_root(&root).unwrap();
    assert_eq!(world.push_all(3).unwrap(), [world.paid(0, 5)]);
    // The old one pays nothing, whatever is signed for it.
    let new = world.vault;
    world.vault = old;
    assert_eq!(world.push_all(1), Err("IsClosed".into()));
    assert_eq!(world.post(9, &[1_000]), Err("IsClosed".into()));
    assert_eq!((world.paid_of(0), world.paid_of(1)), (10, 20));
    world.vault = new;
    assert_eq!(world.paid_of(0), 15);
}

pub(super) fn goes_through_several_vaults(code: &Code) {
    let mut world = World::new(code);
    for generation in 1..=5u64 {
        // Worker 0 grows and is paid everywhere, worker 1 in the first only, worker 2 in the last only.
        let last = if generation == 5 { 9 } else { 0 };
        world.post(1, &[generation * 10, 7, last]).unwrap();
        world.push_all(1).unwrap();
        assert_eq!((world.paid_of(0), world.paid_of(1), world.paid_of(2)), (generation * 10, 7, last));
        assert_eq!(world.sums()[0], generation * 10 + 7 + last);
        if generation < 5 {
            succeed(&mut world, 0);
        }
    }
    assert_eq!(world.balance(world.at(Who::Worker(0))), 50);
    assert_eq!(world.balance(world.at(Who::Worker(1))), 7);
    world.travel(PERIOD);
    assert_eq!(world.push_all(1), Err("NothingPaid(0)".into()));
}

pub(super) fn needs_a_closed_predecessor_of_the_same_token(code: &Code) {
    let mut world = World::new(code);
    let successor = Deployment { previous: world.vault, ..world.deployment() };
    let refused = Err("BadArguments".to_owned());
    assert_eq!(world.deploy(&successor), refused, "it pays");
    world.act(Who::Owner, "pause()", &[]).unwrap();
    world.travel(1_000_000);
    assert_eq!(world.deploy(&successor), refused, "a pause can end");
    world.act(Who::Owner, "unpause()", &[]).unwrap();
    world.act(Who::Owner, "close()", &[]).unwrap();
    assert_eq!(world.deploy(&successor), refused, "it still pays");
    world.travel(1_000_000);
    world.deploy(&successor).unwrap();
    let another = world.deploy_token();
    assert_eq!(world.deploy(&Deployment { token: another, ..successor.clone() }), refused);
    // What is no vault answers nothing.
    for nobody in [world.at(Who::Stranger), world.token] {
        assert!(world.deploy(&Deployment { previous: nobody, ..successor.clone() }).is_err());
    }
}
