//! Requests for other servers are refused: a page of another site that has its name resolved to this machine (DNS rebinding) could
//! otherwise read what the API answers, and act with it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use super::reply::Failure;

/// The names under which a listener may be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hosts {
    listen: SocketAddr,
}

impl Hosts {
    /// Those of a bound listener.
    ///
    /// # Errors
    /// The system does not know its address.
    pub(super) fn of(listener: &TcpListener) -> io::Result<Self> {
        Ok(Self { listen: listener.local_addr()? })
    }

    /// Whether a host, with or without a port, means this listener: its address, one of the loopback, or `localhost`. Ports do not count:
    /// they may be forwarded, and no name hides behind them.
    fn has(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        match name.parse::<IpAddr>() {
            Ok(ip) => ip.is_loopback() || ip == self.listen.ip(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        }
    }
}

/// Lets requests for this listener through.
pub(super) async fn check(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let in_uri = request.uri().authority().map(Authority::as_str);
    match in_uri.or(named) {
        Some(host) if hosts.has(host) => next.run(request).await,
        found => {
            let found = found.unwrap_or_default();
            Failure::OtherHost(format!(
                "the request is for the host {found:?}, and this is the API at {}: ask for that address, or for localhost",
                hosts.listen
            ))
            .into_response()
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_listener_has_its_address_and_the_names_of_the_loopback() {
        let hosts = |listen: &str| Hosts { listen: listen.parse().unwrap() };
        let loopback = hosts("127.0.0.1:7700");
        for host in
            ["127.0.0.1", "127.0.0.1:7700", "127.0.0.1:1", "localhost", "LOCALHOST:7700", "[::1]:7700", "127.0.0.2"]
        {
            assert!(loopback.has(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "user@evil.example",
            "0.0.0.0",
        ] {
            assert!(!loopback.has(host), "{host}");
        }
        let other = hosts("[fd00::1]:7700");
        assert!(other.has("[fd00::1]:80") && other.has("localhost") && !other.has("[fd00::2]"));
    }
}
