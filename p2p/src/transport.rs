//! How connections are carried: TCP with Noise and Yamux, and QUIC, under the resolution of names; and which addresses are dialled at all.
//!
//! ```text
//!  swarm -> time-out -> filter (names) -> resolution -> filter (IP addresses) -> TCP, QUIC
//! ```
//!
//! Behaviours dial what strangers tell them (Kademlia whom a lookup has named), and a name may resolve to anything. So the
//! last word is here, whoever has named an address.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::Transport;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, dns, noise, quic, tcp, yamux};

use crate::addr;
use crate::config::Timing;
use crate::counters::Counters;
use crate::error::StartError;

/// Streams of one connection: room for all requests that two peers may have under way, in all protocols and either direction, and for
/// what else they say. Of each one that nobody reads, 256 KiB may wait over TCP: libp2p lets Yamux's windows be bounded by this alone.
const MAX_STREAMS: usize = 128;
/// Bytes that may wait on one QUIC stream and on one QUIC connection, because nobody has read them.
const QUIC_STREAM_WINDOW: u32 = 2 << 20;
const QUIC_WINDOW: u32 = 8 << 20;

/// What carries connections, and whose they are.
pub(crate) type Carrier = Boxed<(PeerId, StreamMuxerBox)>;

/// Which addresses are dialled.
#[derive(Clone, Debug)]
pub(crate) struct DialPolicy {
    /// Whether a stranger may name private addresses, and names.
    local: bool,
    /// Those of the configuration, without peer ids: its author may dial what they like.
    configured: Arc<HashSet<Multiaddr>>,
    counters: Arc<Counters>,
}

impl DialPolicy {
    pub(crate) fn new(local: bool, configured: impl IntoIterator<Item = Multiaddr>, counters: Arc<Counters>) -> Self {
        Self { local, configured: Arc::new(configured.into_iter().collect()), counters }
    }

    fn allows(&self, address: &Multiaddr) -> bool {
        let allowed = self.local
            || addr::dialable(address, false)
            || self.configured.contains(&addr::split_peer(address.clone()).1);
        if !allowed {
            self.counters.add("connections", "address-not-dialled");
        }
        allowed
    }
}

/// A transport that dials what the policy allows; everything else is an address that it does not support.
struct Filter {
    inner: Carrier,
    policy: DialPolicy,
}

impl Transport for Filter {
    type Output = <Carrier as Transport>::Output;
    type Error = <Carrier as Transport>::Error;
    type ListenerUpgrade = <Carrier as Transport>::ListenerUpgrade;
    type Dial = <Carrier as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<Self::Error>> {
        if self.policy.allows(&address) {
            self.inner.dial(address, options)
        } else {
            Err(TransportError::MultiaddrNotSupported(address))
        }
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// The transport of the node `key`. Without `resolve` the machine cannot resolve names: those are not dialled then.
pub(crate) fn carrier(
    key: &Keypair,
    timing: Timing,
    policy: DialPolicy,
    resolve: impl FnOnce(Carrier) -> io::Result<Carrier>,
) -> Result<Carrier, StartError> {
    let filter = |inner| Filter { inner, policy: policy.clone() }.boxed();
    let carrier = match resolve(filter(sockets(key, timing)?)) {
        Ok(carrier) => carrier,
        Err(error) => {
            tracing::warn!(
                %error,
                "this machine names no name server: addresses with names (/dns4, /dns6, /dns, /dnsaddr) cannot be dialled until one \
                 stands in /etc/resolv.conf and the node is started again"
            );
            sockets(key, timing)?
        }
    };
    Ok(TransportTimeout::new(filter(carrier), timing.handshake).boxed())
}

/// With the name servers that the operating system names.
pub(crate) fn by_system(carrier: Carrier) -> io::Result<Carrier> {
    let resolved = dns::tokio::Transport::system(carrier)?;
    Ok(resolved.boxed())
}

fn sockets(key: &Keypair, timing: Timing) -> Result<Carrier, StartError> {
    let fail = |problem: noise::Error| StartError::Transport { transport: "TCP", problem: problem.to_string() };
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(MAX_STREAMS);
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key).map_err(fail)?)
        .multiplex(muxer);
    let mut config = quic::Config::new(key);
    config.max_idle_timeout = u32::try_from(timing.quic_idle.as_millis()).unwrap_or(u32::MAX);
    config.keep_alive_interval = timing.quic_idle / 3;
    config.max_concurrent_stream_limit = u32::try_from(MAX_STREAMS).unwrap_or(u32::MAX);
    config.max_stream_data = QUIC_STREAM_WINDOW;
    config.max_connection_data = QUIC_WINDOW;
    let quic = quic::tokio::Transport::new(config);
    let either = tcp.or_transport(quic);
    Ok(either
        .map(|either, _| match either {
            futures::future::Either::Left((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
            futures::future::Either::Right((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
        })
        .boxed())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;
    use lucid_types::id::NetworkId;
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::MeshConfig;

    /// `localhost` needs no name server.
    fn by_itself(carrier: Carrier) -> io::Result<Carrier> {
        let (servers, options) = (dns::ResolverConfig::default(), dns::ResolverOpts::default());
        Ok(dns::tokio::Transport::custom(carrier, servers, options).boxed())
    }

    #[tokio::test]
    async fn a_name_that_stands_for_a_private_address_reaches_nobody() {
        let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = trap.local_addr().unwrap().port();
        let name: Multiaddr = format!("/dns4/localhost/tcp/{port}").parse().unwrap();
        let timing = MeshConfig::new(NetworkId::from_bytes([7; 32])).timing();
        for local in [true, false] {
            let counters = Arc::new(Counters::default());
            let policy = DialPolicy::new(local, [name.clone()], Arc::clone(&counters));
            let key = Keypair::generate_ed25519();
            let mut carrier = carrier(&key, timing, policy, by_itself).unwrap();
            let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
            let dial = carrier.dial(name.clone(), options).unwrap();
            let is_reached = tokio::select! {
                _ = trap.accept() => true,
                _ = dial => false,
            };
            assert_eq!((is_reached, counters.snapshot().len()), (local, usize::from(!local)), "local: {local}");
        }
    }
}
