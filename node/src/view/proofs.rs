//! Proofs of what the newest state says.

use lucid_consensus::ledger::state::Rows;
use lucid_consensus::ledger::table::ScoreRoots;

use crate::api::{ActionError, ViewError};
use crate::history::scores;
use crate::proof::{Proof, Subject};
use crate::view::{NodeParts, unread};

impl NodeParts {
    pub(super) fn prove(&self, subject: &Subject) -> Result<Result<Proof, ActionError>, ViewError> {
        let head = self.head.borrow().clone();
        let Some(block) = head.block else {
            let problem =
                "no block is final here yet, and only a block's certificate proves anything: wait for the first"
                    .to_owned();
            return Ok(Err(ActionError::Unavailable(problem)));
        };
        let (network, after) = (*self.spec.id(), (&head.state, block.as_ref().clone()));
        Ok(match *subject {
            Subject::Score { epoch, worker } => {
                let has_scores = head.state.has::<ScoreRoots>(&epoch);
                let found = if has_scores { scores::of(&self.store, epoch, self.clock.now()) } else { Ok(None) };
                let found = found.map_err(|e| unread("the scores of epoch", epoch, e))?;
                let missing = || {
                    ActionError::Unknown(format!(
                        "the state has the root of the scores of epoch {epoch}, but this node does not have the scores: it keeps them \
                         for a year, and has none from before a snapshot that it joined by. Ask another node"
                    ))
                };
                Proof::of_score(network, after, (epoch, worker), found.as_ref()).ok_or_else(missing)
            }
            Subject::Owed { pool, .. } if self.spec.pool(&pool).is_none() => {
                Err(ActionError::Unknown(format!("there is no pool {pool}")))
            }
            Subject::Owed { pool, account } => Ok(Proof::of_owed(network, after, (pool, account))),
            Subject::Account { node } => Ok(Proof::of_account(network, after, node)),
        })
    }
}
