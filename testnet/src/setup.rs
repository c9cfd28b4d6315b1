//! From nothing to running nodes: the steps of a local network in their order, a line each.
//!
//! Every wait is for something that happened: a block, a solidified transaction, an answer of a node. A child that ends
//! meanwhile ends the set-up with the end of its log.

use std::ffi::OsString;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::join_all;
use lucid_node::api::model::{EnrolmentView, PoolStatusView};
use lucid_tron_bridge::client::Client;
use lucid_types::genesis::Genesis;
use lucid_types::id::{NetworkId, PayoutAddress, PoolId, SolidBlockId};
use lucid_types::policy::Policy;
use lucid_types::time::{Epoch, UnixMillis};
use lucid_types::vault::Vault;
use tokio::time::{Instant, sleep};
use tokio::try_join;

use crate::api::NodeApi;
use crate::console::{Console, Mark, short, usdt};
use crate::funding::{Funded, GAS_TRX, Needs, TronNetwork, VAULT_FUNDS, commission_address};
use crate::genesis::{self, Parts};
use crate::homes::{self, Homes};
use crate::lucid::{Identity, Lucid};
use crate::plan::{self, NodePlan, Quorum, TRON};
use crate::pool::{POOL, PoolMaker};
use crate::ports::{Lease, Leases, NodePorts};
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
    /// How many of its workers, the last ones, join later.
    pub n_late: usize,
    /// Its nodes.
    pub plan: Vec<NodePlan>,
    /// Who signs for the vault.
    pub quorum: Quorum,
    /// The nodes' ports, still held.
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
    /// The string by which nodes join it and its pool.
    pub join: String,
    /// The epoch from which on all workers are measured that do not join later.
    pub measured_from: Epoch,
    /// The owner of its pool.
    pub owner: Identity,
    /// Asks the local TRON network.
    pub tron: Arc<Client>,
    /// Base URL of the local TRON network.
    pub tron_url: String,
    /// Its block 0.
    pub tron_genesis_block: SolidBlockId,
    /// The USDT contract.
    pub usdt: PayoutAddress,
    /// The contract that pays.
    pub vault: PayoutAddress,
}

/// A node of a running network.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name and roles.
    pub plan: NodePlan,
    /// Its listeners.
    pub ports: NodePorts,
    /// Its public keys.
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

/// A worker that is to join later. Its ports are held until then.
#[derive(Debug)]
pub struct LateWorker {
    start: Start,
    lease: Lease,
}

/// How a node is started first, and again.
#[derive(Debug)]
struct Start {
    first: Spec,
    again: Vec<OsString>,
}

impl LateWorker {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.start.first.name
    }

    /// Starts it, unless it runs.
    ///
    /// # Errors
    /// The system would not.
    pub fn start(self, children: &mut Supervisor) -> Result<()> {
        drop(self.lease);
        self.start.start(children)
    }
}

impl Start {
    fn start(self, children: &mut Supervisor) -> Result<()> {
        let name = self.first.name.clone();
        children.add(self.first.clone());
        if children.pid(&name).is_none() {
            children.start(&name)?;
        }
        children.add(Spec { args: self.again, ..self.first });
        Ok(())
    }
}

/// Makes and starts a network.
///
/// # Errors
/// Says which step failed and why. Children that were started are still running then.
pub async fn build(ingredients: Ingredients<'_>, children: &mut Supervisor) -> Result<(Network, Vec<LateWorker>)> {
    let Ingredients { dir, n_late, plan, quorum, leases, lucid, policy, console } = ingredients;
    let tron_url = format!("http://127.0.0.1:{}", leases.layout.tron);
    let Homes { nodes, owner, owner_key } = homes::make(dir, plan, &leases.layout.nodes, &lucid, &tron_url).await?;
    let signers = homes::signers(&nodes, quorum)?;
    let gas = homes::gas_accounts(&nodes)?;
    console.line(Mark::Done, format_args!("homes      {} and the owner's below {}", nodes.len(), dir.display()));

    start_tron(dir, leases.layout.tron, leases.tron, children)?;
    let tron = alive(children, TronNetwork::first_block(&tron_url)).await?;
    console.line(Mark::Done, format_args!("tron       local TRON network at {tron_url}"));

    let needs = Needs { owner: &owner_key, signers: &signers, policy: &policy, gas: &gas };
    let Funded { usdt: usdt_contract, vault, limits } = alive(children, Box::pin(tron.fund(&needs))).await?;
    console.line(
        Mark::Done,
        format_args!(
            "vault      {vault} of {quorum} signers holds {} USDT of contract {usdt_contract}, pays at most {} USDT an hour",
            usdt(VAULT_FUNDS.get()),
            usdt(limits.cap.get())
        ),
    );
    console.line(
        Mark::Done,
        format_args!("gas        {} TRX for each worker's transactions as a leader", usdt(GAS_TRX.get())),
    );

    let genesis = genesis::build(Parts {
        name: "local".into(),
        now: now(),
        policy,
        tron_genesis_block: tron.genesis_block,
        usdt: usdt_contract,
        validators: nodes.iter().filter_map(|node| node.identity.validator).collect(),
    })?;
    write_genesis(dir, &nodes, &genesis)?;
    let id = genesis.network_id();
    console.line(
        Mark::Done,
        format_args!(
            "genesis    network {}, epoch 1 starts in {:.1} s",
            short(id),
            until(genesis.genesis_time).as_secs_f64()
        ),
    );

    let mut leases = leases.nodes.into_iter();
    let (validators, workers): (Vec<&Node>, Vec<_>) = nodes.iter().partition(|node| node.plan.is_validator());
    let starter = Starter { dir, lucid: &lucid, tron_url: &tron_url };
    for (validator, lease) in validators.iter().zip(leases.by_ref()) {
        drop(lease);
        children.add(starter.run(validator));
        children.start(&validator.plan.name)?;
    }
    alive(children, all_answer(&validators)).await?;

    let maker = PoolMaker { lucid: &lucid, dir };
    let first = *validators.first().context("there is no validator")?;
    let vault_of_pool = Vault { address: vault, nonce: 0, limits, signers };
    let height = alive(children, maker.create(&vault_of_pool, commission_address()?)).await?;
    console.line(Mark::Done, format_args!("pool       {POOL}, open to everybody, created in block {height}"));
    let join = alive(children, maker.join_string(&first.plan)).await?;
    console.line(Mark::Done, format_args!("join       {join}"));

    let early = workers.get(..workers.len().saturating_sub(n_late)).unwrap_or_default();
    let late = starter.join(&workers, leases, early.len(), &join, children)?;
    let plans: Vec<_> = validators.iter().map(|node| &node.plan).collect();
    let joined = async { try_join!(maker.approve(&plans), all_measured(early)) };
    let (n_approvals, entered) = alive(children, joined).await?;
    let pool = first.api().pool(&PoolId::derive(&id, POOL)).await?.context("the pool is gone")?;
    let PoolStatusView::Active { from } = pool.status else { bail!("the pool {POOL} has not become active") };
    let measured_from = entered.max(from);
    console.line(
        Mark::Done,
        format_args!(
            "workers    {} joined by the string, {n_approvals} validators approved of the pool: measured from epoch {measured_from} on",
            early.len()
        ),
    );
    let network = Network {
        id,
        genesis,
        nodes,
        join,
        measured_from,
        owner,
        tron: Arc::new(tron.client),
        tron_url,
        tron_genesis_block: tron.genesis_block,
        usdt: usdt_contract,
        vault,
    };
    Ok((network, late))
}

