//! The engine's signing scheme: the records of `lucid-types`, checked strictly with ed25519-dalek.

use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};

use async_trait::async_trait;
use lucid_types::id::{NetworkId, NodeId};
use lucid_types::signed::Signature;
use malachitebft_core_types::{SigningScheme, ValidatorProof, VoteExtensionScope};
use malachitebft_signing::{Error, VerificationResult, Verifier};

use crate::engine::context::{LucidContext, Proposal, Vote};
use crate::engine::convert::{signed_proposal, signed_vote};

/// ed25519 as [`lucid_types::signed`] uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ed25519;

/// A node id is its public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey(pub(crate) NodeId);

/// The engine never holds a secret: signing goes through [`lucid_types::key::NodeKey`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoPrivateKey;

impl SigningScheme for Ed25519 {
    type DecodingError = &'static str;
    type Signature = Signature;
    type PublicKey = PublicKey;
    type PrivateKey = NoPrivateKey;

    fn decode_signature(bytes: &[u8]) -> Result<Signature, &'static str> {
        bytes.try_into().map(Signature::from_bytes).map_err(|_| "a signature has 64 bytes")
    }

    fn encode_signature(signature: &Signature) -> Vec<u8> {
        signature.as_bytes().to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<PublicKey, &'static str> {
        bytes.try_into().map(|key| PublicKey(NodeId::from_bytes(key))).map_err(|_| "a key has 32 bytes")
    }

    fn encode_public_key(key: &PublicKey) -> Vec<u8> {
        key.0.as_bytes().to_vec()
    }
}

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
