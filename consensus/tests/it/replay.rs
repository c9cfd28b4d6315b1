//! The state is a pure function of genesis and blocks.

use lucid_consensus::ledger::execute::adopt;

use lucid_sim::genesis::network;
use lucid_sim::world::World;

#[test]
fn invariant_2_replaying_the_blocks_gives_the_same_roots() {
    let network = network(4, 1);
    let mut world = World::new(network.clone(), 4, 13);
    world.hire_owner();
    // Longer than the windows, so that rows leave them.
    assert!(world.run(120_000, |w| w.final_through() >= 16));
    let mut state = world.first.clone();
    for (height, decided) in &world.nodes[2].disk.blocks {
        let decided = decided.clone().verify(network.id(), state.next_validators()).unwrap();
        let applied = adopt(&network, &state, &decided).unwrap();
        assert_eq!(applied.state.root(), decided.block.header.state_root);
        assert!(applied.state.accounts_balance(), "invariant 4 at height {height}");
        state = applied.state;
    }
    let (commands, roots) = (world.promises.commands.len(), world.promises.roots.len());
    assert!(commands > 5 && roots > 2, "{commands} commands, {roots} roots: choose another seed");
    let live = world.nodes[2].replica.as_ref().unwrap().state();
    assert_eq!(*live, state);
}
