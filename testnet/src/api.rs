//! The HTTP API of one node, as far as the testnet reads it.
//!
//! The answers' types are the node's own.

use std::net::{Ipv4Addr, SocketAddr};

use lucid_node::api::model::{
    BlockView, EpochList, EpochView, ErrorBody, PayoutList, PayoutView, PoolView, RegisteredView, ScoreList, StatusView,
};
use lucid_types::id::{NodeId, PayoutId, PoolId};
use serde::de::DeserializeOwned;

use crate::http::{self, Answer};

/// The longest list that a node gives at once.
pub const PAGE: usize = 1_000;

/// Why a node gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The connection failed or was cut; the node is down or starting.
    #[error("ask {address} for {path}")]
    Transport {
        /// Who.
        address: SocketAddr,
        /// What.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The node answered with an error.
    #[error("{address} answered {path} with status {status}: {message}")]
    Refused {
        /// Who.
        address: SocketAddr,
        /// What.
        path: String,
        /// The status.
        status: u16,
        /// The node's words.
        message: String,
    },
    /// The answer is not what was asked for.
    #[error("{address} answered {path} with something else")]
    Content {
        /// Who.
        address: SocketAddr,
        /// What.
        path: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads one node's API.
#[derive(Clone, Copy, Debug)]
pub struct NodeApi {
    address: SocketAddr,
}

impl NodeApi {
    /// The API on this port of 127.0.0.1.
    pub fn local(port: u16) -> Self {
        Self { address: (Ipv4Addr::LOCALHOST, port).into() }
    }

    /// The node's state.
    ///
    /// # Errors
    /// No answer, or another than expected; likewise below.
    pub async fn status(&self) -> Result<StatusView, ApiError> {
        self.get("/api/v1/status").await
    }

    /// A final block; `None` when the node has none of that height.
    ///
    /// # Errors
    /// As above.
    pub async fn block(&self, height: u64) -> Result<Option<BlockView>, ApiError> {
        self.find(&format!("/api/v1/blocks/{height}")).await
    }

    /// The epochs `first` to `last` as the node has them, ascending.
    ///
    /// # Errors
    /// As above.
    pub async fn epochs(&self, first: u64, last: u64) -> Result<Vec<EpochView>, ApiError> {
        let mut found = Vec::new();
        let mut before = last.saturating_add(1);
        while before > first {
            let path = format!("/api/v1/epochs?before={before}&limit={PAGE}");
            let page: EpochList = self.get(&path).await?;
            let Some(lowest) = page.epochs.iter().map(|e| e.epoch.get()).min() else { break };
            found.extend(page.epochs.into_iter().filter(|e| e.epoch.get() >= first));
            // A page that does not lead downwards would be asked for for ever.
            before = lowest.min(before - 1);
        }
        found.sort_by_key(|e| e.epoch);
        Ok(found)
    }

    /// The newest final scores.
    ///
    /// # Errors
    /// As above.
    pub async fn scores(&self) -> Result<ScoreList, ApiError> {
        self.get("/api/v1/scores").await
    }

    /// The payouts of the newest settlements, at most [`PAGE`].
    ///
    /// # Errors
    /// As above.
    pub async fn payouts(&self) -> Result<Vec<PayoutView>, ApiError> {
        let list: PayoutList = self.get(&format!("/api/v1/payouts?limit={PAGE}")).await?;
        Ok(list.payouts)
    }

    /// One payout; `None` when the node does not know it.
    ///
    /// # Errors
    /// As above.
    pub async fn payout(&self, id: &PayoutId) -> Result<Option<PayoutView>, ApiError> {
        self.find(&format!("/api/v1/payouts/{id}")).await
    }

    /// A pool with its alerts; `None` when the node does not know it.
    ///
    /// # Errors
    /// As above.
    pub async fn pool(&self, id: &PoolId) -> Result<Option<PoolView>, ApiError> {
        self.find(&format!("/api/v1/pools/{id}")).await
    }

    /// A registered node; `None` when the node that is asked does not know it.
    ///
    /// # Errors
    /// As above.
    pub async fn node(&self, id: &NodeId) -> Result<Option<RegisteredView>, ApiError> {
        self.find(&format!("/api/v1/nodes/{id}")).await
    }

    async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ApiError> {
        match self.get(path).await {
            Err(ApiError::Refused { status: 404, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let transport = |source| ApiError::Transport { address: self.address, path: path.into(), source };
        let Answer { status, body } = http::get(self.address, path).await.map_err(transport)?;
        if status != 200 {
            let message = serde_json::from_slice::<ErrorBody>(&body)
                .map_or_else(|_| String::from_utf8_lossy(&body).into_owned(), |error| error.error.message);
            return Err(ApiError::Refused { address: self.address, path: path.into(), status, message });
        }
        serde_json::from_slice(&body).map_err(|source| ApiError::Content {
            address: self.address,
            path: path.into(),
            source,
        })
    }
}

/// A counter of a node's metrics page; `None` while it is not there.
pub async fn counter(metrics_port: u16, sample: &str) -> Option<u64> {
    let address = (Ipv4Addr::LOCALHOST, metrics_port).into();
    let answer = http::get(address, "/metrics").await.ok().filter(|answer| answer.status == 200)?;
    find_sample(std::str::from_utf8(&answer.body).ok()?, sample)
}

fn find_sample(page: &str, sample: &str) -> Option<u64> {
    page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn answered(answer: &'static str) -> Result<Option<BlockView>, ApiError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = NodeApi::local(listener.local_addr().unwrap().port());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let n = stream.read(&mut request).await.unwrap();
            assert!(request[..n].starts_with(b"GET /api/v1/blocks/7 HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        tokio::join!(api.block(7), server).0
    }

    #[tokio::test]
    async fn absence_an_error_and_nonsense_are_told_apart() {
        let missing = r#"{"error":{"code":"not_found","message":"none","request_id":"1"}}"#;
        let missing: &str = Box::leak(format!("HTTP/1.0 404 Not Found\r\n\r\n{missing}").into_boxed_str());
        assert!(answered(missing).await.unwrap().is_none());
        let refused = answered("HTTP/1.0 500 Oops\r\n\r\nbroken").await.unwrap_err();
        assert!(refused.to_string().ends_with("/api/v1/blocks/7 with status 500: broken"), "{refused}");
        assert!(matches!(answered("HTTP/1.0 200 OK\r\n\r\n[]").await, Err(ApiError::Content { .. })));
        assert!(matches!(answered("").await, Err(ApiError::Transport { .. })));
    }

    #[test]
    fn a_sample_is_found_by_its_full_name() {
        let page = "# TYPE a counter\na{x=\"1\"} 5\na{x=\"12\"} 6\nab 7\n";
        assert_eq!(find_sample(page, "a{x=\"1\"}"), Some(5));
        assert_eq!(find_sample(page, "ab"), Some(7));
        assert_eq!(find_sample(page, "a"), None);
    }

    #[tokio::test]
    async fn a_closed_port_is_a_transport_error() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(matches!(NodeApi::local(port).status().await, Err(ApiError::Transport { .. })));
    }
}
