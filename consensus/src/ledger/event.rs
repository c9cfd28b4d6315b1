//! What blocks do, as history and those who act on it see it.

use lucid_score::leader::Elected;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{Hash, NodeId, PayoutAddress, PoolId, PublicKey, ValidatorId};
use lucid_types::payout::{AccountKind, PayoutRequest, Requested, SettlementRoot};
use lucid_types::payout_tree::OwedAccount;
use lucid_types::policy::Policy;
use lucid_types::pool::SplitRule;
use lucid_types::time::{Epoch, Height};
use serde::{Deserialize, Serialize};

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
        order: Vec<Elected>,
    },
    /// A settlement of a pool was shared out.
    Shared {
        /// The pool.
        pool: PoolId,
        /// The settlement.
        settlement: u64,
        /// What was taken of the budget and what was carried: fee and the three parts.
        pot: MicroUsdt,
        /// The push fee, which is set aside.
        fee: MicroUsdt,
        /// The owner's part.
        commission: MicroUsdt,
        /// The validators' part, by what they measured.
        validators: MicroUsdt,
        /// The members' part, by their shares.
        members: MicroUsdt,
        /// What made the members' shares.
        split: SplitRule,
        /// What became of the three, in the order of kind and node: a part of each member that was measured, the owner's, and one of each
        /// validator that measured any.
        parts: Vec<SharedPart>,
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
    /// A node becomes a validator, is none any more, or has another power or another key.
    Validator {
        /// The node.
        node: NodeId,
        /// With what it signs from then on; its last key if it is no validator then.
        key: ValidatorId,
        /// Its power from then on; 0 if it is no validator then.
        power: u64,
        /// The first height.
        from: Height,
    },
    /// Another policy of the network was decided.
    Policy {
        /// The first epoch in which it is in force.
        from: Epoch,
        /// The whole of it.
        policy: Box<Policy>,
    },
    /// A proposed change of the policy is gone: another one was carried out, which replaces the policy that it starts from.
    PolicyOvertaken {
        /// Its id.
        proposal: Hash,
    },
    /// The newest root was issued again: under a newer era, or with a higher total.
    Reissued(SettlementRoot),
    /// An account was registered.
    Registered {
        /// The account.
        account: NodeId,
    },
    /// An account has left for good.
    Retired {
        /// The account.
        account: NodeId,
    },
    /// Another payout address was announced.
    PayoutAddress {
        /// The account that announced it.
        account: NodeId,
        /// The address.
        address: PayoutAddress,
        /// The first settlement whose root pays there.
        from: u64,
    },
    /// Another node key was announced.
    NodeKey {
        /// The account that announced it.
        account: NodeId,
        /// The key.
        key: PublicKey,
        /// The epoch with whose scores it comes into force.
        with: Epoch,
    },
    /// A node asks to enter a pool.
    Requested {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
    },
    /// A node became a member.
    Joined {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
        /// The first epoch in which it may be drawn for the pool, if the pool is active then.
        from: Epoch,
    },
    /// A member has been unreachable for long, and stops counting.
    Inactive {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
        /// The first epoch in which it is not drawn any more.
        until: Epoch,
    },
    /// A node is no member any more: it has left, or was inactive for too long or has given up to come back.
    Left {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
        /// The first epoch in which it is not drawn any more.
        until: Epoch,
    },
    /// A node was banned from a pool.
    Banned {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
    },
    /// A pool came into being, forming.
    PoolCreated {
        /// The pool.
        pool: PoolId,
    },
    /// A pool became active.
    PoolActive {
        /// The pool.
        pool: PoolId,
        /// The first epoch in which its members are drawn.
        from: Epoch,
    },
    /// A pool has another owner.
    PoolTransferred {
        /// The pool.
        pool: PoolId,
        /// The owner.
        owner: NodeId,
    },
    /// A pool ended, by its owner, or because it was not active in time.
    PoolDisbanded {
        /// The pool.
        pool: PoolId,
    },
}

/// A part of a pot that was shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedPart {
    /// For what.
    pub kind: AccountKind,
    /// The account of the node that is paid.
    pub node: NodeId,
    /// What it is in proportion to, among those of its kind: a member's share, or a validator's credits. 0 of the commission, which is a rate.
    pub weight: u128,
    /// How much; 0 of a weight that was too small.
    pub amount: MicroUsdt,
    /// What became of it.
    pub credited: Credited,
}

impl SharedPart {
    /// Bytes of one in the codec.
    pub const BYTES: usize = 4 + 32 + 16 + 8 + 4;
}

/// What became of a part of a pot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credited {
    /// It is owed.
    Owed,
    /// It is held for the account.
    Held,
    /// It goes into the next pot: its node is gone and has no account. A part of nothing, too, is carried.
    Carried,
}

/// A payout root and what it commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The root.
    pub root: SettlementRoot,
    /// The leaves of its tree: accounts with a request first, then the rest, each by id.
    pub leaves: Vec<OwedAccount>,
    /// What was requested for each account so far, with this settlement.
    pub requested: Requested,
    /// What became due, by account.
    pub requests: Vec<PayoutRequest>,
}
