//! A validator and its key: what it signed before, what another machine signs with it, and when it signs nothing.

use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::engine::wal::WalEntry;
use lucid_consensus::ledger::state::State;
use lucid_consensus::replica::{Effect, Failure, Gossip, Input, Replica, Restore};
use lucid_types::id::BlockHash;
use lucid_types::signed::{Signed, Verified};
use lucid_types::time::{Height, UnixMillis};
use lucid_types::vote::{Vote, VoteKind};

use lucid_sim::genesis::{keyring, network, signing_key};
use lucid_sim::world::World;

/// A world in which validator 0 has prevoted for a block that is not decided.
struct Fixture {
    world: World,
    log: Vec<WalEntry>,
}

impl Fixture {
    fn new() -> Self {
        let mut world = World::new(network(4, 1), 4, 18);
        let me = signing_key(0).id();
        let mine = |entry: &WalEntry| matches!(entry, WalEntry::Vote(vote) if vote.signer == me && vote.record.block.is_some());
        let log = |w: &World| -> Vec<_> {
            w.nodes[0].disk.log.iter().map(|(_, entry)| WalEntry::decode(entry).unwrap()).collect()
        };
        assert!(world.run(60_000, |w| w.highest() > 2 && log(w).iter().any(mine)));
        let log = log(&world);
        Self { world, log }
    }

    fn spec(&self) -> &ChainSpec {
        &self.world.spec
    }

    fn state(&self) -> State {
        self.world.nodes[0].disk.state(self.spec())
    }

    fn next(&self) -> Height {
        self.state().height().next()
    }

    /// Validator 0 as it starts again.
    fn restart(&self, edit: impl FnOnce(&mut Restore)) -> Replica {
        let disk = &self.world.nodes[0].disk;
        let mut restore = Restore {
            state: self.state(),
            log: self.log.clone(),
            own: disk.own.clone(),
            commands: disk.commands.clone(),
            is_listening: false,
            silent_through: Height::ZERO,
            rebroadcast_sequence: 1 << 32,
            now: self.world.now,
        };
        edit(&mut restore);
        Replica::restore(Arc::clone(&self.world.spec), keyring(0), restore, true)
    }

    fn vote(&self, of: usize, height: Height, round: u32, block: Option<u8>) -> Verified<Signed<Vote>> {
        let block = block.map(|byte| BlockHash::from_bytes([byte; 32]));
        signing_key(of).sign_vote(self.spec().id(), Vote { kind: VoteKind::Prevote, height, round, block })
    }

    /// What validator 0 has voted at the height under way.
    fn own_votes(&self) -> Vec<Verified<Signed<Vote>>> {
        let me = signing_key(0).id();
        let own = self.log.iter().filter_map(|entry| match entry {
            WalEntry::Vote(vote) if vote.signer == me => vote.clone().verify(self.spec().id()).ok(),
            _ => None,
        });
        own.collect()
    }

    /// A minute later.
    fn later(&self) -> UnixMillis {
        self.world.now.after(Duration::from_secs(60))
    }
}

fn signed(effects: &[Effect]) -> usize {
    let is_signed = |effect: &&Effect| {
        matches!(effect, Effect::Gossip(Gossip::Consensus(_) | Gossip::Rebroadcast(_) | Gossip::Commitment(_)))
    };
    effects.iter().filter(is_signed).count()
}

fn is_key_in_use(effects: &[Effect]) -> bool {
    matches!(effects.last(), Some(Effect::Fail(Failure::KeyInUse { .. })))
}

#[test]
fn what_a_validator_signed_before_it_stopped_is_its_own() {
    let fixture = Fixture::new();
    assert!(!fixture.own_votes().is_empty());
    // Before its engine has started, and after.
    for ticks in [0, 1] {
        let mut replica = fixture.restart(|_| {});
        for _ in 0..ticks {
            assert!(signed(&replica.handle(fixture.later(), Input::Tick)) > 0);
        }
        for vote in fixture.own_votes() {
            let effects = replica.handle(fixture.later(), Input::Vote(vote));
            assert!(!effects.iter().any(|effect| matches!(effect, Effect::Fail(_))), "{effects:?}");
        }
    }
}

#[test]
fn what_another_machine_signs_with_the_key_stops_the_validator() {
    let fixture = Fixture::new();
    let next = fixture.next();
    for (height, round, block) in [(next, 0, Some(9)), (next, 7, None), (next.next(), 0, None)] {
        let mut replica = fixture.restart(|_| {});
        let effects = replica.handle(fixture.world.now, Input::Vote(fixture.vote(0, height, round, block)));
        assert!(is_key_in_use(&effects), "{effects:?}");
        assert!(replica.handle(fixture.later(), Input::Tick).is_empty(), "and it signs nothing more");
    }
    // Others' votes are others'.
    let mut replica = fixture.restart(|_| {});
    assert!(!is_key_in_use(&replica.handle(fixture.world.now, Input::Vote(fixture.vote(1, next, 7, None)))));
}

