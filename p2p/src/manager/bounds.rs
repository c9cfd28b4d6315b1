//! How many connections there may be, and what refuses one.

use crate::config::Limits;

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) total: usize,
    /// Of inbound peers.
    pub(crate) inbound: usize,
    pub(crate) per_peer: usize,
    /// Of inbound peers, at one host and in one group; `None` where many peers share an address.
    pub(crate) near: Option<Near>,
    pub(crate) pending_inbound: usize,
    pub(crate) pending_outbound: usize,
    /// Outbound peers that we go on dialling for.
    pub(crate) target: usize,
    /// Peers whose addresses are remembered.
    pub(crate) known: usize,
}

/// Bounds of one place in the network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Near {
    pub(crate) per_host: usize,
    pub(crate) per_group: usize,
    /// Arriving handshakes.
    pub(crate) pending_per_host: usize,
}

impl Bounds {
    pub(crate) fn new(limits: &Limits, shares_addresses: bool) -> Self {
        let near =
            Near { per_host: limits.per_host, per_group: limits.per_group, pending_per_host: limits.pending_per_host };
        Self {
            total: limits.connections,
            inbound: limits.inbound,
            per_peer: limits.per_peer,
            near: (!shares_addresses).then_some(near),
            pending_inbound: limits.pending_inbound,
            pending_outbound: limits.pending_outbound,
            target: limits.target_peers,
            known: limits.known_peers,
        }
    }
}

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection refused: {}", self.reason())]
pub(crate) enum Refusal {
    Total,
    Inbound,
    Closing,
    PerPeer,
    PerHost,
    PerGroup,
    PendingInbound,
    PendingPerHost,
    PendingPerGroup,
    PendingOutbound,
    Banned,
    BannedHost,
    KeyType,
}

impl Refusal {
    /// The label it is counted under.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Total => "too-many",
            Self::Inbound => "too-many-inbound",
            Self::Closing => "too-many-closing",
            Self::PerPeer => "too-many-of-peer",
            Self::PerHost => "too-many-of-host",
            Self::PerGroup => "too-many-of-group",
            Self::PendingInbound => "too-many-handshakes",
            Self::PendingPerHost => "too-many-handshakes-of-host",
            Self::PendingPerGroup => "too-many-handshakes-of-group",
            Self::PendingOutbound => "too-many-dials",
            Self::Banned => "banned",
            Self::BannedHost => "banned-host",
            Self::KeyType => "not-an-ed25519-key",
        }
    }
}
