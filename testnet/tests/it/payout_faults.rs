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
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use lucid_types::id::PayoutAddress;
use serde_json::Value;
use tempfile::TempDir;

use crate::books::{Books, Chain};
use crate::harness::{Ended, Network, lucid, room, until};
use crate::proxy::{self, Deed, Note, Proxy, Request, Sent};

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
        let place = room();
        let proxies: BTreeMap<_, _> = proxies.iter().map(|name| (*name, Proxy::start())).collect();
        rules(&proxies);
        let wrapper = TempDir::with_prefix("lucid-it-").unwrap();
        let executable = wrapper.path().join("lucid");
        std::fs::write(&executable, script(&proxies, providers)).unwrap();
        std::fs::set_permissions(&executable, PermissionsExt::from_mode(0o755)).unwrap();
        let mut net = Network::up_in(place, &[arguments, &["--lucid", executable.to_str().unwrap()]].concat());
        let line = net.line("the local TRON network", |line| line.contains("local TRON network at "));
        let url = line.rsplit(' ').next().unwrap().to_owned();
        let upstream: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
        for proxy in proxies.values() {
            proxy.pass_to(upstream);
        }
        net.ready();
        let pool = net.pool_id();
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
        self.net.kill(&[name]);
    }

    fn start(&self, name: &str) {
        self.net.start_again(&[name]);
    }

    fn home(&self, name: &str) -> PathBuf {
        self.net.home(name)
    }

    /// What the API of a node answers.
    #[track_caller]
    fn get(&self, name: &str, at: &str) -> Value {
        self.net.get(name, at)
    }

    /// The pool as a node shows it.
    fn pool(&self, name: &str) -> Value {
        self.get(name, &format!("/api/v1/pools/{}", self.pool))
    }

    /// Waits until validator-1 has settled a settlement, and returns the newest payout root up to it, with its leaves.
    fn ledger(&self, settlement: u64) -> Value {
        self.net.ledger(&self.pool, settlement)
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
    let mut script = "#!/bin/sh\nif [ \"$1\" = run ] || [ \"$1\" = join ]; then\n    case \"${3##*/}\" in\n".to_owned();
    for (node, groups) in providers {
        let groups = proxies
            .iter()
            .fold((*groups).to_owned(), |groups, (name, proxy)| groups.replace(&format!("{{{name}}}"), &proxy.url));
        script.push_str(&format!("    {node}) exec '{lucid}' \"$@\" --set 'tron.providers={groups}' ;;\n"));
    }
    script.push_str(&format!("    esac\nfi\nexec '{lucid}' \"$@\"\n"));
    script
}
