//! The composition root: opens everything and wires it together.
//!
//! Order of stopping: API, measuring and payouts (a write that has begun is finished), the chain, the mesh, the store.

mod keys;
mod roles;
pub(crate) mod rotation;
mod standing;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::keyring::Keyring;
use lucid_consensus::replica::{Input, Offers, Replica};
use lucid_p2p::{Limits, Mesh, MeshConfig, Topic};
use lucid_storage::{Store, Wal};
use lucid_tron_bridge::client::{ApiKey, Client, ClientConfig, EndpointConfig};
use lucid_tron_bridge::providers::Providers;
use lucid_types::codec::encode;
use lucid_types::time::Height;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::api::{self, NodeView};
use crate::caps::Month;
use crate::chain::catch_up::{CatchUp, CatchUpParts};
use crate::chain::driver::{Driver, DriverParts, INPUTS};
use crate::chain::fetch::{Fetcher, FetcherParts, QUESTIONS};
use crate::chain::head::Head;
use crate::chain::persist::{self, Restored};
use crate::chain::pin;
use crate::chain::presence::{Lookout, LookoutParts, Presences};
use crate::chain::prune::{self, PruneParts};
use crate::chain::serve::SyncServer;
use crate::chain::sets::KnownSets;
use crate::chain::snapshot::{Download, Snapshot, Snapshots};
use crate::clock::{Clock, SystemClock};
use crate::commands::{CommandDesk, SUBMISSIONS};
use crate::config::tron::Endpoint;
use crate::config::{Config, Role};
use crate::gate::NodeGate;
use crate::health::Health;
use crate::history::metrics::Keeper;
use crate::history::{expiry, resources};
use crate::home::{Home, Identity};
use crate::node::keys::KeyWatch;
use crate::payout::push::PushTable;
use crate::payout::vaults::Vaults;
use crate::peering;
use crate::peers;
use crate::probe::{AttestationTable, Line, Served};
use crate::router::Router;
use crate::sampler::{self, Newest};
use crate::score::watch::{FollowParts, ScoreWatch, follow};
use crate::stage::{Stage, Stopped, supervise};
use crate::validations::ValidationDesk;
use crate::view::NodeParts;

/// Messages that wait to be gossiped; see [`DriverParts::gossip`].
const GOSSIP: usize = 1_024;
/// For one request to a TRON provider.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a failed request to a TRON provider is repeated before whoever wanted the answer decides.
const PROVIDER_RETRIES: usize = 2;

/// Until the sockets of a mesh that has ended are closed.
const CLOSING: Duration = Duration::from_secs(10);

/// Runs a node until `stop`.
///
/// # Errors
/// The home, the key, the genesis or the configuration cannot be used, a port is in use, or a part of the node failed.
pub async fn run(home: Home, config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    run_shown(home, config, stop, |_| {}).await
}

/// As [`run`]; `started` is given what the API shows of the node, once all of it runs: again when it runs under another node key.
///
/// # Errors
/// As [`run`].
pub async fn run_shown(
    home: Home,
    config: Config,
    stop: CancellationToken,
    mut started: impl FnMut(Arc<dyn NodeView>),
) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // First: that there is a home with a key says more than that it has no genesis.
    home.load_identity()?;
    let genesis = home.load_genesis()?.genesis;
    let spec = Arc::new(ChainSpec::new(genesis).context("the genesis cannot be used")?);
    // First: that this home's node runs already says more than that its ports are in use.
    home.check_db()?;
    let store = Store::open(&home.db_dir(), *spec.id())?;
    loop {
        let api = bind("api.listen", config.api.listen).await?;
        let metrics = bind("metrics.listen", config.metrics.listen).await?;
        let wal = store.wal()?;
        let restored = persist::restore(&spec, &store, &wal, clock.now())?;
        let me = rotation::identity(&home, &restored.replica.state)?;
        let again = stop.child_token();
        let node = Assembly {
            home: home.clone(),
            config: config.clone(),
            clock: Arc::clone(&clock),
            me,
            spec: Arc::clone(&spec),
            store: store.clone(),
            again: again.clone(),
        };
        let (stages, view) = node.assemble(wal, restored, api, metrics)?;
        started(view);
        let stopped = supervise(stages, again).await?;
        if stop.is_cancelled() {
            return Ok(());
        }
        let is_closed = lucid_p2p::wait_until_free(&config.p2p.listen, CLOSING).await;
        if stopped == Stopped::InPart || !is_closed {
            return Err(anyhow!(
                "another node key is in force, and some parts of the node did not stop in time: start it again, and it has that key"
            ));
        }
    }
}

