//! What it costs to draw who measures whom in an epoch: `cargo bench -p lucid-score --profile dev --bench draw`.
//!
//! Beside each stands the hashing alone that it cannot do without, in the same run: a ticket of each worker if not all are scored, and an
//! output of each scored one with eight bytes for each validator, once for its seats and once for its storage seats. Times are the fastest of several runs, since what else the machine does
//! only ever adds, and their median. Exits with an error if the fastest is above its limit.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints and takes its time, and fails by panicking"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use lucid_score::draw::{Candidate, EpochDraw};
use lucid_score::storage::{StorageTerm, Terms};
use lucid_types::bls::{BlsPublicKey, BlsSignature};
use lucid_types::id::{Hash, NodeId, PoolId, ValidatorId};
use lucid_types::network_group::NetworkGroup;
use lucid_types::policy::Policy;
use lucid_types::signed::Signature;
use lucid_types::time::Epoch;
use lucid_types::validator::{Validator, ValidatorSet};
use lucid_types::validator_key::ValidatorKeys;

const RUNS: u8 = 200;

fn node(kind: &'static str, number: u32) -> NodeId {
    NodeId::from_bytes(*Hash::derive(kind, &[&number.to_le_bytes()]).as_bytes())
}

fn set(n: u32) -> ValidatorSet {
    let validator = |number| {
        let node = node("lucid bench validator 1", number);
        // Nothing is signed here: the keys are the node's id.
        let keys = ValidatorKeys {
            id: ValidatorId::from_bytes(*node.as_bytes()),
            proof: Signature::from_bytes([0; 64]),
            bls_key: BlsPublicKey::from_bytes([node.as_bytes().as_slice(); 3].concat().try_into().unwrap()),
            bls_proof: BlsSignature::from_bytes([0; 48]),
        };
        Validator { node, power: u64::from(number) + 1, operator: node, keys }
    };
    ValidatorSet::new((0..n).map(validator).collect()).unwrap()
}

/// Workers as a ledger has them: rows by id. One in ten is run by a validator's operator.
fn workers(n: u32, set: &ValidatorSet) -> BTreeMap<NodeId, Candidate> {
    let operators: Vec<_> = set.members().iter().map(|validator| validator.operator).collect();
    let worker = |number: u32| {
        let node = node("lucid bench worker 1", number);
        let place = usize::try_from(number / 10).unwrap() % operators.len();
        let operator = if number.is_multiple_of(10) { operators[place] } else { node };
        (
            node,
            Candidate {
                operator,
                pool: PoolId::from_bytes([1; 32]),
                kbit_s: 100_000,
                disk_bytes: 48 << 30,
                takes_traffic: true,
            },
        )
    };
    (0..n).map(worker).collect()
}

/// Ten workers at a time are at one place.
fn group(number: u32) -> NetworkGroup {
    let [a, b, c, _] = (number / 10).to_le_bytes();
    NetworkGroup::from_bytes([0, 0, 9, c, b, a])
}

/// The fastest of several runs and their median, each with another seed.
fn times(run: impl Fn(Hash)) -> (Duration, Duration) {
    let once = |number| {
        let start = Instant::now();
        run(Hash::from_bytes([number; 32]));
        start.elapsed()
    };
    let mut all: Vec<_> = (0..RUNS).map(once).collect();
    all.sort_unstable();
    (all[0], all[all.len() / 2])
}

/// The hashes alone.
fn hashing(policy: &Policy, seed: &Hash, set: &ValidatorSet, workers: &BTreeMap<NodeId, Candidate>) {
    let most = usize::try_from(policy.max_scored).unwrap();
    if workers.len() > most {
        for worker in workers.keys() {
            black_box(blake3::keyed_hash(seed.as_bytes(), worker.as_bytes()));
        }
    }
    let mut bytes = vec![0; 48 + 8 * (set.members().len() - 1)];
    for worker in workers.keys().take(most).chain(workers.keys().take(most)) {
        let mut hasher = blake3::Hasher::new_keyed(seed.as_bytes());
        hasher.update(worker.as_bytes()).finalize_xof().fill(black_box(&mut bytes));
    }
}

fn main() {
    // Only what is named like this, if anything is: `-- "100,000"`.
    let wanted = std::env::args().skip(1).find(|it| !it.starts_with("--")).unwrap_or_default();
    let public = Policy::default();
    // Echoes of all workers in each epoch, so that all are bounded.
    let busy = Policy { echo_every: 1, ..Policy::default() };
    let rows = [
        ("1,000 workers, 4 validators", 1_000, 4, &public, None),
        ("2,000 workers, 100 validators", 2_000, 100, &public, Some(8)),
        ("2,000 workers, 100 validators, all with echoes", 2_000, 100, &busy, Some(8)),
        ("2,000 workers, 1,000 validators", 2_000, 1_000, &public, None),
        ("2,000 of 100,000 workers, 100 validators", 100_000, 100, &public, Some(20)),
    ];
    let mut missed = Vec::new();
    for (what, n_workers, n_validators, policy, limit) in rows.into_iter().filter(|(what, ..)| what.contains(&wanted)) {
        let set = set(n_validators);
        let workers = workers(n_workers, &set);
        let term = |from| (from, StorageTerm::new(&Hash::from_bytes([9; 32]), from, &set));
        let terms: Vec<_> = (1..=8).map(term).collect();
        let (fastest, median) = times(|seed| {
            let ids = (0u32..).zip(workers.keys()).map(|(i, worker)| (*worker, group(i)));
            let rows: Terms<'_> = terms.iter().map(|(from, term)| (*from, term)).collect();
            let draw = EpochDraw::new(policy, seed, Epoch::new(5_000), &set, &rows, ids, |worker| workers[worker]);
            black_box(draw);
        });
        let (floor, _) = times(|seed| hashing(policy, &seed, &set, &workers));
        let us = |time: Duration| time.as_micros();
        let bound = limit.map_or_else(String::new, |limit| format!(", wanted {limit} ms"));
        let (fastest_us, median_us, floor_us) = (us(fastest), us(median), us(floor));
        println!("{what:<48} {fastest_us:>6} us, median {median_us:>6} us, hashing alone {floor_us:>6} us{bound}");
        if limit.is_some_and(|limit| fastest > Duration::from_millis(limit)) {
            missed.push(what);
        }
    }
    assert!(missed.is_empty(), "slower than wanted: {missed:#?}");
}
