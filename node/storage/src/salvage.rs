//! Salvaging: a new store of everything that can still be read of a damaged one, which itself is left as it is.
//!
//! The damaged database is opened to read in the strictest way that works; failing that, a copy of its files goes through
//! RocksDB's repair, which makes a new manifest from the tables it finds. Then every entry that can be read is copied. Where a
//! table cannot be read, others of the same family may have entries in its range; a repair without the damaged table shows
//! them.
//!
//! What a repair shows may be an older value of a key, or one that was removed. The callers notice that where it matters: a
//! state has a root, a block a hash; and what must never be contradicted is kept outside of the store, too.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use lucid_types::time::Height;
use rocksdb::{DB, IteratorMode, ReadOptions, WriteBatch, WriteOptions};

use crate::backup::{file_error, finish_store, remove_folder};
use crate::error::{EngineError, MaintenanceError, OpenError};
use crate::files::{FileKind, data_files, is_free, unfinished};
use crate::layout::{
    FORMAT_VERSION, Family, Head, KEY_BASE, KEY_FORMAT, KEY_HEAD, KEY_NETWORK, KEY_STATE, Slot, height_key, parse_head,
    parse_height,
};
use crate::lock::StoreLock;
use crate::manifest;
use crate::open::{identify, open_to_read, open_to_write, settings, settings_up_to_damage, tolerant_settings};
use crate::scan::{Gap, scan};
use crate::seal;
use crate::verify::{Damage, check_folder, damage_of, is_well_formed, with_source};

/// Bytes that are written to the new store at once.
const BATCH_BYTES: usize = 1 << 20;
/// A key that no store has, in the tables that tell a repair which families there are.
const DONATED_KEY: [u8; 128] = [0xff; 128];

/// How the damaged store could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SalvageWay {
    /// As any store.
    Opened,
    /// Without what follows the first damage of its log: this is what it once held.
    UpToDamage,
    /// Without files that are missing and the damaged records of its log: newer and older content side by side.
    Tolerant,
    /// After RocksDB's repair, which may show older values, and entries that were removed.
    Repaired,
}

/// Keys whose entries are lost, or from older tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostRange {
    /// The first of them.
    pub from: Vec<u8>,
    /// The first key after them; `None` if they are the family's last.
    pub until: Option<Vec<u8>>,
    /// What RocksDB said.
    pub why: String,
    /// Entries in this range that other tables had. They may be older than what is lost.
    pub n_filled: u64,
}

/// What was salvaged of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SalvagedFamily {
    /// The family's name.
    pub family: &'static str,
    /// Entries that were copied.
    pub n_entries: u64,
    /// What could not be read.
    pub lost: Vec<LostRange>,
}

/// What was salvaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SalvageReport {
    /// How the damaged store could be read.
    pub way: SalvageWay,
    /// What was wrong before anything was read.
    pub damages: Vec<Damage>,
    /// By family.
    pub families: Vec<SalvagedFamily>,
    /// The new store's head.
    pub head: Option<Head>,
    /// The new store's base: all blocks from here up to the head were salvaged.
    pub base: Height,
    /// Blocks that were salvaged but not kept, because there is a gap between them and the head.
    pub n_dropped_blocks: u64,
    /// What is lost without which the new store cannot be opened. It is then good for being looked at only.
    pub missing: Vec<&'static str>,
}

/// Makes a store at `target` of everything that can be read of the closed store in the folder `damaged`. Needs as much space
/// again as that has, and for a while twice as much. A crash leaves nothing at `target`.
///
/// # Errors
/// There is something at `target` already, the store is open or of another format, nothing of it can be opened even after a
/// repair, or the new one cannot be written.
pub fn salvage(damaged: &Path, target: &Path) -> Result<SalvageReport, MaintenanceError> {
    check_folder(damaged)?;
    let _lock = StoreLock::take(damaged)?;
    if !is_free(target).map_err(file_error("read", target))? {
        return Err(MaintenanceError::Exists { path: target.to_path_buf() });
    }
    let part = unfinished(target).map_err(file_error("remove what is left of an earlier attempt at", target))?;
    let work = target.with_added_extension("work");
    remove_folder(&work)?;
    let salvaged = Salvage { damaged, work: &work, part: &part }.run();
    remove_folder(&work)?;
    let report = match salvaged {
        Ok(report) => report,
        Err(error) => {
            remove_folder(&part)?;
            return Err(error);
        }
    };
    finish_store(&part, target)?;
    Ok(report)
}

struct Salvage<'a> {
    damaged: &'a Path,
    /// Where a copy is repaired.
    work: &'a Path,
    /// Where the new store is made.
    part: &'a Path,
}

