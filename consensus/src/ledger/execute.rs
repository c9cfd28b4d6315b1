//! The state after a block.

use std::collections::{BTreeMap, BTreeSet};

use lucid_score::aggregate::Weighted;
use lucid_score::report::weighted;
use lucid_score::seats::EpochDraw;
use lucid_score::worker_stats::LeavingRow;
use lucid_types::block::Block;
use lucid_types::bls::BlsSignature;
use lucid_types::evidence::Evidence;
use lucid_types::id::{Hash, NodeId, PoolId};
use lucid_types::payout::{PoolCommand, SettlementRoot};
use lucid_types::report::Reveal;
use lucid_types::signed::{Signed, Verified};
use lucid_types::sync::CertifiedBlock;
use lucid_types::time::{Epoch, Height};

use crate::chain_spec::ChainSpec;
use crate::ledger::archive::Archive;
use crate::ledger::check::{InvalidBlock, check, check_randao};
use crate::ledger::event::Event;
use crate::ledger::state::{EpochRows, Equivocation, PendingEpoch, State, draw};
use crate::ledger::{command, settle};

/// A block's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
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
    spec: &ChainSpec,
    state: &State,
    block: &Verified<Block>,
    archive: &dyn Archive,
) -> Result<Execution, InvalidBlock> {
    let applied = execute(spec, state, block, archive)?;
    // Last: it costs most.
    check_randao(spec, block)?;
    Ok(applied)
}

/// Computes the state after a decided block, whose signatures more than two thirds of the power vouch for. An error means that this
/// node or more than two thirds of the validators run wrong code or hold a damaged store.
///
/// # Errors
/// Why the block is invalid.
pub fn adopt(
    spec: &ChainSpec,
    state: &State,
    decided: &Verified<CertifiedBlock>,
    archive: &dyn Archive,
) -> Result<Execution, InvalidBlock> {
    execute(spec, state, &decided.block, archive)
}

fn execute(spec: &ChainSpec, state: &State, block: &Block, archive: &dyn Archive) -> Result<Execution, InvalidBlock> {
    let (applied, payout_roots) = transition(spec, state, block, archive)?;
    if block.header.payout_roots != payout_roots {
        return Err(InvalidBlock::PayoutRoots);
    }
    let expected = applied.state.root();
    if block.header.state_root != expected {
        return Err(InvalidBlock::StateRoot { found: block.header.state_root, expected });
    }
    Ok(applied)
}

/// Everything but the comparison of the state root and the payout roots, which are the second result. `state.block` of the
/// first is the hash of `block` as it is.
pub(crate) fn transition(
    spec: &ChainSpec,
    before: &State,
    block: &Block,
    archive: &dyn Archive,
) -> Result<(Execution, Vec<SettlementRoot>), InvalidBlock> {
    check(spec, before, block)?;
    let mut state = before.clone();
    let mut events = Vec::new();
    state.height = block.header.height;
    state.block = block.hash();
    state.time = block.header.time;
    state.previous_beacon = state.beacon;
    state.beacon = next_beacon(&state.beacon, &block.header.randao);
    record(&mut state, block);
    events.extend(record_evidence(&mut state, block));
    for signed in &block.commands {
        let PoolCommand { pool, number, .. } = signed.record;
        command::apply(spec, &mut state, signed).map_err(|problem| InvalidBlock::Command { pool, number, problem })?;
    }
    let reissued = new_roots(before, &state);
    let is_final = |(_, pending): &(&Epoch, &PendingEpoch)| pending.windows(spec).final_in() == block.header.height;
    let rows = match state.pending.iter().find(is_final).map(|(epoch, _)| *epoch) {
        Some(epoch) => Some(finalise(spec, &mut state, epoch, block, archive)?),
        None => None,
    };
    if let Some(rows) = &rows {
        settle::add_shares(spec, &mut state, rows)?;
    }
    events.extend(close_epochs(spec, &mut state));
    settle::settle(spec, &mut state, &before.beacon, &mut events)?;
    let payout_roots = new_roots(before, &state);
    // One that a settlement of this block has replaced was never issued.
    events.extend(reissued.into_iter().filter(|root| payout_roots.contains(root)).map(Event::Reissued));
    Ok((Execution { state, rows, events }, payout_roots))
}

