//! Validator sets: who votes on a height, with what power.

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::bls::{BlsError, BlsKey, BlsPublicKey, BlsSignature};
use crate::codec::{Wire, encode};
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
    /// With what it contributes to the random beacon.
    pub bls_key: BlsPublicKey,
    /// That it holds the secret of it: [`BlsPublicKey::check_proof`].
    pub bls_proof: BlsSignature,
}

impl Validator {
    /// The length of its encoding.
    pub const BYTES: usize = 32 + 8 + 32 + 48 + 96;

    /// A validator with this key for the beacon.
    pub fn new(node: NodeId, power: u64, operator: NodeId, bls: &BlsKey) -> Self {
        Self { node, power, operator, bls_key: bls.public(), bls_proof: bls.prove(&node) }
    }
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
    /// A validator's key for the beacon.
    #[error("validator {0}: {1}")]
    Bls(NodeId, BlsError),
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<Validator>", try_from = "Vec<Validator>")]
pub struct ValidatorSet {
    members: Vec<Validator>,
    /// The members' keys, ready for use: getting one ready takes a tenth of what checking a signature does. `None` for an id that is no key.
    keys: Vec<Option<VerifyingKey>>,
    total: u64,
    hash: Hash,
}

impl Wire for ValidatorSet {
    const MAX_BYTES: usize = 8 + Self::MAX_MEMBERS * Validator::BYTES;
}

impl From<ValidatorSet> for Vec<Validator> {
    fn from(set: ValidatorSet) -> Self {
        set.members
    }
}

impl TryFrom<Vec<Validator>> for ValidatorSet {
    type Error = ValidatorSetError;

    fn try_from(members: Vec<Validator>) -> Result<Self, ValidatorSetError> {
        Self::new(members)
    }
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
        let keys = members.iter().map(|v| VerifyingKey::from_bytes(v.node.as_bytes()).ok()).collect();
        let hash = Hash::derive("lucid validator set 1", &[&encode(&members)]);
        Ok(Self { members, keys, total, hash })
    }

    /// The members by ascending id.
    pub fn members(&self) -> &[Validator] {
        &self.members
    }

    /// The member with this id.
    pub fn get(&self, node: &NodeId) -> Option<&Validator> {
        self.place(node).map(|i| &self.members[i])
    }

    fn place(&self, node: &NodeId) -> Option<usize> {
        self.members.binary_search_by_key(node, |v| v.node).ok()
    }

    /// The key with which a member signs.
    pub(crate) fn key(&self, node: &NodeId) -> Option<&VerifyingKey> {
        self.keys[self.place(node)?].as_ref()
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

    /// Who proposes in the rounds of a height, as the beacon of two blocks before draws them.
    pub const fn proposers(&self, beacon: Hash, height: Height) -> Proposers<'_> {
        Proposers { set: self, beacon, height }
    }

    /// The hash by which blocks name the set.
    pub const fn hash(&self) -> Hash {
        self.hash
    }
}

/// Who proposes in the rounds of a height.
///
/// Rounds draw validators without replacement, in proportion to power: draw *k* of *n* takes BLAKE3(beacon, height, *k*) modulo the
/// power that is left, and walks the validators that are left by id. Round *r* has draw *r* modulo *n*. The beacon is that of two
/// blocks before the height, so that a node that is a block behind knows who proposes at the height that the others are at.
#[derive(Clone, Copy, Debug)]
pub struct Proposers<'a> {
    set: &'a ValidatorSet,
    beacon: Hash,
    height: Height,
}

