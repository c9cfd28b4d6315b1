//! Report commitments and reveals that have arrived and wait for a block.
//!
//! The first commitment of a validator for an epoch stands; a second, different one is ignored here. Bounded: one item for each
//! validator and epoch, of the epochs whose windows are open, and of the next one, which a peer may have closed already.

use std::collections::BTreeMap;

use lucid_types::id::ValidatorId;
use lucid_types::report::{ReportCommitment, Reveal};
use lucid_types::signed::{Signed, Verified};
use lucid_types::time::Epoch;

use crate::chain_spec::ChainSpec;
use crate::ledger::state::{PendingEpoch, Rows, State};
use crate::ledger::table::{Draws, PendingEpochs};

type Key = (Epoch, ValidatorId);

/// The waiting commitments and reveals, by the keys that they are signed with.
#[derive(Debug, Default)]
pub struct Reports {
    commitments: BTreeMap<Key, Verified<Signed<ReportCommitment>>>,
    reveals: BTreeMap<Key, Verified<Signed<Reveal>>>,
}

impl Reports {
    /// Adds a commitment. False if no block can carry it, or its validator's commitment is known.
    pub fn add_commitment(
        &mut self,
        spec: &ChainSpec,
        state: &State,
        commitment: Verified<Signed<ReportCommitment>>,
    ) -> bool {
        let key = (commitment.record.epoch, commitment.signer);
        let wanted = awaits_commitment(spec, state, key) && !self.commitments.contains_key(&key);
        if wanted {
            self.commitments.insert(key, commitment);
        }
        wanted
    }

    /// Adds a reveal. False if no block can carry it, it is not due yet, or its validator's reveal is known.
    pub fn add_reveal(&mut self, spec: &ChainSpec, state: &State, reveal: Verified<Signed<Reveal>>) -> bool {
        let key = (reveal.record.report.epoch, reveal.signer);
        let wanted = awaits_reveal(spec, state, key) && !self.reveals.contains_key(&key);
        if wanted {
            self.reveals.insert(key, reveal);
        }
        wanted
    }

    /// Whether a validator's commitment waits.
    pub fn has_commitment(&self, epoch: Epoch, validator: &ValidatorId) -> bool {
        self.commitments.contains_key(&(epoch, *validator))
    }

    /// Whether a validator's reveal waits.
    pub fn has_reveal(&self, epoch: Epoch, validator: &ValidatorId) -> bool {
        self.reveals.contains_key(&(epoch, *validator))
    }

    /// All commitments by epoch and validator.
    pub fn commitments(&self) -> impl Iterator<Item = &Verified<Signed<ReportCommitment>>> {
        self.commitments.values()
    }

    /// All reveals by epoch and validator.
    pub fn reveals(&self) -> impl Iterator<Item = &Verified<Signed<Reveal>>> {
        self.reveals.values()
    }

    /// The commitments of an epoch.
    pub fn commitments_of(&self, epoch: Epoch) -> impl Iterator<Item = &Verified<Signed<ReportCommitment>>> {
        self.commitments.range(of_epoch(epoch)).map(|(_, commitment)| commitment)
    }

    /// The reveals of an epoch.
    pub fn reveals_of(&self, epoch: Epoch) -> impl Iterator<Item = &Verified<Signed<Reveal>>> {
        self.reveals.range(of_epoch(epoch)).map(|(_, reveal)| reveal)
    }

    /// Whether nothing more is expected for the next block: every validator's commitment to its report of an epoch whose
    /// commitments may stand in it, and the reveal of every commitment whose reveal may.
    pub fn is_complete(&self, spec: &ChainSpec, state: &State) -> bool {
        let next = state.height().next();
        state.pending().all(|(epoch, pending)| {
            let windows = pending.windows(spec);
            let reporters = || state.get::<Draws>(&epoch).into_iter().flat_map(|draw| &draw.reporters);
            let has_commitment = |key: &ValidatorId| state.has_committed(epoch, key) || self.has_commitment(epoch, key);
            let has_reveal = |key: &ValidatorId| state.has_revealed(epoch, key) || self.has_reveal(epoch, key);
            (!windows.commitments().contains(&next) || reporters().all(has_commitment))
                && (!windows.reveals().contains(&next) || state.committed(epoch).all(|(key, _)| has_reveal(&key)))
        })
    }

    /// Forgets what no block can carry any more.
    pub fn prune(&mut self, spec: &ChainSpec, state: &State) {
        self.commitments.retain(|key, _| awaits_commitment(spec, state, *key));
        self.reveals.retain(|key, _| awaits_reveal(spec, state, *key));
    }
}

fn of_epoch(epoch: Epoch) -> std::ops::RangeInclusive<Key> {
    (epoch, ValidatorId::from_bytes([0; 32]))..=(epoch, ValidatorId::from_bytes([0xff; 32]))
}

/// Whether the epoch's draw has this key, and the validator is one still.
pub fn is_reporter(state: &State, epoch: Epoch, key: &ValidatorId) -> bool {
    let is_drawn = state.get::<Draws>(&epoch).is_some_and(|draw| draw.reporters.binary_search(key).is_ok());
    let is_validator = |account| state.next_validators().of(&account).is_some();
    is_drawn && state.validator_account(key).is_some_and(is_validator)
}

/// Whether a block from the next one on may carry a commitment signed with this key.
pub fn awaits_commitment(spec: &ChainSpec, state: &State, (epoch, key): Key) -> bool {
    let is_open = |pending: &PendingEpoch| {
        *pending.windows(spec).commitments().end() > state.height() && !state.has_committed(epoch, &key)
    };
    // A peer may have closed the open epoch already.
    let is_next = epoch == state.closed().next();
    let is_awaited = is_next || state.get::<PendingEpochs>(&epoch).is_some_and(is_open);
    is_awaited && is_reporter(state, epoch, &key)
}

/// Whether a block from the next one on may carry a reveal signed with this key, and it is due: peers may be one block ahead, but no
/// validator may leave something so large here long before.
pub fn awaits_reveal(spec: &ChainSpec, state: &State, (epoch, key): Key) -> bool {
    let next_but_one = state.height().next().next();
    state.get::<PendingEpochs>(&epoch).is_some_and(|pending| {
        *pending.windows(spec).reveals().start() <= next_but_one && !state.has_revealed(epoch, &key)
    }) && is_reporter(state, epoch, &key)
}
