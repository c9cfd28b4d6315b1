//! Evidence of equivocation: two different messages that a validator has signed for one step of a round. Anybody who knows the
//! height's validator set can check it.

use serde::{Deserialize, Serialize};

use crate::codec::Wire;
use crate::id::{NetworkId, ValidatorId};
use crate::signed::{SignatureError, Signed, SignedRecord, Verified};
use crate::time::Height;
use crate::vote::{Proposal, Vote};

/// Two signed messages that no honest validator signs both. The lesser record comes first, so that a pair has one form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// Votes of one kind in one round.
    Votes([Signed<Vote>; 2]),
    /// Proposals of one round.
    Proposals([Signed<Proposal>; 2]),
}

impl Wire for Evidence {
    const MAX_BYTES: usize = 4 + 2 * max(Signed::<Vote>::MAX_BYTES, Signed::<Proposal>::MAX_BYTES);
}

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// Why two messages prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// They are of different signers, heights, rounds or steps.
    #[error("the messages are not of one validator for one step")]
    OtherStep,
    /// They say the same, or stand in the wrong order.
    #[error("the messages are the same, or in the wrong order")]
    Order,
    /// A signature is wrong.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl Evidence {
    /// Evidence of two votes, if they contradict each other.
    pub fn of_votes(first: &Verified<Signed<Vote>>, second: &Verified<Signed<Vote>>) -> Option<Verified<Self>> {
        Self::of(ordered(first, second).map(Self::Votes))
    }

    /// Evidence of two proposals, if they contradict each other.
    pub fn of_proposals(
        first: &Verified<Signed<Proposal>>,
        second: &Verified<Signed<Proposal>>,
    ) -> Option<Verified<Self>> {
        Self::of(ordered(first, second).map(Self::Proposals))
    }

    fn of(pair: Option<Self>) -> Option<Verified<Self>> {
        pair.filter(|evidence| evidence.is_contradiction().is_ok()).map(Verified::new)
    }

    /// Who has signed both.
    pub const fn validator(&self) -> ValidatorId {
        match self {
            Self::Votes([first, _]) => first.signer,
            Self::Proposals([first, _]) => first.signer,
        }
    }

    /// The height that they are about.
    pub const fn height(&self) -> Height {
        match self {
            Self::Votes([first, _]) => first.record.height,
            Self::Proposals([first, _]) => first.record.height,
        }
    }

    /// The round that they are about.
    pub const fn round(&self) -> u32 {
        match self {
            Self::Votes([first, _]) => first.record.round,
            Self::Proposals([first, _]) => first.record.round,
        }
    }

    /// Checks that the messages contradict each other, and then their signatures. Whether the signer was a validator of the height is
    /// for the ledger to say.
    ///
    /// # Errors
    /// Why they prove nothing.
    pub fn check(&self, network: &NetworkId) -> Result<(), EvidenceError> {
        self.is_contradiction()?;
        match self {
            Self::Votes(votes) => votes.iter().try_for_each(|vote| vote.check(network))?,
            Self::Proposals(proposals) => proposals.iter().try_for_each(|proposal| proposal.check(network))?,
        }
        Ok(())
    }

    /// [`Self::check`], keeping the result in the type.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn verify(self, network: &NetworkId) -> Result<Verified<Self>, EvidenceError> {
        self.check(network)?;
        Ok(Verified::new(self))
    }

    fn is_contradiction(&self) -> Result<(), EvidenceError> {
        let (is_one_step, in_order) = match self {
            Self::Votes([first, second]) => {
                let step = |vote: &Signed<Vote>| (vote.signer, vote.record.height, vote.record.round, vote.record.kind);
                (step(first) == step(second), first.record < second.record)
            }
            Self::Proposals([first, second]) => {
                let step = |it: &Signed<Proposal>| (it.signer, it.record.height, it.record.round);
                (step(first) == step(second), first.record < second.record)
            }
        };
        match (is_one_step, in_order) {
            (false, _) => Err(EvidenceError::OtherStep),
            (_, false) => Err(EvidenceError::Order),
            _ => Ok(()),
        }
    }
}

fn ordered<T: SignedRecord + Clone + Ord>(first: &Signed<T>, second: &Signed<T>) -> Option<[Signed<T>; 2]> {
    match first.record.cmp(&second.record) {
        std::cmp::Ordering::Less => Some([first.clone(), second.clone()]),
        std::cmp::Ordering::Greater => Some([second.clone(), first.clone()]),
        std::cmp::Ordering::Equal => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::id::BlockHash;
    use crate::validator_key::ValidatorKey;
    use crate::vote::VoteKind;

    const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);

    fn vote(seed: u8, kind: VoteKind, round: u32, block: Option<u8>) -> Verified<Signed<Vote>> {
        let block = block.map(|byte| BlockHash::from_bytes([byte; 32]));
        let vote = Vote { kind, height: Height::new(7), round, block };
        ValidatorKey::from_seed(&[seed; 32]).sign_vote(&NETWORK, vote)
    }

    fn proposal(block: u8, pol_round: Option<u32>) -> Verified<Signed<Proposal>> {
        let block = BlockHash::from_bytes([block; 32]);
        let proposal = Proposal { height: Height::new(7), round: 2, block, pol_round };
        ValidatorKey::from_seed(&[1; 32]).sign_proposal(&NETWORK, proposal)
    }

    #[test]
    fn two_votes_of_a_step_prove_equivocation_in_one_form() {
        use VoteKind::{Precommit, Prevote};
        let (nil, block) = (vote(1, Prevote, 0, None), vote(1, Prevote, 0, Some(3)));
        let evidence = Evidence::of_votes(&block, &nil).unwrap();
        assert_eq!(Evidence::of_votes(&nil, &block).unwrap(), evidence);
        evidence.check(&NETWORK).unwrap();
        assert_eq!((evidence.validator(), evidence.height(), evidence.round()), (nil.signer, Height::new(7), 0));
        for other in [vote(2, Prevote, 0, None), vote(1, Precommit, 0, None), vote(1, Prevote, 1, None), block.clone()]
        {
            assert_eq!(Evidence::of_votes(&block, &other), None);
        }
        let (nil, block) = (nil.into_inner(), block.into_inner());
        assert_eq!(Evidence::Votes([block.clone(), nil]).check(&NETWORK), Err(EvidenceError::Order));
        assert_eq!(Evidence::Votes([block.clone(), block]).check(&NETWORK), Err(EvidenceError::Order));
    }

    #[test]
    fn two_proposals_of_a_round_prove_equivocation() {
        for other in [proposal(4, None), proposal(3, Some(1))] {
            let evidence = Evidence::of_proposals(&proposal(3, None), &other).unwrap().into_inner();
            evidence.verify(&NETWORK).unwrap();
        }
        assert_eq!(Evidence::of_proposals(&proposal(3, None), &proposal(3, None)), None);
    }

    #[test]
    fn a_message_that_its_validator_has_not_signed_proves_nothing() {
        let (honest, mut forged) = (proposal(3, None), proposal(4, None).into_inner());
        let evidence = Evidence::of_proposals(&honest, &proposal(4, None)).unwrap();
        evidence.check(&NETWORK).unwrap();
        forged.signature = honest.signature;
        let pair = [honest.into_inner(), forged];
        assert!(matches!(Evidence::Proposals(pair).check(&NETWORK), Err(EvidenceError::Signature(_))));
        assert!(evidence.check(&NetworkId::from_bytes([2; 32])).is_err(), "another network's");
    }
}
