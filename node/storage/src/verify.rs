//! Finding damage: every entry of every family is read, with its checksum, and reading goes on after what cannot be read.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use lucid_types::time::Height;
use rocksdb::DB;

use crate::error::{MaintenanceError, OpenError};
use crate::files::{FileKind, file_in};
use crate::layout::{Family, HistoryKind, OwnKind, parse_expiry, parse_height, parse_history, parse_peer, parse_wal};
use crate::lock::StoreLock;
use crate::manifest;
use crate::open;
use crate::scan::{Gap, scan};
use crate::seal;
use crate::state::checked_key;
use crate::store::{Store, Tip, lock};

/// What was read of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedFamily {
    /// The family's name.
    pub family: &'static str,
    /// Entries that were read.
    pub n_entries: u64,
    /// Bytes of their keys and values.
    pub n_bytes: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The family that is affected, if it is known.
    pub family: Option<&'static str>,
    /// The file, where it is known.
    pub file: Option<String>,
    /// What is wrong, in a sentence without its end.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.family, &self.file) {
            (Some(family), Some(file)) => write!(f, "family {family}, file {file}: {}", self.what),
            (Some(family), None) => write!(f, "family {family}: {}", self.what),
            (None, Some(file)) => write!(f, "file {file}: {}", self.what),
            (None, None) => f.write_str(&self.what),
        }
    }
}

/// What was found in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// What was read, by family; empty if the database could not be opened.
    pub families: Vec<VerifiedFamily>,
    /// What is wrong; empty if the store is sound.
    pub damages: Vec<Damage>,
}

impl VerifyReport {
    /// Whether everything could be read and is of a form that this program writes.
    pub fn is_sound(&self) -> bool {
        self.damages.is_empty()
    }
}

/// Verifies the closed store in the folder `path`, without changing any of its data: its record of files, RocksDB's manifest,
/// log and tables, and every entry.
///
/// # Errors
/// There is no such folder, or the store is open. What is wrong with the store itself is in the report.
pub fn verify(path: &Path) -> Result<VerifyReport, MaintenanceError> {
    check_folder(path)?;
    let _lock = StoreLock::take(path)?;
    Ok(verify_files(path))
}

/// Fails in words that fit if there is no folder, which must not be made.
pub(crate) fn check_folder(path: &Path) -> Result<(), MaintenanceError> {
    let folder = std::fs::read_dir(path);
    folder.map(|_| ()).map_err(|source| MaintenanceError::File {
        what: "read the folder",
        path: path.to_owned(),
        source,
    })
}

/// Verifies a folder that nobody changes.
pub(crate) fn verify_files(path: &Path) -> VerifyReport {
    let mut report = VerifyReport::default();
    match seal::faults(path) {
        Ok(faults) => {
            let damage = |(file, fault)| Damage { family: None, file: Some(file), what: format!("it {fault}") };
            report.damages.extend(faults.into_iter().map(damage));
        }
        Err(error) => report.damages.push(damage_of(None, format!("the folder cannot be read: {error}"))),
    }
    let distrusts_manifest =
        |damage: &Damage| damage.file.as_deref().and_then(FileKind::of).is_some_and(FileKind::describes);
    if report.damages.iter().any(distrusts_manifest) {
        // What an older manifest, or half of one, describes is nothing that was ever here.
        let what = "RocksDB's manifest is not what it was, so no entry was read".to_owned();
        report.damages.push(damage_of(None, what));
        return report;
    }
    if !path.join("CURRENT").exists() {
        report.damages.push(damage_of(None, "there is no database: its file CURRENT is missing".to_owned()));
        return report;
    }
    let db = match open::open_to_read(path, &open::settings()) {
        Ok(db) => db,
        Err(error) => {
            report.damages.push(damage_of(None, with_source(&error)));
            if !manifest::is_whole(path).unwrap_or(false) {
                return report;
            }
            // Files that are missing or too short are only noticed by those checks; what can be read is read without them.
            match open::open_to_read(path, &open::tolerant_settings()) {
                Ok(db) => db,
                Err(_) => return report,
            }
        }
    };
    let tip = match open::identify(&db, path) {
        Ok(identity) => identity.map(|identity| identity.tip),
        Err(error) => {
            report.damages.push(damage_of(Some(Family::Meta.name()), with_source(&error)));
            None
        }
    };
    verify_database(&db, tip, &mut report);
    report
}

