//! A node's secret key, with one signing method for each purpose and none for plain bytes.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};

use crate::attestation::ResourceAttestation;
use crate::bls::BlsKey;
use crate::command::Command;
use crate::id::{NetworkId, NodeId};
use crate::payout::CosignRequest;
use crate::report::{ProbeReply, ReportCommitment, Reveal};
use crate::signed::{Signature, Signed, SignedRecord, Verified, signing_bytes};
use crate::sync::{Presence, Rebroadcast};
use crate::ticket::Invite;
use crate::validator::Validator;
use crate::vote::{Proposal, Vote, Wake};

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

    /// The public identity.
    pub fn node_id(&self) -> NodeId {
        NodeId::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// The key with which this node contributes to the random beacon as a validator.
    pub fn bls_key(&self) -> BlsKey {
        BlsKey::from_seed(self.seed())
    }

    /// This node as a validator.
    pub fn validator(&self, power: u64, operator: NodeId) -> Validator {
        Validator::new(self.node_id(), power, operator, &self.bls_key())
    }

    fn sign<T: SignedRecord<Signer = NodeId>>(&self, network: &NetworkId, record: T) -> Verified<Signed<T>> {
        let signature = self.0.sign(&signing_bytes(network, &record));
        let signature = Signature::from_bytes(signature.to_bytes());
        Verified::new(Signed { signer: self.node_id(), record, signature })
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

    /// Signs a validator's commitment to its report of an epoch. Two different ones are a fault: persist before publishing.
    pub fn sign_report_commitment(
        &self,
        network: &NetworkId,
        record: ReportCommitment,
    ) -> Verified<Signed<ReportCommitment>> {
        self.sign(network, record)
    }

    /// Signs a validator's revealed score report.
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

    /// Signs a command, as the account that gives it or as one of [`Command::cosigners`].
    pub fn sign_command(&self, network: &NetworkId, record: Command) -> Verified<Signed<Command>> {
        self.sign(network, record)
    }

    /// Signs an invite into a pool, as its owner.
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
        write!(f, "NodeKey({})", self.node_id().short())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::id::BlockHash;
    use crate::time::Height;
    use crate::vote::VoteKind;

    fn vote() -> Vote {
        Vote {
            kind: VoteKind::Precommit,
            height: Height::new(3),
            round: 0,
            block: Some(BlockHash::from_bytes([7; 32])),
        }
    }

    #[test]
    fn a_signature_holds_for_its_signer_record_and_network_only() {
        let network = NetworkId::from_bytes([1; 32]);
        let key = NodeKey::from_seed(&[5; 32]);
        let good = key.sign_vote(&network, vote()).into_inner();
        good.check(&network).unwrap();

        assert!(good.check(&NetworkId::from_bytes([2; 32])).is_err());
        let other = NodeKey::from_seed(&[6; 32]).node_id();
        assert!(Signed { signer: other, ..good }.check(&network).is_err());
        assert!(Signed { record: Vote { round: 1, ..vote() }, ..good }.check(&network).is_err());
        for i in 0..64 {
            let mut bytes = *good.signature.as_bytes();
            bytes[i] ^= 1;
            let bad = Signed { signature: Signature::from_bytes(bytes), ..good };
            assert!(bad.check(&network).is_err(), "byte {i}");
        }
    }

    #[test]
    fn a_signature_for_one_purpose_is_worthless_for_another() {
        let network = NetworkId::from_bytes([1; 32]);
        let key = NodeKey::from_seed(&[5; 32]);
        let cosign = CosignRequest::Root { pool: crate::id::PoolId::from_bytes([1; 32]), settlement: 1 };
        let signed = key.sign_cosign(&network, cosign).into_inner();
        let as_vote = Signed { signer: signed.signer, record: vote(), signature: signed.signature };
        assert!(as_vote.check(&network).is_err());
    }

    #[test]
    fn a_weak_key_signs_nothing() {
        // The all-zero encoding is a small-order point: with a lax check, one signature fits many messages.
        let weak =
            Signed { signer: NodeId::from_bytes([0; 32]), record: vote(), signature: Signature::from_bytes([0; 64]) };
        assert!(weak.check(&NetworkId::from_bytes([1; 32])).is_err());
    }

    #[test]
    fn debug_hides_the_secret() {
        let key = NodeKey::from_seed(&[0x5a; 32]);
        assert!(!format!("{key:?}").contains("5a5a5a5a"));
    }
}
