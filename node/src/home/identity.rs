//! Which account this node is, by which key: both stay together while the key rotates.
//!
//! ```text
//! rotate-key    HOME/account is written, then HOME/node.next.key; then the command is sent
//! in force      HOME/node.next.key becomes HOME/node.key, by one rename
//! ```
//!
//! Whenever this is cut off, the home has every key that the chain may have in force for the account: before the rename both, and
//! after it that which has replaced the other for good.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lucid_types::id::{NodeId, PublicKey};
use lucid_types::key::NodeKey;

use super::{Home, HomeError, digits, io_error, load_secret, new_secret, part_of, remove_if_there, write_new};

/// Hex digits of an account, and one more that shows that there is more.
const MAX_ACCOUNT_BYTES: u64 = 66;

/// A node's account, and the key that it has.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The account.
    pub account: NodeId,
    /// The node key in this home. Whether it is the account's is for the chain to say.
    pub key: NodeKey,
}

impl Identity {
    /// A new node's: the account whose first key this is.
    pub fn first(key: NodeKey) -> Self {
        Self { account: key.account(), key }
    }

    /// The public key.
    pub fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }
}

impl Home {
    /// `account`: the node's account, where its key is not the account's first one, or will not be.
    pub fn account_file(&self) -> PathBuf {
        self.root.join("account")
    }

    /// `node.next.key`: the key that the account has announced, or is about to.
    pub fn next_key_file(&self) -> PathBuf {
        self.root.join("node.next.key")
    }

    /// The node's account and key.
    ///
    /// # Errors
    /// As [`Self::load_key`]; or the account is none.
    pub fn load_identity(&self) -> Result<Identity, HomeError> {
        let key = self.load_key()?;
        Ok(Identity { account: self.load_account()?.unwrap_or_else(|| key.account()), key })
    }

    fn load_account(&self) -> Result<Option<NodeId>, HomeError> {
        let path = self.account_file();
        let mut text = String::new();
        let read = fs::File::open(&path).and_then(|file| file.take(MAX_ACCOUNT_BYTES).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", &path)(error)),
            Ok(_) => {
                let account = text.trim().parse().map_err(|source| HomeError::Account { path, source })?;
                Ok(Some(account))
            }
        }
    }

