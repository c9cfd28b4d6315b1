//! Removes blocks that are old enough, unless this node is an archive.
//!
//! What stays of them: the header and certificate of each block that closes an epoch, and of each after which other validators are in
//! force, so that whoever has the genesis can follow who signs. The state, with every epoch's score root, is not touched.

use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_storage::{StorageError, Store};
use lucid_types::block::{Block, Header};
use lucid_types::codec::{decode, encode};
use lucid_types::id::Hash;
use lucid_types::time::{Height, UnixMillis};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::chain::persist::{self, PersistError};
use crate::clock::Clock;

/// How often it is looked for old blocks.
const PERIOD: Duration = Duration::from_secs(5);
/// Blocks that are removed at once.
const BATCH: usize = 100;
/// The newest blocks that stay, however old they are, in distances between snapshots. Whoever takes the oldest state that is offered,
/// which is less than two of these old, needs the blocks after it when it has it.
const KEPT_DISTANCES: u64 = 3;

/// What pruning works with.
pub struct PruneParts {
    /// The network.
    pub spec: Arc<ChainSpec>,
    /// The store.
    pub store: Store,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The newest block.
    pub head: watch::Receiver<Head>,
    /// Blocks younger than this stay.
    pub keep: Duration,
}

/// Removes old blocks until `stop`.
///
/// # Errors
/// The store failed, or holds other bytes than were written.
pub async fn run(parts: PruneParts, stop: CancellationToken) -> Result<(), PersistError> {
    let mut pruner = Pruner { spec: parts.spec, store: parts.store, last: None };
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let (newest, time) = {
            let head = parts.head.borrow();
            (head.state.height(), head.state.time())
        };
        // A clock that is ahead must not remove what others still need: the newest block's counts.
        let before = parts.clock.now().min(time).before(parts.keep);
        let mut is_more = true;
        while is_more && !stop.is_cancelled() {
            let mut next = pruner.clone();
            let pruned = spawn_blocking(move || next.prune(newest, before).map(|pruned| (next, pruned))).await;
            // A panic ends the sweep, the next tick begins another.
            let Ok(pruned) = pruned else { break };
            let n_pruned;
            (pruner, n_pruned) = pruned?;
            is_more = n_pruned == BATCH;
        }
    }
}

/// Removes blocks batch by batch.
#[derive(Clone)]
struct Pruner {
    spec: Arc<ChainSpec>,
    store: Store,
    /// The header of the block that was removed last; the next block is compared with it.
    last: Option<Header>,
}

impl Pruner {
    /// Removes at most [`BATCH`] blocks whose time is before `before`; how many.
    fn prune(&mut self, newest: Height, before: UnixMillis) -> Result<usize, PersistError> {
        let kept = self.spec.fixed().snapshot_blocks.saturating_mul(KEPT_DISTANCES);
        let end = newest.get().saturating_sub(kept);
        let mut pruned = Vec::new();
        for stored in self.store.blocks(self.store.base()).take(BATCH) {
            let stored = stored?;
            if stored.height.get() > end {
                break;
            }
            let decoded = decode::<Block>(&stored.block);
            let header = decoded.map_err(|source| PersistError::Decode { what: "a block", source })?.header;
            if header.time >= before {
                break;
            }
            pruned.push((stored.height, self.is_kept(&header)?.then(|| encode(&header))));
            self.last = Some(header);
        }
        match self.store.prune_blocks(&pruned) {
            Ok(()) => Ok(pruned.len()),
            // A snapshot has taken the place of the blocks meanwhile.
            Err(StorageError::NotPrunable { .. }) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a block closes an epoch, or other validators are in force two blocks after it than after its parent.
    fn is_kept(&self, header: &Header) -> Result<bool, PersistError> {
        let genesis = self.spec.genesis();
        let (time, set) = match &self.last {
            _ if header.height == Height::new(1) => (genesis.genesis_time, self.spec.first_validators().hash()),
            Some(last) if last.height.next() == header.height => (last.time, last.next_set),
            // The first since the start of the node: unless its parent was kept, nobody knows, and it is kept.
            _ => match persist::header(&self.store, header.height.previous())? {
                Some(parent) => (parent.header.time, parent.header.next_set),
                None => return Ok(true),
            },
        };
        Ok(is_kept_after(&self.spec, (time, set), header))
    }
}

/// Whether a block closes an epoch, or other validators are in force two blocks after it than after its parent.
pub(crate) fn is_kept(spec: &ChainSpec, parent: &Header, header: &Header) -> bool {
    is_kept_after(spec, (parent.time, parent.next_set), header)
}

/// The same after a parent with this time and this `next_set`.
fn is_kept_after(spec: &ChainSpec, (time, set): (UnixMillis, Hash), header: &Header) -> bool {
    let genesis = spec.genesis();
    genesis.epoch_at(time) != genesis.epoch_at(header.time) || set != header.next_set
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
