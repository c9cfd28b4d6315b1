//! Commits and reveals that have arrived and wait for a block.
//!
//! The first commit of a validator for an epoch stands; a second, different one is ignored here. Bounded: only
//! epochs from the newest block on, at most [`MAX_AHEAD`] of them (of reveals only those that are due), and one item for
//! each validator.

use std::collections::{BTreeMap, BTreeSet};

use lucid_types::commit::Commit;
use lucid_types::id::NodeId;
use lucid_types::report::Reveal;
use lucid_types::signed::{Signed, Verified};
use lucid_types::time::EpochNumber;

use crate::ledger::state::State;
use crate::network::Network;

/// How many epochs beyond the next block's are kept: a stall longer than this loses its later epochs' reports.
pub const MAX_AHEAD: u64 = 1_024;

type Key = (EpochNumber, NodeId);

/// The waiting commits and reveals.
#[derive(Debug, Default)]
pub struct Reports {
    commits: BTreeMap<Key, Verified<Signed<Commit>>>,
    reveals: BTreeMap<Key, Verified<Signed<Reveal>>>,
}

impl Reports {
    /// Adds a commit. False if its epoch is over, too far ahead, or its validator's commit is known.
    pub fn add_commit(&mut self, network: &Network, state: &State, commit: Verified<Signed<Commit>>) -> bool {
        let key = (commit.record.epoch, commit.signer);
        let wanted = is_wanted(network, state, key) && !self.commits.contains_key(&key);
        if wanted {
            self.commits.insert(key, commit);
        }
        wanted
    }

    /// Adds a reveal. False if its epoch is over, not due yet, or its validator's reveal is known.
    pub fn add_reveal(&mut self, network: &Network, state: &State, reveal: Verified<Signed<Reveal>>) -> bool {
        let key = (reveal.record.report.epoch, reveal.signer);
        let is_due = key.0 <= newest_reveal(network, state.height);
        let wanted = is_due && is_wanted(network, state, key) && !self.reveals.contains_key(&key);
        if wanted {
            self.reveals.insert(key, reveal);
        }
        wanted
    }

    /// All commits by epoch and validator.
    pub fn commits(&self) -> impl Iterator<Item = &Verified<Signed<Commit>>> {
        self.commits.values()
    }

    /// All reveals by epoch and validator.
    pub fn reveals(&self) -> impl Iterator<Item = &Verified<Signed<Reveal>>> {
        self.reveals.values()
    }

    /// The commits of an epoch.
    pub fn commits_of(&self, epoch: EpochNumber) -> impl Iterator<Item = &Verified<Signed<Commit>>> {
        self.commits.range(of_epoch(epoch)).map(|(_, commit)| commit)
    }

    /// The reveals of an epoch.
    pub fn reveals_of(&self, epoch: EpochNumber) -> impl Iterator<Item = &Verified<Signed<Reveal>>> {
        self.reveals.range(of_epoch(epoch)).map(|(_, reveal)| reveal)
    }

    /// Whether commits of more than two thirds of the power for `epoch` are here.
    pub fn has_quorum(&self, network: &Network, epoch: EpochNumber) -> bool {
        let set = network.validators(epoch);
        set.is_quorum(self.commits_of(epoch).map(|commit| set.power(&commit.signer)).sum())
    }

    /// Whether nothing more is expected for the next block: every validator's commit for its epoch, and every
    /// reveal that is due for a listed commit.
    pub fn is_complete(&self, network: &Network, state: &State) -> bool {
        let epoch = state.height.next();
        let committed: BTreeSet<_> = self.commits_of(epoch).map(|commit| commit.signer).collect();
        let all_committed = network.validators(epoch).members().iter().all(|v| committed.contains(&v.node));
        all_committed && self.missing_reveals(network, state).is_empty()
    }

    /// Reveals that may stand in the next block and are not here.
    pub fn missing_reveals(&self, network: &Network, state: &State) -> Vec<Key> {
        let window = network.policy().commit_window;
        let due = |epoch: &EpochNumber| epoch.get().saturating_add(window) <= state.height.next().get();
        let pending = state.pending.iter().filter(|(epoch, _)| due(epoch));
        let missing = pending.flat_map(|(epoch, pending)| {
            let expected = pending.commits.keys().filter(|v| !pending.revealed.contains(*v));
            expected.map(|validator| (*epoch, *validator))
        });
        missing.filter(|key| !self.reveals.contains_key(key)).collect()
    }

    /// Forgets what no block can carry any more.
    pub fn prune(&mut self, network: &Network, state: &State) {
        self.commits.retain(|key, _| is_wanted(network, state, *key));
        self.reveals.retain(|key, _| is_wanted(network, state, *key));
    }
}

/// The newest epoch whose reveals are kept when `height` is the newest block's: what is due in the next block, and one more
/// from peers that are a block ahead. Reveals are large, so no validator may leave them here long before.
pub fn newest_reveal(network: &Network, height: EpochNumber) -> EpochNumber {
    EpochNumber::new(height.get().saturating_add(2).saturating_sub(network.policy().commit_window))
}

fn of_epoch(epoch: EpochNumber) -> std::ops::RangeInclusive<Key> {
    (epoch, NodeId::from_bytes([0; 32]))..=(epoch, NodeId::from_bytes([0xff; 32]))
}

/// Whether a block may still carry something of this epoch and validator.
fn is_wanted(network: &Network, state: &State, (epoch, validator): Key) -> bool {
    let newest = state.height.get().saturating_add(MAX_AHEAD);
    let last_block = epoch.get().saturating_add(2 * network.policy().commit_window - 1);
    let open = epoch.get() > 0 && epoch.get() <= newest && last_block > state.height.get();
    open && network.validators(epoch).get(&validator).is_some()
}
