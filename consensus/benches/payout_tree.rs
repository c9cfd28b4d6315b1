//! What a pool's payout tree costs: `make bench`, or `cargo bench -p lucid-consensus --profile dev --bench payout_tree`.

#![expect(clippy::unwrap_used, reason = "a failed step ends the benchmark")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutTree};

const ACCOUNTS: u64 = 100_000;

fn account(n: u64) -> OwedAccount {
    let mut id = [0; 32];
    id[24..].copy_from_slice(&n.to_be_bytes());
    let to = PayoutAddress::from_hash20([7; 20]);
    OwedAccount { id: AccountId::from_bytes(id), to, owed: MicroUsdt::new(n) }
}

fn payout_tree(criterion: &mut Criterion) {
    let accounts: Vec<_> = (0..ACCOUNTS).map(account).collect();
    let mut group = criterion.benchmark_group("payout_tree");
    group.sample_size(10);
    group.bench_function("root of 100,000 accounts", |b| {
        b.iter(|| PayoutTree::new(black_box(&accounts)).unwrap().root());
    });
    let tree = PayoutTree::new(&accounts).unwrap();
    group.bench_function("proof of one of them", |b| b.iter(|| tree.range_proof(black_box(77_777), 1).unwrap()));
    group.finish();
}

criterion_group!(benches, payout_tree);
criterion_main!(benches);
