//! Proofs for people: what the network's state says of a worker or an account, in a file that whoever has the genesis checks alone.
//!
//! A proof holds the header of a final block with its certificate, a row of the state after that block, and the row's path to the
//! header's state root; or the path that shows that there is no such row. Before them stand the headers of the blocks that have changed
//! the validators since the genesis, with the validators after each: so the genesis leads to those who certify the block. The scores of an epoch have a tree of their own, whose
//! root is a row of the state. How it becomes text, and back, is in [`document`]; the rule is that of
//! `docs/src/specification.md`, "Proofs".
//!
//! Nothing here reads a store, a clock or a network. That a proof is of the newest state nobody can tell from it: it says at which
//! height it holds.

pub mod document;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::pool::Account;
use lucid_consensus::ledger::proof::{RowProof, RowProofError, ScoreProof};
use lucid_consensus::ledger::state::{EpochScores, Rows, State};
use lucid_consensus::ledger::table::{Accounts, ScoreRoots, Workers};
use lucid_score::worker_stats::{ScoreRow, WorkerStats};
use lucid_types::block::Header;
use lucid_types::codec::encode;
use lucid_types::id::{NetworkId, NodeId, PoolId};
use lucid_types::payout_tree::AccountId;
use lucid_types::sync::CertifiedHeader;
use lucid_types::time::{Epoch, Height};
use lucid_types::validator_sets::{SET_DELAY, SetChange, SetChangeError};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A worker's score of an epoch.
    Score {
        /// The epoch.
        epoch: Epoch,
        /// The worker.
        worker: NodeId,
    },
    /// What a pool owes to an account.
    Owed {
        /// The pool.
        pool: PoolId,
        /// The account.
        account: AccountId,
    },
    /// A worker's statistics.
    Account {
        /// The worker.
        node: NodeId,
    },
}

/// What is said, with what proves it. No row: the state has none, and that is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// A worker's score of an epoch that has scores.
    Score {
        /// The epoch.
        epoch: Epoch,
        /// The worker.
        worker: NodeId,
        /// Its row; none if it was not measured.
        row: Option<ScoreRow>,
        /// Leads from the block to the row by the root of the epoch's scores.
        proof: ScoreProof,
    },
    /// That an epoch has no scores, of whatever worker.
    NoScores {
        /// The epoch.
        epoch: Epoch,
        /// Leads to where their root would be.
        proof: RowProof,
    },
    /// What a pool owes to an account.
    Owed {
        /// The pool.
        pool: PoolId,
        /// The account.
        account: AccountId,
        /// Its row; none if nothing was ever owed to it or held for it.
        row: Option<Account>,
        /// Leads to the row.
        proof: RowProof,
    },
    /// A worker's statistics.
    Account {
        /// The worker.
        node: NodeId,
        /// Its row; none if it is not registered.
        row: Option<WorkerStats>,
        /// Leads to the row.
        proof: RowProof,
    },
}

/// A statement about the state of a network with its proof. Untrusted until [`Self::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    network: NetworkId,
    /// The changes of the validators up to those of the block.
    set_changes: Vec<SetChange>,
    statement: Statement,
}

