//! Malachite's `Context` over Lucid's types: what the engine needs to know of heights, votes and validators.
//!
//! The engine decides on block hashes; blocks travel separately (mode `ProposalAndParts`, so that a value counts only
//! after the ledger has executed it).

use std::fmt;
use std::time::Duration;

use lucid_types::id::{BlockHash, ValidatorId};
use lucid_types::policy::FixedPolicy;
use lucid_types::signed::Signature;
use lucid_types::time;
use lucid_types::validator::Proposers;
use lucid_types::vote::VoteKind;
use malachitebft_core_types as mt;
use malachitebft_core_types::{
    LinearTimeouts, NilOrVal, Round, SignedExtension, SigningScheme, Timeout, VoteType, VotingPower,
};

/// Defines a newtype that shows itself as its content: foreign traits need types of our own.
macro_rules! wrapper {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(pub(crate) $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

wrapper!(
    /// A validator's address is the key that it signs with.
    Address, ValidatorId
);
wrapper!(
    /// The number of a block.
    Height, time::Height
);
wrapper!(
    /// What is decided: the hash of a block.
    ValueId, BlockHash
);

impl mt::Address for Address {}

impl Default for Height {
    fn default() -> Self {
        Self(time::Height::ZERO)
    }
}

impl mt::Height for Height {
    const ZERO: Self = Self(time::Height::ZERO);
    const INITIAL: Self = Self(time::Height::new(1));

    fn increment_by(&self, n: u64) -> Self {
        Self(time::Height::new(self.0.get().saturating_add(n)))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.get().checked_sub(n).map(|height| Self(time::Height::new(height)))
    }

    fn as_u64(&self) -> u64 {
        self.0.get()
    }
}

impl mt::Value for ValueId {
    type Id = Self;
    fn id(&self) -> Self {
        *self
    }
}

/// A validator as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    address: Address,
    key: PublicKey,
    power: VotingPower,
}

impl mt::Validator<LucidContext> for Member {
    fn address(&self) -> &Address {
        &self.address
    }

    fn public_key(&self) -> &PublicKey {
        &self.key
    }

    fn voting_power(&self) -> VotingPower {
        self.power
    }
}

/// The validators of a height as the engine sees them: never empty, sorted by address. The core knows no beacon, so the order in
/// which they propose travels with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Members {
    members: Vec<Member>,
    /// Places of the proposers, by round.
    order: Vec<usize>,
}

impl From<Proposers<'_>> for Members {
    fn from(proposers: Proposers<'_>) -> Self {
        let set = proposers.set();
        let member = |v: &lucid_types::validator::Validator| Member {
            address: Address(v.keys.id),
            key: PublicKey(v.keys.id),
            power: v.power,
        };
        Self { members: set.members().iter().map(member).collect(), order: proposers.order(set.members().len()) }
    }
}

impl mt::ValidatorSet<LucidContext> for Members {
    fn count(&self) -> usize {
        self.members.len()
    }

    fn total_voting_power(&self) -> VotingPower {
        self.members.iter().map(|member| member.power).sum()
    }

    fn get_by_address(&self, address: &Address) -> Option<&Member> {
        self.members.binary_search_by_key(address, |member| member.address).ok().map(|i| &self.members[i])
    }

    fn get_by_index(&self, index: usize) -> Option<&Member> {
        self.members.get(index)
    }
}

/// A proposal as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) height: Height,
    pub(crate) round: Round,
    pub(crate) value: ValueId,
    pub(crate) pol_round: Round,
    pub(crate) proposer: Address,
}

impl mt::Proposal<LucidContext> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &ValueId {
        &self.value
    }

    fn take_value(self) -> ValueId {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.pol_round
    }

    fn validator_address(&self) -> &Address {
        &self.proposer
    }
}

/// Blocks travel as a whole, not in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoPart;

impl mt::ProposalPart<LucidContext> for NoPart {
    fn is_first(&self) -> bool {
        true
    }

    fn is_last(&self) -> bool {
        true
    }
}

