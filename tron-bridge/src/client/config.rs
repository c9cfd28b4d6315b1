//! How a provider group is reached.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use lucid_types::id::SolidBlockId;

/// How to reach one provider group.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Preferred first.
    pub endpoints: Vec<EndpointConfig>,
    /// Id of the network's block 0. `None` trusts every endpoint and is only for tools that make a network.
    pub genesis: Option<SolidBlockId>,
    /// For one request, from connecting to the last byte.
    pub timeout: Duration,
    /// How often all endpoints are tried again after each failed, with growing pauses.
    pub retries: usize,
    /// Most requests in a second, to all endpoints together; `None` does not limit them.
    pub requests_per_s: Option<NonZeroU32>,
}

impl ClientConfig {
    /// One endpoint without a key, 10 s a request, 3 retries, any number of requests.
    pub fn new(url: impl Into<String>, genesis: Option<SolidBlockId>) -> Self {
        Self {
            endpoints: vec![EndpointConfig { url: url.into(), api_key: None }],
            genesis,
            timeout: Duration::from_secs(10),
            retries: 3,
            requests_per_s: None,
        }
    }
}

/// How to reach one endpoint of a group.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// An `http://` or `https://` base URL; `/wallet/...` is appended.
    pub url: String,
    /// Sent as `TRON-PRO-API-KEY`. Over plain http it is refused, except to this machine.
    pub api_key: Option<ApiKey>,
}

/// A provider's API key; never printed.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// Wraps the key.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The secret text.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}