/// Why a proof proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// It is of another network.
    #[error(
        "it is a proof of the network {found}, and the genesis is of {expected}: take the genesis of the proof's network"
    )]
    OtherNetwork {
        /// The network that it names.
        found: NetworkId,
        /// The network of the genesis.
        expected: NetworkId,
    },
    /// The row is of another worker or account than its key says.
    #[error("the row is not of this {0}")]
    OtherRow(&'static str),
    /// A change of the validators does not follow from the genesis and those before.
    #[error("the changes of the validators since the genesis do not lead to those of the block")]
    Sets(#[from] SetChangeError),
    /// A change of the validators that was not in force yet.
    #[error("block {0} changes the validators of blocks after the proof's: it says nothing of it")]
    LaterSet(Height),
    /// Certificate or path do not hold.
    #[error(transparent)]
    Row(#[from] RowProofError),
}

/// A proof that holds for a network.
#[derive(Clone, Debug)]
pub struct Proved {
    proof: Proof,
    power: u64,
    total_power: u64,
}

impl Proof {
    const fn new(network: NetworkId, statement: Statement) -> Self {
        Self { network, set_changes: Vec::new(), statement }
    }

    /// The same where the validators have changed since the genesis: with those of these changes that its block needs, by height.
    pub fn with_set_changes(self, changes: impl IntoIterator<Item = SetChange>) -> Self {
        let height = self.block().header.height;
        let set_changes = changes.into_iter().take_while(|change| in_force(change) <= height).collect();
        Self { set_changes, ..self }
    }

    /// A worker's score of an epoch in the state after `block`. `None` if that state has scores of the epoch and these are not
    /// they.
    pub fn of_score(
        network: NetworkId,
        (state, block): (&State, CertifiedHeader),
        (epoch, worker): (Epoch, NodeId),
        scores: Option<&EpochScores>,
    ) -> Option<Self> {
        let found = state.get::<ScoreRoots>(&epoch);
        let state = RowProof::new::<ScoreRoots>(state, block, &epoch);
        let statement = match found {
            None => Statement::NoScores { epoch, proof: state },
            Some(hash) => {
                let scores = scores?;
                let row = scores.rows.iter().find(|row| row.worker == worker).copied();
                let path = scores.prove(&worker);
                let checked = match &row {
                    Some(row) => path.check_value(hash, worker.as_bytes(), &encode(row)),
                    None => path.check_absence(hash, worker.as_bytes()),
                };
                checked.ok()?;
                Statement::Score { epoch, worker, row, proof: ScoreProof { root: *hash, state, path } }
            }
        };
        Some(Self::new(network, statement))
    }

    /// What a pool owes to an account in the state after `block`.
    pub fn of_owed(
        network: NetworkId,
        (state, block): (&State, CertifiedHeader),
        (pool, account): (PoolId, AccountId),
    ) -> Self {
        let key = (pool, account);
        let proof = RowProof::new::<Accounts>(state, block, &key);
        let row = state.get::<Accounts>(&key).cloned();
        Self::new(network, Statement::Owed { pool, account, row, proof })
    }

    /// A worker's statistics in the state after `block`.
    pub fn of_account(network: NetworkId, (state, block): (&State, CertifiedHeader), node: NodeId) -> Self {
        let proof = RowProof::new::<Workers>(state, block, &node);
        let row = state.get::<Workers>(&node).cloned();
        Self::new(network, Statement::Account { node, row, proof })
    }

    /// Whether it says what was asked for. That an epoch has no scores says it of every worker.
    pub fn answers(&self, subject: &Subject) -> bool {
        *subject
            == match (&self.statement, subject) {
                (Statement::NoScores { epoch, .. }, Subject::Score { worker, .. })
                | (Statement::Score { epoch, worker, .. }, _) => Subject::Score { epoch: *epoch, worker: *worker },
                (Statement::Owed { pool, account, .. }, _) => Subject::Owed { pool: *pool, account: *account },
                (Statement::Account { node, .. }, _) => Subject::Account { node: *node },
                (Statement::NoScores { .. }, _) => return false,
            }
    }

    const fn block(&self) -> &CertifiedHeader {
        match &self.statement {
            Statement::Score { proof, .. } => &proof.state.block,
            Statement::NoScores { proof, .. } | Statement::Owed { proof, .. } | Statement::Account { proof, .. } => {
                &proof.block
            }
        }
    }

    /// Checks that the validators of this network have certified what it says.
    ///
    /// # Errors
    /// They have not: the error names the part.
    pub fn verify(self, spec: &ChainSpec) -> Result<Proved, ProofError> {
        let (found, expected) = (self.network, *spec.id());
        if found != expected {
            return Err(ProofError::OtherNetwork { found, expected });
        }
        let height = self.block().header.height;
        if let Some(later) = self.set_changes.iter().find(|change| in_force(change) > height) {
            return Err(ProofError::LaterSet(later.block.header.height));
        }
        let mut sets = spec.first_sets();
        self.set_changes.iter().try_for_each(|change| sets.follow(&expected, change.clone()))?;
        match &self.statement {
            Statement::Score { epoch, worker, row, proof } => {
                if row.is_some_and(|row| row.worker != *worker) {
                    return Err(ProofError::OtherRow("worker"));
                }
                proof.check(&expected, &sets, *epoch, worker, row.as_ref())?;
            }
            Statement::NoScores { epoch, proof } => proof.check::<ScoreRoots>(&expected, &sets, epoch, None)?,
            Statement::Owed { pool, account, row, proof } => {
                let id = |row: &Account| AccountId::derive(&expected, pool, row.kind, &row.node);
                if row.as_ref().is_some_and(|row| id(row) != *account) {
                    return Err(ProofError::OtherRow("account"));
                }
                proof.check::<Accounts>(&expected, &sets, &(*pool, *account), row.as_ref())?;
            }
            Statement::Account { node, row, proof } => proof.check::<Workers>(&expected, &sets, node, row.as_ref())?,
        }
        let set = sets.at(height).ok_or(RowProofError::NoSet(height))?;
        let certificate = &self.block().certificate;
        let power = certificate.signatures.iter().fold(0u64, |sum, (node, _)| sum.saturating_add(set.power(node)));
        let total_power = set.total();
        Ok(Proved { power, total_power, proof: self })
    }
}

/// The first height that the validators after a change decide.
const fn in_force(change: &SetChange) -> Height {
    change.block.header.height.plus(SET_DELAY)
}

impl Proved {
    /// What holds.
    pub const fn statement(&self) -> &Statement {
        &self.proof.statement
    }

    /// The proof.
    pub const fn proof(&self) -> &Proof {
        &self.proof
    }

    /// The header of the block after which it holds.
    pub const fn header(&self) -> &Header {
        &self.proof.block().header
    }

    /// The power of the validators that have signed, and of all.
    pub const fn power(&self) -> (u64, u64) {
        (self.power, self.total_power)
    }
}

#[cfg(test)]
mod tests;