async fn bind(key: &str, address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{key} = \"{address}\" cannot be used; stop what listens there, or set another address with --set {key}=IP:PORT")
    })
}

/// What a node is made from.
struct Assembly {
    home: Home,
    config: Config,
    clock: Arc<dyn Clock>,
    me: Identity,
    spec: Arc<ChainSpec>,
    store: Store,
    /// Cancelled when the node is to stop, or to start again under another node key.
    again: CancellationToken,
}

/// The channels and views that parts share.
struct Wires {
    mesh: Mesh,
    driver: mpsc::Sender<Box<Input>>,
    head: watch::Receiver<Head>,
    keys: watch::Receiver<Arc<Keyring>>,
    served: Arc<Served>,
    line: Arc<Line>,
    vaults: Arc<Vaults>,
    pushed: Arc<PushTable>,
    gossip: mpsc::Sender<(Topic, Vec<u8>)>,
    metrics: Arc<Keeper>,
    health: Arc<Health>,
    newest: Newest,
}

impl Assembly {
    /// The stages in the order in which they stop, and what the API shows.
    fn assemble(
        self,
        wal: Wal,
        restored: Restored,
        api: TcpListener,
        metrics: TcpListener,
    ) -> anyhow::Result<(Vec<Stage>, Arc<dyn NodeView>)> {
        let (mut front, mut work) = (Stage::new("the API"), Stage::new("measuring and payouts"));
        let (mut chain, mut mesh_stage) = (Stage::new("the chain"), Stage::new("the mesh"));

        let now = self.clock.now();
        let Restored { replica: mut stored, block } = restored;
        self.check_pin()?;
        let logged = u64::try_from(stored.log.len()).unwrap_or(u64::MAX);
        let instance = self.validator_instance(&mut stored)?;
        let (boot, watermark) = instance.unzip();
        let block = block.map(Arc::new);
        let at_start = block.clone().map(|block| Snapshot { block, state: stored.state.clone() });
        let first = Head {
            state: stored.state.clone(),
            block,
            adopted_at: now,
            offers: Offers::default(),
            round: None,
            unreported: Vec::new(),
        };
        let (head_sender, head) = watch::channel(first);
        let (target_sender, target) = watch::channel(Height::ZERO);
        let (halt_sender, halt) = watch::channel(None);
        // A node whose `roles` do not name validator follows without a vote, and so does one without a key.
        let is_validator = self.config.has(Role::Validator);
        let account = self.me.account;
        let ring = if is_validator { self.home.keyring(account)? } else { Keyring::new(account, []) };
        let (keys_sender, keys) = watch::channel(Arc::new(ring.clone()));
        let taken_over = stored.commands.iter().map(|command| (command.record.account, command.record.nonce)).collect();
        let replica = Replica::restore(Arc::clone(&self.spec), ring, stored, is_validator);

        let attested = Arc::new(AttestationTable::new(&self.spec.fixed()));
        let gate = NodeGate::new(Arc::clone(&self.spec), Arc::clone(&self.clock), Arc::clone(&attested), head.clone());
        let (mesh, events, mesh_task) = lucid_p2p::start(self.mesh_config()?, self.me.key.seed(), Arc::new(gate))?;
        let stop_mesh = mesh_stage.stop.clone();
        mesh_stage.spawn_plain("mesh", mesh_task.run(stop_mesh));
        let (clock, shares_addresses) = (Arc::clone(&self.clock), self.config.p2p.local);
        let remember = peers::remember(mesh.clone(), self.store.clone(), clock, shares_addresses, chain.stop.clone());
        chain.spawn_plain("memory of peers", remember);
        let peering = peering::follow(mesh.clone(), head.clone(), chain.stop.clone());
        chain.spawn_plain("watch of the validators' node keys", peering);

        let snapshots = Arc::new(Snapshots::new(self.spec.fixed().snapshot_blocks, at_start));
        let (fetched_sender, fetched) = mpsc::channel(1);
        let (driver, inbox) = mpsc::channel(INPUTS);
        let (submissions_sender, submissions) = mpsc::channel(SUBMISSIONS);
        let (gossip, outgoing) = mpsc::channel(GOSSIP);
        let (questions_sender, questions) = mpsc::channel(QUESTIONS);
        let parts = DriverParts {
            replica,
            store: self.store.clone(),
            wal,
            logged,
            watermark,
            clock: Arc::clone(&self.clock),
            inbox,
            submissions,
            taken_over,
            fetched,
            snapshots: Arc::clone(&snapshots),
            gossip: gossip.clone(),
            fetch: questions_sender,
            target: target_sender,
            halt,
            pinned: self.config.sync.pin(),
            head: head_sender,
        };
        let stop_chain = chain.stop.clone();
        chain.spawn("chain", Driver::new(parts).run(stop_chain));
        let sets = Arc::new(KnownSets::of_node(*self.spec.id(), head.clone()));
        let fetcher = Fetcher::new(FetcherParts {
            spec: Arc::clone(&self.spec),
            mesh: mesh.clone(),
            clock: Arc::clone(&self.clock),
            questions,
            driver: driver.clone(),
            head: head.clone(),
            sets: Arc::clone(&sets),
        });
        chain.spawn_plain("fetcher", fetcher.run(chain.stop.clone()));
        let catch_up = CatchUp::new(CatchUpParts {
            spec: Arc::clone(&self.spec),
            mesh: mesh.clone(),
            driver: driver.clone(),
            head: head.clone(),
            target: target.clone(),
            download: Download::new(
                Arc::clone(&self.spec),
                mesh.clone(),
                self.store.clone(),
                Arc::clone(&sets),
                self.config.sync.pin(),
            ),
            snapshots: fetched_sender,
            mode: self.config.sync.mode(),
            sets,
        });
        chain.spawn("catching up", catch_up.run(chain.stop.clone()));
        self.prune(&mut chain, head.clone());
        if let Some(boot) = boot {
            let lookout = Lookout::new(LookoutParts {
                spec: Arc::clone(&self.spec),
                mesh: mesh.clone(),
                clock: Arc::clone(&self.clock),
                keys: keys.clone(),
                boot,
                head: head.clone(),
                driver: driver.clone(),
                halt: halt_sender,
            })?;
            let stop = chain.stop.clone();
            // After it has found another instance there is nothing more to look out for: the driver ends the node.
            chain.spawn_plain("lookout for this key elsewhere", async move {
                lookout.run(stop.clone()).await;
                stop.cancelled().await;
            });
        }
        if is_validator {
            let watch = KeyWatch {
                home: self.home.clone(),
                keys: keys_sender,
                head: head.clone(),
                driver: driver.clone(),
                problem: None,
            };
            chain.spawn_plain("watch of the validator's keys", watch.run(chain.stop.clone()));
        }
        chain.spawn_plain("publisher", publish(mesh.clone(), outgoing, chain.stop.clone()));

        let registered = self.registered(head.clone());
        let keeper = Keeper::new(self.store.clone(), Arc::clone(&self.clock), self.me.account, registered);
        let keeper = Arc::new(keeper);
        chain.spawn("keeper of metrics", Arc::clone(&keeper).run(chain.stop.clone()));
        let sampled = resources::resume(&self.store, now)?;
        let sampler = sampler::spawn(self.home.root(), Arc::clone(&self.clock), sampled)?;
        let (newest, rings) = (sampler.newest(), sampler.rings());
        chain.spawn("keeper of resources", resources::keep(self.store.clone(), sampler, chain.stop.clone()));
        let watch = Arc::<ScoreWatch>::default();
        let parts = FollowParts {
            watch: Arc::clone(&watch),
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            head: head.clone(),
            me: self.me.account,
        };
        chain.spawn_plain("watch of scores", follow(parts, chain.stop.clone()));
        let (store, clock) = (self.store.clone(), Arc::clone(&self.clock));
        chain.spawn("removal of expired history", expiry::run(store, clock, head.clone(), chain.stop.clone()));

        let health = Arc::new(Health::new(self.me.account));
        chain.spawn_plain("watch of the clock", Arc::clone(&health).watch_clock(head.clone(), chain.stop.clone()));

        let wires = Wires {
            mesh: mesh.clone(),
            driver: driver.clone(),
            head: head.clone(),
            keys: keys.clone(),
            served: Arc::new(Served::default()),
            line: Arc::new(Line::new(&self.config.limits)),
            vaults: Arc::default(),
            pushed: Arc::default(),
            gossip,
            metrics: keeper,
            health: Arc::clone(&health),
            newest: newest.clone(),
        };
        let providers = self.providers()?;
        let (cosigner, signer) = self.cosigner(&wires)?.unzip();
        self.standing(&mut work, &wires, signer.flatten());
        let identity = (self.home.clone(), self.me.clone());
        let rotation = rotation::follow(identity, head.clone(), self.again.clone(), work.stop.clone());
        work.spawn_plain("watch of the node key", rotation);
        self.reader(&mut work, &wires, providers.as_ref());
        self.pusher(&mut work, &wires, providers.as_ref(), cosigner.clone());
        let responder = self.worker(&mut work, &wires)?;
        let storage = self.storage(&mut work, &wires)?;
        let probes = self.validator(&mut work, &wires)?;
        let commands = Arc::new(CommandDesk {
            spec: Arc::clone(&self.spec),
            clock: Arc::clone(&self.clock),
            me: self.me.account,
            may_vote: self.config.has(Role::Validator),
            head: head.clone(),
            mesh: mesh.clone(),
            driver: driver.clone(),
            submissions: submissions_sender,
        });
        let validating = self.validations(&wires);
        let validations = Arc::new(ValidationDesk {
            spec: Arc::clone(&self.spec),
            clock: Arc::clone(&self.clock),
            me: self.me.public_key(),
            head: head.clone(),
            mesh: mesh.clone(),
            store: self.store.clone(),
            own: validating.clone(),
        });
        let (progress, enrolment) = watch::channel(None);
        self.enrolment(&mut work, &commands, target.clone(), progress)?;
        let (month_sender, month) = watch::channel(Month::at(now));
        self.caps(&mut work, &wires, &commands, month_sender)?;
        let router = Router {
            events,
            driver,
            sync: Arc::new(SyncServer {
                store: self.store.clone(),
                head: head.clone(),
                snapshots,
                presences: Arc::new(Presences::new(Arc::clone(&self.spec), Arc::clone(&self.clock))),
                genesis: encode(self.spec.genesis()).into(),
            }),
            responder,
            storage,
            cosigner: cosigner.clone(),
            commands: Arc::clone(&commands),
            validations: validating,
            health: Arc::clone(&health),
            metrics: wires.metrics,
            head: head.clone(),
        };
        chain.spawn_plain("router", router.run(chain.stop.clone()));

        let view: Arc<dyn NodeView> = Arc::new(NodeParts {
            spec: Arc::clone(&self.spec),
            me: self.me.clone(),
            keys,
            cosigner,
            commands,
            validations,
            attestations: attested,
            mesh,
            store: self.store.clone(),
            head,
            best_seen: target,
            clock: Arc::clone(&self.clock),
            api: api.local_addr().map_or_else(|_| self.config.api.listen.to_string(), |address| address.to_string()),
            vaults: wires.vaults,
            pushed: wires.pushed,
            enrolment,
            probes,
            served: wires.served,
            month,
            watch,
            health,
            newest,
            rings,
            config: self.config.clone(),
        });
        front.spawn("API", api::serve(api, Arc::clone(&view), front.stop.clone()));
        front.spawn("metrics listener", api::serve_metrics(metrics, Arc::clone(&view), front.stop.clone()));
        tracing::info!(
            node = %self.me.account,
            key = %self.me.public_key(),
            network = %self.spec.id(),
            name = self.config.name,
            "started"
        );
        Ok((vec![front, work, chain, mesh_stage], view))
    }

