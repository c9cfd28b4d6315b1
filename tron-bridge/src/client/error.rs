//! What can go wrong with a full node's HTTP API, in one type.
//!
//! A node reports errors with HTTP 200 in four shapes; providers in front of it add status codes and HTML pages. Which
//! of these may pass by themselves is [`ClientError::is_passing`].

use std::time::Duration;

use lucid_types::id::{PayoutAddress, SolidBlockId};

use super::constant::Revert;

/// A request failed. `endpoint` is scheme, host and port: paths may hold access tokens.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The configuration names no endpoint.
    #[error("no TRON endpoint is configured; name at least one")]
    NoEndpoint,
    /// An endpoint is not an http or https URL.
    #[error("the TRON endpoint {url:?} is not an http:// or https:// URL")]
    Url {
        /// As configured.
        url: String,
    },
    /// The API key has characters that no header may hold.
    #[error("the TRON API key is not visible ASCII text")]
    ApiKey,
    /// An endpoint has a key and no encryption.
    #[error(
        "the TRON endpoint {endpoint} is plain http and has an API key, which anybody on the way could read; use its https:// URL, or remove the key"
    )]
    KeyInClear {
        /// Who.
        endpoint: String,
    },
    /// The HTTP client could not be made.
    #[error("set up the HTTP client")]
    Setup(#[source] reqwest::Error),
    /// No answer: connection, time-out or protocol.
    #[error("ask {endpoint} for {call}")]
    Transport {
        /// Who.
        endpoint: String,
        /// What.
        call: &'static str,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// 429 or 403: the endpoint wants fewer requests.
    #[error("{endpoint} limits requests (status {status}); wait or configure an API key")]
    Limited {
        /// Who.
        endpoint: String,
        /// 429 or 403.
        status: u16,
        /// What its `Retry-After` says.
        retry_after: Option<Duration>,
    },
    /// Any other status than 200.
    #[error("{endpoint} answered {call} with status {status}: {excerpt}")]
    Status {
        /// Who.
        endpoint: String,
        /// What.
        call: &'static str,
        /// The status.
        status: u16,
        /// The start of the body.
        excerpt: String,
    },
    /// The body is longer than any honest answer to this call.
    #[error("{endpoint} answered {call} with more than {limit} bytes")]
    TooLarge {
        /// Who.
        endpoint: String,
        /// What.
        call: &'static str,
        /// The cap in bytes.
        limit: usize,
    },
    /// HTML of a provider's error page, or the bare text of a lite node.
    #[error("{endpoint} answered {call} with text instead of JSON: {excerpt}")]
    NotJson {
        /// Who.
        endpoint: String,
        /// What.
        call: &'static str,
        /// The start of the body.
        excerpt: String,
    },
    /// `{"Error": ...}`.
    #[error("{endpoint} could not do {call}: {message}")]
    Node {
        /// Who.
        endpoint: String,
        /// What.
        call: &'static str,
        /// The node's words.
        message: String,
    },
    /// `{"result": false, "code": ...}` or `{"result": {"code": ...}}`.
    #[error("{endpoint} refused {call}: {code} {message}")]
    Refused {
        /// Who.
        endpoint: String,
        /// What.
        call: &'static str,
        /// Name of the protocol's response code.
        code: String,
        /// The node's words.
        message: String,
    },
    /// A constant call ran and reverted, although the node says `result: true`.
    #[error("{contract} reverted: {revert}")]
    Reverted {
        /// The contract.
        contract: PayoutAddress,
        /// Why.
        revert: Revert,
    },
    /// A contract returned something that a contract of the expected kind never does.
    #[error("{contract} is not the contract that it is taken for: {problem}")]
    OtherContract {
        /// The contract.
        contract: PayoutAddress,
        /// What it returned.
        problem: String,
    },
    /// JSON of another shape.
    #[error("{endpoint} answered {call} in an unknown form")]
    Shape {
        /// Who.
        endpoint: String,
        /// What.
        call: &'static str,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// Right in form, and impossible in content.
    #[error("{endpoint} answered {call} with something that cannot be: {problem}")]
    Content {
        /// Who.
        endpoint: String,
        /// What.
        call: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The endpoint serves another network than the one pinned.
    #[error("{endpoint} serves another network: its block 0 is {found}, not {expected}")]
    OtherNetwork {
        /// Who.
        endpoint: String,
        /// The pinned id.
        expected: SolidBlockId,
        /// The endpoint's.
        found: SolidBlockId,
    },
}

impl ClientError {
    /// Whether asking again, or asking another endpoint later, can help.
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Transport { .. }
            | Self::Limited { .. }
            | Self::NotJson { .. }
            | Self::TooLarge { .. }
            | Self::Node { .. }
            | Self::Content { .. }
            | Self::Shape { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 408,
            Self::NoEndpoint
            | Self::Url { .. }
            | Self::ApiKey
            | Self::KeyInClear { .. }
            | Self::Setup(_)
            | Self::Refused { .. }
            | Self::Reverted { .. }
            | Self::OtherContract { .. }
            | Self::OtherNetwork { .. } => false,
        }
    }

    /// Whether the endpoint is to blame, so that another one may do better.
    pub(super) const fn is_of_endpoint(&self) -> bool {
        match self {
            Self::Transport { .. }
            | Self::Limited { .. }
            | Self::Status { .. }
            | Self::TooLarge { .. }
            | Self::NotJson { .. }
            | Self::Node { .. }
            | Self::Shape { .. }
            | Self::Content { .. }
            | Self::OtherNetwork { .. } => true,
            Self::NoEndpoint
            | Self::Url { .. }
            | Self::ApiKey
            | Self::KeyInClear { .. }
            | Self::Setup(_)
            | Self::Refused { .. }
            | Self::Reverted { .. }
            | Self::OtherContract { .. } => false,
        }
    }

    /// Whether the endpoint may have done what it was asked although it did not say so: its answer broke off or came too late, or
    /// a gateway gave up waiting for it.
    pub(super) fn may_have_worked(&self) -> bool {
        match self {
            Self::Transport { source, .. } => !source.is_connect(),
            Self::Status { status, .. } => *status >= 500,
            Self::Shape { .. } => true,
            _ => false,
        }
    }

    /// How long the endpoint asks to be left alone.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Limited { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
