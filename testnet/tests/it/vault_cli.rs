//! `lucid vault`, `payout`, `pool` and `tron` as their users run them: the real executable against real processes.

mod interrupted;
mod life;
mod network;
mod refusals;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lucid_tron_bridge::key::TronKey;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{self, errors, lucid};

/// A local TRON network in a process of its own, with control over its time. A block is made for every transaction.
struct Devnet {
    url: String,
    /// The USDT contract; account 0 holds all of it.
    usdt: String,
    accounts: Vec<(String, String)>,
    dir: TempDir,
    _process: harness::Devnet,
}

impl Devnet {
    fn start() -> Self {
        let process = harness::Devnet::start(&["--on-demand", "--control"]);
        let said = &process.said;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let accounts = said["accounts"].as_array().unwrap().iter();
        Self {
            url: process.url().to_owned(),
            usdt: text(&said["usdt"]),
            accounts: accounts.map(|account| (text(&account["address"]), text(&account["key"]))).collect(),
            dir: TempDir::with_prefix("lucid-cli-").unwrap(),
            _process: process,
        }
    }

    fn address(&self, account: usize) -> &str {
        &self.accounts[account].0
    }

    /// A file with an account's key.
    fn key_file(&self, account: usize) -> String {
        self.private(&format!("account-{account}.key"), &self.accounts[account].1)
    }

    /// A file that its owner only may read.
    fn private(&self, name: &str, content: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn new_key(&self, name: &str) -> (TronKey, String) {
        let (key, path) = (TronKey::generate().unwrap(), self.dir.path().join(name));
        key.save_new(&path).unwrap();
        (key, path.to_str().unwrap().to_owned())
    }

    /// Lets the chain's time pass.
    fn travel(&self, seconds: u64) {
        let body = format!("{{\"milliseconds\": {}}}", seconds * 1_000);
        let host = self.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        let head = format!(
            "POST /devnet/travel HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// `lucid` on this network, without a home.
    fn run(&self, arguments: &[&str]) -> Output {
        run(arguments, &["--tron", &self.url, "--network", "local"])
    }
}

/// `lucid` with these arguments and nobody at a terminal.
pub(crate) fn run(arguments: &[&str], more: &[&str]) -> Output {
    let mut command = Command::new(lucid());
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("LUCID_") {
            command.env_remove(variable);
        }
    }
    command.args(arguments).args(more).stdin(Stdio::null()).output().unwrap()
}

/// What a command that succeeded printed as JSON.
#[track_caller]
pub(crate) fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), errors(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a command that failed said; every word of `told` is in it.
#[track_caller]
pub(crate) fn refused(output: &Output, told: &[&str]) -> String {
    let text = errors(output);
    assert_eq!(output.status.code(), Some(1), "{}{text}", String::from_utf8_lossy(&output.stdout));
    for word in told {
        assert!(text.contains(word), "{word:?} is missing:\n{text}");
    }
    text
}

pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} in {value}"))
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder's file as an argument.
fn file(dir: &Path, name: &str) -> (PathBuf, String) {
    let path = dir.join(name);
    let text = path.to_str().unwrap().to_owned();
    (path, text)
}
