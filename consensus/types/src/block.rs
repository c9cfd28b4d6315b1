//! Blocks: a header, and the items that it names by their hashes.

use serde::{Deserialize, Serialize};

use crate::bls::BlsSignature;
use crate::bytes::hex_bytes;
use crate::codec::{MAX_MESSAGE_BYTES, Wire, encode};
use crate::command::Command;
use crate::evidence::{Evidence, EvidenceError};
use crate::id::{BlockHash, Hash, NetworkId, StateRoot, ValidatorId};
use crate::report::{ReportCommitment, Reveal};
use crate::signed::{MultiSigned, SignatureError, Signed, Verified};
use crate::time::{Height, UnixMillis};

hex_bytes!(
    /// BLAKE3 of an item's complete bytes, signatures included.
    ItemId, 32
);

/// What validators vote on. What follows from a block (scores, rewards, leaders, payout roots) is not written in it but recomputed by
/// everyone; `state_root` commits to the result, and with the header's certificate proves every row of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its number.
    pub height: Height,
    /// The block before; the network id for block 1.
    pub parent: BlockHash,
    /// The round that it was built in.
    pub round: u32,
    /// Who built it: the proposer of that round.
    pub proposer: ValidatorId,
    /// When, by the proposer's clock. At least the policy's least interval after its parent. Every epoch that has ended by then
    /// and is open is closed by this block.
    pub time: UnixMillis,
    /// The proposer's contribution to the random beacon of this height.
    pub randao: BlsSignature,
    /// [`items_hash`] of the list of its items.
    pub items: Hash,
    /// [`crate::validator::ValidatorSet::hash`] of the set of `height + 2`.
    pub next_set: Hash,
    /// Root of the state after this block.
    pub state_root: StateRoot,
}

impl Wire for Header {
    const MAX_BYTES: usize = 8 + 32 + 4 + 32 + 8 + 96 + 32 + 32 + 32;
}

impl Header {
    /// BLAKE3 of the canonical bytes.
    pub fn hash(&self) -> BlockHash {
        BlockHash::from_bytes(*blake3::hash(&encode(self)).as_bytes())
    }
}

/// Something that a block carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// A validator's commitment to its report of an epoch.
    Commitment(Signed<ReportCommitment>),
    /// A revealed report.
    Reveal(Signed<Reveal>),
    /// A command.
    Command(MultiSigned<Command>),
    /// Proof that a validator contradicted itself.
    Evidence(Evidence),
}

impl Wire for Item {
    const MAX_BYTES: usize = 4 + Signed::<Reveal>::MAX_BYTES;
}

impl Item {
    /// The id and length under which a proposal names it.
    pub fn reference(&self) -> ItemRef {
        let bytes = encode(self);
        let id = ItemId::from_bytes(*blake3::hash(&bytes).as_bytes());
        ItemRef { id, bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }
    }

    /// The most bytes of one of its kind.
    const fn max_bytes(&self) -> usize {
        4 + match self {
            Self::Commitment(_) => Signed::<ReportCommitment>::MAX_BYTES,
            Self::Reveal(_) => Signed::<Reveal>::MAX_BYTES,
            Self::Command(_) => MultiSigned::<Command>::MAX_BYTES,
            Self::Evidence(_) => Evidence::MAX_BYTES,
        }
    }

    /// Checks its length, which inside another message only that one's limit bounds, and its signatures.
    ///
    /// # Errors
    /// What is wrong.
    pub fn verify(self, network: &NetworkId) -> Result<Verified<Self>, BlockError> {
        if encode(&self).len() > self.max_bytes() {
            return Err(BlockError::ItemTooLong);
        }
        match &self {
            Self::Commitment(commitment) => commitment.check(network)?,
            Self::Reveal(reveal) => reveal.check(network)?,
            Self::Command(command) => command.check(network)?,
            Self::Evidence(evidence) => evidence.check(network)?,
        }
        Ok(Verified::new(self))
    }
}

impl From<Verified<Signed<ReportCommitment>>> for Verified<Item> {
    fn from(commitment: Verified<Signed<ReportCommitment>>) -> Self {
        Self::new(Item::Commitment(commitment.into_inner()))
    }
}

