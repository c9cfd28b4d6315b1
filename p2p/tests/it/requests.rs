//! Requests, their limits, and echo streams.

use std::time::Duration;

use lucid_p2p::{
    EchoStream, Event, Limits, MeshConfig, Protocol, RequestError, Responder, StreamError, peer_id_string,
};
use lucid_types::id::PublicKey;
use lucid_types::key::NodeKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::{Node, config, within};

async fn next_request(node: &mut Node) -> (PublicKey, Protocol, Vec<u8>, Responder) {
    node.next(|event| match event {
        Event::Request { peer, protocol, bytes, reply } => Some((peer, protocol, bytes, reply)),
        _ => None,
    })
    .await
}

async fn next_stream(node: &mut Node) -> (PublicKey, EchoStream) {
    node.next(|event| match event {
        Event::Echo { peer, stream } => Some((peer, stream)),
        _ => None,
    })
    .await
}

/// For connections to peers that there are.
const CONNECT: Duration = Duration::from_secs(20);

/// An echo stream, when the connection is there.
async fn open(node: &Node, to: PublicKey) -> EchoStream {
    within(node.mesh.connect(to, CONNECT)).await.unwrap();
    within(node.mesh.open_echo(to)).await.unwrap()
}

/// Answers every request: `drop` with nothing, `busy` with that, `huge` with more than is allowed, anything else with itself reversed.
fn answer_all(mut node: Node) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        // The whole node lives in here, not its events alone.
        let node = &mut node;
        while let Some(event) = node.events.next().await {
            let Event::Request { protocol, mut bytes, reply, .. } = event else { continue };
            match bytes.as_slice() {
                b"drop" => drop(reply),
                b"busy" => reply.refuse(),
                b"huge" => reply.respond(vec![0; protocol.limits().response_bytes + 1]),
                _ => {
                    bytes.reverse();
                    bytes.truncate(protocol.limits().response_bytes);
                    reply.respond(bytes);
                }
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_protocol_answers_within_its_caps() {
    let a = Node::start(1, config()).await;
    let mut b = Node::join(2, &a).await;
    let a_id = a.id();
    // Before the connection stands: the request waits for it.
    let asked = b.mesh.clone();
    let first = tokio::spawn(async move { asked.request(a_id, Protocol::Sync, b"abc".to_vec()).await });
    let mut a = a;
    let (peer, protocol, bytes, reply) = next_request(&mut a).await;
    assert_eq!((peer, protocol, bytes.as_slice()), (b.id(), Protocol::Sync, b"abc".as_slice()));
    assert!(reply.is_wanted());
    reply.respond(b"cba".to_vec());
    assert_eq!(within(first).await.unwrap(), Ok(b"cba".to_vec()));

    let server = answer_all(a);
    for protocol in Protocol::ALL {
        let limits = protocol.limits();
        let ask = |bytes: Vec<u8>| within(b.mesh.request(a_id, protocol, bytes));
        assert_eq!(ask(b"12".to_vec()).await, Ok(b"21".to_vec()));
        assert_eq!(ask(vec![]).await, Ok(vec![]));
        let largest = ask(vec![1; limits.request_bytes]).await.unwrap();
        assert_eq!(largest.len(), limits.request_bytes.min(limits.response_bytes));
        assert_eq!(ask(b"drop".to_vec()).await, Err(RequestError::NoAnswer));
        assert_eq!(ask(b"busy".to_vec()).await, Err(RequestError::Busy));
        assert_eq!(ask(b"huge".to_vec()).await, Err(RequestError::NoAnswer));
        let too_large = ask(vec![0; limits.request_bytes + 1]).await;
        assert!(matches!(too_large, Err(RequestError::TooLarge { .. })));
    }
    let own = b.id();
    assert_eq!(b.mesh.request(own, Protocol::Sync, vec![]).await, Err(RequestError::NotAPeer));
    let stranger = within(b.mesh.request(PublicKey::from_bytes([9; 32]), Protocol::Sync, vec![])).await;
    assert!(matches!(stranger, Err(RequestError::Unreachable(_))), "{stranger:?}");
    assert!(matches!(b.mesh.open_echo(own).await, Err(StreamError::NotAPeer)));
    server.abort();

    // An unanswered request ends with the connection.
    let mut a = Node::start(3, MeshConfig { bootstrap: b.mesh.listen_addresses(), ..config() }).await;
    let (a_id, asked) = (a.id(), b.mesh.clone());
    assert!(within(asked.wait_for_peers(|peers| peers.iter().any(|peer| peer.key == a_id))).await);
    let pending = tokio::spawn(async move { asked.request(a_id, Protocol::Probe, vec![1]).await });
    let unanswered = next_request(&mut a).await;
    a.crash().await;
    assert!(matches!(within(pending).await.unwrap(), Err(RequestError::Disconnected(_))));
    assert_eq!(unanswered.1, Protocol::Probe);
    b.next(|event| matches!(event, Event::PeerDisconnected(id) if id == a_id).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_requests_is_refused_and_other_protocols_go_on() {
    let a = Node::start(1, config()).await;
    let b = Node::join(2, &a).await;
    let (a_id, a_mesh) = (a.id(), a.mesh.clone());
    let server = answer_all(a);
    let limits = Protocol::Command.limits();
    let started = std::time::Instant::now();
    let (mut answered, mut busy) = (0, 0);
    for n in 0..200u32 {
        match within(b.mesh.request(a_id, Protocol::Command, n.to_le_bytes().to_vec())).await {
            Ok(_) => answered += 1,
            Err(RequestError::Busy) => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    let allowed = u64::from(limits.burst) + (started.elapsed().as_secs() + 1) * u64::from(limits.per_second);
    assert!(answered >= u64::from(limits.burst) && answered <= allowed, "{answered} answered, {allowed} allowed");
    let refused = a_mesh.counters().iter().find(|c| c.group == "command" && c.reason == "rate").map(|c| c.count);
    assert_eq!(refused, Some(busy));
    assert_eq!(within(b.mesh.request(a_id, Protocol::Sync, b"on".to_vec())).await, Ok(b"no".to_vec()));
    server.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_one_peer_are_bounded_while_they_wait() {
    let mut a = Node::start(1, config()).await;
    let b = Node::join(2, &a).await;
    let (a_id, limits) = (a.id(), Protocol::Cosign.limits());
    let mut pending = tokio::task::JoinSet::new();
    for n in 0..limits.per_peer {
        let mesh = b.mesh.clone();
        pending.spawn(async move { mesh.request(a_id, Protocol::Cosign, vec![u8::try_from(n).unwrap()]).await });
    }
    let mut waiting = Vec::new();
    while waiting.len() < limits.per_peer {
        waiting.push(next_request(&mut a).await);
    }
    let excess = within(b.mesh.request(a_id, Protocol::Cosign, vec![99])).await;
    assert_eq!(excess, Err(RequestError::TooManyPending));
    for (_, _, bytes, reply) in waiting {
        reply.respond(bytes);
    }
    let mut answers: Vec<_> = within(pending.join_all()).await.into_iter().map(Result::unwrap).collect();
    answers.sort();
    assert_eq!(answers, (0..limits.per_peer).map(|n| vec![u8::try_from(n).unwrap()]).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_does_not_listen_makes_its_node_busy() {
    let limits = Limits { events: 4, ..Limits::default() };
    let a = Node::start(1, MeshConfig { limits, ..config() }).await;
    let b = Node::join(2, &a).await;
    a.wait_for_peers(1).await;
    // Two listeners and a peer are news already; one request more and the queue is full.
    let (a_id, mesh) = (a.id(), b.mesh.clone());
    let unheard = tokio::spawn(async move { mesh.request(a_id, Protocol::Sync, vec![1]).await });
    a.wait_for_count("sync", "accepted", 1).await;
    assert_eq!(within(b.mesh.request(a_id, Protocol::Sync, vec![2])).await, Err(RequestError::Busy));
    assert_eq!(a.count("sync", "busy"), 1);
    // It opens, and is dropped at the other side.
    open(&b, a_id).await;
    a.wait_for_count("events", "echo-dropped", 1).await;
    unheard.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_found_in_the_dht_when_a_request_needs_it() {
    // Nobody dials but for the bootstrap: each other's addresses are known to the hub alone.
    let lazy = |bootstrap: Vec<String>| {
        let limits = Limits { target_peers: 1, min_peers: 0, ..Limits::default() };
        MeshConfig { bootstrap, limits, ..config() }
    };
    let hub = Node::start(1, lazy(vec![])).await;
    let a = Node::start(2, lazy(hub.mesh.listen_addresses())).await;
    let b = Node::start(3, lazy(hub.mesh.listen_addresses())).await;
    hub.wait_for_peers(2).await;
    let a_id = a.id();
    let server = answer_all(a);
    assert_eq!(within(b.mesh.request(a_id, Protocol::Probe, b"xy".to_vec())).await, Ok(b"yx".to_vec()));
    server.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_our_own_limits_refuse_says_nothing_of_the_peer() {
    let hub = Node::start(1, config()).await;
    let other = Node::join(2, &hub).await;
    let limits = Limits { connections: 1, ..Limits::default() };
    let full = Node::start(3, MeshConfig { bootstrap: hub.mesh.listen_addresses(), limits, ..config() }).await;
    full.wait_for_peers(1).await;
    hub.wait_for_peers(2).await;
    assert_eq!(full.mesh.peers()[0].key, hub.id());
    let other = other.id();
    let asked = within(full.mesh.request(other, Protocol::Probe, b"xy".to_vec())).await;
    assert!(matches!(asked, Err(RequestError::Denied(_))), "{asked:?}");
    let connected = within(full.mesh.connect(other, CONNECT)).await;
    assert!(matches!(connected, Err(StreamError::Denied(_))), "{connected:?}");
    assert_eq!(within(full.mesh.connect(hub.id(), CONNECT)).await, Ok(()));
}

/// Neither of two: nothing is sent without a connection, and none is made for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_over_a_connection_that_there_is_makes_none() {
    // Nobody dials but for the bootstrap.
    let lazy = |bootstrap: Vec<String>| {
        let limits = Limits { target_peers: 1, min_peers: 0, ..Limits::default() };
        MeshConfig { bootstrap, limits, ..config() }
    };
    let hub = Node::start(1, lazy(vec![])).await;
    let a = Node::start(2, lazy(hub.mesh.listen_addresses())).await;
    let b = Node::start(3, lazy(hub.mesh.listen_addresses())).await;
    hub.wait_for_peers(2).await;
    b.wait_for_peers(1).await;
    let a_id = a.id();
    let server = answer_all(a);
    let ask = || within(b.mesh.request_connected(a_id, Protocol::Probe, b"xy".to_vec()));
    assert_eq!(ask().await, Err(RequestError::NotConnected));
    assert!(matches!(within(b.mesh.open_echo(a_id)).await, Err(StreamError::NotConnected)));
    assert_eq!((b.mesh.peer_count(), b.mesh.remote(&a_id)), (1, None));
    assert_eq!(within(b.mesh.connect(a_id, CONNECT)).await, Ok(()));
    assert_eq!(ask().await, Ok(b"yx".to_vec()));
    assert!(within(b.mesh.wait_for_peers(|peers| peers.len() == 2)).await);
    assert_eq!(b.mesh.remote(&a_id), Some(Some([127, 0, 0, 1].into())));
    server.abort();
}

/// The wait for a connection ends when it is to, and in the fault of whoever is at it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_a_connection_ends_in_time() {
    let limits = Limits { searches: 0, ..Limits::default() };
    let hub = Node::start(1, config()).await;
    let node = Node::start(2, MeshConfig { bootstrap: hub.mesh.listen_addresses(), limits, ..config() }).await;
    node.wait_for_peers(1).await;
    let (stranger, wait) = (NodeKey::from_seed(&[9; 32]).public_key(), Duration::from_millis(300));
    let unasked = within(node.mesh.connect(stranger, wait)).await;
    assert!(matches!(unasked, Err(StreamError::Denied(_))), "it was not looked for: {unasked:?}");
    // Somebody takes the connection, and says nothing.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (peer, port) = (peer_id_string(&stranger).unwrap(), mute.local_addr().unwrap().port());
    let saved_peers = vec![format!("/ip4/127.0.0.1/tcp/{port}/p2p/{peer}")];
    let limits = Limits { target_peers: 1, min_peers: 0, ..Limits::default() };
    let bootstrap = hub.mesh.listen_addresses();
    let node = Node::start(3, MeshConfig { bootstrap, saved_peers, limits, ..config() }).await;
    node.wait_for_peers(1).await;
    let silent = within(node.mesh.connect(stranger, wait)).await;
    assert!(matches!(silent, Err(StreamError::Unreachable(_))), "{silent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_stream_carries_256_kib_there_and_back() {
    let mut a = Node::start(1, config()).await;
    let b = Node::join(2, &a).await;
    let (a_id, b_id) = (a.id(), b.id());
    let data: Vec<u8> = (0..256u32 << 10).map(|i| u8::try_from(i.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    let mut out = open(&b, a_id).await;
    let sent = data.clone();
    let there_and_back = tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(&mut out);
        let write = async {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let mut back = Vec::new();
        let read = async { reader.read_to_end(&mut back).await.unwrap() };
        tokio::join!(write, read);
        back
    });
    let (peer, stream) = next_stream(&mut a).await;
    assert_eq!(peer, b_id);
    let (mut reader, mut writer) = tokio::io::split(stream);
    within(tokio::io::copy(&mut reader, &mut writer)).await.unwrap();
    writer.shutdown().await.unwrap();
    assert_eq!(within(there_and_back).await.unwrap(), data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_one_peer_are_bounded_and_slots_come_back() {
    let limits = Limits { streams_per_peer: 2, ..Limits::default() };
    let mut a = Node::start(1, MeshConfig { limits, ..config() }).await;
    let b = Node::join(2, &a).await;
    let a_id = a.id();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut ours = open(&b, a_id).await;
        ours.write_all(b"x").await.unwrap();
        ours.flush().await.unwrap();
        held.push((ours, next_stream(&mut a).await.1));
    }
    let mut third = open(&b, a_id).await;
    let ended = within(third.read(&mut [0; 1])).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    a.wait_for_count("echo", "too-many", 1).await;
    drop(held);
    let mut again = open(&b, a_id).await;
    again.write_all(b"y").await.unwrap();
    again.flush().await.unwrap();
    let mut byte = [0];
    within(next_stream(&mut a).await.1.read_exact(&mut byte)).await.unwrap();
    assert_eq!(&byte, b"y");
}
