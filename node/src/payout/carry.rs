//! The carrier: runs the courier of `lucid-tron-bridge` for the attempts that this node may send, as leader or as
//! successor in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lucid_consensus::network::Network;
use lucid_p2p::{Mesh, Protocol};
use lucid_storage::{OwnKind, Store};
use lucid_tron_bridge::courier::{Assignment, AttemptKey, Courier, Effect, Input, Timing};
use lucid_tron_bridge::observer::Observer;
use lucid_tron_bridge::status::PayoutStatus;
use lucid_types::codec::{decode, encode};
use lucid_types::id::{NodeId, TxId};
use lucid_types::key::NodeKey;
use lucid_types::payout::{CosignReply, CosignRequest};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::clock::Clock;
use crate::payout::cosign::Cosigner;

/// The longest the carrier sleeps: the clock may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// What this node's courier knows of an attempt, for showing.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The transaction.
    pub tx_id: TxId,
    /// Where it stands.
    pub status: PayoutStatus,
}

/// The attempts that this node carries.
pub type CarriedTable = Arc<Mutex<BTreeMap<AttemptKey, Carried>>>;

/// What the carrier works with.
pub struct CarrierParts {
    /// The network.
    pub network: Arc<Network>,
    /// Signs requests to treasury signers.
    pub key: NodeKey,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The mesh.
    pub mesh: Mesh,
    /// The store.
    pub store: Store,
    /// The providers.
    pub observer: Arc<Observer>,
    /// The newest block.
    pub head: watch::Receiver<Head>,
    /// This node's own signer, if it is one.
    pub cosigner: Option<Arc<Cosigner>>,
    /// Takes what is shown.
    pub carried: CarriedTable,
}

/// The carrier. [`Self::run`] it.
pub struct Carrier {
    parts: Arc<CarrierParts>,
    courier: Courier,
    known: BTreeSet<AttemptKey>,
    work: JoinSet<Option<Input>>,
}

fn record_key((payout, attempt): &AttemptKey) -> Vec<u8> {
    [payout.as_bytes().as_slice(), &attempt.to_be_bytes()].concat()
}

impl Carrier {
    /// A carrier without attempts.
    pub fn new(parts: CarrierParts) -> Self {
        let timeout = Duration::from_millis(parts.network.policy().leader_timeout_ms);
        let courier = Courier::new(Timing::new(timeout));
        Self { parts: Arc::new(parts), courier, known: BTreeSet::new(), work: JoinSet::new() }
    }

