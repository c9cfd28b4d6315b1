//! Validators: what they are, what they do, and the changes that are proposed.

use std::collections::BTreeMap;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::duties::Duty;
use lucid_consensus::ledger::proposals::ProposedChange;
use lucid_consensus::ledger::state::{Rows as _, State};
use lucid_consensus::ledger::table::{Closes, Equivocations, UsedKeys};
use lucid_storage::{Store, StoredBlock};
use lucid_types::block::Block;
use lucid_types::certificate::Certificate;
use lucid_types::change::NetworkChange;
use lucid_types::codec::decode;
use lucid_types::command::ValidatorChange;
use lucid_types::id::{Hash, NodeId, ValidatorId};
use lucid_types::time::{Epoch, Height, Windows};
use lucid_types::validator::{Validator, ValidatorSet};

use crate::api::ViewError;
use crate::api::model::{
    ApprovalView, DutiesView, EquivocationView, NextPowerView, ProposalView, RotationView, ValidatorStatusView,
    ValidatorView, VoteView, differences, unmeasured,
};
use crate::history::epochs::{self, Closing};
use crate::view::duties::{Duties, ReportDuty};
use crate::view::unread;

/// The newest blocks that are looked at for what a validator did.
const LOOKED_AT: u64 = 200;

fn equivocation(state: &State, node: &NodeId) -> Option<EquivocationView> {
    let held = state.get::<Equivocations>(node)?;
    Some(EquivocationView { height: held.height, proved_in: held.proved_in })
}

/// The validators of the next block.
pub(super) fn list(state: &State) -> Vec<ValidatorView> {
    let view = |validator: &Validator| ValidatorView {
        node: validator.node,
        key: validator.keys.id,
        operator: validator.operator,
        power: validator.power,
        equivocation: equivocation(state, &validator.node),
    };
    state.next_validators().members().iter().map(view).collect()
}

/// The changes that wait for approval.
pub(super) fn proposals(state: &State) -> Vec<ProposalView> {
    let set = state.next_validators();
    let newest = state.policies().newest().1;
    let needed_power = set.total() - set.total().div_ceil(3) + 1;
    let view = |(id, proposal): (Hash, &ProposedChange)| {
        let approval = |validator: &NodeId| ApprovalView { validator: *validator, power: power_of(set, validator) };
        let approvals: Vec<_> = proposal.approvals.iter().map(approval).collect();
        let operators = set.members().iter().map(|validator| (validator.node, validator.operator));
        let mut operators: BTreeMap<_, _> = operators.collect();
        let policy = proposal.change.policy().map_or(&**newest, |change| &change.policy);
        match &proposal.change {
            NetworkChange::Validators(ValidatorChange::Add(it)) => drop(operators.insert(it.node, it.operator)),
            NetworkChange::Validators(ValidatorChange::Remove(node)) => drop(operators.remove(node)),
            _ => {}
        }
        let warning = unmeasured(policy, &operators.into_values().collect::<Vec<_>>());
        ProposalView {
            id,
            warning,
            change: proposal.change.clone(),
            differences: proposal.change.policy().map_or_else(Vec::new, |it| differences(newest, &it.policy)),
            by: proposal.by,
            from: proposal.from,
            until: proposal.until,
            power: approvals.iter().map(|approval| approval.power).fold(0, u64::saturating_add),
            approvals,
            needed_power: if proposal.change.needs_approval() { needed_power } else { 0 },
            total_power: set.total(),
        }
    };
    let is_open = |(_, proposal): &(Hash, &ProposedChange)| proposal.until >= state.time();
    state.proposals().filter(is_open).map(view).collect()
}

