//! Joining a running network with nothing but its genesis: by a snapshot, from a pinned block, by every block as long as there are any,
//! and a validator whose next blocks all others have removed.
//!
//! `make join` lets the chain grow longer first, and prints how long each way takes.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Network, errors, http_get, lucid, room, until};

const NODES: u16 = 6;
/// Blocks are removed when they are so old; there is no shorter time.
const KEEP_BLOCKS_S: u64 = 60;
/// Distance of snapshots in a local network; blocks beyond three of these may be removed.
const SNAPSHOT_BLOCKS: u64 = 20;
/// The length of the chain when the first node joins, unless the environment says otherwise.
const HEIGHTS: u64 = 60;
/// The blocks that a node must follow after it has joined.
const FOLLOWED: u64 = 10;
/// The validator that is down meanwhile, and the block after which it ends.
const AWAY: &str = "validator-4";
const AWAY_AFTER: u64 = 5;

fn heights() -> u64 {
    let text = std::env::var("LUCID_JOIN_HEIGHTS").ok().filter(|text| !text.is_empty());
    text.map_or(HEIGHTS, |text| text.parse().unwrap_or_else(|_| panic!("LUCID_JOIN_HEIGHTS = {text:?} is no number")))
}

/// A node that joins.
struct Joiner<'a> {
    net: &'a Network,
    name: &'static str,
    home: PathBuf,
    api: String,
    log: PathBuf,
    child: Option<Child>,
    started: Instant,
}

impl Drop for Joiner<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

impl<'a> Joiner<'a> {
    /// Makes the home: it has the genesis, and the address of one node.
    fn new(net: &'a Network, dir: &TempDir, name: &'static str, place: u16) -> Self {
        let home = dir.path().join(name);
        let port = |offset: u16| net.base_port.unwrap() + 10 + 4 * NODES + 3 * place + offset;
        let config = std::fs::read_to_string(net.home("worker-1").join("config.toml")).unwrap();
        let bootstrap = config.split('"').find(|text| text.contains("/p2p/12D3")).unwrap();
        let api = format!("127.0.0.1:{}", port(1));
        let made = Command::new(lucid())
            .args(["init", "--local", "--json", "--home"])
            .arg(&home)
            .args(["--listen", &format!("/ip4/127.0.0.1/tcp/{}", port(0))])
            .args(["--listen", &format!("/ip4/127.0.0.1/udp/{}/quic-v1", port(0))])
            .args([
                "--api",
                &api,
                "--metrics",
                &format!("127.0.0.1:{}", port(2)),
                "--bootstrap",
                bootstrap,
                "--genesis",
            ])
            .arg(net.home("validator-1").join("genesis.toml"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", errors(&made));
        let log = dir.path().join(format!("{name}.log"));
        Self { net, name, home, api, log, child: None, started: Instant::now() }
    }

    /// Starts it, with these arguments of `lucid run`.
    fn start(&mut self, arguments: &[&str]) {
        let mut run = self.command(&["run"]);
        run.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&self.log).unwrap());
        self.started = Instant::now();
        self.child = Some(run.spawn().unwrap());
    }

