//! Everybody finds everybody from one address, and the mesh outlives that address.

use lucid_p2p::{MeshConfig, Topic, Transport};

use crate::net::{Node, QUIC, TCP, config, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_nodes_find_each_other_from_one_bootstrap_and_outlive_it() {
    let bootstrap = Node::start(0, config()).await;
    let mut nodes = Vec::new();
    for seed in 1..8 {
        nodes.push(Node::join(seed, &bootstrap).await);
    }
    for node in nodes.iter().chain([&bootstrap]) {
        node.wait_for_peers(7).await;
    }
    bootstrap.stop().await;
    for node in &nodes {
        node.wait_for_peers(6).await;
    }
    for i in 0..nodes.len() {
        let message = format!("from node {i}").into_bytes();
        nodes[i].mesh.publish(Topic::Consensus, message.clone()).await.unwrap();
        for (j, node) in nodes.iter_mut().enumerate() {
            if i != j {
                assert_eq!(node.next_gossip().await, (Topic::Consensus, message.clone()));
            }
        }
    }
    // Somebody new finds all of them from any one of them.
    let late = Node::join(9, &nodes[3]).await;
    late.wait_for_peers(7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_transport_is_enough() {
    for (address, transport) in [(TCP, Transport::Tcp), (QUIC, Transport::Quic)] {
        let only = |bootstrap: Vec<String>| MeshConfig { listen: vec![address.to_owned()], bootstrap, ..config() };
        let a = Node::start(1, only(vec![])).await;
        let mut b = Node::start(2, only(a.mesh.listen_addresses())).await;
        b.wait_for_peers(1).await;
        a.wait_for_peers(1).await;
        let peer = &a.mesh.peers()[0];
        assert_eq!((peer.key, peer.transport, peer.agent.as_str()), (b.id(), transport, "lucid/0.1.0"));
        assert_eq!(peer.addresses, b.mesh.listen_addresses());
        a.mesh.publish(Topic::Commitments, b"over one transport".to_vec()).await.unwrap();
        assert_eq!(b.next_gossip().await, (Topic::Commitments, b"over one transport".to_vec()));
        assert!(within(a.mesh.wait_for_peers(|peers| peers[0].rtt_micros.is_some())).await, "a ping came back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saved_peers_replace_the_bootstrap() {
    let a = Node::start(1, config()).await;
    let b = Node::join(2, &a).await;
    b.wait_for_peers(1).await;
    let saved: Vec<String> = b.mesh.peers().into_iter().flat_map(|peer| peer.addresses).collect();
    b.stop().await;
    let b = Node::start(2, MeshConfig { saved_peers: saved, ..config() }).await;
    b.wait_for_peers(1).await;
    assert_eq!(b.mesh.peers()[0].key, a.id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn networks_that_share_a_bootstrap_do_not_mix() {
    let ours = Node::start(1, config()).await;
    let foreign = |bootstrap: Vec<String>| MeshConfig {
        network_id: lucid_types::id::NetworkId::from_bytes([8; 32]),
        bootstrap,
        ..config()
    };
    let x = Node::start(2, foreign(ours.mesh.listen_addresses())).await;
    let both = [ours.mesh.listen_addresses(), x.mesh.listen_addresses()].concat();
    let y = Node::start(3, foreign(both)).await;
    for node in [&x, &y] {
        node.wait_for_peers(1).await;
    }
    // Whoever hears the other's Identify message first hangs up.
    let refused = |node: &Node| node.count("peers", "foreign-network");
    within(until(|| refused(&ours) + refused(&x) + refused(&y) >= 2)).await;
    let z = Node::join(4, &ours).await;
    z.wait_for_peers(1).await;
    ours.wait_for_peers(1).await;
    assert_eq!(ours.mesh.peers()[0].key, z.id());
    assert_eq!(ours.mesh.peer_count(), 1);
    assert_eq!(x.mesh.peers()[0].key, y.id());
    assert_eq!(z.mesh.peers()[0].key, ours.id());
}
