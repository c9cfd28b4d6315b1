//! Replicas that go on from a later state instead of the blocks up to it.

use std::collections::BTreeMap;

use lucid_consensus::replica::Input;
use lucid_types::time::Height;

use lucid_sim::genesis::{network, signing_key};
use lucid_sim::world::World;

/// Gives a node the state of another one, and on disk what a store holds then: the rows, and of blocks the newest alone.
fn take_over(world: &mut World, node: usize, from: usize) {
    let source = &world.nodes[from];
    let state = source.replica.as_ref().unwrap().state().clone();
    let (rows, newest) = (source.disk.rows.clone(), source.disk.blocks[&state.height()].clone());
    let disk = &mut world.nodes[node].disk;
    (disk.rows, disk.blocks) = (rows, BTreeMap::from([(state.height(), newest)]));
    disk.log.retain(|(height, _)| *height > state.height());
    disk.unsynced.retain(|(height, _)| *height > state.height());
    world.input(node, Input::Snapshot(Box::new(state)));
}

fn heights(world: &World) -> Vec<u64> {
    (0..world.nodes.len()).map(|i| world.height(i)).collect()
}

/// Wherever in a height it was cut off, whatever it had signed there: it goes on at the next one, and its votes count.
#[test]
fn a_validator_that_takes_over_a_state_is_one_of_those_who_decide_the_next_blocks() {
    for moment in 0..12 {
        let mut world = World::new(network(4, 1), 4, 300 + moment);
        world.run(700 + 193 * moment, |_| false);
        world.cut(Some(3));
        let height = world.height(3);
        assert!(world.run(600_000, |w| w.height(0) >= height + 30), "{moment}: {:?}", heights(&world));
        assert!(world.height(3) <= height + 1, "it was cut off");
        world.cut(None);
        take_over(&mut world, 3, 0);
        let taken = world.height(3);
        // Nobody can be spared from now on.
        world.take_down(1);
        assert!(world.run(600_000, |w| w.lowest() >= taken + 10), "{moment}: {:?}", heights(&world));
        world.check();
        let me = signing_key(3).id();
        let votes = |height: u64| {
            let certificate = &world.nodes[0].disk.blocks[&Height::new(height)].certificate;
            certificate.signatures.iter().any(|(signer, _)| *signer == me)
        };
        assert!((taken + 2..=taken + 10).all(votes), "{moment}");

        // A crash, and it goes on from the rows.
        world.kill(3);
        world.restart(3);
        let height = world.lowest();
        assert!(world.run(600_000, |w| w.lowest() >= height + 5), "{moment}: {:?}", heights(&world));
        world.check();
    }
}

#[test]
fn a_follower_takes_over_a_state_and_follows() {
    let mut world = World::new(network(4, 1), 5, 7);
    world.run(2_000, |_| false);
    world.cut(Some(4));
    let height = world.height(4);
    assert!(world.run(600_000, |w| w.height(0) >= height + 30));
    world.cut(None);
    take_over(&mut world, 4, 2);
    let taken = world.height(4);
    assert!(world.run(600_000, |w| w.lowest() >= taken + 10), "{:?}", heights(&world));
    world.check();
    let root = |node: usize| world.nodes[node].disk.blocks[&Height::new(taken + 10)].block.header.state_root;
    assert_eq!(root(4), root(0));
    assert!(!world.nodes[4].disk.blocks.contains_key(&Height::new(taken - 1)));
}

#[test]
fn an_older_state_changes_nothing() {
    let mut world = World::new(network(4, 1), 4, 11);
    assert!(world.run(60_000, |w| w.lowest() >= 5));
    let old = world.nodes[0].replica.as_ref().unwrap().state().clone();
    assert!(world.run(60_000, |w| w.lowest() >= 8));
    for state in [old, world.nodes[2].replica.as_ref().unwrap().state().clone()] {
        let before = world.nodes[2].replica.as_ref().unwrap().state().clone();
        world.input(2, Input::Snapshot(Box::new(state)));
        assert_eq!(world.nodes[2].replica.as_ref().unwrap().state(), &before);
    }
    assert!(world.run(60_000, |w| w.lowest() >= 12), "{:?}", heights(&world));
    world.check();
}
