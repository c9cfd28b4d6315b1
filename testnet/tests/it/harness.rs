//! One running `lucid-testnet up`: its lines as events, its commands, its report.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use lucid_testnet::ports::{Leases, PortLayout};

const TESTNET: &str = env!("CARGO_BIN_EXE_lucid-testnet");
/// Longest wait for anything; a healthy network needs a fraction of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at what has no event.
const LOOK: Duration = Duration::from_millis(50);

/// Networks at a time. One leaves most of a core idle: it waits for its epochs.
const PLACES: usize = 8;
/// Base ports of the networks in each place, apart from each other's and from the ephemeral ports: a network must not be given
/// the ports of another one's node that is down at that moment.
const FIRST_BASE: u16 = 11_000;
const BASES: u16 = 2_700;

/// Who runs a network.
static FLOOR: (Mutex<Floor>, Condvar) = (Mutex::new(Floor { taken: [false; PLACES], wants_all: 0 }), Condvar::new());

#[derive(Debug)]
struct Floor {
    taken: [bool; PLACES],
    /// Tests that wait for all places; nobody takes one before them.
    wants_all: usize,
}

/// The right to run a network; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Vec<usize>);

fn floor() -> MutexGuard<'static, Floor> {
    FLOOR.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until there is room for a network beside those of other tests.
pub(crate) fn room() -> Place {
    let mut floor = floor();
    loop {
        let free = floor.taken.iter().position(|taken| !taken).filter(|_| floor.wants_all == 0);
        if let Some(free) = free {
            floor.taken[free] = true;
            return Place(vec![free]);
        }
        floor = FLOOR.1.wait(floor).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Waits until no other test runs a network, and keeps them waiting: for those that measure, or take any free ports.
pub(crate) fn alone() -> Place {
    let mut floor = floor();
    floor.wants_all += 1;
    while floor.taken.iter().any(|taken| *taken) {
        floor = FLOOR.1.wait(floor).unwrap_or_else(PoisonError::into_inner);
    }
    floor.wants_all -= 1;
    floor.taken = [true; PLACES];
    Place((0..PLACES).collect())
}

impl Place {
    /// A base port above which a network of so many nodes finds its ports free.
    pub(crate) fn base_port(&self, n_nodes: u16) -> u16 {
        let first = FIRST_BASE + BASES * u16::try_from(self.0[0]).unwrap();
        let names: Vec<_> = (1..=n_nodes).map(|i| i.to_string()).collect();
        let is_free = |base: &u16| {
            let layout = PortLayout::above(*base, names.len()).unwrap();
            Leases::hold(layout, &names).is_ok()
        };
        let room = 4 * n_nodes + 20;
        (first..first + BASES - room).step_by(usize::from(room)).find(is_free).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut floor = floor();
        self.0.iter().for_each(|place| floor.taken[*place] = false);
        drop(floor);
        FLOOR.1.notify_all();
    }
}

/// The clock of this machine, in milliseconds.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// Asks until there is an answer.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(LOOK);
    }
}

/// What an HTTP server answers: the status and the body. `None` if it does not, or not whole.
fn http(address: &str, request: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|at| at == b"\r\n\r\n")?;
    let status = std::str::from_utf8(&answer[..end]).ok()?.strip_prefix("HTTP/1.0 ")?.get(..3)?.parse().ok()?;
    Some((status, answer.split_off(end + 4)))
}

/// The bytes that an HTTP server answers to a GET with these header lines besides; `None` without a good answer.
pub(crate) fn http_bytes(address: &str, path: &str, headers: &str) -> Option<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n{headers}\r\n");
    http(address, request.as_bytes()).filter(|(status, _)| *status == 200).map(|(_, body)| body)
}

/// The same as text.
pub(crate) fn http_get(address: &str, path: &str, headers: &str) -> Option<String> {
    String::from_utf8(http_bytes(address, path, headers)?).ok()
}

/// The status and the text that an HTTP server answers to a POST of JSON; `None` without an answer.
pub(crate) fn http_post(address: &str, path: &str, body: &Value) -> Option<(u16, String)> {
    let (body, kind) = (body.to_string(), "content-type: application/json");
    let head = format!("POST {path} HTTP/1.0\r\nhost: {address}\r\n{kind}\r\ncontent-length: {}", body.len());
    let (status, answer) = http(address, format!("{head}\r\n\r\n{body}").as_bytes())?;
    Some((status, String::from_utf8(answer).ok()?))
}

/// The node's executable beside this build's `lucid-testnet`.
pub(crate) fn lucid() -> PathBuf {
    Path::new(TESTNET).with_file_name("lucid")
}

