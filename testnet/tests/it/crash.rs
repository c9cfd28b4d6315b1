//! Networks whose processes are killed.

use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Network, all_gone, errors, lucid, until};

#[test]
fn a_validator_killed_in_the_middle_comes_back_and_agrees() {
    let mut network = Network::up(&["--epochs", "10", "--epoch-length", "2s"]);
    network.ready();
    network.final_through(2);
    network.command(&["kill", "validator-3"]);
    assert!(network.manifest()["nodes"][2]["pid"].is_null());
    let epoch = network.final_epoch();
    network.final_through(epoch + 1);
    network.command(&["start", "validator-3"]);
    let report = network.succeeded();
    let nodes = report["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 10);
    assert_eq!(nodes[2]["name"], "validator-3");
    assert!(
        nodes.iter().all(|n| n["block_hash"] == nodes[0]["block_hash"] && n["state_root"] == nodes[0]["state_root"])
    );
    assert!(report["payouts"].as_array().unwrap().iter().all(|payout| payout["status"] == "paid"));
}

#[test]
fn a_node_that_is_down_at_the_end_is_a_failure_that_names_it() {
    let mut network = Network::up(&["--workers", "3", "--epochs", "8", "--epoch-length", "2s"]);
    network.ready();
    network.final_epoch();
    network.command(&["kill", "worker-2"]);
    let ended = network.end();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.lines.iter().any(|line| line == "error: worker-2 is down"), "{}", ended.lines.join("\n"));
    assert_eq!(ended.report.unwrap()["nodes"].as_array().unwrap().len(), 6);
}

#[test]
fn the_mesh_lives_without_its_bootstrap_node() {
    let mut network = Network::up(&["--workers", "3", "--epoch-length", "2s"]);
    network.ready();
    network.line("a full mesh", |line| line.contains("each connected to 6"));
    network.final_through(2);
    // All nodes keep what workers say of their machines, and have it after a restart.
    let path = format!("/api/v1/nodes/{}/metrics", network.node_id("worker-1"));
    let first = |network: &Network, name: &str| {
        until("metrics", || network.ask(name, &path)?["metrics"].as_array()?.last()?["received"].as_u64())
    };
    let kept = ["worker-1", "validator-2"].map(|name| first(&network, name));
    network.command(&["kill", "validator-1"]);
    let epoch = network.final_epoch();
    network.final_through(epoch + 1);
    // One that restarts now knows no bootstrap node that answers: it must find the mesh by the peers it has saved. Three
    // of four validators are a quorum only with it.
    network.command(&["kill", "validator-2"]);
    network.command(&["start", "validator-2"]);
    let epoch = network.final_epoch();
    network.final_through(epoch + 1);
    assert_eq!(["worker-1", "validator-2"].map(|name| first(&network, name)), kept);
    network.command(&["start", "validator-1"]);
    network.line("a full mesh again", |line| line.contains("each connected to 6"));
    network.final_epoch();
    network.command(&["down"]);
    let report = network.succeeded();
    assert_eq!(report["nodes"].as_array().unwrap().len(), 7);
}

#[test]
fn the_chain_outlives_its_process() {
    let mut network = Network::up(&["--workers", "3", "--epochs", "10", "--epoch-length", "2s"]);
    network.ready();
    let first = network.first_settlement(2);
    assert!(first < 5, "the run is too short");
    network.command(&["kill", "tron"]);
    // Scoring goes on without TRON, and settlements come with it; nothing can be paid yet.
    network.final_through(2 * first);
    network.command(&["start", "tron"]);
    let report = network.succeeded();
    let payouts = report["payouts"].as_array().unwrap();
    for settlement in first..=5 {
        let of = || payouts.iter().filter(|payout| payout["settlement"] == settlement);
        let sum: u64 = of().map(|payout| payout["amount_micro_usdt"].as_u64().unwrap()).sum();
        // The budget less a push fee for each worker.
        assert_eq!((of().count(), sum), (3, 120_000_000 - 3 * 10_000), "{payouts:?}");
    }
}

#[test]
fn everything_dies_with_up_even_by_sigkill() {
    let mut network = Network::up_alone(&["--validators", "1", "--workers", "1", "--epoch-length", "2s"]);
    network.ready();
    let pids = network.pids();
    assert_eq!(pids.len(), 3);
    network.signal(Signal::SIGKILL);
    all_gone(&pids);
}

#[test]
fn ctrl_c_stops_everything_cleanly_and_ports_are_where_they_should_be() {
    let mut network = Network::up(&["--validators", "1", "--workers", "1", "--epoch-length", "2s"]);
    network.ready();
    network.final_epoch();
    let manifest = network.manifest();
    let port = |offset: u16| network.base_port.unwrap() + offset;
    assert_eq!(manifest["tron"]["url"], format!("http://127.0.0.1:{}", port(0)));
    assert_eq!(manifest["nodes"][0]["api"], format!("127.0.0.1:{}", port(11)));
    assert_eq!(manifest["nodes"][1]["api"], format!("127.0.0.1:{}", port(15)));
    let pids = network.pids();
    network.signal(Signal::SIGINT);
    let ended = network.end();
    assert!(ended.status.success(), "{}", ended.lines.join("\n"));
    assert!(!ended.lines.iter().any(|line| line.contains("was killed")), "{}", ended.lines.join("\n"));
    all_gone(&pids);
}

