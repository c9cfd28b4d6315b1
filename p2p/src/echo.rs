//! Raw streams of the echo probe: one protocol, opened by node key, handed to the application as they are.
//!
//! Each stream that a peer opens takes a slot of that peer and one of all peers, and gives both back when it is
//! dropped; a stream without slots is closed at once. Half of the slots are for trusted peers alone. Nothing here reads or
//! writes a stream.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, StreamProtocol, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

use crate::error::StreamError;
use crate::trusted::Trusted;

/// Streams that one connection may be opening at a time.
const OPENING: usize = 16;

/// A stream to or from one peer. Dropping it resets it; `shutdown` ends our direction and lets the other go on.
pub struct EchoStream {
    io: Box<Compat<Stream>>,
    _slots: Option<Slots>,
}

/// The places a stream occupies until it is dropped.
pub(crate) struct Slots {
    _of_peer: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// The slots of all peers. A trusted one takes one of its kind only when there is no other.
#[derive(Clone)]
struct Places {
    anybody: Arc<Semaphore>,
    trusted: Arc<Semaphore>,
}

impl Places {
    fn take(&self, is_trusted: bool) -> Option<OwnedSemaphorePermit> {
        let permit = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
        permit(&self.anybody).or_else(|| is_trusted.then(|| permit(&self.trusted)).flatten())
    }
}

impl EchoStream {
    fn new(stream: Stream, slots: Option<Slots>) -> Self {
        Self { io: Box::new(stream.compat()), _slots: slots }
    }
}

impl fmt::Debug for EchoStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EchoStream").finish_non_exhaustive()
    }
}

impl AsyncRead for EchoStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for EchoStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Where the outcome of opening a stream goes.
pub(crate) type OpenReply = oneshot::Sender<Result<EchoStream, StreamError>>;

/// What the event loop hears.
#[derive(Debug)]
pub(crate) enum Event {
    /// A peer opened a stream.
    Opened { peer: PeerId, stream: EchoStream },
    /// A peer opened a stream for which there was no slot.
    Refused,
}

/// The behaviour: one handler a connection, and the slots.
pub(crate) struct Behaviour {
    protocol: StreamProtocol,
    per_peer: usize,
    places: Places,
    trusted: Trusted,
    peers: HashMap<PeerId, (Arc<Semaphore>, usize)>,
    /// Bounded by the handlers (each inbound event holds a slot or is a count) and by the loop, which lets few
    /// streams wait to be opened.
    queue: VecDeque<ToSwarm<Event, OpenReply>>,
}

impl Behaviour {
    pub(crate) fn new(protocol: StreamProtocol, total: usize, per_peer: usize, trusted: Trusted) -> Self {
        let slots = |n: usize| Arc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS)));
        let places = Places { anybody: slots(total.div_ceil(2)), trusted: slots(total / 2) };
        Self { protocol, per_peer, places, trusted, peers: HashMap::new(), queue: VecDeque::new() }
    }

    /// Opens a stream to a connected peer. When no connection is left by then, `reply` is dropped.
    pub(crate) fn open(&mut self, peer: PeerId, reply: OpenReply) {
        self.queue.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler: NotifyHandler::Any, event: reply });
    }

    fn handler(&self, peer: PeerId) -> Handler {
        let of_peer = match self.peers.get(&peer) {
            Some((slots, _)) => Arc::clone(slots),
            None => Arc::new(Semaphore::new(self.per_peer.min(Semaphore::MAX_PERMITS))),
        };
        Handler {
            protocol: self.protocol.clone(),
            peer,
            of_peer,
            places: self.places.clone(),
            trusted: self.trusted.clone(),
            wanted: VecDeque::new(),
            opening: 0,
            inbound: VecDeque::new(),
            refused: 0,
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let handler = self.handler(peer);
        self.peers.entry(peer).or_insert_with(|| (Arc::clone(&handler.of_peer), 0));
        Ok(handler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let handler = self.handler(peer);
        self.peers.entry(peer).or_insert_with(|| (Arc::clone(&handler.of_peer), 0));
        Ok(handler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, .. }) => {
                if let Some((_, connections)) = self.peers.get_mut(&peer_id) {
                    *connections += 1;
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, remaining_established: 0, .. }) => {
                self.peers.remove(&peer_id);
            }
            // A behaviour after this one may deny a connection that this one allowed.
            FromSwarm::DialFailure(_) | FromSwarm::ListenFailure(_) => {
                self.peers.retain(|_, (_, connections)| *connections > 0);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        let event = match event {
            HandlerEvent::Opened(stream) => Event::Opened { peer, stream },
            HandlerEvent::Refused => Event::Refused,
        };
        self.queue.push_back(ToSwarm::GenerateEvent(event));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.queue.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The handler of one connection.
pub(crate) struct Handler {
    protocol: StreamProtocol,
    peer: PeerId,
    of_peer: Arc<Semaphore>,
    places: Places,
    trusted: Trusted,
    /// Streams that we asked for and that have not been requested from the connection.
    wanted: VecDeque<OpenReply>,
    /// Streams in negotiation.
    opening: usize,
    /// Each holds slots.
    inbound: VecDeque<EchoStream>,
    refused: usize,
}

/// What a handler tells the behaviour.
#[derive(Debug)]
pub(crate) enum HandlerEvent {
    Opened(EchoStream),
    Refused,
}

impl Handler {
    fn slots(&self) -> Option<Slots> {
        let of_peer = Arc::clone(&self.of_peer).try_acquire_owned().ok()?;
        let of_all = self.places.take(self.trusted.contains(&self.peer))?;
        Some(Slots { _of_peer: of_peer, _of_all: of_all })
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = OpenReply;
    type ToBehaviour = HandlerEvent;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = OpenReply;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, OpenReply, Self::ToBehaviour>> {
        if let Some(reply) = self.wanted.pop_front() {
            self.opening = self.opening.saturating_add(1);
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), reply);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        if let Some(stream) = self.inbound.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(HandlerEvent::Opened(stream)));
        }
        if let Some(rest) = self.refused.checked_sub(1) {
            self.refused = rest;
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(HandlerEvent::Refused));
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, reply: OpenReply) {
        if self.wanted.len().saturating_add(self.opening) < OPENING {
            self.wanted.push_back(reply);
        } else {
            let _gone = reply.send(Err(StreamError::TooManyPending));
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), OpenReply>,
    ) {
        // A caller that has gone away drops the stream with its reply.
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, info: () }) => {
                match self.slots() {
                    Some(slots) => self.inbound.push_back(EchoStream::new(stream, Some(slots))),
                    None => self.refused = self.refused.saturating_add(1),
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info: reply }) => {
                self.opening = self.opening.saturating_sub(1);
                let _gone = reply.send(Ok(EchoStream::new(stream, None)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: reply, error }) => {
                self.opening = self.opening.saturating_sub(1);
                let _gone = reply.send(Err(open_error(error)));
            }
            _ => {}
        }
    }
}

fn open_error(error: StreamUpgradeError<Infallible>) -> StreamError {
    match error {
        StreamUpgradeError::Timeout => StreamError::Failed("the negotiation took too long".to_owned()),
        StreamUpgradeError::Apply(never) => match never {},
        StreamUpgradeError::NegotiationFailed => StreamError::Unsupported,
        StreamUpgradeError::Io(e) => StreamError::Failed(e.to_string()),
    }
}
