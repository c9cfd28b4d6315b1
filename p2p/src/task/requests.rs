//! Requests and streams in the event loop: ours, with whatever it takes to reach the peer, and those of peers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::pin::Pin;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::request_response::{self, Message, OutboundFailure, OutboundRequestId, ResponseChannel};
use libp2p::swarm::DialError;
use lucid_types::id::PublicKey;
use tokio::sync::oneshot;

use super::MeshTask;
use super::discovery::{Search, dial_opts};
use super::peers::{Peer, Use};
use crate::budget::{NoRoom, Share};
use crate::echo::OpenReply;
use crate::error::{RequestError, StreamError};
use crate::events::{Event, Reply, Responder};
use crate::frame::Status;
use crate::identity::to_peer_id;
use crate::mesh::{ConnectReply, RequestReply};
use crate::protocol::Protocol;
use crate::rpc::{Request, Response};

/// How long a request waits for a connection to its peer.
const CONNECT: Duration = Duration::from_secs(10);

/// Our requests that are on their way.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    sent: HashMap<(Protocol, OutboundRequestId), (PeerId, RequestReply)>,
    /// How many of them are to whom.
    counts: HashMap<(PeerId, Protocol), usize>,
}

impl Outgoing {
    fn insert(&mut self, protocol: Protocol, id: OutboundRequestId, peer: PeerId, reply: RequestReply) {
        self.sent.insert((protocol, id), (peer, reply));
        *self.counts.entry((peer, protocol)).or_default() += 1;
    }

    fn remove(&mut self, protocol: Protocol, id: OutboundRequestId) -> Option<RequestReply> {
        let (peer, reply) = self.sent.remove(&(protocol, id))?;
        subtract(&mut self.counts, (peer, protocol));
        Some(reply)
    }
}

/// What waits for a connection to one peer.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Each until when.
    items: Vec<(Instant, Pending)>,
    /// The DHT has been asked.
    searched: bool,
    /// The DHT could not be asked yet: we look for too many others.
    crowded: bool,
    /// Our own guard has refused a connection to it.
    denied: bool,
    /// Why there is no connection yet.
    problem: Option<String>,
}

#[derive(Debug)]
enum Pending {
    Request { protocol: Protocol, bytes: Vec<u8>, reply: RequestReply },
    Connect { reply: ConnectReply },
}

/// Whose doing it is that there is no connection.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The peer's, or the network's.
    Peer,
    /// Nobody's: it is none of ours.
    OtherNetwork,
    /// Our own guard's.
    Own,
}

impl Fault {
    fn request_error(self, problem: &str) -> RequestError {
        match self {
            Self::Peer => RequestError::Unreachable(problem.to_owned()),
            Self::OtherNetwork => RequestError::OtherNetwork,
            Self::Own => RequestError::Denied(problem.to_owned()),
        }
    }

    fn stream_error(self, problem: &str) -> StreamError {
        match self {
            Self::Peer | Self::OtherNetwork => StreamError::Unreachable(problem.to_owned()),
            Self::Own => StreamError::Denied(problem.to_owned()),
        }
    }
}

impl Pending {
    fn fail(self, fault: Fault, problem: &str) {
        // Whoever asked may have stopped waiting.
        match self {
            Self::Request { reply, .. } => {
                let _gone = reply.send(Err(fault.request_error(problem)));
            }
            Self::Connect { reply } => {
                let _gone = reply.send(Err(fault.stream_error(problem)));
            }
        }
    }

    /// Whether whoever asked still waits.
    fn is_wanted(&self) -> bool {
        match self {
            Self::Request { reply, .. } => !reply.is_closed(),
            Self::Connect { reply } => !reply.is_closed(),
        }
    }
}

/// A peer's request that waits for the application.
pub(super) type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The application's answer to a peer's request.
pub(super) struct Answer {
    peer: PeerId,
    protocol: Protocol,
    is_trusted: bool,
    channel: ResponseChannel<Response>,
    response: Option<Reply>,
    share: Option<Share>,
}

/// Requests that the application has not answered.
#[derive(Debug, Default)]
pub(super) struct AnsweringCounts {
    of_peers: HashMap<(PeerId, Protocol), usize>,
    of_strangers: HashMap<Protocol, usize>,
    of_all: HashMap<Protocol, usize>,
}

