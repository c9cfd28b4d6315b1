//! Request-response over libp2p: the codec of one protocol, which charges each stream to its peer.
//!
//! libp2p gives a codec to every connection without saying whose it is. The behaviour here stands around libp2p's own and
//! binds the codec of each connection to its peer. What a peer may ask how often is decided in the event loop; here stand
//! only the bounds that hold before the loop sees a request, and after it has answered.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::request_response::{self, Codec, OutboundRequestId, ProtocolSupport, ResponseChannel};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};

use crate::budget::{Bounds, NoRoom, Pool, Share};
use crate::counters::Counters;
use crate::frame::{self, Status};
use crate::protocol::Protocol;
use crate::trusted::Trusted;

/// What is counted of requests that did not come to their end, and of answers that did not.
const HALF_SENT: &str = "half-sent";
const UNREAD: &str = "unread";

/// A request with its share of the peer's budget.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    /// Given back when the answer has been sent. Our own requests have none.
    pub(crate) share: Option<Share>,
}

/// A response as it crosses the wire.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: Status,
    pub(crate) bytes: Vec<u8>,
    /// Given back when it has been sent. What peers answer us has none any more.
    pub(crate) share: Option<Share>,
}

/// What the codecs of one protocol have in common.
struct Common {
    protocol: Protocol,
    /// Of peers' requests and our answers.
    requests: Pool,
    /// Of answers to our requests.
    answers: Pool,
    trusted: Trusted,
    counters: Arc<Counters>,
    /// Whose connection the next codec is for.
    next: Mutex<Option<PeerId>>,
}

/// The codec of one connection. A clone of one that has no peer yet takes the next.
pub(crate) struct RpcCodec {
    common: Arc<Common>,
    peer: Option<PeerId>,
}

impl Clone for RpcCodec {
    fn clone(&self) -> Self {
        let next = || self.common.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        Self { common: Arc::clone(&self.common), peer: self.peer.or_else(next) }
    }
}

/// Counts a transfer that is dropped before its end: its time is over, or its connection.
struct Unfinished<'a> {
    common: &'a Common,
    reason: &'static str,
    is_finished: bool,
}

impl<'a> Unfinished<'a> {
    const fn new(common: &'a Common, reason: &'static str) -> Self {
        Self { common, reason, is_finished: false }
    }

    fn end(mut self) {
        self.is_finished = true;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.common.count(self.reason);
        }
    }
}

impl Common {
    fn count(&self, reason: &'static str) {
        self.counters.add(self.protocol.kind(), reason);
    }

    /// Counts what found no room or broke the format, and anything else under `otherwise`.
    fn count_error(&self, error: io::Error, otherwise: Option<&'static str>) -> io::Error {
        let no_room = error.get_ref().and_then(|source| source.downcast_ref::<NoRoom>());
        match no_room {
            Some(no_room) => self.count(no_room.reason()),
            None if error.kind() == io::ErrorKind::InvalidData => self.count("malformed"),
            None => otherwise.into_iter().for_each(|reason| self.count(reason)),
        }
        error
    }
}

impl RpcCodec {
    fn peer(&self) -> io::Result<PeerId> {
        self.peer.ok_or_else(|| io::Error::other("a connection without a peer"))
    }

    async fn read<T: AsyncRead + Unpin + Send>(&self, io: &mut T) -> io::Result<Request> {
        let max = self.common.protocol.limits().request_bytes;
        let peer = self.peer()?;
        let is_trusted = self.common.trusted.contains(&peer);
        let share = self.common.requests.open(peer, is_trusted).map_err(io::Error::other)?;
        let read = async {
            let length = frame::read_length(io, max).await?;
            frame::read_body(io, length, Some(&share)).await
        };
        let bytes = tokio::select! {
            bytes = read => bytes?,
            () = share.gives_way() => return Err(io::Error::other(NoRoom::GaveWay)),
        };
        share.has_arrived().map_err(io::Error::other)?;
        Ok(Request { bytes, share: Some(share) })
    }

