//! Gossip in the event loop: publishing, handing messages to the gate, passing its verdicts on.

use std::time::Instant;

use libp2p::gossipsub::{self, Message, MessageAcceptance, PublishError as GossipError};

use super::{MeshTask, Ticket};
use crate::error::PublishError;
use crate::gate::{Job, Verdict};
use crate::gossip::topic_hash;
use crate::identity::to_public_key;
use crate::mesh::Published;
use crate::topic::Topic;

impl<T: Send + 'static> MeshTask<T> {
    pub(super) fn publish(&mut self, topic: Topic, bytes: Vec<u8>) -> Result<Published, PublishError> {
        if bytes.len() > topic.max_bytes() {
            let (bytes, max) = (bytes.len(), topic.max_bytes());
            return Err(PublishError::TooLarge { topic: topic.to_string(), bytes, max });
        }
        let hash = topic_hash(&topic, &self.config.network_id);
        if self.topics.get(&hash).is_none() {
            return Err(PublishError::UnknownTopic(topic.to_string()));
        }
        match self.swarm.behaviour_mut().gossip.publish(hash, bytes.clone()) {
            Ok(_) => Ok(Published::Sent),
            Err(GossipError::NoPeersSubscribedToTopic) => {
                if self.outbox.push(topic, bytes, Instant::now()) {
                    Ok(Published::Queued)
                } else {
                    self.counters.add(topic.kind(), "outbox-full");
                    Err(PublishError::OutboxFull)
                }
            }
            Err(GossipError::Duplicate) => Err(PublishError::Duplicate),
            Err(GossipError::AllQueuesFull(_)) => {
                self.counters.add(topic.kind(), "queues-full");
                Err(PublishError::QueuesFull)
            }
            Err(GossipError::MessageTooLarge | GossipError::SigningError(_) | GossipError::TransformFailed(_)) => {
                // Messages are neither signed nor transformed, and the size was checked above.
                Err(PublishError::TooLarge { topic: topic.to_string(), bytes: bytes.len(), max: topic.max_bytes() })
            }
        }
    }

    pub(super) fn retry_outbox(&mut self, now: Instant) {
        if self.outbox.is_empty() {
            return;
        }
        let (due, expired) = self.outbox.take(now);
        for _ in 0..expired {
            self.counters.add("events", "outbox-expired");
        }
        for message in due {
            let hash = topic_hash(&message.topic, &self.config.network_id);
            let outcome = self.swarm.behaviour_mut().gossip.publish(hash, message.bytes.clone());
            if let Err(GossipError::NoPeersSubscribedToTopic) = outcome {
                self.outbox.put_back(message);
            }
        }
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.on_message((message_id, propagation_source), message);
            }
            gossipsub::Event::Subscribed { peer_id, .. } => {
                self.on_gossip_known(&peer_id);
                // Somebody may now take what waits.
                self.retry_outbox(Instant::now());
            }
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => {
                tracing::debug!(peer = %peer_id, ?failed_messages, "a peer takes messages too slowly");
                self.counters.add("peers", "slow");
            }
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                tracing::debug!(peer = %peer_id, "the peer does not gossip");
                self.on_gossip_known(&peer_id);
            }
            gossipsub::Event::Unsubscribed { .. } => {}
        }
    }

    /// Its size, its peer's rate and the gate's room were looked at before gossipsub saw it.
    fn on_message(&mut self, ticket: Ticket, message: Message) {
        // Gossipsub shows messages of subscribed topics only, and the guard lets ed25519 keys in only.
        let (Some(topic), Some(from)) = (self.topics.get(&message.topic), to_public_key(&ticket.1)) else {
            return self.on_verdict(&ticket, Verdict::Ignore);
        };
        if let Err(job) = self.pool.submit(Job { ticket, from, topic, bytes: message.data }) {
            // Something else has come between.
            self.counters.add(topic.kind(), "busy");
            self.on_verdict(&job.ticket, Verdict::Ignore);
        }
    }

    pub(super) fn on_verdict(&mut self, ticket: &Ticket, verdict: Verdict) {
        if matches!(verdict, Verdict::Accept) {
            self.manager().useful(Instant::now(), &ticket.1);
        }
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        if !self.swarm.behaviour_mut().gossip.report(ticket, acceptance) {
            // The gate took longer than messages are kept: nobody gets it from us.
            self.counters.add("events", "verdict-too-late");
        }
    }
}
