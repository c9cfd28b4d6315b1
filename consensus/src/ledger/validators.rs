//! Validators: how they change, and for how long those of before are remembered.
//!
//! What a block changes is in force two heights later: until then the headers of both heights between commit to it. Changes are
//! proposed and approved of by commands; whoever has proved to equivocate is removed by the block that proves it, as far as the
//! epoch's limit goes.

use lucid_types::codec::Wire;
use lucid_types::command::ValidatorChange;
use lucid_types::id::{Hash, NodeId};
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::validator::{Validator, ValidatorSet, ValidatorSetError};
use lucid_types::validator_sets::SET_DELAY;
use serde::{Deserialize, Serialize};

use crate::chain_spec::ChainSpec;
use crate::ledger::event::Event;
use crate::ledger::state::{Equivocation, Overlay, Rows, State};
use crate::ledger::table::{Equivocations, Nodes, ProposedChanges, Validators};

/// The most proposals of one validator that wait.
pub const MAX_PROPOSED: usize = 4;

/// A change of the validators that waits for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposedChange {
    /// The change.
    pub change: ValidatorChange,
    /// Who proposed it.
    pub by: NodeId,
    /// The epoch before which it is not carried out. A new validator's key must be fixed before anybody can know the beacons that it
    /// would add to.
    pub from: Epoch,
    /// When it is gone, unless it has been carried out.
    pub until: UnixMillis,
    /// Who approves of it, in the order of their ids.
    pub approvals: Vec<NodeId>,
}

impl Wire for ProposedChange {
    const MAX_BYTES: usize = ValidatorChange::MAX_BYTES + 32 + 8 + 8 + 8 + 32 * ValidatorSet::MAX_MEMBERS;
}

impl State {
    /// The changes of the validators that wait for approval, by their ids.
    pub fn proposals(&self) -> impl Iterator<Item = (Hash, &ProposedChange)> {
        self.all::<ProposedChanges>()
    }
}

/// Why a change of the validators cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It is one already.
    #[error("{0} is a validator already")]
    IsValidator(NodeId),
    /// It is none.
    #[error("{0} is no validator")]
    NoValidator(NodeId),
    /// It has this power already.
    #[error("validator {0} has this power already")]
    SamePower(NodeId),
    /// It is not registered, or has retired.
    #[error("{0} is not registered; a new validator first registers its node")]
    NotRegistered(NodeId),
    /// It is registered with another operator.
    #[error("{node} is registered with the operator {operator}, not with the one that is proposed")]
    Operator {
        /// The node.
        node: NodeId,
        /// With whom it is registered.
        operator: NodeId,
    },
    /// Its beacon key is another validator's.
    #[error("the BLS key of {0} is another validator's")]
    BlsKey(NodeId),
    /// It has signed two different messages for one step.
    #[error("{0} has equivocated: it is a validator no more, and cannot become one again with this key")]
    Equivocated(NodeId),
    /// The set that it leads to is none.
    #[error(transparent)]
    Set(#[from] ValidatorSetError),
}

/// The validators to come: those that the newest block or this one has changed to.
pub(crate) fn newest<'a>(rows: &'a Overlay<'_>) -> &'a ValidatorSet {
    rows.get::<Validators>(&in_force_from(rows)).unwrap_or_else(|| rows.sets().newest().1)
}

/// The first height that a change by the block decides.
fn in_force_from(rows: &Overlay<'_>) -> Height {
    rows.head.height.plus(SET_DELAY)
}

/// The validators to come after a change.
///
/// # Errors
/// Why it cannot be.
pub(crate) fn changed(rows: &Overlay<'_>, change: &ValidatorChange) -> Result<ValidatorSet, ChangeError> {
    let set = newest(rows);
    let node = change.validator();
    let mut members = set.members().to_vec();
    let place = members.iter().position(|member| member.node == node);
    match (*change, place) {
        (ValidatorChange::Add(_), Some(_)) => return Err(ChangeError::IsValidator(node)),
        (ValidatorChange::Add(validator), None) => {
            let row = rows.get::<Nodes>(&node).filter(|row| !row.is_retired).ok_or(ChangeError::NotRegistered(node))?;
            if row.operator != validator.operator {
                return Err(ChangeError::Operator { node, operator: row.operator });
            }
            if members.iter().any(|member| member.bls_key == validator.bls_key) {
                return Err(ChangeError::BlsKey(node));
            }
            if rows.has::<Equivocations>(&node) {
                return Err(ChangeError::Equivocated(node));
            }
            members.push(validator);
        }
        (_, None) => return Err(ChangeError::NoValidator(node)),
        (ValidatorChange::Remove(_), Some(place)) => drop(members.remove(place)),
        (ValidatorChange::Power { power, .. }, Some(place)) => {
            if members[place].power == power {
                return Err(ChangeError::SamePower(node));
            }
            members[place].power = power;
        }
    }
    Ok(ValidatorSet::new(members)?)
}

