//! The pool's owner directs it, whatever is lost and whoever crashes.

use std::time::Duration;

use lucid_consensus::ledger::command::CommandRefused;
use lucid_consensus::ledger::state::State;
use lucid_consensus::replica::Input;
use lucid_types::amount::MicroUsdt;
use lucid_types::command::{Action, Command};
use lucid_types::pool::PoolAction;

use crate::liveness::{heights, seeds};
use lucid_sim::genesis::{network, owner_key, worker_id};
use lucid_sim::pool::{by_owner, sign};
use lucid_sim::world::World;

#[test]
fn commands_apply_once_and_alike_on_every_replica() {
    let mut applied = Vec::new();
    for seed in 1..=seeds() {
        let count = if seed % 2 == 0 { 4 } else { 7 };
        // The last one follows without a vote.
        let mut world = World::new(network(count, 1 + seed % 3), count + 1, 700 + seed);
        world.hire_owner();
        world.loss = 10;
        for _ in 0..12 {
            let pause = 1_000 + world.random(4_000);
            world.run(pause, |_| false);
            let node = usize::try_from(world.random(u64::try_from(count + 1).unwrap())).unwrap();
            let ahead = 1 + world.random(40);
            let it = &mut world.nodes[node];
            it.crash_at = it.replica.is_some().then_some(it.effects + ahead);
        }
        world.loss = 0;
        world.nodes.iter_mut().for_each(|node| node.crash_at = None);
        world.run(60_000, |_| false);
        world.owner = None;
        let goal = world.highest() + 3;
        let is_level = |w: &World| w.lowest() >= goal && w.lowest() == w.highest();
        assert!(world.run(120_000, is_level), "seed {seed}: {:?}, goal {goal}", heights(&world));
        world.check();
        let first = world.nodes[0].replica.as_ref().unwrap().state();
        for node in &world.nodes[1..] {
            assert_eq!(node.replica.as_ref().unwrap().state(), first, "seed {seed}");
        }
        follows(first, &world.promises.commands);
        applied.extend(world.promises.commands);
    }
    let of = |kind: fn(&PoolAction) -> bool| applied.iter().filter(|command| kind(action(command))).count();
    for (kind, count) in [
        ("hold", of(|it| matches!(it, PoolAction::Hold(_)))),
        ("resume", of(|it| matches!(it, PoolAction::Resume(_)))),
        ("suspend", of(|it| matches!(it, PoolAction::Suspend(true)))),
        ("correct", of(|it| matches!(it, PoolAction::Correct { .. }))),
        ("losses", of(|it| matches!(it, PoolAction::Losses(_)))),
        ("signers", of(|it| matches!(it, PoolAction::Signers { .. }))),
        ("limits", of(|it| matches!(it, PoolAction::Limits { .. }))),
    ] {
        assert!(count > 5, "hardly a block holds a command to {kind}: choose the seeds anew");
    }
}

fn action(command: &Command) -> &PoolAction {
    let Action::Pool { action, .. } = &command.action else { panic!("{command:?}") };
    action
}

/// The pool stands as the commands in its blocks say, each counted once.
fn follows(state: &State, commands: &[Command]) {
    let (id, pool) = state.pools().next().unwrap();
    let count = |kind: fn(&PoolAction) -> bool| commands.iter().filter(|command| kind(action(command))).count();
    let (mut losses, mut corrections, mut suspended) = (0, 0, false);
    for command in commands {
        match action(command) {
            PoolAction::Losses(amount) => losses += amount.get(),
            PoolAction::Correct { amount, .. } => corrections += amount.get(),
            PoolAction::Suspend(is_suspended) => suspended = *is_suspended,
            _ => {}
        }
    }
    assert_eq!(pool.commands, u64::try_from(commands.len()).unwrap());
    assert_eq!((pool.losses.get(), pool.suspended_from.is_some()), (losses, suspended));
    let waiting = MicroUsdt::sum(state.accounts(&id).map(|(_, account)| account.correction)).unwrap();
    let promised = (pool.settled * 120_000_000 + corrections).min(1 << 62);
    assert_eq!(pool.budgets.get() + waiting.get(), promised, "at height {}", state.height());
    let rotations = count(|it| matches!(it, PoolAction::Signers { .. }));
    let limits = count(|it| matches!(it, PoolAction::Limits { .. }));
    assert_eq!(usize::try_from(pool.vault.signers.era).unwrap(), 1 + rotations);
    assert_eq!(usize::try_from(pool.vault.nonce).unwrap(), rotations + limits);
}