    /// As `kill -9`.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended, as it may.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(lucid());
        command.args(arguments).arg("--home").arg(&self.home);
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn ask(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&http_get(&self.api, path, "")?).ok()
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        self.ask(path).unwrap_or_else(|| panic!("{} does not answer {path}\n{}", self.name, self.told()))
    }

    fn status(&self, key: &str) -> Option<u64> {
        self.ask("/api/v1/status")?[key].as_u64()
    }

    fn told(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, ask: impl Fn(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(found) = ask(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "{}, not in time: {what}\n{}", self.name, self.told());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until it has the newest block, and says how long that took.
    #[track_caller]
    #[expect(clippy::print_stdout, reason = "what `make join` is for")]
    fn joined(&self) -> u64 {
        let target = self.net.status_number("validator-1", "height").unwrap();
        let height = self.wait("the newest block", |it| it.status("height").filter(|height| *height >= target));
        let took = self.started.elapsed().as_secs_f64();
        println!("{:<22} at block {height} after {took:.1} s ({:.2} min)", self.name, took / 60.0);
        height
    }

    /// Waits until it has so many more blocks, which must be those of validator-1 with their states.
    #[track_caller]
    fn follows(&self, n_blocks: u64) {
        let height = self.status("height").unwrap();
        self.wait("following", |it| (it.status("height")? >= height + n_blocks).then_some(()));
        for height in height + 1..=height + n_blocks {
            self.same_block(height);
        }
    }

    #[track_caller]
    fn same_block(&self, height: u64) {
        let at = format!("/api/v1/blocks/{height}");
        let (ours, theirs) = (self.get(&at), self.net.get("validator-1", &at));
        for key in ["block_hash", "state_root", "parent"] {
            assert_eq!(ours[key], theirs[key], "{} at {height}", self.name);
        }
    }

    /// It has not one block from before its snapshot, and says so; of the epochs before it knows all that the state does.
    #[track_caller]
    fn began_with_a_snapshot(&self) -> u64 {
        let told = self.told();
        assert!(told.contains("a snapshot is the newest state"), "{told}");
        // None is here before the first after the snapshot has come.
        let oldest = self.wait("a block", |it| it.status("oldest_block"));
        assert!(oldest > SNAPSHOT_BLOCKS && oldest % SNAPSHOT_BLOCKS == 1, "{oldest}");
        let list = self.get("/api/v1/blocks?limit=1000");
        let heights: Vec<_> = list["blocks"].as_array().unwrap().iter().map(|block| block["height"].as_u64()).collect();
        assert_eq!((heights.last().copied().flatten(), list["oldest_block"].as_u64()), (Some(oldest), Some(oldest)));
        for height in [1, oldest / 2, oldest - 1] {
            let shown = self.output(&["block", "show", &height.to_string()]);
            let error = errors(&shown);
            assert!(!shown.status.success() && error.contains(&format!("the blocks from {oldest} to ")), "{error}");
        }
        // Header and certificate of the snapshot itself are what it rests on.
        let certificate = self.get(&format!("/api/v1/blocks/{}/certificate", oldest - 1));
        assert!(certificate["signatures"].as_array().unwrap().len() >= 3, "{certificate}");
        let listed = self.output(&["block", "list", "--limit", "1000"]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(
            listed.ends_with(&format!("blocks below {oldest} were removed here, or never were here\n")),
            "{listed}"
        );
        let status: Value = serde_json::from_slice(&self.output(&["status", "--json"]).stdout).unwrap();
        assert_eq!(status["oldest_block"].as_u64(), Some(oldest));
        self.same_epochs();
        oldest
    }

    #[track_caller]
    fn same_epochs(&self) {
        let last =
            self.status("final_epoch").unwrap().min(self.net.status_number("validator-1", "final_epoch").unwrap());
        let stages = |list: Value| -> Vec<(u64, Value)> {
            let epochs = list["epochs"].as_array().unwrap().iter();
            epochs.map(|epoch| (epoch["epoch"].as_u64().unwrap(), epoch["stage"].clone())).collect()
        };
        let path = format!("/api/v1/epochs?limit=1000&before={}", last + 1);
        let (ours, theirs) = (stages(self.get(&path)), stages(self.net.get("validator-1", &path)));
        assert!(ours.len() as u64 == last && ours.iter().all(|(_, stage)| stage != "open"), "{ours:?}");
        assert_eq!(ours, theirs);
    }
}

/// Starts the network with an executable that makes each of its nodes remove blocks as soon as may be.
fn network(dir: &TempDir) -> Network {
    let executable = dir.path().join("lucid");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = run ] || exec '{lucid}' \"$@\"\nexec '{lucid}' \"$@\" --set sync.keep_blocks_s={KEEP_BLOCKS_S}\n",
        lucid = lucid().display()
    );
    std::fs::write(&executable, script).unwrap();
    std::fs::set_permissions(&executable, PermissionsExt::from_mode(0o755)).unwrap();
    let arguments = ["--workers", "2", "--epoch-length", "2s", "--lucid", executable.to_str().unwrap()];
    let mut net = Network::up_in(room(), &arguments);
    net.ready();
    net
}

fn height(net: &Network) -> u64 {
    net.status_number("validator-1", "height").unwrap()
}

