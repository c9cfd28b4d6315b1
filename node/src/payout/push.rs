//! The pushing task: runs the pusher of `lucid-tron-bridge` for this worker's pool.
//!
//! The pusher decides; here its effects are carried out, each as a task of its own, and their results are fed back. What it has
//! signed is on the disk before it is sent, and given to it again when the node starts.
//!
//! Beside estimates and broadcasts, how often providers are asked does not depend on how much is under way. The solidified view
//! is the reader's, receipts are those of whole blocks (see [`head`]), and what changes slowly is read while nothing is sent.

mod head;
mod lead;
mod table;
pub(crate) mod work;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::pool::PoolState;
use lucid_consensus::ledger::state::Rows as _;
use lucid_p2p::Mesh;
use lucid_storage::Store;
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::providers::Providers;
use lucid_tron_bridge::pusher::{
    Alert, Assignment, Effect, HeadView, Input, JobId, Loaded, Lookup, Phase, Pusher, PusherConfig, Report, SolidView,
    TransactionStatus, View,
};
use lucid_tron_bridge::vault::VaultDomain;
use lucid_types::amount::Sun;
use lucid_types::id::{NodeId, TxId};
use lucid_types::payout_tree::AccountId;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::clock::{Clock, SteadyClock};
use crate::home::Identity;
use crate::payout::cosign::Cosigner;
use crate::payout::vaults::Vaults;
use head::HeadFollower;
use work::{CONDITIONS_AGE, Looked, STOPPED_AGE};

pub use lead::{Lead, LeadParts, Leader, NotPushing, Pushing};
pub use table::PushTable;
pub use work::{Conditions, PushError};

/// The longest the task sleeps.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// Sun in a TRX.
const SUN: u64 = 1_000_000;
/// A node that is behind its clock by more than these epochs, and adopted one within this time, is catching up.
const EPOCHS_BEHIND: u64 = 2;
const CATCHING_UP: Duration = Duration::from_secs(10);
/// How long a transaction can be included, on a local network and on others.
const LOCAL_LIFETIME: Duration = Duration::from_secs(60);
const LIFETIME: Duration = Duration::from_secs(600);

/// What the task works with.
pub struct PushParts {
    /// The network.
    pub spec: Arc<ChainSpec>,
    /// The pool whose accounts are paid, and its vault.
    pub lead: Lead,
    /// This node, which signs requests to treasury signers.
    pub me: Identity,
    /// Signs transactions, which its account pays for.
    pub gas: TronKey,
    /// Most whole TRX that the gas account may spend in 24 hours.
    pub max_trx_per_day: u32,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The mesh.
    pub mesh: Mesh,
    /// The store.
    pub store: Store,
    /// The providers.
    pub providers: Arc<Providers>,
    /// The newest block.
    pub head: watch::Receiver<Head>,
    /// The vaults as the reader shows them.
    pub vaults: Arc<Vaults>,
    /// This node's own signer, if it is one.
    pub cosigner: Option<Arc<Cosigner>>,
    /// Takes what is shown.
    pub table: Arc<PushTable>,
    /// What changes slowly.
    pub conditions: Conditions,
}

/// The pushing task. [`Self::run`] it.
pub struct PushTask {
    parts: Arc<PushParts>,
    /// What the pusher and the follower of the head count on.
    clock: SteadyClock,
    domain: VaultDomain,
    pusher: Pusher,
    assigned: Option<Assignment>,
    head: HeadFollower,
    /// How long the pusher waits between looks at the head.
    head_every: Duration,
    /// Accounts that the pusher asked for last in the solidified view, and whether it waits for the answer.
    solid: (Vec<AccountId>, bool),
    is_refreshing: bool,
    /// The last settlement of which it was said that this node cannot pay it.
    told_unavailable: Option<u64>,
    inbox: VecDeque<Input>,
    work: JoinSet<Done>,
}

/// What a step came to.
enum Done {
    Nothing,
    Input(Input),
    /// The head was looked at; `None` if no provider answered.
    Looked(Option<Box<Looked>>),
    /// A transaction was asked for by its id.
    LookedUp(JobId, Lookup),
    /// What changes slowly was read.
    Refreshed,
}

