//! How nodes catch up with each other: the request-response messages of `/sync/1` and the engine's rebroadcasts.

use serde::{Deserialize, Serialize};

use crate::block::{Block, Header, Item, ItemId};
use crate::certificate::{Certificate, CertificateError};
use crate::codec::{DecodeError, MAX_MESSAGE_BYTES, Wire, decode};
use crate::id::{BlockHash, NetworkId, ValidatorId};
use crate::message::CompactProposal;
use crate::proof::{KeyProof, ProofStep};
use crate::signed::{Signature, Signed, SignedRecord, Verified};
use crate::time::{Epoch, Height, UnixMillis};
use crate::validator::ValidatorSet;
use crate::validator_sets::SetChange;
use crate::vote::{Vote, VoteKind};

/// A question to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SyncRequest {
    /// What is your newest block, and your oldest?
    Head,
    /// A page of decided blocks.
    Blocks {
        /// The first height.
        from: Height,
        /// The last height.
        to: Height,
        /// How many bytes of the first block's frame the asker has already: the answer begins after them. Less than the frame.
        skip: u64,
    },
    /// A proposal of a block that is under way.
    Proposal {
        /// The round that it was made in: a block may be proposed in several.
        round: u32,
        /// The block's hash.
        block: BlockHash,
    },
    /// Items that wait for a block or stand in one that is under way; at most [`SyncRequest::MAX_ITEMS`].
    Items(Vec<ItemId>),
    /// Commitments and reveals of an epoch that the asker does not have.
    Reports {
        /// The epoch.
        epoch: Epoch,
        /// Validators whose commitment the asker has.
        have_commitments: Vec<ValidatorId>,
        /// Validators whose reveal the asker has.
        have_reveals: Vec<ValidatorId>,
    },
    /// This is me: which other running instance of this validator have you heard of?
    Presence(Signed<Presence>),
    /// A decided block's header with its certificate.
    Header(Height),
    /// After which blocks do you have the state to give?
    Snapshots,
    /// Rows of the state after a block, in the order of their keys.
    SnapshotRows {
        /// The block: one of the answer to `Snapshots`.
        height: Height,
        /// Those after this key; from the first on if it is empty.
        #[serde(with = "serde_bytes")]
        after: Vec<u8>,
    },
    /// The network's genesis: the bytes whose hash is the network's id.
    Genesis,
    /// The blocks above this height that have changed the validators.
    SetChanges {
        /// The height.
        above: Height,
    },
}

impl Wire for SyncRequest {
    const MAX_BYTES: usize = 128 << 10;
}

impl SyncRequest {
    /// Items asked for at a time.
    pub const MAX_ITEMS: usize = 1_024;
}

/// A decided block and its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedBlock {
    /// The block.
    pub block: Block,
    /// A certificate for it.
    pub certificate: Certificate,
}

impl Wire for CertifiedBlock {
    const MAX_BYTES: usize = MAX_MESSAGE_BYTES - 512;
}

/// Why a decided block is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecidedError {
    /// The certificate is for another block.
    #[error("the certificate is for another block")]
    OtherBlock,
    /// The header names other items.
    #[error("the header names other items")]
    OtherItems,
    /// The certificate proves nothing.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl CertifiedBlock {
    /// Checks that the certificate proves the block. The signatures inside the block need no check of their own:
    /// more than two thirds of the power vouch for them.
    ///
    /// # Errors
    /// When the certificate is for another block or does not hold against the height's `set`.
    pub fn verify(self, network: &NetworkId, set: &ValidatorSet) -> Result<Verified<Self>, DecidedError> {
        if self.certificate.height != self.block.header.height || self.certificate.block != self.block.hash() {
            return Err(DecidedError::OtherBlock);
        }
        if !self.block.is_whole() {
            return Err(DecidedError::OtherItems);
        }
        let certificate = self.certificate.verify(network, set)?.into_inner();
        Ok(Verified::new(Self { block: self.block, certificate }))
    }
}

