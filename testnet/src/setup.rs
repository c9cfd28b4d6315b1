//! From nothing to running nodes: the steps of a local network in their order, a line each.
//!
//! Every wait is for something that happened: a block, a solidified transaction, an answer of a node. A child that ends
//! meanwhile ends the set-up with the end of its log.

use std::fs::OpenOptions;
use std::future::Future;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::join_all;
use lucid_tron_bridge::client::Client;
use lucid_tron_bridge::key::TreasuryKey;
use lucid_tron_devnet::address;
use lucid_tron_devnet::wallet::Wallet;
use lucid_types::amount::MicroUsdt;
use lucid_types::genesis::Genesis;
use lucid_types::id::{NetworkId, PayoutAddress, SolidBlockId};
use lucid_types::policy::Policy;
use lucid_types::time::UnixMillis;
use tokio::time::{Instant, sleep};

use crate::api::NodeApi;
use crate::console::{Console, Mark, short, usdt};
use crate::devnet::SEED;
use crate::funding::{TREASURY_TRX, TREASURY_USDT, TronNetwork};
use crate::genesis::{self, Parts, WorkerEntry};
use crate::lucid::{HomePlan, Identity, Lucid, bootstrap_address};
use crate::plan::{NodePlan, TRON};
use crate::ports::{Leases, NodePorts};
use crate::process::{Exit, Spec, last_lines};
use crate::supervisor::Supervisor;

/// Time between blocks of the local TRON network.
const BLOCK_TIME: &str = "1s";
/// Its solidified block is this far behind.
const SOLID_LAG: &str = "3";
/// How long a node may take until its API answers.
const NODE_START: Duration = Duration::from_secs(60);
/// Between two questions to a node that does not answer yet.
const POLL: Duration = Duration::from_millis(50);

/// What a network is made from.
#[derive(Debug)]
pub struct Ingredients<'a> {
    /// Its folder.
    pub dir: &'a Path,
    /// Its nodes.
    pub plan: Vec<NodePlan>,
    /// Their ports, still held.
    pub leases: Leases,
    /// The node's executable.
    pub lucid: Lucid,
    /// The parameters.
    pub policy: Policy,
    /// For progress.
    pub console: Console,
}

/// A running network.
#[derive(Debug)]
pub struct Network {
    /// Its id.
    pub id: NetworkId,
    /// Its genesis.
    pub genesis: Genesis,
    /// Its nodes, in the order of the plan.
    pub nodes: Vec<Node>,
    /// Asks the local TRON network.
    pub tron: Arc<Client>,
    /// Base URL of the local TRON network.
    pub tron_url: String,
    /// Its block 0.
    pub tron_genesis_block: SolidBlockId,
    /// The USDT contract.
    pub usdt: PayoutAddress,
    /// The account that pays.
    pub treasury: PayoutAddress,
    /// What it held when the nodes started.
    pub treasury_usdt: MicroUsdt,
}

/// A node of a running network.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name and roles.
    pub plan: NodePlan,
    /// Its listeners.
    pub ports: NodePorts,
    /// Its keys.
    pub identity: Identity,
    /// Where it is paid; workers only.
    pub payout_address: Option<PayoutAddress>,
}

impl Node {
    /// Its HTTP API.
    pub fn api(&self) -> NodeApi {
        NodeApi::local(self.ports.api)
    }
}

