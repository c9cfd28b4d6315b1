//! Ports of a local network: where each listener goes, and holding the ports until the process that needs them starts.
//!
//! With a base port P the local TRON network listens on P and node i (validators first, from 0) on P+10+4i
//! peer-to-peer (TCP and UDP), +1 API, +2 metrics. Without one, free ports below the ephemeral range are taken, so
//! that an outgoing connection of another process cannot take the port of a node while that node is down.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// Listeners of one node, all on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePorts {
    /// Peer-to-peer: TCP, and UDP for QUIC.
    pub p2p: u16,
    /// HTTP API.
    pub api: u16,
    /// Metrics.
    pub metrics: u16,
}

/// Why ports cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The layout does not fit below 65536.
    #[error("--base-port {base} leaves no room for {nodes} nodes; the greatest that does is {greatest}")]
    NoRoom {
        /// The given base.
        base: u16,
        /// Nodes of the network.
        nodes: usize,
        /// The greatest base that works.
        greatest: u16,
    },
    /// Somebody else listens there.
    #[error("port {port} ({purpose}) cannot be used")]
    Taken {
        /// The port.
        port: u16,
        /// For example `validator-1 api`.
        purpose: String,
        /// What binding it said.
        #[source]
        source: std::io::Error,
    },
    /// Too many random ports were taken.
    #[error("found no free ports on 127.0.0.1")]
    NoneFree,
}

impl PortError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        matches!(self, Self::Taken { .. }).then(|| "stop what listens there or choose another --base-port".to_owned())
    }
}

/// From P to the first node's ports.
const FIRST_NODE: u32 = 10;
/// From one node's ports to the next one's.
const STRIDE: u32 = 4;

/// All listeners of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortLayout {
    /// The local TRON network.
    pub tron: u16,
    /// The nodes, in the order of the plan.
    pub nodes: Vec<NodePorts>,
}

impl PortLayout {
    /// The layout above `base`.
    ///
    /// # Errors
    /// It does not fit.
    pub fn above(base: u16, n_nodes: usize) -> Result<Self, PortError> {
        let last = FIRST_NODE + STRIDE * u32::try_from(n_nodes).unwrap_or(u32::MAX / 8);
        let greatest = u32::from(u16::MAX).saturating_sub(last);
        let no_room =
            || PortError::NoRoom { base, nodes: n_nodes, greatest: u16::try_from(greatest).unwrap_or(u16::MAX) };
        let port = |offset: u32| u16::try_from(u32::from(base) + offset).map_err(|_| no_room());
        let node = |i: usize| {
            let first = FIRST_NODE + STRIDE * u32::try_from(i).unwrap_or(u32::MAX / 8);
            Ok(NodePorts { p2p: port(first)?, api: port(first + 1)?, metrics: port(first + 2)? })
        };
        Ok(Self { tron: base, nodes: (0..n_nodes).map(node).collect::<Result<_, _>>()? })
    }
}

/// One bound port; it is free again when this is dropped.
#[derive(Debug)]
struct HeldPort {
    _tcp: TcpListener,
    _udp: Option<UdpSocket>,
}

/// The bound ports of one process.
#[derive(Debug)]
pub struct Lease {
    _held: Vec<HeldPort>,
}

/// The ports of a network, bound so that nobody else takes them before the processes start.
#[derive(Debug)]
pub struct Leases {
    /// Where everything will listen.
    pub layout: PortLayout,
    /// Drop it right before the local TRON network starts.
    pub tron: Lease,
    /// Drop each right before its node starts; in the order of the plan.
    pub nodes: Vec<Lease>,
}

impl Leases {
    /// Binds every port of `layout`; `names` are the nodes', for messages.
    ///
    /// # Errors
    /// Names the first port that is taken and what it is for.
    pub fn hold(layout: PortLayout, names: &[String]) -> Result<Self, PortError> {
        let tron = Lease { _held: vec![bind(layout.tron, false, "tron")?] };
        let mut nodes = Vec::with_capacity(layout.nodes.len());
        for (ports, name) in layout.nodes.iter().zip(names) {
            let held = vec![
                bind(ports.p2p, true, &format!("{name} peer-to-peer"))?,
                bind(ports.api, false, &format!("{name} API"))?,
                bind(ports.metrics, false, &format!("{name} metrics"))?,
            ];
            nodes.push(Lease { _held: held });
        }
        Ok(Self { layout, tron, nodes })
    }

