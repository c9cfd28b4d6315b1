//! `lucid-testnet devnet`: a local TRON network in this process, and what it prints.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lucid_tron_devnet::{DevnetConfig, Ready, address, serve};
use tokio_util::sync::CancellationToken;

use crate::console::{Console, usdt};
use crate::duration;
use crate::interrupt::Interrupt;

/// The seed of the accounts' keys unless another is given.
pub const SEED: &str = "lucid";

/// What was asked for.
#[derive(Clone, Debug)]
pub struct DevnetOptions {
    /// The API's port on 127.0.0.1.
    pub port: u16,
    /// Time between blocks; `None` makes a block for each transaction.
    pub block_time: Option<Duration>,
    /// The solidified block is this many blocks behind the head.
    pub solid_lag: u64,
    /// Number of funded accounts.
    pub accounts: u32,
    /// Where the accounts' keys come from.
    pub seed: String,
    /// Whether account 0 deploys the test USDT first.
    pub usdt: bool,
    /// Where the network is kept; in memory without.
    pub dir: Option<PathBuf>,
    /// Whether `/devnet/*` is served.
    pub control: bool,
}

/// Runs the network until Ctrl-C or SIGTERM.
///
/// # Errors
/// The port is in use, or the server failed.
pub async fn devnet(options: &DevnetOptions) -> Result<()> {
    let mut interrupt = Interrupt::new().context("take over Ctrl-C")?;
    let config = DevnetConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, options.port)),
        block_time: options.block_time,
        solid_lag: options.solid_lag,
        accounts: options.accounts,
        seed: options.seed.clone(),
        deploy_usdt: options.usdt,
        dir: options.dir.clone(),
        control: options.control,
        ..DevnetConfig::default()
    };
    let balance = config.balance;
    let stop = CancellationToken::new();
    let console = Console::new(false);
    let running = serve(config, stop.clone(), |ready| console.plain(banner(&ready, balance, options)));
    let stopping = async {
        interrupt.wait().await;
        stop.cancel();
    };
    // The server ends once `stop` is cancelled, and by itself only when it fails.
    tokio::pin!(running, stopping);
    tokio::select! {
        done = &mut running => return done.context("run the local TRON network"),
        () = &mut stopping => {}
    }
    running.await.context("stop the local TRON network")
}

fn banner(ready: &Ready, balance: u64, options: &DevnetOptions) -> String {
    let mut text = String::from("Local TRON network\n\nAccounts\n");
    // Writing to a string cannot fail.
    for (i, wallet) in ready.accounts.iter().enumerate() {
        let _ = writeln!(text, "({i}) {} ({} TRX)", address::to_base58(wallet.address()), usdt(balance));
    }
    text.push_str("\nPrivate keys\n");
    for (i, wallet) in ready.accounts.iter().enumerate() {
        let _ = writeln!(text, "({i}) {}", hex::encode(wallet.secret()));
    }
    if let Some(contract) = ready.usdt {
        let _ =
            writeln!(text, "\nUSDT contract (6 decimals, all of it in account 0)\n{}", address::to_base58(contract));
    }
    let blocks = match options.block_time {
        Some(time) => format!("one every {}", duration::show(time)),
        None => "one for each transaction".to_owned(),
    };
    let _ = write!(
        text,
        "\nBlocks          {blocks}, solidified {} behind\nGenesis block   {}\nFull node API   http://{}\n",
        options.solid_lag,
        hex::encode(ready.genesis_id),
        ready.listen
    );
    if options.control {
        let _ = writeln!(text, "Control         http://{}/devnet/", ready.listen);
    }
    if let Some(dir) = &options.dir {
        let _ = writeln!(text, "Kept in         {}", dir.display());
    }
    text
}
