//! Running the network: listening, making blocks on time, stopping.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use revm::primitives::Address;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::api::{self, Control};
use crate::chain::Refusal;
use crate::connections;
use crate::node::{Failure, Node, now};
use crate::start::{Started, start};
use crate::store::StoreError;
use crate::wallet::Wallet;

/// Both addresses of the machine itself, which "localhost" can mean.
pub const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Blocks that the solidified one is behind the head, unless something else is asked for.
///
/// On the main network it is 18 behind, about a minute, because 19 of 27 witnesses have to build on a block; with one witness,
/// as here, java-tron solidifies a block at once. At once would hide the mistake of reading the solidified tree too early,
/// and a minute is what clients give up after: tronweb's `shouldPollResponse` after 57 s, tronpy's `wait` after 30 s. Two
/// blocks show the difference and leave a wide margin.
pub const SOLID_LAG: u64 = 2;

/// What network to run.
#[derive(Clone, Debug)]
pub struct DevnetConfig {
    /// Addresses where the HTTP API listens. Those that this machine lacks are left out, as long as it has one.
    pub hosts: Vec<IpAddr>,
    /// The API's port at all of them; 0 takes a free one.
    pub port: u16,
    /// Time between blocks; none makes a block for each accepted transaction.
    pub block_time: Option<Duration>,
    /// The solidified block is this many blocks behind the head.
    pub solid_lag: u64,
    /// Number of funded accounts.
    pub accounts: u32,
    /// Sun in each of them.
    pub balance: u64,
    /// The accounts' keys and the witness's key come from it.
    pub seed: String,
    /// Deploys the test USDT from account 0 in block 1.
    pub deploy_usdt: bool,
    /// Keeps the network in this folder; in memory without.
    pub dir: Option<PathBuf>,
    /// Serves `/devnet/*`: faults, time travel and other control that no network gives.
    pub control: bool,
}

impl Default for DevnetConfig {
    fn default() -> Self {
        Self {
            hosts: LOOPBACK.to_vec(),
            port: 9090,
            block_time: Some(Duration::from_secs(3)),
            solid_lag: SOLID_LAG,
            accounts: 10,
            balance: 1_000_000_000_000,
            seed: "lucid".to_owned(),
            deploy_usdt: true,
            dir: None,
            control: false,
        }
    }
}

/// What a running network tells.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The addresses that were bound, one at least; all have the same port.
    pub listen: Vec<SocketAddr>,
    /// The funded accounts.
    pub accounts: Vec<Wallet>,
    /// The test USDT, if deployed. Account 0 owns it and holds all of it.
    pub usdt: Option<Address>,
    /// Id of block 0.
    pub genesis_id: [u8; 32],
}

/// The network could not be started or kept running.
#[derive(Debug, thiserror::Error)]
pub enum DevnetError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The system does not say where the API listens.
    #[error("cannot find out where the API listens")]
    Serve(#[source] std::io::Error),
    /// The token needs an account.
    #[error("the test USDT needs at least one funded account")]
    NoAccount,
    /// The network's file.
    #[error("cannot keep the network on disk")]
    Store(#[source] StoreError),
    /// The network's file could no longer be written while it ran.
    #[error("cannot keep the network on disk")]
    Write(#[source] Arc<StoreError>),
    /// A bug: the chain panicked while it was being changed. What is on the disk is whole.
    #[error("the chain panicked while it was being changed")]
    Panic,
    /// The folder holds another network than the one asked for.
    #[error("{folder} holds a network whose {what} is {found}, not {wanted}; start it so, or take another folder")]
    OtherNetwork {
        /// The folder.
        folder: PathBuf,
        /// What differs.
        what: &'static str,
        /// What the folder says.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// The first account cannot pay for the token's deployment.
    #[error("a balance of {balance} sun does not pay for the deployment of the test USDT, which costs {fee} sun")]
    DeployUsdt {
        /// Sun that every account was to have.
        balance: u64,
        /// Sun that the deployment burns.
        fee: u64,
    },
    /// The token's deployment was refused or failed.
    #[error("cannot deploy the test USDT")]
    NoUsdt(#[source] Refusal),
}

/// Runs a network until `stop` is cancelled. `ready` is called once, when the API can be reached; the token, if asked for,
/// is in the head by then.
pub async fn serve(
    config: DevnetConfig,
    stop: CancellationToken,
    ready: impl FnOnce(Ready) + Send,
) -> Result<(), DevnetError> {
    let listeners = connections::listen(&config.hosts, config.port)
        .await
        .map_err(|(address, source)| DevnetError::Listen { address, source })?;
    let bound: Result<Vec<_>, _> = listeners.iter().map(TcpListener::local_addr).collect();
    let listen = bound.map_err(DevnetError::Serve)?;
    let Started { chain, log, usdt } = start(&config, now())?;
    let accounts: Vec<_> = (0..config.accounts).map(|i| Wallet::derive(&config.seed, i)).collect();
    let genesis_id = chain.genesis_id().0;
    let owner = Wallet::derive(&config.seed, 0);
    let node = Arc::new(Node::with_log(chain, log, config.block_time.is_none()));
    let control = config.control.then(|| Control::new(usdt.map(|usdt| (owner, usdt))));
    tracing::info!(?listen, "devnet.ready");
    let router = api::router(Arc::clone(&node), accounts.clone(), control, stop.clone());
    ready(Ready { listen, accounts, usdt, genesis_id });

    // Whichever ends first ends the others.
    let http = connections::serve(listeners, connections::Limits::of_this_process(), router, stop.clone());
    let blocks = make_blocks(Arc::clone(&node), config.block_time, stop.clone());
    let watched = async {
        let _ends = stop.clone().drop_guard();
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            failure = node.failed() => Err(match failure {
                Failure::Write(error) => DevnetError::Write(error),
                Failure::Panic => DevnetError::Panic,
            }),
        }
    };
    let ((), (), watched) = tokio::join!(http, blocks, watched);
    node.close();
    watched
}

/// One block per interval, each at its own multiple of it: a late block does not delay the next. After a pause (a suspended
/// machine, time travel) the missed blocks are not made up for.
async fn make_blocks(node: Arc<Node>, interval: Option<Duration>, stop: CancellationToken) {
    let Some(interval) = interval else { return stop.cancelled().await };
    let step = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    loop {
        // Executing and writing a full block takes a while, so it has a thread of its own.
        let making = Arc::clone(&node);
        let due = match tokio::task::spawn_blocking(move || making.produce_when_due(step)).await {
            Ok(Ok(due)) => due,
            // Told by `Node::failed`, as is a panic.
            Ok(Err(_)) => return,
            Err(error) => {
                tracing::error!(%error, "devnet.block");
                node.now()
            }
        };
        let wait = Duration::from_millis(due.saturating_sub(node.now()).min(step));
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(Instant::now() + wait) => {}
        }
    }
}
