//! What validators have signed of the heights under way: two different messages for one step are evidence against their signer. Of
//! this validator's own, no second one leaves, and one that it did not make shows that its key is in use elsewhere.

use std::collections::BTreeMap;

use lucid_types::evidence::Evidence;
use lucid_types::id::ValidatorId;
use lucid_types::signed::{Signed, Verified};
use lucid_types::time::Height;
use lucid_types::vote::{Proposal, Vote, VoteKind};

/// Steps remembered of a validator. Of more, those of the lowest rounds: only these can decide soon.
const STEPS_OF_ONE: usize = 256;

/// A step of a round; `None` is the proposal.
type Step = (Height, u32, Option<VoteKind>);

#[derive(Debug)]
enum Said {
    Vote(Verified<Signed<Vote>>),
    Proposal(Verified<Signed<Proposal>>),
}

/// How a message compares with what its signer is known to have said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing of this step was known.
    New,
    /// It was known.
    Known,
    /// Something else was known.
    Contradiction(Box<Verified<Evidence>>),
}

/// The first message of each validator for each step.
#[derive(Debug, Default)]
pub(super) struct Witness {
    said: BTreeMap<ValidatorId, BTreeMap<Step, Said>>,
}

impl Witness {
    /// Notes a vote: with a key of this node's, if `is_own`.
    pub(super) fn vote(&mut self, vote: &Verified<Signed<Vote>>, is_own: bool) -> Heard {
        let Vote { height, round, kind, .. } = vote.record;
        let most = most(is_own);
        let of_signer = self.said.entry(vote.signer).or_default();
        match of_signer.get(&(height, round, Some(kind))) {
            Some(Said::Vote(known)) => match Evidence::of_votes(known, vote) {
                Some(evidence) => Heard::Contradiction(Box::new(evidence)),
                None => Heard::Known,
            },
            _ => remember(of_signer, most, (height, round, Some(kind)), Said::Vote(vote.clone())),
        }
    }

    /// Notes a proposal: with a key of this node's, if `is_own`.
    pub(super) fn proposal(&mut self, proposal: &Verified<Signed<Proposal>>, is_own: bool) -> Heard {
        let Proposal { height, round, .. } = proposal.record;
        let most = most(is_own);
        let of_signer = self.said.entry(proposal.signer).or_default();
        match of_signer.get(&(height, round, None)) {
            Some(Said::Proposal(known)) => match Evidence::of_proposals(known, proposal) {
                Some(evidence) => Heard::Contradiction(Box::new(evidence)),
                None => Heard::Known,
            },
            _ => remember(of_signer, most, (height, round, None), Said::Proposal(proposal.clone())),
        }
    }

    /// Evidence, if a vote contradicts what its signer is known to have said. Nothing is noted.
    pub(super) fn contradiction(&self, vote: &Verified<Signed<Vote>>) -> Option<Verified<Evidence>> {
        let Vote { height, round, kind, .. } = vote.record;
        match self.said.get(&vote.signer)?.get(&(height, round, Some(kind)))? {
            Said::Vote(known) => Evidence::of_votes(known, vote),
            Said::Proposal(_) => None,
        }
    }

    /// Forgets what was said of heights before this one.
    pub(super) fn prune(&mut self, oldest: Height) {
        self.said.retain(|_, of_signer| {
            of_signer.retain(|(height, ..), _| *height >= oldest);
            !of_signer.is_empty()
        });
    }
}

/// How many steps are remembered of a validator: of this one all, as others may send its messages again at any time.
const fn most(is_own: bool) -> usize {
    if is_own { usize::MAX } else { STEPS_OF_ONE }
}

fn remember(of_signer: &mut BTreeMap<Step, Said>, most: usize, step: Step, said: Said) -> Heard {
    of_signer.insert(step, said);
    if of_signer.len() > most {
        of_signer.pop_last();
    }
    Heard::New
}

#[cfg(test)]
#[expect(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::id::{BlockHash, NetworkId};
    use lucid_types::validator_key::ValidatorKey;

    use super::*;

    const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);

    fn vote(height: u64, round: u32, block: Option<u8>) -> Verified<Signed<Vote>> {
        let block = block.map(|byte| BlockHash::from_bytes([byte; 32]));
        let vote = Vote { kind: VoteKind::Prevote, height: Height::new(height), round, block };
        ValidatorKey::from_seed(&[1; 32]).sign_vote(&NETWORK, vote)
    }

    #[test]
    fn the_second_of_a_step_is_evidence_and_the_same_again_is_none() {
        let mut witness = Witness::default();
        assert_eq!(witness.vote(&vote(1, 0, None), false), Heard::New);
        assert_eq!(witness.vote(&vote(1, 0, None), false), Heard::Known);
        assert_eq!(witness.vote(&vote(1, 1, Some(2)), false), Heard::New);
        let Heard::Contradiction(evidence) = witness.vote(&vote(1, 0, Some(2)), false) else { panic!("no evidence") };
        evidence.check(&NETWORK).unwrap();
        witness.prune(Height::new(2));
        assert_eq!(witness.vote(&vote(1, 0, Some(2)), false), Heard::New, "forgotten");
    }

    #[test]
    fn far_rounds_take_no_room_from_near_ones() {
        let mut witness = Witness::default();
        for round in (1..1_000).rev() {
            witness.vote(&vote(1, round, None), false);
        }
        witness.vote(&vote(1, 0, None), false);
        assert_eq!(witness.said.values().map(BTreeMap::len).sum::<usize>(), STEPS_OF_ONE);
        assert!(matches!(witness.vote(&vote(1, 0, Some(1)), false), Heard::Contradiction(_)));
        assert!(matches!(witness.vote(&vote(1, 200, Some(1)), false), Heard::Contradiction(_)));
    }

    #[test]
    fn own_messages_are_never_forgotten() {
        let mut witness = Witness::default();
        for round in 0..1_000 {
            assert_eq!(witness.vote(&vote(1, round, None), true), Heard::New);
        }
        assert!((0..1_000).all(|round| witness.vote(&vote(1, round, None), true) == Heard::Known));
    }
}
