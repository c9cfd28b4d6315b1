//! Where the passphrase of a keystore comes from: a file, a file descriptor or the terminal. Never an argument or the
//! environment, which other users can see.
//!
//! Only the first line counts. Every buffer is wiped.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lucid_tron_bridge::keystore::SecretString;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// The longest passphrase.
const MAX_BYTES: usize = 1_024;

/// Where a passphrase comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassphraseSource {
    /// A file that its owner only may read, for example a credential of systemd.
    File(PathBuf),
    /// A file descriptor that this process was started with.
    Descriptor(u32),
    /// The terminal.
    Terminal,
}

impl PassphraseSource {
    /// The passphrase of a keystore that exists.
    ///
    /// # Errors
    /// It could not be read; the message says from where.
    pub fn read(&self) -> io::Result<SecretString> {
        self.read_as("Passphrase of the signer's keystore: ")
    }

    /// The passphrase for a new keystore. On a terminal it is asked for twice.
    ///
    /// # Errors
    /// It could not be read, or is not the same the second time.
    pub fn read_new(&self) -> io::Result<SecretString> {
        if *self != Self::Terminal {
            return self.read();
        }
        let (first, second) = (ask("New passphrase: ")?, ask("Once more: ")?);
        if *first != *second {
            return Err(io::Error::other("the two passphrases differ"));
        }
        Ok(secret(&first))
    }

    /// The passphrase of a keystore that exists, asked for with these words.
    ///
    /// # Errors
    /// It could not be read; the message says from where.
    pub fn read_as(&self, prompt: &str) -> io::Result<SecretString> {
        let line = match self {
            Self::File(path) => private(path).and_then(|mut file| first_line(&mut file)),
            // The system opens what the descriptor stands for; no unsafe code takes the descriptor over.
            Self::Descriptor(n) => File::open(format!("/dev/fd/{n}")).and_then(|mut file| first_line(&mut file)),
            Self::Terminal => ask(prompt),
        };
        let place = |error: io::Error| match self {
            Self::File(path) => io::Error::new(error.kind(), format!("{}: {error}", path.display())),
            Self::Descriptor(n) => io::Error::new(error.kind(), format!("file descriptor {n}: {error}")),
            Self::Terminal => error,
        };
        line.map(|line| secret(&line)).map_err(place)
    }
}

/// Without a copy that would stay in memory: the text is allocated once, at its length.
fn secret(line: &str) -> SecretString {
    SecretString::from(line)
}

fn private(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    let mode = file.metadata()?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(io::Error::other(format!(
            "others may read it (mode {mode:04o}); run `chmod 600 {}`, and choose another passphrase if it was \
             exposed",
            path.display()
        )));
    }
    Ok(file)
}

fn first_line(reader: &mut impl Read) -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0_u8; MAX_BYTES]);
    let mut n = 0;
    loop {
        let Some(free) = bytes.get_mut(n..).filter(|free| !free.is_empty()) else {
            return Err(io::Error::other(format!("a passphrase has fewer than {MAX_BYTES} bytes")));
        };
        let read = match reader.read(free) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        n = n.saturating_add(read);
        let filled = bytes.get(..n).unwrap_or_default();
        let end = filled.iter().position(|byte| *byte == b'\n');
        if read > 0 && end.is_none() {
            continue;
        }
        let line = filled.get(..end.unwrap_or(n)).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|_| io::Error::other("a passphrase is UTF-8 text"))?;
        return Ok(Zeroizing::new(text.to_owned()));
    }
}

/// Asks on the terminal, which shows nothing of the answer.
fn ask(prompt: &str) -> io::Result<Zeroizing<String>> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|error| {
        let problem = "there is no terminal to ask for a passphrase; give --passphrase-file";
        io::Error::new(error.kind(), problem)
    })?;
    let shown = tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    hidden.local_flags.insert(LocalFlags::ECHONL);
    terminal.write_all(prompt.as_bytes())?;
    terminal.flush()?;
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &hidden)?;
    let line = first_line(&mut terminal);
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &shown)?;
    line
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;

    use lucid_tron_bridge::key::TronKey;
    use lucid_tron_bridge::keystore;

    use super::*;

    fn line(bytes: &[u8]) -> io::Result<Zeroizing<String>> {
        let mut reader = bytes;
        first_line(&mut reader)
    }

    #[test]
    fn the_first_line_is_the_passphrase() {
        for (bytes, wanted) in [
            (b"".as_slice(), ""),
            (b"one two", "one two"),
            (b"one\n", "one"),
            (b"one\r\ntwo\n", "one"),
            (b" \xc3\xa9\n", " é"),
        ] {
            assert_eq!(*line(bytes).unwrap(), wanted);
        }
        assert_eq!(line(&[b'a'; MAX_BYTES - 1]).unwrap().len(), MAX_BYTES - 1);
        assert!(line(&[b'a'; MAX_BYTES + 1]).is_err());
        assert!(line(b"\xff\n").is_err());
    }

    #[test]
    fn a_file_or_a_descriptor_opens_a_keystore_and_a_loose_file_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (path, store) = (folder.path().join("passphrase"), folder.path().join("signer.age"));
        fs::write(&path, "correct horse\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let file = PassphraseSource::File(path.clone());
        let key = TronKey::generate().unwrap();
        keystore::create(&store, &key, file.read_new().unwrap()).unwrap();
        let opened = File::open(&path).unwrap();
        let descriptor = PassphraseSource::Descriptor(u32::try_from(opened.as_raw_fd()).unwrap());
        assert_eq!(keystore::open(&store, || descriptor.read()).unwrap().address(), key.address());

        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = file.read().unwrap_err().to_string();
        assert!(error.contains("0640") && error.contains("passphrase: others may read it"), "{error}");
        let none = PassphraseSource::Descriptor(9_999).read().unwrap_err().to_string();
        assert!(none.contains("file descriptor 9999"), "{none}");
    }
}
