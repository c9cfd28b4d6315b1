//! Peers that stall, as announcers and as readers: what they hold is theirs, bounded, and nobody else's loss.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{PeerId, Stream};
use libp2p_stream::{Control, IncomingStreams};
use lucid_p2p::{Event, Limits, Mesh, MeshConfig, Protocol, RequestError};
use lucid_types::id::PublicKey;
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinHandle;

use crate::hostile::{Attacker, libp2p_id, name};
use crate::net::{Node, config, until, within};

/// Half of the longest that anybody waits for the answer to a ping, and of what a transfer may stall in a full pool.
const PING: Duration = Duration::from_secs(1);
/// Between two tries of something that no event announces.
const AGAIN: Duration = Duration::from_millis(50);

/// What is asked for by its size in KiB (u16) is answered in that size.
fn serve(mut node: Node) -> JoinHandle<()> {
    tokio::spawn(async move {
        let node = &mut node;
        while let Some(event) = node.events.next().await {
            if let Event::Request { bytes, reply, .. } = event {
                let kib = bytes.get(..2).map_or(0, |size| u16::from_le_bytes([size[0], size[1]]));
                reply.respond(vec![7; usize::from(kib) << 10]);
            }
        }
    })
}

/// A stranger that is connected, with what opens its streams. It lives as long as its handle.
async fn enter(seed: u8, victim: &Node) -> (Control, PublicKey, JoinHandle<()>) {
    let mut attacker = Attacker::anonymous(seed, victim);
    attacker.dial();
    let (control, id) = (attacker.control(), attacker.id());
    let running = attacker.run();
    assert!(within(victim.mesh.wait_for_peers(|peers| peers.iter().any(|peer| peer.key == id))).await);
    (control, id, running)
}

async fn open(control: &mut Control, victim: PeerId, protocol: Protocol) -> Stream {
    within(control.open_stream(victim, name(protocol.kind()))).await.unwrap()
}

/// Opens a stream, announces the largest request, sends all of it but its last byte, and stops.
async fn stall(control: &mut Control, victim: PeerId, protocol: Protocol) -> Stream {
    let mut stream = open(control, victim, protocol).await;
    let announced = protocol.limits().request_bytes;
    // The victim may refuse at once or in the middle.
    let _refused = stream.write_all(&u32::try_from(announced).unwrap().to_le_bytes()).await;
    let _refused = stream.write_all(&vec![1; announced - 1]).await;
    let _refused = stream.flush().await;
    stream
}

/// Asks for so many KiB by hand, and reads nothing.
async fn ask_unread(control: &mut Control, victim: PeerId, protocol: Protocol, kib: u16) -> Stream {
    let mut stream = open(control, victim, protocol).await;
    let _refused = stream.write_all(&[&2u32.to_le_bytes()[..], &kib.to_le_bytes()].concat()).await;
    let _refused = stream.close().await;
    stream
}

/// Asks for nothing, by hand; whether that was answered.
async fn is_answered(control: &mut Control, victim: PeerId, protocol: Protocol) -> bool {
    let mut answer = Vec::new();
    let mut stream = ask_unread(control, victim, protocol, 0).await;
    within(stream.read_to_end(&mut answer)).await.is_ok() && answer == [0; 5]
}

async fn ask(node: &Node, to: PublicKey, protocol: Protocol, kib: u16) -> Result<usize, RequestError> {
    within(node.mesh.request(to, protocol, kib.to_le_bytes().to_vec())).await.map(|answer| answer.len())
}

fn count(mesh: &Mesh, protocol: Protocol, reason: &str) -> u64 {
    let counters = mesh.counters();
    counters.iter().find(|c| c.group == protocol.kind() && c.reason == reason).map_or(0, |c| c.count)
}

