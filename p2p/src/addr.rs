//! Multiaddresses: reading them from configuration, and which of those that peers claim are worth dialling.

use std::net::{IpAddr, SocketAddr};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use lucid_types::id::PublicKey;
use lucid_types::network_group::NetworkGroup;

use crate::error::StartError;
use crate::identity::to_public_key;
use crate::manager::{Address, Group};

/// How a connection is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP with Noise and Yamux.
    Tcp,
    /// QUIC v1.
    Quic,
}

/// Reads an address to listen on or to announce.
pub(crate) fn parse(field: &'static str, text: &str) -> Result<Multiaddr, StartError> {
    let fail = |problem: String| StartError::Address { field, address: text.to_owned(), problem };
    let address = multiaddr(field, text)?;
    if transport(&address).is_none() {
        let wanted =
            "wanted: /ip4/ADDRESS/tcp/PORT or /ip4/ADDRESS/udp/PORT/quic-v1 (ip6, dns4, dns6 and dns likewise)";
        return Err(fail(wanted.to_owned()));
    }
    Ok(address)
}

fn multiaddr(field: &'static str, text: &str) -> Result<Multiaddr, StartError> {
    let fail = |e: libp2p::multiaddr::Error| e.to_string();
    text.parse().map_err(|e| StartError::Address { field, address: text.to_owned(), problem: fail(e) })
}

/// Reads an address to dial: like [`parse`], and it must end in `/p2p/<peer id>`. `/dnsaddr/NAME/p2p/<peer id>` stands for
/// the addresses of this peer in the TXT records of `_dnsaddr.NAME`, which are asked for at each dial.
pub(crate) fn parse_with_peer(field: &'static str, text: &str) -> Result<(PeerId, Multiaddr), StartError> {
    let address = match multiaddr(field, text)? {
        name if is_name_of_addresses(&name) => name,
        _ => parse(field, text)?,
    };
    match split_peer(address) {
        (Some(peer), address) => Ok((peer, address)),
        (None, _) => Err(StartError::Address {
            field,
            address: text.to_owned(),
            problem: "it must end in /p2p/<peer id>; `lucid status` of that node shows it".to_owned(),
        }),
    }
}

/// The node of a bootstrap address.
///
/// # Errors
/// [`StartError::Address`]: the address is none that a mesh can start from.
pub fn bootstrap_node(text: &str) -> Result<PublicKey, StartError> {
    let (peer, _) = parse_with_peer("bootstrap", text)?;
    to_public_key(&peer).ok_or_else(|| StartError::Address {
        field: "bootstrap",
        address: text.to_owned(),
        problem: "its peer id is not that of an ed25519 key, which nodes have".to_owned(),
    })
}

/// Whether only this machine, or others in the same private network, can reach an address that says where it is.
pub fn is_private_address(text: &str) -> bool {
    let address = text.parse::<Multiaddr>();
    address.is_ok_and(|address| ip(&address).is_some() && !dialable(&address, false) && dialable(&address, true))
}

/// The group of networks (IPv4 /24 or IPv6 /48) of an address that begins with an IP address: one party can cheaply have many addresses
/// of one.
pub fn address_group(text: &str) -> Option<String> {
    ip(&text.parse().ok()?).map(|ip| Group::of(ip).to_string())
}

fn is_name_of_addresses(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    matches!(parts.next(), Some(Protocol::Dnsaddr(_)))
        && matches!((parts.next(), parts.next()), (None | Some(Protocol::P2p(_)), None))
}

/// Takes a trailing `/p2p/<peer id>` off.
pub(crate) fn split_peer(mut address: Multiaddr) -> (Option<PeerId>, Multiaddr) {
    match address.pop() {
        Some(Protocol::P2p(peer)) => (Some(peer), address),
        Some(other) => {
            address.push(other);
            (None, address)
        }
        None => (None, address),
    }
}

/// The transport of an address; `None` if we do not speak it (relayed addresses among them). One `/p2p/<peer id>` may stand at its end:
/// with more, it says nothing certain of who is there.
pub(crate) fn transport(address: &Multiaddr) -> Option<Transport> {
    let (_, address) = split_peer(address.clone());
    let mut parts = address.iter();
    let host = parts.next()?;
    let known =
        matches!(host, Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_));
    match (known, parts.next()?, parts.next(), parts.next()) {
        (true, Protocol::Tcp(_), None, None) => Some(Transport::Tcp),
        (true, Protocol::Udp(_), Some(Protocol::QuicV1), None) => Some(Transport::Quic),
        _ => None,
    }
}

/// The IP address at the front, if it is one.
pub(crate) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

impl Address for Multiaddr {
    fn ip(&self) -> Option<IpAddr> {
        ip(self)
    }
}

/// The IP address of the other end of a connection; `None` if that is a relay's, which says nothing of the peer.
pub(crate) fn own_ip(address: &Multiaddr) -> Option<IpAddr> {
    ip(address).filter(|_| !address.iter().any(|part| part == Protocol::P2pCircuit))
}

/// Transport, IP address and port, if the address starts with an IP address.
pub(crate) fn socket(address: &Multiaddr) -> Option<(Transport, SocketAddr)> {
    let port = match address.iter().nth(1)? {
        Protocol::Tcp(port) | Protocol::Udp(port) => port,
        _ => return None,
    };
    Some((transport(address)?, SocketAddr::new(ip(address)?, port)))
}

/// Whether it makes sense to dial `address` from here when a stranger names it. In networks that are not `local` only globally routed IP
/// addresses are: anybody could name a machine of this private network, or have this node resolve names of their choice.
pub(crate) fn dialable(address: &Multiaddr, local: bool) -> bool {
    if transport(address).is_none() || has_port_zero(address) {
        return false;
    }
    match ip(address) {
        None => local,
        Some(ip) if ip.is_unspecified() || ip.is_multicast() => false,
        Some(ip) => local || is_global(ip),
    }
}

