//! Opening: lock, RocksDB's settings, format and network.

use std::collections::BTreeSet;
use std::path::Path;

use lucid_types::id::NetworkId;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, LogLevel, Options,
    WriteBatch, WriteOptions,
};

use crate::error::OpenError;
use crate::layout::{FORMAT_VERSION, Family, Head, KEY_FORMAT, KEY_HEAD, KEY_NETWORK, parse_head};
use crate::lock::StoreLock;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What the whole store may cache of its files' blocks, over all column families.
const BLOCK_CACHE_BYTES: usize = 8 * MIB;
/// What one column family gathers in memory before it writes a file.
const WRITE_BUFFER_BYTES: usize = 4 * MIB;
/// What all column families together gather in memory.
const ALL_WRITE_BUFFERS_BYTES: usize = 12 * MIB;
/// RocksDB's log is kept no longer than this; what pins it is flushed.
const MAX_LOG_BYTES: u64 = 16 << 20;
const MAX_OPEN_FILES: i32 = 128;

/// An open database that is known to be ours, of this format and of this network.
pub(crate) struct Opened {
    pub(crate) db: DB,
    pub(crate) lock: StoreLock,
    pub(crate) head: Option<Head>,
}

pub(crate) fn open(path: &Path, network: NetworkId, settings: &Options) -> Result<Opened, OpenError> {
    std::fs::create_dir_all(path).map_err(|source| OpenError::CreateFolder { path: path.to_path_buf(), source })?;
    let lock = StoreLock::take(path)?;
    let db = open_database(path, settings)?;
    let head = check_identity(&db, path, network)?;
    Ok(Opened { db, lock, head })
}

/// Settings for a small resident size: a node shares its machine with the work it is paid for.
pub(crate) fn settings() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);

    // A torn last record was never acknowledged and is dropped; a damaged one before it, or an older log file that is
    // missing, is an error.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);

    options.set_max_open_files(MAX_OPEN_FILES);
    options.set_max_background_jobs(2);
    options.set_db_write_buffer_size(ALL_WRITE_BUFFERS_BYTES);
    options.set_max_total_wal_size(MAX_LOG_BYTES);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(MIB);
    options.set_keep_log_file_num(2);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

fn family_settings(cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Index and filter blocks count against the cache, so that the resident size does not grow with the chain.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_block_size(16 * KIB);

    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(2);
    options.set_arena_block_size(128 * KIB);
    options.set_target_file_size_base(8 << 20);
    options
}

fn open_database(path: &Path, settings: &Options) -> Result<DB, OpenError> {
    let failed = |source: rocksdb::Error| OpenError::Open { path: path.to_path_buf(), source: source.into() };
    let mut names: BTreeSet<String> = Family::ALL.iter().map(|family| family.name().to_owned()).collect();
    // RocksDB's own first family always exists, and a newer format may have families that this build does not know;
    // they are opened too, or the format could not be read to say so.
    names.insert(rocksdb::DEFAULT_COLUMN_FAMILY_NAME.to_owned());
    if path.join("CURRENT").exists() {
        names.extend(DB::list_cf(settings, path).map_err(failed)?);
    }
    let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
    let families = names.into_iter().map(|name| ColumnFamilyDescriptor::new(name, family_settings(&cache)));
    DB::open_cf_descriptors(settings, path, families).map_err(failed)
}

