//! From nothing to running nodes: the steps of a local network in their order, a line each.
//!
//! Every wait is for something that happened: a block, a solidified transaction, an answer of a node. A child that ends
//! meanwhile ends the set-up with the end of its log.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use futures::future::join_all;
use lucid_tron_bridge::client::Client;
use lucid_types::genesis::{Genesis, Vault};
use lucid_types::id::{NetworkId, PayoutAddress, SolidBlockId};
use lucid_types::policy::Policy;
use lucid_types::time::UnixMillis;
use tokio::time::{Instant, sleep};

use crate::api::NodeApi;
use crate::console::{Console, Mark, short, usdt};
use crate::funding::{Funded, GAS_TRX, Needs, TronNetwork, VAULT_FUNDS, commission_address};
use crate::genesis::{self, Parts};
use crate::homes::{self, Homes};
use crate::lucid::{Identity, Lucid};
use crate::plan::{self, NodePlan, Quorum, TRON};
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

/// Makes and starts a network.
///
/// # Errors
/// Says which step failed and why. Children that were started are still running then.
pub async fn build(ingredients: Ingredients<'_>, children: &mut Supervisor) -> Result<Network> {
    let Ingredients { dir, plan, quorum, leases, lucid, policy, console } = ingredients;
    let tron_url = format!("http://127.0.0.1:{}", leases.layout.tron);
    let Homes { nodes, owner, owner_key } = homes::make(dir, plan, &leases.layout.nodes, &lucid, &tron_url).await?;
    let signers = homes::signers(&nodes, quorum)?;
    let workers = homes::workers(&nodes)?;
    console.line(Mark::Done, format_args!("homes      {} and the owner's below {}", nodes.len(), dir.display()));

    start_tron(dir, leases.layout.tron, leases.tron, children)?;
    let tron = alive(children, TronNetwork::first_block(&tron_url)).await?;
    console.line(Mark::Done, format_args!("tron       local TRON network at {tron_url}"));

    let gas: Vec<_> = workers.iter().map(|worker| worker.gas_address).collect();
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
        vault: Vault { address: vault, nonce: 0, limits, signers },
        owner: owner.node_id,
        commission_address: commission_address()?,
        validators: nodes.iter().filter_map(|node| node.identity.validator).collect(),
        workers,
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

    let network = Network {
        id,
        genesis,
        nodes,
        owner,
        tron: Arc::new(tron.client),
        tron_url,
        tron_genesis_block: tron.genesis_block,
        usdt: usdt_contract,
        vault,
    };
    for (node, lease) in network.nodes.iter().zip(leases.nodes) {
        let home = node.plan.home(dir);
        children.add(Spec {
            name: node.plan.name.clone(),
            program: lucid.path().into(),
            args: Lucid::run_arguments(&home, &node.plan.name, &network.tron_url),
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

/// Writes the genesis into DIR and every home.
fn write_genesis(dir: &Path, nodes: &[Node], genesis: &Genesis) -> Result<()> {
    let text = toml::to_string(genesis).context("write the genesis as TOML")?;
    let homes = nodes.iter().map(|node| node.plan.home(dir));
    for folder in [dir.to_path_buf(), plan::owner().home(dir)].into_iter().chain(homes) {
        let path = folder.join("genesis.toml");
        std::fs::write(&path, &text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
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
