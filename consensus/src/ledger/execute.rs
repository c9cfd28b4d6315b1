//! The state after a block.

use std::collections::BTreeMap;

use lucid_score::aggregate::{aggregate, enough_reporters};
use lucid_score::committee;
use lucid_score::standing::LeavingRow;
use lucid_types::block::Block;
use lucid_types::id::{Hash, NodeId, PoolId};
use lucid_types::payout::{PayoutRequest, PoolCommand, SettlementRoot};
use lucid_types::payout_tree::OwedAccount;
use lucid_types::report::Reveal;
use lucid_types::signed::{Signed, Verified};
use lucid_types::sync::Decided;
use lucid_types::time::EpochNumber;

use crate::ledger::archive::Archive;
use crate::ledger::check::{InvalidBlock, check};
use crate::ledger::state::{EpochRows, PendingEpoch, State};
use crate::ledger::{command, settle};
use crate::network::Network;

/// What a block did, for history and for those who act on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A leader was elected.
    Elected {
        /// The pool.
        pool: PoolId,
        /// The settlement.
        settlement: u64,
        /// The leader and its successors.
        order: Vec<NodeId>,
    },
    /// A settlement made a payout root.
    Settled(Box<Settled>),
    /// The newest root was issued again: under a newer era, or with a higher total.
    Reissued(SettlementRoot),
}

/// A payout root and what it commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The root.
    pub root: SettlementRoot,
    /// The leaves of its tree: accounts with a request first, then the rest, each by id.
    pub leaves: Vec<OwedAccount>,
    /// What became due, by account.
    pub requests: Vec<PayoutRequest>,
}

/// A block's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The state after the block.
    pub state: State,
    /// The rows of the epoch whose scores became final.
    pub rows: Option<EpochRows>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// Computes the state after a proposed block.
///
/// # Errors
/// Why the block is invalid.
pub fn validate(
    network: &Network,
    state: &State,
    block: &Verified<Block>,
    archive: &dyn Archive,
) -> Result<Applied, InvalidBlock> {
    execute(network, state, block, archive)
}

/// Computes the state after a decided block. An error means that this node or more than two thirds of the
/// validators run wrong code or hold a damaged store.
///
/// # Errors
/// Why the block is invalid.
pub fn adopt(
    network: &Network,
    state: &State,
    decided: &Verified<Decided>,
    archive: &dyn Archive,
) -> Result<Applied, InvalidBlock> {
    execute(network, state, &decided.block, archive)
}

fn execute(network: &Network, state: &State, block: &Block, archive: &dyn Archive) -> Result<Applied, InvalidBlock> {
    let (applied, payout_roots) = transition(network, state, block, archive)?;
    if block.payout_roots != payout_roots {
        return Err(InvalidBlock::PayoutRoots);
    }
    let expected = applied.state.root();
    if block.state_root != expected {
        return Err(InvalidBlock::StateRoot { found: block.state_root, expected });
    }
    Ok(applied)
}

/// Everything but the comparison of the state root and the payout roots, which are the second result. `state.block` of the
/// first is the hash of `block` as it is.
pub(crate) fn transition(
    network: &Network,
    before: &State,
    block: &Block,
    archive: &dyn Archive,
) -> Result<(Applied, Vec<SettlementRoot>), InvalidBlock> {
    check(network, before, block)?;
    let mut state = before.clone();
    let mut events = Vec::new();
    state.height = block.height;
    state.block = block.hash();
    state.time = block.time;
    record(&mut state, block);
    for signed in &block.commands {
        let PoolCommand { pool, number, .. } = signed.record;
        command::apply(network, &mut state, signed).map_err(|problem| InvalidBlock::Command {
            pool,
            number,
            problem,
        })?;
    }
    let reissued = new_roots(before, &state);
    let rows = match network.finalised_by(block.height) {
        Some(epoch) => Some(finalise(network, &mut state, epoch, block, archive)?),
        None => None,
    };
    if let Some(rows) = &rows {
        settle::add_shares(network, &mut state, rows)?;
        settle::settle(network, &mut state, rows.epoch, &mut events)?;
    }
    let oldest_beacon = block.height.get().saturating_sub(2 * network.policy().commit_window);
    state.beacons.retain(|epoch, _| epoch.get() >= oldest_beacon);
    let payout_roots = new_roots(before, &state);
    // One that a settlement of this block has replaced was never issued.
    events.extend(reissued.into_iter().filter(|root| payout_roots.contains(root)).map(Event::Reissued));
    Ok((Applied { state, rows, events }, payout_roots))
}

/// The roots that were made or issued again between two states.
fn new_roots(before: &State, after: &State) -> Vec<SettlementRoot> {
    let newest = |state: &State, id: &PoolId| state.pools.get(id).and_then(|pool| pool.newest);
    let changed = after.pools.keys().filter(|id| newest(after, id) != newest(before, id));
    changed.filter_map(|id| newest(after, id)).collect()
}

/// Notes the block's commits and reveals.
fn record(state: &mut State, block: &Block) {
    for commit in &block.commits {
        let pending = state.pending.entry(commit.record.epoch).or_default();
        pending.commits.insert(commit.signer, commit.record.report);
    }
    for reveal in &block.reveals {
        let pending = state.pending.entry(reveal.record.report.epoch).or_default();
        pending.revealed.insert(reveal.signer);
    }
}

