//! Commands: the only way in which anything but time changes who takes part.
//!
//! A command is given by an account and carries the account's next number, so that none applies twice and none overtakes another;
//! and a time after which it has no effect, so that none lies in wait. This module says what a command can ask for, who signs it,
//! what is wrong with it whatever the state says, and what comes first. What it changes is a matter of the ledger.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attestation::Capacity;
use crate::change::NetworkChange;
use crate::codec::Wire;
use crate::id::{Hash, NetworkId, NodeId, PayoutAddress, PoolId, PublicKey};
use crate::pool::{MAX_NAME_BYTES, NewPool, PoolAction};
use crate::signed::{MultiSigned, SignatureError, Signed, SignedRecord};
use crate::stamp::Stamp;
use crate::ticket::{Invite, Ticket};
use crate::time::{Epoch, UnixMillis};
use crate::validator::Validator;
use crate::validator_key::ValidatorKeys;
use crate::vault::SignerSet;

/// The only way in which anything but time changes who takes part. It travels as [`MultiSigned`], with the signatures of the
/// account's current key and of [`Command::cosigners`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Who gives it.
    pub account: NodeId,
    /// The number of the command among the account's, from 0; counted for ever.
    pub nonce: u64,
    /// No block of a later time can hold it, nor one whose time is more than [`Command::MAX_AHEAD`] earlier.
    pub until: UnixMillis,
    /// What it asks for.
    pub action: Action,
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The account comes into being. Its first key signs, which must not have been another account's; the operator, unless that is the account itself; and the key of an invite.
    Register(Registration),
    /// About the account itself.
    Node(NodeAction),
    /// A pool comes into being, forming; the account is its owner.
    CreatePool(NewPool),
    /// By the owner of a pool.
    Pool {
        /// The pool.
        pool: PoolId,
        /// What its owner does with it.
        action: PoolAction,
    },
    /// By a validator.
    Validator(ValidatorAction),
}

/// A new account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Who runs the node. The operator signs, because validators do not measure the workers of their own operator: otherwise a
    /// worker could name any validator's operator and so escape that validator.
    pub operator: NodeId,
    /// Where its payouts go.
    pub payout_address: PayoutAddress,
    /// A key kept away from the node, without whose signature the payout address never changes; it never changes itself.
    pub payout_key: Option<PublicKey>,
    /// The account from which its bridge pays for transactions; with one it stands as its pool's leader.
    pub gas_address: Option<PayoutAddress>,
    /// What it declares to offer.
    pub capacity: Capacity,
    /// By what it enters.
    pub entry: Entry,
}

/// By what an account enters the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// Work, for whoever has no pool yet: a pool's future owner, an observer, a validator to be proposed.
    Network(Stamp),
    /// A pool lets it in.
    Pool {
        /// The pool.
        pool: PoolId,
        /// What opens it.
        ticket: Ticket,
    },
}

/// What an account does about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeAction {
    /// Replaces both.
    Update {
        /// The account from which its bridge pays for transactions; with one it stands as its pool's leader.
        gas_address: Option<PayoutAddress>,
        /// What it declares to offer.
        capacity: Capacity,
    },
    /// Another payout address: announced at once, used from the second payout root after on. With the payout key, if the account has
    /// one.
    PayoutAddress(PayoutAddress),
    /// Takes back an announced payout address that is not in use yet.
    VetoPayoutAddress,
    /// Another node key: announced at once, in force when the second payout root after is computed. With the new key, which must be no
    /// account's first key and never have been in force for any. It replaces one that is announced.
    RotateKey(PublicKey),
    /// Takes back an announced node key that is not in force yet.
    VetoKey,
    /// Enters a pool. With the key of an invite.
    Join {
        /// The pool.
        pool: PoolId,
        /// What opens it.
        ticket: Ticket,
    },
    /// Leaves its pool, or takes back its request.
    Leave,
    /// Leaves for good. What is owed stays owed, the number of commands stays counted.
    Retire,
    /// Is not measured for some epochs, which count neither for nor against it. It replaces what is announced and has not begun, and ends
    /// what has begun when it begins itself.
    Maintenance {
        /// The first epoch; the second after that of the command at the earliest.
        from: Epoch,
        /// How many, at most [`MAX_MAINTENANCE`]; 0 only ends what is announced.
        epochs: u32,
        /// What the node does not do in them.
        scope: MaintenanceScope,
    },
}

/// The most epochs that a maintenance lasts, and that it is announced ahead.
pub const MAX_MAINTENANCE: u32 = 5_040;

/// What a node in maintenance does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaintenanceScope {
    /// Anything: it is not drawn.
    All,
    /// It takes no echoes and no storage chunks. Pings go on.
    Traffic,
}

