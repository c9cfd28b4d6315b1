//! Validators come and go while the network decides, whatever is lost and whoever crashes.

use std::collections::BTreeSet;
use std::sync::Arc;

use lucid_consensus::admission::{Refusal, View};
use lucid_consensus::keyring::Keyring;
use lucid_consensus::ledger::execute::adopt;
use lucid_consensus::ledger::state::State;
use lucid_consensus::ledger::table::Validators;
use lucid_consensus::replica::{Effect, Input, Replica, Restore};
use lucid_types::attestation::Capacity;
use lucid_types::change::NetworkChange;
use lucid_types::command::{Action, Command, Entry, Registration, ValidatorAction, ValidatorChange};
use lucid_types::evidence::Evidence;
use lucid_types::id::{BlockHash, NodeId, ValidatorId};
use lucid_types::stamp::{Stamp, StampTarget};
use lucid_types::sync::CertifiedBlock;
use lucid_types::time::Height;
use lucid_types::validator::ValidatorSet;
use lucid_types::validator_key::ValidatorKey;
use lucid_types::vote::{Vote, VoteKind};

use crate::liveness::{heights, seeds};
use lucid_sim::genesis::{address, keyring, network, nth_signing_key, signing_key, validator, validator_key};
use lucid_sim::pool::sign;
use lucid_sim::world::World;

pub(crate) fn state(world: &World) -> &State {
    let up = world.nodes.iter().filter_map(|node| node.replica.as_ref());
    up.map(|replica| replica.state()).max_by_key(|state| state.height()).unwrap()
}

/// Gives an account's next command to every node that is up, and waits until a block holds it.
pub(crate) fn give(world: &mut World, i: usize, action: Action) {
    let key = validator_key(i);
    let (network, account) = (*world.spec.id(), key.account());
    let nonce = state(world).nonce(&account).next;
    let until = world.now.after(std::time::Duration::from_hours(1));
    let command = sign(&network, &Command { account, nonce, until, action }, &[key]);
    let is_held = |w: &World| state(w).nonce(&account).next > nonce;
    while !is_held(world) {
        for node in (0..world.nodes.len()).filter(|node| world.nodes[*node].replica.is_some()).collect::<Vec<_>>() {
            world.input(node, Input::Command(command.clone().verify(&network).unwrap()));
        }
        world.run(3_000, is_held);
    }
}

fn register(world: &mut World, i: usize) {
    let node = validator_key(i).account();
    let (epoch, close) = state(world).newest_close().map(|(epoch, close)| (epoch, *close)).unwrap();
    let bits = state(world).stamp_bits(None, epoch).unwrap();
    let target = StampTarget { network: *world.spec.id(), account: node, pool: None, beacon: close.beacon };
    let mut stamps = (0..).map(|nonce| Stamp { epoch, nonce });
    let stamp = stamps.find(|stamp| stamp.bits(&target) >= u32::from(bits)).unwrap();
    let registration = Registration {
        operator: node,
        payout_address: address(u8::try_from(i).unwrap()),
        payout_key: None,
        gas_address: None,
        capacity: Capacity::default(),
        entry: Entry::Network(stamp),
    };
    give(world, i, Action::Register(registration));
}

/// Proposes a change, and lets validators approve until it is carried out: others may be in force by then.
pub(crate) fn change(world: &mut World, change: impl Into<NetworkChange>, by: usize) {
    let change = change.into();
    give(world, by, Action::Validator(ValidatorAction::Propose(change.clone())));
    let is_done = |w: &World| state(w).proposals().all(|(id, _)| id != change.id());
    while !is_done(world) {
        let (_, proposal) = state(world).proposals().find(|(id, _)| *id == change.id()).unwrap();
        let set = state(world).next_validators();
        let lacks = |i: &usize| {
            let node = validator_key(*i).account();
            let is_about = change.validators().is_some_and(|change| change.validator() == node);
            !is_about && set.of(&node).is_some() && !proposal.approvals.contains(&node)
        };
        let power = proposal.approvals.iter().filter_map(|node| set.of(node)).map(|member| member.power).sum();
        match (0..world.nodes.len()).filter(|_| !set.is_quorum(power)).find(lacks) {
            Some(i) => give(world, i, Action::Validator(ValidatorAction::Approve(change.id()))),
            None => drop(world.run(3_000, is_done)),
        }
    }
}

fn members(world: &World) -> BTreeSet<NodeId> {
    state(world).next_validators().members().iter().map(|member| member.node).collect()
}

fn ids(of: std::ops::Range<usize>) -> BTreeSet<NodeId> {
    of.map(|i| validator_key(i).account()).collect()
}

