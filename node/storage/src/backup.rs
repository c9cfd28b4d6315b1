//! Backups: a whole copy of a store in a folder of its own, with a list of its files and their hashes.
//!
//! RocksDB's checkpoint gives a consistent set of files without stopping anybody; they are copied, not linked, so that a failing
//! block of the disk does not damage store and backup at once. A backup gets its name when it was read back whole: what an
//! interrupted attempt leaves never looks like one. RocksDB's own backup engine would share files between backups, but its
//! binding verifies lengths only.
//!
//! A restored store is older than what its node has signed since. Whoever restores one keeps what stops it from signing again
//! outside of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lucid_types::id::{BlockHash, NetworkId};
use lucid_types::time::Height;
use rocksdb::checkpoint::Checkpoint;

use crate::error::MaintenanceError;
use crate::files::{
    self, FileList, UNFINISHED, copy_synced, data_files, is_free, rename_synced, sync_folder, unfinished,
};
use crate::layout::{FORMAT_VERSION, Head};
use crate::open::{damaged, identify, open_to_read, settings};
use crate::seal;
use crate::store::{Store, lock};
use crate::verify::{hex, verify_files};

/// Name of a backup's list of files. Whoever reads it knows that the backup is whole.
const LIST_FILE: &str = "lucid.backup";
/// Where in a store's folder RocksDB's checkpoint lies while it is copied.
const CHECKPOINT: &str = "checkpoint";

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupInfo {
    /// Its folder.
    pub path: PathBuf,
    /// The network that the store belongs to.
    pub network: NetworkId,
    /// The last committed block.
    pub head: Option<Head>,
    /// The height from which on every block up to the head is there.
    pub base: Height,
    /// Bytes of its files.
    pub n_bytes: u64,
}

impl Store {
    /// Makes a backup in a folder of its own below `dir`, which is made if need be, reads it back, and returns it. The store can
    /// be used meanwhile. If a backup of the very same content is there already, that one is verified and returned.
    ///
    /// # Errors
    /// A file could not be read or written, or the store is damaged; no backup is left then.
    pub fn backup(&self, dir: &Path) -> Result<BackupInfo, MaintenanceError> {
        let _exclusive = lock(&self.shared.backup);
        let shared = &self.shared;
        fs::create_dir_all(dir).map_err(file_error("create the folder", dir))?;
        let checkpoint = shared.path.join(CHECKPOINT);
        let engine_error = |source: rocksdb::Error| MaintenanceError::Engine {
            what: "make a checkpoint of",
            path: shared.path.clone(),
            source: source.into(),
        };
        remove_unfinished(dir)?;
        remove_folder(&checkpoint)?;
        let made = Checkpoint::new(&shared.db).and_then(|maker| maker.create_checkpoint(&checkpoint));
        let copied = made.map_err(engine_error).and_then(|()| copy_checkpoint(&checkpoint, dir));
        let removed = remove_folder(&checkpoint);
        let info = copied?;
        removed?;
        Ok(info)
    }
}

