//! The stack of libp2p behaviours of one node, in the order in which they are asked about a connection.

use std::num::NonZeroUsize;
use std::sync::Arc;

use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{PeerId, StreamProtocol, identify, kad, ping};

use crate::budget::Pool;
use crate::config::MeshConfig;
use crate::counters::Counters;
use crate::echo;
use crate::error::StartError;
use crate::gate::Queue;
use crate::gossip::{self, Topics};
use crate::guard::{self, PeerManager};
use crate::protocol::Protocol;
use crate::rpc;
use crate::task::Ticket;
use crate::trusted::Trusted;

/// What separates our agent string from the boot id in Identify's agent field.
const BOOT_MARK: &str = " boot/";
/// Characters of a peer's agent string that are shown.
const MAX_AGENT: usize = 64;

/// The guard comes first: what it refuses, no other behaviour hears of.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) guard: guard::Behaviour,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) kad: kad::Behaviour<MemoryStore>,
    pub(crate) gossip: gossip::Behaviour,
    pub(crate) sync: rpc::Behaviour,
    pub(crate) probe: rpc::Behaviour,
    pub(crate) command: rpc::Behaviour,
    pub(crate) cosign: rpc::Behaviour,
    pub(crate) storage: rpc::Behaviour,
    pub(crate) validate: rpc::Behaviour,
    pub(crate) echo: echo::Behaviour,
}

/// Names that carry the network id.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// Identify's protocol version: what tells networks apart.
    pub(crate) network: String,
    /// Kademlia.
    pub(crate) kad: StreamProtocol,
}

/// What behaviours have in common with the event loop and the gate.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    pub(crate) trusted: &'a Trusted,
    pub(crate) queue: &'a Arc<Queue<Ticket>>,
    pub(crate) counters: &'a Arc<Counters>,
}

impl Behaviour {
    /// Builds the stack. `boot` is drawn anew at every start.
    pub(crate) fn new(
        key: &Keypair,
        boot: &str,
        config: &MeshConfig,
        topics: &Topics,
        manager: PeerManager,
        Shared { trusted, queue, counters }: Shared<'_>,
    ) -> Result<(Self, Names), StartError> {
        let own = key.public().to_peer_id();
        let timing = config.timing();
        let network = format!("/lucid/{}/1", config.network_id);
        let kad_name = stream_protocol(format!("/lucid/{}/kad/1", config.network_id))?;
        let agent = format!("{}{BOOT_MARK}{boot}", printable(&config.agent));
        let identify = identify::Config::new(network.clone(), key.public())
            .with_agent_version(agent)
            .with_push_listen_addr_updates(true)
            // The address book remembers addresses; Identify need not.
            .with_cache_size(0);
        let rpc = |protocol: Protocol| {
            let name = stream_protocol(protocol.name(&config.network_id))?;
            let max_pool = config.limits.max_pool;
            Ok::<_, StartError>(rpc::Behaviour::new(protocol, name, max_pool, trusted.clone(), Arc::clone(counters)))
        };
        let echo_name = stream_protocol(format!("/lucid/{}/echo/1", config.network_id))?;
        let behaviour = Self {
            guard: guard::Behaviour::new(manager, Arc::clone(counters)),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(timing.ping).with_timeout(timing.ping_timeout),
            ),
            kad: kademlia(own, kad_name.clone(), config.kad_server),
            gossip: gossip::behaviour(config, topics, Arc::clone(queue), Arc::clone(counters))?,
            sync: rpc(Protocol::Sync)?,
            probe: rpc(Protocol::Probe)?,
            command: rpc(Protocol::Command)?,
            cosign: rpc(Protocol::Cosign)?,
            storage: rpc(Protocol::Storage)?,
            validate: rpc(Protocol::Validate)?,
            echo: echo::Behaviour::new(
                echo_name,
                config.limits.streams,
                config.limits.streams_per_peer,
                trusted.clone(),
            ),
        };
        Ok((behaviour, Names { network, kad: kad_name }))
    }

    /// What requests of peers hold, protocol by protocol.
    pub(crate) fn requests(&mut self) -> [(Protocol, Pool); 6] {
        Protocol::ALL.map(|protocol| (protocol, self.rpc(protocol).requests().clone()))
    }

    /// The behaviour of one request-response protocol.
    pub(crate) fn rpc(&mut self, protocol: Protocol) -> &mut rpc::Behaviour {
        match protocol {
            Protocol::Sync => &mut self.sync,
            Protocol::Probe => &mut self.probe,
            Protocol::Command => &mut self.command,
            Protocol::Cosign => &mut self.cosign,
            Protocol::Storage => &mut self.storage,
            Protocol::Validate => &mut self.validate,
        }
    }
}

/// Routing only: records and providers that others send are not stored, and nobody gets into the routing table who
/// has not identified himself. The mode is explicit: libp2p's own choice needs a confirmed public address, which no
/// node on loopback or a LAN ever has.
fn kademlia(own: PeerId, name: StreamProtocol, server: bool) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(name);
    config
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_caching(kad::Caching::Disabled)
        .set_record_ttl(None)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_periodic_bootstrap_interval(None)
        .set_parallelism(NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN))
        .disjoint_query_paths(true)
        .set_query_timeout(std::time::Duration::from_secs(15));
    let mut kad = kad::Behaviour::with_config(own, MemoryStore::new(own), config);
    kad.set_mode(Some(if server { kad::Mode::Server } else { kad::Mode::Client }));
    kad
}

fn stream_protocol(name: String) -> Result<StreamProtocol, StartError> {
    StreamProtocol::try_from_owned(name)
        .map_err(|e| StartError::Transport { transport: "protocol negotiation", problem: e.to_string() })
}

/// Splits Identify's agent field into what is shown and the boot id.
pub(crate) fn split_agent(agent: &str) -> (String, Option<&str>) {
    match agent.split_once(BOOT_MARK) {
        Some((agent, boot)) => (printable(agent), Some(boot)),
        None => (printable(agent), None),
    }
}

/// Peers choose their agent strings; terminals and logs must not mind.
fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(MAX_AGENT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_string_is_cut_and_cleaned() {
        assert_eq!(split_agent("lucid/0.1.0 boot/00ff"), ("lucid/0.1.0".to_owned(), Some("00ff")));
        assert_eq!(split_agent("a\u{1b}[31mb\n"), ("a[31mb".to_owned(), None));
        assert_eq!(split_agent(&"x".repeat(500)).0.len(), MAX_AGENT);
    }
}
