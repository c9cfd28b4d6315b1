//! What can go wrong, named by the operation that failed.

use std::fmt;
use std::io;
use std::path::PathBuf;

use lucid_types::id::NetworkId;
use lucid_types::time::Height;
use rocksdb::ErrorKind;

use crate::files::FileFault;
use crate::layout::MAX_STATE_KEY_BYTES;
use crate::verify::Damage;

/// An error of RocksDB; its text says what failed, in which file, and what to do where the operator can do something.
#[derive(Debug)]
pub struct EngineError(rocksdb::Error);

impl From<rocksdb::Error> for EngineError {
    fn from(error: rocksdb::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        f.write_str(advice(&self.0))
    }
}

/// RocksDB tells the system's reason only in its text.
fn advice(error: &rocksdb::Error) -> &'static str {
    let says = |reason: &str| error.as_ref().contains(reason);
    if error.kind() == ErrorKind::Corruption {
        "; `lucid db check` lists what is damaged, `lucid db repair` or a backup (`lucid db restore`) brings back the rest"
    } else if error.kind() != ErrorKind::IOError {
        ""
    } else if says("No space left on device") || says("Disk quota exceeded") {
        "; make room there and start again: it goes on from what it has stored"
    } else if says("Input/output error") || says("Read-only file system") {
        "; the disk fails: see the system's log, and start again only when it works: it goes on from what it has stored"
    } else {
        ""
    }
}

impl std::error::Error for EngineError {}

/// Why a store could not be opened. What it holds was not changed, whichever it is; what was found wrong with the files or
/// the format was found before any file was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder could not be made.
    #[error("cannot create the store's folder {}", path.display())]
    CreateFolder {
        /// The store's folder.
        path: PathBuf,
        /// What RocksDB, the file system or the codec says.
        #[source]
        source: io::Error,
    },
    /// Another process, or another part of this one, has the store open.
    #[error(
        "the store {} is in use{}: stop that process, or give this one a home of its own",
        path.display(),
        owner.map(|pid| format!(" by process {pid}")).unwrap_or_default()
    )]
    Locked {
        /// The store's folder.
        path: PathBuf,
        /// The process that said it holds the lock, if it could be read.
        owner: Option<u32>,
    },
    /// The lock file could not be opened or locked.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What RocksDB, the file system or the codec says.
        #[source]
        source: io::Error,
    },
    /// RocksDB refused: damaged files, no rights, no space.
    #[error("cannot open the store {}", path.display())]
    Open {
        /// The store's folder.
        path: PathBuf,
        /// What RocksDB, the file system or the codec says.
        #[source]
        source: EngineError,
    },
    /// A file of the store is not what it was when the store was closed.
    #[error(
        "the store {} was changed since it was closed: its file {file} {fault}; `lucid db check` lists what is damaged, \
         `lucid db repair` or a backup (`lucid db restore`) brings back the rest",
        path.display()
    )]
    Changed {
        /// The store's folder.
        path: PathBuf,
        /// The file's name.
        file: String,
        /// What is wrong with it.
        fault: FileFault,
    },
    /// The record of the store's files could not be read or written.
    #[error(
        "cannot keep a record of the files of the store {}: make room, or see the system's log, and start again",
        path.display()
    )]
    Seal {
        /// The store's folder.
        path: PathBuf,
        /// What RocksDB, the file system or the codec says.
        #[source]
        source: io::Error,
    },
    /// What a backup that was interrupted left could not be removed.
    #[error("cannot remove what an interrupted backup left in the store {}: see the system's log", path.display())]
    Leftover {
        /// The store's folder.
        path: PathBuf,
        /// What RocksDB, the file system or the codec says.
        #[source]
        source: io::Error,
    },
    /// What is left of a state that a snapshot replaced could not be removed.
    #[error("cannot remove the replaced state from the store {}", path.display())]
    CleanUp {
        /// The store's folder.
        path: PathBuf,
        /// What RocksDB, the file system or the codec says.
        #[source]
        source: StorageError,
    },
    /// A later version of Lucid wrote the store.
    #[error(
        "the store {} has format {found}, this program knows formats up to {known}: run the newer program again, \
         or begin with an empty home",
        path.display()
    )]
    NewerFormat {
        /// The store's folder.
        path: PathBuf,
        /// The format on disk.
        found: u32,
        /// The newest format that this build knows.
        known: u32,
    },
    /// A version of Lucid that was never released wrote the store.
    #[error(
        "the store {} has format {found}, this program reads format {known} only: begin with an empty home",
        path.display()
    )]
    OlderFormat {
        /// The store's folder.
        path: PathBuf,
        /// The format on disk.
        found: u32,
        /// The only format that this build reads.
        known: u32,
    },
    /// The store holds the blocks of another network.
    #[error(
        "the store {} belongs to network {found}, but the genesis is that of network {expected}: use that network's \
         genesis file, or another home",
        path.display()
    )]
    WrongNetwork {
        /// The store's folder.
        path: PathBuf,
        /// The network on disk.
        found: NetworkId,
        /// The network that was asked for.
        expected: NetworkId,
    },
    /// RocksDB's files are sound, but what they hold cannot be a store of ours.
    #[error("the store {} is damaged or not Lucid's: {what}", path.display())]
    NotAStore {
        /// The store's folder.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
}

