//! The reader: follows the solidified blocks of every provider group, notes what the pools' vaults did, and keeps what they are.
//!
//! Of each block all groups are asked for the receipts, once. What goes into history is what every group that answers confirms;
//! where they differ, that is an alert. A vault's snapshot is taken at first, when its events appear, when the ledger has
//! accounts that it does not tell of, and, of all accounts, after a while; a block without its events only moves the time up to which the
//! snapshot holds. After the first, a snapshot asks for the accounts that events name, and is joined with the one before only if
//! the vault's own sums say that nobody else was paid: accounts, height and sums of what is shown always belong together.
//!
//! Nothing here decides anything: a provider that lies can mislead a screen. The pusher looks at the same snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::pool::PoolState;
use lucid_consensus::ledger::state::{Rows as _, State};
use lucid_consensus::ledger::table::Accounts;
use lucid_storage::{StorageError, Store};
use lucid_tron_bridge::address;
use lucid_tron_bridge::client::{Client, ClientError, Header, TransactionInfo};
use lucid_tron_bridge::providers::{Providers, WitnessedSnapshot, vault_snapshot_of};
use lucid_tron_bridge::pusher::Receipt;
use lucid_tron_bridge::transaction::Reference;
use lucid_tron_bridge::vault::{VaultEvent, VaultSnapshot};
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{PayoutAddress, PoolId, TxId};
use lucid_types::payout_tree::AccountId;
use lucid_types::time::UnixMillis;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::clock::Clock;
use crate::history;
use crate::history::vault::{Payment, Place, Posting, Read};
use crate::payout::causes;
use crate::payout::checks::{self, Ledger};
use crate::payout::pace::BlockPace;
use crate::payout::vaults::{SolidVault, Succession, Vaults};

/// The longest time between two turns: TRON makes a block in this time. The shortest is a tenth of the leader time-out, if that
/// is less; between the two, a turn comes when the next solidified block should be there.
const LONGEST_TURN: Duration = Duration::from_secs(3);
/// Blocks that are read in one turn. With the pause between turns this leaves the pusher its part of the providers' limits.
const BLOCKS_A_TURN: u64 = 16;
/// Blocks that are asked for at a time.
const AT_ONCE: usize = 4;
/// How old a snapshot may be at most, and when one that failed is tried again. Where leaders have less time than half of it,
/// twice theirs: whoever was lied to by a provider should see the truth before others have paid in his place.
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
/// Turns in which no group has a block's receipts before it is passed over. Nodes of one provider are not equally far, and some
/// keep no old receipts.
const MAX_MISSING: u32 = 20;

/// What the reader works with.
pub struct ReaderParts {
    /// The network.
    pub spec: Arc<ChainSpec>,
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
    /// When solidified blocks come.
    pace: BlockPace,
    /// The next block to read.
    next: Option<u64>,
    /// A block that no group has the receipts of, and in how many turns.
    missing: (u64, u32),
    /// Whether nothing was read before this run.
    is_new: bool,
    /// When the next snapshot of each vault is due.
    due: BTreeMap<PoolId, UnixMillis>,
    /// When all accounts of a vault were read last, by groups that did not contradict each other.
    whole: BTreeMap<PoolId, UnixMillis>,
    /// Vaults that did something since the last one.
    active: BTreeMap<PoolId, Activity>,
    /// Vaults that could not be read.
    unread: BTreeMap<PoolId, String>,
    /// Snapshots that are newer than the blocks read when they were taken: shown when these are read too, so that nothing is
    /// shown as paid before its payment is known.
    waiting: BTreeMap<PoolId, SolidVault>,
    /// What was seen to be paid since the snapshot that is shown.
    unshown: BTreeMap<PoolId, MicroUsdt>,
    /// Alerts that were told and still hold.
    told: BTreeSet<String>,
    /// The vaults that were read last, as the ledger named them.
    followed: BTreeMap<PoolId, PayoutAddress>,
    /// Vaults of which it was seen that they take over from those before them: that never changes.
    sound: BTreeSet<PayoutAddress>,
}