/// What a node is and does as a validator; `None` of one that the state does not know as any.
pub(super) fn status(
    spec: &ChainSpec,
    store: &Store,
    state: &State,
    node: NodeId,
) -> Result<Option<ValidatorStatusView>, ViewError> {
    let (next, set) = (state.height().next(), state.next_validators());
    let equivocation = equivocation(state, &node);
    let is_known = state.sets().iter().any(|(_, set)| set.of(&node).is_some());
    if !is_known && equivocation.is_none() {
        return Ok(None);
    }
    let power = power_of(set, &node);
    let powers: Vec<_> = state.sets().iter().map(|(from, set)| (from, power_of(set, &node))).collect();
    let changes = powers.windows(2).filter(|pair| pair[0].1 != pair[1].1).map(|pair| pair[1]);
    let (past, to_come): (Vec<_>, Vec<_>) = changes.partition(|(from, _)| *from <= next);
    let first = Some(powers[0].0).filter(|from| *from == Height::ZERO);
    let since = past.last().map(|(from, _)| *from).or(first);
    let mut view = ValidatorStatusView {
        node,
        key: set.of(&node).map(|validator| validator.keys.id),
        missing_key: None,
        rotation: state.rotation(&node).and_then(|(id, row)| rotation(id, row)),
        power,
        total_power: set.total(),
        since,
        next: to_come.last().map(|(from, power)| NextPowerView { power: *power, from: *from }),
        equivocation,
        blocks: None,
        last_vote: None,
        turns: None,
        duties: state.duty(&node).map(|duty| duties_view(spec, state, duty)),
        reports: None,
    };
    let keys = state.all::<UsedKeys>().filter(|(_, used)| used.account == node).map(|(key, _)| key);
    let keys: Vec<_> = keys.collect();
    let from = Height::new(state.height().get().saturating_sub(LOOKED_AT - 1)).max(store.base());
    let mut duties = Duties::new(node, state.sets(), beacons(store, state, from)?);
    for stored in store.blocks(from) {
        let stored = stored.map_err(|error| unread("blocks from", from, error))?;
        let (block, certificate) = parts(&stored).map_err(|error| unread("block", stored.height, error))?;
        duties.add(&block, &certificate);
        let has_vote = |key: &ValidatorId| certificate.signatures.binary_search_by_key(key, |(it, _)| *it).is_ok();
        if keys.iter().any(has_vote) {
            view.last_vote = Some(VoteView { height: block.header.height, time: block.header.time });
        }
    }
    let reports = reports(spec, store, state, from)?;
    (view.blocks, view.turns, view.reports) = duties.finish(reports);
    Ok(Some(view))
}

fn power_of(set: &ValidatorSet, node: &NodeId) -> u64 {
    set.of(node).map_or(0, |validator| validator.power)
}

fn duties_view(spec: &ChainSpec, state: &State, duty: &Duty) -> DutiesView {
    let &Duty { settlement, committed, forfeited, turns, missed_turns } = duty;
    let loses_pay = spec.rules().loses_validation_pay(state.policy(spec.fixed().last_epoch_of(settlement)), duty);
    DutiesView { settlement, committed, forfeited, turns, missed_turns, loses_pay }
}

fn rotation(id: Hash, row: &ProposedChange) -> Option<RotationView> {
    let key = row.change.validators()?.keys()?.id;
    Some(RotationView { id, key, from: row.from })
}