    async fn read_answer<T: AsyncRead + Unpin + Send>(&self, io: &mut T) -> io::Result<Response> {
        let max = self.common.protocol.limits().response_bytes;
        let share = self.common.answers.open_when_free(self.peer()?).await.map_err(io::Error::other)?;
        let read = async {
            let (status, length) = frame::read_response_head(io, max).await?;
            share.resize_when_free(length).await.map_err(io::Error::other)?;
            let bytes = frame::read_body(io, length, None).await?;
            Ok(Response { status, bytes, share: None })
        };
        tokio::select! {
            response = read => response,
            () = share.gives_way() => Err(io::Error::other(NoRoom::GaveWay)),
        }
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
        let unfinished = Unfinished::new(&self.common, HALF_SENT);
        let request = self.read(io).await;
        unfinished.end();
        request.map_err(|e| self.common.count_error(e, Some(HALF_SENT)))
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read_answer(io).await.map_err(|e| self.common.count_error(e, None))
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
        let unread = Unfinished::new(&self.common, UNREAD);
        let Response { status, bytes, share } = response;
        let write = async {
            frame::write_response(io, status, &bytes).await?;
            io.flush().await
        };
        let gives_way = async {
            match &share {
                Some(share) => share.gives_way().await,
                None => std::future::pending().await,
            }
        };
        let written = tokio::select! {
            written = write => written,
            () = gives_way => Err(io::Error::other(NoRoom::GaveWay)),
        };
        unread.end();
        written.map_err(|e| self.common.count_error(e, Some(UNREAD)))
    }
}

/// The behaviour of one protocol.
pub(crate) struct Behaviour {
    inner: request_response::Behaviour<RpcCodec>,
    common: Arc<Common>,
}

impl Behaviour {
    /// Known on the wire as `name`. No pool is larger than `max_pool` bytes.
    pub(crate) fn new(
        protocol: Protocol,
        name: StreamProtocol,
        max_pool: usize,
        trusted: Trusted,
        counters: Arc<Counters>,
    ) -> Self {
        let limits = protocol.limits();
        let requests = Pool::new(Bounds {
            // A peer takes its next answer for the last one's end before we do.
            streams_per_peer: limits.per_peer.saturating_mul(2),
            bytes_per_peer: limits.bytes_per_peer,
            bytes: limits.bytes.min(max_pool),
        });
        // How many requests of ours are on their way to one peer is bounded where they are sent.
        let answers = Pool::new(Bounds {
            streams_per_peer: usize::MAX,
            bytes_per_peer: usize::MAX,
            bytes: limits.answer_bytes.min(max_pool),
        });
        let common = Arc::new(Common { protocol, requests, answers, trusted, counters, next: Mutex::new(None) });
        let config = request_response::Config::default()
            .with_request_timeout(limits.timeout)
            // Of both directions. libp2p drops the excess and says nothing, so this leaves room for those that are refused
            // and counted here.
            .with_max_concurrent_streams(limits.per_peer.saturating_mul(4));
        let codec = RpcCodec { common: Arc::clone(&common), peer: None };
        Self { inner: request_response::Behaviour::with_codec(codec, [(name, ProtocolSupport::Full)], config), common }
    }

    /// Sends a request to a connected peer.
    pub(crate) fn send_request(&mut self, peer: &PeerId, bytes: Vec<u8>) -> OutboundRequestId {
        self.inner.send_request(peer, Request { bytes, share: None })
    }

    /// Answers; gives the response back when nobody waits for it any more.
    pub(crate) fn send_response(
        &mut self,
        channel: ResponseChannel<Response>,
        response: Response,
    ) -> Result<(), Response> {
        self.inner.send_response(channel, response)
    }

    /// What peers' requests and the answers to them hold.
    pub(crate) fn requests(&self) -> &Pool {
        &self.common.requests
    }

    fn bind_next(&self, peer: PeerId) {
        *self.common.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(peer);
    }
}

type Inner = request_response::Behaviour<RpcCodec>;

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = <Inner as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = <Inner as NetworkBehaviour>::ToSwarm;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.bind_next(peer);
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.bind_next(peer);
        self.inner.handle_established_outbound_connection(id, peer, remote, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}
