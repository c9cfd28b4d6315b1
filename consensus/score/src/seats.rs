//! Seats: who measures a worker, and with what weight.
//!
//! Seats are drawn *systematically*: the holders' powers lie end to end on a line, in an order that the seed shuffles for each worker,
//! and the seats stand on it at equal distances, from a random place on. So each holds its share of the seats, rounded down or up; with
//! independent draws four validators would often leave a worker to one or two of them. A validator's weight in a worker's medians is its
//! number of seats for it and nothing else: seats are drawn in proportion to power, so weighting by power again would count it twice.
//!
//! All that is drawn for a worker comes from one BLAKE3 output of its own, of as many bytes as it takes: where the seats begin, how the
//! holders are shuffled, when it is its turn to be scored and to be given an echo. The rule is that of `docs/src/specification.md`, "Seats".

use std::borrow::Cow;
use std::collections::BTreeSet;

use lucid_types::amount::Ppm;
use lucid_types::id::{Hash, NodeId};
use lucid_types::policy::Policy;
use lucid_types::validator::ValidatorSet;
use serde::{Deserialize, Serialize};

/// What one validator holds of a worker's seats: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seats {
    /// The validator's place among the reporters.
    pub reporter: u16,
    /// How many: its weight.
    pub count: u8,
}

/// Who may hold seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The validator's account.
    pub node: NodeId,
    /// Who runs it.
    pub operator: NodeId,
    /// Its power.
    pub power: u64,
}

impl Holder {
    /// The validators of a set, in its order.
    pub fn all_of(set: &ValidatorSet) -> Vec<Self> {
        let holder =
            |it: &lucid_types::validator::Validator| Self { node: it.node, operator: it.operator, power: it.power };
        set.members().iter().map(holder).collect()
    }
}

/// Draws the seats of one worker after another.
pub(crate) struct Seating<'a> {
    policy: &'a Policy,
    holders: Cow<'a, [Holder]>,
    /// Nodes and operators of the holders.
    parties: BTreeSet<NodeId>,
    /// Who may measure the workers that no holder has to do with, which are most.
    everyone: Line,
    lots: Lots,
    /// Room for the shuffled line.
    order: Vec<(u16, u64)>,
}

impl<'a> Seating<'a> {
    /// Seats of these holders, drawn by the outputs of this key.
    pub(crate) fn new(policy: &'a Policy, key: Hash, holders: Cow<'a, [Holder]>) -> Self {
        let parties = holders.iter().flat_map(|holder| [holder.node, holder.operator]).collect();
        let everyone = Line::new(policy, &holders, |_| true);
        let order = Vec::with_capacity(holders.len());
        Self { policy, parties, everyone, lots: Lots::new(key, holders.len()), order, holders }
    }

    /// The seats of a worker, by the holders' places. Empty if those that may measure it, all but itself and those of its operator, are
    /// too few or too weak.
    pub(crate) fn of(&mut self, worker: &NodeId, operator: &NodeId) -> Vec<Seats> {
        let Self { policy, holders, parties, everyone, lots, order } = self;
        lots.draw(worker);
        let line = if parties.contains(worker) || parties.contains(operator) {
            Cow::Owned(Line::new(policy, holders, |it| it.operator != *operator && it.node != *worker))
        } else {
            Cow::Borrowed(&*everyone)
        };
        order.clear();
        order.extend_from_slice(&line.members);
        lots.shuffle(order);
        let counts = systematic(order.iter().map(|(_, power)| *power), line.power, lots.offset(), policy.seats);
        let mut seats = Vec::with_capacity(order.len().min(usize::try_from(policy.seats).unwrap_or(usize::MAX)));
        let held = order.iter().zip(counts).filter(|(_, count)| *count > 0);
        seats.extend(held.map(|((reporter, _), count)| Seats { reporter: *reporter, count }));
        seats.sort_unstable_by_key(|seats| seats.reporter);
        seats
    }

    /// The turn among the echoes of the worker whose seats were drawn last.
    pub(crate) fn echo_order(&self) -> u128 {
        self.lots.echo_order()
    }
}

