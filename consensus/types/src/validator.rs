//! Validator sets: who votes on a height, with what power.

use std::collections::BTreeSet;

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::codec::{Wire, encode};
use crate::id::{Hash, NodeId, ValidatorId};
use crate::time::Height;
use crate::validator_key::{ValidatorKeyError, ValidatorKeys};

/// A validator and its voting power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validator {
    /// Its account: the first key of its node, for ever.
    pub node: NodeId,
    /// Its voting power, at least 1.
    pub power: u64,
    /// Who runs it: validators do not measure their own operator's workers.
    pub operator: NodeId,
    /// With what it signs.
    pub keys: ValidatorKeys,
}

impl Validator {
    /// The length of its encoding.
    pub const BYTES: usize = 32 + 8 + 32 + ValidatorKeys::BYTES;
}

/// Why a list of validators is not a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidatorSetError {
    /// Nobody could decide.
    #[error("there is no validator")]
    Empty,
    /// An account stands twice.
    #[error("validator {0} is listed twice")]
    Duplicate(NodeId),
    /// Two have one key.
    #[error("validator {0} has a key that is another validator's too")]
    SharedKey(NodeId),
    /// A validator's keys.
    #[error("validator {0}: {1}")]
    Keys(NodeId, ValidatorKeyError),
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

