//! Which blocks are well formed. A pure function of the block and the state before it; signatures are not checked
//! here but by [`lucid_types::block::Block::verify`], or vouched for by a certificate.

use lucid_score::aggregate::{ObservationError, check_observation};
use lucid_score::median::weighted_median;
use lucid_types::block::Block;
use lucid_types::codec::encode;
use lucid_types::commit::Commit;
use lucid_types::id::{NodeId, PoolId, StateRoot};
use lucid_types::report::Reveal;
use lucid_types::signed::Signed;
use lucid_types::time::{EpochNumber, UnixMillis};

use crate::ledger::state::State;
use crate::network::Network;

/// Why a block cannot follow a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlock {
    /// Another height or parent.
    #[error("the block does not follow the newest one")]
    NotNext,
    /// The proposer is no validator of this height.
    #[error("the proposer is no validator of this height")]
    Proposer,
    /// The time is not the median of the commits' times.
    #[error("the time is {found}, the commits say {expected}")]
    Time {
        /// In the block.
        found: UnixMillis,
        /// As computed.
        expected: UnixMillis,
    },
    /// The next validator set is another.
    #[error("the next validator set is another")]
    NextSet,
    /// Commits for the block's own epoch come from too few.
    #[error("commits of power {power} are not more than two thirds")]
    TooFewCommits {
        /// Their power.
        power: u64,
    },
    /// A commit that cannot stand here.
    #[error("commit of {validator}: {problem}")]
    Commit {
        /// Who signed it.
        validator: NodeId,
        /// Why not.
        problem: &'static str,
    },
    /// A reveal that cannot stand here.
    #[error("reveal of {validator}: {problem}")]
    Reveal {
        /// Who signed it.
        validator: NodeId,
        /// Why not.
        problem: &'static str,
    },
    /// A reveal with an impossible observation.
    #[error("reveal of {validator}: an observation with {source}")]
    Observation {
        /// Who signed it.
        validator: NodeId,
        /// What is impossible.
        source: ObservationError,
    },
    /// The commands are out of order, twice, or more than a block may carry.
    #[error("the block's commands are out of order, twice, or more than {} bytes", Block::MAX_COMMAND_BYTES)]
    Commands,
    /// A command that does not apply.
    #[error("command {number} of pool {pool}: {problem}")]
    Command {
        /// The pool.
        pool: PoolId,
        /// The command's number.
        number: u64,
        /// Why not.
        problem: &'static str,
    },
    /// The payout roots are not those that follow.
    #[error("the block's payout roots are not those that it leads to")]
    PayoutRoots,
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
    /// Rows that the state names are not in this node's store: the store is damaged.
    #[error("the rows of epoch {0} are missing or damaged in this node's store")]
    MissingRows(EpochNumber),
    /// Reveals that the state counts are not in the blocks of this node's store: the store is damaged.
    #[error("the reveals of epoch {0} are missing or damaged in this node's store")]
    MissingReveals(EpochNumber),
}

/// Checks everything that does not need the state after the block.
pub(crate) fn check(network: &Network, state: &State, block: &Block) -> Result<(), InvalidBlock> {
    if block.height != state.height.next() || block.parent != state.block {
        return Err(InvalidBlock::NotNext);
    }
    let set = network.validators(block.height);
    if set.get(&block.proposer).is_none() {
        return Err(InvalidBlock::Proposer);
    }
    if block.next_set != network.validators(EpochNumber::new(block.height.get().saturating_add(2))).hash() {
        return Err(InvalidBlock::NextSet);
    }
    let key = |epoch: EpochNumber, signer: NodeId| (epoch, signer);
    if let Some(pair) = unordered(&block.commits, |c| key(c.record.epoch, c.signer)) {
        return Err(InvalidBlock::Commit { validator: pair.signer, problem: "out of order or twice" });
    }
    for commit in &block.commits {
        check_commit(network, state, commit)
            .map_err(|problem| InvalidBlock::Commit { validator: commit.signer, problem })?;
    }
    let power: u64 = commits_of_epoch(block).map(|commit| set.power(&commit.signer)).sum();
    if !set.is_quorum(power) {
        return Err(InvalidBlock::TooFewCommits { power });
    }
    let expected = block_time(network, state, commits_of_epoch(block));
    if block.time != expected {
        return Err(InvalidBlock::Time { found: block.time, expected });
    }
    if let Some(pair) = unordered(&block.reveals, |r| key(r.record.report.epoch, r.signer)) {
        return Err(InvalidBlock::Reveal { validator: pair.signer, problem: "out of order or twice" });
    }
    let command_bytes: usize = block.commands.iter().map(|command| encode(command).len()).sum();
    let in_order = unordered(&block.commands, |c| (c.record.pool, c.record.number)).is_none();
    if !in_order || command_bytes > Block::MAX_COMMAND_BYTES {
        return Err(InvalidBlock::Commands);
    }
    block.reveals.iter().try_for_each(|reveal| check_reveal(network, state, reveal))
}

