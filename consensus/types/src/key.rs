//! A node's secret key, with one signing method for each purpose and none for plain bytes. What a validator signs it signs with another
//! key: [`crate::validator_key`].

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};

use crate::attestation::ResourceAttestation;
use crate::command::Command;
use crate::id::{NetworkId, NodeId, PublicKey};
use crate::payout::CosignRequest;
use crate::report::ProbeReply;
use crate::signed::{Signature, Signed, SignedRecord, Verified, signing_bytes};
use crate::ticket::Invite;
use crate::validation::ValidationResult;

/// The ed25519 secret of a node. Wiped from memory when dropped, never printed.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// The key of a 32-byte secret seed, which must come from the operating system's random source.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The secret seed, for the key file and the p2p identity.
    pub fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public key: the p2p identity, and the signer of what this key signs.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// The account whose first key this is. Only where an account is made: the current key of one may be another.
    pub fn account(&self) -> NodeId {
        NodeId::from_first_key(self.public_key())
    }

    fn sign<T: SignedRecord<Signer = PublicKey>>(&self, network: &NetworkId, record: T) -> Verified<Signed<T>> {
        let signature = self.0.sign(&signing_bytes(network, &record));
        let signature = Signature::from_bytes(signature.to_bytes());
        Verified::new(Signed { signer: self.public_key(), record, signature })
    }

    /// Signs what the worker says of its own machine.
    pub fn sign_attestation(
        &self,
        network: &NetworkId,
        record: ResourceAttestation,
    ) -> Verified<Signed<ResourceAttestation>> {
        self.sign(network, record)
    }

    /// Signs a worker's answer to a validator's probe.
    pub fn sign_probe_reply(&self, network: &NetworkId, record: ProbeReply) -> Verified<Signed<ProbeReply>> {
        self.sign(network, record)
    }

    /// Signs what a validator found when it was asked to ping a worker out of turn.
    pub fn sign_validation(&self, network: &NetworkId, record: ValidationResult) -> Verified<Signed<ValidationResult>> {
        self.sign(network, record)
    }

    /// Signs a command, for the account that gives it or as one of [`Command::cosigners`].
    pub fn sign_command(&self, network: &NetworkId, record: Command) -> Verified<Signed<Command>> {
        self.sign(network, record)
    }

    /// Signs an invite into a pool, for its owner.
    pub fn sign_invite(&self, network: &NetworkId, record: Invite) -> Verified<Signed<Invite>> {
        self.sign(network, record)
    }

    /// Signs a request for a treasury signature.
    pub fn sign_cosign(&self, network: &NetworkId, record: CosignRequest) -> Verified<Signed<CosignRequest>> {
        self.sign(network, record)
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.public_key().short())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::id::PoolId;
    use crate::time::Epoch;

    const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);

    fn reply() -> ProbeReply {
        ProbeReply { validator: NodeId::from_bytes([7; 32]), epoch: Epoch::new(3), nonce: [9; 32] }
    }

    #[test]
    fn a_signature_holds_for_its_signer_record_and_network_only() {
        let key = NodeKey::from_seed(&[5; 32]);
        let good = key.sign_probe_reply(&NETWORK, reply()).into_inner();
        good.check(&NETWORK).unwrap();

        assert!(good.check(&NetworkId::from_bytes([2; 32])).is_err());
        let other = NodeKey::from_seed(&[6; 32]).public_key();
        assert!(Signed { signer: other, ..good }.check(&NETWORK).is_err());
        assert!(Signed { record: ProbeReply { epoch: Epoch::new(4), ..reply() }, ..good }.check(&NETWORK).is_err());
        for i in 0..64 {
            let mut bytes = *good.signature.as_bytes();
            bytes[i] ^= 1;
            let bad = Signed { signature: Signature::from_bytes(bytes), ..good };
            assert!(bad.check(&NETWORK).is_err(), "byte {i}");
        }
    }

    #[test]
    fn a_signature_for_one_purpose_is_worthless_for_another() {
        let key = NodeKey::from_seed(&[5; 32]);
        let cosign = CosignRequest::Root { pool: PoolId::from_bytes([1; 32]), settlement: 1 };
        let signed = key.sign_cosign(&NETWORK, cosign).into_inner();
        let as_reply = Signed { signer: signed.signer, record: reply(), signature: signed.signature };
        assert!(as_reply.check(&NETWORK).is_err());
    }

    #[test]
    fn a_weak_key_signs_nothing() {
        // The all-zero encoding is a small-order point: with a lax check, one signature fits many messages.
        let weak = Signed {
            signer: PublicKey::from_bytes([0; 32]),
            record: reply(),
            signature: Signature::from_bytes([0; 64]),
        };
        assert!(weak.check(&NETWORK).is_err());
    }

    #[test]
    fn debug_hides_the_secret() {
        let key = NodeKey::from_seed(&[0x5a; 32]);
        assert!(!format!("{key:?}").contains("5a5a5a5a"));
    }
}