/// The newest block that closed epochs before a height, if this node has told of it, and those after.
fn closings(store: &Store, newest: Epoch, from: Height) -> Result<Vec<Closing>, ViewError> {
    let (mut found, mut epoch) = (Vec::new(), newest);
    while let Some(closing) = epochs::closing(store, epoch).map_err(|error| unread("epoch", epoch, error))? {
        found.push(closing);
        epoch = closing.first.previous();
        if closing.height < from || epoch == Epoch::ZERO {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

/// The oldest beacon that the state remembers of a block that is not before the one in front of this height.
fn beacons(store: &Store, state: &State, from: Height) -> Result<BTreeMap<Height, Hash>, ViewError> {
    let closings = closings(store, state.closed(), from)?;
    let genesis = (Epoch::ZERO, Height::ZERO);
    let heights = closings.iter().map(|closing| (closing.last, closing.height)).chain([genesis]);
    let heights: BTreeMap<_, _> = heights.filter(|(_, height)| height.next() >= from).collect();
    let known = state.all::<Closes>().find_map(|(epoch, close)| Some((*heights.get(&epoch)?, close.beacon)));
    Ok(known.into_iter().collect())
}

/// The measured epochs that were closed from a height on, with who had to report on them: the validators of the block that drew them.
fn reports<'a>(
    spec: &ChainSpec,
    store: &Store,
    state: &'a State,
    from: Height,
) -> Result<Vec<ReportDuty<'a>>, ViewError> {
    let closings = closings(store, state.closed(), from)?;
    let mut duties = Vec::new();
    let mut drawn_in = Height::ZERO;
    for (i, closing) in closings.iter().enumerate() {
        let is_drawn_here = i > 0 || closing.first == Epoch::new(1);
        if let Some(reporters) = state.sets().at(drawn_in).filter(|_| is_drawn_here && closing.is_measured) {
            let windows = Windows::new(closing.height, spec.fixed().report_window);
            duties.push(ReportDuty { epoch: closing.first, windows, reporters });
        }
        drawn_in = closing.height;
    }
    Ok(duties)
}

fn parts(stored: &StoredBlock) -> Result<(Block, Certificate), lucid_types::codec::DecodeError> {
    Ok((decode(&stored.block)?, decode(&stored.certificate)?))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_consensus::ledger::table::{ProposedChanges, Validators};
    use lucid_types::change::PolicyChange;
    use lucid_types::policy::Policy;
    use lucid_types::time::UnixMillis;

    use super::*;
    use crate::api::model::{LookedAtView, MissedBy, MissedReport, ReportsView, TurnsView};
    use crate::chain::fixture::{Growing, Turnover};
    use crate::payout::testing::{SIGNERS, node};

    #[test]
    fn a_proposal_says_what_it_lacks() {
        let chain = Turnover::new(0).chain;
        let change = NetworkChange::from(ValidatorChange::Remove(node(4)));
        let proposed = |approvals: &[u8], until| ProposedChange {
            change: change.clone(),
            by: node(1),
            from: Epoch::new(1),
            until,
            approvals: approvals.iter().map(|seed| node(*seed)).collect(),
        };
        let state = State::genesis(&chain.spec);
        let with = |proposal| proposals(&state.changed(|rows| rows.put::<ProposedChanges>(&change.id(), proposal)));
        // Who has left counts no more.
        let found = with(proposed(&[1, 2, 9], UnixMillis::new(u64::MAX)));
        let [ProposalView { id, power, needed_power, total_power, approvals, .. }] = found.as_slice() else {
            unreachable!("one was proposed")
        };
        assert_eq!((*id, *power, *needed_power, *total_power), (change.id(), 2, 3, 4));
        assert_eq!(approvals.iter().map(|it| it.power).collect::<Vec<_>>(), [1, 1, 0]);
        assert!(state.next_validators().is_quorum(*needed_power));
        assert!(!state.next_validators().is_quorum(*needed_power - 1));
        assert!(with(proposed(&[1], UnixMillis::ZERO)).is_empty(), "it is gone");
    }

    #[test]
    fn a_proposal_after_which_nobody_would_be_measured_says_so() {
        let chain = Turnover::new(0).chain;
        let state = State::genesis(&chain.spec);
        let now = state.policy_in_force();
        let warning = |change: NetworkChange| {
            let (from, until, approvals) = (Epoch::new(1), UnixMillis::new(u64::MAX), vec![node(1)]);
            let proposal = ProposedChange { change: change.clone(), by: node(1), from, until, approvals };
            let with = state.changed(|rows| rows.put::<ProposedChanges>(&change.id(), proposal));
            proposals(&with).remove(0).warning
        };
        let policy = |policy: Policy| warning(PolicyChange { base: now.hash(), policy }.into());
        assert_eq!(policy(Policy { pings: now.pings + 1, min_reporters: 4, ..Policy::clone(now) }), None);
        let five = policy(Policy { min_reporters: 5, ..Policy::clone(now) }).unwrap();
        assert!(five.contains("by 5 validators") && five.contains("would be 4"), "{five}");
        let operators = policy(Policy { min_seat_operators: 9, ..Policy::clone(now) }).unwrap();
        assert!(operators.contains("of 9 operators"), "{operators}");
        let removed = warning(NetworkChange::from(ValidatorChange::Remove(node(4))));
        assert_eq!(removed.is_some(), now.min_reporters > 3 || now.min_seat_operators > 3, "{now:?}");
    }

    #[test]
    fn a_validator_is_shown_with_what_it_did_and_what_comes() {
        let mut chain = Growing::new();
        (0..3).for_each(|_| drop(chain.grow()));
        let me = node(SIGNERS[0]);
        let of = |state: &State, node| status(&chain.spec, &chain.store, state, node).unwrap();
        let found = of(&chain.state, me).unwrap();
        assert_eq!((found.power, found.total_power, found.since, found.next), (1, 1, Some(Height::ZERO), None));
        let (first, last) = (Height::new(1), Height::new(3));
        let expected = LookedAtView { first, last, proposed: 3, to_vote: 3, voted: 3, missed: vec![] };
        assert_eq!(found.blocks, Some(expected));
        // It has every turn, of which that at height 1 takes the beacon of no block.
        assert_eq!(found.turns, Some(TurnsView { first: Height::new(2), last, turns: 2, missed: vec![] }));
        // Each block closes an epoch. The first is over, and nobody has committed to a report.
        let missed = MissedReport { epoch: Epoch::new(1), missed_by: MissedBy::Others };
        let (first, last) = (Epoch::new(1), Epoch::new(1));
        let reports = ReportsView { first, last, epochs: 1, uncommitted: vec![missed], forfeited: vec![] };
        assert_eq!(found.reports, Some(reports));
        let last = Height::new(3);
        assert_eq!(found.last_vote.map(|vote| vote.height), Some(last));
        assert_eq!(of(&chain.state, node(7)), None);

        let later = chain.state.changed(|rows| rows.put::<Validators>(&Height::new(5), Turnover::set(6)));
        let found = of(&later, node(7)).unwrap();
        assert_eq!((found.power, found.blocks.unwrap().voted, found.last_vote), (0, 0, None));
        assert_eq!(found.next, Some(NextPowerView { power: 1, from: Height::new(5) }));
        let leaving = of(&later, me).unwrap();
        assert_eq!(leaving.next, Some(NextPowerView { power: 0, from: Height::new(5) }));
        let left = of(&later.changed(|rows| rows.head.height = Height::new(6)), me).unwrap();
        assert_eq!((left.power, left.since, left.next), (0, Some(Height::new(5)), None));
    }
}
