//! How the endpoints of a provider group stand in for each other.
//!
//! They are asked in order, those that failed lately last, those that limit requests not at all (see [`super::endpoint`]). Every
//! endpoint shows its block 0 before it is asked for anything else.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use futures::future::join_all;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use lucid_types::id::SolidBlockId;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::block::BlockJson;
use super::config::ClientConfig;
use super::endpoint::{Advice, Endpoint};
use super::error::ClientError;
use super::reply::Problem;
use super::transport::{self, Call};

pub(super) const BLOCK: &str = "/wallet/getblock";

/// Most bytes of an answer about a block: its receipts, or the block itself from a node that overlooks that only the header is
/// wanted.
pub(super) const MAX_BLOCK_BYTES: usize = 32 << 20;

#[derive(Debug)]
pub(super) struct Group {
    endpoints: Vec<Endpoint>,
    limiter: Option<DefaultDirectRateLimiter>,
    genesis: OnceLock<SolidBlockId>,
    retries: usize,
}

impl Group {
    pub(super) fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let endpoints =
            config.endpoints.iter().map(|e| Endpoint::new(e, config.timeout)).collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(ClientError::NoEndpoint);
        }
        let limiter = config.requests_per_s.map(|n| RateLimiter::direct(Quota::per_second(n)));
        let genesis = config.genesis.map(OnceLock::from).unwrap_or_default();
        Ok(Self { endpoints, limiter, genesis, retries: config.retries })
    }

    pub(super) fn label(&self) -> String {
        self.endpoints.iter().map(|endpoint| endpoint.label.as_str()).collect::<Vec<_>>().join("|")
    }

    pub(super) fn pin(&self, genesis: SolidBlockId) {
        self.genesis.get_or_init(|| genesis);
    }

    pub(super) async fn genesis_block_id(&self) -> Result<SolidBlockId, ClientError> {
        self.ask_each(&|endpoint| self.read_genesis(endpoint)).await
    }

    /// Asks the endpoints in turn, and all again after a pause while it can help.
    pub(super) async fn ask<'a, T, F>(&'a self, request: impl Fn(&'a Endpoint) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .with_max_times(self.retries)
            .with_jitter();
        (|| self.ask_each(&request))
            .retry(backoff)
            .when(ClientError::is_passing)
            .adjust(|error, pause| pause.map(|p| error.retry_after().map_or(p, |wanted| wanted.max(p))))
            .notify(|error, pause| tracing::debug!(%error, pause_ms = pause.as_millis(), "TRON request is repeated"))
            .await
    }

    async fn ask_each<'a, T, F>(&'a self, request: &impl Fn(&'a Endpoint) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut worst = None;
        let mut resting = Vec::new();
        for endpoint in &self.endpoints {
            match endpoint.advice(Instant::now()) {
                Advice::Ask => match noted(endpoint, request(endpoint)).await {
                    Err(error) if error.is_of_endpoint() => keep_worst(&mut worst, error),
                    answer => return answer,
                },
                Advice::Rest => resting.push(endpoint),
                Advice::Wait { status, rest } => keep_worst(&mut worst, limited(endpoint, status, rest)),
            }
        }
        // None of the others was of use, so those that failed lately get their chance.
        for endpoint in resting {
            match noted(endpoint, request(endpoint)).await {
                Err(error) if error.is_of_endpoint() => keep_worst(&mut worst, error),
                answer => return answer,
            }
        }
        Err(worst.unwrap_or(ClientError::NoEndpoint))
    }

    /// Asks every endpoint that is worth asking, at once and once, and returns the answers, of which there is at least one, with an
    /// error of an endpoint that may have done what it was asked all the same.
    pub(super) async fn ask_all<T>(
        &self,
        call: Call<'_>,
        read: &impl Fn(&Endpoint, &[u8]) -> Result<T, ClientError>,
    ) -> Result<(Vec<T>, Option<ClientError>), ClientError> {
        let (mut ready, mut resting, mut worst) = (Vec::new(), Vec::new(), None);
        for endpoint in &self.endpoints {
            match endpoint.advice(Instant::now()) {
                Advice::Ask => ready.push(endpoint),
                Advice::Rest => resting.push(endpoint),
                Advice::Wait { status, rest } => keep_worst(&mut worst, limited(endpoint, status, rest)),
            }
        }
        let endpoints = if ready.is_empty() { resting } else { ready };
        let asked = endpoints.into_iter().map(|endpoint| noted(endpoint, self.ask_one(endpoint, call, read)));
        let (mut answers, mut unclear) = (Vec::new(), None);
        for answer in join_all(asked).await {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(error) if error.may_have_worked() => keep_worst(&mut unclear, error),
                Err(error) => keep_worst(&mut worst, error),
            }
        }
        if answers.is_empty() {
            Err(unclear.or(worst).unwrap_or(ClientError::NoEndpoint))
        } else {
            Ok((answers, unclear))
        }
    }

    async fn ask_one<T>(
        &self,
        endpoint: &Endpoint,
        call: Call<'_>,
        read: &impl Fn(&Endpoint, &[u8]) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let body = self.post(endpoint, call).await?;
        read(endpoint, &body)
    }

    /// Asks this endpoint.
    pub(super) async fn read<T, R: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        call: Call<'_>,
        read: impl Fn(R) -> Result<T, Problem>,
    ) -> Result<T, ClientError> {
        let body = self.post(endpoint, call).await?;
        transport::read(&endpoint.label, call.path, &body, read)
    }

    async fn post(&self, endpoint: &Endpoint, call: Call<'_>) -> Result<Vec<u8>, ClientError> {
        if let Some(&expected) = self.genesis.get() {
            let check = async || {
                let found = self.read_genesis(endpoint).await?;
                if found == expected {
                    Ok(())
                } else {
                    Err(ClientError::OtherNetwork { endpoint: endpoint.label.clone(), expected, found })
                }
            };
            endpoint.pinned.get_or_try_init(check).await?;
        }
        self.post_unchecked(endpoint, call).await
    }

    async fn read_genesis(&self, endpoint: &Endpoint) -> Result<SolidBlockId, ClientError> {
        let body = json!({ "id_or_num": "0", "detail": false });
        let call = Call { path: BLOCK, body: &body, max_bytes: MAX_BLOCK_BYTES };
        let body = self.post_unchecked(endpoint, call).await?;
        transport::read(&endpoint.label, BLOCK, &body, BlockJson::claimed_id)
    }

    async fn post_unchecked(&self, endpoint: &Endpoint, call: Call<'_>) -> Result<Vec<u8>, ClientError> {
        if let Some(limiter) = &self.limiter {
            limiter.until_ready().await;
        }
        transport::post(endpoint, call).await
    }
}

/// Asks one endpoint and notes how it went.
async fn noted<T>(
    endpoint: &Endpoint,
    request: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    let started = Instant::now();
    let answer = request.await;
    let error = answer.as_ref().err();
    endpoint.note(error, started, Instant::now());
    if let Some(error) = error {
        tracing::debug!(endpoint = endpoint.label, %error, "TRON request failed");
    }
    answer
}

fn limited(endpoint: &Endpoint, status: u16, rest: Duration) -> ClientError {
    ClientError::Limited { endpoint: endpoint.label.clone(), status, retry_after: Some(rest) }
}

/// Keeps the first error that may pass by itself, or else the first.
fn keep_worst(worst: &mut Option<ClientError>, error: ClientError) {
    if worst.as_ref().is_none_or(|kept| !kept.is_passing() && error.is_passing()) {
        *worst = Some(error);
    }
}
