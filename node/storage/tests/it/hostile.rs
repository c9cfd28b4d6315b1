//! A hostile disk: one byte that changed, a file cut short, a file that is gone. Whatever it was, the store never panics and
//! never hands out other content than was written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lucid_storage::Store;

use crate::contents::{Content, copy, files, hashes, in_memory, read, template, text};
use crate::support::{NETWORK, commit, open};

/// How many damages the test tries.
const SEEDS: &str = "LUCID_STORAGE_DAMAGE_SEEDS";

/// The generator of the damage.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % n
    }
}

/// A damage that was done.
struct Damage {
    file: String,
    what: String,
    /// How far from the file's end a byte was changed.
    before_end: Option<u64>,
}

/// Damages one of the files that `is_damaged` names.
fn damage(folder: &Path, seed: u64, is_damaged: &dyn Fn(&str) -> bool) -> Damage {
    let mut chance = Chance(seed);
    let name_of = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let files: Vec<_> = files(folder).into_iter().filter(|(path, _)| is_damaged(&name_of(path))).collect();
    let (path, length) = &files[usize::try_from(chance.below(u64::try_from(files.len()).unwrap())).unwrap()];
    let file = name_of(path);
    let mut before_end = None;
    let what = match chance.below(4) {
        0 => {
            fs::remove_file(path).unwrap();
            format!("{file} removed")
        }
        1 if *length > 0 => {
            let to = chance.below(*length);
            fs::OpenOptions::new().write(true).open(path).unwrap().set_len(to).unwrap();
            format!("{file} of {length} bytes cut to {to}")
        }
        _ if *length > 0 => {
            let mut bytes = fs::read(path).unwrap();
            let at = chance.below(*length);
            let mask = u8::try_from(1 + chance.below(255)).unwrap();
            bytes[usize::try_from(at).unwrap()] ^= mask;
            fs::write(path, bytes).unwrap();
            before_end = Some(length - at);
            format!("{file} of {length} bytes changed by {mask:#04x} at {at}")
        }
        _ => format!("{file}, which is empty"),
    };
    Damage { file, what, before_end }
}

/// What came of a damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The store was not opened.
    Refused,
    /// It was opened; verifying it named the damage, and reading failed or gave what was written.
    Named,
    /// Everything was as it was written.
    Same,
    /// Everything was as it had been at an earlier time.
    Earlier,
}

/// Verifies, opens and reads a damaged store. Fails if it shows anything that never was, or if verifying misses something.
fn outcome(folder: &Path, contents: &[Content]) -> Result<Outcome, String> {
    let report = lucid_storage::verify(folder).map_err(|error| format!("verify: {error}"))?;
    let is_sound = report.is_sound();
    let missed = |what| Err(format!("verify found nothing, but {what}"));
    let content = match Store::open(folder, NETWORK) {
        Err(error) if is_sound => return missed(format!("opening: {}", text(&error))),
        Err(_) => return Ok(Outcome::Refused),
        Ok(store) => read(&store),
    };
    match content {
        Err(error) if is_sound => missed(format!("reading: {error}")),
        Err(_) => Ok(Outcome::Named),
        Ok(content) if Some(&content) == contents.last() => Ok(if is_sound { Outcome::Same } else { Outcome::Named }),
        Ok(content) if contents.contains(&content) => Ok(Outcome::Earlier),
        Ok(_) => Err("there is other content than was ever written".to_owned()),
    }
}

fn n_seeds() -> u64 {
    std::env::var(SEEDS).map_or(150, |n| n.parse().unwrap())
}