impl AnsweringCounts {
    /// Why no further one may wait: `max` are all that may, in one protocol, half of them those of strangers.
    fn refusal(&self, peer: PeerId, protocol: Protocol, is_trusted: bool, max: usize) -> Option<&'static str> {
        let of = |counts: &HashMap<Protocol, usize>| counts.get(&protocol).copied().unwrap_or_default();
        if self.of_peers.get(&(peer, protocol)).copied().unwrap_or_default() >= protocol.limits().per_peer {
            Some("too-many-of-peer")
        } else if of(&self.of_all) >= max || !is_trusted && of(&self.of_strangers) >= max.div_ceil(2) {
            Some("busy")
        } else {
            None
        }
    }

    fn begins(&mut self, peer: PeerId, protocol: Protocol, is_trusted: bool) {
        *self.of_peers.entry((peer, protocol)).or_default() += 1;
        *self.of_all.entry(protocol).or_default() += 1;
        if !is_trusted {
            *self.of_strangers.entry(protocol).or_default() += 1;
        }
    }

    /// With what it began with: whom we trust may have changed.
    fn ends(&mut self, peer: PeerId, protocol: Protocol, is_trusted: bool) {
        subtract(&mut self.of_peers, (peer, protocol));
        subtract(&mut self.of_all, protocol);
        if !is_trusted {
            subtract(&mut self.of_strangers, protocol);
        }
    }
}

fn subtract<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() = count.get().saturating_sub(1);
        if *count.get() == 0 {
            count.remove();
        }
    }
}

