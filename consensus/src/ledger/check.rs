//! Which blocks are well formed. A pure function of the block and the state before it; signatures are not checked
//! here but by [`lucid_types::block::Block::verify`], or vouched for by a certificate.

use std::collections::BTreeSet;

use lucid_score::report::{ReportError, check_report};
use lucid_types::block::{Block, Header};
use lucid_types::codec::encode;
use lucid_types::evidence::Evidence;
use lucid_types::id::{NodeId, StateRoot, ValidatorId};
use lucid_types::report::{ReportCommitment, Reveal};
use lucid_types::signed::Signed;
use lucid_types::time::{Epoch, UnixMillis};

use crate::chain_spec::ChainSpec;
use crate::ledger::command::{CommandRefused, are_in_order};
use crate::ledger::state::{Rows, State};
use crate::ledger::table::{Commitments, Draws, Equivocations, PendingEpochs, Table, UsedKeys};

/// Why a block cannot follow a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlock {
    /// Another height or parent.
    #[error("the block does not follow the newest one")]
    NotNext,
    /// It is another validator's turn.
    #[error("the block is not of the proposer of round {round}")]
    Proposer {
        /// The round that it says it was built in.
        round: u32,
    },
    /// Too soon after its parent.
    #[error("the time is {found}, and {least} is the least")]
    Time {
        /// In the block.
        found: UnixMillis,
        /// The least.
        least: UnixMillis,
    },
    /// The next validator set is another.
    #[error("the next validator set is another")]
    NextSet,
    /// A commitment that cannot stand here.
    #[error("commitment of {validator}: {problem}")]
    Commitment {
        /// Who signed it.
        validator: ValidatorId,
        /// Why not.
        problem: &'static str,
    },
    /// A reveal that cannot stand here.
    #[error("reveal of {validator}: {problem}")]
    Reveal {
        /// Who signed it.
        validator: ValidatorId,
        /// Why not.
        problem: &'static str,
    },
    /// A reveal of a report that cannot be true.
    #[error("the report of {validator} cannot be true")]
    Report {
        /// Who signed it.
        validator: ValidatorId,
        /// Why not.
        source: ReportError,
    },
    /// The proposer's contribution to the random beacon is not the one that it must be.
    #[error("the block's contribution to the random beacon is wrong")]
    Randao,
    /// More items than a block may have.
    #[error("the block has more than {} items", Block::MAX_ITEMS)]
    TooManyItems,
    /// The commands are out of order, twice, or more than a block may carry.
    #[error("the block's commands are out of order, twice, or more than {} bytes", Block::MAX_COMMAND_BYTES)]
    Commands,
    /// A command that does not apply.
    #[error("command {nonce} of account {account}: {source}")]
    Command {
        /// Who gives it.
        account: NodeId,
        /// The command's number.
        nonce: u64,
        /// Why not.
        source: Box<CommandRefused>,
    },
    /// Evidence that cannot stand here.
    #[error("evidence against {validator}: {problem}")]
    Evidence {
        /// Against whom.
        validator: ValidatorId,
        /// Why not.
        problem: &'static str,
    },
    /// The state after the block has another root.
    #[error("the state root is {found}, the block leads to {expected}")]
    StateRoot {
        /// In the block.
        found: StateRoot,
        /// As computed.
        expected: StateRoot,
    },
    /// An amount does not fit its type: the genesis promises more than can be counted.
    #[error("an amount does not fit its type")]
    Overflow,
    /// A row is missing that every state of a chain has. No block leads there.
    #[error("a row of table {0} is missing in this node's state")]
    Damaged(&'static str),
}

/// Checks the proposer's contribution to the random beacon.
pub(crate) fn check_randao(spec: &ChainSpec, state: &State, block: &Block) -> Result<(), InvalidBlock> {
    let Header { height, proposer, randao, .. } = &block.header;
    let proposer = state.next_validators().get(proposer).ok_or(InvalidBlock::Randao)?;
    let holds = spec.rules().is_contribution(spec.id(), proposer, *height, randao);
    if holds { Ok(()) } else { Err(InvalidBlock::Randao) }
}

