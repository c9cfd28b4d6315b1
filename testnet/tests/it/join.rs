//! Joining a running network by one string: with nothing at hand, stopped by Ctrl-C at every step and begun again, with wrong strings,
//! and without a pin.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Instant;

use lucid_types::id::NetworkId;
use lucid_types::join::{Bootstrap, JoinString};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Network, PATIENCE, errors, http_get, lucid, room, until};

const NODES: u16 = 5;

/// A machine that joins: its home, and the ports that it has.
pub(crate) struct Machine {
    pub(crate) home: PathBuf,
    options: Vec<String>,
    api: String,
}

impl Machine {
    pub(crate) fn new(net: &Network, dir: &TempDir, name: &str, place: u16) -> Self {
        let port = |offset: u16| net.base_port.unwrap() + 10 + 4 * NODES + 3 * place + offset;
        let api = format!("127.0.0.1:{}", port(1));
        let options = [
            "--listen",
            &format!("/ip4/127.0.0.1/tcp/{}", port(0)),
            "--api",
            &api,
            "--metrics",
            &format!("127.0.0.1:{}", port(2)),
        ];
        Self { home: dir.path().join(name), options: options.map(str::to_owned).to_vec(), api }
    }

    fn command(&self, string: &JoinString, more: &[&str]) -> Command {
        let mut command = Command::new(lucid());
        command.arg("--home").arg(&self.home).args(["join", &string.to_string()]).args(&self.options).args(more);
        command
    }

    pub(crate) fn output(&self, string: &JoinString, more: &[&str]) -> Output {
        self.command(string, more).output().unwrap()
    }

    pub(crate) fn join(&self, string: &JoinString, more: &[&str]) -> Join {
        let mut command = self.command(string, &[more, &["--json"]].concat());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, steps) = sync_channel(1_000);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Join { child: Some(child), steps, seen: Vec::new() }
    }
}

/// A running `lucid join --json`.
pub(crate) struct Join {
    child: Option<Child>,
    steps: Receiver<String>,
    seen: Vec<String>,
}

impl Join {
    /// Waits for a step.
    #[track_caller]
    pub(crate) fn step(&mut self, wanted: &str) -> Value {
        self.first_of(&[wanted])
    }

    /// Waits for one of several steps: what is over at once is not told.
    #[track_caller]
    pub(crate) fn first_of(&mut self, wanted: &[&str]) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.steps.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let step: Value = serde_json::from_str(&line).unwrap();
                    self.seen.push(line);
                    if wanted.iter().any(|wanted| step["step"] == *wanted) {
                        return step;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("not in time: {wanted:?}\n{}", self.seen.join("\n")),
                Err(RecvTimeoutError::Disconnected) => {
                    let seen = self.seen.join("\n");
                    panic!("ended before {wanted:?}\n{seen}\n{}", self.end().1);
                }
            }
        }
    }

    pub(crate) fn has_seen(&self, step: &str) -> bool {
        self.seen.iter().any(|line| line.contains(&format!("\"step\":\"{step}\"")))
    }

    /// Kills it, so that it can say nothing more.
    pub(crate) fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Presses Ctrl-C, and waits for the end.
    #[track_caller]
    pub(crate) fn interrupt(mut self) -> (ExitStatus, String) {
        kill(Pid::from_raw(self.child.as_ref().unwrap().id().try_into().unwrap()), Signal::SIGINT).unwrap();
        self.end()
    }

    /// How it ended, and what it said on stderr.
    fn end(&mut self) -> (ExitStatus, String) {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        (output.status, errors(&output))
    }
}

