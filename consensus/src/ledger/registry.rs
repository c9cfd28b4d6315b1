//! Who takes part: rows about registered nodes, and look-ups in them.
//!
//! Memberships count by whole epochs, from one that no block has drawn yet, so nobody can join or leave after seeing a seed. Who was
//! scored for whom is not looked up here when scores become final: the epoch's draw has kept it.

use lucid_types::attestation::Capacity;
use lucid_types::codec::Wire;
use lucid_types::command::MaintenanceScope;
use lucid_types::id::{NodeId, PayoutAddress, PoolId, PublicKey};
use lucid_types::network_group::NetworkGroup;
use lucid_types::payout::AccountKind;
use lucid_types::time::Epoch;
use serde::{Deserialize, Serialize};

use crate::ledger::entry::Request;
use crate::ledger::pool::{Member, PoolState, PoolStatus, Standing};
use crate::ledger::state::{Rows, State};
use crate::ledger::table::{Members, NodeKeys, Nodes, Nonces, Requests};

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The node key in force, unless that in [`Self::next_key`] is.
    pub key: PublicKey,
    /// The epoch with whose scores another key comes into force, and that key.
    pub next_key: Option<(Epoch, PublicKey)>,
    /// Who runs it.
    pub operator: NodeId,
    /// Where what it earns is paid.
    pub payout_address: PayoutAddress,
    /// The settlement from whose root on another address counts, and that address.
    pub next_payout: Option<(u64, PayoutAddress)>,
    /// Without whose signature the payout address never changes.
    pub payout_key: Option<PublicKey>,
    /// The account from which its bridge pays for transactions; with one it stands as its pool's leader.
    pub gas_address: Option<PayoutAddress>,
    /// What it declares to offer.
    pub capacity: Capacity,
    /// The pool that it works for, or has worked for last: one at a time.
    pub membership: Option<Membership>,
    /// The pool for whose approval it waits. The request itself may be over.
    pub request: Option<PoolId>,
    /// Whether it has left for good. It gives no command any more.
    pub is_retired: bool,
    /// Where validators agreed that it is, when they measured it last: no command changes it.
    pub group: NetworkGroup,
    /// The maintenance that it has announced, in order: what is under way, what begins in the next epoch, and what begins later, of each
    /// at most one. What is over stays until it announces something.
    pub maintenance: Vec<Maintenance>,
}

impl Wire for Node {
    const MAX_BYTES: usize =
        32 + 41 + 32 + 21 + 30 + 33 + 22 + 28 + 50 + 33 + 1 + NetworkGroup::BYTES + (8 + 3 * Maintenance::BYTES);
}

/// Epochs in which a node is not measured, or not all that it has. They count neither for nor against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// The first of them.
    pub from: Epoch,
    /// The first after them.
    pub until: Epoch,
    /// What the node does not do in them.
    pub scope: MaintenanceScope,
}

impl Maintenance {
    const BYTES: usize = 8 + 8 + 4;
}

/// What an account may give next. Its row is there, for ever, once a block holds a command of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nonce {
    /// The number of its next command.
    pub next: u64,
    /// Commands that it may give before an epoch passes, at most [`Nonce::BURST`].
    pub allowance: u8,
    /// The newest closed epoch when the allowance was brought up to date: each that is closed since adds one command.
    pub filled: Epoch,
}

impl Wire for Nonce {
    const MAX_BYTES: usize = 17;
}

impl Nonce {
    /// The most commands at once.
    pub const BURST: u8 = 8;

    /// That of an account after a row, brought up to date; of one without a row, if there is none.
    pub(crate) fn filled_to(row: Option<Self>, closed: Epoch) -> Self {
        let row = row.unwrap_or(Self { next: 0, allowance: Self::BURST, filled: closed });
        let passed = u8::try_from(closed.get().saturating_sub(row.filled.get())).unwrap_or(u8::MAX);
        let allowance = row.allowance.saturating_add(passed).min(Self::BURST);
        Self { allowance, filled: closed, ..row }
    }
}

/// A worker's membership of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The pool.
    pub pool: PoolId,
    /// The first epoch in which the worker may be drawn for it.
    pub from: Epoch,
    /// The first epoch in which it may not be any more, once it has left.
    pub until: Option<Epoch>,
}

impl Membership {
    /// Whether the worker may be drawn for the pool in this epoch.
    pub fn counts_in(&self, epoch: Epoch) -> bool {
        self.from <= epoch && self.has_not_ended_by(epoch)
    }

    /// Whether it may be drawn for the pool in this epoch or in a later one.
    pub fn has_not_ended_by(&self, epoch: Epoch) -> bool {
        self.until.is_none_or(|until| epoch < until)
    }
}

impl Node {
    /// The key in force after a block by which all scores up to this epoch are final: what signs for the account, and the p2p identity
    /// of its node.
    pub fn key_at(&self, final_through: Epoch) -> PublicKey {
        self.next_key.filter(|(with, _)| *with <= final_through).map_or(self.key, |(_, key)| key)
    }

    /// The key that is announced and not in force after such a block, and the epoch with whose scores it will be.
    pub fn announced_key(&self, final_through: Epoch) -> Option<(Epoch, PublicKey)> {
        self.next_key.filter(|(with, _)| *with > final_through)
    }

    /// The maintenance that covers an epoch.
    pub fn maintenance_at(&self, epoch: Epoch) -> Option<&Maintenance> {
        self.maintenance.iter().find(|it| it.from <= epoch && epoch < it.until)
    }

    /// What the node does not do in an epoch for maintenance.
    pub fn maintenance_in(&self, epoch: Epoch) -> Option<MaintenanceScope> {
        self.maintenance_at(epoch).map(|it| it.scope)
    }

