//! The chain goes on when it should, and only then.

use std::sync::Arc;

use lucid_consensus::ledger::state::Rows;
use lucid_consensus::ledger::table::Workers;
use lucid_consensus::replica::Input;
use lucid_types::pool::PoolAction;
use lucid_types::time::Epoch;
use lucid_types::vote::Wake;

use lucid_sim::genesis::{network, owner_key, signing_key};
use lucid_sim::pool::{by_owner, sign};
use lucid_sim::world::World;

/// Whoever can make heights chooses which of them closes an epoch, and with what beacon. One of four wakes the others in vain.
#[test]
fn a_few_validators_make_no_heights() {
    let heights_of_epochs = |wakes: bool| {
        let mut world = World::new(network(4, 1), 4, 19);
        world.run(100, |_| false);
        world.take_down(3);
        let (liar, network) = (signing_key(3), Arc::clone(&world.spec));
        while world.final_through() < 6 {
            if wakes {
                for node in 0..3 {
                    let height = world.nodes[node].replica.as_ref().unwrap().state().height().next();
                    world.input(node, Input::Wake(liar.sign_wake(network.id(), Wake { height })));
                }
            }
            world.run(50, |_| false);
        }
        world.check();
        world.lowest()
    };
    let (calm, woken) = (heights_of_epochs(false), heights_of_epochs(true));
    assert!(woken <= calm + 1, "{calm} heights, and {woken} with wakes");
}

/// The core decides on its own precommit before it publishes it. With nobody to spare, the others decide only if it leaves all the same.
#[test]
fn every_precommit_leaves_that_others_need_to_decide() {
    let mut world = World::new(network(4, 1), 4, 17);
    world.polls = false;
    world.run(100, |_| false);
    world.take_down(3);
    assert!(world.run(60_000, |w| w.lowest() >= 20), "heights {:?}", heights(&world));
    for (height, decided) in world.nodes[0].disk.blocks.iter().take_while(|(height, _)| height.get() < 20) {
        let (round, block) = (decided.certificate.round, decided.certificate.block);
        assert_eq!(world.monitor.precommits(*height, round, block), 3, "height {height}");
    }
    world.check();
}

#[test]
fn four_validators_and_a_follower_score_every_epoch_and_make_roots() {
    let mut world = World::new(network(4, 1), 5, 1);
    assert!(world.run(60_000, |w| w.final_through() >= 6), "heights {:?}", heights(&world));
    world.check();
    let state = world.nodes[4].replica.as_ref().unwrap().state();
    let (id, pool) = state.pools().next().unwrap();
    assert_eq!(pool.budgets.get(), 3 * 120_000_000, "settlements of epochs 2, 4 and 6");
    assert_eq!(pool.settled, 3);
    // A settlement in which nobody earned anything makes no root; its budget is shared out in the next.
    let scores = &world.nodes[4].disk.scores;
    let rows = |settlement: u64| [2 * settlement - 1, 2 * settlement].map(|epoch| scores[&Epoch::new(epoch)].clone());
    let earned = |settlement: &u64| rows(*settlement).iter().flat_map(|it| &it.rows).any(|row| row.credits.get() > 0);
    let earning: Vec<_> = (1..=3).filter(earned).collect();
    let settlements: Vec<_> = world.promises.roots.keys().map(|(_, settlement)| *settlement).collect();
    assert_eq!(settlements, earning);
    let newest = pool.newest.unwrap();
    assert_eq!(newest.settlement, *earning.last().unwrap());
    assert_eq!(newest.total, state.owed(&id).unwrap().checked_add(pool.fees).unwrap());
    let leader = state.node(&pool.election.as_ref().unwrap().leader().unwrap()).unwrap().gas_address;
    assert!(newest.settlement < 3 || newest.leader.is_some() && newest.leader == leader);
    // Nothing waits: blocks are decided in round 0, and each epoch takes three of them, within 2 s of its end.
    let blocks: Vec<_> = world.nodes[0].disk.blocks.values().collect();
    assert!(blocks.iter().all(|decided| decided.certificate.round == 0));
    let genesis = world.spec.genesis().clone();
    for (epoch, blocks) in (1..=6).zip(blocks.chunks(3)) {
        let of = |i: usize| &blocks[i].block;
        assert_eq!((of(1).commitments.len(), of(2).reveals.len()), (4, 4), "epoch {epoch}");
        let delay = genesis.epoch_end(Epoch::new(epoch)).until(of(2).header.time);
        assert!(delay < std::time::Duration::from_secs(2), "epoch {epoch}: {delay:?}");
    }
}