/// The roots that were made or issued again between two states.
fn new_roots(before: &State, after: &State) -> Vec<SettlementRoot> {
    let newest = |state: &State, id: &PoolId| state.pools.get(id).and_then(|pool| pool.newest);
    let changed = after.pools.keys().filter(|id| newest(after, id) != newest(before, id));
    changed.filter_map(|id| newest(after, id)).collect()
}

/// Notes the block's commitments and reveals, which have been checked.
fn record(state: &mut State, block: &Block) {
    for commitment in &block.commitments {
        if let Some(pending) = state.pending.get_mut(&commitment.record.epoch) {
            pending.commitments.insert(commitment.signer, commitment.record.report);
        }
    }
    for reveal in &block.reveals {
        if let Some(pending) = state.pending.get_mut(&reveal.record.report.epoch) {
            pending.revealed.insert(reveal.signer);
        }
    }
}

/// Notes the block's evidence, which has been checked.
fn record_evidence(state: &mut State, block: &Block) -> Vec<Event> {
    let proved_in = block.header.height;
    let record = |evidence: &Evidence| {
        let (validator, height) = (evidence.validator(), evidence.height());
        state.equivocations.insert(validator, Equivocation { height, proved_in });
        Event::Equivocated { validator, height }
    };
    block.evidence.iter().map(record).collect()
}

/// Closes the epochs that have ended by the block's time. The first of them has been measured if the one before was closed in
/// time; the others were over before their seeds were known. The next one is measured if half of it is left.
fn close_epochs(spec: &ChainSpec, state: &mut State) -> Option<Event> {
    let (genesis, first) = (spec.genesis(), state.closed.next());
    let last = genesis.epoch_at(state.time).previous();
    if last < first {
        return None;
    }
    let measured = state.open.take();
    let is_measured = measured.is_some();
    if let Some(draw) = measured {
        let closed_in = state.height;
        let pending = PendingEpoch { closed_in, draw, commitments: BTreeMap::new(), revealed: BTreeSet::new() };
        state.pending.insert(first, pending);
    }
    let next = last.next();
    state.closed = last;
    let is_in_time = state.time <= genesis.epoch_start(next).after(spec.policy().epoch() / 2);
    state.open = is_in_time.then(|| draw(spec, state.height, &state.beacon, next, &state.worker_stats));
    Some(Event::Closed { first, last, is_measured })
}

/// Makes the scores of `epoch` final: medians, worker_stats and rows.
fn finalise(
    spec: &ChainSpec,
    state: &mut State,
    epoch: Epoch,
    block: &Block,
    archive: &dyn Archive,
) -> Result<EpochRows, InvalidBlock> {
    let policy = spec.policy();
    let Some(pending) = state.pending.remove(&epoch) else { return Err(InvalidBlock::MissingReveals(epoch)) };
    forget(state, epoch, policy.credits_window, archive, true)?;
    forget(state, epoch, policy.history_window, archive, false)?;
    let earlier = earlier_blocks(spec, epoch, &pending, block, archive)?;
    let reveals = reveals_of(spec, epoch, &pending, &earlier, block)?;
    let mut rows = Vec::new();
    for (worker, observations) in by_worker(&pending.draw, &reveals) {
        let Some(medians) = spec.rules().aggregate(policy, &observations) else { continue };
        let standing = state.worker_stats.entry(worker).or_default();
        rows.push(standing.add(policy, worker, medians));
    }
    let rows = EpochRows { epoch, rows };
    state.row_roots.insert(epoch, rows.root());
    let longest = policy.credits_window.max(policy.history_window);
    state.row_roots.retain(|e, _| e.get().saturating_add(longest) > epoch.get());
    state.scored = epoch;
    Ok(rows)
}

