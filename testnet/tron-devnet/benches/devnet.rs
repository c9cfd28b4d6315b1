//! The devnet's numbers, printed; each ratio is measured in the same run.
//!
//! `cargo bench --profile dev -p lucid-tron-devnet`
//!
//! - token transfers over HTTP, against the rate at which one core recovers signatures
//! - lateness of blocks under that load
//! - restart of a network on disk with 100,000 funded accounts
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and fails by panicking")]

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use lucid_tron_devnet::wallet::{self, Validity, Wallet};
use lucid_tron_devnet::{DevnetConfig, DevnetError, Ready, address, serve, token};
use lucid_tron_types::block::sha256;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const TRANSFERS: usize = 6_000;
const CONNECTIONS: usize = 8;
const RECIPIENTS: u32 = 100;
const ACCOUNTS: u32 = 100_000;

fn main() {
    let recoveries = recovery_rate();
    println!("signature recovery, one core:       {recoveries:>8.0} / s");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (transfers, lateness) = transfer_rate().await;
        println!("token transfers over HTTP:          {transfers:>8.0} / s");
        println!("ratio:                              {:>8.2}   (wanted: 0.3 and more)", transfers / recoveries);
        println!("latest block under that load:       {:>8} ms after its time, 1 s blocks", lateness.as_millis());
        let restart = restart_time().await;
        println!("restart with {ACCOUNTS} accounts:       {:>8} ms  (wanted: less than 2000)", restart.as_millis());
    });
}

fn recovery_rate() -> f64 {
    let wallet = Wallet::derive("bench", 0);
    let signed: Vec<([u8; 32], [u8; 65])> =
        (0..2_000u32).map(|i| sha256(&i.to_be_bytes())).map(|hash| (hash, wallet.sign_hash(&hash).unwrap())).collect();
    let start = Instant::now();
    for (hash, signature) in &signed {
        let (rs, v) = signature.split_at(64);
        let recovery = RecoveryId::from_byte(v.first().unwrap() - 27).unwrap();
        let key = VerifyingKey::recover_from_prehash(hash, &Signature::from_slice(rs).unwrap(), recovery).unwrap();
        assert_eq!(address::of_key(&key), wallet.address());
    }
    2_000.0 / start.elapsed().as_secs_f64()
}

struct Net {
    ready: Ready,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), DevnetError>>,
}

impl Net {
    async fn start(config: DevnetConfig) -> Self {
        let (send, receive) = oneshot::channel();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let config = DevnetConfig { port: 0, ..config };
        tasks.spawn(serve(config, stop.clone(), |ready| drop(send.send(ready))));
        Self { ready: receive.await.unwrap(), stop, tasks }
    }

    async fn stop(mut self) {
        self.stop.cancel();
        self.tasks.join_next().await.unwrap().unwrap().unwrap();
    }
}