    /// Compares what is stored with the pinned block. Of a block that is not stored, nothing can be said here.
    fn check_pin(&self) -> anyhow::Result<()> {
        let Some(pin) = self.config.sync.pin() else { return Ok(()) };
        match persist::header(&self.store, pin.height)? {
            Some(block) => pin::check(Some(pin), pin.height, block.header.hash())?,
            None if pin.height < self.store.base() => {
                tracing::warn!(height = %pin.height, "the block that sync.pinned names is not stored here any more: it is not compared");
            }
            None => {}
        }
        Ok(())
    }

    /// Removes old blocks, unless this is an archive.
    fn prune(&self, chain: &mut Stage, head: watch::Receiver<Head>) {
        let sync = &self.config.sync;
        if sync.archive {
            return;
        }
        let keep = match sync.keep_blocks_s {
            0 => Duration::from_millis(self.spec.fixed().keep_blocks_ms),
            seconds => Duration::from_secs(seconds),
        };
        let parts = PruneParts {
            spec: Arc::clone(&self.spec),
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            head,
            keep,
        };
        chain.spawn("removal of old blocks", prune::run(parts, chain.stop.clone()));
    }

    fn mesh_config(&self) -> anyhow::Result<MeshConfig> {
        let p2p = &self.config.p2p;
        let usual = MeshConfig::new(*self.spec.id());
        Ok(MeshConfig {
            // A validator joins the rest as soon as it finds that it is one: see `peering`.
            topics: usual.topics.iter().copied().filter(|topic| !topic.is_for_validators()).collect(),
            listen: p2p.listen.clone(),
            external: p2p.external.clone(),
            bootstrap: p2p.bootstrap.clone(),
            saved_peers: peers::saved(&self.store)?,
            local: p2p.local,
            limits: self.limits(),
            ..usual
        })
    }

