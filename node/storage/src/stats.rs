//! How large the store is, and giving space back.

use std::io;
use std::path::Path;

use lucid_types::time::Height;
use rocksdb::{BottommostLevelCompaction, CompactOptions, properties};

use crate::error::{MaintenanceError, StorageError};
use crate::layout::{Family, Head};
use crate::store::{Store, read_error};

/// Up to so many entries by RocksDB's estimate, a family is counted.
const COUNTED: u64 = 20_000;

/// How large a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyStats {
    /// The family's name.
    pub family: &'static str,
    /// How many entries it has.
    pub n_entries: u64,
    /// Whether they were counted; otherwise RocksDB estimated them.
    pub is_exact: bool,
    /// Bytes of what is not replaced or removed, in files, estimated by RocksDB.
    pub live_bytes: u64,
    /// Bytes in all its files.
    pub file_bytes: u64,
    /// Bytes that are in memory and in the log, and not in files yet.
    pub memory_bytes: u64,
}

/// How large a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The last committed block.
    pub head: Option<Head>,
    /// The height from which on every block up to the head is stored.
    pub base: Height,
    /// Bytes of all files in the store's folder.
    pub folder_bytes: u64,
    /// Its families.
    pub families: Vec<FamilyStats>,
}

impl Store {
    /// How large the store is.
    pub fn stats(&self) -> Result<Stats, MaintenanceError> {
        let tip = self.tip();
        let path = &self.shared.path;
        let folder_bytes = folder_bytes(path).map_err(|source| MaintenanceError::File {
            what: "measure the folder",
            path: path.clone(),
            source,
        })?;
        let families = Family::ALL.into_iter().map(|family| self.family_stats(family)).collect::<Result<_, _>>()?;
        Ok(Stats { head: tip.head, base: tip.base, folder_bytes, families })
    }

    fn family_stats(&self, family: Family) -> Result<FamilyStats, StorageError> {
        let opened = self.shared.family(family)?;
        let number = |name| {
            let value = self.shared.db.property_int_value_cf(opened, name);
            Ok(value.map_err(|source| read_error(family, source))?.unwrap_or(0))
        };
        let estimate = number(properties::ESTIMATE_NUM_KEYS)?;
        let is_exact = estimate <= COUNTED;
        let n_entries = if is_exact { self.count(family)? } else { estimate };
        Ok(FamilyStats {
            family: family.name(),
            n_entries,
            is_exact,
            live_bytes: number(properties::ESTIMATE_LIVE_DATA_SIZE)?,
            file_bytes: number(properties::TOTAL_SST_FILES_SIZE)?,
            memory_bytes: number(properties::CUR_SIZE_ALL_MEM_TABLES)?,
        })
    }

    fn count(&self, family: Family) -> Result<u64, StorageError> {
        let mut options = rocksdb::ReadOptions::default();
        options.fill_cache(false);
        let mut n_entries = 0_u64;
        let mut entries = self.shared.db.raw_iterator_cf_opt(self.shared.family(family)?, options);
        entries.seek_to_first();
        while entries.valid() {
            n_entries = n_entries.saturating_add(1);
            entries.next();
        }
        entries.status().map_err(|source| read_error(family, source))?;
        Ok(n_entries)
    }

    /// Rewrites every family without what was replaced or removed. `progress` is told each family's name before it begins, how
    /// many are done, and how many there are. Blocks can be committed meanwhile.
    ///
    /// # Errors
    /// RocksDB could not read or write its files; the store then refuses to be written until it is opened again.
    pub fn compact(&self, mut progress: impl FnMut(&'static str, usize, usize)) -> Result<(), StorageError> {
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        for (n_done, family) in Family::ALL.into_iter().enumerate() {
            progress(family.name(), n_done, Family::ALL.len());
            let opened = self.shared.family(family)?;
            self.shared.db.compact_range_cf_opt(opened, None::<&[u8]>, None::<&[u8]>, &options);
            // The binding drops what went wrong; a failed compaction fails this, too.
            self.shared.write_synced("what was compacted", rocksdb::WriteBatch::default())?;
        }
        Ok(())
    }
}

fn folder_bytes(folder: &Path) -> io::Result<u64> {
    let mut n_bytes = 0_u64;
    for entry in std::fs::read_dir(folder)? {
        // Files come and go in an open store.
        match entry?.metadata() {
            Ok(metadata) if metadata.is_file() => n_bytes = n_bytes.saturating_add(metadata.len()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n_bytes)
}
