//! A node's home: where its files lie, how they are made, and what their mistakes are called.
//!
//! ```text
//! HOME/config.toml      the configuration
//! HOME/node.key         the node's secret: 64 hex digits, mode 0600
//! HOME/node.next.key    that which is to follow it, while the key rotates
//! HOME/account          the node's account, once its key is not the account's first one
//! HOME/validator-keys/  the secrets with which it signs as a validator, one file each, like node.key
//! HOME/genesis.toml     the network's genesis
//! HOME/join.toml        what `lucid join` was asked for, until it is done; mode 0600
//! HOME/gas.key          the secret of the gas account of a worker that can lead
//! HOME/treasury.key     the secret of a treasury signer, nowhere else
//! HOME/storage-secret   a validator's secret, from which the chunks follow that it deposits; like node.key
//! HOME/chunks/          the chunks that validators have deposited with a worker
//! HOME/db/              the store; its lock is the home's lock
//! ```
//!
//! Nothing here overwrites a file but `join.toml`, and `node.key` when the chain has another key in force.

mod identity;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lucid_tron_bridge::key::{KeyError, TronKey};
use lucid_types::genesis::{Genesis, GenesisError};
use lucid_types::id::{NetworkId, ParseBytesError, PayoutAddress};
use lucid_types::key::NodeKey;
use lucid_types::validator::ValidatorSet;
use lucid_types::validator_key::ValidatorKey;
use zeroize::Zeroizing;

use crate::config::locate::{self, TomlError};
use crate::config::settings;
use crate::config::{Config, Role};
use crate::enrolment::Intent;
use crate::probe::StorageSecret;

pub use self::identity::{Identity, new_node_key};
pub use self::validator_keys::new_validator_key;

/// Hex digits of a secret.
const KEY_DIGITS: usize = 64;
/// Of a genesis; far above any that a network of the supported size has.
const MAX_GENESIS_BYTES: u64 = 16 << 20;

/// A home folder. Knows paths; holds nothing open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

/// Who a new home's node is.
#[derive(Debug)]
pub struct NewHome {
    /// The node's key.
    pub key: NodeKey,
    /// The key with which it signs, if it is a validator.
    pub validator_key: Option<ValidatorKey>,
    /// The address of its gas account, if it is a worker.
    pub gas_address: Option<PayoutAddress>,
    /// The address that its signer signs with, if it is a treasury signer and holds the key itself.
    pub signer_address: Option<PayoutAddress>,
}

