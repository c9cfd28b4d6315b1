//! The pusher: gets a pool's root posted and its accounts paid. Run by every node of the pool that has a gas account.
//!
//! It decides nothing about money. The vault pays at most what an account is owed and has not had, so a pusher that crashes,
//! runs twice, races others or believes a liar pays nobody twice: it only loses time, and TRX up to a limit per day. For the
//! same reason it trusts nothing that it stored: records of transactions in flight only avoid sending more of them.
//!
//! ```text
//!                  the ledger's newest root
//!                            v
//!   waiting    no progress on the solid view for rank * leader time-out
//!                            v
//!   active     signing ----> posting                   while the head shows an older root than the ledger's
//!              k of n        one transaction
//!
//!              pushing                                 what is due under the root that the head shows
//!              batches of neighbouring leaves, many at a time
//!                            v
//!   idle       everything due under the newest root is paid on the solid view
//!
//!   a transaction:
//!              estimating --> preparing --> sending --> included --> solid
//!                  |              |          |    ^        |
//!                  v              v          v    +- fork -+--> failed
//!               refused        given up   expired
//! ```
//!
//! - **Waiting.** The leader begins at once, the r-th successor after r leader time-outs without progress by others (another
//!   root, total or era, or more paid out, on the solid view), everybody else after all of them and a wait of its own.
//! - **Signing.** All signers are asked at once, and again with a back-off. Every signature is checked by recovery.
//! - **Posting.** Only if the vault's era and threshold are the ledger's, and it is not closed.
//! - **Pushing.** A batch pays leaves that are due on the head *and* the solid view, and reaches across leaves that lack
//!   nothing. TRON has no nonce, so batches run in parallel; the pace begins slowly and slows down with failures. The leader
//!   goes through the leaves in order, everybody else from another leaf on: two who push at once seldom pay the same ones.
//! - **Refusals.** The estimate decides. What the whole vault refuses (paused, over the cap, no funds) stops everything until
//!   the vault's state changes; a batch that is too large is halved; an account that cannot be paid is set aside.
//! - **Nothing is burnt blindly.** Three failed transactions in a row bring a pause that doubles; fee limits come from estimates
//!   and are capped; so is what the gas account spends in 24 hours.
//! - **Sending.** The same bytes are sent again until they are included or have expired by the head's time. Only then a new
//!   transaction takes their place.
//!
//! It performs no IO: [`Pusher::handle`] takes the time and an input and returns effects. Effects and inputs may be lost,
//! delayed or doubled; what is missing is asked for again when [`Pusher::next_wake`] says. After a restart the caller makes a
//! new pusher of what it has stored.

mod alert;
mod config;
mod follow;
mod judge;
mod pace;
mod plan;
mod post;
mod posted;
mod push;
mod refusal;
mod signing;
mod transaction;
mod turn;
mod types;
mod views;

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_types::amount::MicroUsdt;
use lucid_types::payout_tree::AccountId;
use lucid_types::time::UnixMillis;

pub use alert::{Alert, SignerState};
pub use config::{PusherConfig, Timing};
pub use turn::Phase;
pub use types::{
    Assignment, Effect, Estimated, HeadView, InFlight, Input, IssuedRoot, JobId, Loaded, Lookup, Outcome, Receipt,
    Report, SolidView, Spent, TransactionStatus, View, Work,
};

use alert::{Alerts, Key};
use pace::{Pace, Spending};
use posted::Posted;
use refusal::Blocks;
use signing::Signing;
use transaction::{Clock, Job, Passed, State};
use views::Views;

/// See the module.
#[derive(Debug)]
pub struct Pusher {
    config: PusherConfig,
    assignment: Option<Assignment>,
    signing: Option<Signing>,
    posted: Posted,
    views: Views,
    /// When somebody else was last seen to get on with it.
    progress_at: UnixMillis,
    /// Reads are frequent until then.
    busy_until: UnixMillis,
    phase: Phase,
    jobs: BTreeMap<JobId, Job>,
    next_id: JobId,
    /// Leaves of a batch for now: less than configured once a batch was too large.
    max_items: usize,
    pace: Pace,
    spending: Spending,
    blocks: Blocks,
    /// Accounts that no batch pays before.
    aside: BTreeMap<AccountId, UnixMillis>,
    /// How often each account could not be paid under this root.
    n_aside: BTreeMap<AccountId, u32>,
    alerts: Alerts,
    /// Settlements of which it was reported that they are posted, and that they are finished.
    reported: (u64, u64),
    now: UnixMillis,
}

impl Pusher {
    /// A pusher with what was stored before: transactions that were not forgotten, and what was spent in the last day.
    pub fn new(config: PusherConfig, stored: Vec<InFlight>, spent: Vec<Spent>, now: UnixMillis) -> Self {
        let next_id = stored.iter().map(|stored| stored.id.saturating_add(1)).max().unwrap_or(0);
        let jobs = stored.into_iter().map(|stored| (stored.id, Job::stored(stored, now, &config.timing))).collect();
        Self {
            assignment: None,
            signing: None,
            posted: Posted::default(),
            views: Views::default(),
            progress_at: now,
            busy_until: now.after(config.timing.busy),
            phase: Phase::Idle,
            jobs,
            next_id,
            max_items: config.max_items.max(1),
            pace: Pace::new(config.max_in_flight),
            spending: Spending::new(spent),
            blocks: Blocks::default(),
            aside: BTreeMap::new(),
            n_aside: BTreeMap::new(),
            alerts: Alerts::default(),
            reported: (0, 0),
            now,
            config,
        }
    }

