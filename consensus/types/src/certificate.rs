//! Certificates: the proof that a block was decided, for anyone who knows the validator set.

use serde::{Deserialize, Serialize};

use crate::codec::Wire;
use crate::id::{BlockHash, NetworkId, ValidatorId};
use crate::signed::{Signature, Signed, Verified, is_signed, signing_bytes};
use crate::time::Height;
use crate::validator::ValidatorSet;
use crate::vote::{Vote, VoteKind};

/// Precommits of more than two thirds of a height's power for one block in one round.
///
/// Nodes hold different certificates for the same block; nothing may depend on who stands in one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The height.
    pub height: Height,
    /// The round that decided.
    pub round: u32,
    /// The block.
    pub block: BlockHash,
    /// The precommits by ascending validator id.
    pub signatures: Vec<(ValidatorId, Signature)>,
}

impl Wire for Certificate {
    /// 1,000 signatures of 96 bytes and the rest.
    const MAX_BYTES: usize = 100 << 10;
}

/// Why a certificate proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The signers are not in ascending order, or one stands twice.
    #[error("the signers are not in ascending order")]
    Order,
    /// A signer is no member of the height's set.
    #[error("{0} is no validator of this height")]
    NotAMember(ValidatorId),
    /// A signature is wrong.
    #[error("the signature of {0} is wrong")]
    Signature(ValidatorId),
    /// Not more than two thirds of the power signed.
    #[error("power {signed} of {total} is not more than two thirds")]
    NotEnoughPower {
        /// Power that signed.
        signed: u64,
        /// Power of the set.
        total: u64,
    },
}

impl Certificate {
    /// The vote that each signature must cover.
    pub const fn vote(&self) -> Vote {
        Vote { kind: VoteKind::Precommit, height: self.height, round: self.round, block: Some(self.block) }
    }

    /// Checks the certificate against the validator set of its height, cheapest first.
    ///
    /// # Errors
    /// When it does not prove that more than two thirds of `set` decided on the block.
    pub fn verify(self, network: &NetworkId, set: &ValidatorSet) -> Result<Verified<Self>, CertificateError> {
        if !self.signatures.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(CertificateError::Order);
        }
        let mut signed = 0u64;
        for (node, _) in &self.signatures {
            let member = set.get(node).ok_or(CertificateError::NotAMember(*node))?;
            signed = signed.saturating_add(member.power);
        }
        if !set.is_quorum(signed) {
            return Err(CertificateError::NotEnoughPower { signed, total: set.total() });
        }
        let bytes = signing_bytes(network, &self.vote());
        for (signer, signature) in &self.signatures {
            if !set.key(signer).is_some_and(|key| is_signed(key, &bytes, signature)) {
                return Err(CertificateError::Signature(*signer));
            }
        }
        Ok(Verified::new(self))
    }
}

impl Verified<Certificate> {
    /// The precommits that it is made of.
    pub fn votes(&self) -> impl Iterator<Item = Verified<Signed<Vote>>> {
        votes(self)
    }
}

/// The votes of a certificate whose signatures have been checked.
pub(crate) fn votes(certificate: &Certificate) -> impl Iterator<Item = Verified<Signed<Vote>>> {
    let record = certificate.vote();
    let vote = move |(signer, signature): &(ValidatorId, Signature)| {
        Verified::new(Signed { signer: *signer, record, signature: *signature })
    };
    certificate.signatures.iter().map(vote)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use crate::validator::Validator;
    use crate::validator_key::ValidatorKey;

    fn fixture() -> (NetworkId, ValidatorSet, Vec<ValidatorKey>, Certificate) {
        let network = NetworkId::from_bytes([9; 32]);
        let keys: Vec<_> = (1..=4).map(|i| ValidatorKey::from_seed(&[i; 32])).collect();
        let member = |(i, key): (u8, &ValidatorKey)| {
            let node = NodeId::from_bytes([i; 32]);
            Validator { node, power: 1, operator: node, keys: key.keys(&node) }
        };
        let members = (1..).zip(&keys).map(member);
        let set = ValidatorSet::new(members.collect()).unwrap();
        let mut certificate =
            Certificate { height: Height::new(5), round: 1, block: BlockHash::from_bytes([3; 32]), signatures: vec![] };
        for key in &keys {
            let vote = key.sign_vote(&network, certificate.vote()).into_inner();
            certificate.signatures.push((vote.signer, vote.signature));
        }
        certificate.signatures.sort();
        (network, set, keys, certificate)
    }

    #[test]
    fn three_of_four_prove_and_two_do_not() {
        let (network, set, _, mut certificate) = fixture();
        certificate.clone().verify(&network, &set).unwrap();
        certificate.signatures.pop();
        certificate.clone().verify(&network, &set).unwrap();
        certificate.signatures.pop();
        let error = certificate.verify(&network, &set).unwrap_err();
        assert_eq!(error, CertificateError::NotEnoughPower { signed: 2, total: 4 });
    }

    #[test]
    fn lies_are_refused() {
        let (network, set, keys, good) = fixture();
        let mut twice = good.clone();
        twice.signatures[1] = twice.signatures[0];
        assert_eq!(twice.verify(&network, &set).unwrap_err(), CertificateError::Order);

        let mut stranger = good.clone();
        let vote = ValidatorKey::from_seed(&[99; 32]).sign_vote(&network, good.vote()).into_inner();
        stranger.signatures.push((vote.signer, vote.signature));
        stranger.signatures.sort();
        assert_eq!(stranger.verify(&network, &set).unwrap_err(), CertificateError::NotAMember(vote.signer));

        let other_block = Certificate { block: BlockHash::from_bytes([4; 32]), ..good.clone() };
        assert!(matches!(other_block.verify(&network, &set), Err(CertificateError::Signature(_))));
        let other_height = Certificate { height: Height::new(6), ..good.clone() };
        assert!(other_height.verify(&network, &set).is_err());
        assert!(good.clone().verify(&NetworkId::from_bytes([8; 32]), &set).is_err());

        let prevote = Vote { kind: VoteKind::Prevote, ..good.vote() };
        let mut prevotes = good;
        prevotes.signatures =
            keys.iter().map(|k| k.sign_vote(&network, prevote).into_inner()).map(|v| (v.signer, v.signature)).collect();
        prevotes.signatures.sort();
        assert!(matches!(prevotes.verify(&network, &set), Err(CertificateError::Signature(_))));
    }
}
