//! The key with which a validator signs: of its own, apart from the node's, so that it changes without the account. What it signs has
//! one method for each purpose, and there is none for plain bytes.
//!
//! A key belongs to one account for ever. Its public part is announced with proofs that name the account, so nobody can take a key that
//! another account has announced.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};
use serde::{Deserialize, Serialize};

use crate::bls::{BlsError, BlsKey, BlsPublicKey, BlsSignature};
use crate::codec::Wire;
use crate::id::{NetworkId, NodeId, ValidatorId};
use crate::report::{ReportCommitment, Reveal};
use crate::signed::{Signature, SignatureError, Signed, SignedRecord, Verified, signing_bytes};
use crate::sync::{Presence, Rebroadcast};
use crate::vote::{Proposal, Vote, Wake};

/// The network for which keys are proved: none. A genesis lists validators before the network has an id.
const NO_NETWORK: NetworkId = NetworkId::from_bytes([0; 32]);

/// The secret of a validator: an ed25519 key, and the key for the random beacon that follows from its seed. Wiped from memory when
/// dropped, never printed.
#[derive(Clone)]
pub struct ValidatorKey(SigningKey);

impl ValidatorKey {
    /// The key of a 32-byte secret seed, which must come from the operating system's random source.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The secret seed, for the key file.
    pub fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public key.
    pub fn id(&self) -> ValidatorId {
        ValidatorId::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// The key with which this validator contributes to the random beacon.
    pub fn bls_key(&self) -> BlsKey {
        BlsKey::from_seed(self.seed())
    }

    /// The public keys, as an account announces them.
    pub fn keys(&self, account: &NodeId) -> ValidatorKeys {
        let (id, bls) = (self.id(), self.bls_key());
        let claim = KeyClaim { account: *account, bls_key: bls.public() };
        let proof = self.sign(&NO_NETWORK, claim).signature;
        ValidatorKeys { id, proof, bls_key: bls.public(), bls_proof: bls.prove(account, &id) }
    }

    fn sign<T: SignedRecord<Signer = ValidatorId>>(&self, network: &NetworkId, record: T) -> Verified<Signed<T>> {
        let signature = self.0.sign(&signing_bytes(network, &record));
        let signature = Signature::from_bytes(signature.to_bytes());
        Verified::new(Signed { signer: self.id(), record, signature })
    }

    /// Signs a commitment to a report of an epoch. Two different ones are a fault: persist before publishing.
    pub fn sign_report_commitment(
        &self,
        network: &NetworkId,
        record: ReportCommitment,
    ) -> Verified<Signed<ReportCommitment>> {
        self.sign(network, record)
    }

    /// Signs a revealed score report.
    pub fn sign_report(&self, network: &NetworkId, record: Reveal) -> Verified<Signed<Reveal>> {
        self.sign(network, record)
    }

    /// Signs a proposal of the BFT engine. Only after the engine's write-ahead log is durable may it leave the node.
    pub fn sign_proposal(&self, network: &NetworkId, record: Proposal) -> Verified<Signed<Proposal>> {
        self.sign(network, record)
    }

    /// Signs a vote of the BFT engine. Only after the engine's write-ahead log is durable may it leave the node.
    pub fn sign_vote(&self, network: &NetworkId, record: Vote) -> Verified<Signed<Vote>> {
        self.sign(network, record)
    }

    /// Signs that the next height is to be started.
    pub fn sign_wake(&self, network: &NetworkId, record: Wake) -> Verified<Signed<Wake>> {
        self.sign(network, record)
    }

    /// Signs which running instance of this validator speaks.
    pub fn sign_presence(&self, network: &NetworkId, record: Presence) -> Verified<Signed<Presence>> {
        self.sign(network, record)
    }

    /// Signs the envelope of a rebroadcast of the BFT engine.
    pub fn sign_rebroadcast(&self, network: &NetworkId, record: Rebroadcast) -> Verified<Signed<Rebroadcast>> {
        self.sign(network, record)
    }
}

impl fmt::Debug for ValidatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ValidatorKey({})", self.id().short())
    }
}