/// A connection that is kept open.
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn open(to: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(to).await.unwrap()))
    }

    async fn post(&mut self, path: &str, body: &str) -> Value {
        let request = format!("POST {path} HTTP/1.1\r\nhost: devnet\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }
}

/// Transfers accepted per second, all of which must succeed in blocks; and how late the latest block was.
async fn transfer_rate() -> (f64, Duration) {
    let net =
        Net::start(DevnetConfig { block_time: Some(Duration::from_secs(1)), solid_lag: 3, ..DevnetConfig::default() })
            .await;
    let usdt = net.ready.usdt.unwrap();
    let mut connection = Connection::open(net.ready.listen[0]).await;
    let head = connection.post("/wallet/getnowblock", "").await;
    let id: [u8; 32] = hex::decode(text(&head, "/blockID")).unwrap().try_into().unwrap();
    let time = head.pointer("/block_header/raw_data/timestamp").and_then(Value::as_u64).unwrap();
    let sender = net.ready.accounts.first().unwrap().clone();
    let bodies: Vec<String> = (0..TRANSFERS)
        .map(|i| {
            // Account 0 holds the tokens. There are no nonces, so one sender is as fast as many.
            let recipient = Wallet::derive("bench/recipient", u32::try_from(i).unwrap() % RECIPIENTS).address();
            let message = wallet::trigger(sender.address(), usdt, token::transfer(recipient, 1), 0);
            let validity =
                Validity { timestamp: time + u64::try_from(i).unwrap(), ..Validity::after(id, time, 600_000) };
            let (bytes, _) = wallet::signed(&sender, &message, 100_000_000, validity);
            json!({ "transaction": hex::encode(bytes) }).to_string()
        })
        .collect();

    let watching = CancellationToken::new();
    let mut watcher = JoinSet::new();
    watcher.spawn(watch_lateness(net.ready.listen[0], watching.clone()));
    let start = Instant::now();
    let mut senders = JoinSet::new();
    for chunk in bodies.chunks(TRANSFERS.div_ceil(CONNECTIONS)) {
        let (chunk, to) = (chunk.to_vec(), net.ready.listen[0]);
        senders.spawn(async move {
            let mut connection = Connection::open(to).await;
            for body in chunk {
                let answer = connection.post("/wallet/broadcasthex", &body).await;
                assert_eq!(answer.get("result"), Some(&Value::Bool(true)), "{answer}");
            }
        });
    }
    while let Some(sent) = senders.join_next().await {
        sent.unwrap();
    }
    let elapsed = start.elapsed();
    let mut successes = 0;
    let mut number = 2;
    while successes < TRANSFERS {
        let infos =
            connection.post("/wallet/gettransactioninfobyblocknum", &json!({ "num": number }).to_string()).await;
        let infos = infos.as_array().unwrap();
        successes += infos.iter().filter(|i| text(i, "/receipt/result") == "SUCCESS").count();
        assert!(infos.iter().all(|i| text(i, "/receipt/result") == "SUCCESS"));
        let head = connection.post("/wallet/getnowblock", "").await;
        if head.pointer("/block_header/raw_data/number").and_then(Value::as_u64).unwrap() > number {
            number += 1;
        }
    }
    watching.cancel();
    let lateness = watcher.join_next().await.unwrap().unwrap();
    net.stop().await;
    (f64::from(u32::try_from(TRANSFERS).unwrap()) / elapsed.as_secs_f64(), lateness)
}

/// The longest time between a block's timestamp and the first sight of it.
async fn watch_lateness(at: SocketAddr, stop: CancellationToken) -> Duration {
    let mut connection = Connection::open(at).await;
    let (mut seen, mut latest) = (0, Duration::ZERO);
    while !stop.is_cancelled() {
        let head = connection.post("/wallet/getblock", "").await;
        let number = head.pointer("/block_header/raw_data/number").and_then(Value::as_u64).unwrap();
        let time = head.pointer("/block_header/raw_data/timestamp").and_then(Value::as_u64).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        if number > seen && seen > 0 {
            latest = latest.max(now.saturating_sub(Duration::from_millis(time)));
        }
        seen = number;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    latest
}

async fn restart_time() -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let config =
        DevnetConfig { block_time: None, dir: Some(dir.path().to_owned()), control: true, ..DevnetConfig::default() };
    let net = Net::start(config.clone()).await;
    let mut connection = Connection::open(net.ready.listen[0]).await;
    let name = |i: u32| address::to_hex(wallet::contract_address(&sha256(&i.to_be_bytes()), Default::default()));
    for from in (0..ACCOUNTS).step_by(20_000) {
        let addresses: Vec<String> = (from..from + 20_000).map(name).collect();
        let body = json!({ "addresses": addresses, "balance": 1_000_000 }).to_string();
        connection.post("/devnet/fund", &body).await;
    }
    drop(connection);
    net.stop().await;
    let start = Instant::now();
    let net = Net::start(config).await;
    let elapsed = start.elapsed();
    let mut connection = Connection::open(net.ready.listen[0]).await;
    for i in [0, ACCOUNTS - 1] {
        let account = connection.post("/wallet/getaccount", &json!({ "address": name(i) }).to_string()).await;
        assert_eq!(account.get("balance"), Some(&Value::from(1_000_000)));
    }
    drop(connection);
    net.stop().await;
    elapsed
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