/// The first item that does not come strictly after the one before it.
fn unordered<T, K: Ord>(items: &[T], key: impl Fn(&T) -> K) -> Option<&T> {
    items.windows(2).find(|pair| key(&pair[0]) >= key(&pair[1])).map(|pair| &pair[1])
}

/// The block's commits for the epoch that it closes.
pub(crate) fn commits_of_epoch(block: &Block) -> impl Iterator<Item = &Signed<Commit>> {
    block.commits.iter().filter(|commit| commit.record.epoch == block.height)
}

/// Power-weighted median of the times of the epoch's commits, and greater than the parent's.
pub(crate) fn block_time<'a>(
    network: &Network,
    state: &State,
    commits: impl IntoIterator<Item = &'a Signed<Commit>>,
) -> UnixMillis {
    let set = network.validators(state.height.next());
    let power = |commit: &Signed<Commit>| (commit.record.time.get(), set.power(&commit.signer));
    let mut times: Vec<_> = commits.into_iter().map(power).collect();
    let median = weighted_median(&mut times).unwrap_or(0);
    UnixMillis::new(median.max(state.time.get().saturating_add(1)))
}

/// Whether a commit may stand in the next block.
///
/// # Errors
/// Why not.
pub fn check_commit(network: &Network, state: &State, commit: &Signed<Commit>) -> Result<(), &'static str> {
    let height = state.height.next();
    let epoch = &commit.record.epoch;
    let oldest = height.get().saturating_sub(network.policy().commit_window - 1).max(1);
    if *epoch > height || epoch.get() < oldest {
        return Err("its epoch's window is not open");
    }
    if network.validators(*epoch).get(&commit.signer).is_none() {
        return Err("the signer is no validator of the epoch");
    }
    if state.pending.get(epoch).is_some_and(|pending| pending.commits.contains_key(&commit.signer)) {
        return Err("the signer has committed already");
    }
    Ok(())
}

/// Whether a reveal may stand in the next block.
///
/// # Errors
/// Why not.
pub fn check_reveal(network: &Network, state: &State, reveal: &Signed<Reveal>) -> Result<(), InvalidBlock> {
    let validator = reveal.signer;
    let refuse = |problem| Err(InvalidBlock::Reveal { validator, problem });
    let (epoch, window) = (reveal.record.report.epoch, network.policy().commit_window);
    let height = state.height.next().get();
    let open = epoch.get().saturating_add(window)..epoch.get().saturating_add(2 * window);
    if !open.contains(&height) {
        return refuse("its epoch's window is not open");
    }
    let Some(pending) = state.pending.get(&epoch) else { return refuse("there are no commits for its epoch") };
    let Some(commitment) = pending.commits.get(&validator) else { return refuse("the signer did not commit") };
    if pending.revealed.contains(&validator) {
        return refuse("the signer has revealed already");
    }
    if reveal.record.commitment(network.id(), &validator) != *commitment {
        return refuse("it is not what the signer committed to");
    }
    let observations = &reveal.record.report.observations;
    if unordered(observations, |o| o.worker).is_some() {
        return refuse("its observations are out of order");
    }
    for observation in observations {
        if network.worker(&observation.worker).is_none() {
            return refuse("it observes a node that is no registered worker");
        }
        check_observation(network.policy(), observation)
            .map_err(|source| InvalidBlock::Observation { validator, source })?;
    }
    Ok(())
}
