//! How often nodes ask their TRON provider while payouts are made, as the provider itself counted.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use lucid_tron_types::abi::selector;
use serde_json::Value;

use crate::harness::Network;

const BROADCAST: &str = "/wallet/broadcasthex";
/// Calls whose estimates belong to the transactions that are sent.
const SENT: [&str; 2] = [
    "postRoot(uint64,bytes32,uint64,uint64,(address,uint64),bytes)",
    "payRange(uint64,uint256,(bytes32,address,uint64)[],bytes32[])",
];
/// Settlements that are paid while requests are counted.
const SETTLEMENTS: u64 = 3;

/// What the local TRON network counted up to a time.
struct Counted {
    /// Milliseconds.
    now: u64,
    blocks: u64,
    clients: BTreeMap<String, BTreeMap<String, u64>>,
}

/// What a client asked in a while.
#[derive(Debug, Default)]
struct Asked {
    broadcasts: u64,
    estimates: u64,
    others: u64,
}

/// An answer to one request under an API key.
fn ask(host: &str, key: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nhost: {host}\r\ntron-pro-api-key: {key}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

impl Counted {
    fn read(host: &str) -> Self {
        let answer: Value = serde_json::from_str(&ask(host, "test", "/admin/requests")).unwrap();
        let calls = |client: &Value| serde_json::from_value(client["calls"].clone()).unwrap();
        let clients = answer["clients"].as_object().unwrap().iter();
        let clients = clients.map(|(name, client)| (name.clone(), calls(client))).collect();
        Self { now: answer["now"].as_u64().unwrap(), blocks: answer["blocks"].as_u64().unwrap(), clients }
    }

    fn asked_since(&self, before: &Self, client: &str) -> Asked {
        let estimates =
            SENT.map(|function| format!("/wallet/triggerconstantcontract {}", hex::encode(selector(function))));
        let mut asked = Asked::default();
        for (call, n) in self.clients.get(client).into_iter().flatten() {
            let old = before.clients.get(client).and_then(|calls| calls.get(call)).copied().unwrap_or(0);
            let kind = match call {
                call if call == BROADCAST => &mut asked.broadcasts,
                call if estimates.contains(call) => &mut asked.estimates,
                _ => &mut asked.others,
            };
            *kind += n - old;
        }
        asked
    }

    /// What a client may ask meanwhile beside broadcasts and the estimates of what it sends: two requests a second, and one for
    /// every block.
    fn bound_since(&self, before: &Self) -> u64 {
        2 * (self.now - before.now).div_ceil(1_000) + (self.blocks - before.blocks)
    }
}

/// Names of those who asked for more than they may, or sent transactions without end.
fn immoderate(before: &Counted, after: &Counted) -> Vec<String> {
    let names = after.clients.keys();
    let is_over = |name: &&String| {
        let asked = after.asked_since(before, name);
        // An estimate that is not answered in time is made again, but seldom.
        asked.others > after.bound_since(before) || asked.estimates > 2 * (asked.broadcasts + 5)
    };
    names.filter(is_over).cloned().collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "figures for docs/src/numbers.md, shown with --nocapture")]
fn nodes_ask_their_provider_about_once_a_block_however_much_is_paid() {
    let mut network = Network::up(&["--epoch-length", "2s"]);
    network.ready();
    let manifest = network.manifest();
    let host = manifest["tron"]["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let first = Counted::read(&host);
    for settlement in 1..=SETTLEMENTS {
        let paid = format!("ok paid       settlement {settlement}:");
        network.line("a settlement that is paid", |line| line.starts_with(&paid));
    }
    let last = Counted::read(&host);
    let nodes = manifest["nodes"].as_array().unwrap();
    let mut n_broadcasts = 0;
    for node in nodes {
        let name = node["name"].as_str().unwrap();
        let asked = last.asked_since(&first, name);
        println!("{name}: {asked:?} of {}", last.bound_since(&first));
        assert!(asked.others > 0, "{name} reads the vault");
        n_broadcasts += asked.broadcasts;
    }
    assert!(n_broadcasts >= 2 * SETTLEMENTS, "a root and a batch for each settlement");
    let is_node = |name: &String| nodes.iter().any(|node| node["name"] == **name);
    let over: Vec<_> = immoderate(&first, &last).into_iter().filter(is_node).collect();
    assert_eq!(over, Vec::<String>::new());

    // A client that asks for each of its transactions is over the bound: the count is not blind.
    let before = Counted::read(&host);
    let mut n_asked = 0;
    while Counted::read(&host).bound_since(&before) >= n_asked {
        (0..10).for_each(|_| drop(ask(&host, "one-by-one", "/wallet/gettransactioninfobyid?value=00")));
        n_asked += 10;
    }
    let after = Counted::read(&host);
    let asked = after.asked_since(&before, "one-by-one");
    assert_eq!(asked.others, n_asked);
    let bound = after.bound_since(&before);
    assert!(immoderate(&before, &after).contains(&"one-by-one".to_owned()), "{asked:?} of {bound}");
}
