//! Who holds chunks with a worker: its storage committee.
//!
//! A committee holds its chunks for a term of several settlements, so that a deposit is worth its traffic. Terms of different workers
//! begin in different settlements. Who may serve in terms that begin in a settlement is fixed one settlement before: then the chunks are
//! deposited. The rule is that of `docs/src/specification.md`, "Storage committees".

use std::borrow::Cow;
use std::collections::BTreeMap;

use lucid_types::codec::Wire;
use lucid_types::id::{Hash, NodeId};
use lucid_types::policy::Policy;
use lucid_types::validator::ValidatorSet;
use serde::{Deserialize, Serialize};

use crate::seats::{Holder, Seating, Seats};

/// Who may hold storage seats in the terms that begin in a settlement, and the seed that draws them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageTerm {
    /// Of all committees of these terms.
    pub seed: Hash,
    /// The validators when it was fixed, by account.
    pub holders: Vec<Holder>,
}

impl Wire for StorageTerm {
    /// With as many validators as there may be.
    const MAX_BYTES: usize = 32 + 8 + ValidatorSet::MAX_MEMBERS * 72;
}

impl StorageTerm {
    /// That of the terms which begin in a settlement, fixed by a block with this beacon.
    pub fn new(beacon: &Hash, settlement: u64, set: &ValidatorSet) -> Self {
        let mut holders = Holder::all_of(set);
        holders.sort_unstable_by_key(|holder| holder.node);
        let seed = Hash::derive("lucid storage term 1", &[beacon.as_bytes(), &settlement.to_le_bytes()]);
        Self { seed, holders }
    }

    fn seating<'a>(&'a self, policy: &'a Policy) -> Seating<'a> {
        let key = Hash::derive("lucid storage seats 1", &[self.seed.as_bytes()]);
        Seating::new(policy, key, Cow::Borrowed(&self.holders))
    }
}

/// The rows of all terms that are under way or were fixed, by the settlements in which they begin.
#[derive(Clone, Debug, Default)]
pub struct Terms<'a>(BTreeMap<u64, &'a StorageTerm>);

impl<'a> FromIterator<(u64, &'a StorageTerm)> for Terms<'a> {
    fn from_iter<I: IntoIterator<Item = (u64, &'a StorageTerm)>>(rows: I) -> Self {
        Self(rows.into_iter().collect())
    }
}

impl<'a> Terms<'a> {
    /// The row of the terms that begin in a settlement, and its key. None was fixed for settlements that a stall of the chain has passed
    /// over: there the one before counts, and the oldest where there is none before.
    fn at(&self, settlement: u64) -> Option<(u64, &'a StorageTerm)> {
        let found = self.0.range(..=settlement).next_back().or_else(|| self.0.first_key_value());
        found.map(|(from, term)| (*from, *term))
    }
}

/// The settlement in which the term begins to which `settlement` belongs: one of `storage_term`, which the worker's id says.
pub fn term_start(policy: &Policy, worker: &NodeId, settlement: u64) -> u64 {
    let term = policy.storage_term.max(1);
    let phase = worker.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)) % term;
    settlement.saturating_sub((settlement % term + phase) % term).max(1)
}

/// The committee of a worker in a settlement, by account, with the number of storage seats of each. Empty if those that may hold them are
/// too few or too weak.
pub fn committee(
    policy: &Policy,
    terms: &Terms<'_>,
    worker: &NodeId,
    operator: &NodeId,
    settlement: u64,
) -> Vec<(NodeId, u8)> {
    let Some((_, term)) = terms.at(term_start(policy, worker, settlement)) else { return Vec::new() };
    let seats = term.seating(policy).of(worker, operator);
    seats.into_iter().map(|it| (term.holders[usize::from(it.reporter)].node, it.count)).collect()
}

/// Draws the committees of one worker after another in a settlement, for the draw of an epoch.
pub(crate) struct Committees<'a> {
    policy: &'a Policy,
    terms: &'a Terms<'a>,
    settlement: u64,
    reporters: &'a ValidatorSet,
    /// By the keys of their rows, with the places of the holders among the reporters.
    seatings: BTreeMap<u64, (Seating<'a>, Vec<Option<u16>>)>,
}

impl<'a> Committees<'a> {
    pub(crate) const fn new(
        policy: &'a Policy,
        terms: &'a Terms<'a>,
        settlement: u64,
        reporters: &'a ValidatorSet,
    ) -> Self {
        Self { policy, terms, settlement, reporters, seatings: BTreeMap::new() }
    }

    /// The storage seats of a worker, in the order of the reporters. Those of holders that are no reporters are vacant.
    pub(crate) fn of(&mut self, worker: &NodeId, operator: &NodeId) -> Vec<Seats> {
        let Some((from, term)) = self.terms.at(term_start(self.policy, worker, self.settlement)) else {
            return Vec::new();
        };
        let (seating, places) = self.seatings.entry(from).or_insert_with(|| {
            let place =
                |holder: &Holder| self.reporters.place_of(&holder.node).and_then(|place| u16::try_from(place).ok());
            (term.seating(self.policy), term.holders.iter().map(place).collect())
        });
        let seats = seating.of(worker, operator);
        let placed = |it: Seats| Some(Seats { reporter: places[usize::from(it.reporter)]?, ..it });
        let mut seats: Vec<_> = seats.into_iter().filter_map(placed).collect();
        seats.sort_unstable_by_key(|seats| seats.reporter);
        seats
    }
}

#[cfg(test)]
mod tests;
