//! Committing a block: everything that follows from it, in one synced batch.

use lucid_types::id::BlockHash;
use lucid_types::time::{Epoch, Height};
use rocksdb::WriteBatch;

use crate::error::StorageError;
use crate::history::HistoryRecord;
use crate::layout::{Family, Head, KEY_HEAD, KEY_STATE, epoch_key, head_value, height_key, history_key};
use crate::store::{Store, lock};

/// A decided block and what it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockCommit {
    /// The block's height: one above the head, 1 for the first.
    pub height: Height,
    /// The block's hash.
    pub block_hash: BlockHash,
    /// The block's canonical bytes.
    pub block: Vec<u8>,
    /// The certificate that decided it.
    pub certificate: Vec<u8>,
    /// The whole state after it; replaces the one before.
    pub state: Vec<u8>,
    /// Rows of epochs that became final; an existing row of the same epoch is replaced.
    pub rows: Vec<(Epoch, Vec<u8>)>,
    /// Rows of earlier epochs than this one are removed, if given.
    pub keep_rows_from: Option<Epoch>,
    /// Records for queries.
    pub history: Vec<HistoryRecord>,
}

impl Store {
    /// Persists a block and all it changed, in one synced batch, and closes the engine's log for its height and those
    /// below. Refuses any height but the next.
    pub fn commit_block(&self, commit: BlockCommit) -> Result<(), StorageError> {
        let shared = &self.shared;
        let mut head = lock(&shared.head);
        let expected = head.map_or(Height::new(1), |head| head.height.next());
        if commit.height != expected {
            return Err(StorageError::NotNext { expected, got: commit.height });
        }
        let new_head = Head { height: commit.height, block_hash: commit.block_hash };

        let mut batch = WriteBatch::default();
        let key = height_key(commit.height);
        batch.put_cf(shared.family(Family::Blocks)?, key, &commit.block);
        batch.put_cf(shared.family(Family::Certificates)?, key, &commit.certificate);
        batch.put_cf(shared.family(Family::State)?, KEY_STATE, &commit.state);
        let rows = shared.family(Family::Rows)?;
        if let Some(first) = commit.keep_rows_from {
            // Key by key: what is written below for the same epoch stands, and no range tombstone slows later reads.
            for (epoch, _) in self.rows(Epoch::ZERO..=first)? {
                if epoch < first {
                    batch.delete_cf(rows, epoch_key(epoch));
                }
            }
        }
        for (epoch, row) in &commit.rows {
            batch.put_cf(rows, epoch_key(*epoch), row);
        }
        let history = shared.family(Family::History)?;
        for record in &commit.history {
            batch.put_cf(history, history_key(record.kind, &record.key), &record.value);
        }
        // Lower heights have no entries left: their own blocks removed them, and nobody can add any.
        self.delete_wal(&mut batch, commit.height)?;
        batch.put_cf(shared.family(Family::Meta)?, KEY_HEAD, head_value(new_head));

        shared.write_synced("a block", batch)?;
        *head = Some(new_head);
        Ok(())
    }
}