    /// Finds and binds free ports for `n_nodes` nodes.
    ///
    /// # Errors
    /// None are free.
    pub fn find(n_nodes: usize) -> Result<Self, PortError> {
        let mut finder = Finder::new()?;
        let (tron, held) = finder.next(false)?;
        let tron_lease = Lease { _held: vec![held] };
        let (mut ports, mut leases) = (Vec::new(), Vec::new());
        for _ in 0..n_nodes {
            let (p2p, a) = finder.next(true)?;
            let (api, b) = finder.next(false)?;
            let (metrics, c) = finder.next(false)?;
            ports.push(NodePorts { p2p, api, metrics });
            leases.push(Lease { _held: vec![a, b, c] });
        }
        Ok(Self { layout: PortLayout { tron, nodes: ports }, tron: tron_lease, nodes: leases })
    }
}

fn bind(port: u16, udp: bool, purpose: &str) -> Result<HeldPort, PortError> {
    let taken = |source| PortError::Taken { port, purpose: purpose.into(), source };
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(taken)?;
    let udp = if udp { Some(UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).map_err(taken)?) } else { None };
    Ok(HeldPort { _tcp: tcp, _udp: udp })
}

/// Walks from a random place through the ports below the ephemeral range.
struct Finder {
    low: u16,
    high: u16,
    next: u16,
    left: u16,
}

impl Finder {
    fn new() -> Result<Self, PortError> {
        let (low, high) = (15_000, first_ephemeral().clamp(20_000, 60_000));
        let mut random = [0; 2];
        getrandom::fill(&mut random).map_err(|_| PortError::NoneFree)?;
        let next = low + u16::from_le_bytes(random) % (high - low);
        Ok(Self { low, high, next, left: high - low })
    }

    fn next(&mut self, udp: bool) -> Result<(u16, HeldPort), PortError> {
        while self.left > 0 {
            let port = self.next;
            self.left -= 1;
            self.next = if port + 1 < self.high { port + 1 } else { self.low };
            if let Ok(held) = bind(port, udp, "") {
                return Ok((port, held));
            }
        }
        Err(PortError::NoneFree)
    }
}

/// The first port that the system gives to outgoing connections; 32,768 where the system does not say.
fn first_ephemeral() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(32_768)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("node-{i}")).collect()
    }

    #[test]
    fn the_layout_above_a_base() {
        let layout = PortLayout::above(9000, 3).unwrap();
        assert_eq!(layout.tron, 9000);
        assert_eq!(layout.nodes[0], NodePorts { p2p: 9010, api: 9011, metrics: 9012 });
        assert_eq!(layout.nodes[2], NodePorts { p2p: 9018, api: 9019, metrics: 9020 });
    }

    #[test]
    fn a_base_that_leaves_no_room_names_the_greatest_that_does() {
        let error = PortLayout::above(65_500, 10).unwrap_err().to_string();
        assert!(error.contains("65485"), "{error}");
        PortLayout::above(65_485, 10).unwrap();
    }

    #[test]
    fn a_taken_port_is_named_with_its_purpose() {
        let free = Leases::find(1).unwrap();
        let layout = free.layout.clone();
        let error = Leases::hold(layout.clone(), &names(1)).unwrap_err();
        assert!(error.to_string().contains(&format!("port {} (tron)", layout.tron)), "{error}");
        // With all but the API's port given back, that one is named.
        let api = layout.nodes[0].api;
        drop(free);
        let _squatter = TcpListener::bind((Ipv4Addr::LOCALHOST, api)).unwrap();
        let error = Leases::hold(layout, &names(1)).unwrap_err().to_string();
        assert!(error.contains(&format!("port {api} (node-0 API)")), "{error}");
    }

    #[test]
    fn a_udp_port_counts_as_taken() {
        let free = Leases::find(1).unwrap();
        let layout = free.layout.clone();
        drop(free);
        let p2p = layout.nodes[0].p2p;
        let _squatter = UdpSocket::bind((Ipv4Addr::LOCALHOST, p2p)).unwrap();
        let error = Leases::hold(layout, &names(1)).unwrap_err().to_string();
        assert!(error.contains(&format!("port {p2p} (node-0 peer-to-peer)")), "{error}");
    }

    #[test]
    fn found_ports_are_distinct_held_and_free_once_dropped() {
        let leases = Leases::find(4).unwrap();
        let layout = leases.layout.clone();
        let nodes = layout.nodes.iter().flat_map(|n| [n.p2p, n.api, n.metrics]);
        let ports: Vec<u16> = nodes.chain([layout.tron]).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 13);
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, ports[3])).is_err());
        drop(leases);
        Leases::hold(layout, &names(4)).unwrap();
    }
}