/// Makes and starts a network.
///
/// # Errors
/// Says which step failed and why. Children that were started are still running then.
pub async fn build(ingredients: Ingredients<'_>, children: &mut Supervisor) -> Result<Network> {
    let Ingredients { dir, plan, leases, lucid, policy, console } = ingredients;
    let tron = start_tron(dir, leases.layout.tron, leases.tron, children).await?;
    console.line(Mark::Done, format_args!("tron       local TRON network at {}", tron.url));

    let treasury_key = TreasuryKey::generate()?;
    let treasury = treasury_key.address();
    let usdt_contract = alive(children, fund(&tron, &treasury)).await?;
    let (trx, usdt_held) = tron.holdings(&usdt_contract, &treasury).await?;
    ensure!(
        trx == TREASURY_TRX && usdt_held == TREASURY_USDT,
        "the treasury holds {trx} sun and {usdt_held} micro-USDT"
    );
    console.line(
        Mark::Done,
        format_args!(
            "treasury   {treasury} holds {} TRX and {} USDT of contract {usdt_contract}",
            usdt(trx.get()),
            usdt(usdt_held.get())
        ),
    );

    let nodes = alive(children, make_homes(dir, plan, &leases.layout.nodes, &lucid, &tron.url)).await?;
    if let Some(signer) = nodes.first() {
        treasury_key.save_new(&signer.plan.home(dir).join("treasury.key"))?;
    }
    drop(treasury_key);
    console.line(Mark::Done, format_args!("homes      {} below {}", nodes.len(), dir.display()));

    let genesis = write_genesis(dir, &nodes, policy, tron.genesis_block, usdt_contract, treasury)?;
    let id = genesis.network_id();
    console.line(
        Mark::Done,
        format_args!(
            "genesis    network {}, epoch 1 starts in {:.1} s",
            short(id),
            until(genesis.genesis_time).as_secs_f64()
        ),
    );

    let network = Network {
        id,
        genesis,
        nodes,
        tron: Arc::new(tron.client),
        tron_url: tron.url,
        tron_genesis_block: tron.genesis_block,
        usdt: usdt_contract,
        treasury,
        treasury_usdt: usdt_held,
    };
    for (node, lease) in network.nodes.iter().zip(leases.nodes) {
        let home = node.plan.home(dir);
        children.add(Spec {
            name: node.plan.name.clone(),
            program: lucid.path().into(),
            args: Lucid::run_arguments(&home),
            log: home.join("node.log"),
        });
        drop(lease);
        children.start(&node.plan.name)?;
    }
    alive(children, all_answer(&network.nodes)).await?;
    Ok(network)
}

/// Time from now to `time`.
pub fn until(time: UnixMillis) -> Duration {
    now().until(time)
}

fn now() -> UnixMillis {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

/// Does `work`, unless a child ends first.
async fn alive<T>(children: &mut Supervisor, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = work => done,
        exit = children.next_exit() => bail!(describe(&exit, children)),
    }
}

/// An unexpected end of a child, with the end of its log.
pub fn describe(exit: &Exit, children: &Supervisor) -> String {
    let status = exit.status.map_or_else(|| "in an unknown way".into(), |status| format!("with {status}"));
    let log = children.spec(&exit.name).map(|spec| spec.log.clone()).unwrap_or_default();
    format!("{} ended {status}; the end of {}:\n{}", exit.name, log.display(), last_lines(&log, 8).trim_end())
}

async fn start_tron(
    dir: &Path,
    port: u16,
    lease: crate::ports::Lease,
    children: &mut Supervisor,
) -> Result<TronNetwork> {
    let home = dir.join(TRON);
    std::fs::create_dir(&home).with_context(|| format!("make {}", home.display()))?;
    let program = std::env::current_exe().context("find this executable")?;
    let port = port.to_string();
    let args = ["devnet", "--port", &port, "--block-time", BLOCK_TIME, "--solid-lag", SOLID_LAG, "--no-usdt", "--dir"];
    let mut args: Vec<_> = args.into_iter().map(Into::into).collect();
    // On disk, so that the chain outlives `kill tron`.
    args.push(home.join("chain").into());
    children.add(Spec { name: TRON.into(), program, args, log: home.join("node.log") });
    drop(lease);
    children.start(TRON)?;
    let url = format!("http://127.0.0.1:{port}");
    alive(children, TronNetwork::first_block(&url)).await
}

