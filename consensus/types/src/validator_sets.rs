//! Validator sets over a chain: which is in force from which height on, and how to come from one to the next.
//!
//! A header commits to the set of two heights later ([`Header::next_set`](crate::block::Header::next_set)), and the validators of its own
//! height certify it. So whoever knows a set comes to every later one by the headers of the blocks that change it: one for each
//! change, however long the chain is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::codec::Wire;
use crate::id::NetworkId;
use crate::sync::{CertifiedHeader, DecidedError};
use crate::time::Height;
use crate::validator::ValidatorSet;

/// Blocks from the one that changes the validators to the first one that the new ones decide.
pub const SET_DELAY: u64 = 2;

/// A block after which other validators are in force: from two heights above it on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetChange {
    /// The header of the block, which names the set by its hash.
    pub block: CertifiedHeader,
    /// The set.
    pub set: ValidatorSet,
}

impl Wire for SetChange {
    const MAX_BYTES: usize = CertifiedHeader::MAX_BYTES + ValidatorSet::MAX_BYTES;
}

/// Why a change of validators does not follow from what is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetChangeError {
    /// It is not after the newest change that is known.
    #[error("the change of validators by block {0} is not after the one before")]
    Order(Height),
    /// The block names another set, or the one that is in force.
    #[error("block {0} does not change the validators to these")]
    OtherSet(Height),
    /// The block was not decided by the validators of its height.
    #[error("block {height}, which changes the validators, is not certified by those of its height")]
    Block {
        /// Its height.
        height: Height,
        /// Why not.
        source: DecidedError,
    },
}

/// The validator sets of a chain, from some height on, as far as they are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorSets {
    /// By the height from which each is in force. Never empty.
    sets: Vec<(Height, Arc<ValidatorSet>)>,
}

impl ValidatorSets {
    /// A set and the height from which it is in force.
    pub fn new(from: Height, set: Arc<ValidatorSet>) -> Self {
        Self { sets: vec![(from, set)] }
    }

    /// The validators of a height, if no change follows that is not known here; `None` of a height before all that is known.
    pub fn at(&self, height: Height) -> Option<&Arc<ValidatorSet>> {
        self.sets.iter().rev().find(|(from, _)| *from <= height).map(|(_, set)| set)
    }

    /// The oldest, and the height from which it is in force.
    pub fn oldest(&self) -> (Height, &Arc<ValidatorSet>) {
        let (from, set) = &self.sets[0];
        (*from, set)
    }

    /// The newest, and the height from which it is in force.
    pub fn newest(&self) -> (Height, &Arc<ValidatorSet>) {
        let (from, set) = &self.sets[self.sets.len() - 1];
        (*from, set)
    }

    /// Adds the set that is in force from this height on, unless one of a height as high is known.
    pub fn push(&mut self, from: Height, set: Arc<ValidatorSet>) {
        if self.newest().0 < from {
            self.sets.push((from, set));
        }
    }

    /// Adds the set that a block changes to, which the validators of its height have certified.
    ///
    /// # Errors
    /// The change does not follow.
    pub fn follow(&mut self, network: &NetworkId, change: SetChange) -> Result<(), SetChangeError> {
        let SetChange { block, set } = change;
        let height = block.header.height;
        let (newest_from, newest) = self.newest();
        let from = height.plus(SET_DELAY);
        if from <= newest_from {
            return Err(SetChangeError::Order(height));
        }
        if set.hash() != block.header.next_set || set.hash() == newest.hash() {
            return Err(SetChangeError::OtherSet(height));
        }
        let of_height = self.at(height).ok_or(SetChangeError::Order(height))?;
        block.verify(network, of_height).map_err(|source| SetChangeError::Block { height, source })?;
        self.push(from, Arc::new(set));
        Ok(())
    }

