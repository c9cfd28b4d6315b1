//! Whom this node trusts to be no sybil: the nodes of its configuration, and those that the application names (the validators of
//! the current set). Room is kept for them; nothing they say is believed for it.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use libp2p::PeerId;

/// The set. Clones are the same set: the event loop writes it, connections read it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trusted(Arc<RwLock<Sets>>);

#[derive(Debug, Default)]
struct Sets {
    configured: HashSet<PeerId>,
    named: HashSet<PeerId>,
}

impl Trusted {
    /// Only those of the configuration.
    pub(crate) fn new(configured: HashSet<PeerId>) -> Self {
        Self(Arc::new(RwLock::new(Sets { configured, named: HashSet::new() })))
    }

    /// Replaces those that the application has named.
    pub(crate) fn name(&self, named: HashSet<PeerId>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).named = named;
    }

    pub(crate) fn contains(&self, peer: &PeerId) -> bool {
        let sets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        sets.configured.contains(peer) || sets.named.contains(peer)
    }
}
