//! The commands' side of the control socket.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::{MAX_LINE, Reply, Request, line, socket};

/// Why a running testnet could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("no testnet runs in {}", dir.display())]
    NotRunning {
        /// The folder.
        dir: PathBuf,
        /// What connecting said.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("talk to the testnet in {}", dir.display())]
    Talk {
        /// The folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended without an answer.
    #[error("the testnet in {} ended before it answered", dir.display())]
    NoAnswer {
        /// The folder.
        dir: PathBuf,
    },
    /// The answer is none.
    #[error("the testnet in {} answers in another language; is it of another version?", dir.display())]
    Answer {
        /// The folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl ControlError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotRunning { dir, .. } => Some(format!("`lucid-testnet up --dir {}` starts one", dir.display())),
            _ => None,
        }
    }
}

/// Asks the testnet in `dir` and waits for its answer, however long what is asked takes.
///
/// # Errors
/// Nobody listens there, or no answer comes.
pub async fn ask(dir: &Path, request: &Request) -> Result<Reply, ControlError> {
    let talk = |source| ControlError::Talk { dir: dir.into(), source };
    let stream = UnixStream::connect(socket(dir))
        .await
        .map_err(|source| ControlError::NotRunning { dir: dir.into(), source })?;
    let (reader, mut writer) = stream.into_split();
    writer.write_all(&line(request)).await.map_err(talk)?;
    let mut answer = Vec::new();
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    BufReader::new(reader.take(limit)).read_until(b'\n', &mut answer).await.map_err(talk)?;
    if answer.is_empty() {
        return Err(ControlError::NoAnswer { dir: dir.into() });
    }
    serde_json::from_slice(&answer).map_err(|source| ControlError::Answer { dir: dir.into(), source })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::super::server::ControlServer;
    use super::*;

    #[tokio::test]
    async fn a_request_reaches_the_owner_and_its_answer_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (server, mut requests) = ControlServer::bind(dir.path()).unwrap();
        let owner = async {
            let asked = requests.recv().await.unwrap();
            assert_eq!(asked.request, Request::Kill { name: "worker-1".into() });
            asked.reply.send(Reply::Done { pid: 7 }).unwrap();
            // The second is dropped without an answer.
            drop(requests.recv().await.unwrap());
            std::future::pending::<()>().await;
        };
        let client = async {
            let reply = ask(dir.path(), &Request::Kill { name: "worker-1".into() }).await.unwrap();
            assert_eq!(reply, Reply::Done { pid: 7 });
            assert!(matches!(ask(dir.path(), &Request::Down).await, Err(ControlError::NoAnswer { .. })));
        };
        tokio::select! {
            () = server.run(CancellationToken::new()) => {}
            () = owner => {}
            () = client => {}
        }
        assert!(!socket(dir.path()).exists(), "the socket's file goes with the server");
    }

    #[tokio::test]
    async fn nonsense_is_answered_with_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (server, _requests) = ControlServer::bind(dir.path()).unwrap();
        let client = async {
            let stream = UnixStream::connect(socket(dir.path())).await.unwrap();
            let (reader, mut writer) = stream.into_split();
            writer.write_all(b"kill everything\n").await.unwrap();
            let mut answer = String::new();
            BufReader::new(reader).read_line(&mut answer).await.unwrap();
            assert!(matches!(serde_json::from_str(&answer).unwrap(), Reply::Error { .. }), "{answer}");
        };
        tokio::select! {
            () = server.run(CancellationToken::new()) => {}
            () = client => {}
        }
    }

    #[tokio::test]
    async fn nobody_there_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = ask(dir.path(), &Request::Status).await.unwrap_err().to_string();
        assert!(error.starts_with("no testnet runs in "), "{error}");
    }
}