    /// All, by the heights from which they are in force.
    pub fn iter(&self) -> impl Iterator<Item = (Height, &Arc<ValidatorSet>)> {
        self.sets.iter().map(|(from, set)| (*from, set))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::block::{Header, items_hash};
    use crate::bls::BlsSignature;
    use crate::certificate::{Certificate, CertificateError};
    use crate::id::{BlockHash, NodeId, StateRoot, ValidatorId};
    use crate::time::UnixMillis;
    use crate::validator::Validator;
    use crate::validator_key::ValidatorKey;

    const NETWORK: NetworkId = NetworkId::from_bytes([9; 32]);

    fn keys(of: std::ops::Range<u8>) -> Vec<ValidatorKey> {
        of.map(|i| ValidatorKey::from_seed(&[i; 32])).collect()
    }

    fn set(of: std::ops::Range<u8>) -> ValidatorSet {
        let member = |i| {
            let node = NodeId::from_bytes([i; 32]);
            Validator { node, power: 1, operator: node, keys: ValidatorKey::from_seed(&[i; 32]).keys(&node) }
        };
        ValidatorSet::new(of.map(member).collect()).unwrap()
    }

    /// A change by the block of this height, certified by these.
    fn change(height: u64, to: &ValidatorSet, by: std::ops::Range<u8>) -> SetChange {
        let header = Header {
            height: Height::new(height),
            parent: BlockHash::from_bytes([1; 32]),
            round: 0,
            proposer: ValidatorId::from_bytes([2; 32]),
            time: UnixMillis::new(3),
            randao: BlsSignature::from_bytes([4; 48]),
            items: items_hash(&[]),
            next_set: to.hash(),
            state_root: StateRoot::from_bytes([5; 32]),
        };
        let mut certificate = Certificate { height: header.height, round: 0, block: header.hash(), signatures: vec![] };
        let sign = |key: &ValidatorKey| {
            let vote = key.sign_vote(&NETWORK, certificate.vote()).into_inner();
            (vote.signer, vote.signature)
        };
        let mut signatures: Vec<_> = keys(by).iter().map(sign).collect();
        signatures.sort_unstable();
        certificate.signatures = signatures;
        SetChange { block: CertifiedHeader { header, certificate }, set: to.clone() }
    }

    fn first() -> ValidatorSets {
        ValidatorSets::new(Height::ZERO, Arc::new(set(1..5)))
    }

    fn at(sets: &ValidatorSets, height: u64) -> &ValidatorSet {
        sets.at(Height::new(height)).unwrap()
    }

    #[test]
    fn each_change_is_certified_by_the_validators_of_its_height() {
        let mut sets = first();
        let (second, third) = (set(3..7), set(9..13));
        sets.follow(&NETWORK, change(10, &second, 1..5)).unwrap();
        // The next block is decided by the first ones still, and the one after by the second.
        sets.follow(&NETWORK, change(11, &third, 1..5)).unwrap();
        assert_eq!((at(&sets, 11), at(&sets, 12), at(&sets, 13)), (&set(1..5), &second, &third));
        let back = sets.follow(&NETWORK, change(12, &set(1..5), 3..7));
        assert_eq!(back, Ok(()), "the second ones decide one block");
        assert_eq!(at(&sets, u64::MAX), &set(1..5));
        let heights: Vec<_> = sets.iter().map(|(from, _)| from.get()).collect();
        assert_eq!(heights, [0, 12, 13, 14]);
    }

    #[test]
    fn what_does_not_follow_changes_nothing() {
        let second = set(3..7);
        let mut sets = first();
        sets.follow(&NETWORK, change(10, &second, 1..5)).unwrap();
        let before = sets.clone();
        let third = set(9..13);
        let mut other_set = change(20, &third, 3..7);
        other_set.set = set(9..14);
        let mut other_block = change(20, &third, 3..7);
        other_block.block.header.round = 1;
        let foreign = NetworkId::from_bytes([8; 32]);
        for (name, network, change) in [
            ("the old validators", NETWORK, change(20, &third, 1..5)),
            ("the new ones", NETWORK, change(20, &third, 9..13)),
            ("too few", NETWORK, change(20, &third, 3..5)),
            ("before the newest", NETWORK, change(9, &third, 1..5)),
            ("the newest again", NETWORK, change(10, &third, 1..5)),
            ("no change", NETWORK, change(20, &second, 3..7)),
            ("another set than the header's", NETWORK, other_set),
            ("another header than the certificate's", NETWORK, other_block),
            ("another network", foreign, change(20, &third, 3..7)),
        ] {
            assert!(sets.follow(&network, change).is_err(), "{name}");
            assert_eq!(sets, before, "{name}");
        }
        let few = sets.follow(&NETWORK, change(20, &third, 3..5)).unwrap_err();
        let source = DecidedError::Certificate(CertificateError::NotEnoughPower { signed: 2, total: 4 });
        assert_eq!(few, SetChangeError::Block { height: Height::new(20), source });
        sets.follow(&NETWORK, change(20, &third, 3..7)).unwrap();
    }

    #[test]
    fn what_is_before_all_that_is_known_has_no_answer() {
        let sets = ValidatorSets::new(Height::new(7), Arc::new(set(1..5)));
        assert_eq!((sets.at(Height::new(6)), sets.at(Height::new(7)).is_some()), (None, true));
        let mut sets = sets;
        assert_eq!(sets.follow(&NETWORK, change(5, &set(2..6), 1..5)), Err(SetChangeError::Order(Height::new(5))));
    }
}
