//! What a public epoch's blocks cost on a great state: `cargo bench -p lucid-consensus --profile dev --bench state`.
//!
//! 21 validators measure 2,000 workers, each of which has all buckets of its windows. Applied are the block that closes an epoch, which draws
//! who measures whom in the next, and the one that makes the epoch's scores final; once with the rows of these workers alone, once among those
//! of 100,000, of which the others are in no pool. Memory is what the process holds more with that state than before, by the kernel's count.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints and takes its time, and fails by panicking"
)]

mod memory;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod thousand;

use std::hint::black_box;
use std::time::{Duration, Instant};

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::build::{Pending, Turn, build};
use lucid_consensus::ledger::execute::validate;
use lucid_consensus::ledger::registry::Node;
use lucid_consensus::ledger::state::{Rows, State};
use lucid_consensus::ledger::table::{Nodes, Workers};
use lucid_score::aggregate::{Aggregate, EchoMedian};
use lucid_score::credits::earned;
use lucid_score::draw::ScoredWorker;
use lucid_score::worker_stats::{Measured, WorkerStats};
use lucid_types::block::Block;
use lucid_types::id::{Hash, NodeId, PoolId};
use lucid_types::key::NodeKey;
use lucid_types::network_group::NetworkGroup;
use lucid_types::policy::Policy;
use lucid_types::time::Epoch;

use self::memory::{resident_of, rows_of, size};
use self::thousand::start::Start;
use self::thousand::{group_of, next_block, signer_of, start_with, unpaid, validator_of};

const VALIDATORS: u8 = 21;
const SCORED: u16 = 2_000;
const REGISTERED: u32 = 100_000;
/// Epochs that nobody measured, but for what the rows say: all buckets of the windows lie in them.
const EARLIER: u64 = 6_000;
const RUNS: usize = 41;

const BLOCK: Duration = Duration::from_millis(30);
const RESIDENT: usize = 300_000_000;

fn key(i: u8) -> NodeKey {
    NodeKey::from_seed(&[i + 1; 32])
}

fn network() -> Start {
    let validator = |i| validator_of(&key(i));
    let (tron, vault) = unpaid(&key(0));
    let mut start = start_with(SCORED, (0..VALIDATORS).map(validator).collect(), tron, vault);
    start.genesis.policy = Policy::default();
    start
}

/// Measured in an epoch of every bucket.
fn full(policy: &Policy, worker: NodeId) -> WorkerStats {
    let mut stats = WorkerStats::default();
    let echo = Some(EchoMedian { bytes: 1 << 20, kbit_s: 30_000 });
    let medians = Aggregate { reachable_ms: policy.epoch_ms, echo, ..Aggregate::default() };
    let worker = ScoredWorker {
        node: worker,
        pool: PoolId::from_bytes([1; 32]),
        group: NetworkGroup::NONE,
        sharers: 1,
        quota: 0,
        echo_bytes: None,
        seats: Vec::new(),
        storage: Vec::new(),
    };
    for epoch in (1..EARLIER).step_by(30).map(Epoch::new) {
        let earned = earned(policy, epoch, &medians);
        stats.add(policy, epoch, &Measured { worker: &worker, medians, earned, sharers: 1 });
    }
    stats
}