/// Heights and epochs are apart: an item makes blocks between the ends of epochs, and without one there are none.
#[test]
fn blocks_come_when_there_is_something_to_decide() {
    let mut world = World::new(network(4, 1), 4, 14);
    assert!(world.run(60_000, |w| w.final_through() >= 2));
    let height = world.highest();
    let end = world.spec.genesis().epoch_end(Epoch::new(3));
    assert!(!world.run(4_000, |w| w.highest() > height) && world.now < end, "nothing to decide");
    let (id, pool) = (*world.spec.id(), world.first.pools().next().unwrap().0);
    let command = by_owner(&owner_key(), 0, pool, PoolAction::Suspend(true));
    let command = sign(&id, &command, &[owner_key()]).verify(&id).unwrap();
    for node in 0..4 {
        world.input(node, Input::Command(command.clone()));
    }
    let given = world.now;
    assert!(world.run(2_000, |w| w.lowest() == height + 1), "heights {:?}", heights(&world));
    assert!(given.until(world.now) < std::time::Duration::from_millis(1_000) && world.now < end);
    let state = world.nodes[0].replica.as_ref().unwrap().state();
    assert_eq!((state.closed().get(), state.pools().next().unwrap().1.commands), (2, 1));
    world.check();
}

/// Agreement does not wait for measurements: a validator that does not report is absent, and nobody need report.
#[test]
fn a_stall_of_measuring_stalls_no_agreement() {
    let mut world = World::new(network(4, 1), 4, 15);
    world.reports = false;
    assert!(world.run(60_000, |w| w.final_through() >= 5), "heights {:?}", heights(&world));
    let state = world.nodes[0].replica.as_ref().unwrap().state();
    assert!(state.head().scored.get() >= 5 && state.all::<Workers>().all(|(_, stats)| stats.measured() == Epoch::ZERO));
    world.check();
}

#[test]
fn windows_of_three_blocks_take_seven_an_epoch() {
    let mut world = World::new(network(4, 3), 4, 2);
    assert!(world.run(80_000, |w| w.final_through() >= 7), "heights {:?}", heights(&world));
    world.check();
    // One block closes an epoch, three take commitments, and three reveals.
    assert_eq!(world.highest(), 7 * 7);
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
    assert!(world.run(60_000, |w| w.height(0) >= stalled + 10), "heights {:?}", heights(&world));
    world.restart(3);
    assert!(world.run(60_000, |w| w.lowest() >= stalled + 12), "heights {:?}", heights(&world));
    world.check();
}

/// The time of blocks is that of their proposers' clocks: one that is wrong gets no block of its own, and stops nobody.
#[test]
fn a_wrong_clock_moves_no_time() {
    for ahead in [-3_000, 3_600_000] {
        let mut world = World::new(network(4, 1), 4, 6);
        world.nodes[2].ahead = ahead;
        assert!(world.run(90_000, |w| w.final_through() >= 5), "heights {:?}", heights(&world));
        world.check();
        let wrong = signing_key(2).id();
        let blocks: Vec<_> = world.nodes[0].disk.blocks.values().map(|decided| &decided.block).collect();
        assert!(blocks.iter().all(|block| block.header.proposer != wrong), "{ahead} ms");
        assert!(blocks.iter().all(|block| block.header.time <= world.now), "{ahead} ms");
        // As soon as it is set right, its turns count again.
        world.set_clock_right(2);
        let height = world.highest();
        assert!(world.run(60_000, |w| w.lowest() >= height + 12), "heights {:?}", heights(&world));
        world.check();
        let blocks = world.nodes[0].disk.blocks.values().map(|decided| &decided.block);
        assert!(blocks.skip(usize::try_from(height).unwrap()).any(|block| block.header.proposer == wrong));
    }
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
    std::env::var("LUCID_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(7)
}

pub(crate) fn heights(world: &World) -> Vec<u64> {
    (0..world.nodes.len()).map(|i| world.height(i)).collect()
}
