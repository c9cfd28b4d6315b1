//! What is refused before gossipsub sees it: it costs its sender, and keeps nothing from anybody else.

use std::collections::BTreeSet;
use std::sync::{Arc, Barrier};

use lucid_p2p::{Admission, Gate, Limits, MeshConfig, Topic};
use lucid_types::id::PublicKey;
use lucid_types::key::NodeKey;

use crate::net::{Node, config, within};
use crate::stranger::{Stranger, have, name, publish};

/// A node that knows nobody but its bootstrap nodes.
fn blind(bootstrap: &Node) -> MeshConfig {
    MeshConfig { kad_server: false, bootstrap: bootstrap.mesh.listen_addresses(), ..config() }
}

/// Ignores what one peer brings and accepts the rest.
struct Ignores(PublicKey);

impl Gate for Ignores {
    type Item = Vec<u8>;
    fn admit(&self, from: PublicKey, _: Topic, bytes: &[u8]) -> Admission<Vec<u8>> {
        if from == self.0 { Admission::Ignore("stale") } else { Admission::Accept(bytes.to_vec()) }
    }
}

/// Whether an honest peer's message comes through after `first` has brought it, as the last of so many.
async fn comes_through(attack: usize) -> bool {
    let first = NodeKey::from_seed(&[66; 32]).public_key();
    // One thread judges messages in the order in which they come.
    let limits = Limits { gossip_burst: 50, gossip_per_second: 0, gate_threads: 1, ..Limits::default() };
    let mut victim = Node::start_with(1, MeshConfig { limits, ..config() }, Ignores(first)).await;
    let mut stranger = Stranger::connect(66, &victim).await;
    assert_eq!(stranger.key(), first);
    let topic = name(Topic::Commands);
    for n in 1..attack {
        assert!(stranger.send(&publish(&topic, format!("junk {n}").as_bytes())).await);
    }
    assert!(stranger.send(&publish(&topic, b"honest")).await);
    let seen = |reason| victim.count("commands", reason);
    within(crate::net::until(|| seen("stale") + seen("rate") == u64::try_from(attack).unwrap())).await;

    let honest = Node::start(2, blind(&victim)).await;
    honest.wait_for_peers(1).await;
    for message in ["honest", "another"] {
        honest.mesh.publish(Topic::Commands, message.into()).await.unwrap();
    }
    victim.next_gossip().await.1 == b"honest"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limited_first_deliverer_does_not_censor() {
    assert!(comes_through(51).await);
    // Within its rate the message is judged, and its id known for a minute: this is what must not happen to what was never judged.
    assert!(!comes_through(50).await);
}

/// Lets the test into the middle of a check.
struct Slow(Arc<Barrier>);

impl Gate for Slow {
    type Item = Vec<u8>;
    fn admit(&self, _: PublicKey, _: Topic, bytes: &[u8]) -> Admission<Vec<u8>> {
        if bytes == b"slow" {
            self.0.wait();
            self.0.wait();
        }
        Admission::Accept(bytes.to_vec())
    }
}

/// Messages that were announced and asked for.
fn announced() -> Vec<Vec<u8>> {
    (0..20).map(|n| format!("announced {n}").into_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_gate_burns_no_id_and_blames_nobody() {
    let barrier = Arc::new(Barrier::new(2));
    // One message of a peer.
    let limits = Limits { gate_threads: 1, gate_bytes: 4 * (256 + 20), ..Limits::default() };
    let mut victim = Node::start_with(1, MeshConfig { limits, ..config() }, Slow(Arc::clone(&barrier))).await;
    let topic = name(Topic::Commands);
    let mut honest = Stranger::connect(66, &victim).await;
    let mut liar = Stranger::connect(67, &victim).await;
    assert!(honest.send(&publish(&topic, b"slow")).await);
    let wait = |barrier: &Arc<Barrier>| {
        let barrier = Arc::clone(barrier);
        tokio::task::spawn_blocking(move || barrier.wait())
    };
    within(wait(&barrier)).await.unwrap();
    // The gate is at work, so nothing has room. One peer keeps its promise all the same, the other one does not.
    assert!(honest.send(&have(&topic, &announced())).await);
    for message in announced() {
        assert!(honest.send(&publish(&topic, &message)).await);
    }
    victim.wait_for_count("commands", "busy", 20).await;
    let other: Vec<_> = announced().into_iter().map(|message| [message, b" of another".to_vec()].concat()).collect();
    assert!(liar.send(&have(&topic, &other)).await);
    victim.wait_for_count("peers", "bad-score", 1).await;
    assert!(within(victim.mesh.wait_for_peers(|peers| peers.iter().all(|peer| peer.key != liar.key()))).await);
    let score = |key| victim.mesh.peers().iter().find(|peer| peer.key == key).map(|peer| peer.score);
    assert!(score(honest.key()).is_some_and(|score| score >= 0.0), "{:?}", score(honest.key()));

    within(wait(&barrier)).await.unwrap();
    assert_eq!(victim.next_gossip().await.1, b"slow");
    // Another peer brings what there was no room for.
    let another = Node::start(2, blind(&victim)).await;
    another.wait_for_peers(1).await;
    another.mesh.publish(Topic::Commands, announced()[7].clone()).await.unwrap();
    assert_eq!(victim.next_gossip().await.1, announced()[7]);
}

/// Gossipsub reads 16 KiB by default, and a node offers more after a burst: its stream would be broken off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_messages_may_be_offered_as_a_node_offers() {
    let mut victim = Node::start(1, config()).await;
    let mut stranger = Stranger::connect(66, &victim).await;
    let topic = name(Topic::Commands);
    let offered: Vec<_> = (0..2048u32).map(|n| n.to_le_bytes().to_vec()).collect();
    assert!(stranger.send(&have(&topic, &offered)).await);
    assert!(stranger.send(&publish(&topic, b"after")).await);
    assert_eq!(victim.next_gossip().await.1, b"after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_asked_for_is_refused_counted_and_ends_in_expulsion() {
    let topics = BTreeSet::from([Topic::Commands]);
    let mut victim = Node::start(1, MeshConfig { topics, ..config() }).await;
    let mut stranger = Stranger::connect(66, &victim).await;
    // A topic that there is, and one that there is not.
    let [known, unknown] = [name(Topic::Consensus), "/nothing/of/ours".to_owned()];
    for n in 0..100u32 {
        for topic in [&known, &unknown] {
            assert!(stranger.send(&publish(topic, &n.to_le_bytes())).await);
        }
    }
    victim.wait_for_count("consensus", "unsolicited", 100).await;
    victim.wait_for_count("gossip", "unsolicited", 100).await;
    // So much an honest peer may send that has not heard yet that we left a topic.
    assert!(stranger.send(&publish(&name(Topic::Commands), b"wanted")).await);
    assert_eq!(victim.next_gossip().await.1, b"wanted");
    assert_eq!(victim.count("peers", "flooding"), 0);

    for n in 100..200u32 {
        // It may have been disconnected meanwhile.
        let _sent = stranger.send(&publish(&known, &n.to_le_bytes())).await;
    }
    victim.wait_for_count("peers", "flooding", 1).await;
    assert!(within(victim.mesh.wait_for_peers(<[_]>::is_empty)).await);

    // Nobody else minds.
    let honest = Node::start(2, blind(&victim)).await;
    honest.wait_for_peers(1).await;
    honest.mesh.publish(Topic::Commands, b"honest".to_vec()).await.unwrap();
    assert_eq!(victim.next_gossip().await.1, b"honest");
}
