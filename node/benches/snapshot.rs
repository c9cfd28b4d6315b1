//! What a snapshot of 1,000,000 rows costs, beside copying its bytes: `cargo bench -p lucid-node --profile dev --bench snapshot`.
//!
//! *Made* is every page as a peer is answered with it, encoded. *Restored* is what whoever joins does with the pages: decode, check against
//! the root, stage in the store with a sync each, and make the staged state the one in force; and then the start, which reads the rows
//! back and compares their root. The network between them is left out. The copy writes the same bytes to a file and syncs it once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints and takes its time, and fails by panicking"
)]

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::state::{State, StateBuilder};
use lucid_consensus::ledger::table::Workers;
use lucid_node::chain::snapshot::{Snapshot, Snapshots};
use lucid_score::worker_stats::WorkerStats;
use lucid_storage::Store;
use lucid_types::block::{Header, items_hash};
use lucid_types::bls::BlsSignature;
use lucid_types::certificate::Certificate;
use lucid_types::codec::{decode, encode};
use lucid_types::genesis::{Genesis, PaymentNetwork};
use lucid_types::id::{BlockHash, Hash, NetworkId, NodeId, PayoutAddress, SolidBlockId, ValidatorId};
use lucid_types::key::NodeKey;
use lucid_types::policy::Policy;
use lucid_types::sync::{CertifiedHeader, SyncResponse};
use lucid_types::time::{Height, UnixMillis};
use lucid_types::validator::Validator;
use lucid_types::validator_key::ValidatorKey;

const ROWS: u32 = 1_000_000;
const HEIGHT: Height = Height::new(200);

/// Of a network that begins, with these workers' rows.
fn state() -> State {
    let key = NodeKey::from_seed(&[1; 32]);
    let node = key.account();
    let keys = ValidatorKey::from_seed(&[2; 32]).keys(&node);
    let genesis = Genesis {
        name: "bench".to_owned(),
        genesis_time: UnixMillis::new(1),
        tron: PaymentNetwork {
            network: "local".to_owned(),
            genesis_block: SolidBlockId::from_bytes([0; 32]),
            usdt: PayoutAddress::from_hash20([1; 20]),
        },
        policy: Policy::default(),
        validators: vec![Validator { node, power: 1, operator: node, keys }],
    };
    let worker =
        |i: u32| NodeId::from_bytes(*Hash::derive("lucid bench snapshot row 1", &[&i.to_le_bytes()]).as_bytes());
    State::genesis(&ChainSpec::new(genesis).unwrap()).changed(|rows| {
        rows.head.height = HEIGHT;
        (0..ROWS).for_each(|i| rows.put::<Workers>(&worker(i), WorkerStats::default()));
    })
}

/// Nothing here looks at who signed it.
fn certified(state: &State) -> CertifiedHeader {
    let header = Header {
        height: HEIGHT,
        parent: BlockHash::from_bytes([1; 32]),
        round: 0,
        proposer: ValidatorId::from_bytes([1; 32]),
        time: UnixMillis::new(1),
        randao: BlsSignature::from_bytes([6; 48]),
        items: items_hash(&[]),
        next_set: Hash::from_bytes([2; 32]),
        state_root: state.root(),
    };
    let certificate = Certificate { height: HEIGHT, round: 0, block: header.hash(), signatures: Vec::new() };
    CertifiedHeader { header, certificate }
}

/// The pages as they go over the wire.
fn made(snapshots: &Snapshots) -> Vec<Vec<u8>> {
    let (mut pages, mut after) = (Vec::new(), Vec::new());
    loop {
        let page = snapshots.rows(HEIGHT, &after).unwrap();
        after = page.rows.last().unwrap().key.clone();
        let is_last = page.right.is_empty();
        pages.push(encode(&SyncResponse::SnapshotRows(Some(page))));
        if is_last {
            return pages;
        }
    }
}

fn restored(store: &Store, block: &CertifiedHeader, pages: &[Vec<u8>]) -> State {
    let (mut builder, progress) = (StateBuilder::default(), encode(block));
    store.begin_restore(&progress).unwrap();
    for page in pages {
        let Ok(SyncResponse::SnapshotRows(Some(page))) = decode(page) else { panic!("a page is no answer") };
        let mut next = builder.clone();
        page.rows.iter().for_each(|row| next.push(&row.key, &row.value).unwrap());
        assert_eq!(next.root_with(&page.right), Some(block.header.state_root));
        builder = next;
        let rows: Vec<_> = page.rows.into_iter().map(|row| (row.key, row.value)).collect();
        store.put_restored(&rows, &progress).unwrap();
    }
    let hash = block.header.hash();
    store.finish_restore(HEIGHT, hash, &encode(&block.header), &encode(&block.certificate), &[]).unwrap();
    builder.finish(hash).unwrap()
}

fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let made = run();
    (start.elapsed(), made)
}

fn main() {
    let state = state();
    let block = certified(&state);
    let first = Snapshot { block: Arc::new(block.clone()), state: state.clone() };
    let snapshots = Snapshots::new(20, Some(first));
    let (making, pages) = timed(|| made(&snapshots));
    let bytes: usize = pages.iter().map(Vec::len).sum();
    let rate = |took: Duration| format!("{:.0} MB/s ({took:.2?})", bytes as f64 / 1e6 / took.as_secs_f64());
    println!("a snapshot of {ROWS} rows: {} pages, {} MB", pages.len(), bytes / 1_000_000);
    println!("made: {}", rate(making));

    let folder = tempfile::tempdir().unwrap();
    let network = NetworkId::from_bytes([1; 32]);
    let store = Store::open(folder.path(), network).unwrap();
    let (restoring, whole) = timed(|| restored(&store, &block, &pages));
    assert_eq!(whole.root(), state.root());
    println!("restored: {}", rate(restoring));
    let (reading, read) = timed(|| {
        let mut builder = StateBuilder::default();
        for row in store.state_rows() {
            let (key, value) = row.unwrap();
            builder.push(&key, &value).unwrap();
        }
        builder.finish(block.header.hash()).unwrap()
    });
    assert_eq!(read.root(), state.root());
    println!("read back at a start: {}", rate(reading));

    let (copying, ()) = timed(|| {
        let mut file = File::create(folder.path().join("copy")).unwrap();
        pages.iter().for_each(|page| file.write_all(page).unwrap());
        file.sync_all().unwrap();
    });
    println!("a plain copy to a file, synced: {}", rate(copying));
    let share = |took: Duration| copying.as_secs_f64() / took.as_secs_f64();
    println!("of the copy's rate: made {:.2}, restored {:.2}", share(making), share(restoring));
}
