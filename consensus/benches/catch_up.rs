//! How fast a node takes over what others have decided, beside the raw ed25519 check on the same machine in the same run:
//! `cargo bench -p lucid-consensus --profile dev --bench catch_up`.
//!
//! A follower's replica takes a chain block by block, as the fetcher hands it over: the certificate is checked, the block applied. What
//! peers, disk and codec cost comes on top in the node. The unit is a signature of the block: those of the certificate and
//! those of its items, which a follower need not check since the certificate vouches for them.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark prints and takes its time, and fails by panicking"
)]

#[expect(dead_code, reason = "other benchmarks use the rest")]
mod thousand;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer, SigningKey};
use lucid_consensus::admission;
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::keyring::Keyring;
use lucid_consensus::ledger::state::Rows;
use lucid_consensus::replica::{Input, Replica, Restore};
use lucid_types::amount::MicroUsdt;
use lucid_types::block::Block;
use lucid_types::certificate::Certificate;
use lucid_types::genesis::{Genesis, PaymentNetwork};
use lucid_types::id::SolidBlockId;
use lucid_types::key::NodeKey;
use lucid_types::payout::VaultLimits;
use lucid_types::policy::Policy;
use lucid_types::sync::CertifiedBlock;
use lucid_types::time::{Epoch, Height};
use lucid_types::vault::{SignerSet, TreasurySigner, Vault};
use lucid_types::vote::{Vote, VoteKind};

use self::thousand::start::Start;
use self::thousand::{address, next_block, policy, signer_of, start, validator_of};

/// Epochs of each chain: settlements are in it, and rows leave the windows.
const EPOCHS: u64 = 12;
/// What a certificate of a hundred validators may take.
const CERTIFICATE: Duration = Duration::from_millis(5);
/// How often a chain is taken over.
const RUNS: usize = 15;
/// What a signature of a certificate may take, beside a raw check.
const MOST_A_SIGNATURE: f64 = 1.5;
/// Blocks a second, as a part of the signatures that could be checked in that time for each of a block's.
const LEAST_RATIO: f64 = 0.5;

fn key(i: u8) -> NodeKey {
    NodeKey::from_seed(&[i + 1; 32])
}

/// Validators of equal power, and what they agreed on about a pool of workers.
struct Chain {
    spec: Arc<ChainSpec>,
    start: Start,
    keys: Vec<NodeKey>,
    blocks: Vec<CertifiedBlock>,
}

impl Chain {
    fn grow(validators: u8, workers: usize, report_window: u64) -> Self {
        let keys: Vec<_> = (0..validators).map(key).collect();
        let members = keys.iter().map(validator_of).collect();
        let tron = PaymentNetwork {
            network: "local".into(),
            genesis_block: SolidBlockId::from_bytes([1; 32]),
            usdt: address(60_000),
        };
        let signer = TreasurySigner { node: keys[0].account(), key_address: address(60_003) };
        let vault = Vault {
            address: address(60_002),
            nonce: 0,
            limits: VaultLimits { cap: MicroUsdt::new(1 << 40), push_fee: MicroUsdt::new(10_000) },
            signers: SignerSet { era: 1, threshold: 1, members: vec![signer] },
        };
        let mut start = start(members, tron, vault);
        // Everybody measures everything if there are few.
        start.genesis.policy = Policy { seats: u32::from(validators).min(21), report_window, ..policy() };
        start.workers.truncate(workers);
        start.pools[0].members.truncate(workers);
        let spec = Arc::new(ChainSpec::new(start.genesis.clone()).unwrap());
        let (mut state, mut blocks) = (start.state(&spec), Vec::new());
        while state.head().scored < Epoch::new(EPOCHS) {
            let (block, applied) = next_block(&spec, &state, &keys);
            let certificate = certificate(&spec, &keys, &block, keys.len() * 2 / 3 + 1);
            blocks.push(CertifiedBlock { block, certificate });
            state = applied.state;
        }
        Self { spec, start, keys, blocks }
    }

    /// Signatures of all certificates and items.
    fn signatures(&self) -> usize {
        let of = |it: &CertifiedBlock| it.certificate.signatures.len() + it.block.items().count();
        self.blocks.iter().map(of).sum()
    }

