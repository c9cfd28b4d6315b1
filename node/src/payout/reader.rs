//! The reader: follows the solidified blocks of every provider group, notes what the pools' vaults did, and keeps what they are.
//!
//! Of each block all groups are asked for the receipts, once. What goes into history is what every group that answers confirms;
//! where they differ, that is an alert. A vault's snapshot is taken at first, when its events appear, and once a minute. Nothing
//! here decides anything: a provider that lies can mislead a screen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use lucid_consensus::network::Network;
use lucid_storage::{StorageError, Store};
use lucid_tron_bridge::client::{Client, TransactionInfo};
use lucid_tron_bridge::providers::{Providers, WitnessedSnapshot};
use lucid_tron_bridge::transaction::Reference;
use lucid_tron_bridge::vault::VaultEvent;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{PayoutAddress, PoolId};
use lucid_types::payout_tree::AccountId;
use lucid_types::time::UnixMillis;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::clock::Clock;
use crate::history;
use crate::history::vault::{Payment, Place, Posting, Read};
use crate::payout::causes;
use crate::payout::checks::{self, Ledger};
use crate::payout::vaults::{SolidVault, Vaults};

/// The longest pause between two turns: TRON makes a block in this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// Blocks that are read in one turn. With the pause between turns this leaves the pusher its part of the providers' limits.
const BLOCKS_A_TURN: u64 = 16;
/// Blocks that are asked for at a time.
const AT_ONCE: usize = 4;
/// How old a snapshot may be, and when one that failed is tried again.
const SNAPSHOT_AGE: Duration = Duration::from_secs(60);
const SNAPSHOT_RETRY: Duration = Duration::from_secs(5);
/// Snapshots that are taken in one turn; with more vaults than these they get older.
const SNAPSHOTS_A_TURN: usize = 4;
/// Settlements before the vault's newest root whose leaves are kept: another provider may still show the root before.
const SETTLEMENTS_KEPT: u64 = 2;
/// A group whose newest solidified block is older is left out while there are others: it would hold everything up.
const MAX_AGE: Duration = Duration::from_secs(600);
/// With more blocks to read, snapshots are shown before these are read: it takes long.
const MAX_UNREAD: u64 = 200;

/// What the reader works with.
pub struct ReaderParts {
    /// The network.
    pub network: Arc<Network>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The store.
    pub store: Store,
    /// The providers.
    pub providers: Arc<Providers>,
    /// The newest block, with the pools' accounts.
    pub head: watch::Receiver<Head>,
    /// Takes what vaults are.
    pub vaults: Arc<Vaults>,
}

/// The reader. [`Self::run`] it.
pub struct Reader {
    parts: ReaderParts,
    /// The next block to read.
    next: Option<u64>,
    /// Whether nothing was read before this run.
    is_new: bool,
    /// When the next snapshot of each vault is due.
    due: BTreeMap<PoolId, UnixMillis>,
    /// Vaults that did something since the last one.
    active: BTreeSet<PoolId>,
    /// Vaults that could not be read.
    unread: BTreeMap<PoolId, String>,
    /// Snapshots that are newer than the blocks read when they were taken: shown when these are read too, so that nothing is
    /// shown as paid before its payment is known.
    waiting: BTreeMap<PoolId, SolidVault>,
    /// Alerts that were told and still hold.
    told: BTreeSet<String>,
}

/// An event of a vault with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    pool: PoolId,
    event: VaultEvent,
    place: Place,
}

