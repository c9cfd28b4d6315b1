//! What a node does in each of its roles: the tasks of a worker, a validator and a treasury signer, and their wiring.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use lucid_consensus::network::Network;
use lucid_consensus::replica::PaymentView;
use lucid_p2p::Topic;
use lucid_storage::{OwnKind, StorageError, Store};
use lucid_tron_bridge::key::TreasuryKey;
use lucid_tron_bridge::observer::Observer;
use lucid_tron_bridge::signer::Signer;
use lucid_types::codec::encode;
use lucid_types::genesis::GenesisWorker;
use lucid_types::id::NodeId;
use lucid_types::time::{EpochNumber, UnixMillis};
use tokio::sync::{mpsc, watch};

use crate::chain::head::Head;
use crate::chain::report::{Reporter, ReporterParts};
use crate::config::{Config, Role};
use crate::node::{Assembly, Wires};
use crate::payout::carry::{Carrier, CarrierParts};
use crate::payout::cosign::{Cosigner, policy_of_pool, pool_of_key};
use crate::payout::sign_log::StoredSignLog;
use crate::payout::watch::{Watcher, WatcherParts};
use crate::probe::{Assignments, ProbeCounters, Prober, ProberParts, Responder, ResponderHandle, ResponderParts};
use crate::sampler::{Attester, AttesterParts, Sampler};
use crate::stage::Stage;

/// Reports that wait to be committed to.
const REPORTS: usize = 8;

/// Roles must fit the genesis: a node that waits for ever to be asked helps nobody.
pub(super) fn check(config: &Config, network: &Network, node: &NodeId) -> anyhow::Result<()> {
    let is_validator = network.validators(EpochNumber::new(1)).get(node).is_some();
    let is_worker = network.worker(node).is_some();
    for (role, name, is_listed) in [(Role::Validator, "validator", is_validator), (Role::Worker, "worker", is_worker)] {
        if config.has(role) && !is_listed {
            return Err(anyhow!(
                "roles names {name}, but the genesis lists no {name} {node}: take {name} out of `roles` in config.toml, or \
                 use the key and genesis that belong together"
            ));
        }
        if is_listed && !config.has(role) {
            tracing::warn!("the genesis lists this node as {name}, but `roles` does not: it will not act as one");
        }
    }
    Ok(())
}

impl Assembly {
    pub(super) fn cosigner(&self, wires: &Wires, observer: &Arc<Observer>) -> anyhow::Result<Option<Arc<Cosigner>>> {
        if !self.config.has(Role::Treasury) {
            return Ok(None);
        }
        let path = self.home.treasury_key_file(&self.config);
        let key = TreasuryKey::load(&path).with_context(|| {
            format!(
                "the role treasury needs the treasury's key at {} (64 hex digits, mode 0600); without it, take treasury out \
                 of `roles` in config.toml",
                path.display()
            )
        })?;
        let node = self.key.node_id();
        let Some((pool_id, pool)) = pool_of_key(&self.network, &node, &key.address()) else {
            return Err(anyhow!(
                "the genesis lists no treasury signer {node} with the key of {} ({}): use the key that belongs to it, or \
                 take treasury out of `roles`",
                path.display(),
                key.address()
            ));
        };
        let policy = policy_of_pool(&self.network, pool);
        let signer = Signer::open(key, policy, StoredSignLog(self.store.clone()), self.clock.now())?;
        Ok(Some(Arc::new(Cosigner::new(
            Arc::clone(&self.network),
            *pool_id,
            self.store.clone(),
            wires.head.clone(),
            Arc::clone(&self.clock),
            Arc::clone(observer),
            signer,
        ))))
    }

