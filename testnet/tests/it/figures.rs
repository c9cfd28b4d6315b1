//! What the documents promise of a local network in figures, taken with no other network beside it: how soon epochs are final, and
//! how often nodes ask their TRON provider while payouts are made, as the provider itself counted.

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_tron_types::abi::selector;
use serde_json::Value;

use crate::harness::{Network, http_get, now_ms, until};

const BROADCAST: &str = "/wallet/broadcasthex";
/// Calls whose estimates belong to the transactions that are sent.
const SENT: [&str; 2] = [
    "postRoot(uint64,bytes32,uint64,uint64,(address,uint64),bytes)",
    "payRange(uint64,uint256,(bytes32,address,uint64)[],bytes32[])",
];
/// Settlements that are paid while requests are counted, one for each epoch.
const SETTLEMENTS: u64 = 3;
const PAID: usize = 3;
/// From the genesis time until the first epoch is decided, which lasts 5 s.
const FIRST_EPOCH: Duration = Duration::from_secs(7);
/// From an epoch's end until its scores are final.
const SCORES: Duration = Duration::from_secs(2);

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
    http_get(host, path, &format!("tron-pro-api-key: {key}\r\n")).unwrap()
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

/// Looks from the start of epoch 1 on when the next epochs are final on a node. Returns how long after each one's end they were, and
/// how long the blocks' own times say.
fn lateness(network: &Network, epochs: u64) -> (Vec<Duration>, Vec<Duration>) {
    let of = |epoch: u64| {
        until(&format!("epoch {epoch}"), || {
            (network.status_number("validator-1", "final_epoch")? >= epoch).then_some(())
        });
        let seen = now_ms();
        let view = network.get("validator-1", &format!("/api/v1/epochs/{epoch}"));
        let (end, time) = (view["end"].as_u64().unwrap(), view["block"]["time"].as_u64().unwrap());
        assert_eq!(view["stage"], "final", "{view}");
        (Duration::from_millis(seen - end), Duration::from_millis(time - end))
    };
    (1..=epochs).map(of).unzip()
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

#[test]
#[expect(clippy::print_stdout, reason = "figures for docs/src/numbers.md, shown with --nocapture")]
fn epochs_are_final_soon_and_nodes_ask_their_provider_about_once_a_block_however_much_is_paid() {
    let mut network = Network::up_alone(&["--epoch-length", "5s", "--settle-every", "1"]);
    network.ready();
    let manifest = network.manifest();
    let host = manifest["tron"]["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let first = Counted::read(&host);
    let (seen, decided) = lateness(&network, SETTLEMENTS);
    println!("scores seen after their epochs' ends: {seen:?}, their blocks' times: {decided:?}");
    let epoch = Duration::from_secs(5);
    assert!(epoch + seen[0] <= FIRST_EPOCH, "{seen:?}");
    assert!(median(&seen) <= SCORES, "{seen:?}");
    // Before that nobody is measured.
    for settlement in (network.first_settlement(1)..).take(PAID) {
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
