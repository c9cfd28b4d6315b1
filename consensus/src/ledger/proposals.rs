//! Changes of the network that wait for validators' approval, and when they are carried out.

use lucid_types::change::NetworkChange;
use lucid_types::codec::Wire;
use lucid_types::id::{Hash, NodeId};
use lucid_types::time::{Epoch, UnixMillis};
use lucid_types::validator::ValidatorSet;
use serde::{Deserialize, Serialize};

use crate::chain_spec::ChainSpec;
use crate::ledger::command::CommandRefused;
use crate::ledger::event::Event;
use crate::ledger::state::{Overlay, Rows, State};
use crate::ledger::table::ProposedChanges;
use crate::ledger::{policies, validators};

/// The most proposals of one validator that wait.
pub const MAX_PROPOSED: usize = 4;

/// A change that waits for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposedChange {
    /// The change.
    pub change: NetworkChange,
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
    const MAX_BYTES: usize = NetworkChange::MAX_BYTES + 32 + 8 + 8 + 8 + 32 * ValidatorSet::MAX_MEMBERS;
}

impl State {
    /// The changes that wait for approval, by their ids.
    pub fn proposals(&self) -> impl Iterator<Item = (Hash, &ProposedChange)> {
        self.all::<ProposedChanges>()
    }
}

/// Checks whether a change can be, as the newest validators and the newest policy are.
///
/// # Errors
/// Why it cannot.
pub(crate) fn check(spec: &ChainSpec, rows: &Overlay<'_>, change: &NetworkChange) -> Result<(), CommandRefused> {
    match change {
        NetworkChange::Validators(change) => drop(validators::changed(rows, change)?),
        NetworkChange::Policy(change) => policies::check(spec, rows, change)?,
    }
    Ok(())
}

/// Carries out a proposal if its time has come and more than two thirds of the power approve of it, if it takes that. One that cannot be
/// any more is gone.
pub(crate) fn carry_out(spec: &ChainSpec, rows: &mut Overlay<'_>, id: &Hash, events: &mut Vec<Event>) {
    let Some(proposal) = rows.get::<ProposedChanges>(id) else { return };
    let set = rows.sets().at(rows.head.height).unwrap_or_else(|| rows.sets().newest().1);
    let power = proposal.approvals.iter().filter_map(|node| set.of(node)).map(|member| member.power).sum();
    let is_approved = !proposal.change.needs_approval() || set.is_quorum(power);
    let must_wait = proposal.change.policy().is_some() && policies::must_wait(spec, rows);
    if proposal.from > rows.head.closed.next() || !is_approved || must_wait {
        return;
    }
    let wanted = proposal.change.clone();
    rows.remove::<ProposedChanges>(id);
    match wanted {
        NetworkChange::Validators(wanted) => {
            // The validators may have changed since it was proposed: then it is gone.
            let _done = validators::change(rows, &wanted);
        }
        NetworkChange::Policy(wanted) => {
            if policies::change(spec, rows, &wanted, events).is_err() {
                events.push(Event::PolicyOvertaken { proposal: *id });
            }
        }
    }
}

/// Carries out what has waited for an epoch that the block opens, by id, and drops what is over.
pub(crate) fn follow(spec: &ChainSpec, rows: &mut Overlay<'_>, events: &mut Vec<Event>) {
    let time = rows.head.time;
    let ids: Vec<_> = rows.all::<ProposedChanges>().map(|(id, proposal)| (id, proposal.until)).collect();
    for (id, until) in ids {
        carry_out(spec, rows, &id, events);
        if until < time {
            rows.remove::<ProposedChanges>(&id);
        }
    }
}
