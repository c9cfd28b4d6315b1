//! Why a command is refused: in words for whoever gave it, with what to do.

use lucid_types::id::{Hash, NodeId, PayoutAddress, PoolId, PublicKey};
use lucid_types::pool::{JoinPolicy, MAX_POOLS};
use lucid_types::time::{Epoch, UnixMillis};

use crate::ledger::entry::{MAX_INVITES, MAX_REQUESTS};
use crate::ledger::policies::PolicyChangeError;
use crate::ledger::pool::{MAX_FORMER_VAULTS, MAX_FORMING};
use crate::ledger::proposals::MAX_PROPOSED;
use crate::ledger::registry::Nonce;
use crate::ledger::validators::ChangeError;

/// Why a command does not apply, or does not wait for a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefused {
    /// It can never apply.
    #[error("{0}")]
    Malformed(String),
    /// No block can hold it any more.
    #[error("the command's time is over: it ended at {until}, and it is {time}; give it again")]
    Expired {
        /// Its last moment.
        until: UnixMillis,
        /// The block's time.
        time: UnixMillis,
    },
    /// No block can hold it yet.
    #[error("the command ends at {until}, more than a day ahead; {latest} is the latest: choose an earlier end")]
    TooFarAhead {
        /// Its last moment.
        until: UnixMillis,
        /// The latest that it may be.
        latest: UnixMillis,
    },

    /// A signature is missing.
    #[error("{0} has to sign the command, too")]
    Unsigned(PublicKey),
    /// A signature is out of place.
    #[error("{0} has signed the command and has no say in it; take the signature away")]
    Stranger(PublicKey),
    /// It is signed with a key that is given up, or announced and not in force yet.
    #[error("{key} is not the node key of account {account}, {current} is; sign with that one")]
    NotInForce {
        /// The key that signed.
        key: PublicKey,
        /// Whose it was, or will be.
        account: NodeId,
        /// The account's key.
        current: PublicKey,
    },
    /// Treasury signers are missing.
    #[error("{found} of the pool's treasury signers have signed the command; it needs {needed}")]
    TooFewSigners {
        /// How many have signed.
        found: usize,
        /// How many must.
        needed: usize,
    },

    /// Its number has been used.
    #[error("the account has given its command {given} already; the next one has the number {next}")]
    NonceUsed {
        /// Its number.
        given: u64,
        /// The account's next.
        next: u64,
    },
    /// A command before it is missing.
    #[error("the account's next command has the number {next}, not {given}; give that one first")]
    NonceAhead {
        /// Its number.
        given: u64,
        /// The account's next.
        next: u64,
    },
    /// The account gives more commands than it may.
    #[error(
        "the account has used up its {most} commands; one more may be given after each epoch, the next after epoch {after}",
        most = Nonce::BURST
    )]
    TooOften {
        /// The epoch that has to be closed first.
        after: Epoch,
    },
    /// It is nobody's.
    #[error("{0} is not registered; register it first")]
    NotRegistered(NodeId),
    /// It is somebody's.
    #[error("the account is registered already; join a pool with a command to join")]
    Registered,
    /// It has left for good.
    #[error("the account has retired; use a new key")]
    Retired,
    /// Retiring would leave a pool without an owner.
    #[error("the account owns pool {0}; transfer or disband it first")]
    OwnsPool(PoolId),
    /// Retiring would leave a validator that can give no command any more, not even to resign.
    #[error("the account is a validator; resign first, with `lucid validator resign`")]
    Validates,
    /// An address at which nobody could use what is paid.
    #[error("{key} is {what}; give an address of your own")]
    Address {
        /// The field.
        key: &'static str,
        /// What is there.
        what: &'static str,
    },
    /// There is no change to take back.
    #[error("no other payout address is announced that is not in use yet")]
    NothingAnnounced,

    /// There is no maintenance to end.
    #[error("no maintenance is under way by then, or announced for later")]
    NoMaintenance,
    /// It begins too far ahead.
    #[error("maintenance from epoch {from}; the latest that it can be announced for is {latest}")]
    MaintenanceTooLate {
        /// In the command.
        from: Epoch,
        /// The latest.
        latest: Epoch,
    },

    /// There is no node key to take back.
    #[error("no other node key is announced that is not in force yet")]
    NoKeyAnnounced,
    /// A key is one account's, for ever.
    #[error("{key} is or was a key of account {account}; use a new one")]
    KeyTaken {
        /// The key.
        key: PublicKey,
        /// Whose it is.
        account: NodeId,
    },

    /// There is no such pool.
    #[error("there is no pool {0}; check its id")]
    NoPool(PoolId),
    /// Another account directs the pool.
    #[error("the pool's owner is {0}; only that account directs it")]
    NotOwner(NodeId),
    /// The pool pays nothing yet.
    #[error("the pool is forming; this can be done when it is active")]
    Forming,
    /// It is too late to approve of it.
    #[error("the pool has not become active in time; create it again")]
    FormedTooLate,
    /// The pool needs no approval.
    #[error("the pool is not forming; it needs no approval any more")]
    NotForming,
    /// The pool has ended.
    #[error("the pool is disbanded")]
    Disbanded,
    /// The name is another's.
    #[error("a pool has this name already; choose another one")]
    NameTaken,
    /// The vault is another's.
    #[error("the vault is or was a pool's already; deploy one that never was")]
    VaultTaken,
    /// It replaces another vault than that in force.
    #[error("the pool's vault is {expected}, not {given}; deploy a vault that follows that one")]
    OtherVault {
        /// In the command.
        given: PayoutAddress,
        /// In force.
        expected: PayoutAddress,
    },
    /// As many vaults as a pool can have had.
    #[error(
        "the pool has replaced its vault {MAX_FORMER_VAULTS} times and cannot again; rotate its signers or change its limits"
    )]
    TooManyVaults,
    /// As many pools as there can be.
    #[error("there are {} pools already, and cannot be more", MAX_POOLS)]
    TooManyPools,
    /// As many forming pools as there can be.
    #[error("{MAX_FORMING} pools are forming already; wait until one is active or gone")]
    TooManyForming,
    /// An owner forms one pool at a time.
    #[error("the account's pool {0} is forming; wait until it is active, or disband it")]
    FormsPool(PoolId),
    /// Only validators may.
    #[error("the account is no validator of the next block; only validators do this")]
    NotValidator,
    /// The change of the validators cannot be.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The change of the policy cannot be.
    #[error(transparent)]
    PolicyChange(#[from] PolicyChangeError),
    /// The change is proposed already.
    #[error("this change is proposed already; approve of {0}")]
    Proposed(Hash),
    /// As many proposals of a validator as can wait.
    #[error("{MAX_PROPOSED} changes that the validator has proposed wait for approval; withdraw one first")]
    TooManyProposals,
    /// There is no such proposal.
    #[error("no change {0} is proposed; it or another one may have been carried out, or its time is over")]
    NoProposal(Hash),
    /// A validator approves once.
    #[error("the validator approves of the change already")]
    ChangeApproved,
    /// There is no approval to take back.
    #[error("the validator does not approve of the change")]
    ChangeNotApproved,
    /// Only the validator itself has a say.
    #[error("a validator gives itself other keys, without anybody's approval")]
    NeedsNoApproval,
    /// The same keys wait.
    #[error("the validator changes to these keys already, with the epoch for which they wait")]
    Rotates,
    /// A validator approves once.
    #[error("the validator has approved of the pool already")]
    Approved,

    /// Terms that were announced come into force at the moment.
    #[error(
        "the terms announced before come into force with a settlement that is under way; try again after the next root"
    )]
    TermsUnderWay,

    /// The pool lets others in.
    #[error("the pool does not take this; it takes {}", ways(*.0))]
    Policy(JoinPolicy),
    /// The pool has no room.
    #[error("the pool has {0} members, the most that it takes; choose another pool")]
    Full(u32),
    /// The owner does not want it back.
    #[error("the node is banned from the pool; its owner can end that")]
    Banned,
    /// The owner has banned it.
    #[error("the node is banned already")]
    BannedAlready,
    /// There is no ban to end.
    #[error("the node is not banned")]
    NotBanned,
    /// It is in already.
    #[error("the node is a member of the pool already")]
    Member,
    /// It is a member of another pool.
    #[error("the node is a member of pool {0}; leave it first")]
    MemberElsewhere(PoolId),
    /// It was a member, and may be drawn as one still.
    #[error("the node works for pool {pool} before epoch {until}; it can enter a pool from that epoch on")]
    MemberUntil {
        /// The pool.
        pool: PoolId,
        /// The first epoch without it.
        until: Epoch,
    },
    /// It has nothing to come back from.
    #[error("the node has not become inactive in the pool; it enters it as the pool's policy says")]
    NotInactive,
    /// It works for no pool and waits for none.
    #[error("the node is no member of the pool, and none of its requests waits")]
    NotMember,
    /// The stamp names a block that is too old, or none.
    #[error("the stamp is for epoch {found}; make one for the newest closed epoch, {newest}")]
    StampEpoch {
        /// What it names.
        found: Epoch,
        /// What is best.
        newest: Epoch,
    },
    /// The stamp shows too little work.
    #[error("the stamp is worth {found} bits; {needed} are needed now: make another one")]
    StampBits {
        /// Its worth.
        found: u32,
        /// What it must be worth.
        needed: u8,
    },
    /// The invite is not the owner's.
    #[error("the invite is signed by another account than the pool's owner; ask the owner for a new one")]
    InviteOwner,
    /// The invite was signed with a key that is the owner's no more.
    #[error("the invite is signed with a node key that the pool's owner has given up; ask the owner for a new one")]
    InviteKey,
    /// The invite's time is over.
    #[error("the invite ended at {0}; ask the pool's owner for a new one")]
    InviteOver(UnixMillis),
    /// The invite is used up.
    #[error("the invite was for {0} nodes, and as many have used it; ask the pool's owner for a new one")]
    InviteUsed(u32),
    /// The pool has as many invites in use as it can.
    #[error("{MAX_INVITES} invites of the pool are in use; the owner has to let some end first")]
    TooManyInvites,
    /// It has asked already.
    #[error("a request of the node waits already, until {0}")]
    Requested(UnixMillis),
    /// It has not asked.
    #[error("no request of this node waits")]
    NoRequest,
    /// As many requests wait as can.
    #[error("{MAX_REQUESTS} requests wait for the pool's owner; try again when some are answered, or with an invite")]
    TooManyRequests,

    /// It is held.
    #[error("the member is held already")]
    HeldAlready,
    /// It is not held.
    #[error("the member is not held")]
    NotHeld,
    /// The pool is suspended, or is not.
    #[error("the pool is so already")]
    SuspendedAlready,
    /// The pool owes nothing to it.
    #[error("the pool has no such account")]
    NoAccount,
    /// The pool would promise too much.
    #[error("the amount is too great to count")]
    TooGreat,
    /// Another era is in force, or next.
    #[error("its era is {given}, and {expected} is right")]
    Era {
        /// In the command.
        given: u32,
        /// As the vault has it.
        expected: u32,
    },
    /// The vault has seen other changes.
    #[error("its vault nonce is {given}, and {expected} is right: the number of the vault's changes")]
    VaultNonce {
        /// In the command.
        given: u32,
        /// As the vault has it.
        expected: u32,
    },
    /// The vault can change no more.
    #[error("the vault has seen too many changes")]
    TooManyChanges,

    /// It waits already.
    #[error("the command waits for a block already")]
    Waits,
    /// Another one of its number waits.
    #[error("another command {0} of the account waits for a block; give this one the next number, or wait")]
    Conflict(u64),
    /// As many commands wait as can, none of them less urgent.
    #[error("too many commands wait for a block at the moment; try again in a minute")]
    Busy,
    /// As many registrations wait as can, none with less work.
    #[error(
        "too many registrations wait for a block at the moment; make a stamp of at least {0} bits, or try again later"
    )]
    BusyEntry(u32),
    /// As many registrations with the invite wait as can, or with others of its pool, or of all pools.
    #[error("too many nodes enter with this invite or others at the moment; try again in a minute")]
    BusyInvites,
}

