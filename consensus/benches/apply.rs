//! What one block costs: checking its signatures, applying it, and checking the proof that it was decided.
//!
//! A block of 1,000 workers and four validators that measured all of them. Printed beside the raw ed25519 check, whose
//! time on the same machine is the unit: `cargo bench -p lucid-consensus --profile dev`.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails, fails")]

mod thousand;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ed25519_dalek::{Signer, SigningKey};
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::event::Event;
use lucid_consensus::ledger::execute::{Execution, validate};
use lucid_consensus::ledger::state::{Rows, State};
use lucid_types::block::Block;
use lucid_types::certificate::Certificate;
use lucid_types::key::NodeKey;
use lucid_types::signed::{Signed, Verified};
use lucid_types::time::Epoch;
use lucid_types::vote::{Vote, VoteKind};

use self::thousand::start::Start;
use self::thousand::{WORKERS, next_block, signer_of, start, unpaid, validator_of};

const VALIDATORS: u8 = 4;

fn key(i: u8) -> NodeKey {
    NodeKey::from_seed(&[i + 1; 32])
}

fn network() -> Start {
    let validator = |i| validator_of(&key(i));
    let (tron, vault) = unpaid(&key(0));
    start((0..VALIDATORS).map(validator).collect(), tron, vault)
}

fn keys() -> Vec<NodeKey> {
    (0..VALIDATORS).map(key).collect()
}

/// The state before a settlement's block, and that block.
struct Fixture {
    spec: ChainSpec,
    state: State,
    block: Block,
}

impl Fixture {
    /// Grows a chain until the next block makes the scores of this epoch final.
    fn before(epoch: u64) -> Self {
        let network = network();
        let spec = ChainSpec::new(network.genesis.clone()).unwrap();
        let mut state = network.state(&spec);
        loop {
            let (block, applied) = next_block(&spec, &state, &keys());
            if applied.state.head().scored == Epoch::new(epoch) {
                return Self { spec, state, block };
            }
            state = applied.state;
        }
    }

    fn verified(&self) -> Verified<Block> {
        self.block.clone().verify(self.spec.id()).unwrap()
    }

    fn apply(&self, block: &Verified<Block>) -> Execution {
        validate(&self.spec, &self.state, block).unwrap()
    }

    fn certificate(&self) -> Certificate {
        let height = self.block.header.height;
        let vote = Vote { kind: VoteKind::Precommit, height, round: 0, block: Some(self.block.hash()) };
        let sign = |i| signer_of(&key(i)).sign_vote(self.spec.id(), vote).into_inner();
        let mut signatures: Vec<_> = (0..VALIDATORS).map(sign).map(|v: Signed<Vote>| (v.signer, v.signature)).collect();
        signatures.sort();
        Certificate { height, round: 0, block: self.block.hash(), signatures }
    }
}

fn blocks(c: &mut Criterion) {
    let mut group = c.benchmark_group("block of 1,000 workers");
    // Epoch 6 becomes final: rows leave the windows, settlement 3 is computed, and its root is made over a thousand accounts.
    let fixture = Fixture::before(6);
    let block = fixture.verified();
    let applied = fixture.apply(&block);
    assert_eq!(applied.finalised.as_ref().unwrap().scores.rows.len(), usize::from(WORKERS));
    let settled = applied.events.iter().find_map(|event| match event {
        Event::Settled(settled) => Some(settled),
        _ => None,
    });
    assert_eq!(settled.unwrap().requests.len(), usize::from(WORKERS) + 1);
    group.bench_function("apply, settlement", |b| b.iter(|| fixture.apply(black_box(&block))));
    group.bench_function("hash", |b| b.iter(|| black_box(&fixture.block).hash()));
    group.bench_function("state root", |b| b.iter(|| black_box(&fixture.state).root()));
    group.bench_function("state clone", |b| b.iter(|| black_box(&fixture.state).clone()));
    let network = *fixture.spec.id();
    group.bench_function("verify 4 signatures", |b| {
        b.iter_batched(|| fixture.block.clone(), |block| block.verify(&network).unwrap(), BatchSize::LargeInput);
    });
    group.finish();
}

fn certificates(c: &mut Criterion) {
    let fixture = Fixture::before(1);
    let (network, certificate) = (*fixture.spec.id(), fixture.certificate());
    let set = fixture.spec.first_validators();
    let mut group = c.benchmark_group("certificate");
    let signing = SigningKey::from_bytes(key(0).seed());
    let message = [3; 94];
    let (signature, public) = (signing.sign(&message), signing.verifying_key());
    group.bench_function("one raw ed25519 verify_strict", |b| {
        b.iter(|| public.verify_strict(black_box(&message), &signature).unwrap());
    });
    group.bench_function("verify 4 signatures", |b| {
        b.iter_batched(|| certificate.clone(), |it| it.verify(&network, set).unwrap(), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = blocks, certificates
}
criterion_main!(benches);
