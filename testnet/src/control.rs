//! How `status`, `kill`, `start` and `down` talk to the `up` that runs: `DIR/control.sock`, one JSON object a line.
//!
//! A connection carries one [`Request`] and gets one [`Reply`]; `down` is answered once every child has ended. Who may
//! connect is who may enter DIR, which is its owner alone.

pub mod client;
pub mod server;

use std::path::{Path, PathBuf};

use lucid_node::api::model::SyncState;
use serde::{Deserialize, Serialize};

use crate::manifest::{NodeEntry, TronEntry};

/// Longest line that either side reads.
pub const MAX_LINE: usize = 1 << 20;
/// Longest path of a unix socket that every system takes, without its final NUL.
const MAX_SOCKET_PATH: usize = 103;

/// What is asked of `up`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// What runs and how far it is.
    Status,
    /// SIGKILL for one process.
    Kill {
        /// Which one.
        name: String,
    },
    /// Start one that does not run.
    Start {
        /// Which one.
        name: String,
    },
    /// Stop everything and end.
    Down,
}

/// What `up` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// To `status`.
    Status(Status),
    /// To `kill` and `start`: it is done, and which process it concerned.
    Done {
        /// Its process id.
        pid: u32,
    },
    /// To `down`: every child has ended.
    Stopped,
    /// It was not done, and why.
    Error {
        /// For people.
        message: String,
    },
}

/// Every process and what was last seen of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The local TRON network.
    pub tron: TronEntry,
    /// The nodes, in the order of the plan.
    pub nodes: Vec<NodeStatus>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// As in `testnet.json`.
    #[serde(flatten)]
    pub entry: NodeEntry,
    /// Its head when it last answered; `None` before the first answer and while it is down.
    pub height: Option<u64>,
    /// Its peers then.
    pub peers: Option<usize>,
    /// Whether it lacked blocks then.
    pub sync: Option<SyncState>,
}

/// Where `up` listens.
pub fn socket(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

/// Refuses a DIR whose socket's path no system call would take.
///
/// # Errors
/// Says how long the path may be.
pub fn check_path(dir: &Path) -> Result<(), String> {
    let length = socket(dir).as_os_str().len();
    if length <= MAX_SOCKET_PATH {
        return Ok(());
    }
    Err(format!(
        "the path of {} is {length} bytes long and a unix socket takes {MAX_SOCKET_PATH}; choose a shorter --dir",
        socket(dir).display()
    ))
}

/// One line, with its end.
fn line(message: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(message).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_are_spelt_as_documented() {
        let kill = Request::Kill { name: "worker-1".into() };
        assert_eq!(serde_json::to_value(&kill).unwrap(), json!({ "command": "kill", "name": "worker-1" }));
        for request in [Request::Status, kill, Request::Start { name: "tron".into() }, Request::Down] {
            let bytes = line(&request);
            assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1);
            assert_eq!(serde_json::from_slice::<Request>(&bytes).unwrap(), request);
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for text in ["{}", "[]", r#"{"command":"kill"}"#, r#"{"command":"kill","name":"a","force":1}"#, r#""down""#] {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused() {
        check_path(Path::new("/tmp/net")).unwrap();
        let error = check_path(&PathBuf::from(format!("/tmp/{}", "x".repeat(100)))).unwrap_err();
        assert!(error.contains("shorter --dir"), "{error}");
    }
}
