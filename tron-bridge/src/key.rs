//! A TRON key (secp256k1): of a treasury signer, a gas account or an owner. Made, loaded, and used for one purpose at a time.
//!
//! The key file holds 64 hex digits and must be readable by its owner only. The secret is wiped from memory on drop and
//! never printed. Each purpose has a method of its own, and none signs bytes of the caller's choice. Whether a signature should
//! be given is decided elsewhere; this module signs what it is given.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use k256::ecdsa::SigningKey;
use lucid_types::id::PayoutAddress;
use lucid_types::payout::{SettlementRoot, TreasurySignature, VaultLimits};
use lucid_types::vault::SignerSet;
use zeroize::Zeroizing;

use crate::address;
use crate::signature::V_BASE;
use crate::transaction::UnsignedTransaction;
use crate::vault::{VaultDomain, limits_digest, root_digest, signers_digest};

/// Most bytes read of a key file: 64 digits and some white space.
const MAX_FILE_BYTES: u64 = 256;

/// A key could not be made, read, written or used. The message never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The operating system gave no random bytes.
    #[error("read the operating system's random source: {0}")]
    Random(getrandom::Error),
    /// There is no such file.
    #[error("there is no key file {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It is something else than a file.
    #[error("{} is no regular file: a pipe or a folder holds no key that is read twice; write the key into a file of mode 0600", path.display())]
    NoFile {
        /// What was given.
        path: PathBuf,
    },
    /// The file could not be opened.
    #[error("open the TRON key {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file could not be read.
    #[error("read the TRON key {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file could not be created or written.
    #[error("write the TRON key {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than the owner may read the file.
    #[error("the TRON key {} has mode {mode:04o}: others may read it; run `chmod 600 {}` and replace the key if it was exposed", path.display(), path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold a key.
    #[error("the TRON key {} must hold exactly 64 hex digits; restore it from its backup", path.display())]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// The bytes are zero or not below the curve's order.
    #[error("the 32 bytes are no secp256k1 secret")]
    NotASecret,
    /// Signing failed; with a valid key this does not happen.
    #[error("sign with the TRON key")]
    Sign(#[source] k256::ecdsa::Error),
}

/// A secp256k1 secret. Each clone wipes its own copy.
#[derive(Clone)]
pub struct TronKey(SigningKey);

impl TronKey {
    /// A new key from the operating system's random source.
    ///
    /// # Errors
    /// The random source failed.
    pub fn generate() -> Result<Self, KeyError> {
        let mut secret = Zeroizing::new([0; 32]);
        loop {
            getrandom::fill(secret.as_mut()).map_err(KeyError::Random)?;
            // One in 2^128 draws is not below the curve's order.
            if let Ok(key) = Self::from_secret(&secret) {
                return Ok(key);
            }
        }
    }

    /// The key of 32 secret bytes.
    ///
    /// # Errors
    /// The bytes are zero or not below the curve's order.
    pub fn from_secret(secret: &[u8; 32]) -> Result<Self, KeyError> {
        SigningKey::from_slice(secret).map(Self).map_err(|_| KeyError::NotASecret)
    }

