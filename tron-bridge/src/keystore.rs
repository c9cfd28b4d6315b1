//! A TRON key in a file that a passphrase opens: the age format with its scrypt recipient.
//!
//! What is encrypted is the content of a plain key file, 64 hex digits, so `age --decrypt FILE` makes a file that
//! [`TronKey::load`] reads, and the other way round. Where the passphrase comes from (a prompt, a file descriptor, a
//! credentials file) is the caller's business; never take it from an argument or the environment, which other users can see.
//!
//! The passphrase is the only protection against somebody who reads the file, but not against somebody who reads the memory of
//! the process that has opened it. Secrets are wiped from memory when they are dropped.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use age::scrypt::{Identity, Recipient};
use age::secrecy::ExposeSecret;
use age::{DecryptError, Decryptor, EncryptError};
use zeroize::Zeroizing;

use crate::key::{self, KeyError, TronKey, check_mode, write_new};

pub use age::secrecy::SecretString;

/// Work to try one passphrase: scrypt with N = 2^18 takes about a second and 256 MiB.
const LOG_N: u8 = 18;

/// The most work that an opened file may ask for.
const MAX_LOG_N: u8 = 22;

/// How every age file starts.
const MAGIC: &[u8] = b"age-encryption.org/";

/// A keystore of one key has about 240 bytes.
const MAX_FILE_BYTES: u64 = 4 << 10;

/// A keystore could not be made or opened. The message holds neither key nor passphrase.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The file could not be read.
    #[error("read the keystore {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be opened or written, or others may read it.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The passphrase could not be read.
    #[error("read the passphrase of the keystore {}", path.display())]
    Passphrase {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An empty passphrase protects nothing.
    #[error("the passphrase is empty; for a key file without a passphrase make a plain one")]
    EmptyPassphrase,
    /// The passphrase is another.
    #[error("the passphrase does not open the keystore {}; check it for a missing or added character", path.display())]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// The file ends too early.
    #[error("the keystore {} is cut off; restore it from its backup", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// The file is not, or no longer, a keystore.
    #[error("{} is no keystore that a passphrase opens, or it is damaged: {problem}; restore it from its backup", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The passphrase fits, but what is inside is no key.
    #[error("the keystore {} does not hold 64 hex digits of a key; restore it from its backup", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// Encryption failed.
    #[error("encrypt the keystore {}", path.display())]
    Encrypt {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<EncryptError>,
    },
}

/// Whether the file is a keystore. Anything else is taken for a plain key file.
///
/// # Errors
/// The file cannot be read.
pub fn is_keystore(path: &Path) -> Result<bool, KeyError> {
    let file = key::open(path)?;
    let mut start = Vec::with_capacity(MAGIC.len());
    let n = u64::try_from(MAGIC.len()).unwrap_or(u64::MAX);
    file.take(n).read_to_end(&mut start).map_err(|source| KeyError::Read { path: path.into(), source })?;
    Ok(start == MAGIC)
}

/// Writes the key to a new keystore of mode 0600, synced. An existing file is never overwritten. Takes about a second.
///
/// # Errors
/// The passphrase is empty, or the file exists or could not be written.
pub fn create(path: &Path, key: &TronKey, passphrase: SecretString) -> Result<(), KeystoreError> {
    create_with_work(path, key, passphrase, LOG_N)
}

fn create_with_work(path: &Path, key: &TronKey, passphrase: SecretString, log_n: u8) -> Result<(), KeystoreError> {
    if passphrase.expose_secret().is_empty() {
        return Err(KeystoreError::EmptyPassphrase);
    }
    let mut recipient = Recipient::new(passphrase);
    recipient.set_work_factor(log_n);
    let encrypted = age::encrypt(&recipient, key.to_hex().as_ref())
        .map_err(|source| KeystoreError::Encrypt { path: path.into(), source: Box::new(source) })?;
    Ok(write_new(path, &encrypted)?)
}

/// Opens a keystore. The passphrase is asked for once the file is known to be one and to be private.
///
/// # Errors
/// The file is missing, readable by others, cut off, damaged, or the passphrase is wrong; the message names the file and says
/// what to do.
pub fn open(path: &Path, passphrase: impl FnOnce() -> io::Result<SecretString>) -> Result<TronKey, KeystoreError> {
    let file = key::open(path)?;
    check_mode(&file, path)?;
    let mut encrypted = Vec::new();
    let read = file.take(MAX_FILE_BYTES).read_to_end(&mut encrypted);
    read.map_err(|source| KeystoreError::Read { path: path.into(), source })?;

    let failed = |error| of_decryption(path, error);
    let decryptor = Decryptor::new_buffered(encrypted.as_slice()).map_err(failed)?;
    if !decryptor.is_scrypt() {
        let problem = "it is encrypted to keys, not to a passphrase".into();
        return Err(KeystoreError::Content { path: path.into(), problem });
    }
    let passphrase = passphrase().map_err(|source| KeystoreError::Passphrase { path: path.into(), source })?;
    let mut identity = Identity::new(passphrase);
    identity.set_max_work_factor(MAX_LOG_N);
    let mut reader = decryptor.decrypt(std::iter::once(&identity as _)).map_err(failed)?;

    let mut text = Zeroizing::new(Vec::with_capacity(256));
    reader.read_to_end(&mut text).map_err(|error| failed(DecryptError::Io(error)))?;
    let not_a_key = || KeystoreError::NotAKey { path: path.into() };
    let mut secret = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim_ascii(), secret.as_mut()).map_err(|_| not_a_key())?;
    TronKey::from_secret(&secret).map_err(|_| not_a_key())
}