/// What the seed draws for one worker: the extended output of BLAKE3, keyed with the draw's key, over its id. Its first 16 bytes are the worker's
/// ticket, the next 16 the place where its seats begin, 16 more its turn among the echoes, and from there on each 8 are a
/// number of the shuffle.
struct Lots {
    key: Hash,
    bytes: Vec<u8>,
}

impl Lots {
    const TICKET: usize = 16;
    const OFFSET: usize = 32;
    const ECHO: usize = 48;

    /// Outputs of this key that suffice to shuffle `n` validators.
    fn new(key: Hash, n: usize) -> Self {
        Self { key, bytes: vec![0; Self::ECHO + 8 * n.saturating_sub(1)] }
    }

    /// The output of a worker, in place of the one before.
    fn draw(&mut self, worker: &NodeId) {
        let mut hasher = blake3::Hasher::new_keyed(self.key.as_bytes());
        hasher.update(worker.as_bytes()).finalize_xof().fill(&mut self.bytes);
    }

    fn offset(&self) -> u128 {
        self.bytes[Self::TICKET..Self::OFFSET].first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes))
    }

    fn echo_order(&self) -> u128 {
        self.bytes[Self::OFFSET..Self::ECHO].first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes))
    }

    /// Shuffles after Fisher and Yates: from the last to the second, each changes places with one of those up to itself.
    fn shuffle<T>(&self, items: &mut [T]) {
        let (numbers, _) = self.bytes[Self::ECHO..].as_chunks();
        for (i, number) in (1..items.len()).rev().zip(numbers) {
            // Of 1,000 validators none is likelier than another by more than one part in 2^54.
            let other = (u128::from(u64::from_le_bytes(*number)) * (i as u128 + 1)) >> u64::BITS;
            items.swap(i, usize::try_from(other).unwrap_or(i));
        }
    }
}

/// Those that may measure a worker.
#[derive(Clone, Debug, Default)]
struct Line {
    /// Their places among the holders, and their powers. Empty if they are too few or too weak.
    members: Vec<(u16, u64)>,
    /// The sum of their powers.
    power: u64,
}

impl Line {
    fn new(policy: &Policy, holders: &[Holder], may_measure: impl Fn(&Holder) -> bool) -> Self {
        let eligible: Vec<(u16, &Holder)> = (0..).zip(holders).filter(|(_, holder)| may_measure(holder)).collect();
        if !is_enough(policy, holders, &eligible) {
            return Self::default();
        }
        let members: Vec<_> = eligible.into_iter().map(|(place, holder)| (place, holder.power)).collect();
        Self { power: members.iter().map(|(_, power)| power).sum(), members }
    }
}

/// Whether those that may measure a worker are enough to be believed: they hold more than `min_seat_power` of all power, and
/// `min_seat_operators` run them.
fn is_enough(policy: &Policy, holders: &[Holder], eligible: &[(u16, &Holder)]) -> bool {
    let mut operators = Vec::new();
    let least = usize::try_from(policy.min_seat_operators).unwrap_or(usize::MAX);
    for (_, holder) in eligible {
        if operators.len() < least && !operators.contains(&holder.operator) {
            operators.push(holder.operator);
        }
    }
    let power: u128 = eligible.iter().map(|(_, holder)| u128::from(holder.power)).sum();
    let total: u128 = holders.iter().map(|holder| u128::from(holder.power)).sum();
    let whole = u128::from(Ppm::ONE.get());
    operators.len() >= least && power * whole > total * u128::from(policy.min_seat_power.get())
}

/// How many of `seats` each of the powers gets, which sum to `total` > 0. With `u = offset mod total`, seat `i` from 0 on goes to the one
/// for which `seats * before <= u + i * total < seats * (before + power)`, `before` being the sum of the powers in front of it.
///
/// Nothing overflows: powers sum to at most 2^60, and there are at most 100 seats.
fn systematic(powers: impl Iterator<Item = u64>, total: u64, offset: u128, seats: u32) -> impl Iterator<Item = u8> {
    let (total, seats) = (u128::from(total.max(1)), u128::from(seats));
    let (mut next_seat, mut end) = (offset % total, 0);
    powers.map(move |power| {
        end += seats * u128::from(power);
        let mut count = 0u8;
        while next_seat < end {
            next_seat += total;
            count = count.saturating_add(1);
        }
        count
    })
}

#[cfg(test)]
mod tests;