/// Damages as many copies of a store as there are seeds, and prints what came of it. `each` sees what is damaged and fails if
/// the outcome is wrong for it.
fn try_damages(
    title: &str,
    n_seeds: u64,
    of: &Path,
    contents: &[Content],
    is_damaged: impl Fn(&str) -> bool,
    check: impl Fn(&Damage, Outcome) -> Result<(), String>,
) -> BTreeMap<Outcome, u64> {
    let mut tally: BTreeMap<Outcome, u64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for seed in 0..n_seeds {
        let folder = in_memory();
        copy(of, folder.path());
        let damage = damage(folder.path(), seed, &is_damaged);
        let what = &damage.what;
        match outcome(folder.path(), contents) {
            Ok(outcome) => {
                *tally.entry(outcome).or_default() += 1;
                wrong.extend(check(&damage, outcome).err().map(|why| format!("seed {seed}, {what}: {why}")));
            }
            Err(why) => wrong.push(format!("seed {seed}, {what}: {why}")),
        }
    }
    println!("{title}, {n_seeds} damages: {tally:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    tally
}

#[test]
fn no_damage_of_a_closed_store_shows_other_content() {
    let whole = in_memory();
    let contents = template(whole.path());
    let never_earlier = |_: &Damage, outcome| match outcome {
        Outcome::Earlier => Err("it went back to an earlier content".to_owned()),
        _ => Ok(()),
    };
    let tally = try_damages("closed store", n_seeds(), whole.path(), &contents, |_| true, never_earlier);
    let n = |outcome| tally.get(&outcome).copied().unwrap_or(0);
    assert!(n(Outcome::Refused) > 0 && n(Outcome::Named) > 0 && n(Outcome::Same) > 0, "{tally:?}");
}

/// After a crash there is nothing to compare the files with but themselves. A manifest that ends too early is not noticed
/// then, so it is left out; nor is that the newest log is not as long as it was.
#[test]
fn after_a_crash_only_damage_of_the_newest_log_goes_back_to_an_earlier_content() {
    let (closed, live, whole) = (in_memory(), in_memory(), in_memory());
    let mut contents = template(closed.path());
    copy(closed.path(), live.path());
    let store = open(live.path());
    for number in 17..=19 {
        store.commit_block(commit(number)).unwrap();
        contents.push(read(&store).unwrap());
    }
    copy(live.path(), whole.path());
    drop(store);
    let newest = files(whole.path()).into_keys().filter(|path| path.extension().is_some_and(|end| end == "log")).max();
    let newest = newest.unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    // What RocksDB reads of a log at once: a length that was damaged in the last such piece can reach beyond the end.
    const PIECE: u64 = 32 << 10;
    let only_of_the_tail = |damage: &Damage, outcome| {
        let is_tail = damage.file == newest && damage.before_end.is_none_or(|distance| distance <= PIECE);
        if outcome == Outcome::Earlier && !is_tail {
            return Err("it went back to an earlier content".to_owned());
        }
        Ok(())
    };
    let any = |name: &str| !name.starts_with("MANIFEST");
    let tally = try_damages("crashed store", n_seeds() / 3, whole.path(), &contents, any, only_of_the_tail);
    assert!(tally.contains_key(&Outcome::Refused), "{tally:?}");
    let log = |name: &str| name == newest;
    let tally = try_damages("its newest log", n_seeds() / 3, whole.path(), &contents, log, only_of_the_tail);
    assert!(tally.contains_key(&Outcome::Earlier) && tally.contains_key(&Outcome::Refused), "{tally:?}");
}

/// Blocks as they are in the tables, read by RocksDB with and without its checksums.
fn raw_blocks(folder: &Path, verifies: bool) -> Result<Vec<Vec<u8>>, rocksdb::Error> {
    let mut options = rocksdb::Options::default();
    options.set_paranoid_checks(false);
    let db = rocksdb::DB::open_cf_for_read_only(&options, folder, rocksdb::DB::list_cf(&options, folder)?, false)?;
    let mut reading = rocksdb::ReadOptions::default();
    reading.set_verify_checksums(verifies);
    let blocks = db.iterator_cf_opt(db.cf_handle("blocks").unwrap(), reading, rocksdb::IteratorMode::Start);
    blocks.map(|entry| entry.map(|(_, block)| block.into_vec())).collect()
}

/// The comparison can fail: without checksums, damage of a table shows blocks that nobody wrote.
#[test]
fn negative_control_without_checksums_damage_shows_other_content() {
    let whole = in_memory();
    template(whole.path());
    let written = raw_blocks(whole.path(), true).unwrap();
    let options = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&options, whole.path()).unwrap();
    let db = rocksdb::DB::open_cf_for_read_only(&options, whole.path(), families, false).unwrap();
    let tables = db.live_files().unwrap();
    let of_blocks: Vec<_> = tables.into_iter().filter(|table| table.column_family_name == "blocks").collect();
    let is_of_blocks = |name: &str| of_blocks.iter().any(|table| table.name.ends_with(name));
    let n_other = |verifies| {
        let is_other = |seed: &u64| {
            let folder = in_memory();
            copy(whole.path(), folder.path());
            damage(folder.path(), *seed, &is_of_blocks);
            raw_blocks(folder.path(), verifies).is_ok_and(|found| found != written)
        };
        (0..60).filter(is_other).count()
    };
    let (with, without) = (n_other(true), n_other(false));
    println!("of 60 damaged tables, {without} show other blocks without checksums, {with} with them");
    assert_eq!(with, 0);
    assert!(without > 0);
}

