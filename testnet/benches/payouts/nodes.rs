//! The tasks of a leader and of treasury signers, each on a mesh and a store of its own.

use std::sync::Arc;

use lucid_consensus::ledger::state::State;
use lucid_node::chain::head::Head;
use lucid_node::clock::SystemClock;
use lucid_node::history;
use lucid_node::home::Identity;
use lucid_node::payout::cosign::{Cosigner, OwnSigners, Treasury};
use lucid_node::payout::push::{Conditions, Lead, PushParts, PushTable, PushTask};
use lucid_node::payout::reader::{Reader, ReaderParts};
use lucid_node::payout::vaults::Vaults;
use lucid_p2p::{Admission, Event, Gate, Mesh, MeshConfig, Protocol, Topic};
use lucid_storage::Store;
use lucid_tron_bridge::client::Client;
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::providers::Providers;
use lucid_types::codec::encode;
use lucid_types::id::{PoolId, PublicKey};
use lucid_types::key::NodeKey;
use lucid_types::time::UnixMillis;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ledger::Payday;
use crate::thousand;

/// Most whole TRX that the leader may spend: a first payday of 1,000 accounts without USDT.
const MAX_TRX_PER_DAY: u32 = 20_000;

/// A treasury signer's keys.
pub(crate) struct Treasurer {
    pub(crate) node: NodeKey,
    pub(crate) key: TronKey,
}

impl Treasurer {
    pub(crate) fn new(i: u8) -> Self {
        Self { node: NodeKey::from_seed(&[i + 1; 32]), key: TronKey::generate().unwrap() }
    }
}

/// Nothing is gossiped here.
struct NoGossip;

impl Gate for NoGossip {
    type Item = ();

    fn admit(&self, _: PublicKey, _: Topic, _: &[u8]) -> Admission<()> {
        Admission::Ignore("nothing is gossiped")
    }
}

/// A node's newest block as its tasks see it.
pub(crate) struct Node {
    head: watch::Sender<Head>,
    /// A mesh ends with its last handle.
    mesh: Mesh,
    _folder: TempDir,
}

impl Node {
    /// The settlement's block is final here.
    pub(crate) fn finalize(&self, payday: &Payday) {
        self.head.send_replace(head(&payday.after));
    }
}

/// No blocks follow this one, so it counts as adopted long ago: a node that is catching up waits with payouts.
fn head(state: &State) -> Head {
    Head {
        state: state.clone(),
        block: None,
        adopted_at: UnixMillis::ZERO,
        round: None,
        unreported: Vec::new(),
        offers: lucid_consensus::replica::Offers::default(),
    }
}

/// A leader that runs, and the signers that it asks.
pub(crate) struct Leader {
    node: Node,
    pub(crate) treasurers: Vec<Node>,
    pool: PoolId,
    vaults: Arc<Vaults>,
    table: Arc<PushTable>,
    tasks: JoinSet<()>,
}

impl Leader {
    pub(crate) async fn start(
        payday: &Payday,
        providers: Client,
        gas: TronKey,
        treasurers: &[Treasurer],
        stop: &CancellationToken,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let mut started = Vec::new();
        let mut bootstrap = Vec::new();
        for treasurer in treasurers {
            let (node, address) = treasurer.start(payday, &mut tasks, stop).await;
            started.push(node);
            bootstrap.push(address);
        }
        let key = thousand::leader();
        let config = MeshConfig { bootstrap, ..mesh_config(payday) };
        let (mesh, mut events, task) = lucid_p2p::start(config, key.seed(), Arc::new(NoGossip)).unwrap();
        tasks.spawn(task.run(stop.clone()));
        tasks.spawn(async move { while events.next().await.is_some() {} });

        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), *payday.spec.id()).unwrap();
        // A node writes them with the block, before anybody sees it as its head.
        let state = &payday.after;
        store.write_history(&history::ledger::records(state.height(), state.time(), &payday.events), &[]).unwrap();
        let (sender, seen) = watch::channel(head(&payday.before));
        let (vaults, table) = (Arc::<Vaults>::default(), Arc::<PushTable>::default());
        let providers = Arc::new(Providers::new(vec![providers]).unwrap());
        let (network, clock) = (&payday.spec, Arc::new(SystemClock));
        let reader = Reader::new(ReaderParts {
            spec: Arc::clone(network),
            clock: Arc::<SystemClock>::clone(&clock),
            store: store.clone(),
            providers: Arc::clone(&providers),
            head: seen.clone(),
            vaults: Arc::clone(&vaults),
        });
        let reading = reader.run(stop.clone());
        tasks.spawn(async move { reading.await.unwrap() });
        let vault = payday.before.pool(&payday.pool).unwrap().vault.address;
        let lead = Lead { pool: payday.pool, vault, gas: gas.address() };
        let pusher = PushTask::new(PushParts {
            spec: Arc::clone(network),
            lead,
            me: Identity::first(key),
            gas,
            max_trx_per_day: MAX_TRX_PER_DAY,
            clock,
            mesh: mesh.clone(),
            store,
            providers,
            head: seen,
            vaults: Arc::clone(&vaults),
            cosigner: None,
            table: Arc::clone(&table),
            conditions: Conditions::default(),
        });
        tasks.spawn(pusher.unwrap().run(stop.clone()));
        let node = Node { head: sender, mesh, _folder: folder };
        Self { node, treasurers: started, pool: payday.pool, vaults, table, tasks }
    }

    /// Waits until it knows the signers, the vault, and what it can spend.
    pub(crate) async fn is_ready(&self) {
        assert!(self.node.mesh.wait_for_peers(|peers| peers.len() >= self.treasurers.len()).await);
        let mut changed = self.vaults.changed();
        while self.vaults.get(&self.pool).is_none() || self.table.gas().is_none() {
            changed.changed().await.unwrap();
        }
    }

    pub(crate) fn finalize(&self, payday: &Payday) {
        self.node.finalize(payday);
    }

    /// Waits until all tasks have ended, once they were told to stop.
    pub(crate) async fn end(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

fn mesh_config(payday: &Payday) -> MeshConfig {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    MeshConfig { listen, local: true, ..MeshConfig::new(*payday.spec.id()) }
}

impl Treasurer {
    /// Starts its mesh and answers requests for signatures. Returns its address, too.
    async fn start(&self, payday: &Payday, tasks: &mut JoinSet<()>, stop: &CancellationToken) -> (Node, String) {
        let (mesh, mut events, task) =
            lucid_p2p::start(mesh_config(payday), self.node.seed(), Arc::new(NoGossip)).unwrap();
        tasks.spawn(task.run(stop.clone()));
        let address = mesh.wait_for_listeners(1).await.remove(0);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), *payday.spec.id()).unwrap();
        let treasury = Treasury::InProcess(OwnSigners::new(self.node.account(), self.key.clone(), store));
        let (sender, seen) = watch::channel(head(&payday.before));
        let cosigner = Cosigner::new(Arc::clone(&payday.spec), seen, Arc::default(), treasury);
        tasks.spawn(async move {
            while let Some(event) = events.next().await {
                if let Event::Request { peer, protocol: Protocol::Cosign, bytes, reply } = event
                    && let Some(answer) = cosigner.answer(peer, &bytes).await
                {
                    reply.respond(encode(&answer));
                }
            }
        });
        (Node { head: sender, mesh, _folder: folder }, address)
    }
}
