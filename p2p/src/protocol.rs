//! The closed set of request-response protocols: names, caps, time-outs and rates.
//!
//! A name is `/lucid/<network id>/<kind>/1`, so a node of another network fails in negotiation, before a byte of a
//! request is read.

use std::time::Duration;

use lucid_types::codec::Wire;
use lucid_types::id::NetworkId;
use lucid_types::sync::SyncResponse;

/// A request-response protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Blocks, certificates and other history, by height or hash.
    Sync,
    /// Pings.
    Probe,
    /// Submits a signed command; the answer says that it is durable.
    Command,
    /// Asks a treasury signer for a signature over a payout root or a change of the vault.
    Cosign,
    /// Deposits chunks with a worker, and asks for parts of them.
    Storage,
    /// Asks a validator to ping a worker out of turn.
    Validate,
}

/// What one protocol may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolLimits {
    /// Largest request in bytes.
    pub request_bytes: usize,
    /// Largest response in bytes.
    pub response_bytes: usize,
    /// From sending the request to having read the whole response.
    pub timeout: Duration,
    /// Requests of one peer that may wait for our answer at a time; also ours that may wait for one peer's answer.
    pub per_peer: usize,
    /// Requests of one peer that are taken in a burst.
    pub burst: u32,
    /// Requests of one peer that are taken per second in the long run.
    pub per_second: u32,
    /// Bytes that the requests of one peer, and the answers to them, may hold here at a time.
    pub bytes_per_peer: usize,
    /// The same of all peers. Half of it is for trusted peers alone.
    pub bytes: usize,
    /// Bytes of answers to our own requests that may be arriving at a time.
    pub answer_bytes: usize,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 6] = [Self::Sync, Self::Probe, Self::Command, Self::Cosign, Self::Storage, Self::Validate];

    /// The kind: the part of the name that tells protocols apart, and the label under which requests are counted.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Probe => "probe",
            Self::Command => "command",
            Self::Cosign => "cosign",
            Self::Storage => "storage",
            Self::Validate => "validate",
        }
    }

    /// The limits, the same on every node.
    pub const fn limits(&self) -> ProtocolLimits {
        let timeout = Duration::from_secs(10);
        // Twice as many streams as requests, at a few KiB each.
        let (bytes_per_peer, bytes, answer_bytes) = (160 << 10, 8 << 20, 8 << 20);
        match self {
            // A page of blocks; over a slow link it takes its time.
            Self::Sync => ProtocolLimits {
                request_bytes: 128 << 10,
                response_bytes: SyncResponse::MAX_BYTES,
                timeout: Duration::from_secs(20),
                per_peer: 8,
                burst: 64,
                per_second: 32,
                // Who catches up asks for four pages of a mebibyte at a time.
                bytes_per_peer: 6 << 20,
                bytes: 64 << 20,
                answer_bytes: 64 << 20,
            },
            Self::Probe => ProtocolLimits {
                request_bytes: 1 << 10,
                response_bytes: 1 << 10,
                // Nobody waits for it longer than 2 s.
                timeout: Duration::from_secs(3),
                per_peer: 16,
                burst: 128,
                per_second: 64,
                bytes_per_peer,
                bytes,
                // Room for all pings that a validator has under way.
                answer_bytes: 32 << 20,
            },
            Self::Command => ProtocolLimits {
                request_bytes: 4 << 10,
                response_bytes: 1 << 10,
                timeout,
                per_peer: 8,
                burst: 32,
                per_second: 8,
                bytes_per_peer,
                bytes,
                answer_bytes,
            },
            Self::Cosign => ProtocolLimits {
                request_bytes: 1 << 10,
                response_bytes: 1 << 10,
                timeout,
                per_peer: 8,
                burst: 64,
                per_second: 16,
                bytes_per_peer,
                bytes,
                answer_bytes,
            },
            // A chunk and its place; what a challenge asks for.
            Self::Storage => ProtocolLimits {
                request_bytes: (1 << 20) + (1 << 10),
                response_bytes: (64 << 10) + 64,
                // A megabyte over a slow link. An answer to a challenge is waited for 2 s.
                timeout: Duration::from_secs(30),
                per_peer: 2,
                burst: 16,
                per_second: 8,
                bytes_per_peer: 3 << 20,
                bytes: 32 << 20,
                // Room for all challenges that a validator has under way.
                answer_bytes: 72 << 20,
            },
            // The answer comes when the worker has answered, or has not: in 8 s.
            Self::Validate => ProtocolLimits {
                request_bytes: 64,
                response_bytes: 256,
                timeout,
                per_peer: 2,
                burst: 8,
                per_second: 1,
                bytes_per_peer,
                bytes,
                answer_bytes,
            },
        }
    }

    /// The name on the wire.
    pub(crate) fn name(&self, network: &NetworkId) -> String {
        format!("/lucid/{network}/{}/1", self.kind())
    }
}