/// A vote as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(crate) kind: VoteType,
    pub(crate) height: Height,
    pub(crate) round: Round,
    pub(crate) value: NilOrVal<ValueId>,
    pub(crate) voter: Address,
}

impl mt::Vote<LucidContext> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<ValueId> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<ValueId> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Address {
        &self.voter
    }

    fn extension(&self) -> Option<&SignedExtension<LucidContext>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<LucidContext>> {
        None
    }

    fn extend(self, _extension: SignedExtension<LucidContext>) -> Self {
        self
    }
}

/// The engine's name for a step's vote.
pub(crate) const fn vote_type(kind: VoteKind) -> VoteType {
    match kind {
        VoteKind::Prevote => VoteType::Prevote,
        VoteKind::Precommit => VoteType::Precommit,
    }
}

/// How long each step waits, growing with the round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StepTimeouts(LinearTimeouts);

impl StepTimeouts {
    /// For a proposal as long as its proposer may wait for reports and the proposal may take to arrive, and half as long for
    /// votes. Later rounds wait longer. Rebroadcasts start after twice the proposal's time.
    pub(crate) fn of(policy: &FixedPolicy) -> Self {
        let millis = policy.report_grace_ms + policy.message_delay_ms + 2 * policy.precision_ms;
        let propose = Duration::from_millis(millis);
        let (vote, delta) = (propose / 2, propose / 4);
        Self(LinearTimeouts {
            propose,
            propose_delta: delta,
            prevote: vote,
            prevote_delta: delta,
            precommit: vote,
            precommit_delta: delta,
            rebroadcast: propose * 2,
            ..LinearTimeouts::default()
        })
    }
}

impl mt::Timeouts<LucidContext> for StepTimeouts {
    fn duration_for(&self, timeout: Timeout) -> Duration {
        <LinearTimeouts as mt::Timeouts<LucidContext>>::duration_for(&self.0, timeout)
    }
}

/// The context. Proposers come in the order that the beacon drew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LucidContext;

impl mt::Context for LucidContext {
    type Address = Address;
    type Height = Height;
    type ProposalPart = NoPart;
    type Proposal = Proposal;
    type Validator = Member;
    type ValidatorSet = Members;
    type Timeouts = StepTimeouts;
    type Value = ValueId;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Ed25519;

    /// Of the height that the set was made for.
    fn select_proposer<'a>(&self, set: &'a Members, _height: Height, round: Round) -> &'a Member {
        let round = usize::try_from(round.as_u32().unwrap_or(0)).unwrap_or(0);
        &set.members[set.order[round % set.order.len()]]
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: ValueId,
        pol_round: Round,
        proposer: Address,
    ) -> Proposal {
        Proposal { height, round, value, pol_round, proposer }
    }

    fn new_prevote(&self, height: Height, round: Round, value: NilOrVal<ValueId>, voter: Address) -> Vote {
        Vote { kind: VoteType::Prevote, height, round, value, voter }
    }

    fn new_precommit(&self, height: Height, round: Round, value: NilOrVal<ValueId>, voter: Address) -> Vote {
        Vote { kind: VoteType::Precommit, height, round, value, voter }
    }
}

/// ed25519 as [`lucid_types::signed`] uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ed25519;

/// An address is a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey(pub(crate) ValidatorId);

/// The engine never holds a secret: signing goes through [`lucid_types::validator_key::ValidatorKey`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoPrivateKey;

impl SigningScheme for Ed25519 {
    type DecodingError = &'static str;
    type Signature = Signature;
    type PublicKey = PublicKey;
    type PrivateKey = NoPrivateKey;

    fn decode_signature(bytes: &[u8]) -> Result<Signature, &'static str> {
        bytes.try_into().map(Signature::from_bytes).map_err(|_| "a signature has 64 bytes")
    }

    fn encode_signature(signature: &Signature) -> Vec<u8> {
        signature.as_bytes().to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<PublicKey, &'static str> {
        bytes.try_into().map(|key| PublicKey(ValidatorId::from_bytes(key))).map_err(|_| "a key has 32 bytes")
    }

    fn encode_public_key(key: &PublicKey) -> Vec<u8> {
        key.0.as_bytes().to_vec()
    }
}
