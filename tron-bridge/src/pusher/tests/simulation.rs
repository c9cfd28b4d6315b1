//! Faults of every kind for a while, then none: everything due is paid in the end.

use std::hash::{DefaultHasher, Hash, Hasher};

use lucid_types::payout_tree::OwedAccount;

use super::super::*;
use super::model::Vault;
use super::world::{Faults, Node, Random, START, THRESHOLD, World, config, gas_address, leaf, run};

const MINUTE: u64 = 60_000;

/// How it went.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    seconds: u64,
    n_transactions: usize,
    n_failed: usize,
    trace: u64,
}

fn leaves(random: &mut Random, before: &[OwedAccount]) -> Vec<OwedAccount> {
    let most = if random.percent(10) { 200 } else { 20 };
    let n = before.len() + usize::try_from(random.below(most)).unwrap();
    let owed = |at: usize| before.get(at).map_or(0, |leaf| leaf.owed.get());
    (0..n.max(1)).map(|at| leaf(u64::try_from(at).unwrap(), owed(at) + random.below(3 * THRESHOLD))).collect()
}

fn simulate(seed: u64) -> Summary {
    let mut world = World::new(seed);
    let mut random = Random(seed ^ 0x5eed);
    let mut rate = |most: u64| if random.percent(50) { random.below(most) } else { 0 };
    let faults = Faults {
        lost: rate(20),
        doubled: rate(30),
        delay: rate(4_000),
        crash: rate(4),
        broadcast: rate(50),
        stale: rate(40),
        signer: rate(60),
        fork: rate(10),
        stranger: rate(30),
        energy: rate(20),
        mischief: rate(30),
    };
    world.faults = faults;
    let n_nodes = u8::try_from(random.below(3)).unwrap() + 1;
    let mut nodes: Vec<_> = (0..n_nodes)
        .map(|n| {
            // Two may have the same rank: a pusher that runs twice.
            let rank = Some(u32::try_from(random.below(3)).unwrap()).filter(|_| !random.percent(20));
            Node::start(&world, config(n), n, rank)
        })
        .collect();
    let first = leaves(&mut random, &[]);
    world.issue(1, &first, 0);
    for node in &mut nodes {
        node.assign(&mut world);
    }
    run(&mut world, &mut nodes, START + 2 * MINUTE, |_, _| false);
    if random.percent(50) {
        world.issue(1, &first, 500);
        for node in &mut nodes {
            node.assign(&mut world);
        }
    }
    run(&mut world, &mut nodes, START + 4 * MINUTE, |_, _| false);
    let second = leaves(&mut random, &first);
    world.issue(2, &second, 500);
    for node in &mut nodes {
        node.assign(&mut world);
    }
    run(&mut world, &mut nodes, START + 6 * MINUTE, |_, _| false);

    world.faults = Faults::default();
    world.changes.push(Vault::mend);
    for node in nodes.iter_mut().filter(|node| !node.is_up) {
        node.restart(&mut world);
    }
    let healed = world.now;
    run(&mut world, &mut nodes, healed + 120 * MINUTE, |world, _| world.open().is_empty());
    let states = || nodes.iter().map(|node| (node.pusher.phase(), node.pusher.alerts())).collect::<Vec<_>>();
    assert!(world.open().is_empty(), "seed {seed}: due and not paid, {faults:?}, {:#?}", states());
    let seconds = (world.now - healed) / 1_000;

    // Then everybody comes to rest.
    run(&mut world, &mut nodes, healed + 240 * MINUTE, |_, nodes| is_at_rest(nodes));
    assert!(is_at_rest(&nodes), "seed {seed}: at rest after everything is paid");
    for node in &nodes {
        assert_eq!(node.disk.stored.len(), 0, "seed {seed}: what is over is forgotten");
        let fees = world.fees_of(gas_address(node.disk.number));
        assert!(fees <= node.config.max_per_day.get(), "seed {seed}: {fees} sun");
    }
    let outcomes: Vec<_> = (0..n_nodes).flat_map(|n| world.outcomes(gas_address(n))).collect();
    let n_failed = outcomes.iter().filter(|outcome| **outcome != Outcome::Success).count();
    let mut hasher = DefaultHasher::new();
    world.trace.hash(&mut hasher);
    Summary { seconds, n_transactions: outcomes.len(), n_failed, trace: hasher.finish() }
}

fn is_at_rest(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| node.pusher.phase() == Phase::Idle && node.pusher.next_wake().is_none())
}

#[test]
fn invariant_everything_due_is_paid_once_the_faults_end() {
    let runs: Vec<_> = (0..100).map(simulate).collect();
    let n_failed: usize = runs.iter().map(|run| run.n_failed).sum();
    let n_transactions: usize = runs.iter().map(|run| run.n_transactions).sum();
    assert!(runs.iter().all(|run| run.seconds < 5 * 60), "{runs:?}");
    assert!(n_failed > 50, "the faults do something: {n_failed}");
    assert!(n_failed * 5 < n_transactions, "{n_failed} of {n_transactions} failed");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 17] {
        assert_eq!(simulate(seed), simulate(seed));
    }
}