pub(crate) fn with_source(error: &OpenError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl Store {
    /// Verifies every entry of the store while it is open. Neither what of RocksDB's log is in memory, too, nor its manifest is
    /// read from the disk; [`verify`] does that when the store is closed.
    pub fn verify(&self) -> VerifyReport {
        let mut report = VerifyReport::default();
        // Blocks may be committed and removed meanwhile, so gaps between them cannot be told from damage.
        verify_database(&self.shared.db, None, &mut report);
        report
    }
}

fn verify_database(db: &DB, tip: Option<Tip>, report: &mut VerifyReport) {
    let mut blocks = Run::default();
    let (mut n_blocks, mut n_headers, mut n_certificates) = (0, 0, 0);
    let before = report.damages.len();
    for family in Family::ALL {
        let name = family.name();
        let Some(opened) = db.cf_handle(name) else {
            report.damages.push(damage_of(Some(name), "it is missing".to_owned()));
            continue;
        };
        let mut verified = VerifiedFamily { family: name, n_entries: 0, n_bytes: 0 };
        let mut n_malformed = 0_u64;
        let scanned = scan(db, opened, |key, value| {
            verified.n_entries = verified.n_entries.saturating_add(1);
            let n_bytes = key.len().saturating_add(value.len());
            verified.n_bytes = verified.n_bytes.saturating_add(u64::try_from(n_bytes).unwrap_or(u64::MAX));
            if !is_well_formed(family, key, value) {
                n_malformed = n_malformed.saturating_add(1);
            }
            if let (Family::Blocks, Some(height)) = (family, parse_height(key)) {
                blocks.add(height);
            }
            ControlFlow::<()>::Continue(())
        });
        if let ControlFlow::Continue(gaps) = scanned {
            report.damages.extend(gaps.iter().map(|gap| gap_damage(name, gap)));
        }
        if n_malformed > 0 {
            let what = format!("{n_malformed} entries are of no form that this program writes");
            report.damages.push(damage_of(Some(name), what));
        }
        match family {
            Family::Blocks => n_blocks = verified.n_entries,
            Family::Headers => n_headers = verified.n_entries,
            Family::Certificates => n_certificates = verified.n_entries,
            _ => {}
        }
        report.families.push(verified);
    }
    // With entries that cannot be read, there is nothing to add.
    if report.damages.len() > before {
        return;
    }
    let Some(tip) = tip else { return };
    let head = tip.head.map_or(Height::ZERO, |head| head.height);
    if blocks.gap.is_some()
        || blocks.first.unwrap_or(head.next()) != tip.base
        || blocks.next.is_some_and(|end| end != head.next())
    {
        let what = format!("not every block from the base {} to the head {head} is there, or others are", tip.base);
        report.damages.push(damage_of(Some(Family::Blocks.name()), what));
    }
    if n_certificates != u64::saturating_add(n_blocks, n_headers) {
        let what = format!("there are {n_certificates}, for {n_blocks} blocks and {n_headers} headers");
        report.damages.push(damage_of(Some(Family::Certificates.name()), what));
    }
}

/// A run of heights, as they come.
#[derive(Default)]
struct Run {
    first: Option<Height>,
    next: Option<Height>,
    /// The first height that is not there though a higher one is.
    gap: Option<Height>,
}

impl Run {
    fn add(&mut self, height: Height) {
        self.first.get_or_insert(height);
        if let Some(next) = self.next
            && next != height
        {
            self.gap.get_or_insert(next);
        }
        self.next = Some(height.next());
    }
}

/// Whether an entry is one that this crate writes, as far as it knows its bytes.
pub(crate) fn is_well_formed(family: Family, key: &[u8], value: &[u8]) -> bool {
    match family {
        // Looked at one by one when the store is opened.
        Family::Meta => true,
        Family::Blocks | Family::Headers | Family::Certificates | Family::SetChanges => parse_height(key).is_some(),
        Family::StateA | Family::StateB => checked_key(key).is_ok(),
        Family::Wal => parse_wal(key).is_some(),
        Family::Own => OwnKind::ALL.iter().any(|kind| key.first() == Some(&kind.tag())),
        Family::History => {
            HistoryKind::ALL.iter().any(|kind| key.first() == Some(&kind.tag())) && parse_history(value).is_some()
        }
        Family::Expiry => parse_expiry(key).is_some_and(|(_, record)| !record.is_empty()) && value.is_empty(),
        Family::Peers => parse_peer(key).is_some(),
    }
}

pub(crate) fn damage_of(family: Option<&'static str>, what: String) -> Damage {
    Damage { family, file: file_in(&what), what }
}

fn gap_damage(family: &'static str, gap: &Gap) -> Damage {
    let until = gap.until.as_ref().map_or_else(|| "the end".to_owned(), |until| format!("key {}", hex(until)));
    let from = if gap.from.is_empty() { "the beginning".to_owned() } else { format!("key {}", hex(&gap.from)) };
    damage_of(Some(family), format!("nothing from {from} to {until} can be read: {}", gap.why))
}

/// Bytes in hexadecimal, for messages.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Store {
    /// Where blocks and state are.
    pub(crate) fn tip(&self) -> Tip {
        *lock(&self.shared.tip)
    }
}
