//! Maintenance that a command of the node's own takes away, so that it is announced again afterwards.
//!
//! By the ledger's rule a command ends what is under way in its first epoch, and removes all that has not begun. The row does not tell who has
//! announced an item, and need not: whatever was announced and is not over is kept, in the store, until the owner gives a command of maintenance.

use lucid_consensus::ledger::registry::{Maintenance, Node};
use lucid_types::codec::Wire;
use lucid_types::command::MaintenanceScope;
use lucid_types::time::Epoch;
use serde::{Deserialize, Serialize};

/// The most items that are kept.
const MOST: usize = 32;

/// What is kept, and the command that made that necessary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Number of the command.
    nonce: u64,
    /// What it announces. In a block of a later epoch than expected it begins later.
    own: Maintenance,
    /// What was announced when it was given, for epochs after its first one.
    items: Vec<Maintenance>,
}

impl Wire for Kept {
    const MAX_BYTES: usize = 8 + 20 + 8 + 20 * MOST;
}

impl Kept {
    /// What is kept once a command of such a number has announced `own`, with what was kept before.
    pub(super) fn new(nonce: u64, own: Maintenance, before: Vec<Maintenance>, row: &Node) -> Self {
        let announced = before.into_iter().chain(row.maintenance.iter().copied());
        Self { nonce, own, items: merged(announced.filter(|it| it.until > own.from).collect()) }
    }

    /// What is to be in force, when the next command of the account has a number: all of it, unless the owner has given a command since. That one
    /// goes for the epochs from its first one on, and if it has ended maintenance, from there on.
    pub(super) fn items(&self, next_nonce: u64, row: &Node) -> Vec<Maintenance> {
        let mut items = self.items.clone();
        let last = row.maintenance.last();
        if next_nonce > self.nonce && !last.is_some_and(|last| self.is_own(last)) {
            let from = last.map_or(Epoch::ZERO, |last| last.from);
            items.iter_mut().for_each(|it| it.until = it.until.min(from));
            items.retain(|it| it.from < it.until);
        }
        items
    }

    fn is_own(&self, it: &Maintenance) -> bool {
        let length = |it: &Maintenance| it.until.get().saturating_sub(it.from.get());
        it.scope == self.own.scope && it.from >= self.own.from && length(it) == length(&self.own)
    }
}

/// The same epochs, in as few items as possible.
fn merged(mut items: Vec<Maintenance>) -> Vec<Maintenance> {
    items.sort_by_key(|it| (it.scope == MaintenanceScope::Traffic, it.from));
    let mut merged: Vec<Maintenance> = Vec::new();
    for it in items {
        match merged.last_mut().filter(|last| last.scope == it.scope && it.from <= last.until) {
            Some(last) => last.until = last.until.max(it.until),
            None => merged.push(it),
        }
    }
    merged.truncate(MOST);
    merged
}
