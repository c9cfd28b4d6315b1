//! The node's HTTP API for reading, and its metrics listener.
//!
//! Everything comes from a [`NodeView`]; nothing here knows a store or a mesh. Both listeners bound their connections,
//! request sizes and times. There is no authentication yet, so the API's address must be a loopback address, which
//! the configuration checks.

mod connection;
pub mod metrics;
pub mod model;
mod reply;
mod routes;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use lucid_types::id::PayoutId;
use lucid_types::time::EpochNumber;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::connection::Bounded;
use self::metrics::Metrics;
use self::model::{EpochView, PayoutView, PeerView, ScoreView, StatusView};

/// Connections that one listener holds at a time; further ones wait in the system's queue.
const CONNECTIONS: usize = 128;
/// A connection on which nothing moves for this long ends.
const IDLE: Duration = Duration::from_secs(30);
/// How long a listener that stops waits for requests in work.
const GOODBYE: Duration = Duration::from_secs(2);

/// Why a view has no answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}")]
pub struct ViewError {
    /// What was tried, for example `read the block at height 7`.
    pub operation: String,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// What the API shows. Implemented by the node.
///
/// [`Self::status`], [`Self::ready`], [`Self::peers`] and [`Self::metrics`] answer from memory: they are called on the
/// runtime's threads and must not block. The others may read the store; they are called on blocking threads, at most
/// eight at a time.
pub trait NodeView: Send + Sync + 'static {
    /// The node now.
    fn status(&self) -> StatusView;

    /// Whether the node does its work; the reason if not.
    ///
    /// # Errors
    /// A text for people, for example `the chain is stalled at height 7`.
    fn ready(&self) -> Result<(), String>;

    /// Connected peers by node id.
    fn peers(&self) -> Vec<PeerView>;

    /// Counts and gauges for Prometheus.
    fn metrics(&self) -> Metrics;

    /// At most `limit` final blocks below `before` (all, if `None`), newest first. Without the genesis.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn epochs(&self, before: Option<EpochNumber>, limit: usize) -> Result<Vec<EpochView>, ViewError>;

    /// One final block; `None` when there is none yet at this height.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn epoch(&self, epoch: EpochNumber) -> Result<Option<EpochView>, ViewError>;

    /// The newest epoch with final scores.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn newest_scored(&self) -> Result<Option<EpochNumber>, ViewError>;

    /// The final scores of an epoch in any order; empty when there are none.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn scores(&self, epoch: EpochNumber) -> Result<Vec<ScoreView>, ViewError>;

    /// At most `limit` payouts, newest settlement first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn payouts(&self, limit: usize) -> Result<Vec<PayoutView>, ViewError>;

    /// One payout.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn payout(&self, id: &PayoutId) -> Result<Option<PayoutView>, ViewError>;
}

/// Serves the API until `stop`. The node binds the listener, so that a port in use stops it before anything starts.
///
/// # Errors
/// When the listener cannot be used any more.
pub async fn serve(listener: TcpListener, view: Arc<dyn NodeView>, stop: CancellationToken) -> io::Result<()> {
    run(listener, routes::router(view), stop).await
}

/// Serves `GET /metrics` in Prometheus' text format until `stop`.
///
/// # Errors
/// When the listener cannot be used any more.
pub async fn serve_metrics(listener: TcpListener, view: Arc<dyn NodeView>, stop: CancellationToken) -> io::Result<()> {
    run(listener, metrics::router(view), stop).await
}

async fn run(listener: TcpListener, router: Router, stop: CancellationToken) -> io::Result<()> {
    let listener = Bounded::new(listener, CONNECTIONS, IDLE);
    let stopping = stop.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move { stopping.cancelled().await });
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(GOODBYE).await;
    };
    tokio::select! {
        served = server => served,
        () = overdue => Ok(()),
    }
}