    /// Carries until `stop`; a write that has begun is finished.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut head = self.parts.head.clone();
        self.follow();
        self.forget_ended();
        loop {
            let now = self.parts.clock.now();
            let wake = self.courier.next_wake().map_or(LONGEST_SLEEP, |at| now.until(at)).min(LONGEST_SLEEP);
            tokio::select! {
                () = stop.cancelled() => break,
                changed = head.changed() => match changed {
                    Ok(()) => self.follow(),
                    Err(_) => break,
                },
                Some(done) = self.work.join_next() => match done {
                    Ok(Some(input)) => self.handle(input),
                    Ok(None) => {}
                    // The courier asks again when the answer is overdue.
                    Err(error) => tracing::error!(%error, "a step of a payout ended without an answer"),
                },
                () = tokio::time::sleep(wake) => self.handle(Input::Tick),
            }
        }
        self.work.abort_all();
    }

    /// Removes what is stored of attempts that ended while this node was down.
    fn forget_ended(&self) {
        let store = &self.parts.store;
        let open: BTreeSet<_> = self.known.iter().map(record_key).collect();
        let forget = || {
            let records = store.own_all(OwnKind::Courier, &[])?;
            let mut ended = records.iter().filter(|record| !open.contains(&record.key));
            ended.try_for_each(|record| store.remove_own(OwnKind::Courier, &record.key))
        };
        if let Err(error) = tokio::task::block_in_place(forget) {
            tracing::warn!(%error, "records of ended payouts cannot be removed");
        }
    }

    /// Opens and closes attempts as the newest state says.
    fn follow(&mut self) {
        let state = Arc::clone(&self.parts.head.borrow().state);
        let me = self.parts.key.node_id();
        let mut open = BTreeSet::new();
        let mut opened = Vec::new();
        for payout in state.payouts.values() {
            let Some(attempt) = &payout.open else { continue };
            let Some(pool) = self.parts.network.pool(&payout.pool) else { continue };
            let election = state.pools.get(&payout.pool).and_then(|pool| pool.elections.get(&payout.settlement));
            let Some(rank) = election.and_then(|election| election.order.iter().position(|node| *node == me)) else {
                continue;
            };
            let key = (attempt.attempt.payout, attempt.attempt.attempt);
            open.insert(key);
            if self.known.insert(key) {
                let stored = tokio::task::block_in_place(|| self.parts.store.own(OwnKind::Courier, &record_key(&key)))
                    .inspect_err(|error| tracing::error!(%error, "a signed payout cannot be read; it is signed again"));
                opened.push(Input::Opened(Box::new(Assignment {
                    attempt: attempt.attempt.clone(),
                    treasury: pool.treasury.clone(),
                    rank: u32::try_from(rank).unwrap_or(u32::MAX),
                    opened: attempt.time,
                    stored: stored.unwrap_or_default(),
                })));
            }
        }
        let closed: Vec<_> = self.known.difference(&open).copied().collect();
        for key in closed {
            self.known.remove(&key);
            self.show(|carried| {
                carried.remove(&key);
            });
            self.handle(Input::Closed(key));
        }
        for input in opened {
            self.handle(input);
        }
    }

    fn handle(&mut self, input: Input) {
        match self.courier.handle(self.parts.clock.now(), input) {
            Ok(effects) => effects.into_iter().for_each(|effect| self.carry_out(effect)),
            Err(error) => tracing::error!(%error, "an attempt cannot be carried"),
        }
    }

    fn show(&self, act: impl FnOnce(&mut BTreeMap<AttemptKey, Carried>)) {
        act(&mut self.parts.carried.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn carry_out(&mut self, effect: Effect) {
        let parts = Arc::clone(&self.parts);
        match effect {
            Effect::RequestSignature { key, signer } => {
                self.work.spawn(async move {
                    let reply = parts.ask_signer(key, signer).await;
                    Some(Input::Signature { key, signer, reply })
                });
            }
            Effect::Persist { key, transaction } => {
                self.work.spawn_blocking(move || {
                    match parts.store.put(OwnKind::Courier, &record_key(&key), &transaction) {
                        Ok(()) => Some(Input::Persisted(key)),
                        Err(error) => {
                            tracing::error!(%error, "a signed payout cannot be stored");
                            None
                        }
                    }
                });
            }
            Effect::Broadcast { key, transaction } => {
                self.work.spawn(async move {
                    let outcome = parts.observer.broadcast(&transaction).await;
                    let outcome = outcome.inspect_err(|error| tracing::warn!(%error, "a payout cannot be sent now"));
                    Some(Input::Sent { key, outcome: outcome.ok() })
                });
            }
            Effect::Look { key, tx_id } => {
                self.work.spawn(async move {
                    let is_included = parts.observer.is_included(&tx_id).await.ok();
                    Some(Input::Looked { key, is_included })
                });
            }
            Effect::Forget(key) => {
                self.work.spawn_blocking(move || {
                    if let Err(error) = parts.store.remove_own(OwnKind::Courier, &record_key(&key)) {
                        tracing::warn!(%error, "an ended payout's record cannot be removed");
                    }
                    None
                });
            }
            Effect::Report { key, tx_id, status, detail } => {
                tracing::info!(payout = %key.0.short(), attempt = key.1, status = status.name(), %tx_id, detail, "payout");
                self.show(|carried| {
                    carried.insert(key, Carried { tx_id, status });
                });
            }
        }
    }
}

impl CarrierParts {
    /// Asks a treasury signer, or this node's own.
    async fn ask_signer(&self, (payout, attempt): AttemptKey, signer: NodeId) -> Option<CosignReply> {
        let request = CosignRequest { payout, attempt };
        let me = self.key.node_id();
        if signer == me {
            return Some(self.cosigner.as_ref()?.sign(&me, request).await);
        }
        let request = encode(&*self.key.sign_cosign(self.network.id(), request));
        let answer = self.mesh.request(signer, Protocol::Cosign, request).await;
        let answer =
            answer.inspect_err(|error| tracing::warn!(%signer, %error, "a treasury signer does not answer")).ok()?;
        decode(&answer).ok()
    }
}
