//! The signer's folder.
//!
//! ```text
//! DIR/genesis.toml     the network's genesis: whose certificates count, and for which vaults is signed
//! DIR/signer.age       the key, in a keystore that a passphrase opens, or
//! DIR/signer.key       the key as 64 hex digits, for testnets
//! DIR/watermark        what was signed last
//! DIR/watermark.copy   its second copy, unless that lies on another disk
//! DIR/shown            the newest row of each pool that a node has shown; may be lost
//! DIR/validators       the newest validators that a node has shown; may be lost
//! DIR/signer.sock      the socket, unless it lies elsewhere
//! DIR/lock             held by the process that signs
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_tron_bridge::key::{KeyError, TronKey};
use lucid_tron_bridge::keystore::{self, KeystoreError};
use lucid_types::genesis::GenesisError;
use lucid_types::id::{NetworkId, PayoutAddress};

use crate::home::{HomeError, load_genesis};
use crate::signer::core::SignerCore;
use crate::signer::files::{Disk, Files, folder_of, replace};
use crate::signer::passphrase::PassphraseSource;
use crate::signer::server::{SocketError, check_folder};
use crate::signer::sets::LearnedSets;
use crate::signer::shown::{ShownError, ShownPools};
use crate::signer::watermark::{Places, WatermarkError, WatermarkFile, Watermarks};

