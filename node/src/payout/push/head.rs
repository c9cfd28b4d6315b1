//! What the pusher is told of the newest blocks, with as few requests as blocks need: one for each, one for the receipts in it
//! while a transaction of the pusher waits for its own, and one for the vault if something in them concerns it. How many
//! transactions wait makes no difference.
//!
//! A receipt at the head is only news: that a transaction is solid is taken from the reader's blocks, and what neither of the
//! two can tell is asked for by the transaction's id, one after the other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_tron_bridge::address;
use lucid_tron_bridge::client::{Client, ClientError, Header, TransactionInfo};
use lucid_tron_bridge::pusher::{InFlight, JobId, Lookup, Receipt};
use lucid_tron_bridge::transaction::Reference;
use lucid_tron_bridge::vault::VaultSnapshot;
use lucid_types::id::{PayoutAddress, TxId};
use lucid_types::payout_tree::AccountId;
use lucid_types::time::UnixMillis;

use crate::payout::pace::BlockPace;

/// Blocks of which all receipts are read when some were missed. After more, open transactions are asked for one by one.
const MAX_BLOCKS: u64 = 16;
/// How old the newest block that was seen may be for a new transaction to be built on it.
const MAX_AGE: Duration = Duration::from_secs(5);
/// How long the vault counts as it was read while blocks tell of nothing that changed it. Behind one address there may be nodes
/// that are not equally far, so it may have been that of a block before.
const MAX_VAULT_AGE: Duration = Duration::from_secs(20);
/// Requests in a row that show an older block than one before, until it is believed: endpoints are not equally far.
const MAX_BEHIND: u32 = 3;

/// See the module. Asks nothing itself.
#[derive(Debug)]
pub(super) struct HeadFollower {
    pub(super) pace: BlockPace,
    newest: Option<(Header, Instant)>,
    n_behind: u32,
    /// The vault at the newest block, and when it was read.
    vault: Option<(Arc<VaultSnapshot>, Instant)>,
    open: BTreeMap<JobId, Open>,
    /// Whether a look is under way.
    pub(super) is_looking: bool,
    /// Accounts that the pusher waits to be told of.
    pub(super) wanted: Option<Vec<AccountId>>,
    /// Transactions that are to be asked for by their ids.
    to_look_up: VecDeque<(JobId, TxId)>,
    /// When one was last, and whether that is under way.
    looked_up: (Option<Instant>, bool),
}

/// A transaction that was stored and not forgotten.
#[derive(Debug)]
struct Open {
    tx_id: TxId,
    expiration: UnixMillis,
    /// Whether all blocks that may include it were or will be looked through.
    is_watched: bool,
    /// Whether the pusher was told that a block includes it.
    is_told: bool,
}

/// What to look at.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) known: Option<Header>,
    /// Whether there may be a newer block.
    polls: bool,
    /// Whether receipts are waited for.
    reads_receipts: bool,
    /// Accounts to tell of.
    pub(super) wanted: Option<Vec<AccountId>>,
    vault: Option<Arc<VaultSnapshot>>,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) header: Header,
    has_polled: bool,
    infos: Vec<TransactionInfo>,
    /// Blocks were missed or replaced, or their receipts not read.
    is_gap: bool,
    /// The vault at that block; `None` if it may have changed and was not read.
    pub(super) vault: Option<Arc<VaultSnapshot>>,
}

impl HeadFollower {
    pub(super) fn new(interval: Duration, stored: &[InFlight]) -> Self {
        let mut follower = Self {
            pace: BlockPace::new(interval),
            newest: None,
            n_behind: 0,
            vault: None,
            open: BTreeMap::new(),
            is_looking: false,
            wanted: None,
            to_look_up: VecDeque::new(),
            looked_up: (None, false),
        };
        stored.iter().for_each(|stored| follower.opened(stored, false));
        follower
    }

    /// A transaction was stored; with `is_new`, it was not sent before.
    pub(super) fn opened(&mut self, stored: &InFlight, is_new: bool) {
        let is_watched = is_new && self.newest.is_some();
        let (tx_id, expiration) = (stored.tx_id, stored.expiration);
        self.open.insert(stored.id, Open { tx_id, expiration, is_watched, is_told: false });
    }