/// `lucid-testnet` with these arguments, to its end.
pub(crate) fn testnet(arguments: &[&str]) -> Output {
    Command::new(TESTNET).args(arguments).output().unwrap()
}

/// Standard error as text.
pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running `up --json`.
pub(crate) struct Network {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    report: Option<JoinHandle<String>>,
    dir: TempDir,
    /// The first epoch in which all workers are measured that joined at the start.
    measured_from: u64,
    /// As it was given to `up`.
    pub(crate) base_port: Option<u16>,
    _place: Place,
}

/// How an `up` ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) report: Option<Value>,
    pub(crate) lines: Vec<String>,
}

impl Network {
    /// Starts `up --json` in a new folder with these arguments besides, on ports of its own.
    pub(crate) fn up(arguments: &[&str]) -> Self {
        Self::up_in(room(), arguments)
    }

    /// The same for a test that has waited for its place already.
    pub(crate) fn up_in(place: Place, arguments: &[&str]) -> Self {
        let number = |flag: &str| arguments.iter().position(|argument| *argument == flag).map(|i| arguments[i + 1]);
        let n_nodes = number("--validators").unwrap_or("4").parse::<u16>().unwrap()
            + number("--workers").unwrap_or("6").parse::<u16>().unwrap()
            + number("--late").unwrap_or("0").parse::<u16>().unwrap();
        let base = place.base_port(n_nodes);
        let mut network = Self::start(place, &[arguments, &["--base-port", &base.to_string()]].concat());
        network.base_port = Some(base);
        network
    }

    /// The same with no network beside it, on any free ports.
    pub(crate) fn up_alone(arguments: &[&str]) -> Self {
        Self::start(alone(), arguments)
    }

    fn start(place: Place, arguments: &[&str]) -> Self {
        let dir = TempDir::with_prefix("lucid-it-").unwrap();
        let mut child = Command::new(TESTNET)
            .args(["up", "--json", "--dir"])
            .arg(dir.path().join("net"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        // Far more than the lines of a run; when full, `up` waits for its reader, as with any pipe.
        let (sender, lines) = sync_channel(10_000);
        std::thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|l| sender.send(l))
        });
        let report = std::thread::spawn(move || {
            let mut text = String::new();
            BufReader::new(stdout).read_to_string(&mut text).unwrap();
            text
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
            report: Some(report),
            dir,
            measured_from: 0,
            base_port: None,
            _place: place,
        }
    }

