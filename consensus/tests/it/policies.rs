//! The network's policy changes while the network decides, whatever is lost and whoever crashes. The monitor computes apart from the code
//! under test which policy is in force when, and what each epoch's workers earn by it.

use lucid_consensus::ledger::state::Rows;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::change::PolicyChange;
use lucid_types::policy::{Policy, ScoreWeights};
use lucid_types::time::Height;

use crate::liveness::{heights, seeds};
use crate::validators::{change, state};
use lucid_sim::genesis::network;
use lucid_sim::world::World;

/// The newest policy with other values of what is drawn, measured, earned and paid by.
fn other(world: &mut World) -> PolicyChange {
    let newest = Policy::clone(state(world).policies().newest().1);
    let mut random = |below: u64| world.random(below);
    let trust = u32::try_from(random(100_000)).unwrap();
    let whole = ScoreWeights::default();
    let policy = Policy {
        pings: 2 + u32::try_from(random(4)).unwrap(),
        echo_every: 1 + random(2),
        // All three: the monitor does not know who is not drawn.
        max_scored: 3 + u32::try_from(random(3)).unwrap(),
        echo_bytes_per_credit: 1_000 * (1 + random(100)),
        storage_credits_per_gib: random(4_000),
        one_per_network: random(2) == 0,
        min_reporters: 1 + u32::try_from(random(2)).unwrap(),
        full_credits: 1 + random(100),
        weights: ScoreWeights {
            trust: Ppm::new(trust),
            session_time: Ppm::new(whole.session_time.get() + whole.trust.get() - trust.min(whole.trust.get())),
            work_credits: Ppm::new(whole.work_credits.get() - trust.saturating_sub(whole.trust.get())),
            ..whole
        },
        payout_threshold: MicroUsdt::new(random(1_000_000)),
        stamp_bits: 8 + u8::try_from(random(3)).unwrap(),
        free_joins: newest.free_joins + 1,
        ..newest
    };
    PolicyChange { base: newest.hash(), policy }
}

#[test]
fn the_policy_changes_at_random_while_messages_are_lost_and_nodes_crash() {
    for seed in 1..=seeds().div_ceil(2) {
        let mut world = World::new(network(4, 1), 4, 970 + seed);
        world.loss = 5;
        world.run(10_000, |w| w.lowest() >= 2);
        for round in 0..6 {
            let by = usize::try_from(world.random(4)).unwrap();
            let next = other(&mut world);
            change(&mut world, next.clone(), by);
            assert_eq!(**state(&world).policies().newest().1, next.policy, "seed {seed}");
            if round == 2 {
                world.take_down(3);
            }
            let pause = world.random(12_000);
            world.run(pause, |_| false);
            if round == 4 {
                world.restart(3);
            }
        }
        let from = state(&world).policies().newest().0;
        let is_over = |w: &World| w.final_through() > from.get() + 1;
        assert!(world.run(120_000, is_over), "seed {seed}: {:?}", heights(&world));
        world.loss = 0;
        let goal = state(&world).height().plus(4).get();
        let is_level = |w: &World| w.lowest() >= goal && w.lowest() == w.highest();
        assert!(world.run(120_000, is_level), "seed {seed}: {:?}, goal {goal}", heights(&world));
        let first = world.nodes[0].replica.as_ref().unwrap().state();
        assert!(world.nodes[1..].iter().all(|node| node.replica.as_ref().unwrap().state() == first), "seed {seed}");
        assert_eq!(first.policies().iter().count(), 7);
        assert!(first.height() > Height::ZERO && first.accounts_balance());
        world.check();
    }
}
