//! `kill -9` in the middle of writing, again and again: what was acknowledged is there, and nothing is half there.
//!
//! The writer is this test binary run again as a process of its own; it writes a line for every call that returned.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};

use lucid_storage::{HistoryKind, OwnKind, Store};

use crate::support::{EARLY, Rows, block_hash, collect, commit, content, height, open, raw, state_after};
use crate::{maintenance, restore};

const MODE: &str = "LUCID_STORAGE_TEST_MODE";
const FOLDER: &str = "LUCID_STORAGE_TEST_FOLDER";
/// Log entries that the writer makes for each height.
const ENTRIES: usize = 3;

/// A writer process.
pub(crate) struct Child {
    process: std::process::Child,
    lines: BufReader<ChildStderr>,
}

impl Child {
    pub(crate) fn spawn(mode: &str, folder: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["crash::writer", "--exact", "--nocapture"])
            .env(MODE, mode)
            .env(FOLDER, folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap());
        Self { process, lines }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next line that the writer finished, or `None` at its end.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.strip_suffix('\n').map(str::to_owned)
    }

    /// Kills with SIGKILL and waits for the end.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // A failed test must not leave its writer behind; an ended one cannot be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a writer said it had done.
#[derive(Debug, Default)]
pub(crate) struct Acked {
    /// The last committed height.
    pub(crate) block: u64,
    /// Log entries of the height after it.
    pub(crate) entries: usize,
    /// The last height with an own record.
    pub(crate) own: u64,
}

impl Acked {
    fn note(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (what, number) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
        match what {
            "entry" => self.entries = words.next().unwrap().parse().unwrap(),
            "own" => self.own = number,
            "block" => {
                self.block = number;
                self.entries = 0;
            }
            _ => panic!("the writer said {line:?}"),
        }
    }
}

fn entry(number: u64, index: usize) -> Vec<u8> {
    content(b'w', number * 10 + u64::try_from(index).unwrap())
}

/// Whether the store is whole and holds everything that was acknowledged; else what is wrong.
pub(crate) fn verify(store: &Store, acked: &Acked) -> Result<(), String> {
    let expect = |what: &str, number: u64, found: Option<Vec<u8>>, expected: Vec<u8>| match found {
        Some(found) if found == expected => Ok(()),
        Some(_) => Err(format!("{what} of {number} differs")),
        None => Err(format!("{what} of {number} is missing")),
    };
    let head = store.head().map_or(0, |head| head.height.get());
    if head != acked.block && head != acked.block + 1 {
        return Err(format!("block {} was acknowledged, the head is {head}", acked.block));
    }
    for number in 1..=head {
        expect("block", number, store.block(height(number)).unwrap(), content(b'b', number))?;
        expect("certificate", number, store.certificate(height(number)).unwrap(), content(b'c', number))?;
        let record = store.history_record(HistoryKind::Score, &number.to_be_bytes(), EARLY).unwrap();
        expect("history", number, record, content(b'h', number))?;
    }
    if store.block(height(head + 1)).unwrap().is_some() || store.certificate(height(head + 1)).unwrap().is_some() {
        return Err(format!("something of block {} is there, but the head is {head}", head + 1));
    }
    if head > 0 {
        if store.head().unwrap().block_hash != block_hash(head) {
            return Err(format!("the head's hash is not that of block {head}"));
        }
        if collect(store.state_rows()) != state_after(Rows::new(), 1, head) {
            return Err(format!("the rows are not those of block {head}"));
        }
    }
    for number in 1..=acked.own {
        let record = store.own(OwnKind::Report, &number.to_be_bytes()).unwrap();
        expect("own record", number, record, content(b'o', number))?;
    }
    let wal = store.wal().unwrap();
    for number in 0..=head {
        if !wal.entries(height(number)).unwrap().is_empty() {
            return Err(format!("the log still has entries of decided height {number}"));
        }
    }
    let entries = wal.entries(height(head + 1)).unwrap();
    if head == acked.block && entries.len() < acked.entries {
        return Err(format!("{} log entries were acknowledged, {} are there", acked.entries, entries.len()));
    }
    let expected: Vec<_> = (0..entries.len()).map(|index| entry(head + 1, index)).collect();
    if entries != expected {
        return Err(format!("the log entries of height {} differ", head + 1));
    }
    Ok(())
}

