//! `up`'s side of the control socket: reads requests and hands them, with a way to answer, to whoever owns the children.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{MAX_LINE, Reply, Request, line, socket};

/// How long a client may take to send its line.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// How long answers may take to leave at the end.
const GOODBYE: Duration = Duration::from_secs(1);
/// Clients served at once; further ones wait in the system's queue.
const MAX_CLIENTS: usize = 16;

/// A request and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    /// The request.
    pub request: Request,
    /// Answer here; dropping it closes the connection without an answer.
    pub reply: oneshot::Sender<Reply>,
}

/// The listening socket. Dropping it closes every connection and removes the file.
#[derive(Debug)]
pub struct ControlServer {
    path: PathBuf,
    listener: UnixListener,
    /// Capacity 1: a connection waits until the owner of the children takes its request.
    requests: mpsc::Sender<Asked>,
}

impl ControlServer {
    /// Listens on `DIR/control.sock`; requests arrive on the receiver.
    ///
    /// # Errors
    /// The socket cannot be bound, for example because it exists.
    pub fn bind(dir: &Path) -> io::Result<(Self, mpsc::Receiver<Asked>)> {
        let path = socket(dir);
        let listener = UnixListener::bind(&path)?;
        let (requests, receiver) = mpsc::channel(1);
        Ok((Self { path, listener, requests }, receiver))
    }

    /// Serves until `stop`, then lets clients read the answers that are under way.
    pub async fn run(self, stop: CancellationToken) {
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept(), if clients.len() < MAX_CLIENTS => match accepted {
                    Ok((stream, _)) => { clients.spawn(serve(stream, self.requests.clone())); }
                    Err(error) => tracing::warn!(%error, "accept on the control socket"),
                },
                Some(_) = clients.join_next() => {}
            }
        }
        let answered = async { while clients.join_next().await.is_some() {} };
        // Whoever has not read its answer by then has gone away.
        let _ = timeout(GOODBYE, answered).await;
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(stream: UnixStream, requests: mpsc::Sender<Asked>) {
    let (reader, mut writer) = stream.into_split();
    let mut text = String::new();
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    let mut reader = BufReader::new(reader.take(limit));
    let reply = match timeout(REQUEST_TIME, reader.read_line(&mut text)).await {
        Ok(Ok(n)) if n > 0 => match serde_json::from_str(&text) {
            Ok(request) => ask(request, &requests).await,
            Err(error) => Some(Reply::Error { message: format!("not a request: {error}") }),
        },
        _ => None,
    };
    if let Some(reply) = reply {
        // A client that has gone does not hear the answer; what it asked for is done all the same.
        let _ = writer.write_all(&line(&reply)).await;
    }
}

async fn ask(request: Request, requests: &mpsc::Sender<Asked>) -> Option<Reply> {
    let (reply, answer) = oneshot::channel();
    requests.send(Asked { request, reply }).await.ok()?;
    answer.await.ok()
}
