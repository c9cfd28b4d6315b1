//! An HTTP/1.1 server on a raw socket, so that tests decide over every byte of an answer and when it comes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use lucid_tron_types::block::block_id;
use lucid_tron_types::proto::BlockHeaderRaw;
use lucid_types::id::SolidBlockId;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A request as the server read it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// Header names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

/// Id of the block 0 that [`node`]s have.
pub(crate) const GENESIS: SolidBlockId = SolidBlockId::from_bytes([0x11; 32]);

/// A full node that answers for block 0, and `answer` for the rest.
pub(crate) async fn node(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
    Server::start(move |request| {
        if request.path == "/wallet/getblock" && request.body["id_or_num"] == "0" {
            return Answer::json(&json!({ "blockID": GENESIS.to_string(), "block_header": { "raw_data": {} } }));
        }
        answer(request)
    })
    .await
}

/// The JSON that java-tron prints for a block of this number, made 3 s after the one before, without transactions.
pub(crate) fn block(number: i64) -> Value {
    block_of(number, [0; 32])
}

/// As above, with this root of its transactions.
pub(crate) fn block_of(number: i64, root: [u8; 32]) -> Value {
    let tx_trie_root = root.to_vec();
    let header =
        BlockHeaderRaw { number, timestamp: number * 3_000, version: 31, tx_trie_root, ..BlockHeaderRaw::default() };
    json!({
        "blockID": hex::encode(block_id(&header)),
        "block_header": { "raw_data": {
            "number": header.number, "timestamp": header.timestamp, "version": header.version,
            "txTrieRoot": hex::encode(root),
        }, "witness_signature": "00" },
    })
}

/// What the server does with a request.
pub(crate) enum Answer {
    /// Status 200 with this body.
    Ok(String),
    /// A status, further header lines, and a body.
    Status(u16, &'static str, String),
    /// Reads and never answers.
    Silence,
    /// Closes the connection.
    Hangup,
    /// A body of this many bytes, announced or not, sent for as long as the client reads.
    Flood(usize),
}

impl Answer {
    pub(crate) fn json(value: &Value) -> Self {
        Self::Ok(value.to_string())
    }
}

/// A running server; its connections end with it.
pub(crate) struct Server {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                connections.spawn(async move {
                    // A client that gives up in the middle is part of the tests.
                    let _ = serve(stream, &seen, answer.as_ref()).await;
                });
            }
        });
        Self { url, requests, _tasks: tasks }
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// How many requests asked for this path.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.requests().iter().filter(|r| r.path == path).count()
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(&Request) -> Answer + Send + Sync),
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await? {
        seen.lock().unwrap().push(request.clone());
        let (status, headers, body) = match answer(&request) {
            Answer::Ok(body) => (200, "", body),
            Answer::Status(status, headers, body) => (status, headers, body),
            Answer::Silence => return std::future::pending().await,
            Answer::Hangup => return Ok(()),
            Answer::Flood(n) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"x\":\"").await?;
                let chunk = vec![b'x'; 64 << 10];
                for _ in 0..n.div_ceil(chunk.len()) {
                    stream.write_all(&chunk).await?;
                }
                return Ok(());
            }
        };
        // One write, so that no delayed acknowledgement slows the tests.
        let answer = format!("HTTP/1.1 {status} S\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Request>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let mut lines = head.lines();
            let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
            let headers: BTreeMap<_, _> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
                .collect();
            let length: usize = headers.get("content-length").map_or(0, |l| l.parse().unwrap());
            let total = end + 4 + length;
            if buffer.len() >= total {
                let body = serde_json::from_slice(&buffer[end + 4..total]).unwrap_or(Value::Null);
                buffer.drain(..total);
                return Ok(Some(Request { path, headers, body }));
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await? {
            0 => return Ok(None),
            n => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}
