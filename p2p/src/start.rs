//! Starting a mesh: checks the configuration, binds the sockets, starts the gate threads. Nothing is sent before
//! [`MeshTask::run`].

use std::io;
use std::sync::Arc;
use std::time::Instant;

use libp2p::identity::Keypair;
use libp2p::{Swarm, swarm};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::behaviour::{Behaviour, Shared};
use crate::config::{MeshConfig, Timing};
use crate::counters::Counters;
use crate::error::StartError;
use crate::events::Events;
use crate::gate::{Gate, Pool, Queue};
use crate::gossip::Topics;
use crate::guard::PeerManager;
use crate::identity::to_public_key;
use crate::manager::{Bounds, Source};
use crate::mesh::{COMMANDS, Mesh, Snapshot};
use crate::task::{MeshTask, Parts};
use crate::transport::{self, Carrier, DialPolicy};
use crate::trusted::Trusted;
use crate::{addr, listen};

/// A mesh that has bound its sockets: the handle, what it tells, and the task that must be run.
pub type Started<T> = (Mesh, Events<T>, MeshTask<T>);

/// Starts a mesh with the ed25519 key of `seed` and `gate` before its gossip.
///
/// The returned task must be run; the mesh and its events live through it. Must be called inside a tokio runtime.
///
/// # Errors
/// [`StartError`]: a bad address in the configuration, a port in use, no runtime. Nothing is left running then.
pub fn start<G: Gate>(config: MeshConfig, seed: &[u8; 32], gate: Arc<G>) -> Result<Started<G::Item>, StartError> {
    start_with(config, seed, gate, transport::by_system)
}

fn start_with<G: Gate>(
    config: MeshConfig,
    seed: &[u8; 32],
    gate: Arc<G>,
    resolve: impl FnOnce(Carrier) -> io::Result<Carrier>,
) -> Result<Started<G::Item>, StartError> {
    Handle::try_current().map_err(StartError::NoRuntime)?;
    let key = Keypair::ed25519_from_bytes(*seed).map_err(StartError::Key)?;
    let own = key.public().to_peer_id();
    let public_key = to_public_key(&own).ok_or_else(|| StartError::Transport {
        transport: "identity",
        problem: "libp2p made a peer id that does not hold the key".to_owned(),
    })?;

    let counters = Arc::new(Counters::default());
    let topics = Topics::new(&config);
    let bootstrap = config.bootstrap.iter().map(|text| addr::parse_with_peer("bootstrap", text));
    let mut bootstrap = bootstrap.collect::<Result<Vec<_>, _>>()?;
    let trusted = Trusted::new(bootstrap.iter().map(|(peer, _)| *peer).collect());
    bootstrap.retain(|(peer, _)| *peer != own);
    let bounds = Bounds::new(&config.limits, config.local);
    let mut manager = PeerManager::new(own, bounds, config.timing(), random()?);
    let now = Instant::now();
    for (peer, address) in &bootstrap {
        manager.configure(now, *peer, address.clone());
    }
    for text in &config.saved_peers {
        match addr::parse_with_peer("saved_peers", text) {
            // What a name stands for changes: those that matter stand in the configuration.
            Ok((peer, address)) if addr::ip(&address).is_some() && addr::dialable(&address, config.local) => {
                manager.learn(now, peer, [address], Source::Saved);
            }
            Ok(_) => counters.add("peers", "saved-address-unused"),
            Err(error) => {
                tracing::warn!(%error, "a saved peer is left out");
                counters.add("peers", "saved-address-bad");
            }
        }
    }
    // Tells this run from the one before, so that peers notice a restart while old connections still look alive.
    let boot_id = u64::from_le_bytes(random()?).to_string();
    let queue = Arc::new(Queue::new(config.limits.gate_bytes));
    let shared = Shared { trusted: &trusted, queue: &queue, counters: &counters };
    let (mut behaviour, names) = Behaviour::new(&key, &boot_id, &config, &topics, manager, shared)?;
    let requests = behaviour.requests();
    let configured = bootstrap.iter().map(|(_, address)| address.clone());
    let policy = DialPolicy::new(config.local, configured, Arc::clone(&counters));
    let carrier = transport::carrier(&key, config.timing(), policy, resolve)?;
    let mut swarm = swarm(&key, carrier, behaviour, config.timing());
    for text in &config.external {
        let (_, address) = addr::split_peer(addr::parse("external", text)?);
        if !addr::dialable(&address, config.local) {
            tracing::warn!(%address, "others do not dial this external address: in a public network only globally routed IP addresses are");
        }
        swarm.add_external_address(address);
    }
    let addresses = config.listen.iter().map(|text| addr::parse("listen", text)).collect::<Result<Vec<_>, _>>()?;
    for address in listen::of_this_machine(addresses, listen::has_family) {
        listen::listen(&mut swarm, address)?;
    }

    let stop = CancellationToken::new();
    let (gossip_tx, gossip) = mpsc::channel(config.limits.events.max(1));
    let (others_tx, others) = mpsc::channel(config.limits.events.max(1));
    let pool = Pool::start(gate, config.limits.gate_threads, queue, &gossip_tx, &counters, &stop)?;
    let (commands_tx, commands) = mpsc::channel(COMMANDS);
    let (snapshot_tx, snapshot) = watch::channel(Snapshot::default());
    let mesh = Mesh {
        commands: commands_tx,
        snapshot,
        counters: Arc::clone(&counters),
        requests,
        public_key,
        peer_id: own.to_string(),
    };
    let parts = Parts {
        swarm: Box::new(swarm),
        config,
        names,
        topics,
        trusted,
        bootstrap,
        pool,
        commands,
        events: others_tx,
        snapshot: snapshot_tx,
        counters,
        stop: stop.drop_guard(),
    };
    Ok((mesh, Events { gossip, others }, MeshTask::new(parts)))
}

fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| StartError::System { operation: "draw random bytes", source: io::Error::other(e) })?;
    Ok(bytes)
}

fn swarm(key: &Keypair, carrier: Carrier, behaviour: Behaviour, timing: Timing) -> Swarm<Behaviour> {
    let config = swarm::Config::with_tokio_executor()
        .with_smart_dial()
        .with_idle_connection_timeout(timing.idle)
        .with_max_negotiating_inbound_streams(64)
        .with_per_connection_event_buffer_size(16);
    Swarm::new(carrier, behaviour, key.public().to_peer_id(), config)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::id::NetworkId;

    use super::*;
    use crate::gate::Admission;
    use crate::topic::Topic;

    struct Nothing;

    impl Gate for Nothing {
        type Item = ();
        fn admit(&self, _: lucid_types::id::PublicKey, _: Topic, _: &[u8]) -> Admission<()> {
            Admission::Ignore("test")
        }
    }

    /// As on a machine without `/etc/resolv.conf`.
    #[tokio::test]
    async fn without_a_name_server_nodes_meet_by_ip_addresses() {
        let local = MeshConfig { local: true, ..MeshConfig::new(NetworkId::from_bytes([7; 32])) };
        let nameless = |seed, config| {
            let resolve = |_| Err(io::Error::other("no nameservers found in config"));
            start_with(config, &[seed; 32], Arc::new(Nothing), resolve).unwrap()
        };
        let (first, _events, task) =
            nameless(1, MeshConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()], ..local.clone() });
        let stop = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(task.run(stop.clone()));
        let known = first.wait_for_listeners(1).await;
        let name = format!("/dns4/localhost/tcp/1/p2p/{}", first.peer_id());
        let (second, _events, task) = nameless(2, MeshConfig { bootstrap: [vec![name], known].concat(), ..local });
        tasks.spawn(task.run(stop.clone()));
        assert!(second.wait_for_peers(|peers| peers.len() == 1).await);
        stop.cancel();
        tasks.join_all().await;
    }
}
