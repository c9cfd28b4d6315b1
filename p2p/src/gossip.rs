//! Gossipsub as Lucid uses it: anonymous messages, content ids, our own validation, scoring.
//!
//! Messages carry no gossipsub author or signature: the signed envelope inside is checked once, by the gate. The
//! publisher sends to every peer that takes the topic, and each peer forwards to its mesh, so in a fully connected
//! network a message takes one hop and each peer is offered it by several others. The numbers are chosen so that no
//! score term can push out an honest peer on a machine that is merely slow.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use libp2p::gossipsub::{
    self, ConfigBuilder, MaxCountSubscriptionFilter, Message, MessageAuthenticity, MessageId, PeerScoreParams,
    PeerScoreThresholds, TopicHash, TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
    score_parameter_decay,
};
use lucid_types::id::NetworkId;

use crate::config::MeshConfig;
use crate::error::StartError;
use crate::topic::Topic;

/// Peers of a topic's mesh that are wanted, tolerated at least and tolerated at most.
const MESH: usize = 10;
const MESH_LOW: usize = 8;
const MESH_HIGH: usize = 16;
/// Peers of the mesh that we dialled ourselves, against being surrounded by dialling attackers.
const MESH_OUTBOUND: usize = 3;
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Heartbeats that a message stays available to peers that ask, and that it is offered to them.
const HISTORY: usize = 12;
const HISTORY_OFFERED: usize = 6;
/// How long the id of a seen message is remembered.
const SEEN: Duration = Duration::from_secs(60);
/// What an RPC adds to a message: topic name, lengths and field tags.
const ENVELOPE: usize = 512;
/// Topics that one peer may subscribe to, and changes in one RPC.
const MAX_SUBSCRIPTIONS: usize = 64;
/// From this score on a peer's messages are not looked at, and it is sent away.
pub(crate) const GRAYLIST: f64 = -400.0;

pub(crate) type Behaviour =
    gossipsub::Behaviour<gossipsub::IdentityTransform, MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>>;

/// The topics that the node knows, by their hash on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Topics(HashMap<TopicHash, Topic>);

impl Topics {
    /// The fixed topics and those of the configuration.
    pub(crate) fn new(config: &MeshConfig) -> Self {
        let known = Topic::fixed().chain(config.topics.iter().copied());
        Self(known.map(|topic| (topic_hash(&topic, &config.network_id), topic)).collect())
    }

    pub(crate) fn get(&self, hash: &TopicHash) -> Option<Topic> {
        self.0.get(hash).copied()
    }
}

/// The name on the wire, unhashed.
pub(crate) fn topic_hash(topic: &Topic, network: &NetworkId) -> TopicHash {
    TopicHash::from_raw(topic.name(network))
}

/// BLAKE3 of the topic's length, the topic and the bytes, cut to 20 bytes: the same bytes in two topics are two
/// messages.
fn message_id(message: &Message) -> MessageId {
    let mut hasher = blake3::Hasher::new();
    let topic = message.topic.as_str().as_bytes();
    hasher.update(&u64::try_from(topic.len()).unwrap_or(u64::MAX).to_le_bytes()).update(topic).update(&message.data);
    MessageId::from(&hasher.finalize().as_bytes()[..20])
}

/// The behaviour, subscribed to the configured topics.
pub(crate) fn behaviour(config: &MeshConfig, topics: &Topics) -> Result<Behaviour, StartError> {
    let fail = |problem: String| StartError::Gossip { problem };
    let largest = topics.0.values().map(Topic::max_bytes).max().unwrap_or_default();
    let mut builder = ConfigBuilder::default();
    builder
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(message_id)
        .flood_publish(true)
        .mesh_n(MESH)
        .mesh_n_low(MESH_LOW)
        .mesh_n_high(MESH_HIGH)
        .mesh_outbound_min(MESH_OUTBOUND)
        .gossip_lazy(MESH)
        .heartbeat_initial_delay(HEARTBEAT)
        .heartbeat_interval(HEARTBEAT)
        .history_length(HISTORY)
        .history_gossip(HISTORY_OFFERED)
        .duplicate_cache_time(SEEN)
        .prune_backoff(config.timing().prune_backoff)
        .graft_flood_threshold(config.timing().prune_backoff / 2)
        .unsubscribe_backoff(Duration::from_secs(1))
        .max_transmit_size(largest.saturating_add(ENVELOPE))
        .max_publish_messages(512)
        .max_control_messages_sent(2048)
        .connection_handler_queue_len(1024);
    // The caps of single topics are checked in the event loop, where they are counted.
    let gossip_config = builder.build().map_err(|e| fail(e.to_string()))?;
    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter(topics.0.keys().cloned().collect::<HashSet<_>>()),
        max_subscribed_topics: MAX_SUBSCRIPTIONS,
        max_subscriptions_per_request: MAX_SUBSCRIPTIONS,
    };
    let mut behaviour = Behaviour::new_with_subscription_filter(MessageAuthenticity::Anonymous, gossip_config, filter)
        .map_err(|e| fail(e.to_owned()))?;
    behaviour.with_peer_score(score(config, topics), thresholds()).map_err(fail)?;
    for topic in &config.topics {
        behaviour
            .subscribe(&gossipsub::IdentTopic::new(topic.name(&config.network_id)))
            .map_err(|e| fail(format!("subscribe to {topic}: {e}")))?;
    }
    Ok(behaviour)
}

fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: -100.0,
        publish_threshold: -200.0,
        graylist_threshold: GRAYLIST,
        accept_px_threshold: 10.0,
        opportunistic_graft_threshold: 1.0,
    }
}

/// Strong: invalid messages; three in a topic within minutes and the peer is not listened to. Off: delivery rates in
/// the mesh, because quiet topics are normal and slow machines are not attackers. Mild: broken promises and slowness.
fn score(config: &MeshConfig, topics: &Topics) -> PeerScoreParams {
    let topic = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 300.0,
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_decay: score_parameter_decay(Duration::from_secs(120)),
        first_message_deliveries_cap: 50.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -50.0,
        invalid_message_deliveries_decay: score_parameter_decay(Duration::from_secs(600)),
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: topics.0.keys().map(|hash| (hash.clone(), topic.clone())).collect(),
        topic_score_cap: 20.0,
        app_specific_weight: 1.0,
        // Everybody shares an address in a local network.
        ip_colocation_factor_weight: if config.local { 0.0 } else { -10.0 },
        ip_colocation_factor_threshold: 8.0,
        behaviour_penalty_weight: -4.0,
        behaviour_penalty_threshold: 8.0,
        behaviour_penalty_decay: score_parameter_decay(Duration::from_secs(60)),
        slow_peer_weight: 0.0,
        // Short for a local network, where ids are reused from one test to the next.
        retain_score: Duration::from_secs(if config.local { 60 } else { 3600 }),
        ..PeerScoreParams::default()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn message(topic: &str, data: &[u8]) -> Message {
        Message { source: None, data: data.to_vec(), sequence_number: None, topic: TopicHash::from_raw(topic) }
    }

    #[test]
    fn a_message_id_binds_topic_and_bytes() {
        let id = message_id(&message("ab", b"c"));
        assert_eq!(id.0.len(), 20);
        assert_eq!(id, message_id(&message("ab", b"c")));
        assert_ne!(id, message_id(&message("a", b"bc")));
        assert_ne!(id, message_id(&message("ab", b"d")));
    }

    /// A peer that is built from the page alone must come to the same ids, or it is disconnected.
    #[test]
    fn the_documented_example_is_right() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let topic = topic_hash(&Topic::Commands, &NetworkId::from_bytes([7; 32]));
        let length = u64::try_from(topic.as_str().len()).unwrap().to_le_bytes();
        let id = message_id(&message(topic.as_str(), b"abc"));
        let page = include_str!("../../docs/src/wire.md");
        for text in [topic.as_str(), &hex(&length), &hex(&id.0), &hex(b"abc")] {
            assert!(page.contains(&format!("`{text}`")), "docs/src/wire.md does not have {text}");
        }
    }

    #[test]
    fn the_settings_are_consistent_and_all_configured_topics_are_subscribed() {
        for local in [true, false] {
            let config = MeshConfig { local, ..MeshConfig::new(NetworkId::from_bytes([1; 32])) };
            let topics = Topics::new(&config);
            assert!(score(&config, &topics).validate().is_ok());
            assert!(thresholds().validate().is_ok());
            let behaviour = behaviour(&config, &topics).unwrap();
            assert_eq!(behaviour.topics().count(), config.topics.len());
        }
    }
}
