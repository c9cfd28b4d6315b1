//! DIR, the folder of one local network: claimed by one `up` at a time, and never one that holds something else.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// It could not be made, read or locked.
    #[error("cannot {operation} {}", path.display())]
    Access {
        /// What was tried.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another `up` has it.
    #[error("a testnet runs in {} (process {pid}); `lucid-testnet down --dir {}` stops it", dir.display(), dir.display())]
    Running {
        /// The folder.
        dir: PathBuf,
        /// Of its `up`.
        pid: String,
    },
    /// An earlier testnet left its files.
    #[error("{} holds an earlier testnet; remove it with `rm -r {}` or choose another --dir", dir.display(), dir.display())]
    Leftovers {
        /// The folder.
        dir: PathBuf,
    },
    /// Something else is in it.
    #[error("{} is not empty and no testnet; choose another --dir", dir.display())]
    Foreign {
        /// The folder.
        dir: PathBuf,
    },
    /// The operating system gave no random bytes for a name.
    #[error("name a new folder: {0}")]
    Random(getrandom::Error),
}

/// The claimed folder; another `up` is refused while this exists.
#[derive(Debug)]
pub struct TestnetDir {
    path: PathBuf,
    _lock: File,
}

const LOCK: &str = "up.lock";

impl TestnetDir {
    /// Claims `dir`, or a new folder below the system's temporary one.
    ///
    /// # Errors
    /// It is in use, or holds anything already.
    pub fn claim(dir: Option<&Path>) -> Result<Self, DirError> {
        let path = match dir {
            Some(dir) => std::path::absolute(dir).map_err(|e| access("resolve", dir, e))?,
            None => fresh()?,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|e| access("create the folder", &path, e))?;
        refuse_contents(&path)?;
        let lock = lock(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A folder that nobody else has: 64 random bits in its name, and mode 0700.
fn fresh() -> Result<PathBuf, DirError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(DirError::Random)?;
    Ok(std::env::temp_dir().join(format!("lucid-testnet-{}", hex::encode(random))))
}

fn refuse_contents(path: &Path) -> Result<(), DirError> {
    let entries = std::fs::read_dir(path).map_err(|e| access("read the folder", path, e))?;
    let names: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.file_name()).collect();
    if names.is_empty() {
        return Ok(());
    }
    if !names.iter().any(|name| name == LOCK) {
        return Err(DirError::Foreign { dir: path.into() });
    }
    // A lock that can be had belongs to nobody any more.
    lock(path)?;
    Err(DirError::Leftovers { dir: path.into() })
}

fn lock(dir: &Path) -> Result<File, DirError> {
    let path = dir.join(LOCK);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|e| access("open", &path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(DirError::Running { dir: dir.into(), pid: pid.trim().into() });
        }
        Err(TryLockError::Error(e)) => return Err(access("lock", &path, e)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(|e| access("write", &path, e))?;
    Ok(file)
}

fn access(operation: &'static str, path: &Path, source: io::Error) -> DirError {
    DirError::Access { operation, path: path.into(), source }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_fresh_folder_is_private_and_new_each_time() {
        let (a, b) = (TestnetDir::claim(None).unwrap(), TestnetDir::claim(None).unwrap());
        assert_ne!(a.path(), b.path());
        assert_eq!(std::fs::metadata(a.path()).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::remove_dir_all(a.path()).unwrap();
        std::fs::remove_dir_all(b.path()).unwrap();
    }

    #[test]
    fn one_testnet_at_a_time_and_none_on_top_of_another() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("deep/net");
        let claimed = TestnetDir::claim(Some(&dir)).unwrap();
        let error = TestnetDir::claim(Some(&dir)).unwrap_err().to_string();
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        assert!(error.contains("lucid-testnet down --dir"), "{error}");
        drop(claimed);
        let error = TestnetDir::claim(Some(&dir)).unwrap_err();
        assert!(matches!(error, DirError::Leftovers { .. }), "{error}");
    }

    #[test]
    fn somebody_elses_files_are_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("thesis.tex"), "x").unwrap();
        assert!(matches!(TestnetDir::claim(Some(temp.path())), Err(DirError::Foreign { .. })));
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
    }
}
