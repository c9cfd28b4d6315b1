//! How long a block takes from its proposal until it is durable, with real nodes: `cargo bench -p lucid-node --profile dev --bench blocks`.
//!
//! Four validators in one process, each with a home, store, log and connections of its own, over loopback. Each is a worker, too, whom the
//! others measure. A block's time is its proposer's clock when it builds it; each validator logs how old the block is when its store has synced it.
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
use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use fixture::start::{Start, Worker};
use lucid_node::clock::{Clock, SystemClock};
use lucid_node::config::{Config, Role};
use lucid_node::home::{Home, NewHome};
use lucid_node::node;
use lucid_p2p::peer_id_string;
use lucid_types::id::PayoutAddress;
use lucid_types::validator::Validator;
use lucid_types::vault::TreasurySigner;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

const VALIDATORS: usize = 4;
/// As short as may be: three blocks in each.
const EPOCH: Duration = Duration::from_secs(2);
/// Blocks while the nodes still connect to each other.
const FIRST: u64 = 6;
/// Blocks that count, on each validator.
const BLOCKS: u64 = 60;
/// What the median may be.
const WANTED: Duration = Duration::from_millis(50);
/// More than the validators log of blocks until they are looked at.
const MAX_WAITING: usize = 4_096;

/// A block that is durable on a node: its height, and its age in milliseconds.
type Durable = (u64, u64);

static DURABLE: OnceLock<mpsc::Sender<Durable>> = OnceLock::new();

#[derive(Default)]
struct Listen {
    message: String,
    height: u64,
    age_ms: u64,
}

impl Visit for Listen {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "height" {
            self.height = value;
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        if field.name() == "age_ms" {
            self.age_ms = u64::try_from(value).unwrap();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

/// Sees what an operator sees in the logs.
struct Log;

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut seen = Listen::default();
        event.record(&mut seen);
        if let (Some(durable), "block decided") = (DURABLE.get(), seen.message.as_str()) {
            // Nobody waits any more when the benchmark ends.
            let _ = durable.try_send((seen.height, seen.age_ms));
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// The homes of all nodes below `dir`, made as `lucid init` makes them, with the genesis of all of them.
fn homes(dir: &Path) -> Vec<(Home, Config)> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut nodes: Vec<(Home, Config, NewHome)> = Vec::new();
    let mut bootstrap = Vec::new();
    for i in 0..VALIDATORS {
        let roles = BTreeSet::from([Role::Validator, Role::Worker]);
        let address = format!("/ip4/127.0.0.1/tcp/{}", free_port());
        let mut config = Config { name: format!("node-{i}"), roles, ..Config::default() };
        config.p2p.listen = vec![address.clone()];
        config.p2p.bootstrap.clone_from(&bootstrap);
        config.p2p.local = true;
        (config.api.listen, config.metrics.listen) = (any, any);
        let home = Home::new(dir.join(&config.name));
        let made = home.create(&config, None).unwrap();
        // Nothing is paid here.
        std::fs::remove_file(home.gas_key_file(&config)).unwrap();
        if i == 0 {
            config.roles.insert(Role::Bootstrap);
            bootstrap.push(format!("{address}/p2p/{}", peer_id_string(&made.key.public_key()).unwrap()));
        }
        nodes.push((home, config, made));
    }
    let made: Vec<_> = nodes.iter().map(|(_, _, made)| made).collect();
    let start = start(&made);
    let genesis = toml::to_string(&start.genesis).unwrap();
    let keys: Vec<_> = made.iter().map(|made| made.validator_key.clone().unwrap()).collect();
    for (home, ..) in &nodes {
        std::fs::write(home.genesis_file(), &genesis).unwrap();
        fixture::take_over(&home.db_dir(), &start, &keys);
    }
    nodes.into_iter().map(|(home, config, _)| (home, config)).collect()
}

fn start(made: &[&NewHome]) -> Start {
    let mut genesis = fixture::genesis(EPOCH, &[]);
    genesis.genesis_time = SystemClock.now().after(Duration::from_secs(3));
    let node = |made: &&NewHome| made.key.account();
    let validator = |made: &&NewHome| {
        let (node, key) = (node(made), made.validator_key.as_ref().unwrap());
        Validator { node, power: 1, operator: node, keys: key.keys(&node) }
    };
    genesis.validators = made.iter().map(validator).collect();
    let worker = |(i, node)| Worker { gas_address: None, ..fixture::worker(node, i) };
    let signer = TreasurySigner { node: node(&made[0]), key_address: PayoutAddress::from_hash20([99; 20]) };
    Start {
        genesis,
        workers: (10..).zip(made.iter().map(node)).map(worker).collect(),
        pools: vec![fixture::pool(1, made.iter().map(node).collect(), 1, vec![signer])],
    }
}

async fn measure() -> Vec<u64> {
    let (send, mut durable) = mpsc::channel(MAX_WAITING);
    DURABLE.get_or_init(|| send);
    let dir = tempfile::tempdir().unwrap();
    let (stop, mut nodes) = (CancellationToken::new(), JoinSet::new());
    for (home, config) in homes(dir.path()) {
        nodes.spawn(Box::pin(node::run(home, config, stop.clone())));
    }
    let (mut ages, mut highest) = (Vec::new(), 0);
    while highest < FIRST + BLOCKS {
        let (height, age) = tokio::select! {
            ended = nodes.join_next() => panic!("a node has ended: {ended:?}"),
            block = fixture::within(durable.recv()) => block.unwrap(),
        };
        highest = highest.max(height);
        if height > FIRST {
            ages.push(age);
        }
    }
    stop.cancel();
    while let Some(ended) = nodes.join_next().await {
        ended.unwrap().unwrap();
    }
    ages.sort_unstable();
    ages
}

fn main() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter);
    let listen = Log.with_filter(Targets::new().with_target("lucid_node::chain::driver", Level::INFO));
    tracing_subscriber::registry().with(log).with(listen).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let ages = runtime.block_on(measure());
    let place = |percent: usize| ages[(ages.len() - 1) * percent / 100];
    println!(
        "block, from its proposal to durable, {} times on {VALIDATORS} validators: median {} ms, a tenth within {} ms, \
         nine tenths within {} ms, slowest {} ms",
        ages.len(),
        place(50),
        place(10),
        place(90),
        place(100)
    );
    let median = Duration::from_millis(place(50));
    assert!(median < WANTED, "the median is {median:?}, not less than {WANTED:?}");
}
