//! Running the network: listening, making blocks on time, stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use revm::primitives::Address;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::chain::{Chain, Code, Genesis, Refusal};
use crate::node::{Node, now};
use crate::token;
use crate::wallet::{self, Validity, Wallet};

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
    /// Deploys the test USDT from account 0 in the first blocks.
    pub deploy_usdt: bool,
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
    let accounts: Vec<Wallet> = (0..config.accounts).map(|i| Wallet::derive(&config.seed, i)).collect();
    let interval = config.block_time.unwrap_or(Duration::from_secs(1));
    let step = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    // The genesis lies as far back as the blocks made before the start need.
    let genesis_time = now().saturating_sub(step.saturating_mul(2));
    let genesis = Genesis::seeded(&config.seed, config.accounts, config.balance, genesis_time, config.solid_lag);
    let mut chain = Chain::new(genesis);
    let usdt = if config.deploy_usdt {
        let deployer = accounts.first().ok_or(DevnetError::NoAccount)?;
        let at = deploy_usdt(&mut chain, deployer).map_err(DevnetError::DeployUsdt)?;
        chain.produce_block(genesis_time.saturating_add(step));
        Some(at)
    } else {
        None
    };
    let genesis_id = chain.genesis_id().0;
    let node = Arc::new(Node::new(chain, config.block_time.is_none()));
    tracing::info!(%listen, "devnet.ready");
    ready(Ready { listen, accounts, usdt, genesis_id });

    let http =
        axum::serve(listener, api::router(Arc::clone(&node))).with_graceful_shutdown(stop.clone().cancelled_owned());
    let blocks = make_blocks(node, config.block_time, stop.clone());
    let (served, ()) = tokio::join!(
        async {
            let served = http.await;
            stop.cancel();
            served
        },
        blocks
    );
    served.map_err(DevnetError::Serve)
}

/// One block per interval, each at its own multiple of it: a late block does not delay the next.
async fn make_blocks(node: Arc<Node>, interval: Option<Duration>, stop: CancellationToken) {
    let Some(interval) = interval else { return stop.cancelled().await };
    let step = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut due = (now() / step).saturating_add(1).saturating_mul(step);
    loop {
        let wait = Duration::from_millis(due.saturating_sub(now()));
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(Instant::now() + wait) => {}
        }
        let block = node.produce(due);
        tracing::debug!(number = block.number(), transactions = block.transactions.len(), "devnet.block");
        // After a pause (a suspended machine) the missed blocks are not made up for.
        due = due.saturating_add(step).max((now() / step).saturating_mul(step));
    }
}

/// Queues the token's deployment and answers where it will be.
fn deploy_usdt(chain: &mut Chain, deployer: &Wallet) -> Result<Address, Refusal> {
    let head = chain.head().block().clone();
    let validity = Validity::after(head.id.0, head.time(), 60_000);
    let message = wallet::create(
        deployer.address(),
        token::NAME,
        token::creation_code(token::INITIAL_SUPPLY),
        Some(token::abi()),
        0,
    );
    let (bytes, id) = wallet::signed(deployer, &message, 1_000_000_000, validity);
    let accepted = chain.submit(&bytes)?;
    if accepted.0 != id {
        return Err(Refusal { code: Code::OtherError, message: "another transaction id".to_owned() });
    }
    Ok(wallet::contract_address(&id, deployer.address()))
}
