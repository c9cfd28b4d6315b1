//! How a provider is reached.

use std::fmt;
use std::time::Duration;

use lucid_types::id::SolidBlockId;

/// How to reach one provider.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `http://` or `https://` base URLs, preferred first; `/wallet/...` is appended.
    pub endpoints: Vec<String>,
    /// Sent as `TRON-PRO-API-KEY`.
    pub api_key: Option<ApiKey>,
    /// Id of the network's block 0. `None` trusts every endpoint and is only for tools that make a network.
    pub genesis: Option<SolidBlockId>,
    /// For one request, from connecting to the last byte.
    pub timeout: Duration,
    /// How often all endpoints are tried again after each failed, with growing pauses.
    pub retries: usize,
}

impl ClientConfig {
    /// One endpoint, 10 s a request, 3 retries.
    pub fn new(endpoint: impl Into<String>, genesis: Option<SolidBlockId>) -> Self {
        Self { endpoints: vec![endpoint.into()], api_key: None, genesis, timeout: Duration::from_secs(10), retries: 3 }
    }
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
