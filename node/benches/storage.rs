//! What the storage probe takes: `cargo bench -p lucid-node --profile dev --bench storage`.
//!
//! The validator's side is the making of chunks and the comparing of what a challenge brings; the worker's is storing a chunk durably, and
//! returning the ranges of a challenge, which the system's cache may hold or not. The files are in the build directory, so that they are on
//! a disk. It fails beyond what is wanted.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and fails by panicking")]

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use lucid_node::chunks::{ChunkStore, Owner, Room};
use lucid_node::probe::StorageSecret;
use lucid_types::id::{NetworkId, NodeId};
use lucid_types::policy::Policy;
use lucid_types::storage::{CHUNK_BYTES, ChunkRange, DepositId};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use zeroize::Zeroizing;

const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);
const WORKER: NodeId = NodeId::from_bytes([2; 32]);
const VALIDATOR: NodeId = NodeId::from_bytes([3; 32]);
const TERM: u64 = 7;
/// Chunks of the deposit.
const CHUNKS: u32 = 256;
/// Challenges that are timed.
const CHALLENGES: u32 = 500;

/// A validator deposits at most 256 MiB in an epoch of two minutes: a fiftieth of a core is to do for that.
const WANTED_MADE_MB_S: u128 = 112;
/// What a worker of 48 GiB holds in a term, 24 GiB, then takes an hour and a half of the settlement before, which has a day.
const WANTED_STORED_S: u128 = 5;
/// A challenge has 2 s, the way there and back included.
const WANTED_CHALLENGE: Duration = Duration::from_millis(200);
/// A validator of the greatest network compares those of 2,000 workers in an epoch: a thousandth of a core is to do for that.
const WANTED_COMPARED: Duration = Duration::from_micros(60);

/// Tells a figure; whether it is as wanted.
fn tell(what: &str, figure: &str, wanted: &str, is_met: bool) -> bool {
    println!("{what}: {figure}; wanted {wanted}: {}", if is_met { "met" } else { "MISSED" });
    is_met
}

/// The median and the time that 99 of 100 keep.
fn of(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// Ranges as a challenge has them: the same in each run.
fn challenge(policy: &Policy, n: u32) -> Vec<ChunkRange> {
    let last = (1 << 20) - policy.storage_range_bytes;
    let range = |place: u32| {
        let random = (n * policy.storage_ranges + place).wrapping_mul(0x9e37_79b1);
        ChunkRange { index: random % CHUNKS, offset: random.rotate_left(16) % last }
    };
    (0..policy.storage_ranges).map(range).collect()
}

/// Nothing of the files is in memory any more.
fn forget(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let file = File::open(entry.unwrap().path()).unwrap();
        file.sync_all().unwrap();
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
    }
}

fn main() {
    let policy = Policy::default();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = ChunkStore::open(folder.path(), Owner { network: NETWORK, worker: WORKER }).unwrap();
    let seed = StorageSecret::new(Zeroizing::new([9; 32])).seed(&NETWORK, &VALIDATOR, &WORKER, TERM);
    let deposit = DepositId { term: TERM, tag: seed.tag() };
    let room = Room { chunks: CHUNKS, bytes: u64::MAX, min_free_bytes: 0 };

    let begun = Instant::now();
    let chunks: Vec<_> = (0..CHUNKS).map(|index| seed.chunk(index)).collect();
    let made = u128::from(CHUNKS) * CHUNK_BYTES as u128 / begun.elapsed().as_micros();
    let wanted = format!("{WANTED_MADE_MB_S} MB/s");
    let mut is_met = tell("chunks made on one core", &format!("{made} MB/s"), &wanted, made >= WANTED_MADE_MB_S);

    let begun = Instant::now();
    for (index, chunk) in (0..).zip(&chunks) {
        store.deposit(&VALIDATOR, &deposit, index, chunk, room).unwrap();
    }
    let stored = u128::from(CHUNKS) * 1_000 / begun.elapsed().as_millis();
    let wanted = format!("{WANTED_STORED_S} a second");
    is_met &= tell("chunks stored durably", &format!("{stored} a second"), &wanted, stored >= WANTED_STORED_S);

    for (what, is_cold) in [("from the disk", true), ("from memory", false)] {
        let (mut read, mut compared) = (Vec::new(), Vec::new());
        for n in 0..CHALLENGES {
            let ranges = challenge(&policy, n);
            if is_cold {
                forget(folder.path());
            }
            let begun = Instant::now();
            let bytes = store.read(&VALIDATOR, &deposit, &ranges, policy.storage_range_bytes).unwrap();
            read.push(begun.elapsed());
            let begun = Instant::now();
            assert!(seed.is_right(&ranges, policy.storage_range_bytes, &bytes));
            compared.push(begun.elapsed());
        }
        let (median, most) = of(read);
        let wanted = format!("{WANTED_CHALLENGE:?}");
        let figure = format!("median {median:.2?}, 99 of 100 {most:.2?}");
        is_met &= tell(&format!("ranges of a challenge {what}"), &figure, &wanted, most < WANTED_CHALLENGE);
        if !is_cold {
            let (median, most) = of(compared);
            let figure = format!("median {median:.2?}, 99 of 100 {most:.2?}");
            let wanted = format!("{WANTED_COMPARED:?}");
            is_met &= tell("an answer compared", &figure, &wanted, median < WANTED_COMPARED);
        }
    }
    assert!(is_met, "beyond what is wanted");
}
