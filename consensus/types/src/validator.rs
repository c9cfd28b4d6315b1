//! Validator sets: who votes on a height, with what power.

use serde::{Deserialize, Serialize};

use crate::codec::encode;
use crate::id::{Hash, NodeId};
use crate::time::Height;

/// A validator and its voting power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validator {
    /// Its key.
    pub node: NodeId,
    /// Its voting power, at least 1.
    pub power: u64,
    /// Who runs it: validators do not measure their own operator's workers.
    pub operator: NodeId,
}

/// Why a list of validators is not a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidatorSetError {
    /// Nobody could decide.
    #[error("there is no validator")]
    Empty,
    /// A key stands twice.
    #[error("validator {0} is listed twice")]
    Duplicate(NodeId),
    /// A validator without power.
    #[error("validator {0} has no power")]
    NoPower(NodeId),
    /// A certificate must have room for all.
    #[error("there are {0} validators, at most 1000 are possible")]
    TooMany(usize),
    /// Powers must stay far from overflow.
    #[error("the total power exceeds 2^60")]
    TooMuchPower,
}

/// The validators of a height: 1 to 1,000, sorted by id, each once, with a total power of at most 2^60.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorSet {
    members: Vec<Validator>,
    total: u64,
}

impl ValidatorSet {
    /// The most validators whose signatures fit a certificate.
    pub const MAX_MEMBERS: usize = 1_000;

    /// The set of these validators, in any order.
    ///
    /// # Errors
    /// When the list is empty or too long, names a validator twice, or a power is 0 or too great.
    pub fn new(mut members: Vec<Validator>) -> Result<Self, ValidatorSetError> {
        members.sort_by_key(|v| v.node);
        if members.is_empty() {
            return Err(ValidatorSetError::Empty);
        }
        if members.len() > Self::MAX_MEMBERS {
            return Err(ValidatorSetError::TooMany(members.len()));
        }
        if let Some(pair) = members.windows(2).find(|pair| pair[0].node == pair[1].node) {
            return Err(ValidatorSetError::Duplicate(pair[0].node));
        }
        if let Some(v) = members.iter().find(|v| v.power == 0) {
            return Err(ValidatorSetError::NoPower(v.node));
        }
        let total = members.iter().try_fold(0u64, |sum, v| sum.checked_add(v.power)).filter(|total| *total <= 1 << 60);
        let total = total.ok_or(ValidatorSetError::TooMuchPower)?;
        Ok(Self { members, total })
    }

    /// The members by ascending id.
    pub fn members(&self) -> &[Validator] {
        &self.members
    }

    /// The member with this id.
    pub fn get(&self, node: &NodeId) -> Option<&Validator> {
        self.members.binary_search_by_key(node, |v| v.node).ok().map(|i| &self.members[i])
    }

    /// The voting power of a node; 0 for one that is no member.
    pub fn power(&self, node: &NodeId) -> u64 {
        self.get(node).map_or(0, |v| v.power)
    }

    /// The sum of all powers.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Whether `power` is more than two thirds of the total.
    pub fn is_quorum(&self, power: u64) -> bool {
        3 * u128::from(power) > 2 * u128::from(self.total)
    }

    /// Whether `power` is more than one third of the total: at least one honest validator is among them.
    pub fn is_third(&self, power: u64) -> bool {
        3 * u128::from(power) > u128::from(self.total)
    }

    /// Who proposes in a round of a height: everyone in turn, by id, whatever its power.
    pub fn proposer(&self, height: Height, round: u32) -> &Validator {
        &self.members[turn(height, round, self.members.len())]
    }

    /// The hash by which blocks name the set.
    pub fn hash(&self) -> Hash {
        Hash::derive("lucid validator set 1", &[&encode(&self.members)])
    }
}

/// Which of `count` validators, in the order of their ids, proposes in a round of a height.
pub fn turn(height: Height, round: u32, count: usize) -> usize {
    let count = u128::try_from(count).unwrap_or(1).max(1);
    usize::try_from((u128::from(height.get()) + u128::from(round)) % count).unwrap_or(0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn validator(byte: u8, power: u64) -> Validator {
        let node = NodeId::from_bytes([byte; 32]);
        Validator { node, power, operator: node }
    }

    #[test]
    fn thresholds_are_strict() {
        let set = ValidatorSet::new((1..=3).map(|i| validator(i, 1)).collect()).unwrap();
        assert!(!set.is_quorum(2));
        assert!(set.is_quorum(3));
        assert!(!set.is_third(1));
        assert!(set.is_third(2));
        let heavy = ValidatorSet::new(vec![validator(1, 1 << 59), validator(2, 1 << 59)]).unwrap();
        assert!(!heavy.is_quorum(1 << 59));
        assert!(heavy.is_quorum(1 << 60));
    }

    #[test]
    fn only_sets_are_sets() {
        assert_eq!(ValidatorSet::new(vec![]).unwrap_err(), ValidatorSetError::Empty);
        let twice = ValidatorSet::new(vec![validator(1, 1), validator(2, 1), validator(1, 2)]);
        assert_eq!(twice.unwrap_err(), ValidatorSetError::Duplicate(validator(1, 1).node));
        assert!(matches!(ValidatorSet::new(vec![validator(1, 0)]), Err(ValidatorSetError::NoPower(_))));
        let huge = ValidatorSet::new(vec![validator(1, u64::MAX), validator(2, 1)]);
        assert_eq!(huge.unwrap_err(), ValidatorSetError::TooMuchPower);
    }

    #[test]
    fn order_of_the_list_does_not_matter() {
        let a = ValidatorSet::new(vec![validator(2, 1), validator(1, 5)]).unwrap();
        let b = ValidatorSet::new(vec![validator(1, 5), validator(2, 1)]).unwrap();
        assert_eq!(a.hash(), b.hash());
        assert_eq!(a.power(&NodeId::from_bytes([1; 32])), 5);
        assert_eq!(a.power(&NodeId::from_bytes([9; 32])), 0);
    }
}