#[test]
fn invariant_8_what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut acked = Acked::default();
    let mut killed_between = std::collections::BTreeSet::new();
    for round in 0..25_u32 {
        let mut child = Child::spawn("honest", folder.path());
        let mut last = String::new();
        for _ in 0..7 + (round * 13) % 29 {
            last = child.line().unwrap();
            acked.note(&last);
        }
        child.kill();
        // What it still said between the last line read and its end counts as well.
        while let Some(line) = child.line() {
            acked.note(&line);
            last = line;
        }
        killed_between.insert(last.split(' ').next().unwrap().to_owned());
        verify(&open(folder.path()), &acked).unwrap_or_else(|wrong| panic!("round {round}: {wrong}; {acked:?}"));
        // A call that finished without its line being written counts from now on.
        acked.block = open(folder.path()).head().map_or(0, |head| head.height.get());
        acked.entries = 0;
    }
    assert!(acked.block > 25, "the writers came to {acked:?} only");
    assert!(killed_between.len() > 1, "every kill came after the same kind of call: {killed_between:?}");
}

#[test]
fn negative_control_a_commit_in_two_batches_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Child::spawn("torn", folder.path());
    assert_eq!(child.line().as_deref(), Some("torn"));
    child.kill();
    let wrong = verify(&open(folder.path()), &Acked { block: 3, ..Acked::default() });
    assert_eq!(wrong, Err("certificate of 4 is missing".to_owned()));
}

#[test]
fn negative_control_an_entry_acknowledged_before_its_sync_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Child::spawn("unsynced", folder.path());
    let mut acked = Acked::default();
    acked.note(&child.line().unwrap());
    child.kill();
    let wrong = verify(&open(folder.path()), &acked);
    assert_eq!(wrong, Err("1 log entries were acknowledged, 0 are there".to_owned()));
}

pub(crate) fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Not a test by itself: the process that the tests above start and kill.
#[test]
fn writer() {
    let (Ok(mode), Some(folder)) = (std::env::var(MODE), std::env::var_os(FOLDER)) else { return };
    let folder = Path::new(&folder);
    match mode.as_str() {
        "honest" => write_honestly(&open(folder)),
        "hold" => {
            let _store = open(folder);
            say("held");
            wait_for_the_end();
        }
        "torn" => {
            let store = open(folder);
            for number in 1..=3 {
                store.commit_block(commit(number)).unwrap();
            }
            drop(store);
            write_half_a_block(folder);
        }
        "restore" => restore::write(&open(folder)),
        "back up" => maintenance::back_up(folder),
        "unsynced" => {
            let store = open(folder);
            let mut wal = store.wal().unwrap();
            wal.append(height(1), entry(1, 0)).unwrap();
            say("entry 1 1");
            wait_for_the_end();
        }
        _ => panic!("unknown mode {mode}"),
    }
}

fn write_honestly(store: &Store) {
    let mut wal = store.wal().unwrap();
    let first = store.head().map_or(1, |head| head.height.get() + 1);
    for number in first.. {
        let n_written = wal.entries(height(number)).unwrap().len();
        for index in n_written..ENTRIES {
            wal.append(height(number), entry(number, index)).unwrap();
            wal.sync().unwrap();
            say(&format!("entry {number} {}", index + 1));
        }
        store.put_new(OwnKind::Report, &number.to_be_bytes(), &content(b'o', number)).unwrap();
        say(&format!("own {number}"));
        store.commit_block(commit(number)).unwrap();
        say(&format!("block {number}"));
    }
}

/// Writes block and head, and stops before the rest, as a store without one batch could.
fn write_half_a_block(folder: &Path) {
    let db = raw(folder);
    let family = |name| db.cf_handle(name).unwrap();
    db.put_cf(family("blocks"), 4_u64.to_be_bytes(), content(b'b', 4)).unwrap();
    let head = [&4_u64.to_be_bytes()[..], block_hash(4).as_bytes()].concat();
    db.put_cf(family("meta"), b"head", head).unwrap();
    say("torn");
    wait_for_the_end();
}

fn wait_for_the_end() {
    loop {
        std::thread::park();
    }
}