#[cfg(test)]
mod tests {
    use lucid_types::command::{Command, CommandReply};
    use lucid_types::payout::{CosignReply, CosignRequest};
    use lucid_types::report::{ProbeReply, ProbeRequest};
    use lucid_types::signed::{MultiSigned, Signed};
    use lucid_types::storage::{StorageReply, StorageRequest};
    use lucid_types::sync::SyncRequest;
    use lucid_types::validation::{ValidationReply, ValidationRequest};

    use super::*;
    use crate::budget::STREAM;

    #[test]
    fn every_wire_type_fits_its_protocol() {
        let of = |protocol: Protocol| (protocol.limits().request_bytes, protocol.limits().response_bytes);
        for (types, (request, response)) in [
            ((SyncRequest::MAX_BYTES, SyncResponse::MAX_BYTES), of(Protocol::Sync)),
            ((ProbeRequest::MAX_BYTES, Signed::<ProbeReply>::MAX_BYTES), of(Protocol::Probe)),
            ((MultiSigned::<Command>::MAX_BYTES, CommandReply::MAX_BYTES), of(Protocol::Command)),
            ((Signed::<CosignRequest>::MAX_BYTES, CosignReply::MAX_BYTES), of(Protocol::Cosign)),
            ((StorageRequest::MAX_BYTES, StorageReply::MAX_BYTES), of(Protocol::Storage)),
            ((ValidationRequest::MAX_BYTES, ValidationReply::MAX_BYTES), of(Protocol::Validate)),
        ] {
            assert!(types.0 <= request && types.1 <= response, "{types:?} in {request} and {response}");
        }
    }

    /// The page of documentation that states the limits.
    const PAGE: &str = include_str!("../../docs/src/network.md");

    fn size(bytes: usize) -> String {
        if bytes.is_multiple_of(1 << 20) { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
    }

    #[test]
    fn the_documentation_states_the_limits() {
        for protocol in Protocol::ALL {
            let limits = protocol.limits();
            let row = format!(
                "| `{}` | {} s | {} | {}, {} | {} | {} | {} |\n",
                protocol.kind(),
                limits.timeout.as_secs(),
                limits.per_peer,
                limits.burst,
                limits.per_second,
                size(limits.bytes_per_peer),
                size(limits.bytes),
                size(limits.answer_bytes),
            );
            assert!(PAGE.contains(&row), "{row}");
        }
        let of_strangers = Protocol::ALL.iter().map(|protocol| protocol.limits().bytes / 2).sum();
        let sentence = format!("all strangers together hold\nat most {} of requests and answers", size(of_strangers));
        assert!(PAGE.contains(&sentence), "{sentence}");
        assert!(PAGE.contains(&format!("A stream costs {},", size(STREAM))));
    }

    /// Whoever keeps to the number of requests is never refused for bytes, but for pages of blocks.
    #[test]
    fn what_one_peer_may_ask_at_a_time_fits_its_budget() {
        for protocol in Protocol::ALL {
            let limits = protocol.limits();
            let at_a_time = if protocol == Protocol::Sync { 4 } else { limits.per_peer };
            let of_one = limits.request_bytes.max(limits.response_bytes) + STREAM;
            let streams = 2 * limits.per_peer * STREAM;
            assert!((at_a_time * of_one).max(streams) <= limits.bytes_per_peer, "{}", protocol.kind());
            assert!(
                5 * limits.bytes_per_peer <= limits.bytes / 2,
                "{}: few peers fill the room of strangers",
                protocol.kind()
            );
        }
    }
}