/// Whether `ip` is routed globally, and stands for no address inside another one that is not.
fn is_global(ip: IpAddr) -> bool {
    let of = |ip| NetworkGroup::of(ip).is_some();
    match ip {
        IpAddr::V4(_) => of(ip),
        IpAddr::V6(v6) => match v6.segments() {
            // IPv4-mapped, and Teredo.
            [0, 0, 0, 0, 0, 0xffff, ..] | [0x2001, 0, ..] => false,
            // 6to4: packets may go to the IPv4 address itself.
            [0x2002, high, low, ..] => {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                of(IpAddr::from([a, b, c, d]))
            }
            _ => of(ip),
        },
    }
}

fn has_port_zero(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Tcp(0) | Protocol::Udp(0)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn only_tcp_and_quic_are_read() {
        for good in ["/ip4/1.2.3.4/tcp/80", "/ip6/::1/udp/4/quic-v1", "/dns4/example.org/tcp/1"] {
            assert!(parse("listen", good).is_ok(), "{good}");
            assert!(parse_with_peer("bootstrap", &format!("{good}/p2p/{PEER}")).is_ok(), "{good}");
            let error = parse_with_peer("bootstrap", good).unwrap_err().to_string();
            assert!(error.contains("bootstrap") && error.contains("/p2p/"), "{error}");
        }
        let relayed = format!("/ip4/1.2.3.4/tcp/80/p2p/{PEER}/p2p-circuit");
        for bad in ["", "127.0.0.1:80", "/ip4/1.2.3.4", "/ip4/1.2.3.4/udp/1", "/ip4/1.2.3.4/tcp/1/ws", &relayed] {
            assert!(parse("listen", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn at_most_one_peer_id_ends_an_address() {
        for good in
            ["/ip4/1.2.3.4/tcp/80", "/ip4/1.2.3.4/udp/80/quic-v1", "/dns4/example.org/tcp/80", "/dnsaddr/example.org"]
        {
            let one = format!("{good}/p2p/{PEER}");
            assert!(parse_with_peer("bootstrap", &one).is_ok(), "{one}");
            let two = format!("{one}/p2p/{PEER}");
            assert!(parse_with_peer("bootstrap", &two).is_err(), "{two}");
            assert!(!dialable(&two.parse().unwrap(), true), "{two}");
        }
    }

    #[test]
    fn a_name_stands_for_the_addresses_of_one_peer() {
        let name = format!("/dnsaddr/example.org/p2p/{PEER}");
        let (peer, address) = parse_with_peer("bootstrap", &name).unwrap();
        assert_eq!((peer.to_string(), address.to_string()), (PEER.to_owned(), "/dnsaddr/example.org".to_owned()));
        assert_eq!(bootstrap_node(&name).unwrap(), to_public_key(&peer).unwrap());
        for bad in ["/dnsaddr/example.org", &format!("/dnsaddr/example.org/tcp/1/p2p/{PEER}")] {
            assert!(parse_with_peer("bootstrap", bad).is_err(), "{bad}");
        }
        assert!(parse("listen", &name).is_err());
    }

    #[test]
    fn an_address_says_whether_it_is_private() {
        for private in ["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.2/udp/1/quic-v1", "/ip6/::1/tcp/1"] {
            assert!(is_private_address(&format!("{private}/p2p/{PEER}")), "{private}");
        }
        for public in
            ["/ip4/8.8.8.8/tcp/1", "/dns4/example.org/tcp/1", "/dnsaddr/example.org", "/ip4/0.0.0.0/tcp/1", "x"]
        {
            assert!(!is_private_address(public), "{public}");
        }
    }

    #[test]
    fn private_addresses_are_dialable_in_local_networks_only() {
        for (text, public, local) in [
            ("/ip4/127.0.0.1/tcp/1", false, true),
            ("/ip4/10.0.0.1/udp/1/quic-v1", false, true),
            ("/ip4/8.8.8.8/tcp/1", true, true),
            ("/ip4/8.8.8.8/tcp/0", false, false),
            ("/ip4/0.0.0.0/tcp/1", false, false),
            ("/ip4/224.0.0.1/udp/1/quic-v1", false, false),
            ("/ip6/fe80::1/tcp/1", false, true),
            ("/ip4/8.8.8.8/udp/1", false, false),
            ("/ip4/100.64.0.1/tcp/1", false, true),
            ("/ip4/169.254.1.1/tcp/1", false, true),
            ("/ip4/192.168.1.1/tcp/1", false, true),
            ("/ip6/::1/tcp/1", false, true),
            ("/ip6/fd00::1/tcp/1", false, true),
            ("/ip6/::ffff:127.0.0.1/tcp/1", false, true),
            ("/ip6/::ffff:8.8.8.8/tcp/1", false, true),
            ("/ip6/64:ff9b::7f00:1/tcp/1", false, true),
            ("/ip6/2002:7f00:1::1/tcp/1", false, true),
            ("/ip6/2002:808:808::1/tcp/1", true, true),
            ("/ip6/2001:0:808:808::1/tcp/1", false, true),
            ("/ip6/2606:4700::1111/udp/1/quic-v1", true, true),
            ("/dns/example.org/tcp/1", false, true),
            ("/dns4/example.org/tcp/1", false, true),
            ("/dns6/example.org/udp/1/quic-v1", false, true),
            ("/dnsaddr/example.org", false, false),
        ] {
            let address = text.parse().unwrap();
            assert_eq!((dialable(&address, false), dialable(&address, true)), (public, local), "{text}");
        }
    }
}
