//! Crashes at every write, spoiled files, full disks, and what goes when.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::os::unix::fs::{FileExt, PermissionsExt};

use lucid_types::id::{Hash, NetworkId};
use lucid_types::storage::CHUNK_BYTES;
use proptest::prelude::*;

use super::file::{Disk, PAGE};
use super::*;

const OWNER: Owner = Owner { network: NetworkId::from_bytes([1; 32]), worker: NodeId::from_bytes([2; 32]) };
const VALIDATOR: NodeId = NodeId::from_bytes([3; 32]);
const OTHER: NodeId = NodeId::from_bytes([4; 32]);
const DEPOSIT: DepositId = DepositId { term: 7, tag: Hash::from_bytes([5; 32]) };
const ROOM: Room = Room { chunks: 100, bytes: u64::MAX, min_free_bytes: 0 };
const RANGE: u32 = 1_024;

fn chunk(index: u32) -> Vec<u8> {
    let mut bytes = vec![0; CHUNK_BYTES];
    blake3::Hasher::new_keyed(&[9; 32]).update(&index.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn range(index: u32, offset: u32) -> ChunkRange {
    ChunkRange { index, offset }
}

/// The bytes of a range as they were deposited.
fn expected(ChunkRange { index, offset }: ChunkRange) -> Vec<u8> {
    let start = usize::try_from(offset).unwrap();
    chunk(index)[start..start + 1_024].to_vec()
}

fn open(dir: &Path) -> ChunkStore {
    ChunkStore::open(dir, OWNER).unwrap()
}

/// A store with so many chunks of [`DEPOSIT`].
fn filled(dir: &Path, chunks: u32) -> ChunkStore {
    let store = open(dir);
    for index in 0..chunks {
        assert_eq!(store.deposit(&VALIDATOR, &DEPOSIT, index, &chunk(index), ROOM), Ok(index + 1));
    }
    store
}

fn file_of(dir: &Path) -> PathBuf {
    dir.join(format!("{VALIDATOR}-7.chunks"))
}

#[test]
fn what_was_deposited_is_read_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chunks");
    let store = filled(&path, 3);
    // Within a block, over the edge of two, and the last bytes.
    let ranges = [range(0, 5), range(2, 16_384 - 100), range(1, (1 << 20) - 1_024), range(0, 0)];
    let all: Vec<u8> = ranges.iter().flat_map(|range| expected(*range)).collect();
    assert_eq!(store.read(&VALIDATOR, &DEPOSIT, &ranges, RANGE), Ok(all.clone()));
    assert_eq!(store.bytes(), HEADER_BYTES + 3 * SLOT_BYTES);
    drop(store);
    let store = open(&path);
    assert_eq!((store.held(&VALIDATOR, &DEPOSIT), store.bytes()), (3, HEADER_BYTES + 3 * SLOT_BYTES));
    assert_eq!(store.read(&VALIDATOR, &DEPOSIT, &ranges, RANGE), Ok(all));
    assert_eq!(check(&path, &OWNER).unwrap(), Checked { chunks: 3, ..Checked::default() });
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&file_of(&path))), (0o700, 0o600));
}

#[test]
fn chunks_come_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), 2);
    let deposit = |index, room| store.deposit(&VALIDATOR, &DEPOSIT, index, &chunk(index), room);
    assert_eq!(deposit(1, ROOM), Ok(2), "the last one again");
    for index in [0, 3, 99] {
        assert_eq!(deposit(index, ROOM), Err(StorageRefusal::OutOfOrder { next: 2 }));
    }
    assert_eq!(deposit(2, Room { chunks: 2, ..ROOM }), Err(StorageRefusal::NotDrawn));
    assert_eq!(deposit(u32::MAX, ROOM), Err(StorageRefusal::NotDrawn));
    let fresh = store.deposit(&OTHER, &DEPOSIT, 1, &chunk(1), ROOM);
    assert_eq!(fresh, Err(StorageRefusal::OutOfOrder { next: 0 }));
    let read = |ranges: &[ChunkRange]| store.read(&VALIDATOR, &DEPOSIT, ranges, RANGE);
    assert_eq!(read(&[range(2, 0)]), Err(StorageRefusal::Unknown));
    assert_eq!(read(&[range(0, (1 << 20) - 1_023)]), Err(StorageRefusal::Unknown));
    assert_eq!(read(&[range(0, u32::MAX)]), Err(StorageRefusal::Unknown));
    assert_eq!(store.read(&OTHER, &DEPOSIT, &[range(0, 0)], RANGE), Err(StorageRefusal::Unknown));
}

