//! A peer without gossipsub that writes its frames by hand, as an implementation of somebody else's may.

use std::sync::{Arc, Mutex};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, SwarmBuilder, identify, noise, tcp, yamux};
use lucid_p2p::Topic;
use lucid_types::id::PublicKey;
use tokio::task::JoinHandle;

use crate::net::{NETWORK, Node, within};

const MESHSUB: StreamProtocol = StreamProtocol::new("/meshsub/1.1.0");

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    stream: libp2p_stream::Behaviour,
}

/// One that is connected, with a stream of gossipsub's to the victim. It hangs up when it is dropped.
pub(crate) struct Stranger {
    key: PublicKey,
    stream: Stream,
    heard: Arc<Mutex<Vec<u8>>>,
    tasks: [JoinHandle<()>; 2],
}

impl Stranger {
    pub(crate) async fn connect(seed: u8, victim: &Node) -> Self {
        let address = victim.mesh.listen_addresses().into_iter().find(|it| it.contains("/tcp/")).unwrap();
        let stranger = Self::dial(seed, victim.mesh.peer_id().parse().unwrap(), address.parse().unwrap()).await;
        let key = stranger.key;
        assert!(within(victim.mesh.wait_for_peers(|peers| peers.iter().any(|peer| peer.key == key))).await);
        stranger
    }

    /// The same to whatever speaks gossipsub.
    pub(crate) async fn dial(seed: u8, peer: PeerId, address: Multiaddr) -> Self {
        let build = |key: &libp2p::identity::Keypair| Behaviour {
            identify: identify::Behaviour::new(identify::Config::new(format!("/lucid/{NETWORK}/1"), key.public())),
            stream: libp2p_stream::Behaviour::new(),
        };
        let key = libp2p::identity::Keypair::ed25519_from_bytes([seed; 32]).unwrap();
        let mut swarm = SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(build)
            .unwrap()
            .build();
        let own = swarm.local_peer_id().to_bytes();
        let mut control = swarm.behaviour().stream.new_control();
        let mut incoming = control.accept(MESHSUB).unwrap();
        swarm.dial(DialOpts::peer_id(peer).addresses(vec![address]).build()).unwrap();
        within(async { while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {} })
            .await;
        let running = tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let hears = Arc::clone(&heard);
        let reading = tokio::spawn(async move {
            while let Some((_, mut stream)) = incoming.next().await {
                let mut bytes = vec![0; 64 << 10];
                while let Ok(read) = stream.read(&mut bytes).await
                    && read > 0
                {
                    hears.lock().unwrap().extend(&bytes[..read]);
                }
            }
        });
        let stream = within(control.open_stream(peer, MESHSUB)).await.unwrap();
        let key = PublicKey::from_bytes(own[own.len() - 32..].try_into().unwrap());
        Self { key, stream, heard, tasks: [running, reading] }
    }

    pub(crate) const fn key(&self) -> PublicKey {
        self.key
    }

    /// Whether the victim has said this, in whatever frame.
    pub(crate) fn has_heard(&self, bytes: &[u8]) -> bool {
        self.heard.lock().unwrap().windows(bytes.len()).any(|window| window == bytes)
    }

    /// Sends an RPC; `false` if the victim has hung up.
    pub(crate) async fn send(&mut self, rpc: &[u8]) -> bool {
        let frame = [varint(rpc.len()), rpc.to_vec()].concat();
        within(async { self.stream.write_all(&frame).await.is_ok() && self.stream.flush().await.is_ok() }).await
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The name of a topic on the wire.
pub(crate) fn name(topic: Topic) -> String {
    format!("/lucid/{NETWORK}/{topic}/1")
}

/// An RPC that subscribes a topic.
pub(crate) fn subscribe(topic: &str) -> Vec<u8> {
    field(1, &[vec![1 << 3, 1], field(2, topic.as_bytes())].concat())
}

/// An RPC that publishes a message.
pub(crate) fn publish(topic: &str, data: &[u8]) -> Vec<u8> {
    field(2, &[field(2, data), field(4, topic.as_bytes())].concat())
}

/// An RPC that says which messages the peer has.
pub(crate) fn have(topic: &str, messages: &[Vec<u8>]) -> Vec<u8> {
    let ids = messages.iter().map(|data| field(2, &id(topic, data)));
    field(3, &field(1, &[field(1, topic.as_bytes()), ids.flatten().collect()].concat()))
}

/// A message's id, as the docs give it.
fn id(topic: &str, data: &[u8]) -> Vec<u8> {
    let length = u64::try_from(topic.len()).unwrap().to_le_bytes();
    blake3::hash(&[&length[..], topic.as_bytes(), data].concat()).as_bytes()[..20].to_vec()
}

/// A field of protobuf with a length.
fn field(number: usize, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len()), bytes.to_vec()].concat()
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}
