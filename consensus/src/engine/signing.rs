//! Checks the engine's signatures: the records of `lucid-types`, strictly, with ed25519-dalek.

use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};

use async_trait::async_trait;
use lucid_types::id::NetworkId;
use lucid_types::signed::Signature;
use malachitebft_core_types::{ValidatorProof, VoteExtensionScope};
use malachitebft_signing::{Error, VerificationResult, Verifier};

use crate::engine::context::{LucidContext, Proposal, PublicKey, Vote};
use crate::engine::convert::{signed_proposal, signed_vote};

/// Checks the engine's signatures for one network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetworkVerifier(pub(crate) NetworkId);

#[async_trait]
impl Verifier<LucidContext> for NetworkVerifier {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &Signature,
        key: &PublicKey,
    ) -> Result<VerificationResult, Error> {
        let record = signed_vote(vote, *signature);
        let valid = record.is_some_and(|record| record.signer == key.0 && record.check(&self.0).is_ok());
        Ok(VerificationResult::from_bool(valid))
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &Signature,
        key: &PublicKey,
    ) -> Result<VerificationResult, Error> {
        let record = signed_proposal(proposal, *signature);
        let valid = record.is_some_and(|record| record.signer == key.0 && record.check(&self.0).is_ok());
        Ok(VerificationResult::from_bool(valid))
    }

    async fn verify_signed_vote_extension(
        &self,
        _scope: &VoteExtensionScope<LucidContext>,
        _extension: &(),
        _signature: &Signature,
        _key: &PublicKey,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::Invalid)
    }

    async fn verify_validator_proof(&self, _proof: &ValidatorProof<LucidContext>) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::Invalid)
    }
}

/// The result of a future that never waits: [`Verifier`] is async, our checks are not.
pub(crate) fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
