//! One process at a time: an advisory lock on a file in the store's folder.
//!
//! RocksDB locks too, but reports it only as text. The kernel drops this lock when its holder dies, however it dies;
//! the process id in the file only serves the message.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::error::OpenError;

/// Name of the lock file in the store's folder.
const LOCK_FILE: &str = "lucid.lock";

/// Held for as long as the store is open; released when dropped.
#[derive(Debug)]
pub(crate) struct StoreLock {
    file: File,
}

impl StoreLock {
    pub(crate) fn take(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join(LOCK_FILE);
        let failed = |source| OpenError::Lock { path: path.clone(), source };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Without a readable owner the message names none.
                let owner = file.read_to_string(&mut owner).ok().and_then(|_| owner.trim().parse().ok());
                return Err(OpenError::Locked { path: folder.to_path_buf(), owner });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { file })
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a child that another thread is just starting, until it runs its program.
        // An error cannot be handled here, and closing follows anyway.
        let _ = self.file.unlock();
    }
}
