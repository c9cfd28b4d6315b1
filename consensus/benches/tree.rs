//! What the state's Merkle tree costs at a million rows, beside a `BTreeMap` of the same rows in the same run:
//! `cargo bench -p lucid-consensus --profile dev --bench tree`.
//!
//! Keys are random, each update's too, so that the processor has few of the nodes at hand. An update hashes the new values,
//! applies them and has the new root; the map's hashes the same values and inserts them in place, which is the least that a store
//! of authenticated rows could do. Memory is what the process holds more after the build than before, by the kernel's count,
//! divided by the rows.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints and takes its time, and fails by panicking"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_consensus::ledger::tree::{Builder, Change, Tree};
use lucid_types::codec::encode;
use lucid_types::id::Hash;
use lucid_types::proof::{KeyProof, value_hash};

const ROWS: usize = 1_000_000;
const KEY_BYTES: usize = 33;
const VALUE_BYTES: usize = 100;
/// Rows that an update changes.
const CHANGED: usize = 2_000;
/// Updates, each of other rows.
const UPDATES: usize = 101;
/// Keys that are proved to be present, and as many to be absent.
const PROVED: usize = 10_000;

/// What an update may take: the fastest, since what else the machine does only ever adds.
const UPDATE: Duration = Duration::from_millis(20);
/// What a proof may take to be made, on average.
const PROVE: Duration = Duration::from_millis(1);
/// What the longest proof may take, without the value.
const PROOF_BYTES: usize = 1 << 10;

type Value = Arc<[u8]>;

/// Bytes that look random, the same in every run.
fn bytes<const N: usize>(purpose: &str, i: usize) -> [u8; N] {
    let mut bytes = [0; N];
    let seed = u64::try_from(i).unwrap().to_le_bytes();
    blake3::Hasher::new_derive_key(purpose).update(&seed).finalize_xof().fill(&mut bytes);
    bytes
}

fn key(i: usize) -> Vec<u8> {
    let mut key = bytes::<KEY_BYTES>("lucid bench row key 1", i).to_vec();
    key[0] = 1;
    key
}

fn value(i: usize) -> Value {
    Arc::from(bytes::<VALUE_BYTES>("lucid bench row value 1", i))
}

/// New values for rows drawn at random.
fn drawn(update: usize) -> BTreeMap<Vec<u8>, Value> {
    let seed = |i| update * CHANGED + i;
    let row = |i| usize::try_from(u32::from_le_bytes(bytes("lucid bench drawn row 1", seed(i)))).unwrap() % ROWS;
    (0..CHANGED).map(|i| (key(row(i)), value(ROWS + seed(i)))).collect()
}

fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let made = run();
    (start.elapsed(), made)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

/// What was found, and which limits were missed.
#[derive(Default)]
struct Report {
    missed: Vec<&'static str>,
}

impl Report {
    fn below<T: PartialOrd>(&mut self, what: &'static str, found: T, limit: T, shown: &str) {
        let is_met = found < limit;
        println!("{what}: {shown} {}", if is_met { "(met)" } else { "(MISSED)" });
        if !is_met {
            self.missed.push(what);
        }
    }
}

fn build(rows: &BTreeMap<Vec<u8>, Value>) -> Tree<Value> {
    // Values of its own, as if they came from the disk.
    let before = resident();
    let (took, builder) = timed(|| {
        let mut builder = Builder::default();
        for (key, value) in rows {
            builder.push(key, Arc::from(&**value), value_hash(value)).unwrap();
        }
        builder
    });
    let (finished, tree) = timed(|| builder.finish());
    let bytes = (resident() - before) / ROWS;
    let (hashing, _) = timed(|| rows.values().for_each(|value| _ = black_box(value_hash(value))));
    println!("build from {ROWS} sorted rows: {:.2?}, of which hashing the values {hashing:.2?}", took + finished);
    println!("memory: {bytes} bytes a row of {KEY_BYTES} + {VALUE_BYTES} bytes (growth of VmRSS)");
    tree
}

fn updates(report: &mut Report, tree: &Tree<Value>, rows: &mut BTreeMap<Vec<u8>, Value>) {
    let (mut by_tree, mut by_map, mut freed) = (Vec::new(), Vec::new(), Vec::new());
    for update in 0..UPDATES {
        let drawn = drawn(update);
        let list: Vec<_> = drawn.iter().map(|(key, value)| (key.clone(), Arc::clone(value))).collect();
        let (took, (next, root)) = timed(|| {
            let change = |(key, value): (Vec<u8>, Value)| {
                let hash = value_hash(&value);
                Change { key, value: Some((value, hash)) }
            };
            let next = tree.apply(&list.into_iter().map(change).collect::<Vec<_>>());
            let root = next.root();
            (next, root)
        });
        by_tree.push(took);
        assert_ne!(black_box(root), tree.root());
        freed.push(timed(|| drop(next)).0);
        by_map.push(
            timed(|| {
                for (key, value) in drawn {
                    black_box(value_hash(&value));
                    rows.insert(key, value);
                }
            })
            .0,
        );
    }
    let fastest = |times: &[Duration]| *times.iter().min().unwrap();
    let (took, least) = (fastest(&by_tree), fastest(&by_map));
    let ratio = took.as_secs_f64() / least.as_secs_f64();
    let shown = format!(
        "{took:.2?}, limit {UPDATE:?} (median {:.2?}); the map with the same hashes of values {least:.2?} (median {:.2?}): \
         {ratio:.1} times that; freeing what the update made {:.2?}",
        median(by_tree),
        median(by_map),
        fastest(&freed),
    );
    report.below("update of 2,000 rows", took, UPDATE, &shown);
}

/// Makes and checks proofs, and shows their time and size.
fn prove(report: &mut Report, tree: &Tree<Value>, what: &'static str, keys: &[Vec<u8>]) {
    let n = u32::try_from(keys.len()).unwrap();
    let (made, proofs) = timed(|| keys.iter().map(|key| tree.prove(key)).collect::<Vec<_>>());
    let root: Hash = tree.root();
    let check = |(key, proof): (&Vec<u8>, &KeyProof)| match tree.get(key) {
        Some(value) => proof.check_value(&root, key, value).unwrap(),
        None => proof.check_absence(&root, key).unwrap(),
    };
    let (checked, ()) = timed(|| keys.iter().zip(&proofs).for_each(check));
    let sizes: Vec<_> = proofs.iter().map(|proof| encode(proof).len()).collect();
    let (mean, longest) = (sizes.iter().sum::<usize>() / sizes.len(), *sizes.iter().max().unwrap());
    println!("proofs of {n} {what} keys:");
    report.below("  made", made / n, PROVE, &format!("{:.2?} each, limit {PROVE:?}", made / n));
    println!("  checked: {:.2?} each", checked / n);
    let shown = format!("mean {mean} bytes, longest {longest}, limit {PROOF_BYTES}, without the value");
    report.below("  size", longest, PROOF_BYTES, &shown);
}

fn main() {
    let mut report = Report::default();
    let mut rows: BTreeMap<_, _> = (0..ROWS).map(|i| (key(i), value(i))).collect();
    let tree = build(&rows);
    assert_eq!(tree.len(), ROWS);
    updates(&mut report, &tree, &mut rows);
    let present: Vec<_> = (0..PROVED).map(|i| key(i * (ROWS / PROVED))).collect();
    let absent: Vec<_> = (0..PROVED).map(|i| key(ROWS + i)).collect();
    prove(&mut report, &tree, "present", &present);
    prove(&mut report, &tree, "absent", &absent);
    assert!(report.missed.is_empty(), "limits missed: {}", report.missed.join(", "));
}
