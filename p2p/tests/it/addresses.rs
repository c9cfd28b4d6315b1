//! Strangers who name addresses: what they make a node dial, remember and tell on.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify, kad, noise, tcp, yamux};
use lucid_p2p::MeshConfig;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::net::{NETWORK, Node, TCP, config, within};

/// Another implementation's node that takes part in Kademlia.
#[derive(NetworkBehaviour)]
struct Stranger {
    identify: identify::Behaviour,
    kad: kad::Behaviour<MemoryStore>,
}

/// A stranger that listens, and where.
async fn stranger(seed: u8) -> (Swarm<Stranger>, Multiaddr) {
    let build = |key: &Keypair| {
        let own = key.public().to_peer_id();
        let name = StreamProtocol::try_from_owned(format!("/lucid/{NETWORK}/kad/1")).unwrap();
        let mut kad = kad::Behaviour::with_config(own, MemoryStore::new(own), kad::Config::new(name));
        kad.set_mode(Some(kad::Mode::Server));
        let identify = identify::Config::new(format!("/lucid/{NETWORK}/1"), key.public());
        Stranger { identify: identify::Behaviour::new(identify), kad }
    };
    let mut swarm = SwarmBuilder::with_existing_identity(Keypair::ed25519_from_bytes([seed; 32]).unwrap())
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(build)
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    swarm.listen_on(TCP.parse().unwrap()).unwrap();
    let address = within(async {
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                return address;
            }
        }
    })
    .await;
    let address = address.with(Protocol::P2p(*swarm.local_peer_id()));
    (swarm, address)
}

/// Lets a swarm go on beside the test.
fn run(mut swarm: Swarm<Stranger>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    })
}

/// Kademlia dials whom a lookup names. In a public network that may be nobody behind a private address or a name; in a local one, the
/// control, it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_private_is_dialled_on_a_strangers_word() {
    for local in [true, false] {
        let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = trap.local_addr().unwrap().port();
        let (mut liar, address) = stranger(66).await;
        let invented = [
            format!("/ip4/127.0.0.1/tcp/{port}"),
            format!("/ip6/::ffff:127.0.0.1/tcp/{port}"),
            format!("/dns4/localhost/tcp/{port}"),
        ];
        for address in &invented {
            liar.behaviour_mut().kad.add_address(&PeerId::random(), address.parse().unwrap());
        }
        let running = run(liar);
        let bootstrap = vec![address.to_string()];
        let victim = Node::start(1, MeshConfig { bootstrap, local, ..config() }).await;
        victim.wait_for_peers(1).await;
        if local {
            within(trap.accept()).await.unwrap();
        } else {
            victim.wait_for_count("connections", "address-not-dialled", 3).await;
            assert!(trap.accept().now_or_never().is_none());
        }
        running.abort();
    }
}

/// Each message of the attacker names ten ports that none has named before. A routing entry that only grows becomes larger than an answer
/// may be, and whoever asks the victim hears of nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identify_messages_do_not_bloat_what_the_victim_tells_of_others() {
    let victim = Node::start(1, config()).await;
    let mut honest = Vec::new();
    for seed in 2..8 {
        honest.push(Node::join(seed, &victim).await);
    }
    victim.wait_for_peers(6).await;
    let (mut attacker, _) = stranger(66).await;
    let victim_id: PeerId = victim.mesh.peer_id().parse().unwrap();
    let address = victim.mesh.listen_addresses().into_iter().find(|address| address.contains("/tcp/")).unwrap();
    attacker.dial(address.parse::<Multiaddr>().unwrap()).unwrap();
    let mut pushed = 0;
    within(async {
        while pushed < 100 {
            match attacker.select_next_some().await {
                SwarmEvent::Behaviour(StrangerEvent::Identify(
                    identify::Event::Received { .. } | identify::Event::Pushed { .. },
                )) => {
                    pushed += 1;
                    let last: Vec<_> = attacker.external_addresses().cloned().collect();
                    last.iter().for_each(|address| attacker.remove_external_address(address));
                    for n in 0..10 {
                        let address = format!("/ip4/127.0.0.1/tcp/{}", 20_000 + 10 * pushed + n);
                        attacker.add_external_address(address.parse().unwrap());
                    }
                    attacker.behaviour_mut().identify.push([victim_id]);
                }
                SwarmEvent::ConnectionClosed { .. } => panic!("the victim has closed the connection"),
                _ => {}
            }
        }
    })
    .await;
    let running = run(attacker);
    victim.wait_for_count("peers", "identify-rate", 1).await;
    let found = found_through(&victim, PeerId::random()).await;
    let is_found = |node: &Node| found.iter().any(|peer| peer.peer_id.to_string() == node.mesh.peer_id());
    assert!(honest.iter().all(is_found), "only {found:?} through the victim");
    running.abort();
}

/// The peers nearest to `key` that a stranger finds who knows one node.
async fn found_through(node: &Node, key: PeerId) -> Vec<kad::PeerInfo> {
    let (mut stranger, _) = stranger(70).await;
    let address = node.mesh.listen_addresses().into_iter().find(|address| address.contains("/tcp/")).unwrap();
    let kad = &mut stranger.behaviour_mut().kad;
    kad.add_address(&node.mesh.peer_id().parse().unwrap(), address.parse().unwrap());
    kad.get_closest_peers(key);
    within(async {
        loop {
            if let SwarmEvent::Behaviour(StrangerEvent::Kad(kad::Event::OutboundQueryProgressed {
                result: kad::QueryResult::GetClosestPeers(Ok(found)),
                ..
            })) = stranger.select_next_some().await
            {
                return found.peers;
            }
        }
    })
    .await
}

/// What the node tells of another one.
async fn told(asked: &Node, of: &Node) -> Vec<String> {
    let of = of.mesh.peer_id().parse().unwrap();
    let found = found_through(asked, of).await.into_iter().filter(|peer| peer.peer_id == of);
    found.flat_map(|peer| peer.addrs).map(|address| address.to_string()).collect()
}

/// A peer that came over IPv4 is told on with the IPv6 address at which it was reached, and not with one at which nobody is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peers_other_family_is_told_on_once_it_was_reached_there() {
    let hub = Node::start(1, MeshConfig { listen: vec![TCP.to_owned()], ..config() }).await;
    let nobody = TcpListener::bind("[::1]:0").await.unwrap().local_addr().unwrap().port();
    let node = MeshConfig {
        listen: vec![TCP.to_owned(), "/ip6/::1/tcp/0".to_owned()],
        external: vec![format!("/ip6/::1/tcp/{nobody}")],
        bootstrap: hub.mesh.listen_addresses(),
        ..config()
    };
    let node = Node::start(2, node).await;
    hub.wait_for_peers(1).await;
    let mut listening = node.mesh.listen_addresses();
    listening.sort();
    within(async {
        loop {
            let mut told = told(&hub, &node).await;
            told.sort();
            if told == listening {
                return;
            }
            assert!(told.len() < listening.len(), "{told:?} was told, {listening:?} is right");
        }
    })
    .await;
    assert!(within(hub.mesh.wait_for_peers(|peers| peers.iter().all(|peer| peer.connections == 1))).await);
}
