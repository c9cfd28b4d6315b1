//! The state is a pure function of genesis and blocks.

use std::collections::BTreeMap;

use lucid_consensus::ledger::execute::adopt;
use lucid_consensus::ledger::state::{EpochRows, State};
use lucid_types::time::EpochNumber;

use crate::genesis::network;
use crate::world::World;

#[test]
fn invariant_2_replaying_the_blocks_gives_the_same_roots() {
    let network = network(4, 1);
    let mut world = World::new(network.clone(), 4, 9);
    // Longer than the windows, so that rows leave them.
    assert!(world.run(90_000, |w| w.lowest() >= 12));
    let mut state = State::genesis(&network);
    let mut rows = BTreeMap::<EpochNumber, EpochRows>::new();
    for (height, decided) in &world.nodes[2].disk.blocks {
        let decided = decided.clone().verify(network.id(), network.validators(*height)).unwrap();
        let source = |epoch: EpochNumber| rows.get(&epoch).cloned();
        let applied = adopt(&network, &state, &decided, &source).unwrap();
        assert_eq!(applied.state.root(), decided.block.state_root);
        assert!(applied.state.accounts_balance(), "invariant 4 at height {height}");
        rows.extend(applied.rows.map(|rows| (rows.epoch, rows)));
        state = applied.state;
    }
    let live = world.nodes[2].replica.as_ref().unwrap().state();
    assert_eq!(*live, state);
}
