//! The engine's write-ahead log: what must be fed to it again after a crash, so that it never contradicts itself.
//!
//! Entries belong to one height. They are appended in order, made durable before any signature leaves the node, and
//! dropped when the height's block is stored. The store underneath appends atomically, so a torn tail cannot occur.

use lucid_types::block::Block;
use lucid_types::codec::{DecodeError, Wire, decode, encode};
use lucid_types::id::{BlockHash, ValidatorId};
use lucid_types::signed::Signed;
use lucid_types::sync::PolkaCertificate;
use lucid_types::time::{self, UnixMillis};
use lucid_types::vote::{Proposal, Vote};
use malachitebft_core_consensus::{Input, ProposedValue};
use malachitebft_core_types::{Round, Timeout, TimeoutKind, Validity, ValueOrigin};
use serde::{Deserialize, Serialize};

use crate::engine::context::{Address, Height, LucidContext, ValueId};
use crate::engine::convert::{engine_polka, engine_proposal, engine_vote, polka, signed_proposal, signed_vote};

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WalEntry {
    /// A vote that was counted, our own among them.
    Vote(Signed<Vote>),
    /// A proposal that was kept, our own among them.
    Proposal(Signed<Proposal>),
    /// A block whose execution is known, by hash.
    Value {
        /// The round it was proposed in.
        round: u32,
        /// The round in which it had gathered prevotes before.
        valid_round: Option<u32>,
        /// Who proposed it.
        proposer: ValidatorId,
        /// The block.
        block: BlockHash,
        /// Whether the ledger accepted it.
        valid: bool,
    },
    /// More than two thirds prevoted.
    Polka(PolkaCertificate),
    /// A step's time ran out.
    Timeout {
        /// Which step.
        step: Step,
        /// The round.
        round: u32,
    },
    /// The block behind a `Value`, ours or another's.
    Block(Block),
    /// When the proposal of a block in a round arrived: what a block's time was judged by.
    Arrival {
        /// The round.
        round: u32,
        /// The block. If it is valid, its `Block` stands before.
        block: BlockHash,
        /// By this node's clock.
        at: UnixMillis,
    },
    /// The block that this node built to propose in a round: after a restart it proposes the same.
    Built {
        /// The round.
        round: u32,
        /// The block, whose `Block` stands before.
        block: BlockHash,
    },
}

/// A step that can time out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Waiting for a proposal.
    Propose,
    /// Waiting for prevotes to agree.
    Prevote,
    /// Waiting for precommits to agree.
    Precommit,
}

impl Wire for WalEntry {
    const MAX_BYTES: usize = Block::MAX_BYTES + 64;
}

impl WalEntry {
    /// The entry's bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// When the bytes are not an entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes)
    }

    /// The entry for an input that the engine wants logged; `None` for inputs that it never logs.
    pub(crate) fn from_input(input: &Input<LucidContext>) -> Option<Self> {
        Some(match input {
            Input::Vote(vote) => Self::Vote(signed_vote(&vote.message, vote.signature)?),
            Input::Proposal(proposal) => Self::Proposal(signed_proposal(&proposal.message, proposal.signature)?),
            Input::ProposedValue(value, _) => Self::Value {
                round: value.round.as_u32()?,
                valid_round: value.valid_round.as_u32(),
                proposer: value.proposer.0,
                block: value.value.0,
                valid: value.validity.is_valid(),
            },
            Input::PolkaCertificate(certificate) => Self::Polka(polka(certificate)?),
            Input::TimeoutElapsed(timeout) => {
                let step = match timeout.kind {
                    TimeoutKind::Propose => Step::Propose,
                    TimeoutKind::Prevote => Step::Prevote,
                    TimeoutKind::Precommit => Step::Precommit,
                    TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => return None,
                };
                Self::Timeout { step, round: timeout.round.as_u32()? }
            }
            Input::StartHeight(..) | Input::RoundCertificate(_) | Input::Propose(_) | Input::SyncValueResponse(_) => {
                return None;
            }
        })
    }

    /// The input to replay; `None` for entries that are the host's own.
    pub(crate) fn to_input(&self, height: time::Height) -> Option<Input<LucidContext>> {
        Some(match self {
            Self::Vote(vote) => Input::Vote(engine_vote(vote)),
            Self::Proposal(proposal) => Input::Proposal(engine_proposal(proposal)),
            Self::Value { round, valid_round, proposer, block, valid } => {
                let value = ProposedValue {
                    height: Height(height),
                    round: Round::new(*round),
                    valid_round: Round::from(*valid_round),
                    proposer: Address(*proposer),
                    value: ValueId(*block),
                    validity: Validity::from_bool(*valid),
                };
                Input::ProposedValue(value, ValueOrigin::Consensus)
            }
            Self::Polka(certificate) => Input::PolkaCertificate(engine_polka(certificate)),
            Self::Timeout { step, round } => {
                let kind = match step {
                    Step::Propose => TimeoutKind::Propose,
                    Step::Prevote => TimeoutKind::Prevote,
                    Step::Precommit => TimeoutKind::Precommit,
                };
                Input::TimeoutElapsed(Timeout::new(Round::new(*round), kind))
            }
            Self::Block(_) | Self::Arrival { .. } | Self::Built { .. } => return None,
        })
    }
}
