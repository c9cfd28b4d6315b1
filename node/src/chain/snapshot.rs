//! Snapshots: the states that this node gives to others, and fetching one instead of all blocks.
//!
//! ```text
//!  peers' certified headers ──▶ the newest snapshot that is offered ──▶ rows in the order of their keys, page by page
//!     each page, with the rows before it and the hashes to its right, leads to the header's state root ──▶ staged on disk
//!     after the last ──▶ the driver makes it the newest state in one batch
//! ```
//!
//! This module gives, [`Download`] fetches.

mod download;

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use lucid_consensus::ledger::state::State;
use lucid_score::draw::EpochDraw;
use lucid_types::codec::Wire;
use lucid_types::proof::MAX_KEY_BYTES;
use lucid_types::sync::{CertifiedHeader, SnapshotRow, SnapshotRows, SyncResponse};
use lucid_types::time::Height;
use lucid_types::validator_sets::SetChange;

pub(crate) use download::is_sound;
#[cfg(test)]
pub(crate) use download::progress;
pub use download::{Download, SnapshotError};

/// Room of a page for rows; the rest is for the hashes to the right of the last one, and for lengths.
const ROWS_BYTES: usize = SyncResponse::PAGE_BYTES - SnapshotRows::MAX_RIGHT_BYTES;

// Every row fits a page, and what is left of a page when the greatest does not fit any more is not too little.
const _: () = assert!(ROWS_BYTES >= SnapshotRows::LEAST_BYTES + 16 + MAX_KEY_BYTES + EpochDraw::MAX_BYTES);

/// A state with the header that certifies its root.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Header and certificate of the block.
    pub block: Arc<CertifiedHeader>,
    /// The state after it.
    pub state: State,
}

/// A snapshot that has been fetched.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The changes of the validators up to its block that are not stored, by height.
    pub set_changes: Vec<Arc<SetChange>>,
}

/// The states that this node gives to others: the first that it had, at its start or from a peer, until there are enough at the heights
/// that all nodes keep. They share with the newest state what has not changed since.
#[derive(Debug)]
pub struct Snapshots {
    every: u64,
    /// The newest first.
    kept: Mutex<VecDeque<Snapshot>>,
}

impl Snapshots {
    /// How many are kept.
    const KEPT: usize = 2;

    /// In a network whose nodes keep the states at multiples of `every` blocks; with that of the start, if there is any.
    pub fn new(every: u64, first: Option<Snapshot>) -> Self {
        Self { every, kept: Mutex::new(first.into_iter().collect()) }
    }

    /// Looks at the state after a new block.
    pub fn note(&self, block: &Arc<CertifiedHeader>, state: &State) {
        if !state.height().get().is_multiple_of(self.every) {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front(Snapshot { block: Arc::clone(block), state: state.clone() });
        kept.truncate(Self::KEPT);
    }

    /// Goes on from a state that came from peers: those before it are of no use to others, as this node has not the blocks between.
    pub fn begin_anew(&self, first: Snapshot) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = VecDeque::from([first]);
    }

    /// The blocks after which there is a state to give, the newest first.
    pub fn offered(&self) -> Vec<CertifiedHeader> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|snapshot| (*snapshot.block).clone()).collect()
    }

    /// The rows after a key of the state after a block, as many as fit a page; `None` if that state is not kept.
    pub fn rows(&self, height: Height, after: &[u8]) -> Option<SnapshotRows> {
        let state = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.iter().find(|snapshot| snapshot.state.height() == height)?.state.clone()
        };
        rows(&state, after)
    }
}

/// The rows after a key, as many as fit a page, and what proves them.
fn rows(state: &State, after: &[u8]) -> Option<SnapshotRows> {
    let from = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after) };
    let (mut rows, mut room) = (Vec::new(), ROWS_BYTES);
    for (key, value) in state.encoded_from(from) {
        let row = SnapshotRow { key: key.to_vec(), value };
        let Some(left) = room.checked_sub(row.encoded_len()) else { break };
        room = left;
        rows.push(row);
    }
    let right = match rows.last() {
        Some(last) => state.right_of(&last.key)?,
        None => Vec::new(),
    };
    Some(SnapshotRows { rows, right })
}

#[cfg(test)]
mod tests;