/// A genesis that has passed every check.
#[derive(Clone, Debug)]
pub struct LoadedGenesis {
    /// The genesis.
    pub genesis: Genesis,
    /// Its hash.
    pub network_id: NetworkId,
    /// The first validators.
    pub validators: ValidatorSet,
}

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// There is no home.
    #[error("there is no Lucid home at {}; `lucid init --home {}` makes one", .0.display(), .0.display())]
    Missing(PathBuf),
    /// A file stands where a new one should be made.
    #[error("{} exists already and is left as it is; choose another home, or move the file away if it is not needed", .0.display())]
    Exists(PathBuf),
    /// A secret can be read by others than its owner.
    #[error(
        "{} is readable by others (mode {mode:04o}): a secret that others may know is worth nothing; if nobody had \
         access, run `chmod 600 {}`, else replace the key", path.display(), path.display()
    )]
    Permissions {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key file does not hold a key.
    #[error(
        "{} is not a key: {problem}. Restore it from your backup; a new key, made by `lucid init` in another home, is \
         another identity", path.display()
    )]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A key file is not there.
    #[error("{} is missing; {hint}", path.display())]
    NoKey {
        /// Where it should be.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// The account of the node is none.
    #[error("{} is no account ({source}): 64 hex digits are expected, those of the node's first key. `lucid status` of another \
             node of the network shows them, or a backup of this home", path.display())]
    Account {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ParseBytesError,
    },
    /// A key for the payment network cannot be used.
    #[error(transparent)]
    TronKey(#[from] KeyError),
    /// A repair or a restore was ended between its last two steps.
    #[error(
        "there is no {}, but {}: a repair or a restore was interrupted, or is under way. If none runs, check it with `mv {} {}` and \
         `lucid db check`; if it is not sound, move it away and the store that was set aside (db.damaged-TIME or db.replaced-TIME) back",
        db.display(), made.display(), made.display(), db.display()
    )]
    UnnamedDb {
        /// Where the store should be.
        db: PathBuf,
        /// The one that was made.
        made: PathBuf,
    },
    /// There is no genesis.
    #[error(
        "{} is missing: it says which network the node belongs to. Copy the network's genesis there, or give it to \
         `lucid init --genesis FILE`", .0.display()
    )]
    NoGenesis(PathBuf),
    /// The genesis file holds something that cannot stand there.
    #[error(transparent)]
    GenesisFile(#[from] TomlError),
    /// The genesis is well-formed and yet impossible.
    #[error("{}: {source}", path.display())]
    Genesis {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: GenesisError,
    },
    /// A genesis that came as bytes has no text that reads back the same.
    #[error("the genesis of the network {network} cannot be written as TOML: {problem}")]
    GenesisText {
        /// The network.
        network: NetworkId,
        /// What TOML cannot write.
        problem: String,
    },
    /// An intent has no text.
    #[error("join.toml cannot be written: {problem}")]
    IntentText {
        /// What TOML cannot write.
        problem: String,
    },
    /// The system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system's random source does not work.
    #[error("the operating system gives no random bytes for a key")]
    Random(#[source] getrandom::Error),
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HomeError {
    let path = path.to_path_buf();
    move |source| HomeError::Io { operation, path, source }
}

impl Home {
    /// The home at `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `config.toml`.
    pub fn config_file(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// `node.key`.
    pub fn key_file(&self) -> PathBuf {
        self.root.join("node.key")
    }

    /// `genesis.toml`.
    pub fn genesis_file(&self) -> PathBuf {
        self.root.join("genesis.toml")
    }

    /// The folder of the store.
    pub fn db_dir(&self) -> PathBuf {
        self.root.join("db")
    }

    /// Where a repair makes the store that is to take the place of the damaged one.
    pub fn repaired_db_dir(&self) -> PathBuf {
        self.root.join("db.repaired")
    }

    /// Where a restore makes the store that is to take the place of another one.
    pub fn restored_db_dir(&self) -> PathBuf {
        self.root.join("db.restored")
    }

    /// Whether a store may be made where there is none. Between two renames of a repair or a restore there is none either: a node that
    /// then began with an empty one would leave the other behind.
    ///
    /// # Errors
    /// There is no store, and one that a repair or a restore has made.
    pub fn check_db(&self) -> Result<(), HomeError> {
        let db = self.db_dir();
        let made = [self.repaired_db_dir(), self.restored_db_dir()].into_iter().find(|made| made.exists());
        match made {
            Some(made) if !db.exists() => Err(HomeError::UnnamedDb { db, made }),
            _ => Ok(()),
        }
    }

    /// `join.toml`.
    pub fn intent_file(&self) -> PathBuf {
        self.root.join("join.toml")
    }

    /// What `lucid join` was asked for and is not done; `None` if nothing is left to do.
    ///
    /// # Errors
    /// Others may read the file, or it says nothing that can be done.
    pub fn load_intent(&self) -> Result<Option<Intent>, HomeError> {
        let path = self.intent_file();
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        check_secrecy(&file, &path)?;
        let mut text = Zeroizing::new(String::new());
        file.read_to_string(&mut text).map_err(io_error("read", &path))?;
        Ok(Some(locate::parse(&path, &text)?))
    }

    /// Writes what `lucid join` was asked for in place of what it was asked for before. Whenever this is cut off, the file holds one or
    /// the other.
    ///
    /// # Errors
    /// It has no text, or the system refuses.
    pub fn write_intent(&self, intent: &Intent) -> Result<(), HomeError> {
        let path = self.intent_file();
        let text = toml::to_string(intent).map(Zeroizing::new);
        let text = text.map_err(|error| HomeError::IntentText { problem: error.to_string() })?;
        self.write_whole(&path, 0o600, &text)
    }

    /// It is done.
    ///
    /// # Errors
    /// The system refuses.
    pub fn remove_intent(&self) -> Result<(), HomeError> {
        remove_if_there(&self.intent_file())?;
        self.sync_root()
    }

    fn sync_root(&self) -> Result<(), HomeError> {
        File::open(&self.root).and_then(|folder| folder.sync_all()).map_err(io_error("sync", &self.root))
    }

    /// How far the validator has signed: beside the database, so that a backup of it does not bring this back too.
    pub fn watermark_file(&self) -> PathBuf {
        self.root.join("validator-watermark")
    }

    /// The folder of the chunks that validators have deposited.
    pub fn chunks_dir(&self) -> PathBuf {
        self.root.join("chunks")
    }

    /// `storage-secret`.
    pub fn storage_secret_file(&self) -> PathBuf {
        self.root.join("storage-secret")
    }

    /// The secret from which the chunks follow that this validator deposits, made if there is none. With another one they are others, and
    /// workers have to be given them again.
    ///
    /// # Errors
    /// When others may read it, it is broken, or the system refuses.
    pub fn storage_secret(&self) -> Result<StorageSecret, HomeError> {
        let path = self.storage_secret_file();
        if path.symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            write_new_whole(&path, 0o600, &digits(&*new_secret()?))?;
            self.sync_root()?;
        }
        load_secret(&path, "the node makes one at its start").map(StorageSecret::new)
    }

    /// The socket of a treasury signer in a process of its own: as configured, relative paths from the home.
    pub fn signer_socket(&self, config: &Config) -> PathBuf {
        self.root.join(&config.treasury.socket)
    }

    /// The treasury signer's key file: as configured, relative paths from the home.
    pub fn signer_key_file(&self, config: &Config) -> PathBuf {
        self.root.join(&config.treasury.key_file)
    }

    /// The gas account's key file: as configured, relative paths from the home.
    pub fn gas_key_file(&self, config: &Config) -> PathBuf {
        self.root.join(&config.bridge.key_file)
    }

    /// Makes a home with the new keys that its roles need, this configuration and, if given, a copy of a genesis.
    ///
    /// # Errors
    /// When one of these files exists already, or the genesis is not one; then nothing has been made.
    pub fn create(&self, config: &Config, genesis: Option<&Path>) -> Result<NewHome, HomeError> {
        let seed = new_secret()?;
        let mut files =
            vec![(self.key_file(), 0o600, digits(&seed)), self.plain(self.config_file(), settings::render(config))];
        let validator_key = config.has(Role::Validator).then(new_validator_key).transpose()?;
        files.extend(validator_key.as_ref().map(|key| (self.validator_key_file(&key.id()), 0o600, digits(key.seed()))));
        let mut tron_key = |is_wanted: bool, path| {
            is_wanted.then(|| {
                let secret = new_secret()?;
                let address = TronKey::from_secret(&secret)?.address();
                files.push((path, 0o600, digits(&secret)));
                Ok::<_, HomeError>(address)
            })
        };
        let gas_address = tron_key(config.has(Role::Worker), self.gas_key_file(config)).transpose()?;
        let signer_address = tron_key(config.holds_signer_key(), self.signer_key_file(config)).transpose()?;
        if let Some(source) = genesis {
            load_genesis(source)?;
            let text = fs::read_to_string(source).map_err(io_error("read", source))?;
            files.push(self.plain(self.genesis_file(), text));
        }
        if let Some((path, ..)) = files.iter().find(|(path, ..)| path.symlink_metadata().is_ok()) {
            return Err(HomeError::Exists(path.clone()));
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(io_error("make", &self.root))?;
        if validator_key.is_some() {
            self.make_validator_keys_dir()?;
        }
        for (made, (path, mode, text)) in files.iter().enumerate() {
            if let Err(error) = write_new(path, *mode, text) {
                // Ours, made a moment ago: a second try finds the home as it was.
                for (path, ..) in &files[..made] {
                    fs::remove_file(path).map_err(io_error("remove", path))?;
                }
                return Err(error);
            }
        }
        Ok(NewHome { key: NodeKey::from_seed(&seed), validator_key, gas_address, signer_address })
    }

    fn plain(&self, path: PathBuf, text: String) -> (PathBuf, u32, Zeroizing<String>) {
        (path, 0o644, Zeroizing::new(text))
    }

    /// The node's key.
    ///
    /// # Errors
    /// When there is none, others may read it, or it is broken.
    pub fn load_key(&self) -> Result<NodeKey, HomeError> {
        if !self.root.is_dir() {
            return Err(HomeError::Missing(self.root.clone()));
        }
        let hint = "restore it from your backup; a new home with a new identity is made by `lucid init --home DIR`";
        load_secret(&self.key_file(), hint).map(|seed| NodeKey::from_seed(&seed))
    }

    /// The key of the treasury signer.
    ///
    /// # Errors
    /// When there is none, others may read it, or it is broken.
    pub fn load_signer_key(&self, config: &Config) -> Result<TronKey, HomeError> {
        let hint = "the role treasury needs the signer's key there (64 hex digits, mode 0600); without it, remove \
                    treasury from `roles`";
        let path = self.signer_key_file(config);
        if path.symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            return Err(HomeError::NoKey { path, hint });
        }
        Ok(TronKey::load(&path)?)
    }

    /// The key of the gas account; `None` if there is none.
    ///
    /// # Errors
    /// When others may read it, or it is broken.
    pub fn load_gas_key(&self, config: &Config) -> Result<Option<TronKey>, HomeError> {
        let path = self.gas_key_file(config);
        if path.symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            return Ok(None);
        }
        Ok(Some(TronKey::load(&path)?))
    }

    /// Whether anything of a home stands in the folder.
    pub fn has_anything(&self) -> bool {
        let files = [self.config_file(), self.key_file(), self.genesis_file(), self.db_dir()];
        files.iter().any(|path| path.symlink_metadata().is_ok())
    }

    /// Gives a home its genesis. Whenever this is cut off, the file is whole or not there.
    ///
    /// # Errors
    /// When the home has one, the genesis has no text, or the system refuses.
    pub fn write_genesis(&self, genesis: &Genesis) -> Result<(), HomeError> {
        write_genesis(&self.genesis_file(), genesis)
    }

    /// The network's genesis, checked.
    ///
    /// # Errors
    /// When there is none, or it cannot be one.
    pub fn load_genesis(&self) -> Result<LoadedGenesis, HomeError> {
        load_genesis(&self.genesis_file())
    }
}

/// Reads and checks a genesis file.
///
/// # Errors
/// Names file, line, key and value for what a parser sees, file and entry for the rest.
pub fn load_genesis(path: &Path) -> Result<LoadedGenesis, HomeError> {
    let file = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => HomeError::NoGenesis(path.to_path_buf()),
        _ => io_error("open", path)(source),
    })?;
    let mut text = String::new();
    file.take(MAX_GENESIS_BYTES).read_to_string(&mut text).map_err(io_error("read", path))?;
    let genesis: Genesis = locate::parse(path, &text)?;
    let validators = genesis.check().map_err(|source| HomeError::Genesis { path: path.to_path_buf(), source })?;
    Ok(LoadedGenesis { network_id: genesis.network_id(), genesis, validators })
}

