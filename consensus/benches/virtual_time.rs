//! How long a block and an epoch's scores take in a simulated world in which every message takes the same time and nothing else
//! takes any, beside the least that the protocol needs: `cargo bench -p lucid-consensus --profile dev --bench virtual_time`.
//!
//! A **hop** is one message's way. A block needs three: the proposal, the votes of either step. Where only a few have a reason to
//! start a height, one more wakes the others. Between the end of an epoch and its scores stand `1 + 2W` blocks; before the first of
//! commitments and the first of reveals, a hop brings these to the proposer; and no block is younger than the least interval after
//! the one before. What is more than that, nodes waited for something that they need not wait for.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints and takes its time, and fails by panicking"
)]

use std::sync::Arc;
use std::time::Instant;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::state::Rows;
use lucid_consensus::ledger::table::Workers;
use lucid_consensus::replica::Input;
use lucid_score::worker_stats::WorkerStats;
use lucid_types::policy::Policy;
use lucid_types::pool::PoolAction;
use lucid_types::time::Epoch;

use lucid_sim::genesis::{EPOCH, genesis, owner_key};
use lucid_sim::pool::{by_owner, sign};
use lucid_sim::world::World;

/// What is allowed beside the least, in percent of it.
const ALLOWED: u64 = 125;
const SIZES: [usize; 4] = [4, 10, 31, 100];

fn network(validators: usize, policy: Policy) -> Arc<ChainSpec> {
    Arc::new(ChainSpec::new(genesis(&vec![1; validators], policy)).unwrap())
}

/// As in a local network, with a validator's share of the seats of every size.
fn local() -> Policy {
    Policy { seats: 21, ..Policy::local(EPOCH, 2, None) }
}

/// As in the public network, but for the draw of the epochs of echo: the simulated prober sends one in each.
fn public() -> Policy {
    Policy { min_seat_operators: 1, echo_every: 1, ..Policy::default() }
}

/// A world in which every message takes `hop` milliseconds, and nodes do not ask each other for blocks.
fn world(spec: &Arc<ChainSpec>, hop: u64) -> World {
    let count = spec.genesis().validators.len();
    let mut world = World::new(Arc::clone(spec), count, 1);
    world.delay = (hop, 0);
    world.polls = false;
    world
}

/// The least from an epoch's end to its scores on every node, in milliseconds.
fn least(policy: &Policy, hop: u64) -> u64 {
    let interval = |hops: u64| policy.window_block_min_ms.max(hops * hop);
    // The first of either window waits for what is revealed or committed to when its parent is decided.
    2 * (interval(4) + (policy.report_window - 1) * interval(3)) + 3 * hop
}

struct Row {
    took: u64,
    least: u64,
}

impl Row {
    fn is_good(&self) -> bool {
        100 * self.took <= ALLOWED * self.least
    }

    fn ratio(&self) -> String {
        let percent = 100 * self.took / self.least;
        format!("{}.{:02}", percent / 100, percent % 100)
    }
}

/// How often each is measured. A hundred validators check so many votes that once takes half a minute.
fn trials(spec: &ChainSpec) -> u64 {
    if spec.genesis().validators.len() < 100 { 3 } else { 1 }
}

/// From the end of an epoch to its scores: the slowest of several.
fn epoch(spec: &Arc<ChainSpec>, hop: u64) -> Row {
    let policy = &spec.genesis().policy;
    let mut world = world(spec, hop);
    let mut took = 0;
    for epoch in 1..=trials(spec) {
        assert!(world.run(3 * policy.epoch_ms, |w| w.final_through() >= epoch), "epoch {epoch} is not final");
        let end = spec.genesis().epoch_end(Epoch::new(epoch));
        took = took.max(world.now.get() - end.get());
        let state = world.nodes[0].replica.as_ref().unwrap().state();
        let measured = |stats: &WorkerStats| stats.sums(policy, Epoch::new(epoch)).epochs;
        assert!(state.all::<Workers>().all(|(_, stats)| measured(stats) == epoch), "every worker has a score");
    }
    Row { took, least: least(policy, hop) }
}

/// From a command, which the fewest know who can start a height and which gossip takes to the others, to the block on every node: the
/// slowest of several.
fn block(spec: &Arc<ChainSpec>, hop: u64) -> Row {
    let mut world = world(spec, hop);
    let (id, pool) = (*spec.id(), world.first.pools().next().unwrap().0);
    let few = spec.genesis().validators.len() / 3 + 1;
    let mut took = 0;
    world.run(spec.fixed().block_min_ms, |_| false);
    for number in 1..=trials(spec) {
        let command = by_owner(&owner_key(), number - 1, pool, PoolAction::Suspend(number % 2 == 1));
        let command = sign(&id, &command, &[owner_key()]).verify(&id).unwrap();
        let (start, height) = (world.now, world.highest());
        let give = |world: &mut World, nodes: std::ops::Range<usize>| {
            nodes.for_each(|node| world.input(node, Input::Command(command.clone())));
        };
        give(&mut world, 0..few);
        world.run(hop, |_| false);
        give(&mut world, few..spec.genesis().validators.len());
        assert!(world.run(10_000, |w| w.lowest() > height), "no block {}", height + 1);
        took = took.max(world.now.get() - start.get());
        // It need not be in that one.
        assert!(world.run(10_000, |w| u64::try_from(w.promises.commands.len()) == Ok(number)));
        world.run(spec.fixed().block_min_ms + 4 * hop, |_| false);
    }
    Row { took, least: 4 * hop }
}

fn main() {
    // Only what is named like this, if anything is: `-- "block, 4 "`.
    let wanted = std::env::args().skip(1).find(|it| !it.starts_with("--")).unwrap_or_default();
    let mut missed = Vec::new();
    let mut show = |what: String, measure: &dyn Fn() -> Row| {
        if !what.contains(&wanted) {
            return;
        }
        let start = Instant::now();
        let row = measure();
        let (Row { took, least }, seconds) = (&row, start.elapsed().as_secs());
        println!("{what:<68} {took:>6} ms, needs {least:>6} ms: {} ({seconds} s of this machine)", row.ratio());
        if !row.is_good() {
            missed.push(what);
        }
    };
    for hop in [20, 100] {
        for size in SIZES {
            let spec = network(size, local());
            show(format!("block, {size} validators, hops of {hop} ms"), &|| block(&spec, hop));
        }
    }
    for (name, policy, hop) in [("local", local(), 20), ("local", local(), 100), ("public", public(), 100)] {
        for size in SIZES {
            let spec = network(size, policy.clone());
            let what = format!("epoch's end to scores, {size} validators, {name} policy, hops of {hop} ms");
            show(what, &|| epoch(&spec, hop));
        }
    }
    assert!(missed.is_empty(), "more than {ALLOWED} % of what the protocol needs: {missed:#?}");
}
