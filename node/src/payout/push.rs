//! The pushing task: runs the pusher of `lucid-tron-bridge` for this worker's pool.
//!
//! The pusher decides; here its effects are carried out, each as a task of its own, and their results are fed back. What it has
//! signed is on the disk before it is sent, and given to it again when the node starts.

mod table;
mod work;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::ledger::state::PoolState;
use lucid_consensus::network::Network;
use lucid_p2p::Mesh;
use lucid_storage::Store;
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::providers::Providers;
use lucid_tron_bridge::pusher::{Assignment, Effect, Input, Pusher, PusherConfig, Report, TransactionStatus, View};
use lucid_tron_bridge::vault::VaultDomain;
use lucid_types::amount::Sun;
use lucid_types::id::{NodeId, PoolId};
use lucid_types::key::NodeKey;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::clock::Clock;
use crate::payout::cosign::Cosigner;

pub use table::PushTable;
pub use work::{Conditions, PushError};

/// The longest the task sleeps: the clock may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// Sun in a TRX.
const SUN: u64 = 1_000_000;
/// A node that is behind its clock by more than these blocks, and adopted one within this time, is catching up.
const BLOCKS_BEHIND: u64 = 2;
const CATCHING_UP: Duration = Duration::from_secs(10);
/// How long a transaction can be included, on a local network and on others.
const LOCAL_LIFETIME: Duration = Duration::from_secs(60);
const LIFETIME: Duration = Duration::from_secs(600);

/// What the task works with.
pub struct PushParts {
    /// The network.
    pub network: Arc<Network>,
    /// The pool whose accounts are paid.
    pub pool: PoolId,
    /// Signs requests to treasury signers.
    pub key: NodeKey,
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
    domain: VaultDomain,
    pusher: Pusher,
    assigned: Option<Assignment>,
    /// Views that are being read: a slow provider is not asked faster than it answers.
    reading: BTreeSet<View>,
    work: JoinSet<Option<Input>>,
}

impl PushTask {
    /// A task that goes on from what was stored.
    ///
    /// # Errors
    /// The store failed, or holds other bytes than were written.
    pub fn new(parts: PushParts) -> Result<Self, PushError> {
        let policy = parts.network.policy();
        let vault = parts.network.pool(&parts.pool).ok_or(PushError::NoPool)?.vault.address;
        let domain = VaultDomain::new(&parts.network.genesis().tron.genesis_block, vault);
        let timeout = Duration::from_millis(policy.leader_timeout_ms);
        let mut config = PusherConfig::new(domain, parts.gas.address(), policy.payout_threshold, timeout);
        config.max_per_day = Sun::new(u64::from(parts.max_trx_per_day).saturating_mul(SUN));
        config.max_fee = config.max_fee.min(config.max_per_day);
        let now = parts.clock.now();
        let (in_flight, spent) = work::restore(&parts.store, now)?;
        let pusher = Pusher::new(config, in_flight, spent, now);
        Ok(Self {
            parts: Arc::new(parts),
            domain,
            pusher,
            assigned: None,
            reading: BTreeSet::new(),
            work: JoinSet::new(),
        })
    }

