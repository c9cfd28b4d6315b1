//! Committing a block: everything that follows from it, in one synced batch.

use lucid_types::id::BlockHash;
use lucid_types::time::Height;
use rocksdb::WriteBatch;

use crate::error::StorageError;
use crate::history::HistoryRecord;
use crate::layout::{Family, Head, KEY_HEAD, head_value, height_key};
use crate::state::checked_key;
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
    /// What it changed of the state: keys of at most [`crate::MAX_STATE_KEY_BYTES`] bytes with their new value, or none
    /// if the row is removed. Of several changes of one key the last counts.
    pub state: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// If it changes the validators: who is in force after it, and what proves it.
    pub set_change: Option<Vec<u8>>,
    /// Records for queries.
    pub history: Vec<HistoryRecord>,
}

impl Store {
    /// Persists a block and all it changed, in one synced batch, and closes the engine's log for its height and those
    /// below. Refuses any height but the next.
    pub fn commit_block(&self, commit: BlockCommit) -> Result<(), StorageError> {
        let shared = &self.shared;
        let mut tip = lock(&shared.tip);
        let expected = tip.head.map_or(Height::new(1), |head| head.height.next());
        if commit.height != expected {
            return Err(StorageError::NotNext { expected, got: commit.height });
        }
        let new_head = Head { height: commit.height, block_hash: commit.block_hash };

        let mut batch = WriteBatch::default();
        let key = height_key(commit.height);
        batch.put_cf(shared.family(Family::Blocks)?, key, &commit.block);
        batch.put_cf(shared.family(Family::Certificates)?, key, &commit.certificate);
        if let Some(change) = &commit.set_change {
            batch.put_cf(shared.family(Family::SetChanges)?, key, change);
        }
        let state = shared.family(tip.state.family())?;
        for (key, value) in &commit.state {
            match value {
                Some(value) => batch.put_cf(state, checked_key(key)?, value),
                None => batch.delete_cf(state, checked_key(key)?),
            }
        }
        let _history = lock(&shared.history);
        self.put_history(&mut batch, &commit.history)?;
        // Lower heights have no entries left: their own blocks removed them, and nobody can add any.
        self.delete_wal(&mut batch, commit.height)?;
        batch.put_cf(shared.family(Family::Meta)?, KEY_HEAD, head_value(new_head));

        shared.write_synced("a block", batch)?;
        tip.head = Some(new_head);
        Ok(())
    }
}
