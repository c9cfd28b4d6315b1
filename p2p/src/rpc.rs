//! Request-response over libp2p: the codec of one protocol, with a budget for the memory of arriving requests.
//!
//! What a peer may ask how often is decided in the event loop; here stand only the caps that hold before the loop
//! sees a request.

use std::io;
use std::sync::Arc;

use futures::{AsyncRead, AsyncWrite};
use libp2p::StreamProtocol;
use libp2p::request_response::{self, Codec, ProtocolSupport};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::counters::Counters;
use crate::frame::{self, Status};
use crate::protocol::Protocol;

/// Requests and their memory are counted in units of this many bytes.
const BUDGET_UNIT: usize = 1 << 10;

/// Bytes of our responses that may be arriving at a time; has room for some of the largest.
const RESPONSES: usize = 64 << 20;

/// Bytes that may be held at a time, all peers together.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    /// The budgets of requests and of responses.
    pub(crate) fn pair(request_bytes: usize) -> (Self, Self) {
        (Self::new(request_bytes), Self::new(RESPONSES))
    }

    fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / BUDGET_UNIT).min(Semaphore::MAX_PERMITS))))
    }

    /// `None` when too much is held already. It does not wait: a peer that waits for memory holds memory.
    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_many_owned(units(bytes)).ok()
    }

    /// Waits for room; the time-out of the request ends the wait.
    async fn wait(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_many_owned(units(bytes)).await.ok()
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(BUDGET_UNIT).max(1)).unwrap_or(u32::MAX)
}

/// A request with its share of the budget.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    /// Given back when the request has been answered. Our own requests have none.
    pub(crate) share: Option<OwnedSemaphorePermit>,
}

/// A response as it crosses the wire.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: Status,
    pub(crate) bytes: Vec<u8>,
}

impl Response {
    pub(crate) const fn refused(status: Status) -> Self {
        Self { status, bytes: Vec::new() }
    }
}

/// The codec of one protocol.
#[derive(Clone, Debug)]
pub(crate) struct RpcCodec {
    protocol: Protocol,
    requests: Budget,
    responses: Budget,
    counters: Arc<Counters>,
}

impl RpcCodec {
    /// Counts frames that break the format; a stream that merely ended early is the network's doing.
    fn count(&self, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::InvalidData {
            self.counters.add(self.protocol.kind(), "malformed");
        }
        error
    }

    async fn read<T: AsyncRead + Unpin + Send>(&self, io: &mut T) -> io::Result<Request> {
        let length = frame::read_length(io, self.protocol.limits().request_bytes).await?;
        let Some(share) = self.requests.take(length) else {
            self.counters.add(self.protocol.kind(), "out-of-memory-budget");
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "too many requests are being read"));
        };
        Ok(Request { bytes: frame::read_body(io, length).await?, share: Some(share) })
    }

    async fn read_answer<T: AsyncRead + Unpin + Send>(&self, io: &mut T) -> io::Result<Response> {
        let (status, length) = frame::read_response_head(io, self.protocol.limits().response_bytes).await?;
        let _share = self.responses.wait(length).await;
        Ok(Response { status, bytes: frame::read_body(io, length).await? })
    }
}

impl Codec for RpcCodec {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Response;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read(io).await.map_err(|e| self.count(e))
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read_answer(io).await.map_err(|e| self.count(e))
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        frame::write_request(io, &request.bytes).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: Response) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        frame::write_response(io, response.status, &response.bytes).await
    }
}

/// The behaviour of one protocol, known on the wire as `name`. Protocols share `budgets`.
pub(crate) fn behaviour(
    protocol: Protocol,
    name: StreamProtocol,
    (requests, responses): (Budget, Budget),
    counters: Arc<Counters>,
) -> request_response::Behaviour<RpcCodec> {
    let limits = protocol.limits();
    let config = request_response::Config::default()
        .with_request_timeout(limits.timeout)
        // Both directions of one connection; the excess is dropped before it is read.
        .with_max_concurrent_streams(limits.per_peer.saturating_mul(2));
    let codec = RpcCodec { protocol, requests, responses, counters };
    request_response::Behaviour::with_codec(codec, [(name, ProtocolSupport::Full)], config)
}
