//! Opening: lock, RocksDB's settings, format and network.

use std::collections::BTreeSet;
use std::path::Path;

use lucid_types::id::NetworkId;
use lucid_types::time::Height;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, LogLevel, Options,
    WriteBatch, WriteOptions,
};

use crate::backup;
use crate::error::OpenError;
use crate::layout::{
    FORMAT_VERSION, Family, KEY_BASE, KEY_FORMAT, KEY_HEAD, KEY_NETWORK, KEY_STATE, Slot, height_key, parse_head,
    parse_height,
};
use crate::lock::StoreLock;
use crate::seal::{self, Seal};
use crate::store::Tip;

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
    pub(crate) seal: Seal,
    pub(crate) lock: StoreLock,
    pub(crate) tip: Tip,
}

/// Looks at everything that can be wrong before it changes anything.
pub(crate) fn open(path: &Path, network: NetworkId, settings: &Options) -> Result<Opened, OpenError> {
    std::fs::create_dir_all(path).map_err(|source| OpenError::CreateFolder { path: path.to_path_buf(), source })?;
    let lock = StoreLock::take(path)?;
    let seal_error = |source| OpenError::Seal { path: path.to_path_buf(), source };
    if let Some((file, fault)) = seal::faults(path).map_err(seal_error)?.into_iter().next() {
        return Err(OpenError::Changed { path: path.to_path_buf(), file, fault });
    }
    let found = if path.join("CURRENT").exists() { identify(&open_to_read(path, settings)?, path)? } else { None };
    if let Some(identity) = &found
        && identity.network != network
    {
        let found = identity.network;
        return Err(OpenError::WrongNetwork { path: path.to_path_buf(), found, expected: network });
    }
    backup::remove_checkpoint(path).map_err(|source| OpenError::Leftover { path: path.to_path_buf(), source })?;
    seal::remove(path).map_err(seal_error)?;
    let db = open_to_write(path, settings)?;
    let tip = match found {
        Some(identity) => identity.tip,
        None => initialise(&db, path, network)?,
    };
    let seal = Seal::of_open(path).map_err(seal_error)?;
    Ok(Opened { db, seal, lock, tip })
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

/// Settings that leave out what follows the first damage of RocksDB's log: what is read is what the store once held.
pub(crate) fn settings_up_to_damage() -> Options {
    let mut options = settings();
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options
}

/// Settings to read what can be read: files may be missing, and damaged records of RocksDB's log are passed over, which RocksDB
/// does in no other mode without its paranoid checks either.
pub(crate) fn tolerant_settings() -> Options {
    let mut options = settings();
    options.set_paranoid_checks(false);
    options.set_track_and_verify_wals_in_manifest(false);
    options.set_wal_recovery_mode(DBRecoveryMode::SkipAnyCorruptedRecord);
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

/// All families that are there, of a newer format, too, or it could not be read to say so.
fn families_of(path: &Path, settings: &Options) -> Result<BTreeSet<String>, OpenError> {
    Ok(DB::list_cf(settings, path).map_err(|source| engine_error(path, source))?.into_iter().collect())
}

fn descriptors(names: BTreeSet<String>) -> impl Iterator<Item = ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
    names.into_iter().map(move |name| ColumnFamilyDescriptor::new(name, family_settings(&cache)))
}

/// Opens the database without changing a file.
pub(crate) fn open_to_read(path: &Path, settings: &Options) -> Result<DB, OpenError> {
    let families = descriptors(families_of(path, settings)?);
    let opened = DB::open_cf_descriptors_read_only(settings, path, families, false);
    opened.map_err(|source| engine_error(path, source))
}

/// Opens the database, with all our families, and makes what is missing. A new database's families get their numbers in the
/// order of their names; a repair relies on that.
pub(crate) fn open_to_write(path: &Path, settings: &Options) -> Result<DB, OpenError> {
    let mut names: BTreeSet<String> = Family::ALL.iter().map(|family| family.name().to_owned()).collect();
    // RocksDB's own first family always exists.
    names.insert(rocksdb::DEFAULT_COLUMN_FAMILY_NAME.to_owned());
    if path.join("CURRENT").exists() {
        names.extend(families_of(path, settings)?);
    }
    DB::open_cf_descriptors(settings, path, descriptors(names)).map_err(|source| engine_error(path, source))
}

fn engine_error(path: &Path, source: rocksdb::Error) -> OpenError {
    OpenError::Open { path: path.to_path_buf(), source: source.into() }
}

pub(crate) fn damaged(path: &Path, what: &'static str) -> OpenError {
    OpenError::NotAStore { path: path.to_path_buf(), what }
}

/// What `meta` says of a store.
pub(crate) struct Identity {
    pub(crate) network: NetworkId,
    pub(crate) tip: Tip,
}

/// Checks the format and reads whose store it is; `None` for a database whose making was interrupted.
pub(crate) fn identify(db: &DB, path: &Path) -> Result<Option<Identity>, OpenError> {
    let Some(meta) = db.cf_handle(Family::Meta.name()) else {
        return nothing_written(db, path);
    };
    let get = |key| db.get_cf(meta, key).map_err(|source| engine_error(path, source));
    let Some(format) = get(KEY_FORMAT)? else { return nothing_written(db, path) };
    let format = format.try_into().map(u32::from_be_bytes);
    match format.map_err(|_| damaged(path, "its format version is unreadable"))? {
        0 => return Err(damaged(path, "its format version was never in use")),
        FORMAT_VERSION => {}
        found if found > FORMAT_VERSION => {
            return Err(OpenError::NewerFormat { path: path.to_path_buf(), found, known: FORMAT_VERSION });
        }
        found => return Err(OpenError::OlderFormat { path: path.to_path_buf(), found, known: FORMAT_VERSION }),
    }
    if Family::ALL.iter().any(|family| db.cf_handle(family.name()).is_none()) {
        return Err(damaged(path, "a family is missing"));
    }

    let network = get(KEY_NETWORK)?.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let network = network.ok_or_else(|| damaged(path, "its network id is missing or unreadable"))?;
    let head = match get(KEY_HEAD)? {
        None => None,
        Some(head) => Some(parse_head(&head).ok_or_else(|| damaged(path, "its head is unreadable"))?),
    };
    let base = get(KEY_BASE)?.and_then(|base| parse_height(&base));
    let state = get(KEY_STATE)?.and_then(|state| Slot::parse(&state));
    let tip = Tip {
        head,
        base: base.ok_or_else(|| damaged(path, "its lowest block is missing or unreadable"))?,
        state: state.ok_or_else(|| damaged(path, "it does not say which state is current"))?,
    };
    Ok(Some(Identity { network: NetworkId::from_bytes(network), tip }))
}

fn nothing_written(db: &DB, path: &Path) -> Result<Option<Identity>, OpenError> {
    if db.latest_sequence_number() == 0 { Ok(None) } else { Err(damaged(path, "it has data but no format version")) }
}

/// Records format and network in a store that is still empty.
fn initialise(db: &DB, path: &Path, network: NetworkId) -> Result<Tip, OpenError> {
    let meta = db.cf_handle(Family::Meta.name()).ok_or_else(|| damaged(path, "it has no family meta"))?;
    let tip = Tip { head: None, base: Height::new(1), state: Slot::A };
    let mut batch = WriteBatch::default();
    batch.put_cf(meta, KEY_FORMAT, FORMAT_VERSION.to_be_bytes());
    batch.put_cf(meta, KEY_NETWORK, network.as_bytes());
    batch.put_cf(meta, KEY_BASE, height_key(tip.base));
    batch.put_cf(meta, KEY_STATE, tip.state.value());
    let mut options = WriteOptions::default();
    options.set_sync(true);
    db.write_opt(batch, &options).map_err(|source| engine_error(path, source))?;
    Ok(tip)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;
    use crate::{BlockCommit, HistoryKind, HistoryRecord, OwnKind, Store};
    use lucid_types::id::{BlockHash, PublicKey};
    use lucid_types::time::UnixMillis;
    use rocksdb::statistics::Ticker;

    /// `kill -9` cannot tell a synced write from one that the kernel still holds, so the syncs are counted.
    #[test]
    fn every_write_that_says_synced_syncs_once_and_no_other_does() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings();
        settings.enable_statistics();
        let store = Store::open_with(folder.path(), NetworkId::from_bytes([1; 32]), &settings, true).unwrap();
        let mut wal = store.wal().unwrap();
        let first = Height::new(1);
        let commit = BlockCommit {
            height: first,
            block_hash: BlockHash::from_bytes([2; 32]),
            block: vec![3],
            certificate: vec![4],
            state: vec![(vec![5], Some(vec![6])), (vec![7], None)],
            set_change: None,
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
        store.put_new(OwnKind::Report, b"k", b"v").unwrap();
        n_syncs("put_new", 1);
        store.put_new(OwnKind::Report, b"k", b"w").unwrap();
        n_syncs("put_new of what exists", 0);
        store.put(OwnKind::Transaction, b"k", b"v").unwrap();
        n_syncs("put", 1);
        store.remove_own(OwnKind::Transaction, b"k").unwrap();
        n_syncs("remove_own", 1);
        store.change_own(OwnKind::Transaction, &[(vec![1], vec![2])], &[vec![3]]).unwrap();
        n_syncs("change_own", 1);
        store.write_history(&[], &[(HistoryKind::Vault, vec![1])]).unwrap();
        n_syncs("write_history", 1);
        store.commit_block(commit.clone()).unwrap();
        n_syncs("commit_block", 1);
        store.commit_block(BlockCommit { height: Height::new(2), ..commit }).unwrap();
        n_syncs("another", 1);
        store.prune_blocks(&[(first, Some(vec![1]))]).unwrap();
        n_syncs("prune_blocks", 1);
        store.prune_blocks(&[]).unwrap();
        n_syncs("prune_blocks of none", 0);
        store.begin_restore(b"p").unwrap();
        n_syncs("begin_restore", 1);
        store.put_restored(&[(vec![1], vec![2])], b"q").unwrap();
        n_syncs("put_restored", 1);
        store.finish_restore(Height::new(9), BlockHash::from_bytes([2; 32]), b"h", b"c", &[]).unwrap();
        n_syncs("finish_restore, and the log that ends when the old state is compacted", 2);
        store.abandon_restore().unwrap();
        n_syncs("abandon_restore", 1);
        wal.reset(Height::new(10)).unwrap();
        n_syncs("reset", 1);
        let record = |expires| HistoryRecord { kind: HistoryKind::Score, key: vec![1], value: vec![2], expires };
        store.write_history(&[record(Some(UnixMillis::new(5)))], &[]).unwrap();
        n_syncs("write_history with an expiry", 1);
        assert_eq!(store.expire_history(UnixMillis::new(5), 9).unwrap(), 1);
        n_syncs("expire_history, which need not", 0);
        store.put_peer(PublicKey::from_bytes([6; 32]), b"v").unwrap();
        n_syncs("put_peer, the negative control", 0);
    }
}
