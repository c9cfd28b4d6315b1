//! The composition root: opens everything and wires it together.
//!
//! Order of stopping: API, measuring and payouts (a write that has begun is finished), the chain, the mesh, the store.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use anyhow::{Context, anyhow};
use lucid_consensus::network::Network;
use lucid_consensus::replica::{PaymentView, Replica};
use lucid_p2p::{Mesh, MeshConfig, Topic};
use lucid_storage::{OwnKind, Store};
use lucid_tron_bridge::client::{ApiKey, Client, ClientConfig};
use lucid_tron_bridge::key::TreasuryKey;
use lucid_tron_bridge::observer::Observer;
use lucid_tron_bridge::signer::Signer;
use lucid_tron_bridge::verdict::DEATH_GRACE;
use lucid_types::codec::encode;
use lucid_types::id::NodeId;
use lucid_types::key::NodeKey;
use lucid_types::time::{EpochNumber, UnixMillis};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::api::{self, NodeView};
use crate::chain::driver::{Driver, DriverParts, INPUTS, ToDriver};
use crate::chain::fetch::{Fetcher, FetcherParts, QUESTIONS};
use crate::chain::head::Head;
use crate::chain::persist;
use crate::chain::report::{Reporter, ReporterParts};
use crate::chain::serve::SyncServer;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Role};
use crate::gate::NodeGate;
use crate::home::Home;
use crate::payout::carry::{CarriedTable, Carrier, CarrierParts};
use crate::payout::cosign::{Cosigner, policy_of_pool, pool_of_key};
use crate::payout::sign_log::StoredSignLog;
use crate::payout::watch::{Watcher, WatcherParts};
use crate::peers;
use crate::probe::{AttestationTable, Prober, ProberParts, Responder, ResponderParts, Served};
use crate::router::Router;
use crate::sampler::{Attester, AttesterParts, Sampler};
use crate::stage::{Stage, supervise};
use crate::view::NodeParts;

/// Messages that wait to be gossiped; see [`DriverParts::gossip`].
const GOSSIP: usize = 1_024;
/// Reports that wait to be committed to.
const REPORTS: usize = 8;

/// Runs a node until `stop`.
///
/// # Errors
/// The home, the key, the genesis or the configuration cannot be used, a port is in use, or a part of the node failed.
pub async fn run(home: Home, config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let key = home.load_key()?;
    let genesis = home.load_genesis()?.genesis;
    let network = Arc::new(Network::new(genesis).context("the genesis cannot be used")?);
    check_roles(&config, &network, &key.node_id())?;
    // First: that this home's node runs already says more than that its ports are in use.
    let store = Store::open(&home.db_dir(), *network.id())?;
    let api = bind("api.listen", config.api.listen).await?;
    let metrics = bind("metrics.listen", config.metrics.listen).await?;

    let node = Assembly { home, config, clock, key, network, store };
    let stages = node.assemble(api, metrics)?;
    supervise(stages, stop).await
}

async fn bind(key: &str, address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{key} = \"{address}\" cannot be used; stop what listens there, or set another address with --set {key}=IP:PORT")
    })
}

