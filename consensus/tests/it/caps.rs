//! More of something than a record has room for does not stop the chain.

use std::sync::Arc;

use lucid_consensus::network::Network;
use lucid_consensus::replica::{Effect, Input, RoundMessage};
use lucid_types::block::Block;
use lucid_types::commit::Commit;
use lucid_types::id::{BlockHash, Hash, PayoutAddress, StateRoot};
use lucid_types::time::{EpochNumber, UnixMillis};
use lucid_types::vote::Proposal;

use crate::genesis::{network, validator_key};
use crate::world::World;

#[test]
fn more_pools_than_a_commit_shows() {
    let mut genesis = network(4, 1).genesis().clone();
    let sample = genesis.pools[0].clone();
    let more = (0..u8::try_from(Commit::MAX_TREASURIES).unwrap()).map(|i| {
        let mut pool = sample.clone();
        (pool.name, pool.members) = (format!("pool {i}"), vec![]);
        pool.treasury.address = PayoutAddress::from_hash20([i + 101; 20]);
        pool
    });
    genesis.pools.extend(more);
    let mut world = World::new(Arc::new(Network::new(genesis).unwrap()), 4, 3);
    assert!(world.run(40_000, |w| w.lowest() >= 3), "commits with too many treasuries are refused");
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
    for height in (1..=6).map(EpochNumber::new) {
        for salt in [1, 2] {
            let block = Block {
                height,
                parent: BlockHash::from_bytes([salt; 32]),
                proposer: liar.node_id(),
                time: UnixMillis::new(1),
                commits: vec![],
                reveals: vec![],
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
