//! What an attack may cost in memory. Each runs in a process of its own, so that nothing else is measured.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use futures::StreamExt;
use libp2p::gossipsub::{self, MessageAuthenticity, ValidationMode};
use libp2p::swarm::SwarmEvent;
use libp2p::{SwarmBuilder, noise, tcp, yamux};
use lucid_p2p::{MeshConfig, Topic};

use crate::net::{Node, TCP, config, within};
use crate::stranger::{Stranger, name, publish};

/// Messages of 1 KB that a stranger publishes in a topic that nobody has subscribed: more than an expelled peer gets to send.
const MESSAGES: u32 = 95_600;
/// Of what they hold when all are kept.
const KEPT: usize = 1_000 * MESSAGES as usize;

/// Bytes of memory that this process occupies.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Sends the messages, all or until the victim hangs up; how many.
async fn flood(stranger: &mut Stranger) -> u32 {
    let topic = name(Topic::Consensus);
    let mut message = [0; 1_000];
    for n in 0..MESSAGES {
        message[..4].copy_from_slice(&n.to_le_bytes());
        if !stranger.send(&publish(&topic, &message)).await {
            return n;
        }
    }
    MESSAGES
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run alone in a process by `junk_on_a_topic_that_nobody_subscribed_takes_no_memory`"]
async fn junk_to_a_node() {
    let topics = BTreeSet::from([Topic::Commands]);
    let victim = Node::start(1, MeshConfig { topics, ..config() }).await;
    let before = resident();
    let mut sent = 0;
    // It comes back under other names.
    for seed in 60..64 {
        let mut stranger = Stranger::connect(seed, &victim).await;
        sent += flood(&mut stranger).await;
    }
    victim.wait_for_count("peers", "flooding", 4).await;
    let grown = resident().saturating_sub(before);
    println!("{sent} messages sent, {} KiB grown", grown >> 10);
    assert!(grown < KEPT / 6, "{grown} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run alone in a process by `junk_on_a_topic_that_nobody_subscribed_takes_no_memory`"]
async fn junk_to_bare_gossipsub() {
    let build = |_: &libp2p::identity::Keypair| {
        let config = gossipsub::ConfigBuilder::default()
            .validation_mode(ValidationMode::Anonymous)
            .message_id_fn(|m| gossipsub::MessageId::from(&blake3::hash(&m.data).as_bytes()[..20]))
            .validate_messages()
            .heartbeat_interval(Duration::from_secs(10))
            .build()
            .unwrap();
        gossipsub::Behaviour::<gossipsub::IdentityTransform>::new(MessageAuthenticity::Anonymous, config).unwrap()
    };
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(build)
        .unwrap()
        .build();
    let peer = *swarm.local_peer_id();
    swarm.listen_on(TCP.parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let before = resident();
    let mut stranger = within(Stranger::dial(60, peer, address)).await;
    assert_eq!(flood(&mut stranger).await, MESSAGES);
    // What is on its way is little beside what is there.
    let grown = resident().saturating_sub(before);
    println!("{MESSAGES} messages sent, {} KiB grown", grown >> 10);
    assert!(grown > KEPT / 2, "{grown} bytes");
}

#[test]
fn junk_on_a_topic_that_nobody_subscribed_takes_no_memory() {
    for attack in ["memory::junk_to_a_node", "memory::junk_to_bare_gossipsub"] {
        let test = std::env::current_exe().unwrap();
        let run = Command::new(test).args(["--exact", attack, "--ignored", "--nocapture"]).output().unwrap();
        let said = [run.stdout, run.stderr].concat();
        assert!(run.status.success(), "{attack}: {}", String::from_utf8_lossy(&said));
    }
}
