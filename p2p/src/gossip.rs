//! Gossipsub as Lucid uses it: anonymous messages, content ids, our own validation, scoring.
//!
//! Messages carry no gossipsub author or signature: the signed envelope inside is checked once, by the gate. The
//! publisher sends short messages to every peer that takes the topic, and each peer forwards to its mesh, so in a fully connected
//! network such a message takes one hop and each peer is offered it by several others. The numbers are chosen so that no
//! score term can push out an honest peer on a machine that is merely slow.

mod behaviour;
mod intake;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::gossipsub::{
    self, ConfigBuilder, MaxCountSubscriptionFilter, MessageAuthenticity, MessageId, PeerScoreParams,
    PeerScoreThresholds, TopicHash, TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
    score_parameter_decay,
};
use lucid_types::id::NetworkId;

pub(crate) use behaviour::Behaviour;
use intake::Intake;

use crate::config::MeshConfig;
use crate::counters::Counters;
use crate::error::StartError;
use crate::gate::Queue;
use crate::task::Ticket;
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
/// Message ids that a node offers to a peer, or asks of it, at a time: as many come of a topic in a burst.
const MAX_IDS: usize = 2048;
/// Bytes of an RPC without its messages. So many ids fit, of 20 bytes with tag and length; else the peer would break off the stream.
const MAX_CONTROL: usize = 22 * MAX_IDS + ENVELOPE;
/// From this score on a peer's messages are not looked at, and it is sent away.
pub(crate) const GRAYLIST: f64 = -400.0;
/// Below this score nothing is published to a peer.
const PUBLISH_THRESHOLD: f64 = -200.0;
/// What is added to the score of a peer that floods: whatever good it has done does not outweigh it.
const EXPELLED: f64 = 2.0 * GRAYLIST;

type Gossipsub =
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

    /// The hashes of those of a kind.
    fn hashes(&self, is_of_kind: fn(&Topic) -> bool) -> Vec<TopicHash> {
        self.0.iter().filter(|(_, topic)| is_of_kind(topic)).map(|(hash, _)| hash.clone()).collect()
    }
}

/// The name on the wire, unhashed.
pub(crate) fn topic_hash(topic: &Topic, network: &NetworkId) -> TopicHash {
    TopicHash::from_raw(topic.name(network))
}

/// BLAKE3 of the topic's length, the topic and the bytes, cut to 20 bytes: the same bytes in two topics are two
/// messages.
fn content_id(topic: &TopicHash, data: &[u8]) -> MessageId {
    let mut hasher = blake3::Hasher::new();
    let topic = topic.as_str().as_bytes();
    hasher.update(&u64::try_from(topic.len()).unwrap_or(u64::MAX).to_le_bytes()).update(topic).update(data);
    MessageId::from(&hasher.finalize().as_bytes()[..20])
}

/// The behaviour, subscribed to the configured topics. It takes what `queue` has room for.
pub(crate) fn behaviour(
    config: &MeshConfig,
    topics: &Topics,
    queue: Arc<Queue<Ticket>>,
    counters: Arc<Counters>,
) -> Result<Behaviour, StartError> {
    let nobody = PeerId::random();
    let mut gossipsub = gossipsub(config, topics, nobody)?;
    gossipsub.blacklist_peer(&nobody);
    let intake = Intake::new(&config.limits, config.timing().ban);
    Ok(Behaviour::new(gossipsub, topics.clone(), intake, queue, counters, nobody))
}

fn gossipsub(config: &MeshConfig, topics: &Topics, nobody: PeerId) -> Result<Gossipsub, StartError> {
    let fail = |problem: String| StartError::Gossip { problem };
    let largest = topics.0.values().map(Topic::max_bytes).max().unwrap_or_default();
    let mut builder = ConfigBuilder::default();
    builder
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(move |message| behaviour::message_id(nobody, message))
        // Short messages are: see `Behaviour::publish`.
        .flood_publish(false)
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
        .max_control_messages_sent(MAX_IDS)
        .max_control_message_size(MAX_CONTROL)
        .connection_handler_queue_len(1024);
    for (hash, topic) in &topics.0 {
        builder.max_transmit_size_for_topic(encoded_bytes(hash, topic.max_bytes()), hash.clone());
    }
    let gossip_config = builder.build().map_err(|e| fail(e.to_string()))?;
    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter(topics.0.keys().cloned().collect::<HashSet<_>>()),
        max_subscribed_topics: MAX_SUBSCRIPTIONS,
        max_subscriptions_per_request: MAX_SUBSCRIPTIONS,
    };
    let mut behaviour = Gossipsub::new_with_subscription_filter(MessageAuthenticity::Anonymous, gossip_config, filter)
        .map_err(|e| fail(e.to_owned()))?;
    behaviour.with_peer_score(score(config, topics), thresholds()).map_err(fail)?;
    for topic in &config.topics {
        behaviour
            .subscribe(&gossipsub::IdentTopic::new(topic.name(&config.network_id)))
            .map_err(|e| fail(format!("subscribe to {topic}: {e}")))?;
    }
    Ok(behaviour)
}

/// How long an anonymous message of so many bytes is in protobuf, which is what gossipsub bounds: two fields, each a tag of one
/// byte, the length and the bytes.
fn encoded_bytes(topic: &TopicHash, data: usize) -> usize {
    let varint = |value: usize| value.checked_ilog2().map_or(1, |log| log as usize / 7 + 1);
    let field = |bytes: usize| 1 + varint(bytes) + bytes;
    field(data).saturating_add(field(topic.as_str().len()))
}

fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: -100.0,
        publish_threshold: PUBLISH_THRESHOLD,
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

    #[test]
    fn a_message_id_binds_topic_and_bytes() {
        let id = |topic: &str, data: &[u8]| content_id(&TopicHash::from_raw(topic), data);
        assert_eq!(id("ab", b"c").0.len(), 20);
        assert_eq!(id("ab", b"c"), id("ab", b"c"));
        assert_ne!(id("ab", b"c"), id("a", b"bc"));
        assert_ne!(id("ab", b"c"), id("ab", b"d"));
    }

    #[test]
    fn a_topics_cap_is_that_of_its_messages_encoding() {
        let topic = TopicHash::from_raw("t".repeat(90));
        for (data, bytes) in
            [(0, 2 + 92), (127, 129 + 92), (128, 131 + 92), (16_383, 16_386 + 92), (16_384, 16_388 + 92)]
        {
            assert_eq!(encoded_bytes(&topic, data), bytes, "{data}");
        }
    }

    /// A peer that is built from the page alone must come to the same ids, or it is disconnected.
    #[test]
    fn the_documented_example_is_right() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let topic = topic_hash(&Topic::Commands, &NetworkId::from_bytes([7; 32]));
        let length = u64::try_from(topic.as_str().len()).unwrap().to_le_bytes();
        let id = content_id(&topic, b"abc");
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
            let behaviour = gossipsub(&config, &topics, PeerId::random()).unwrap();
            assert_eq!(behaviour.topics().count(), config.topics.len());
        }
    }
}
