//! Files that survive a power failure: replaced as a whole, synced, and checked when they are read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use lucid_types::codec::{DecodeError, Wire, decode, encode};
use lucid_types::id::Hash;

/// Bytes of the hash before a sealed value.
const HASH_BYTES: usize = 32;

/// What the signer needs of a file system.
pub trait Files {
    /// A file's bytes.
    ///
    /// # Errors
    /// As the system says; `InvalidData` for more than `max` bytes.
    fn read(&self, path: &Path, max: usize) -> io::Result<Vec<u8>>;

    /// Writes a new file of mode 0600 and syncs its content. The folder is not synced.
    ///
    /// # Errors
    /// The file exists or could not be written; part of it may be there.
    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file another name, in place of the file that has it.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes a folder's names durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, max: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        if bytes.len() > max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {max} bytes")));
        }
        Ok(bytes)
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// The folder that a path lies in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Replaces a file or makes it. After a crash the old or the new content is there, whole. When this returns, the new content
/// survives a power failure.
///
/// # Errors
/// As the system says. Whether the old or the new content is there, and whether it is durable, is unknown then.
pub fn replace(files: &impl Files, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_added_extension("new");
    match files.remove(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    files.create(&new, bytes)?;
    files.rename(&new, path)?;
    files.sync_folder(folder_of(path))
}

/// Why bytes are not what was written.
#[derive(Debug, thiserror::Error)]
pub enum Damaged {
    /// They changed since.
    #[error("the bytes do not match the hash before them")]
    Hash,
    /// They never were a value of this type.
    #[error("the bytes are of another format")]
    Format(#[source] DecodeError),
}

/// A value's bytes for a file: their hash for this purpose, then the bytes.
pub fn seal<T: Wire>(purpose: &'static str, value: &T) -> Vec<u8> {
    let bytes = encode(value);
    [Hash::derive(purpose, &[&bytes]).as_bytes().as_slice(), &bytes].concat()
}

/// The value in a file's bytes.
///
/// # Errors
/// The bytes changed, or are of another purpose.
pub fn unseal<T: Wire>(purpose: &'static str, bytes: &[u8]) -> Result<T, Damaged> {
    let (hash, bytes) = bytes.split_at_checked(HASH_BYTES).ok_or(Damaged::Hash)?;
    if Hash::derive(purpose, &[bytes]).as_bytes() != hash {
        return Err(Damaged::Hash);
    }
    decode(bytes).map_err(Damaged::Format)
}

/// The most bytes of a sealed value.
pub const fn sealed_max<T: Wire>() -> usize {
    T::MAX_BYTES.saturating_add(HASH_BYTES)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use lucid_types::payout::CosignReply;

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("watermark");
        for content in [b"one".as_slice(), b"two, longer"] {
            // What an earlier crash left is in nobody's way.
            fs::write(path.with_added_extension("new"), "half").unwrap();
            replace(&Disk, &path, content).unwrap();
            assert_eq!(Disk.read(&path, 64).unwrap(), content);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(Disk.read(&path, 11).unwrap().len(), 11);
        assert_eq!(Disk.read(&path, 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(replace(&Disk, &folder.path().join("none/file"), b"x").is_err());
    }

    #[test]
    fn every_changed_byte_of_a_sealed_value_is_found() {
        let value = CosignReply::Refused("because".to_owned());
        let sealed = seal("lucid test 1", &value);
        assert_eq!(unseal::<CosignReply>("lucid test 1", &sealed).unwrap(), value);
        assert!(unseal::<CosignReply>("lucid test 2", &sealed).is_err(), "another purpose");
        for n in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[n] ^= 1;
            assert!(unseal::<CosignReply>("lucid test 1", &changed).is_err(), "{n}");
            assert!(unseal::<CosignReply>("lucid test 1", &sealed[..n]).is_err(), "{n}");
        }
    }
}