    /// Loads a key file.
    ///
    /// # Errors
    /// The file is missing, readable by others, or holds no key; the message names it and says what to do.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let content = || KeyError::Content { path: path.into() };
        let file = open(path)?;
        check_mode(&file, path)?;
        let mut text = Zeroizing::new(String::with_capacity(256));
        file.take(MAX_FILE_BYTES)
            .read_to_string(&mut text)
            .map_err(|source| KeyError::Read { path: path.into(), source })?;
        let mut secret = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), secret.as_mut()).map_err(|_| content())?;
        Self::from_secret(&secret).map_err(|_| content())
    }

    /// Writes the key to a new file of mode 0600, synced. An existing file is never overwritten.
    ///
    /// # Errors
    /// The file exists or could not be written.
    pub fn save_new(&self, path: &Path) -> Result<(), KeyError> {
        write_new(path, self.to_hex().as_ref())
    }

    /// The secret as a key file holds it.
    pub(crate) fn to_hex(&self) -> Zeroizing<[u8; 64]> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let secret = Zeroizing::new(<[u8; 32]>::from(self.0.to_bytes()));
        let mut text = Zeroizing::new([0; 64]);
        for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(secret.iter()) {
            *pair = [byte >> 4, byte & 15].map(|digit| DIGITS.get(usize::from(digit)).copied().unwrap_or_default());
        }
        text
    }

    /// The key's address.
    pub fn address(&self) -> PayoutAddress {
        address::of_public_key(self.0.verifying_key())
    }

    /// Signs a transaction: its id.
    ///
    /// # Errors
    /// None with a valid key.
    pub fn sign_transaction(&self, transaction: &UnsignedTransaction) -> Result<TreasurySignature, KeyError> {
        self.sign_digest(transaction.tx_id().as_bytes())
    }

    /// Signs a payout root, for the vault's `postRoot`.
    ///
    /// # Errors
    /// None with a valid key.
    pub fn sign_root(&self, domain: &VaultDomain, root: &SettlementRoot) -> Result<TreasurySignature, KeyError> {
        self.sign_digest(&root_digest(domain, root))
    }

    /// Signs a change of signers, for the vault's `setSigners`. `era` and `nonce` are those in force before it.
    ///
    /// # Errors
    /// None with a valid key.
    pub fn sign_signers(
        &self,
        domain: &VaultDomain,
        era: u32,
        nonce: u32,
        signers: &SignerSet,
    ) -> Result<TreasurySignature, KeyError> {
        self.sign_digest(&signers_digest(domain, era, nonce, signers))
    }

    /// Signs a change of limits, for the vault's `setLimits`. `era` and `nonce` are those in force before it.
    ///
    /// # Errors
    /// None with a valid key.
    pub fn sign_limits(
        &self,
        domain: &VaultDomain,
        era: u32,
        nonce: u32,
        limits: &VaultLimits,
    ) -> Result<TreasurySignature, KeyError> {
        self.sign_digest(&limits_digest(domain, era, nonce, limits))
    }

    /// Deterministic (RFC 6979), low s, v 27 or 28.
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<TreasurySignature, KeyError> {
        let (signature, id) = self.0.sign_prehash_recoverable(digest).map_err(KeyError::Sign)?;
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        bytes[64] = V_BASE.saturating_add(id.to_byte());
        Ok(TreasurySignature::from_bytes(bytes))
    }
}

impl fmt::Debug for TronKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TronKey({})", self.address())
    }
}

/// Opens a file that should hold a key.
pub(crate) fn open(path: &Path) -> Result<File, KeyError> {
    // A pipe can be read once, and this file is: to see whether it is a keystore, and then for the key.
    if std::fs::metadata(path).is_ok_and(|data| !data.is_file()) {
        return Err(KeyError::NoFile { path: path.into() });
    }
    File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => KeyError::Missing { path: path.into() },
        _ => KeyError::Open { path: path.into(), source },
    })
}

/// Writes a secret file of mode 0600, synced. An existing file is never overwritten.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> Result<(), KeyError> {
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|source| KeyError::Write { path: path.into(), source })
}

#[cfg(unix)]
pub(crate) fn check_mode(file: &File, path: &Path) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = file.metadata().map_err(|source| KeyError::Read { path: path.into(), source })?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(KeyError::Mode { path: path.into(), mode }) }
}

#[cfg(not(unix))]
pub(crate) fn check_mode(_: &File, _: &Path) -> Result<(), KeyError> {
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn saved_key_loads_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("treasury.key");
        let key = TronKey::generate().unwrap();
        key.save_new(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(TronKey::load(&path).unwrap().address(), key.address());
        assert!(matches!(key.save_new(&path), Err(KeyError::Write { .. })), "a key file is never overwritten");
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("treasury.key");
        TronKey::generate().unwrap().save_new(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = TronKey::load(&path).unwrap_err().to_string();
        assert!(error.contains("0640") && error.contains("chmod 600") && error.contains("treasury.key"), "{error}");
    }

    #[test]
    fn a_broken_key_file_is_named_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("treasury.key");
        for content in ["", "12", &"0".repeat(64), &"f".repeat(64), &"1".repeat(300)] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let error = TronKey::load(&path).unwrap_err();
            assert!(matches!(error, KeyError::Content { .. }), "{error}");
            assert!(content.is_empty() || !format!("{error}").contains(content));
        }
        assert!(matches!(TronKey::load(&dir.path().join("none")), Err(KeyError::Missing { .. })));
    }

    #[test]
    fn debug_shows_the_address_only() {
        let key = TronKey::from_secret(&[0x11; 32]).unwrap();
        assert_eq!(format!("{key:?}"), format!("TronKey({})", key.address()));
        assert!(!format!("{key:?}").contains("1111"));
    }
}
