//! Proofs of what the newest state says.

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::state::{EpochScores, Rows};
use lucid_consensus::ledger::table::ScoreRoots;
use lucid_storage::Store;
use lucid_types::time::{Epoch, Height, UnixMillis};

use crate::api::{ActionError, ViewError};
use crate::chain::head::Head;
use crate::chain::persist;
use crate::history::scores;
use crate::proof::{Proof, Subject};
use crate::view::{NodeParts, unread};

impl NodeParts {
    pub(super) fn prove(&self, subject: &Subject) -> Result<Result<Proof, ActionError>, ViewError> {
        let head = self.head.borrow().clone();
        prove(&self.spec, &self.store, &head, self.clock.now(), subject)
    }
}

/// The proof of what the newest state says of a subject, with all that it takes to check it from the genesis on; or why there is none.
pub(super) fn prove(
    spec: &ChainSpec,
    store: &Store,
    head: &Head,
    now: UnixMillis,
    subject: &Subject,
) -> Result<Result<Proof, ActionError>, ViewError> {
    let scores = |epoch| scores::of(store, epoch, now).map_err(|error| unread("the scores of epoch", epoch, error));
    let changes = persist::set_changes(store, Height::ZERO).collect::<Result<Vec<_>, _>>();
    let changes = changes.map_err(|error| unread("the changes of the validators", "", error))?;
    Ok(prove_with(spec, head, subject, scores)?.map(|proof| proof.with_set_changes(changes)))
}

/// The same with scores of epochs from elsewhere, as they are no part of the state.
fn prove_with<E>(
    spec: &ChainSpec,
    head: &Head,
    subject: &Subject,
    scores: impl FnOnce(Epoch) -> Result<Option<EpochScores>, E>,
) -> Result<Result<Proof, ActionError>, E> {
    let Some(block) = &head.block else {
        let problem = "no block is final here yet, and only a block's certificate proves anything: wait for the first";
        return Ok(Err(ActionError::Unavailable(problem.to_owned())));
    };
    let (network, after) = (*spec.id(), (&head.state, block.as_ref().clone()));
    Ok(match *subject {
        Subject::Score { epoch, worker } => {
            let found = if head.state.has::<ScoreRoots>(&epoch) { scores(epoch)? } else { None };
            Proof::of_score(network, after, (epoch, worker), found.as_ref()).ok_or_else(|| {
                if found.is_none() {
                    return ActionError::Unknown(format!(
                        "the state has the root of the scores of epoch {epoch}, but this node does not have the scores: it keeps them \
                         for a year, and has none from before a snapshot that it joined by. Ask another node"
                    ));
                }
                tracing::error!(%epoch, "the stored scores of an epoch have another root than the state says: see `lucid db check`");
                ActionError::Unavailable(format!(
                    "the scores of epoch {epoch} that this node has stored differ from the root in the state: its database is damaged, \
                     which `lucid db check` names and `lucid db repair` mends. Ask another node"
                ))
            })
        }
        Subject::Owed { pool, .. } if head.state.pool(&pool).is_none() => {
            Err(ActionError::Unknown(format!("there is no pool {pool}")))
        }
        Subject::Owed { pool, account } => Ok(Proof::of_owed(network, after, (pool, account))),
        Subject::Account { node } => Ok(Proof::of_account(network, after, node)),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use lucid_types::block::{Header, items_hash};
    use lucid_types::bls::BlsSignature;
    use lucid_types::certificate::Certificate;
    use lucid_types::id::{BlockHash, Hash, PoolId};
    use lucid_types::sync::CertifiedHeader;

    use super::*;
    use crate::payout::testing::{self, SIGNERS, WORKERS, node};

    const EPOCH: Epoch = Epoch::new(3);

    /// The network's only validator has signed a block after which there are scores of an epoch, of nobody.
    fn head(spec: &ChainSpec) -> Head {
        let scores = EpochScores { epoch: EPOCH, rows: Vec::new() };
        let state = testing::first(spec).changed(|rows| rows.put::<ScoreRoots>(&EPOCH, scores.root()));
        let header = Header {
            height: state.height().next(),
            parent: BlockHash::from_bytes([3; 32]),
            round: 0,
            proposer: testing::signing_key(SIGNERS[0]).id(),
            time: state.time(),
            randao: BlsSignature::from_bytes([6; 48]),
            items: items_hash(&[]),
            next_set: Hash::from_bytes([4; 32]),
            state_root: state.root(),
        };
        let mut certificate =
            Certificate { height: header.height, round: 0, block: header.hash(), signatures: Vec::new() };
        let vote = testing::signing_key(SIGNERS[0]).sign_vote(spec.id(), certificate.vote()).into_inner();
        certificate.signatures.push((vote.signer, vote.signature));
        Head { block: Some(Arc::new(CertifiedHeader { header, certificate })), ..testing::head(state) }
    }

    #[test]
    fn what_cannot_be_proved_says_why() {
        let spec = testing::network();
        let (worker, head) = (node(WORKERS[0]), head(&spec));
        let of = |epoch| Subject::Score { epoch, worker };
        let prove = |head: &Head, subject, scores: Option<EpochScores>| {
            prove_with(&spec, head, &subject, |_| Ok::<_, Infallible>(scores)).unwrap()
        };
        let refused = |head: &Head, subject, scores| prove(head, subject, scores).unwrap_err();

        let scores = EpochScores { epoch: EPOCH, rows: Vec::new() };
        prove(&head, of(EPOCH), Some(scores.clone())).unwrap().verify(&spec).unwrap();
        prove(&head, of(EPOCH.next()), None).unwrap().verify(&spec).unwrap();
        let ActionError::Unknown(told) = refused(&head, of(EPOCH), None) else { panic!("it is there") };
        assert!(told.contains("root of the scores of epoch 3") && told.contains("Ask another node"), "{told}");

        let others = EpochScores { epoch: EPOCH, rows: vec![scores::row(WORKERS[0])] };
        let ActionError::Unavailable(told) = refused(&head, of(EPOCH), Some(others)) else { panic!("they differ") };
        assert!(told.contains("differ from the root in the state") && told.contains("lucid db check"), "{told}");

        let account = testing::account_id(&spec);
        let (pool, other) = (testing::pool_id(&spec), PoolId::from_bytes([1; 32]));
        prove(&head, Subject::Owed { pool, account }, None).unwrap().verify(&spec).unwrap();
        let error = refused(&head, Subject::Owed { pool: other, account }, None);
        assert_eq!(error, ActionError::Unknown(format!("there is no pool {other}")));
        prove(&head, Subject::Account { node: worker }, None).unwrap().verify(&spec).unwrap();

        let first = Head { block: None, ..head };
        for subject in [of(EPOCH), Subject::Owed { pool, account }, Subject::Account { node: worker }] {
            assert!(
                matches!(refused(&first, subject, Some(scores.clone())), ActionError::Unavailable(_)),
                "{subject:?}"
            );
        }
    }
}
