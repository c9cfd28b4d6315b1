//! Reading a loopback HTTP server: one GET a connection, capped in size and time.
//!
//! Just enough for the nodes' own API and metrics; HTTP/1.0, so that an answer ends with its connection and is never
//! chunked.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// From connecting to the last byte; loopback and a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(3);
/// A full page of payouts is below 1 MiB.
const MAX_ANSWER: u64 = 8 << 20;

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Asks for a path.
pub(crate) async fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let answer = timeout(TIME_LIMIT, exchange(address, path)).await.map_err(|_| ErrorKind::TimedOut)??;
    split(&answer).ok_or_else(|| ErrorKind::InvalidData.into())
}

async fn exchange(address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn split(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: answer.get(end + 4..)?.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_split() {
        let body = |text: &str| text.as_bytes().to_vec();
        assert_eq!(split(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}"), Some(Answer { status: 200, body: body("{}") }));
        assert_eq!(split(b"HTTP/1.1 404 Not Found\r\n\r\n"), Some(Answer { status: 404, body: vec![] }));
        for wrong in [&b""[..], b"HTTP/1.0 200 OK", b"SSH-2.0\r\n\r\n", b"HTTP/1.0 abc\r\n\r\n"] {
            assert_eq!(split(wrong), None);
        }
    }
}
