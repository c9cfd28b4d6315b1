//! The chain goes on when it should, and only then.

use lucid_types::time::EpochNumber;

use crate::genesis::network;
use crate::world::World;

#[test]
fn four_validators_and_a_follower_decide_every_epoch_and_make_roots() {
    let mut world = World::new(network(4, 1), 5, 1);
    assert!(world.run(60_000, |w| w.lowest() >= 8), "heights {:?}", heights(&world));
    world.check();
    let state = world.nodes[4].replica.as_ref().unwrap().state();
    let pool = state.pools.values().next().unwrap();
    assert_eq!(pool.budgets.get(), 3 * 120_000_000, "settlements in blocks 3, 5 and 7");
    let newest = pool.newest.unwrap();
    assert_eq!((newest.settlement, pool.settled), (3, 3));
    assert_eq!(newest.total, pool.owed().unwrap().checked_add(pool.fees).unwrap());
    let leader = network(4, 1).worker(&pool.election.as_ref().unwrap().order[0]).unwrap().gas_address;
    assert!(newest.leader.is_some() && newest.leader == leader);
    // Nobody earned anything in settlement 2: its budget was shared out in the next.
    let earned = |epoch| {
        let rows = world.nodes[4].disk.archive.lock().unwrap().rows[&EpochNumber::new(epoch)].clone();
        rows.rows.iter().map(|row| row.credits.get()).sum::<u64>()
    };
    assert_eq!(earned(3) + earned(4), 0);
    let settlements: Vec<_> = world.promises.roots.keys().map(|(_, settlement)| *settlement).collect();
    assert_eq!((settlements, pool.carried.get()), (vec![1, 3], 0));
    // Blocks are decided promptly: round 0, within a second of the epoch's end.
    for decided in world.nodes[0].disk.blocks.values() {
        assert_eq!(decided.certificate.round, 0);
        assert_eq!(decided.block.commits.len(), 4);
    }
}

#[test]
fn late_commits_and_reveals_have_a_window() {
    let mut world = World::new(network(4, 3), 4, 2);
    assert!(world.run(80_000, |w| w.lowest() >= 12), "heights {:?}", heights(&world));
    world.check();
    let state = world.nodes[0].replica.as_ref().unwrap().state();
    // Epoch e is final in block e + 5: of 12 blocks, epochs 1 to 7.
    assert_eq!(state.row_roots.last_key_value().unwrap().0.get(), 7);
}

#[test]
fn without_a_quorum_nothing_is_decided_and_a_restart_resumes() {
    let mut world = World::new(network(4, 1), 4, 3);
    assert!(world.run(20_000, |w| w.lowest() >= 2));
    let before = world.height(0);
    world.take_down(2);
    world.take_down(3);
    assert!(!world.run(25_000, |w| w.height(0) > before + 1 || w.height(1) > before + 1));
    let stalled = world.height(0);
    assert!(!world.run(25_000, |w| w.height(0) > stalled), "five epochs without a quorum");
    world.restart(2);
    assert!(world.run(60_000, |w| w.height(0) >= stalled + 10), "the missing blocks follow: {:?}", heights(&world));
    world.restart(3);
    assert!(world.run(60_000, |w| w.lowest() >= stalled + 12), "heights {:?}", heights(&world));
    world.check();
}

#[test]
fn a_clock_that_leaps_an_hour_and_is_set_back_stops_nothing() {
    let mut world = World::new(network(4, 1), 4, 6);
    world.take_down(3);
    assert!(world.run(20_000, |w| w.lowest() >= 2));
    world.nodes[..3].iter_mut().for_each(|node| node.ahead = 3_600_000);
    // Whatever they wait for in the round that starts now, they wait for in an hour.
    let is_running = |w: &World, i: usize| w.nodes[i].replica.as_ref().is_some_and(|replica| replica.round().is_some());
    assert!(world.run(20_000, |w| (0..3).all(|i| is_running(w, i))));
    world.loss = 100;
    world.run(1_000, |_| false);
    let stalled = world.lowest();
    world.loss = 0;
    world.nodes[..3].iter_mut().for_each(|node| node.ahead = 0);
    assert!(world.run(60_000, |w| w.lowest() >= stalled + 6), "heights {:?}", heights(&world));
    world.check();
}

#[test]
fn all_restart_at_once() {
    let mut world = World::new(network(4, 1), 4, 4);
    assert!(world.run(20_000, |w| w.lowest() >= 2));
    for node in 0..4 {
        world.take_down(node);
    }
    world.run(12_000, |_| false);
    for node in 0..4 {
        world.restart(node);
    }
    assert!(world.run(60_000, |w| w.lowest() >= 7), "heights {:?}", heights(&world));
    world.check();
}

#[test]
fn a_node_that_starts_late_catches_up() {
    let mut world = World::new(network(4, 1), 4, 5);
    world.down.insert(3);
    assert!(world.run(60_000, |w| w.height(0) >= 6));
    world.restart(3);
    assert!(world.run(30_000, |w| w.lowest() >= 8), "heights {:?}", heights(&world));
    world.check();
}

#[test]
fn lossy_links_and_crashes_neither_fork_nor_stop_the_chain() {
    for seed in 1..=seeds() {
        let count = if seed % 2 == 0 { 4 } else { 7 };
        let mut world = World::new(network(count, 1 + seed % 3), count, seed);
        world.loss = 15;
        for _ in 0..20 {
            let pause = 500 + world.random(2_500);
            world.run(pause, |_| false);
            let node = usize::try_from(world.random(u64::try_from(count).unwrap())).unwrap();
            let ahead = 1 + world.random(40);
            let it = &mut world.nodes[node];
            it.crash_at = it.replica.is_some().then_some(it.effects + ahead);
        }
        world.loss = 0;
        for node in &mut world.nodes {
            node.crash_at = None;
        }
        let goal = (0..count).map(|i| world.height(i)).max().unwrap() + 3;
        assert!(world.run(120_000, |w| w.lowest() >= goal), "seed {seed}: {:?}, goal {goal}", heights(&world));
        world.check();
    }
}

/// How many worlds are tried; `LUCID_SIM_SEEDS` sets another number for a long run.
#[expect(clippy::disallowed_methods, reason = "a knob of the test, not of the replica")]
pub(crate) fn seeds() -> u64 {
    std::env::var("LUCID_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12)
}

pub(crate) fn heights(world: &World) -> Vec<u64> {
    (0..world.nodes.len()).map(|i| world.height(i)).collect()
}
