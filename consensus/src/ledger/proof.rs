//! Proofs of rows: whoever has the genesis checks one without a chain.

use lucid_score::worker_stats::ScoreRow;
use lucid_types::codec::{Wire, encode};
use lucid_types::id::{Hash, NetworkId, NodeId};
use lucid_types::proof::{KeyProof, ProofError};
use lucid_types::sync::{CertifiedHeader, DecidedError};
use lucid_types::time::{Epoch, Height};
use lucid_types::validator_sets::ValidatorSets;
use serde::{Deserialize, Serialize};

use crate::ledger::state::State;
use crate::ledger::table::{ScoreRoots, Table};

/// Proves what the state after a block says of one key: a value, or that there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowProof {
    /// The block.
    pub block: CertifiedHeader,
    /// The key's path in the state's tree.
    pub path: KeyProof,
}

impl Wire for RowProof {
    const MAX_BYTES: usize = CertifiedHeader::MAX_BYTES + KeyProof::MAX_BYTES;
}

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowProofError {
    /// The block was not decided by the network's validators.
    #[error("the block is not certified by the validators of this network")]
    Block(#[from] DecidedError),
    /// Nobody knows who validated the block.
    #[error("the validators of block {0} are not known")]
    NoSet(Height),
    /// The path in the state's tree does not lead there.
    #[error("the path does not lead from the state root to the row")]
    Path(#[from] ProofError),
    /// The path in the tree of the epoch's scores does not lead there.
    #[error("the path does not lead from the root of the epoch's scores to the worker's row")]
    Scores(#[source] ProofError),
}

impl RowProof {
    /// Proves a key of the state after a block.
    pub fn new<T: Table>(state: &State, block: CertifiedHeader, key: &T::Key) -> Self {
        Self { block, path: state.prove::<T>(key) }
    }

    /// Checks that the network's state has this value for the key, or none.
    ///
    /// # Errors
    /// It is not proved.
    pub fn check<T: Table>(
        &self,
        network: &NetworkId,
        sets: &ValidatorSets,
        key: &T::Key,
        value: Option<&T::Value>,
    ) -> Result<(), RowProofError>
    where
        T::Value: Serialize,
    {
        let header = &self.block.header;
        let set = sets.at(header.height).ok_or(RowProofError::NoSet(header.height))?;
        self.block.clone().verify(network, set)?;
        let (root, key) = (Hash::from_bytes(*header.state_root.as_bytes()), T::key(key));
        match value {
            Some(value) => self.path.check_value(&root, &key, &encode(value))?,
            None => self.path.check_absence(&root, &key)?,
        }
        Ok(())
    }
}

/// Proves a worker's scores of an epoch that has scores, or that it has none among them: the epoch's root is a row of the state, and
/// the worker's row has a path under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoreProof {
    /// The root of the epoch's scores.
    pub root: Hash,
    /// Proves it.
    pub state: RowProof,
    /// The worker's path in the tree of the epoch's scores.
    pub path: KeyProof,
}

impl ScoreProof {
    /// Checks that the network has given the worker these scores in the epoch, or none.
    ///
    /// # Errors
    /// It is not proved.
    pub fn check(
        &self,
        network: &NetworkId,
        sets: &ValidatorSets,
        epoch: Epoch,
        worker: &NodeId,
        row: Option<&ScoreRow>,
    ) -> Result<(), RowProofError> {
        self.state.check::<ScoreRoots>(network, sets, &epoch, Some(&self.root))?;
        match row {
            Some(row) => self.path.check_value(&self.root, worker.as_bytes(), &encode(row)),
            None => self.path.check_absence(&self.root, worker.as_bytes()),
        }
        .map_err(RowProofError::Scores)
    }
}