    /// Pushes until `stop`; a write that has begun is finished.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut head = self.parts.head.clone();
        self.follow();
        loop {
            let now = self.parts.clock.now();
            let wake = self.pusher.next_wake().map_or(LONGEST_SLEEP, |at| now.until(at)).min(LONGEST_SLEEP);
            tokio::select! {
                () = stop.cancelled() => break,
                changed = head.changed() => match changed {
                    Ok(()) => self.follow(),
                    Err(_) => break,
                },
                Some(done) = self.work.join_next() => match done {
                    Ok(Some(input)) => self.handle(input),
                    Ok(None) => {}
                    // The pusher asks again when the answer is overdue.
                    Err(error) => {
                        self.reading.clear();
                        tracing::error!(%error, "a step of a payout ended without an answer");
                    }
                },
                () = tokio::time::sleep(wake) => {
                    self.follow();
                    self.handle(Input::Tick);
                }
            }
        }
        self.work.abort_all();
    }

    /// Hands on what the newest state says, if it is new. What an old state says is not worth acting on.
    fn follow(&mut self) {
        let assignment = {
            let head = self.parts.head.borrow();
            if self.parts.is_catching_up(&head) {
                return;
            }
            head.state.pools.get(&self.parts.pool).and_then(|pool| assignment(pool, &self.parts.key.node_id()))
        };
        let Some(assignment) = assignment.filter(|new| self.assigned.as_ref() != Some(new)) else { return };
        self.assigned = Some(assignment.clone());
        self.handle(Input::Root(Box::new(assignment)));
    }

    fn handle(&mut self, input: Input) {
        match &input {
            Input::Solid(_) => drop(self.reading.remove(&View::Solid)),
            Input::Head(_) => drop(self.reading.remove(&View::Head)),
            _ => {}
        }
        let effects = self.pusher.handle(self.parts.clock.now(), input);
        for effect in effects {
            self.carry_out(effect);
        }
        self.parts.table.set_alerts(self.pusher.alerts().iter().map(ToString::to_string).collect());
    }

    fn carry_out(&mut self, effect: Effect) {
        let (parts, domain) = (Arc::clone(&self.parts), self.domain);
        match effect {
            Effect::RequestSignature { request, signer } => {
                self.work.spawn(async move {
                    let reply = parts.ask_signer(request, signer).await;
                    Some(Input::Signature { request, signer, reply })
                });
            }
            Effect::LoadLeaves { settlement, root } => {
                self.work.spawn_blocking(move || {
                    let issued = parts.issued(settlement, &root);
                    Some(Input::Leaves { settlement, root, issued: issued.map(Box::new) })
                });
            }
            Effect::ReadVault { view, accounts } => {
                if !self.reading.insert(view) {
                    return;
                }
                self.work.spawn(async move { Some(parts.read_vault(&domain.vault, view, &accounts).await) });
            }
            Effect::Estimate { id, data } => {
                self.work.spawn(async move {
                    let outcome = parts.estimate(&domain.vault, &data).await;
                    Some(Input::Estimated { id, outcome })
                });
            }
            Effect::Prepare { id, work, data, fee_limit } => {
                self.work.spawn(async move {
                    let prepared = parts.prepare(&domain.vault, id, work, data, fee_limit).await;
                    let prepared = prepared.inspect_err(|error| {
                        tracing::warn!(error = error as &dyn std::error::Error, "a transaction cannot be made now");
                    });
                    Some(Input::Prepared { id, transaction: prepared.ok().map(Box::new) })
                });
            }
            Effect::Broadcast { id, tx_id, bytes } => {
                self.work.spawn(async move {
                    let outcome = parts.providers.broadcast(&bytes).await;
                    let outcome = outcome.inspect_err(|error| {
                        tracing::warn!(%tx_id, error = error as &dyn std::error::Error, "a transaction cannot be sent now");
                    });
                    Some(Input::Sent { id, outcome: outcome.ok() })
                });
            }
            Effect::ReadReceipt { id, tx_id } => {
                self.work.spawn(async move {
                    let found = parts.receipt(&tx_id).await;
                    Some(Input::Receipt { id, found })
                });
            }
            Effect::Forget { id, spent } => {
                self.work.spawn_blocking(move || {
                    if let Err(error) = work::forget(&parts.store, id, spent, parts.clock.now()) {
                        tracing::warn!(%error, "an ended transaction's record cannot be replaced");
                    }
                    None
                });
            }
            Effect::Alert(alert) => tracing::warn!(pool = %self.parts.pool.short(), "{alert}"),
            Effect::Report(report) => self.report(report),
        }
    }

    fn report(&self, report: Report) {
        match &report {
            Report::Signatures { settlement, have, needed, problems } => {
                tracing::debug!(settlement, have, needed, ?problems, "signatures of a payout root");
            }
            Report::Posted { settlement } => tracing::info!(settlement, "the payout root is posted"),
            Report::Transaction { tx_id, work, status } => {
                tracing::info!(%tx_id, ?work, ?status, "transaction");
                if *status != TransactionStatus::Sent {
                    self.parts.conditions.expire();
                }
            }
            Report::Finished { settlement } => tracing::info!(settlement, "everything due is paid"),
        }
        self.parts.table.report(report, self.parts.clock.now());
    }
}

/// What the ledger asks of this node; `None` before the pool's first root.
fn assignment(pool: &PoolState, me: &NodeId) -> Option<Assignment> {
    let order = pool.election.as_ref().map_or(&[][..], |election| &election.order);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Some(Assignment {
        root: pool.newest?,
        nonce: pool.vault.nonce,
        signers: pool.vault.signers.clone(),
        rank: order.iter().position(|node| node == me).map(count),
        n_elected: count(order.len()),
    })
}

impl PushParts {
    /// Whether blocks are missing and come in. When none comes in, the network stands still, and payouts go on.
    fn is_catching_up(&self, head: &Head) -> bool {
        let now = self.clock.now();
        let is_behind =
            self.network.genesis().epoch_at(now).get() > head.state.height.get().saturating_add(BLOCKS_BEHIND);
        is_behind && head.adopted_at <= now && head.adopted_at.after(CATCHING_UP) > now
    }

    /// How long a transaction can be included.
    fn lifetime(&self) -> Duration {
        if self.network.genesis().tron.network == "local" { LOCAL_LIFETIME } else { LIFETIME }
    }
}
