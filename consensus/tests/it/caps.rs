//! More of something than a record has room for does not stop the chain.

use std::sync::Arc;

use lucid_consensus::commands::PendingCommands;
use lucid_consensus::ledger::build::{Turn, build};
use lucid_consensus::ledger::state::State;
use lucid_consensus::network::Network;
use lucid_consensus::replica::{Effect, Input, RoundMessage};
use lucid_consensus::reports::Reports;
use lucid_types::amount::MicroUsdt;
use lucid_types::block::Block;
use lucid_types::codec::encode;
use lucid_types::genesis::{GenesisPool, SignerSet, TreasurySigner};
use lucid_types::id::{BlockHash, Hash, PoolId, StateRoot};
use lucid_types::key::NodeKey;
use lucid_types::payout::{PoolChange, PoolCommand, VaultLimits};
use lucid_types::time::{Height, UnixMillis};
use lucid_types::vote::Proposal;

use crate::genesis::{FAR, address, network, owner_key, signer_key, validator_key};
use crate::pool::sign;
use crate::world::World;

fn suspend(pool: PoolId, number: u64, suspended: bool) -> PoolCommand {
    PoolCommand { pool, number, until: FAR, change: PoolChange::Suspend(suspended) }
}

#[test]
fn a_pool_has_eight_places_for_commands_and_only_its_owner_takes_them() {
    let network = network(4, 1);
    let (id, state) = (*network.id(), State::genesis(&network));
    let pool = *network.pools().next().unwrap().0;
    let mut pending = PendingCommands::default();
    let mut add = |command: &PoolCommand, keys: &[NodeKey]| {
        pending.add(&network, &state, sign(&id, command, keys).verify(&id).unwrap())
    };
    let signers: Vec<_> = (0..3).map(|i| signer_key(1, i)).collect();
    let everyone = [&[owner_key()], &signers[..]].concat();
    let limits = PoolCommand {
        pool,
        number: 1,
        until: FAR,
        change: PoolChange::Limits {
            era: 1,
            nonce: 0,
            next: VaultLimits { cap: MicroUsdt::new(1), push_fee: MicroUsdt::ZERO },
        },
    };
    // Strangers, signers without the owner, the owner without enough signers, and a stranger beside all who must sign.
    let stranger = validator_key(0);
    assert!(!add(&suspend(pool, 1, true), std::slice::from_ref(&stranger)));
    assert!(!add(&suspend(pool, 1, true), &signers));
    assert!(!add(&limits, &[owner_key()]));
    assert!(!add(&limits, &[owner_key(), signers[0].clone()]));
    assert!(!add(&limits, &[owner_key(), signers[0].clone(), signer_key(3, 2)]), "a signer of a later era");
    assert!(!add(&limits, &[&everyone[..], &[stranger]].concat()));
    assert!(!add(&suspend(PoolId::from_bytes([9; 32]), 1, true), &[owner_key()]), "no such pool");
    assert!(add(&limits, &everyone));

    let taken = (0..=100).filter(|number| add(&suspend(pool, *number, true), &[owner_key()])).count();
    assert_eq!(taken, 8, "the next eight numbers, the first in place of the limits");
    assert!(!add(&suspend(pool, 8, true), &[owner_key()]), "known");
    assert!(add(&suspend(pool, 8, false), &[owner_key()]), "the owner has thought again");
    assert!(!add(&suspend(pool, u64::MAX, true), &[owner_key()]));
    // Of eight commands that suspend the pool the first applies, and those behind the second have to wait for another.
    let applicable = pending.applicable(&network, &state, state.time);
    assert_eq!(applicable.iter().map(|it| it.record.clone()).collect::<Vec<_>>(), [suspend(pool, 1, true)]);
}

#[test]
fn commands_beyond_a_blocks_room_wait_for_the_next() {
    const POOLS: u8 = 40;
    let mut genesis = network(4, 1).genesis().clone();
    let sample = genesis.pools[0].clone();
    let keys: Vec<_> = (0..16).map(|i| NodeKey::from_seed(&[i + 220; 32])).collect();
    let signer = |(i, key): (u8, &NodeKey)| TreasurySigner { node: key.node_id(), key_address: address(i) };
    let members: Vec<_> = (1..).zip(&keys).map(signer).collect();
    genesis.pools.extend((0..POOLS).map(|i| {
        let mut pool = GenesisPool { name: format!("pool {i}"), members: vec![], ..sample.clone() };
        pool.vault.address = address(i + 101);
        pool.vault.signers = SignerSet { era: 1, threshold: 16, members: members.clone() };
        pool
    }));
    let mut world = World::new(Arc::new(Network::new(genesis).unwrap()), 4, 12);
    world.run(100, |_| false);
    let id = *world.network.id();
    let everyone = [&keys[..], &[owner_key()]].concat();
    let pools: Vec<_> = world.network.pools().filter(|(_, pool)| pool.members.is_empty()).map(|(id, _)| *id).collect();
    let mut bytes = 0;
    for pool in &pools {
        for number in 1..=8 {
            let next = VaultLimits { cap: MicroUsdt::new(number), push_fee: MicroUsdt::ZERO };
            let change = PoolChange::Limits { era: 1, nonce: u32::try_from(number).unwrap() - 1, next };
            let command = sign(&id, &PoolCommand { pool: *pool, number, until: FAR, change }, &everyone);
            bytes += encode(&command).len();
            let verified = command.verify(&id).unwrap();
            for node in 0..4 {
                world.input(node, Input::Command(verified.clone()));
            }
        }
    }
    let all = pools.len() * 8;
    assert!(bytes > 2 * Block::MAX_COMMAND_BYTES);
    assert!(world.run(60_000, |w| w.promises.commands.len() == all), "{} of {all}", world.promises.commands.len());
    let blocks = world.nodes[0].disk.blocks.values().map(|decided| decided.block.commands.clone());
    let full: Vec<usize> = blocks.map(|commands| commands.iter().map(|it| encode(it).len()).sum()).collect();
    assert!(full.iter().all(|bytes| *bytes <= Block::MAX_COMMAND_BYTES), "{full:?}");
    world.check();
}

