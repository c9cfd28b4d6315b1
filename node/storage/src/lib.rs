//! Lucid's RocksDB store: blocks, certificates, state, the engine's write-ahead log, and what this node said.
//!
//! The crate knows keys and bytes, not meanings: what a block or a state contains is decided by its callers. It is the
//! only crate that names RocksDB, and RocksDB's types do not leave it.
//!
//! # What callers can rely on
//!
//! - A call that returned `Ok` and says *synced* survives `kill -9` and loss of power (as far as the disk keeps its
//!   promise about `fdatasync`). Only [`Store::put_peer`], [`Store::remove_peer`] and [`Wal::append`] are not synced.
//! - [`Store::commit_block`] writes block, certificate, state, rows, history, head and the removal of the log entries
//!   that the block makes useless in one batch: after a crash all of it is there or none.
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
//! so they need neither lengths nor checksums of their own, and a torn entry cannot be seen. What cannot be noticed
//! is that somebody removed the newest log file, or put back an older copy of the folder: never do that to a validator.
//!
//! # Blocking
//!
//! Every method blocks: reads for microseconds to milliseconds, synced writes for as long as the disk takes. Call them
//! from a thread that may wait (`spawn_blocking`).

mod commit;
mod error;
mod history;
mod layout;
mod lock;
mod open;
mod own;
mod peers;
mod store;
mod wal;

pub use commit::BlockCommit;
pub use error::{EngineError, OpenError, StorageError};
pub use history::HistoryRecord;
pub use layout::{FORMAT_VERSION, Head, HistoryKind, OwnKind};
pub use own::{OwnRecord, PutNew};
pub use store::{Store, StoredBlock};
pub use wal::Wal;
