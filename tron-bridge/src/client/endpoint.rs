//! One endpoint of a provider group: its URL, its key, and whether it is worth asking now.
//!
//! An endpoint that failed rests for a while that grows with each failure, and for as long as the failure took at least; then
//! one request tries it, and the others pass it over meanwhile. So a dead endpoint costs one time-out now and then instead of
//! one for each request, also where requests follow each other slowly.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::OnceCell;

use super::config::{ApiKey, EndpointConfig};
use super::error::ClientError;

/// Rest after the first failure.
const FIRST_REST: Duration = Duration::from_secs(1);
/// Longest rest, and the rest of an endpoint of another network.
const LONGEST_REST: Duration = Duration::from_secs(300);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Endpoint {
    /// Of its own, so that its key goes to its host alone.
    pub(super) http: reqwest::Client,
    pub(super) url: Url,
    /// Scheme, host and port: for logs and errors.
    pub(super) label: String,
    /// Set once its block 0 was seen to be the pinned one.
    pub(super) pinned: OnceCell<()>,
    /// Never held across an await.
    health: Mutex<Health>,
}

#[derive(Debug, Default)]
struct Health {
    n_failures: u32,
    /// When the last failure was noted.
    failed_at: Option<Instant>,
    rest_until: Option<Instant>,
    /// The status with which it asked for fewer requests.
    limited: Option<u16>,
}

/// Whether to ask an endpoint now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    Ask,
    /// It failed lately: ask another one first.
    Rest,
    /// It limits requests: do not ask it.
    Wait {
        status: u16,
        rest: Duration,
    },
}