    /// How long a new follower takes for each block.
    fn catch_up(&self) -> Vec<Duration> {
        let stored = Restore {
            state: self.start.state(&self.spec),
            log: Vec::new(),
            commands: Vec::new(),
            own: std::collections::BTreeMap::new(),
            is_listening: false,
            silent_through: Height::ZERO,
            rebroadcast_sequence: 0,
            now: self.spec.genesis().genesis_time,
        };
        let mut replica = Replica::restore(Arc::clone(&self.spec), Keyring::new(key(200).account(), []), stored, false);
        let blocks = self.blocks.clone();
        let mut took = Vec::new();
        for (height, decided) in (1..).map(Height::new).zip(blocks) {
            let start = Instant::now();
            let now = decided.block.header.time;
            let decided = admission::decided(self.spec.id(), replica.state().sets(), height, decided).unwrap();
            black_box(replica.handle(now, Input::Decided(decided)));
            took.push(start.elapsed());
        }
        assert_eq!(replica.state().height().get(), u64::try_from(self.blocks.len()).unwrap());
        took
    }
}

/// Of the first `count` validators.
fn certificate(spec: &ChainSpec, keys: &[NodeKey], block: &Block, count: usize) -> Certificate {
    let (height, hash) = (block.header.height, block.hash());
    let vote = Vote { kind: VoteKind::Precommit, height, round: 0, block: Some(hash) };
    let sign = |key: &NodeKey| {
        let vote = signer_of(key).sign_vote(spec.id(), vote).into_inner();
        (vote.signer, vote.signature)
    };
    let mut signatures: Vec<_> = keys.iter().take(count).map(sign).collect();
    signatures.sort();
    Certificate { height, round: 0, block: hash, signatures }
}

/// The fastest of several runs: what else the machine does only ever adds.
fn fastest(runs: usize, mut run: impl FnMut()) -> Duration {
    let once = || {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    std::iter::repeat_with(once).take(runs).min().unwrap()
}

/// One raw ed25519 check.
fn verify_strict() -> impl FnMut() {
    let signing = SigningKey::from_bytes(key(0).seed());
    let message = [3; 94];
    let (signature, public) = (signing.sign(&message), signing.verifying_key());
    move || public.verify_strict(black_box(&message), &signature).unwrap()
}

fn seconds(time: Duration, unit: f64) -> f64 {
    time.as_secs_f64() / unit
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// A certificate of a hundred validators: of as few as decide, as nodes make them, and of all.
fn certificates(chain: &Chain) {
    let block = &chain.blocks[0].block;
    let set = chain.spec.first_validators();
    let n_validators = chain.keys.len();
    for count in [n_validators * 2 / 3 + 1, n_validators] {
        let certificate = certificate(&chain.spec, &chain.keys, block, count);
        let took = fastest(200, || {
            black_box(certificate.clone().verify(chain.spec.id(), set).unwrap());
        });
        let raw = fastest(10_000, verify_strict());
        let ratio = took.as_secs_f64() / raw.as_secs_f64() / number(count);
        let (ms, us) = (seconds(took, 1e-3), seconds(raw, 1e-6));
        println!(
            "certificate, {count} signatures of {n_validators} validators: {ms:.2} ms; one verify_strict {us:.1} us: {ratio:.2} of \
             it a signature"
        );
        assert!(
            count == n_validators || took < CERTIFICATE,
            "the certificate of {count} signatures took {took:?}, not {CERTIFICATE:?}"
        );
        assert!(ratio < MOST_A_SIGNATURE, "a signature of a certificate costs {ratio:.2} of a raw check");
    }
}

/// Blocks a second of a follower, beside how many signatures could be checked in the time.
fn catch_up(chain: &Chain, is_bound: bool) {
    let n_blocks = number(chain.blocks.len());
    let signatures = number(chain.signatures()) / n_blocks;
    let runs: Vec<_> = (0..RUNS).map(|_| chain.catch_up()).collect();
    // Of every block the fastest run.
    let took: Duration = (0..chain.blocks.len()).filter_map(|block| runs.iter().map(|run| run[block]).min()).sum();
    let raw = fastest(10_000, verify_strict());
    let (rate, possible) = (n_blocks / took.as_secs_f64(), 1.0 / (raw.as_secs_f64() * signatures));
    let ratio = rate / possible;
    let Start { genesis: Genesis { validators, policy, .. }, workers, .. } = &chain.start;
    println!(
        "{} validators, {} workers, windows of {}: {rate:.0} blocks a second of {signatures:.1} signatures each; checking all of \
         them would allow {possible:.0}: {ratio:.2}{}",
        validators.len(),
        workers.len(),
        policy.report_window,
        if is_bound { "" } else { " (no bound: nearly all of it is scoring)" },
    );
    assert!(
        !is_bound || ratio >= LEAST_RATIO,
        "{ratio:.2} of what checking every signature would allow, not {LEAST_RATIO}"
    );
}

fn main() {
    let public = Chain::grow(100, 1_000, 5);
    certificates(&public);
    catch_up(&public, true);
    catch_up(&Chain::grow(4, 10, 1), true);
    catch_up(&Chain::grow(4, 1_000, 1), false);
}