/// Checks format and network, or records them in a store that is still empty; returns the head.
fn check_identity(db: &DB, path: &Path, network: NetworkId) -> Result<Option<Head>, OpenError> {
    let failed = |source: rocksdb::Error| OpenError::Open { path: path.to_path_buf(), source: source.into() };
    let damaged = |what| OpenError::NotAStore { path: path.to_path_buf(), what };
    let meta = db.cf_handle(Family::Meta.name()).ok_or_else(|| damaged("it has no family meta"))?;

    let Some(format) = db.get_cf(meta, KEY_FORMAT).map_err(failed)? else {
        if db.latest_sequence_number() != 0 {
            return Err(damaged("it has data but no format version"));
        }
        let mut batch = WriteBatch::default();
        batch.put_cf(meta, KEY_FORMAT, FORMAT_VERSION.to_be_bytes());
        batch.put_cf(meta, KEY_NETWORK, network.as_bytes());
        db.write_opt(batch, &synced()).map_err(failed)?;
        return Ok(None);
    };

    let format = format.try_into().map(u32::from_be_bytes).map_err(|_| damaged("its format version is unreadable"))?;
    if format > FORMAT_VERSION {
        return Err(OpenError::NewerFormat { path: path.to_path_buf(), found: format, known: FORMAT_VERSION });
    }
    if format == 0 {
        return Err(damaged("its format version was never in use"));
    }
    if format < FORMAT_VERSION {
        return Err(OpenError::OlderFormat { path: path.to_path_buf(), found: format, known: FORMAT_VERSION });
    }

    let found = db.get_cf(meta, KEY_NETWORK).map_err(failed)?.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let found = found.map(NetworkId::from_bytes).ok_or_else(|| damaged("its network id is missing or unreadable"))?;
    if found != network {
        return Err(OpenError::WrongNetwork { path: path.to_path_buf(), found, expected: network });
    }

    match db.get_cf(meta, KEY_HEAD).map_err(failed)? {
        None => Ok(None),
        Some(head) => parse_head(&head).map(Some).ok_or_else(|| damaged("its head is unreadable")),
    }
}

/// Write options under which a returned write is on the disk.
pub(crate) fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;
    use crate::{BlockCommit, HistoryKind, OwnKind, Store};
    use lucid_types::id::{BlockHash, NodeId};
    use lucid_types::time::Height;
    use rocksdb::statistics::Ticker;

    /// `kill -9` cannot tell a synced write from one that the kernel still holds, so the syncs are counted.
    #[test]
    fn every_write_that_says_synced_syncs_once_and_no_other_does() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings();
        settings.enable_statistics();
        let store = Store::open_with(folder.path(), NetworkId::from_bytes([1; 32]), &settings).unwrap();
        let mut wal = store.wal().unwrap();
        let first = Height::new(1);
        let commit = BlockCommit {
            height: first,
            block_hash: BlockHash::from_bytes([2; 32]),
            block: vec![3],
            certificate: vec![4],
            state: vec![5],
            rows: Vec::new(),
            keep_rows_from: None,
            history: Vec::new(),
        };

        let counted = || settings.get_ticker_count(Ticker::WalFileSynced);
        let mut before = counted();
        assert_eq!(before, 1, "format and network of a new store");
        let mut n_syncs = |what: &str, expected: u64| {
            let now = counted();
            assert_eq!(now - before, expected, "{what}");
            before = now;
        };
        wal.append(first, vec![1]).unwrap();
        n_syncs("append", 0);
        wal.sync().unwrap();
        n_syncs("sync", 1);
        wal.sync().unwrap();
        n_syncs("sync of nothing", 0);
        store.put_new(OwnKind::Commit, b"k", b"v").unwrap();
        n_syncs("put_new", 1);
        store.put_new(OwnKind::Commit, b"k", b"w").unwrap();
        n_syncs("put_new of what exists", 0);
        store.put(OwnKind::Transaction, b"k", b"v").unwrap();
        n_syncs("put", 1);
        store.remove_own(OwnKind::Transaction, b"k").unwrap();
        n_syncs("remove_own", 1);
        store.change_own(OwnKind::Transaction, &[(vec![1], vec![2])], &[vec![3]]).unwrap();
        n_syncs("change_own", 1);
        store.write_history(&[], &[(HistoryKind::Vault, vec![1])]).unwrap();
        n_syncs("write_history", 1);
        store.commit_block(commit).unwrap();
        n_syncs("commit_block", 1);
        wal.reset(Height::new(2)).unwrap();
        n_syncs("reset", 1);
        store.put_peer(NodeId::from_bytes([6; 32]), b"v").unwrap();
        n_syncs("put_peer, the negative control", 0);
    }
}