/// Carries out a change.
///
/// # Errors
/// Why it cannot be.
pub(crate) fn change(rows: &mut Overlay<'_>, change: &ValidatorChange) -> Result<(), ChangeError> {
    let set = changed(rows, change)?;
    rows.put::<Validators>(&in_force_from(rows), set);
    Ok(())
}

/// Carries out a proposal if its time has come and more than two thirds of the power approve of it. One that cannot be any more is gone.
pub(crate) fn carry_out(rows: &mut Overlay<'_>, id: &Hash) {
    let Some(proposal) = rows.get::<ProposedChanges>(id) else { return };
    let set = rows.sets().at(rows.head.height).unwrap_or_else(|| rows.sets().newest().1);
    let power = proposal.approvals.iter().map(|node| set.power(node)).fold(0, u64::saturating_add);
    if proposal.from > rows.head.closed.next() || !set.is_quorum(power) {
        return;
    }
    let wanted = proposal.change;
    rows.remove::<ProposedChanges>(id);
    // The validators may have changed since it was proposed: then it is gone.
    let _done = change(rows, &wanted);
}

/// What follows from the block for the validators, after its commands and the epochs that it closes; `closed` was the newest closed one
/// before it.
pub(crate) fn follow(spec: &ChainSpec, rows: &mut Overlay<'_>, closed: Epoch, events: &mut Vec<Event>) {
    let (from, time) = (in_force_from(rows), rows.head.time);
    if rows.head.closed > closed {
        let ids: Vec<_> = rows.all::<ProposedChanges>().map(|(id, proposal)| (id, proposal.until)).collect();
        for (id, until) in ids {
            carry_out(rows, &id);
            if until < time {
                rows.remove::<ProposedChanges>(&id);
            }
        }
    }
    remove_equivocators(rows);
    forget(spec, rows);
    if let Some(after) = rows.get::<Validators>(&from) {
        events.extend(differences(rows.sets().newest().1, after).map(|(node, power)| Event::Validator {
            node,
            power,
            from,
        }));
    }
}

/// Removes validators against which blocks hold evidence, those first that were proved first: at most a third of the power in an
/// epoch, and never the last.
fn remove_equivocators(rows: &mut Overlay<'_>) {
    let epoch = rows.head.closed.next();
    let rows_of = |rows: &Overlay<'_>| rows.all::<Equivocations>().map(|(node, row)| (node, *row)).collect::<Vec<_>>();
    let equivocations = rows_of(rows);
    let power_of =
        |row: &Equivocation| row.removed.filter(|(removed, _)| *removed == epoch).map_or(0, |(_, power)| power);
    let mut removed = equivocations.iter().map(|(_, row)| power_of(row)).fold(0, u64::saturating_add);
    let mut waiting: Vec<_> = equivocations.into_iter().filter(|(_, row)| row.removed.is_none()).collect();
    waiting.sort_by_key(|(node, row)| (row.proved_in, *node));
    for (node, row) in waiting {
        let set = newest(rows);
        let (power, total) = (set.power(&node), set.total().saturating_add(removed));
        let within = 3 * u128::from(removed.saturating_add(power)) <= u128::from(total);
        if power == 0 || !within || change(rows, &ValidatorChange::Remove(node)).is_err() {
            continue;
        }
        removed = removed.saturating_add(power);
        rows.put::<Equivocations>(&node, Equivocation { removed: Some((epoch, power)), ..row });
    }
}

/// Forgets the validators of heights of which no block may hold evidence any more.
fn forget(spec: &ChainSpec, rows: &mut Overlay<'_>) {
    let oldest = rows.head.height.next().get().saturating_sub(spec.policy().evidence_blocks);
    let froms: Vec<_> = rows.sets().iter().map(|(from, _)| from).collect();
    for pair in froms.windows(2).filter(|pair| pair[1].get() <= oldest) {
        rows.remove::<Validators>(&pair[0]);
    }
}

/// Who has another power in the second set than in the first, and what; 0 if it is no member.
fn differences<'a>(before: &'a ValidatorSet, after: &'a ValidatorSet) -> impl Iterator<Item = (NodeId, u64)> + use<'a> {
    let of = |validator: &Validator| validator.node;
    let gone = before.members().iter().map(of).filter(|node| after.get(node).is_none()).map(|node| (node, 0));
    let other = after.members().iter().filter(|it| before.power(&it.node) != it.power).map(|it| (it.node, it.power));
    gone.chain(other)
}
