//! What goes into a replica and what comes out.

use std::collections::BTreeMap;

use lucid_types::block::{Item, ItemId};
use lucid_types::certificate::Certificate;
use lucid_types::codec::Wire;
use lucid_types::evidence::Evidence;
use lucid_types::id::NodeId;
use lucid_types::message::{CompactProposal, ConsensusMessage};
use lucid_types::report::{ReportCommitment, Reveal, Salt, ScoreReport};
use lucid_types::signed::{Signed, Verified};
use lucid_types::sync::{CertifiedBlock, Rebroadcast, SyncRequest};
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::vote::{Vote, Wake};
use serde::{Deserialize, Serialize};

use crate::engine::wal::WalEntry;
use crate::keyring::Keyring;
use crate::ledger::check::InvalidBlock;
use crate::ledger::command::{CommandRefused, SignedCommand};
use crate::ledger::execute::Execution;
use crate::ledger::state::State;

/// Something that happened. What others sent has passed [`crate::admission`].
#[derive(Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// A validator's commitment to its report.
    Commitment(Verified<Signed<ReportCommitment>>),
    /// A validator's reveal.
    Reveal(Verified<Signed<Reveal>>),
    /// A command that somebody gossips.
    Command(Verified<SignedCommand>),
    /// A command of a user of this node, who wants to know whether it is taken: [`Effect::Answer`].
    Submit(Verified<SignedCommand>),
    /// Evidence of equivocation.
    Evidence(Verified<Evidence>),
    /// What was asked for by id.
    Items {
        /// The items.
        items: Vec<Verified<Item>>,
        /// What these ids name is no item.
        broken: Vec<ItemId>,
    },
    /// A proposal of the next height or the one after.
    Proposal {
        /// The proposal.
        proposal: Verified<CompactProposal>,
        /// Who sent it here.
        from: NodeId,
        /// When it came, by this node's clock: what the block's time is judged by.
        arrived: UnixMillis,
    },
    /// A vote of the next height or the one after.
    Vote(Verified<Signed<Vote>>),
    /// A validator has a reason to start the next height or the one after.
    Wake(Verified<Signed<Wake>>),
    /// A proof of votes that a validator repeats. The engine checks the signatures in it itself.
    Proof(Verified<Signed<Rebroadcast>>),
    /// A proof that a block was decided.
    Certificate(Verified<Certificate>),
    /// A decided block from a peer.
    Decided(Verified<CertifiedBlock>),
    /// A later state, with which this node goes on instead of the blocks up to it. Its root is certified, and it is durable.
    Snapshot(Box<State>),
    /// The keys with which this node may sign from now on, with those that it had among them.
    Keys(Keyring),
    /// This validator has listened long enough for another machine with its key.
    Listened,
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
    /// A rebroadcast.
    Rebroadcast(Signed<Rebroadcast>),
    /// A proof that a block was decided.
    Certificate(Certificate),
    /// Evidence against a validator that this node has found.
    Evidence(Evidence),
    /// A command of a user of this node.
    Command(SignedCommand),
}

/// A decided block with its outcome.
#[derive(Debug)]
pub struct FinalizedBlock {
    /// The block and its proof.
    pub decided: CertifiedBlock,
    /// State, rows and events.
    pub applied: Execution,
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
    /// Make a command of a user of this node durable. It may be dropped once [`is_over`](crate::commands::is_over) says so.
    PersistCommand(Box<SignedCommand>),
    /// Tell the user who has submitted a command; one for each [`Input::Submit`].
    Answer {
        /// Who gives the command.
        account: NodeId,
        /// Its number.
        nonce: u64,
        /// Whether this node has taken it over. What it has taken over waits until a block holds it or another one of its number, until
        /// its time is over, or until it applies no more when it is its turn.
        outcome: Result<(), CommandRefused>,
    },
    /// Store block, certificate, state and rows in one durable batch, and drop the height's log with it.
    Store(Box<FinalizedBlock>),
    /// Gossip.
    Gossip(Gossip),
    /// Fetch the decided blocks up to this height: there is a certificate for the last.
    CatchUp {
        /// The height.
        to: Height,
    },
    /// Ask a peer, or any if none is named.
    Fetch {
        /// Whom.
        peer: Option<NodeId>,
        /// For what.
        request: SyncRequest,
    },
    /// The node must stop, and sign nothing more.
    Fail(Failure),
}

/// Why a node must stop.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// A certified block does not follow from this node's state: this node or more than two thirds of the validators run wrong
    /// code or hold a damaged store.
    #[error(
        "block {height} is certified and does not follow from this node's state ({error}); the store is damaged or the \
         software differs from the other nodes': keep the home for a report, and start with a new one"
    )]
    Diverged {
        /// The block's height.
        height: Height,
        /// Why this node refuses it.
        error: InvalidBlock,
    },
    /// The engine refused an input, or replaying its log led to other votes than it holds: what it would sign next may
    /// contradict what it has signed.
    #[error("the BFT engine failed at height {height}: {error}; it signs nothing more: keep the home for a report")]
    Engine {
        /// The height under way.
        height: Height,
        /// What it says.
        error: String,
    },
    /// Another machine runs with this validator's key.
    #[error(
        "another machine runs with this validator's key: it has started {other} times, this one {own} times; this node signs \
         nothing more: stop one of the two, wait a minute, then start the other again"
    )]
    OtherInstance {
        /// How often this one has started.
        own: u64,
        /// How often the other has.
        other: u64,
    },
    /// Somebody else signs with this validator's key.
    #[error(
        "a message of height {height} is signed with this validator's key and this node did not make it: another machine runs \
         with the same key; this node signs nothing more: stop the other one, then start this one again"
    )]
    KeyInUse {
        /// The height.
        height: Height,
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
    /// Commands of this node's users that were made durable.
    pub commands: Vec<SignedCommand>,
    /// Whether this validator signs nothing before [`Input::Listened`], after the start and whenever it becomes one again: it listens
    /// first for another machine with its key.
    pub is_listening: bool,
    /// It signs nothing of heights up to this one, of which its log has been lost.
    pub silent_through: Height,
    /// What this run's rebroadcasts are counted from: more than any of an earlier run.
    pub rebroadcast_sequence: u64,
    /// The time.
    pub now: UnixMillis,
}
