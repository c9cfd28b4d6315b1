//! The leaves of the root that the head shows, and of the one that it is about to show.

use std::collections::BTreeMap;

use lucid_types::amount::MicroUsdt;
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutRoot, PayoutTree, TreeHash};
use lucid_types::time::UnixMillis;

use super::config::{Timing, backoff};
use super::types::{Effect, IssuedRoot, Loaded};

/// Which root: a settlement can have different ones in different eras of a thief's making.
pub(super) type RootKey = (u64, PayoutRoot);

/// What is known of the posted root.
#[derive(Debug, Default)]
pub(super) struct Posted {
    wanted: Option<RootKey>,
    found: Option<Found>,
    /// What was found is what the ledger has said since its newest root came.
    is_checked: bool,
    /// The ledger does not know it.
    is_foreign: bool,
    ask_at: UnixMillis,
    n_asked: u32,
    ahead: Ahead,
}

/// The root that is being posted: its leaves are loaded meanwhile, so that pushing begins with the block that has it.
#[derive(Debug, Default)]
struct Ahead {
    expected: Option<RootKey>,
    /// Asked for once; if there is no answer, they are asked for when the head shows the root.
    is_asked: bool,
    found: Option<Found>,
}

#[derive(Debug)]
struct Found {
    issued: IssuedRoot,
    tree: PayoutTree,
}

impl Posted {
    /// The head shows this root. Returns whether its leaves are there already and were not before.
    pub(super) fn want(&mut self, wanted: Option<RootKey>, now: UnixMillis) -> bool {
        if self.wanted == wanted {
            return false;
        }
        let ahead = std::mem::take(&mut self.ahead);
        *self = Self { wanted, ask_at: now, ..Self::default() };
        if ahead.expected == wanted {
            (self.is_checked, self.found) = (ahead.found.is_some(), ahead.found);
        } else {
            self.ahead = ahead;
        }
        self.found.is_some()
    }

    /// This root is being posted, or none is.
    pub(super) fn expect(&mut self, expected: Option<RootKey>) {
        let expected = expected.filter(|expected| self.wanted != Some(*expected));
        if self.ahead.expected != expected {
            self.ahead = Ahead { expected, ..Ahead::default() };
        }
    }

    /// The ledger has got on: it may know a root that it did not know, or have issued it again with a greater total.
    pub(super) fn recheck(&mut self, now: UnixMillis) {
        (self.is_checked, self.is_foreign) = (false, false);
        self.ahead = Ahead::default();
        (self.ask_at, self.n_asked) = (now, 0);
    }

    /// Asks for the leaves if they are missing.
    pub(super) fn load(&mut self, now: UnixMillis, timing: &Timing, out: &mut Vec<Effect>) {
        if self.next_wake().is_some_and(|at| now >= at) {
            self.ask_at = now.after(backoff(timing.retry, timing.slow, self.n_asked));
            self.n_asked = self.n_asked.saturating_add(1);
            out.extend(self.wanted.map(|(settlement, root)| Effect::LoadLeaves { settlement, root }));
        }
        if let Some((settlement, root)) = self.ahead.expected.filter(|_| !self.ahead.is_asked) {
            self.ahead.is_asked = true;
            out.push(Effect::LoadLeaves { settlement, root });
        }
    }

    /// Takes the ledger's answer. Leaves that lead to another root are as good as none. Returns whether anything changed.
    pub(super) fn loaded(&mut self, asked: RootKey, loaded: Loaded) -> bool {
        let is_known = loaded != Loaded::Unavailable;
        let found = |loaded: Loaded| {
            let Loaded::Issued(issued) = loaded else { return None };
            let tree = PayoutTree::new(&issued.leaves).ok().filter(|tree| tree.root() == asked.1)?;
            Some(Found { issued: *issued, tree })
        };
        if self.ahead.expected == Some(asked) && self.ahead.found.is_none() {
            self.ahead.found = found(loaded);
            return self.ahead.found.is_some();
        }
        if self.wanted != Some(asked) || self.is_checked {
            return false;
        }
        let found = found(loaded);
        self.is_checked = found.is_some();
        self.found = found.or(self.found.take());
        self.is_foreign = self.found.is_none() && is_known;
        true
    }

    /// The root that is about to be posted, if its leaves are there.
    pub(super) fn issued_ahead(&self) -> Option<&IssuedRoot> {
        self.ahead.found.as_ref().map(|found| &found.issued)
    }

    pub(super) fn next_wake(&self) -> Option<UnixMillis> {
        (self.wanted.is_some() && !self.is_checked).then_some(self.ask_at)
    }

    pub(super) const fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// As the ledger issued it last.
    pub(super) fn checked(&self) -> Option<&IssuedRoot> {
        self.issued().filter(|_| self.is_checked)
    }

    pub(super) fn settlement(&self) -> Option<u64> {
        self.wanted.map(|(settlement, _)| settlement)
    }

    pub(super) fn issued(&self) -> Option<&IssuedRoot> {
        self.found.as_ref().map(|found| &found.issued)
    }

    pub(super) fn leaves(&self) -> &[OwedAccount] {
        self.issued().map_or(&[], |issued| &issued.leaves)
    }

    /// Whether an account that was paid so much is to be paid now.
    pub(super) fn is_due(&self, account: &AccountId, paid: MicroUsdt) -> bool {
        self.issued().is_some_and(|issued| issued.is_due(account, paid))
    }

    pub(super) fn proof(&self, start: usize, n: usize) -> Option<Vec<TreeHash>> {
        self.found.as_ref()?.tree.range_proof(start, n)
    }
}

/// What accounts have had, as one view says.
pub(super) type Paid = BTreeMap<AccountId, MicroUsdt>;
