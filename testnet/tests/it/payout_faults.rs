//! Payouts of real processes under faults that are put exactly where they hurt: processes killed between two steps, workers
//! without any pusher, providers that lie or are silent. In the end the chain, read from its files, must have paid every account
//! what the ledger owes it, to the micro-USDT.
//!
//! Between nodes and the local TRON network stand [`Proxy`]s: where a step would be over too soon to be hit, they hold
//! the request or its answer, and the test goes on when they have it.

mod claim;
mod kills;
mod liars;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lucid_testnet::funding::VAULT_FUNDS;
use lucid_tron_bridge::client::{Client, ClientConfig, ClientError, TransactionInfo};
use lucid_tron_bridge::vault::VaultSnapshot;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{PayoutAddress, TxId};
use lucid_types::payout_tree::{AccountId, OwedAccount};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::harness::{Devnet, Ended, Network, PATIENCE, alone, lucid};
use crate::proxy::{self, Deed, Note, Proxy, Request, Sent};

/// Between two looks at what has no event.
const LOOK: Duration = Duration::from_millis(50);

/// A network whose nodes reach TRON through proxies.
struct Mesh {
    net: Network,
    /// By the name that [`Mesh::up`] was given.
    proxies: BTreeMap<&'static str, Proxy>,
    chain: Chain,
    vault: PayoutAddress,
    pool: String,
    _wrapper: TempDir,
}

/// Asks the local TRON network itself.
struct Chain {
    client: Client,
    runtime: Runtime,
}

