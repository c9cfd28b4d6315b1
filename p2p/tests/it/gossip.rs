//! What the gate says decides what is passed on; every verdict is counted and scored.

use std::collections::BTreeSet;
use std::sync::{Arc, Barrier};

use lucid_p2p::{Admission, Event, Gate, Limits, MeshConfig, Protocol, PublishError, Published, Topic};
use lucid_types::id::PublicKey;

use crate::net::{Node, config, until, within};
use crate::stranger::{Stranger, name, publish, subscribe};

/// Without lookups a line stays a line.
fn blind(bootstrap: Vec<String>) -> MeshConfig {
    MeshConfig { kad_server: false, bootstrap, ..config() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_messages_are_forwarded_ignored_and_rejected_ones_are_not() {
    let mut middle = Node::start(1, blind(vec![])).await;
    let left = Node::start(2, blind(middle.mesh.listen_addresses())).await;
    let mut right = Node::start(3, blind(middle.mesh.listen_addresses())).await;
    middle.wait_for_peers(2).await;
    for message in ["first", "ignore this", "reject this", "ignore that", "last"] {
        left.mesh.publish(Topic::Commitments, message.into()).await.unwrap();
        if message == "first" || message == "last" {
            assert_eq!(middle.next_gossip().await, (Topic::Commitments, message.into()));
            assert_eq!(right.next_gossip().await, (Topic::Commitments, message.into()), "nothing between came through");
        }
    }
    // What a node shows of itself may be a second old.
    left.wait_for_peers(1).await;
    right.wait_for_peers(1).await;
    assert_eq!((left.mesh.peer_count(), right.mesh.peer_count()), (1, 1), "the line has stayed a line");
    // The gate's threads count what they were given before, too.
    middle.wait_for_count("commitments", "stale", 2).await;
    middle.wait_for_count("commitments", "signature", 1).await;
    assert_eq!(
        (
            middle.count("commitments", "accepted"),
            middle.count("commitments", "stale"),
            middle.count("commitments", "signature")
        ),
        (2, 2, 1)
    );
    assert_eq!((right.count("commitments", "stale"), right.count("commitments", "signature")), (0, 0));
    let of = |peers: &[lucid_p2p::PeerInfo], node| peers.iter().find(|p| p.key == node).map(|p| p.score);
    assert!(within(middle.mesh.wait_for_peers(|p| of(p, left.id()).is_some_and(|score| score < -30.0))).await);
    assert!(of(&middle.mesh.peers(), right.id()).unwrap() >= 0.0);
    for n in 0..3 {
        left.mesh.publish(Topic::Commitments, format!("reject {n}").into()).await.unwrap();
    }
    middle.wait_for_count("peers", "bad-score", 1).await;
    assert!(within(middle.mesh.wait_for_peers(|p| of(p, left.id()).is_none())).await);
    assert_eq!(of(&middle.mesh.peers(), right.id()).map(|score| score >= 0.0), Some(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_is_capped_idempotent_and_waits_for_the_first_peer() {
    let alone = Node::start(1, config()).await;
    assert_eq!(alone.mesh.publish(Topic::Reveals, b"early".to_vec()).await, Ok(Published::Queued));
    let too_large = vec![0; Topic::Reveals.max_bytes() + 1];
    assert!(matches!(alone.mesh.publish(Topic::Reveals, too_large).await, Err(PublishError::TooLarge { .. })));
    let other_shard = alone.mesh.publish(Topic::Attestations(Topic::SHARDS), vec![1]).await;
    assert!(matches!(other_shard, Err(PublishError::UnknownTopic(_))));

    let mut late = Node::join(2, &alone).await;
    assert_eq!(late.next_gossip().await, (Topic::Reveals, b"early".to_vec()));
    let largest = vec![7; Topic::Reveals.max_bytes()];
    assert_eq!(alone.mesh.publish(Topic::Reveals, largest.clone()).await, Ok(Published::Sent));
    assert_eq!(late.next_gossip().await, (Topic::Reveals, largest.clone()));
    assert_eq!(alone.mesh.publish(Topic::Reveals, largest.clone()).await, Err(PublishError::Duplicate));
    assert_eq!(late.mesh.publish(Topic::Reveals, largest).await, Err(PublishError::Duplicate), "it came from there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_reaches_a_full_mesh_of_ten() {
    let bootstrap = Node::start(0, config()).await;
    let mut nodes = vec![bootstrap];
    for seed in 1..10 {
        let node = Node::join(seed, &nodes[0]).await;
        nodes.push(node);
    }
    for node in &nodes {
        node.wait_for_peers(9).await;
    }
    // Topics are announced after the connection; a message to each shows that everybody knows them.
    let mut sent = BTreeSet::new();
    for (i, node) in nodes.iter().enumerate() {
        for n in 0..20 {
            let message = format!("vote {n} of node {i}").into_bytes();
            node.mesh.publish(Topic::Consensus, message.clone()).await.unwrap();
            sent.insert(message);
        }
    }
    for (i, node) in nodes.iter_mut().enumerate() {
        let own = format!("of node {i}");
        let mut missing: BTreeSet<_> = sent.iter().filter(|m| !m.ends_with(own.as_bytes())).cloned().collect();
        while !missing.is_empty() {
            let (_, message) = node.next_gossip().await;
            assert!(missing.remove(&message), "delivered twice, or to its author: {message:?}");
        }
    }
}

/// As many nodes as that, each connected to each.
async fn full_mesh(nodes: u8) -> Vec<Node> {
    let mut mesh = vec![Node::start(0, config()).await];
    for seed in 1..nodes {
        mesh.push(Node::join(seed, &mesh[0]).await);
    }
    for node in &mesh {
        node.wait_for_peers(usize::from(nodes) - 1).await;
    }
    mesh
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn votes_and_bodies_reach_every_validator_of_few_and_of_many() {
    for nodes in [4, 21] {
        let mut mesh = full_mesh(nodes).await;
        let all: Vec<&Node> = mesh.iter().collect();
        name_validators(&all, &all).await;
        for message in [vec![1; 200], vec![2; Topic::Consensus.max_bytes()]] {
            let [publisher, others @ ..] = mesh.as_mut_slice() else { panic!("nobody publishes") };
            publisher.mesh.publish(Topic::Consensus, message.clone()).await.unwrap();
            for node in others {
                assert!(node.next_gossip().await == (Topic::Consensus, message.clone()));
            }
        }
        for node in mesh {
            node.stop().await;
        }
    }
}

/// Peers that pass nothing on show what is sent to them directly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_messages_go_to_everybody_and_long_ones_to_the_mesh() {
    const PEERS: usize = 24;
    let mut publisher = Node::start(1, config()).await;
    let mut peers = Vec::new();
    for seed in 0..PEERS {
        let mut peer = Stranger::connect(100 + u8::try_from(seed).unwrap(), &publisher).await;
        assert!(peer.send(&subscribe(&name(Topic::Reveals))).await);
        // What it says after that shows that the publisher has heard of it.
        let hello = format!("hello {seed}").into_bytes();
        assert!(peer.send(&publish(&name(Topic::Commands), &hello)).await);
        assert_eq!(publisher.next_gossip().await, (Topic::Commands, hello));
        peers.push(peer);
    }
    let (long, short) = ([7; (16 << 10) + 1], b"a short one after it");
    publisher.mesh.publish(Topic::Reveals, long.to_vec()).await.unwrap();
    publisher.mesh.publish(Topic::Reveals, short.to_vec()).await.unwrap();
    // A peer that has the second has been sent the first, or will not be.
    within(until(|| peers.iter().all(|peer| peer.has_heard(short)))).await;
    let got = peers.iter().filter(|peer| peer.has_heard(&long)).count();
    assert!((8..=16).contains(&got), "{got} of {PEERS}");
}

/// Names these nodes to all of them as the validators.
async fn name_validators(to: &[&Node], validators: &[&Node]) {
    let keys: BTreeSet<PublicKey> = validators.iter().map(|node| node.id()).collect();
    for node in to {
        assert!(node.mesh.set_validators(keys.clone(), keys.contains(&node.id())).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topics_of_validators_are_theirs_alone_and_follow_the_set() {
    let mut nodes = full_mesh(3).await;
    let [first, second, third] = nodes.as_mut_slice() else { panic!("three nodes") };
    name_validators(&[first, second, third], &[first, second, third]).await;
    // It has subscribed everything, and knows nothing of validators.
    let mut outsider = Node::join(9, first).await;
    outsider.wait_for_peers(3).await;
    outsider.mesh.publish(Topic::Consensus, b"from outside".to_vec()).await.unwrap();
    for node in [&*first, second, third] {
        node.wait_for_count("consensus", "not-a-validator", 1).await;
    }
    first.mesh.publish(Topic::Consensus, b"a vote".to_vec()).await.unwrap();
    for node in [&mut *second, third] {
        assert_eq!(node.next_gossip().await, (Topic::Consensus, b"a vote".to_vec()));
    }
    first.mesh.publish(Topic::Commands, b"a command".to_vec()).await.unwrap();
    for node in [&mut *second, third, &mut outsider] {
        assert_eq!(node.next_gossip().await, (Topic::Commands, b"a command".to_vec()));
    }

    // It becomes a validator: what it has subscribed counts now, without its subscribing anew.
    let validators = [&*first, second, third, &outsider];
    name_validators(&validators, &validators).await;
    first.mesh.publish(Topic::Consensus, b"for all".to_vec()).await.unwrap();
    for node in [&mut *second, third, &mut outsider] {
        assert_eq!(node.next_gossip().await, (Topic::Consensus, b"for all".to_vec()));
    }
    outsider.mesh.publish(Topic::Consensus, b"of the new one".to_vec()).await.unwrap();
    for node in [&mut *first, second, third] {
        assert_eq!(node.next_gossip().await, (Topic::Consensus, b"of the new one".to_vec()));
    }

    // And one ceases to be one: it leaves the topics, and is heard in them no more.
    name_validators(&[first, second, third, &outsider], &[first, second, &outsider]).await;
    let before = [&*first, second].map(|node| node.count("consensus", "not-a-validator"));
    third.mesh.publish(Topic::Consensus, b"too late".to_vec()).await.unwrap();
    for (node, before) in [&*first, second].into_iter().zip(before) {
        node.wait_for_count("consensus", "not-a-validator", before + 1).await;
    }
    // It has told them so before, and is not sent what it would blame them for.
    second.mesh.publish(Topic::Consensus, b"for three".to_vec()).await.unwrap();
    for node in [&mut *first, &mut outsider] {
        assert_eq!(node.next_gossip().await, (Topic::Consensus, b"for three".to_vec()));
    }
    second.mesh.publish(Topic::Commands, b"for four".to_vec()).await.unwrap();
    assert_eq!(first.next_gossip().await, (Topic::Commands, b"for four".to_vec()));
    assert_eq!(third.next_gossip().await, (Topic::Commands, b"for four".to_vec()));
    assert_eq!(third.count("consensus", "unsolicited"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_subscribers_get_a_topic() {
    let topics = BTreeSet::from([Topic::Commitments]);
    let mut narrow = Node::start(1, MeshConfig { topics, ..config() }).await;
    let mut wide = Node::join(2, &narrow).await;
    wide.wait_for_peers(1).await;
    assert_eq!(wide.mesh.publish(Topic::Reveals, b"not wanted".to_vec()).await, Ok(Published::Queued));
    narrow.mesh.publish(Topic::Reveals, b"published without subscribing".to_vec()).await.unwrap();
    assert_eq!(wide.next_gossip().await, (Topic::Reveals, b"published without subscribing".to_vec()));
    wide.mesh.publish(Topic::Commitments, b"wanted".to_vec()).await.unwrap();
    let first = narrow.next(|event| matches!(event, Event::Gossip { .. }).then_some(event)).await;
    let Event::Gossip { topic, from, item } = first else { unreachable!("filtered") };
    assert_eq!((topic, from, item), (Topic::Commitments, wide.id(), b"wanted".to_vec()));
}

/// Lets the test into the middle of a check.
struct Slow(Arc<Barrier>);

impl Gate for Slow {
    type Item = Vec<u8>;
    fn admit(&self, _: PublicKey, _: Topic, bytes: &[u8]) -> Admission<Vec<u8>> {
        self.0.wait();
        Admission::Accept(bytes.to_vec())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_gate_holds_up_nothing_but_gossip() {
    let barrier = Arc::new(Barrier::new(2));
    // Three messages of one byte of one peer.
    let limits = Limits { gate_threads: 1, gate_bytes: 9 * 257, ..Limits::default() };
    let mut slow = Node::start_with(1, MeshConfig { limits, ..config() }, Slow(Arc::clone(&barrier))).await;
    let other = Node::join(2, &slow).await;
    other.wait_for_peers(1).await;
    for n in 0..5 {
        other.mesh.publish(Topic::Commitments, vec![n]).await.unwrap();
    }
    // Three are with the gate, the other two are not waited for.
    slow.wait_for_count("commitments", "busy", 2).await;
    let (id, mesh) = (slow.id(), other.mesh.clone());
    let asked = tokio::spawn(async move { mesh.request(id, Protocol::Sync, vec![1]).await });
    let request = |event| match event {
        Event::Request { reply, .. } => Some(reply),
        _ => None,
    };
    slow.next(request).await.respond(vec![2]);
    assert_eq!(within(asked).await.unwrap(), Ok(vec![2]));
    for n in 0..3 {
        let at = Arc::clone(&barrier);
        tokio::task::spawn_blocking(move || at.wait()).await.unwrap();
        assert_eq!(slow.next_gossip().await, (Topic::Commitments, vec![n]));
    }
    assert_eq!((slow.count("commitments", "accepted"), slow.count("commitments", "busy")), (3, 2));
}