#[test]
fn another_secret_takes_the_place_of_the_first_with_its_first_chunk() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), 2);
    let other = DepositId { tag: Hash::from_bytes([6; 32]), ..DEPOSIT };
    assert_eq!(store.held(&VALIDATOR, &other), 0);
    assert_eq!(store.deposit(&VALIDATOR, &other, 2, &chunk(2), ROOM), Err(StorageRefusal::OutOfOrder { next: 0 }));
    assert_eq!(store.held(&VALIDATOR, &DEPOSIT), 2, "nothing has changed yet");
    assert_eq!(store.deposit(&VALIDATOR, &other, 0, &chunk(0), ROOM), Ok(1));
    assert_eq!((store.held(&VALIDATOR, &DEPOSIT), store.held(&VALIDATOR, &other)), (0, 1));
    assert_eq!(store.bytes(), HEADER_BYTES + SLOT_BYTES);
    assert_eq!(open(dir.path()).held(&VALIDATOR, &other), 1);
}

#[test]
fn no_more_is_taken_than_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), 2);
    let deposit = |room| store.deposit(&VALIDATOR, &DEPOSIT, 2, &chunk(2), room);
    let three = HEADER_BYTES + 3 * SLOT_BYTES;
    assert_eq!(deposit(Room { bytes: three - 1, ..ROOM }), Err(StorageRefusal::Full));
    assert_eq!(deposit(Room { min_free_bytes: u64::MAX / 2, ..ROOM }), Err(StorageRefusal::Full));
    assert_eq!(store.bytes(), HEADER_BYTES + 2 * SLOT_BYTES);
    assert_eq!(deposit(Room { bytes: three, ..ROOM }), Ok(3));
    // A new file needs a header, too.
    let other = store.deposit(&OTHER, &DEPOSIT, 0, &chunk(0), Room { bytes: three, ..ROOM });
    assert_eq!((other, store.held(&OTHER, &DEPOSIT)), (Err(StorageRefusal::Full), 0));
}

#[test]
fn what_is_none_of_ours_is_removed_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), 1));
    let copy = |name: String| fs::copy(file_of(dir.path()), dir.path().join(name)).unwrap();
    copy(format!("{VALIDATOR}-8.chunks"));
    copy(format!("{OTHER}-7.chunks"));
    copy(format!("{VALIDATOR}-07.chunks"));
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    fs::write(dir.path().join(format!("{OTHER}-9.chunks")), "").unwrap();
    let store = open(dir.path());
    assert_eq!(store.held(&VALIDATOR, &DEPOSIT), 1);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    // Of another worker, and of another network.
    for owner in [Owner { worker: OTHER, ..OWNER }, Owner { network: NetworkId::from_bytes([8; 32]), ..OWNER }] {
        let dir = tempfile::tempdir().unwrap();
        drop(filled(dir.path(), 1));
        assert_eq!(ChunkStore::open(dir.path(), owner).unwrap().bytes(), 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_damaged_chunk_is_cut_off_with_those_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), 4);
    let disk = OpenOptions::new().write(true).open(file_of(dir.path())).unwrap();
    let at = HEADER_BYTES + SLOT_BYTES + 20_000;
    FileExt::write_all_at(&disk, &[!chunk(1)[20_000]], at).unwrap();
    let checked = check(dir.path(), &OWNER).unwrap();
    assert_eq!(checked, Checked { chunks: 4, damaged: vec![(file_of(dir.path()), 1)], foreign: vec![] });
    let read = |index, offset| store.read(&VALIDATOR, &DEPOSIT, &[range(index, offset)], RANGE);
    assert_eq!(read(1, 0), Ok(expected(range(1, 0))), "another block of it");
    assert_eq!(read(1, 20_000), Err(StorageRefusal::Damaged { index: 1 }));
    assert_eq!((store.held(&VALIDATOR, &DEPOSIT), store.bytes()), (1, HEADER_BYTES + SLOT_BYTES));
    assert_eq!(read(2, 0), Err(StorageRefusal::Unknown));
    assert_eq!(store.deposit(&VALIDATOR, &DEPOSIT, 1, &chunk(1), ROOM), Ok(2));
    assert_eq!(read(1, 20_000), Ok(expected(range(1, 20_000))));
}

