//! Peers that break the rules: raw sockets, hostile frames, bad gossip, too many connections. The node counts what it
//! refuses and goes on for everybody else.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent, behaviour::toggle::Toggle};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify, noise, tcp, yamux};
use libp2p_stream::Control;
use lucid_p2p::{Event, Limits, MeshConfig, Protocol, RequestError, Topic};
use lucid_types::id::PublicKey;
use tokio::task::JoinHandle;

use crate::net::{NETWORK, Node, TCP, config, until, within};

/// Another implementation's libp2p node, with the right names and nobody's manners.
#[derive(NetworkBehaviour)]
struct Rude {
    identify: Toggle<identify::Behaviour>,
    gossip: gossipsub::Behaviour,
    stream: libp2p_stream::Behaviour,
}

pub(crate) struct Attacker {
    swarm: Swarm<Rude>,
    peer: PeerId,
    address: Multiaddr,
}

impl Attacker {
    fn new(seed: u8, victim: &Node, authenticity: MessageAuthenticity, identify: bool) -> Self {
        let build = |key: &libp2p::identity::Keypair| {
            let identify = identify
                .then(|| identify::Behaviour::new(identify::Config::new(format!("/lucid/{NETWORK}/1"), key.public())));
            let config = gossipsub::ConfigBuilder::default()
                .validation_mode(ValidationMode::None)
                .max_transmit_size(8 << 20)
                .heartbeat_initial_delay(Duration::from_millis(100))
                .heartbeat_interval(Duration::from_millis(100))
                .message_id_fn(|m| gossipsub::MessageId::from(blake3::hash(&m.data).as_bytes().as_slice()))
                .build()
                .unwrap();
            Rude {
                identify: identify.into(),
                gossip: gossipsub::Behaviour::new(authenticity, config).unwrap(),
                stream: libp2p_stream::Behaviour::new(),
            }
        };
        let swarm =
            SwarmBuilder::with_existing_identity(libp2p::identity::Keypair::ed25519_from_bytes([seed; 32]).unwrap())
                .with_tokio()
                .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
                .unwrap()
                .with_behaviour(build)
                .unwrap()
                .with_swarm_config(|c| c.with_idle_connection_timeout(Duration::from_secs(60)))
                .build();
        let address = victim.mesh.listen_addresses().into_iter().find(|a| a.contains("/tcp/")).unwrap();
        Self { swarm, peer: libp2p_id(victim), address: address.parse().unwrap() }
    }

    pub(crate) fn anonymous(seed: u8, victim: &Node) -> Self {
        Self::new(seed, victim, MessageAuthenticity::Anonymous, true)
    }

    pub(crate) fn id(&self) -> PublicKey {
        let key = self.swarm.local_peer_id().to_bytes();
        PublicKey::from_bytes(key[key.len() - 32..].try_into().unwrap())
    }

    pub(crate) fn dial(&mut self) {
        let opts = DialOpts::peer_id(self.peer)
            .condition(PeerCondition::Always)
            .addresses(vec![self.address.clone()])
            .allocate_new_port()
            .build();
        self.swarm.dial(opts).unwrap();
    }

    /// Connects, joins the victim's topic and waits until the victim is known to take it.
    async fn join(&mut self, topic: Topic) -> IdentTopic {
        let topic = IdentTopic::new(format!("/lucid/{NETWORK}/{topic}/1"));
        self.swarm.behaviour_mut().gossip.subscribe(&topic).unwrap();
        self.dial();
        within(async {
            loop {
                if let SwarmEvent::Behaviour(RudeEvent::Gossip(gossipsub::Event::Subscribed { topic: t, .. })) =
                    self.swarm.select_next_some().await
                    && t == topic.hash()
                {
                    return;
                }
            }
        })
        .await;
        topic
    }

    fn publish(&mut self, topic: &IdentTopic, data: Vec<u8>) {
        self.swarm.behaviour_mut().gossip.publish(topic.clone(), data).unwrap();
    }

    /// Lets the swarm go on beside the test.
    pub(crate) fn run(mut self) -> JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                self.swarm.select_next_some().await;
            }
        })
    }

    pub(crate) fn control(&self) -> Control {
        self.swarm.behaviour().stream.new_control()
    }
}