    pub(super) fn closed(&mut self, id: JobId) {
        self.open.remove(&id);
        self.to_look_up.retain(|(other, _)| *other != id);
    }

    /// Whether a transaction waits for a block.
    pub(super) fn has_open(&self) -> bool {
        self.open.values().any(|open| !open.is_told)
    }

    /// The newest block, if it was seen a moment ago.
    pub(super) fn fresh(&self) -> Option<Reference> {
        self.newest.filter(|(_, seen)| seen.elapsed() < MAX_AGE).map(|(header, _)| header.reference)
    }

    /// Blocks come as others of the network have shown. What this follower has seen itself counts more.
    pub(super) const fn expect(&mut self, pace: &BlockPace) {
        if self.newest.is_none() {
            self.pace = pace.of_same_network();
        }
    }

    /// What to look at now, if anything, and whether nothing else is under way.
    pub(super) fn look(&self, now: UnixMillis) -> Option<Look> {
        let is_due = now >= self.pace.next_at();
        if self.is_looking || (self.wanted.is_none() && !(is_due && self.has_open())) {
            return None;
        }
        let known = self.newest.map(|(header, _)| header);
        let recent = self.vault.as_ref().filter(|(_, read)| read.elapsed() < MAX_VAULT_AGE);
        let (wanted, vault) = (self.wanted.clone(), recent.map(|(vault, _)| Arc::clone(vault)));
        Some(Look { known, polls: is_due || known.is_none(), reads_receipts: self.has_open(), wanted, vault })
    }

    /// Takes what was found, and returns receipts of the pusher's transactions.
    pub(super) fn found(&mut self, now: UnixMillis, found: &Found) -> Vec<(JobId, Receipt)> {
        let Found { header, has_polled, infos, is_gap, vault } = found;
        if *has_polled {
            self.pace.saw(&header.reference, now);
        }
        let is_behind = self.newest.is_some_and(|(newest, _)| header.reference.number < newest.reference.number);
        if is_behind && self.n_behind < MAX_BEHIND {
            self.n_behind = self.n_behind.saturating_add(1);
            return Vec::new();
        }
        self.n_behind = 0;
        if *has_polled || self.newest.is_none() {
            self.newest = Some((*header, Instant::now()));
        }
        let is_held = |vault: &Arc<VaultSnapshot>| self.vault.as_ref().filter(|(held, _)| Arc::ptr_eq(held, vault));
        self.vault = vault.as_ref().map(|vault| match is_held(vault) {
            Some(held) => held.clone(),
            None => (Arc::clone(vault), Instant::now()),
        });
        if *is_gap {
            self.open.values_mut().for_each(|open| open.is_watched = false);
        }
        let mut told = Vec::new();
        for (id, open) in self.open.iter_mut().filter(|(_, open)| !open.is_told) {
            if let Some(info) = infos.iter().find(|info| info.id == open.tx_id) {
                open.is_told = true;
                told.push((*id, Receipt::from(info)));
            }
        }
        told
    }

    /// Nobody answered.
    pub(super) fn not_found(&mut self, now: UnixMillis) {
        self.pace.missed(now);
    }

    /// What is known of a transaction that the pusher asks for; if nothing is, it is to be asked for by its id. `solid` is its
    /// receipt in a solidified block.
    pub(super) fn lookup(&mut self, id: JobId, tx_id: TxId, solid: Option<Receipt>) -> Option<Lookup> {
        if let Some(receipt) = solid {
            let found = Lookup::Included(receipt);
            self.told(id, &found);
            return Some(found);
        }
        let is_before = |open: &Open| self.newest.is_some_and(|(header, _)| header.reference.time < open.expiration);
        // One that a block included, and that is not in the solidified blocks, was dropped by a fork or is in another block.
        let is_awaited = |open: &Open| open.is_watched && !open.is_told && is_before(open);
        if self.open.get(&id).is_some_and(is_awaited) {
            return Some(Lookup::NotIncluded);
        }
        if !self.to_look_up.contains(&(id, tx_id)) {
            self.to_look_up.push_back((id, tx_id));
        }
        None
    }