/// Why looking after a store failed: verifying, backing up, restoring or salvaging it.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// The store could not be opened.
    #[error("cannot open the store to look after it")]
    Open(#[from] OpenError),
    /// The store could not be read.
    #[error("cannot read the store to look after it")]
    Storage(#[from] StorageError),
    /// The system refused a file.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was being done.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What RocksDB, the file system or the codec says.
        #[source]
        source: io::Error,
    },
    /// RocksDB failed.
    #[error("cannot {what} {}", path.display())]
    Engine {
        /// What was being done.
        what: &'static str,
        /// The store's folder.
        path: PathBuf,
        /// What RocksDB, the file system or the codec says.
        #[source]
        source: EngineError,
    },
    /// Something stands where a store would be made.
    #[error("{} exists and is not an empty folder: it is not overwritten; name another, or move it away", path.display())]
    Exists {
        /// Where the store would have been made.
        path: PathBuf,
    },
    /// A folder is no backup.
    #[error("{} is not a backup, or its list of files is damaged: choose another", path.display())]
    NotABackup {
        /// The folder.
        path: PathBuf,
    },
    /// A backup is not what it was when it was made.
    #[error("the backup {} is damaged: its file {file} {fault}; choose another", path.display())]
    DamagedBackup {
        /// The backup's folder.
        path: PathBuf,
        /// The file's name.
        file: String,
        /// What is wrong with it.
        fault: FileFault,
    },
    /// What was backed up cannot be read back.
    #[error("the backup was not kept, because the store is damaged: {damage}")]
    DamagedSource {
        /// The first damage.
        damage: Damage,
    },
}

/// Why a store could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Blocks are committed in order, without gaps.
    #[error("block {got} cannot follow the head, block {expected} does")]
    NotNext {
        /// One above the head.
        expected: Height,
        /// The block that was offered.
        got: Height,
    },
    /// Blocks are removed from the lowest on, and the head's stays.
    #[error("block {got} cannot be removed: the lowest that is stored is {base}, and the head's is kept")]
    NotPrunable {
        /// The lowest block that could be removed.
        base: Height,
        /// The block that was to be removed.
        got: Height,
    },
    /// A key of the state is empty or too long.
    #[error("a key of the state has {length} bytes, not 1 to {MAX_STATE_KEY_BYTES}")]
    StateKey {
        /// The key's length in bytes.
        length: usize,
    },
    /// Rows of a snapshot came without [`crate::Store::begin_restore`].
    #[error("no snapshot is being restored")]
    NoRestore,
    /// A snapshot is only taken over if it is ahead of the head.
    #[error("a snapshot of height {got} cannot be taken over: the head is {head}")]
    SnapshotBehind {
        /// The last committed height.
        head: Height,
        /// The snapshot's height.
        got: Height,
    },
    /// The log of a decided height is closed.
    #[error("the log of height {height} is closed: the head is {head}")]
    HeightDecided {
        /// The entry's height.
        height: Height,
        /// The last committed height.
        head: Height,
    },
    /// There is one writer of the log at a time.
    #[error("the engine's log already has a writer")]
    WalTaken,
    /// RocksDB could not read.
    #[error("cannot read from {family}")]
    Read {
        /// The column family.
        family: &'static str,
        /// What RocksDB, the file system or the codec says.
        #[source]
        source: EngineError,
    },
    /// RocksDB could not write; whether the write will be seen after reopening is unknown.
    #[error("cannot write {what}")]
    Write {
        /// What was being written.
        what: &'static str,
        /// What RocksDB, the file system or the codec says.
        #[source]
        source: EngineError,
    },
    /// Bytes on disk that this crate never writes.
    #[error("{family} holds bytes that no version of this program wrote")]
    Malformed {
        /// The column family.
        family: &'static str,
    },
}