/// What a vault did since its last snapshot.
#[derive(Debug, Default)]
struct Activity {
    /// Accounts that it paid.
    paid: BTreeSet<AccountId>,
}

/// An event of a vault with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    pool: PoolId,
    event: VaultEvent,
    place: Place,
}

/// What a block says of vaults.
#[derive(Debug, Default)]
struct Told {
    /// Their events, in order.
    seen: Vec<Seen>,
    /// Those that did something, or whose token balance may have changed.
    changed: BTreeSet<PoolId>,
    /// Receipts of the transactions of these events.
    receipts: BTreeMap<TxId, Receipt>,
}

/// Provider groups that answer, with their newest solidified blocks.
type Groups<'a> = [(&'a Client, Header)];

impl Reader {
    /// A reader that has not read anything yet.
    pub fn new(parts: ReaderParts) -> Self {
        Self {
            parts,
            pace: BlockPace::new(LONGEST_TURN),
            next: None,
            missing: (0, 0),
            is_new: true,
            due: BTreeMap::new(),
            whole: BTreeMap::new(),
            active: BTreeMap::new(),
            unread: BTreeMap::new(),
            waiting: BTreeMap::new(),
            unshown: BTreeMap::new(),
            told: BTreeSet::new(),
            followed: BTreeMap::new(),
            sound: BTreeSet::new(),
        }
    }

