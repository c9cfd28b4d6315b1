//! How connections are carried: TCP with Noise and Yamux, and QUIC, under the resolution of names.

use std::io;

use libp2p::core::Transport as _;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, dns, noise, quic, tcp, yamux};

use crate::config::Timing;
use crate::error::StartError;

/// What carries connections, and whose they are.
pub(crate) type Carrier = Boxed<(PeerId, StreamMuxerBox)>;

/// The transport of the node `key`. Without `resolve` the machine cannot resolve names: those are not dialled then.
pub(crate) fn carrier(
    key: &Keypair,
    timing: Timing,
    resolve: impl FnOnce(Carrier) -> io::Result<Carrier>,
) -> Result<Carrier, StartError> {
    let carrier = match resolve(sockets(key, timing)?) {
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
    Ok(TransportTimeout::new(carrier, timing.handshake).boxed())
}

/// With the name servers that the operating system names.
pub(crate) fn by_system(carrier: Carrier) -> io::Result<Carrier> {
    let resolved = dns::tokio::Transport::system(carrier)?;
    Ok(resolved.boxed())
}

fn sockets(key: &Keypair, timing: Timing) -> Result<Carrier, StartError> {
    let fail = |problem: noise::Error| StartError::Transport { transport: "TCP", problem: problem.to_string() };
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key).map_err(fail)?)
        .multiplex(yamux::Config::default());
    let mut config = quic::Config::new(key);
    config.max_idle_timeout = u32::try_from(timing.quic_idle.as_millis()).unwrap_or(u32::MAX);
    config.keep_alive_interval = timing.quic_idle / 3;
    let quic = quic::tokio::Transport::new(config);
    let either = tcp.or_transport(quic);
    Ok(either
        .map(|either, _| match either {
            futures::future::Either::Left((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
            futures::future::Either::Right((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
        })
        .boxed())
}
