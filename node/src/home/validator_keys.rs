//! The keys with which a home's node may sign as a validator: `HOME/validator-keys/<first 8 hex digits of the id>.key`, each a file of 64
//! hex digits and mode 0600.
//!
//! A key is added by a new file and given up by removing its file. Which of them signs what is for the chain to say
//! ([`Keyring`]), so nothing here is renamed, and nothing says which one is in use.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use lucid_consensus::keyring::Keyring;
use lucid_types::id::{NodeId, ValidatorId};
use lucid_types::validator_key::ValidatorKey;

use super::{Home, HomeError, digits, io_error, load_secret, new_secret, write_new_whole};

/// A file of another name is none of these.
const EXTENSION: &str = "key";

impl Home {
    /// The folder of the validator keys.
    pub fn validator_keys_dir(&self) -> PathBuf {
        self.root().join("validator-keys")
    }

    /// The file of the key with this id.
    pub fn validator_key_file(&self, id: &ValidatorId) -> PathBuf {
        self.validator_keys_dir().join(format!("{}.{EXTENSION}", id.short()))
    }

    /// All validator keys with their files, by the names of these. None if there is no such folder.
    ///
    /// # Errors
    /// When others may read one, it is broken, or the system refuses.
    pub fn validator_keys(&self) -> Result<Vec<(PathBuf, ValidatorKey)>, HomeError> {
        let folder = self.validator_keys_dir();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error("read", &folder)(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(io_error("read", &folder))?.path();
            files.extend(path.extension().is_some_and(|it| it == EXTENSION).then_some(path));
        }
        files.sort_unstable();
        let load = |path: PathBuf| {
            let seed = load_secret(&path, "restore it from your backup")?;
            Ok((path, ValidatorKey::from_seed(&seed)))
        };
        files.into_iter().map(load).collect()
    }

    /// The same as a ring of keys of this account.
    ///
    /// # Errors
    /// As [`Self::validator_keys`].
    pub fn keyring(&self, account: NodeId) -> Result<Keyring, HomeError> {
        Ok(Keyring::new(account, self.validator_keys()?.into_iter().map(|(_, key)| key)))
    }

    /// Writes a new validator key to its file, and returns that. It is durable when this returns.
    ///
    /// # Errors
    /// There is no home, the file exists, or the system refuses.
    pub fn write_validator_key(&self, key: &ValidatorKey) -> Result<PathBuf, HomeError> {
        if !self.root().is_dir() {
            return Err(HomeError::Missing(self.root().to_path_buf()));
        }
        let path = self.validator_key_file(&key.id());
        self.make_validator_keys_dir()?;
        write_new_whole(&path, 0o600, &digits(key.seed()))?;
        for folder in [&self.validator_keys_dir(), self.root()] {
            sync_folder(folder)?;
        }
        Ok(path)
    }

    pub(super) fn make_validator_keys_dir(&self) -> Result<(), HomeError> {
        let folder = self.validator_keys_dir();
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io_error("make", &folder))
    }
}

/// A key that nobody has, in memory only.
///
/// # Errors
/// The operating system gives no random bytes.
pub fn new_validator_key() -> Result<ValidatorKey, HomeError> {
    Ok(ValidatorKey::from_seed(&*new_secret()?))
}

fn sync_folder(folder: &Path) -> Result<(), HomeError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("sync", folder))
}
