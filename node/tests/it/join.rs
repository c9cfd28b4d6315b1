//! Visits to a network over real connections: the genesis from honest and hostile peers, the comparison of chains, and the commands that
//! make and show networks.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_consensus::chain_spec::ChainSpec;
use lucid_node::home::{Home, genesis_text};
use lucid_node::visit::{Comparison, Visitor};
use lucid_p2p::{Event, Protocol};
use lucid_types::block::{Header, items_hash};
use lucid_types::certificate::Certificate;
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::genesis::Genesis;
use lucid_types::id::{BlockHash, Hash, NetworkId, StateRoot};
use lucid_types::join::JoinString;
use lucid_types::sync::{CertifiedHeader, SyncRequest, SyncResponse};
use lucid_types::time::{Height, UnixMillis};
use lucid_types::vote::{Vote, VoteKind};

use crate::cli::{Folder, failure, json, lucid, out};
use crate::fixture::{genesis, node, signing_key, within};
use crate::mesh::{Peer, peer};

const VALIDATORS: [u8; 4] = [1, 2, 3, 4];

/// How a peer answers. `None`: never.
type Answer = Arc<dyn Fn(SyncRequest) -> Option<Vec<u8>> + Send + Sync>;

/// Starts a peer that answers so, and says where it is.
async fn answering(network: NetworkId, seed: u8, bootstrap: Vec<String>, answer: Answer) -> (Peer, String) {
    let (peer, mut events) = peer(network, seed, bootstrap).await;
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Some(event) = events.next().await {
            let Event::Request { protocol: Protocol::Sync, bytes, reply, .. } = event else { continue };
            match answer(decode(&bytes).unwrap()) {
                Some(bytes) => reply.respond(bytes),
                None => silent.push(reply),
            }
        }
    });
    let address = peer.mesh.listen_addresses()[0].clone();
    (peer, address)
}

fn honest(genesis: &Genesis) -> Answer {
    let whole = encode(genesis);
    Arc::new(move |request| {
        assert_eq!(request, SyncRequest::Genesis);
        Some(encode(&SyncResponse::Genesis(whole.clone())))
    })
}

/// Every way in which a peer may lie, with a part of what is told of it.
fn lies(genesis: &Genesis) -> Vec<(&'static str, Answer)> {
    let whole = encode(genesis);
    let genesis = |bytes: Vec<u8>| -> Answer {
        let bytes = encode(&SyncResponse::Genesis(bytes));
        Arc::new(move |_| Some(bytes.clone()))
    };
    let other = Genesis { name: "another".to_owned(), ..decode(&whole).unwrap() };
    let not_it = "that do not have the network's id";
    vec![
        (not_it, genesis(encode(&other))),
        (not_it, genesis(Vec::new())),
        (not_it, genesis(whole[..whole.len() - 1].to_vec())),
        (not_it, genesis([whole, vec![0; Genesis::MAX_BYTES]].concat())),
        ("an answer to another question", Arc::new(|_| Some(encode(&SyncResponse::Blocks(Vec::new()))))),
        ("no answer of this version", Arc::new(|_| Some(vec![0xff; 9]))),
    ]
}

#[tokio::test]
async fn one_honest_peer_among_liars_is_enough_for_the_genesis() {
    let genesis = genesis(Duration::from_secs(5), &VALIDATORS);
    let network = genesis.network_id();
    let (mut peers, mut addresses) = (Vec::new(), Vec::new());
    for (seed, (_, answer)) in (100..).zip(lies(&genesis)) {
        let (peer, address) = answering(network, seed, Vec::new(), answer).await;
        peers.push(peer);
        addresses.push(address);
    }
    let (silent, address) = answering(network, 150, Vec::new(), Arc::new(|_| None)).await;
    addresses.push(address);
    // Only the liars' bootstrap node knows the honest one.
    let (_honest, _) = answering(network, 151, vec![addresses[0].clone()], honest(&genesis)).await;
    let visitor = Visitor::connect(network, &addresses, true).unwrap();
    let found = within(visitor.genesis(Duration::from_secs(50))).await.unwrap();
    assert_eq!(found.network_id(), network);
    drop((silent, peers));

    // Its text reads back, in a home, and no second one is written.
    let folder = Folder::new();
    let home = Home::new(folder.home());
    fs::create_dir(home.root()).unwrap();
    // Of a run that was killed.
    fs::write(home.root().join("genesis.toml.part"), "half").unwrap();
    home.write_genesis(&found).unwrap();
    assert_eq!(home.load_genesis().unwrap().network_id, network);
    assert!(home.write_genesis(&found).unwrap_err().to_string().contains("left as it is"));
    assert_eq!(fs::read_dir(home.root()).unwrap().count(), 1);
}