impl PushTask {
    /// A task that goes on from what was stored.
    ///
    /// # Errors
    /// The store failed, or holds other bytes than were written.
    pub fn new(parts: PushParts) -> Result<Self, PushError> {
        let policy = Arc::clone(parts.head.borrow().state.policy_in_force());
        let domain = VaultDomain::new(&parts.spec.genesis().tron.genesis_block, parts.lead.vault);
        let timeout = Duration::from_millis(policy.leader_timeout_ms);
        let mut config = PusherConfig::new(domain, parts.gas.address(), policy.payout_threshold, timeout);
        config.max_per_day = Sun::new(u64::from(parts.max_trx_per_day).saturating_mul(SUN));
        config.max_fee = config.max_fee.min(config.max_per_day);
        let clock = SteadyClock::from_now(&*parts.clock);
        let now = clock.now();
        let (in_flight, spent) = work::restore(&parts.store, &parts.lead.vault, now)?;
        let head_every = config.timing.head_every;
        let head = HeadFollower::new(head_every, &in_flight);
        let pusher = Pusher::new(config, in_flight, spent, now);
        Ok(Self {
            parts: Arc::new(parts),
            clock,
            domain,
            pusher,
            assigned: None,
            head,
            head_every,
            solid: (Vec::new(), false),
            is_refreshing: false,
            told_unavailable: None,
            inbox: VecDeque::new(),
            work: JoinSet::new(),
        })
    }