/// A decided block's header and its proof: with the path in the state's tree it proves any row of the state after the block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedHeader {
    /// The header.
    pub header: Header,
    /// A certificate for it.
    pub certificate: Certificate,
}

impl Wire for CertifiedHeader {
    const MAX_BYTES: usize = Header::MAX_BYTES + Certificate::MAX_BYTES;
}

impl CertifiedHeader {
    /// Checks that the certificate proves the header.
    ///
    /// # Errors
    /// When the certificate is for another block or does not hold against the height's `set`.
    pub fn verify(self, network: &NetworkId, set: &ValidatorSet) -> Result<Verified<Self>, DecidedError> {
        if self.certificate.height != self.header.height || self.certificate.block != self.header.hash() {
            return Err(DecidedError::OtherBlock);
        }
        let certificate = self.certificate.verify(network, set)?.into_inner();
        Ok(Verified::new(Self { header: self.header, certificate }))
    }
}

impl From<&CertifiedBlock> for CertifiedHeader {
    fn from(decided: &CertifiedBlock) -> Self {
        Self { header: decided.block.header.clone(), certificate: decided.certificate.clone() }
    }
}

impl Verified<CertifiedBlock> {
    /// The precommits of its certificate.
    pub fn votes(&self) -> impl Iterator<Item = Verified<Signed<Vote>>> {
        crate::certificate::votes(&self.certificate)
    }
}

/// The answer to a [`SyncRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncResponse {
    /// To `Head`.
    Head {
        /// The newest block's certificate, which proves that there is such a block; none if there is only the genesis.
        newest: Option<Certificate>,
        /// From which height on the peer has every block up to the newest.
        oldest: Height,
    },
    /// To `Blocks`: at most [`SyncResponse::PAGE_BYTES`] of the frames of blocks, in order, cut where the page is full. A frame is the
    /// length of a [`CertifiedBlock`]'s bytes, as 4 bytes little-endian, and these bytes. Empty if the peer does not have the first.
    Blocks(#[serde(with = "serde_bytes")] Vec<u8>),
    /// To `Proposal`.
    Proposal(Option<Box<CompactProposal>>),
    /// To `Items` and `Reports`: those of them that the peer has and that fit.
    Items(Vec<Item>),
    /// To `Presence`.
    Presence(Option<Signed<Presence>>),
    /// To `Header`: none if the peer does not have it.
    Header(Option<Box<CertifiedHeader>>),
    /// To `Snapshots`: at most [`SyncResponse::MAX_SNAPSHOTS`], the newest first.
    Snapshots(Vec<CertifiedHeader>),
    /// To `SnapshotRows`: none if the peer does not have that state, or not any more.
    SnapshotRows(Option<SnapshotRows>),
    /// To `Genesis`.
    Genesis(#[serde(with = "serde_bytes")] Vec<u8>),
    /// To `SetChanges`: all of them by their heights, or as many as fit; none only if the peer knows of none.
    SetChanges(Vec<SetChange>),
}

impl Wire for SyncResponse {
    const MAX_BYTES: usize = Self::PAGE_BYTES + 64;
}

impl SyncResponse {
    /// The most bytes of a page of blocks, of the items and of the rows of an answer.
    pub const PAGE_BYTES: usize = 1 << 20;
    /// States that a node keeps for others.
    pub const MAX_SNAPSHOTS: usize = 4;
}

/// Rows of a state that prove themselves: with all rows before them, and the hashes to their right, they lead to its root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRows {
    /// As many as fit, so none only after the last of the state; at most [`SyncResponse::PAGE_BYTES`] with what follows.
    pub rows: Vec<SnapshotRow>,
    /// The steps to the right of the last one's path, from the root down. None if it is the last of the state.
    pub right: Vec<ProofStep>,
}

impl SnapshotRows {
    /// Room of a page for [`Self::right`], and for lengths: a step takes 34 bytes.
    pub const MAX_RIGHT_BYTES: usize = 32 << 10;
    /// A page after which more rows follow has rows of at least so many bytes ([`SnapshotRow::encoded_len`]): so a peer cannot make a
    /// state take more pages than it does with the greatest rows.
    pub const LEAST_BYTES: usize = 128 << 10;

