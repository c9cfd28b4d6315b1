//! What a node does in each of its roles: the tasks of a worker, a validator and a treasury signer, and their wiring.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::state::Rows;
use lucid_consensus::ledger::table::Draws;
use lucid_consensus::replica::Restore;
use lucid_p2p::Topic;
use lucid_storage::{OwnKind, StorageError, Store};
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::providers::Providers;
use lucid_tron_bridge::signer::{Signer, SignerAccount};
use lucid_tron_bridge::vault::VaultDomain;
use lucid_types::codec::encode;
use lucid_types::id::{NodeId, PayoutAddress};
use lucid_types::key::NodeKey;
use lucid_types::time::{Height, UnixMillis};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::block_in_place;

use crate::chain::head::Head;
use crate::chain::persist;
use crate::chain::report::Reporter;
use crate::chain::watermark::Watermark;
use crate::config::{Config, Role};
use crate::node::{Assembly, Wires};
use crate::payout::cosign::{Cosigner, Treasury, pools_of_signer};
use crate::payout::push::{Conditions, PushParts, PushTask};
use crate::payout::reader::{Reader, ReaderParts};
use crate::payout::watermark::StoredWatermark;
use crate::probe::schedule::Assigned;
use crate::probe::{
    Assignments, EchoGrant, EchoGrants, ProbeCounters, Prober, ProberParts, Responder, ResponderHandle, ResponderParts,
};
use crate::sampler::{Attester, AttesterParts, Sampler};
use crate::signer::client::RemoteSigner;
use crate::signer::protocol::SignerStatus;
use crate::stage::Stage;

/// Reports that wait to be committed to.
const REPORTS: usize = 8;

/// Roles must fit the genesis: a node that waits for ever to be asked helps nobody.
pub(super) fn check(config: &Config, spec: &ChainSpec, key: &NodeKey) -> anyhow::Result<()> {
    let node = &key.node_id();
    let listed = spec.validators(Height::new(1)).get(node);
    let is_validator = listed.is_some();
    let is_worker = spec.worker(node).is_some();
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
    // Its blocks would be invalid for all the others, at every turn.
    let bls_key = key.bls_key().public();
    if let Some(listed) = listed.filter(|listed| config.has(Role::Validator) && listed.bls_key != bls_key) {
        return Err(anyhow!(
            "the genesis lists validator {node} with the BLS key {}, and its key's is {bls_key}: the entry is not the one that \
             `lucid init` printed for this home; without its own BLS key the validator cannot propose",
            listed.bls_key
        ));
    }
    Ok(())
}

impl Assembly {
    /// A treasury signer's side of `/cosign/1`.
    pub(super) fn cosigner(&self, wires: &Wires) -> anyhow::Result<Option<Arc<Cosigner>>> {
        if !self.config.has(Role::Treasury) {
            return Ok(None);
        }
        if !self.config.holds_signer_key() {
            return Ok(Some(Arc::new(self.remote_cosigner(wires))));
        }
        let path = self.home.signer_key_file(&self.config);
        let key = self.home.load_signer_key(&self.config)?;
        let address = key.address();
        let node = self.key.node_id();
        let state = wires.head.borrow().state.clone();
        let pools = pools_of_signer(&state, &node, &address);
        if pools.is_empty() {
            let listed = listed_signers(&self.spec, &node);
            if listed.contains(&address) {
                tracing::warn!(%address, "the pool has replaced this treasury signer: it signs nothing any more");
                return Ok(None);
            }
            let listed = match listed.as_slice() {
                [] => "no address for it".to_owned(),
                listed => listed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            };
            return Err(anyhow!(
                "no pool has the treasury signer {node} with the key of {} (address {address}): the genesis lists {listed}. \
                 Use the key that belongs to it, or take treasury out of `roles`. If the pool has entered it since, let the node \
                 catch up first without the role",
                path.display()
            ));
        }
        let genesis_block = self.spec.genesis().tron.genesis_block;
        let mut signers = BTreeMap::new();
        for pool in pools {
            let Some(declared) = self.spec.pool(&pool) else { continue };
            let account = SignerAccount {
                pool,
                domain: VaultDomain::new(&genesis_block, declared.vault.address),
                predecessors: Vec::new(),
            };
            let signer = Signer::new(key.clone(), account, StoredWatermark::new(self.store.clone(), pool));
            signers.insert(pool, Mutex::new(signer));
        }
        let treasury = Treasury::InProcess(signers);
        Ok(Some(Arc::new(Cosigner::new(Arc::clone(&self.spec), wires.head.clone(), treasury))))
    }