    /// Pushes until `stop`; a write that has begun is finished.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut head = self.parts.head.clone();
        let mut vaults = self.parts.vaults.changed();
        self.follow();
        self.refresh();
        loop {
            let now = self.clock.now();
            let next_block = self.head.has_open().then(|| self.head.pace.next_at());
            let wake = self.pusher.next_wake().into_iter().chain(next_block).min();
            let wake = wake.map_or(LONGEST_SLEEP, |at| now.until(at)).min(LONGEST_SLEEP);
            tokio::select! {
                () = stop.cancelled() => break,
                changed = head.changed() => match changed {
                    Ok(()) => self.follow(),
                    Err(_) => break,
                },
                Ok(()) = vaults.changed() => {
                    self.show_solid();
                    self.work_off();
                }
                Some(done) = self.work.join_next() => match done {
                    Ok(done) => self.done(done),
                    // The pusher asks again when the answer is overdue.
                    Err(error) => {
                        self.head.ended();
                        self.is_refreshing = false;
                        tracing::error!(%error, "a step of a payout ended without an answer");
                    }
                },
                () = tokio::time::sleep(wake) => {
                    self.follow();
                    self.refresh();
                    self.handle(Input::Tick);
                }
            }
            self.look();
            self.look_up_next();
        }
        self.work.abort_all();
    }

    /// Looks at the head if somebody waits for what it shows.
    fn look(&mut self) {
        if let Some(pace) = self.parts.vaults.pace() {
            self.head.expect(&pace);
        }
        let Some(look) = self.head.look(self.clock.now()) else { return };
        self.head.is_looking = true;
        let (parts, vault) = (Arc::clone(&self.parts), self.domain.vault);
        self.work.spawn(async move { Done::Looked(parts.look(&vault, &look).await.map(Box::new)) });
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Nothing => {}
            Done::Refreshed => self.is_refreshing = false,
            Done::Looked(looked) => {
                self.head.is_looking = false;
                self.looked(looked.map(|looked| *looked));
            }
            Done::LookedUp(id, found) => {
                self.head.looked_up(id, &found);
                self.handle(Input::Receipt { id, found });
            }
            Done::Input(input) => {
                match &input {
                    Input::Prepared { transaction: Some(stored), .. } => self.head.opened(stored, true),
                    Input::Leaves { settlement, loaded: Loaded::Unavailable, .. } => self.tell_unavailable(*settlement),
                    _ => {}
                }
                self.handle(input);
            }
        }
    }

    /// Says once of a settlement that this node cannot pay it.
    fn tell_unavailable(&mut self, settlement: u64) {
        if self.told_unavailable < Some(settlement) {
            self.told_unavailable = Some(settlement);
            tracing::warn!(
                settlement,
                "this node does not have the list of what is owed in this settlement, as it began with a later snapshot of the state: \
                 it pays nothing of it, other workers of the pool do. It takes part from the pool's next settlement on"
            );
        }
    }

    fn looked(&mut self, looked: Option<Looked>) {
        let now = self.clock.now();
        let Some(Looked { found, facts }) = looked else {
            self.head.not_found(now);
            if self.head.wanted.take().is_some() {
                self.handle(Input::Head(None));
            }
            return;
        };
        for (id, receipt) in self.head.found(now, &found) {
            self.handle(Input::Receipt { id, found: Lookup::Included(receipt) });
        }
        // A receipt may have made the pusher ask for other accounts.
        let wanted = self.head.wanted.as_deref();
        let (Some(wanted), Some(vault), Some(facts)) = (wanted, found.vault, facts) else { return };
        if !wanted.iter().all(|account| vault.paid.contains_key(account)) {
            return;
        }
        self.head.wanted = None;
        let view = HeadView {
            time: found.header.reference.time,
            snapshot: (*vault).clone(),
            token: facts.token,
            gas: facts.gas,
            energy_price: facts.prices.energy_price,
            byte_price: facts.prices.bandwidth_price,
        };
        self.handle(Input::Head(Some(Box::new(view))));
    }

    /// Hands on what the reader shows, to a pusher that waits for it or has something under way.
    fn show_solid(&mut self) {
        let is_interested = self.pusher.phase() == Phase::Active || self.pusher.n_transactions() > 0;
        if !self.solid.1 && !is_interested {
            return;
        }
        let read = self.parts.vaults.get(&self.parts.lead.pool);
        let Some(vault) = read.filter(|read| read.address == self.domain.vault) else { return };
        if vault.knows(&self.solid.0) {
            self.solid.1 = false;
            let view = SolidView { time: vault.as_of.time, snapshot: vault.snapshot.of(&self.solid.0) };
            self.inbox.push_back(Input::Solid(Some(Box::new(view))));
        }
    }

    /// Reads what changes slowly while nothing is sent, so that a payday finds it.
    fn refresh(&mut self) {
        // What keeps the pusher from paying is looked at again soon: it may be mended, or a provider may have lied.
        let is_stopped =
            |alert: &Alert| matches!(alert, Alert::GasShort { .. } | Alert::Token(_) | Alert::TooDear { .. });
        let max_age = if self.pusher.alerts().iter().any(is_stopped) { STOPPED_AGE } else { CONDITIONS_AGE };
        if self.is_refreshing || self.head.has_open() || !self.parts.conditions.is_older(max_age) {
            return;
        }
        self.is_refreshing = true;
        let (parts, vault) = (Arc::clone(&self.parts), self.domain.vault);
        self.work.spawn(async move {
            parts.refresh(&vault).await;
            Done::Refreshed
        });
    }

    /// Hands on what the newest state says, if it is new. What an old state says is not worth acting on.
    fn follow(&mut self) {
        let (state, assignment) = {
            let head = self.parts.head.borrow().clone();
            if self.parts.is_catching_up(&head) {
                return;
            }
            // Of another vault another task is told, once this one has ended.
            let pool = head.state.pool(&self.parts.lead.pool).filter(|pool| pool.vault.address == self.domain.vault);
            let assignment = pool.and_then(|pool| assignment(pool, &self.parts.me.account));
            (head.state, assignment)
        };
        let Some(assignment) = assignment.filter(|new| self.assigned.as_ref() != Some(new)) else { return };
        self.assigned = Some(assignment.clone());
        // Requests and turns of a root are by the policy of the settlement that has made it.
        let policy = state.policy(self.parts.spec.fixed().last_epoch_of(assignment.root.settlement));
        let timeout = Duration::from_millis(policy.leader_timeout_ms);
        self.pusher.follow_policy(policy.payout_threshold, timeout);
        self.handle(Input::Root(Box::new(assignment)));
    }

    fn handle(&mut self, input: Input) {
        self.inbox.push_back(input);
        self.work_off();
    }

    /// Feeds what waits, and what it brings about.
    fn work_off(&mut self) {
        while let Some(input) = self.inbox.pop_front() {
            let effects = self.pusher.handle(self.clock.now(), input);
            for effect in effects {
                self.carry_out(effect);
            }
        }
        self.parts.table.set_alerts(self.pusher.alerts().iter().map(ToString::to_string).collect());
    }

    fn carry_out(&mut self, effect: Effect) {
        let (parts, domain) = (Arc::clone(&self.parts), self.domain);
        match effect {
            Effect::RequestSignature { request, signer } => {
                self.work.spawn(async move {
                    let reply = parts.ask_signer(request, signer).await;
                    Done::Input(Input::Signature { request, signer, reply })
                });
            }
            Effect::LoadLeaves { settlement, root } => {
                self.work.spawn_blocking(move || {
                    let loaded = parts.load(settlement, &root);
                    Done::Input(Input::Leaves { settlement, root, loaded })
                });
            }
            Effect::ReadVault { view: View::Head, accounts } => self.head.wanted = Some(accounts),
            Effect::ReadVault { view: View::Solid, accounts } => {
                self.solid = (accounts, true);
                self.show_solid();
            }
            Effect::Estimate { id, data } => {
                self.work.spawn(async move {
                    let outcome = parts.estimate(&domain.vault, &data).await;
                    Done::Input(Input::Estimated { id, outcome })
                });
            }
            Effect::Prepare { id, work, data, fee_limit } => {
                let head = self.head.fresh();
                self.work.spawn(async move {
                    let prepared = parts.prepare(&domain.vault, head, id, work, data, fee_limit).await;
                    let prepared = prepared.inspect_err(|error| {
                        tracing::warn!(error = error as &dyn std::error::Error, "a transaction cannot be made now");
                    });
                    Done::Input(Input::Prepared { id, transaction: prepared.ok().map(Box::new) })
                });
            }
            Effect::Broadcast { id, tx_id, bytes } => {
                self.work.spawn(async move {
                    let outcome = parts.providers.broadcast(&bytes).await;
                    let outcome = outcome.inspect_err(|error| {
                        tracing::warn!(%tx_id, error = error as &dyn std::error::Error, "a transaction cannot be sent now");
                    });
                    Done::Input(Input::Sent { id, outcome: outcome.ok() })
                });
            }
            Effect::ReadReceipt { id, tx_id } => self.look_up(id, tx_id),
            Effect::Forget { id, spent } => {
                self.head.closed(id);
                self.work.spawn_blocking(move || {
                    if let Err(error) = work::forget(&parts.store, &parts.lead.vault, id, spent, parts.clock.now()) {
                        tracing::warn!(%error, "an ended transaction's record cannot be replaced");
                    }
                    Done::Nothing
                });
            }
            Effect::Alert(alert) => tracing::warn!(pool = %self.parts.lead.pool.short(), "{alert}"),
            Effect::Report(report) => self.report(report),
        }
    }

    /// Answers from the blocks that were read; what they do not tell is asked for by the transaction's id.
    fn look_up(&mut self, id: JobId, tx_id: TxId) {
        if let Some(found) = self.head.lookup(id, tx_id, self.parts.vaults.receipt(&tx_id)) {
            self.inbox.push_back(Input::Receipt { id, found });
        }
    }

    /// Asks for the next transaction that blocks do not tell of, if none was asked for in this interval.
    fn look_up_next(&mut self) {
        let Some((id, tx_id)) = self.head.next_lookup(self.head_every) else { return };
        let parts = Arc::clone(&self.parts);
        self.work.spawn(async move { Done::LookedUp(id, parts.receipt(&tx_id).await) });
    }

    fn report(&self, report: Report) {
        match &report {
            Report::Signatures { settlement, have, needed, problems } => {
                tracing::debug!(settlement, have, needed, ?problems, "signatures of a payout root");
            }
            Report::Posted { settlement } => tracing::info!(settlement, "the payout root is posted"),
            Report::Transaction { tx_id, work, status } => {
                tracing::info!(%tx_id, ?work, ?status, "transaction");
                if let TransactionStatus::Included { fee, .. } | TransactionStatus::Failed { fee, .. } = status {
                    self.parts.conditions.spend(*fee);
                }
            }
            Report::Finished { settlement } => tracing::info!(settlement, "everything due is paid"),
        }
        self.parts.table.report(report, self.parts.clock.now());
    }
}

/// What the ledger asks of this node; `None` before the pool's first root.
fn assignment(pool: &PoolState, me: &NodeId) -> Option<Assignment> {
    let election = pool.election.as_ref();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Some(Assignment {
        root: pool.newest?,
        nonce: pool.vault.nonce,
        signers: pool.vault.signers.clone(),
        rank: election.and_then(|election| election.place_of(me)).map(count),
        n_elected: count(election.map_or(0, |election| election.order.len())),
    })
}

impl PushParts {
    /// Whether blocks are missing and come in. When none comes in, the network stands still, and payouts go on.
    fn is_catching_up(&self, head: &Head) -> bool {
        let now = self.clock.now();
        let is_behind =
            self.spec.genesis().epoch_at(now).get() > head.state.closed().get().saturating_add(EPOCHS_BEHIND);
        is_behind && head.adopted_at <= now && head.adopted_at.after(CATCHING_UP) > now
    }

    /// How long a transaction can be included.
    fn lifetime(&self) -> Duration {
        if self.spec.genesis().tron.network == "local" { LOCAL_LIFETIME } else { LIFETIME }
    }
}