#[tokio::test]
async fn of_liars_alone_each_is_told_and_nobody_waits() {
    let genesis = genesis(Duration::from_secs(5), &VALIDATORS);
    let network = genesis.network_id();
    let (mut peers, mut addresses, lies) = (Vec::new(), Vec::new(), lies(&genesis));
    for (seed, (_, answer)) in (100..).zip(&lies) {
        let (peer, address) = answering(network, seed, Vec::new(), Arc::clone(answer)).await;
        peers.push(peer);
        addresses.push(address);
    }
    let visitor = Visitor::connect(network, &addresses, true).unwrap();
    let begun = Instant::now();
    let told = within(visitor.genesis(Duration::from_secs(600))).await.unwrap_err().to_string();
    assert!(begun.elapsed() < Duration::from_secs(50));
    for ((lie, _), address) in lies.iter().zip(&addresses) {
        let line =
            told.lines().find(|line| line.contains(address.as_str())).unwrap_or_else(|| panic!("{address}\n{told}"));
        assert!(line.contains(lie), "{line}, not {lie}");
    }
}

#[tokio::test]
async fn silence_and_absence_end_with_the_patience_and_are_told() {
    let genesis = genesis(Duration::from_secs(5), &VALIDATORS);
    let network = genesis.network_id();
    let (_silent, silent) = answering(network, 100, Vec::new(), Arc::new(|_| None)).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", lucid_p2p::peer_id_string(&node(77).first_key()).unwrap());
    let addresses = [silent, nobody];
    let visitor = Visitor::connect(network, &addresses, true).unwrap();
    let told = within(visitor.genesis(Duration::from_secs(2))).await.unwrap_err().to_string();
    for address in &addresses {
        assert!(told.contains(address.as_str()), "{told}");
    }
    assert!(told.contains("in 2 s") && told.contains("reaches these addresses"), "{told}");
}

#[tokio::test]
async fn a_genesis_that_this_version_cannot_use_ends_the_fetch() {
    let mut genesis = genesis(Duration::from_secs(5), &VALIDATORS);
    genesis.policy.epoch_ms = 1;
    let network = genesis.network_id();
    let (_peer, address) = answering(network, 100, Vec::new(), honest(&genesis)).await;
    let visitor = Visitor::connect(network, &[address], true).unwrap();
    let told = within(visitor.genesis(Duration::from_secs(600))).await.unwrap_err().to_string();
    assert!(told.contains("epoch_ms") && told.contains("newest version"), "{told}");
}

/// A block of a height, told apart by a byte, that these validators have certified.
fn certified(network: &NetworkId, height: u64, kind: u8, signers: &[u8]) -> CertifiedHeader {
    let (height, key) = (Height::new(height), signing_key);
    let header = Header {
        height,
        round: 0,
        parent: BlockHash::from_bytes([kind; 32]),
        proposer: key(1).id(),
        time: UnixMillis::new(5),
        items: items_hash(&[]),
        randao: key(1).bls_key().sign_randao(network, height),
        next_set: Hash::from_bytes([2; 32]),
        state_root: StateRoot::from_bytes([4; 32]),
    };
    let block = header.hash();
    let vote = Vote { kind: VoteKind::Precommit, height, round: 0, block: Some(block) };
    let mut signatures: Vec<_> =
        signers.iter().map(|seed| (key(*seed).id(), key(*seed).sign_vote(network, vote).signature)).collect();
    signatures.sort_by_key(|(signer, _)| *signer);
    CertifiedHeader { header, certificate: Certificate { height, round: 0, block, signatures } }
}

/// A peer with blocks up to a height.
fn chain(network: NetworkId, newest: u64, kind: u8, signers: &'static [u8]) -> Answer {
    Arc::new(move |request| {
        let answer = match request {
            SyncRequest::Head => {
                let newest = (newest > 0).then(|| certified(&network, newest, kind, signers).certificate);
                SyncResponse::Head { newest, oldest: Height::new(1) }
            }
            SyncRequest::Header(height) if height.get() <= newest => {
                SyncResponse::Header(Some(Box::new(certified(&network, height.get(), kind, signers))))
            }
            _ => SyncResponse::Header(None),
        };
        Some(encode(&answer))
    })
}

