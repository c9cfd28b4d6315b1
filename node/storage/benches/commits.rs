//! What the store costs beside RocksDB itself: durable block commits against a plain batch of the same bytes, with the same
//! settings and the same sync, in turns: `cargo bench -p lucid-storage --profile dev --bench commits`.
//!
//! A block of 100 KiB that changes 2,000 rows of 900 bytes. The limits are shares of RocksDB's own throughput; the run fails
//! if one is missed.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and fails by panicking")]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use lucid_storage::{BlockCommit, Store};
use lucid_types::id::{BlockHash, NetworkId};
use lucid_types::time::Height;
use rocksdb::{Cache, ColumnFamilyDescriptor, DB, Env, Options, WriteBatch, WriteOptions};

const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);
const BLOCK: usize = 100 << 10;
const CERTIFICATE: usize = 600;
const ROWS: u64 = 2_000;
const ROW: usize = 900;
/// Rows in the state, of which each block changes some.
const STATE_ROWS: u64 = 20_000;
const BLOCKS: u64 = 50;
/// Blocks before those that count.
const WARM_UP: u64 = 10;
/// All are measured so often; the median share counts, because other programs come when they like.
const RUNS: usize = 9;
/// The least share of RocksDB's throughput, with and without a sync of each block.
const WANTED_SYNCED: f64 = 0.85;
const WANTED_UNSYNCED: f64 = 0.6;

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
    let row = |i: u64| {
        let key = bytes(33, 1 + (number * 7_919 + i * 10) % STATE_ROWS);
        (key, Some(bytes(ROW, number * ROWS + i)))
    };
    BlockCommit {
        height: Height::new(number),
        block_hash: BlockHash::from_bytes([2; 32]),
        block: bytes(BLOCK, number),
        certificate: bytes(CERTIFICATE, number),
        state: (0..ROWS).map(row).collect(),
        set_change: None,
        history: Vec::new(),
    }
}

/// A database with the store's own settings, as the store wrote them down, and nothing of the store.
fn plain(folder: &Path) -> DB {
    drop(Store::open(folder, NETWORK).unwrap());
    let (settings, families) =
        Options::load_latest(folder, Env::new().unwrap(), true, Cache::new_lru_cache(8 << 20)).unwrap();
    let families: Vec<ColumnFamilyDescriptor> = families;
    DB::open_cf_descriptors(&settings, folder, families).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "as the store takes it, with what freeing it costs")]
fn write_plainly(db: &DB, commit: BlockCommit, is_synced: bool) {
    let family = |name| db.cf_handle(name).unwrap();
    let mut batch = WriteBatch::default();
    let key = commit.height.get().to_be_bytes();
    batch.put_cf(family("blocks"), key, &commit.block);
    batch.put_cf(family("certificates"), key, &commit.certificate);
    let state = family("state-a");
    for (key, value) in &commit.state {
        batch.put_cf(state, key, value.as_ref().unwrap());
    }
    batch.put_cf(family("meta"), b"head", [&key[..], &[2; 32]].concat());
    let mut options = WriteOptions::default();
    options.set_sync(is_synced);
    db.write_opt(batch, &options).unwrap();
}

/// What writes blocks.
#[derive(Clone, Copy)]
enum Writer {
    Store,
    RocksDb,
    /// The same, which shows what chance does.
    RocksDbAgain,
}

/// Times of each block in a new database, which flushes and compacts meanwhile and has the machine for itself.
fn measure(folder: &Path, writer: Writer, is_synced: bool) -> Vec<Duration> {
    let mut write: Box<dyn FnMut(BlockCommit)> = match writer {
        Writer::Store => {
            let opened = if is_synced { Store::open(folder, NETWORK) } else { Store::open_unsynced(folder, NETWORK) };
            let store = opened.unwrap();
            Box::new(move |commit| store.commit_block(commit).unwrap())
        }
        Writer::RocksDb | Writer::RocksDbAgain => {
            let db = plain(folder);
            Box::new(move |commit| write_plainly(&db, commit, is_synced))
        }
    };
    let mut times = Vec::new();
    for number in 1..=WARM_UP + BLOCKS {
        let commit = commit(number);
        let start = Instant::now();
        write(commit);
        times.push(start.elapsed());
    }
    times.split_off(usize::try_from(WARM_UP).unwrap())
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Prints each run; whether the median share of RocksDB's throughput is as it should be.
fn compare(folder: &Path, what: &str, is_synced: bool, wanted: f64) -> bool {
    let n_bytes = BLOCK + CERTIFICATE + (ROW + 33) * usize::try_from(ROWS).unwrap();
    println!("{what}, {RUNS} runs of {BLOCKS} blocks of {n_bytes} bytes, mean and median of a block:");
    let (mut shares, mut again) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        let mut times = [Writer::Store, Writer::RocksDb, Writer::RocksDbAgain].map(|writer| (writer, Vec::new()));
        // Each is first, second and last in turn.
        for turn in 0..times.len() {
            let (writer, times) = &mut times[(run + turn) % 3];
            *times = measure(&folder.join(format!("{is_synced}-{run}-{turn}")), *writer, is_synced);
        }
        let times = times.map(|(_, times)| times);
        let mean = |times: &[Duration]| times.iter().sum::<Duration>() / u32::try_from(times.len()).unwrap();
        let means = times.each_ref().map(|times| mean(times));
        let medians = times.map(median);
        shares.push(means[1].as_secs_f64() / means[0].as_secs_f64());
        again.push(means[1].as_secs_f64() / means[2].as_secs_f64());
        let line = |i: usize| format!("{:.2} ({:.2})", ms(means[i]), ms(medians[i]));
        println!("  store {} ms, RocksDB alone {} ms, and again {} ms", line(0), line(1), line(2));
    }
    let [share, again] = [shares, again].map(|mut shares: Vec<f64>| {
        shares.sort_unstable_by(f64::total_cmp);
        shares[shares.len() / 2]
    });
    println!("  {share:.2} of RocksDB's throughput, wanted at least {wanted:.2}; RocksDB beside itself has {again:.2}");
    share >= wanted
}

/// What the disk takes to make a few bytes durable.
fn sync_alone(folder: &Path) -> Duration {
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join("sync")).unwrap();
    let times = (0..200)
        .map(|_| {
            file.write_all(&[7; 100]).unwrap();
            let start = Instant::now();
            file.sync_data().unwrap();
            start.elapsed()
        })
        .collect();
    median(times)
}

fn main() {
    // In the target folder, not in /tmp, which may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    println!("fdatasync after 100 bytes: median {:.2} ms", ms(sync_alone(folder.path())));
    let synced = compare(folder.path(), "synced", true, WANTED_SYNCED);
    let unsynced = compare(folder.path(), "not synced", false, WANTED_UNSYNCED);
    assert!(synced && unsynced, "the store is slower than it may be");
}
