//! What goes into a replica and what comes out.

use std::collections::BTreeMap;

use lucid_types::block::Block;
use lucid_types::certificate::Certificate;
use lucid_types::codec::Wire;
use lucid_types::id::NodeId;
use lucid_types::payout::PoolCommand;
use lucid_types::report::{ReportCommitment, Reveal, Salt, ScoreReport};
use lucid_types::signed::{MultiSigned, Signed, Verified};
use lucid_types::sync::{Decided, LivenessMessage, SyncRequest};
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::vote::{ConsensusMessage, Proposal, Vote, Wake};
use serde::{Deserialize, Serialize};

use crate::engine::wal::WalEntry;
use crate::ledger::check::InvalidBlock;
use crate::ledger::execute::Applied;
use crate::ledger::state::State;

/// A verified message of the engine's rounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoundMessage {
    /// A proposal.
    Proposal(Verified<Signed<Proposal>>),
    /// A vote.
    Vote(Verified<Signed<Vote>>),
    /// A validator has a reason to start the height.
    Wake(Verified<Signed<Wake>>),
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// A validator's commitment to its report.
    Commitment(Verified<Signed<ReportCommitment>>),
    /// A validator's reveal.
    Reveal(Verified<Signed<Reveal>>),
    /// A vote, proposal or wake of the next height or the one after.
    Consensus(RoundMessage),
    /// A repetition; its envelope and, for a vote, the vote have been verified.
    Repeated(Verified<Signed<LivenessMessage>>),
    /// A proposed block, by gossip or because it was asked for. Which rounds it is proposed in, only proposals say.
    Body(Verified<Block>),
    /// A proof that a block was decided.
    Certificate(Verified<Certificate>),
    /// A decided block from a peer.
    Decided(Verified<Decided>),
    /// A pool's command.
    Command(Verified<MultiSigned<PoolCommand>>),
    /// What this validator measured in an epoch that has ended, and a fresh random salt.
    Report {
        /// The measurements.
        report: ScoreReport,
        /// Random.
        salt: Salt,
    },
}

/// Something to gossip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gossip {
    /// This validator's commitment.
    Commitment(Signed<ReportCommitment>),
    /// This validator's reveal.
    Reveal(Signed<Reveal>),
    /// A vote, proposal or wake.
    Consensus(ConsensusMessage),
    /// A repetition.
    Liveness(Signed<LivenessMessage>),
    /// A proposed block.
    Body(Block),
    /// A proof that a block was decided.
    Certificate(Certificate),
}

/// A decided block with its outcome.
#[derive(Debug)]
pub struct Stored {
    /// The block and its proof.
    pub decided: Decided,
    /// State, rows and events.
    pub applied: Applied,
}

/// Something to do. Effects of one input are carried out in order; each must have succeeded before the next.
#[derive(Debug)]
pub enum Effect {
    /// Append to the engine's log.
    AppendLog {
        /// The height it belongs to.
        height: Height,
        /// The entry.
        entry: WalEntry,
    },
    /// Make the log durable.
    SyncLog,
    /// Make this validator's own commitment and reveal durable.
    PersistOwn(Box<OwnReport>),
    /// Store block, certificate, state and rows in one durable batch, and drop the height's log with it.
    Store(Box<Stored>),
    /// Gossip.
    Gossip(Gossip),
    /// Ask a peer, or any if none is named.
    Fetch {
        /// Whom.
        peer: Option<NodeId>,
        /// For what.
        request: SyncRequest,
    },
    /// These validators contradicted themselves.
    Equivocation(Vec<NodeId>),
    /// A certified block does not follow from this node's state: this node or more than two thirds of the validators
    /// run wrong code or hold a damaged store. The node must stop acting and say so.
    Diverged {
        /// The block's height.
        height: Height,
        /// Why this node refuses it.
        error: InvalidBlock,
    },
}

/// A validator's own commitment and the reveal behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnReport {
    /// The commitment.
    pub commitment: Signed<ReportCommitment>,
    /// The reveal.
    pub reveal: Signed<Reveal>,
}

impl Wire for OwnReport {
    const MAX_BYTES: usize = ReportCommitment::MAX_BYTES + Reveal::MAX_BYTES + 192;
}

/// What a replica goes on from.
#[derive(Debug)]
pub struct Restore {
    /// The state after the newest stored block, or of the genesis.
    pub state: State,
    /// The engine's log of the height after it.
    pub log: Vec<WalEntry>,
    /// This validator's own reports of epochs that are not final yet.
    pub own: BTreeMap<Epoch, OwnReport>,
    /// What this run's repetitions are counted from: more than any of an earlier run.
    pub liveness_sequence: u64,
    /// The time.
    pub now: UnixMillis,
}
