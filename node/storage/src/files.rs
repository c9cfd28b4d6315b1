//! A store's files as files: lists of them with lengths and hashes, and writing so that a crash leaves the old or the new.
//!
//! RocksDB gives its data blocks, log records and manifest records checksums, but a manifest or a log that was cut short at the
//! end of a record looks to it like one that was never longer, and a newest log that is gone like one that never was. Lists
//! of names, lengths and hashes notice that; see `seal.rs` and `backup.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use blake3::Hash;

const MAGIC: &str = "lucid files 1";
const CHUNK: usize = 1 << 20;

/// Ending of what is not finished yet. It becomes whole by being renamed.
pub(crate) const UNFINISHED: &str = "part";

/// What a list says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) length: u64,
    /// None where the file's own checksums do.
    pub(crate) hash: Option<Hash>,
}

/// A list of files in one folder, and lines of words about them. Its text ends with its own hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileList {
    pub(crate) about: Vec<(String, String)>,
    pub(crate) files: BTreeMap<String, Listed>,
}

/// How a file differs from what a list says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFault {
    /// It is not there.
    Missing,
    /// It has another length.
    Length {
        /// In bytes, now.
        found: u64,
        /// In bytes, by the list.
        expected: u64,
    },
    /// It has the right length and other bytes.
    Content,
    /// The disk does not give it.
    Unreadable(String),
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::Length { found, expected } => write!(f, "has {found} bytes, not {expected}"),
            Self::Content => f.write_str("has other content than it had"),
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
        }
    }
}

impl FileList {
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{MAGIC}\n");
        for (what, value) in &self.about {
            text.push_str(&format!("{what} {value}\n"));
        }
        for (name, listed) in &self.files {
            let hash = listed.hash.map_or_else(|| "-".to_owned(), |hash| hash.to_hex().to_string());
            text.push_str(&format!("file {name} {} {hash}\n", listed.length));
        }
        let hash = blake3::hash(text.as_bytes()).to_hex();
        text.push_str(&format!("end {hash}\n"));
        text
    }

    /// `None` if the text is not exactly one that [`Self::to_text`] makes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (body, end) = text.split_at_checked(text.strip_suffix('\n')?.rfind('\n')?.checked_add(1)?)?;
        let end = end.strip_prefix("end ")?.strip_suffix('\n')?;
        if Hash::from_hex(end).ok()? != blake3::hash(body.as_bytes()) {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != MAGIC {
            return None;
        }
        let mut list = Self::default();
        for line in lines {
            let (what, rest) = line.split_once(' ')?;
            if what != "file" {
                list.about.push((what.to_owned(), rest.to_owned()));
                continue;
            }
            let mut words = rest.split(' ');
            let (name, length, hash) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
            let hash = if hash == "-" { None } else { Some(Hash::from_hex(hash).ok()?) };
            list.files.insert(name.to_owned(), Listed { length, hash });
        }
        Some(list)
    }

    /// What the first line with this word says.
    pub(crate) fn about(&self, what: &str) -> Option<&str> {
        self.about.iter().find(|(word, _)| word == what).map(|(_, value)| value.as_str())
    }

    /// The files of `folder` that differ from the list; with hashes only if `is_thorough`.
    pub(crate) fn faults(&self, folder: &Path, is_thorough: bool) -> Vec<(String, FileFault)> {
        let fault = |(name, listed): (&String, &Listed)| {
            let fault = fault(&folder.join(name), *listed, is_thorough)?;
            Some((name.clone(), fault))
        };
        self.files.iter().filter_map(fault).collect()
    }
}

fn fault(path: &Path, listed: Listed, is_thorough: bool) -> Option<FileFault> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => FileFault::Missing,
        _ => FileFault::Unreadable(error.to_string()),
    };
    let found = match fs::metadata(path) {
        Ok(found) => found.len(),
        Err(error) => return Some(unreadable(error)),
    };
    if found != listed.length {
        return Some(FileFault::Length { found, expected: listed.length });
    }
    let expected = listed.hash.filter(|_| is_thorough)?;
    match hash_of(path) {
        Ok(found) => (found != expected).then_some(FileFault::Content),
        Err(error) => Some(unreadable(error)),
    }
}

pub(crate) fn hash_of(path: &Path) -> io::Result<Hash> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    for_each_chunk(&mut file, |chunk| {
        hasher.update(chunk);
        Ok(())
    })?;
    Ok(hasher.finalize())
}

fn for_each_chunk(file: &mut File, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            n => each(&buffer[..n])?,
        }
    }
}

/// Copies a file's bytes into a new one, and returns what a list says of it. Synced.
pub(crate) fn copy_synced(from: &Path, to: &Path) -> io::Result<Listed> {
    let (mut from, mut copy) = (File::open(from)?, File::create_new(to)?);
    let (mut hasher, mut length) = (blake3::Hasher::new(), 0_u64);
    for_each_chunk(&mut from, |chunk| {
        hasher.update(chunk);
        length = length.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        copy.write_all(chunk)
    })?;
    copy.sync_all()?;
    Ok(Listed { length, hash: Some(hasher.finalize()) })
}