/// How nodes are started.
#[derive(Clone, Copy)]
struct Starter<'a> {
    dir: &'a Path,
    lucid: &'a Lucid,
    tron_url: &'a str,
}

impl Starter<'_> {
    /// One that belongs to the network.
    fn run(&self, node: &Node) -> Spec {
        let home = node.plan.home(self.dir);
        Spec {
            name: node.plan.name.clone(),
            program: self.lucid.path().into(),
            args: Lucid::run_arguments(&home, &node.plan.name, self.tron_url),
            log: home.join("node.log"),
        }
    }

    /// Lets the first `n_early` workers join by the string, and returns the others.
    fn join(
        &self,
        workers: &[&Node],
        leases: impl Iterator<Item = Lease>,
        n_early: usize,
        string: &str,
        children: &mut Supervisor,
    ) -> Result<Vec<LateWorker>> {
        let mut late = Vec::new();
        for (place, (worker, lease)) in workers.iter().zip(leases).enumerate() {
            let (home, name) = (worker.plan.home(self.dir), &worker.plan.name);
            let paid_to = worker.payout_address.with_context(|| format!("{name} has no payout address"))?.to_string();
            let again = self.run(worker);
            let args = Lucid::join_arguments(&home, name, self.tron_url, string, &paid_to);
            let start = Start { first: Spec { args, ..again.clone() }, again: again.args };
            if place < n_early {
                drop(lease);
                start.start(children)?;
            } else {
                children.add(start.first.clone());
                late.push(LateWorker { start, lease });
            }
        }
        Ok(late)
    }
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

fn start_tron(dir: &Path, port: u16, lease: Lease, children: &mut Supervisor) -> Result<()> {
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
    Ok(())
}

/// Writes the genesis into DIR, the owner's home and the validators'. Workers fetch it.
fn write_genesis(dir: &Path, nodes: &[Node], genesis: &Genesis) -> Result<()> {
    let text = toml::to_string(genesis).context("write the genesis as TOML")?;
    let homes = nodes.iter().filter(|node| node.plan.is_validator()).map(|node| node.plan.home(dir));
    for folder in [dir.to_path_buf(), plan::owner().home(dir)].into_iter().chain(homes) {
        let path = folder.join("genesis.toml");
        std::fs::write(&path, &text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

async fn all_answer(nodes: &[&Node]) -> Result<()> {
    let answers = join_all(nodes.iter().map(async |node| {
        until_some(node, "does not answer", async || node.api().status().await.ok()).await.map(drop)
    }));
    answers.await.into_iter().collect()
}

/// Waits until all workers are in their pool, and returns the first epoch in which all are measured.
async fn all_measured(workers: &[&Node]) -> Result<Epoch> {
    let membership = async |node: &Node| {
        let row = node.api().node(&node.identity.node_id).await.ok()??;
        Some(row.membership?.from)
    };
    let entered = workers.iter().map(async |node| {
        let from = until_some(node, "does not enter the pool", async || membership(node).await).await;
        match (from, node.api().status().await) {
            (Ok(from), _) => Ok(from),
            (Err(error), Ok(status)) => match status.enrolment {
                Some(EnrolmentView { waits_for, problem, .. }) => {
                    Err(error.context(format!("it waits for {waits_for}: {}", problem.unwrap_or_default())))
                }
                None => Err(error),
            },
            (Err(error), Err(_)) => Err(error),
        }
    });
    let from: Vec<Epoch> = join_all(entered).await.into_iter().collect::<Result<_>>()?;
    from.into_iter().max().context("there is no worker")
}

/// Asks a node until there is an answer.
async fn until_some<T>(node: &Node, problem: &str, ask: impl AsyncFn() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + NODE_START;
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "{} {problem}", node.plan.name);
        sleep(POLL).await;
    }
}
