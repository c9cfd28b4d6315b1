//! The messages by which validators decide a height.

use serde::{Deserialize, Serialize};

use crate::block::{Block, Header, Item, ItemRef, items_hash};
use crate::codec::Wire;
use crate::id::NetworkId;
use crate::signed::{SignatureError, Signed, Verified};
use crate::vote::{Proposal, Vote, Wake};

/// A proposal as it is sent: with the header that it is for, and the names of the block's items. Whoever receives it has most items
/// already and fetches the rest. The signature covers the block's hash, that is the header, which covers the list of items: so
/// nothing is stored, relayed or fetched that the proposer has not signed for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactProposal {
    /// The proposal.
    pub proposal: Signed<Proposal>,
    /// The header of its block. One that is proposed again keeps the header it was built with.
    pub header: Header,
    /// The block's items, in its order.
    pub items: Vec<ItemRef>,
}

impl Wire for CompactProposal {
    const MAX_BYTES: usize = Signed::<Proposal>::MAX_BYTES + Header::MAX_BYTES + 8 + Block::MAX_ITEMS * 36;
}

/// Why a compact proposal says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// The header is not that of the proposed block.
    #[error("the header is another block's")]
    OtherHeader,
    /// The items are not those of the header.
    #[error("the items are not those that the header names")]
    OtherItems,
    /// More items than a block may have, or larger ones.
    #[error("more items than a block may have")]
    TooLarge,
    /// The signature is wrong.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl CompactProposal {
    /// The compact form of a proposal of a block.
    pub fn new(proposal: Signed<Proposal>, block: &Block) -> Self {
        Self { proposal, header: block.header.clone(), items: block.references() }
    }

    /// The same of a verified proposal and block; `None` if it is another block's.
    pub fn verified(proposal: Verified<Signed<Proposal>>, block: &Verified<Block>) -> Option<Verified<Self>> {
        (proposal.record.block == block.hash()).then(|| Verified::new(Self::new(proposal.into_inner(), block)))
    }

    /// Checks that the parts belong together, cheapest first, and the signature last.
    ///
    /// # Errors
    /// What is wrong.
    pub fn verify(self, network: &NetworkId) -> Result<Verified<Self>, ProposalError> {
        let length = |item: &ItemRef| usize::try_from(item.bytes).unwrap_or(usize::MAX);
        let bytes = self.items.iter().map(length).fold(0, usize::saturating_add);
        let is_long = |item: &ItemRef| length(item) > Item::MAX_BYTES;
        if self.items.len() > Block::MAX_ITEMS || bytes > Block::MAX_ITEM_BYTES || self.items.iter().any(is_long) {
            return Err(ProposalError::TooLarge);
        }
        let Proposal { height, block, .. } = self.proposal.record;
        if self.header.height != height || self.header.hash() != block {
            return Err(ProposalError::OtherHeader);
        }
        if items_hash(&self.items) != self.header.items {
            return Err(ProposalError::OtherItems);
        }
        self.proposal.check(network)?;
        Ok(Verified::new(self))
    }
}

impl Verified<CompactProposal> {
    /// The proposal alone.
    pub fn proposal(&self) -> Verified<Signed<Proposal>> {
        Verified::new(self.proposal.clone())
    }

    /// The block, if these are its items in its order.
    pub fn with_items<'a>(&self, items: impl IntoIterator<Item = &'a Verified<Item>>) -> Option<Verified<Block>> {
        let (mut commitments, mut reveals, mut commands, mut evidence) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for item in items {
            match &**item {
                Item::Commitment(commitment) => commitments.push(commitment.clone()),
                Item::Reveal(reveal) => reveals.push(reveal.clone()),
                Item::Command(command) => commands.push(command.clone()),
                Item::Evidence(it) => evidence.push(it.clone()),
            }
        }
        let block = Block { header: self.header.clone(), commitments, reveals, commands, evidence };
        block.is_whole().then(|| Verified::new(block))
    }
}

/// What validators gossip to decide a height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConsensusMessage {
    /// The proposer's choice.
    Proposal(Box<CompactProposal>),
    /// A validator's vote.
    Vote(Signed<Vote>),
    /// The height is to be started.
    Wake(Signed<Wake>),
}

impl Wire for ConsensusMessage {
    const MAX_BYTES: usize = 4 + CompactProposal::MAX_BYTES;
}