impl Reader {
    /// A reader that has not read anything yet.
    pub const fn new(parts: ReaderParts) -> Self {
        Self {
            parts,
            next: None,
            is_new: true,
            due: BTreeMap::new(),
            active: BTreeSet::new(),
            unread: BTreeMap::new(),
            waiting: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    /// Reads until `stop`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StorageError> {
        let timeout = Duration::from_millis(self.parts.network.policy().leader_timeout_ms);
        let pause = (timeout / 10).min(LONGEST_PAUSE);
        self.next = tokio::task::block_in_place(|| history::vault::next_block(&self.parts.store))?;
        self.is_new = self.next.is_none();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                turn = self.turn() => turn?,
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Reads new blocks, then takes the snapshots that are due.
    async fn turn(&mut self) -> Result<(), StorageError> {
        let mut alerts = BTreeSet::new();
        let providers = Arc::clone(&self.parts.providers);
        let heads = join_all(providers.groups().iter().map(Client::solid_head)).await;
        let mut groups = Vec::new();
        for (group, head) in providers.groups().iter().zip(heads) {
            match head {
                Ok(head) => groups.push((group, head)),
                Err(error) => {
                    alerts.insert(format!("the TRON provider {} does not answer: {}", group.label(), causes(&error)));
                }
            }
        }
        let now = self.parts.clock.now();
        let is_fresh = |head: &Reference| head.time.after(MAX_AGE) >= now;
        if groups.iter().any(|(_, head)| is_fresh(head)) {
            let stale = groups.extract_if(.., |(_, head)| !is_fresh(head));
            alerts.extend(
                stale.map(|(group, _)| format!("the TRON provider {} is far behind and left out", group.label())),
            );
        }
        let Some(oldest) = groups.iter().map(|(_, head)| head.number).min() else {
            self.tell(alerts);
            return Ok(());
        };
        let groups: Vec<_> = groups.into_iter().map(|(group, _)| group).collect();
        // Taken in an earlier turn, so of a block that is not newer than `oldest`.
        let waiting: Vec<_> = self.waiting.keys().copied().collect();
        let next = *self.next.get_or_insert(oldest.saturating_add(1));
        let next = self.read(&groups, next, oldest).await?;
        self.next = Some(next);
        if next > oldest || next.saturating_add(MAX_UNREAD) < oldest {
            for pool in waiting {
                if let Some(vault) = self.waiting.remove(&pool) {
                    self.show(pool, vault)?;
                }
            }
        }
        self.take_snapshots().await?;
        alerts.extend(self.unread.values().cloned());
        for (pool, vault) in self.parts.vaults.all() {
            alerts.extend(vault.alerts.iter().map(|alert| format!("pool {}: {alert}", pool.short())));
        }
        self.tell(alerts);
        Ok(())
    }

    /// Reads blocks from `next` up to `last`, a few a turn, and returns the next one to read.
    async fn read(&mut self, groups: &[&Client], next: u64, last: u64) -> Result<u64, StorageError> {
        let vaults = self.vaults();
        let end = last.saturating_add(1).min(next.saturating_add(BLOCKS_A_TURN));
        let mut blocks = stream::iter(next..end)
            .map(|number| async move { (number, join_all(groups.iter().map(|group| group.solid_logs(number))).await) })
            .buffered(AT_ONCE);
        let (mut read, mut reached) = (Read::default(), next);
        while let Some((number, answers)) = blocks.next().await {
            let mut told = Vec::new();
            for (group, answer) in groups.iter().zip(answers) {
                match answer {
                    Ok(Some(infos)) => told.push((group.label(), seen_in(&infos, &vaults))),
                    // The group's endpoints are not equally far.
                    Ok(None) => {}
                    Err(error) => {
                        tracing::debug!(group = group.label(), block = number, error = %causes(&error), "not read");
                    }
                }
            }
            let mut told = told.into_iter();
            let Some((first, mut seen)) = told.next() else { break };
            for (other, theirs) in told {
                if theirs != seen {
                    tracing::error!(
                        first,
                        other,
                        block = number,
                        "TRON providers contradict each other on the vaults' events in a solidified block"
                    );
                    seen.retain(|event| theirs.contains(event));
                }
            }
            seen.into_iter().for_each(|seen| self.note(&mut read, seen));
            reached = number.saturating_add(1);
        }
        drop(blocks);
        if reached > next {
            tokio::task::block_in_place(|| history::vault::put(&self.parts.store, &read, reached))?;
        }
        Ok(reached)
    }

    fn vaults(&self) -> BTreeMap<PayoutAddress, PoolId> {
        let head = self.parts.head.borrow();
        head.state.pools.iter().map(|(id, pool)| (pool.vault.address, *id)).collect()
    }

    fn note(&mut self, read: &mut Read, seen: Seen) {
        let Seen { pool, event, place } = seen;
        tracing::debug!(%pool, ?event, block = place.block, "the vault");
        self.active.insert(pool);
        match event {
            VaultEvent::Paid { id: account, to, amount, owed } => {
                let after = Payment::paid_after(self.paid_before(read, &pool, &account), amount, owed);
                read.payments.push(Payment { pool, account, to, amount, owed, after, place });
            }
            VaultEvent::RootPosted { settlement, root, total, .. } => {
                read.postings.push(Posting { pool, settlement, root, total, place });
            }
            _ => {}
        }
    }

    /// What an account had been paid before the payment that is being noted, as far as this node knows.
    fn paid_before(&self, read: &Read, pool: &PoolId, account: &AccountId) -> Option<MicroUsdt> {
        let noted = read.payments.iter().rev().find(|payment| payment.account == *account);
        if let Some(payment) = noted {
            return Some(payment.after);
        }
        let stored = tokio::task::block_in_place(|| history::vault::newest_payment(&self.parts.store, account));
        let stored = stored.inspect_err(|error| tracing::warn!(%error, "payments cannot be read")).ok().flatten();
        let known = || self.parts.vaults.get(pool)?.snapshot.paid_of(account);
        stored.map(|payment| payment.after).or_else(known)
    }

    /// Takes the snapshots that are due: first of the vaults that did something, then of those that wait longest.
    async fn take_snapshots(&mut self) -> Result<(), StorageError> {
        let now = self.parts.clock.now();
        let state = Arc::clone(&self.parts.head.borrow().state);
        let mut due = Vec::new();
        for id in state.pools.keys() {
            let at = self.due.get(id).copied().unwrap_or(UnixMillis::ZERO);
            // The clock may be set back.
            let is_due = at <= now || at > now.after(SNAPSHOT_AGE);
            if is_due || self.active.contains(id) {
                due.push((!self.active.contains(id), at, *id));
            }
        }
        due.sort_unstable();
        for (_, _, id) in due.into_iter().take(SNAPSHOTS_A_TURN) {
            let Some(pool) = state.pools.get(&id) else { continue };
            let accounts: Vec<_> = pool.accounts.keys().copied().collect();
            match self.parts.providers.vault_snapshot(&pool.vault.address, &accounts).await {
                Ok(witnessed) => {
                    self.due.insert(id, now.after(SNAPSHOT_AGE));
                    self.active.remove(&id);
                    self.unread.remove(&id);
                    let ledger = Ledger { network: &self.parts.network, state: &state, pool, now };
                    let vault = self.judge(&id, ledger, witnessed)?;
                    // A first reader's tells what was paid before it began.
                    if self.is_new && self.parts.vaults.get(&id).is_none() {
                        self.show(id, vault)?;
                    } else {
                        self.waiting.insert(id, vault);
                    }
                }
                Err(error) => {
                    self.due.insert(id, now.after(SNAPSHOT_RETRY));
                    let alert = format!("the vault of pool {} cannot be read: {}", id.short(), causes(&error));
                    self.unread.insert(id, alert);
                }
            }
        }
        Ok(())
    }

    fn judge(&self, id: &PoolId, ledger: Ledger<'_>, witnessed: WitnessedSnapshot) -> Result<SolidVault, StorageError> {
        let WitnessedSnapshot { snapshot, contradictions, .. } = witnessed;
        let record = tokio::task::block_in_place(|| history::ledger::root(&self.parts.store, id, snapshot.settlement))?;
        let root_of = checks::root_of(&snapshot, record.as_ref());
        let mut alerts = checks::alerts(&ledger, &snapshot, root_of);
        alerts.extend(contradictions.iter().map(ToString::to_string));
        Ok(SolidVault { snapshot, time: ledger.now, root_of, alerts })
    }

    fn show(&self, pool: PoolId, vault: SolidVault) -> Result<(), StorageError> {
        if let Some(settlement) = vault.root_of {
            let before = settlement.saturating_sub(SETTLEMENTS_KEPT);
            tokio::task::block_in_place(|| history::ledger::prune_leaves(&self.parts.store, &pool, before))?;
        }
        self.parts.vaults.set(pool, vault);
        Ok(())
    }

    /// Tells alerts that are new, and those that are over.
    fn tell(&mut self, alerts: BTreeSet<String>) {
        for alert in alerts.difference(&self.told) {
            tracing::warn!("{alert}");
        }
        for alert in self.told.difference(&alerts) {
            tracing::info!("over: {alert}");
        }
        self.told = alerts;
    }
}

/// The vaults' events in a block, in order.
fn seen_in(infos: &[TransactionInfo], vaults: &BTreeMap<PayoutAddress, PoolId>) -> Vec<Seen> {
    let mut seen = Vec::new();
    for info in infos.iter().filter(|info| info.is_success()) {
        for log in &info.logs {
            let Some(pool) = vaults.get(&log.address) else { continue };
            let Some(event) = VaultEvent::decode(log) else { continue };
            let index = u32::try_from(seen.len()).unwrap_or(u32::MAX);
            let place = Place { tx_id: info.id, fee: info.fee, block: info.block, time: info.block_time, index };
            seen.push(Seen { pool: *pool, event, place });
        }
    }
    seen
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
