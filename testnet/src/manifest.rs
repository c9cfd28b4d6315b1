//! `DIR/testnet.json`: what runs where, for scripts, while a testnet runs.
//!
//! Written whole beside its place and renamed, so that a reader never sees half of it; removed at the end.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lucid_types::id::{NetworkId, NodeId, PayoutAddress, SolidBlockId};
use serde::{Deserialize, Serialize};

use crate::plan::Role;

/// The file's contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The network.
    pub network_id: NetworkId,
    /// The string by which nodes join the network and its pool.
    pub join: String,
    /// The process of `up`.
    pub pid: u32,
    /// The local TRON network.
    pub tron: TronEntry,
    /// The nodes: validators, then workers.
    pub nodes: Vec<NodeEntry>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Its name, for `kill` and `start`.
    pub name: String,
    /// What it does.
    pub roles: Vec<Role>,
    /// Its process; `None` while it does not run.
    pub pid: Option<u32>,
    /// Its home directory.
    pub home: PathBuf,
    /// Address and port of its HTTP API.
    pub api: String,
    /// Its identity.
    pub node_id: NodeId,
    /// Its libp2p identity.
    pub peer_id: String,
    /// Where it is paid; workers only.
    pub payout_address: Option<PayoutAddress>,
}

/// The local TRON network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TronEntry {
    /// `tron`, for `kill` and `start`.
    pub name: String,
    /// Its process; `None` while it does not run.
    pub pid: Option<u32>,
    /// Its home directory.
    pub home: PathBuf,
    /// Base URL of its HTTP API.
    pub url: String,
    /// Id of its block 0.
    pub genesis_block: SolidBlockId,
    /// The USDT contract.
    pub usdt_contract: PayoutAddress,
    /// The contract that pays.
    pub vault: PayoutAddress,
}

/// Where the file is.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("testnet.json")
}

impl Manifest {
    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written or renamed.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        bytes.push(b'\n');
        replace(&path(dir), &bytes)
    }
}

/// Puts `bytes` in place of a file in one step.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> Manifest {
        let address = |byte| PayoutAddress::from_hash20([byte; 20]);
        Manifest {
            network_id: NetworkId::from_bytes([1; 32]),
            join: "lucid1x".into(),
            pid: 100,
            tron: TronEntry {
                name: "tron".into(),
                pid: Some(101),
                home: "/tmp/n/tron".into(),
                url: "http://127.0.0.1:9000".into(),
                genesis_block: SolidBlockId::from_bytes([2; 32]),
                usdt_contract: address(3),
                vault: address(4),
            },
            nodes: vec![NodeEntry {
                name: "worker-1".into(),
                roles: vec![Role::Worker],
                pid: None,
                home: "/tmp/n/worker-1".into(),
                api: "127.0.0.1:9011".into(),
                node_id: NodeId::from_bytes([5; 32]),
                peer_id: "12D3".into(),
                payout_address: Some(address(6)),
            }],
        }
    }

    #[test]
    fn the_file_is_replaced_whole_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = sample();
        manifest.write(dir.path()).unwrap();
        manifest.nodes[0].pid = Some(7);
        manifest.write(dir.path()).unwrap();
        let text = std::fs::read_to_string(path(dir.path())).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn scripts_find_the_documented_keys() {
        let json = serde_json::to_value(sample()).unwrap();
        for key in ["name", "roles", "pid", "home", "api"] {
            assert!(json["nodes"][0].get(key).is_some(), "{key}");
            assert!(key == "roles" || key == "api" || json["tron"].get(key).is_some(), "{key}");
        }
        assert_eq!(json["nodes"][0]["roles"][0], "worker");
        assert!(json["nodes"][0]["pid"].is_null());
    }
}