/// What a validator does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValidatorAction {
    /// Approves of a forming pool, which takes more than a third of the power.
    ApprovePool(PoolId),
    /// Proposes a change of the validators or of the network's policy, and approves of it. It takes more than two thirds of the power.
    Propose(NetworkChange),
    /// Approves of the proposal with this [`NetworkChange::id`].
    Approve(Hash),
    /// Takes the approval back, or the rotation of its keys. A proposal of which nobody approves any more is gone.
    Withdraw(Hash),
    /// Signs with other keys, from the second epoch after on. It needs nobody's approval; one that waits already is replaced.
    RotateKey(ValidatorKeys),
    /// Is a validator no more. It needs nobody's approval.
    Resign,
}

/// A change of the validators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValidatorChange {
    /// One more: a registered account with its operator.
    Add(Validator),
    /// One less.
    Remove(NodeId),
    /// Another power.
    Power {
        /// Whose.
        validator: NodeId,
        /// How much, at least 1.
        power: u64,
    },
    /// Other keys, which the validator gives itself: [`ValidatorAction::RotateKey`].
    Keys {
        /// Whose.
        validator: NodeId,
        /// Which.
        keys: ValidatorKeys,
    },
}

impl Wire for ValidatorChange {
    const MAX_BYTES: usize = 4 + Validator::BYTES;
}

impl ValidatorChange {
    /// Whom it is about.
    pub const fn validator(&self) -> NodeId {
        match self {
            Self::Add(validator) => validator.node,
            Self::Remove(node) | Self::Power { validator: node, .. } | Self::Keys { validator: node, .. } => *node,
        }
    }

    /// Whether it takes the approval of more than two thirds of the power.
    pub const fn needs_approval(&self) -> bool {
        !matches!(self, Self::Keys { .. })
    }

    /// The keys with which the validator signs after it, if it has other ones before.
    pub const fn keys(&self) -> Option<&ValidatorKeys> {
        match self {
            Self::Add(Validator { keys, .. }) | Self::Keys { keys, .. } => Some(keys),
            Self::Remove(_) | Self::Power { .. } => None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Keys { .. } => {
                Err("other keys are given by the validator itself, with `validator rotate-key`".into())
            }
            Self::Add(Validator { power: 0, .. }) | Self::Power { power: 0, .. } => {
                Err("power 0; a validator has at least 1, remove it to take its vote away".into())
            }
            Self::Add(_) | Self::Power { .. } | Self::Remove(_) => Ok(()),
        }
    }
}

/// Who signs a command beside the account's current key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cosigner {
    /// This very key.
    Key(PublicKey),
    /// The current key of this account: its first one, where no such account is registered.
    Account(NodeId),
    /// The account's payout key, if it has one.
    PayoutKey,
    /// The current keys of as many of the pool's treasury signers in force as a payout root needs.
    Treasury(PoolId),
}

/// What comes first when commands are more than a block holds, the first in order first.
///
/// What protects people must pass whatever else is sent: a thief who holds a key may not delay the veto by a flood. Then what
/// running pools and validators need, then what members want. New accounts and pools come last: they are what anybody can
/// send in masses, and nobody loses anything by their waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Vetoes, holds, suspensions, bans, leaving.
    Protection,
    /// Everything else by pools' owners and validators.
    Operation,
    /// Everything else by accounts about themselves.
    Member,
    /// New accounts and pools.
    Registration,
}

/// What a validator answers to a command that is handed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandReply {
    /// It holds the command durably, and keeps it for a block.
    Accepted,
    /// It does not take it, and says why.
    Refused(String),
}

impl Wire for CommandReply {
    const MAX_BYTES: usize = 1 << 10;
}

impl Wire for Command {
    /// A pool with the longest name, whose vault has as many signers, of 53 bytes each, as there may be.
    const MAX_BYTES: usize = 159 + MAX_NAME_BYTES + SignerSet::MAX * 53;
}

// The limit of the protocol, with all signatures.
const _: () = assert!(MultiSigned::<Command>::MAX_BYTES <= 4096, "a signed command is at most 4 KiB");

impl SignedRecord for Command {
    type Signer = PublicKey;
    const TAG: &'static str = "lucid/command/1";

    /// The invite that it is given with.
    fn check_inner(&self, network: &NetworkId) -> Result<(), SignatureError> {
        self.action.invite().map_or(Ok(()), |invite| invite.check(network))
    }
}

impl Command {
    /// How far ahead of a block's time [`Command::until`] may be.
    pub const MAX_AHEAD: Duration = Duration::from_hours(24);

