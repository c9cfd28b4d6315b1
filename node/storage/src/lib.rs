//! Lucid's RocksDB store: blocks, certificates, state, the engine's write-ahead log, and what this node said.
//!
//! The crate knows keys and bytes, not meanings: what a block or a state contains is decided by its callers. It is the
//! only crate that names RocksDB, and RocksDB's types do not leave it.
//!
//! # What callers can rely on
//!
//! - A call that returned `Ok` and says *synced* survives `kill -9` and loss of power (as far as the disk keeps its
//!   promise about `fdatasync`). Only [`Store::put_peer`], [`Store::remove_peer`], [`Store::expire_history`] and
//!   [`Wal::append`] are not synced.
//! - [`Store::commit_block`] writes block, certificate, the changed rows of the state, history, head and the removal of the
//!   log entries that the block makes useless in one batch: after a crash all of it is there or none.
//! - [`Store::finish_restore`] replaces the whole state by that of a snapshot in one batch, too, however long its rows took
//!   to arrive and however often the node was killed meanwhile.
//! - [`Store::write_history`] writes and removes history that no block causes, all of it or nothing.
//! - [`Store::put_new`] never overwrites: of several writers to one key exactly one inserts, and the others are
//!   handed what stands there.
//! - One process at a time has a store open, and a store belongs to one network for ever.
//!
//! # Crashes and torn writes
//!
//! Every batch is one record of RocksDB's own log, with a checksum. A crash in the middle of writing leaves an
//! incomplete last record, which was never acknowledged; opening drops it. A damaged record before it makes
//! [`Store::open`] fail rather than forget what was acknowledged. [`Wal`] entries are ordinary keys in such batches,
//! so they need neither lengths nor checksums of their own, and a torn entry cannot be seen.
//!
//! # Damage
//!
//! Blocks of tables and records of logs and manifests carry checksums, which every read verifies. They do not notice a
//! manifest or a log that ends too early, or a newest log that is gone; so closing a store writes down what its files are,
//! and [`Store::open`] compares before anything is changed. A store that was closed is therefore refused, or names the damage
//! when the damaged part is read, or is as it was. After a crash the newest log may end anywhere from its last sync on, so
//! that damage of its tail looks like records that were never written; a newest log that is gone is still noticed,
//! a manifest that was cut short is not. What cannot be noticed at all is that somebody put back an older copy of the whole
//! folder: never do that to a validator.
//!
//! [`verify`] lists all damage, [`salvage`] makes a new store of what can be read, and [`Store::backup`] and
//! [`restore_backup`] keep whole copies.
//!
//! # Blocking
//!
//! Every method blocks: reads for microseconds to milliseconds, synced writes for as long as the disk takes. Call them
//! from a thread that may wait (`spawn_blocking`).

mod backup;
mod blocks;
mod commit;
mod error;
mod files;
mod history;
mod inspect;
mod layout;
mod lock;
mod manifest;
mod mend;
mod open;
mod own;
mod peers;
mod salvage;
mod scan;
mod seal;
mod state;
mod stats;
mod store;
mod verify;
mod wal;

pub use backup::{BackupInfo, backup_info, list_backups, restore_backup};
pub use blocks::StoredBlock;
pub use commit::BlockCommit;
pub use error::{EngineError, MaintenanceError, OpenError, StorageError};
pub use files::FileFault;
pub use history::HistoryRecord;
pub use inspect::BlockEntry;
pub use layout::{FORMAT_VERSION, Head, HistoryKind, MAX_STATE_KEY_BYTES, OwnKind};
pub use mend::{Expiring, StoreGuard, lock_store, set_aside};
pub use own::{OwnRecord, PutNew};
pub use salvage::{LostRange, SalvageReport, SalvageWay, SalvagedFamily, salvage};
pub use state::StateRow;
pub use stats::{FamilyStats, Stats};
pub use store::Store;
pub use verify::{Damage, VerifiedFamily, VerifyReport, verify};
pub use wal::Wal;