#[test]
fn what_may_not_stay_is_collected() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), 3);
    let next = DepositId { term: 14, ..DEPOSIT };
    for index in 0..2 {
        store.deposit(&VALIDATOR, &next, index, &chunk(index), ROOM).unwrap();
        store.deposit(&OTHER, &DEPOSIT, index, &chunk(index), ROOM).unwrap();
    }
    store.collect(|_, _| Some(100), u64::MAX);
    assert_eq!(store.bytes(), 3 * HEADER_BYTES + 7 * SLOT_BYTES);
    store.collect(|validator, _| (*validator == VALIDATOR).then_some(2), u64::MAX);
    let held = |validator, deposit| store.held(&validator, &deposit);
    assert_eq!([held(VALIDATOR, DEPOSIT), held(VALIDATOR, next), held(OTHER, DEPOSIT)], [2, 2, 0]);
    store.collect(|_, _| Some(2), 2 * HEADER_BYTES + 3 * SLOT_BYTES);
    assert_eq!([held(VALIDATOR, DEPOSIT), held(VALIDATOR, next)], [2, 1]);
    let again = open(dir.path());
    assert_eq!([again.held(&VALIDATOR, &DEPOSIT), again.held(&VALIDATOR, &next)], [2, 1]);
    store.collect(|_, _| None, u64::MAX);
    assert_eq!((store.bytes(), fs::read_dir(dir.path()).unwrap().count()), (0, 0));
}

#[test]
fn a_check_names_what_is_wrong_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chunks");
    assert_eq!(check(&path, &OWNER).unwrap(), Checked::default(), "there is no folder");
    drop(filled(&path, 3));
    let bytes = fs::read(file_of(&path)).unwrap();
    // A trailer in the middle, and a last slot that was not written to the end.
    let mut spoiled = bytes.clone();
    let trailer = PAGE + 2 * (CHUNK_BYTES + PAGE) - PAGE;
    spoiled[trailer] ^= 1;
    spoiled.truncate(bytes.len() - 1);
    fs::write(file_of(&path), &spoiled).unwrap();
    fs::write(path.join("notes.txt"), "mine").unwrap();
    fs::copy(file_of(&path), path.join(format!("{OTHER}-7.chunks"))).unwrap();
    let mut foreign = vec![path.join("notes.txt"), path.join(format!("{OTHER}-7.chunks"))];
    foreign.sort_unstable();
    let expected = Checked { chunks: 2, damaged: vec![(file_of(&path), 1)], foreign };
    assert_eq!(check(&path, &OWNER).unwrap(), expected);
    assert!(fs::read(file_of(&path)).unwrap() == spoiled && fs::read_dir(&path).unwrap().count() == 3);
    // At a start only the first is left, and nothing is wrong any more.
    assert_eq!(open(&path).held(&VALIDATOR, &DEPOSIT), 1);
    assert_eq!(check(&path, &OWNER).unwrap(), Checked { chunks: 1, ..Checked::default() });
}