    /// Who signs it beside the account's current key. Nobody else may.
    pub fn cosigners(&self) -> Vec<Cosigner> {
        match &self.action {
            Action::Register(Registration { operator, entry, .. }) => {
                let operator = (*operator != self.account).then_some(Cosigner::Account(*operator));
                let invite = match entry {
                    Entry::Pool { ticket, .. } => ticket.cosigner(),
                    Entry::Network(_) => None,
                };
                operator.into_iter().chain(invite).collect()
            }
            Action::Node(NodeAction::PayoutAddress(_)) => vec![Cosigner::PayoutKey],
            Action::Node(NodeAction::RotateKey(key)) => vec![Cosigner::Key(*key)],
            Action::Node(NodeAction::Join { ticket, .. }) => ticket.cosigner().into_iter().collect(),
            Action::Pool { action: PoolAction::Transfer(owner), .. } => vec![Cosigner::Account(*owner)],
            Action::Pool { pool, action } if action.needs_signers() => vec![Cosigner::Treasury(*pool)],
            Action::Node(_) | Action::CreatePool(_) | Action::Pool { .. } | Action::Validator(_) => vec![],
        }
    }
}

impl Action {
    /// What comes before it in a block, and what after.
    pub const fn priority(&self) -> Priority {
        match self {
            Self::Register(_) | Self::CreatePool(_) => Priority::Registration,
            Self::Node(NodeAction::VetoPayoutAddress | NodeAction::VetoKey | NodeAction::Leave)
            | Self::Validator(ValidatorAction::Withdraw(_)) => Priority::Protection,
            Self::Node(_) => Priority::Member,
            Self::Pool { action: PoolAction::Hold(_) | PoolAction::Suspend(true) | PoolAction::Ban(_), .. } => {
                Priority::Protection
            }
            Self::Pool { .. } | Self::Validator(_) => Priority::Operation,
        }
    }

    /// Whether it takes back what another command has announced. It counts for nothing among the commands that an account may give:
    /// whoever announces must not be able to use them up. Each takes back what has counted, so there are never more of them.
    pub const fn is_veto(&self) -> bool {
        matches!(
            self,
            Self::Node(NodeAction::VetoPayoutAddress | NodeAction::VetoKey)
                | Self::Validator(ValidatorAction::Withdraw(_))
        )
    }

    /// The invite that a node enters a pool with.
    pub const fn invite(&self) -> Option<&Signed<Invite>> {
        match self {
            Self::Register(Registration { entry: Entry::Pool { ticket: Ticket::Invite(invite), .. }, .. })
            | Self::Node(NodeAction::Join { ticket: Ticket::Invite(invite), .. }) => Some(invite),
            _ => None,
        }
    }

    /// Checks what needs no state: bounds, names, addresses and vaults.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Register(registration) => registration.check(),
            Self::Node(NodeAction::Update { gas_address, capacity }) => check_offer(gas_address.as_ref(), capacity),
            Self::Node(NodeAction::PayoutAddress(address)) => address.check_not_zero("payout_address"),
            Self::Node(NodeAction::Join { pool, ticket }) => ticket.check(pool),
            Self::Node(NodeAction::Maintenance { epochs, .. }) if *epochs > MAX_MAINTENANCE => {
                Err(format!("maintenance of {epochs} epochs; it lasts at most {MAX_MAINTENANCE}"))
            }
            Self::CreatePool(pool) => pool.check(),
            Self::Pool { action, .. } => action.check(),
            Self::Validator(ValidatorAction::Propose(change)) => change.check(),
            Self::Node(_) | Self::Validator(_) => Ok(()),
        }
    }
}

impl Registration {
    fn check(&self) -> Result<(), String> {
        if let Entry::Pool { pool, ticket } = &self.entry {
            ticket.check(pool)?;
        }
        self.payout_address.check_not_zero("payout_address")?;
        check_offer(self.gas_address.as_ref(), &self.capacity)
    }
}

fn check_offer(gas_address: Option<&PayoutAddress>, capacity: &Capacity) -> Result<(), String> {
    if !capacity.is_plausible() {
        return Err("capacity: bytes are at most 2^46 and bandwidth_kbit_s at most 2^31".into());
    }
    gas_address.map_or(Ok(()), |address| address.check_not_zero("gas_address"))
}

impl Ticket {
    /// Who signs a command with it.
    fn cosigner(&self) -> Option<Cosigner> {
        match self {
            Self::Invite(invite) => Some(Cosigner::Key(invite.record.key)),
            Self::Stamp(_) | Self::Request(_) | Self::Return => None,
        }
    }

    fn check(&self, pool: &PoolId) -> Result<(), String> {
        match self {
            Self::Invite(invite) if invite.record.pool != *pool => {
                Err(format!("the invite is for pool {}, the command for pool {pool}", invite.record.pool))
            }
            Self::Invite(_) | Self::Stamp(_) | Self::Request(_) | Self::Return => Ok(()),
        }
    }
}