impl Mesh {
    /// Starts a network. `proxies` are names of proxies; `providers` says for a node what its provider groups are, in which each
    /// name in braces stands for the proxy's URL. Every other node asks the network itself.
    fn up(arguments: &[&str], proxies: &[&'static str], providers: &[(&str, &str)]) -> Self {
        Self::up_with(arguments, proxies, providers, |_| {})
    }

    /// The same with rules that are in force before the nodes start.
    fn up_with(
        arguments: &[&str],
        proxies: &[&'static str],
        providers: &[(&str, &str)],
        rules: impl FnOnce(&BTreeMap<&'static str, Proxy>),
    ) -> Self {
        let alone = alone();
        let proxies: BTreeMap<_, _> = proxies.iter().map(|name| (*name, Proxy::start())).collect();
        rules(&proxies);
        let wrapper = TempDir::with_prefix("lucid-it-").unwrap();
        let executable = wrapper.path().join("lucid");
        std::fs::write(&executable, script(&proxies, providers)).unwrap();
        std::fs::set_permissions(&executable, PermissionsExt::from_mode(0o755)).unwrap();
        let mut net = Network::up_alone(&[arguments, &["--lucid", executable.to_str().unwrap()]].concat(), alone);
        let line = net.line("the local TRON network", |line| line.contains("local TRON network at "));
        let url = line.rsplit(' ').next().unwrap().to_owned();
        let upstream: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
        for proxy in proxies.values() {
            proxy.pass_to(upstream);
        }
        net.ready();
        let pool = net.node_status("validator-1")["pool"].as_str().map(|_| pool_id(&net)).unwrap();
        let vault = net.manifest()["tron"]["vault"].as_str().unwrap().parse().unwrap();
        Self { net, proxies, chain: Chain::at(&url), vault, pool, _wrapper: wrapper }
    }

    fn proxy(&self, name: &str) -> &Proxy {
        &self.proxies[name]
    }

    /// One rule for all proxies.
    fn rule(&self, rule: impl Fn(&Request) -> Deed + Clone + Send + Sync + 'static) {
        self.proxies.values().for_each(|proxy| proxy.rule(rule.clone()));
    }

    /// The first transaction about which something is noted, and the name of the proxy that it came to.
    #[track_caller]
    fn first(&self, what: &str, wanted: impl Fn(&Note, Sent) -> bool) -> (&'static str, Sent) {
        let (names, proxies): (Vec<_>, Vec<_>) = self.proxies.iter().map(|(name, proxy)| (*name, proxy)).unzip();
        proxy::first(&proxies, what, |i, note| {
            let sent = note.request.sent?;
            wanted(note, sent).then(|| (names[i], sent))
        })
    }

    /// Waits until a block includes a batch that was held up. It pays, unless a newer root came before it.
    #[track_caller]
    fn included_at_last(&self, sent: Sent) {
        let info = until("the batch in a block", || self.chain.receipt(&sent.tx_id));
        let posted = self.chain.vault(&self.vault, &[]).settlement;
        assert!(info.is_success() || posted > sent.settlement, "{info:?}");
    }

    fn kill(&self, name: &str) {
        self.net.command(&["kill", name]);
        assert!(self.pid(name).is_none(), "{name} still runs");
    }

    fn start(&self, name: &str) {
        self.net.command(&["start", name]);
    }

    /// The process of a node, or of `tron`.
    fn pid(&self, name: &str) -> Option<i64> {
        let manifest = self.net.manifest();
        let entries = manifest["nodes"].as_array().unwrap().iter().chain([&manifest["tron"]]);
        entries.into_iter().find(|entry| entry["name"] == name).unwrap()["pid"].as_i64()
    }

    fn home(&self, name: &str) -> PathBuf {
        self.net.dir().join(name)
    }

    /// What the API of a node answers.
    fn get(&self, name: &str, at: &str) -> Value {
        let manifest = self.net.manifest();
        let node = manifest["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap();
        let address = node["api"].as_str().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(format!("GET {at} HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap_or_else(|_| panic!("{at}: {answer}"))
    }

    /// The pool as a node shows it.
    fn pool(&self, name: &str) -> Value {
        self.get(name, &format!("/api/v1/pools/{}", self.pool))
    }

    /// Waits until validator-1 has the payout root of a settlement, and returns the ledger with its leaves.
    fn ledger(&self, settlement: u64) -> Value {
        until("the settlement", || (self.pool("validator-1")["settled"].as_u64()? >= settlement).then_some(()));
        self.get("validator-1", &format!("/api/v1/pools/{}/root?settlement={settlement}", self.pool))
    }

    /// Waits for the end of the run, which must be a good one, and compares the chain with the ledger of the last settlement.
    #[track_caller]
    fn end(mut self, ledger: &Value) {
        self.net.line("the end", |line| line.contains("stopped    "));
        let books = Books::read(&self.net.dir(), ledger);
        let Ended { status, report, lines } = self.net.end();
        assert!(status.success(), "{}", lines.join("\n"));
        let report = report.unwrap();
        let payouts = report["payouts"].as_array().unwrap();
        assert!(payouts.iter().all(|payout| payout["status"] == "paid"), "{report}");
        books.check();
    }
}

/// `lucid` for the testnet: nodes of these names run with these providers.
fn script(proxies: &BTreeMap<&str, Proxy>, providers: &[(&str, &str)]) -> String {
    let lucid = lucid();
    let lucid = lucid.to_str().unwrap();
    let mut script = "#!/bin/sh\nif [ \"$1\" = run ]; then\n    case \"${3##*/}\" in\n".to_owned();
    for (node, groups) in providers {
        let groups = proxies
            .iter()
            .fold((*groups).to_owned(), |groups, (name, proxy)| groups.replace(&format!("{{{name}}}"), &proxy.url));
        script.push_str(&format!("    {node}) exec '{lucid}' \"$@\" --set 'tron.providers={groups}' ;;\n"));
    }
    script.push_str(&format!("    esac\nfi\nexec '{lucid}' \"$@\"\n"));
    script
}

/// The id of the only pool: any payout or election names it, the genesis does not.
fn pool_id(net: &Network) -> String {
    let output = Command::new(lucid())
        .args(["pool", "show", "--json", "--home"])
        .arg(net.dir().join("validator-1"))
        .output()
        .unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    shown["pool"].as_str().unwrap().to_owned()
}

/// Asks until there is an answer.
#[track_caller]
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(LOOK);
    }
}

impl Chain {
    fn at(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { client: Client::new(ClientConfig::new(url, None)).unwrap(), runtime }
    }

    fn ask<T>(&self, question: impl Future<Output = Result<T, ClientError>>) -> T {
        self.runtime.block_on(question).unwrap()
    }

    /// The receipt of a transaction that a block includes, solidified or not.
    fn receipt(&self, tx_id: &TxId) -> Option<TransactionInfo> {
        self.ask(self.client.transaction_info(tx_id))
    }

    /// Waits until a transaction has been carried out.
    #[track_caller]
    fn carried_out(&self, tx_id: &TxId) -> TransactionInfo {
        let info = until("a transaction in a block", || self.receipt(tx_id));
        assert!(info.is_success(), "{info:?}");
        info
    }

    fn vault(&self, vault: &PayoutAddress, ids: &[AccountId]) -> VaultSnapshot {
        self.ask(self.client.head_vault_snapshot(vault, ids))
    }
}

/// What the ledger owes, and what a chain says that was paid.
#[derive(Debug)]
struct Books {
    owed: Vec<OwedAccount>,
    paid: BTreeMap<AccountId, MicroUsdt>,
    balances: BTreeMap<PayoutAddress, MicroUsdt>,
    /// Of those who pushed or claimed.
    fees: Vec<MicroUsdt>,
    vault: VaultSnapshot,
}

impl Books {
    /// Reads the files of a network that has ended, with a process of its own.
    fn read(dir: &Path, ledger: &Value) -> Self {
        let files = dir.join("tron/chain");
        let again = ["--block-time", "1s", "--solid-lag", "3", "--no-usdt", "--dir", files.to_str().unwrap()];
        let devnet = Devnet::start(&again);
        let chain = Chain::at(devnet.url());
        let genesis: Value = toml::from_str(&std::fs::read_to_string(dir.join("genesis.toml")).unwrap()).unwrap();
        let address = |value: &Value| value.as_str().unwrap().parse::<PayoutAddress>().unwrap();
        let vault = address(&genesis["pool"][0]["vault"]["address"]);
        let usdt = address(&genesis["tron"]["usdt"]);
        let owed = accounts(ledger);
        let ids: Vec<_> = owed.iter().map(|account| account.id).collect();
        // Its blocks go on: all that was sent is in one, and that is the head.
        let vault = chain.vault(&vault, &ids);
        let balance = |of: &PayoutAddress| chain.ask(chain.client.token_balance(&usdt, of));
        let gas = genesis["worker"].as_array().unwrap().iter().map(|worker| address(&worker["gas_address"]));
        Self {
            paid: vault.paid.iter().map(|(id, paid)| (*id, *paid)).collect(),
            balances: owed.iter().map(|account| (account.to, balance(&account.to))).collect(),
            fees: gas.map(|gas| balance(&gas)).collect(),
            owed,
            vault,
        }
    }

    #[track_caller]
    fn check(&self) {
        let sum = |amounts: Vec<MicroUsdt>| MicroUsdt::sum(amounts).unwrap();
        let owed = sum(self.owed.iter().map(|account| account.owed).collect());
        assert!(owed > MicroUsdt::ZERO && self.owed.len() > 1, "{self:?}");
        for account in &self.owed {
            assert_eq!(self.paid[&account.id], account.owed, "{} {self:?}", account.id);
            assert_eq!(self.balances[&account.to], account.owed, "{} {self:?}", account.to);
        }
        let fees = sum(self.fees.clone());
        assert_eq!((self.vault.paid_out, self.vault.fees_paid), (owed, fees), "{self:?}");
        assert!(fees > MicroUsdt::ZERO, "{self:?}");
        assert_eq!(sum(vec![owed, fees, self.vault.funds]), VAULT_FUNDS, "{self:?}");
    }
}

/// The leaves of a ledger.
fn accounts(ledger: &Value) -> Vec<OwedAccount> {
    let leaves = ledger["accounts"].as_array().unwrap_or_else(|| panic!("{ledger}")).iter();
    leaves
        .map(|leaf| OwedAccount {
            id: leaf["id"].as_str().unwrap().parse().unwrap(),
            to: leaf["to"].as_str().unwrap().parse().unwrap(),
            owed: MicroUsdt::new(leaf["owed_micro_usdt"].as_u64().unwrap()),
        })
        .collect()
}
