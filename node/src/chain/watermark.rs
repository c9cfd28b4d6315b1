//! How far a validator has signed, outside its database: a database that is restored from a backup must not sign again what it signed.
//!
//! One file of two slots in two sectors, written in turn, so that a torn write leaves the other. It is synced before the first signature of every
//! height, and written without syncing before the others: those are lost only if the machine crashes and the database is then
//! restored from a backup of the same height.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lucid_types::id::{Hash, NetworkId};
use lucid_types::time::Height;

const SLOT_BYTES: usize = 64;
/// From one slot to the other: no device writes both in one sector.
const STRIDE: u64 = 4_096;
const FIELDS_BYTES: usize = 32;

/// What has been done with a validator's home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// How often the validator has started.
    pub boot: u64,
    /// The newest height that it signed something of.
    pub height: Height,
    /// Entries of the engine's log of that height.
    pub entries: u64,
}

impl Mark {
    /// The height up to which a validator whose database ends with block `head`, and whose log of the next height has so many entries, must
    /// not sign: it has signed there, and the database does not know what.
    pub fn silent_through(&self, head: Height, entries: u64) -> Height {
        let is_lost = self.height > head.next() || (self.height == head.next() && self.entries > entries);
        if is_lost { self.height } else { Height::ZERO }
    }
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WatermarkError {
    /// It could not be read or written.
    #[error("{operation} {path}")]
    Io {
        /// What failed.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is gone.
    #[error(
        "{0} is missing, and this validator has started with its database before: without the file, a database from a backup could \
         sign a second time what it signed. Put the file back; if it is lost, docs/src/validator.md says what can be done"
    )]
    Missing(PathBuf),
    /// It holds nothing that was written there.
    #[error("{0} is damaged or another network's: put it back from a copy, or proceed as if it were lost")]
    Damaged(PathBuf),
}

/// The open file.
#[derive(Debug)]
pub struct Watermark {
    path: PathBuf,
    file: File,
    network: NetworkId,
    sequence: u64,
    mark: Mark,
}

impl Watermark {
    /// Opens the file, or makes it if the validator has never started: `was_used` says that its database has.
    ///
    /// # Errors
    /// The file is missing, damaged, or cannot be read.
    pub fn open(path: &Path, network: NetworkId, was_used: bool) -> Result<Self, WatermarkError> {
        let failed = |operation| move |source| WatermarkError::Io { operation, path: path.to_owned(), source };
        if !path.exists() {
            if was_used {
                return Err(WatermarkError::Missing(path.to_owned()));
            }
            // Under another name first: a file that is there has its first mark.
            let unfinished = path.with_extension("new");
            let file =
                OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
            let file = file.map_err(failed("create"))?;
            let mut made = Self { path: path.to_owned(), file, network, sequence: 0, mark: Mark::default() };
            made.write(Mark::default(), true)?;
            std::fs::rename(&unfinished, path).map_err(failed("name"))?;
            let folder = path.parent().unwrap_or(Path::new("."));
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync the folder of"))?;
            return Ok(made);
        }
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed("open"))?;
        let (sequence, mark) = newest(path, &file, &network)?;
        Ok(Self { path: path.to_owned(), file, network, sequence, mark })
    }

    /// The newest mark in the file, which is not changed; `None` if there is no file.
    ///
    /// # Errors
    /// The file is damaged or cannot be read.
    pub fn read(path: &Path, network: NetworkId) -> Result<Option<Mark>, WatermarkError> {
        match File::open(path) {
            Ok(file) => newest(path, &file, &network).map(|(_, mark)| Some(mark)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(WatermarkError::Io { operation: "open", path: path.to_owned(), source }),
        }
    }

    /// The newest mark.
    pub const fn mark(&self) -> Mark {
        self.mark
    }

    /// Notes a start, durably.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn boot(&mut self, boot: u64) -> Result<(), WatermarkError> {
        self.write(Mark { boot, ..self.mark }, true)
    }

    /// Notes that the validator is about to sign something of a height, whose log has so many entries.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn signs(&mut self, height: Height, entries: u64) -> Result<(), WatermarkError> {
        if height < self.mark.height {
            return Ok(());
        }
        let is_first = height > self.mark.height;
        self.write(Mark { boot: self.mark.boot, height, entries }, is_first)
    }

    fn write(&mut self, mark: Mark, is_synced: bool) -> Result<(), WatermarkError> {
        let sequence = self.sequence.saturating_add(1);
        let bytes = slot(&self.network, sequence, mark);
        let at = (sequence % 2) * STRIDE;
        let failed = |operation| {
            let path = self.path.clone();
            move |source| WatermarkError::Io { operation, path, source }
        };
        self.file.write_all_at(&bytes, at).map_err(failed("write"))?;
        if is_synced {
            self.file.sync_data().map_err(failed("sync"))?;
        }
        (self.sequence, self.mark) = (sequence, mark);
        Ok(())
    }
}

