//! One home copied and started twice: the key stops voting within seconds, wherever it runs, and the others go on without it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use lucid_testnet::process::last_lines;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Network, alone, http_get, lucid, until};

const TWINS: &str = "validator-4";
const OTHERS: [&str; 5] = ["validator-1", "validator-2", "validator-3", "worker-1", "worker-2"];
/// Nodes of the network; the copy gets the ports that one more would have.
const NODES: u16 = 6;
/// Within this time of both being connected neither votes.
const BOUND: Duration = Duration::from_secs(5);
/// What a process that ends because of it says last.
const REASON: &str = "another machine runs with";

/// The second process of the key, with a copy of the home.
struct Copied {
    child: Child,
    api: String,
    log: PathBuf,
    _dir: TempDir,
}

impl Copied {
    /// Copies the home, database included; nothing must run in it.
    fn of(net: &Network) -> Self {
        let dir = TempDir::with_prefix("lucid-it-").unwrap();
        let home = dir.path().join(TWINS);
        let copied = Command::new("cp").arg("-a").args([&net.home(TWINS), &home]).status().unwrap();
        assert!(copied.success(), "{copied}");
        let port = |offset: u16| net.base_port.unwrap() + 10 + 4 * NODES + offset;
        let listen = format!("/ip4/127.0.0.1/tcp/{p2p},/ip4/127.0.0.1/udp/{p2p}/quic-v1", p2p = port(0));
        let api = format!("127.0.0.1:{}", port(1));
        let log = dir.path().join("copy.log");
        let child = Command::new(lucid())
            .args(["run", "--home"])
            .arg(&home)
            .args(["--set", &format!("p2p.listen={listen}"), "--set", &format!("api.listen={api}")])
            .args(["--set", &format!("metrics.listen=127.0.0.1:{}", port(2))])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, api, log, _dir: dir }
    }

    fn ask(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&http_get(&self.api, path, "")?).ok()
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // It may have ended, as it may.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Heights of validator-1's blocks after `height` in whose certificates, on any of the others, the key's vote stands.
fn votes_since(net: &Network, height: u64, key: &str) -> Vec<u64> {
    let now = net.status_number("validator-1", "height").unwrap();
    let votes = |height: &u64| {
        OTHERS[..3].iter().any(|name| {
            let at = format!("/api/v1/blocks/{height}/certificate");
            // A validator may be a block behind.
            net.ask(name, &at).is_some_and(|certificate| certificate.to_string().contains(key))
        })
    };
    (height + 1..=now).filter(votes).collect()
}

/// A process that ended must have said why.
fn check_reason(log: &Path) {
    let last = last_lines(log, 1);
    assert!(last.trim().starts_with("lucid: ") && last.contains(REASON), "{}", last_lines(log, 20));
}

#[test]
fn one_home_started_twice_votes_no_more_and_forks_nothing() {
    let mut net = Network::up_in(alone(), &["--workers", "2", "--epoch-length", "2s"]);
    net.ready();
    net.node_final_through(TWINS, 2);
    let key = net.validator_key(TWINS);
    assert!(!votes_since(&net, 0, &key).is_empty(), "it votes while it is alone");

    net.kill(&[TWINS]);
    let height = net.status_number("validator-1", "height").unwrap();
    let mut copied = Copied::of(&net);
    net.start_again(&[TWINS]);
    // Each has a peer or has had one, since it has later blocks, or has ended already. They take the key's connections from each
    // other, so not at one time.
    let has_been = |status: Option<Value>| {
        let number = |key: &str| status.as_ref().and_then(|status| status[key].as_u64());
        number("peers") > Some(0) || number("height") > Some(height)
    };
    let (mut original, mut copy) = (false, false);
    until("both have been connected", || {
        original |= net.pid(TWINS).is_none() || has_been(net.ask(TWINS, "/api/v1/status"));
        copy |= copied.ended().is_some() || has_been(copied.ask("/api/v1/status"));
        (original && copy).then_some(())
    });
    // The bound is what is tested, so it passes by the clock.
    std::thread::sleep(BOUND);
    let bound = Instant::now();
    let height = net.status_number("validator-1", "height").unwrap();

    // The others decide on for three epochs. The block under way at the bound may still hold votes from before it.
    let epoch = net.status_number("validator-1", "final_epoch").unwrap();
    OTHERS.iter().for_each(|name| net.node_final_through(name, epoch + 3));
    assert_eq!(votes_since(&net, height + 1, &key), Vec::<u64>::new(), "{:?} after the bound", bound.elapsed());
    if net.pid(TWINS).is_none() {
        check_reason(&net.home(TWINS).join("node.log"));
    }
    if copied.ended().is_some() {
        check_reason(&copied.log);
    }

    // Nobody holds another block: neither the others, nor whichever of the twins still answers.
    let blocks = net.blocks("validator-1");
    let mut compared = 0;
    let held = OTHERS.iter().chain([&TWINS]).filter_map(|name| net.ask(name, "/api/v1/blocks?limit=1000"));
    for held in held.chain(copied.ask("/api/v1/blocks?limit=1000")) {
        for block in held["blocks"].as_array().unwrap() {
            let at = usize::try_from(block["height"].as_u64().unwrap()).unwrap() - 1;
            let Some(ours) = blocks.get(at) else { continue };
            assert_eq!(block["block_hash"], ours["block_hash"], "at height {}", block["height"]);
            compared += 1;
        }
    }
    assert!(compared > OTHERS.len() * 5, "{compared}");

    // Alone again, the key votes again: it is the second process that stopped it.
    drop(copied);
    if net.pid(TWINS).is_some() {
        net.kill(&[TWINS]);
    }
    net.start_again(&[TWINS]);
    let height = net.status_number("validator-1", "height").unwrap();
    until("a vote of the only process", || (!votes_since(&net, height + 1, &key).is_empty()).then_some(()));
    net.command(&["down"]);
    net.succeeded();
}
