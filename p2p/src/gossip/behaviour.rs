//! The behaviour around gossipsub: what it is shown of a peer's messages, and to whom it sends large ones.
//!
//! Gossipsub notes the id of every message that it is shown, for a minute, and caches the message, whether its topic is subscribed or
//! not. So a message is refused *before* that if nobody here wants it, if its peer sends too much, or if the gate has no room: it costs
//! no memory, and another peer can still bring it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::gossipsub::{
    self, IdentTopic, Message, MessageAcceptance, MessageId, PublishError, RawMessage, TopicHash, ValidationError,
};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use super::intake::{Intake, Interest, Refusal};
use super::{EXPELLED, Gossipsub, PUBLISH_THRESHOLD, Topics, content_id};
use crate::counters::Counters;
use crate::gate::{Charge, Queue};
use crate::identity::to_public_key;
use crate::task::Ticket;
use crate::topic::Topic;

/// What gossipsub's connection handler brings.
type Received = THandlerOutEvent<Gossipsub>;

/// Up to this many bytes a message is sent to all at once: votes, certificates, commands.
const MAX_FLOODED: usize = 16 << 10;
/// What is kept of a peer's subscribing topics of validators, of which there are three.
const MAX_HELD: usize = 3;
/// The group of counts of messages of no topic that there is.
const NO_TOPIC: &str = "gossip";

/// Gossipsub, and what is before it.
pub(crate) struct Behaviour {
    inner: Gossipsub,
    topics: Topics,
    subscribed: HashSet<TopicHash>,
    /// Who may take part in the topics of validators; everybody, until they are named.
    validators: Option<HashSet<PeerId>>,
    /// Of these, those to whom this node sends everything directly: all, if it is a validator itself.
    direct: HashSet<PeerId>,
    /// What other connected peers have said last about their subscribing topics of validators: it counts once they are some.
    held: HashMap<PeerId, (ConnectionId, Received)>,
    intake: Intake<PeerId>,
    queue: Arc<Queue<Ticket>>,
    counters: Arc<Counters>,
    /// An author that no peer can name: see [`Self::settle`].
    nobody: PeerId,
}

impl Behaviour {
    pub(super) fn new(
        inner: Gossipsub,
        topics: Topics,
        intake: Intake<PeerId>,
        queue: Arc<Queue<Ticket>>,
        counters: Arc<Counters>,
        nobody: PeerId,
    ) -> Self {
        let subscribed = inner.topics().cloned().collect();
        let (validators, direct, held) = (None, HashSet::new(), HashMap::new());
        Self { inner, topics, subscribed, validators, direct, held, intake, queue, counters, nobody }
    }

    /// Names the validators. If this node takes part in their topics, it subscribes them and sends to the others directly; if not, it
    /// leaves these topics.
    pub(crate) fn set_validators(&mut self, peers: HashSet<PeerId>, takes_part: bool) {
        let direct = if takes_part { peers.clone() } else { HashSet::new() };
        self.direct.difference(&direct).for_each(|peer| self.inner.remove_explicit_peer(peer));
        direct.difference(&self.direct).for_each(|peer| self.inner.add_explicit_peer(peer));
        self.direct = direct;
        // Before a topic is joined, who takes part in it is to be known.
        for peer in &peers {
            if let Some((connection, said)) = self.held.remove(peer) {
                self.inner.on_connection_handler_event(*peer, connection, said);
            }
        }
        self.validators = Some(peers);
        for hash in self.topics.hashes(Topic::is_for_validators) {
            let topic = IdentTopic::new(hash.as_str());
            if !takes_part {
                self.inner.unsubscribe(&topic);
                self.subscribed.remove(&hash);
            } else if let Err(error) = self.inner.subscribe(&topic) {
                tracing::error!(%topic, %error, "a topic of validators cannot be subscribed");
            } else {
                self.subscribed.insert(hash);
            }
        }
    }

    /// Whether a peer may take part in a topic.
    fn may_take_part(&self, peer: &PeerId, topic: Topic) -> bool {
        !topic.is_for_validators() || self.validators.as_ref().is_none_or(|validators| validators.contains(peer))
    }

