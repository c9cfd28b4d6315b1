//! Running the network: listening, making blocks on time, stopping.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use revm::primitives::Address;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::api::{self, Powers};
use crate::chain::Refusal;
use crate::listen::StoppingListener;
use crate::node::{Failure, Node, now};
use crate::start::{Started, start};
use crate::store::StoreError;
use crate::wallet::Wallet;

/// What network to run.
#[derive(Clone, Debug)]
pub struct DevnetConfig {
    /// Where the HTTP API listens; port 0 takes a free one.
    pub listen: SocketAddr,
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
    /// Serves `/devnet/*`: faults, time travel and other powers that no network gives.
    pub control: bool,
}

impl Default for DevnetConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
            block_time: Some(Duration::from_secs(3)),
            solid_lag: 19,
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
    /// The address that was bound.
    pub listen: SocketAddr,
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
    #[error("listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The HTTP server ended by itself.
    #[error("serve HTTP")]
    Serve(#[source] std::io::Error),
    /// The token needs an account.
    #[error("the test USDT needs at least one funded account")]
    NoAccount,
    /// The network's file.
    #[error("keep the network on disk")]
    Store(#[source] StoreError),
    /// The network's file could no longer be written while it ran.
    #[error("keep the network on disk")]
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
    /// The token's deployment was refused.
    #[error("deploy the test USDT")]
    DeployUsdt(#[source] Refusal),
}

/// Runs a network until `stop` is cancelled. `ready` is called once, when the API can be reached; the token, if asked for,
/// is in the head by then.
pub async fn serve(
    config: DevnetConfig,
    stop: CancellationToken,
    ready: impl FnOnce(Ready) + Send,
) -> Result<(), DevnetError> {
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| DevnetError::Listen { address: config.listen, source })?;
    let listen = listener.local_addr().map_err(DevnetError::Serve)?;
    let Started { chain, log, usdt } = start(&config, now())?;
    let accounts = (0..config.accounts).map(|i| Wallet::derive(&config.seed, i)).collect();
    let genesis_id = chain.genesis_id().0;
    let owner = Wallet::derive(&config.seed, 0);
    let node = Arc::new(Node::with_log(chain, log, config.block_time.is_none()));
    let powers = config.control.then(|| Powers::new(usdt.map(|usdt| (owner, usdt))));
    tracing::info!(%listen, "devnet.ready");
    ready(Ready { listen, accounts, usdt, genesis_id });

    // Whichever ends first ends the others.
    let listener = StoppingListener::new(listener, stop.clone());
    let http = axum::serve(listener, api::router(Arc::clone(&node), powers, stop.clone()))
        .with_graceful_shutdown(stop.clone().cancelled_owned());
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
    let served = async {
        let _ends = stop.clone().drop_guard();
        http.await.map_err(DevnetError::Serve)
    };
    let (served, (), watched) = tokio::join!(served, blocks, watched);
    node.close();
    served.and(watched)
}

/// One block per interval, each at its own multiple of it: a late block does not delay the next.
async fn make_blocks(node: Arc<Node>, interval: Option<Duration>, stop: CancellationToken) {
    let Some(interval) = interval else { return stop.cancelled().await };
    let step = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut due = (node.now() / step).saturating_add(1).saturating_mul(step);
    loop {
        let wait = Duration::from_millis(due.saturating_sub(node.now()).min(step));
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(Instant::now() + wait) => {}
        }
        // Executing and writing a full block takes a while, so it has a thread of its own.
        let making = Arc::clone(&node);
        match tokio::task::spawn_blocking(move || making.produce(due)).await {
            Ok(Ok(_)) => {}
            // Told by `Node::failed`, as is a panic.
            Ok(Err(_)) => return,
            Err(error) => tracing::error!(%error, "devnet.block"),
        }
        // After a pause (a suspended machine, time travel) the missed blocks are not made up for.
        due = due.saturating_add(step).max((node.now() / step).saturating_mul(step));
    }
}
