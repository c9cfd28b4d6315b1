//! The frame of requests and responses: raw bytes behind a length, one frame a stream and direction.
//!
//! ```text
//! request  = length: u32 little-endian | bytes                 then end of stream
//! response = status: u8 | length: u32 little-endian | bytes    then end of stream
//! ```
//!
//! A status other than [`Status::Ok`] comes with length 0. Reading refuses a length above the cap before it reads on, and
//! allocates at most twice what has arrived, never what a length promises.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::budget::Share;

/// Memory set aside before the first byte has come.
const FIRST_ALLOCATION: usize = 4 << 10;

/// How the responder took a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The bytes are the answer.
    Ok,
    /// Over a limit; nothing comes of the request.
    Busy,
    /// Taken, but the application gave no answer.
    NoAnswer,
}

impl Status {
    const fn byte(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Busy => 1,
            Self::NoAnswer => 2,
        }
    }

    fn from_byte(byte: u8) -> io::Result<Self> {
        match byte {
            0 => Ok(Self::Ok),
            1 => Ok(Self::Busy),
            2 => Ok(Self::NoAnswer),
            _ => Err(invalid(format!("unknown status {byte}"))),
        }
    }
}

fn invalid(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// Reads the length of what follows and checks it against `max`.
pub(crate) async fn read_length<R: AsyncRead + Unpin>(io: &mut R, max: usize) -> io::Result<usize> {
    let mut bytes = [0; 4];
    io.read_exact(&mut bytes).await?;
    let length = usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
    if length > max { Err(invalid(format!("{length} bytes announced, {max} allowed"))) } else { Ok(length) }
}

/// Reads exactly `length` bytes and the end of the stream. A share is charged with what is allocated; without one, room has been
/// found for all of it.
pub(crate) async fn read_body<R: AsyncRead + Unpin>(
    io: &mut R,
    length: usize,
    share: Option<&Share>,
) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let mut read = 0;
    while read < length {
        if read == body.len() {
            let room = read.saturating_mul(2).max(FIRST_ALLOCATION).min(length);
            share.map_or(Ok(()), |share| share.resize(room)).map_err(io::Error::other)?;
            body.reserve_exact(room.saturating_sub(read));
            body.resize(room, 0);
        }
        let n = io.read(body.get_mut(read..).unwrap_or_default()).await?;
        if n == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{read} of {length} bytes")));
        }
        read = read.saturating_add(n);
    }
    if io.read(&mut [0]).await? != 0 {
        return Err(invalid("bytes after the frame".to_owned()));
    }
    Ok(body)
}

/// Reads status and length of a response; [`read_body`] reads the rest.
pub(crate) async fn read_response_head<R: AsyncRead + Unpin>(io: &mut R, max: usize) -> io::Result<(Status, usize)> {
    let mut status = [0];
    io.read_exact(&mut status).await?;
    let status = Status::from_byte(status[0])?;
    let max = if status == Status::Ok { max } else { 0 };
    Ok((status, read_length(io, max).await?))
}

/// Writes a request; the caller closes the stream.
pub(crate) async fn write_request<W: AsyncWrite + Unpin>(io: &mut W, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| invalid(format!("{} bytes in a frame", body.len())))?;
    io.write_all(&length.to_le_bytes()).await?;
    io.write_all(body).await
}

/// Writes a response; the caller closes the stream.
pub(crate) async fn write_response<W: AsyncWrite + Unpin>(io: &mut W, status: Status, body: &[u8]) -> io::Result<()> {
    io.write_all(&[status.byte()]).await?;
    write_request(io, if status == Status::Ok { body } else { &[] }).await
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;
    use proptest::prelude::*;

    use super::*;
    use crate::budget::{Bounds, Pool};

    fn share(bytes_per_peer: usize) -> Share {
        let bounds = Bounds { streams_per_peer: 1, bytes_per_peer, bytes: 1 << 30 };
        Pool::new(bounds).open(libp2p::PeerId::random(), true).unwrap()
    }

    fn request(bytes: &[u8], max: usize) -> io::Result<Vec<u8>> {
        block_on(async {
            let mut io = Cursor::new(bytes);
            let length = read_length(&mut io, max).await?;
            read_body(&mut io, length, Some(&share(1 << 20))).await
        })
    }

    fn response(bytes: &[u8], max: usize) -> io::Result<(Status, Vec<u8>)> {
        block_on(async {
            let mut io = Cursor::new(bytes);
            let (status, length) = read_response_head(&mut io, max).await?;
            Ok((status, read_body(&mut io, length, Some(&share(1 << 20))).await?))
        })
    }

    fn written(status: Option<Status>, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        block_on(async {
            match status {
                None => write_request(&mut out, body).await,
                Some(status) => write_response(&mut out, status, body).await,
            }
        })
        .unwrap();
        out
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(body in prop::collection::vec(any::<u8>(), 0..5000)) {
            prop_assert_eq!(&request(&written(None, &body), 5000).unwrap(), &body);
            let (status, read) = response(&written(Some(Status::Ok), &body), 5000).unwrap();
            prop_assert_eq!((status, &read), (Status::Ok, &body));
        }

        /// Any bytes at all: read or refused, and what is read is the only spelling of itself.
        #[test]
        fn hostile_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), max in 0usize..400) {
            if let Ok(body) = request(&bytes, max) {
                prop_assert!(body.len() <= max);
                prop_assert_eq!(written(None, &body), bytes.clone());
            }
            if let Ok((status, body)) = response(&bytes, max) {
                prop_assert!(body.len() <= max);
                prop_assert_eq!(written(Some(status), &body), bytes);
            }
        }

        /// A length above the cap is refused before a byte of the body is read, however large it is.
        #[test]
        fn hostile_lengths_are_refused(length in 11u32.., tail in prop::collection::vec(any::<u8>(), 0..50)) {
            let mut bytes = length.to_le_bytes().to_vec();
            bytes.extend(tail);
            prop_assert_eq!(request(&bytes, 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }

        #[test]
        fn a_shortened_or_lengthened_frame_is_refused(body in prop::collection::vec(any::<u8>(), 1..200), cut in 1usize..200) {
            let mut bytes = written(None, &body);
            bytes.push(0);
            prop_assert_eq!(request(&bytes, 200).unwrap_err().kind(), io::ErrorKind::InvalidData);
            bytes.truncate(bytes.len() - 1 - cut.min(body.len()));
            prop_assert_eq!(request(&bytes, 200).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn memory_follows_what_arrives_not_what_is_announced() {
        let of = |arrived: usize, room: usize| {
            let share = share(room);
            block_on(read_body(&mut Cursor::new(vec![0; arrived]), 1 << 30, Some(&share))).unwrap_err()
        };
        assert_eq!(of(10, 8 << 10).kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(of(100 << 10, (128 << 10) + crate::budget::STREAM).kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(of(100 << 10, 128 << 10).to_string(), "no room: over-budget");
    }

    #[test]
    fn a_refusal_carries_no_bytes() {
        assert_eq!(written(Some(Status::Busy), b"secret"), [1, 0, 0, 0, 0]);
        assert!(response(&[1, 1, 0, 0, 0, 7], 10).is_err());
        assert_eq!(response(&[2, 0, 0, 0, 0], 10).unwrap(), (Status::NoAnswer, vec![]));
    }
}