impl Salvage<'_> {
    fn run(&self) -> Result<SalvageReport, MaintenanceError> {
        let mut damages = Vec::new();
        let (db, way) = self.open(&mut damages)?;
        fs::create_dir_all(self.part).map_err(file_error("create the folder", self.part))?;
        let new = open_to_write(self.part, &settings())?;
        let mut families = Vec::new();
        for family in Family::ALL {
            families.push(self.copy_family(&db, &new, family)?);
        }
        drop(db);
        if way != SalvageWay::Repaired && families.iter().any(|family| !family.lost.is_empty()) {
            // Without the tables that cannot be read. If that fails, the rest is as good as it was.
            match self.repair() {
                Ok(repaired) => {
                    for (family, salvaged) in Family::ALL.into_iter().zip(&mut families) {
                        self.fill(&repaired, &new, family, salvaged)?;
                    }
                }
                Err(error) => damages.push(damage_of(None, with_source(&error))),
            }
        }
        let mut report = SalvageReport {
            way,
            damages,
            families,
            head: None,
            base: Height::new(1),
            n_dropped_blocks: 0,
            missing: Vec::new(),
        };
        self.mend(&new, &mut report)?;
        for family in Family::ALL {
            let Some(family) = new.cf_handle(family.name()) else { continue };
            new.flush_cf(family).map_err(|source| self.write_error(source))?;
        }
        Ok(report)
    }

    /// Opens the database in the strictest way that works, and notes why stricter ones did not.
    fn open(&self, damages: &mut Vec<Damage>) -> Result<(DB, SalvageWay), MaintenanceError> {
        let mut distrusts_manifest = false;
        for (file, fault) in seal::faults(self.damaged).map_err(file_error("read the folder", self.damaged))? {
            // A manifest that ends too early opens, and lacks the newest tables.
            distrusts_manifest |= matches!(FileKind::of(&file), Some(FileKind::Manifest(_)));
            damages.push(Damage { family: None, file: Some(file), what: format!("it {fault}") });
        }
        if !distrusts_manifest {
            if let Some(opened) = self.open_in(self.damaged, damages)? {
                return Ok(opened);
            }
            // The file CURRENT has one line, which can be made again.
            if self.copy_with_new_current().map_err(file_error("copy files to", self.work))?
                && let Some(opened) = self.open_in(self.work, damages)?
            {
                return Ok(opened);
            }
        }
        let db = self.repair()?;
        self.checked(db).map(|db| (db, SalvageWay::Repaired))
    }

    fn open_in(&self, folder: &Path, damages: &mut Vec<Damage>) -> Result<Option<(DB, SalvageWay)>, MaintenanceError> {
        let ways = [
            (settings(), SalvageWay::Opened),
            (settings_up_to_damage(), SalvageWay::UpToDamage),
            (tolerant_settings(), SalvageWay::Tolerant),
        ];
        for (settings, way) in ways {
            if way == SalvageWay::Tolerant && !manifest::is_whole(folder).unwrap_or(false) {
                break;
            }
            match open_to_read(folder, &settings) {
                Ok(db) => return self.checked(db).map(|db| Some((db, way))),
                Err(error) => damages.push(damage_of(None, with_source(&error))),
            }
        }
        Ok(None)
    }

    /// Refuses a store of another format. Other things that are wrong with `meta` are not in the way.
    fn checked(&self, db: DB) -> Result<DB, MaintenanceError> {
        match identify(&db, self.damaged) {
            Err(error @ (OpenError::NewerFormat { .. } | OpenError::OlderFormat { .. })) => Err(error.into()),
            _ => Ok(db),
        }
    }

    /// Copies RocksDB's files of data; whether there was anything to copy.
    fn copy_files(&self) -> io::Result<Vec<(String, FileKind)>> {
        match fs::remove_dir_all(self.work) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(self.work)?,
        }
        let files = data_files(self.damaged)?;
        for (name, kind) in &files {
            let (from, to) = (self.damaged.join(name), self.work.join(name));
            // Tables are never written to again, so they can be shared.
            let is_linked = matches!(kind, FileKind::Table(_)) && fs::hard_link(&from, &to).is_ok();
            if !is_linked && let Err(error) = fs::copy(&from, &to) {
                // What the disk does not give is lost, and is not in the way of the rest.
                let _ = fs::remove_file(&to);
                if error.kind() == io::ErrorKind::StorageFull {
                    return Err(error);
                }
            }
        }
        Ok(files)
    }

    /// Makes a copy whose file CURRENT names the newest manifest; whether there is one.
    fn copy_with_new_current(&self) -> io::Result<bool> {
        let files = self.copy_files()?;
        let manifests = files.iter().filter(|(_, kind)| matches!(kind, FileKind::Manifest(_)));
        let Some((newest, _)) = manifests.max_by_key(|(_, kind)| *kind) else { return Ok(false) };
        fs::write(self.work.join("CURRENT"), format!("{newest}\n"))?;
        Ok(true)
    }

    /// Repairs a copy and opens it.
    fn repair(&self) -> Result<DB, OpenError> {
        let failed = |source: io::Error| OpenError::CreateFolder { path: self.work.to_path_buf(), source };
        let files = self.copy_files().map_err(failed)?;
        self.donate_families(&files)?;
        DB::repair(&settings(), self.work)
            .map_err(|source| OpenError::Open { path: self.work.to_path_buf(), source: source.into() })?;
        open_to_read(self.work, &tolerant_settings())
    }

    /// Adds a table of each family. A repair knows families by their tables only, and forgets records of the log of all others:
    /// in a small store those are all.
    fn donate_families(&self, files: &[(String, FileKind)]) -> Result<(), OpenError> {
        let donor = self.work.join("donor");
        let engine = |source: rocksdb::Error| OpenError::Open { path: donor.clone(), source: source.into() };
        let failed = |source: io::Error| OpenError::CreateFolder { path: donor.clone(), source };
        // Its families have the numbers of those of any store: see `open_to_write`.
        let db = open_to_write(&donor, &settings())?;
        for family in Family::ALL {
            let Some(family) = db.cf_handle(family.name()) else { continue };
            db.put_cf(family, DONATED_KEY, []).map_err(engine)?;
            db.flush_cf(family).map_err(engine)?;
        }
        drop(db);
        let number = |(_, kind): &(String, FileKind)| match kind {
            FileKind::Manifest(number) | FileKind::Log(number) | FileKind::Table(number) => *number,
            FileKind::Current => 0,
        };
        let highest = files.iter().map(number).max().unwrap_or(0);
        let tables = data_files(&donor).map_err(failed)?;
        let tables = tables.iter().filter(|(_, kind)| matches!(kind, FileKind::Table(_)));
        for ((name, _), number) in tables.zip(highest.saturating_add(1)..) {
            fs::rename(donor.join(name), self.work.join(format!("{number:06}.sst"))).map_err(failed)?;
        }
        fs::remove_dir_all(&donor).map_err(failed)
    }

    fn copy_family(&self, db: &DB, new: &DB, family: Family) -> Result<SalvagedFamily, MaintenanceError> {
        let mut salvaged = SalvagedFamily { family: family.name(), n_entries: 0, lost: Vec::new() };
        let (Some(from), Some(to)) = (db.cf_handle(family.name()), new.cf_handle(family.name())) else {
            let why = "the family is missing".to_owned();
            salvaged.lost.push(LostRange { from: Vec::new(), until: None, why, n_filled: 0 });
            return Ok(salvaged);
        };
        let mut batch = WriteBatch::default();
        let scanned = scan(db, from, |key, value| {
            if key == DONATED_KEY || !is_well_formed(family, key, value) {
                return ControlFlow::Continue(());
            }
            salvaged.n_entries = salvaged.n_entries.saturating_add(1);
            batch.put_cf(to, key, value);
            if batch.size_in_bytes() < BATCH_BYTES {
                return ControlFlow::Continue(());
            }
            match self.write(new, std::mem::take(&mut batch)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(error),
            }
        });
        let gaps = match scanned {
            ControlFlow::Continue(gaps) => gaps,
            ControlFlow::Break(error) => return Err(error),
        };
        self.write(new, batch)?;
        let lost =
            |Gap { from, until, why }| LostRange { from, until, why: EngineError::from(why).to_string(), n_filled: 0 };
        salvaged.lost = gaps.into_iter().map(lost).collect();
        Ok(salvaged)
    }

    /// Copies what a repaired database has in the ranges that are lost.
    fn fill(
        &self,
        repaired: &DB,
        new: &DB,
        family: Family,
        salvaged: &mut SalvagedFamily,
    ) -> Result<(), MaintenanceError> {
        let (Some(from), Some(to)) = (repaired.cf_handle(family.name()), new.cf_handle(family.name())) else {
            return Ok(());
        };
        for lost in &mut salvaged.lost {
            let mut options = ReadOptions::default();
            options.fill_cache(false);
            options.set_iterate_lower_bound(lost.from.clone());
            if let Some(until) = &lost.until {
                options.set_iterate_upper_bound(until.clone());
            }
            let mut batch = WriteBatch::default();
            for entry in repaired.iterator_cf_opt(from, options, IteratorMode::Start) {
                // The repair read every table to its end.
                let Ok((key, value)) = entry else { break };
                if *key == DONATED_KEY || !is_well_formed(family, &key, &value) {
                    continue;
                }
                lost.n_filled = lost.n_filled.saturating_add(1);
                batch.put_cf(to, key, value);
                if batch.size_in_bytes() >= BATCH_BYTES {
                    self.write(new, std::mem::take(&mut batch))?;
                }
            }
            self.write(new, batch)?;
        }
        Ok(())
    }

    /// Makes what was salvaged agree with itself, as far as this crate knows: the base is such that all blocks from there on are
    /// there, and `meta` says only what is so.
    fn mend(&self, new: &DB, report: &mut SalvageReport) -> Result<(), MaintenanceError> {
        let read = |source: rocksdb::Error| MaintenanceError::Engine {
            what: "read back",
            path: self.part.to_path_buf(),
            source: source.into(),
        };
        let handle = |family: Family| new.cf_handle(family.name()).ok_or_else(|| self.no_family());
        let (meta, blocks) = (handle(Family::Meta)?, handle(Family::Blocks)?);
        let (headers, certificates) = (handle(Family::Headers)?, handle(Family::Certificates)?);
        let get = |key| new.get_cf(meta, key).map_err(read);
        let mut batch = WriteBatch::default();

        let (a, b) = (handle(Family::StateA)?, handle(Family::StateB)?);
        let [no_a, no_b] = [a, b].map(|state| new.iterator_cf(state, IteratorMode::Start).next().is_none());
        if get(KEY_FORMAT)?.is_none() {
            batch.put_cf(meta, KEY_FORMAT, FORMAT_VERSION.to_be_bytes());
        }
        if get(KEY_NETWORK)?.is_none() {
            report.missing.push("the network id");
        }
        if get(KEY_STATE)?.and_then(|value| Slot::parse(&value)).is_none() {
            match (no_a, no_b) {
                (_, true) => batch.put_cf(meta, KEY_STATE, Slot::A.value()),
                (true, false) => batch.put_cf(meta, KEY_STATE, Slot::B.value()),
                (false, false) => report.missing.push("which state is current"),
            }
        }

        report.head = get(KEY_HEAD)?.and_then(|head| parse_head(&head));
        let Some(head) = report.head else {
            let no_block = new.iterator_cf(blocks, IteratorMode::Start).next().is_none();
            if no_block && no_a && no_b {
                batch.put_cf(meta, KEY_BASE, height_key(Height::new(1)));
            } else {
                // Without a base the store is not opened, and not taken for one of a chain that has no block yet.
                batch.delete_cf(meta, KEY_BASE);
                report.missing.push("the head");
            }
            return self.write(new, batch);
        };
        let noted = get(KEY_BASE)?.and_then(|base| parse_height(&base)).unwrap_or(Height::ZERO);
        let (mut base, mut is_run, mut n_dropped) = (head.height.next(), true, 0_u64);
        for entry in new.iterator_cf(blocks, IteratorMode::End) {
            let (key, _) = entry.map_err(read)?;
            let height = parse_height(&key).unwrap_or(Height::ZERO);
            let has_certificate = new.get_pinned_cf(certificates, &key).map_err(read)?.is_some();
            if height <= head.height {
                is_run &= height.next() == base && height >= noted && has_certificate;
                if is_run {
                    base = height;
                    continue;
                }
            }
            batch.delete_cf(blocks, &key);
            n_dropped = n_dropped.saturating_add(1);
        }
        for entry in new.iterator_cf(certificates, IteratorMode::Start) {
            let (key, _) = entry.map_err(read)?;
            let of_block = parse_height(&key).is_some_and(|height| (base..=head.height).contains(&height));
            if !of_block && new.get_pinned_cf(headers, &key).map_err(read)?.is_none() {
                batch.delete_cf(certificates, &key);
            }
        }
        batch.put_cf(meta, KEY_BASE, height_key(base));
        (report.base, report.n_dropped_blocks) = (base, n_dropped);
        if base > head.height && new.get_pinned_cf(headers, height_key(head.height)).map_err(read)?.is_none() {
            report.missing.push("the head's block");
        }
        self.write(new, batch)
    }

    /// Not to the log: until all is written and flushed, it does not count.
    fn write(&self, new: &DB, batch: WriteBatch) -> Result<(), MaintenanceError> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        new.write_opt(batch, &options).map_err(|source| self.write_error(source))
    }

    fn write_error(&self, source: rocksdb::Error) -> MaintenanceError {
        MaintenanceError::Engine { what: "write", path: PathBuf::from(self.part), source: source.into() }
    }

    fn no_family(&self) -> MaintenanceError {
        OpenError::NotAStore { path: self.part.to_path_buf(), what: "a family is missing" }.into()
    }
}
