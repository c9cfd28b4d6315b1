//! What `start` refuses, and how it says so.

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use lucid_p2p::{MeshConfig, StartError, start};
use lucid_types::key::NodeKey;

use crate::net::{ByPrefix, Node, config, until, within};

fn refuse(config: MeshConfig) -> StartError {
    match start(config, &[9; 32], Arc::new(ByPrefix)) {
        Ok(_) => panic!("started"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let running = Node::start(1, config()).await;
    let of_node = running.mesh.listen_addresses().into_iter();
    let foreign = [
        format!("/ip4/127.0.0.1/tcp/{}", tcp.local_addr().unwrap().port()),
        format!("/ip4/127.0.0.1/udp/{}/quic-v1", udp.local_addr().unwrap().port()),
    ];
    let mut tried = 0;
    for address in of_node.map(|a| a.split("/p2p/").next().unwrap().to_owned()).chain(foreign) {
        let error = refuse(MeshConfig { listen: vec![address.clone()], ..config() });
        let text = error.to_string();
        assert!(matches!(error, StartError::PortInUse { .. }), "{address}: {text}");
        assert!(text.contains(&address) && text.contains("another port"), "{text}");
        tried += 1;
    }
    assert_eq!(tried, 4);
}

/// As both would be if IPv6's sockets took IPv4's ports: a node that listens on all addresses would be in its own way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_families_listen_on_one_port() {
    for transport in ["tcp/PORT", "udp/PORT/quic-v1"] {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let on = |ip: &str| format!("/{ip}/{}", transport.replace("PORT", &port.to_string()));
        let (v4, v6) = (on("ip4/0.0.0.0"), on("ip6/::"));
        for listen in [vec![v4.clone(), v6.clone()], vec![v6.clone(), v4.clone()]] {
            let node = Node::start(1, MeshConfig { listen, ..config() }).await;
            let families = |family: &str| node.mesh.listen_addresses().iter().any(|it| it.starts_with(family));
            within(until(|| families("/ip4/") && families("/ip6/"))).await;
            for taken in [&v4, &v6] {
                let error = refuse(MeshConfig { listen: vec![taken.clone()], ..config() });
                assert!(matches!(error, StartError::PortInUse { .. }), "{taken}: {error}");
            }
            let listen = [v4.clone(), v6.clone()];
            node.stop().await;
            assert!(within(lucid_p2p::wait_until_free(&listen, Duration::from_secs(10))).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_addresses_are_named_with_their_key() {
    let peer = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    let list = |text: &str| vec![text.to_owned()];
    let without_peer = "/ip4/127.0.0.1/tcp/4001";
    for (key, text, config) in [
        ("listen", "127.0.0.1:80", MeshConfig { listen: list("127.0.0.1:80"), ..config() }),
        ("listen", "/dns4/localhost/tcp/0", MeshConfig { listen: list("/dns4/localhost/tcp/0"), ..config() }),
        ("external", "/ip4/1.2.3.4", MeshConfig { external: list("/ip4/1.2.3.4"), ..config() }),
        ("bootstrap", without_peer, MeshConfig { bootstrap: list(without_peer), ..config() }),
    ] {
        let error = refuse(config).to_string();
        assert!(error.contains(key) && error.contains(text), "{error}");
    }
    let unreachable = format!("{without_peer}/p2p/{peer}");
    assert!(start(MeshConfig { bootstrap: list(&unreachable), ..config() }, &[9; 32], Arc::new(ByPrefix)).is_ok());
    let elsewhere = refuse(MeshConfig { listen: list("/ip4/203.0.113.7/tcp/4001"), ..config() });
    assert!(matches!(elsewhere, StartError::Listen { .. }), "{elsewhere}");
}

/// Nobody typed it, and it may be a stranger's: it never keeps a node from starting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_saved_address_is_left_out() {
    let hub = Node::start(1, config()).await;
    let peer = hub.mesh.peer_id().to_owned();
    let name = format!("/dnsaddr/example.org/p2p/{peer}");
    let bad = ["", "/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/tcp/1/ws/p2p/x"].map(str::to_owned);
    for text in &bad {
        let error = refuse(MeshConfig { bootstrap: vec![text.clone()], ..config() });
        assert!(matches!(error, StartError::Address { field: "bootstrap", .. }), "negative control: {error}");
    }
    let saved_peers = [bad.to_vec(), vec![name.clone()], hub.mesh.listen_addresses()].concat();
    let node = Node::start(2, MeshConfig { saved_peers, ..config() }).await;
    node.wait_for_peers(1).await;
    assert_eq!((node.count("peers", "saved-address-bad"), node.count("peers", "saved-address-unused")), (3, 1));
    assert!(
        !node.mesh.peers()[0].addresses.contains(&name),
        "a name that was saved is not told as one that was reached"
    );
}

#[test]
fn a_runtime_is_needed() {
    assert!(matches!(refuse(config()), StartError::NoRuntime(_)));
}

/// With connections of both transports that end with it.
#[tokio::test]
async fn a_mesh_ends_and_another_one_takes_its_addresses_under_another_key() {
    let hub = Node::start(1, config()).await;
    let bare = |address: String| address.split("/p2p/").next().unwrap().to_owned();
    let listen: Vec<_> = hub.mesh.listen_addresses().into_iter().map(bare).collect();
    let mut peers = Vec::new();
    for (seed, address) in (2..).zip(hub.mesh.listen_addresses()) {
        peers.push(Node::start(seed, MeshConfig { bootstrap: vec![address], ..config() }).await);
    }
    hub.wait_for_peers(2).await;
    assert!(!lucid_p2p::wait_until_free(&listen, Duration::ZERO).await);
    hub.stop().await;
    assert!(within(lucid_p2p::wait_until_free(&listen, Duration::from_secs(10))).await);
    let again = Node::start(9, MeshConfig { listen, ..config() }).await;
    assert_eq!(again.id(), NodeKey::from_seed(&[9; 32]).public_key());
}

/// Each with what is wrong, in words that an operator can act on; the one that answers is not named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bootstrap_nodes_that_do_not_answer_are_named() {
    let good = Node::start(1, config()).await;
    let peer = |seed| lucid_p2p::peer_id_string(&NodeKey::from_seed(&[seed; 32]).public_key()).unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dead = format!("/ip4/127.0.0.1/tcp/{closed}/p2p/{}", peer(70));
    let tcp = good.mesh.listen_addresses().into_iter().find(|address| address.contains("/tcp/")).unwrap();
    let mistaken = tcp.replace(good.mesh.peer_id(), &peer(71));
    let unknown = format!("/dns4/no-such-host.invalid/tcp/1/p2p/{}", peer(72));
    let bootstrap = [vec![dead.clone(), mistaken.clone(), unknown.clone()], good.mesh.listen_addresses()].concat();
    let node = Node::start(2, MeshConfig { bootstrap, ..config() }).await;
    node.wait_for_peers(1).await;
    assert_eq!(node.mesh.alerts(), Vec::<String>::new(), "not at once");
    within(until(|| node.mesh.alerts().len() == 3)).await;
    let alerts = node.mesh.alerts();
    let about = |address: &str| alerts.iter().find(|alert| alert.contains(address)).unwrap();
    assert!(about(&dead).contains("refused"), "{alerts:?}");
    assert!(about(&mistaken).contains(good.mesh.peer_id()), "{alerts:?}");
    assert!(about(&unknown).contains("Check the address"), "{alerts:?}");
}