/// Deploys the token, fills the treasury, and waits until all of it is solidified.
async fn fund(tron: &TronNetwork, treasury: &PayoutAddress) -> Result<PayoutAddress> {
    let (deployer, giver) = (Wallet::derive(SEED, 0), Wallet::derive(SEED, 1));
    let (usdt, deployed) = tron.deploy_token(&deployer).await?;
    let trx = tron.send_trx(&giver, treasury, TREASURY_TRX).await?;
    let units = tron.send_usdt(&deployer, &usdt, treasury, TREASURY_USDT).await?;
    for sent in [deployed, trx, units] {
        tron.solid(sent).await?;
    }
    Ok(usdt)
}

async fn make_homes(
    dir: &Path,
    plan: Vec<NodePlan>,
    ports: &[NodePorts],
    lucid: &Lucid,
    tron_url: &str,
) -> Result<Vec<Node>> {
    let mut nodes: Vec<Node> = Vec::with_capacity(plan.len());
    for (plan, ports) in plan.into_iter().zip(ports) {
        let home = plan.home(dir);
        let bootstrap = nodes.first().map(|first| bootstrap_address(first.ports, &first.identity));
        let home_plan = HomePlan {
            home: &home,
            name: &plan.name,
            roles: &plan.roles,
            ports: *ports,
            bootstrap: bootstrap.as_deref(),
            tron: tron_url,
        };
        let identity = lucid.init(&home_plan).await?;
        let payout_address = if plan.is_worker() { Some(make_payout_key(&home)?) } else { None };
        nodes.push(Node { plan, ports: *ports, identity, payout_address });
    }
    Ok(nodes)
}

/// A fresh key for a worker's payouts, kept for its owner in `payout.key`: no node reads it.
fn make_payout_key(home: &Path) -> Result<PayoutAddress> {
    let path = home.join("payout.key");
    let mut secret = [0; 32];
    let wallet = loop {
        getrandom::fill(&mut secret).map_err(|e| anyhow::anyhow!("make a payout key: {e}"))?;
        if let Ok(wallet) = Wallet::from_secret(&secret) {
            break wallet;
        }
    };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let write = || writeln!(options.open(&path)?, "{}", hex::encode(secret));
    write().with_context(|| format!("write {}", path.display()))?;
    account(&wallet)
}

fn account(wallet: &Wallet) -> Result<PayoutAddress> {
    PayoutAddress::from_bytes(address::to_wire(wallet.address())).context("an account's address")
}

fn write_genesis(
    dir: &Path,
    nodes: &[Node],
    policy: Policy,
    tron_genesis_block: SolidBlockId,
    usdt: PayoutAddress,
    treasury: PayoutAddress,
) -> Result<Genesis> {
    let workers = nodes.iter().filter_map(|node| {
        let payout_address = node.payout_address?;
        Some(WorkerEntry { node: node.identity.node_id, payout_address })
    });
    let validators = nodes.iter().filter(|node| node.plan.is_validator());
    let genesis = genesis::build(Parts {
        name: "local".into(),
        now: now(),
        policy,
        tron_genesis_block,
        usdt,
        treasury,
        commission_address: account(&Wallet::derive(SEED, 1))?,
        validators: validators.map(|node| node.identity.node_id).collect(),
        workers: workers.collect(),
    })?;
    let text = toml::to_string(&genesis).context("write the genesis as TOML")?;
    let homes = nodes.iter().map(|node| node.plan.home(dir));
    for folder in std::iter::once(dir.to_path_buf()).chain(homes) {
        let path = folder.join("genesis.toml");
        std::fs::write(&path, &text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(genesis)
}

async fn all_answer(nodes: &[Node]) -> Result<()> {
    let deadline = Instant::now() + NODE_START;
    let answers = join_all(nodes.iter().map(async |node| {
        loop {
            match node.api().status().await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context(format!("{} does not answer", node.plan.name));
                }
                Err(_) => sleep(POLL).await,
            }
        }
    }));
    answers.await.into_iter().collect()
}
