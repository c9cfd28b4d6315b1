//! How long a user waits until a validator holds a command durably: `cargo bench -p lucid-node --profile dev --bench commands`.
//!
//! A validator that makes blocks all the while, asked over its HTTP API by several users at a time, beside what the disk needs to make as many
//! bytes durable.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, and fails by panicking"
)]
#![expect(dead_code, reason = "the fixture serves the tests, too")]

#[path = "../tests/it/fixture.rs"]
mod fixture;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_consensus::ledger::command::SignedCommand;
use lucid_node::clock::{Clock, SystemClock};
use lucid_node::config::{Config, Role};
use lucid_node::home::Home;
use lucid_node::node;
use lucid_types::attestation::Capacity;
use lucid_types::codec::encode;
use lucid_types::command::{Action, Command, NodeAction};
use lucid_types::id::NetworkId;
use lucid_types::key::NodeKey;
use lucid_types::signed::MultiSigned;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Accounts; each gives as many commands as it may at once.
const ACCOUNTS: u8 = 120;
const OF_ONE: u64 = 8;
/// Users at a time.
const USERS: usize = 16;
/// What all but one of a hundred may take.
const WANTED: Duration = Duration::from_millis(10);
/// Syncs of the disk that are measured.
const SYNCS: usize = 200;

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn commands(network: &NetworkId, seed: u8) -> Vec<SignedCommand> {
    let (key, until) = (key(seed), SystemClock.now().after(Duration::from_secs(3_600)));
    let command = |nonce: u64| {
        let capacity = Capacity { cores: u32::try_from(nonce).unwrap() + 3, ..Capacity::default() };
        let action = Action::Node(NodeAction::Update { gas_address: None, capacity });
        let signed = key.sign_command(network, Command { account: key.account(), nonce, until, action });
        let (signer, signature) = (signed.signer, signed.signature);
        MultiSigned::collect(signed.into_inner().record, [(signer, signature)])
    };
    (0..OF_ONE).map(command).collect()
}

/// Times until commands are acknowledged, in order.
async fn acknowledgements(dir: &Path) -> Vec<Duration> {
    // The first key is the validator's.
    let accounts: Vec<u8> = (2..).take(ACCOUNTS.into()).collect();
    let genesis = fixture::genesis(Duration::from_secs(5), &[1]);
    let workers = accounts.iter().map(|seed| fixture::worker(fixture::node(*seed), *seed)).collect();
    let start = fixture::start::Start { genesis, workers, pools: vec![] };
    let genesis = &start.genesis;
    let network = genesis.network_id();
    let mut config = Config { roles: BTreeSet::from([Role::Validator]), ..Config::default() };
    config.p2p.listen = vec![format!("/ip4/127.0.0.1/tcp/{}", free().port())];
    config.p2p.local = true;
    (config.api.listen, config.metrics.listen) = (free(), free());
    let url = format!("http://{}/api/v1/commands", config.api.listen);
    let home = Home::new(dir.join("node"));
    home.create(&config, None).unwrap();
    std::fs::write(home.key_file(), hex::encode(key(1).seed())).unwrap();
    std::fs::write(home.genesis_file(), toml::to_string(genesis).unwrap()).unwrap();
    fixture::take_over(&home.db_dir(), &start, &[fixture::signing_key(1)]);
    let (stop, mut nodes) = (CancellationToken::new(), JoinSet::new());
    nodes.spawn(Box::pin(node::run(home, config, stop.clone())));

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let answers = async {
        while client.get(&url).send().await.is_err() {
            look.tick().await;
        }
    };
    tokio::select! {
        () = fixture::within(answers) => {}
        Some(ended) = nodes.join_next() => unreachable!("the node ended: {:?}", ended.unwrap()),
    }
    let share = accounts.len().div_ceil(USERS);
    let (url, mut users) = (Arc::new(url), JoinSet::new());
    for accounts in accounts.chunks(share) {
        let (client, url, accounts) = (client.clone(), Arc::clone(&url), accounts.to_vec());
        users.spawn(async move {
            let mut times = Vec::new();
            for command in accounts.iter().flat_map(|seed| commands(&network, *seed)) {
                let body = json!({ "signed_command": hex::encode(encode(&command)) });
                let begun = Instant::now();
                let answer = client.post(&*url).json(&body).send().await.unwrap();
                times.push(begun.elapsed());
                let status = answer.status();
                assert_eq!(status.as_u16(), 202, "{}", answer.text().await.unwrap());
            }
            times
        });
    }
    let mut times = Vec::new();
    while let Some(of_user) = users.join_next().await {
        times.extend(of_user.unwrap());
    }
    stop.cancel();
    while let Some(ended) = nodes.join_next().await {
        ended.unwrap().unwrap();
    }
    times.sort_unstable();
    times
}

/// Times that the disk needs to make the bytes of a command durable, in order.
fn syncs(dir: &Path) -> Vec<Duration> {
    let mut file = std::fs::File::create(dir.join("synced")).unwrap();
    let sync = |_| {
        let begun = Instant::now();
        file.write_all(&[7; 256]).unwrap();
        file.sync_data().unwrap();
        begun.elapsed()
    };
    let mut times: Vec<_> = (0..SYNCS).map(sync).collect();
    times.sort_unstable();
    times
}

fn place(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() - 1) * percent / 100]
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let times = runtime.block_on(acknowledgements(dir.path()));
    let synced = syncs(dir.path());
    println!(
        "a command, from its POST until a validator holds it durably, {} times by {USERS} users: median {:?}, 99 of 100 within {:?}; the disk \
         alone: median {:?}, 99 of 100 within {:?}",
        times.len(),
        place(&times, 50),
        place(&times, 99),
        place(&synced, 50),
        place(&synced, 99)
    );
    let most = WANTED + place(&synced, 99);
    assert!(place(&times, 99) < most, "99 of 100 take up to {:?}, not less than {most:?}", place(&times, 99));
}
