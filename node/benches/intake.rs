//! How fast attestations are taken in: `cargo bench -p lucid-node --profile dev --bench intake`.
//!
//! Those of a network's workers go through the gate on as many threads as there are cores, from their bytes to the store: decoding, the
//! rules, the signature, and the record on the disk. Beside it stands the checking of the same signatures alone, with keys that are read
//! already. It fails beyond what is wanted.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, and fails by panicking"
)]
#![expect(dead_code, reason = "the fixture serves the tests, too")]

#[path = "../tests/it/fixture.rs"]
mod fixture;

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signature, VerifyingKey};
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::replica::Offers;
use lucid_node::chain::head::Head;
use lucid_node::clock::{Clock, SystemClock};
use lucid_node::gate::{NodeGate, Passed};
use lucid_node::history::metrics::Keeper;
use lucid_node::probe::AttestationTable;
use lucid_p2p::{Admission, Gate, Topic};
use lucid_storage::Store;
use lucid_types::amount::Ppm;
use lucid_types::attestation::{Capacity, ResourceAttestation};
use lucid_types::codec::encode;
use lucid_types::id::NetworkId;
use lucid_types::key::NodeKey;
use lucid_types::signed::{Signed, SignedRecord};
use lucid_types::time::{Epoch, UnixMillis};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const WORKERS: u32 = 2_000;
/// Of each worker, one an epoch.
const OF_ONE: u64 = 10;
const EPOCH: Duration = Duration::from_secs(120);
const RUNS: usize = 5;
/// Of the rate at which signatures alone are checked.
const WANTED: f64 = 0.8;

fn key(number: u32) -> NodeKey {
    NodeKey::from_seed(blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// Attestations of all workers, an epoch after another.
fn attestations(network: &NetworkId, keys: &[NodeKey]) -> Vec<Signed<ResourceAttestation>> {
    let of_epoch = |epoch| {
        let record = ResourceAttestation {
            epoch: Epoch::new(epoch),
            sequence: epoch,
            time: UnixMillis::new(1_000_000 * epoch),
            uptime_s: 86_400 + epoch,
            cpu: Ppm::new(120_000),
            memory: Ppm::new(450_000),
            disk: Ppm::new(700_000),
            network_rx_bytes_s: 1_250_000,
            network_tx_bytes_s: 640_000,
            sessions: 1_000 * epoch,
            capacity: Capacity { cores: 8, memory_bytes: 16 << 30, disk_bytes: 48 << 30, bandwidth_kbit_s: 40_000 },
            allocation: Ppm::new(300_000),
        };
        keys.iter().map(move |key| key.sign_attestation(network, record.clone()).into_inner())
    };
    (1..=OF_ONE).flat_map(of_epoch).collect()
}

/// What there is to check of a signature: the key, the bytes that it covers, and it.
fn raw(network: &NetworkId, signed: &Signed<ResourceAttestation>) -> (VerifyingKey, Vec<u8>, Signature) {
    let key = VerifyingKey::from_bytes(signed.signer.as_bytes()).unwrap();
    let tag = ResourceAttestation::TAG.as_bytes();
    let length = u8::try_from(tag.len()).unwrap();
    let bytes = [&[length], tag, network.as_bytes(), &encode(&signed.record)].concat();
    (key, bytes, Signature::from_bytes(signed.signature.as_bytes()))
}

/// Does the work on all cores, a share of each on one.
fn on_cores<T: Sync>(all: &[T], work: impl Fn(&T) + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for first in 0..cores {
            let work = &work;
            scope.spawn(move || all.iter().skip(first).step_by(cores).for_each(work));
        }
    });
}

/// The time from the first bytes to the last record on the disk.
fn intake(db: &Path, spec: &Arc<ChainSpec>, head: &Head, all: &[Vec<u8>]) -> Duration {
    let store = Store::open(db, *spec.id()).unwrap();
    let (_newest, head) = watch::channel(head.clone());
    let table = Arc::new(AttestationTable::new(&spec.fixed()));
    let gate = NodeGate::new(Arc::clone(spec), Arc::new(SystemClock), table, head);
    let registered = Arc::new(|| usize::try_from(WORKERS).unwrap());
    let keeper = Arc::new(Keeper::new(store, Arc::new(SystemClock), fixture::node(1), registered));
    let (runtime, stop) =
        (tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap(), CancellationToken::new());
    let from = key(0).public_key();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let (keeper, all_came) = (&keeper, stop.clone());
        scope.spawn(move || {
            on_cores(all, |bytes| match gate.admit(from, Topic::Attestations(0), bytes) {
                Admission::Accept(Passed::Attestation(attestation)) => keeper.keep(&attestation),
                other => unreachable!("{other:?}"),
            });
            all_came.cancel();
        });
        runtime.block_on(Arc::clone(keeper).run(stop)).unwrap();
    });
    begun.elapsed()
}

fn main() {
    let keys: Vec<_> = (0..WORKERS).map(key).collect();
    let mut genesis = fixture::genesis(EPOCH, &[1]);
    genesis.genesis_time = genesis.genesis_time.before(EPOCH * u32::try_from(OF_ONE).unwrap());
    let workers = keys.iter().map(|key| fixture::worker(key.account(), 1)).collect();
    let start = fixture::start::Start { genesis, workers, pools: vec![] };
    let spec = Arc::new(ChainSpec::new(start.genesis.clone()).unwrap());
    let head = Head {
        state: start.state(&spec),
        block: None,
        adopted_at: SystemClock.now(),
        offers: Offers::default(),
        round: None,
        unreported: vec![],
    };
    let signed = attestations(spec.id(), &keys);
    let bytes: Vec<_> = signed.iter().map(encode).collect();
    let raw: Vec<_> = signed.iter().map(|signed| raw(spec.id(), signed)).collect();

    let dir = tempfile::tempdir().unwrap();
    let (mut taken, mut checked) = (Duration::MAX, Duration::MAX);
    for run in 0..RUNS {
        taken = taken.min(intake(&dir.path().join(run.to_string()), &spec, &head, &bytes));
        let begun = Instant::now();
        on_cores(&raw, |(key, bytes, signature)| key.verify_strict(bytes, signature).unwrap());
        checked = checked.min(begun.elapsed());
    }
    let rate = |time: Duration| f64::from(u32::try_from(signed.len()).unwrap()) / time.as_secs_f64();
    let ratio = rate(taken) / rate(checked);
    let met = if ratio >= WANTED { "met" } else { "MISSED" };
    println!("attestations taken in, {} workers  {:.0} a second", keys.len(), rate(taken));
    println!("their signatures alone  {:.0} a second: ratio {ratio:.2} (wanted {WANTED}: {met})", rate(checked));
    assert!(ratio >= WANTED, "slower than wanted");
}
