//! What the rest of the node sees of the chain.

use std::sync::Arc;

use lucid_consensus::ledger::state::State;
use lucid_consensus::replica::Offers;
use lucid_types::sync::CertifiedHeader;
use lucid_types::time::{Epoch, UnixMillis};

/// The newest block's outcome.
#[derive(Clone, Debug)]
pub struct Head {
    /// The state after it.
    pub state: State,
    /// Its header and certificate, which prove the state's rows; none before block 1.
    pub block: Option<Arc<CertifiedHeader>>,
    /// When this node adopted it, by its own clock; the start of the node for what it found on disk.
    pub adopted_at: UnixMillis,
    /// What peers may ask for beside decided blocks.
    pub offers: Offers,
    /// The round of the height under way, if this node votes and has started it.
    pub round: Option<u32>,
    /// Closed epochs that this validator can still report and has not.
    pub unreported: Vec<Epoch>,
}
