//! Between the replica's values and the store's bytes.

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::engine::wal::WalEntry;
use lucid_consensus::ledger::archive::Archive;
use lucid_consensus::ledger::state::{EpochRows, State};
use lucid_consensus::replica::{FinalizedBlock, OwnReport, Restore};
use lucid_storage::{BlockCommit, OwnKind, PutNew, StorageError, Store, Wal};
use lucid_types::block::Block;
use lucid_types::codec::{DecodeError, decode, encode};
use lucid_types::time::{Epoch, Height, UnixMillis};

use crate::{history, signer};

/// What is stored cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The store failed.
    #[error("use the store")]
    Storage(#[from] StorageError),
    /// Stored bytes are not what they should be.
    #[error("read {what} back from the store")]
    Decode {
        /// What was read.
        what: &'static str,
        /// Why it cannot be.
        #[source]
        source: DecodeError,
    },
    /// Another report of this validator is stored for the epoch.
    #[error("another report for epoch {0} is stored: this node's key is in use twice, or the store was rolled back")]
    OtherReport(Epoch),
}

fn decoded<T: lucid_types::codec::Wire>(what: &'static str, bytes: &[u8]) -> Result<T, PersistError> {
    decode(bytes).map_err(|source| PersistError::Decode { what, source })
}

/// What the replica goes on from: the newest state, the engine's log, and own reports.
///
/// # Errors
/// The store failed or holds other bytes than were written.
pub fn restore(spec: &ChainSpec, store: &Store, wal: &Wal, now: UnixMillis) -> Result<Restore, PersistError> {
    let state = match store.state()? {
        Some(bytes) => decoded::<State>("the state", &bytes)?,
        None => State::genesis(spec),
    };
    let entries = wal.entries(state.height.next())?;
    let log = entries.iter().map(|entry| decoded::<WalEntry>("the engine's log", entry)).collect::<Result<_, _>>()?;
    let mut own = std::collections::BTreeMap::new();
    for record in store.own_all(OwnKind::Report, &[])? {
        let report: OwnReport = decoded("an own report", &record.value)?;
        let epoch = report.commitment.record.epoch;
        if epoch > state.closed || state.pending.contains_key(&epoch) {
            own.insert(epoch, report);
        } else {
            store.remove_own(OwnKind::Report, &record.key)?;
        }
    }
    let rebroadcast_sequence = rebroadcast_sequence(store, now)?;
    Ok(Restore { state, log, own, is_listening: false, silent_through: Height::ZERO, rebroadcast_sequence, now })
}

/// Where this run's rebroadcasts are counted from: the clock's milliseconds, so that a node that lost its store is heard
/// again at once, but beyond all of earlier runs should the clock have been set back since.
fn rebroadcast_sequence(store: &Store, now: UnixMillis) -> Result<u64, StorageError> {
    const KEY: &[u8] = b"rebroadcast";
    /// More than a run repeats itself; the clock is faster in any case.
    const A_RUN: u64 = 1 << 20;
    let last = store.own(OwnKind::Counter, KEY)?.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    let first = last.map_or(0, |last| last.saturating_add(A_RUN)).max(now.get());
    store.put(OwnKind::Counter, KEY, &first.to_be_bytes())?;
    Ok(first)
}

const BOOT: &[u8] = b"boot";

/// How often this validator has started with this database; 0 before its first start.
///
/// # Errors
/// The store failed.
pub fn boots(store: &Store) -> Result<u64, StorageError> {
    Ok(store.own(OwnKind::Counter, BOOT)?.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes))
}

/// Notes a start, durably.
///
/// # Errors
/// The store failed.
pub fn put_boot(store: &Store, boot: u64) -> Result<(), StorageError> {
    store.put(OwnKind::Counter, BOOT, &boot.to_be_bytes())
}

/// Makes an own report durable; refuses a second, different one for an epoch.
///
/// # Errors
/// The store failed, or holds another report for the epoch.
pub fn put_own(store: &Store, own: &OwnReport) -> Result<(), PersistError> {
    let epoch = own.commitment.record.epoch;
    let bytes = encode(own);
    match store.put_new(OwnKind::Report, &epoch.get().to_be_bytes(), &bytes)? {
        PutNew::Inserted => Ok(()),
        PutNew::Existing(existing) if existing == bytes => Ok(()),
        PutNew::Existing(_) => Err(PersistError::OtherReport(epoch)),
    }
}

/// Stores a decided block and all that follows from it, in one synced batch.
///
/// # Errors
/// The store failed; nothing of the block is stored then.
pub fn put_block(store: &Store, stored: &FinalizedBlock) -> Result<(), PersistError> {
    let FinalizedBlock { decided, applied } = stored;
    let height = decided.block.header.height;
    let rows: Vec<_> = applied.rows.iter().map(|rows| (rows.epoch, encode(rows))).collect();
    store.commit_block(BlockCommit {
        height,
        block_hash: applied.state.block,
        block: encode(&decided.block),
        certificate: encode(&decided.certificate),
        state: encode(&applied.state),
        rows,
        keep_rows_from: None,
        history: [
            history::ledger::records(height, applied.state.time, &applied.events),
            history::ledger::command_records(&decided.block),
            history::epochs::records(height, applied),
            signer::blocks::records(&decided.block),
        ]
        .concat(),
    })?;
    // The own report of an epoch whose scores are final.
    if let Some(rows) = &applied.rows {
        store.remove_own(OwnKind::Report, &rows.epoch.get().to_be_bytes())?;
    }
    Ok(())
}

/// The store as the ledger's archive. One that fails or holds other bytes has nothing; the ledger then refuses the block
/// and says what is missing.
pub struct StoredArchive(pub Store);

impl Archive for StoredArchive {
    fn rows(&self, epoch: Epoch) -> Option<EpochRows> {
        rows(&self.0, epoch)
    }

    fn block(&self, height: Height) -> Option<Block> {
        decode(&self.0.block(height).ok().flatten()?).ok()
    }
}

/// The rows of an epoch, if the store has them.
pub fn rows(store: &Store, epoch: Epoch) -> Option<EpochRows> {
    decode(&store.row(epoch).ok().flatten()?).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::id::NetworkId;

    use super::*;

    #[test]
    fn repetitions_count_on_after_a_clock_was_set_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), NetworkId::from_bytes([1; 32])).unwrap();
        let starts = [1_000_000_000, 1_000_000_500, 400, 500, 3_000_000_000];
        let sequences = starts.map(|now| rebroadcast_sequence(&store, UnixMillis::new(now)).unwrap());
        assert_eq!(sequences[0], 1_000_000_000);
        assert!(sequences.is_sorted_by(|earlier, later| later - earlier >= 1 << 20), "{sequences:?}");
        assert_eq!(sequences[4], 3_000_000_000, "the clock has caught up");
    }
}