    /// From now on pays and waits by these: what the network has them for the newest root.
    pub fn follow_policy(&mut self, threshold: MicroUsdt, leader_timeout: Duration) {
        self.config.threshold = threshold;
        if self.config.timing.leader_timeout != leader_timeout {
            self.config.timing = Timing::new(leader_timeout);
        }
    }

    /// Takes an input and returns what to do. `now` is this node's clock.
    pub fn handle(&mut self, now: UnixMillis, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        self.now = now;
        match input {
            Input::Root(assignment) => self.on_root(now, *assignment),
            Input::Leaves { settlement, root, loaded } => {
                if self.posted.loaded((settlement, root), loaded) {
                    self.views.solid_at = self.views.solid_at.min(now);
                    self.judge_solid(&mut out);
                }
            }
            Input::Signature { request, signer, reply } => self.on_signature(now, &request, &signer, reply, &mut out),
            Input::Solid(view) => self.on_solid(now, view, &mut out),
            Input::Head(view) => self.on_head(now, view, &mut out),
            Input::Estimated { id, outcome } => self.on_estimated(now, id, outcome, &mut out),
            Input::Prepared { id, transaction } => self.on_prepared(now, id, transaction, &mut out),
            Input::Sent { id, outcome } => self.on_sent(now, id, outcome, &mut out),
            Input::Receipt { id, found } => self.on_receipt(now, id, found, &mut out),
            Input::Tick => {}
        }
        self.advance(now, &mut out);
        out
    }

    /// When to feed the next [`Input::Tick`] at the latest; `None` if nothing is under way.
    pub fn next_wake(&self) -> Option<UnixMillis> {
        let jobs = self.jobs.values().filter_map(|job| job.next_wake(self.views.solid_time()));
        let others = match self.phase {
            Phase::Idle => vec![],
            Phase::Waiting { until } => vec![Some(until), Some(self.views.solid_at)],
            Phase::Active => vec![
                Some(self.views.solid_at),
                Some(self.views.head_at),
                self.posted.next_wake(),
                self.signing.as_ref().and_then(Signing::next_wake),
                Some(self.pace.pause_until()),
                Some(self.blocks.hold_until()),
                self.aside.values().min().copied(),
            ],
        };
        let reads = if self.jobs.is_empty() { vec![] } else { vec![self.views.solid_at, self.views.head_at] };
        jobs.chain(others.into_iter().flatten()).chain(reads).filter(|at| *at > self.now).min()
    }

    /// What it is doing.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Number of transactions under way.
    pub fn n_transactions(&self) -> usize {
        self.jobs.len()
    }

    /// The alerts in force.
    pub fn alerts(&self) -> &[Alert] {
        self.alerts.as_slice()
    }

    /// Does what is due.
    fn advance(&mut self, now: UnixMillis, out: &mut Vec<Effect>) {
        let over: Vec<_> = self.aside.iter().filter(|(_, until)| now >= **until).map(|(account, _)| *account).collect();
        for account in over {
            self.aside.remove(&account);
            self.alerts.clear(|key| *key == Key::SetAside(account));
        }
        self.set_phase(now, out);
        if self.phase == Phase::Active {
            let newest = self.assignment.as_ref().map(|assignment| (assignment.root.settlement, assignment.root.root));
            self.posted.expect(newest.filter(|_| self.needs_post()));
            self.posted.load(now, &self.config.timing, out);
            self.sign(now, out);
            self.post(now);
            self.push(now, out);
        }
        let (head, solid, quiet_until) = (self.views.head_time(), self.views.solid_time(), self.pace.pause_until());
        let clock = Clock { now, head, solid, quiet_until };
        let mut given_up = Vec::new();
        for job in self.jobs.values_mut() {
            if job.advance(&clock, &self.config.timing, out) == Passed::GivenUp {
                given_up.push(job.id);
            }
        }
        for id in given_up {
            self.refused(now, id, "no provider answered, or the transaction could not be stored".into(), out);
        }
        self.read(now, out);
    }

    fn raise(&mut self, alert: Alert, out: &mut Vec<Effect>) {
        out.extend(self.alerts.raise(alert).map(Effect::Alert));
    }

    /// Raises the alert or ends it.
    fn raise_if(&mut self, key: Key, alert: Option<Alert>, out: &mut Vec<Effect>) {
        match alert {
            Some(alert) => self.raise(alert, out),
            None => self.alerts.clear(|other| *other == key),
        }
    }

    /// Something happened: what follows is looked for at short intervals.
    fn stir(&mut self, now: UnixMillis) {
        self.busy_until = self.busy_until.max(now.after(self.config.timing.busy));
    }
}

#[cfg(test)]
mod tests;