/// The validators of a height: 1 to 1,000, sorted by the keys they sign with, no account and no key twice, with a total power of at most
/// 2^60.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<Validator>", try_from = "Vec<Validator>")]
pub struct ValidatorSet {
    members: Vec<Validator>,
    /// The members' places by their accounts.
    accounts: Vec<(NodeId, usize)>,
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
    /// When the list is empty or too long, names an account or a key twice, or a power is 0 or too great. The keys' proofs are not checked.
    pub fn new(mut members: Vec<Validator>) -> Result<Self, ValidatorSetError> {
        members.sort_by_key(|v| (v.keys.id, v.node));
        if members.is_empty() {
            return Err(ValidatorSetError::Empty);
        }
        if members.len() > Self::MAX_MEMBERS {
            return Err(ValidatorSetError::TooMany(members.len()));
        }
        let mut accounts: Vec<_> = members.iter().enumerate().map(|(place, v)| (v.node, place)).collect();
        accounts.sort_unstable();
        if let Some(pair) = accounts.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(ValidatorSetError::Duplicate(pair[0].0));
        }
        if let Some(pair) = members.windows(2).find(|pair| pair[0].keys.id == pair[1].keys.id) {
            return Err(ValidatorSetError::SharedKey(pair[1].node));
        }
        let mut bls_keys = BTreeSet::new();
        if let Some(v) = members.iter().find(|v| !bls_keys.insert(v.keys.bls_key)) {
            return Err(ValidatorSetError::SharedKey(v.node));
        }
        if let Some(v) = members.iter().find(|v| v.power == 0) {
            return Err(ValidatorSetError::NoPower(v.node));
        }
        let total = members.iter().try_fold(0u64, |sum, v| sum.checked_add(v.power)).filter(|total| *total <= 1 << 60);
        let total = total.ok_or(ValidatorSetError::TooMuchPower)?;
        let keys = members.iter().map(|v| VerifyingKey::from_bytes(v.keys.id.as_bytes()).ok()).collect();
        let hash = Hash::derive("lucid validator set 1", &[&encode(&members)]);
        Ok(Self { members, accounts, keys, total, hash })
    }

    /// The members by their keys.
    pub fn members(&self) -> &[Validator] {
        &self.members
    }

    /// The member that signs with this key.
    pub fn get(&self, id: &ValidatorId) -> Option<&Validator> {
        self.place(id).map(|i| &self.members[i])
    }

    /// The member with this account.
    pub fn of(&self, account: &NodeId) -> Option<&Validator> {
        self.place_of(account).map(|place| &self.members[place])
    }

    /// The place of an account's member among [`Self::members`].
    pub fn place_of(&self, account: &NodeId) -> Option<usize> {
        let found = self.accounts.binary_search_by_key(account, |(node, _)| *node).ok()?;
        Some(self.accounts[found].1)
    }

    fn place(&self, id: &ValidatorId) -> Option<usize> {
        self.members.binary_search_by_key(id, |v| v.keys.id).ok()
    }

    /// The key with this id, if it is a member's, ready for use.
    pub(crate) fn key(&self, id: &ValidatorId) -> Option<&VerifyingKey> {
        self.keys[self.place(id)?].as_ref()
    }

    /// The voting power of this key; 0 if it is no member's.
    pub fn power(&self, id: &ValidatorId) -> u64 {
        self.get(id).map_or(0, |v| v.power)
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
    use crate::bls::{BlsPublicKey, BlsSignature};
    use crate::signed::Signature;

    fn validator(byte: u8, power: u64) -> Validator {
        let node = NodeId::from_bytes([byte; 32]);
        Validator { node, power, operator: node, keys: keys(byte) }
    }

    /// Keys of a set, whose proofs nobody checks.
    fn keys(byte: u8) -> ValidatorKeys {
        ValidatorKeys {
            id: ValidatorId::from_bytes([byte; 32]),
            proof: Signature::from_bytes([0; 64]),
            bls_key: BlsPublicKey::from_bytes([byte; 96]),
            bls_proof: BlsSignature::from_bytes([0; 48]),
        }
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
        // An account with two keys, and two accounts with one key of either kind.
        let other_key = Validator { keys: keys(9), ..validator(1, 1) };
        let two_keys = ValidatorSet::new(vec![validator(1, 1), validator(2, 1), other_key]);
        assert_eq!(two_keys.unwrap_err(), ValidatorSetError::Duplicate(validator(1, 1).node));
        let other_account = Validator { node: NodeId::from_bytes([9; 32]), ..validator(1, 1) };
        let one_key = ValidatorSet::new(vec![other_account, validator(1, 1), validator(2, 1)]);
        assert_eq!(one_key.unwrap_err(), ValidatorSetError::SharedKey(other_account.node));
        let one_bls_key = Validator { keys: ValidatorKeys { bls_key: keys(1).bls_key, ..keys(9) }, ..other_account };
        let shared = ValidatorSet::new(vec![one_bls_key, validator(1, 1)]);
        assert_eq!(shared.unwrap_err(), ValidatorSetError::SharedKey(one_bls_key.node));
        assert!(matches!(ValidatorSet::new(vec![validator(1, 0)]), Err(ValidatorSetError::NoPower(_))));
        let huge = ValidatorSet::new(vec![validator(1, u64::MAX), validator(2, 1)]);
        assert_eq!(huge.unwrap_err(), ValidatorSetError::TooMuchPower);
    }

    #[test]
    fn a_member_is_found_by_its_key_and_by_its_account() {
        // Their order by keys is not that by accounts.
        let members = (1..=9u8).map(|i| Validator { keys: keys(i.wrapping_mul(167)), ..validator(i, i.into()) });
        let set = ValidatorSet::new(members.clone().collect()).unwrap();
        for member in members {
            assert_eq!((set.get(&member.keys.id), set.of(&member.node)), (Some(&member), Some(&member)));
            assert_eq!(set.power(&member.keys.id), member.power);
        }
        assert_eq!(set.of(&NodeId::from_bytes([10; 32])), None);
    }

    #[test]
    fn order_of_the_list_does_not_matter() {
        let a = ValidatorSet::new(vec![validator(2, 1), validator(1, 5)]).unwrap();
        let b = ValidatorSet::new(vec![validator(1, 5), validator(2, 1)]).unwrap();
        assert_eq!(a.hash(), b.hash());
        assert_eq!(a.power(&ValidatorId::from_bytes([1; 32])), 5);
        assert_eq!(a.power(&ValidatorId::from_bytes([9; 32])), 0);
    }
}
