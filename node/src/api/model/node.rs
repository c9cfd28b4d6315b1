//! What the API answers about registered nodes, and about entering.

use clap::ValueEnum;
use lucid_types::amount::Ppm;
use lucid_types::attestation::Capacity;
use lucid_types::command::MaintenanceScope;
use lucid_types::id::{Hash, NodeId, PayoutAddress, PoolId, PublicKey};
use lucid_types::time::{Epoch, UnixMillis};
use serde::{Deserialize, Serialize};

/// Registered nodes by their ids. `GET /api/v1/nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeList {
    /// At most as many as were asked for.
    pub nodes: Vec<RegisteredView>,
    /// The last of them, after which the next page begins; `null` if there is none.
    pub next: Option<NodeId>,
}

/// A registered node. `GET /api/v1/nodes/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredView {
    /// Its account: its first node key, for ever.
    pub node: NodeId,
    /// Its node key: what signs for it, and its libp2p identity.
    pub key: PublicKey,
    /// The node key that takes its place; `null` if none is announced.
    pub next_key: Option<NextKeyView>,
    /// What it is in the network, in the order of [`NodeRole`].
    pub roles: Vec<NodeRole>,
    /// Who runs it.
    pub operator: NodeId,
    /// Where the newest payout root pays it.
    pub payout_address: PayoutAddress,
    /// The address that takes its place; `null` if none is announced.
    pub next_payout: Option<NextPayoutView>,
    /// Without whose signature the payout address never changes; `null` if it has no such key.
    pub payout_key: Option<PublicKey>,
    /// The account that pays for its transactions; `null` if it cannot lead.
    pub gas_address: Option<PayoutAddress>,
    /// What it declares to offer.
    pub capacity: Capacity,
    /// The pool that it is a member of, in the open epoch or from a later one on; `null` if there is none.
    pub membership: Option<MembershipView>,
    /// The pool in which it has become inactive; `null` if it has not.
    pub inactive: Option<InactiveView>,
    /// The maintenance that it has announced and that is not over, in order.
    pub maintenance: Vec<MaintenanceView>,
    /// The pool whose owner it has asked; `null` if no request waits.
    pub request: Option<PoolId>,
    /// Whether it has left for good.
    pub is_retired: bool,
    /// How it is, as far as the node that is asked knows.
    pub state: NodeState,
    /// The epoch of its newest attestation that came here; `null` if none did since this node runs.
    pub attested: Option<Epoch>,
    /// How much of its capacity it says is in use; `null` with it.
    pub allocation_ppm: Option<Ppm>,
    /// Its score in the newest epoch with final scores; `null` if it was not measured then, or that is not known here.
    pub score_ppm: Option<Ppm>,
}

/// An announced node key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextKeyView {
    /// The key.
    pub key: PublicKey,
    /// The settlement with whose root it comes into force. Until then it can be vetoed.
    pub from: u64,
    /// The last epoch of that settlement: the key is in force when the scores of all up to it are final.
    pub epoch: Epoch,
}

/// An announced payout address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextPayoutView {
    /// The address.
    pub address: PayoutAddress,
    /// The first settlement whose root pays there. Until that is computed it can be vetoed.
    pub from: u64,
}

/// A membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipView {
    /// The pool.
    pub pool: PoolId,
    /// The first epoch in which the node may be drawn for it.
    pub from: Epoch,
    /// The first epoch in which it may not be any more; `null` if it has not left.
    pub until: Option<Epoch>,
}

/// A membership that has ended because validators have not reached the node for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InactiveView {
    /// The pool. The node comes back with `lucid pool join`, and needs nothing for that.
    pub pool: PoolId,
    /// The first epoch in which it is no member.
    pub since: Epoch,
}

/// Epochs in which a node is not measured, or takes no echoes and no storage chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceView {
    /// The first of them.
    pub from: Epoch,
    /// The first after them.
    pub until: Epoch,
    /// What the node does not do in them.
    pub scope: MaintenanceScope,
}

/// What a registered node is in the network, as the state has it. What it is configured to do is its own affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// A validator of the next block.
    Validator,
    /// It owns a pool that is not disbanded.
    Owner,
    /// The newest election of its pool made it the leader.
    Leader,
    /// It may be drawn for a pool, in the open epoch or from a later one on.
    Member,
    /// It signs for the vault of a pool.
    Treasury,
    /// Nothing of this: it follows.
    Observer,
}

/// Which registered nodes are asked for: those of which all holds that is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeFilter {
    /// Members of this pool.
    pub pool: Option<PoolId>,
    /// Those with this role.
    pub role: Option<NodeRole>,
    /// Those in this state.
    pub state: Option<NodeState>,
}

/// How a registered node is. It attests if its newest attestation that came here is of this epoch or the one before; validators reach
/// it if it was reachable in the newest epoch with final scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It attests and was not measured in the newest epoch with final scores.
    Starting,
    /// Validators reach it, and it does not say that all of its capacity is in use.
    Ready,
    /// Validators reach it, and it says that all of its capacity is in use.
    Busy,
    /// The maintenance that it has announced covers the open epoch, or it attests and declares that it offers nothing.
    Maintenance,
    /// It does not attest, and validators did not reach it or have not measured it.
    Offline,
    /// It attests, and validators did not reach it.
    Error,
}

/// The requests that wait for a pool's owner. `GET /api/v1/pools/{pool}/requests`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestList {
    /// The requests by the nodes that ask.
    pub requests: Vec<RequestView>,
}

/// A request to enter a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestView {
    /// Who asks.
    pub node: NodeId,
    /// Who runs it.
    pub operator: NodeId,
    /// Where it is to be paid.
    pub payout_address: PayoutAddress,
    /// What it declares to offer.
    pub capacity: Capacity,
    /// Whether it is registered already.
    pub is_registered: bool,
    /// How long the request waits.
    pub until: UnixMillis,
}

/// What a stamp has to be made for now. `GET /api/v1/stamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StampView {
    /// The pool that it opens; `null` for the network alone.
    pub pool: Option<PoolId>,
    /// The newest epoch that a stamp can be for.
    pub epoch: Epoch,
    /// The random beacon of the block that closed it.
    pub beacon: Hash,
    /// The zero bits that must lead its hash.
    pub bits: u8,
}