    /// The transaction to ask for by its id now, if any: one at a time, and one in an interval.
    pub(super) fn next_lookup(&mut self, interval: Duration) -> Option<(JobId, TxId)> {
        let (last, is_under_way) = self.looked_up;
        if is_under_way || last.is_some_and(|last| last.elapsed() < interval) {
            return None;
        }
        let next = self.to_look_up.pop_front()?;
        self.looked_up = (Some(Instant::now()), true);
        Some(next)
    }

    /// A transaction was asked for by its id.
    pub(super) fn looked_up(&mut self, id: JobId, found: &Lookup) {
        self.looked_up.1 = false;
        self.told(id, found);
    }

    /// A request ended without an answer.
    pub(super) const fn ended(&mut self) {
        self.is_looking = false;
        self.looked_up.1 = false;
    }

    fn told(&mut self, id: JobId, found: &Lookup) {
        let Some(open) = self.open.get_mut(&id) else { return };
        match found {
            Lookup::Included(_) => open.is_told = true,
            // It is in no block now; those that come are looked through.
            Lookup::NotIncluded => (open.is_told, open.is_watched) = (false, self.newest.is_some()),
            Lookup::Unavailable => {}
        }
    }
}

/// Looks at a group's newest block, reads the receipts of new ones, and the vault if it has to be.
///
/// # Errors
/// The group did not answer.
pub(super) async fn look(
    group: &Client,
    vault: &PayoutAddress,
    token: &PayoutAddress,
    look: &Look,
) -> Result<Found, ClientError> {
    let (header, has_polled) = match look.known {
        Some(known) if !look.polls => (known, false),
        _ => (group.header().await?, true),
    };
    let (mut infos, mut is_gap, mut is_changed) = (Vec::new(), false, false);
    match look.known {
        Some(known) if known == header => {}
        Some(known) if follows(&known, &header) => {
            let first = known.reference.number.saturating_add(1);
            // Those between may be others than the ones that the newest stands on.
            is_changed = first < header.reference.number;
            for number in first..=header.reference.number {
                let is_newest = number == header.reference.number;
                if is_newest && header.is_empty {
                    continue;
                }
                if !look.reads_receipts {
                    (is_gap, is_changed) = (true, true);
                    continue;
                }
                let found = group.logs(number).await?;
                // Behind one address there may be nodes that are not equally far.
                is_gap |= is_newest && found.is_empty();
                is_changed |= is_gap || found.iter().any(|info| concerns(info, vault, token));
                infos.extend(found);
            }
        }
        _ => (is_gap, is_changed) = (true, true),
    }
    let held = look.vault.clone().filter(|_| !is_changed);
    let vault = match &look.wanted {
        None => held,
        Some(wanted) => match held.filter(|held| wanted.iter().all(|account| held.paid.contains_key(account))) {
            Some(held) => Some(held),
            None => Some(Arc::new(group.head_vault_snapshot(vault, wanted).await?)),
        },
    };
    Ok(Found { header, has_polled, infos, is_gap, vault })
}

/// Whether a block stands on another, as far as their headers tell, and not many are between them.
fn follows(known: &Header, header: &Header) -> bool {
    let (old, new) = (&known.reference, &header.reference);
    match new.number.checked_sub(old.number) {
        Some(1) => header.parent == old.id,
        Some(distance) => (2..=MAX_BLOCKS).contains(&distance),
        None => false,
    }
}

/// Whether a transaction may have changed the vault: it told something, or its tokens moved.
fn concerns(info: &TransactionInfo, vault: &PayoutAddress, token: &PayoutAddress) -> bool {
    info.logs.iter().any(|log| {
        let is_named = || log.topics.iter().filter_map(address::from_word).any(|named| named == *vault);
        log.address == *vault || (log.address == *token && is_named())
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