fn wait_for_height(net: &Network, wanted: u64) {
    let deadline = Instant::now() + Duration::from_secs(30) + Duration::from_secs(3) * u32::try_from(wanted).unwrap();
    while height(net) < wanted {
        assert!(Instant::now() < deadline, "block {wanted} is not decided");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "takes minutes: make join"]
fn nodes_join_a_running_network_by_a_snapshot_and_one_that_was_away_comes_back() {
    let dir = TempDir::with_prefix("lucid-it-").unwrap();
    let net = network(&dir);
    let heights = heights();
    wait_for_height(&net, AWAY_AFTER);
    net.kill(&[AWAY]);
    let away_at = height(&net);

    wait_for_height(&net, heights.min(3 * SNAPSHOT_BLOCKS) - SNAPSHOT_BLOCKS);
    every_block(&net, &dir);
    wait_for_height(&net, heights);
    a_snapshot(&net, &dir);
    a_pin_that_holds_and_one_that_does_not(&net, &dir);
    wait_for_removal(&net, away_at);
    net.start_again(&[AWAY]);
    removed_blocks(&net, &dir, away_at);
    the_validator_comes_back(&net, away_at);
    net.command(&["down"]);
    net.succeeded();
}

/// While there is every block, `full` fetches every one.
fn every_block(net: &Network, dir: &TempDir) {
    let mut full = Joiner::new(net, dir, "every block", 0);
    full.start(&["--sync", "full"]);
    full.joined();
    assert_eq!(full.status("oldest_block"), Some(1));
    [1, 2, 30].into_iter().for_each(|height| full.same_block(height));
    full.follows(2);
    full.same_epochs();
}

fn a_snapshot(net: &Network, dir: &TempDir) {
    let mut joiner = Joiner::new(net, dir, "a snapshot", 1);
    joiner.start(&[]);
    joiner.joined();
    let oldest = joiner.began_with_a_snapshot();
    joiner.follows(FOLLOWED);
    joiner.kill();
    joiner.start(&[]);
    joiner.joined();
    assert!(!joiner.told().contains("fetching a snapshot"), "{}", joiner.told());
    joiner.follows(2);
    assert_eq!(joiner.status("oldest_block"), Some(oldest));
    joiner.same_epochs();
}

fn a_pin_that_holds_and_one_that_does_not(net: &Network, dir: &TempDir) {
    let at = height(net) - 1;
    let hash = net.get("validator-1", &format!("/api/v1/blocks/{at}"))["block_hash"].as_str().unwrap().to_owned();
    let mut pinned = Joiner::new(net, dir, "a pinned block", 1);
    pinned.start(&["--pin", &format!("{at}:{hash}")]);
    pinned.joined();
    pinned.began_with_a_snapshot();
    pinned.follows(2);

    let mut other = Joiner::new(net, dir, "another pin", 2);
    other.start(&["--pin", &format!("{at}:{}", "ab".repeat(32))]);
    let ended = other.wait_for_end();
    let told = other.told();
    assert!(!ended && told.contains(&format!("block {at} of this network is {hash}")), "{told}");
    assert!(told.contains("Ask whoever gave you the pin"), "{told}");
}

impl Joiner<'_> {
    /// Whether it ended well.
    fn wait_for_end(&mut self) -> bool {
        let mut child = self.child.take().unwrap();
        let ended = until("its end", || child.try_wait().unwrap());
        ended.success()
    }
}

/// Waits until no node has the blocks any more that the validator lacks that is away.
fn wait_for_removal(net: &Network, away_at: u64) {
    let names: Vec<_> = net.names().into_iter().filter(|name| name != AWAY).collect();
    until("nodes that have removed the first blocks", || {
        let is_removed = |name: &String| Some(net.status_number(name, "oldest_block")? > away_at + 1);
        names.iter().all(|name| is_removed(name) == Some(true)).then_some(())
    });
    for name in &names {
        let (oldest, height) =
            (net.status_number(name, "oldest_block").unwrap(), net.status_number(name, "height").unwrap());
        assert!(
            height >= oldest + 3 * SNAPSHOT_BLOCKS - 1,
            "{name}: of {height} blocks those from {oldest} on are left"
        );
    }
    // What they keep of a removed block that closed an epoch: by whom it was decided.
    let closed_in = net.get("validator-1", "/api/v1/epochs/1")["closed_in"].as_u64().unwrap();
    assert!(net.ask("validator-1", &format!("/api/v1/blocks/{closed_in}")).is_none());
    assert!(net.voters("validator-1", closed_in).len() >= 3);
}

/// Nobody can have every block any more, but the state.
fn removed_blocks(net: &Network, dir: &TempDir, away_at: u64) {
    let mut joiner = Joiner::new(net, dir, "every block, removed", 2);
    joiner.start(&["--sync", "full"]);
    let told = "no connected peer has the next block any more";
    joiner.wait("a warning", |it| it.told().contains(told).then_some(()));
    assert!(joiner.told().contains("archive node") && joiner.told().contains("--sync snapshot"), "{}", joiner.told());
    // The validator that was away has its blocks until it has taken over a state.
    assert!(joiner.status("height").unwrap() <= away_at);
    joiner.kill();
    joiner.start(&[]);
    joiner.joined();
    joiner.began_with_a_snapshot();
    joiner.follows(2);
}

fn the_validator_comes_back(net: &Network, away_at: u64) {
    let id = net.validator_key(AWAY);
    let gone = height(net);
    until("its newest block", || (net.status_number(AWAY, "height")? >= gone).then_some(()));
    let oldest = until("a block", || net.status_number(AWAY, "oldest_block"));
    assert!(oldest > away_at + 1);
    let log = std::fs::read_to_string(net.home(AWAY).join("node.log")).unwrap();
    assert!(log.contains("a snapshot is the newest state"), "{log}");
    let is_voting = |height| net.voters("validator-1", height).contains(&id);
    until("its votes in certificates", || {
        let newest = height(net);
        (newest.saturating_sub(5).max(oldest + 1)..=newest).any(is_voting).then_some(())
    });
    let newest = height(net);
    until("more blocks", || (net.status_number(AWAY, "height")? >= newest + FOLLOWED / 2).then_some(()));
    for height in newest..newest + FOLLOWED / 2 {
        let at = format!("/api/v1/blocks/{height}");
        assert_eq!(net.get(AWAY, &at)["state_root"], net.get("validator-1", &at)["state_root"], "at {height}");
    }
}