/// The revealed reports of an epoch by validator.
type Reveals<'a> = BTreeMap<NodeId, &'a Reveal>;

/// The blocks before `block` in which reveals of `epoch` may stand.
fn earlier_blocks(
    spec: &ChainSpec,
    epoch: Epoch,
    pending: &PendingEpoch,
    block: &Block,
    archive: &dyn Archive,
) -> Result<Vec<Block>, InvalidBlock> {
    let first = pending.windows(spec).reveals().start().get();
    let heights = (first..block.header.height.get()).map(Height::new);
    heights.map(|height| archive.block(height).ok_or(InvalidBlock::MissingReveals(epoch))).collect()
}

/// What validators revealed of `epoch` in `block`, which has been checked, and in the blocks before, as far as the store
/// has kept what they committed to: together exactly what the state says they did.
fn reveals_of<'a>(
    spec: &ChainSpec,
    epoch: Epoch,
    pending: &PendingEpoch,
    earlier: &'a [Block],
    block: &'a Block,
) -> Result<Reveals<'a>, InvalidBlock> {
    let is_committed = |reveal: &&Signed<Reveal>| {
        pending.commitments.get(&reveal.signer) == Some(&reveal.record.commitment(spec.id(), &reveal.signer))
    };
    let of_epoch = |reveal: &&Signed<Reveal>| reveal.record.report.epoch == epoch;
    let before = earlier.iter().flat_map(|block| &block.reveals).filter(of_epoch).filter(is_committed);
    let reveals: Reveals<'a> =
        before.chain(block.reveals.iter().filter(of_epoch)).map(|reveal| (reveal.signer, &reveal.record)).collect();
    if reveals.keys().eq(&pending.revealed) { Ok(reveals) } else { Err(InvalidBlock::MissingReveals(epoch)) }
}

/// What was revealed of each worker, with the reporters' seats. The reports were checked when their block was.
fn by_worker<'a>(draw: &'a EpochDraw, reveals: &Reveals<'a>) -> BTreeMap<NodeId, Vec<Weighted<'a>>> {
    let mut by_worker = BTreeMap::<NodeId, Vec<Weighted<'_>>>::new();
    for (validator, reveal) in reveals {
        for (worker, observation) in weighted(draw, validator, &reveal.report).into_iter().flatten() {
            by_worker.entry(worker.node).or_default().push(observation);
        }
    }
    by_worker
}

/// Takes the epochs that leave a window with `epoch` out of the running sums: those since the epoch that was scored last.
fn forget(
    state: &mut State,
    epoch: Epoch,
    window: u64,
    archive: &dyn Archive,
    credits_window: bool,
) -> Result<(), InvalidBlock> {
    let leaves_with = |row: Epoch| row.get().saturating_add(window);
    let is_leaving = |row: Epoch| leaves_with(row) > state.scored.get() && leaves_with(row) <= epoch.get();
    let leaving = state.row_roots.iter().filter(|(row, _)| is_leaving(**row));
    let leaving: Vec<_> = leaving.map(|(epoch, root)| (*epoch, *root)).collect();
    for (epoch, root) in leaving {
        let rows = archive.rows(epoch).filter(|rows| rows.root() == root);
        for row in rows.ok_or(InvalidBlock::MissingRows(epoch))?.rows {
            let Some(standing) = state.worker_stats.get_mut(&row.worker) else { continue };
            let leaving = LeavingRow { credits: row.credits, reachable_ms: row.reachable_ms };
            if credits_window {
                standing.leave_credits_window(leaving);
            } else {
                standing.leave_history_window(leaving);
            }
        }
    }
    Ok(())
}

/// The next random beacon: BLAKE3 of the one before and the proposer's contribution.
fn next_beacon(beacon: &Hash, randao: &BlsSignature) -> Hash {
    Hash::derive("lucid random beacon 2", &[beacon.as_bytes(), randao.as_bytes()])
}