/// The newer of the two slots, with its sequence number.
fn newest(path: &Path, file: &File, network: &NetworkId) -> Result<(u64, Mark), WatermarkError> {
    let slots = [0, 1].map(|slot| {
        let mut bytes = [0; SLOT_BYTES];
        match file.read_exact_at(&mut bytes, slot * STRIDE) {
            Ok(()) => Ok(parse(network, &bytes)),
            // Until the second mark there is one slot, or a hole before it.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(source) => Err(WatermarkError::Io { operation: "read", path: path.to_owned(), source }),
        }
    });
    let [first, second] = slots;
    let newest = [first?, second?].into_iter().flatten().max_by_key(|(sequence, _)| *sequence);
    newest.ok_or_else(|| WatermarkError::Damaged(path.to_owned()))
}

fn checksum(network: &NetworkId, fields: &[u8]) -> Hash {
    Hash::derive("lucid validator watermark 1", &[network.as_bytes(), fields])
}

fn slot(network: &NetworkId, sequence: u64, Mark { boot, height, entries }: Mark) -> Vec<u8> {
    let fields = [sequence, boot, height.get(), entries].map(u64::to_le_bytes).concat();
    [&fields, checksum(network, &fields).as_bytes().as_slice()].concat()
}

fn parse(network: &NetworkId, bytes: &[u8; SLOT_BYTES]) -> Option<(u64, Mark)> {
    let (fields, sum) = bytes.split_at(FIELDS_BYTES);
    if checksum(network, fields).as_bytes() != sum {
        return None;
    }
    let mut numbers = fields.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
    let (sequence, boot, height, entries) = (numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?);
    Some((sequence, Mark { boot, height: Height::new(height), entries }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);

    fn height(number: u64) -> Height {
        Height::new(number)
    }

    #[test]
    fn marks_are_read_back_and_never_fall() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signed");
        let open = || Watermark::open(&path, NETWORK, true);
        assert!(matches!(open(), Err(WatermarkError::Missing(_))));
        let mut file = Watermark::open(&path, NETWORK, false).unwrap();
        assert_eq!(open().unwrap().mark(), Mark::default());
        file.boot(1).unwrap();
        for (at, entries) in [(1, 1), (1, 4), (2, 1), (1, 9), (7, 2)] {
            file.signs(height(at), entries).unwrap();
        }
        assert_eq!(open().unwrap().mark(), Mark { boot: 1, height: height(7), entries: 2 });
        assert!(matches!(
            Watermark::open(&path, NetworkId::from_bytes([2; 32]), true),
            Err(WatermarkError::Damaged(_))
        ));
    }

    #[test]
    fn a_torn_write_leaves_the_mark_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signed");
        let mut file = Watermark::open(&path, NETWORK, false).unwrap();
        for number in 1..=4 {
            file.signs(height(number), 1).unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        let newest = usize::try_from((file.sequence % 2) * STRIDE).unwrap();
        for at in 0..SLOT_BYTES {
            let mut torn = whole.clone();
            torn[newest + at] ^= 1;
            std::fs::write(&path, &torn).unwrap();
            assert_eq!(Watermark::open(&path, NETWORK, true).unwrap().mark().height, height(3));
        }
        std::fs::write(&path, [0; 5_000]).unwrap();
        assert!(matches!(Watermark::open(&path, NETWORK, true), Err(WatermarkError::Damaged(_))));
    }

    #[test]
    fn an_older_database_keeps_a_validator_silent() {
        let mark = Mark { boot: 1, height: height(7), entries: 5 };
        assert_eq!(mark.silent_through(height(6), 5), Height::ZERO, "the log is whole");
        assert_eq!(mark.silent_through(height(6), 9), Height::ZERO, "it is written before the mark");
        assert_eq!(mark.silent_through(height(7), 0), Height::ZERO, "the height is decided");
        assert_eq!(mark.silent_through(height(6), 4), height(7), "entries are missing");
        assert_eq!(mark.silent_through(height(3), 9), height(7), "blocks are missing");
        assert_eq!(Mark::default().silent_through(Height::ZERO, 0), Height::ZERO);
    }
}
