//! Strangers that fill slots, and addresses that lead to third parties: an honest peer gets in, dialling goes on, nobody is sent to
//! somebody else's door.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;

use futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{PeerId, StreamProtocol, SwarmBuilder, identify, kad, noise, tcp, yamux};
use lucid_p2p::{Direction, Limits, Mesh, MeshConfig, PeerClass, PeerInfo, peer_id_string, wait_until_free};
use lucid_types::id::PublicKey;
use tokio::task::JoinHandle;

use crate::hostile::{Attacker, libp2p_id};
use crate::net::{NETWORK, Node, TCP, config, until, within};

/// Strangers that stay connected as long as they are let.
struct Strangers {
    running: Vec<JoinHandle<()>>,
}

impl Strangers {
    fn new() -> Self {
        Self { running: Vec::new() }
    }

    /// Each connects, and says who it is.
    fn enter(&mut self, seeds: impl Iterator<Item = u8>, victim: &Node) -> BTreeSet<PublicKey> {
        let mut ids = BTreeSet::new();
        for seed in seeds {
            let mut stranger = Attacker::anonymous(seed, victim);
            stranger.dial();
            ids.insert(stranger.id());
            self.running.push(stranger.run());
        }
        ids
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
    }
}

fn info(mesh: &Mesh, peer: PublicKey) -> Option<PeerInfo> {
    mesh.peers().into_iter().find(|info| info.key == peer)
}

fn count(mesh: &Mesh, class: PeerClass) -> usize {
    mesh.peers().iter().filter(|peer| peer.class == class).count()
}

async fn why(mesh: &Mesh, peer: PublicKey) -> String {
    mesh.why().await.into_iter().find(|why| why.key == peer).map_or_else(String::new, |why| why.why)
}

fn only(address: &str, bootstrap: Vec<String>, limits: Limits) -> MeshConfig {
    MeshConfig { listen: vec![address.to_owned()], bootstrap, limits, ..config() }
}