/// Their first keys.
fn keys(of: std::ops::Range<usize>) -> BTreeSet<ValidatorId> {
    of.map(|i| signing_key(i).id()).collect()
}

/// Whoever is behind may pass on a block that validators have certified who had left by then: he cannot know.
#[test]
fn a_block_certified_by_those_who_have_left_is_not_adopted() {
    let mut world = World::new(network(4, 1), 4, 41);
    assert!(world.run(20_000, |w| w.lowest() >= 3));
    let mut state = world.first.clone();
    let blocks: Vec<_> = world.nodes[0].disk.blocks.values().take(3).cloned().collect();
    let verified =
        |block: &CertifiedBlock| block.clone().verify(world.spec.id(), world.spec.first_validators()).unwrap();
    for block in &blocks[..2] {
        state = adopt(&world.spec, &state, &verified(block)).unwrap().state;
    }
    let others: Vec<_> = (10..14).map(|i| validator(i, 1)).collect();
    let left = state.changed(|rows| rows.put::<Validators>(&state.height().next(), ValidatorSet::new(others).unwrap()));
    let effects = |state: State| {
        let restore = Restore {
            state,
            log: Vec::new(),
            own: Default::default(),
            commands: Vec::new(),
            is_listening: false,
            silent_through: Height::ZERO,
            rebroadcast_sequence: 0,
            now: world.now,
        };
        let mut replica = Replica::restore(Arc::clone(&world.spec), keyring(20), restore, false);
        let mut effects = replica.handle(world.now, Input::Decided(verified(&blocks[2])));
        let certificate = blocks[2].certificate.clone().verify(world.spec.id(), world.spec.first_validators()).unwrap();
        effects.extend(replica.handle(world.now, Input::Certificate(certificate)));
        effects
    };
    assert!(effects(state).iter().any(|effect| matches!(effect, Effect::Store(_))));
    // Neither adopted, nor a reason to stop or to catch up.
    let of_others = effects(left);
    assert!(of_others.is_empty(), "{of_others:?}");
}

#[test]
fn four_validators_become_seven_and_four_others_while_one_is_down() {
    for seed in 1..=seeds().div_ceil(4) {
        let mut world = World::new(network(4, 1), 7, 900 + seed);
        world.loss = 5;
        world.run(10_000, |w| w.lowest() >= 2);
        let newcomers: Vec<_> = (4..7).collect();
        newcomers.iter().for_each(|i| register(&mut world, *i));
        for i in &newcomers {
            change(&mut world, ValidatorChange::Add(validator(*i, 1)), 0);
        }
        assert!(world.run(60_000, |w| members(w) == ids(0..7)), "seed {seed}: {:?}", heights(&world));
        // One of the first is gone, and learns of what follows when it is back.
        world.take_down(3);
        let from = state(&world).height();
        let has_proposed = |w: &World, of: BTreeSet<ValidatorId>| {
            let since = w.nodes[0].disk.blocks.range(from.next()..);
            let proposers: BTreeSet<_> = since.map(|(_, decided)| decided.block.header.proposer).collect();
            of.is_subset(&proposers)
        };
        assert!(world.run(300_000, |w| has_proposed(w, keys(4..7))), "seed {seed}: {:?}", heights(&world));
        for i in 0..3 {
            let node = validator_key(i).account();
            change(&mut world, ValidatorChange::Remove(node), 6);
        }
        let left = |w: &World| members(w) == ids(3..7);
        assert!(world.run(60_000, left), "seed {seed}: {:?}", heights(&world));
        world.restart(3);
        world.loss = 0;
        let goal = state(&world).height().plus(12).get();
        let is_level = |w: &World| w.lowest() >= goal && w.lowest() == w.highest();
        assert!(world.run(120_000, is_level), "seed {seed}: {:?}, goal {goal}", heights(&world));
        let last = world.nodes[3].disk.blocks[&Height::new(goal)].certificate.clone();
        let signers: BTreeSet<_> = last.signatures.iter().map(|(signer, _)| *signer).collect();
        assert!(signers.is_subset(&keys(3..7)), "only those that are left decide");
        let first = world.nodes[0].replica.as_ref().unwrap().state();
        assert!(world.nodes[1..].iter().all(|node| node.replica.as_ref().unwrap().state() == first), "seed {seed}");
        world.check();
    }
}

/// Puts another key into a node's home, and announces it.
fn rotate(world: &mut World, i: usize, nth: u8) {
    let account = validator_key(i).account();
    let keys = Keyring::new(account, (0..=nth).map(|nth| nth_signing_key(i, nth)));
    world.nodes[i].keys = keys.clone();
    world.input(i, Input::Keys(keys));
    give(world, i, Action::Validator(ValidatorAction::RotateKey(nth_signing_key(i, nth).keys(&account))));
}