    /// A cosigner whose key is in another process. That may be started later than this one, or have a key that no pool has
    /// entered yet: both are said, and keep nothing else from working.
    fn remote_cosigner(&self, wires: &Wires) -> Cosigner {
        let socket = self.home.signer_socket(&self.config);
        let remote = RemoteSigner::new(&socket, *self.spec.id());
        let asked = block_in_place(|| Handle::current().block_on(remote.status()));
        let node = self.key.node_id();
        match asked {
            Ok(SignerStatus { address, .. }) => {
                let state = wires.head.borrow().state.clone();
                if pools_of_signer(&state, &node, &address).is_empty() {
                    tracing::warn!(%address, %node, "no pool has this treasury signer with this address: it signs nothing");
                }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the treasury signer does not answer yet");
            }
        }
        Cosigner::new(Arc::clone(&self.spec), wires.head.clone(), Treasury::Remote(remote))
    }

    /// Reads what the pools' vaults do, if there are providers.
    pub(super) fn reader(&self, work: &mut Stage, wires: &Wires, providers: Option<&Arc<Providers>>) {
        let Some(providers) = providers else { return };
        let reader = Reader::new(ReaderParts {
            spec: Arc::clone(&self.spec),
            clock: Arc::clone(&self.clock),
            store: self.store.clone(),
            providers: Arc::clone(providers),
            head: wires.head.clone(),
            vaults: Arc::clone(&wires.vaults),
        });
        work.spawn("reader", reader.run(work.stop.clone()));
    }

    /// Pushes the payouts of this worker's pool, if it can lead.
    pub(super) fn pusher(
        &self,
        work: &mut Stage,
        wires: &Wires,
        providers: Option<&Arc<Providers>>,
        cosigner: Option<Arc<Cosigner>>,
    ) -> anyhow::Result<()> {
        let Some(gas) = self.gas_key()? else { return Ok(()) };
        let Some(pool) = self.spec.pool_of(&self.key.node_id()) else { return Ok(()) };
        let Some(providers) = providers else {
            tracing::warn!("this worker can lead, but tron.providers is empty: it will not push its pool's payouts");
            return Ok(());
        };
        let task = PushTask::new(PushParts {
            spec: Arc::clone(&self.spec),
            pool: *pool,
            key: self.key.clone(),
            gas,
            max_trx_per_day: self.config.bridge.max_trx_per_day,
            clock: Arc::clone(&self.clock),
            mesh: wires.mesh.clone(),
            store: self.store.clone(),
            providers: Arc::clone(providers),
            head: wires.head.clone(),
            vaults: Arc::clone(&wires.vaults),
            cosigner,
            table: Arc::clone(&wires.pushed),
            conditions: Conditions::default(),
        });
        let task = task.context("the pusher cannot go on from what it stored")?;
        work.spawn_plain("pusher", task.run(work.stop.clone()));
        Ok(())
    }

    /// The key of the gas account that the genesis lists for this worker, if both are there.
    fn gas_key(&self) -> anyhow::Result<Option<TronKey>> {
        let worker = self.spec.worker(&self.key.node_id()).filter(|_| self.config.has(Role::Worker));
        let Some(listed) = worker.and_then(|worker| worker.gas_address) else { return Ok(None) };
        let path = self.home.gas_key_file(&self.config);
        let Some(key) = self.home.load_gas_key(&self.config)? else {
            tracing::warn!(
                "the genesis lists the gas account {listed} for this worker, but its key {} is missing: others will push the \
                 payouts that this worker is elected to push. Restore the key from its backup",
                path.display()
            );
            return Ok(None);
        };
        if key.address() != listed {
            return Err(anyhow!(
                "the genesis lists the gas account {listed} for this worker, but {} is the key of {}: put the right key there, \
                 or remove the file to run without pushing",
                path.display(),
                key.address()
            ));
        }
        Ok(Some(key))
    }

    /// What a worker does: answers probes and attests.
    pub(super) fn worker(&self, work: &mut Stage, wires: &Wires) -> anyhow::Result<Option<ResponderHandle>> {
        if !self.config.has(Role::Worker) {
            return Ok(None);
        }
        let genesis = Arc::new(self.spec.genesis().clone());
        let (responder, task) = Responder::new(ResponderParts {
            key: self.key.clone(),
            genesis: Arc::clone(&genesis),
            clock: Arc::clone(&self.clock),
            is_validator: self.is_validator(wires.head.clone()),
            echo_grants: self.echo_grants(wires.head.clone()),
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
            capacity: self.spec.worker(&self.key.node_id()).map(|worker| worker.capacity),
            served: Arc::clone(&wires.served),
            echo_slots: self.config.probe.echo_sessions,
            next_sequence: move || next_sequence(&store, clock.now()),
            out,
        });
        work.spawn_plain("attester", attester.run(work.stop.clone()));
        let (gossip, metrics) = (wires.gossip.clone(), wires.metrics.clone());
        work.spawn_plain("attestation publisher", async move {
            while let Some(attestation) = attested.recv().await {
                // When it is full, the next epoch's is kept.
                let _full = metrics.try_send(attestation.clone());
                if gossip.send((Topic::Attestations(0), encode(&*attestation))).await.is_err() {
                    return;
                }
            }
        });
        Ok(Some(responder))
    }