    /// The length of the encodings of its rows.
    pub fn rows_len(&self) -> usize {
        self.rows.iter().map(SnapshotRow::encoded_len).sum()
    }
}

const _: () = assert!(16 + KeyProof::MAX_STEPS * 34 <= SnapshotRows::MAX_RIGHT_BYTES);

/// A row of a state in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRow {
    /// The key.
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
    /// The value.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
}

impl SnapshotRow {
    /// The length of its encoding.
    pub const fn encoded_len(&self) -> usize {
        16 + self.key.len() + self.value.len()
    }
}

/// The length that stands before a block in a page.
pub const FRAME_HEADER_BYTES: usize = 4;

/// Takes the first whole frame out of the bytes of pages, and its length with it.
///
/// # Errors
/// The frame is too long for a block, or holds none.
pub fn take_frame(bytes: &[u8]) -> Result<Option<(CertifiedBlock, usize)>, DecodeError> {
    let Some((length, rest)) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>() else { return Ok(None) };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > CertifiedBlock::MAX_BYTES {
        return Err(DecodeError::TooLong { found: length, limit: CertifiedBlock::MAX_BYTES });
    }
    let Some(block) = rest.get(..length) else { return Ok(None) };
    Ok(Some((decode(block)?, FRAME_HEADER_BYTES + length)))
}

/// One running instance of a validator. Two with one key would contradict each other; each tells peers which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Presence {
    /// How often the node has started with this database: durable, greater with every start.
    pub boot: u64,
    /// Random, drawn at the start.
    pub instance: [u8; 16],
    /// When it said so, by its clock: an old one, sent again by others, says nothing.
    pub time: UnixMillis,
}

impl Wire for Presence {
    const MAX_BYTES: usize = 32;
}

impl SignedRecord for Presence {
    type Signer = ValidatorId;
    const TAG: &'static str = "lucid/presence/1";
}

/// Prevotes of more than two thirds for one block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolkaCertificate {
    /// The height.
    pub height: Height,
    /// The round.
    pub round: u32,
    /// The block.
    pub block: BlockHash,
    /// Who prevoted.
    pub signatures: Vec<(ValidatorId, Signature)>,
}

/// One vote in a round certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundVote {
    /// First or second step.
    pub kind: VoteKind,
    /// For what.
    pub block: Option<BlockHash>,
    /// Who.
    pub voter: ValidatorId,
    /// The vote's signature.
    pub signature: Signature,
}

/// Why a round is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoundEnd {
    /// More than two thirds precommitted, not all for one block.
    Precommit,
    /// More than one third are in a later round.
    Skip,
}

/// Votes that justify entering a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundCertificate {
    /// The height.
    pub height: Height,
    /// The round.
    pub round: u32,
    /// Why.
    pub end: RoundEnd,
    /// The votes.
    pub votes: Vec<RoundVote>,
}

/// What the engine repeats while a height does not end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RebroadcastItem {
    /// A vote again.
    Vote(Signed<Vote>),
    /// Proof of prevotes.
    Polka(PolkaCertificate),
    /// Proof that a round is over.
    Round(RoundCertificate),
}

impl RebroadcastItem {
    /// The height that it is about.
    pub const fn height(&self) -> Height {
        match self {
            Self::Vote(vote) => vote.record.height,
            Self::Polka(certificate) => certificate.height,
            Self::Round(certificate) => certificate.height,
        }
    }
}

/// A rebroadcast with its sender and a number, so that the repetition is not swallowed as a duplicate by gossip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebroadcast {
    /// Increasing for each sender.
    pub sequence: u64,
    /// What is repeated.
    pub item: RebroadcastItem,
}

impl Wire for Rebroadcast {
    /// 1,000 votes of 133 bytes and the rest.
    const MAX_BYTES: usize = 136 << 10;
}

impl SignedRecord for Rebroadcast {
    type Signer = ValidatorId;
    const TAG: &'static str = "lucid/rebroadcast/1";
}