impl<'a> Proposers<'a> {
    /// The validators that may propose.
    pub const fn set(&self) -> &'a ValidatorSet {
        self.set
    }

    /// The height.
    pub const fn height(&self) -> Height {
        self.height
    }

    /// The proposer of a round.
    pub fn of(&self, round: u32) -> &'a Validator {
        let members = self.set.members();
        let turn = usize::try_from(round).unwrap_or(usize::MAX) % members.len();
        self.order(turn + 1).last().map_or(&members[0], |place| &members[*place])
    }

    /// The first `count` draws, as places in the set.
    pub fn order(&self, count: usize) -> Vec<usize> {
        let members = self.set.members();
        let (mut left, mut power) = ((0..members.len()).collect::<Vec<_>>(), self.set.total());
        let draws = (0u32..).take(count.min(members.len())).map(|draw| {
            let mut ticket = self.ticket(draw, power);
            let is_drawn = |place: &usize| match ticket.checked_sub(members[*place].power) {
                Some(rest) => {
                    ticket = rest;
                    false
                }
                None => true,
            };
            let drawn = left.remove(left.iter().position(is_drawn).unwrap_or(0));
            power -= members[drawn].power;
            drawn
        });
        draws.collect()
    }

    /// The first 16 bytes of the hash as a little-endian number, modulo the power that is left.
    fn ticket(&self, draw: u32, power: u64) -> u64 {
        let parts: [&[u8]; 3] = [self.beacon.as_bytes(), &self.height.get().to_le_bytes(), &draw.to_le_bytes()];
        let hash = Hash::derive("lucid proposer draw 1", &parts);
        let number = hash.as_bytes().first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
        u64::try_from(number % u128::from(power.max(1))).unwrap_or(0)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn validator(byte: u8, power: u64) -> Validator {
        let node = NodeId::from_bytes([byte; 32]);
        let (bls_key, bls_proof) = (BlsPublicKey::from_bytes([0; 96]), BlsSignature::from_bytes([0; 48]));
        Validator { node, power, operator: node, bls_key, bls_proof }
    }

    #[test]
    fn everybody_has_one_turn_in_as_many_rounds_and_then_again() {
        let set = ValidatorSet::new((1..=9).map(|i| validator(i, u64::from(i) * u64::from(i))).collect()).unwrap();
        for height in (1..50).map(Height::new) {
            let proposers = set.proposers(Hash::from_bytes([3; 32]), height);
            let turns: Vec<_> = (0..9).map(|round| proposers.of(round).node).collect();
            let mut once = turns.clone();
            once.sort_unstable();
            assert_eq!(once, set.members().iter().map(|member| member.node).collect::<Vec<_>>());
            assert_eq!((9..18).map(|round| proposers.of(round).node).collect::<Vec<_>>(), turns);
            let whole: Vec<_> = proposers.order(9).into_iter().map(|place| set.members()[place].node).collect();
            assert_eq!(whole, turns);
        }
    }

    #[test]
    fn first_turns_follow_power_and_differ_by_beacon_and_height() {
        let set = ValidatorSet::new((1..=4).map(|i| validator(i, u64::from(i))).collect()).unwrap();
        let mut firsts = [0; 4];
        for height in 1..=10_000 {
            let proposers = set.proposers(Hash::from_bytes([7; 32]), Height::new(height));
            firsts[proposers.order(1)[0]] += 1;
        }
        for (place, count) in firsts.into_iter().enumerate() {
            let expected = 1_000 * (i32::try_from(place).unwrap() + 1);
            assert!((count - expected).abs() < 150, "{firsts:?}");
        }
        let order = |beacon| set.proposers(Hash::from_bytes([beacon; 32]), Height::new(1)).order(4);
        assert!((0..50).any(|beacon| order(beacon) != order(0)));
    }

    /// Turns by id gave whoever made ids beside each other whole windows of reports.
    #[test]
    fn ids_near_each_other_own_no_window() {
        let set = ValidatorSet::new((1..=100).map(|i| validator(i, 1)).collect()).unwrap();
        let is_liars = |height: u64| set.proposers(Hash::from_bytes([5; 32]), Height::new(height)).order(1)[0] < 33;
        let window = 5;
        let owned = (1..=10_000).filter(|first| (*first..first + window).all(is_liars)).count();
        // 0.33^5 is 0.4 %; by id it would be 29 %.
        assert!((15..100).contains(&owned), "{owned} of 10,000 windows");
    }

    #[test]
    fn proposer_draws_are_as_specified() {
        // They may not change without another context.
        let set = ValidatorSet::new((1..=5).map(|i| validator(i, u64::from(i))).collect()).unwrap();
        assert_eq!(set.proposers(Hash::from_bytes([9; 32]), Height::new(77)).order(5), [0, 1, 3, 4, 2]);
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