    /// Keeps back what a peer says about subscribing topics in which it may not take part: gossipsub neither sends it such messages
    /// nor takes it into a mesh. What gossipsub has of it already may be taken back: it was a validator until now.
    fn hold(&mut self, peer: PeerId, connection: ConnectionId, event: Received) -> Received {
        let Received::Message { mut rpc, invalid_messages } = event else { return event };
        let is_outside =
            |topic: &TopicHash| self.topics.get(topic).is_some_and(|topic| !self.may_take_part(&peer, topic));
        if !rpc.subscriptions.iter().any(|said| is_outside(&said.topic_hash)) {
            return Received::Message { rpc, invalid_messages };
        }
        let known = self.inner.all_peers().find(|(known, _)| **known == peer);
        let known: HashSet<TopicHash> = known.into_iter().flat_map(|(_, topics)| topics).cloned().collect();
        let is_held = |topic: &TopicHash| is_outside(topic) && !known.contains(topic);
        if rpc.subscriptions.iter().any(|said| is_held(&said.topic_hash)) {
            let mut held = rpc.clone();
            held.messages.clear();
            held.control_msgs.clear();
            held.subscriptions.retain(|said| is_held(&said.topic_hash));
            rpc.subscriptions.retain(|said| !is_held(&said.topic_hash));
            if let Some((_, Received::Message { rpc: before, .. })) = self.held.remove(&peer) {
                let is_new = |topic: &TopicHash| held.subscriptions.iter().all(|said| said.topic_hash != *topic);
                let kept: Vec<_> = before.subscriptions.into_iter().filter(|said| is_new(&said.topic_hash)).collect();
                held.subscriptions.extend(kept);
            }
            // An honest peer says one thing of a topic.
            held.subscriptions.truncate(MAX_HELD);
            self.held.insert(peer, (connection, Received::Message { rpc: held, invalid_messages: Vec::new() }));
        }
        Received::Message { rpc, invalid_messages }
    }

    /// Publishes a message: a short one to every peer that takes its topic, a longer one to some, which pass it on.
    pub(crate) fn publish(&mut self, topic: TopicHash, bytes: Vec<u8>) -> Result<MessageId, PublishError> {
        if bytes.len() > MAX_FLOODED {
            return self.inner.publish(topic, bytes);
        }
        // Gossipsub clones a message for each peer to which it goes, and would do so for all messages or for none. But it also sends to
        // every explicit peer; so for this one message all peers are explicit that take the topic and whose score allows it.
        let takes = |(peer, topics): (&PeerId, Vec<&TopicHash>)| {
            let is_good = self.inner.peer_score(peer).is_none_or(|score| score >= PUBLISH_THRESHOLD);
            (is_good && topics.contains(&&topic) && !self.direct.contains(peer)).then_some(*peer)
        };
        let takers: Vec<PeerId> = self.inner.all_peers().filter_map(takes).collect();
        takers.iter().for_each(|peer| self.inner.add_explicit_peer(peer));
        let published = self.inner.publish(topic, bytes);
        takers.iter().for_each(|peer| self.inner.remove_explicit_peer(peer));
        published
    }

    /// Says what became of a message; `false` if it is cached no more.
    pub(crate) fn report(&mut self, (message, source): &Ticket, acceptance: MessageAcceptance) -> bool {
        self.inner.report_message_validation_result(message, source, acceptance)
    }

    pub(crate) fn peer_score(&self, peer: &PeerId) -> Option<f64> {
        self.inner.peer_score(peer)
    }

