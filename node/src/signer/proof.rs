//! A pool's row of the state after a block, with the proof that it is.

use lucid_consensus::ledger::pool::PoolState;
use lucid_consensus::ledger::proof::{RowProof, RowProofError};
use lucid_consensus::ledger::state::State;
use lucid_consensus::ledger::table::Pools;
use lucid_types::codec::Wire;
use lucid_types::id::{NetworkId, PoolId};
use lucid_types::sync::CertifiedHeader;
use lucid_types::time::Height;
use lucid_types::validator_sets::ValidatorSets;
use serde::{Deserialize, Serialize};

/// A pool's row and its proof. Untrusted until checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolProof {
    /// The row.
    pub pool: PoolState,
    /// Its path and the certified header.
    pub proof: RowProof,
}

impl Wire for PoolProof {
    const MAX_BYTES: usize = PoolState::MAX_BYTES + RowProof::MAX_BYTES;
}

impl PoolProof {
    /// The row of a pool in the state after `block`; `None` if there is no such pool.
    pub fn new(state: &State, block: &CertifiedHeader, id: &PoolId) -> Option<Self> {
        let pool = state.pool(id)?.clone();
        Some(Self { pool, proof: RowProof::new::<Pools>(state, block.clone(), id) })
    }

    /// The height of the block that it is said to be of.
    pub const fn height(&self) -> Height {
        self.proof.block.header.height
    }

    /// Checks that the network's validators have certified this row of the pool.
    ///
    /// # Errors
    /// It is not proved.
    pub fn verify(self, network: &NetworkId, sets: &ValidatorSets, id: &PoolId) -> Result<ProvedPool, RowProofError> {
        self.proof.check::<Pools>(network, sets, id, Some(&self.pool))?;
        Ok(ProvedPool { id: *id, height: self.height(), row: self.pool })
    }
}

/// A pool's row that was proved to be of a final state.
#[derive(Clone, Debug)]
pub struct ProvedPool {
    id: PoolId,
    height: Height,
    row: PoolState,
}

impl ProvedPool {
    /// The pool.
    pub const fn id(&self) -> PoolId {
        self.id
    }

    /// The height of the block after which the state holds the row.
    pub const fn height(&self) -> Height {
        self.height
    }

    /// The row.
    pub const fn row(&self) -> &PoolState {
        &self.row
    }
}
