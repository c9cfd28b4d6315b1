//! A network in this process and a bare HTTP/1.1 client for it.

use std::net::SocketAddr;
use std::time::Duration;

use lucid_tron_devnet::wallet::{self, Validity, Wallet};
use lucid_tron_devnet::{DevnetConfig, DevnetError, Ready, serve};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A running network.
pub(crate) struct Net {
    pub(crate) ready: Ready,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), DevnetError>>,
}

impl Net {
    /// Blocks on demand unless `block_time` is given; a free port.
    pub(crate) async fn start(block_time: Option<Duration>, solid_lag: u64) -> Self {
        let config = DevnetConfig { port: 0, block_time, solid_lag, accounts: 3, ..DevnetConfig::default() };
        Self::start_with(config).await
    }

    pub(crate) async fn start_with(config: DevnetConfig) -> Self {
        let (send, receive) = oneshot::channel();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(config, stop.clone(), |ready| drop(send.send(ready))));
        let ready = receive.await.unwrap();
        Self { ready, stop, tasks }
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Value {
        let (status, body) = self.raw("POST", path, body).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.raw("GET", path, "").await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) async fn raw(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        raw_at(self.ready.listen[0], method, path, body).await
    }

    /// What is answered to these very bytes.
    pub(crate) async fn say(&self, request: &str) -> String {
        say(self.ready.listen[0], request).await
    }

    /// Status and headers of an answer, in lower case.
    pub(crate) async fn head(&self, method: &str, path: &str) -> (u16, String) {
        let (status, head, _) = exchange(self.ready.listen[0], method, path, "").await;
        (status, head.to_lowercase())
    }

    /// Stops the network and waits for its end.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        self.tasks.join_next().await.unwrap().unwrap().unwrap();
    }
}

/// A signed transfer of `amount` sun between two funded accounts, and its id.
pub(crate) async fn paid_bytes(net: &Net, from: usize, to: usize, amount: u64) -> (Vec<u8>, String) {
    let block = net.get("/wallet/getnowblock").await;
    signed_transfer(&block, &net.ready.accounts[from], &net.ready.accounts[to], amount)
}

/// Transfers `amount` sun, and answers the transaction's id.
pub(crate) async fn pay(net: &Net, from: usize, to: usize, amount: u64) -> String {
    let (bytes, id) = paid_bytes(net, from, to, amount).await;
    let body = serde_json::json!({ "transaction": hex::encode(bytes) }).to_string();
    let answer = net.post("/wallet/broadcasthex", &body).await;
    assert_eq!(answer["result"], true, "{answer}");
    id
}

/// One request to `at`: status and body.
async fn raw_at(at: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let (status, _, body) = exchange(at, method, path, body).await;
    (status, body)
}

async fn exchange(at: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let response = say(at, &request).await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

async fn say(at: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

/// GET from a network in another process.
pub(crate) async fn get_at(at: SocketAddr, path: &str) -> Value {
    serde_json::from_str(&raw_at(at, "GET", path, "").await.1).unwrap()
}

/// Transfers `amount` sun from account 0 to account 1 of `seed`, in a network in another process.
pub(crate) async fn pay_at(at: SocketAddr, seed: &str, amount: u64) -> String {
    let block = get_at(at, "/wallet/getnowblock").await;
    let (from, to) = (Wallet::derive(seed, 0), Wallet::derive(seed, 1));
    let (bytes, id) = signed_transfer(&block, &from, &to, amount);
    let body = serde_json::json!({ "transaction": hex::encode(bytes) }).to_string();
    let (_, answer) = raw_at(at, "POST", "/wallet/broadcasthex", &body).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["result"], true, "{answer}");
    id
}

fn signed_transfer(head: &Value, from: &Wallet, to: &Wallet, amount: u64) -> (Vec<u8>, String) {
    let reference = hex::decode(head["blockID"].as_str().unwrap()).unwrap();
    let time = head["block_header"]["raw_data"]["timestamp"].as_u64().unwrap();
    let validity = Validity::after(reference.try_into().unwrap(), time, 60_000);
    let (bytes, id) = wallet::signed(from, &wallet::transfer(from.address(), to.address(), amount), 0, validity);
    (bytes, hex::encode(id))
}