    /// The label under which messages of a topic are counted.
    fn kind(&self, topic: &TopicHash) -> &'static str {
        self.topics.get(topic).map_or(NO_TOPIC, |topic| topic.kind())
    }

    /// What of a peer's messages gossipsub is to see.
    fn take(&mut self, peer: PeerId, messages: Vec<RawMessage>) -> Vec<RawMessage> {
        let now = Instant::now();
        let is_trusted = self.validators.as_ref().is_none_or(|validators| validators.contains(&peer));
        // What was taken of this RPC is not in the gate's queue yet.
        let mut coming = HashMap::new();
        let mut taken = Vec::with_capacity(messages.len());
        for message in messages {
            let topic = self.topics.get(&message.topic).filter(|_| self.subscribed.contains(&message.topic));
            let interest = match topic {
                Some(topic) if self.may_take_part(&peer, topic) => Interest::Subscribed,
                Some(_) => Interest::OfValidators,
                None => Interest::None,
            };
            if let Err(refusal) = self.intake.take(peer, interest, message.data.len(), now) {
                self.counters.add(self.kind(&message.topic), refusal.reason());
                if refusal != Refusal::Expelled && self.intake.is_expelled(&peer, now) {
                    tracing::debug!(%peer, reason = refusal.reason(), "the peer floods; it is expelled");
                    self.counters.add("peers", "flooding");
                    // Gossipsub listens to nothing that it says any more, and it will be disconnected for its score.
                    self.inner.set_application_score(&peer, EXPELLED);
                }
                continue;
            }
            // The guard lets in no peer without such a key.
            let (Some(topic), Some(from)) = (topic, to_public_key(&peer)) else { continue };
            let charge = Charge::new(topic, from, message.data.len());
            let of_class = coming.entry(charge.class()).or_insert(0);
            if self.queue.has_room(&charge, *of_class, is_trusted) {
                *of_class += charge.bytes();
                taken.push(message);
            } else {
                self.counters.add(topic.kind(), "busy");
                taken.push(self.settle(&message));
            }
        }
        taken
    }

    /// What gossipsub is shown instead of a message for which there is no room. If it has asked the peer for the message, the peer has
    /// kept its promise; but the message has not come, and others may bring it. Gossipsub understands by this a message whose
    /// author is blacklisted: it forgets the promise, blames nobody, and notes no id. (See `message_id` for the id.)
    fn settle(&self, message: &RawMessage) -> RawMessage {
        RawMessage {
            source: Some(self.nobody),
            data: content_id(&message.topic, &message.data).0,
            topic: message.topic.clone(),
            sequence_number: None,
            signature: None,
            key: None,
            validated: false,
        }
    }

    /// Counts what gossipsub's decoder refuses; gossipsub itself blames the peer for it.
    fn count_invalid(&self, invalid: &[(RawMessage, ValidationError)]) {
        for (message, error) in invalid {
            let reason = match error {
                ValidationError::MessageSizeTooLargeForTopic => "too-large",
                _ => "malformed",
            };
            self.counters.add(self.kind(&message.topic), reason);
        }
    }
}

/// The id of a message: that of its content, or what [`Behaviour::settle`] has put into it.
pub(super) fn message_id(nobody: PeerId, message: &Message) -> MessageId {
    if message.source == Some(nobody) {
        return MessageId(message.data.clone());
    }
    content_id(&message.topic, &message.data)
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = <Gossipsub as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = gossipsub::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
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
        self.inner.handle_established_outbound_connection(id, peer, remote, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
        let now = Instant::now();
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, other_established: 0, .. }) => {
                self.intake.connected(peer_id, now);
                // Gossipsub keeps a bad score for longer than an expulsion lasts.
                if !self.intake.is_expelled(&peer_id, now) {
                    self.inner.set_application_score(&peer_id, 0.0);
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, remaining_established: 0, .. }) => {
                self.intake.disconnected(&peer_id, now);
                self.held.remove(&peer_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        let event = match self.hold(peer, connection, event) {
            Received::Message { mut rpc, invalid_messages } => {
                self.count_invalid(&invalid_messages);
                rpc.messages = self.take(peer, rpc.messages);
                Received::Message { rpc, invalid_messages }
            }
            other => other,
        };
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            match self.inner.poll(cx) {
                // It would dial validators without knowing where they are. Who is dialled is decided elsewhere.
                Poll::Ready(ToSwarm::Dial { .. }) => {}
                event => return event,
            }
        }
    }
}
