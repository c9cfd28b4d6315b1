//! The node's configuration: what each key means, its default, and which values are possible.
//!
//! Where values come from (file, environment, command line) is [`load`]'s business; the table of keys with their
//! descriptions is [`settings`]. Nothing here reads or writes a file.

pub mod limits;
pub mod load;
pub mod locate;
pub mod settings;
pub mod tron;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use lucid_types::id::BlockHash;
use lucid_types::time::Height;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

pub use limits::LimitsConfig;
pub use tron::TronConfig;

/// What a node does for its network. A node has at least one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Measures workers and votes on blocks, if its key is a validator's.
    Validator,
    /// Offers its machine and is measured, once its key is registered and a member of a pool.
    Worker,
    /// Holds the key of a treasury signer and signs the payout roots that blocks have made final.
    Treasury,
    /// Is named in other nodes' bootstrap lists.
    Bootstrap,
    /// Follows the chain of blocks and nothing else.
    Observer,
}

impl Role {
    /// As it is written in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Validator => "validator",
            Self::Worker => "worker",
            Self::Treasury => "treasury",
            Self::Bootstrap => "bootstrap",
            Self::Observer => "observer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Everything that one node's operator decides. The network's parameters stand in the genesis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// For people.
    pub name: String,
    /// What the node does.
    pub roles: BTreeSet<Role>,
    /// The mesh.
    pub p2p: P2pConfig,
    /// The HTTP API.
    pub api: ApiConfig,
    /// The listener for Prometheus.
    pub metrics: MetricsConfig,
    /// The payment network.
    pub tron: TronConfig,
    /// The treasury signer.
    pub treasury: TreasuryConfig,
    /// The bridge of a worker that can lead.
    pub bridge: BridgeConfig,
    /// How a worker serves probes.
    pub probe: ProbeConfig,
    /// What its owner allows them to take.
    pub limits: LimitsConfig,
    /// How the node comes by the chain, and how much of it it keeps.
    pub sync: SyncConfig,
    /// Logging.
    pub log: LogConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "lucid".to_owned(),
            roles: BTreeSet::from([Role::Observer]),
            p2p: P2pConfig::default(),
            api: ApiConfig::default(),
            metrics: MetricsConfig::default(),
            tron: TronConfig::default(),
            treasury: TreasuryConfig::default(),
            bridge: BridgeConfig::default(),
            probe: ProbeConfig::default(),
            limits: LimitsConfig::default(),
            sync: SyncConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// The mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct P2pConfig {
    /// Multiaddresses to listen on.
    pub listen: Vec<String>,
    /// Multiaddresses at which others reach this node, when they differ from those it listens on.
    pub external: Vec<String>,
    /// Multiaddresses of nodes to start from, each ending in `/p2p/<peer id>`.
    pub bootstrap: Vec<String>,
    /// All nodes are on one machine or in one private network.
    pub local: bool,
}

impl Default for P2pConfig {
    fn default() -> Self {
        Self {
            listen: [
                "/ip4/0.0.0.0/tcp/7001",
                "/ip4/0.0.0.0/udp/7001/quic-v1",
                "/ip6/::/tcp/7001",
                "/ip6/::/udp/7001/quic-v1",
            ]
            .map(str::to_owned)
            .into(),
            external: Vec::new(),
            bootstrap: Vec::new(),
            local: false,
        }
    }
}

/// The HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Where it listens; a loopback address.
    pub listen: SocketAddr,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 8095).into() }
    }
}

/// The listener for Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Where it listens.
    pub listen: SocketAddr,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 9090).into() }
    }
}

/// The treasury signer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TreasuryConfig {
    /// File with the signer's key, relative to the home.
    pub key_file: PathBuf,
    /// Where `lucid signer` listens, relative to the home; empty if the key is in this process.
    pub socket: PathBuf,
}

impl Default for TreasuryConfig {
    fn default() -> Self {
        Self { key_file: PathBuf::from("treasury.key"), socket: PathBuf::new() }
    }
}

/// The bridge of a worker that can lead: it pays for the transactions that pay its pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BridgeConfig {
    /// File with the key of the gas account, relative to the home.
    pub key_file: PathBuf,
    /// Most whole TRX that the gas account may spend in 24 hours.
    pub max_trx_per_day: u32,
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self { key_file: PathBuf::from("gas.key"), max_trx_per_day: 500 }
    }
}

/// How a worker serves probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeConfig {
    /// Echoes served at a time; further ones are refused.
    pub echo_sessions: u32,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { echo_sessions: 8 }
    }
}

/// How a node comes by the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SyncMode {
    /// From a certified state that peers give, and the blocks after it.
    #[default]
    Snapshot,
    /// From every block since the genesis.
    Full,
}

/// How the node comes by the chain, and how much of it it keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyncConfig {
    /// Where a node begins that has no state, or is far behind.
    pub mode: SyncMode,
    /// Keeps every block, and fetches every block.
    pub archive: bool,
    /// Seconds that blocks are kept, if this is no archive; 0: as the network's policy says.
    pub keep_blocks_s: u64,
    /// `HEIGHT:HASH` of a block that the chain must have; empty for none.
    pub pinned: String,
}

/// A block that the chain must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub block: BlockHash,
}

impl SyncConfig {
    /// How the node comes by the chain: an archive needs every block.
    pub const fn mode(&self) -> SyncMode {
        if self.archive { SyncMode::Full } else { self.mode }
    }

