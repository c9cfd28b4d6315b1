//! The closed set of gossip topics, their names on the wire and their size caps.
//!
//! A name is `/lucid/<network id>/<kind>/1`. The caps bound what one message may cost a node before anybody has looked
//! at its content; what a proposal refers to and a node lacks comes by `/sync/1`.

use std::fmt;

use lucid_types::id::NetworkId;

/// A gossip topic of one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Signed resource attestations of the workers of one shard.
    Attestations(u8),
    /// Validators' commitments.
    Commitments,
    /// Validators' reveals: score reports with their salts.
    Reveals,
    /// Commands that wait for a block.
    Commands,
    /// Votes and compact proposals of the consensus engine, and wakes.
    Consensus,
    /// Votes that are repeated to make a stalled height go on. Envelopes differ in their sequence, or a repetition
    /// would be taken for a duplicate.
    Rebroadcasts,
    /// Certificates of decided blocks.
    Certificates,
    /// Evidence of equivocation that waits for a block.
    Evidence,
}

impl Topic {
    /// Shards that every node accepts subscriptions for: [`Topic::Attestations`] 0 to 15.
    pub const SHARDS: u8 = 16;

    /// The largest message, in bytes.
    pub const fn max_bytes(&self) -> usize {
        match self {
            Self::Commitments | Self::Evidence => 1 << 10,
            Self::Attestations(_) | Self::Commands => 4 << 10,
            Self::Consensus => 512 << 10,
            Self::Certificates => 128 << 10,
            Self::Rebroadcasts => 144 << 10,
            Self::Reveals => 128 << 10,
        }
    }

    /// Whether validators alone take part in it, over connections among them: what is said in it is of use to nobody else, and what
    /// others need of it stands in blocks.
    pub const fn is_for_validators(&self) -> bool {
        matches!(self, Self::Consensus | Self::Rebroadcasts | Self::Commitments)
    }

    /// The kind without shard: the label under which messages are counted.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Attestations(_) => "attestations",
            Self::Commitments => "commitments",
            Self::Reveals => "reveals",
            Self::Commands => "commands",
            Self::Consensus => "consensus",
            Self::Rebroadcasts => "rebroadcasts",
            Self::Certificates => "certificates",
            Self::Evidence => "evidence",
        }
    }

    /// Every topic that exists without configuration.
    pub fn fixed() -> impl Iterator<Item = Self> {
        let single = [
            Self::Commitments,
            Self::Reveals,
            Self::Commands,
            Self::Consensus,
            Self::Rebroadcasts,
            Self::Certificates,
            Self::Evidence,
        ];
        (0..Self::SHARDS).map(Self::Attestations).chain(single)
    }

    /// The name on the wire.
    pub(crate) fn name(&self, network: &NetworkId) -> String {
        format!("/lucid/{network}/{self}/1")
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attestations(shard) => write!(f, "{}/{shard}", self.kind()),
            _ => f.write_str(self.kind()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lucid_types::attestation::ResourceAttestation;
    use lucid_types::certificate::Certificate;
    use lucid_types::codec::Wire;
    use lucid_types::command::Command;
    use lucid_types::evidence::Evidence;
    use lucid_types::message::ConsensusMessage;
    use lucid_types::report::ReportCommitment;
    use lucid_types::report::Reveal;
    use lucid_types::signed::{MultiSigned, Signed};
    use lucid_types::sync::Rebroadcast;

    use super::*;

    #[test]
    fn every_wire_type_fits_its_topic() {
        for (bytes, topic) in [
            (Signed::<ResourceAttestation>::MAX_BYTES, Topic::Attestations(0)),
            (Signed::<ReportCommitment>::MAX_BYTES, Topic::Commitments),
            (Signed::<Reveal>::MAX_BYTES, Topic::Reveals),
            (MultiSigned::<Command>::MAX_BYTES, Topic::Commands),
            (ConsensusMessage::MAX_BYTES, Topic::Consensus),
            (Signed::<Rebroadcast>::MAX_BYTES, Topic::Rebroadcasts),
            (Certificate::MAX_BYTES, Topic::Certificates),
            (Evidence::MAX_BYTES, Topic::Evidence),
        ] {
            assert!(bytes <= topic.max_bytes(), "{bytes} bytes in {topic}");
        }
    }

    #[test]
    fn names_are_distinct_and_carry_the_network() {
        let network = NetworkId::from_bytes([1; 32]);
        let all: Vec<Topic> = Topic::fixed().collect();
        let names: BTreeSet<String> = all.iter().map(|topic| topic.name(&network)).collect();
        assert_eq!(names.len(), all.len());
        assert_eq!(Topic::Attestations(3).name(&network), format!("/lucid/{}/attestations/3/1", "01".repeat(32)));
        assert!(names.iter().all(|name| name.starts_with(&format!("/lucid/{network}/"))));
    }
}
