//! The state after a block. Nothing is read but the state before it and the block itself.

use lucid_types::block::Block;
use lucid_types::bls::BlsSignature;
use lucid_types::command::Command;
use lucid_types::evidence::Evidence;
use lucid_types::id::Hash;
use lucid_types::payout::SettlementRoot;
use lucid_types::signed::Verified;
use lucid_types::sync::CertifiedBlock;

use crate::chain_spec::ChainSpec;
use crate::ledger::check::{InvalidBlock, check, check_randao};
use crate::ledger::duties::count_turn;
use crate::ledger::entry::{Close, KEPT_CLOSES};
use crate::ledger::event::Event;
use crate::ledger::measuring::{finalise, fix_storage_terms};
use crate::ledger::state::{Delta, Equivocation, FinalEpoch, Overlay, PendingEpoch, Rows, State, draw};
use crate::ledger::table::{Closes, Commitments, Draws, Equivocations, PendingEpochs, Pools, Reveals};
use crate::ledger::{command, proposals, settle, validators};

/// A block's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The state after the block.
    pub state: State,
    /// The rows that the block changed.
    pub delta: Delta,
    /// The epoch that became final.
    pub finalised: Option<FinalEpoch>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// Computes the state after a proposed block.
///
/// # Errors
/// Why the block is invalid.
pub fn validate(spec: &ChainSpec, state: &State, block: &Verified<Block>) -> Result<Execution, InvalidBlock> {
    let applied = execute(spec, state, block)?;
    // Last: it costs most.
    check_randao(spec, state, block)?;
    Ok(applied)
}

/// Computes the state after a decided block, whose signatures more than two thirds of the power vouch for. An error means that this
/// node or more than two thirds of the validators run wrong code or hold a damaged store.
///
/// # Errors
/// Why the block is invalid.
pub fn adopt(spec: &ChainSpec, state: &State, decided: &Verified<CertifiedBlock>) -> Result<Execution, InvalidBlock> {
    execute(spec, state, &decided.block)
}

fn execute(spec: &ChainSpec, state: &State, block: &Block) -> Result<Execution, InvalidBlock> {
    let applied = transition(spec, state, block)?;
    if block.header.next_set != applied.state.sets().newest().1.hash() {
        return Err(InvalidBlock::NextSet);
    }
    let expected = applied.state.root();
    if block.header.state_root != expected {
        return Err(InvalidBlock::StateRoot { found: block.header.state_root, expected });
    }
    Ok(applied)
}

/// Everything but the comparison of the state root and the validators to come. `state.block` of the result is the hash of `block` as it is.
pub(crate) fn transition(spec: &ChainSpec, before: &State, block: &Block) -> Result<Execution, InvalidBlock> {
    check(spec, before, block)?;
    let mut overlay = Overlay::new(before);
    let mut events = Vec::new();
    let head = &mut overlay.head;
    head.height = block.header.height;
    head.time = block.header.time;
    head.previous_beacon = head.beacon;
    head.beacon = next_beacon(&head.beacon, &block.header.randao);
    count_turn(spec, &mut overlay, before, block.header.round);
    record(&mut overlay, block);
    events.extend(record_evidence(&mut overlay, before, block));
    for signed in &block.commands {
        let Command { account, nonce, .. } = signed.record;
        command::apply(spec, &mut overlay, signed, &mut events).map_err(|source| InvalidBlock::Command {
            account,
            nonce,
            source: Box::new(source),
        })?;
    }
    let reissued = new_roots(before, &overlay);
    let finalised = finalise(spec, &mut overlay)?;
    close_epochs(spec, &mut overlay, &mut events);
    if overlay.head.closed > before.closed() {
        proposals::follow(spec, &mut overlay, &mut events);
    }
    validators::follow(spec, &mut overlay, &mut events);
    settle::settle(spec, &mut overlay, &before.head().beacon, &mut events)?;
    // One that a settlement of this block has replaced was never issued.
    let issued = new_roots(before, &overlay);
    events.extend(reissued.into_iter().filter(|root| issued.contains(root)).map(Event::Reissued));
    let (state, delta) = overlay.finish(block.hash());
    Ok(Execution { state, delta, finalised, events })
}

/// The roots that were made or issued again since a state.
fn new_roots(before: &State, after: &Overlay<'_>) -> Vec<SettlementRoot> {
    let newest = after.all::<Pools>().filter_map(|(id, pool)| Some((id, pool.newest?)));
    newest
        .filter(|(id, root)| before.pool(id).and_then(|pool| pool.newest) != Some(*root))
        .map(|(_, root)| root)
        .collect()
}

/// Notes the block's commitments and reveals, which have been checked.
fn record(overlay: &mut Overlay<'_>, block: &Block) {
    for commitment in &block.commitments {
        overlay.put::<Commitments>(&(commitment.record.epoch, commitment.signer), commitment.record.report);
    }
    for reveal in &block.reveals {
        let report = &reveal.record.report;
        overlay.put::<Reveals>(&(report.epoch, reveal.signer), report.clone());
    }
}

/// Notes the block's evidence, which has been checked.
fn record_evidence(overlay: &mut Overlay<'_>, before: &State, block: &Block) -> Vec<Event> {
    let proved_in = block.header.height;
    let record = |evidence: &Evidence| {
        let height = evidence.height();
        let validator = before.validators(height)?.get(&evidence.validator())?.node;
        overlay.put::<Equivocations>(&validator, Equivocation { height, proved_in, removed: None });
        Some(Event::Equivocated { validator, height })
    };
    block.evidence.iter().filter_map(record).collect()
}

/// Closes the epochs that have ended by the block's time. The first of them has been measured if the one before was closed in
/// time; the others were over before their seeds were known. The next one is measured if half of it is left. Pools that were to be active
/// by now and are not are removed.
fn close_epochs(spec: &ChainSpec, overlay: &mut Overlay<'_>, events: &mut Vec<Event>) {
    let (genesis, first) = (spec.genesis(), overlay.head.closed.next());
    let last = genesis.epoch_at(overlay.head.time).previous();
    if last < first {
        return;
    }
    let is_measured = overlay.has::<Draws>(&first);
    if is_measured {
        let closed_in = overlay.head.height;
        overlay.put::<PendingEpochs>(&first, PendingEpoch { closed_in });
    }
    let next = last.next();
    overlay.head.closed = last;
    let beacon = overlay.head.beacon;
    overlay.put::<Closes>(&last, Close { beacon, joins: 0 });
    let closes: Vec<_> = overlay.all::<Closes>().map(|(epoch, _)| epoch).collect();
    closes.iter().rev().skip(KEPT_CLOSES).for_each(|epoch| overlay.remove::<Closes>(epoch));
    let expired = command::remove_expired(overlay);
    events.extend(expired.into_iter().map(|pool| Event::PoolDisbanded { pool }));
    fix_storage_terms(spec, overlay, next);
    if overlay.head.time <= genesis.epoch_start(next).after(spec.fixed().epoch() / 2) {
        let draw = draw(overlay, next);
        overlay.put::<Draws>(&next, draw);
    }
    events.push(Event::Closed { first, last, is_measured });
}

/// The next random beacon: BLAKE3 of the one before and the proposer's contribution.
pub fn next_beacon(beacon: &Hash, randao: &BlsSignature) -> Hash {
    Hash::derive("lucid random beacon 2", &[beacon.as_bytes(), randao.as_bytes()])
}