    /// The pinned block; `None` if there is none, or the text is none.
    pub fn pin(&self) -> Option<Pin> {
        let (height, block) = self.pinned.split_once(':')?;
        let height = height.parse().ok().filter(|height| *height > 0)?;
        Some(Pin { height: Height::new(height), block: block.parse().ok()? })
    }

    fn check(&self) -> Result<(), Invalid> {
        if !self.pinned.is_empty() && self.pin().is_none() {
            let problem = "HEIGHT:HASH of a final block is expected, as `lucid block show` prints them";
            return Err(invalid("sync.pinned", &self.pinned, problem));
        }
        if (1..60).contains(&self.keep_blocks_s) {
            return Err(invalid("sync.keep_blocks_s", self.keep_blocks_s, "0 or at least 60 is possible"));
        }
        Ok(())
    }
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Which events are logged, in the syntax of `RUST_LOG`, which goes before it.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info,libp2p=error,arc_malachitebft_core_consensus=warn".to_owned(), json: false }
    }
}

/// A text that no log, dump or message shows. Wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(hidden)")
    }
}

/// A value that has the right type and yet cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: {problem}")]
pub struct Invalid {
    /// The key.
    pub key: &'static str,
    /// The value at fault, for a list the item.
    pub value: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

fn invalid(key: &'static str, value: impl fmt::Debug, problem: impl Into<String>) -> Invalid {
    Invalid { key, value: format!("{value:?}"), problem: problem.into() }
}

impl Config {
    /// Whether the node has `role`.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether the node's own process holds the key of a treasury signer.
    pub fn holds_signer_key(&self) -> bool {
        self.has(Role::Treasury) && self.treasury.socket.as_os_str().is_empty()
    }

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// The first key whose value cannot be.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.name.is_empty() || self.name.len() > 64 || self.name.chars().any(char::is_control) {
            return Err(invalid("name", &self.name, "1 to 64 bytes without control characters are expected"));
        }
        if self.roles.is_empty() {
            let all = "give at least one of validator, worker, treasury, bootstrap, observer";
            return Err(Invalid { key: "roles", value: "[]".to_owned(), problem: all.to_owned() });
        }
        self.p2p.check()?;
        if !self.api.listen.ip().is_loopback() {
            let problem = "only a loopback address such as 127.0.0.1:8095 or [::1]:8095 is served: the API asks \
                           nobody who they are. Put an authenticating proxy before it to reach it from elsewhere";
            return Err(invalid("api.listen", self.api.listen, problem));
        }
        if self.api.listen == self.metrics.listen && self.api.listen.port() != 0 {
            return Err(invalid("metrics.listen", self.metrics.listen, "the same as api.listen; choose another port"));
        }
        self.tron.check()?;
        for (key, file) in [("treasury.key_file", &self.treasury.key_file), ("bridge.key_file", &self.bridge.key_file)]
        {
            if file.as_os_str().is_empty() {
                return Err(invalid(key, "", "a file name is expected"));
            }
        }
        if self.treasury.key_file == self.bridge.key_file {
            let problem = "the same as treasury.key_file: a signer's key never pays for transactions, use two keys";
            return Err(invalid("bridge.key_file", &self.bridge.key_file, problem));
        }
        if !(1..=1_000_000).contains(&self.bridge.max_trx_per_day) {
            return Err(invalid("bridge.max_trx_per_day", self.bridge.max_trx_per_day, "1 to 1000000 are possible"));
        }
        if !(1..=64).contains(&self.probe.echo_sessions) {
            return Err(invalid("probe.echo_sessions", self.probe.echo_sessions, "1 to 64 are possible"));
        }
        self.limits.check()?;
        self.sync.check()?;
        if let Err(e) = EnvFilter::try_new(&self.log.filter) {
            return Err(invalid("log.filter", &self.log.filter, format!("{e}; for example \"info,lucid_p2p=debug\"")));
        }
        Ok(())
    }
}

impl P2pConfig {
    /// A first look, so that mistakes are told with their key; the mesh parses the addresses in full.
    fn check(&self) -> Result<(), Invalid> {
        for address in &self.listen {
            let parts: Vec<&str> = address.split('/').collect();
            let usable = matches!(
                parts.as_slice(),
                ["", "ip4" | "ip6", _, "tcp", _] | ["", "ip4" | "ip6", _, "udp", _, "quic-v1"]
            );
            if !usable {
                let problem =
                    "a multiaddress such as /ip4/0.0.0.0/tcp/7001 or /ip4/0.0.0.0/udp/7001/quic-v1 is expected";
                return Err(invalid("p2p.listen", address, problem));
            }
        }
        for address in &self.external {
            if !address.starts_with('/') {
                let problem = "a multiaddress such as /ip4/203.0.113.7/tcp/7001 is expected";
                return Err(invalid("p2p.external", address, problem));
            }
        }
        for address in &self.bootstrap {
            let peer = address.rsplit_once("/p2p/").filter(|(_, peer)| !peer.is_empty() && !peer.contains('/'));
            if !address.starts_with('/') || peer.is_none() {
                let problem = "a multiaddress that ends in /p2p/<peer id> is expected; `lucid init` and `lucid status` \
                               print a node's peer id";
                return Err(invalid("p2p.bootstrap", address, problem));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