#[test]
fn nothing_is_signed_before_it_has_listened() {
    let fixture = Fixture::new();
    let mut replica = fixture.restart(|restore| restore.is_listening = true);
    assert_eq!(signed(&replica.handle(fixture.later(), Input::Tick)), 0);
    assert!(replica.epochs_to_report().is_empty());
    let rival = replica.handle(fixture.later(), Input::Vote(fixture.vote(0, fixture.next(), 0, Some(9))));
    assert!(is_key_in_use(&rival), "it hears of the other machine meanwhile");

    let mut replica = fixture.restart(|restore| restore.is_listening = true);
    assert_eq!(signed(&replica.handle(fixture.later(), Input::Tick)), 0);
    assert!(signed(&replica.handle(fixture.later(), Input::Listened)) > 0);
}

#[test]
fn nothing_is_signed_of_a_height_whose_log_is_lost() {
    let fixture = Fixture::new();
    let next = fixture.next();
    let mut replica = fixture.restart(|restore| {
        restore.log.clear();
        restore.silent_through = next;
    });
    assert_eq!(signed(&replica.handle(fixture.later(), Input::Tick)), 0);
    for vote in fixture.own_votes() {
        let effects = replica.handle(fixture.later(), Input::Vote(vote));
        assert!(!is_key_in_use(&effects), "it does not remember what it signed there");
    }
    let unknown = replica.handle(fixture.later(), Input::Vote(fixture.vote(0, next.next(), 0, None)));
    assert!(is_key_in_use(&unknown), "of the height after it has signed nothing");
}

#[test]
fn nothing_is_signed_of_a_height_that_is_decided_elsewhere() {
    let mut fixture = Fixture::new();
    let ahead = fixture.next().plus(3);
    assert!(fixture.world.run(60_000, |w| w.highest() >= ahead.get()));
    let blocks = &fixture.world.nodes[0].disk.blocks;
    let certificate = blocks[&Height::new(3)].certificate.clone();
    let set = fixture.spec().first_validators();
    let certificate = certificate.verify(fixture.spec().id(), set).unwrap();
    let fresh = Restore {
        state: fixture.world.first.clone(),
        log: Vec::new(),
        own: Default::default(),
        commands: Vec::new(),
        is_listening: false,
        silent_through: Height::ZERO,
        rebroadcast_sequence: 1 << 32,
        now: fixture.world.now,
    };
    let mut replica = Replica::restore(Arc::clone(&fixture.world.spec), keyring(0), fresh, true);
    let effects = replica.handle(fixture.world.now, Input::Certificate(certificate));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::CatchUp { to } if to.get() == 3)), "{effects:?}");
    for height in (1..=3).map(Height::new) {
        assert_eq!(signed(&replica.handle(fixture.later(), Input::Tick)), 0, "height {height}");
        let decided = blocks[&height].clone().verify(fixture.spec().id(), fixture.spec().first_validators()).unwrap();
        let effects = replica.handle(fixture.later(), Input::Decided(decided));
        assert_eq!(signed(&effects) > 0, height.get() == 3, "height {height}: beyond the third it signs: {effects:?}");
    }
}

#[test]
fn evidence_of_the_height_after_waits_for_its_block() {
    let fixture = Fixture::new();
    let ahead = fixture.next().next();
    let mut replica = fixture.restart(|_| {});
    let accusations = |effects: &[Effect]| {
        effects.iter().filter(|effect| matches!(effect, Effect::Gossip(Gossip::Evidence(_)))).count()
    };
    for block in [None, Some(9)] {
        let effects = replica.handle(fixture.world.now, Input::Vote(fixture.vote(2, ahead, 0, block)));
        assert_eq!(accusations(&effects), 0, "no block could hold it yet");
    }
    let mut world = fixture.world;
    let next = world.height(0) + 1;
    assert!(world.run(60_000, |w| w.highest() >= next));
    let holder = (0..4).find(|node| world.height(*node) >= next).unwrap();
    let decided = world.nodes[holder].disk.blocks[&Height::new(next)].clone();
    let decided = decided.verify(world.spec.id(), world.spec.first_validators()).unwrap();
    let effects = replica.handle(world.now, Input::Decided(decided));
    assert_eq!(accusations(&effects), 1, "{effects:?}");
}
