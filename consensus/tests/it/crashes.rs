//! A crash before every single effect, with and without what was not synced.

use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::engine::wal::WalEntry;
use lucid_consensus::replica::{Effect, Failure, Gossip, Input, Replica, Restore};
use lucid_types::message::ConsensusMessage;
use lucid_types::time::Height;
use lucid_types::vote::Vote;

use lucid_sim::genesis::{keyring, network, signing_key};
use lucid_sim::world::World;

/// Crashes validator 1 before effect `at` (counted from its start) and lets the world go on to height 7, beyond a second epoch. Validator 3
/// is down all the time, so nothing is decided without the one that crashes.
fn crash_before(at: u64, keeps_unsynced: bool) -> (World, bool) {
    let mut world = World::new(network(4, 1), 4, 1_000 + at);
    world.down.insert(3);
    world.keeps_unsynced = keeps_unsynced;
    world.reboot_after = Some(200);
    world.nodes[1].crash_at = Some(at);
    let went_on = world.run(120_000, |w| w.lowest() >= 7);
    (world, went_on)
}

/// Number of effects of validator 1 up to height 4, with nothing lost: an epoch is closed, reported, revealed and scored, and
/// another closed.
pub(crate) fn effects_of_an_epoch() -> u64 {
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
            let (world, went_on) = crash_before(at, keeps_unsynced);
            world.check();
            let heights: Vec<_> = (0..4).map(|i| world.height(i)).collect();
            assert!(went_on, "stalled after a crash before effect {at}, unsynced kept: {keeps_unsynced}: {heights:?}");
        }
    }
}

#[test]
fn invariant_3_holds_when_a_node_crashes_again_while_it_recovers() {
    for at in 1..=effects_of_an_epoch() {
        for further in [1, 2, 4, 8] {
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

/// A log that says something else than what follows from it stops the node: nothing leaves it.
#[test]
fn invariant_3_a_log_that_contradicts_itself_is_not_signed_after() {
    let mut world = World::new(network(4, 1), 4, 18);
    let me = signing_key(0);
    let mine = |entry: &WalEntry| match entry {
        WalEntry::Vote(vote) if vote.signer == me.id() => vote.record.block.is_some(),
        _ => false,
    };
    let log = |w: &World| -> Vec<_> {
        w.nodes[0].disk.log.iter().map(|(_, entry)| WalEntry::decode(entry).unwrap()).collect()
    };
    assert!(world.run(60_000, |w| w.highest() > 2 && log(w).iter().any(mine)));
    let (honest, network) = (log(&world), Arc::clone(&world.spec));
    let changed = |entry: &WalEntry| match entry {
        WalEntry::Vote(vote) if mine(entry) => {
            WalEntry::Vote(me.sign_vote(network.id(), Vote { block: None, ..vote.record }).into_inner())
        }
        other => other.clone(),
    };
    let now = world.now;
    let start = |log: Vec<WalEntry>| {
        let disk = &world.nodes[0].disk;
        let state = disk.state(&network);
        let restore = Restore {
            state,
            log,
            own: disk.own.clone(),
            commands: disk.commands.clone(),
            is_listening: false,
            silent_through: Height::ZERO,
            rebroadcast_sequence: 1 << 32,
            now,
        };
        let mut replica = Replica::restore(Arc::clone(&network), keyring(0), restore, true);
        let effects = replica.handle(now, Input::Tick);
        let later = replica.handle(now.after(Duration::from_secs(60)), Input::Tick);
        (effects, later)
    };
    let failed = |effects: &[Effect]| matches!(effects.last(), Some(Effect::Fail(Failure::Engine { .. })));
    let (effects, later) = start(honest.clone());
    assert!(!failed(&effects) && !later.is_empty(), "the log as it was: {effects:?}");
    let (effects, later) = start(honest.iter().map(changed).collect());
    assert!(failed(&effects), "{effects:?}");
    let votes = |effect: &Effect| match effect {
        Effect::Gossip(Gossip::Consensus(message)) => !matches!(message, ConsensusMessage::Wake(_)),
        Effect::Gossip(gossip) => matches!(gossip, Gossip::Rebroadcast(_)),
        _ => false,
    };
    assert!(!effects.iter().any(votes) && later.is_empty(), "{effects:?}, {later:?}");
}
