//! More of something than a record has room for does not stop the chain.

use std::sync::Arc;

use lucid_consensus::network::Network;
use lucid_consensus::replica::{Effect, Input};
use lucid_types::commit::Commit;
use lucid_types::id::PayoutAddress;

use crate::genesis::network;
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
