//! A network in this process and a bare HTTP/1.1 client for it.

use std::net::SocketAddr;
use std::time::Duration;

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
        let config = DevnetConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            block_time,
            solid_lag,
            accounts: 3,
            ..DevnetConfig::default()
        };
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
        let mut stream = TcpStream::connect(self.ready.listen).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: devnet\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// Stops the network and waits for its end.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        self.tasks.join_next().await.unwrap().unwrap().unwrap();
    }
}