/// The text of a genesis. It reads back as the same network.
///
/// # Errors
/// [`HomeError::GenesisText`]: the genesis has a number that TOML has not.
pub fn genesis_text(genesis: &Genesis) -> Result<String, HomeError> {
    let network = genesis.network_id();
    let fail = |problem: String| HomeError::GenesisText { network, problem };
    let text = toml::to_string(genesis).map_err(|error| fail(error.to_string()))?;
    let back: Genesis = toml::from_str(&text).map_err(|error| fail(error.to_string()))?;
    if back.network_id() == network { Ok(text) } else { Err(fail("it reads back as another network's".to_owned())) }
}

/// Writes a genesis to a new file, which is whole or not there.
///
/// # Errors
/// When the file exists, the genesis has no text, or the system refuses.
pub fn write_genesis(path: &Path, genesis: &Genesis) -> Result<(), HomeError> {
    write_new_whole(path, 0o644, &genesis_text(genesis)?)
}

/// Writes a file that is whole or not there, and overwrites none.
fn write_new_whole(path: &Path, mode: u32, text: &str) -> Result<(), HomeError> {
    let part = part_of(path);
    // Of a run that was killed.
    remove_if_there(&part)?;
    write_new(&part, mode, text)?;
    // Other than a rename, a link overwrites nothing.
    let linked = fs::hard_link(&part, path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => HomeError::Exists(path.to_path_buf()),
        _ => io_error("make", path)(source),
    });
    fs::remove_file(&part).map_err(io_error("remove", &part))?;
    linked
}