pub(crate) fn name(kind: &str) -> StreamProtocol {
    StreamProtocol::try_from_owned(format!("/lucid/{NETWORK}/{kind}/1")).unwrap()
}

/// The victim still does everything for an honest peer.
async fn still_works(victim: &mut Node, seed: u8) {
    let honest = Node::join(seed, victim).await;
    let id = honest.id();
    assert!(within(victim.mesh.wait_for_peers(|peers| peers.iter().any(|p| p.key == id))).await);
    let message = format!("honest {seed}").into_bytes();
    honest.mesh.publish(Topic::Consensus, message.clone()).await.unwrap();
    victim.next(|event| matches!(event, Event::Gossip { item, .. } if item == message).then_some(())).await;
    honest.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_sockets_does_no_harm() {
    let mut victim = Node::start(1, config()).await;
    let port = |address: &str| address.split('/').nth(4).unwrap().parse::<u16>().unwrap();
    let addresses = victim.mesh.listen_addresses();
    let mut garbage = vec![0u8; 64 << 10];
    blake3::Hasher::new().finalize_xof().fill(&mut garbage);
    for address in addresses {
        if address.contains("/tcp/") {
            for chunk in garbage.chunks(8 << 10) {
                let mut socket = TcpStream::connect(("127.0.0.1", port(&address))).unwrap();
                // The node may hang up in the middle.
                let _refused = socket.write_all(chunk);
            }
        } else {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            for chunk in garbage.chunks(1200) {
                socket.send_to(chunk, ("127.0.0.1", port(&address))).unwrap();
            }
        }
    }
    still_works(&mut victim, 2).await;
    assert_eq!(victim.mesh.counters().iter().filter(|c| c.group == "peers").count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_frames_are_refused_and_counted() {
    let mut victim = Node::start(1, config()).await;
    let victim_id = libp2p_id(&victim);
    let mut attacker = Attacker::anonymous(66, &victim);
    attacker.dial();
    let (mut control, attacker_id) = (attacker.control(), attacker.id());
    let mut serving = attacker.control();
    let mut incoming = serving.accept(name("probe")).unwrap();
    let running = attacker.run();
    assert!(within(victim.mesh.wait_for_peers(|p| p.iter().any(|p| p.key == attacker_id))).await);

    for protocol in Protocol::ALL {
        let cap = u32::try_from(protocol.limits().request_bytes).unwrap();
        let frames: [Vec<u8>; 4] = [
            u32::MAX.to_le_bytes().to_vec(),
            (cap + 1).to_le_bytes().to_vec(),
            [3u32.to_le_bytes().as_slice(), b"four"].concat(),
            [2u32.to_le_bytes().as_slice(), b"1"].concat(),
        ];
        for frame in frames {
            let mut stream = within(control.open_stream(victim_id, name(protocol.kind()))).await.unwrap();
            stream.write_all(&frame).await.unwrap();
            stream.close().await.unwrap();
            let mut answer = Vec::new();
            // Ended or reset, but never answered.
            let _reset = within(stream.read_to_end(&mut answer)).await;
            assert_eq!(answer, b"");
        }
        // The fourth ended early, as a broken connection does; it breaks no rule.
        victim.wait_for_count(protocol.kind(), "malformed", 3).await;
        assert_eq!(victim.count(protocol.kind(), "accepted"), 0);
    }

    // A hostile server: a wrong status, too long a promise, bytes after the end.
    let mesh = victim.mesh.clone();
    let cap = u32::try_from(Protocol::Probe.limits().response_bytes).unwrap();
    for answer in [
        vec![9, 0, 0, 0, 0],
        [&[0u8], u32::MAX.to_le_bytes().as_slice()].concat(),
        [&[0u8], (cap + 1).to_le_bytes().as_slice()].concat(),
        [&[0u8], 1u32.to_le_bytes().as_slice(), b"ab"].concat(),
        [&[1u8], 1u32.to_le_bytes().as_slice(), b"a"].concat(),
    ] {
        let serve = async {
            let (_, mut stream) = incoming.next().await.unwrap();
            let mut request = Vec::new();
            stream.read_to_end(&mut request).await.unwrap();
            // The victim may hang up before it has all.
            let _hung_up = stream.write_all(&answer).await;
            let _hung_up = stream.close().await;
            request
        };
        let (response, request) =
            within(async { tokio::join!(mesh.request(attacker_id, Protocol::Probe, b"?".to_vec()), serve) }).await;
        assert_eq!(request, [&1u32.to_le_bytes()[..], b"?"].concat());
        assert!(matches!(response, Err(RequestError::Malformed(_))), "{response:?}");
    }
    still_works(&mut victim, 2).await;
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_gossip_costs_the_connection() {
    let mut victim = Node::start(1, config()).await;
    // Larger than the topic allows, though not than an RPC may be.
    let mut attacker = Attacker::anonymous(66, &victim);
    let topic = attacker.join(Topic::Attestations(0)).await;
    for n in 0..3 {
        attacker.publish(&topic, vec![n; Topic::Attestations(0).max_bytes() + 1]);
    }
    let running = attacker.run();
    victim.wait_for_count("attestations", "too-large", 3).await;
    victim.wait_for_count("peers", "bad-score", 1).await;
    victim.wait_for_peers(0).await;
    running.abort();

    // Larger than any RPC may be: nothing arrives, the node does not mind.
    let mut attacker = Attacker::anonymous(67, &victim);
    let topic = attacker.join(Topic::Reveals).await;
    attacker.publish(&topic, vec![1; 4 << 20]);
    let running = attacker.run();
    still_works(&mut victim, 2).await;
    assert_eq!(victim.count("reveals", "accepted"), 0);
    running.abort();

    // Signed by gossipsub: not our kind of message, whatever is in it.
    let key = libp2p::identity::Keypair::ed25519_from_bytes([68; 32]).unwrap();
    let mut attacker = Attacker::new(68, &victim, MessageAuthenticity::Signed(key), true);
    let topic = attacker.join(Topic::Commitments).await;
    for n in 0..3 {
        attacker.publish(&topic, vec![n]);
    }
    let running = attacker.run();
    victim.wait_for_count("peers", "bad-score", 2).await;
    assert_eq!(victim.count("commitments", "accepted"), 0);
    running.abort();
    still_works(&mut victim, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_valid_gossip_is_limited_for_its_sender_alone() {
    let limits = Limits { gossip_burst: 50, gossip_per_second: 1, ..Limits::default() };
    let mut victim = Node::start(1, MeshConfig { limits, ..config() }).await;
    let mut attacker = Attacker::anonymous(66, &victim);
    let topic = attacker.join(Topic::Commands).await;
    for n in 0..400u32 {
        attacker.publish(&topic, n.to_le_bytes().to_vec());
    }
    let running = attacker.run();
    within(until(|| victim.count("commands", "rate") + victim.count("commands", "accepted") == 400)).await;
    let accepted = victim.count("commands", "accepted");
    assert!((50..60).contains(&accepted), "{accepted}");
    running.abort();
    still_works(&mut victim, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded_and_the_nameless_are_sent_away() {
    let mut victim = Node::start(1, MeshConfig { listen: vec![TCP.to_owned()], ..config() }).await;
    let mut attacker = Attacker::anonymous(66, &victim);
    for _ in 0..20 {
        attacker.dial();
    }
    let id = attacker.id();
    let running = attacker.run();
    victim.wait_for_count("connections", "too-many-of-peer", 1).await;
    let max = Limits::default().per_peer;
    let of_attacker = |p: &[lucid_p2p::PeerInfo]| p.iter().find(|p| p.key == id).map(|p| p.connections);
    assert!(within(victim.mesh.wait_for_peers(|p| of_attacker(p).is_some())).await);
    assert!(of_attacker(&victim.mesh.peers()).unwrap_or(1) <= max);
    running.abort();

    let mut nameless = Attacker::new(67, &victim, MessageAuthenticity::Anonymous, false);
    nameless.dial();
    let running = nameless.run();
    victim.wait_for_count("peers", "identify-failed", 1).await;
    running.abort();
    still_works(&mut victim, 2).await;
}

pub(crate) fn libp2p_id(node: &Node) -> PeerId {
    node.mesh.peer_id().parse().unwrap()
}