    /// What a worker does: answers probes, attests, and carries payouts when elected.
    pub(super) fn worker(
        &self,
        work: &mut Stage,
        wires: &Wires,
        observer: &Arc<Observer>,
        cosigner: Option<Arc<Cosigner>>,
    ) -> anyhow::Result<Option<ResponderHandle>> {
        if !self.config.has(Role::Worker) {
            return Ok(None);
        }
        let genesis = Arc::new(self.network.genesis().clone());
        let (network, head) = (Arc::clone(&self.network), wires.head.clone());
        let is_validator = move |node: &NodeId| {
            let next = head.borrow().state.height.next();
            network.validators(next).get(node).is_some()
        };
        let (responder, task) = Responder::new(ResponderParts {
            key: self.key.clone(),
            genesis: Arc::clone(&genesis),
            clock: Arc::clone(&self.clock),
            is_validator: Arc::new(is_validator),
            limits: self.config.probe.clone(),
            served: Arc::clone(&wires.served),
        });
        work.spawn_plain("responder", task.run(work.stop.clone()));

        // A few attestations fit; with more waiting, gossip is down and a newer one follows.
        let (out, mut attested) = mpsc::channel(4);
        let (store, clock) = (self.store.clone(), Arc::clone(&self.clock));
        let attester = Attester::new(AttesterParts {
            key: self.key.clone(),
            genesis,
            clock: Arc::clone(&self.clock),
            sampler: Sampler::new(self.home.root())?,
            capacity: self.network.worker(&self.key.node_id()).map(|worker| worker.capacity),
            served: Arc::clone(&wires.served),
            relay_slots: self.config.probe.relay_sessions,
            next_sequence: move || next_sequence(&store, clock.now()),
            out,
        });
        work.spawn_plain("attester", attester.run(work.stop.clone()));
        let gossip = wires.gossip.clone();
        work.spawn_plain("attestation publisher", async move {
            while let Some(attestation) = attested.recv().await {
                if gossip.send((Topic::Attestations(0), encode(&*attestation))).await.is_err() {
                    return;
                }
            }
        });
        let carrier = Carrier::new(CarrierParts {
            network: Arc::clone(&self.network),
            key: self.key.clone(),
            clock: Arc::clone(&self.clock),
            mesh: wires.mesh.clone(),
            store: self.store.clone(),
            observer: Arc::clone(observer),
            head: wires.head.clone(),
            cosigner,
            carried: Arc::clone(&wires.carried),
        });
        work.spawn_plain("carrier", carrier.run(work.stop.clone()));
        Ok(Some(responder))
    }

    /// What a validator does: probes, reports, and watches the payment network.
    pub(super) fn validator(&self, work: &mut Stage, wires: &Wires, observer: &Arc<Observer>) -> Arc<ProbeCounters> {
        if !self.config.has(Role::Validator) {
            return Arc::default();
        }
        let (reports, received) = mpsc::channel(REPORTS);
        let prober = Prober::new(ProberParts {
            mesh: wires.mesh.clone(),
            genesis: Arc::new(self.network.genesis().clone()),
            clock: Arc::clone(&self.clock),
            assignments: self.assignments(wires.head.clone()),
            attestations: Arc::clone(&wires.attestations),
            reports,
        });
        let counters = prober.counters();
        work.spawn_plain("prober", prober.run(work.stop.clone()));
        let (view_sender, view) = watch::channel(PaymentView::default());
        let watcher = Watcher::new(WatcherParts {
            network: Arc::clone(&self.network),
            clock: Arc::clone(&self.clock),
            observer: Arc::clone(observer),
            head: wires.head.clone(),
            view: view_sender,
        });
        work.spawn_plain("watcher", watcher.run(work.stop.clone()));
        let reporter = Reporter::new(ReporterParts {
            network: Arc::clone(&self.network),
            clock: Arc::clone(&self.clock),
            reports: received,
            view,
            head: wires.head.clone(),
            driver: wires.driver.clone(),
        });
        work.spawn("reporter", reporter.run(work.stop.clone()));
        counters
    }

    /// The workers whose committee this validator is in. The beacon of an epoch that the chain has not reached yet is
    /// unknown; the newest known one then stands in, and what it wrongly assigns is ignored by everyone.
    fn assignments(&self, head: watch::Receiver<Head>) -> Assignments {
        let (network, me) = (Arc::clone(&self.network), self.key.node_id());
        Arc::new(move |epoch| {
            let state = Arc::clone(&head.borrow().state);
            let newest = state.beacons.range(..=epoch).next_back().map(|(_, beacon)| *beacon);
            let Some(beacon) = newest else { return Vec::new() };
            let (set, size) = (network.validators(epoch), network.policy().committee_size);
            let is_mine =
                |worker: &GenesisWorker| lucid_score::committee::draw(set, &beacon, worker, size).contains(&me);
            network.workers().filter(|worker| is_mine(worker)).cloned().collect()
        })
    }
}

/// The next sequence of this worker's attestations, durable before it is used. Never below the clock's milliseconds:
/// a worker that has lost its store is believed again at once.
fn next_sequence(store: &Store, now: UnixMillis) -> Result<u64, StorageError> {
    const KEY: &[u8] = b"attestation";
    tokio::task::block_in_place(|| {
        let last =
            store.own(OwnKind::Counter, KEY)?.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
        let next = last.saturating_add(1).max(now.get());
        store.put(OwnKind::Counter, KEY, &next.to_be_bytes())?;
        Ok(next)
    })
}