    /// The network's folder.
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.path().join("net")
    }

    /// The next line that `wanted` accepts.
    pub(crate) fn line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no line about {what} in time\n{}", self.story()),
                Err(RecvTimeoutError::Disconnected) => panic!("ended without {what}\n{}", self.story()),
            }
        }
    }

    /// Waits until all processes run, and all workers are in the pool.
    pub(crate) fn ready(&mut self) {
        let entered = self.line("workers in the pool", |line| line.contains(": measured from epoch "));
        self.measured_from = entered.trim_end_matches(" on").rsplit_once(' ').unwrap().1.parse().unwrap();
        self.line("running nodes", |line| line.contains("processes run and answer"));
    }

    /// The first settlement all of whose epochs are measured.
    pub(crate) fn first_settlement(&self, settle_every: u64) -> u64 {
        (self.measured_from - 1).div_ceil(settle_every) + 1
    }

    /// Waits until the next epoch is final and returns its number.
    pub(crate) fn final_epoch(&mut self) -> u64 {
        let line = self.line("a final epoch", |line| line.starts_with("-- epoch "));
        line.split_whitespace().nth(2).unwrap().parse().unwrap()
    }

    /// Waits until this epoch is final.
    pub(crate) fn final_through(&mut self, epoch: u64) {
        while self.final_epoch() < epoch {}
    }

    /// A command on this network, which must succeed.
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let dir = self.dir();
        let output = Command::new(TESTNET).args(arguments).arg("--dir").arg(dir).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}\n{}", errors(&output), self.story());
        String::from_utf8(output.stdout).unwrap()
    }

    /// `DIR/testnet.json`.
    pub(crate) fn manifest(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.dir().join("testnet.json")).unwrap()).unwrap()
    }

    /// Every process of the network that runs, `tron` included.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let manifest = self.manifest();
        let nodes = manifest["nodes"].as_array().unwrap().iter();
        nodes.chain([&manifest["tron"]]).filter_map(|entry| entry["pid"].as_i64()?.try_into().ok()).collect()
    }

    fn entry(&self, name: &str) -> Value {
        let manifest = self.manifest();
        let mut entries = manifest["nodes"].as_array().unwrap().iter().chain([&manifest["tron"]]);
        entries.find(|entry| entry["name"] == name).unwrap().clone()
    }

    /// The names of all nodes.
    pub(crate) fn names(&self) -> Vec<String> {
        let manifest = self.manifest();
        let nodes = manifest["nodes"].as_array().unwrap().iter();
        nodes.map(|node| node["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The process of a node, or of `tron`.
    pub(crate) fn pid(&self, name: &str) -> Option<i32> {
        self.entry(name)["pid"].as_i64().map(|pid| pid.try_into().unwrap())
    }

    /// A node's id.
    pub(crate) fn node_id(&self, name: &str) -> String {
        self.entry(name)["node_id"].as_str().unwrap().to_owned()
    }

    /// The key with which a validator signs.
    #[track_caller]
    pub(crate) fn validator_key(&self, name: &str) -> String {
        let status = self.get("validator-1", &format!("/api/v1/validators/{}", self.node_id(name)));
        status["key"].as_str().unwrap().to_owned()
    }

    /// A node's home.
    pub(crate) fn home(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Kills processes, all at once.
    pub(crate) fn kill(&self, names: &[&str]) {
        let kill = |name: &&str| {
            let mut command = Command::new(TESTNET);
            command.args(["kill", name, "--dir"]).arg(self.dir()).stdout(Stdio::null()).spawn().unwrap()
        };
        let mut under_way: Vec<_> = names.iter().map(kill).collect();
        under_way.iter_mut().for_each(|command| assert!(command.wait().unwrap().success(), "{}", self.story()));
        names.iter().for_each(|name| assert!(self.pid(name).is_none(), "{name} still runs"));
    }

    /// Starts processes that do not run.
    pub(crate) fn start_again(&self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.command(&["start", name])));
    }

    /// Where a node's API listens.
    pub(crate) fn api(&self, name: &str) -> String {
        self.entry(name)["api"].as_str().unwrap().to_owned()
    }

    /// What a node's API answers; `None` while it gives no good answer.
    pub(crate) fn ask(&self, name: &str, path: &str) -> Option<Value> {
        serde_json::from_str(&http_get(&self.api(name), path, "")?).ok()
    }

    /// What a node says of itself in figures; empty while it does not answer.
    pub(crate) fn metrics(&self, name: &str) -> String {
        let config = std::fs::read_to_string(self.home(name).join("config.toml")).unwrap();
        let config: toml::Table = config.parse().unwrap();
        http_get(config["metrics"]["listen"].as_str().unwrap(), "/metrics", "").unwrap_or_default()
    }

    /// The names of the validators.
    pub(crate) fn validators(&self) -> Vec<String> {
        self.names().into_iter().filter(|name| name.starts_with("validator")).collect()
    }

    /// The most memory that any validator has had resident since its start, in bytes.
    pub(crate) fn most_resident(&self) -> u64 {
        let of = |name: &String| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid(name).unwrap())).unwrap();
            let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")).unwrap();
            1_024 * kilobytes.trim().parse::<u64>().unwrap()
        };
        self.validators().iter().map(of).max().unwrap()
    }

    /// What a node's API answers.
    #[track_caller]
    pub(crate) fn get(&self, name: &str, path: &str) -> Value {
        self.ask(name, path).unwrap_or_else(|| panic!("{name} does not answer {path}\n{}", self.story()))
    }

    /// A number in a node's status; `None` while it does not answer.
    pub(crate) fn status_number(&self, name: &str, key: &str) -> Option<u64> {
        self.ask(name, "/api/v1/status")?[key].as_u64()
    }

    /// Waits until a node's epochs are final up to this one.
    #[track_caller]
    pub(crate) fn node_final_through(&self, name: &str, epoch: u64) {
        until(&format!("epoch {epoch} on {name}"), || {
            (self.status_number(name, "final_epoch")? >= epoch).then_some(())
        });
    }

    /// The blocks that a node has, ascending from 1.
    #[track_caller]
    pub(crate) fn blocks(&self, name: &str) -> Vec<Value> {
        let mut blocks: Vec<Value> = Vec::new();
        loop {
            let before = blocks.last().map(|block| format!("&before={}", block["height"])).unwrap_or_default();
            let page = self.get(name, &format!("/api/v1/blocks?limit=1000{before}"));
            let page = page["blocks"].as_array().unwrap();
            blocks.extend_from_slice(page);
            if page.len() < 1_000 {
                break;
            }
        }
        blocks.reverse();
        let heights = blocks.iter().map(|block| block["height"].as_u64().unwrap());
        assert!(heights.eq(1..=blocks.len() as u64), "{name}: {blocks:?}");
        blocks
    }

    /// Compares all nodes' blocks and states at all heights that all of them have. Returns the blocks.
    #[track_caller]
    pub(crate) fn agreed_blocks(&self) -> Vec<Value> {
        let held: Vec<_> = self.names().into_iter().map(|name| (self.blocks(&name), name)).collect();
        let common = held.iter().map(|(blocks, _)| blocks.len()).min().unwrap();
        let (first, _) = &held[0];
        for (blocks, name) in &held {
            for (block, other) in blocks.iter().zip(first).take(common) {
                for key in ["block_hash", "state_root", "parent", "time"] {
                    assert_eq!(block[key], other[key], "{name} at height {}\n{}", block["height"], self.story());
                }
            }
        }
        first[..common].to_vec()
    }

    /// The keys of the validators whose votes stand in a node's certificate of a block.
    #[track_caller]
    pub(crate) fn voters(&self, name: &str, height: u64) -> Vec<String> {
        let certificate = self.get(name, &format!("/api/v1/blocks/{height}/certificate"));
        let votes = certificate["signatures"].as_array().unwrap().iter();
        votes.map(|vote| vote["key"].as_str().unwrap().to_owned()).collect()
    }

    /// The id of the only pool, which the genesis does not name.
    pub(crate) fn pool_id(&self) -> String {
        let output = Command::new(lucid())
            .args(["pool", "show", "--json", "--home"])
            .arg(self.home("validator-1"))
            .output()
            .unwrap();
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        shown["pool"].as_str().unwrap().to_owned()
    }

    /// Waits until validator-1 has settled a settlement, and returns the newest payout root up to it, with its leaves. A settlement
    /// in which nobody was measured makes no root: a machine under load can be too late for some.
    #[track_caller]
    pub(crate) fn ledger(&self, pool: &str, settlement: u64) -> Value {
        let path = format!("/api/v1/pools/{pool}");
        until("the settlement", || (self.ask("validator-1", &path)?["settled"].as_u64()? >= settlement).then_some(()));
        let root = |settlement| self.ask("validator-1", &format!("{path}/root?settlement={settlement}"));
        let found = (1..=settlement).rev().find_map(root);
        found.unwrap_or_else(|| panic!("no payout root up to settlement {settlement}\n{}", self.story()))
    }

    /// What `lucid status --json` says in a node's home.
    pub(crate) fn node_status(&self, name: &str) -> Value {
        let output = Command::new(lucid()).arg("--home").arg(self.dir().join(name)).args(["status", "--json"]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{name}: {}\n{}", errors(&output), self.story());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A signal to `up` itself.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Ended {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("no end in time\n{}", self.story()),
            }
        }
        let status = self.child.wait().unwrap();
        let text = self.report.take().unwrap().join().unwrap();
        let report = (!text.is_empty()).then(|| serde_json::from_str(&text).unwrap());
        Ended { status, report, lines: std::mem::take(&mut self.seen) }
    }

    /// Waits for the end, which must be a good one, and returns the report.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Value {
        let ended = self.end();
        assert!(ended.status.success(), "{}", ended.lines.join("\n"));
        ended.report.unwrap()
    }

    /// Everything that was printed, and the ends of the logs: for messages.
    fn story(&self) -> String {
        let mut story = self.seen.join("\n");
        let homes = std::fs::read_dir(self.dir()).into_iter().flatten().flatten();
        for log in homes.map(|home| home.path().join("node.log")).filter(|log| log.exists()) {
            story.push_str(&format!("\n{}:\n{}", log.display(), lucid_testnet::process::last_lines(&log, 5)));
        }
        story
    }
}

impl Drop for Network {
    /// A test that failed leaves nothing behind: the children die with `up`.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `lucid-testnet devnet` in a process of its own, on a free port.
pub(crate) struct Devnet {
    child: Child,
    /// What it said when it was ready.
    pub(crate) said: Value,
}

impl Devnet {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(TESTNET)
            .args(["devnet", "--port", "0", "--host", "127.0.0.1", "--json", "--quiet"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, said: serde_json::from_str(&line).unwrap() }
    }

    pub(crate) fn url(&self) -> &str {
        self.said["url"].as_str().unwrap()
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until none of these processes runs; a zombie counts as ended.
pub(crate) fn all_gone(pids: &[i32]) {
    let deadline = Instant::now() + PATIENCE;
    for pid in pids {
        let stat = format!("/proc/{pid}/stat");
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < deadline, "process {pid} still runs");
            std::thread::yield_now();
        }
    }
}