impl Endpoint {
    pub(super) fn new(config: &EndpointConfig, timeout: Duration) -> Result<Self, ClientError> {
        let wrong = || ClientError::Url { url: config.url.clone() };
        let url = Url::parse(&config.url).map_err(|_| wrong())?;
        let host = url.host_str().ok_or_else(wrong)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong());
        }
        let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
        let label = format!("{}://{host}{port}", url.scheme());
        let is_local = is_local(host);
        let mut headers = HeaderMap::new();
        if let Some(key) = &config.api_key {
            if url.scheme() == "http" && !is_local {
                return Err(ClientError::KeyInClear { endpoint: label });
            }
            headers.insert(HeaderName::from_static("tron-pro-api-key"), key_header(key)?);
        }
        let mut http = reqwest::Client::builder();
        if is_local {
            // A proxy for the world knows nothing of this machine's own ports.
            http = http.no_proxy();
        }
        let http = http
            .default_headers(headers)
            .timeout(timeout)
            .connect_timeout(timeout.min(CONNECT_TIMEOUT))
            // A redirect would carry the key and a signed transaction to a host nobody named.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(ClientError::Setup)?;
        Ok(Self { http, url, label, pinned: OnceCell::new(), health: Mutex::default() })
    }

    /// Whether to ask it now. [`Advice::Ask`] after a rest is given once: the caller tries it for all others.
    pub(super) fn advice(&self, now: Instant) -> Advice {
        let mut health = self.health();
        match health.rest_until.and_then(|until| until.checked_duration_since(now)) {
            Some(rest) if rest > Duration::ZERO => match health.limited {
                Some(status) => Advice::Wait { status, rest },
                None => Advice::Rest,
            },
            _ => {
                let rest = rest_after(health.n_failures);
                health.rest_until = rest.and_then(|rest| now.checked_add(rest));
                Advice::Ask
            }
        }
    }

    /// Notes how a request that began at `started` ended.
    pub(super) fn note(&self, error: Option<&ClientError>, started: Instant, now: Instant) {
        let mut health = self.health();
        let Some(error) = error.filter(|error| error.is_of_endpoint()) else {
            *health = Health::default();
            return;
        };
        // Requests that were under way together failed for one reason, and count once.
        if health.failed_at.is_none_or(|failed| started >= failed) {
            health.n_failures = health.n_failures.saturating_add(1);
        }
        health.failed_at = Some(now);
        let rest = match error {
            ClientError::OtherNetwork { .. } => Some(LONGEST_REST),
            _ => {
                let took = now.saturating_duration_since(started);
                error.retry_after().or_else(|| rest_after(health.n_failures).map(|rest| rest.max(took)))
            }
        };
        health.rest_until = rest.and_then(|rest| now.checked_add(rest));
        health.limited = match error {
            ClientError::Limited { status, .. } => Some(*status),
            _ => None,
        };
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// None without a failure.
fn rest_after(n_failures: u32) -> Option<Duration> {
    let doublings = n_failures.checked_sub(1)?;
    let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
    Some(FIRST_REST.saturating_mul(factor).min(LONGEST_REST))
}

/// Whether a host is this machine.
fn is_local(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn key_header(key: &ApiKey) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(key.expose()).map_err(|_| ClientError::ApiKey)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn endpoint(url: &str, api_key: Option<&str>) -> Result<Endpoint, ClientError> {
        let config = EndpointConfig { url: url.into(), api_key: api_key.map(ApiKey::new) };
        Endpoint::new(&config, Duration::from_secs(1))
    }

    fn failure() -> ClientError {
        ClientError::Status { endpoint: "e".into(), call: "c", status: 500, excerpt: String::new() }
    }

    #[test]
    fn a_key_never_goes_over_plain_http_but_to_this_machine() {
        for url in ["http://example.org", "http://10.0.0.1:8090", "http://localhost.example.org", "http://[::2]"] {
            let error = endpoint(url, Some("secret")).unwrap_err();
            assert!(matches!(error, ClientError::KeyInClear { .. }), "{url}: {error}");
            let text = error.to_string();
            assert!(text.contains("https") && !text.contains("secret"), "{text}");
            endpoint(url, None).unwrap();
        }
        for url in ["https://example.org", "http://127.0.0.1:8090", "http://localhost", "http://[::1]:1"] {
            endpoint(url, Some("secret")).unwrap();
        }
    }

    #[test]
    fn rests_grow_and_one_request_tries_after_each() {
        let endpoint = endpoint("http://localhost", None).unwrap();
        let mut now = Instant::now();
        assert_eq!(endpoint.advice(now), Advice::Ask);
        for seconds in [1, 2, 4, 8] {
            endpoint.note(Some(&failure()), now, now);
            now += Duration::from_millis(seconds * 1_000 - 1);
            assert_eq!(endpoint.advice(now), Advice::Rest, "{seconds}");
            now += Duration::from_millis(1);
            assert_eq!((endpoint.advice(now), endpoint.advice(now)), (Advice::Ask, Advice::Rest), "{seconds}");
        }
        endpoint.note(None, now, now);
        assert_eq!((endpoint.advice(now), endpoint.advice(now)), (Advice::Ask, Advice::Ask));
        assert_eq!(rest_after(40), Some(LONGEST_REST));
    }

    #[test]
    fn failures_of_one_moment_count_once() {
        let endpoint = endpoint("http://localhost", None).unwrap();
        let now = Instant::now();
        for _ in 0..10 {
            endpoint.note(Some(&failure()), now, now + Duration::from_millis(5));
        }
        assert_eq!(endpoint.advice(now + Duration::from_millis(1_006)), Advice::Ask);
    }

    #[test]
    fn what_takes_long_to_fail_rests_as_long() {
        let endpoint = endpoint("http://localhost", None).unwrap();
        let (started, failed) = (Instant::now(), Instant::now() + Duration::from_secs(10));
        endpoint.note(Some(&failure()), started, failed);
        assert_eq!(endpoint.advice(failed + Duration::from_secs(9)), Advice::Rest);
        assert_eq!(endpoint.advice(failed + Duration::from_secs(11)), Advice::Ask);
    }

    #[test]
    fn a_refusal_says_nothing_against_the_endpoint() {
        let endpoint = endpoint("http://localhost", None).unwrap();
        let now = Instant::now();
        let (code, message) = ("CONTRACT_VALIDATE_ERROR".into(), String::new());
        let refused = ClientError::Refused { endpoint: "e".into(), call: "c", code, message };
        endpoint.note(Some(&refused), now, now);
        assert_eq!(endpoint.advice(now), Advice::Ask);
    }

    #[test]
    fn a_limit_is_kept() {
        let endpoint = endpoint("http://localhost", None).unwrap();
        let now = Instant::now();
        let retry_after = Some(Duration::from_secs(30));
        endpoint.note(Some(&ClientError::Limited { endpoint: "e".into(), status: 429, retry_after }), now, now);
        let wait = Advice::Wait { status: 429, rest: Duration::from_secs(30) };
        assert_eq!(endpoint.advice(now), wait);
        assert_eq!(endpoint.advice(now + Duration::from_secs(30)), Advice::Ask);
    }
}
