//! How nodes catch up with each other: the request-response messages of `/sync/1` and the engine's rebroadcasts.

use serde::{Deserialize, Serialize};

use crate::block::{Block, Item, ItemId};
use crate::certificate::{Certificate, CertificateError};
use crate::codec::{MAX_MESSAGE_BYTES, Wire};
use crate::id::{BlockHash, NetworkId, NodeId};
use crate::signed::{Signature, Signed, SignedRecord, Verified};
use crate::time::{Epoch, Height};
use crate::validator::ValidatorSet;
use crate::vote::{CompactProposal, Vote, VoteKind};

/// A question to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SyncRequest {
    /// What is your newest block?
    Tip,
    /// CertifiedBlock blocks `from..=to`; the peer answers with a prefix of them, as many as fit.
    Blocks {
        /// First height.
        from: Height,
        /// Last height.
        to: Height,
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
        have_commitments: Vec<NodeId>,
        /// Validators whose reveal the asker has.
        have_reveals: Vec<NodeId>,
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

/// The answer to a [`SyncRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncResponse {
    /// To `Tip`.
    Tip {
        /// Height of the newest block; 0 if there is only the genesis.
        height: Height,
        /// Its hash; the network id at height 0.
        block: BlockHash,
    },
    /// To `Blocks`: consecutive from the first asked for.
    Blocks(Vec<CertifiedBlock>),
    /// To `Proposal`.
    Proposal(Option<Box<CompactProposal>>),
    /// To `Items` and `Reports`: those of them that the peer has and that fit.
    Items(Vec<Item>),
}

impl Wire for SyncResponse {
    const MAX_BYTES: usize = MAX_MESSAGE_BYTES;
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
    pub signatures: Vec<(NodeId, Signature)>,
}

/// One vote in a round certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundVote {
    /// First or second step.
    pub kind: VoteKind,
    /// For what.
    pub block: Option<BlockHash>,
    /// Who.
    pub voter: NodeId,
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
    const TAG: &'static str = "lucid/rebroadcast/1";
}