fn current_key(world: &World, i: usize) -> Option<ValidatorId> {
    state(world).next_validators().of(&validator_key(i).account()).map(|member| member.keys.id)
}

fn vote(world: &World, key: &ValidatorKey, height: Height, byte: u8) -> lucid_types::signed::Signed<Vote> {
    let block = Some(BlockHash::from_bytes([byte; 32]));
    key.sign_vote(world.spec.id(), Vote { kind: VoteKind::Prevote, height, round: 7, block }).into_inner()
}

/// One rotates its key while another is down, so that nobody can be spared, and crashes now and then. Its former key is worth nothing
/// then, but that it proves what was signed with it.
#[test]
fn a_validator_rotates_its_key_under_load_while_another_is_down() {
    for seed in 1..=seeds().div_ceil(4) {
        let mut world = World::new(network(4, 1), 5, 950 + seed);
        world.loss = 5;
        world.hire_owner();
        assert!(world.run(60_000, |w| w.lowest() >= 3), "seed {seed}: {:?}", heights(&world));
        world.take_down(3);
        let (old, new) = (signing_key(1), nth_signing_key(1, 1));
        let before = state(&world).height();
        rotate(&mut world, 1, 1);
        world.nodes[1].crash_at = Some(world.nodes[1].effects + 40 * seed);
        let is_new = |w: &World| current_key(w, 1) == Some(new.id());
        assert!(world.run(300_000, is_new), "seed {seed}: {:?}", heights(&world));
        let from = state(&world).height().next();
        // Three of four decide: with the other key, or not at all.
        let goal = from.plus(30).get();
        assert!(world.run(600_000, |w| w.lowest() >= goal), "seed {seed}: {:?}", heights(&world));
        let blocks = || world.nodes[0].disk.blocks.range(from..).map(|(_, decided)| decided);
        let signs = |key: &ValidatorKey| {
            blocks().filter(|it| it.certificate.signatures.iter().any(|(signer, _)| *signer == key.id())).count()
        };
        assert!(signs(&new) >= 30 && signs(&old) == 0, "seed {seed}");
        assert!(blocks().any(|it| it.block.header.proposer == new.id()), "seed {seed}");
        assert!(blocks().any(|it| it.block.commitments.iter().any(|of| of.signer == new.id())), "seed {seed}");
        let view = View { spec: &world.spec, state: state(&world) };
        let late = view.vote(vote(&world, &old, view.state.height().next(), 1));
        assert_eq!(late, Err(Refusal::Ignore("unknown-signer")), "seed {seed}");
        world.check();
        // What it signed with the former key it answers for with the account.
        world.loss = 0;
        world.liars.insert(old.id());
        world.restart(3);
        assert!(world.run(120_000, |w| w.lowest() == w.highest()), "seed {seed}: {:?}", heights(&world));
        let [one, two] = [1, 2].map(|byte| vote(&world, &old, before, byte).verify(world.spec.id()).unwrap());
        let evidence = Evidence::of_votes(&one, &two).unwrap();
        world.input(0, Input::Evidence(evidence));
        let is_out = |w: &World| current_key(w, 1).is_none();
        assert!(world.run(60_000, is_out), "seed {seed}: {:?}", heights(&world));
        let goal = state(&world).height().plus(5).get();
        let others = |w: &World| [0, 2, 3, 4].into_iter().all(|i| w.height(i) >= goal);
        assert!(world.run(120_000, others), "seed {seed}: {:?}", heights(&world));
        world.check();
    }
}

/// A node without the key that the set lists signs nothing, and goes on as soon as it finds it.
#[test]
fn a_validator_without_its_key_follows() {
    let mut world = World::new(network(4, 1), 4, 960);
    let account = validator_key(1).account();
    world.nodes[1].keys = Keyring::new(account, []);
    assert!(world.run(60_000, |w| w.lowest() >= 12), "{:?}", heights(&world));
    let has_signed = |w: &World, above: u64| {
        let blocks = w.nodes[0].disk.blocks.range(Height::new(above)..);
        blocks.map(|(_, it)| it).any(|it| it.certificate.signatures.iter().any(|(id, _)| *id == signing_key(1).id()))
    };
    assert!(!has_signed(&world, 1));
    assert!(!world.nodes[1].replica.as_ref().unwrap().is_validator());
    let since = world.highest();
    world.nodes[1].keys = keyring(1);
    world.input(1, Input::Keys(keyring(1)));
    assert!(world.run(120_000, |w| has_signed(w, since + 1)), "{:?}", heights(&world));
    world.check();
}