/// However many chunks there are, opening their file reads the last one. Damage before it is found when it is read.
#[test]
fn opening_reads_the_last_chunk_alone() {
    let mut file = DepositFile::create(Failing::new(Vec::new(), u32::MAX), &OWNER, &VALIDATOR, &DEPOSIT).unwrap();
    for index in 0..6 {
        file.append(&chunk(index)).unwrap();
    }
    let mut bytes = file.into_disk().cached.into_inner().unwrap();
    // The trailer of the third.
    bytes[PAGE + 3 * (CHUNK_BYTES + PAGE) - PAGE] ^= 1;
    let file = reopened(bytes).unwrap();
    assert_eq!(file.count(), 6);
    let damaged: Vec<_> = file.damaged().collect();
    assert_eq!(damaged, [2]);
    assert!(matches!(file.read(&[range(2, 0)], 1_024), Err(ReadFault::Damaged { index: 2, .. })));
    let file = reopened(file.into_disk().cached.into_inner().unwrap()).unwrap();
    let most = HEADER_BYTES + SLOT_BYTES;
    assert!(file.count() == 6 && file.into_disk().n_read.into_inner().unwrap() <= most);
}

/// While they are read and written, chunks go: nothing is served that was not deposited, and the sum of all lengths is right, whatever of them is
/// there.
#[test]
fn collecting_and_depositing_at_the_same_time_lose_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let chunks = [chunk(0), chunk(1), chunk(2)];
    let lengths = || fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).sum::<u64>();
    let mut n_there = 0;
    for round in 0..8 {
        std::thread::scope(|scope| {
            for validator in [VALIDATOR, OTHER] {
                let (store, chunks) = (store.clone(), &chunks);
                scope.spawn(move || {
                    for index in (0..3).cycle().take(12) {
                        let place = usize::try_from(index).unwrap();
                        let _raced = store.deposit(&validator, &DEPOSIT, index, &chunks[place], ROOM);
                        if let Ok(bytes) = store.read(&validator, &DEPOSIT, &[range(index, 0)], RANGE) {
                            assert_eq!(bytes, chunks[place][..1_024]);
                        }
                    }
                });
            }
            let store = store.clone();
            scope.spawn(move || {
                for n in 0..12 {
                    // Files are shortened and removed in turn.
                    store.collect(|it, _| (*it == VALIDATOR || n % 3 != round % 3).then_some(n % 2 + 1), u64::MAX);
                }
            });
        });
        assert_eq!(store.bytes(), lengths(), "round {round}");
        n_there += u32::from(store.bytes() > 0);
    }
    assert!(n_there > 4, "in most rounds something is there: {n_there}");
    assert_eq!(open(dir.path()).bytes(), store.bytes());
    store.collect(|_, _| None, 0);
    assert_eq!((store.bytes(), lengths()), (0, 0));
}

/// A disk that loses power: what was written since the last sync is there in part, page by page.
#[derive(Debug, Default)]
struct Failing {
    durable: Mutex<Vec<u8>>,
    cached: Mutex<Vec<u8>>,
    /// Writes, syncs and changes of the length that still succeed.
    left: Mutex<u32>,
    /// Bytes that were read.
    n_read: Mutex<u64>,
}

impl Failing {
    fn new(bytes: Vec<u8>, left: u32) -> Self {
        Self {
            durable: Mutex::new(bytes.clone()),
            cached: Mutex::new(bytes),
            left: Mutex::new(left),
            n_read: Mutex::default(),
        }
    }

    fn step(&self) -> io::Result<()> {
        let mut left = self.left.lock().unwrap();
        *left = left.checked_sub(1).ok_or_else(|| io::Error::from(io::ErrorKind::StorageFull))?;
        Ok(())
    }

    /// What is there after the power has come back: of the pages that differ those are the new ones for which `is_written` says so.
    fn after_crash(self, is_written: impl Fn(usize) -> bool) -> Vec<u8> {
        let (old, new) = (self.durable.into_inner().unwrap(), self.cached.into_inner().unwrap());
        // The length may have come to the disk before the bytes.
        let mut bytes = old.clone();
        bytes.resize(new.len().max(old.len()), 0);
        for (n, page) in new.chunks(PAGE).enumerate().filter(|(n, _)| is_written(*n)) {
            bytes[n * PAGE..n * PAGE + page.len()].copy_from_slice(page);
        }
        bytes
    }
}

