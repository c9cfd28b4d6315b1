//! The network's policy: which is in force in which epoch, and how another one comes into force.
//!
//! What a block decides in an epoch counts from the second epoch after on, as everything on which a draw depends. Rows are never removed:
//! whoever checks an old score finds the policy that it was made by. That costs 400 bytes for each change, of which there is one an epoch
//! at most, each with the approval of more than two thirds of the power.

use std::sync::Arc;

use lucid_types::change::PolicyChange;
use lucid_types::id::Hash;
use lucid_types::policy::{Policy, PolicyError};
use lucid_types::time::Epoch;

use crate::chain_spec::ChainSpec;
use crate::ledger::event::Event;
use crate::ledger::state::{Overlay, Rows};
use crate::ledger::table::{Policies, ProposedChanges, Row, Table};
use crate::ledger::tree::Tree;

/// All policies of a network so far, by the epochs from which they are in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySchedule {
    /// Never empty.
    rows: Vec<(Epoch, Arc<Policy>)>,
}

impl PolicySchedule {
    /// That of the genesis, of which epoch 1 is the first.
    pub fn first(policy: Policy) -> Self {
        Self { rows: vec![(Epoch::new(1), Arc::new(policy))] }
    }

    /// Those in the rows of a state; `None` if there are none.
    pub(crate) fn of(rows: &Tree<Row>) -> Option<Self> {
        let rows: Vec<_> = rows
            .prefix(&[Policies::TAG])
            .filter_map(|(key, row)| Some((Policies::parse_key(key)?, Arc::clone(Policies::value(row)?))))
            .collect();
        (!rows.is_empty()).then_some(Self { rows })
    }

    /// The policy of an epoch; of one before the first that of the first.
    pub fn at(&self, epoch: Epoch) -> &Arc<Policy> {
        let after = self.rows.partition_point(|(from, _)| *from <= epoch);
        &self.rows[after.saturating_sub(1)].1
    }

    /// The epoch from which the first is in force.
    pub fn first_epoch(&self) -> Epoch {
        self.rows[0].0
    }

    /// The newest, and the epoch from which it is in force. That may be still to come.
    pub fn newest(&self) -> (Epoch, &Arc<Policy>) {
        let (from, policy) = &self.rows[self.rows.len() - 1];
        (*from, policy)
    }

    /// All by the epochs from which they are in force.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Epoch, &Arc<Policy>)> {
        self.rows.iter().map(|(from, policy)| (*from, policy))
    }
}

/// Why a change of the policy cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyChangeError {
    /// Another change has been carried out since it was made.
    #[error(
        "it starts from policy {base}, and the newest is {newest}: another change has been carried out; propose it anew"
    )]
    Base {
        /// The hash of the one that it starts from.
        base: Hash,
        /// That of the newest.
        newest: Hash,
    },
    /// Nothing changes.
    #[error("this is the newest policy already")]
    Same,
    /// It touches what is fixed.
    #[error("policy.{0} is the genesis' for ever")]
    Fixed(&'static str),
    /// A parameter is out of bounds.
    #[error(transparent)]
    Bounds(#[from] PolicyError),
}

/// The first epoch for which a change by the block counts.
fn counts_from(spec: &ChainSpec, rows: &Overlay<'_>) -> Epoch {
    spec.rules().policy_from(spec.genesis().epoch_at(rows.head.time))
}

/// The policy that a change by the block replaces.
fn newest<'a>(rows: &'a Overlay<'_>, from: Epoch) -> &'a Policy {
    rows.get::<Policies>(&from).unwrap_or_else(|| rows.policies().newest().1)
}

/// Checks whether a change can be.
///
/// # Errors
/// Why it cannot.
pub(crate) fn check(spec: &ChainSpec, rows: &Overlay<'_>, change: &PolicyChange) -> Result<(), PolicyChangeError> {
    let newest = newest(rows, counts_from(spec, rows));
    if change.base != newest.hash() {
        return Err(PolicyChangeError::Base { base: change.base, newest: newest.hash() });
    }
    if change.policy == *newest {
        return Err(PolicyChangeError::Same);
    }
    if let Some(key) = newest.fixed_difference(&change.policy) {
        return Err(PolicyChangeError::Fixed(key));
    }
    Ok(change.policy.check()?)
}

/// Whether a change by the block would have to wait: another one comes into force with the same epoch.
pub(crate) fn must_wait(spec: &ChainSpec, rows: &Overlay<'_>) -> bool {
    rows.has::<Policies>(&counts_from(spec, rows))
}

/// Carries out a change, and drops all others that wait, which start from the policy that it replaces.
///
/// # Errors
/// Why it cannot be.
pub(crate) fn change(
    spec: &ChainSpec,
    rows: &mut Overlay<'_>,
    change: &PolicyChange,
    events: &mut Vec<Event>,
) -> Result<(), PolicyChangeError> {
    check(spec, rows, change)?;
    let from = counts_from(spec, rows);
    rows.put::<Policies>(&from, change.policy.clone());
    events.push(Event::Policy { from, policy: Box::new(change.policy.clone()) });
    let overtaken = rows.all::<ProposedChanges>().filter(|(_, row)| row.change.policy().is_some());
    for id in overtaken.map(|(id, _)| id).collect::<Vec<_>>() {
        rows.remove::<ProposedChanges>(&id);
        events.push(Event::PolicyOvertaken { proposal: id });
    }
    Ok(())
}
