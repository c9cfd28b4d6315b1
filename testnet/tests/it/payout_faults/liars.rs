//! Providers that lie in every answer, and one that gives none.
#![expect(clippy::print_stdout, reason = "how long things took is worth knowing")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lucid_tron_types::abi::{Word, selector, word_of};
use serde_json::{Value, json};

use super::Mesh;
use crate::books::accounts;
use crate::harness::until;
use crate::proxy::{Deed, Fate, Kind, Lie, Proxy, Request};
use crate::vault_cli::{json as answer, run};

const WORKERS: [&str; 3] = ["worker-1", "worker-2", "worker-3"];
/// For one request of a node or of the command line to a provider.
const TIMEOUT: Duration = Duration::from_secs(10);
/// For everything else on a busy machine.
const SLACK: Duration = Duration::from_secs(3);
/// Words of a vault's snapshot before what accounts have been paid, and which of them has the sum.
const HEAD_WORDS: usize = 33;
const PAID_OUT: usize = 21;

/// Tells that every account has been paid `paid`, no vault ever did anything, and whatever was done has failed; also, if that is
/// wanted, of a network that stands still, in which nobody has any TRX.
fn lie(paid: u64, stands_still: bool) -> Lie {
    let old: Mutex<BTreeMap<String, Value>> = Mutex::default();
    Arc::new(move |request, answer| {
        let call = request.path.rsplit('/').next().unwrap_or_default();
        match call {
            // Somebody who shows another block 0 is not listened to at all.
            "getblock" if request.body["id_or_num"] == "0" => false,
            "getblock" if stands_still => {
                let mut old = old.lock().unwrap();
                let first = old.entry(request.path.clone()).or_insert_with(|| answer.clone());
                let is_changed = first != answer;
                answer.clone_from(first);
                is_changed
            }
            "triggerconstantcontract" => lie_about_payments(request, answer, paid),
            "gettransactioninfobyblocknum" => answer.as_array_mut().is_some_and(|all| !std::mem::take(all).is_empty()),
            "gettransactioninfobyid" if answer["receipt"]["result"] == "SUCCESS" => {
                answer["receipt"]["result"] = json!("REVERT");
                answer["result"] = json!("FAILED");
                true
            }
            "getaccount" if stands_still && answer["balance"].is_number() => {
                answer["balance"] = json!(0);
                true
            }
            _ => false,
        }
    })
}

fn lie_about_payments(request: &Request, answer: &mut Value, paid: u64) -> bool {
    let data = request.body["data"].as_str().unwrap_or_default();
    if !data.starts_with(&hex::encode(selector("snapshot(bytes32[])"))) {
        return false;
    }
    let Some(result) = answer["constant_result"][0].as_str().and_then(|text| hex::decode(text).ok()) else {
        return false;
    };
    let mut words: Vec<Word> = result.as_chunks().0.to_vec();
    let (paid_out, accounts) = (words[PAID_OUT], words.iter_mut().skip(HEAD_WORDS));
    accounts.for_each(|word| *word = word_of(paid));
    words[PAID_OUT] = if paid == 0 { paid_out } else { word_of(paid) };
    let told = hex::encode(words.as_flattened());
    let is_changed = answer["constant_result"][0] != told.as_str();
    answer["constant_result"][0] = json!(told);
    is_changed
}

/// Takes transactions and throws them away, and lies about all else.
fn liar(lie: Lie) -> impl Fn(&Request) -> Deed + Clone + Send + Sync {
    move |request| match request.sent {
        Some(sent) => Deed::Forge(json!({ "result": true, "txid": sent.tx_id.to_string() }).to_string()),
        None => Deed::Change(Arc::clone(&lie)),
    }
}

fn n_lies(proxy: &Proxy) -> usize {
    let is_lie = |fate: &Fate| matches!(fate, Fate::Answered { is_changed: true, .. });
    proxy.notes().iter().filter(|note| is_lie(&note.fate)).count()
}