    /// Whether a node is a validator of the next height.
    pub(super) fn is_validator(&self, head: watch::Receiver<Head>) -> Arc<dyn Fn(&NodeId) -> bool + Send + Sync> {
        let spec = Arc::clone(&self.spec);
        Arc::new(move |node| {
            let next = head.borrow().state.height().next();
            spec.validators(next).get(node).is_some()
        })
    }

    /// How often this node's validator has started, if it is one, and how far it has signed. Until it has listened for others, and
    /// beyond what its database remembers, it signs nothing.
    pub(super) fn validator_instance(&self, stored: &mut Restore) -> anyhow::Result<Option<(u64, Watermark)>> {
        let head = stored.state.height();
        let listed = self.spec.validators(head.next()).get(&self.key.node_id());
        if listed.is_none() || !self.config.has(Role::Validator) {
            return Ok(None);
        }
        let boots = persist::boots(&self.store)?;
        let mut watermark = Watermark::open(&self.home.watermark_file(), *self.spec.id(), boots > 0)?;
        let mark = watermark.mark();
        let boot = boots.max(mark.boot).saturating_add(1);
        watermark.boot(boot)?;
        persist::put_boot(&self.store, boot)?;
        stored.is_listening = true;
        stored.silent_through = mark.silent_through(head, u64::try_from(stored.log.len()).unwrap_or(0));
        if stored.silent_through > Height::ZERO {
            tracing::warn!(
                head = head.get(),
                signed = mark.height.get(),
                "the database is older than what this validator has signed, as after a backup was restored: it signs nothing before \
                 block {} is decided",
                mark.height
            );
        }
        Ok(Some((boot, watermark)))
    }

    /// What the draws in the state say of echoes to this worker.
    fn echo_grants(&self, head: watch::Receiver<Head>) -> EchoGrants {
        let me = self.key.node_id();
        Arc::new(move |validator, epoch| {
            let state = head.borrow().state.clone();
            if epoch > state.closed().next() {
                return EchoGrant::Unknown;
            }
            let bytes = state.get::<Draws>(&epoch).and_then(|draw| draw.echo_of(validator, &me));
            bytes.map_or(EchoGrant::Nothing, |bytes| EchoGrant::Bytes(bytes.value()))
        })
    }

    /// What a validator does: probes and reports.
    pub(super) fn validator(&self, work: &mut Stage, wires: &Wires) -> Arc<ProbeCounters> {
        if !self.config.has(Role::Validator) {
            return Arc::default();
        }
        let (reports, received) = mpsc::channel(REPORTS);
        let prober = Prober::new(ProberParts {
            mesh: wires.mesh.clone(),
            genesis: Arc::new(self.spec.genesis().clone()),
            clock: Arc::clone(&self.clock),
            assignments: self.assignments(wires.head.clone()),
            reports,
        });
        let counters = prober.counters();
        work.spawn_plain("prober", prober.run(work.stop.clone()));
        let (spec, me) = (Arc::clone(&self.spec), self.key.node_id());
        let reporter = Reporter::new(spec, me, received, wires.head.clone(), wires.driver.clone());
        work.spawn("reporter", reporter.run(work.stop.clone()));
        counters
    }

    /// The workers for which this validator holds seats, once the block is here that closes the epoch before: it draws them.
    fn assignments(&self, head: watch::Receiver<Head>) -> Assignments {
        let me = self.key.node_id();
        Arc::new(move |epoch| {
            let mut head = head.clone();
            Box::pin(async move {
                let state = head.wait_for(|head| head.state.closed().next() >= epoch).await.ok()?.state.clone();
                let draw = state.open().filter(|_| state.closed().next() == epoch)?;
                let assigned = draw.assignment(&me)?;
                Some(
                    assigned
                        .map(|(worker, _)| Assigned { worker: worker.node, echo_bytes: worker.echo_bytes })
                        .collect(),
                )
            })
        })
    }
}

/// The addresses that the genesis lists for a treasury signer.
fn listed_signers(spec: &ChainSpec, node: &NodeId) -> Vec<PayoutAddress> {
    let members = spec.pools().flat_map(|(_, pool)| &pool.vault.signers.members);
    members.filter(|signer| signer.node == *node).map(|signer| signer.key_address).collect()
}

/// The next sequence of this worker's attestations, durable before it is used. Never below the clock's milliseconds:
/// a worker that has lost its store is believed again at once.
fn next_sequence(store: &Store, now: UnixMillis) -> Result<u64, StorageError> {
    const KEY: &[u8] = b"attestation";
    block_in_place(|| {
        let last =
            store.own(OwnKind::Counter, KEY)?.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
        let next = last.saturating_add(1).max(now.get());
        store.put(OwnKind::Counter, KEY, &next.to_be_bytes())?;
        Ok(next)
    })
}
