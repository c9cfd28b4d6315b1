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
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 5] = [Self::Sync, Self::Probe, Self::Command, Self::Cosign, Self::Storage];

    /// The kind: the part of the name that tells protocols apart, and the label under which requests are counted.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Probe => "probe",
            Self::Command => "command",
            Self::Cosign => "cosign",
            Self::Storage => "storage",
        }
    }

    /// The limits, the same on every node.
    pub const fn limits(&self) -> ProtocolLimits {
        let timeout = Duration::from_secs(10);
        match self {
            // A page of blocks; over a slow link it takes its time.
            Self::Sync => ProtocolLimits {
                request_bytes: 128 << 10,
                response_bytes: SyncResponse::MAX_BYTES,
                timeout: Duration::from_secs(20),
                per_peer: 8,
                burst: 64,
                per_second: 32,
            },
            Self::Probe => ProtocolLimits {
                request_bytes: 1 << 10,
                response_bytes: 1 << 10,
                // Nobody waits for it longer than 2 s.
                timeout: Duration::from_secs(3),
                per_peer: 16,
                burst: 128,
                per_second: 64,
            },
            Self::Command => ProtocolLimits {
                request_bytes: 4 << 10,
                response_bytes: 1 << 10,
                timeout,
                per_peer: 8,
                burst: 32,
                per_second: 8,
            },
            Self::Cosign => ProtocolLimits {
                request_bytes: 1 << 10,
                response_bytes: 1 << 10,
                timeout,
                per_peer: 8,
                burst: 64,
                per_second: 16,
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

    use super::*;

    #[test]
    fn every_wire_type_fits_its_protocol() {
        let of = |protocol: Protocol| (protocol.limits().request_bytes, protocol.limits().response_bytes);
        for (types, (request, response)) in [
            ((SyncRequest::MAX_BYTES, SyncResponse::MAX_BYTES), of(Protocol::Sync)),
            ((ProbeRequest::MAX_BYTES, Signed::<ProbeReply>::MAX_BYTES), of(Protocol::Probe)),
            ((MultiSigned::<Command>::MAX_BYTES, CommandReply::MAX_BYTES), of(Protocol::Command)),
            ((Signed::<CosignRequest>::MAX_BYTES, CosignReply::MAX_BYTES), of(Protocol::Cosign)),
            ((StorageRequest::MAX_BYTES, StorageReply::MAX_BYTES), of(Protocol::Storage)),
        ] {
            assert!(types.0 <= request && types.1 <= response, "{types:?} in {request} and {response}");
        }
    }
}