impl Drop for Join {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn invite(net: &Network, more: &[&str]) -> JoinString {
    let home = net.home("validator-1");
    let output = Command::new(lucid()).arg("--home").arg(home).args(["network", "invite"]).args(more).output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// The node has the network's newest block of now, and the same as everybody else.
#[track_caller]
fn has_the_newest_block(net: &Network, machine: &Machine) {
    let target = net.status_number("validator-1", "height").unwrap();
    let ask = |path: &str| serde_json::from_str::<Value>(&http_get(&machine.api, path, "")?).ok();
    until("the newest block", || (ask("/api/v1/status")?["height"].as_u64()? >= target).then_some(()));
    let path = format!("/api/v1/blocks/{target}");
    let ours = until("the block", || ask(&path));
    assert_eq!(ours["block_hash"], net.get("validator-1", &path)["block_hash"]);
}

#[test]
fn a_machine_with_nothing_joins_by_one_string_however_often_it_is_stopped() {
    let mut net = Network::up_in(room(), &["--workers", "1", "--epoch-length", "2s"]);
    net.ready();
    net.final_through(2);
    let dir = TempDir::with_prefix("lucid-it-").unwrap();
    let string = invite(&net, &[]);
    assert!(string.pin.is_some_and(|pin| pin.height.get() > 0), "{string:?}");
    let machine = Machine::new(&net, &dir, "joiner", 0);

    // It says all that it would do, and does nothing.
    let planned = machine.output(&string, &["--dry-run"]);
    let plan = String::from_utf8(planned.stdout.clone()).unwrap();
    assert!(planned.status.success(), "{}", errors(&planned));
    for wanted in [
        string.network.to_string().as_str(),
        "validators",
        "make the home",
        "hold the chain to block",
        "Nothing was done",
    ] {
        assert!(plan.contains(wanted), "{wanted}\n{plan}");
    }
    assert_eq!(entries(dir.path()), 0);

    // Ctrl-C while nobody gives the genesis.
    let nobody = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", string.bootstrap.addresses()[0].rsplit_once('/').unwrap().1);
    let unreachable = JoinString { bootstrap: Bootstrap::new(vec![nobody]).unwrap(), ..string.clone() };
    let mut fetching = machine.join(&unreachable, &[]);
    fetching.step("connecting");
    let (status, told) = fetching.interrupt();
    assert!(!status.success() && told.contains("the same command goes on"), "{told}");
    assert_eq!(entries(dir.path()), 0);

    // As soon as there is a home, and as soon as the node runs; at last it is let be.
    for stop_at in ["home", "running"] {
        let mut join = machine.join(&string, &[]);
        join.step(stop_at);
        join.interrupt();
        assert!(machine.home.join("node.key").exists());
    }
    let key = std::fs::read(machine.home.join("node.key")).unwrap();
    let mut join = machine.join(&string, &[]);
    join.step("synced");
    assert!(!join.has_seen("genesis") && !join.has_seen("home"), "{:?}", join.seen);
    has_the_newest_block(&net, &machine);
    let (status, told) = join.interrupt();
    assert!(status.success(), "{told}");

    // And again, with everything there.
    let mut again = machine.join(&string, &[]);
    let synced = again.step("synced");
    assert!(synced["height"].as_u64() >= string.pin.map(|pin| pin.height.get()), "{synced}");
    has_the_newest_block(&net, &machine);
    assert_eq!(std::fs::read(machine.home.join("node.key")).unwrap(), key);
    let config = std::fs::read_to_string(machine.home.join("config.toml")).unwrap();
    assert!(config.contains(&string.pin.unwrap().block.to_string()), "{config}");
    again.interrupt();

    wrong_network(&net, &dir, &string);
    without_a_pin(&net, &dir);
    net.command(&["down"]);
    net.succeeded();
}

/// The right addresses of another network.
fn wrong_network(net: &Network, dir: &TempDir, string: &JoinString) {
    let machine = Machine::new(net, dir, "lost", 1);
    let lost = JoinString { network: NetworkId::from_bytes([0xab; 32]), ..string.clone() };
    let output = machine.output(&lost, &[]);
    let told = errors(&output);
    assert!(!output.status.success() && told.contains("another network"), "{told}");
    assert!(!machine.home.exists());
}

/// What several peers show is compared, and becomes the pin.
fn without_a_pin(net: &Network, dir: &TempDir) {
    let machine = Machine::new(net, dir, "unpinned", 2);
    let string = invite(net, &["--no-pin"]);
    let mut join = machine.join(&string, &[]);
    let compared = join.step("compared");
    assert!(compared["peers"].as_u64() >= Some(2), "{compared}");
    let at = format!("/api/v1/blocks/{}", compared["height"]);
    assert_eq!(compared["block_hash"], net.get("validator-1", &at)["block_hash"]);
    join.step("synced");
    has_the_newest_block(net, &machine);
    let config = std::fs::read_to_string(machine.home.join("config.toml")).unwrap();
    assert!(config.contains(compared["block_hash"].as_str().unwrap()), "{config}");
    join.interrupt();
}
