//! The seal: what a store's files were when it was closed.
//!
//! RocksDB's own checksums do not notice a manifest or a log that ends too early, nor that the newest log is gone; such damage
//! would show an older content, or a mixture of older and newer. So closing writes down names and lengths of all files of
//! data, with hashes of those whose end RocksDB does not know, and opening compares before it changes anything. Files of
//! tables need no hash: their blocks have checksums, and RocksDB's manifest has their lengths.
//!
//! While a store is open the seal only says which log was the newest when it was opened. After a crash that is all there is
//! to compare, beside RocksDB's own checks.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{self, FileFault, FileKind, FileList, Listed, data_files, newest_log};

/// Name of the seal in the store's folder.
pub(crate) const SEAL_FILE: &str = "lucid.files";
/// The seal's word for a store that is open, with the number of its newest log.
const OPEN: &str = "open";
/// The seal's word for a store that was closed.
const CLOSED: &str = "closed";

/// Seals the store when it is dropped, which is after RocksDB has closed.
#[derive(Debug)]
pub(crate) struct Seal {
    folder: PathBuf,
}

impl Seal {
    /// For a store that was just opened.
    pub(crate) fn of_open(folder: &Path) -> io::Result<Self> {
        let newest = newest_log(&data_files(folder)?).unwrap_or(0);
        let list = FileList { about: vec![(OPEN.to_owned(), newest.to_string())], ..FileList::default() };
        files::write_synced(&folder.join(SEAL_FILE), list.to_text().as_bytes())?;
        Ok(Self { folder: folder.to_path_buf() })
    }
}

impl Drop for Seal {
    fn drop(&mut self) {
        // Nobody is left to tell. The seal then still says that the store is open, as after a crash.
        let _ = close(&self.folder);
    }
}

/// Writes the seal of a store that RocksDB has closed.
pub(crate) fn close(folder: &Path) -> io::Result<()> {
    let mut list = FileList { about: vec![(CLOSED.to_owned(), "cleanly".to_owned())], ..FileList::default() };
    for (name, kind) in data_files(folder)? {
        let path = folder.join(&name);
        let length = fs::metadata(&path)?.len();
        let hash = match kind {
            FileKind::Table(_) => None,
            FileKind::Current | FileKind::Manifest(_) | FileKind::Log(_) => {
                // What the hash is of must not be lost with power: not all of a log is synced when it is written.
                File::open(&path)?.sync_all()?;
                Some(files::hash_of(&path)?)
            }
        };
        list.files.insert(name, Listed { length, hash });
    }
    files::write_synced(&folder.join(SEAL_FILE), list.to_text().as_bytes())
}

/// Before RocksDB changes a file.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join(SEAL_FILE)) {
        Ok(()) => files::sync_folder(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Which files are not what the seal says they were. Without a seal, or one of a store that was not closed: whether there is
/// a log that must be there.
pub(crate) fn faults(folder: &Path) -> io::Result<Vec<(String, FileFault)>> {
    let text = match fs::read(folder.join(SEAL_FILE)) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Ok(vec![(SEAL_FILE.to_owned(), FileFault::Unreadable(error.to_string()))]),
    };
    let files = data_files(folder)?;
    let is_there = |wanted: fn(FileKind) -> bool| files.iter().any(|(_, kind)| wanted(*kind));
    let Some(text) = text else {
        // A database that is just being made has a manifest first.
        let has_data = is_there(|kind| matches!(kind, FileKind::Log(_) | FileKind::Table(_)));
        let mut faults = Vec::new();
        if has_data && !is_there(|kind| kind == FileKind::Current) {
            faults.push(("CURRENT".to_owned(), FileFault::Missing));
        }
        if has_data && !is_there(|kind| matches!(kind, FileKind::Log(_))) {
            faults.push(("the newest log".to_owned(), FileFault::Missing));
        }
        return Ok(faults);
    };
    let Some(list) = String::from_utf8(text).ok().and_then(|text| FileList::parse(&text)) else {
        return Ok(vec![(SEAL_FILE.to_owned(), FileFault::Content)]);
    };
    if list.about(CLOSED).is_some() {
        return Ok(list.faults(folder, true));
    }
    let Some(newest) = list.about(OPEN).and_then(|number| number.parse().ok()) else {
        return Ok(vec![(SEAL_FILE.to_owned(), FileFault::Content)]);
    };
    let mut faults = Vec::new();
    if !is_there(|kind| kind == FileKind::Current) {
        faults.push(("CURRENT".to_owned(), FileFault::Missing));
    }
    if newest_log(&files).is_none_or(|found| found < newest) {
        faults.push((format!("{newest:06}.log"), FileFault::Missing));
    }
    Ok(faults)
}
