//! `lucid-testnet devnet`: a local TRON network in this process, and what it prints.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lucid_tron_devnet::server::LOOPBACK;
use lucid_tron_devnet::wallet::Wallet;
use lucid_tron_devnet::{DevnetConfig, DevnetError, Ready, address, serve};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::duration;
use crate::interrupt::Interrupt;

/// The seed of the accounts' keys unless another is given.
pub const SEED: &str = "lucid";
/// Sun in a TRX.
const SUN: u64 = 1_000_000;
/// What a block time can be.
const BLOCK_TIMES: std::ops::RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(3_600);

/// What was asked for.
#[derive(Clone, Debug)]
pub struct DevnetOptions {
    /// Where the API listens.
    pub host: Host,
    /// The API's port.
    pub port: u16,
    /// Time between blocks; `None` makes a block for each transaction.
    pub block_time: Option<Duration>,
    /// The solidified block is this many blocks behind the head.
    pub solid_lag: u64,
    /// Number of funded accounts.
    pub accounts: u32,
    /// TRX in each of them.
    pub balance: u64,
    /// Where the accounts' keys come from.
    pub seed: String,
    /// Whether account 0 deploys the test USDT first.
    pub usdt: bool,
    /// Where the network is kept; in memory without.
    pub dir: Option<PathBuf>,
    /// Whether `/devnet/*` is served.
    pub control: bool,
    /// What standard output says when the API answers.
    pub output: Output,
}

/// What the API listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(Vec<IpAddr>);

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("localhost") {
            return Ok(Self(LOOPBACK.to_vec()));
        }
        let address = text.parse().map_err(|_| "write an IP address of this machine, or localhost".to_owned())?;
        Ok(Self(vec![address]))
    }
}

/// How a network introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// For people.
    Text,
    /// One line of JSON.
    Json,
    /// Not at all.
    Nothing,
}

/// Reads a block time: a duration with its unit, or whole seconds without.
///
/// # Errors
/// Says what would be right.
pub fn block_time(text: &str) -> Result<Duration, String> {
    let seconds = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let time = if seconds { duration::parse(&format!("{text}s")) } else { duration::parse(text) }?;
    let (least, most) = BLOCK_TIMES.into_inner();
    if BLOCK_TIMES.contains(&time) {
        return Ok(time);
    }
    let (least, most) = (duration::show(least), duration::show(most));
    Err(format!("write {least} to {most}, or use --on-demand for a block at each transaction"))
}

/// Runs the network until Ctrl-C or SIGTERM.
///
/// # Errors
/// The port is in use, or the server failed.
pub async fn devnet(options: &DevnetOptions) -> Result<()> {
    let mut interrupt = Interrupt::new().context("take over Ctrl-C")?;
    let config = DevnetConfig {
        hosts: options.host.0.clone(),
        port: options.port,
        block_time: options.block_time,
        solid_lag: options.solid_lag,
        accounts: options.accounts,
        balance: options.balance.saturating_mul(SUN),
        seed: options.seed.clone(),
        deploy_usdt: options.usdt,
        dir: options.dir.clone(),
        control: options.control,
    };
    let stop = CancellationToken::new();
    let running = serve(config, stop.clone(), |ready| introduce(&ready, options));
    let stopping = async {
        interrupt.wait().await;
        stop.cancel();
    };
    // The server ends once `stop` is cancelled, and by itself only when it fails.
    tokio::pin!(running, stopping);
    tokio::select! {
        done = &mut running => return Ok(done?),
        () = &mut stopping => {}
    }
    running.await.context("stop the local TRON network")
}

/// What to do about an error.
pub fn hint(error: &DevnetError) -> Option<String> {
    match error {
        DevnetError::Listen { source, .. } => Some(match source.kind() {
            ErrorKind::AddrInUse => "choose another port with --port, or any free one with --port 0".to_owned(),
            ErrorKind::PermissionDenied => "the port is reserved; choose one above 1023 with --port".to_owned(),
            _ => "this machine cannot listen there; choose one of its addresses with --host".to_owned(),
        }),
        DevnetError::DeployUsdt { fee, .. } => Some(format!(
            "give the accounts --balance {} or more, or do without the token with --no-usdt",
            fee.div_ceil(SUN)
        )),
        _ => None,
    }
}

fn introduce(ready: &Ready, options: &DevnetOptions) {
    // A reader that has gone away is no reason to stop a network.
    let _ = match options.output {
        Output::Text => write!(std::io::stdout(), "{}", banner(ready, options)),
        Output::Json => writeln!(std::io::stdout(), "{}", summary(ready, options)),
        Output::Nothing => Ok(()),
    };
}

/// What a script needs to know.
fn summary(ready: &Ready, options: &DevnetOptions) -> serde_json::Value {
    let account = |wallet: &Wallet| {
        json!({
            "address": address::to_base58(wallet.address()),
            "hex": address::to_hex(wallet.address()),
            "key": hex::encode(wallet.secret()),
        })
    };
    json!({
        "url": url(ready),
        "accounts": ready.accounts.iter().map(account).collect::<Vec<_>>(),
        "balance_trx": options.balance,
        "usdt": ready.usdt.map(address::to_base58),
        "genesis_block": hex::encode(ready.genesis_id),
        "block_time_ms": options.block_time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        "solid_lag": options.solid_lag,
        "control": options.control,
    })
}