    /// Those of the mesh. A node with the role of a validator is ready to measure every worker that can be scored.
    fn limits(&self) -> Limits {
        if !self.config.has(Role::Validator) {
            return Limits::default();
        }
        let limits = Limits::for_validator();
        roles::allow_descriptors(&limits);
        limits
    }

    /// The TRON providers; `None` if none is configured.
    fn providers(&self) -> anyhow::Result<Option<Arc<Providers>>> {
        let tron = &self.config.tron;
        let groups = tron.groups()?;
        if groups.is_empty() {
            return Ok(None);
        }
        let payment_network = &self.spec.genesis().tron;
        if groups.len() == 1 && payment_network.network != "local" {
            tracing::warn!(
                "tron.providers has one provider group: what it says of payments is not confirmed by anybody. Name a second one"
            );
        }
        let client = |group: &Vec<Endpoint<'_>>| {
            let endpoint = |endpoint: &Endpoint<'_>| EndpointConfig {
                url: endpoint.url.to_owned(),
                api_key: endpoint.api_key.map(ApiKey::new),
            };
            Client::new(ClientConfig {
                endpoints: group.iter().map(endpoint).collect(),
                genesis: Some(payment_network.genesis_block),
                timeout: PROVIDER_TIMEOUT,
                retries: PROVIDER_RETRIES,
                requests_per_s: NonZeroU32::new(tron.requests_per_s),
            })
        };
        let clients = groups.iter().map(client).collect::<Result<_, _>>().context("tron.providers")?;
        Ok(Some(Arc::new(Providers::new(clients).context("tron.providers")?)))
    }
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