fn of_decryption(path: &Path, error: DecryptError) -> KeystoreError {
    let path = path.to_owned();
    match error {
        DecryptError::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => KeystoreError::Truncated { path },
        // The header is checked with the key that the passphrase gives, so its first failure is the passphrase's.
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => KeystoreError::WrongPassphrase { path },
        DecryptError::Io(source) => KeystoreError::Content { path, problem: source.to_string() },
        other => KeystoreError::Content { path, problem: other.to_string() },
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// Little work: what is tested is not scrypt.
    const FAST: u8 = 2;

    fn passphrase(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    fn keystore(dir: &Path) -> (PathBuf, TronKey) {
        let (path, key) = (dir.join("treasury.age"), TronKey::generate().unwrap());
        create_with_work(&path, &key, passphrase("correct horse"), FAST).unwrap();
        (path, key)
    }

    fn open_with(path: &Path, text: &str) -> Result<TronKey, KeystoreError> {
        open(path, || Ok(passphrase(text)))
    }

    fn rewrite(path: &Path, bytes: &[u8]) {
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn what_is_created_opens_with_its_passphrase_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (path, key) = keystore(dir.path());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(is_keystore(&path).unwrap());
        assert_eq!(open_with(&path, "correct horse").unwrap().address(), key.address());
        for wrong in ["correct horse ", "Correct horse", "", "x"] {
            let error = open_with(&path, wrong).unwrap_err();
            assert!(matches!(error, KeystoreError::WrongPassphrase { .. }), "{error}");
            assert!(error.to_string().contains("treasury.age"), "{error}");
        }
        let again = create_with_work(&path, &key, passphrase("other"), FAST).unwrap_err();
        assert!(matches!(again, KeystoreError::Key(KeyError::Write { .. })), "a keystore is never overwritten");
    }

    #[test]
    fn the_real_work_factor_opens_too() {
        let dir = tempfile::tempdir().unwrap();
        let (path, key) = (dir.path().join("gas.age"), TronKey::generate().unwrap());
        create(&path, &key, passphrase("p")).unwrap();
        assert!(std::fs::read(&path).unwrap().windows(4).any(|bytes| bytes == b" 18\n"));
        assert_eq!(open_with(&path, "p").unwrap().address(), key.address());
    }

    #[test]
    fn a_keystore_that_others_may_read_is_refused_before_the_passphrase_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _) = keystore(dir.path());
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = open(&path, || unreachable!("no passphrase is asked for")).unwrap_err().to_string();
            assert!(error.contains(&format!("{mode:04o}")) && error.contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _) = keystore(dir.path());
        let whole = std::fs::read(&path).unwrap();
        for n in 0..whole.len() {
            rewrite(&path, &whole[..n]);
            let error = open_with(&path, "correct horse").unwrap_err();
            assert!(!matches!(error, KeystoreError::WrongPassphrase { .. }), "{n}: {error}");
            assert!(error.to_string().contains("restore it from its backup"), "{n}: {error}");
        }
        rewrite(&path, &whole[..whole.len() / 2]);
        assert!(matches!(open_with(&path, "correct horse"), Err(KeystoreError::Truncated { .. })));
        for n in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[n] ^= 1;
            rewrite(&path, &damaged);
            assert!(open_with(&path, "correct horse").is_err(), "{n}");
        }
    }

    #[test]
    fn what_is_no_keystore_is_named_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("treasury.key");
        let key = TronKey::generate().unwrap();
        key.save_new(&path).unwrap();
        assert!(!is_keystore(&path).unwrap());
        let error = open(&path, || unreachable!("no passphrase is asked for")).unwrap_err();
        assert!(matches!(error, KeystoreError::Content { .. } | KeystoreError::Truncated { .. }), "{error}");
        assert!(!format!("{error:?}").contains(std::str::from_utf8(key.to_hex().as_ref()).unwrap()));
        // Nobody knows of a file that is not there which of the two it was meant to be.
        let none = dir.path().join("none");
        let told = format!("there is no key file {}", none.display());
        assert_eq!(is_keystore(&none).unwrap_err().to_string(), told);
        assert_eq!(open_with(&none, "p").unwrap_err().to_string(), told);
        assert_eq!(TronKey::load(&none).unwrap_err().to_string(), told);

        let mut recipient = Recipient::new(passphrase("p"));
        recipient.set_work_factor(FAST);
        rewrite(&path, &age::encrypt(&recipient, b"no key at all").unwrap());
        let error = open_with(&path, "p").unwrap_err();
        assert!(matches!(error, KeystoreError::NotAKey { .. }), "{error}");
    }

    #[test]
    fn a_keystore_that_would_work_for_hours_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _) = keystore(dir.path());
        let text = std::fs::read(&path).unwrap();
        let line = text.split(|byte| *byte == b'\n').nth(1).unwrap();
        let dear = String::from_utf8(line.to_vec()).unwrap().replace(" 2", " 40");
        let rest = &text[text.iter().position(|byte| *byte == b'\n').unwrap() + 1 + line.len()..];
        rewrite(&path, &[b"age-encryption.org/v1\n", dear.as_bytes(), rest].concat());
        assert!(matches!(open_with(&path, "correct horse"), Err(KeystoreError::Content { .. })));
    }

    #[test]
    fn an_empty_passphrase_and_a_failing_reader_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let (path, key) = keystore(dir.path());
        let none = create_with_work(&dir.path().join("new"), &key, passphrase(""), FAST);
        assert!(matches!(none, Err(KeystoreError::EmptyPassphrase)));
        let failed = open(&path, || Err(io::Error::other("the prompt was closed")));
        assert!(matches!(failed, Err(KeystoreError::Passphrase { .. })));
    }
}