/// Roles must fit the genesis: a node that waits for ever to be asked helps nobody.
fn check_roles(config: &Config, network: &Network, node: &NodeId) -> anyhow::Result<()> {
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

/// What a node is made from.
struct Assembly {
    home: Home,
    config: Config,
    clock: Arc<dyn Clock>,
    key: NodeKey,
    network: Arc<Network>,
    store: Store,
}

/// The channels and views that parts share.
struct Wires {
    mesh: Mesh,
    driver: mpsc::Sender<ToDriver>,
    head: watch::Receiver<Head>,
    attestations: Arc<AttestationTable>,
    served: Arc<Served>,
    carried: CarriedTable,
    gossip: mpsc::Sender<(Topic, Vec<u8>)>,
}

impl Assembly {
    /// The stages in the order in which they stop.
    fn assemble(self, api: TcpListener, metrics: TcpListener) -> anyhow::Result<Vec<Stage>> {
        let (mut front, mut work) = (Stage::new("the API"), Stage::new("measuring and payouts"));
        let (mut chain, mut mesh_stage) = (Stage::new("the chain"), Stage::new("the mesh"));

        let wal = self.store.wal()?;
        let now = self.clock.now();
        let stored = persist::restore(&self.network, &self.store, &wal, now)?;
        let tip = Arc::new(AtomicU64::new(stored.state.height.get()));
        let first = Head {
            state: Arc::new(stored.state.clone()),
            root: stored.state.root(),
            adopted_at: now,
            round: None,
            unreported: Vec::new(),
        };
        let (head_sender, head) = watch::channel(first);
        let (best_sender, best_seen) = watch::channel(EpochNumber::ZERO);
        let rows = self.store.clone();
        let rows = Arc::new(move |epoch| persist::rows(&rows, epoch));
        // A node whose `roles` do not name validator follows without a vote.
        let replica = Replica::restore(
            Arc::clone(&self.network),
            self.key.clone(),
            rows,
            stored,
            self.config.has(Role::Validator),
        );

        let workers = self.network.workers().map(|worker| worker.node);
        let attestations = Arc::new(AttestationTable::new(self.network.policy(), workers));
        let gate = NodeGate::new(
            Arc::clone(&self.network),
            Arc::clone(&self.clock),
            Arc::clone(&attestations),
            Arc::clone(&tip),
        );
        let (mesh, events, mesh_task) = lucid_p2p::start(self.mesh_config()?, self.key.seed(), Arc::new(gate))?;
        let stop_mesh = mesh_stage.stop.clone();
        mesh_stage.spawn_plain("mesh", mesh_task.run(stop_mesh));
        let remember = peers::remember(mesh.clone(), self.store.clone(), chain.stop.clone());
        chain.spawn_plain("memory of peers", remember);

        let (driver, inbox) = mpsc::channel(INPUTS);
        let (gossip, outgoing) = mpsc::channel(GOSSIP);
        let (questions_sender, questions) = mpsc::channel(QUESTIONS);
        let parts = DriverParts {
            network: Arc::clone(&self.network),
            replica,
            store: self.store.clone(),
            wal,
            clock: Arc::clone(&self.clock),
            inbox,
            gossip: gossip.clone(),
            fetch: questions_sender,
            head: head_sender,
            tip,
        };
        let stop_chain = chain.stop.clone();
        chain.spawn("chain", Driver::new(parts).run(stop_chain));
        let fetcher = Fetcher::new(FetcherParts {
            network: Arc::clone(&self.network),
            mesh: mesh.clone(),
            questions,
            driver: driver.clone(),
            head: head.clone(),
            best_seen: best_sender,
        });
        chain.spawn_plain("fetcher", fetcher.run(chain.stop.clone()));
        chain.spawn_plain("publisher", publish(mesh.clone(), outgoing, chain.stop.clone()));

        let wires = Wires {
            mesh: mesh.clone(),
            driver: driver.clone(),
            head: head.clone(),
            attestations,
            served: Arc::new(Served::default()),
            carried: Arc::new(Mutex::new(BTreeMap::new())),
            gossip,
        };
        let observer = self.observer()?;
        let cosigner = self.cosigner(&wires, &observer)?;
        let responder = self.worker(&mut work, &wires, &observer, cosigner.clone())?;
        let probes = self.validator(&mut work, &wires, &observer);
        let router = Router {
            events,
            driver,
            sync: Arc::new(SyncServer { store: self.store.clone(), head: head.clone(), driver: wires.driver.clone() }),
            responder,
            cosigner,
        };
        chain.spawn_plain("router", router.run(chain.stop.clone()));

        let view: Arc<dyn NodeView> = Arc::new(NodeParts {
            network: Arc::clone(&self.network),
            node_id: self.key.node_id(),
            mesh,
            store: self.store.clone(),
            head,
            best_seen,
            clock: Arc::clone(&self.clock),
            api: api.local_addr().map_or_else(|_| self.config.api.listen.to_string(), |address| address.to_string()),
            carried: wires.carried,
            probes,
            served: wires.served,
            config: self.config.clone(),
        });
        front.spawn("API", api::serve(api, Arc::clone(&view), front.stop.clone()));
        front.spawn("metrics listener", api::serve_metrics(metrics, view, front.stop.clone()));
        tracing::info!(
            node = %self.key.node_id(),
            network = %self.network.id(),
            name = self.config.name,
            "started"
        );
        Ok(vec![front, work, chain, mesh_stage])
    }

    fn mesh_config(&self) -> anyhow::Result<MeshConfig> {
        let p2p = &self.config.p2p;
        Ok(MeshConfig {
            listen: p2p.listen.clone(),
            external: p2p.external.clone(),
            bootstrap: p2p.bootstrap.clone(),
            saved_peers: peers::saved(&self.store)?,
            local: p2p.local,
            ..MeshConfig::new(*self.network.id())
        })
    }

    /// One provider for each endpoint. Their facts about the end of a payout must agree.
    fn observer(&self) -> anyhow::Result<Arc<Observer>> {
        let genesis_block = self.network.genesis().tron.genesis_block;
        let client = |endpoint: &String| {
            let mut config = ClientConfig::new(endpoint, Some(genesis_block));
            config.api_key = self.config.tron.api_key.as_ref().map(|key| ApiKey::new(key.expose()));
            Client::new(config).with_context(|| format!("tron.endpoints: {endpoint}"))
        };
        let clients = self.config.tron.endpoints.iter().map(client).collect::<anyhow::Result<_>>()?;
        Ok(Arc::new(Observer::new(clients, DEATH_GRACE).context("tron.endpoints")?))
    }

    fn cosigner(&self, wires: &Wires, observer: &Arc<Observer>) -> anyhow::Result<Option<Arc<Cosigner>>> {
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
    fn worker(
        &self,
        work: &mut Stage,
        wires: &Wires,
        observer: &Arc<Observer>,
        cosigner: Option<Arc<Cosigner>>,
    ) -> anyhow::Result<Option<crate::probe::ResponderHandle>> {
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
    fn validator(&self, work: &mut Stage, wires: &Wires, observer: &Arc<Observer>) -> Arc<crate::probe::ProbeCounters> {
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
    fn assignments(&self, head: watch::Receiver<Head>) -> crate::probe::Assignments {
        let (network, me) = (Arc::clone(&self.network), self.key.node_id());
        Arc::new(move |epoch| {
            let state = Arc::clone(&head.borrow().state);
            let newest = state.beacons.range(..=epoch).next_back().map(|(_, beacon)| *beacon);
            let Some(beacon) = newest else { return Vec::new() };
            let (set, size) = (network.validators(epoch), network.policy().committee_size);
            let is_mine = |worker: &lucid_types::genesis::GenesisWorker| {
                lucid_score::committee::draw(set, &beacon, worker, size).contains(&me)
            };
            network.workers().filter(|worker| is_mine(worker)).cloned().collect()
        })
    }
}

/// The next sequence of this worker's attestations, durable before it is used. Never below the clock's milliseconds:
/// a worker that has lost its store is believed again at once.
fn next_sequence(store: &Store, now: UnixMillis) -> Result<u64, lucid_storage::StorageError> {
    const KEY: &[u8] = b"attestation";
    tokio::task::block_in_place(|| {
        let last =
            store.own(OwnKind::Counter, KEY)?.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
        let next = last.saturating_add(1).max(now.get());
        store.put(OwnKind::Counter, KEY, &next.to_be_bytes())?;
        Ok(next)
    })
}

/// Hands messages to the mesh one by one.
async fn publish(mesh: Mesh, mut outgoing: mpsc::Receiver<(Topic, Vec<u8>)>, stop: CancellationToken) {
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => return,
            message = outgoing.recv() => message,
        };
        let Some((topic, bytes)) = message else { return };
        if let Err(error) = mesh.publish(topic, bytes).await {
            tracing::debug!(topic = topic.kind(), %error, "not gossiped");
        }
    }
}
