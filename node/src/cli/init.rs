//! `lucid init`: makes a home and says who the node is.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;
use lucid_types::validator::Validator;
use lucid_types::validator_key::ValidatorKey;
use serde_json::json;

use super::output;
use super::validator::keys::entry_text;
use crate::config::{Config, Role};
use crate::home::{Home, NewHome};

const EXAMPLES: &str = "\
Examples:
  lucid init --role worker --bootstrap /ip4/203.0.113.7/tcp/7001/p2p/12D3KooW... --genesis genesis.toml
  lucid init --home v1 --role validator --role bootstrap --listen /ip4/127.0.0.1/tcp/7001 --local --json

Nothing that exists is overwritten.";

/// What the new home's configuration says; everything else has its default.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InitArgs {
    /// What the node does; may be given several times [default: observer]
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<Role>,
    /// The node's name, for people
    #[arg(long)]
    name: Option<String>,
    /// Multiaddress to listen on; may be given several times
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<String>,
    /// Multiaddress of a node to start from, ending in /p2p/<peer id>; may be given several times
    #[arg(long, value_name = "MULTIADDR")]
    bootstrap: Vec<String>,
    /// All nodes are on one machine or in one private network
    #[arg(long)]
    local: bool,
    /// Where the HTTP API listens
    #[arg(long, value_name = "IP:PORT")]
    api: Option<SocketAddr>,
    /// Where metrics are served
    #[arg(long, value_name = "IP:PORT")]
    metrics: Option<SocketAddr>,
    /// A provider group of TRON: base URL of a full node's HTTP API, or several separated by |; each further --tron is
    /// another group
    #[arg(long, value_name = "URL")]
    tron: Vec<String>,
    /// Where `lucid signer` listens: a treasury signer whose key is in that process, not in this home
    #[arg(long, value_name = "PATH")]
    treasury_socket: Option<PathBuf>,
    /// The network's genesis; it is checked and copied into the home
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl InitArgs {
    fn config(&self) -> Config {
        let mut config = Config::default();
        let list = |given: &[String], default: Vec<String>| if given.is_empty() { default } else { given.to_vec() };
        if !self.roles.is_empty() {
            config.roles = self.roles.iter().copied().collect();
        }
        config.name = self.name.clone().unwrap_or(config.name);
        config.p2p.listen = list(&self.listen, config.p2p.listen);
        config.p2p.bootstrap = list(&self.bootstrap, config.p2p.bootstrap);
        config.p2p.local = self.local;
        config.api.listen = self.api.unwrap_or(config.api.listen);
        config.metrics.listen = self.metrics.unwrap_or(config.metrics.listen);
        config.tron.providers = list(&self.tron, config.tron.providers);
        config.treasury.socket = self.treasury_socket.clone().unwrap_or(config.treasury.socket);
        config
    }
}

pub(super) fn init(home: &Home, args: InitArgs, set: &[(String, String)]) -> anyhow::Result<()> {
    if !set.is_empty() {
        return Err(anyhow!("--set overrides a configuration that exists; `lucid init` has flags of its own"));
    }
    let config = args.config();
    config.check().context("these options make no configuration")?;
    let NewHome { key, validator_key, gas_address, signer_address } = home.create(&config, args.genesis.as_deref())?;
    let node_id = key.account();
    let peer_id = lucid_p2p::peer_id_string(&key.public_key()).ok_or_else(|| anyhow!("the new key has no peer id"))?;
    let addresses: Vec<String> = config.p2p.listen.iter().map(|listen| format!("{listen}/p2p/{peer_id}")).collect();
    let entry = |key: &ValidatorKey| Validator { node: node_id, power: 1, operator: node_id, keys: key.keys(&node_id) };
    let validator = validator_key.as_ref().map(entry);
    if args.json {
        return output::json(&json!({
            "home": home.root(), "node_id": node_id, "peer_id": peer_id, "addresses": addresses,
            "gas_address": gas_address, "signer_address": signer_address, "validator": validator,
        }));
    }
    let mut lines =
        vec![("home", home.root().display().to_string()), ("node id", node_id.to_string()), ("peer id", peer_id)];
    for (index, address) in addresses.into_iter().enumerate() {
        lines.push((if index == 0 { "addresses" } else { "" }, address));
    }
    lines.extend(gas_address.map(|address| ("gas address", address.to_string())));
    lines.extend(signer_address.map(|address| ("signer address", address.to_string())));
    output::print(&output::pairs(&lines))?;
    let next = if args.genesis.is_some() {
        format!("Start it with `lucid run --home {}`.\n", home.root().display())
    } else {
        format!("Put the network's genesis at {} before you start it.\n", home.genesis_file().display())
    };
    let mut keep = format!("\nKeep {} safe: it is the node's identity.\n", home.key_file().display());
    if gas_address.is_some() {
        keep.push_str(
            "The gas address pays for the transactions of a leader: it needs some TRX, and no more than that.\n",
        );
    }
    if signer_address.is_some() {
        keep.push_str("The signer's key signs for the pool's vault. Its address needs TRX only to pause the vault.\n");
    }
    if let Some(validator) = validator {
        keep.push_str(&format!(
            "The keys in {} sign as a validator: they must never be on two machines that run.\n\nIts entry in a genesis, with the power and \
             the operator that are agreed on:\n\n",
            home.validator_keys_dir().display()
        ));
        keep.push_str(&entry_text(&validator)?);
        keep.push('\n');
    }
    output::print(&(keep + &next))
}