impl Disk for Failing {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let (cached, at) = (self.cached.lock().unwrap(), usize::try_from(at).unwrap());
        let found = cached.get(at..at + bytes.len()).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        bytes.copy_from_slice(found);
        *self.n_read.lock().unwrap() += bytes.len() as u64;
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let (mut cached, at) = (self.cached.lock().unwrap(), usize::try_from(at).unwrap());
        let end = at + bytes.len();
        if cached.len() < end {
            cached.resize(end, 0);
        }
        // A write that fails has come to half.
        let outcome = self.step();
        let written = if outcome.is_ok() { bytes.len() } else { bytes.len() / 2 };
        cached[at..at + written].copy_from_slice(&bytes[..written]);
        outcome
    }

    fn sync(&self) -> io::Result<()> {
        self.step()?;
        self.durable.lock().unwrap().clone_from(&self.cached.lock().unwrap());
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.step()?;
        self.cached.lock().unwrap().resize(usize::try_from(bytes).unwrap(), 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.cached.lock().unwrap().len() as u64)
    }
}

fn reopened(bytes: Vec<u8>) -> Option<DepositFile<Failing>> {
    DepositFile::open(Failing::new(bytes, u32::MAX), &OWNER, &VALIDATOR, DEPOSIT.term).unwrap()
}

fn is_right(file: &DepositFile<Failing>) -> bool {
    (0..file.count()).all(|index| {
        let ranges = [range(index, 0), range(index, 700_000), range(index, (1 << 20) - RANGE)];
        let all: Vec<u8> = ranges.iter().flat_map(|range| expected(*range)).collect();
        file.read(&ranges, 1_024).is_ok_and(|bytes| bytes == all)
    })
}

/// Three chunks are deposited, and the power fails at each step in turn, whichever pages of what was under way have come to the disk.
#[test]
fn after_a_crash_at_any_write_every_acknowledged_chunk_is_there() {
    let (mut n_crashes, chunks) = (0, [chunk(0), chunk(1), chunk(2)]);
    for left in 0..9 {
        let patterns: [fn(usize) -> bool; 5] =
            [|_| false, |_| true, |n| n % 2 == 0, |n| n % 257 != 0, |n| n % 257 == 0];
        for is_written in patterns {
            let made = DepositFile::create(Failing::new(Vec::new(), left), &OWNER, &VALIDATOR, &DEPOSIT);
            let Ok(mut file) = made else { continue };
            let mut acknowledged = 0;
            for chunk in &chunks {
                match file.append(chunk) {
                    Ok(()) => acknowledged += 1,
                    Err(_) => {
                        n_crashes += 1;
                        break;
                    }
                }
            }
            assert_eq!(file.count(), acknowledged);
            let file = reopened(file.into_disk().after_crash(is_written)).unwrap();
            assert!((acknowledged..=acknowledged + 1).contains(&file.count()), "{} of {acknowledged}", file.count());
            assert!(is_right(&file));
            // And it goes on from there.
            let (next, mut file) = (file.count(), file);
            if let Some(chunk) = chunks.get(usize::try_from(next).unwrap()) {
                file.append(chunk).unwrap();
                assert!(file.count() == next + 1 && is_right(&file));
            }
        }
    }
    assert!(n_crashes >= 25, "{n_crashes}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever becomes of its bytes: no wrong byte is served, nothing panics, and no chunk appears.
    #[test]
    fn a_spoiled_file_serves_nothing_wrong(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 0..4),
        is_cut: bool,
        end in any::<prop::sample::Index>(),
        tail in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let disk = Failing::new(Vec::new(), u32::MAX);
        let mut file = DepositFile::create(disk, &OWNER, &VALIDATOR, &DEPOSIT).unwrap();
        for index in 0..2 {
            file.append(&chunk(index)).unwrap();
        }
        let mut bytes = file.into_disk().cached.into_inner().unwrap();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if is_cut {
            bytes.truncate(end.index(bytes.len()));
        }
        bytes.extend(tail);
        let Some(file) = reopened(bytes) else { return Ok(()) };
        prop_assert!(file.count() <= 2);
        for index in 0..2 {
            for offset in (0..1 << 20).step_by(1 << 14) {
                let wanted = range(index, offset);
                if let Ok(bytes) = file.read(&[wanted], 1_024) {
                    prop_assert!(bytes == expected(wanted));
                }
            }
        }
    }
}