impl<T: Send + 'static> MeshTask<T> {
    pub(super) fn request(
        &mut self,
        node: &PublicKey,
        protocol: Protocol,
        bytes: Vec<u8>,
        dials: bool,
        reply: RequestReply,
    ) {
        let max = protocol.limits().request_bytes;
        let refusal = if bytes.len() > max {
            Some(RequestError::TooLarge { protocol: protocol.kind(), bytes: bytes.len(), max })
        } else {
            None
        };
        let (peer, refusal) = match (self.other(node), refusal) {
            (Some(peer), None) => {
                let busy = self.pending_of(&peer, protocol) >= protocol.limits().per_peer || self.is_full();
                let refusal = match (busy, dials || self.is_identified(&peer)) {
                    (true, _) => Some(RequestError::TooManyPending),
                    (false, false) => Some(RequestError::NotConnected),
                    (false, true) => None,
                };
                (Some(peer), refusal)
            }
            (Some(_), refusal) => (None, refusal),
            (None, _) => (None, Some(RequestError::NotAPeer)),
        };
        match (peer, refusal) {
            (Some(peer), None) => self.when_connected(peer, CONNECT, Pending::Request { protocol, bytes, reply }),
            (_, refusal) => {
                let _gone = reply.send(Err(refusal.unwrap_or(RequestError::NotAPeer)));
            }
        }
    }

    pub(super) fn connect(&mut self, node: &PublicKey, within: Duration, reply: ConnectReply) {
        match self.other(node) {
            None => {
                let _gone = reply.send(Err(StreamError::NotAPeer));
            }
            Some(_) if self.is_full() => {
                let _gone = reply.send(Err(StreamError::TooManyPending));
            }
            Some(peer) => self.when_connected(peer, within, Pending::Connect { reply }),
        }
    }

    pub(super) fn open_echo(&mut self, node: &PublicKey, reply: OpenReply) {
        match self.other(node) {
            None => {
                let _gone = reply.send(Err(StreamError::NotAPeer));
            }
            Some(peer) if self.is_identified(&peer) => self.swarm.behaviour_mut().echo.open(peer, reply),
            Some(_) => {
                let _gone = reply.send(Err(StreamError::NotConnected));
            }
        }
    }

    fn is_identified(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(Peer::is_identified)
    }

    fn other(&self, node: &PublicKey) -> Option<PeerId> {
        to_peer_id(node).filter(|peer| peer != self.swarm.local_peer_id())
    }

    fn is_full(&self) -> bool {
        let waiting: usize = self.waiting.values().map(|waiting| waiting.items.len()).sum();
        waiting.saturating_add(self.outgoing.sent.len()) >= self.config.limits.outgoing
    }

    fn pending_of(&self, peer: &PeerId, protocol: Protocol) -> usize {
        let sent = self.outgoing.counts.get(&(*peer, protocol)).copied().unwrap_or_default();
        let of_protocol =
            |(_, item): &&(Instant, Pending)| matches!(item, Pending::Request { protocol: p, .. } if *p == protocol);
        let waiting = self.waiting.get(peer).map_or(0, |w| w.items.iter().filter(of_protocol).count());
        sent.saturating_add(waiting)
    }

    fn when_connected(&mut self, peer: PeerId, within: Duration, item: Pending) {
        if self.is_identified(&peer) {
            return self.send(peer, item);
        }
        let waiting = self.waiting.entry(peer).or_default();
        waiting.items.push((Instant::now() + within, item));
        // A connected peer is about to identify itself.
        if waiting.items.len() == 1 && !self.peers.contains_key(&peer) {
            self.reach(peer);
        }
    }

    fn send(&mut self, peer: PeerId, item: Pending) {
        let behaviour = self.swarm.behaviour_mut();
        match item {
            Pending::Request { protocol, bytes, reply } => {
                let id = behaviour.rpc(protocol).send_request(&peer, bytes);
                self.outgoing.insert(protocol, id, peer, reply);
            }
            Pending::Connect { reply } => {
                let _gone = reply.send(Ok(()));
            }
        }
    }

    pub(super) fn flush_waiting(&mut self, peer: PeerId) {
        let Some(waiting) = self.waiting.remove(&peer) else { return };
        // A lookup may have dialled it, because it was wanted.
        self.manager().choose(&peer);
        for (_, item) in waiting.items {
            self.send(peer, item);
        }
    }

    /// Dials a peer that somebody waits for; asks the DHT when no address is known.
    fn reach(&mut self, peer: PeerId) {
        let addresses = self.manager().addresses(&peer);
        if addresses.is_empty() {
            return self.search_or_fail(peer, "no address is known");
        }
        match self.swarm.dial(dial_opts(peer, addresses)) {
            Ok(()) => self.manager().dialling(&peer),
            // Somebody else's dial is under way; its outcome is ours.
            Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error @ DialError::Denied { .. }) => self.fail_waiting(peer, Fault::Own, &error.to_string()),
            Err(error) => self.search_or_fail(peer, &error.to_string()),
        }
    }

    /// Asks the DHT once; without anybody to ask it waits for the first peer, up to the deadline.
    fn search_or_fail(&mut self, peer: PeerId, problem: &str) {
        let Some(waiting) = self.waiting.get_mut(&peer) else { return };
        if waiting.searched {
            return self.fail_waiting(peer, Fault::Peer, problem);
        }
        waiting.problem = Some(problem.to_owned());
        let search = self.search(peer);
        if let Some(waiting) = self.waiting.get_mut(&peer) {
            waiting.searched = search == Search::Begun;
            waiting.crowded = search == Search::TooMany;
        }
    }

    /// A peer to ask has come: looks for those that somebody waits for.
    pub(super) fn resume_searches(&mut self) {
        let connected = &self.peers;
        let unsearched = self.waiting.iter().filter(|(peer, w)| !w.searched && !connected.contains_key(peer));
        let unsearched: Vec<PeerId> = unsearched.map(|(peer, _)| *peer).collect();
        for peer in unsearched {
            self.search_or_fail(peer, "no address is known");
        }
    }

    fn fail_waiting(&mut self, peer: PeerId, fault: Fault, problem: &str) {
        let Some(waiting) = self.waiting.remove(&peer) else { return };
        // Where one of the dials was refused by ourselves, the peer might have been reached.
        let fault = if waiting.denied { Fault::Own } else { fault };
        for (_, item) in waiting.items {
            item.fail(fault, problem);
        }
    }

    /// The peer has said that it belongs to another network.
    pub(super) fn on_other_network(&mut self, peer: PeerId) {
        self.fail_waiting(peer, Fault::OtherNetwork, "it belongs to another network");
    }

    /// A dial has failed.
    pub(super) fn on_unreachable(&mut self, peer: PeerId, problem: &str) {
        // During a search the DHT dials too, with addresses that may be better than ours; its end decides.
        if !self.lookups.searching(&peer) && !self.peers.contains_key(&peer) {
            self.search_or_fail(peer, problem);
        }
    }

    /// Our own guard has refused a connection that we, or a search, dialled. Other addresses would not help.
    pub(super) fn on_denied(&mut self, peer: PeerId, problem: &str) {
        if let Some(waiting) = self.waiting.get_mut(&peer) {
            waiting.denied = true;
        }
        if !self.lookups.searching(&peer) && !self.peers.contains_key(&peer) {
            self.fail_waiting(peer, Fault::Own, problem);
        }
    }

    /// The DHT has said what it knows of a peer. Another may be looked for in its place.
    pub(super) fn on_search_ended(&mut self, peer: PeerId) {
        if self.waiting.contains_key(&peer) && !self.peers.contains_key(&peer) {
            self.reach(peer);
        }
        self.resume_searches();
    }

    pub(super) fn expire_waiting(&mut self, now: Instant) {
        // What nobody waits for any more must not keep others from asking.
        self.waiting.retain(|_, waiting| {
            waiting.items.retain(|(_, item)| item.is_wanted());
            // Whom we did not even look for might have been found.
            let fault = if waiting.denied || waiting.crowded { Fault::Own } else { Fault::Peer };
            for (_, item) in waiting.items.extract_if(.., |(deadline, _)| *deadline <= now) {
                item.fail(fault, waiting.problem.as_deref().unwrap_or("no connection in time"));
            }
            !waiting.items.is_empty()
        });
    }

    pub(super) fn on_rpc(&mut self, protocol: Protocol, event: request_response::Event<Request, Response>) {
        match event {
            request_response::Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                self.on_request(peer, protocol, request, channel);
            }
            request_response::Event::Message { message: Message::Response { request_id, response }, .. } => {
                let outcome = match response.status {
                    Status::Ok => Ok(response.bytes),
                    Status::Busy => Err(RequestError::Busy),
                    Status::NoAnswer => Err(RequestError::NoAnswer),
                };
                self.settle(protocol, request_id, outcome);
            }
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                self.settle(protocol, request_id, Err(failure(error)));
            }
            request_response::Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(peer = %peer, protocol = protocol.kind(), %error, "a peer's request failed");
            }
            request_response::Event::ResponseSent { .. } => {}
        }
    }

    fn settle(&mut self, protocol: Protocol, id: OutboundRequestId, outcome: Result<Vec<u8>, RequestError>) {
        if let Some(reply) = self.outgoing.remove(protocol, id) {
            let _gone = reply.send(outcome);
        }
    }

    fn on_request(&mut self, peer: PeerId, protocol: Protocol, request: Request, channel: ResponseChannel<Response>) {
        let Request { bytes, share } = request;
        let is_trusted = self.trusted.contains(&peer);
        let refusal = if !self.may(peer, Use::Request(protocol)) {
            Some("rate")
        } else if self.events.capacity() == 0 {
            Some("busy")
        } else {
            self.answering.refusal(peer, protocol, is_trusted, self.config.limits.requests)
        };
        let node = crate::identity::to_public_key(&peer);
        let (Some(node), None) = (node, refusal) else {
            self.counters.add(protocol.kind(), refusal.unwrap_or("not-a-node"));
            return self.refuse(protocol, Status::Busy, channel, share);
        };
        let (reply, answer) = oneshot::channel();
        self.counters.add(protocol.kind(), "accepted");
        self.answering.begins(peer, protocol, is_trusted);
        let timeout = protocol.limits().timeout;
        self.answers.push(Box::pin(async move {
            let response = tokio::time::timeout(timeout, answer).await.ok().and_then(Result::ok);
            Answer { peer, protocol, is_trusted, channel, response, share }
        }));
        self.tell(Event::Request { peer: node, protocol, bytes, reply: Responder::new(reply) });
    }

    pub(super) fn on_answer(&mut self, answer: Answer) {
        let Answer { peer, protocol, is_trusted, channel, response, share } = answer;
        self.answering.ends(peer, protocol, is_trusted);
        let refusal = match response {
            Some(Reply::Answer(bytes)) if bytes.len() <= protocol.limits().response_bytes => {
                let room = share.as_ref().map_or(Ok(()), |share| share.sends(bytes.len()));
                match room {
                    Ok(()) => return self.respond(protocol, channel, Response { status: Status::Ok, bytes, share }),
                    Err(no_room) => (no_room.reason(), Status::Busy),
                }
            }
            Some(Reply::Busy) => ("refused", Status::Busy),
            Some(Reply::Answer(bytes)) => {
                tracing::error!(bytes = bytes.len(), protocol = protocol.kind(), "an answer is too large to be sent");
                ("answer-too-large", Status::NoAnswer)
            }
            None => ("no-answer", Status::NoAnswer),
        };
        self.counters.add(protocol.kind(), refusal.0);
        self.refuse(protocol, refusal.1, channel, share);
    }

    fn refuse(&mut self, protocol: Protocol, status: Status, channel: ResponseChannel<Response>, share: Option<Share>) {
        // It is sent even to a peer that has no room left, and gives way like any other transfer.
        let _no_room = share.as_ref().map(|share| share.sends(0));
        self.respond(protocol, channel, Response { status, bytes: Vec::new(), share });
    }

    fn respond(&mut self, protocol: Protocol, channel: ResponseChannel<Response>, response: Response) {
        if self.swarm.behaviour_mut().rpc(protocol).send_response(channel, response).is_err() {
            self.counters.add(protocol.kind(), "asker-gone");
        }
    }
}

fn failure(error: OutboundFailure) -> RequestError {
    match error {
        OutboundFailure::DialFailure => RequestError::Unreachable("the connection ended".to_owned()),
        OutboundFailure::Timeout => RequestError::TimedOut,
        OutboundFailure::ConnectionClosed => RequestError::Disconnected("it was closed".to_owned()),
        OutboundFailure::UnsupportedProtocols => RequestError::Unsupported,
        OutboundFailure::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            RequestError::Malformed(error.to_string())
        }
        // It had waited for so long that it had to give way to another answer.
        OutboundFailure::Io(error) if error.get_ref().is_some_and(|source| source.is::<NoRoom>()) => {
            RequestError::TimedOut
        }
        OutboundFailure::Io(error) => RequestError::Disconnected(error.to_string()),
    }
}