/// Whoever is told includes the command when its turn to propose comes.
#[test]
fn one_node_that_knows_a_command_is_enough() {
    let mut world = World::new(network(4, 1), 4, 11);
    assert!(world.run(20_000, |w| w.lowest() >= 1));
    let id = *world.spec.id();
    let pool = world.first.pools().next().unwrap().0;
    let hold = by_owner(&owner_key(), 0, pool, PoolAction::Hold(worker_id(1)));
    let command = sign(&id, &hold, &[owner_key()]);
    world.input(2, Input::Command(command.verify(&id).unwrap()));
    // With its next turn, whenever the beacons give it one.
    assert!(world.run(120_000, |w| !w.promises.commands.is_empty()), "no block holds it");
    assert_eq!(world.promises.commands, [hold]);
    world.check();
}

/// What a node has acknowledged outlives the node's end, though nobody else has heard of it.
#[test]
fn an_acknowledged_command_is_not_lost() {
    let mut world = World::new(network(4, 1), 4, 31);
    assert!(world.run(20_000, |w| w.lowest() >= 1));
    let id = *world.spec.id();
    let pool = world.first.pools().next().unwrap().0;
    let submit = |world: &mut World, action, nonce| {
        let command = sign(&id, &by_owner(&owner_key(), nonce, pool, action), &[owner_key()]);
        world.input(2, Input::Submit(command.verify(&id).unwrap()));
        world.answers.pop().unwrap()
    };
    world.loss = 100;
    let owner = owner_key().account();
    let refused = Err(CommandRefused::NotHeld);
    assert_eq!(submit(&mut world, PoolAction::Resume(worker_id(1)), 0), (owner, 0, refused));
    let hold = PoolAction::Hold(worker_id(1));
    assert_eq!(submit(&mut world, hold.clone(), 0), (owner, 0, Ok(())));
    assert_eq!(submit(&mut world, hold.clone(), 0), (owner, 0, Ok(())), "its user asks again");
    let other = submit(&mut world, PoolAction::Hold(worker_id(2)), 0);
    assert_eq!(other.2, Err(CommandRefused::Conflict(0)));
    let it = &mut world.nodes[2];
    it.crash_at = Some(it.effects + 1);
    assert!(world.run(60_000, |w| w.nodes[2].replica.is_none()));
    world.loss = 0;
    assert!(world.run(60_000, |w| w.promises.commands.len() == 1));
    assert_eq!(action(&world.promises.commands[0]), &hold);
    assert!(world.run(60_000, |w| w.nodes[2].disk.commands.is_empty()), "a block holds it");
    world.check();
}

/// A node forgets nothing that it has acknowledged for a clock that was half a day ahead, or is after a restart.
#[test]
fn a_clock_that_is_half_a_day_off_before_a_restart_or_after_it_loses_no_command() {
    const HALF_A_DAY: i64 = 43_200_000;
    let ten_seconds = Duration::from_secs(10);
    for (before, after, lasts) in [(HALF_A_DAY, 0, Command::MAX_AHEAD + ten_seconds), (0, HALF_A_DAY, 6 * ten_seconds)]
    {
        let mut world = World::new(network(4, 1), 4, 31);
        assert!(world.run(20_000, |w| w.lowest() >= 1));
        let (id, pool) = (*world.spec.id(), world.first.pools().next().unwrap().0);
        let hold = by_owner(&owner_key(), 0, pool, PoolAction::Hold(worker_id(1)));
        let hold = Command { until: world.now.after(lasts), ..hold };
        let command = sign(&id, &hold, &[owner_key()]).verify(&id).unwrap();
        // Nobody else hears of it.
        world.loss = 100;
        world.nodes[2].ahead = before;
        world.input(2, Input::Submit(command));
        assert_eq!(world.answers.pop().unwrap().2, Ok(()));
        world.kill(2);
        world.nodes[2].ahead = after;
        world.restart(2);
        world.run(2_000, |_| false);
        assert!(world.nodes[2].replica.is_some());
        world.set_clock_right(2);
        world.loss = 0;
        assert!(world.run(60_000, |w| !w.promises.commands.is_empty()), "{before} ms before, {after} ms after");
        assert_eq!(world.promises.commands, [hold]);
        world.check();
    }
}
