//! Names the nodes of the configuration that do not answer: an address with a mistake, or a node that is gone, would otherwise go unnoticed
//! until the last one that answers is gone, too. Pure; time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::core::transport::TransportError;
use libp2p::swarm::DialError;
use libp2p::{Multiaddr, PeerId};

use super::with_peer;

/// Characters of a cause that are shown; libp2p's own texts repeat themselves.
const MAX_CAUSE: usize = 300;

#[derive(Debug)]
struct Entry {
    /// As configured.
    addresses: Vec<String>,
    /// Since when it has not answered; `None` while it is connected.
    silent: Option<Instant>,
    /// Why the last attempt failed. Without one it was not tried, and nothing is wrong with it.
    cause: Option<String>,
    /// It was named since it answered last.
    is_named: bool,
}

/// The nodes of the configuration.
#[derive(Debug)]
pub(super) struct Bootstraps {
    patience: Duration,
    entries: BTreeMap<PeerId, Entry>,
}

impl Bootstraps {
    /// None has answered yet. One that does not for as long as `patience` is named.
    pub(super) fn new(addresses: &[(PeerId, Multiaddr)], patience: Duration, now: Instant) -> Self {
        let mut entries = BTreeMap::new();
        for (peer, address) in addresses {
            let entry = entries.entry(*peer).or_insert_with(|| Entry {
                addresses: Vec::new(),
                silent: Some(now),
                cause: None,
                is_named: false,
            });
            entry.addresses.push(with_peer(address.clone(), *peer));
        }
        Self { patience, entries }
    }

    /// An attempt to reach `peer` has failed.
    pub(super) fn failed(&mut self, peer: &PeerId, cause: impl FnOnce() -> String) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.cause = Some(cause().chars().filter(|c| !c.is_control()).take(MAX_CAUSE).collect());
        }
    }

    /// `peer` has shown that it is of our network.
    pub(super) fn answered(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.get_mut(peer) {
            (entry.silent, entry.cause) = (None, None);
            if std::mem::take(&mut entry.is_named) {
                tracing::info!(peer = %peer, "a node of p2p.bootstrap that did not answer does so now");
            }
        }
    }

    /// The last connection to `peer` has ended.
    pub(super) fn lost(&mut self, peer: &PeerId, now: Instant) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.silent.get_or_insert(now);
        }
    }

    /// What to say now of those that have not answered for too long; each once.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<String> {
        let late = |since: Instant| now.duration_since(since) >= self.patience;
        let mut said = Vec::new();
        for entry in self.entries.values_mut() {
            if !entry.is_named && entry.cause.is_some() && entry.silent.is_some_and(late) {
                entry.is_named = true;
                said.extend(entry.text());
            }
        }
        said
    }

    /// All that was said and still holds.
    pub(super) fn silent(&self) -> impl Iterator<Item = String> + '_ {
        self.entries.values().filter(|entry| entry.is_named).filter_map(Entry::text)
    }
}

impl Entry {
    fn text(&self) -> Option<String> {
        let (addresses, cause) = (self.addresses.join(", "), self.cause.as_ref()?);
        Some(format!(
            "no answer from {addresses} of p2p.bootstrap: {cause}. Check the address, and that the node runs and that its port is open, or \
             take another node's address"
        ))
    }
}

/// Why a dial failed, in a line, with every address that was tried.
pub(super) fn cause_of(error: &DialError) -> String {
    match error {
        DialError::WrongPeerId { obtained, address } => {
            format!("the node at {address} has another peer id, {obtained}")
        }
        DialError::LocalPeerId { address } => format!("{address} is this node itself"),
        DialError::Transport(tried) => {
            let each = tried.iter().map(|(address, error)| format!("{address}: {}", transport_cause(error)));
            each.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}

/// The innermost error: those around it say that a dial has failed.
fn transport_cause(error: &TransportError<std::io::Error>) -> String {
    let TransportError::Other(error) = error else {
        return "this node does not dial such an address in its network, or cannot resolve names".to_owned();
    };
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_silent_node_is_named_once_with_its_address_and_the_cause() {
        let (t, peer, other) = (Instant::now(), PeerId::random(), PeerId::random());
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/7001".parse().unwrap();
        let configured = [(peer, address.clone()), (other, address)];
        let mut bootstraps = Bootstraps::new(&configured, PATIENCE, t);
        bootstraps.failed(&peer, || "refused".to_owned());
        assert_eq!(bootstraps.overdue(t + PATIENCE - Duration::from_secs(1)), Vec::<String>::new());
        let said = bootstraps.overdue(t + PATIENCE);
        assert_eq!(said.len(), 1, "{said:?}: the other one was not tried");
        let text = &said[0];
        assert!(text.contains(&format!("/ip4/192.0.2.1/tcp/7001/p2p/{peer}")) && text.contains("refused"), "{text}");
        assert_eq!(bootstraps.overdue(t + 2 * PATIENCE), Vec::<String>::new(), "once");
        assert_eq!(bootstraps.silent().collect::<Vec<_>>(), said);
        bootstraps.answered(&peer);
        assert_eq!(bootstraps.silent().count(), 0);
        bootstraps.lost(&peer, t + 3 * PATIENCE);
        assert_eq!(bootstraps.overdue(t + 9 * PATIENCE).len(), 0, "not needed now, and so not dialled");
        bootstraps.failed(&peer, || "gone".to_owned());
        assert_eq!(bootstraps.overdue(t + 9 * PATIENCE).len(), 1);
    }
}
