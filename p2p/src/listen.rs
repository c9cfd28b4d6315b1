//! The sockets that a mesh listens on: which of them this machine can have, and whether somebody else holds them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use libp2p::core::transport::TransportError;
use libp2p::{Multiaddr, Swarm};
use socket2::{Domain, Socket, Type};

use crate::addr::{self, Transport};
use crate::behaviour::Behaviour;
use crate::error::StartError;

/// Between two looks at a socket that is to be closed.
const LOOK: Duration = Duration::from_millis(20);

/// Listens on `address`.
pub(crate) fn listen(swarm: &mut Swarm<Behaviour>, address: Multiaddr) -> Result<(), StartError> {
    let text = address.to_string();
    let fail = |source: io::Error| {
        if source.kind() == io::ErrorKind::AddrInUse {
            StartError::PortInUse { address: text.clone(), source }
        } else {
            StartError::Listen { address: text.clone(), source }
        }
    };
    // libp2p shares TCP ports between sockets (SO_REUSEPORT), so two nodes on one port would both seem to work; and
    // what it says of a UDP port in use does not carry the system's error.
    if let Some((transport, socket)) = addr::socket(&address).filter(|(_, socket)| socket.port() != 0) {
        check_free(transport, socket).map_err(fail)?;
    }
    match swarm.listen_on(address) {
        Ok(_) => Ok(()),
        Err(TransportError::Other(e)) => Err(fail(e)),
        Err(TransportError::MultiaddrNotSupported(address)) => Err(StartError::Address {
            field: "listen",
            address: address.to_string(),
            problem: "an IP address is needed to listen on".to_owned(),
        }),
    }
}

/// Leaves out the addresses of every interface in an IP family that this machine does not have, and says so: that both families are asked
/// for is the default, and says nothing of this machine. Without any other address to listen on, all stay, and the first one's error is told.
pub(crate) fn of_this_machine(addresses: Vec<Multiaddr>, has: impl Fn(IpAddr) -> bool) -> Vec<Multiaddr> {
    let is_missing = |address: &Multiaddr| addr::ip(address).is_some_and(|ip| ip.is_unspecified() && !has(ip));
    if addresses.iter().all(is_missing) {
        return addresses;
    }
    let (missing, there): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_missing);
    for address in missing {
        let family = if addr::ip(&address).is_some_and(|ip| ip.is_ipv6()) { "IPv6" } else { "IPv4" };
        tracing::info!(%address, "this machine has no {family}; the node does not listen there");
    }
    there
}

/// Whether this machine has the IP family of an address that stands for every interface.
pub(crate) fn has_family(every: IpAddr) -> bool {
    check_free(Transport::Quic, SocketAddr::new(every, 0)).is_ok()
}

/// Waits until a mesh that has ended has closed its sockets on these addresses: QUIC closes them a moment later, when its connections
/// are. False if one is still open after `limit`.
pub async fn wait_until_free(listen: &[String], limit: Duration) -> bool {
    let sockets: Vec<_> = listen.iter().filter_map(|text| addr::socket(&text.parse().ok()?)).collect();
    let all_free = async {
        for (transport, socket) in sockets {
            while check_free(transport, socket).is_err() {
                tokio::time::sleep(LOOK).await;
            }
        }
    };
    tokio::time::timeout(limit, all_free).await.is_ok()
}

fn check_free(transport: Transport, address: SocketAddr) -> io::Result<()> {
    let kind = match transport {
        Transport::Tcp => Type::STREAM,
        Transport::Quic => Type::DGRAM,
    };
    let probe = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        // As libp2p's sockets: without it `[::]` takes IPv4's port, too.
        probe.set_only_v6(true)?;
    }
    if transport == Transport::Tcp {
        // Connections of an earlier run that linger in TIME_WAIT do not count; a listener does.
        probe.set_reuse_address(true)?;
    }
    probe.bind(&address.into())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_family_that_the_machine_does_not_have_is_left_out() {
        let (v4, v6, loopback) = ("/ip4/0.0.0.0/tcp/7001", "/ip6/::/udp/7001/quic-v1", "/ip6/::1/tcp/7001");
        let left = |addresses: &[&str], has: fn(IpAddr) -> bool| {
            let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
            of_this_machine(addresses, has).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(left(&[v4, v6], |_| true), [v4, v6]);
        assert_eq!(left(&[v4, v6], |ip| ip.is_ipv4()), [v4]);
        assert_eq!(left(&[v4, v6], |ip| ip.is_ipv6()), [v6]);
        assert_eq!(left(&[v6], |ip| ip.is_ipv4()), [v6], "a node that listens nowhere is not what was asked for");
        assert_eq!(left(&[v4, loopback], |ip| ip.is_ipv4()), [v4, loopback], "nobody names this one by default");
        assert!(has_family([127, 0, 0, 1].into()), "negative control");
    }
}