/// Makes the scores of `epoch` final: medians, standings, rows, and the next random beacon.
fn finalise(
    network: &Network,
    state: &mut State,
    epoch: EpochNumber,
    block: &Block,
    archive: &dyn Archive,
) -> Result<EpochRows, InvalidBlock> {
    let policy = network.policy();
    forget(state, epoch, policy.credits_window, archive, true)?;
    forget(state, epoch, policy.history_window, archive, false)?;
    let pending = state.pending.remove(&epoch).unwrap_or_default();
    let earlier = earlier_blocks(network, epoch, block, archive)?;
    let reveals = reveals_of(network, epoch, &pending, &earlier, block)?;
    let beacon = state.beacons.get(&epoch).copied().unwrap_or(Hash::from_bytes(*network.id().as_bytes()));
    let mut rows = Vec::new();
    for worker in network.workers() {
        let committee = committee::draw(network.validators(epoch), &beacon, worker, policy.committee_size);
        let observations = observations_of(network, epoch, &reveals, &worker.node, &committee);
        if !enough_reporters(observations.len(), committee.len()) {
            continue;
        }
        let medians = aggregate(policy, &observations);
        let standing = state.standings.entry(worker.node).or_default();
        rows.push(standing.add(policy, worker.node, medians));
    }
    let rows = EpochRows { epoch, rows };
    state.row_roots.insert(epoch, rows.root());
    let longest = policy.credits_window.max(policy.history_window);
    state.row_roots.retain(|e, _| e.get().saturating_add(longest) > epoch.get());
    next_beacon(network, state, epoch, &reveals);
    Ok(rows)
}

/// The revealed reports of an epoch by validator.
type Reveals<'a> = BTreeMap<NodeId, &'a Reveal>;

/// The blocks before `block` in which reveals of `epoch` may stand. Without commits for it there are none.
fn earlier_blocks(
    network: &Network,
    epoch: EpochNumber,
    block: &Block,
    archive: &dyn Archive,
) -> Result<Vec<Block>, InvalidBlock> {
    let first = epoch.get().saturating_add(network.policy().commit_window);
    let heights = (first..block.height.get()).map(EpochNumber::new);
    heights.map(|height| archive.block(height).ok_or(InvalidBlock::MissingReveals(epoch))).collect()
}

/// What validators revealed of `epoch` in `block`, which has been checked, and in the blocks before, as far as the store
/// has kept what they committed to: together exactly what the state says they did.
fn reveals_of<'a>(
    network: &Network,
    epoch: EpochNumber,
    pending: &PendingEpoch,
    earlier: &'a [Block],
    block: &'a Block,
) -> Result<Reveals<'a>, InvalidBlock> {
    let is_committed = |reveal: &&Signed<Reveal>| {
        pending.commits.get(&reveal.signer) == Some(&reveal.record.commitment(network.id(), &reveal.signer))
    };
    let of_epoch = |reveal: &&Signed<Reveal>| reveal.record.report.epoch == epoch;
    let before = earlier.iter().flat_map(|block| &block.reveals).filter(of_epoch).filter(is_committed);
    let reveals: Reveals<'a> =
        before.chain(block.reveals.iter().filter(of_epoch)).map(|reveal| (reveal.signer, &reveal.record)).collect();
    if reveals.keys().eq(&pending.revealed) { Ok(reveals) } else { Err(InvalidBlock::MissingReveals(epoch)) }
}

/// The committee's revealed observations of one worker, with the reporters' power.
fn observations_of<'a>(
    network: &Network,
    epoch: EpochNumber,
    reveals: &Reveals<'a>,
    worker: &NodeId,
    committee: &[NodeId],
) -> Vec<(u64, &'a lucid_types::report::Observation)> {
    let set = network.validators(epoch);
    let of = |validator: &NodeId| {
        let Reveal { report, .. } = reveals.get(validator)?;
        let found = report.observations.binary_search_by_key(worker, |o| o.worker).ok()?;
        Some((set.power(validator), &report.observations[found]))
    };
    committee.iter().filter_map(of).collect()
}

/// Takes the epoch that leaves a window out of the running sums.
fn forget(
    state: &mut State,
    epoch: EpochNumber,
    window: u64,
    archive: &dyn Archive,
    credits_window: bool,
) -> Result<(), InvalidBlock> {
    let Some(leaving) = epoch.get().checked_sub(window).filter(|e| *e > 0).map(EpochNumber::new) else {
        return Ok(());
    };
    let Some(root) = state.row_roots.get(&leaving) else { return Ok(()) };
    let rows = archive.rows(leaving).filter(|rows| rows.root() == *root);
    for row in rows.ok_or(InvalidBlock::MissingRows(leaving))?.rows {
        let Some(standing) = state.standings.get_mut(&row.worker) else { continue };
        let leaving = LeavingRow { credits: row.credits, reachable_ms: row.reachable_ms };
        if credits_window {
            standing.leave_credits_window(leaving);
        } else {
            standing.leave_history_window(leaving);
        }
    }
    Ok(())
}

/// `beacon(e + 2W + 1) = BLAKE3(beacon(e + 2W), the epoch's revealed salts by validator id)`.
fn next_beacon(network: &Network, state: &mut State, epoch: EpochNumber, reveals: &Reveals<'_>) {
    let last = epoch.get().saturating_add(2 * network.policy().commit_window);
    let previous = state.beacons.get(&EpochNumber::new(last)).copied();
    let previous = previous.unwrap_or(Hash::from_bytes(*network.id().as_bytes()));
    let mut parts: Vec<&[u8]> = vec![previous.as_bytes()];
    for (validator, reveal) in reveals {
        parts.push(validator.as_bytes());
        parts.push(&reveal.salt);
    }
    let next = Hash::derive("lucid random beacon 1", &parts);
    state.beacons.insert(EpochNumber::new(last).next(), next);
}