async fn compared(genesis: &Genesis, answers: &[Answer]) -> Comparison {
    let (network, spec) = (genesis.network_id(), ChainSpec::new(genesis.clone()).unwrap());
    let (mut peers, mut addresses) = (Vec::new(), Vec::new());
    for (seed, answer) in (100..).zip(answers) {
        let (peer, address) = answering(network, seed, Vec::new(), Arc::clone(answer)).await;
        peers.push(peer);
        addresses.push(address);
    }
    let visitor = Visitor::connect(network, &addresses, true).unwrap();
    within(visitor.compare(&spec, answers.len(), Duration::from_secs(30))).await
}

#[tokio::test]
async fn chains_are_compared_where_two_peers_have_a_block() {
    let genesis = genesis(Duration::from_secs(5), &VALIDATORS);
    let network = genesis.network_id();
    let honest = |newest| chain(network, newest, 7, &[1, 2, 3]);
    let forged = || chain(network, 99, 8, &[1, 2]);
    let same = compared(&genesis, &[honest(9), honest(5), honest(3), forged()]).await;
    let Comparison::Same { block, peers } = same else { panic!("{same:?}") };
    assert_eq!((block.height.get(), peers), (5, 2), "of a certificate without a quorum nothing is taken");
    assert_eq!(block.block, certified(&network, 5, 7, &[1, 2, 3]).header.hash());

    let alone = compared(&genesis, &[honest(4), forged()]).await;
    assert!(matches!(alone, Comparison::Same { block, peers: 1 } if block.height.get() == 4), "{alone:?}");
    assert_eq!(compared(&genesis, &[chain(network, 0, 7, &[])]).await, Comparison::NoBlock);

    let twin = chain(network, 6, 8, &[2, 3, 4]);
    let different = compared(&genesis, &[honest(5), twin]).await;
    let Comparison::Different { height, blocks } = different else { panic!("{different:?}") };
    assert_eq!((height.get(), blocks.len()), (5, 2));
}

