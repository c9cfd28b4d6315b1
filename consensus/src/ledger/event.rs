//! What blocks do, as history and those who act on it see it.

use lucid_types::id::{NodeId, PoolId};
use lucid_types::payout::{PayoutRequest, SettlementRoot};
use lucid_types::payout_tree::OwedAccount;
use lucid_types::time::{Epoch, Height};

/// What a block did, for history and for those who act on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Epochs that had ended were closed.
    Closed {
        /// The first of them.
        first: Epoch,
        /// The last.
        last: Epoch,
        /// Whether the first is measured; the others never are.
        is_measured: bool,
    },
    /// A leader was elected.
    Elected {
        /// The pool.
        pool: PoolId,
        /// The settlement.
        settlement: u64,
        /// The leader and its successors.
        order: Vec<NodeId>,
    },
    /// A settlement made a payout root.
    Settled(Box<Settled>),
    /// A block proves that a validator equivocated.
    Equivocated {
        /// Who.
        validator: NodeId,
        /// At which height.
        height: Height,
    },
    /// The newest root was issued again: under a newer era, or with a higher total.
    Reissued(SettlementRoot),
}

/// A payout root and what it commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The root.
    pub root: SettlementRoot,
    /// The leaves of its tree: accounts with a request first, then the rest, each by id.
    pub leaves: Vec<OwedAccount>,
    /// What became due, by account.
    pub requests: Vec<PayoutRequest>,
}