impl From<Verified<Signed<Reveal>>> for Verified<Item> {
    fn from(reveal: Verified<Signed<Reveal>>) -> Self {
        Self::new(Item::Reveal(reveal.into_inner()))
    }
}

impl From<Verified<MultiSigned<Command>>> for Verified<Item> {
    fn from(command: Verified<MultiSigned<Command>>) -> Self {
        Self::new(Item::Command(command.into_inner()))
    }
}

impl From<Verified<Evidence>> for Verified<Item> {
    fn from(evidence: Verified<Evidence>) -> Self {
        Self::new(Item::Evidence(evidence.into_inner()))
    }
}

/// An item by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRef {
    /// BLAKE3 of its bytes as [`Item`].
    pub id: ItemId,
    /// How many bytes these are.
    pub bytes: u32,
}

/// The hash by which a header names its items.
pub fn items_hash(items: &[ItemRef]) -> Hash {
    Hash::derive("lucid block items 1", &[&encode(&items)])
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// Commitments to reports of epochs whose window is open, by epoch and signer.
    pub commitments: Vec<Signed<ReportCommitment>>,
    /// Revealed reports, by epoch and signer, whose commitments stand in earlier blocks.
    pub reveals: Vec<Signed<Reveal>>,
    /// Commands: an account's in the order of their numbers, accounts as the ledger says; at most [`Block::MAX_COMMAND_BYTES`].
    pub commands: Vec<MultiSigned<Command>>,
    /// Evidence of equivocation, by validator: one of each, against whom no earlier block holds any.
    pub evidence: Vec<Evidence>,
}

impl Wire for Block {
    /// Leaves room for a certificate and the envelope of an answer that carries both.
    const MAX_BYTES: usize = MAX_MESSAGE_BYTES - (128 << 10);
}

impl Block {
    /// The most bytes of all commands.
    pub const MAX_COMMAND_BYTES: usize = 256 << 10;
    /// The most items.
    pub const MAX_ITEMS: usize = 8_192;
    /// The most bytes of all items: what a block has beside its header.
    pub const MAX_ITEM_BYTES: usize = Self::MAX_BYTES - Header::MAX_BYTES - 32;

    /// The header's hash.
    pub fn hash(&self) -> BlockHash {
        self.header.hash()
    }

    /// All items: commitments, reveals, commands, evidence.
    pub fn items(&self) -> impl Iterator<Item = Item> {
        let commitments = self.commitments.iter().cloned().map(Item::Commitment);
        let reveals = self.reveals.iter().cloned().map(Item::Reveal);
        let commands = self.commands.iter().cloned().map(Item::Command);
        commitments.chain(reveals).chain(commands).chain(self.evidence.iter().cloned().map(Item::Evidence))
    }

    /// How many items it has.
    pub const fn items_count(&self) -> usize {
        self.commitments.len() + self.reveals.len() + self.commands.len() + self.evidence.len()
    }

    /// The items as a proposal names them.
    pub fn references(&self) -> Vec<ItemRef> {
        self.items().map(|item| item.reference()).collect()
    }

    /// The block with a header that names its items.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.header.items = items_hash(&self.references());
        self
    }

    /// Checks that the header names these items, and the signatures of all of them.
    ///
    /// # Errors
    /// What is wrong.
    pub fn verify(self, network: &NetworkId) -> Result<Verified<Self>, BlockError> {
        if !self.is_whole() {
            return Err(BlockError::OtherItems);
        }
        self.items().try_for_each(|item| item.verify(network).map(drop))?;
        Ok(Verified::new(self))
    }

    /// Whether its items are those that its header names.
    pub fn is_whole(&self) -> bool {
        items_hash(&self.references()) == self.header.items
    }
}

/// Why something is no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The header names other items.
    #[error("the header names other items")]
    OtherItems,
    /// An item is longer than its kind may be.
    #[error("an item is longer than it may be")]
    ItemTooLong,
    /// An item's signature is wrong.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Evidence proves nothing.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}
