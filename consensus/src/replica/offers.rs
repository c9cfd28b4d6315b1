//! What peers may ask a node for beside decided blocks: an immutable view, so that no question takes the replica's time.

use std::collections::{BTreeMap, BTreeSet};

use lucid_types::block::{Item, ItemId};
use lucid_types::codec::encode;
use lucid_types::id::{BlockHash, NodeId, ValidatorId};
use lucid_types::message::CompactProposal;
use lucid_types::time::Epoch;

use crate::ledger::command::SignedCommand;
use crate::replica::mempool::{Slot, WaitingItems};
use crate::replica::proposals::OfferedBlocks;

/// Waiting items, and blocks under way with their proposals.
#[derive(Clone, Debug, Default)]
pub struct Offers {
    waiting: WaitingItems,
    proposed: OfferedBlocks,
}

impl Offers {
    pub(super) const fn new(waiting: WaitingItems, proposed: OfferedBlocks) -> Self {
        Self { waiting, proposed }
    }

    /// A proposal of this block in this round.
    pub fn proposal(&self, round: u32, block: &BlockHash) -> Option<CompactProposal> {
        Some((***self.proposed.get(block)?.proposals.get(&round)?).clone())
    }

    /// Those of these items that are here, each once, as many as fit into `room` bytes.
    pub fn items(&self, ids: &[ItemId], room: usize) -> Vec<Item> {
        let wanted: BTreeSet<_> = ids.iter().collect();
        let waiting = self.waiting.values().map(|waiting| (waiting.reference.id, &**waiting.item));
        let proposed = self.proposed.values().flat_map(|offered| offered.items.iter().map(|(id, item)| (*id, item)));
        let here: BTreeMap<_, _> = waiting.chain(proposed).filter(|(id, _)| wanted.contains(id)).collect();
        as_fits(room, here.into_values())
    }

    /// An account's commands that wait for a block, by their numbers.
    pub fn commands(&self, account: &NodeId) -> impl Iterator<Item = &SignedCommand> {
        let of_account = Slot::Command(*account, 0)..=Slot::Command(*account, u64::MAX);
        self.waiting.range(of_account).filter_map(|(_, waiting)| match &**waiting.item {
            Item::Command(command) => Some(command),
            _ => None,
        })
    }

    /// The waiting commitments and reveals of an epoch but for those of these validators, as many as fit into `room` bytes.
    pub fn reports(
        &self,
        epoch: Epoch,
        without_commitments: &[ValidatorId],
        without_reveals: &[ValidatorId],
        room: usize,
    ) -> Vec<Item> {
        let is_wanted = |slot: &Slot| match slot {
            Slot::Commitment(of, key) => *of == epoch && !without_commitments.contains(key),
            Slot::Reveal(of, key) => *of == epoch && !without_reveals.contains(key),
            Slot::Command(..) | Slot::Evidence(_) => false,
        };
        as_fits(room, self.waiting.iter().filter(|(slot, _)| is_wanted(slot)).map(|(_, waiting)| &**waiting.item))
    }
}

/// The first of these that fit into `room` together. Whoever lacks more asks again.
fn as_fits<'a>(mut room: usize, items: impl Iterator<Item = &'a Item>) -> Vec<Item> {
    let fits = |item: &&Item| match room.checked_sub(encode(*item).len()) {
        Some(rest) => {
            room = rest;
            true
        }
        None => false,
    };
    items.take_while(fits).cloned().collect()
}