/// A node that dials nobody but the nodes of its configuration.
fn passive() -> Limits {
    Limits { target_peers: 0, ..Limits::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_slots_let_an_honest_and_a_trusted_peer_in() {
    for n in [50, 150] {
        let victim = Node::start(1, only(TCP, vec![], Limits::default())).await;
        let mut strangers = Strangers::new();
        strangers.enter((0..n).map(|i| 50 + i), &victim);
        let slots = usize::from(n).min(Limits::default().inbound);
        victim.wait_for_peers(slots).await;

        let honest = Node::join(2, &victim).await;
        let id = honest.id();
        assert!(within(victim.mesh.wait_for_peers(|peers| peers.iter().any(|peer| peer.key == id))).await);
        assert_eq!(count(&victim.mesh, PeerClass::Inbound).min(slots), slots, "their slots are used");

        // The victim hears that a peer is a validator before it comes.
        let validator = Node::start(3, only(TCP, vec![], Limits::default())).await;
        let id = validator.id();
        assert!(victim.mesh.set_validators(BTreeSet::from([id]), false).await);
        validator.stop().await;
        let validator = Node::join(3, &victim).await;
        assert!(within(victim.mesh.wait_for_peers(|peers| peers.iter().any(|peer| peer.key == id))).await);
        // More strangers than there are slots do not get it out.
        strangers.enter((0..40).map(|i| 210 + i), &victim);
        if n == 150 {
            within(until(|| victim.count("connections", "evicted") >= 40)).await;
        }
        assert_eq!(info(&victim.mesh, id).map(|info| info.class), Some(PeerClass::Trusted));
        assert_eq!(validator.mesh.peers().iter().filter(|peer| peer.key == victim.id()).count(), 1);
        assert!(why(&victim.mesh, id).await.contains("never evicted, because it is a validator"));
    }
}

/// The control: it is eviction that lets them in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_may_be_evicted_a_newcomer_is_refused() {
    let limits = Limits { connections: 20, inbound: 10, ..Limits::default() };
    let victim = Node::start(1, only(TCP, vec![], limits)).await;
    let mut strangers = Strangers::new();
    let ids: BTreeSet<_> = (50..70).map(|seed| Attacker::anonymous(seed, &victim).id()).collect();
    assert!(victim.mesh.set_validators(ids, false).await);
    strangers.enter(50..70, &victim);
    victim.wait_for_peers(20).await;
    let honest = Node::join(2, &victim).await;
    victim.wait_for_count("connections", "too-many", 1).await;
    assert_eq!((victim.count("connections", "evicted"), honest.mesh.peer_count()), (0, 0));
    // Nobody is trusted any more: the next try succeeds.
    assert!(victim.mesh.set_validators(BTreeSet::new(), false).await);
    honest.wait_for_peers(1).await;
    assert!(victim.count("connections", "evicted") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inbound_strangers_do_not_stop_dialling() {
    for target in [4, 0] {
        let victim = Node::start(1, only(TCP, vec![], Limits { target_peers: target, ..Limits::default() })).await;
        // An honest node that the victim knows, and that is gone while strangers come. It is in nobody's routing table.
        let quiet = |listen: &str, bootstrap| MeshConfig { kad_server: false, ..only(listen, bootstrap, passive()) };
        let other = Node::start(2, quiet(TCP, victim.mesh.listen_addresses())).await;
        victim.wait_for_peers(1).await;
        let (id, listened) = (other.id(), other.mesh.listen_addresses());
        other.stop().await;
        assert!(wait_until_free(&listened, Duration::from_secs(10)).await);
        let mut strangers = Strangers::new();
        strangers.enter(50..56, &victim);
        victim.wait_for_peers(6).await;
        // It comes back, and dials nobody.
        let _other = Node::start(2, quiet(&listened[0], vec![])).await;
        if target > 0 {
            assert!(within(victim.mesh.wait_for_peers(|peers| peers.iter().any(|peer| peer.key == id))).await);
            assert_eq!(info(&victim.mesh, id).map(|info| info.direction), Some(Direction::Outbound));
        } else {
            // The control: a node that has dialled as many as it wants dials no more, and says so.
            let mut look = tokio::time::interval(Duration::from_millis(50));
            let is_known = async {
                while !why(&victim.mesh, id)
                    .await
                    .starts_with("not dialled: this node has dialled 0 peers, and wants 0")
                {
                    look.tick().await;
                }
            };
            within(is_known).await;
            assert_eq!(info(&victim.mesh, id), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saved_third_party_address_is_told_to_others_only_when_it_was_reached() {
    for is_reached in [false, true] {
        // In the one case somebody else has the address that was saved of a peer, in the other the peer.
        let third_party = TcpListener::bind("127.0.0.2:0").unwrap();
        let peer = Node::start(2, only("/ip4/0.0.0.0/tcp/0", vec![], passive())).await;
        let (id, peer_id) = (peer.id(), peer.mesh.peer_id().to_owned());
        let port = if is_reached {
            peer.mesh.listen_addresses()[0].split('/').nth(4).unwrap().parse().unwrap()
        } else {
            third_party.local_addr().unwrap().port()
        };
        let saved = format!("/ip4/127.0.0.2/tcp/{port}/p2p/{peer_id}");
        let with_saved = MeshConfig { saved_peers: vec![saved.clone()], ..only(TCP, vec![], Limits::default()) };
        let node = Node::start(1, with_saved).await;
        let mut peer = peer;
        if !is_reached {
            peer.stop().await;
            peer = Node::start(2, only("/ip4/0.0.0.0/tcp/0", node.mesh.listen_addresses(), passive())).await;
        }
        peer.wait_for_peers(1).await;
        node.wait_for_peers(1).await;
        let known = info(&node.mesh, id).unwrap();
        assert_eq!(known.addresses[0], saved, "it is tried first");
        assert_eq!(known.confirmed.contains(&saved), is_reached);

        let told = ask(&node, id).await;
        assert!(!told.is_empty());
        assert_eq!(told.iter().any(|address| saved.starts_with(address)), is_reached, "{told:?}");
    }
}

/// A node that only asks another one where peers are.
#[derive(NetworkBehaviour)]
struct Asker {
    identify: identify::Behaviour,
    kad: kad::Behaviour<kad::store::MemoryStore>,
}

/// Where `node` says that a peer is.
async fn ask(node: &Node, peer: PublicKey) -> Vec<String> {
    let key = Keypair::ed25519_from_bytes([99; 32]).unwrap();
    let own = key.public().to_peer_id();
    let name = StreamProtocol::try_from_owned(format!("/lucid/{NETWORK}/kad/1")).unwrap();
    let behaviour = Asker {
        identify: identify::Behaviour::new(identify::Config::new(format!("/lucid/{NETWORK}/1"), key.public())),
        kad: kad::Behaviour::with_config(own, kad::store::MemoryStore::new(own), kad::Config::new(name)),
    };
    let mut swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| behaviour)
        .unwrap()
        .build();
    let address = node.mesh.listen_addresses()[0].parse().unwrap();
    swarm.behaviour_mut().kad.add_address(&libp2p_id(node), address);
    let wanted: PeerId = peer_id_string(&peer).unwrap().parse().unwrap();
    swarm.behaviour_mut().kad.get_closest_peers(wanted);
    let answer = async {
        loop {
            if let SwarmEvent::Behaviour(AskerEvent::Kad(kad::Event::OutboundQueryProgressed {
                result: kad::QueryResult::GetClosestPeers(result),
                ..
            })) = swarm.select_next_some().await
            {
                return result.unwrap().peers;
            }
        }
    };
    let found = within(answer).await.into_iter().filter(|found| found.peer_id == wanted);
    found.flat_map(|found| found.addrs).map(|address| address.to_string()).collect()
}