/// What `lucid score ... --json` says in the home of the first validator.
#[track_caller]
fn score(network: &Network, arguments: &[&str]) -> Value {
    let home = network.home("validator-1");
    let output = Command::new(lucid()).arg("--home").arg(home).arg("score").args(arguments).arg("--json").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", errors(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_worker_that_was_killed_is_told_what_that_cost() {
    const SETTLE_EVERY: u64 = 4;
    let mut network = Network::up(&["--workers", "3", "--epoch-length", "2s", "--settle-every", "4"]);
    network.ready();
    let worker = network.node_id("worker-2");
    network.final_through(network.first_settlement(SETTLE_EVERY) * SETTLE_EVERY);
    network.kill(&["worker-2"]);
    let rows = |network: &Network| {
        let history = score(network, &["history", &worker, "--limit", "1000"]);
        history["spans"].as_array().unwrap().clone()
    };
    let number = |row: &Value, key: &str| row[key].as_u64().unwrap();
    let killed = until("two epochs in which nobody reaches it", || {
        let rows = rows(&network);
        let mut unreached = rows.iter().filter(|row| number(row, "reachable_ms") == 0).map(|row| number(row, "from"));
        unreached.nth(1)
    });
    network.start_again(&["worker-2"]);
    let settlement = killed.div_ceil(SETTLE_EVERY);
    let (first, last) = ((settlement - 1) * SETTLE_EVERY + 1, settlement * SETTLE_EVERY);
    network.node_final_through("validator-1", last + SETTLE_EVERY);

    // The epochs of the settlement in which it was not reached all the time, and what they cost it.
    let of_settlement = |row: &&Value| (first..=last).contains(&number(row, "from"));
    let rows = rows(&network);
    let lost = rows.iter().filter(of_settlement).filter(|row| number(row, "reachable_ms") < 2_000);
    let mut lost: Vec<_> = lost.map(|row| number(row, "from")).collect();
    lost.sort_unstable();
    let why = score(&network, &["why", &worker, "--settlement", &settlement.to_string()]);
    let causes = why["causes"].as_array().unwrap();
    let offline = causes.iter().find(|cause| cause["cause"] == "offline").unwrap_or_else(|| panic!("{why}"));
    let ranges = offline["epochs"].as_array().unwrap().iter();
    let told: Vec<_> = ranges.flat_map(|it| it[0].as_u64().unwrap()..=it[1].as_u64().unwrap()).collect();
    assert_eq!(told, lost, "{why}");
    assert!(told.contains(&killed) && offline["delta_micro_usdt"].as_i64() < Some(0), "{why}");
    assert!(offline["factors_ppm"]["uptime"].as_i64() < Some(0) && offline["responsibility"] == "worker", "{why}");

    // Every score follows from what stands in the blocks.
    for epoch in [killed, last, last + 1] {
        for name in ["worker-1", "worker-2", "worker-3"] {
            let id = network.node_id(name);
            let verified = score(&network, &["verify", &id, "--epoch", &epoch.to_string()]);
            assert_eq!((&verified["is_right"], &verified["source"]), (&true.into(), &"blocks".into()), "{verified}");
            assert_eq!(verified["steps"].as_array().unwrap().len(), 4, "{verified}");
        }
    }

    // What accounts were given is what the pool owes.
    let pool = network.pool_id();
    let show = |network: &Network| network.get("validator-1", &format!("/api/v1/pools/{pool}"));
    let (report, shown) = until("a report of all settlements so far", || {
        let shown = show(&network);
        let to = (number(&shown, "settled") * SETTLE_EVERY).to_string();
        let report = score(&network, &["report", "--pool", &pool, "--from", "1", "--to", &to]);
        (show(&network)["settled"] == shown["settled"]).then_some((report, shown))
    });
    let lines = report["lines"].as_array().unwrap();
    for key in ["owed_micro_usdt", "held_micro_usdt"] {
        let sum: u64 = lines.iter().map(|line| number(line, key)).sum();
        assert_eq!((sum, &report[key]), (number(&shown, key), &shown[key]), "{report} {shown}");
    }
    assert_eq!(report["fees_micro_usdt"], shown["fees_micro_usdt"], "{report} {shown}");
    let of_worker = lines.iter().find(|line| line["node"] == *worker).unwrap_or_else(|| panic!("{report}"));
    assert!(number(of_worker, "unreached") >= 2 && number(of_worker, "owed_micro_usdt") > 0, "{of_worker}");
    network.command(&["down"]);
    network.succeeded();
}
