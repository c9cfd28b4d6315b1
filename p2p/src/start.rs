//! Starting a mesh: checks the configuration, binds the sockets, starts the gate threads. Nothing is sent before
//! [`MeshTask::run`].

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::core::transport::TransportError;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, Swarm, SwarmBuilder, noise, tcp, yamux};
use tokio::net::TcpSocket;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::addr::{self, Transport};
use crate::behaviour::Behaviour;
use crate::config::{MeshConfig, Timing};
use crate::counters::Counters;
use crate::error::StartError;
use crate::events::Events;
use crate::gate::{Gate, Pool};
use crate::gossip::Topics;
use crate::guard::PeerManager;
use crate::identity::to_public_key;
use crate::manager::{Bounds, Source};
use crate::mesh::{COMMANDS, Mesh, Snapshot};
use crate::task::{MeshTask, Parts};
use crate::trusted::Trusted;

/// Streams of one connection: room for all requests that two peers may have under way, in all protocols and either direction, and for
/// what else they say. Of each one that nobody reads, 256 KiB may wait over TCP: libp2p lets Yamux's windows be bounded by this alone.
const MAX_STREAMS: usize = 128;
/// Bytes that may wait on one QUIC stream and on one QUIC connection, because nobody has read them.
const QUIC_STREAM_WINDOW: u32 = 2 << 20;
const QUIC_WINDOW: u32 = 8 << 20;

/// A mesh that has bound its sockets: the handle, what it tells, and the task that must be run.
pub type Started<T> = (Mesh, Events<T>, MeshTask<T>);

/// Starts a mesh with the ed25519 key of `seed` and `gate` before its gossip.
///
/// The returned task must be run; the mesh and its events live through it. Must be called inside a tokio runtime.
///
/// # Errors
/// [`StartError`]: a bad address, a port in use, no runtime. Nothing is left running then.
pub fn start<G: Gate>(config: MeshConfig, seed: &[u8; 32], gate: Arc<G>) -> Result<Started<G::Item>, StartError> {
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
    let bootstrap: Vec<_> = bootstrap.collect::<Result<_, _>>()?;
    let trusted = Trusted::new(bootstrap.iter().map(|(peer, _)| *peer).collect());
    let bounds = Bounds::new(&config.limits, config.local);
    let mut manager = PeerManager::new(own, bounds, config.timing(), random()?);
    let now = Instant::now();
    for (peer, address) in bootstrap.into_iter().filter(|(peer, _)| *peer != own) {
        manager.configure(now, peer, address);
    }
    for text in &config.saved_peers {
        let (peer, address) = addr::parse_with_peer("saved_peers", text)?;
        manager.learn(now, peer, [address], Source::Saved);
    }
    // Tells this run from the one before, so that peers notice a restart while old connections still look alive.
    let boot_id = u64::from_le_bytes(random()?).to_string();
    let (mut behaviour, names) = Behaviour::new(&key, &boot_id, &config, &topics, &trusted, manager, &counters)?;
    let requests = behaviour.requests();
    let mut swarm = swarm(key, behaviour, config.timing())?;
    for text in &config.external {
        swarm.add_external_address(addr::split_peer(addr::parse("external", text)?).1);
    }
    for text in &config.listen {
        listen(&mut swarm, addr::parse("listen", text)?)?;
    }

    let stop = CancellationToken::new();
    let (gossip_tx, gossip) = mpsc::channel(config.limits.events.max(1));
    let (others_tx, others) = mpsc::channel(config.limits.events.max(1));
    let pool = Pool::start(gate, config.limits.gate_threads, config.limits.gate_queue, &gossip_tx, &counters, &stop)?;
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

fn swarm(key: Keypair, behaviour: Behaviour, timing: Timing) -> Result<Swarm<Behaviour>, StartError> {
    let fail = |transport, problem: String| StartError::Transport { transport, problem };
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, || {
            let mut config = yamux::Config::default();
            config.set_max_num_streams(MAX_STREAMS);
            config
        })
        .map_err(|e| fail("TCP", e.to_string()))?
        .with_quic_config(|mut config| {
            config.max_idle_timeout = u32::try_from(timing.quic_idle.as_millis()).unwrap_or(u32::MAX);
            config.keep_alive_interval = timing.quic_idle / 3;
            config.max_concurrent_stream_limit = u32::try_from(MAX_STREAMS).unwrap_or(u32::MAX);
            config.max_stream_data = QUIC_STREAM_WINDOW;
            config.max_connection_data = QUIC_WINDOW;
            config
        })
        .with_dns()
        .map_err(|e| fail("DNS", e.to_string()))?
        .with_behaviour(|_| behaviour)
        .map_err(|never| match never {})?
        .with_swarm_config(|config| {
            config
                .with_smart_dial()
                .with_idle_connection_timeout(timing.idle)
                .with_max_negotiating_inbound_streams(64)
                .with_per_connection_event_buffer_size(16)
        })
        .with_connection_timeout(timing.handshake)
        .build();
    Ok(swarm)
}

fn listen(swarm: &mut Swarm<Behaviour>, address: Multiaddr) -> Result<(), StartError> {
    let text = address.to_string();
    let fail = |source: io::Error| {
        if source.kind() == io::ErrorKind::AddrInUse {
            StartError::PortInUse { address: text.clone(), source }
        } else {
            StartError::Listen { address: text.clone(), source }
        }
    };
    // libp2p shares TCP ports between sockets (SO_REUSEPORT), so two nodes on one port would both seem to work; and
    // what it says of a UDP port in use does not carry the system's error.
    if let Some((transport, socket)) = addr::socket(&address).filter(|(_, socket)| socket.port() != 0) {
        check_free(transport, socket).map_err(fail)?;
    }
    match swarm.listen_on(address) {
        Ok(_) => Ok(()),
        Err(TransportError::Other(e)) => Err(fail(e)),
        Err(TransportError::MultiaddrNotSupported(address)) => Err(StartError::Address {
            field: "listen",
            address: address.to_string(),
            problem: "an IP address is needed to listen on".to_owned(),
        }),
    }
}

/// Between two looks at a socket that is to be closed.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until a mesh that has ended has closed its sockets on these addresses: QUIC closes them a moment later, when its connections
/// are. False if one is still open after `limit`.
pub async fn wait_until_free(listen: &[String], limit: Duration) -> bool {
    let sockets: Vec<_> = listen.iter().filter_map(|text| addr::socket(&text.parse().ok()?)).collect();
    let all_free = async {
        for (transport, socket) in sockets {
            while check_free(transport, socket).is_err() {
                tokio::time::sleep(LOOK).await;
            }
        }
    };
    tokio::time::timeout(limit, all_free).await.is_ok()
}

fn check_free(transport: Transport, socket: SocketAddr) -> io::Result<()> {
    if transport == Transport::Quic {
        return UdpSocket::bind(socket).map(drop);
    }
    let probe = if socket.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of an earlier run that linger in TIME_WAIT do not count; a listener does.
    probe.set_reuseaddr(true)?;
    probe.bind(socket)
}
