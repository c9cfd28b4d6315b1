//! What persisting costs, beside what the disk itself takes for the same bytes: `make bench`.

#![expect(clippy::unwrap_used, reason = "a failed step ends the benchmark")]

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use lucid_storage::{BlockCommit, Store};
use lucid_types::id::{BlockHash, NetworkId};
use lucid_types::time::Height;

const BLOCK: usize = 20_000;
const STATE: usize = 100_000;
const ENTRY: usize = 300;

/// Bytes that compress to nothing, like hashes and signatures.
fn bytes(n: usize, seed: u64) -> Vec<u8> {
    let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(n + 8);
    while bytes.len() < n {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.truncate(n);
    bytes
}

fn commit(number: u64) -> BlockCommit {
    BlockCommit {
        height: Height::new(number),
        block_hash: BlockHash::from_bytes([2; 32]),
        block: bytes(BLOCK, number),
        certificate: bytes(600, number),
        state: vec![(b"row".to_vec(), Some(bytes(STATE, number)))],
        set_change: None,
        history: Vec::new(),
    }
}

/// Appends to a plain file and syncs it: the least that durable writing can cost on this disk.
fn append_and_sync(folder: &Path, n: usize) -> impl FnMut() {
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join(format!("plain-{n}"))).unwrap();
    let content = bytes(n, 1);
    move || {
        file.write_all(&content).unwrap();
        file.sync_data().unwrap();
    }
}

fn persisting(criterion: &mut Criterion) {
    // In the target folder, not in /tmp, which may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut group = criterion.benchmark_group("synced");
    group.sample_size(50);

    group.bench_function("plain file, 300 B", |b| b.iter(append_and_sync(folder.path(), ENTRY)));
    let store = Store::open(&folder.path().join("log"), NetworkId::from_bytes([1; 32])).unwrap();
    let mut wal = store.wal().unwrap();
    let entry = bytes(ENTRY, 1);
    group.bench_function("log entry, 300 B", |b| {
        b.iter(|| {
            wal.append(Height::new(1), entry.clone()).unwrap();
            wal.sync().unwrap();
        });
    });

    group.bench_function("plain file, 120 kB", |b| b.iter(append_and_sync(folder.path(), BLOCK + STATE)));
    let store = Store::open(&folder.path().join("blocks"), NetworkId::from_bytes([1; 32])).unwrap();
    let mut number = 0;
    group.bench_function("block of 20 kB with 100 kB of changed rows", |b| {
        b.iter_batched(
            || {
                number += 1;
                commit(number)
            },
            |commit| store.commit_block(commit).unwrap(),
            criterion::BatchSize::PerIteration,
        );
    });
    group.finish();

    let mut at = 0;
    criterion.bench_function("read a block of 20 kB", |b| {
        b.iter(|| {
            at = at % number + 1;
            black_box(store.block(Height::new(at)).unwrap().unwrap());
        });
    });
}

criterion_group!(benches, persisting);
criterion_main!(benches);