/// A validator's public keys, with the proofs that whoever announces them for an account holds the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidatorKeys {
    /// With what it signs.
    pub id: ValidatorId,
    /// ed25519 by `id`, under the tag `lucid/validator-key/1` and the network id of zeros, over the account and `bls_key`.
    pub proof: Signature,
    /// With what it contributes to the random beacon.
    pub bls_key: BlsPublicKey,
    /// By `bls_key`, over `bls_key`, the account and `id`.
    pub bls_proof: BlsSignature,
}

impl ValidatorKeys {
    /// The length of its encoding.
    pub const BYTES: usize = 32 + 64 + 96 + 48;

    /// Checks that these are keys, and that whoever announces them for this account holds the secret. The cheaper proof comes first.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, account: &NodeId) -> Result<(), ValidatorKeyError> {
        let record = KeyClaim { account: *account, bls_key: self.bls_key };
        Signed { signer: self.id, record, signature: self.proof }.check(&NO_NETWORK)?;
        Ok(self.bls_key.check_proof(account, &self.id, &self.bls_proof)?)
    }
}

/// Why a validator's keys are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidatorKeyError {
    /// The proof is not that of the key for the account.
    #[error("the proof of the key is wrong: it must be made for this account, with this BLS key")]
    Proof(#[from] SignatureError),
    /// The key for the random beacon, or its proof.
    #[error(transparent)]
    Bls(#[from] BlsError),
}

/// What [`ValidatorKeys::proof`] covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyClaim {
    /// Whose the key is.
    pub account: NodeId,
    /// The key for the random beacon that goes with it.
    pub bls_key: BlsPublicKey,
}

impl Wire for KeyClaim {
    const MAX_BYTES: usize = 32 + 96;
}

impl SignedRecord for KeyClaim {
    type Signer = ValidatorId;
    const TAG: &'static str = "lucid/validator-key/1";
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::id::BlockHash;
    use crate::time::Height;
    use crate::vote::VoteKind;

    const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);
    const ACCOUNT: NodeId = NodeId::from_bytes([7; 32]);

    fn key(seed: u8) -> ValidatorKey {
        ValidatorKey::from_seed(&[seed; 32])
    }

    fn vote() -> Vote {
        Vote {
            kind: VoteKind::Precommit,
            height: Height::new(3),
            round: 0,
            block: Some(BlockHash::from_bytes([7; 32])),
        }
    }

    #[test]
    fn a_vote_holds_for_its_signer_record_and_network_only() {
        let good = key(5).sign_vote(&NETWORK, vote()).into_inner();
        good.check(&NETWORK).unwrap();
        assert!(good.check(&NetworkId::from_bytes([2; 32])).is_err());
        assert!(Signed { signer: key(6).id(), ..good }.check(&NETWORK).is_err());
        assert!(Signed { record: Vote { round: 1, ..vote() }, ..good }.check(&NETWORK).is_err());
        let wake = key(5).sign_wake(&NETWORK, Wake { height: Height::new(3) }).into_inner();
        assert!(Signed { signature: wake.signature, ..good }.check(&NETWORK).is_err(), "of another purpose");
    }

    #[test]
    fn keys_are_an_accounts_who_holds_both_secrets() {
        let good = key(1).keys(&ACCOUNT);
        good.check(&ACCOUNT).unwrap();
        assert!(matches!(good.check(&NodeId::from_bytes([8; 32])), Err(ValidatorKeyError::Proof(_))));
        // Each part is bound to the other: nobody announces another's BLS key beside a key of its own.
        let other = key(2).keys(&ACCOUNT);
        let (bls_key, bls_proof) = (other.bls_key, other.bls_proof);
        assert!(matches!(ValidatorKeys { bls_key, ..good }.check(&ACCOUNT), Err(ValidatorKeyError::Proof(_))));
        let claim = KeyClaim { account: ACCOUNT, bls_key };
        let proof = key(1).sign(&NO_NETWORK, claim).signature;
        let borrowed = ValidatorKeys { proof, bls_key, bls_proof, ..good };
        assert_eq!(borrowed.check(&ACCOUNT), Err(ValidatorKeyError::Bls(BlsError::Signature)));
        let unproved = ValidatorKeys { bls_proof, ..good };
        assert_eq!(unproved.check(&ACCOUNT), Err(ValidatorKeyError::Bls(BlsError::Signature)));
    }

    #[test]
    fn debug_hides_the_secret() {
        assert!(!format!("{:?}", key(0x5a)).contains("5a5a5a5a"));
    }
}
