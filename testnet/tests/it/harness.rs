//! One running `lucid-testnet up`: its lines as events, its commands, its report.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

const TESTNET: &str = env!("CARGO_BIN_EXE_lucid-testnet");
/// Longest wait for anything; a healthy network needs a fraction of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits until no other test runs a network.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
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
    _alone: MutexGuard<'static, ()>,
}

/// How an `up` ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) report: Option<Value>,
    pub(crate) lines: Vec<String>,
}

impl Network {
    /// Starts `up --json` in a new folder with these arguments besides.
    pub(crate) fn up(arguments: &[&str]) -> Self {
        Self::up_alone(arguments, alone())
    }

    /// The same for a test that has waited for the others already.
    pub(crate) fn up_alone(arguments: &[&str], alone: MutexGuard<'static, ()>) -> Self {
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
        Self { child, lines, seen: Vec::new(), report: Some(report), dir, _alone: alone }
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

    /// Waits until all processes run.
    pub(crate) fn ready(&mut self) {
        self.line("running nodes", |line| line.contains("processes run and answer"));
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

    /// Epochs that have become final so far, without waiting: the lines that are there.
    pub(crate) fn final_by_now(&mut self) -> Vec<String> {
        let new: Vec<_> = self.lines.try_iter().collect();
        self.seen.extend(new.iter().cloned());
        new.into_iter().filter(|line| line.starts_with("-- epoch ")).collect()
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