#[test]
fn a_body_sent_again_and_again_costs_nothing() {
    let mut world = World::new(network(4, 1), 4, 7);
    assert!(world.run(20_000, |w| w.candidate(1).is_some()));
    let block = world.candidate(1).unwrap();
    let (now, id) = (world.now, *world.network.id());
    let replica = world.nodes[1].replica.as_mut().unwrap();
    for _ in 0..100 {
        let effects = replica.handle(now, Input::Body(block.clone().verify(&id).unwrap()));
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::AppendLog { .. })), "{effects:?}");
    }
    assert!(world.run(20_000, |w| w.lowest() >= 2));
    world.check();
}

/// The core keeps two blocks for a round. A validator that names two of its own for every round, in and out of its turn,
/// leaves room for the proposers'.
#[test]
fn a_validator_that_proposes_in_every_round_stops_nobody() {
    let mut world = World::new(network(4, 1), 4, 8);
    world.run(100, |_| false);
    world.take_down(3);
    let (liar, id) = (validator_key(3), *world.network.id());
    for height in (1..=6).map(Height::new) {
        for salt in [1, 2] {
            let block = Block {
                height,
                parent: BlockHash::from_bytes([salt; 32]),
                round: 0,
                proposer: liar.node_id(),
                time: UnixMillis::new(1),
                commitments: vec![],
                reveals: vec![],
                commands: vec![],
                payout_roots: vec![],
                next_set: Hash::from_bytes([0; 32]),
                state_root: StateRoot::from_bytes([0; 32]),
            };
            for node in 0..3 {
                for round in 0..=10 {
                    let proposal = Proposal { height, round, block: block.hash(), pol_round: None };
                    let signed = liar.sign_proposal(&id, proposal).into_inner().verify(&id).unwrap();
                    world.input(node, Input::Consensus(RoundMessage::Proposal(signed)));
                }
                world.input(node, Input::Body(block.clone().verify(&id).unwrap()));
            }
        }
        assert!(world.run(30_000, |w| w.lowest() >= height.get()), "height {height} is not decided");
    }
    world.check();
}

/// Blocks of a time that has not come are decided in no round, however they are proposed: with a proof-of-lock of a later round,
/// or with one that cannot be.
#[test]
fn no_proposer_moves_time_ahead() {
    let mut world = World::new(network(4, 1), 4, 9);
    world.run(100, |_| false);
    world.take_down(3);
    let (liar, network) = (validator_key(3), Arc::clone(&world.network));
    let id = *network.id();
    let mut offered = 0;
    while world.highest() < 12 {
        let state = world.nodes[0].replica.as_ref().unwrap().state().clone();
        let height = state.height.next();
        let set = network.validators(height);
        if set.proposer(height, 0).node == liar.node_id() {
            let far = UnixMillis::new(world.now.get() + 10 * 365 * 86_400_000);
            let (reports, commands) = (Reports::default(), PendingCommands::default());
            let turn = Turn { proposer: liar.node_id(), round: 0, now: far };
            let archive = world.nodes[0].disk.archive.lock().unwrap().clone();
            let (block, _) = build(&network, &state, &reports, &commands, turn, &archive).unwrap();
            // Its next turn is round 4. The engine knows a value by its hash, not by its round.
            for node in 0..3 {
                let propose = |round, pol_round| {
                    let proposal = Proposal { height, round, block: block.hash(), pol_round };
                    let signed = liar.sign_proposal(&id, proposal).into_inner().verify(&id).unwrap();
                    Input::Consensus(RoundMessage::Proposal(signed))
                };
                world.input(node, propose(4, Some(0)));
                world.input(node, Input::Body(block.clone().verify(&id).unwrap()));
                world.input(node, propose(0, Some(0)));
                world.input(node, propose(0, None));
            }
            offered += 1;
        }
        let before = world.highest();
        assert!(world.run(60_000, |w| w.lowest() > before), "height {height} is not decided");
    }
    assert!(offered > 1, "{offered}");
    let now = world.now;
    assert!(world.nodes[0].disk.blocks.values().all(|decided| decided.block.time <= now));
    world.check();
}