/// Writes a file whole or not at all, over an older one. Synced.
pub(crate) fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = path.with_added_extension(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    rename_synced(&unfinished, path)
}

/// Gives a finished file or folder its name. Synced.
pub(crate) fn rename_synced(unfinished: &Path, path: &Path) -> io::Result<()> {
    fs::rename(unfinished, path)?;
    match path.parent() {
        Some(parent) if parent != Path::new("") => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

/// Returns when the disk has the folder's entries.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// What a name in RocksDB's folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    Current,
    Manifest(u64),
    Log(u64),
    Table(u64),
}

impl FileKind {
    /// Whether it says which other files there are.
    pub(crate) const fn describes(self) -> bool {
        matches!(self, Self::Current | Self::Manifest(_))
    }

    /// `None` for files that hold no data.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let numbered = |digits: &str| digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
        if name == "CURRENT" {
            Some(Self::Current)
        } else if let Some(number) = name.strip_prefix("MANIFEST-") {
            numbered(number).map(Self::Manifest)
        } else if let Some(number) = name.strip_suffix(".log") {
            numbered(number).map(Self::Log)
        } else {
            numbered(name.strip_suffix(".sst")?).map(Self::Table)
        }
    }
}

/// RocksDB's files of data in a folder, by name.
pub(crate) fn data_files(folder: &Path) -> io::Result<Vec<(String, FileKind)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if let Some(kind) = FileKind::of(&name) {
            found.push((name, kind));
        }
    }
    found.sort();
    Ok(found)
}

/// The number of the newest of RocksDB's logs among files.
pub(crate) fn newest_log(files: &[(String, FileKind)]) -> Option<u64> {
    let number = |(_, kind): &(String, FileKind)| match kind {
        FileKind::Log(number) => Some(*number),
        _ => None,
    };
    files.iter().filter_map(number).max()
}

/// The file of data that a text of RocksDB names.
pub(crate) fn file_in(text: &str) -> Option<String> {
    let names = text.split(|c: char| c.is_whitespace() || "/:,;()'\"".contains(c));
    names.map(|name| name.trim_end_matches('.')).find(|name| FileKind::of(name).is_some()).map(str::to_owned)
}

/// Whether nothing stands in the way of making `path`: it does not exist, or is an empty folder.
pub(crate) fn is_free(path: &Path) -> io::Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error),
    }
}

/// Where something is made that gets the name `path` when it is finished; what an interrupted attempt left there is removed.
pub(crate) fn unfinished(path: &Path) -> io::Result<PathBuf> {
    let unfinished = path.with_added_extension(UNFINISHED);
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(unfinished),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    fn list() -> FileList {
        let about = vec![("closed".to_owned(), "yes and more".to_owned())];
        let hashed = Listed { length: 3, hash: Some(blake3::hash(b"abc")) };
        let files = [("000001.log".to_owned(), hashed), ("000002.sst".to_owned(), Listed { length: 9, hash: None })];
        FileList { about, files: files.into() }
    }

    #[test]
    fn golden_text() {
        let text = list().to_text();
        let expected = "lucid files 1\nclosed yes and more\n\
            file 000001.log 3 6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85\nfile 000002.sst 9 -\nend ";
        assert_eq!(text.split_at(expected.len()).0, expected);
        assert_eq!(FileList::parse(&text), Some(list()));
    }

    #[test]
    fn any_changed_or_missing_byte_of_a_list_is_noticed() {
        let text = list().to_text();
        for at in 0..text.len() {
            assert_eq!(FileList::parse(&text[..at]), None, "cut to {at}");
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(FileList::parse(&changed), None, "changed at {at}");
        }
        assert_eq!(FileList::parse(&format!("{text}\n")), None);
    }

    #[test]
    fn files_are_known_by_their_names() {
        assert_eq!(FileKind::of("CURRENT"), Some(FileKind::Current));
        assert_eq!(FileKind::of("MANIFEST-000005"), Some(FileKind::Manifest(5)));
        assert_eq!(FileKind::of("000032.log"), Some(FileKind::Log(32)));
        assert_eq!(FileKind::of("000032.sst"), Some(FileKind::Table(32)));
        for other in ["LOG", "LOCK", "OPTIONS-000005", "IDENTITY", "lucid.lock", "+1.log", ".sst", "MANIFEST-", "x.sst"]
        {
            assert_eq!(FileKind::of(other), None, "{other}");
        }
        let file = |text| file_in(text);
        let text =
            "Corruption: block checksum mismatch: stored = 1, computed = 2, type = 4  in /a/000028.sst offset 0 size 9";
        assert_eq!(file(text).as_deref(), Some("000028.sst"));
        let text = "Corruption: Can't access /000012.sst: IO error: No such file or directory: stat: /a/000012.sst";
        assert_eq!(file(text).as_deref(), Some("000012.sst"));
        assert_eq!(
            file("IO error: While opening /a/MANIFEST-000005: No such file").as_deref(),
            Some("MANIFEST-000005")
        );
        assert_eq!(file("Corruption: checksum mismatch"), None);
    }
}
