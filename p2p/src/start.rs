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
use crate::book::Book;
use crate::config::{MeshConfig, Timing};
use crate::counters::Counters;
use crate::error::StartError;
use crate::events::Events;
use crate::gate::{Gate, Pool, Queue};
use crate::gossip::Topics;
use crate::identity::to_public_key;
use crate::mesh::{COMMANDS, Mesh, Snapshot};
use crate::task::{MeshTask, Parts};

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
    let queue = Arc::new(Queue::new(config.limits.gate_bytes));
    let (behaviour, names) = Behaviour::new(&key, &boot_id()?, &config, &topics, &queue, &counters)?;
    let mut swarm = swarm(key, behaviour, config.timing())?;

    let now = Instant::now();
    let mut book = Book::new(own, config.timing(), config.limits.known_peers);
    for (field, addresses) in [("bootstrap", &config.bootstrap), ("saved_peers", &config.saved_peers)] {
        for text in addresses {
            let (peer, address) = addr::parse_with_peer(field, text)?;
            if field == "bootstrap" && peer != own {
                book.pin(peer, address, now);
            } else {
                book.learn(peer, [address], crate::book::Source::Verified, now);
            }
        }
    }
    for text in &config.external {
        swarm.add_external_address(addr::split_peer(addr::parse("external", text)?).1);
    }
    for text in &config.listen {
        listen(&mut swarm, addr::parse("listen", text)?)?;
    }

    let stop = CancellationToken::new();
    let (gossip_tx, gossip) = mpsc::channel(config.limits.events.max(1));
    let (others_tx, others) = mpsc::channel(config.limits.events.max(1));
    let pool = Pool::start(gate, config.limits.gate_threads, queue, &gossip_tx, &counters, &stop)?;
    let (commands_tx, commands) = mpsc::channel(COMMANDS);
    let (snapshot_tx, snapshot) = watch::channel(Snapshot::default());
    let mesh =
        Mesh { commands: commands_tx, snapshot, counters: Arc::clone(&counters), public_key, peer_id: own.to_string() };
    let parts = Parts {
        swarm: Box::new(swarm),
        config,
        names,
        topics,
        book,
        pool,
        commands,
        events: others_tx,
        snapshot: snapshot_tx,
        counters,
        stop: stop.drop_guard(),
    };
    Ok((mesh, Events { gossip, others }, MeshTask::new(parts)))
}

/// Tells this run from the one before, so that peers notice a restart while old connections still look alive.
fn boot_id() -> Result<String, StartError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|e| StartError::System { operation: "draw random bytes", source: io::Error::other(e) })?;
    Ok(u64::from_le_bytes(bytes).to_string())
}

fn swarm(key: Keypair, behaviour: Behaviour, timing: Timing) -> Result<Swarm<Behaviour>, StartError> {
    let fail = |transport, problem: String| StartError::Transport { transport, problem };
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|e| fail("TCP", e.to_string()))?
        .with_quic_config(|mut config| {
            config.max_idle_timeout = u32::try_from(timing.quic_idle.as_millis()).unwrap_or(u32::MAX);
            config.keep_alive_interval = timing.quic_idle / 3;
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