/// Where a file is written before it has its name.
fn part_of(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    PathBuf::from(part)
}

fn remove_if_there(path: &Path) -> Result<(), HomeError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}

fn write_new(path: &Path, mode: u32, text: &str) -> Result<(), HomeError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(|source| {
            match source.kind() {
                io::ErrorKind::AlreadyExists => HomeError::Exists(path.to_path_buf()),
                _ => io_error("make", path)(source),
            }
        })?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|source| {
        // Half a file is worse than none; that it cannot be removed changes nothing about the error.
        let _ = fs::remove_file(path);
        io_error("write", path)(source)
    })
}

/// 32 secret bytes. That they are no secp256k1 key has a chance of one in 2^128.
fn new_secret() -> Result<Zeroizing<[u8; 32]>, HomeError> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut_slice()).map_err(HomeError::Random)?;
    Ok(secret)
}

/// A secret as it stands in a key file.
fn digits(secret: &[u8; 32]) -> Zeroizing<String> {
    let mut digits = Zeroizing::new(hex::encode(secret));
    digits.push('\n');
    digits
}

fn check_secrecy(file: &File, path: &Path) -> Result<(), HomeError> {
    let mode = file.metadata().map_err(io_error("look at", path))?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(HomeError::Permissions { path: path.to_path_buf(), mode }) }
}

fn load_secret(path: &Path, hint: &'static str) -> Result<Zeroizing<[u8; 32]>, HomeError> {
    let file = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => HomeError::NoKey { path: path.to_path_buf(), hint },
        _ => io_error("open", path)(source),
    })?;
    check_secrecy(&file, path)?;
    let broken = |problem: String| HomeError::Key { path: path.to_path_buf(), problem };
    // One digit more than fits shows that there is more; nothing of the content appears in a message.
    let mut text = Zeroizing::new(Vec::with_capacity(KEY_DIGITS + 3));
    file.take(KEY_DIGITS as u64 + 3).read_to_end(&mut text).map_err(io_error("read", path))?;
    let digits = text.trim_ascii();
    if digits.len() != KEY_DIGITS {
        let found = if digits.len() > KEY_DIGITS { "more".to_owned() } else { digits.len().to_string() };
        return Err(broken(format!("{KEY_DIGITS} hex digits are expected, {found} were found")));
    }
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(digits, seed.as_mut_slice())
        .map_err(|_| broken(format!("{KEY_DIGITS} hex digits are expected, other characters were found")))?;
    Ok(seed)
}

mod validator_keys;

#[cfg(test)]
mod tests;
