//! `lucid network invite`: the home's network as one string.

use anyhow::{Context as _, ensure};
use clap::Args;
use lucid_types::id::PublicKey;
use lucid_types::join::{Bootstrap, JoinPool, JoinString, Pin};
use lucid_types::time::Height;
use serde_json::json;

use super::super::act::say;
use super::super::place::now_s;
use super::super::{Context, Json, output};
use super::string_view;
use crate::api::model::{BlockList, StatusView, SyncState};
use crate::config::P2pConfig;

const EXAMPLES: &str = "\
Examples:
  lucid network invite
  lucid network invite --pool POOL
  lucid network invite --bootstrap /dns4/boot.example.org/tcp/7001/p2p/12D3KooW...";

/// What the string says.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct InviteArgs {
    /// Multiaddress of a node to start from, ending in /p2p/<peer id>; up to 5 [default: where this node can be reached, as its
    /// configuration says, and its own bootstrap nodes]
    #[arg(long, value_name = "MULTIADDR")]
    bootstrap: Vec<String>,
    /// Pin no block: works without the node, and protects the new node less
    #[arg(long)]
    no_pin: bool,
    #[command(flatten)]
    json: Json,
}

/// Prints the string, with what opens a pool if there is that.
pub(in crate::cli) fn invite(args: InviteArgs, pool: Option<JoinPool>, context: &Context) -> anyhow::Result<()> {
    let home = context.home()?;
    let network = home.load_genesis()?.network_id;
    let addresses = if args.bootstrap.is_empty() {
        let p2p = context.configuration()?.config.p2p;
        own_addresses(&p2p, &home.load_key()?.public_key())
    } else {
        args.bootstrap
    };
    let pin = if args.no_pin { None } else { newest_block(context)? };
    let string = JoinString { network, bootstrap: bootstrap(addresses)?, pool, pin };
    let text = string.to_string();
    if args.json.json {
        return output::json(&json!({ "string": text, "says": string_view(&string) }));
    }
    output::print(&format!("{text}\n"))
}

/// Addresses that a mesh can start from.
pub(super) fn bootstrap(addresses: Vec<String>) -> anyhow::Result<Bootstrap> {
    for address in &addresses {
        lucid_p2p::bootstrap_node(address)?;
    }
    Bootstrap::new(addresses).context(
        "no list of nodes to start from: name one to five with --bootstrap, or set p2p.external to where others reach this node",
    )
}

/// Where others reach this node, as far as its configuration says, and then the nodes that it starts from itself; at most five.
fn own_addresses(p2p: &P2pConfig, node: &PublicKey) -> Vec<String> {
    let own = if p2p.external.is_empty() { &p2p.listen } else { &p2p.external };
    let is_somewhere = |address: &&String| {
        let is_any = ["/0.0.0.0/", "/::/"].iter().any(|any| address.contains(any)) || address.contains("/tcp/0");
        !is_any && !address.contains("/udp/0/") && (p2p.local || !lucid_p2p::is_private_address(address))
    };
    let with_peer = |address: &String| match lucid_p2p::peer_id_string(node) {
        Some(peer) if !address.contains("/p2p/") => format!("{address}/p2p/{peer}"),
        _ => address.clone(),
    };
    let own = own.iter().filter(is_somewhere).map(with_peer);
    let mut addresses: Vec<String> = Vec::new();
    for address in own.chain(p2p.bootstrap.iter().cloned()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses.truncate(Bootstrap::MAX_ADDRESSES);
    addresses
}

/// The newest block of the running node; `None` before the first.
fn newest_block(context: &Context) -> anyhow::Result<Option<Pin>> {
    let api =
        context.api().context("the newest block is pinned, and the running node knows it; --no-pin does without")?;
    let ask = "the running node is asked for the newest block, to pin it: start it with `lucid run`, or use --no-pin";
    let status: StatusView = api.get("status").context(ask)?;
    ensure!(
        status.sync != SyncState::Syncing,
        "the node is still catching up, at block {}: wait until `lucid status` says synced, or use --no-pin",
        status.height
    );
    let list: BlockList = api.get("blocks?limit=1").context(ask)?;
    let Some(block) = list.blocks.first() else {
        // After a snapshot and before the next block none is stored.
        ensure!(
            status.height == Height::ZERO,
            "the node has just begun with a snapshot: try again after its next block"
        );
        say("the chain has no block yet that could be pinned")?;
        return Ok(None);
    };
    let age = now_s().saturating_sub(block.time.get() / 1_000);
    if age > 3_600 {
        say(&format!("warning: the newest block, {}, is {} old", block.height, super::duration_of(age)))?;
    }
    Ok(Some(Pin { height: block.height, block: block.block_hash, time: block.time }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_names_where_others_reach_it() {
        let node = PublicKey::from_bytes([1; 32]);
        let peer = lucid_p2p::peer_id_string(&node).unwrap_or_default();
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let own = |p2p: &P2pConfig| own_addresses(p2p, &node);
        let everywhere = P2pConfig { bootstrap: list(&["/dns4/b/tcp/1/p2p/x"]), ..P2pConfig::default() };
        assert_eq!(own(&everywhere), ["/dns4/b/tcp/1/p2p/x"], "an address of every interface is none");
        let external = P2pConfig { external: list(&["/dns4/me/tcp/1"]), ..everywhere };
        assert_eq!(own(&external), [format!("/dns4/me/tcp/1/p2p/{peer}"), "/dns4/b/tcp/1/p2p/x".to_owned()]);
        let private =
            P2pConfig { listen: list(&["/ip4/10.0.0.1/tcp/7001", "/ip4/8.8.8.8/tcp/0"]), ..P2pConfig::default() };
        assert!(own(&private).is_empty());
        assert_eq!(own(&P2pConfig { local: true, ..private }), [format!("/ip4/10.0.0.1/tcp/7001/p2p/{peer}")]);
        let many = (0..9).map(|n| format!("/ip4/8.8.8.{n}/tcp/1/p2p/x")).collect();
        assert_eq!(own(&P2pConfig { bootstrap: many, ..P2pConfig::default() }).len(), Bootstrap::MAX_ADDRESSES);
    }
}