/// A validator's entry as `lucid init --json` prints it.
fn validator(folder: &Folder, name: &str) -> String {
    let home = folder.0.path().join(name);
    let made = lucid(&home, &["init", "--role", "validator", "--local", "--json"]);
    let file = folder.0.path().join(format!("{name}.json"));
    fs::write(&file, out(&made)).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_network_is_made_shown_and_invited_into() {
    let folder = Folder::new();
    let files = ["v1", "v2"].map(|name| validator(&folder, name));
    // The other form: the entry alone, as it would stand in the genesis.
    let entry: serde_json::Value = serde_json::from_str(&fs::read_to_string(&files[1]).unwrap()).unwrap();
    let list = toml::Table::try_from(serde_json::json!({ "validator": [entry["validator"]] })).unwrap();
    fs::write(&files[1], list.to_string()).unwrap();
    let home = folder.0.path().join("v1");
    let genesis_file = home.join("genesis.toml");
    let out_file = genesis_file.to_str().unwrap();
    let boot = format!("/ip4/127.0.0.1/tcp/7001/p2p/{}", lucid_p2p::peer_id_string(&node(1).first_key()).unwrap());
    let create = |more: &[&str]| {
        let fixed = ["network", "create", "--name", "made", "--validator", &files[0], "--validator", &files[1]];
        lucid(&home, &[&fixed, more].concat())
    };
    let nile = ["--policy", "local", "--tron", "nile", "--out", out_file, "--genesis-time", "2026-11-29T12:00"];
    for (more, wanted) in [
        (&["--policy", "public", "--tron", "nile", "--out", out_file][..], "operator"),
        (&["--policy", "no.toml", "--tron", "nile", "--out", out_file], "public, local, or a file"),
        (&["--policy", "local", "--tron", "local", "--out", out_file], "--tron-block-0"),
        (&["--policy", "local", "--tron", "shasta", "--out", out_file], "--usdt"),
        (&[&nile[..], &["--validator", &files[0]]].concat(), "listed twice"),
        (&[&nile[..], &["--bootstrap", "/ip4/127.0.0.1/tcp/7001"]].concat(), "/p2p/"),
    ] {
        let told = failure(&create(more), 1);
        assert!(told.contains(wanted), "{wanted}: {told}");
        assert!(!genesis_file.exists(), "{wanted}");
    }
    let looked_at = out(&create(&[&nile[..], &["--dry-run"]].concat()));
    assert!(looked_at.contains("network id") && looked_at.contains("Nothing was done") && !genesis_file.exists());
    let made = json(&create(&[&nile[..], &["--bootstrap", &boot, "--json"]].concat()));
    let genesis: Genesis = toml::from_str(&fs::read_to_string(&genesis_file).unwrap()).unwrap();
    let network = genesis.network_id();
    assert_eq!((genesis.validators.len(), genesis.policy.seats, genesis.genesis_time.get()), (2, 2, 1_795_953_600_000));
    assert_eq!(made["genesis"]["network_id"], network.to_string());
    let string: JoinString = made["string"].as_str().unwrap().parse().unwrap();
    assert_eq!((string.network, string.bootstrap.addresses()), (network, &[boot.clone()][..]));
    assert!(failure(&create(&nile), 1).contains("left as it is"));
    let text = genesis_text(&genesis).unwrap();
    assert_eq!(fs::read_to_string(&genesis_file).unwrap(), text);

    let shown = json(&lucid(&home, &["network", "show", "--json"]));
    assert_eq!((&shown["network_id"], &shown["name"]), (&made["genesis"]["network_id"], &"made".into()));
    let shown = out(&lucid(&home, &["network", "show"]));
    assert!(shown.contains(&network.to_string()) && shown.contains("2026-11-29"), "{shown}");

    // Its own address is no address to others before it listens somewhere.
    let told = failure(&lucid(&home, &["network", "invite", "--no-pin"]), 1);
    assert!(told.contains("--bootstrap") && told.contains("p2p.external"), "{told}");
    let told =
        failure(&lucid(&home, &["--set", "api.listen=127.0.0.1:1", "network", "invite", "--bootstrap", &boot]), 1);
    assert!(told.contains("--no-pin"), "{told}");
    let told = lucid(&home, &["--set", "p2p.external=/dns4/a.example/tcp/7", "network", "invite", "--no-pin"]);
    let invited = out(&told);
    let string: JoinString = invited.trim().parse().unwrap();
    assert_eq!((string.network, &string.pin), (network, &None));
    assert!(string.bootstrap.addresses()[0].starts_with("/dns4/a.example/tcp/7/p2p/12D3"), "{string:?}");
    let nowhere = folder.0.path().join("nowhere");
    let shown = json(&lucid(&nowhere, &["network", "show", invited.trim(), "--json"]));
    assert_eq!((&shown["network_id"], &shown["pin"]), (&made["genesis"]["network_id"], &serde_json::Value::Null));
}

#[test]
fn an_option_that_is_wrong_makes_no_home() {
    let folder = Folder::new();
    let boot = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", lucid_p2p::peer_id_string(&node(1).first_key()).unwrap());
    let bootstrap = lucid_types::join::Bootstrap::new(vec![boot]).unwrap();
    let network = NetworkId::from_bytes([1; 32]);
    let string = JoinString { network, bootstrap, pool: None, pin: None }.to_string();
    let home = folder.0.path().join("new");
    for (set, wanted) in [("p2p.listn=x", "p2p.listn"), ("p2p.max_peers=many", "p2p.max_peers")] {
        let told = failure(&lucid(&home, &["--set", set, "join", &string, "--role", "observer", "--yes"]), 1);
        assert!(told.contains(wanted), "{told}");
        assert!(!home.exists(), "{set}");
    }
}

#[test]
fn a_home_that_does_not_fit_the_string_is_refused_with_what_to_do() {
    let folder = Folder::new();
    let boot = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", lucid_p2p::peer_id_string(&node(1).first_key()).unwrap());
    let string = |network: &Genesis| {
        let bootstrap = lucid_types::join::Bootstrap::new(vec![boot.clone()]).unwrap();
        JoinString { network: network.network_id(), bootstrap, pool: None, pin: None }.to_string()
    };
    let (ours, mut other) = (genesis(Duration::from_secs(5), &VALIDATORS), genesis(Duration::from_secs(5), &[1]));
    "other".clone_into(&mut other.name);
    let file = folder.0.path().join("g.toml");
    fs::write(&file, genesis_text(&other).unwrap()).unwrap();
    let home = folder.home();
    out(&lucid(&home, &["init", "--genesis", file.to_str().unwrap()]));
    let told = failure(&lucid(&home, &["join", &string(&ours)]), 1);
    assert!(told.contains("another network") && told.contains("\"other\"") && told.contains("--home DIR"), "{told}");
    let told = failure(&lucid(&home, &["join", &string(&other), "--api", "127.0.0.1:5"]), 1);
    assert!(told.contains("--api") && told.contains("config.toml"), "{told}");
    fs::remove_file(home.join("node.key")).unwrap();
    let told = failure(&lucid(&home, &["join", &string(&other)]), 1);
    assert!(told.contains("no whole home"), "{told}");
    let told = failure(&lucid(&folder.0.path().join("new"), &["join", "lucid1qqqq"]), 2);
    assert!(told.contains("cut off"), "{told}");
}
