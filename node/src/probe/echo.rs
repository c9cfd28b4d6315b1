//! One echo: a stream that only its sender can know goes through the worker and back.
//!
//! The stream is the output of BLAKE3 under a key that never leaves the validator. What comes back is compared with
//! it byte by byte as it comes, so the worker can neither shorten nor guess it, and nothing of it is held in memory.

use std::io;
use std::time::{Duration, Instant};

use blake3::OutputReader;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::line::Line;

const CHUNK: usize = 16 << 10;

/// Why an echo did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum EchoFault {
    /// Reading or writing failed.
    #[error("the stream broke")]
    Broken(#[source] io::Error),
    /// The stream ended too early.
    #[error("the stream ended after {0} bytes")]
    Truncated(u64),
    /// Other bytes came back than were sent.
    #[error("byte {0} or one soon after it is not what was sent")]
    Altered(u64),
    /// More came than may.
    #[error("more came than the task has")]
    TooMuch,
}

fn stream_of(key: &[u8; 32]) -> OutputReader {
    blake3::Hasher::new_keyed(key).finalize_xof()
}

/// The next chunk's length when `rest` bytes are left.
fn chunk_of(rest: u64) -> usize {
    usize::try_from(rest).map_or(CHUNK, |rest| rest.min(CHUNK))
}

/// The validator's side: sends `bytes` bytes of the key's stream and takes them back, both at once, so that neither
/// side ever waits for the other's buffers. Returns the time from the first byte sent to the last byte returned.
pub(super) async fn measure<S>(stream: S, key: &[u8; 32], bytes: u64) -> Result<Duration, EchoFault>
where
    S: AsyncRead + AsyncWrite,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let start = Instant::now();
    let send = async {
        let (mut source, mut chunk, mut rest) = (stream_of(key), vec![0; CHUNK], bytes);
        while rest > 0 {
            let part = &mut chunk[..chunk_of(rest)];
            source.fill(part);
            writer.write_all(part).await.map_err(EchoFault::Broken)?;
            rest -= part.len() as u64;
        }
        writer.shutdown().await.map_err(EchoFault::Broken)
    };
    let receive = async {
        let (mut expected, mut wanted, mut chunk) = (stream_of(key), vec![0; CHUNK], vec![0; CHUNK]);
        let mut received = 0;
        while received < bytes {
            let n = reader.read(&mut chunk[..chunk_of(bytes - received)]).await.map_err(EchoFault::Broken)?;
            if n == 0 {
                return Err(EchoFault::Truncated(received));
            }
            expected.fill(&mut wanted[..n]);
            if chunk[..n] != wanted[..n] {
                return Err(EchoFault::Altered(received));
            }
            received += n as u64;
        }
        let time = start.elapsed();
        match reader.read(&mut chunk[..1]).await {
            Ok(0) => Ok(time),
            Ok(_) => Err(EchoFault::TooMuch),
            Err(e) => Err(EchoFault::Broken(e)),
        }
    };
    let ((), time) = tokio::try_join!(send, receive)?;
    Ok(time)
}

/// The worker's side: returns what comes until the peer is done, at most `max_bytes`, at the line's pace. Returns how much that was.
pub(super) async fn echo<S>(stream: S, max_bytes: u64, line: &Line) -> Result<u64, EchoFault>
where
    S: AsyncRead + AsyncWrite,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (mut chunk, mut total) = (vec![0; CHUNK], 0);
    loop {
        let n = reader.read(&mut chunk).await.map_err(EchoFault::Broken)?;
        if n == 0 {
            break;
        }
        total += n as u64;
        if total > max_bytes {
            return Err(EchoFault::TooMuch);
        }
        tokio::join!(line.take(n), line.give(n));
        writer.write_all(&chunk[..n]).await.map_err(EchoFault::Broken)?;
    }
    writer.shutdown().await.map_err(EchoFault::Broken)?;
    Ok(total)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    const KEY: [u8; 32] = [3; 32];
    /// Several chunks and a rest, much more than the pipe holds.
    const BYTES: u64 = 256 * 1024 + 17;

    fn pipe() -> (DuplexStream, DuplexStream) {
        duplex(1 << 10)
    }

    /// What the validator finds when the worker does `change` to the whole stream before it returns it.
    async fn returned(change: impl FnOnce(&mut Vec<u8>)) -> Result<Duration, EchoFault> {
        let (near, far) = pipe();
        let worker = async {
            let (mut reader, mut writer) = tokio::io::split(far);
            let mut all = Vec::new();
            reader.read_to_end(&mut all).await.unwrap();
            change(&mut all);
            // The validator hangs up when it has seen enough.
            let _ = writer.write_all(&all).await;
            let _ = writer.shutdown().await;
        };
        tokio::join!(measure(near, &KEY, BYTES), worker).0
    }

    #[tokio::test]
    async fn an_echo_is_verified_through_a_narrow_pipe() {
        let (near, far) = pipe();
        let line = Line::default();
        let (measured, echoed) = tokio::join!(measure(near, &KEY, BYTES), echo(far, BYTES, &line));
        assert!(measured.unwrap() > Duration::ZERO);
        assert_eq!(echoed.unwrap(), BYTES);
    }

    #[tokio::test]
    async fn whatever_is_not_the_stream_is_refused() {
        returned(|_| {}).await.unwrap();
        let last = usize::try_from(BYTES).unwrap() - 1;
        for at in [0, 70_000, last] {
            assert!(matches!(returned(|all| all[at] ^= 1).await, Err(EchoFault::Altered(_))), "byte {at}");
        }
        assert!(matches!(returned(|all| all.truncate(last)).await, Err(EchoFault::Truncated(n)) if n == BYTES - 1));
        assert!(matches!(returned(Vec::clear).await, Err(EchoFault::Truncated(0))));
        assert!(matches!(returned(|all| all.push(0)).await, Err(EchoFault::TooMuch)));
        let other = |all: &mut Vec<u8>| stream_of(&[4; 32]).fill(all);
        assert!(matches!(returned(other).await, Err(EchoFault::Altered(0))));
    }

    #[tokio::test]
    async fn a_worker_returns_no_more_than_the_task_has() {
        let (near, far) = pipe();
        let line = Line::default();
        let (_, echoed) = tokio::join!(measure(near, &KEY, BYTES), echo(far, BYTES - 1, &line));
        assert!(matches!(echoed, Err(EchoFault::TooMuch)));
    }

    #[tokio::test]
    async fn a_peer_that_hangs_up_breaks_the_session() {
        let (near, far) = pipe();
        drop(far);
        assert!(measure(near, &KEY, BYTES).await.is_err());
    }
}