    /// Where the roots from this settlement on pay it.
    pub fn payout_address_in(&self, settlement: u64) -> PayoutAddress {
        self.next_payout.filter(|(from, _)| *from <= settlement).map_or(self.payout_address, |(_, address)| address)
    }

    /// The pool that it is a member of and has not left.
    pub fn pool(&self) -> Option<PoolId> {
        self.membership.filter(|it| it.until.is_none()).map(|it| it.pool)
    }

    /// The pool that it may be drawn for in this epoch.
    pub fn pool_in(&self, epoch: Epoch) -> Option<PoolId> {
        self.membership.filter(|it| it.counts_in(epoch)).map(|it| it.pool)
    }

    /// The pool that it is a member of in this epoch or from a later one on.
    pub fn pool_from(&self, epoch: Epoch) -> Option<PoolId> {
        self.membership.filter(|it| it.has_not_ended_by(epoch)).map(|it| it.pool)
    }
}

impl State {
    /// A registered node.
    pub fn node(&self, id: &NodeId) -> Option<&Node> {
        self.get::<Nodes>(id)
    }

    /// The key that signs for an account and is the p2p identity of its node: its first one, where no such account is registered. `None`
    /// if the account cannot be: its first key is or was another's.
    pub fn key_of(&self, account: &NodeId) -> Option<PublicKey> {
        key_of(self, account)
    }

    /// The account for which this key signs; the inverse of [`Self::key_of`]. `None` of keys that are given up, or announced and not in
    /// force yet.
    pub fn account_of(&self, key: &PublicKey) -> Option<NodeId> {
        let account = owner_of(self, key);
        (self.key_of(&account) == Some(*key)).then_some(account)
    }

    /// Whether this is the node key of a validator of the next height.
    pub fn is_validator(&self, key: &PublicKey) -> bool {
        self.account_of(key).is_some_and(|account| self.next_validators().of(&account).is_some())
    }

    /// The key that an account has announced and that is not in force yet, and the epoch with whose scores it will be.
    pub fn announced_key(&self, account: &NodeId) -> Option<(Epoch, PublicKey)> {
        self.node(account)?.announced_key(self.final_through())
    }

    /// All registered nodes by their ids.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.all::<Nodes>()
    }

    /// The pool that a node is a member of, in the open epoch or from a later one on.
    pub fn pool_of(&self, id: &NodeId) -> Option<PoolId> {
        self.node(id)?.pool_from(self.closed().next())
    }

    /// The pool whose payouts a node pushes: that which it is a member of, or was a member of when the pool ended, if it is in no other
    /// since. What the last settlements of a pool owe is due when nobody is a member any more.
    pub fn pushes_for(&self, id: &NodeId) -> Option<PoolId> {
        let ended = || {
            let pool = self.node(id)?.membership?.pool;
            matches!(self.pool(&pool)?.status, PoolStatus::Disbanded { .. }).then_some(pool)
        };
        self.pool_of(id).or_else(ended)
    }

    /// The pool in which a node has become inactive, and from which epoch on it is: into that pool it may come back.
    pub fn inactive_in(&self, id: &NodeId) -> Option<(PoolId, Epoch)> {
        let pool = self.node(id)?.membership?.pool;
        match self.get::<Members>(&(pool, *id))?.standing {
            Standing::Inactive(since) => Some((pool, since)),
            Standing::Good | Standing::Banned => None,
        }
    }

    /// What an account may give in the next block.
    pub fn nonce(&self, account: &NodeId) -> Nonce {
        Nonce::filled_to(self.get::<Nonces>(account).copied(), self.closed())
    }

    /// The requests that wait for a pool's owner, by the nodes that ask.
    pub fn requests(&self, pool: &PoolId) -> impl Iterator<Item = (NodeId, &Request)> {
        let requests = self.all_of::<Requests, _>(pool).map(|((_, node), request)| (node, request));
        requests.filter(|(_, request)| request.until >= self.time())
    }

    /// The rows of a pool's members by their ids, and of those who were and still have something in theirs.
    pub fn members(&self, pool: &PoolId) -> impl Iterator<Item = (NodeId, &Member)> {
        self.all_of::<Members, _>(pool).map(|((_, node), member)| (node, member))
    }
}

/// [`State::key_of`].
pub(crate) fn key_of(rows: &impl Rows, account: &NodeId) -> Option<PublicKey> {
    let first = account.first_key();
    match rows.get::<Nodes>(account) {
        Some(node) => Some(node.key_at(rows.final_through())),
        None => (!rows.has::<NodeKeys>(&first)).then_some(first),
    }
}

/// The one account whose key this is, was, or is announced to be; that of the same bytes if it is none's yet.
pub(crate) fn owner_of(rows: &impl Rows, key: &PublicKey) -> NodeId {
    rows.get::<NodeKeys>(key).copied().unwrap_or_else(|| NodeId::from_first_key(*key))
}

/// Where the root of this settlement pays an account: a worker or a validator where its node says, the owner where the pool's terms say. `None` if
/// nobody says any more: then it is paid where it was.
pub(crate) fn payout_address(
    rows: &impl Rows,
    pool: &PoolState,
    (kind, node): (AccountKind, &NodeId),
    settlement: u64,
) -> Option<PayoutAddress> {
    match kind {
        AccountKind::Worker | AccountKind::Validator => {
            rows.get::<Nodes>(node).map(|row| row.payout_address_in(settlement))
        }
        AccountKind::Commission => (pool.owner == *node).then(|| pool.terms_in(settlement).commission_address),
    }
}