/// Removes what a kill has left of a backup that was being copied into a store's folder before it was copied out of it.
pub(crate) fn remove_checkpoint(store: &Path) -> io::Result<()> {
    match fs::remove_dir_all(store.join(CHECKPOINT)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes backups below `dir` that were never finished.
fn remove_unfinished(dir: &Path) -> Result<(), MaintenanceError> {
    for entry in fs::read_dir(dir).map_err(file_error("read the folder", dir))? {
        let path = entry.map_err(file_error("read the folder", dir))?.path();
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let name = path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.split_once('-'));
        let is_backup = name.is_some_and(|(height, sequence)| is_number(height) && is_number(sequence));
        if is_backup && path.extension().is_some_and(|extension| extension == UNFINISHED) {
            remove_folder(&path)?;
        }
    }
    Ok(())
}

/// What was made in a folder, or nothing of it.
fn all_or_nothing<T>(part: &Path, made: Result<T, MaintenanceError>) -> Result<T, MaintenanceError> {
    if made.is_err() {
        // The first error says more than one in removing what is left.
        let _ = remove_folder(part);
    }
    made
}

fn copy_checkpoint(checkpoint: &Path, dir: &Path) -> Result<BackupInfo, MaintenanceError> {
    let db = open_to_read(checkpoint, &settings())?;
    let identity = identify(&db, checkpoint)?.ok_or_else(|| damaged(checkpoint, "nothing was ever written to it"))?;
    let sequence = db.latest_sequence_number();
    drop(db);

    // The sequence number grows with each write: the name is that of a content.
    let height = identity.tip.head.map_or(0, |head| head.height.get());
    let path = dir.join(format!("{height:010}-{sequence:012}"));
    if path.join(LIST_FILE).exists() {
        return check_backup(&path, true);
    }
    let part = unfinished(&path).map_err(file_error("remove the unfinished backup at", &path))?;
    let mut list = FileList::default();
    let mut about = |what: &str, value: String| list.about.push((what.to_owned(), value));
    about("format", FORMAT_VERSION.to_string());
    about("network", hex(identity.network.as_bytes()));
    about("base", identity.tip.base.to_string());
    if let Some(head) = identity.tip.head {
        about("head", format!("{} {}", head.height, hex(head.block_hash.as_bytes())));
    }
    all_or_nothing(&part, fill(&part, checkpoint, list))?;
    rename_synced(&part, &path).map_err(file_error("finish the backup", &path))?;
    check_backup(&path, false)
}

/// Copies a checkpoint's files into a new folder with a list of them, and reads them back.
fn fill(part: &Path, checkpoint: &Path, mut list: FileList) -> Result<(), MaintenanceError> {
    fs::create_dir(part).map_err(file_error("create the folder", part))?;
    for (name, _) in data_files(checkpoint).map_err(file_error("read the folder", checkpoint))? {
        let copied = copy_synced(&checkpoint.join(&name), &part.join(&name));
        list.files.insert(name, copied.map_err(file_error("copy files to", part))?);
    }
    let list_file = part.join(LIST_FILE);
    files::write_synced(&list_file, list.to_text().as_bytes()).map_err(file_error("write", &list_file))?;
    // So that it can be verified, and is a store to whoever copies it by hand.
    seal::close(part).map_err(file_error("finish", part))?;
    check_backup(part, true)?;
    match verify_files(part).damages.into_iter().next() {
        Some(damage) => Err(MaintenanceError::DamagedSource { damage }),
        None => Ok(()),
    }
}

/// Makes the store `path` from the backup in the folder `backup`, and compares every byte with the backup's list on the way.
/// Refuses if there is anything at `path` but an empty folder. A crash leaves either nothing at `path` or the whole store.
pub fn restore_backup(backup: &Path, path: &Path) -> Result<BackupInfo, MaintenanceError> {
    let info = check_backup(backup, false)?;
    if !is_free(path).map_err(file_error("read", path))? {
        return Err(MaintenanceError::Exists { path: path.to_path_buf() });
    }
    let part = unfinished(path).map_err(file_error("remove what is left of an earlier attempt at", path))?;
    all_or_nothing(&part, copy_back(backup, &part))?;
    finish_store(&part, path)?;
    Ok(info)
}

fn copy_back(backup: &Path, part: &Path) -> Result<(), MaintenanceError> {
    fs::create_dir_all(part).map_err(file_error("create the folder", part))?;
    for (name, listed) in read_list(backup)?.files {
        let copied = copy_synced(&backup.join(&name), &part.join(&name)).map_err(file_error("copy files to", part))?;
        if copied != listed {
            let (path, fault) = (backup.to_path_buf(), files::FileFault::Content);
            return Err(MaintenanceError::DamagedBackup { path, file: name, fault });
        }
    }
    Ok(())
}

/// Seals a store that was made at `part`, and gives it its name.
pub(crate) fn finish_store(part: &Path, path: &Path) -> Result<(), MaintenanceError> {
    seal::close(part).and_then(|()| sync_folder(part)).map_err(file_error("finish", part))?;
    rename_synced(part, path).map_err(file_error("finish the store", path))
}

/// The backups below `dir`, oldest height first; for one that is damaged, how. Their files are looked for, not read.
pub fn list_backups(dir: &Path) -> Result<Vec<Result<BackupInfo, MaintenanceError>>, MaintenanceError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(file_error("read the folder", dir))? {
        let path = entry.map_err(file_error("read the folder", dir))?.path();
        if path.join(LIST_FILE).exists() && path.extension().is_none_or(|extension| extension != UNFINISHED) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths.iter().map(|path| check_backup(path, false)).collect())
}

/// What is in the folder `backup`. Its files are looked for, not read.
///
/// # Errors
/// The folder is no backup, or files are missing or too short.
pub fn backup_info(backup: &Path) -> Result<BackupInfo, MaintenanceError> {
    check_backup(backup, false)
}

fn read_list(backup: &Path) -> Result<FileList, MaintenanceError> {
    let text = match fs::read(backup.join(LIST_FILE)) {
        Ok(text) => String::from_utf8(text).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            return Err(MaintenanceError::File { what: "read the backup", path: backup.to_path_buf(), source });
        }
    };
    text.as_deref().and_then(FileList::parse).ok_or_else(|| MaintenanceError::NotABackup { path: backup.to_path_buf() })
}

/// Compares a backup with its list: all bytes of its files if `is_thorough`, their lengths otherwise.
fn check_backup(backup: &Path, is_thorough: bool) -> Result<BackupInfo, MaintenanceError> {
    let list = read_list(backup)?;
    let n_bytes = list.files.values().fold(0_u64, |sum, file| sum.saturating_add(file.length));
    let about = info(&list).ok_or_else(|| MaintenanceError::NotABackup { path: backup.to_path_buf() })?;
    if let Some((file, fault)) = list.faults(backup, is_thorough).into_iter().next() {
        return Err(MaintenanceError::DamagedBackup { path: backup.to_path_buf(), file, fault });
    }
    Ok(BackupInfo { path: backup.to_path_buf(), n_bytes, ..about })
}

fn info(list: &FileList) -> Option<BackupInfo> {
    let height = |text: &str| text.parse().ok().map(Height::new);
    let head = match list.about("head") {
        None => None,
        Some(text) => {
            let (number, hash) = text.split_once(' ')?;
            Some(Head { height: height(number)?, block_hash: BlockHash::from_bytes(bytes32(hash)?) })
        }
    };
    let network = NetworkId::from_bytes(bytes32(list.about("network")?)?);
    Some(BackupInfo { path: PathBuf::new(), network, head, base: height(list.about("base")?)?, n_bytes: 0 })
}

fn bytes32(text: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(text).ok().map(|hash| *hash.as_bytes())
}

pub(crate) fn file_error(what: &'static str, path: &Path) -> impl Fn(io::Error) -> MaintenanceError {
    let path = path.to_path_buf();
    move |source| MaintenanceError::File { what, path: path.clone(), source }
}

pub(crate) fn remove_folder(path: &Path) -> Result<(), MaintenanceError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error("remove", path)(error)),
        _ => Ok(()),
    }
}
