//! What a state takes in memory. For the benchmarks of this crate.

use std::io::{BufReader, BufWriter, Read, Write};
use std::ops::Bound;
use std::process::{Command, Stdio};

use lucid_consensus::ledger::state::State;
use lucid_types::id::BlockHash;

/// Makes this process read rows and say what it holds more.
const READ_ROWS: &str = "--read-rows";

/// Whether this process is one that [`resident_of`] has started: it has read the rows then, and can end.
pub(crate) fn is_reader() -> bool {
    let is_it = std::env::args().any(|argument| argument == READ_ROWS);
    if is_it {
        read_rows();
    }
    is_it
}

/// The keys and values of a state, as a disk holds them.
pub(crate) fn rows_of(state: &State) -> Vec<(Vec<u8>, Vec<u8>)> {
    state.encoded_from(Bound::Unbounded).map(|(key, value)| (key.to_vec(), value)).collect()
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

/// What a process holds more when it has read these rows, one by one, than before: another one, in which nothing was freed.
pub(crate) fn resident_of(rows: &[(Vec<u8>, Vec<u8>)]) -> usize {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg(READ_ROWS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut rows_in = BufWriter::new(child.stdin.take().unwrap());
    for part in rows.iter().flat_map(|(key, value)| [key, value]) {
        rows_in.write_all(&u32::try_from(part.len()).unwrap().to_le_bytes()).unwrap();
        rows_in.write_all(part).unwrap();
    }
    drop(rows_in);
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

fn read_rows() {
    let mut rows = BufReader::new(std::io::stdin().lock());
    let mut part = || {
        let mut length = [0; 4];
        rows.read_exact(&mut length).ok()?;
        let mut part = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap()];
        rows.read_exact(&mut part).unwrap();
        Some(part)
    };
    let before = resident();
    let rows = std::iter::from_fn(|| Some((part()?, part()?)));
    let state = State::from_rows(BlockHash::from_bytes([1; 32]), rows).unwrap();
    println!("{}", resident() - before);
    drop(state);
}

pub(crate) fn size(rows: &[(Vec<u8>, Vec<u8>)]) -> usize {
    rows.iter().map(|(key, value)| key.len() + value.len()).sum()
}
