//! A run from nothing to paid workers.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use lucid_testnet::funding::VAULT_FUNDS;
use lucid_testnet::report::{Report, VaultFigures};
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{BlockHash, TxId};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Ended, Network, all_gone, errors, lucid};

/// What six workers get in a settlement: the local pool's budget less a push fee for each of them.
const SHARED: u64 = 120_000_000 - 6 * 10_000;

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The files of a running network: who knows whom, and where secrets lie.
fn check_homes(network: &Network) {
    let dir = network.dir();
    let manifest = network.manifest();
    let nodes = manifest["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 10);
    let bootstrap = nodes[0]["peer_id"].as_str().unwrap();
    let peer_ids: Vec<_> = nodes.iter().map(|node| node["peer_id"].as_str().unwrap()).collect();
    for (i, node) in nodes.iter().enumerate() {
        let home = Path::new(node["home"].as_str().unwrap());
        check_key(&home.join("node.key"), true);
        // Two of three sign unless more is asked for.
        check_key(&home.join("treasury.key"), i < 3);
        for key in ["payout.key", "gas.key"] {
            check_key(&home.join(key), node["roles"][0] == "worker");
        }
        // Every configuration but the bootstrap node's names the bootstrap node, and nobody else.
        let config = std::fs::read_to_string(home.join("config.toml")).unwrap();
        let named: Vec<_> = peer_ids.iter().filter(|peer| config.contains(**peer)).collect();
        assert_eq!(named, if i == 0 { vec![] } else { vec![&bootstrap] }, "{home:?}");
        assert_eq!(std::fs::read(home.join("genesis.toml")).unwrap(), std::fs::read(dir.join("genesis.toml")).unwrap());
    }
    for key in ["node.key", "vault-owner.key"] {
        check_key(&dir.join("owner").join(key), true);
    }
    assert!(manifest["tron"]["vault"].as_str().unwrap().starts_with('T'), "{manifest}");
}

fn check_key(path: &Path, is_there: bool) {
    assert_eq!(path.exists(), is_there, "{path:?}");
    assert!(!is_there || mode(path) == 0o600, "{path:?}");
}

fn check_status(network: &Network) {
    let status = network.node_status("worker-3");
    let documented = [
        "alerts",
        "key",
        "node_id",
        "oldest_block",
        "peer_id",
        "roles",
        "maintenance",
        "probe_traffic",
        "missing_key",
        "network_id",
        "peers",
        "height",
        "epoch",
        "final_epoch",
        "block_hash",
        "state_root",
        "sync",
        "pool",
        "leader",
        "owed_micro_usdt",
        "paid_micro_usdt",
        "enrolment",
        "api",
    ];
    assert_eq!(keys(&status), BTreeSet::from(documented));
    assert_eq!(status["network_id"], network.manifest()["network_id"]);
    assert_eq!(status["pool"], "local");
    assert_eq!(status["enrolment"]["step"], "entered");
    assert!(!network.home("worker-3").join("join.toml").exists());
    let table = network.command(&["status"]);
    assert_eq!(table.lines().count(), 12, "{table}");
    assert!(!table.contains("down"), "{table}");
}

/// A worker proves by its own node what it scored and was owed, to somebody who has the genesis and nothing else.
fn check_proofs(network: &Network) {
    // The last epoch of a settlement.
    let epoch = 2 * network.first_settlement(2);
    network.node_final_through("worker-3", epoch);
    let epoch = epoch.to_string();
    let elsewhere = TempDir::new().unwrap();
    let path = |name: &str| elsewhere.path().join(name).into_os_string().into_string().unwrap();
    let genesis = std::fs::read_to_string(network.dir().join("genesis.toml")).unwrap();
    std::fs::write(path("genesis.toml"), &genesis).unwrap();
    std::fs::write(path("other.toml"), genesis.replacen("name = \"", "name = \"not-", 1)).unwrap();
    let lucid =
        |home: &Path, arguments: &[&str]| Command::new(lucid()).arg("--home").arg(home).args(arguments).output();
    let (node, absent) = (network.node_id("worker-3"), network.node_id("validator-2"));
    for (what, told) in [
        (&["score", "--epoch", &epoch][..], format!("worker {node} has the score ")),
        (&["owed"], format!(" USDT in all to the worker {node} at T")),
        (&["account", &node[..8]], format!("worker {node} has the score ")),
        (&["owed", "--node", &absent], "owes nothing to the account ".to_owned()),
    ] {
        let file = path(&format!("{}.json", what.join("-")));
        let shown = lucid(&network.home("worker-3"), &[&["proof", "show"], what, &["--out", &file]].concat()).unwrap();
        assert!(shown.status.success(), "{what:?}: {}", errors(&shown));
        let verify =
            |genesis| lucid(Path::new(&path("none")), &["proof", "verify", &file, "--genesis", &path(genesis)]);
        let verified = verify("genesis.toml").unwrap();
        assert!(verified.status.success(), "{what:?}: {}", errors(&verified));
        let text = String::from_utf8(verified.stdout).unwrap();
        assert!(text.as_bytes() == shown.stdout && text.contains(&told), "{what:?}: {text}");
        let refused = verify("other.toml").unwrap();
        assert!(
            refused.status.code() == Some(1) && errors(&refused).contains("it is a proof of the network"),
            "{refused:?}"
        );
    }
}

/// The report against itself and the rules, without the code that judged it.
fn check_report(report: &Value, epochs: u64, first: u64, last: u64) {
    let epochs_of: Vec<_> = report["epochs"].as_array().unwrap().iter().map(|e| e["epoch"].as_u64().unwrap()).collect();
    assert_eq!(epochs_of, (1..=epochs).collect::<Vec<_>>());
    for epoch in report["epochs"].as_array().unwrap() {
        assert!((3..=4).contains(&epoch["signatures"].as_u64().unwrap()), "{epoch}");
    }
    let nodes = report["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 10);
    let held: BTreeSet<_> =
        nodes.iter().map(|n| (n["height"].as_u64(), n["block_hash"].as_str(), n["state_root"].as_str())).collect();
    assert_eq!(held.len(), 1, "{held:?}");

    let payouts = report["payouts"].as_array().unwrap();
    let mut paid: BTreeMap<&str, u64> = BTreeMap::new();
    for payout in payouts {
        assert_eq!(payout["status"], "paid", "{payout}");
        *paid.entry(payout["address"].as_str().unwrap()).or_default() += payout["amount_micro_usdt"].as_u64().unwrap();
    }
    let transactions: BTreeSet<_> = payouts.iter().map(|payout| payout["tx_id"].as_str().unwrap()).collect();
    assert!(transactions.len() < payouts.len(), "one transaction pays several workers");
    let of: BTreeSet<_> = payouts.iter().map(|payout| payout["settlement"].as_u64().unwrap()).collect();
    assert!((first..=last).all(|settlement| of.contains(&settlement)), "{of:?}");
    assert!(report["join"].as_str().unwrap().starts_with("lucid1"));
    let on_chain: BTreeMap<_, _> = report["balances"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| (b["address"].as_str().unwrap(), b["micro_usdt"].as_u64().unwrap()))
        .collect();
    assert_eq!(on_chain, paid, "what the chain says the workers hold is what the ledger paid them");
    assert_eq!(on_chain.len(), 6);
    // Six workers on one machine earn about alike, so no share lies below the threshold and nothing is carried.
    for settlement in first..=last {
        let of = payouts.iter().filter(|payout| payout["settlement"] == settlement);
        assert_eq!(of.map(|payout| payout["amount_micro_usdt"].as_u64().unwrap()).sum::<u64>(), SHARED, "{settlement}");
    }
}

/// Every change of a true report is noticed: the judge is not blind.
fn check_that_the_judge_sees(report: &Value) {
    let report: Report = serde_json::from_value(report.clone()).unwrap();
    let paid_out = MicroUsdt::sum(report.payouts.iter().map(|payout| payout.amount_micro_usdt)).unwrap();
    let funds = VAULT_FUNDS.saturating_sub(paid_out);
    let vault = VaultFigures { given: VAULT_FUNDS, funds, paid_out, fees_paid: MicroUsdt::ZERO };
    let last = report.epochs.last().map(|epoch| epoch.epoch);
    assert!(report.problems(&vault, last).is_empty());
    let changes: [fn(&mut Report); 6] = [
        |r| r.nodes[3].block_hash = BlockHash::from_bytes([7; 32]),
        |r| r.nodes[9].height += 1,
        |r| r.balances[2].micro_usdt = r.balances[2].micro_usdt.saturating_add(MicroUsdt::new(1)),
        |r| r.payouts[0].amount_micro_usdt = r.payouts[0].amount_micro_usdt.saturating_sub(MicroUsdt::new(1)),
        |r| drop(r.payouts.remove(1).tx_id.unwrap_or(TxId::from_bytes([0; 32])).to_string()),
        |r| drop(r.epochs.remove(2).epoch.to_string()),
    ];
    for (i, change) in changes.iter().enumerate() {
        let mut changed = report.clone();
        change(&mut changed);
        assert!(!changed.problems(&vault, last).is_empty(), "change {i} was not noticed");
    }
}

#[test]
fn ten_epochs_end_agreed_and_paid() {
    let mut network = Network::up(&["--epochs", "10", "--epoch-length", "2s"]);
    network.ready();
    let first = network.first_settlement(2);
    assert!(first < 5, "the run is too short");
    check_homes(&network);
    check_status(&network);
    check_proofs(&network);
    let (dir, pids) = (network.dir(), network.pids());
    assert_eq!(pids.len(), 11);
    // The folder goes with the network's handle, so look at what is left before.
    network.line("the end", |line| line.contains("stopped    "));
    assert!(!dir.join("testnet.json").exists() && !dir.join("control.sock").exists());
    all_gone(&pids);
    let Ended { status, report, lines } = network.end();
    assert!(status.success(), "{}", lines.join("\n"));
    for settlement in first..=5 {
        let paid = format!("ok paid       settlement {settlement}: 119.94 USDT to 6 by transaction");
        assert_eq!(lines.iter().filter(|line| line.starts_with(&paid)).count(), 1, "{}", lines.join("\n"));
    }
    let included = lines.iter().filter(|line| line.contains("first transfer included ")).count();
    assert_eq!(included, 1, "{}", lines.join("\n"));
    let report = report.unwrap();
    check_report(&report, 10, first, 5);
    check_that_the_judge_sees(&report);
}

#[test]
fn late_workers_join_by_the_string_and_are_measured_and_paid() {
    let arguments = ["--validators", "3", "--workers", "1", "--late", "1", "--epoch-length", "2s", "--epochs", "10"];
    let mut network = Network::up(&arguments);
    network.ready();
    assert!(network.pid("worker-2").is_none() && !network.home("worker-2").join("genesis.toml").exists());
    network.line("the late worker", |line| line.contains("joining    worker-2"));
    let report = network.succeeded();
    assert_eq!(report["nodes"].as_array().unwrap().len(), 5);
    let payouts = report["payouts"].as_array().unwrap();
    assert!(payouts.iter().any(|payout| payout["worker"] == "worker-2" && payout["status"] == "paid"), "{report}");
}