impl CommandRefused {
    /// Whether the command may apply later as it is: when one before it has, or when an epoch has passed.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::NonceAhead { .. } | Self::TooOften { .. })
    }

    /// Whether it is only the time that the command is out of: a wrong clock says so, too.
    pub const fn is_of_clock(&self) -> bool {
        matches!(self, Self::Expired { .. } | Self::TooFarAhead { .. })
    }

    /// A word for counters.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Expired { .. } => "expired",
            Self::TooFarAhead { .. } | Self::NonceAhead { .. } => "future",
            Self::NonceUsed { .. } => "stale",
            Self::Unsigned(_)
            | Self::Stranger(_)
            | Self::NotInForce { .. }
            | Self::TooFewSigners { .. }
            | Self::NotOwner(_) => "authority",
            Self::StampEpoch { .. } | Self::StampBits { .. } => "stamp",
            Self::Waits | Self::Conflict(_) => "known",
            Self::TooOften { .. } | Self::Busy | Self::BusyEntry(_) | Self::BusyInvites => "busy",
            _ => "inapplicable",
        }
    }
}

const fn ways(policy: JoinPolicy) -> &'static str {
    match policy {
        JoinPolicy::Open => "nodes with a stamp, and invites of its owner",
        JoinPolicy::Invite => "invites of its owner only",
        JoinPolicy::Approval => "requests that its owner approves of, and invites of its owner",
    }
}