/// Where a client on this machine finds the API.
fn url(ready: &Ready) -> String {
    let Some(mut at) = ready.listen.first().copied() else { return String::new() };
    if at.ip().is_unspecified() {
        at.set_ip(if at.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    format!("http://{at}")
}

fn banner(ready: &Ready, options: &DevnetOptions) -> String {
    let mut text = format!("Local TRON network\n\nAccounts, {} TRX each at first\n", options.balance);
    // Writing to a string cannot fail.
    for (i, wallet) in ready.accounts.iter().enumerate() {
        let _ = writeln!(text, "({i}) {}", address::to_base58(wallet.address()));
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
    let solid = match options.solid_lag {
        0 => "at once".to_owned(),
        lag => format!("{lag} behind"),
    };
    let _ = writeln!(text, "\nBlocks          {blocks}, solidified {solid}");
    let _ = writeln!(text, "Genesis block   {}", hex::encode(ready.genesis_id));
    if let Some(dir) = &options.dir {
        let _ = writeln!(text, "Kept in         {}", dir.display());
    }
    if options.control {
        let _ = writeln!(text, "Control         {}/devnet/", url(ready));
    }
    let _ = writeln!(text, "Full node API   {}", url(ready));
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn ready(listen: &str) -> Ready {
        let accounts = vec![Wallet::derive(SEED, 0), Wallet::derive(SEED, 1)];
        let usdt = Some(accounts[1].address());
        Ready { listen: vec![listen.parse().unwrap()], accounts, usdt, genesis_id: [7; 32] }
    }

    fn options() -> DevnetOptions {
        DevnetOptions {
            host: Host(LOOPBACK.to_vec()),
            port: 0,
            block_time: Some(Duration::from_secs(3)),
            solid_lag: 2,
            accounts: 2,
            balance: 500,
            seed: SEED.to_owned(),
            usdt: true,
            dir: None,
            control: false,
            output: Output::Text,
        }
    }

    #[test]
    fn block_times_are_durations_or_seconds() {
        assert_eq!(block_time("1"), Ok(Duration::from_secs(1)));
        assert_eq!(block_time("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(block_time("60m"), Ok(Duration::from_secs(3_600)));
        for text in ["0", "0s", "49ms", "61m"] {
            assert!(block_time(text).unwrap_err().contains("--on-demand"), "{text}");
        }
        for text in ["", "-1", "1.5", "s", "99999999999999999999"] {
            assert!(block_time(text).unwrap_err().contains("5s"), "{text}");
        }
    }

    #[test]
    fn who_cannot_start_it_learns_what_to_do() {
        let told = |kind: ErrorKind| {
            let address = "127.0.0.1:9090".parse().unwrap();
            hint(&DevnetError::Listen { address, source: kind.into() }).unwrap()
        };
        assert!(told(ErrorKind::AddrInUse).contains("--port 0"));
        assert!(told(ErrorKind::PermissionDenied).contains("above 1023"));
        assert!(told(ErrorKind::AddrNotAvailable).contains("--host"));
        let told = hint(&DevnetError::DeployUsdt { balance: 10 * SUN, fee: 107_500_001 }).unwrap();
        assert!(told.contains("--balance 108 or more"), "{told}");
        assert_eq!(hint(&DevnetError::NoAccount), None);
    }

    #[test]
    fn localhost_is_both_loopback_addresses() {
        assert_eq!("localhost".parse(), Ok(Host(LOOPBACK.to_vec())));
        assert_eq!("::".parse(), Ok(Host(vec!["::".parse().unwrap()])));
        for text in ["", "elsewhere", "127.0.0.1:80"] {
            assert!(text.parse::<Host>().unwrap_err().contains("localhost"), "{text}");
        }
    }

    #[test]
    fn scripts_get_one_line_with_everything() {
        let summary = summary(&ready("0.0.0.0:9090"), &options());
        assert_eq!(summary["url"], "http://127.0.0.1:9090");
        assert_eq!(summary["accounts"][0]["address"], "TPz1cFQEQMXsRMKpnnALsxUBFTBthjyQD9");
        assert_eq!(summary["accounts"][0]["hex"], "4199b8aa933023e895792670c646b85d2791d15516");
        assert_eq!(summary["accounts"][1]["key"], "c2cfe6f10829ff533502f7b982041ecdf68e84656a21102ee0bda0727775f57e");
        assert_eq!(summary["usdt"], summary["accounts"][1]["address"]);
        assert_eq!((&summary["block_time_ms"], &summary["solid_lag"]), (&json!(3_000), &json!(2)));
        assert!(!summary.to_string().contains('\n'));
    }

    #[test]
    fn people_read_where_everything_is() {
        let text = banner(&ready("[::]:1"), &options());
        assert!(text.contains("Accounts, 500 TRX each at first\n(0) TPz1cFQEQMXsRMKpnnALsxUBFTBthjyQD9\n"), "{text}");
        assert!(text.contains("one every 3s, solidified 2 behind\n"), "{text}");
        assert!(text.ends_with("Full node API   http://[::1]:1\n"), "{text}");
        let on_demand = DevnetOptions { block_time: None, solid_lag: 0, control: true, ..options() };
        let text = banner(&ready("127.0.0.1:5"), &on_demand);
        assert!(text.contains("one for each transaction, solidified at once\n"), "{text}");
        assert!(text.contains("Control         http://127.0.0.1:5/devnet/\n"), "{text}");
    }
}