/// A state with rows of `registered` workers, the scored ones among them, in whose open epoch they are measured. The others are in no pool.
fn grown(spec: &ChainSpec, network: &Start, registered: u32) -> State {
    let state = network.state(spec);
    let proposer = state.next_proposers().of(0).keys.id;
    let key = (0..VALIDATORS).map(|i| signer_of(&key(i))).find(|key| key.id() == proposer).unwrap();
    let turn = Turn { key: &key, round: 0, now: spec.genesis().epoch_end(Epoch::new(EARLIER)) };
    let state = build(spec, &state, &Pending::default(), turn).unwrap().1.state;
    let others = (0..registered - u32::from(SCORED))
        .map(|i| NodeId::from_bytes(*Hash::derive("lucid bench other worker 1", &[&i.to_le_bytes()]).as_bytes()));
    let workers: Vec<_> = state.nodes().map(|(id, _)| id).chain(others).collect();
    let state = state.changed(|rows| {
        let stats = full(state.policy_in_force(), workers[0]);
        let outside = Node { membership: None, ..state.node(&workers[0]).unwrap().clone() };
        for worker in &workers {
            rows.put::<Workers>(worker, stats.clone());
            let group = group_of(worker);
            match rows.get_mut::<Nodes>(worker) {
                Some(node) => node.group = group,
                None => rows.put::<Nodes>(worker, Node { group, ..outside.clone() }),
            }
        }
    });
    assert_eq!(state.all::<Workers>().count(), usize::try_from(registered).unwrap());
    state
}

/// The blocks of the first epoch after that: the one that closes it and the one that makes its scores final, with the states before.
fn blocks(spec: &ChainSpec, mut state: State) -> [(State, Block); 2] {
    let keys: Vec<_> = (0..VALIDATORS).map(key).collect();
    let mut closing = None;
    loop {
        let (block, applied) = next_block(spec, &state, &keys);
        let before = std::mem::replace(&mut state, applied.state);
        if state.closed() > before.closed() && state.closed() > Epoch::new(EARLIER) && closing.is_none() {
            closing = Some((before, block));
        } else if let Some(scores) =
            applied.finalised.map(|it| it.scores).filter(|scores| scores.epoch > Epoch::new(EARLIER))
        {
            assert_eq!(scores.rows.len(), usize::from(SCORED));
            return [closing.unwrap(), (before, block)];
        }
    }
}

/// The fastest run, since what else the machine does only ever adds, and the median.
fn timed(spec: &ChainSpec, state: &State, block: &Block) -> (Duration, Duration) {
    let block = block.clone().verify(spec.id()).unwrap();
    let mut times: Vec<_> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            let applied = black_box(validate(spec, state, black_box(&block)).unwrap());
            let took = start.elapsed();
            drop(applied);
            took
        })
        .collect();
    times.sort();
    (times[0], times[RUNS / 2])
}

fn main() {
    if memory::is_reader() {
        return;
    }
    let network = network();
    let spec = ChainSpec::new(network.genesis.clone()).unwrap();
    let (mut is_met, mut is_resident) = (true, true);
    let mut below = |what: &str, (found, median): (Duration, Duration)| {
        println!("{what}: {found:.2?}, median {median:.2?} {}", if found < BLOCK { "(met)" } else { "(MISSED)" });
        is_met &= found < BLOCK;
    };
    for registered in [u32::from(SCORED), REGISTERED] {
        let grown = grown(&spec, &network, registered);
        // As a node has it that reads it from its disk.
        let rows = rows_of(&grown);
        let (block, root) = (grown.block(), grown.root());
        let start = Instant::now();
        let state = State::from_rows(block, rows.iter().map(|(key, value)| (key, value))).unwrap();
        let took = start.elapsed();
        assert_eq!(state.root(), root);
        println!("{registered} workers: {} rows, {} MB, read in {took:.2?}", state.len(), size(&rows) / 1_000_000);
        if registered == REGISTERED {
            let bytes = resident_of(&rows);
            println!("resident: {} MB {}", bytes / 1_000_000, if bytes < RESIDENT { "(met)" } else { "(MISSED)" });
            is_resident = bytes < RESIDENT;
        }
        drop((rows, grown));
        let [(closing_on, closing), (final_on, final_in)] = blocks(&spec, state);
        below(&format!("{registered} workers, the block that closes an epoch"), timed(&spec, &closing_on, &closing));
        below(
            &format!("{registered} workers, the block that makes {SCORED} scores final"),
            timed(&spec, &final_on, &final_in),
        );
    }
    assert!(is_met && is_resident, "a limit was missed");
}
