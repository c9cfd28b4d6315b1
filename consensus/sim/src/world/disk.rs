//! What a node has on disk: exactly what its effects made durable.

use std::collections::BTreeMap;
use std::ops::Bound;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::command::SignedCommand;
use lucid_consensus::ledger::state::{EpochScores, State};
use lucid_consensus::replica::OwnReport;
use lucid_types::block::Block;
use lucid_types::id::BlockHash;
use lucid_types::sync::CertifiedBlock;
use lucid_types::time::{Epoch, Height};

/// What survives a crash.
pub struct Disk {
    /// The rows of the state.
    pub rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The blocks by height.
    pub blocks: BTreeMap<Height, CertifiedBlock>,
    /// Scores of final epochs.
    pub scores: BTreeMap<Epoch, EpochScores>,
    /// The engine's log, as far as it is durable.
    pub log: Vec<(Height, Vec<u8>)>,
    /// What was appended to the log since.
    pub unsynced: Vec<(Height, Vec<u8>)>,
    /// Reports of its own, with what they were committed to.
    pub own: BTreeMap<Epoch, OwnReport>,
    /// Commands that its users submitted.
    pub commands: Vec<SignedCommand>,
}

impl Disk {
    /// That of a node that has no block yet.
    pub(super) fn new(first: &State) -> Self {
        let rows = first.encoded_from(Bound::Unbounded).map(|(key, value)| (key.to_vec(), value)).collect();
        let (blocks, scores, log, unsynced, own, commands) = Default::default();
        Self { rows, blocks, scores, log, unsynced, own, commands }
    }

    /// The state that a node reads back from it.
    pub fn state(&self, spec: &ChainSpec) -> State {
        let newest = self.blocks.last_key_value().map(|(_, newest)| &newest.block);
        let hash = newest.map_or_else(|| BlockHash::from(*spec.id()), Block::hash);
        let state = State::from_rows(hash, &self.rows).unwrap();
        assert!(newest.is_none_or(|it| it.header.state_root == state.root()), "what was written is the state");
        state
    }
}