    /// The key that is to follow the node's; `None` if none is.
    ///
    /// # Errors
    /// Others may read it, or it is broken.
    pub fn load_next_key(&self) -> Result<Option<NodeKey>, HomeError> {
        match load_secret(&self.next_key_file(), "") {
            Ok(seed) => Ok(Some(NodeKey::from_seed(&seed))),
            Err(HomeError::NoKey { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps the key that is to follow the node's, and the account. Both are durable when this returns.
    ///
    /// Another key that was to follow is kept as `node.<first 8 hex digits>.key`: should a command that announces it be on its way still,
    /// nothing is lost.
    ///
    /// # Errors
    /// The key that is there is broken, or the system refuses.
    pub fn prepare_rotation(&self, next: &NodeKey) -> Result<(), HomeError> {
        self.keep_account()?;
        match self.load_next_key()?.map(|former| former.public_key()) {
            Some(former) if former == next.public_key() => return Ok(()),
            Some(former) => {
                let aside = self.root.join(format!("node.{}.key", former.short()));
                fs::rename(self.next_key_file(), &aside).map_err(io_error("make", &aside))?;
            }
            None => {}
        }
        self.write_whole(&self.next_key_file(), 0o600, &digits(next.seed()))
    }

    /// The next key takes the place of the node's, for good: it is in force for the account.
    ///
    /// # Errors
    /// The system refuses.
    pub fn promote_next_key(&self) -> Result<(), HomeError> {
        self.keep_account()?;
        let path = self.key_file();
        fs::rename(self.next_key_file(), &path).map_err(io_error("replace", &path))?;
        self.sync_root()
    }

    /// Writes the account down, once: the key will not tell it any more.
    fn keep_account(&self) -> Result<(), HomeError> {
        let Identity { account, .. } = self.load_identity()?;
        if self.load_account()?.is_some() {
            return Ok(());
        }
        self.write_whole(&self.account_file(), 0o644, &format!("{account}\n"))
    }

    /// Writes a file that is whole or not there, and stays.
    pub(super) fn write_whole(&self, path: &Path, mode: u32, text: &str) -> Result<(), HomeError> {
        let part = part_of(path);
        // Of a run that was killed.
        remove_if_there(&part)?;
        write_new(&part, mode, text)?;
        fs::rename(&part, path).map_err(io_error("make", path))?;
        self.sync_root()
    }
}

/// A key that nobody has, in memory only.
///
/// # Errors
/// The operating system gives no random bytes.
pub fn new_node_key() -> Result<NodeKey, HomeError> {
    Ok(NodeKey::from_seed(&*new_secret()?))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::config::Config;

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("home"));
        home.create(&Config::default(), None).unwrap();
        (folder, home)
    }

    fn seen(home: &Home) -> (NodeId, PublicKey, Option<PublicKey>) {
        let Identity { account, key } = home.load_identity().unwrap();
        (account, key.public_key(), home.load_next_key().unwrap().map(|key| key.public_key()))
    }

    #[test]
    fn the_account_stays_while_keys_follow_each_other() {
        let (_folder, home) = home();
        let (account, first, none) = seen(&home);
        assert_eq!((account.first_key(), none), (first, None));
        let mut keys = vec![first];
        for _ in 0..2 {
            let given_up = new_node_key().unwrap();
            home.prepare_rotation(&given_up).unwrap();
            let next = new_node_key().unwrap();
            home.prepare_rotation(&next).unwrap();
            home.prepare_rotation(&next).unwrap();
            let next = next.public_key();
            let aside = home.root().join(format!("node.{}.key", given_up.public_key().short()));
            assert_eq!(*load_secret(&aside, "").unwrap(), *given_up.seed(), "it may be announced already");
            assert_eq!(seen(&home), (account, keys[keys.len() - 1], Some(next)));
            home.promote_next_key().unwrap();
            assert_eq!(seen(&home), (account, next, None));
            assert!(!keys.contains(&next));
            keys.push(next);
        }
    }

    /// What is there after each step, and what the next start makes of it.
    #[test]
    fn wherever_a_rotation_is_cut_off_no_key_is_lost() {
        let (folder, home) = home();
        let (account, first, _) = seen(&home);
        // In the middle of writing either file.
        for file in ["account.part", "node.next.key.part"] {
            fs::write(home.root().join(file), "torn").unwrap();
        }
        assert_eq!(seen(&home), (account, first, None));
        let next = new_node_key().unwrap();
        home.prepare_rotation(&next).unwrap();
        let next = next.public_key();
        assert!(!home.root().join("account.part").exists() && !home.root().join("node.next.key.part").exists());
        // Between the account and the key.
        fs::rename(home.next_key_file(), folder.path().join("aside")).unwrap();
        assert_eq!(seen(&home), (account, first, None));
        fs::rename(folder.path().join("aside"), home.next_key_file()).unwrap();
        // Between the key and its promotion, with an account file that was lost.
        fs::remove_file(home.account_file()).unwrap();
        assert_eq!(seen(&home), (account, first, Some(next)));
        home.promote_next_key().unwrap();
        assert_eq!(seen(&home), (account, next, None));
    }

    #[test]
    fn an_account_that_is_none_is_named() {
        let (_folder, home) = home();
        for text in ["", "abcd", &"0".repeat(200)] {
            fs::write(home.account_file(), text).unwrap();
            let error = home.load_identity().unwrap_err().to_string();
            assert!(error.contains("account is no account") && error.contains("64 hex digits"), "{error}");
        }
    }
}