/// The signer's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// There is none.
    #[error("there is no signer at {}; `lucid signer init --dir {}` makes one", .0.display(), .0.display())]
    Missing(PathBuf),
    /// A file stands where a new one should be made.
    #[error("{} exists already and is left as it is; choose another folder", .0.display())]
    Exists(PathBuf),
    /// There is no key.
    #[error("{} is missing; {hint}", path.display())]
    NoKey {
        /// Where it should be.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// There is no genesis.
    #[error(
        "{} is missing: it says whose certificates count. Copy the network's genesis there, from a source that you trust",
        .0.display()
    )]
    NoGenesis(PathBuf),
    /// Another process signs.
    #[error("another process{} uses {}", owner.map_or_else(String::new, |id| format!(" ({id})")), path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The process, if it is known.
        owner: Option<u32>,
    },
    /// Others can write there, or the socket cannot be used.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The genesis cannot be used.
    #[error(transparent)]
    GenesisFile(#[from] HomeError),
    /// The genesis is impossible.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The keystore cannot be used.
    #[error(transparent)]
    Keystore(Box<KeystoreError>),
    /// The watermark cannot be used.
    #[error(transparent)]
    Watermark(#[from] WatermarkError),
    /// The rows that were shown cannot be used.
    #[error(transparent)]
    Shown(#[from] ShownError),
    /// The system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl From<KeystoreError> for DirError {
    fn from(error: KeystoreError) -> Self {
        Self::Keystore(Box::new(error))
    }
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirError {
    let path = path.to_path_buf();
    move |source| DirError::Io { operation, path, source }
}

/// How the key lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// In a keystore, with a passphrase from there.
    Keystore(PassphraseSource),
    /// As hex digits.
    Plain,
}

impl KeyForm {
    /// Writes a key to a new file of mode 0600. An existing file is never overwritten. The folder is not synced.
    ///
    /// # Errors
    /// The passphrase cannot be read or is empty, or the file exists or could not be written.
    pub fn save_new(&self, key: &TronKey, path: &Path) -> Result<(), KeystoreError> {
        match self {
            Self::Plain => Ok(key.save_new(path)?),
            Self::Keystore(source) => {
                let failed = |source| KeystoreError::Passphrase { path: path.into(), source };
                keystore::create(path, key, source.read_new().map_err(failed)?)
            }
        }
    }
}

/// A signer's folder. Knows paths; holds nothing open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerDir {
    root: PathBuf,
    copy: PathBuf,
}

/// An opened signer. No other process opens the folder while this exists.
#[derive(Debug)]
pub struct OpenSigner {
    /// What signs.
    pub core: SignerCore,
    /// Keeps others out.
    pub lock: DirLock,
}

impl SignerDir {
    /// The folder at `root`, with the watermark's second copy at `copy` or in the folder.
    pub fn new(root: &Path, copy: Option<&Path>) -> Self {
        let copy = copy.map_or_else(|| root.join("watermark.copy"), Path::to_path_buf);
        Self { root: root.to_path_buf(), copy }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `genesis.toml`.
    pub fn genesis_file(&self) -> PathBuf {
        self.root.join("genesis.toml")
    }

    /// The key.
    pub fn key_file(&self, form: &KeyForm) -> PathBuf {
        self.root.join(match form {
            KeyForm::Keystore(_) => "signer.age",
            KeyForm::Plain => "signer.key",
        })
    }

    /// The watermark and its second copy.
    pub fn watermark(&self) -> Places {
        Places { file: self.root.join("watermark"), copy: self.copy.clone() }
    }

    /// `shown`.
    pub fn shown_file(&self) -> PathBuf {
        self.root.join("shown")
    }

    /// `validators`.
    pub fn sets_file(&self) -> PathBuf {
        self.root.join("validators")
    }

    /// `signer.sock`.
    pub fn socket_file(&self) -> PathBuf {
        self.root.join("signer.sock")
    }

    /// Makes a folder with a new key, an empty watermark and, if given, a copy of a genesis; the key's address.
    ///
    /// # Errors
    /// One of these files exists already, or the genesis is not one; then nothing was made.
    pub fn create(&self, form: &KeyForm, genesis: Option<&Path>) -> Result<PayoutAddress, DirError> {
        let genesis = genesis.map(|source| {
            let network = load_genesis(source)?.network_id;
            let text = fs::read(source).map_err(io_error("read", source))?;
            Ok::<_, DirError>((network, text))
        });
        let genesis = genesis.transpose()?;
        let Places { file, copy } = self.watermark();
        let keys = [KeyForm::Plain, KeyForm::Keystore(PassphraseSource::Terminal)].map(|form| self.key_file(&form));
        let mut made = vec![file, copy];
        if genesis.is_some() {
            made.push(self.genesis_file());
        }
        if let Some(path) = made.iter().chain(&keys).find(|path| path.symlink_metadata().is_ok()) {
            return Err(DirError::Exists(path.clone()));
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(io_error("make", &self.root))?;
        check_folder(&self.root)?;
        self.fill(form, genesis.as_ref()).inspect_err(|_| {
            // Made a moment ago: a second try finds the folder as it was.
            for path in made.iter().chain([&self.key_file(form)]) {
                let _ = fs::remove_file(path);
            }
        })
    }

    fn fill(&self, form: &KeyForm, genesis: Option<&(NetworkId, Vec<u8>)>) -> Result<PayoutAddress, DirError> {
        let key = TronKey::generate()?;
        if let Some((_, text)) = genesis {
            let path = self.genesis_file();
            replace(&Disk, &path, text).map_err(io_error("write", &path))?;
        }
        WatermarkFile::create(&Disk, &self.watermark(), key.address(), genesis.map(|(network, _)| *network))?;
        form.save_new(&key, &self.key_file(form))?;
        Disk.sync_folder(&self.root).map_err(io_error("sync", &self.root))?;
        Ok(key.address())
    }

    /// The network of the folder's genesis.
    ///
    /// # Errors
    /// There is none, or it is impossible.
    pub fn network(&self) -> Result<ChainSpec, DirError> {
        let path = self.genesis_file();
        if !path.exists() {
            return Err(DirError::NoGenesis(path));
        }
        Ok(ChainSpec::new(load_genesis(&path)?.genesis)?)
    }

    /// Opens everything that signing needs. The passphrase is asked for when all that can be checked without it is good.
    ///
    /// # Errors
    /// A file is missing, damaged, too old, or others can write it; or another process signs.
    pub fn open(&self, form: &KeyForm) -> Result<OpenSigner, DirError> {
        let lock = self.lock()?;
        let spec = Arc::new(self.network()?);
        let shown = ShownPools::open(Disk, &self.shown_file(), *spec.id())?;
        let sets = LearnedSets::open(Disk, &self.sets_file(), &spec)?;
        let key = self.key(form)?;
        let watermark = WatermarkFile::open(Disk, self.watermark(), key.address(), *spec.id())?;
        Ok(OpenSigner { core: SignerCore::new(spec, key, watermark, shown, sets), lock })
    }

    /// Makes the watermark's second copy anew, or only checks that it can be made; what it holds.
    ///
    /// # Errors
    /// There is one, a file cannot be used, or a process signs.
    pub fn make_copy(&self, dry_run: bool) -> Result<Watermarks, DirError> {
        let _lock = self.lock()?;
        Ok(WatermarkFile::make_copy(&Disk, &self.watermark(), dry_run)?)
    }

    fn key(&self, form: &KeyForm) -> Result<TronKey, DirError> {
        let path = self.key_file(form);
        if !path.exists() {
            let other = match form {
                KeyForm::Plain => "to use the keystore signer.age leave --plain-key out",
                KeyForm::Keystore(_) => "restore it from its backup; a plain signer.key is used with --plain-key only",
            };
            return Err(DirError::NoKey { path, hint: other });
        }
        Ok(match form {
            KeyForm::Plain => TronKey::load(&path)?,
            KeyForm::Keystore(source) => keystore::open(&path, || source.read())?,
        })
    }

    /// Checks the folder and keeps other processes out of it.
    fn lock(&self) -> Result<DirLock, DirError> {
        if !self.root.is_dir() {
            return Err(DirError::Missing(self.root.clone()));
        }
        check_folder(&self.root)?;
        check_folder(folder_of(&self.copy))?;
        DirLock::take(&self.root)
    }
}

/// An advisory lock on a folder. The kernel drops it when its holder dies, however it dies; the process id in the file only
/// serves the message.
#[derive(Debug)]
pub struct DirLock(File);

impl DirLock {
    fn take(folder: &Path) -> Result<Self, DirError> {
        let path = folder.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(io_error("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Without a readable owner the message names none.
                let owner = file.read_to_string(&mut owner).ok().and_then(|_| owner.trim().parse().ok());
                return Err(DirError::Locked { path: folder.to_path_buf(), owner });
            }
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &path)(source)),
        }
        let id = std::process::id();
        let noted = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{id}"));
        noted.map_err(io_error("write", &path))?;
        Ok(Self(file))
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // An error cannot be handled here, and closing follows anyway.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests;