    /// Reads until `stop`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StorageError> {
        let shortest = (self.leader_timeout() / 10).min(LONGEST_TURN);
        let mut turn_at = Instant::now();
        let mut head = self.parts.head.clone();
        let mut is_over = false;
        self.next = tokio::task::block_in_place(|| history::vault::next_block(&self.parts.store))?;
        self.is_new = self.next.is_none();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = sleep_until(turn_at) => {}
                // A settlement may have brought accounts that whoever pushes has to know of.
                changed = head.changed(), if !is_over => {
                    is_over = changed.is_err();
                    if !self.lacks_accounts() {
                        continue;
                    }
                }
            }
            let has_more = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                turn = self.turn() => turn?,
            };
            let until_block = self.parts.clock.now().until(self.pace.next_at());
            turn_at = Instant::now() + if has_more { shortest } else { until_block.clamp(shortest, LONGEST_TURN) };
        }
    }

    fn leader_timeout(&self) -> Duration {
        Duration::from_millis(self.parts.head.borrow().state.policy_in_force().leader_timeout_ms)
    }

    fn snapshot_age(&self) -> Duration {
        SNAPSHOT_AGE.min(self.leader_timeout() * 2)
    }

    /// Whether the ledger has accounts that a snapshot does not tell of.
    fn lacks_accounts(&self) -> bool {
        let state = self.parts.head.borrow().state.clone();
        state.pools().any(|(id, _)| self.newest(&id).is_some_and(|known| lacking(&state, &id, &known).next().is_some()))
    }

    /// The newest snapshot of a vault, shown or not.
    fn newest(&self, pool: &PoolId) -> Option<Arc<VaultSnapshot>> {
        let waiting = self.waiting.get(pool).map(|vault| Arc::clone(&vault.snapshot));
        waiting.or_else(|| self.parts.vaults.get(pool).map(|vault| Arc::clone(&vault.snapshot)))
    }

    /// Reads new blocks, then takes the snapshots that are due.
    ///
    /// Returns whether there is more to read.
    async fn turn(&mut self) -> Result<bool, StorageError> {
        self.follow_vaults();
        let mut alerts = BTreeSet::new();
        let providers = Arc::clone(&self.parts.providers);
        let heads = join_all(providers.groups().iter().map(Client::solid_header)).await;
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
        let is_fresh = |head: &Header| head.reference.time.after(MAX_AGE) >= now;
        if groups.iter().any(|(_, head)| is_fresh(head)) {
            let stale = groups.extract_if(.., |(_, head)| !is_fresh(head));
            alerts.extend(
                stale.map(|(group, _)| format!("the TRON provider {} is far behind and left out", group.label())),
            );
        }
        let Some(oldest) = groups.iter().map(|(_, head)| head.reference).min_by_key(|head| head.number) else {
            self.pace.missed(now);
            self.tell(alerts);
            return Ok(false);
        };
        self.pace.saw(&oldest, now);
        self.parts.vaults.set_pace(self.pace);
        // Taken in an earlier turn, so of a block that is not newer than `oldest`.
        let waiting: Vec<_> = self.waiting.keys().copied().collect();
        let next = *self.next.get_or_insert(oldest.number.saturating_add(1));
        let next = self.read(&groups, next, oldest.number).await?;
        self.next = Some(next);
        let is_caught_up = next > oldest.number;
        if is_caught_up || next.saturating_add(MAX_UNREAD) < oldest.number {
            for pool in waiting {
                if let Some(vault) = self.waiting.remove(&pool) {
                    self.show(pool, vault)?;
                }
            }
        }
        if is_caught_up {
            self.advance(oldest);
        }
        self.take_snapshots(&groups, is_caught_up).await?;
        alerts.extend(self.unread.values().cloned());
        for (pool, vault) in self.parts.vaults.all() {
            alerts.extend(vault.alerts.iter().map(|alert| format!("pool {}: {alert}", pool.short())));
        }
        self.tell(alerts);
        Ok(!is_caught_up)
    }

    /// Begins anew with each vault that has followed another.
    fn follow_vaults(&mut self) {
        let state = self.parts.head.borrow().state.clone();
        for (id, pool) in state.pools() {
            let before = self.followed.insert(id, pool.vault.address);
            if before.is_none_or(|before| before == pool.vault.address) {
                continue;
            }
            tracing::info!(pool = %id.short(), vault = %pool.vault.address, "another vault takes over");
            self.due.remove(&id);
            self.whole.remove(&id);
            self.active.remove(&id);
            self.unread.remove(&id);
            self.waiting.remove(&id);
            self.unshown.remove(&id);
            self.parts.vaults.forget(&id);
        }
    }

    /// All blocks up to this one are read: vaults that did nothing are in it as they were.
    fn advance(&self, block: Reference) {
        for (pool, vault) in self.parts.vaults.all() {
            let is_unchanged = !self.active.contains_key(&pool) && !self.waiting.contains_key(&pool);
            if is_unchanged && vault.as_of.number < block.number {
                let time = self.parts.clock.now();
                self.parts.vaults.set(pool, SolidVault { as_of: block, time, ..SolidVault::clone(&vault) });
            }
        }
    }

    /// Reads blocks from `next` up to `last`, a few a turn, and returns the next one to read.
    async fn read(&mut self, groups: &Groups<'_>, next: u64, last: u64) -> Result<u64, StorageError> {
        let (vaults, token) = (self.vaults(), self.parts.spec.genesis().tron.usdt);
        let end = last.saturating_add(1).min(next.saturating_add(BLOCKS_A_TURN));
        let mut blocks = stream::iter(next..end)
            .map(|number| async move {
                let answers = groups.iter().map(|(group, head)| {
                    let header = Some(*head).filter(|head| head.reference.number == number);
                    group.solid_logs(number, header)
                });
                (number, join_all(answers).await)
            })
            .buffered(AT_ONCE);
        let (mut read, mut reached) = (Read::default(), next);
        while let Some((number, answers)) = blocks.next().await {
            let mut told = Vec::new();
            for ((group, _), answer) in groups.iter().zip(answers) {
                match answer {
                    Ok(Some(infos)) => told.push((group.label(), told_by(&infos, &vaults, &token))),
                    // The group's endpoints are not equally far.
                    Ok(None) => {}
                    Err(error) => {
                        tracing::debug!(group = group.label(), block = number, error = %causes(&error), "not read");
                    }
                }
            }
            let mut told = told.into_iter();
            let Some((first, mut all)) = told.next() else {
                if !self.passes_over(number) {
                    break;
                }
                reached = number.saturating_add(1);
                continue;
            };
            for (other, theirs) in told {
                if theirs.seen != all.seen {
                    tracing::error!(
                        first,
                        other,
                        block = number,
                        "TRON providers contradict each other on the vaults' events in a solidified block"
                    );
                    all.seen.retain(|event| theirs.seen.contains(event));
                    all.receipts.retain(|id, receipt| theirs.receipts.get(id) == Some(&*receipt));
                }
                all.changed.extend(theirs.changed);
            }
            self.parts.vaults.add_receipts(all.receipts);
            for pool in all.changed {
                self.active.entry(pool).or_default();
            }
            all.seen.into_iter().for_each(|seen| self.note(&mut read, seen));
            reached = number.saturating_add(1);
        }
        drop(blocks);
        if reached > next {
            tokio::task::block_in_place(|| history::vault::put(&self.parts.store, &read, reached))?;
        }
        Ok(reached)
    }

    /// Whether a block is passed over of which no group has the receipts: snapshots show what was paid in it all the same.
    fn passes_over(&mut self, number: u64) -> bool {
        let (block, turns) = self.missing;
        self.missing = if block == number { (number, turns.saturating_add(1)) } else { (number, 1) };
        let is_over = self.missing.1 > MAX_MISSING;
        if is_over {
            tracing::warn!(
                block = number,
                "no TRON provider has the receipts of this solidified block; it is passed over"
            );
            let pools: Vec<_> = self.parts.vaults.all().into_keys().collect();
            for pool in pools {
                self.active.entry(pool).or_default();
            }
        }
        is_over
    }

    fn vaults(&self) -> BTreeMap<PayoutAddress, PoolId> {
        let state = self.parts.head.borrow().state.clone();
        let of = |(id, pool): (PoolId, &PoolState)| {
            // Blocks that are read late tell of those before it.
            let all = pool.former_vaults.iter().chain([&pool.vault.address]);
            all.map(|vault| (*vault, id)).collect::<Vec<_>>()
        };
        state.pools().flat_map(of).collect()
    }

    fn note(&mut self, read: &mut Read, seen: Seen) {
        let Seen { pool, event, place } = seen;
        tracing::debug!(%pool, ?event, block = place.block, "the vault");
        let state = self.parts.head.borrow().state.clone();
        let is_account = |id: &AccountId| state.account(&pool, id).is_some();
        let activity = self.active.entry(pool).or_default();
        match event {
            VaultEvent::Paid { id: account, to, amount, owed } => {
                // One that the ledger does not know is not asked for: a liar can invent any number of them.
                if is_account(&account) {
                    activity.paid.insert(account);
                }
                let unshown = self.unshown.entry(pool).or_default();
                *unshown = unshown.saturating_add(amount);
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

    /// Takes the snapshots that are due: first of the vaults that did something or have new accounts, then of those that wait
    /// longest.
    async fn take_snapshots(&mut self, groups: &Groups<'_>, is_caught_up: bool) -> Result<(), StorageError> {
        let (now, age) = (self.parts.clock.now(), self.snapshot_age());
        let spec = Arc::clone(&self.parts.spec);
        let state = self.parts.head.borrow().state.clone();
        let mut due = Vec::new();
        for (id, _) in state.pools() {
            let at = self.due.get(&id).copied().unwrap_or(UnixMillis::ZERO);
            // The clock may be set back.
            let is_due = at <= now || at > now.after(age);
            let lacks = |known: Arc<VaultSnapshot>| lacking(&state, &id, &known).next().is_some();
            let is_urgent = self.active.contains_key(&id) || self.newest(&id).is_some_and(lacks);
            // One that could not be read is not asked for in every turn.
            let is_urgent = is_urgent && (is_due || !self.unread.contains_key(&id));
            if is_due || is_urgent {
                due.push((!is_urgent, at, id));
            }
        }
        due.sort_unstable();
        for (_, _, id) in due.into_iter().take(SNAPSHOTS_A_TURN) {
            let Some(pool) = state.pool(&id) else { continue };
            let ledger = Ledger { spec: &spec, state: &state, id, pool, now };
            let read = match self.snapshot(groups, ledger).await {
                Ok(witnessed) => self.succession(groups, pool, &witnessed).await.map(|seen| (witnessed, seen)),
                Err(error) => Err(error),
            };
            match read {
                Ok((witnessed, succession)) => {
                    self.due.insert(id, now.after(age));
                    self.active.remove(&id);
                    self.unread.remove(&id);
                    let vault = self.judge(ledger, witnessed, succession)?;
                    // A first reader's tells what was paid before it began.
                    let is_first = self.is_new && self.parts.vaults.get(&id).is_none();
                    if is_first || (is_caught_up && self.is_accounted_for(&id, &vault)) {
                        self.waiting.remove(&id);
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

    /// The vault with all accounts of the pool. Those that nothing was seen to be paid to are taken from the snapshot before, if
    /// the vault's sums say the same.
    async fn snapshot(&mut self, groups: &Groups<'_>, ledger: Ledger<'_>) -> Result<WitnessedSnapshot, ClientError> {
        let Ledger { state, ref id, pool, now, .. } = ledger;
        let groups: Vec<_> = groups.iter().map(|(group, head)| (*group, head.reference)).collect();
        let vault = &pool.vault.address;
        if let Some(known) = self.trusted(id, now) {
            let lacking = lacking(state, id, &known);
            let paid = self.active.get(id).into_iter().flat_map(|activity| &activity.paid).copied();
            let asked: BTreeSet<_> = lacking.chain(paid).collect();
            let asked: Vec<_> = asked.into_iter().collect();
            let mut witnessed = vault_snapshot_of(&groups, vault, &asked).await?;
            let is_sound = witnessed.contradictions.is_empty();
            if let Some(whole) = known.advanced(witnessed.snapshot).filter(|_| is_sound) {
                witnessed.snapshot = whole;
                return Ok(witnessed);
            }
            tracing::debug!(pool = %id.short(), "what was read of some accounts does not fit the others: all are read anew");
        }
        let accounts: Vec<_> = state.accounts(id).map(|(account, _)| account).collect();
        let witnessed = vault_snapshot_of(&groups, vault, &accounts).await?;
        self.read_whole(id, now, witnessed.contradictions.is_empty());
        Ok(witnessed)
    }

    /// The newest snapshot, if what it says of each account may still be taken over. The sums of a vault do not tell whether it is
    /// right about each, so all accounts are read once in a while, and whenever groups contradict each other.
    fn trusted(&self, id: &PoolId, now: UnixMillis) -> Option<Arc<VaultSnapshot>> {
        let is_recent = |read: &UnixMillis| now < read.after(self.snapshot_age()) && *read <= now;
        self.newest(id).filter(|_| self.whole.get(id).is_some_and(is_recent))
    }

    /// All accounts of a vault were read.
    fn read_whole(&mut self, id: &PoolId, now: UnixMillis, is_sound: bool) {
        self.whole.remove(id);
        if is_sound {
            self.whole.insert(*id, now);
        }
    }

    /// Whether a vault takes over from those that the ledger says it follows, as the newest solidified block has them.
    async fn succession(
        &mut self,
        groups: &Groups<'_>,
        pool: &PoolState,
        witnessed: &WitnessedSnapshot,
    ) -> Result<Succession, ClientError> {
        let address = pool.vault.address;
        if pool.former_vaults.is_empty() || self.sound.contains(&address) {
            return Ok(Succession::Sound);
        }
        let heads: Vec<_> = groups.iter().map(|(group, head)| (*group, head.reference)).collect();
        let (mut vault, mut witnessed) = (address, witnessed.clone());
        for former in pool.former_vaults.iter().rev() {
            let next = vault_snapshot_of(&heads, former, &[]).await?;
            let code = self.parts.providers.first(async |group| group.code_hash(&vault).await).await?;
            if let Some(broken) = checks::broken(vault, &witnessed, code, *former, &next) {
                return Ok(Succession::Broken(broken));
            }
            (vault, witnessed) = (*former, next);
        }
        self.sound.insert(address);
        Ok(Succession::Sound)
    }

    /// Whether every payment that a snapshot has and the one that is shown has not was read: then it need not wait.
    fn is_accounted_for(&self, id: &PoolId, vault: &SolidVault) -> bool {
        let Some(shown) = self.parts.vaults.get(id) else { return false };
        let seen = self.unshown.get(id).copied().unwrap_or_default();
        vault.snapshot.paid_out.checked_sub(shown.snapshot.paid_out) == Some(seen)
    }

    fn judge(
        &self,
        ledger: Ledger<'_>,
        witnessed: WitnessedSnapshot,
        succession: Succession,
    ) -> Result<SolidVault, StorageError> {
        let WitnessedSnapshot { snapshot, block, contradictions, .. } = witnessed;
        let Ledger { spec, id, pool, .. } = ledger;
        let issued = tokio::task::block_in_place(|| {
            history::ledger::issued(spec, &self.parts.store, (&id, pool), snapshot.settlement)
        })?;
        let root_of = checks::root_of(&snapshot, &issued);
        let mut alerts = checks::alerts(&ledger, &snapshot, &issued);
        alerts.extend(contradictions.iter().map(ToString::to_string));
        if let Succession::Broken(why) = &succession {
            alerts.push(why.clone());
        }
        let address = pool.vault.address;
        Ok(SolidVault {
            address,
            succession,
            snapshot: Arc::new(snapshot),
            as_of: block,
            time: ledger.now,
            root_of,
            alerts,
        })
    }

    fn show(&mut self, pool: PoolId, vault: SolidVault) -> Result<(), StorageError> {
        if let Some(settlement) = vault.root_of {
            let before = settlement.saturating_sub(SETTLEMENTS_KEPT);
            tokio::task::block_in_place(|| history::ledger::prune_leaves(&self.parts.store, &pool, before))?;
        }
        self.unshown.remove(&pool);
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

/// A pool's accounts of which a snapshot of its vault does not tell.
fn lacking<'a>(state: &'a State, pool: &PoolId, known: &'a VaultSnapshot) -> impl Iterator<Item = AccountId> + use<'a> {
    state
        .all_of::<Accounts, _>(pool)
        .map(|((_, account), _)| account)
        .filter(|account| !known.paid.contains_key(account))
}

/// What a block's receipts say of vaults.
fn told_by(infos: &[TransactionInfo], vaults: &BTreeMap<PayoutAddress, PoolId>, token: &PayoutAddress) -> Told {
    let mut told = Told::default();
    for info in infos.iter().filter(|info| info.is_success()) {
        for log in &info.logs {
            if log.address == *token {
                let named = log.topics.iter().filter_map(address::from_word);
                told.changed.extend(named.filter_map(|address| vaults.get(&address)));
            }
            let Some(pool) = vaults.get(&log.address) else { continue };
            told.changed.insert(*pool);
            let Some(event) = VaultEvent::decode(log) else { continue };
            let index = u32::try_from(told.seen.len()).unwrap_or(u32::MAX);
            let place = Place { tx_id: info.id, fee: info.fee, block: info.block, time: info.block_time, index };
            told.seen.push(Seen { pool: *pool, event, place });
            told.receipts.entry(info.id).or_insert_with(|| Receipt::from(info));
        }
    }
    told
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