/// And RocksDB's checksums are not enough: without the store's record of its files, a manifest that was cut short shows
/// tables without those that came after them.
#[test]
fn negative_control_without_the_record_of_files_a_manifest_cut_short_shows_other_content() {
    let whole = in_memory();
    let contents = template(whole.path());
    let manifest =
        files(whole.path()).into_iter().find(|(path, _)| path.to_str().unwrap().contains("MANIFEST")).unwrap();
    let (path, length) = (manifest.0.file_name().unwrap().to_owned(), manifest.1);
    let n_other = |is_recorded: bool| {
        let is_other = |to: &u64| {
            let folder = in_memory();
            copy(whole.path(), folder.path());
            if !is_recorded {
                fs::remove_file(folder.path().join("lucid.files")).unwrap();
            }
            fs::OpenOptions::new().write(true).open(folder.path().join(&path)).unwrap().set_len(*to).unwrap();
            let content = Store::open(folder.path(), NETWORK).map(|store| read(&store));
            matches!(content, Ok(Ok(content)) if !contents.contains(&content))
        };
        (length / 2..length).step_by(29).filter(is_other).count()
    };
    assert_eq!(n_other(true), 0);
    assert!(n_other(false) > 0);
}

/// Whatever can be salvaged of a damaged store was written to it at some time, and most damage loses next to nothing.
#[test]
fn what_is_salvaged_was_written() {
    let whole = in_memory();
    let contents = template(whole.path());
    let last = contents.last().unwrap();
    let ever: std::collections::BTreeSet<_> = contents.iter().flatten().collect();
    let (mut ways, mut n_whole, mut n_part, mut n_unusable) = (BTreeMap::<String, u64>::new(), 0, 0, 0);
    for seed in 0..n_seeds() / 3 {
        let (folder, targets) = (in_memory(), in_memory());
        copy(whole.path(), folder.path());
        let damage = damage(folder.path(), seed, &|name: &str| FILES_OF_DATA.iter().any(|part| name.contains(part)));
        let before = hashes(folder.path());
        let target = targets.path().join("salvaged");
        let report = lucid_storage::salvage(folder.path(), &target);
        let report = report.unwrap_or_else(|error| panic!("seed {seed}, {}: {}", damage.what, text(&error)));
        assert!(hashes(folder.path()) == before, "seed {seed}, {}: the damaged store was changed", damage.what);
        assert_eq!(files(targets.path()).len(), 1, "something is left over");
        *ways.entry(format!("{:?}", report.way)).or_default() += 1;
        let store = match Store::open(&target, NETWORK) {
            Ok(store) => store,
            Err(error) => {
                assert!(!report.missing.is_empty(), "seed {seed}, {}: {}", damage.what, text(&error));
                n_unusable += 1;
                continue;
            }
        };
        let content = read(&store).unwrap();
        // The line of head and base may be of a time of its own: the base moves.
        let other: Vec<_> = content[1..].iter().filter(|line| !ever.contains(line) && !line.1.is_empty()).collect();
        assert!(other.is_empty(), "seed {seed}, {}: {other:?}", damage.what);
        if content == *last { n_whole += 1 } else { n_part += 1 }
    }
    println!("salvaged: {n_whole} whole, {n_part} in part, {n_unusable} not to be opened; {ways:?}");
    assert!(n_whole > 0 && n_part > 0);
}

const FILES_OF_DATA: [&str; 4] = [".sst", ".log", "MANIFEST", "CURRENT"];