/// Checks everything that does not need the state after the block.
pub(crate) fn check(spec: &ChainSpec, state: &State, block: &Block) -> Result<(), InvalidBlock> {
    if block.header.height != state.height().next() || block.header.parent != state.block() {
        return Err(InvalidBlock::NotNext);
    }
    if !spec.rules().is_turn(state.next_proposers(), block.header.round, &block.header.proposer) {
        return Err(InvalidBlock::Proposer { round: block.header.round });
    }
    let least = state.next_time(spec);
    if block.header.time < least {
        return Err(InvalidBlock::Time { found: block.header.time, least });
    }
    if block.items_count() > Block::MAX_ITEMS {
        return Err(InvalidBlock::TooManyItems);
    }
    let key = |epoch: Epoch, signer: ValidatorId| (epoch, signer);
    if let Some(pair) = unordered(&block.commitments, |c| key(c.record.epoch, c.signer)) {
        return Err(InvalidBlock::Commitment { validator: pair.signer, problem: "out of order or twice" });
    }
    for commitment in &block.commitments {
        check_commitment(spec, state, commitment)
            .map_err(|problem| InvalidBlock::Commitment { validator: commitment.signer, problem })?;
    }
    if let Some(pair) = unordered(&block.reveals, |r| key(r.record.report.epoch, r.signer)) {
        return Err(InvalidBlock::Reveal { validator: pair.signer, problem: "out of order or twice" });
    }
    let command_bytes: usize = block.commands.iter().map(|command| encode(command).len()).sum();
    let in_order = are_in_order(&state.head().beacon, &block.commands);
    if !in_order || command_bytes > Block::MAX_COMMAND_BYTES {
        return Err(InvalidBlock::Commands);
    }
    if let Some(second) = unordered(&block.evidence, Evidence::validator) {
        return Err(InvalidBlock::Evidence { validator: second.validator(), problem: "out of order or twice" });
    }
    let mut accused = BTreeSet::new();
    for evidence in &block.evidence {
        let refuse = |problem| InvalidBlock::Evidence { validator: evidence.validator(), problem };
        let account = check_evidence(spec, state, evidence).map_err(refuse)?;
        // One validator may have equivocated with two keys.
        if !accused.insert(account) {
            return Err(refuse("the block holds other evidence against the same validator"));
        }
    }
    block.reveals.iter().try_for_each(|reveal| check_reveal(spec, state, reveal))
}

/// The first item that does not come strictly after the one before it.
fn unordered<T, K: Ord>(items: &[T], key: impl Fn(&T) -> K) -> Option<&T> {
    items.windows(2).find(|pair| key(&pair[0]) >= key(&pair[1])).map(|pair| &pair[1])
}

/// Whether evidence may stand in the next block: against a validator of its height, not too far back, against whom no block holds any
/// yet, whatever keys it has by now. Returns the account.
///
/// # Errors
/// Why not.
pub fn check_evidence(spec: &ChainSpec, state: &State, evidence: &Evidence) -> Result<NodeId, &'static str> {
    let height = evidence.height();
    match state.height().next().get().checked_sub(height.get()) {
        None => return Err("its height is ahead of the block's"),
        Some(age) if age > spec.fixed().evidence_blocks => return Err("it is too old"),
        Some(_) => {}
    }
    let set = state.validators(height);
    let account = set.and_then(|set| set.get(&evidence.validator())).ok_or("the signer was no validator")?.node;
    if state.has::<Equivocations>(&account) {
        return Err("a block holds evidence against the signer already");
    }
    Ok(account)
}

/// Whether a commitment may stand in the next block.
///
/// # Errors
/// Why not.
pub fn check_commitment(
    spec: &ChainSpec,
    state: &State,
    commitment: &Signed<ReportCommitment>,
) -> Result<(), &'static str> {
    let height = state.height().next();
    let epoch = commitment.record.epoch;
    let pending = state.get::<PendingEpochs>(&epoch);
    let is_open = pending.is_some_and(|pending| pending.windows(spec).commitments().contains(&height));
    let Some(draw) = state.get::<Draws>(&epoch).filter(|_| is_open) else {
        return Err("its epoch's window is not open");
    };
    if draw.reporters.binary_search(&commitment.signer).is_err() {
        return Err("the signer is no validator of the epoch");
    }
    if state.has_committed(epoch, &commitment.signer) {
        return Err("the signer has committed already");
    }
    Ok(())
}

/// Whether a reveal may stand in the next block.
///
/// # Errors
/// Why not.
pub fn check_reveal(spec: &ChainSpec, state: &State, reveal: &Signed<Reveal>) -> Result<(), InvalidBlock> {
    let (validator, epoch) = (reveal.signer, reveal.record.report.epoch);
    let refuse = |problem| Err(InvalidBlock::Reveal { validator, problem });
    let pending = state.get::<PendingEpochs>(&epoch);
    let is_open = pending.is_some_and(|pending| pending.windows(spec).reveals().contains(&state.height().next()));
    let Some(draw) = state.get::<Draws>(&epoch).filter(|_| is_open) else {
        return refuse("its epoch's window is not open");
    };
    let Some(commitment) = state.get::<Commitments>(&(epoch, validator)) else {
        return refuse("the signer did not commit");
    };
    if state.has_revealed(epoch, &validator) {
        return refuse("the signer has revealed already");
    }
    let account = state.validator_account(&validator).ok_or(InvalidBlock::Damaged(UsedKeys::NAME))?;
    if !spec.rules().is_committed(commitment, &reveal.record.commitment(spec.id(), &account)) {
        return refuse("it is not what the signer committed to");
    }
    check_report(state.policy(epoch), draw, &validator, &reveal.record.report)
        .map_err(|source| InvalidBlock::Report { validator, source })
}