fn held(mesh: &Mesh, protocol: Protocol) -> usize {
    mesh.held().into_iter().find(|(of, _)| *of == protocol).unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_announcements_cost_only_their_sender() {
    let victim = Node::start(1, config()).await;
    let honest = Node::join(2, &victim).await;
    victim.wait_for_peers(1).await;
    let (id, peer, mesh) = (victim.id(), libp2p_id(&victim), victim.mesh.clone());
    let mut attackers = Vec::new();
    for seed in 66..74 {
        attackers.push(enter(seed, &victim).await);
    }
    let server = serve(victim);
    assert!(is_answered(&mut attackers[0].0, peer, Protocol::Sync).await, "it is treated like anybody at first");
    let mut stalled = Vec::new();
    for (control, ..) in &mut attackers {
        for protocol in [Protocol::Storage, Protocol::Sync] {
            for _ in 0..2 * protocol.limits().per_peer {
                stalled.push(stall(control, peer, protocol).await);
            }
        }
    }
    // The attack bites: two chunks of each are more than the room for strangers, and who stalls is refused anything else.
    within(until(|| held(&mesh, Protocol::Storage) > 14 << 20)).await;
    within(until(|| held(&mesh, Protocol::Sync) > 14 << 20)).await;
    assert!(count(&mesh, Protocol::Storage, "over-budget") >= 8, "there is no room for a third chunk");
    assert!(!is_answered(&mut attackers[0].0, peer, Protocol::Sync).await, "its streams are in use");
    assert!(count(&mesh, Protocol::Sync, "too-many-streams") > 0);
    // And yet everything is answered at once to who does not.
    for protocol in Protocol::ALL {
        assert!(held(&mesh, protocol) <= protocol.limits().bytes / 2, "{}", protocol.kind());
        for _ in 0..protocol.limits().per_peer {
            let asked = tokio::time::timeout(PING, ask(&honest, id, protocol, 0)).await;
            assert_eq!(asked, Ok(Ok(0)), "{}", protocol.kind());
        }
    }
    assert!(held(&mesh, Protocol::Storage) > 12 << 20, "they stall still");
    // What was held comes back with the streams, and is counted.
    drop(stalled);
    within(until(|| mesh.held().iter().all(|(_, bytes)| *bytes == 0))).await;
    within(until(|| count(&mesh, Protocol::Sync, "half-sent") > 0)).await;
    assert!(is_answered(&mut attackers[0].0, peer, Protocol::Sync).await, "nothing is held against it");
    attackers.iter().for_each(|(.., running)| running.abort());
    server.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_one_peer_are_bounded_in_each_protocol() {
    let victim = Node::start(1, config()).await;
    let (peer, mesh) = (libp2p_id(&victim), victim.mesh.clone());
    let (mut control, _, running) = enter(66, &victim).await;
    for protocol in Protocol::ALL {
        let mut stalled = Vec::new();
        for _ in 0..=2 * protocol.limits().per_peer {
            stalled.push(stall(&mut control, peer, protocol).await);
        }
        let refused = || count(&mesh, protocol, "too-many-streams") + count(&mesh, protocol, "over-budget");
        within(until(|| refused() > 0)).await;
        assert!(held(&mesh, protocol) <= protocol.limits().bytes_per_peer, "{}", protocol.kind());
    }
    running.abort();
    within(until(|| mesh.held().iter().all(|(_, bytes)| *bytes == 0))).await;
    assert!(count(&mesh, Protocol::Sync, "half-sent") > 0, "the connection has ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_pool_keeps_room_for_trusted_peers_and_lets_the_stalled_give_way() {
    let limits = Limits { max_pool: 1 << 20, ..Limits::default() };
    let victim = Node::start(1, MeshConfig { limits, ..config() }).await;
    let stranger = Node::join(2, &victim).await;
    let trusted = Node::join(3, &victim).await;
    victim.wait_for_peers(2).await;
    assert!(victim.mesh.set_validators(BTreeSet::from([trusted.id()]), false).await);
    let (id, peer, mesh) = (victim.id(), libp2p_id(&victim), victim.mesh.clone());
    let mut attackers = Vec::new();
    for seed in 66..69 {
        attackers.push(enter(seed, &victim).await);
    }
    let server = serve(victim);
    let mut stalled = Vec::new();
    for (control, ..) in &mut attackers {
        stalled.push(stall(control, peer, Protocol::Sync).await);
    }
    within(until(|| held(&mesh, Protocol::Sync) > 384 << 10)).await;
    // The attack bites: none of them holds more than a page of another stranger would, and there is no room for it now.
    assert_eq!(ask(&stranger, id, Protocol::Sync, 200).await, Err(RequestError::Busy));
    assert_eq!(count(&mesh, Protocol::Sync, "pool-full"), 1);
    // For a trusted peer there is, and other protocols have pools of their own.
    assert_eq!(ask(&trusted, id, Protocol::Sync, 200).await, Ok(200 << 10));
    assert_eq!(ask(&stranger, id, Protocol::Probe, 1).await, Ok(1 << 10));
    assert_eq!(count(&mesh, Protocol::Sync, "gave-way"), 0);
    // Whoever has stalled for long enough gives way.
    let mut again = tokio::time::interval(AGAIN);
    within(async {
        while ask(&stranger, id, Protocol::Sync, 200).await.is_err() {
            again.tick().await;
        }
    })
    .await;
    within(until(|| count(&mesh, Protocol::Sync, "gave-way") > 0)).await;
    attackers.iter().for_each(|(.., running)| running.abort());
    server.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_never_reads_holds_its_own_share_only() {
    const PAGE: u16 = 1024;
    let victim = Node::start(1, config()).await;
    let honest = Node::join(2, &victim).await;
    victim.wait_for_peers(1).await;
    let (id, peer, mesh) = (victim.id(), libp2p_id(&victim), victim.mesh.clone());
    let (mut control, _, running) = enter(66, &victim).await;
    let server = serve(victim);
    // Who reads gets every page.
    for _ in 0..16 {
        assert_eq!(ask(&honest, id, Protocol::Sync, PAGE).await, Ok(usize::from(PAGE) << 10));
    }
    assert_eq!(count(&mesh, Protocol::Sync, "over-budget"), 0);
    let limits = Protocol::Sync.limits();
    let pages = limits.bytes_per_peer / (usize::from(PAGE) << 10) - 1;
    let mut unread = Vec::new();
    for _ in 0..limits.per_peer {
        unread.push(ask_unread(&mut control, peer, Protocol::Sync, PAGE).await);
    }
    within(until(|| count(&mesh, Protocol::Sync, "over-budget") > 0)).await;
    within(until(|| held(&mesh, Protocol::Sync) > pages << 20)).await;
    assert!(held(&mesh, Protocol::Sync) <= limits.bytes_per_peer);
    for _ in 0..16 {
        assert_eq!(ask(&honest, id, Protocol::Sync, PAGE).await, Ok(usize::from(PAGE) << 10));
    }
    // It begins to read: what was answered is there, and what was not says so.
    let mut answered = 0;
    for mut stream in unread {
        let mut answer = Vec::new();
        within(stream.read_to_end(&mut answer)).await.unwrap();
        answered += usize::from(answer.len() > 5);
    }
    assert_eq!(answered, pages, "each page costs its stream too");
    within(until(|| held(&mesh, Protocol::Sync) == 0)).await;
    assert_eq!(count(&mesh, Protocol::Sync, "unread"), 0);
    // It asks again, reads nothing, and goes: everything comes back, and is counted.
    let _unread = ask_unread(&mut control, peer, Protocol::Sync, PAGE).await;
    within(until(|| held(&mesh, Protocol::Sync) > 1 << 20)).await;
    running.abort();
    within(until(|| held(&mesh, Protocol::Sync) == 0)).await;
    assert_eq!(count(&mesh, Protocol::Sync, "unread"), 1);
    server.abort();
}

/// Sends the head of a large answer to each request, all of it but the last byte, and nothing after that.
fn promise(mut incoming: IncomingStreams, answer: usize) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Some((_, mut stream)) = incoming.next().await {
            let head = [&[0], u32::try_from(answer).unwrap().to_le_bytes().as_slice()].concat();
            stream.write_all(&head).await.unwrap();
            stream.write_all(&vec![1; answer - 1]).await.unwrap();
            stream.flush().await.unwrap();
            open.push(stream);
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_its_answers_delays_no_probe() {
    let limits = Limits { max_pool: 256 << 10, ..Limits::default() };
    let victim = Node::start(1, MeshConfig { limits, ..config() }).await;
    let honest = Node::join(2, &victim).await;
    victim.wait_for_peers(1).await;
    let honest_id = honest.id();
    let server = serve(honest);
    let (mut control, id, running) = enter(66, &victim).await;
    let promising = promise(control.accept(name("sync")).unwrap(), 250 << 10);
    let mesh = victim.mesh.clone();
    let stalled = tokio::spawn(async move { mesh.request(id, Protocol::Sync, vec![0]).await });
    // The pool of answers in this protocol fills, so that not even a ping would fit, and yet a page comes through: whoever stalls
    // gives way. Pings wait for none of it.
    let large = async {
        let mut again = tokio::time::interval(AGAIN);
        while victim.count("sync", "gave-way") == 0 {
            again.tick().await;
            assert_eq!(ask(&victim, honest_id, Protocol::Sync, 128).await, Ok(128 << 10));
        }
    };
    let pings = async {
        let mut again = tokio::time::interval(AGAIN);
        while victim.count("sync", "gave-way") == 0 {
            again.tick().await;
            let asked = tokio::time::timeout(PING, ask(&victim, honest_id, Protocol::Probe, 1)).await;
            assert_eq!(asked, Ok(Ok(1 << 10)));
        }
    };
    within(async { tokio::join!(large, pings) }).await;
    // What gave way is late.
    assert_eq!(within(stalled).await.unwrap(), Err(RequestError::TimedOut));
    promising.abort();
    running.abort();
    server.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_streams_leave_room_for_trusted_peers() {
    let limits = Limits { streams: 4, streams_per_peer: 2, ..Limits::default() };
    let mut victim = Node::start(1, MeshConfig { limits, ..config() }).await;
    let id = victim.id();
    let mut nodes = Vec::new();
    for seed in 2..5 {
        nodes.push(Node::join(seed, &victim).await);
    }
    victim.wait_for_peers(3).await;
    assert!(victim.mesh.set_validators(BTreeSet::from([nodes[2].id()]), false).await);
    let mut held = Vec::new();
    for node in [0, 0, 2, 2] {
        within(nodes[node].mesh.connect(id, Duration::from_secs(20))).await.unwrap();
        let mut ours = within(nodes[node].mesh.open_echo(id)).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut ours, b"x").await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut ours).await.unwrap();
        let theirs =
            victim.next(|event| if let Event::Echo { stream, .. } = event { Some(stream) } else { None }).await;
        held.push((ours, theirs));
        if held.len() == 2 {
            // There is no room for another stranger.
            let mut refused = within(nodes[1].mesh.open_echo(id)).await.unwrap();
            let ended = within(refused.read(&mut [0; 1])).await;
            assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
            victim.wait_for_count("echo", "too-many", 1).await;
        }
    }
}