#[test]
fn lying_and_silent_providers_cost_time_and_are_told() {
    // Of each worker, the first of two groups will lie.
    let providers = WORKERS.map(|name| (name, format!("{{{name}}},{{honest}}")));
    let mut providers: Vec<_> = providers.iter().map(|(name, groups)| (*name, groups.as_str())).collect();
    providers.push(("validator-1", "{silent}|{second}"));
    let arguments = ["--validators", "1", "--workers", "3", "--epoch-length", "2s", "--settle-every", "3"];
    let proxies = [&WORKERS[..], &["honest", "silent", "second"]].concat();
    let silent = |_: &Request| Deed::Hold;
    let mesh = Mesh::up_with(&[&arguments[..], &["--epochs", "34"]].concat(), &proxies, &providers, |proxies| {
        proxies["silent"].rule(silent);
        for name in WORKERS {
            proxies[name].rule(liar(lie(1 << 50, true)));
        }
    });
    let command_line = status_through(&mesh);
    let manifest = mesh.net.manifest();

    // Everything has been paid, they say. The elected leader believes that; its successor is told the truth, and pays.
    let ledger = mesh.ledger(mesh.net.first_settlement(3));
    let election = mesh.pool("validator-1")["election"].clone();
    let name_of = |node: &Value| {
        let nodes = manifest["nodes"].as_array().unwrap().iter();
        let found = nodes.filter(|entry| entry["node_id"] == *node).find_map(|entry| entry["name"].as_str());
        WORKERS.into_iter().find(|name| found == Some(name)).unwrap()
    };
    let (leader, successor) = (name_of(&election["leader"]), name_of(&election["successors"][0]));
    let lies = n_lies(mesh.proxy(leader));
    mesh.proxy(successor).rule(|_| Deed::Pass);
    let owed = accounts(&ledger);
    let ids: Vec<_> = owed.iter().map(|account| account.id).collect();
    let started = Instant::now();
    until("the successor's payments", || {
        let seen = mesh.chain.vault(&mesh.vault, &ids);
        owed.iter().all(|account| seen.paid_of(&account.id) >= Some(account.owed)).then_some(())
    });
    println!("paid {:?} after the settlement, by the successor", started.elapsed());
    assert!(n_lies(mesh.proxy(leader)) > lies, "it went on to lie");
    told_everywhere(&mesh, leader);
    failed_over_in_one_time_out(&mesh, command_line);

    // Now nobody has ever been paid, and what is done fails, they say, and all workers hear it.
    for name in WORKERS {
        mesh.proxy(name).rule(liar(lie(0, false)));
    }
    let next = mesh.chain.vault(&mesh.vault, &[]).settlement + 1;
    let owed = accounts(&mesh.ledger(next));
    until("payments in spite of the lies", || {
        let seen = mesh.chain.vault(&mesh.vault, &ids);
        owed.iter().all(|account| seen.paid_of(&account.id) >= Some(account.owed)).then_some(())
    });
    let n_batches = WORKERS.iter().flat_map(|name| mesh.proxy(name).notes());
    let n_batches = n_batches.filter(|note| note.request.sent.is_some_and(|sent| sent.kind == Kind::Batch)).count();
    println!("{n_batches} batches were sent until then, {:?} after the settlement", started.elapsed());
    // What a liar makes a pusher send in vain costs TRX; that is bounded by pauses long before the day's limit.
    assert!(n_batches <= 30, "{n_batches}");

    for name in WORKERS {
        mesh.proxy(name).rule(|_| Deed::Pass);
    }
    let ledger = mesh.ledger(11);
    println!("{:?} after the settlement all settlements are made", started.elapsed());
    mesh.end(&ledger);
}

/// A contradiction between two groups is in the node's answers, its log, its metrics, and what the command line says.
fn told_everywhere(mesh: &Mesh, node: &str) {
    const WORD: &str = "contradict";
    let says = |alerts: &Value, word| {
        let alerts = alerts.as_array().unwrap_or_else(|| panic!("{alerts}")).iter();
        alerts.filter_map(Value::as_str).any(|alert| alert.contains(word))
    };
    let is_told = |alerts: &Value| says(alerts, WORD);
    // What keeps its own pusher from paying stands there, too.
    until("the pusher's alert", || says(&mesh.pool(node)["alerts"], "send it TRX").then_some(()));
    let started = Instant::now();
    until("the alert", || is_told(&mesh.pool(node)["alerts"]).then_some(()));
    println!("the contradiction is an alert after {:?}", started.elapsed());
    let home = mesh.home(node);
    let shown = answer(&run(&["pool", "show", "--json"], &["--home", home.to_str().unwrap()]));
    assert!(is_told(&shown["alerts"]), "{shown}");
    let [liar, honest] = [node, "honest"].map(|name| mesh.proxy(name).url.as_str());
    let shown = answer(&run(
        &["vault", "show", "--json", "--tron", liar, "--tron", honest],
        &["--home", home.to_str().unwrap()],
    ));
    assert!(is_told(&shown["warnings"]), "{shown}");
    let log = std::fs::read_to_string(home.join("node.log")).unwrap();
    assert!(log.contains(WORD), "{log}");
}

/// Asks for the network's status through the group with the silent endpoint, and tells how long that took.
fn status_through(mesh: &Mesh) -> JoinHandle<Duration> {
    let group = format!("{}|{}", mesh.proxy("silent").url, mesh.proxy("second").url);
    std::thread::spawn(move || {
        let started = Instant::now();
        let status = answer(&run(&["tron", "status", "--json"], &["--tron", &group, "--network", "local"]));
        assert_eq!(status["groups"][0]["error"], Value::Null, "{status}");
        started.elapsed()
    })
}

/// A node and the command line lose one time-out to a silent first endpoint, and no more.
fn failed_over_in_one_time_out(mesh: &Mesh, command_line: JoinHandle<Duration>) {
    let took = command_line.join().unwrap();
    println!("the command line answered after {took:?}");
    assert!(TIMEOUT - SLACK <= took && took <= TIMEOUT + SLACK, "{took:?}");
    let [silent, second] = ["silent", "second"].map(|name| mesh.proxy(name).notes());
    // The command line came first to neither: the node had been started before.
    let took = second[0].at.duration_since(silent[0].at);
    println!("the node failed over after {took:?}, {} requests to the silent one in all", silent.len());
    assert!(TIMEOUT - SLACK <= took && took <= TIMEOUT + SLACK, "{took:?}");
}
