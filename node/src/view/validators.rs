//! Validators: what they are, what they do, and the changes that are proposed.

use lucid_consensus::ledger::state::{Rows as _, State};
use lucid_consensus::ledger::table::Equivocations;
use lucid_consensus::ledger::validators::ProposedChange;
use lucid_storage::{Store, StoredBlock};
use lucid_types::block::{Block, Header};
use lucid_types::certificate::Certificate;
use lucid_types::codec::decode;
use lucid_types::id::{Hash, NodeId};
use lucid_types::time::Height;
use lucid_types::validator::Validator;

use crate::api::ViewError;
use crate::api::model::{
    ApprovalView, EquivocationView, LookedAtView, NextPowerView, ProposalView, ValidatorStatusView, ValidatorView,
    VoteView,
};
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
        operator: validator.operator,
        power: validator.power,
        equivocation: equivocation(state, &validator.node),
    };
    state.next_validators().members().iter().map(view).collect()
}

/// The changes that wait for approval.
pub(super) fn proposals(state: &State) -> Vec<ProposalView> {
    let set = state.next_validators();
    let needed_power = set.total() - set.total().div_ceil(3) + 1;
    let view = |(id, proposal): (Hash, &ProposedChange)| {
        let approval = |validator: &NodeId| ApprovalView { validator: *validator, power: set.power(validator) };
        let approvals: Vec<_> = proposal.approvals.iter().map(approval).collect();
        ProposalView {
            id,
            change: proposal.change,
            by: proposal.by,
            from: proposal.from,
            until: proposal.until,
            power: approvals.iter().map(|approval| approval.power).fold(0, u64::saturating_add),
            approvals,
            needed_power,
            total_power: set.total(),
        }
    };
    let is_open = |(_, proposal): &(Hash, &ProposedChange)| proposal.until >= state.time();
    state.proposals().filter(is_open).map(view).collect()
}

/// What a node is and does as a validator; `None` of one that the state does not know as any.
pub(super) fn status(store: &Store, state: &State, node: NodeId) -> Result<Option<ValidatorStatusView>, ViewError> {
    let (next, set) = (state.height().next(), state.next_validators());
    let equivocation = equivocation(state, &node);
    let is_known = state.sets().iter().any(|(_, set)| set.get(&node).is_some());
    if !is_known && equivocation.is_none() {
        return Ok(None);
    }
    let power = set.power(&node);
    let powers: Vec<_> = state.sets().iter().map(|(from, set)| (from, set.power(&node))).collect();
    let changes = powers.windows(2).filter(|pair| pair[0].1 != pair[1].1).map(|pair| pair[1]);
    let (past, to_come): (Vec<_>, Vec<_>) = changes.partition(|(from, _)| *from <= next);
    let first = Some(powers[0].0).filter(|from| *from == Height::ZERO);
    let since = past.last().map(|(from, _)| *from).or(first);
    let mut view = ValidatorStatusView {
        node,
        power,
        total_power: set.total(),
        since,
        next: to_come.last().map(|(from, power)| NextPowerView { power: *power, from: *from }),
        equivocation,
        blocks: None,
        last_vote: None,
    };
    let from = Height::new(state.height().get().saturating_sub(LOOKED_AT - 1)).max(store.base());
    for stored in store.blocks(from) {
        let stored = stored.map_err(|error| unread("blocks from", from, error))?;
        let (header, certificate) = parts(&stored).map_err(|error| unread("block", stored.height, error))?;
        let (first, last) = (stored.height, stored.height);
        let looked_at = view.blocks.get_or_insert(LookedAtView { first, last, proposed: 0, voted: 0 });
        looked_at.last = last;
        looked_at.proposed += u64::from(header.proposer == node);
        if certificate.signatures.binary_search_by_key(&node, |(signer, _)| *signer).is_ok() {
            looked_at.voted += 1;
            view.last_vote = Some(VoteView { height: header.height, time: header.time });
        }
    }
    Ok(Some(view))
}

fn parts(stored: &StoredBlock) -> Result<(Header, Certificate), lucid_types::codec::DecodeError> {
    Ok((decode::<Block>(&stored.block)?.header, decode(&stored.certificate)?))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_consensus::ledger::table::{ProposedChanges, Validators};
    use lucid_types::command::ValidatorChange;
    use lucid_types::time::{Epoch, UnixMillis};

    use super::*;
    use crate::chain::fixture::{Growing, Turnover};
    use crate::payout::testing::{SIGNERS, node};

    #[test]
    fn a_proposal_says_what_it_lacks() {
        let chain = Turnover::new(0).chain;
        let change = ValidatorChange::Remove(node(4));
        let proposed = |approvals: &[u8], until| ProposedChange {
            change,
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
    fn a_validator_is_shown_with_what_it_did_and_what_comes() {
        let mut chain = Growing::new();
        (0..3).for_each(|_| drop(chain.grow()));
        let me = node(SIGNERS[0]);
        let of = |state: &State, node| status(&chain.store, state, node).unwrap();
        let found = of(&chain.state, me).unwrap();
        assert_eq!((found.power, found.total_power, found.since, found.next), (1, 1, Some(Height::ZERO), None));
        let (first, last) = (Height::new(1), Height::new(3));
        assert_eq!(found.blocks, Some(LookedAtView { first, last, proposed: 3, voted: 3 }));
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
