//! A crash before every single effect, with and without what was not synced.

use crate::genesis::network;
use crate::world::World;

/// Crashes validator 1 before effect `at` (counted from its start) and lets the world go on to height 7, beyond a second epoch. Validator 3
/// is down all the time, so nothing is decided without the one that crashes.
fn crash_before(at: u64, keeps_unsynced: bool, has_log: bool) -> (World, bool) {
    let mut world = World::new(network(4, 1), 4, 1_000 + at);
    world.down.insert(3);
    world.keeps_unsynced = keeps_unsynced;
    world.has_log = has_log;
    world.reboot_after = Some(200);
    world.nodes[1].crash_at = Some(at);
    let went_on = world.run(120_000, |w| w.lowest() >= 7);
    (world, went_on)
}

/// Number of effects of validator 1 up to height 4, with nothing lost: an epoch is closed, reported, revealed and scored, and
/// another closed.
fn effects_of_an_epoch() -> u64 {
    let mut world = World::new(network(4, 1), 4, 1_000);
    world.down.insert(3);
    assert!(world.run(60_000, |w| w.lowest() >= 4));
    world.nodes[1].effects
}

#[test]
fn invariant_3_nothing_is_signed_twice_whatever_effect_a_crash_precedes() {
    let effects = effects_of_an_epoch();
    assert!(effects > 30, "{effects} effects: the world has been changed, choose the crash points anew");
    for keeps_unsynced in [false, true] {
        for at in 1..=effects {
            let (world, went_on) = crash_before(at, keeps_unsynced, true);
            world.check();
            let heights: Vec<_> = (0..4).map(|i| world.height(i)).collect();
            assert!(went_on, "stalled after a crash before effect {at}, unsynced kept: {keeps_unsynced}: {heights:?}");
        }
    }
}

#[test]
fn invariant_3_holds_when_a_node_crashes_again_while_it_recovers() {
    for at in 1..=effects_of_an_epoch() {
        for further in [1, 2, 3, 4, 6, 9] {
            let mut world = World::new(network(4, 1), 4, 5_000 + at);
            world.down.insert(3);
            world.reboot_after = Some(200);
            world.nodes[1].crash_at = Some(at);
            world.crash_again = Some(further);
            let went_on = world.run(120_000, |w| w.lowest() >= 7);
            world.check();
            assert!(went_on, "stalled after crashes before effect {at} and {further} effects later");
        }
    }
}

/// Negative control: with a node that forgets its log, the monitor must find contradictions.
#[test]
fn without_its_log_an_honest_node_contradicts_itself() {
    let caught =
        (1..=effects_of_an_epoch()).filter(|at| !crash_before(*at, false, false).0.monitor.contradictions.is_empty());
    assert!(caught.count() > 0, "the monitor cannot fail: invariant 3 is not tested");
}
