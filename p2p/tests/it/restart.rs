//! A node comes back with its key: at its old address, or while its old connections still look alive.

use lucid_p2p::{Event, MeshConfig, Topic};

use crate::net::{Node, QUIC, TCP, config, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashed_node_is_dialled_again_at_its_old_port() {
    for address in [TCP, QUIC] {
        let listen = |listen: Vec<String>, bootstrap: Vec<String>| MeshConfig { listen, bootstrap, ..config() };
        let mut a = Node::start(1, listen(vec![address.to_owned()], vec![])).await;
        let b = Node::start(2, listen(vec![address.to_owned()], a.mesh.listen_addresses())).await;
        a.wait_for_peers(1).await;
        let (b_id, old_port) = (b.id(), b.mesh.listen_addresses());
        b.crash().await;
        within(port_free(&old_port[0])).await;
        // It comes back without any address of others: they must find it.
        let mut b = Node::start(2, listen(old_port, vec![])).await;
        assert_eq!(b.id(), b_id);
        b.wait_for_peers(1).await;
        gossip_flows(&mut a, &mut b).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_comes_back_while_its_old_connections_look_alive() {
    for address in [TCP, QUIC] {
        let listen = |bootstrap: Vec<String>| MeshConfig { listen: vec![address.to_owned()], bootstrap, ..config() };
        let mut a = Node::start(1, listen(vec![])).await;
        let old = Node::start(2, listen(a.mesh.listen_addresses())).await;
        a.wait_for_peers(1).await;
        old.freeze();
        let mut new = Node::start(2, listen(a.mesh.listen_addresses())).await;
        a.wait_for_count("peers", "restarted", 1).await;
        let id = new.id();
        a.next(|event| matches!(event, Event::PeerDisconnected(node) if node == id).then_some(())).await;
        a.next(|event| matches!(event, Event::PeerConnected(node) if node == id).then_some(())).await;
        gossip_flows(&mut a, &mut new).await;
        drop(old);
    }
}

/// Neither keeps the other from asking, and so from learning that there is another machine with its key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_with_one_key_are_both_connected() {
    let listen = |bootstrap: Vec<String>| MeshConfig { listen: vec![TCP.to_owned()], bootstrap, ..config() };
    let a = Node::start(1, listen(vec![])).await;
    let one = Node::start(2, listen(a.mesh.listen_addresses())).await;
    a.wait_for_peers(1).await;
    let other = Node::start(2, listen(a.mesh.listen_addresses())).await;
    a.wait_for_count("peers", "runs-twice", 1).await;
    for _ in 0..20 {
        until(|| one.mesh.peer_count() == 1 && other.mesh.peer_count() == 1).await;
    }
    assert_eq!(a.mesh.peer_count(), 1, "they are one peer");
}

async fn gossip_flows(a: &mut Node, b: &mut Node) {
    a.mesh.publish(Topic::Consensus, b"welcome back".to_vec()).await.unwrap();
    assert_eq!(b.next_gossip().await, (Topic::Consensus, b"welcome back".to_vec()));
    b.mesh.publish(Topic::Consensus, b"here again".to_vec()).await.unwrap();
    assert_eq!(a.next_gossip().await, (Topic::Consensus, b"here again".to_vec()));
}

/// In a process that goes on, libp2p's tasks let go of a UDP socket a little after the mesh is gone.
async fn port_free(address: &str) {
    let port: u16 = address.split('/').nth(4).unwrap().parse().unwrap();
    until(|| std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok()).await;
}
